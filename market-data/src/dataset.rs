//! A dataset directory: `bars/interval=1h/symbol=BTCUSDT/<year>.parquet`, one series per (symbol, interval).
//!
//! Readers take no lock: a file is replaced by a rename, an object by an upload, and is old or new, never half. Writers take
//! turns ([`merge`]). In a bucket every request travels: folders are listed whole and files fetched many at a time.

pub(crate) mod lock;
pub(crate) mod merge;
pub(crate) mod staging;

use std::collections::BTreeMap;
use std::path::Path;

use polybolos_engine::interval::Interval;
use polybolos_engine::timerange::TimeRange;
use polybolos_kernels::bars::Bars;
use polybolos_storage::{Location, Revision, StorageError, in_parallel};
use serde::Serialize;

use crate::DataError;
use crate::parquet_bars::{self, StoredBars};
use crate::symbol::{nearest, symbol_name};
use crate::utc::year_of;

/// A dataset in a directory or a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    root: Location,
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
    /// Their size.
    pub bytes: u64,
}

/// Milliseconds of a leap year: no year's file has more bars than begin in it.
const MOST_MS_OF_A_YEAR: u64 = 366 * 86_400_000;

/// A year's file of a series.
pub(crate) struct YearFile {
    pub(crate) year: i32,
    pub(crate) location: Location,
}

impl Dataset {
    /// Opens an existing dataset.
    ///
    /// # Errors
    /// [`DataError::NoDataset`] if there is none, [`DataError::Storage`] if the place cannot be.
    pub fn open(location: impl AsRef<Path>) -> Result<Dataset, DataError> {
        let dataset = Dataset::create(location)?;
        let bars = dataset.bars();
        let is_there = match bars.path() {
            Some(path) => path.is_dir(),
            None => !bars.names()?.is_empty(),
        };
        if is_there { Ok(dataset) } else { Err(DataError::NoDataset { location: dataset.root }) }
    }

    /// Names a dataset to write to, a directory or `s3://bucket/prefix`; its directory is made by the first merge, so a failed
    /// import leaves nothing behind.
    ///
    /// # Errors
    /// [`DataError::Storage`] for what names no place.
    pub fn create(location: impl AsRef<Path>) -> Result<Dataset, DataError> {
        Ok(Dataset { root: Location::parse(location)? })
    }

    /// Where the dataset lies.
    pub fn location(&self) -> &Location {
        &self.root
    }

    fn bars(&self) -> Location {
        self.root.join("bars")
    }

    fn interval_dir(&self, interval: Interval) -> Location {
        self.bars().join(&format!("interval={interval}"))
    }

    pub(crate) fn series_dir(&self, symbol: &str, interval: Interval) -> Location {
        self.interval_dir(interval).join(&format!("symbol={symbol}"))
    }

    /// The intervals that have bars, shortest first.
    ///
    /// # Errors
    /// [`DataError::Storage`] if the directory cannot be read.
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
    /// [`DataError::Storage`] if the directory cannot be read.
    pub fn symbols(&self, interval: Interval) -> Result<Vec<String>, DataError> {
        if let Some(sizes) = self.sizes(interval)? {
            return Ok(sizes.into_keys().collect());
        }
        let names = keyed_names(&self.interval_dir(interval), "symbol=")?;
        let mut symbols = Vec::new();
        for name in names {
            if is_symbol(&name) && !self.year_files(&name, interval)?.is_empty() {
                symbols.push(name);
            }
        }
        Ok(symbols)
    }

    /// The symbols of an interval in a bucket with the bytes of their files, from one listing; `None` on a disk.
    fn sizes(&self, interval: Interval) -> Result<Option<BTreeMap<String, u64>>, DataError> {
        let Some(objects) = self.interval_dir(interval).objects()? else { return Ok(None) };
        let mut sizes = BTreeMap::new();
        for object in objects {
            let Some((symbol, file)) = object.name.split_once('/') else { continue };
            let symbol = symbol.strip_prefix("symbol=").filter(|symbol| is_symbol(symbol));
            if let (Some(symbol), Some(_)) = (symbol, year_of_name(file)) {
                *sizes.entry(symbol.to_owned()).or_default() += object.bytes;
            }
        }
        Ok(Some(sizes))
    }

    /// Bytes of each of these series, as stored. Series that are not there count as empty.
    ///
    /// # Errors
    /// [`DataError::Storage`] if a bucket cannot be listed.
    pub fn stored_bytes(&self, symbols: &[String], interval: Interval) -> Result<Vec<u64>, DataError> {
        if let Some(sizes) = self.sizes(interval)? {
            return Ok(symbols.iter().map(|symbol| sizes.get(symbol).copied().unwrap_or(0)).collect());
        }
        let bytes = |symbol: &String| -> u64 {
            let files = self.year_files(symbol, interval).unwrap_or_default();
            let paths = files.iter().filter_map(|file| file.location.path());
            paths.filter_map(|path| Some(path.metadata().ok()?.len())).sum()
        };
        Ok(symbols.iter().map(bytes).collect())
    }

    /// The Parquet files of a series, in the order of time.
    ///
    /// # Errors
    /// [`DataError::BadSymbol`], [`DataError::UnknownSymbol`], [`DataError::UnknownInterval`], [`DataError::Storage`].
    pub fn files(&self, symbol: &str, interval: Interval) -> Result<Vec<Location>, DataError> {
        Ok(self.known_files(symbol, interval)?.1.into_iter().map(|file| file.location).collect())
    }

    /// The series' years in order; none if nothing is stored.
    pub(crate) fn year_files(&self, symbol: &str, interval: Interval) -> Result<Vec<YearFile>, DataError> {
        let dir = self.series_dir(symbol, interval);
        let mut files = Vec::new();
        for name in dir.names()? {
            if let Some(year) = year_of_name(&name) {
                files.push(YearFile { year, location: dir.join(&name) });
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
    /// [`DataError::DamagedDataset`] with the offending file, [`DataError::Storage`].
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
        let is_wanted = |file: &&YearFile| {
            let is_before = first_year.is_some_and(|first| file.year < first);
            let is_after = last_year.is_some_and(|last| file.year > last);
            !is_before && !is_after
        };
        let wanted: Vec<&YearFile> = files.iter().filter(is_wanted).collect();
        let places: Vec<&Location> = wanted.iter().map(|file| &file.location).collect();
        let contents = places.iter().zip(Location::read_all(&places)?);
        let stored: Vec<StoredBars> =
            contents.map(|(place, content)| StoredBars::open(place, content)).collect::<Result<_, _>>()?;
        // The files are in memory together, so that the bars, some three times as large, get the room they need and no more.
        let most = MOST_MS_OF_A_YEAR / bars.interval_ms.unsigned_abs().max(1) + 1;
        let rows: u64 = stored.iter().map(|year| year.rows().min(most)).sum();
        parquet_bars::reserve(&mut bars, usize::try_from(rows).unwrap_or(0));
        for (file, year) in wanted.into_iter().zip(stored) {
            append_year(file, year, &mut bars)?;
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
    /// [`DataError::DamagedDataset`] with the offending file, [`DataError::Storage`].
    pub fn list(&self) -> Result<Vec<Series>, DataError> {
        let mut all = Vec::new();
        for interval in self.intervals()? {
            all.extend(self.symbols(interval)?.into_iter().map(|symbol| (symbol, interval)));
        }
        in_parallel(self.root.requests_at_once(), &all, |(symbol, interval)| {
            self.describe(symbol.clone(), *interval)
        })
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
            let footer = parquet_bars::footer(&file.location)?;
            series.rows += footer.rows;
            series.files += 1;
            series.bytes += footer.file_bytes;
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
        spans.extend(parquet_bars::footer(&file.location)?.span_ms);
    }
    Ok(spans)
}

/// What is stored of a year, and which revision of it; `None` if nothing is.
pub(crate) fn stored_year(file: &YearFile, interval_ms: i64) -> Result<(Bars, Option<Revision>), DataError> {
    let mut stored = Bars { interval_ms, ..Bars::default() };
    match file.location.read_revision() {
        Ok((content, revision)) => {
            append_year(file, StoredBars::open(&file.location, content)?, &mut stored)?;
            Ok((stored, Some(revision)))
        }
        Err(error) if error.is_missing() => Ok((stored, None)),
        Err(error) => Err(error.into()),
    }
}

/// Appends a year's rows and checks that they are sound and of that year.
fn append_year(file: &YearFile, year: StoredBars, bars: &mut Bars) -> Result<(), DataError> {
    let damaged = |reason: String| DataError::DamagedDataset { location: file.location.clone(), reason };
    let start = bars.len();
    year.append(bars)?;
    bars.check_from(start).map_err(|error| damaged(error.to_string()))?;
    // Checked to ascend: where the first and the last are of the year, all are.
    let times = bars.open_time_ms.get(start..).unwrap_or_default();
    let ends = [times.first(), times.last()];
    if ends.into_iter().flatten().any(|&time| year_of(time) != file.year)
        && let Some(&stray) = times.iter().find(|&&time| year_of(time) != file.year)
    {
        return Err(damaged(format!("it holds the bar of {}", crate::utc_text(stray))));
    }
    Ok(())
}

fn is_symbol(name: &str) -> bool {
    symbol_name(name).is_ok_and(|symbol| symbol == name)
}

/// The year of a file's name, if it is that of a year's file.
fn year_of_name(name: &str) -> Option<i32> {
    name.strip_suffix(".parquet")?.parse().ok()
}

/// The values of `key=value` folder names in a directory.
fn keyed_names(dir: &Location, key: &str) -> Result<Vec<String>, StorageError> {
    Ok(dir.names()?.iter().filter_map(|name| name.strip_prefix(key)).map(str::to_owned).collect())
}
