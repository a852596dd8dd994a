//! A backtest for people: what was run, how it went, and under which assumptions.

use std::fmt::Write as _;

use polybolos_engine::kernels::sim::{ExitReason, SimConfig, Trade};
use polybolos_engine::metrics::{METRICS, Metric};
use polybolos_engine::strategy::Choice as _;

use super::{Backtest, named, tables};
use crate::clock::date_time;
use crate::output::{self, number_cell, short_number, thousands};

/// How a metric is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unit {
    /// A fraction, shown in per cent.
    Percent,
    /// A number without a unit.
    Ratio,
    /// Quote currency.
    Money,
    /// Whole.
    Count,
    /// A number of bars.
    Bars,
}

/// Every metric that a single run has, in the groups people read them in.
const GROUPS: &[(&str, &[(&str, Unit)])] = &[
    (
        "result",
        &[
            ("total_return", Unit::Percent),
            ("cagr", Unit::Percent),
            ("final_equity", Unit::Money),
            ("fees", Unit::Money),
            ("exposure", Unit::Percent),
        ],
    ),
    (
        "risk",
        &[
            ("volatility", Unit::Percent),
            ("max_drawdown", Unit::Percent),
            ("sharpe", Unit::Ratio),
            ("sortino", Unit::Ratio),
            ("calmar", Unit::Ratio),
            ("psr", Unit::Percent),
        ],
    ),
    (
        "trades",
        &[
            ("trades", Unit::Count),
            ("long_trades", Unit::Count),
            ("short_trades", Unit::Count),
            ("win_rate", Unit::Percent),
            ("profit_factor", Unit::Ratio),
            ("expectancy", Unit::Money),
            ("avg_trade_return", Unit::Percent),
            ("best_trade", Unit::Percent),
            ("worst_trade", Unit::Percent),
            ("max_consecutive_losses", Unit::Count),
            ("avg_bars_held", Unit::Bars),
            ("sqn", Unit::Ratio),
            ("ambiguous_bars", Unit::Count),
        ],
    ),
];

/// Metrics of one line of the report.
const PER_LINE: usize = 3;

pub(super) fn text(backtest: &Backtest) -> String {
    let mut out = heading(backtest);
    for (group, metrics) in GROUPS {
        for (index, line) in metrics.chunks(PER_LINE).enumerate() {
            let title = if index == 0 { *group } else { "" };
            let shown: String = line.iter().map(|&(name, unit)| figure(backtest, name, unit)).collect();
            let _ = writeln!(out, "{}", format!("{title:<11} {shown}").trim_end());
        }
    }
    if let Some(position) = &backtest.run.open_position {
        let entry = backtest.bars.open_time_ms.get(position.entry_bar).copied().unwrap_or_default();
        let _ = writeln!(
            out,
            "open        {} {} since {} UTC at {}, marked at the last close and not a closed trade",
            tables::side_name(position.side),
            short_number(position.quantity),
            date_time(entry),
            short_number(position.entry_price)
        );
    }
    out.push_str(&exits(&backtest.run.trades));
    let _ = write!(out, "assumed     {}", assumptions(&backtest.strategy.config()));
    out
}

fn heading(backtest: &Backtest) -> String {
    let bars = &backtest.bars;
    let params: Vec<String> =
        named(&backtest.strategy, &backtest.params).map(|(name, value)| format!("{name}={value}")).collect();
    let first = bars.open_time_ms.first().copied().unwrap_or_default();
    let last = bars.len().checked_sub(1).map_or(first, |t| bars.close_time_ms(t));
    let change = bars.close.last().zip(bars.open.first()).map(|(close, open)| close / open - 1.0);
    let mut out = format!("{} on {} {}", backtest.strategy.name(), backtest.symbol, backtest.interval);
    if !params.is_empty() {
        let _ = write!(out, ": {}", params.join(" "));
    }
    let _ = writeln!(
        out,
        "\nperiod      {} to {} UTC, {} bars\nmarket      {} from the first open to the last close",
        date_time(first),
        date_time(last),
        thousands(bars.len() as u64),
        change.map_or_else(|| "-".to_owned(), percent)
    );
    out
}

fn figure(backtest: &Backtest, name: &str, unit: Unit) -> String {
    let value = METRICS
        .iter()
        .find(|metric| metric.name == name)
        .and_then(|metric: &Metric| metric.compute(&backtest.stats, &backtest.context));
    let shown = match (value, unit) {
        (None, _) => "-".to_owned(),
        (Some(value), Unit::Percent) => percent(value),
        (Some(value), Unit::Ratio) => format!("{value:.3}"),
        (Some(value), Unit::Money) => format!("{value:.2}"),
        (Some(value), Unit::Count) => format!("{value:.0}"),
        (Some(value), Unit::Bars) => format!("{value:.1}"),
    };
    format!("{:<17}{shown:>11}  ", name.replace("max_consecutive_losses", "losses_in_a_row"))
}

fn percent(fraction: f64) -> String {
    format!("{:.2} %", fraction * 100.0)
}

/// Trades, win rate and pnl per exit reason.
fn exits(trades: &[Trade]) -> String {
    const REASONS: [ExitReason; 5] =
        [ExitReason::Signal, ExitReason::Stop, ExitReason::Target, ExitReason::Trailing, ExitReason::Time];
    if trades.is_empty() {
        return "no trade was closed\n".to_owned();
    }
    let mut table = output::table(&["exit", "trades", "win rate", "pnl", "mean return"]);
    for reason in REASONS {
        let own: Vec<&Trade> = trades.iter().filter(|trade| trade.reason == reason).collect();
        if own.is_empty() {
            continue;
        }
        let count = own.len() as f64;
        let wins = own.iter().filter(|trade| trade.pnl > 0.0).count() as f64;
        table.add_row(vec![
            reason.name().into(),
            number_cell(own.len()),
            number_cell(percent(wins / count)),
            number_cell(format!("{:.2}", own.iter().map(|trade| trade.pnl).sum::<f64>())),
            number_cell(percent(own.iter().map(|trade| trade.trade_return).sum::<f64>() / count)),
        ]);
    }
    format!("{table}\n")
}

fn assumptions(config: &SimConfig) -> String {
    let fee = if config.maker_fee == config.taker_fee {
        format!("fee {}", config.taker_fee)
    } else {
        format!("maker fee {}, taker fee {}", config.maker_fee, config.taker_fee)
    };
    format!(
        "cash {}, {fee} and slippage {} per side, fills at {}, {} inside a bar, {} returns, 365 days a year",
        config.cash,
        config.slippage,
        config.fill.word(),
        config.intrabar.word(),
        config.returns.word()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_a_single_run_is_shown_once() {
        let mut shown: Vec<&str> =
            GROUPS.iter().flat_map(|(_, metrics)| metrics.iter().map(|(name, _)| *name)).collect();
        shown.sort_unstable();
        // Deflating needs the trials of a sweep.
        let mut all: Vec<&str> =
            METRICS.iter().map(|metric| metric.name).filter(|name| *name != "dsr").collect();
        all.sort_unstable();
        assert_eq!(shown, all);
    }
}
