//! A market that is followed while it goes on: quotes and closed bars of many pairs, each pair's at its own time.
//!
//! The time is told from outside ([`Simulator::pass_time`]). Of each pair the bar behind its newest closed one is open: flat at the
//! last price, which quotes move. Resting orders meet every quote. Once a bar has closed they meet all of it, which finds what lay
//! between two quotes; but only those that were there when it opened, because nobody knows which of its prices came after the others.

use std::collections::BTreeSet;

use polybolos_engine::signals::Bar;
use polybolos_kernels::bars::Bars;
use rust_decimal::Decimal;

use super::step::reaches;
use super::{NUMBER_MAX, Phase, Settings, Simulator, SimulatorError, decimal};
use crate::filters::SymbolRules;
use crate::symbol::Symbol;

/// A bar that meets the orders after it has closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    pub(super) open_ms: i64,
    /// Its last millisecond.
    pub(super) end_ms: i64,
}

impl Simulator {
    /// An exchange that follows a market from `now_ms` on. The bars of each pair have closed, oldest first; they may be none, and
    /// then a pair has no price before its first quote or bar.
    ///
    /// # Errors
    /// [`SimulatorError`] for bars, settings or balances outside their domains.
    pub fn follow(
        settings: Settings,
        interval_ms: i64,
        pairs: Vec<(SymbolRules, Vec<Bar>)>,
        now_ms: i64,
    ) -> Result<Simulator, SimulatorError> {
        let (rules, histories): (Vec<SymbolRules>, Vec<Vec<Bar>>) = pairs.into_iter().unzip();
        let symbols: Vec<Symbol> = rules.iter().map(|rules| rules.symbol.clone()).collect();
        let empty = || Bars { interval_ms, ..Bars::default() };
        let empty = rules.into_iter().map(|rules| (rules, empty())).collect();
        let mut simulator = Simulator::new(settings, empty, i64::MAX)?;
        for (symbol, history) in symbols.iter().zip(&histories) {
            for bar in history {
                simulator.append(symbol, bar)?;
            }
            if let Some(instrument) = simulator.instruments.get_mut(symbol) {
                (instrument.next, instrument.published) = (history.len(), history.len());
                instrument.last = history.last().and_then(|bar| decimal(bar.close));
            }
        }
        (simulator.phase, simulator.now_ms) = (Phase::Live, now_ms);
        Ok(simulator)
    }

    /// The best prices of a pair: its last price moves to their middle, on the grid of its prices, and resting orders that it
    /// reaches are met. A stop trades at the new price, however far it lies behind its level; a limit trades at its own. Prices that are
    /// none are ignored, as one side without orders has them, and so is all in a market that is not followed.
    pub fn take_quote(&mut self, symbol: &Symbol, bid: Decimal, ask: Decimal) {
        let now_ms = self.now_ms;
        let Some(instrument) = self.instruments.get_mut(symbol).filter(|_| self.phase == Phase::Live) else {
            return;
        };
        let Some(price) = middle(&instrument.rules, bid, ask) else {
            return;
        };
        instrument.quoted = Some((price, now_ms));
        let told = instrument.last;
        self.move_to(symbol, price, told);
    }

    /// A bar of a pair has closed: resting orders meet it, its close is published, and the next one opens at the newest price. Gives
    /// `false` for a bar that is not newer than the newest; it changes nothing. A hole before the bar stays one.
    ///
    /// # Errors
    /// [`SimulatorError`] for a pair that is not traded here, for prices that are none, and in a market that is not followed;
    /// nothing is changed.
    pub fn take_bar(&mut self, symbol: &Symbol, bar: &Bar) -> Result<bool, SimulatorError> {
        if self.phase != Phase::Live {
            let reason = "the market is not followed".to_owned();
            return Err(SimulatorError::Symbol { symbol: symbol.clone(), reason });
        }
        let newest = self.newest_bar(symbol);
        if newest.is_some_and(|newest| newest.open_time_ms >= bar.open_time_ms) {
            return Ok(false);
        }
        self.append(symbol, bar)?;
        let told = self.last_price(symbol);
        let next_ms = bar.open_time_ms.saturating_add(self.interval_ms);
        self.pass_time(next_ms);
        self.closing = Some(Closing { open_ms: bar.open_time_ms, end_ms: next_ms - 1 });
        self.play(symbol);
        self.closing = None;
        self.tell_balances();
        self.publish(symbol);
        // A quote that came behind the close is newer than it.
        let quoted = self.instruments.get(symbol).and_then(|instrument| instrument.quoted);
        let quoted = quoted.filter(|(_, came_ms)| *came_ms >= next_ms).map(|(price, _)| price);
        if let Some(price) = quoted.or(self.last_price(symbol)) {
            self.move_to(symbol, price, told);
        }
        Ok(true)
    }

    /// Open time of the bar that a pair is in; `None` in a followed market before the first bar of the pair.
    pub fn open_bar_ms(&self, symbol: &Symbol) -> Option<i64> {
        match self.phase {
            Phase::Live => Some(self.newest_bar(symbol)?.open_time_ms.saturating_add(self.interval_ms)),
            _ => Some(self.now_ms.div_euclid(self.interval_ms.max(1)) * self.interval_ms),
        }
    }

    /// Takes new rules of a pair, as an exchange changes them: a status, a filter. Open orders stay as they are. Gives `false` for
    /// a pair that is not traded here, or not between these assets.
    pub fn revise_rules(&mut self, rules: &SymbolRules) -> bool {
        let is_same = |known: &SymbolRules| {
            (&known.base_asset, &known.quote_asset) == (&rules.base_asset, &rules.quote_asset)
        };
        match self.instruments.get_mut(&rules.symbol).filter(|instrument| is_same(&instrument.rules)) {
            Some(instrument) => instrument.rules = rules.clone(),
            None => return false,
        }
        true
    }

    /// The last price becomes `price`, with all that this does to resting orders. It is told where it differs from `told`.
    fn move_to(&mut self, symbol: &Symbol, price: Decimal, told: Option<Decimal>) {
        let from = self.last_price(symbol).unwrap_or(price);
        let mut met = BTreeSet::new();
        while let Some((order_id, is_stop, level)) = self.reached(symbol, from, price, &met) {
            met.insert(order_id);
            self.hit(symbol, order_id, is_stop, if is_stop { price } else { level });
        }
        if let Some(instrument) = self.instruments.get_mut(symbol) {
            instrument.last = Some(price);
        }
        self.tell_balances();
        if told != Some(price) {
            self.quote(symbol);
        }
    }

    /// The order that the price has come past first on its way, the older of two: its number, whether it is a stop, its level.
    fn reached(
        &self,
        symbol: &Symbol,
        from: Decimal,
        price: Decimal,
        met: &BTreeSet<i64>,
    ) -> Option<(i64, bool, Decimal)> {
        let live = self.instruments.get(symbol)?.open_orders().filter(|order| order.is_live());
        let reached = live
            .filter(|order| !met.contains(&order.order_id))
            .filter_map(|order| Some((order.order_id, !order.is_triggered, reaches(order, price, price)?)));
        reached.min_by_key(|&(order_id, _, level)| ((level - from).abs(), order_id))
    }
}

/// The middle of the best prices; between two prices of the grid the lower one.
fn middle(rules: &SymbolRules, bid: Decimal, ask: Decimal) -> Option<Decimal> {
    let is_price = |price: Decimal| price > Decimal::ZERO && price <= NUMBER_MAX;
    if !is_price(bid) || !is_price(ask) {
        return None;
    }
    let middle = (bid + ask) / Decimal::TWO;
    let on_grid = rules.price.floor(middle);
    Some(if bid == ask || on_grid.is_zero() { middle } else { on_grid })
}
