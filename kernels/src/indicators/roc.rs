//! Rate of change over `n` bars, in percent.
//!
//! `roc[t] = (x[t] / x[t-n] - 1) * 100`, first value at `n`; 0 where `x[t-n]` is exactly 0. Source: TA-Lib's
//! `ROC`; the bits are its bits.

use std::collections::VecDeque;

use super::window::{self, Change};
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period};
use crate::simd::{Isa, Number};

pub(super) const DEF: Indicator = Indicator {
    name: "roc",
    summary: "rate of change of x over n bars, in percent",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["roc"],
    first: |params| period(params[0]),
    tame: false,
    batch,
    one_pass: None,
    parts: None,
    incremental: |params| Box::new(State { n: period(params[0]), values: VecDeque::new() }),
};

struct Percent;

impl Change for Percent {
    #[inline(always)]
    fn of<N: Number>(newest: N, past: N) -> N {
        let zero = past.like(0.0);
        past.where_equal(zero, zero, (newest / past - past.like(1.0)) * past.like(100.0))
    }
}

fn batch(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]) {
    for (params, outputs) in sets.iter().zip(outputs) {
        window::changes::<Percent>(isa, inputs[0], period(params[0]), outputs[0]);
    }
}

struct State {
    n: usize,
    values: VecDeque<f64>,
}

impl Incremental for State {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        if let Some(past) = window::slide(&mut self.values, self.n, inputs[0]) {
            outputs[0] = Percent::of(inputs[0], past);
        }
    }
}
