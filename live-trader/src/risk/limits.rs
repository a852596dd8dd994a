//! The table of limits: the struct, its names in a bot's file, units, defaults and descriptions come from one definition.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// Unit of a limit, and with it the values it can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A fraction, above 0 and at most 1.
    Fraction,
    /// Quote currency, at least 0.
    Quote,
    /// A whole number, at least 0.
    Count,
    /// Hundredths of a percent, above 0.
    Bps,
    /// Milliseconds, above 0.
    Milliseconds,
}

impl Unit {
    fn accepts(self, value: Decimal) -> bool {
        match self {
            Unit::Fraction => value > Decimal::ZERO && value <= Decimal::ONE,
            Unit::Quote => value >= Decimal::ZERO,
            Unit::Count => value >= Decimal::ZERO && value.fract().is_zero(),
            Unit::Bps | Unit::Milliseconds => value > Decimal::ZERO,
        }
    }

    /// The values it can have, in words.
    pub fn domain(self) -> &'static str {
        match self {
            Unit::Fraction => "a fraction above 0 and at most 1",
            Unit::Quote => "an amount of quote currency, at least 0",
            Unit::Count => "a whole number, at least 0",
            Unit::Bps => "basis points, above 0",
            Unit::Milliseconds => "milliseconds, above 0",
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Its name in a bot's file.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// Its value where a file has none; `None`: no limit.
    pub default: Option<&'static str>,
    /// What it means.
    pub doc: &'static str,
}

/// A limit with a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("risk.{name}: {value} is not {domain}; write null to switch the limit off")]
pub struct LimitError {
    /// The limit.
    pub name: &'static str,
    /// Its value.
    pub value: Decimal,
    /// What it can be.
    pub domain: &'static str,
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $unit:ident = $default:expr;)+) => {
        /// The limits of a bot; `None` switches one off.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $name: Option<Decimal>,)+
        }

        /// All limits, in the order of a file.
        pub const LIMITS: &[Limit] = &[
            $(Limit {
                name: stringify!($name),
                unit: Unit::$unit,
                default: $default,
                doc: concat!($($doc),+),
            },)+
        ];

        impl Default for Limits {
            fn default() -> Limits {
                let value = |text: Option<&str>| text.and_then(|text| text.parse().ok());
                Limits { $($name: value($default),)+ }
            }
        }

        impl Limits {
            /// The limits' values, in the table's order.
            pub fn values(&self) -> Vec<Option<Decimal>> {
                vec![$(self.$name,)+]
            }
        }
    };
}

limits! {
    /// Loss of the UTC day, as a share of the day's opening equity, at which no position is opened until 00:00 UTC.
    max_daily_loss: Fraction = Some("0.05");
    /// The same as an amount.
    max_daily_loss_quote: Quote = None;
    /// Fall of the equity from its peak, as a share of the peak, at which no position is opened until an operator resumes.
    max_drawdown: Fraction = Some("0.2");
    /// Value of one pair's position after the order.
    max_position_notional: Quote = None;
    /// Value of all positions after the order.
    max_total_notional: Quote = None;
    /// Pairs with a position or an entry on its way, after the order.
    max_open_positions: Count = Some("10");
    /// Value of one order.
    max_order_notional: Quote = None;
    /// Distance of an order's price from the last close, and from the best price it meets where a quote is there.
    price_collar_bps: Bps = Some("100");
    /// Orders within any 60 seconds. Exits and protection count and are never held back.
    max_orders_per_minute: Count = Some("60");
    /// Orders of the UTC day. Exits and protection count and are never held back.
    max_orders_per_day: Count = Some("5000");
    /// Age of the newest price at which it is no longer one to open a position on.
    max_quote_age_ms: Milliseconds = Some("10000");
    /// Quote currency that an order leaves free.
    min_free_quote: Quote = Some("0");
}

impl Limits {
    /// Checks every value.
    ///
    /// # Errors
    /// All values out of their domains.
    pub fn validate(&self) -> Result<(), Vec<LimitError>> {
        let errors: Vec<_> = LIMITS
            .iter()
            .zip(self.values())
            .filter_map(|(limit, value)| {
                let value = value.filter(|value| !limit.unit.accepts(*value))?;
                Some(LimitError { name: limit.name, value, domain: limit.unit.domain() })
            })
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}
