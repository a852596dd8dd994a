//! Importers: files of bars in the formats people have, read into rows, checked, sorted and merged.
//!
//! A file's format is found from its first bytes, not from its name. Nothing reaches the dataset before every file was
//! read and every row was judged.

mod arrow_columns;
mod feather;
mod freqtrade_json;
mod header;
mod parquet;
mod rows;
mod spacing;
mod text_csv;
mod time;
mod zip_archive;

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use polybolos_engine::interval::Interval;
use polybolos_kernels::bars::Bars;
use serde::Serialize;

use crate::check::gaps;
use crate::error::BadRow;
use crate::symbol::symbol_name;
use crate::{DataError, Dataset, OnConflict};
pub(crate) use rows::{Rows, Settled};
pub(crate) use time::time_from_number;
pub(crate) use zip_archive::read_zip;

/// How to treat what is wrong with the input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Drop and count bad rows instead of failing; a row that contradicts a stored row is dropped too.
    pub skip_bad: bool,
}

/// What an import read and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImportReport {
    /// The series' symbol.
    pub symbol: String,
    /// The series' interval, e.g. `1h`.
    pub interval: &'static str,
    /// The files read, those inside zips by their own names.
    pub files: Vec<String>,
    /// Rows read, header lines not counted.
    pub rows_read: u64,
    /// Bad rows that were dropped: the first ones.
    pub bad: Vec<BadRow>,
    /// Bad rows that were dropped: how many.
    pub dropped: u64,
    /// Rows dropped because an equal row was read before.
    pub duplicates: u64,
    /// Rows stored although their time is not a multiple of the interval.
    pub misaligned: u64,
    /// Rows stored although the row before opens less than an interval earlier.
    pub overlapping: u64,
    /// Columns that a file lacks; their values are stored as 0.
    pub absent_columns: Vec<&'static str>,
    /// Gaps between the imported rows.
    pub gaps: u64,
    /// Bars that are missing in them.
    pub missing_bars: u64,
    /// Open time of the first imported row, UTC milliseconds.
    pub first_ms: i64,
    /// Open time of the last imported row, UTC milliseconds.
    pub last_ms: i64,
    /// Rows that were new to the dataset.
    pub added: u64,
    /// Rows that the dataset had already.
    pub unchanged: u64,
    /// Rows dropped because the dataset has the same time with other values.
    pub kept: u64,
    /// Rows of the series afterwards.
    pub rows: u64,
}

/// Reads files of one symbol and merges them into the dataset.
///
/// # Errors
/// [`DataError::BadRows`] unless `skip_bad`; [`DataError::BadFile`] for a file of no known format or a damaged one;
/// [`DataError::WrongInterval`]; [`DataError::NoRows`]; and what [`Dataset::merge`] returns. The dataset is then as it was.
pub fn import(
    dataset: &Dataset,
    symbol: &str,
    interval: Interval,
    files: &[PathBuf],
    options: ImportOptions,
) -> Result<ImportReport, DataError> {
    let symbol = symbol_name(symbol)?;
    let settled = read_files(interval, files, options.skip_bad)?;
    let on_conflict = if options.skip_bad { OnConflict::KeepStored } else { OnConflict::Refuse };
    let bars = &settled.bars;
    let merge = dataset.merge(&symbol, interval, bars, on_conflict)?;
    let gaps = gaps(interval, bars);
    Ok(ImportReport {
        symbol,
        interval: interval.name(),
        files: settled.files,
        rows_read: settled.rows_read,
        bad: settled.bad.first,
        dropped: settled.bad.total,
        duplicates: settled.duplicates,
        misaligned: settled.misaligned,
        overlapping: settled.overlapping,
        absent_columns: settled.absent_columns,
        gaps: gaps.len() as u64,
        missing_bars: gaps.iter().map(|gap| gap.missing_bars).sum(),
        first_ms: bars.open_time_ms.first().copied().unwrap_or_default(),
        last_ms: bars.open_time_ms.last().copied().unwrap_or_default(),
        added: merge.added,
        unchanged: merge.unchanged,
        kept: merge.kept,
        rows: merge.rows,
    })
}

/// Reads files into bars without a dataset: what [`import`] would merge.
///
/// # Errors
/// As [`import`], but for the merge's.
pub fn read_bars(interval: Interval, files: &[PathBuf], options: ImportOptions) -> Result<Bars, DataError> {
    Ok(read_files(interval, files, options.skip_bad)?.bars)
}

fn read_files(interval: Interval, files: &[PathBuf], skip_bad: bool) -> Result<Settled, DataError> {
    let mut rows = Rows::new(interval);
    for path in files {
        read_file(path, &mut rows)?;
    }
    let settled = rows.settle();
    if settled.bad.total > 0 && !skip_bad {
        return Err(settled.bad.into());
    }
    if settled.bars.is_empty() {
        let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        return Err(DataError::NoRows { files: names.join(", ") });
    }
    Ok(settled)
}

/// A format: how to know it and how to read it.
struct Format {
    /// Its name in messages.
    name: &'static str,
    /// Whether a file that begins with these bytes is of this format.
    matches: fn(&[u8]) -> bool,
    reader: Reader,
}

enum Reader {
    /// Reads the whole file, jumping about in it.
    File(fn(&str, File, &mut Rows) -> Result<(), DataError>),
    /// Reads from the start to the end, also inside a zip.
    Stream(fn(&str, &mut dyn BufRead, &mut Rows) -> Result<(), DataError>),
    /// Cannot be read; says what to do instead.
    Refused(&'static str),
}

/// Every format, asked in this order: text comes last because it has no mark of its own.
const FORMATS: [Format; 7] = [
    Format {
        name: "zip",
        matches: |head| head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06"),
        reader: Reader::File(read_zip::<File>),
    },
    Format {
        name: "Parquet",
        matches: |head| head.starts_with(b"PAR1"),
        reader: Reader::File(parquet::read),
    },
    Format {
        name: "feather",
        matches: |head| head.starts_with(b"ARROW1"),
        reader: Reader::File(feather::read),
    },
    Format {
        name: "feather version 1",
        matches: |head| head.starts_with(b"FEA1"),
        reader: Reader::Refused(
            "it is a feather file of version 1; write it again as version 2 (pandas does by default)",
        ),
    },
    Format {
        name: "gzip",
        matches: |head| head.starts_with(b"\x1f\x8b"),
        reader: Reader::Refused("it is compressed with gzip; unpack it first (gunzip)"),
    },
    Format {
        name: "freqtrade JSON",
        matches: |head| head.trim_ascii_start().first() == Some(&b'['),
        reader: Reader::Stream(freqtrade_json::read),
    },
    Format {
        name: "CSV",
        matches: |head| !head.contains(&0) && head.iter().any(|byte| b"\n,".contains(byte)),
        reader: Reader::Stream(text_csv::read),
    },
];

/// Bytes that decide the format.
const HEAD_BYTES: u64 = 4096;

fn format_of(name: &str, head: &[u8]) -> Result<&'static Format, DataError> {
    if head.is_empty() {
        return Err(DataError::bad_file(name, "the file is empty"));
    }
    FORMATS.iter().find(|format| (format.matches)(head)).ok_or_else(|| {
        DataError::bad_file(
            name,
            "not a known format; give Binance CSV or zip, CSV with a header row, freqtrade feather or JSON, or Parquet",
        )
    })
}

fn read_file(path: &Path, rows: &mut Rows) -> Result<(), DataError> {
    let error = |action| move |error| DataError::io(action, path, error);
    let name = path.display().to_string();
    let mut file = File::open(path).map_err(error("open"))?;
    if file.metadata().map_err(error("read"))?.is_dir() {
        return Err(DataError::bad_file(&name, "it is a directory; name the files in it"));
    }
    let mut head = Vec::new();
    file.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(error("read"))?;
    file.seek(SeekFrom::Start(0)).map_err(error("read"))?;
    match format_of(&name, &head)?.reader {
        Reader::File(read) => read(&name, file, rows),
        Reader::Stream(read) => {
            rows.begin(&name);
            read(&name, &mut BufReader::with_capacity(1 << 16, file), rows)?;
            rows.finish()
        }
        Reader::Refused(reason) => Err(DataError::bad_file(&name, reason)),
    }
}

/// Reads a file inside a zip.
fn read_entry(name: &str, mut entry: impl Read, rows: &mut Rows) -> Result<(), DataError> {
    let mut head = Vec::new();
    entry
        .by_ref()
        .take(HEAD_BYTES)
        .read_to_end(&mut head)
        .map_err(|error| DataError::bad_file(name, zip_archive::damaged(&error)))?;
    let format = format_of(name, &head)?;
    let Reader::Stream(read) = format.reader else {
        return Err(DataError::bad_file(
            name,
            format!("a {} file inside a zip; unpack it first", format.name),
        ));
    };
    rows.begin(name);
    let whole = Cursor::new(head).chain(entry);
    read(name, &mut BufReader::with_capacity(1 << 16, whole), rows)?;
    rows.finish()
}
