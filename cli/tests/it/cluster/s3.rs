//! A cluster whose bars, units and results lie in a bucket.

use std::collections::BTreeMap;
use std::time::Duration;

use super::harness::{SOON, Setup, TestCluster, UNITS_PER_SYMBOL};
use super::process::get;
use crate::s3::run;
use crate::s3::server::S3Server;

/// A cluster over a bucket with the bars of its own folder, and the server.
fn cluster_and_server(executors: usize) -> Option<(TestCluster, S3Server)> {
    let server = S3Server::start()?;
    let places = ["data", "results"].map(|prefix| server.url(prefix));
    let setup = Setup { executors, places, environment: server.environment(), ..Setup::default() };
    let mut cluster = TestCluster::prepared(&setup);
    let (symbols, bars) = (setup.symbols.to_string(), setup.bars.to_string());
    let synth = ["data", "synth", "--symbols", &symbols, "--bars", &bars, "--interval", "1h", "--data"];
    run(&server, cluster.command(&[&synth[..], &[&server.url("data")]].concat())).ok();
    cluster.start_scheduler();
    for _ in 0..executors {
        cluster.start_executor();
    }
    if executors > 0 {
        cluster.wait_for_executors(executors);
    }
    Some((cluster, server))
}

/// The result files of a sweep in the bucket.
fn rows(server: &mut S3Server, sweep_id: &str) -> BTreeMap<String, Vec<u8>> {
    let mut objects = server.objects(&format!("results/sweeps/{sweep_id}"));
    objects.retain(|name, _| name.ends_with(".parquet"));
    objects
}

/// Each unit was written once and no upload was left half-way.
fn assert_units_written_once(server: &mut S3Server, units: u64) {
    let written = server.puts("results/units");
    assert_eq!(written.len() as u64, units);
    assert!(written.values().all(|&count| count == 1), "{written:?}");
    assert_eq!(server.tell("uploads"), "0");
}

#[test]
fn a_cluster_over_a_bucket_does_what_one_process_does_on_a_disk_and_tells_nobody_its_keys() {
    let Some((cluster, mut server)) = cluster_and_server(2) else { return };
    let done = cluster.sweep(&[]).json();
    let sweep_id = done["sweep_id"].as_str().unwrap();
    assert_eq!(done["units_computed"], 2 * UNITS_PER_SYMBOL);
    cluster.assert_rows(sweep_id, &[], &rows(&mut server, sweep_id));
    assert_units_written_once(&mut server, 2 * UNITS_PER_SYMBOL);
    for query in [
        "SELECT symbol, count(*) AS n, min(low) AS low FROM bars GROUP BY symbol ORDER BY symbol",
        "SELECT symbol, fast, avg(sharpe) AS s FROM results GROUP BY symbol, fast ORDER BY symbol, fast",
    ] {
        let there = cluster.run(&["sql", query, "--json"]).json();
        let here = ["sql", query, "--json", "--data", "data", "--results", "embedded"];
        assert_eq!(there, run(&server, cluster.command(&here)).json(), "{query}");
    }
    let best = cluster.run(&["results", "top", sweep_id, "--json"]).json();
    assert_eq!(best, done["top"]);
    assert_eq!(cluster.sweep(&[]).json()["units_computed"], 0);

    let mut told = cluster.written();
    let scheduler = format!("127.0.0.1:{}", cluster.http);
    let pages = ["/", "/metrics", "/api/sweeps", "/api/executors", &format!("/api/sweeps/{sweep_id}")]
        .map(|path| (scheduler.as_str(), path.to_owned()));
    let probes = cluster.members.iter().map(|member| (member.http.as_str(), "/metrics".to_owned()));
    for (address, path) in pages.into_iter().chain(probes) {
        let (status, body) = get(address, &path, None).unwrap();
        assert_eq!(status, 200, "{address}{path}");
        told.push((path.into(), body.into_bytes()));
    }
    told.extend(server.objects("results").into_iter().map(|(name, bytes)| (name.into(), bytes)));
    for secret in [server.told("secret_key"), server.told("access_key")] {
        for (place, content) in &told {
            let is_in = content.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!is_in, "a key is in {}", place.display());
        }
    }
    cluster.finish();
}

#[test]
fn a_bucket_that_is_away_for_some_seconds_costs_a_cluster_no_unit() {
    let Some((mut cluster, mut server)) = cluster_and_server(2) else { return };
    cluster.place.write("faults/sleep-300@*@*.always", "");
    let sweep_id = cluster.submit(&[]);
    cluster.wait_for_units(&sweep_id, 4);
    server.tell("down");
    std::thread::sleep(Duration::from_secs(4));
    server.tell("up");
    cluster.wait_for_end(&sweep_id, "complete");
    cluster.assert_rows(&sweep_id, &[], &rows(&mut server, &sweep_id));
    assert_units_written_once(&mut server, 2 * UNITS_PER_SYMBOL);
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}

#[test]
fn executors_that_may_not_write_to_the_bucket_end_the_sweep_with_the_reason() {
    let Some((mut cluster, mut server)) = cluster_and_server(0) else { return };
    let mut command = cluster.executor_command("faults");
    command.env("AWS_SECRET_ACCESS_KEY", "a-wrong-secret");
    let number = cluster.run_executor(command);
    cluster.wait_for_executors(1);
    let sweep_id = cluster.submit(&[]);
    let status = cluster.wait_for_end(&sweep_id, "failed");
    let told = status.to_string();
    for word in ["s3://", "access denied", "AWS_SECRET_ACCESS_KEY"] {
        assert!(told.contains(word), "`{word}` is missing: {told}");
    }
    assert!(!told.contains("a-wrong-secret"), "{told}");
    assert_units_written_once(&mut server, 0);
    // With the right keys the same sweep is done.
    cluster.members[number].process.signal("-TERM");
    assert!(cluster.members[number].process.end_within(SOON).success());
    cluster.start_executor();
    cluster.wait_for_executors(1);
    let done = cluster.sweep(&[]).json();
    cluster.assert_rows(&sweep_id, &[], &rows(&mut server, &sweep_id));
    assert_eq!(done["units_computed"], 2 * UNITS_PER_SYMBOL);
    cluster.finish();
}
