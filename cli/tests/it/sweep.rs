//! From bars to ranked rows and back: sweep, results, replay, sql, and the same bytes however the work is cut.

use serde_json::Value;

use crate::place::{METRICS, Place, STRATEGY_COMBOS};

#[test]
fn a_sweep_is_listed_shown_ranked_drawn_exported_replayed_and_queried() {
    let place = Place::with_market(1500);
    let sweep = place.sweep("results", &[]);
    let id = sweep["sweep_id"].as_str().unwrap();
    assert_eq!(sweep["combos"], STRATEGY_COMBOS);
    assert_eq!((&sweep["symbols"], &sweep["bars"]), (&2.into(), &3000.into()));
    assert_eq!(sweep["bar_combos"], STRATEGY_COMBOS * 3000);
    for number in ["seconds", "kernel_seconds"] {
        assert!(sweep[number].as_f64().unwrap() > 0.0);
    }
    assert_eq!(sweep["backend"], "cpu");

    let listed = place.run(&["results", "list", "--json"]).json();
    assert_eq!((listed.as_array().map(Vec::len), &listed[0]["sweep_id"]), (Some(1), &sweep["sweep_id"]));
    let shown = place.run(&["results", "show", id, "--json"]).json();
    assert_eq!(shown["sweep"]["rows"], STRATEGY_COMBOS * 2);

    let top = place.run(&["results", "top", "-n", "1000", "--json"]).json();
    let rows = top.as_array().unwrap();
    assert_eq!(rows.len() as u64, STRATEGY_COMBOS * 2);
    assert_eq!(&rows[..10], sweep["top"].as_array().unwrap().as_slice());
    let sharpe: Vec<f64> = rows.iter().filter_map(|row| row["sharpe"].as_f64()).collect();
    assert!(sharpe.windows(2).all(|pair| pair[0] >= pair[1]), "the best row comes first");
    for metric in METRICS {
        assert!(rows[0].get(metric).is_some(), "{metric}");
    }
    let calm =
        place.run(&["results", "top", "--rank-by", "max_drawdown", "--symbol", "bbbusdt", "--json"]).json();
    let drawdowns: Vec<f64> =
        calm.as_array().unwrap().iter().filter_map(|row| row["max_drawdown"].as_f64()).collect();
    assert!(drawdowns.windows(2).all(|pair| pair[0] <= pair[1]), "the smallest drawdown comes first");
    assert!(calm.as_array().unwrap().iter().all(|row| row["symbol"] == "BBBUSDT"));

    place.run(&["results", "export", "--out", "rows.csv"]).ok();
    place.run(&["results", "export", "--out", "rows.parquet"]).ok();
    let csv = String::from_utf8(place.read("rows.csv")).unwrap();
    assert_eq!(csv.lines().count() as u64, 1 + STRATEGY_COMBOS * 2);
    assert!(csv.starts_with("sweep_id,row,symbol,interval,fast,slow,total_return,"));

    let row = rows[0]["row"].to_string();
    let replay = place.run(&["replay", id, &row, "--json"]).json();
    assert_eq!(replay["identical"], true, "{replay}");
    let words = place.run(&["replay", id, &row]).ok();
    assert_eq!(words.matches("identical to the bit").count(), 2, "{words}");

    let query = "SELECT count(*) AS n, max(sharpe) AS best FROM results";
    let answer = place.run(&["sql", query, "--json"]).json();
    assert_eq!(answer, serde_json::json!([{ "n": STRATEGY_COMBOS * 2, "best": rows[0]["sharpe"] }]));
    let bars = place.run(&[
        "sql",
        "SELECT symbol, count(*) AS n FROM bars GROUP BY symbol ORDER BY symbol",
        "--json",
    ]);
    assert_eq!(
        bars.json(),
        serde_json::json!([{ "symbol": "AAAUSDT", "n": 1500 }, { "symbol": "BBBUSDT", "n": 1500 }])
    );
}

#[test]
fn a_sweep_in_f32_says_what_it_costs_and_is_replayed_to_the_bit() {
    let place = Place::with_market(1500);
    // Moved to where neighbouring f32 numbers are 1/16 apart.
    let entry = "crosses_above(ema(close, fast), sma(close, slow))";
    let moved = "crosses_above(1e6 + ema(close, fast), 1e6 + sma(close, slow))";
    place.write("cross.yaml", &crate::place::STRATEGY.replace(entry, moved));
    let wide = place.sweep("results", &[]);
    assert_eq!((&wide["precision"], &wide["trade_mismatch"]), (&"f64".into(), &Value::Null));
    let single = place.sweep("results", &["--precision", "f32"]);
    assert_ne!(single["sweep_id"], wide["sweep_id"]);
    assert_eq!((&single["precision"], &single["units_computed"]), (&"f32".into(), &wide["units"]));
    let found = &single["trade_mismatch"];
    let number = |name: &str| found[name].as_f64().unwrap();
    assert!(number("mismatched") > 0.0 && number("mismatched") < number("trades"), "{found}");
    assert_eq!(number("rate"), number("mismatched") / number("trades"));
    assert!(number("runs") > 200.0 && number("runs") <= 256.0, "{found}");

    // A second run computes nothing and says the same.
    let sweep = ["sweep", "cross.yaml", "--symbols", "all", "--interval", "1h", "--precision", "f32"];
    let again = place.run(&sweep);
    let line = format!("f32 signals: {} of ", number("mismatched"));
    assert!(again.stderr.contains("run before, nothing to compute"), "{again:?}");
    let says_it = |text: &str| text.replace(',', "").contains(&line);
    assert!(says_it(&again.stderr) && again.stderr.contains("not the same as in f64"), "{again:?}");
    let quiet = place.run(&[&["--quiet"][..], &sweep].concat());
    assert!(!quiet.stderr.contains("signals"), "{quiet:?}");

    let id = single["sweep_id"].as_str().unwrap();
    let shown = place.run(&["results", "show", id]).ok();
    assert!(shown.contains("signals in f32") && says_it(&shown), "{shown}");
    let kept = place.run(&["results", "show", id, "--json"]).json();
    assert_eq!((&kept["sweep"]["precision"], &kept["sweep"]["trade_mismatch"]), (&"f32".into(), found));
    let catalogue = place.run(&["sql", "SELECT precision FROM sweeps ORDER BY precision", "--json"]).json();
    assert_eq!(catalogue, serde_json::json!([{ "precision": "f32" }, { "precision": "f64" }]));
    let explained = place.run(&[&sweep[..], &["--explain", "--json"]].concat()).json();
    assert_eq!((&explained["precision"], &explained["sweep_id"]), (&"f32".into(), &single["sweep_id"]));
    for row in single["top"].as_array().unwrap() {
        let replay = place.run(&["replay", id, &row["row"].to_string(), "--json"]).json();
        assert_eq!(replay["identical"], true, "{replay}");
    }
}

#[test]
fn a_heatmap_is_the_mean_of_the_rows_behind_each_cell() {
    let place = Place::with_market(1500);
    let sweep = place.sweep("results", &["--top", "10000"]);
    let rows = sweep["top"].as_array().unwrap();
    for (flags, symbols) in [(vec![], 2), (vec!["--symbol", "AAAUSDT"], 1)] {
        let map = place.run(&[&["results", "heatmap", "--json"][..], &flags].concat()).json();
        assert_eq!((&map["x"]["parameter"], &map["y"]["parameter"]), (&"slow".into(), &"fast".into()));
        let (xs, ys) = (map["x"]["values"].as_array().unwrap(), map["y"]["values"].as_array().unwrap());
        assert_eq!((xs.len(), ys.len()), (20, 12));
        let mut best = f64::NEG_INFINITY;
        for (y, slow_row) in ys.iter().zip(map["cells"].as_array().unwrap()) {
            for (x, cell) in xs.iter().zip(slow_row.as_array().unwrap()) {
                let behind: Vec<f64> = rows
                    .iter()
                    .filter(|row| row["slow"].as_f64() == x.as_f64() && row["fast"].as_f64() == y.as_f64())
                    .filter(|row| symbols == 2 || row["symbol"] == "AAAUSDT")
                    .filter_map(|row| row["sharpe"].as_f64())
                    .collect();
                let Some(value) = cell.as_f64() else {
                    assert!(behind.is_empty(), "a cell without value has rows");
                    continue;
                };
                let mean = behind.iter().sum::<f64>() / behind.len() as f64;
                assert_eq!(behind.len(), symbols);
                assert!((value - mean).abs() < 1e-12);
                best = best.max(value);
            }
        }
        assert_eq!(map["best"]["value"].as_f64(), Some(best));
        let (x, y) = (map["best"]["x"].as_u64().unwrap(), map["best"]["y"].as_u64().unwrap());
        assert_eq!(map["cells"][y as usize][x as usize].as_f64(), Some(best));
    }
    let picture = place.run(&["results", "heatmap", "--x", "fast", "--y", "slow", "--metric", "trades"]).ok();
    assert!(picture.starts_with("trades of cross-") && picture.contains("X best: fast="), "{picture}");
    let narrow = place.run(&["results", "heatmap", "--metric", "sharpe"]).ok();
    assert!(narrow.lines().all(|line| line.chars().count() <= 90), "{narrow}");
}

#[test]
fn a_grid_of_one_parameter_is_drawn_as_bars() {
    let place = Place::with_market(600);
    place.sweep("results", &["--set", "slow=30"]);
    let picture = place.run(&["results", "heatmap"]).ok();
    assert!(picture.contains("<- best") && picture.contains("fast |"), "{picture}");
    let map = place.run(&["results", "heatmap", "--json"]).json();
    assert_eq!((&map["y"], map["cells"].as_array().map(Vec::len)), (&Value::Null, Some(1)));
}

#[test]
fn the_bytes_are_the_same_for_every_number_of_threads_and_size_of_units() {
    let place = Place::with_market(800);
    let mut known: Option<Vec<Vec<u8>>> = None;
    for (number, flags) in [
        vec!["--threads", "1"],
        vec!["--threads", "2"],
        vec!["--threads", "1", "--unit-rows", "7"],
        vec!["--threads", "2", "--unit-rows", "100"],
        vec!["--threads", "4", "--unit-rows", "13"],
    ]
    .iter()
    .enumerate()
    {
        let results = format!("results-{number}");
        let sweep = place.sweep(&results, flags);
        let bytes = place.result_bytes(&results, sweep["sweep_id"].as_str().unwrap());
        assert!(bytes.iter().all(|file| file.len() > 10_000));
        assert!(known.get_or_insert_with(|| bytes.clone()) == &bytes, "other bytes with {flags:?}");
    }
}

#[test]
fn the_same_sweep_again_computes_nothing_and_a_change_of_anything_does() {
    let place = Place::with_market(800);
    let first = place.sweep("results", &[]);
    let again = place.sweep("results", &[]);
    assert_eq!((&again["sweep_id"], &again["top"]), (&first["sweep_id"], &first["top"]));
    assert_eq!((&again["units_computed"], &again["kernel_seconds"]), (&0.into(), &0.0.into()));
    let mut ids = vec![first["sweep_id"].clone()];
    for flags in
        [["--fee", "0.002"], ["--set", "fast=3..9:2"], ["--timerange", "-20230120"], ["--keep", "top:5"]]
    {
        let other = place.sweep("results", &flags);
        assert!(other["units_computed"].as_u64() > Some(0), "{flags:?}");
        assert!(!ids.contains(&other["sweep_id"]), "{flags:?}");
        ids.push(other["sweep_id"].clone());
    }
    place.write("changed.csv", &crate::place::binance_csv(801, 1));
    place.run(&["data", "import", "changed.csv", "--symbol", "AAAUSDT", "--interval", "1h"]).ok();
    let other = place.sweep("results", &[]);
    assert!(!ids.contains(&other["sweep_id"]), "one more bar");
    let recomputed = other["units_computed"].as_u64().unwrap();
    assert!(
        recomputed > 0 && recomputed < other["units"].as_u64().unwrap(),
        "only the changed symbol: {other}"
    );
}

#[test]
fn keep_top_keeps_the_best_rows_of_each_symbol_with_the_statistics_of_all() {
    let place = Place::with_market(800);
    let all = place.sweep("all", &["--top", "10000"]);
    let kept = place.sweep("kept", &["--keep", "top:5", "--top", "10000", "--unit-rows", "20"]);
    assert_eq!(kept["combos"], STRATEGY_COMBOS);
    let rows = kept["top"].as_array().unwrap();
    assert_eq!(rows.len(), 10);
    for row in rows {
        let same = all["top"]
            .as_array()
            .unwrap()
            .iter()
            .find(|other| other["symbol"] == row["symbol"] && other["row"] == row["row"]);
        for metric in METRICS {
            assert_eq!(same.unwrap()[metric], row[metric], "{metric}: also dsr, which needs every trial");
        }
    }
}

#[test]
fn explain_shows_the_plan_and_computes_nothing() {
    let place = Place::with_market(300);
    let explained = place.sweep("results", &["--explain"]);
    assert_eq!(explained["grid_rows"], 240);
    assert_eq!(explained["path"], "jumps");
    assert!(["avx512", "avx2", "portable"].contains(&explained["instructions"].as_str().unwrap()));
    assert!(explained["nodes"].as_array().is_some_and(|nodes| nodes.len() > 5));
    assert!(!place.path("results").exists());
}
