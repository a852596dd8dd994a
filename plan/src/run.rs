//! Running a sweep in this process: plan what is not there yet, compute it, write the result files, close the manifest.
//!
//! The order makes a kill at any point harmless: units first (each whole or absent), then result files (each whole or
//! absent), then the manifest's state. Running the same sweep again does only what is missing.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt};
use polybolos_engine::sweep::Unit;
use std::sync::atomic::Ordering;

use crate::catalogue::{self, Manifest, SeriesRecord, State};
use crate::error::PlanError;
use crate::results;
use crate::runtime::SweepRuntime;
use crate::sweep_exec::Output;
use crate::sweep_table::{SweepTable, plan_units};
use crate::unit::SweepJob;

/// Units planned at a time: bounds the plan's size whatever the grid.
const UNITS_PER_PLAN: usize = 2_000;

/// What a run did and where its rows are.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepReport {
    /// The sweep as it stands in the catalogue.
    pub manifest: Manifest,
    /// Whether everything was there before and nothing was computed.
    pub was_complete: bool,
    /// Units computed by this run; the others were found finished.
    pub units_computed: u64,
    /// Wall seconds of this run.
    pub seconds: f64,
    /// Thread-seconds this run spent in kernels.
    pub kernel_seconds: f64,
}

/// Told about a run as it goes, from the thread that drives it.
pub trait Observer: Send + Sync {
    /// The sweep is planned: this many units of work, `rows` grid rows and `bars` bars over all symbols.
    fn planned(&self, manifest: &Manifest, units: u64);
    /// All units are done; the result files are being written.
    fn writing(&self);
}

/// Runs a sweep to its end, or up to a cancel.
///
/// `table` must have a results folder and be resolved or resolvable on this machine; `now_ms` gives the wall clock for the
/// catalogue.
///
/// # Errors
/// Anything wrong with the request, the bars, the store; [`PlanError::Cancelled`] when the runtime's flag was set.
pub async fn run_sweep(
    session: &SessionContext,
    runtime: &Arc<SweepRuntime>,
    table: &SweepTable,
    observer: &dyn Observer,
    now_ms: impl Fn() -> i64 + Send,
) -> Result<SweepReport, PlanError> {
    let started = Instant::now();
    let results = table.results_root.clone().ok_or_else(|| {
        PlanError::NotFound("a sweep needs a results folder to keep its rows in".to_owned())
    })?;
    let job = {
        let (table, runtime) = (table.clone(), Arc::clone(runtime));
        Arc::new(blocking(move || table.job(&runtime)).await?)
    };
    let sweep_id = job.spec.id(&job.strategy);
    let known = Manifest::read(&results, &sweep_id)?;
    if let Some(manifest) = known.as_ref().filter(|manifest| manifest.is_complete(&results)) {
        return Ok(SweepReport {
            manifest: manifest.clone(),
            was_complete: true,
            units_computed: 0,
            seconds: started.elapsed().as_secs_f64(),
            kernel_seconds: 0.0,
        });
    }
    let mut manifest = new_manifest(&job, runtime, known.as_ref(), now_ms())?;
    manifest.units = job.spec.units(job.strategy.space().len(), table.unit_rows).count() as u64;
    if let Some(store) = job.store() {
        store.remove_leftovers();
    }
    manifest.write(&results)?;
    observer.planned(&manifest, manifest.units);
    let kernel_ns = runtime.progress.kernel_ns.load(Ordering::Relaxed);
    let gpu_combos = runtime.progress.gpu_combos.load(Ordering::Relaxed);
    let units_computed = compute_units(session, runtime, &job, table.unit_rows).await?;
    observer.writing();
    let unit_rows = table.unit_rows;
    let mut manifest = {
        let (job, runtime, results) = (Arc::clone(&job), Arc::clone(runtime), results.clone());
        blocking(move || {
            write_results(&job, &runtime, &results, &mut manifest, unit_rows)?;
            Ok(manifest)
        })
        .await?
    };
    let kernel_ns = runtime.progress.kernel_ns.load(Ordering::Relaxed) - kernel_ns;
    if runtime.progress.gpu_combos.load(Ordering::Relaxed) > gpu_combos {
        "cuda".clone_into(&mut manifest.backend);
    }
    manifest.state = State::Complete;
    manifest.finished_ms = Some(now_ms());
    manifest.seconds = started.elapsed().as_secs_f64();
    manifest.kernel_seconds = kernel_ns as f64 / 1e9;
    manifest.write(&results)?;
    Ok(SweepReport {
        was_complete: false,
        units_computed,
        seconds: manifest.seconds,
        kernel_seconds: manifest.kernel_seconds,
        manifest,
    })
}

/// Runs blocking work off the async runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PlanError> + Send + 'static,
) -> Result<T, PlanError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| PlanError::Query(error.to_string()))?
}

/// The manifest of a sweep that begins now; one that was begun before keeps its beginning. Blocks on file reads.
pub(crate) fn new_manifest(
    job: &SweepJob,
    runtime: &SweepRuntime,
    known: Option<&Manifest>,
    now_ms: i64,
) -> Result<Manifest, PlanError> {
    let series = job
        .spec
        .series
        .iter()
        .map(|series| {
            let bars = job.bars(runtime, series)?;
            let times = &bars.bars.open_time_ms;
            Ok(SeriesRecord {
                symbol: series.symbol.clone(),
                data_digest: series.data.to_string(),
                bars: series.bars,
                first_open_ms: times.first().copied().unwrap_or_default(),
                last_open_ms: times.last().copied().unwrap_or_default(),
                rows: 0,
                trials: None,
            })
        })
        .collect::<Result<_, PlanError>>()?;
    let started_ms = known.map_or(now_ms, |manifest| manifest.started_ms);
    Ok(catalogue::start(&job.spec, &job.strategy, &job.data_root, series, started_ms))
}

/// Computes every unit that is not in the store; gives the number computed.
async fn compute_units(
    session: &SessionContext,
    runtime: &Arc<SweepRuntime>,
    job: &Arc<SweepJob>,
    unit_rows: Option<u64>,
) -> Result<u64, PlanError> {
    let store = job.store();
    let mut missing = job.spec.units(job.strategy.space().len(), unit_rows).filter(|unit| {
        let digest = job.spec.unit_digest(&job.strategy, unit);
        // A damaged file does not count as finished.
        let finished =
            store.as_ref().zip(digest).is_some_and(|(store, digest)| store.summary(digest).is_some());
        if finished {
            runtime.progress.units.fetch_add(1, Ordering::Relaxed);
            runtime.progress.units_reused.fetch_add(1, Ordering::Relaxed);
        }
        !finished
    });
    let mut computed = 0;
    loop {
        let units: Vec<Unit> = missing.by_ref().take(UNITS_PER_PLAN).collect();
        if units.is_empty() {
            return Ok(computed);
        }
        if runtime.is_cancelled() {
            return Err(PlanError::Cancelled);
        }
        let plan = plan_units(job, &units, Output::Receipts)?;
        let receipts = futures::stream::iter(0..units.len())
            .map(|partition| {
                let stream = plan.execute(partition, session.task_ctx());
                async move { stream?.try_collect::<Vec<RecordBatch>>().await }
            })
            // One more than computes keeps every permit taken while a unit is being handed over.
            .buffer_unordered(runtime.threads + 1)
            .map(|batches| computed_units(&batches?))
            .try_fold(0, |sum, computed| async move { Ok(sum + computed) });
        computed += receipts.await?;
    }
}

/// Receipts that say "computed", not "found in the store".
///
/// # Errors
/// One says that its unit can never be done.
fn computed_units(receipts: &[RecordBatch]) -> Result<u64, PlanError> {
    let mut computed = 0;
    for receipt in receipts {
        let failures = receipt.column_by_name("failure").and_then(|column| column.as_string_opt::<i32>());
        if let Some(failure) = failures.and_then(|failures| failures.iter().flatten().next()) {
            return Err(PlanError::Unit(failure.to_owned()));
        }
        let reused = receipt.column_by_name("reused").and_then(|column| column.as_boolean_opt());
        computed += reused.map_or(0, |reused| reused.len() as u64 - reused.true_count() as u64);
    }
    Ok(computed)
}

fn write_results(
    job: &SweepJob,
    runtime: &SweepRuntime,
    results: &Path,
    manifest: &mut Manifest,
    unit_rows: Option<u64>,
) -> Result<(), PlanError> {
    let mut units = job.spec.units(job.strategy.space().len(), unit_rows).peekable();
    for (index, series) in job.spec.series.iter().enumerate() {
        let own: Vec<Unit> = std::iter::from_fn(|| units.next_if(|unit| unit.series == index)).collect();
        let totals = results::write_series(job, runtime, results, manifest, series, &own)?;
        manifest.combos = totals.combos;
        manifest.rows += totals.rows;
        manifest.bar_combos += totals.combos * series.bars;
        if let Some(record) = manifest.series.get_mut(index) {
            record.rows = totals.rows;
            record.trials = Some(results::trials_record(totals.trials));
        }
    }
    Ok(())
}
