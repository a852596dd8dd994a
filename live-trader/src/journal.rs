//! The journal of a bot: an append-only log of records that are safe on the disk before anything is done on their strength.
//!
//! A directory holds segments `<sequence>.journal` and a lock. Reading starts at the newest segment; [`Journal::rotate`] begins
//! a new one with a checkpoint from which the state can be made without the older ones, and those stay: they are the audit
//! trail, which [`Audit`] walks. A segment gets its name only once its header and checkpoint are on the disk.
//!
//! [`Journal::append`] keeps records in memory, [`Journal::sync`] makes all of them durable with one write and one `fdatasync`.
//! A crash in that write leaves a torn tail, which the next start cuts off and reports; nothing had been done on the strength of
//! it. Anything else that is not whole is refused. A failed write or sync is not tried again, since the system may have dropped
//! the bytes and call the next sync a success: the journal then takes nothing more.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

mod audit;
mod error;
mod segment;
mod sink;

pub use audit::{Audit, Entry};
pub use error::JournalError;
pub use sink::Sink;

use segment::{Header, encode_frame, scan};
use sink::FileSink;

/// What a journal keeps.
pub trait Record: Serialize + DeserializeOwned {
    /// Version of the record's form. A program reads its own and older ones; a form that older programs would misread needs a
    /// higher version.
    const VERSION: u32;
}

/// What was found when a journal was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered<R> {
    /// The records of the newest segment, its checkpoint first.
    pub records: Vec<R>,
    /// Bytes of a write that a crash cut short; they were cut off. Nothing that they said was done.
    pub torn_bytes: u64,
}

/// Puts something between a journal and its file: tests, a disk that fails.
pub type Wrap = Box<dyn Fn(Box<dyn Sink>) -> Box<dyn Sink> + Send>;

/// A bot's journal, open for writing. Dropping it drops what was appended and not synced.
pub struct Journal<R> {
    dir: PathBuf,
    bot: String,
    sequence: u64,
    path: PathBuf,
    sink: Box<dyn Sink>,
    wrap: Wrap,
    durable: u64,
    buffer: Vec<u8>,
    has_failed: bool,
    _lock: File,
    _record: PhantomData<fn(R)>,
}

impl<R> std::fmt::Debug for Journal<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("path", &self.path)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

impl<R: Record> Journal<R> {
    /// Opens the journal of `bot` in `dir`, both made if they are not there.
    ///
    /// # Errors
    /// [`JournalError::InUse`], [`JournalError::OtherBot`], [`JournalError::Damaged`], [`JournalError::Newer`]: nothing was changed.
    /// [`JournalError::Io`], [`JournalError::Full`].
    pub fn open(dir: &Path, bot: &str) -> Result<(Journal<R>, Recovered<R>), JournalError> {
        Journal::open_with(dir, bot, Box::new(|sink| sink))
    }

    /// [`Journal::open`] with `wrap` around every segment's file.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_with(dir: &Path, bot: &str, wrap: Wrap) -> Result<(Journal<R>, Recovered<R>), JournalError> {
        fs::create_dir_all(dir).map_err(|e| JournalError::io(dir, "making the directory", e))?;
        let lock = lock(dir)?;
        let sequence = match sequences(dir)?.last() {
            Some(sequence) => *sequence,
            None => {
                create::<R>(dir, bot, 1, &[])?;
                1
            }
        };
        let path = segment_path(dir, sequence);
        let bytes = fs::read(&path).map_err(|e| JournalError::io(&path, "reading", e))?;
        let found = scan(&path, &bytes)?;
        check_header(&path, &found.header, sequence, bot)?;
        let mut records = Vec::with_capacity(found.frames.len());
        for frame in &found.frames {
            records.push(decode(&path, &bytes, frame)?);
        }
        let sink = wrap(Box::new(open_sink(&path, found.end)?));
        let journal = Journal {
            dir: dir.to_owned(),
            bot: bot.to_owned(),
            sequence,
            path,
            sink,
            wrap,
            durable: found.end,
            buffer: Vec::new(),
            has_failed: false,
            _lock: lock,
            _record: PhantomData,
        };
        Ok((journal, Recovered { records, torn_bytes: found.torn_bytes }))
    }

    /// Takes a record; it is durable after the next [`Journal::sync`].
    ///
    /// # Errors
    /// [`JournalError::Unwritable`] for a record without JSON or longer than 64 MiB, [`JournalError::Failed`].
    pub fn append(&mut self, record: &R) -> Result<(), JournalError> {
        self.refuse_after_failure()?;
        let offset = self.durable + self.buffer.len() as u64;
        push_record(&mut self.buffer, &self.path, record, self.sequence, offset, self.durable)
    }

    /// Makes all appended records durable with one write. Without any it does nothing.
    ///
    /// # Errors
    /// [`JournalError::Full`], [`JournalError::Io`]: what is on the disk is unknown, and every later call is
    /// [`JournalError::Failed`].
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.refuse_after_failure()?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.sink.append(&self.buffer).map_err(|e| JournalError::io(&self.path, "writing", e));
        let synced =
            written.and_then(|()| self.sink.sync().map_err(|e| JournalError::io(&self.path, "syncing", e)));
        if synced.is_err() {
            self.has_failed = true;
            return synced;
        }
        self.durable += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Syncs, and goes on in a new segment that begins with `checkpoint`: records from which the state can be made again.
    ///
    /// # Errors
    /// As [`Journal::append`] and [`Journal::sync`]; the journal then takes nothing more, and the older segment is whole.
    pub fn rotate(&mut self, checkpoint: &[R]) -> Result<(), JournalError> {
        self.sync()?;
        let rotated = self.begin_segment(checkpoint);
        self.has_failed |= rotated.is_err();
        rotated
    }

    /// Bytes of the newest segment that are in use, those not yet synced included.
    pub fn segment_bytes(&self) -> u64 {
        self.durable + self.buffer.len() as u64
    }

    /// Number of the newest segment, from 1.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    fn begin_segment(&mut self, checkpoint: &[R]) -> Result<(), JournalError> {
        trim(&self.path, self.durable)?;
        let sequence = self.sequence + 1;
        let durable = create(&self.dir, &self.bot, sequence, checkpoint)?;
        let path = segment_path(&self.dir, sequence);
        self.sink = (self.wrap)(Box::new(open_sink(&path, durable)?));
        (self.sequence, self.path, self.durable) = (sequence, path, durable);
        Ok(())
    }

    fn refuse_after_failure(&self) -> Result<(), JournalError> {
        if self.has_failed { Err(JournalError::Failed { path: self.path.clone() }) } else { Ok(()) }
    }
}

fn push_record<R: Record>(
    out: &mut Vec<u8>,
    path: &Path,
    record: &R,
    sequence: u64,
    offset: u64,
    durable: u64,
) -> Result<(), JournalError> {
    let unwritable = |reason| JournalError::Unwritable { path: path.to_owned(), reason };
    let payload = serde_json::to_vec(record).map_err(|e| unwritable(e.to_string()))?;
    match encode_frame(out, &payload, sequence, offset, durable, R::VERSION) {
        true => Ok(()),
        false => Err(unwritable(format!("its length is {} bytes, the limit is 64 MiB", payload.len()))),
    }
}

fn decode<R: Record>(path: &Path, bytes: &[u8], frame: &segment::Frame) -> Result<R, JournalError> {
    if frame.version > R::VERSION {
        return Err(JournalError::Newer {
            path: path.to_owned(),
            offset: frame.offset,
            found: frame.version,
            known: R::VERSION,
        });
    }
    serde_json::from_slice(bytes.get(frame.payload.clone()).unwrap_or_default()).map_err(|e| {
        JournalError::Damaged {
            path: path.to_owned(),
            offset: frame.offset,
            what: format!("the record cannot be read: {e}"),
        }
    })
}

fn check_header(path: &Path, header: &Header, sequence: u64, bot: &str) -> Result<(), JournalError> {
    if header.sequence != sequence {
        return Err(JournalError::Damaged {
            path: path.to_owned(),
            offset: 12,
            what: format!("its header says segment {}", header.sequence),
        });
    }
    if header.bot != bot {
        return Err(JournalError::OtherBot {
            path: path.to_owned(),
            found: header.bot.clone(),
            expected: bot.to_owned(),
        });
    }
    Ok(())
}

/// Writes segment `sequence` under a temporary name, syncs it and gives it its own; the length it has.
fn create<R: Record>(dir: &Path, bot: &str, sequence: u64, checkpoint: &[R]) -> Result<u64, JournalError> {
    let path = segment_path(dir, sequence);
    let temporary = path.with_extension("new");
    let start = Header::len(bot);
    let mut body = Vec::new();
    for record in checkpoint {
        let offset = start + body.len() as u64;
        push_record(&mut body, &path, record, sequence, offset, start)?;
    }
    let end = start + body.len() as u64;
    let mut bytes = Header { sequence, checkpoint_end: end, bot: bot.to_owned() }.encode();
    bytes.append(&mut body);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|e| JournalError::io(&path, "making a segment", e))?;
    Ok(end)
}

/// Opens a segment to go on behind byte `end`; what is behind it is cut off for good before anything is written.
fn open_sink(path: &Path, end: u64) -> Result<FileSink, JournalError> {
    let file = trim(path, end)?;
    FileSink::new(file, end).map_err(|e| JournalError::io(path, "opening", e))
}

fn trim(path: &Path, end: u64) -> Result<File, JournalError> {
    let cut = || {
        let file = OpenOptions::new().write(true).open(path)?;
        if file.metadata()?.len() != end {
            file.set_len(end)?;
            file.sync_all()?;
        }
        Ok(file)
    };
    cut().map_err(|e| JournalError::io(path, "cutting off what follows the last record", e))
}

fn segment_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:010}.journal"))
}

/// The numbers of the segments in `dir`, rising.
fn sequences(dir: &Path) -> Result<Vec<u64>, JournalError> {
    let list = || {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            if let (Some(number), Some("journal")) = (number, path.extension().and_then(|e| e.to_str())) {
                found.push(number);
            }
        }
        found.sort_unstable();
        Ok(found)
    };
    list().map_err(|e| JournalError::io(dir, "listing segments", e))
}

/// Takes the directory's lock; it is given back when the file is closed, by a crash too.
fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join("lock");
    let failed = |e| JournalError::io(&path, "locking", e);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(e)) => return Err(failed(e)),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let holder = match file.read_to_string(&mut holder) {
                Ok(length) if length > 0 => holder,
                _ => "another process".to_owned(),
            };
            return Err(JournalError::InUse { dir: dir.to_owned(), holder });
        }
    }
    let mut sign = || {
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "process {}", std::process::id())
    };
    sign().map_err(failed)?;
    Ok(file)
}
