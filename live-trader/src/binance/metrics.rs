//! Counters of the connector. Reading and writing them never waits.

use std::sync::atomic::{AtomicU64, Ordering};

/// Classes of endpoints; each has a circuit breaker of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointClass {
    /// Market data and rules.
    Data,
    /// Questions about orders, fills and balances.
    Account,
    /// Whatever changes orders.
    Orders,
}

impl EndpointClass {
    /// All classes, in the order of the counters.
    pub const ALL: [EndpointClass; 3] = [EndpointClass::Data, EndpointClass::Account, EndpointClass::Orders];

    /// Its name as a label.
    pub fn name(self) -> &'static str {
        match self {
            EndpointClass::Data => "data",
            EndpointClass::Account => "account",
            EndpointClass::Orders => "orders",
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has its result.
    Done,
    /// Refused for good.
    Refused,
    /// Nothing of that id.
    NotFound,
    /// Not done; harmless to repeat.
    NotDone,
    /// Perhaps done.
    Unknown,
    /// Banned, or the key was refused.
    Halted,
}

impl Outcome {
    /// All outcomes, in the order of the counters.
    pub const ALL: [Outcome; 6] = [
        Outcome::Done,
        Outcome::Refused,
        Outcome::NotFound,
        Outcome::NotDone,
        Outcome::Unknown,
        Outcome::Halted,
    ];

    /// Its name as a label.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::NotFound => "not_found",
            Outcome::NotDone => "not_done",
            Outcome::Unknown => "unknown",
            Outcome::Halted => "halted",
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Upper bounds of a histogram's buckets in microseconds; one more bucket takes the rest.
pub const LATENCY_BOUNDS_US: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000];

/// Durations counted by bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; LATENCY_BOUNDS_US.len() + 1],
    sum_us: Counter,
}

impl Histogram {
    pub(crate) fn observe(&self, duration: std::time::Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2);
        let index = LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.add(1);
        }
        self.sum_us.add(us);
    }

    /// Counts of the buckets, not cumulated; the last one has no bound.
    pub fn counts(&self) -> [u64; LATENCY_BOUNDS_US.len() + 1] {
        std::array::from_fn(|index| self.buckets.get(index).map_or(0, Counter::get))
    }

    /// Sum of all durations in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us.get()
    }
}

/// Lookups in a cache, and how many of them asked the exchange.
#[derive(Debug, Default)]
pub struct CacheCounters {
    /// All lookups.
    pub lookups: Counter,
    /// Those that had to ask; several that wait for one question count once here.
    pub loads: Counter,
}

impl CacheCounters {
    /// Share of lookups that asked nobody, 0 to 1; `None` before the first lookup.
    pub fn hit_rate(&self) -> Option<f64> {
        let (lookups, loads) = (self.lookups.get(), self.loads.get());
        (lookups > 0).then(|| lookups.saturating_sub(loads) as f64 / lookups as f64)
    }
}

/// All counters of a connector.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: [[Counter; Outcome::ALL.len()]; EndpointClass::ALL.len()],
    /// From the call to the answer, per class, waits for the budget included.
    latency: [Histogram; EndpointClass::ALL.len()],
    /// From the call to the frame or the request being handed to the socket; orders only.
    pub send_latency: Histogram,
    /// From the arrival of the bar that a command follows from to its frame being written to the socket; over REST to the request
    /// being handed to the client.
    pub decision_to_wire: Histogram,
    /// Repetitions of questions.
    pub retries: Counter,
    /// Rounds of samples of the exchange's clock.
    pub clock_syncs: Counter,
    /// Largest share used of a weight limit, percent.
    pub weight_used_percent: Counter,
    /// Largest share used of an order limit, percent.
    pub orders_used_percent: Counter,
    /// Cache of rules.
    pub info_cache: CacheCounters,
    /// Cache of prices.
    pub price_cache: CacheCounters,
    /// Cache of bars.
    pub kline_cache: CacheCounters,
    /// State of each class's breaker: 0 closed, 1 open, 2 half-open.
    breakers: [Counter; EndpointClass::ALL.len()],
    /// Market stream connections opened.
    pub stream_connects: Counter,
    /// WebSocket API connections opened.
    pub session_connects: Counter,
    /// Bars handed on.
    pub bars: Counter,
    /// Bars that had been handed on already and were dropped.
    pub duplicate_bars: Counter,
    /// Holes in streams that were asked for over REST.
    pub backfills: Counter,
    /// Quotes replaced by newer ones before anybody took them.
    pub quotes_replaced: Counter,
    /// Events of the user stream handed on.
    pub account_events: Counter,
    /// Messages of a kind that this program does not know, or cannot read.
    pub ignored_messages: Counter,
}

impl Metrics {
    /// Requests of a class with this outcome.
    pub fn requests(&self, class: EndpointClass, outcome: Outcome) -> u64 {
        self.requests[class as usize][outcome as usize].get()
    }

    /// Latencies of a class, from the call to the answer.
    pub fn latency(&self, class: EndpointClass) -> &Histogram {
        &self.latency[class as usize]
    }

    /// State of a class's breaker: 0 closed, 1 open, 2 half-open.
    pub fn breaker(&self, class: EndpointClass) -> u64 {
        self.breakers[class as usize].get()
    }

    pub(crate) fn count(&self, class: EndpointClass, outcome: Outcome, duration: std::time::Duration) {
        self.requests[class as usize][outcome as usize].add(1);
        self.latency[class as usize].observe(duration);
    }

    pub(crate) fn set_breaker(&self, class: EndpointClass, state: super::breaker::BreakerState) {
        self.breakers[class as usize].set(state as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let histogram = Histogram::default();
        for us in [0, 50, 51, 1_000, 10_000_001] {
            histogram.observe(Duration::from_micros(us));
        }
        let counts = histogram.counts();
        assert_eq!((counts[0], counts[1], counts[4], counts[14]), (2, 1, 1, 1));
        assert_eq!(histogram.sum_us(), 10_001_102);
    }

    #[test]
    fn a_cache_that_was_never_asked_has_no_hit_rate() {
        let cache = CacheCounters::default();
        assert_eq!(cache.hit_rate(), None);
        cache.lookups.add(4);
        cache.loads.add(1);
        assert_eq!(cache.hit_rate(), Some(0.75));
    }
}
