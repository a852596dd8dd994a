//! The simulation page as a loop over every bar, one `if` per sentence: what the event-jumping sweep is held against,
//! and the yardstick of its speed.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use polybolos_kernels::bars::Bars;
use polybolos_kernels::sim::{ExitReason, Fill, Intrabar, Side, SimConfig, Trade};
use polybolos_kernels::stats::Stats;

use crate::support::{RuleSet, SizeSet};

/// Signals of one bar.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Signal {
    pub(crate) long_enter: bool,
    pub(crate) long_exit: bool,
    pub(crate) short_enter: bool,
    pub(crate) short_exit: bool,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    side: Side,
    bar: usize,
    price: f64,
    quantity: f64,
    notional: f64,
    fee: f64,
    /// Best high (long) or low (short) of the bars held so far, the entry price included.
    best: f64,
    bars: usize,
}

#[derive(Debug, Clone, Copy)]
struct Order {
    exit: Option<ExitReason>,
    enter: Option<Side>,
}

pub(crate) struct Naive<'a> {
    bars: &'a Bars,
    rules: RuleSet,
    config: SimConfig,
    cash: f64,
    held: Option<Held>,
    /// No entry decision at closes before this bar.
    barred_until: usize,
    pub(crate) trades: Vec<Trade>,
    pub(crate) equity: Vec<f64>,
    pub(crate) stats: Stats,
}

impl<'a> Naive<'a> {
    pub(crate) fn run(
        bars: &'a Bars,
        signal: impl Fn(usize) -> Signal,
        rules: RuleSet,
        config: SimConfig,
    ) -> Naive<'a> {
        let mut run = Naive {
            bars,
            rules,
            config,
            cash: config.cash,
            held: None,
            barred_until: 0,
            trades: Vec::new(),
            equity: Vec::with_capacity(bars.len()),
            stats: Stats { final_equity: config.cash, ..Stats::default() },
        };
        let mut pending: Option<Order> = None;
        let mut peak = config.cash;
        for t in 0..bars.len() {
            if let Some(order) = pending.take() {
                run.fill(t, bars.open[t], order);
            }
            if run.held.is_some() {
                run.stats.bars_in_position += 1;
                run.inside(t);
            }
            if let Some(order) = run.decide(t, signal(t)) {
                match config.fill {
                    Fill::NextOpen => pending = Some(order),
                    Fill::Close => run.fill(t, bars.close[t], order),
                }
            }
            let equity = match run.held {
                None => run.cash,
                Some(held) if held.side == Side::Long => run.cash + held.quantity * bars.close[t],
                Some(held) => run.cash - held.quantity * bars.close[t],
            };
            run.equity.push(equity);
            peak = f64::max(peak, equity);
            run.stats.max_drawdown = f64::max(run.stats.max_drawdown, 1.0 - equity / peak);
            run.stats.final_equity = equity;
        }
        run
    }

    fn fill(&mut self, t: usize, raw: f64, order: Order) {
        if let Some(reason) = order.exit {
            self.leave(t, raw, reason);
        }
        if let Some(side) = order.enter {
            self.enter(t, raw, side);
        }
    }

    fn enter(&mut self, t: usize, raw: f64, side: Side) {
        let SimConfig { taker_fee, slippage, .. } = self.config;
        let equity = self.cash;
        let price = if side == Side::Long { raw * (1.0 + slippage) } else { raw * (1.0 - slippage) };
        let per_unit = if side == Side::Long { price * (1.0 + taker_fee) } else { price };
        let quantity = match self.rules.size {
            SizeSet::Equity(fraction) => (fraction * equity) / per_unit,
            SizeSet::Quote(quote) => f64::min(quote, equity) / per_unit,
            SizeSet::Risk(risk) => {
                f64::min((risk * equity) / (price * self.rules.stop_loss.unwrap()), equity / per_unit)
            }
        };
        if !quantity.is_finite() || quantity <= 0.0 {
            return;
        }
        let notional = quantity * price;
        let fee = notional * taker_fee;
        self.cash =
            if side == Side::Long { self.cash - (notional + fee) } else { self.cash + (notional - fee) };
        self.stats.fees += fee;
        self.held = Some(Held { side, bar: t, price, quantity, notional, fee, best: price, bars: 0 });
    }

    fn leave(&mut self, t: usize, raw: f64, reason: ExitReason) {
        let held = self.held.take().unwrap();
        let is_target = reason == ExitReason::Target;
        let slippage = if is_target { 0.0 } else { self.config.slippage };
        let rate = if is_target { self.config.maker_fee } else { self.config.taker_fee };
        let price = if held.side == Side::Long { raw * (1.0 - slippage) } else { raw * (1.0 + slippage) };
        let notional = held.quantity * price;
        let fee = notional * rate;
        self.stats.fees += fee;
        let (pnl, cost) = if held.side == Side::Long {
            self.cash += notional - fee;
            ((notional - fee) - (held.notional + held.fee), held.notional + held.fee)
        } else {
            self.cash -= notional + fee;
            ((held.notional - held.fee) - (notional + fee), notional + fee)
        };
        self.barred_until = t + self.rules.cooldown.unwrap_or(0.0) as usize;
        self.trades.push(Trade {
            side: held.side,
            entry_bar: held.bar,
            entry_price: held.price,
            exit_bar: t,
            exit_price: price,
            quantity: held.quantity,
            reason,
            fees: held.fee + fee,
            pnl,
            trade_return: pnl / cost,
            bars_held: held.bars,
        });
    }

    /// Levels inside bar `t` for the position held in it.
    fn inside(&mut self, t: usize) {
        let Some(held) = &mut self.held else { return };
        held.bars += 1;
        let held = *held;
        let (open, high, low) = (self.bars.open[t], self.bars.high[t], self.bars.low[t]);
        let long = held.side == Side::Long;
        let rules = self.rules;
        let fixed = rules.stop_loss.map(|s| held.price * if long { 1.0 - s } else { 1.0 + s });
        let trailing = rules.trailing_stop.map(|d| held.best * if long { 1.0 - d } else { 1.0 + d });
        let target = rules.take_profit.map(|p| held.price * if long { 1.0 + p } else { 1.0 - p });
        let stop = match (fixed, trailing) {
            (Some(f), Some(r)) if (long && r > f) || (!long && r < f) => Some((r, ExitReason::Trailing)),
            (Some(f), _) => Some((f, ExitReason::Stop)),
            (None, Some(r)) => Some((r, ExitReason::Trailing)),
            (None, None) => None,
        };
        let beyond_stop = |price: f64, level: f64| if long { price <= level } else { price >= level };
        let beyond_target = |price: f64, level: f64| if long { price >= level } else { price <= level };
        let (adverse, favourable) = if long { (low, high) } else { (high, low) };
        let hit_stop = stop.filter(|&(level, _)| beyond_stop(adverse, level));
        let hit_target = target.filter(|&level| beyond_target(favourable, level));
        if let Some((_, reason)) = stop.filter(|&(level, _)| beyond_stop(open, level)) {
            self.leave(t, open, reason);
        } else if target.is_some_and(|level| beyond_target(open, level)) {
            self.leave(t, open, ExitReason::Target);
        } else if let (Some((level, reason)), Some(target)) = (hit_stop, hit_target) {
            self.stats.ambiguous_bars += 1;
            let stop_first = match self.config.intrabar {
                Intrabar::StopFirst => true,
                Intrabar::TargetFirst => false,
                Intrabar::NearestOpen => (open - level).abs() <= (target - open).abs(),
            };
            if stop_first {
                self.leave(t, level, reason);
            } else {
                self.leave(t, target, ExitReason::Target);
            }
        } else if let Some((level, reason)) = hit_stop {
            self.leave(t, level, reason);
        } else if let Some(level) = hit_target {
            self.leave(t, level, ExitReason::Target);
        } else if let Some(held) = &mut self.held {
            held.best = if long { held.best.max(high) } else { held.best.min(low) };
        }
    }

    fn decide(&self, t: usize, signal: Signal) -> Option<Order> {
        let Some(held) = self.held else {
            let enter = match (signal.long_enter, signal.short_enter) {
                (true, false) => Side::Long,
                (false, true) => Side::Short,
                _ => return None,
            };
            return (t >= self.barred_until).then_some(Order { exit: None, enter: Some(enter) });
        };
        let (own, other, exit) = match held.side {
            Side::Long => (signal.long_enter, signal.short_enter, signal.long_exit),
            Side::Short => (signal.short_enter, signal.long_enter, signal.short_exit),
        };
        let reversed = if held.side == Side::Long { Side::Short } else { Side::Long };
        if other && !own {
            return Some(Order { exit: Some(ExitReason::Signal), enter: Some(reversed) });
        }
        if exit {
            return Some(Order { exit: Some(ExitReason::Signal), enter: None });
        }
        let due = self.rules.max_bars.is_some_and(|bars| held.bars as f64 >= bars);
        due.then_some(Order { exit: Some(ExitReason::Time), enter: None })
    }
}
