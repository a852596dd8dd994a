//! The eight lanes of each instruction set: one register of AVX-512, two of AVX2, or an array.

#![allow(clippy::needless_range_loop, reason = "one index runs through several arrays of lanes")]

use std::ops::{Add, Div, Mul, Sub};

use super::number::{Eight, Number};

/// Implements the four operators of a type through functions of two operands.
macro_rules! operators {
    ($type:ty: $($trait:ident $method:ident = |$a:ident, $b:ident| $body:expr;)+) => {$(
        impl $trait for $type {
            type Output = $type;

            #[inline(always)]
            fn $method(self, other: $type) -> $type {
                let ($a, $b) = (self, other);
                $body
            }
        }
    )+};
}

/// Eight numbers where nothing is known of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Array(pub(super) [f64; 8]);

impl Array {
    #[inline(always)]
    fn zip(self, other: Array, f: impl Fn(f64, f64) -> f64) -> Array {
        let mut out = self.0;
        for i in 0..8 {
            out[i] = f(self.0[i], other.0[i]);
        }
        Array(out)
    }

    #[inline(always)]
    fn choose(self, other: Array, pick: [Array; 2], test: impl Fn(f64, f64) -> bool) -> Array {
        let [then, otherwise] = pick;
        let mut out = self.0;
        for i in 0..8 {
            out[i] = if test(self.0[i], other.0[i]) { then.0[i] } else { otherwise.0[i] };
        }
        Array(out)
    }
}

operators! { Array:
    Add add = |a, b| a.zip(b, |a, b| a + b);
    Sub sub = |a, b| a.zip(b, |a, b| a - b);
    Mul mul = |a, b| a.zip(b, |a, b| a * b);
    Div div = |a, b| a.zip(b, |a, b| a / b);
}

impl Number for Array {
    #[inline(always)]
    fn like(self, value: f64) -> Array {
        Array([value; 8])
    }

    #[inline(always)]
    fn abs(self) -> Array {
        self.zip(self, |a, _| a.abs())
    }

    #[inline(always)]
    fn sqrt(self) -> Array {
        self.zip(self, |a, _| a.sqrt())
    }

    #[inline(always)]
    fn max(self, other: Array) -> Array {
        self.zip(other, Number::max)
    }

    #[inline(always)]
    fn min(self, other: Array) -> Array {
        self.zip(other, Number::min)
    }

    #[inline(always)]
    fn where_equal(self, other: Array, then: Array, otherwise: Array) -> Array {
        self.choose(other, [then, otherwise], |a, b| a == b)
    }

    #[inline(always)]
    fn where_less(self, other: Array, then: Array, otherwise: Array) -> Array {
        self.choose(other, [then, otherwise], |a, b| a < b)
    }

    #[inline(always)]
    fn where_at_most(self, other: Array, then: Array, otherwise: Array) -> Array {
        self.choose(other, [then, otherwise], |a, b| a <= b)
    }
}

impl Eight for Array {
    #[inline(always)]
    fn array(self) -> [f64; 8] {
        self.0
    }

    #[inline(always)]
    fn less(self, other: Array) -> u8 {
        let mut bits = 0;
        for i in 0..8 {
            bits |= u8::from(self.0[i] < other.0[i]) << i;
        }
        bits
    }

    #[inline(always)]
    fn shifted<const BY: i32>(self, next: Array) -> Array {
        let mut out = next.0;
        for i in 0..8 {
            let from = i + BY as usize;
            out[i] = if from < 8 { self.0[from] } else { next.0[from - 8] };
        }
        Array(out)
    }

    #[inline(always)]
    fn reciprocals(self) -> Array {
        let mut out = self.0;
        for i in 0..4 {
            let (a, b) = (self.0[i], self.0[i + 4]);
            let w = 1.0 / (a * b);
            (out[i], out[i + 4]) = (b * w, a * w);
        }
        Array(out)
    }

    #[inline(always)]
    fn sum(self) -> f64 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
}

/// Rows of four to columns.
#[inline(always)]
pub(super) fn columns_of_arrays(rows: [&[f64; 4]; 8]) -> [Array; 4] {
    let mut columns = [Array([0.0; 8]); 4];
    for i in 0..4 {
        for j in 0..8 {
            columns[i].0[j] = rows[j][i];
        }
    }
    columns
}

/// Rows to columns.
#[inline(always)]
pub(super) fn transpose_arrays(rows: [Array; 8]) -> [Array; 8] {
    let mut columns = rows;
    for i in 0..8 {
        for j in 0..8 {
            columns[i].0[j] = rows[j].0[i];
        }
    }
    columns
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Ymm, Zmm};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;
    use pulp::cast;
    use pulp::x86::{V3, V4};
    use std::arch::x86_64::{__m256d, __m512d, _CMP_EQ_OQ, _CMP_LE_OQ, _CMP_LT_OQ};

    /// One register of AVX-512.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::simd) struct Zmm(__m512d, V4);

    impl Zmm {
        #[inline(always)]
        pub(in crate::simd) fn load(v4: V4, values: &[f64; 8]) -> Zmm {
            let values: pulp::f64x8 = cast(*values);
            Zmm(cast(values), v4)
        }

        #[inline(always)]
        pub(in crate::simd) fn splat(v4: V4, value: f64) -> Zmm {
            Zmm(v4.avx512f._mm512_set1_pd(value), v4)
        }

        /// Rows to columns.
        #[inline(always)]
        pub(in crate::simd) fn transpose(v4: V4, rows: [Zmm; 8]) -> [Zmm; 8] {
            let f = v4.avx512f;
            let (mut pairs, mut fours, mut columns) = (rows, rows, rows);
            for i in 0..4 {
                let (a, b) = (rows[2 * i].0, rows[2 * i + 1].0);
                pairs[2 * i].0 = f._mm512_unpacklo_pd(a, b);
                pairs[2 * i + 1].0 = f._mm512_unpackhi_pd(a, b);
            }
            for i in 0..4 {
                let at = i % 2 + i / 2 * 4;
                let (a, b) = (pairs[at].0, pairs[at + 2].0);
                fours[at].0 = f._mm512_shuffle_f64x2::<0b10_00_10_00>(a, b);
                fours[at + 2].0 = f._mm512_shuffle_f64x2::<0b11_01_11_01>(a, b);
            }
            for i in 0..4 {
                let (a, b) = (fours[i].0, fours[i + 4].0);
                columns[i].0 = f._mm512_shuffle_f64x2::<0b10_00_10_00>(a, b);
                columns[i + 4].0 = f._mm512_shuffle_f64x2::<0b11_01_11_01>(a, b);
            }
            columns
        }

        /// Rows of four to columns, of two rows in a register. Which two is such that their columns come out in order.
        #[inline(always)]
        pub(in crate::simd) fn columns(v4: V4, rows: [&[f64; 4]; 8]) -> [Zmm; 4] {
            let f = v4.avx512f;
            let mut both = [Zmm::splat(v4, 0.0); 4];
            for i in 0..4 {
                let first = i % 2 + i / 2 * 4;
                let (low, high): (pulp::f64x4, pulp::f64x4) = (cast(*rows[first]), cast(*rows[first + 2]));
                both[i].0 = f._mm512_insertf64x4::<1>(f._mm512_castpd256_pd512(cast(low)), cast(high));
            }
            let [a, b, c, d] = both;
            let mut columns = both;
            for odd in 0..2 {
                let (ab, cd) = if odd == 0 {
                    (f._mm512_unpacklo_pd(a.0, b.0), f._mm512_unpacklo_pd(c.0, d.0))
                } else {
                    (f._mm512_unpackhi_pd(a.0, b.0), f._mm512_unpackhi_pd(c.0, d.0))
                };
                columns[odd].0 = f._mm512_shuffle_f64x2::<0b10_00_10_00>(ab, cd);
                columns[odd + 2].0 = f._mm512_shuffle_f64x2::<0b11_01_11_01>(ab, cd);
            }
            columns
        }
    }

    operators! { Zmm:
        Add add = |a, b| Zmm(a.1.avx512f._mm512_add_pd(a.0, b.0), a.1);
        Sub sub = |a, b| Zmm(a.1.avx512f._mm512_sub_pd(a.0, b.0), a.1);
        Mul mul = |a, b| Zmm(a.1.avx512f._mm512_mul_pd(a.0, b.0), a.1);
        Div div = |a, b| Zmm(a.1.avx512f._mm512_div_pd(a.0, b.0), a.1);
    }

    impl Number for Zmm {
        #[inline(always)]
        fn like(self, value: f64) -> Zmm {
            Zmm::splat(self.1, value)
        }

        #[inline(always)]
        fn abs(self) -> Zmm {
            Zmm(self.1.avx512f._mm512_abs_pd(self.0), self.1)
        }

        #[inline(always)]
        fn sqrt(self) -> Zmm {
            Zmm(self.1.avx512f._mm512_sqrt_pd(self.0), self.1)
        }

        #[inline(always)]
        fn max(self, other: Zmm) -> Zmm {
            Zmm(self.1.avx512f._mm512_max_pd(self.0, other.0), self.1)
        }

        #[inline(always)]
        fn min(self, other: Zmm) -> Zmm {
            Zmm(self.1.avx512f._mm512_min_pd(self.0, other.0), self.1)
        }

        #[inline(always)]
        fn where_equal(self, other: Zmm, then: Zmm, otherwise: Zmm) -> Zmm {
            let f = self.1.avx512f;
            let mask = f._mm512_cmp_pd_mask::<_CMP_EQ_OQ>(self.0, other.0);
            Zmm(f._mm512_mask_blend_pd(mask, otherwise.0, then.0), self.1)
        }

        #[inline(always)]
        fn where_less(self, other: Zmm, then: Zmm, otherwise: Zmm) -> Zmm {
            let f = self.1.avx512f;
            let mask = f._mm512_cmp_pd_mask::<_CMP_LT_OQ>(self.0, other.0);
            Zmm(f._mm512_mask_blend_pd(mask, otherwise.0, then.0), self.1)
        }

        #[inline(always)]
        fn where_at_most(self, other: Zmm, then: Zmm, otherwise: Zmm) -> Zmm {
            let f = self.1.avx512f;
            let mask = f._mm512_cmp_pd_mask::<_CMP_LE_OQ>(self.0, other.0);
            Zmm(f._mm512_mask_blend_pd(mask, otherwise.0, then.0), self.1)
        }
    }

    impl Eight for Zmm {
        #[inline(always)]
        fn array(self) -> [f64; 8] {
            let values: pulp::f64x8 = cast(self.0);
            cast(values)
        }

        #[inline(always)]
        fn less(self, other: Zmm) -> u8 {
            self.1.avx512f._mm512_cmp_pd_mask::<_CMP_LT_OQ>(self.0, other.0)
        }

        #[inline(always)]
        fn shifted<const BY: i32>(self, next: Zmm) -> Zmm {
            Zmm(cast(self.1.avx512f._mm512_alignr_epi64::<BY>(cast(next.0), cast(self.0))), self.1)
        }

        #[inline(always)]
        fn reciprocals(self) -> Zmm {
            let (f, avx) = (self.1.avx512f, self.1.avx);
            let other = self.shifted::<4>(self);
            let product = f._mm512_castpd512_pd256((self * other).0);
            let w = avx._mm256_div_pd(avx._mm256_set1_pd(1.0), product);
            other * Zmm(f._mm512_broadcast_f64x4(w), self.1)
        }

        #[inline(always)]
        fn sum(self) -> f64 {
            let f = self.1.avx512f;
            let halves = [f._mm512_castpd512_pd256(self.0), f._mm512_extractf64x4_pd::<1>(self.0)];
            Ymm(halves, *self.1).sum()
        }
    }

    /// Two registers of AVX2.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::simd) struct Ymm([__m256d; 2], V3);

    impl Ymm {
        #[inline(always)]
        pub(in crate::simd) fn load(v3: V3, values: &[f64; 8]) -> Ymm {
            let halves: [pulp::f64x4; 2] = cast(*values);
            Ymm(cast(halves), v3)
        }

        #[inline(always)]
        pub(in crate::simd) fn splat(v3: V3, value: f64) -> Ymm {
            Ymm([v3.avx._mm256_set1_pd(value); 2], v3)
        }

        /// Rows to columns: four blocks of four by four, the two off the diagonal changing places.
        #[inline(always)]
        pub(in crate::simd) fn transpose(v3: V3, rows: [Ymm; 8]) -> [Ymm; 8] {
            let mut columns = rows;
            for below in 0..2 {
                for right in 0..2 {
                    let mut block = [rows[0].0[0]; 4];
                    for i in 0..4 {
                        block[i] = rows[4 * below + i].0[right];
                    }
                    let block = transpose_block(v3, block);
                    for i in 0..4 {
                        columns[4 * right + i].0[below] = block[i];
                    }
                }
            }
            columns
        }

        /// Rows of four to columns.
        #[inline(always)]
        pub(in crate::simd) fn columns(v3: V3, rows: [&[f64; 4]; 8]) -> [Ymm; 4] {
            let mut columns = [Ymm::splat(v3, 0.0); 4];
            for below in 0..2 {
                let mut block = [v3.avx._mm256_setzero_pd(); 4];
                for i in 0..4 {
                    let row: pulp::f64x4 = cast(*rows[4 * below + i]);
                    block[i] = cast(row);
                }
                let block = transpose_block(v3, block);
                for i in 0..4 {
                    columns[i].0[below] = block[i];
                }
            }
            columns
        }
    }

    /// Four rows to four columns.
    #[inline(always)]
    fn transpose_block(v3: V3, [a, b, c, d]: [__m256d; 4]) -> [__m256d; 4] {
        let avx = v3.avx;
        let (ab_low, ab_high) = (avx._mm256_unpacklo_pd(a, b), avx._mm256_unpackhi_pd(a, b));
        let (cd_low, cd_high) = (avx._mm256_unpacklo_pd(c, d), avx._mm256_unpackhi_pd(c, d));
        [
            avx._mm256_permute2f128_pd::<0x20>(ab_low, cd_low),
            avx._mm256_permute2f128_pd::<0x20>(ab_high, cd_high),
            avx._mm256_permute2f128_pd::<0x31>(ab_low, cd_low),
            avx._mm256_permute2f128_pd::<0x31>(ab_high, cd_high),
        ]
    }

    /// An operation on both halves of one or two operands.
    macro_rules! halves {
        ($a:expr, $op:ident $(, $b:expr)*) => {
            Ymm([$a.1.avx.$op($a.0[0] $(, $b.0[0])*), $a.1.avx.$op($a.0[1] $(, $b.0[1])*)], $a.1)
        };
    }

    /// A choice by a comparison of both halves.
    macro_rules! chosen {
        ($a:expr, $b:expr, $test:ident, $then:expr, $otherwise:expr) => {{
            let avx = $a.1.avx;
            let low = avx._mm256_cmp_pd::<$test>($a.0[0], $b.0[0]);
            let high = avx._mm256_cmp_pd::<$test>($a.0[1], $b.0[1]);
            let low = avx._mm256_blendv_pd($otherwise.0[0], $then.0[0], low);
            Ymm([low, avx._mm256_blendv_pd($otherwise.0[1], $then.0[1], high)], $a.1)
        }};
    }

    operators! { Ymm:
        Add add = |a, b| halves!(a, _mm256_add_pd, b);
        Sub sub = |a, b| halves!(a, _mm256_sub_pd, b);
        Mul mul = |a, b| halves!(a, _mm256_mul_pd, b);
        Div div = |a, b| halves!(a, _mm256_div_pd, b);
    }

    impl Number for Ymm {
        #[inline(always)]
        fn like(self, value: f64) -> Ymm {
            Ymm::splat(self.1, value)
        }

        #[inline(always)]
        fn abs(self) -> Ymm {
            let sign = self.like(-0.0);
            halves!(sign, _mm256_andnot_pd, self)
        }

        #[inline(always)]
        fn sqrt(self) -> Ymm {
            halves!(self, _mm256_sqrt_pd)
        }

        #[inline(always)]
        fn max(self, other: Ymm) -> Ymm {
            halves!(self, _mm256_max_pd, other)
        }

        #[inline(always)]
        fn min(self, other: Ymm) -> Ymm {
            halves!(self, _mm256_min_pd, other)
        }

        #[inline(always)]
        fn where_equal(self, other: Ymm, then: Ymm, otherwise: Ymm) -> Ymm {
            chosen!(self, other, _CMP_EQ_OQ, then, otherwise)
        }

        #[inline(always)]
        fn where_less(self, other: Ymm, then: Ymm, otherwise: Ymm) -> Ymm {
            chosen!(self, other, _CMP_LT_OQ, then, otherwise)
        }

        #[inline(always)]
        fn where_at_most(self, other: Ymm, then: Ymm, otherwise: Ymm) -> Ymm {
            chosen!(self, other, _CMP_LE_OQ, then, otherwise)
        }
    }

    impl Eight for Ymm {
        #[inline(always)]
        fn array(self) -> [f64; 8] {
            let halves: [pulp::f64x4; 2] = cast(self.0);
            cast(halves)
        }

        #[inline(always)]
        fn less(self, other: Ymm) -> u8 {
            let avx = self.1.avx;
            let low = avx._mm256_movemask_pd(avx._mm256_cmp_pd::<_CMP_LT_OQ>(self.0[0], other.0[0]));
            let high = avx._mm256_movemask_pd(avx._mm256_cmp_pd::<_CMP_LT_OQ>(self.0[1], other.0[1]));
            (low | high << 4) as u8
        }

        #[inline(always)]
        fn shifted<const BY: i32>(self, next: Ymm) -> Ymm {
            let (avx, [a, b], [c, d]) = (self.1.avx, self.0, next.0);
            // The halves two places further, of which one place further is made.
            let ab = avx._mm256_permute2f128_pd::<0x21>(a, b);
            let bc = avx._mm256_permute2f128_pd::<0x21>(b, c);
            let cd = avx._mm256_permute2f128_pd::<0x21>(c, d);
            let halves = match BY {
                1 => [avx._mm256_shuffle_pd::<0b0101>(a, ab), avx._mm256_shuffle_pd::<0b0101>(b, bc)],
                2 => [ab, bc],
                4 => [b, c],
                6 => [bc, cd],
                _ => [avx._mm256_shuffle_pd::<0b0101>(bc, c), avx._mm256_shuffle_pd::<0b0101>(cd, d)],
            };
            Ymm(halves, self.1)
        }

        #[inline(always)]
        fn reciprocals(self) -> Ymm {
            let (avx, [a, b]) = (self.1.avx, self.0);
            let w = avx._mm256_div_pd(avx._mm256_set1_pd(1.0), avx._mm256_mul_pd(a, b));
            Ymm([avx._mm256_mul_pd(b, w), avx._mm256_mul_pd(a, w)], self.1)
        }

        #[inline(always)]
        fn sum(self) -> f64 {
            let (avx, sse2, [a, b]) = (self.1.avx, self.1.sse2, self.0);
            let fours = avx._mm256_add_pd(a, b);
            let low = avx._mm256_castpd256_pd128(fours);
            let twos = sse2._mm_add_pd(low, avx._mm256_extractf128_pd::<1>(fours));
            sse2._mm_cvtsd_f64(sse2._mm_add_sd(twos, sse2._mm_unpackhi_pd(twos, twos)))
        }
    }
}
