//! From decisions to the disk and then to the exchange, in that order.

use std::time::{Duration, Instant};

use crate::journal::{Journal, JournalError};
use crate::metrics::{Metrics, Step};
use crate::trader::{Action, Notice, Record, Trader};

use super::venue::Dispatch;

/// A segment that is longer than this is followed by a new one, which begins with all that is known.
const SEGMENT_BYTES: u64 = 16 << 20;

/// Records on which nothing is sent are durable after this at the latest.
const SYNC_WITHIN: Duration = Duration::from_millis(100);

/// What a batch of events led to, in order.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    pub(super) sends: Vec<Dispatch>,
    pub(super) notices: Vec<Notice>,
}

impl Batch {
    /// Adds what an event led to; `since` is when the event arrived, if it is a close.
    pub(super) fn take(&mut self, actions: Vec<Action>, since: Option<Instant>) {
        for action in actions {
            match action {
                Action::Journal(record) => self.records.push(record),
                Action::Send { id, command } => {
                    self.sends.push(Dispatch { id, command, since });
                }
                Action::Notify(notice) => self.notices.push(notice),
            }
        }
    }
}

/// The journal, and when it must be synced.
pub(super) struct Flow {
    journal: Journal<Record>,
    /// Records on whose strength nothing is sent wait a moment: the closes of hundreds of pairs would wait for as many syncs.
    unsynced_since: Option<Instant>,
    /// How long the last sync took.
    sync_took: Duration,
    metrics: Metrics,
}

impl Flow {
    pub(super) fn new(journal: Journal<Record>, metrics: Metrics) -> Flow {
        Flow { journal, unsynced_since: None, sync_took: Duration::ZERO, metrics }
    }

    /// In how many milliseconds [`Flow::commit`] is to be called for records that wait; `None` where none do.
    pub(super) fn due_in_ms(&self) -> Option<i64> {
        let rest = SYNC_WITHIN.saturating_sub(self.unsynced_since?.elapsed());
        Some(i64::try_from(rest.as_millis()).unwrap_or(i64::MAX))
    }

    /// How long the last sync took.
    pub(super) fn sync_took(&self) -> Duration {
        self.sync_took
    }

    /// Appends a batch's records, and makes everything durable if commands or somebody (`is_awaited`) wait for it, or it has waited
    /// long enough.
    pub(super) fn commit(&mut self, batch: &Batch, is_awaited: bool) -> Result<(), JournalError> {
        for record in &batch.records {
            self.journal.append(record)?;
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        let is_due = self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_WITHIN);
        if !batch.sends.is_empty() || is_awaited || is_due {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes everything durable.
    pub(super) fn sync(&mut self) -> Result<(), JournalError> {
        if self.unsynced_since.is_none() {
            return Ok(());
        }
        let started = Instant::now();
        self.journal.sync()?;
        self.sync_took = started.elapsed();
        self.metrics.took(Step::Journal, self.sync_took);
        self.unsynced_since = None;
        Ok(())
    }

    /// Begins a new segment if this one is long.
    pub(super) fn rotate_if_long(&mut self, trader: &Trader) -> Result<(), JournalError> {
        if self.journal.segment_bytes() < SEGMENT_BYTES { Ok(()) } else { self.rotate(trader) }
    }

    /// Begins a new segment.
    pub(super) fn rotate(&mut self, trader: &Trader) -> Result<(), JournalError> {
        self.sync()?;
        self.journal.rotate(&[trader.checkpoint()])
    }
}
