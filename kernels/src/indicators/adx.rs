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

use super::directional::{Movement, accumulate, moves};
use super::recursion::{self, Recursion};
use super::wilder::{self, Wilder};
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period};
use crate::simd::{Isa, Number};

pub(super) const DEF: Indicator = Indicator {
    name: "adx",
    summary: "average directional index over n bars, 0 to 100",
    inputs: &["high", "low", "close"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 2 } }],
    outputs: &["adx"],
    first,
    tame: true,
    batch,
    one_pass: None,
    parts: None,
    incremental: |params| Box::new(Adx::new(period(params[0]))),
};

fn first(params: &[f64]) -> usize {
    2 * period(params[0]) - 1
}

/// The index of one bar; meaningless where the sums are both 0.
#[inline(always)]
fn dx<N: Number>(plus: N, minus: N) -> N {
    plus.like(100.0) * ((plus - minus).abs() / (plus + minus))
}

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
            self.average.step(dx(plus, minus))
        } else if self.average.seeding() {
            self.average.step(0.0)
        } else {
            self.average.carry()
        }
    }
}

/// The true range cancels, so highs and lows are all it reads.
struct Smoothed;

impl Recursion<2, 2, 2, 3, 1> for Smoothed {
    fn constants(params: &[f64]) -> [f64; 2] {
        let n = period(params[0]);
        [wilder::keep(n), wilder::take(n)]
    }

    fn warm_up([high, low]: [&[f64]; 2], params: &[f64]) -> ([f64; 3], [f64; 1]) {
        let mut adx = Adx::new(period(params[0]));
        let mut value = f64::NAN;
        for (&high, &low) in high.iter().zip(low) {
            value = adx.step(high, low, low);
        }
        ([adx.movement.plus, adx.movement.minus, adx.average.value], [value])
    }

    fn memory(params: &[f64]) -> usize {
        2 * wilder::memory(period(params[0]))
    }

    #[inline(always)]
    fn derive<N: Number>(now: [N; 2], before: [N; 2]) -> [N; 2] {
        moves(now[0], now[1], before[0], before[1])
    }

    #[inline(always)]
    fn step<N: Number>(shares: [N; 2], state: [N; 3], row: [N; 2]) -> ([N; 3], [N; 1]) {
        let plus = accumulate(state[0], row[0], shares[0]);
        let minus = accumulate(state[1], row[1], shares[0]);
        let average = wilder::smooth(state[2], dx(plus, minus), shares);
        let average = (plus + minus).where_equal(plus.like(0.0), state[2], average);
        ([plus, minus, average], [average])
    }
}

fn batch(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]) {
    recursion::batch::<Smoothed, 2, 2, 2, 3, 1>(isa, first, inputs, sets, outputs);
}

impl Incremental for Adx {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs[0] = self.step(inputs[0], inputs[1], inputs[2]);
    }
}
