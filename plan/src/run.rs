//! Running a sweep in this process: plan what is not there yet, compute it, write the result files, close the manifest.
//!
//! The order makes a kill at any point harmless: the units of a symbol (each whole or absent), then its result file (whole or
//! absent), and after all of them the manifest's state. Running the same sweep again does only what is missing. Everything
//! that costs time is shared out over the runtime's threads: reading bars, units, result files; waiting for the disk takes
//! none of them.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt};
use polybolos_engine::sweep::Unit;
use polybolos_kernels::precision::Precision;
use polybolos_storage::Location;
use tokio::task::{JoinError, JoinSet};

use crate::catalogue::{self, Manifest, SeriesRecord, State};
use crate::compute::GPU_BLOCK_COMBOS;
use crate::error::PlanError;
use crate::finished_units::RecentUnits;
use crate::precision::trade_mismatch;
use crate::results::{self, SeriesTotals};
use crate::runtime::SweepRuntime;
use crate::session::task_context;
use crate::sweep_exec::Output;
use crate::sweep_table::{SweepTable, plan_groups};
use crate::top::{Best, top, top_of_batches};
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
    /// The best rows, best first, if they were asked for: those that [`top`] finds in the result files.
    pub best: Vec<RecordBatch>,
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
/// `table` must have a results folder and be resolved or resolvable on this machine; `best` says which rows the report is to have;
/// `now_ms` gives the wall clock for the catalogue.
///
/// # Errors
/// Anything wrong with the request, the bars, the store; [`PlanError::Cancelled`] when the runtime's flag was set.
pub async fn run_sweep(
    runtime: &Arc<SweepRuntime>,
    table: &SweepTable,
    best: Option<&Best>,
    observer: &dyn Observer,
    now_ms: impl Fn() -> i64 + Send,
) -> Result<SweepReport, PlanError> {
    let started = Instant::now();
    let results = table.results_root.clone().ok_or_else(|| {
        PlanError::NotFound("a sweep needs a results folder to keep its rows in".to_owned())
    })?;
    let job = {
        let (table, loading) = (table.clone(), Arc::clone(runtime));
        Arc::new(runtime.workers.run(move || table.job(&loading)).await??)
    };
    let sweep_id = job.spec.id(&job.strategy);
    let known = {
        let (results, sweep_id) = (results.clone(), sweep_id.clone());
        blocking(move || Known::look(&results, &sweep_id)).await?
    };
    if let Known::Complete(manifest) = known {
        let best = best.cloned();
        let (best, manifest) = blocking(move || {
            let best = best.map(|Best { ranking, count }| top(&results, &manifest, &ranking, count));
            Ok((best.transpose()?.unwrap_or_default(), *manifest))
        })
        .await?;
        return Ok(SweepReport {
            manifest,
            was_complete: true,
            units_computed: 0,
            seconds: started.elapsed().as_secs_f64(),
            kernel_seconds: 0.0,
            best,
        });
    }
    let begun_ms = known.started_ms().unwrap_or_else(&now_ms);
    let mut manifest = {
        let (job, runtime, unit_rows) = (Arc::clone(&job), Arc::clone(runtime), table.unit_rows);
        blocking(move || begin(&job, &runtime, unit_rows, begun_ms)).await?
    };
    observer.planned(&manifest, manifest.units);
    let kernel_ns = runtime.progress.kernel_ns.load(Ordering::Relaxed);
    let gpu_combos = runtime.progress.gpu_combos.load(Ordering::Relaxed);
    if job.spec.request.precision != Precision::F64 {
        // Every result file says it.
        let (job, runtime) = (Arc::clone(&job), Arc::clone(runtime));
        let found = blocking(move || trade_mismatch(&job, &runtime)).await?;
        manifest.trade_mismatch = Some(found.into());
    }
    let run = Run {
        job: Arc::clone(&job),
        runtime: Arc::clone(runtime),
        results: results.clone(),
        unit_rows: table.unit_rows,
        manifest: manifest.clone(),
        recent: Arc::default(),
        best: best.cloned(),
    };
    let (units_computed, totals) = Arc::new(run).to_the_end(observer).await?;
    for ((totals, series), record) in totals.iter().zip(&job.spec.series).zip(&mut manifest.series) {
        manifest.combos = totals.combos;
        manifest.rows += totals.rows;
        manifest.bar_combos += totals.combos * series.bars;
        record.rows = totals.rows;
        record.trials = Some(results::trials_record(totals.trials));
    }
    let kernel_ns = runtime.progress.kernel_ns.load(Ordering::Relaxed) - kernel_ns;
    if runtime.progress.gpu_combos.load(Ordering::Relaxed) > gpu_combos {
        "cuda".clone_into(&mut manifest.backend);
    }
    manifest.state = State::Complete;
    manifest.finished_ms = Some(now_ms());
    manifest.seconds = started.elapsed().as_secs_f64();
    manifest.kernel_seconds = kernel_ns as f64 / 1e9;
    let written = manifest.clone();
    blocking(move || written.write(&results)).await?;
    let best = match best {
        Some(best) => {
            let of_series = totals.into_iter().filter_map(|totals| totals.best).collect();
            top_of_batches(&manifest, of_series, best)?
        }
        None => Vec::new(),
    };
    Ok(SweepReport {
        was_complete: false,
        units_computed,
        seconds: manifest.seconds,
        kernel_seconds: manifest.kernel_seconds,
        manifest,
        best,
    })
}

/// What the catalogue has of a sweep before a run.
enum Known {
    /// Everything.
    Complete(Box<Manifest>),
    /// Its beginning, milliseconds since the epoch.
    Begun(i64),
    Nothing,
}

impl Known {
    fn look(results: &Location, sweep_id: &str) -> Result<Known, PlanError> {
        Ok(match Manifest::read(results, sweep_id)? {
            Some(manifest) if manifest.is_complete(results)? => Known::Complete(Box::new(manifest)),
            Some(manifest) => Known::Begun(manifest.started_ms),
            None => Known::Nothing,
        })
    }

    fn started_ms(&self) -> Option<i64> {
        match self {
            Known::Begun(started_ms) => Some(*started_ms),
            Known::Complete(_) | Known::Nothing => None,
        }
    }
}

/// Clears up after killed runs and writes the manifest of a sweep that begins or goes on. Blocks.
fn begin(
    job: &SweepJob,
    runtime: &SweepRuntime,
    unit_rows: Option<u64>,
    started_ms: i64,
) -> Result<Manifest, PlanError> {
    let mut manifest = new_manifest(job, runtime, started_ms)?;
    manifest.units = job.spec.units(job.strategy.space().len(), unit_rows).count() as u64;
    if let Some(store) = job.store() {
        store.remove_leftovers();
    }
    if let Some(results) = &job.results_root {
        manifest.write(results)?;
    }
    Ok(manifest)
}

/// Runs blocking work off the async runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PlanError> + Send + 'static,
) -> Result<T, PlanError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| PlanError::Query(error.to_string()))?
}

/// The manifest of a sweep that was begun at a time, milliseconds since the epoch. Blocks on file reads.
pub(crate) fn new_manifest(
    job: &SweepJob,
    runtime: &SweepRuntime,
    started_ms: i64,
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
    Ok(catalogue::start(&job.spec, &job.strategy, &job.data_root, series, started_ms))
}

/// A run under way.
struct Run {
    job: Arc<SweepJob>,
    runtime: Arc<SweepRuntime>,
    results: Location,
    unit_rows: Option<u64>,
    /// As it was when the run began.
    manifest: Manifest,
    /// Computed by this run.
    recent: Arc<RecentUnits>,
    /// Rows that the report is to have.
    best: Option<Best>,
}

/// The result files of a run: each is written as soon as the last unit of its series is there, beside the units of others.
struct ResultFiles {
    run: Arc<Run>,
    /// Units of each series that are not there yet.
    missing: Vec<u64>,
    writing: JoinSet<Result<(usize, SeriesTotals), PlanError>>,
    /// Of the files that are written.
    totals: Vec<(usize, SeriesTotals)>,
}

impl Run {
    fn series_units(&self, series: usize) -> impl Iterator<Item = Unit> + use<> {
        self.job.spec.series_units(series, self.job.strategy.space().len(), self.unit_rows)
    }

    /// Computes every unit that is not in the store and writes every result file; gives the number of units computed, and what
    /// became of each series. After an error too, what was begun has ended; of units that are one work for a GPU, the one with the error.
    async fn to_the_end(
        self: Arc<Run>,
        observer: &dyn Observer,
    ) -> Result<(u64, Vec<SeriesTotals>), PlanError> {
        let mut files = ResultFiles::new(Arc::clone(&self));
        let computed = self.all_units(&mut files).await;
        if computed.is_ok() {
            observer.writing();
        }
        let totals = files.finish().await;
        Ok((computed?, totals?))
    }

    /// Computes every unit that is not in the store; gives how many those were.
    async fn all_units(self: &Arc<Run>, files: &mut ResultFiles) -> Result<u64, PlanError> {
        let context = task_context(&self.runtime);
        let mut units = self.units();
        let mut computed = 0;
        loop {
            let mut missing = Vec::new();
            while missing.len() < UNITS_PER_PLAN {
                let asked: Vec<Unit> = units.by_ref().take(UNITS_PER_PLAN - missing.len()).collect();
                if asked.is_empty() {
                    break;
                }
                let run = Arc::clone(self);
                let (asked, stored) = blocking(move || run.are_stored(asked)).await?;
                for (unit, is_stored) in asked.into_iter().zip(stored) {
                    if is_stored {
                        files.unit_is_there(unit.series);
                    } else {
                        missing.push(unit);
                    }
                }
                files.check()?;
            }
            if missing.is_empty() {
                return Ok(computed);
            }
            if self.runtime.is_cancelled() {
                return Err(PlanError::Cancelled);
            }
            computed += self.compute(&context, &missing, files).await?;
        }
    }

    /// All units, series by series, those with the most bars first: where there are few units the last ones are short.
    fn units(self: &Arc<Run>) -> impl Iterator<Item = Unit> + use<> {
        let mut order: Vec<usize> = (0..self.job.spec.series.len()).collect();
        order.sort_by_key(|&series| Reverse(self.job.spec.series[series].bars));
        let run = Arc::clone(self);
        order.into_iter().flat_map(move |series| run.series_units(series))
    }

    /// Whether each of some units is in the store, and counts those that are. A damaged file does not count as finished. Blocks.
    fn are_stored(&self, units: Vec<Unit>) -> Result<(Vec<Unit>, Vec<bool>), PlanError> {
        let digests: Option<Vec<_>> =
            units.iter().map(|unit| self.job.spec.unit_digest(&self.job.strategy, unit)).collect();
        let stored = match self.job.store().zip(digests) {
            Some((store, digests)) => store.usable(&digests)?,
            None => vec![false; units.len()],
        };
        let found = stored.iter().filter(|&&is_stored| is_stored).count() as u64;
        self.runtime.progress.units.fetch_add(found, Ordering::Relaxed);
        self.runtime.progress.units_reused.fetch_add(found, Ordering::Relaxed);
        Ok((units, stored))
    }

    /// Computes units; gives how many of them were not found in the store after all. The first error stops the others, and is given
    /// once they have ended.
    async fn compute(
        &self,
        context: &Arc<TaskContext>,
        units: &[Unit],
        files: &mut ResultFiles,
    ) -> Result<u64, PlanError> {
        let has_gpus = self.runtime.gpus.as_ref().is_some_and(|gpus| !gpus.is_empty());
        let groups: Vec<&[Unit]> = if has_gpus { gpu_groups(units) } else { units.chunks(1).collect() };
        let stop = Arc::new(AtomicBool::new(false));
        let plan = plan_groups(&self.job, groups.iter().copied(), Output::Receipts)?
            .with_stop(Arc::clone(&stop))
            .with_recent(Arc::clone(&self.recent));
        let groups = groups.into_iter().enumerate().take_while(|_| !stop.load(Ordering::Relaxed));
        let mut receipts = futures::stream::iter(groups)
            .map(|(partition, group)| {
                let stream = plan.execute(partition, Arc::clone(context));
                async move { Ok::<_, PlanError>((group, stream?.try_collect::<Vec<RecordBatch>>().await?)) }
            })
            // Twice as many as compute: every thread has work while units are handed over and wait for the disk.
            .buffer_unordered(2 * self.runtime.threads);
        let mut computed = Ok(0);
        while let Some(received) = receipts.next().await {
            let more = received.and_then(|(group, batches)| {
                let more = computed_units(&batches)?;
                group.iter().for_each(|unit| files.unit_is_there(unit.series));
                files.check()?;
                Ok(more)
            });
            computed = match (computed, more) {
                (Ok(computed), Ok(more)) => Ok(computed + more),
                (Err(first), _) => Err(first),
                (Ok(_), Err(error)) => {
                    stop.store(true, Ordering::Relaxed);
                    Err(error)
                }
            };
        }
        computed
    }

    /// Writes the result file of a series, with the threads that compute.
    async fn write(self: Arc<Run>, series: usize) -> Result<(usize, SeriesTotals), PlanError> {
        let run = Arc::clone(&self);
        let stage = move || {
            let units: Vec<Unit> = run.series_units(series).collect();
            let id = &run.job.spec.series[series];
            let units = (units.as_slice(), run.recent.as_ref());
            let best = run.best.as_ref();
            results::stage_series(&run.job, &run.runtime, &run.results, &run.manifest, id, units, best)
        };
        let (file, totals) = self.runtime.workers.run(stage).await??;
        blocking(move || {
            file.commit()?;
            Ok((series, totals))
        })
        .await
    }
}

impl ResultFiles {
    fn new(run: Arc<Run>) -> ResultFiles {
        let series = run.job.spec.series.len();
        let missing: Vec<u64> = (0..series).map(|series| run.series_units(series).count() as u64).collect();
        let mut files = ResultFiles { run, missing, writing: JoinSet::new(), totals: Vec::new() };
        for series in 0..series {
            files.write_if_whole(series);
        }
        files
    }

    fn unit_is_there(&mut self, series: usize) {
        self.missing[series] -= 1;
        self.write_if_whole(series);
    }

    fn write_if_whole(&mut self, series: usize) {
        if self.missing[series] == 0 {
            self.writing.spawn(Arc::clone(&self.run).write(series));
        }
    }

    /// Collects the files that are written.
    ///
    /// # Errors
    /// That of a file that could not be.
    fn check(&mut self) -> Result<(), PlanError> {
        while let Some(written) = self.writing.try_join_next() {
            self.collect(written)?;
        }
        Ok(())
    }

    fn collect(
        &mut self,
        written: Result<Result<(usize, SeriesTotals), PlanError>, JoinError>,
    ) -> Result<(), PlanError> {
        self.totals.push(written.map_err(|error| PlanError::Query(error.to_string()))??);
        Ok(())
    }

    /// Waits for all files that were begun; gives what became of each series, in order, or the first error.
    async fn finish(mut self) -> Result<Vec<SeriesTotals>, PlanError> {
        let mut first_error = Ok(());
        while let Some(written) = self.writing.join_next().await {
            first_error = first_error.and(self.collect(written));
        }
        first_error?;
        self.totals.sort_by_key(|(series, _)| *series);
        Ok(self.totals.into_iter().map(|(_, totals)| totals).collect())
    }
}

/// Units of one series that follow each other, as many as a GPU takes at once.
fn gpu_groups(units: &[Unit]) -> Vec<&[Unit]> {
    let series = units.chunk_by(|a, b| a.series == b.series && a.rows.end == b.rows.start);
    let groups = series.flat_map(|units| {
        let rows = units.iter().map(|unit| unit.rows.end - unit.rows.start).max().unwrap_or(1).max(1);
        units.chunks(usize::try_from(GPU_BLOCK_COMBOS as u64 / rows).unwrap_or(usize::MAX).max(1))
    });
    groups.collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_that_follow_each_other_fill_a_gpu_together() {
        let rows = GPU_BLOCK_COMBOS as u64 / 2;
        let unit = |series, index: u64| Unit { series, rows: index * rows..(index + 1) * rows };
        let units = [unit(0, 0), unit(0, 1), unit(0, 2), unit(0, 4), unit(1, 5), unit(1, 6)];
        let sizes: Vec<usize> = gpu_groups(&units).iter().map(|group| group.len()).collect();
        assert_eq!(sizes, [2, 1, 1, 2]);
        let large = [Unit { series: 0, rows: 0..u64::MAX }];
        assert_eq!(gpu_groups(&large), [&large[..]]);
    }
}
