//! Single orders: placed, tested, replaced, amended, cancelled, looked up.

use serde_json::{Value, json};

use super::account::{page, span};
use crate::client_id::ClientId;
use crate::exchange_sim::exchange::Exchange;
use crate::exchange_sim::params::Params;
use crate::exchange_sim::refusal::Refusal;
use crate::exchange_sim::render::orders::{self as render, Detail};
use crate::order::{NewOrder, OrderKind, OrderSide, Quantity, TimeInForce};
use crate::simulator::{CancelRestriction, Canceled, OrderRef};
use crate::symbol::Symbol;

pub(in crate::exchange_sim) const PARAMS: &[&str] = &[
    "symbol",
    "side",
    "type",
    "timeInForce",
    "quantity",
    "quoteOrderQty",
    "price",
    "newClientOrderId",
    "strategyId",
    "strategyType",
    "stopPrice",
    "trailingDelta",
    "icebergQty",
    "newOrderRespType",
    "selfTradePreventionMode",
    "pegPriceType",
    "pegOffsetType",
    "pegOffsetValue",
];

pub(in crate::exchange_sim) const REPLACE_PARAMS: &[&str] = &[
    "symbol",
    "side",
    "type",
    "timeInForce",
    "quantity",
    "quoteOrderQty",
    "price",
    "newClientOrderId",
    "strategyId",
    "strategyType",
    "stopPrice",
    "trailingDelta",
    "icebergQty",
    "newOrderRespType",
    "selfTradePreventionMode",
    "cancelReplaceMode",
    "cancelOrderId",
    "cancelOrigClientOrderId",
    "cancelNewClientOrderId",
    "cancelRestrictions",
    "orderRateLimitExceededMode",
];

pub(in crate::exchange_sim) const AMEND_PARAMS: &[&str] =
    &["symbol", "orderId", "origClientOrderId", "newQty", "newClientOrderId"];

/// Features that the core does not have, under their names without a prefix.
const MISSING: [&str; 5] = ["trailingDelta", "icebergQty", "pegPriceType", "pegOffsetType", "pegOffsetValue"];

/// `word` under the names of a list's orders: `price` of `pendingAbove` is `pendingAbovePrice`.
pub(super) fn prefixed(prefix: &str, word: &str) -> String {
    match (prefix, word.chars().next()) {
        ("", _) | (_, None) => word.to_owned(),
        (prefix, Some(first)) => {
            format!("{prefix}{}{}", first.to_uppercase(), word.get(first.len_utf8()..).unwrap_or_default())
        }
    }
}

pub(super) fn side(params: &Params, name: &str) -> Result<OrderSide, Refusal> {
    let words = [("BUY", OrderSide::Buy), ("SELL", OrderSide::Sell)];
    let side = params.word(name, &words, || Refusal::bad(-1117, "Invalid side."))?;
    side.ok_or_else(|| Refusal::missing(name))
}

/// Type and prices of an order whose parameters begin with `prefix`. Every type has exactly the prices that it needs.
pub(super) fn kind(params: &Params, prefix: &str) -> Result<OrderKind, Refusal> {
    for word in MISSING {
        if params.get(&prefixed(prefix, word)).is_some() {
            return Err(Refusal::combination());
        }
    }
    let name = params.text(&prefixed(prefix, "type"))?;
    let (has_price, has_stop, has_time) = match name {
        "MARKET" => (false, false, false),
        "LIMIT" => (true, false, true),
        "LIMIT_MAKER" => (true, false, false),
        "STOP_LOSS" | "TAKE_PROFIT" => (false, true, false),
        "STOP_LOSS_LIMIT" | "TAKE_PROFIT_LIMIT" => (true, true, true),
        _ => return Err(Refusal::bad(-1116, "Invalid orderType.")),
    };
    let given = |word: &str, is_needed: bool| {
        let name = prefixed(prefix, word);
        match (is_needed, params.get(&name)) {
            (true, None) => Err(Refusal::missing(&name)),
            (false, Some(_)) => Err(Refusal::not_required(&name)),
            _ => Ok(name),
        }
    };
    let price = params.decimal(&given("price", has_price)?)?.unwrap_or_default();
    let stop_price = params.decimal(&given("stopPrice", has_stop)?)?.unwrap_or_default();
    let words = [("GTC", TimeInForce::Gtc), ("IOC", TimeInForce::Ioc), ("FOK", TimeInForce::Fok)];
    let refusal = || Refusal::bad(-1115, "Invalid timeInForce.");
    let time_in_force = params.word(&given("timeInForce", has_time)?, &words, refusal)?;
    let time_in_force = time_in_force.unwrap_or(TimeInForce::Gtc);
    Ok(match name {
        "LIMIT" => OrderKind::Limit { price, time_in_force },
        "LIMIT_MAKER" => OrderKind::LimitMaker { price },
        "STOP_LOSS" => OrderKind::StopLoss { stop_price },
        "STOP_LOSS_LIMIT" => OrderKind::StopLossLimit { stop_price, price, time_in_force },
        "TAKE_PROFIT" => OrderKind::TakeProfit { stop_price },
        "TAKE_PROFIT_LIMIT" => OrderKind::TakeProfitLimit { stop_price, price, time_in_force },
        _ => OrderKind::Market,
    })
}

pub(super) fn client_id(exchange: &mut Exchange, params: &Params, name: &str) -> Result<ClientId, Refusal> {
    Ok(params.client_id(name)?.unwrap_or_else(|| exchange.core.generate_id()))
}

/// How much the answer says; without a wish, that of the type.
pub(super) fn detail(params: &Params, default: Detail) -> Result<Detail, Refusal> {
    let words = [("ACK", Detail::Ack), ("RESULT", Detail::Result), ("FULL", Detail::Full)];
    let name = "newOrderRespType";
    Ok(params.word(name, &words, || Refusal::not_valid(name))?.unwrap_or(default))
}

fn new_order(exchange: &mut Exchange, params: &Params) -> Result<(NewOrder, Detail), Refusal> {
    let (symbol, side, kind) = (params.symbol()?, side(params, "side")?, kind(params, "")?);
    let quantity = match (params.decimal("quantity")?, params.decimal("quoteOrderQty")?) {
        (Some(quantity), None) => Quantity::Base(quantity),
        (None, Some(amount)) if kind == OrderKind::Market => Quantity::Quote(amount),
        (_, Some(_)) if kind != OrderKind::Market => return Err(Refusal::not_required("quoteOrderQty")),
        (Some(_), Some(_)) => return Err(Refusal::not_required("quoteOrderQty")),
        (None, _) => return Err(Refusal::missing("quantity")),
    };
    let default = match kind {
        OrderKind::Market | OrderKind::Limit { .. } => Detail::Full,
        _ => Detail::Ack,
    };
    let detail = detail(params, default)?;
    let client_id = client_id(exchange, params, "newClientOrderId")?;
    Ok((NewOrder { symbol, client_id, side, kind, quantity }, detail))
}

pub(in crate::exchange_sim) fn place(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let (order, detail) = new_order(exchange, params)?;
    placed(exchange, &order, detail)
}

fn placed(exchange: &mut Exchange, order: &NewOrder, detail: Detail) -> Result<Value, Refusal> {
    let order_id = exchange.core.place(order, exchange.partial)?;
    exchange.note_placed(&order.symbol, &[order_id]);
    Ok(render::placed(exchange.core.order(&order.symbol, &OrderRef::Number(order_id))?, detail))
}

pub(in crate::exchange_sim) fn test(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let (order, _) = new_order(exchange, params)?;
    exchange.core.test(&order)?;
    if params.get("computeCommissionRates") != Some("true") {
        return Ok(json!({}));
    }
    let settings = exchange.core.settings();
    let text = |fee: f64| {
        crate::simulator::decimal(fee).map(crate::exchange_sim::render::decimal).unwrap_or_default()
    };
    let none = json!({"maker": "0.00000000", "taker": "0.00000000"});
    Ok(json!({
        "standardCommissionForOrder": {"maker": text(settings.maker_fee), "taker": text(settings.taker_fee)},
        "specialCommissionForOrder": none, "taxCommissionForOrder": none,
        "discount": {"enabledForAccount": settings.bnb_fees, "enabledForSymbol": settings.bnb_fees,
            "discountAsset": "BNB", "discount": "0.75000000"}
    }))
}

fn restriction(params: &Params) -> Result<Option<CancelRestriction>, Refusal> {
    let words = [
        ("ONLY_NEW", CancelRestriction::OnlyNew),
        ("ONLY_PARTIALLY_FILLED", CancelRestriction::OnlyPartiallyFilled),
    ];
    params.word("cancelRestrictions", &words, || Refusal::bad(-1145, "Invalid cancelRestrictions"))
}

/// The answer to a cancel that was done.
fn canceled(
    exchange: &Exchange,
    symbol: &Symbol,
    done: Canceled,
    cancel_id: &ClientId,
) -> Result<Value, Refusal> {
    match done {
        Canceled::Order(order_id) => {
            let order = exchange.core.order(symbol, &OrderRef::Number(order_id))?;
            Ok(render::canceled(order, cancel_id))
        }
        Canceled::List(number) => super::lists::canceled(exchange, number, cancel_id),
    }
}

pub(in crate::exchange_sim) fn cancel(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let symbol = params.symbol()?;
    let target = params.target("orderId", "origClientOrderId")?;
    let restriction = restriction(params)?;
    let cancel_id = client_id(exchange, params, "newClientOrderId")?;
    let done = exchange.core.cancel(&symbol, &target, &cancel_id, restriction)?;
    canceled(exchange, &symbol, done, &cancel_id)
}

pub(in crate::exchange_sim) fn cancel_all(
    exchange: &mut Exchange,
    params: &Params,
) -> Result<Value, Refusal> {
    let symbol = params.symbol()?;
    let cancel_id = exchange.core.generate_id();
    let all = exchange.core.cancel_all(&symbol, &cancel_id)?;
    all.into_iter().map(|done| canceled(exchange, &symbol, done, &cancel_id)).collect()
}

pub(in crate::exchange_sim) fn cancel_replace(
    exchange: &mut Exchange,
    params: &Params,
) -> Result<Value, Refusal> {
    let (order, detail) = new_order(exchange, params)?;
    let name = "cancelReplaceMode";
    let words = [("STOP_ON_FAILURE", true), ("ALLOW_FAILURE", false)];
    let stops =
        params.word(name, &words, || Refusal::not_valid(name))?.ok_or_else(|| Refusal::missing(name))?;
    let target = params.target("cancelOrderId", "cancelOrigClientOrderId")?;
    let restriction = restriction(params)?;
    let cancel_id = client_id(exchange, params, "cancelNewClientOrderId")?;
    // Filters are looked at before anything is cancelled.
    exchange.core.test(&order)?;
    let cancel = match exchange.core.cancel(&order.symbol, &target, &cancel_id, restriction) {
        Ok(done) => Ok(canceled(exchange, &order.symbol, done, &cancel_id)?),
        Err(reject) => Err(Refusal::from(reject)),
    };
    let new = match cancel.is_err() && stops {
        true => None,
        false => Some(placed(exchange, &order, detail)),
    };
    replaced(&cancel, new.as_ref())
}

/// What a cancel and a placement come to together.
fn replaced(cancel: &Result<Value, Refusal>, new: Option<&Result<Value, Refusal>>) -> Result<Value, Refusal> {
    let word = |result: &Result<Value, Refusal>| if result.is_ok() { "SUCCESS" } else { "FAILURE" };
    let body = |result: &Result<Value, Refusal>| match result {
        Ok(value) => value.clone(),
        Err(refusal) => refusal.body(),
    };
    let data = json!({
        "cancelResult": word(cancel), "newOrderResult": new.map_or("NOT_ATTEMPTED", word), "cancelResponse": body(cancel),
        "newOrderResponse": new.map_or(Value::Null, body)
    });
    match (cancel.is_ok(), new.is_some_and(Result::is_ok)) {
        (true, true) => Ok(data),
        (false, false) => {
            Err(Refusal { data: Some(data), ..Refusal::bad(-2022, "Order cancel-replace failed.") })
        }
        _ => Err(Refusal {
            data: Some(data),
            ..Refusal::new(409, -2021, "Order cancel-replace partially failed.")
        }),
    }
}

pub(in crate::exchange_sim) fn amend(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let symbol = params.symbol()?;
    let target = params.target("orderId", "origClientOrderId")?;
    let quantity = params.amount("newQty")?;
    let new_id = client_id(exchange, params, "newClientOrderId")?;
    let old_id = exchange.core.order(&symbol, &target)?.client_id.clone();
    let order_id = exchange.core.amend(&symbol, &target, quantity, &new_id)?;
    let order = exchange.core.order(&symbol, &OrderRef::Number(order_id))?;
    let mut amended = render::placed(order, Detail::Result);
    amended["qty"] = amended["origQty"].take();
    amended["cumulativeQuoteQty"] = amended["cummulativeQuoteQty"].take();
    amended["origClientOrderId"] = json!(old_id);
    amended["preventedQty"] = json!("0.00000000");
    if let Value::Object(fields) = &mut amended {
        for name in ["origQty", "cummulativeQuoteQty", "origQuoteOrderQty", "transactTime"] {
            fields.remove(name);
        }
    }
    Ok(
        json!({"transactTime": order.updated_ms, "executionId": exchange.core.last_execution_id(&symbol), "amendedOrder": amended}),
    )
}

pub(in crate::exchange_sim) fn query(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let symbol = params.symbol()?;
    let target = params.target("orderId", "origClientOrderId")?;
    let order = exchange.core.order(&symbol, &target)?;
    if exchange.is_lagging(&symbol, order.order_id) {
        return Err(crate::simulator::Reject::no_such_order().into());
    }
    Ok(render::queried(order))
}

pub(in crate::exchange_sim) fn open_weight(params: &Params) -> u32 {
    if params.get("symbol").is_some() { 6 } else { 80 }
}

pub(in crate::exchange_sim) fn open(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let symbol = params.get("symbol").map(|_| params.symbol()).transpose()?;
    let orders = exchange.core.open_orders(symbol.as_ref())?;
    let is_seen = |order: &&&crate::simulator::Order| !exchange.is_lagging(&order.symbol, order.order_id);
    Ok(orders.iter().filter(is_seen).map(|order| render::queried(order)).collect())
}

pub(in crate::exchange_sim) fn all(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let symbol = params.symbol()?;
    let span = span(params)?;
    let from_id = params.integer("orderId")?;
    let limit = params.limit(500, 1_000)?;
    let rows: Vec<Value> = exchange
        .core
        .all_orders(&symbol)?
        .filter(|order| from_id.is_none_or(|from| order.order_id >= from) && span.holds(order.created_ms))
        .map(render::queried)
        .collect();
    Ok(page(rows, limit, from_id.is_some() || span.from_ms.is_some()))
}
