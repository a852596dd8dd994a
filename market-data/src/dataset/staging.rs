//! Files that appear whole or not at all: written under a temporary name, flushed to the disk, then renamed.
//!
//! Only the holder of the dataset's lock stages files, so a temporary name found in a folder is what a killed run left.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::DataError;

/// Not `.parquet`, and hidden: no reader takes it for data.
const TEMPORARY: &str = ".tmp";

/// A file written under its temporary name; removed when dropped before [`StagedFile::publish`].
pub(crate) struct StagedFile {
    temporary: PathBuf,
    target: PathBuf,
    is_published: bool,
}

impl StagedFile {
    /// Writes and flushes the contents of `target` under a temporary name in the same folder, which must exist.
    pub(crate) fn write(
        target: PathBuf,
        contents: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
    ) -> Result<StagedFile, DataError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = target.with_file_name(format!(".{name}{TEMPORARY}"));
        let file = File::create(&temporary).map_err(|error| DataError::io("create", &temporary, error))?;
        let staged = StagedFile { temporary, target, is_published: false };
        let mut writer = BufWriter::with_capacity(1 << 16, file);
        contents(&mut writer)
            .and_then(|()| writer.flush())
            .and_then(|()| writer.get_ref().sync_all())
            .map_err(|error| DataError::io("write", &staged.temporary, error))?;
        Ok(staged)
    }

    /// Gives the file its name; the folder still has to be flushed with [`sync_dir`].
    pub(crate) fn publish(mut self) -> Result<(), DataError> {
        fs::rename(&self.temporary, &self.target)
            .map_err(|error| DataError::io("rename", &self.temporary, error))?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.is_published {
            // The file is already useless; the next writer sweeps what cannot be removed now.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Makes a folder and its parents last a power cut.
pub(crate) fn make_dir(dir: &Path) -> Result<(), DataError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        make_dir(parent)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(DataError::io("make", dir, error)),
        _ => dir.parent().map_or(Ok(()), sync_dir),
    }
}

/// Flushes a folder's names to the disk.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), DataError> {
    // `Path::parent` of a relative name is the empty path, which is the current folder.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    #[cfg(unix)]
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| DataError::io("flush", dir, error))?;
    Ok(())
}

/// Removes the temporary files that a killed run left in a folder.
pub(crate) fn sweep(dir: &Path) -> Result<(), DataError> {
    for name in super::names(dir)? {
        if name.starts_with('.') && name.ends_with(TEMPORARY) {
            let path = dir.join(name);
            fs::remove_file(&path).map_err(|error| DataError::io("remove", &path, error))?;
        }
    }
    Ok(())
}
