//! The file of a bot: what it trades, where, with how much, within which limits.
//!
//! The types here are the definition: the JSON Schema, the checks with their messages, the commented example and the effective
//! configuration that is shown all follow from them. A secret is never part of a configuration; only the name of the
//! variable or the file that holds it.

mod conform;
pub(crate) mod document;
mod example;
mod exchange;
mod limits;
mod load;
mod operations;
mod rules;
pub(crate) mod schema;
mod selection;
mod strategy;
mod tree;
mod write;

use std::path::PathBuf;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use exchange::{Endpoints, Exchange, KeyKind, VenueName};
pub use limits::{Limits, Protection, Risk, Span};
pub use load::{PROFILES, Sources, is_bot, json_schema, load};
pub use operations::{
    AcceptedDifference, AlertKind, Alerts, Control, Dashboard, DisconnectAction, LogFormat, Logs,
    OnDisconnect, Reconcile, Shutdown, Telegram, Webhook,
};
pub use selection::SelectionConfig;
pub use strategy::{Evidence, Simulation, StrategySection, SymbolEvidence};
pub use tree::ENV_PREFIX;

use schema::{amount, amount_or_zero};

/// A bot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BotConfig {
    /// Name: letters, digits, `-` and `_`, at most 64. Order ids and the journal carry it: renaming a bot makes another bot.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    pub name: String,
    /// How orders are filled unless `--mode` says otherwise.
    #[serde(default)]
    pub mode: Mode,
    /// What is traded.
    pub strategy: StrategySection,
    /// Symbols to trade; instead of `selection`.
    #[serde(default)]
    pub symbols: Vec<String>,
    /// Rules by which symbols are chosen; instead of `symbols`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionConfig>,
    /// How much money the bot works with.
    pub capital: Capital,
    /// How positions are opened.
    #[serde(default)]
    pub entry: Entry,
    /// Which exchange, and where its key is found.
    #[serde(default)]
    pub exchange: Exchange,
    /// Limits that the risk gate enforces, and protections.
    #[serde(default)]
    pub risk: Risk,
    /// What to do when the exchange is out of reach.
    #[serde(default)]
    pub on_disconnect: OnDisconnect,
    /// Comparison of the journal with the exchange.
    #[serde(default)]
    pub reconcile: Reconcile,
    /// Folder of journal, kill switch and statistics; relative to this file.
    #[serde(default = "state_dir")]
    pub state_dir: PathBuf,
    /// The HTTP port for operators.
    #[serde(default)]
    pub control: Control,
    /// Who is told what.
    #[serde(default)]
    pub alerts: Alerts,
    /// The picture in the terminal.
    #[serde(default)]
    pub dashboard: Dashboard,
    /// Log lines.
    #[serde(default)]
    pub logs: Logs,
    /// What a shutdown does.
    #[serde(default)]
    pub shutdown: Shutdown,
    /// The backtest that this bot rests on, written by `promote`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

fn state_dir() -> PathBuf {
    PathBuf::from("state")
}

/// How orders are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By a simulated exchange in the process, on live or replayed bars.
    #[default]
    Paper,
    /// By an exchange without real money.
    Testnet,
    /// By an exchange with real money.
    Live,
}

/// The section `capital`: exactly one of `per_symbol` and `total`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capital {
    /// What positions are paid with; every symbol must end in it.
    #[schemars(regex(pattern = "^[A-Z0-9]{1,20}$"))]
    pub quote_asset: String,
    /// Initial equity of every symbol, in quote currency; each symbol's account stands by itself, as in the backtest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub per_symbol: Option<Decimal>,
    /// Initial equity of all symbols together, split evenly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub total: Option<Decimal>,
}

/// The section `entry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Entry {
    /// Which orders open a position.
    pub order: EntryOrder,
    /// Distance of a limit from the bar's close, against you, in hundredths of a percent.
    #[schemars(schema_with = "amount_or_zero")]
    pub collar_bps: Decimal,
    /// Closed bars after which a limit that has not filled is cancelled.
    #[schemars(range(min = 1, max = 1_000))]
    pub expire_bars: u32,
}

impl Default for Entry {
    fn default() -> Self {
        Entry { order: EntryOrder::Market, collar_bps: Decimal::TEN, expire_bars: 1 }
    }
}

/// How a position is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryOrder {
    /// At the market; protection is placed when the fill is known.
    Market,
    /// A limit at the close plus `collar_bps`; protection is placed when the fill is known.
    Limit,
    /// A limit whose protection the exchange places by itself on the fill.
    Protected,
}
