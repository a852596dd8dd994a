//! Bollinger bands: a simple moving average and `k` standard deviations to both sides.
//!
//! `bb_middle = sma(x, n)`, `bb_upper = bb_middle + k * stddev(x, n)`, `bb_lower = bb_middle - k * stddev(x, n)`;
//! first value at `n - 1`. The middle band runs on the same [`RollingMean`] as `sma` and the width on the same
//! [`Deviation`] as `stddev`, so they equal those functions bit for bit; in a flat window all three bands are one
//! line.
//!
//! Source: TA-Lib's `BBANDS` with a simple average (population deviation); the width follows `stddev.rs` where
//! TA-Lib's formula loses digits. `n >= 2`, as in TA-Lib; `k` is any number, a negative one swaps the bands.

use std::collections::VecDeque;

use super::compute::TAME;
use super::deviation::{self, Beside, Deviation, Octets, Window, deviations, side_by_side};
use super::rolling::{self, Roll, STRIDE, Sums};
use super::sma::RollingMean;
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period, window};
use crate::series::{Passing, within};
use crate::simd::{Eight, Isa, Kernel, Lanes, Number};

pub(super) const DEF: Indicator = Indicator {
    name: "bollinger",
    summary: "Bollinger bands: mean of x over n bars and k standard deviations to both sides",
    inputs: &["x"],
    params: &[
        IndicatorParam { name: "n", kind: ParamKind::Period { min: 2 } },
        IndicatorParam { name: "k", kind: ParamKind::Real },
    ],
    outputs: &["bb_upper", "bb_middle", "bb_lower"],
    first: |params| period(params[0]) - 1,
    tame: true,
    batch,
    one_pass: Some(one_pass),
    parts: None,
    incremental: |params| {
        let n = period(params[0]);
        Box::new(State { n, k: params[1], bands: Bands::new(n), values: VecDeque::new() })
    },
};

/// From this many parameter sets on, their averages run beside each other; below, the bands are made beside the average.
const FEW: usize = 3;

/// Periods whose averages and deviations are made before their bands: a vector of averages, and few enough to stay in
/// the cache until then.
const TOGETHER: usize = 8;

/// Upper, middle and lower band.
#[inline(always)]
fn around<N: Number>(middle: N, deviation: N, k: N) -> [N; 3] {
    let width = k * deviation;
    [middle + width, middle, middle - width]
}

struct Bands {
    mean: RollingMean,
    deviation: Deviation,
}

impl Bands {
    fn new(n: usize) -> Bands {
        Bands { mean: RollingMean::new(n), deviation: Deviation::new(n) }
    }

    /// Upper, middle and lower band.
    #[inline]
    fn step<W>(&mut self, k: f64, newest: f64, leaving: Option<f64>, window: impl FnOnce() -> W) -> [f64; 3]
    where
        W: Iterator<Item = f64> + Clone,
    {
        let middle = self.mean.step(newest, leaving);
        around(middle, self.deviation.step(newest, leaving, window), k)
    }
}

/// One parameter set and the places of its bands.
struct Place<'o> {
    n: usize,
    k: f64,
    bands: [&'o mut [f64]; 3],
}

/// The deviation is made in the place of the lower band, once per period, and shared by the sets that have the period.
fn batch(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]) {
    let x = inputs[0];
    let mut places: Vec<Place<'_>> = Vec::with_capacity(sets.len());
    for (params, outputs) in sets.iter().zip(outputs) {
        let Ok(bands) = <&mut [&mut [f64]; 3]>::try_from(outputs.as_mut_slice()) else { return };
        let bands = bands.each_mut().map(|band| &mut **band);
        places.push(Place { n: period(params[0]), k: params[1], bands });
    }
    places.sort_by_key(|place| place.n);
    if places.len() < FEW {
        for Place { n, k, bands: [upper, middle, lower] } in places {
            deviation::over_series(isa, x, &mut [Window { n, out: lower }]);
            isa.dispatch(AroundMean { x, n, k, upper, middle, lower });
        }
        return;
    }
    let mut periods: Vec<&mut [Place<'_>]> = places.chunk_by_mut(|a, b| a.n == b.n).collect();
    for periods in periods.chunks_mut(TOGETHER) {
        bands_of(isa, x, periods);
    }
}

/// The bands of several periods, each with one set or more.
fn bands_of(isa: Isa, x: &[f64], periods: &mut [&mut [Place<'_>]]) {
    let mut rolls: Vec<Roll<'_>> = Vec::with_capacity(periods.len());
    for place in periods.iter_mut().filter_map(|places| places.first_mut()) {
        rolls.push(Roll { source: x, n: place.n, out: place.bands[1] });
    }
    rolling::means(isa, &mut rolls);
    let mut windows: Vec<Window<'_>> = Vec::with_capacity(periods.len());
    for place in periods.iter_mut().filter_map(|places| places.first_mut()) {
        windows.push(Window { n: place.n, out: place.bands[2] });
    }
    deviation::over_series(isa, x, &mut windows);
    for places in periods {
        let Some((place, others)) = places.split_first_mut() else { return };
        let from = place.n - 1;
        for other in others {
            let [upper, middle, lower] = &mut other.bands;
            middle[from..].copy_from_slice(&place.bands[1][from..]);
            lower[from..].copy_from_slice(&place.bands[2][from..]);
            isa.dispatch(Around { upper, middle, lower, k: other.k, from });
        }
        let [upper, middle, lower] = &mut place.bands;
        isa.dispatch(Around { upper, middle, lower, k: place.k, from });
    }
}

/// A single set: the bands of one tile are put around the running mean, which is a chain of additions, beside the deviations of the
/// next one. Says whether the series is long enough for that and all numbers are within [`TAME`].
fn one_pass(isa: Isa, inputs: &[&[f64]], params: &[f64], outputs: &mut Outputs<'_>) -> bool {
    let (&[x], [upper, middle, lower]) = (inputs, outputs.as_mut_slice()) else { return false };
    let (n, k) = (period(params[0]), params[1]);
    // Undefined bars are mostly at the start.
    if k.abs() > TAME || x.first().is_none_or(|x| x.is_nan()) {
        return false;
    }
    let Some(octets) = Octets::new(deviation::interval(n), x.len()) else { return false };
    deviation::ends(x, n, octets.bars.clone(), lower);
    isa.dispatch(OnePass { x, around: AroundMean { x, n, k, upper, middle, lower }, octets })
}

/// Bands around the running mean, from the deviations, which stand in the place of the lower band.
struct AroundMean<'a> {
    x: &'a [f64],
    n: usize,
    k: f64,
    upper: &'a mut [f64],
    middle: &'a mut [f64],
    lower: &'a mut [f64],
}

impl AroundMean<'_> {
    /// The first window.
    #[inline(always)]
    fn start(&mut self) -> Sums {
        let AroundMean { x, n, k, upper, middle, lower } = self;
        let (sums, at) = (Sums::start(x, *n, middle), *n - 1);
        [upper[at], _, lower[at]] = around(middle[at], lower[at], *k);
        sums
    }

    /// Some vectors of bars: their bands are made while the processor waits for the next sums.
    #[inline(always)]
    fn stride<const BARS: usize, L: Lanes>(&mut self, lanes: L, sums: &mut Sums) {
        let bars = sums.next..sums.next + BARS;
        let width = lanes.splat(self.k);
        let middles = sums.stride::<BARS, L>(lanes, self.x, self.middle);
        let uppers = self.upper[bars.clone()].as_chunks_mut().0;
        let lowers = self.lower[bars].as_chunks_mut().0;
        for ((upper, lower), middle) in uppers.iter_mut().zip(lowers).zip(middles) {
            let bands = around(lanes.eight(middle), lanes.eight(lower), width);
            (*upper, *lower) = (bands[0].array(), bands[2].array());
        }
    }

    /// All bars that are left.
    #[inline(always)]
    fn rest<L: Lanes>(&mut self, lanes: L, sums: &mut Sums) {
        while sums.next + STRIDE <= self.x.len() {
            self.stride::<STRIDE, L>(lanes, sums);
        }
        let rest = sums.next..self.x.len();
        sums.advance(self.x, self.middle, self.x.len());
        for t in rest {
            [self.upper[t], _, self.lower[t]] = around(self.middle[t], self.lower[t], self.k);
        }
    }
}

impl Kernel for AroundMean<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let mut sums = self.start();
        self.rest(lanes, &mut sums);
    }
}

/// See [`one_pass`]. The deviations before and after the octets are there.
struct OnePass<'a> {
    x: &'a [f64],
    around: AroundMean<'a>,
    octets: Octets,
}

/// The bands up to a bar, and a look at the numbers of the next tile, which brings them into the cache too.
struct Strides<'a, 'x, L: Lanes> {
    around: AroundMean<'a>,
    sums: &'a mut Sums,
    end: usize,
    ahead: &'a mut Ahead<'x, L>,
}

impl<L: Lanes> Beside<L> for Strides<'_, '_, L> {
    /// As many bars as there are segments.
    #[inline(always)]
    fn part(&mut self, lanes: L) {
        self.ahead.part(lanes);
        if self.sums.next + 8 <= self.end {
            self.around.stride::<8, L>(lanes, self.sums);
        }
    }
}

/// Numbers that are still to be looked at.
struct Ahead<'x, L: Lanes> {
    blocks: std::slice::Iter<'x, [f64; 8]>,
    seen: Passing<L::Eight>,
}

impl<L: Lanes> Ahead<'_, L> {
    #[inline(always)]
    fn part(&mut self, lanes: L) {
        if let Some(block) = self.blocks.next() {
            self.seen.look(lanes.eight(block));
        }
    }
}

impl Kernel for OnePass<'_> {
    /// Whether all numbers are within [`TAME`].
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> bool {
        let OnePass { x, mut around, octets } = self;
        let (n, k, length) = (around.n, around.k, octets.length);
        let reach = n.next_multiple_of(8);
        let mut columns = vec![[0.0; 8]; reach + length];
        let mut sums = around.start();
        let (start, later) = x.split_at(9 * length);
        let (blocks, rest) = later.as_chunks();
        let mut ahead = Ahead::<L> { blocks: blocks.iter(), seen: Passing::new(lanes, TAME) };
        for first in octets {
            side_by_side(lanes, x, (first, length), reach, &mut columns);
            let (made, place) = around.lower.split_at_mut(first);
            let around =
                AroundMean { x, n, k, upper: &mut *around.upper, middle: &mut *around.middle, lower: made };
            // No further: what the last eight make again is still a deviation.
            let mut strides = Strides { around, sums: &mut sums, end: first, ahead: &mut ahead };
            deviations(lanes, (&columns, reach), n, &mut place[..8 * length], &mut strides);
        }
        around.rest(lanes, &mut sums);
        while ahead.blocks.len() > 0 {
            ahead.part(lanes);
        }
        ahead.seen.are_within() && within(lanes, start, TAME) && within(lanes, rest, TAME)
    }
}

/// From middle band and deviation, which stands in the place of the lower band, to all three.
struct Around<'a> {
    upper: &'a mut [f64],
    middle: &'a [f64],
    lower: &'a mut [f64],
    k: f64,
    from: usize,
}

impl Kernel for Around<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let k = lanes.splat(self.k);
        let (uppers, lowers) =
            (self.upper[self.from..].as_chunks_mut(), self.lower[self.from..].as_chunks_mut());
        let middles = self.middle[self.from..].as_chunks();
        for ((upper, lower), middle) in uppers.0.iter_mut().zip(lowers.0).zip(middles.0) {
            let bands = around(lanes.eight(middle), lanes.eight(lower), k);
            (*upper, *lower) = (bands[0].array(), bands[2].array());
        }
        for ((upper, lower), &middle) in uppers.1.iter_mut().zip(lowers.1).zip(middles.1) {
            [*upper, _, *lower] = around(middle, *lower, self.k);
        }
    }
}

struct State {
    n: usize,
    k: f64,
    bands: Bands,
    values: VecDeque<f64>,
}

impl Incremental for State {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        let leaving = window::slide(&mut self.values, self.n, inputs[0]);
        let bands = self.bands.step(self.k, inputs[0], leaving, || self.values.iter().copied());
        outputs.copy_from_slice(&bands);
    }
}
