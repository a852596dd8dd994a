//! Orders in doubt: looked up until it is known what became of them, and never sent again before.
//!
//! An answer "no such order" proves nothing while the request can still take effect, nor right after: the exchange's own
//! copies lag. An order that was never acknowledged is absent when, after that time, it is not found, the fills of its symbol
//! hold none of an unknown order, and it is still not found.

use crate::client_id::ClientId;
use crate::order::OrderReport;
use crate::venue::VenueError;

use super::record::Record;
use super::request::Request;
use super::ticket::Stage;
use super::{Level, Purpose, Standing, Trader};

/// Pauses between lookups, ms; the last one repeats.
const PAUSES_MS: [i64; 5] = [200, 500, 1_000, 2_000, 5_000];

/// Where the lookup of one order stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lookup {
    /// When to ask again.
    pub(super) next_ms: i64,
    asked: usize,
    is_under_way: bool,
    /// "No such order", after the request could not take effect any more.
    absences: u32,
    /// Whether the symbol's fills were seen after the first absence.
    are_fills_seen: bool,
}

impl Trader {
    /// Asks for every order that is in doubt, or whose fills were not all seen, and is due.
    pub(super) fn run_lookups(&mut self) {
        if !self.may_send() {
            return;
        }
        let in_doubt = self.state.tickets.in_doubt();
        self.lookups.retain(|client_id, lookup| lookup.is_under_way || in_doubt.contains(client_id));
        for client_id in in_doubt.iter().cloned().collect::<Vec<_>>() {
            self.look_up(client_id);
        }
    }

    fn look_up(&mut self, client_id: ClientId) {
        let Some(ticket) = self.state.tickets.get(&client_id) else {
            return;
        };
        let (symbol, sent_ms, stage) = (ticket.symbol.clone(), ticket.sent_ms, ticket.stage);
        let after = ticket.after_trade_id;
        let lookup = self.lookups.entry(client_id.clone()).or_default();
        if lookup.is_under_way || lookup.next_ms > self.now_ms {
            return;
        }
        lookup.is_under_way = true;
        lookup.next_ms = self.now_ms + PAUSES_MS[lookup.asked.min(PAUSES_MS.len() - 1)];
        lookup.asked += 1;
        let wants_fills = match stage {
            Stage::InDoubt { .. } => lookup.absences == 1 && !lookup.are_fills_seen,
            _ => true,
        };
        if wants_fills {
            // From the first fill that it can have: one that was missed can be older than others that were seen.
            let request = Request::fills(&symbol, after.map(|last| last + 1), sent_ms - 1_000);
            self.send(Some(&symbol), Purpose::Fills { from: Some(client_id) }, request);
        } else {
            let request = Request::order(&symbol, client_id.clone());
            self.send(Some(&symbol), Purpose::Lookup { client_id }, request);
        }
    }

    /// The answer of a lookup.
    pub(super) fn looked_up(&mut self, client_id: &ClientId, found: Result<OrderReport, VenueError>) {
        if let Some(lookup) = self.lookups.get_mut(client_id) {
            lookup.is_under_way = false;
        }
        match found {
            Ok(report) => self.report(report),
            Err(VenueError::NotFound { .. }) => self.not_found(client_id),
            Err(error) => self.lookup_failed(client_id, &error),
        }
    }

    /// The fills that a lookup asked for have come.
    pub(super) fn fills_looked_up(&mut self, client_id: &ClientId) {
        if let Some(lookup) = self.lookups.get_mut(client_id) {
            lookup.is_under_way = false;
            lookup.are_fills_seen = true;
        }
    }

    /// A lookup did not succeed: it is repeated.
    pub(super) fn lookup_failed(&mut self, client_id: &ClientId, error: &VenueError) {
        let Some(lookup) = self.lookups.get_mut(client_id) else {
            return;
        };
        lookup.is_under_way = false;
        if let VenueError::NotDone { retry_at_ms, .. } = error {
            lookup.next_ms = lookup.next_ms.max(*retry_at_ms);
        }
    }

    fn not_found(&mut self, client_id: &ClientId) {
        let Some(ticket) = self.state.tickets.get(client_id) else {
            return;
        };
        let Stage::InDoubt { settles_at_ms } = ticket.stage else {
            return;
        };
        let (symbol, sent_ms, is_known) = (ticket.symbol.clone(), ticket.sent_ms, ticket.order_id.is_some());
        if is_known || self.now_ms <= settles_at_ms {
            return;
        }
        let stranger = self.foreign.iter().find(|(_, fill_ms)| **fill_ms >= sent_ms).map(|(id, _)| *id);
        let Some(lookup) = self.lookups.get_mut(client_id) else {
            return;
        };
        lookup.absences += 1;
        if lookup.absences < 2 || !lookup.are_fills_seen {
            return;
        }
        if let Some(order_id) = stranger {
            let reason = format!(
                "{client_id} on {symbol} is not found, yet order {order_id} of nobody's has fills since it was sent; look at the account"
            );
            self.stand(Standing::Halted { reason, until_ms: None });
            return;
        }
        let reason = "not found after its time was over".to_owned();
        self.record(Record::Absent { client_ids: vec![client_id.clone()], reason, at_ms: self.now_ms });
        self.lookups.remove(client_id);
        self.notify(Level::Info, Some(&symbol), format!("{client_id} never reached the exchange"));
        self.touched.insert(symbol);
    }
}
