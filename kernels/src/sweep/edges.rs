//! The returns at the two ends of a trade, as integers beside the prefix rows.
//!
//! Where every bar's close is a sample and a program is long only, the return into the first close of an all-in position is
//! that of the close over what a unit cost, and the return into the first close after it is that of the proceeds over the close
//! before: neither depends on the account. Flat closes lie between any two positions, so each close ends one return at
//! most: one that is held through, one of an entry, one of an exit, or one of a trade without a close in it. All the sums that a
//! trade adds to are then integers, exact in any order: what its entry adds, and what its exit adds.

use super::account::entry_price;
use super::moments::{POWERS, PrefixRows, Row, nearest, powers};
use crate::bars::Bars;
use crate::sim::{ExitReason, Fill, Side, SimConfig};

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

/// The returns that may end at the closes of some bars: the lowest and the highest of each kind.
struct Reach<'b> {
    bars: &'b Bars,
    config: &'b SimConfig,
    has_levels: bool,
}

impl Reach<'_> {
    fn fill(&self, bar: usize) -> f64 {
        if self.config.fill == Fill::Close { self.bars.close[bar] } else { self.bars.open[bar] }
    }

    fn unit(&self, bar: usize) -> f64 {
        entry_price(self.config, Side::Long, self.fill(bar)) * (1.0 + self.config.taker_fee)
    }

    /// Least and most that one unit may be sold for within a bar: every operation is monotone, rounding included.
    fn proceeds(&self, bar: usize) -> [f64; 2] {
        let SimConfig { slippage, taker_fee, maker_fee, .. } = *self.config;
        let taken = |raw: f64| raw * (1.0 - slippage) * (1.0 - taker_fee);
        let fill = self.fill(bar);
        if !self.has_levels {
            return [taken(fill); 2];
        }
        let low = f64::min(self.bars.low[bar], fill);
        let high = f64::max(self.bars.high[bar], fill);
        [f64::min(taken(low), low * (1.0 - maker_fee)), f64::max(taken(high), high * (1.0 - maker_fee))]
    }

    /// Bounds on the sizes of the powers of any return into the close of a bar.
    fn powers(&self, bar: usize) -> [f64; POWERS] {
        let close = &self.bars.close;
        let mut most = [0.0; POWERS];
        let mut take = |of: f64, over: f64| {
            for (most, power) in most.iter_mut().zip(powers(of / over - 1.0)) {
                // Not `max`, which would pass over a NaN.
                *most = if f64::abs(power) <= *most { *most } else { f64::abs(power) };
            }
        };
        let unit = self.unit(bar);
        take(close[bar], unit);
        let [least, best] = self.proceeds(bar);
        if self.has_levels {
            take(least, unit);
            take(best, unit);
        }
        if let Some(before) = bar.checked_sub(1) {
            take(close[bar], close[before]);
            take(least, close[before]);
            take(best, close[before]);
        }
        most
    }
}

impl EdgeRows {
    /// Prefix rows over all closes with the rows of entries and exits. `None` where a level may be met in the bar whose close
    /// opens the next position (fills at closes), or where a power is not finite.
    pub(super) fn new(bars: &Bars, config: &SimConfig, has_levels: bool) -> Option<(PrefixRows, EdgeRows)> {
        if has_levels && config.fill == Fill::Close {
            return None;
        }
        let reach = Reach { bars, config, has_levels };
        let mut totals = [0.0; POWERS];
        for bar in 0..bars.len() {
            for (total, power) in totals.iter_mut().zip(reach.powers(bar)) {
                *total += power;
            }
        }
        let prefix = PrefixRows::within(&bars.close, totals)?;
        let scales = prefix.units.map(|unit| 1.0 / unit);
        let bars_with_room = || Vec::with_capacity(bars.len());
        let mut edges =
            EdgeRows { config: *config, scales, enter: bars_with_room(), leave: bars_with_room() };
        for (bar, &close) in bars.close.iter().enumerate() {
            let mut enter = edges.scaled(close, reach.unit(bar));
            enter[SAMPLES] = -(bar as i64);
            enter[BARS_HELD] = -(bar as i64);
            let mut enter = Row(enter);
            enter.subtract(&prefix.rows[bar + 1]);
            edges.enter.push(enter);
            let price = reach.fill(bar) * (1.0 - config.slippage);
            edges.leave.push(edges.leave_row(&prefix, bars, bar, (price, config.taker_fee)));
        }
        Some((prefix, edges))
    }

    /// The powers of the return `of / over - 1` in units.
    #[inline(always)]
    fn scaled(&self, of: f64, over: f64) -> [i64; 8] {
        let powers = powers(of / over - 1.0);
        let mut row = [0; 8];
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
        let mut row = self.scaled(price * (1.0 - rate), before);
        row[SAMPLES] = bar as i64 + 1;
        row[BARS_HELD] = bar as i64;
        let mut row = Row(row);
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
        let mut row =
            self.scaled(leave_price * (1.0 - leave_rate), enter_price * (1.0 + self.config.taker_fee));
        row[SAMPLES] = 1;
        Row(row)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

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
            let (has_levels, len) = (case % 2 == 0, 1 + random.below(80));
            let bars = bars(len, &mut random);
            let rate = [0.0, 0.001, 0.4, -0.3][random.below(4)];
            let config = SimConfig { taker_fee: rate, slippage: 0.01, ..SimConfig::default() };
            let (prefix, edges) = EdgeRows::new(&bars, &config, has_levels).unwrap();
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
