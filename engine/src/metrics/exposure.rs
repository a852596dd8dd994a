//! Exposure: bars with a position over all bars, a fraction. Undefined without bars.

use super::{Better, Kind, Metric, ratio};

pub(super) const DEF: Metric = Metric {
    name: "exposure",
    summary: "bars with a position / bars, fraction; undefined without bars",
    better: Better::Neither,
    kind: Kind::Real,
    formula: |stats, context| ratio(stats.bars_in_position as f64, context.bars as f64),
};
