//! Writers of a dataset take turns: an advisory lock on a file that the system releases when its holder dies.

use std::fs::{self, File};

use super::Dataset;
use crate::DataError;

/// Held while a dataset is written; dropping it lets the next writer in.
pub(crate) struct WriteLock {
    _file: File,
}

impl Dataset {
    /// Waits for other writers of this dataset, in this process or another, and keeps them out.
    pub(crate) fn lock_for_writing(&self) -> Result<WriteLock, DataError> {
        fs::create_dir_all(&self.root).map_err(|error| DataError::io("make", &self.root, error))?;
        let path = self.root.join(".lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| DataError::io("open", &path, error))?;
        file.lock().map_err(|error| DataError::io("lock", &path, error))?;
        Ok(WriteLock { _file: file })
    }
}
