//! What answers to commands mean.

use crate::client_id::{ClientId, Intent};
use crate::ledger::CloseReason;
use crate::order::{Fill, OrderReport};
use crate::symbol::Symbol;
use crate::venue::{Answer, Response, VenueError};

use super::record::{Goal, Record};
use super::step::Price;
use super::{CommandId, Level, Purpose, Sent, Standing, Trader, Why};

/// Pauses after refusals, ms; the last one repeats.
const PAUSES_MS: [i64; 4] = [1_000, 2_000, 5_000, 10_000];

/// Refusals of a protection after which the position is closed.
const PROTECTION_REFUSALS: u32 = 3;

impl Trader {
    pub(super) fn answer(&mut self, id: CommandId, answer: Answer) {
        let Some(Sent { symbol, purpose }) = self.sent.remove(&id) else {
            return;
        };
        if let Some(symbol) = &symbol {
            let is_step =
                matches!(purpose, Purpose::Place { .. } | Purpose::Cancel { .. } | Purpose::Fills { .. });
            if let Some(desk) = self.desks.get_mut(symbol)
                && is_step
            {
                desk.under_way = desk.under_way.saturating_sub(1);
            }
            self.touched.insert(symbol.clone());
        }
        if let Err(VenueError::Halt { reason, until_ms }) = &answer {
            self.stand(Standing::Halted { reason: reason.clone(), until_ms: *until_ms });
        }
        match (purpose, symbol) {
            (Purpose::Place { client_ids, intent }, Some(symbol)) => {
                self.placed(&symbol, &client_ids, intent, answer);
            }
            (Purpose::Cancel { targets }, Some(symbol)) => self.cancelled(&symbol, &targets, answer),
            (Purpose::Lookup { client_id }, Some(_)) => {
                let found = answer.and_then(|response| one_order(response, &client_id));
                self.looked_up(&client_id, found);
            }
            (Purpose::Fills { from }, Some(symbol)) => self.fills_answered(&symbol, from, answer),
            (purpose, _) => self.reconcile_answered(&purpose, answer),
        }
    }

    fn reports(&mut self, response: Response) {
        match response {
            Response::Order(report) => self.report(report),
            Response::Orders(reports) => reports.into_iter().for_each(|report| self.report(report)),
            Response::List(list) => list.orders.into_iter().for_each(|report| self.report(report)),
            Response::Fills(_) | Response::Account(_) => {}
        }
    }

    fn placed(&mut self, symbol: &Symbol, client_ids: &[ClientId], intent: Intent, answer: Answer) {
        match answer {
            Ok(response) => {
                self.reports(response);
                // An answer without details leaves its orders unconfirmed: they are looked up.
                self.doubt_unconfirmed(client_ids, "the answer did not name it");
                if let Some(desk) = self.desks.get_mut(symbol) {
                    desk.refusals = 0;
                }
            }
            Err(VenueError::Refused { code, message }) if message.contains("Duplicate order") => {
                // An open order has this id: it is ours, from an attempt whose answer was lost.
                self.doubt(client_ids, self.now_ms, &format!("{code}: {message}"));
            }
            Err(VenueError::Refused { code, message }) => {
                self.absent(client_ids, &format!("{code}: {message}"));
                self.refused(symbol, intent, code, &message);
            }
            Err(VenueError::NotDone { reason, retry_at_ms }) => {
                self.absent(client_ids, &reason);
                self.not_done(symbol, intent, &reason, retry_at_ms);
            }
            Err(VenueError::Halt { reason, .. }) => {
                self.absent(client_ids, &reason);
                if intent == Intent::Entry {
                    self.give_up_entry(symbol, Why::NotTaken(reason));
                }
            }
            Err(VenueError::Unknown { reason, settles_at_ms }) => {
                self.doubt(client_ids, settles_at_ms, &reason)
            }
            Err(error @ VenueError::NotFound { .. }) => {
                self.doubt(client_ids, self.now_ms + self.plan.settle_ms, &error.to_string());
            }
        }
    }

    fn cancelled(&mut self, symbol: &Symbol, targets: &[ClientId], answer: Answer) {
        match answer {
            Ok(response) => {
                self.reports(response);
                self.doubt_open(targets, "the answer to a cancel did not name it");
            }
            Err(VenueError::NotDone { retry_at_ms, .. }) => self.retry_at(symbol, retry_at_ms),
            Err(VenueError::Halt { .. }) => {}
            // Already ended, or perhaps cancelled: what became of it is looked up.
            Err(error) => self.doubt(targets, self.now_ms, &error.to_string()),
        }
    }

    fn fills_answered(&mut self, symbol: &Symbol, from: Option<ClientId>, answer: Answer) {
        match answer {
            Ok(Response::Fills(fills)) => {
                self.take_fills(symbol, fills);
                if let Some(client_id) = from {
                    self.fills_looked_up(&client_id);
                }
            }
            Ok(_) => {}
            Err(error) => {
                if let Some(client_id) = from {
                    self.lookup_failed(&client_id, &error);
                }
            }
        }
    }

    fn take_fills(&mut self, symbol: &Symbol, fills: Vec<Fill>) {
        let is_ours = |fill: &Fill| {
            self.state.tickets.of(symbol).any(|(_, ticket)| ticket.order_id == Some(fill.order_id))
        };
        let (ours, others): (Vec<Fill>, Vec<Fill>) = fills.into_iter().partition(is_ours);
        for fill in others {
            let booked =
                self.state.ledger.account(symbol).is_some_and(|account| account.has_booked(fill.trade_id));
            if !booked {
                self.foreign.insert(fill.order_id, fill.time_ms);
            }
        }
        if !ours.is_empty() {
            let (symbol, prices) = (symbol.clone(), self.commission_prices(symbol, &ours));
            self.record(Record::Fills { symbol, fills: ours, prices, at_ms: self.now_ms });
        }
    }

    pub(super) fn doubt(&mut self, client_ids: &[ClientId], settles_at_ms: i64, reason: &str) {
        self.record(Record::Doubt {
            client_ids: client_ids.to_vec(),
            settles_at_ms,
            reason: reason.to_owned(),
            at_ms: self.now_ms,
        });
        self.run_lookups();
    }

    fn doubt_unconfirmed(&mut self, client_ids: &[ClientId], reason: &str) {
        let is_sent = |id: &&ClientId| {
            self.state.tickets.get(id).is_some_and(|ticket| ticket.stage == super::Stage::Sent)
        };
        let unconfirmed: Vec<ClientId> = client_ids.iter().filter(is_sent).cloned().collect();
        if !unconfirmed.is_empty() {
            self.doubt(&unconfirmed, self.now_ms + self.plan.settle_ms, reason);
        }
    }

    fn doubt_open(&mut self, targets: &[ClientId], reason: &str) {
        let is_open = |id: &&ClientId| self.state.tickets.get(id).is_some_and(super::Ticket::is_open);
        let open: Vec<ClientId> = targets.iter().filter(is_open).cloned().collect();
        if !open.is_empty() {
            self.doubt(&open, self.now_ms, reason);
        }
    }

    fn absent(&mut self, client_ids: &[ClientId], reason: &str) {
        self.record(Record::Absent {
            client_ids: client_ids.to_vec(),
            reason: reason.to_owned(),
            at_ms: self.now_ms,
        });
    }

    pub(super) fn retry_at(&mut self, symbol: &Symbol, at_ms: i64) {
        let at_ms = at_ms.max(self.now_ms + 100);
        if let Some(desk) = self.desks.get_mut(symbol) {
            desk.retry_at_ms = at_ms;
        }
    }

    fn not_done(&mut self, symbol: &Symbol, intent: Intent, reason: &str, retry_at_ms: i64) {
        if intent == Intent::Entry {
            self.give_up_entry(symbol, Why::NotTaken(reason.to_owned()));
        } else {
            self.retry_at(symbol, retry_at_ms);
        }
    }

    /// An entry that is not taken is not wanted any more: its price is gone.
    pub(super) fn give_up_entry(&mut self, symbol: &Symbol, why: Why) {
        let state = self.state.symbol(symbol);
        let Goal::Enter { bar_open_ms } = state.goal else {
            return self.set_why(symbol, why);
        };
        self.note_no_entry(symbol, bar_open_ms, why);
        if !state.holding.is_entered() {
            self.set_goal(symbol, Goal::Flat);
        }
    }

    fn refused(&mut self, symbol: &Symbol, intent: Intent, code: i32, message: &str) {
        let text = format!("{code}: {message}");
        self.notify(Level::Warning, Some(symbol), format!("{intent:?} order refused: {text}"));
        let refusals = self.desks.get_mut(symbol).map_or(0, |desk| {
            desk.refusals += 1;
            desk.refusals
        });
        if message.contains("insufficient balance") {
            self.reconcile.want();
        }
        let pause = PAUSES_MS[(refusals.saturating_sub(1) as usize).min(PAUSES_MS.len() - 1)];
        match intent {
            Intent::Entry => self.give_up_entry(symbol, Why::NotTaken(text.clone())),
            Intent::Stop | Intent::Target | Intent::Protection => {
                self.protection_refused(symbol, refusals, pause);
            }
            Intent::Exit | Intent::Flatten | Intent::Cancel => self.retry_at(symbol, self.now_ms + pause),
        }
        if refusals == PROTECTION_REFUSALS {
            self.notify(Level::Alarm, Some(symbol), format!("refused again and again: {text}"));
        }
    }

    /// A level is refused when the price is already beyond it: then the level has been hit, and the position is closed. Without
    /// that explanation the protection is tried again, and after that the position is closed all the same.
    fn protection_refused(&mut self, symbol: &Symbol, refusals: u32, pause_ms: i64) {
        match self.level_behind_the_price(symbol) {
            Some(Price::BeyondStop(cause)) => self.want_exit(symbol, cause),
            Some(Price::BeyondTarget) => self.want_exit(symbol, CloseReason::Target),
            None if refusals >= PROTECTION_REFUSALS => self.want_exit(symbol, CloseReason::Unprotected),
            None => self.retry_at(symbol, self.now_ms + pause_ms),
        }
    }
}

fn one_order(response: Response, client_id: &ClientId) -> Result<OrderReport, VenueError> {
    match response {
        Response::Order(report) if report.client_id == *client_id => Ok(report),
        other => Err(VenueError::Unknown {
            reason: format!("asked for order {client_id}, answered {other:?}"),
            settles_at_ms: 0,
        }),
    }
}
