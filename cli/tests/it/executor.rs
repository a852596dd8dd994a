//! `polybolos executor` from outside: refusals, logs, signals. What it computes is tested with a scheduler in its own crate.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::place::Place;

const NO_SCHEDULER: &str = "127.0.0.1:1";

/// An executor without a scheduler on free ports; `more` replaces options.
fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let usual = [("--scheduler", NO_SCHEDULER), ("--port", "0"), ("--http-port", "0"), ("--gpu", "off")];
    let kept = usual.iter().filter(|(option, _)| !more.contains(option));
    let kept = kept.flat_map(|(option, value)| [*option, *value]);
    ["executor"].into_iter().chain(kept).chain(more.iter().copied()).collect()
}

/// Starts an executor and waits for its first line of log, which says where it listens.
fn started(place: &Place, more: &[&str]) -> (Child, Value) {
    let mut child = place
        .command(&args(&[&["--work-dir", "work", "--log-format", "json"], more].concat()))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut logs = BufReader::new(child.stderr.take().unwrap());
    logs.read_line(&mut line).unwrap();
    // Whatever else is logged must not fill the pipe.
    std::thread::spawn(move || std::io::copy(&mut logs, &mut std::io::sink()));
    (child, serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn it_waits_for_a_scheduler_and_ends_on_a_signal() {
    for name in ["-TERM", "-INT"] {
        let place = Place::empty();
        let (mut child, log) = started(&place, &[]);
        assert_eq!(log["message"], "executor starts");
        assert_eq!(log["scheduler"], NO_SCHEDULER);
        std::thread::sleep(Duration::from_millis(500));
        assert!(child.try_wait().unwrap().is_none(), "it ended without a scheduler");
        let asked = Instant::now();
        signal(&child, name);
        assert!(child.wait().unwrap().success(), "{name}");
        // It had nothing to end; it only tries in vain to say so.
        assert!(asked.elapsed() < Duration::from_secs(15), "{name}: {:?}", asked.elapsed());
    }
}

#[test]
fn it_refuses_what_it_must_not_do() {
    let place = Place::empty();
    std::fs::create_dir(place.path("mine")).unwrap();
    place.write("mine/thesis.txt", "years of work");
    for (more, code, expected) in [
        (vec!["--work-dir", "mine"], 1, "thesis.txt"),
        (vec!["--work-dir", "work", "--bind", "0.0.0.0"], 1, "POLYBOLOS_TOKEN"),
        (vec!["--work-dir", "work", "--slots", "0"], 2, "--slots"),
        (vec!["--work-dir", "work", "--gpu", "all"], 2, "auto, off, or numbers like 0,1"),
        (vec!["--work-dir", "work", "--memory-pool", "8GB"], 2, "8GiB"),
        (vec!["--work-dir", "work", "--scheduler", "http://x:1"], 2, "without http://"),
        (vec![], 2, "--work-dir"),
    ] {
        let output = place.command(&args(&more)).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{more:?}\n{message}");
        assert!(message.contains(expected), "{more:?}\n{message}");
    }
    assert_eq!(std::fs::read_to_string(place.path("mine/thesis.txt")).unwrap(), "years of work");
}

#[test]
fn two_executors_do_not_share_a_working_folder() {
    let place = Place::empty();
    let (mut child, _) = started(&place, &[]);
    let second = place.command(&args(&["--work-dir", "work"])).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8_lossy(&second.stderr);
    assert!(message.contains("in use by another executor"), "{message}");
    // A killed one's folder is free at once.
    child.kill().unwrap();
    child.wait().unwrap();
    let (mut third, _) = started(&place, &[]);
    signal(&third, "-TERM");
    assert!(third.wait().unwrap().success());
}

#[test]
fn a_sweep_with_faults_says_so_dies_fails_and_resumes() {
    let place = Place::with_market(300);
    place.write("s.yaml", crate::place::STRATEGY);
    std::fs::create_dir(place.path("faults")).unwrap();
    place.write("faults/abort@AAAUSDT@0.1", "");
    place.write("faults/io@BBBUSDT@0.1", "");
    // On one thread the second symbol's unit is not begun before the first one's.
    let sweep =
        ["sweep", "s.yaml", "--symbols", "all", "--interval", "1h", "--results", "results", "--threads", "1"];
    let run = || place.command(&sweep).env("POLYBOLOS_FAULTS", place.path("faults")).output().unwrap();
    let died = run();
    assert_eq!(died.status.code(), None, "{}", String::from_utf8_lossy(&died.stderr));
    let failed = run();
    let message = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(1), "{message}");
    assert!(message.contains("faults are injected on purpose"), "{message}");
    assert!(message.contains("error: ") && message.contains("injected storage error"), "{message}");
    let resumed = run();
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
}
