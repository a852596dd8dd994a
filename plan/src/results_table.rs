//! The tables `results` and `sweeps` over a results folder.
//!
//! `results` is every row of every complete sweep, one table: parameters of other sweeps are NULL in a row. A parameter that
//! is whole in one sweep and not in another is `Float64`.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig};
use datafusion::datasource::{MemTable, ViewTable};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col, lit};
use polybolos_engine::strategy::Strategy;
use polybolos_storage::{Location, in_parallel};

use crate::catalogue::{self, Manifest, State};
use crate::error::PlanError;
use crate::location::{Kind, table_url};
use crate::schema;

/// The `results` table; `None` when no sweep is complete yet.
///
/// # Errors
/// A manifest whose strategy does not compile any more, or a folder that cannot be listed.
pub fn results_table(
    results: &Location,
    manifests: &[Manifest],
) -> Result<Option<Arc<dyn TableProvider>>, PlanError> {
    let checked =
        in_parallel(results.requests_at_once(), manifests, |manifest| manifest.is_complete(results))?;
    let complete: Vec<&Manifest> = manifests
        .iter()
        .zip(checked)
        .filter_map(|(manifest, is_complete)| is_complete.then_some(manifest))
        .collect();
    if complete.is_empty() {
        return Ok(None);
    }
    let mut urls = Vec::new();
    for manifest in &complete {
        for series in &manifest.series {
            let file = catalogue::result_file(results, &manifest.sweep_id, &series.symbol);
            urls.push(table_url(&file, Kind::File).map_err(|reason| PlanError::file(&file, reason))?);
        }
    }
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
    let config = ListingTableConfig::new_with_multi_paths(urls)
        .with_listing_options(options)
        .with_schema(merged_schema(&complete)?);
    Ok(Some(Arc::new(ListingTable::try_new(config)?)))
}

/// One schema for all sweeps: labels, the parameters of all in the order in which they are first met, metrics.
fn merged_schema(manifests: &[&Manifest]) -> Result<SchemaRef, PlanError> {
    let mut params: Vec<Field> = Vec::new();
    for manifest in manifests {
        let spec = manifest.spec()?;
        let strategy = Strategy::parse(&spec.request.source, &spec.request.overrides)?;
        for field in schema::param_fields(strategy.space()) {
            match params.iter_mut().find(|known| known.name() == field.name()) {
                None => params.push(field.with_nullable(true)),
                Some(known) if known.data_type() != field.data_type() => {
                    known.set_data_type(DataType::Float64)
                }
                Some(_) => {}
            }
        }
    }
    Ok(schema::results_with(params.into_iter()))
}

/// The `sweeps` table: one row per sweep of the catalogue, unfinished ones included.
///
/// # Errors
/// Arrow refuses the columns (an internal fault).
pub fn sweeps_table(manifests: &[Manifest]) -> Result<Arc<dyn TableProvider>, PlanError> {
    let batch = sweeps_batch(manifests)?;
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}

/// [`sweeps_table`] as a view of literal rows: a table in memory cannot be sent to executors.
///
/// # Errors
/// DataFusion refuses the rows (an internal fault).
pub fn sweeps_view(manifests: &[Manifest]) -> Result<Arc<dyn TableProvider>, PlanError> {
    let batch = sweeps_batch(manifests)?;
    let literal = |row: usize, column: &ArrayRef| match row < batch.num_rows() {
        true => ScalarValue::try_from_array(column, row),
        false => ScalarValue::try_from(column.data_type()),
    };
    // Rows without a value have no types: an empty catalogue is one row that is filtered away.
    let rows = (0..batch.num_rows().max(1))
        .map(|row| batch.columns().iter().map(|column| Ok(lit(literal(row, column)?))).collect())
        .collect::<Result<Vec<Vec<Expr>>, DataFusionError>>()?;
    let mut plan = LogicalPlanBuilder::values(rows)?;
    if batch.num_rows() == 0 {
        plan = plan.filter(lit(false))?;
    }
    // Literal rows lose the names of their columns on the way; a projection keeps them.
    let names = batch.schema();
    let named = names.fields().iter().enumerate();
    let named = named.map(|(index, field)| col(format!("column{}", index + 1)).alias(field.name()));
    Ok(Arc::new(ViewTable::new(plan.project(named)?.build()?, None)))
}

fn sweeps_batch(manifests: &[Manifest]) -> Result<RecordBatch, PlanError> {
    let text = |get: fn(&Manifest) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(manifests.iter().map(get)))
    };
    let count = |get: fn(&Manifest) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(manifests.iter().map(|manifest| get(manifest).cast_signed())))
    };
    let number = |get: fn(&Manifest) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(manifests.iter().map(get)))
    };
    let time = |get: fn(&Manifest) -> Option<i64>| -> ArrayRef {
        Arc::new(TimestampMillisecondArray::from_iter(manifests.iter().map(get)).with_timezone("UTC"))
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("sweep_id", text(|manifest| manifest.sweep_id.clone())),
        ("state", text(|manifest| state_name(manifest.state).to_owned())),
        ("started", time(|manifest| Some(manifest.started_ms))),
        ("finished", time(|manifest| manifest.finished_ms)),
        ("strategy", text(|manifest| manifest.strategy.name.clone())),
        ("strategy_digest", text(|manifest| manifest.strategy.digest.clone())),
        ("engine_version", text(|manifest| manifest.engine_version.clone())),
        ("backend", text(|manifest| manifest.backend.clone())),
        ("precision", text(|manifest| manifest.precision.clone())),
        ("interval", text(|manifest| manifest.interval.clone())),
        ("symbols", count(|manifest| manifest.series.len() as u64)),
        ("bars", count(|manifest| manifest.series.iter().map(|series| series.bars).sum())),
        ("combos", count(|manifest| manifest.combos)),
        ("rows", count(|manifest| manifest.rows)),
        ("bar_combos", count(|manifest| manifest.bar_combos)),
        ("seconds", number(|manifest| manifest.seconds)),
        ("kernel_seconds", number(|manifest| manifest.kernel_seconds)),
        ("data", text(|manifest| manifest.data.clone())),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), *name == "finished"))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(schema, arrays).map_err(|error| PlanError::Query(error.to_string()))
}

/// The word for a state.
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Unfinished => "unfinished",
        State::Complete => "complete",
    }
}
