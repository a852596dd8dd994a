//! A sweep of the cluster is the sweep of one process.

use serde_json::Value;

use super::harness::{DONE, Setup, TestCluster, UNITS_PER_SYMBOL};

#[test]
fn a_sweep_watched_to_the_end_prints_and_writes_what_one_process_does() {
    let cluster = TestCluster::start(&Setup::default());
    let there = cluster.sweep(&[]);
    let there = there.json();
    let here = cluster.embedded(&[]);
    for field in ["sweep_id", "combos", "symbols", "bars", "rows", "units", "bar_combos", "backend", "top"] {
        assert_eq!(there[field], here[field], "{field}");
    }
    assert_eq!(there["units_computed"], 2 * UNITS_PER_SYMBOL);
    let sweep_id = there["sweep_id"].as_str().unwrap();
    cluster.assert_same_rows(sweep_id, &[]);
    let computed = cluster.computed();
    assert_eq!(computed.len() as u64, 2 * UNITS_PER_SYMBOL);
    for executor in [0, 1] {
        let is_used = computed.values().flatten().any(|unit| unit.executor == executor);
        assert!(is_used, "executor {executor} computed nothing");
    }
    cluster.assert_nothing_computed_twice();
    for unit in cluster.scheduler().lines("unit") {
        let fields =
            ["sweep_id", "symbol", "row_from", "row_to", "executor", "outcome", "bar_combos", "is_on_gpu"];
        let twin = computed.keys().find(|key| unit["symbol"] == key.1 && unit["row_from"] == key.2).unwrap();
        assert!(fields.iter().all(|field| !unit[field].is_null()), "{unit}");
        assert_eq!((&unit["sweep_id"], &unit["outcome"]), (&twin.0.as_str().into(), &"computed".into()));
    }

    let again = cluster.sweep(&[]).json();
    assert_eq!((&again["sweep_id"], &again["top"]), (&there["sweep_id"], &there["top"]));
    assert_eq!(again["units_computed"], 0);
    assert_eq!(cluster.computed(), computed, "the same sweep again computed something");
    let best = cluster.run(&["results", "top", sweep_id, "--json"]).json();
    assert_eq!(&best, &there["top"]);
    cluster.finish();
}

#[test]
fn a_sweep_that_was_handed_over_goes_on_alone_and_can_be_watched_later() {
    let mut cluster = TestCluster::start(&Setup { executors: 1, ..Setup::default() });
    cluster.place.write("faults/sleep-100@*@*.always", "");
    let changed = ["--fee", "0.002"];
    let sweep_id = cluster.submit(&changed);
    let status = cluster.status(&sweep_id).unwrap();
    assert!(["queued", "running"].contains(&status["state"].as_str().unwrap()), "{status:#}");
    let watched = cluster.run(&["jobs", "watch", "--json"]).json();
    assert_eq!(
        (&watched["sweep_id"], &watched["state"]),
        (&Value::from(sweep_id.as_str()), &"complete".into())
    );
    cluster.assert_same_rows(&sweep_id, &changed);
    // A file that a killed executor left half-written is gone after the next sweep.
    let folder =
        std::fs::read_dir(cluster.place.path("results/units")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(folder.join(".dead.parquet.4711-0.tmp"), b"half").unwrap();
    std::fs::remove_file(cluster.place.path("faults/sleep-100@*@*.always")).unwrap();
    let next = cluster.submit(&[]);
    cluster.wait_for_end(&next, "complete");
    cluster.wait("the list of both sweeps", DONE, |cluster| {
        let list = cluster.run(&["results", "list", "--json"]).json();
        (list.as_array().unwrap().len() == 2).then_some(())
    });
    cluster.finish();
}
