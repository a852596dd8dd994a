//! The bytes of a segment: a header, then frames, one a record. Numbers are little-endian.
//!
//! Header: magic (8), format (u32), sequence (u64), end of the checkpoint (u64), length of the bot's name (u32), the name,
//! CRC-32 of all before (u32). Frame: length of the payload (u32, never 0), CRC-32 (u32), durable offset (u64), version of the
//! record (u32), payload (JSON). A frame's checksum covers its segment's sequence and its own offset besides the rest, so that
//! a frame proves itself at one place only.
//!
//! The durable offset is the end of what had been synced when the frame was made. It tells a torn tail from damage: bytes that
//! a later frame calls durable were whole once, bytes that none does may never have been. What follows the last frame and is
//! zero is space kept ready.

use std::ops::Range;
use std::path::Path;

use super::JournalError;

const MAGIC: &[u8; 8] = b"plbjrnl\n";
const FORMAT: u32 = 1;
const FIXED_HEADER: usize = 8 + 4 + 8 + 8 + 4;
const FRAME_HEADER: usize = 4 + 4 + 8 + 4;
/// Largest payload. No length of a real frame has a high byte that is a letter: text is not searched for frames in vain.
const MAX_PAYLOAD: usize = 1 << 26;

/// A segment's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) sequence: u64,
    /// First byte after the checkpoint; all before it was synced before the segment had its name.
    pub(super) checkpoint_end: u64,
    pub(super) bot: String,
}

impl Header {
    /// Its length in bytes.
    pub(super) fn len(bot: &str) -> u64 {
        (FIXED_HEADER + bot.len() + 4) as u64
    }

    /// Its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend(self.checkpoint_end.to_le_bytes());
        bytes.extend((self.bot.len() as u32).to_le_bytes());
        bytes.extend(self.bot.as_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the header at the start of `bytes`.
    pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Header, JournalError> {
        let damaged =
            |what: &str| JournalError::Damaged { path: path.to_owned(), offset: 0, what: what.to_owned() };
        if bytes.get(..8) != Some(MAGIC.as_slice()) {
            return Err(damaged("this is not the header of a journal's segment"));
        }
        let short = || damaged("the header ends before its end");
        let format = u32_at(bytes, 8).ok_or_else(short)?;
        if format > FORMAT {
            return Err(JournalError::Newer {
                path: path.to_owned(),
                offset: 8,
                found: format,
                known: FORMAT,
            });
        }
        let sequence = u64_at(bytes, 12).ok_or_else(short)?;
        let checkpoint_end = u64_at(bytes, 20).ok_or_else(short)?;
        let name_end = FIXED_HEADER.saturating_add(u32_at(bytes, 28).ok_or_else(short)? as usize);
        let name = bytes.get(FIXED_HEADER..name_end).ok_or_else(short)?;
        let crc = u32_at(bytes, name_end).ok_or_else(short)?;
        let body = bytes.get(..name_end).ok_or_else(short)?;
        if crc32fast::hash(body) != crc {
            return Err(damaged("the header fails its checksum"));
        }
        let bot = String::from_utf8(name.to_vec()).map_err(|_| damaged("the bot's name is not text"))?;
        Ok(Header { sequence, checkpoint_end, bot })
    }
}

/// Appends the frame of `payload`, at `offset` of segment `sequence`, to `out`; says whether it is short enough.
pub(super) fn encode_frame(
    out: &mut Vec<u8>,
    payload: &[u8],
    sequence: u64,
    offset: u64,
    durable: u64,
    version: u32,
) -> bool {
    if payload.is_empty() || payload.len() > MAX_PAYLOAD {
        return false;
    }
    let length = payload.len() as u32;
    out.extend(length.to_le_bytes());
    out.extend(checksum(sequence, offset, length, durable, version, payload).to_le_bytes());
    out.extend(durable.to_le_bytes());
    out.extend(version.to_le_bytes());
    out.extend(payload);
    true
}

/// A frame that passed its checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where it starts.
    pub(super) offset: u64,
    /// Version of its record.
    pub(super) version: u32,
    /// Where its payload is.
    pub(super) payload: Range<usize>,
    durable: u64,
}

fn frame_at(bytes: &[u8], sequence: u64, offset: usize) -> Option<Frame> {
    let length = u32_at(bytes, offset)?;
    if length == 0 || length as usize > MAX_PAYLOAD {
        return None;
    }
    let payload = offset + FRAME_HEADER..offset + FRAME_HEADER + length as usize;
    let content = bytes.get(payload.clone())?;
    let crc = u32_at(bytes, offset + 4)?;
    let durable = u64_at(bytes, offset + 8)?;
    let version = u32_at(bytes, offset + 16)?;
    (checksum(sequence, offset as u64, length, durable, version, content) == crc).then_some(Frame {
        offset: offset as u64,
        version,
        payload,
        durable,
    })
}

fn checksum(sequence: u64, offset: u64, length: u32, durable: u64, version: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sequence.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(&length.to_le_bytes());
    hasher.update(&durable.to_le_bytes());
    hasher.update(&version.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) header: Header,
    pub(super) frames: Vec<Frame>,
    /// First byte after the last whole frame.
    pub(super) end: u64,
    /// Bytes of a write that was cut short, after `end`.
    pub(super) torn_bytes: u64,
}

/// Reads all frames of a segment.
///
/// # Errors
/// [`JournalError::Damaged`] where bytes that were durable are not whole; [`JournalError::Newer`].
pub(super) fn scan(path: &Path, bytes: &[u8]) -> Result<Scan, JournalError> {
    let header = Header::decode(path, bytes)?;
    let mut end = Header::len(&header.bot) as usize;
    let mut frames = Vec::new();
    while let Some(frame) = frame_at(bytes, header.sequence, end) {
        end = frame.payload.end;
        frames.push(frame);
    }
    let damaged = |what: String| JournalError::Damaged { path: path.to_owned(), offset: end as u64, what };
    if (end as u64) < header.checkpoint_end {
        return Err(damaged(format!("the checkpoint up to byte {} is not whole", header.checkpoint_end)));
    }
    let rest = bytes.get(end..).unwrap_or_default();
    let torn_bytes = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let proof = (end + 1..end + torn_bytes)
        .filter_map(|offset| frame_at(bytes, header.sequence, offset))
        .find(|frame| frame.durable > end as u64);
    if let Some(proof) = proof {
        return Err(damaged(format!(
            "the record at byte {} was written after these bytes were safe on the disk, and they fail their checksum",
            proof.offset
        )));
    }
    Ok(Scan { header, frames, end: end as u64, torn_bytes: torn_bytes as u64 })
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..offset.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..offset.checked_add(8)?)?.try_into().ok()?))
}
