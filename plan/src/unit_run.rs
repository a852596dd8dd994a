//! One unit from its input row to its output row: a thread, whoever watches, and what becomes of errors.
//!
//! An error is one of three. *Cancelled* ends the stream. A *transient* one ends it with an I/O error, the one kind that
//! Ballista tries again. A *permanent* one ends a query for rows; where receipts are wanted it becomes a receipt that says so,
//! since one unit that can never be done must not take the others of its job with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use datafusion::arrow::array::{BooleanArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use futures::{StreamExt, TryStreamExt};
use polybolos_engine::sweep::Unit;

use crate::error::PlanError;
use crate::gpu::GpuLease;
use crate::observer::{UnitName, UnitObserver, UnitOutcome, UnitProgress};
use crate::runtime::SweepRuntime;
use crate::schema::{self, RowLabels};
use crate::sweep_exec::{InProcess, Output};
use crate::unit::{FinishedUnit, SweepJob, UnitQueue, Worked};
use crate::workers::panic_message;

/// How often the flags of the process and of the job are looked at while a unit waits or runs.
const STOP_CHECK: Duration = Duration::from_millis(20);

/// What runs the units of one partition.
pub(crate) struct UnitRun {
    pub(crate) job: Arc<SweepJob>,
    pub(crate) output: Output,
    pub(crate) schema: SchemaRef,
    pub(crate) runtime: Arc<SweepRuntime>,
    pub(crate) here: InProcess,
}

/// A turn that is dropped before its end (a LIMIT was met, a query was cancelled) stops its units too.
struct CancelOnDrop(Arc<UnitProgress>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// What a turn gives: its rows or receipts, and what a GPU left of its work.
type Turn = (Vec<RecordBatch>, Vec<UnitQueue>);

/// A unit that is not yet in the store, or why it cannot be.
struct Computed {
    unit: Unit,
    watched: Watched,
    worked: std::result::Result<Worked, PlanError>,
}

/// Tells the observer of a unit's end, whatever the end is: one for whose result nobody waits any more was cancelled.
struct Watched {
    watcher: Option<(Arc<dyn UnitObserver>, UnitName)>,
    progress: Arc<UnitProgress>,
    started: Instant,
}

impl Watched {
    fn end(&mut self, outcome: &UnitOutcome) {
        if let Some((observer, name)) = self.watcher.take() {
            let figures = self.progress.figures(self.started.elapsed());
            observer.finished(&name, &self.progress, outcome, &figures);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end(&UnitOutcome::Cancelled);
    }
}

impl UnitRun {
    /// Does the next work of a queue, and what a GPU leaves of it.
    pub(crate) async fn turn(self: Arc<Self>, queue: Arc<UnitQueue>) -> Result<Vec<RecordBatch>> {
        let (mut batches, left) = Arc::clone(&self).take(queue).await?;
        let left = left.into_iter().map(|queue| Arc::clone(&self).take(Arc::new(queue)));
        let mut left = futures::stream::iter(left).map(Ok).try_buffer_unordered(self.runtime.threads + 1);
        while let Some((more, _)) = left.try_next().await? {
            batches.extend(more);
        }
        Ok(batches)
    }

    /// Computes on one of the threads that do, then waits for the disk on another one.
    async fn take(self: Arc<Self>, queue: Arc<UnitQueue>) -> Result<Turn> {
        let progress = Arc::new(UnitProgress::default());
        let _cancel = CancelOnDrop(Arc::clone(&progress));
        // By the thread that computes it, or by who stops it before.
        let is_taken = Arc::new(AtomicBool::new(false));
        let mut work = pin!({
            let (run, progress, is_taken) = (Arc::clone(&self), Arc::clone(&progress), Arc::clone(&is_taken));
            self.runtime.workers.run(move || match is_taken.swap(true, Ordering::AcqRel) {
                true => Err(PlanError::Cancelled),
                false => run.compute(&queue, &progress),
            })
        });
        let computed = tokio::select! {
            computed = &mut work => computed,
            () = self.stopped() => {
                if !is_taken.swap(true, Ordering::AcqRel) {
                    return Err(PlanError::Cancelled.into());
                }
                progress.cancel();
                work.await
            }
        };
        let Some(computed) = computed.flatten()? else { return Ok((Vec::new(), Vec::new())) };
        let committed = tokio::task::spawn_blocking(move || self.finish(computed)).await;
        committed.map_err(|error| DataFusionError::Execution(format!("a unit's thread failed: {error}")))?
    }

    /// All of a turn but the waiting for the disk; `None` if a GPU has left nothing to do.
    fn compute(
        &self,
        queue: &UnitQueue,
        progress: &Arc<UnitProgress>,
    ) -> std::result::Result<Option<Computed>, PlanError> {
        // Before anybody is told that it runs.
        if self.is_stopped() || progress.is_cancelled() {
            return Err(PlanError::Cancelled);
        }
        let lease = SweepJob::lease(&self.runtime, queue);
        let Some(unit) = queue.next() else { return Ok(None) };
        let watched = self.watch(&unit, progress);
        let worked = self.work_caught(queue, &unit, lease, progress);
        Ok(Some(Computed { unit, watched, worked }))
    }

    /// Puts what was computed into the store, and gives its rows or receipts.
    fn finish(&self, computed: Computed) -> Result<Turn> {
        let Computed { unit, mut watched, worked } = computed;
        let committed = worked.and_then(|worked| self.commit(worked));
        watched.end(&outcome(&unit, &committed));
        self.batches(&unit, committed)
    }

    /// Ends once the process or the job is asked to stop.
    async fn stopped(&self) {
        while !self.is_stopped() {
            tokio::time::sleep(STOP_CHECK).await;
        }
    }

    fn is_stopped(&self) -> bool {
        self.runtime.is_cancelled()
            || self.here.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    fn symbol(&self, unit: &Unit) -> &str {
        self.job.spec.series.get(unit.series).map_or("", |series| series.symbol.as_str())
    }

    /// Of the units of a turn the first is watched. Only a GPU takes more than one, in a process that nobody watches.
    fn watch(&self, unit: &Unit, progress: &Arc<UnitProgress>) -> Watched {
        let watcher = self.runtime.observer.as_ref().map(|observer| {
            let name = UnitName {
                sweep_id: self.job.spec.id(&self.job.strategy).into(),
                symbol: self.symbol(unit).to_owned(),
                rows: unit.rows.clone(),
            };
            observer.started(&name, progress);
            (Arc::clone(observer), name)
        });
        Watched { watcher, progress: Arc::clone(progress), started: Instant::now() }
    }

    /// A panic is an error of this unit and of no other.
    fn work_caught(
        &self,
        queue: &UnitQueue,
        unit: &Unit,
        lease: Option<GpuLease<'_>>,
        progress: &UnitProgress,
    ) -> std::result::Result<Worked, PlanError> {
        let work = || self.work(queue, unit, lease, progress);
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            Err(PlanError::Panicked {
                symbol: self.symbol(unit).to_owned(),
                row_from: unit.rows.start,
                row_to: unit.rows.end,
                message: panic_message(panic.as_ref()),
            })
        })
    }

    fn work(
        &self,
        queue: &UnitQueue,
        unit: &Unit,
        lease: Option<GpuLease<'_>>,
        progress: &UnitProgress,
    ) -> std::result::Result<Worked, PlanError> {
        if let Some(faults) = &self.runtime.faults {
            faults.inject(self.symbol(unit), unit.rows.start, progress)?;
        }
        self.job.work(&self.runtime, queue, unit.clone(), lease, progress)
    }

    /// Puts units into the store. Waits for the disk; computes nothing.
    fn commit(&self, worked: Worked) -> std::result::Result<Committed, PlanError> {
        let units = worked.staged.into_iter().map(|staged| staged.commit(&self.runtime));
        Ok(Committed { units: units.collect::<std::result::Result<_, _>>()?, left: worked.left })
    }

    fn batches(&self, unit: &Unit, committed: std::result::Result<Committed, PlanError>) -> Result<Turn> {
        match (committed, self.output) {
            (Ok(Committed { units, left }), output) => {
                let batches = units.iter().map(|(unit, finished)| match output {
                    Output::Rows => self.rows(self.symbol(unit), finished),
                    Output::Receipts => self.receipt(unit, Ok(finished)),
                });
                let batches = batches.collect::<Result<_>>()?;
                if let Some(recent) = &self.here.recent {
                    units.into_iter().for_each(|(unit, finished)| recent.keep(unit, finished.result));
                }
                Ok((batches, left))
            }
            (Err(error), _) if error.is_transient() => Err(error.into_retryable()),
            (Err(PlanError::Cancelled), _) => Err(PlanError::Cancelled.into()),
            (Err(error), Output::Rows) => Err(error.into()),
            (Err(error), Output::Receipts) => Ok((vec![self.receipt(unit, Err(&error))?], Vec::new())),
        }
    }

    fn rows(&self, symbol: &str, finished: &FinishedUnit) -> Result<RecordBatch> {
        let labels = RowLabels { sweep_id: None, symbol, interval: self.job.spec.request.interval.name() };
        let space = self.job.strategy.space();
        Ok(schema::row_batch(&self.schema, space, &labels, &finished.result.rows, &finished.context)?)
    }

    fn receipt(
        &self,
        unit: &Unit,
        result: std::result::Result<&FinishedUnit, &PlanError>,
    ) -> Result<RecordBatch> {
        let count = |value: u64| Arc::new(Int64Array::from(vec![value.cast_signed()]));
        let combos = result.map_or(0, |finished| finished.result.summary.combos);
        let rows = result.map_or(0, |finished| finished.result.rows.len() as u64);
        let is_reused = result.is_ok_and(|finished| finished.reused);
        let failure = result.err().map(ToString::to_string);
        Ok(RecordBatch::try_new(
            Arc::clone(&self.schema),
            vec![
                Arc::new(StringArray::from(vec![self.symbol(unit)])),
                count(unit.rows.start),
                count(unit.rows.end),
                count(combos),
                count(rows),
                Arc::new(BooleanArray::from(vec![is_reused])),
                Arc::new(StringArray::from(vec![failure])),
            ],
        )?)
    }
}

/// Units that are in the store, and what a GPU left of a turn's work.
struct Committed {
    units: Vec<(Unit, FinishedUnit)>,
    left: Vec<UnitQueue>,
}

/// What became of the unit that is watched.
fn outcome(unit: &Unit, committed: &std::result::Result<Committed, PlanError>) -> UnitOutcome {
    match committed {
        Ok(committed) if committed.units.iter().any(|(other, finished)| other == unit && finished.reused) => {
            UnitOutcome::Reused
        }
        Ok(_) => UnitOutcome::Computed,
        Err(error) => UnitOutcome::of_error(error),
    }
}
