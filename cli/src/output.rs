//! Printing: one result on stdout as text or JSON, messages on stderr.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, TimestampMillisecondArray};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::arrow::json::writer::{JsonArray, WriterBuilder};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::Serialize;
use serde_json::Value;

use crate::error::CliError;

/// Writes text to stdout, with a final newline.
pub(crate) fn text(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    write!(out, "{text}{end}").and_then(|()| out.flush()).map_err(write_error)
}

/// Writes one JSON document to stdout.
pub(crate) fn json(document: &impl Serialize) -> Result<(), CliError> {
    let rendered =
        serde_json::to_string_pretty(document).map_err(|error| CliError::Failed(format!("JSON: {error}")))?;
    text(&rendered)
}

fn write_error(error: io::Error) -> CliError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        CliError::OutputClosed
    } else {
        CliError::Failed(format!("stdout: {error}"))
    }
}

/// Writes a line to stderr. A stderr that is gone is nobody's business.
pub(crate) fn message(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether colours may be used on stdout: a terminal, and `NO_COLOR` not set.
pub(crate) fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether the terminal says that it has more than 256 colours.
pub(crate) fn true_colour() -> bool {
    std::env::var_os("COLORTERM").is_some_and(|value| value == "truecolor" || value == "24bit")
}

/// Columns of the terminal that stdout is; `None` for a pipe.
pub(crate) fn terminal_columns() -> Option<usize> {
    Table::new().width().map(usize::from)
}

/// A column of UTC times, from milliseconds since the epoch.
pub(crate) fn times(times_ms: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(times_ms).with_timezone("UTC"))
}

/// A number as JSON: whole ones as integers if `is_integer`; what is not finite is `null`.
pub(crate) fn json_number(value: f64, is_integer: bool) -> Value {
    let is_exact = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
    if is_integer && is_exact { Value::from(value as i64) } else { Value::from(value) }
}

/// A table with a header, fitted to the terminal.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    if !colours() {
        table.force_no_tty();
    }
    table
}

/// A right-aligned cell.
pub(crate) fn number_cell(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// A number for people: six significant digits, no exponent for ordinary sizes.
pub(crate) fn short_number(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if (1e-4..1e9).contains(&magnitude) {
        let digits = if magnitude >= 1000.0 { 2 } else { 4 };
        format!("{value:.digits$}")
    } else {
        format!("{value:.4e}")
    }
}

/// Whole numbers with thousands separators.
pub(crate) fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Rows of record batches as JSON objects; NULL is `null`.
pub(crate) fn rows_json(batches: &[RecordBatch]) -> Result<Vec<Value>, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(format!("JSON: {error}"));
    let mut buffer = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(&mut buffer);
    for batch in batches {
        writer.write(batch).map_err(|error| failed(&error))?;
    }
    writer.finish().map_err(|error| failed(&error))?;
    drop(writer);
    if buffer.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&buffer).map_err(|error| failed(&error))
}

/// Rows of record batches as a table for people. `only` picks columns, in order of importance: those at the end are left out
/// where the terminal is too narrow for all.
pub(crate) fn rows_table(batches: &[RecordBatch], only: Option<&[&str]>) -> Result<String, CliError> {
    let Some(first) = batches.first() else { return Ok("(no rows)".to_owned()) };
    let schema = first.schema();
    let Some(names) = only else {
        let all: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        return Ok(named_columns(batches, &all)?.to_string());
    };
    let room = terminal_columns().unwrap_or(usize::MAX);
    let mut names = names.to_vec();
    loop {
        let mut table = named_columns(batches, &names)?;
        let text = table.set_content_arrangement(ContentArrangement::Disabled).to_string();
        let width = text.lines().next().map_or(0, |line| line.chars().count());
        if width <= room || names.len() <= FEWEST_COLUMNS {
            return Ok(text);
        }
        names.pop();
    }
}

/// Columns of a table that are shown however narrow the terminal is.
const FEWEST_COLUMNS: usize = 3;

fn named_columns(batches: &[RecordBatch], names: &[&str]) -> Result<Table, CliError> {
    let mut table = table(names);
    for batch in batches {
        let columns: Vec<Vec<Cell>> =
            names.iter().map(|name| column_cells(batch, name)).collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            table.add_row(columns.iter().map(|cells| cells[row].clone()));
        }
    }
    Ok(table)
}

fn column_cells(batch: &RecordBatch, name: &str) -> Result<Vec<Cell>, CliError> {
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| CliError::Failed(format!("the result has no column {name}")))?;
    let failed = |error: datafusion::arrow::error::ArrowError| CliError::Failed(error.to_string());
    if let Some(values) = column.as_primitive_opt::<Float64Type>() {
        let cell = |value: Option<f64>| number_cell(value.map_or_else(|| "-".to_owned(), short_number));
        return Ok(values.iter().map(cell).collect());
    }
    let options = FormatOptions::default().with_null("-");
    let formatter = ArrayFormatter::try_new(column, &options).map_err(failed)?;
    let is_text = matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    Ok((0..column.len())
        .map(|row| {
            let text = formatter.value(row).to_string();
            if is_text { Cell::new(text) } else { number_cell(text) }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        for (value, text) in
            [(0.0, "0"), (1.5, "1.5000"), (12345.678, "12345.68"), (1e-9, "1.0000e-9"), (-0.25, "-0.2500")]
        {
            assert_eq!(short_number(value), text);
        }
        for (value, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(value), text);
        }
    }
}
