//! Calmar ratio: `cagr / max_drawdown`.
//!
//! Undefined where CAGR is, or without a drawdown.

use super::{Better, Kind, Metric, cagr, ratio};

pub(super) const DEF: Metric = Metric {
    name: "calmar",
    summary: "cagr / max_drawdown; undefined where cagr is, or without a drawdown",
    better: Better::Higher,
    kind: Kind::Real,
    formula: |stats, context| ratio(cagr::DEF.compute(stats, context)?, stats.max_drawdown),
};
