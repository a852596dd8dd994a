//! Standard deviation of the last `n` values (population: divided by `n`, not `n - 1`).
//!
//! `stddev[t] = sqrt(mean((x - mean(x))^2))` over the window, first value at `n - 1`. Source of the definition:
//! TA-Lib's `STDDEV` with one deviation.
//!
//! **Numerics.** TA-Lib subtracts `mean(x)^2` from `mean(x^2)` and loses up to half of the digits in a quiet
//! window at a high price. Here the running sums are of `d = x - anchor` and `d^2`, and `n * variance = sum(d^2) -
//! sum(d)^2 / n`. The anchor becomes the window's mean and both sums are added up afresh
//! - at the first full window and at every 512th bar of the run (for `n > 512` every `n` bars, rounded up to a
//!   multiple of 512), so that rounding cannot pile up, and
//! - at any bar where `n * variance` is less than 1/64 of the largest `sum(d^2)` since the last time: prices have
//!   moved far from the anchor, or a large move has just left the window.
//!
//! Both rules look at the bars alone, so every way of computing the series gives the same bits. A flat window
//! falls under the second rule and gives exactly 0. `n >= 2`, as in TA-Lib.

use std::collections::VecDeque;

use super::{Incremental, Indicator, IndicatorParam, ParamKind, period, window};

pub(super) const DEF: Indicator = Indicator {
    name: "stddev",
    summary: "population standard deviation of x over n bars",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 2 } }],
    outputs: &["stddev"],
    first: |params| period(params[0]) - 1,
    batch,
    incremental: |params| {
        Box::new(State { deviation: Deviation::new(period(params[0])), values: VecDeque::new() })
    },
};

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
                self.sum += entering - leaving;
                self.squares += entering * entering - leaving * leaving;
                if self.squares > self.largest {
                    self.largest = self.squares;
                }
                deviation = self.squares_about_mean();
                false
            }
            _ => true,
        };
        if scheduled || deviation < self.largest * CANCELLED {
            self.rebuild(newest, window());
            deviation = self.squares_about_mean();
        }
        if deviation <= 0.0 { 0.0 } else { (deviation * self.share).sqrt() }
    }

    #[inline]
    fn squares_about_mean(&self) -> f64 {
        self.squares - self.sum * (self.sum * self.share)
    }

    /// Measured from the newest value first, the mean of a flat window is that value to the last bit.
    #[cold]
    fn rebuild(&mut self, newest: f64, window: impl Iterator<Item = f64> + Clone) {
        let offset: f64 = window.clone().map(|x| x - newest).sum();
        self.anchor = newest + offset * self.share;
        (self.sum, self.squares) = (0.0, 0.0);
        for x in window {
            let d = x - self.anchor;
            self.sum += d;
            self.squares += d * d;
        }
        self.largest = self.squares;
    }
}

fn batch(inputs: &[&[f64]], params: &[f64], outputs: &mut [&mut [f64]]) {
    let (x, n) = (inputs[0], period(params[0]));
    let mut deviation = Deviation::new(n);
    for (t, out) in outputs[0].iter_mut().enumerate() {
        let values = || x[t + 1 - n..=t].iter().copied();
        *out = deviation.step(x[t], window::leaving(x, t, n), values);
    }
}

struct State {
    deviation: Deviation,
    values: VecDeque<f64>,
}

impl Incremental for State {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        let leaving = window::slide(&mut self.values, self.deviation.n, inputs[0]);
        outputs[0] = self.deviation.step(inputs[0], leaving, || self.values.iter().copied());
    }
}
