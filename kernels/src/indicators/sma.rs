//! Simple moving average: the mean of the last `n` values.
//!
//! `sma[t] = (x[t-n+1] + ... + x[t]) / n`, first value at `n - 1`; `n = 1` is `x` itself.
//!
//! Source: TA-Lib's `SMA`, as a running sum: add the newest, divide, subtract the oldest. The division is a true one
//! and the order of operations is TA-Lib's, so the bits are its bits, and a comparison with the average is decided as
//! users of TA-Lib know it, ties included. A running sum that overflows stays undefined to the end of its run.

use std::collections::VecDeque;

use super::rolling::{self, Roll};
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period, window};
use crate::simd::Isa;

pub(super) const DEF: Indicator = Indicator {
    name: "sma",
    summary: "simple moving average of x over n bars",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["sma"],
    first: |params| period(params[0]) - 1,
    tame: true,
    batch,
    one_pass: None,
    parts: Some(|sets| Some(rolling::Means::parts(sets))),
    incremental: |params| {
        Box::new(State { mean: RollingMean::new(period(params[0])), values: VecDeque::new() })
    },
};

/// The running sum behind every plain average of this crate.
pub(super) struct RollingMean {
    n: usize,
    divisor: f64,
    pub(super) total: f64,
    pub(super) seen: usize,
}

impl RollingMean {
    pub(super) fn new(n: usize) -> RollingMean {
        RollingMean { n, divisor: n as f64, total: 0.0, seen: 0 }
    }

    /// Takes the newest value and, once `n` have been seen, the one that leaves the window. `NaN` until it is full.
    #[inline]
    pub(super) fn step(&mut self, newest: f64, leaving: Option<f64>) -> f64 {
        if let Some(leaving) = leaving {
            self.total -= leaving;
        }
        self.total += newest;
        self.seen += 1;
        if self.seen < self.n { f64::NAN } else { self.total / self.divisor }
    }
}

fn batch(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]) {
    let mut rolls = Vec::with_capacity(sets.len());
    for (params, outputs) in sets.iter().zip(outputs) {
        rolls.push(Roll { source: inputs[0], n: period(params[0]), out: outputs[0] });
    }
    rolls.sort_by_key(|roll| roll.n);
    rolling::means(isa, &mut rolls);
}

struct State {
    mean: RollingMean,
    values: VecDeque<f64>,
}

impl Incremental for State {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        let leaving = window::slide(&mut self.values, self.mean.n, inputs[0]);
        outputs[0] = self.mean.step(inputs[0], leaving);
    }
}
