//! The sections `strategy` and `evidence`: what is traded, and what is known about it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use polybolos_engine::strategy::Format;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// The section `strategy`: exactly one of `document` and `file`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StrategySection {
    /// The whole strategy document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// The file of the strategy document instead, relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// How `document` is written; a file's name says it for `file`.
    #[serde(default = "yaml")]
    #[schemars(schema_with = "formats")]
    pub format: Format,
    /// One value for every parameter of the document; one that has a single value there can be left out.
    #[serde(default)]
    pub params: BTreeMap<String, f64>,
    /// Account, costs and fills that take the place of the document's `backtest`, for comparison with the backtest.
    #[serde(default)]
    pub simulation: Simulation,
    /// Length of the bars.
    #[schemars(schema_with = "schema::interval")]
    pub interval: String,
    /// Digest of what document, parameters and simulation mean together; checked when present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::digest")]
    pub digest: Option<String>,
}

fn yaml() -> Format {
    Format::Yaml
}

fn formats(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "enum": ["yaml", "json", "toml"] })
}

/// What replaces the document's `backtest`. Every key is optional.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Simulation {
    /// Initial cash in quote currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub cash: Option<f64>,
    /// Fee per side, fraction of notional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub fee: Option<f64>,
    /// Fraction of the price lost on market fills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub slippage: Option<f64>,
    /// When decisions are filled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["next_open", "close"]))]
    pub fill: Option<String>,
    /// Which level a bar reaches first when it reaches both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["stop_first", "target_first", "nearest_open"]))]
    pub intrabar: Option<String>,
    /// Sampling of the return series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["daily", "bar"]))]
    pub returns: Option<String>,
}

/// The section `evidence`, written by `promote`: the backtest that this bot rests on. Not to be edited: `digest` covers it
/// together with the strategy and its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Sweep that the row is of.
    pub sweep_id: String,
    /// Number of the combination in the sweep's grid.
    pub row: u64,
    /// Engine version that computed and recomputed the row.
    pub engine_version: String,
    /// Digest of the sweep's strategy, grid included.
    #[schemars(schema_with = "schema::digest")]
    pub sweep_strategy_digest: String,
    /// When it was promoted, UTC milliseconds.
    pub promoted_ms: i64,
    /// What the backtest said, per symbol.
    pub symbols: BTreeMap<String, SymbolEvidence>,
    /// The thresholds that were applied.
    pub thresholds: BTreeMap<String, f64>,
    /// Thresholds that were missed, in words; empty unless forced.
    #[serde(default)]
    pub missed: Vec<String>,
    /// Why it was promoted all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced_because: Option<String>,
    /// Digest of this section, the section `strategy` and the promoted symbols.
    #[schemars(schema_with = "schema::digest")]
    pub digest: String,
}

/// A symbol's backtest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SymbolEvidence {
    /// Digest of the bars.
    #[schemars(schema_with = "schema::digest")]
    pub bars_digest: String,
    /// How many bars.
    pub bars: u64,
    /// Open time of the first, UTC milliseconds.
    pub first_open_ms: i64,
    /// Open time of the last, UTC milliseconds.
    pub last_open_ms: i64,
    /// Trials of the sweep on this symbol that have a Sharpe ratio.
    pub trials: u64,
    /// Metrics of the row, by the result table's names; undefined ones are left out.
    pub metrics: BTreeMap<String, f64>,
}
