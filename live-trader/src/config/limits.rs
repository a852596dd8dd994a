//! The section `risk`: limits that the risk gate enforces, and protections that pause entries after bad luck.
//!
//! Names, units, defaults and spelling are those of the risk gate's own types: a value of one reads as a value of the other.

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::schema::decimal;

/// The section `risk`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Risk {
    /// What no order may break.
    #[serde(flatten)]
    pub limits: Limits,
    /// Rules that hold entries back after closed trades, each with its own memory.
    #[serde(default)]
    pub protections: Vec<Protection>,
}

/// Limits; an order that would break one is not sent. `null` switches a limit off; one that is not there has its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Limits {
    /// Loss of the UTC day, as a share of the day's opening equity, at which no position is opened until 00:00 UTC.
    #[schemars(schema_with = "share")]
    pub max_daily_loss: Option<Decimal>,
    /// The same as an amount of quote currency.
    #[schemars(schema_with = "amount")]
    pub max_daily_loss_quote: Option<Decimal>,
    /// Fall of the equity from its peak, as a share of the peak, at which no position is opened until an operator resumes.
    #[schemars(schema_with = "share")]
    pub max_drawdown: Option<Decimal>,
    /// Value of one symbol's position after the order, in quote currency.
    #[schemars(schema_with = "amount")]
    pub max_position_notional: Option<Decimal>,
    /// Value of all positions after the order, in quote currency.
    #[schemars(schema_with = "amount")]
    pub max_total_notional: Option<Decimal>,
    /// Symbols with a position or an entry on its way, after the order.
    #[schemars(schema_with = "count")]
    pub max_open_positions: Option<Decimal>,
    /// Value of one order, in quote currency.
    #[schemars(schema_with = "amount")]
    pub max_order_notional: Option<Decimal>,
    /// Distance of an order's price from the last close, and from the best price it meets where a quote is there, in hundredths of a percent.
    #[schemars(schema_with = "above_zero")]
    pub price_collar_bps: Option<Decimal>,
    /// Orders within any 60 seconds. Exits and protection count and are never held back.
    #[schemars(schema_with = "count")]
    pub max_orders_per_minute: Option<Decimal>,
    /// Orders of the UTC day. Exits and protection count and are never held back.
    #[schemars(schema_with = "count")]
    pub max_orders_per_day: Option<Decimal>,
    /// Age of the newest price at which it is no longer one to open a position on, in milliseconds.
    #[schemars(schema_with = "above_zero")]
    pub max_quote_age_ms: Option<Decimal>,
    /// Quote currency that an order leaves free.
    #[schemars(schema_with = "amount")]
    pub min_free_quote: Option<Decimal>,
}

impl Default for Limits {
    fn default() -> Limits {
        let value = |text: &str| text.parse().ok();
        Limits {
            max_daily_loss: value("0.05"),
            max_daily_loss_quote: None,
            max_drawdown: value("0.2"),
            max_position_notional: None,
            max_total_notional: None,
            max_open_positions: value("10"),
            max_order_notional: None,
            price_collar_bps: value("100"),
            max_orders_per_minute: value("60"),
            max_orders_per_day: value("5000"),
            max_quote_age_ms: value("10000"),
            min_free_quote: value("0"),
        }
    }
}

fn share(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["number", "string", "null"], "format": "decimal", "exclusiveMinimum": 0, "maximum": 1 })
}

fn amount(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["number", "string", "null"], "format": "decimal", "minimum": 0 })
}

fn count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["integer", "null"], "minimum": 0 })
}

fn above_zero(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["number", "string", "null"], "format": "decimal", "exclusiveMinimum": 0 })
}

/// A length of time: `{minutes: 60}` or `{bars: 4}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// Minutes.
    Minutes(u32),
    /// Bars of the bot.
    Bars(u32),
}

/// A rule that holds entries back. Names and meanings are freqtrade's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method")]
pub enum Protection {
    /// After a trade of a symbol, the symbol is not entered for `stop_duration`.
    CooldownPeriod {
        /// How long, from the trade's last sell on.
        stop_duration: Span,
    },
    /// After `trade_limit` losing trades ended by stops within `lookback`, nothing is entered for `stop_duration`.
    StoplossGuard {
        /// How far back trades are looked at.
        lookback: Span,
        /// How many stopped trades set it off.
        #[schemars(range(min = 1))]
        trade_limit: u32,
        /// How long, from the newest trade's last sell on.
        stop_duration: Span,
        /// Trades that returned less than this count, a fraction.
        #[serde(default)]
        #[schemars(schema_with = "decimal")]
        required_profit: Decimal,
        /// Whether stops are counted, and entries held back, symbol by symbol.
        #[serde(default)]
        only_per_pair: bool,
    },
    /// After trades within `lookback` that drew the equity down by `max_allowed_drawdown`, nothing is entered for
    /// `stop_duration`.
    MaxDrawdown {
        /// How far back trades are looked at.
        lookback: Span,
        /// How many trades there must be.
        #[schemars(range(min = 1))]
        trade_limit: u32,
        /// How long, from the newest trade's last sell on.
        stop_duration: Span,
        /// The drawdown that sets it off, a fraction.
        #[schemars(schema_with = "super::schema::fraction")]
        max_allowed_drawdown: Decimal,
    },
    /// After `trade_limit` trades of a symbol within `lookback` that returned less than `required_profit` together, the symbol is
    /// not entered for `stop_duration`.
    LowProfitPairs {
        /// How far back trades are looked at.
        lookback: Span,
        /// How many trades of the symbol there must be.
        #[schemars(range(min = 1))]
        trade_limit: u32,
        /// How long, from the newest trade's last sell on.
        stop_duration: Span,
        /// Sum of the trades' returns below which it is set off, a fraction.
        #[serde(default)]
        #[schemars(schema_with = "decimal")]
        required_profit: Decimal,
    },
}
