//! `SweepExec`: the operator that turns units of work into rows or receipts.
//!
//! It is a unary *interior* node over a memory source with one single-row partition per unit. Ballista slices a stage by
//! rewriting the leaves it knows; a leaf of our own would be copied whole into every task and each task would compute every
//! unit. As an interior node it computes exactly the units its input hands it, however the partitions are dealt out.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt, TryStreamExt};
use polybolos_engine::sweep::Unit;

use crate::error::PlanError;
use crate::runtime::SweepRuntime;
use crate::schema::{self, RowLabels};
use crate::unit::{FinishedUnit, SweepJob};

/// What leaves the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Output {
    /// One row per (symbol, combination), see [`schema::rows`].
    Rows,
    /// One row per unit, see [`schema::receipts`]; the rows themselves are in the store.
    Receipts,
}

/// See the module.
#[derive(Debug)]
pub struct SweepExec {
    job: Arc<SweepJob>,
    output: Output,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl SweepExec {
    /// The operator over an input of units ([`schema::units`]). Its partitions are its input's.
    pub fn new(job: Arc<SweepJob>, output: Output, input: Arc<dyn ExecutionPlan>) -> SweepExec {
        let schema = match output {
            Output::Rows => schema::rows(job.strategy.space()),
            Output::Receipts => schema::receipts(),
        };
        let partitions = input.properties().partitioning.partition_count();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        SweepExec { job, output, input, properties }
    }

    /// The job it runs.
    pub fn job(&self) -> &Arc<SweepJob> {
        &self.job
    }

    /// What it gives.
    pub fn output(&self) -> Output {
        self.output
    }
}

impl DisplayAs for SweepExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = &self.job.spec.request;
        write!(
            f,
            "SweepExec: strategy={}, interval={}, symbols={}, grid_rows={}, output={:?}",
            self.job.strategy.name(),
            request.interval,
            self.job.spec.series.len(),
            self.job.strategy.space().len(),
            self.output
        )
    }
}

impl ExecutionPlan for SweepExec {
    fn name(&self) -> &'static str {
        "SweepExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// One row per partition is the point: merging or splitting units gains nothing.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(SweepExec::new(Arc::clone(&self.job), self.output, input))),
            _ => Err(DataFusionError::Internal("SweepExec has exactly one input".to_owned())),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let runtime = SweepRuntime::of(context.session_config());
        let run = Arc::new(UnitRun {
            job: Arc::clone(&self.job),
            output: self.output,
            schema: self.schema(),
            runtime,
            stop: Arc::default(),
        });
        let stop = StopOnDrop(Arc::clone(&run.stop));
        let input = self.input.execute(partition, context)?;
        let rows = input.map_ok(|batch| futures::stream::iter(batch_units(&batch))).try_flatten().and_then(
            move |unit| {
                let _alive_with_the_stream = &stop;
                Arc::clone(&run).start(unit)
            },
        );
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows.boxed())))
    }
}

/// A stream that is dropped before its end (a LIMIT was met, a query was cancelled) stops its unit too.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A unit as its input row says it.
struct UnitRow {
    symbol: String,
    row_from: u64,
    row_to: u64,
}

fn batch_units(batch: &RecordBatch) -> Vec<Result<UnitRow>> {
    let columns = (
        batch.column_by_name("symbol").and_then(|column| column.as_string_opt::<i32>()),
        batch.column_by_name("row_from").and_then(|column| column.as_primitive_opt::<Int64Type>()),
        batch.column_by_name("row_to").and_then(|column| column.as_primitive_opt::<Int64Type>()),
    );
    let (Some(symbol), Some(from), Some(to)) = columns else {
        return vec![Err(DataFusionError::Internal(format!(
            "SweepExec got {:?} instead of units",
            batch.schema()
        )))];
    };
    (0..batch.num_rows())
        .map(|i| {
            Ok(UnitRow {
                symbol: symbol.value(i).to_owned(),
                row_from: from.value(i).cast_unsigned(),
                row_to: to.value(i).cast_unsigned(),
            })
        })
        .collect()
}

struct UnitRun {
    job: Arc<SweepJob>,
    output: Output,
    schema: SchemaRef,
    runtime: Arc<SweepRuntime>,
    stop: Arc<AtomicBool>,
}

impl UnitRun {
    /// Waits for a permit, then computes on a blocking thread: the async runtime never does arithmetic.
    async fn start(self: Arc<Self>, row: UnitRow) -> Result<RecordBatch> {
        let permit = Arc::clone(&self.runtime.permits)
            .acquire_owned()
            .await
            .map_err(|error| DataFusionError::Execution(error.to_string()))?;
        let work = tokio::task::spawn_blocking(move || {
            let batch = self.compute(&row);
            drop(permit);
            batch
        });
        work.await.map_err(|error| DataFusionError::Execution(format!("a unit's thread failed: {error}")))?
    }

    fn compute(&self, row: &UnitRow) -> Result<RecordBatch> {
        if let ControlFlow::Break(error) = self.stopped() {
            return Err(error.into());
        }
        let series =
            self.job.spec.series.iter().position(|series| series.symbol == row.symbol).ok_or_else(|| {
                DataFusionError::Internal(format!("unit of {}, which is not in the sweep", row.symbol))
            })?;
        let unit = Unit { series, rows: row.row_from..row.row_to };
        let finished = self.job.run(&self.runtime, &unit, &self.stop)?;
        match self.output {
            Output::Rows => self.rows(&row.symbol, &finished),
            Output::Receipts => self.receipt(row, &finished),
        }
    }

    fn stopped(&self) -> ControlFlow<PlanError> {
        if self.runtime.is_cancelled() || self.stop.load(Ordering::Relaxed) {
            ControlFlow::Break(PlanError::Cancelled)
        } else {
            ControlFlow::Continue(())
        }
    }

    fn rows(&self, symbol: &str, finished: &FinishedUnit) -> Result<RecordBatch> {
        let labels = RowLabels { sweep_id: None, symbol, interval: self.job.spec.request.interval.name() };
        let space = self.job.strategy.space();
        Ok(schema::row_batch(&self.schema, space, &labels, &finished.result.rows, &finished.context)?)
    }

    fn receipt(&self, row: &UnitRow, finished: &FinishedUnit) -> Result<RecordBatch> {
        let count = |value: u64| Arc::new(Int64Array::from(vec![value.cast_signed()]));
        Ok(RecordBatch::try_new(
            Arc::clone(&self.schema),
            vec![
                Arc::new(StringArray::from(vec![row.symbol.as_str()])),
                count(row.row_from),
                count(row.row_to),
                count(finished.result.summary.combos),
                count(finished.result.rows.len() as u64),
                Arc::new(BooleanArray::from(vec![finished.reused])),
            ],
        )?)
    }
}
