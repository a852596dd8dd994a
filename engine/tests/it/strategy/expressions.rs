//! Expressions: what they mean, and when they begin to be defined.

use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::kernels::evaluate::{Evaluator, Value};
use polybolos_engine::strategy::{compile_expressions, functions, warmup_bars};

use super::parse;

const HOUR_MS: i64 = 3_600_000;

/// Hourly bars from the epoch whose closes are `close`.
fn bars(close: &[f64]) -> Bars {
    let n = close.len();
    Bars {
        interval_ms: HOUR_MS,
        open_time_ms: (0..n as i64).map(|t| t * HOUR_MS).collect(),
        open: close.to_vec(),
        high: close.iter().map(|price| price + 1.0).collect(),
        low: close.iter().map(|price| price - 0.5).collect(),
        close: close.to_vec(),
        volume: vec![10.0; n],
        quote_volume: vec![100.0; n],
        trades: vec![3.0; n],
        taker_buy_volume: vec![5.0; n],
        taker_buy_quote_volume: vec![50.0; n],
    }
}

fn hour() -> Interval {
    "1h".parse().unwrap()
}

/// The value of an expression per bar: numbers as they are, TRUE 1, FALSE 0, undefined `None`.
fn evaluate(expression: &str, bars: &Bars) -> Vec<Option<f64>> {
    let (program, nodes) = compile_expressions(&[expression.to_owned()], hour())
        .unwrap_or_else(|faults| panic!("{expression}: {faults}"));
    let mut evaluator = Evaluator::new(&program, bars).unwrap();
    let number = |value: f64| if value.is_nan() { None } else { Some(value) };
    let truth = |value: Option<bool>| value.map(|value| f64::from(u8::from(value)));
    match evaluator.value(nodes[0], &[]).unwrap() {
        Value::Number(value) => vec![number(value); bars.len()],
        Value::Bool(value) => vec![truth(value); bars.len()],
        Value::Series(series) => (0..bars.len()).map(|t| number(series[t])).collect(),
        Value::Bits(bits) => (0..bars.len()).map(|t| truth(bits.get(t))).collect(),
        Value::Bundle(_) => panic!("{expression} is a bundle"),
    }
}

#[test]
fn scalars_follow_the_rules_of_arithmetic_and_precedence() {
    let bars = bars(&[1.0]);
    for (expression, expected) in [
        ("1 + 2 * 3", Some(7.0)),
        ("(1 + 2) * 3", Some(9.0)),
        ("10 - 4 - 3", Some(3.0)),
        ("2 * 3 % 4", Some(2.0)),
        ("-7 % 4", Some(-3.0)),
        ("- 2 - -3", Some(1.0)),
        ("+5", Some(5.0)),
        ("1e-2", Some(0.01)),
        (".5 + 5.", Some(5.5)),
        ("1 / 0", None),
        ("1 % 0", None),
        ("sqrt(9) + abs(-2)", Some(5.0)),
        ("sqrt(-1)", None),
        ("ln(0)", None),
        ("exp(0) + ln(1)", Some(1.0)),
        ("exp(1000)", None),
        ("least(3, 1, 2) + greatest(3, 1, 2) * 10", Some(31.0)),
        ("LEAST(1, 1 / 0)", None),
        ("1 < 2", Some(1.0)),
        ("1 = 1 AND 1 == 1 AND 1 <> 2 AND 1 != 2", Some(1.0)),
        ("2 <= 1 OR 2 >= 3", Some(0.0)),
        ("NOT 1 > 2", Some(1.0)),
        ("TRUE OR FALSE AND FALSE", Some(1.0)),
        ("(TRUE OR FALSE) AND FALSE", Some(0.0)),
        ("TRUE OR 1 / 0 > 1", None),
        ("1 / 0 > 1 AND FALSE", None),
        ("2 BETWEEN 1 AND 3", Some(1.0)),
        ("1 BETWEEN 1 AND 1", Some(1.0)),
        ("2 NOT BETWEEN 1 AND 3", Some(0.0)),
        ("2 BETWEEN 3 AND 1", Some(0.0)),
        ("CASE WHEN 1 > 2 THEN 10 WHEN 2 > 1 THEN 20 ELSE 30 END", Some(20.0)),
        ("CASE WHEN 1 > 2 THEN 10 END", None),
        ("CASE WHEN 1 > 2 THEN 10 ELSE NULL END", None),
        ("CASE WHEN 2 > 1 THEN NULL ELSE 1 END", None),
        ("CASE 2 WHEN 1 THEN 10 WHEN 2 THEN 20 END", Some(20.0)),
        ("CASE WHEN 2 > 1 THEN TRUE END", Some(1.0)),
        ("CASE WHEN 1 > 2 THEN TRUE END", None),
        ("CASE WHEN 1 / 0 > 1 THEN 1 ELSE 2 END", None),
        ("CASE WHEN 2 > 1 THEN 1 WHEN 1 / 0 > 1 THEN 3 ELSE 2 END", Some(1.0)),
    ] {
        assert_eq!(evaluate(expression, &bars), [expected], "{expression}");
    }
}

#[test]
fn series_follow_the_bars() {
    let bars = bars(&[1.0, 2.0, 3.0, 2.0, 1.0, 4.0]);
    for (expression, expected) in [
        ("close", [Some(1.0), Some(2.0), Some(3.0), Some(2.0), Some(1.0), Some(4.0)]),
        ("high - low", [Some(1.5); 6]),
        ("lag(close, 2)", [None, None, Some(1.0), Some(2.0), Some(3.0), Some(2.0)]),
        ("lag(close, 0) - close", [Some(0.0); 6]),
        ("lag(5, 1)", [None, Some(5.0), Some(5.0), Some(5.0), Some(5.0), Some(5.0)]),
        ("sma(close, 2)", [None, Some(1.5), Some(2.5), Some(2.5), Some(1.5), Some(2.5)]),
        ("SMA(close, 1 + 1) > 2", [None, Some(0.0), Some(1.0), Some(1.0), Some(0.0), Some(1.0)]),
        ("crosses_above(close, 1.5)", [None, Some(1.0), Some(0.0), Some(0.0), Some(0.0), Some(1.0)]),
        ("crosses_below(close, 2)", [None, Some(0.0), Some(0.0), Some(0.0), Some(1.0), Some(0.0)]),
        ("crosses_above(2, close)", [None, Some(0.0), Some(0.0), Some(0.0), Some(1.0), Some(0.0)]),
        ("open_time / 3600000", [Some(0.0), Some(1.0), Some(2.0), Some(3.0), Some(4.0), Some(5.0)]),
        ("trades + volume", [Some(13.0); 6]),
        // Bars of two hours close at the second, fourth and sixth bar.
        ("tf('2h', close)", [None, Some(2.0), Some(2.0), Some(2.0), Some(2.0), Some(4.0)]),
        ("tf('2h', lag(close, 1))", [None, None, None, Some(2.0), Some(2.0), Some(2.0)]),
        ("tf('2h', close > open)", [None, Some(1.0), Some(1.0), Some(0.0), Some(0.0), Some(1.0)]),
        ("tf('2h', 1 + 1)", [Some(2.0); 6]),
    ] {
        assert_eq!(evaluate(expression, &bars), expected, "{expression}");
    }
}

#[test]
fn displayed_expressions_are_checked_like_strategies() {
    let fails = |expressions: &[&str], base: &str| -> Vec<String> {
        let expressions: Vec<String> = expressions.iter().map(|&text| text.to_owned()).collect();
        let faults = compile_expressions(&expressions, base.parse().unwrap()).unwrap_err();
        faults.0.iter().map(|fault| fault.to_string().lines().next().unwrap_or("").to_owned()).collect()
    };
    assert_eq!(
        fails(&["close", "smaa(close, 5)", "fast + 1"], "1h"),
        ["EXPR 2:1:1: unknown function `smaa`", "EXPR 3:1:1: unknown name `fast`"]
    );
    assert!(fails(&["sma(close, 0)"], "1h")[0].starts_with("EXPR 1:1:12: n of `sma` must be a whole number"));
    assert!(fails(&["tf('4h', close)"], "1d")[0].contains("cannot be built from bars of 1d"));
    assert!(fails(&[""], "1d")[0].contains("the expression is empty"));
}

/// The computed warm-up is the first bar on which the evaluator has a value, for every function and for compositions.
#[test]
fn warmups_are_those_of_the_evaluation() {
    let close: Vec<f64> = (0..400).map(|t| 100.0 + f64::from((t * 37) % 91) / 7.0).collect();
    let bars = bars(&close);
    let mut expressions: Vec<String> = functions()
        .iter()
        .map(|function| {
            let arguments = function.arguments.split(", ").enumerate().filter(|(_, name)| *name != "...");
            let arguments: Vec<String> = arguments
                .map(|(index, name)| match name {
                    "'interval'" => "'4h'".to_owned(),
                    "x" | "a" => "close".to_owned(),
                    "b" => "open + 1".to_owned(),
                    _ => (5 + 3 * index).to_string(),
                })
                .collect();
            format!("{}({})", function.name, arguments.join(", "))
        })
        .collect();
    expressions.extend(
        [
            "sma(sma(close, 5), 7) > lag(close, 3)",
            "crosses_above(rsi(lag(close, 2), 14), ema(close, 30))",
            "tf('4h', crosses_below(sma(close, 10), close)) AND close > 1",
            "tf('1d', close) + tf('2h', sma(close, 20))",
            "macd_hist(sma(close, 3), 12, 26, 9) BETWEEN -1 AND adx(20)",
            "CASE WHEN close > 0 THEN sma(close, 10) ELSE sma(close, 9) END",
        ]
        .map(str::to_owned),
    );
    for expression in expressions {
        let (program, nodes) =
            compile_expressions(std::slice::from_ref(&expression), hour()).unwrap_or_else(|e| panic!("{e}"));
        let first = evaluate(&expression, &bars).iter().position(Option::is_some);
        assert_eq!(first, Some(warmup_bars(&program, &nodes, &[], hour())), "{expression}");
    }
}

#[test]
fn the_warmup_of_a_strategy_is_that_of_its_slowest_signal() {
    let strategy = parse(
        "name: t\nparams: {fast: [5, 10], slow: [20, 50]}\nlong:\n  enter: crosses_above(sma(close, fast), sma(close, slow))\n  exit: close < sma(close, fast)",
    );
    assert_eq!(strategy.warmup_bars(&[5.0, 20.0], hour()), 20);
    assert_eq!(strategy.warmup_bars(&[10.0, 50.0], hour()), 50);
}
