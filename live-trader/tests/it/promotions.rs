//! Promotion: thresholds, derived limits, and every change to a promoted file found.

use std::collections::BTreeMap;

use polybolos_engine::strategy::{Format, Overrides, Source};
use polybolos_live_trader::config::{BotConfig, Sources, SymbolEvidence, load};
use polybolos_live_trader::promotion::{
    Candidate, PromotionError, Standing, Thresholds, common_quote_asset, compile, inline_source, promote,
    verify,
};

const DOCUMENT: &str = "name: cross\nparams:\n  fast: {from: 2, to: 9}\n  slow: [20, 30]\n  stop: [0.02, 0.05]\n\
                        long: {enter: 'crosses_above(sma(close, fast), sma(close, slow))', exit: 'close < sma(close, slow)'}\n\
                        stop_loss: stop\n";

fn metrics(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

fn good() -> BTreeMap<String, f64> {
    metrics(&[
        ("trades", 80.0),
        ("sharpe", 1.5),
        ("dsr", 0.97),
        ("profit_factor", 1.6),
        ("max_drawdown", 0.2),
    ])
}

fn candidate(document: &str) -> Candidate {
    let of = |bars: u64| SymbolEvidence {
        bars_digest: "ab".repeat(32),
        bars,
        first_open_ms: 0,
        last_open_ms: 3_600_000,
        trials: 32,
        metrics: good(),
    };
    Candidate {
        name: "cross".to_owned(),
        document: Source { name: "cross.yaml".to_owned(), text: document.to_owned(), format: Format::Yaml },
        overrides: Overrides {
            fee: Some(0.002),
            params: vec!["fast=2..5".to_owned()],
            ..Overrides::default()
        },
        params: metrics(&[("fast", 3.0), ("slow", 20.0), ("stop", 0.05)]),
        interval: "1h".parse().unwrap(),
        sweep_id: "cross-0123456789ab".to_owned(),
        row: 9,
        sweep_strategy_digest: "cd".repeat(32),
        symbols: BTreeMap::from([("BTCUSDT".to_owned(), of(100)), ("ETHUSDT".to_owned(), of(90))]),
        quote_asset: "USDT".to_owned(),
        capital_per_symbol: 500.into(),
        now_ms: 1_700_000_000_000,
    }
}

fn standing(config: &BotConfig) -> Result<Standing, Vec<String>> {
    let source = inline_source(&config.strategy, "bot.yaml").unwrap();
    verify(config, &compile(&config.strategy, &source).unwrap())
}

#[test]
fn a_promoted_file_runs_the_row_within_limits_from_its_drawdown() {
    let bot = promote(&candidate(DOCUMENT), &Thresholds::default(), None).unwrap();
    let text = bot.to_yaml().unwrap();
    let file = Source { name: "bot.yaml".to_owned(), text, format: Format::Yaml };
    let read = load(&file, &Sources::default()).unwrap();
    assert_eq!(read, bot);
    assert_eq!(standing(&read), Ok(Standing::Promoted));
    let source = inline_source(&read.strategy, "bot.yaml").unwrap();
    let compiled = compile(&read.strategy, &source).unwrap();
    assert_eq!(compiled.values, [3.0, 20.0, 0.05]);
    assert_eq!(compiled.strategy.config().taker_fee, 0.002);
    let limits = &bot.risk.limits;
    // 1.5 x 0.2; 0.5 x 0.2; 500 x 1.5.
    assert_eq!(limits.max_drawdown, Some("0.3".parse().unwrap()));
    assert_eq!(limits.max_daily_loss, Some("0.1".parse().unwrap()));
    assert_eq!(limits.max_position_notional, Some(750.into()));
    assert_eq!(limits.max_total_notional, Some(1_500.into()));
    assert_eq!(limits.max_open_positions, Some(2.into()));
}

#[test]
fn every_change_to_what_was_promoted_is_found() {
    let bot = promote(&candidate(DOCUMENT), &Thresholds::default(), None).unwrap();
    type Change = fn(&mut BotConfig);
    let changes: [(&str, Change, &str); 10] = [
        (
            "a parameter",
            |bot| {
                bot.strategy.params.insert("fast".to_owned(), 4.0);
            },
            "strategy.digest",
        ),
        (
            "the strategy",
            |bot| bot.strategy.document = Some(DOCUMENT.replace("close <", "open <")),
            "strategy.digest",
        ),
        ("a comment", |bot| bot.strategy.document = Some(format!("# x\n{DOCUMENT}")), "evidence.digest"),
        ("the fee", |bot| bot.strategy.simulation.fee = Some(0.0), "strategy.digest"),
        ("the interval", |bot| bot.strategy.interval = "4h".to_owned(), "evidence.digest"),
        ("the digest", |bot| bot.strategy.digest = None, "was removed"),
        (
            "a metric",
            |bot| {
                let symbol = bot.evidence.as_mut().unwrap().symbols.get_mut("BTCUSDT").unwrap();
                symbol.metrics.insert("sharpe".to_owned(), 9.0);
            },
            "evidence.digest",
        ),
        (
            "a reason",
            |bot| bot.evidence.as_mut().unwrap().forced_because = Some("x".to_owned()),
            "evidence.digest",
        ),
        (
            "the engine",
            |bot| bot.evidence.as_mut().unwrap().engine_version = "0.0.1".to_owned(),
            "engine 0.0.1",
        ),
        ("a symbol", |bot| bot.symbols.push("SOLUSDT".to_owned()), "SOLUSDT is traded without evidence"),
    ];
    for (what, change, words) in changes {
        let mut changed = bot.clone();
        change(&mut changed);
        let Err(wrong) = standing(&changed) else { panic!("{what} is not found") };
        let wrong = wrong.join("\n");
        assert!(wrong.contains(words), "{what}: {wrong}");
    }
    let mut fewer = bot.clone();
    fewer.symbols.pop();
    fewer.risk.limits.max_daily_loss = Some("0.01".parse().unwrap());
    assert_eq!(
        standing(&fewer),
        Ok(Standing::Promoted),
        "fewer symbols and tighter limits are the operator's"
    );
    let by_hand = BotConfig { evidence: None, ..bot };
    assert_eq!(standing(&by_hand), Ok(Standing::ByHand));
}

#[test]
fn thresholds_are_missed_one_by_one_and_undefined_metrics_miss_theirs() {
    let thresholds = Thresholds::default();
    assert_eq!(thresholds.missed("X", &good()), Vec::<String>::new());
    for (name, value, words) in [
        ("trades", Some(29.0), "trades is 29"),
        ("max_drawdown", Some(0.36), "max_drawdown is 0.36, above 0.35"),
        ("sharpe", Some(0.4), "sharpe is 0.4"),
        ("dsr", Some(0.94), "dsr is 0.94"),
        ("profit_factor", Some(1.0), "profit_factor is 1"),
        ("dsr", None, "dsr is undefined"),
        ("profit_factor", None, "profit_factor is undefined"),
        ("max_drawdown", None, "max_drawdown is undefined"),
    ] {
        let mut row = good();
        match value {
            Some(value) => row.insert(name.to_owned(), value),
            None => row.remove(name),
        };
        let missed = thresholds.missed("X", &row);
        assert!(missed.len() == 1 && missed[0].starts_with("X: ") && missed[0].contains(words), "{missed:?}");
    }
    let mut winner = good();
    winner.remove("profit_factor");
    winner.insert("win_rate".to_owned(), 1.0);
    assert_eq!(thresholds.missed("X", &winner), Vec::<String>::new(), "no losing trade is no fault");
}

#[test]
fn what_misses_a_threshold_is_promoted_only_for_a_reason_which_the_file_keeps() {
    let mut weak = candidate(DOCUMENT);
    weak.symbols.get_mut("ETHUSDT").unwrap().metrics.insert("trades".to_owned(), 3.0);
    let Err(PromotionError::Missed(missed)) = promote(&weak, &Thresholds::default(), None) else { panic!() };
    assert_eq!(missed, ["ETHUSDT: trades is 3, below 30"]);
    let bot = promote(&weak, &Thresholds::default(), Some("to watch it on paper")).unwrap();
    let evidence = bot.evidence.as_ref().unwrap();
    assert_eq!(
        (evidence.missed.clone(), evidence.forced_because.as_deref()),
        (missed, Some("to watch it on paper"))
    );
    assert_eq!(standing(&bot), Ok(Standing::Promoted));
}

#[test]
fn strategies_that_sell_short_are_refused() {
    let short = format!("{DOCUMENT}short: {{enter: close < open}}\n");
    let error = promote(&candidate(&short), &Thresholds::default(), Some("anyway")).unwrap_err().to_string();
    assert!(error.contains("short positions, which a spot account cannot hold"), "{error}");
}

#[test]
fn parameters_without_a_value_are_named() {
    let mut bot = promote(&candidate(DOCUMENT), &Thresholds::default(), None).unwrap();
    bot.strategy.params.remove("slow");
    let source = inline_source(&bot.strategy, "bot.yaml").unwrap();
    let error = compile(&bot.strategy, &source).unwrap_err().to_string();
    assert!(error.contains("`slow` has 2 values") && error.contains("strategy.params"), "{error}");
}

#[test]
fn the_quote_asset_is_what_all_symbols_end_in() {
    for (symbols, quote) in [
        (["BTCUSDT", "ETHUSDT"].as_slice(), Some("USDT")),
        (&["ETHBTC"], Some("BTC")),
        (&["BTCUSDT", "ETHBTC"], None),
        (&["AAAXYZ"], None),
        (&["BTC"], None),
        (&[], None),
    ] {
        let symbols: Vec<String> = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
        assert_eq!(common_quote_asset(&symbols), quote, "{symbols:?}");
    }
}
