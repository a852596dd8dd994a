//! Simple moving average: the mean of the last `n` values.
//!
//! `sma[t] = (x[t-n+1] + ... + x[t]) / n`, first value at `n - 1`; `n = 1` is `x` itself.
//!
//! Source: TA-Lib's `SMA`, as a running sum: add the newest, divide, subtract the oldest. The division is a true one
//! and the order of operations is TA-Lib's, so the bits are its bits, and a comparison with the average is decided as
//! users of TA-Lib know it, ties included. A running sum that overflows stays undefined to the end of its run.

use std::collections::VecDeque;

use super::{Incremental, Indicator, IndicatorParam, ParamKind, period, window};

pub(super) const DEF: Indicator = Indicator {
    name: "sma",
    summary: "simple moving average of x over n bars",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["sma"],
    first: |params| period(params[0]) - 1,
    batch,
    incremental: |params| {
        Box::new(State { mean: RollingMean::new(period(params[0])), values: VecDeque::new() })
    },
};

/// The running sum behind every plain average of this crate.
pub(super) struct RollingMean {
    n: usize,
    divisor: f64,
    total: f64,
    seen: usize,
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

fn batch(inputs: &[&[f64]], params: &[f64], outputs: &mut [&mut [f64]]) {
    let (x, n) = (inputs[0], period(params[0]));
    let mut mean = RollingMean::new(n);
    for (t, out) in outputs[0].iter_mut().enumerate() {
        *out = mean.step(x[t], window::leaving(x, t, n));
    }
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
