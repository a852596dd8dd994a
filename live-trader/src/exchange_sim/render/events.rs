//! What is said on the user's stream.

use serde_json::{Value, json};

use super::decimal;
use super::orders::{contingency, kind, side, status, time_in_force};
use crate::simulator::{Change, Event, Execution, ListChange};

/// The event in the exchange's words; `now_ms` is market time.
pub(in super::super) fn user_event(event: &Event, now_ms: i64) -> Value {
    match event {
        Event::Execution(execution) => execution_report(execution, now_ms),
        Event::List(change) => list_status(change, now_ms),
        Event::Balances { balances, update_ms } => {
            let row = |held: &crate::venue::Balance| json!({"a": held.asset, "f": decimal(held.free), "l": decimal(held.locked)});
            let rows: Vec<Value> = balances.iter().map(row).collect();
            json!({"e": "outboundAccountPosition", "E": now_ms, "u": update_ms, "B": rows})
        }
        Event::Transfer { asset, delta, time_ms } => {
            json!({"e": "balanceUpdate", "E": now_ms, "a": asset, "d": decimal(*delta), "T": time_ms})
        }
    }
}

fn change(change: Change) -> &'static str {
    match change {
        Change::New => "NEW",
        Change::Trade => "TRADE",
        Change::Canceled => "CANCELED",
        Change::Replaced => "REPLACED",
        Change::Expired => "EXPIRED",
    }
}

fn execution_report(execution: &Execution, now_ms: i64) -> Value {
    let order = &execution.order;
    // A cancel carries its own id, with the order's beside it; an amended order its new id, with the old one beside it.
    let (own, other) = match (&execution.request_id, execution.change) {
        (Some(cancel), Change::Canceled) => (cancel.as_str(), order.client_id.as_str()),
        (Some(old), _) => (order.client_id.as_str(), old.as_str()),
        (None, _) => (order.client_id.as_str(), ""),
    };
    let fill = execution.fill.as_ref();
    let of_fill = |value: fn(&crate::order::Fill) -> rust_decimal::Decimal| {
        decimal(fill.map(value).unwrap_or_default())
    };
    let mut report = json!({
        "e": "executionReport", "E": now_ms, "s": order.symbol, "c": own, "S": side(order.side),
        "o": kind(&order.kind), "f": time_in_force(order), "q": decimal(order.original_quantity),
        "p": decimal(order.kind.price().unwrap_or_default()),
        "P": decimal(order.kind.stop_price().unwrap_or_default()), "F": "0.00000000",
        "g": order.list_id.unwrap_or(-1), "C": other, "x": change(execution.change), "X": status(order.status),
        "r": "NONE", "i": order.order_id, "l": of_fill(|fill| fill.quantity),
        "z": decimal(order.executed_quantity), "L": of_fill(|fill| fill.price),
        "n": match fill { Some(fill) => decimal(fill.commission), None => "0".to_owned() },
        "N": fill.map(|fill| fill.commission_asset.as_str()), "T": execution.time_ms,
        "t": fill.map_or(-1, |fill| fill.trade_id), "I": execution.execution_id,
        "w": order.is_open() && order.working_ms.is_some(), "m": fill.is_some_and(|fill| fill.is_maker),
        "M": false, "O": order.created_ms, "Z": decimal(order.executed_quote),
        "Y": of_fill(|fill| fill.price * fill.quantity), "Q": decimal(order.quote_quantity.unwrap_or_default()),
        "V": "NONE"
    });
    if let Some(working_ms) = order.working_ms {
        report["W"] = json!(working_ms);
    }
    if let (Change::Expired, Some(reason)) = (execution.change, order.reason) {
        report["eR"] = json!(reason);
    }
    report
}

fn list_status(change: &ListChange, now_ms: i64) -> Value {
    let list = &change.list;
    let (kind, state) = match list.is_done {
        true => ("ALL_DONE", "ALL_DONE"),
        false => ("EXEC_STARTED", "EXECUTING"),
    };
    let named = |(order_id, client_id)| json!({"s": list.symbol, "i": order_id, "c": client_id});
    let orders: Vec<Value> = list.orders.iter().zip(&change.client_ids).map(named).collect();
    json!({
        "e": "listStatus", "E": now_ms, "s": list.symbol, "g": list.order_list_id, "c": contingency(list), "l": kind,
        "L": state, "r": "NONE", "C": list.list_id, "T": change.time_ms, "O": orders
    })
}
