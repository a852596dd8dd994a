//! Standard deviation of the last `n` values (population: divided by `n`, not `n - 1`).
//!
//! `stddev[t] = sqrt(mean((x - mean(x))^2))` over the window, first value at `n - 1`. Source of the definition:
//! TA-Lib's `STDDEV` with one deviation.
//!
//! **Numerics.** TA-Lib subtracts `mean(x)^2` from `mean(x^2)` and loses up to half of the digits in a quiet
//! window at a high price. Here the running sums are of `d = x - anchor` and `d^2`, and `n * variance = sum(d^2) -
//! sum(d)^2 / n`. The anchor becomes the window's mean and both sums are added up afresh
//! - at the first full window and at every 512th bar of the run (for `n > 512` every `n` bars, rounded up to a
//!   multiple of 512), so that rounding cannot pile up, and
//! - at any bar where `n * variance` is less than 1/64 of the largest `sum(d^2)` since the last time: prices have
//!   moved far from the anchor, or a large move has just left the window.
//!
//! Both rules look at the bars alone, so every way of computing the series gives the same bits. A flat window
//! falls under the second rule and gives exactly 0. `n >= 2`, as in TA-Lib.

use std::collections::VecDeque;

use super::deviation::{self, Deviation, Window};
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period, window};
use crate::simd::Isa;

pub(super) const DEF: Indicator = Indicator {
    name: "stddev",
    summary: "population standard deviation of x over n bars",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 2 } }],
    outputs: &["stddev"],
    first: |params| period(params[0]) - 1,
    tame: true,
    batch,
    one_pass: None,
    parts: None,
    incremental: |params| {
        Box::new(State { deviation: Deviation::new(period(params[0])), values: VecDeque::new() })
    },
};

fn batch(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]) {
    let mut windows: Vec<Window<'_>> = Vec::with_capacity(sets.len());
    for (params, outputs) in sets.iter().zip(outputs) {
        windows.push(Window { n: period(params[0]), out: outputs[0] });
    }
    windows.sort_by_key(|window| window.n);
    deviation::over_series(isa, inputs[0], &mut windows);
}

struct State {
    deviation: Deviation,
    values: VecDeque<f64>,
}

impl Incremental for State {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        let leaving = window::slide(&mut self.values, self.deviation.n(), inputs[0]);
        outputs[0] = self.deviation.step(inputs[0], leaving, || self.values.iter().copied());
    }
}
