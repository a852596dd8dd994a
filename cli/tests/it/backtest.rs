//! One combination: the same numbers as the sweep's row, trades that add up, files in both formats.

use std::fs::File;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::place::{METRICS, Place};

const ON: [&str; 5] = ["cross.yaml", "--symbol", "AAAUSDT", "--interval", "1h"];

fn backtest(place: &Place, more: &[&str]) -> Value {
    place.run(&[&["backtest"], &ON[..], more, &["--json"]].concat()).json()
}

#[test]
fn the_metrics_are_those_of_the_sweeps_row_to_the_bit() {
    let place = Place::with_market(2500);
    for flags in
        [vec![], vec!["--fill", "close", "--slippage", "0.0005", "--returns", "bar"], vec!["--fee", "0.002"]]
    {
        let sweep = place.sweep("results", &[&flags[..], &["--top", "100000"]].concat());
        let rows = sweep["top"].as_array().unwrap();
        let mine: Vec<&Value> = rows.iter().filter(|row| row["symbol"] == "AAAUSDT").collect();
        assert!(mine.len() > 100);
        for row in mine.iter().step_by(31) {
            let set: Vec<String> =
                ["fast", "slow"].iter().map(|name| format!("{name}={}", row[name])).collect();
            let chosen = ["--set", &set[0], "--set", &set[1]];
            let document = backtest(&place, &[&chosen[..], &flags].concat());
            for metric in METRICS.iter().filter(|metric| **metric != "dsr") {
                assert_eq!(document["metrics"][metric], row[metric], "{metric} of {set:?} {flags:?}");
            }
            assert_eq!(document["metrics"]["dsr"], Value::Null, "deflating needs the trials of a sweep");
            assert_eq!(document["params"]["fast"], row["fast"]);
            assert!(document["params"]["slow"].is_i64(), "whole numbers are integers");
        }
    }
}

#[test]
fn the_document_has_its_parts_and_the_trades_add_up() {
    let place = Place::with_market(2500);
    let document = backtest(&place, &["--set", "fast=5", "--set", "slow=25"]);
    let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["digests", "interval", "metrics", "params", "symbol", "trades"]);
    assert_eq!((&document["symbol"], &document["interval"]), (&"AAAUSDT".into(), &"1h".into()));
    let metrics = document["metrics"].as_object().unwrap();
    assert_eq!(metrics.len(), METRICS.len());
    for name in ["trades", "long_trades", "short_trades", "ambiguous_bars", "max_consecutive_losses"] {
        assert!(metrics[name].is_u64(), "{name}");
    }
    for digest in ["strategy", "data"] {
        assert_eq!(document["digests"][digest].as_str().map(str::len), Some(64));
    }

    let trades = document["trades"].as_array().unwrap();
    assert_eq!(metrics["trades"].as_u64(), Some(trades.len() as u64));
    assert!(trades.len() > 20);
    let number = |trade: &Value, key: &str| trade[key].as_f64().unwrap();
    let mut reasons: Vec<&str> = Vec::new();
    for trade in trades {
        let [entry, exit, quantity, fees, pnl, share] =
            ["entry_price", "exit_price", "quantity", "fees", "pnl", "return"].map(|key| number(trade, key));
        let sign = if trade["side"] == "long" { 1.0 } else { -1.0 };
        let gross = sign * quantity * (exit - entry);
        assert!((fees - 0.001 * quantity * (entry + exit)).abs() < 1e-6, "{trade}");
        assert!((pnl - (gross - fees)).abs() < 1e-6, "{trade}");
        let bought = if sign > 0.0 { entry } else { exit };
        assert!((share - pnl / (quantity * bought * 1.001)).abs() < 1e-9, "{trade}");
        let [entered, left] = ["entry_time", "exit_time"].map(|key| trade[key].as_str().unwrap());
        assert!(
            entered <= left && left.ends_with('Z') && left.len() == "2023-01-01T00:00:00Z".len(),
            "{trade}"
        );
        reasons.push(trade["reason"].as_str().unwrap());
    }
    for reason in ["signal", "stop", "target"] {
        assert!(reasons.contains(&reason), "no trade ends by {reason}");
    }
    let sum: f64 = trades.iter().map(|trade| number(trade, "pnl")).sum();
    let expectancy = metrics["expectancy"].as_f64().unwrap();
    assert!((sum / trades.len() as f64 - expectancy).abs() < 1e-9 * sum.abs().max(1.0));
}

#[test]
fn trades_and_equity_go_to_csv_and_parquet_with_the_same_values() {
    let place = Place::with_market(1200);
    let chosen = ["--set", "fast=5", "--set", "slow=25"];
    let files = ["--trades", "trades.csv", "--equity", "equity.csv"];
    let document = backtest(&place, &[&chosen[..], &files].concat());
    let trades = String::from_utf8(place.read("trades.csv")).unwrap();
    let mut lines = trades.lines();
    let header = "symbol,side,entry_time,entry_price,exit_time,exit_price,quantity,reason,fees,pnl,return";
    assert_eq!(lines.next(), Some(header));
    let rows = document["trades"].as_array().unwrap();
    assert_eq!(lines.clone().count(), rows.len());
    for (line, row) in lines.zip(rows) {
        for (name, text) in header.split(',').zip(line.split(',')) {
            match &row[name] {
                Value::String(expected) => assert_eq!(text, expected, "{name}"),
                // The shortest text that reads back to the same number.
                number => assert_eq!(text.parse::<f64>().ok(), number.as_f64(), "{name}"),
            }
        }
    }

    let equity = String::from_utf8(place.read("equity.csv")).unwrap();
    let equity: Vec<&str> = equity.lines().collect();
    assert_eq!((equity[0], equity.len()), ("open_time,close_time,equity", 1201));
    assert!(equity[1].starts_with("2023-01-01T00:00:00Z,2023-01-01T01:00:00Z,10000"), "{}", equity[1]);
    let last: f64 = equity[1200].rsplit(',').next().unwrap().parse().unwrap();
    assert_eq!(Some(last), document["metrics"]["final_equity"].as_f64());

    let files = ["--trades", "trades.parquet", "--equity", "equity.parquet"];
    backtest(&place, &[&chosen[..], &files].concat());
    for (file, rows) in [("trades.parquet", rows.len()), ("equity.parquet", 1200)] {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(place.path(file)).unwrap()).unwrap();
        let batches: Vec<RecordBatch> = reader.build().unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), rows, "{file}");
        let schema = batches[0].schema();
        let time = schema.fields().iter().find(|field| field.name().ends_with("_time")).unwrap();
        assert_eq!(*time.data_type(), DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())));
    }
}

#[test]
fn a_run_without_trades_still_writes_the_header() {
    let place = Place::with_market(200);
    place.write("never.yaml", "name: never\nlong:\n  enter: close < 0\n  exit: close > 0\n");
    let args =
        ["backtest", "never.yaml", "--symbol", "AAAUSDT", "--interval", "1h", "--trades", "trades.csv"];
    let text = place.run(&args).ok();
    assert!(text.contains("no trade was closed"), "{text}");
    let trades = String::from_utf8(place.read("trades.csv")).unwrap();
    assert_eq!(trades.lines().count(), 1, "{trades}");
    assert!(trades.starts_with("symbol,side,entry_time,"));
}

#[test]
fn people_get_period_market_metrics_exits_and_assumptions() {
    let place = Place::with_market(2500);
    let args =
        [&["backtest"], &ON[..], &["--set", "fast=5", "--set", "slow=25", "--slippage", "0.0005"]].concat();
    let text = place.run(&args).ok();
    for words in [
        "cross on AAAUSDT 1h: fast=5 slow=25",
        "period      2023-01-01 00:00 to 2023-04-15 04:00 UTC, 2,500 bars",
        "from the first open to the last close",
        "sharpe",
        "win rate",
        "│ stop",
        "cash 10000, fee 0.001 and slippage 0.0005 per side, fills at next_open, stop_first inside a bar, daily returns",
    ] {
        assert!(text.contains(words), "`{words}` is missing:\n{text}");
    }
}

#[test]
fn a_time_range_takes_whole_days() {
    let place = Place::with_market(1200);
    let more =
        ["--set", "fast=5", "--set", "slow=25", "--timerange", "20230103-20230104", "--equity", "equity.csv"];
    backtest(&place, &more);
    let equity = String::from_utf8(place.read("equity.csv")).unwrap();
    assert_eq!(equity.lines().count(), 1 + 48);
    assert!(equity.lines().nth(1).unwrap().starts_with("2023-01-03T00:00:00Z"));
}
