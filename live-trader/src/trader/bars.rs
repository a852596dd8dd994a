//! What the close of a bar decides.

use polybolos_engine::kernels::sim::{ExitReason, Side};
use polybolos_engine::signals::Bar;
use polybolos_engine::simulation::{Held, Order, SizeValue, order_at_close};
use rust_decimal::Decimal;

use crate::client_id::Intent;
use crate::decimals::{decimal, number};
use crate::order::{Leg, OrderKind, OrderSide, TimeInForce};
use crate::risk::{NoSize, Proposal, Sizing, SizingInput, size};
use crate::symbol::Symbol;

use super::plan::EntryStyle;
use super::record::{Goal, Record};
use super::request::{PendingLegs, Request};
use super::state::SymbolState;
use super::step::Protection;
use super::{Trader, Why};

impl Trader {
    /// Takes a closed bar. One that is not newer than the newest known is dropped: it has been decided on.
    pub(super) fn bar(&mut self, symbol: &Symbol, bar: &Bar, is_live: bool) {
        let last_open_ms = self.state.symbol(symbol).last_bar.map(|last| last.open_time_ms);
        let Some(desk) = self.desks.get_mut(symbol) else {
            return;
        };
        let wanted = desk.signals.push(bar);
        if last_open_ms.is_some_and(|last| bar.open_time_ms <= last) {
            return;
        }
        if is_live {
            desk.bar_ms = Some(self.now_ms);
        }
        self.mark(Some(bar.open_time_ms));
        self.record(Record::Bar { symbol: symbol.clone(), bar: *bar, wanted, is_live, at_ms: self.now_ms });
        self.saw_bar(symbol, bar.open_time_ms);
        self.mark(None);
        if is_live {
            self.decide(symbol);
        }
        self.touched.insert(symbol.clone());
    }

    /// A position that ended inside the newest bar leaves its close free for an entry, whenever its end became known.
    pub(super) fn decide_again(&mut self, symbol: &Symbol) {
        let state = self.state.symbol(symbol);
        let is_of_last_bar =
            state.last_bar.is_some_and(|bar| state.exit_bar_open_ms == Some(bar.open_time_ms));
        if is_of_last_bar && state.last_is_live {
            self.decide(symbol);
        }
    }

    /// A program that ended between a close and the decision to leave has left that decision to the next one. Entries are not
    /// made up for: their price is gone.
    pub(super) fn decide_missed_exits(&mut self) {
        for symbol in self.desks.keys().cloned().collect::<Vec<_>>() {
            let state = self.state.symbol(&symbol);
            let entry = state.holding.entry_bar_open_ms;
            let was_held = entry.zip(state.last_bar).is_some_and(|(entry, bar)| entry <= bar.open_time_ms);
            if state.goal == Goal::Hold && state.last_is_live && was_held {
                self.decide(&symbol);
            }
        }
    }

    pub(super) fn decide(&mut self, symbol: &Symbol) {
        let state = self.state.symbol(symbol);
        let held = match state.goal {
            Goal::Hold => Some(Held { side: Side::Long, bars: state.holding.bars_held }),
            Goal::Flat => None,
            // An entry or an exit is under way: it is this close's decision still to come, or the last one's.
            Goal::Enter { .. } | Goal::Exit { .. } => return,
        };
        let is_cooling_down =
            state.exit_bar_open_ms.is_some() && state.bars_since_exit < self.plan.rules.cooldown;
        match order_at_close(&self.plan.rules, state.last_wanted, held, is_cooling_down) {
            Some(Order::Enter(Side::Long)) => self.enter(symbol, &state),
            Some(Order::Exit(reason)) => self.want_exit(symbol, reason.into()),
            Some(Order::Reverse) => self.want_exit(symbol, ExitReason::Signal.into()),
            Some(Order::Enter(Side::Short)) | None if held.is_some() => {}
            Some(Order::Enter(Side::Short)) | None => {
                let is_held_back = is_cooling_down && state.last_wanted.long_enter;
                self.set_why(symbol, if is_held_back { Why::CoolingDown } else { Why::NoSignal });
            }
        }
    }

    /// Opens a position, if everything allows it; else notes why not.
    fn enter(&mut self, symbol: &Symbol, state: &SymbolState) {
        if let Err(why) = self.try_enter(symbol, state) {
            self.note_no_entry(symbol, self.bar_open_ms(state), why);
        }
    }

    /// Notes that an entry which the strategy wanted is not made, and why.
    pub(super) fn note_no_entry(&mut self, symbol: &Symbol, bar_open_ms: i64, why: Why) {
        let at_ms = self.now_ms;
        self.record(Record::NoEntry { symbol: symbol.clone(), bar_open_ms, why: why.clone(), at_ms });
        self.set_why(symbol, why);
    }

    fn try_enter(&mut self, symbol: &Symbol, state: &SymbolState) -> Result<(), Why> {
        self.entry_standing(symbol).map_err(Why::NotTrading)?;
        let bar_open_ms = self.bar_open_ms(state);
        let ask = self.quote(symbol).map(|quote| quote.ask);
        let price = ask.or_else(|| self.reference(symbol, state));
        let price = price.ok_or_else(|| Why::Filter("no price is known".to_owned()))?;
        let kind = self.entry_kind(symbol, price)?;
        let quantity = self.entry_quantity(symbol, &kind, price)?;
        let pending = self.pending_legs(symbol, quantity, price, bar_open_ms);
        let legs = pending.as_ref().map_or(0, |(pending, _)| pending.legs.len());
        let proposal = Proposal {
            symbol: symbol.clone(),
            intent: Intent::Entry,
            side: OrderSide::Buy,
            quantity,
            price: if matches!(self.plan.entry, EntryStyle::Limit { .. }) {
                kind.price().unwrap_or(price)
            } else {
                price
            },
            orders: 1 + u32::try_from(legs).unwrap_or(u32::MAX - 1),
        };
        let passed = self.leave_to_enter(state, &proposal)?;
        self.set_goal(symbol, Goal::Enter { bar_open_ms });
        self.set_why(symbol, Why::Entering);
        let client_id = self.new_id(symbol, bar_open_ms, Intent::Entry);
        let (request, reason) = match pending {
            Some((pending, levels)) => {
                (Request::buy_protected(passed, client_id, kind, pending), levels.reason(Intent::Stop))
            }
            None => (Request::buy(passed, client_id, kind), None),
        };
        self.place(request, Intent::Entry, reason, bar_open_ms);
        Ok(())
    }

    fn entry_kind(&self, symbol: &Symbol, price: Decimal) -> Result<OrderKind, Why> {
        let grid = self.plan.symbols.get(symbol).map(|plan| plan.rules.price).unwrap_or_default();
        match self.plan.entry {
            EntryStyle::Market => Ok(OrderKind::Market),
            EntryStyle::Protected => {
                let far = price.checked_mul(self.collar_factor());
                let far = far.ok_or_else(|| Why::Filter(format!("a price of {price} is too high")))?;
                let price = grid.ceil(far).normalize();
                Ok(OrderKind::Limit { price, time_in_force: TimeInForce::Fok })
            }
            EntryStyle::Limit { .. } => {
                let price = grid.floor(price).normalize();
                Ok(OrderKind::Limit { price, time_in_force: TimeInForce::Gtc })
            }
        }
    }

    /// Base units to buy: the strategy's size of this symbol's equity, at most what its money pays for at the collar, fee
    /// included.
    fn entry_quantity(&self, symbol: &Symbol, kind: &OrderKind, price: Decimal) -> Result<Decimal, Why> {
        let plan = self.plan.symbols.get(symbol).ok_or_else(|| Why::Filter("unknown symbol".to_owned()))?;
        let equity = self.state.ledger.account(symbol).map_or(Decimal::ZERO, |account| account.free_cash());
        let stop = self.plan.rules.stop_loss.and_then(decimal);
        let input = SizingInput {
            equity,
            free_quote: equity,
            price,
            fee: self.plan.taker_fee,
            stop,
            collar_bps: self.plan.collar_bps,
            kind,
            rules: &plan.rules,
        };
        size(self.sizing(), &input).map_err(|no_size| match no_size {
            NoSize::Nothing { .. } => Why::Funds(no_size.to_string()),
            NoSize::NotTrading | NoSize::RiskWithoutStop | NoSize::Filter(_) => {
                Why::Filter(no_size.to_string())
            }
        })
    }

    /// The strategy's size in decimals; more than any decimal is all there is.
    fn sizing(&self) -> Sizing {
        let of = |value: f64| decimal(value).unwrap_or(Decimal::MAX);
        match self.plan.rules.size {
            SizeValue::Equity(fraction) => Sizing::Equity(of(fraction)),
            SizeValue::Quote(amount) => Sizing::Quote(of(amount)),
            SizeValue::Risk(fraction) => Sizing::Risk(of(fraction)),
        }
    }

    fn collar_factor(&self) -> Decimal {
        Decimal::ONE + self.plan.collar_bps / Decimal::from(10_000)
    }

    /// The legs that an entry brings with it, with their levels; `None` without levels, or where the exchange knows no such
    /// lists.
    fn pending_legs(
        &self,
        symbol: &Symbol,
        quantity: Decimal,
        price: Decimal,
        bar_open_ms: i64,
    ) -> Option<(PendingLegs, Protection)> {
        let plan = self.plan.symbols.get(symbol)?;
        if self.plan.entry != EntryStyle::Protected || !plan.rules.oto_allowed {
            return None;
        }
        let levels = self.provisional_levels(symbol, number(price));
        let leg = |(intent, kind)| Leg { client_id: self.new_id(symbol, bar_open_ms, intent), kind };
        let legs: Vec<Leg> = levels.legs().map(leg).collect();
        if legs.is_empty() {
            return None;
        }
        // The exchange takes its commission out of what was bought: the legs can sell only the rest.
        let rest = quantity.checked_mul(Decimal::ONE - self.plan.taker_fee)?;
        let quantity = plan.rules.floor_quantity(&OrderKind::Market, rest);
        let list_id = self.new_list_id(symbol, bar_open_ms);
        Some((PendingLegs { list_id, quantity, legs }, levels))
    }
}
