//! Files that are whole or not there: written under a temporary name, synced, renamed.
//!
//! A temporary file is locked while it is being written, so that a file without a living writer can be told from one in the
//! making and removed. Temporary names start with a dot and end in `.tmp`; nobody reads them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file with all its content that does not carry its name yet. Dropped without [`Staged::commit`], it is removed and the
/// place it was meant for is as it was before.
#[derive(Debug)]
#[must_use = "a staged file is removed unless it is committed"]
pub struct Staged {
    /// Open, so that the lock is held until the file has its name.
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    is_committed: bool,
}

impl Staged {
    /// Syncs the file, gives it its name and syncs the folder: only waiting for the disk is left to do here.
    ///
    /// # Errors
    /// The system's for syncing or renaming; no temporary file stays.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        self.is_committed = true;
        sync_folder(&self.path)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_committed {
            // Somebody has an error to report already; a temporary file that cannot be removed now is a leftover.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Writes the content that `path` is to have through `fill`, under a temporary name.
///
/// # Errors
/// Those of `fill`, and the system's for creating the file; no temporary file stays.
pub fn stage(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<Staged> {
    let temporary = temporary_path(path);
    let file = File::create_new(&temporary)?;
    let mut staged = Staged { file, temporary, path: path.to_owned(), is_committed: false };
    staged.file.lock()?;
    fill(&mut staged.file)?;
    Ok(staged)
}

/// Writes `path` through `fill`. When `fill` or the disk fails, `path` is as it was before and no temporary file stays.
///
/// # Errors
/// Those of `fill`, and the system's for creating, syncing or renaming the file.
pub fn write(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    stage(path, fill)?.commit()
}

/// Removes temporary files in `folder` that no living process is writing.
pub fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| is_temporary(path)) {
        let abandoned = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if abandoned {
            // Another process may have removed it first.
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_temporary(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with('.') && name.ends_with(".tmp"))
}

/// A name of its own for every write of every process, in the same folder, so that the rename stays on one file system.
fn temporary_path(path: &Path) -> PathBuf {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{name}.{}-{write}.tmp", std::process::id()))
}

/// Makes the rename itself survive a power cut.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_has_its_name_once_it_is_committed_and_leaves_nothing_if_it_is_not() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        let names = || -> io::Result<Vec<_>> {
            fs::read_dir(folder.path())?.map(|entry| Ok(entry?.file_name())).collect()
        };
        drop(stage(&path, |file| file.write_all(b"dropped"))?);
        assert!(names()?.is_empty());
        assert!(stage(&path, |_| Err(io::Error::other("refused"))).is_err());
        assert!(names()?.is_empty());
        let staged = stage(&path, |file| file.write_all(b"whole"))?;
        assert!(!path.exists());
        // Whoever clears up meanwhile sees that somebody is writing it.
        remove_leftovers(folder.path());
        staged.commit()?;
        assert_eq!((fs::read(&path)?, names()?.len()), (b"whole".to_vec(), 1));
        Ok(())
    }
}
