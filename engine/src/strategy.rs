//! Strategy documents: text in, a checked [`Strategy`] out.
//!
//! A document names parameters and their values, signals as expressions over bars, exits, sizing and the account. What
//! [`Strategy::parse`] accepts can run: every name, type, arity and period is checked for every combination of the
//! grid. Whether market data suffices is not known here, and nothing is read from disk.

use polybolos_kernels::program::{NodeId, Op, Program, ProgramBuilder, Rules, Size};
use polybolos_kernels::sim::SimConfig;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Text};
use crate::digest::{Digest, Digester};
use crate::interval::Interval;
use crate::space::ParamSpace;

mod canonical;
pub(crate) mod decimal;
pub mod document;
mod domain;
mod expression;
mod functions;
mod keys;
mod params;
mod reader;
mod settings;
mod warmup;

pub use document::{Format, MAX_DOCUMENT_BYTES};
pub use functions::{Function, functions};
pub use keys::schema;
pub use settings::{Choice, Overrides};
pub use warmup::warmup_bars;

use expression::{Compiler, Excerpt, Timeframe, Wanted};

/// A document as it came: its text and how it is written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Source {
    /// What messages call it, usually the file name.
    pub name: String,
    /// The whole text.
    pub text: String,
    /// How the text is written.
    pub format: Format,
}

/// A strategy that has passed every check and can be run over its grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Strategy {
    name: String,
    description: Option<String>,
    source: Source,
    overrides: Overrides,
    space: ParamSpace,
    /// Where each parameter is declared, in declaration order.
    declared_at: Vec<Place>,
    program: Program,
    config: SimConfig,
    timeframes: Vec<Timeframe>,
    canonical: String,
}

impl Strategy {
    /// Reads a document and applies the flags.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the text.
    pub fn parse(source: &Source, overrides: &Overrides) -> Result<Strategy, Diagnostics> {
        reader::read(source, overrides)
    }

    /// Its name: letters, digits, `-` and `_`, at most 64.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Free text about it.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The document it was read from, unchanged.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The flags that were applied to the document.
    pub fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// Its parameter grid, flags applied.
    pub fn space(&self) -> &ParamSpace {
        &self.space
    }

    /// Its compiled signals and rules.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Account, costs and fills, flags applied.
    pub fn config(&self) -> SimConfig {
        self.config
    }

    /// The effective document as JSON: flags applied, expressions printed from what was understood, keys in fixed
    /// order. Comments, spacing, the description and the format of the document leave no trace in it.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The digest of [`Strategy::canonical`]: equal digests mean equal results on equal bars.
    pub fn digest(&self) -> Digest {
        Digester::new("strategy/1").text(&self.canonical).clone().finish()
    }

    /// The values of the only combination, for runs of a single backtest.
    ///
    /// # Errors
    /// A parameter has more than one value; the hint says how to choose.
    pub fn single_combination(&self) -> Result<Vec<f64>, Diagnostic> {
        let params = self.space.params();
        let many: Vec<_> = params.iter().filter(|param| param.values.len() > 1).collect();
        if many.is_empty() {
            return Ok(self.space.values(0));
        }
        let first = params.iter().position(|param| param.values.len() > 1).unwrap_or(0);
        let list: Vec<String> =
            many.iter().map(|param| format!("`{}` has {}", param.name, param.values.len())).collect();
        let flags: Vec<String> = many
            .iter()
            .map(|param| format!("--set {}={}", param.name, decimal::show(param.values.get(0))))
            .collect();
        let place =
            self.declared_at.get(first).cloned().unwrap_or_else(|| Place::flag(self.source.name.clone()));
        let fault = place.fault(format!("a backtest runs one combination, but {} values", list.join(", ")));
        Err(fault.hint(format!("choose: {}", flags.join(" "))))
    }

    /// Checks that every `tf` interval is longer than the bars of the run and a whole number of them.
    ///
    /// # Errors
    /// Every call that is not.
    pub fn check_interval(&self, base: Interval) -> Result<(), Diagnostics> {
        check_timeframes(&self.timeframes, base)
    }

    /// 0-based index of the first bar on which every signal is defined, for these parameter values, on bars of
    /// length `base` without gaps that begin at the start of a bar of every `tf` interval. The conditions of a CASE
    /// count even where they are not reached.
    pub fn warmup_bars(&self, params: &[f64], base: Interval) -> usize {
        let rules = &self.program.rules;
        let signals: Vec<NodeId> = [rules.long_enter, rules.long_exit, rules.short_enter, rules.short_exit]
            .into_iter()
            .flatten()
            .collect();
        warmup_bars(&self.program, &signals, params, base)
    }
}

fn check_timeframes(timeframes: &[Timeframe], base: Interval) -> Result<(), Diagnostics> {
    let mut faults = Diagnostics::default();
    for Timeframe { interval, place } in timeframes {
        let fits = *interval > base && interval.ms() % base.ms() == 0;
        if !fits {
            let longer = Interval::all().filter(|other| *other > base && other.ms() % base.ms() == 0);
            let names: Vec<&str> = longer.map(Interval::name).collect();
            let fault = place.fault(format!(
                "tf('{interval}', ...) cannot be built from bars of {base}: it must be a longer, whole number of them"
            ));
            faults.push(match names.as_slice() {
                [] => fault.hint("run on shorter bars"),
                names => fault.hint(format!("use one of {}, or run on shorter bars", names.join(" "))),
            });
        }
    }
    faults.finish(())
}

/// Compiles expressions without parameters, for display on bars of length `base`. The texts are called `EXPR 1`,
/// `EXPR 2` and so on in messages; node `i` of the result is expression `i`.
///
/// # Errors
/// Everything that is wrong with them.
pub fn compile_expressions(
    expressions: &[String],
    base: Interval,
) -> Result<(Program, Vec<NodeId>), Diagnostics> {
    let names: Vec<String> = (1..=expressions.len()).map(|number| format!("EXPR {number}")).collect();
    let mut compiler = Compiler::new(Vec::new());
    let mut faults = Diagnostics::default();
    let mut nodes = Vec::new();
    for (name, expression) in names.iter().zip(expressions) {
        let text = Text::new(name, expression);
        let excerpt = Excerpt::whole(&text);
        let compiled = compiler.compile(&excerpt, Wanted::Any, "the expression");
        nodes.extend(faults.take(compiled).map(|compiled| compiled.node));
    }
    if let Err(more) = check_timeframes(&compiler.timeframes, base) {
        faults.0.extend(more.0);
    }
    let checks = std::mem::take(&mut compiler.checks);
    let program = without_rules(compiler.builder)?;
    let space = ParamSpace::new(Vec::new())
        .map_err(|error| Diagnostics::from(Place::flag("EXPR".to_owned()).fault(error.to_string())))?;
    for check in &checks {
        faults.take(domain::check(check, &program, &space));
    }
    faults.finish((program, nodes))
}

/// Ends a graph that no simulation runs: no signal, and the size that a simulation would need.
fn without_rules(mut builder: ProgramBuilder) -> Result<Program, Diagnostic> {
    let one = builder
        .push(Op::Const(1.0), &[], 0)
        .map_err(|error| Place::flag("expression".to_owned()).fault(error.to_string()))?;
    Ok(builder.finish(Rules {
        long_enter: None,
        long_exit: None,
        short_enter: None,
        short_exit: None,
        stop_loss: None,
        take_profit: None,
        trailing_stop: None,
        max_bars: None,
        cooldown: None,
        size: Size::Equity(one),
    }))
}
