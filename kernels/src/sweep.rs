//! The sweep: many parameter combinations of one program over one symbol's bars, to sufficient statistics.
//!
//! Signals are evaluated as bit words over the whole series, shared between combinations where their parameters
//! agree, and each combination jumps from event to event. Results depend on program, bars, settings and parameters
//! alone: not on how combinations are cut into blocks, nor on their order, nor on what is remembered in between.

mod account;
mod block;
mod books;
mod chains;
mod cluster;
mod codes;
mod compile;
mod crosses;
mod deals;
mod dense;
pub(crate) mod device;
mod edges;
mod eight;
mod error;
mod events;
mod extremes;
mod fold;
mod groups;
mod jumper;
mod jumps;
mod leaf;
mod levels;
mod limits;
mod links;
mod market;
mod measure;
mod moments;
mod ordered;
mod pages;
mod passage;
mod path;
mod records;
mod route;
mod rules;
mod sampled;
mod shared;
mod signal_accounts;
mod signal_records;
mod signal_table;
mod signals;
mod tile;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bars::Bars;
use crate::bits::Bits;
use crate::evaluate::{DEFAULT_MEMO_BYTES, EvalError, Evaluator};
use crate::program::{NodeId, Program, Size, Type};
use crate::sim::{SimConfig, Trade};
use crate::simd::Isa;
use crate::stats::Stats;

use block::{BlockContext, Stop};
pub use error::{CombinationError, SweepError};
use fold::Folded;
use market::{Market, Needs};
use measure::{Scratch, equity_per_bar, measure, squared_pnl};
use path::{Path, Signals, fold_one, simulate};
pub use route::SimulationPath;
use rules::RuleBook;
pub use shared::SharedBars;

/// One combination in full.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What [`Sweep::run_block`] gives for it, to the bit.
    pub stats: Stats,
    /// Closed trades in order.
    pub trades: Vec<Trade>,
    /// Equity at every close, quote currency; one element per bar.
    pub equity: Vec<f64>,
}

/// Simulates combinations of one program on one symbol's bars, on the calling thread.
pub struct Sweep<'a> {
    program: &'a Program,
    config: SimConfig,
    evaluator: Evaluator<'a>,
    market: Market<'a>,
    rules: RuleBook<'a>,
    /// The words of a signal that the program does not have.
    never: Vec<u64>,
    path: Path,
    scratch: Scratch,
    isa: Isa,
    /// Memory for the series that a cluster of combinations reads at once.
    leaf_bytes: usize,
}

impl<'a> Sweep<'a> {
    /// Checks the inputs and prepares what combinations share.
    ///
    /// # Errors
    /// Bars, settings or a program that cannot be simulated; see [`SweepError`].
    pub fn new(program: &'a Program, bars: &'a Bars, config: &SimConfig) -> Result<Sweep<'a>, SweepError> {
        Sweep::on(program, bars, config, |needs| Market::new(bars, needs))
    }

    /// [`Sweep::new`] with the tables that another sweep on these bars has, of any program, if its rules and settings are of the
    /// same kind.
    ///
    /// # Errors
    /// As [`Sweep::new`].
    pub fn sharing(
        program: &'a Program,
        bars: &'a SharedBars,
        config: &SimConfig,
    ) -> Result<Sweep<'a>, SweepError> {
        Sweep::on(program, bars, config, |needs| bars.market(needs))
    }

    fn on(
        program: &'a Program,
        bars: &'a Bars,
        config: &SimConfig,
        market: impl FnOnce(&Needs) -> Result<Market<'a>, SweepError>,
    ) -> Result<Sweep<'a>, SweepError> {
        check_config(config)?;
        let evaluator = Evaluator::new(program, bars).map_err(SweepError::Eval)?;
        check_rules(program).map_err(SweepError::Eval)?;
        Ok(Sweep {
            program,
            config: *config,
            evaluator,
            market: market(&Needs::of(&program.rules, config))?,
            rules: RuleBook::new(program).map_err(SweepError::Eval)?,
            never: vec![0; bars.len().div_ceil(64)],
            path: Path::default(),
            scratch: Scratch::default(),
            isa: Isa::detect(),
            leaf_bytes: DEFAULT_MEMO_BYTES / 3 * 2,
        })
    }

    /// Sets the memory for series shared between combinations, see [`Evaluator::with_memo_bytes`].
    #[must_use]
    pub fn with_memo_bytes(mut self, bytes: usize) -> Sweep<'a> {
        self.evaluator = self.evaluator.with_memo_bytes(bytes);
        self.leaf_bytes = bytes / 3 * 2;
        self
    }

    /// Forces an instruction set. Results never depend on it, time does; one that the machine lacks is replaced by the next
    /// narrower.
    #[must_use]
    pub fn with_isa(mut self, isa: Isa) -> Sweep<'a> {
        self.isa = isa;
        self
    }

    /// Simulates the combinations in the rows of `values` (row-major, one value per parameter in declaration order)
    /// and writes one result per row to `out`. Neighbouring rows that share parameters share work.
    ///
    /// `cancel` is looked at many times within a block: before every series that has to be computed, every tile of bars and
    /// every few combinations.
    ///
    /// # Errors
    /// `values` does not hold one row per element of `out`; a combination that cannot be simulated (the results before
    /// it are written); [`SweepError::Cancelled`].
    pub fn run_block(
        &mut self,
        values: &[f64],
        out: &mut [Stats],
        cancel: &AtomicBool,
    ) -> Result<(), SweepError> {
        let params = self.program.params;
        if out.len().checked_mul(params) != Some(values.len()) {
            return Err(SweepError::Block { values: values.len(), combinations: out.len(), params });
        }
        let mut fast = vec![None; out.len()];
        let mut rules = Vec::with_capacity(out.len());
        let path = SimulationPath::of(self.program);
        // Rows from the first one whose rules are refused on are left to the loop below, which says why.
        let row = |row: usize| &values[row * params..(row + 1) * params];
        rules.extend((0..out.len()).map_while(|index| self.rules.rules(row(index)).ok()));
        let rows = rules.len();
        if !path.is_better_alone(out.len()) {
            match self.context(cancel).run(path, &values[..rows * params], &rules, &mut fast[..rows]) {
                Err(Stop::Cancelled) => return Err(SweepError::Cancelled { done: 0 }),
                Err(Stop::Failed) => fast.fill(None),
                Ok(()) => {}
            }
        }
        for (row, (stats, fast)) in out.iter_mut().zip(fast).enumerate() {
            if let Some(fast) = fast {
                *stats = fast;
                continue;
            }
            let combination = &values[row * params..(row + 1) * params];
            *stats = self.run_row(combination, Some(cancel)).map_err(|error| match error {
                CombinationError::Eval(EvalError::Cancelled) => SweepError::Cancelled { done: row },
                error => SweepError::Combination { row, error },
            })?;
        }
        Ok(())
    }

    fn context<'s>(&'s mut self, cancel: &'s AtomicBool) -> BlockContext<'s, 'a> {
        BlockContext {
            program: self.program,
            config: &self.config,
            market: &self.market,
            evaluator: &mut self.evaluator,
            isa: self.isa,
            leaf_bytes: self.leaf_bytes,
            cancel,
        }
    }

    /// Simulates one combination and keeps its trades and equity: the same code, the same bits as a block.
    ///
    /// # Errors
    /// A combination that cannot be simulated, as row 0.
    pub fn run(&mut self, params: &[f64]) -> Result<Run, SweepError> {
        let mut stats = [Stats::default()];
        self.run_block(params, &mut stats, &AtomicBool::new(false))?;
        let [stats] = stats;
        // Walked again, with everything kept.
        self.measure_row(params, None).map_err(|error| SweepError::Combination { row: 0, error })?;
        let equity = equity_per_bar(&self.market, &self.path.segments);
        Ok(Run { stats, trades: self.path.trades.clone(), equity })
    }

    /// The closed trades of one combination, in order.
    ///
    /// # Errors
    /// A combination that cannot be simulated, as row 0.
    pub fn trades(&mut self, params: &[f64]) -> Result<Vec<Trade>, SweepError> {
        self.run(params).map(|run| run.trades)
    }

    /// One combination by itself: folded, or measured where the fold is unfit.
    fn run_row(&mut self, params: &[f64], cancel: Option<&AtomicBool>) -> Result<Stats, CombinationError> {
        let rules = self.rules.rules(params)?;
        let bits = self.signal_bits(params, cancel)?;
        let signals = Signals::new(&bits, &self.never);
        let is_long_only = self.program.rules.short_enter.is_none();
        match fold_one(&self.market, &self.config, &rules, signals, is_long_only) {
            Folded::Whole(stats) => Ok(stats),
            Folded::ButPnl(mut stats) => {
                simulate(&self.market, &self.config, &rules, signals, &mut self.path);
                stats.pnl_m2 = squared_pnl(&self.path.trades, stats.pnl_sum);
                Ok(stats)
            }
            Folded::Unfit => self.measure_row(params, cancel),
        }
    }

    /// One combination the long way: its path is kept, then measured.
    fn measure_row(
        &mut self,
        params: &[f64],
        cancel: Option<&AtomicBool>,
    ) -> Result<Stats, CombinationError> {
        let rules = self.rules.rules(params)?;
        let bits = self.signal_bits(params, cancel)?;
        let signals = Signals::new(&bits, &self.never);
        simulate(&self.market, &self.config, &rules, signals, &mut self.path);
        Ok(measure(&self.market, self.config.cash, &self.path, &mut self.scratch))
    }

    fn signal_bits(
        &mut self,
        params: &[f64],
        cancel: Option<&AtomicBool>,
    ) -> Result<[Option<Arc<Bits>>; 4], CombinationError> {
        let rules = &self.program.rules;
        let nodes = [rules.long_enter, rules.long_exit, rules.short_enter, rules.short_exit];
        let mut bits: [Option<Arc<Bits>>; 4] = [const { None }; 4];
        for (node, bits) in nodes.into_iter().zip(&mut bits) {
            if let Some(node) = node {
                let signal = self.evaluator.signal(node, params, cancel);
                *bits = Some(signal.map_err(CombinationError::Eval)?);
            }
        }
        if cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
            return Err(CombinationError::Eval(EvalError::Cancelled));
        }
        Ok(bits)
    }
}

fn check_config(config: &SimConfig) -> Result<(), SweepError> {
    let fee = |value: f64| value > -1.0 && value < 1.0;
    let checks = [
        ("cash", config.cash, config.cash > 0.0 && config.cash.is_finite(), "above 0"),
        ("maker fee", config.maker_fee, fee(config.maker_fee), "a fraction between -1 and 1"),
        ("taker fee", config.taker_fee, fee(config.taker_fee), "a fraction between -1 and 1"),
        (
            "slippage",
            config.slippage,
            config.slippage >= 0.0 && config.slippage < 1.0,
            "a fraction from 0 and below 1",
        ),
    ];
    match checks.into_iter().find(|(_, _, is_allowed, _)| !is_allowed) {
        Some((setting, value, _, allowed)) => Err(SweepError::Config { setting, value, allowed }),
        None => Ok(()),
    }
}

/// Signals must be conditions of frame 0, the rest numbers.
fn check_rules(program: &Program) -> Result<(), EvalError> {
    let rules = &program.rules;
    let check = |node: Option<NodeId>, ty: Type, reason: &'static str| match node {
        Some(id) => match program.nodes.get(id.index()) {
            Some(node) if node.ty == ty && node.frame == 0 => Ok(()),
            _ => Err(EvalError::Malformed { node: id, reason }),
        },
        None => Ok(()),
    };
    for signal in [rules.long_enter, rules.long_exit, rules.short_enter, rules.short_exit] {
        check(signal, Type::Bool, "a signal must be a condition on the run's bars")?;
    }
    let (Size::Equity(size) | Size::Quote(size) | Size::Risk(size)) = rules.size;
    let numbers =
        [rules.stop_loss, rules.take_profit, rules.trailing_stop, rules.max_bars, rules.cooldown, Some(size)];
    for number in numbers {
        check(number, Type::Number, "an exit or sizing rule must be a number")?;
    }
    match (rules.size, rules.stop_loss) {
        (Size::Risk(_), None) => {
            Err(EvalError::Malformed { node: size, reason: "a risk size needs a stop_loss" })
        }
        _ => Ok(()),
    }
}
