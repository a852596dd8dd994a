//! Computing one unit: load the bars, simulate every valid combination of the span, keep the rows that are wanted.
//!
//! Pure but for the bars it reads and the store it writes. Called on a thread of its own, never on the async runtime.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use polybolos_engine::metrics::{Metric, MetricContext, Trials, per_period_sharpe};
use polybolos_engine::strategy::Strategy;
use polybolos_engine::sweep::{Keep, Ranking, SeriesId, SweepSpec, Unit};
use polybolos_kernels::bars::Bars;
use polybolos_kernels::cuda::{CudaError, CudaSweep, CudaSweepError};
use polybolos_kernels::program::Program;
use polybolos_kernels::sim::SimConfig;
use polybolos_kernels::stats::Stats;
use polybolos_kernels::sweep::{Sweep, SweepError};

use crate::error::PlanError;
use crate::gpu::{GpuLease, Gpus};
use crate::observer::UnitProgress;
use crate::runtime::{LoadedBars, SweepRuntime};
use crate::store::{UnitResult, UnitStore, UnitSummary};

/// Combinations handed to the kernels at once. They share what their parameters have in common; the kernels look at the cancel
/// flag many times within a block.
const BLOCK_COMBOS: usize = 1 << 14;

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
    pub results_root: Option<PathBuf>,
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

impl SweepJob {
    /// Compiles the specification.
    ///
    /// # Errors
    /// The strategy or the keep is wrong.
    pub fn new(
        spec: SweepSpec,
        data_root: String,
        results_root: Option<PathBuf>,
    ) -> Result<SweepJob, PlanError> {
        let strategy = Strategy::parse(&spec.request.source, &spec.request.overrides)?;
        strategy.check_interval(spec.request.interval)?;
        spec.request.keep.check()?;
        Ok(SweepJob { spec, strategy, data_root, results_root })
    }

    /// The store of finished units, if there is one.
    pub fn store(&self) -> Option<UnitStore> {
        self.results_root.as_deref().map(UnitStore::new)
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

    /// Finds a unit in the store or computes and stores it, and counts it as done. `progress` follows this unit
    /// and stops it.
    ///
    /// # Errors
    /// Bars that cannot be read or have changed, parameters the kernels refuse, a store that cannot be written, or
    /// [`PlanError::Cancelled`].
    pub fn run(
        &self,
        runtime: &SweepRuntime,
        unit: &Unit,
        progress: &UnitProgress,
    ) -> Result<FinishedUnit, PlanError> {
        let finished = self.load_or_compute(runtime, unit, progress)?;
        runtime.progress.units.fetch_add(1, Ordering::Relaxed);
        if finished.reused {
            runtime.progress.units_reused.fetch_add(1, Ordering::Relaxed);
        }
        Ok(finished)
    }

    /// [`SweepJob::run`] without counting.
    pub(crate) fn load_or_compute(
        &self,
        runtime: &SweepRuntime,
        unit: &Unit,
        progress: &UnitProgress,
    ) -> Result<FinishedUnit, PlanError> {
        let series =
            self.spec.series.get(unit.series).ok_or_else(|| {
                PlanError::NotFound(format!("the sweep has no symbol number {}", unit.series))
            })?;
        let stored = self.store().zip(self.spec.unit_digest(&self.strategy, unit));
        let loaded = self.bars(runtime, series)?;
        let context = MetricContext::new(&loaded.bars, &self.strategy.config());
        if let Some(result) = stored.as_ref().and_then(|(store, digest)| store.read(*digest)) {
            return Ok(FinishedUnit { result, reused: true, context });
        }
        let result = self.compute(runtime, unit, &loaded, &context, progress)?;
        if let Some((store, digest)) = stored {
            store.write(digest, &result)?;
        }
        Ok(FinishedUnit { result, reused: false, context })
    }

    fn compute(
        &self,
        runtime: &SweepRuntime,
        unit: &Unit,
        loaded: &LoadedBars,
        context: &MetricContext,
        progress: &UnitProgress,
    ) -> Result<UnitResult, PlanError> {
        let symbol = &self.spec.series[unit.series].symbol;
        let bars = &loaded.bars;
        let mut started = Instant::now();
        let config = self.strategy.config();
        let lease = runtime.gpus.as_ref().and_then(Gpus::lease);
        let mut engine =
            Engine::new(self.strategy.program(), bars, config, lease.as_ref(), runtime, progress.flag())
                .map_err(|error| kernel_error(symbol, &[unit.rows.start], error))?;
        let space = self.strategy.space();
        let width = space.params().len();
        let mut kept = Kept::new(&self.spec.request.keep)?;
        let mut trials = Trials::default();
        let mut combos = 0u64;
        let mut valid = space.valid_rows(unit.rows.clone()).peekable();
        let (mut rows, mut values, mut stats) = (Vec::new(), Vec::new(), Vec::new());
        while valid.peek().is_some() {
            rows.clear();
            rows.extend(valid.by_ref().take(BLOCK_COMBOS));
            values.clear();
            values.resize(rows.len() * width, 0.0);
            for (index, &row) in rows.iter().enumerate() {
                space.fill(row, &mut values[index * width..(index + 1) * width]);
            }
            if progress.is_cancelled() {
                return Err(PlanError::Cancelled);
            }
            stats.clear();
            stats.resize(rows.len(), Stats::default());
            engine.run_block(&values, &mut stats).map_err(|error| kernel_error(symbol, &rows, error))?;
            for stats in &stats {
                trials.push(per_period_sharpe(stats));
            }
            kept.extend(rows.iter().copied().zip(stats.iter().copied()), context);
            combos += rows.len() as u64;
            let bar_combos = rows.len() as u64 * bars.len() as u64;
            runtime.progress.combos.fetch_add(rows.len() as u64, Ordering::Relaxed);
            runtime.progress.bar_combos.fetch_add(bar_combos, Ordering::Relaxed);
            let now = Instant::now();
            let spent = u64::try_from((now - started).as_nanos()).unwrap_or(u64::MAX);
            runtime.progress.kernel_ns.fetch_add(spent, Ordering::Relaxed);
            progress.note(bar_combos, spent, lease.is_some());
            if let Some(gpus) = &runtime.gpus {
                gpus.measured(lease.is_some(), bar_combos, (now - started).as_secs_f64());
            }
            started = now;
        }
        engine.finish();
        Ok(UnitResult { rows: kept.finish(context), summary: UnitSummary { combos, trials } })
    }
}

/// What simulates a unit's combinations; the bits are the same.
enum Simulator<'e> {
    Cpu(Box<Sweep<'e>>),
    Gpu(Box<CudaSweep<'e>>),
}

/// A unit's simulator, and what another one is made of.
struct Engine<'e> {
    program: &'e Program,
    bars: &'e Bars,
    config: SimConfig,
    runtime: &'e SweepRuntime,
    cancel: &'e AtomicBool,
    simulator: Simulator<'e>,
}

impl<'e> Engine<'e> {
    /// The leased GPU, or the processor where there is none or it cannot take the bars.
    fn new(
        program: &'e Program,
        bars: &'e Bars,
        config: SimConfig,
        lease: Option<&GpuLease<'_>>,
        runtime: &'e SweepRuntime,
        cancel: &'e AtomicBool,
    ) -> Result<Engine<'e>, SweepError> {
        let on_gpu = match lease {
            Some(lease) => {
                let launcher = Arc::clone(&lease.launcher);
                match CudaSweep::new(program, bars, &config, launcher, lease.budget_bytes) {
                    Ok(sweep) => Some(Simulator::Gpu(Box::new(sweep))),
                    Err(CudaSweepError::Sweep(error)) => return Err(error),
                    Err(CudaSweepError::Cuda(error)) => {
                        note_failure(runtime, error);
                        None
                    }
                }
            }
            None => None,
        };
        let simulator = match on_gpu {
            Some(simulator) => simulator,
            None => Simulator::Cpu(Box::new(Sweep::new(program, bars, &config)?)),
        };
        Ok(Engine { program, bars, config, runtime, cancel, simulator })
    }

    fn run_block(&mut self, values: &[f64], out: &mut [Stats]) -> Result<(), SweepError> {
        let cancel = self.cancel;
        let sweep = match &mut self.simulator {
            Simulator::Cpu(sweep) => return sweep.run_block(values, out, cancel),
            Simulator::Gpu(sweep) => sweep,
        };
        match sweep.run_block(values, out, cancel) {
            Ok(()) => Ok(()),
            Err(CudaSweepError::Sweep(error)) => Err(error),
            Err(CudaSweepError::Cuda(error)) => {
                note_failure(self.runtime, error);
                self.runtime.progress.gpu_fallbacks.fetch_add(out.len() as u64, Ordering::Relaxed);
                let mut sweep = Box::new(Sweep::new(self.program, self.bars, &self.config)?);
                let result = sweep.run_block(values, out, cancel);
                self.simulator = Simulator::Cpu(sweep);
                result
            }
        }
    }

    /// Counts where combinations ran.
    fn finish(self) {
        let Simulator::Gpu(sweep) = self.simulator else { return };
        let (placement, progress) = (sweep.placement(), &self.runtime.progress);
        progress.gpu_combos.fetch_add(placement.device, Ordering::Relaxed);
        progress.gpu_fallbacks.fetch_add(placement.failed, Ordering::Relaxed);
        if let Some(error) = placement.failure.clone() {
            note_failure(self.runtime, error);
        }
    }
}

fn note_failure(runtime: &SweepRuntime, error: CudaError) {
    if let Some(gpus) = &runtime.gpus {
        gpus.failed(error);
    }
}

/// A kernel's error with the grid row it is about; `rows` are those of the block.
fn kernel_error(symbol: &str, rows: &[u64], error: SweepError) -> PlanError {
    let at = |index: usize, reason: String| PlanError::Kernel {
        symbol: symbol.to_owned(),
        row: rows.get(index).copied().unwrap_or_default(),
        reason,
    };
    match error {
        SweepError::Cancelled { .. } => PlanError::Cancelled,
        SweepError::Combination { row, error } => at(row, error.to_string()),
        other => at(0, other.to_string()),
    }
}

/// The rows a unit or a sweep keeps: all of them, or the best so far.
pub(crate) struct Kept {
    rows: Vec<(u64, Stats)>,
    top: Option<Top>,
}

struct Top {
    count: usize,
    metric: &'static Metric,
    ranking: Ranking,
}

impl Top {
    /// Leaves the `count` best of `rows`; of equal ones the earlier row.
    fn prune(&self, rows: &mut Vec<(u64, Stats)>, context: &MetricContext) {
        let mut ranked: Vec<(Option<f64>, (u64, Stats))> = rows
            .drain(..)
            .filter(|(_, stats)| stats.trades >= self.ranking.min_trades)
            .map(|row| (self.metric.compute(&row.1, context), row))
            .collect();
        ranked.sort_by(|a, b| self.metric.compare(a.0, b.0).then_with(|| a.1.0.cmp(&b.1.0)));
        ranked.truncate(self.count);
        rows.extend(ranked.into_iter().map(|(_, row)| row));
    }
}

impl Kept {
    pub(crate) fn new(keep: &Keep) -> Result<Kept, PlanError> {
        let top = match keep {
            Keep::All => None,
            Keep::Top { count, ranking } => Some(Top {
                count: usize::try_from(*count).unwrap_or(usize::MAX),
                metric: ranking.metric()?,
                ranking: ranking.clone(),
            }),
        };
        Ok(Kept { rows: Vec::new(), top })
    }

    pub(crate) fn extend(&mut self, rows: impl Iterator<Item = (u64, Stats)>, context: &MetricContext) {
        self.rows.extend(rows);
        if let Some(top) = &self.top
            && self.rows.len() > top.count.saturating_mul(2).max(1 << 12)
        {
            top.prune(&mut self.rows, context);
        }
    }

    /// The kept rows, ascending.
    pub(crate) fn finish(mut self, context: &MetricContext) -> Vec<(u64, Stats)> {
        if let Some(top) = &self.top {
            top.prune(&mut self.rows, context);
            self.rows.sort_by_key(|(row, _)| *row);
        }
        self.rows
    }
}
