//! Values of a program's nodes over whole series of bars, each node once per distinct projection of the parameters it
//! depends on.
//!
//! The meaning of every operation is that of [`crate::program`]. Nodes are computed eagerly: a period that is out of
//! range is an error even in a `CASE` branch that no bar takes. No value depends on what was asked for before.

mod batches;
pub(crate) use batches::may_be_in_parts;
pub(crate) mod elementwise;
mod error;
mod memo;
mod scalar;
mod series;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bars::{Bars, Column};
use crate::bits::Bits;
use crate::frames::{Frame, check_times};
use crate::indicators::{Indicator, MAX_PERIOD};
use crate::program::{Node, NodeId, Op, ParamSet, Program, Shape, Type};
use crate::series::{Numbers, Series};
use crate::simd::Isa;
use memo::Memo;

pub use error::EvalError;
pub use scalar::{ScalarValue, Scalars, scalar};

/// Memory for values kept between evaluations, unless [`Evaluator::with_memo_bytes`] says otherwise.
pub const DEFAULT_MEMO_BYTES: usize = 96 << 20;

/// Parameter sets that an indicator computes at once, between two looks at the cancel flag.
const MANY: usize = 64;

/// The value of a node. Series have one element per bar of the node's frame.
#[derive(Debug, Clone)]
pub enum Value {
    /// A number for the whole run, `NaN` if undefined.
    Number(f64),
    /// A condition for the whole run, `None` if undefined.
    Bool(Option<bool>),
    /// A number per bar.
    Series(Arc<Series>),
    /// A condition per bar.
    Bits(Arc<Bits>),
    /// All outputs of an indicator, in their order.
    Bundle(Arc<[Arc<Series>]>),
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Value::Number(_) | Value::Bool(_) => 0,
            Value::Series(series) => series.bytes(),
            Value::Bits(bits) => bits.bytes(),
            Value::Bundle(outputs) => outputs.iter().map(|series| series.bytes()).sum(),
        }
    }

    fn from_scalar(value: ScalarValue) -> Value {
        match value {
            ScalarValue::Number(value) => Value::Number(value),
            ScalarValue::Bool(value) => Value::Bool(value),
        }
    }
}

/// Evaluates nodes of one program over one symbol's bars.
pub struct Evaluator<'a> {
    program: &'a Program,
    bars: &'a Bars,
    frames: Vec<Frame>,
    memo: Memo,
    /// Per node the value for `current`, if known. Also what one evaluation passes from argument to user.
    values: Vec<Option<Value>>,
    current: Vec<f64>,
    /// Per node the parameters it depends on.
    depends: Vec<Box<[usize]>>,
}

impl<'a> Evaluator<'a> {
    /// Checks program and bars, and aggregates the higher timeframes.
    ///
    /// # Errors
    /// Bars that break their invariants, a timeframe that cannot be made of them, a malformed program.
    pub fn new(program: &'a Program, bars: &'a Bars) -> Result<Evaluator<'a>, EvalError> {
        bars.check()?;
        check_times(bars)?;
        let frames = program.frames_ms.iter().map(|&ms| Frame::aggregate(bars, ms));
        let frames = frames.collect::<Result<Vec<_>, _>>()?;
        for index in 0..program.nodes.len() {
            let id = scalar::node_id(index);
            let node = scalar::check_args(program, id)?;
            if usize::from(node.frame) > frames.len() {
                return Err(EvalError::Malformed { node: id, reason: "no such timeframe" });
            }
            if node.params.iter().any(|param| param >= program.params) {
                return Err(EvalError::Malformed { node: id, reason: "no such parameter" });
            }
        }
        Ok(Evaluator {
            program,
            bars,
            frames,
            memo: Memo::new(program.nodes.len(), DEFAULT_MEMO_BYTES),
            values: vec![None; program.nodes.len()],
            current: vec![f64::NAN; program.params],
            depends: program.nodes.iter().map(|node| node.params.iter().collect()).collect(),
        })
    }

    /// Sets the memory for values kept between evaluations and forgets those kept so far. Values never depend on it,
    /// time does. Beside it the values of one evaluation are held: at most one per node.
    #[must_use]
    pub fn with_memo_bytes(mut self, bytes: usize) -> Evaluator<'a> {
        self.memo = Memo::new(self.program.nodes.len(), bytes);
        self
    }

    /// Bytes of series kept for later evaluations, at most the budget.
    pub fn memo_bytes(&self) -> usize {
        self.memo.bytes()
    }

    /// The bars of a frame; frame 0 is the run's own.
    pub fn frame_bars(&self, frame: u16) -> Option<&Bars> {
        match frame {
            0 => Some(self.bars),
            higher => self.frames.get(usize::from(higher) - 1).map(Frame::bars),
        }
    }

    /// The value of a node for one parameter vector.
    ///
    /// # Errors
    /// See [`EvalError`].
    pub fn value(&mut self, node: NodeId, params: &[f64]) -> Result<Value, EvalError> {
        self.prepare(&[node], params, None)?;
        self.known(node, node).cloned()
    }

    /// [`Evaluator::value`] that looks at `cancel` before each node.
    pub(crate) fn value_until(
        &mut self,
        node: NodeId,
        params: &[f64],
        cancel: &AtomicBool,
    ) -> Result<Value, EvalError> {
        self.prepare(&[node], params, Some(cancel))?;
        self.known(node, node).cloned()
    }

    /// One output of an indicator for many parameter vectors at once, which is quicker than one by one and has the same
    /// bits. `None` if the node is something else, or its inputs depend on parameters.
    pub(crate) fn output_of_many(
        &mut self,
        node: NodeId,
        rows: &[&[f64]],
        isa: Isa,
        cancel: &AtomicBool,
    ) -> Result<Option<Vec<Value>>, EvalError> {
        let program = self.program;
        let (node, is_single) = match (program.node(node).op, program.node(node).args.as_slice()) {
            (Op::Single, &[output]) => (output, true),
            _ => (node, false),
        };
        let Op::Output(output) = program.node(node).op else { return Ok(None) };
        let bundle = program.node(node).args[0];
        let Op::Indicator(def) = program.node(bundle).op else { return Ok(None) };
        let (inputs, params) = program.node(bundle).args.split_at(def.inputs.len());
        let is_fixed = |input: &NodeId| {
            let input = program.node(*input);
            input.shape == Shape::Series && input.params == ParamSet::default()
        };
        let (true, Some(first)) = (inputs.iter().all(is_fixed), rows.first()) else { return Ok(None) };
        self.prepare(inputs, first, Some(cancel))?;
        let mut columns = Vec::with_capacity(inputs.len());
        for &input in inputs {
            match self.known(bundle, input)? {
                Value::Series(series) => columns.push(Arc::clone(series)),
                _ => return Ok(None),
            }
        }
        let columns: Vec<&[f64]> = columns.iter().map(|series| series.as_ref().as_ref()).collect();
        let mut scalars = Scalars::new(program, params)?;
        let (mut out, mut missing, mut sets) = (vec![None; rows.len()], Vec::new(), Vec::new());
        for (index, row) in rows.iter().enumerate() {
            let key: Vec<u64> =
                self.depends[bundle.index()].iter().map(|&param| row[param].to_bits()).collect();
            out[index] = self.memo.get(bundle.index(), &key);
            if out[index].is_none() {
                let set: Vec<f64> = scalars.values(row)?.iter().map(|value| value.number()).collect();
                let check = def.check_params(&set);
                check.map_err(|message| EvalError::Indicator { node: bundle, message })?;
                missing.push((index, key));
                sets.push(set);
            }
        }
        for (missing, sets) in missing.chunks(MANY).zip(sets.chunks(MANY)) {
            if cancel.load(Ordering::Relaxed) {
                return Err(EvalError::Cancelled);
            }
            for ((index, key), outputs) in missing.iter().zip(def.compute_many(isa, &columns, sets)) {
                let value = Value::Bundle(outputs.into_iter().map(Arc::new).collect());
                if self.is_kept(bundle.index()) {
                    self.memo.insert(bundle.index(), key, &value);
                }
                out[*index] = Some(value);
            }
        }
        let pick = |value: Option<Value>| match value {
            Some(Value::Bundle(outputs)) => {
                let series = outputs.get(usize::from(output))?;
                Some(Value::Series(if is_single {
                    Arc::new(series::map_unary(Op::Single, series.len(), Numbers::Series(series)))
                } else {
                    Arc::clone(series)
                }))
            }
            _ => None,
        };
        Ok(out.into_iter().map(pick).collect())
    }

    /// The values of several nodes for one parameter vector, in their order; what they share is computed once.
    ///
    /// # Errors
    /// See [`EvalError`].
    pub fn values(&mut self, nodes: &[NodeId], params: &[f64]) -> Result<Vec<Value>, EvalError> {
        self.prepare(nodes, params, None)?;
        nodes.iter().map(|&node| self.known(node, node).cloned()).collect()
    }

    /// The bars of frame 0 on which the condition is defined and TRUE are the value bits. `cancel` is looked at before
    /// each node.
    pub(crate) fn signal(
        &mut self,
        node: NodeId,
        params: &[f64],
        cancel: Option<&AtomicBool>,
    ) -> Result<Arc<Bits>, EvalError> {
        self.prepare(&[node], params, cancel)?;
        match self.known(node, node)? {
            Value::Bits(bits) if bits.len() == self.bars.len() => Ok(bits.clone()),
            Value::Bool(value) => Ok(Arc::new(Bits::constant(self.bars.len(), *value))),
            _ => Err(EvalError::Malformed { node, reason: "a signal must be a condition on the run's bars" }),
        }
    }

    /// Fills `self.values` for the roots: walks down from them through what is unknown, then computes upwards.
    fn prepare(
        &mut self,
        roots: &[NodeId],
        params: &[f64],
        cancel: Option<&AtomicBool>,
    ) -> Result<(), EvalError> {
        scalar::check_param_count(self.program, params)?;
        self.move_to(params);
        let mut needed = vec![false; self.program.nodes.len()];
        for root in roots {
            match needed.get_mut(root.index()) {
                Some(needed) => *needed = true,
                None => return Err(EvalError::Malformed { node: *root, reason: "no such node" }),
            }
        }
        for index in (0..needed.len()).rev() {
            if !needed[index] {
                continue;
            }
            if self.values[index].is_none() && self.is_kept(index) {
                let key = self.key(index);
                self.values[index] = self.memo.get(index, &key);
            }
            if self.values[index].is_some() {
                needed[index] = false;
                continue;
            }
            for arg in &self.program.nodes[index].args {
                needed[arg.index()] = true;
            }
        }
        for (index, _) in needed.iter().enumerate().filter(|(_, needed)| **needed) {
            if cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                return Err(EvalError::Cancelled);
            }
            let value = self.compute(scalar::node_id(index))?;
            if self.is_kept(index) {
                let key = self.key(index);
                self.memo.insert(index, &key, &value);
            }
            self.values[index] = Some(value);
        }
        Ok(())
    }

    /// Forgets the values that depend on a parameter which differs from the last evaluation's.
    fn move_to(&mut self, params: &[f64]) {
        let changed: Vec<bool> =
            self.current.iter().zip(params).map(|(old, new)| old.to_bits() != new.to_bits()).collect();
        if changed.contains(&true) {
            for (value, depends) in self.values.iter_mut().zip(&self.depends) {
                if depends.iter().any(|&param| changed[param]) {
                    *value = None;
                }
            }
            self.current.copy_from_slice(params);
        }
    }

    /// Whether a node's values go to the memo: not scalars and outputs, which cost nothing, nor the same rounded, which costs
    /// next to nothing, and neither what depends on every parameter (no two combinations share it) or on none (`values` holds it for good).
    fn is_kept(&self, index: usize) -> bool {
        let node = &self.program.nodes[index];
        let depends = self.depends[index].len();
        node.shape == Shape::Series
            && !matches!(node.op, Op::Output(_) | Op::Single)
            && depends > 0
            && depends < self.program.params
    }

    fn key(&self, index: usize) -> Vec<u64> {
        self.depends[index].iter().map(|&param| self.current[param].to_bits()).collect()
    }

    fn known(&self, user: NodeId, node: NodeId) -> Result<&Value, EvalError> {
        self.values
            .get(node.index())
            .and_then(Option::as_ref)
            .ok_or(EvalError::Malformed { node: user, reason: "an argument has no value" })
    }

    fn compute(&self, id: NodeId) -> Result<Value, EvalError> {
        let node = self.program.node(id);
        if node.shape == Shape::Scalar {
            return self.compute_scalar(id, node);
        }
        let len = self.frame_bars(node.frame).map_or(0, Bars::len);
        let number = |index: usize| self.number(id, node, index);
        let series = |series: Series| Value::Series(Arc::new(series));
        let bits = |bits: Bits| Value::Bits(Arc::new(bits));
        Ok(match node.op {
            Op::Column(column) => series(self.column(node.frame, column)),
            Op::Neg | Op::Abs | Op::Sqrt | Op::Ln | Op::Exp | Op::Single => {
                series(series::map_unary(node.op, len, number(0)?))
            }
            Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem => {
                series(series::map_binary(node.op, len, number(0)?, number(1)?))
            }
            Op::Least | Op::Greatest => {
                let mut best = series::map_binary(node.op, len, number(0)?, number(1)?);
                for index in 2..node.args.len() {
                    best = series::map_binary(node.op, len, Numbers::Series(&best), number(index)?);
                }
                series(best)
            }
            Op::CrossesAbove => bits(Bits::crosses_above(len, number(0)?, number(1)?)),
            Op::CrossesBelow => bits(Bits::crosses_below(len, number(0)?, number(1)?)),
            Op::And | Op::Or | Op::Not => bits(self.logic(id, node, len)?),
            Op::Case => self.case(id, node, len)?,
            Op::Lag => series(series::lag(len, number(0)?, self.lag_bars(id, node)?)),
            Op::Indicator(def) => self.indicator(id, node, def, len)?,
            Op::Output(index) => self.output(id, node, index)?,
            Op::Lift => self.lift(id, node)?,
            Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::Eq | Op::Ne => match series::comparison(node.op) {
                Some(comparison) => bits(Bits::compare(len, number(0)?, number(1)?, comparison)),
                None => return Err(malformed(id, "not a comparison")),
            },
            Op::Const(_) | Op::Param(_) => return Err(malformed(id, "a scalar marked as a series")),
        })
    }

    fn compute_scalar(&self, id: NodeId, node: &Node) -> Result<Value, EvalError> {
        let mut args = Vec::with_capacity(node.args.len());
        for &arg in &node.args {
            args.push(match self.known(id, arg)? {
                Value::Number(value) => ScalarValue::Number(*value),
                Value::Bool(value) => ScalarValue::Bool(*value),
                _ => return Err(EvalError::NotScalar { node: arg }),
            });
        }
        scalar::apply(id, node.op, &args, &self.current).map(Value::from_scalar)
    }

    /// Number argument `index`.
    fn number(&self, id: NodeId, node: &Node, index: usize) -> Result<Numbers<'_>, EvalError> {
        let &arg = node.args.get(index).ok_or(malformed(id, "an argument is missing"))?;
        match self.known(id, arg)? {
            Value::Number(value) => Ok(Numbers::Scalar(*value)),
            Value::Series(series) => Ok(Numbers::Series(series)),
            _ => Err(malformed(id, "a number is missing")),
        }
    }

    /// A condition argument as one answer per bar.
    fn condition(&self, id: NodeId, arg: NodeId, len: usize) -> Result<Arc<Bits>, EvalError> {
        match self.known(id, arg)? {
            Value::Bool(value) => Ok(Arc::new(Bits::constant(len, *value))),
            Value::Bits(bits) => Ok(bits.clone()),
            _ => Err(malformed(id, "a condition is missing")),
        }
    }

    fn column(&self, frame: u16, column: Column) -> Series {
        let Some(bars) = self.frame_bars(frame) else { return Series::default() };
        Series::new(match bars.column(column) {
            Some(values) => values.to_vec(),
            None => bars.open_time_ms.iter().map(|&ms| ms as f64).collect(),
        })
    }

    fn logic(&self, id: NodeId, node: &Node, len: usize) -> Result<Bits, EvalError> {
        let parts =
            node.args.iter().map(|&arg| self.condition(id, arg, len)).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<&Bits> = parts.iter().map(Arc::as_ref).collect();
        match (node.op, parts.as_slice()) {
            (_, []) => Err(malformed(id, "a condition is missing")),
            (Op::Not, [part, ..]) => Ok(part.not()),
            (Op::And, parts) => Ok(Bits::and(parts)),
            (_, parts) => Ok(Bits::or(parts)),
        }
    }

    fn case(&self, id: NodeId, node: &Node, len: usize) -> Result<Value, EvalError> {
        let Some((&otherwise, pairs)) = node.args.split_last() else {
            return Err(malformed(id, "CASE without a value"));
        };
        let (pairs, rest) = pairs.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(malformed(id, "CASE with a condition but no value"));
        }
        let conditions =
            pairs.iter().map(|pair| self.condition(id, pair[0], len)).collect::<Result<Vec<_>, _>>()?;
        let conditions = conditions.iter().map(Arc::as_ref);
        if node.ty == Type::Bool {
            let values =
                pairs.iter().map(|pair| self.condition(id, pair[1], len)).collect::<Result<Vec<_>, _>>()?;
            let branches: Vec<_> = conditions.zip(values.iter().map(Arc::as_ref)).collect();
            let otherwise = self.condition(id, otherwise, len)?;
            return Ok(Value::Bits(Arc::new(Bits::case(&branches, &otherwise))));
        }
        let mut branches = Vec::with_capacity(pairs.len());
        for (index, condition) in conditions.enumerate() {
            branches.push((condition, self.number(id, node, 2 * index + 1)?));
        }
        let otherwise = self.number(id, node, node.args.len() - 1)?;
        Ok(Value::Series(Arc::new(series::case(len, &branches, otherwise))))
    }

    fn lag_bars(&self, id: NodeId, node: &Node) -> Result<usize, EvalError> {
        match self.number(id, node, 1)? {
            Numbers::Scalar(bars) if bars.fract() == 0.0 && (0.0..=f64::from(MAX_PERIOD)).contains(&bars) => {
                Ok(bars as usize)
            }
            Numbers::Scalar(bars) => Err(EvalError::Lag { node: id, bars }),
            Numbers::Series(_) => Err(malformed(id, "the bars of a lag are a series")),
        }
    }

    fn indicator(
        &self,
        id: NodeId,
        node: &Node,
        def: &'static Indicator,
        len: usize,
    ) -> Result<Value, EvalError> {
        if node.args.len() != def.inputs.len() + def.params.len() {
            return Err(malformed(id, "an indicator with a wrong number of arguments"));
        }
        let mut params = Vec::with_capacity(def.params.len());
        for index in def.inputs.len()..node.args.len() {
            match self.number(id, node, index)? {
                Numbers::Scalar(value) => params.push(value),
                Numbers::Series(_) => return Err(malformed(id, "an indicator's parameter is a series")),
            }
        }
        def.check_params(&params).map_err(|message| EvalError::Indicator { node: id, message })?;
        let mut broadcast = Vec::new();
        for index in 0..def.inputs.len() {
            if let Numbers::Scalar(value) = self.number(id, node, index)? {
                broadcast.push((index, Series::constant(len, value)));
            }
        }
        let mut inputs: Vec<&[f64]> = Vec::with_capacity(def.inputs.len());
        for index in 0..def.inputs.len() {
            inputs.push(match self.number(id, node, index)? {
                Numbers::Series(series) => series,
                Numbers::Scalar(_) => {
                    broadcast.iter().find(|(at, _)| *at == index).map_or(&[], |(_, series)| series)
                }
            });
        }
        let outputs =
            def.compute_many(Isa::detect(), &inputs, &[&params]).into_iter().flatten().map(Arc::new);
        Ok(Value::Bundle(outputs.collect()))
    }

    fn output(&self, id: NodeId, node: &Node, index: u8) -> Result<Value, EvalError> {
        let bundle = node.args.first().ok_or(malformed(id, "an argument is missing"))?;
        match self.known(id, *bundle)? {
            Value::Bundle(outputs) => outputs.get(usize::from(index)).cloned().map(Value::Series),
            _ => None,
        }
        .ok_or(malformed(id, "the indicator has no such output"))
    }

    fn lift(&self, id: NodeId, node: &Node) -> Result<Value, EvalError> {
        let &arg = node.args.first().ok_or(malformed(id, "an argument is missing"))?;
        let frame = usize::from(self.program.node(arg).frame);
        let frame = frame.checked_sub(1).and_then(|index| self.frames.get(index));
        let frame = frame.ok_or(malformed(id, "its argument is not of a higher timeframe"))?;
        match self.known(id, arg)? {
            Value::Series(series) => Ok(Value::Series(Arc::new(Series::new(frame.lift(series))))),
            Value::Bits(bits) => Ok(Value::Bits(Arc::new(frame.lift_bits(bits)))),
            _ => Err(malformed(id, "its argument is not a series")),
        }
    }
}

fn malformed(node: NodeId, reason: &'static str) -> EvalError {
    EvalError::Malformed { node, reason }
}
