//! Volatility: `std(r) * sqrt(A)`, ddof 1, a fraction per year; `A` is the number of return periods in a year.
//!
//! Undefined for fewer than 2 returns or an undefined return series.

use super::{Better, Kind, Metric, return_deviation};

pub(super) const DEF: Metric = Metric {
    name: "volatility",
    summary: "standard deviation of returns (ddof 1) x sqrt(periods per year), fraction per year; undefined for fewer than 2 returns",
    better: Better::Lower,
    kind: Kind::Real,
    formula: |stats, context| Some(return_deviation(stats)? * context.periods_per_year.sqrt()),
};
