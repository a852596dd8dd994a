//! The example strategies of `strategies/` and the language reference.

use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::kernels::program::Size;
use polybolos_engine::kernels::sweep::Sweep;
use polybolos_engine::simulation::simulate;
use polybolos_engine::strategy::{functions, schema};

use super::{example_files, parse, set};

#[test]
fn every_example_is_accepted_with_a_grid_of_useful_size() {
    let files = example_files();
    assert_eq!(files.len(), 10);
    for (name, text) in &files {
        let strategy = parse(text);
        assert_eq!(format!("{}.yaml", strategy.name()), *name);
        assert!(strategy.description().is_some(), "{name} says what it does");
        assert!(text.starts_with("# "), "{name} opens with a comment");
        let rows = strategy.space().valid_rows(0..strategy.space().len()).count();
        assert!((50..=10_000).contains(&rows), "{name}: {rows} combinations");
        let base: Interval = "1h".parse().unwrap();
        strategy.check_interval(base).unwrap();
        let warmup = strategy.warmup_bars(&strategy.space().values(0), base);
        assert!((1..5_000).contains(&warmup), "{name}: {warmup} bars");
    }
}

#[test]
fn the_first_example_has_the_grid_of_the_contract() {
    let files = example_files();
    let (_, text) = files.iter().find(|(name, _)| name == "sma-cross.yaml").unwrap();
    let strategy = parse(text);
    assert_eq!(strategy.space().len(), 5_000);
    assert_eq!(strategy.space().valid_rows(0..5_000).count(), 5_000);
    assert_eq!(strategy.space().values(0), [5.0, 60.0]);
    assert_eq!(strategy.space().values(1), [5.0, 62.0]);
    assert_eq!(strategy.space().values(4_999), [54.0, 258.0]);
}

#[test]
fn together_the_examples_use_the_whole_language() {
    let files = example_files();
    let all: String = files.iter().map(|(_, text)| text.as_str()).collect();
    for function in functions() {
        assert!(all.contains(&format!("{}(", function.name)), "no example uses {}", function.signature());
    }
    for word in
        ["CASE", "BETWEEN", "NOT", "trailing_stop", "cooldown", "max_bars", "take_profit", "stop_loss"]
    {
        assert!(all.contains(word), "no example uses {word}");
    }
    let strategies: Vec<_> = files.iter().map(|(_, text)| parse(text)).collect();
    let rules = || strategies.iter().map(|strategy| &strategy.program().rules);
    assert!(rules().any(|rules| rules.short_enter.is_some() && rules.long_exit.is_none()), "a reversal");
    assert!(rules().any(|rules| matches!(rules.size, Size::Equity(_))));
    assert!(rules().any(|rules| matches!(rules.size, Size::Quote(_))));
    assert!(rules().any(|rules| matches!(rules.size, Size::Risk(_))));
}

/// Hourly bars of a market that trends, ranges and changes its temper; the same on every machine.
fn market(n: usize) -> Bars {
    let mut state = 7_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut bars = Bars { interval_ms: 3_600_000, ..Bars::default() };
    let mut price = 100.0;
    for t in 0..n {
        let wild = if t / 300 % 3 == 1 { 0.02 } else { 0.006 };
        let drift = if t / 500 % 2 == 0 { 0.0006 } else { -0.0005 };
        let open = price;
        price *= 1.0 + drift + wild * (uniform() + uniform() + uniform() - 1.5);
        let (low, high) = (open.min(price), open.max(price));
        bars.open_time_ms.push(1_704_067_200_000 + t as i64 * 3_600_000);
        bars.open.push(open);
        bars.high.push(high * (1.0 + wild * uniform() / 2.0));
        bars.low.push(low * (1.0 - wild * uniform() / 2.0));
        bars.close.push(price);
        let volume = 50.0 + 100.0 * uniform();
        bars.volume.push(volume);
        bars.quote_volume.push(volume * price);
        bars.trades.push((volume * 3.0).floor());
        bars.taker_buy_volume.push(volume / 2.0);
        bars.taker_buy_quote_volume.push(volume * price / 2.0);
    }
    bars.check().unwrap();
    bars
}

#[test]
fn every_example_trades_and_both_simulators_agree_on_it() {
    let bars = market(4_000);
    for (name, text) in example_files() {
        let strategy = parse(&text);
        let (space, program, config) = (strategy.space(), strategy.program(), strategy.config());
        let mut sweep = Sweep::new(program, &bars, &config).unwrap();
        let rows: Vec<u64> = space.valid_rows(0..space.len()).collect();
        let mut trades = 0;
        for part in 0..6 {
            let values = space.values(rows[part * (rows.len() - 1) / 5]);
            let run = sweep.run(&values).unwrap();
            let oracle = simulate(program, &values, &bars, &config).unwrap();
            assert_eq!(run.trades, oracle.trades, "{name} {values:?}");
            assert_eq!(run.equity, oracle.equity, "{name} {values:?}");
            trades += run.trades.len();
        }
        assert!(trades >= 10, "{name} makes {trades} trades");
    }
}

#[test]
fn equal_subexpressions_are_one_node() {
    let strategy = parse(
        "name: shared\nlong:\n  enter: crosses_above(sma(close, 5), sma(close, 9))\n  exit: crosses_below(SMA(close, 5), (sma(close, 9)))",
    );
    // close, 5, 9, the size, two indicators with one output each, two crossings.
    assert_eq!(strategy.program().nodes.len(), 10);
}

#[test]
fn the_reference_names_every_function_and_key() {
    let reference = std::fs::read_to_string("../docs/strategy-language.md").unwrap();
    for function in functions() {
        let signature = format!("`{}`", function.signature());
        assert!(reference.contains(&signature), "docs/strategy-language.md lacks {signature}");
    }
    let schema = schema();
    let mut tables = vec![schema["properties"].as_object().unwrap().clone()];
    for table in ["long", "size", "backtest"] {
        tables.push(schema["properties"][table]["properties"].as_object().unwrap().clone());
    }
    for key in tables.iter().flat_map(|table| table.keys()) {
        assert!(reference.contains(&format!("`{key}`")), "docs/strategy-language.md lacks the key `{key}`");
    }
}

/// The complete documents in the reference are strategies, and its table of errors shows what is really said.
#[test]
fn the_examples_of_the_reference_are_accepted() {
    let reference = std::fs::read_to_string("../docs/strategy-language.md").unwrap();
    let mut documents = 0;
    for block in reference.split("```yaml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        if text.contains("name:") {
            parse(text);
            documents += 1;
        }
    }
    assert!(documents >= 2, "{documents}");
}

#[test]
fn examples_can_be_narrowed_from_the_command_line() {
    let files = example_files();
    let (_, text) = files.iter().find(|(name, _)| name == "sma-cross.yaml").unwrap();
    let strategy = super::parse_with(text, &set(&["fast=10", "slow=100..120:10"]));
    assert_eq!(strategy.space().len(), 3);
    assert_eq!(strategy.space().values(2), [10.0, 120.0]);
    let message = strategy.single_combination().unwrap_err().to_string();
    assert!(message.contains("`slow` has 3 values"), "{message}");
    assert!(message.contains("--set slow=100"), "{message}");
    let strategy = super::parse_with(text, &set(&["fast=10", "slow=100"]));
    assert_eq!(strategy.single_combination(), Ok(vec![10.0, 100.0]));
}
