//! What can be set about the server.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use polybolos_engine::interval::Interval;

use super::faults::FaultPlan;
use crate::simulator::Settings;

pub use ed25519_dalek::VerifyingKey as PublicKey;

/// How fast the market moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// A bar takes this long, from the first market connection on: its open at the beginning, its close in the middle, told
    /// at the end.
    Timed {
        /// Wall-clock length of a bar.
        bar: Duration,
    },
    /// As fast as the clients settle bars.
    Lockstep,
    /// Only by [`super::ExchangeSim::step`].
    Held,
}

/// Limits as the exchange publishes them in `exchangeInfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// `REQUEST_WEIGHT` per minute.
    pub weight_per_minute: u32,
    /// `RAW_REQUESTS` per five minutes.
    pub requests_per_5_minutes: u32,
    /// `ORDERS` per ten seconds.
    pub orders_per_10_seconds: u32,
    /// `ORDERS` per day.
    pub orders_per_day: u32,
}

impl RateLimits {
    /// The exchange's own of mid 2026.
    pub const EXCHANGE: RateLimits = RateLimits {
        weight_per_minute: 6_000,
        requests_per_5_minutes: 300_000,
        orders_per_10_seconds: 100,
        orders_per_day: 200_000,
    };

    /// So large that nothing is ever held up by them: for lockstep, where a day passes in a second.
    pub const UNLIMITED: RateLimits = RateLimits {
        weight_per_minute: 1_000_000_000,
        requests_per_5_minutes: 1_000_000_000,
        orders_per_10_seconds: 1_000_000_000,
        orders_per_day: 1_000_000_000,
    };
}

/// The key of the one account.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its name.
    pub key: String,
    /// The shared secret of HMAC-SHA-256.
    pub secret: String,
    /// The public key for Ed25519 signatures, should clients sign so.
    pub public_key: Option<PublicKey>,
}

impl Default for ApiKey {
    fn default() -> ApiKey {
        ApiKey { key: "sim-key".to_owned(), secret: "sim-secret".to_owned(), public_key: None }
    }
}

impl ApiKey {
    /// Reads an Ed25519 public key: a PEM block, or its body, or the 32 bytes in base64.
    pub fn parse_public_key(text: &str) -> Option<PublicKey> {
        const SPKI_PREFIX: [u8; 12] =
            [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        let bytes = BASE64.decode(body).ok()?;
        let raw = bytes.strip_prefix(SPKI_PREFIX.as_slice()).unwrap_or(&bytes);
        PublicKey::from_bytes(raw.try_into().ok()?).ok()
    }
}

/// Settings of the server.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// Where it listens; loopback only. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Interval of the bars.
    pub interval: Interval,
    /// Costs and the account's start.
    pub settings: Settings,
    /// Bars that open before this are history from the beginning.
    pub start_ms: i64,
    /// How fast the market moves.
    pub speed: Speed,
    /// Limits.
    pub limits: RateLimits,
    /// The account's key.
    pub key: ApiKey,
    /// What goes wrong on purpose.
    pub faults: FaultPlan,
    /// Seed of the faults' chances.
    pub seed: u64,
}

impl SimConfig {
    /// The defaults: a free port, the whole dataset in lockstep, no limits, `sim-key`.
    pub fn new(interval: Interval) -> SimConfig {
        SimConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            interval,
            settings: Settings::default(),
            start_ms: i64::MIN,
            speed: Speed::Lockstep,
            limits: RateLimits::UNLIMITED,
            key: ApiKey::default(),
            faults: FaultPlan::default(),
            seed: 0,
        }
    }
}
