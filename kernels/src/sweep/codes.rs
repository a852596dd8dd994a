//! Codes of 16 bits that stand for numbers in comparisons: four times as many fit into a register and into the cache.

use super::leaf::Leaf;
use super::tile::Span;
use crate::simd::Codes;

/// Gives numbers of one tile a code each, in their order: of two numbers the one with the larger code is larger. Codes of undefined
/// bars mean nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coder {
    /// Smaller numbers have the code of `low`, larger ones that of `high`: that decides less, and nothing wrongly.
    low: f64,
    high: f64,
    /// Codes per unit.
    scale: f64,
    /// Takes the code of a scaled number into the lowest bits.
    offset: f64,
}

/// To which a small whole number can be added so that it stands in the lowest bits: `1.5 * 2^52`.
const WHOLE: f64 = 6_755_399_441_055_744.0;

/// Codes that are given out; a few more would fit.
const CODES: f64 = 65_000.0;

impl Coder {
    /// For series of which some are known: the numbers of others should be nearly where those are. `None` where all are one number, or
    /// undefined, or too close to each other for their size.
    #[inline(always)]
    pub(super) fn new(leaves: &[Leaf], known: &[usize], span: Span) -> Option<Coder> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for &leaf in known {
            let Leaf::Numbers(leaf) = &leaves[leaf] else { continue };
            // A few numbers of each are enough to tell.
            for w in 0..span.words {
                let block = leaf.block(span.first_word + w);
                for x in [block[0], block[32]] {
                    low = if x < low { x } else { low };
                    high = if x > high { x } else { high };
                }
            }
        }
        // A margin of a thirty-second for the numbers that were not looked at.
        let (width, middle) = ((high - low) * (33.0 / 32.0), low + (high - low) / 2.0);
        let scale = CODES / width;
        let coder = Coder {
            low: middle - width / 2.0,
            high: middle + width / 2.0,
            scale,
            offset: WHOLE - middle * scale,
        };
        // Codes rise with numbers, so that none lies outside if those of the ends do not.
        let fits = |x: f64| {
            let code = x * scale + coder.offset - WHOLE;
            (f64::from(i16::MIN)..=f64::from(i16::MAX)).contains(&code)
        };
        // Else codes would be far apart, and most numbers would share one.
        let is_small = (middle * scale).abs() < WHOLE / 16.0;
        (is_small && fits(coder.low) && fits(coder.high)).then_some(coder)
    }

    /// The codes of a block of numbers.
    #[inline(always)]
    pub(super) fn encode(self, numbers: &[f64; 64], codes: &mut Codes) {
        let Coder { low, high, scale, offset } = self;
        for i in 0..64 {
            let x = if numbers[i] > low { numbers[i] } else { low };
            let x = if x < high { x } else { high };
            codes[i] = (x * scale + offset).to_bits() as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::leaf::NumberLeaf;
    use super::*;
    use crate::series::Series;

    fn coder(known: &[f64; 64]) -> Option<Coder> {
        let leaf = Leaf::Numbers(Box::new(NumberLeaf::whole(Arc::new(Series::new(known.to_vec())))));
        Coder::new(&[leaf], &[0], Span::new(0, 64))
    }

    #[test]
    fn codes_rise_with_numbers_however_far_these_are_from_the_known_ones() {
        for (middle, width) in
            [(100.0, 3.0), (0.0, 1e-300), (-5e7, 1.0), (1e300, 1e299), (30_000.0, 1e-4), (1.0, 7e5)]
        {
            let at = |i: usize| middle + width * (i as f64 / 32.0 - 0.5);
            let coder = coder(&std::array::from_fn(at));
            let Some(coder) = coder else { panic!("{middle} {width}") };
            let mut numbers: [f64; 64] = std::array::from_fn(|i| middle + width * (i as f64 / 20.0 - 1.5));
            numbers[..4].copy_from_slice(&[
                f64::NEG_INFINITY,
                f64::MIN,
                -1e9 * width + middle,
                middle - width,
            ]);
            numbers[60..].copy_from_slice(&[middle + width, 1e9 * width + middle, f64::MAX, f64::INFINITY]);
            numbers.sort_by(f64::total_cmp);
            let mut codes = [0; 64];
            coder.encode(&numbers, &mut codes);
            assert!(codes.is_sorted(), "{middle} {width}: {codes:?}");
            assert!(codes[0] < -30_000 && codes[63] > 30_000, "{middle} {width}: {codes:?}");
        }
    }

    #[test]
    fn numbers_that_cannot_be_told_apart_have_no_codes() {
        let near = f64::from_bits(100_f64.to_bits() + 1);
        for known in
            [[100.0; 64], [f64::NAN; 64], std::array::from_fn(|i| if i == 32 { near } else { 100.0 })]
        {
            assert!(coder(&known).is_none(), "{known:?}");
        }
        assert!(coder(&std::array::from_fn(|i| if i == 32 { f64::MAX } else { f64::MIN })).is_none());
    }
}
