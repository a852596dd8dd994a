//! `CooldownPeriod`: a pair rests after each of its trades.

use serde::{Deserialize, Serialize};

use super::{Evidence, Lock, Span};

/// Settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CooldownPeriod {
    /// How long, from the trade's last sell on.
    pub stop_duration: Span,
}

impl CooldownPeriod {
    pub(super) fn judge(&self, name: &str, evidence: &Evidence<'_>) -> Option<Lock> {
        Some(evidence.lock(name, true, self.stop_duration, "a trade of the pair closed".to_owned()))
    }
}
