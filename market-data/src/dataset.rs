//! A dataset directory: `bars/interval=1h/symbol=BTCUSDT/<year>.parquet`, one series per (symbol, interval).
//!
//! Readers take no lock: a file is replaced by a rename and is old or new, never half. Writers take turns
//! ([`merge`]). Object stores are refused in so many words until they are supported.

pub(crate) mod lock;
pub(crate) mod merge;
pub(crate) mod staging;

use std::fs;
use std::path::{Path, PathBuf};

use polybolos_engine::interval::Interval;
use polybolos_engine::timerange::TimeRange;
use polybolos_kernels::bars::Bars;
use serde::Serialize;

use crate::DataError;
use crate::parquet_bars;
use crate::symbol::{nearest, symbol_name};
use crate::utc::year_of;

/// A dataset directory on a local disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    root: PathBuf,
}

/// One series of a dataset, as its files' footers describe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Series {
    /// The symbol.
    pub symbol: String,
    /// The interval's name, e.g. `1h`.
    pub interval: &'static str,
    /// Number of bars.
    pub rows: u64,
    /// Open time of the first bar, UTC milliseconds.
    pub first_ms: i64,
    /// Open time of the last bar, UTC milliseconds.
    pub last_ms: i64,
    /// Number of Parquet files.
    pub files: u64,
    /// Their size on disk.
    pub bytes: u64,
}

/// A year's file of a series.
pub(crate) struct YearFile {
    pub(crate) year: i32,
    pub(crate) path: PathBuf,
}

impl Dataset {
    /// Opens an existing dataset.
    ///
    /// # Errors
    /// [`DataError::NotLocal`] for a URL, [`DataError::NoDataset`] if there is none.
    pub fn open(location: impl AsRef<Path>) -> Result<Dataset, DataError> {
        let dataset = Dataset::create(location)?;
        if dataset.bars().is_dir() { Ok(dataset) } else { Err(DataError::NoDataset { path: dataset.root }) }
    }

    /// Names a dataset to write to; its directory is made by the first merge, so a failed import leaves nothing behind.
    ///
    /// # Errors
    /// [`DataError::NotLocal`] for a URL.
    pub fn create(location: impl AsRef<Path>) -> Result<Dataset, DataError> {
        let root = location.as_ref();
        if let Some(text) = root.to_str()
            && text.contains("://")
        {
            return Err(DataError::NotLocal { location: text.to_owned() });
        }
        Ok(Dataset { root: root.to_owned() })
    }

    /// The dataset's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn bars(&self) -> PathBuf {
        self.root.join("bars")
    }

    pub(crate) fn series_dir(&self, symbol: &str, interval: Interval) -> PathBuf {
        self.bars().join(format!("interval={interval}")).join(format!("symbol={symbol}"))
    }

    /// The intervals that have bars, shortest first.
    ///
    /// # Errors
    /// [`DataError::Io`] if the directory cannot be read.
    pub fn intervals(&self) -> Result<Vec<Interval>, DataError> {
        let mut intervals = Vec::new();
        for name in keyed_names(&self.bars(), "interval=")? {
            if let Ok(interval) = name.parse()
                && !self.symbols(interval)?.is_empty()
            {
                intervals.push(interval);
            }
        }
        intervals.sort_unstable();
        Ok(intervals)
    }

    /// The symbols that have bars of this interval, in alphabetical order.
    ///
    /// # Errors
    /// [`DataError::Io`] if the directory cannot be read.
    pub fn symbols(&self, interval: Interval) -> Result<Vec<String>, DataError> {
        let names = keyed_names(&self.bars().join(format!("interval={interval}")), "symbol=")?;
        let mut symbols = Vec::new();
        for name in names {
            if symbol_name(&name).is_ok_and(|symbol| symbol == name)
                && !self.year_files(&name, interval)?.is_empty()
            {
                symbols.push(name);
            }
        }
        Ok(symbols)
    }

    /// The Parquet files of a series, in the order of time.
    ///
    /// # Errors
    /// [`DataError::BadSymbol`], [`DataError::UnknownSymbol`], [`DataError::UnknownInterval`], [`DataError::Io`].
    pub fn files(&self, symbol: &str, interval: Interval) -> Result<Vec<PathBuf>, DataError> {
        Ok(self.known_files(symbol, interval)?.1.into_iter().map(|file| file.path).collect())
    }

    /// The series' years in order; none if nothing is stored.
    pub(crate) fn year_files(&self, symbol: &str, interval: Interval) -> Result<Vec<YearFile>, DataError> {
        let dir = self.series_dir(symbol, interval);
        let mut files = Vec::new();
        for name in names(&dir)? {
            let year = name.strip_suffix(".parquet").and_then(|stem| stem.parse().ok());
            if let Some(year) = year {
                files.push(YearFile { year, path: dir.join(name) });
            }
        }
        files.sort_unstable_by_key(|file| file.year);
        Ok(files)
    }

    /// The symbol in its stored spelling and its files, or an error that says what there is.
    fn known_files(&self, symbol: &str, interval: Interval) -> Result<(String, Vec<YearFile>), DataError> {
        let symbol = symbol_name(symbol)?;
        let files = self.year_files(&symbol, interval)?;
        if !files.is_empty() {
            return Ok((symbol, files));
        }
        let known = self.symbols(interval)?;
        if known.is_empty() {
            let known = self.intervals()?.iter().map(Interval::to_string).collect();
            return Err(DataError::UnknownInterval { interval, known });
        }
        let near = nearest(&symbol, &known);
        Err(DataError::UnknownSymbol { symbol, interval, near, known })
    }

    /// The bars of a series, all of them or those whose open time is in the range; [`Bars::check`] holds for them.
    ///
    /// # Errors
    /// [`DataError::UnknownSymbol`], [`DataError::UnknownInterval`], [`DataError::NoBarsInRange`],
    /// [`DataError::DamagedDataset`] with the offending file, [`DataError::Io`].
    pub fn load(
        &self,
        symbol: &str,
        interval: Interval,
        range: Option<TimeRange>,
    ) -> Result<Bars, DataError> {
        let (symbol, files) = self.known_files(symbol, interval)?;
        let range = range.unwrap_or_default();
        let first_year = range.from_ms.map(year_of);
        let last_year = range.to_ms.map(|to| year_of(to.saturating_sub(1)));
        let mut bars = Bars { interval_ms: interval.ms(), ..Bars::default() };
        for file in &files {
            let is_before = first_year.is_some_and(|first| file.year < first);
            let is_after = last_year.is_some_and(|last| file.year > last);
            if !is_before && !is_after {
                append_year(file, &mut bars)?;
            }
        }
        let rows = range.rows(&bars);
        if rows.is_empty() {
            let spans: Vec<(i64, i64)> = spans(&files)?;
            return Err(DataError::NoBarsInRange {
                symbol,
                interval,
                first_ms: spans.first().map_or(0, |span| span.0),
                last_ms: spans.last().map_or(0, |span| span.1),
            });
        }
        Ok(if rows == (0..bars.len()) { bars } else { bars.slice(rows) })
    }

    /// Every series of the dataset, by interval and then by symbol, from the files' footers alone.
    ///
    /// # Errors
    /// [`DataError::DamagedDataset`] with the offending file, [`DataError::Io`].
    pub fn list(&self) -> Result<Vec<Series>, DataError> {
        let mut all = Vec::new();
        for interval in self.intervals()? {
            for symbol in self.symbols(interval)? {
                all.push(self.describe(symbol, interval)?);
            }
        }
        Ok(all)
    }

    fn describe(&self, symbol: String, interval: Interval) -> Result<Series, DataError> {
        let mut series = Series {
            symbol,
            interval: interval.name(),
            rows: 0,
            first_ms: i64::MAX,
            last_ms: i64::MIN,
            files: 0,
            bytes: 0,
        };
        for file in self.year_files(&series.symbol, interval)? {
            let footer = parquet_bars::footer(&file.path)?;
            let size =
                fs::metadata(&file.path).map_err(|error| DataError::io("read", &file.path, error))?.len();
            series.rows += footer.rows;
            series.files += 1;
            series.bytes += size;
            if let Some((first, last)) = footer.span_ms {
                series.first_ms = series.first_ms.min(first);
                series.last_ms = series.last_ms.max(last);
            }
        }
        Ok(series)
    }
}

/// First and last open time of each file that has rows.
fn spans(files: &[YearFile]) -> Result<Vec<(i64, i64)>, DataError> {
    let mut spans = Vec::new();
    for file in files {
        spans.extend(parquet_bars::footer(&file.path)?.span_ms);
    }
    Ok(spans)
}

/// Appends a year's rows and checks that they are sound and of that year.
pub(crate) fn append_year(file: &YearFile, bars: &mut Bars) -> Result<(), DataError> {
    let damaged = |reason: String| DataError::DamagedDataset { path: file.path.clone(), reason };
    let mut year = Bars { interval_ms: bars.interval_ms, ..Bars::default() };
    parquet_bars::read(&file.path, &mut year)?;
    year.check().map_err(|error| damaged(error.to_string()))?;
    // Checked to ascend: where the first and the last are of the year, all are.
    let ends = [year.open_time_ms.first(), year.open_time_ms.last()];
    if ends.into_iter().flatten().any(|&time| year_of(time) != file.year)
        && let Some(&stray) = year.open_time_ms.iter().find(|&&time| year_of(time) != file.year)
    {
        return Err(damaged(format!("it holds the bar of {}", crate::utc_text(stray))));
    }
    if bars.is_empty() {
        *bars = year;
        return Ok(());
    }
    bars.open_time_ms.append(&mut year.open_time_ms);
    let columns = parquet_bars::columns_mut(bars).into_iter().zip(parquet_bars::columns_mut(&mut year));
    columns.for_each(|(all, more)| all.append(more));
    Ok(())
}

/// The names in a directory, sorted; none if it does not exist.
fn names(dir: &Path) -> Result<Vec<String>, DataError> {
    let error = |error| DataError::io("list", dir, error);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(absent) if absent.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(other) => return Err(error(other)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(error)?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// The values of `key=value` folder names in a directory.
fn keyed_names(dir: &Path, key: &str) -> Result<Vec<String>, DataError> {
    Ok(names(dir)?.iter().filter_map(|name| name.strip_prefix(key)).map(str::to_owned).collect())
}
