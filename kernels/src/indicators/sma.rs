//! Simple moving average: the mean of the last `n` values.
//!
//! `sma[t] = (x[t-n+1] + ... + x[t]) / n`, as TA-Lib's running sum: add the newest, divide, subtract the oldest.
//! First value at `n - 1`. The division is a true one and the order of operations is TA-Lib's, so the bits are its
//! bits and a comparison with the average is decided as users of TA-Lib know it, ties included.

use std::collections::VecDeque;

use super::{Incremental, Indicator, IndicatorParam, ParamKind, period};

pub(super) const DEF: Indicator = Indicator {
    name: "sma",
    summary: "simple moving average of x over n bars",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["sma"],
    first: |params| period(params[0]) - 1,
    batch,
    incremental: |params| {
        Box::new(State {
            n: period(params[0]),
            total: 0.0,
            window: VecDeque::with_capacity(period(params[0])),
        })
    },
};

fn batch(inputs: &[&[f64]], params: &[f64], outputs: &mut [&mut [f64]]) {
    let (x, n) = (inputs[0], period(params[0]));
    let out = &mut *outputs[0];
    let divisor = n as f64;
    let mut total = 0.0;
    for t in 0..x.len() {
        total += x[t];
        if t + 1 < n {
            out[t] = f64::NAN;
        } else {
            out[t] = total / divisor;
            total -= x[t + 1 - n];
        }
    }
}

struct State {
    n: usize,
    total: f64,
    window: VecDeque<f64>,
}

impl Incremental for State {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        self.total += inputs[0];
        self.window.push_back(inputs[0]);
        if self.window.len() == self.n {
            outputs[0] = self.total / self.n as f64;
            if let Some(oldest) = self.window.pop_front() {
                self.total -= oldest;
            }
        }
    }
}
