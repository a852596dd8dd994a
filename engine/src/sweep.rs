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
const NUMBERS_REVISION: u32 = 4;

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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
        let cut = self.series.get(series).map(|id| SeriesCut::new(id, space_rows, unit_rows));
        cut.into_iter().flat_map(move |cut| (0..cut.units).map(move |index| cut.unit(series, index)))
    }

    /// How many units [`SweepSpec::units`] gives.
    pub fn unit_count(&self, space_rows: u64, unit_rows: Option<u64>) -> u64 {
        self.series.iter().map(|id| SeriesCut::new(id, space_rows, unit_rows).units).sum()
    }

    /// The unit with this number among [`SweepSpec::units`], counted from 0; `None` past the last.
    pub fn unit_at(&self, space_rows: u64, unit_rows: Option<u64>, number: u64) -> Option<Unit> {
        let mut rest = number;
        for (series, id) in self.series.iter().enumerate() {
            let cut = SeriesCut::new(id, space_rows, unit_rows);
            if rest < cut.units {
                return Some(cut.unit(series, rest));
            }
            rest -= cut.units;
        }
        None
    }

    /// The number of the unit of a symbol that begins at row `row_from`: [`SweepSpec::unit_at`] backwards. `None` if no unit
    /// begins there.
    pub fn unit_number(
        &self,
        space_rows: u64,
        unit_rows: Option<u64>,
        symbol: &str,
        row_from: u64,
    ) -> Option<u64> {
        let mut before = 0;
        for id in &self.series {
            let cut = SeriesCut::new(id, space_rows, unit_rows);
            if id.symbol == symbol {
                let begins = row_from.is_multiple_of(cut.step) && row_from < space_rows;
                return begins.then_some(before + row_from / cut.step);
            }
            before += cut.units;
        }
        None
    }
}

/// How the rows of one symbol are cut.
#[derive(Clone, Copy)]
struct SeriesCut {
    space_rows: u64,
    /// Rows of every unit but the last.
    step: u64,
    units: u64,
}

impl SeriesCut {
    fn new(series: &SeriesId, space_rows: u64, unit_rows: Option<u64>) -> SeriesCut {
        let step = unit_rows.unwrap_or_else(|| default_unit_rows(series.bars, space_rows)).max(1);
        SeriesCut { space_rows, step, units: space_rows.div_ceil(step) }
    }

    fn unit(self, series: usize, index: u64) -> Unit {
        let start = index * self.step;
        Unit { series, rows: start..start.saturating_add(self.step).min(self.space_rows) }
    }
}

/// Rows per unit of a sweep that executors compute, given how fast one of them is: units of some ten seconds, so that the hand-over
/// costs nothing beside them, but several for each of `slots`, so that none is idle at the end.
pub fn cluster_unit_rows(
    series: &[SeriesId],
    space_rows: u64,
    slots: u64,
    bar_combos_per_second: f64,
) -> u64 {
    let bars = series.iter().map(|id| id.bars).max().unwrap_or(1).max(1);
    let all: u64 = series.iter().map(|id| id.bars.saturating_mul(space_rows)).fold(0, u64::saturating_add);
    let aimed = (bar_combos_per_second * CLUSTER_UNIT_SECONDS) as u64;
    let shared = all / (slots.max(FEWEST_SLOTS) * UNITS_PER_SLOT);
    (aimed.min(shared).max(UNIT_BAR_COMBOS) / bars).clamp(64, 1 << 24)
}

/// Seconds aimed at per unit on a cluster.
const CLUSTER_UNIT_SECONDS: f64 = 10.0;

/// Fewest units aimed at per slot of a cluster.
const UNITS_PER_SLOT: u64 = 16;

/// Slots that units are cut for at least: the smallest clusters cut alike, so that each finds the units of the others.
const FEWEST_SLOTS: u64 = 4;

/// Bar-combinations of a unit at least: some tenths of a second of one core, so that progress is smooth, a kill loses little and
/// the cost of a unit's file stays small.
const UNIT_BAR_COMBOS: u64 = 1 << 29;

/// Bar-combinations of a unit at most, about a second: the more rows follow each other, the more of them share a series.
const LARGE_UNIT_BAR_COMBOS: u64 = 1 << 32;

/// Units that a symbol's rows are cut into where these are large: enough for the cores of one machine.
const UNITS_PER_SERIES: u64 = 16;

/// Rows per unit for a symbol with this many bars and a grid of `space_rows`. Nothing of the machine goes into it, so that every machine
/// finds the units of every other.
pub fn default_unit_rows(bars: u64, space_rows: u64) -> u64 {
    let bars = bars.max(1);
    let shared = bars.saturating_mul(space_rows) / UNITS_PER_SERIES;
    (shared.clamp(UNIT_BAR_COMBOS, LARGE_UNIT_BAR_COMBOS) / bars).clamp(64, 1 << 16)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn symbol_lists_parse() {
        assert_eq!("all".parse(), Ok(Symbols::All));
        assert_eq!("btcusdt, ETHUSDT".parse(), Ok(Symbols::Listed(vec!["BTCUSDT".into(), "ETHUSDT".into()])));
        for bad in ["", "A,,B", "A,a"] {
            assert!(bad.parse::<Symbols>().is_err(), "{bad}");
        }
    }

    fn spec(bars: &[u64]) -> SweepSpec {
        let series = bars.iter().enumerate().map(|(index, &bars)| SeriesId {
            symbol: format!("S{index}"),
            data: Digest([index as u8; 32]),
            bars,
        });
        let source =
            Source { name: String::new(), text: String::new(), format: crate::strategy::Format::Yaml };
        let request = SweepRequest {
            source,
            overrides: Overrides::default(),
            interval: "1h".parse().unwrap(),
            symbols: Symbols::All,
            timerange: None,
            keep: Keep::All,
            precision: Precision::F64,
        };
        SweepSpec { request, series: series.collect() }
    }

    #[test]
    fn units_are_found_by_number_and_by_place() {
        for (bars, rows, unit_rows) in [
            (vec![1000, 70_000, 5], 100_000, None),
            (vec![10, 10], 1000, Some(300)),
            (vec![7], 1, Some(1)),
            (vec![7, 7], 0, None),
            (vec![], 10, None),
        ] {
            let spec = spec(&bars);
            let all: Vec<Unit> = spec.units(rows, unit_rows).collect();
            assert_eq!(spec.unit_count(rows, unit_rows), all.len() as u64);
            for (number, unit) in all.iter().enumerate() {
                assert_eq!(spec.unit_at(rows, unit_rows, number as u64).as_ref(), Some(unit));
                let symbol = &spec.series[unit.series].symbol;
                let found = spec.unit_number(rows, unit_rows, symbol, unit.rows.start);
                assert_eq!(found, Some(number as u64));
                assert_eq!(spec.unit_number(rows, unit_rows, symbol, unit.rows.end + 1), None);
            }
            assert_eq!(spec.unit_at(rows, unit_rows, all.len() as u64), None);
            assert_eq!(spec.unit_number(rows, unit_rows, "other", 0), None);
        }
    }

    #[test]
    fn units_of_a_cluster_last_seconds_and_keep_every_slot_busy() {
        let series = spec(&[50_000; 8]).series;
        let seconds = |rows: u64| rows as f64 * 50_000.0 / 2e9;
        let long = cluster_unit_rows(&series, 1_000_000_000, 4, 2e9);
        assert!((5.0..=30.0).contains(&seconds(long)), "{}", seconds(long));
        let short = cluster_unit_rows(&series, 100_000, 4, 2e9);
        assert!(8 * 100_000_u64.div_ceil(short) >= 4 * UNITS_PER_SLOT, "{short}");
        assert!(cluster_unit_rows(&series, 10, 1000, 2e9) >= 64);
    }

    #[test]
    fn units_of_a_machine_grow_with_the_grid_within_bounds() {
        let combos = |bars: u64, rows: u64| bars * default_unit_rows(bars, rows);
        assert!(combos(50_000, 5_000) > 5_000 * 50_000);
        let large = combos(50_000, 400_000);
        assert!((UNIT_BAR_COMBOS..=LARGE_UNIT_BAR_COMBOS).contains(&large), "{large}");
        assert_eq!(combos(100_000, 1 << 40) / 100_000, LARGE_UNIT_BAR_COMBOS / 100_000);
        assert_eq!(default_unit_rows(u64::MAX, u64::MAX), 64);
        assert_eq!(default_unit_rows(0, 10), 1 << 16);
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
