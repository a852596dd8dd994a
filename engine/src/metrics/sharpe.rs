//! Sharpe ratio: `mean(r) / std(r) * sqrt(A)`, ddof 1, risk-free rate 0; `A` is the number of return periods in a year.
//!
//! Undefined for fewer than 2 returns, an undefined return series, or a standard deviation of exactly 0. It is rescaled,
//! not compounded, so a short span does not make it undefined; `psr` says how little such a number means.

use polybolos_kernels::stats::Stats;

use super::{Better, Kind, Metric, ratio, return_deviation};

pub(super) const DEF: Metric = Metric {
    name: "sharpe",
    summary: "mean / standard deviation of returns (ddof 1) x sqrt(periods per year); undefined for fewer than 2 returns or no deviation",
    better: Better::Higher,
    kind: Kind::Real,
    formula: |stats, context| Some(per_period_sharpe(stats)? * context.periods_per_year.sqrt()),
};

/// The Sharpe ratio per return period, not annualised: what `psr`, `dsr` and [`super::Trials`] work with. Undefined
/// like the Sharpe ratio.
pub fn per_period_sharpe(stats: &Stats) -> Option<f64> {
    ratio(stats.mean_return, return_deviation(stats)?).filter(|sharpe| sharpe.is_finite())
}
