//! Extremes of all windows of a series whose lengths are powers of two, tile by tile. Not an indicator.
//!
//! A window of any length is two such windows that overlap, and a level of twice the length is made from the one before
//! in the same way; so an extreme over `n` bars takes one comparison, and the levels are shared by every `n`. Extremes are
//! exact: any order of comparisons gives the same bits.

use std::ops::Range;

use crate::simd::{Eight, Lanes, Number};

/// Bars of a tile.
pub(super) const TILE: usize = 512;
/// The longest window worth it: the levels of a tile reach back by a window, so beyond this most of the work would be
/// done more than once.
pub(super) const LONGEST: usize = 1024;

/// The levels of one tile.
pub(super) struct Levels<const HIGHEST: bool> {
    /// Bars before a tile that its windows reach back to.
    reach: usize,
    /// The bar that belongs to element 0 of every row.
    start: usize,
    /// Row after row, the first after `skip` numbers. Element `i` of row `j` is the extreme of the `2^j` bars from
    /// `start + i` on.
    rows: Vec<f64>,
    skip: usize,
    width: usize,
    /// The first row that is kept, and the number of rows.
    lowest: usize,
    levels: usize,
}

impl<const HIGHEST: bool> Levels<HIGHEST> {
    /// Room for windows of `shortest` to `longest` bars.
    pub(super) fn new(shortest: usize, longest: usize) -> Self {
        let reach = longest - 1;
        // Whole vectors are computed, also where they reach past the last window; what they make there is not read.
        let width = (reach + TILE + 16).next_multiple_of(8);
        let levels = longest.ilog2() as usize + 1;
        let rows = vec![0.0; width * levels + 8];
        // Rows that begin with a line of the cache are written a line at a time.
        let skip = rows.as_ptr().align_offset(64).min(8);
        // Rows of windows shorter than eight bars serve nobody else.
        let lowest = shortest.ilog2().min(3) as usize;
        Levels { reach, start: 0, rows, skip, width, lowest, levels }
    }

    /// Makes the levels of the bars of a tile; `x` is finite.
    #[inline(always)]
    pub(super) fn fill<L: Lanes>(&mut self, lanes: L, x: &[f64], tile: Range<usize>) {
        self.start = tile.start.saturating_sub(self.reach);
        let (blocks, rest) = x[self.start..tile.end].as_chunks::<8>();
        let width = self.width / 8;
        let rows = self.rows[self.skip..].as_chunks_mut::<8>().0;
        // Windows of up to eight bars are made in registers, from the end of the tile to its start: `next` holds those of
        // the block after. A zero becomes +0, so that equal values have equal bits.
        let mut last = [0.0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let mut next = [lanes.splat(0.0); 3];
        for i in (0..=blocks.len()).rev() {
            let one = lanes.eight(blocks.get(i).unwrap_or(&last)) + lanes.splat(0.0);
            let two = Self::pick(one, one.shifted::<1>(next[0]));
            let four = Self::pick(two, two.shifted::<2>(next[1]));
            let eight = Self::pick(four, four.shifted::<4>(next[2]));
            next = [one, two, four];
            for (level, values) in [one, two, four, eight].into_iter().enumerate() {
                if (self.lowest..self.levels).contains(&level) {
                    rows[level * width + i] = values.array();
                }
            }
        }
        for level in 4..self.levels {
            let (shorter, longer) = rows.split_at_mut(level * width);
            let from = &shorter[(level - 1) * width..];
            let windows = from.iter().zip(&from[1 << (level - 4)..]);
            for (to, (a, b)) in longer.iter_mut().zip(windows).take(blocks.len()) {
                *to = Self::pick(lanes.eight(a), lanes.eight(b)).array();
            }
        }
    }

    /// Two windows for each of these bars of the tile whose greater (or lesser) extreme is that of the `n` bars ending
    /// there.
    #[inline(always)]
    pub(super) fn halves(&self, n: usize, bars: Range<usize>) -> (&[f64], &[f64]) {
        let level = n.ilog2();
        let row = &self.rows[self.skip + level as usize * self.width..];
        let (first, shift) = (bars.start + 1 - n - self.start, n - (1 << level));
        (&row[first..first + bars.len()], &row[first + shift..first + shift + bars.len()])
    }

    /// The greater (or lesser) of two extremes.
    #[inline(always)]
    pub(super) fn pick<N: Number>(a: N, b: N) -> N {
        if HIGHEST { b.max(a) } else { b.min(a) }
    }
}
