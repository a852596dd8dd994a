//! Momentum: the change over `n` bars.
//!
//! `mom[t] = x[t] - x[t-n]`, first value at `n`. Source: TA-Lib's `MOM`; the bits are its bits.

use std::collections::VecDeque;

use super::{Incremental, Indicator, IndicatorParam, ParamKind, period, window};

pub(super) const DEF: Indicator = Indicator {
    name: "mom",
    summary: "momentum: x minus its value n bars ago",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["mom"],
    first: |params| period(params[0]),
    batch,
    incremental: |params| Box::new(State { n: period(params[0]), values: VecDeque::new() }),
};

fn batch(inputs: &[&[f64]], params: &[f64], outputs: &mut [&mut [f64]]) {
    let (x, n) = (inputs[0], period(params[0]));
    let (warmup, rest) = outputs[0].split_at_mut(n.min(x.len()));
    warmup.fill(f64::NAN);
    for (out, (&newest, &past)) in rest.iter_mut().zip(x.iter().skip(n).zip(x)) {
        *out = newest - past;
    }
}

struct State {
    n: usize,
    values: VecDeque<f64>,
}

impl Incremental for State {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        if let Some(past) = window::slide(&mut self.values, self.n, inputs[0]) {
            outputs[0] = inputs[0] - past;
        }
    }
}
