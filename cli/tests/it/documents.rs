//! `--json`: one document on stdout from every command; and the commands whose whole result is a document.

use serde_json::{Value, json};

use crate::place::{Place, one_document};

#[test]
fn every_command_prints_exactly_one_json_document() {
    let place = Place::with_market(700);
    let sweep = place.sweep("results", &[]);
    let id = sweep["sweep_id"].as_str().unwrap();
    let on = |args: &[&'static str]| [args, &["--symbol", "AAAUSDT", "--interval", "1h"]].concat();
    for args in [
        vec!["data", "import", "AAAUSDT-1h.csv", "--interval", "1h"],
        vec!["data", "check"],
        vec!["data", "list"],
        vec!["data", "synth", "--symbols", "2", "--bars", "30", "--data", "synthetic"],
        on(&["indicators", "close", "close > open"]),
        on(&["indicators", "close", "--out", "close.csv"]),
        on(&["backtest", "cross.yaml", "--set", "fast=5", "--set", "slow=25"]),
        vec!["sweep", "cross.yaml", "--symbols", "all", "--interval", "1h"],
        vec!["sweep", "cross.yaml", "--symbols", "all", "--interval", "1h", "--explain"],
        vec!["results", "list"],
        vec!["results", "show"],
        vec!["results", "top"],
        vec!["results", "heatmap"],
        vec!["results", "export", "--out", "rows.csv"],
        vec!["replay", id, "30"],
        vec!["sql", "SELECT 1 AS one"],
        vec!["sql", "SELECT * FROM results WHERE row < 0"],
        vec!["config", "show"],
        vec!["config", "check", "cross.yaml"],
        vec!["config", "schema"],
        vec!["config", "schema", "bot"],
        vec!["config", "example"],
    ] {
        let document = place.run(&[&args[..], &["--json"]].concat()).json();
        assert!(document.is_object() || document.is_array(), "{args:?}");
    }
}

#[test]
fn indicators_are_columns_by_their_text_with_null_where_undefined() {
    let place = Place::with_market(100);
    let args = [
        "indicators",
        "sma(close, 20)",
        "rsi(close, 14) < 30",
        "1 + 1",
        "--symbol",
        "AAAUSDT",
        "--interval",
        "1h",
    ];
    let rows = place.run(&[&args[..], &["--json"]].concat()).json();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 100);
    assert_eq!(
        rows[0],
        json!({ "open_time": "2023-01-01T00:00:00Z", "sma(close, 20)": null, "rsi(close, 14) < 30": null, "1 + 1": 2.0 })
    );
    assert_eq!((&rows[18]["sma(close, 20)"], rows[19]["sma(close, 20)"].is_f64()), (&Value::Null, true));
    assert!(rows[13]["rsi(close, 14) < 30"].is_null() && rows[14]["rsi(close, 14) < 30"].is_boolean());
    place.run(&[&args[..], &["--out", "out.csv"]].concat()).ok();
    let csv = String::from_utf8(place.read("out.csv")).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines[0], lines.len()), ("open_time,\"sma(close, 20)\",\"rsi(close, 14) < 30\",1 + 1", 101));
    assert_eq!(lines[1], "2023-01-01T00:00:00Z,,,2.0");
    let value: f64 = lines[20].split(',').nth(1).unwrap().parse().unwrap();
    assert_eq!(Some(value), rows[19]["sma(close, 20)"].as_f64(), "CSV and JSON carry the same bits");
    let text = place.run(&args).ok();
    assert_eq!(text.matches("2023-01-0").count(), 20, "people get the last rows\n{text}");
}

#[test]
fn config_check_reports_every_fault_of_every_document() {
    let place = Place::with_market(50);
    place.write("bad.yaml", "name: bad\nlong:\n  enter: smaa(close, 5) > close\n  exit: sma(close) < 1\n");
    place.write("worse.json", "{\"name\": \"worse\"");
    let ran = place.run(&["config", "check", "cross.yaml", "bad.yaml", "worse.json", "none.toml"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stdout.starts_with("ok  cross.yaml: cross, 240 combinations, 219 of them valid"),
        "{}",
        ran.stdout
    );
    assert_eq!(ran.stdout.lines().count(), 1);
    for words in ["bad.yaml:3:10: unknown function `smaa`", "bad.yaml:4:", "worse.json:1:", "none.toml"] {
        assert!(ran.stderr.contains(words), "`{words}` is missing:\n{}", ran.stderr);
    }
    let ran = place.run(&["config", "check", "cross.yaml", "bad.yaml", "--json"]);
    assert_eq!(ran.code, Some(1));
    let document = one_document(&ran.stdout);
    assert_eq!((&document[0]["ok"], &document[1]["ok"]), (&true.into(), &false.into()));
    assert_eq!(document[0]["functions"], json!(["crosses_above", "crosses_below", "ema", "rsi", "sma"]));
    let errors = document[1]["errors"].as_array().unwrap();
    assert_eq!(
        (errors.len(), &errors[0]["line"], &errors[0]["hint"]),
        (2, &3.into(), &"did you mean `sma`?".into())
    );
}

#[test]
fn the_example_strategies_pass_the_check() {
    let place = Place::empty();
    let folder = std::path::Path::new("../strategies").canonicalize().unwrap();
    let files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|path| path.ends_with(".yaml"))
        .collect();
    assert!(files.len() >= 10);
    let args: Vec<&str> = ["config", "check"].into_iter().chain(files.iter().map(String::as_str)).collect();
    assert_eq!(place.run(&args).ok().lines().count(), files.len());
}

#[test]
fn config_show_says_where_each_setting_comes_from() {
    let place = Place::empty();
    let mut command = place.command(&["config", "show", "--results", "elsewhere", "--json"]);
    let output = command.env("POLYBOLOS_DATA", "/market").output().unwrap();
    let document = one_document(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(document["data"], json!({ "value": "/market", "source": "POLYBOLOS_DATA" }));
    assert_eq!(document["results"], json!({ "value": "elsewhere", "source": "--results" }));
    assert_eq!(document["threads"]["source"], "default");
    assert!(document["engine"]["value"].as_str().unwrap().starts_with(env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_schema_describes_the_keys_of_a_document() {
    let schema = Place::empty().run(&["config", "schema"]).json();
    for key in ["name", "params", "where", "long", "short", "stop_loss", "size", "backtest"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}
