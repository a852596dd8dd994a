//! Everything that a user can type wrong: exit code 1 or 2, one clear message on stderr, nothing on stdout.

use crate::place::{Place, Ran};

struct Wrong {
    args: Vec<&'static str>,
    code: i32,
    words: &'static [&'static str],
}

fn wrong(args: &[&'static str], code: i32, words: &'static [&'static str]) -> Wrong {
    Wrong { args: args.to_vec(), code, words }
}

/// On one symbol of the market.
fn one(args: &[&'static str], code: i32, words: &'static [&'static str]) -> Wrong {
    wrong(&[args, &["--symbol", "AAAUSDT", "--interval", "1h"]].concat(), code, words)
}

/// On every symbol of the market.
fn all(args: &[&'static str], code: i32, words: &'static [&'static str]) -> Wrong {
    wrong(&[&["sweep"], args, &["--symbols", "all", "--interval", "1h"]].concat(), code, words)
}

fn check(place: &Place, case: &Wrong) -> Ran {
    let ran = place.run(&case.args);
    let about = format!("{:?}\n{ran:?}", case.args);
    assert_eq!(ran.code, Some(case.code), "{about}");
    assert_eq!(ran.stdout, "", "{about}");
    assert_eq!(ran.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{about}");
    assert!(ran.stderr.starts_with("error: "), "{about}");
    for word in case.words {
        assert!(ran.stderr.contains(word), "`{word}` is missing: {about}");
    }
    for noise in
        ["panicked", "backtrace", "Backtrace", "RUST_", "DataFusion error", "DataFusionError", "src/"]
    {
        assert!(!ran.stderr.contains(noise), "`{noise}` is there: {about}");
    }
    ran
}

#[test]
fn wrong_commands_and_flags() {
    let place = Place::with_market(60);
    for case in [
        wrong(&["swep"], 2, &["swep", "sweep"]),
        wrong(&["sweep"], 2, &["<STRATEGY>", "--symbols", "--interval"]),
        all(&["cross.yaml", "--sybmols", "x"], 2, &["--sybmols"]),
        wrong(&["sweep", "cross.yaml", "--symbols", "all", "--interval", "7h"], 2, &["7h", "1m 3m 5m"]),
        wrong(&["sweep", "cross.yaml", "--symbols", "A,,B", "--interval", "1h"], 2, &["A,,B"]),
        all(&["cross.yaml", "--timerange", "2023"], 2, &["2023", "20230101-20231231"]),
        all(&["cross.yaml", "--timerange", "20231301-"], 2, &["20231301"]),
        all(&["cross.yaml", "--timerange", "20230201-20230101"], 2, &["ends before it starts"]),
        all(&["cross.yaml", "--threads", "0"], 2, &["--threads"]),
        all(&["cross.yaml", "--keep", "top:0"], 2, &["top:0", "top:N"]),
        all(&["cross.yaml", "--keep", "some"], 2, &["some"]),
        all(&["cross.yaml", "--unit-rows", "0"], 2, &["--unit-rows"]),
        all(&["cross.yaml", "--fill", "open"], 2, &["next_open", "close"]),
        all(&["cross.yaml", "--backend", "quantum"], 2, &["quantum", "cpu"]),
        all(&["cross.yaml", "--rank-by", "sharp"], 2, &["`sharp` is not a metric", "sharpe"]),
        all(&["cross.yaml", "--keep", "top:5", "--rank-by", "dsr"], 2, &["dsr", "psr"]),
        all(&["cross.yaml", "--precision", "f16"], 2, &["f16", "f64", "f32"]),
        all(&["cross.yaml", "--precision", ""], 2, &["--precision", "f32"]),
        wrong(&["results", "top", "--rank-by", "profit"], 2, &["`profit` is not a metric"]),
        one(&["backtest", "cross.yaml", "--trades", "trades.txt"], 2, &["trades.txt", ".csv"]),
        one(&["indicators", "close", "--out", "out.xls"], 2, &["out.xls"]),
        one(&["indicators", "close", "close"], 2, &["`close`", "twice"]),
        wrong(&["data", "synth", "--symbols", "0"], 2, &["--symbols"]),
        wrong(&["data", "import", "prices.csv", "--interval", "1h"], 2, &["prices.csv", "--symbol"]),
        wrong(&["data", "import", "AAAUSDT-1h.csv", "--interval", "1m"], 2, &["1h bars", "--interval 1h"]),
        wrong(&["completions", "tcsh"], 2, &["tcsh", "bash"]),
    ] {
        check(&place, &case);
    }
    assert!(!place.path("results").exists(), "a refused command leaves nothing behind");
}

#[test]
fn wrong_places_symbols_and_times() {
    let place = Place::with_market(60);
    place.write("AAAUSDT-1h.json", "{}");
    std::fs::create_dir(place.path("folder.yaml")).unwrap();
    std::fs::create_dir(place.path("CCCUSDT-1h.csv")).unwrap();
    for case in [
        all(&["cross.yaml", "--data", "nowhere"], 1, &["no dataset at nowhere", "polybolos data import"]),
        all(
            &["cross.yaml", "--data", "gs://bucket/data"],
            1,
            &["gs://bucket/data", "not supported", "s3://"],
        ),
        all(&["none.yaml"], 1, &["none.yaml"]),
        all(&["folder.yaml"], 1, &["folder.yaml"]),
        all(&["AAAUSDT-1h.csv"], 1, &["AAAUSDT-1h.csv", ".yaml"]),
        wrong(
            &["sweep", "cross.yaml", "--symbols", "AAAUSD", "--interval", "1h"],
            1,
            &["AAAUSD", "did you mean AAAUSDT?"],
        ),
        wrong(&["sweep", "cross.yaml", "--symbols", "../etc", "--interval", "1h"], 1, &["not a symbol"]),
        wrong(&["sweep", "cross.yaml", "--symbols", "all", "--interval", "4h"], 1, &["4h", "1h"]),
        all(
            &["cross.yaml", "--timerange", "20300101-"],
            1,
            &["no AAAUSDT 1h bar in the time range", "2023-01-01"],
        ),
        one(
            &["backtest", "cross.yaml", "--set", "fast=5", "--set", "slow=25", "--data", "nowhere"],
            1,
            &["nowhere"],
        ),
        wrong(&["indicators", "close", "--symbol", "XYZ", "--interval", "1h"], 1, &["no XYZ 1h bars"]),
        wrong(&["data", "list", "--data", "nowhere"], 1, &["nowhere", "polybolos data"]),
        wrong(&["data", "check", "--data", "nowhere"], 1, &["nowhere"]),
        wrong(&["data", "check", "--symbol", "XYZ"], 1, &["no XYZ bars", "data list"]),
        wrong(&["data", "import", "none-1h.csv", "--symbol", "X", "--interval", "1h"], 1, &["none-1h.csv"]),
        wrong(&["data", "import", "CCCUSDT-1h.csv", "--interval", "1h"], 1, &["CCCUSDT-1h.csv", "directory"]),
        wrong(&["data", "import", "AAAUSDT-1h.json", "--interval", "1h"], 1, &["AAAUSDT-1h.json"]),
        wrong(&["data", "import", "cross.yaml", "--symbol", "X", "--interval", "1h"], 1, &["cross.yaml"]),
        wrong(
            &["data", "import", "AAAUSDT-1h.csv", "--symbol", "a/b", "--interval", "1h"],
            1,
            &["a/b", "not a symbol"],
        ),
        wrong(&["data", "fetch", "BTCUSDT", "--interval", "1h", "--from", "2023-13"], 1, &["2023-13"]),
        wrong(
            &["data", "fetch", "BTCUSDT", "--interval", "1h", "--from", "2023-02", "--to", "2023-01"],
            1,
            &["--from"],
        ),
        wrong(
            &["data", "fetch", "B/U", "--interval", "1h", "--from", "2023-01", "--to", "2023-01"],
            1,
            &["B/U"],
        ),
        wrong(
            &["data", "fetch", "BTCUSDT", "--interval", "1h", "--from", "2023-01", "--source", "ftp://x"],
            1,
            &["ftp://x"],
        ),
    ] {
        check(&place, &case);
    }
    assert!(!place.path("results").exists(), "a refused command leaves nothing behind");
}

#[test]
fn wrong_strategies_and_parameters() {
    let place = Place::with_market(60);
    let long = |enter: &str| {
        format!("name: s\nparams:\n  n: {{from: 2, to: 9}}\nlong:\n  enter: {enter}\n  exit: close < 1\n")
    };
    place.write("misspelt.yaml", &long("smaa(close, n) > close"));
    place.write("arity.yaml", &long("sma(close) > n"));
    place.write("zero.yaml", &long("sma(close, n - 2) > close"));
    place.write("half.yaml", &long("sma(close, n / 2) > close"));
    place.write("unused.yaml", &long("close > 5"));
    place.write("number.yaml", &long("sma(close, n)"));
    place.write("empty.yaml", "");
    place.write("list.json", "[1, 2");
    place.write("nothing.yaml", &long("sma(close, n) > close").replace("long:", "where: n > 100\nlong:"));
    place.write("grid.yaml", &long("sma(close, n) > close").replace("from: 2, to: 9", "from: 9, to: 2"));
    place.write("tf.yaml", &long("tf('30m', sma(close, n)) > close"));
    let document = |file: &'static str, words: &'static [&'static str]| all(&[file], 1, words);
    for case in [
        document("misspelt.yaml", &["misspelt.yaml:5:10", "unknown function `smaa`", "did you mean `sma`?"]),
        document("arity.yaml", &["arity.yaml:5", "sma"]),
        document("zero.yaml", &["zero.yaml:5"]),
        document("half.yaml", &["half.yaml:5"]),
        document("unused.yaml", &["unused.yaml:3", "`n`"]),
        document("number.yaml", &["number.yaml:5"]),
        document("empty.yaml", &["empty.yaml"]),
        document("list.json", &["list.json:1"]),
        document("nothing.yaml", &["`where` excludes every one of the"]),
        document("grid.yaml", &["grid.yaml:3", "empty"]),
        document("tf.yaml", &["tf.yaml:5", "30m", "2h"]),
        all(&["cross.yaml", "--set", "fats=5"], 1, &["--set fats=5", "did you mean `fast`?"]),
        all(&["cross.yaml", "--set", "fast"], 1, &["--set fast", "="]),
        all(&["cross.yaml", "--set", "fast=0"], 1, &["fast"]),
        all(&["cross.yaml", "--set", "fast=5.5"], 1, &["fast"]),
        all(&["cross.yaml", "--set", "fast=x"], 1, &["--set fast=x", "`x`"]),
        all(&["cross.yaml", "--set", "fast=9..3"], 1, &["--set fast=9..3", "empty"]),
        all(&["cross.yaml", "--set", "fast=3..9:0"], 1, &["step"]),
        all(
            &["cross.yaml", "--set", "fast=50", "--set", "slow=20"],
            1,
            &["`where` excludes the only combination"],
        ),
        all(&["cross.yaml", "--fee", "1.5"], 1, &["--fee 1.5"]),
        all(&["cross.yaml", "--cash", "0"], 1, &["--cash 0"]),
        all(&["cross.yaml", "--slippage", "1"], 1, &["--slippage 1"]),
        one(&["backtest", "cross.yaml"], 1, &["`fast` has 12", "--set fast=3"]),
        one(&["backtest", "cross.yaml", "--set", "fast=25", "--set", "slow=15"], 1, &["`where` excludes"]),
        one(&["indicators", "smaa(close, 5)"], 1, &["EXPR 1:1:1", "did you mean `sma`?"]),
        one(&["indicators", "sma(close, 0)"], 1, &["EXPR 1"]),
        one(&["indicators", "close +"], 1, &["EXPR 1"]),
        wrong(&["config", "check", "misspelt.yaml"], 1, &["misspelt.yaml:5:10"]),
    ] {
        check(&place, &case);
    }
}

#[test]
fn wrong_questions_about_results() {
    let place = Place::with_market(300);
    let sweep = place.sweep("results", &[]);
    let id: &'static str = Box::leak(sweep["sweep_id"].as_str().unwrap().to_owned().into_boxed_str());
    for case in [
        wrong(&["results", "show", "--results", "nowhere"], 1, &["nowhere", "polybolos sweep"]),
        wrong(&["results", "show", "nothing-like-it"], 1, &["nothing-like-it", "results list"]),
        wrong(&["results", "top", "--symbol", "XYZ"], 1, &["XYZ", "AAAUSDT, BBBUSDT"]),
        wrong(&["results", "heatmap", "--x", "speed"], 2, &["`speed`", "fast, slow"]),
        wrong(&["results", "heatmap", "--x", "fast", "--y", "fast"], 2, &["`fast`", "two parameters"]),
        wrong(&["results", "heatmap", "--metric", "luck"], 2, &["`luck` is not a metric"]),
        wrong(&["results", "export", "--out", "rows.txt"], 2, &["rows.txt", ".parquet"]),
        wrong(&["results", "export", "--out", "no/such/folder/rows.csv"], 1, &["no/such/folder"]),
        wrong(&["replay", "nothing", "1"], 1, &["nothing"]),
        wrong(&["replay", id, "240"], 1, &["row 240", "240 rows"]),
        wrong(&["replay", id, "220"], 1, &["row 220", "`where`"]),
        wrong(&["replay", id, "x"], 2, &["x"]),
        wrong(&["replay", id, "5", "--symbol", "XYZ"], 1, &["XYZ"]),
        wrong(&["sql", "SELEC 1"], 1, &["SELEC"]),
        wrong(&["sql", "SELECT sharp FROM results"], 1, &["sharp"]),
        wrong(&["sql", "SELECT * FROM trades"], 1, &["trades"]),
        wrong(&["sql", "SELECT * FROM results", "--results", "nowhere"], 1, &["results", "polybolos sweep"]),
        wrong(&["sql", "SELECT * FROM bars", "--data", "nowhere"], 1, &["bars", "polybolos data"]),
        wrong(&["sql", "SELECT 1 / 0"], 1, &["zero"]),
        wrong(&["sql", ""], 1, &[]),
    ] {
        check(&place, &case);
    }
}

#[test]
fn results_of_an_unfinished_sweep_are_not_shown_as_if_they_were_all() {
    let place = Place::with_market(300);
    let sweep = place.sweep("results", &[]);
    let id = sweep["sweep_id"].as_str().unwrap();
    std::fs::remove_file(place.path(&format!("results/sweeps/{id}/BBBUSDT.parquet"))).unwrap();
    for args in
        [["results", "top"].as_slice(), &["results", "heatmap"], &["results", "export", "--out", "rows.csv"]]
    {
        let ran = place.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{args:?}");
        assert!(
            ran.stderr.contains("unfinished") && ran.stderr.contains("polybolos sweep"),
            "{}",
            ran.stderr
        );
    }
    let again = place.sweep("results", &[]);
    assert_eq!(
        (&again["top"], &again["units_computed"]),
        (&sweep["top"], &0.into()),
        "the units are still there"
    );
}

#[test]
fn a_grid_too_large_to_keep_is_not_started_without_asking() {
    let place = Place::with_market(100);
    place.write(
        "huge.yaml",
        "name: huge\nparams:\n  a: {from: 1, to: 4000}\n  b: {from: 1, to: 4000}\nlong:\n  enter: close > a\n  exit: close < b\n",
    );
    let ran = check(&place, &all(&["huge.yaml"], 2, &["32,000,000 rows", "--keep top:1000", "--keep all"]));
    assert_eq!(ran.code, Some(2));
    assert!(!place.path("results").exists());
}
