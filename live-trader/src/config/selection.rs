//! The section `selection`: which symbols are traded when none are named.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{amount, amount_or_zero};

/// The section `selection`. A filter that is absent lets every symbol through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SelectionConfig {
    /// Most symbols at the same time; the ones of the largest volume are taken.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_symbols: u32,
    /// Smallest volume of the last 24 hours, in quote currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub min_quote_volume_24h: Option<Decimal>,
    /// Largest distance of best bid and ask, in hundredths of a percent of their middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub max_spread_bps: Option<Decimal>,
    /// Fewest days since the first bar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_age_days: Option<u32>,
    /// Smallest volatility: standard deviation of the daily log returns of the last `volatility_days`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount_or_zero")]
    pub min_volatility: Option<Decimal>,
    /// Largest volatility.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount_or_zero")]
    pub max_volatility: Option<Decimal>,
    /// Days over which the volatility is measured.
    #[schemars(range(min = 2, max = 365))]
    pub volatility_days: u32,
    /// Largest minimum order, in quote currency: symbols whose smallest order is larger are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub max_min_notional: Option<Decimal>,
    /// Symbols, or beginnings and ends of names with `*`, that are never taken.
    pub blacklist: Vec<String>,
    /// If not empty, only these, or those that match.
    pub whitelist: Vec<String>,
    /// Seconds between two looks at the market.
    #[schemars(range(min = 60, max = 604_800))]
    pub refresh_s: u32,
}

impl Default for SelectionConfig {
    fn default() -> Self {
        SelectionConfig {
            max_symbols: 20,
            min_quote_volume_24h: None,
            max_spread_bps: None,
            min_age_days: None,
            min_volatility: None,
            max_volatility: None,
            volatility_days: 30,
            max_min_notional: None,
            blacklist: Vec::new(),
            whitelist: Vec::new(),
            refresh_s: 3_600,
        }
    }
}
