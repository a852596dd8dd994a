//! The working folder: empty at the start, ours alone while we live, empty at the end.
//!
//! A lock file makes it ours. A folder that holds something and no lock file was never an executor's and is left alone: a
//! mistyped path must not cost anybody their files. The system gives the lock back when its holder dies.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::ExecutorError;

const LOCK_FILE: &str = "polybolos-executor.lock";

/// A locked working folder; dropping it empties it and lets others in.
#[derive(Debug)]
pub(crate) struct WorkDir {
    path: PathBuf,
    _lock: File,
}

impl WorkDir {
    /// Makes the folder if it is not there, locks it and deletes what an earlier executor left.
    pub(crate) fn claim(path: &Path) -> Result<WorkDir, ExecutorError> {
        let failed = |path: &Path, error: io::Error| ExecutorError::WorkDir {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        fs::create_dir_all(path).map_err(|error| failed(path, error))?;
        let lock_path = path.join(LOCK_FILE);
        if !lock_path.exists()
            && let Some(found) = first_entry(path).map_err(|error| failed(path, error))?
        {
            return Err(ExecutorError::ForeignWorkDir { path: path.to_owned(), found });
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|error| failed(&lock_path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ExecutorError::BusyWorkDir { path: path.to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(failed(&lock_path, error)),
        }
        empty(path).map_err(|error| failed(path, error))?;
        let path = path.canonicalize().map_err(|error| failed(path, error))?;
        Ok(WorkDir { path, _lock: lock })
    }

    /// The folder, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if let Err(error) = empty(&self.path) {
            tracing::warn!(work_dir = %self.path.display(), %error, "the working folder could not be emptied");
        }
    }
}

fn first_entry(path: &Path) -> io::Result<Option<String>> {
    let entry = fs::read_dir(path)?.next().transpose()?;
    Ok(entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
}

/// Times that a folder is gone through while somebody else deletes in it.
const PASSES: usize = 10;

/// Deletes everything but the lock file. Links are deleted, not followed. Ballista deletes the results of ended jobs at the same
/// time: what it was faster at is gone, and what it was in the middle of is looked at again.
fn empty(path: &Path) -> io::Result<()> {
    let mut missed = Ok(());
    for _ in 0..PASSES {
        missed = Ok(());
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name() == LOCK_FILE {
                continue;
            }
            let removed = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(entry.path()),
                Ok(_) => fs::remove_file(entry.path()),
                Err(error) => Err(error),
            };
            match removed {
                Err(error) if error.kind() == io::ErrorKind::NotFound => missed = Err(error),
                removed => removed?,
            }
        }
        if missed.is_ok() {
            break;
        }
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_emptied_while_somebody_else_empties_it_too() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            for job in 0..20 {
                let stage = folder.path().join(format!("job-{job}/1"));
                fs::create_dir_all(&stage).unwrap();
                (0..5).for_each(|file| fs::write(stage.join(file.to_string()), b"x").unwrap());
            }
            std::thread::scope(|scope| {
                let all = (0..3).map(|_| scope.spawn(|| empty(folder.path()))).collect::<Vec<_>>();
                all.into_iter().for_each(|one| one.join().unwrap().unwrap());
            });
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn leftovers_are_deleted_at_the_start_and_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/work");
        drop(WorkDir::claim(&path).unwrap());
        let leave = |name: &str| {
            fs::create_dir_all(path.join(name)).unwrap();
            fs::write(path.join(name).join("data.arrow"), b"x").unwrap();
        };
        leave("job-1/2");
        let work_dir = WorkDir::claim(&path).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "only the lock file is left");
        leave("job-2/1");
        fs::write(path.join("spill"), b"x").unwrap();
        drop(work_dir);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    }

    #[test]
    fn folders_of_others_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("thesis.txt");
        fs::write(&precious, b"years of work").unwrap();
        let error = WorkDir::claim(folder.path()).unwrap_err();
        assert!(
            matches!(&error, ExecutorError::ForeignWorkDir { found, .. } if found == "thesis.txt"),
            "{error}"
        );
        assert_eq!(fs::read(&precious).unwrap(), b"years of work");
    }

    #[test]
    fn a_folder_belongs_to_one_executor_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = WorkDir::claim(folder.path()).unwrap();
        let shuffle = folder.path().join("job");
        fs::create_dir(&shuffle).unwrap();
        assert!(matches!(WorkDir::claim(folder.path()), Err(ExecutorError::BusyWorkDir { .. })));
        assert!(shuffle.exists(), "the living executor's data stays");
        drop(first);
        assert!(WorkDir::claim(folder.path()).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("kept"), b"x").unwrap();
        drop(WorkDir::claim(folder.path()).unwrap());
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("link")).unwrap();
        drop(WorkDir::claim(folder.path()).unwrap());
        assert!(elsewhere.path().join("kept").exists());
        assert!(!folder.path().join("link").exists());
    }
}
