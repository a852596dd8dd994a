//! The exchange's time, told from a few samples.
//!
//! Local times are milliseconds since the epoch of a clock that never steps ([`LocalClock`]). An answer `server_ms` to a request
//! sent at `sent_ms` and received at `received_ms` was written between the two, so the exchange's clock was ahead by at least
//! `server_ms - received_ms`. That lower bound of the fastest sample, less one for rounding, is the estimate: a timestamp ahead of the exchange is
//! refused, one behind it only uses up some of its window.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch that only ever grow: the system's time when it was made, then the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct LocalClock {
    anchor_us: i64,
    started: Instant,
}

impl LocalClock {
    /// A clock that shows the system's time now.
    pub fn start() -> LocalClock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        LocalClock { anchor_us: i64::try_from(since.as_micros()).unwrap_or(0), started: Instant::now() }
    }

    /// Its time.
    pub fn now_ms(&self) -> i64 {
        let elapsed_us = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(0);
        self.anchor_us.saturating_add(elapsed_us) / 1_000
    }
}

/// One question for the time and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) sent_ms: i64,
    pub(crate) received_ms: i64,
    pub(crate) server_ms: i64,
}

/// What is known of the exchange's clock.
#[derive(Debug, Clone)]
pub(crate) struct ServerClock {
    /// Exchange minus local, a lower bound; 0 before the first round.
    offset_ms: i64,
    synced_ms: Option<i64>,
    resync_every_ms: i64,
}

impl ServerClock {
    pub(crate) fn new(resync_every_ms: i64) -> ServerClock {
        ServerClock { offset_ms: 0, synced_ms: None, resync_every_ms }
    }

    /// Takes a round of samples. A newer round replaces an older one: clocks drift. Without samples nothing changes.
    pub(crate) fn observe(&mut self, round: &[Sample]) {
        let fastest = round
            .iter()
            .filter(|sample| sample.received_ms >= sample.sent_ms)
            .min_by_key(|sample| sample.received_ms - sample.sent_ms);
        if let Some(sample) = fastest {
            // The millisecond more: a local time is cut to whole ones, here and where the offset is used.
            self.offset_ms = sample.server_ms.saturating_sub(sample.received_ms).saturating_sub(1);
            self.synced_ms = Some(sample.received_ms);
        }
    }

    /// The exchange's time at a local time.
    pub(crate) fn server_ms(&self, local_ms: i64) -> i64 {
        local_ms.saturating_add(self.offset_ms)
    }

    /// The local time at a time of the exchange.
    pub(crate) fn local_ms(&self, server_ms: i64) -> i64 {
        server_ms.saturating_sub(self.offset_ms)
    }

    /// Whether a round ended after this local time.
    pub(crate) fn synced_after(&self, local_ms: i64) -> bool {
        self.synced_ms.is_some_and(|synced| synced > local_ms)
    }

    /// Whether a new round is due.
    pub(crate) fn is_due(&self, local_ms: i64) -> bool {
        self.synced_ms.is_none_or(|synced| local_ms - synced >= self.resync_every_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_fastest_sample_counts_and_a_new_round_replaces_the_old() {
        let mut clock = ServerClock::new(300_000);
        assert!(clock.is_due(0));
        clock.observe(&[
            Sample { sent_ms: 0, received_ms: 400, server_ms: 10_000 },
            Sample { sent_ms: 500, received_ms: 520, server_ms: 10_420 },
        ]);
        assert_eq!(clock.server_ms(1_000), 10_899);
        assert_eq!(clock.local_ms(10_899), 1_000);
        assert!(!clock.is_due(300_519) && clock.is_due(300_520));
        clock.observe(&[]);
        assert_eq!(clock.server_ms(0), 9_899);
        clock.observe(&[Sample { sent_ms: 0, received_ms: 2_000, server_ms: 1_500 }]);
        assert_eq!(clock.server_ms(0), -501);
    }

    proptest! {
        #[test]
        fn it_is_never_ahead_of_the_exchange(
            offset in -100_000_i64..100_000,
            trips in prop::collection::vec((0_i64..500, 0_i64..500), 1..8),
        ) {
            let mut clock = ServerClock::new(1);
            let samples: Vec<Sample> = trips
                .iter()
                .map(|(there, back)| Sample { sent_ms: 0, received_ms: there + back, server_ms: there + offset })
                .collect();
            clock.observe(&samples);
            let fastest = trips.iter().map(|(there, back)| there + back).min().unwrap_or(0);
            let error = clock.server_ms(7) - (7 + offset);
            prop_assert!((-fastest - 1..0).contains(&error), "{error}");
        }
    }
}
