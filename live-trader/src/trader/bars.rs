//! What the close of a bar decides.

use polybolos_engine::kernels::sim::{ExitReason, Side};
use polybolos_engine::signals::Bar;
use polybolos_engine::simulation::{Held, Order, SizeValue, order_at_close};
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive as _;

use crate::client_id::Intent;
use crate::order::{Bracket, Leg, NewList, NewOrder, OrderKind, OrderSide, Quantity, TimeInForce};
use crate::symbol::Symbol;

use super::plan::EntryStyle;
use super::record::{Goal, Record};
use super::state::{SymbolState, to_f64};
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
        self.record(Record::Bar { symbol: symbol.clone(), bar: *bar, wanted, is_live, at_ms: self.now_ms });
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

    fn decide(&mut self, symbol: &Symbol) {
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
            self.set_why(symbol, why);
        }
    }

    fn try_enter(&mut self, symbol: &Symbol, state: &SymbolState) -> Result<(), Why> {
        self.entry_standing().map_err(Why::NotTrading)?;
        let bar_open_ms = self.bar_open_ms(state);
        let quote = self.desks.get(symbol).and_then(|desk| desk.quote).map(|(_, ask)| ask);
        let reference = quote.or_else(|| self.reference(symbol, state));
        let reference = reference.ok_or_else(|| Why::Filter("no price is known".to_owned()))?;
        let kind = self.entry_kind(symbol, reference);
        let quantity = self.entry_quantity(symbol, &kind, reference)?;
        self.set_goal(symbol, Goal::Enter { bar_open_ms });
        self.set_why(symbol, Why::Entering);
        let working = NewOrder {
            symbol: symbol.clone(),
            client_id: self.new_id(symbol, bar_open_ms, Intent::Entry),
            side: OrderSide::Buy,
            kind,
            quantity: Quantity::Base(quantity),
        };
        if self.plan.entry == EntryStyle::Protected {
            self.enter_protected(working, quantity, reference, bar_open_ms);
        } else {
            self.place(working, Intent::Entry, bar_open_ms);
        }
        Ok(())
    }

    fn entry_kind(&self, symbol: &Symbol, reference: Decimal) -> OrderKind {
        let grid = self.plan.symbols.get(symbol).map(|plan| plan.rules.price).unwrap_or_default();
        match self.plan.entry {
            EntryStyle::Market => OrderKind::Market,
            EntryStyle::Protected => {
                let price = grid.ceil(reference * self.collar_factor()).normalize();
                OrderKind::Limit { price, time_in_force: TimeInForce::Fok }
            }
            EntryStyle::Limit { .. } => {
                OrderKind::Limit { price: grid.floor(reference).normalize(), time_in_force: TimeInForce::Gtc }
            }
        }
    }

    /// Base units to buy: the strategy's size of this symbol's equity, at most what that equity pays for at the collar, fee
    /// included. While nothing is held, equity is the symbol's cash and what its trades have realised.
    fn entry_quantity(&self, symbol: &Symbol, kind: &OrderKind, reference: Decimal) -> Result<Decimal, Why> {
        let plan = self.plan.symbols.get(symbol).ok_or_else(|| Why::Filter("unknown symbol".to_owned()))?;
        let equity = plan.cash + self.state.symbol(symbol).realised_quote;
        if equity <= Decimal::ZERO {
            return Err(Why::Funds(format!("the symbol's equity is {equity}")));
        }
        let wanted = self.sized(equity, reference).ok_or_else(|| {
            Why::Filter(format!(
                "no quantity can be computed at a price of {reference} and an equity of {equity}"
            ))
        })?;
        let quantity = plan.rules.floor_quantity(kind, wanted);
        plan.rules
            .check(OrderSide::Buy, kind, quantity, reference)
            .map_err(|failure| Why::Filter(failure.to_string()))?;
        Ok(quantity)
    }

    /// The backtest's sizes in exact numbers; `None` where one of them is outside the decimals' range.
    fn sized(&self, equity: Decimal, reference: Decimal) -> Option<Decimal> {
        let price = reference * self.collar_factor();
        let unit_cost = price * (Decimal::ONE + self.plan.taker_fee);
        let affordable = equity.checked_div(unit_cost)?;
        match self.plan.rules.size {
            SizeValue::Equity(fraction) => Decimal::from_f64(fraction)?.checked_mul(affordable),
            // More than any decimal is more than the equity.
            SizeValue::Quote(quote) => {
                Decimal::from_f64(quote).unwrap_or(equity).min(equity).checked_div(unit_cost)
            }
            SizeValue::Risk(risk) => {
                let loss_per_unit = price.checked_mul(Decimal::from_f64(self.plan.rules.stop_loss?)?)?;
                let at_risk = Decimal::from_f64(risk)?.checked_mul(equity)?;
                Some(at_risk.checked_div(loss_per_unit)?.min(affordable))
            }
        }
    }

    pub(super) fn collar_factor(&self) -> Decimal {
        Decimal::ONE + self.plan.collar_bps / Decimal::from(10_000)
    }

    /// Sends an entry in one list with its protection. Without levels, or where the exchange knows no such lists, it goes alone.
    fn enter_protected(
        &mut self,
        working: NewOrder,
        quantity: Decimal,
        reference: Decimal,
        bar_open_ms: i64,
    ) {
        let symbol = working.symbol.clone();
        let levels = self.provisional_levels(&symbol, to_f64(reference));
        let legs = self.legs_of(&levels);
        let plan = self.plan.symbols.get(&symbol);
        let is_allowed = plan.is_some_and(|plan| plan.rules.oto_allowed);
        // The exchange takes its commission out of what was bought: the legs can sell only the rest.
        let rest = quantity * (Decimal::ONE - self.plan.taker_fee);
        let pending = plan.map_or(rest, |plan| plan.rules.floor_quantity(&OrderKind::Market, rest));
        let id = |trader: &Trader, intent| trader.new_id(&symbol, bar_open_ms, intent);
        let list_id = self.new_list_id(&symbol, bar_open_ms);
        let list = match legs.as_slice() {
            _ if !is_allowed => None,
            [(target, above), (stop, below)] => Some(NewList::Otoco {
                symbol: symbol.clone(),
                list_id,
                working: working.clone(),
                bracket: Bracket {
                    side: OrderSide::Sell,
                    quantity: pending,
                    above: Leg { client_id: id(self, *target), kind: *above },
                    below: Leg { client_id: id(self, *stop), kind: *below },
                },
            }),
            [(intent, kind)] => Some(NewList::Oto {
                symbol: symbol.clone(),
                list_id,
                working: working.clone(),
                pending: NewOrder {
                    symbol: symbol.clone(),
                    client_id: id(self, *intent),
                    side: OrderSide::Sell,
                    kind: *kind,
                    quantity: Quantity::Base(pending),
                },
            }),
            _ => None,
        };
        match list {
            Some(list) => self.place_list(list, bar_open_ms),
            None => self.place(working, Intent::Entry, bar_open_ms),
        }
    }
}
