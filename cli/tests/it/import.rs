//! Files in, a dataset out: many symbols at once, bad rows, a second import, and the recorded bars.

use serde_json::json;

use crate::place::{Place, binance_csv, recorded};

#[test]
fn files_of_several_symbols_are_told_apart_by_name_and_parts_of_one_merge() {
    let place = Place::empty();
    let whole = binance_csv(100, 1);
    let lines: Vec<&str> = whole.lines().collect();
    place.write("AAAUSDT-1h-2023-01.csv", &lines[..60].join("\n"));
    place.write("AAAUSDT-1h-2023-02.csv", &lines[40..].join("\n"));
    place.write("BBB_USDT-1h.csv", &binance_csv(30, 2));
    let files = ["AAAUSDT-1h-2023-02.csv", "BBB_USDT-1h.csv", "AAAUSDT-1h-2023-01.csv"];
    let import = [&["data", "import"], &files[..], &["--interval", "1h", "--json"]].concat();
    let report = place.run(&import).json();
    assert_eq!((&report[0]["symbol"], &report[0]["rows"]), (&"AAAUSDT".into(), &100.into()));
    assert_eq!((&report[1]["symbol"], &report[1]["added"]), (&"BBBUSDT".into(), &30.into()));
    let again = place.run(&import).json();
    assert_eq!((&again[0]["added"], &again[0]["unchanged"]), (&0.into(), &100.into()));
    let list = place.run(&["data", "list", "--json"]).json();
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    let check = place.run(&["data", "check", "--json"]).json();
    assert_eq!((&check["series"][0]["gaps"], &check["unreadable"]), (&json!([]), &json!([])));
}

#[test]
fn a_bad_row_stops_the_import_of_every_symbol_unless_it_may_be_dropped() {
    let place = Place::empty();
    place.write("AAAUSDT-1h.csv", &binance_csv(30, 1));
    let mut broken: Vec<String> = binance_csv(30, 2).lines().map(str::to_owned).collect();
    broken[7] = broken[7].replacen(',', ",-", 1);
    broken.remove(20);
    place.write("BBBUSDT-1h.csv", &broken.join("\n"));
    let import = ["data", "import", "AAAUSDT-1h.csv", "BBBUSDT-1h.csv", "--interval", "1h"];
    let ran = place.run(&import);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(
        ran.stderr.contains("BBBUSDT-1h.csv line 8") && ran.stderr.contains("--skip-bad"),
        "{}",
        ran.stderr
    );
    assert!(!place.path("data").exists(), "the dataset was touched");

    let text = place.run(&[&import[..], &["--skip-bad"]].concat()).ok();
    assert!(text.contains("1 bad rows dropped") && text.contains("2 gaps, 2 bars missing"), "{text}");
    let text = place.run(&["data", "check"]).ok();
    assert!(
        text.contains("gap of 1 bars between those of 2023-01-01 06:00 to 2023-01-01 08:00 UTC"),
        "{text}"
    );
}

#[test]
fn a_damaged_file_of_a_dataset_is_named_by_check_beside_the_sound_ones() {
    let place = Place::with_market(40);
    place.write("data/bars/interval=1h/symbol=BBBUSDT/2023.parquet", "not Parquet");
    let ran = place.run(&["data", "check"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("AAAUSDT") && ran.stderr.contains("symbol=BBBUSDT/2023.parquet"), "{ran:?}");
}

#[test]
fn the_same_seed_makes_the_same_market() {
    let place = Place::empty();
    for data in ["one", "two"] {
        let synth =
            ["data", "synth", "--symbols", "2", "--bars", "200", "--seed", "7", "--data", data, "--json"];
        let made = place.run(&synth).json();
        assert_eq!((&made["symbols"], &made["added"]), (&json!(["SYN001USDT", "SYN002USDT"]), &400.into()));
    }
    let file = "bars/interval=1h/symbol=SYN002USDT/2020.parquet";
    assert_eq!(place.read(&format!("one/{file}")), place.read(&format!("two/{file}")));
}

#[test]
fn recorded_bars_go_the_whole_way() {
    let Some(folder) = recorded("spot-1h") else { return };
    let place = Place::empty();
    place.write("cross.yaml", crate::place::STRATEGY);
    let files =
        ["BTCUSDT", "SOLUSDT"].map(|symbol| folder.join(format!("{symbol}-1h.zip")).display().to_string());
    let report = place.run(&["data", "import", &files[0], &files[1], "--interval", "1h", "--json"]).json();
    assert_eq!((&report[0]["symbol"], &report[0]["missing_bars"]), (&"BTCUSDT".into(), &122.into()));
    assert_eq!(report[0]["gaps"], 27);
    let sweep = place.run(&[
        "sweep",
        "cross.yaml",
        "--symbols",
        "all",
        "--interval",
        "1h",
        "--timerange",
        "20230101-20231231",
        "--set",
        "fast=5,9",
        "--json",
    ]);
    let sweep = sweep.json();
    assert_eq!((&sweep["symbols"], &sweep["bars"]), (&2.into(), &(2 * (365 * 24 - 1)).into()));
    let best = &sweep["top"][0];
    let set: Vec<String> = ["fast", "slow"].iter().map(|name| format!("{name}={}", best[name])).collect();
    let symbol = best["symbol"].as_str().unwrap();
    let document = place.run(&[
        "backtest",
        "cross.yaml",
        "--symbol",
        symbol,
        "--interval",
        "1h",
        "--timerange",
        "20230101-20231231",
        "--set",
        &set[0],
        "--set",
        &set[1],
        "--json",
    ]);
    assert_eq!(document.json()["metrics"]["sharpe"], best["sharpe"]);
    let replay = place
        .run(&["replay", sweep["sweep_id"].as_str().unwrap(), &best["row"].to_string(), "--json"])
        .json();
    assert_eq!(replay["identical"], true);
}

#[test]
fn a_freqtrade_file_is_imported_with_its_symbol_named() {
    let Some(folder) = recorded("other") else { return };
    let place = Place::empty();
    let file = folder.join("freqtrade-UNITTEST_BTC-5m.feather").display().to_string();
    let ran = place.run(&["data", "import", &file, "--interval", "5m"]);
    assert_eq!(ran.code, Some(2), "its name begins with another word");
    let report =
        place.run(&["data", "import", &file, "--interval", "5m", "--symbol", "UNITTESTBTC", "--json"]).json();
    assert!(report[0]["added"].as_u64() > Some(1000), "{report}");
}
