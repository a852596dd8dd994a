//! Power sums of the return series, and the moments they give.
//!
//! While an all-in long position is held, the return from one sample to the next is that of the close, whatever the
//! combination. Sums over a run of such samples are differences of two *prefix rows*. The rows are integers, each power
//! scaled so that its sum over the whole series fills 62 bits: a difference of two rows is then exact, where a difference of
//! two floating-point prefixes would carry the rounding of everything before it. What an entry or an exit adds is summed in
//! floating point, in the order of events.
//!
//! Any other position is *walked* and summed on its own. With all the cash a short's equity is `quantity * (close + offset)`, so that
//! the return into a sample is the change of the close over `close + offset` at the sample before, which depends on nothing but the fill of
//! its entry. With a part of the cash returns may be so small that the rounding of equity shows in their sums: they are the quotients
//! of equity that [`super::measure`] takes.
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
    let (square, loss) = (r * r, r.min(r.like(0.0)));
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

/// Lanes of the sums over a position that is walked sample by sample: its return `i` goes to lane `i % 8`.
pub(super) const LANES: usize = 8;

/// Whether there is room for the products of two sums of a close and an offset; markets of other closes are measured the long way.
pub(super) fn is_walkable(closes: &[f64]) -> bool {
    closes.iter().all(|close| (1e-100..=1e100).contains(close))
}

/// The power sums of one combination's returns.
#[derive(Debug, Clone, Copy)]
pub(super) struct PowerSums {
    /// Sums of prefix-row differences.
    pub(super) held: Row,
    /// Samples in `held`.
    pub(super) held_samples: u64,
    /// Sums over walked positions, in their order.
    pub(super) walked: [f64; POWERS],
    /// Sums over the first sample of every run of equal position.
    pub(super) edges: [f64; POWERS],
}

impl PowerSums {
    pub(super) const ZERO: PowerSums =
        PowerSums { held: Row([0; 8]), held_samples: 0, walked: [0.0; POWERS], edges: [0.0; POWERS] };

    /// Adds the return from `before` to `after`.
    #[inline(always)]
    pub(super) fn edge(&mut self, before: f64, after: f64) {
        let powers = powers(after / before - 1.0);
        for (sum, power) in self.edges.iter_mut().zip(powers) {
            *sum += power;
        }
    }

    /// Adds the returns into samples `from..to`, all held all-in long; `from` is at least 1 and not above `to`.
    #[inline(always)]
    pub(super) fn hold(&mut self, rows: &[Row], from: usize, to: usize) {
        self.held.add(rows, from, to);
        self.held_samples += (to - from) as u64;
    }

    /// Adds the sums over a walked position.
    #[inline(always)]
    pub(super) fn add_walked(&mut self, position: &[f64; POWERS]) {
        for (sum, term) in self.walked.iter_mut().zip(position) {
            *sum += term;
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
            *sum = held * units[power] + self.walked[power] + self.edges[power];
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
pub(super) const LANE: [f64; LANES] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];

/// What the returns of a walked position are made of.
pub(super) trait Held: Copy {
    /// The returns from closes `before` to closes `after`.
    fn returns<L: Lanes>(self, lanes: L, before: L::Eight, after: L::Eight) -> L::Eight;
}

/// Equity is a multiple of `close + offset`.
#[derive(Clone, Copy)]
pub(super) struct Offset(pub(super) f64);

impl Held for Offset {
    #[inline(always)]
    fn returns<L: Lanes>(self, lanes: L, before: L::Eight, after: L::Eight) -> L::Eight {
        (after - before) * (before + lanes.splat(self.0)).reciprocals()
    }
}

/// Equity is `cash + quantity * close`.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) cash: f64,
    pub(super) quantity: f64,
}

impl Held for Part {
    #[inline(always)]
    fn returns<L: Lanes>(self, lanes: L, before: L::Eight, after: L::Eight) -> L::Eight {
        let (cash, quantity) = (lanes.splat(self.cash), lanes.splat(self.quantity));
        (cash + quantity * after) / (cash + quantity * before) - lanes.splat(1.0)
    }
}

/// Sums the powers of the returns of a position from each of `closes[from..to]` to the next.
pub(super) struct Walk<'c, H> {
    pub(super) closes: &'c [f64],
    pub(super) run: (usize, usize),
    pub(super) held: H,
}

impl<H: Held> Kernel for Walk<'_, H> {
    type Output = [f64; POWERS];

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> [f64; POWERS] {
        let Walk { closes, run: (from, to), held } = self;
        let Some(run) = closes.get(from..to).filter(|run| run.len() > 1) else { return [0.0; POWERS] };
        let mut walked = Walked([lanes.splat(0.0); POWERS]);
        let (before, after) = (run[..run.len() - 1].as_chunks::<LANES>(), run[1..].as_chunks::<LANES>());
        for (before, after) in before.0.iter().zip(after.0) {
            walked.add(held.returns(lanes, lanes.eight(before), lanes.eight(after)));
        }
        let rest = after.1.len();
        if rest > 0 {
            let first = to - 1 - rest;
            // Whole vectors of memory, whose later lanes count for nothing: a vector that is put together in memory waits for
            // its stores.
            let (before, after) = match (closes[first..].first_chunk(), closes[first + 1..].first_chunk()) {
                (Some(before), Some(after)) => (lanes.eight(before), lanes.eight(after)),
                _ => {
                    let (mut starts, mut ends) = ([closes[first]; LANES], [closes[first]; LANES]);
                    starts[..rest].copy_from_slice(before.1);
                    ends[..rest].copy_from_slice(after.1);
                    (lanes.eight(&starts), lanes.eight(&ends))
                }
            };
            // What shares a division with a return must not be of a bar after the position.
            let (lane, rest) = (lanes.eight(&LANE), lanes.splat(rest as f64));
            let before = lane.where_less(rest, before, lanes.splat(closes[first]));
            walked.add(lane.where_less(rest, held.returns(lanes, before, after), lanes.splat(0.0)));
        }
        let mut sums = [0.0; POWERS];
        for (sum, lanes) in sums.iter_mut().zip(walked.0) {
            *sum = lanes.sum();
        }
        sums
    }
}

/// Sums over the powers of returns, eight at a time.
struct Walked<E: Eight>([E; POWERS]);

impl<E: Eight> Walked<E> {
    #[inline(always)]
    fn add(&mut self, r: E) {
        for (sum, power) in self.0.iter_mut().zip(powers(r)) {
            *sum = *sum + power;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<H: Held>(closes: &[f64], held: H, offset: f64) {
        for from in [0, 3, 40] {
            for to in from..closes.len() + 1 {
                let walked = Isa::Portable.dispatch(Walk { closes, run: (from, to), held });
                let mut expected = [0.0; POWERS];
                for pair in closes[from..to].windows(2) {
                    let powers = powers((pair[1] + offset) / (pair[0] + offset) - 1.0);
                    expected.iter_mut().zip(powers).for_each(|(sum, power)| *sum += power);
                }
                for (found, expected) in walked.iter().zip(expected) {
                    assert!((found - expected).abs() <= 1e-13, "{from}..{to} {offset}: {found} {expected}");
                }
                // Other bars before and after, and the end of the memory right behind it.
                let mut changed = vec![5.0; closes.len()];
                changed[from..to].copy_from_slice(&closes[from..to]);
                for closes in [&changed[..], &closes[..to]] {
                    for isa in Isa::ALL {
                        let again = isa.dispatch(Walk { closes, run: (from, to), held });
                        assert_eq!(again.map(f64::to_bits), walked.map(f64::to_bits), "{isa} {from}..{to}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_walked_position_has_the_powers_of_the_returns_of_its_equity_and_no_bit_of_the_bars_around_it() {
        let closes: Vec<f64> =
            (0..60).map(|t: i32| 100.0 + f64::from(t * t * 7 % 23) + f64::from(t) / 3.0).collect();
        for offset in [-290.0, -400.5, 0.0, 35.0, 1e7] {
            check(&closes, Offset(offset), offset);
            let quantity = if offset < 0.0 { -0.7 } else { 0.7 };
            check(&closes, Part { cash: offset * quantity, quantity }, offset);
        }
    }
}
