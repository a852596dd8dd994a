//! Vector instructions, chosen when the program runs: AVX-512, AVX2 or none, with the same bits from all three.
//!
//! A `Kernel` is written once, in plain Rust over arrays, and compiled once per instruction set; the compiler vectorises
//! it. It never fuses a multiplication with an addition and never reorders a sum, so the lanes a kernel spells out are the
//! lanes it computes, whatever the width of the registers. Only what plain Rust cannot say well (64 comparisons to one
//! word, eight recursions side by side) is an operation of `Lanes`, once per instruction set. The `pulp` crate holds the intrinsics and their proofs.

mod eight;
mod number;

use std::fmt;

pub(crate) use number::{Eight, Number};

/// An instruction set that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isa {
    /// x86-64-v4: AVX-512 F, BW, CD, DQ and VL.
    Avx512,
    /// x86-64-v3: AVX2.
    Avx2,
    /// What every machine has.
    Portable,
}

impl Isa {
    /// Every instruction set, widest first.
    pub const ALL: [Isa; 3] = [Isa::Avx512, Isa::Avx2, Isa::Portable];

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => pulp::x86::V3::is_available(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => pulp::x86::V4::is_available(),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => false,
        }
    }

    /// The widest one of this machine.
    pub fn detect() -> Isa {
        Isa::ALL.into_iter().find(|isa| isa.is_available()).unwrap_or(Isa::Portable)
    }

    /// The name in reports and in the environment.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        }
    }

    /// Runs a kernel compiled for this instruction set, or for the next narrower one that the machine has.
    pub(crate) fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        {
            if self == Isa::Avx512
                && let Some(token) = pulp::x86::V4::try_new()
            {
                return token.vectorize(Call { kernel, lanes: x86::Avx512(token) });
            }
            if self != Isa::Portable
                && let Some(token) = pulp::x86::V3::try_new()
            {
                return token.vectorize(Call { kernel, lanes: x86::Avx2(token) });
            }
        }
        kernel.run(Portable)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Work that is compiled once per instruction set. `run` and everything hot in it must be `#[inline(always)]`: what is not
/// inlined is compiled for the portable set. That includes closures and what takes them (`array::map`): use loops.
pub(crate) trait Kernel {
    /// What it gives.
    type Output;

    /// Does the work.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

struct Call<K, L> {
    kernel: K,
    lanes: L,
}

impl<K: Kernel, L: Lanes> pulp::NullaryFnOnce for Call<K, L> {
    type Output = K::Output;

    #[inline(always)]
    fn call(self) -> K::Output {
        self.kernel.run(self.lanes)
    }
}

/// Codes of 64 numbers, in the order of the numbers.
pub(crate) type Codes = [i16; 64];

/// What an instruction set does at once. The first three: 64 comparisons to a word, bit `i` the answer for element `i`; a
/// comparison with a NaN is false.
pub(crate) trait Lanes: Copy {
    /// `a < b`.
    fn lt(self, a: &[f64; 64], b: &[f64; 64]) -> u64;
    /// `a = b`.
    fn eq(self, a: &[f64; 64], b: &[f64; 64]) -> u64;
    /// `a > b` and `a = b` of two rows of codes.
    fn order(self, a: &Codes, b: &Codes) -> (u64, u64);
    /// `a > b` of rows of codes, eight words at a time. Gives a bit per word: unset where no two codes of it are equal.
    fn above(self, a: &[[Codes; 8]], b: &[[Codes; 8]], out: &mut [[u64; 8]]) -> u64;

    /// Eight numbers, for recursions whose lanes are independent of each other.
    type Eight: Eight;
    /// Eight numbers of memory.
    fn eight(self, values: &[f64; 8]) -> Self::Eight;
    /// One number eight times.
    fn splat(self, value: f64) -> Self::Eight;
    /// Lane `j` of result `i` is lane `i` of row `j`.
    fn transpose(self, rows: [Self::Eight; 8]) -> [Self::Eight; 8];
    /// Lane `j` of result `i` is number `i` of row `j`, of rows of memory.
    fn columns(self, rows: [&[f64; 4]; 8]) -> [Self::Eight; 4];

    /// Runs a kernel that is compiled once for these lanes, wherever it is run from.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;
}

/// No vector instructions but those that every machine has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

/// 64 tests of numbers to a word. Elements side by side to the bits of a word is what no plain loop becomes vector instructions
/// for; eight lanes that each collect every eighth bit are, and the bits change places afterwards.
#[inline(always)]
fn numbers_to_word(a: &[f64; 64], b: &[f64; 64], test: impl Fn(f64, f64) -> bool) -> u64 {
    let mut lanes = [0; 8];
    for c in 0..8 {
        for j in 0..8 {
            lanes[j] |= -i64::from(test(a[8 * c + j], b[8 * c + j])) & (1 << c);
        }
    }
    let mut bytes = [0; 8];
    for j in 0..8 {
        bytes[j] = lanes[j] as u8;
    }
    // Rows to columns, within squares of two, four and eight bits.
    let mut bits = u64::from_le_bytes(bytes);
    for (by, mask) in [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0xf0f0_f0f0)] {
        let differ = (bits ^ bits >> by) & mask;
        bits ^= differ ^ differ << by;
    }
    bits
}

/// The bit of an element within its byte of a word.
const BIT: [u8; 64] = {
    let mut bits = [0; 64];
    let mut i = 0;
    while i < 64 {
        bits[i] = 1 << (i % 8);
        i += 1;
    }
    bits
};

/// 64 tests of codes to a word: a byte for each, which is its bit or zero, and a product that adds eight of them up.
#[inline(always)]
fn codes_to_word(a: &Codes, b: &Codes, test: impl Fn(i16, i16) -> bool) -> u64 {
    let mut bytes = [0; 64];
    for i in 0..64 {
        bytes[i] = if test(a[i], b[i]) { BIT[i] } else { 0 };
    }
    let mut word = 0;
    for (i, bytes) in bytes.as_chunks::<8>().0.iter().enumerate() {
        word |= (u64::from_le_bytes(*bytes).wrapping_mul(0x0101_0101_0101_0101) >> 56) << (8 * i);
    }
    word
}

impl Lanes for Portable {
    #[inline(always)]
    fn lt(self, a: &[f64; 64], b: &[f64; 64]) -> u64 {
        numbers_to_word(a, b, |a, b| a < b)
    }

    #[inline(always)]
    fn eq(self, a: &[f64; 64], b: &[f64; 64]) -> u64 {
        numbers_to_word(a, b, |a, b| a == b)
    }

    #[inline(always)]
    fn order(self, a: &Codes, b: &Codes) -> (u64, u64) {
        (codes_to_word(a, b, |a, b| a > b), codes_to_word(a, b, |a, b| a == b))
    }

    #[inline(always)]
    fn above(self, a: &[[Codes; 8]], b: &[[Codes; 8]], out: &mut [[u64; 8]]) -> u64 {
        let mut tied = 0;
        for (block, ((a, b), out)) in a.iter().zip(b).zip(out).enumerate() {
            let mut equal = [0; 64];
            for w in 0..8 {
                out[w] = codes_to_word(&a[w], &b[w], |a, b| a > b);
                for i in 0..64 {
                    equal[i] |= -i16::from(a[w][i] == b[w][i]);
                }
            }
            if equal != [0; 64] {
                tied |= 0xff << (8 * block);
            }
        }
        tied
    }

    type Eight = eight::Array;

    #[inline(always)]
    fn eight(self, values: &[f64; 8]) -> eight::Array {
        eight::Array(*values)
    }

    #[inline(always)]
    fn splat(self, value: f64) -> eight::Array {
        eight::Array([value; 8])
    }

    #[inline(always)]
    fn transpose(self, rows: [eight::Array; 8]) -> [eight::Array; 8] {
        eight::transpose_arrays(rows)
    }

    #[inline(always)]
    fn columns(self, rows: [&[f64; 4]; 8]) -> [eight::Array; 4] {
        eight::columns_of_arrays(rows)
    }

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        #[inline(never)]
        fn run<K: Kernel>(kernel: K) -> K::Output {
            kernel.run(Portable)
        }
        run(kernel)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::eight::{Ymm, Zmm};
    use super::{Call, Codes, Kernel, Lanes};
    use pulp::x86::{V3, V4};
    use pulp::{cast, f64x4, f64x8};
    use std::arch::x86_64::{__m256d, __m256i, __m512i};

    #[derive(Debug, Clone, Copy)]
    pub(super) struct Avx512(pub(super) V4);

    #[inline(always)]
    fn join([low, high]: [u32; 2]) -> u64 {
        u64::from(low) | u64::from(high) << 32
    }

    impl Avx512 {
        #[inline(always)]
        fn word(self, a: &[f64; 64], b: &[f64; 64], test: impl Fn(f64x8, f64x8) -> pulp::b8) -> u64 {
            let (a, b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
            let mut word = 0;
            for i in 0..8 {
                word |= u64::from(test(cast(a[i]), cast(b[i])).0) << (8 * i);
            }
            word
        }
    }

    impl Lanes for Avx512 {
        #[inline(always)]
        fn lt(self, a: &[f64; 64], b: &[f64; 64]) -> u64 {
            self.word(a, b, |a, b| self.0.cmp_lt_f64x8(a, b))
        }

        #[inline(always)]
        fn eq(self, a: &[f64; 64], b: &[f64; 64]) -> u64 {
            self.word(a, b, |a, b| self.0.cmp_eq_f64x8(a, b))
        }

        #[inline(always)]
        fn order(self, a: &Codes, b: &Codes) -> (u64, u64) {
            let bw = self.0.avx512bw;
            let ([a0, a1], [b0, b1]): ([__m512i; 2], [__m512i; 2]) = (cast(*a), cast(*b));
            let greater = [bw._mm512_cmpgt_epi16_mask(a0, b0), bw._mm512_cmpgt_epi16_mask(a1, b1)];
            let equal = [bw._mm512_cmpeq_epi16_mask(a0, b0), bw._mm512_cmpeq_epi16_mask(a1, b1)];
            (join(greater), join(equal))
        }

        #[inline(always)]
        fn above(self, a: &[[Codes; 8]], b: &[[Codes; 8]], out: &mut [[u64; 8]]) -> u64 {
            let (f, bw) = (self.0.avx512f, self.0.avx512bw);
            let mut tied = 0;
            for (block, ((a, b), out)) in a.iter().zip(b).zip(out).enumerate() {
                // Masks are scarce, other vector units are not: equality is looked for once per block.
                let mut least = f._mm512_set1_epi64(-1);
                for w in 0..8 {
                    let ([a0, a1], [b0, b1]): ([__m512i; 2], [__m512i; 2]) = (cast(a[w]), cast(b[w]));
                    let greater = [bw._mm512_cmpgt_epi16_mask(a0, b0), bw._mm512_cmpgt_epi16_mask(a1, b1)];
                    out[w] = join(greater);
                    least = bw._mm512_min_epu16(least, f._mm512_xor_si512(a0, b0));
                    least = bw._mm512_min_epu16(least, f._mm512_xor_si512(a1, b1));
                }
                if bw._mm512_testn_epi16_mask(least, least) != 0 {
                    tied |= 0xff << (8 * block);
                }
            }
            tied
        }

        type Eight = Zmm;

        #[inline(always)]
        fn eight(self, values: &[f64; 8]) -> Zmm {
            Zmm::load(self.0, values)
        }

        #[inline(always)]
        fn splat(self, value: f64) -> Zmm {
            Zmm::splat(self.0, value)
        }

        #[inline(always)]
        fn transpose(self, rows: [Zmm; 8]) -> [Zmm; 8] {
            Zmm::transpose(self.0, rows)
        }

        #[inline(always)]
        fn columns(self, rows: [&[f64; 4]; 8]) -> [Zmm; 4] {
            Zmm::columns(self.0, rows)
        }

        #[inline(always)]
        fn call<K: Kernel>(self, kernel: K) -> K::Output {
            self.0.vectorize(Call { kernel, lanes: self })
        }
    }

    #[derive(Debug, Clone, Copy)]
    pub(super) struct Avx2(pub(super) V3);

    impl Avx2 {
        #[inline(always)]
        fn word(self, a: &[f64; 64], b: &[f64; 64], test: impl Fn(__m256d, __m256d) -> __m256d) -> u64 {
            let (a, b) = (a.as_chunks::<4>().0, b.as_chunks::<4>().0);
            let mut word = 0;
            for i in 0..16 {
                let (a, b): (f64x4, f64x4) = (cast(a[i]), cast(b[i]));
                let bits = self.0.avx._mm256_movemask_pd(test(cast(a), cast(b)));
                word |= u64::from(bits.cast_unsigned()) << (4 * i);
            }
            word
        }

        /// One bit per 16-bit lane of vectors of all-ones and all-zeros lanes.
        #[inline(always)]
        fn bits(self, lanes: [__m256i; 4]) -> u64 {
            let mut word = 0;
            for i in 0..2 {
                // Packing works within halves of 128 bits; the permutation puts the quarters back into order.
                let packed = self.0.avx2._mm256_packs_epi16(lanes[2 * i], lanes[2 * i + 1]);
                let ordered = self.0.avx2._mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
                let bits = self.0.avx2._mm256_movemask_epi8(ordered).cast_unsigned();
                word |= u64::from(bits) << (32 * i);
            }
            word
        }
    }

    impl Lanes for Avx2 {
        #[inline(always)]
        fn lt(self, a: &[f64; 64], b: &[f64; 64]) -> u64 {
            self.word(a, b, |a, b| self.0.avx._mm256_cmp_pd::<{ std::arch::x86_64::_CMP_LT_OQ }>(a, b))
        }

        #[inline(always)]
        fn eq(self, a: &[f64; 64], b: &[f64; 64]) -> u64 {
            self.word(a, b, |a, b| self.0.avx._mm256_cmp_pd::<{ std::arch::x86_64::_CMP_EQ_OQ }>(a, b))
        }

        #[inline(always)]
        fn order(self, a: &Codes, b: &Codes) -> (u64, u64) {
            let avx2 = self.0.avx2;
            let (a, b): ([__m256i; 4], [__m256i; 4]) = (cast(*a), cast(*b));
            let (mut greater, mut equal) = (a, a);
            for i in 0..4 {
                greater[i] = avx2._mm256_cmpgt_epi16(a[i], b[i]);
                equal[i] = avx2._mm256_cmpeq_epi16(a[i], b[i]);
            }
            (self.bits(greater), self.bits(equal))
        }

        #[inline(always)]
        fn above(self, a: &[[Codes; 8]], b: &[[Codes; 8]], out: &mut [[u64; 8]]) -> u64 {
            let avx2 = self.0.avx2;
            let mut tied = 0;
            for (block, ((a, b), out)) in a.iter().zip(b).zip(out).enumerate() {
                let mut least = self.0.avx._mm256_set1_epi16(-1);
                for w in 0..8 {
                    let (a, b): ([__m256i; 4], [__m256i; 4]) = (cast(a[w]), cast(b[w]));
                    let mut greater = a;
                    for i in 0..4 {
                        greater[i] = avx2._mm256_cmpgt_epi16(a[i], b[i]);
                        least = avx2._mm256_min_epu16(least, avx2._mm256_xor_si256(a[i], b[i]));
                    }
                    out[w] = self.bits(greater);
                }
                let equal = avx2._mm256_cmpeq_epi16(least, self.0.avx._mm256_setzero_si256());
                if avx2._mm256_movemask_epi8(equal) != 0 {
                    tied |= 0xff << (8 * block);
                }
            }
            tied
        }

        type Eight = Ymm;

        #[inline(always)]
        fn eight(self, values: &[f64; 8]) -> Ymm {
            Ymm::load(self.0, values)
        }

        #[inline(always)]
        fn splat(self, value: f64) -> Ymm {
            Ymm::splat(self.0, value)
        }

        #[inline(always)]
        fn transpose(self, rows: [Ymm; 8]) -> [Ymm; 8] {
            Ymm::transpose(self.0, rows)
        }

        #[inline(always)]
        fn columns(self, rows: [&[f64; 4]; 8]) -> [Ymm; 4] {
            Ymm::columns(self.0, rows)
        }

        #[inline(always)]
        fn call<K: Kernel>(self, kernel: K) -> K::Output {
            self.0.vectorize(Call { kernel, lanes: self })
        }
    }
}

#[cfg(test)]
mod tests;
