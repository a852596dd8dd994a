//! What can be set about a connector, with its defaults.

use super::breaker::BreakerSettings;
use super::endpoints::Endpoints;

/// Settings of a connector. Times are milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectorConfig {
    /// Where the exchange is.
    pub endpoints: Endpoints,
    /// How long a signed request stays valid. Short windows make unknown outcomes known sooner; at most 60,000.
    pub recv_window_ms: i64,
    /// What is waited after the window, before an unknown outcome counts as settled. At least the 10 s that the exchange's own
    /// processing may take: smaller values are raised.
    pub settle_margin_ms: i64,
    /// Longest wait for the answer to one request.
    pub request_timeout_ms: u64,
    /// Longest wait for a question with all its repetitions.
    pub question_deadline_ms: u64,
    /// Repetitions of a question whose answer did not come.
    pub question_retries: u32,
    /// Wait before the first repetition; doubles with each, with jitter, up to [`ConnectorConfig::longest_backoff_ms`].
    pub first_backoff_ms: u64,
    /// Longest wait between two attempts, reconnections included.
    pub longest_backoff_ms: u64,
    /// Seed of the jitter.
    pub seed: u64,
    /// How much of each limit is used at most, percent.
    pub budget_percent: u32,
    /// Circuit breakers.
    pub breaker: BreakerSettings,
    /// How often the exchange's clock is asked.
    pub clock_resync_ms: i64,
    /// How long limits and rules are kept.
    pub info_ttl_ms: u64,
    /// How long a price is kept.
    pub price_ttl_ms: u64,
    /// How long a page of bars is kept.
    pub kline_ttl_ms: u64,
    /// How long a connection lives before it is replaced. The exchange ends it after 24 hours.
    pub connection_life_ms: u64,
    /// A connection on which nothing arrives for so long, answers to pings included, is replaced.
    pub stale_after_ms: u64,
    /// A market connection that carries nothing but pings for so long is replaced.
    pub quiet_after_ms: u64,
    /// Most streams per connection; the exchange allows 1,024.
    pub streams_per_connection: usize,
}

impl ConnectorConfig {
    /// The defaults, for an exchange at `endpoints`.
    pub fn new(endpoints: Endpoints) -> ConnectorConfig {
        ConnectorConfig {
            endpoints,
            recv_window_ms: 5_000,
            settle_margin_ms: 10_000,
            request_timeout_ms: 11_000,
            question_deadline_ms: 30_000,
            question_retries: 4,
            first_backoff_ms: 200,
            longest_backoff_ms: 30_000,
            seed: 0,
            budget_percent: 85,
            breaker: BreakerSettings::default(),
            clock_resync_ms: 300_000,
            info_ttl_ms: 3_600_000,
            price_ttl_ms: 1_000,
            kline_ttl_ms: 1_000,
            connection_life_ms: 23 * 3_600_000,
            stale_after_ms: 60_000,
            quiet_after_ms: 300_000,
            streams_per_connection: 400,
        }
    }

    /// Exchange time after which a request signed at `timestamp_ms` cannot take effect any more.
    pub(crate) fn settles_at_ms(&self, timestamp_ms: i64) -> i64 {
        const ENGINE_TIMEOUT_MS: i64 = 10_000;
        timestamp_ms
            .saturating_add(self.recv_window_ms)
            .saturating_add(self.settle_margin_ms.max(ENGINE_TIMEOUT_MS))
    }
}
