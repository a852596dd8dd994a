//! UTC times as text, years and periods; milliseconds since the epoch everywhere.

use std::ops::Range;

use chrono::{DateTime, Datelike, Months, NaiveDate, SecondsFormat};
use polybolos_engine::interval::DAY_MS;

use crate::DataError;

/// A time as `2023-01-31T05:00:00Z`, with milliseconds where there are any.
pub fn utc_text(ms: i64) -> String {
    match DateTime::from_timestamp_millis(ms) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => format!("{ms} ms"),
    }
}

/// The first instant of a year, month or day: `2023`, `2023-01` or `2023-01-31`.
///
/// # Errors
/// [`DataError::BadDate`].
pub fn period_start_ms(text: &str) -> Result<i64, DataError> {
    period(text).map(|span| span.start)
}

/// The first instant after a year, month or day, so that a range that ends with it has it whole.
///
/// # Errors
/// [`DataError::BadDate`].
pub fn period_end_ms(text: &str) -> Result<i64, DataError> {
    period(text).map(|span| span.end)
}

fn period(text: &str) -> Result<Range<i64>, DataError> {
    let bad = |reason: &str| DataError::BadDate { text: text.to_owned(), reason: reason.to_owned() };
    let parts: Vec<&str> = text.split('-').collect();
    let widths = [4, 2, 2];
    let well_formed = parts.len() <= 3
        && parts
            .iter()
            .zip(widths)
            .all(|(part, width)| part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit()));
    if !well_formed {
        return Err(bad("it is not written as a year, year-month or year-month-day"));
    }
    let number = |index: usize| parts.get(index).and_then(|part| part.parse::<u32>().ok());
    let first = number(0)
        .and_then(|year| NaiveDate::from_ymd_opt(year as i32, number(1).unwrap_or(1), number(2).unwrap_or(1)))
        .ok_or_else(|| bad("there is no such day"))?;
    let next = match parts.len() {
        1 => first.checked_add_months(Months::new(12)),
        2 => first.checked_add_months(Months::new(1)),
        _ => first.succ_opt(),
    };
    let next = next.ok_or_else(|| bad("it is too late"))?;
    Ok(date_ms(first)..date_ms(next))
}

pub(crate) fn date_ms(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days() * DAY_MS
}

pub(crate) fn date_of(ms: i64) -> NaiveDate {
    DateTime::from_timestamp_millis(ms).map_or(NaiveDate::MAX, |time| time.date_naive())
}

pub(crate) fn year_of(ms: i64) -> i32 {
    date_of(ms).year()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_years_months_and_days() {
        for (text, from, to) in [
            ("2024", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
            ("2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            ("2023-12-31", "2023-12-31T00:00:00Z", "2024-01-01T00:00:00Z"),
        ] {
            assert_eq!(period_start_ms(text).map(utc_text).ok().as_deref(), Some(from));
            assert_eq!(period_end_ms(text).map(utc_text).ok().as_deref(), Some(to));
        }
        for text in ["", "23", "2023-1", "2023-13", "2023-02-29", "2023-01-01-01", "20230101", "+023"] {
            assert!(period_start_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn years_of_times() {
        assert_eq!(year_of(1_704_067_199_999), 2023);
        assert_eq!(year_of(1_704_067_200_000), 2024);
        assert_eq!(year_of(-1), 1969);
    }
}
