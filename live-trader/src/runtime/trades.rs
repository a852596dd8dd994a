//! A bot's closed trades, from its journal.

use std::path::Path;

use polybolos_engine::interval::Interval;

use crate::journal::Audit;
use crate::ledger::LiveTrade;
use crate::trader::{Record, State};

use super::error::RuntimeError;

/// Name of the journal's folder in the state's folder.
pub(super) const JOURNAL_DIR: &str = "journal";

/// Every trade that the journal of `bot` in `state_dir` has seen closed, oldest first. The bot may be running.
///
/// # Errors
/// [`RuntimeError::Journal`].
pub fn closed_trades(
    state_dir: &Path,
    bot: &str,
    interval: Interval,
) -> Result<Vec<LiveTrade>, RuntimeError> {
    let mut state = State::new(interval);
    let mut trades = Vec::new();
    let mut is_first = true;
    for entry in Audit::<Record>::open(&state_dir.join(JOURNAL_DIR), bot)? {
        let entry = entry?;
        // A checkpoint repeats what older segments say; of the oldest segment that is there it is all that is left of them.
        if !entry.is_checkpoint || is_first {
            trades.extend(state.apply(&entry.record).closed);
        }
        is_first = false;
    }
    Ok(trades)
}
