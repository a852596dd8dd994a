//! Orders, lists and trades, as answers carry them.

use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::decimal;
use crate::client_id::ClientId;
use crate::order::{Fill, OrderKind, OrderSide, OrderStatus, TimeInForce};
use crate::simulator::{Contingency, List, Order, Simulator, TradeRecord};

/// How much an answer to a placement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Detail {
    Ack,
    Result,
    Full,
}

pub(in super::super) fn side(side: OrderSide) -> &'static str {
    match side {
        OrderSide::Buy => "BUY",
        OrderSide::Sell => "SELL",
    }
}

pub(in super::super) fn kind(kind: &OrderKind) -> &'static str {
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

pub(in super::super) fn time_in_force(order: &Order) -> &'static str {
    match order.time_in_force() {
        TimeInForce::Gtc => "GTC",
        TimeInForce::Ioc => "IOC",
        TimeInForce::Fok => "FOK",
    }
}

pub(in super::super) fn status(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::New => "NEW",
        OrderStatus::PendingNew => "PENDING_NEW",
        OrderStatus::PartiallyFilled => "PARTIALLY_FILLED",
        OrderStatus::Filled => "FILLED",
        OrderStatus::Canceled => "CANCELED",
        OrderStatus::PendingCancel => "PENDING_CANCEL",
        OrderStatus::Rejected => "REJECTED",
        OrderStatus::Expired => "EXPIRED",
        OrderStatus::ExpiredInMatch => "EXPIRED_IN_MATCH",
        OrderStatus::Unknown => "UNKNOWN",
    }
}

/// What every answer about an order says.
fn common(order: &Order) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("symbol", json!(order.symbol));
    put("orderId", json!(order.order_id));
    put("orderListId", json!(order.list_id.unwrap_or(-1)));
    put("clientOrderId", json!(order.client_id));
    fields
}

fn state(order: &Order, fields: &mut Map<String, Value>) {
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("price", json!(decimal(order.kind.price().unwrap_or_default())));
    put("origQty", json!(decimal(order.original_quantity)));
    put("executedQty", json!(decimal(order.executed_quantity)));
    put("origQuoteOrderQty", json!(decimal(order.quote_quantity.unwrap_or_default())));
    put("cummulativeQuoteQty", json!(decimal(order.executed_quote)));
    put("status", json!(status(order.status)));
    put("timeInForce", json!(time_in_force(order)));
    put("type", json!(kind(&order.kind)));
    put("side", json!(side(order.side)));
    put("workingTime", json!(order.working_ms.unwrap_or(-1)));
    put("selfTradePreventionMode", json!("NONE"));
    if let Some(stop_price) = order.kind.stop_price() {
        put("stopPrice", json!(decimal(stop_price)));
    }
    if let Some(reason) = order.reason {
        put("expiryReason", json!(reason));
    }
}

/// The answer to a placement.
pub(in super::super) fn placed(order: &Order, detail: Detail) -> Value {
    let mut fields = common(order);
    fields.insert("transactTime".to_owned(), json!(order.updated_ms));
    if detail != Detail::Ack {
        state(order, &mut fields);
    }
    if detail == Detail::Full {
        fields.insert("fills".to_owned(), order.fills.iter().map(fill).collect());
    }
    Value::Object(fields)
}

fn fill(fill: &Fill) -> Value {
    json!({
        "price": decimal(fill.price), "qty": decimal(fill.quantity), "commission": decimal(fill.commission),
        "commissionAsset": fill.commission_asset, "tradeId": fill.trade_id
    })
}

/// The answer to a query.
pub(in super::super) fn queried(order: &Order) -> Value {
    let mut fields = common(order);
    state(order, &mut fields);
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("stopPrice", json!(decimal(order.kind.stop_price().unwrap_or_default())));
    put("icebergQty", json!(decimal(Decimal::ZERO)));
    put("time", json!(order.created_ms));
    put("updateTime", json!(order.updated_ms));
    put("isWorking", json!(order.working_ms.is_some()));
    Value::Object(fields)
}

/// The answer to a cancel by the request `cancel_id`.
pub(in super::super) fn canceled(order: &Order, cancel_id: &ClientId) -> Value {
    let mut value = placed(order, Detail::Result);
    value["origClientOrderId"] = json!(order.client_id);
    value["clientOrderId"] = json!(cancel_id);
    value
}

pub(in super::super) fn contingency(list: &List) -> &'static str {
    match list.contingency {
        Contingency::Oco => "OCO",
        Contingency::Oto => "OTO",
    }
}

/// A list, with `reports` of its orders where there are any.
pub(in super::super) fn list(core: &Simulator, list: &List, reports: Option<Vec<Value>>) -> Value {
    let (kind, state) = match list.is_done {
        true => ("ALL_DONE", "ALL_DONE"),
        false => ("EXEC_STARTED", "EXECUTING"),
    };
    let named = |order: &&Order| json!({"symbol": order.symbol, "orderId": order.order_id, "clientOrderId": order.client_id});
    let orders: Vec<Value> = core.list_orders(list).iter().map(named).collect();
    let mut value = json!({
        "orderListId": list.order_list_id, "contingencyType": contingency(list), "listStatusType": kind,
        "listOrderStatus": state, "listClientOrderId": list.list_id, "transactionTime": list.updated_ms,
        "symbol": list.symbol, "orders": orders
    });
    if let Some(reports) = reports {
        value["orderReports"] = Value::Array(reports);
    }
    value
}

/// The answer to the placement of a list.
pub(in super::super) fn placed_list(core: &Simulator, placed_one: &List, detail: Detail) -> Value {
    let reports = core.list_orders(placed_one).into_iter().map(|order| placed(order, detail)).collect();
    list(core, placed_one, Some(reports))
}

/// The answer to the cancel of a list.
pub(in super::super) fn canceled_list(core: &Simulator, gone: &List, cancel_id: &ClientId) -> Value {
    let reports = core.list_orders(gone).into_iter().map(|order| canceled(order, cancel_id)).collect();
    list(core, gone, Some(reports))
}

/// A row of `myTrades`.
pub(in super::super) fn trade(trade: &TradeRecord) -> Value {
    let fill = &trade.fill;
    json!({
        "symbol": trade.symbol, "id": fill.trade_id, "orderId": fill.order_id,
        "orderListId": trade.list_id.unwrap_or(-1), "price": decimal(fill.price), "qty": decimal(fill.quantity),
        "quoteQty": decimal(fill.price * fill.quantity), "commission": decimal(fill.commission),
        "commissionAsset": fill.commission_asset, "time": fill.time_ms, "isBuyer": trade.side == OrderSide::Buy,
        "isMaker": fill.is_maker, "isBestMatch": true
    })
}
