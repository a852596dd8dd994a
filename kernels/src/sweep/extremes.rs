//! Highest and lowest close of any range of bars in constant time.
//!
//! Blocks of 16 bars with running extremes from either end, and a sparse table over whole blocks: 32 bytes a bar and one more per level.

use super::moments::LANE;
use crate::simd::{Eight, Lanes, Number};

pub(super) const BLOCK: usize = 16;

/// The lowest and the highest of some closes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Extremes {
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Extremes {
    /// Of no closes at all.
    pub(super) const NONE: Extremes = Extremes { min: f64::INFINITY, max: f64::NEG_INFINITY };

    #[inline(always)]
    fn of(closes: &[f64]) -> Extremes {
        closes.iter().fold(Extremes::NONE, |range, &close| range.with(close))
    }

    #[inline(always)]
    fn with(self, close: f64) -> Extremes {
        Extremes {
            min: if close < self.min { close } else { self.min },
            max: if close > self.max { close } else { self.max },
        }
    }

    #[inline(always)]
    pub(super) fn join(self, other: Extremes) -> Extremes {
        Extremes {
            min: if other.min < self.min { other.min } else { self.min },
            max: if other.max > self.max { other.max } else { self.max },
        }
    }
}

/// Answers range queries over one series.
#[derive(Debug)]
pub(super) struct RangeExtremes {
    /// Extremes from the start of the block to this bar.
    from_start: Vec<Extremes>,
    /// Extremes from this bar to the end of the block.
    to_end: Vec<Extremes>,
    /// Level `k` holds at `b` the extremes of blocks `b .. b + 2^k`.
    levels: Vec<Vec<Extremes>>,
}

impl RangeExtremes {
    pub(super) fn new(closes: &[f64]) -> RangeExtremes {
        let mut from_start = Vec::with_capacity(closes.len());
        let mut to_end = Vec::with_capacity(closes.len());
        let mut blocks = Vec::new();
        for block in closes.chunks(BLOCK) {
            let mut running = Extremes::NONE;
            from_start.extend(block.iter().map(|&close| {
                running = running.with(close);
                running
            }));
            blocks.push(running);
            running = Extremes::NONE;
            let first = to_end.len();
            to_end.extend(block.iter().rev().map(|&close| {
                running = running.with(close);
                running
            }));
            to_end[first..].reverse();
        }
        let mut levels = vec![blocks];
        let mut span = 1;
        while let Some(last) = levels.last()
            && last.len() > span
        {
            let next = last.iter().zip(&last[span..]).map(|(a, b)| a.join(*b)).collect();
            levels.push(next);
            span *= 2;
        }
        RangeExtremes { from_start, to_end, levels }
    }

    /// The extremes of closes `b * BLOCK ..` of a whole block `b`.
    #[inline(always)]
    pub(super) fn block(&self, b: usize) -> Extremes {
        self.levels[0][b]
    }

    /// The tables behind [`RangeExtremes::query`], for a device that asks itself: per bar from the start of its block, per
    /// bar to the end of its block, and level by level over whole blocks.
    pub(super) fn tables(&self) -> (&[Extremes], &[Extremes], &[Vec<Extremes>]) {
        (&self.from_start, &self.to_end, &self.levels)
    }

    /// The extremes of `closes[from..to]`, the series this was made of; `from < to`.
    pub(super) fn query(&self, closes: &[f64], from: usize, to: usize) -> Extremes {
        let (first, last) = (from / BLOCK, (to - 1) / BLOCK);
        if first == last {
            return Extremes::of(&closes[from..to]);
        }
        let ends = self.to_end[from].join(self.from_start[to - 1]);
        let inner = last - first - 1;
        if inner == 0 {
            return ends;
        }
        let level = inner.ilog2() as usize;
        let table = &self.levels[level];
        ends.join(table[first + 1].join(table[last - (1 << level)]))
    }
}

const COARSE: usize = 8;

/// Bounds on the closes of a range: those of the whole blocks of 8 bars that it touches.
#[derive(Debug)]
pub(super) struct CoarseExtremes {
    /// Level `k` starts at `k * blocks` and holds at `b` the extremes of blocks `b .. b + 2^k`.
    levels: Vec<Extremes>,
    blocks: usize,
}

impl CoarseExtremes {
    pub(super) fn new(closes: &[f64]) -> CoarseExtremes {
        let blocks = closes.len().div_ceil(COARSE);
        let mut levels = Vec::with_capacity(blocks * (1 + blocks.next_power_of_two().ilog2() as usize));
        levels.extend(closes.chunks(COARSE).map(Extremes::of));
        let mut span = 1;
        while span < blocks {
            let below = levels.len() - blocks;
            for block in 0..blocks {
                let far = levels[below + (block + span).min(blocks - 1)];
                levels.push(levels[below + block].join(far));
            }
            span *= 2;
        }
        CoarseExtremes { levels, blocks }
    }

    /// Bounds on `closes[from..to]`; `from < to`.
    #[inline(always)]
    pub(super) fn query(&self, from: usize, to: usize) -> Extremes {
        let (first, last) = (from / COARSE, (to - 1) / COARSE);
        let level = (last - first + 1).ilog2() as usize;
        let row = &self.levels[level * self.blocks..];
        row[first].join(row[last + 1 - (1 << level)])
    }

    /// Appends the extremes themselves of ranges of the closes this was made of: eight closes at either end and whole blocks between.
    /// No branch asks how long a range is, so that what several of them load is on its way from memory at once.
    #[inline(always)]
    pub(super) fn of_ranges<L: Lanes>(
        &self,
        lanes: L,
        closes: &[f64],
        ranges: &[[u32; 2]],
        out: &mut Vec<Extremes>,
    ) {
        for range in ranges {
            let [from, to] = range.map(|bar| bar as usize);
            let count = to - from;
            let Some(first) = closes[from..].first_chunk::<COARSE>() else {
                out.push(Extremes::of(&closes[from..to]));
                continue;
            };
            let last = closes[from.max(to.saturating_sub(COARSE))..].first_chunk().unwrap_or(first);
            let (first, last) = (lanes.eight(first), lanes.eight(last));
            let (lane, count) = (lanes.eight(&LANE), lanes.splat(count as f64));
            let mut low = lane.where_less(count, first.min(last), lanes.splat(f64::INFINITY));
            let mut high = lane.where_less(count, first.max(last), lanes.splat(f64::NEG_INFINITY));
            (low, high) = (low.min(low.shifted::<4>(low)), high.max(high.shifted::<4>(high)));
            (low, high) = (low.min(low.shifted::<2>(low)), high.max(high.shifted::<2>(high)));
            (low, high) = (low.min(low.shifted::<1>(low)), high.max(high.shifted::<1>(high)));
            let ends = Extremes { min: low.array()[0], max: high.array()[0] };
            let (after, before) = (from / COARSE + 1, (to - 1) / COARSE);
            let inner = before.saturating_sub(after);
            let level = (inner | 1).ilog2() as usize;
            let row = &self.levels[level * self.blocks..];
            let between = [&row[after.min(before)], &row[before.saturating_sub(1 << level)]];
            let [a, b] = if inner == 0 { [&Extremes::NONE; 2] } else { between };
            out.push(ends.join(*a).join(*b));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Kernel};

    #[test]
    fn coarse_bounds_are_those_of_the_blocks_touched() {
        let closes: Vec<f64> = (0..301).map(|t| f64::from((t * 7919) % 1009)).collect();
        let coarse = CoarseExtremes::new(&closes);
        for from in 0..closes.len() {
            for to in from + 1..=closes.len() {
                let whole = &closes[from / COARSE * COARSE..to.next_multiple_of(COARSE).min(closes.len())];
                let expected = whole.iter().fold(Extremes::NONE, |range, &close| range.with(close));
                assert_eq!(coarse.query(from, to), expected, "{from}..{to}");
            }
        }
    }

    /// All ranges of closes, at once.
    struct OfRanges<'c>(&'c [f64], &'c [[u32; 2]]);

    impl Kernel for OfRanges<'_> {
        type Output = Vec<Extremes>;

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> Vec<Extremes> {
            let mut out = Vec::new();
            CoarseExtremes::new(self.0).of_ranges(lanes, self.0, self.1, &mut out);
            out
        }
    }

    #[test]
    fn every_range_has_the_extremes_of_its_closes() {
        let closes: Vec<f64> = (0..400_u64).map(|i| (i * 7919 % 1009) as f64).collect();
        let tables = RangeExtremes::new(&closes);
        let (mut ranges, mut expected) = (Vec::new(), Vec::new());
        for from in 0..closes.len() {
            for to in from + 1..=closes.len() {
                let slice = &closes[from..to];
                let min = slice.iter().copied().fold(f64::INFINITY, f64::min);
                let max = slice.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                ranges.push([from as u32, to as u32]);
                expected.push(Extremes { min, max });
                assert_eq!(tables.query(&closes, from, to), Extremes { min, max }, "{from}..{to}");
            }
        }
        for isa in Isa::ALL {
            let found = isa.dispatch(OfRanges(&closes, &ranges));
            let wrong = (0..ranges.len()).find(|&i| found[i] != expected[i]);
            assert_eq!(wrong.map(|i| (ranges[i], found[i])), None, "{isa}");
            assert_eq!(found.len(), expected.len());
        }
    }
}
