//! Where the bytes of the newest segment go.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};

/// Space that is written ahead as zeros, bytes: a sync of bytes inside it changes no length and no extent of the file.
const AHEAD: u64 = 1 << 20;

/// The end of a file. Tests put a failing disk in its place.
pub trait Sink: Send {
    /// Writes `bytes` behind what was written before.
    ///
    /// # Errors
    /// The system's.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns once all that was written survives a loss of power.
    ///
    /// # Errors
    /// The system's; what is on the disk is then unknown.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file on the disk.
pub(super) struct FileSink {
    file: File,
    end: u64,
    allocated: u64,
}

impl FileSink {
    /// Goes on behind byte `end`, which is also the file's length.
    pub(super) fn new(mut file: File, end: u64) -> io::Result<FileSink> {
        file.seek(SeekFrom::Start(end))?;
        Ok(FileSink { file, end, allocated: end })
    }
}

impl Sink for FileSink {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.end + bytes.len() as u64;
        if end > self.allocated {
            let target = end.next_multiple_of(AHEAD);
            self.file.seek(SeekFrom::Start(self.allocated))?;
            io::copy(&mut io::Read::take(io::repeat(0), target - self.allocated), &mut self.file)?;
            self.file.seek(SeekFrom::Start(self.end))?;
            self.allocated = target;
        }
        self.file.write_all(bytes)?;
        self.end = end;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}
