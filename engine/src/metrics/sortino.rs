//! Sortino ratio: `mean(r) / sqrt(sum(min(r, 0)^2) / T) * sqrt(A)` over all `T` returns, target return 0.
//!
//! Undefined for fewer than 2 returns, an undefined return series, or no loss at all.

use polybolos_kernels::stats::Stats;

use super::{Better, Kind, Metric, MetricContext, ratio};

pub(super) const DEF: Metric = Metric {
    name: "sortino",
    summary: "mean return / downside deviation over all returns x sqrt(periods per year); undefined for fewer than 2 returns or no loss",
    better: Better::Higher,
    kind: Kind::Real,
    formula,
};

fn formula(stats: &Stats, context: &MetricContext) -> Option<f64> {
    if !stats.returns_defined || stats.observations < 2 {
        return None;
    }
    let downside_deviation = (stats.downside / stats.observations as f64).sqrt();
    Some(ratio(stats.mean_return, downside_deviation)? * context.periods_per_year.sqrt())
}
