//! The section `exchange`: which exchange, and where its key is found. Never the key itself.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The section `exchange`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Exchange {
    /// Which one; `custom` needs all three URLs.
    pub venue: VenueName,
    /// REST, without a path; takes the place of the venue's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^https?://"))]
    pub rest_url: Option<String>,
    /// Market streams, without a path; takes the place of the venue's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^wss?://"))]
    pub stream_url: Option<String>,
    /// WebSocket API, with its path; takes the place of the venue's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^wss?://"))]
    pub ws_api_url: Option<String>,
    /// Name of the environment variable that holds the API key.
    #[schemars(schema_with = "super::schema::variable")]
    pub key_env: String,
    /// Name of the environment variable that holds the secret (hmac) or the private key in PEM (ed25519).
    #[schemars(schema_with = "super::schema::variable")]
    pub secret_env: String,
    /// File of mode 0600 that holds `key` and `secret` instead of the two variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// How requests are signed.
    pub key_kind: KeyKind,
    /// How late a signed request may reach the exchange, in milliseconds.
    #[schemars(range(min = 1, max = 60_000))]
    pub recv_window_ms: u32,
    /// Whether an exchange simulator is told when each bar is finished with, so that it can run as fast as the bot.
    pub lockstep: bool,
}

impl Default for Exchange {
    fn default() -> Self {
        Exchange {
            venue: VenueName::Testnet,
            rest_url: None,
            stream_url: None,
            ws_api_url: None,
            key_env: "POLYBOLOS_API_KEY".to_owned(),
            secret_env: "POLYBOLOS_API_SECRET".to_owned(),
            key_file: None,
            key_kind: KeyKind::Hmac,
            recv_window_ms: 5_000,
            lockstep: false,
        }
    }
}

/// An exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VenueName {
    /// Binance, real money.
    Live,
    /// Binance's test network: own books, wiped about monthly.
    Testnet,
    /// Binance's demo: realistic prices, no money.
    Demo,
    /// Another server that speaks the protocol.
    Custom,
}

/// Kind of API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// HMAC-SHA-256 with a shared secret.
    Hmac,
    /// Ed25519 with a private key that the exchange never sees.
    Ed25519,
}

/// Addresses of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// REST, without a path.
    pub rest: String,
    /// Market streams, without a path.
    pub stream: String,
    /// WebSocket API, with its path.
    pub ws_api: String,
}

impl Exchange {
    /// The addresses to use: the venue's own, each replaced by what the section says.
    pub fn endpoints(&self) -> Endpoints {
        let (rest, stream, ws_api) = match self.venue {
            VenueName::Live => (
                "https://api.binance.com",
                "wss://stream.binance.com:9443",
                "wss://ws-api.binance.com:443/ws-api/v3",
            ),
            VenueName::Testnet => (
                "https://testnet.binance.vision",
                "wss://stream.testnet.binance.vision",
                "wss://ws-api.testnet.binance.vision/ws-api/v3",
            ),
            VenueName::Demo => (
                "https://demo-api.binance.com",
                "wss://demo-stream.binance.com",
                "wss://demo-ws-api.binance.com/ws-api/v3",
            ),
            VenueName::Custom => ("", "", ""),
        };
        let chosen = |given: &Option<String>, own: &str| {
            given.as_deref().unwrap_or(own).trim_end_matches('/').to_owned()
        };
        Endpoints {
            rest: chosen(&self.rest_url, rest),
            stream: chosen(&self.stream_url, stream),
            ws_api: chosen(&self.ws_api_url, ws_api),
        }
    }
}
