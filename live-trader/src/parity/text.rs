//! A report for people.

use super::{Cause, Difference, Report, SymbolReport, What};

impl Report {
    /// The report, line by line; `time` writes UTC milliseconds.
    pub fn lines(&self, time: &dyn Fn(i64) -> String) -> Vec<String> {
        let mut lines = Vec::new();
        for report in &self.symbols {
            lines.push(report.line(time));
            lines.extend(report.differences.iter().map(|difference| format!("  {}", difference.line(time))));
        }
        let total: usize = self.symbols.iter().map(|report| report.differences.len()).sum();
        lines.push(format!("{total} differences, {} without a cause", self.unexplained));
        lines
    }
}

impl SymbolReport {
    fn line(&self, time: &dyn Fn(i64) -> String) -> String {
        format!(
            "{}: {} bars from {} to {} ({} caught up on, {} missing), {} live and {} backtest trades, {} matched",
            self.symbol,
            self.bars,
            time(self.from_ms),
            time(self.to_ms),
            self.caught_up_bars,
            self.missing_bars,
            self.live_trades,
            self.backtest_trades,
            self.matched_trades
        )
    }
}

impl Difference {
    fn line(&self, time: &dyn Fn(i64) -> String) -> String {
        format!("{}: {} ({})", time(self.bar_open_ms), self.what.line(time), self.cause.line(time))
    }
}

impl What {
    fn line(&self, time: &dyn Fn(i64) -> String) -> String {
        match self {
            What::EntryMissing => "entry missing".to_owned(),
            What::EntryExtra => "entry that the backtest does not have".to_owned(),
            What::EntryBar { live, backtest } => {
                format!("entry in bar {}, backtest {}", time(*live), time(*backtest))
            }
            What::EntryPrice { live, backtest, bps } => {
                format!("entry price {live}, backtest {backtest} ({bps:+.2} bps)")
            }
            What::Quantity { live, backtest, bps } => {
                format!("quantity {live}, backtest {backtest} ({bps:+.2} bps)")
            }
            What::ExitMissing => "exit missing".to_owned(),
            What::ExitExtra => "exit that the backtest does not have".to_owned(),
            What::ExitBar { live, backtest } => {
                format!("exit in bar {}, backtest {}", time(*live), time(*backtest))
            }
            What::ExitReason { live, backtest } => {
                format!("exit by {}, backtest by {}", live.name(), backtest.name())
            }
            What::ExitPrice { live, backtest, bps } => {
                format!("exit price {live}, backtest {backtest} ({bps:+.2} bps)")
            }
            What::FeeRate { live, backtest } => {
                format!("fees of {:.2} bps, backtest {:.2} bps", live * 1e4, backtest * 1e4)
            }
        }
    }
}

impl Cause {
    fn line(&self, time: &dyn Fn(i64) -> String) -> String {
        match self {
            Cause::MissingCandle(open_ms) => format!("candles are missing before {}", time(*open_ms)),
            Cause::CaughtUp(open_ms) => format!("bar {} was caught up on", time(*open_ms)),
            Cause::Risk(text) => format!("risk: {text}"),
            Cause::Filter(text) => format!("exchange's rules: {text}"),
            Cause::Funds(text) => format!("money: {text}"),
            Cause::NotTaken(text) => format!("not taken: {text}"),
            Cause::NotTrading(text) => format!("not trading: {text}"),
            Cause::ClosedBy(reason) => format!("closed by {}", reason.name()),
            Cause::FillPrice => "fill price".to_owned(),
            Cause::Latency(ms) => format!("latency of {ms} ms"),
            Cause::Commission => "another fee rate".to_owned(),
            Cause::Rounding => "rounding to the exchange's grid".to_owned(),
            Cause::Collar => "reserve for the price collar".to_owned(),
            Cause::Earlier => "follows from an earlier difference".to_owned(),
            Cause::Unexplained => "NO CAUSE FOUND".to_owned(),
        }
    }
}
