//! Running means of whole series, one or eight at a time, in the order of operations of `sma.rs`. Not an indicator.
//!
//! The running sum is a chain of two additions per bar which no vector can break: its rounding errors stay in it, so a
//! guessed start never becomes the right one. One mean alone therefore takes the time of that chain, with the divisions
//! made eight at a time beside it; eight means in lanes take hardly longer than one.

use super::recursion::{eight_of, eight_of_mut};
use super::sma::RollingMean;
use crate::simd::{Eight, Isa, Kernel, Lanes};

/// Means in one vector.
const LANES: usize = 8;
/// From this many means on, lanes are faster than one after another.
const WORTH_LANES: usize = 3;
/// Bars summed up before they are divided: few enough that the processor divides while it adds the next ones.
const STRIDE: usize = 32;
/// Bars of eight means between two copies to the outputs.
const TILE: usize = 128;

/// A mean over `n` of a source: `out[t]` for every `t` from `n - 1` on. Source and output have one length, at least `n`.
pub(super) struct Roll<'r> {
    pub(super) source: &'r [f64],
    pub(super) n: usize,
    pub(super) out: &'r mut [f64],
}

/// Computes every mean.
pub(super) fn means(isa: Isa, rolls: &mut [Roll<'_>]) {
    for group in rolls.chunks_mut(LANES) {
        if group.len() >= WORTH_LANES {
            abreast(isa, group);
        } else {
            for roll in group {
                let (begin, sum) = warm_up(roll);
                let source = roll.source;
                isa.dispatch(Single { source, n: roll.n, begin, sum, out: roll.out });
            }
        }
    }
}

/// Takes the bars of the first window and one more, if there is one; gives the first bar to come and the sum before it.
fn warm_up(roll: &mut Roll<'_>) -> (usize, f64) {
    let mut mean = RollingMean::new(roll.n);
    let mut value = f64::NAN;
    for &x in &roll.source[..roll.n] {
        value = mean.step(x, None);
    }
    roll.out[roll.n - 1] = value;
    (roll.n, mean.total)
}

/// The sum after one more bar.
#[inline(always)]
fn next(sum: f64, entering: f64, leaving: f64) -> f64 {
    sum - leaving + entering
}

/// The bars of one mean from `begin` on.
struct Single<'a> {
    source: &'a [f64],
    n: usize,
    begin: usize,
    sum: f64,
    out: &'a mut [f64],
}

impl Kernel for Single<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let (x, n) = (self.source, self.n);
        let mut sums = Sums { sum: self.sum, n };
        let mut t = self.begin;
        while t + STRIDE <= x.len() {
            sums.stride(lanes, x, t, &mut self.out[t..t + STRIDE]);
            t += STRIDE;
        }
        for t in t..x.len() {
            self.out[t] = sums.step(x, t);
        }
    }
}

/// A running sum and its window.
pub(super) struct Sums {
    pub(super) sum: f64,
    pub(super) n: usize,
}

impl Sums {
    /// The mean at bar `t`, the first still to come.
    #[inline(always)]
    pub(super) fn step(&mut self, x: &[f64], t: usize) -> f64 {
        self.sum = next(self.sum, x[t], x[t - self.n]);
        self.sum / self.n as f64
    }

    /// The means of the [`STRIDE`] bars from `t` on.
    #[inline(always)]
    pub(super) fn stride<L: Lanes>(&mut self, lanes: L, x: &[f64], t: usize, out: &mut [f64]) {
        let entering: &[f64; STRIDE] = &x[t..t + STRIDE].as_chunks().0[0];
        let leaving: &[f64; STRIDE] = &x[t - self.n..t - self.n + STRIDE].as_chunks().0[0];
        let mut sums = [0.0; STRIDE];
        for i in 0..STRIDE {
            self.sum = next(self.sum, entering[i], leaving[i]);
            sums[i] = self.sum;
        }
        let divisor = lanes.splat(self.n as f64);
        for i in (0..STRIDE).step_by(LANES) {
            *eight_of_mut(out, i) = (lanes.eight(eight_of(&sums, i)) / divisor).array();
        }
    }
}

/// Up to eight means in lanes, from the longest warm-up to the shortest end.
fn abreast(isa: Isa, rolls: &mut [Roll<'_>]) {
    let mut sums: Vec<(usize, Sums)> = Vec::with_capacity(rolls.len());
    for roll in rolls.iter_mut() {
        let (begin, sum) = warm_up(roll);
        sums.push((begin, Sums { sum, n: roll.n }));
    }
    let begin = sums.iter().map(|(next, _)| *next).max().unwrap_or(0);
    let end = rolls.iter().map(|roll| roll.source.len()).min().unwrap_or(0);
    for (roll, (next, sums)) in rolls.iter_mut().zip(&mut sums) {
        for t in *next..begin.min(roll.source.len()) {
            roll.out[t] = sums.step(roll.source, t);
        }
        *next = begin.min(roll.source.len());
    }
    let blocks = end.saturating_sub(begin) / LANES;
    if blocks > 0 {
        let mut totals = [0.0; LANES];
        for (total, (_, sums)) in totals.iter_mut().zip(&sums) {
            *total = sums.sum;
        }
        isa.dispatch(Abreast { rolls, begin, blocks, totals: &mut totals });
        for (total, (next, sums)) in totals.iter().zip(&mut sums) {
            sums.sum = *total;
            *next = begin + blocks * LANES;
        }
    }
    for (roll, (next, sums)) in rolls.iter_mut().zip(&mut sums) {
        for t in *next..roll.source.len() {
            roll.out[t] = sums.step(roll.source, t);
        }
    }
}

/// `blocks * 8` bars of up to eight means.
struct Abreast<'a, 'r> {
    rolls: &'a mut [Roll<'r>],
    begin: usize,
    blocks: usize,
    totals: &'a mut [f64; LANES],
}

impl Kernel for Abreast<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let mut total = lanes.eight(self.totals);
        let (last, end) = (self.rolls.len() - 1, self.begin + self.blocks * LANES);
        let shared = self.rolls.iter().all(|roll| std::ptr::eq(roll.source, self.rolls[0].source));
        // A row per lane, a few numbers longer than a tile so that rows lie in different lines of the cache.
        let mut tile = [[0.0; TILE + LANES]; LANES];
        for from in (self.begin..end).step_by(TILE) {
            let bars = TILE.min(end - from);
            for at in (0..bars).step_by(LANES) {
                let t = from + at;
                let (mut entering, mut leaving) = ([total; LANES], [total; LANES]);
                for lane in 0..LANES {
                    // Lanes that are not used repeat the last one.
                    let roll = &self.rolls[lane.min(last)];
                    leaving[lane] = lanes.eight(eight_of(roll.source, t - roll.n));
                    entering[lane] = lanes.eight(eight_of(roll.source, t));
                }
                let leaving = lanes.transpose(leaving);
                if shared {
                    let values = *eight_of(self.rolls[0].source, t);
                    for bar in 0..LANES {
                        entering[bar] = lanes.splat(values[bar]);
                    }
                } else {
                    entering = lanes.transpose(entering);
                }
                let mut sums = [total; LANES];
                for bar in 0..LANES {
                    total = total - leaving[bar] + entering[bar];
                    sums[bar] = total;
                }
                let sums = lanes.transpose(sums);
                for lane in 0..LANES {
                    let divisor = lanes.splat(self.rolls[lane.min(last)].n as f64);
                    *eight_of_mut(&mut tile[lane], at) = (sums[lane] / divisor).array();
                }
            }
            for (roll, row) in self.rolls.iter_mut().zip(&tile) {
                roll.out[from..from + bars].copy_from_slice(&row[..bars]);
            }
        }
        *self.totals = total.array();
    }
}
