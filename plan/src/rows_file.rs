//! Parquet files of rows. Their columns are made and encoded one by one, by every thread that computes and has nothing else to
//! do: when the last unit of a sweep is done, its thread is not alone with what there is to write.
//!
//! The bytes are those of a single thread: who encoded a column does not show.

use std::io::{self, Write};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use datafusion::parquet::basic::Compression;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::file::writer::SerializedFileWriter;
use datafusion::parquet::schema::types::ColumnPath;
use polybolos_kernels::stats::Stats;
use polybolos_storage::{Location, Staged};

use crate::error::PlanError;
use crate::workers::Workers;

/// Rows per row group in unit and result files.
pub(crate) const ROW_GROUP_ROWS: usize = 1 << 16;

/// Row groups with fewer rows are written by one thread: waking another one takes longer.
const SHARED_ROWS: usize = 1 << 10;

/// Columns that hold one text in every row.
const LABELS: [&str; 3] = ["sweep_id", "symbol", "interval"];

/// A row of the grid and what its combination did.
pub(crate) type Row = (u64, Stats);

/// Makes one column of some rows.
pub(crate) type MakeColumn = Box<dyn Fn(&[Row]) -> ArrayRef + Send + Sync>;

/// Properties of every file we write: nothing in them depends on the clock or the machine. Numbers hardly repeat: without
/// dictionaries they are written in half the time and an eighth smaller. Zstd would make them a seventh smaller still and take twice the time to
/// write and more than three times the time to read: for every column it asks the processor what it can, which takes long on virtual machines.
pub(crate) fn properties(metadata: Vec<KeyValue>) -> WriterProperties {
    let properties = WriterProperties::builder().set_dictionary_enabled(false);
    let labelled = LABELS.into_iter().fold(properties, |properties, name| {
        properties.set_column_dictionary_enabled(ColumnPath::from(name), true)
    });
    labelled
        .set_created_by(format!("polybolos {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_key_value_metadata(Some(metadata))
        .build()
}

/// What a file holds: a schema of plain columns, and how each of them is made.
pub(crate) struct RowsTable {
    pub(crate) schema: SchemaRef,
    /// In the schema's order.
    pub(crate) columns: Vec<MakeColumn>,
}

impl RowsTable {
    /// Some rows in memory.
    pub(crate) fn batch(&self, rows: &[Row]) -> Result<RecordBatch, ArrowError> {
        let columns = self.columns.iter().map(|make| make(rows)).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }

    /// Makes column `index` of some rows and encodes it.
    fn encode(
        &self,
        index: usize,
        mut writer: ArrowColumnWriter,
        rows: &[Row],
    ) -> Result<ArrowColumnChunk, ParquetError> {
        let column = self.columns.get(index).zip(self.schema.fields().get(index));
        let (make, field) =
            column.ok_or_else(|| ParquetError::General(format!("the table has no column number {index}")))?;
        for leaf in compute_leaves(field, &make(rows))? {
            writer.write(&leaf)?;
        }
        writer.close()
    }
}

/// A file that is being written, one row group at a time.
pub(crate) struct RowsWriter<'f, 'w> {
    writer: SerializedFileWriter<&'f mut (dyn Write + Send)>,
    columns: ArrowRowGroupWriterFactory,
    table: Arc<RowsTable>,
    workers: &'w Workers,
    place: &'w Location,
}

impl RowsWriter<'_, '_> {
    /// Appends a row group of at most [`ROW_GROUP_ROWS`] rows.
    ///
    /// # Errors
    /// The file cannot be written, or a column cannot be made (an internal fault).
    pub(crate) fn write(&mut self, rows: Vec<Row>) -> Result<(), PlanError> {
        let chunks = self.encode(rows)?;
        self.append(chunks).map_err(|error| PlanError::file(self.place, error))
    }

    fn encode(&self, rows: Vec<Row>) -> Result<Vec<ArrowColumnChunk>, PlanError> {
        let failed = |error: ParquetError| PlanError::file(self.place, error);
        let group = self.writer.flushed_row_groups().len();
        let writers = self.columns.create_column_writers(group).map_err(failed)?;
        let writers: Vec<(usize, ArrowColumnWriter)> = writers.into_iter().enumerate().collect();
        let (table, is_shared) = (Arc::clone(&self.table), rows.len() >= SHARED_ROWS);
        let encode = move |(index, writer)| table.encode(index, writer, &rows);
        let chunks: Vec<_> = if is_shared {
            self.workers.share(usize::MAX, writers, encode)?
        } else {
            writers.into_iter().map(encode).collect()
        };
        chunks.into_iter().collect::<Result<_, _>>().map_err(failed)
    }

    fn append(&mut self, chunks: Vec<ArrowColumnChunk>) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close().map(drop)
    }
}

/// Writes a Parquet file under a temporary name, or for an upload.
///
/// # Errors
/// That of `fill`; the file cannot be written.
pub(crate) fn stage_rows(
    place: &Location,
    properties: WriterProperties,
    table: RowsTable,
    workers: &Workers,
    fill: impl FnOnce(&mut RowsWriter<'_, '_>) -> Result<(), PlanError>,
) -> Result<Staged, PlanError> {
    let mut refused = None;
    let staged = place.stage(|file| {
        let writer = ArrowWriter::try_new(file, Arc::clone(&table.schema), Some(properties))
            .and_then(ArrowWriter::into_serialized_writer);
        let (writer, columns) = writer.map_err(io::Error::other)?;
        let mut writer = RowsWriter { writer, columns, table: Arc::new(table), workers, place };
        fill(&mut writer).map_err(|error| {
            let io_error = io::Error::other(error.to_string());
            refused = Some(error);
            io_error
        })?;
        writer.writer.close().map(drop).map_err(io::Error::other)
    });
    staged.map_err(|error| match refused {
        // Of an upload that broke off the writer knows less than the upload.
        Some(PlanError::File { .. }) if place.is_remote() => error.into(),
        Some(refused) => refused,
        None => error.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    fn rows(count: u64) -> Vec<Row> {
        let stats = |row: u64| Stats {
            final_equity: (row as f64).sqrt(),
            trades: row % 7,
            returns_defined: row.is_multiple_of(3),
            ..Stats::default()
        };
        (0..count).map(|row| (row, stats(row))).collect()
    }

    fn table() -> RowsTable {
        RowsTable { schema: schema::statistics(), columns: schema::statistics_columns() }
    }

    /// What Parquet's own writer makes of the row groups.
    fn plainly(groups: &[Vec<Row>]) -> Result<Vec<u8>, ParquetError> {
        let table = table();
        let mut writer = ArrowWriter::try_new(
            Vec::new(),
            Arc::clone(&table.schema),
            Some(properties(vec![KeyValue::new("key".to_owned(), "value".to_owned())])),
        )?;
        for rows in groups {
            writer.write(&table.batch(rows)?)?;
            writer.flush()?;
        }
        writer.into_inner()
    }

    #[test]
    fn a_file_has_the_same_bytes_whoever_encodes_its_columns() {
        let guard = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let folder = guard.path();
        let many = SHARED_ROWS as u64;
        for (case, groups) in [vec![], vec![3], vec![many], vec![many - 1, 2 * many], vec![3 * many, 1]]
            .into_iter()
            .map(|sizes| sizes.into_iter().map(rows).collect::<Vec<_>>())
            .enumerate()
        {
            let expected = plainly(&groups).unwrap_or_default();
            assert!(!expected.is_empty());
            for threads in [1, 2, 5] {
                let place = Location::local(folder.join(format!("{case}-{threads}.parquet")));
                let workers = Workers::new(threads);
                let metadata = vec![KeyValue::new("key".to_owned(), "value".to_owned())];
                let staged = stage_rows(&place, properties(metadata), table(), &workers, |writer| {
                    groups.iter().try_for_each(|rows| writer.write(rows.clone()))
                });
                assert!(staged.is_ok_and(|staged| staged.commit().is_ok()));
                let written = place.read().unwrap_or_default();
                assert!(written == expected, "{threads} threads, case {case}");
            }
        }
    }

    #[test]
    fn nothing_stays_of_a_file_whose_rows_cannot_be_had() {
        let guard = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let folder = guard.path();
        let place = Location::local(folder.join("a.parquet"));
        let staged = stage_rows(&place, properties(Vec::new()), table(), &Workers::new(2), |writer| {
            writer.write(rows(5_000))?;
            Err(PlanError::Cancelled)
        });
        assert!(matches!(staged, Err(PlanError::Cancelled)));
        let left = std::fs::read_dir(folder).map_or(usize::MAX, Iterator::count);
        assert_eq!(left, 0);
    }
}
