//! Average true range (Wilder).
//!
//! True range `tr[t] = max(high[t], close[t-1]) - min(low[t], close[t-1])`, from bar 1 on: the same bits as the
//! usual largest of `high - low`, `|high - close[t-1]|` and `|low - close[t-1]|`, because `low <= high`. `atr` is
//! its mean over the first `n` true ranges, then `atr * ((n-1)/n) + tr * (1/n)`. First value at `n`; `n = 1` is
//! the true range itself.
//!
//! Source: J. W. Wilder, *New Concepts in Technical Trading Systems* (1978); TA-Lib's `ATR` for the seed and the
//! first index.

use std::ops::Range;

use super::compute::TAME;
use super::recursion::{self, Recursion};
use super::wilder::{self, Wilder};
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period};
use crate::series::all_within;
use crate::simd::{Eight, Isa, Kernel, Lanes, Number};

pub(super) const DEF: Indicator = Indicator {
    name: "atr",
    summary: "average true range over n bars",
    inputs: &["high", "low", "close"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["atr"],
    first,
    tame: true,
    batch,
    one_pass: Some(one_pass),
    parts: Some(|sets| Some(recursion::parts::<Smoothed, 3, 1, 2, 1>(first, sets))),
    incremental: |params| Box::new(Atr::new(period(params[0]))),
};

fn first(params: &[f64]) -> usize {
    period(params[0])
}

/// How far the price has ranged since the close before.
#[inline(always)]
pub(super) fn true_range<N: Number>(high: N, low: N, previous_close: N) -> N {
    previous_close.max(high) - previous_close.min(low)
}

struct Atr {
    range: Wilder,
    close: Option<f64>,
}

impl Atr {
    fn new(n: usize) -> Atr {
        Atr { range: Wilder::new(n), close: None }
    }

    #[inline]
    fn step(&mut self, high: f64, low: f64, close: f64) -> f64 {
        match self.close.replace(close) {
            Some(previous) => self.range.step(true_range(high, low, previous)),
            None => f64::NAN,
        }
    }
}

struct Smoothed;

impl Recursion<3, 1, 2, 1, 1> for Smoothed {
    fn constants(params: &[f64]) -> [f64; 2] {
        let n = period(params[0]);
        [wilder::keep(n), wilder::take(n)]
    }

    fn warm_up([high, low, close]: [&[f64]; 3], params: &[f64]) -> ([f64; 1], [f64; 1]) {
        let mut atr = Atr::new(period(params[0]));
        let mut value = f64::NAN;
        for ((&high, &low), &close) in high.iter().zip(low).zip(close) {
            value = atr.step(high, low, close);
        }
        ([atr.range.value], [value])
    }

    fn memory(params: &[f64]) -> usize {
        wilder::memory(period(params[0]))
    }

    #[inline(always)]
    fn derive<N: Number>([high, low, _]: [N; 3], [_, _, previous_close]: [N; 3]) -> [N; 1] {
        [true_range(high, low, previous_close)]
    }

    #[inline(always)]
    fn step<N: Number>(shares: [N; 2], [average]: [N; 1], [range]: [N; 1]) -> ([N; 1], [N; 1]) {
        let average = wilder::smooth(average, range, shares);
        ([average], [average])
    }
}

/// Bars whose true ranges are made before they are smoothed: so few that they stay in the cache until then, so many that the starts
/// of the stretches do not count.
const REGION: usize = 1 << 17;

/// True ranges that are there, smoothed.
struct OfRanges;

impl Recursion<1, 1, 2, 1, 1> for OfRanges {
    fn constants(params: &[f64]) -> [f64; 2] {
        Smoothed::constants(params)
    }

    fn warm_up([ranges]: [&[f64]; 1], params: &[f64]) -> ([f64; 1], [f64; 1]) {
        let mut average = Wilder::new(period(params[0]));
        let value = ranges.iter().fold(f64::NAN, |_, &range| average.step(range));
        ([average.value], [value])
    }

    fn memory(params: &[f64]) -> usize {
        Smoothed::memory(params)
    }

    #[inline(always)]
    fn derive<N: Number>(range: [N; 1], _: [N; 1]) -> [N; 1] {
        range
    }

    #[inline(always)]
    fn step<N: Number>(shares: [N; 2], average: [N; 1], range: [N; 1]) -> ([N; 1], [N; 1]) {
        Smoothed::step(shares, average, range)
    }
}

/// A single set of a long series: eight stretches of three inputs are more streams than a processor reads ahead in, so the true
/// ranges are made first, in one stream, where the inputs are looked at too. Says whether all of them are within [`TAME`].
fn one_pass(isa: Isa, inputs: &[&[f64]], params: &[f64], outputs: &mut Outputs<'_>) -> bool {
    let (&[high, low, close], [out]) = (inputs, outputs.as_mut_slice()) else { return false };
    let (first, bars) = (first(params), close.len());
    if bars < REGION || first >= REGION || params.iter().any(|param| param.abs() > TAME) {
        return false;
    }
    let inputs = [high, low, close];
    // Undefined bars are mostly at the start.
    if !inputs.iter().all(|input| all_within(isa, &input[..=first], TAME)) {
        return false;
    }
    let (mut state, [value]) = Smoothed::warm_up(inputs.map(|input| &input[..=first]), params);
    out[first] = value;
    let mut ranges = vec![0.0; REGION + 1];
    for from in (first + 1..bars).step_by(REGION) {
        let end = bars.min(from + REGION);
        let ranges = &mut ranges[..=end - from];
        if !isa.dispatch(Ranges { inputs, bars: from..end, out: &mut ranges[1..] }) {
            return false;
        }
        state = recursion::go_on::<OfRanges, 1, 1, 2, 1, 1>(
            isa,
            [ranges],
            params,
            state,
            [&mut out[from - 1..end]],
        );
    }
    true
}

/// The true ranges of some bars after the first.
struct Ranges<'a, 'o> {
    inputs: [&'a [f64]; 3],
    bars: Range<usize>,
    out: &'o mut [f64],
}

impl Kernel for Ranges<'_, '_> {
    /// Whether highs, lows and closes are within [`TAME`].
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> bool {
        let Ranges { inputs: [high, low, close], bars, out } = self;
        let (highs, lows) = (high[bars.clone()].as_chunks::<8>(), low[bars.clone()].as_chunks::<8>());
        let closes = close[bars.start - 1..bars.end - 1].as_chunks::<8>();
        let (outs, rest) = out.as_chunks_mut::<8>();
        let (most, one) = (lanes.splat(TAME), lanes.splat(1.0));
        // 1 where a number was beyond.
        let mut beyond = [lanes.splat(0.0); 3];
        for (out, ((high, low), close)) in outs.iter_mut().zip(highs.0.iter().zip(lows.0).zip(closes.0)) {
            let numbers = [lanes.eight(high), lanes.eight(low), lanes.eight(close)];
            for (beyond, number) in beyond.iter_mut().zip(numbers) {
                *beyond = number.abs().where_at_most(most, *beyond, one);
            }
            *out = true_range(numbers[0], numbers[1], numbers[2]).array();
        }
        let mut is_within = beyond.iter().all(|beyond| beyond.array().iter().all(|&beyond| beyond == 0.0));
        for (out, ((&high, &low), &close)) in rest.iter_mut().zip(highs.1.iter().zip(lows.1).zip(closes.1)) {
            is_within &= [high, low, close].iter().all(|number| number.abs() <= TAME);
            *out = true_range(high, low, close);
        }
        is_within && close[bars.end - 1].abs() <= TAME
    }
}

fn batch(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]) {
    recursion::batch::<Smoothed, 3, 1, 2, 1, 1>(isa, first, inputs, sets, outputs);
}

impl Incremental for Atr {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs[0] = self.step(inputs[0], inputs[1], inputs[2]);
    }
}
