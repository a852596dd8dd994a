//! The connector against an exchange that answers by a script.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use polybolos_live_trader::binance::{Connector, ConnectorConfig, Credentials, Endpoints, KeyKind, Metrics};
use polybolos_live_trader::client_id::{ClientId, Intent};
use polybolos_live_trader::order::{NewOrder, OrderKind, OrderSide, Quantity};
use polybolos_live_trader::symbol::Symbol;
use polybolos_live_trader::venue::Command;
use rust_decimal::Decimal;
use serde_json::{Value, json};

mod reads;
mod secrets;
mod server;
mod sessions;
mod streams;
mod unknowns;

const KEY: &str = "the-api-key-that-nobody-may-see";
const SECRET: &str = "the-secret-that-nobody-may-see";

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn config(base: &str) -> ConnectorConfig {
    ConnectorConfig {
        request_timeout_ms: 400,
        first_backoff_ms: 5,
        longest_backoff_ms: 20,
        ..ConnectorConfig::new(Endpoints::single(base).unwrap())
    }
}

fn connector(config: ConnectorConfig) -> Connector {
    let credentials = Credentials::new(KeyKind::Hmac, KEY.into(), SECRET.into()).unwrap();
    Connector::new(config, Some(credentials), Arc::new(Metrics::default())).unwrap()
}

fn symbol() -> Symbol {
    Symbol::new("BTCUSDT")
}

fn client_id(bar: i64) -> ClientId {
    ClientId::new("bot", &symbol(), bar, Intent::Entry, 0)
}

fn place(bar: i64) -> Command {
    Command::Place(NewOrder {
        symbol: symbol(),
        client_id: client_id(bar),
        side: OrderSide::Buy,
        kind: OrderKind::Market,
        quantity: Quantity::Base(Decimal::ONE),
    })
}

fn query() -> Command {
    Command::QueryOrder { symbol: symbol(), client_id: client_id(1) }
}

/// The exchange's report of an order of ours.
fn report(client_id: &str) -> Value {
    json!({
        "symbol": "BTCUSDT", "orderId": 28, "orderListId": -1, "clientOrderId": client_id, "transactTime": 5,
        "price": "0.0", "origQty": "1.0", "executedQty": "1.0", "cummulativeQuoteQty": "100.0", "status": "FILLED",
        "timeInForce": "GTC", "type": "MARKET", "side": "BUY", "novelty": [1],
        "fills": [{"price": "100.0", "qty": "1.0", "commission": "0.1", "commissionAsset": "USDT", "tradeId": 56}]
    })
}

fn time_answer(skew_ms: i64) -> server::Act {
    server::ok(&json!({"serverTime": now_ms() + skew_ms}))
}
