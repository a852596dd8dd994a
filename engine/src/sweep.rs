//! What a sweep is: the request a user makes, the specification it resolves to, its identity and its units of work.
//!
//! A sweep is (symbols x the rows of a parameter space). It is cut into *units*, each a symbol and a span of rows, which
//! are independent, stateless and idempotent: any process may compute any unit any number of times and gets the same
//! bytes. Everything that decides those bytes is in the unit's digest, and nothing else is.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use polybolos_kernels::precision::Precision;

use crate::digest::{Digest, Digester};
use crate::interval::Interval;
use crate::metrics;
use crate::strategy::{Overrides, Source, Strategy};
use crate::timerange::TimeRange;

/// Raised whenever any number in a result row may change; part of every digest, so old results are not reused.
const NUMBERS_REVISION: u32 = 3;

/// The version that results are filed under: the release and the revision of its numbers.
pub fn engine_version() -> String {
    format!("{}+n{NUMBERS_REVISION}", env!("CARGO_PKG_VERSION"))
}

/// Which symbols of a dataset to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Symbols {
    /// Every symbol that has bars at the interval.
    All,
    /// These, in this order.
    Listed(Vec<String>),
}

impl fmt::Display for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Symbols::All => f.write_str("all"),
            Symbols::Listed(symbols) => f.write_str(&symbols.join(",")),
        }
    }
}

/// The list is empty or names a symbol twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a list of symbols: {reason}; write `all` or BTCUSDT,ETHUSDT")]
pub struct ParseSymbolsError {
    text: String,
    reason: String,
}

impl FromStr for Symbols {
    type Err = ParseSymbolsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason: String| ParseSymbolsError { text: text.to_owned(), reason };
        if text.eq_ignore_ascii_case("all") {
            return Ok(Symbols::All);
        }
        let mut listed: Vec<String> = Vec::new();
        for symbol in text.split(',').map(|symbol| symbol.trim().to_ascii_uppercase()) {
            if symbol.is_empty() {
                return Err(error("it has an empty name".to_owned()));
            }
            if listed.contains(&symbol) {
                return Err(error(format!("{symbol} is there twice")));
            }
            listed.push(symbol);
        }
        Ok(Symbols::Listed(listed))
    }
}

/// How rows are ordered: by a metric, those with too few trades left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    /// Name of the metric, see [`metrics::METRICS`].
    pub metric: String,
    /// Rows with fewer closed trades are not ranked.
    pub min_trades: u64,
}

impl Default for Ranking {
    fn default() -> Self {
        Ranking { metric: "sharpe".to_owned(), min_trades: 0 }
    }
}

/// Which rows a sweep keeps. The statistics over the trials cover every combination either way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Keep {
    /// Every row.
    #[default]
    All,
    /// The best rows of each symbol.
    Top {
        /// How many.
        count: u64,
        /// Best by what.
        ranking: Ranking,
    },
}

/// What a user asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepRequest {
    /// The strategy document.
    pub source: Source,
    /// `--set` and the simulation flags.
    pub overrides: Overrides,
    /// Bars to run on.
    pub interval: Interval,
    /// Symbols to run on.
    pub symbols: Symbols,
    /// Span of open times; everything outside is invisible, warm-up included.
    pub timerange: Option<TimeRange>,
    /// Which rows to keep.
    pub keep: Keep,
    /// Precision of the signals.
    pub precision: Precision,
}

/// The bars of one symbol that a sweep runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesId {
    /// The symbol.
    pub symbol: String,
    /// Digest of the bars inside the time range.
    pub data: Digest,
    /// Number of those bars.
    pub bars: u64,
}

/// A request with its bars named by digest: all that decides the rows.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepSpec {
    /// The request; its symbols are resolved in `series`.
    pub request: SweepRequest,
    /// One entry per symbol, in the order of the result.
    pub series: Vec<SeriesId>,
}

/// A unit of work: rows `rows` of the parameter space (before `where`) on one symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Index into [`SweepSpec::series`].
    pub series: usize,
    /// Half-open span of rows.
    pub rows: Range<u64>,
}

/// A ranking or a `keep` that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RankingError {
    /// No such metric.
    #[error("`{name}` is not a metric; use one of: {known}")]
    UnknownMetric {
        /// The word given.
        name: String,
        /// What there is.
        known: String,
    },
    /// The deflated Sharpe ratio needs all trials, so it cannot choose which to keep.
    #[error(
        "dsr depends on every trial of the sweep and cannot choose the rows to keep while it runs; \
         rank by psr or sharpe, or keep all rows"
    )]
    KeepByDeflatedSharpe,
    /// Nothing would be kept.
    #[error("top:0 keeps nothing; ask for at least one row")]
    KeepNothing,
}

impl Ranking {
    /// The metric's row in the table.
    ///
    /// # Errors
    /// There is no such metric.
    pub fn metric(&self) -> Result<&'static metrics::Metric, RankingError> {
        metrics::METRICS.iter().find(|metric| metric.name == self.metric).ok_or_else(|| {
            RankingError::UnknownMetric {
                name: self.metric.clone(),
                known: metrics::METRICS.iter().map(|metric| metric.name).collect::<Vec<_>>().join(", "),
            }
        })
    }
}

impl Keep {
    /// Checks that the choice can be made unit by unit.
    ///
    /// # Errors
    /// An unknown metric, `dsr`, or no row at all.
    pub fn check(&self) -> Result<(), RankingError> {
        match self {
            Keep::All => Ok(()),
            Keep::Top { count: 0, .. } => Err(RankingError::KeepNothing),
            Keep::Top { ranking, .. } if ranking.metric()?.name == "dsr" => {
                Err(RankingError::KeepByDeflatedSharpe)
            }
            Keep::Top { .. } => Ok(()),
        }
    }

    fn digest(&self, digester: &mut Digester) {
        match self {
            Keep::All => digester.text("all"),
            Keep::Top { count, ranking } => digester
                .text("top")
                .integer(count.cast_signed())
                .text(&ranking.metric)
                .integer(ranking.min_trades.cast_signed()),
        };
    }
}

impl SweepSpec {
    /// The sweep's identity: the strategy's name and twelve digits of the digest of everything that decides its rows.
    /// The same request on the same bars has the same identity, whatever the machine, the threads or the units.
    pub fn id(&self, strategy: &Strategy) -> String {
        let mut digester = Digester::new("sweep/1");
        digester.text(&engine_version()).text(&strategy.digest().to_string());
        digester.text(strategy.name()).text(self.request.interval.name());
        for series in &self.series {
            digester.text(&series.symbol).bytes(&series.data.0);
        }
        self.digest_of_results(&mut digester);
        format!("{}-{}", strategy.name(), digester.finish().short(12))
    }

    /// The content address of a unit's result. The symbol's name is not in it: equal bars give equal numbers.
    pub fn unit_digest(&self, strategy: &Strategy, unit: &Unit) -> Option<Digest> {
        let series = self.series.get(unit.series)?;
        let mut digester = Digester::new("unit/1");
        digester.text(&engine_version()).text(&strategy.digest().to_string()).bytes(&series.data.0);
        digester.integer(unit.rows.start.cast_signed()).integer(unit.rows.end.cast_signed());
        self.digest_of_results(&mut digester);
        Some(digester.finish())
    }

    /// What decides the rows beside strategy and bars.
    fn digest_of_results(&self, digester: &mut Digester) {
        self.request.keep.digest(digester);
        // Nothing for `f64`, which all units were in before there was another precision.
        if self.request.precision != Precision::F64 {
            digester.text(self.request.precision.name());
        }
    }

    /// Cuts the sweep into units, symbol by symbol, rows ascending. `unit_rows` is the largest number of rows (before
    /// `where`) in a unit; `None` takes [`default_unit_rows`] for each symbol.
    pub fn units<'a>(&'a self, space_rows: u64, unit_rows: Option<u64>) -> impl Iterator<Item = Unit> + 'a {
        (0..self.series.len()).flat_map(move |series| self.series_units(series, space_rows, unit_rows))
    }

    /// The units of one symbol, see [`SweepSpec::units`]; none for a series that is not there.
    pub fn series_units(
        &self,
        series: usize,
        space_rows: u64,
        unit_rows: Option<u64>,
    ) -> impl Iterator<Item = Unit> + use<> {
        let bars = self.series.get(series).map(|id| id.bars);
        let step = unit_rows.or(bars.map(default_unit_rows)).unwrap_or(1).max(1);
        let count = bars.map_or(0, |_| space_rows.div_ceil(step));
        (0..count).map(move |index| {
            let start = index * step;
            Unit { series, rows: start..start.saturating_add(step).min(space_rows) }
        })
    }
}

/// Bar-combinations aimed at per unit: some tenths of a second of one core, so that progress is smooth, a kill loses little and
/// the cost of a unit's file stays small.
const UNIT_BAR_COMBOS: u64 = 1 << 29;

/// Rows per unit for a symbol with this many bars.
pub fn default_unit_rows(bars: u64) -> u64 {
    (UNIT_BAR_COMBOS / bars.max(1)).clamp(64, 1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbol_lists_parse() {
        assert_eq!("all".parse(), Ok(Symbols::All));
        assert_eq!("btcusdt, ETHUSDT".parse(), Ok(Symbols::Listed(vec!["BTCUSDT".into(), "ETHUSDT".into()])));
        for bad in ["", "A,,B", "A,a"] {
            assert!(bad.parse::<Symbols>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_keep_that_needs_the_whole_sweep_is_refused() {
        let keep = |metric: &str, count| {
            Keep::Top { count, ranking: Ranking { metric: metric.to_owned(), min_trades: 0 } }.check()
        };
        assert_eq!(keep("sharpe", 10), Ok(()));
        assert_eq!(keep("dsr", 10), Err(RankingError::KeepByDeflatedSharpe));
        assert_eq!(keep("sharpe", 0), Err(RankingError::KeepNothing));
        assert!(matches!(keep("sharp", 1), Err(RankingError::UnknownMetric { .. })));
    }
}
