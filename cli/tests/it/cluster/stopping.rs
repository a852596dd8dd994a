//! Cancelled sweeps and executors that are asked to go.

use std::time::{Duration, Instant};

use super::harness::{DONE, SOON, Setup, TestCluster, UNITS_PER_SYMBOL};
use super::process::Process;

/// A grid of 10^6 rows, of which a unit has so many that it takes a processor some seconds.
const LONG: [&str; 8] =
    ["--set", "fast=2..1001", "--set", "slow=1002..2001", "--keep", "top:10", "--unit-rows", "10000"];

/// Processor time that a quiet executor may use for heartbeats, reports and probes, as a part of the time that passes.
const IDLE_SHARE: f64 = 0.1;

#[test]
fn a_cancelled_sweep_stops_computing_at_once_and_keeps_what_is_finished() {
    let mut cluster = TestCluster::start(&Setup { slots: 1, symbols: 1, bars: 120_000, ..Setup::default() });
    let sweep_id = cluster.submit(&LONG);
    let watch = cluster.client(&["jobs", "watch", &sweep_id]);
    let mut watcher = Process::spawn(watch, cluster.place.path("logs/watcher.txt"));
    cluster.wait_for_units(&sweep_id, 1);
    let used = |cluster: &TestCluster| -> f64 {
        cluster.members.iter().map(|member| member.process.cpu_seconds()).sum()
    };
    let before = used(&cluster);
    cluster.wait("executors at work", DONE, |cluster| (used(cluster) - before > 0.2).then_some(()));
    let finished = cluster.place.units("results").len();
    let said = cluster.run(&["jobs", "cancel", &sweep_id]).ok();
    assert!(said.contains("is cancelled; finished units are kept"), "{said}");

    let (asked, at_once) = (Instant::now(), used(&cluster));
    let idle_after = cluster.wait("idle executors", Duration::from_secs(10), |cluster| {
        let (since, before) = (Instant::now(), used(cluster));
        std::thread::sleep(Duration::from_millis(400));
        let share = (used(cluster) - before) / since.elapsed().as_secs_f64();
        (share < IDLE_SHARE).then(|| since.duration_since(asked))
    });
    let burnt = used(&cluster) - at_once;
    eprintln!(
        "idle {} ms after the cancellation, which cost {burnt:.2} s of processor time",
        idle_after.as_millis()
    );
    // In processor time, of both executors together, so that other programs on the machine do not count.
    assert!(burnt < 1.0, "{burnt:.2} s of processor time after the cancellation");

    assert_eq!(watcher.end_within(SOON).code(), Some(1), "{}", watcher.log());
    assert!(watcher.log().contains("was cancelled; finished units are kept"), "{}", watcher.log());
    cluster.wait_for_end(&sweep_id, "cancelled");
    let kept = cluster.place.units("results").len();
    assert!(kept >= finished && kept < 100, "{kept} of 100 units");
    let again = cluster.run(&["jobs", "cancel", &sweep_id]).ok();
    assert!(again.contains("had ended before"), "{again}");

    assert_eq!(cluster.submit(&LONG), sweep_id);
    cluster.wait("finished units to be found again", DONE, |cluster| {
        (cluster.status(&sweep_id)?["units"]["reused"].as_u64()? >= kept as u64).then_some(())
    });
    cluster.run(&["jobs", "cancel", &sweep_id]).ok();
    cluster.wait_for_end(&sweep_id, "cancelled");
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}

#[test]
fn an_executor_that_is_asked_to_go_ends_its_units_first_and_nothing_is_lost() {
    let mut cluster = TestCluster::start(&Setup::default());
    cluster.place.write("faults/sleep-500@*@*.always", "");
    let sweep_id = cluster.submit(&[]);
    cluster.wait_for_units(&sweep_id, 2);
    cluster.wait("units on the executor", DONE, |cluster| (cluster.running_on(0) == 2).then_some(()));
    let leaving = &mut cluster.members[0].process;
    leaving.signal("-TERM");
    assert!(leaving.end_within(SOON).success());
    let ends = leaving.lines("unit");
    let begun = leaving.log().matches("injected fault").count();
    assert_eq!(ends.len(), begun, "of the units it had begun it ended {ends:?}");
    assert!(ends.iter().all(|unit| unit["outcome"] == "computed"), "{ends:?}");
    let finished = cluster.computed();
    cluster.wait_for_end(&sweep_id, "complete");
    let computed = cluster.computed();
    assert!(finished.keys().all(|unit| computed[unit].len() == 1), "a finished unit was computed again");
    assert_eq!(computed.len() as u64, 2 * UNITS_PER_SYMBOL);
    cluster.assert_nothing_computed_twice();
    cluster.assert_same_rows(&sweep_id, &[]);
    cluster.finish();
}
