//! The kill switch as the desk sees it: its file is read again and again, for anybody may set it.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::control::KillStatus;
use crate::risk::KillSwitch;

/// Name of the switch's file in the state's folder.
pub const KILL_FILE: &str = "kill";

const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Watch {
    switch: KillSwitch,
    is_told: bool,
    looked_at: Option<Instant>,
}

impl Watch {
    pub(super) fn new(state_dir: &Path) -> Watch {
        Watch { switch: KillSwitch::open(&state_dir.join(KILL_FILE)), is_told: false, looked_at: None }
    }

    /// Why it is set, once after it was.
    pub(super) fn newly_set(&mut self) -> Option<String> {
        if self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            self.looked_at = Some(Instant::now());
            self.switch.refresh();
        }
        if !self.switch.is_set() || std::mem::replace(&mut self.is_told, true) {
            return None;
        }
        Some(self.reason())
    }

    /// Sets it. It is set even where its file cannot be written; then that is what comes back.
    pub(super) fn set(&mut self, reason: &str, by: &str, now_ms: i64) -> Result<(), String> {
        self.switch.set(reason, by, now_ms).map_err(|error| error.to_string())
    }

    pub(super) fn is_set(&self) -> bool {
        self.switch.is_set()
    }

    /// Whether its file says that somebody took it back, as opposed to a file that is not there.
    pub(super) fn is_cleared(&self) -> bool {
        !self.is_set() && self.switch.history().last().is_some_and(|event| !event.is_set)
    }

    pub(super) fn status(&self) -> KillStatus {
        let last = self.switch.history().last().filter(|event| event.is_set);
        KillStatus {
            is_set: self.is_set(),
            reason: self.is_set().then(|| self.reason()),
            since_ms: last.filter(|_| self.is_set()).map(|event| event.time_ms),
        }
    }

    fn reason(&self) -> String {
        match self.switch.history().last() {
            Some(event) if event.is_set => format!("{} ({})", event.reason, event.by),
            _ => "its file is there".to_owned(),
        }
    }
}
