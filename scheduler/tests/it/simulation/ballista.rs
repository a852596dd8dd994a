//! Executors and jobs as Ballista runs them: a task that fails with an I/O error is tried four times, then its job fails; the tasks of a
//! lost executor are run again elsewhere and never counted; without executors jobs fail after three minutes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use polybolos_scheduler::driver::{Event, JobId, JobOutcome, UnitOutcome};

use super::Behaviour;
use super::world::{Note, World, sweep_id};

const TASK_TRIES: u32 = 4;
const NO_EXECUTORS_GRACE_MS: u64 = 180_000;

/// A running task.
pub(super) struct Task {
    /// Absent when its scheduler is gone.
    pub(super) job: Option<JobId>,
    sweep: usize,
    unit: u64,
    started_ms: u64,
    was_stored: bool,
}

pub(super) struct Executor {
    pub(super) slots: u32,
    pub(super) tasks: BTreeMap<u64, Task>,
}

pub(super) struct Job {
    pub(super) sweep: usize,
    units: Vec<u64>,
    rank: u64,
    waiting: VecDeque<u64>,
    receipts: BTreeSet<u64>,
    tries: BTreeMap<u64, u32>,
}

impl Job {
    pub(super) fn new(sweep: usize, units: Vec<u64>, rank: u64) -> Job {
        let waiting = units.iter().copied().collect();
        Job { sweep, units, rank, waiting, receipts: BTreeSet::new(), tries: BTreeMap::new() }
    }

    /// The unit waits or runs in this job.
    pub(super) fn is_open(&self, unit: u64) -> bool {
        self.units.binary_search(&unit).is_ok() && !self.receipts.contains(&unit)
    }
}

impl World {
    pub(super) fn executor_starts(&mut self, slots: u32) {
        self.counter += 1;
        self.executors.insert(self.counter, Executor { slots, tasks: BTreeMap::new() });
        self.tell_slots();
        self.dispatch();
    }

    /// Gives waiting tasks to free slots.
    pub(super) fn dispatch(&mut self) {
        loop {
            let free = |executor: &Executor| {
                executor.slots as usize - executor.tasks.len().min(executor.slots as usize)
            };
            let Some((&id, _)) =
                self.executors.iter().filter(|(_, e)| free(e) > 0).max_by_key(|(_, e)| free(e))
            else {
                return;
            };
            let next = self
                .jobs
                .iter_mut()
                .filter(|(_, job)| !job.waiting.is_empty())
                .min_by_key(|(_, job)| job.rank);
            let Some((&job, next)) = next else {
                return;
            };
            let (sweep, Some(unit)) = (next.sweep, next.waiting.pop_front()) else {
                return;
            };
            let was_stored = self.store.contains(&(sweep, unit));
            let (low, high) = self.scenario.unit_ms;
            let takes_ms = if was_stored { 2 } else { self.chance.between(low, high) };
            self.counter += 1;
            let task = self.counter;
            let started_ms = self.now_ms;
            let running = Task { job: Some(job), sweep, unit, started_ms, was_stored };
            self.executors.get_mut(&id).unwrap().tasks.insert(task, running);
            self.post(takes_ms, Note::TaskEnds { executor: id, task });
        }
    }

    pub(super) fn task_ends(&mut self, executor: u64, task: u64) {
        let Some(Task { job, sweep, unit, started_ms, was_stored }) =
            self.executors.get_mut(&executor).and_then(|executor| executor.tasks.remove(&task))
        else {
            return;
        };
        *self.served_ms.entry(sweep).or_default() += self.now_ms - started_ms;
        let behaviour = self.scenario.behaviours.get(&(sweep, unit)).copied();
        match behaviour {
            _ if was_stored => self.finished(job, sweep, unit, UnitOutcome::Reused),
            Some(Behaviour::Permanent) => {
                self.finished(job, sweep, unit, UnitOutcome::Permanent("no such column".to_owned()));
            }
            Some(Behaviour::Vanishes) => self.finished(job, sweep, unit, UnitOutcome::Computed),
            Some(Behaviour::Unlucky) => self.transient(job, sweep, unit),
            Some(Behaviour::Flaky(times)) if self.flaked.get(&(sweep, unit)).is_none_or(|&n| n < times) => {
                *self.flaked.entry((sweep, unit)).or_default() += 1;
                self.transient(job, sweep, unit);
            }
            Some(Behaviour::KillsJob) => {
                if let Some(job) = job {
                    self.job_ends(job, JobOutcome::Failed("a task panicked".to_owned()));
                }
            }
            Some(Behaviour::KillsExecutor) => {
                // It dies with the unit running.
                let running = Task { job, sweep, unit, started_ms, was_stored };
                self.executors.get_mut(&executor).unwrap().tasks.insert(task, running);
                let back_ms = self.chance.between(500, 3_000);
                self.kill(executor, back_ms);
            }
            Some(Behaviour::Flaky(_)) | None => {
                self.store.insert((sweep, unit));
                *self.computed.entry((sweep, unit)).or_default() += 1;
                self.finished(job, sweep, unit, UnitOutcome::Computed);
            }
        }
        self.dispatch();
    }

    /// The task gave a receipt.
    fn finished(&mut self, job: Option<JobId>, sweep: usize, unit: u64, outcome: UnitOutcome) {
        self.report(sweep, unit, outcome);
        let Some((id, job)) = job.and_then(|id| Some((id, self.jobs.get_mut(&id)?))) else {
            return;
        };
        job.receipts.insert(unit);
        if job.receipts.len() == job.units.len() {
            self.job_ends(id, JobOutcome::Succeeded);
        }
    }

    fn transient(&mut self, job: Option<JobId>, sweep: usize, unit: u64) {
        self.report(sweep, unit, UnitOutcome::Transient("connection reset".to_owned()));
        let Some((id, job)) = job.and_then(|id| Some((id, self.jobs.get_mut(&id)?))) else {
            return;
        };
        let tries = job.tries.entry(unit).or_default();
        *tries += 1;
        if *tries < TASK_TRIES {
            job.waiting.push_back(unit);
        } else {
            self.job_ends(id, JobOutcome::Failed("a task failed 4 times: connection reset".to_owned()));
        }
    }

    fn report(&mut self, sweep: usize, unit: u64, outcome: UnitOutcome) {
        let event = Event::UnitReported { sweep: sweep_id(sweep), unit, outcome };
        for _ in 0..1 + u64::from(self.chance.percent(self.scenario.reports_doubled)) {
            if !self.chance.percent(self.scenario.reports_lost) {
                let in_ms = self.chance.between(1, self.scenario.report_delay_ms);
                self.post(in_ms, Note::Report(event.clone()));
            }
        }
    }

    /// The job is over: its tasks stop, and the shell looks which of its units are in the store.
    fn job_ends(&mut self, id: JobId, outcome: JobOutcome) {
        let Some(job) = self.jobs.remove(&id) else {
            return;
        };
        for executor in self.executors.values_mut() {
            executor.tasks.retain(|_, task| task.job != Some(id));
        }
        let present =
            job.units.iter().copied().filter(|&unit| self.store.contains(&(job.sweep, unit))).collect();
        let in_ms = self.chance.between(1, 100);
        self.answer(in_ms, Event::JobEnded { job: id, outcome, present });
    }

    pub(super) fn cancel_job(&mut self, id: JobId) {
        let stopped: Vec<(usize, u64)> = self
            .executors
            .values()
            .flat_map(|executor| executor.tasks.values())
            .filter(|task| task.job == Some(id))
            .map(|task| (task.sweep, task.unit))
            .collect();
        for (sweep, unit) in stopped {
            self.report(sweep, unit, UnitOutcome::Cancelled);
        }
        self.job_ends(id, JobOutcome::Failed("cancelled".to_owned()));
    }

    /// An executor's process ends; its supervisor starts another one.
    fn kill(&mut self, id: u64, back_ms: u64) {
        let Some(executor) = self.executors.remove(&id) else {
            return;
        };
        let mut held = Vec::new();
        for task in executor.tasks.into_values() {
            if let Some(job) = task.job.and_then(|job| self.jobs.get_mut(&job)) {
                job.waiting.push_front(task.unit);
                held.push((sweep_id(task.sweep), task.unit));
            }
        }
        if !self.is_down {
            self.post(10, Note::Inside(Event::ExecutorLost { held }));
        }
        self.tell_slots();
        self.watch_for_executors();
        self.post(back_ms, Note::ExecutorStarts { slots: executor.slots });
    }

    pub(super) fn random_death(&mut self) {
        let ids: Vec<u64> = self.executors.keys().copied().collect();
        if !ids.is_empty() {
            let id = ids[self.chance.between(0, ids.len() as u64 - 1) as usize];
            let back_ms = self.chance.between(500, 20_000);
            self.kill(id, back_ms);
            self.dispatch();
        }
    }

    pub(super) fn outage(&mut self, back_ms: u64) {
        let ids: Vec<u64> = self.executors.keys().copied().collect();
        ids.into_iter().for_each(|id| self.kill(id, back_ms));
    }

    pub(super) fn random_job_failure(&mut self) {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        if !ids.is_empty() {
            let id = ids[self.chance.between(0, ids.len() as u64 - 1) as usize];
            let outcome =
                if self.chance.percent(50) { JobOutcome::Lost } else { JobOutcome::Failed("?".to_owned()) };
            self.job_ends(id, outcome);
        }
    }

    pub(super) fn watch_for_executors(&mut self) {
        if self.executors.is_empty() {
            self.post(NO_EXECUTORS_GRACE_MS, Note::NoExecutorsFor { since_ms: self.now_ms });
        }
    }

    pub(super) fn no_executors_for(&mut self, since_ms: u64) {
        if self.executors.is_empty() && self.now_ms - since_ms >= NO_EXECUTORS_GRACE_MS {
            let ids: Vec<JobId> = self.jobs.keys().copied().collect();
            ids.into_iter().for_each(|id| self.job_ends(id, JobOutcome::Failed("no executors".to_owned())));
        }
    }
}
