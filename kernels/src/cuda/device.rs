//! Launches on one device for one program and one symbol's bars: their memory, what goes in and what comes out.

use std::sync::Arc;

use crate::bars::Bars;
use crate::bits::Bits;
use crate::program::{ParamSet, Program};
use crate::sim::{SimConfig, Trade};
use crate::sweep::device::{DeviceFinish, RESULT_WORDS, TRADE_WORDS, trade_of};
use crate::sweep::{Sweep, SweepError};

use super::best::Keep;
use super::call::{BitsArena, Queue, Rank, Sides, Simulation, Way};
use super::launcher::{Array, Buffer, Launcher};
use super::market::DeviceMarket;
use super::plan::{Plan, ROW_WORDS, RULE_WORDS, Shares, divide, longest};
use super::signals::{SignalBuffers, SignalError, Signals};
use super::touches::{RuleTable, Touches};
use super::{CudaError, CudaSweepError};

/// Kernels count bars in 32 bits.
const MAX_BARS: usize = 1 << 30;

/// The device's side.
pub(super) struct Device<'a> {
    launcher: Arc<dyn Launcher>,
    market: DeviceMarket,
    signals: Signals<'a>,
    shares: Shares,
    rule_params: ParamSet,
    pub(super) lanes: Vec<Lane>,
    /// How many combinations to try per launch.
    guess: usize,
}

/// Memory of one launch under way.
#[derive(Default)]
pub(super) struct Lane {
    stream: usize,
    signals: SignalBuffers,
    rows: Buffer<u64>,
    rules: Buffer<u64>,
    levels: Buffer<u64>,
    touches: Buffer<u32>,
    selected: Buffer<u64>,
    out: Buffer<u64>,
    trades: Buffer<u64>,
    scores: Buffer<f64>,
    /// What came back.
    words: Vec<u64>,
}

/// A launch under way.
pub(super) struct Flight {
    pub(super) lane: usize,
    pub(super) first: usize,
    pub(super) rows: usize,
    /// What is needed to walk its combinations again.
    pub(super) shape: Shape,
}

/// What a launch's kernels are chosen by, and the sizes of what they read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) conditions: usize,
    pub(super) sides: Sides,
    pub(super) way: Way,
    pub(super) stops: usize,
    pub(super) targets: usize,
}

/// What becomes of the next combinations.
pub(super) enum Started {
    /// Some are under way.
    Launch(Shape),
    /// The first one is the processor's business: it has no value.
    LeftToProcessor,
}

impl<'a> Device<'a> {
    /// `None` if the device has nothing to do with these bars.
    pub(super) fn new(
        cpu: &Sweep<'a>,
        program: &'a Program,
        bars: &'a Bars,
        launcher: Arc<dyn Launcher>,
        budget_bytes: u64,
    ) -> Result<Option<Device<'a>>, CudaSweepError> {
        let Some(tables) = cpu.device_tables().filter(|_| bars.len() <= MAX_BARS) else { return Ok(None) };
        let streams = launcher.take_streams();
        let first_stream = streams.first().copied().unwrap_or(0);
        let mut signals =
            Signals::new(program, bars).map_err(|error| CudaSweepError::Sweep(SweepError::Eval(error)))?;
        // What indicators read is as fixed as the market.
        let fixed_bytes = DeviceMarket::bytes(bars, &tables) + signals.input_bytes();
        let shares = divide(
            budget_bytes,
            fixed_bytes,
            signals.precision,
            bars.len(),
            streams.len(),
            launcher.bars_per_launch(),
        )
        .map_err(CudaSweepError::Cuda)?;
        let market = DeviceMarket::new(launcher.as_ref(), first_stream, bars, &tables)
            .map_err(CudaSweepError::Cuda)?;
        signals.use_device(shares.series_slots, &streams);
        Ok(Some(Device {
            launcher,
            market,
            signals,
            shares,
            rule_params: Sweep::rule_params(program),
            lanes: streams.into_iter().map(|stream| Lane { stream, ..Lane::default() }).collect(),
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
    pub(super) fn start(
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
            let begun = match self.rules(program, cpu, &plan, values) {
                Ok(rules) => self.launch(config, lane, &plan, values, &rules, None),
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

    fn rules(
        &self,
        program: &Program,
        cpu: &mut Sweep<'_>,
        plan: &Plan,
        values: &[f64],
    ) -> Result<RuleTable, usize> {
        RuleTable::new(program, cpu, plan, values, self.market.bars, self.shares.touches)
    }

    #[allow(clippy::too_many_arguments, reason = "a launch: all of them are its parts")]
    fn launch(
        &mut self,
        config: &SimConfig,
        lane: usize,
        plan: &Plan,
        values: &[f64],
        rules: &RuleTable,
        trade_room: Option<usize>,
    ) -> Result<Shape, SignalError> {
        let launcher = self.launcher.as_ref();
        let stream = self.lanes[lane].stream;
        let queue = Queue { launcher, stream };
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
            Sides::Long if rules.is_all_in() => Way::FoldAllIn,
            _ => Way::Fold,
        };
        let Lane { signals, rows: row_buffer, rules: rule_buffer, levels, touches, out, trades, .. } =
            &mut self.lanes[lane];
        let bits = self.signals.compute(queue, signals, plan, values)?;
        let trades = match trade_room {
            Some(room) => {
                let words = plan.rows.saturating_mul(room).saturating_mul(TRADE_WORDS);
                Some((trades.reserve(launcher, words)?, room))
            }
            None => None,
        };
        let (stops, targets) = (rules.stops, rules.levels.len() - rules.stops);
        let touches = if rules.levels.is_empty() {
            None
        } else {
            let room = 2 * rules.levels.len() * self.market.bars;
            let touches = Touches { table: touches.reserve(launcher, room)?, stops, targets };
            let levels = levels.upload(launcher, stream, &rules.levels)?;
            queue.first_touch(&self.market, config, levels, touches)?;
            Some(touches)
        };
        let simulation = Simulation {
            rows: row_buffer.upload(launcher, stream, &rows)?,
            rules: rule_buffer.upload(launcher, stream, &rules.words)?,
            total: plan.rows,
            selected: None,
            touches,
            out: out.reserve(launcher, plan.rows * RESULT_WORDS)?,
            trades,
            count: plan.rows,
            sides,
            way,
        };
        queue.simulate(&self.market, config, bits, simulation)?;
        Ok(Shape { rows: plan.rows, conditions: plan.conditions, sides, way, stops, targets })
    }

    /// Walks some combinations of a launch that has run once more, the long way: their words.
    pub(super) fn measure(
        &mut self,
        config: &SimConfig,
        flight: &Flight,
        unfit: &[u64],
    ) -> Result<&[u64], CudaError> {
        let Shape { rows: total, conditions, sides, stops, targets, .. } = flight.shape;
        let launcher = self.launcher.as_ref();
        let Lane { stream, signals, rows, rules, selected, touches, out, .. } = &mut self.lanes[flight.lane];
        let queue = Queue { launcher, stream: *stream };
        let bits = signals.bits(launcher, self.market.bars, conditions)?;
        let touches = if stops + targets == 0 {
            None
        } else {
            let room = 2 * (stops + targets) * self.market.bars;
            Some(Touches { table: touches.reserve(launcher, room)?, stops, targets })
        };
        let simulation = Simulation {
            rows: rows.reserve(launcher, total * ROW_WORDS)?,
            rules: rules.reserve(launcher, RULE_WORDS)?,
            total,
            selected: Some(selected.upload(launcher, queue.stream, unfit)?),
            touches,
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
    pub(super) fn results(&mut self, lane: usize, rows: usize) -> Result<&[u64], CudaError> {
        let launcher = self.launcher.as_ref();
        let Lane { stream, out, words, .. } = &mut self.lanes[lane];
        // Kept from launch to launch: fresh memory costs more than the copy.
        if words.len() < rows * RESULT_WORDS {
            words.resize(rows * RESULT_WORDS, 0);
        }
        let words = &mut words[..rows * RESULT_WORDS];
        out.reserve(launcher, words.len())?.read(launcher, *stream, words)?;
        Ok(words)
    }

    /// The scores of a launch's combinations, see [`super::best::BestRows::candidates`].
    pub(super) fn scores(
        &mut self,
        flight: &Flight,
        keep: &Keep,
        finish: DeviceFinish<'_>,
    ) -> Result<Vec<f64>, CudaError> {
        let launcher = self.launcher.as_ref();
        let Lane { stream, out, scores, .. } = &mut self.lanes[flight.lane];
        let queue = Queue { launcher, stream: *stream };
        let (observations, units) = finish.returns();
        let rank = Rank {
            count: flight.rows,
            observations,
            score: keep.score.code(),
            is_measured: flight.shape.way == Way::Measure,
            min_trades: keep.min_trades,
            units,
        };
        let array = scores.reserve(launcher, flight.rows)?;
        queue.rank(out.reserve(launcher, flight.rows * RESULT_WORDS)?, array, rank)?;
        let mut scores = vec![0.0; flight.rows];
        array.read(launcher, *stream, &mut scores)?;
        Ok(scores)
    }

    /// The words of some of a launch's combinations.
    pub(super) fn selected(&mut self, flight: &Flight, selected: &[u64]) -> Result<Vec<u64>, CudaError> {
        let launcher = self.launcher.as_ref();
        let Lane { stream, out, selected: selected_buffer, .. } = &mut self.lanes[flight.lane];
        let queue = Queue { launcher, stream: *stream };
        let mut words = vec![0; selected.len() * RESULT_WORDS];
        let gathered = Array::<u64>::new(launcher, words.len())?;
        let array = selected_buffer.upload(launcher, queue.stream, selected)?;
        let out = out.reserve(launcher, flight.rows * RESULT_WORDS)?;
        queue.gather_words(out, flight.rows, array, selected.len(), &gathered)?;
        gathered.read(launcher, queue.stream, &mut words)?;
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

    pub(super) fn signals_of(
        &mut self,
        program: &Program,
        values: &[f64],
        rows: usize,
    ) -> Result<Vec<[Option<Bits>; 4]>, CudaError> {
        let plan = self.whole(program, values, rows)?;
        let launcher = Arc::clone(&self.launcher);
        let queue = Queue { launcher: launcher.as_ref(), stream: self.lanes[0].stream };
        let bits = match self.signals.compute(queue, &mut self.lanes[0].signals, &plan, values) {
            Ok(bits) => bits,
            Err(SignalError::Device(error)) => return Err(error),
            Err(SignalError::Row(row)) => {
                return Err(CudaError::SelfTest { what: format!("the signals of row {row} have no value") });
            }
        };
        let all: Vec<u64> = (0..plan.conditions as u64).collect();
        let words = gather(queue, bits, &all)?;
        for row in words.chunks_exact(2 * bits.bars.div_ceil(64)) {
            let (value, defined) = row.split_at(row.len() / 2);
            if value.iter().zip(defined).any(|(value, defined)| value & !defined != 0) {
                return Err(CudaError::SelfTest {
                    what: "a condition is TRUE where it is undefined".to_owned(),
                });
            }
        }
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

    pub(super) fn trades_of(
        &mut self,
        program: &Program,
        config: &SimConfig,
        cpu: &mut Sweep<'_>,
        values: &[f64],
    ) -> Result<Option<Vec<Trade>>, CudaError> {
        let plan = self.whole(program, values, 1)?;
        let Ok(rules) = self.rules(program, cpu, &plan, values) else { return Ok(None) };
        // A bar closes one position at most at a decision and one inside.
        let room = 2 * self.market.bars + 2;
        match self.launch(config, 0, &plan, values, &rules, Some(room)) {
            Ok(_) => {}
            Err(SignalError::Device(error)) => return Err(error),
            Err(SignalError::Row(_)) => return Ok(None),
        }
        let closed = self.results(0, 1)?[3] as usize;
        let launcher = self.launcher.as_ref();
        let mut words = vec![0; closed.min(room) * TRADE_WORDS];
        let Lane { stream, trades, .. } = &mut self.lanes[0];
        trades.reserve(launcher, words.len())?.read(launcher, *stream, &mut words)?;
        let (trades, _) = words.as_chunks::<TRADE_WORDS>();
        Ok(Some(trades.iter().map(trade_of).collect()))
    }
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
