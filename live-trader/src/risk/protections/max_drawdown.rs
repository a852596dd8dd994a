//! `MaxDrawdown`: the drawdown of closed trades in a window, as a share of the equity at its peak in that window.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Evidence, Lock, Span};

/// Settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxDrawdown {
    /// How far back trades are looked at.
    pub lookback: Span,
    /// How many trades there must be.
    pub trade_limit: u32,
    /// How long, from the newest trade's last sell on.
    pub stop_duration: Span,
    /// The drawdown from which on entries are held back, a fraction.
    pub max_allowed_drawdown: Decimal,
}

impl MaxDrawdown {
    pub(super) fn judge(&self, name: &str, evidence: &Evidence<'_>) -> Option<Lock> {
        let window = || evidence.window(self.lookback, false).map(|trade| trade.pnl);
        if window().count() < self.trade_limit as usize {
            return None;
        }
        let mut equity = evidence.equity - window().sum::<Decimal>();
        let (mut peak, mut drawdown) = (equity, Decimal::ZERO);
        for pnl in window() {
            equity += pnl;
            peak = peak.max(equity);
            drawdown = drawdown.max((peak - equity).checked_div(peak).unwrap_or(Decimal::ONE));
        }
        let reason =
            format!("drawdown of {}, the limit is {}", drawdown.round_dp(6), self.max_allowed_drawdown);
        (drawdown > self.max_allowed_drawdown).then(|| evidence.lock(name, false, self.stop_duration, reason))
    }
}
