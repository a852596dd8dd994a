//! Parquet: a dataset's own files, and any with the column names that CSV headers may have.

use std::fs::File;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Rows, arrow_columns};
use crate::DataError;

pub(crate) fn read(name: &str, file: File, rows: &mut Rows) -> Result<(), DataError> {
    let bad = |error: &dyn std::error::Error| {
        DataError::bad_file(name, format!("the Parquet file is damaged or cut short ({error}); get it again"))
    };
    rows.begin(name);
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| bad(&error))?;
    let layout = arrow_columns::layout(name, builder.schema(), rows)?;
    let mut first_row = 1;
    for batch in builder.build().map_err(|error| bad(&error))? {
        let batch = batch.map_err(|error| bad(&error))?;
        arrow_columns::add(name, &batch, &layout, first_row, rows)?;
        first_row += batch.num_rows() as u64;
    }
    rows.finish()
}
