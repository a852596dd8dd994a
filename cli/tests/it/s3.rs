//! Bars, units and results in a bucket of a real S3 server: the same bytes as on a disk, whatever happens to the server.

#[path = "../../../tests/s3/server.rs"]
pub(crate) mod server;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::place::{Place, Ran, binance_csv};
use server::{S3Server, files};

/// Until something that takes seconds has happened.
const SOON: Duration = Duration::from_secs(60);

const UNIT_ROWS: &str = "20";

/// Units of [`crate::place::STRATEGY`] on two symbols.
const UNITS: usize = 24;

/// Runs a command that may use the server.
pub(crate) fn run(server: &S3Server, mut command: Command) -> Ran {
    let output = command.envs(server.environment()).output().expect("the binary starts");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

/// A folder with bars in `data`, and the same in the bucket.
fn place_and_server() -> Option<(Place, S3Server)> {
    let server = S3Server::start()?;
    let place = Place::with_market(1_500);
    let import = ["data", "import", "AAAUSDT-1h.csv", "BBBUSDT-1h.csv", "--interval", "1h"];
    run(&server, place.command(&[&import[..], &["--data", &server.url("data")]].concat())).ok();
    Some((place, server))
}

fn sweep<'a>(data: &'a str, results: &'a str) -> Vec<&'a str> {
    let mut args = vec!["sweep", "cross.yaml", "--symbols", "all", "--interval", "1h", "--json", "--quiet"];
    args.extend(["--unit-rows", UNIT_ROWS, "--data", data, "--results", results]);
    args
}

/// Units and result files must be those of a disk, to the byte; manifests tell the time and are left out.
fn assert_same_results(place: &Place, server: &mut S3Server, folder: &str, prefix: &str) {
    let parquet = |name: &String| name.ends_with(".parquet");
    let mut here = files(&place.path(folder));
    let mut there = server.objects(prefix);
    let manifests = there.keys().filter(|name| !parquet(name)).count();
    assert!(
        there.keys().filter(|name| !parquet(name)).all(|name| name.ends_with("/sweep.json")),
        "{:?}",
        there.keys()
    );
    assert_eq!(manifests, 1);
    here.retain(|name, _| parquet(name));
    there.retain(|name, _| parquet(name));
    assert_eq!(there.keys().collect::<Vec<_>>(), here.keys().collect::<Vec<_>>());
    assert_eq!(here.keys().filter(|name| name.starts_with("units/")).count(), UNITS);
    for (name, bytes) in &here {
        assert!(there[name] == *bytes, "other bytes in {name}");
    }
    assert_eq!(server.tell("uploads"), "0", "an upload was begun and never ended");
}

#[test]
fn every_command_gives_on_a_bucket_what_it_gives_on_a_disk() {
    let Some((place, mut server)) = place_and_server() else { return };
    let (data, results) = (server.url("data"), server.url("deep/results/"));
    assert_eq!(server.objects("data"), files(&place.path("data")));
    let local = place.run(&sweep("data", "results")).json();
    let there = run(&server, place.command(&sweep(&data, &results))).json();
    for field in ["sweep_id", "combos", "rows", "units", "units_computed", "bar_combos", "top"] {
        assert_eq!(there[field], local[field], "{field}");
    }
    assert_same_results(&place, &mut server, "results", "deep/results");
    let sweep_id = local["sweep_id"].as_str().unwrap();
    for command in [
        vec!["data", "list", "--json"],
        vec!["data", "check", "--json"],
        vec![
            "backtest",
            "cross.yaml",
            "--symbol",
            "AAAUSDT",
            "--interval",
            "1h",
            "--json",
            "--set",
            "fast=3",
            "--set",
            "slow=15",
        ],
        vec!["results", "top", "--json"],
        vec!["results", "heatmap", "--json"],
        vec!["replay", sweep_id, "7", "--json"],
        vec![
            "sql",
            "SELECT symbol, count(*) n, max(high) h FROM bars GROUP BY symbol ORDER BY symbol",
            "--json",
        ],
        vec![
            "sql",
            "SELECT symbol, fast, avg(sharpe) s FROM results GROUP BY symbol, fast ORDER BY symbol, fast",
            "--json",
        ],
        vec!["sql", "SELECT sweep_id, state, rows FROM sweeps", "--json"],
        vec![
            "sql",
            "SELECT count(*) n, max(total_return) r FROM sweep('cross.yaml', 'AAAUSDT', '1h', 'fast=3..7')",
            "--json",
        ],
    ] {
        let uses = |flag: &str| match command[0] {
            "data" | "backtest" => flag == "--data",
            "results" => flag == "--results",
            _ => true,
        };
        let with = |data: &str, results: &str| {
            let flags = [("--data", data), ("--results", results)];
            let flags = flags.into_iter().filter(|(flag, _)| uses(flag));
            let more = flags.flat_map(|(flag, place)| [flag.to_owned(), place.to_owned()]);
            command.iter().map(|&word| word.to_owned()).chain(more).collect::<Vec<_>>()
        };
        let words = |list: &[String]| place.command(&list.iter().map(String::as_str).collect::<Vec<_>>());
        let here = run(&server, words(&with("data", "results"))).json();
        let there = run(&server, words(&with(&data, &results))).json();
        assert_eq!(there, here, "{command:?}");
    }
    for (results, out) in [("results", "here.csv"), (results.as_str(), "there.csv")] {
        run(&server, place.command(&["results", "export", "--out", out, "--results", results])).ok();
    }
    assert_eq!(place.read("here.csv"), place.read("there.csv"));
}

#[test]
fn a_sweep_in_a_bucket_computes_only_what_is_missing_and_writes_each_unit_once() {
    let Some((place, mut server)) = place_and_server() else { return };
    let (data, results) = (server.url("data"), server.url("results"));
    place.run(&sweep("data", "results")).ok();
    let again = |server: &S3Server| run(server, place.command(&sweep(&data, &results))).json();
    let first = again(&server);
    assert_eq!(first["units_computed"], UNITS as u64);
    assert_eq!(again(&server)["units_computed"], 0);
    let written = server.puts("results/units");
    assert_eq!((written.len(), written.values().max()), (UNITS, Some(&1)));
    // A unit and a result file are lost, another unit is damaged.
    let units: Vec<String> = written.into_keys().collect();
    let sweep_id = first["sweep_id"].as_str().unwrap();
    server.tell(&format!("remove results/units/{}", units[0]));
    server.tell(&format!("damage results/units/{}", units[1]));
    server.tell(&format!("remove results/sweeps/{sweep_id}/BBBUSDT.parquet"));
    again(&server);
    assert_same_results(&place, &mut server, "results", "results");
}

#[test]
fn importers_of_one_series_at_the_same_time_lose_nothing() {
    let Some(mut server) = S3Server::start() else { return };
    let place = Place::empty();
    let whole = binance_csv(2_000, 1);
    let lines: Vec<&str> = whole.lines().collect();
    let parts: Vec<String> = (0..5).map(|part| format!("part-{part}.csv")).collect();
    for (part, lines) in parts.iter().zip(lines.chunks(400)) {
        place.write(part, &lines.join("\n"));
    }
    let import = ["data", "import", "--symbol", "AAAUSDT", "--interval", "1h", "--data"];
    let data = server.url("data");
    let writers: Vec<_> = parts
        .iter()
        .map(|part| {
            let mut command = place.command(&[&import[..], &[data.as_str(), part.as_str()]].concat());
            command.envs(server.environment()).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    place.write("whole.csv", &whole);
    place.run(&[&import[..], &["data", "whole.csv"]].concat()).ok();
    assert_eq!(server.objects("data"), files(&place.path("data")));
}

#[test]
fn a_server_that_is_away_for_some_seconds_costs_nothing_but_these() {
    let Some((place, mut server)) = place_and_server() else { return };
    place.run(&sweep("data", "results")).ok();
    std::fs::create_dir(place.path("faults")).unwrap();
    place.write("faults/sleep-600@*@*.always", "");
    let mut command = place.command(&sweep(&server.url("data"), &server.url("results")));
    command.envs(server.environment()).env("POLYBOLOS_FAULTS", place.path("faults"));
    let mut running = command.stdout(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while server.puts("results/units").len() < 3 {
        assert!(started.elapsed() < SOON, "no unit is written");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.tell("down");
    std::thread::sleep(Duration::from_secs(3));
    assert!(running.try_wait().unwrap().is_none(), "it did not wait for the server");
    server.tell("up");
    assert!(running.wait().unwrap().success());
    assert_same_results(&place, &mut server, "results", "results");
    assert_eq!(server.puts("results/units").values().max(), Some(&1));
}

/// A unit whose answer is lost is there, one whose request is lost is not: either way it is written once.
#[test]
fn connections_that_break_off_cost_no_unit() {
    let Some((place, mut server)) = place_and_server() else { return };
    place.run(&sweep("data", "results")).ok();
    for cut in ["before", "after", "after", "before", "before", "after"] {
        server.tell(&format!("cut {cut}"));
    }
    let mut command = place.command(&sweep(&server.url("data"), &server.url("results")));
    assert!(command.envs(server.environment()).stdout(Stdio::null()).status().unwrap().success());
    assert_same_results(&place, &mut server, "results", "results");
    assert_eq!(server.puts("results/units").values().max(), Some(&1));
}

#[test]
fn what_stands_in_the_way_is_said_in_one_sentence_without_secrets() {
    let Some((place, server)) = place_and_server() else { return };
    let (data, results) = (server.url("data"), server.url("results"));
    let list = vec!["data", "list", "--data", &data];
    let query = vec!["sql", "SELECT count(*) FROM bars", "--results", "none", "--data", &data];
    let nowhere = "http://127.0.0.1:9";
    for (name, environment, command, words) in [
        (
            "no bucket",
            vec![],
            vec!["data", "list", "--data", "s3://nobody/x"],
            vec!["s3://nobody/x", "no such bucket", "AWS_ENDPOINT_URL"],
        ),
        (
            "no bucket for results",
            vec![],
            sweep(&data, "s3://nobody/x"),
            vec!["s3://nobody/x", "no such bucket"],
        ),
        (
            "no dataset",
            vec![],
            vec!["data", "list", "--data", "s3://polybolos-tests/none"],
            vec!["s3://polybolos-tests/none", "data import"],
        ),
        (
            "unknown key",
            vec![("AWS_ACCESS_KEY_ID", "AKIANOBODY")],
            list.clone(),
            vec![&data, "access denied", "AWS_ACCESS_KEY_ID"],
        ),
        (
            "wrong secret",
            vec![("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")],
            list.clone(),
            vec![&data, "access denied", "SignatureDoesNotMatch"],
        ),
        (
            "wrong secret in SQL",
            vec![("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")],
            query.clone(),
            vec![&data, "access denied"],
        ),
        (
            "wrong secret in a sweep",
            vec![("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")],
            sweep("data", &results),
            vec![&results, "access denied"],
        ),
        (
            "nobody there",
            vec![("AWS_ENDPOINT_URL", nowhere)],
            list.clone(),
            vec![&data, "cannot be reached", "refused", "AWS_ENDPOINT_URL"],
        ),
        (
            "nobody there for SQL",
            vec![("AWS_ENDPOINT_URL", nowhere)],
            query.clone(),
            vec![&data, "cannot be reached"],
        ),
        (
            "http is not allowed",
            vec![("AWS_ALLOW_HTTP", "false")],
            list.clone(),
            vec!["not encrypted", "AWS_ALLOW_HTTP=true"],
        ),
        (
            "no address",
            vec![("AWS_ENDPOINT_URL", "nonsense")],
            list.clone(),
            vec!["AWS_ENDPOINT_URL=nonsense", "https://"],
        ),
        (
            "half of the keys",
            vec![("AWS_SECRET_ACCESS_KEY", "")],
            list.clone(),
            vec!["no credentials", "AWS_SECRET_ACCESS_KEY"],
        ),
        (
            "no keys",
            vec![
                ("AWS_ACCESS_KEY_ID", ""),
                ("AWS_SECRET_ACCESS_KEY", ""),
                ("AWS_METADATA_ENDPOINT", nowhere),
            ],
            list.clone(),
            vec!["no credentials", "role"],
        ),
        (
            "keys in the name",
            vec![],
            vec!["data", "list", "--data", "s3://key:word@bucket/x"],
            vec!["no credentials", "AWS_SECRET_ACCESS_KEY"],
        ),
        (
            "another scheme",
            vec![],
            vec!["results", "list", "--results", "gs://bucket/x"],
            vec!["gs://bucket/x", "s3://BUCKET/PREFIX"],
        ),
    ] {
        let mut command: Command = place.command(&command);
        command.envs(server.environment());
        for (variable, value) in environment {
            if value.is_empty() {
                command.env_remove(variable)
            } else {
                command.env(variable, value)
            };
        }
        let started = Instant::now();
        let output = command.output().unwrap();
        assert!(started.elapsed() < SOON / 3, "{name}: {:?}", started.elapsed());
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{name}: {told}");
        assert!(words.iter().all(|word| told.contains(word)), "{name}: {told}");
        assert_eq!(told.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{name}: {told}");
        for secret in [server.told("secret_key"), "a-wrong-secret", "key:word", "panicked", "<Error>"] {
            assert!(!told.contains(secret), "{name}: {told}");
        }
    }
}
