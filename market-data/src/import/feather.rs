//! Feather version 2, which is an Arrow IPC file: freqtrade's `date, open, high, low, close, volume`.

use std::fs::File;
use std::io::BufReader;

use arrow::ipc::reader::FileReader;

use super::{Rows, arrow_columns};
use crate::DataError;

pub(crate) fn read(name: &str, file: File, rows: &mut Rows) -> Result<(), DataError> {
    let bad = |error: arrow::error::ArrowError| {
        DataError::bad_file(name, format!("the feather file is damaged or cut short ({error}); get it again"))
    };
    rows.begin(name);
    let reader = FileReader::try_new(BufReader::new(file), None).map_err(bad)?;
    let layout = arrow_columns::layout(name, &reader.schema(), rows)?;
    let mut first_row = 1;
    for batch in reader {
        let batch = batch.map_err(bad)?;
        arrow_columns::add(name, &batch, &layout, first_row, rows)?;
        first_row += batch.num_rows() as u64;
    }
    rows.finish()
}
