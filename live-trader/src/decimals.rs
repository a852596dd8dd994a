//! Numbers of the strategy and decimals of the exchange: both ways by their text, so that a price keeps its digits.

use rust_decimal::Decimal;

/// The decimal that is written as the shortest text of `value`; `None` where there is none.
pub(crate) fn decimal(value: f64) -> Option<Decimal> {
    format!("{value}").parse().ok()
}

/// The number whose shortest text `value` has; prices come from numbers and go back to the same bits.
pub(crate) fn number(value: Decimal) -> f64 {
    value.to_string().parse().unwrap_or(f64::NAN)
}
