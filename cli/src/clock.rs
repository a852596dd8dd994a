//! The wall clock, read here and handed to everything else as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, UTC milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `2024-02-29 12:00` for UTC milliseconds.
pub(crate) fn date_time(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .map_or_else(|| ms.to_string(), |time| time.format("%Y-%m-%d %H:%M").to_string())
}
