//! Number of closed long trades. Always defined.

use super::{Better, Kind, Metric};

pub(super) const DEF: Metric = Metric {
    name: "long_trades",
    summary: "number of closed long trades",
    better: Better::Neither,
    kind: Kind::Integer,
    formula: |stats, _| Some(stats.long_trades as f64),
};
