//! The sections about running a bot: reconciliation, control port, alerts, dashboard, logs, shutdown.

use std::net::SocketAddr;
use std::path::PathBuf;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::amount_or_zero;

/// The section `on_disconnect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OnDisconnect {
    /// What to do.
    pub action: DisconnectAction,
    /// How long the exchange must be out of reach before it is done, in milliseconds.
    pub after_ms: u64,
}

impl Default for OnDisconnect {
    fn default() -> Self {
        OnDisconnect { action: DisconnectAction::Protect, after_ms: 30_000 }
    }
}

/// What to do when the exchange, or its news, cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisconnectAction {
    /// Nothing: positions and what protects them stay; entries wait.
    Hold,
    /// As hold, and once connected again every position is first given the protection it lacks.
    Protect,
    /// Close every position as soon as the exchange takes orders, and pause.
    Flatten,
}

/// The section `reconcile`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Reconcile {
    /// Seconds between comparisons of the journal with the exchange.
    #[schemars(range(min = 1, max = 86_400))]
    pub interval_s: u32,
    /// Differences that are taken over instead of refused, by asset: largest amount each.
    pub accept: Vec<AcceptedDifference>,
}

impl Default for Reconcile {
    fn default() -> Self {
        Reconcile { interval_s: 60, accept: Vec::new() }
    }
}

/// A difference between journal and exchange that is no reason to stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptedDifference {
    /// The asset.
    pub asset: String,
    /// Largest difference, in units of the asset.
    #[schemars(schema_with = "amount_or_zero")]
    pub up_to: Decimal,
}

/// The section `control`: the HTTP port for operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Control {
    /// Whether there is one.
    pub enabled: bool,
    /// Address and port, loopback only.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Name of the environment variable that holds the token which commands need.
    #[schemars(schema_with = "super::schema::variable")]
    pub token_env: String,
}

impl Default for Control {
    fn default() -> Self {
        Control {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 9390)),
            token_env: "POLYBOLOS_CONTROL_TOKEN".to_owned(),
        }
    }
}

/// The section `alerts`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Alerts {
    /// A JSON document is posted to a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// A message is sent by a Telegram bot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telegram: Option<Telegram>,
    /// What is worth an alert; empty: everything.
    pub on: Vec<AlertKind>,
}

/// Where a webhook is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Webhook {
    /// Name of the environment variable that holds the URL.
    #[schemars(schema_with = "super::schema::variable")]
    pub url_env: String,
}

/// Where a Telegram message goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Telegram {
    /// Name of the environment variable that holds the bot's token.
    #[schemars(schema_with = "super::schema::variable")]
    pub token_env: String,
    /// The chat.
    pub chat_id: String,
}

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// The bot started or stopped.
    Lifecycle,
    /// A position was opened.
    Entry,
    /// A position was closed.
    Exit,
    /// An order was refused or ended without doing what it was for.
    Reject,
    /// A limit or a protection kept the bot from trading.
    Risk,
    /// The kill switch was set.
    Kill,
    /// The exchange was lost or found again.
    Connection,
    /// Journal and exchange differ.
    Reconcile,
    /// Something failed that needs a person.
    Error,
}

/// The section `dashboard`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Dashboard {
    /// Whether the terminal shows it; a pipe gets plain lines in any case.
    pub enabled: bool,
    /// Milliseconds between two pictures.
    #[schemars(range(min = 50, max = 60_000))]
    pub refresh_ms: u32,
}

impl Default for Dashboard {
    fn default() -> Self {
        Dashboard { enabled: true, refresh_ms: 500 }
    }
}

/// The section `logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Logs {
    /// How a line is written.
    pub format: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or a list of `module=level`.
    pub filter: String,
    /// File that lines are appended to; stderr if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

impl Default for Logs {
    fn default() -> Self {
        Logs { format: LogFormat::Text, filter: "info".to_owned(), file: None }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON document a line.
    Json,
}

/// The section `shutdown`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Shutdown {
    /// Whether positions are closed before the program ends; else they stay with their protection.
    pub flatten: bool,
}
