//! Merging new bars into a series: idempotent, all years or none, changed files only.
//!
//! Every changed year is first written in full under a temporary name; only when all of them are on the disk are they
//! renamed. A full disk or an error before that leaves the dataset as it was. A kill between two renames leaves some
//! years merged, each of them whole, and the same merge run again completes the rest. So it is in a bucket, where years are
//! uploaded one after the other, each over the revision that was merged with: of two writers the second merges again.

use std::io;
use std::ops::Range;

use polybolos_engine::interval::Interval;
use polybolos_kernels::bars::{Bars, Column};
use serde::Serialize;

use super::lock::WriteLock;
use super::staging::{StagedFile, make_dir, sweep, sync_dir};
use super::{Dataset, YearFile, stored_year};
use crate::DataError;
use crate::error::Conflict;
use crate::parquet_bars::{self, VALUES};
use crate::symbol::symbol_name;
use crate::utc::year_of;

/// What becomes of a new row that has the time of a stored row but other values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict<'a> {
    /// The merge fails and nothing is stored.
    Refuse,
    /// The stored row stays and the new one is counted.
    KeepStored,
    /// The new row replaces the stored one inside these spans of open times; outside them the merge fails.
    ReplaceWithin(&'a [Range<i64>]),
}

/// Times that a merge is tried again because another writer was faster.
const MERGE_ATTEMPTS: usize = 10;

/// What a merge did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MergeReport {
    /// New rows stored.
    pub added: u64,
    /// New rows that were stored already, value for value.
    pub unchanged: u64,
    /// New rows dropped because the stored row has other values ([`OnConflict::KeepStored`]).
    pub kept: u64,
    /// Stored rows replaced ([`OnConflict::ReplaceWithin`]).
    pub replaced: u64,
    /// Year files written.
    pub files_written: u64,
    /// Rows of the series afterwards.
    pub rows: u64,
}

impl Dataset {
    /// Merges bars into a series, waiting for other writers of the dataset first.
    ///
    /// A row whose time is new is added; one equal to its stored twin changes nothing; one that differs is a conflict.
    /// Merging the same bars again changes no file.
    ///
    /// # Errors
    /// [`DataError::Conflict`], [`DataError::InvalidBars`] if the bars break [`Bars::check`], have another interval,
    /// or a negative or fractional number of trades; [`DataError::BadSymbol`], [`DataError::DamagedDataset`],
    /// [`DataError::Io`], [`DataError::Storage`]. On a disk the stored years are as they were in every case; in a bucket some
    /// may be merged already.
    pub fn merge(
        &self,
        symbol: &str,
        interval: Interval,
        bars: &Bars,
        on_conflict: OnConflict<'_>,
    ) -> Result<MergeReport, DataError> {
        let symbol = symbol_name(symbol)?;
        check_storable(&symbol, interval, bars)?;
        let lock = self.lock_for_writing()?;
        self.merge_locked(&lock, &symbol, interval, bars, on_conflict)
    }

    /// [`Dataset::merge`] for a caller that holds the lock and has checked the bars.
    pub(crate) fn merge_locked(
        &self,
        _lock: &WriteLock,
        symbol: &str,
        interval: Interval,
        bars: &Bars,
        on_conflict: OnConflict<'_>,
    ) -> Result<MergeReport, DataError> {
        let mut attempts = 1;
        loop {
            match self.merge_once(symbol, interval, bars, on_conflict) {
                Err(DataError::Storage(error)) if error.is_raced() && attempts < MERGE_ATTEMPTS => {
                    attempts += 1;
                }
                merged => return merged,
            }
        }
    }

    fn merge_once(
        &self,
        symbol: &str,
        interval: Interval,
        bars: &Bars,
        on_conflict: OnConflict<'_>,
    ) -> Result<MergeReport, DataError> {
        let dir = self.series_dir(symbol, interval);
        if let Some(path) = dir.path() {
            make_dir(path)?;
            sweep(path)?;
        }
        let mut report = MergeReport::default();
        let mut conflicts = Conflicts::default();
        let mut staged = Vec::new();
        for rows in years(bars) {
            let year = year_of(bars.open_time_ms[rows.start]);
            let target = YearFile { year, location: dir.join(&format!("{year:04}.parquet")) };
            let (stored, revision) = stored_year(&target, interval.ms())?;
            let (merged, changes) = merge_rows(&stored, bars, rows, on_conflict, &mut conflicts);
            report.unchanged += changes.unchanged;
            report.kept += changes.kept;
            report.added += changes.added;
            report.replaced += changes.replaced;
            if changes.added + changes.replaced > 0 && conflicts.total == 0 {
                staged.push(StagedFile::write(&target.location, revision, |sink| {
                    parquet_bars::write(&merged, sink).map_err(io::Error::other)
                })?);
            }
        }
        if let Some(conflict) = conflicts.into_error(symbol, interval) {
            return Err(conflict.into());
        }
        report.files_written = staged.len() as u64;
        for file in staged {
            file.publish()?;
        }
        if let Some(path) = dir.path().filter(|_| report.files_written > 0) {
            sync_dir(path)?;
        }
        for file in self.year_files(symbol, interval)? {
            report.rows += parquet_bars::footer(&file.location)?.rows;
        }
        Ok(report)
    }
}

/// What the format of a series demands beyond [`Bars::check`].
pub(crate) fn check_storable(symbol: &str, interval: Interval, bars: &Bars) -> Result<(), DataError> {
    let invalid = |reason: String| DataError::InvalidBars { symbol: symbol.to_owned(), interval, reason };
    if bars.interval_ms != interval.ms() {
        return Err(invalid(format!("they are bars of {} ms", bars.interval_ms)));
    }
    bars.check().map_err(|error| invalid(error.to_string()))?;
    for (row, &trades) in bars.trades.iter().enumerate() {
        if !(0.0..=MAX_TRADES).contains(&trades) || trades.fract() != 0.0 {
            return Err(invalid(format!("bar {row}: trades is {trades}, not a whole number from 0 up")));
        }
    }
    Ok(())
}

/// The largest number of trades that is exact both as `f64` and as `i64`.
pub(crate) const MAX_TRADES: f64 = 9_007_199_254_740_992.0;

/// The rows of each calendar year.
fn years(bars: &Bars) -> Vec<Range<usize>> {
    let mut years = Vec::new();
    let mut start = 0;
    while start < bars.len() {
        let year = year_of(bars.open_time_ms[start]);
        let rest = &bars.open_time_ms[start..];
        let end = start + rest.partition_point(|&time| year_of(time) <= year);
        years.push(start..end);
        start = end;
    }
    years
}

#[derive(Default)]
struct Conflicts {
    /// Time, stored values, new values.
    first: Option<(i64, [f64; VALUES], [f64; VALUES])>,
    total: u64,
}

impl Conflicts {
    fn into_error(self, symbol: &str, interval: Interval) -> Option<Box<Conflict>> {
        let (open_time_ms, stored, new) = self.first?;
        let differing = (0..VALUES).find(|&index| stored[index] != new[index]).unwrap_or(0);
        Some(Box::new(Conflict {
            symbol: symbol.to_owned(),
            interval,
            open_time_ms,
            column: Column::ALL[differing + 1].name(),
            stored: stored[differing],
            new: new[differing],
            total: self.total,
        }))
    }
}

/// Merges the new `rows` into one year's stored bars.
fn merge_rows(
    stored: &Bars,
    new: &Bars,
    rows: Range<usize>,
    on_conflict: OnConflict<'_>,
    conflicts: &mut Conflicts,
) -> (Bars, MergeReport) {
    let mut merged = Bars { interval_ms: stored.interval_ms, ..Bars::default() };
    let mut report = MergeReport::default();
    let mut kept = 0;
    for row in rows {
        let time = new.open_time_ms[row];
        while kept < stored.len() && stored.open_time_ms[kept] < time {
            parquet_bars::push(&mut merged, stored.open_time_ms[kept], &parquet_bars::values(stored, kept));
            kept += 1;
        }
        let values = parquet_bars::values(new, row);
        if kept >= stored.len() || stored.open_time_ms[kept] != time {
            report.added += 1;
            parquet_bars::push(&mut merged, time, &values);
            continue;
        }
        let old = parquet_bars::values(stored, kept);
        kept += 1;
        let chosen = if old == values {
            report.unchanged += 1;
            old
        } else {
            match on_conflict {
                OnConflict::KeepStored => {
                    report.kept += 1;
                    old
                }
                OnConflict::ReplaceWithin(spans) if spans.iter().any(|span| span.contains(&time)) => {
                    report.replaced += 1;
                    values
                }
                OnConflict::Refuse | OnConflict::ReplaceWithin(_) => {
                    conflicts.first.get_or_insert((time, old, values));
                    conflicts.total += 1;
                    old
                }
            }
        };
        parquet_bars::push(&mut merged, time, &chosen);
    }
    for row in kept..stored.len() {
        parquet_bars::push(&mut merged, stored.open_time_ms[row], &parquet_bars::values(stored, row));
    }
    (merged, report)
}
