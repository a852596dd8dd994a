//! A bot with every key that there is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use polybolos_engine::strategy::Format;
use rust_decimal::Decimal;

use super::{
    AcceptedDifference, AlertKind, Alerts, BotConfig, Capital, Entry, Evidence, Exchange, Limits, Logs, Mode,
    OnDisconnect, Protection, Reconcile, Risk, SelectionConfig, Simulation, Span, StrategySection,
    SymbolEvidence, Telegram, Webhook,
};

/// Keys that the example has behind `#`: each is there instead of another, or is written by `promote`.
pub(crate) const ALTERNATIVES: &[&str] = &[
    "strategy.file",
    "strategy.digest",
    "selection",
    "capital.total",
    "exchange.rest_url",
    "exchange.stream_url",
    "exchange.ws_api_url",
    "exchange.key_file",
    "logs.file",
    "evidence",
];

const DOCUMENT: &str = "\
name: sma-cross
params:
  fast: {from: 5, to: 54}
  slow: {from: 60, to: 258, step: 2}
  stop: [0.02, 0.05]
where: fast < slow
long:
  enter: crosses_above(sma(close, fast), sma(close, slow))
  exit: crosses_below(sma(close, fast), sma(close, slow))
stop_loss: stop
size: {equity: 1.0}
";

const DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn whole(value: u32) -> Decimal {
    Decimal::from(value)
}

/// The example.
pub(crate) fn bot() -> BotConfig {
    let params = [("fast", 10.0), ("slow", 120.0), ("stop", 0.05)];
    BotConfig {
        name: "sma-cross-majors".to_owned(),
        mode: Mode::Paper,
        strategy: StrategySection {
            document: Some(DOCUMENT.to_owned()),
            file: Some(PathBuf::from("strategies/sma-cross.yaml")),
            format: Format::Yaml,
            params: params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            simulation: Simulation {
                cash: Some(10_000.0),
                fee: Some(0.001),
                slippage: Some(0.0),
                fill: Some("next_open".to_owned()),
                intrabar: Some("stop_first".to_owned()),
                returns: Some("daily".to_owned()),
            },
            interval: "1h".to_owned(),
            digest: Some(DIGEST.to_owned()),
        },
        symbols: vec!["BTCUSDT".to_owned(), "ETHUSDT".to_owned()],
        selection: Some(selection()),
        capital: Capital {
            quote_asset: "USDT".to_owned(),
            per_symbol: Some(whole(1_000)),
            total: Some(whole(2_000)),
        },
        entry: Entry::default(),
        exchange: Exchange {
            rest_url: Some("http://127.0.0.1:9380".to_owned()),
            stream_url: Some("ws://127.0.0.1:9380".to_owned()),
            ws_api_url: Some("ws://127.0.0.1:9380/ws-api/v3".to_owned()),
            key_file: Some(PathBuf::from("binance.key")),
            ..Exchange::default()
        },
        risk: risk(),
        on_disconnect: OnDisconnect::default(),
        reconcile: Reconcile {
            accept: vec![AcceptedDifference { asset: "BNB".to_owned(), up_to: Decimal::new(1, 2) }],
            ..Reconcile::default()
        },
        state_dir: super::state_dir(),
        control: super::Control::default(),
        alerts: Alerts {
            webhook: Some(Webhook { url_env: "POLYBOLOS_WEBHOOK_URL".to_owned() }),
            telegram: Some(Telegram {
                token_env: "POLYBOLOS_TELEGRAM_TOKEN".to_owned(),
                chat_id: "-1001234567890".to_owned(),
            }),
            on: vec![
                AlertKind::Lifecycle,
                AlertKind::Kill,
                AlertKind::Risk,
                AlertKind::Reconcile,
                AlertKind::Error,
            ],
        },
        dashboard: super::Dashboard::default(),
        logs: Logs { file: Some(PathBuf::from("bot.log")), ..Logs::default() },
        shutdown: super::Shutdown::default(),
        evidence: Some(evidence()),
    }
}

fn selection() -> SelectionConfig {
    SelectionConfig {
        min_quote_volume_24h: Some(whole(20_000_000)),
        max_spread_bps: Some(whole(5)),
        min_age_days: Some(180),
        min_volatility: Some(Decimal::new(1, 2)),
        max_volatility: Some(Decimal::new(15, 2)),
        max_min_notional: Some(whole(10)),
        blacklist: vec!["USDCUSDT".to_owned(), "*UPUSDT".to_owned()],
        whitelist: vec!["BTC*".to_owned()],
        ..SelectionConfig::default()
    }
}

fn risk() -> Risk {
    Risk {
        limits: Limits {
            max_daily_loss_quote: Some(whole(50)),
            max_position_notional: Some(whole(1_200)),
            max_total_notional: Some(whole(2_400)),
            max_open_positions: Some(whole(2)),
            max_order_notional: Some(whole(1_200)),
            ..Limits::default()
        },
        protections: vec![
            Protection::CooldownPeriod { stop_duration: Span::Bars(2) },
            Protection::StoplossGuard {
                lookback: Span::Bars(48),
                trade_limit: 3,
                stop_duration: Span::Bars(12),
                required_profit: Decimal::ZERO,
                only_per_pair: false,
            },
            Protection::MaxDrawdown {
                lookback: Span::Bars(168),
                trade_limit: 5,
                stop_duration: Span::Minutes(1_440),
                max_allowed_drawdown: Decimal::new(1, 1),
            },
            Protection::LowProfitPairs {
                lookback: Span::Bars(168),
                trade_limit: 3,
                stop_duration: Span::Bars(24),
                required_profit: Decimal::new(-2, 2),
            },
        ],
    }
}

fn evidence() -> Evidence {
    let metrics = [("max_drawdown", 0.12), ("sharpe", 1.4), ("trades", 87.0)];
    let symbol = SymbolEvidence {
        bars_digest: DIGEST.to_owned(),
        bars: 17_520,
        first_open_ms: 1_672_531_200_000,
        last_open_ms: 1_735_599_600_000,
        trials: 5_000,
        metrics: metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    };
    Evidence {
        sweep_id: "sma-cross-3f9a2c81d04b".to_owned(),
        row: 1_042,
        engine_version: polybolos_engine::sweep::engine_version(),
        sweep_strategy_digest: DIGEST.to_owned(),
        promoted_ms: 1_735_689_600_000,
        symbols: BTreeMap::from([("BTCUSDT".to_owned(), symbol)]),
        thresholds: BTreeMap::from([("min_trades".to_owned(), 30.0)]),
        missed: vec!["BTCUSDT: dsr 0.81 is below 0.95".to_owned()],
        forced_because: Some("paper trading only".to_owned()),
        digest: DIGEST.to_owned(),
    }
}
