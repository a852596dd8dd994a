//! Causes, and the evidence for them in the journal.

use super::reference::Backtest;
use super::session::{Exit, Seen, Standings, Trade};
use super::{Cause, Settings};
use crate::trader::Why;

/// A fill that comes later than this after its bar opened is late, ms.
const LATE_MS: i64 = 1_000;

/// What the journal says, to be asked about a difference.
pub(super) struct Evidence<'a> {
    seen: &'a Seen,
    backtest: &'a Backtest,
    live: &'a [Trade],
    settings: &'a Settings<'a>,
    standings: &'a Standings,
}

impl<'a> Evidence<'a> {
    pub(super) fn new(
        seen: &'a Seen,
        backtest: &'a Backtest,
        settings: &'a Settings<'a>,
        live: &'a [Trade],
        standings: &'a Standings,
    ) -> Evidence<'a> {
        Evidence { seen, backtest, live, settings, standings }
    }

    pub(super) fn is_beyond(&self, bps: f64) -> bool {
        // A number that is none is beyond everything.
        bps.is_nan() || bps.abs() > self.settings.tolerance_bps
    }

    /// Rates are compared more finely than prices: a tenth of a basis point at least.
    pub(super) fn rate_tolerance_bps(&self) -> f64 {
        self.settings.tolerance_bps.clamp(0.01, 0.1)
    }

    fn candle(&self, open_ms: i64) -> Option<usize> {
        self.seen.candles.binary_search_by_key(&open_ms, |candle| candle.bar.open_time_ms).ok()
    }

    /// A hole in the candles up to `until_ms`: the open time before which candles are missing.
    fn hole(&self, from_ms: i64, until_ms: i64) -> Option<i64> {
        let step_ms = self.settings.interval.ms();
        let opens = self.seen.candles.iter().map(|candle| candle.bar.open_time_ms);
        let after = self.seen.candles.iter().skip(1).map(|candle| candle.bar.open_time_ms);
        let holes = opens.zip(after).filter(|(open, next)| next - open > step_ms);
        holes.map(|(_, next)| next).rfind(|next| *next > from_ms && *next <= until_ms)
    }

    /// What the bar at whose close something was decided says: whether it was acted on, and as the strategy says.
    fn of_decision(&self, decided_ms: i64) -> Option<Cause> {
        let number = self.candle(decided_ms)?;
        let candle = self.seen.candles.get(number)?;
        if !candle.is_live {
            return Some(Cause::CaughtUp(decided_ms));
        }
        let is_same = self.backtest.wanted.get(number) == Some(&candle.wanted);
        if is_same { None } else { self.hole(i64::MIN, decided_ms).map(Cause::MissingCandle) }
    }

    pub(super) fn of_missing_entry(&self, decided_ms: i64) -> Cause {
        if let Some(why) = self.seen.no_entries.get(&decided_ms) {
            return of_why(why);
        }
        if let Some(cause) = self.of_decision(decided_ms) {
            return cause;
        }
        let is_busy = |trade: &Trade| is_held_at(trade, decided_ms, self.settings.interval.ms());
        if self.live.iter().any(is_busy) { Cause::Earlier } else { Cause::Unexplained }
    }

    pub(super) fn of_extra_entry(&self, decided_ms: i64) -> Cause {
        let is_busy = |trade: &Trade| is_held_at(trade, decided_ms, self.settings.interval.ms());
        if self.backtest.trades.iter().any(is_busy) {
            return Cause::Earlier;
        }
        self.of_decision(decided_ms).unwrap_or(Cause::Unexplained)
    }

    /// A fill in another bar: over a hole the backtest waits for the next candle; else it came early or late.
    pub(super) fn of_other_bar(&self, at_ms: i64, live_ms: i64, backtest_ms: i64) -> Cause {
        let (first, last) = (live_ms.min(backtest_ms), live_ms.max(backtest_ms));
        if let Some(hole) = self.hole(first, last).or_else(|| self.hole(first - 1, first)) {
            return Cause::MissingCandle(hole);
        }
        let mut between = self.seen.candles.iter().filter(|candle| {
            let open_ms = candle.bar.open_time_ms;
            !candle.is_live && open_ms + self.settings.interval.ms() >= first && open_ms <= last
        });
        if let Some(candle) = between.next_back() {
            return Cause::CaughtUp(candle.bar.open_time_ms);
        }
        if live_ms > backtest_ms { Cause::Latency(at_ms - backtest_ms) } else { Cause::Unexplained }
    }

    pub(super) fn of_price(&self, live: f64, backtest: f64, late_ms: i64) -> Cause {
        let tick = self.seen.tick();
        if (live - backtest).abs() <= tick * (1.0 + 1e-9) {
            Cause::Rounding
        } else if late_ms > LATE_MS {
            Cause::Latency(late_ms)
        } else {
            Cause::FillPrice
        }
    }

    pub(super) fn of_quantity(&self, live: &Trade, backtest: &Trade) -> Cause {
        let lot = self.seen.lot * (1.0 + 1e-9);
        let is_near = |quantity: f64| {
            let off = (live.quantity - quantity).abs();
            off <= lot || !self.is_beyond(off / quantity * 1e4)
        };
        if (live.quantity - backtest.quantity).abs() <= lot {
            return Cause::Rounding;
        }
        if self.has_earlier(backtest.decided_ms) {
            return Cause::Earlier;
        }
        let by_price = backtest.quantity * backtest.entry_price / live.entry_price;
        if is_near(by_price) {
            return Cause::FillPrice;
        }
        // All the money buys less where the fee of the purchase is higher.
        if is_near(by_price * (1.0 + backtest.fee_rate) / (1.0 + live.fee_rate)) {
            return Cause::Commission;
        }
        let with_collar = |quantity: f64| quantity / (1.0 + self.settings.collar_bps / 1e4);
        // What is paid for at the collar is at least this much, and the whole at most.
        let is_reserved = live.quantity < backtest.quantity
            && live.quantity + lot >= with_collar(by_price.min(backtest.quantity));
        if self.settings.collar_bps > 0.0 && is_reserved { Cause::Collar } else { Cause::Unexplained }
    }

    /// Whether an earlier trade can have changed what there is to trade with.
    fn has_earlier(&self, decided_ms: i64) -> bool {
        let earlier = |trades: &[Trade]| -> Vec<(i64, u64, u64)> {
            let before = trades.iter().filter(|trade| trade.decided_ms < decided_ms);
            let facts = |trade: &Trade| {
                let exit = trade.exit.map_or(0.0, |exit| exit.price);
                (trade.decided_ms, (trade.quantity * trade.entry_price).to_bits(), exit.to_bits())
            };
            before.map(facts).collect()
        };
        earlier(self.live) != earlier(&self.backtest.trades)
    }

    pub(super) fn of_missing_exit(&self, exit: &Exit) -> Cause {
        let decided_ms = exit.bar_ms - self.settings.interval.ms();
        let of_bar = |open_ms| self.of_decision(open_ms);
        let hole = self.hole(decided_ms, exit.bar_ms).map(Cause::MissingCandle);
        let of_candles = of_bar(decided_ms).or_else(|| of_bar(exit.bar_ms)).or(hole);
        // Levels wait at the exchange; what a close decides must be sent.
        let end_ms = exit.bar_ms + self.settings.interval.ms() - 1;
        let is_decided = exit.reason.is_decided();
        let of_standing = || self.standings.bars_exits_at(end_ms).filter(|_| is_decided);
        of_candles.or_else(|| of_standing().map(Cause::NotTrading)).unwrap_or(Cause::Unexplained)
    }
}

/// Whether a trade was held, or decided, when the bar that opened at `open_ms` closed.
fn is_held_at(trade: &Trade, open_ms: i64, interval_ms: i64) -> bool {
    let ended_ms = trade.exit.map_or(i64::MAX, |exit| exit.at_ms);
    trade.decided_ms < open_ms && ended_ms >= open_ms + interval_ms
}

fn of_why(why: &Why) -> Cause {
    match why {
        Why::Risk(text) => Cause::Risk(text.clone()),
        Why::Filter(text) => Cause::Filter(text.clone()),
        Why::Funds(text) => Cause::Funds(text.clone()),
        Why::NotTaken(text) => Cause::NotTaken(text.clone()),
        Why::NotTrading(text) => Cause::NotTrading(text.clone()),
        Why::NoBar
        | Why::NoSignal
        | Why::CoolingDown
        | Why::Entering
        | Why::Holding
        | Why::Exiting(_)
        | Why::Closed(_) => Cause::Unexplained,
    }
}
