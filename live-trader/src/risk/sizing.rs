//! How much to buy: the size rules of a strategy in decimals, for spot.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::filters::{FilterFailure, SymbolRules, SymbolStatus};
use crate::order::{OrderKind, OrderSide};

/// A strategy's size rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sizing {
    /// A fraction of equity, at most 1.
    Equity(Decimal),
    /// An amount of quote currency.
    Quote(Decimal),
    /// The fraction of equity that is lost if the stop fills at its level.
    Risk(Decimal),
}

/// What a size depends on.
#[derive(Debug, Clone, Copy)]
pub struct SizingInput<'a> {
    /// The pair's equity, quote currency.
    pub equity: Decimal,
    /// Quote currency that can be spent.
    pub free_quote: Decimal,
    /// The price it is expected to fill at.
    pub price: Decimal,
    /// Fee rate, a fraction.
    pub fee: Decimal,
    /// The stop's distance as a fraction of the entry price; [`Sizing::Risk`] needs it.
    pub stop: Option<Decimal>,
    /// How much dearer than `price` the fill may be, basis points: the order is affordable even then.
    pub collar_bps: Decimal,
    /// Type of the order.
    pub kind: &'a OrderKind,
    /// The pair's rules.
    pub rules: &'a SymbolRules,
}

/// Why nothing is bought.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSize {
    /// The pair does not trade.
    #[error("the pair is not trading")]
    NotTrading,
    /// Size by risk without a stop.
    #[error("size by risk needs a stop_loss")]
    RiskWithoutStop,
    /// A number that sizes nothing.
    #[error("{what} is {value}, which gives no size")]
    Nothing {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: Decimal,
    },
    /// Less than the exchange takes.
    #[error(transparent)]
    Filter(#[from] FilterFailure),
}

/// The quantity of a purchase in base units, on the exchange's grid: by the rule of the strategy, at most what the equity
/// buys, at most what the free quote currency buys at the far end of the collar.
///
/// # Errors
/// [`NoSize`].
pub fn size(sizing: Sizing, input: &SizingInput<'_>) -> Result<Decimal, NoSize> {
    if input.rules.status != SymbolStatus::Trading {
        return Err(NoSize::NotTrading);
    }
    let amounts =
        [("equity", input.equity), ("free quote currency", input.free_quote), ("price", input.price)];
    if let Some((what, value)) = amounts.into_iter().find(|(_, value)| *value <= Decimal::ZERO) {
        return Err(NoSize::Nothing { what, value });
    }
    let unit_cost = times(input.price, Decimal::ONE + input.fee);
    let collar = Decimal::ONE + input.collar_bps / Decimal::from(10_000);
    let wanted = match sizing {
        Sizing::Equity(fraction) => over(times(fraction, input.equity), unit_cost),
        Sizing::Quote(amount) => over(amount, unit_cost),
        Sizing::Risk(risk) => {
            let stop = input.stop.filter(|stop| *stop > Decimal::ZERO).ok_or(NoSize::RiskWithoutStop)?;
            over(times(risk, input.equity), times(input.price, stop))
        }
    };
    let affordable = over(input.free_quote, times(unit_cost, collar));
    let quantity = wanted.min(over(input.equity, unit_cost)).min(affordable);
    if quantity <= Decimal::ZERO {
        return Err(NoSize::Nothing { what: "the size", value: quantity });
    }
    let floored = input.rules.floor_quantity(input.kind, quantity);
    if floored.is_zero() {
        return Err(FilterFailure { filter: "LOT_SIZE", value: quantity, limit: input.rules.lot.step }.into());
    }
    input.rules.check(OrderSide::Buy, input.kind, floored, input.price)?;
    Ok(floored)
}

/// A product; what is too large for a decimal is as large as one gets.
fn times(a: Decimal, b: Decimal) -> Decimal {
    a.checked_mul(b).unwrap_or(Decimal::MAX)
}

/// A quotient; 0 where there is none.
fn over(a: Decimal, b: Decimal) -> Decimal {
    a.checked_div(b).unwrap_or_default()
}
