//! The stochastic oscillator over few bars, one parameter set in one pass. Not an indicator.
//!
//! Each of the two averages is a chain of two additions per bar, which leaves most of the processor idle. It looks only some
//! hundreds of instructions ahead, so what is to fill the time has to stand close by: sixteen bars at a time get their extremes, those before
//! them their raw line, those before these their first average, and the last their second one. Nothing waits for what was written just before.

use std::ops::Range;

use super::extremes::Extreme;
use super::levels::Levels;
use super::rolling::stride;
use super::sma::RollingMean;
use super::stochastic::raw;
use crate::series::{Passing, within};
use crate::simd::{Eight, Kernel, Lanes};

/// Bars of a step.
const STEP: usize = 16;
/// Bars whose extremes and raw line are kept in one place.
const TILE: usize = 512;
/// Bars before a tile that the steps and averages reach back to.
const REACH: usize = 96;
/// How far the steps are behind: the raw line, the first and the second average.
const BEHIND: [usize; 3] = [STEP, 2 * STEP, 3 * STEP];
/// The longest averages.
const LONGEST_MEAN: usize = REACH - BEHIND[2];
/// The longest window of extremes, of which the two halves are made of no more than eight bars.
const LONGEST_WINDOW: usize = 15;
/// Bars that are computed one by one before all windows are full and there is enough to reach back to.
const START: usize = 2 * REACH;
/// Fewer bars are not worth it.
const FEWEST: usize = START + 4 * TILE;

/// One parameter set.
pub(super) struct ShortPass<'a, 'o> {
    inputs: [&'a [f64]; 3],
    k: usize,
    slow_k: Average<'o>,
    slow_d: Average<'o>,
}

/// An average on its way through its line.
struct Average<'o> {
    n: usize,
    mean: RollingMean,
    /// The first bar still to come.
    next: usize,
    out: &'o mut [f64],
}

impl Average<'_> {
    /// Takes the bars before `end` one by one, of a line that begins with bar `start`.
    fn advance(&mut self, line: &[f64], start: usize, end: usize) {
        for t in self.next..end {
            let leaving = (self.mean.seen >= self.n).then(|| line[t - self.n - start]);
            self.out[t] = self.mean.step(line[t - start], leaving);
        }
        self.next = self.next.max(end);
    }
}

impl<'a, 'o> ShortPass<'a, 'o> {
    /// Whether parameters are small enough and bars many enough.
    pub(super) fn is_for([k, sk, sd]: [usize; 3], bars: usize) -> bool {
        k <= LONGEST_WINDOW && sk.max(sd) <= LONGEST_MEAN && bars >= FEWEST
    }

    /// Where [`ShortPass::is_for`] says so.
    pub(super) fn new(
        inputs: [&'a [f64]; 3],
        [k, sk, sd]: [usize; 3],
        slow_k: &'o mut [f64],
        slow_d: &'o mut [f64],
    ) -> Self {
        let average = |n, next, out| Average { n, mean: RollingMean::new(n), next, out };
        ShortPass { inputs, k, slow_k: average(sk, k - 1, slow_k), slow_d: average(sd, k + sk - 2, slow_d) }
    }

    /// The raw line of some bars, one by one.
    fn raw_line(&self, bars: Range<usize>) -> Vec<f64> {
        let [high, low, close] = self.inputs;
        let (mut highest, mut lowest) = (Extreme::<true>::new(self.k), Extreme::<false>::new(self.k));
        let mut line = Vec::with_capacity(bars.len());
        for t in bars.start + 1 - self.k..bars.end {
            let (highest, lowest) = (highest.step(high[t]), lowest.step(low[t]));
            if t >= bars.start {
                line.push(raw(close[t], highest, lowest));
            }
        }
        line
    }

    /// The averages of the bars before `end`, but for those that they are behind by.
    fn advance(&mut self, line: &[f64], start: usize, end: usize, behind: [usize; 2]) {
        self.slow_k.advance(line, start, end - behind[0]);
        self.slow_d.advance(self.slow_k.out, 0, end - behind[1]);
    }
}

impl Kernel for ShortPass<'_, '_> {
    /// Whether every input and every result is finite.
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) -> bool {
        let [high, low, close] = self.inputs;
        let line = self.raw_line(self.k - 1..START);
        self.advance(&line, self.k - 1, START, [BEHIND[1], BEHIND[2]]);
        let mut steps = Steps::new(lanes, self.k);
        for at in (0..REACH).step_by(8) {
            steps.extremes(lanes, part(high, START - REACH + at), part(low, START - REACH + at), at);
        }
        let known = REACH - BEHIND[0];
        steps.raw[..known].copy_from_slice(&line[line.len() - REACH..][..known]);
        let mut from = START;
        while from + TILE <= close.len() {
            steps.tile(lanes, &mut self, from);
            from += TILE;
        }
        let mut finite = steps.seen.are_within();
        for input in self.inputs {
            finite &= within(lanes, &input[..START], f64::MAX);
            finite &= within(lanes, &input[from - BEHIND[0]..], f64::MAX);
        }
        let start = from - REACH;
        let line = self.raw_line(start..close.len());
        self.advance(&line, start, close.len(), [0; 2]);
        // A running sum that was not finite once is never finite again.
        finite && self.slow_k.mean.total.is_finite() && self.slow_d.mean.total.is_finite()
    }
}

/// Where the steps are. Number `REACH + i` of a line belongs to bar `i` of the tile.
struct Steps<L: Lanes> {
    highest: Windows<L, true>,
    lowest: Windows<L, false>,
    highs: [f64; REACH + TILE],
    lows: [f64; REACH + TILE],
    raw: [f64; REACH + TILE],
    /// A window of `k` bars is one of these that ends with it, and one that ends so many bars before.
    back: usize,
    seen: Passing<L::Eight>,
}

impl<L: Lanes> Steps<L> {
    #[inline(always)]
    fn new(lanes: L, k: usize) -> Self {
        let level = k.ilog2();
        Steps {
            highest: Windows { last: [lanes.splat(0.0); 3], level },
            lowest: Windows { last: [lanes.splat(0.0); 3], level },
            highs: [0.0; REACH + TILE],
            lows: [0.0; REACH + TILE],
            raw: [0.0; REACH + TILE],
            back: k - (1 << level),
            seen: Passing::new(lanes, f64::MAX),
        }
    }

    /// The extremes of eight bars.
    #[inline(always)]
    fn extremes(&mut self, lanes: L, high: &[f64; 8], low: &[f64; 8], at: usize) {
        let (high, low) = (lanes.eight(high), lanes.eight(low));
        self.seen.look(high);
        self.seen.look(low);
        self.highs[at..at + 8].copy_from_slice(&self.highest.next(lanes, high).array());
        self.lows[at..at + 8].copy_from_slice(&self.lowest.next(lanes, low).array());
    }

    /// The raw line of eight bars.
    #[inline(always)]
    fn raw_line(&mut self, lanes: L, close: &[f64; 8], at: usize) {
        let eight = |line: &[f64], at: usize| lanes.eight(part(line, at));
        let highest = Levels::<true>::pick(eight(&self.highs, at), eight(&self.highs, at - self.back));
        let lowest = Levels::<false>::pick(eight(&self.lows, at), eight(&self.lows, at - self.back));
        let close = lanes.eight(close);
        self.seen.look(close);
        self.raw[at..at + 8].copy_from_slice(&raw(close, highest, lowest).array());
    }

    /// The steps of a tile.
    #[inline(always)]
    fn tile(&mut self, lanes: L, pass: &mut ShortPass<'_, '_>, from: usize) {
        let [high, low, close] = pass.inputs;
        let (high, low): (&[f64; TILE], &[f64; TILE]) = (part(high, from), part(low, from));
        let close: &[f64; TILE] = part(close, from - BEHIND[0]);
        let (slow_k, slow_d) = (&mut pass.slow_k, &mut pass.slow_d);
        let k: &mut [f64; REACH + TILE] = part_mut(slow_k.out, from - REACH);
        let d: &mut [f64; TILE] = part_mut(slow_d.out, from - BEHIND[2]);
        for at in (0..TILE).step_by(STEP) {
            for at in [at, at + 8] {
                self.extremes(lanes, part(high, at), part(low, at), REACH + at);
            }
            for at in [at, at + 8] {
                self.raw_line(lanes, part(close, at), REACH + at - BEHIND[0]);
            }
            let (n, t) = (slow_k.n, REACH + at - BEHIND[1]);
            let window = [&self.raw[t..t + STEP], &self.raw[t - n..t - n + STEP]];
            slow_k.mean.total = stride::<STEP, L>(lanes, slow_k.mean.total, n, window, &mut k[t..t + STEP]);
            let (n, t) = (slow_d.n, REACH + at - BEHIND[2]);
            let window = [&k[t..t + STEP], &k[t - n..t - n + STEP]];
            slow_d.mean.total = stride::<STEP, L>(lanes, slow_d.mean.total, n, window, &mut d[at..at + STEP]);
        }
        slow_k.next += TILE;
        slow_d.next += TILE;
        for line in [&mut self.highs, &mut self.lows, &mut self.raw] {
            line.copy_within(TILE.., 0);
        }
    }
}

/// Windows of a power of two of bars, up to eight, made in registers.
struct Windows<L: Lanes, const HIGHEST: bool> {
    /// Those of one, two and four bars that end in the last eight bars.
    last: [L::Eight; 3],
    /// The logarithm of the length.
    level: u32,
}

impl<L: Lanes, const HIGHEST: bool> Windows<L, HIGHEST> {
    /// The windows that end in the next eight bars. A zero becomes +0, so that equal values have equal bits.
    #[inline(always)]
    fn next(&mut self, lanes: L, x: L::Eight) -> L::Eight {
        let pick = Levels::<HIGHEST>::pick::<L::Eight>;
        let one = x + lanes.splat(0.0);
        let two = pick(one, self.last[0].shifted::<7>(one));
        let four = pick(two, self.last[1].shifted::<6>(two));
        let eight = pick(four, self.last[2].shifted::<4>(four));
        self.last = [one, two, four];
        match self.level {
            0 => one,
            1 => two,
            2 => four,
            _ => eight,
        }
    }
}

/// `N` numbers from a place on.
#[inline(always)]
fn part<const N: usize>(numbers: &[f64], at: usize) -> &[f64; N] {
    &numbers[at..at + N].as_chunks().0[0]
}

#[inline(always)]
fn part_mut<const N: usize>(numbers: &mut [f64], at: usize) -> &mut [f64; N] {
    &mut numbers[at..at + N].as_chunks_mut().0[0]
}
