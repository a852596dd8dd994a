//! Order lists: placed, cancelled, looked up.

use rust_decimal::Decimal;
use serde_json::Value;

use super::account::{page, span};
use super::orders::{client_id, detail, kind, prefixed, side};
use crate::client_id::ClientId;
use crate::exchange_sim::exchange::Exchange;
use crate::exchange_sim::params::Params;
use crate::exchange_sim::refusal::Refusal;
use crate::exchange_sim::render::orders::{self as render, Detail};
use crate::order::{Bracket, Leg, NewList, NewOrder, OrderSide, Quantity};
use crate::simulator::{OrderRef, Reject};
use crate::symbol::Symbol;

pub(in crate::exchange_sim) const OCO_PARAMS: &[&str] = &[
    "symbol",
    "listClientOrderId",
    "side",
    "quantity",
    "newOrderRespType",
    "selfTradePreventionMode",
    "aboveType",
    "aboveClientOrderId",
    "aboveIcebergQty",
    "abovePrice",
    "aboveStopPrice",
    "aboveTrailingDelta",
    "aboveTimeInForce",
    "aboveStrategyId",
    "aboveStrategyType",
    "belowType",
    "belowClientOrderId",
    "belowIcebergQty",
    "belowPrice",
    "belowStopPrice",
    "belowTrailingDelta",
    "belowTimeInForce",
    "belowStrategyId",
    "belowStrategyType",
];

pub(in crate::exchange_sim) const OTO_PARAMS: &[&str] = &[
    "symbol",
    "listClientOrderId",
    "newOrderRespType",
    "selfTradePreventionMode",
    "workingType",
    "workingSide",
    "workingClientOrderId",
    "workingPrice",
    "workingQuantity",
    "workingIcebergQty",
    "workingTimeInForce",
    "workingStrategyId",
    "workingStrategyType",
    "pendingType",
    "pendingSide",
    "pendingClientOrderId",
    "pendingPrice",
    "pendingStopPrice",
    "pendingTrailingDelta",
    "pendingQuantity",
    "pendingIcebergQty",
    "pendingTimeInForce",
    "pendingStrategyId",
    "pendingStrategyType",
];

pub(in crate::exchange_sim) const OTOCO_PARAMS: &[&str] = &[
    "symbol",
    "listClientOrderId",
    "newOrderRespType",
    "selfTradePreventionMode",
    "workingType",
    "workingSide",
    "workingClientOrderId",
    "workingPrice",
    "workingQuantity",
    "workingIcebergQty",
    "workingTimeInForce",
    "workingStrategyId",
    "workingStrategyType",
    "pendingSide",
    "pendingQuantity",
    "pendingAboveType",
    "pendingAboveClientOrderId",
    "pendingAbovePrice",
    "pendingAboveStopPrice",
    "pendingAboveTrailingDelta",
    "pendingAboveIcebergQty",
    "pendingAboveTimeInForce",
    "pendingAboveStrategyId",
    "pendingAboveStrategyType",
    "pendingBelowType",
    "pendingBelowClientOrderId",
    "pendingBelowPrice",
    "pendingBelowStopPrice",
    "pendingBelowTrailingDelta",
    "pendingBelowIcebergQty",
    "pendingBelowTimeInForce",
    "pendingBelowStrategyId",
    "pendingBelowStrategyType",
];

pub(in crate::exchange_sim) const CANCEL_PARAMS: &[&str] =
    &["symbol", "orderListId", "listClientOrderId", "newClientOrderId"];

fn leg(exchange: &mut Exchange, params: &Params, prefix: &str) -> Result<Leg, Refusal> {
    let kind = kind(params, prefix)?;
    Ok(Leg { client_id: client_id(exchange, params, &prefixed(prefix, "clientOrderId"))?, kind })
}

fn bracket(
    exchange: &mut Exchange,
    params: &Params,
    (side, quantity): (OrderSide, Decimal),
    (above, below): (&str, &str),
) -> Result<Bracket, Refusal> {
    let (above, below) = (leg(exchange, params, above)?, leg(exchange, params, below)?);
    Ok(Bracket { side, quantity, above, below })
}

/// The working or the single pending order of a list.
fn member(
    exchange: &mut Exchange,
    params: &Params,
    symbol: &Symbol,
    prefix: &str,
) -> Result<NewOrder, Refusal> {
    let Leg { client_id, kind } = leg(exchange, params, prefix)?;
    Ok(NewOrder {
        symbol: symbol.clone(),
        client_id,
        side: side(params, &prefixed(prefix, "side"))?,
        kind,
        quantity: Quantity::Base(params.amount(&prefixed(prefix, "quantity"))?),
    })
}

fn list_id(exchange: &mut Exchange, params: &Params) -> Result<ClientId, Refusal> {
    client_id(exchange, params, "listClientOrderId")
}

fn place(exchange: &mut Exchange, params: &Params, list: &NewList) -> Result<Value, Refusal> {
    let detail = detail(params, Detail::Result)?;
    let number = exchange.core.place_list(list, exchange.partial)?;
    let found = exchange.core.find_list(&OrderRef::Number(number)).ok_or_else(Reject::no_such_order)?;
    let answer = render::placed_list(&exchange.core, found, detail);
    let orders = found.orders.clone();
    exchange.note_placed(list.symbol(), &orders);
    Ok(answer)
}

pub(in crate::exchange_sim) fn oco(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let symbol = params.symbol()?;
    let sized = (side(params, "side")?, params.amount("quantity")?);
    let bracket = bracket(exchange, params, sized, ("above", "below"))?;
    let list_id = list_id(exchange, params)?;
    place(exchange, params, &NewList::Oco { symbol, list_id, bracket })
}

pub(in crate::exchange_sim) fn oto(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let symbol = params.symbol()?;
    let working = member(exchange, params, &symbol, "working")?;
    let pending = member(exchange, params, &symbol, "pending")?;
    let list_id = list_id(exchange, params)?;
    place(exchange, params, &NewList::Oto { symbol, list_id, working, pending })
}

pub(in crate::exchange_sim) fn otoco(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let symbol = params.symbol()?;
    let working = member(exchange, params, &symbol, "working")?;
    let sized = (side(params, "pendingSide")?, params.amount("pendingQuantity")?);
    let bracket = bracket(exchange, params, sized, ("pendingAbove", "pendingBelow"))?;
    let list_id = list_id(exchange, params)?;
    place(exchange, params, &NewList::Otoco { symbol, list_id, working, bracket })
}

/// The answer to the cancel of a list, by its number.
pub(super) fn canceled(exchange: &Exchange, number: i64, cancel_id: &ClientId) -> Result<Value, Refusal> {
    let list = exchange.core.find_list(&OrderRef::Number(number)).ok_or_else(Reject::no_such_order)?;
    Ok(render::canceled_list(&exchange.core, list, cancel_id))
}

pub(in crate::exchange_sim) fn cancel(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let symbol = params.symbol()?;
    let target = params.target("orderListId", "listClientOrderId")?;
    let cancel_id = client_id(exchange, params, "newClientOrderId")?;
    let number = exchange.core.cancel_list(&symbol, &target, &cancel_id)?;
    canceled(exchange, number, &cancel_id)
}

pub(in crate::exchange_sim) fn query(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let target = params.target("orderListId", "origClientOrderId")?;
    let list = exchange.core.find_list(&target);
    let is_lagging = |id: &i64| list.is_some_and(|list| exchange.is_lagging(&list.symbol, *id));
    let list = list.filter(|list| !list.orders.iter().any(is_lagging));
    let list = list.ok_or_else(|| Refusal::bad(-2018, "Order list does not exist."))?;
    Ok(render::list(&exchange.core, list, None))
}

pub(in crate::exchange_sim) fn open(exchange: &mut Exchange, _: &Params) -> Result<Value, Refusal> {
    let core = &exchange.core;
    Ok(core.all_lists().filter(|list| !list.is_done).map(|list| render::list(core, list, None)).collect())
}

pub(in crate::exchange_sim) fn all(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let from_id = params.integer("fromId")?;
    let span = span(params)?;
    let limit = params.limit(500, 1_000)?;
    let core = &exchange.core;
    let rows: Vec<Value> = core
        .all_lists()
        .filter(|list| from_id.is_none_or(|from| list.order_list_id >= from) && span.holds(list.updated_ms))
        .map(|list| render::list(core, list, None))
        .collect();
    Ok(page(rows, limit, from_id.is_some() || span.from_ms.is_some()))
}
