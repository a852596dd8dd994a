//! A sweep whose combinations run on a device, launch by launch, with the processor's sweep beside it for what the device
//! leaves.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bars::Bars;
use crate::bits::Bits;
use crate::program::Program;
use crate::sim::{SimConfig, Trade};
use crate::stats::Stats;
use crate::sweep::device::DeviceFinish;
use crate::sweep::{Sweep, SweepError};

use super::CudaError;
use super::best::{BestRows, Keep};
use super::call::Way;
use super::device::{Device, Flight, Started};
use super::launcher::Launcher;

/// Combinations below which statistics are not worked out by another thread.
const LEAST_PER_THREAD: usize = 1 << 12;

/// Combinations that the processor takes at a time where not all results are kept.
const PIECE: usize = 1 << 14;

/// Why a sweep on a device cannot start, or stops.
#[derive(Debug, Clone, PartialEq)]
pub enum CudaSweepError {
    /// What the processor's sweep would say, too.
    Sweep(SweepError),
    /// The device failed; only where the processor may not take over, see [`CudaSweep::without_fallback`].
    Cuda(CudaError),
}

impl fmt::Display for CudaSweepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CudaSweepError::Sweep(error) => write!(f, "{error}"),
            CudaSweepError::Cuda(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for CudaSweepError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CudaSweepError::Sweep(error) => Some(error),
            CudaSweepError::Cuda(error) => Some(error),
        }
    }
}

impl From<SweepError> for CudaSweepError {
    fn from(error: SweepError) -> CudaSweepError {
        CudaSweepError::Sweep(error)
    }
}

/// Where combinations ran so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// On the device.
    pub device: u64,
    /// Of these, how many took two more walks, because the sums of one did not do (an account ruined, sums without enough
    /// digits).
    pub measured: u64,
    /// On the processor, because the device cannot use these bars (none at all, or a return without finite powers).
    pub unsupported: u64,
    /// On the processor, because the device failed.
    pub failed: u64,
    /// How the device failed.
    pub failure: Option<CudaError>,
}

/// Simulates combinations of one program on one symbol's bars, on a device. Results have the bits of [`Sweep`]'s.
pub struct CudaSweep<'a> {
    program: &'a Program,
    config: SimConfig,
    cpu: Sweep<'a>,
    device: Option<Device<'a>>,
    falls_back: bool,
    threads: usize,
    placement: Placement,
}

impl<'a> CudaSweep<'a> {
    /// Checks the inputs and brings the bars to the device. At most `budget_bytes` of its memory are taken.
    ///
    /// # Errors
    /// As [`Sweep::new`]; the device's.
    pub fn new(
        program: &'a Program,
        bars: &'a Bars,
        config: &SimConfig,
        launcher: Arc<dyn Launcher>,
        budget_bytes: u64,
    ) -> Result<CudaSweep<'a>, CudaSweepError> {
        let cpu = Sweep::new(program, bars, config)?;
        let device = Device::new(&cpu, program, bars, launcher, budget_bytes)?;
        Ok(CudaSweep {
            program,
            config: *config,
            cpu,
            device,
            falls_back: true,
            threads: 1,
            placement: Placement::default(),
        })
    }

    /// Makes a failure of the device an error instead of leaving the rest to the processor.
    #[must_use]
    pub fn without_fallback(mut self) -> CudaSweep<'a> {
        self.falls_back = false;
        self
    }

    /// Lets this many threads turn the device's sums into statistics; 1 unless told otherwise. Where launches have a million
    /// combinations one thread takes longer than the device.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> CudaSweep<'a> {
        self.threads = threads.max(1);
        self
    }

    /// The processor's sweep beside the device's.
    pub(super) fn processor(&mut self) -> &mut Sweep<'a> {
        &mut self.cpu
    }

    /// Parameters of the program.
    pub(super) fn params(&self) -> usize {
        self.program.params
    }

    /// Where combinations ran so far.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Simulates the combinations in the rows of `values` and writes one result per row to `out`, as
    /// [`Sweep::run_block`] does. What the device cannot do is done by the processor and counted in
    /// [`CudaSweep::placement`]. `cancel` is looked at before every launch; a launch takes about half a second at most.
    ///
    /// # Errors
    /// As [`Sweep::run_block`]; [`CudaSweepError::Cuda`] after [`CudaSweep::without_fallback`].
    pub fn run_block(
        &mut self,
        values: &[f64],
        out: &mut [Stats],
        cancel: &AtomicBool,
    ) -> Result<(), CudaSweepError> {
        let params = self.program.params;
        if out.len().checked_mul(params) != Some(values.len()) {
            return Err(SweepError::Block { values: values.len(), combinations: out.len(), params }.into());
        }
        self.run_all(values, &mut Target::All(out), cancel)
    }

    /// Simulates the combinations in the rows of `values` and gives those that `keep` asks for, with their rows, best first:
    /// at least `keep.count` of them if there are so many, and beyond these only such whose score is equal to within 1e-12
    /// (another formula for the same ratio may round otherwise; no more than `keep.count + 2048`). Statistics are those of
    /// [`CudaSweep::run_block`].
    ///
    /// # Errors
    /// As [`CudaSweep::run_block`].
    pub fn run_best(
        &mut self,
        values: &[f64],
        combinations: usize,
        keep: Keep,
        cancel: &AtomicBool,
    ) -> Result<Vec<(usize, Stats)>, CudaSweepError> {
        let params = self.program.params;
        if combinations.checked_mul(params) != Some(values.len()) {
            return Err(SweepError::Block { values: values.len(), combinations, params }.into());
        }
        let mut target = Target::Best { rows: BestRows::new(keep), combinations };
        self.run_all(values, &mut target, cancel)?;
        match target {
            Target::Best { rows, .. } => Ok(rows.finish()),
            Target::All(_) => Ok(Vec::new()),
        }
    }

    fn run_all(
        &mut self,
        values: &[f64],
        target: &mut Target<'_>,
        cancel: &AtomicBool,
    ) -> Result<(), CudaSweepError> {
        let mut done = 0;
        if let Some(mut device) = self.device.take() {
            match self.run_on_device(&mut device, values, target, cancel, &mut done) {
                Ok(()) => {
                    self.device = Some(device);
                    return Ok(());
                }
                Err(CudaSweepError::Cuda(error)) if self.falls_back => {
                    self.placement.failure = Some(error);
                }
                Err(error) => {
                    self.device = Some(device);
                    return Err(error);
                }
            }
        }
        let count = (target.combinations() - done) as u64;
        match self.placement.failure {
            Some(_) => self.placement.failed += count,
            None => self.placement.unsupported += count,
        }
        self.run_on_processor(done, values, target, cancel)
    }

    /// The combinations from row `first` on, on the processor.
    fn run_on_processor(
        &mut self,
        first: usize,
        values: &[f64],
        target: &mut Target<'_>,
        cancel: &AtomicBool,
    ) -> Result<(), CudaSweepError> {
        let params = self.program.params;
        let rest = match target {
            Target::All(out) => self.cpu.run_block(&values[first * params..], &mut out[first..], cancel),
            Target::Best { rows, combinations } => {
                let mut piece = vec![Stats::default(); (*combinations - first).min(PIECE)];
                for from in (first..*combinations).step_by(PIECE) {
                    let piece = &mut piece[..PIECE.min(*combinations - from)];
                    let values = &values[from * params..(from + piece.len()) * params];
                    let result = self.cpu.run_block(values, piece, cancel);
                    result.map_err(|error| moved(error, from))?;
                    for (row, stats) in (from..).zip(&*piece) {
                        rows.offer(row, stats);
                    }
                }
                return Ok(());
            }
        };
        rest.map_err(|error| moved(error, first).into())
    }

    /// The signals of combinations as the device has them (long entry, long exit, short entry, short exit; `None` where the
    /// program lacks one): for checks. One element per row of `values`; `None` for all of them if the device does not run
    /// this sweep.
    ///
    /// # Errors
    /// The device's; [`CudaError::Budget`] also if the rows do not fit into one launch.
    pub fn signals(
        &mut self,
        values: &[f64],
        rows: usize,
    ) -> Result<Option<Vec<[Option<Bits>; 4]>>, CudaSweepError> {
        let params = self.program.params;
        if rows.checked_mul(params) != Some(values.len()) {
            return Err(SweepError::Block { values: values.len(), combinations: rows, params }.into());
        }
        let Some(device) = &mut self.device else { return Ok(None) };
        device.signals_of(self.program, values, rows).map(Some).map_err(CudaSweepError::Cuda)
    }

    /// The closed trades of one combination as the device makes them: for checks. `None` where the device cannot use the bars
    /// or the combination has no value.
    ///
    /// # Errors
    /// The device's.
    pub fn trades(&mut self, values: &[f64]) -> Result<Option<Vec<Trade>>, CudaSweepError> {
        let Some(device) = &mut self.device else { return Ok(None) };
        let logged = device.trades_of(self.program, &self.config, &mut self.cpu, values);
        logged.map_err(CudaSweepError::Cuda)
    }

    fn run_on_device(
        &mut self,
        device: &mut Device<'a>,
        values: &[f64],
        target: &mut Target<'_>,
        cancel: &AtomicBool,
        done: &mut usize,
    ) -> Result<(), CudaSweepError> {
        let (params, all) = (self.program.params, target.combinations());
        let mut flights: VecDeque<Flight> = VecDeque::new();
        let mut next = 0;
        while *done < all {
            if cancel.load(Ordering::Relaxed) {
                return Err(SweepError::Cancelled { done: *done }.into());
            }
            let lane = (0..device.lanes.len()).find(|lane| flights.iter().all(|flight| flight.lane != *lane));
            if let Some(lane) = lane.filter(|_| next < all) {
                let left = &values[next * params..];
                match device.start(self.program, &self.config, &mut self.cpu, lane, left, all - next) {
                    Ok(Started::Launch(shape)) => {
                        flights.push_back(Flight { lane, first: next, rows: shape.rows, shape });
                        next += shape.rows;
                        continue;
                    }
                    Ok(Started::LeftToProcessor) if flights.is_empty() => {
                        self.run_row(next, values, target, cancel)?;
                        next += 1;
                        *done = next;
                        continue;
                    }
                    Ok(Started::LeftToProcessor) => {}
                    Err(error) => return Err(CudaSweepError::Cuda(error)),
                }
            }
            if let Some(flight) = flights.pop_front() {
                self.collect(device, &flight, target).map_err(CudaSweepError::Cuda)?;
                *done = flight.first + flight.rows;
            }
        }
        Ok(())
    }

    /// Waits for a launch and turns its sums into statistics.
    fn collect(
        &mut self,
        device: &mut Device<'a>,
        flight: &Flight,
        target: &mut Target<'_>,
    ) -> Result<(), CudaError> {
        let finish = self.cpu.device_finish().ok_or(CudaError::Bounds { doing: "a market without sums" })?;
        let measured = match target {
            Target::All(out) => {
                let out = &mut out[flight.first..flight.first + flight.rows];
                collect_all(device, flight, finish, &self.config, self.threads, out)?
            }
            Target::Best { rows, .. } => collect_best(device, flight, finish, &self.config, rows)?,
        };
        let is_measured = flight.shape.way == Way::Measure;
        self.placement.device += flight.rows as u64;
        self.placement.measured += if is_measured { flight.rows } else { measured } as u64;
        Ok(())
    }

    /// One combination on the processor.
    fn run_row(
        &mut self,
        row: usize,
        values: &[f64],
        target: &mut Target<'_>,
        cancel: &AtomicBool,
    ) -> Result<(), CudaSweepError> {
        let params = self.program.params;
        let combination = &values[row * params..(row + 1) * params];
        let mut stats = [Stats::default()];
        self.cpu.run_block(combination, &mut stats, cancel).map_err(|error| moved(error, row))?;
        match target {
            Target::All(out) => out[row] = stats[0],
            Target::Best { rows, .. } => rows.offer(row, &stats[0]),
        }
        Ok(())
    }
}

/// Where results go.
enum Target<'o> {
    /// One per combination.
    All(&'o mut [Stats]),
    /// The best of this many combinations.
    Best { rows: BestRows, combinations: usize },
}

impl Target<'_> {
    fn combinations(&self) -> usize {
        match self {
            Target::All(out) => out.len(),
            Target::Best { combinations, .. } => *combinations,
        }
    }
}

/// Statistics of all combinations of a launch; gives how many had to be measured the long way.
fn collect_all(
    device: &mut Device<'_>,
    flight: &Flight,
    finish: DeviceFinish<'_>,
    config: &SimConfig,
    threads: usize,
    out: &mut [Stats],
) -> Result<usize, CudaError> {
    let words = device.results(flight.lane, flight.rows)?;
    let share = flight.rows.div_ceil(threads.min(flight.rows / LEAST_PER_THREAD).max(1));
    let way = flight.shape.way;
    let unfit = std::thread::scope(|scope| {
        let parts = out.chunks_mut(share).enumerate().map(|(part, out)| {
            let part = Part { finish, way, words, rows: flight.rows, first: part * share };
            move || part.work(out)
        });
        let mut parts: VecDeque<_> = parts.collect();
        let mine = parts.pop_front();
        let others: Vec<_> = parts.into_iter().map(|part| scope.spawn(part)).collect();
        let mut unfit = mine.map_or(Vec::new(), |mut part| part());
        for other in others {
            // A thread that panicked has already said why; its panic goes on here.
            unfit.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        unfit
    });
    if !unfit.is_empty() {
        let words = device.measure(config, flight, &unfit)?;
        for (place, &index) in unfit.iter().enumerate() {
            let measured = finish.measured(|word| words[word * unfit.len() + place]);
            finish.complete(&mut out[index as usize], measured);
        }
    }
    Ok(unfit.len())
}

/// Offers those combinations of a launch that may be among the best; gives how many had to be measured the long way.
fn collect_best(
    device: &mut Device<'_>,
    flight: &Flight,
    finish: DeviceFinish<'_>,
    config: &SimConfig,
    best: &mut BestRows,
) -> Result<usize, CudaError> {
    let scores = device.scores(flight, &best.keep, finish)?;
    let candidates = best.candidates(&scores);
    if candidates.is_empty() {
        return Ok(0);
    }
    let words = device.selected(flight, &candidates)?;
    let (mut unfit, mut parts) = (Vec::new(), Vec::new());
    for (place, &index) in candidates.iter().enumerate() {
        let word = |word: usize| words[word * candidates.len() + place];
        let mut stats = Stats::default();
        let is_whole = match flight.shape.way {
            Way::Measure => {
                stats = finish.measured(word);
                true
            }
            Way::Fold | Way::FoldAllIn => finish.fold(word, &mut stats),
        };
        if is_whole {
            best.offer(flight.first + index as usize, &stats);
        } else {
            unfit.push(index);
            parts.push(stats);
        }
    }
    if !unfit.is_empty() {
        let words = device.measure(config, flight, &unfit)?;
        for (place, (&index, mut stats)) in unfit.iter().zip(parts).enumerate() {
            finish.complete(&mut stats, finish.measured(|word| words[word * unfit.len() + place]));
            best.offer(flight.first + index as usize, &stats);
        }
    }
    Ok(unfit.len())
}

/// Some combinations of a launch whose words have come back.
struct Part<'w> {
    finish: DeviceFinish<'w>,
    way: Way,
    /// Words of the whole launch.
    words: &'w [u64],
    /// Combinations of the whole launch.
    rows: usize,
    /// The first one of the part.
    first: usize,
}

impl Part<'_> {
    /// Writes statistics; gives the combinations of the launch that have to be measured the long way.
    fn work(&self, out: &mut [Stats]) -> Vec<u64> {
        let mut unfit = Vec::new();
        for (index, stats) in (self.first..).zip(out) {
            let word = |word: usize| self.words[word * self.rows + index];
            match self.way {
                Way::Measure => *stats = self.finish.measured(word),
                Way::Fold | Way::FoldAllIn => {
                    if !self.finish.fold(word, stats) {
                        unfit.push(index as u64);
                    }
                }
            }
        }
        unfit
    }
}

/// An error of a block that began at row `first` of the caller's.
pub(super) fn moved(error: SweepError, first: usize) -> SweepError {
    match error {
        SweepError::Combination { row, error } => SweepError::Combination { row: first + row, error },
        SweepError::Cancelled { done } => SweepError::Cancelled { done: first + done },
        other => other,
    }
}
