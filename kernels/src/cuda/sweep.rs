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
use super::call::Way;
use super::device::{Device, Flight, Started};
use super::launcher::Launcher;

/// Combinations below which statistics are not worked out by another thread.
const LEAST_PER_THREAD: usize = 1 << 12;

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
    /// digits, a strategy that is not folded).
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
    /// [`CudaSweep::placement`]. `cancel` is looked at before every launch; a launch takes less than half a second.
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
        let mut done = 0;
        if let Some(mut device) = self.device.take() {
            match self.run_on_device(&mut device, values, out, cancel, &mut done) {
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
        let count = (out.len() - done) as u64;
        match self.placement.failure {
            Some(_) => self.placement.failed += count,
            None => self.placement.unsupported += count,
        }
        let rest = self.cpu.run_block(&values[done * params..], &mut out[done..], cancel);
        rest.map_err(|error| moved(error, done).into())
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
        out: &mut [Stats],
        cancel: &AtomicBool,
        done: &mut usize,
    ) -> Result<(), CudaSweepError> {
        let params = self.program.params;
        let mut flights: VecDeque<Flight> = VecDeque::new();
        let mut next = 0;
        while *done < out.len() {
            if cancel.load(Ordering::Relaxed) {
                return Err(SweepError::Cancelled { done: *done }.into());
            }
            let lane = (0..device.lanes.len()).find(|lane| flights.iter().all(|flight| flight.lane != *lane));
            if let Some(lane) = lane.filter(|_| next < out.len()) {
                let left = &values[next * params..];
                match device.start(self.program, &self.config, &mut self.cpu, lane, left, out.len() - next) {
                    Ok(Started::Launch(shape)) => {
                        flights.push_back(Flight { lane, first: next, rows: shape.rows, shape });
                        next += shape.rows;
                        continue;
                    }
                    Ok(Started::LeftToProcessor) if flights.is_empty() => {
                        self.run_row(next, values, out, cancel)?;
                        next += 1;
                        *done = next;
                        continue;
                    }
                    Ok(Started::LeftToProcessor) => {}
                    Err(error) => return Err(CudaSweepError::Cuda(error)),
                }
            }
            if let Some(flight) = flights.pop_front() {
                self.collect(device, &flight, out).map_err(CudaSweepError::Cuda)?;
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
        out: &mut [Stats],
    ) -> Result<(), CudaError> {
        let words = device.results(flight.lane, flight.rows)?;
        let Some(finish) = self.cpu.device_finish() else { return Ok(()) };
        let out = &mut out[flight.first..flight.first + flight.rows];
        let threads = self.threads.min(flight.rows / LEAST_PER_THREAD).max(1);
        let share = flight.rows.div_ceil(threads);
        let unfit = std::thread::scope(|scope| {
            let parts = out.chunks_mut(share).enumerate().map(|(part, out)| {
                let part =
                    Part { finish, way: flight.shape.way, words, rows: flight.rows, first: part * share };
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
            let words = device.measure(&self.config, flight, &unfit)?;
            for (place, &index) in unfit.iter().enumerate() {
                let measured = finish.measured(|word| words[word * unfit.len() + place]);
                finish.complete(&mut out[index as usize], measured);
            }
        }
        let is_measured = flight.shape.way == Way::Measure;
        self.placement.device += flight.rows as u64;
        self.placement.measured += if is_measured { flight.rows } else { unfit.len() } as u64;
        Ok(())
    }

    /// One combination on the processor.
    fn run_row(
        &mut self,
        row: usize,
        values: &[f64],
        out: &mut [Stats],
        cancel: &AtomicBool,
    ) -> Result<(), CudaSweepError> {
        let params = self.program.params;
        let combination = &values[row * params..(row + 1) * params];
        let result = self.cpu.run_block(combination, &mut out[row..=row], cancel);
        result.map_err(|error| moved(error, row).into())
    }
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
