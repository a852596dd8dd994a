//! Sweeps that are interrupted: what was finished stays, and running again gives the bytes of an undisturbed run.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::place::Place;

const SWEEP: [&str; 13] = [
    "sweep",
    "big.yaml",
    "--symbols",
    "AAAUSDT,BBBUSDT",
    "--interval",
    "1h",
    "--unit-rows",
    "40",
    "--threads",
    "1",
    "--quiet",
    "--results",
    "results",
];

/// A grid of 2,400 rows in 120 units: a second of work, so that a kill comes in the middle.
fn place() -> Place {
    let place = Place::with_market(6000);
    let text = crate::place::STRATEGY.replace("{from: 3, to: 25, step: 2}", "{from: 3, to: 42}");
    place.write("big.yaml", &text.replace("{from: 15, to: 53, step: 2}", "{from: 43, to: 102}"));
    place
}

/// Starts the sweep and waits until some units are finished.
fn started(place: &Place) -> Child {
    let mut child = place.command(&SWEEP).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while place.units("results").len() < 5 {
        assert!(started.elapsed() < Duration::from_secs(60), "no unit is ever finished");
        assert!(child.try_wait().unwrap().is_none(), "the sweep ended before it could be interrupted");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

fn finish_and_compare(place: &Place, finished: usize) {
    let before: Vec<_> = place.units("results");
    assert!(before.len() >= finished && before.len() < 120, "{} units: it was not interrupted", before.len());
    let list = place.run(&["results", "list", "--json"]).json();
    assert_eq!(list[0]["state"], "unfinished");
    let rerun = place.run(&[&SWEEP[..], &["--json"]].concat()).json();
    let computed = rerun["units_computed"].as_u64().unwrap() as usize;
    assert_eq!(computed + before.len(), 120, "finished units are not computed again");
    let id = rerun["sweep_id"].as_str().unwrap();
    let mut undisturbed = SWEEP;
    undisturbed[12] = "undisturbed";
    place.run(&undisturbed).ok();
    assert!(
        place.result_bytes("results", id) == place.result_bytes("undisturbed", id),
        "other bytes after a resume"
    );
}

#[test]
fn a_killed_sweep_resumes_to_the_same_bytes() {
    let place = place();
    let mut child = started(&place);
    child.kill().unwrap();
    child.wait().unwrap();
    finish_and_compare(&place, 5);
}

#[test]
fn ctrl_c_keeps_finished_units_says_so_and_exits_with_1() {
    let place = place();
    let child = started(&place);
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()), "{stderr}");
    assert!(
        stderr.contains("error: cancelled; finished units are kept and the same command resumes"),
        "{stderr}"
    );
    finish_and_compare(&place, 5);
}
