//! Orders of ours by their ids, and those of each pair: a bot of hundreds of pairs asks for one pair's with every close and every fill.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ticket::Ticket;
use crate::client_id::ClientId;
use crate::symbol::Symbol;

/// Orders by their ids. Written and read as a map of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<ClientId, Ticket>", into = "BTreeMap<ClientId, Ticket>")]
pub struct Tickets {
    by_id: BTreeMap<ClientId, Ticket>,
    /// The ids of each pair that has any.
    by_symbol: BTreeMap<Symbol, BTreeSet<ClientId>>,
}

impl From<BTreeMap<ClientId, Ticket>> for Tickets {
    fn from(by_id: BTreeMap<ClientId, Ticket>) -> Tickets {
        let mut by_symbol: BTreeMap<Symbol, BTreeSet<ClientId>> = BTreeMap::new();
        for (client_id, ticket) in &by_id {
            by_symbol.entry(ticket.symbol.clone()).or_default().insert(client_id.clone());
        }
        Tickets { by_id, by_symbol }
    }
}

impl From<Tickets> for BTreeMap<ClientId, Ticket> {
    fn from(tickets: Tickets) -> BTreeMap<ClientId, Ticket> {
        tickets.by_id
    }
}

impl Tickets {
    /// The order with this id.
    pub fn get(&self, client_id: &ClientId) -> Option<&Ticket> {
        self.by_id.get(client_id)
    }

    /// Whether there is an order with this id.
    pub fn contains(&self, client_id: &ClientId) -> bool {
        self.by_id.contains_key(client_id)
    }

    /// All orders, by their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&ClientId, &Ticket)> {
        self.by_id.iter()
    }

    /// All orders.
    pub fn values(&self) -> impl Iterator<Item = &Ticket> {
        self.by_id.values()
    }

    /// The orders of a pair, by their ids.
    pub fn of(&self, symbol: &Symbol) -> impl Iterator<Item = (&ClientId, &Ticket)> {
        let ids = self.by_symbol.get(symbol).into_iter().flatten();
        ids.filter_map(|client_id| self.by_id.get_key_value(client_id))
    }

    /// Pairs with orders.
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.by_symbol.keys()
    }

    /// Adds an order, in place of one with the same id.
    pub(super) fn insert(&mut self, client_id: ClientId, ticket: Ticket) {
        let symbol = ticket.symbol.clone();
        if let Some(old) = self.by_id.insert(client_id.clone(), ticket) {
            self.forget(&old.symbol, &client_id);
        }
        self.by_symbol.entry(symbol).or_default().insert(client_id);
    }

    /// Changes the order with this id, if there is one. Its pair stays.
    pub(super) fn change<T>(
        &mut self,
        client_id: &ClientId,
        change: impl FnOnce(&mut Ticket) -> T,
    ) -> Option<T> {
        self.by_id.get_mut(client_id).map(change)
    }

    /// Keeps those orders of a pair that `is_kept` says.
    pub(super) fn retain_of(&mut self, symbol: &Symbol, is_kept: impl Fn(&Ticket) -> bool) {
        let gone = self.of(symbol).filter(|(_, ticket)| !is_kept(ticket));
        let gone: Vec<ClientId> = gone.map(|(client_id, _)| client_id.clone()).collect();
        for client_id in gone {
            self.by_id.remove(&client_id);
            self.forget(symbol, &client_id);
        }
    }

    fn forget(&mut self, symbol: &Symbol, client_id: &ClientId) {
        if let Some(ids) = self.by_symbol.get_mut(symbol) {
            ids.remove(client_id);
            if ids.is_empty() {
                self.by_symbol.remove(symbol);
            }
        }
    }
}
