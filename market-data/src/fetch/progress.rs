//! What a fetch tells whoever watches it.

/// How a file of the archive ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileEnd {
    /// Downloaded and verified.
    New,
    /// Merged by an earlier run and not issued again since.
    Current,
    /// The archive has no such file.
    Missing,
    /// Given up; the report says why.
    Failed,
}

/// Receives the progress of a fetch, from any thread; every method does nothing unless overridden.
pub trait Progress: Send + Sync {
    /// So many more files will be asked for.
    fn planned(&self, files: u64) {
        let _ = files;
    }

    /// A file has ended.
    fn file(&self, name: &str, end: FileEnd) {
        let _ = (name, end);
    }

    /// So many more bytes were received.
    fn bytes(&self, bytes: u64) {
        let _ = bytes;
    }

    /// A retry or a wait, in words.
    fn note(&self, text: &str) {
        let _ = text;
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
