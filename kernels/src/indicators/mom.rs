//! Momentum: the change over `n` bars.
//!
//! `mom[t] = x[t] - x[t-n]`, first value at `n`. Source: TA-Lib's `MOM`; the bits are its bits.

use std::collections::VecDeque;

use super::window::{self, Change};
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period};
use crate::simd::{Isa, Number};

pub(super) const DEF: Indicator = Indicator {
    name: "mom",
    summary: "momentum: x minus its value n bars ago",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["mom"],
    first: |params| period(params[0]),
    tame: true,
    batch,
    one_pass: None,
    parts: None,
    incremental: |params| Box::new(State { n: period(params[0]), values: VecDeque::new() }),
};

struct Difference;

impl Change for Difference {
    #[inline(always)]
    fn of<N: Number>(newest: N, past: N) -> N {
        newest - past
    }
}

fn batch(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]) {
    for (params, outputs) in sets.iter().zip(outputs) {
        window::changes::<Difference>(isa, inputs[0], period(params[0]), outputs[0]);
    }
}

struct State {
    n: usize,
    values: VecDeque<f64>,
}

impl Incremental for State {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        if let Some(past) = window::slide(&mut self.values, self.n, inputs[0]) {
            outputs[0] = Difference::of(inputs[0], past);
        }
    }
}
