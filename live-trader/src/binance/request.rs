//! Commands and questions as requests: path, method, parameters, weight, and who comes first.
//!
//! One table of what is asked serves both transports; they differ in how it is signed and framed.

use std::borrow::Cow;
use std::time::Instant;

use rust_decimal::Decimal;

use super::budget::{Cost, Priority};
use super::metrics::EndpointClass;
use super::sign::Params;
use crate::client_id::Intent;
use crate::order::{Bracket, Leg, NewList, NewOrder, OrderKind, OrderSide, Quantity, TimeInForce};
use crate::symbol::Symbol;
use crate::venue::Command;

/// Most fills that a page of `myTrades` holds, and most bars that a page of `klines` holds.
pub(crate) const PAGE: usize = 1_000;

/// How a request travels over REST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Delete,
}

/// Something to ask of the exchange, not signed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    /// Path under the REST base.
    pub(crate) path: &'static str,
    /// Method of the WebSocket API.
    pub(crate) method: &'static str,
    pub(crate) params: Params,
    pub(crate) cost: Cost,
    pub(crate) priority: Priority,
    pub(crate) class: EndpointClass,
    pub(crate) is_signed: bool,
    /// When that arrived which it follows from.
    pub(crate) since: Option<Instant>,
}

impl Request {
    /// Whether a repetition could do harm.
    pub(crate) fn changes_orders(&self) -> bool {
        self.class == EndpointClass::Orders
    }

    fn data(path: &'static str, method: &'static str, weight: u32, params: Params) -> Request {
        Request {
            verb: Verb::Get,
            path,
            method,
            params,
            cost: Cost { weight, orders: 0 },
            priority: Priority::Data,
            class: EndpointClass::Data,
            is_signed: false,
            since: None,
        }
    }

    fn account(path: &'static str, method: &'static str, weight: u32, params: Params) -> Request {
        Request {
            priority: Priority::Lookup,
            class: EndpointClass::Account,
            is_signed: true,
            ..Request::data(path, method, weight, params)
        }
    }

    fn cancel(path: &'static str, method: &'static str, params: Params) -> Request {
        Request {
            verb: Verb::Delete,
            class: EndpointClass::Orders,
            ..Request::account(path, method, 1, params)
        }
    }

    fn place(
        path: &'static str,
        method: &'static str,
        orders: u32,
        intent: Option<Intent>,
        params: Params,
    ) -> Request {
        let priority = match intent {
            Some(Intent::Entry) | None => Priority::Entry,
            Some(
                Intent::Exit
                | Intent::Stop
                | Intent::Target
                | Intent::Protection
                | Intent::Flatten
                | Intent::Cancel,
            ) => Priority::Protection,
        };
        Request {
            verb: Verb::Post,
            cost: Cost { weight: 1, orders },
            priority,
            class: EndpointClass::Orders,
            is_signed: true,
            ..Request::data(path, method, 1, params)
        }
    }

    /// The exchange's time.
    pub(crate) fn server_time() -> Request {
        // Without it no order can be signed.
        Request { priority: Priority::Lookup, ..Request::data("/api/v3/time", "time", 1, Params::default()) }
    }

    /// Limits and rules of all pairs.
    pub(crate) fn exchange_info() -> Request {
        let params = Params::default().text("showPermissionSets", "false");
        Request::data("/api/v3/exchangeInfo", "exchangeInfo", 20, params)
    }

    /// The last price of a pair.
    pub(crate) fn price(symbol: &Symbol) -> Request {
        Request::data(
            "/api/v3/ticker/price",
            "ticker.price",
            2,
            Params::default().text("symbol", symbol.as_str()),
        )
    }

    /// Statistics of the last day, of all pairs that trade.
    pub(crate) fn day_statistics() -> Request {
        Request::data("/api/v3/ticker/24hr", "ticker.24hr", 80, Params::default())
    }

    /// A page of bars that open between two times, both inclusive.
    pub(crate) fn klines(symbol: &Symbol, interval: &str, from_ms: i64, to_ms: Option<i64>) -> Request {
        let params = Params::default()
            .text("symbol", symbol.as_str())
            .text("interval", interval)
            .number("startTime", from_ms)
            .optional("endTime", to_ms)
            .number("limit", PAGE as i64);
        Request::data("/api/v3/klines", "klines", 2, params)
    }

    /// What the key may do. Not part of the WebSocket API: to be asked before a session is up.
    pub(crate) fn key_restrictions() -> Request {
        Request::account("/sapi/v1/account/apiRestrictions", "", 1, Params::default())
    }

    /// A page of fills from a trade id on.
    pub(crate) fn trades_from(symbol: &Symbol, from_id: i64) -> Request {
        let params = Params::default()
            .text("symbol", symbol.as_str())
            .number("fromId", from_id)
            .number("limit", PAGE as i64);
        Request::account("/api/v3/myTrades", "myTrades", 20, params)
    }

    /// A page of fills between two times at most 24 hours apart, both inclusive.
    pub(crate) fn trades_between(symbol: &Symbol, from_ms: i64, to_ms: i64) -> Request {
        let params = Params::default()
            .text("symbol", symbol.as_str())
            .number("startTime", from_ms)
            .number("endTime", to_ms)
            .number("limit", PAGE as i64);
        Request::account("/api/v3/myTrades", "myTrades", 20, params)
    }

    /// The request of a command; `None` for [`Command::Fills`], which takes several.
    pub(crate) fn of(command: &Command) -> Option<Request> {
        Some(match command {
            Command::Place(order) => {
                let intent = order.client_id.intent();
                Request::place("/api/v3/order", "order.place", 1, intent, order_params(order))
            }
            Command::PlaceList(list) => list_request(list),
            Command::Cancel { symbol, target, cancel_id } => {
                let params = Params::default()
                    .text("symbol", symbol.as_str())
                    .text("origClientOrderId", target.as_str())
                    .text("newClientOrderId", cancel_id.as_str());
                Request::cancel("/api/v3/order", "order.cancel", params)
            }
            Command::CancelList { symbol, list_id, cancel_id } => {
                let params = Params::default()
                    .text("symbol", symbol.as_str())
                    .text("listClientOrderId", list_id.as_str())
                    .text("newClientOrderId", cancel_id.as_str());
                Request::cancel("/api/v3/orderList", "orderList.cancel", params)
            }
            Command::QueryOrder { symbol, client_id } => {
                let params = Params::default()
                    .text("symbol", symbol.as_str())
                    .text("origClientOrderId", client_id.as_str());
                Request::account("/api/v3/order", "order.status", 4, params)
            }
            Command::QueryList { list_id, .. } => {
                let params = Params::default().text("origClientOrderId", list_id.as_str());
                Request::account("/api/v3/orderList", "orderList.status", 4, params)
            }
            Command::OpenOrders { symbol: Some(symbol) } => {
                let params = Params::default().text("symbol", symbol.as_str());
                Request::account("/api/v3/openOrders", "openOrders.status", 6, params)
            }
            Command::OpenOrders { symbol: None } => {
                Request::account("/api/v3/openOrders", "openOrders.status", 80, Params::default())
            }
            Command::Account => {
                // A boolean travels as a word over REST; the WebSocket API wants it bare, so neither gets it: zeros are
                // left out on reading.
                Request::account("/api/v3/account", "account.status", 20, Params::default())
            }
            Command::Fills { .. } => return None,
        })
    }
}

fn side(side: OrderSide) -> &'static str {
    match side {
        OrderSide::Buy => "BUY",
        OrderSide::Sell => "SELL",
    }
}

/// The exchange's name of a type.
fn kind_name(kind: &OrderKind) -> &'static str {
    match kind {
        OrderKind::Market => "MARKET",
        OrderKind::Limit { .. } => "LIMIT",
        OrderKind::LimitMaker { .. } => "LIMIT_MAKER",
        OrderKind::StopLoss { .. } => "STOP_LOSS",
        OrderKind::StopLossLimit { .. } => "STOP_LOSS_LIMIT",
        OrderKind::TakeProfit { .. } => "TAKE_PROFIT",
        OrderKind::TakeProfitLimit { .. } => "TAKE_PROFIT_LIMIT",
    }
}

fn time_in_force(kind: &OrderKind) -> Option<&'static str> {
    match kind {
        OrderKind::Limit { time_in_force, .. }
        | OrderKind::StopLossLimit { time_in_force, .. }
        | OrderKind::TakeProfitLimit { time_in_force, .. } => Some(match time_in_force {
            TimeInForce::Gtc => "GTC",
            TimeInForce::Ioc => "IOC",
            TimeInForce::Fok => "FOK",
        }),
        OrderKind::Market
        | OrderKind::LimitMaker { .. }
        | OrderKind::StopLoss { .. }
        | OrderKind::TakeProfit { .. } => None,
    }
}

/// Type, prices and time in force under names that begin with `prefix` (`above`, `pendingBelow`, or nothing).
fn kind_params(params: Params, prefix: &str, kind: &OrderKind) -> Params {
    let name = |word: &'static str| match prefix {
        "" => Cow::Borrowed(word),
        prefix => {
            let (first, rest) = word.split_at(1);
            Cow::Owned(format!("{prefix}{}{rest}", first.to_uppercase()))
        }
    };
    let mut params = params.text(name("type"), kind_name(kind));
    if let Some(time_in_force) = time_in_force(kind) {
        params = params.text(name("timeInForce"), time_in_force);
    }
    for (word, price) in [("price", kind.price()), ("stopPrice", kind.stop_price())] {
        if let Some(price) = price {
            params = params.decimal(name(word), price);
        }
    }
    params
}

fn order_params(order: &NewOrder) -> Params {
    let params = Params::default().text("symbol", order.symbol.as_str()).text("side", side(order.side));
    let params = kind_params(params, "", &order.kind);
    let params = match order.quantity {
        Quantity::Base(quantity) => params.decimal("quantity", quantity),
        Quantity::Quote(amount) => params.decimal("quoteOrderQty", amount),
    };
    params.text("newClientOrderId", order.client_id.as_str()).text("newOrderRespType", "FULL")
}

fn leg_params(params: Params, prefix: &str, leg: &Leg) -> Params {
    kind_params(params, prefix, &leg.kind).text(format!("{prefix}ClientOrderId"), leg.client_id.as_str())
}

/// An order of a list under names that begin with `prefix`.
fn member_params(params: Params, prefix: &str, order: &NewOrder) -> Params {
    let quantity = match order.quantity {
        Quantity::Base(quantity) => quantity,
        // Lists take base quantities only; 0 is refused by the exchange's filters.
        Quantity::Quote(_) => Decimal::ZERO,
    };
    kind_params(params, prefix, &order.kind)
        .text(format!("{prefix}Side"), side(order.side))
        .decimal(format!("{prefix}Quantity"), quantity)
        .text(format!("{prefix}ClientOrderId"), order.client_id.as_str())
}

fn bracket_params(params: Params, above: &str, below: &str, bracket: &Bracket) -> Params {
    leg_params(leg_params(params, above, &bracket.above), below, &bracket.below)
}

fn list_request(list: &NewList) -> Request {
    let params = Params::default()
        .text("symbol", list.symbol().as_str())
        .text("listClientOrderId", list.list_id().as_str())
        .text("newOrderRespType", "FULL");
    match list {
        NewList::Oco { list_id, bracket, .. } => {
            let params = params.text("side", side(bracket.side)).decimal("quantity", bracket.quantity);
            let params = bracket_params(params, "above", "below", bracket);
            Request::place("/api/v3/orderList/oco", "orderList.place.oco", 2, list_id.intent(), params)
        }
        NewList::Oto { working, pending, .. } => {
            let params = member_params(member_params(params, "working", working), "pending", pending);
            let intent = working.client_id.intent();
            Request::place("/api/v3/orderList/oto", "orderList.place.oto", 2, intent, params)
        }
        NewList::Otoco { working, bracket, .. } => {
            let params = member_params(params, "working", working)
                .text("pendingSide", side(bracket.side))
                .decimal("pendingQuantity", bracket.quantity);
            let params = bracket_params(params, "pendingAbove", "pendingBelow", bracket);
            let intent = working.client_id.intent();
            Request::place("/api/v3/orderList/otoco", "orderList.place.otoco", 3, intent, params)
        }
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
