//! What the driver asks for, done beside the coordinator: blocking reads on threads of their own, answers as messages.

use std::ops::Range;
use std::sync::Arc;

use ballista_core::JobId as BallistaJob;
use polybolos_engine::sweep::Unit;
use polybolos_plan::conclude::{Conclusion, conclude};
use polybolos_plan::unit::SweepJob;

use super::{Coordinator, Message, RunningJob};
use crate::driver::{AskId, Event, JobId, JobOutcome, SweepId};

/// Those of some units of a sweep whose results are in the store, or are not. Blocks on file reads.
fn in_store(job: &SweepJob, unit_rows: u64, units: impl Iterator<Item = u64>, wanted: bool) -> Vec<u64> {
    let rows = job.strategy.space().len();
    let Some(store) = job.store() else { return Vec::new() };
    units
        .filter(|&number| {
            let unit = job.spec.unit_at(rows, Some(unit_rows), number);
            let digest = unit.and_then(|unit| job.spec.unit_digest(&job.strategy, &unit));
            digest.is_some_and(|digest| store.summary(digest).is_some()) == wanted
        })
        .collect()
}

impl Coordinator {
    /// Does blocking work and tells what came of it.
    fn beside(&self, work: impl FnOnce() -> Message + Send + 'static) {
        let outbox = self.outbox.clone();
        tokio::spawn(async move {
            match tokio::task::spawn_blocking(work).await {
                Ok(message) => drop(outbox.send(message).await),
                Err(error) => tracing::error!(%error, "work beside the coordinator failed"),
            }
        });
    }

    pub(super) fn examine(&self, ask: AskId, sweep: SweepId, range: Range<u64>) {
        let Some(active) = self.active.get(&sweep) else { return };
        let (job, unit_rows) = (Arc::clone(&active.job), active.unit_rows);
        self.beside(move || {
            let missing = in_store(&job, unit_rows, range, false);
            Message::Happened(Event::Examined { sweep, ask, missing })
        });
    }

    pub(super) fn submit_job(&mut self, id: JobId, sweep: SweepId, units: Vec<u64>) {
        let Some(active) = self.active.get(&sweep) else { return };
        self.fleet.totals.jobs += 1;
        let (job, unit_rows, rows) = (Arc::clone(&active.job), active.unit_rows, active.job.strategy.space().len());
        let name = format!("{sweep}/{id}");
        let running = RunningJob {
            ballista: None,
            sweep,
            units: units.clone(),
            unknown: 0,
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
        tracing::debug!(job = %id, %ballista, sweep = %job.sweep, units = job.units.len(), "job submitted");
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

    fn cancel_at_ballista(&self, job: BallistaJob) {
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
        self.beside(move || {
            let present = in_store(&sweep_job, unit_rows, units.into_iter(), true);
            Message::Happened(Event::JobEnded { job: id, outcome, present })
        });
    }

    /// Writes the result files, as a sweep on one machine does.
    pub(super) fn merge(&self, sweep: SweepId) {
        let Some(active) = self.active.get(&sweep) else { return };
        let (job, runtime, results) =
            (Arc::clone(&active.job), Arc::clone(&self.runtime), self.roots.results.clone());
        let (started_ms, now_ms) = (active.started_ms.unwrap_or(active.submitted_ms), self.now_ms);
        let (unit_rows, kernel_seconds, ran_on_gpu) =
            (active.unit_rows, active.kernel_seconds, active.ran_on_gpu);
        self.beside(move || {
            let conclusion = Conclusion {
                unit_rows: Some(unit_rows),
                started_ms,
                kernel_seconds,
                backend: if ran_on_gpu { "cuda" } else { "cpu" },
            };
            match conclude(&job, &runtime, &results, &conclusion, now_ms) {
                Ok(_) => Message::Happened(Event::Merged { sweep }),
                Err(error) => Message::Happened(Event::MergeFailed {
                    sweep,
                    is_transient: error.is_transient(),
                    reason: error.to_string(),
                }),
            }
        });
    }
}
