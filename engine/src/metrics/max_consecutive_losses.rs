//! Longest run of trades with `pnl < 0`, in order of their exits; 0 without losses. Always defined.

use super::{Better, Kind, Metric};

pub(super) const DEF: Metric = Metric {
    name: "max_consecutive_losses",
    summary: "longest run of trades with pnl below 0",
    better: Better::Lower,
    kind: Kind::Integer,
    formula: |stats, _| Some(stats.max_consecutive_losses as f64),
};
