//! The offline tour, from nothing to a verdict.

use std::process::Command;

use serde_json::Value;

use crate::place::{Place, binary};

const SMALL: [&str; 5] = ["demo", "--symbols", "2", "--bars", "4000"];

#[test]
fn the_tour_shows_market_sweep_heatmap_verdict_and_where_the_rows_are_and_runs_once() {
    let place = Place::empty();
    let first = place.run(&SMALL).ok();
    for words in [
        "$ polybolos data synth --symbols 2 --bars 4000",
        "$ polybolos sweep ./demo/sma-cross.yaml",
        "5,000 combinations x 2 symbols, 8,000 bars",
        "│ SYN00",
        "sharpe of sma-cross-",
        "X best: slow=",
        "if none of them had any skill",
        "The deflated Sharpe ratio",
        "Parquet files in ./demo/results/sweeps/sma-cross-",
        "$ polybolos sql",
    ] {
        assert!(first.contains(words), "`{words}` is missing:\n{first}");
    }
    assert!(!first.contains('\x1b'), "colours in a pipe");
    let units = place.units("demo/results");
    assert!(!units.is_empty());

    let second = place.run(&SMALL).ok();
    assert!(second.contains("it is there from an earlier run"), "{second}");
    assert!(second.contains("found finished, nothing was computed"), "{second}");
    let lines = |text: &str| {
        text.lines().filter(|line| line.contains("SYN00")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&first), lines(&second));
}

#[test]
fn as_json_it_is_one_document_whose_commands_work() {
    let place = Place::empty();
    let tour = place.run(&[&SMALL[..], &["--json"]].concat()).json();
    assert_eq!(tour["sweep"]["rows"], 10_000);
    assert_eq!(tour["top"].as_array().map(Vec::len), Some(10));
    assert_eq!(tour["heatmap"]["cells"].as_array().map(Vec::len), Some(50));
    let verdict = &tour["verdict"];
    assert_eq!(verdict["trials"], 5000);
    assert_eq!(verdict["dsr"], tour["top"][0]["dsr"]);
    assert_eq!(verdict["sharpe"], tour["top"][0]["sharpe"]);
    let (luck, sharpe) = (verdict["luck_sharpe"].as_f64().unwrap(), verdict["sharpe"].as_f64().unwrap());
    let dsr = verdict["dsr"].as_f64().unwrap();
    // The deflated Sharpe ratio is the probability of being above luck: over a half exactly when the ratio is.
    assert_eq!(dsr > 0.5, sharpe > luck, "{verdict}");

    let commands = tour["commands"].as_array().unwrap();
    assert_eq!(commands.len(), 4);
    for command in commands.iter().filter_map(Value::as_str) {
        let line = command.replacen("polybolos", &format!("'{}'", binary().display()), 1);
        let output = Command::new("sh").args(["-c", &line]).current_dir(place.path("")).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty(), "{command}");
    }
}
