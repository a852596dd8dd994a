//! Writers of a dataset take turns: an advisory lock on a file that the system releases when its holder dies. In a bucket there
//! are no locks; there a writer replaces only what it has read, and merges again what somebody else wrote meanwhile.

use std::fs::{self, File};

use super::Dataset;
use crate::DataError;

/// Held while a dataset is written; dropping it lets the next writer in.
pub(crate) struct WriteLock {
    _file: Option<File>,
}

impl Dataset {
    /// Waits for other writers of this dataset, in this process or another, and keeps them out.
    pub(crate) fn lock_for_writing(&self) -> Result<WriteLock, DataError> {
        let Some(root) = self.root.path() else { return Ok(WriteLock { _file: None }) };
        fs::create_dir_all(root).map_err(|error| DataError::io("make", root, error))?;
        let path = root.join(".lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| DataError::io("open", &path, error))?;
        file.lock().map_err(|error| DataError::io("lock", &path, error))?;
        Ok(WriteLock { _file: Some(file) })
    }
}
