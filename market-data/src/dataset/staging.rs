//! Files that appear whole or not at all: written under a temporary name, flushed to the disk, then renamed; or uploaded.
//!
//! Only the holder of the dataset's lock stages files, so a temporary name found in a folder is what a killed run left.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use polybolos_storage::{Location, Revision, Staged};

use crate::DataError;

/// Not `.parquet`, and hidden: no reader takes it for data.
const TEMPORARY: &str = ".tmp";

/// A file or object with all its content that does not carry its name yet; gone when dropped before [`StagedFile::publish`].
pub(crate) enum StagedFile {
    /// Under a temporary name.
    OnDisk(Temporary),
    /// For a bucket, over the revision that was read.
    Upload(Staged, Option<Revision>),
}

/// A file under its temporary name; removed when dropped before it is renamed.
pub(crate) struct Temporary {
    temporary: PathBuf,
    target: PathBuf,
    is_published: bool,
}

impl StagedFile {
    /// Writes the contents of `target`, which was `read` before: on a disk under a temporary name in the same folder, which must
    /// exist, and flushed.
    pub(crate) fn write(
        target: &Location,
        read: Option<Revision>,
        contents: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
    ) -> Result<StagedFile, DataError> {
        match target.path() {
            Some(path) => Temporary::write(path.to_owned(), contents).map(StagedFile::OnDisk),
            None => Ok(StagedFile::Upload(target.stage(contents)?, read)),
        }
    }

    /// Gives the file its name; its folder still has to be flushed with [`sync_dir`].
    pub(crate) fn publish(self) -> Result<(), DataError> {
        match self {
            StagedFile::OnDisk(file) => file.publish(),
            StagedFile::Upload(object, read) => Ok(object.commit_over(read.as_ref())?),
        }
    }
}

impl Temporary {
    fn write(
        target: PathBuf,
        contents: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
    ) -> Result<Temporary, DataError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = target.with_file_name(format!(".{name}{TEMPORARY}"));
        let file = File::create(&temporary).map_err(|error| DataError::io("create", &temporary, error))?;
        let staged = Temporary { temporary, target, is_published: false };
        let mut writer = BufWriter::with_capacity(1 << 16, file);
        contents(&mut writer)
            .and_then(|()| writer.flush())
            .and_then(|()| writer.get_ref().sync_all())
            .map_err(|error| DataError::io("write", &staged.temporary, error))?;
        Ok(staged)
    }

    fn publish(mut self) -> Result<(), DataError> {
        fs::rename(&self.temporary, &self.target)
            .map_err(|error| DataError::io("rename", &self.temporary, error))?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for Temporary {
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
    for name in Location::local(dir).names()? {
        if name.starts_with('.') && name.ends_with(TEMPORARY) {
            let path = dir.join(name);
            fs::remove_file(&path).map_err(|error| DataError::io("remove", &path, error))?;
        }
    }
    Ok(())
}
