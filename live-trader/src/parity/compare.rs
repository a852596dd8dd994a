//! Trades side by side.

use std::collections::BTreeMap;

use super::causes::Evidence;
use super::reference::Backtest;
use super::session::{Exit, Seen, Standings, Trade};
use super::{Cause, Difference, Settings, SymbolReport, What};
use crate::symbol::Symbol;

/// Compares one symbol; `first` is the number of the first candle that was acted on.
pub(super) fn compare(
    symbol: &Symbol,
    seen: &Seen,
    first: usize,
    backtest: &Backtest,
    settings: &Settings<'_>,
    standings: &Standings,
) -> SymbolReport {
    let candles = seen.candles.get(first..).unwrap_or_default();
    let open = |candle: Option<&super::session::Candle>| candle.map_or(0, |candle| candle.bar.open_time_ms);
    let (from_ms, to_ms) = (open(candles.first()), open(candles.last()));
    // Decided at the last close: the backtest has no bar to fill it in.
    let live: Vec<Trade> = seen
        .trades
        .iter()
        .filter(|trade| trade.decided_ms >= from_ms && trade.decided_ms < to_ms)
        .map(|trade| until(trade, to_ms))
        .collect();
    let mut differences = Vec::new();
    let evidence = Evidence::new(seen, backtest, settings, &live, standings);
    let mut matched = 0;
    let by_decision: BTreeMap<i64, &Trade> = live.iter().map(|trade| (trade.decided_ms, trade)).collect();
    for expected in &backtest.trades {
        match by_decision.get(&expected.decided_ms) {
            Some(trade) => {
                matched += 1;
                Pair { live: trade, backtest: expected, evidence: &evidence }.compare(&mut differences);
            }
            None => differences.push(Difference {
                bar_open_ms: expected.decided_ms,
                what: What::EntryMissing,
                cause: evidence.of_missing_entry(expected.decided_ms),
            }),
        }
    }
    for trade in &live {
        if !backtest.trades.iter().any(|expected| expected.decided_ms == trade.decided_ms) {
            let cause = evidence.of_extra_entry(trade.decided_ms);
            differences.push(Difference { bar_open_ms: trade.decided_ms, what: What::EntryExtra, cause });
        }
    }
    differences.sort_by_key(|difference| difference.bar_open_ms);
    let rows = i64::try_from(candles.len()).unwrap_or(i64::MAX);
    SymbolReport {
        symbol: symbol.clone(),
        from_ms,
        to_ms,
        bars: candles.len(),
        caught_up_bars: candles.iter().filter(|candle| !candle.is_live).count(),
        missing_bars: (to_ms - from_ms).checked_div(settings.interval.ms()).unwrap_or(0) + 1 - rows,
        live_trades: live.len(),
        backtest_trades: backtest.trades.len(),
        matched_trades: matched,
        differences,
    }
}

/// A trade as it stood when the last bar closed.
fn until(trade: &Trade, to_ms: i64) -> Trade {
    let (exit, later) = match trade.exit {
        Some(exit) if exit.bar_ms > to_ms => (None, Some(exit.at_ms)),
        exit => (exit, None),
    };
    Trade { exit, left_later_ms: later, ..trade.clone() }
}

/// A trade that both have.
struct Pair<'a> {
    live: &'a Trade,
    backtest: &'a Trade,
    evidence: &'a Evidence<'a>,
}

impl Pair<'_> {
    fn compare(&self, differences: &mut Vec<Difference>) {
        let (live, backtest) = (self.live, self.backtest);
        let mut add = |what, cause| {
            differences.push(Difference { bar_open_ms: backtest.decided_ms, what, cause });
        };
        if live.entry_bar_ms != backtest.entry_bar_ms {
            let what = What::EntryBar { live: live.entry_bar_ms, backtest: backtest.entry_bar_ms };
            add(what, self.evidence.of_other_bar(live.entry_ms, live.entry_bar_ms, backtest.entry_bar_ms));
        }
        let entry_bps = bps(live.entry_price, backtest.entry_price);
        if self.evidence.is_beyond(entry_bps) {
            let what =
                What::EntryPrice { live: live.entry_price, backtest: backtest.entry_price, bps: entry_bps };
            let late_ms = live.entry_ms - backtest.entry_bar_ms;
            add(what, self.evidence.of_price(live.entry_price, backtest.entry_price, late_ms));
        }
        let quantity_bps = bps(live.quantity, backtest.quantity);
        if self.evidence.is_beyond(quantity_bps) {
            let what = What::Quantity { live: live.quantity, backtest: backtest.quantity, bps: quantity_bps };
            add(what, self.evidence.of_quantity(live, backtest));
        }
        self.compare_exits(&mut add);
        if ((live.fee_rate - backtest.fee_rate) * 1e4).abs() > self.evidence.rate_tolerance_bps() {
            add(What::FeeRate { live: live.fee_rate, backtest: backtest.fee_rate }, Cause::Commission);
        }
    }

    fn compare_exits(&self, add: &mut impl FnMut(What, Cause)) {
        let (live, backtest) = match (&self.live.exit, &self.backtest.exit) {
            (None, None) => return,
            (None, Some(exit)) => {
                let late = |at_ms| Cause::Latency(at_ms - exit.bar_ms);
                let cause = self.live.left_later_ms.map(late);
                return add(What::ExitMissing, cause.unwrap_or_else(|| self.evidence.of_missing_exit(exit)));
            }
            (Some(exit), None) => return add(What::ExitExtra, self.of_own_exit(exit)),
            (Some(live), Some(backtest)) => (live, backtest),
        };
        if live.reason != backtest.reason {
            let what = What::ExitReason { live: live.reason, backtest: backtest.reason };
            add(what, self.of_own_exit(live));
        }
        if live.bar_ms != backtest.bar_ms {
            let what = What::ExitBar { live: live.bar_ms, backtest: backtest.bar_ms };
            let cause = match self.of_own_exit(live) {
                Cause::Unexplained => self.evidence.of_other_bar(live.at_ms, live.bar_ms, backtest.bar_ms),
                cause => cause,
            };
            add(what, cause);
            return;
        }
        let exit_bps = bps(live.price, backtest.price);
        if self.evidence.is_beyond(exit_bps) {
            let what = What::ExitPrice { live: live.price, backtest: backtest.price, bps: exit_bps };
            let cause = match self.of_own_exit(live) {
                Cause::Unexplained if live.reason.is_decided() => {
                    self.evidence.of_price(live.price, backtest.price, live.at_ms - backtest.bar_ms)
                }
                // A level inside the bar: when it was reached is not known.
                Cause::Unexplained => self.evidence.of_price(live.price, backtest.price, 0),
                cause => cause,
            };
            add(what, cause);
        }
    }

    /// Why the bot left as it did, where something else than the strategy, or another entry price, made it.
    fn of_own_exit(&self, exit: &Exit) -> Cause {
        if !exit.reason.is_of_strategy() {
            return Cause::ClosedBy(exit.reason);
        }
        let is_level = !exit.reason.is_decided()
            || self.backtest.exit.is_some_and(|backtest| !backtest.reason.is_decided());
        let entry_bps = bps(self.live.entry_price, self.backtest.entry_price);
        if is_level && self.evidence.is_beyond(entry_bps) {
            // Levels are measured from the entry.
            return Cause::Earlier;
        }
        Cause::Unexplained
    }
}

/// Basis points by which `live` is above `backtest`.
fn bps(live: f64, backtest: f64) -> f64 {
    (live / backtest - 1.0) * 1e4
}
