//! `polybolos jobs`, and what is said where there is nothing to say it of.

use super::harness::{Setup, TestCluster};
use super::process::free_port;
use crate::place::{Place, Ran};

/// One message, and nothing on stdout.
fn assert_one_error(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{ran:?}");
    assert_eq!(ran.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "`{word}` is missing: {ran:?}");
    }
}

#[test]
fn sweeps_are_listed_watched_and_cancelled_by_their_ids() {
    let mut cluster = TestCluster::start(&Setup { executors: 1, ..Setup::default() });
    assert!(cluster.run(&["jobs", "list"]).ok().contains("no sweep"));
    assert_one_error(&cluster.run(&["jobs", "watch"]), 1, &["no sweep is going on"]);
    for command in ["watch", "cancel"] {
        let words = ["there is no sweep `nonsense-1`", "polybolos jobs list"];
        assert_one_error(&cluster.run(&["jobs", command, "nonsense-1"]), 1, &words);
    }
    cluster.place.write("faults/sleep-200@*@*.always", "");
    let first = cluster.submit(&[]);
    let second = cluster.submit(&["--fee", "0.002"]);
    let list = cluster.run(&["jobs", "list", "--active", "--json"]).json();
    let ids: Vec<&str> =
        list.as_array().unwrap().iter().map(|sweep| sweep["sweep_id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&second, &first], "newest first");
    let cancelled = cluster.run(&["jobs", "cancel", &second, "--json"]).json();
    assert_eq!(cancelled, serde_json::json!({ "sweep_id": second, "was_active": true }));
    cluster.wait_for_end(&second, "cancelled");
    let words = cluster.run(&["jobs", "watch", &first]).ok();
    assert!(words.contains(&format!("{first} is complete: 24 units")), "{words}");
    assert_one_error(&cluster.run(&["jobs", "watch", &second]), 1, &["was cancelled"]);
    let table = cluster.run(&["jobs", "list"]).ok();
    for word in [first.as_str(), second.as_str(), "complete", "cancelled"] {
        assert!(table.contains(word), "{table}");
    }
    assert_eq!(cluster.run(&["jobs", "list", "--active", "--json"]).json(), serde_json::json!([]));
    let wrong = cluster.run(&["sweep", "grid.yaml", "--symbols", "NOSUCH", "--interval", "1h"]);
    assert_one_error(&wrong, 1, &["NOSUCH"]);
    cluster.assert_same_rows(&first, &[]);
    cluster.finish();
}

#[test]
fn a_scheduler_that_is_not_there_is_one_clear_message() {
    let place = Place::empty();
    place.write("grid.yaml", crate::place::STRATEGY);
    let url = format!("http://127.0.0.1:{}", free_port());
    for command in [
        vec!["sweep", "grid.yaml", "--symbols", "all", "--interval", "1h"],
        vec!["jobs", "list"],
        vec!["jobs", "watch"],
        vec!["jobs", "watch", "some-sweep"],
        vec!["jobs", "cancel", "some-sweep"],
        vec!["sql", "SELECT 1"],
        vec!["results", "list"],
    ] {
        let ran = place.run(&[&command[..], &["--cluster", &url]].concat());
        assert_one_error(&ran, 1, &[&url, "cannot be reached", "polybolos scheduler"]);
    }
    for url in ["127.0.0.1:50050", "ftp://127.0.0.1", "http://"] {
        let ran = place.run(&["jobs", "list", "--cluster", url]);
        assert_eq!(ran.code, Some(2), "{url}: {ran:?}");
    }
    assert_one_error(&place.run(&["jobs", "list"]), 2, &["--cluster http://HOST:50050", "POLYBOLOS_CLUSTER"]);
}
