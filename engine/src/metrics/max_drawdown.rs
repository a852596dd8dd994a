//! Maximum drawdown: the largest `1 - equity / peak` over bar closes, the initial cash counted as the first peak.
//!
//! A fraction, 0 when the equity never fell; above 1 when a short lost more than there was. Always defined.

use super::{Better, Kind, Metric};

pub(super) const DEF: Metric = Metric {
    name: "max_drawdown",
    summary: "largest 1 - equity / peak over bar closes, initial cash included, fraction",
    better: Better::Lower,
    kind: Kind::Real,
    formula: |stats, _| Some(stats.max_drawdown),
};
