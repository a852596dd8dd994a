//! Moving average convergence divergence.
//!
//! `macd = ema(x, fast) - ema(x, slow)`, `macd_signal = ema(macd, signal)`, `macd_hist = macd - macd_signal`; all
//! three start together at `slow + signal - 2`. If `fast > slow` the two are swapped.
//!
//! Source: TA-Lib's `MACD`, in its order of operations without fused ones (see `ema.rs`). Its fast average is
//! seeded with the mean of the *last* `fast` values of the slow one's seed window, so that both start on one bar;
//! it is therefore not quite the function `ema(x, fast)`. `fast` and `slow` are at least 2, as in TA-Lib; `signal
//! = 1` makes the signal the line itself.

use super::ema::Ema;
use super::{Incremental, Indicator, IndicatorParam, ParamKind, period};

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
    first: |params| period(params[0]).max(period(params[1])) + period(params[2]) - 2,
    batch,
    incremental: |params| Box::new(Macd::new(params)),
};

struct Macd {
    fast: Ema,
    slow: Ema,
    signal: Ema,
    /// Bars until the fast average's seed window opens.
    wait: usize,
    /// Bars until the line is defined.
    warmup: usize,
}

impl Macd {
    fn new(params: &[f64]) -> Macd {
        let (a, b) = (period(params[0]), period(params[1]));
        let (fast, slow) = (a.min(b), a.max(b));
        Macd {
            fast: Ema::new(fast),
            slow: Ema::new(slow),
            signal: Ema::new(period(params[2])),
            wait: slow - fast,
            warmup: slow - 1,
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
        if signal.is_nan() { [f64::NAN; 3] } else { [line, signal, line - signal] }
    }
}

fn batch(inputs: &[&[f64]], params: &[f64], outputs: &mut [&mut [f64]]) {
    let mut macd = Macd::new(params);
    let [line, signal, histogram] = outputs else { return };
    for (t, &x) in inputs[0].iter().enumerate() {
        [line[t], signal[t], histogram[t]] = macd.step(x);
    }
}

impl Incremental for Macd {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs.copy_from_slice(&self.step(inputs[0]));
    }
}
