//! Bars in which stop and target were both reachable, so that the `intrabar` rule and not the data chose the exit.
//!
//! Always defined. A result that leans on many of them needs finer bars.

use super::{Better, Kind, Metric};

pub(super) const DEF: Metric = Metric {
    name: "ambiguous_bars",
    summary: "bars in which both stop and target were reachable and the intrabar rule decided",
    better: Better::Lower,
    kind: Kind::Integer,
    formula: |stats, _| Some(stats.ambiguous_bars as f64),
};
