//! Win rate: trades with `pnl > 0` over all closed trades, a fraction. Undefined without trades.

use super::{Better, Kind, Metric, ratio};

pub(super) const DEF: Metric = Metric {
    name: "win_rate",
    summary: "winning trades / trades, fraction; undefined without trades",
    better: Better::Higher,
    kind: Kind::Real,
    formula: |stats, _| ratio(stats.wins as f64, stats.trades as f64),
};
