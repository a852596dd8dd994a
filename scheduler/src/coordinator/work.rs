//! What the driver asks for, done beside the coordinator: blocking reads on threads of their own, answers as messages.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::JobId as BallistaJob;
use polybolos_engine::sweep::Unit;
use polybolos_plan::conclude::{Conclusion, conclude};
use polybolos_plan::error::PlanError;
use polybolos_plan::unit::SweepJob;

use super::{Coordinator, Message, RunningJob};
use crate::driver::{AskId, Event, JobId, JobOutcome, SweepId};

/// Those of some units of a sweep whose results are in the store, or (`wanted` false) are not. Blocks on file reads.
fn in_store(
    job: &SweepJob,
    unit_rows: u64,
    units: impl Iterator<Item = u64>,
    wanted: bool,
) -> Result<Vec<u64>, PlanError> {
    let rows = job.strategy.space().len();
    let digest = |number| {
        let unit = job.spec.unit_at(rows, Some(unit_rows), number)?;
        job.spec.unit_digest(&job.strategy, &unit)
    };
    let mut found = Vec::new();
    let (mut numbers, mut digests) = (Vec::new(), Vec::new());
    for number in units {
        match digest(number) {
            Some(digest) => {
                numbers.push(number);
                digests.push(digest);
            }
            // There is no such unit, so it is not in the store either.
            None if !wanted => found.push(number),
            None => {}
        }
    }
    let is_there = match job.store() {
        Some(store) => store.contains_each(&digests)?,
        None => vec![false; digests.len()],
    };
    let asked = numbers.into_iter().zip(is_there).filter(|(_, is_there)| *is_there == wanted);
    found.extend(asked.map(|(number, _)| number));
    found.sort_unstable();
    Ok(found)
}

/// [`in_store`] where the answer cannot be done without: a storage that hiccups is asked again for a while.
fn present_in_store(job: &SweepJob, unit_rows: u64, units: &[u64]) -> Vec<u64> {
    for pause_ms in [0, 200, 1_000, 5_000] {
        std::thread::sleep(Duration::from_millis(pause_ms));
        match in_store(job, unit_rows, units.iter().copied(), true) {
            Ok(present) => return present,
            Err(error) => tracing::warn!(%error, "the store of units could not be looked into"),
        }
    }
    // Nothing is known to be there: the units are looked up again before they are handed out.
    Vec::new()
}

impl Coordinator {
    /// Does blocking work and tells what came of it; `failed` says so where the work panicked, for the driver waits for an answer.
    fn beside(
        &self,
        work: impl FnOnce() -> Event + Send + 'static,
        failed: impl FnOnce(String) -> Event + Send + 'static,
    ) {
        let outbox = self.outbox.clone();
        tokio::spawn(async move {
            let event = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
                tracing::error!(%error, "work beside the coordinator failed");
                failed(error.to_string())
            });
            drop(outbox.send(Message::Happened(event)).await);
        });
    }

    pub(super) fn examine(&self, ask: AskId, sweep: SweepId, range: Range<u64>) {
        let Some(active) = self.active.get(&sweep) else { return };
        let (job, unit_rows) = (Arc::clone(&active.job), active.unit_rows);
        let asked = sweep.clone();
        let failed = move |reason| Event::ExamineFailed { sweep: asked, ask, reason };
        let work = move || match in_store(&job, unit_rows, range, false) {
            Ok(missing) => Event::Examined { sweep, ask, missing },
            Err(error) => Event::ExamineFailed { sweep, ask, reason: error.to_string() },
        };
        self.beside(work, failed);
    }

    pub(super) fn submit_job(&mut self, id: JobId, sweep: SweepId, units: Vec<u64>) {
        let Some(active) = self.active.get(&sweep) else { return };
        self.fleet.totals.jobs += 1;
        let (job, unit_rows, rows) =
            (Arc::clone(&active.job), active.unit_rows, active.job.strategy.space().len());
        let name = format!("{sweep}/{id}");
        let running = RunningJob {
            ballista: None,
            sweep,
            units: units.clone(),
            unknown: 0,
            reported: BTreeSet::new(),
            stuck_since_ms: None,
            is_ending: false,
            is_cancelled: false,
        };
        self.jobs.insert(id, running);
        let (ballista, outbox) = (self.ballista.clone(), self.outbox.clone());
        tokio::spawn(async move {
            let units: Vec<Unit> =
                units.iter().filter_map(|&number| job.spec.unit_at(rows, Some(unit_rows), number)).collect();
            let message = match ballista.submit(&job, &units, &name).await {
                Ok(ballista) => Message::JobTaken { job: id, ballista },
                Err(reason) => Message::Happened(Event::JobRefused { job: id, reason }),
            };
            drop(outbox.send(message).await);
        });
    }

    pub(super) fn job_taken(&mut self, id: JobId, ballista: BallistaJob) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.ballista = Some(ballista.clone());
        tracing::debug!(job = %id, %ballista, sweep_id = %job.sweep, units = job.units.len(), "job submitted");
        if job.is_cancelled {
            self.cancel_at_ballista(ballista);
        }
    }

    pub(super) fn cancel_job(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.is_cancelled = true;
        if let Some(ballista) = job.ballista.clone() {
            self.cancel_at_ballista(ballista);
        }
    }

    pub(super) fn cancel_at_ballista(&self, job: BallistaJob) {
        let ballista = self.ballista.clone();
        tokio::spawn(async move { ballista.cancel(job).await });
    }

    /// A job is over: what it left in the store settles its units.
    pub(super) fn job_ended(&mut self, id: JobId, outcome: JobOutcome) {
        let Some(job) = self.jobs.get(&id) else { return };
        let units = job.units.clone();
        let Some(active) = self.active.get(&job.sweep) else {
            // Its sweep has ended before it.
            self.jobs.remove(&id);
            return;
        };
        let (sweep_job, unit_rows) = (Arc::clone(&active.job), active.unit_rows);
        let ended = outcome.clone();
        let failed = move |_| Event::JobEnded { job: id, outcome: ended, present: Vec::new() };
        let work = move || {
            let present = present_in_store(&sweep_job, unit_rows, &units);
            Event::JobEnded { job: id, outcome, present }
        };
        self.beside(work, failed);
    }

    /// Writes the result files, as a sweep on one machine does.
    pub(super) fn merge(&self, sweep: SweepId) {
        let Some(active) = self.active.get(&sweep) else { return };
        let (job, runtime, results) =
            (Arc::clone(&active.job), Arc::clone(&self.runtime), self.roots.results.clone());
        let (started_ms, now_ms) = (active.started_ms.unwrap_or(active.submitted_ms), self.now_ms);
        let (unit_rows, kernel_seconds, ran_on_gpu) =
            (active.unit_rows, active.kernel_seconds, active.ran_on_gpu);
        let merged = sweep.clone();
        let failed = move |reason| Event::MergeFailed { sweep: merged, reason, is_transient: false };
        let work = move || {
            let conclusion = Conclusion {
                unit_rows: Some(unit_rows),
                started_ms,
                kernel_seconds,
                backend: if ran_on_gpu { "cuda" } else { "cpu" },
            };
            match conclude(&job, &runtime, &results, &conclusion, now_ms) {
                Ok(_) => Event::Merged { sweep },
                Err(error) => Event::MergeFailed {
                    sweep,
                    is_transient: error.is_transient(),
                    reason: error.to_string(),
                },
            }
        };
        self.beside(work, failed);
    }
}
