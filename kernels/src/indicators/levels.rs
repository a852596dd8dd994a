//! Extremes of all windows of a series whose lengths are powers of two, tile by tile. Not an indicator.
//!
//! A window of any length is two such windows that overlap, and a level of twice the length is made from the one before
//! in the same way; so an extreme over `n` bars takes one comparison, and the levels are shared by every `n`. Extremes are
//! exact: any order of comparisons gives the same bits.

use std::ops::Range;

use super::extremes::Extreme;
use super::recursion::{eight_of, eight_of_mut};
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
    /// Element `i` of row `j` is the extreme of the `2^j` bars from `start + i` on.
    rows: Vec<Vec<f64>>,
}

impl<const HIGHEST: bool> Levels<HIGHEST> {
    /// Room for windows of up to `longest` bars.
    pub(super) fn new(longest: usize) -> Self {
        let reach = longest - 1;
        // Whole vectors are computed, also where they reach past the last window; what they make there is not read.
        let row = vec![0.0; reach + TILE + 16];
        Levels { reach, start: 0, rows: vec![row; longest.ilog2() as usize + 1] }
    }

    /// Makes the levels of the bars of a tile; `x` is finite.
    #[inline(always)]
    pub(super) fn fill<L: Lanes>(&mut self, lanes: L, x: &[f64], tile: Range<usize>) {
        self.start = tile.start.saturating_sub(self.reach);
        let bars = &x[self.start..tile.end];
        // A zero becomes +0, so that equal values have equal bits.
        for (value, &x) in self.rows[0].iter_mut().zip(bars) {
            *value = x + 0.0;
        }
        let mut length = 1;
        for level in 1..self.rows.len() {
            let (shorter, longer) = self.rows.split_at_mut(level);
            let (from, to) = (&shorter[level - 1], &mut longer[0]);
            for i in (0..bars.len().saturating_sub(length)).step_by(8) {
                let (a, b) = (lanes.eight(eight_of(from, i)), lanes.eight(eight_of(from, i + length)));
                *eight_of_mut(to, i) = Self::pick(a, b).array();
            }
            length *= 2;
        }
    }

    /// The extremes of the windows of `n` bars that end at bars `t .. t + 8`.
    #[inline(always)]
    pub(super) fn eight<L: Lanes>(&self, lanes: L, n: usize, t: usize) -> L::Eight {
        let (row, first, second) = self.place(n, t);
        Self::pick(lanes.eight(eight_of(row, first)), lanes.eight(eight_of(row, second)))
    }

    /// The extreme of the window of `n` bars that ends at bar `t`.
    #[inline(always)]
    pub(super) fn one(&self, n: usize, t: usize) -> f64 {
        let (row, first, second) = self.place(n, t);
        Extreme::<HIGHEST>::pick(row[first], row[second])
    }

    /// The row whose windows cover one of `n` bars, and the two of them that do.
    #[inline(always)]
    fn place(&self, n: usize, t: usize) -> (&[f64], usize, usize) {
        let level = n.ilog2();
        let first = t + 1 - n - self.start;
        (&self.rows[level as usize], first, first + n - (1 << level))
    }

    #[inline(always)]
    fn pick<E: Eight>(a: E, b: E) -> E {
        if HIGHEST { Number::max(b, a) } else { Number::min(b, a) }
    }
}
