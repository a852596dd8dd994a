//! The connector to an exchange that speaks Binance's spot protocol: REST, WebSocket API, market streams, user stream.
//!
//! [`Connector::execute`] answers a command with what is known about it afterwards. Three promises: a command that changes
//! orders leaves at most once (a timestamp outside its window is the one exception, because the exchange proves that it did
//! nothing); once its first byte may have left it is never reported as not done without the exchange's word; and nothing
//! leaves while the exchange says to stop.

mod breaker;
mod budget;
mod clock;
mod config;
mod connector;
mod endpoints;
mod errors;
mod gateway;
mod metrics;
mod request;
mod rest;
mod secrets;
mod sequencer;
mod session;
mod sign;
mod socket;
mod streams;
mod wire;

pub use breaker::{BreakerSettings, BreakerState};
pub use budget::{Limit, LimitKind};
pub use clock::LocalClock;
pub use config::ConnectorConfig;
pub use connector::{Connector, UserStream};
pub use endpoints::{EndpointError, Endpoints};
pub use metrics::{CacheCounters, Counter, EndpointClass, Histogram, LATENCY_BOUNDS_US, Metrics, Outcome};
pub use secrets::{Credentials, KeyKind, SecretError};
pub use streams::{MarketPlan, MarketStream};
pub use wire::market::DayStatistics;
pub use wire::rules::ExchangeInfo;

/// A connector that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// Something of this machine is missing.
    #[error("{what} cannot be set up: {problem}")]
    Setup {
        /// What.
        what: &'static str,
        /// Why.
        problem: String,
    },
}

/// Limits until the exchange has told its own: those of mid 2026, with the smaller of the published order limits.
const DEFAULT_LIMITS: [Limit; 4] = [
    Limit { kind: LimitKind::Weight, interval_ms: 60_000, max: 6_000 },
    Limit { kind: LimitKind::Requests, interval_ms: 300_000, max: 61_000 },
    Limit { kind: LimitKind::Orders, interval_ms: 10_000, max: 50 },
    Limit { kind: LimitKind::Orders, interval_ms: 86_400_000, max: 160_000 },
];
