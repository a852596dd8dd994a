//! Moving average convergence divergence.
//!
//! `macd = ema(x, fast) - ema(x, slow)`, `macd_signal = ema(macd, signal)`, `macd_hist = macd - macd_signal`; all
//! three start together at `slow + signal - 2`. If `fast > slow` the two are swapped.
//!
//! Source: TA-Lib's `MACD`, in its order of operations without fused ones (see `ema.rs`). Its fast average is
//! seeded with the mean of the *last* `fast` values of the slow one's seed window, so that both start on one bar;
//! it is therefore not quite the function `ema(x, fast)`. `fast` and `slow` are at least 2, as in TA-Lib; `signal
//! = 1` makes the signal the line itself.

use super::ema::{self, Ema};
use super::recursion::{self, Recursion};
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period};
use crate::simd::{Isa, Number};

pub(super) const DEF: Indicator = Indicator {
    name: "macd",
    summary: "moving average convergence divergence of x: fast minus slow average, signal line and histogram",
    inputs: &["x"],
    params: &[
        IndicatorParam { name: "fast", kind: ParamKind::Period { min: 2 } },
        IndicatorParam { name: "slow", kind: ParamKind::Period { min: 2 } },
        IndicatorParam { name: "signal", kind: ParamKind::Period { min: 1 } },
    ],
    outputs: &["macd", "macd_signal", "macd_hist"],
    first,
    tame: true,
    batch,
    one_pass: None,
    parts: None,
    incremental: |params| Box::new(Macd::new(params)),
};

fn first(params: &[f64]) -> usize {
    period(params[0]).max(period(params[1])) + period(params[2]) - 2
}

struct Macd {
    fast: Ema,
    slow: Ema,
    signal: Ema,
    /// Bars until the fast average's seed window opens.
    wait: usize,
    /// Bars until the line is defined.
    warmup: usize,
    /// Lines until the signal is. It may also be no number because prices near the end of the range overflow it: that does not
    /// undo the line.
    unseeded: usize,
}

fn fast_and_slow(params: &[f64]) -> [usize; 2] {
    let (a, b) = (period(params[0]), period(params[1]));
    [a.min(b), a.max(b)]
}

impl Macd {
    fn new(params: &[f64]) -> Macd {
        let [fast, slow] = fast_and_slow(params);
        Macd {
            fast: Ema::new(fast),
            slow: Ema::new(slow),
            signal: Ema::new(period(params[2])),
            wait: slow - fast,
            warmup: slow - 1,
            unseeded: period(params[2]) - 1,
        }
    }

    /// Line, signal and histogram.
    #[inline]
    fn step(&mut self, x: f64) -> [f64; 3] {
        let slow = self.slow.step(x);
        if self.warmup > 0 {
            self.warmup -= 1;
            if self.wait > 0 {
                self.wait -= 1;
            } else {
                self.fast.step(x);
            }
            return [f64::NAN; 3];
        }
        let line = self.fast.step(x) - slow;
        let signal = self.signal.step(line);
        if self.unseeded > 0 {
            self.unseeded -= 1;
            return [f64::NAN; 3];
        }
        [line, signal, line - signal]
    }
}

struct Averages;

impl Recursion<1, 1, 3, 3, 3> for Averages {
    fn constants(params: &[f64]) -> [f64; 3] {
        let [fast, slow] = fast_and_slow(params);
        [fast, slow, period(params[2])].map(ema::weight)
    }

    fn warm_up([x]: [&[f64]; 1], params: &[f64]) -> ([f64; 3], [f64; 3]) {
        let mut macd = Macd::new(params);
        let values = x.iter().fold([f64::NAN; 3], |_, &x| macd.step(x));
        ([macd.fast.value, macd.slow.value, values[1]], values)
    }

    fn memory(params: &[f64]) -> usize {
        ema::memory(fast_and_slow(params)[1]) + ema::memory(period(params[2]))
    }

    #[inline(always)]
    fn derive<N: Number>([x]: [N; 1], _: [N; 1]) -> [N; 1] {
        [x]
    }

    #[inline(always)]
    fn step<N: Number>(k: [N; 3], averages: [N; 3], [x]: [N; 1]) -> ([N; 3], [N; 3]) {
        let fast = ema::next(averages[0], x, k[0]);
        let slow = ema::next(averages[1], x, k[1]);
        let line = fast - slow;
        // Over one bar the signal is the line itself; the formula would round.
        let signal = k[2].where_equal(x.like(1.0), line, ema::next(averages[2], line, k[2]));
        ([fast, slow, signal], [line, signal, line - signal])
    }
}

fn batch(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]) {
    recursion::batch::<Averages, 1, 1, 3, 3, 3>(isa, first, inputs, sets, outputs);
}

impl Incremental for Macd {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs.copy_from_slice(&self.step(inputs[0]));
    }
}
