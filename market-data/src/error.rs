//! What can go wrong with market data, each with its place and a way out.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use polybolos_engine::interval::Interval;
use polybolos_storage::{Location, StorageError};
use serde::Serialize;

use crate::utc::utc_text;

/// Errors of datasets, importers, the downloader and the synthetic market.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The dataset directory is not there.
    #[error(
        "no dataset at {location}: {} `bars` folder; make one with `polybolos data import`, \
         `polybolos data fetch` or `polybolos data synth`, or name another with --data",
        if .location.is_remote() { "it holds no" } else { "the directory does not exist or holds no" }
    )]
    NoDataset {
        /// The place asked for.
        location: Location,
    },
    /// The place cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The text cannot name a symbol.
    #[error(
        "`{symbol}` is not a symbol: use 1 to 32 letters, digits, `.`, `_` or `-`, beginning with a letter or a digit, e.g. BTCUSDT"
    )]
    BadSymbol {
        /// The text.
        symbol: String,
    },
    /// The dataset holds no such symbol at this interval.
    #[error("no {symbol} {interval} bars in the dataset{}", hint(.near, .known))]
    UnknownSymbol {
        /// The symbol asked for.
        symbol: String,
        /// The interval asked for.
        interval: Interval,
        /// The stored symbol whose name is nearest, if any is near.
        near: Option<String>,
        /// Every symbol stored at this interval.
        known: Vec<String>,
    },
    /// The dataset holds nothing at this interval.
    #[error("no {interval} bars in the dataset{}", hint(&None, .known))]
    UnknownInterval {
        /// The interval asked for.
        interval: Interval,
        /// The intervals that are stored.
        known: Vec<String>,
    },
    /// The series exists but has no bar in the time range.
    #[error(
        "no {symbol} {interval} bar in the time range: the dataset has {} to {}; widen --timerange or get more data",
        utc_text(*.first_ms), utc_text(*.last_ms)
    )]
    NoBarsInRange {
        /// The symbol asked for.
        symbol: String,
        /// The interval asked for.
        interval: Interval,
        /// Open time of the first stored bar, UTC milliseconds.
        first_ms: i64,
        /// Open time of the last stored bar, UTC milliseconds.
        last_ms: i64,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file of the dataset is damaged.
    #[error("{location} is damaged: {reason}; restore it, or delete it and import or fetch its year again")]
    DamagedDataset {
        /// The file.
        location: Location,
        /// What is wrong.
        reason: String,
    },
    /// Bars handed to the dataset break its invariants.
    #[error("the {symbol} {interval} bars cannot be stored: {reason}")]
    InvalidBars {
        /// Their symbol.
        symbol: String,
        /// Their interval.
        interval: Interval,
        /// What is wrong.
        reason: String,
    },
    /// New rows contradict stored ones.
    #[error(transparent)]
    Conflict(#[from] Box<Conflict>),
    /// An input file as a whole cannot be read.
    #[error("{file}: {reason}")]
    BadFile {
        /// The file, with the entry's name if it is inside a zip.
        file: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Rows of the input are unusable.
    #[error(transparent)]
    BadRows(#[from] BadRows),
    /// The spacing of the rows contradicts the interval.
    #[error("{file}: the rows are {} apart, which is not {given}; import it with --interval {detected}", spacing(*.spacing_ms))]
    WrongInterval {
        /// The file.
        file: String,
        /// The interval the user named.
        given: Interval,
        /// The interval that fits the rows.
        detected: String,
        /// Median distance between rows.
        spacing_ms: i64,
    },
    /// The import found no usable row.
    #[error("no usable row in {files}; nothing was stored")]
    NoRows {
        /// The files read.
        files: String,
    },
    /// A date or month that cannot be read.
    #[error("`{text}` is not a date: {reason}; write 2023, 2023-01 or 2023-01-31 (UTC)")]
    BadDate {
        /// The text.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// A request for a synthetic market or a download that cannot be met.
    #[error("{what} {problem}")]
    BadRequest {
        /// The setting, with its value.
        what: String,
        /// What is wrong with it and what would do.
        problem: String,
    },
    /// The server cannot be reached at all.
    #[error(
        "cannot reach {url}: {reason}; check the network, a proxy, or name a mirror with --source. What was downloaded is kept"
    )]
    Unreachable {
        /// The address.
        url: String,
        /// The transport's answer.
        reason: String,
    },
}

impl DataError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> DataError {
        DataError::Io { action, path: path.to_owned(), source }
    }

    /// Whether another attempt may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            DataError::Io { .. } | DataError::NoDataset { .. } => true,
            DataError::Storage(error) => error.is_transient(),
            _ => false,
        }
    }

    pub(crate) fn bad_file(file: &str, reason: impl Into<String>) -> DataError {
        DataError::BadFile { file: file.to_owned(), reason: reason.into() }
    }
}

/// How many names, bad rows or conflicts a message shows.
pub(crate) const SHOWN: usize = 20;

fn hint(near: &Option<String>, known: &[String]) -> String {
    let mut text = match near {
        Some(near) => format!("; did you mean {near}?"),
        None => String::from(";"),
    };
    match known.len() {
        0 => text.push_str(" it is empty; fill it with `polybolos data import`, `fetch` or `synth`"),
        count => {
            let shown = known.get(..count.min(SHOWN)).unwrap_or_default().join(", ");
            let more = if count > SHOWN { format!(" and {} more", count - SHOWN) } else { String::new() };
            text.push_str(&format!(" it has {shown}{more}"));
        }
    }
    text
}

fn spacing(ms: i64) -> String {
    Interval::from_ms(ms).map_or_else(|| format!("{} s", ms as f64 / 1000.0), |interval| interval.to_string())
}

/// Where in a file a row stands; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A line of a text file, the header included.
    Line(u64),
    /// A row of a columnar file or an element of a JSON array.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(number) => write!(f, "line {number}"),
            Place::Row(number) => write!(f, "row {number}"),
        }
    }
}

/// One row of an input file that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadRow {
    /// The file, with the entry's name if it is inside a zip.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// The value and what is wrong with it.
    pub reason: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.file, self.place, self.reason)
    }
}

/// The refused rows of an import: the first ones and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BadRows {
    /// The first refused rows, in the order of reading.
    pub first: Vec<BadRow>,
    /// How many there are in all.
    pub total: u64,
}

impl BadRows {
    pub(crate) fn add(&mut self, row: impl FnOnce() -> BadRow) {
        self.total += 1;
        if self.first.len() < SHOWN {
            self.first.push(row());
        }
    }
}

impl fmt::Display for BadRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.first {
            writeln!(f, "{row}")?;
        }
        let hidden = self.total.saturating_sub(self.first.len() as u64);
        if hidden > 0 {
            writeln!(f, "and {hidden} more")?;
        }
        let rows = if self.total == 1 { "row" } else { "rows" };
        write!(
            f,
            "{} bad {rows}; the dataset was not touched. Mend the input, or drop such rows with --skip-bad",
            self.total
        )
    }
}

impl std::error::Error for BadRows {}

/// New rows that have the time of a stored row but other values.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// The series' symbol.
    pub symbol: String,
    /// The series' interval.
    pub interval: Interval,
    /// Open time of the first row in conflict, UTC milliseconds.
    pub open_time_ms: i64,
    /// The first column that differs.
    pub column: &'static str,
    /// Its stored value.
    pub stored: f64,
    /// Its new value.
    pub new: f64,
    /// How many rows are in conflict.
    pub total: u64,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}: {} is {} in the dataset and {} in the new data ({} such {}); nothing was stored. Use another \
             --data directory for another source, or keep the stored rows with --skip-bad",
            self.symbol,
            self.interval,
            utc_text(self.open_time_ms),
            self.column,
            self.stored,
            self.new,
            self.total,
            if self.total == 1 { "row" } else { "rows" }
        )
    }
}

impl std::error::Error for Conflict {}
