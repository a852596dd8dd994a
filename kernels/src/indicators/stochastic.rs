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
use super::levels::{LONGEST, Levels, TILE};
use super::recursion::{eight_of, eight_of_mut};
use super::rolling::{self, Roll};
use super::sma::RollingMean;
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period, window};
use crate::simd::{Eight, Isa, Kernel, Lanes, Number};

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

/// Where the close is between the extremes.
#[inline(always)]
fn raw<N: Number>(close: N, highest: N, lowest: N) -> N {
    let (span, zero) = (highest - lowest, close.like(0.0));
    span.where_equal(zero, zero, close.like(100.0) * ((close - lowest) / span))
}

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
        let k = self.slow_k.step(raw(close, highest, lowest));
        if k.is_nan() {
            return WARMUP;
        }
        let d = self.slow_d.step(k);
        if d.is_nan() { WARMUP } else { [k, d] }
    }
}

/// The raw line is made in the place of `%D`, from there smoothed into the place of `%K`, and from there back.
fn batch(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]) {
    let mut lines: Vec<Lines<'_>> = Vec::with_capacity(sets.len());
    for (params, outputs) in sets.iter().zip(outputs) {
        let [slow_k, slow_d] = outputs.as_mut_slice() else { return };
        lines.push(Lines { n: [0, 1, 2].map(|index| period(params[index])), slow_k, slow_d });
    }
    lines.sort_by_key(|line| line.n);
    raw_lines(isa, inputs, &mut lines);
    let mut rolls: Vec<Roll<'_>> = Vec::with_capacity(lines.len());
    for Lines { n: [k, sk, _], slow_k, slow_d } in &mut lines {
        rolls.push(Roll { source: &slow_d[*k - 1..], n: *sk, out: &mut slow_k[*k - 1..] });
    }
    rolling::means(isa, &mut rolls);
    drop(rolls);
    let mut rolls: Vec<Roll<'_>> = Vec::with_capacity(lines.len());
    for Lines { n: [k, sk, sd], slow_k, slow_d } in &mut lines {
        let first = *k + *sk - 2;
        rolls.push(Roll { source: &slow_k[first..], n: *sd, out: &mut slow_d[first..] });
    }
    rolling::means(isa, &mut rolls);
}

/// A parameter set and the places of its outputs.
struct Lines<'o> {
    /// `k`, `sk` and `sd`.
    n: [usize; 3],
    slow_k: &'o mut [f64],
    slow_d: &'o mut [f64],
}

/// The raw line of every set into the place of its `%D`. The sets are sorted by `k`.
fn raw_lines(isa: Isa, inputs: &[&[f64]], lines: &mut [Lines<'_>]) {
    let Some(&inputs) = inputs.first_chunk::<3>() else { return };
    let within = lines.partition_point(|line| line.n[0] <= LONGEST);
    let (short, long) = lines.split_at_mut(within);
    if let Some(longest) = short.last().map(|line| line.n[0]) {
        let (highest, lowest) = (Levels::new(longest), Levels::new(longest));
        isa.dispatch(RawLines { inputs, lines: short, highest, lowest });
    }
    for line in long {
        let mut highest = Extreme::<true>::new(line.n[0]);
        let mut lowest = Extreme::<false>::new(line.n[0]);
        let [high, low, close] = inputs;
        for (t, out) in line.slow_d.iter_mut().enumerate() {
            *out = raw(close[t], highest.step(high[t]), lowest.step(low[t]));
        }
    }
}

struct RawLines<'a, 'o> {
    inputs: [&'a [f64]; 3],
    lines: &'a mut [Lines<'o>],
    highest: Levels<true>,
    lowest: Levels<false>,
}

impl Kernel for RawLines<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let [high, low, close] = self.inputs;
        for from in (0..close.len()).step_by(TILE) {
            let end = close.len().min(from + TILE);
            self.highest.fill(lanes, high, from..end);
            self.lowest.fill(lanes, low, from..end);
            for index in 0..self.lines.len() {
                let (done, rest) = self.lines.split_at_mut(index);
                let Lines { n: [k, ..], slow_d: out, .. } = &mut rest[0];
                let mut t = from.max(*k - 1);
                if let Some(same) = done.last().filter(|same| same.n[0] == *k) {
                    if t < end {
                        out[t..end].copy_from_slice(&same.slow_d[t..end]);
                    }
                    continue;
                }
                while t + 8 <= end {
                    let (highest, lowest) =
                        (self.highest.eight(lanes, *k, t), self.lowest.eight(lanes, *k, t));
                    *eight_of_mut(out, t) = raw(lanes.eight(eight_of(close, t)), highest, lowest).array();
                    t += 8;
                }
                for t in t..end {
                    out[t] = raw(close[t], self.highest.one(*k, t), self.lowest.one(*k, t));
                }
            }
        }
    }
}

impl Incremental for Stochastic {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs.copy_from_slice(&self.step(inputs[0], inputs[1], inputs[2]));
    }
}
