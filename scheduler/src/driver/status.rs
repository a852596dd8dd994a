//! What people see of a sweep at work.

use super::Driver;
use super::event::{SweepId, SweepState, UnitFailure};
use super::sweep::{Phase, Sweep};

/// Snapshot of a sweep at work. Of one that has ended, [`Ending`](super::event::Ending) was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepStatus {
    /// The sweep.
    pub sweep: SweepId,
    /// Whose slots it uses.
    pub owner: String,
    /// Queued, running or writing.
    pub state: SweepState,
    /// Its units.
    pub units_total: u64,
    /// Finished or found finished. Counts reports ahead of the look into the store, so it may go back when a report was wrong.
    pub units_done: u64,
    /// Of these, found finished.
    pub units_reused: u64,
    /// Units that will not be done.
    pub units_failed: u64,
    /// Handed to the cluster and not reported finished; those beyond the executors' slots wait there.
    pub units_in_flight: u64,
    /// Units that wait for another attempt.
    pub units_waiting: u64,
    /// The first of the failed units, by number.
    pub failures: Vec<UnitFailure>,
    /// Why it waits, for people; empty while all is well.
    pub message: String,
}

impl Driver {
    /// The sweep's snapshot; absent when it is not at work.
    pub fn status(&self, sweep: &SweepId) -> Option<SweepStatus> {
        let sweep = self.sweeps.get(self.by_id.get(sweep)?)?;
        let (units_done, units_reused) = sweep.finished();
        Some(SweepStatus {
            sweep: sweep.id.clone(),
            owner: sweep.owner.to_string(),
            state: match sweep.phase {
                Phase::Queued => SweepState::Queued,
                Phase::Running => SweepState::Running,
                Phase::Writing => SweepState::Writing,
            },
            units_total: sweep.units,
            units_done,
            units_reused,
            units_failed: sweep.tally.failed + sweep.tally.reported_failed,
            units_in_flight: sweep.open,
            units_waiting: sweep.waiting() as u64,
            failures: sweep.failures.clone(),
            message: self.message(sweep),
        })
    }

    /// What keeps the sweep, the most telling first.
    fn message(&self, sweep: &Sweep) -> String {
        if sweep.phase == Phase::Queued {
            return format!(
                "waiting: {} has {} sweeps at work, as many as one owner may; it starts when one of them ends",
                sweep.owner, self.config.owner_sweeps_max
            );
        }
        if let Some(pause) = sweep.pause.as_ref().filter(|_| sweep.is_paused(self.now_ms)) {
            let wait_ms = pause.until_ms - self.now_ms;
            return format!("{}; next attempt in {} s", pause.reason, wait_ms.div_ceil(1_000));
        }
        let wants_slots = !sweep.ready.is_empty() || sweep.waiting() > 0 || !sweep.flights.is_empty();
        if self.slots == 0 && wants_slots {
            return "waiting for executors: none is connected".to_owned();
        }
        let trouble = sweep.last_trouble.as_deref().unwrap_or_default();
        if sweep.lone_job.is_some() || sweep.grouped + sweep.lones.len() > 0 {
            let suspects = sweep.grouped + sweep.lones.len() + usize::from(sweep.lone_job.is_some());
            return format!(
                "looking for the unit that ends its jobs ({suspects} left to try apart): {trouble}"
            );
        }
        if !sweep.retries.is_empty() {
            return format!(
                "{} units wait for another attempt; the last failed: {trouble}",
                sweep.retries.len()
            );
        }
        if sweep.flights.is_empty() && !sweep.ready.is_empty() {
            let running = self.sweeps.values().filter(|other| other.phase != Phase::Queued).count();
            return format!("waiting for its turn: {running} sweeps share {} slots", self.slots);
        }
        if sweep.tally.failed > 0 {
            let failed = sweep.tally.failed;
            return format!(
                "{failed} of {} units failed, the others are finished first: {trouble}",
                sweep.units
            );
        }
        if sweep.is_resumed && sweep.cursor < sweep.units && sweep.flights.is_empty() {
            return "the scheduler was started again: looking up what is finished".to_owned();
        }
        String::new()
    }
}
