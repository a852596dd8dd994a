//! The running standard deviation of `stddev` and of the Bollinger bands, bar by bar and over whole series; its numerics
//! are described in `stddev.rs`. Not an indicator.
//!
//! At every scheduled rebuild the sums are made from the window alone, so what lies between two of them, a *segment*, does
//! not depend on what came before. Over whole series the lanes of a vector are therefore eight segments.

#![allow(clippy::needless_range_loop, reason = "one index runs through several arrays of lanes")]

use std::ops::Range;

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

/// A period and the place of its deviations: `out[t]` for every `t` from `n - 1` on.
pub(super) struct Window<'o> {
    pub(super) n: usize,
    pub(super) out: &'o mut [f64],
}

/// Bars between two scheduled rebuilds: a segment.
pub(super) fn interval(n: usize) -> usize {
    n.next_multiple_of(REBUILD_BARS)
}

/// The deviations of a whole series over every period, none longer than the series. The periods are sorted.
pub(super) fn over_series(isa: Isa, x: &[f64], windows: &mut [Window<'_>]) {
    for windows in windows.chunk_by_mut(|a, b| interval(a.n) == interval(b.n)) {
        let (length, reach) = (interval(windows[0].n), windows[windows.len() - 1].n.next_multiple_of(8));
        let octets = Octets::new(length, x.len());
        for Window { n, out } in windows.iter_mut() {
            ends(x, *n, octets.as_ref().map_or(x.len()..x.len(), |octets| octets.bars.clone()), out);
        }
        let Some(octets) = octets else { continue };
        let mut columns = vec![[0.0; 8]; reach + length];
        for first in octets {
            isa.dispatch(Segments { x, length, first, reach, columns: &mut columns, windows });
        }
    }
}

/// The segments of a series that are made eight at a time, as the first bars of each eight. The last eight may overlap the ones
/// before: what is computed twice has the same bits.
pub(super) struct Octets {
    /// The bars of all of them: whole segments, but not the first of the series.
    pub(super) bars: Range<usize>,
    pub(super) length: usize,
    next: usize,
}

impl Octets {
    /// `None` if there are fewer than eight segments of this length after the first.
    pub(super) fn new(length: usize, bars: usize) -> Option<Octets> {
        let end = bars / length * length;
        (end >= 9 * length).then_some(Octets { bars: length..end, length, next: length })
    }
}

impl Iterator for Octets {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let first = self.next.min(self.bars.end - 8 * self.length);
        (self.next < self.bars.end).then(|| {
            self.next = first + 8 * self.length;
            first
        })
    }
}

/// The deviations before and after some whole segments.
pub(super) fn ends(x: &[f64], n: usize, segments: Range<usize>, out: &mut [f64]) {
    let length = interval(n);
    for start in (0..segments.start).step_by(length) {
        segment(x, n, start.max(n - 1)..segments.start.min(start + length), out);
    }
    if segments.end < x.len() {
        segment(x, n, segments.end..x.len(), out);
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

/// Eight segments of `length` bars from bar `first` on, for several periods.
struct Segments<'a, 'o> {
    x: &'a [f64],
    length: usize,
    first: usize,
    /// Bars before a segment that the windows reach back to, at most one segment.
    reach: usize,
    /// Room for the bars of all segments side by side: element `reach + i` is bar `i` of each.
    columns: &'a mut [[f64; 8]],
    windows: &'a mut [Window<'o>],
}

/// The sums of eight segments.
#[derive(Clone, Copy)]
struct State<E> {
    anchor: E,
    sums: [E; 2],
    largest: E,
    about_mean: E,
}

impl<E: Number> State<E> {
    #[inline(always)]
    fn moved(self, entering: E, leaving: E, share: E) -> State<E> {
        let sums = moved(self.sums, entering - self.anchor, leaving - self.anchor);
        let largest = sums[1].max(self.largest);
        State { anchor: self.anchor, sums, largest, about_mean: about_mean(sums, share) }
    }
}

impl Kernel for Segments<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Segments { x, length, first, reach, columns, windows } = self;
        side_by_side(lanes, x, (first, length), reach, columns);
        for Window { n, out } in windows {
            let place = &mut out[first..first + 8 * length];
            deviations(lanes, (columns, reach), *n, place, &mut Nothing);
        }
    }
}

/// Lays the bars of eight segments from bar `first` on side by side: element `reach + i` of `columns` is bar `i` of each.
#[inline(always)]
pub(super) fn side_by_side<L: Lanes>(
    lanes: L,
    x: &[f64],
    (first, length): (usize, usize),
    reach: usize,
    columns: &mut [[f64; 8]],
) {
    for (block, columns) in columns.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let mut rows = [lanes.splat(0.0); 8];
        for lane in 0..8 {
            let t = first + lane * length + block * 8 - reach;
            rows[lane] = lanes.eight(&x[t..t + 8].as_chunks().0[0]);
        }
        let rows = lanes.transpose(rows);
        for bar in 0..8 {
            columns[bar] = rows[bar].array();
        }
    }
}

/// What is done beside the deviations of eight segments, a part of it after each bar of them. Small parts: the processor looks
/// ahead over no more than some hundred instructions.
pub(super) trait Beside<L: Lanes> {
    fn part(&mut self, lanes: L);
}

struct Nothing;

impl<L: Lanes> Beside<L> for Nothing {
    #[inline(always)]
    fn part(&mut self, _: L) {}
}

/// The deviations over `n` bars of eight segments that lie side by side in `columns`, see [`side_by_side`], segment after segment.
#[inline(always)]
pub(super) fn deviations<L: Lanes>(
    lanes: L,
    (columns, reach): (&[[f64; 8]], usize),
    n: usize,
    out: &mut [f64],
    beside: &mut impl Beside<L>,
) {
    let length = columns.len() - reach;
    let share = lanes.splat(1.0 / n as f64);
    let mut state = State::afresh(lanes, &columns[reach + 1 - n..=reach], share);
    let mut places: [&mut [[f64; 8]]; 8] = Default::default();
    for (place, out) in places.iter_mut().zip(out.chunks_exact_mut(length)) {
        *place = out.as_chunks_mut().0;
    }
    let entering = columns[reach..].as_chunks::<8>().0.iter();
    let leaving = columns[reach - n..reach - n + length].as_chunks::<8>().0;
    for (block, (entering, leaving)) in entering.zip(leaving).enumerate() {
        let mut roots = [share; 8];
        for bar in 0..8 {
            let at = block * 8 + bar;
            // The first bar of a segment has been made from its window.
            if at > 0 {
                state = state.moved(lanes.eight(&entering[bar]), lanes.eight(&leaving[bar]), share);
                let least = state.largest * share.like(CANCELLED);
                if state.about_mean.less(least) != 0 {
                    let window = &columns[reach + at + 1 - n..=reach + at];
                    state = state.or_where_less(least, State::afresh(lanes, window, share));
                }
            }
            roots[bar] = root(state.about_mean, share);
            beside.part(lanes);
        }
        let roots = lanes.transpose(roots);
        for lane in 0..8 {
            places[lane][block] = roots[lane].array();
        }
    }
}

impl<E: Eight> State<E> {
    /// `rebuilt` in the lanes whose squares about the mean are less than `least`, `self` in the others.
    #[inline(always)]
    fn or_where_less(self, least: E, rebuilt: State<E>) -> State<E> {
        State {
            anchor: self.about_mean.where_less(least, rebuilt.anchor, self.anchor),
            sums: [
                self.about_mean.where_less(least, rebuilt.sums[0], self.sums[0]),
                self.about_mean.where_less(least, rebuilt.sums[1], self.sums[1]),
            ],
            largest: self.about_mean.where_less(least, rebuilt.largest, self.largest),
            about_mean: self.about_mean.where_less(least, rebuilt.about_mean, self.about_mean),
        }
    }

    /// The sums of eight windows, the oldest bars first, as [`afresh`] makes them.
    #[inline(always)]
    fn afresh<L: Lanes<Eight = E>>(lanes: L, window: &[[f64; 8]], share: E) -> State<E> {
        let zero = lanes.splat(0.0);
        let newest = window.last().map_or(zero, |newest| lanes.eight(newest));
        let mut offset = zero;
        for values in window {
            offset = offset + (lanes.eight(values) - newest);
        }
        let anchor = newest + offset * share;
        let mut sums = [zero; 2];
        for values in window {
            let d = lanes.eight(values) - anchor;
            sums = [sums[0] + d, sums[1] + d * d];
        }
        State { anchor, sums, largest: sums[1], about_mean: about_mean(sums, share) }
    }
}
