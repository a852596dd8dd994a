//! What can go wrong with a journal, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the journal. None of them is to be answered by trying the same again.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process writes it.
    #[error(
        "the journal {} is in use by {holder}: one bot has one writer; stop that process, or give this bot another directory",
        dir.display()
    )]
    InUse {
        /// The journal's directory.
        dir: PathBuf,
        /// Who holds it, as far as it said so.
        holder: String,
    },
    /// It belongs to another bot.
    #[error("{}: this journal is of bot {found:?} and not of {expected:?}; give each bot its own directory", path.display())]
    OtherBot {
        /// The segment.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose was asked for.
        expected: String,
    },
    /// Bytes that were on the disk are not what was written.
    #[error(
        "{}: damaged at byte {offset}: {what}. Nothing was changed. Restore the file from a copy; without one, move the \
         journal's directory away, compare the account with the exchange by hand and start with a new directory",
        path.display()
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// It was written by a newer program.
    #[error("{}: byte {offset} has version {found}, this program reads up to {known}; run the newer program", path.display())]
    Newer {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The version found.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// The disk has no room.
    #[error("{}: no space left while {doing}; make room and start the trader again", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
    },
    /// The system refused.
    #[error("{}: {source} while {doing}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// A write or sync failed before: what is on the disk is no longer known, so nothing may be sent on the strength of it.
    #[error(
        "{}: the journal failed before and takes nothing any more; start the trader again, it recovers what is on the disk",
        path.display()
    )]
    Failed {
        /// The segment.
        path: PathBuf,
    },
    /// A record that cannot be framed.
    #[error("{}: a record cannot be written: {reason}", path.display())]
    Unwritable {
        /// The segment.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl JournalError {
    /// The error of `doing` something to `path`.
    pub(super) fn io(path: &Path, doing: &'static str, source: io::Error) -> JournalError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                JournalError::Full { path: path.to_owned(), doing }
            }
            _ => JournalError::Io { path: path.to_owned(), doing, source },
        }
    }
}
