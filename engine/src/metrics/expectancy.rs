//! Expectancy: mean pnl of a closed trade, quote currency; the same as `W * avg_win - L * avg_loss` with `W` and `L` the
//! shares of winning and losing trades. Undefined without trades.

use super::{Better, Kind, Metric, ratio};

pub(super) const DEF: Metric = Metric {
    name: "expectancy",
    summary: "mean pnl per trade, quote currency; undefined without trades",
    better: Better::Higher,
    kind: Kind::Real,
    formula: |stats, _| ratio(stats.pnl_sum, stats.trades as f64),
};
