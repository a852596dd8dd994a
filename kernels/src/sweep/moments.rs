//! Power sums of the return series, and the moments they give.
//!
//! While an all-in long position is held, the return from one sample to the next is that of the close, whatever the
//! combination. Sums over a run of such samples are differences of two *prefix rows*. The rows are integers, each power
//! scaled so that its sum over the whole series fills 62 bits: a difference of two rows is then exact, where a difference of
//! two floating-point prefixes would carry the rounding of everything before it. What an entry or an exit adds is summed in
//! floating point, in the order of events.
//!
//! Power sums lose digits when the mean dwarfs the deviations, and the rows when a run is nothing beside the whole
//! series. [`PowerSums::moments`] says so by `None`, from the sums alone; the caller then measures the combination in two passes
//! ([`super::measure`]). Either way the result is a function of the combination only.

use crate::simd::{Eight, Isa, Kernel, Lanes, Number};
use crate::stats::Stats;

/// Powers kept of a return `r`: `r`, `r^2`, `r^3`, `r^4`, `min(r, 0)^2`.
pub(super) const POWERS: usize = 5;

/// The powers of one return, or of eight.
#[inline(always)]
pub(super) fn powers<N: Number>(r: N) -> [N; POWERS] {
    let (square, nothing) = (r * r, r.like(0.0));
    let loss = r.where_less(nothing, r, nothing);
    [r, square, square * r, square * square, loss * loss]
}

/// The powers of eight returns in units: per power those of the returns in turn.
#[inline(always)]
pub(super) fn units_of_eight<E: Eight>(r: E, scales: &[f64; POWERS]) -> [[i64; LANES]; POWERS] {
    let powers = powers(r);
    let mut units = [[0; LANES]; POWERS];
    for ((units, power), scale) in units.iter_mut().zip(powers).zip(scales) {
        let scaled = (power * r.like(*scale)).array();
        for (unit, scaled) in units.iter_mut().zip(scaled) {
            *unit = nearest(scaled);
        }
    }
    units
}

/// Five sums and padding to a cache line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Row(pub(super) [i64; 8]);

impl Row {
    /// Adds the difference of two prefix rows.
    #[inline(always)]
    pub(super) fn add(&mut self, rows: &[Row], from: usize, to: usize) {
        let (sums, first, last) = (self.0, &rows[from].0, &rows[to].0);
        self.0 = std::array::from_fn(|i| sums[i].wrapping_add(last[i].wrapping_sub(first[i])));
    }

    /// Adds another row. Parts of a sum may wrap; a whole one is within its bounds.
    #[inline(always)]
    pub(super) fn add_row(&mut self, row: &Row) {
        for (sum, term) in self.0.iter_mut().zip(row.0) {
            *sum = sum.wrapping_add(term);
        }
    }

    /// Subtracts another row.
    #[inline(always)]
    pub(super) fn subtract(&mut self, row: &Row) {
        for (sum, term) in self.0.iter_mut().zip(row.0) {
            *sum = sum.wrapping_sub(term);
        }
    }
}

/// Prefix rows over the samples of a market.
#[derive(Debug)]
pub(super) struct PrefixRows {
    /// Element `j` sums the powers of the returns into samples `1..j`; one element more than samples.
    pub(super) rows: Vec<Row>,
    /// What one unit of each column is worth; a power of two.
    pub(super) units: [f64; POWERS],
}

impl PrefixRows {
    /// Rows over the closes at the samples; `None` where a power of a return is not finite.
    pub(super) fn new(closes: &[f64]) -> Option<PrefixRows> {
        let mut totals = [0.0; POWERS];
        for r in returns(closes) {
            for (total, power) in totals.iter_mut().zip(powers(r)) {
                *total += f64::abs(power);
            }
        }
        PrefixRows::within(closes, totals)
    }

    /// The same, in units such that no sum of powers whose sizes add up to `totals` at most overflows. These bound the powers
    /// between the closes too.
    pub(super) fn within(closes: &[f64], totals: [f64; POWERS]) -> Option<PrefixRows> {
        if !totals.iter().all(|total| total.is_finite()) {
            return None;
        }
        let scales = totals.map(scale_of);
        let rows = Isa::detect().dispatch(Prefixes { closes, scales: &scales });
        Some(PrefixRows { rows, units: scales.map(|scale| 1.0 / scale) })
    }
}

/// Sums the powers of returns, in units, from the first close to each.
struct Prefixes<'c> {
    closes: &'c [f64],
    scales: &'c [f64; POWERS],
}

impl Kernel for Prefixes<'_> {
    type Output = Vec<Row>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Vec<Row> {
        let Prefixes { closes, scales } = self;
        let mut rows = Vec::with_capacity(closes.len() + 1);
        let mut sums = [0i64; 8];
        rows.resize(closes.len().min(1) + 1, Row(sums));
        let (before, rest_before) = closes[..closes.len().max(1) - 1].as_chunks::<LANES>();
        let (after, rest_after) = closes[closes.len().min(1)..].as_chunks::<LANES>();
        for (before, after) in before.iter().zip(after) {
            let r = lanes.eight(after) / lanes.eight(before) - lanes.splat(1.0);
            let units = units_of_eight(r, scales);
            for i in 0..LANES {
                for (sum, units) in sums.iter_mut().zip(&units) {
                    *sum += units[i];
                }
                rows.push(Row(sums));
            }
        }
        for (before, after) in rest_before.iter().zip(rest_after) {
            let powers = powers(after / before - 1.0);
            for ((sum, power), scale) in sums.iter_mut().zip(powers).zip(scales) {
                *sum += nearest(power * scale);
            }
            rows.push(Row(sums));
        }
        rows
    }
}

/// From each close to the next.
fn returns(closes: &[f64]) -> impl Iterator<Item = f64> {
    closes.iter().zip(closes.iter().skip(1)).map(|(before, after)| after / before - 1.0)
}

/// The nearest whole number, halves away from 0.
#[inline(always)]
pub(super) fn nearest(x: f64) -> i64 {
    (x + if x < 0.0 { -0.5 } else { 0.5 }) as i64
}

/// The power of two that brings a total just below `2^62`, which leaves as much again for rounding; within the exponents whose inverse is a normal number.
fn scale_of(total: f64) -> f64 {
    if total == 0.0 {
        return 1.0;
    }
    let exponent = libm::ilogb(total);
    libm::ldexp(1.0, (61 - exponent).clamp(-1000, 1000))
}

/// The square of 2^44, see [`PowerSums::moments`].
const DIGITS: f64 = 309_485_009_821_345_068_724_781_056.0;

/// Lanes of the sums over runs that are walked sample by sample: sample `i` of a run goes to lane `i % 8`.
pub(super) const LANES: usize = 8;

/// The power sums of one combination's returns.
#[derive(Debug, Clone, Copy)]
pub(super) struct PowerSums {
    /// Sums of prefix-row differences.
    pub(super) held: Row,
    /// Samples in `held`.
    pub(super) held_samples: u64,
    /// Sums over walked runs.
    pub(super) walked: [[f64; LANES]; POWERS],
    /// Sums over the first sample of every run of equal position.
    pub(super) edges: [f64; POWERS],
}

impl PowerSums {
    pub(super) const ZERO: PowerSums = PowerSums {
        held: Row([0; 8]),
        held_samples: 0,
        walked: [[0.0; LANES]; POWERS],
        edges: [0.0; POWERS],
    };

    /// Adds the return from `before` to `after`.
    #[inline(always)]
    pub(super) fn edge(&mut self, before: f64, after: f64) {
        let powers = powers(after / before - 1.0);
        for (sum, power) in self.edges.iter_mut().zip(powers) {
            *sum += power;
        }
    }

    /// Adds the returns into samples `from..to`, all held all-in long; `from` is at least 1 and below `to`.
    #[inline(always)]
    pub(super) fn hold(&mut self, rows: &[Row], from: usize, to: usize) {
        self.held.add(rows, from, to);
        self.held_samples += (to - from) as u64;
    }

    /// Adds the returns of the equity `cash + quantity * close` from each of `closes[from..to]` to the next.
    #[inline(always)]
    pub(super) fn walk<L: Lanes>(
        &mut self,
        lanes: L,
        closes: &[f64],
        (from, to): (usize, usize),
        cash: f64,
        quantity: f64,
    ) {
        let Some(run) = closes.get(from..to).filter(|run| run.len() > 1) else { return };
        let mut walked = Walked {
            lanes,
            cash: lanes.splat(cash),
            quantity: lanes.splat(quantity),
            sums: [lanes.splat(0.0); POWERS],
        };
        for (sum, lanes_of) in walked.sums.iter_mut().zip(&self.walked) {
            *sum = lanes.eight(lanes_of);
        }
        let (before, after) = (run[..run.len() - 1].as_chunks::<LANES>(), run[1..].as_chunks::<LANES>());
        for (before, after) in before.0.iter().zip(after.0) {
            walked.add(walked.returns(before, after));
        }
        let rest = after.1.len();
        if rest > 0 {
            let first = to - 1 - rest;
            // Whole vectors of memory, whose later lanes count for nothing: a vector that is put together in memory waits
            // for its stores.
            let returns = match (closes[first..].first_chunk(), closes[first + 1..].first_chunk()) {
                (Some(before), Some(after)) => walked.returns(before, after),
                _ => {
                    let (mut starts, mut ends) = ([closes[first]; LANES], [closes[first]; LANES]);
                    starts[..rest].copy_from_slice(before.1);
                    ends[..rest].copy_from_slice(after.1);
                    walked.returns(&starts, &ends)
                }
            };
            let (lane, rest) = (lanes.eight(&LANE), lanes.splat(rest as f64));
            walked.add(lane.where_less(rest, returns, lanes.splat(0.0)));
        }
        for (lanes_of, sum) in self.walked.iter_mut().zip(walked.sums) {
            *lanes_of = sum.array();
        }
    }

    /// Writes the moments of `observations` returns, or `None` where the sums do not hold enough digits for them.
    pub(super) fn moments(&self, observations: u64, units: &[f64; POWERS], stats: &mut Stats) -> Option<()> {
        stats.observations = observations;
        stats.returns_defined = true;
        if observations == 0 {
            return Some(());
        }
        let mut sums = [0.0; POWERS];
        for (power, sum) in sums.iter_mut().enumerate() {
            let held = self.held.0[power] as f64;
            let lanes = &self.walked[power];
            let walked = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6]))
                + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
            *sum = held * units[power] + walked + self.edges[power];
            // Odd powers cancel; what is left of them is judged by the sizes that the even ones have.
            if power % 2 == 1 || power == 4 {
                self.check_digits(*sum / units[power])?;
            }
        }
        let count = observations as f64;
        let mean = sums[0] / count;
        let square = mean * mean;
        let m2 = sums[1] - mean * sums[0];
        let m4 = sums[3] - 4.0 * mean * sums[2] + 6.0 * square * sums[1] - 3.0 * count * (square * square);
        stats.mean_return = mean;
        stats.m2 = m2;
        stats.m3 = sums[2] - mean * (3.0 * sums[1] - 2.0 * count * square);
        stats.m4 = m4;
        stats.downside = sums[4];
        // A mean below half a deviation leaves every moment all but a bit or two of its digits; all returns 0 is exact.
        let is_flat = sums[1] == 0.0 && self.held_samples == 0;
        (is_flat || (m2 >= 0.75 * sums[1] && m4 > 0.0 && m2.is_finite() && m4.is_finite())).then_some(())
    }

    /// Rounding each sample to a unit errs by about a third of the root of their number: a sum of `units` must have 44 bits
    /// more than that.
    fn check_digits(&self, units: f64) -> Option<()> {
        let samples = self.held_samples as f64;
        (self.held_samples == 0 || units * units >= samples * DIGITS).then_some(())
    }
}

/// The numbers of the lanes.
const LANE: [f64; LANES] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];

/// Sums over returns that are walked, eight at a time.
struct Walked<L: Lanes> {
    lanes: L,
    cash: L::Eight,
    quantity: L::Eight,
    sums: [L::Eight; POWERS],
}

impl<L: Lanes> Walked<L> {
    #[inline(always)]
    fn returns(&self, before: &[f64; LANES], after: &[f64; LANES]) -> L::Eight {
        self.equity(after) / self.equity(before) - self.lanes.splat(1.0)
    }

    #[inline(always)]
    fn equity(&self, closes: &[f64; LANES]) -> L::Eight {
        self.cash + self.quantity * self.lanes.eight(closes)
    }

    #[inline(always)]
    fn add(&mut self, r: L::Eight) {
        let nothing = self.lanes.splat(0.0);
        let square = r * r;
        let loss = r.where_less(nothing, square, nothing);
        let [sum, squares, cubes, fourths, losses] = self.sums;
        self.sums = [sum + r, squares + square, cubes + square * r, fourths + square * square, losses + loss];
    }
}
