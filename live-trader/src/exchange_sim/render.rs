//! What the exchange writes: the core's orders, events and bars in the wire's words.

pub(super) mod events;
pub(super) mod market;
pub(super) mod orders;

use rust_decimal::Decimal;

/// A decimal with eight places, more where the value has more: what was traded is told to the last digit.
pub(super) fn decimal(value: Decimal) -> String {
    const PLACES: u32 = 8;
    let value = value.normalize();
    if value.scale() <= PLACES { format!("{value:.8}") } else { value.to_string() }
}
