//! How many bars a second the exchange simulator plays in lockstep with the connector: `lockstep_rate [BARS]`, one pair, a market order
//! every tenth bar.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on is none")]

use std::sync::Arc;
use std::time::Instant;

use polybolos_kernels::bars::Bars;
use polybolos_live_trader::binance::{
    Connector, ConnectorConfig, Credentials, Endpoints, KeyKind, MarketPlan, Metrics,
};
use polybolos_live_trader::client_id::ClientId;
use polybolos_live_trader::exchange_sim::{ExchangeSim, SimConfig};
use polybolos_live_trader::order::{NewOrder, OrderKind, OrderSide, Quantity};
use polybolos_live_trader::simulator::synthetic_rules;
use polybolos_live_trader::symbol::Symbol;
use polybolos_live_trader::venue::{AccountEvent, Command, MarketEvent};
use rust_decimal::Decimal;

const MINUTE_MS: i64 = 60_000;

/// Bars that go up and down by turns.
fn bars(count: usize) -> Bars {
    let price = |t: usize| 100.0 + (t % 7) as f64;
    let column = |change: f64| (0..count).map(|t| price(t) + change).collect::<Vec<f64>>();
    let none = vec![0.0; count];
    Bars {
        interval_ms: MINUTE_MS,
        open_time_ms: (0..count as i64).map(|t| t * MINUTE_MS).collect(),
        open: column(0.0),
        high: column(1.0),
        low: column(-1.0),
        close: column(0.5),
        volume: none.clone(),
        quote_volume: none.clone(),
        trades: none.clone(),
        taker_buy_volume: none.clone(),
        taker_buy_quote_volume: none,
    }
}

#[tokio::main]
async fn main() {
    let count: usize = std::env::args().nth(1).map_or(20_000, |text| text.parse().unwrap());
    let symbol = Symbol::new("BTCUSDT");
    let bars = bars(count);
    let config = SimConfig { start_ms: MINUTE_MS, ..SimConfig::new("1m".parse().unwrap()) };
    let sim = ExchangeSim::start(config, vec![(synthetic_rules(&symbol, &bars), bars)]).await.unwrap();
    let credentials = Credentials::new(KeyKind::Hmac, "sim-key".into(), "sim-secret".into()).unwrap();
    let config = ConnectorConfig::new(Endpoints::single(&sim.base_url()).unwrap());
    let connector = Connector::new(config, Some(credentials), Arc::new(Metrics::default())).unwrap();
    connector.sync_clock().await.unwrap();
    connector.exchange_info().await.unwrap();
    let mut user = connector.user_stream();
    while !matches!(user.next().await, Some(AccountEvent::Connected)) {}
    let plan = MarketPlan {
        interval: "1m".parse().unwrap(),
        pairs: vec![(symbol.clone(), Some(0))],
        has_quotes: true,
    };
    let mut market = connector.market_stream(plan);
    while !matches!(market.next().await, Some(MarketEvent::Connected)) {}
    let started = Instant::now();
    market.settled([(symbol.clone(), 0)]);
    let mut seen = 0_usize;
    while seen + 1 < count {
        let Some(MarketEvent::Bar { bar, .. }) = market.next().await else { continue };
        seen += 1;
        if seen.is_multiple_of(10) {
            let side = if seen.is_multiple_of(20) { OrderSide::Sell } else { OrderSide::Buy };
            let quantity = if side == OrderSide::Buy { "1" } else { "0.9" };
            let order = NewOrder {
                symbol: symbol.clone(),
                client_id: ClientId::from_wire(&format!("o{seen}")),
                side,
                kind: OrderKind::Market,
                quantity: Quantity::Base(quantity.parse::<Decimal>().unwrap()),
            };
            connector.execute(&Command::Place(order)).await.unwrap();
        }
        market.settled([(symbol.clone(), bar.open_time_ms)]);
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{seen} bars in {seconds:.2} s: {:.0} bars/s", seen as f64 / seconds);
}
