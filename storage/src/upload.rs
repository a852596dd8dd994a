//! An object in the making. What is small is sent in one request when it is finished; what is large in parts on the way, which
//! nobody sees before the last request. An upload that is given up is cancelled at the server.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{Error, MultipartUpload, PutPayload, Result};

use crate::error::{Kind, explain};
use crate::s3::{self, Bucket, When};

/// What is at most sent in one request, and kept in memory.
const WHOLE_BYTES: usize = 64 << 20;

/// Size of a part; the last may be smaller.
const PART_BYTES: usize = 16 << 20;

/// Parts on their way at a time.
const PARTS_AT_ONCE: usize = 4;

/// How long an upload that is given up is waited for until the server has forgotten it.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Upload {
    bucket: Bucket,
    key: Key,
    /// What is not sent yet.
    buffer: Vec<u8>,
    parts: Option<Box<dyn MultipartUpload>>,
    sending: VecDeque<mpsc::Receiver<Result<()>>>,
    failure: Option<Error>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({:?}/{})", self.bucket, self.key)
    }
}

impl Upload {
    pub(crate) fn new(bucket: Bucket, key: Key) -> Upload {
        Upload { bucket, key, buffer: Vec::new(), parts: None, sending: VecDeque::new(), failure: None }
    }

    /// Why a part could not be sent.
    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// Makes the object visible. What was sent in parts knows no condition: it replaces what is there.
    pub(crate) fn finish(mut self, when: &When) -> Result<()> {
        if self.parts.is_some() {
            return self.finish_parts();
        }
        let content = Bytes::from(std::mem::take(&mut self.buffer));
        self.bucket.put(&self.key, content, when)
    }

    /// Makes the object visible unless one of its name is there and `is_whole`.
    pub(crate) fn finish_unless(mut self, is_whole: impl FnOnce() -> bool) -> Result<()> {
        if self.parts.is_some() {
            return self.finish_parts();
        }
        let content = Bytes::from(std::mem::take(&mut self.buffer));
        match self.bucket.put(&self.key, content.clone(), &When::Absent) {
            Err(error) if explain(&error).0 == Kind::Raced => match is_whole() {
                true => Ok(()),
                false => self.bucket.put(&self.key, content, &When::Always),
            },
            done => done,
        }
    }

    fn finish_parts(&mut self) -> Result<()> {
        self.send(true)?;
        while !self.sending.is_empty() {
            self.wait_for_one()?;
        }
        let Some(mut parts) = self.parts.take() else { return Ok(()) };
        s3::wait(async move {
            match parts.complete().await {
                Ok(_) => Ok(()),
                Err(error) => {
                    // The reason is known already.
                    drop(parts.abort().await);
                    Err(error)
                }
            }
        })
    }

    /// Sends full parts, and with `all` what is left.
    fn send(&mut self, all: bool) -> Result<()> {
        if self.parts.is_none() {
            self.parts = Some(self.bucket.begin(&self.key)?);
        }
        while self.buffer.len() >= PART_BYTES || (all && !self.buffer.is_empty()) {
            let rest = self.buffer.split_off(PART_BYTES.min(self.buffer.len()));
            let part = std::mem::replace(&mut self.buffer, rest);
            if self.sending.len() >= PARTS_AT_ONCE {
                self.wait_for_one()?;
            }
            if let Some(parts) = &mut self.parts {
                self.sending.push_back(s3::start(parts.put_part(PutPayload::from(Bytes::from(part))))?);
            }
        }
        Ok(())
    }

    fn wait_for_one(&mut self) -> Result<()> {
        let Some(part) = self.sending.pop_front() else { return Ok(()) };
        let dropped =
            |_| Err(Error::Generic { store: "S3", source: "the upload of a part was dropped".into() });
        part.recv().unwrap_or_else(dropped)
    }
}

impl Write for Upload {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(content);
        let limit = if self.parts.is_some() { PART_BYTES } else { WHOLE_BYTES };
        if self.buffer.len() > limit
            && let Err(error) = self.send(false)
        {
            let told = io::Error::other(explain(&error).1);
            self.failure = Some(error);
            return Err(told);
        }
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else { return };
        let until = Instant::now() + PATIENCE;
        let rest = || until.saturating_duration_since(Instant::now());
        // A part that arrives behind the end of its upload would stay.
        for part in self.sending.drain(..) {
            drop(part.recv_timeout(rest()));
        }
        // The program may end right after. Whoever gave the upload up has a reason to report; a server that cannot be told keeps
        // unseen parts, which the bucket's rules remove.
        if let Ok(ended) = s3::start(async move { parts.abort().await }) {
            drop(ended.recv_timeout(rest()));
        }
    }
}
