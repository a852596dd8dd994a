//! A sweep as a SQL table: `SweepTable`, and `sweep('strategy.yaml', 'BTCUSDT,ETHUSDT', '1h', ...)` that makes one.
//!
//! The table carries a compact request, never a grid. Scanning it looks at the bars, cuts the sweep into units and puts a
//! [`SweepExec`] over them; on a cluster that happens on the scheduler.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use polybolos_engine::strategy::Strategy;
use polybolos_engine::sweep::{SeriesId, SweepRequest, SweepSpec, Symbols, Unit};
use polybolos_market_data::Dataset;
use polybolos_storage::Location;

use crate::error::PlanError;
use crate::runtime::SweepRuntime;
use crate::schema;
use crate::sweep_exec::{Output, SweepExec};
use crate::unit::SweepJob;

/// Memory for bars that are being read at the same time.
const LOADING_BYTES: u64 = 512 << 20;

/// Bytes of memory per byte of a symbol's files while they are read, at most: they are compressed to about a third, and are there
/// beside their bars.
const MEMORY_PER_FILE_BYTE: u64 = 4;

/// A sweep that has not been planned yet.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepTable {
    /// What to run.
    pub request: SweepRequest,
    /// Bars already named by digest; empty: looked up when the table is scanned.
    pub series: Vec<SeriesId>,
    /// Dataset folder.
    pub data_root: String,
    /// Results folder for stored units, if any.
    pub results_root: Option<Location>,
    /// Largest number of rows in a unit; `None`: chosen by the number of bars.
    pub unit_rows: Option<u64>,
    /// What the table gives.
    pub output: Output,
    grid_rows: u64,
    schema: SchemaRef,
}

impl SweepTable {
    /// A table for a request; compiles the strategy to know its columns.
    ///
    /// # Errors
    /// The strategy, its interval or the keep is wrong.
    pub fn new(
        request: SweepRequest,
        data_root: String,
        results_root: Option<Location>,
        output: Output,
    ) -> std::result::Result<SweepTable, PlanError> {
        let strategy = Strategy::parse(&request.source, &request.overrides)?;
        strategy.check_interval(request.interval)?;
        request.keep.check()?;
        let schema = match output {
            Output::Rows => schema::rows(strategy.space()),
            Output::Receipts => schema::receipts(),
        };
        let grid_rows = strategy.space().len();
        let (series, unit_rows) = (Vec::new(), None);
        Ok(SweepTable { request, series, data_root, results_root, unit_rows, output, grid_rows, schema })
    }

    /// Rows of the grid before `where`, per symbol.
    pub fn grid_rows(&self) -> u64 {
        self.grid_rows
    }

    /// The symbols the sweep runs on, in order; reads no bars.
    ///
    /// # Errors
    /// All symbols are asked for and the dataset has none of the interval.
    pub fn symbols(&self) -> std::result::Result<Vec<String>, PlanError> {
        match &self.request.symbols {
            Symbols::Listed(symbols) => Ok(symbols.clone()),
            Symbols::All => self.all_symbols(),
        }
    }

    /// Names the bars of every symbol by digest and compiles the job. Blocks on file reads.
    ///
    /// # Errors
    /// A symbol has no bars (in the time range), or they cannot be read.
    pub fn job(&self, runtime: &Arc<SweepRuntime>) -> std::result::Result<SweepJob, PlanError> {
        let series = if self.series.is_empty() { self.all_series(runtime)? } else { self.series.clone() };
        let spec = SweepSpec { request: self.request.clone(), series };
        SweepJob::new(spec, self.data_root.clone(), self.results_root.clone())
    }

    fn all_symbols(&self) -> std::result::Result<Vec<String>, PlanError> {
        let dataset = Dataset::open(&self.data_root)?;
        let symbols = dataset.symbols(self.request.interval)?;
        if symbols.is_empty() {
            let there: Vec<String> = dataset.intervals()?.iter().map(ToString::to_string).collect();
            let there = if there.is_empty() { "nothing".to_owned() } else { there.join(", ") };
            return Err(PlanError::NotFound(format!(
                "{} holds no {} bars (it holds {there}); `polybolos data import`, `data fetch` or `data synth` makes some",
                self.data_root, self.request.interval
            )));
        }
        Ok(symbols)
    }

    /// Reads the bars of all symbols, those with the largest files first: the last ones are short. The threads that compute do it:
    /// each will compute in the memory that its reading leaves.
    fn all_series(&self, runtime: &Arc<SweepRuntime>) -> std::result::Result<Vec<SeriesId>, PlanError> {
        let symbols = self.symbols()?;
        let bytes = Dataset::open(&self.data_root)
            .and_then(|dataset| dataset.stored_bytes(&symbols, self.request.interval))
            // What is wrong with it, loading will say.
            .unwrap_or_else(|_| vec![0; symbols.len()]);
        let mut order: Vec<(usize, (u64, String))> = bytes.into_iter().zip(symbols).enumerate().collect();
        order.sort_by_key(|&(_, (bytes, _))| Reverse(bytes));
        let largest = order.first().map_or(0, |&(_, (bytes, _))| bytes).saturating_mul(MEMORY_PER_FILE_BYTE);
        let at_a_time = usize::try_from(LOADING_BYTES / largest.max(1)).unwrap_or(usize::MAX).max(1);
        let (table, loading, has_failed) = (self.clone(), Arc::clone(runtime), AtomicBool::new(false));
        let series = runtime.workers.share(at_a_time, order, move |(index, (_, symbol))| {
            // What is begun after an error comes after it in the order too.
            if has_failed.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let series = table.series_of(&loading, symbol);
            has_failed.fetch_or(series.is_err(), Ordering::Relaxed);
            series.map(|series| Some((index, series)))
        })?;
        let mut series: Vec<(usize, SeriesId)> =
            series.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?;
        series.sort_unstable_by_key(|(index, _)| *index);
        Ok(series.into_iter().map(|(_, series)| series).collect())
    }

    fn series_of(&self, runtime: &SweepRuntime, symbol: String) -> std::result::Result<SeriesId, PlanError> {
        let request = &self.request;
        let loaded = runtime.load(&self.data_root, &symbol, request.interval, request.timerange)?;
        if loaded.bars.is_empty() {
            return Err(PlanError::NoBars {
                symbol,
                interval: request.interval.to_string(),
                within: request.timerange.map_or_else(String::new, |_| " in the time range".to_owned()),
            });
        }
        Ok(SeriesId { symbol, data: loaded.digest, bars: loaded.bars.len() as u64 })
    }
}

/// Most units that one SQL query may plan. A larger sweep is run by the sweep command, which plans it piece by piece.
const MAX_QUERY_UNITS: usize = 1 << 16;

/// The plan of some units of a job: one partition each.
///
/// # Errors
/// DataFusion refuses the source (an internal fault).
pub fn plan_units(job: &Arc<SweepJob>, units: &[Unit], output: Output) -> Result<Arc<SweepExec>> {
    plan_groups(job, units.chunks(1), output)
}

/// The plan of some groups of units of a job: one partition per group. The units of a group go to whoever is free, many at
/// once to a GPU.
///
/// # Errors
/// DataFusion refuses the source (an internal fault).
pub(crate) fn plan_groups<'u>(
    job: &Arc<SweepJob>,
    groups: impl Iterator<Item = &'u [Unit]>,
    output: Output,
) -> Result<Arc<SweepExec>> {
    let symbol = |unit: &Unit| job.spec.series.get(unit.series).map_or("", |series| series.symbol.as_str());
    let partitions = groups
        .map(|units| {
            let from = units.iter().map(|unit| unit.rows.start.cast_signed());
            let to = units.iter().map(|unit| unit.rows.end.cast_signed());
            let batch = RecordBatch::try_new(
                schema::units(),
                vec![
                    Arc::new(StringArray::from_iter_values(units.iter().map(symbol))),
                    Arc::new(Int64Array::from_iter_values(from)),
                    Arc::new(Int64Array::from_iter_values(to)),
                ],
            )?;
            Ok(vec![batch])
        })
        .collect::<Result<Vec<_>>>()?;
    // Sizes would list one number per unit in every printed plan.
    let source = MemorySourceConfig::try_new(&partitions, schema::units(), None)?.with_show_sizes(false);
    let leaf = Arc::new(DataSourceExec::new(Arc::new(source)));
    Ok(Arc::new(SweepExec::new(Arc::clone(job), output, leaf)))
}

#[async_trait]
impl TableProvider for SweepTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// A filter on the symbol leaves units out before anything is computed; it is checked again on the rows.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match symbols_allowed(filter) {
                Some(_) => TableProviderFilterPushDown::Inexact,
                None => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let runtime = SweepRuntime::of(session.config());
        let table = self.clone();
        let job = tokio::task::spawn_blocking(move || table.job(&runtime))
            .await
            .map_err(|error| DataFusionError::Execution(error.to_string()))??;
        let job = Arc::new(job);
        let allowed: Vec<Vec<String>> = filters.iter().filter_map(symbols_allowed).collect();
        let units: Vec<Unit> = job
            .spec
            .units(job.strategy.space().len(), self.unit_rows)
            .filter(|unit| {
                let symbol = &job.spec.series[unit.series].symbol;
                allowed.iter().all(|symbols| symbols.contains(symbol))
            })
            .take(MAX_QUERY_UNITS + 1)
            .collect();
        if units.len() > MAX_QUERY_UNITS {
            return Err(DataFusionError::Plan(format!(
                "the sweep has more than {MAX_QUERY_UNITS} units of work, too many for one query; run it with \
                 `polybolos sweep` and query the `results` table"
            )));
        }
        let sweep: Arc<dyn ExecutionPlan> = plan_units(&job, &units, self.output)?;
        match projection {
            None => Ok(sweep),
            Some(columns) => {
                let expressions: Vec<(Arc<dyn PhysicalExpr>, String)> = columns
                    .iter()
                    .map(|&index| {
                        let name = self.schema.field(index).name();
                        (Arc::new(PhysicalColumn::new(name, index)) as Arc<dyn PhysicalExpr>, name.clone())
                    })
                    .collect();
                Ok(Arc::new(ProjectionExec::try_new(expressions, sweep)?))
            }
        }
    }
}

/// The symbols for which a filter can be true, if it is `symbol = 'X'` or `symbol IN (...)`.
fn symbols_allowed(filter: &Expr) -> Option<Vec<String>> {
    let is_symbol = |expr: &Expr| matches!(expr, Expr::Column(Column { name, .. }) if name == "symbol");
    let text = |expr: &Expr| match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => {
            Some(text.clone())
        }
        _ => None,
    };
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if is_symbol(left) => {
            text(right).map(|symbol| vec![symbol])
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if is_symbol(right) => {
            text(left).map(|symbol| vec![symbol])
        }
        Expr::InList(list) if !list.negated && is_symbol(&list.expr) => list.list.iter().map(text).collect(),
        _ => None,
    }
}
