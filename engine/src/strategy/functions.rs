//! The functions of the language: every output of every indicator, and one row of [`BUILTINS`] for each other one.

use polybolos_kernels::bars::Column;
use polybolos_kernels::indicators::{INDICATORS, Indicator, by_output};
use polybolos_kernels::program::Op;

/// How a call becomes nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body {
    /// One output of an indicator.
    Indicator(&'static Indicator, u8),
    /// Numbers in, one node.
    Node(Op),
    /// `lag`: its second argument is a whole scalar.
    Lag,
    /// `tf`: its first argument is an interval in quotes.
    Timeframe,
}

/// How many arguments a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arity {
    Exactly(usize),
    TwoOrMore,
}

struct Builtin {
    name: &'static str,
    arguments: &'static str,
    summary: &'static str,
    arity: Arity,
    body: Body,
}

const fn builtin(
    name: &'static str,
    arguments: &'static str,
    summary: &'static str,
    arity: Arity,
    body: Body,
) -> Builtin {
    Builtin { name, arguments, summary, arity, body }
}

use Arity::{Exactly, TwoOrMore};

static BUILTINS: &[Builtin] = &[
    builtin("lag", "x, n", "x as it was n bars ago", Exactly(2), Body::Lag),
    builtin(
        "crosses_above",
        "a, b",
        "TRUE on the bar on which a rises above b",
        Exactly(2),
        Body::Node(Op::CrossesAbove),
    ),
    builtin(
        "crosses_below",
        "a, b",
        "TRUE on the bar on which a falls below b",
        Exactly(2),
        Body::Node(Op::CrossesBelow),
    ),
    builtin("abs", "x", "absolute value", Exactly(1), Body::Node(Op::Abs)),
    builtin("sqrt", "x", "square root; undefined below 0", Exactly(1), Body::Node(Op::Sqrt)),
    builtin("ln", "x", "natural logarithm; undefined at and below 0", Exactly(1), Body::Node(Op::Ln)),
    builtin("exp", "x", "e to the power of x", Exactly(1), Body::Node(Op::Exp)),
    builtin("least", "a, b, ...", "the smallest of two or more numbers", TwoOrMore, Body::Node(Op::Least)),
    builtin(
        "greatest",
        "a, b, ...",
        "the largest of two or more numbers",
        TwoOrMore,
        Body::Node(Op::Greatest),
    ),
    builtin(
        "tf",
        "'interval', x",
        "x on longer bars, known once such a bar has closed",
        Exactly(2),
        Body::Timeframe,
    ),
];

/// A function of the language, for documentation, editors and error messages.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name, lower case.
    pub name: &'static str,
    /// Its arguments, e.g. `x, n`.
    pub arguments: String,
    /// What it computes.
    pub summary: &'static str,
    pub(crate) arity: Arity,
    pub(crate) body: Body,
}

impl Function {
    /// The call as it is written, e.g. `sma(x, n)`.
    pub fn signature(&self) -> String {
        format!("{}({})", self.name, self.arguments)
    }
}

/// Inputs that a call must name; the others are columns of the bars.
pub(crate) fn explicit_inputs(indicator: &Indicator) -> usize {
    indicator.inputs.iter().filter(|input| Column::from_name(input).is_none()).count()
}

fn from_output(indicator: &'static Indicator, output: usize) -> Option<Function> {
    let inputs = indicator.inputs.iter().filter(|input| Column::from_name(input).is_none()).copied();
    let arguments: Vec<&str> = inputs.chain(indicator.params.iter().map(|param| param.name)).collect();
    Some(Function {
        name: indicator.outputs.get(output)?,
        arguments: arguments.join(", "),
        summary: indicator.summary,
        arity: Exactly(arguments.len()),
        body: Body::Indicator(indicator, u8::try_from(output).ok()?),
    })
}

fn from_builtin(row: &Builtin) -> Function {
    Function {
        name: row.name,
        arguments: row.arguments.to_owned(),
        summary: row.summary,
        arity: row.arity,
        body: row.body,
    }
}

/// Every function of the language: indicators by name, then the others.
pub fn functions() -> Vec<Function> {
    let outputs = INDICATORS.iter().flat_map(|indicator| {
        (0..indicator.outputs.len()).filter_map(|output| from_output(indicator, output))
    });
    outputs.chain(BUILTINS.iter().map(from_builtin)).collect()
}

/// The function with this lower-case name.
pub(crate) fn find(name: &str) -> Option<Function> {
    match by_output(name) {
        Some((indicator, output)) => from_output(indicator, output),
        None => BUILTINS.iter().find(|row| row.name == name).map(from_builtin),
    }
}

/// The names of all functions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let outputs = INDICATORS.iter().flat_map(|indicator| indicator.outputs.iter().copied());
    outputs.chain(BUILTINS.iter().map(|row| row.name))
}
