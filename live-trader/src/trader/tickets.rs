//! Orders of ours by their ids, and those of each pair: a bot of hundreds of pairs asks for one pair's with every close and every fill.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ticket::{Stage, Ticket};
use crate::client_id::{ClientId, Intent};
use crate::symbol::Symbol;

/// Orders by their ids. Written and read as a map of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<ClientId, Ticket>", into = "BTreeMap<ClientId, Ticket>")]
pub struct Tickets {
    by_id: BTreeMap<ClientId, Ticket>,
    /// The ids of each pair that has any.
    by_symbol: BTreeMap<Symbol, BTreeSet<ClientId>>,
    indexes: Indexes,
}

/// Which orders there are of some kinds.
#[derive(Debug, Clone, PartialEq, Default)]
struct Indexes {
    /// Those whose answer, fate or fills are not known.
    unsettled: BTreeSet<ClientId>,
    /// Those of them whose answer is there: their fate or fills are to be asked for.
    in_doubt: BTreeSet<ClientId>,
    /// Those that wait to open a position.
    entries: BTreeSet<ClientId>,
}

impl Indexes {
    /// Puts an order where it belongs now.
    fn keep(&mut self, client_id: &ClientId, ticket: &Ticket) {
        let is_unsettled = ticket.is_unsettled();
        keep(&mut self.unsettled, client_id, is_unsettled);
        keep(&mut self.in_doubt, client_id, is_unsettled && ticket.stage != Stage::Sent);
        keep(&mut self.entries, client_id, ticket.intent == Intent::Entry && ticket.is_live());
    }

    fn forget(&mut self, client_id: &ClientId) {
        for ids in [&mut self.unsettled, &mut self.in_doubt, &mut self.entries] {
            ids.remove(client_id);
        }
    }
}

impl From<BTreeMap<ClientId, Ticket>> for Tickets {
    fn from(by_id: BTreeMap<ClientId, Ticket>) -> Tickets {
        let mut tickets = Tickets::default();
        for (client_id, ticket) in by_id {
            tickets.insert(client_id, ticket);
        }
        tickets
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

    /// The orders whose answer or fate is not known, or of which fills have not been seen, by their ids.
    pub fn unsettled(&self) -> impl Iterator<Item = (&ClientId, &Ticket)> {
        self.indexes.unsettled.iter().filter_map(|client_id| self.by_id.get_key_value(client_id))
    }

    /// Those of [`Tickets::unsettled`] that no answer is waited for.
    pub(super) fn in_doubt(&self) -> &BTreeSet<ClientId> {
        &self.indexes.in_doubt
    }

    /// The orders that are open or unsettled and are to open a position, by their ids.
    pub(super) fn live_entries(&self) -> impl Iterator<Item = &Ticket> {
        self.indexes.entries.iter().filter_map(|client_id| self.by_id.get(client_id))
    }

    /// Pairs with orders.
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.by_symbol.keys()
    }

    /// Adds an order, in place of one with the same id.
    pub(super) fn insert(&mut self, client_id: ClientId, ticket: Ticket) {
        let symbol = ticket.symbol.clone();
        self.indexes.keep(&client_id, &ticket);
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
        let Tickets { by_id, indexes, .. } = self;
        let ticket = by_id.get_mut(client_id)?;
        let changed = change(ticket);
        indexes.keep(client_id, ticket);
        Some(changed)
    }

    /// Keeps those orders of a pair that `is_kept` says.
    pub(super) fn retain_of(&mut self, symbol: &Symbol, is_kept: impl Fn(&Ticket) -> bool) {
        let gone = self.of(symbol).filter(|(_, ticket)| !is_kept(ticket));
        let gone: Vec<ClientId> = gone.map(|(client_id, _)| client_id.clone()).collect();
        for client_id in gone {
            self.by_id.remove(&client_id);
            self.indexes.forget(&client_id);
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

fn keep(ids: &mut BTreeSet<ClientId>, client_id: &ClientId, is_in: bool) {
    if !is_in {
        ids.remove(client_id);
    } else if !ids.contains(client_id) {
        ids.insert(client_id.clone());
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;
    use crate::order::{OrderKind, OrderSide};

    fn ticket(symbol: &Symbol, bar_open_ms: i64) -> Ticket {
        Ticket {
            symbol: symbol.clone(),
            intent: if bar_open_ms % 3 == 0 { Intent::Exit } else { Intent::Entry },
            list_id: None,
            bar_open_ms,
            side: OrderSide::Buy,
            reason: None,
            after_trade_id: None,
            kind: OrderKind::Market,
            quantity: Decimal::ONE,
            sent_ms: 0,
            order_id: None,
            executed: Decimal::ZERO,
            filled: Decimal::ZERO,
            stage: Stage::Sent,
        }
    }

    /// What the indexes say, found the long way.
    fn assert_consistent(tickets: &Tickets, symbols: &[Symbol]) {
        for symbol in symbols {
            let wanted = tickets.iter().filter(|(_, ticket)| ticket.symbol == *symbol);
            assert!(tickets.of(symbol).eq(wanted), "{symbol}");
        }
        assert!(tickets.unsettled().eq(tickets.iter().filter(|(_, ticket)| ticket.is_unsettled())));
        let in_doubt = tickets.unsettled().filter(|(_, ticket)| ticket.stage != Stage::Sent);
        assert!(tickets.in_doubt().iter().eq(in_doubt.map(|(client_id, _)| client_id)));
        let entries = tickets.values().filter(|ticket| ticket.intent == Intent::Entry && ticket.is_live());
        assert!(tickets.live_entries().eq(entries));
        let with_orders: BTreeSet<&Symbol> = tickets.values().map(|ticket| &ticket.symbol).collect();
        assert!(tickets.symbols().eq(with_orders));
    }

    #[test]
    fn indexes_follow_every_change_and_are_made_again_when_read() {
        let symbols = ["AAAUSDT", "BBBUSDT", "CCCUSDT"].map(Symbol::new);
        let id = |number: usize| ClientId::from_wire(&format!("id-{number}"));
        let mut tickets = Tickets::default();
        // A small generator: every kind of change in an order that follows from nothing but its seed.
        let mut seed = 7_usize;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for bar in 0..400 {
            let (client_id, symbol) = (id(next(12)), &symbols[next(3)]);
            match next(4) {
                0 => tickets.insert(client_id, ticket(symbol, bar)),
                1 => {
                    tickets.change(&client_id, |ticket| ticket.stage = Stage::Absent);
                }
                2 => {
                    tickets.change(&client_id, |ticket| ticket.executed += Decimal::ONE);
                }
                _ => tickets.retain_of(symbol, |ticket| ticket.is_live() || ticket.bar_open_ms > bar - 20),
            }
            assert_consistent(&tickets, &symbols);
        }
        let text = serde_json::to_string(&tickets).unwrap();
        assert!(text.starts_with("{\"id-"), "{text}");
        assert_eq!(serde_json::from_str::<Tickets>(&text).unwrap(), tickets);
    }
}
