//! Number of closed trades; a position open at the end is not one. Always defined.

use super::{Better, Kind, Metric};

pub(super) const DEF: Metric = Metric {
    name: "trades",
    summary: "number of closed trades; a position open at the end is not one",
    better: Better::Neither,
    kind: Kind::Integer,
    formula: |stats, _| Some(stats.trades as f64),
};
