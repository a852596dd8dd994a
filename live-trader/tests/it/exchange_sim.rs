//! The exchange simulator through real sockets, with the real connector and with bare requests.

use std::sync::Arc;

use polybolos_live_trader::binance::{
    Connector, ConnectorConfig, Credentials, Endpoints, KeyKind, MarketPlan, Metrics,
};
use polybolos_live_trader::client_id::ClientId;
use polybolos_live_trader::exchange_sim::{ExchangeSim, SimConfig, Speed};
use polybolos_live_trader::order::{NewOrder, OrderKind, OrderSide, Quantity};
use polybolos_live_trader::simulator::synthetic_rules;
use polybolos_live_trader::symbol::Symbol;
use polybolos_live_trader::venue::Command;
use rust_decimal::Decimal;

use super::simulator::{bars, dec, id, limit};

mod accounts;
mod client;
mod faults;
mod live_feed;
mod lockstep;
mod protocol;

const HOUR_MS: i64 = 3_600_000;

/// Open, high, low, close in cents: up from 100 to 103, then down to 90, then flat.
const TICKS: [[i64; 4]; 6] = [
    [10_000, 10_100, 9_950, 10_050],
    [10_050, 10_300, 10_000, 10_250],
    [10_250, 10_350, 10_200, 10_300],
    [10_300, 10_310, 9_500, 9_600],
    [9_600, 9_650, 8_900, 9_000],
    [9_000, 9_100, 8_950, 9_050],
];

/// Starts an exchange for BTCUSDT over [`TICKS`], of which the first bar is history.
async fn start(change: impl FnOnce(&mut SimConfig)) -> ExchangeSim {
    start_over(&["BTCUSDT"], change).await
}

async fn start_over(names: &[&str], change: impl FnOnce(&mut SimConfig)) -> ExchangeSim {
    let mut config =
        SimConfig { start_ms: HOUR_MS, speed: Speed::Held, ..SimConfig::new("1h".parse().unwrap()) };
    change(&mut config);
    let pair = |name: &&str| {
        let (symbol, bars) = (Symbol::new(name), bars(&TICKS));
        let mut rules = synthetic_rules(&symbol, &bars);
        (rules.price.step, rules.price.min) = (dec("0.01"), dec("0.01"));
        (rules, bars)
    };
    ExchangeSim::start(config, names.iter().map(pair).collect()).await.unwrap()
}

fn connector_config(sim: &ExchangeSim) -> ConnectorConfig {
    ConnectorConfig {
        request_timeout_ms: 400,
        first_backoff_ms: 5,
        longest_backoff_ms: 20,
        ..ConnectorConfig::new(Endpoints::single(&sim.base_url()).unwrap())
    }
}

/// A connector that knows the exchange's time.
async fn connect(sim: &ExchangeSim) -> Connector {
    let connector = connector(connector_config(sim));
    connector.sync_clock().await.unwrap();
    connector
}

fn connector(config: ConnectorConfig) -> Connector {
    let credentials = Credentials::new(KeyKind::Hmac, "sim-key".into(), "sim-secret".into()).unwrap();
    Connector::new(config, Some(credentials), Arc::new(Metrics::default())).unwrap()
}

fn symbol() -> Symbol {
    Symbol::new("BTCUSDT")
}

fn order(client_id: &str, side: OrderSide, kind: OrderKind, quantity: &str) -> Command {
    Command::Place(NewOrder {
        symbol: symbol(),
        client_id: id(client_id),
        side,
        kind,
        quantity: Quantity::Base(dec(quantity)),
    })
}

fn query(client_id: &str) -> Command {
    Command::QueryOrder { symbol: symbol(), client_id: id(client_id) }
}

fn plan(after: Option<i64>) -> MarketPlan {
    MarketPlan { interval: "1h".parse().unwrap(), pairs: vec![(symbol(), after)], has_quotes: true }
}

fn cancel(target: &str) -> Command {
    Command::Cancel { symbol: symbol(), target: id(target), cancel_id: ClientId::from_wire("the-cancel") }
}

fn one() -> Decimal {
    Decimal::ONE
}
