//! Average directional index (Wilder): how strong a trend is, whichever way it goes.
//!
//! `dx = 100 * |S(+DM) - S(-DM)| / (S(+DM) + S(-DM))` from bar `n` on, with the sums of `directional.rs`: the true
//! range of Wilder's two indicators cancels. `adx` is the mean of the first `n` values of `dx`, then `adx *
//! ((n-1)/n) + dx * (1/n)`. First value at `2n - 1`.
//!
//! Where `S(+DM) + S(-DM)` is exactly 0 (no movement since the start of the run, or so long ago that `f64` holds
//! nothing of it) there is no `dx`: it counts as 0 among the first `n`, and later the average is carried
//! unchanged.
//!
//! Source: J. W. Wilder, *New Concepts in Technical Trading Systems* (1978); TA-Lib's `ADX` for the seeds, the
//! first index and the 0 rules. TA-Lib also has no `dx` where the smoothed true range is 0; for bars whose close
//! lies between low and high, a true range of 0 leaves no movement either. `n >= 2`, as in TA-Lib.

use super::directional::Movement;
use super::wilder::Wilder;
use super::{Incremental, Indicator, IndicatorParam, ParamKind, period};

pub(super) const DEF: Indicator = Indicator {
    name: "adx",
    summary: "average directional index over n bars, 0 to 100",
    inputs: &["high", "low", "close"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 2 } }],
    outputs: &["adx"],
    first: |params| 2 * period(params[0]) - 1,
    batch,
    incremental: |params| Box::new(Adx::new(period(params[0]))),
};

struct Adx {
    movement: Movement,
    average: Wilder,
}

impl Adx {
    fn new(n: usize) -> Adx {
        Adx { movement: Movement::new(n), average: Wilder::new(n) }
    }

    #[inline]
    fn step(&mut self, high: f64, low: f64, close: f64) -> f64 {
        if !self.movement.step(high, low, close) {
            return f64::NAN;
        }
        let (plus, minus) = (self.movement.plus, self.movement.minus);
        let moved = plus + minus;
        if moved != 0.0 {
            self.average.step(100.0 * ((plus - minus).abs() / moved))
        } else if self.average.seeding() {
            self.average.step(0.0)
        } else {
            self.average.carry()
        }
    }
}

fn batch(inputs: &[&[f64]], params: &[f64], outputs: &mut [&mut [f64]]) {
    let mut adx = Adx::new(period(params[0]));
    let bars = inputs[0].iter().zip(inputs[1]).zip(inputs[2]);
    for (out, ((&high, &low), &close)) in outputs[0].iter_mut().zip(bars) {
        *out = adx.step(high, low, close);
    }
}

impl Incremental for Adx {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs[0] = self.step(inputs[0], inputs[1], inputs[2]);
    }
}
