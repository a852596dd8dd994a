//! Stop, target and trailing stop inside bars: which is touched first, and at what price.
//!
//! A short position is a long one in the mirror: with every price negated, highs and lows change places and "at or
//! below the stop" keeps its meaning. Negation is exact, so the mirrored comparisons and products have the bits of the
//! ones that [`crate::sim`] prescribes for shorts.

use super::rules::Rules;
use crate::bars::Bars;
use crate::sim::{ExitReason, Intrabar, Side};
use crate::simd::Number;

const BLOCK: usize = 64;

/// The bars as a position's levels see them: prices for a long, negated prices for a short.
#[derive(Debug)]
pub(super) struct LevelView {
    side: Side,
    open: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
    /// Lowest of low and open per bar: the open may lie outside its bar.
    lowest: Vec<f64>,
    highest: Vec<f64>,
    /// Lowest and highest of each block of bars.
    blocks: Vec<(f64, f64)>,
}

/// Levels of one position in the coordinates of its [`LevelView`]; a missing stop is `-inf`, a missing target `+inf`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Levels {
    pub(super) stop: f64,
    pub(super) target: f64,
    trailing: Option<Trailing>,
}

#[derive(Debug, Clone, Copy)]
struct Trailing {
    /// The entry price, mirrored for a short.
    entry: f64,
    /// What the best price is multiplied by.
    factor: f64,
}

/// An exit inside a bar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Touch {
    pub(super) bar: usize,
    /// Price before slippage.
    pub(super) price: f64,
    pub(super) reason: ExitReason,
    /// Both stop and target were reached within the bar.
    pub(super) is_ambiguous: bool,
}

impl LevelView {
    pub(super) fn long(bars: &Bars) -> LevelView {
        LevelView::new(Side::Long, bars.open.clone(), bars.low.clone(), bars.high.clone())
    }

    pub(super) fn short(bars: &Bars) -> LevelView {
        let mirror = |prices: &[f64]| prices.iter().map(|price| -price).collect();
        LevelView::new(Side::Short, mirror(&bars.open), mirror(&bars.high), mirror(&bars.low))
    }

    fn new(side: Side, open: Vec<f64>, low: Vec<f64>, high: Vec<f64>) -> LevelView {
        let least = |a: f64, b: f64| if b < a { b } else { a };
        let greatest = |a: f64, b: f64| if b > a { b } else { a };
        let lowest: Vec<f64> = low.iter().zip(&open).map(|(&low, &open)| least(low, open)).collect();
        let highest: Vec<f64> = high.iter().zip(&open).map(|(&high, &open)| greatest(high, open)).collect();
        let blocks = lowest
            .chunks(BLOCK)
            .zip(highest.chunks(BLOCK))
            .map(|(lows, highs)| {
                let low = lows.iter().copied().fold(f64::INFINITY, least);
                (low, highs.iter().copied().fold(f64::NEG_INFINITY, greatest))
            })
            .collect();
        LevelView { side, open, low, high, lowest, highest, blocks }
    }

    /// The levels of a position entered at this fill price.
    #[inline(always)]
    pub(super) fn levels(&self, entry: f64, rules: &Rules) -> Levels {
        let (sign, against, along) = match self.side {
            Side::Long => (1.0, -1.0, 1.0),
            Side::Short => (-1.0, 1.0, -1.0),
        };
        let entry = sign * entry;
        Levels {
            stop: rules.stop_loss.map_or(f64::NEG_INFINITY, |stop| entry * (1.0 + against * stop)),
            target: rules.take_profit.map_or(f64::INFINITY, |target| entry * (1.0 + along * target)),
            trailing: rules
                .trailing_stop
                .map(|trailing| Trailing { entry, factor: 1.0 + against * trailing }),
        }
    }

    /// The first exit inside bars `from..to`, where `from` is the first bar the position is held in.
    pub(super) fn first_touch(
        &self,
        levels: &Levels,
        from: usize,
        to: usize,
        intrabar: Intrabar,
    ) -> Option<Touch> {
        match levels.trailing {
            None => self.first_fixed_touch(levels, from, to, intrabar),
            Some(trailing) => self.first_trailing_touch(levels, trailing, from, to, intrabar),
        }
    }

    fn first_fixed_touch(
        &self,
        levels: &Levels,
        from: usize,
        to: usize,
        intrabar: Intrabar,
    ) -> Option<Touch> {
        let (stop, target) = (levels.stop, levels.target);
        let mut t = from;
        while t < to {
            let block = t / BLOCK;
            let end = to.min((block + 1) * BLOCK);
            let (low, high) = self.blocks[block];
            if low <= stop || high >= target {
                let bars = self.lowest[t..end].iter().zip(&self.highest[t..end]);
                let touched = bars.enumerate().find(|(_, (low, high))| **low <= stop || **high >= target);
                if let Some((offset, _)) = touched {
                    return Some(self.touch(t + offset, stop, ExitReason::Stop, target, intrabar));
                }
            }
            t = end;
        }
        None
    }

    fn first_trailing_touch(
        &self,
        levels: &Levels,
        trailing: Trailing,
        from: usize,
        to: usize,
        intrabar: Intrabar,
    ) -> Option<Touch> {
        let mut best = trailing.entry;
        let mut level = best * trailing.factor;
        for t in from..to {
            let (stop, reason) = if levels.stop >= level {
                (levels.stop, ExitReason::Stop)
            } else {
                (level, ExitReason::Trailing)
            };
            if self.lowest[t] <= stop || self.highest[t] >= levels.target {
                return Some(self.touch(t, stop, reason, levels.target, intrabar));
            }
            if self.high[t] > best {
                best = self.high[t];
                level = best * trailing.factor;
            }
        }
        None
    }

    /// Lowest of low and open per bar.
    pub(super) fn lowest(&self) -> &[f64] {
        &self.lowest
    }

    /// Highest of high and open per bar.
    pub(super) fn highest(&self) -> &[f64] {
        &self.highest
    }

    /// The first bar from `from` on that reaches the trailing stop alone.
    pub(super) fn first_trail(&self, levels: &Levels, from: usize) -> Option<usize> {
        let trailing = levels.trailing?;
        let mut best = trailing.entry;
        let mut level = best * trailing.factor;
        for t in from..self.low.len() {
            if self.lowest[t] <= level {
                return Some(t);
            }
            if self.high[t] > best {
                best = self.high[t];
                level = best * trailing.factor;
            }
        }
        None
    }

    /// The trailing stop in bar `bar` of a position held since `from`; `-inf` without one.
    pub(super) fn trail_at(&self, levels: &Levels, from: usize, bar: usize) -> f64 {
        let Some(trailing) = levels.trailing else { return f64::NEG_INFINITY };
        let highs = self.high[from..bar].iter();
        let best = highs.fold(trailing.entry, |best, &high| if high > best { high } else { best });
        best * trailing.factor
    }

    /// The exit of a position, entered at this price and held since bar `first`, in a bar that reaches the marked ones of its
    /// stop, target and trailing stop.
    #[inline(always)]
    pub(super) fn touch_of(
        &self,
        rules: &Rules,
        entry: f64,
        met: [bool; 3],
        (first, bar): (usize, usize),
        intrabar: Intrabar,
    ) -> Touch {
        let levels = self.levels(entry, rules);
        let at = |price: f64, reason| {
            let price = if self.side == Side::Short { -price } else { price };
            Touch { bar, price, reason, is_ambiguous: false }
        };
        // One level alone is met at its price or at an open beyond it. Neither low nor high has to come from memory.
        match met {
            [true, false, false] => return at(Number::min(self.open[bar], levels.stop), ExitReason::Stop),
            [false, true, false] => {
                return at(Number::max(self.open[bar], levels.target), ExitReason::Target);
            }
            _ => {}
        }
        let stop = if met[0] { levels.stop } else { f64::NEG_INFINITY };
        let target = if met[1] { levels.target } else { f64::INFINITY };
        let (stop, reason) = if met[2] {
            let trail = self.trail_at(&levels, first, bar);
            if stop >= trail { (stop, ExitReason::Stop) } else { (trail, ExitReason::Trailing) }
        } else {
            (stop, ExitReason::Stop)
        };
        self.touch(bar, stop, reason, target, intrabar)
    }

    /// The exit in a bar whose open, low or high reaches a level.
    #[inline(always)]
    pub(super) fn touch(
        &self,
        bar: usize,
        stop: f64,
        stop_reason: ExitReason,
        target: f64,
        intrabar: Intrabar,
    ) -> Touch {
        let open = self.open[bar];
        let (price, reason, is_ambiguous) = if open <= stop {
            (open, stop_reason, false)
        } else if open >= target {
            (open, ExitReason::Target, false)
        } else {
            let at_stop = (stop, stop_reason);
            let at_target = (target, ExitReason::Target);
            let (hits_stop, hits_target) = (self.low[bar] <= stop, self.high[bar] >= target);
            let is_stop_first = match intrabar {
                Intrabar::StopFirst => true,
                Intrabar::TargetFirst => false,
                Intrabar::NearestOpen => open - stop <= target - open,
            };
            let is_stop = hits_stop && (is_stop_first || !hits_target);
            let (price, reason) = if is_stop { at_stop } else { at_target };
            (price, reason, hits_stop && hits_target)
        };
        let price = if self.side == Side::Short { -price } else { price };
        Touch { bar, price, reason, is_ambiguous }
    }
}
