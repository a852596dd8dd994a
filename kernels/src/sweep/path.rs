//! One combination's way through the bars: its trades, its fees, and its cash and quantity between fills.
//!
//! Time is not walked bar by bar. While flat the next event is the next entry bit; in a position it is the first of
//! exit bit, time exit and touched level. The rules and the order of operations are those of [`crate::sim`].

use std::sync::Arc;

use super::account::{Account, Exit, Position, Segment, Sink};
use super::fold::{self, Fold, Folded};
use super::levels::{LevelView, Levels};
use super::market::Market;
use super::rules::{Rules, Sizing};
use crate::bits::{Bits, next_set};
use crate::sim::{ExitReason, Fill, Side, SimConfig, Trade};

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

impl Sink for &mut Path {
    fn segment(&mut self, segment: Segment) {
        self.segments.push(segment);
    }

    fn trade(&mut self, trade: &Trade) {
        self.trades.push(*trade);
    }
}

/// Words of the four signals, each as many as the bars need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signals<'s> {
    pub(super) long_enter: &'s [u64],
    pub(super) long_exit: &'s [u64],
    pub(super) short_enter: &'s [u64],
    pub(super) short_exit: &'s [u64],
}

impl<'s> Signals<'s> {
    /// The words of long enter, long exit, short enter and short exit; `never` are those of a signal that is not there.
    pub(super) fn new(bits: &'s [Option<Arc<Bits>>; 4], never: &'s [u64]) -> Signals<'s> {
        let [long_enter, long_exit, short_enter, short_exit] =
            bits.each_ref().map(|bits| bits.as_ref().map_or(never, |bits| bits.value_words()));
        Signals { long_enter, long_exit, short_enter, short_exit }
    }
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

/// Where a position ends, and what may follow.
#[derive(Debug, Clone, Copy)]
struct End {
    exit: Exit,
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
    let run = walk(market, config, rules, signals, &mut *path);
    let (fees, ambiguous_bars, open_bars) = (run.account.fees, run.ambiguous_bars, run.account.open_bars);
    (path.fees, path.ambiguous_bars, path.open_bars) = (fees, ambiguous_bars, open_bars);
}

/// Simulates one combination and sums its statistics on the way.
pub(super) fn fold_one(
    market: &Market<'_>,
    config: &SimConfig,
    rules: &Rules,
    signals: Signals<'_>,
    is_long_only: bool,
) -> Folded {
    let Some(rows) = market.rows.as_ref() else { return Folded::Unfit };
    if is_long_only && rules.sizing == Sizing::Equity(1.0) {
        let run = walk(market, config, rules, signals, Fold::<true>::new(market, rows, config.cash));
        return run.statistics();
    }
    walk(market, config, rules, signals, Fold::<false>::new(market, rows, config.cash)).statistics()
}

fn walk<'r, S: Sink>(
    market: &'r Market<'r>,
    config: &'r SimConfig,
    rules: &'r Rules,
    signals: Signals<'r>,
    sink: S,
) -> Run<'r, S> {
    let account = Account::new(config, rules.sizing, sink);
    let bars = market.bars.len();
    let mut run = Run { market, rules, signals, account, ambiguous_bars: 0, has_refused: false, bars };
    run.all();
    run
}

struct Run<'r, S> {
    market: &'r Market<'r>,
    rules: &'r Rules,
    signals: Signals<'r>,
    account: Account<'r, S>,
    ambiguous_bars: u64,
    /// Whether an order was not placed.
    has_refused: bool,
    bars: usize,
}

impl<const ALL_IN: bool> Run<'_, Fold<'_, ALL_IN>> {
    fn statistics(mut self) -> Folded {
        if self.has_refused {
            self.account.sink.give_up();
        }
        fold::finish_or_part(&self.account, self.ambiguous_bars)
    }
}

impl<S: Sink> Run<'_, S> {
    fn all(&mut self) {
        let mut from = 0;
        while let Some((t, side)) = self.signals.next_entry(from) {
            let Some((bar, raw)) = self.fill_of(t) else { break };
            let Some(position) = self.account.enter(side, bar, raw) else {
                self.has_refused = true;
                from = t + 1;
                continue;
            };
            match self.hold(position) {
                Some(free_from) => from = free_from,
                None => return,
            }
        }
        self.account.finish(self.bars, None);
    }

    /// Bar and raw price at which an order decided at the close of `t` fills; `None` if no bar follows.
    fn fill_of(&self, t: usize) -> Option<(usize, f64)> {
        match self.account.config.fill {
            Fill::NextOpen => self.market.bars.open.get(t + 1).map(|&open| (t + 1, open)),
            Fill::Close => self.market.bars.close.get(t).map(|&close| (t, close)),
        }
    }

    /// From an entry through all reversals to the first bar that may decide an entry again; `None` if the position
    /// stays open.
    fn hold(&mut self, entered: Position) -> Option<usize> {
        let mut position = entered;
        loop {
            let Some(end) = self.next_end(&position) else {
                self.account.finish(self.bars, Some(&position));
                return None;
            };
            self.account.leave(&position, &end.exit);
            if end.reverses {
                let reversed = self.account.enter(opposite(position.side), end.exit.bar, end.exit.raw);
                if let Some(reversed) = reversed {
                    position = reversed;
                    continue;
                }
                self.has_refused = true;
            }
            return Some(end.free_from.max(end.exit.bar.saturating_add(self.rules.cooldown)));
        }
    }

    fn next_end(&mut self, position: &Position) -> Option<End> {
        let first = position.first_bar;
        let due = self.rules.max_bars.map(|bars| first.saturating_add(bars - 1));
        let signal = self.signals.next_exit(position.side, first);
        let decided = [due, signal].into_iter().flatten().min().filter(|&t| t < self.bars);
        if let Some((view, levels)) = self.levels(position) {
            let end = decided.map_or(self.bars, |t| t + 1);
            if let Some(touch) = view.first_touch(&levels, first, end, self.account.config.intrabar) {
                self.ambiguous_bars += u64::from(touch.is_ambiguous);
                let exit = Exit {
                    bar: touch.bar,
                    raw: touch.price,
                    reason: touch.reason,
                    bars_held: touch.bar + 1 - first,
                };
                return Some(End { exit, reverses: false, free_from: touch.bar });
            }
        }
        let t = decided?;
        let (bar, raw) = self.fill_of(t)?;
        let free_from = if self.account.config.fill == Fill::Close { t + 1 } else { bar };
        let reason = if signal == Some(t) { ExitReason::Signal } else { ExitReason::Time };
        let exit = Exit { bar, raw, reason, bars_held: t + 1 - first };
        Some(End { exit, reverses: self.signals.reverses(position.side, t), free_from })
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
}

pub(super) fn opposite(side: Side) -> Side {
    match side {
        Side::Long => Side::Short,
        Side::Short => Side::Long,
    }
}
