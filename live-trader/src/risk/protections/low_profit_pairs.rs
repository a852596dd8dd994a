//! `LowProfitPairs`: a pair that does not earn rests.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Evidence, Lock, Span};

/// Settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LowProfitPairs {
    /// How far back trades are looked at.
    pub lookback: Span,
    /// How many trades of the pair there must be.
    pub trade_limit: u32,
    /// How long, from the newest trade's last sell on.
    pub stop_duration: Span,
    /// Sum of the trades' returns below which the pair rests, a fraction.
    #[serde(default)]
    pub required_profit: Decimal,
}

impl LowProfitPairs {
    pub(super) fn judge(&self, name: &str, evidence: &Evidence<'_>) -> Option<Lock> {
        let returns = || evidence.window(self.lookback, true).filter_map(|trade| trade.trade_return);
        let sum: Decimal = returns().sum();
        let reason =
            format!("returns of {} together, {} are required", sum.round_dp(6), self.required_profit);
        (returns().count() >= self.trade_limit as usize && sum < self.required_profit)
            .then(|| evidence.lock(name, true, self.stop_duration, reason))
    }
}
