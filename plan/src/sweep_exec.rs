//! `SweepExec`: the operator that turns units of work into rows or receipts.
//!
//! It is a unary *interior* node over a memory source with one single-row partition per unit. Ballista slices a stage by
//! rewriting the leaves it knows; a leaf of our own would be copied whole into every task and each task would compute every
//! unit. As an interior node it computes exactly the units its input hands it, however the partitions are dealt out.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
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

use crate::finished_units::RecentUnits;
use crate::runtime::SweepRuntime;
use crate::schema;
use crate::unit::{SweepJob, UnitQueue};
use crate::unit_run::UnitRun;

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
    here: InProcess,
    properties: Arc<PlanProperties>,
}

/// What belongs to the process and does not travel.
#[derive(Debug, Clone, Default)]
pub(crate) struct InProcess {
    /// Set from outside to stop the units of this plan.
    pub(crate) stop: Option<Arc<AtomicBool>>,
    /// Whoever wants the results beside their receipts.
    pub(crate) recent: Option<Arc<RecentUnits>>,
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
        SweepExec { job, output, input, here: InProcess::default(), properties }
    }

    /// The same operator with a flag that stops its units within milliseconds once it is set. It belongs to the process and
    /// does not travel.
    #[must_use]
    pub fn with_stop(&self, stop: Arc<AtomicBool>) -> SweepExec {
        self.over(&self.input, InProcess { stop: Some(stop), ..self.here.clone() })
    }

    /// The same operator that hands the results of its units over beside their receipts, in this process.
    #[must_use]
    pub(crate) fn with_recent(&self, recent: Arc<RecentUnits>) -> SweepExec {
        self.over(&self.input, InProcess { recent: Some(recent), ..self.here.clone() })
    }

    fn over(&self, input: &Arc<dyn ExecutionPlan>, here: InProcess) -> SweepExec {
        SweepExec { here, ..SweepExec::new(Arc::clone(&self.job), self.output, Arc::clone(input)) }
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
            (Some(input), true) => Ok(Arc::new(self.over(&input, self.here.clone()))),
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
            here: self.here.clone(),
        });
        let input = self.input.execute(partition, context)?;
        // One more than compute at a time: its work is there when a thread is free.
        let at_once = run.runtime.threads + 1;
        let rows = input
            .map(move |batch| -> Result<_> {
                let units = batch_units(&run.job, &batch?)?;
                let count = units.len();
                let queue = Arc::new(UnitQueue::new(units));
                let run = Arc::clone(&run);
                // As many turns as units: a GPU that takes several of them leaves turns without work.
                let turns = (0..count).map(move |_| Arc::clone(&run).turn(Arc::clone(&queue)));
                Ok(futures::stream::iter(turns).map(Ok).try_buffer_unordered(at_once))
            })
            .try_flatten()
            .map_ok(|batches| futures::stream::iter(batches.into_iter().map(Ok)))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows.boxed())))
    }
}

/// The units of an input batch.
fn batch_units(job: &SweepJob, batch: &RecordBatch) -> Result<Vec<Unit>> {
    let columns = (
        batch.column_by_name("symbol").and_then(|column| column.as_string_opt::<i32>()),
        batch.column_by_name("row_from").and_then(|column| column.as_primitive_opt::<Int64Type>()),
        batch.column_by_name("row_to").and_then(|column| column.as_primitive_opt::<Int64Type>()),
    );
    let (Some(symbol), Some(from), Some(to)) = columns else {
        return Err(DataFusionError::Internal(format!(
            "SweepExec got {:?} instead of units",
            batch.schema()
        )));
    };
    let unit = |i| {
        let symbol = symbol.value(i);
        let series = job.spec.series.iter().position(|series| series.symbol == symbol).ok_or_else(|| {
            DataFusionError::Internal(format!("unit of {symbol}, which is not in the sweep"))
        })?;
        Ok(Unit { series, rows: from.value(i).cast_unsigned()..to.value(i).cast_unsigned() })
    };
    (0..batch.num_rows()).map(unit).collect()
}
