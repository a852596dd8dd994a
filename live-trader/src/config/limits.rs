//! The section `risk`: limits that the risk gate enforces, and protections that pause trading after bad luck.
//!
//! A limit that is absent is not checked. Money is in units of `capital.quote_asset`.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{amount, fraction};

/// The section `risk`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Risk {
    /// What no order may break.
    #[serde(flatten)]
    pub limits: Limits,
    /// Rules that pause entries after losses, each with its own memory.
    #[serde(default)]
    pub protections: Vec<Protection>,
}

/// Limits; an order that would break one is not sent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Loss since 00:00 UTC, realised and open, in quote currency, at which entries stop until the next day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub max_daily_loss: Option<Decimal>,
    /// Fraction lost from the highest equity since the bot began at which the kill switch is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fraction")]
    pub max_drawdown: Option<Decimal>,
    /// Largest position in one symbol, in quote currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub max_position_notional: Option<Decimal>,
    /// Largest sum of all positions, in quote currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub max_total_notional: Option<Decimal>,
    /// Most positions at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_open_positions: Option<u32>,
    /// Largest single order, in quote currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub max_order_notional: Option<Decimal>,
    /// Furthest that an order's price may lie from the best quote, in hundredths of a percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub price_collar_bps: Option<u32>,
    /// Most orders sent in any 60 seconds, cancels not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_orders_per_minute: Option<u32>,
    /// Most orders sent since 00:00 UTC, cancels not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_orders_per_day: Option<u32>,
    /// Oldest quote on which an entry may be sent, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_quote_age_ms: Option<u64>,
    /// Quote currency that an entry must leave free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub min_free_quote: Option<Decimal>,
}

/// A rule that pauses entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Protection {
    /// After every exit, the symbol waits.
    Cooldown {
        /// Closed bars to wait.
        #[schemars(range(min = 1))]
        pause_bars: u32,
    },
    /// After several stops within a time, entries wait.
    StopGuard {
        /// Bars to look back on.
        #[schemars(range(min = 1))]
        lookback_bars: u32,
        /// Stops among them that set it off.
        #[schemars(range(min = 1))]
        max_stops: u32,
        /// Closed bars to wait.
        #[schemars(range(min = 1))]
        pause_bars: u32,
        /// Whether stops are counted, and entries paused, per symbol; else for the whole bot.
        #[serde(default)]
        per_symbol: bool,
    },
    /// After a drawdown of closed trades within a time, all entries wait.
    Drawdown {
        /// Bars to look back on.
        #[schemars(range(min = 1))]
        lookback_bars: u32,
        /// Trades there must be among them.
        #[schemars(range(min = 1))]
        min_trades: u32,
        /// Fraction of equity lost from the best to the worst point that sets it off.
        #[schemars(schema_with = "fraction")]
        max_drawdown: Decimal,
        /// Closed bars to wait.
        #[schemars(range(min = 1))]
        pause_bars: u32,
    },
    /// After trades of a symbol that together earned too little, the symbol waits.
    LowProfit {
        /// Bars to look back on.
        #[schemars(range(min = 1))]
        lookback_bars: u32,
        /// Trades there must be among them.
        #[schemars(range(min = 1))]
        min_trades: u32,
        /// Sum of the trades' returns below which it is set off; may be negative.
        #[schemars(schema_with = "super::schema::decimal")]
        min_profit: Decimal,
        /// Closed bars to wait.
        #[schemars(range(min = 1))]
        pause_bars: u32,
    },
}
