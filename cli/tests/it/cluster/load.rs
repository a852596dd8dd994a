//! Executors of different speed, users of different appetite.

use super::harness::{DONE, Setup, TestCluster, UNITS_PER_SYMBOL, ran, sweep_args};

const ANN: &str = "the-token-of-ann-0123456789";
const BOB: &str = "the-token-of-bob-0123456789";

#[test]
#[ignore = "takes long: tests/cluster/run.sh"]
fn a_slow_executor_holds_a_sweep_up_by_its_last_unit_only() {
    let mut cluster = TestCluster::start(&Setup { executors: 1, ..Setup::default() });
    std::fs::create_dir(cluster.place.path("slow")).unwrap();
    cluster.place.write("slow/sleep-4000@*@*.always", "");
    cluster.place.write("faults/sleep-200@*@*.always", "");
    let slow = cluster.run_executor(cluster.executor_command("slow"));
    cluster.wait_for_executors(2);
    let sweep_id = cluster.submit(&[]);
    let status = cluster.wait_for_end(&sweep_id, "complete");
    let seconds =
        (status["finished_ms"].as_i64().unwrap() - status["submitted_ms"].as_i64().unwrap()) as f64 / 1e3;
    let of_slow = cluster.computed().values().flatten().filter(|unit| unit.executor == slow).count();
    eprintln!("{of_slow} of {} units on the slow executor, {seconds:.1} s", 2 * UNITS_PER_SYMBOL);
    assert!(of_slow > 0, "the slow executor was given nothing");
    // Shared equally it would have 12 units, two at a time, 4 s each: 24 s.
    assert!(seconds < 16.0, "{seconds} s");
    cluster.assert_same_rows(&sweep_id, &[]);
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}

#[test]
#[ignore = "takes long: tests/cluster/run.sh"]
fn a_small_sweep_does_not_wait_for_another_users_big_one_and_is_its_owners_to_cancel() {
    let mut cluster = TestCluster::prepared(&Setup {
        token: Some(ANN),
        scheduler: &["--token-file", "users"],
        ..Setup::default()
    });
    // One token in the environment is the user `default`; the file adds bob.
    cluster.place.write("users", &format!("bob {BOB}\n"));
    cluster.start_scheduler();
    cluster.start_executor();
    cluster.start_executor();
    cluster.wait_for_executors(2);
    cluster.place.write("faults/sleep-300@*@*.always", "");
    let small = ["--fee", "0.002"];
    let big_id = cluster.submit(&["--unit-rows", "4"]);
    cluster.wait_for_units(&big_id, 4);
    let bobs = ran(cluster.client_of(Some(BOB), &[&sweep_args(&small)[..], &["--detach"]].concat())).json();
    assert_eq!(bobs["owner"], "bob");
    let small_id = bobs["sweep_id"].as_str().unwrap();
    let refused = ran(cluster.client_of(Some(BOB), &["jobs", "cancel", &big_id]));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("only they may cancel it"), "{refused:?}");
    cluster.wait_for_end(small_id, "complete");
    let big = cluster.status(&big_id).unwrap();
    let (done, total) = (big["units"]["done"].as_u64().unwrap(), big["units"]["total"].as_u64().unwrap());
    eprintln!("the small sweep is complete with {done} of {total} units of the big one done");
    assert!(done < total * 2 / 3, "the small sweep waited: {done} of {total}");
    cluster.wait("the big sweep's progress", DONE, |cluster| {
        (cluster.status(&big_id)?["units"]["done"].as_u64()? > done).then_some(())
    });
    cluster.wait_for_end(&big_id, "complete");
    cluster.assert_same_rows(&big_id, &["--unit-rows", "4"]);
    cluster.assert_same_rows(small_id, &small);
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}
