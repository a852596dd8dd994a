//! A sweep whose combinations run on a device, launch by launch, with the processor's sweep beside it for what the device
//! leaves.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bars::Bars;
use crate::bits::Bits;
use crate::program::{ParamSet, Program};
use crate::sim::{SimConfig, Trade};
use crate::stats::Stats;
use crate::sweep::device::{RESULT_WORDS, RULE_WORDS, TRADE_WORDS, trade_of};
use crate::sweep::{Sweep, SweepError};

use super::CudaError;
use super::call::{BitsArena, Queue, Sides, Simulation, Way};
use super::launcher::{Array, Buffer, Launcher};
use super::market::DeviceMarket;
use super::plan::{Plan, ROW_WORDS, Shares, divide, longest};
use super::signals::{SignalBuffers, SignalError, Signals};

/// Kernels count bars in 32 bits.
const MAX_BARS: usize = 1 << 30;

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
    placement: Placement,
}

/// The device's side.
struct Device<'a> {
    launcher: Arc<dyn Launcher>,
    market: DeviceMarket,
    signals: Signals<'a>,
    shares: Shares,
    rule_params: ParamSet,
    lanes: Vec<Lane>,
    /// How many combinations to try per launch.
    guess: usize,
}

/// Memory of one launch under way.
#[derive(Default)]
struct Lane {
    signals: SignalBuffers,
    rows: Buffer<u64>,
    rules: Buffer<u64>,
    selected: Buffer<u64>,
    out: Buffer<u64>,
    trades: Buffer<u64>,
}

/// A launch under way.
struct Flight {
    lane: usize,
    first: usize,
    rows: usize,
    /// What is needed to walk its combinations again.
    shape: Shape,
}

/// What a launch's kernels are chosen by, and the sizes of what they read.
#[derive(Debug, Clone, Copy)]
struct Shape {
    rows: usize,
    conditions: usize,
    sides: Sides,
    way: Way,
}

/// What becomes of the next combinations.
enum Started {
    /// Some are under way.
    Launch(Shape),
    /// The first one is the processor's business: it has no value.
    LeftToProcessor,
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
            placement: Placement::default(),
        })
    }

    /// Makes a failure of the device an error instead of leaving the rest to the processor.
    #[must_use]
    pub fn without_fallback(mut self) -> CudaSweep<'a> {
        self.falls_back = false;
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
        let out = &mut out[flight.first..flight.first + flight.rows];
        let mut unfit = Vec::new();
        for (index, stats) in out.iter_mut().enumerate() {
            let word = |word: usize| words[word * flight.rows + index];
            match flight.shape.way {
                Way::Measure => *stats = self.cpu.device_measured(word),
                Way::Fold | Way::FoldAllIn => match self.cpu.device_statistics(word) {
                    Some(folded) => *stats = folded,
                    None => unfit.push(index as u64),
                },
            }
        }
        if !unfit.is_empty() {
            let words = device.measure(&self.config, flight, &unfit)?;
            for (place, &index) in unfit.iter().enumerate() {
                out[index as usize] = self.cpu.device_measured(|word| words[word * unfit.len() + place]);
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

/// An error of a block that began at row `first` of the caller's.
pub(super) fn moved(error: SweepError, first: usize) -> SweepError {
    match error {
        SweepError::Combination { row, error } => SweepError::Combination { row: first + row, error },
        SweepError::Cancelled { done } => SweepError::Cancelled { done: first + done },
        other => other,
    }
}

impl<'a> Device<'a> {
    /// `None` if the device has nothing to do with these bars.
    fn new(
        cpu: &Sweep<'a>,
        program: &'a Program,
        bars: &'a Bars,
        launcher: Arc<dyn Launcher>,
        budget_bytes: u64,
    ) -> Result<Option<Device<'a>>, CudaSweepError> {
        let Some(tables) = cpu.device_tables().filter(|_| bars.len() <= MAX_BARS) else { return Ok(None) };
        let lanes = launcher.streams().max(1);
        let market_bytes = DeviceMarket::bytes(bars, &tables);
        let shares = divide(budget_bytes, market_bytes, bars.len(), lanes).map_err(CudaSweepError::Cuda)?;
        let market = DeviceMarket::new(launcher.as_ref(), bars, &tables).map_err(CudaSweepError::Cuda)?;
        let mut signals =
            Signals::new(program, bars).map_err(|error| CudaSweepError::Sweep(SweepError::Eval(error)))?;
        signals.set_max_slots(shares.series_slots);
        Ok(Some(Device {
            launcher,
            market,
            signals,
            shares,
            rule_params: Sweep::rule_params(program),
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            guess: usize::MAX,
        }))
    }

    fn plan(&mut self, program: &Program, values: &[f64], left: usize) -> Result<Plan, CudaError> {
        let graph = &self.signals.graph;
        let rule_params = self.rule_params;
        longest(left, self.market.bars, &self.shares, graph, &mut self.guess, |rows| {
            Plan::new(program, graph, rule_params, values, rows)
        })
    }

    /// Queues a launch of as many of the combinations as fit, at most `left`.
    fn start(
        &mut self,
        program: &Program,
        config: &SimConfig,
        cpu: &mut Sweep<'_>,
        lane: usize,
        values: &[f64],
        mut left: usize,
    ) -> Result<Started, CudaError> {
        loop {
            let plan = self.plan(program, values, left)?;
            let begun = match rule_table(program, cpu, &plan, values) {
                Ok(rules) => self.launch(config, lane, &plan, values, &rules, cpu.is_folded(), None),
                Err(row) => Err(SignalError::Row(row)),
            };
            match begun {
                Ok(shape) => return Ok(Started::Launch(shape)),
                Err(SignalError::Device(error)) => return Err(error),
                Err(SignalError::Row(0)) => return Ok(Started::LeftToProcessor),
                // The combinations before it run; it is the first of the next launch.
                Err(SignalError::Row(row)) => left = row,
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "a launch: all of them are its parts")]
    fn launch(
        &mut self,
        config: &SimConfig,
        lane: usize,
        plan: &Plan,
        values: &[f64],
        rules: &[u64],
        is_folded: bool,
        trade_room: Option<usize>,
    ) -> Result<Shape, SignalError> {
        let launcher = self.launcher.as_ref();
        let queue = Queue { launcher, stream: lane };
        let graph = &self.signals.graph;
        let mut rows = Vec::with_capacity(plan.rows * ROW_WORDS);
        for signal in graph.signals {
            match signal {
                Some(step) => {
                    let first = plan.first_condition[step];
                    rows.extend((0..plan.rows).map(|row| (first + plan.steps[step].of(row)) as u64));
                }
                None => rows.resize(rows.len() + plan.rows, 0),
            }
        }
        rows.extend((0..plan.rows).map(|row| plan.rules.of(row) as u64));
        let sides = match graph.signals {
            [Some(_), _, None, _] => Sides::Long,
            [None, _, _, _] => Sides::Short,
            [Some(_), _, Some(_), _] => Sides::Both,
        };
        let way = match sides {
            _ if !is_folded => Way::Measure,
            Sides::Long if is_all_in(rules) => Way::FoldAllIn,
            _ => Way::Fold,
        };
        let Lane { signals, rows: row_buffer, rules: rule_buffer, out, trades, .. } = &mut self.lanes[lane];
        let bits = self.signals.compute(queue, signals, plan, values)?;
        let trades = match trade_room {
            Some(room) => {
                let words = plan.rows.saturating_mul(room).saturating_mul(TRADE_WORDS);
                Some((trades.reserve(launcher, words)?, room))
            }
            None => None,
        };
        let simulation = Simulation {
            rows: row_buffer.upload(launcher, lane, &rows)?,
            rules: rule_buffer.upload(launcher, lane, rules)?,
            total: plan.rows,
            selected: None,
            out: out.reserve(launcher, plan.rows * RESULT_WORDS)?,
            trades,
            count: plan.rows,
            sides,
            way,
        };
        queue.simulate(&self.market, config, bits, simulation)?;
        Ok(Shape { rows: plan.rows, conditions: plan.conditions, sides, way })
    }

    /// Walks some combinations of a launch that has run once more, the long way: their words.
    fn measure(&mut self, config: &SimConfig, flight: &Flight, unfit: &[u64]) -> Result<Vec<u64>, CudaError> {
        let Shape { rows: total, conditions, sides, .. } = flight.shape;
        let launcher = self.launcher.as_ref();
        let queue = Queue { launcher, stream: flight.lane };
        let Lane { signals, rows, rules, selected, out, .. } = &mut self.lanes[flight.lane];
        let bits = signals.bits(launcher, self.market.bars, conditions)?;
        let simulation = Simulation {
            rows: rows.reserve(launcher, total * ROW_WORDS)?,
            rules: rules.reserve(launcher, RULE_WORDS)?,
            total,
            selected: Some(selected.upload(launcher, flight.lane, unfit)?),
            out: out.reserve(launcher, total * RESULT_WORDS)?,
            trades: None,
            count: unfit.len(),
            sides,
            way: Way::Measure,
        };
        queue.simulate(&self.market, config, bits, simulation)?;
        self.results(flight.lane, unfit.len())
    }

    /// The sums of a launch, each for all its combinations.
    fn results(&mut self, lane: usize, rows: usize) -> Result<Vec<u64>, CudaError> {
        let mut words = vec![0; rows * RESULT_WORDS];
        let launcher = self.launcher.as_ref();
        self.lanes[lane].out.reserve(launcher, words.len())?.read(launcher, lane, &mut words)?;
        Ok(words)
    }

    /// A plan of exactly these rows.
    fn whole(&mut self, program: &Program, values: &[f64], rows: usize) -> Result<Plan, CudaError> {
        let plan = self.plan(program, values, rows)?;
        if plan.rows < rows {
            let needed = plan.bytes(&self.signals.graph, self.market.bars).saturating_mul(2);
            return Err(CudaError::Budget { needed, budget: self.shares.launch });
        }
        Ok(plan)
    }

    fn signals_of(
        &mut self,
        program: &Program,
        values: &[f64],
        rows: usize,
    ) -> Result<Vec<[Option<Bits>; 4]>, CudaError> {
        let plan = self.whole(program, values, rows)?;
        let launcher = Arc::clone(&self.launcher);
        let queue = Queue { launcher: launcher.as_ref(), stream: 0 };
        let bits = match self.signals.compute(queue, &mut self.lanes[0].signals, &plan, values) {
            Ok(bits) => bits,
            Err(SignalError::Device(error)) => return Err(error),
            Err(SignalError::Row(row)) => {
                return Err(CudaError::SelfTest { what: format!("the signals of row {row} have no value") });
            }
        };
        let all: Vec<u64> = (0..plan.conditions as u64).collect();
        let words = gather(queue, bits, &all)?;
        let row_words = 2 * bits.bars.div_ceil(64);
        let read = |slot: usize| {
            let (value, defined) = words[slot * row_words..(slot + 1) * row_words].split_at(row_words / 2);
            let is_set = |words: &[u64], bar: usize| words[bar / 64] >> (bar % 64) & 1 == 1;
            Bits::from_fn(bits.bars, |bar| is_set(defined, bar).then(|| is_set(value, bar)))
        };
        let signals = self.signals.graph.signals;
        let of_row = |row: usize| {
            signals
                .map(|signal| signal.map(|step| read(plan.first_condition[step] + plan.steps[step].of(row))))
        };
        Ok((0..rows).map(of_row).collect())
    }

    fn trades_of(
        &mut self,
        program: &Program,
        config: &SimConfig,
        cpu: &mut Sweep<'_>,
        values: &[f64],
    ) -> Result<Option<Vec<Trade>>, CudaError> {
        let plan = self.whole(program, values, 1)?;
        let Ok(rules) = rule_table(program, cpu, &plan, values) else { return Ok(None) };
        // A bar closes one position at most at a decision and one inside.
        let room = 2 * self.market.bars + 2;
        match self.launch(config, 0, &plan, values, &rules, false, Some(room)) {
            Ok(_) => {}
            Err(SignalError::Device(error)) => return Err(error),
            Err(SignalError::Row(_)) => return Ok(None),
        }
        let sums = self.results(0, 1)?;
        let launcher = self.launcher.as_ref();
        let mut words = vec![0; (sums[3] as usize).min(room) * TRADE_WORDS];
        self.lanes[0].trades.reserve(launcher, words.len())?.read(launcher, 0, &mut words)?;
        let (trades, _) = words.as_chunks::<TRADE_WORDS>();
        Ok(Some(trades.iter().map(trade_of).collect()))
    }
}

/// Words of each distinct set of rules, or the first row whose rules are refused.
fn rule_table(
    program: &Program,
    cpu: &mut Sweep<'_>,
    plan: &Plan,
    values: &[f64],
) -> Result<Vec<u64>, usize> {
    let mut words = Vec::with_capacity(plan.rules.len() * RULE_WORDS);
    for row in plan.rules.first_rows() {
        let params = &values[row * program.params..(row + 1) * program.params];
        words.extend(cpu.rule_words(params).map_err(|_| row)?);
    }
    Ok(words)
}

/// Whether every set of rules buys with all the equity.
fn is_all_in(rules: &[u64]) -> bool {
    let (sets, _) = rules.as_chunks::<RULE_WORDS>();
    sets.iter().all(|set| set[5] == 0 && f64::from_bits(set[6]) == 1.0)
}

/// Value words, then defined words, of each slot.
fn gather(queue: Queue<'_>, bits: BitsArena<'_>, slots: &[u64]) -> Result<Vec<u64>, CudaError> {
    let mut words = vec![0; 2 * slots.len() * bits.bars.div_ceil(64)];
    let rows = Array::<u64>::new(queue.launcher, words.len())?;
    let slot_array = Array::of(queue.launcher, queue.stream, slots)?;
    queue.gather_bits(bits, &slot_array, slots.len(), &rows)?;
    rows.read(queue.launcher, queue.stream, &mut words)?;
    Ok(words)
}
