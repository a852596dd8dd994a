//! Total return: `final_equity / cash - 1`, a fraction of the initial cash; -1 is everything, and a short can lose more.
//!
//! Always defined: a run without bars has returned 0.

use super::{Better, Kind, Metric};

pub(super) const DEF: Metric = Metric {
    name: "total_return",
    summary: "final equity / initial cash - 1, fraction",
    better: Better::Higher,
    kind: Kind::Real,
    formula: |stats, context| Some(stats.final_equity / context.cash - 1.0),
};
