//! Metrics of one simulated combination: one file each, one line in [`METRICS`], formulas in `docs/semantics.md`.
//!
//! A metric reads [`Stats`] and a [`MetricContext`] and nothing else, so a sweep and a single backtest report the
//! same number. An undefined metric is `None`: never 0, never infinite, never `NaN`. Logarithms, powers and the error
//! function come from `libm`, so the bits are the same on every platform.

use std::cmp::Ordering;

use polybolos_kernels::bars::Bars;
use polybolos_kernels::sim::{Returns, SimConfig};
use polybolos_kernels::stats::Stats;

use crate::interval::DAY_MS;

mod ambiguous_bars;
mod avg_bars_held;
mod avg_trade_return;
mod best_trade;
mod cagr;
mod calmar;
mod dsr;
mod expectancy;
mod exposure;
mod fees;
mod final_equity;
mod long_trades;
mod max_consecutive_losses;
mod max_drawdown;
pub mod normal;
mod profit_factor;
mod psr;
mod sharpe;
mod short_trades;
mod sortino;
mod sqn;
mod total_return;
mod trades;
mod trials;
mod volatility;
mod win_rate;
mod worst_trade;

pub use dsr::expected_maximum_sharpe;
pub use psr::probabilistic_sharpe;
pub use sharpe::per_period_sharpe;
pub use trials::{TrialParts, TrialPartsError, TrialStats, Trials};

/// Days of a year for annualisation: markets without holidays.
pub const DAYS_PER_YEAR: f64 = 365.0;

/// Milliseconds of such a year.
pub const YEAR_MS: f64 = DAYS_PER_YEAR * DAY_MS as f64;

/// Which values of a metric are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Better {
    /// Larger ones.
    Higher,
    /// Smaller ones.
    Lower,
    /// It is a fact, not a score.
    Neither,
}

/// What numbers a metric gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Counts, exact in `f64` up to 2^53.
    Integer,
    /// Any number.
    Real,
}

/// What a metric needs besides the statistics of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricContext {
    /// Initial cash, quote currency.
    pub cash: f64,
    /// Bars of the run.
    pub bars: u64,
    /// From the first bar's open to the last bar's close, milliseconds; 0 without bars.
    pub elapsed_ms: i64,
    /// Observations of the return series in a year of 365 days.
    pub periods_per_year: f64,
    /// The sweep's trials on this symbol, for `dsr`; `None` for a single backtest.
    pub trials: Option<TrialStats>,
}

impl MetricContext {
    /// The context of a run over `bars` with `config`, without trials.
    pub fn new(bars: &Bars, config: &SimConfig) -> MetricContext {
        let is_per_bar = config.returns == Returns::Bar || bars.interval_ms >= DAY_MS;
        let elapsed_ms = match (bars.open_time_ms.first(), bars.open_time_ms.last()) {
            (Some(first), Some(last)) => last.saturating_add(bars.interval_ms).saturating_sub(*first),
            _ => 0,
        };
        MetricContext {
            cash: config.cash,
            bars: bars.len() as u64,
            elapsed_ms,
            periods_per_year: if is_per_bar { YEAR_MS / bars.interval_ms as f64 } else { DAYS_PER_YEAR },
            trials: None,
        }
    }

    /// The same context with the sweep's trials on the symbol.
    #[must_use]
    pub fn with_trials(self, trials: TrialStats) -> MetricContext {
        MetricContext { trials: Some(trials), ..self }
    }
}

/// One row of [`METRICS`].
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Column name in result tables and JSON.
    pub name: &'static str,
    /// Formula, unit and undefined cases, in a line.
    pub summary: &'static str,
    /// Which values are better.
    pub better: Better,
    /// Counts or any numbers.
    pub kind: Kind,
    formula: fn(&Stats, &MetricContext) -> Option<f64>,
}

/// Every metric, in the order of the result table.
pub static METRICS: &[Metric] = &[
    total_return::DEF,
    cagr::DEF,
    volatility::DEF,
    sharpe::DEF,
    sortino::DEF,
    calmar::DEF,
    max_drawdown::DEF,
    trades::DEF,
    win_rate::DEF,
    profit_factor::DEF,
    expectancy::DEF,
    avg_trade_return::DEF,
    sqn::DEF,
    exposure::DEF,
    fees::DEF,
    final_equity::DEF,
    best_trade::DEF,
    worst_trade::DEF,
    max_consecutive_losses::DEF,
    avg_bars_held::DEF,
    long_trades::DEF,
    short_trades::DEF,
    ambiguous_bars::DEF,
    psr::DEF,
    dsr::DEF,
];

impl Metric {
    /// The metric with this exact name.
    pub fn by_name(name: &str) -> Option<&'static Metric> {
        METRICS.iter().find(|metric| metric.name == name)
    }

    /// The metric's value; `None` where it is undefined or not finite.
    pub fn compute(&self, stats: &Stats, context: &MetricContext) -> Option<f64> {
        (self.formula)(stats, context).filter(|value| value.is_finite())
    }

    /// Ranks two values of this metric: the better one is `Less`, so an ascending sort puts the best first; an undefined
    /// value (`NaN` too) comes after every defined one. A metric that is better [`Better::Neither`] way ranks its
    /// larger values first. `-0` equals `0`.
    pub fn compare(&self, a: Option<f64>, b: Option<f64>) -> Ordering {
        let defined = |value: Option<f64>| value.filter(|value| !value.is_nan());
        match (defined(a), defined(b)) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => {
                let ascending = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
                if self.better == Better::Lower { ascending } else { ascending.reverse() }
            }
        }
    }
}

/// `numerator / denominator`, undefined where the denominator is 0.
fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator != 0.0).then(|| numerator / denominator)
}

/// Standard deviation of the sampled returns, ddof 1; undefined for fewer than 2 or an undefined series.
fn return_deviation(stats: &Stats) -> Option<f64> {
    (stats.returns_defined && stats.observations >= 2)
        .then(|| (stats.m2 / (stats.observations - 1) as f64).sqrt())
}
