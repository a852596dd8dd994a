//! The connector to an exchange that speaks Binance's spot protocol: REST, WebSocket API, market streams, user stream.
//!
//! [`Connector::execute`] answers a command with what is known about it afterwards. Three promises: a command that changes
//! orders leaves at most once (a timestamp outside its window is the one exception, because the exchange proves that it did
//! nothing); once its first byte may have left it is never reported as not done without the exchange's word; and nothing
//! leaves while the exchange says to stop.

mod breaker;
mod budget;
mod clock;
mod endpoints;
mod errors;
mod metrics;
mod request;
mod secrets;
mod sign;
mod wire;

pub use breaker::{BreakerSettings, BreakerState};
pub use budget::{Limit, LimitKind};
pub use clock::LocalClock;
pub use endpoints::{EndpointError, Endpoints};
pub use metrics::{CacheCounters, Counter, EndpointClass, Histogram, LATENCY_BOUNDS_US, Metrics, Outcome};
pub use secrets::{Credentials, KeyKind, SecretError};
pub use wire::rules::ExchangeInfo;
