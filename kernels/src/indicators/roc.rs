//! Rate of change over `n` bars, in percent.
//!
//! `roc[t] = (x[t] / x[t-n] - 1) * 100`, first value at `n`; 0 where `x[t-n]` is exactly 0. Source: TA-Lib's
//! `ROC`; the bits are its bits.

use std::collections::VecDeque;

use super::{Incremental, Indicator, IndicatorParam, ParamKind, period, window};

pub(super) const DEF: Indicator = Indicator {
    name: "roc",
    summary: "rate of change of x over n bars, in percent",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["roc"],
    first: |params| period(params[0]),
    batch,
    incremental: |params| Box::new(State { n: period(params[0]), values: VecDeque::new() }),
};

#[inline]
fn change_percent(newest: f64, past: f64) -> f64 {
    if past == 0.0 { 0.0 } else { (newest / past - 1.0) * 100.0 }
}

fn batch(inputs: &[&[f64]], params: &[f64], outputs: &mut [&mut [f64]]) {
    let (x, n) = (inputs[0], period(params[0]));
    let (warmup, rest) = outputs[0].split_at_mut(n.min(x.len()));
    warmup.fill(f64::NAN);
    for (out, (&newest, &past)) in rest.iter_mut().zip(x.iter().skip(n).zip(x)) {
        *out = change_percent(newest, past);
    }
}

struct State {
    n: usize,
    values: VecDeque<f64>,
}

impl Incremental for State {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        if let Some(past) = window::slide(&mut self.values, self.n, inputs[0]) {
            outputs[0] = change_percent(inputs[0], past);
        }
    }
}
