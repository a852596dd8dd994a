//! Smallest trade return, a fraction. Undefined without trades.

use super::{Better, Kind, Metric};

pub(super) const DEF: Metric = Metric {
    name: "worst_trade",
    summary: "smallest trade return, fraction; undefined without trades",
    better: Better::Higher,
    kind: Kind::Real,
    formula: |stats, _| (stats.trades > 0).then_some(stats.worst_trade),
};
