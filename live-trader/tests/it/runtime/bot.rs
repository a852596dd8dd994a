//! A bot on a market of random bars, and the backtest of the same.

use std::path::Path;
use std::sync::{Arc, Mutex};

use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::simulation::simulate;
use polybolos_engine::strategy::{Format, Source};
use polybolos_live_trader::config::{self, BotConfig, Mode, Sources};
use polybolos_live_trader::control::{ControlRequest, Status};
use polybolos_live_trader::metrics::Metrics;
use polybolos_live_trader::order::OrderSide;
use polybolos_live_trader::promotion::{BotStrategy, compile, inline_source};
use polybolos_live_trader::runtime::{Inputs, PaperExchange, Setup, StopRequest};
use polybolos_live_trader::simulator::{Settings, synthetic_rules};
use polybolos_live_trader::symbol::Symbol;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use tokio::sync::{mpsc, watch};

pub(super) const HOUR_MS: i64 = 3_600_000;

pub(super) const SYMBOLS: [&str; 3] = ["AAAUSDT", "BBBUSDT", "CCCUSDT"];

const CASH: i64 = 10_000;

/// Entries and exits about every ten bars, a stop, a target, and a trend of four hours.
const STRATEGY: &str = "\
name: walk
long:
  enter: crosses_above(close, sma(close, 5)) and close > tf('4h', sma(close, 3))
  exit: crosses_below(close, sma(close, 8))
stop_loss: 0.02
take_profit: 0.03
cooldown: 1
";

/// A bot's file without anything that reaches outside.
pub(super) fn file(more: &str) -> String {
    let symbols = SYMBOLS.join(", ");
    let document = STRATEGY.replace('\n', "\n    ");
    format!(
        "name: walker\nstrategy:\n  interval: 1h\n  document: |\n    {document}\nsymbols: [{symbols}]\n\
         capital: {{quote_asset: USDT, per_symbol: {CASH}}}\nentry: {{collar_bps: 0}}\ncontrol: {{enabled: false}}\nreconcile: {{interval_s: 86400}}\n\
         risk: {{max_daily_loss: null, max_drawdown: null, price_collar_bps: null, max_orders_per_minute: null, max_orders_per_day: null}}\n{more}\n"
    )
}

pub(super) fn load(text: &str) -> (BotConfig, BotStrategy) {
    let source = Source { name: "bot.yaml".to_owned(), text: text.to_owned(), format: Format::Yaml };
    let config = config::load(&source, &Sources::default()).unwrap();
    let document = inline_source(&config.strategy, "bot.yaml").unwrap();
    let strategy = compile(&config.strategy, &document).unwrap();
    (config, strategy)
}

pub(super) fn setup(dir: &Path) -> Setup {
    let (config, strategy) = load(&file(""));
    Setup {
        config,
        strategy,
        mode: Mode::Paper,
        state_dir: dir.to_owned(),
        selector: None,
        wrap: None,
        metrics: Metrics::default(),
    }
}

/// Random walks in cents from 100, one per pair.
pub(super) fn market(seed: u64, rows: usize) -> Vec<(Symbol, Bars)> {
    let walk = |index: u64| crate::trader::market::walk(seed * 10 + index, rows, 50, 50);
    SYMBOLS.iter().zip(0..).map(|(name, index)| (Symbol::new(name), walk(index))).collect()
}

pub(super) fn exchange(market: &[(Symbol, Bars)], start_ms: i64) -> Arc<Mutex<PaperExchange>> {
    let pairs = market.iter().map(|(symbol, bars)| (synthetic_rules(symbol, bars), bars.clone())).collect();
    PaperExchange::new(&Settings::default(), pairs, Decimal::from(CASH), start_ms).unwrap()
}

/// Entry bar, entry price, exit bar, exit price of a closed trade.
pub(super) type Trade = (i64, f64, i64, f64);

/// What the backtest trades on each pair.
pub(super) fn backtest(market: &[(Symbol, Bars)]) -> Vec<Vec<Trade>> {
    let (_, strategy) = load(&file(""));
    let trades = |bars: &Bars| {
        let config = strategy.strategy.config();
        let run = simulate(strategy.strategy.program(), &strategy.values, bars, &config).unwrap();
        let at = |bar: usize| bars.open_time_ms[bar];
        run.trades.iter().map(|t| (at(t.entry_bar), t.entry_price, at(t.exit_bar), t.exit_price)).collect()
    };
    market.iter().map(|(_, bars)| trades(bars)).collect()
}

/// What was traded on each pair, from the exchange's own list of fills.
pub(super) fn traded(exchange: &Arc<Mutex<PaperExchange>>) -> Vec<Vec<Trade>> {
    let exchange = exchange.lock().unwrap();
    let trades = |name: &&str| {
        let symbol = Symbol::new(name);
        let fills: Vec<(OrderSide, i64, f64)> = exchange
            .book(&symbol)
            .unwrap()
            .trades(&symbol)
            .unwrap()
            .map(|trade| {
                let price = trade.fill.price.to_f64().unwrap();
                (trade.side, trade.fill.time_ms.div_euclid(HOUR_MS) * HOUR_MS, price)
            })
            .collect();
        fills
            .chunks_exact(2)
            .map(|pair| {
                assert_eq!((pair[0].0, pair[1].0), (OrderSide::Buy, OrderSide::Sell));
                (pair[0].1, pair[0].2, pair[1].1, pair[1].2)
            })
            .collect()
    };
    SYMBOLS.iter().map(trades).collect()
}

#[track_caller]
pub(super) fn assert_same(live: &[Vec<Trade>], expected: &[Vec<Trade>]) {
    for ((live, expected), symbol) in live.iter().zip(expected).zip(SYMBOLS) {
        for (live, expected) in live.iter().zip(expected) {
            let is_near = |a: f64, b: f64| (a - b).abs() < 0.010_001;
            let is_same = (live.0, live.2) == (expected.0, expected.2)
                && is_near(live.1, expected.1)
                && is_near(live.3, expected.3);
            assert!(is_same, "{symbol}: live {live:?}, backtest {expected:?}");
        }
        assert_eq!(live.len(), expected.len(), "{symbol}");
    }
}

/// The other ends of a desk's inputs.
pub(super) struct Ends {
    pub(super) _controls: mpsc::Sender<ControlRequest>,
    pub(super) stop: watch::Sender<StopRequest>,
    pub(super) kills: mpsc::Sender<String>,
    pub(super) status: watch::Receiver<Arc<Status>>,
}

pub(super) fn inputs() -> (Inputs, Ends) {
    let (control_sender, controls) = mpsc::channel(16);
    let (stop_sender, stop) = watch::channel(StopRequest::None);
    let (kill_sender, kills) = mpsc::channel(4);
    let (status, status_receiver) =
        watch::channel(Arc::new(Status::starting("walker", Mode::Paper, "USDT", 0)));
    let ends =
        Ends { _controls: control_sender, stop: stop_sender, kills: kill_sender, status: status_receiver };
    (Inputs { controls, stop, kills, status, alerts: None }, ends)
}
