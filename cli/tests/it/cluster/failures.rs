//! Units that fail: once, always, or with everybody who tries them.

use std::fs;

use super::harness::{DONE, Setup, TestCluster, UNITS_PER_SYMBOL};

/// The symbols of the market, in order.
fn symbols(cluster: &TestCluster) -> Vec<String> {
    let mut names: Vec<String> = cluster.embedded(&[])["top"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["symbol"].as_str().unwrap().to_owned())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn units_that_can_never_be_done_are_named_the_others_kept_and_only_the_missing_computed_later() {
    let mut cluster = TestCluster::start(&Setup::default());
    let symbol = symbols(&cluster).swap_remove(0);
    let faults = [
        (format!("poison@{symbol}@40.always"), "rows 40..60", "this unit can never be done"),
        (format!("panic@{symbol}@220.always"), "rows 220..240", "injected panic"),
    ];
    for (token, _, _) in &faults {
        cluster.place.write(&format!("faults/{token}"), "");
    }
    // Once is not never.
    cluster.place.write(&format!("faults/io@{symbol}@100.1"), "");
    let failed = cluster.sweep(&[]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("2 of 24 units cannot be done, the others are kept"), "{failed:?}");
    for (_, rows, reason) in &faults {
        let line = failed.stderr.lines().find(|line| line.contains(&format!("{symbol} {rows}")));
        assert!(line.is_some_and(|line| line.contains(reason)), "{rows}: {failed:?}");
    }
    assert_eq!(cluster.place.units("results").len() as u64, 2 * UNITS_PER_SYMBOL - 2);
    assert!(cluster.place.path(&format!("faults/used-io@{symbol}@100.1")).exists());

    for (token, _, _) in &faults {
        fs::remove_file(cluster.place.path(&format!("faults/{token}"))).unwrap();
    }
    let done = cluster.sweep(&[]).json();
    assert_eq!(done["units_computed"], 2);
    let sweep_id = done["sweep_id"].as_str().unwrap();
    let status = cluster.wait_for_end(sweep_id, "complete");
    assert_eq!(status["failures"], serde_json::json!([]), "failures of the run before");
    cluster.assert_same_rows(sweep_id, &[]);
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}

#[test]
#[ignore = "takes long: tests/cluster/run.sh"]
fn storage_errors_that_pass_are_got_over() {
    let mut cluster = TestCluster::start(&Setup::default());
    for number in 0..8 {
        cluster.place.write(&format!("faults/io@*@*.{number}"), "");
    }
    let done = cluster.sweep(&[]).json();
    let sweep_id = done["sweep_id"].as_str().unwrap();
    let used = fs::read_dir(cluster.place.path("faults")).unwrap().flatten();
    let used = used.filter(|entry| entry.file_name().to_string_lossy().starts_with("used-io")).count();
    assert_eq!(used, 8, "not every fault has happened");
    let status = cluster.wait_for_end(sweep_id, "complete");
    assert_eq!(status["units"]["failed"], 0);
    cluster.assert_same_rows(sweep_id, &[]);
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}

#[test]
#[ignore = "takes long: tests/cluster/run.sh"]
fn a_unit_that_kills_every_executor_is_found_and_named_and_the_others_are_done() {
    let mut cluster = TestCluster::start(&Setup::default());
    let symbol = symbols(&cluster).swap_remove(1);
    let token = format!("faults/abort@{symbol}@60.always");
    cluster.place.write(&token, "");
    let sweep_id = cluster.submit(&[]);
    let status = cluster.wait("the sweep to end with that unit named", 2 * DONE, |cluster| {
        // Somebody starts executors again that have died, as every supervisor does.
        let dead: Vec<usize> = (0..cluster.members.len())
            .filter(|&number| cluster.members[number].process.ended().is_some())
            .collect();
        while cluster.members.len() < 2 + dead.len() {
            cluster.start_executor();
        }
        let status = cluster.status(&sweep_id)?;
        ["failed", "complete"].contains(&status["state"].as_str()?).then_some(status)
    });
    assert_eq!(status["state"], "failed", "{status:#}");
    let failures = status["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1, "{status:#}");
    assert_eq!((&failures[0]["symbol"], &failures[0]["row_from"]), (&symbol.into(), &60.into()));
    assert_eq!(cluster.place.units("results").len() as u64, 2 * UNITS_PER_SYMBOL - 1);
    let deaths = cluster.members.len() - 2;
    eprintln!("{deaths} executors died until the unit was named: {}", failures[0]["reason"]);

    fs::remove_file(cluster.place.path(&token)).unwrap();
    let done = cluster.sweep(&[]).json();
    assert_eq!(done["units_computed"], 1);
    cluster.assert_same_rows(&sweep_id, &[]);
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}
