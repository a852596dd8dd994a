//! Full disks.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::harness::{Setup, TestCluster, UNITS_PER_SYMBOL, is_root};

/// Writes a file until the disk is full.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
#[ignore = "takes long and needs root: tests/cluster/run.sh"]
fn a_full_disk_under_an_executor_costs_no_unit() {
    if !is_root("a small disk") {
        return;
    }
    let mut cluster = TestCluster::prepared(&Setup::default());
    cluster.mount("work-0", 1_024);
    cluster.start_scheduler();
    cluster.start_executor();
    cluster.start_executor();
    cluster.wait_for_executors(2);
    fill(&cluster.place.path("work-0/filled"));
    cluster.place.write("faults/sleep-100@*@*.always", "");
    let sweep_id = cluster.submit(&[]);
    let status = cluster.wait_for_end(&sweep_id, "complete");
    assert_eq!(status["units"]["failed"], 0);
    cluster.assert_same_rows(&sweep_id, &[]);
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}

#[test]
#[ignore = "takes long and needs root: tests/cluster/run.sh"]
fn a_full_disk_under_the_results_is_named_and_the_sweep_goes_on_when_there_is_room_again() {
    if !is_root("a small disk") {
        return;
    }
    let cluster = TestCluster::start(&Setup { results_kib: Some(16_384), ..Setup::default() });
    let filled = cluster.place.path("results/filled");
    fill(&filled);
    let failed = cluster.sweep(&[]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("No space left"), "{failed:?}");
    fs::remove_file(&filled).unwrap();
    let done = cluster.sweep(&[]).json();
    assert_eq!(done["units_computed"], 2 * UNITS_PER_SYMBOL);
    cluster.assert_same_rows(done["sweep_id"].as_str().unwrap(), &[]);
    cluster.finish();
}
