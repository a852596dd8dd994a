//! Who may use a cluster, and how they reach it.

use std::process::Command;

use super::harness::{SOON, Setup, TestCluster, ran, sweep_args};
use super::process::get;
use crate::place::Place;

const TOKEN: &str = "a-token-of-these-tests-0123456789";
const OTHER: &str = "another-token-nobody-knows-012345";

#[test]
fn a_cluster_with_a_token_serves_those_who_know_it_and_tells_others_what_is_missing() {
    let mut cluster = TestCluster::start(&Setup { executors: 1, token: Some(TOKEN), ..Setup::default() });
    let done = cluster.sweep(&[]).json();
    cluster.assert_same_rows(done["sweep_id"].as_str().unwrap(), &[]);
    for token in [None, Some(OTHER)] {
        for command in
            [sweep_args(&[]), vec!["jobs", "list"], vec!["sql", "SELECT 1"], vec!["results", "list"]]
        {
            let refused = ran(cluster.client_of(token, &command));
            assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused:?}");
            let errors: Vec<&str> =
                refused.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
            assert!(matches!(errors[..], [error] if error.contains("POLYBOLOS_TOKEN")), "{refused:?}");
        }
        let scheduler = format!("127.0.0.1:{}", cluster.http);
        let executor = cluster.members[0].http.clone();
        for address in [&scheduler, &executor] {
            for (path, expected) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 401)] {
                let (status, _) = get(address, path, token).unwrap();
                assert_eq!(status, expected, "{address}{path} with {token:?}");
            }
        }
        for path in ["/", "/api/sweeps", "/api/executors"] {
            let (status, body) = get(&scheduler, path, token).unwrap();
            assert_eq!(status, 401, "{path} with {token:?}");
            assert!(!body.contains("cross"), "{path} says something: {body}");
        }
    }
    for path in ["/", "/metrics", "/api/sweeps"] {
        assert_eq!(cluster.get(path).unwrap().0, 200, "{path}");
    }
    for token in [None, Some(OTHER)] {
        let mut command = cluster.executor_command("faults");
        command.env_remove("POLYBOLOS_TOKEN");
        token.map(|token| command.env("POLYBOLOS_TOKEN", token));
        let number = cluster.run_executor(command);
        let reason = cluster.wait("the executor to say why it cannot join", SOON, |cluster| {
            cluster.members[number].process.lines("cannot join; trying on").pop()
        });
        assert!(reason["error"].as_str().unwrap().contains("POLYBOLOS_TOKEN"), "{reason}");
        let address = cluster.members[number].http.clone();
        assert_eq!(get(&address, "/readyz", None).unwrap().0, 503);
        assert_eq!(cluster.api("/api/executors").unwrap().as_array().unwrap().len(), 1);
    }
    let told: Vec<String> = cluster
        .members
        .iter()
        .map(|member| &member.process)
        .chain([cluster.scheduler()])
        .map(|p| p.log())
        .collect();
    assert!(told.iter().all(|log| !log.contains(TOKEN) && !log.contains(OTHER)), "a token is in a log");
    cluster.finish();
}

#[test]
fn nobody_listens_beyond_this_machine_without_a_token_or_a_word() {
    let place = Place::empty();
    for command in [
        vec!["scheduler", "--bind", "0.0.0.0", "--port", "0", "--http-port", "0"],
        vec![
            "executor",
            "--bind",
            "0.0.0.0",
            "--port",
            "0",
            "--http-port",
            "0",
            "--scheduler",
            "127.0.0.1:1",
            "--work-dir",
            "w",
        ],
    ] {
        let refused = place.run(&command);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        for word in ["POLYBOLOS_TOKEN", "--insecure"] {
            assert!(refused.stderr.contains(word), "`{word}` is missing: {refused:?}");
        }
    }
}

/// A certificate for this machine, signed by an authority of its own; `None` without openssl.
fn certificate(place: &Place) -> Option<()> {
    place.write("leaf.cnf", "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for arguments in [
        format!("req -x509 {key} -days 2 -keyout ca.key -out ca.pem -subj /CN=authority"),
        format!("req {key} -keyout key.pem -out leaf.csr -subj /CN=localhost"),
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.cnf -out cert.pem"
            .to_owned(),
    ] {
        let made = Command::new("openssl").args(arguments.split(' ')).current_dir(place.path(".")).output();
        let Ok(made) = made else {
            eprintln!("skipped: there is no openssl to make a certificate with");
            return None;
        };
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    Some(())
}

#[test]
fn clients_speak_tls_where_there_is_a_certificate_and_executors_beside_them_do_not() {
    let tls = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let mut cluster =
        TestCluster::prepared(&Setup { scheduler: &tls, token: Some(TOKEN), ..Setup::default() });
    if certificate(&cluster.place).is_none() {
        return;
    }
    cluster.start_scheduler();
    cluster.start_executor();
    cluster.wait_for_executors(1);
    let url = format!("https://localhost:{}", cluster.grpc);
    let known = ["--cluster", &url, "--cluster-ca", "ca.pem"];
    let done = ran(cluster.command(&sweep_args(&known))).json();
    cluster.assert_same_rows(done["sweep_id"].as_str().unwrap(), &[]);
    let list = ran(cluster.command(&[&["jobs", "list", "--json"][..], &known].concat())).json();
    assert_eq!(list[0]["sweep_id"], done["sweep_id"]);
    // An authority that nobody has heard of.
    let refused = ran(cluster.command(&["jobs", "list", "--cluster", &url]));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains(&url), "{refused:?}");
    let missing = ran(cluster.command(&["jobs", "list", "--cluster", &url, "--cluster-ca", "nowhere.pem"]));
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(missing.stderr.contains("nowhere.pem"), "{missing:?}");
    cluster.finish();

    let place = Place::empty();
    place.write("cert.pem", "");
    place.write("key.pem", "no key");
    let refused = place.run(&[&["scheduler", "--port", "0", "--http-port", "0"][..], &tls].concat());
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("key.pem: not a PEM private key"), "{refused:?}");
}
