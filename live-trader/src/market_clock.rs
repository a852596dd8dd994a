//! The time of a market that plays bars of the past.

use std::time::Instant;

use polybolos_engine::interval::Interval;

/// Whether a market whose newest bar closed at `newest_ms` is not of today. A simulator has no bars of today, a real exchange has.
pub(crate) fn is_of_the_past(newest_ms: Option<i64>, now_ms: i64, interval: Interval) -> bool {
    newest_ms.is_none_or(|newest_ms| now_ms.saturating_sub(newest_ms) > 2 * interval.ms())
}

/// Its newest close, and what has passed here since that came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MarketClock {
    closed_ms: i64,
    since: Instant,
}

impl MarketClock {
    /// A clock of a market of which nothing is known.
    pub(crate) fn start() -> MarketClock {
        MarketClock { closed_ms: 0, since: Instant::now() }
    }

    /// The market's time, UTC milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        self.closed_ms.saturating_add(i64::try_from(self.since.elapsed().as_millis()).unwrap_or(0))
    }

    /// A bar has closed at this time.
    pub(crate) fn saw_close(&mut self, close_ms: i64) {
        if close_ms > self.now_ms() {
            *self = MarketClock { closed_ms: close_ms, since: Instant::now() };
        }
    }
}
