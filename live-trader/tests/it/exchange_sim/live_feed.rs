//! An exchange that follows another one: the source plays bars of long ago, step by step; everything goes through sockets.

use std::time::Duration;

use polybolos_engine::strategy::{Format, Source};
use polybolos_live_trader::exchange_sim::{FaultPlan, LiveError, LiveMarket, LiveSource};
use polybolos_live_trader::filters::SymbolStatus;
use polybolos_live_trader::order::OrderStatus;
use polybolos_live_trader::simulator::{Settings, Simulator};
use polybolos_live_trader::venue::{MarketEvent, Response};
use serde_json::Value;

use super::client::{Socket, now_ms, public};
use super::*;

const LONGEST: Duration = Duration::from_secs(10);

async fn load(source: &ExchangeSim, names: &[&str]) -> Result<LiveMarket, LiveError> {
    let symbols = names.iter().map(|name| Symbol::new(name)).collect();
    let connector =
        ConnectorConfig { request_timeout_ms: 2_000, info_ttl_ms: 100, ..connector_config(source) };
    LiveMarket::load(LiveSource { connector, symbols, interval: "1h".parse().unwrap(), history: 500 }).await
}

/// An exchange on the market of `source`, with an account that can buy and sell.
async fn follow(source: &ExchangeSim, names: &[&str], change: impl FnOnce(&mut SimConfig)) -> ExchangeSim {
    let balance = |asset: &str, amount: i64| (asset.to_owned(), Decimal::from(amount));
    let balances = vec![balance("USDT", 100_000), balance("BTC", 100)];
    let settings = Settings { balances, ..Settings::default() };
    let mut config = SimConfig { settings, ..SimConfig::new("1h".parse().unwrap()) };
    change(&mut config);
    ExchangeSim::start_live(config, load(source, names).await.unwrap()).await.unwrap()
}

/// Waits for something to become true of an exchange.
#[track_caller]
fn until(sim: &ExchangeSim, what: &str, is_true: impl Fn(&Simulator) -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let deadline = tokio::time::Instant::now() + LONGEST;
        while !sim.inspect(&is_true) {
            assert!(tokio::time::Instant::now() < deadline, "{place}: {what} does not come");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Open times of the closed bars of a pair, hours.
fn closed(core: &Simulator, name: &str) -> Vec<i64> {
    let bars = core.bars(&Symbol::new(name), None, None, 100).unwrap();
    bars.iter().map(|bar| bar.open_time_ms / HOUR_MS).collect()
}

/// A step of the source, until it has arrived.
async fn step(source: &ExchangeSim, sim: &ExchangeSim, names: &[&str]) {
    source.step().await;
    for name in names {
        let symbol = Symbol::new(name);
        let (bars, price) = source.inspect(|core| (closed(core, name), core.price(&symbol)));
        until(sim, name, |core| closed(core, name) == bars && core.price(&symbol) == price).await;
    }
}

fn status(sim: &ExchangeSim, name: &str) -> (OrderStatus, Vec<String>) {
    let symbol = symbol();
    sim.inspect(|core| {
        let mut orders = core.all_orders(&symbol).unwrap();
        let order = orders.find(|order| order.client_id.as_str() == name).unwrap();
        let prices = order.fills.iter().map(|fill| fill.price.normalize().to_string());
        (order.status, prices.collect())
    })
}

fn faults(rule: &str) -> FaultPlan {
    let text = format!("faults:\n  - {rule}\n");
    FaultPlan::parse(&Source { name: "plan.yaml".to_owned(), text, format: Format::Yaml }).unwrap()
}

async fn klines(sim: &ExchangeSim, name: &str) -> Value {
    public(&sim.base_url(), "klines", &format!("symbol={name}&interval=1h&startTime=0")).await.body
}

#[tokio::test]
async fn its_bars_rules_and_prices_are_the_sources() {
    let source = start(|_| {}).await;
    let sim = follow(&source, &["BTCUSDT"], |_| {}).await;
    let rules = |sim: &ExchangeSim| sim.inspect(|core| core.rules().cloned().collect::<Vec<_>>());
    assert_eq!(rules(&sim), rules(&source));
    let connector = connect(&sim).await;
    let mut market = connector.market_stream(plan(Some(0)));
    let mut seen = Vec::new();
    assert_eq!(klines(&sim, "BTCUSDT").await, klines(&source, "BTCUSDT").await, "the past");
    for _ in 0..6 {
        step(&source, &sim, &["BTCUSDT"]).await;
        assert_eq!(klines(&sim, "BTCUSDT").await, klines(&source, "BTCUSDT").await);
    }
    while seen.len() < 5 {
        if let Some(MarketEvent::Bar { bar, .. }) = market.next().await {
            seen.push(bar.open_time_ms / HOUR_MS);
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5], "what closed is told to its own clients");
    assert_eq!(sim.progress().steps, 5);
}

#[tokio::test]
async fn a_market_order_fills_at_the_sources_last_price() {
    let source = start(|_| {}).await;
    let sim = follow(&source, &["BTCUSDT"], |_| {}).await;
    let connector = connect(&sim).await;
    for (number, expected) in ["100.5", "102.5", "103"].iter().enumerate() {
        step(&source, &sim, &["BTCUSDT"]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let buy = order(&format!("in{number}"), OrderSide::Buy, OrderKind::Market, "1");
        let Ok(Response::Order(report)) = connector.execute(&buy).await else { panic!("refused") };
        assert_eq!(report.fills[0].price, dec(expected));
        let opens = (number as i64 + 1) * HOUR_MS;
        let since_ms = report.fills[0].time_ms - opens;
        assert!((20..HOUR_MS).contains(&since_ms), "{since_ms} ms into the bar that is open");
    }
}

#[tokio::test]
async fn a_resting_order_meets_the_bars_that_opened_after_it() {
    let source = start(|_| {}).await;
    let sim = follow(&source, &["BTCUSDT"], |_| {}).await;
    let connector = connect(&sim).await;
    let sell = |name: &str, stop_price: &str| {
        order(name, OrderSide::Sell, OrderKind::StopLoss { stop_price: dec(stop_price) }, "1")
    };
    step(&source, &sim, &["BTCUSDT"]).await;
    step(&source, &sim, &["BTCUSDT"]).await;
    // Bar 2 is open: up to 103.50.
    connector.execute(&sell("before", "95.5")).await.unwrap();
    connector.execute(&order("limit", OrderSide::Sell, limit("103.05"), "1")).await.unwrap();
    connector.execute(&order("during", OrderSide::Sell, limit("103.45"), "1")).await.unwrap();
    step(&source, &sim, &["BTCUSDT"]).await;
    assert_eq!(status(&sim, "during").0, OrderStatus::New, "103.50 may lie before it");
    // Bar 3 is open: from 103 up to 103.10 and down to 95.
    connector.execute(&sell("late", "95.5")).await.unwrap();
    step(&source, &sim, &["BTCUSDT"]).await;
    assert_eq!(status(&sim, "before"), (OrderStatus::Filled, vec!["95.5".to_owned()]));
    assert_eq!(status(&sim, "limit"), (OrderStatus::Filled, vec!["103.05".to_owned()]));
    assert_eq!(status(&sim, "late"), (OrderStatus::New, vec![]));
    step(&source, &sim, &["BTCUSDT"]).await;
    assert_eq!(status(&sim, "late").0, OrderStatus::Filled, "bar 4 falls to 89");
}

#[tokio::test]
async fn pairs_close_at_their_own_times() {
    let names = ["BTCUSDT", "ETHUSDT"];
    let mut hole = bars(&TICKS);
    hole.open_time_ms = vec![0, 1, 3, 4, 6, 7].into_iter().map(|hour| hour * HOUR_MS).collect();
    let pairs = [bars(&TICKS), hole].into_iter().zip(names);
    let pairs = pairs.map(|(bars, name)| (synthetic_rules(&Symbol::new(name), &bars), bars)).collect();
    let config = SimConfig { start_ms: HOUR_MS, speed: Speed::Held, ..SimConfig::new("1h".parse().unwrap()) };
    let source = ExchangeSim::start(config, pairs).await.unwrap();
    let sim = follow(&source, &names, |_| {}).await;
    let mut unequal = 0;
    for _ in 0..9 {
        step(&source, &sim, &names).await;
        let newest = names.map(|name| sim.inspect(|core| closed(core, name)).last().copied());
        unequal += usize::from(newest[0] != newest[1]);
        for name in names {
            assert_eq!(klines(&sim, name).await, klines(&source, name).await);
        }
    }
    assert!(unequal > 2, "{unequal}");
    assert_eq!(sim.inspect(|core| closed(core, "ETHUSDT")), [0, 1, 3, 4, 6, 7]);
}

#[tokio::test]
async fn lost_connections_leave_no_bar_out_and_none_twice() {
    let cut = faults("{at_step: 3, do: [{drop: market}]}");
    let again = faults("{at_step: 2, do: [{drop: market}]}");
    let source = start(|config| config.faults = cut).await;
    let sim = follow(&source, &["BTCUSDT"], |config| config.faults = again).await;
    let connector = connect(&sim).await;
    let stop = order("stop", OrderSide::Sell, OrderKind::StopLoss { stop_price: dec("91") }, "1");
    connector.execute(&stop).await.unwrap();
    let mut market = connector.market_stream(plan(Some(0)));
    for _ in 0..6 {
        source.step().await;
    }
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let event = tokio::time::timeout(LONGEST, market.next()).await.unwrap();
        if let Some(MarketEvent::Bar { bar, .. }) = event {
            seen.push(bar.open_time_ms / HOUR_MS);
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5]);
    until(&sim, "all of them", |core| closed(core, "BTCUSDT") == [0, 1, 2, 3, 4, 5]).await;
    assert_eq!(status(&sim, "stop").0, OrderStatus::Filled, "the order stayed and met the bars");
    let more = tokio::time::timeout(Duration::from_millis(100), async {
        while !matches!(market.next().await, Some(MarketEvent::Bar { .. })) {}
    });
    assert!(more.await.is_err(), "a bar came twice");
}

#[tokio::test]
async fn without_its_source_it_goes_on_answering_and_open_bars_stop() {
    let source = start(|_| {}).await;
    let sim = follow(&source, &["BTCUSDT"], |_| {}).await;
    step(&source, &sim, &["BTCUSDT"]).await;
    let mut market = Socket::open(&sim.base_url(), "/ws/btcusdt@kline_1h").await;
    let open = tokio::time::timeout(LONGEST, market.next()).await.unwrap().unwrap();
    assert_eq!((&open["k"]["t"], &open["k"]["x"]), (&Value::from(HOUR_MS), &Value::from(false)));
    assert_eq!(open["k"]["c"], "100.5");
    let connector = connect(&sim).await;
    connector.execute(&order("rests", OrderSide::Buy, limit("90"), "1")).await.unwrap();
    drop(source);
    // What was on its way when the source went.
    let _ = tokio::time::timeout(Duration::from_millis(500), market.next()).await;
    let silence = tokio::time::timeout(Duration::from_millis(2_500), market.next()).await;
    assert!(silence.is_err(), "{silence:?}");
    assert_eq!(status(&sim, "rests").0, OrderStatus::New);
    let buy = order("in", OrderSide::Buy, OrderKind::Market, "1");
    assert!(connector.execute(&buy).await.is_ok());
}

#[tokio::test]
async fn clock_and_rules_are_asked_for_again() {
    let skew = faults("{on: [time], nth: 1, do: [{clock_skew_ms: 60000}]}");
    let source = start(|config| config.faults = skew).await;
    let sim = follow(&source, &["BTCUSDT"], |_| {}).await;
    let ahead = public(&sim.base_url(), "time", "").await.body["serverTime"].as_i64().unwrap() - now_ms();
    assert!((59_000..=60_000).contains(&ahead), "{ahead}: the server's clock is the source's");
    let mut rules = source.inspect(|core| core.rules().next().unwrap().clone());
    rules.status = SymbolStatus::Halted;
    assert!(source.change(|core| core.revise_rules(&rules)));
    until(&sim, "the halt", |core| core.rules().next().unwrap().status == SymbolStatus::Halted).await;
    let connector = connect(&sim).await;
    let buy = connector.execute(&order("in", OrderSide::Buy, OrderKind::Market, "1")).await;
    assert!(buy.is_err(), "{buy:?}");
}

#[tokio::test]
async fn what_cannot_be_followed_is_named() {
    let source = start(|_| {}).await;
    let unknown = load(&source, &["BTCUSDT", "XYZUSDT"]).await.unwrap_err().to_string();
    assert!(unknown.contains("XYZUSDT") && unknown.contains(&source.base_url()), "{unknown}");
    let twice = load(&source, &["BTCUSDT", "BTCUSDT"]).await.unwrap();
    let config = SimConfig::new("1h".parse().unwrap());
    let twice = ExchangeSim::start_live(config, twice).await.unwrap_err().to_string();
    assert!(twice.contains("BTCUSDT: given twice"), "{twice}");
    let address = source.base_url();
    let config = ConnectorConfig { question_retries: 0, ..connector_config(&source) };
    drop(source);
    let (symbols, interval) = (vec![symbol()], "1h".parse().unwrap());
    let gone = LiveMarket::load(LiveSource { connector: config, symbols, interval, history: 1 }).await;
    let gone = gone.unwrap_err().to_string();
    assert!(gone.contains("the time") && gone.contains(&address), "{gone}");
}
