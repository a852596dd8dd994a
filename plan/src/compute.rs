//! The arithmetic of units: their combinations through the kernels, on a thread or on a GPU.
//!
//! A combination has the same bits in any block and on any device. A thread takes one unit at a time, and shares it where there
//! are fewer units than threads; a GPU takes many at once, since it is filled by hundreds of thousands of combinations. What comes
//! out is one result per unit.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use polybolos_engine::metrics::{MetricContext, Trials, per_period_sharpe};
use polybolos_engine::sweep::Unit;
use polybolos_kernels::cuda::{CudaError, CudaSweep, CudaSweepError};
use polybolos_kernels::stats::Stats;
use polybolos_kernels::sweep::{Sweep, SweepError};

use crate::error::PlanError;
use crate::gpu::GpuLease;
use crate::kept::Kept;
use crate::observer::UnitProgress;
use crate::runtime::{LoadedBars, SweepRuntime};
use crate::store::{UnitResult, UnitSummary};
use crate::unit::SweepJob;

/// Combinations handed to the processor's kernels at once. They share what their parameters have in common; the kernels
/// look at the cancel flag many times within a block.
const BLOCK_COMBOS: usize = 1 << 16;

/// Combinations times bars of a part of a block, at least: some milliseconds, beside which the series that it has in common with
/// other parts cost little.
const PART_BAR_COMBOS: u64 = 1 << 25;

/// Combinations handed to a GPU at once: what one launch takes at most. Their statistics are 200 MB here; its own memory
/// the GPU's driver divides by itself.
pub(crate) const GPU_BLOCK_COMBOS: usize = 1 << 20;

/// Combinations that a GPU gets first, to see that it takes the bars at all and does not fail.
const GPU_FIRST_COMBOS: usize = 1 << 10;

/// What units are computed with.
pub(crate) struct Computation<'a> {
    pub(crate) job: &'a SweepJob,
    pub(crate) runtime: &'a SweepRuntime,
    pub(crate) loaded: &'a Arc<LoadedBars>,
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
    /// There are no threads to help.
    Failed(PlanError),
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
    /// Computes a unit on this thread, with the help of those that have no unit of their own.
    ///
    /// # Errors
    /// Parameters the kernels refuse, or [`PlanError::Cancelled`].
    pub(crate) fn on_thread(&self, unit: &Unit) -> Result<UnitResult, PlanError> {
        let started = Instant::now();
        let new = || Sweep::sharing(self.job.program(), &self.loaded.bars, &self.job.strategy.config());
        let rows = usize::try_from(unit.rows.end - unit.rows.start).unwrap_or(usize::MAX);
        let is_alone = self.parts(rows.min(BLOCK_COMBOS)) == 1;
        let mut sweep = is_alone
            .then(new)
            .transpose()
            .map_err(|error| self.kernel_error(std::slice::from_ref(unit), &[unit.rows.start], error))?;
        let mut helped = Duration::ZERO;
        let run = |values: &[f64], out: &mut [Stats], _| -> Result<(), BlockError> {
            let parts = self.parts(out.len());
            if parts > 1 {
                helped += self.run_parts(parts, values, out)?;
                return Ok(());
            }
            let sweep = match &mut sweep {
                Some(sweep) => sweep,
                none => none.insert(new()?),
            };
            Ok(sweep.run_block(values, out, self.progress.flag())?)
        };
        let mut results = self.blocks(std::slice::from_ref(unit), false, |_| BLOCK_COMBOS, run)?;
        let result = results.pop().ok_or(PlanError::Cancelled)?;
        if let Some(gpus) = &self.runtime.gpus {
            let spent = (started.elapsed() + helped).as_secs_f64();
            gpus.measured(false, self.bar_combos(result.summary.combos), spent);
        }
        Ok(result)
    }

    /// Parts that a block is best cut into now.
    fn parts(&self, combos: usize) -> usize {
        let worth = self.bar_combos(combos as u64) / PART_BAR_COMBOS;
        let worth = usize::try_from(worth).unwrap_or(usize::MAX);
        self.runtime.workers.per_work().min(worth).min(combos).max(1)
    }

    /// Computes a block in parts of neighbouring rows, each of them on this thread or on one without work. Gives the time that
    /// others spent on it.
    fn run_parts(&self, parts: usize, values: &[f64], out: &mut [Stats]) -> Result<Duration, BlockError> {
        let started = Instant::now();
        let width = values.len() / out.len().max(1);
        let rows = out.len().div_ceil(parts).max(1);
        let starts = (0..out.len()).step_by(rows);
        let part = |from: usize| {
            let to = out.len().min(from + rows);
            (to - from, values[from * width..to * width].to_vec())
        };
        let items = starts.clone().map(part).collect();
        let (program, loaded) = (Arc::clone(self.job.program()), Arc::clone(self.loaded));
        let (config, flag) = (self.job.strategy.config(), self.progress.shared_flag());
        let compute = move |(combos, values): (usize, Vec<f64>)| {
            let started = Instant::now();
            let mut stats = vec![Stats::default(); combos];
            let run = |mut sweep: Sweep<'_>| sweep.run_block(&values, &mut stats, &flag);
            let done = catch_unwind(AssertUnwindSafe(|| {
                Sweep::sharing(&program, &loaded.bars, &config).and_then(run)
            }));
            (done.map(|done| done.map(|()| stats)), started.elapsed())
        };
        let done = self.runtime.workers.share(parts, items, compute).map_err(BlockError::Failed)?;
        let spent: Duration = done.iter().map(|(_, spent)| *spent).sum();
        for (from, (stats, _)) in starts.zip(done) {
            // A part's panic is its unit's.
            let stats = stats.unwrap_or_else(|panic| resume_unwind(panic));
            let stats = stats.map_err(|error| in_block(error, from))?;
            out[from..from + stats.len()].copy_from_slice(&stats);
        }
        let helped = spent.saturating_sub(started.elapsed());
        self.note(0, helped, false);
        Ok(helped)
    }

    /// Computes units of one series on a leased GPU, and gives it back as soon as it is idle.
    ///
    /// # Errors
    /// As [`Computation::on_thread`].
    pub(crate) fn on_gpu(&self, units: &[Unit], lease: GpuLease<'_>) -> Result<OnGpu, PlanError> {
        let started = Instant::now();
        let (program, config) = (self.job.program(), self.job.strategy.config());
        let launcher = Arc::clone(&lease.launcher);
        let mut sweep =
            match CudaSweep::new(program, &self.loaded.bars, &config, launcher, lease.budget_bytes) {
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
                Err(BlockError::Failed(error)) => return Err(error),
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
        combos * self.loaded.bars.len() as u64
    }

    /// Counts combinations that took from `started` until now, which it gives.
    fn count(&self, combos: u64, started: Instant, is_on_gpu: bool) -> Instant {
        let progress = &self.runtime.progress;
        progress.combos.fetch_add(combos, Ordering::Relaxed);
        progress.bar_combos.fetch_add(self.bar_combos(combos), Ordering::Relaxed);
        let now = Instant::now();
        self.note(self.bar_combos(combos), now - started, is_on_gpu);
        now
    }

    fn note(&self, bar_combos: u64, spent: Duration, is_on_gpu: bool) {
        let spent = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        self.runtime.progress.kernel_ns.fetch_add(spent, Ordering::Relaxed);
        self.progress.note(bar_combos, spent, is_on_gpu);
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

/// A part's error about the rows of its block, in which it begins at row `from`.
fn in_block(error: SweepError, from: usize) -> SweepError {
    match error {
        SweepError::Combination { row, error } => SweepError::Combination { row: from + row, error },
        other => other,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use polybolos_engine::digest::of_bars;
    use polybolos_engine::strategy::{Format, Source};
    use polybolos_engine::sweep::{Keep, SeriesId, SweepRequest, SweepSpec, Symbols};
    use polybolos_kernels::bars::Bars;
    use polybolos_kernels::precision::Precision;
    use polybolos_kernels::sweep::SharedBars;

    use super::*;

    const STRATEGY: &str = "name: parts
params:
  fast: {from: 2, to: 9}
  slow: {from: 10, to: 40}
long:
  enter: crosses_above(sma(close, fast), sma(close, slow))
  exit: crosses_below(sma(close, fast), sma(close, slow))
";

    fn bars() -> Bars {
        let mut state = 3u64;
        let mut price = 100.0_f64;
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            price *= if state >> 63 == 0 { 1.01 } else { 0.99 };
            price
        };
        let prices: Vec<f64> = (0..2_000).map(step).collect();
        let column = || prices.clone();
        Bars {
            interval_ms: 3_600_000,
            open_time_ms: (0..2_000).map(|hour| hour * 3_600_000).collect(),
            open: column(),
            high: column(),
            low: column(),
            close: column(),
            volume: column(),
            quote_volume: column(),
            trades: column(),
            taker_buy_volume: column(),
            taker_buy_quote_volume: column(),
        }
    }

    /// What a block of these parameters gives whole, and in parts.
    fn in_parts(
        values: &[f64],
        parts: usize,
        is_cancelled: bool,
    ) -> Result<(Vec<Stats>, Vec<Stats>), SweepError> {
        let bars = bars();
        let digest = of_bars(&bars);
        let loaded = Arc::new(LoadedBars { bars: SharedBars::new(bars), digest });
        let request = SweepRequest {
            source: Source { name: "parts.yaml".to_owned(), text: STRATEGY.to_owned(), format: Format::Yaml },
            overrides: Default::default(),
            interval: "1h".parse().unwrap(),
            symbols: Symbols::All,
            timerange: None,
            keep: Keep::All,
            precision: Precision::F64,
        };
        let series = vec![SeriesId { symbol: "AUSDT".to_owned(), data: digest, bars: 2_000 }];
        let job = SweepJob::new(SweepSpec { request, series }, String::new(), None).unwrap();
        let (runtime, progress) = (SweepRuntime::new(3), UnitProgress::default());
        let context = MetricContext::new(&loaded.bars, &job.strategy.config());
        if is_cancelled {
            progress.cancel();
        }
        let computation = Computation {
            job: &job,
            runtime: &runtime,
            loaded: &loaded,
            context: &context,
            progress: &progress,
        };
        let mut out = vec![Stats::default(); values.len() / 2];
        match computation.run_parts(parts, values, &mut out) {
            Ok(_) => {}
            Err(BlockError::Sweep(error)) => return Err(error),
            Err(BlockError::Failed(error)) => panic!("{error}"),
            Err(BlockError::LeftToProcessor) => panic!("there is no GPU"),
        }
        let mut whole = vec![Stats::default(); out.len()];
        let mut sweep = Sweep::new(job.program(), &loaded.bars, &job.strategy.config()).unwrap();
        sweep.run_block(values, &mut whole, progress.flag()).unwrap();
        Ok((whole, out))
    }

    fn grid() -> Vec<f64> {
        (2..9).flat_map(|fast| (10..40).flat_map(move |slow| [f64::from(fast), f64::from(slow)])).collect()
    }

    #[test]
    fn a_block_in_parts_is_the_block() {
        // 210 combinations: parts of one size, a last one that is smaller, and fewer parts than were asked for.
        for parts in [2, 3, 4, 11, 150, 210, 1_000] {
            let (whole, out) = in_parts(&grid(), parts, false).unwrap();
            assert!(whole.iter().all(|stats| stats.trades > 5));
            assert_eq!(whole, out, "{parts}");
        }
    }

    #[test]
    fn the_first_combination_that_is_refused_is_named_by_its_place_in_the_block() {
        for (refused, parts) in [(150, 4), (3, 4), (209, 2)] {
            let mut values = grid();
            // Later ones too.
            for row in (refused..210).step_by(20) {
                values[2 * row] = 2.5;
            }
            let error = in_parts(&values, parts, false).unwrap_err();
            assert!(matches!(error, SweepError::Combination { row, .. } if row == refused), "{error}");
        }
    }

    #[test]
    fn a_stopped_unit_stops_its_parts() {
        assert!(matches!(in_parts(&grid(), 3, true), Err(SweepError::Cancelled { .. })));
    }
}
