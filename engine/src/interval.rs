//! Bar intervals: the fourteen that Binance serves and datasets hold.

use std::fmt;
use std::str::FromStr;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Milliseconds of a UTC day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// The first Monday of the epoch (1970-01-05): weekly bars start on Mondays, all others on multiples since the epoch.
const FIRST_MONDAY_MS: i64 = 4 * DAY_MS;

/// Length of a bar. Ordered by length; prints and parses as `1m` ... `1w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval(usize);

const TABLE: [(&str, i64); 14] = [
    ("1m", MINUTE_MS),
    ("3m", 3 * MINUTE_MS),
    ("5m", 5 * MINUTE_MS),
    ("15m", 15 * MINUTE_MS),
    ("30m", 30 * MINUTE_MS),
    ("1h", HOUR_MS),
    ("2h", 2 * HOUR_MS),
    ("4h", 4 * HOUR_MS),
    ("6h", 6 * HOUR_MS),
    ("8h", 8 * HOUR_MS),
    ("12h", 12 * HOUR_MS),
    ("1d", DAY_MS),
    ("3d", 3 * DAY_MS),
    ("1w", 7 * DAY_MS),
];

impl Interval {
    /// Every interval, shortest first.
    pub fn all() -> impl Iterator<Item = Interval> {
        (0..TABLE.len()).map(Interval)
    }

    /// Length in milliseconds.
    pub fn ms(self) -> i64 {
        TABLE[self.0].1
    }

    /// The interval of this length.
    pub fn from_ms(ms: i64) -> Option<Interval> {
        Interval::all().find(|interval| interval.ms() == ms)
    }

    /// The name used in paths and on the command line.
    pub fn name(self) -> &'static str {
        TABLE[self.0].0
    }

    /// Open time of the bar that contains `time_ms`: multiples of the length since the epoch, Mondays for `1w`.
    pub fn floor(self, time_ms: i64) -> i64 {
        floor_to_bar(time_ms, self.ms())
    }
}

/// [`Interval::floor`] for a length in milliseconds.
pub fn floor_to_bar(time_ms: i64, length_ms: i64) -> i64 {
    let origin = if length_ms == 7 * DAY_MS { FIRST_MONDAY_MS } else { 0 };
    (time_ms - origin).div_euclid(length_ms) * length_ms + origin
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no interval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an interval; use one of 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w")]
pub struct ParseIntervalError(String);

impl FromStr for Interval {
    type Err = ParseIntervalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Interval::all()
            .find(|interval| interval.name() == text)
            .ok_or_else(|| ParseIntervalError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_lengths_round_trip() {
        for interval in Interval::all() {
            assert_eq!(interval.name().parse(), Ok(interval));
            assert_eq!(Interval::from_ms(interval.ms()), Some(interval));
        }
        assert!("7h".parse::<Interval>().is_err());
    }

    #[test]
    fn weekly_bars_open_on_mondays_and_times_before_the_epoch_floor_down() {
        let week: Interval = "1w".parse().unwrap_or(Interval(0));
        let thursday_2024_02_29 = 1_709_164_800_000;
        let monday_2024_02_26 = 1_708_905_600_000;
        assert_eq!(week.floor(thursday_2024_02_29), monday_2024_02_26);
        assert_eq!(Interval(5).floor(-1), -HOUR_MS);
    }
}
