//! Average true range (Wilder).
//!
//! True range `tr[t] = max(high[t], close[t-1]) - min(low[t], close[t-1])`, from bar 1 on: the same bits as the
//! usual largest of `high - low`, `|high - close[t-1]|` and `|low - close[t-1]|`, because `low <= high`. `atr` is
//! its mean over the first `n` true ranges, then `atr * ((n-1)/n) + tr * (1/n)`. First value at `n`; `n = 1` is
//! the true range itself.
//!
//! Source: J. W. Wilder, *New Concepts in Technical Trading Systems* (1978); TA-Lib's `ATR` for the seed and the
//! first index.

use super::recursion::{self, Recursion};
use super::wilder::{self, Wilder};
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period};
use crate::simd::{Isa, Number};

pub(super) const DEF: Indicator = Indicator {
    name: "atr",
    summary: "average true range over n bars",
    inputs: &["high", "low", "close"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["atr"],
    first,
    tame: true,
    batch,
    one_pass: None,
    parts: Some(|sets| Some(recursion::parts::<Smoothed, 3, 1, 2, 1>(first, sets))),
    incremental: |params| Box::new(Atr::new(period(params[0]))),
};

fn first(params: &[f64]) -> usize {
    period(params[0])
}

/// How far the price has ranged since the close before.
#[inline(always)]
pub(super) fn true_range<N: Number>(high: N, low: N, previous_close: N) -> N {
    previous_close.max(high) - previous_close.min(low)
}

struct Atr {
    range: Wilder,
    close: Option<f64>,
}

impl Atr {
    fn new(n: usize) -> Atr {
        Atr { range: Wilder::new(n), close: None }
    }

    #[inline]
    fn step(&mut self, high: f64, low: f64, close: f64) -> f64 {
        match self.close.replace(close) {
            Some(previous) => self.range.step(true_range(high, low, previous)),
            None => f64::NAN,
        }
    }
}

struct Smoothed;

impl Recursion<3, 1, 2, 1, 1> for Smoothed {
    fn constants(params: &[f64]) -> [f64; 2] {
        let n = period(params[0]);
        [wilder::keep(n), wilder::take(n)]
    }

    fn warm_up([high, low, close]: [&[f64]; 3], params: &[f64]) -> ([f64; 1], [f64; 1]) {
        let mut atr = Atr::new(period(params[0]));
        let mut value = f64::NAN;
        for ((&high, &low), &close) in high.iter().zip(low).zip(close) {
            value = atr.step(high, low, close);
        }
        ([atr.range.value], [value])
    }

    fn memory(params: &[f64]) -> usize {
        wilder::memory(period(params[0]))
    }

    #[inline(always)]
    fn derive<N: Number>([high, low, _]: [N; 3], [_, _, previous_close]: [N; 3]) -> [N; 1] {
        [true_range(high, low, previous_close)]
    }

    #[inline(always)]
    fn step<N: Number>(shares: [N; 2], [average]: [N; 1], [range]: [N; 1]) -> ([N; 1], [N; 1]) {
        let average = wilder::smooth(average, range, shares);
        ([average], [average])
    }
}

fn batch(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]) {
    recursion::batch::<Smoothed, 3, 1, 2, 1, 1>(isa, first, inputs, sets, outputs);
}

impl Incremental for Atr {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs[0] = self.step(inputs[0], inputs[1], inputs[2]);
    }
}
