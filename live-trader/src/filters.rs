//! An exchange's rules for one pair, and the only places where a price or a quantity is rounded.
//!
//! A bound or a step of 0 switches its check off, as the exchange defines it. Rounding never enlarges a quantity. What is
//! checked here is checked again by the exchange; here it saves an order that would come back refused.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::order::{OrderKind, OrderSide};
use crate::symbol::Symbol;

/// Whether a pair can be traded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SymbolStatus {
    /// Orders of every kind.
    Trading,
    /// Cancels only.
    CancelOnly,
    /// Nothing matches: halted, on a break, at the end of its day, or a status that this program does not know.
    #[serde(other)]
    Halted,
}

/// Lower and upper bound and the grid between them; 0 switches each off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub struct Grid {
    pub min: Decimal,
    pub max: Decimal,
    pub step: Decimal,
}

impl Grid {
    /// The largest grid point not above `value`; `value` itself without a step. Bounds are not applied.
    pub fn floor(&self, value: Decimal) -> Decimal {
        if self.step.is_zero() { value } else { (value / self.step).floor() * self.step }
    }

    /// The smallest grid point not below `value`; `value` itself without a step. Bounds are not applied.
    pub fn ceil(&self, value: Decimal) -> Decimal {
        if self.step.is_zero() { value } else { (value / self.step).ceil() * self.step }
    }

    fn check(&self, filter: &'static str, value: Decimal) -> Result<(), FilterFailure> {
        let fails = |limit| Err(FilterFailure { filter, value, limit });
        if !self.min.is_zero() && value < self.min {
            return fails(self.min);
        }
        if !self.max.is_zero() && value > self.max {
            return fails(self.max);
        }
        if !self.step.is_zero() && !(value % self.step).is_zero() {
            return fails(self.step);
        }
        Ok(())
    }
}

/// Factors of the reference price between which limit prices must lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub struct PercentPrice {
    pub bid_up: Decimal,
    pub bid_down: Decimal,
    pub ask_up: Decimal,
    pub ask_down: Decimal,
}

/// Bounds of price times quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub struct NotionalBounds {
    pub min: Decimal,
    /// Whether `min` binds market orders.
    pub min_to_market: bool,
    pub max: Option<Decimal>,
    /// Whether `max` binds market orders.
    pub max_to_market: bool,
}

/// A pair's rules, from the exchange's `exchangeInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolRules {
    /// The pair.
    pub symbol: Symbol,
    /// What is bought.
    pub base_asset: String,
    /// What it is paid with.
    pub quote_asset: String,
    /// Whether it can be traded now.
    pub status: SymbolStatus,
    /// Whether orders can be sized in quote currency.
    pub quote_quantity_allowed: bool,
    /// Whether a pair of orders can cancel each other.
    pub oco_allowed: bool,
    /// Whether an order can bring others live.
    pub oto_allowed: bool,
    /// Prices (`PRICE_FILTER`).
    pub price: Grid,
    /// Quantities (`LOT_SIZE`); bound market orders too.
    pub lot: Grid,
    /// Quantities of market orders (`MARKET_LOT_SIZE`), on top of `lot`.
    pub market_lot: Grid,
    /// Distance from the reference price (`PERCENT_PRICE_BY_SIDE`, or `PERCENT_PRICE` for both sides).
    pub percent_price: Option<PercentPrice>,
    /// Notional (`NOTIONAL`, or `MIN_NOTIONAL`).
    pub notional: Option<NotionalBounds>,
    /// Open orders, list legs included (`MAX_NUM_ORDERS`).
    pub max_orders: Option<u32>,
    /// Open stop and take-profit orders (`MAX_NUM_ALGO_ORDERS`).
    pub max_algo_orders: Option<u32>,
    /// Open lists (`MAX_NUM_ORDER_LISTS`).
    pub max_order_lists: Option<u32>,
    /// Base units held and on order to buy (`MAX_POSITION`).
    pub max_position: Option<Decimal>,
}

/// A filter that an order would fail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter {filter}: {value} against a limit of {limit}")]
pub struct FilterFailure {
    /// The exchange's name of the filter.
    pub filter: &'static str,
    /// The order's value.
    pub value: Decimal,
    /// The bound or the step that it breaks.
    pub limit: Decimal,
}

impl SymbolRules {
    /// `quantity` rounded down so that an order of `kind` accepts it; 0 if nothing is left. Minimum and notional are not
    /// applied: [`SymbolRules::check`] does.
    pub fn floor_quantity(&self, kind: &OrderKind, quantity: Decimal) -> Decimal {
        let lot = self.lot.floor(quantity);
        let is_market =
            matches!(kind, OrderKind::Market | OrderKind::StopLoss { .. } | OrderKind::TakeProfit { .. });
        let floored = if is_market { self.lot.floor(self.market_lot.floor(lot)) } else { lot };
        let capped = if self.lot.max.is_zero() { floored } else { floored.min(self.lot.max) };
        match is_market && !self.market_lot.max.is_zero() {
            true => capped.min(self.lot.floor(self.market_lot.max)),
            false => capped,
        }
    }

    /// Checks price, quantity and notional of an order with a base quantity. `reference` is the price that stands in for a
    /// market order's: the exchange's reference or average price, or the last one.
    ///
    /// # Errors
    /// The first filter that fails, in the exchange's order.
    pub fn check(
        &self,
        side: OrderSide,
        kind: &OrderKind,
        quantity: Decimal,
        reference: Decimal,
    ) -> Result<(), FilterFailure> {
        for price in [kind.price(), kind.stop_price()].into_iter().flatten() {
            self.price.check("PRICE_FILTER", price)?;
        }
        if let (Some(price), Some(percent)) = (kind.price(), &self.percent_price) {
            self.check_distance(side, price, reference, percent)?;
        }
        self.lot.check("LOT_SIZE", quantity)?;
        let is_market = kind.price().is_none();
        if matches!(kind, OrderKind::Market) {
            self.market_lot.check("MARKET_LOT_SIZE", quantity)?;
        }
        let Some(bounds) = &self.notional else {
            return Ok(());
        };
        let notional = kind.price().or(kind.stop_price()).unwrap_or(reference) * quantity;
        if (!is_market || bounds.min_to_market) && notional < bounds.min {
            return Err(FilterFailure { filter: "NOTIONAL", value: notional, limit: bounds.min });
        }
        match bounds.max {
            Some(max) if (!is_market || bounds.max_to_market) && notional > max => {
                Err(FilterFailure { filter: "NOTIONAL", value: notional, limit: max })
            }
            _ => Ok(()),
        }
    }

    fn check_distance(
        &self,
        side: OrderSide,
        price: Decimal,
        reference: Decimal,
        percent: &PercentPrice,
    ) -> Result<(), FilterFailure> {
        let (down, up) = match side {
            OrderSide::Buy => (percent.bid_down, percent.bid_up),
            OrderSide::Sell => (percent.ask_down, percent.ask_up),
        };
        for (limit, is_broken) in
            [(reference * down, price < reference * down), (reference * up, price > reference * up)]
        {
            if is_broken {
                return Err(FilterFailure { filter: "PERCENT_PRICE_BY_SIDE", value: price, limit });
            }
        }
        Ok(())
    }
}
