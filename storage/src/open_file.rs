//! A file that is read here and there, as Parquet is: its end first, then the columns that are wanted.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::GetRange;
use object_store::path::Path as Key;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::error::{Kind, StorageError};
use crate::location::Location;
use crate::s3::Bucket;

/// Of an object the end is fetched when it is opened: it holds the footer, and whole small files.
const TAIL_BYTES: u64 = 32 << 10;

/// What is fetched at least, from where something is wanted on: columns are read in small steps.
const PIECE_BYTES: u64 = 1 << 20;

/// Pieces of an object kept in memory.
const PIECES: usize = 48;

/// A file or object open for reading.
#[derive(Debug)]
pub struct OpenFile(Source);

#[derive(Debug)]
enum Source {
    File(File),
    Object(Arc<Object>),
}

#[derive(Debug)]
struct Object {
    location: Location,
    bucket: Bucket,
    key: Key,
    size: u64,
    /// Where each begins, the one used last at the end.
    pieces: Mutex<Vec<(u64, Bytes)>>,
}

/// Reads on from a place.
#[derive(Debug)]
pub struct OpenRead(ReadFrom);

#[derive(Debug)]
enum ReadFrom {
    File(BufReader<File>),
    Object { object: Arc<Object>, at: u64 },
}

impl OpenFile {
    pub(crate) fn local(file: File) -> OpenFile {
        OpenFile(Source::File(file))
    }

    pub(crate) fn remote(location: Location, bucket: Bucket, key: Key) -> Result<OpenFile, StorageError> {
        let found = bucket.get_range(&key, GetRange::Suffix(TAIL_BYTES));
        let (pieces, size) = match found {
            Ok((range, tail, size)) => (vec![(range.start, tail)], size),
            // An empty object has no end that could be asked for.
            Err(error) if error.to_string().contains("416") => (Vec::new(), 0),
            Err(error) => return Err(StorageError::remote(&location, &error)),
        };
        let object = Object { location, bucket, key, size, pieces: Mutex::new(pieces) };
        Ok(OpenFile(Source::Object(Arc::new(object))))
    }
}

impl Object {
    /// `length` bytes from `start` on; fewer at the end of the object.
    fn read(&self, start: u64, length: u64) -> Result<Bytes, StorageError> {
        let end = start.saturating_add(length).min(self.size);
        if start >= end {
            return Ok(Bytes::new());
        }
        if let Some(known) = self.known(start, end) {
            return Ok(known);
        }
        let until = end.max(start.saturating_add(PIECE_BYTES)).min(self.size);
        let fetched = self.bucket.get_range(&self.key, GetRange::Bounded(start..until));
        let (_, piece, size) = fetched.map_err(|error| StorageError::remote(&self.location, &error))?;
        if size != self.size || piece.len() as u64 != until - start {
            let reason = "it was written anew while it was being read; try again";
            return Err(StorageError::new(&self.location, Kind::Transient, reason));
        }
        let wanted = piece.slice(..usize::try_from(end - start).unwrap_or(usize::MAX).min(piece.len()));
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if pieces.len() >= PIECES {
            pieces.remove(0);
        }
        pieces.push((start, piece));
        Ok(wanted)
    }

    /// A part of a piece that is there.
    fn known(&self, start: u64, end: u64) -> Option<Bytes> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |(from, piece): &(u64, Bytes)| *from <= start && end <= from + piece.len() as u64;
        let index = pieces.iter().position(holds)?;
        let piece = pieces.remove(index);
        let from = usize::try_from(start - piece.0).ok()?;
        let found = piece.1.slice(from..from + usize::try_from(end - start).ok()?);
        pieces.push(piece);
        Some(found)
    }
}

impl Length for OpenFile {
    fn len(&self) -> u64 {
        match &self.0 {
            Source::File(file) => file.len(),
            Source::Object(object) => object.size,
        }
    }
}

impl ChunkReader for OpenFile {
    type T = OpenRead;

    fn get_read(&self, start: u64) -> Result<OpenRead, ParquetError> {
        Ok(OpenRead(match &self.0 {
            Source::File(file) => ReadFrom::File(file.get_read(start)?),
            Source::Object(object) => ReadFrom::Object { object: Arc::clone(object), at: start },
        }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match &self.0 {
            Source::File(file) => file.get_bytes(start, length),
            Source::Object(object) => {
                let found = object
                    .read(start, length as u64)
                    .map_err(|error| ParquetError::External(Box::new(error)))?;
                if found.len() < length {
                    return Err(ParquetError::EOF(format!("{} ends before {length} bytes", object.location)));
                }
                Ok(found)
            }
        }
    }
}

impl Read for OpenRead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            ReadFrom::File(file) => file.read(into),
            ReadFrom::Object { object, at } => {
                let found = object.read(*at, into.len() as u64).map_err(io::Error::other)?;
                let Some(part) = into.get_mut(..found.len()) else { return Ok(0) };
                part.copy_from_slice(&found);
                *at += found.len() as u64;
                Ok(found.len())
            }
        }
    }
}
