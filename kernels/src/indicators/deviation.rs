//! The running standard deviation of `stddev` and of the Bollinger bands, bar by bar and over whole series; its numerics
//! are described in `stddev.rs`. Not an indicator.
//!
//! At every scheduled rebuild the sums are made from the window alone, so what lies between two of them, a *segment*, does
//! not depend on what came before. Over whole series the lanes of a vector are therefore eight segments.

use std::ops::Range;

use super::recursion::{eight_of, eight_of_mut};
use crate::simd::{Eight, Isa, Kernel, Lanes, Number};

/// Bars between two scheduled rebuilds of the sums.
const REBUILD_BARS: usize = 512;
/// Part of the largest sum of squares below which a result would be mostly rounding.
const CANCELLED: f64 = 1.0 / 64.0;

/// The running standard deviation, also that of the Bollinger bands.
pub(super) struct Deviation {
    n: usize,
    share: f64,
    interval: usize,
    bar: usize,
    anchor: f64,
    sum: f64,
    squares: f64,
    largest: f64,
}

impl Deviation {
    pub(super) fn new(n: usize) -> Deviation {
        Deviation {
            n,
            share: 1.0 / n as f64,
            interval: n.next_multiple_of(REBUILD_BARS),
            bar: 0,
            anchor: 0.0,
            sum: 0.0,
            squares: 0.0,
            largest: 0.0,
        }
    }

    pub(super) fn n(&self) -> usize {
        self.n
    }

    /// Takes the newest value, the one that leaves, and the window from oldest to newest (read only for a rebuild).
    /// `NaN` until the window is full.
    #[inline]
    pub(super) fn step<W>(&mut self, newest: f64, leaving: Option<f64>, window: impl FnOnce() -> W) -> f64
    where
        W: Iterator<Item = f64> + Clone,
    {
        let bar = self.bar;
        self.bar += 1;
        if bar + 1 < self.n {
            return f64::NAN;
        }
        let mut deviation = 0.0;
        let scheduled = match leaving {
            Some(leaving) if !bar.is_multiple_of(self.interval) => {
                let (entering, leaving) = (newest - self.anchor, leaving - self.anchor);
                [self.sum, self.squares] = moved([self.sum, self.squares], entering, leaving);
                self.largest = Number::max(self.squares, self.largest);
                deviation = about_mean([self.sum, self.squares], self.share);
                false
            }
            _ => true,
        };
        if scheduled || deviation < self.largest * CANCELLED {
            self.rebuild(newest, window());
            deviation = about_mean([self.sum, self.squares], self.share);
        }
        root(deviation, self.share)
    }

    #[cold]
    fn rebuild(&mut self, newest: f64, window: impl Iterator<Item = f64> + Clone) {
        [self.anchor, self.sum, self.squares] = afresh(newest, self.share, window);
        self.largest = self.squares;
    }
}

/// Anchor, sum and sum of squares of a window. Measured from the newest value first, the mean of a flat window is that
/// value to the last bit.
fn afresh(newest: f64, share: f64, window: impl Iterator<Item = f64> + Clone) -> [f64; 3] {
    let offset: f64 = window.clone().map(|x| x - newest).sum();
    let anchor = newest + offset * share;
    let (mut sum, mut squares) = (0.0, 0.0);
    for x in window {
        let d = x - anchor;
        sum += d;
        squares += d * d;
    }
    [anchor, sum, squares]
}

/// Sum and sum of squares after one value has entered and one has left, both measured from the anchor.
#[inline(always)]
fn moved<N: Number>([sum, squares]: [N; 2], entering: N, leaving: N) -> [N; 2] {
    [sum + (entering - leaving), squares + (entering * entering - leaving * leaving)]
}

/// The sum of squares about the window's own mean.
#[inline(always)]
fn about_mean<N: Number>([sum, squares]: [N; 2], share: N) -> N {
    squares - sum * (sum * share)
}

#[inline(always)]
fn root<N: Number>(about_mean: N, share: N) -> N {
    let zero = share.like(0.0);
    about_mean.where_at_most(zero, zero, (about_mean * share).sqrt())
}

/// The deviation over `n` bars of a whole series, from bar `n - 1` on.
pub(super) fn over_series(isa: Isa, x: &[f64], n: usize, out: &mut [f64]) {
    let length = n.next_multiple_of(REBUILD_BARS);
    let mut next = n - 1;
    while next < x.len() {
        let after = (next / length + 1) * length;
        if next.is_multiple_of(length) && next + 8 * length <= x.len() {
            isa.dispatch(Segments { x, n, length, first: next, out });
            next += 8 * length;
        } else {
            segment(x, n, next..after.min(x.len()), out);
            next = after;
        }
    }
}

/// One segment, or the part of one that begins with the first full window.
fn segment(x: &[f64], n: usize, bars: Range<usize>, out: &mut [f64]) {
    let mut deviation = Deviation::new(n);
    deviation.bar = bars.start;
    for t in bars {
        let leaving = if t < n { None } else { Some(x[t - n]) };
        out[t] = deviation.step(x[t], leaving, || x[t + 1 - n..=t].iter().copied());
    }
}

/// Eight segments of `length` bars from bar `first` on.
struct Segments<'a> {
    x: &'a [f64],
    n: usize,
    length: usize,
    first: usize,
    out: &'a mut [f64],
}

/// The sums of eight segments.
#[derive(Clone, Copy)]
struct State<E> {
    anchor: E,
    sums: [E; 2],
    largest: E,
    about_mean: E,
}

impl Kernel for Segments<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let share = lanes.splat(1.0 / self.n as f64);
        let mut state = self.start(lanes, share);
        for at in (0..self.length).step_by(8) {
            let (mut entering, mut leaving) = ([share; 8], [share; 8]);
            for lane in 0..8 {
                let t = self.first + lane * self.length + at;
                entering[lane] = lanes.eight(eight_of(self.x, t));
                leaving[lane] = lanes.eight(eight_of(self.x, t - self.n));
            }
            let (entering, leaving) = (lanes.transpose(entering), lanes.transpose(leaving));
            let mut roots = [share; 8];
            for bar in 0..8 {
                if at + bar > 0 {
                    let (entering, leaving) = (entering[bar] - state.anchor, leaving[bar] - state.anchor);
                    state.sums = moved(state.sums, entering, leaving);
                    state.largest = state.sums[1].max(state.largest);
                    state.about_mean = about_mean(state.sums, share);
                    let cancelled = state.about_mean.less(state.largest * share.like(CANCELLED));
                    if cancelled != 0 {
                        state = self.rebuilt(lanes, state, cancelled, at + bar);
                    }
                }
                roots[bar] = root(state.about_mean, share);
            }
            let roots = lanes.transpose(roots);
            for (lane, roots) in roots.iter().enumerate() {
                *eight_of_mut(self.out, self.first + lane * self.length + at) = roots.array();
            }
        }
    }
}

impl Segments<'_> {
    /// The sums at the first bar of every segment, as [`afresh`] makes them.
    #[inline(always)]
    fn start<L: Lanes>(&self, lanes: L, share: L::Eight) -> State<L::Eight> {
        let zero = lanes.splat(0.0);
        let column = |back: usize| {
            let mut values = [0.0; 8];
            for (lane, value) in values.iter_mut().enumerate() {
                *value = self.x[self.first + lane * self.length - back];
            }
            lanes.eight(&values)
        };
        let newest = column(0);
        let mut offset = zero;
        for back in (0..self.n).rev() {
            offset = offset + (column(back) - newest);
        }
        let anchor = newest + offset * share;
        let mut sums = [zero; 2];
        for back in (0..self.n).rev() {
            let d = column(back) - anchor;
            sums = [sums[0] + d, sums[1] + d * d];
        }
        State { anchor, sums, largest: sums[1], about_mean: about_mean(sums, share) }
    }

    /// The state after a rebuild of the lanes whose bits are set, at bar `at` of their segments.
    #[inline(always)]
    fn rebuilt<L: Lanes>(&self, lanes: L, state: State<L::Eight>, set: u8, at: usize) -> State<L::Eight> {
        let State { anchor, sums: [sum, squares], largest, about_mean } = state;
        let mut numbers = [anchor.array(), sum.array(), squares.array(), largest.array(), about_mean.array()];
        rebuild_lanes(self.x, self.n, self.first + at, self.length, set, &mut numbers);
        let [anchor, sum, squares, largest, about_mean] = numbers;
        State {
            anchor: lanes.eight(&anchor),
            sums: [lanes.eight(&sum), lanes.eight(&squares)],
            largest: lanes.eight(&largest),
            about_mean: lanes.eight(&about_mean),
        }
    }
}

/// Rebuilds the lanes whose bits are set; lane `l` is at bar `t + l * length`.
#[cold]
#[inline(never)]
fn rebuild_lanes(x: &[f64], n: usize, t: usize, length: usize, set: u8, numbers: &mut [[f64; 8]; 5]) {
    let share = 1.0 / n as f64;
    for lane in (0..8).filter(|lane| set >> lane & 1 == 1) {
        let t = t + lane * length;
        let [anchor, sum, squares] = afresh(x[t], share, x[t + 1 - n..=t].iter().copied());
        let values = [anchor, sum, squares, squares, about_mean([sum, squares], share)];
        for (number, value) in numbers.iter_mut().zip(values) {
            number[lane] = value;
        }
    }
}
