//! What the driver is told and what it asks for.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Id of a sweep, the same as the embedded run's: its name and the first digits of its digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SweepId(Arc<str>);

impl SweepId {
    /// From its text.
    pub fn new(text: &str) -> SweepId {
        SweepId(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SweepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Number of a job. Unique within one driver, hence within one scheduler process; Ballista's jobs do not outlive that either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub(super) u64);

impl JobId {
    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Number of a question to the store: an answer that comes late is not taken for the answer to a later question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub(super) u64);

/// What happened. Reports may be lost, doubled, late or out of order; so may anything about a sweep or a job that has ended.
///
/// The shell owes the driver one answer to each action, whatever happens to the thread that works on it: an [`Action::Examine`] is
/// answered by `Examined` or `ExamineFailed`, an [`Action::Merge`] by `Merged` or `MergeFailed`, an [`Action::SubmitJob`] by `JobRefused`
/// or, once, `JobEnded`, soon after an [`Action::CancelJob`]. Only a sweep that has ended is owed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A sweep was asked for and its row is in the catalogue. Ignored while the sweep is at work.
    Submitted {
        /// The sweep.
        sweep: SweepId,
        /// Whose slots it uses.
        owner: String,
        /// Its units, numbered from 0.
        units: u64,
        /// The scheduler was started again and found it unfinished.
        resume: bool,
    },
    /// The store was looked through.
    Examined {
        /// The sweep.
        sweep: SweepId,
        /// Number of the question.
        ask: AskId,
        /// Units of the range whose object is not there, ascending.
        missing: Vec<u64>,
    },
    /// The store could not be looked through.
    ExamineFailed {
        /// The sweep.
        sweep: SweepId,
        /// Number of the question.
        ask: AskId,
        /// Why, for people.
        reason: String,
    },
    /// Slots of all living executors that take work.
    Slots(u32),
    /// An executor says how a unit ended.
    UnitReported {
        /// The sweep.
        sweep: SweepId,
        /// The unit.
        unit: u64,
        /// How it ended.
        outcome: UnitOutcome,
    },
    /// An executor vanished without a word; a drained one does not. Told once per executor.
    ExecutorLost {
        /// Every unit it had been handed and had not ended, by Ballista's account: the executor's own last report may be older than
        /// the unit it died of, and a unit that is never named here is never suspected. Ballista runs them again elsewhere and never
        /// counts, so a unit that kills its executor would kill all, one after another; this event is how that is noticed.
        held: Vec<(SweepId, u64)>,
    },
    /// Ballista did not take a job.
    JobRefused {
        /// The job.
        job: JobId,
        /// Why, for people.
        reason: String,
    },
    /// A job is over.
    JobEnded {
        /// The job.
        job: JobId,
        /// How.
        outcome: JobOutcome,
        /// Its units whose object is in the store: looked up after the job ended.
        present: Vec<u64>,
    },
    /// Somebody wants a sweep to stop. Idempotent.
    CancelAsked {
        /// The sweep.
        sweep: SweepId,
    },
    /// The result files are written.
    Merged {
        /// The sweep.
        sweep: SweepId,
    },
    /// The result files could not be written.
    MergeFailed {
        /// The sweep.
        sweep: SweepId,
        /// Why, for people.
        reason: String,
        /// Another attempt may do. The units are looked up once more before it.
        is_transient: bool,
    },
    /// Time has passed; due at [`Driver::wake_ms`](super::Driver::wake_ms).
    Tick,
}

/// How a unit ended, in an executor's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitOutcome {
    /// Computed and stored.
    Computed,
    /// It was in the store.
    Reused,
    /// Failed; another attempt may do. Ballista makes some itself within the job.
    Transient(String),
    /// Failed; no attempt will do.
    Permanent(String),
    /// Stopped before its end.
    Cancelled,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// Every unit gave a receipt.
    Succeeded,
    /// Ballista gave it up.
    Failed(String),
    /// Ballista no longer knows it.
    Lost,
}

/// What the shell is to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Tell which of these units are not in the store.
    Examine {
        /// Number of the question, to be given back with the answer.
        ask: AskId,
        /// The sweep.
        sweep: SweepId,
        /// The units to look up.
        range: Range<u64>,
    },
    /// Run these units, ascending, as one job.
    SubmitJob {
        /// Number of the new job.
        job: JobId,
        /// The sweep.
        sweep: SweepId,
        /// Its units.
        units: Vec<u64>,
    },
    /// Stop a job.
    CancelJob {
        /// The job.
        job: JobId,
    },
    /// Write the result files: every unit is in the store.
    Merge {
        /// The sweep.
        sweep: SweepId,
    },
    /// Write to the catalogue before going on.
    Record {
        /// The sweep.
        sweep: SweepId,
        /// What has changed.
        change: StateChange,
    },
}

/// State of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SweepState {
    /// Asked for; its owner has as many sweeps at work as one may.
    Queued,
    /// Its units are looked up, computed and tried again.
    Running,
    /// All units are finished, the result files are being written.
    Writing,
    /// The result files are there.
    Complete,
    /// Some units cannot be done, or the result files cannot be written; finished units are kept.
    Failed,
    /// Stopped; finished units are kept, and submitting it again resumes it.
    Cancelled,
}

impl SweepState {
    /// Every state.
    pub const ALL: [SweepState; 6] = [
        SweepState::Queued,
        SweepState::Running,
        SweepState::Writing,
        SweepState::Complete,
        SweepState::Failed,
        SweepState::Cancelled,
    ];

    /// Its word in the catalogue.
    pub fn name(self) -> &'static str {
        match self {
            SweepState::Queued => "queued",
            SweepState::Running => "running",
            SweepState::Writing => "writing",
            SweepState::Complete => "complete",
            SweepState::Failed => "failed",
            SweepState::Cancelled => "cancelled",
        }
    }

    /// The state of that word.
    pub fn from_name(name: &str) -> Option<SweepState> {
        SweepState::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Nothing more happens to the sweep unless it is submitted again.
    pub fn is_final(self) -> bool {
        matches!(self, SweepState::Complete | SweepState::Failed | SweepState::Cancelled)
    }
}

/// A unit that will not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFailure {
    /// Number of the unit.
    pub unit: u64,
    /// Attempts made.
    pub attempts: u32,
    /// What the last one died of, for people.
    pub reason: String,
}

/// A change of a sweep's durable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange {
    /// Its units are being worked on.
    Started,
    /// Its result files are being written.
    Writing,
    /// It is over, and the driver has forgotten it.
    Ended(Ending),
}

/// How a sweep ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// A final state.
    pub state: SweepState,
    /// Units whose object is in the store, as far as was looked.
    pub units_done: u64,
    /// Units of these that were there before.
    pub units_reused: u64,
    /// Units that will not be done.
    pub units_failed: u64,
    /// The first of them, by number.
    pub failures: Vec<UnitFailure>,
    /// Why it failed; empty otherwise.
    pub message: String,
}
