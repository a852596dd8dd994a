//! The arithmetic of units: their combinations through the kernels, on a thread or on a GPU.
//!
//! A combination has the same bits in any block and on any device. A thread takes one unit at a time; a GPU takes many at
//! once, since it is filled by hundreds of thousands of combinations, and what comes out is still one result per unit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use polybolos_engine::metrics::{MetricContext, Trials, per_period_sharpe};
use polybolos_engine::sweep::Unit;
use polybolos_kernels::bars::Bars;
use polybolos_kernels::cuda::{CudaError, CudaSweep, CudaSweepError};
use polybolos_kernels::stats::Stats;
use polybolos_kernels::sweep::{Sweep, SweepError};

use crate::error::PlanError;
use crate::gpu::GpuLease;
use crate::kept::Kept;
use crate::observer::UnitProgress;
use crate::runtime::SweepRuntime;
use crate::store::{UnitResult, UnitSummary};
use crate::unit::SweepJob;

/// Combinations handed to the processor's kernels at once. They share what their parameters have in common; the kernels
/// look at the cancel flag many times within a block.
const BLOCK_COMBOS: usize = 1 << 16;

/// Combinations handed to a GPU at once: what one launch takes at most. Their statistics are 200 MB here; its own memory
/// the GPU's driver divides by itself.
pub(crate) const GPU_BLOCK_COMBOS: usize = 1 << 20;

/// Combinations that a GPU gets first, to see that it takes the bars at all and does not fail.
const GPU_FIRST_COMBOS: usize = 1 << 10;

/// What units are computed with.
pub(crate) struct Computation<'a> {
    pub(crate) job: &'a SweepJob,
    pub(crate) runtime: &'a SweepRuntime,
    pub(crate) bars: &'a Bars,
    pub(crate) context: &'a MetricContext,
    /// Follows these units and stops them.
    pub(crate) progress: &'a UnitProgress,
}

/// Why a block has no results.
enum BlockError {
    /// Its combinations are wrong, or it was cancelled.
    Sweep(SweepError),
    /// The GPU does not take the bars, or failed.
    LeftToProcessor,
}

impl From<SweepError> for BlockError {
    fn from(error: SweepError) -> BlockError {
        BlockError::Sweep(error)
    }
}

/// What a GPU made of some units.
pub(crate) struct OnGpu {
    /// Of the first units: fewer than there were where the GPU does not take the bars or failed. What is left is better done
    /// by all threads than by the one that waited for the GPU.
    pub(crate) results: Vec<UnitResult>,
    /// Whether it failed.
    pub(crate) has_failed: bool,
}

/// A unit's results in the making.
struct Sums {
    kept: Kept,
    trials: Trials,
    combos: u64,
}

impl Sums {
    fn extend(&mut self, rows: impl Iterator<Item = u64>, stats: &[Stats], context: &MetricContext) {
        for stats in stats {
            self.trials.push(per_period_sharpe(stats));
        }
        self.combos += stats.len() as u64;
        self.kept.extend(rows.zip(stats.iter().copied()), context);
    }

    fn finish(self, context: &MetricContext) -> UnitResult {
        let summary = UnitSummary { combos: self.combos, trials: self.trials };
        UnitResult { rows: self.kept.finish(context), summary }
    }
}

impl Computation<'_> {
    /// Computes a unit on this thread.
    ///
    /// # Errors
    /// Parameters the kernels refuse, or [`PlanError::Cancelled`].
    pub(crate) fn on_thread(&self, unit: &Unit) -> Result<UnitResult, PlanError> {
        let started = Instant::now();
        let program = self.job.program();
        let mut sweep = Sweep::new(program, self.bars, &self.job.strategy.config())
            .map_err(|error| self.kernel_error(std::slice::from_ref(unit), &[unit.rows.start], error))?;
        let run =
            |values: &[f64], out: &mut [Stats], _| Ok(sweep.run_block(values, out, self.progress.flag())?);
        let mut results = self.blocks(std::slice::from_ref(unit), false, |_| BLOCK_COMBOS, run)?;
        let result = results.pop().ok_or(PlanError::Cancelled)?;
        if let Some(gpus) = &self.runtime.gpus {
            gpus.measured(false, self.bar_combos(result.summary.combos), started.elapsed().as_secs_f64());
        }
        Ok(result)
    }

    /// Computes units of one series on a leased GPU, and gives it back as soon as it is idle.
    ///
    /// # Errors
    /// As [`Computation::on_thread`].
    pub(crate) fn on_gpu(&self, units: &[Unit], lease: GpuLease<'_>) -> Result<OnGpu, PlanError> {
        let started = Instant::now();
        let (program, config) = (self.job.program(), self.job.strategy.config());
        let launcher = Arc::clone(&lease.launcher);
        let mut sweep = match CudaSweep::new(program, self.bars, &config, launcher, lease.budget_bytes) {
            Ok(sweep) => sweep.without_fallback().with_threads(self.runtime.threads),
            Err(CudaSweepError::Sweep(error)) => {
                let rows = units.first().map(|unit| unit.rows.start);
                return Err(self.kernel_error(units, rows.as_slice(), error));
            }
            Err(CudaSweepError::Cuda(error)) => {
                self.note_failure(error);
                return Ok(OnGpu { results: Vec::new(), has_failed: true });
            }
        };
        let mut lease = Some(lease);
        let (mut seconds, mut failure) = (0.0, None);
        let size = |done| if done == 0 { GPU_FIRST_COMBOS } else { GPU_BLOCK_COMBOS };
        let results = self.blocks(units, true, size, |values, out, is_last| {
            match sweep.run_block(values, out, self.progress.flag()) {
                Ok(()) if sweep.placement().unsupported > 0 => return Err(BlockError::LeftToProcessor),
                Ok(()) => {}
                Err(CudaSweepError::Sweep(error)) => return Err(error.into()),
                Err(CudaSweepError::Cuda(error)) => {
                    failure = Some(error);
                    return Err(BlockError::LeftToProcessor);
                }
            }
            if is_last {
                seconds = started.elapsed().as_secs_f64();
                lease = None;
            }
            Ok(())
        })?;
        drop(lease);
        let combos = results.iter().map(|result| result.summary.combos).sum();
        self.runtime.progress.gpu_combos.fetch_add(combos, Ordering::Relaxed);
        if let Some(gpus) = &self.runtime.gpus {
            gpus.measured(true, self.bar_combos(combos), seconds);
        }
        let has_failed = failure.is_some();
        if let Some(error) = failure {
            self.note_failure(error);
        }
        Ok(OnGpu { results, has_failed })
    }

    /// Runs the combinations of units block by block. Gives the results of the units that were finished: all of them, unless a
    /// block was left to the processor. `size` gives the most combinations of a block after so many were done; `run` gets a
    /// block's parameters, the place of its results, and whether it is the last one.
    fn blocks(
        &self,
        units: &[Unit],
        is_on_gpu: bool,
        size: impl Fn(u64) -> usize,
        mut run: impl FnMut(&[f64], &mut [Stats], bool) -> Result<(), BlockError>,
    ) -> Result<Vec<UnitResult>, PlanError> {
        let mut started = Instant::now();
        let space = self.job.strategy.space();
        let width = space.params().len();
        let keep = &self.job.spec.request.keep;
        let new = |_| Ok(Sums { kept: Kept::new(keep)?, trials: Trials::default(), combos: 0 });
        let mut sums = units.iter().map(new).collect::<Result<Vec<_>, PlanError>>()?;
        let rows_of = |unit: &Unit| space.valid_rows(unit.rows.clone());
        let numbered = units.iter().enumerate();
        let mut valid =
            numbered.flat_map(|(index, unit)| rows_of(unit).map(move |row| (index, row))).peekable();
        let (mut rows, mut values, mut stats): (Vec<(usize, u64)>, _, _) =
            (Vec::new(), Vec::new(), Vec::new());
        let mut done = 0;
        while let Some(&(at, _)) = valid.peek() {
            rows.clear();
            rows.extend(valid.by_ref().take(size(done)));
            values.clear();
            values.resize(rows.len() * width, 0.0);
            for (index, &(_, row)) in rows.iter().enumerate() {
                space.fill(row, &mut values[index * width..(index + 1) * width]);
            }
            if self.progress.is_cancelled() {
                return Err(PlanError::Cancelled);
            }
            stats.clear();
            stats.resize(rows.len(), Stats::default());
            match run(&values, &mut stats, valid.peek().is_none()) {
                Ok(()) => {}
                Err(BlockError::LeftToProcessor) => {
                    // The unit of the block's first row is not finished, nor is any after it.
                    sums.truncate(at);
                    break;
                }
                Err(BlockError::Sweep(error)) => {
                    let rows: Vec<u64> = rows.iter().map(|&(_, row)| row).collect();
                    return Err(self.kernel_error(units, &rows, error));
                }
            }
            let mut rest = stats.as_slice();
            for rows in rows.chunk_by(|a, b| a.0 == b.0) {
                let (own, others) = rest.split_at(rows.len());
                sums[rows[0].0].extend(rows.iter().map(|&(_, row)| row), own, self.context);
                rest = others;
            }
            done += rows.len() as u64;
            started = self.count(rows.len() as u64, started, is_on_gpu);
        }
        Ok(sums.into_iter().map(|sums| sums.finish(self.context)).collect())
    }

    fn bar_combos(&self, combos: u64) -> u64 {
        combos * self.bars.len() as u64
    }

    /// Counts combinations that took from `started` until now, which it gives.
    fn count(&self, combos: u64, started: Instant, is_on_gpu: bool) -> Instant {
        let progress = &self.runtime.progress;
        progress.combos.fetch_add(combos, Ordering::Relaxed);
        progress.bar_combos.fetch_add(self.bar_combos(combos), Ordering::Relaxed);
        let now = Instant::now();
        let spent = u64::try_from((now - started).as_nanos()).unwrap_or(u64::MAX);
        progress.kernel_ns.fetch_add(spent, Ordering::Relaxed);
        self.progress.note(self.bar_combos(combos), spent, is_on_gpu);
        now
    }

    fn note_failure(&self, error: CudaError) {
        if let Some(gpus) = &self.runtime.gpus {
            gpus.failed(error);
        }
    }

    /// [`kernel_error`] about units of one series.
    fn kernel_error(&self, units: &[Unit], rows: &[u64], error: SweepError) -> PlanError {
        let series = units.first().and_then(|unit| self.job.spec.series.get(unit.series));
        kernel_error(series.map_or("", |series| series.symbol.as_str()), rows, error)
    }
}

/// A kernel's error with the grid row it is about; `rows` are those of the block.
pub(crate) fn kernel_error(symbol: &str, rows: &[u64], error: SweepError) -> PlanError {
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
