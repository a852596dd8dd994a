//! The risk gate at work: what it looks at, and what is noted when it speaks.

use std::collections::{BTreeSet, VecDeque};

use rust_decimal::Decimal;

use crate::client_id::Intent;
use crate::decimals::decimal;
use crate::ledger::{LiveTrade, SymbolAccount};
use crate::risk::{Passed, Proposal, View};
use crate::symbol::Symbol;

use super::record::{Goal, Record};
use super::state::SymbolState;
use super::{Level, Ticket, Trader, Why};

/// How far the pairs have come with the newest bar time. It follows from the state, and is kept because every close asks for it.
#[derive(Debug)]
pub(super) struct Round {
    /// Open time of the newest bar of any pair.
    open_ms: Option<i64>,
    /// Pairs that are traded and have not closed it.
    missing: BTreeSet<Symbol>,
}

impl Trader {
    /// Asks the gate for leave to enter. Stops that begin now are noted whatever it says.
    ///
    /// # Errors
    /// The rule that denies it, by name.
    pub(super) fn leave_to_enter(&mut self, state: &SymbolState, proposal: &Proposal) -> Result<Passed, Why> {
        let view = self.entry_view(&proposal.symbol, state);
        self.observe(&view);
        self.gate.check(&self.state.gate, proposal, &view, self.now_ms).map_err(|denial| {
            let numbers =
                format!("{} against a limit of {}", denial.value.normalize(), denial.limit.normalize());
            Why::Risk(format!("{}: {numbers}", denial.rule))
        })
    }

    /// Marks all pairs once for every bar time: when the last of them has its close, or at the first close of the next time.
    /// To be called before a bar is taken in, with its open time, and after.
    pub(super) fn mark(&mut self, next_open_ms: Option<i64>) {
        let round = self.round();
        let is_complete = round.missing.is_empty();
        let Some(newest) = round.open_ms else {
            return;
        };
        let is_over = next_open_ms.is_some_and(|next| next > newest);
        let is_new = self.state.marked_ms.is_none_or(|marked| marked < newest);
        if is_new && (is_complete || is_over) {
            self.record(Record::Mark { bar_open_ms: newest, at_ms: self.now_ms });
            let view = self.account_view();
            self.observe(&view);
        }
    }

    fn round(&mut self) -> &Round {
        let opens = |symbol: &Symbol| Some(self.state.symbols.get(symbol)?.last_bar?.open_time_ms);
        self.round.get_or_insert_with(|| {
            let open_ms = self.state.members.keys().filter_map(opens).max();
            let is_missing = |symbol: &&Symbol| opens(symbol) != open_ms;
            Round { open_ms, missing: self.desks.keys().filter(is_missing).cloned().collect() }
        })
    }

    /// Notes that a pair has taken in a bar that is newer than its last.
    pub(super) fn saw_bar(&mut self, symbol: &Symbol, open_ms: i64) {
        if !self.state.members.contains_key(symbol) {
            self.round = None;
        }
        let Some(round) = self.round.as_mut().filter(|round| round.open_ms <= Some(open_ms)) else {
            return;
        };
        if round.open_ms < Some(open_ms) {
            *round = Round { open_ms: Some(open_ms), missing: self.desks.keys().cloned().collect() };
        }
        round.missing.remove(symbol);
    }

    fn observe(&mut self, view: &View) {
        for stop in self.gate.observe(&self.state.gate, view, self.now_ms) {
            let end = if stop.until_ms.is_some() { "the day ends" } else { "an operator resumes" };
            let (rule, value, limit) = (&stop.rule, stop.value.round_dp(6), stop.limit.normalize());
            let text = format!("no entries until {end}: {rule} is {value} against a limit of {limit}");
            self.notify(Level::Alarm, None, text);
            self.record(Record::Stop { stop, at_ms: self.now_ms });
        }
    }

    /// Asks the protections about each of the `count` newest closed trades.
    pub(super) fn trades_closed(&mut self, count: usize) {
        for later in (0..count).rev() {
            let trades = self.state.ledger.trades();
            let until = trades.len().saturating_sub(later);
            let equity = self.state.ledger.equity();
            let locks = match later {
                0 => self.gate.trade_closed(trades, equity, self.now_ms),
                _ => {
                    let seen: VecDeque<LiveTrade> = trades.iter().take(until).cloned().collect();
                    self.gate.trade_closed(&seen, equity, self.now_ms)
                }
            };
            for lock in locks {
                let symbol = lock.symbol.clone();
                let text =
                    format!("no entries until {}: {}: {}", lock.until_ms, lock.protection, lock.reason);
                self.notify(Level::Warning, symbol.as_ref(), text);
                self.record(Record::Lock { lock, at_ms: self.now_ms });
            }
        }
    }

    /// What the gate sees of the account.
    fn account_view(&self) -> View {
        let ledger = &self.state.ledger;
        let totals = ledger.totals();
        let waiting = self.waiting_of_all();
        View {
            equity: ledger.equity(),
            opening_equity: ledger.opening_equity(self.now_ms),
            peak_equity: ledger.peak(),
            free_quote: totals.cash - waiting,
            position_notional: Decimal::ZERO,
            total_notional: totals.held + waiting,
            other_positions: 0,
            last_close: Decimal::ZERO,
            quote: None,
            price_ms: i64::MIN,
            is_killed: self.is_killed(),
        }
    }

    /// What the gate sees when `symbol` is to be entered.
    fn entry_view(&self, symbol: &Symbol, state: &SymbolState) -> View {
        let account = self.account_view();
        let others =
            self.state.symbols.iter().filter(|(other, of)| of.goal != Goal::Flat && *other != symbol);
        let held = self.state.ledger.account(symbol).map_or(Decimal::ZERO, SymbolAccount::value);
        let waiting = self.state.ledger.totals().cash - account.free_quote;
        let seen = self.quotes.get(symbol);
        let bar_ms = self.desks.get(symbol).and_then(|desk| desk.bar_ms);
        let balance = self.state.terms(symbol).and_then(|terms| self.state.expected.get(&terms.quote_asset));
        let free = |held: &Decimal| account.free_quote.min(held - waiting);
        View {
            free_quote: balance.map_or(account.free_quote, free),
            position_notional: held + self.waiting_notional(symbol),
            other_positions: u32::try_from(others.count()).unwrap_or(u32::MAX),
            last_close: state.last_bar.and_then(|bar| decimal(bar.close)).unwrap_or_default(),
            quote: seen.map(|seen| seen.quote),
            price_ms: match seen.map(|seen| seen.at_ms).max(bar_ms) {
                // While the market stands still its newest price is the price.
                Some(_) if self.plan.market_waits => self.now_ms,
                newest => newest.unwrap_or(i64::MIN / 2),
            },
            ..account
        }
    }

    /// What the orders that wait to open a position in `symbol` would cost.
    fn waiting_notional(&self, symbol: &Symbol) -> Decimal {
        let entries = self.state.live_tickets(symbol).filter(|(_, ticket)| ticket.intent == Intent::Entry);
        entries.map(|(_, ticket)| self.cost_of(ticket)).fold(Decimal::ZERO, Decimal::saturating_add)
    }

    /// The same of all pairs.
    fn waiting_of_all(&self) -> Decimal {
        let entries = self.state.tickets.live_entries();
        let of_members = entries.filter(|ticket| self.state.members.contains_key(&ticket.symbol));
        of_members.map(|ticket| self.cost_of(ticket)).fold(Decimal::ZERO, Decimal::saturating_add)
    }

    /// What is left of an order at its price, or at the newest one that is known.
    fn cost_of(&self, ticket: &Ticket) -> Decimal {
        let bid = || self.quote(&ticket.symbol).map(|quote| quote.bid);
        let newest = || bid().or_else(|| self.reference(&ticket.symbol, &self.state.symbol(&ticket.symbol)));
        let price = ticket.kind.price().or_else(newest);
        ticket.remaining().saturating_mul(price.unwrap_or_default())
    }
}
