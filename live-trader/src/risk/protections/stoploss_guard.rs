//! `StoplossGuard`: a row of stops is a market that the strategy does not fit.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Evidence, Lock, Span};

/// Settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoplossGuard {
    /// How far back trades are looked at.
    pub lookback: Span,
    /// How many stopped trades bring the lock about.
    pub trade_limit: u32,
    /// How long, from the newest trade's last sell on.
    pub stop_duration: Span,
    /// Trades that returned less than this count, a fraction.
    #[serde(default)]
    pub required_profit: Decimal,
    /// Whether stops are counted, and entries held back, pair by pair.
    #[serde(default)]
    pub only_per_pair: bool,
}

impl StoplossGuard {
    pub(super) fn judge(&self, name: &str, evidence: &Evidence<'_>) -> Option<Lock> {
        let stopped = evidence
            .window(self.lookback, self.only_per_pair)
            .filter(|trade| {
                trade.reason.is_stop() && trade.trade_return.is_some_and(|r| r < self.required_profit)
            })
            .count();
        let reason = format!("{stopped} trades ended by stops, the limit is {}", self.trade_limit);
        (stopped > 0 && stopped >= self.trade_limit as usize)
            .then(|| evidence.lock(name, self.only_per_pair, self.stop_duration, reason))
    }
}
