//! What a process brings to the sweeps it runs: threads that compute, a bounded cache of bars, progress and a cancel flag.
//!
//! One per process, reached through the session's extensions and never serialised: a plan does not know where it runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use datafusion::prelude::SessionConfig;
use polybolos_engine::digest::Digest;
use polybolos_engine::interval::Interval;
use polybolos_engine::timerange::TimeRange;
use polybolos_kernels::sweep::SharedBars;
use polybolos_market_data::Dataset;

use crate::error::PlanError;
use crate::faults::Faults;
use crate::gpu::Gpus;
use crate::observer::UnitObserver;
use crate::workers::Workers;

/// Counters of the work done by this process, for progress displays. They only grow.
#[derive(Debug, Default)]
pub struct Progress {
    /// Units finished or found finished.
    pub units: AtomicU64,
    /// Units found finished in the store.
    pub units_reused: AtomicU64,
    /// Combinations simulated.
    pub combos: AtomicU64,
    /// Combinations times bars simulated.
    pub bar_combos: AtomicU64,
    /// Nanoseconds of thread time inside kernels; of a unit on a GPU, how long it ran there.
    pub kernel_ns: AtomicU64,
    /// Combinations simulated on a GPU.
    pub gpu_combos: AtomicU64,
    /// Combinations that a GPU failed to do and the processor did.
    pub gpu_fallbacks: AtomicU64,
}

/// Bars with their digest, shared between units.
#[derive(Debug)]
pub struct LoadedBars {
    /// The bars inside the time range.
    pub bars: SharedBars,
    /// Their digest.
    pub digest: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct BarsKey {
    root: String,
    symbol: String,
    interval: Interval,
    range: Option<TimeRange>,
}

/// Least recently used bars go first; the newest entry always stays, however large.
#[derive(Debug, Default)]
struct BarCache {
    entries: Vec<(BarsKey, Arc<LoadedBars>)>,
}

/// Bytes of one bar in memory: ten columns of eight bytes.
const BYTES_PER_BAR: usize = 80;

impl BarCache {
    fn bytes(&self) -> usize {
        self.entries.iter().map(|(_, loaded)| loaded.bars.len() * BYTES_PER_BAR).sum()
    }

    fn get(&mut self, key: &BarsKey) -> Option<Arc<LoadedBars>> {
        let index = self.entries.iter().position(|(known, _)| known == key)?;
        let entry = self.entries.remove(index);
        let bars = Arc::clone(&entry.1);
        self.entries.push(entry);
        Some(bars)
    }

    fn insert(&mut self, key: BarsKey, bars: Arc<LoadedBars>, budget_bytes: usize) {
        self.entries.retain(|(known, _)| *known != key);
        self.entries.push((key, bars));
        while self.entries.len() > 1 && self.bytes() > budget_bytes {
            self.entries.remove(0);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct SweepRuntime {
    /// The threads that compute.
    pub(crate) workers: Workers,
    /// Threads that may compute at a time.
    pub threads: usize,
    /// Set to stop every running unit within milliseconds; finished units stay.
    pub cancel: Arc<AtomicBool>,
    /// What has been done.
    pub progress: Arc<Progress>,
    /// The GPUs that may be used, if any.
    pub gpus: Option<Gpus>,
    /// Who is told about units.
    pub(crate) observer: Option<Arc<dyn UnitObserver>>,
    /// Faults on purpose.
    pub(crate) faults: Option<Faults>,
    cache: Mutex<BarCache>,
    cache_bytes: usize,
}

/// Bars kept in memory unless told otherwise: some 90 symbols of 70,000 bars.
pub const DEFAULT_CACHE_BYTES: usize = 512 << 20;

/// What a process decides about its sweeps.
#[derive(Debug)]
pub struct RuntimeSettings {
    /// Threads that may compute at a time; at least one is taken.
    pub threads: usize,
    /// GPUs beside the threads.
    pub gpus: Option<Gpus>,
    /// Bytes of bars kept in memory between units. The newest series always stays, however large.
    pub cache_bytes: usize,
    /// Who is told about units.
    pub observer: Option<Arc<dyn UnitObserver>>,
    /// Faults on purpose, for tests.
    pub faults: Option<Faults>,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        RuntimeSettings {
            threads: 1,
            gpus: None,
            cache_bytes: DEFAULT_CACHE_BYTES,
            observer: None,
            faults: None,
        }
    }
}

impl SweepRuntime {
    /// A runtime that computes on `threads` threads at a time (at least one).
    pub fn new(threads: usize) -> Arc<SweepRuntime> {
        SweepRuntime::with_gpus(threads, None)
    }

    /// [`SweepRuntime::new`] with GPUs beside the threads.
    pub fn with_gpus(threads: usize, gpus: Option<Gpus>) -> Arc<SweepRuntime> {
        SweepRuntime::with_settings(RuntimeSettings { threads, gpus, ..RuntimeSettings::default() })
    }

    /// A runtime with everything decided.
    pub fn with_settings(settings: RuntimeSettings) -> Arc<SweepRuntime> {
        let threads = settings.threads.max(1);
        Arc::new(SweepRuntime {
            workers: Workers::new(threads),
            threads,
            cancel: Arc::default(),
            progress: Arc::default(),
            gpus: settings.gpus,
            observer: settings.observer,
            faults: settings.faults,
            cache: Mutex::default(),
            cache_bytes: settings.cache_bytes,
        })
    }

    /// The runtime of a session; a process-wide one on all cores for sessions made without (Ballista's own).
    pub fn of(config: &SessionConfig) -> Arc<SweepRuntime> {
        static FALLBACK: OnceLock<Arc<SweepRuntime>> = OnceLock::new();
        config.get_extension::<SweepRuntime>().unwrap_or_else(|| {
            Arc::clone(FALLBACK.get_or_init(|| {
                SweepRuntime::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
            }))
        })
    }

    /// Whether cancelling has been asked for.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// The bars of a symbol inside a time range, from memory or from the dataset. Blocks on file reads.
    ///
    /// # Errors
    /// The dataset has no such bars or they are damaged.
    pub fn load(
        &self,
        root: &str,
        symbol: &str,
        interval: Interval,
        range: Option<TimeRange>,
    ) -> Result<Arc<LoadedBars>, PlanError> {
        let key = BarsKey { root: root.to_owned(), symbol: symbol.to_owned(), interval, range };
        let lock = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&key) {
            return Ok(known);
        }
        let bars = Dataset::open(root)?.load(symbol, interval, range)?;
        let digest = polybolos_engine::digest::of_bars(&bars);
        let loaded = Arc::new(LoadedBars { bars: SharedBars::new(bars), digest });
        lock().insert(key, Arc::clone(&loaded), self.cache_bytes);
        Ok(loaded)
    }

    /// Bytes of bars in memory.
    pub fn cached_bytes(&self) -> usize {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).bytes()
    }

    /// Forgets the bars in memory, after a dataset was written to.
    pub fn forget_bars(&self) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).entries.clear();
    }
}
