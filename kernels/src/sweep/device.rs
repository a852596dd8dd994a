//! What a device needs of a sweep, and what comes back: tables, rules and sums as plain words.
//!
//! A device runs the event loop and the sums of [`super::fold`]; what they amount to is worked out here, by the code that does
//! it for the processor, so that a combination has the same statistics wherever it ran. What does not fit a fold it measures in
//! two walks, as [`super::measure`] does.

use super::fold::{Folded, Totals, TradeSums, fold_totals};
use super::moments::{POWERS, PowerSums, PrefixRows, Row};
use super::rules::Sizing;
use super::{CombinationError, Sweep};
use crate::program::{NodeId, ParamSet, Program, Size};
use crate::sim::{ExitReason, Side, Trade};
use crate::stats::Stats;

/// Words of one set of rules.
pub(crate) const RULE_WORDS: usize = 8;

/// Words of one combination's sums.
pub(crate) const RESULT_WORDS: usize = 34;

/// Words of one trade.
pub(crate) const TRADE_WORDS: usize = 11;

/// Tables over one symbol's bars. Pairs are lowest and highest.
#[derive(Debug)]
pub(crate) struct DeviceTables {
    /// Lowest of low and open, per bar.
    pub(crate) lowest: Vec<f64>,
    /// Highest of high and open, per bar.
    pub(crate) highest: Vec<f64>,
    /// Pairs of `lowest` and `highest` per 64 bars.
    pub(crate) blocks: Vec<f64>,
    /// Pairs of closes from the start of a bar's block of 16 to the bar.
    pub(crate) from_start: Vec<f64>,
    /// Pairs of closes from a bar to the end of its block.
    pub(crate) to_end: Vec<f64>,
    /// Pairs over spans of blocks, level by level.
    pub(crate) spans: Vec<f64>,
    /// Where each level begins in `spans`, in pairs.
    pub(crate) span_offsets: Vec<u64>,
    /// Samples before each bar's close, and all of them.
    pub(crate) first_at: Vec<u64>,
    /// Samples before the first close.
    pub(crate) lead: u64,
    /// The close at each sample.
    pub(crate) sample_closes: Vec<f64>,
    /// Prefix rows, eight integers each.
    pub(crate) prefix: Vec<u64>,
    /// What the powers of returns at the ends of trades are multiplied by, if they are summed as integers.
    pub(crate) scales: Option<[f64; POWERS]>,
}

impl Sweep<'_> {
    /// The tables of a symbol whose statistics a device can sum; `None` if there is no bar or a return without finite powers.
    pub(crate) fn device_tables(&self) -> Option<DeviceTables> {
        let (market, bars) = (&self.market, self.market.bars);
        let rows = market.rows.as_ref().filter(|_| !bars.is_empty())?;
        let lowest: Vec<f64> =
            bars.low.iter().zip(&bars.open).map(|(&a, &b)| if b < a { b } else { a }).collect();
        let highest: Vec<f64> =
            bars.high.iter().zip(&bars.open).map(|(&a, &b)| if b > a { b } else { a }).collect();
        let blocks = lowest.chunks(64).zip(highest.chunks(64)).flat_map(|(low, high)| {
            let low = low.iter().fold(f64::INFINITY, |a, &b| if b < a { b } else { a });
            [low, high.iter().fold(f64::NEG_INFINITY, |a, &b| if b > a { b } else { a })]
        });
        let pairs =
            |of: &[super::extremes::Extremes]| of.iter().flat_map(|pair| [pair.min, pair.max]).collect();
        let (from_start, to_end, levels) = market.closes.tables();
        let mut spans = Vec::new();
        let mut span_offsets = Vec::new();
        for level in levels {
            span_offsets.push(spans.len() as u64 / 2);
            spans.extend(level.iter().flat_map(|pair| [pair.min, pair.max]));
        }
        Some(DeviceTables {
            blocks: blocks.collect(),
            lowest,
            highest,
            from_start: pairs(from_start),
            to_end: pairs(to_end),
            spans,
            span_offsets,
            first_at: market.samples.first_at.iter().map(|&sample| u64::from(sample)).collect(),
            lead: market.samples.lead as u64,
            sample_closes: market.samples.closes.clone(),
            scales: market.edges.as_ref().map(|edges| *edges.scales()),
            prefix: rows.rows.iter().flat_map(|row| row.0.map(|sum| sum as u64)).collect(),
        })
    }

    /// The parameters that exit and sizing rules depend on.
    pub(crate) fn rule_params(program: &Program) -> ParamSet {
        let rules = &program.rules;
        let (Size::Equity(size) | Size::Quote(size) | Size::Risk(size)) = rules.size;
        let nodes: [Option<NodeId>; 6] = [
            rules.stop_loss,
            rules.take_profit,
            rules.trailing_stop,
            rules.max_bars,
            rules.cooldown,
            Some(size),
        ];
        let sets = nodes.into_iter().flatten().map(|node| program.node(node).params);
        sets.fold(ParamSet::default(), ParamSet::union)
    }

    /// The rules of a combination as words: stop, target, trailing stop (`NaN` for none), bars to the time exit (0 for none),
    /// cooldown, kind of size, size, stop of a risk size.
    pub(crate) fn rule_words(&mut self, params: &[f64]) -> Result<[u64; RULE_WORDS], CombinationError> {
        let rules = self.rules.rules(params)?;
        let level = |level: Option<f64>| level.unwrap_or(f64::NAN).to_bits();
        let (kind, size, stop) = match rules.sizing {
            Sizing::Equity(fraction) => (0, fraction, 0.0),
            Sizing::Quote(quote) => (1, quote, 0.0),
            Sizing::Risk(risk, stop) => (2, risk, stop),
        };
        Ok([
            level(rules.stop_loss),
            level(rules.take_profit),
            level(rules.trailing_stop),
            rules.max_bars.unwrap_or(0) as u64,
            rules.cooldown as u64,
            kind,
            size.to_bits(),
            stop.to_bits(),
        ])
    }

    /// What turns a device's words into statistics.
    pub(crate) fn device_finish(&self) -> Option<DeviceFinish<'_>> {
        let rows = self.market.rows.as_ref()?;
        Some(DeviceFinish { rows, observations: self.market.samples.len() as u64 })
    }
}

/// Turns a device's words into statistics; may be used by many threads at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeviceFinish<'m> {
    rows: &'m PrefixRows,
    observations: u64,
}

impl DeviceFinish<'_> {
    /// Number of sampled returns, and what a unit of each of their held power sums is worth.
    pub(crate) fn returns(&self) -> (u64, [f64; POWERS]) {
        (self.observations, self.rows.units)
    }

    /// Writes the statistics that a device's sums give; `word` reads them. `false` if they do not cover everything that
    /// happened, or do not hold enough digits: then the combination is measured the long way too, and [`Self::complete`]
    /// takes from that what is missing.
    pub(crate) fn fold(&self, word: impl Fn(usize) -> u64, out: &mut Stats) -> bool {
        let number = |index: usize| f64::from_bits(word(index));
        let mut held = Row::default();
        let mut edges = [0.0; POWERS];
        let mut walked = [0.0; POWERS];
        for power in 0..POWERS {
            held.0[power] = word(19 + power) as i64;
            walked[power] = number(24 + power);
            edges[power] = number(29 + power);
        }
        let totals = Totals {
            is_fit: word(0) == 1,
            final_equity: number(1),
            max_drawdown: number(2),
            trades: TradeSums {
                count: word(3),
                long: word(4),
                wins: word(5),
                gross_profit: number(6),
                gross_loss: number(7),
                pnl: number(8),
                pnl_squares: number(9),
                returns: number(10),
                best: number(11),
                worst: number(12),
                losses_in_a_row: 0,
                most_losses_in_a_row: word(13),
                bars_held: word(14),
            },
            open_bars: word(15),
            fees: number(16),
            ambiguous_bars: word(17),
            returns: PowerSums { held, held_samples: word(18), walked, edges },
        };
        match fold_totals(&totals, self.observations, self.rows) {
            Folded::Whole(stats) => {
                *out = stats;
                return true;
            }
            Folded::ButPnl(stats) => *out = Stats { pnl_m2: f64::NAN, ..stats },
            Folded::Unfit => *out = Stats::default(),
        }
        false
    }

    /// Completes what [`Self::fold`] has left, from the combination measured the long way.
    pub(crate) fn complete(&self, out: &mut Stats, measured: Stats) {
        if out.pnl_m2.is_nan() {
            out.pnl_m2 = measured.pnl_m2;
        } else {
            *out = measured;
        }
    }

    /// The statistics of a combination that a device has measured the long way, as [`super::measure`] does.
    pub(crate) fn measured(&self, word: impl Fn(usize) -> u64) -> Stats {
        let number = |index: usize| f64::from_bits(word(index));
        let trades = word(3);
        Stats {
            final_equity: number(1),
            max_drawdown: number(2),
            trades,
            long_trades: word(4),
            short_trades: trades - word(4),
            wins: word(5),
            gross_profit: number(6),
            gross_loss: number(7),
            pnl_sum: number(8),
            trade_return_sum: number(10),
            best_trade: if trades == 0 { 0.0 } else { number(11) },
            worst_trade: if trades == 0 { 0.0 } else { number(12) },
            max_consecutive_losses: word(13),
            bars_held: word(14),
            bars_in_position: word(14) + word(15),
            fees: number(16),
            ambiguous_bars: word(17),
            observations: self.observations,
            returns_defined: word(18) == 1,
            mean_return: number(19),
            m2: number(20),
            m3: number(21),
            m4: number(22),
            downside: number(23),
            pnl_m2: number(24),
        }
    }
}

/// A trade from its words.
pub(crate) fn trade_of(words: &[u64; TRADE_WORDS]) -> Trade {
    let number = |index: usize| f64::from_bits(words[index]);
    Trade {
        side: if words[0] == 0 { Side::Long } else { Side::Short },
        entry_bar: words[1] as usize,
        entry_price: number(2),
        exit_bar: words[3] as usize,
        exit_price: number(4),
        quantity: number(5),
        reason: match words[6] {
            0 => ExitReason::Signal,
            1 => ExitReason::Stop,
            2 => ExitReason::Target,
            3 => ExitReason::Trailing,
            _ => ExitReason::Time,
        },
        fees: number(7),
        pnl: number(8),
        trade_return: number(9),
        bars_held: words[10] as usize,
    }
}
