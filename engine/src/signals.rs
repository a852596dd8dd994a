//! The bar-by-bar interpreter of a strategy: bars go in one at a time, decisions come out at each close.
//!
//! The reference simulator and the live trader run a strategy through this file, so it keeps state, never history:
//! an indicator's own window, the values a `lag` still needs, the higher bar that is being built. It sees one
//! parameter vector, and it refuses to look at a bar that has not closed.
//!
//! Undefined numbers and conditions follow [`polybolos_kernels::program`].
//!
//! **Higher timeframes.** A higher bar is the sum of the base bars whose open times fall into the same group of
//! [`floor_to_bar`](crate::interval::floor_to_bar): first open, highest high, lowest low, last close, summed volumes
//! and trades, the group's own start as its open time. It closes, and its nodes take their next value, with the first
//! base bar that closes at or after the group's end. A base bar that opens in a later group closes the one before it
//! first, which happens when a group's last base bars are missing; a group without any base bar has no higher bar.
//!
//! **Precision.** In `f32` the graph has two values per node. The wide one is what it always is, and what indicators read. The
//! single one is an `f32`: a column, constant, parameter or indicator output rounded, or the `f32` operation on the single
//! values of its arguments; signals are read from these.

use std::sync::Arc;

use polybolos_kernels::bars::{Bars, Column};
use polybolos_kernels::indicators::MAX_PERIOD;
use polybolos_kernels::precision::Precision;
use polybolos_kernels::program::{NodeId, Program, Shape, Type};
use serde::{Deserialize, Serialize};

mod frame;
mod node;

use frame::Frame;
use node::Graph;

/// One bar: times in UTC milliseconds, prices and volumes in the market's own units.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// Time of the bar's open.
    pub open_time_ms: i64,
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Base-asset volume.
    pub volume: f64,
    /// Quote-asset volume.
    pub quote_volume: f64,
    /// Number of trades, a whole number.
    pub trades: f64,
    /// Base-asset volume bought by takers.
    pub taker_buy_volume: f64,
    /// Quote-asset volume bought by takers.
    pub taker_buy_quote_volume: f64,
}

impl Bar {
    /// A bar at one price in which nothing was traded.
    pub fn flat(open_time_ms: i64, price: f64) -> Bar {
        Bar {
            open_time_ms,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: 0.0,
            quote_volume: 0.0,
            trades: 0.0,
            taker_buy_volume: 0.0,
            taker_buy_quote_volume: 0.0,
        }
    }

    /// Row `t` of `bars`; `None` behind the last one.
    pub fn at(bars: &Bars, t: usize) -> Option<Bar> {
        let value = |column| bars.column(column)?.get(t).copied();
        Some(Bar {
            open_time_ms: *bars.open_time_ms.get(t)?,
            open: value(Column::Open)?,
            high: value(Column::High)?,
            low: value(Column::Low)?,
            close: value(Column::Close)?,
            volume: value(Column::Volume)?,
            quote_volume: value(Column::QuoteVolume)?,
            trades: value(Column::Trades)?,
            taker_buy_volume: value(Column::TakerBuyVolume)?,
            taker_buy_quote_volume: value(Column::TakerBuyQuoteVolume)?,
        })
    }

    /// The bar's value in a column.
    pub fn column(&self, column: Column) -> f64 {
        match column {
            Column::OpenTime => self.open_time_ms as f64,
            Column::Open => self.open,
            Column::High => self.high,
            Column::Low => self.low,
            Column::Close => self.close,
            Column::Volume => self.volume,
            Column::QuoteVolume => self.quote_volume,
            Column::Trades => self.trades,
            Column::TakerBuyVolume => self.taker_buy_volume,
            Column::TakerBuyQuoteVolume => self.taker_buy_quote_volume,
        }
    }
}

/// The newest value of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A number, `NaN` when undefined, never infinite.
    Number(f64),
    /// A condition, `None` when undefined.
    Condition(Option<bool>),
}

impl Value {
    fn undefined(ty: Type) -> Value {
        match ty {
            Type::Bool => Value::Condition(None),
            Type::Number | Type::Bundle => Value::Number(f64::NAN),
        }
    }
}

/// What the strategy wants at a close. An undefined signal is FALSE, and so is one that the strategy does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Decision {
    /// Enter long.
    pub long_enter: bool,
    /// Leave long.
    pub long_exit: bool,
    /// Enter short.
    pub short_enter: bool,
    /// Leave short.
    pub short_exit: bool,
}

/// Why a program cannot run with a parameter vector.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SignalsError {
    /// The vector has the wrong length.
    #[error("the strategy has {expected} parameters, {given} values were given")]
    ParamCount {
        /// Parameters of the program.
        expected: usize,
        /// Values given.
        given: usize,
    },
    /// An indicator does not take these parameters; the sentence names parameter, value and bounds.
    #[error("{0}")]
    Indicator(String),
    /// A lag that is not a count of bars.
    #[error("lag must be a whole number of bars from 0 to {MAX_PERIOD}, not {0}")]
    Lag(f64),
    /// A higher timeframe that the bars cannot build.
    #[error(
        "a timeframe of {frame_ms} ms cannot be built from bars of {interval_ms} ms; use a whole multiple of the bars' interval"
    )]
    Frame {
        /// Length of the higher bars.
        frame_ms: i64,
        /// Length of the bars that are fed in.
        interval_ms: i64,
    },
    /// A program that no builder makes: an argument behind its user, a missing node, a signal that is not a condition
    /// of the run's own bars.
    #[error("node {0} of the compiled strategy is malformed; compile the strategy again")]
    Malformed(usize),
}

/// A strategy with its parameters, fed bar by bar.
pub struct Signals {
    program: Arc<Program>,
    interval_ms: i64,
    wide: Graph,
    /// The values that signals are read from, where they are not the wide ones.
    single: Option<Graph>,
    frames: Vec<Frame>,
    /// Series nodes of each frame in topological order; entry 0 is the run's own bars.
    order: Vec<Vec<usize>>,
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signals").field("interval_ms", &self.interval_ms).finish_non_exhaustive()
    }
}

impl Signals {
    /// Starts the strategy before its first bar. `params` holds one value per parameter in declaration order;
    /// `interval_ms` is the length of the bars that [`Signals::push`] will see.
    ///
    /// # Errors
    /// See [`SignalsError`]: everything that depends on parameters and constants only is checked here.
    pub fn new(program: &Program, params: &[f64], interval_ms: i64) -> Result<Signals, SignalsError> {
        Signals::in_precision(program, params, interval_ms, Precision::F64)
    }

    /// [`Signals::new`] with signals in `precision`.
    ///
    /// # Errors
    /// As [`Signals::new`].
    pub fn in_precision(
        program: &Program,
        params: &[f64],
        interval_ms: i64,
        precision: Precision,
    ) -> Result<Signals, SignalsError> {
        if params.len() != program.params {
            return Err(SignalsError::ParamCount { expected: program.params, given: params.len() });
        }
        check_structure(program)?;
        for &frame_ms in &program.frames_ms {
            if interval_ms <= 0 || frame_ms < interval_ms || frame_ms % interval_ms != 0 {
                return Err(SignalsError::Frame { frame_ms, interval_ms });
            }
        }
        let mut order = vec![Vec::new(); program.frames_ms.len() + 1];
        for (index, node) in program.nodes.iter().enumerate() {
            if node.shape == Shape::Series {
                order.get_mut(usize::from(node.frame)).ok_or(SignalsError::Malformed(index))?.push(index);
            }
        }
        let program = Arc::new(program.clone());
        let mut wide = Graph::new(Arc::clone(&program), params, Precision::F64);
        let mut single =
            (precision == Precision::F32).then(|| Graph::new(Arc::clone(&program), params, precision));
        for index in 0..program.nodes.len() {
            wide.start(index, None)?;
            if let Some(single) = &mut single {
                single.start(index, Some(&wide))?;
            }
        }
        let frames = program.frames_ms.iter().map(|&length_ms| Frame::new(length_ms)).collect();
        Ok(Signals { program, interval_ms, wide, single, frames, order })
    }

    /// Takes the next bar, whose open time lies after the last one's, and says what the strategy wants at its close.
    pub fn push(&mut self, bar: &Bar) -> Decision {
        for index in 0..self.frames.len() {
            for closed in self.frames[index].push(bar, self.interval_ms).into_iter().flatten() {
                self.step_frame(index + 1, &closed);
            }
        }
        self.step_frame(0, bar);
        let rules = &self.program.rules;
        Decision {
            long_enter: self.is_true(rules.long_enter),
            long_exit: self.is_true(rules.long_exit),
            short_enter: self.is_true(rules.short_enter),
            short_exit: self.is_true(rules.short_exit),
        }
    }

    /// The newest value of a node, in `f64`: of the last bar, or of the last closed bar of its timeframe. Undefined before
    /// the first, for an indicator (read its outputs) and for an id that the program does not have.
    pub fn value(&self, id: NodeId) -> Value {
        self.wide.value(id)
    }

    fn is_true(&self, signal: Option<NodeId>) -> bool {
        let graph = self.single.as_ref().unwrap_or(&self.wide);
        signal.is_some_and(|id| graph.value(id) == Value::Condition(Some(true)))
    }

    fn step_frame(&mut self, frame: usize, bar: &Bar) {
        for &index in &self.order[frame] {
            self.wide.step(index, Some(bar), None);
            if let Some(single) = &mut self.single {
                single.step(index, Some(bar), Some(&self.wide));
            }
        }
    }
}

/// Arguments come before their users and every rule names a node of the right kind: what evaluation relies on.
fn check_structure(program: &Program) -> Result<(), SignalsError> {
    for (index, node) in program.nodes.iter().enumerate() {
        if node.args.iter().any(|arg| arg.index() >= index) {
            return Err(SignalsError::Malformed(index));
        }
    }
    let rules = &program.rules;
    for id in [rules.long_enter, rules.long_exit, rules.short_enter, rules.short_exit].into_iter().flatten() {
        match program.nodes.get(id.index()) {
            Some(node) if node.ty == Type::Bool && node.frame == 0 => {}
            _ => return Err(SignalsError::Malformed(id.index())),
        }
    }
    Ok(())
}
