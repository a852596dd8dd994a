//! A rate over the last seconds, from a count that only grows.

use std::collections::VecDeque;

/// How far back a rate looks.
const WINDOW_MS: i64 = 10_000;

/// See the module. Times are milliseconds of one clock.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    points: VecDeque<(i64, u64)>,
}

impl Meter {
    /// The count now. One that fell (a report was lost, a process began anew) starts over.
    pub(crate) fn mark(&mut self, now_ms: i64, count: u64) {
        if self.points.back().is_some_and(|&(at, last)| count < last || now_ms < at) {
            self.points.clear();
        }
        self.points.push_back((now_ms, count));
        // The point before the window is kept: the rate reaches back to it.
        while self.points.get(1).is_some_and(|&(at, _)| at <= now_ms - WINDOW_MS) {
            self.points.pop_front();
        }
    }

    /// Counts per second lately; 0 before there are two points.
    pub(crate) fn per_second(&self, now_ms: i64) -> f64 {
        let (Some(&(from, first)), Some(&(_, last))) = (self.points.front(), self.points.back()) else {
            return 0.0;
        };
        let seconds = (now_ms - from) as f64 / 1e3;
        if seconds > 0.0 { (last - first) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let mut meter = Meter::default();
        assert_eq!(meter.per_second(0), 0.0);
        for second in 0..=60 {
            // A thousand a second, and ten thousand a second after the fortieth.
            let count = if second <= 40 { second * 1_000 } else { 40_000 + (second - 40) * 10_000 };
            meter.mark(second as i64 * 1_000, count);
        }
        assert_eq!(meter.per_second(60_000), 10_000.0);
        assert!(meter.points.len() <= 12);
        // Silence slows it down.
        assert_eq!(meter.per_second(70_000), 5_000.0);
        meter.mark(71_000, 5);
        assert_eq!(meter.per_second(71_000), 0.0);
    }
}
