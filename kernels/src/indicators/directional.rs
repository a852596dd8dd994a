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
use super::wilder;
use super::{Incremental, Indicator, IndicatorParam, ParamKind, period};

pub(super) const PLUS: Indicator = Indicator {
    name: "plus_di",
    summary: "positive directional indicator over n bars, 0 to 100",
    inputs: &["high", "low", "close"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["plus_di"],
    first: |params| period(params[0]),
    batch: batch::<true>,
    incremental: |params| Box::new(Directional::<true>::new(period(params[0]))),
};

pub(super) const MINUS: Indicator = Indicator {
    name: "minus_di",
    summary: "negative directional indicator over n bars, 0 to 100",
    inputs: &["high", "low", "close"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["minus_di"],
    first: |params| period(params[0]),
    batch: batch::<false>,
    incremental: |params| Box::new(Directional::<false>::new(period(params[0]))),
};

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
            let (up, down) = (high - self.high, self.low - low);
            let plus = if up > down && up > 0.0 { up } else { 0.0 };
            let minus = if down > up && down > 0.0 { down } else { 0.0 };
            let keep = if bar < self.n { 1.0 } else { self.keep };
            self.plus = self.plus * keep + plus;
            self.minus = self.minus * keep + minus;
            self.range = self.range * keep + true_range(high, low, self.close);
        }
        (self.high, self.low, self.close) = (high, low, close);
        bar >= self.n
    }
}

struct Directional<const PLUS: bool> {
    movement: Movement,
    scale: f64,
}

impl<const PLUS: bool> Directional<PLUS> {
    fn new(n: usize) -> Self {
        Directional { movement: Movement::new(n), scale: if n == 1 { 1.0 } else { 100.0 } }
    }

    #[inline]
    fn step(&mut self, high: f64, low: f64, close: f64) -> f64 {
        if !self.movement.step(high, low, close) {
            return f64::NAN;
        }
        let moved = if PLUS { self.movement.plus } else { self.movement.minus };
        let range = self.movement.range;
        if range == 0.0 { 0.0 } else { self.scale * (moved / range) }
    }
}

fn batch<const PLUS: bool>(inputs: &[&[f64]], params: &[f64], outputs: &mut [&mut [f64]]) {
    let mut directional = Directional::<PLUS>::new(period(params[0]));
    let bars = inputs[0].iter().zip(inputs[1]).zip(inputs[2]);
    for (out, ((&high, &low), &close)) in outputs[0].iter_mut().zip(bars) {
        *out = directional.step(high, low, close);
    }
}

impl<const PLUS: bool> Incremental for Directional<PLUS> {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs[0] = self.step(inputs[0], inputs[1], inputs[2]);
    }
}
