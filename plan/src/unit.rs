//! A unit of work from its name to its result: found in the store, or computed from the bars and put into the store.
//!
//! Pure but for the bars it reads and the store it writes. Called on a thread of its own, never on the async runtime.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polybolos_engine::metrics::MetricContext;
use polybolos_engine::strategy::Strategy;
use polybolos_engine::sweep::{SeriesId, SweepSpec, Unit};
use polybolos_kernels::program::Program;
use polybolos_storage::Location;

use crate::compute::{Computation, GPU_BLOCK_COMBOS, OnGpu};
use crate::error::PlanError;
use crate::gpu::{GpuLease, Gpus};
use crate::observer::UnitProgress;
use crate::runtime::{LoadedBars, SweepRuntime};
use crate::store::{StagedResult, UnitResult, UnitStore};

/// A specification with its strategy compiled and its places known; shared by all units of a plan.
#[derive(Debug)]
pub struct SweepJob {
    /// What to run.
    pub spec: SweepSpec,
    /// The compiled strategy of the specification.
    pub strategy: Strategy,
    /// Dataset folder.
    pub data_root: String,
    /// Results folder; without one nothing is stored and nothing reused.
    pub results_root: Option<Location>,
    /// The strategy's program in the precision of the specification.
    program: Arc<Program>,
}

/// A unit as it came out.
#[derive(Debug)]
pub struct FinishedUnit {
    /// Rows and summary.
    pub result: UnitResult,
    /// Whether it was in the store already.
    pub reused: bool,
    /// Context for the metrics of its rows; trials are not known yet.
    pub context: MetricContext,
}

/// Who may take units of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takers {
    /// Threads and GPUs.
    Anybody,
    /// Threads: a GPU does not take the bars.
    Threads,
    /// Threads: a GPU failed.
    ThreadsInsteadOfGpu,
}

/// Units that wait for whoever is free: a thread takes one at a time, a GPU as many as it works off in about a second.
#[derive(Debug)]
pub(crate) struct UnitQueue {
    waiting: Mutex<VecDeque<Unit>>,
    takers: Takers,
}

impl UnitQueue {
    /// The units in the order in which they are taken. A GPU takes no more than the units of one series that follow each
    /// other.
    pub(crate) fn new(units: impl IntoIterator<Item = Unit>) -> UnitQueue {
        UnitQueue::of(units.into_iter().collect(), Takers::Anybody)
    }

    fn of(units: VecDeque<Unit>, takers: Takers) -> UnitQueue {
        UnitQueue { waiting: Mutex::new(units), takers }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Unit>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    pub(crate) fn next(&self) -> Option<Unit> {
        self.waiting().pop_front()
    }

    /// The units of the same series that come after `unit`, as many as have at most `rows` rows together with it.
    fn more(&self, unit: &Unit, rows: u64) -> Vec<Unit> {
        let mut waiting = self.waiting();
        let mut left = rows.saturating_sub(unit.rows.end - unit.rows.start);
        let mut more = Vec::new();
        while let Some(next) = waiting.front() {
            let rows = next.rows.end - next.rows.start;
            if next.series != unit.series || rows > left {
                break;
            }
            left -= rows;
            more.extend(waiting.pop_front());
        }
        more
    }
}

/// A unit that is computed or found, and in the store once it is committed.
#[derive(Debug)]
pub(crate) struct StagedUnit {
    /// Which one.
    unit: Unit,
    /// What came out.
    finished: FinishedUnit,
    file: Option<StagedResult>,
}

impl StagedUnit {
    /// Puts the unit into the store and counts it as done. Waits for the disk; computes nothing.
    ///
    /// # Errors
    /// A store that cannot be written.
    pub(crate) fn commit(self, runtime: &SweepRuntime) -> Result<(Unit, FinishedUnit), PlanError> {
        let StagedUnit { unit, finished, file } = self;
        file.map_or(Ok(()), StagedResult::commit)?;
        runtime.progress.units.fetch_add(1, Ordering::Relaxed);
        if finished.reused {
            runtime.progress.units_reused.fetch_add(1, Ordering::Relaxed);
        }
        Ok((unit, finished))
    }
}

/// What became of the units that were taken from a queue.
#[derive(Debug, Default)]
pub(crate) struct Worked {
    /// Computed or found.
    pub(crate) staged: Vec<StagedUnit>,
    /// Left over by a GPU, one queue each: they are for threads.
    pub(crate) left: Vec<UnitQueue>,
}

impl Worked {
    fn found(&mut self, unit: Unit, result: UnitResult, context: MetricContext) {
        let finished = FinishedUnit { result, reused: true, context };
        self.staged.push(StagedUnit { unit, finished, file: None });
    }
}

impl SweepJob {
    /// Compiles the specification.
    ///
    /// # Errors
    /// The strategy or the keep is wrong.
    pub fn new(
        spec: SweepSpec,
        data_root: String,
        results_root: Option<Location>,
    ) -> Result<SweepJob, PlanError> {
        let strategy = Strategy::parse(&spec.request.source, &spec.request.overrides)?;
        strategy.check_interval(spec.request.interval)?;
        spec.request.keep.check()?;
        let program = Arc::new(strategy.program().in_precision(spec.request.precision));
        Ok(SweepJob { spec, strategy, data_root, results_root, program })
    }

    /// What the kernels run: the strategy's program in the precision of the specification.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// The store of finished units, if there is one.
    pub fn store(&self) -> Option<UnitStore> {
        self.results_root.as_ref().map(UnitStore::new)
    }

    /// The bars of a series, checked against the digest the sweep was planned on. Blocks on file reads.
    ///
    /// # Errors
    /// They cannot be read, or have changed.
    pub fn bars(&self, runtime: &SweepRuntime, series: &SeriesId) -> Result<Arc<LoadedBars>, PlanError> {
        let request = &self.spec.request;
        let load = || runtime.load(&self.data_root, &series.symbol, request.interval, request.timerange);
        let mut loaded = load()?;
        if loaded.digest != series.data {
            // The bars in memory may be older than the plan.
            runtime.forget_bars();
            loaded = load()?;
        }
        if loaded.digest == series.data {
            Ok(loaded)
        } else {
            Err(PlanError::DataChanged {
                symbol: series.symbol.clone(),
                found: loaded.digest.short(12),
                planned: series.data.short(12),
            })
        }
    }

    /// A GPU for the next work of a queue, if there is one to be had. First who, then what: whoever waits for a GPU keeps no
    /// unit from those who do not.
    pub(crate) fn lease<'r>(runtime: &'r SweepRuntime, queue: &UnitQueue) -> Option<GpuLease<'r>> {
        if queue.is_empty() {
            return None;
        }
        runtime.gpus.as_ref().filter(|_| queue.takers == Takers::Anybody).and_then(Gpus::lease)
    }

    /// Finds a unit that was taken from a queue in the store or computes it, on a leased GPU with those that come after it.
    /// `progress` follows them and stops them.
    ///
    /// # Errors
    /// Bars that cannot be read or have changed, parameters the kernels refuse, a store that cannot be read or written, or
    /// [`PlanError::Cancelled`].
    pub(crate) fn work(
        &self,
        runtime: &SweepRuntime,
        queue: &UnitQueue,
        unit: Unit,
        lease: Option<GpuLease<'_>>,
        progress: &UnitProgress,
    ) -> Result<Worked, PlanError> {
        let mut worked = Worked::default();
        let loaded = self.loaded(runtime, &unit)?;
        let context = MetricContext::new(&loaded.bars, &self.strategy.config());
        if let Some(result) = self.stored(&unit)? {
            worked.found(unit, result, context);
            return Ok(worked);
        }
        let computation = Computation { job: self, runtime, loaded: &loaded, context: &context, progress };
        let Some(lease) = lease else {
            let result = computation.on_thread(&unit)?;
            if queue.takers == Takers::ThreadsInsteadOfGpu {
                runtime.progress.gpu_fallbacks.fetch_add(result.summary.combos, Ordering::Relaxed);
            }
            worked.staged.push(self.stage(runtime, unit, result, context)?);
            return Ok(worked);
        };
        let rows = lease.bar_combos / (loaded.bars.len() as u64).max(1);
        let mut units = vec![unit];
        for unit in queue.more(&units[0], rows.min(GPU_BLOCK_COMBOS as u64)) {
            match self.stored(&unit)? {
                Some(result) => worked.found(unit, result, context),
                None => units.push(unit),
            }
        }
        let OnGpu { results, has_failed } = computation.on_gpu(&units, lease)?;
        let mut units = units.into_iter();
        for (result, unit) in results.into_iter().zip(units.by_ref()) {
            worked.staged.push(self.stage(runtime, unit, result, context)?);
        }
        let takers = if has_failed { Takers::ThreadsInsteadOfGpu } else { Takers::Threads };
        worked.left = units.map(|unit| UnitQueue::of(VecDeque::from([unit]), takers)).collect();
        Ok(worked)
    }

    /// Finds a unit in the store, or computes it on this thread and stores it, without counting it.
    pub(crate) fn load_or_compute(
        &self,
        runtime: &SweepRuntime,
        unit: &Unit,
        progress: &UnitProgress,
    ) -> Result<FinishedUnit, PlanError> {
        let loaded = self.loaded(runtime, unit)?;
        let context = MetricContext::new(&loaded.bars, &self.strategy.config());
        if let Some(result) = self.stored(unit)? {
            return Ok(FinishedUnit { result, reused: true, context });
        }
        let computation = Computation { job: self, runtime, loaded: &loaded, context: &context, progress };
        let result = computation.on_thread(unit)?;
        let StagedUnit { finished, file, .. } = self.stage(runtime, unit.clone(), result, context)?;
        file.map_or(Ok(()), StagedResult::commit)?;
        Ok(finished)
    }

    fn loaded(&self, runtime: &SweepRuntime, unit: &Unit) -> Result<Arc<LoadedBars>, PlanError> {
        let missing = || PlanError::NotFound(format!("the sweep has no symbol number {}", unit.series));
        self.bars(runtime, self.spec.series.get(unit.series).ok_or_else(missing)?)
    }

    /// A unit from the store; `None` if it has to be computed.
    pub(crate) fn stored(&self, unit: &Unit) -> Result<Option<UnitResult>, PlanError> {
        let stored = self.store().zip(self.spec.unit_digest(&self.strategy, unit));
        stored.map_or(Ok(None), |(store, digest)| store.read(digest))
    }

    /// What was computed, with its file for the store, if there is one.
    fn stage(
        &self,
        runtime: &SweepRuntime,
        unit: Unit,
        result: UnitResult,
        context: MetricContext,
    ) -> Result<StagedUnit, PlanError> {
        let store = self.store().zip(self.spec.unit_digest(&self.strategy, &unit));
        let file = store.map(|(store, digest)| store.stage(digest, &result, &runtime.workers)).transpose()?;
        Ok(StagedUnit { unit, finished: FinishedUnit { result, reused: false, context }, file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_takes_the_units_of_one_series_that_fit() {
        let unit = |series, index: u64| Unit { series, rows: index * 10..index * 10 + 10 };
        let queue = UnitQueue::new([unit(0, 0), unit(0, 1), unit(0, 2), unit(1, 0), unit(1, 1)]);
        let first = queue.next();
        assert_eq!(first, Some(unit(0, 0)));
        let first = unit(0, 0);
        assert_eq!(queue.more(&first, 5), vec![], "a unit is never cut");
        assert_eq!(queue.more(&first, 20), vec![unit(0, 1)]);
        assert_eq!(queue.more(&first, u64::MAX), vec![unit(0, 2)]);
        assert_eq!(queue.more(&first, u64::MAX), vec![], "the next is of another series");
        assert_eq!(queue.next(), Some(unit(1, 0)));
        assert_eq!(queue.more(&unit(1, 0), 100), vec![unit(1, 1)]);
        assert_eq!(queue.next(), None);
    }
}
