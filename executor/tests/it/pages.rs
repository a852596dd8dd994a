//! Probes and metrics, as a probe and Prometheus ask for them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use polybolos_executor::config::Token;
use polybolos_executor::{ExecutorConfig, Stop};

use crate::cluster::{Reports, Scheduler, Worker, executor_config, turn, wait_until};
use crate::market::Market;

/// Status and body of a page; `None` once nobody listens.
fn get(address: SocketAddr, path: &str, token: Option<&str>) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization}\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

fn metric(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{page}")).parse().unwrap()
}

#[test]
fn probes_follow_the_scheduler_and_the_drain_and_metrics_the_units() {
    let _turn = turn();
    let market = Market::short();
    let reports = Reports::default();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = ExecutorConfig { token: Token::new("t0ken"), ..executor_config(&market, "work", port, 2) };
    let mut worker = Worker::start(config);
    let http = worker.executor().http();
    let status = |path: &str| get(http, path, None).map(|(status, _)| status);
    assert_eq!((status("/healthz"), status("/readyz")), (Some(200), Some(503)));
    assert_eq!((status("/"), status("/metrics")), (Some(404), Some(401)));
    assert_eq!(get(http, "/metrics", Some("wrong")).unwrap().0, 401);

    let scheduler = Scheduler::start_on(port, &reports);
    wait_until("the executor is ready", || status("/readyz") == Some(200));
    let job = scheduler.submit(&market);
    scheduler.end(&job).unwrap();
    let (_, page) = get(http, "/metrics", Some("t0ken")).unwrap();
    for (name, value) in [
        ("polybolos_executor_units_total{outcome=\"computed\"}", market.units as f64),
        ("polybolos_executor_bar_combos_total", market.bar_combos as f64),
        ("polybolos_executor_units_running", 0.0),
        ("polybolos_executor_slots", 2.0),
        ("polybolos_executor_is_ready", 1.0),
        ("polybolos_executor_registrations_total", 1.0),
    ] {
        assert_eq!(metric(&page, name), value, "{name}");
    }
    assert!(metric(&page, "polybolos_executor_bar_cache_bytes") > 0.0);
    assert!(metric(&page, "polybolos_executor_resident_memory_bytes") > 1e6);

    market.token("sleep-1500@*@*.always");
    std::fs::remove_dir_all(market.path("results")).unwrap();
    scheduler.submit(&market);
    wait_until("a unit runs", || reports.running() > 0);
    worker.executor().stop(Stop::Drain);
    wait_until("it is not ready any more", || status("/readyz") == Some(503));
    assert_eq!(status("/healthz"), Some(200), "alive while it drains");
    worker.end();
    assert_eq!(status("/healthz"), None);
}
