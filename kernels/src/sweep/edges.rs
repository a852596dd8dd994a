//! The returns at the two ends of a trade, as integers beside the prefix rows.
//!
//! Where every bar's close is a sample and a program is long only, the return into the first close of an all-in position is
//! that of the close over what a unit cost, and the return into the first close after it is that of the proceeds over the close
//! before: neither depends on the account. Flat closes lie between any two positions, so each close ends one return at
//! most: one that is held through, one of an entry, one of an exit, or one of a trade without a close in it. All the sums that a
//! trade adds to are then integers, exact in any order: what its entry adds, and what its exit adds.

use super::moments::{LANES, POWERS, PrefixRows, Row, nearest, powers, units_of_eight};
use crate::bars::Bars;
use crate::sim::{ExitReason, Fill, SimConfig};
use crate::simd::{Eight, Isa, Kernel, Lanes, Number};

/// Columns of a trade's row behind the powers: samples, bars held, bars in which stop and target were both reachable.
pub(super) const SAMPLES: usize = 5;
pub(super) const BARS_HELD: usize = 6;
pub(super) const AMBIGUOUS: usize = 7;

/// Quantities and equities above it keep all their digits.
pub(super) const LEAST: f64 = 1e-280;

/// What entries and exits add to the sums over returns.
#[derive(Debug)]
pub(super) struct EdgeRows {
    config: SimConfig,
    scales: [f64; POWERS],
    /// What an entry that is filled in a bar adds, but for the returns held through since the start of the series.
    enter: Vec<Row>,
    /// What an exit by signal or time that is filled in a bar adds, with the returns held through since the start.
    leave: Vec<Row>,
}

/// What one position buys and sells at, slippage included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fills {
    /// Bars of the two fills.
    pub(super) enter: usize,
    pub(super) leave: usize,
    pub(super) enter_price: f64,
    pub(super) leave_price: f64,
    /// Fee rate of the exit.
    pub(super) leave_rate: f64,
}

/// One bar, or eight that follow each other.
#[derive(Clone, Copy)]
struct BarPrices<N> {
    close: N,
    /// The close of the bar before.
    before: N,
    /// Price of a fill, before slippage.
    fill: N,
    low: N,
    high: N,
}

/// The returns that may end at the closes of some bars: the lowest and the highest of each kind.
struct Reach<'b> {
    bars: &'b Bars,
    config: &'b SimConfig,
    has_levels: bool,
}

impl Reach<'_> {
    fn fills(&self) -> &[f64] {
        if self.config.fill == Fill::Close { &self.bars.close } else { &self.bars.open }
    }

    /// A bar by itself. No position is held before the first one.
    #[inline(always)]
    fn bar(&self, bar: usize) -> BarPrices<f64> {
        let (close, fill) = (&self.bars.close, self.fills()[bar]);
        let (low, high) =
            if self.has_levels { (self.bars.low[bar], self.bars.high[bar]) } else { (fill, fill) };
        BarPrices { close: close[bar], before: close[bar.saturating_sub(1)], fill, low, high }
    }

    /// Eight bars that have another before them.
    #[inline(always)]
    fn eight<L: Lanes>(&self, lanes: L, first: usize) -> Option<BarPrices<L::Eight>> {
        let Bars { close, low, high, .. } = self.bars;
        let fill = eight_from(lanes, self.fills(), first)?;
        let (mut least, mut most) = (fill, fill);
        if self.has_levels {
            (least, most) = (eight_from(lanes, low, first)?, eight_from(lanes, high, first)?);
        }
        let before = eight_from(lanes, close, first.checked_sub(1)?)?;
        Some(BarPrices { close: eight_from(lanes, close, first)?, before, fill, low: least, high: most })
    }

    /// What a unit costs.
    #[inline(always)]
    fn unit<N: Number>(&self, fill: N) -> N {
        fill * fill.like(1.0 + self.config.slippage) * fill.like(1.0 + self.config.taker_fee)
    }

    /// What a unit that is sold by signal or time brings in.
    #[inline(always)]
    fn taken<N: Number>(&self, raw: N) -> N {
        raw * raw.like(1.0 - self.config.slippage) * raw.like(1.0 - self.config.taker_fee)
    }

    /// Least and most that one unit may be sold for within a bar: every operation is monotone, rounding included.
    #[inline(always)]
    fn proceeds<N: Number>(&self, prices: BarPrices<N>) -> [N; 2] {
        let (low, high) = (prices.low.min(prices.fill), prices.high.max(prices.fill));
        let maker = low.like(1.0 - self.config.maker_fee);
        [self.taken(low).min(low * maker), self.taken(high).max(high * maker)]
    }

    /// Bounds on the sizes of the powers of any return into the closes of bars, the first of which may have none before it.
    #[inline(always)]
    fn powers<N: Number>(&self, prices: BarPrices<N>, has_before: bool) -> [N; POWERS] {
        let mut most = [prices.close.like(0.0); POWERS];
        let unit = self.unit(prices.fill);
        widen(&mut most, prices.close, unit);
        if has_before {
            widen(&mut most, prices.close, prices.before);
        }
        if self.has_levels {
            for proceeds in self.proceeds(prices) {
                widen(&mut most, proceeds, unit);
                if has_before {
                    widen(&mut most, proceeds, prices.before);
                }
            }
        } else if has_before {
            widen(&mut most, self.taken(prices.fill), prices.before);
        }
        most
    }
}

/// Raises bounds on sizes to those of the powers of a return.
#[inline(always)]
fn widen<N: Number>(most: &mut [N; POWERS], of: N, over: N) {
    for (most, power) in most.iter_mut().zip(powers(of / over - of.like(1.0))) {
        // Not `max`, which would pass over a NaN.
        *most = power.abs().where_at_most(*most, *most, power.abs());
    }
}

/// Eight prices from a bar on, if there are as many.
#[inline(always)]
fn eight_from<L: Lanes>(lanes: L, prices: &[f64], first: usize) -> Option<L::Eight> {
    Some(lanes.eight(prices.get(first..)?.first_chunk()?))
}

/// Sums bounds on the powers of the returns into every close, in the order of bars.
struct Totals<'r, 'b>(&'r Reach<'b>);

impl Kernel for Totals<'_, '_> {
    type Output = [f64; POWERS];

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> [f64; POWERS] {
        let Totals(reach) = self;
        let mut totals = [0.0; POWERS];
        let mut bar = 0;
        while bar < reach.bars.len() {
            if let Some(prices) = reach.eight(lanes, bar) {
                let mut most = [[0.0; LANES]; POWERS];
                for (most, power) in most.iter_mut().zip(reach.powers(prices, true)) {
                    *most = power.array();
                }
                for i in 0..LANES {
                    for (total, most) in totals.iter_mut().zip(&most) {
                        *total += most[i];
                    }
                }
                bar += LANES;
                continue;
            }
            for (total, power) in totals.iter_mut().zip(reach.powers(reach.bar(bar), bar > 0)) {
                *total += power;
            }
            bar += 1;
        }
        totals
    }
}

/// Makes the rows of entries and exits.
struct Ends<'r, 'b> {
    reach: &'r Reach<'b>,
    prefix: &'r PrefixRows,
    edges: EdgeRows,
}

impl Kernel for Ends<'_, '_> {
    type Output = EdgeRows;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> EdgeRows {
        let Ends { reach, prefix, mut edges } = self;
        let one = lanes.splat(1.0);
        let mut bar = 0;
        while bar < reach.bars.len() {
            if let Some(prices) = reach.eight(lanes, bar) {
                let enter = units_of_eight(prices.close / reach.unit(prices.fill) - one, &edges.scales);
                let leave = units_of_eight(reach.taken(prices.fill) / prices.before - one, &edges.scales);
                for i in 0..LANES {
                    let (mut entered, mut left) = ([0; POWERS], [0; POWERS]);
                    for power in 0..POWERS {
                        (entered[power], left[power]) = (enter[power][i], leave[power][i]);
                    }
                    edges.push(prefix, bar + i, entered, left);
                }
                bar += LANES;
                continue;
            }
            let prices = reach.bar(bar);
            let enter = edges.scaled(prices.close, reach.unit(prices.fill));
            let leave = edges.scaled(reach.taken(prices.fill), prices.before);
            edges.push(prefix, bar, enter, leave);
            bar += 1;
        }
        edges
    }
}

impl EdgeRows {
    /// Prefix rows over all closes with the rows of entries and exits. `None` where a level may be met in the bar whose close
    /// opens the next position (fills at closes), or where a power is not finite.
    pub(super) fn new(bars: &Bars, config: &SimConfig, has_levels: bool) -> Option<(PrefixRows, EdgeRows)> {
        if has_levels && config.fill == Fill::Close {
            return None;
        }
        EdgeRows::on(Isa::detect(), &Reach { bars, config, has_levels })
    }

    fn on(isa: Isa, reach: &Reach<'_>) -> Option<(PrefixRows, EdgeRows)> {
        let totals = isa.dispatch(Totals(reach));
        let prefix = PrefixRows::within(&reach.bars.close, totals)?;
        let rows = || Vec::with_capacity(reach.bars.len());
        let scales = prefix.units.map(|unit| 1.0 / unit);
        let edges = EdgeRows { config: *reach.config, scales, enter: rows(), leave: rows() };
        let edges = isa.dispatch(Ends { reach, prefix: &prefix, edges });
        Some((prefix, edges))
    }

    /// Adds the rows of a bar from the powers, in units, of the return into its close from an entry in it, and of that of an exit
    /// in it.
    #[inline(always)]
    fn push(&mut self, prefix: &PrefixRows, bar: usize, enter: [i64; POWERS], leave: [i64; POWERS]) {
        let mut row = with_counts(enter, [-(bar as i64), -(bar as i64)]);
        row.subtract(&prefix.rows[bar + 1]);
        self.enter.push(row);
        let mut row = with_counts(leave, [bar as i64 + 1, bar as i64]);
        row.add_row(&prefix.rows[bar]);
        self.leave.push(row);
    }

    /// The powers of the return `of / over - 1` in units.
    #[inline(always)]
    fn scaled(&self, of: f64, over: f64) -> [i64; POWERS] {
        let powers = powers(of / over - 1.0);
        let mut row = [0; POWERS];
        for ((unit, power), scale) in row.iter_mut().zip(powers).zip(self.scales) {
            *unit = nearest(power * scale);
        }
        row
    }

    /// What an exit in a later bar than the entry adds.
    #[inline(always)]
    fn leave_row(&self, prefix: &PrefixRows, bars: &Bars, bar: usize, (price, rate): (f64, f64)) -> Row {
        // No position is held before the first bar.
        let before = bars.close[bar.saturating_sub(1)];
        let powers = self.scaled(price * (1.0 - rate), before);
        let mut row = with_counts(powers, [bar as i64 + 1, bar as i64]);
        row.add_row(&prefix.rows[bar]);
        row
    }

    /// What a unit of each power is worth, inverted.
    pub(super) fn scales(&self) -> &[f64; POWERS] {
        &self.scales
    }

    /// Fee rate of an exit.
    #[inline(always)]
    pub(super) fn leave_rate(&self, reason: ExitReason) -> f64 {
        if reason == ExitReason::Target { self.config.maker_fee } else { self.config.taker_fee }
    }

    /// What an entry filled at a bar's open, or close, adds.
    #[inline(always)]
    pub(super) fn enter(&self, bar: usize) -> &Row {
        &self.enter[bar]
    }

    /// What an exit by signal or time adds that is filled in a later bar than the entry.
    #[inline(always)]
    pub(super) fn leave(&self, bar: usize) -> &Row {
        &self.leave[bar]
    }

    /// What a position adds that is still open after the last bar.
    pub(super) fn open(&self, prefix: &PrefixRows, enter: usize) -> Row {
        let mut row = self.enter[enter];
        let bars = self.enter.len();
        row.add_row(&prefix.rows[bars]);
        row.0[SAMPLES] += bars as i64;
        row
    }

    /// What a trade adds. Bars held are those between the fills.
    #[inline(always)]
    pub(super) fn trade(&self, prefix: &PrefixRows, bars: &Bars, fills: &Fills) -> Row {
        let Fills { enter, leave, enter_price, leave_price, leave_rate } = *fills;
        if enter < leave {
            let mut row = self.leave_row(prefix, bars, leave, (leave_price, leave_rate));
            row.add_row(&self.enter[enter]);
            return row;
        }
        let powers =
            self.scaled(leave_price * (1.0 - leave_rate), enter_price * (1.0 + self.config.taker_fee));
        with_counts(powers, [1, 0])
    }
}

/// A row of powers, samples and bars held.
#[inline(always)]
fn with_counts(powers: [i64; POWERS], [samples, bars_held]: [i64; 2]) -> Row {
    let [a, b, c, d, e] = powers;
    Row([a, b, c, d, e, samples, bars_held, 0])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::super::account::entry_price;
    use super::*;
    use crate::sim::Side;

    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 20) as usize % bound
        }
    }

    /// Quiet closes, whole prices, with spikes that levels may be met in.
    fn bars(len: usize, random: &mut Random) -> Bars {
        let mut bars = Bars { interval_ms: 1, ..Bars::default() };
        let mut price = 100.0;
        for t in 0..len {
            price += [0.0, 0.0, 0.0, 1.0, -1.0][random.below(5)];
            bars.open_time_ms.push(t as i64);
            bars.open.push(price * [1.0, 1.0, 1.0, 1.1][random.below(4)]);
            bars.close.push(price);
            bars.low.push(price * [1.0, 1.0, 1.0, 0.5][random.below(4)]);
            bars.high.push(price * [1.0, 1.0, 1.0, 3.0][random.below(4)]);
        }
        bars
    }

    /// What a trade adds, return by return, in as many bits as it takes.
    fn long_way(edges: &EdgeRows, bars: &Bars, fills: &Fills, total: &mut [i128; POWERS]) {
        let mut add = |of: f64, over: f64| {
            for (total, unit) in total.iter_mut().zip(edges.scaled(of, over)) {
                *total += i128::from(unit);
            }
        };
        let unit = fills.enter_price * (1.0 + edges.config.taker_fee);
        let proceeds = fills.leave_price * (1.0 - fills.leave_rate);
        if fills.enter == fills.leave {
            return add(proceeds, unit);
        }
        add(bars.close[fills.enter], unit);
        for t in fills.enter + 1..fills.leave {
            add(bars.close[t], bars.close[t - 1]);
        }
        add(proceeds, bars.close[fills.leave - 1]);
    }

    #[test]
    fn rows_of_trades_are_their_returns_and_no_sum_of_them_overflows() {
        let mut random = Random(9);
        for case in 0..400 {
            let (has_levels, len) = (case / 3 % 2 == 0, 1 + random.below(80));
            let bars = bars(len, &mut random);
            let rate = [0.0, 0.001, 0.4, -0.3][random.below(4)];
            let config = SimConfig { taker_fee: rate, slippage: 0.01, ..SimConfig::default() };
            let reach = Reach { bars: &bars, config: &config, has_levels };
            let (prefix, edges) = EdgeRows::on(Isa::ALL[case % 3], &reach).unwrap();
            let (mut sums, mut total, mut samples) = (Row::default(), [0i128; POWERS], 0);
            let mut enter = random.below(3);
            while enter < len {
                // Short trades, so that every return is at an end of one, and a long one now and then.
                let leave = enter + [usize::from(!has_levels), 1, 2, 20][random.below(4)];
                if leave >= len {
                    break;
                }
                let raw = if has_levels {
                    [bars.low[leave].min(bars.open[leave]), bars.high[leave].max(bars.open[leave])]
                        [random.below(2)]
                } else {
                    bars.open[leave]
                };
                let is_target = has_levels && random.below(2) == 0;
                let fills = Fills {
                    enter,
                    leave,
                    enter_price: entry_price(&config, Side::Long, bars.open[enter]),
                    leave_price: if is_target { raw } else { raw * (1.0 - config.slippage) },
                    leave_rate: if is_target { config.maker_fee } else { config.taker_fee },
                };
                sums.add_row(&edges.trade(&prefix, &bars, &fills));
                long_way(&edges, &bars, &fills, &mut total);
                samples += (leave - enter + 1) as i64;
                enter = leave + 1;
            }
            for (power, total) in total.into_iter().enumerate() {
                assert_eq!(i128::from(sums.0[power]), total, "case {case}, power {power}");
                assert!(total.abs() < 1 << 62, "case {case}, power {power}: {total}");
            }
            assert_eq!(sums.0[SAMPLES], samples, "case {case}");
        }
    }

    #[test]
    fn levels_and_fills_at_closes_have_no_rows_of_their_own() {
        let bars = bars(20, &mut Random(1));
        let config = SimConfig { fill: Fill::Close, ..SimConfig::default() };
        assert!(EdgeRows::new(&bars, &config, true).is_none());
        assert!(EdgeRows::new(&bars, &config, false).is_some());
    }
}
