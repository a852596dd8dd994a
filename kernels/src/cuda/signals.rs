//! The signals of a launch's combinations as words on the device.

use std::collections::HashMap;
use std::sync::Arc;

use crate::bars::Bars;
use crate::evaluate::{EvalError, Evaluator, ScalarValue, Value, scalar};
use crate::precision::Precision;
use crate::program::{NodeId, Program};
use crate::series::Series;

use super::CudaError;
use super::call::{BitsArena, Queue, SeriesArena};
use super::graph::{Graph, Step};
use super::launcher::{Array, Buffer, Launcher};
use super::numbers::Numbers;
use super::operations::{Arithmetic, COMBINE_JOB, COMPARE_JOB, CompareOp, INDICATOR_JOB, Recursive, SCALAR};
use super::plan::Plan;

/// Bytes of rows that are put together for one upload of series.
const UPLOAD_BYTES: usize = 64 << 20;

/// Why the signals of a launch could not be computed.
#[derive(Debug)]
pub(super) enum SignalError {
    /// The device's fault.
    Device(CudaError),
    /// The first row that has no value; the processor says why.
    Row(usize),
}

impl From<CudaError> for SignalError {
    fn from(error: CudaError) -> SignalError {
        SignalError::Device(error)
    }
}

/// Device memory of one launch's signals, used again by later launches.
#[derive(Debug, Default)]
pub(super) struct SignalBuffers {
    value: Buffer<u64>,
    defined: Buffer<u64>,
    scalars: Option<Numbers>,
    /// Per step: its jobs, or its rows of words.
    steps: Vec<StepBuffers>,
}

impl SignalBuffers {
    /// The conditions of the launch that was computed last, as many slots as it had.
    pub(super) fn bits(
        &mut self,
        launcher: &dyn Launcher,
        bars: usize,
        slots: usize,
    ) -> Result<BitsArena<'_>, CudaError> {
        let words = bars.div_ceil(64) * slots;
        let (value, defined) = (&mut self.value, &mut self.defined);
        let (value, defined) = (value.reserve(launcher, words)?, defined.reserve(launcher, words)?);
        Ok(BitsArena { value, defined, bars, slots })
    }
}

#[derive(Debug, Default)]
struct StepBuffers {
    jobs: Buffer<u64>,
    rows: Buffer<u64>,
}

/// The values of a program's signals over one symbol's bars.
pub(super) struct Signals<'a> {
    program: &'a Program,
    bars: &'a Bars,
    evaluator: Evaluator<'a>,
    pub(super) graph: Graph,
    /// Of the numbers that comparisons read.
    pub(super) precision: Precision,
    /// Series on the device, kept from launch to launch.
    arena: Option<SeriesArena>,
    /// The series of the steps [`Step::Input`], in their order.
    inputs: Option<SeriesArena>,
    /// Slot of each (step, parameters that it depends on) in the arena.
    known: HashMap<(usize, Vec<u64>), u64>,
    max_slots: usize,
    /// The streams in which its series may be in use.
    streams: Vec<usize>,
}

impl<'a> Signals<'a> {
    pub(super) fn new(program: &'a Program, bars: &'a Bars) -> Result<Signals<'a>, EvalError> {
        Ok(Signals {
            program,
            bars,
            evaluator: Evaluator::new(program, bars)?,
            graph: Graph::new(program),
            precision: program.precision(),
            arena: None,
            inputs: None,
            known: HashMap::new(),
            max_slots: 0,
            streams: Vec::new(),
        })
    }

    /// Limits the series kept on the device, which launches in `streams` use.
    pub(super) fn use_device(&mut self, slots: usize, streams: &[usize]) {
        self.max_slots = slots;
        self.streams = streams.to_vec();
    }

    /// Computes the conditions of a launch; they are in `buffers` when the queue has run. Waits for the series, which the
    /// other queues use too.
    pub(super) fn compute<'b>(
        &mut self,
        queue: Queue<'_>,
        buffers: &'b mut SignalBuffers,
        plan: &Plan,
        values: &[f64],
    ) -> Result<BitsArena<'b>, SignalError> {
        let scalars = self.scalars(plan, values)?;
        let words = self.bars.len().div_ceil(64);
        let arena_words = words * plan.conditions;
        let SignalBuffers { value, defined, scalars: scalar_buffer, steps } = buffers;
        steps.resize_with(self.graph.steps.len().max(1), StepBuffers::default);
        let bits = BitsArena {
            value: value.reserve(queue.launcher, arena_words)?,
            defined: defined.reserve(queue.launcher, arena_words)?,
            bars: self.bars.len(),
            slots: plan.conditions,
        };
        let (launcher, stream, precision) = (queue.launcher, queue.stream, self.precision);
        let scalar_array = Numbers::upload(scalar_buffer, launcher, stream, precision, &scalars.values)?;
        let source = Launch { plan, values, scalars: &scalars, scalar_array };
        let series = self.prepare_series(queue, source)?;
        self.never(queue, &mut steps[0], bits)?;
        for index in 0..self.graph.steps.len() {
            let (node, step) = self.graph.steps[index].clone();
            let (first, slots) = (plan.first_condition[index], &plan.steps[index]);
            let buffers = &mut steps[index];
            match step {
                Step::Series
                | Step::Input
                | Step::Indicator { .. }
                | Step::Arithmetic { .. }
                | Step::Scalar
                | Step::Twin { .. } => {}
                Step::Bits => self.upload_bits(queue, buffers, node, index, plan, values, bits)?,
                Step::Compare { op, args, twin } => {
                    let mut jobs = Vec::with_capacity(slots.len() * COMPARE_JOB);
                    for (slot, row) in slots.first_rows().enumerate() {
                        jobs.extend(args.map(|arg| source.operand(&self.graph, &series, arg, row)));
                        let twin =
                            twin.map_or(0, |twin| plan.first_condition[twin] + plan.steps[twin].of(row));
                        jobs.extend([(first + slot) as u64, twin as u64]);
                    }
                    let op = match (op, twin) {
                        (_, None) => op,
                        (CompareOp::CrossesAbove, _) => CompareOp::CrossesBoth,
                        _ => {
                            jobs.as_chunks_mut::<COMPARE_JOB>().0.iter_mut().for_each(|job| job.swap(2, 3));
                            CompareOp::CrossesBoth
                        }
                    };
                    let across = across(&jobs);
                    let jobs = buffers.jobs.upload(queue.launcher, queue.stream, &jobs)?;
                    let arena = self.arena(queue.launcher)?;
                    queue.compare(op, arena, scalar_array, jobs, slots.len(), across, bits)?;
                }
                Step::Logic { op, args } => {
                    let mut jobs = Vec::with_capacity(slots.len() * (args.len() + 1));
                    for (slot, row) in slots.first_rows().enumerate() {
                        let part =
                            |&arg: &usize| (plan.first_condition[arg] + plan.steps[arg].of(row)) as u64;
                        jobs.extend(args.iter().map(part));
                        jobs.push((first + slot) as u64);
                    }
                    let jobs = buffers.jobs.upload(queue.launcher, queue.stream, &jobs)?;
                    queue.logic(op, args.len(), jobs, slots.len(), bits)?;
                }
            }
        }
        Ok(bits)
    }

    /// The arena; one slot if no series was needed so far (comparisons of scalars read none).
    fn arena(&mut self, launcher: &dyn Launcher) -> Result<&SeriesArena, CudaError> {
        match &mut self.arena {
            Some(arena) => Ok(arena),
            none => Ok(none.insert(SeriesArena::new(launcher, self.precision, self.bars.len(), 1)?)),
        }
    }

    /// Slot 0: FALSE on every bar.
    fn never(
        &self,
        queue: Queue<'_>,
        buffers: &mut StepBuffers,
        bits: BitsArena<'_>,
    ) -> Result<(), CudaError> {
        let words = self.bars.len().div_ceil(64);
        let row = vec![0; 2 * words];
        // The step's own buffers, which its own upload overwrites afterwards in the same queue.
        let rows = buffers.rows.upload(queue.launcher, queue.stream, &row)?;
        let slots = buffers.jobs.upload(queue.launcher, queue.stream, &[0])?;
        queue.scatter_bits(rows, slots, 1, bits)
    }

    #[allow(clippy::too_many_arguments, reason = "one step of one launch: all of them are its parts")]
    fn upload_bits(
        &mut self,
        queue: Queue<'_>,
        buffers: &mut StepBuffers,
        node: NodeId,
        index: usize,
        plan: &Plan,
        values: &[f64],
        bits: BitsArena<'_>,
    ) -> Result<(), SignalError> {
        let (slots, words) = (&plan.steps[index], self.bars.len().div_ceil(64));
        let mut rows = Vec::with_capacity(2 * words * slots.len());
        for row in slots.first_rows() {
            let params = self.row(values, row);
            match self.evaluator.value(node, params) {
                Ok(Value::Bits(bits)) if bits.len() == self.bars.len() => {
                    rows.extend_from_slice(bits.value_words());
                    rows.extend_from_slice(bits.defined_words());
                }
                Ok(Value::Bool(answer)) => {
                    let bits = crate::bits::Bits::constant(self.bars.len(), answer);
                    rows.extend_from_slice(bits.value_words());
                    rows.extend_from_slice(bits.defined_words());
                }
                _ => return Err(SignalError::Row(row)),
            }
        }
        let first = plan.first_condition[index];
        let to: Vec<u64> = (first..first + slots.len()).map(|slot| slot as u64).collect();
        let rows = buffers.rows.upload(queue.launcher, queue.stream, &rows)?;
        let to = buffers.jobs.upload(queue.launcher, queue.stream, &to)?;
        Ok(queue.scatter_bits(rows, to, slots.len(), bits)?)
    }

    fn row<'v>(&self, values: &'v [f64], row: usize) -> &'v [f64] {
        &values[row * self.program.params..(row + 1) * self.program.params]
    }

    /// The numbers that comparisons need, one after the other.
    fn scalars(&self, plan: &Plan, values: &[f64]) -> Result<ScalarTable, SignalError> {
        let mut table = ScalarTable { values: Vec::new(), first: Vec::new() };
        for ((node, step), slots) in self.graph.steps.iter().zip(&plan.steps) {
            table.first.push(table.values.len());
            if *step != Step::Scalar {
                continue;
            }
            for row in slots.first_rows() {
                match scalar(self.program, *node, self.row(values, row)) {
                    Ok(ScalarValue::Number(value)) => table.values.push(value),
                    _ => return Err(SignalError::Row(row)),
                }
            }
        }
        if table.values.is_empty() {
            table.values.push(f64::NAN);
        }
        Ok(table)
    }

    /// Brings the series of a launch to the device, where it has not got them yet: per step and slot, where they are.
    fn prepare_series(&mut self, queue: Queue<'_>, launch: Launch<'_>) -> Result<Vec<Vec<u64>>, SignalError> {
        let Launch { plan, values, .. } = launch;
        let mut fill = self.missing(plan, values);
        let capacity = self.arena.as_ref().map_or(0, |arena| arena.slots);
        if self.known.len() + fill.count > capacity {
            // Nothing that is under way may use the slots that are given out anew.
            for &stream in &self.streams {
                queue.launcher.synchronize(stream)?;
            }
            self.known.clear();
            fill = self.missing(plan, values);
            if fill.count > capacity {
                self.arena = None;
                let slots = fill.count.saturating_mul(2).max(64).min(self.max_slots).max(fill.count);
                let bars = self.bars.len();
                self.arena = Some(SeriesArena::new(queue.launcher, self.precision, bars, slots)?);
            }
        }
        self.prepare_inputs(queue, values)?;
        self.fill(queue, &fill, launch)?;
        for (key, slot) in fill.added {
            self.known.insert(key, slot);
        }
        Ok(fill.slots)
    }

    /// What the arena lacks for a launch, with the slots it would go to.
    fn missing(&self, plan: &Plan, values: &[f64]) -> Fill {
        let mut fill = Fill::default();
        let (mut next, mut inputs) = (self.known.len() as u64, 0..);
        for (index, ((node, step), slots)) in self.graph.steps.iter().zip(&plan.steps).enumerate() {
            let mut of_step = Vec::new();
            if *step == Step::Input {
                of_step.extend(inputs.next());
            }
            if step.is_series() {
                let params = match step {
                    Step::Indicator { period, .. } => self.program.node(*period).params,
                    _ => self.program.node(*node).params,
                };
                for row in slots.first_rows() {
                    let numbers = self.row(values, row);
                    let key = (index, params.iter().map(|param| numbers[param].to_bits()).collect());
                    of_step.push(match self.known.get(&key) {
                        Some(&slot) => slot,
                        None => {
                            fill.series.push((index, row, next));
                            fill.added.push((key, next));
                            fill.count += 1;
                            next += 1;
                            next - 1
                        }
                    });
                }
            }
            fill.slots.push(of_step);
        }
        fill
    }

    fn fill(&mut self, queue: Queue<'_>, fill: &Fill, launch: Launch<'_>) -> Result<(), SignalError> {
        let values = launch.values;
        if fill.series.is_empty() {
            return Ok(());
        }
        let mut jobs: [Vec<u64>; 4] = Default::default();
        // By step: one reads what an earlier one makes.
        let mut combined: Vec<(usize, Arithmetic, Vec<u64>)> = Vec::new();
        let mut upload = Upload::default();
        for &(index, row, slot) in &fill.series {
            let (node, step) = self.graph.steps[index].clone();
            match step {
                Step::Indicator { kind, def, inputs, period } => {
                    let numbers = self.row(values, row);
                    let Ok(ScalarValue::Number(period)) = scalar(self.program, period, numbers) else {
                        return Err(SignalError::Row(row));
                    };
                    if def.check_params(&[period]).is_err() {
                        return Err(SignalError::Row(row));
                    }
                    // Inputs depend on no parameter: one slot each.
                    let input = |at: usize| inputs.get(at).map_or(0, |&input| fill.slots[input][0]);
                    jobs[kind as usize].extend([input(0), input(1), input(2), period as u64, slot]);
                }
                Step::Arithmetic { op, args } => {
                    let operand = |arg: usize| launch.operand(&self.graph, &fill.slots, arg, row);
                    let [a, b] = args.map(operand);
                    match combined.last_mut() {
                        Some((last, _, jobs)) if *last == index => jobs.extend([a, b, slot]),
                        _ => combined.push((index, op, vec![a, b, slot])),
                    }
                }
                _ => {
                    let series = self.series(node, row, values)?;
                    upload.rows.extend_from_slice(&series);
                    upload.slots.push(slot);
                    if upload.rows.len() * size_of::<f64>() >= UPLOAD_BYTES {
                        upload.flush(queue, self.arena(queue.launcher)?)?;
                    }
                }
            }
        }
        self.arena(queue.launcher)?;
        let Some(arena) = &self.arena else { return Ok(()) };
        let inputs = self.inputs.as_ref().unwrap_or(arena);
        upload.flush(queue, arena)?;
        let mut held = Vec::new();
        for kind in [Recursive::Sma, Recursive::Ema, Recursive::Rsi, Recursive::Atr] {
            let jobs = &jobs[kind as usize];
            if !jobs.is_empty() {
                let array = Array::of(queue.launcher, queue.stream, jobs)?;
                queue.indicator(kind, inputs, arena, &array, jobs.len() / INDICATOR_JOB)?;
                held.push(array);
            }
        }
        for (_, op, jobs) in combined {
            let array = Array::of(queue.launcher, queue.stream, &jobs)?;
            queue.combine(op, arena, launch.scalar_array, &array, jobs.len() / COMBINE_JOB)?;
            held.push(array);
        }
        let slots: Vec<u64> = fill.series.iter().map(|&(_, _, slot)| slot).collect();
        let slots_array = Array::of(queue.launcher, queue.stream, &slots)?;
        queue.mark_defined(arena, &slots_array, slots.len())?;
        Ok(queue.launcher.synchronize(queue.stream)?)
    }

    /// Bytes that [`Signals::prepare_inputs`] takes.
    pub(super) fn input_bytes(&self) -> u64 {
        SeriesArena::bytes(Precision::F64, self.bars.len(), self.input_nodes().len())
    }

    fn input_nodes(&self) -> Vec<NodeId> {
        let inputs = self.graph.steps.iter().filter(|(_, step)| *step == Step::Input);
        inputs.map(|(node, _)| *node).collect()
    }

    /// Brings what only indicators read to the device, once: it depends on no parameter.
    fn prepare_inputs(&mut self, queue: Queue<'_>, values: &[f64]) -> Result<(), SignalError> {
        let nodes = self.input_nodes();
        if nodes.is_empty() || self.inputs.is_some() {
            return Ok(());
        }
        let arena = SeriesArena::new(queue.launcher, Precision::F64, self.bars.len(), nodes.len())?;
        for (slot, node) in (0..).zip(nodes) {
            let series = self.series(node, 0, values)?;
            Upload { rows: series.to_vec(), slots: vec![slot] }.flush(queue, &arena)?;
        }
        self.inputs = Some(arena);
        Ok(())
    }

    fn series(&mut self, node: NodeId, row: usize, values: &[f64]) -> Result<Arc<Series>, SignalError> {
        let params = self.row(values, row);
        match self.evaluator.value(node, params) {
            Ok(Value::Series(series)) if series.len() == self.bars.len() => Ok(series),
            _ => Err(SignalError::Row(row)),
        }
    }
}

/// After how many jobs the second operands repeat, throughout; the number of jobs if they do not.
fn across(jobs: &[u64]) -> usize {
    let (jobs, _) = jobs.as_chunks::<COMPARE_JOB>();
    let second = |index: usize| jobs[index][1];
    let Some(period) = (1..jobs.len()).find(|&index| second(index) == second(0)) else { return jobs.len() };
    let repeats = (period..jobs.len()).all(|index| second(index) == second(index - period));
    if repeats { period } else { jobs.len() }
}

/// What the values of a launch are made of.
#[derive(Clone, Copy)]
struct Launch<'l> {
    plan: &'l Plan,
    /// One row of numbers per combination.
    values: &'l [f64],
    scalars: &'l ScalarTable,
    /// The same on the device.
    scalar_array: &'l Numbers,
}

impl Launch<'_> {
    /// A number step as an operand for combination `row`; `series` are the slots of the series, per step and slot.
    fn operand(&self, graph: &Graph, series: &[Vec<u64>], step: usize, row: usize) -> u64 {
        let slot = self.plan.steps[step].of(row);
        match graph.steps[step].1 {
            Step::Scalar => SCALAR | (self.scalars.first[step] + slot) as u64,
            _ => series[step][slot],
        }
    }
}

/// Scalars of a launch; `first` is where each step's begin.
struct ScalarTable {
    values: Vec<f64>,
    first: Vec<usize>,
}

/// Series that a launch needs.
#[derive(Default)]
struct Fill {
    /// Per step and slot of the launch, the slot in the arena.
    slots: Vec<Vec<u64>>,
    /// Those not there yet: step, first row, slot in the arena.
    series: Vec<(usize, usize, u64)>,
    /// What they will be known as.
    added: Vec<((usize, Vec<u64>), u64)>,
    count: usize,
}

/// Series on their way to the device.
#[derive(Default)]
struct Upload {
    rows: Vec<f64>,
    slots: Vec<u64>,
}

impl Upload {
    fn flush(&mut self, queue: Queue<'_>, arena: &SeriesArena) -> Result<(), CudaError> {
        if self.slots.is_empty() {
            return Ok(());
        }
        let precision = arena.values.precision();
        let rows = Numbers::of(queue.launcher, queue.stream, precision, &self.rows)?;
        let slots = Array::of(queue.launcher, queue.stream, &self.slots)?;
        queue.scatter_series(&rows, &slots, self.slots.len(), arena)?;
        // The rows are given back only when the device has taken them.
        queue.launcher.synchronize(queue.stream)?;
        self.rows.clear();
        self.slots.clear();
        Ok(())
    }
}
