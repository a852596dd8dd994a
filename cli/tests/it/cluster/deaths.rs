//! Processes that are killed while they work.

use std::process::Stdio;
use std::time::Duration;

use super::harness::{DONE, SOON, Setup, TestCluster, UNITS_PER_SYMBOL};
use super::process::Process;

const SLOWLY: &str = "faults/sleep-300@*@*.always";

/// Kills the first executor while it runs units.
fn kill_at_work(cluster: &mut TestCluster, number: usize) {
    cluster.wait("units on the executor to be killed", DONE, |cluster| {
        (cluster.running_on(number) > 0).then_some(())
    });
    cluster.kill_executor(number);
}

#[test]
fn an_executor_killed_in_the_middle_of_its_units_loses_nothing_but_these() {
    let mut cluster = TestCluster::start(&Setup::default());
    cluster.place.write(SLOWLY, "");
    let sweep_id = cluster.submit(&[]);
    cluster.wait_for_units(&sweep_id, 4);
    kill_at_work(&mut cluster, 0);
    let status = cluster.wait_for_end(&sweep_id, "complete");
    assert_eq!(status["units"]["done"], 2 * UNITS_PER_SYMBOL);
    cluster.assert_same_rows(&sweep_id, &[]);
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}

#[test]
fn a_scheduler_killed_in_the_middle_of_a_sweep_takes_it_up_again_and_its_client_waits() {
    let mut cluster = TestCluster::start(&Setup::default());
    cluster.place.write(SLOWLY, "");
    let sweep_id = cluster.submit(&[]);
    let mut watch = cluster.client(&["jobs", "watch", &sweep_id]);
    watch.stdin(Stdio::null());
    let mut watcher = Process::spawn(watch, cluster.place.path("logs/watcher.txt"));
    cluster.wait_for_units(&sweep_id, 4);
    cluster.kill_scheduler();
    cluster.wait("the client to see it", SOON, |_| watcher.log().contains("connection lost").then_some(()));
    cluster.start_scheduler();
    let taken_up = cluster.scheduler().lines("unfinished sweep taken up again");
    assert_eq!(taken_up.len(), 1, "{taken_up:?}");
    cluster.wait_for_end(&sweep_id, "complete");
    assert!(watcher.end_within(SOON).success(), "{}", watcher.log());
    cluster.assert_same_rows(&sweep_id, &[]);
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}

#[test]
fn an_executor_whose_port_is_closed_is_missed_long_before_its_heartbeats_run_out() {
    /// Reports stop, three knocks, and a look of Ballista's.
    const MISSED: Duration = Duration::from_secs(8);
    let scheduler = ["--executor-timeout-s", "120"];
    let mut cluster = TestCluster::start(&Setup { scheduler: &scheduler, ..Setup::default() });
    cluster.place.write(SLOWLY, "");
    let sweep_id = cluster.submit(&[]);
    cluster.wait_for_units(&sweep_id, 4);
    kill_at_work(&mut cluster, 0);
    cluster.wait("the scheduler to miss the executor", MISSED, |cluster| {
        (cluster.api("/api/executors")?.as_array()?.len() == 1).then_some(())
    });
    let status = cluster.wait_for_end(&sweep_id, "complete");
    assert_eq!(status["units"]["failed"], 0);
    cluster.assert_same_rows(&sweep_id, &[]);
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}

#[test]
#[ignore = "takes long: tests/cluster/run.sh"]
fn the_units_that_a_killed_executor_had_finished_are_not_computed_again() {
    let mut cluster = TestCluster::start(&Setup::default());
    cluster.place.write("faults/sleep-700@*@*.always", "");
    let sweep_id = cluster.submit(&[]);
    let finished = cluster.wait("units finished by the executor to be killed", DONE, |cluster| {
        let units: Vec<_> =
            cluster.computed().into_iter().filter(|(_, times)| times[0].executor == 0).collect();
        (units.len() >= 2).then_some(units)
    });
    cluster.kill_executor(0);
    let killed_ms = finished.iter().map(|(_, times)| times[0].ended_ms).max().unwrap();
    cluster.wait_for_end(&sweep_id, "complete");
    let computed = cluster.computed();
    for (unit, _) in &finished {
        assert_eq!(
            computed[unit].len(),
            1,
            "{unit:?} was finished at {killed_ms} and computed again: {computed:?}"
        );
    }
    cluster.assert_nothing_computed_twice();
    cluster.assert_same_rows(&sweep_id, &[]);
    cluster.finish();
}

#[test]
#[ignore = "takes long: tests/cluster/run.sh"]
fn a_sweep_whose_executors_were_all_killed_waits_for_others_and_says_so() {
    let mut cluster = TestCluster::start(&Setup::default());
    cluster.place.write(SLOWLY, "");
    let sweep_id = cluster.submit(&[]);
    cluster.wait_for_units(&sweep_id, 4);
    cluster.kill_executor(0);
    cluster.kill_executor(1);
    cluster.wait("the sweep to say that it waits", SOON, |cluster| {
        let status = cluster.status(&sweep_id)?;
        status["message"].as_str()?.contains("executors").then_some(())
    });
    let (status, _) = cluster.get("/readyz").unwrap();
    assert_eq!(status, 503, "a scheduler without executors is not ready");
    cluster.start_executor();
    cluster.start_executor();
    let status = cluster.wait_for_end(&sweep_id, "complete");
    assert_eq!(status["units"]["failed"], 0);
    cluster.assert_same_rows(&sweep_id, &[]);
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}

#[test]
#[ignore = "takes long: tests/cluster/run.sh"]
fn a_scheduler_that_was_away_together_with_its_executors_goes_on() {
    let mut cluster = TestCluster::start(&Setup::default());
    cluster.place.write(SLOWLY, "");
    let sweep_id = cluster.submit(&[]);
    cluster.wait_for_units(&sweep_id, 4);
    cluster.kill_scheduler();
    cluster.kill_executor(0);
    cluster.kill_executor(1);
    cluster.start_scheduler();
    let status = cluster.wait("the sweep after the restart", SOON, |cluster| cluster.status(&sweep_id));
    assert!(["queued", "running"].contains(&status["state"].as_str().unwrap()), "{status:#}");
    cluster.start_executor();
    cluster.wait_for_end(&sweep_id, "complete");
    cluster.assert_same_rows(&sweep_id, &[]);
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}

#[test]
#[ignore = "takes long: tests/cluster/run.sh"]
fn a_sweep_goes_on_without_the_client_that_asked_for_it() {
    let mut cluster = TestCluster::start(&Setup::default());
    cluster.place.write(SLOWLY, "");
    let arguments =
        ["sweep", "grid.yaml", "--symbols", "all", "--interval", "1h", "--unit-rows", "20", "--quiet"];
    let client = cluster.client(&arguments);
    let mut client = Process::spawn(client, cluster.place.path("logs/client.txt"));
    let sweep_id = cluster.wait("the sweep", SOON, |cluster| {
        Some(cluster.api("/api/sweeps")?[0]["sweep_id"].as_str()?.to_owned())
    });
    cluster.wait_for_units(&sweep_id, 4);
    client.kill();
    cluster.wait_for_end(&sweep_id, "complete");
    cluster.assert_same_rows(&sweep_id, &[]);
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}
