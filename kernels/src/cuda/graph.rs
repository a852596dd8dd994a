//! Where each node of a program is computed: comparisons, conditions and arithmetic on the device, also the indicators in which
//! a bar depends on the bar before; every other series on the processor, once per distinct value, and uploaded.

use crate::indicators::Indicator;
use crate::program::{NodeId, Op, Program, Shape, Type};

use super::operations::{Arithmetic, CompareOp, LogicOp, Recursive};

/// How one node comes to the device. Indices are of earlier steps.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// A series of numbers from the processor.
    Series,
    /// One that indicators read in `f64` while comparisons are made in `f32`. It depends on no parameter.
    Input,
    /// An indicator of series that depend on no parameter.
    Indicator { kind: Recursive, def: &'static Indicator, inputs: Vec<usize>, period: NodeId },
    /// Arithmetic on two of series and numbers.
    Arithmetic { op: Arithmetic, args: [usize; 2] },
    /// A number for all bars.
    Scalar,
    /// A comparison of two of the above. `twin` is the later step that is the other cross of the same two: computed together.
    Compare { op: CompareOp, args: [usize; 2], twin: Option<usize> },
    /// The twin of an earlier step.
    Twin { args: [usize; 2] },
    /// A series of conditions from the processor, or one condition for all bars.
    Bits,
    /// Conditions joined.
    Logic { op: LogicOp, args: Vec<usize> },
}

impl Step {
    /// Whether its values are numbers per bar that comparisons read.
    pub(super) fn is_series(&self) -> bool {
        matches!(self, Step::Series | Step::Indicator { .. } | Step::Arithmetic { .. })
    }

    /// Whether its values are conditions per bar.
    pub(super) fn is_condition(&self) -> bool {
        matches!(self, Step::Compare { .. } | Step::Twin { .. } | Step::Bits | Step::Logic { .. })
    }
}

/// The nodes that signals need, arguments before users.
#[derive(Debug)]
pub(super) struct Graph {
    /// What is computed, and of which node it is the value.
    pub(super) steps: Vec<(NodeId, Step)>,
    /// The step of each of long entry, long exit, short entry, short exit; `None` if the program lacks it.
    pub(super) signals: [Option<usize>; 4],
}

impl Graph {
    /// Places the nodes of a program that has passed the checks of a sweep.
    pub(super) fn new(program: &Program) -> Graph {
        let rules = &program.rules;
        let mut graph = Graph { steps: Vec::new(), signals: [None; 4] };
        let signals = [rules.long_enter, rules.long_exit, rules.short_enter, rules.short_exit];
        graph.signals = signals.map(|signal| Some(graph.condition(program, signal?)));
        graph
    }

    fn add(&mut self, node: NodeId, step: Step) -> usize {
        self.steps.push((node, step));
        self.steps.len() - 1
    }

    fn known(&self, node: NodeId) -> Option<usize> {
        self.steps.iter().position(|&(known, _)| known == node)
    }

    fn condition(&mut self, program: &Program, id: NodeId) -> usize {
        if let Some(step) = self.known(id) {
            return step;
        }
        let node = program.node(id);
        let is_here = node.shape == Shape::Series && node.frame == 0 && node.ty == Type::Bool;
        let step = match (node.op, node.args.as_slice()) {
            _ if !is_here => Step::Bits,
            (op, args) => match (comparison(op), logic(op), args) {
                (Some(op), _, &[a, b]) => {
                    let args = [self.number(program, a), self.number(program, b)];
                    self.comparison(op, args)
                }
                (_, Some(op), args) => {
                    let args = args.iter().map(|&arg| self.condition(program, arg)).collect();
                    Step::Logic { op, args }
                }
                _ => Step::Bits,
            },
        };
        self.add(id, step)
    }

    /// A comparison, or the twin of one that is there: what enters on a cross often leaves on the opposite one.
    fn comparison(&mut self, op: CompareOp, args: [usize; 2]) -> Step {
        let opposite = match op {
            CompareOp::CrossesAbove => CompareOp::CrossesBelow,
            CompareOp::CrossesBelow => CompareOp::CrossesAbove,
            _ => return Step::Compare { op, args, twin: None },
        };
        let here = self.steps.len();
        let wanted = Step::Compare { op: opposite, args, twin: None };
        match self.steps.iter_mut().find(|(_, step)| *step == wanted) {
            Some((_, Step::Compare { twin, .. })) => {
                *twin = Some(here);
                Step::Twin { args }
            }
            _ => Step::Compare { op, args, twin: None },
        }
    }

    fn number(&mut self, program: &Program, id: NodeId) -> usize {
        if let Some(step) = self.known(id) {
            return step;
        }
        let node = program.node(id);
        let step = if node.shape == Shape::Scalar {
            Step::Scalar
        } else {
            let step = self.indicator(program, id).or_else(|| self.arithmetic(program, id));
            step.unwrap_or(Step::Series)
        };
        self.add(id, step)
    }

    /// Arithmetic on the run's own bars, rounded or not.
    fn arithmetic(&mut self, program: &Program, id: NodeId) -> Option<Step> {
        let node = program.node(id);
        let made = match (node.op, node.args.as_slice()) {
            (Op::Single, &[made]) => program.node(made),
            _ => node,
        };
        let (op, &[a, b], 0) = (arithmetic(made.op)?, made.args.as_slice(), made.frame) else { return None };
        Some(Step::Arithmetic { op, args: [self.number(program, a), self.number(program, b)] })
    }

    /// The indicator whose only output this node is, rounded or not, if the device computes it.
    fn indicator(&mut self, program: &Program, id: NodeId) -> Option<Step> {
        let node = program.node(id);
        let (output, read_as) = match (node.op, node.args.as_slice()) {
            (Op::Single, &[output]) => (program.node(output), Step::Input),
            _ => (node, Step::Series),
        };
        let bundle = program.node(*output.args.first()?);
        let (Op::Output(0), Op::Indicator(def), 0) = (output.op, bundle.op, output.frame) else {
            return None;
        };
        let kind = Recursive::from_name(def.name)?;
        let (inputs, params) = bundle.args.split_at_checked(def.inputs.len())?;
        let &[period] = params else { return None };
        let is_plain = |&input: &NodeId| {
            let input = program.node(input);
            input.params.iter().next().is_none() && input.shape == Shape::Series
        };
        if !inputs.iter().all(is_plain) {
            return None;
        }
        // An indicator of an indicator waits for a second launch; its input comes from the processor instead.
        let inputs = inputs.iter().map(|&input| match self.known(input) {
            Some(step) if self.steps[step].1 == read_as => step,
            _ => self.add(input, read_as.clone()),
        });
        Some(Step::Indicator { kind, def, inputs: inputs.collect(), period })
    }
}

fn arithmetic(op: Op) -> Option<Arithmetic> {
    Some(match op {
        Op::Add => Arithmetic::Add,
        Op::Sub => Arithmetic::Sub,
        Op::Mul => Arithmetic::Mul,
        Op::Div => Arithmetic::Div,
        _ => return None,
    })
}

fn comparison(op: Op) -> Option<CompareOp> {
    Some(match op {
        Op::Lt => CompareOp::Lt,
        Op::Le => CompareOp::Le,
        Op::Gt => CompareOp::Gt,
        Op::Ge => CompareOp::Ge,
        Op::Eq => CompareOp::Eq,
        Op::Ne => CompareOp::Ne,
        Op::CrossesAbove => CompareOp::CrossesAbove,
        Op::CrossesBelow => CompareOp::CrossesBelow,
        _ => return None,
    })
}

fn logic(op: Op) -> Option<LogicOp> {
    Some(match op {
        Op::And => LogicOp::And,
        Op::Or => LogicOp::Or,
        Op::Not => LogicOp::Not,
        Op::Case => LogicOp::Case,
        _ => return None,
    })
}
