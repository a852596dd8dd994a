//! Mean number of bars in a closed trade. Undefined without trades.

use super::{Better, Kind, Metric, ratio};

pub(super) const DEF: Metric = Metric {
    name: "avg_bars_held",
    summary: "mean bars held per closed trade; undefined without trades",
    better: Better::Neither,
    kind: Kind::Real,
    formula: |stats, _| ratio(stats.bars_held as f64, stats.trades as f64),
};
