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

use super::deviation::{self, Deviation};
use super::recursion::{eight_of, eight_of_mut};
use super::rolling::{self, Roll};
use super::sma::RollingMean;
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period, window};
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
    batch,
    incremental: |params| {
        let n = period(params[0]);
        Box::new(State { n, k: params[1], bands: Bands::new(n), values: VecDeque::new() })
    },
};

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
    let mut periods: Vec<&mut [Place<'_>]> = places.chunk_by_mut(|a, b| a.n == b.n).collect();
    let mut rolls: Vec<Roll<'_>> = Vec::with_capacity(periods.len());
    for place in periods.iter_mut().filter_map(|places| places.first_mut()) {
        rolls.push(Roll { source: x, n: place.n, out: place.bands[1] });
    }
    rolling::means(isa, &mut rolls);
    for places in periods {
        let Some((place, others)) = places.split_first_mut() else { return };
        deviation::over_series(isa, x, place.n, place.bands[2]);
        let from = place.n - 1;
        for other in others {
            let [upper, middle, lower] = &mut other.bands;
            middle[from..].copy_from_slice(&place.bands[1][from..]);
            lower[from..].copy_from_slice(&place.bands[2][from..]);
            isa.dispatch(Widen { upper, middle, lower, k: other.k, from });
        }
        let [upper, middle, lower] = &mut place.bands;
        isa.dispatch(Widen { upper, middle, lower, k: place.k, from });
    }
}

/// From middle band and deviation, which stands in the place of the lower band, to all three.
struct Widen<'a> {
    upper: &'a mut [f64],
    middle: &'a [f64],
    lower: &'a mut [f64],
    k: f64,
    from: usize,
}

impl Kernel for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let k = lanes.splat(self.k);
        let mut t = self.from;
        while t + 8 <= self.middle.len() {
            let middle = lanes.eight(eight_of(self.middle, t));
            let [upper, _, lower] = around(middle, lanes.eight(eight_of(self.lower, t)), k);
            *eight_of_mut(self.upper, t) = upper.array();
            *eight_of_mut(self.lower, t) = lower.array();
            t += 8;
        }
        for t in t..self.middle.len() {
            [self.upper[t], _, self.lower[t]] = around(self.middle[t], self.lower[t], self.k);
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
