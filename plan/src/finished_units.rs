//! The finished units of a series for its result file: summaries first, rows after them; what was lost or damaged is computed
//! again.
//!
//! Metrics of a row depend on the trials of all units, so units are gone through twice. Those of a small series are read once and
//! kept in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polybolos_engine::metrics::Trials;
use polybolos_engine::sweep::Unit;
use polybolos_storage::in_parallel;

use crate::error::PlanError;
use crate::observer::UnitProgress;
use crate::runtime::SweepRuntime;
use crate::store::{UnitResult, UnitSummary};
use crate::unit::SweepJob;

/// Rows kept in memory between the two passes, read from afar at a time, or not yet in a result file: some 50 MB.
const ROWS_IN_MEMORY: u64 = 1 << 18;

/// Summaries that are looked up between two looks at whether the sweep was cancelled.
const SUMMARIES_AT_ONCE: usize = 256;

/// Units of a run that are in the store and not yet in a result file, as many as fit: they need not be read back.
#[derive(Debug, Default)]
pub(crate) struct RecentUnits(Mutex<HashMap<Unit, UnitResult>>);

impl RecentUnits {
    /// Keeps a unit if there is room for it.
    pub(crate) fn keep(&self, unit: Unit, result: UnitResult) {
        let mut units = self.units();
        let kept: u64 = units.keys().map(rows_of).sum();
        if kept.saturating_add(rows_of(&unit)) <= ROWS_IN_MEMORY {
            units.insert(unit, result);
        }
    }

    fn take(&self, unit: &Unit) -> Option<UnitResult> {
        self.units().remove(unit)
    }

    fn units(&self) -> MutexGuard<'_, HashMap<Unit, UnitResult>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub(crate) struct FinishedUnits<'s> {
    job: &'s SweepJob,
    runtime: &'s SweepRuntime,
    recent: &'s RecentUnits,
    units: &'s [Unit],
    /// Units that are read at a time.
    at_once: usize,
    /// Of the first units.
    kept: Vec<UnitResult>,
    /// Combinations simulated.
    pub(crate) combos: u64,
    /// Sums over the trials of all units.
    pub(crate) trials: Trials,
}

impl<'s> FinishedUnits<'s> {
    /// The units of a series, `requests` of which may be read at a time unless they are recent. Blocks.
    ///
    /// # Errors
    /// A unit cannot be had; [`PlanError::Cancelled`].
    pub(crate) fn new(
        job: &'s SweepJob,
        runtime: &'s SweepRuntime,
        recent: &'s RecentUnits,
        units: &'s [Unit],
        requests: usize,
    ) -> Result<FinishedUnits<'s>, PlanError> {
        let unit_rows = units.iter().map(rows_of).max().unwrap_or(1).max(1);
        let fit = usize::try_from(ROWS_IN_MEMORY / unit_rows).unwrap_or(usize::MAX);
        let mut finished = FinishedUnits {
            job,
            runtime,
            recent,
            units,
            at_once: requests.min(fit).max(1),
            kept: Vec::new(),
            combos: 0,
            trials: Trials::default(),
        };
        let all_rows: u64 = units.iter().map(rows_of).sum();
        if all_rows <= ROWS_IN_MEMORY {
            let mut kept = Vec::with_capacity(units.len());
            finished.read(units, |result| {
                kept.push(result);
                Ok(())
            })?;
            kept.iter().for_each(|result| finished.count(&result.summary));
            finished.kept = kept;
        } else {
            for units in units.chunks(SUMMARIES_AT_ONCE) {
                finished.summaries(units)?.iter().for_each(|summary| finished.count(summary));
            }
        }
        Ok(finished)
    }

    fn count(&mut self, summary: &UnitSummary) {
        self.trials.merge(&summary.trials);
        self.combos += summary.combos;
    }

    fn result(&self, unit: &Unit) -> Result<UnitResult, PlanError> {
        if self.runtime.is_cancelled() {
            return Err(PlanError::Cancelled);
        }
        if let Some(found) = self.recent.take(unit) {
            return Ok(found);
        }
        if let Some(stored) = self.job.stored(unit)? {
            return Ok(stored);
        }
        let progress = UnitProgress::following(Arc::clone(&self.runtime.cancel));
        Ok(self.job.load_or_compute(self.runtime, unit, &progress)?.result)
    }

    fn summaries(&self, units: &[Unit]) -> Result<Vec<UnitSummary>, PlanError> {
        let digests: Option<Vec<_>> =
            units.iter().map(|unit| self.job.spec.unit_digest(&self.job.strategy, unit)).collect();
        let stored = match self.job.store().zip(digests) {
            Some((store, digests)) => store.summaries(&digests)?,
            None => vec![None; units.len()],
        };
        let summary = |(unit, stored): (&Unit, Option<UnitSummary>)| match stored {
            Some(summary) => Ok(summary),
            None => Ok(self.result(unit)?.summary),
        };
        units.iter().zip(stored).map(summary).collect()
    }

    fn read(
        &self,
        units: &[Unit],
        mut take: impl FnMut(UnitResult) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        for units in units.chunks(self.at_once) {
            in_parallel(units.len(), units, |unit| self.result(unit))?.into_iter().try_for_each(&mut take)?;
        }
        Ok(())
    }

    /// Hands over the units in their order. Blocks.
    ///
    /// # Errors
    /// That of `take`; a unit cannot be had; [`PlanError::Cancelled`].
    pub(crate) fn for_each(
        &mut self,
        mut take: impl FnMut(UnitResult) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        let kept = std::mem::take(&mut self.kept);
        let left = self.units.get(kept.len()..).unwrap_or_default();
        kept.into_iter().try_for_each(&mut take)?;
        self.read(left, take)
    }
}

/// Rows of the grid in a unit; at most so many are kept of it.
fn rows_of(unit: &Unit) -> u64 {
    unit.rows.end.saturating_sub(unit.rows.start)
}
