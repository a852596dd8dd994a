//! Orders and lists, as answers carry them.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use crate::client_id::ClientId;
use crate::order::{Fill, OrderKind, OrderReport, OrderSide, OrderStatus, TimeInForce};
use crate::symbol::Symbol;
use crate::venue::{ListReport, Response};

/// An answer that cannot be read as what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the answer is not what was asked for: {0}")]
    Shape(String),
    /// An order of a type that this program never places.
    #[error("order {order_id} on {symbol} has the type {kind}, which this program does not know")]
    OrderType { symbol: Symbol, order_id: i64, kind: String },
}

impl From<serde_json::Error> for WireError {
    fn from(error: serde_json::Error) -> Self {
        WireError::Shape(error.to_string())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireOrder {
    symbol: Symbol,
    order_id: i64,
    order_list_id: Option<i64>,
    client_order_id: String,
    orig_client_order_id: Option<String>,
    transact_time: Option<i64>,
    update_time: Option<i64>,
    time: Option<i64>,
    price: Option<Decimal>,
    stop_price: Option<Decimal>,
    orig_qty: Decimal,
    executed_qty: Decimal,
    /// The exchange's own spelling.
    cummulative_quote_qty: Option<Decimal>,
    status: OrderStatus,
    time_in_force: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    side: OrderSide,
    #[serde(default)]
    fills: Vec<WireFill>,
    expiry_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireFill {
    price: Decimal,
    qty: Decimal,
    commission: Decimal,
    commission_asset: String,
    trade_id: i64,
}

/// Type and prices of an order; `None` for a type that this program does not know, or without the price that its type needs.
pub(crate) fn order_kind(
    kind: &str,
    price: Option<Decimal>,
    stop_price: Option<Decimal>,
    time_in_force: Option<&str>,
) -> Option<OrderKind> {
    let positive = |price: Option<Decimal>| price.filter(|price| *price > Decimal::ZERO);
    let time_in_force = match time_in_force {
        Some("IOC") => TimeInForce::Ioc,
        Some("FOK") => TimeInForce::Fok,
        Some("GTC") | None => TimeInForce::Gtc,
        Some(_) => return None,
    };
    let (price, stop_price) = (positive(price), positive(stop_price));
    Some(match kind {
        "MARKET" => OrderKind::Market,
        "LIMIT" => OrderKind::Limit { price: price?, time_in_force },
        "LIMIT_MAKER" => OrderKind::LimitMaker { price: price? },
        "STOP_LOSS" => OrderKind::StopLoss { stop_price: stop_price? },
        "STOP_LOSS_LIMIT" => {
            OrderKind::StopLossLimit { stop_price: stop_price?, price: price?, time_in_force }
        }
        "TAKE_PROFIT" => OrderKind::TakeProfit { stop_price: stop_price? },
        "TAKE_PROFIT_LIMIT" => {
            OrderKind::TakeProfitLimit { stop_price: stop_price?, price: price?, time_in_force }
        }
        _ => return None,
    })
}

impl WireOrder {
    fn report(self) -> Result<OrderReport, WireError> {
        let Some(kind) = order_kind(&self.kind, self.price, self.stop_price, self.time_in_force.as_deref())
        else {
            return Err(WireError::OrderType {
                symbol: self.symbol,
                order_id: self.order_id,
                kind: self.kind,
            });
        };
        let update_ms = self.transact_time.or(self.update_time).or(self.time).unwrap_or(0);
        let fill = |fill: WireFill| Fill {
            trade_id: fill.trade_id,
            order_id: self.order_id,
            price: fill.price,
            quantity: fill.qty,
            commission: fill.commission,
            commission_asset: fill.commission_asset,
            // What fills within the answer to a placement took from the book.
            is_maker: false,
            time_ms: update_ms,
        };
        let own_id = self.orig_client_order_id.filter(|id| !id.is_empty()).unwrap_or(self.client_order_id);
        Ok(OrderReport {
            symbol: self.symbol,
            client_id: ClientId::from_wire(&own_id),
            order_id: self.order_id,
            list_id: self.order_list_id.filter(|id| *id >= 0),
            side: self.side,
            kind,
            original_quantity: self.orig_qty,
            executed_quantity: self.executed_qty,
            // Negative on very old orders: not available.
            executed_quote: self.cummulative_quote_qty.filter(|quote| *quote >= Decimal::ZERO),
            status: self.status,
            update_ms,
            fills: self.fills.into_iter().map(fill).collect(),
            reason: self.expiry_reason,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireList {
    order_list_id: i64,
    list_client_order_id: String,
    list_order_status: String,
    symbol: Symbol,
    #[serde(default)]
    orders: Vec<WireLeg>,
    #[serde(default)]
    order_reports: Vec<WireOrder>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLeg {
    client_order_id: String,
}

/// An order, or the list that a cancelled order took with it.
pub(crate) fn order_or_list(document: Value) -> Result<Response, WireError> {
    match document.get("contingencyType") {
        Some(_) => list(document).map(Response::List),
        None => Ok(Response::Order(serde_json::from_value::<WireOrder>(document)?.report()?)),
    }
}

/// A list.
pub(crate) fn list(document: Value) -> Result<ListReport, WireError> {
    let list: WireList = serde_json::from_value(document)?;
    let orders: Vec<OrderReport> =
        list.order_reports.into_iter().map(WireOrder::report).collect::<Result<_, _>>()?;
    Ok(ListReport {
        symbol: list.symbol,
        list_id: ClientId::from_wire(&list.list_client_order_id),
        order_list_id: list.order_list_id,
        is_done: matches!(list.list_order_status.as_str(), "ALL_DONE" | "REJECT"),
        orders,
        client_ids: list.orders.iter().map(|leg| ClientId::from_wire(&leg.client_order_id)).collect(),
    })
}

/// Open orders, and those left out because this program does not know their type (nothing of ours has such a type).
pub(crate) fn orders(document: Value) -> Result<(Vec<OrderReport>, Vec<WireError>), WireError> {
    let documents: Vec<WireOrder> = serde_json::from_value(document)?;
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for order in documents {
        match order.report() {
            Ok(report) => known.push(report),
            Err(error) => unknown.push(error),
        }
    }
    Ok((known, unknown))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireTrade {
    id: i64,
    order_id: i64,
    price: Decimal,
    qty: Decimal,
    commission: Decimal,
    commission_asset: String,
    time: i64,
    is_maker: bool,
}

/// A page of `myTrades`.
pub(crate) fn trades(document: Value) -> Result<Vec<Fill>, WireError> {
    let trades: Vec<WireTrade> = serde_json::from_value(document)?;
    let fill = |trade: WireTrade| Fill {
        trade_id: trade.id,
        order_id: trade.order_id,
        price: trade.price,
        quantity: trade.qty,
        commission: trade.commission,
        commission_asset: trade.commission_asset,
        is_maker: trade.is_maker,
        time_ms: trade.time,
    };
    Ok(trades.into_iter().map(fill).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_type_of_order_is_read_with_its_prices() {
        let order = |kind: &str| {
            json!({
                "symbol": "BTCUSDT", "orderId": 7, "orderListId": -1, "clientOrderId": "mine", "price": "10.5",
                "stopPrice": "9.5", "origQty": "2", "executedQty": "0", "cummulativeQuoteQty": "-1", "status": "NEW",
                "timeInForce": "IOC", "type": kind, "side": "SELL", "time": 1, "updateTime": 2, "novelty": {"a": []}
            })
        };
        let (price, stop_price) = (Decimal::new(105, 1), Decimal::new(95, 1));
        let time_in_force = TimeInForce::Ioc;
        let cases = [
            ("MARKET", OrderKind::Market),
            ("LIMIT", OrderKind::Limit { price, time_in_force }),
            ("LIMIT_MAKER", OrderKind::LimitMaker { price }),
            ("STOP_LOSS", OrderKind::StopLoss { stop_price }),
            ("STOP_LOSS_LIMIT", OrderKind::StopLossLimit { stop_price, price, time_in_force }),
            ("TAKE_PROFIT", OrderKind::TakeProfit { stop_price }),
            ("TAKE_PROFIT_LIMIT", OrderKind::TakeProfitLimit { stop_price, price, time_in_force }),
        ];
        for (name, kind) in cases {
            let Ok(Response::Order(report)) = order_or_list(order(name)) else { panic!("{name}") };
            assert_eq!((report.kind, report.update_ms, report.executed_quote), (kind, 2, None));
            assert_eq!(report.list_id, None);
        }
        assert!(matches!(order_or_list(order("PEGGED")), Err(WireError::OrderType { order_id: 7, .. })));
        let (known, unknown) = orders(json!([order("LIMIT"), order("PEGGED"), order("MARKET")])).unwrap();
        assert_eq!((known.len(), unknown.len()), (2, 1));
    }

    #[test]
    fn a_placements_fills_and_a_cancels_own_id_are_told_apart() {
        let document = json!({
            "symbol": "BTCUSDT", "orderId": 28, "orderListId": -1, "clientOrderId": "a", "transactTime": 1507725176595_i64,
            "price": "0.00000000", "origQty": "10.00000000", "executedQty": "10.00000000",
            "cummulativeQuoteQty": "10.00000000", "status": "SOMETHING_NEW", "timeInForce": "GTC", "type": "MARKET",
            "side": "SELL", "fills": [
                {"price": "4000.0", "qty": "1.0", "commission": "4.0", "commissionAsset": "USDT", "tradeId": 56}
            ]
        });
        let Ok(Response::Order(report)) = order_or_list(document) else { panic!() };
        assert_eq!(report.status, OrderStatus::Unknown);
        assert_eq!((report.fills[0].trade_id, report.fills[0].time_ms), (56, 1507725176595));
        let cancelled = json!({
            "symbol": "LTCBTC", "origClientOrderId": "myOrder1", "orderId": 4, "orderListId": 1929,
            "clientOrderId": "cancelMyOrder1", "transactTime": 5, "price": "2.0", "origQty": "1.0", "executedQty": "0.0",
            "cummulativeQuoteQty": "0.0", "status": "CANCELED", "timeInForce": "GTC", "type": "LIMIT", "side": "BUY"
        });
        let Ok(Response::Order(report)) = order_or_list(cancelled.clone()) else { panic!() };
        assert_eq!((report.client_id.as_str(), report.list_id), ("myOrder1", Some(1929)));
        let list = json!({
            "orderListId": 1929, "contingencyType": "OCO", "listStatusType": "ALL_DONE", "listOrderStatus": "ALL_DONE",
            "listClientOrderId": "list", "transactionTime": 5, "symbol": "LTCBTC",
            "orders": [{"symbol": "LTCBTC", "orderId": 4, "clientOrderId": "myOrder1"}], "orderReports": [cancelled]
        });
        let Ok(Response::List(report)) = order_or_list(list) else { panic!() };
        assert!(report.is_done && report.orders.len() == 1);
        assert_eq!(report.client_ids, [ClientId::from_wire("myOrder1")]);
    }

    #[test]
    fn an_acknowledgement_without_a_state_is_no_report() {
        let ack = json!({"symbol": "BTCUSDT", "orderId": 28, "orderListId": -1, "clientOrderId": "a", "transactTime": 1});
        assert!(matches!(order_or_list(ack), Err(WireError::Shape(_))));
    }
}
