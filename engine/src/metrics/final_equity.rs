//! Equity at the last close, quote currency, an open position marked there; the initial cash without bars.

use super::{Better, Kind, Metric};

pub(super) const DEF: Metric = Metric {
    name: "final_equity",
    summary: "equity at the last close, quote currency",
    better: Better::Higher,
    kind: Kind::Real,
    formula: |stats, _| Some(stats.final_equity),
};
