//! The end of a sweep whose units somebody else computed: result files and manifest, as [`crate::run`] writes them.

use std::sync::Arc;

use polybolos_engine::sweep::Unit;
use polybolos_kernels::precision::Precision;
use polybolos_storage::Location;

use crate::catalogue::{Manifest, State};
use crate::error::PlanError;
use crate::finished_units::RecentUnits;
use crate::precision::trade_mismatch;
use crate::results::{stage_series, trials_record};
use crate::run::new_manifest;
use crate::runtime::SweepRuntime;
use crate::unit::SweepJob;

/// What the manifest says of a sweep beside its rows.
#[derive(Debug, Clone, Copy)]
pub struct Conclusion<'c> {
    /// How the sweep was cut, see [`polybolos_engine::sweep::SweepSpec::units`].
    pub unit_rows: Option<u64>,
    /// When it was begun, milliseconds since the epoch.
    pub started_ms: i64,
    /// Thread-seconds spent in kernels, as far as is known.
    pub kernel_seconds: f64,
    /// `cpu` or `cuda`.
    pub backend: &'c str,
}

/// Writes the manifest of a sweep whose result files are not there yet.
fn announce(
    job: &SweepJob,
    runtime: &SweepRuntime,
    results: &Location,
    conclusion: &Conclusion<'_>,
) -> Result<Manifest, PlanError> {
    let mut manifest = new_manifest(job, runtime, conclusion.started_ms)?;
    conclusion.backend.clone_into(&mut manifest.backend);
    manifest.units = job.spec.unit_count(job.strategy.space().len(), conclusion.unit_rows);
    manifest.write(results)?;
    Ok(manifest)
}

/// Writes the result files from the units in the store, then the manifest of the complete sweep. The rows are those of a sweep
/// on one machine, to the byte. Blocks; a unit that was lost or damaged meanwhile is computed again.
///
/// # Errors
/// A unit cannot be had, or a file cannot be written; what was written stays and is written again next time.
pub fn conclude(
    job: &Arc<SweepJob>,
    runtime: &SweepRuntime,
    results: &Location,
    conclusion: &Conclusion<'_>,
    now_ms: fn() -> i64,
) -> Result<Manifest, PlanError> {
    let mut manifest = announce(job, runtime, results, conclusion)?;
    if job.spec.request.precision != Precision::F64 {
        manifest.trade_mismatch = Some(trade_mismatch(job, runtime)?.into());
    }
    let recent = RecentUnits::default();
    let mut units = job.spec.units(job.strategy.space().len(), conclusion.unit_rows).peekable();
    for (index, series) in job.spec.series.iter().enumerate() {
        let own: Vec<Unit> = std::iter::from_fn(|| units.next_if(|unit| unit.series == index)).collect();
        let (file, totals) = stage_series(job, runtime, results, &manifest, series, (&own, &recent), None)?;
        file.commit()?;
        manifest.combos = totals.combos;
        manifest.rows += totals.rows;
        manifest.bar_combos += totals.combos * series.bars;
        if let Some(record) = manifest.series.get_mut(index) {
            record.rows = totals.rows;
            record.trials = Some(trials_record(totals.trials));
        }
    }
    if let Some(store) = job.store() {
        // What executors left half-written that were killed.
        store.remove_leftovers();
    }
    manifest.state = State::Complete;
    let finished_ms = now_ms();
    manifest.finished_ms = Some(finished_ms);
    manifest.seconds = (finished_ms - conclusion.started_ms) as f64 / 1e3;
    manifest.kernel_seconds = conclusion.kernel_seconds;
    manifest.write(results)?;
    Ok(manifest)
}
