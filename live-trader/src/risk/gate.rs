//! The gate. An order passes all rules or is denied by the first one it breaks.

use std::collections::VecDeque;

use polybolos_engine::interval::DAY_MS;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::limits::Limits;
use super::protections::{Lock, Protection};
use crate::client_id::Intent;
use crate::ledger::LiveTrade;
use crate::order::OrderSide;
use crate::symbol::Symbol;

const MINUTE_MS: i64 = 60_000;

/// An order that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The pair.
    pub symbol: Symbol,
    /// What it is for.
    pub intent: Intent,
    /// Direction.
    pub side: OrderSide,
    /// Base units.
    pub quantity: Decimal,
    /// The price it is expected to fill at, quote per base.
    pub price: Decimal,
    /// Orders that the exchange counts for it: 1, for a pair of legs 2.
    pub orders: u32,
}

impl Proposal {
    /// Whether it can only make positions smaller: this trader holds no short ones.
    fn reduces(&self) -> bool {
        self.side == OrderSide::Sell || self.intent == Intent::Cancel
    }
}

/// Best prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub struct Quote {
    pub bid: Decimal,
    pub ask: Decimal,
}

/// What the gate looks at besides the order. Amounts are in quote currency and hold entries on their way as filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Equity at the marks.
    pub equity: Decimal,
    /// Equity at 00:00 UTC of this day.
    pub opening_equity: Decimal,
    /// Highest equity.
    pub peak_equity: Decimal,
    /// Quote currency that can be spent.
    pub free_quote: Decimal,
    /// Value of the pair's position.
    pub position_notional: Decimal,
    /// Value of all positions.
    pub total_notional: Decimal,
    /// Pairs with a position or an entry on its way, this one not counted.
    pub other_positions: u32,
    /// Close of the pair's last bar.
    pub last_close: Decimal,
    /// The pair's best prices, where they are known.
    pub quote: Option<Quote>,
    /// When the newer of close and quote came, local clock.
    pub price_ms: i64,
    /// Whether the kill switch is set.
    pub is_killed: bool,
}

/// Leave to place one order. Only the gate makes it, it cannot be copied, and who places orders must take it.
#[derive(Debug)]
#[must_use]
pub struct Passed(Proposal);

impl Passed {
    /// The order that may be placed.
    pub fn proposal(&self) -> &Proposal {
        &self.0
    }
}

/// Why an order may not be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("risk: {rule} is {value} against a limit of {limit}")]
pub struct Denial {
    /// The limit's name, a protection's, `kill_switch`, or `order` for an order that is none.
    pub rule: String,
    /// What the order would make of it. For stops and locks: the time now.
    pub value: Decimal,
    /// The limit's value. For stops and locks: the time they end; 0 where an operator must end them.
    pub limit: Decimal,
}

/// A limit that was reached and keeps positions from being opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The limit's name.
    pub rule: String,
    /// When it was reached.
    pub since_ms: i64,
    /// When it ends; `None`: when an operator resumes.
    pub until_ms: Option<i64>,
    /// What was reached.
    pub value: Decimal,
    /// The limit's value then.
    pub limit: Decimal,
}

impl Stop {
    fn denial(&self, now_ms: i64) -> Denial {
        Denial {
            rule: self.rule.clone(),
            value: Decimal::from(now_ms),
            limit: Decimal::from(self.until_ms.unwrap_or(0)),
        }
    }
}

/// What the gate remembers: stops, locks and the orders of the last minute and day. Facts are added to it; what they mean is
/// decided by [`RiskGate`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GateState {
    stops: Vec<Stop>,
    locks: Vec<Lock>,
    minute: VecDeque<(i64, u32)>,
    day: i64,
    orders_today: u64,
}

impl GateState {
    /// Stops in force at `now_ms`.
    pub fn stops(&self, now_ms: i64) -> impl Iterator<Item = &Stop> {
        self.stops.iter().filter(move |stop| stop.until_ms.is_none_or(|until| now_ms < until))
    }

    /// Locks in force at `now_ms`.
    pub fn locks(&self, now_ms: i64) -> impl Iterator<Item = &Lock> {
        self.locks.iter().filter(move |lock| now_ms < lock.until_ms)
    }

    /// Orders sent within the 60 seconds before `now_ms`.
    pub fn orders_of_minute(&self, now_ms: i64) -> u64 {
        let newer = self.minute.iter().filter(|(sent_ms, _)| now_ms - sent_ms < MINUTE_MS);
        newer.map(|(_, orders)| u64::from(*orders)).sum()
    }

    /// Orders sent on the UTC day of `now_ms`.
    pub fn orders_of_day(&self, now_ms: i64) -> u64 {
        if now_ms.div_euclid(DAY_MS) > self.day { 0 } else { self.orders_today }
    }

    /// Counts orders that were sent at `now_ms`.
    pub fn count(&mut self, orders: u32, now_ms: i64) {
        while self.minute.front().is_some_and(|(sent_ms, _)| now_ms - sent_ms >= MINUTE_MS) {
            self.minute.pop_front();
        }
        let day = now_ms.div_euclid(DAY_MS);
        if day > self.day {
            (self.day, self.orders_today) = (day, 0);
        }
        self.minute.push_back((now_ms, orders));
        self.orders_today += u64::from(orders);
    }

    /// A stop begins. Those that have ended by then are forgotten.
    pub fn stop(&mut self, stop: Stop) {
        self.stops.retain(|old| old.until_ms.is_none_or(|until| stop.since_ms < until));
        self.stops.push(stop);
    }

    /// A lock begins at `now_ms`. Those that have ended by then are forgotten.
    pub fn lock(&mut self, lock: Lock, now_ms: i64) {
        self.locks.retain(|old| now_ms < old.until_ms);
        self.locks.push(lock);
    }

    /// Ends the stops that wait for an operator, who must also have the ledger start its drawdown anew. A day's stop stays.
    pub fn resume(&mut self) {
        self.stops.retain(|stop| stop.until_ms.is_some());
    }
}

/// The gate: limits and protections. It remembers nothing; [`GateState`] does.
#[derive(Debug, Clone, PartialEq)]
pub struct RiskGate {
    limits: Limits,
    protections: Vec<Protection>,
    bar_ms: i64,
}

impl RiskGate {
    /// A gate. `bar_ms`: the length of a bar.
    pub fn new(limits: Limits, protections: Vec<Protection>, bar_ms: i64) -> RiskGate {
        RiskGate { limits, protections, bar_ms }
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Looks at the account: the stops that begin now. To be asked at every close and before every entry; who asks adds them to
    /// the state.
    pub fn observe(&self, state: &GateState, view: &View, now_ms: i64) -> Vec<Stop> {
        let loss = view.opening_equity - view.equity;
        let midnight = (now_ms.div_euclid(DAY_MS) + 1) * DAY_MS;
        let fall = view.peak_equity - view.equity;
        let share = |part: Decimal, whole: Decimal| match whole > Decimal::ZERO {
            true => part.checked_div(whole).unwrap_or(Decimal::ONE),
            false => Decimal::ONE,
        };
        let reached = [
            ("max_daily_loss", self.limits.max_daily_loss, share(loss, view.opening_equity), Some(midnight)),
            ("max_daily_loss_quote", self.limits.max_daily_loss_quote, loss, Some(midnight)),
            ("max_drawdown", self.limits.max_drawdown, share(fall, view.peak_equity), None),
        ];
        let mut began = Vec::new();
        for (rule, limit, value, until_ms) in reached {
            let Some(limit) = limit.filter(|limit| value >= *limit && value > Decimal::ZERO) else {
                continue;
            };
            if state.stops(now_ms).any(|stop| stop.rule == rule) {
                continue;
            }
            began.push(Stop { rule: rule.to_owned(), since_ms: now_ms, until_ms, value, limit });
        }
        began
    }

    /// Asks the protections after a trade closed: the locks that begin now. `trades`: the newest closed ones, that one last. Who
    /// asks adds them to the state.
    pub fn trade_closed(&self, trades: &VecDeque<LiveTrade>, equity: Decimal, now_ms: i64) -> Vec<Lock> {
        let judged = self.protections.iter().filter_map(|rule| rule.judge(trades, equity, self.bar_ms));
        judged.filter(|lock| now_ms < lock.until_ms).collect()
    }

    /// Lets an order pass or denies it. What makes a position smaller passes. Who sends the order counts it in the state.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(
        &self,
        state: &GateState,
        proposal: &Proposal,
        view: &View,
        now_ms: i64,
    ) -> Result<Passed, Denial> {
        if !proposal.reduces() {
            if let Some(stop) = self.observe(state, view, now_ms).first() {
                return Err(stop.denial(now_ms));
            }
            check_state(state, proposal, view, now_ms)?;
            self.check_order(proposal, view)?;
            self.check_price(proposal, view, now_ms)?;
            self.check_rate(state, proposal, now_ms)?;
        }
        Ok(Passed(proposal.clone()))
    }

    fn check_order(&self, proposal: &Proposal, view: &View) -> Result<(), Denial> {
        let limits = &self.limits;
        for value in [proposal.quantity, proposal.price] {
            if value <= Decimal::ZERO {
                return deny("order", value, Decimal::ZERO);
            }
        }
        let Some(notional) = proposal.quantity.checked_mul(proposal.price) else {
            return deny("order", proposal.quantity, Decimal::MAX);
        };
        at_most("max_order_notional", notional, limits.max_order_notional)?;
        at_most(
            "max_position_notional",
            view.position_notional.saturating_add(notional),
            limits.max_position_notional,
        )?;
        at_most(
            "max_total_notional",
            view.total_notional.saturating_add(notional),
            limits.max_total_notional,
        )?;
        at_most(
            "max_open_positions",
            Decimal::from(view.other_positions) + Decimal::ONE,
            limits.max_open_positions,
        )?;
        let left = view.free_quote.saturating_sub(notional);
        match limits.min_free_quote {
            Some(limit) if left < limit => deny("min_free_quote", left, limit),
            _ => Ok(()),
        }
    }

    fn check_price(&self, proposal: &Proposal, view: &View, now_ms: i64) -> Result<(), Denial> {
        at_most("max_quote_age_ms", Decimal::from(now_ms - view.price_ms), self.limits.max_quote_age_ms)?;
        for reference in [Some(view.last_close), view.quote.map(|quote| quote.ask)].into_iter().flatten() {
            let distance = (proposal.price - reference).abs();
            let bps =
                distance.checked_div(reference).and_then(|share| share.checked_mul(Decimal::from(10_000)));
            at_most("price_collar_bps", bps.unwrap_or(Decimal::MAX), self.limits.price_collar_bps)?;
        }
        Ok(())
    }

    fn check_rate(&self, state: &GateState, proposal: &Proposal, now_ms: i64) -> Result<(), Denial> {
        let orders = Decimal::from(proposal.orders);
        let minute = Decimal::from(state.orders_of_minute(now_ms)) + orders;
        at_most("max_orders_per_minute", minute, self.limits.max_orders_per_minute)?;
        let today = Decimal::from(state.orders_of_day(now_ms)) + orders;
        at_most("max_orders_per_day", today, self.limits.max_orders_per_day)
    }
}

fn check_state(state: &GateState, proposal: &Proposal, view: &View, now_ms: i64) -> Result<(), Denial> {
    let until = |rule: &str, until_ms: i64| deny(rule, Decimal::from(now_ms), Decimal::from(until_ms));
    if view.is_killed {
        return until("kill_switch", 0);
    }
    if let Some(stop) = state.stops(now_ms).next() {
        return Err(stop.denial(now_ms));
    }
    match state.locks(now_ms).find(|lock| lock.symbol.as_ref().is_none_or(|s| *s == proposal.symbol)) {
        Some(lock) => until(&lock.protection, lock.until_ms),
        None => Ok(()),
    }
}

fn at_most(rule: &str, value: Decimal, limit: Option<Decimal>) -> Result<(), Denial> {
    match limit {
        Some(limit) if value > limit => deny(rule, value, limit),
        _ => Ok(()),
    }
}

fn deny(rule: &str, value: Decimal, limit: Decimal) -> Result<(), Denial> {
    Err(Denial { rule: rule.to_owned(), value, limit })
}
