//! Stochastic oscillator (the slow one: both lines are smoothed).
//!
//! With `ll`, `hh` the lowest low and the highest high of `k` bars: raw `= 100 * ((close - ll) / (hh - ll))`, and
//! 0 where `hh = ll`; `stoch_k = sma(raw, sk)`, `stoch_d = sma(stoch_k, sd)`. Both start together, where `stoch_d`
//! does, at `k + sk + sd - 3`. What many tools call "%K" is the raw line: `sk = 1`.
//!
//! Source: TA-Lib's `STOCH` with simple averages, in the order of operations of its version 0.8. A running average
//! of values that fall back to 0 may keep a residue near 1e-13 on either side of 0, as TA-Lib's does: compare with
//! levels, not with exactly 0 or 100.

use std::collections::VecDeque;

use super::extremes::Extreme;
use super::sma::RollingMean;
use super::{Incremental, Indicator, IndicatorParam, ParamKind, period, window};

pub(super) const DEF: Indicator = Indicator {
    name: "stochastic",
    summary: "slow stochastic oscillator over k bars, smoothed over sk and again over sd bars, 0 to 100",
    inputs: &["high", "low", "close"],
    params: &[
        IndicatorParam { name: "k", kind: ParamKind::Period { min: 1 } },
        IndicatorParam { name: "sk", kind: ParamKind::Period { min: 1 } },
        IndicatorParam { name: "sd", kind: ParamKind::Period { min: 1 } },
    ],
    outputs: &["stoch_k", "stoch_d"],
    first: |params| params.iter().map(|&n| period(n) - 1).sum(),
    batch,
    incremental: |params| Box::new(Stochastic::new(params)),
};

/// An average of a line that starts late and exists only bar by bar.
struct Smoothing {
    n: usize,
    mean: RollingMean,
    values: VecDeque<f64>,
}

impl Smoothing {
    fn new(n: usize) -> Smoothing {
        Smoothing { n, mean: RollingMean::new(n), values: VecDeque::new() }
    }

    #[inline]
    fn step(&mut self, x: f64) -> f64 {
        let leaving = window::slide(&mut self.values, self.n, x);
        self.mean.step(x, leaving)
    }
}

struct Stochastic {
    highest: Extreme<true>,
    lowest: Extreme<false>,
    slow_k: Smoothing,
    slow_d: Smoothing,
}

impl Stochastic {
    fn new(params: &[f64]) -> Stochastic {
        let k = period(params[0]);
        Stochastic {
            highest: Extreme::new(k),
            lowest: Extreme::new(k),
            slow_k: Smoothing::new(period(params[1])),
            slow_d: Smoothing::new(period(params[2])),
        }
    }

    /// `%K` and `%D`.
    #[inline]
    fn step(&mut self, high: f64, low: f64, close: f64) -> [f64; 2] {
        const WARMUP: [f64; 2] = [f64::NAN; 2];
        let (highest, lowest) = (self.highest.step(high), self.lowest.step(low));
        if highest.is_nan() {
            return WARMUP;
        }
        let span = highest - lowest;
        let raw = if span == 0.0 { 0.0 } else { 100.0 * ((close - lowest) / span) };
        let k = self.slow_k.step(raw);
        if k.is_nan() {
            return WARMUP;
        }
        let d = self.slow_d.step(k);
        if d.is_nan() { WARMUP } else { [k, d] }
    }
}

fn batch(inputs: &[&[f64]], params: &[f64], outputs: &mut [&mut [f64]]) {
    let mut stochastic = Stochastic::new(params);
    let [k, d] = outputs else { return };
    for (t, ((&high, &low), &close)) in inputs[0].iter().zip(inputs[1]).zip(inputs[2]).enumerate() {
        [k[t], d[t]] = stochastic.step(high, low, close);
    }
}

impl Incremental for Stochastic {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs.copy_from_slice(&self.step(inputs[0], inputs[1], inputs[2]));
    }
}
