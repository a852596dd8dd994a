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

use super::wilder::Wilder;
use super::{Incremental, Indicator, IndicatorParam, ParamKind, period};

pub(super) const DEF: Indicator = Indicator {
    name: "rsi",
    summary: "relative strength index of x over n bars, 0 to 100",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 2 } }],
    outputs: &["rsi"],
    first: |params| period(params[0]),
    batch,
    incremental: |params| Box::new(Rsi::new(period(params[0]))),
};

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
        let change = x - previous;
        let gain = self.gain.step(if change > 0.0 { change } else { 0.0 });
        let loss = self.loss.step(if change < 0.0 { -change } else { 0.0 });
        let sum = gain + loss;
        if sum == 0.0 { 0.0 } else { 100.0 * (gain / sum) }
    }
}

fn batch(inputs: &[&[f64]], params: &[f64], outputs: &mut [&mut [f64]]) {
    let mut rsi = Rsi::new(period(params[0]));
    for (out, &x) in outputs[0].iter_mut().zip(inputs[0]) {
        *out = rsi.step(x);
    }
}

impl Incremental for Rsi {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs[0] = self.step(inputs[0]);
    }
}
