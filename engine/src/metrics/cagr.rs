//! Compound annual growth rate: `(final_equity / cash)^(365 days / elapsed) - 1`, a fraction per year.
//!
//! `elapsed` runs from the first bar's open to the last bar's close. Undefined under 30 days, because annualising a short
//! span compounds its noise, and for a final equity at or below 0, which no rate of growth leads to.

use polybolos_kernels::stats::Stats;

use super::{Better, Kind, Metric, MetricContext, YEAR_MS};
use crate::interval::DAY_MS;

/// The shortest span that is annualised.
const MIN_ELAPSED_MS: i64 = 30 * DAY_MS;

pub(super) const DEF: Metric = Metric {
    name: "cagr",
    summary: "(final equity / initial cash)^(365 days / elapsed) - 1, fraction per year; undefined under 30 days or when nothing is left",
    better: Better::Higher,
    kind: Kind::Real,
    formula,
};

fn formula(stats: &Stats, context: &MetricContext) -> Option<f64> {
    if context.elapsed_ms < MIN_ELAPSED_MS || stats.final_equity <= 0.0 {
        return None;
    }
    Some(libm::pow(stats.final_equity / context.cash, YEAR_MS / context.elapsed_ms as f64) - 1.0)
}
