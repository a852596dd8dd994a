//! A bot on an exchange, through real sockets: the simulator in lockstep at the other end.

use std::sync::Arc;
use std::time::Duration;

use polybolos_engine::kernels::bars::Bars;
use polybolos_live_trader::binance::{self, Credentials, KeyKind};
use polybolos_live_trader::config::Mode;
use polybolos_live_trader::exchange_sim::{ApiKey, ExchangeSim, SimConfig};
use polybolos_live_trader::order::OrderSide;
use polybolos_live_trader::runtime::{
    Exchange, LivePaper, Outcome, RuntimeError, Setup, StopRequest, closed_trades, market_data, paper_costs,
    start,
};
use polybolos_live_trader::simulator::{Settings, synthetic_rules};
use polybolos_live_trader::symbol::Symbol;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use super::bot::{HOUR_MS, SYMBOLS, Trade, assert_same, backtest, file, inputs, load, market};

fn key() -> Credentials {
    Credentials::new(KeyKind::Hmac, "sim-key".to_owned().into(), "sim-secret".to_owned().into()).unwrap()
}

async fn simulator(market: &[(Symbol, Bars)], start_ms: i64) -> ExchangeSim {
    let settings =
        Settings { balances: vec![("USDT".to_owned(), Decimal::from(30_000))], ..Settings::default() };
    let interval = "1h".parse().unwrap();
    let config = SimConfig { settings, start_ms, ..SimConfig::new(interval) };
    let pairs = market.iter().map(|(symbol, bars)| (synthetic_rules(symbol, bars), bars.clone())).collect();
    ExchangeSim::start(config, pairs).await.unwrap()
}

/// With room for opens above the last price: three pairs that are all in leave nothing else to pay them with.
fn at(sim: &ExchangeSim) -> String {
    let address = sim.address();
    file(&format!(
        "exchange: {{venue: custom, rest_url: 'http://{address}', stream_url: 'ws://{address}', ws_api_url: 'ws://{address}/ws-api/v3', lockstep: true}}"
    ))
    .replace("collar_bps: 0", "collar_bps: 100")
}

async fn connect(sim: &ExchangeSim, mode: Mode) -> Result<Exchange, RuntimeError> {
    let (config, strategy) = load(&at(sim));
    Exchange::connect(&config, strategy.interval, mode, key(), Arc::new(binance::Metrics::default())).await
}

fn setup(sim: &ExchangeSim, dir: &std::path::Path) -> Setup {
    let (config, strategy) = load(&at(sim));
    Setup { config, strategy, ..super::bot::setup(dir) }
}

fn traded(sim: &ExchangeSim) -> Vec<Vec<Trade>> {
    let of = |name: &&str| {
        let symbol = Symbol::new(name);
        let fills: Vec<(OrderSide, i64, f64)> = sim.inspect(|core| {
            let trades = core.trades(&symbol).unwrap();
            trades
                .map(|trade| {
                    let bar_ms = trade.fill.time_ms.div_euclid(HOUR_MS) * HOUR_MS;
                    (trade.side, bar_ms, trade.fill.price.to_f64().unwrap())
                })
                .collect()
        });
        fills.chunks_exact(2).map(|pair| (pair[0].1, pair[0].2, pair[1].1, pair[1].2)).collect()
    };
    SYMBOLS.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_over_sockets_trades_what_the_backtest_trades() {
    let market = market(21, 200);
    let expected = backtest(&market);
    let sim = simulator(&market, 0).await;
    let dir = tempfile::tempdir().unwrap();
    let venue = connect(&sim, Mode::Testnet).await.unwrap();
    let mut desk = start(setup(&sim, dir.path()), venue).await.unwrap();
    let (mut inputs, ends) = inputs();
    let running = tokio::spawn(async move {
        let outcome = desk.run(&mut inputs).await;
        (desk, outcome)
    });
    tokio::time::timeout(Duration::from_secs(60), sim.ended()).await.unwrap();
    ends.stop.send_replace(StopRequest::Orderly { flatten: false });
    let (desk, outcome) = running.await.unwrap();
    assert_eq!(outcome.unwrap(), Outcome::Stopped { is_settled: true });
    assert_same(&traded(&sim), &expected);
    // The journal tells the same trades as the exchange.
    let interval = "1h".parse().unwrap();
    let told = closed_trades(dir.path(), "walker", interval).unwrap();
    assert_eq!(told.len(), expected.concat().len());
    assert_eq!(told.len() as u64, desk.trader().ledger().statistics().trades);
    for (name, expected) in SYMBOLS.iter().zip(&expected) {
        let of_symbol = told.iter().filter(|trade| trade.symbol.as_str() == *name);
        let floor = |ms: i64| ms.div_euclid(HOUR_MS) * HOUR_MS;
        let times: Vec<_> = of_symbol.map(|trade| (floor(trade.entry_ms), floor(trade.exit_ms))).collect();
        assert_eq!(times, expected.iter().map(|t| (t.0, t.2)).collect::<Vec<_>>(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_at_any_moment_misses_no_trade_of_a_market_that_waits() {
    let market = market(25, 600);
    let expected = backtest(&market);
    let sim = simulator(&market, 0).await;
    let dir = tempfile::tempdir().unwrap();
    for life in 1..=16 {
        let venue = connect(&sim, Mode::Testnet).await.unwrap();
        let mut desk = start(setup(&sim, dir.path()), venue).await.unwrap();
        let (mut inputs, _ends) = inputs();
        let running = tokio::spawn(async move { desk.run(&mut inputs).await });
        while sim.progress().steps < life * 35 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Mostly while it waits for a close, which is then told to nobody.
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
    }
    let venue = connect(&sim, Mode::Testnet).await.unwrap();
    let mut desk = start(setup(&sim, dir.path()), venue).await.unwrap();
    let (mut inputs, ends) = inputs();
    let running = tokio::spawn(async move { desk.run(&mut inputs).await });
    tokio::time::timeout(Duration::from_secs(60), sim.ended()).await.unwrap();
    ends.stop.send_replace(StopRequest::Orderly { flatten: false });
    assert_eq!(running.await.unwrap().unwrap(), Outcome::Stopped { is_settled: true });
    assert_same(&traded(&sim), &expected);
}

/// A market whose bars open where the last one closed, as a market does that never sleeps.
pub(super) fn continuous(mut market: Vec<(Symbol, Bars)>) -> Vec<(Symbol, Bars)> {
    for (_, bars) in &mut market {
        for t in 1..bars.len() {
            bars.open[t] = bars.close[t - 1];
            bars.high[t] = bars.high[t].max(bars.open[t]);
            bars.low[t] = bars.low[t].min(bars.open[t]);
        }
    }
    market
}

async fn live_paper(sim: &ExchangeSim, dir: &std::path::Path) -> LivePaper {
    let (config, strategy) = load(&at(sim));
    let connector = market_data(&config.exchange, Arc::new(binance::Metrics::default())).unwrap();
    let (costs, cash) = (paper_costs(&strategy), Decimal::from(10_000));
    LivePaper::connect(connector, &config.exchange, strategy.interval, costs, cash, dir).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn paper_on_a_live_market_trades_what_the_backtest_trades_and_sends_nothing() {
    let market = continuous(market(22, 200));
    let expected = backtest(&market);
    // What follows the newest closed bar is put in by the bot, so it needs one to begin with.
    let sim = simulator(&market, HOUR_MS).await;
    let dir = tempfile::tempdir().unwrap();
    let mut desk = start(setup(&sim, dir.path()), live_paper(&sim, dir.path()).await).await.unwrap();
    let (mut inputs, ends) = inputs();
    let running = tokio::spawn(async move { desk.run(&mut inputs).await });
    tokio::time::timeout(Duration::from_secs(60), sim.ended()).await.unwrap();
    ends.stop.send_replace(StopRequest::Orderly { flatten: false });
    assert_eq!(running.await.unwrap().unwrap(), Outcome::Stopped { is_settled: true });
    let told = closed_trades(dir.path(), "walker", "1h".parse().unwrap()).unwrap();
    let floor = |ms: i64| ms.div_euclid(HOUR_MS) * HOUR_MS;
    for (name, expected) in SYMBOLS.iter().zip(&expected) {
        let of_symbol = told.iter().filter(|trade| trade.symbol.as_str() == *name);
        let times: Vec<_> = of_symbol.map(|trade| (floor(trade.entry_ms), floor(trade.exit_ms))).collect();
        assert_eq!(times, expected.iter().map(|t| (t.0, t.2)).collect::<Vec<_>>(), "{name}");
    }
    assert!(traded(&sim).concat().is_empty(), "an order reached the exchange");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paper_account_and_an_exchange_s_are_found_again_after_restarts() {
    for is_paper in [true, false] {
        // Long enough that no life sees its end.
        let sim = simulator(&continuous(market(24, 4_000)), HOUR_MS).await;
        let dir = tempfile::tempdir().unwrap();
        let mut trades = 0;
        for life in 0..4 {
            let (mut inputs, mut ends) = inputs();
            let running = if is_paper {
                let mut desk =
                    start(setup(&sim, dir.path()), live_paper(&sim, dir.path()).await).await.unwrap();
                tokio::spawn(async move { desk.run(&mut inputs).await })
            } else {
                let venue = connect(&sim, Mode::Testnet).await.unwrap();
                let mut desk = start(setup(&sim, dir.path()), venue).await.unwrap();
                tokio::spawn(async move { desk.run(&mut inputs).await })
            };
            let is_enough = |status: &polybolos_live_trader::control::Status| {
                status.symbols.iter().map(|symbol| symbol.trades).sum::<u64>() >= trades as u64 + 5
            };
            let closed = ends.status.wait_for(|status| is_enough(status));
            tokio::time::timeout(Duration::from_secs(30), closed).await.unwrap().unwrap();
            ends.stop.send_replace(StopRequest::Orderly { flatten: false });
            assert_eq!(running.await.unwrap().unwrap(), Outcome::Stopped { is_settled: true });
            let told = closed_trades(dir.path(), "walker", "1h".parse().unwrap()).unwrap().len();
            assert!(told > trades, "{told} after life {life}");
            trades = told;
        }
    }
}

/// What an exchange with higher limits says was used is not measured by the usual ones: a bot that starts late would wait for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_bot_starts_on_an_exchange_of_which_more_was_used_than_others_allow() {
    let market = market(23, 50);
    let sim = simulator(&market, 0).await;
    let address = sim.address();
    let used = async || {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("http://{address}/api/v3/depth?symbol={}&limit=5000", SYMBOLS[0]));
        let answer = request.send().await.unwrap();
        answer.headers()["x-mbx-used-weight-1m"].to_str().unwrap().parse::<u32>().unwrap()
    };
    while used().await <= 6_000 {}
    let began = std::time::Instant::now();
    connect(&sim, Mode::Testnet).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_a_live_address_and_an_unknown_pair_are_refused_before_anything_is_sent() {
    let market = market(23, 50);
    let sim = simulator(&market, 0).await;
    let (config, strategy) = load(&at(&sim));
    let wrong =
        Credentials::new(KeyKind::Hmac, "sim-key".to_owned().into(), "another".to_owned().into()).unwrap();
    let counters = Arc::new(binance::Metrics::default());
    let error =
        Exchange::connect(&config, strategy.interval, Mode::Testnet, wrong, counters).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Venue { .. }), "{error}");
    assert!(!error.to_string().contains("another") && !format!("{error:?}").contains("another"));

    let mut live = config.clone();
    live.exchange.rest_url = Some("https://api.binance.com".to_owned());
    let counters = Arc::new(binance::Metrics::default());
    let error =
        Exchange::connect(&live, strategy.interval, Mode::Testnet, key(), counters).await.unwrap_err();
    assert!(error.to_string().contains("real money"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let mut unknown = setup(&sim, dir.path());
    unknown.config.symbols.push("ZZZUSDT".to_owned());
    let venue = connect(&sim, Mode::Testnet).await.unwrap();
    let error = start(unknown, venue).await.err().unwrap();
    assert!(error.to_string().contains("ZZZUSDT"), "{error}");
}

/// A place for log lines.
#[derive(Clone, Default)]
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_key_nor_secret_is_in_logs_journal_status_metrics_or_debug_output() {
    const KEY: &str = "KEYzq81Vw0";
    const SECRET: &str = "SECRETm4Tt92";
    let lines = Lines::default();
    let written = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || written.clone())
        .finish();
    // While there is one subscriber only, a thread without it that comes first to a line switches that line off for all.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let market = market(25, 60);
    let pairs = market.iter().map(|(symbol, bars)| (synthetic_rules(symbol, bars), bars.clone())).collect();
    let api_key = ApiKey { key: KEY.to_owned(), secret: SECRET.to_owned(), public_key: None };
    let settings =
        Settings { balances: vec![("USDT".to_owned(), Decimal::from(30_000))], ..Settings::default() };
    let config = SimConfig { settings, start_ms: 0, key: api_key, ..SimConfig::new("1h".parse().unwrap()) };
    let sim = ExchangeSim::start(config, pairs).await.unwrap();
    let (config, strategy) = load(&at(&sim));
    let credentials =
        Credentials::new(KeyKind::Hmac, KEY.to_owned().into(), SECRET.to_owned().into()).unwrap();
    let mut seen = format!("{credentials:?}");
    let counters = Arc::new(binance::Metrics::default());
    let venue =
        Exchange::connect(&config, strategy.interval, Mode::Testnet, credentials, Arc::clone(&counters))
            .await
            .unwrap();
    seen.push_str(&format!("{venue:?}"));
    let dir = tempfile::tempdir().unwrap();
    let mut desk = start(setup(&sim, dir.path()), venue).await.unwrap();
    let (mut inputs, ends) = inputs();
    let stop = ends.stop.clone();
    let ended = async {
        sim.ended().await;
        stop.send_replace(StopRequest::Orderly { flatten: false });
    };
    let (outcome, ()) = tokio::join!(desk.run(&mut inputs), ended);
    outcome.unwrap();
    let status = ends.status.borrow().clone();
    assert!(status.symbols.iter().map(|symbol| symbol.trades).sum::<u64>() > 0);
    seen.push_str(&serde_json::to_string(&*status).unwrap());
    let text = polybolos_live_trader::metrics::Metrics::default().text_with(&status, Some(&counters));
    assert!(text.contains("polybolos_bot_decision_to_wire_seconds_count") && text.contains("requests_total"));
    seen.push_str(&text);
    for entry in std::fs::read_dir(dir.path().join("journal")).unwrap() {
        seen.push_str(&String::from_utf8_lossy(&std::fs::read(entry.unwrap().path()).unwrap()));
    }
    let logs = String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned();
    assert!(logs.contains("order report") && logs.contains("client_id"), "{} bytes of logs", logs.len());
    for secret in [KEY, SECRET] {
        assert!(!seen.contains(secret) && !logs.contains(secret), "{secret} is to be read somewhere");
    }
}
