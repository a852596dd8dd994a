//! Mean of the trades' returns (pnl over the gross cost of the purchase), a fraction. Undefined without trades.

use super::{Better, Kind, Metric, ratio};

pub(super) const DEF: Metric = Metric {
    name: "avg_trade_return",
    summary: "mean trade return, fraction; undefined without trades",
    better: Better::Higher,
    kind: Kind::Real,
    formula: |stats, _| ratio(stats.trade_return_sum, stats.trades as f64),
};
