//! Quality of stored bars: what is missing, what is odd, what is broken. It reports and never repairs.
//!
//! A series is read here without the loader's checks, so that damage is described instead of refused.

use polybolos_engine::interval::Interval;
use polybolos_kernels::bars::Bars;
use serde::Serialize;

use crate::{DataError, Dataset, parquet_bars};

/// Standard deviations from the median log return beyond which a bar is an outlier; see [`SeriesCheck::outliers`].
///
/// The bound is for the misplaced decimal point and the single false trade, but markets are heavy-tailed: among 70,000
/// hourly bars of a large coin a handful of crashes pass it too, up to 120. An outlier is a bar to look at, not an error.
pub const OUTLIER_SIGMAS: f64 = 40.0;

/// Share of the returns, the farthest ones, that do not enter the yardstick.
const TRIMMED_SHARE: f64 = 0.01;

/// Mean absolute deviations of a normal distribution in its standard deviation: the square root of pi / 2.
const SIGMAS_PER_DEVIATION: f64 = 1.253_314_137_315_500_3;

/// Outliers and odd bars are listed up to this many; the counts cover all of them.
const LISTED: usize = 20;

/// Bars missing between two neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Open time of the last bar before the gap, UTC milliseconds.
    pub after_ms: i64,
    /// Open time of the first bar behind it, UTC milliseconds.
    pub before_ms: i64,
    /// How many bars would fit between them.
    pub missing_bars: u64,
}

/// A bar far from its neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Outlier {
    /// Open time, UTC milliseconds.
    pub open_time_ms: i64,
    /// The largest of the bar's log moves in magnitude: from the last close to this close, to the high or to the low.
    pub log_move: f64,
    /// How many standard deviations that is from the median.
    pub sigmas: f64,
}

/// What was found in one series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesCheck {
    /// The symbol.
    pub symbol: String,
    /// The interval's name, e.g. `1h`.
    pub interval: &'static str,
    /// Number of bars.
    pub rows: u64,
    /// Open time of the first bar, UTC milliseconds.
    pub first_ms: i64,
    /// Open time of the last bar, UTC milliseconds.
    pub last_ms: i64,
    /// Every gap, in the order of time.
    pub gaps: Vec<Gap>,
    /// Bars missing in all gaps.
    pub missing_bars: u64,
    /// Bars whose time another bar has.
    pub duplicates: u64,
    /// Bars that stand before an earlier one.
    pub unsorted: u64,
    /// Bars with a value that is not finite, a price that is not positive or a high below the low.
    pub invalid: u64,
    /// Bars whose open or close is outside low to high.
    pub inconsistent: u64,
    /// Open times of the first inconsistent bars, UTC milliseconds.
    pub inconsistent_at_ms: Vec<i64>,
    /// Bars whose open time is not a multiple of the interval (for weeks: not a Monday).
    pub misaligned: u64,
    /// Bars without volume.
    pub zero_volume: u64,
    /// Bars whose close, high or low is beyond [`OUTLIER_SIGMAS`] from the last close. A standard deviation is here
    /// 1.2533 times the mean absolute deviation of the closes' log returns without the farthest hundredth. Bars behind
    /// a gap are not judged.
    pub outliers: u64,
    /// The farthest outliers, farthest first.
    pub worst_outliers: Vec<Outlier>,
}

impl SeriesCheck {
    /// Whether the bars are complete and sound. Quiet bars and outliers are no faults: markets have both.
    pub fn is_clean(&self) -> bool {
        let faults = self.duplicates + self.unsorted + self.invalid + self.inconsistent + self.misaligned;
        self.gaps.is_empty() && faults == 0
    }
}

/// A series that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreadableSeries {
    /// The symbol.
    pub symbol: String,
    /// The interval's name.
    pub interval: &'static str,
    /// Why, with the file.
    pub error: String,
}

/// What was found in a dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatasetCheck {
    /// Every readable series, by interval and symbol.
    pub series: Vec<SeriesCheck>,
    /// Every other series.
    pub unreadable: Vec<UnreadableSeries>,
}

impl DatasetCheck {
    /// Whether every series is readable and clean.
    pub fn is_clean(&self) -> bool {
        self.unreadable.is_empty() && self.series.iter().all(SeriesCheck::is_clean)
    }
}

/// Checks every series of a dataset, one in memory at a time.
///
/// # Errors
/// [`DataError::Io`] if the directories cannot be listed; a damaged file is part of the answer.
pub fn check_dataset(dataset: &Dataset) -> Result<DatasetCheck, DataError> {
    let mut check = DatasetCheck { series: Vec::new(), unreadable: Vec::new() };
    for interval in dataset.intervals()? {
        for symbol in dataset.symbols(interval)? {
            match check_series(dataset, &symbol, interval) {
                Ok(series) => check.series.push(series),
                Err(error) => check.unreadable.push(UnreadableSeries {
                    symbol,
                    interval: interval.name(),
                    error: error.to_string(),
                }),
            }
        }
    }
    Ok(check)
}

/// Checks one series.
///
/// # Errors
/// [`DataError::UnknownSymbol`], [`DataError::UnknownInterval`], [`DataError::DamagedDataset`], [`DataError::Io`].
pub fn check_series(dataset: &Dataset, symbol: &str, interval: Interval) -> Result<SeriesCheck, DataError> {
    let mut bars = Bars { interval_ms: interval.ms(), ..Bars::default() };
    for path in dataset.files(symbol, interval)? {
        parquet_bars::read(&path, &mut bars)?;
    }
    Ok(check_bars(&crate::symbol_name(symbol)?, interval, &bars))
}

/// Checks bars in memory; their times may be in any order.
pub fn check_bars(symbol: &str, interval: Interval, bars: &Bars) -> SeriesCheck {
    let gaps = gaps(interval, bars);
    let times = &bars.open_time_ms;
    let count = |is_odd: &dyn Fn(usize) -> bool| (0..bars.len()).filter(|&row| is_odd(row)).count() as u64;
    let is_inconsistent = |row: usize| {
        let inside = bars.low[row]..=bars.high[row];
        !inside.contains(&bars.open[row]) || !inside.contains(&bars.close[row])
    };
    let inconsistent_at_ms = (0..bars.len()).filter(|&row| is_inconsistent(row)).map(|row| times[row]);
    let outliers = outliers(bars);
    SeriesCheck {
        symbol: symbol.to_owned(),
        interval: interval.name(),
        rows: bars.len() as u64,
        first_ms: times.iter().copied().min().unwrap_or_default(),
        last_ms: times.iter().copied().max().unwrap_or_default(),
        missing_bars: gaps.iter().map(|gap| gap.missing_bars).sum(),
        gaps,
        duplicates: duplicates(times),
        unsorted: count(&|row| row > 0 && times[row] < times[row - 1]),
        invalid: count(&|row| is_invalid(bars, row)),
        inconsistent: count(&is_inconsistent),
        inconsistent_at_ms: inconsistent_at_ms.take(LISTED).collect(),
        misaligned: count(&|row| interval.floor(times[row]) != times[row]),
        zero_volume: count(&|row| bars.volume[row] == 0.0),
        outliers: outliers.len() as u64,
        worst_outliers: outliers.into_iter().take(LISTED).collect(),
    }
}

/// The gaps between neighbouring bars: whole bars that fit between the bars' places on the interval's grid.
pub(crate) fn gaps(interval: Interval, bars: &Bars) -> Vec<Gap> {
    let neighbours = bars.open_time_ms.windows(2);
    let gap = |pair: &[i64]| {
        let (after_ms, before_ms) = (pair[0], pair[1]);
        let steps = (interval.floor(before_ms) - interval.floor(after_ms)) / interval.ms();
        let missing_bars = u64::try_from(steps - 1).unwrap_or(0);
        (missing_bars > 0).then_some(Gap { after_ms, before_ms, missing_bars })
    };
    neighbours.filter_map(gap).collect()
}

fn duplicates(times: &[i64]) -> u64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64
}

fn is_invalid(bars: &Bars, row: usize) -> bool {
    let values = parquet_bars::values(bars, row);
    let [open, high, low, close, ..] = values;
    values.iter().any(|value| !value.is_finite())
        || [open, high, low, close].iter().any(|&price| price <= 0.0)
        || high < low
}

/// The outliers of [`SeriesCheck::outliers`], farthest first.
fn outliers(bars: &Bars) -> Vec<Outlier> {
    let mut rows = Vec::new();
    let mut returns = Vec::new();
    for row in 1..bars.len() {
        let is_next = bars.open_time_ms[row] - bars.open_time_ms[row - 1] == bars.interval_ms;
        if is_next && !is_invalid(bars, row) && !is_invalid(bars, row - 1) {
            rows.push(row);
            returns.push(libm::log(bars.close[row] / bars.close[row - 1]));
        }
    }
    let Some((center, sigma)) = center_and_spread(returns) else {
        return Vec::new();
    };
    let mut outliers = Vec::new();
    for row in rows {
        let last = bars.close[row - 1];
        let moves = [bars.close[row], bars.high[row], bars.low[row]].map(|price| libm::log(price / last));
        let log_move = moves.into_iter().fold(0.0, |far: f64, x| if x.abs() > far.abs() { x } else { far });
        let sigmas = (log_move - center).abs() / sigma;
        if sigmas > OUTLIER_SIGMAS {
            outliers.push(Outlier { open_time_ms: bars.open_time_ms[row], log_move, sigmas });
        }
    }
    outliers.sort_by(|a, b| b.sigmas.total_cmp(&a.sigmas).then(a.open_time_ms.cmp(&b.open_time_ms)));
    outliers
}

/// Median, and the standard deviation that the mean absolute deviation from it gives; none if nothing deviates.
///
/// The median absolute deviation would not do: in a quiet market most bars move by a tick or not at all.
fn center_and_spread(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_unstable_by(f64::total_cmp);
    let center = *values.get(values.len() / 2)?;
    values.iter_mut().for_each(|value| *value = (*value - center).abs());
    values.sort_unstable_by(f64::total_cmp);
    let trimmed = (values.len() as f64 * TRIMMED_SHARE).ceil() as usize;
    let near = values.get(..values.len().saturating_sub(trimmed)).filter(|near| !near.is_empty())?;
    let sigma = SIGMAS_PER_DEVIATION * near.iter().sum::<f64>() / near.len() as f64;
    (sigma > 0.0).then_some((center, sigma))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn hour() -> Interval {
        Interval::from_ms(HOUR_MS).unwrap_or_else(|| unreachable!("an hour is an interval"))
    }

    fn bars(times: &[i64], closes: &[f64]) -> Bars {
        let zeros = vec![0.0; closes.len()];
        Bars {
            interval_ms: HOUR_MS,
            open_time_ms: times.iter().map(|hours| hours * HOUR_MS).collect(),
            open: closes.to_vec(),
            high: closes.to_vec(),
            low: closes.to_vec(),
            close: closes.to_vec(),
            volume: vec![1.0; closes.len()],
            quote_volume: zeros.clone(),
            trades: zeros.clone(),
            taker_buy_volume: zeros.clone(),
            taker_buy_quote_volume: zeros,
        }
    }

    #[test]
    fn gaps_count_the_bars_that_fit_and_misaligned_bars_make_none() {
        let mut bars = bars(&[0, 1, 4, 5], &[1.0; 4]);
        let gap = Gap { after_ms: HOUR_MS, before_ms: 4 * HOUR_MS, missing_bars: 2 };
        assert_eq!(gaps(hour(), &bars), [gap]);
        bars.open_time_ms = vec![0, HOUR_MS + 1_800_000, 2 * HOUR_MS];
        assert_eq!(gaps(hour(), &bars), []);
        let check = check_bars("X", hour(), &super::Bars { ..bars.slice(0..3) });
        assert_eq!((check.misaligned, check.is_clean()), (1, false));
    }

    #[test]
    fn broken_bars_are_counted_by_their_fault() {
        let mut bars = bars(&[0, 1, 1, 0, 4], &[1.0; 5]);
        bars.high[0] = f64::NAN;
        bars.open[4] = 2.0;
        bars.volume[1] = 0.0;
        let check = check_bars("X", hour(), &bars);
        assert_eq!((check.duplicates, check.unsorted, check.invalid), (2, 1, 1));
        assert_eq!((check.inconsistent, check.inconsistent_at_ms.len(), check.zero_volume), (2, 2, 1));
        assert!(!check.is_clean());
    }

    #[test]
    fn a_false_price_is_an_outlier_and_a_lively_market_is_not() {
        let closes: Vec<f64> = (0..200).map(|i| 100.0 + f64::from(i * i % 101) * 0.01).collect();
        let times: Vec<i64> = (0..200).collect();
        let mut bars = bars(&times, &closes);
        assert_eq!(check_bars("X", hour(), &bars).outliers, 0);
        bars.high[50] = 1000.0;
        let check = check_bars("X", hour(), &bars);
        assert_eq!(check.worst_outliers.first().map(|o| o.open_time_ms), Some(50 * HOUR_MS));
        assert_eq!(check.outliers, 1);
        assert!(check.is_clean());
    }
}
