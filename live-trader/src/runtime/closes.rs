//! Which closes of a bar time have come, of a market that waits for the desk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::symbol::Symbol;

/// How long the closes of one bar time may come after one another. A pair with a hole in its bars has no close to wait for, and nothing tells
/// it from one whose close is still on the way.
const LATECOMERS: Duration = Duration::from_millis(250);

/// The newest close of every pair.
#[derive(Debug, Default)]
pub(super) struct Closes {
    newest: BTreeMap<Symbol, Option<i64>>,
    heard_at: Option<Instant>,
}

impl Closes {
    /// Of these pairs, each with the open time of the newest bar that is known.
    pub(super) fn of(pairs: &[(Symbol, Option<i64>)]) -> Closes {
        Closes { newest: pairs.iter().cloned().collect(), heard_at: None }
    }

    /// A bar closed.
    pub(super) fn hear(&mut self, symbol: &Symbol, open_ms: i64) {
        self.heard_at = Some(Instant::now());
        if let Some(newest) = self.newest.get_mut(symbol) {
            *newest = (*newest).max(Some(open_ms));
        }
    }

    /// How long other pairs' closes of bars that opened at `open_ms` may still come; `None`: all are there, or nothing has come for long enough.
    pub(super) fn outstanding(&self, open_ms: i64) -> Option<Duration> {
        let is_complete = self.newest.values().all(|newest| *newest >= Some(open_ms));
        let heard_at = self.heard_at.filter(|_| !is_complete)?;
        LATECOMERS.checked_sub(heard_at.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_time_is_complete_with_the_close_of_every_pair_and_not_with_the_first() {
        let [a, b] = ["AUSDT", "BUSDT"].map(Symbol::new);
        let mut closes = Closes::of(&[(a.clone(), Some(60)), (b.clone(), None)]);
        assert_eq!(closes.outstanding(60), None, "nothing has come: the market has not begun");
        closes.hear(&a, 120);
        assert!(closes.outstanding(120).is_some());
        closes.hear(&b, 120);
        assert_eq!(closes.outstanding(120), None);
        closes.hear(&a, 180);
        std::thread::sleep(LATECOMERS);
        assert_eq!(closes.outstanding(180), None, "the other one has a hole");
    }
}
