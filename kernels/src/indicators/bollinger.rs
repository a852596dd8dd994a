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

use super::sma::RollingMean;
use super::stddev::Deviation;
use super::{Incremental, Indicator, IndicatorParam, ParamKind, period, window};

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
        let width = k * self.deviation.step(newest, leaving, window);
        [middle + width, middle, middle - width]
    }
}

fn batch(inputs: &[&[f64]], params: &[f64], outputs: &mut [&mut [f64]]) {
    let (x, n, k) = (inputs[0], period(params[0]), params[1]);
    let mut bands = Bands::new(n);
    let [upper, middle, lower] = outputs else { return };
    for t in 0..x.len() {
        let values = || x[t + 1 - n..=t].iter().copied();
        [upper[t], middle[t], lower[t]] = bands.step(k, x[t], window::leaving(x, t, n), values);
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
