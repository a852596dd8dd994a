//! Rows from Arrow record batches, for Parquet and feather files alike.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema, TimeUnit};
use polybolos_kernels::bars::Column;

use super::Rows;
use super::header::Layout;
use super::time::{plausible, time_from_float, time_from_number, time_from_text};
use crate::DataError;
use crate::parquet_bars::VALUES;

/// pandas' name for a row index that has none; bars are often indexed by their time.
const PANDAS_INDEX: &str = "__index_level_0__";

/// The layout of a file's columns.
pub(crate) fn layout(name: &str, schema: &Schema, rows: &mut Rows) -> Result<Layout, DataError> {
    let names = schema.fields().iter().map(|field| match field.name().as_str() {
        PANDAS_INDEX if matches!(field.data_type(), DataType::Timestamp(..)) => "datetime",
        name => name,
    });
    let layout = Layout::from_names(names).map_err(|reason| DataError::bad_file(name, reason))?;
    rows.has_columns(&layout);
    Ok(layout)
}

/// Adds the rows of a batch; `first_row` counts from 1.
pub(crate) fn add(
    name: &str,
    batch: &RecordBatch,
    layout: &Layout,
    first_row: u64,
    rows: &mut Rows,
) -> Result<(), DataError> {
    let bad = |reason: String| DataError::bad_file(name, reason);
    let times = Times::from_array(batch.column(layout.time)).map_err(bad)?;
    let mut columns: [Option<Float64Array>; VALUES] = Default::default();
    for (index, (column, position)) in columns.iter_mut().zip(layout.values).enumerate() {
        if let Some(position) = position {
            let stored = Column::ALL[index + 1];
            *column = Some(numbers(stored.name(), batch.column(position)).map_err(bad)?);
        }
    }
    for row in 0..batch.num_rows() {
        let number = first_row + row as u64;
        rows.add(number, parse(&times, &columns, row));
    }
    Ok(())
}

fn parse(
    times: &Times,
    columns: &[Option<Float64Array>; VALUES],
    row: usize,
) -> Result<(i64, [f64; VALUES]), String> {
    let time_ms = times.ms(row)?;
    let mut values = [0.0; VALUES];
    for (index, column) in columns.iter().enumerate() {
        if let Some(column) = column {
            if column.is_null(row) {
                return Err(format!("{} is empty", Column::ALL[index + 1].name()));
            }
            values[index] = column.value(row);
        }
    }
    Ok((time_ms, values))
}

fn numbers(column: &str, array: &ArrayRef) -> Result<Float64Array, String> {
    if !array.data_type().is_numeric() {
        return Err(format!("column {column} is of type {}, not a number", array.data_type()));
    }
    let cast = cast(array, &DataType::Float64).map_err(|error| format!("column {column}: {error}"))?;
    Ok(cast.as_primitive::<Float64Type>().clone())
}

/// A time column in the unit its type or its values tell.
enum Times {
    /// Timestamps: the value and how it becomes milliseconds.
    Typed(Int64Array, TimeUnit),
    Whole(Int64Array),
    Fractional(Float64Array),
    Text(StringArray),
}

impl Times {
    fn from_array(array: &ArrayRef) -> Result<Times, String> {
        let to =
            |data_type: &DataType| cast(array, data_type).map_err(|error| format!("time column: {error}"));
        let integers = |array: &ArrayRef| array.as_primitive::<Int64Type>().clone();
        Ok(match array.data_type() {
            DataType::Timestamp(unit, _) => Times::Typed(integers(&to(&DataType::Int64)?), *unit),
            DataType::Date32 | DataType::Date64 => {
                let dates =
                    cast(&to(&DataType::Date64)?, &DataType::Int64).map_err(|error| error.to_string())?;
                Times::Typed(integers(&dates), TimeUnit::Millisecond)
            }
            DataType::Float32 | DataType::Float64 => {
                Times::Fractional(to(&DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Times::Text(to(&DataType::Utf8)?.as_string::<i32>().clone())
            }
            integer if integer.is_integer() => Times::Whole(integers(&to(&DataType::Int64)?)),
            other => return Err(format!("the time column is of type {other}, not a time")),
        })
    }

    fn ms(&self, row: usize) -> Result<i64, String> {
        let is_empty = match self {
            Times::Typed(array, _) | Times::Whole(array) => array.is_null(row),
            Times::Fractional(array) => array.is_null(row),
            Times::Text(array) => array.is_null(row),
        };
        if is_empty {
            return Err("the time is empty".to_owned());
        }
        match self {
            Times::Typed(array, unit) => typed_ms(array.value(row), *unit),
            Times::Whole(array) => time_from_number(array.value(row)),
            Times::Fractional(array) => time_from_float(array.value(row)),
            Times::Text(array) => time_from_text(array.value(row)),
        }
    }
}

fn typed_ms(value: i64, unit: TimeUnit) -> Result<i64, String> {
    let per_ms = match unit {
        TimeUnit::Second => return plausible(value.saturating_mul(1000)),
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 1000,
        TimeUnit::Nanosecond => 1_000_000,
    };
    if value % per_ms == 0 {
        plausible(value / per_ms)
    } else {
        Err(format!("time {value} is not a whole millisecond"))
    }
}
