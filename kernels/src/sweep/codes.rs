//! Codes of 16 bits that stand for numbers in comparisons: four times as many fit into a register and into the cache.

use super::leaf::Leaf;
use super::tile::{Span, WORDS};

/// Gives every number leaf of `coded` a code of 16 bits per bar of the tile, in the order of the numbers: of two numbers the
/// one with the larger code is larger. Codes of undefined bars mean nothing.
pub(super) struct Coding<'c> {
    pub(super) leaves: &'c mut [Leaf],
    pub(super) coded: &'c [usize],
    pub(super) span: Span,
}

impl Coding<'_> {
    #[inline(always)]
    pub(super) fn encode(self) {
        let Some((middle, scale)) = self.range() else {
            for &leaf in self.coded {
                let Leaf::Numbers(leaf) = &mut self.leaves[leaf] else { continue };
                leaf.codes.clear();
            }
            return;
        };
        for &leaf in self.coded {
            let Leaf::Numbers(leaf) = &mut self.leaves[leaf] else { continue };
            leaf.codes.resize(WORDS / 8, [[0; 64]; 8]);
            let mut codes = std::mem::take(&mut leaf.codes);
            for (w, codes) in codes.as_flattened_mut().iter_mut().enumerate().take(self.span.words) {
                let block = leaf.block(self.span.first_word + w);
                for i in 0..64 {
                    let x = (block[i] - middle) * scale;
                    let x = if x > -32_768.0 { x } else { -32_768.0 };
                    let x = if x < 32_767.0 { x } else { 32_767.0 };
                    // Adding 1.5 * 2^52 leaves the rounded number in the lowest bits; cutting and rounding keep the order.
                    codes[i] = (x + 6_755_399_441_055_744.0).to_bits() as i16;
                }
            }
            leaf.codes = codes;
        }
    }

    /// The middle of where most numbers lie, and codes per unit. Numbers outside get the first or the last code, which decides
    /// less and nothing wrongly; so a few numbers of each series are enough to tell.
    #[inline(always)]
    fn range(&self) -> Option<(f64, f64)> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for &leaf in self.coded {
            let Leaf::Numbers(leaf) = &self.leaves[leaf] else { continue };
            for w in 0..self.span.words {
                let block = leaf.block(self.span.first_word + w);
                for x in [block[0], block[32]] {
                    low = if x < low { x } else { low };
                    high = if x > high { x } else { high };
                }
            }
        }
        // A margin of a thirty-second for the numbers that were not looked at.
        let (width, middle) = ((high - low) * (33.0 / 32.0), low + (high - low) / 2.0);
        let scale = 65_000.0 / width;
        (scale.is_finite() && scale > 0.0).then_some((middle, scale))
    }
}
