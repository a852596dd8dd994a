//! The part of a program that is computed tile by tile, as steps over leaves and scalars.
//!
//! A comparison and a cross of the same two numbers share one *ordering*. A step is *private* when it depends on every
//! parameter that varies in the block: each combination then has its own, computed when it is needed and not kept.

use crate::evaluate::{EvalError, may_be_in_parts};
use crate::program::{NodeId, Op, ParamSet, Program, Shape, Type};
use crate::sim::Side;
use std::collections::HashMap;

/// Where an operand comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Arg {
    /// Index into [`TileProgram::leaves`].
    Leaf(usize),
    /// Index into [`TileProgram::scalars`].
    Scalar(usize),
    /// Index into [`TileProgram::steps`].
    Step(usize),
}

/// What a step computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Numbers, by [`Step::op`].
    Number,
    /// Where `a > b`, where `a = b`, where both are defined.
    Order,
    /// A comparison, from an ordering.
    Compare(Op),
    /// A cross, from an ordering.
    Cross {
        /// Upwards.
        above: bool,
    },
    /// `And`, `Or` or `Not`.
    Logic(Op),
    /// `Case` of conditions.
    ConditionCase,
}

/// One operation.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) kind: Kind,
    /// Whether its numbers are rounded to `f32`.
    pub(super) is_single: bool,
    pub(super) args: Vec<Arg>,
    pub(super) params: ParamSet,
    /// Whether several combinations may share its values.
    pub(super) is_shared: bool,
    /// Place among the shared steps, or among the private ones.
    pub(super) place: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct TileProgram {
    /// Nodes that are evaluated over the whole series.
    pub(super) leaves: Vec<NodeId>,
    /// Per leaf whether it can be computed in parts instead.
    pub(super) in_parts: Vec<bool>,
    /// Scalar nodes.
    pub(super) scalars: Vec<NodeId>,
    /// Operations, arguments before users.
    pub(super) steps: Vec<Step>,
    /// Indices of the shared steps.
    pub(super) shared: Vec<usize>,
    /// Indices of the private steps.
    pub(super) private: Vec<usize>,
    /// Long enter, long exit, short enter, short exit.
    pub(super) roots: [Option<Arg>; 4],
}

struct Compiler<'p> {
    program: &'p Program,
    varying: ParamSet,
    out: TileProgram,
    known: HashMap<NodeId, Arg>,
    orders: HashMap<(Arg, Arg), Arg>,
}

impl TileProgram {
    /// Compiles the signals of a program for a block in which the parameters `varying` take several values.
    ///
    /// # Errors
    /// A node that cannot be a condition on the run's bars.
    pub(super) fn new(program: &Program, varying: ParamSet) -> Result<TileProgram, EvalError> {
        let out = TileProgram {
            leaves: Vec::new(),
            in_parts: Vec::new(),
            scalars: Vec::new(),
            steps: Vec::new(),
            shared: Vec::new(),
            private: Vec::new(),
            roots: [None; 4],
        };
        let mut compiler = Compiler { program, varying, out, known: HashMap::new(), orders: HashMap::new() };
        let rules = &program.rules;
        let signals = [rules.long_enter, rules.long_exit, rules.short_enter, rules.short_exit];
        for (index, signal) in signals.into_iter().enumerate() {
            compiler.out.roots[index] = match signal {
                Some(node) => Some(compiler.arg(node)?),
                None => None,
            };
        }
        Ok(compiler.out)
    }

    /// The side that is traded, if not both.
    pub(super) fn side(&self) -> Option<Side> {
        let [long_enter, _, short_enter, _] = self.roots;
        match (long_enter, short_enter) {
            (Some(_), Some(_)) => None,
            (None, Some(_)) => Some(Side::Short),
            (_, None) => Some(Side::Long),
        }
    }
}

impl Compiler<'_> {
    fn arg(&mut self, id: NodeId) -> Result<Arg, EvalError> {
        if let Some(&known) = self.known.get(&id) {
            return Ok(known);
        }
        let node = self.program.node(id);
        let arg = if node.shape == Shape::Scalar {
            self.out.scalars.push(id);
            Arg::Scalar(self.out.scalars.len() - 1)
        } else if node.frame != 0 || node.ty == Type::Bundle {
            return Err(EvalError::Malformed { node: id, reason: "a signal reads another timeframe" });
        } else {
            // What is rounded is one step with the operation that makes it, or one leaf with the series that it is.
            let made = match (node.op, node.args.as_slice()) {
                (Op::Single, &[made]) => made,
                _ => id,
            };
            match kind_of(self.program.node(made).op, node.ty) {
                None => {
                    self.out.leaves.push(id);
                    self.out.in_parts.push(may_be_in_parts(self.program, id).is_some());
                    Arg::Leaf(self.out.leaves.len() - 1)
                }
                Some(kind) => self.step(made, kind, made != id)?,
            }
        };
        self.known.insert(id, arg);
        Ok(arg)
    }

    fn step(&mut self, id: NodeId, kind: Kind, is_single: bool) -> Result<Arg, EvalError> {
        let node = self.program.node(id);
        let mut args = Vec::with_capacity(node.args.len());
        for &arg in &node.args {
            args.push(self.arg(arg)?);
        }
        if matches!(kind, Kind::Compare(_) | Kind::Cross { .. }) {
            let pair = (args[0], args[1]);
            let order = match self.orders.get(&pair) {
                Some(&order) => order,
                None => self.push(node.op, Kind::Order, false, args, node.params),
            };
            self.orders.insert(pair, order);
            args = vec![order];
        }
        Ok(self.push(node.op, kind, is_single, args, node.params))
    }

    fn push(&mut self, op: Op, kind: Kind, is_single: bool, args: Vec<Arg>, params: ParamSet) -> Arg {
        let out = &mut self.out;
        let is_shared = self.varying.0 & !params.0 != 0 || self.varying.0 == 0;
        let index = out.steps.len();
        let list = if is_shared { &mut out.shared } else { &mut out.private };
        list.push(index);
        let place = list.len() - 1;
        out.steps.push(Step { op, kind, is_single, args, params, is_shared, place });
        Arg::Step(index)
    }
}

/// `None` for what has a memory or comes whole from somewhere else.
fn kind_of(op: Op, ty: Type) -> Option<Kind> {
    Some(match op {
        Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::Eq | Op::Ne => Kind::Compare(op),
        Op::CrossesAbove => Kind::Cross { above: true },
        Op::CrossesBelow => Kind::Cross { above: false },
        Op::And | Op::Or | Op::Not => Kind::Logic(op),
        Op::Case if ty == Type::Bool => Kind::ConditionCase,
        Op::Case
        | Op::Neg
        | Op::Abs
        | Op::Sqrt
        | Op::Ln
        | Op::Exp
        | Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Div
        | Op::Rem
        | Op::Least
        | Op::Greatest => Kind::Number,
        _ => return None,
    })
}
