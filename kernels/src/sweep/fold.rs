//! Statistics of one combination, summed while its account is kept: no trade, segment or return is stored.
//!
//! Cash, fees, trade statistics and the drawdown are those of [`super::measure`], to the bit. The moments of the returns
//! come from power sums ([`super::moments`]). Where something happens that these do not cover (equity at or below 0, an
//! order that is not placed, sums without enough digits) the fold ends *unfit*, and the caller measures the combination
//! the long way; whether it does depends on the combination alone.

use super::account::{Account, Returns, Segment, Sink};
use super::edges::{EdgeRows, Fills, LEAST, SAMPLES};
use super::market::Market;
use super::measure::{self, Drawdown};
use super::moments::{Offset, Part, PowerSums, PrefixRows, Row, Walk};
use crate::sim::{Side, Trade};
use crate::simd::{Lanes, Portable};
use crate::stats::Stats;

/// The sink that sums. `ALL_IN` says that every position is long with all the cash.
pub(super) struct Fold<'m, const ALL_IN: bool> {
    market: &'m Market<'m>,
    rows: &'m PrefixRows,
    /// Whole rows per trade, where these are to be had.
    edges: Option<&'m EdgeRows>,
    pub(super) drawdown: Drawdown,
    /// Equity from which on there is neither a new drawdown nor one that rounding could make.
    pub(super) floor: f64,
    /// Equity at the last sample.
    pub(super) sampled: f64,
    last: Segment,
    pub(super) sums: PowerSums,
    pub(super) is_fit: bool,
    pub(super) trades: TradeSums,
}

/// Sums over closed trades, in their order.
#[derive(Debug, Clone, Copy)]
pub(super) struct TradeSums {
    pub(super) count: u64,
    pub(super) long: u64,
    pub(super) wins: u64,
    pub(super) gross_profit: f64,
    pub(super) gross_loss: f64,
    pub(super) pnl: f64,
    pub(super) pnl_squares: f64,
    pub(super) returns: f64,
    pub(super) best: f64,
    pub(super) worst: f64,
    pub(super) losses_in_a_row: u64,
    pub(super) most_losses_in_a_row: u64,
    pub(super) bars_held: u64,
}

impl<'m, const ALL_IN: bool> Fold<'m, ALL_IN> {
    /// A fold over `market` with its prefix rows, from the initial cash.
    #[inline(always)]
    pub(super) fn new(market: &'m Market<'m>, rows: &'m PrefixRows, cash: f64) -> Self {
        let drawdown = Drawdown { peak: cash, worst: 0.0 };
        Fold {
            market,
            rows,
            edges: market.edges.as_ref().filter(|_| ALL_IN),
            drawdown,
            floor: drawdown.floor(),
            sampled: cash,
            last: Segment { from: 0, to: 0, cash, quantity: 0.0, returns: Returns::Closes },
            sums: PowerSums::ZERO,
            is_fit: cash > LEAST,
            trades: TradeSums {
                count: 0,
                long: 0,
                wins: 0,
                gross_profit: 0.0,
                gross_loss: 0.0,
                pnl: 0.0,
                pnl_squares: 0.0,
                returns: 0.0,
                best: f64::NEG_INFINITY,
                worst: f64::INFINITY,
                losses_in_a_row: 0,
                most_losses_in_a_row: 0,
                bars_held: 0,
            },
        }
    }

    /// Says that an order was not placed, or that anything else happened which only the long way knows.
    pub(super) fn give_up(&mut self) {
        self.is_fit = false;
    }

    #[inline(always)]
    fn draw_down(&mut self, segment: &Segment) {
        if segment.quantity == 0.0 {
            if segment.cash > self.drawdown.peak || segment.cash < self.floor {
                self.drawdown.flat(segment.cash);
                self.is_fit &= segment.cash > LEAST;
                self.lower_floor();
            }
            return;
        }
        let range = self.market.coarse.query(segment.from, segment.to);
        let ends = (measure::equity_at(segment, range.min), measure::equity_at(segment, range.max));
        let (lowest, highest) = if segment.quantity < 0.0 { (ends.1, ends.0) } else { ends };
        let least = segment.least();
        if highest > self.drawdown.peak || lowest < self.floor || lowest < least {
            // By value: a reference would pin every sum of this fold in memory.
            let (drawdown, lowest) = draw_down_exactly(self.drawdown, self.market, *segment);
            self.drawdown = drawdown;
            self.is_fit &= lowest > least;
            self.lower_floor();
        }
    }

    #[inline(always)]
    fn lower_floor(&mut self) {
        self.floor = self.drawdown.floor();
    }

    /// Adds whole rows.
    #[inline(always)]
    pub(super) fn add_row(&mut self, row: &Row) {
        self.sums.held.add_row(row);
        self.sums.held_samples = self.sums.held_samples.wrapping_add(row.0[SAMPLES] as u64);
    }

    #[inline(always)]
    fn sample(&mut self, segment: &Segment) {
        if let Some(edges) = self.edges {
            // The trade adds its row, unless the position is never closed.
            if segment.quantity != 0.0 && segment.to == self.market.bars.len() {
                self.add_row(&edges.open(self.rows, segment.from));
                self.is_fit &= segment.quantity > LEAST;
            }
            return;
        }
        let samples = &self.market.samples;
        let (from, to) = (samples.first_at[segment.from] as usize, samples.first_at[segment.to] as usize);
        if from >= to {
            return;
        }
        let first = measure::equity_at(segment, samples.closes[from]);
        self.sums.edge(self.sampled, first);
        self.sampled = first;
        if segment.quantity != 0.0 && to - from > 1 {
            let (closes, run) = (&samples.closes, (from, to));
            match segment.returns {
                Returns::Closes => self.sums.hold(&self.rows.rows, from + 1, to),
                Returns::Offset(offset) => {
                    self.sums.add_walked(&Portable.call(Walk { closes, run, held: Offset(offset) }));
                }
                Returns::Equity => {
                    let held = Part { cash: segment.cash, quantity: segment.quantity };
                    self.sums.add_walked(&Portable.call(Walk { closes, run, held }));
                }
            }
            self.sampled = measure::equity_at(segment, samples.closes[to - 1]);
        }
    }
}

#[inline(never)]
fn draw_down_exactly(drawdown: Drawdown, market: &Market<'_>, segment: Segment) -> (Drawdown, f64) {
    let mut drawdown = drawdown;
    let lowest = drawdown.held(market, &segment);
    (drawdown, lowest)
}

impl<const ALL_IN: bool> Sink for Fold<'_, ALL_IN> {
    #[inline(always)]
    fn segment(&mut self, segment: Segment) {
        self.draw_down(&segment);
        self.sample(&segment);
        self.last = segment;
    }

    #[inline(always)]
    fn trade(&mut self, trade: &Trade) {
        if let Some(edges) = self.edges {
            let fills = Fills {
                enter: trade.entry_bar,
                leave: trade.exit_bar,
                enter_price: trade.entry_price,
                leave_price: trade.exit_price,
                leave_rate: edges.leave_rate(trade.reason),
            };
            self.add_row(&edges.trade(self.rows, self.market.bars, &fills));
            self.is_fit &= trade.quantity > LEAST;
        }
        let sums = &mut self.trades;
        sums.count += 1;
        sums.long += u64::from(trade.side == Side::Long);
        sums.wins += u64::from(trade.pnl > 0.0);
        sums.gross_profit += if trade.pnl > 0.0 { trade.pnl } else { 0.0 };
        sums.gross_loss -= if trade.pnl < 0.0 { trade.pnl } else { 0.0 };
        sums.losses_in_a_row = if trade.pnl < 0.0 { sums.losses_in_a_row + 1 } else { 0 };
        sums.most_losses_in_a_row = sums.most_losses_in_a_row.max(sums.losses_in_a_row);
        sums.pnl += trade.pnl;
        sums.pnl_squares += trade.pnl * trade.pnl;
        sums.returns += trade.trade_return;
        sums.best = if trade.trade_return > sums.best { trade.trade_return } else { sums.best };
        sums.worst = if trade.trade_return < sums.worst { trade.trade_return } else { sums.worst };
        sums.bars_held += trade.bars_held as u64;
    }
}

/// What the statistics of a combination are made of.
#[derive(Debug)]
pub(super) struct Totals {
    /// Equity at the last close.
    pub(super) final_equity: f64,
    /// Deepest drawdown.
    pub(super) max_drawdown: f64,
    /// Sums over closed trades.
    pub(super) trades: TradeSums,
    /// Bars held by the position still open at the end.
    pub(super) open_bars: u64,
    /// Fees paid.
    pub(super) fees: f64,
    /// Bars in which both stop and target were reachable.
    pub(super) ambiguous_bars: u64,
    /// Sums over returns.
    pub(super) returns: PowerSums,
    /// Whether the sums cover everything that happened.
    pub(super) is_fit: bool,
}

/// What a fold has come to.
pub(super) enum Folded {
    Whole(Stats),
    /// All but [`Stats::pnl_m2`]: profits so alike that their squares do not hold the difference.
    ButPnl(Stats),
    Unfit,
}

/// The statistics of a finished account, or `None` if the fold is unfit for them.
#[inline(always)]
pub(super) fn finish<const ALL_IN: bool>(
    account: &Account<'_, Fold<'_, ALL_IN>>,
    ambiguous_bars: u64,
) -> Option<Stats> {
    match finish_or_part(account, ambiguous_bars) {
        Folded::Whole(stats) => Some(stats),
        Folded::ButPnl(_) | Folded::Unfit => None,
    }
}

/// [`finish`], with what there is of an incomplete one.
#[inline(always)]
pub(super) fn finish_or_part<const ALL_IN: bool>(
    account: &Account<'_, Fold<'_, ALL_IN>>,
    ambiguous_bars: u64,
) -> Folded {
    let fold = &account.sink;
    let Some(&close) = fold.market.bars.close.last() else { return Folded::Unfit };
    let totals = Totals {
        final_equity: measure::equity_at(&fold.last, close),
        max_drawdown: fold.drawdown.worst,
        trades: fold.trades,
        open_bars: account.open_bars as u64,
        fees: account.fees,
        ambiguous_bars,
        returns: fold.sums,
        is_fit: fold.is_fit,
    };
    fold_totals(&totals, fold.market.samples.len() as u64, fold.rows)
}

/// The statistics that totals give, as far as they hold the digits of them.
#[inline(always)]
pub(super) fn fold_totals(totals: &Totals, observations: u64, rows: &PrefixRows) -> Folded {
    let Some(mut stats) = all_but_pnl(totals, observations, rows) else { return Folded::Unfit };
    match squared_pnl(&totals.trades) {
        Some(pnl_m2) => {
            stats.pnl_m2 = pnl_m2;
            Folded::Whole(stats)
        }
        None => Folded::ButPnl(stats),
    }
}

/// Squared deviations of the profits from their mean, if their squares hold the digits of it.
#[inline(always)]
fn squared_pnl(sums: &TradeSums) -> Option<f64> {
    if sums.count < 2 {
        return Some(0.0);
    }
    let around_mean = sums.pnl_squares - sums.pnl * (sums.pnl / sums.count as f64);
    (around_mean >= 0.015_625 * sums.pnl_squares && around_mean.is_finite()).then_some(around_mean)
}

#[inline(always)]
fn all_but_pnl(totals: &Totals, observations: u64, rows: &PrefixRows) -> Option<Stats> {
    let sums = &totals.trades;
    let mut stats = Stats {
        final_equity: totals.final_equity,
        max_drawdown: totals.max_drawdown,
        trades: sums.count,
        long_trades: sums.long,
        short_trades: sums.count - sums.long,
        wins: sums.wins,
        gross_profit: sums.gross_profit,
        gross_loss: sums.gross_loss,
        pnl_sum: sums.pnl,
        trade_return_sum: sums.returns,
        max_consecutive_losses: sums.most_losses_in_a_row,
        bars_held: sums.bars_held,
        bars_in_position: sums.bars_held + totals.open_bars,
        fees: totals.fees,
        ambiguous_bars: totals.ambiguous_bars,
        ..Stats::default()
    };
    if sums.count > 0 {
        (stats.best_trade, stats.worst_trade) = (sums.best, sums.worst);
    }
    totals.returns.moments(observations, &rows.units, &mut stats)?;
    totals.is_fit.then_some(stats)
}
