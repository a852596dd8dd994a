//! Arrow schemas of everything a sweep reads and writes, and the conversions between rows and columns.
//!
//! *Units* go in, *receipts* or *rows* come out; *statistics* are what a unit's file holds; *results* are the table that
//! users read. Result columns are derived from the parameter space and the metrics table.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use polybolos_engine::metrics::{Kind, METRICS, Metric, MetricContext};
use polybolos_engine::space::{Param, ParamSpace};
use polybolos_kernels::stats::Stats;

use crate::rows_file::{MakeColumn, Row};

/// One unit of work: `symbol, row_from, row_to` (half-open, rows of the full grid).
pub fn units() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("symbol", DataType::Utf8, false),
        Field::new("row_from", DataType::Int64, false),
        Field::new("row_to", DataType::Int64, false),
    ]))
}

/// One unit that has ended: its span, what was simulated and kept, whether it was found in the store, and why it can never be
/// done (NULL if it is done).
pub fn receipts() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("symbol", DataType::Utf8, false),
        Field::new("row_from", DataType::Int64, false),
        Field::new("row_to", DataType::Int64, false),
        Field::new("combos", DataType::Int64, false),
        Field::new("rows", DataType::Int64, false),
        Field::new("reused", DataType::Boolean, false),
        Field::new("failure", DataType::Utf8, true),
    ]))
}

/// Arrow type of a parameter's column: whole numbers when all its values are.
fn param_type(space: &ParamSpace, index: usize) -> DataType {
    if space.is_integer(index) { DataType::Int64 } else { DataType::Float64 }
}

/// Arrow type of a metric's column.
fn metric_type(metric: &Metric) -> DataType {
    match metric.kind {
        Kind::Integer => DataType::Int64,
        Kind::Real => DataType::Float64,
    }
}

/// Whether a metric needs all trials of the sweep and is therefore missing while units are still being computed.
fn needs_all_trials(metric: &Metric) -> bool {
    metric.name == "dsr"
}

fn label_fields() -> Vec<Field> {
    vec![
        Field::new("row", DataType::Int64, false),
        Field::new("symbol", DataType::Utf8, false),
        Field::new("interval", DataType::Utf8, false),
    ]
}

pub(crate) fn param_fields(space: &ParamSpace) -> impl Iterator<Item = Field> + '_ {
    let typed = |(index, param): (usize, &Param)| Field::new(&param.name, param_type(space, index), false);
    space.params().iter().enumerate().map(typed)
}

fn metric_field(metric: &Metric) -> Field {
    Field::new(metric.name, metric_type(metric), true)
}

/// Rows as they leave a unit: the result table without `sweep_id` and `dsr`, which need the whole sweep.
pub fn rows(space: &ParamSpace) -> SchemaRef {
    let mut fields = label_fields();
    fields.extend(param_fields(space));
    fields.extend(METRICS.iter().filter(|metric| !needs_all_trials(metric)).map(metric_field));
    Arc::new(Schema::new(fields))
}

/// The result table: `sweep_id, row, symbol, interval`, the parameters, the metrics.
pub fn results(space: &ParamSpace) -> SchemaRef {
    results_with(param_fields(space))
}

/// The result table with the given parameter columns.
pub(crate) fn results_with(params: impl Iterator<Item = Field>) -> SchemaRef {
    let mut fields = vec![Field::new("sweep_id", DataType::Utf8, false)];
    fields.extend(label_fields());
    fields.extend(params);
    fields.extend(METRICS.iter().map(metric_field));
    Arc::new(Schema::new(fields))
}

/// Who the rows of a batch belong to.
pub struct RowLabels<'a> {
    /// Present in the result table only.
    pub sweep_id: Option<&'a str>,
    /// The symbol of all rows.
    pub symbol: &'a str,
    /// The interval of all rows.
    pub interval: &'a str,
}

/// Builds a batch of rows or results.
///
/// # Errors
/// Arrow refuses the columns (an internal fault).
pub fn row_batch(
    schema: &SchemaRef,
    space: &ParamSpace,
    labels: &RowLabels<'_>,
    rows: &[(u64, Stats)],
    context: &MetricContext,
) -> Result<RecordBatch, ArrowError> {
    let column = |field| row_column(field, space, labels, rows, context);
    RecordBatch::try_new(Arc::clone(schema), schema.fields().iter().map(|field| column(field)).collect())
}

/// One column of rows or results: parameters from the row numbers, metrics from the statistics.
pub(crate) fn row_column(
    field: &Field,
    space: &ParamSpace,
    labels: &RowLabels<'_>,
    rows: &[(u64, Stats)],
    context: &MetricContext,
) -> ArrayRef {
    let repeat = |text: &str| Arc::new(StringArray::from_iter_values(rows.iter().map(|_| text))) as ArrayRef;
    match field.name().as_str() {
        "sweep_id" => repeat(labels.sweep_id.unwrap_or_default()),
        "symbol" => repeat(labels.symbol),
        "interval" => repeat(labels.interval),
        "row" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|(row, _)| row.cast_signed()))),
        name => match METRICS.iter().find(|metric| metric.name == name) {
            Some(metric) => metric_column(metric, rows, context),
            None => {
                let index = space.params().iter().position(|param| param.name == name);
                let mut values = vec![0.0; space.params().len()];
                let value = |&(row, _): &(u64, Stats)| {
                    space.fill(row, &mut values);
                    index.and_then(|index| values.get(index).copied())
                };
                number_column(field.data_type(), rows.iter().map(value))
            }
        },
    }
}

fn metric_column(metric: &Metric, rows: &[(u64, Stats)], context: &MetricContext) -> ArrayRef {
    number_column(&metric_type(metric), rows.iter().map(|(_, stats)| metric.compute(stats, context)))
}

/// A column of whole or real numbers; whole ones come from exact `f64` values.
fn number_column(ty: &DataType, values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    match ty {
        DataType::Int64 => Arc::new(Int64Array::from_iter(values.map(|value| value.map(|v| v as i64)))),
        _ => Arc::new(Float64Array::from_iter(values)),
    }
}

/// Reads column `name` of a result row as a number; `None` where it is NULL or not a number.
pub fn number_at(batch: &RecordBatch, name: &str, row: usize) -> Option<f64> {
    let column = batch.column_by_name(name)?;
    if row >= column.len() || column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Int64 => column.as_primitive_opt::<Int64Type>().map(|values| values.value(row) as f64),
        DataType::Float64 => column.as_primitive_opt::<Float64Type>().map(|values| values.value(row)),
        _ => None,
    }
}

/// Declares the columns of a unit's file: every field of [`Stats`], by name, in order. The compiler checks that none is
/// forgotten, because reading back builds the struct without a rest.
macro_rules! stats_columns {
    ($($field:ident: $kind:ident),+ $(,)?) => {
        /// Schema of a unit's file: `row` and the fields of [`Stats`].
        pub fn statistics() -> SchemaRef {
            Arc::new(Schema::new(vec![
                Field::new("row", DataType::Int64, false),
                $(Field::new(stringify!($field), stats_columns!(@type $kind), false)),+
            ]))
        }

        /// Columns of a unit's file, in the schema's order.
        pub(crate) fn statistics_columns() -> Vec<MakeColumn> {
            vec![
                Box::new(|rows: &[Row]| {
                    Arc::new(Int64Array::from_iter_values(rows.iter().map(|(row, _)| row.cast_signed())))
                }),
                $(Box::new(|rows: &[Row]| {
                    stats_columns!(@write $kind, rows.iter().map(|(_, stats)| stats.$field))
                })),+
            ]
        }

        /// Rows of a unit's file; `None` when a column is missing, has another type or holds a NULL.
        pub fn statistics_rows(batch: &RecordBatch) -> Option<Vec<(u64, Stats)>> {
            if batch.columns().iter().any(|column| column.null_count() > 0) {
                return None;
            }
            let row = batch.column_by_name("row")?.as_primitive_opt::<Int64Type>()?;
            $(let $field = stats_columns!(@read $kind, batch.column_by_name(stringify!($field))?);)+
            Some((0..batch.num_rows())
                .map(|i| (row.value(i).cast_unsigned(), Stats { $($field: stats_columns!(@value $kind, $field, i)),+ }))
                .collect())
        }
    };
    (@type count) => { DataType::Int64 };
    (@type number) => { DataType::Float64 };
    (@type flag) => { DataType::Boolean };
    (@write count, $values:expr) => { Arc::new(Int64Array::from_iter_values($values.map(u64::cast_signed))) };
    (@write number, $values:expr) => { Arc::new(Float64Array::from_iter_values($values)) };
    (@write flag, $values:expr) => { Arc::new(BooleanArray::from_iter($values.map(Some))) };
    (@read count, $column:expr) => { $column.as_primitive_opt::<Int64Type>()? };
    (@read number, $column:expr) => { $column.as_primitive_opt::<Float64Type>()? };
    (@read flag, $column:expr) => { $column.as_boolean_opt()? };
    (@value count, $column:ident, $i:ident) => { $column.value($i).cast_unsigned() };
    (@value number, $column:ident, $i:ident) => { $column.value($i) };
    (@value flag, $column:ident, $i:ident) => { $column.value($i) };
}

stats_columns! {
    final_equity: number,
    observations: count,
    returns_defined: flag,
    mean_return: number,
    m2: number,
    m3: number,
    m4: number,
    downside: number,
    max_drawdown: number,
    trades: count,
    long_trades: count,
    short_trades: count,
    wins: count,
    gross_profit: number,
    gross_loss: number,
    pnl_sum: number,
    pnl_m2: number,
    trade_return_sum: number,
    best_trade: number,
    worst_trade: number,
    max_consecutive_losses: count,
    bars_held: count,
    bars_in_position: count,
    fees: number,
    ambiguous_bars: count,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_survive_the_file_form_bit_for_bit() {
        let stats = Stats {
            final_equity: 0.1 + 0.2,
            observations: 7,
            returns_defined: true,
            m3: -0.0,
            worst_trade: f64::MIN_POSITIVE,
            ambiguous_bars: 3,
            ..Stats::default()
        };
        let rows = vec![(5, stats), (u64::from(u32::MAX), Stats::default())];
        let columns = statistics_columns().iter().map(|make| make(&rows)).collect();
        let batch = RecordBatch::try_new(statistics(), columns).ok();
        let back = batch.and_then(|batch| statistics_rows(&batch)).unwrap_or_default();
        assert_eq!(back, rows);
        assert_eq!(back[0].1.m3.to_bits(), (-0.0f64).to_bits());
    }
}
