//! Codes of 16 bits that stand for numbers in comparisons: four times as many fit into a register and into the cache.

use super::tile::{Leaf, Span, TILE};

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
        let Some((low, scale)) = self.range() else {
            for &leaf in self.coded {
                let Leaf::Numbers(leaf) = &mut self.leaves[leaf] else { continue };
                leaf.codes.clear();
            }
            return;
        };
        for &leaf in self.coded {
            let Leaf::Numbers(leaf) = &mut self.leaves[leaf] else { continue };
            leaf.codes.resize(TILE, 0);
            let mut codes = std::mem::take(&mut leaf.codes);
            for (w, codes) in codes.as_chunks_mut::<64>().0.iter_mut().enumerate().take(self.span.words) {
                let block = leaf.block(self.span.first_word + w);
                for i in 0..64 {
                    let x = (block[i] - low) * scale;
                    let x = if x > 0.0 { x } else { 0.0 };
                    let x = if x < 65_535.0 { x } else { 65_535.0 };
                    // Adding 2^52 leaves the rounded number in the lowest bits; cutting and rounding keep the order.
                    codes[i] = (x + 4_503_599_627_370_496.0).to_bits() as u16;
                }
            }
            leaf.codes = codes;
        }
    }

    /// Where most numbers lie, and codes per unit. Numbers outside get the first or the last code, which decides less and
    /// nothing wrongly; so a few numbers of each series are enough to tell.
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
        let margin = (high - low) / 64.0;
        let scale = 65_000.0 / (high - low + 2.0 * margin);
        (scale.is_finite() && scale > 0.0).then_some((low - margin, scale))
    }
}
