//! Units on a cluster: the embedded run's bytes, outcomes as reported, and what stops or fails them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ballista_core::JobId;
use polybolos_proto::cluster::unit_report::Outcome;

use crate::cluster::{Reports, Scheduler, cluster, turn, wait_until};
use crate::market::{Market, names};

#[test]
fn a_cluster_gives_the_bytes_of_an_embedded_run_and_reports_every_unit_once() {
    let _turn = turn();
    let market = Market::short();
    let (scheduler, reports, workers) = cluster(&market, 2, 2);
    let job = scheduler.submit(&market);
    scheduler.end(&job).unwrap();
    assert_eq!(market.stored(), market.units);
    wait_until("all outcomes are reported", || reports.finished().len() == market.units);
    let computed = reports.with_outcome(Outcome::Computed);
    assert_eq!(computed.len(), market.units);
    let units: BTreeSet<_> = computed
        .iter()
        .map(|report| report.unit.clone().unwrap())
        .map(|unit| (unit.sweep_id, unit.symbol, unit.row_from, unit.row_to))
        .collect();
    assert_eq!(units.len(), market.units);
    assert!(units.iter().all(|(sweep, ..)| *sweep == market.sweep_id()));
    assert_eq!(computed.iter().map(|report| report.bar_combos).sum::<u64>(), market.bar_combos);

    // Both executors worked, and each said so under its own name.
    let ids: BTreeSet<String> = workers.iter().map(|worker| worker.executor().id()).collect();
    assert_eq!(ids.len(), 2);
    // Asked again, nothing is computed.
    let again = scheduler.submit(&market);
    scheduler.end(&again).unwrap();
    wait_until("all outcomes are reported", || reports.finished().len() == 2 * market.units);
    assert_eq!(reports.with_outcome(Outcome::Reused).len(), market.units);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let merged = runtime.block_on(market.run_embedded("results"));
    assert_eq!(merged.units_computed, 0, "what the cluster computed is all there is");
    let embedded = runtime.block_on(market.run_embedded("embedded"));
    assert_eq!(embedded.units_computed as usize, market.units);
    assert!(market.rows("results", &merged) == market.rows("embedded", &embedded));
}

/// Submits a long market's job and gives it once it is well inside the kernels, on an executor that has read the bars before: in a build for
/// tests on a busy machine that takes longer than the kernels.
fn running_kernels(market: &Market, scheduler: &Scheduler, reports: &Reports) -> JobId {
    let single = scheduler.submit(&market.single(103));
    scheduler.end(&single).unwrap();
    let job = scheduler.submit(market);
    wait_until("the unit runs", || reports.finished().len() == 1 && reports.running() == 1);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(reports.running(), 1, "the unit is too short for this test");
    job
}

/// When something was asked for, by the clock and by the processor time of this process.
struct Asked {
    at: Instant,
    processor: Duration,
}

impl Asked {
    fn now() -> Asked {
        Asked { at: Instant::now(), processor: processor_time() }
    }

    /// Other processes may stretch the second, but not make more work of it.
    fn assert_within_a_second(&self) {
        let (wall, work) = (self.at.elapsed(), processor_time() - self.processor);
        let second = Duration::from_secs(1);
        assert!(
            wall < second || (work < second && wall < 10 * second),
            "{wall:?}, of which {work:?} at work"
        );
    }
}

/// User and system time of this process so far, as the system counts it: in hundredths of a second.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name of the program, in parentheses, may have spaces.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

#[test]
fn a_cancelled_job_stops_its_kernels_within_a_second() {
    let _turn = turn();
    let market = Market::long();
    let (scheduler, reports, workers) = cluster(&market, 1, 1);
    let job = running_kernels(&market, &scheduler, &reports);
    let asked = Asked::now();
    scheduler.cancel(&job);
    wait_until("the unit's end is reported", || reports.finished().len() == 2);
    asked.assert_within_a_second();
    assert_eq!(reports.with_outcome(Outcome::Cancelled)[0].bar_combos, 0, "not inside its block");
    assert_eq!(market.stored(), 1, "of the unit before");
    // The slot is free again.
    let next = scheduler.submit(&market.single(104));
    scheduler.end(&next).unwrap();
    assert_eq!(market.stored(), 2);
    drop(workers);
}

#[test]
fn a_sweep_that_the_scheduler_calls_cancelled_stops() {
    let _turn = turn();
    let market = Market::long();
    let (scheduler, reports, _workers) = cluster(&market, 1, 1);
    reports.cancel("another-sweep");
    let sweep = market.sweep_id();
    let job = running_kernels(&market, &scheduler, &reports);
    let asked = Asked::now();
    reports.cancel(&sweep);
    wait_until("the unit's end is reported", || !reports.with_outcome(Outcome::Cancelled).is_empty());
    asked.assert_within_a_second();
    let error = scheduler.end(&job).unwrap_err();
    assert!(error.contains("Cancelled"), "{error}");
}

#[test]
fn a_transient_error_is_tried_again_and_succeeds() {
    let _turn = turn();
    let market = Market::short();
    for token in 0..2 {
        market.token(&format!("io@SYN002USDT@16.{token}"));
    }
    let (scheduler, reports, _workers) = cluster(&market, 2, 2);
    let job = scheduler.submit(&market);
    scheduler.end(&job).unwrap();
    assert_eq!(market.stored(), market.units);
    wait_until("all outcomes are reported", || reports.finished().len() == market.units + 2);
    let transient = reports.with_outcome(Outcome::Transient);
    assert_eq!(transient.len(), 2);
    for report in &transient {
        assert!(report.reason.ends_with("injected storage error"), "{}", report.reason);
        let unit = report.unit.as_ref().unwrap();
        assert_eq!((unit.symbol.as_str(), unit.row_from, unit.row_to), ("SYN002USDT", 16, 32));
    }
}

#[test]
fn a_unit_that_can_never_be_done_and_one_that_panics_leave_the_others_alone() {
    let _turn = turn();
    let market = Market::short();
    market.token("poison@SYN001USDT@32.always");
    market.token("panic@SYN003USDT@0.1");
    let (scheduler, reports, _workers) = cluster(&market, 2, 2);
    let job = scheduler.submit(&market);
    scheduler.end(&job).unwrap();
    assert_eq!(market.stored(), market.units - 2);
    wait_until("all outcomes are reported", || reports.finished().len() == market.units);
    let mut reasons: Vec<String> =
        reports.with_outcome(Outcome::Permanent).into_iter().map(|report| report.reason).collect();
    reasons.sort();
    assert_eq!(reasons.len(), 2);
    assert!(reasons[0].starts_with("SYN001USDT, row 32: injected"), "{}", reasons[0]);
    assert!(reasons[1].starts_with("SYN003USDT, rows 0 to 16: the computation panicked"), "{}", reasons[1]);
}

#[test]
fn a_killed_executor_leaves_its_finished_units_and_another_does_the_rest() {
    let _turn = turn();
    let market = Market::short();
    // Every unit takes its time, so that the kill comes in the middle.
    market.token("sleep-100@*@*.always");
    let (scheduler, _reports, mut workers) = cluster(&market, 2, 2);
    let job = scheduler.submit(&market);
    wait_until("some units are finished", || market.stored() >= 4);
    let finished = names(&market.path("results/units"));
    workers.remove(0).kill();
    assert!(market.stored() < market.units, "the job is too short for this test");
    scheduler.end(&job).unwrap();
    assert_eq!(market.stored(), market.units);
    assert!(finished.iter().all(|name| names(&market.path("results/units")).contains(name)));
}
