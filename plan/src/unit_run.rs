//! One unit from its input row to its output row: a permit, a thread, whoever watches, and what becomes of errors.
//!
//! An error is one of three. *Cancelled* ends the stream. A *transient* one ends it with an I/O error, the one kind that
//! Ballista tries again. A *permanent* one ends a query for rows; where receipts are wanted it becomes a receipt that says so,
//! since one unit that can never be done must not take the others of its job with it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use datafusion::arrow::array::{BooleanArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use polybolos_engine::sweep::Unit;

use crate::error::PlanError;
use crate::observer::{UnitName, UnitObserver, UnitOutcome, UnitProgress};
use crate::runtime::SweepRuntime;
use crate::schema::{self, RowLabels};
use crate::sweep_exec::Output;
use crate::unit::{FinishedUnit, SweepJob};

/// How often the flags of the process and of the job are looked at while a unit waits or runs.
const STOP_CHECK: Duration = Duration::from_millis(20);

/// A unit as its input row says it.
pub(crate) struct UnitRow {
    pub(crate) symbol: String,
    pub(crate) row_from: u64,
    pub(crate) row_to: u64,
}

/// What runs the units of one partition.
pub(crate) struct UnitRun {
    pub(crate) job: Arc<SweepJob>,
    pub(crate) output: Output,
    pub(crate) schema: SchemaRef,
    pub(crate) runtime: Arc<SweepRuntime>,
    /// Set from outside to stop the units of this plan.
    pub(crate) stop: Option<Arc<AtomicBool>>,
}

/// A stream that is dropped before its end (a LIMIT was met, a query was cancelled) stops its unit too.
struct CancelOnDrop(Arc<UnitProgress>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Tells the observer of a unit's end, whatever the end is: a unit whose thread was never started was cancelled.
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
    /// Waits for a permit, then computes on a blocking thread: the async runtime never does arithmetic.
    pub(crate) async fn start(self: Arc<Self>, row: UnitRow) -> Result<RecordBatch> {
        let permit = tokio::select! {
            permit = Arc::clone(&self.runtime.permits).acquire_owned() => permit,
            () = self.stopped() => return Err(PlanError::Cancelled.into()),
        };
        let permit = permit.map_err(|error| DataFusionError::Execution(error.to_string()))?;
        let progress = Arc::new(UnitProgress::default());
        let _cancel = CancelOnDrop(Arc::clone(&progress));
        let mut watched = self.watch(&row, &progress);
        let run = Arc::clone(&self);
        let mut work = tokio::task::spawn_blocking(move || {
            let result = run.compute_caught(&row, &watched.progress);
            watched.end(&outcome(&result));
            drop(permit);
            run.batch(&row, result)
        });
        let done = tokio::select! {
            done = &mut work => done,
            () = self.stopped() => {
                progress.cancel();
                work.await
            }
        };
        done.map_err(|error| DataFusionError::Execution(format!("a unit's thread failed: {error}")))?
    }

    /// Ends once the process or the job is asked to stop.
    async fn stopped(&self) {
        while !self.is_stopped() {
            tokio::time::sleep(STOP_CHECK).await;
        }
    }

    fn is_stopped(&self) -> bool {
        self.runtime.is_cancelled() || self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    fn watch(&self, row: &UnitRow, progress: &Arc<UnitProgress>) -> Watched {
        let watcher = self.runtime.observer.as_ref().map(|observer| {
            let name = UnitName {
                sweep_id: self.job.spec.id(&self.job.strategy).into(),
                symbol: row.symbol.clone(),
                rows: row.row_from..row.row_to,
            };
            observer.started(&name, progress);
            (Arc::clone(observer), name)
        });
        Watched { watcher, progress: Arc::clone(progress), started: Instant::now() }
    }

    /// A panic is an error of this unit and of no other.
    fn compute_caught(
        &self,
        row: &UnitRow,
        progress: &UnitProgress,
    ) -> std::result::Result<FinishedUnit, PlanError> {
        catch_unwind(AssertUnwindSafe(|| self.compute(row, progress))).unwrap_or_else(|panic| {
            Err(PlanError::Panicked {
                symbol: row.symbol.clone(),
                row_from: row.row_from,
                row_to: row.row_to,
                message: panic_message(panic.as_ref()),
            })
        })
    }

    fn compute(
        &self,
        row: &UnitRow,
        progress: &UnitProgress,
    ) -> std::result::Result<FinishedUnit, PlanError> {
        if self.is_stopped() || progress.is_cancelled() {
            return Err(PlanError::Cancelled);
        }
        let series =
            self.job.spec.series.iter().position(|series| series.symbol == row.symbol).ok_or_else(|| {
                PlanError::NotFound(format!("unit of {}, which is not in the sweep", row.symbol))
            })?;
        if let Some(faults) = &self.runtime.faults {
            faults.inject(&row.symbol, row.row_from, progress)?;
        }
        let unit = Unit { series, rows: row.row_from..row.row_to };
        self.job.run(&self.runtime, &unit, progress)
    }

    fn batch(
        &self,
        row: &UnitRow,
        result: std::result::Result<FinishedUnit, PlanError>,
    ) -> Result<RecordBatch> {
        match (result, self.output) {
            (Ok(finished), Output::Rows) => self.rows(&row.symbol, &finished),
            (Ok(finished), Output::Receipts) => self.receipt(row, Ok(&finished)),
            (Err(error), _) if error.is_transient() => Err(error.into_retryable()),
            (Err(PlanError::Cancelled), _) => Err(PlanError::Cancelled.into()),
            (Err(error), Output::Rows) => Err(error.into()),
            (Err(error), Output::Receipts) => self.receipt(row, Err(&error)),
        }
    }

    fn rows(&self, symbol: &str, finished: &FinishedUnit) -> Result<RecordBatch> {
        let labels = RowLabels { sweep_id: None, symbol, interval: self.job.spec.request.interval.name() };
        let space = self.job.strategy.space();
        Ok(schema::row_batch(&self.schema, space, &labels, &finished.result.rows, &finished.context)?)
    }

    fn receipt(
        &self,
        row: &UnitRow,
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
                Arc::new(StringArray::from(vec![row.symbol.as_str()])),
                count(row.row_from),
                count(row.row_to),
                count(combos),
                count(rows),
                Arc::new(BooleanArray::from(vec![is_reused])),
                Arc::new(StringArray::from(vec![failure])),
            ],
        )?)
    }
}

fn outcome(result: &std::result::Result<FinishedUnit, PlanError>) -> UnitOutcome {
    match result {
        Ok(finished) if finished.reused => UnitOutcome::Reused,
        Ok(_) => UnitOutcome::Computed,
        Err(error) => UnitOutcome::of_error(error),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
