//! The kill switch: a file that outlives the process. A file that cannot be read counts as set, so creating an empty one
//! (`touch`) sets it. Its history is kept in it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Something that was done to the switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchEvent {
    /// Whether it was set or cleared.
    pub is_set: bool,
    /// Why.
    pub reason: String,
    /// Who: an operator, a signal, a limit.
    pub by: String,
    /// When, UTC milliseconds.
    pub time_ms: i64,
}

/// The switch could not be written. A switch that was to be set is set all the same, in this process.
#[derive(Debug, thiserror::Error)]
pub enum KillSwitchError {
    /// The system refused.
    #[error("{}: {source} while writing the kill switch; it stays set in this process", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Cleared without a reason.
    #[error("the kill switch is cleared only with a reason and a name")]
    NoReason,
}

/// The switch of one bot.
#[derive(Debug)]
pub struct KillSwitch {
    path: PathBuf,
    history: Vec<SwitchEvent>,
    is_set: bool,
    is_unreadable: bool,
}

impl KillSwitch {
    /// Reads the switch at `path`. Without a file it is not set; with one that cannot be read it is.
    pub fn open(path: &Path) -> KillSwitch {
        let mut switch =
            KillSwitch { path: path.to_owned(), history: Vec::new(), is_set: false, is_unreadable: false };
        switch.refresh();
        switch
    }

    /// Whether nothing may be opened.
    pub fn is_set(&self) -> bool {
        self.is_set
    }

    /// What was done to it, oldest first; without what an unreadable file may have said.
    pub fn history(&self) -> &[SwitchEvent] {
        &self.history
    }

    /// Reads the file again, for somebody else may have set it. Reading never clears it.
    pub fn refresh(&mut self) {
        self.is_unreadable = false;
        let read = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(_) => None,
            Ok(bytes) => serde_json::from_slice::<Vec<SwitchEvent>>(&bytes).ok(),
        };
        match read {
            Some(history) => {
                self.is_set |= history.last().is_none_or(|event| event.is_set);
                self.history = history;
            }
            None => (self.is_set, self.is_unreadable) = (true, true),
        }
    }

    /// Sets it. It is set for this process even if an error comes back.
    ///
    /// # Errors
    /// [`KillSwitchError::Io`].
    pub fn set(&mut self, reason: &str, by: &str, now_ms: i64) -> Result<(), KillSwitchError> {
        self.is_set = true;
        self.record(true, reason, by, now_ms)
    }

    /// Clears it.
    ///
    /// # Errors
    /// [`KillSwitchError`]; it stays set.
    pub fn clear(&mut self, reason: &str, by: &str, now_ms: i64) -> Result<(), KillSwitchError> {
        if reason.trim().is_empty() || by.trim().is_empty() {
            return Err(KillSwitchError::NoReason);
        }
        self.record(false, reason, by, now_ms)?;
        self.is_set = false;
        Ok(())
    }

    fn record(&mut self, is_set: bool, reason: &str, by: &str, time_ms: i64) -> Result<(), KillSwitchError> {
        self.refresh();
        let mut history = self.history.clone();
        history.push(SwitchEvent { is_set, reason: reason.to_owned(), by: by.to_owned(), time_ms });
        self.write(&history).map_err(|source| KillSwitchError::Io { path: self.path.clone(), source })?;
        (self.history, self.is_unreadable) = (history, false);
        Ok(())
    }

    fn write(&self, history: &[SwitchEvent]) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(history)?)?;
        file.sync_all()?;
        if self.is_unreadable {
            fs::rename(&self.path, self.path.with_extension("unreadable"))?;
        }
        fs::rename(&temporary, &self.path)?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}
