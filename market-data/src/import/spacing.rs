//! Whether rows are spaced like the interval the user named: minutes stored as hours would backtest without a murmur.

use polybolos_engine::interval::Interval;

/// Fewest distances from which a coarser interval is concluded; fewer can be gaps.
const MIN_DISTANCES: usize = 4;

/// The rows are of another interval.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contradiction {
    /// The interval that fits.
    pub(crate) detected: String,
    /// Median distance of neighbouring rows.
    pub(crate) median_ms: i64,
}

/// Compares the distances of neighbouring rows with the interval.
///
/// Rows are too fine if their median distance is shorter. They are too coarse if 19 of 20 distances are multiples of a
/// longer interval that is no longer than the median: a series with many gaps has a long median but not that rhythm.
pub(crate) fn contradiction(interval: Interval, mut times: Vec<i64>) -> Option<Contradiction> {
    if !times.is_sorted() {
        times.sort_unstable();
    }
    times.dedup();
    let mut distances: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let middle = distances.len() / 2;
    if distances.is_empty() {
        return None;
    }
    let median_ms = *distances.select_nth_unstable(middle).1;
    if median_ms >= interval.ms() && distances.len() < MIN_DISTANCES {
        return None;
    }
    let fits = |candidate: &Interval| {
        let multiples = distances.iter().filter(|&distance| distance % candidate.ms() == 0).count();
        candidate.ms() <= median_ms && multiples * 20 >= distances.len() * 19
    };
    let detected = Interval::all().filter(fits).last();
    match detected {
        Some(detected) if detected > interval || median_ms < interval.ms() => {
            Some(Contradiction { detected: detected.to_string(), median_ms })
        }
        None if median_ms < interval.ms() => {
            Some(Contradiction { detected: "that is a multiple of their spacing".to_owned(), median_ms })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(named: &str, times: Vec<i64>) -> Option<String> {
        let interval = named.parse().ok()?;
        contradiction(interval, times).map(|found| found.detected)
    }

    #[test]
    fn another_interval_is_recognised_and_gaps_are_not() {
        let every = |minutes: i64, count: i64| (0..count).map(|i| i * minutes * 60_000).collect::<Vec<_>>();
        assert_eq!(detected("1h", every(60, 100)), None);
        assert_eq!(detected("1h", every(1, 100)).as_deref(), Some("1m"));
        assert_eq!(detected("1m", every(60, 100)).as_deref(), Some("1h"));
        assert_eq!(detected("1h", every(60, 1)), None);
        assert_eq!(detected("1h", vec![0, 7_200_000]), None);
        let mut weekdays = every(1440, 100);
        weekdays.retain(|time| (time / 86_400_000) % 7 < 5);
        assert_eq!(detected("1d", weekdays), None);
        let sparse = (0..100).map(|i: i64| (i * i + i * 5) * 60_000).collect();
        assert_eq!(detected("1m", sparse), None);
        let mut one_shifted = every(60, 100);
        one_shifted[50] += 1_000;
        assert_eq!(detected("1h", one_shifted), None);
    }
}
