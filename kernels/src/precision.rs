//! How wide the numbers of a strategy's signals are.
//!
//! In [`Precision::F32`] every number that takes part in the arithmetic or a comparison of a signal is an `f32`: columns,
//! indicator outputs, constants and parameters are rounded where they enter, and every operation gives an `f32`. What an
//! indicator reads (its input series and its parameters, with the arithmetic inside them) and how many bars a lag goes back
//! stay `f64`, and so do exit and sizing rules, fills, money and statistics. [`Program::in_precision`] writes this into the
//! graph itself, as [`Op::Single`] nodes; whoever evaluates the graph needs no other rule.

use std::fmt;
use std::str::FromStr;

use crate::program::{Node, NodeId, Op, Program, Type};

/// Width of the numbers of signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// IEEE 754 binary64.
    #[default]
    F64,
    /// IEEE 754 binary32: what consumer GPUs are fast at.
    F32,
}

impl Precision {
    /// `f64` or `f32`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F64 => "f64",
            Precision::F32 => "f32",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Neither `f64` nor `f32`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsePrecisionError(String);

impl fmt::Display for ParsePrecisionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a precision; write f64 or f32", self.0)
    }
}

impl std::error::Error for ParsePrecisionError {}

impl FromStr for Precision {
    type Err = ParsePrecisionError;

    fn from_str(text: &str) -> Result<Precision, ParsePrecisionError> {
        let all = [Precision::F64, Precision::F32];
        let known = all.into_iter().find(|precision| precision.name() == text);
        known.ok_or_else(|| ParsePrecisionError(text.to_owned()))
    }
}

/// The number rounded to the nearest `f32` (ties to even); undefined where it is, and beyond the range of `f32`, as every
/// result that is not finite.
///
/// For `+ - * /` and the square root of two `f32`, this of the `f64` result is the `f32` operation's own result to the bit:
/// rounding twice is harmless where the wider format has at least twice the digits of the narrower one and two more
/// (53 >= 2 * 24 + 2; Figueroa 1995), and where the result is a subnormal `f32` its midpoints have 24 bits at most, so that
/// no quotient comes near enough to one. A remainder is exact in both. Any other function is *defined* as this.
#[inline(always)]
pub(crate) fn single(value: f64) -> f64 {
    crate::series::finite(f64::from(value as f32))
}

impl Program {
    /// The program with its signals in `precision`; unchanged for [`Precision::F64`] and if they are in it already. All
    /// nodes keep their ids, rules that are not signals keep their nodes, and the nodes of `f32` signals follow.
    #[must_use]
    pub fn in_precision(&self, precision: Precision) -> Program {
        let mut program = self.clone();
        if precision == self.precision() || precision == Precision::F64 {
            return program;
        }
        let rules = &mut program.rules;
        let signals =
            [&mut rules.long_enter, &mut rules.long_exit, &mut rules.short_enter, &mut rules.short_exit];
        let mut lowering = Lowering { nodes: &self.nodes, added: Vec::new() };
        let singles = lowering.all(signals.iter().filter_map(|signal| **signal));
        for signal in signals {
            *signal = signal.map(|id| single_of(&singles, id));
        }
        program.nodes.append(&mut lowering.added);
        program
    }

    /// The precision of its signals.
    pub fn precision(&self) -> Precision {
        // Every number of an `f32` signal goes back to one that was rounded, and nobody else makes such nodes.
        let is_single = self.nodes.iter().any(|node| node.op == Op::Single);
        if is_single { Precision::F32 } else { Precision::F64 }
    }
}

/// The `f32` twin of a node; the node itself where it has none, which is so for ids that the program lacks.
fn single_of(singles: &[Option<NodeId>], id: NodeId) -> NodeId {
    singles.get(id.index()).copied().flatten().unwrap_or(id)
}

struct Lowering<'n> {
    nodes: &'n [Node],
    added: Vec<Node>,
}

impl Lowering<'_> {
    /// Adds the twins of `roots` and of what they are made of: per node its twin, if it needs one.
    fn all(&mut self, roots: impl Iterator<Item = NodeId>) -> Vec<Option<NodeId>> {
        let mut needed = vec![false; self.nodes.len()];
        let need = |needed: &mut Vec<bool>, id: NodeId| {
            if let Some(needed) = needed.get_mut(id.index()) {
                *needed = true;
            }
        };
        roots.for_each(|root| need(&mut needed, root));
        for index in (0..self.nodes.len()).rev() {
            if needed[index] {
                for &arg in single_args(&self.nodes[index]) {
                    need(&mut needed, arg);
                }
            }
        }
        let mut singles = vec![None; self.nodes.len()];
        for index in 0..self.nodes.len() {
            if needed[index] {
                singles[index] = Some(self.twin(index, &singles));
            }
        }
        singles
    }

    fn twin(&mut self, index: usize, singles: &[Option<NodeId>]) -> NodeId {
        let nodes = self.nodes;
        let node = &nodes[index];
        if is_source(node) {
            return self.push(Op::Single, vec![NodeId(index as u32)], node);
        }
        let kept = single_args(node).len();
        let args = node.args.iter().enumerate();
        let args = args.map(|(at, &arg)| if at < kept { single_of(singles, arg) } else { arg }).collect();
        let twin = self.push(node.op, args, node);
        if is_rounded(node.op) { self.push(Op::Single, vec![twin], node) } else { twin }
    }

    /// A node like `like`, with another operation and other arguments.
    fn push(&mut self, op: Op, args: Vec<NodeId>, like: &Node) -> NodeId {
        // Ids are 32 bits wide, and a strategy document of a bounded size makes no four thousand million nodes.
        let id = NodeId((self.nodes.len() + self.added.len()) as u32);
        self.added.push(Node { op, args, ..like.clone() });
        id
    }
}

/// Whether a number comes from outside the arithmetic of signals.
fn is_source(node: &Node) -> bool {
    node.ty == Type::Number && matches!(node.op, Op::Const(_) | Op::Param(_) | Op::Column(_) | Op::Output(_))
}

/// The arguments that are rounded, too: the first ones.
fn single_args(node: &Node) -> &[NodeId] {
    match node.op {
        Op::Const(_) | Op::Param(_) | Op::Column(_) | Op::Output(_) | Op::Indicator(_) => &[],
        Op::Lag => node.args.get(..1).unwrap_or_default(),
        _ => &node.args,
    }
}

/// Whether an operation on `f32` numbers may give one that is none. The others give an argument, or its negative.
fn is_rounded(op: Op) -> bool {
    matches!(op, Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem | Op::Sqrt | Op::Ln | Op::Exp)
}
