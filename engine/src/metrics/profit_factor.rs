//! Profit factor: sum of positive pnl over the sum of losses, both after fees.
//!
//! Undefined without losses: there is no number that says how much better than any other that is.

use super::{Better, Kind, Metric, ratio};

pub(super) const DEF: Metric = Metric {
    name: "profit_factor",
    summary: "sum of profits / sum of losses, after fees; undefined without losses",
    better: Better::Higher,
    kind: Kind::Real,
    formula: |stats, _| ratio(stats.gross_profit, stats.gross_loss),
};
