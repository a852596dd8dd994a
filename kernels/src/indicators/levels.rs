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
    levels: usize,
}

impl<const HIGHEST: bool> Levels<HIGHEST> {
    /// Room for windows of up to `longest` bars.
    pub(super) fn new(longest: usize) -> Self {
        let reach = longest - 1;
        // Whole vectors are computed, also where they reach past the last window; what they make there is not read.
        let width = (reach + TILE + 16).next_multiple_of(8);
        let levels = longest.ilog2() as usize + 1;
        let rows = vec![0.0; width * levels + 8];
        // Rows that begin with a line of the cache are written a line at a time.
        let skip = rows.as_ptr().align_offset(64).min(8);
        Levels { reach, start: 0, rows, skip, width, levels }
    }

    /// Makes the levels of the bars of a tile; `x` is finite.
    #[inline(always)]
    pub(super) fn fill<L: Lanes>(&mut self, lanes: L, x: &[f64], tile: Range<usize>) {
        self.start = tile.start.saturating_sub(self.reach);
        let bars = &x[self.start..tile.end];
        // A zero becomes +0, so that equal values have equal bits.
        let rows = &mut self.rows[self.skip..];
        for (value, &x) in rows.iter_mut().zip(bars) {
            *value = x + 0.0;
        }
        let mut length = 1;
        for level in 1..self.levels {
            let (shorter, longer) = rows.split_at_mut(level * self.width);
            let (from, to) = (&shorter[(level - 1) * self.width..], longer.as_chunks_mut().0);
            let blocks = bars.len().saturating_sub(length).div_ceil(8);
            let windows = from.as_chunks().0.iter().zip(from[length..].as_chunks().0);
            for (to, (a, b)) in to.iter_mut().zip(windows).take(blocks) {
                *to = Self::pick(lanes.eight(a), lanes.eight(b)).array();
            }
            length *= 2;
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
