//! A run's sufficient statistics, computed the plain way from its trades and its equity.

use polybolos_kernels::bars::Bars;
use polybolos_kernels::sim::{Returns, Side, SimConfig};
use polybolos_kernels::stats::Stats;

use super::Run;
use crate::interval::DAY_MS;

/// The equity that the return series is made of, the initial cash not included; `equity` has one value per bar.
///
/// Per bar: `equity` itself. Daily, for bars shorter than a day: one value for each 00:00 UTC after the first open time
/// and at or before the last close, the last equity whose close is at or before it, the initial cash before the
/// first close. A gap repeats the value.
pub fn sample_equity(equity: &[f64], bars: &Bars, config: &SimConfig) -> Vec<f64> {
    if config.returns == Returns::Bar || bars.interval_ms >= DAY_MS {
        return equity.to_vec();
    }
    let (Some(&first_open_ms), Some(&last_open_ms)) = (bars.open_time_ms.first(), bars.open_time_ms.last())
    else {
        return Vec::new();
    };
    let last_close_ms = last_open_ms.saturating_add(bars.interval_ms);
    let mut marks = bars.open_time_ms.iter().zip(equity).peekable();
    let mut known = config.cash;
    let mut samples = Vec::new();
    let mut midnight_ms = first_open_ms.div_euclid(DAY_MS).saturating_add(1).saturating_mul(DAY_MS);
    while midnight_ms <= last_close_ms {
        let is_known = |open_time_ms: i64| open_time_ms.saturating_add(bars.interval_ms) <= midnight_ms;
        while let Some((_, &value)) = marks.next_if(|&(&open_time_ms, _)| is_known(open_time_ms)) {
            known = value;
        }
        samples.push(known);
        let Some(next_ms) = midnight_ms.checked_add(DAY_MS) else {
            break;
        };
        midnight_ms = next_ms;
    }
    samples
}

pub(super) fn stats(run: &Run, bars: &Bars, config: &SimConfig) -> Stats {
    let mut stats = Stats {
        final_equity: run.equity.last().copied().unwrap_or(config.cash),
        max_drawdown: max_drawdown(&run.equity, config.cash),
        bars_in_position: run.bars_in_position,
        fees: run.fees,
        ambiguous_bars: run.ambiguous_bars,
        ..Stats::default()
    };
    describe_returns(&mut stats, &sample_equity(&run.equity, bars, config), config.cash);
    describe_trades(&mut stats, run);
    stats
}

fn max_drawdown(equity: &[f64], cash: f64) -> f64 {
    let mut peak = cash;
    let mut deepest = 0.0_f64;
    for &value in equity {
        peak = peak.max(value);
        deepest = deepest.max(1.0 - value / peak);
    }
    deepest
}

fn describe_returns(stats: &mut Stats, samples: &[f64], cash: f64) {
    stats.observations = samples.len() as u64;
    let starts: Vec<f64> = std::iter::once(cash).chain(samples.iter().copied()).take(samples.len()).collect();
    let returns: Vec<f64> = starts.iter().zip(samples).map(|(start, end)| end / start - 1.0).collect();
    stats.returns_defined = starts.iter().all(|&start| start > 0.0) && returns.iter().all(|r| r.is_finite());
    if !stats.returns_defined || returns.is_empty() {
        return;
    }
    let mean = returns.iter().sum::<f64>() / returns.len() as f64;
    stats.mean_return = mean;
    for &r in &returns {
        let deviation = r - mean;
        let square = deviation * deviation;
        stats.m2 += square;
        stats.m3 += square * deviation;
        stats.m4 += square * square;
        let loss = r.min(0.0);
        stats.downside += loss * loss;
    }
}

fn describe_trades(stats: &mut Stats, run: &Run) {
    let mut losses_in_a_row = 0;
    for (index, trade) in run.trades.iter().enumerate() {
        stats.trades += 1;
        match trade.side {
            Side::Long => stats.long_trades += 1,
            Side::Short => stats.short_trades += 1,
        }
        if trade.pnl > 0.0 {
            stats.wins += 1;
            stats.gross_profit += trade.pnl;
        }
        losses_in_a_row = if trade.pnl < 0.0 { losses_in_a_row + 1 } else { 0 };
        if trade.pnl < 0.0 {
            stats.gross_loss -= trade.pnl;
        }
        stats.max_consecutive_losses = stats.max_consecutive_losses.max(losses_in_a_row);
        stats.pnl_sum += trade.pnl;
        stats.trade_return_sum += trade.trade_return;
        stats.bars_held += trade.bars_held as u64;
        if index == 0 || trade.trade_return > stats.best_trade {
            stats.best_trade = trade.trade_return;
        }
        if index == 0 || trade.trade_return < stats.worst_trade {
            stats.worst_trade = trade.trade_return;
        }
    }
    if !run.trades.is_empty() {
        let mean = stats.pnl_sum / run.trades.len() as f64;
        stats.pnl_m2 = run.trades.iter().map(|trade| (trade.pnl - mean) * (trade.pnl - mean)).sum();
    }
}
