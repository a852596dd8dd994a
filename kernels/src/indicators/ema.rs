//! Exponential moving average.
//!
//! `ema[t] = (x[t] - ema[t-1]) * k + ema[t-1]` with `k = 2 / (n + 1)`, seeded at `n - 1` with the mean of the
//! first `n` values; that seed is the first value. `n = 1` is `x` itself, to the bit.
//!
//! Source: TA-Lib's `EMA` in its default (not Metastock) mode, in its order of operations without fused
//! ones: the bits are those of a TA-Lib that is compiled that way, and within 1e-15 relative of one that fuses.

use super::parts::Parts;
use super::recursion::{self, Recursion};
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period};
use crate::simd::{Isa, Number};

pub(super) const DEF: Indicator = Indicator {
    name: "ema",
    summary: "exponential moving average of x over n bars",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["ema"],
    first,
    tame: true,
    batch,
    one_pass: None,
    parts: Some(parts),
    incremental: |params| Box::new(Ema::new(period(params[0]))),
};

fn first(params: &[f64]) -> usize {
    period(params[0]) - 1
}

/// The weight of the newest value.
pub(super) fn weight(n: usize) -> f64 {
    2.0 / (n as f64 + 1.0)
}

/// The average after one more value.
#[inline(always)]
pub(super) fn next<N: Number>(average: N, x: N, k: N) -> N {
    (x - average) * k + average
}

/// Bars after which an average has forgotten its start: the share that is left, `(1 - k)^bars`, is below the last bit.
pub(super) fn memory(n: usize) -> usize {
    25 * n
}

/// One average with its seed; also the three of MACD.
pub(super) struct Ema {
    n: usize,
    k: f64,
    seen: usize,
    /// The sum of the seed's values until `n` have been seen, the average afterwards.
    pub(super) value: f64,
}

impl Ema {
    pub(super) fn new(n: usize) -> Ema {
        Ema { n, k: weight(n), seen: 0, value: 0.0 }
    }

    /// Takes the next value; `NaN` until `n` have been seen.
    #[inline]
    pub(super) fn step(&mut self, x: f64) -> f64 {
        if self.n == 1 {
            return x;
        }
        if self.seen >= self.n {
            self.value = next(self.value, x, self.k);
            return self.value;
        }
        self.value += x;
        self.seen += 1;
        if self.seen < self.n {
            return f64::NAN;
        }
        self.value /= self.n as f64;
        self.value
    }
}

struct Average;

impl Recursion<1, 1, 1, 1, 1> for Average {
    fn constants(params: &[f64]) -> [f64; 1] {
        [weight(period(params[0]))]
    }

    fn warm_up([x]: [&[f64]; 1], params: &[f64]) -> ([f64; 1], [f64; 1]) {
        let mut ema = Ema::new(period(params[0]));
        let values = [x.iter().fold(f64::NAN, |_, &x| ema.step(x))];
        ([ema.value], values)
    }

    fn memory(params: &[f64]) -> usize {
        memory(period(params[0]))
    }

    #[inline(always)]
    fn derive<N: Number>([x]: [N; 1], _: [N; 1]) -> [N; 1] {
        [x]
    }

    #[inline(always)]
    fn step<N: Number>([k]: [N; 1], [average]: [N; 1], [x]: [N; 1]) -> ([N; 1], [N; 1]) {
        let average = next(average, x, k);
        ([average], [average])
    }
}

fn batch(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]) {
    let (mut params, mut averages) = (Vec::new(), Vec::new());
    for (set, outputs) in sets.iter().zip(outputs) {
        if period(set[0]) == 1 {
            outputs[0].copy_from_slice(inputs[0]);
        } else {
            params.push(*set);
            averages.push(std::mem::take(outputs));
        }
    }
    recursion::batch::<Average, 1, 1, 1, 1, 1>(isa, first, inputs, &params, &mut averages);
}

fn parts(sets: &[&[f64]]) -> Option<Box<dyn Parts>> {
    // An average over one bar is the bar itself, which the recursion would round.
    let is_average = sets.iter().all(|set| period(set[0]) > 1);
    is_average.then(|| recursion::parts::<Average, 1, 1, 1, 1>(first, sets))
}

impl Incremental for Ema {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs[0] = self.step(inputs[0]);
    }
}
