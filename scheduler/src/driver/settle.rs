//! What the end of a job means for its units. The store decides which are finished; the rest is retried, suspected or failed.

use super::config::DriverConfig;
use super::event::{JobId, JobOutcome, UnitFailure, UnitOutcome};
use super::sweep::{Job, JobKind, Sweep, clip};

/// The end of a job.
pub(super) struct JobEnd<'a> {
    pub(super) id: JobId,
    pub(super) job: Job,
    pub(super) outcome: &'a JobOutcome,
    /// Ascending.
    pub(super) present: &'a [u64],
    /// Executors' slots at that time.
    pub(super) slots: u32,
    pub(super) now_ms: u64,
    pub(super) config: &'a DriverConfig,
}

impl JobEnd<'_> {
    /// A bad end says something about the job's only unit. Without executors no job can end well, so then it does not; and an executor
    /// may have died of any unit it held, so that only counts against one that ran apart from all other suspects.
    fn is_evidence(&self) -> bool {
        let is_alone = self.job.units.len() == 1;
        if self.job.condemned { self.job.kind == JobKind::Lone } else { is_alone && self.slots > 0 }
    }
}

impl Sweep {
    /// Takes every unit of the job out of flight and sees to the ones that are not in the store.
    pub(super) fn settle(&mut self, end: JobEnd<'_>) {
        if self.lone_job == Some(end.id) {
            self.lone_job = None;
        }
        let mut unnamed = Vec::new();
        let mut is_explained = false;
        for &unit in &end.job.units {
            let report = self.land(unit);
            if end.present.binary_search(&unit).is_ok() {
                self.tally.done += 1;
                self.tally.computed += u64::from(report != Some(UnitOutcome::Reused));
                self.troubles.remove(&unit);
                continue;
            }
            match report {
                Some(UnitOutcome::Permanent(reason)) => {
                    let attempts = self.count_attempt(unit);
                    self.fail(unit, attempts, &reason, end.config);
                }
                Some(UnitOutcome::Transient(reason)) => {
                    is_explained = true;
                    self.strike(unit, &reason, end.job.kind == JobKind::Lone, &end);
                }
                Some(UnitOutcome::Computed | UnitOutcome::Reused) => {
                    let reason = "an executor reported it finished, but its object is not in the store: \
                                  do scheduler and executors use the same results root?";
                    self.strike(unit, reason, end.job.kind == JobKind::Lone, &end);
                }
                Some(UnitOutcome::Cancelled) | None => unnamed.push(unit),
            }
        }
        if !end.present.is_empty() {
            self.pauses = 0;
        }
        self.settle_unnamed(unnamed, is_explained, &end);
    }

    /// Units that are missing without a reason of their own.
    fn settle_unnamed(&mut self, units: Vec<u64>, is_explained: bool, end: &JobEnd<'_>) {
        let soon_ms = end.now_ms.saturating_add(end.config.backoff_first_ms);
        let reason = match end.outcome {
            _ if end.job.condemned => "its executor vanished while it ran",
            JobOutcome::Succeeded => {
                for unit in units {
                    let reason = "its job ended well, but its object is not in the store";
                    self.strike(unit, reason, end.job.kind == JobKind::Lone, end);
                }
                return;
            }
            JobOutcome::Failed(reason) => clip(reason),
            JobOutcome::Lost => "its job was lost",
        };
        if units.is_empty() {
            return;
        }
        if end.job.kind == JobKind::Regular && end.job.condemned {
            self.last_trouble = Some(reason.to_owned());
            self.suspect_by_deaths(units, soon_ms, end.config);
        } else if is_explained && matches!(end.outcome, JobOutcome::Failed(_)) && !end.job.condemned {
            self.put_back(units);
        } else if let (&[unit], true) = (units.as_slice(), end.is_evidence()) {
            self.strike(unit, reason, true, end);
        } else {
            self.last_trouble = Some(reason.to_owned());
            let (first, second) = units.split_at(units.len().div_ceil(2));
            self.suspect(soon_ms, first.to_vec());
            self.suspect(soon_ms, second.to_vec());
        }
    }

    /// A regular job was stopped because of units that several executors died with: those are suspects, the others are not.
    fn suspect_by_deaths(&mut self, units: Vec<u64>, due_ms: u64, config: &DriverConfig) {
        let died =
            |unit: &u64| self.troubles.get(unit).is_some_and(|t| t.deaths >= config.deaths_until_suspect);
        let (suspects, others) = units.into_iter().partition(died);
        self.suspect(due_ms, suspects);
        self.put_back(others);
    }

    /// Makes units next again, nothing held against them.
    pub(super) fn put_back(&mut self, units: Vec<u64>) {
        for unit in units.into_iter().rev() {
            self.ready.push_front(unit);
        }
    }

    /// Attempts at the unit, with the one that just ended.
    fn count_attempt(&mut self, unit: u64) -> u32 {
        let trouble = self.troubles.entry(unit).or_default();
        trouble.attempts += 1;
        trouble.attempts
    }

    /// Counts an attempt against a unit; it is tried again later, or has failed.
    fn strike(&mut self, unit: u64, reason: &str, is_alone: bool, end: &JobEnd<'_>) {
        let attempts = self.count_attempt(unit);
        if attempts >= end.config.attempts_max {
            self.fail(unit, attempts, reason, end.config);
            return;
        }
        self.last_trouble = Some(reason.to_owned());
        let due_ms = end.now_ms.saturating_add(end.config.backoff_ms(attempts));
        if is_alone {
            self.lones.insert((due_ms, unit));
        } else {
            self.retries.insert((due_ms, unit));
        }
    }

    /// The unit will not be done.
    fn fail(&mut self, unit: u64, attempts: u32, reason: &str, config: &DriverConfig) {
        self.troubles.remove(&unit);
        self.tally.failed += 1;
        self.last_trouble = Some(reason.to_owned());
        let place = self.failures.partition_point(|failure| failure.unit < unit);
        self.failures.insert(place, UnitFailure { unit, attempts, reason: reason.to_owned() });
        self.failures.truncate(config.failures_kept as usize);
    }
}
