//! System quality number (Van Tharp): `sqrt(N) * mean(pnl) / std(pnl)`, ddof 1, over `N` closed trades.
//!
//! Undefined for fewer than 2 trades or when all pnl are equal. Below 30 trades it says little.

use polybolos_kernels::stats::Stats;

use super::{Better, Kind, Metric, MetricContext, ratio};

pub(super) const DEF: Metric = Metric {
    name: "sqn",
    summary: "sqrt(trades) x mean pnl / standard deviation of pnl (ddof 1); undefined for fewer than 2 trades or no deviation",
    better: Better::Higher,
    kind: Kind::Real,
    formula,
};

fn formula(stats: &Stats, _context: &MetricContext) -> Option<f64> {
    if stats.trades < 2 {
        return None;
    }
    let trades = stats.trades as f64;
    let deviation = (stats.pnl_m2 / (trades - 1.0)).sqrt();
    Some(trades.sqrt() * ratio(stats.pnl_sum / trades, deviation)?)
}
