//! Relative strength index (Wilder).
//!
//! `rsi = 100 * g / (g + l)`, where `g` and `l` are the smoothed gains `max(x[t] - x[t-1], 0)` and losses
//! `max(x[t-1] - x[t], 0)`: the mean of the first `n`, then `g * ((n-1)/n) + gain * (1/n)`. First value at `n`.
//! Where `g + l` is exactly 0 (no move since the start of the run, or so long ago that `f64` holds nothing of it)
//! the value is 0.
//!
//! Source: J. W. Wilder, *New Concepts in Technical Trading Systems* (1978); TA-Lib's `RSI` for the seed, the
//! first index and the 0 rule. Versions of TA-Lib before 0.8 call a sum below a small epsilon zero; only zero is,
//! so that the smallest prices and long pauses keep their value. `n >= 2`: over one bar the index could only be 0
//! or 100.

use super::recursion::{self, Recursion};
use super::wilder::{self, Wilder};
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period};
use crate::simd::{Isa, Number};

pub(super) const DEF: Indicator = Indicator {
    name: "rsi",
    summary: "relative strength index of x over n bars, 0 to 100",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 2 } }],
    outputs: &["rsi"],
    first,
    tame: true,
    batch,
    one_pass: None,
    parts: Some(|sets| Some(recursion::parts::<Smoothed, 1, 2, 2, 2>(first, sets))),
    incremental: |params| Box::new(Rsi::new(period(params[0]))),
};

fn first(params: &[f64]) -> usize {
    period(params[0])
}

/// The move from the value before, up and down.
#[inline(always)]
fn gain_and_loss<N: Number>(x: N, previous: N) -> [N; 2] {
    let (change, zero) = (x - previous, x.like(0.0));
    [change.max(zero), (zero - change).max(zero)]
}

/// The index of two averages.
#[inline(always)]
fn index<N: Number>(gain: N, loss: N) -> N {
    let (sum, zero) = (gain + loss, gain.like(0.0));
    sum.where_equal(zero, zero, gain.like(100.0) * (gain / sum))
}

struct Rsi {
    gain: Wilder,
    loss: Wilder,
    previous: Option<f64>,
}

impl Rsi {
    fn new(n: usize) -> Rsi {
        Rsi { gain: Wilder::new(n), loss: Wilder::new(n), previous: None }
    }

    #[inline]
    fn step(&mut self, x: f64) -> f64 {
        let Some(previous) = self.previous.replace(x) else { return f64::NAN };
        let [gain, loss] = gain_and_loss(x, previous);
        index(self.gain.step(gain), self.loss.step(loss))
    }
}

struct Smoothed;

impl Recursion<1, 2, 2, 2, 1> for Smoothed {
    fn constants(params: &[f64]) -> [f64; 2] {
        let n = period(params[0]);
        [wilder::keep(n), wilder::take(n)]
    }

    fn warm_up([x]: [&[f64]; 1], params: &[f64]) -> ([f64; 2], [f64; 1]) {
        let mut rsi = Rsi::new(period(params[0]));
        let values = [x.iter().fold(f64::NAN, |_, &x| rsi.step(x))];
        ([rsi.gain.value, rsi.loss.value], values)
    }

    fn memory(params: &[f64]) -> usize {
        wilder::memory(period(params[0]))
    }

    #[inline(always)]
    fn derive<N: Number>([x]: [N; 1], [previous]: [N; 1]) -> [N; 2] {
        gain_and_loss(x, previous)
    }

    #[inline(always)]
    fn step<N: Number>(shares: [N; 2], state: [N; 2], row: [N; 2]) -> ([N; 2], [N; 1]) {
        let gain = wilder::smooth(state[0], row[0], shares);
        let loss = wilder::smooth(state[1], row[1], shares);
        ([gain, loss], [index(gain, loss)])
    }
}

fn batch(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]) {
    recursion::batch::<Smoothed, 1, 2, 2, 2, 1>(isa, first, inputs, sets, outputs);
}

impl Incremental for Rsi {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs[0] = self.step(inputs[0]);
    }
}
