//! What a process may watch of its units, and how it stops one: names, progress, outcomes.
//!
//! An executor reports these to its scheduler; embedded runs watch nothing. Nothing here has a say in a number.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::error::PlanError;

/// A unit as processes name it to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitName {
    /// The sweep it belongs to.
    pub sweep_id: Arc<str>,
    /// Its symbol.
    pub symbol: String,
    /// Its rows of the full grid, half-open.
    pub rows: Range<u64>,
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}..{}", self.sweep_id, self.symbol, self.rows.start, self.rows.end)
    }
}

/// How a unit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitOutcome {
    /// Computed, and in the store if there is one.
    Computed,
    /// Found in the store.
    Reused,
    /// Stopped before its end.
    Cancelled,
    /// Failed; another attempt may do. With the reason.
    Transient(String),
    /// Failed; no attempt will do. With the reason.
    Permanent(String),
}

impl UnitOutcome {
    /// The outcome that an error means.
    pub fn of_error(error: &PlanError) -> UnitOutcome {
        match error {
            PlanError::Cancelled => UnitOutcome::Cancelled,
            error if error.is_transient() => UnitOutcome::Transient(error.to_string()),
            error => UnitOutcome::Permanent(error.to_string()),
        }
    }
}

/// A running unit: how far it is, and the flag that stops it. The kernels look at the flag many times within a block.
#[derive(Debug, Default)]
pub struct UnitProgress {
    cancel: Arc<AtomicBool>,
    bar_combos: AtomicU64,
    kernel_ns: AtomicU64,
    is_on_gpu: AtomicBool,
}

impl UnitProgress {
    /// Progress of a unit that is stopped by a flag which others share.
    pub fn following(cancel: Arc<AtomicBool>) -> UnitProgress {
        UnitProgress { cancel, ..UnitProgress::default() }
    }

    /// Stops the unit within milliseconds.
    pub fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }

    /// Whether it has been asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// The flag itself, for the kernels.
    pub fn flag(&self) -> &AtomicBool {
        &self.cancel
    }

    /// [`UnitProgress::flag`] for threads that outlive this one.
    pub(crate) fn shared_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    /// Notes a finished block: combinations times bars, nanoseconds in kernels, and where it was.
    pub fn note(&self, bar_combos: u64, kernel_ns: u64, is_on_gpu: bool) {
        self.bar_combos.fetch_add(bar_combos, Ordering::Relaxed);
        self.kernel_ns.fetch_add(kernel_ns, Ordering::Relaxed);
        self.is_on_gpu.fetch_or(is_on_gpu, Ordering::Relaxed);
    }

    /// Combinations times bars simulated so far.
    pub fn bar_combos(&self) -> u64 {
        self.bar_combos.load(Ordering::Relaxed)
    }

    /// Its figures, `elapsed` after its start.
    pub fn figures(&self, elapsed: Duration) -> UnitFigures {
        UnitFigures {
            bar_combos: self.bar_combos(),
            seconds: elapsed.as_secs_f64(),
            kernel_seconds: self.kernel_ns.load(Ordering::Relaxed) as f64 / 1e9,
            is_on_gpu: self.is_on_gpu.load(Ordering::Relaxed),
        }
    }
}

/// What a unit cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnitFigures {
    /// Combinations times bars simulated.
    pub bar_combos: u64,
    /// Seconds from its start, reading bars and writing its file included, waiting for a thread not.
    pub seconds: f64,
    /// Thread-seconds inside kernels; of a unit on a GPU, how long it ran there.
    pub kernel_seconds: f64,
    /// Whether a GPU did some of it.
    pub is_on_gpu: bool,
}

/// Told about every unit of a process, from the threads that run them: it must not block.
pub trait UnitObserver: fmt::Debug + Send + Sync {
    /// A unit starts. `progress` says how far it is, and stops it.
    fn started(&self, name: &UnitName, progress: &Arc<UnitProgress>);
    /// It has ended; called once for every start, with the same `progress`.
    fn finished(
        &self,
        name: &UnitName,
        progress: &Arc<UnitProgress>,
        outcome: &UnitOutcome,
        figures: &UnitFigures,
    );
}
