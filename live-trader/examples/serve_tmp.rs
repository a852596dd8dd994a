#![allow(clippy::all, clippy::unwrap_used, clippy::print_stderr, missing_docs)]
use polybolos_kernels::bars::Bars;
use polybolos_live_trader::exchange_sim::*;
use polybolos_live_trader::simulator::{Settings, synthetic_rules};
use polybolos_live_trader::symbol::Symbol;
use std::time::Duration;
#[tokio::main]
async fn main() {
    let n = 2000usize;
    let price = |t: usize| ((30_000.0 + 300.0 * (t as f64 * 0.05).sin()) * 100.0).round() / 100.0;
    let pairs = ["BTCUSDT", "ETHUSDT"].map(|name| {
        let c = |d: f64| (0..n).map(|t| ((price(t) + d) * 100.0).round() / 100.0).collect::<Vec<f64>>();
        let bars = Bars {
            interval_ms: 60_000,
            open_time_ms: (0..n as i64).map(|t| 1_700_000_040_000 + t * 60_000).collect(),
            open: c(0.0),
            high: c(20.0),
            low: c(-20.0),
            close: c(5.0),
            volume: vec![3.5; n],
            quote_volume: vec![105000.0; n],
            trades: vec![7.0; n],
            taker_buy_volume: vec![1.0; n],
            taker_buy_quote_volume: vec![30000.0; n],
        };
        (synthetic_rules(&Symbol::new(name), &bars), bars)
    });
    let config = SimConfig {
        start_ms: 1_700_000_040_000 + 500 * 60_000,
        speed: Speed::Timed { bar: Duration::from_secs(1) },
        limits: RateLimits::EXCHANGE,
        listen: "127.0.0.1:19380".parse().unwrap(),
        settings: Settings::default(),
        ..SimConfig::new("1m".parse().unwrap())
    };
    let sim = ExchangeSim::start(config, pairs.into()).await.unwrap();
    eprintln!("{}", sim.base_url());
    tokio::time::sleep(Duration::from_secs(3000)).await;
}
