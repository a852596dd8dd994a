//! All records that a journal ever took, from the oldest segment that is there to the newest.

use std::collections::VecDeque;
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use super::{JournalError, Record, check_header, decode, scan, segment_path, sequences};

/// A record and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<R> {
    /// Number of its segment.
    pub segment: u64,
    /// Its first byte in the segment.
    pub offset: u64,
    /// Whether it is part of the checkpoint with which the segment begins, and repeats what older segments say.
    pub is_checkpoint: bool,
    /// The record.
    pub record: R,
}

/// Walks a journal's records, one segment in memory at a time. Takes no lock: of a journal in use it gives what was written when
/// its newest segment was reached. Ends after the first error.
#[derive(Debug)]
pub struct Audit<R> {
    dir: PathBuf,
    bot: String,
    segments: VecDeque<u64>,
    entries: VecDeque<Entry<R>>,
    _record: PhantomData<fn() -> R>,
}

impl<R: Record> Audit<R> {
    /// The records of `bot` in `dir`.
    ///
    /// # Errors
    /// [`JournalError::Io`]; [`JournalError::Damaged`] where a segment between two others is missing.
    pub fn open(dir: &Path, bot: &str) -> Result<Audit<R>, JournalError> {
        let segments = sequences(dir)?;
        for pair in segments.windows(2) {
            if let [before, after] = pair
                && before + 1 != *after
            {
                return Err(JournalError::Damaged {
                    path: segment_path(dir, before + 1),
                    offset: 0,
                    what: "the segment is missing".to_owned(),
                });
            }
        }
        Ok(Audit {
            dir: dir.to_owned(),
            bot: bot.to_owned(),
            segments: segments.into(),
            entries: VecDeque::new(),
            _record: PhantomData,
        })
    }

    fn load(&mut self, sequence: u64) -> Result<(), JournalError> {
        let path = segment_path(&self.dir, sequence);
        let bytes = fs::read(&path).map_err(|e| JournalError::io(&path, "reading", e))?;
        let found = scan(&path, &bytes)?;
        check_header(&path, &found.header, sequence, &self.bot)?;
        if found.torn_bytes > 0 && !self.segments.is_empty() {
            return Err(JournalError::Damaged {
                path,
                offset: found.end,
                what: "a newer segment follows, so these bytes were safe on the disk, and they fail their checksum"
                    .to_owned(),
            });
        }
        for frame in &found.frames {
            self.entries.push_back(Entry {
                segment: sequence,
                offset: frame.offset,
                is_checkpoint: frame.offset < found.header.checkpoint_end,
                record: decode(&path, &bytes, frame)?,
            });
        }
        Ok(())
    }
}

impl<R: Record> Iterator for Audit<R> {
    type Item = Result<Entry<R>, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return Some(Ok(entry));
            }
            let sequence = self.segments.pop_front()?;
            if let Err(error) = self.load(sequence) {
                self.segments.clear();
                self.entries.clear();
                return Some(Err(error));
            }
        }
    }
}
