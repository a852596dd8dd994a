//! Sufficient statistics of a simulated path, as [`crate::stats`] defines them.
//!
//! Sums run in bar and trade order. Sample moments take two passes, mean first: a running update would lose the digits
//! that skewness and kurtosis are made of.

use super::account::Segment;
use super::market::Market;
use super::path::Path;
use crate::sim::Trade;
use crate::stats::Stats;

/// Buffers reused from one combination to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    equity: Vec<f64>,
    returns: Vec<f64>,
}

/// The statistics of a path that began with `cash`.
pub(super) fn measure(market: &Market<'_>, cash: f64, path: &Path, scratch: &mut Scratch) -> Stats {
    let mut stats = Stats {
        final_equity: cash,
        max_drawdown: max_drawdown(market, cash, &path.segments),
        fees: path.fees,
        ambiguous_bars: path.ambiguous_bars,
        ..Stats::default()
    };
    if let (Some(last), Some(&close)) = (path.segments.last(), market.bars.close.last()) {
        stats.final_equity = equity_at(last, close);
    }
    count_trades(&mut stats, &path.trades);
    stats.bars_in_position = stats.bars_held + path.open_bars as u64;
    sample_equity(market, cash, &path.segments, &mut scratch.equity);
    measure_returns(&mut stats, cash, scratch);
    stats
}

/// Equity at every close.
pub(super) fn equity_per_bar(market: &Market<'_>, segments: &[Segment]) -> Vec<f64> {
    let mut equity = Vec::with_capacity(market.bars.len());
    for segment in segments {
        let closes = &market.bars.close[segment.from..segment.to];
        equity.extend(closes.iter().map(|&close| equity_at(segment, close)));
    }
    equity
}

/// A flat segment's quantity is 0 and the sum is its cash; a short's is negative and the sum a difference, bit for bit.
#[inline(always)]
pub(super) fn equity_at(segment: &Segment, close: f64) -> f64 {
    segment.cash + segment.quantity * close
}

fn sample_equity(market: &Market<'_>, cash: f64, segments: &[Segment], equity: &mut Vec<f64>) {
    let samples = &market.samples;
    equity.clear();
    equity.reserve(samples.len());
    equity.resize(samples.lead, cash);
    for segment in segments {
        let (from, to) = (samples.first_at[segment.from], samples.first_at[segment.to]);
        let closes = &samples.closes[from as usize..to as usize];
        if segment.quantity == 0.0 {
            equity.resize(equity.len() + closes.len(), segment.cash);
        } else {
            equity.extend(closes.iter().map(|&close| equity_at(segment, close)));
        }
    }
}

fn measure_returns(stats: &mut Stats, cash: f64, scratch: &mut Scratch) {
    let Scratch { equity, returns } = scratch;
    returns.clear();
    // One pass for returns, their sum and their checks: the divisions hide the latency of the additions.
    let (mut before, mut sum, mut is_defined) = (cash, 0.0, true);
    returns.extend(equity.iter().map(|&after| {
        let r = after / before - 1.0;
        is_defined &= before > 0.0 && r.is_finite();
        sum += r;
        before = after;
        r
    }));
    stats.observations = returns.len() as u64;
    stats.returns_defined = is_defined;
    if !is_defined || returns.is_empty() {
        return;
    }
    let mean = sum / returns.len() as f64;
    let (mut m2, mut m3, mut m4, mut downside) = (0.0, 0.0, 0.0, 0.0);
    for &r in returns.iter() {
        let deviation = r - mean;
        let square = deviation * deviation;
        m2 += square;
        m3 += square * deviation;
        m4 += square * square;
        let loss = if r < 0.0 { r } else { 0.0 };
        downside += loss * loss;
    }
    (stats.mean_return, stats.m2, stats.m3, stats.m4, stats.downside) = (mean, m2, m3, m4, downside);
}

fn count_trades(stats: &mut Stats, trades: &[Trade]) {
    let mut losses_in_a_row = 0;
    for trade in trades {
        stats.trades += 1;
        match trade.side {
            crate::sim::Side::Long => stats.long_trades += 1,
            crate::sim::Side::Short => stats.short_trades += 1,
        }
        if trade.pnl > 0.0 {
            stats.wins += 1;
            stats.gross_profit += trade.pnl;
        }
        if trade.pnl < 0.0 {
            stats.gross_loss -= trade.pnl;
            losses_in_a_row += 1;
            stats.max_consecutive_losses = stats.max_consecutive_losses.max(losses_in_a_row);
        } else {
            losses_in_a_row = 0;
        }
        stats.pnl_sum += trade.pnl;
        stats.trade_return_sum += trade.trade_return;
        if stats.trades == 1 || trade.trade_return > stats.best_trade {
            stats.best_trade = trade.trade_return;
        }
        if stats.trades == 1 || trade.trade_return < stats.worst_trade {
            stats.worst_trade = trade.trade_return;
        }
        stats.bars_held += trade.bars_held as u64;
    }
    stats.pnl_m2 = squared_pnl(trades, stats.pnl_sum);
}

/// Squared deviations of the profits, whose sum is `sum`, from their mean.
pub(super) fn squared_pnl(trades: &[Trade], sum: f64) -> f64 {
    let mean = sum / trades.len().max(1) as f64;
    let mut squares = 0.0;
    for trade in trades {
        let deviation = trade.pnl - mean;
        squares += deviation * deviation;
    }
    squares
}

/// The deepest drawdown so far, over closes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawdown {
    pub(super) peak: f64,
    pub(super) worst: f64,
}

impl Drawdown {
    fn deepen(&mut self, equity: f64) {
        let drawdown = 1.0 - equity / self.peak;
        if drawdown > self.worst {
            self.worst = drawdown;
        }
    }

    /// Equity from which on a close makes no new drawdown, however its division is rounded.
    #[inline(always)]
    pub(super) fn floor(&self) -> f64 {
        self.peak * ((1.0 - self.worst) + MARGIN)
    }

    fn walk(&mut self, closes: &[f64], segment: &Segment) {
        let mut floor = self.floor();
        for &close in closes {
            let equity = equity_at(segment, close);
            if equity > self.peak || equity < floor {
                self.peak = if equity > self.peak { equity } else { self.peak };
                self.deepen(equity);
                floor = self.floor();
            }
        }
    }

    /// Closes without a position.
    pub(super) fn flat(&mut self, cash: f64) {
        if cash > self.peak {
            self.peak = cash;
        }
        self.deepen(cash);
    }

    /// Closes with a position; gives the lowest equity among them. Equity is monotone in the close within a segment, so its
    /// extremes are those of the closes. Only a segment that sets a new peak and could also set a new drawdown is walked;
    /// what is skipped cannot change the result by a bit.
    pub(super) fn held(&mut self, market: &Market<'_>, segment: &Segment) -> f64 {
        let closes = &market.bars.close;
        let range = market.closes.query(closes, segment.from, segment.to);
        let ends = (equity_at(segment, range.min), equity_at(segment, range.max));
        let (lowest, highest) = if segment.quantity < 0.0 { (ends.1, ends.0) } else { ends };
        if highest <= self.peak {
            self.deepen(lowest);
        } else if lowest >= 0.0 && 1.0 - lowest / highest <= self.worst {
            self.peak = highest;
        } else {
            self.walk(&closes[segment.from..segment.to], segment);
        }
        lowest
    }
}

/// What the rounding of a drawdown may differ by from the test that spares its division, and more.
pub(super) const MARGIN: f64 = 1e-15;

fn max_drawdown(market: &Market<'_>, cash: f64, segments: &[Segment]) -> f64 {
    let mut drawdown = Drawdown { peak: cash, worst: 0.0 };
    for segment in segments {
        if segment.quantity == 0.0 {
            drawdown.flat(segment.cash);
        } else {
            drawdown.held(market, segment);
        }
    }
    drawdown.worst
}
