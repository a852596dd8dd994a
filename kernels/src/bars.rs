//! One symbol's bars as a struct of arrays, checked once at the door.
//!
//! Times are UTC milliseconds of the bar's **open**; prices and volumes are `f64` in the market's own units.

use std::fmt;

/// A column of [`Bars`] that an expression can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Column {
    /// First price of the bar.
    Open,
    /// Highest price.
    High,
    /// Lowest price.
    Low,
    /// Last price.
    Close,
    /// Base-asset volume.
    Volume,
    /// Quote-asset volume.
    QuoteVolume,
    /// Number of trades.
    Trades,
    /// Base-asset volume bought by takers.
    TakerBuyVolume,
    /// Quote-asset volume bought by takers.
    TakerBuyQuoteVolume,
    /// The bar's open time in milliseconds since the epoch (exact in `f64` for every date before the year 287396).
    OpenTime,
}

impl Column {
    /// Every column, in the order of the dataset's schema.
    pub const ALL: [Column; 10] = [
        Column::OpenTime,
        Column::Open,
        Column::High,
        Column::Low,
        Column::Close,
        Column::Volume,
        Column::QuoteVolume,
        Column::Trades,
        Column::TakerBuyVolume,
        Column::TakerBuyQuoteVolume,
    ];

    /// The column's name in expressions, SQL and files.
    pub fn name(self) -> &'static str {
        match self {
            Column::OpenTime => "open_time",
            Column::Open => "open",
            Column::High => "high",
            Column::Low => "low",
            Column::Close => "close",
            Column::Volume => "volume",
            Column::QuoteVolume => "quote_volume",
            Column::Trades => "trades",
            Column::TakerBuyVolume => "taker_buy_volume",
            Column::TakerBuyQuoteVolume => "taker_buy_quote_volume",
        }
    }

    /// The column with this exact name.
    pub fn from_name(name: &str) -> Option<Column> {
        Column::ALL.into_iter().find(|column| column.name() == name)
    }
}

/// The bars of one symbol at one interval: `n` rows, every vector of length `n`.
///
/// The invariants of [`Bars::check`] hold for every value that the loaders hand out; kernels rely on them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bars {
    /// Length of a bar in milliseconds.
    pub interval_ms: i64,
    /// Open time of each bar, UTC milliseconds, strictly increasing. Gaps are allowed and never filled.
    pub open_time_ms: Vec<i64>,
    /// First price.
    pub open: Vec<f64>,
    /// Highest price.
    pub high: Vec<f64>,
    /// Lowest price.
    pub low: Vec<f64>,
    /// Last price.
    pub close: Vec<f64>,
    /// Base-asset volume.
    pub volume: Vec<f64>,
    /// Quote-asset volume.
    pub quote_volume: Vec<f64>,
    /// Number of trades, a whole number.
    pub trades: Vec<f64>,
    /// Base-asset volume bought by takers.
    pub taker_buy_volume: Vec<f64>,
    /// Quote-asset volume bought by takers.
    pub taker_buy_quote_volume: Vec<f64>,
}

/// Why a set of bars is not usable; `bar` is a 0-based row.
#[derive(Debug, Clone, PartialEq)]
pub struct BarsError {
    /// The offending row.
    pub bar: usize,
    /// What is wrong with it, with the value.
    pub reason: String,
}

impl fmt::Display for BarsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bar {}: {}", self.bar, self.reason)
    }
}

impl std::error::Error for BarsError {}

impl Bars {
    /// Number of bars.
    pub fn len(&self) -> usize {
        self.open_time_ms.len()
    }

    /// Whether there is no bar at all.
    pub fn is_empty(&self) -> bool {
        self.open_time_ms.is_empty()
    }

    /// The values of a stored column; `None` for [`Column::OpenTime`], which is kept as integers.
    pub fn column(&self, column: Column) -> Option<&[f64]> {
        Some(match column {
            Column::OpenTime => return None,
            Column::Open => &self.open,
            Column::High => &self.high,
            Column::Low => &self.low,
            Column::Close => &self.close,
            Column::Volume => &self.volume,
            Column::QuoteVolume => &self.quote_volume,
            Column::Trades => &self.trades,
            Column::TakerBuyVolume => &self.taker_buy_volume,
            Column::TakerBuyQuoteVolume => &self.taker_buy_quote_volume,
        })
    }

    /// UTC milliseconds at which bar `t` closes.
    pub fn close_time_ms(&self, t: usize) -> i64 {
        self.open_time_ms[t] + self.interval_ms
    }

    /// Checks the invariants every kernel relies on: equal lengths, a positive interval, strictly increasing
    /// times, finite positive prices, `low <= high`, finite volumes.
    ///
    /// # Errors
    /// The first row that breaks one of them.
    pub fn check(&self) -> Result<(), BarsError> {
        self.check_from(0)
    }

    /// [`Bars::check`] of the bars from `start` on alone: whatever is wrong with those before, or between the two, is not seen.
    ///
    /// # Errors
    /// The first row that breaks an invariant, counted from `start`.
    pub fn check_from(&self, start: usize) -> Result<(), BarsError> {
        let error = |bar: usize, reason| Err(BarsError { bar: bar.saturating_sub(start), reason });
        if self.interval_ms <= 0 {
            return error(start, format!("interval of {} ms", self.interval_ms));
        }
        let columns = Column::ALL.into_iter().filter_map(|c| Some((c, self.column(c)?)));
        for (column, values) in columns {
            if values.len() != self.len() {
                return error(
                    values.len().min(self.len()),
                    format!("{} has {} values for {} bars", column.name(), values.len(), self.len()),
                );
            }
            let is_price = matches!(column, Column::Open | Column::High | Column::Low | Column::Close);
            let is_bad = |v: f64| !v.is_finite() | (is_price & (v <= 0.0));
            // A loop that never ends early is done many bars at a time.
            if values.iter().skip(start).fold(false, |any, &v| any | is_bad(v))
                && let Some(t) = (start..self.len()).find(|&t| is_bad(values[t]))
            {
                return error(t, format!("{} is {}", column.name(), values[t]));
            }
        }
        let is_crossed = self.low.iter().zip(&self.high).skip(start).fold(false, |any, (l, h)| any | (l > h));
        let times = self.open_time_ms.get(start..).unwrap_or_default();
        let is_unordered = times.iter().zip(times.iter().skip(1)).fold(false, |any, (a, b)| any | (b <= a));
        if is_crossed || is_unordered {
            for t in start..self.len() {
                if self.low[t] > self.high[t] {
                    return error(t, format!("low {} is above high {}", self.low[t], self.high[t]));
                }
                if t > start && self.open_time_ms[t] <= self.open_time_ms[t - 1] {
                    return error(t, format!("open_time {} does not increase", self.open_time_ms[t]));
                }
            }
        }
        Ok(())
    }

    /// A copy of the bars in `range` (clamped to what exists).
    pub fn slice(&self, range: std::ops::Range<usize>) -> Bars {
        let end = range.end.min(self.len());
        let range = range.start.min(end)..end;
        let cut = |values: &Vec<f64>| values[range.clone()].to_vec();
        Bars {
            interval_ms: self.interval_ms,
            open_time_ms: self.open_time_ms[range.clone()].to_vec(),
            open: cut(&self.open),
            high: cut(&self.high),
            low: cut(&self.low),
            close: cut(&self.close),
            volume: cut(&self.volume),
            quote_volume: cut(&self.quote_volume),
            trades: cut(&self.trades),
            taker_buy_volume: cut(&self.taker_buy_volume),
            taker_buy_quote_volume: cut(&self.taker_buy_quote_volume),
        }
    }
}
