//! Joining, losing and leaving a scheduler.

use std::fs;
use std::time::Duration;

use polybolos_executor::config::{SchedulerAddress, Token};
use polybolos_executor::{Executor, ExecutorConfig, ExecutorError, Stop};
use polybolos_proto::access::{EXECUTOR_AGENT, executor_key};
use polybolos_proto::cluster::unit_report::Outcome;

use crate::cluster::{Reports, Scheduler, Worker, cluster, executor_config, turn, wait_until};
use crate::market::{Market, names};

#[test]
fn an_executor_waits_for_its_scheduler_and_joins_one_that_was_restarted() {
    let _turn = turn();
    let market = Market::short();
    let reports = Reports::default();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let worker = Worker::start(executor_config(&market, "work", port, 2));
    std::thread::sleep(Duration::from_millis(800));
    assert!(!worker.executor().is_registered());
    let scheduler = Scheduler::start_on(port, &reports);
    wait_until("the executor joins", || worker.executor().is_registered() && scheduler.executors() == 1);
    let first = worker.executor().id();

    // Away for more than five heartbeats, with a job half done.
    market.token("sleep-100@*@*.always");
    scheduler.submit(&market);
    wait_until("some units are finished", || market.stored() >= 2);
    drop(scheduler);
    wait_until("the loss is noticed", || !worker.executor().is_registered());
    wait_until("Ballista's part gives up", || worker.executor().id() != first);
    fs::remove_file(market.faults().join("sleep-100@*@*.always")).unwrap();
    let kept = market.stored();
    let scheduler = Scheduler::start_on(port, &reports);
    wait_until("the executor joins again", || {
        worker.executor().is_registered() && scheduler.executors() == 1
    });
    let job = scheduler.submit(&market);
    scheduler.end(&job).unwrap();
    assert_eq!(market.stored(), market.units);
    // Outcomes from the time without a scheduler were not lost: every unit is reported as computed once.
    wait_until("all outcomes are reported", || reports.with_outcome(Outcome::Computed).len() == market.units);
    assert!(kept >= 2 && reports.with_outcome(Outcome::Reused).len() >= kept);
}

#[test]
fn a_short_absence_of_the_scheduler_goes_by_without_a_new_name() {
    let _turn = turn();
    let market = Market::short();
    let (scheduler, reports, workers) = cluster(&market, 1, 1);
    let (port, id) = (scheduler.port, workers[0].executor().id());
    drop(scheduler);
    wait_until("the loss is noticed", || !workers[0].executor().is_registered());
    let scheduler = Scheduler::start_on(port, &reports);
    wait_until("the executor is known", || scheduler.executors() == 1);
    assert_eq!(workers[0].executor().id(), id);
    let job = scheduler.submit(&market);
    scheduler.end(&job).unwrap();
}

#[test]
fn draining_ends_what_runs_and_says_so() {
    let _turn = turn();
    let market = Market::short();
    market.token("sleep-1500@*@*.always");
    let (scheduler, reports, mut workers) = cluster(&market, 1, 2);
    scheduler.submit(&market);
    wait_until("two units run", || reports.running() == 2);
    workers[0].executor().stop(Stop::Drain);
    wait_until("it is said", || reports.last().is_some_and(|report| report.is_draining));
    assert_eq!(market.stored(), 0, "the units are too short for this test");
    workers[0].end();
    assert_eq!(market.stored(), 2, "what ran was ended, and nothing more was taken");
    assert_eq!(reports.with_outcome(Outcome::Computed).len(), 2, "and reported");
    assert_eq!(reports.finished().len(), 2);
    assert_eq!(scheduler.executors(), 0);
    assert_eq!(names(&workers[0].work_dir), ["polybolos-executor.lock"]);
}

#[test]
fn stopping_at_once_does_not_wait() {
    let _turn = turn();
    let market = Market::short();
    market.token("sleep-60000@*@*.always");
    let (scheduler, reports, mut workers) = cluster(&market, 1, 1);
    scheduler.submit(&market);
    wait_until("a unit runs", || reports.running() == 1);
    let asked = std::time::Instant::now();
    workers[0].executor().stop(Stop::Drain);
    std::thread::sleep(Duration::from_millis(300));
    workers[0].executor().stop(Stop::Now);
    workers[0].end();
    assert!(asked.elapsed() < Duration::from_secs(12), "{:?}", asked.elapsed());
    assert_eq!(market.stored(), 0);
}

#[test]
fn an_executor_without_a_scheduler_ends_when_asked() {
    let _turn = turn();
    let market = Market::short();
    let mut worker = Worker::start(executor_config(&market, "work", 1, 1));
    std::thread::sleep(Duration::from_millis(300));
    worker.executor().stop(Stop::Drain);
    worker.end();
}

#[test]
fn reports_that_were_not_answered_are_repeated_and_prove_the_token_without_carrying_it() {
    let _turn = turn();
    let market = Market::short();
    let reports = Reports::default();
    reports.refuse(3);
    let scheduler = Scheduler::start(&reports);
    let config =
        ExecutorConfig { token: Token::new("s3cret"), ..executor_config(&market, "work", scheduler.port, 1) };
    let _worker = Worker::start(config);
    wait_until("six reports", || reports.count() >= 6);
    let sequences = reports.sequences();
    assert_eq!(sequences[..6], [1, 1, 1, 1, 2, 3]);
    let key = format!("{EXECUTOR_AGENT}{} ", executor_key("s3cret"));
    assert!(
        reports.agents().iter().all(|agent| agent.as_deref().is_some_and(|agent| agent.starts_with(&key)))
    );
    assert!(reports.agents().iter().flatten().all(|agent| !agent.contains("s3cret")));
}

#[test]
fn what_cannot_be_had_is_said_at_the_start() {
    let market = Market::short();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = |config: ExecutorConfig| runtime.block_on(Executor::start(config)).err().unwrap();
    let config = |name: &str| executor_config(&market, name, 1, 1);
    fs::create_dir(market.path("mine")).unwrap();
    fs::write(market.path("mine/file"), b"x").unwrap();
    assert!(matches!(start(config("mine")), ExecutorError::ForeignWorkDir { .. }));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (config, flag) in [
        (ExecutorConfig { port, ..config("a") }, "--port"),
        (ExecutorConfig { http_port: port, ..config("b") }, "--http-port"),
        (ExecutorConfig { bind: [0, 0, 0, 0].into(), ..config("c") }, "POLYBOLOS_TOKEN"),
    ] {
        let message = start(config).to_string();
        assert!(message.contains(flag), "{message}");
    }
    let address = "nowhere".parse::<SchedulerAddress>().unwrap_err().to_string();
    assert!(address.contains("HOST:PORT"), "{address}");
}
