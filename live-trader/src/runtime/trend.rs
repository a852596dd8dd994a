//! Which condition on a higher timeframe keeps a strategy out.
//!
//! An entry condition is split at its ANDs. Where a part that reads a higher timeframe is not TRUE and all parts that read none are,
//! the trend is what keeps the strategy out, and the first such part is named, written back from the compiled program.

use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::program::{NodeId, Op, Program};
use polybolos_engine::signals::{Signals, Value};

/// The condition on a higher timeframe that keeps `signals` from entering, in words of the strategy language.
pub(super) fn holding_back(program: &Program, values: &[f64], signals: &Signals) -> Option<String> {
    let mut parts = Vec::new();
    conjuncts(program, program.rules.long_enter?, &mut parts);
    let is_true = |id: &NodeId| signals.value(*id) == Value::Condition(Some(true));
    let (higher, own): (Vec<NodeId>, Vec<NodeId>) =
        parts.into_iter().partition(|id| reads_higher(program, *id));
    if !own.iter().all(is_true) {
        return None;
    }
    let failing = higher.iter().find(|id| !is_true(id))?;
    Some(Writer { program, values }.text(*failing))
}

fn conjuncts(program: &Program, id: NodeId, parts: &mut Vec<NodeId>) {
    match program.nodes.get(id.index()) {
        Some(node) if node.op == Op::And => node.args.iter().for_each(|arg| conjuncts(program, *arg, parts)),
        _ => parts.push(id),
    }
}

fn reads_higher(program: &Program, id: NodeId) -> bool {
    program
        .nodes
        .get(id.index())
        .is_some_and(|node| node.frame > 0 || node.args.iter().any(|arg| reads_higher(program, *arg)))
}

struct Writer<'a> {
    program: &'a Program,
    values: &'a [f64],
}

impl Writer<'_> {
    fn text(&self, id: NodeId) -> String {
        let Some(node) = self.program.nodes.get(id.index()) else {
            return "?".to_owned();
        };
        let arguments = || node.args.iter().map(|arg| self.text(*arg)).collect::<Vec<_>>();
        let infix = |sign: &str| {
            let operand = |arg: &NodeId| match self.is_infix(*arg) {
                true => format!("({})", self.text(*arg)),
                false => self.text(*arg),
            };
            node.args.iter().map(operand).collect::<Vec<_>>().join(sign)
        };
        let call = |name: &str| format!("{name}({})", arguments().join(", "));
        match node.op {
            Op::Const(value) => value.to_string(),
            Op::Param(index) => {
                self.values.get(index as usize).map_or_else(|| "?".to_owned(), f64::to_string)
            }
            Op::Column(column) => column.name().to_owned(),
            Op::Lift => {
                let frame = node.args.first().and_then(|arg| self.program.nodes.get(arg.index()));
                format!(
                    "tf('{}', {})",
                    frame.map_or_else(String::new, |node| self.frame(node.frame)),
                    arguments().join(", ")
                )
            }
            Op::Output(index) => self.output(node.args.first().copied(), index),
            Op::Indicator(indicator) => call(indicator.name),
            Op::Single => arguments().join(", "),
            other => match sign(other) {
                Some(sign) => infix(sign),
                None => call(&word(other)),
            },
        }
    }

    fn is_infix(&self, id: NodeId) -> bool {
        self.program.nodes.get(id.index()).is_some_and(|node| sign(node.op).is_some())
    }

    fn frame(&self, frame: u16) -> String {
        let length = usize::from(frame).checked_sub(1).and_then(|index| self.program.frames_ms.get(index));
        let name =
            |ms: &i64| Interval::from_ms(*ms).map_or_else(|| format!("{ms} ms"), |i| i.name().to_owned());
        length.map_or_else(String::new, name)
    }

    /// An output is what the language calls; its indicator's arguments are its own.
    fn output(&self, bundle: Option<NodeId>, index: u8) -> String {
        let node = bundle.and_then(|id| self.program.nodes.get(id.index()));
        let Some((Op::Indicator(indicator), node)) = node.map(|node| (node.op, node)) else {
            return "?".to_owned();
        };
        let name = indicator.outputs.get(usize::from(index)).unwrap_or(&indicator.name);
        // Inputs that are called like bar columns are not written in the language.
        let is_written = |(at, _): &(usize, &NodeId)| {
            indicator
                .inputs
                .get(*at)
                .is_none_or(|input| *input == "x" || indicator.inputs.len() > 1 && *input == "y")
        };
        let arguments: Vec<String> =
            node.args.iter().enumerate().filter(is_written).map(|(_, arg)| self.text(*arg)).collect();
        format!("{name}({})", arguments.join(", "))
    }
}

fn sign(op: Op) -> Option<&'static str> {
    Some(match op {
        Op::Add => " + ",
        Op::Sub => " - ",
        Op::Mul => " * ",
        Op::Div => " / ",
        Op::Rem => " % ",
        Op::Lt => " < ",
        Op::Le => " <= ",
        Op::Gt => " > ",
        Op::Ge => " >= ",
        Op::Eq => " = ",
        Op::Ne => " <> ",
        Op::And => " and ",
        Op::Or => " or ",
        _ => return None,
    })
}

fn word(op: Op) -> String {
    match op {
        Op::CrossesAbove => "crosses_above".to_owned(),
        Op::CrossesBelow => "crosses_below".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}
