//! Largest trade return, a fraction. Undefined without trades.

use super::{Better, Kind, Metric};

pub(super) const DEF: Metric = Metric {
    name: "best_trade",
    summary: "largest trade return, fraction; undefined without trades",
    better: Better::Higher,
    kind: Kind::Real,
    formula: |stats, _| (stats.trades > 0).then_some(stats.best_trade),
};
