//! A bot on an exchange, through real sockets: the simulator in lockstep at the other end.

use std::sync::Arc;
use std::time::Duration;

use polybolos_engine::kernels::bars::Bars;
use polybolos_live_trader::binance::{self, Credentials, KeyKind};
use polybolos_live_trader::config::Mode;
use polybolos_live_trader::exchange_sim::{ExchangeSim, SimConfig};
use polybolos_live_trader::order::OrderSide;
use polybolos_live_trader::runtime::{Exchange, Outcome, RuntimeError, Setup, StopRequest, closed_trades, start};
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
