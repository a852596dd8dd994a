//! The result files of a sweep: written from finished units, read for export and replay.
//!
//! One Parquet file per symbol, rows ascending, the same bytes whatever the units, threads or machines that computed them.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::functions_aggregate::expr_fn::avg;
use datafusion::logical_expr::{cast, ident};
use datafusion::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use polybolos_engine::metrics::{MetricContext, TrialStats};
use polybolos_engine::space::ParamSpace;
use polybolos_engine::sweep::{Keep, Ranking, SeriesId, Unit};
use polybolos_kernels::stats::Stats;
use polybolos_kernels::sweep::Sweep;
use polybolos_storage::{Location, OpenFile, Staged};
use serde_json::json;

use crate::bars_table::runtime_builder;
use crate::catalogue::{Manifest, TrialsRecord, result_file};
use crate::error::PlanError;
use crate::finished_units::{FinishedUnits, RecentUnits};
use crate::kept::Kept;
use crate::results_table;
use crate::rows_file::{MakeColumn, ROW_GROUP_ROWS, Row, RowsTable, properties, stage_rows};
use crate::runtime::SweepRuntime;
use crate::schema::{self, RowLabels, number_at};
use crate::top::Best;
use crate::unit::SweepJob;

/// Key of the provenance in the Parquet metadata.
pub const PROVENANCE_KEY: &str = "polybolos.sweep";

/// What became of one symbol.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SeriesTotals {
    /// Combinations simulated.
    pub(crate) combos: u64,
    /// Rows in the result file.
    pub(crate) rows: u64,
    /// Statistics over the trials.
    pub(crate) trials: TrialStats,
    /// The best rows in the result file, as many as were asked for.
    pub(crate) best: Option<RecordBatch>,
}

/// Writes the result file of one symbol from its units, all but the waiting for the disk; a unit whose file was lost or damaged
/// is computed again. Blocks.
///
/// # Errors
/// A unit cannot be had or the file cannot be written; [`PlanError::Cancelled`].
pub(crate) fn stage_series(
    job: &SweepJob,
    runtime: &SweepRuntime,
    results: &Location,
    manifest: &Manifest,
    series: &SeriesId,
    (units, recent): (&[Unit], &RecentUnits),
    best: Option<&Best>,
) -> Result<(Staged, SeriesTotals), PlanError> {
    let mut finished = FinishedUnits::new(job, runtime, recent, units, results.requests_at_once())?;
    let (combos, trials) = (finished.combos, finished.trials.finish());
    if combos == 0 {
        return Err(PlanError::NoCombination { rows: job.strategy.space().len() });
    }
    let bars = job.bars(runtime, series)?;
    let context = MetricContext::new(&bars.bars, &job.strategy.config()).with_trials(trials);
    let place = result_file(results, &manifest.sweep_id, &series.symbol);
    let metadata = vec![KeyValue::new(PROVENANCE_KEY.to_owned(), provenance(manifest, series, &context))];
    let table = || symbol_table(job, &manifest.sweep_id, &series.symbol, context);
    let mut best = best.map(|best| Kept::new(&best.keep())).transpose()?;
    let mut written = 0;
    let file = stage_rows(&place, properties(metadata), table(), &runtime.workers, |writer| {
        let mut write = |rows: Vec<Row>| {
            written += rows.len() as u64;
            if let Some(best) = &mut best {
                best.extend_from(&rows, &context);
            }
            writer.write(rows)
        };
        match &job.spec.request.keep {
            Keep::All => {
                // In blocks in which units have no say: how rows are handed over shows in the pages of the file.
                let mut block = Vec::new();
                finished.for_each(|result| {
                    block.extend(result.rows);
                    while block.len() >= ROW_GROUP_ROWS {
                        let rest = block.split_off(ROW_GROUP_ROWS);
                        write(std::mem::replace(&mut block, rest))?;
                    }
                    Ok(())
                })?;
                if block.is_empty() { Ok(()) } else { write(block) }
            }
            keep @ Keep::Top { .. } => {
                let mut kept = Kept::new(keep)?;
                finished.for_each(|result| {
                    kept.extend(result.rows.into_iter(), &context);
                    Ok(())
                })?;
                kept.finish(&context).chunks(ROW_GROUP_ROWS).try_for_each(|rows| write(rows.to_vec()))
            }
        }
    })?;
    let best = best.map(|best| table().batch(&best.finish(&context))).transpose();
    let best = best.map_err(|error| PlanError::Query(format!("the best rows: {error}")))?;
    Ok((file, SeriesTotals { combos, rows: written, trials, best }))
}

/// The result table of one symbol.
fn symbol_table(job: &SweepJob, sweep_id: &str, symbol: &str, context: MetricContext) -> RowsTable {
    struct Shared {
        space: ParamSpace,
        sweep_id: String,
        symbol: String,
        interval: &'static str,
        context: MetricContext,
    }
    let space = job.strategy.space();
    let shared = Arc::new(Shared {
        space: space.clone(),
        sweep_id: sweep_id.to_owned(),
        symbol: symbol.to_owned(),
        interval: job.spec.request.interval.name(),
        context,
    });
    let schema = schema::results(space);
    let column = |field: &FieldRef| -> MakeColumn {
        let (shared, field) = (Arc::clone(&shared), Arc::clone(field));
        Box::new(move |rows| {
            let Shared { space, sweep_id, symbol, interval, context } = shared.as_ref();
            let labels = RowLabels { sweep_id: Some(sweep_id), symbol, interval };
            schema::row_column(&field, space, &labels, rows, context)
        })
    };
    RowsTable { columns: schema.fields().iter().map(column).collect(), schema }
}

/// What decided the rows of a file, as JSON: nothing about when, where or how fast, so not the document's path either.
fn provenance(manifest: &Manifest, series: &SeriesId, context: &MetricContext) -> String {
    let trials = context.trials.map(trials_record);
    let strategy = &manifest.strategy;
    json!({
        "sweep_id": manifest.sweep_id,
        "engine_version": manifest.engine_version,
        "backend": manifest.backend,
        "precision": manifest.precision,
        "trade_mismatch": manifest.trade_mismatch,
        "seed": manifest.seed,
        "strategy": {
            "name": strategy.name,
            "digest": strategy.digest,
            "format": strategy.format,
            "text": strategy.text,
            "overrides": strategy.overrides,
        },
        "params": manifest.params,
        "interval": manifest.interval,
        "from_ms": manifest.from_ms,
        "to_ms": manifest.to_ms,
        "keep": manifest.keep,
        "symbol": series.symbol,
        "data_digest": series.data.to_string(),
        "bars": series.bars,
        "trials": trials,
    })
    .to_string()
}

/// Trials as the catalogue keeps them.
pub(crate) fn trials_record(trials: TrialStats) -> TrialsRecord {
    TrialsRecord { count: trials.count, sharpe_variance: trials.sharpe_variance }
}

/// The rows of a complete sweep as a table to query, symbol by symbol in one stream: floating-point sums over it are made in
/// one order and have the same bits on every machine.
///
/// # Errors
/// Result files that cannot be read.
pub fn frame(results: &Location, manifest: &Manifest) -> Result<DataFrame, PlanError> {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().execution.parquet.schema_force_view_types = false;
    let context = SessionContext::new_with_config_rt(config, Arc::new(runtime_builder().build()?));
    let table = results_table::results_table(results, std::slice::from_ref(manifest))?.ok_or_else(|| {
        PlanError::NotFound(format!("the result files of {} are not all there", manifest.sweep_id))
    })?;
    Ok(context.read_table(table)?)
}

/// The means of a metric over all rows that have the same values of one or two parameters: columns `x`, `y` (if asked for) and
/// `value`, in no order. Rows whose metric is undefined do not count; a mean of none is NULL.
///
/// # Errors
/// An unknown metric or parameter, or result files that cannot be read.
pub async fn means(
    results: &Location,
    manifest: &Manifest,
    x: &str,
    y: Option<&str>,
    metric: &str,
) -> Result<Vec<RecordBatch>, PlanError> {
    let ranking = Ranking { metric: metric.to_owned(), min_trades: 0 };
    let metric = ranking.metric()?;
    let number = |name: &str| cast(ident(name), DataType::Float64);
    let parameter = |name: &str| {
        manifest.params.iter().any(|param| param.name == name).then(|| number(name)).ok_or_else(|| {
            PlanError::NotFound(format!("sweep {} has no parameter `{name}`", manifest.sweep_id))
        })
    };
    let mut keys = vec![parameter(x)?.alias("x")];
    if let Some(y) = y {
        keys.push(parameter(y)?.alias("y"));
    }
    let (results, manifest) = (results.clone(), manifest.clone());
    let frame = tokio::task::spawn_blocking(move || frame(&results, &manifest));
    let frame = frame.await.map_err(|error| PlanError::Query(error.to_string()))??;
    let means = frame.aggregate(keys, vec![avg(number(metric.name)).alias("value")])?;
    Ok(means.collect().await?)
}

/// Every row of a complete sweep, batch by batch, symbol by symbol. Blocks.
pub fn rows<'a>(
    results: &'a Location,
    manifest: &'a Manifest,
) -> impl Iterator<Item = Result<RecordBatch, PlanError>> + 'a {
    manifest.series.iter().flat_map(move |series| {
        let place = result_file(results, &manifest.sweep_id, &series.symbol);
        match open(&place) {
            Ok(batches) => Batches::Readable { batches, place },
            Err(error) => Batches::Unreadable(Some(error)),
        }
    })
}

/// The batches of one result file, or why there are none.
enum Batches {
    Readable { batches: ParquetRecordBatchReader, place: Location },
    Unreadable(Option<PlanError>),
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, PlanError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Batches::Readable { batches, place } => {
                Some(batches.next()?.map_err(|error| PlanError::file(place, error)))
            }
            Batches::Unreadable(error) => error.take().map(Err),
        }
    }
}

fn open(place: &Location) -> Result<ParquetRecordBatchReader, PlanError> {
    ParquetRecordBatchReaderBuilder::<OpenFile>::try_new(place.open()?)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| PlanError::parquet(place, error))
}

/// One row computed again, beside the stored one.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The symbol.
    pub symbol: String,
    /// The row as it was recomputed, in the shape of the result table.
    pub recomputed: RecordBatch,
    /// The stored row; `None` if the sweep did not keep it.
    pub stored: Option<RecordBatch>,
    /// Columns that are not equal to the bit, with both values.
    pub differences: Vec<Difference>,
}

/// A column of a replayed row that did not come out the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The column.
    pub column: String,
    /// What the file says.
    pub stored: Option<f64>,
    /// What came out now.
    pub recomputed: Option<f64>,
}

/// Recomputes one row of a sweep on one symbol and compares it with the stored one, bit for bit. Blocks.
///
/// # Errors
/// The bars have changed or cannot be read, the row is outside the grid or excluded by `where`, or the result file
/// cannot be read.
pub fn replay(
    results: &Location,
    manifest: &Manifest,
    job: &SweepJob,
    runtime: &SweepRuntime,
    symbol: &str,
    row: u64,
) -> Result<Replay, PlanError> {
    let space = job.strategy.space();
    if row >= space.len() {
        return Err(PlanError::NotFound(format!(
            "row {row} is outside the grid of {} ({} rows, counted from 0)",
            manifest.sweep_id,
            space.len()
        )));
    }
    let mut values = vec![0.0; space.params().len()];
    space.fill(row, &mut values);
    if !space.is_valid(&values) {
        return Err(PlanError::NotFound(format!("row {row} is excluded by `where`: it was never run")));
    }
    let series = job
        .spec
        .series
        .iter()
        .zip(&manifest.series)
        .find(|(series, _)| series.symbol == symbol)
        .ok_or_else(|| PlanError::NotFound(format!("{} has no symbol {symbol}", manifest.sweep_id)))?;
    let loaded = job.bars(runtime, series.0)?;
    let trials = series
        .1
        .trials
        .map(|trials| TrialStats { count: trials.count, sharpe_variance: trials.sharpe_variance });
    let config = job.strategy.config();
    let context = MetricContext { trials, ..MetricContext::new(&loaded.bars, &config) };
    let failed = |error: &dyn std::fmt::Display| PlanError::Kernel {
        symbol: symbol.to_owned(),
        row,
        reason: error.to_string(),
    };
    let mut sweep = Sweep::sharing(job.program(), &loaded.bars, &config).map_err(|error| failed(&error))?;
    let mut stats = [Stats::default()];
    sweep.run_block(&values, &mut stats, &runtime.cancel).map_err(|error| failed(&error))?;
    let rows = stats.map(|stats| (row, stats));
    let table = schema::results(space);
    let interval = job.spec.request.interval.name();
    let labels = RowLabels { sweep_id: Some(&manifest.sweep_id), symbol, interval };
    let recomputed =
        schema::row_batch(&table, space, &labels, &rows, &context).map_err(|error| failed(&error))?;
    let stored = stored_row(&result_file(results, &manifest.sweep_id, symbol), row)?;
    let differences = stored.as_ref().map_or_else(Vec::new, |stored| differences(stored, &recomputed));
    Ok(Replay { symbol: symbol.to_owned(), recomputed, stored, differences })
}

/// The row of a result file with this number; `None` if it is not there.
fn stored_row(place: &Location, row: u64) -> Result<Option<RecordBatch>, PlanError> {
    for batch in open(place)? {
        let batch = batch.map_err(|error| PlanError::file(place, error))?;
        let rows = batch.column_by_name("row").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let rows = rows.ok_or_else(|| PlanError::file(place, "has no column `row`"))?;
        // Rows are ascending, so the file is searched batch by batch.
        if let Ok(index) = rows.values().binary_search(&row.cast_signed()) {
            return Ok(Some(batch.slice(index, 1)));
        }
    }
    Ok(None)
}

fn differences(stored: &RecordBatch, recomputed: &RecordBatch) -> Vec<Difference> {
    recomputed
        .schema()
        .fields()
        .iter()
        .filter(|field| field.data_type().is_numeric())
        .map(|field| Difference {
            column: field.name().clone(),
            stored: number_at(stored, field.name(), 0),
            recomputed: number_at(recomputed, field.name(), 0),
        })
        .filter(|pair| pair.stored.map(f64::to_bits) != pair.recomputed.map(f64::to_bits))
        .collect()
}
