//! Arithmetic that is written once and run on one number or on eight: a formula over [`Number`] has the same bits in both.
//!
//! There is no fused operation, and where the hardware and Rust could disagree (a maximum with a `NaN` in it) the meaning is
//! spelled out below and is that of the comparison written by hand.

use std::ops::{Add, Div, Mul, Sub};

/// One `f64`, or eight lanes of it.
pub(crate) trait Number:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// `value` in as many lanes as `self` has.
    fn like(self, value: f64) -> Self;
    /// Without its sign.
    fn abs(self) -> Self;
    /// The square root, correctly rounded; `NaN` below zero.
    fn sqrt(self) -> Self;
    /// `self` where `self > other`, else `other`.
    fn max(self, other: Self) -> Self;
    /// `self` where `self < other`, else `other`.
    fn min(self, other: Self) -> Self;
    /// `then` where `self = other`, else `otherwise`.
    fn where_equal(self, other: Self, then: Self, otherwise: Self) -> Self;
    /// `then` where `self < other`, else `otherwise`.
    fn where_less(self, other: Self, then: Self, otherwise: Self) -> Self;
    /// `then` where `self <= other`, else `otherwise`.
    fn where_at_most(self, other: Self, then: Self, otherwise: Self) -> Self;
}

/// Eight numbers in registers.
pub(crate) trait Eight: Number {
    /// The numbers of the lanes.
    fn array(self) -> [f64; 8];
    /// Bit `i` is set where `self < other` in lane `i`.
    fn less(self, other: Self) -> u8;
    /// The lanes of `self` without the first `BY` (1, 2, 4, 6 or 7), then the first `BY` of `next`: the numbers that are `BY`
    /// places further in memory.
    fn shifted<const BY: i32>(self, next: Self) -> Self;
    /// One over each number, lanes `i` and `i + 4` by one division: `w = 1 / (a * b)`, then `b * w` and `a * w`, three roundings where
    /// a division of its own has one. Undefined where the product of such a pair overflows or underflows.
    fn reciprocals(self) -> Self;
    /// The sum of the lanes: first of those four apart, then two apart, then the last two.
    fn sum(self) -> f64;
}

impl Number for f64 {
    #[inline(always)]
    fn like(self, value: f64) -> f64 {
        value
    }

    #[inline(always)]
    fn abs(self) -> f64 {
        f64::abs(self)
    }

    #[inline(always)]
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }

    #[inline(always)]
    fn max(self, other: f64) -> f64 {
        if self > other { self } else { other }
    }

    #[inline(always)]
    fn min(self, other: f64) -> f64 {
        if self < other { self } else { other }
    }

    #[inline(always)]
    fn where_equal(self, other: f64, then: f64, otherwise: f64) -> f64 {
        if self == other { then } else { otherwise }
    }

    #[inline(always)]
    fn where_less(self, other: f64, then: f64, otherwise: f64) -> f64 {
        if self < other { then } else { otherwise }
    }

    #[inline(always)]
    fn where_at_most(self, other: f64, then: f64, otherwise: f64) -> f64 {
        if self <= other { then } else { otherwise }
    }
}
