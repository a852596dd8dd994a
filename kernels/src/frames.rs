//! Higher timeframes: base bars aggregated to longer ones, and their values carried back down without look-ahead.
//!
//! A longer bar covers a fixed span of the calendar, whether or not every base bar of the span exists: missing ones
//! are never invented, a span without any base bar has no longer bar. Times are UTC milliseconds.

use std::fmt;

use crate::bars::Bars;
use crate::bits::Bits;

const DAY_MS: i64 = 86_400_000;
const WEEK_MS: i64 = 7 * DAY_MS;
/// Monday 1970-01-05, the first Monday after the epoch.
const FIRST_MONDAY_MS: i64 = 4 * DAY_MS;

/// Largest time and interval accepted, either side of the epoch: whole milliseconds are exact in `f64` up to here.
pub const MAX_TIME_MS: i64 = 1 << 53;

/// Why a higher timeframe cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The longer bar is not longer than the base bar, or not a whole number of them.
    Interval {
        /// Length of a base bar.
        base_ms: i64,
        /// Length asked for.
        higher_ms: i64,
    },
    /// A time or interval beyond [`MAX_TIME_MS`].
    Time {
        /// The offending time or length.
        ms: i64,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Interval { base_ms, higher_ms } => write!(
                f,
                "bars of {higher_ms} ms cannot be made of bars of {base_ms} ms: a timeframe must be a whole number, \
                 2 or more, of the run's bars"
            ),
            FrameError::Time { ms } => {
                write!(f, "{ms} ms is out of range: times must lie within {MAX_TIME_MS} ms of 1970-01-01")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Start of the span of length `interval_ms` that holds `time_ms`: multiples of the length since the epoch, and weeks
/// (7 days) from Monday 1970-01-05. `interval_ms` is above 0 and both are within [`MAX_TIME_MS`].
pub fn span_start_ms(time_ms: i64, interval_ms: i64) -> i64 {
    let origin = if interval_ms == WEEK_MS { FIRST_MONDAY_MS } else { 0 };
    (time_ms - origin).div_euclid(interval_ms) * interval_ms + origin
}

/// Refuses bars whose times would overflow or lose milliseconds.
pub(crate) fn check_times(bars: &Bars) -> Result<(), FrameError> {
    let ends = [bars.open_time_ms.first(), bars.open_time_ms.last(), Some(&bars.interval_ms)];
    match ends.into_iter().flatten().find(|&&ms| !(-MAX_TIME_MS..=MAX_TIME_MS).contains(&ms)) {
        Some(&ms) => Err(FrameError::Time { ms }),
        None => Ok(()),
    }
}

/// A higher timeframe of some base bars.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    bars: Bars,
    known: Vec<usize>,
}

impl Frame {
    /// Aggregates `base` (checked bars) to bars of `interval_ms`: first open, highest high, lowest low, last close,
    /// sums of volumes and trades, in bar order. `open_time_ms` is the start of the span.
    ///
    /// # Errors
    /// [`FrameError`]: the length is not a whole number (2 or more) of base bars, or a time is out of range.
    pub fn aggregate(base: &Bars, interval_ms: i64) -> Result<Frame, FrameError> {
        let base_ms = base.interval_ms;
        if base_ms <= 0 || interval_ms <= base_ms || interval_ms % base_ms != 0 {
            return Err(FrameError::Interval { base_ms, higher_ms: interval_ms });
        }
        check_times(base)?;
        if interval_ms > MAX_TIME_MS {
            return Err(FrameError::Time { ms: interval_ms });
        }
        let mut bars = Bars { interval_ms, ..Bars::default() };
        let mut last_row = Vec::new();
        for t in 0..base.len() {
            let start = span_start_ms(base.open_time_ms[t], interval_ms);
            if bars.open_time_ms.last() == Some(&start) {
                extend_last(&mut bars, base, t);
                last_row.pop();
            } else {
                open_new(&mut bars, base, t, start);
            }
            last_row.push(t);
        }
        let known = known_counts(base, &bars, &last_row);
        Ok(Frame { bars, known })
    }

    /// The longer bars. The last one may still be open at the end of the base bars; [`Frame::known`] tells.
    pub fn bars(&self) -> &Bars {
        &self.bars
    }

    /// How many longer bars are known at the close of base bar `t`: those whose span has ended by then.
    pub fn known(&self, t: usize) -> usize {
        self.known.get(t).copied().unwrap_or(0)
    }

    /// A number series of this frame as seen from the base bars: the value of the latest known bar, `NaN` before the
    /// first.
    pub fn lift(&self, series: &[f64]) -> Vec<f64> {
        self.known.iter().map(|&known| if known == 0 { f64::NAN } else { series[known - 1] }).collect()
    }

    /// A boolean series of this frame as seen from the base bars, undefined before the first known bar.
    pub fn lift_bits(&self, bits: &Bits) -> Bits {
        Bits::from_fn(self.known.len(), |t| bits.get(self.known[t].checked_sub(1)?))
    }
}

fn open_new(bars: &mut Bars, base: &Bars, t: usize, start_ms: i64) {
    bars.open_time_ms.push(start_ms);
    bars.open.push(base.open[t]);
    bars.high.push(base.high[t]);
    bars.low.push(base.low[t]);
    bars.close.push(base.close[t]);
    bars.volume.push(base.volume[t]);
    bars.quote_volume.push(base.quote_volume[t]);
    bars.trades.push(base.trades[t]);
    bars.taker_buy_volume.push(base.taker_buy_volume[t]);
    bars.taker_buy_quote_volume.push(base.taker_buy_quote_volume[t]);
}

fn extend_last(bars: &mut Bars, base: &Bars, t: usize) {
    let change = |column: &mut Vec<f64>, change: &dyn Fn(f64) -> f64| {
        if let Some(last) = column.last_mut() {
            *last = change(*last);
        }
    };
    change(&mut bars.high, &|high| if base.high[t] > high { base.high[t] } else { high });
    change(&mut bars.low, &|low| if base.low[t] < low { base.low[t] } else { low });
    change(&mut bars.close, &|_| base.close[t]);
    change(&mut bars.volume, &|sum| sum + base.volume[t]);
    change(&mut bars.quote_volume, &|sum| sum + base.quote_volume[t]);
    change(&mut bars.trades, &|sum| sum + base.trades[t]);
    change(&mut bars.taker_buy_volume, &|sum| sum + base.taker_buy_volume[t]);
    change(&mut bars.taker_buy_quote_volume, &|sum| sum + base.taker_buy_quote_volume[t]);
}

/// `last_row[j]` is the last base row in longer bar `j`. It must not lie after `t` either: where base bars overlap
/// (malformed input), a span may end before its last base bar has closed.
fn known_counts(base: &Bars, bars: &Bars, last_row: &[usize]) -> Vec<usize> {
    let mut known = 0;
    (0..base.len())
        .map(|t| {
            while known < bars.len()
                && bars.close_time_ms(known) <= base.close_time_ms(t)
                && last_row[known] <= t
            {
                known += 1;
            }
            known
        })
        .collect()
}
