//! Exponential moving average.
//!
//! `ema[t] = (x[t] - ema[t-1]) * k + ema[t-1]` with `k = 2 / (n + 1)`, seeded at `n - 1` with the mean of the
//! first `n` values; that seed is the first value. `n = 1` is `x` itself, to the bit.
//!
//! Source: TA-Lib's `EMA` in its default (not Metastock) mode, in its order of operations without fused
//! ones: the bits are those of a TA-Lib that is compiled that way, and within 1e-15 relative of one that fuses.

use super::{Incremental, Indicator, IndicatorParam, ParamKind, period};

pub(super) const DEF: Indicator = Indicator {
    name: "ema",
    summary: "exponential moving average of x over n bars",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["ema"],
    first: |params| period(params[0]) - 1,
    batch,
    incremental: |params| Box::new(Ema::new(period(params[0]))),
};

/// One average with its seed; also the three of MACD.
pub(super) struct Ema {
    n: usize,
    k: f64,
    seen: usize,
    /// The sum of the seed's values until `n` have been seen, the average afterwards.
    value: f64,
}

impl Ema {
    pub(super) fn new(n: usize) -> Ema {
        Ema { n, k: 2.0 / (n as f64 + 1.0), seen: 0, value: 0.0 }
    }

    /// Takes the next value; `NaN` until `n` have been seen.
    #[inline]
    pub(super) fn step(&mut self, x: f64) -> f64 {
        if self.n == 1 {
            return x;
        }
        if self.seen >= self.n {
            self.value = (x - self.value) * self.k + self.value;
            return self.value;
        }
        self.value += x;
        self.seen += 1;
        if self.seen < self.n {
            return f64::NAN;
        }
        self.value /= self.n as f64;
        self.value
    }
}

fn batch(inputs: &[&[f64]], params: &[f64], outputs: &mut [&mut [f64]]) {
    let mut ema = Ema::new(period(params[0]));
    for (out, &x) in outputs[0].iter_mut().zip(inputs[0]) {
        *out = ema.step(x);
    }
}

impl Incremental for Ema {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs[0] = self.step(inputs[0]);
    }
}
