//! Output into pipes: no colours, no progress, and a reader may leave early.

use std::io::Read as _;
use std::process::Stdio;

use crate::place::Place;

#[test]
fn a_reader_that_leaves_early_ends_the_command_quietly() {
    let place = Place::with_market(3000);
    let args = [
        "indicators",
        "sma(close, 20)",
        "rsi(close, 14)",
        "--symbol",
        "AAAUSDT",
        "--interval",
        "1h",
        "--json",
    ];
    let mut child = place.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut head = [0; 100];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut head).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn no_command_writes_escape_codes_into_a_pipe() {
    let place = Place::with_market(600);
    place.sweep("results", &[]);
    let on = |args: &[&'static str]| [args, &["--symbol", "AAAUSDT", "--interval", "1h"]].concat();
    for args in [
        vec!["--help"],
        vec!["data", "list"],
        vec!["data", "check"],
        vec!["results", "list"],
        vec!["results", "show"],
        vec!["results", "top"],
        vec!["results", "heatmap"],
        vec!["config", "show"],
        vec!["config", "check", "cross.yaml"],
        vec!["sql", "SELECT * FROM results LIMIT 3"],
        vec!["sweep", "cross.yaml", "--symbols", "all", "--interval", "1h"],
        vec!["sweep", "cross.yaml", "--symbols", "all", "--interval", "1h", "--explain"],
        on(&["indicators", "close"]),
        on(&["backtest", "cross.yaml", "--set", "fast=5", "--set", "slow=25"]),
        vec!["sweep", "nothing.yaml", "--symbols", "all", "--interval", "1h"],
    ] {
        let ran = place.run(&args);
        assert!(!ran.stdout.contains('\x1b') && !ran.stderr.contains('\x1b'), "{args:?}: {ran:?}");
    }
}

#[test]
fn quiet_commands_leave_stderr_empty() {
    let place = Place::with_market(600);
    for args in [
        ["sweep", "cross.yaml", "--symbols", "all", "--interval", "1h", "--quiet"].as_slice(),
        ["indicators", "close", "--symbol", "AAAUSDT", "--interval", "1h", "-q"].as_slice(),
        ["data", "synth", "--symbols", "1", "--bars", "50", "--data", "other", "--quiet"].as_slice(),
    ] {
        let ran = place.run(args);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
        assert!(!ran.stdout.is_empty(), "{args:?}");
    }
}
