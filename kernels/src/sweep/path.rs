//! One combination's way through the bars: its trades, its fees, and its cash and quantity between fills.
//!
//! Time is not walked bar by bar. While flat the next event is the next entry bit; in a position it is the first of
//! exit bit, time exit and touched level. The rules and the order of operations are those of [`crate::sim`].

use super::levels::{LevelView, Levels};
use super::market::Market;
use super::rules::{Rules, Sizing};
use crate::bits::next_set;
use crate::sim::{ExitReason, Fill, Side, SimConfig, Trade};

/// What the closes of bars `from..to` are marked with: equity is `cash + quantity * close`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Segment {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) cash: f64,
    /// Above 0 long, below 0 short, 0 flat.
    pub(super) quantity: f64,
}

/// Everything that happened, in order. The segments cover every bar once.
#[derive(Debug, Default)]
pub(super) struct Path {
    pub(super) trades: Vec<Trade>,
    pub(super) segments: Vec<Segment>,
    pub(super) fees: f64,
    pub(super) ambiguous_bars: u64,
    /// Bars held by the position still open at the end.
    pub(super) open_bars: usize,
}

/// Words of the four signals, each as many as the bars need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signals<'s> {
    pub(super) long_enter: &'s [u64],
    pub(super) long_exit: &'s [u64],
    pub(super) short_enter: &'s [u64],
    pub(super) short_exit: &'s [u64],
}

impl Signals<'_> {
    /// The next bar at or after `from` whose close opens a position from flat: one entry signal without the other.
    fn next_entry(&self, from: usize) -> Option<(usize, Side)> {
        let words = self.long_enter.len();
        let t = next_set(words, from, |word| self.long_enter[word] ^ self.short_enter[word])?;
        Some((t, if is_set(self.long_enter, t) { Side::Long } else { Side::Short }))
    }

    /// The next bar at or after `from` whose close ends a position by signal, a reversal included.
    fn next_exit(&self, side: Side, from: usize) -> Option<usize> {
        let (exit, reverse, keep) = self.of(side);
        next_set(exit.len(), from, |word| exit[word] | (reverse[word] & !keep[word]))
    }

    fn reverses(&self, side: Side, t: usize) -> bool {
        let (_, reverse, keep) = self.of(side);
        is_set(reverse, t) && !is_set(keep, t)
    }

    /// The exit of a side, the entry of the other, and its own entry.
    fn of(&self, side: Side) -> (&[u64], &[u64], &[u64]) {
        match side {
            Side::Long => (self.long_exit, self.short_enter, self.long_enter),
            Side::Short => (self.short_exit, self.long_enter, self.short_enter),
        }
    }
}

fn is_set(words: &[u64], t: usize) -> bool {
    words[t / 64] >> (t % 64) & 1 == 1
}

#[derive(Debug, Clone, Copy)]
struct Position {
    side: Side,
    entry_bar: usize,
    /// The first bar it is held in: the entry bar if filled at its open, else the next.
    first_bar: usize,
    price: f64,
    quantity: f64,
    notional: f64,
    fee: f64,
}

/// How a position ends.
#[derive(Debug, Clone, Copy)]
struct Exit {
    bar: usize,
    /// Price before slippage.
    raw: f64,
    reason: ExitReason,
    bars_held: usize,
    reverses: bool,
    /// The first bar whose close may decide an entry, before any cooldown.
    free_from: usize,
}

/// Simulates one combination into a cleared path.
pub(super) fn simulate(
    market: &Market<'_>,
    config: &SimConfig,
    rules: &Rules,
    signals: Signals<'_>,
    path: &mut Path,
) {
    path.trades.clear();
    path.segments.clear();
    (path.fees, path.ambiguous_bars, path.open_bars) = (0.0, 0, 0);
    let bars = market.bars.len();
    let mut run = Run { market, config, rules, signals, path, cash: config.cash, marked: 0, bars };
    run.all();
}

struct Run<'r> {
    market: &'r Market<'r>,
    config: &'r SimConfig,
    rules: &'r Rules,
    signals: Signals<'r>,
    path: &'r mut Path,
    cash: f64,
    /// Closes before this bar are in a segment.
    marked: usize,
    bars: usize,
}

impl Run<'_> {
    fn all(&mut self) {
        let mut from = 0;
        while let Some((t, side)) = self.signals.next_entry(from) {
            let Some((bar, raw)) = self.fill_of(t) else { break };
            let Some(position) = self.enter(side, bar, raw) else {
                from = t + 1;
                continue;
            };
            match self.hold(position) {
                Some(free_from) => from = free_from,
                None => return,
            }
        }
        self.mark(self.bars, 0.0);
    }

    /// Bar and raw price at which an order decided at the close of `t` fills; `None` if no bar follows.
    fn fill_of(&self, t: usize) -> Option<(usize, f64)> {
        match self.config.fill {
            Fill::NextOpen => self.market.bars.open.get(t + 1).map(|&open| (t + 1, open)),
            Fill::Close => self.market.bars.close.get(t).map(|&close| (t, close)),
        }
    }

    /// From an entry through all reversals to the first bar that may decide an entry again; `None` if the position
    /// stays open.
    fn hold(&mut self, entered: Position) -> Option<usize> {
        let mut position = entered;
        loop {
            let Some(exit) = self.next_exit(&position) else {
                self.mark(self.bars, signed(&position));
                self.path.open_bars = self.bars.saturating_sub(position.first_bar);
                return None;
            };
            self.leave(&position, &exit);
            if exit.reverses
                && let Some(reversed) = self.enter(opposite(position.side), exit.bar, exit.raw)
            {
                position = reversed;
                continue;
            }
            return Some(exit.free_from.max(exit.bar.saturating_add(self.rules.cooldown)));
        }
    }

    fn next_exit(&mut self, position: &Position) -> Option<Exit> {
        let first = position.first_bar;
        let due = self.rules.max_bars.map(|bars| first.saturating_add(bars - 1));
        let signal = self.signals.next_exit(position.side, first);
        let decided = [due, signal].into_iter().flatten().min().filter(|&t| t < self.bars);
        if let Some((view, levels)) = self.levels(position) {
            let end = decided.map_or(self.bars, |t| t + 1);
            if let Some(touch) = view.first_touch(&levels, first, end, self.config.intrabar) {
                self.path.ambiguous_bars += u64::from(touch.is_ambiguous);
                return Some(Exit {
                    bar: touch.bar,
                    raw: touch.price,
                    reason: touch.reason,
                    bars_held: touch.bar + 1 - first,
                    reverses: false,
                    free_from: touch.bar,
                });
            }
        }
        let t = decided?;
        let (bar, raw) = self.fill_of(t)?;
        let free_from = if self.config.fill == Fill::Close { t + 1 } else { bar };
        let reason = if signal == Some(t) { ExitReason::Signal } else { ExitReason::Time };
        let reverses = self.signals.reverses(position.side, t);
        Some(Exit { bar, raw, reason, bars_held: t + 1 - first, reverses, free_from })
    }

    fn levels(&self, position: &Position) -> Option<(&LevelView, Levels)> {
        if !self.rules.has_levels() {
            return None;
        }
        let view = match position.side {
            Side::Long => self.market.long.as_ref(),
            Side::Short => self.market.short.as_ref(),
        }?;
        Some((view, view.levels(position.price, self.rules)))
    }

    /// Opens a position; `None` if the order has no positive finite quantity and is not placed.
    fn enter(&mut self, side: Side, bar: usize, raw: f64) -> Option<Position> {
        let config = self.config;
        let price = match side {
            Side::Long => raw * (1.0 + config.slippage),
            Side::Short => raw * (1.0 - config.slippage),
        };
        let quantity = self.quantity(side, price);
        if !(quantity > 0.0 && quantity.is_finite()) {
            return None;
        }
        self.mark(bar, 0.0);
        let notional = quantity * price;
        let fee = notional * config.taker_fee;
        match side {
            Side::Long => self.cash -= notional + fee,
            Side::Short => self.cash += notional - fee,
        }
        self.path.fees += fee;
        let first_bar = if config.fill == Fill::Close { bar + 1 } else { bar };
        Some(Position { side, entry_bar: bar, first_bar, price, quantity, notional, fee })
    }

    fn quantity(&self, side: Side, price: f64) -> f64 {
        let equity = self.cash;
        let unit = match side {
            Side::Long => price * (1.0 + self.config.taker_fee),
            Side::Short => price,
        };
        match self.rules.sizing {
            Sizing::Equity(fraction) => fraction * equity / unit,
            Sizing::Quote(quote) => quote.min(equity) / unit,
            Sizing::Risk(risk, stop_loss) => ((risk * equity) / (price * stop_loss)).min(equity / unit),
        }
    }

    fn leave(&mut self, position: &Position, exit: &Exit) {
        self.mark(exit.bar, signed(position));
        let config = self.config;
        let is_target = exit.reason == ExitReason::Target;
        let slippage = if is_target { 0.0 } else { config.slippage };
        let rate = if is_target { config.maker_fee } else { config.taker_fee };
        let price = match position.side {
            Side::Long => exit.raw * (1.0 - slippage),
            Side::Short => exit.raw * (1.0 + slippage),
        };
        let notional = position.quantity * price;
        let fee = notional * rate;
        self.path.fees += fee;
        let (proceeds, cost) = match position.side {
            Side::Long => {
                self.cash += notional - fee;
                (notional - fee, position.notional + position.fee)
            }
            Side::Short => {
                self.cash -= notional + fee;
                (position.notional - position.fee, notional + fee)
            }
        };
        let pnl = proceeds - cost;
        self.path.trades.push(Trade {
            side: position.side,
            entry_bar: position.entry_bar,
            entry_price: position.price,
            exit_bar: exit.bar,
            exit_price: price,
            quantity: position.quantity,
            reason: exit.reason,
            fees: position.fee + fee,
            pnl,
            trade_return: pnl / cost,
            bars_held: exit.bars_held,
        });
    }

    /// Marks the closes up to bar `to` with what is held now.
    fn mark(&mut self, to: usize, quantity: f64) {
        if self.marked < to {
            self.path.segments.push(Segment { from: self.marked, to, cash: self.cash, quantity });
            self.marked = to;
        }
    }
}

/// The quantity as equity sees it.
fn signed(position: &Position) -> f64 {
    match position.side {
        Side::Long => position.quantity,
        Side::Short => -position.quantity,
    }
}

fn opposite(side: Side) -> Side {
    match side {
        Side::Long => Side::Short,
        Side::Short => Side::Long,
    }
}
