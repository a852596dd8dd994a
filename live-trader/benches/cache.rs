//! What a read costs from the connector's cache, and what it costs when the exchange is asked: a simulated exchange in this process, over a
//! real socket. `cargo bench -p polybolos-live-trader --bench cache`.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops where it cannot go on"
)]

use std::sync::Arc;
use std::time::Instant;

use polybolos_engine::kernels::bars::Bars;
use polybolos_live_trader::binance::{Connector, ConnectorConfig, Endpoints, Metrics};
use polybolos_live_trader::exchange_sim::{ExchangeSim, RateLimits, SimConfig, Speed};
use polybolos_live_trader::simulator::synthetic_rules;
use polybolos_live_trader::symbol::Symbol;

const HOUR_MS: i64 = 3_600_000;

/// Pairs of the exchange: their rules are one answer. Each is asked about once.
const PAIRS: u32 = 200;

/// Bars of a page.
const BARS: i64 = 500;

/// Questions that the cache answers.
const CACHED: u32 = 200_000;

#[derive(Debug, Clone, Copy)]
enum Read {
    Rules,
    Price,
    Bars,
}

impl Read {
    async fn of(self, connector: &Connector, symbol: &Symbol) {
        let interval = "1h".parse().expect("an interval");
        let read = match self {
            Read::Rules => connector.exchange_info().await.map(drop),
            Read::Price => connector.price(symbol).await.map(drop),
            Read::Bars => connector.klines(symbol, interval, 0, Some((BARS - 1) * HOUR_MS)).await.map(drop),
        };
        read.expect("an answer");
    }

    /// Mean seconds of a read that asks the exchange.
    async fn asked(self, connector: &Connector) -> f64 {
        let mut seconds = 0.0;
        for number in 0..PAIRS {
            if matches!(self, Read::Rules) {
                connector.forget_exchange_info().await;
            }
            let started = Instant::now();
            self.of(connector, &symbol(number)).await;
            seconds += started.elapsed().as_secs_f64();
        }
        seconds / f64::from(PAIRS)
    }

    /// Mean seconds of a read that the cache answers.
    async fn cached(self, connector: &Connector) -> f64 {
        self.of(connector, &symbol(7)).await;
        let started = Instant::now();
        for _ in 0..CACHED {
            self.of(connector, &symbol(7)).await;
        }
        started.elapsed().as_secs_f64() / f64::from(CACHED)
    }
}

fn symbol(number: u32) -> Symbol {
    Symbol::new(&format!("S{number:03}USDT"))
}

/// Bars around a price of 100.
fn bars() -> Bars {
    let opens: Vec<f64> = (0..BARS + 10).map(|index| 100.0 + (index % 7) as f64).collect();
    let column = |above: f64| opens.iter().map(|open| open + above).collect::<Vec<f64>>();
    let none = vec![0.0; opens.len()];
    Bars {
        interval_ms: HOUR_MS,
        open_time_ms: (0..BARS + 10).map(|index| index * HOUR_MS).collect(),
        high: column(1.0),
        low: column(-1.0),
        close: column(0.5),
        open: opens,
        volume: none.clone(),
        quote_volume: none.clone(),
        trades: none.clone(),
        taker_buy_volume: none.clone(),
        taker_buy_quote_volume: none,
    }
}

fn connector(sim: &ExchangeSim) -> Connector {
    let endpoints = Endpoints::single(&sim.base_url()).expect("addresses");
    // Nothing gets stale meanwhile.
    let (info_ttl_ms, price_ttl_ms, kline_ttl_ms) = (3_600_000, 3_600_000, 3_600_000);
    let config =
        ConnectorConfig { info_ttl_ms, price_ttl_ms, kline_ttl_ms, ..ConnectorConfig::new(endpoints) };
    Connector::new(config, None, Arc::new(Metrics::default())).expect("a connector")
}

#[tokio::main]
async fn main() {
    let config = SimConfig {
        start_ms: BARS * HOUR_MS,
        speed: Speed::Held,
        limits: RateLimits::UNLIMITED,
        ..SimConfig::new("1h".parse().expect("an interval"))
    };
    let pairs = (0..PAIRS).map(|number| (synthetic_rules(&symbol(number), &bars()), bars())).collect();
    let sim = ExchangeSim::start(config, pairs).await.expect("an exchange");
    let connector = connector(&sim);
    // Its limits first: they are what the other questions are counted by.
    connector.exchange_info().await.expect("limits");
    println!("{:<8} {:>12} {:>12} {:>8}", "read", "asked us", "cached us", "times");
    for read in [Read::Rules, Read::Price, Read::Bars] {
        let asked = read.asked(&connector).await * 1e6;
        let cached = read.cached(&connector).await * 1e6;
        println!(
            "{:<8} {asked:>12.1} {cached:>12.3} {:>8.0}",
            format!("{read:?}").to_lowercase(),
            asked / cached
        );
    }
}
