//! Directional indicators (Wilder): how much of the true range was movement up, and how much down.
//!
//! Between two bars `up = high[t] - high[t-1]` and `down = low[t-1] - low[t]`. `+DM = up` where `up > down` and
//! `up > 0`, else 0; `-DM` mirrored; equal moves give neither. `+DM`, `-DM` and the true range are each summed:
//! over bars `1 .. n-1` first (that is `n - 1` of them), and from bar `n` on `S = S * ((n-1)/n) + x`. `plus_di =
//! 100 * S(+DM) / S(TR)`, `minus_di` likewise, 0 where the true range is exactly 0. First value at `n`.
//!
//! For `n = 1` TA-Lib returns the plain ratio `DM / TR` of each bar, without the factor 100, and so do these
//! functions.
//!
//! Source: J. W. Wilder, *New Concepts in Technical Trading Systems* (1978); TA-Lib's `PLUS_DI` and `MINUS_DI` for
//! the short first sum, the first index and the 0 rule. TA-Lib writes the smoothing as `S - S/n + x`; see
//! `wilder.rs` for the difference.

use super::atr::true_range;
use super::recursion::{self, Recursion};
use super::wilder;
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period};
use crate::simd::{Isa, Number};

pub(super) const PLUS: Indicator = Indicator {
    name: "plus_di",
    summary: "positive directional indicator over n bars, 0 to 100",
    inputs: &["high", "low", "close"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["plus_di"],
    first,
    tame: false,
    batch: batch::<true>,
    one_pass: None,
    parts: None,
    incremental: |params| Box::new(Directional::<true>::new(period(params[0]))),
};

pub(super) const MINUS: Indicator = Indicator {
    name: "minus_di",
    summary: "negative directional indicator over n bars, 0 to 100",
    inputs: &["high", "low", "close"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["minus_di"],
    first,
    tame: false,
    batch: batch::<false>,
    one_pass: None,
    parts: None,
    incremental: |params| Box::new(Directional::<false>::new(period(params[0]))),
};

fn first(params: &[f64]) -> usize {
    period(params[0])
}

/// Movement up and down, from highs and lows.
#[inline(always)]
pub(super) fn moves<N: Number>(high: N, low: N, previous_high: N, previous_low: N) -> [N; 2] {
    let (up, down, zero) = (high - previous_high, previous_low - low, high.like(0.0));
    [down.where_less(up, up.max(zero), zero), up.where_less(down, down.max(zero), zero)]
}

/// A smoothed sum after one more bar.
#[inline(always)]
pub(super) fn accumulate<N: Number>(sum: N, moved: N, keep: N) -> N {
    sum * keep + moved
}

#[inline(always)]
fn share<N: Number>(moved: N, range: N, scale: N) -> N {
    let zero = range.like(0.0);
    range.where_equal(zero, zero, scale * (moved / range))
}

/// The three smoothed sums, which ADX is made of too.
pub(super) struct Movement {
    n: usize,
    keep: f64,
    /// Bars seen.
    bars: usize,
    high: f64,
    low: f64,
    close: f64,
    pub(super) plus: f64,
    pub(super) minus: f64,
    range: f64,
}

impl Movement {
    pub(super) fn new(n: usize) -> Movement {
        let keep = wilder::keep(n);
        Movement { n, keep, bars: 0, high: 0.0, low: 0.0, close: 0.0, plus: 0.0, minus: 0.0, range: 0.0 }
    }

    /// Takes the next bar; says whether the sums are defined, which they are from bar `n` on.
    #[inline]
    pub(super) fn step(&mut self, high: f64, low: f64, close: f64) -> bool {
        let bar = self.bars;
        self.bars += 1;
        if bar > 0 {
            let [plus, minus] = moves(high, low, self.high, self.low);
            let keep = if bar < self.n { 1.0 } else { self.keep };
            self.plus = accumulate(self.plus, plus, keep);
            self.minus = accumulate(self.minus, minus, keep);
            self.range = accumulate(self.range, true_range(high, low, self.close), keep);
        }
        (self.high, self.low, self.close) = (high, low, close);
        bar >= self.n
    }
}

/// What the whole true range counts.
fn full_scale(n: usize) -> f64 {
    if n == 1 { 1.0 } else { 100.0 }
}

struct Directional<const PLUS: bool> {
    movement: Movement,
    scale: f64,
}

impl<const PLUS: bool> Directional<PLUS> {
    fn new(n: usize) -> Self {
        Directional { movement: Movement::new(n), scale: full_scale(n) }
    }

    #[inline]
    fn step(&mut self, high: f64, low: f64, close: f64) -> f64 {
        if !self.movement.step(high, low, close) {
            return f64::NAN;
        }
        let moved = if PLUS { self.movement.plus } else { self.movement.minus };
        share(moved, self.movement.range, self.scale)
    }
}

impl<const PLUS: bool> Recursion<3, 2, 2, 2, 1> for Directional<PLUS> {
    fn constants(params: &[f64]) -> [f64; 2] {
        let n = period(params[0]);
        [wilder::keep(n), full_scale(n)]
    }

    fn warm_up([high, low, close]: [&[f64]; 3], params: &[f64]) -> ([f64; 2], [f64; 1]) {
        let mut directional = Self::new(period(params[0]));
        let mut value = f64::NAN;
        for ((&high, &low), &close) in high.iter().zip(low).zip(close) {
            value = directional.step(high, low, close);
        }
        let movement = directional.movement;
        ([if PLUS { movement.plus } else { movement.minus }, movement.range], [value])
    }

    fn memory(params: &[f64]) -> usize {
        wilder::memory(period(params[0]))
    }

    #[inline(always)]
    fn derive<N: Number>(now: [N; 3], before: [N; 3]) -> [N; 2] {
        let [plus, minus] = moves(now[0], now[1], before[0], before[1]);
        [if PLUS { plus } else { minus }, true_range(now[0], now[1], before[2])]
    }

    #[inline(always)]
    fn step<N: Number>([keep, scale]: [N; 2], sums: [N; 2], row: [N; 2]) -> ([N; 2], [N; 1]) {
        let moved = accumulate(sums[0], row[0], keep);
        let range = accumulate(sums[1], row[1], keep);
        ([moved, range], [share(moved, range, scale)])
    }
}

fn batch<const PLUS: bool>(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]) {
    recursion::batch::<Directional<PLUS>, 3, 2, 2, 2, 1>(isa, first, inputs, sets, outputs);
}

impl<const PLUS: bool> Incremental for Directional<PLUS> {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs[0] = self.step(inputs[0], inputs[1], inputs[2]);
    }
}
