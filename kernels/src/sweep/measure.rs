//! Sufficient statistics of a simulated path, as [`crate::stats`] defines them.
//!
//! Sums run in bar and trade order. Sample moments take two passes, mean first: a running update would lose the digits
//! that skewness and kurtosis are made of.

use super::account::Segment;
use super::extremes::{BLOCK, Extremes};
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

/// Lowest and highest equity where the closes have these extremes: it is monotone in the close within a segment.
#[inline(always)]
fn reach(segment: &Segment, closes: Extremes) -> (f64, f64) {
    let ends = (equity_at(segment, closes.min), equity_at(segment, closes.max));
    if segment.quantity < 0.0 { (ends.1, ends.0) } else { ends }
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

    /// Closes with a position one after the other, or a block at once where its extremes tell all there is to know.
    pub(super) fn walk(&mut self, market: &Market<'_>, segment: &Segment) {
        let closes = &market.bars.close;
        let (first, last) = (segment.from.div_ceil(BLOCK), segment.to / BLOCK);
        if first >= last {
            return self.step(&closes[segment.from..segment.to], segment);
        }
        self.step(&closes[segment.from..first * BLOCK], segment);
        for block in first..last {
            let (lowest, highest) = reach(segment, market.closes.block(block));
            if !self.covers(lowest, highest) {
                self.step(&closes[block * BLOCK..(block + 1) * BLOCK], segment);
            }
        }
        self.step(&closes[last * BLOCK..segment.to], segment);
    }

    fn step(&mut self, closes: &[f64], segment: &Segment) {
        let mut floor = self.floor();
        for &close in closes {
            let equity = equity_at(segment, close);
            if equity > self.peak {
                // At a peak there is no drawdown.
                self.peak = equity;
                floor = self.floor();
            } else if equity < floor {
                self.deepen(equity);
                floor = self.floor();
            }
        }
    }

    /// Takes the lowest and the highest equity of closes with a position for all of them, if they tell what the closes do:
    /// not where these set a peak and could also set a drawdown, in an order that only they know.
    #[inline(always)]
    fn covers(&mut self, lowest: f64, highest: f64) -> bool {
        if highest <= self.peak {
            self.deepen(lowest);
            return true;
        }
        let is_covered = lowest >= 0.0 && 1.0 - lowest / highest <= self.worst;
        self.peak = if is_covered { highest } else { self.peak };
        is_covered
    }

    /// Closes without a position.
    pub(super) fn flat(&mut self, cash: f64) {
        if cash > self.peak {
            self.peak = cash;
        }
        self.deepen(cash);
    }

    /// Closes with a position; gives the lowest equity among them. Only a segment that sets a new peak and could also set a new drawdown is walked;
    /// what is skipped cannot change the result by a bit.
    pub(super) fn held(&mut self, market: &Market<'_>, segment: &Segment) -> f64 {
        let closes = &market.bars.close;
        let (lowest, highest) = reach(segment, market.closes.query(closes, segment.from, segment.to));
        if !self.covers(lowest, highest) {
            self.walk(market, segment);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::bars::Bars;
    use crate::program::{Op, ProgramBuilder, Rules, Size};
    use crate::sim::SimConfig;
    use crate::sweep::account::Returns;
    use crate::sweep::market::Needs;

    /// One close after the other, with a division at each.
    fn bar_by_bar(mut drawdown: Drawdown, closes: &[f64], segment: &Segment) -> Drawdown {
        for &close in closes {
            let equity = segment.cash + segment.quantity * close;
            drawdown.peak = if equity > drawdown.peak { equity } else { drawdown.peak };
            let depth = 1.0 - equity / drawdown.peak;
            drawdown.worst = if depth > drawdown.worst { depth } else { drawdown.worst };
        }
        drawdown
    }

    #[test]
    fn a_drawdown_by_blocks_is_that_of_every_close() {
        let mut state = 7u64;
        let mut below = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 20) % bound
        };
        let mut bars = Bars { interval_ms: 1, ..Bars::default() };
        let mut price = 100.0;
        for t in 0..3_000 {
            // Stretches that rise, fall and stand still, in steps that repeat.
            price *= [1.0, 1.01, 0.99, [1.02, 0.98, 1.0][t / 100 % 3]][below(4) as usize];
            bars.open_time_ms.push(t as i64);
            bars.close.push(price);
        }
        for prices in [&mut bars.open, &mut bars.high, &mut bars.low] {
            prices.clone_from(&bars.close);
        }
        let mut b = ProgramBuilder::new(0);
        let size = Size::Equity(b.push(Op::Const(1.0), &[], 0).unwrap());
        let rules = Rules {
            long_enter: None,
            long_exit: None,
            short_enter: None,
            short_exit: None,
            stop_loss: None,
            take_profit: None,
            trailing_stop: None,
            max_bars: None,
            cooldown: None,
            size,
        };
        let market = Market::new(&bars, &Needs::of(&rules, &SimConfig::default())).unwrap();
        let mut changes = 0;
        for case in 0..3_000 {
            let from = below(2_900) as usize;
            let to = from + 1 + below([20, 100, 2_999 - from as u64][case % 3].max(1)) as usize;
            let to = to.min(3_000);
            let quantity = [1.0, 0.3, -1.0][below(3) as usize];
            let cash = [0.0, 50.0, 2_000.0][below(3) as usize] + if quantity < 0.0 { 500.0 } else { 0.0 };
            let segment = Segment { from, to, cash, quantity, returns: Returns::Equity };
            let first = segment.cash + quantity * bars.close[from];
            let peak = if first > 0.0 { first } else { 1.0 } * [0.9, 1.0, 1.3][below(3) as usize];
            let before = Drawdown { peak, worst: [0.0, 0.02, 0.3][below(3) as usize] };
            let expected = bar_by_bar(before, &bars.close[from..to], &segment);
            let mut walked = before;
            walked.walk(&market, &segment);
            let mut held = before;
            held.held(&market, &segment);
            for found in [walked, held] {
                assert_eq!(found.peak.to_bits(), expected.peak.to_bits(), "case {case}");
                assert_eq!(found.worst.to_bits(), expected.worst.to_bits(), "case {case}");
            }
            changes += usize::from(expected.worst > before.worst && expected.peak > before.peak);
        }
        assert!(changes > 300, "{changes}");
    }
}
