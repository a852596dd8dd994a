//! Tells the scheduler about units twice a second: what has ended and how, what runs and how far it is.
//!
//! Reports are hints; the store of units is the truth. One that was not answered is sent again under the same number, so that
//! the scheduler can tell it from a new one. While there is no scheduler outcomes are kept, up to a limit. The answer names
//! sweeps that were cancelled, and their units are stopped.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use polybolos_plan::observer::{UnitFigures, UnitName, UnitObserver, UnitOutcome, UnitProgress};
use polybolos_plan::runtime::Progress;
use polybolos_proto::cluster as wire;
use polybolos_proto::cluster::executors_client::ExecutorsClient;
use polybolos_proto::cluster::unit_report::Outcome;
use tokio::sync::Notify;
use tonic::Status;
use tonic::transport::Channel;

/// Outcomes kept while no scheduler answers; the oldest are dropped beyond.
const MAX_KEPT: usize = 100_000;

/// Outcomes in one report: some hundreds of kilobytes.
const MAX_PER_REPORT: usize = 2_000;

/// Pause between two attempts to say the last things.
const FLUSH_PAUSE: Duration = Duration::from_millis(50);

/// Bytes of a reason that are sent; reasons may quote a user's document.
const MAX_REASON_BYTES: usize = 2_000;

/// How units have ended since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) computed: AtomicU64,
    pub(crate) reused: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) transient: AtomicU64,
    pub(crate) permanent: AtomicU64,
    /// Microseconds that units took, waiting for a slot not counted.
    pub(crate) microseconds: AtomicU64,
}

#[derive(Debug, Default)]
struct Units {
    running: Vec<(UnitName, Arc<UnitProgress>)>,
    finished: VecDeque<wire::UnitReport>,
}

/// A report that has not been answered.
#[derive(Debug, Default)]
struct Unanswered {
    sequence: u64,
    finished: Option<Vec<wire::UnitReport>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Reporter {
    slots: usize,
    units: Mutex<Units>,
    unanswered: tokio::sync::Mutex<Unanswered>,
    executor_id: Mutex<String>,
    /// Whether the executor is about to end.
    pub(crate) is_draining: AtomicBool,
    pub(crate) ended: Ended,
    /// Outcomes that were dropped unreported.
    pub(crate) dropped: AtomicU64,
    /// Reports that were not answered.
    pub(crate) failed: AtomicU64,
    answered: Mutex<Option<Instant>>,
    /// A unit failed: its reason is wanted before its job is settled without it.
    failure: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reporter {
    pub(crate) fn new(slots: usize) -> Arc<Reporter> {
        Arc::new(Reporter {
            slots,
            units: Mutex::default(),
            unanswered: tokio::sync::Mutex::default(),
            executor_id: Mutex::default(),
            is_draining: AtomicBool::new(false),
            ended: Ended::default(),
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            answered: Mutex::default(),
            failure: Notify::new(),
        })
    }

    /// The name under which the executor is registered; a new one for each registration.
    pub(crate) fn executor_id(&self) -> String {
        lock(&self.executor_id).clone()
    }

    pub(crate) fn set_executor_id(&self, id: &str) {
        id.clone_into(&mut lock(&self.executor_id));
    }

    /// Units that run now.
    pub(crate) fn running(&self) -> usize {
        lock(&self.units).running.len()
    }

    /// Since when no report was answered; `None` if none ever was.
    pub(crate) fn since_answer(&self) -> Option<Duration> {
        lock(&self.answered).map(|at| at.elapsed())
    }

    /// Reports for as long as the process lives.
    pub(crate) async fn run(self: Arc<Self>, channel: Channel, interval: Duration, counters: Arc<Progress>) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut was_answered = true;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.failure.notified() => {}
            }
            match self.report(&channel, &counters).await {
                Ok(()) => {
                    if !was_answered {
                        tracing::info!("the scheduler answers reports again");
                    }
                    was_answered = true;
                }
                Err(status) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    if was_answered {
                        tracing::warn!(code = ?status.code(), reason = status.message(), "the scheduler does not answer \
                            reports; outcomes are kept and sent later");
                    }
                    was_answered = false;
                }
            }
        }
    }

    /// Sends what is to be said until nothing is left unsaid; at most `patience` long.
    pub(crate) async fn flush(&self, channel: &Channel, counters: &Progress, patience: Duration) {
        let all = async {
            while self.report(channel, counters).await.is_err() || self.has_unsaid().await {
                if !self.has_unsaid().await {
                    return;
                }
                tokio::time::sleep(FLUSH_PAUSE).await;
            }
        };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("the last outcomes of units could not be reported; they are in the store");
        }
    }

    /// Whether there are outcomes that no scheduler has heard of.
    async fn has_unsaid(&self) -> bool {
        let unanswered = self.unanswered.lock().await;
        unanswered.finished.as_ref().is_some_and(|finished| !finished.is_empty())
            || !lock(&self.units).finished.is_empty()
    }

    /// Sends one report and obeys the answer.
    async fn report(&self, channel: &Channel, counters: &Progress) -> Result<(), Status> {
        // One at a time: an unanswered report is repeated, never overtaken.
        let mut unanswered = self.unanswered.lock().await;
        let request = self.next_report(&mut unanswered, counters);
        let reply = ExecutorsClient::new(channel.clone()).report(request).await?.into_inner();
        unanswered.finished = None;
        *lock(&self.answered) = Some(Instant::now());
        self.cancel(&reply.cancelled);
        Ok(())
    }

    fn next_report(&self, unanswered: &mut Unanswered, counters: &Progress) -> wire::ReportRequest {
        let mut units = lock(&self.units);
        let finished = unanswered.finished.get_or_insert_with(|| {
            unanswered.sequence += 1;
            let count = units.finished.len().min(MAX_PER_REPORT);
            units.finished.drain(..count).collect()
        });
        let running = units.running.iter().map(|(name, progress)| wire::RunningUnit {
            unit: Some(unit_name(name)),
            bar_combos_done: progress.bar_combos(),
        });
        wire::ReportRequest {
            executor_id: self.executor_id(),
            slots: u32::try_from(self.slots).unwrap_or(u32::MAX),
            finished: finished.clone(),
            running: running.collect(),
            counters: Some(counted(counters)),
            is_draining: self.is_draining.load(Ordering::Relaxed),
            sequence: unanswered.sequence,
        }
    }

    fn cancel(&self, sweeps: &[String]) {
        if sweeps.is_empty() {
            return;
        }
        for (name, progress) in &lock(&self.units).running {
            if sweeps.iter().any(|sweep| *sweep == *name.sweep_id) {
                progress.cancel();
            }
        }
    }

    fn count(&self, outcome: &UnitOutcome, figures: &UnitFigures) {
        let counter = match outcome {
            UnitOutcome::Computed => &self.ended.computed,
            UnitOutcome::Reused => &self.ended.reused,
            UnitOutcome::Cancelled => &self.ended.cancelled,
            UnitOutcome::Transient(_) => &self.ended.transient,
            UnitOutcome::Permanent(_) => &self.ended.permanent,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.ended.microseconds.fetch_add((figures.seconds * 1e6) as u64, Ordering::Relaxed);
    }
}

impl UnitObserver for Reporter {
    fn started(&self, name: &UnitName, progress: &Arc<UnitProgress>) {
        lock(&self.units).running.push((name.clone(), Arc::clone(progress)));
    }

    fn finished(
        &self,
        name: &UnitName,
        progress: &Arc<UnitProgress>,
        outcome: &UnitOutcome,
        figures: &UnitFigures,
    ) {
        self.count(outcome, figures);
        trace(&self.executor_id(), name, outcome, figures);
        let has_failed = matches!(outcome, UnitOutcome::Transient(_) | UnitOutcome::Permanent(_));
        let (outcome, reason) = outcome_to_wire(outcome);
        let report = wire::UnitReport {
            unit: Some(unit_name(name)),
            outcome: outcome.into(),
            reason,
            bar_combos: figures.bar_combos,
            seconds: figures.seconds,
            kernel_seconds: figures.kernel_seconds,
            on_gpu: figures.is_on_gpu,
        };
        let mut units = lock(&self.units);
        units.running.retain(|(_, running)| !Arc::ptr_eq(running, progress));
        units.finished.push_back(report);
        while units.finished.len() > MAX_KEPT {
            units.finished.pop_front();
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        drop(units);
        if has_failed {
            self.failure.notify_one();
        }
    }
}

/// One line per unit.
fn trace(executor: &str, name: &UnitName, outcome: &UnitOutcome, figures: &UnitFigures) {
    let UnitName { sweep_id, symbol, rows } = name;
    let UnitFigures { bar_combos, seconds, kernel_seconds, is_on_gpu } = *figures;
    let (row_from, row_to) = (rows.start, rows.end);
    let (outcome, reason) = match outcome {
        UnitOutcome::Computed => ("computed", None),
        UnitOutcome::Reused => ("reused", None),
        UnitOutcome::Cancelled => ("cancelled", None),
        UnitOutcome::Transient(reason) => ("transient", Some(reason)),
        UnitOutcome::Permanent(reason) => ("permanent", Some(reason)),
    };
    match reason {
        None => tracing::info!(
            %sweep_id, symbol, row_from, row_to, executor, outcome, bar_combos, seconds, kernel_seconds, is_on_gpu, "unit"
        ),
        Some(reason) => {
            tracing::warn!(%sweep_id, symbol, row_from, row_to, executor, outcome, reason, "unit failed");
        }
    }
}

fn unit_name(name: &UnitName) -> wire::UnitName {
    wire::UnitName {
        sweep_id: name.sweep_id.to_string(),
        symbol: name.symbol.clone(),
        row_from: name.rows.start,
        row_to: name.rows.end,
    }
}

fn outcome_to_wire(outcome: &UnitOutcome) -> (Outcome, String) {
    match outcome {
        UnitOutcome::Computed => (Outcome::Computed, String::new()),
        UnitOutcome::Reused => (Outcome::Reused, String::new()),
        UnitOutcome::Cancelled => (Outcome::Cancelled, String::new()),
        UnitOutcome::Transient(reason) => (Outcome::Transient, shortened(reason)),
        UnitOutcome::Permanent(reason) => (Outcome::Permanent, shortened(reason)),
    }
}

fn shortened(reason: &str) -> String {
    reason[..reason.floor_char_boundary(MAX_REASON_BYTES)].to_owned()
}

fn counted(progress: &Progress) -> wire::ExecutorCounters {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    wire::ExecutorCounters {
        units: read(&progress.units),
        units_reused: read(&progress.units_reused),
        combos: read(&progress.combos),
        bar_combos: read(&progress.bar_combos),
        kernel_ns: read(&progress.kernel_ns),
        gpu_combos: read(&progress.gpu_combos),
        gpu_fallbacks: read(&progress.gpu_fallbacks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(sweep: &str, row: u64) -> UnitName {
        UnitName { sweep_id: sweep.into(), symbol: "BTCUSDT".to_owned(), rows: row..row + 1 }
    }

    fn run_one(reporter: &Reporter, name: &UnitName, outcome: &UnitOutcome) {
        let progress = Arc::new(UnitProgress::default());
        reporter.started(name, &progress);
        reporter.finished(name, &progress, outcome, &progress.figures(Duration::from_secs(2)));
    }

    fn rows(request: &wire::ReportRequest) -> Vec<u64> {
        request.finished.iter().filter_map(|report| Some(report.unit.as_ref()?.row_from)).collect()
    }

    #[test]
    fn an_unanswered_report_is_repeated_under_its_number_before_a_new_one() {
        let reporter = Reporter::new(2);
        let counters = Progress::default();
        let mut unanswered = Unanswered::default();
        run_one(&reporter, &name("a", 0), &UnitOutcome::Computed);
        let first = reporter.next_report(&mut unanswered, &counters);
        run_one(&reporter, &name("a", 1), &UnitOutcome::Transient("disk".to_owned()));
        let repeated = reporter.next_report(&mut unanswered, &counters);
        assert_eq!((first.sequence, rows(&first)), (1, vec![0]));
        assert_eq!((repeated.sequence, rows(&repeated)), (1, vec![0]));
        unanswered.finished = None;
        let next = reporter.next_report(&mut unanswered, &counters);
        assert_eq!((next.sequence, rows(&next)), (2, vec![1]));
        assert_eq!(next.finished[0].reason, "disk");
        unanswered.finished = None;
        let empty = reporter.next_report(&mut unanswered, &counters);
        assert_eq!((empty.sequence, rows(&empty)), (3, vec![]));
    }

    #[test]
    fn running_units_are_reported_and_those_of_a_cancelled_sweep_stopped() {
        let reporter = Reporter::new(2);
        let progress: Vec<_> = (0..3).map(|_| Arc::new(UnitProgress::default())).collect();
        // The same unit twice, as after a retry, and one of another sweep.
        for (sweep, progress) in ["a", "a", "b"].into_iter().zip(&progress) {
            reporter.started(&name(sweep, 5), progress);
        }
        progress[0].note(70, 1, false);
        let report = reporter.next_report(&mut Unanswered::default(), &Progress::default());
        let done: Vec<u64> = report.running.iter().map(|unit| unit.bar_combos_done).collect();
        assert_eq!(done, [70, 0, 0]);
        let figures = progress[0].figures(Duration::ZERO);
        reporter.finished(&name("a", 5), &progress[0], &UnitOutcome::Computed, &figures);
        assert_eq!(reporter.running(), 2);
        reporter.cancel(&["a".to_owned(), "c".to_owned()]);
        let cancelled: Vec<bool> = progress.iter().map(|progress| progress.is_cancelled()).collect();
        assert_eq!(cancelled, [false, true, false]);
    }

    #[test]
    fn what_is_kept_without_a_scheduler_is_bounded() {
        let reporter = Reporter::new(1);
        for row in 0..MAX_KEPT as u64 + 10 {
            run_one(&reporter, &name("a", row), &UnitOutcome::Reused);
        }
        assert_eq!(reporter.dropped.load(Ordering::Relaxed), 10);
        let mut unanswered = Unanswered::default();
        let report = reporter.next_report(&mut unanswered, &Progress::default());
        assert_eq!(rows(&report).len(), MAX_PER_REPORT);
        assert_eq!(rows(&report)[0], 10, "the oldest went first");
        assert_eq!(reporter.ended.reused.load(Ordering::Relaxed), MAX_KEPT as u64 + 10);
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        let text = "é".repeat(MAX_REASON_BYTES);
        let cut = shortened(&text);
        assert!(cut.len() <= MAX_REASON_BYTES && cut.len() > MAX_REASON_BYTES - 4);
        assert_eq!(shortened("short"), "short");
    }
}
