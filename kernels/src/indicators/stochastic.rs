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
use std::ops::Range;

use super::extremes::Extreme;
use super::levels::{LONGEST, Levels, TILE};
use super::rolling::{self, Roll, STRIDE, stride};
use super::sma::RollingMean;
use super::stochastic_pass::ShortPass;
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period, window};
use crate::series::{all_finite, within};
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
    tame: false,
    batch,
    one_pass: Some(one_pass),
    parts: None,
    incremental: |params| Box::new(Stochastic::new(params)),
};

/// Below this many parameter sets the two averages of one set run side by side, from there on each runs beside those of
/// the other sets.
const FEW: usize = 3;

/// Where the close is between the extremes.
#[inline(always)]
pub(super) fn raw<N: Number>(close: N, highest: N, lowest: N) -> N {
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
    let Some(&inputs) = inputs.first_chunk::<3>() else { return };
    let mut lines: Vec<Lines<'_>> = Vec::with_capacity(sets.len());
    for (params, outputs) in sets.iter().zip(outputs) {
        let [slow_k, slow_d] = outputs.as_mut_slice() else { return };
        lines.push(Lines { n: [0, 1, 2].map(|index| period(params[index])), slow_k, slow_d });
    }
    if lines.len() < FEW && lines.iter().all(|line| line.n[0] <= LONGEST) {
        for line in lines {
            single(isa, inputs, line);
        }
        return;
    }
    lines.sort_by_key(|line| line.n);
    raw_lines(isa, inputs, &mut lines);
    lines.retain_mut(|line| !line.is_raw(isa));
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

fn one_pass(isa: Isa, inputs: &[&[f64]], params: &[f64], outputs: &mut Outputs<'_>) -> bool {
    let (Some(&inputs), [slow_k, slow_d]) = (inputs.first_chunk::<3>(), outputs.as_mut_slice()) else {
        return false;
    };
    let n = [0, 1, 2].map(|index| period(params[index]));
    n[0] <= LONGEST && single(isa, inputs, Lines { n, slow_k, slow_d })
}

/// One parameter set whose window is not longer than [`LONGEST`]; whether every input and every result is finite.
fn single(isa: Isa, inputs: [&[f64]; 3], line: Lines<'_>) -> bool {
    let Lines { n, slow_k, slow_d } = line;
    if ShortPass::is_for(n, slow_k.len()) {
        isa.dispatch(ShortPass::new(inputs, n, slow_k, slow_d))
    } else {
        isa.dispatch(Single::new(inputs, Lines { n, slow_k, slow_d }))
    }
}

/// A parameter set and the places of its outputs.
struct Lines<'o> {
    /// `k`, `sk` and `sd`.
    n: [usize; 3],
    slow_k: &'o mut [f64],
    slow_d: &'o mut [f64],
}

impl Lines<'_> {
    /// Finishes a set whose averages are over one bar: each is then the value itself (a zero becomes +0), unless a raw value
    /// is not finite and stays in the running sum. Says whether that was all.
    fn is_raw(&mut self, isa: Isa) -> bool {
        let [k, sk, sd] = self.n;
        let (slow_k, slow_d) = (&mut self.slow_k[k - 1..], &mut self.slow_d[k - 1..]);
        if sk > 1 || sd > 1 || !all_finite(isa, slow_d) {
            return false;
        }
        for (slow_k, slow_d) in slow_k.iter_mut().zip(slow_d) {
            *slow_d += 0.0;
            *slow_k = *slow_d;
        }
        true
    }
}

/// The raw line of every set into the place of its `%D`. The sets are sorted by `k`.
fn raw_lines(isa: Isa, inputs: [&[f64]; 3], lines: &mut [Lines<'_>]) {
    let within = lines.partition_point(|line| line.n[0] <= LONGEST);
    let (short, long) = lines.split_at_mut(within);
    if let (Some(Lines { n: [shortest, ..], .. }), Some(Lines { n: [longest, ..], .. })) =
        (short.first(), short.last())
    {
        let (highest, lowest) = (Levels::new(*shortest, *longest), Levels::new(*shortest, *longest));
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
                let bars = from.max(*k - 1)..end;
                if bars.is_empty() {
                    continue;
                }
                if let Some(same) = done.last().filter(|same| same.n[0] == *k) {
                    out[bars.clone()].copy_from_slice(&same.slow_d[bars]);
                    continue;
                }
                let (high, low) =
                    (self.highest.halves(*k, bars.clone()), self.lowest.halves(*k, bars.clone()));
                raw_line(lanes, [high.0, high.1, low.0, low.1, &close[bars.clone()]], &mut out[bars]);
            }
        }
    }
}

/// One parameter set in one pass where [`ShortPass`] is not for it: a tile's raw line is smoothed while it is in the cache, and the two
/// chains of additions run beside each other.
struct Single<'a, 'o> {
    inputs: [&'a [f64]; 3],
    line: Lines<'o>,
    highest: Levels<true>,
    lowest: Levels<false>,
}

impl<'a, 'o> Single<'a, 'o> {
    fn new(inputs: [&'a [f64]; 3], line: Lines<'o>) -> Self {
        let [k, ..] = line.n;
        let (highest, lowest) = (Levels::new(k, k), Levels::new(k, k));
        Single { inputs, line, highest, lowest }
    }
}

impl Kernel for Single<'_, '_> {
    /// Whether every input and every result is finite.
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) -> bool {
        let [high, low, close] = self.inputs;
        let [k, sk, sd] = self.line.n;
        let (slow_k, slow_d) = (&mut *self.line.slow_k, &mut *self.line.slow_d);
        let (mut first, mut second) = (RollingMean::new(sk), RollingMean::new(sd));
        // The raw line of the last `sk` bars before a tile, then of the tile.
        let mut raw = vec![0.0; sk + TILE];
        let first_result = k + sk + sd - 3;
        let (mut finite, mut checked) = (true, 0);
        for from in (0..close.len()).step_by(TILE) {
            let end = close.len().min(from + TILE);
            self.highest.fill(lanes, high, from..end);
            self.lowest.fill(lanes, low, from..end);
            let bars = from.max(k - 1)..end;
            if bars.is_empty() {
                continue;
            }
            raw.copy_within(TILE.., 0);
            let (highs, lows) = (self.highest.halves(k, bars.clone()), self.lowest.halves(k, bars.clone()));
            let at = |t: usize| sk + t - from;
            let place = &mut raw[at(bars.start)..at(end)];
            raw_line(lanes, [highs.0, highs.1, lows.0, lows.1, &close[bars.clone()]], place);
            let mut t = bars.start;
            while t < end {
                if first.seen >= sk && second.seen >= sd && t + STRIDE <= end {
                    let window = [&raw[at(t)..at(t + STRIDE)], &raw[at(t) - sk..at(t + STRIDE) - sk]];
                    first.total =
                        stride::<STRIDE, L>(lanes, first.total, sk, window, &mut slow_k[t..t + STRIDE]);
                    let window = [&slow_k[t..t + STRIDE], &slow_k[t - sd..t + STRIDE - sd]];
                    second.total =
                        stride::<STRIDE, L>(lanes, second.total, sd, window, &mut slow_d[t..t + STRIDE]);
                    // Looking at the next tile's inputs here also brings them into the cache while the additions wait.
                    let ahead = checked..close.len().min(t + STRIDE + TILE);
                    finite &= inputs_within(lanes, self.inputs, ahead.clone());
                    checked = ahead.end;
                    t += STRIDE;
                    continue;
                }
                let full = first.seen + 1 >= sk;
                slow_k[t] = first.step(raw[at(t)], (first.seen >= sk).then(|| raw[at(t) - sk]));
                if full {
                    slow_d[t] = second.step(slow_k[t], (second.seen >= sd).then(|| slow_k[t - sd]));
                }
                t += 1;
            }
            let results = first_result.clamp(from, end)..end;
            finite &= within(lanes, &slow_k[results.clone()], f64::MAX);
            finite &= within(lanes, &slow_d[results], f64::MAX);
        }
        finite && inputs_within(lanes, self.inputs, checked..close.len())
    }
}

/// Whether these bars of every input are finite.
#[inline(always)]
fn inputs_within<L: Lanes>(lanes: L, inputs: [&[f64]; 3], bars: Range<usize>) -> bool {
    let mut finite = true;
    for input in inputs {
        finite &= within(lanes, &input[bars.clone()], f64::MAX);
    }
    finite
}

/// The raw line from two highest and two lowest of every bar, and its close.
#[inline(always)]
fn raw_line<L: Lanes>(lanes: L, numbers: [&[f64]; 5], out: &mut [f64]) {
    let [high, other_high, low, other_low, close] = numbers.map(|numbers| numbers.as_chunks());
    let (blocks, rest) = out.as_chunks_mut::<8>();
    let highs = high.0.iter().zip(other_high.0);
    let lows = low.0.iter().zip(other_low.0);
    for (out, ((high, low), close)) in blocks.iter_mut().zip(highs.zip(lows).zip(close.0)) {
        let highest = Levels::<true>::pick(lanes.eight(high.0), lanes.eight(high.1));
        let lowest = Levels::<false>::pick(lanes.eight(low.0), lanes.eight(low.1));
        *out = raw(lanes.eight(close), highest, lowest).array();
    }
    for (i, out) in rest.iter_mut().enumerate() {
        let highest = Levels::<true>::pick(high.1[i], other_high.1[i]);
        *out = raw(close.1[i], highest, Levels::<false>::pick(low.1[i], other_low.1[i]));
    }
}

impl Incremental for Stochastic {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs.copy_from_slice(&self.step(inputs[0], inputs[1], inputs[2]));
    }
}
