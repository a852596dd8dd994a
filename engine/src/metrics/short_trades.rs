//! Number of closed short trades. Always defined.

use super::{Better, Kind, Metric};

pub(super) const DEF: Metric = Metric {
    name: "short_trades",
    summary: "number of closed short trades",
    better: Better::Neither,
    kind: Kind::Integer,
    formula: |stats, _| Some(stats.short_trades as f64),
};
