//! `polybolos indicators`: expressions of the strategy language as columns over a symbol's bars.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch};
use datafusion::arrow::datatypes::{Field, Schema};
use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::kernels::evaluate::{Evaluator, Value};
use polybolos_engine::strategy::compile_expressions;
use polybolos_market_data::Dataset;
use serde_json::json;

use crate::args::IndicatorsArgs;
use crate::commands::{Style, results};
use crate::error::CliError;
use crate::output::{self, thousands};

/// Rows of the table that people get; files and JSON have all.
const SHOWN: usize = 20;

pub(crate) fn run(args: &IndicatorsArgs, style: Style) -> Result<(), CliError> {
    check_names(&args.expressions)?;
    if let Some(out) = &args.out {
        results::check_extension(out)?;
    }
    let (program, nodes) = compile_expressions(&args.expressions, args.series.interval)?;
    let bars = Dataset::open(&args.series.data.data)?.load(
        &args.series.symbol,
        args.series.interval,
        args.series.timerange,
    )?;
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let mut evaluator = Evaluator::new(&program, &bars).map_err(|error| failed(&error))?;
    let values = evaluator.values(&nodes, &[]).map_err(|error| failed(&error))?;
    let mut fields = vec![("open_time".to_owned(), output::times(bars.open_time_ms.iter().copied()))];
    for (expression, value) in args.expressions.iter().zip(&values) {
        fields.push((expression.clone(), column(expression, value, &bars)?));
    }
    let batch = batch(fields)?;
    match &args.out {
        Some(out) => write(out, &batch, style),
        None => print(&batch, style),
    }
}

/// A column is named by its text, and a table has each name once.
fn check_names(expressions: &[String]) -> Result<(), CliError> {
    for (index, expression) in expressions.iter().enumerate() {
        let taken = if expression == "open_time" {
            "is the first column already"
        } else if expressions.iter().take(index).any(|earlier| earlier == expression) {
            "is given twice"
        } else {
            continue;
        };
        return Err(CliError::Usage(format!("`{expression}` {taken}; leave it out")));
    }
    Ok(())
}

/// Numbers become Float64 and conditions Boolean; undefined is NULL.
fn column(expression: &str, value: &Value, bars: &Bars) -> Result<ArrayRef, CliError> {
    let count = bars.len();
    let defined = |value: &f64| (!value.is_nan()).then_some(*value);
    let (length, array): (usize, ArrayRef) = match value {
        Value::Number(value) => {
            (count, Arc::new(Float64Array::from_iter(std::iter::repeat_n(defined(value), count))))
        }
        Value::Bool(value) => (count, Arc::new(BooleanArray::from_iter(std::iter::repeat_n(*value, count)))),
        Value::Series(series) => {
            (series.len(), Arc::new(Float64Array::from_iter(series.iter().map(defined))))
        }
        Value::Bits(bits) => {
            (bits.len(), Arc::new(BooleanArray::from_iter((0..bits.len()).map(|t| bits.get(t)))))
        }
        Value::Bundle(_) => (0, Arc::new(BooleanArray::new_null(0))),
    };
    if length == count {
        return Ok(array);
    }
    Err(CliError::Failed(format!(
        "internal error: `{expression}` has {length} values for {count} bars; please report it with the command"
    )))
}

fn batch(columns: Vec<(String, ArrayRef)>) -> Result<RecordBatch, CliError> {
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(index, (name, array))| Field::new(name, array.data_type().clone(), index > 0))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|error| CliError::Failed(error.to_string()))
}

fn write(out: &Path, batch: &RecordBatch, style: Style) -> Result<(), CliError> {
    results::write_batch(out, batch.clone())?;
    if style.json {
        let schema = batch.schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let file = out.display().to_string();
        return output::json(&json!({ "file": file, "rows": batch.num_rows(), "columns": columns }));
    }
    output::text(&format!("{} rows written to {}", thousands(batch.num_rows() as u64), out.display()))
}

fn print(batch: &RecordBatch, style: Style) -> Result<(), CliError> {
    if style.json {
        return output::json(&output::rows_json(std::slice::from_ref(batch))?);
    }
    let hidden = batch.num_rows().saturating_sub(SHOWN);
    let last = batch.slice(hidden, batch.num_rows() - hidden);
    output::text(&output::rows_table(&[last], None)?)?;
    if hidden > 0 && !style.quiet {
        let all = thousands(batch.num_rows() as u64);
        output::message(&format!(
            "the last {SHOWN} of {all} bars; --out FILE.csv (or .parquet) or --json gives all"
        ));
    }
    Ok(())
}
