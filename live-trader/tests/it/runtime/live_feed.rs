//! A bot on an exchange that follows another one: its orders fill at that one's prices and never get there.

use std::sync::Arc;
use std::time::Duration;

use polybolos_live_trader::binance::{self, ConnectorConfig, Credentials, Endpoints, KeyKind};
use polybolos_live_trader::config::Mode;
use polybolos_live_trader::exchange_sim::{ExchangeSim, LiveMarket, LiveSource, SimConfig, Speed};
use polybolos_live_trader::order::OrderSide;
use polybolos_live_trader::runtime::{Exchange, Outcome, Setup, StopRequest, closed_trades, start};
use polybolos_live_trader::simulator::{Settings, synthetic_rules};
use polybolos_live_trader::symbol::Symbol;
use rust_decimal::Decimal;

use super::bot::{HOUR_MS, SYMBOLS, file, inputs, load, market};
use super::exchange::continuous;

const ROWS: usize = 80;

/// An exchange that plays a market step by step, and one that follows it.
async fn exchanges() -> (ExchangeSim, ExchangeSim) {
    let interval = "1h".parse().unwrap();
    let market = continuous(market(31, ROWS));
    let pairs = market.into_iter().map(|(symbol, bars)| (synthetic_rules(&symbol, &bars), bars));
    let config = SimConfig { start_ms: 20 * HOUR_MS, speed: Speed::Held, ..SimConfig::new(interval) };
    let source = ExchangeSim::start(config, pairs.collect()).await.unwrap();
    let live = LiveSource {
        connector: ConnectorConfig::new(Endpoints::single(&source.base_url()).unwrap()),
        symbols: SYMBOLS.iter().map(|name| Symbol::new(name)).collect(),
        interval,
        history: 500,
    };
    let balances = vec![("USDT".to_owned(), Decimal::from(40_000))];
    let settings = Settings { balances, ..Settings::default() };
    let config = SimConfig { settings, ..SimConfig::new(interval) };
    let sim = ExchangeSim::start_live(config, LiveMarket::load(live).await.unwrap()).await.unwrap();
    (source, sim)
}

/// Waits until the bot has nothing more to ask of the exchange for a while.
async fn until_quiet(sim: &ExchangeSim) {
    let mut asked = u64::MAX;
    while asked != sim.progress().requests {
        asked = sim.progress().requests;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_trades_on_a_followed_market() {
    let (source, sim) = exchanges().await;
    let address = sim.address();
    let text = file(&format!(
        "exchange: {{venue: custom, rest_url: 'http://{address}', stream_url: 'ws://{address}', ws_api_url: 'ws://{address}/ws-api/v3'}}"
    ))
    .replace("collar_bps: 0", "collar_bps: 100");
    let (config, strategy) = load(&text);
    let key = Credentials::new(KeyKind::Hmac, "sim-key".into(), "sim-secret".into()).unwrap();
    let counters = Arc::new(binance::Metrics::default());
    let venue = Exchange::connect(&config, strategy.interval, Mode::Testnet, key, counters).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup { config, strategy, ..super::bot::setup(dir.path()) };
    let mut desk = start(setup, venue).await.unwrap();
    let (mut inputs, mut ends) = inputs();
    let running = tokio::spawn(async move { desk.run(&mut inputs).await });
    let is_running = ends.status.wait_for(|status| !status.symbols.is_empty());
    tokio::time::timeout(Duration::from_secs(20), is_running).await.unwrap().unwrap();
    for _ in 20..ROWS {
        source.step().await;
        let newest = |sim: &ExchangeSim| {
            let symbols = SYMBOLS.map(Symbol::new);
            sim.inspect(|core| symbols.map(|symbol| core.bars(&symbol, None, None, 1).unwrap()))
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while newest(&sim) != newest(&source) {
            assert!(tokio::time::Instant::now() < deadline, "a bar of the source does not come");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        until_quiet(&sim).await;
    }
    ends.stop.send_replace(StopRequest::Orderly { flatten: false });
    assert_eq!(running.await.unwrap().unwrap(), Outcome::Stopped { is_settled: true });
    let told = closed_trades(dir.path(), "walker", "1h".parse().unwrap()).unwrap();
    assert!(told.len() >= 8, "{}", told.len());
    for name in SYMBOLS {
        let symbol = Symbol::new(name);
        assert_eq!(
            source.inspect(|core| core.all_orders(&symbol).unwrap().count()),
            0,
            "the source saw an order"
        );
        // Entries are market orders at a close: they fill at the price of the source then, inside a bar that it had.
        let bars = source.inspect(|core| core.bars(&symbol, None, None, 500).unwrap());
        let fills: Vec<_> = sim.inspect(|core| core.trades(&symbol).unwrap().collect());
        let bought = fills.iter().filter(|trade| trade.side == OrderSide::Buy).count();
        let closed = told.iter().filter(|trade| trade.symbol == symbol).count();
        assert!(closed <= bought && bought <= closed + 1, "{name}: {closed} trades, {bought} purchases");
        for trade in fills.iter().filter(|trade| trade.side == OrderSide::Buy) {
            let open_ms = trade.fill.time_ms.div_euclid(HOUR_MS) * HOUR_MS;
            let price: f64 = trade.fill.price.to_string().parse().unwrap();
            if let Some(bar) = bars.iter().find(|bar| bar.open_time_ms == open_ms) {
                assert_eq!(price, bar.open, "{name} in the bar of hour {}", open_ms / HOUR_MS);
            }
        }
    }
}
