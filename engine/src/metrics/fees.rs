//! Fees paid, quote currency; the entry of a position still open is included. Always defined.

use super::{Better, Kind, Metric};

pub(super) const DEF: Metric = Metric {
    name: "fees",
    summary: "fees paid, quote currency",
    better: Better::Lower,
    kind: Kind::Real,
    formula: |stats, _| Some(stats.fees),
};
