//! Average true range (Wilder).
//!
//! True range `tr[t] = max(high[t], close[t-1]) - min(low[t], close[t-1])`, from bar 1 on: the same bits as the
//! usual largest of `high - low`, `|high - close[t-1]|` and `|low - close[t-1]|`, because `low <= high`. `atr` is
//! its mean over the first `n` true ranges, then `atr * ((n-1)/n) + tr * (1/n)`. First value at `n`; `n = 1` is
//! the true range itself.
//!
//! Source: J. W. Wilder, *New Concepts in Technical Trading Systems* (1978); TA-Lib's `ATR` for the seed and the
//! first index.

use super::wilder::Wilder;
use super::{Incremental, Indicator, IndicatorParam, ParamKind, period};

pub(super) const DEF: Indicator = Indicator {
    name: "atr",
    summary: "average true range over n bars",
    inputs: &["high", "low", "close"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["atr"],
    first: |params| period(params[0]),
    batch,
    incremental: |params| Box::new(Atr::new(period(params[0]))),
};

/// How far the price has ranged since the close before.
#[inline]
pub(super) fn true_range(high: f64, low: f64, previous_close: f64) -> f64 {
    let top = if previous_close > high { previous_close } else { high };
    let bottom = if previous_close < low { previous_close } else { low };
    top - bottom
}

struct Atr {
    range: Wilder,
    close: Option<f64>,
}

impl Atr {
    fn new(n: usize) -> Atr {
        Atr { range: Wilder::new(n), close: None }
    }

    #[inline]
    fn step(&mut self, high: f64, low: f64, close: f64) -> f64 {
        match self.close.replace(close) {
            Some(previous) => self.range.step(true_range(high, low, previous)),
            None => f64::NAN,
        }
    }
}

fn batch(inputs: &[&[f64]], params: &[f64], outputs: &mut [&mut [f64]]) {
    let mut atr = Atr::new(period(params[0]));
    let bars = inputs[0].iter().zip(inputs[1]).zip(inputs[2]);
    for (out, ((&high, &low), &close)) in outputs[0].iter_mut().zip(bars) {
        *out = atr.step(high, low, close);
    }
}

impl Incremental for Atr {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs[0] = self.step(inputs[0], inputs[1], inputs[2]);
    }
}
