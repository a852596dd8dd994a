//! The compiled strategy: a directed acyclic graph of numeric and boolean nodes, with equal subexpressions merged.
//!
//! The strategy language (one crate up) lowers its expressions into a [`Program`] through [`ProgramBuilder`]; the sweep
//! evaluates it in blocks, the reference simulator bar by bar. Nothing here knows names, text or files.
//!
//! **Values.** A node is a number or a boolean, and a *scalar* (depends on parameters and constants only) or a
//! *series* (one value per bar). Where one operand is a series, scalars are broadcast.
//!
//! **Undefined.** Numbers: `NaN`; any operation without a finite result gives it. Booleans have three values; a
//! comparison with an undefined operand is undefined, and `AND`, `OR`, `NOT` are undefined when *any* operand is
//! (not Kleene's tables: `TRUE OR undefined` is undefined). `CASE` is undefined when a condition it reaches is, else it
//! takes the value of the branch it selects. A signal is TRUE only where its node is defined and TRUE.
//!
//! **Frames.** Frame 0 is the bars of the run. Frame k > 0 is a higher timeframe, aggregated from frame 0. A node lives
//! in one frame; [`Op::Lift`] carries a series of a higher frame down to frame 0, where a value is known only once its bar has
//! closed.

use std::collections::HashMap;
use std::fmt;

use crate::bars::Column;
use crate::indicators::Indicator;

/// Index of a node in its [`Program`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The index as a `usize`.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a node computes from its arguments. Arities are those of [`ProgramBuilder::push`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    /// A constant; `NaN` is the undefined number (`NULL`).
    Const(f64),
    /// The parameter with this index, in declaration order.
    Param(u32),
    /// A bar column of the node's frame.
    Column(Column),
    /// `-a`.
    Neg,
    /// `|a|`.
    Abs,
    /// Square root; undefined below 0.
    Sqrt,
    /// Natural logarithm; undefined at and below 0. Evaluated by the `libm` crate: the same bits on every platform.
    Ln,
    /// `e^a`, by the `libm` crate.
    Exp,
    /// The number as the nearest `f32`; undefined beyond its range. Only [`Program::in_precision`] makes it.
    Single,
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`; undefined where `b = 0`.
    Div,
    /// Remainder with the sign of `a` (`a % b`); undefined where `b = 0`.
    Rem,
    /// Smallest of two or more numbers; undefined when any is.
    Least,
    /// Largest of two or more numbers; undefined when any is.
    Greatest,
    /// `a < b`.
    Lt,
    /// `a <= b`.
    Le,
    /// `a > b`.
    Gt,
    /// `a >= b`.
    Ge,
    /// `a = b`, numbers, to the last bit (`-0 = 0`).
    Eq,
    /// `a <> b`, numbers.
    Ne,
    /// Conjunction of two or more booleans.
    And,
    /// Disjunction of two or more booleans.
    Or,
    /// Negation.
    Not,
    /// `c1, v1, c2, v2, ..., otherwise`: the value behind the first TRUE condition. The values are all numbers or all booleans.
    Case,
    /// `x, n`: the value of `x` n bars ago (n a whole scalar >= 0), undefined on the first n bars.
    Lag,
    /// `a[t] > b[t]` and `a[t-1] <= b[t-1]`; undefined where any of the four is, so also on bar 0.
    CrossesAbove,
    /// `a[t] < b[t]` and `a[t-1] >= b[t-1]`.
    CrossesBelow,
    /// An indicator: its input series, then its scalar parameters. The value is a bundle, one series per output.
    Indicator(&'static Indicator),
    /// One output of an [`Op::Indicator`].
    Output(u8),
    /// A series (number or boolean) of a higher frame as seen from frame 0.
    Lift,
}

/// Number or boolean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// `f64`, `NaN` when undefined.
    Number,
    /// TRUE, FALSE or undefined.
    Bool,
    /// All outputs of an indicator; only [`Op::Output`] reads it.
    Bundle,
}

/// One value for the whole run, or one per bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shape {
    /// Depends on parameters and constants only.
    Scalar,
    /// One value per bar of the node's frame.
    Series,
}

/// Set of parameter indices, at most [`MAX_PARAMS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ParamSet(pub u64);

/// Largest number of parameters in a strategy.
pub const MAX_PARAMS: usize = 64;

impl ParamSet {
    /// Whether parameter `index` is in the set.
    pub fn contains(self, index: usize) -> bool {
        index < MAX_PARAMS && self.0 & (1 << index) != 0
    }

    /// The union of two sets.
    #[must_use]
    pub fn union(self, other: ParamSet) -> ParamSet {
        ParamSet(self.0 | other.0)
    }

    /// The indices in the set, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_PARAMS).filter(move |&index| self.contains(index))
    }
}

/// A node of the graph; its arguments come before it in [`Program::nodes`].
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// Its arguments.
    pub args: Vec<NodeId>,
    /// Number, boolean or bundle.
    pub ty: Type,
    /// Scalar or series.
    pub shape: Shape,
    /// Index into [`Program::frames_ms`] plus one; 0 is the run's own bars.
    pub frame: u16,
    /// The parameters its value depends on. Each node is evaluated once per distinct projection onto this set.
    pub params: ParamSet,
}

/// How much to buy or sell; the argument is a scalar node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Size {
    /// Fraction of equity, in (0, 1].
    Equity(NodeId),
    /// Amount of quote currency, above 0, capped by the equity.
    Quote(NodeId),
    /// Fraction of equity lost if the stop is hit, above 0; needs a stop loss.
    Risk(NodeId),
}

/// What the graph is for: signals (boolean nodes of frame 0) and exit and sizing rules (scalar number nodes).
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Enter long.
    pub long_enter: Option<NodeId>,
    /// Leave long.
    pub long_exit: Option<NodeId>,
    /// Enter short.
    pub short_enter: Option<NodeId>,
    /// Leave short.
    pub short_exit: Option<NodeId>,
    /// Fraction of the entry price, in (0, 1).
    pub stop_loss: Option<NodeId>,
    /// Fraction of the entry price, above 0.
    pub take_profit: Option<NodeId>,
    /// Fraction of the best price so far, in (0, 1).
    pub trailing_stop: Option<NodeId>,
    /// Time exit, whole bars from 1.
    pub max_bars: Option<NodeId>,
    /// Whole bars from 0 without entry decisions after an exit.
    pub cooldown: Option<NodeId>,
    /// Position size.
    pub size: Size,
}

/// A compiled strategy.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The graph in topological order.
    pub nodes: Vec<Node>,
    /// Bar lengths of the higher timeframes in milliseconds; frame `k` is `frames_ms[k - 1]`.
    pub frames_ms: Vec<i64>,
    /// Number of parameters; [`Op::Param`] indices are below it.
    pub params: usize,
    /// Signals, exits and sizing.
    pub rules: Rules,
}

impl Program {
    /// The node with this id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }
}

/// Why a node cannot be built. The language reports these with a place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError(pub String);

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BuildError {}

/// Identity of a node for merging equal subexpressions: constants compare by their bits.
#[derive(PartialEq, Eq, Hash)]
struct NodeKey {
    op: String,
    args: Vec<NodeId>,
    frame: u16,
}

/// Builds the graph node by node and merges equal ones.
#[derive(Default)]
pub struct ProgramBuilder {
    nodes: Vec<Node>,
    frames_ms: Vec<i64>,
    params: usize,
    known: HashMap<NodeKey, NodeId>,
}

impl ProgramBuilder {
    /// A builder for a strategy with `params` parameters.
    pub fn new(params: usize) -> ProgramBuilder {
        ProgramBuilder { params, ..ProgramBuilder::default() }
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The frame of a higher timeframe with bars of `interval_ms`, added if it is new.
    ///
    /// # Errors
    /// More than `u16::MAX` frames.
    pub fn frame(&mut self, interval_ms: i64) -> Result<u16, BuildError> {
        let index = match self.frames_ms.iter().position(|&known| known == interval_ms) {
            Some(index) => index,
            None => {
                self.frames_ms.push(interval_ms);
                self.frames_ms.len() - 1
            }
        };
        u16::try_from(index + 1).map_err(|_| BuildError("too many timeframes".to_owned()))
    }

    /// Adds a node of `frame` (or finds its equal) after checking arity, types and shapes. Scalars belong to frame 0
    /// and may be arguments in any frame.
    ///
    /// # Errors
    /// What is wrong with the arguments, in the language's words.
    pub fn push(&mut self, op: Op, args: &[NodeId], frame: u16) -> Result<NodeId, BuildError> {
        let (ty, shape) = self.check(op, args, frame)?;
        let frame = match (shape, op) {
            (Shape::Scalar, _) | (_, Op::Lift) => 0,
            _ => frame,
        };
        let label = match op {
            Op::Const(value) => format!("Const({:016x})", value.to_bits()),
            other => format!("{other:?}"),
        };
        let key = NodeKey { op: label, args: args.to_vec(), frame };
        if let Some(&known) = self.known.get(&key) {
            return Ok(known);
        }
        let mut params = args.iter().fold(ParamSet::default(), |set, &arg| set.union(self.node(arg).params));
        if let Op::Param(index) = op {
            params = ParamSet(1 << index);
        }
        let id = u32::try_from(self.nodes.len())
            .map(NodeId)
            .map_err(|_| BuildError("strategy too large".to_owned()))?;
        self.nodes.push(Node { op, args: args.to_vec(), ty, shape, frame, params });
        self.known.insert(key, id);
        Ok(id)
    }

    /// Ends the graph.
    pub fn finish(self, rules: Rules) -> Program {
        Program { nodes: self.nodes, frames_ms: self.frames_ms, params: self.params, rules }
    }

    fn check(&self, op: Op, args: &[NodeId], frame: u16) -> Result<(Type, Shape), BuildError> {
        let fail = |message: String| Err(BuildError(message));
        let shape = args.iter().map(|&arg| self.node(arg).shape).max().unwrap_or(Shape::Scalar);
        let all = |ty: Type| args.iter().all(|&arg| self.node(arg).ty == ty);
        for &arg in args {
            let node = self.node(arg);
            if node.shape == Shape::Series && node.frame != frame {
                return fail(format!("a series of timeframe {} is used in timeframe {frame}", node.frame));
            }
        }
        let arity = |ok: bool, wanted: &str| {
            if ok {
                Ok(())
            } else {
                Err(BuildError(format!("takes {wanted} arguments, {} given", args.len())))
            }
        };
        let want = |ty: Type| {
            let name = if ty == Type::Bool { "conditions (TRUE or FALSE)" } else { "numbers" };
            if all(ty) { Ok(()) } else { Err(BuildError(format!("takes {name}"))) }
        };
        match op {
            Op::Const(_) => arity(args.is_empty(), "no").map(|()| (Type::Number, Shape::Scalar)),
            Op::Param(index) if (index as usize) >= self.params.min(MAX_PARAMS) => {
                fail(format!("parameter {index} of {} (at most {MAX_PARAMS})", self.params))
            }
            Op::Param(_) => arity(args.is_empty(), "no").map(|()| (Type::Number, Shape::Scalar)),
            Op::Column(_) => arity(args.is_empty(), "no").map(|()| (Type::Number, Shape::Series)),
            Op::Neg | Op::Abs | Op::Sqrt | Op::Ln | Op::Exp => {
                arity(args.len() == 1, "1")?;
                want(Type::Number).map(|()| (Type::Number, shape))
            }
            Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem => {
                arity(args.len() == 2, "2")?;
                want(Type::Number).map(|()| (Type::Number, shape))
            }
            Op::Least | Op::Greatest => {
                arity(args.len() >= 2, "2 or more")?;
                want(Type::Number).map(|()| (Type::Number, shape))
            }
            Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::Eq | Op::Ne => {
                arity(args.len() == 2, "2")?;
                want(Type::Number).map(|()| (Type::Bool, shape))
            }
            Op::CrossesAbove | Op::CrossesBelow => {
                arity(args.len() == 2, "2")?;
                want(Type::Number).map(|()| (Type::Bool, Shape::Series))
            }
            Op::And | Op::Or => {
                arity(args.len() >= 2, "2 or more")?;
                want(Type::Bool).map(|()| (Type::Bool, shape))
            }
            Op::Not => {
                arity(args.len() == 1, "1")?;
                want(Type::Bool).map(|()| (Type::Bool, shape))
            }
            Op::Case => {
                arity(args.len() >= 3 && args.len() % 2 == 1, "condition, value pairs and a last value as")?;
                let ty = self.node(args[args.len() - 1]).ty;
                for (index, &arg) in args.iter().enumerate() {
                    let is_condition = index % 2 == 0 && index + 1 != args.len();
                    let wanted = if is_condition { Type::Bool } else { ty };
                    if self.node(arg).ty != wanted {
                        return fail(
                            "needs conditions after WHEN and values of one type after THEN and ELSE"
                                .to_owned(),
                        );
                    }
                }
                Ok((ty, shape))
            }
            Op::Lag => {
                arity(args.len() == 2, "2")?;
                want(Type::Number)?;
                if self.node(args[1]).shape == Shape::Series {
                    return fail("needs a number of bars that is a constant or a parameter".to_owned());
                }
                Ok((Type::Number, Shape::Series))
            }
            Op::Indicator(def) => {
                let expected = def.inputs.len() + def.params.len();
                arity(args.len() == expected, &expected.to_string())?;
                want(Type::Number)?;
                for (param, &arg) in def.params.iter().zip(&args[def.inputs.len()..]) {
                    if self.node(arg).shape == Shape::Series {
                        return fail(format!(
                            "needs a constant or a parameter for {}, not a series",
                            param.name
                        ));
                    }
                }
                Ok((Type::Bundle, Shape::Series))
            }
            Op::Output(index) => match args {
                [bundle] => match self.node(*bundle).op {
                    Op::Indicator(def) if (index as usize) < def.outputs.len() => {
                        Ok((Type::Number, Shape::Series))
                    }
                    _ => fail("reads an output that the indicator does not have".to_owned()),
                },
                _ => fail("reads one indicator".to_owned()),
            },
            Op::Single => fail("is not an operation of a strategy".to_owned()),
            Op::Lift => match args {
                [series] if self.node(*series).shape == Shape::Scalar => fail("needs a series".to_owned()),
                [series] if frame != 0 && self.node(*series).ty != Type::Bundle => {
                    Ok((self.node(*series).ty, Shape::Series))
                }
                _ => fail("takes one series of a higher timeframe".to_owned()),
            },
        }
    }
}
