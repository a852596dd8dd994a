//! Statistics of one combination, summed while its account is kept: no trade, segment or return is stored.
//!
//! Cash, fees, trade statistics and the drawdown are those of [`super::measure`], to the bit. The moments of the returns
//! come from power sums ([`super::moments`]). Where something happens that these do not cover (equity at or below 0, an
//! order that is not placed, sums without enough digits) the fold ends *unfit*, and the caller measures the combination
//! the long way; whether it does depends on the combination alone.

use super::account::{Account, Segment, Sink};
use super::market::Market;
use super::measure::{self, Drawdown};
use super::moments::{PowerSums, PrefixRows};
use crate::sim::{Side, Trade};
use crate::stats::Stats;

/// What the long way's rounding may differ by from the test that spares it, and more.
const MARGIN: f64 = 1e-15;

/// The sink that sums. `ALL_IN` says that every position is long with all the cash.
pub(super) struct Fold<'m, const ALL_IN: bool> {
    market: &'m Market<'m>,
    rows: &'m PrefixRows,
    drawdown: Drawdown,
    /// Equity from which on there is neither a new drawdown nor one that rounding could make.
    floor: f64,
    /// Equity at the last sample.
    sampled: f64,
    last: Segment,
    sums: PowerSums,
    is_fit: bool,
    trades: TradeSums,
}

#[derive(Debug, Clone, Copy)]
struct TradeSums {
    count: u64,
    long: u64,
    wins: u64,
    gross_profit: f64,
    gross_loss: f64,
    pnl: f64,
    pnl_squares: f64,
    returns: f64,
    best: f64,
    worst: f64,
    losses_in_a_row: u64,
    most_losses_in_a_row: u64,
    bars_held: u64,
}

impl<'m, const ALL_IN: bool> Fold<'m, ALL_IN> {
    /// A fold over `market` with its prefix rows, from the initial cash.
    #[inline(always)]
    pub(super) fn new(market: &'m Market<'m>, rows: &'m PrefixRows, cash: f64) -> Self {
        Fold {
            market,
            rows,
            drawdown: Drawdown { peak: cash, worst: 0.0 },
            floor: cash * (1.0 + MARGIN),
            sampled: cash,
            last: Segment { from: 0, to: 0, cash, quantity: 0.0 },
            sums: PowerSums::ZERO,
            is_fit: true,
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
                self.is_fit &= segment.cash > 0.0;
                self.lower_floor();
            }
            return;
        }
        let range = self.market.coarse.query(segment.from, segment.to);
        let ends = (measure::equity_at(segment, range.min), measure::equity_at(segment, range.max));
        let (lowest, highest) = if segment.quantity < 0.0 { (ends.1, ends.0) } else { ends };
        if highest > self.drawdown.peak || lowest < self.floor {
            self.draw_down_exactly(segment);
        }
    }

    #[inline(never)]
    fn draw_down_exactly(&mut self, segment: &Segment) {
        let lowest = self.drawdown.held(self.market, segment);
        self.is_fit &= lowest > 0.0;
        self.lower_floor();
    }

    #[inline(always)]
    fn lower_floor(&mut self) {
        self.floor = self.drawdown.peak * ((1.0 - self.drawdown.worst) + MARGIN);
    }

    #[inline(always)]
    fn sample(&mut self, segment: &Segment) {
        let samples = &self.market.samples;
        let (from, to) = (samples.first_at[segment.from] as usize, samples.first_at[segment.to] as usize);
        if from >= to {
            return;
        }
        let first = measure::equity_at(segment, samples.closes[from]);
        self.sums.edge(self.sampled, first);
        self.sampled = first;
        if segment.quantity != 0.0 && to - from > 1 {
            if ALL_IN {
                self.sums.hold(&self.rows.rows, from + 1, to);
            } else {
                self.sums.walk(&samples.closes[from..to], segment.cash, segment.quantity);
            }
            self.sampled = measure::equity_at(segment, samples.closes[to - 1]);
        }
    }
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

/// The statistics of a finished account, or `None` if the fold is unfit for them.
#[inline(always)]
pub(super) fn finish<const ALL_IN: bool>(
    account: &Account<'_, Fold<'_, ALL_IN>>,
    ambiguous_bars: u64,
) -> Option<Stats> {
    let fold = &account.sink;
    let market = fold.market;
    let sums = &fold.trades;
    let close = market.bars.close.last()?;
    let mut stats = Stats {
        final_equity: measure::equity_at(&fold.last, *close),
        max_drawdown: fold.drawdown.worst,
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
        bars_in_position: sums.bars_held + account.open_bars as u64,
        fees: account.fees,
        ambiguous_bars,
        ..Stats::default()
    };
    if sums.count > 0 {
        (stats.best_trade, stats.worst_trade) = (sums.best, sums.worst);
        let around_mean = sums.pnl_squares - sums.pnl * (sums.pnl / sums.count as f64);
        // One trade has no deviation; otherwise the difference must keep its digits.
        stats.pnl_m2 = if sums.count == 1 { 0.0 } else { around_mean };
        if sums.count > 1 && !(around_mean >= 0.125 * sums.pnl_squares && around_mean.is_finite()) {
            return None;
        }
    }
    fold.sums.moments(market.samples.len() as u64, &fold.rows.units, &mut stats)?;
    fold.is_fit.then_some(stats)
}
