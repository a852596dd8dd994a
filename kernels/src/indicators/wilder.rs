//! Wilder's smoothing, the average behind RSI, ATR and ADX. Not an indicator.
//!
//! `avg[t] = avg[t-1] * ((n-1)/n) + x[t] * (1/n)`, seeded with the mean of the first `n` values. TA-Lib writes it
//! as `(avg * (n-1) + x) / n`; multiplying by the two constants saves the division in the loop-carried chain and
//! differs by about 1e-15 relative. The two products and the sum are separate operations on every device, never a
//! fused one.

use crate::simd::Number;

/// One smoothed series.
pub(super) struct Wilder {
    n: usize,
    keep: f64,
    take: f64,
    seen: usize,
    /// The sum of the seed's values until `n` have been seen, the average afterwards.
    pub(super) value: f64,
}

impl Wilder {
    pub(super) fn new(n: usize) -> Wilder {
        Wilder { n, keep: keep(n), take: take(n), seen: 0, value: 0.0 }
    }

    /// Takes the next value; `NaN` until `n` have been seen.
    #[inline]
    pub(super) fn step(&mut self, x: f64) -> f64 {
        if self.seen >= self.n {
            self.value = smooth(self.value, x, [self.keep, self.take]);
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

    /// The average as it stands, for a bar that brings no value. Meaningful once the seed is complete.
    #[inline]
    pub(super) fn carry(&self) -> f64 {
        self.value
    }

    /// Whether the next value belongs to the seed.
    #[inline]
    pub(super) fn seeding(&self) -> bool {
        self.seen < self.n
    }
}

/// The share `(n-1)/n` of the past that one bar leaves.
pub(super) fn keep(n: usize) -> f64 {
    (n as f64 - 1.0) / n as f64
}

/// The share `1/n` that the newest value gets.
pub(super) fn take(n: usize) -> f64 {
    1.0 / n as f64
}

/// The average after one more value.
#[inline(always)]
pub(super) fn smooth<N: Number>(average: N, x: N, [keep, take]: [N; 2]) -> N {
    average * keep + x * take
}

/// Bars after which an average has forgotten its start: the share that is left, `((n-1)/n)^bars`, is below the last bit.
pub(super) fn memory(n: usize) -> usize {
    50 * n
}
