//! The rows of an import on their way to bars: judged one by one, then sorted and freed of duplicates.
//!
//! A bad row is one with an unreadable or non-finite value, a price that is not positive, a negative volume, a high
//! below its low, or the time of an earlier row with other values. Nothing is repaired.

use polybolos_engine::interval::Interval;
use polybolos_kernels::bars::{Bars, Column};

use super::header::Layout;
use super::spacing;
use crate::dataset::merge::MAX_TRADES;
use crate::error::{BadRow, Place};
use crate::parquet_bars::{self, VALUES};
use crate::utc_text;
use crate::{BadRows, DataError};

/// How a source counts its rows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counted {
    Lines,
    Rows,
}

#[derive(Clone, Copy)]
struct Row {
    time_ms: i64,
    values: [f64; VALUES],
    source: u32,
    number: u32,
}

struct Source {
    name: String,
    counted: Counted,
}

/// Everything read so far.
pub(crate) struct Rows {
    interval: Interval,
    sources: Vec<Source>,
    /// Where the rows of the source being read begin.
    source_start: usize,
    rows: Vec<Row>,
    rows_read: u64,
    bad: BadRows,
    /// Stored columns that a file lacks.
    absent: [bool; VALUES],
}

/// Rows that can be merged, and what was found on the way.
pub(crate) struct Settled {
    pub(crate) bars: Bars,
    pub(crate) files: Vec<String>,
    pub(crate) rows_read: u64,
    pub(crate) bad: BadRows,
    pub(crate) duplicates: u64,
    pub(crate) misaligned: u64,
    pub(crate) overlapping: u64,
    pub(crate) absent_columns: Vec<&'static str>,
}

impl Rows {
    pub(crate) fn new(interval: Interval) -> Rows {
        Rows {
            interval,
            sources: Vec::new(),
            source_start: 0,
            rows: Vec::new(),
            rows_read: 0,
            bad: BadRows::default(),
            absent: [false; VALUES],
        }
    }

    /// The rows that follow come from this file.
    pub(crate) fn begin(&mut self, name: &str) {
        self.sources.push(Source { name: name.to_owned(), counted: Counted::Rows });
        self.source_start = self.rows.len();
    }

    /// The file being read has these columns.
    pub(crate) fn has_columns(&mut self, layout: &Layout) {
        for (absent, position) in self.absent.iter_mut().zip(layout.values) {
            *absent |= position.is_none();
        }
    }

    /// The rows of the file are counted in lines.
    pub(crate) fn count_lines(&mut self) {
        if let Some(source) = self.sources.last_mut() {
            source.counted = Counted::Lines;
        }
    }

    /// The file has ended: its rows must be spaced like the interval.
    pub(crate) fn finish(&mut self) -> Result<(), DataError> {
        let times = self.rows.get(self.source_start..).unwrap_or_default().iter().map(|row| row.time_ms);
        let Some(found) = spacing::contradiction(self.interval, times.collect()) else {
            return Ok(());
        };
        Err(DataError::WrongInterval {
            file: self.sources.last().map_or_else(String::new, |source| source.name.clone()),
            given: self.interval,
            detected: found.detected,
            spacing_ms: found.median_ms,
        })
    }

    /// Adds a row of the current file, or notes why it is bad. `number` counts lines or rows from 1.
    pub(crate) fn add(&mut self, number: u64, row: Result<(i64, [f64; VALUES]), String>) {
        self.rows_read += 1;
        let source = u32::try_from(self.sources.len().saturating_sub(1)).unwrap_or(u32::MAX);
        match row.and_then(|(time_ms, values)| Ok((time_ms, judge(values)?))) {
            Ok((time_ms, values)) => {
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                self.rows.push(Row { time_ms, values, source, number });
            }
            Err(reason) => note(&mut self.bad, &self.sources, source, number, reason),
        }
    }

    /// Sorts the rows and drops repeated ones; of rows with one time and different values the first read stays.
    pub(crate) fn settle(mut self) -> Settled {
        if !self.rows.is_sorted_by_key(|row| row.time_ms) {
            self.rows.sort_by_key(|row| row.time_ms);
        }
        let mut bars = Bars { interval_ms: self.interval.ms(), ..Bars::default() };
        let (mut duplicates, mut misaligned, mut overlapping) = (0, 0, 0);
        let mut last: Option<Row> = None;
        for row in &self.rows {
            match last {
                Some(first) if first.time_ms == row.time_ms => {
                    if first.values == row.values {
                        duplicates += 1;
                    } else {
                        let reason = clash(&first, row, &self.sources);
                        note(&mut self.bad, &self.sources, row.source, u64::from(row.number), reason);
                    }
                    continue;
                }
                Some(before) if row.time_ms - before.time_ms < self.interval.ms() => overlapping += 1,
                _ => {}
            }
            if self.interval.floor(row.time_ms) != row.time_ms {
                misaligned += 1;
            }
            parquet_bars::push(&mut bars, row.time_ms, &row.values);
            last = Some(*row);
        }
        let named = Column::ALL.into_iter().skip(1).map(Column::name).zip(self.absent);
        Settled {
            absent_columns: named.filter_map(|(name, is_absent)| is_absent.then_some(name)).collect(),
            bars,
            files: self.sources.into_iter().map(|source| source.name).collect(),
            rows_read: self.rows_read,
            bad: self.bad,
            duplicates,
            misaligned,
            overlapping,
        }
    }
}

fn place(sources: &[Source], source: u32, number: u64) -> (String, Place) {
    match sources.get(source as usize) {
        Some(Source { name, counted: Counted::Lines }) => (name.clone(), Place::Line(number)),
        Some(Source { name, counted: Counted::Rows }) => (name.clone(), Place::Row(number)),
        None => (String::new(), Place::Row(number)),
    }
}

fn note(bad: &mut BadRows, sources: &[Source], source: u32, number: u64, reason: String) {
    bad.add(|| {
        let (file, place) = place(sources, source, number);
        BadRow { file, place, reason }
    });
}

fn clash(first: &Row, second: &Row, sources: &[Source]) -> String {
    let index = (0..VALUES).find(|&index| first.values[index] != second.values[index]).unwrap_or(0);
    let (file, place) = place(sources, first.source, u64::from(first.number));
    let elsewhere = if first.source == second.source { String::new() } else { format!("{file} ") };
    format!(
        "{} is {} but {elsewhere}{place} has {} for the same time {}",
        Column::ALL[index + 1].name(),
        second.values[index],
        first.values[index],
        utc_text(first.time_ms),
    )
}

/// The values with negative zeros made plain, or what is wrong with them.
fn judge(mut values: [f64; VALUES]) -> Result<[f64; VALUES], String> {
    for (value, column) in values.iter_mut().zip(Column::ALL.into_iter().skip(1)) {
        let is_price = matches!(column, Column::Open | Column::High | Column::Low | Column::Close);
        let name = column.name();
        if !value.is_finite() {
            return Err(format!("{name} is {value}"));
        }
        if is_price && *value <= 0.0 {
            return Err(format!("{name} is {value}, not a positive price"));
        }
        if *value < 0.0 {
            return Err(format!("{name} is {value}, below 0"));
        }
        if column == Column::Trades && (value.fract() != 0.0 || *value > MAX_TRADES) {
            return Err(format!("{name} is {value}, not a whole number"));
        }
        *value += 0.0;
    }
    let [_, high, low, ..] = values;
    if high < low {
        return Err(format!("high {high} is below low {low}"));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour() -> Interval {
        Interval::from_ms(3_600_000).unwrap_or_else(|| unreachable!("an hour is an interval"))
    }

    fn bar(close: f64) -> [f64; VALUES] {
        [close, close, close, close, 1.0, 0.0, 0.0, 0.0, 0.0]
    }

    #[test]
    fn rows_are_sorted_and_repeated_rows_counted() {
        let mut rows = Rows::new(hour());
        rows.begin("a.csv");
        for (number, time, close) in
            [(1, 7_200_000, 3.0), (2, 0, 1.0), (3, 3_600_000, 2.0), (4, 0, 1.0), (5, 0, 9.0)]
        {
            rows.add(number, Ok((time, bar(close))));
        }
        let settled = rows.settle();
        assert_eq!(settled.bars.close, [1.0, 2.0, 3.0]);
        assert_eq!((settled.duplicates, settled.bad.total), (1, 1));
        assert_eq!(
            settled.bad.first.first().map(ToString::to_string).as_deref(),
            Some("a.csv row 5: open is 9 but row 2 has 1 for the same time 1970-01-01T00:00:00Z")
        );
    }

    #[test]
    fn odd_times_are_kept_and_counted() {
        let mut rows = Rows::new(hour());
        rows.begin("a.csv");
        for (number, time) in [(1, 0), (2, 1_800_000), (3, 3_600_000)] {
            rows.add(number, Ok((time, bar(1.0))));
        }
        let settled = rows.settle();
        assert_eq!((settled.bars.len(), settled.misaligned, settled.overlapping), (3, 1, 2));
    }

    #[test]
    fn unusable_values_are_named() {
        let with = |index: usize, value: f64| {
            let mut values = bar(2.0);
            values[index] = value;
            judge(values)
        };
        for (index, value, reason) in [
            (0, f64::NAN, "open is NaN"),
            (1, f64::INFINITY, "high is inf"),
            (1, 1.0, "high 1 is below low 2"),
            (2, 0.0, "low is 0, not a positive price"),
            (3, -1.0, "close is -1, not a positive price"),
            (4, -0.5, "volume is -0.5, below 0"),
            (6, 1.5, "trades is 1.5, not a whole number"),
        ] {
            assert_eq!(with(index, value), Err(reason.to_owned()));
        }
        assert_eq!(with(4, -0.0).map(|values| values[4].to_bits()), Ok(0));
    }
}
