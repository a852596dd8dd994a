//! `--timerange`: a span of open times, in UTC.
//!
//! `20230101-20231231` takes both days whole; either side may be missing; digits of ten or thirteen places are seconds or
//! milliseconds since the epoch, the end then exclusive.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use chrono::NaiveDate;
use polybolos_kernels::bars::Bars;

use crate::interval::DAY_MS;

/// A half-open span `[from_ms, to_ms)` of bar open times; a missing side is unbounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    /// First open time included, UTC milliseconds.
    pub from_ms: Option<i64>,
    /// First open time excluded, UTC milliseconds.
    pub to_ms: Option<i64>,
}

impl TimeRange {
    /// The rows of `bars` inside the range.
    pub fn rows(&self, bars: &Bars) -> Range<usize> {
        let first_at_or_after = |ms: i64| bars.open_time_ms.partition_point(|&time| time < ms);
        let start = self.from_ms.map_or(0, first_at_or_after);
        let end = self.to_ms.map_or(bars.len(), first_at_or_after);
        start..end.max(start)
    }
}

impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(from) = self.from_ms {
            write!(f, "{from}")?;
        }
        f.write_str("-")?;
        if let Some(to) = self.to_ms {
            write!(f, "{to}")?;
        }
        Ok(())
    }
}

/// The text is no time range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a time range: {reason}; write 20230101-20231231, 20230101- or -20231231 (UTC, both days included)"
)]
pub struct ParseTimeRangeError {
    text: String,
    reason: String,
}

impl FromStr for TimeRange {
    type Err = ParseTimeRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason: &str| ParseTimeRangeError { text: text.to_owned(), reason: reason.to_owned() };
        let (from, to) = text.split_once('-').ok_or_else(|| error("it has no `-`"))?;
        let from_ms = point(from).map_err(|reason| error(&reason))?.map(|point| point.start_ms);
        let to_ms = point(to).map_err(|reason| error(&reason))?.map(|point| point.end_ms);
        if from_ms.is_none() && to_ms.is_none() {
            return Err(error("both sides are empty"));
        }
        if let (Some(from), Some(to)) = (from_ms, to_ms)
            && from >= to
        {
            return Err(error("it ends before it starts"));
        }
        Ok(TimeRange { from_ms, to_ms })
    }
}

struct Point {
    start_ms: i64,
    /// Where a range that ends here stops: the end of the day for a date, the instant itself otherwise.
    end_ms: i64,
}

fn point(text: &str) -> Result<Option<Point>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` is not a date"));
    }
    let instant = |scale: i64| {
        let value: i64 = text.parse().map_err(|_| format!("`{text}` is not a time"))?;
        Ok(Some(Point { start_ms: value * scale, end_ms: value * scale }))
    };
    match text.len() {
        8 => {
            let date =
                NaiveDate::parse_from_str(text, "%Y%m%d").map_err(|_| format!("`{text}` is not a date"))?;
            let start_ms = date.signed_duration_since(NaiveDate::default()).num_milliseconds();
            Ok(Some(Point { start_ms, end_ms: start_ms + DAY_MS }))
        }
        10 => instant(1_000),
        13 => instant(1),
        _ => Err(format!("`{text}` has {} digits, not 8 (date), 10 (s) or 13 (ms)", text.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_parse() {
        let day = 1_672_531_200_000; // 2023-01-01
        for (text, from_ms, to_ms) in [
            ("20230101-20230101", Some(day), Some(day + DAY_MS)),
            ("20230101-", Some(day), None),
            ("-20230101", None, Some(day + DAY_MS)),
            ("1672531200-1672531201", Some(day), Some(day + 1_000)),
            ("1672531200000-1672531200001", Some(day), Some(day + 1)),
        ] {
            assert_eq!(text.parse(), Ok(TimeRange { from_ms, to_ms }), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_text_in_the_message() {
        for text in ["", "-", "2023", "20230101", "20231301-", "20230102-20230101", "a-b", "99999999999-"] {
            let message = text.parse::<TimeRange>().map_or_else(|error| error.to_string(), |_| String::new());
            assert!(message.contains(&format!("`{text}`")), "{text}: {message}");
        }
    }

    #[test]
    fn rows_are_half_open() {
        let bars = Bars { open_time_ms: vec![10, 20, 30], ..Bars::default() };
        let range = TimeRange { from_ms: Some(20), to_ms: Some(30) };
        assert_eq!(range.rows(&bars), 1..2);
        assert_eq!(TimeRange { from_ms: Some(40), to_ms: Some(50) }.rows(&bars), 3..3);
    }
}
