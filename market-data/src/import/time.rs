//! Times as files write them, in UTC milliseconds.
//!
//! Numbers tell their unit by magnitude, each value for itself, because Binance's files changed from milliseconds to
//! microseconds in 2025 and joined files hold both. A text without a zone is UTC. Months before days, or two-digit
//! years, are refused rather than guessed.

use chrono::NaiveDate;

use crate::utc::{date_ms, utc_text, year_of};

/// The earliest and the latest year that a bar can be of; anything else is a unit mistaken.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2200;

/// Smallest magnitudes of seconds (1973), milliseconds, microseconds and nanoseconds.
const SECONDS: i64 = 100_000_000;
const MILLISECONDS: i64 = 100_000_000_000;
const MICROSECONDS: i64 = 100_000_000_000_000;
const NANOSECONDS: i64 = 100_000_000_000_000_000;

/// A number of seconds, milliseconds, microseconds or nanoseconds since the epoch.
pub(crate) fn time_from_number(value: i64) -> Result<i64, String> {
    let whole = |per_ms: i64| {
        if value % per_ms == 0 {
            Ok(value / per_ms)
        } else {
            Err(format!("time {value} is not a whole millisecond"))
        }
    };
    let ms = match value.unsigned_abs() as i64 {
        ..SECONDS => return Err(format!("time {value} is too small for seconds since 1970")),
        SECONDS..MILLISECONDS => value * 1000,
        MILLISECONDS..MICROSECONDS => value,
        MICROSECONDS..NANOSECONDS => whole(1000)?,
        NANOSECONDS.. => whole(1_000_000)?,
    };
    plausible(ms)
}

/// As [`time_from_number`] for a number with a fraction: seconds as Python's `time.time()` writes them.
pub(crate) fn time_from_float(value: f64) -> Result<i64, String> {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return time_from_number(value as i64);
    }
    let ms = value * 1000.0;
    if (SECONDS as f64..MILLISECONDS as f64).contains(&value.abs()) && (ms - ms.round()).abs() < 1e-3 {
        return plausible(ms.round() as i64);
    }
    Err(format!("time {value} is not a whole number of seconds or milliseconds"))
}

/// A time since the epoch, an ISO 8601 date or date and time, with or without a zone.
pub(crate) fn time_from_text(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let bad = || format!("`{text}` is not a time (seconds, ms or us since 1970, or ISO 8601)");
    // Eight digits are a date in ISO 8601's basic form; no unit gives so small a number.
    if let (8, Ok(number)) = (text.len(), text.parse::<u32>()) {
        let date = NaiveDate::from_ymd_opt((number / 10_000) as i32, number / 100 % 100, number % 100);
        return plausible(date.map(date_ms).ok_or_else(bad)?);
    }
    if let Ok(number) = text.parse::<i64>() {
        return time_from_number(number);
    }
    if let Some(ms) = iso_8601(text.as_bytes()) {
        return plausible(ms);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => time_from_float(number),
        _ => Err(bad()),
    }
}

/// The time itself if it is of a year that bars can be of.
pub(crate) fn plausible(ms: i64) -> Result<i64, String> {
    if YEARS.contains(&year_of(ms)) {
        Ok(ms)
    } else {
        Err(format!("the time {} is not in the years 1900 to 2200", utc_text(ms)))
    }
}

/// Reads digits off the front of a text.
struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    fn number(&mut self, digits: usize) -> Option<u32> {
        let (front, rest) = self.0.split_at_checked(digits)?;
        let mut number = 0;
        for byte in front {
            number = number * 10 + u32::from(byte.is_ascii_digit().then(|| byte - b'0')?);
        }
        self.0 = rest;
        Some(number)
    }

    fn take(&mut self, choices: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        choices.contains(&first).then(|| {
            self.0 = rest;
            first
        })
    }
}

/// `2023-01-31`, `2023-01-31T05:00[:00[.000]][Z|+02:00|+0200| UTC]`, with a `T` or a space.
fn iso_8601(text: &[u8]) -> Option<i64> {
    let mut scanner = Scanner(text);
    let year = scanner.number(4)?;
    scanner.take(b"-")?;
    let month = scanner.number(2)?;
    scanner.take(b"-")?;
    let date = NaiveDate::from_ymd_opt(year as i32, month, scanner.number(2)?)?;
    let mut ms = date_ms(date);
    if scanner.0.is_empty() {
        return Some(ms);
    }
    scanner.take(b"Tt ")?;
    let hour = scanner.number(2)?;
    scanner.take(b":")?;
    let minute = scanner.number(2)?;
    let second = if scanner.take(b":").is_some() { scanner.number(2)? } else { 0 };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    ms += i64::from((hour * 60 + minute) * 60 + second) * 1000;
    if scanner.take(b".,").is_some() {
        ms += fraction_ms(&mut scanner)?;
    }
    Some(ms - zone_ms(&mut scanner)?)
}

/// One to nine digits after the point, which must come to whole milliseconds.
fn fraction_ms(scanner: &mut Scanner<'_>) -> Option<i64> {
    let mut nanoseconds = 0;
    let mut digits = 0;
    while digits < 9
        && let Some(digit) = scanner.number(1)
    {
        nanoseconds = nanoseconds * 10 + i64::from(digit);
        digits += 1;
    }
    if digits == 0 {
        return None;
    }
    for _ in digits..9 {
        nanoseconds *= 10;
    }
    (nanoseconds % 1_000_000 == 0).then_some(nanoseconds / 1_000_000)
}

/// The zone's offset from UTC; none written is UTC.
fn zone_ms(scanner: &mut Scanner<'_>) -> Option<i64> {
    if matches!(scanner.0, b"" | b"Z" | b"z" | b" UTC" | b"UTC") {
        return Some(0);
    }
    let sign = if scanner.take(b"+-")? == b'-' { -1 } else { 1 };
    let hours = scanner.number(2)?;
    let _ = scanner.take(b":");
    let minutes = if scanner.0.is_empty() { 0 } else { scanner.number(2)? };
    let is_zone = scanner.0.is_empty() && hours <= 15 && minutes <= 59;
    is_zone.then_some(sign * i64::from(hours * 60 + minutes) * 60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW_YEAR_2025_MS: i64 = 1_735_689_600_000;

    #[test]
    fn every_spelling_of_an_instant_is_the_same_millisecond() {
        for text in [
            "1735689600",
            "1735689600.0",
            "1.7356896e9",
            "1735689600000",
            "1735689600000000",
            "1735689600000000000",
            "20250101",
            "2025-01-01",
            "2025-01-01 00:00",
            "2025-01-01T00:00:00Z",
            "2025-01-01T00:00:00.000000000+00:00",
            "2025-01-01 02:00:00+02:00",
            "2024-12-31T18:30:00-0530",
            "2025-01-01 00:00:00 UTC",
            " 2025-01-01 ",
        ] {
            assert_eq!(time_from_text(text), Ok(NEW_YEAR_2025_MS), "{text}");
        }
        assert_eq!(time_from_text("2025-01-01T00:00:00.25"), Ok(NEW_YEAR_2025_MS + 250));
        assert_eq!(time_from_text("1735689600.25"), Ok(NEW_YEAR_2025_MS + 250));
        assert_eq!(time_from_text("1969-12-31T23:59:59Z"), Ok(-1000));
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "abc",
            "12",
            "20251301",
            "2025-02-30",
            "01/02/2025",
            "2025-1-1",
            "2025-01-01T25:00",
            "2025-01-01T",
            "2025-01-01T00:00:00.",
            "2025-01-01T00:00:00+99:00",
            "2025-01-01T00:00:00.0001",
            "1735689600000001",
            "nan",
            "inf",
            "1e300",
            "99999999999",
            "9223372036854775807",
            "-9223372036854775808",
        ] {
            assert!(time_from_text(text).is_err(), "{text}");
        }
    }
}
