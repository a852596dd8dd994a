//! From a document's tree to a [`Strategy`]: every key read, every fault collected.

use polybolos_kernels::program::{NodeId, Op, Program, Rules, Size};

use super::canonical::{Rule, Texts};
use super::document::{self, Entry, Node, shorten};
use super::domain::{self, Check, Domain, MAX_SCAN};
use super::expression::{Compiled, Compiler, Excerpt, Wanted};
use super::params::Declared;
use super::{Overrides, Source, Strategy, canonical, keys, params, settings, without_rules};
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Text};
use crate::space::{Condition, Param, ParamSpace};

/// Reads a document and applies the flags.
pub(super) fn read(source: &Source, overrides: &Overrides) -> Result<Strategy, Diagnostics> {
    let text = Text::new(&source.name, &source.text);
    let root = document::read(&text, source.format, "a strategy document")?;
    let mut faults = Diagnostics::default();
    let entries = root.map(&text, "a strategy document")?;
    keys::check(&text, entries, keys::ROOT, "a strategy document", &mut faults);
    let document = Document { text: &text, entries };

    let name = faults.take(document.name()).unwrap_or_default();
    let description = document.description(&mut faults);
    let declared = params::read(&text, document.find("params"), &overrides.params, &mut faults);
    let names: Vec<&str> = declared.iter().map(|param| param.name.as_str()).collect();
    let config = settings::read(&text, document.find("backtest"), overrides, &mut faults);

    let mut condition = Compiler::new(names.clone());
    let compiled_where = document.find("where").and_then(|node| {
        faults.take(document.expression(&mut condition, node, Wanted::Condition, "`where`"))
    });
    let mut reading = Reading { document, compiler: Compiler::new(names), texts: Texts::default(), faults };
    let rules = reading.rules();
    reading.texts.condition = compiled_where.as_ref().map(|compiled| compiled.text.clone());
    reading.report_unused(&declared, &condition);

    let Reading { compiler, texts, mut faults, .. } = reading;
    let Compiler { builder, checks, timeframes, .. } = compiler;
    let program = match rules {
        Some(rules) => builder.finish(rules),
        None => without_rules(builder)?,
    };
    let restriction = match &compiled_where {
        Some(compiled) => Some(Condition { program: without_rules(condition.builder)?, node: compiled.node }),
        None => None,
    };
    let Some(space) = space(&text, &declared, restriction, &mut faults) else {
        return Err(faults.finish(()).err().unwrap_or_default());
    };
    let place = compiled_where.map(|compiled| compiled.place);
    check_values(&condition.checks, &checks, &program, &space, place, &mut faults);
    let canonical = canonical::json(&name, &space, &texts, &config);
    let canonical =
        canonical.map_err(|error| text.fault(0, format!("cannot be written as JSON: {error}")))?;
    faults.finish(Strategy {
        name,
        description,
        source: source.clone(),
        overrides: overrides.clone(),
        space,
        declared_at: declared.into_iter().map(|param| param.place).collect(),
        program,
        config,
        timeframes,
        canonical,
    })
}

/// The grid, if every parameter has values.
fn space(
    text: &Text<'_>,
    declared: &[Declared],
    condition: Option<Condition>,
    faults: &mut Diagnostics,
) -> Option<ParamSpace> {
    let params = declared
        .iter()
        .map(|param| Some(Param { name: param.name.clone(), values: param.values.clone()? }))
        .collect::<Option<Vec<Param>>>();
    let Some(params) = params else {
        debug_assert!(!faults.0.is_empty(), "a parameter without values has been reported");
        return None;
    };
    let space = ParamSpace::new(params).map_err(|error| {
        let place = declared.first().map_or_else(|| text.place(0), |param| param.place.clone());
        place.fault(error.to_string()).hint("use fewer parameters, fewer values or larger steps")
    });
    Some(faults.take(space)?.restricted(condition))
}

/// Checks scalars over the grid, and that the grid has a valid row, as far as it is small enough to look.
fn check_values(
    of_condition: &[Check],
    checks: &[Check],
    program: &Program,
    space: &ParamSpace,
    condition: Option<Place>,
    faults: &mut Diagnostics,
) {
    debug_assert!(of_condition.is_empty(), "a condition on parameters has no indicator");
    if let Some(place) = condition
        && space.len() <= MAX_SCAN
        && space.valid_rows(0..space.len()).next().is_none()
    {
        let fault = place.fault(match space.len() {
            1 => "`where` excludes the only combination".to_owned(),
            rows => format!("`where` excludes every one of the {rows} combinations"),
        });
        faults.push(fault.hint("relax the condition or widen the parameters' values"));
        return;
    }
    for check in checks {
        faults.take(domain::check(check, program, space));
    }
}

#[derive(Clone, Copy)]
struct Document<'d> {
    text: &'d Text<'d>,
    entries: &'d [Entry],
}

impl<'d> Document<'d> {
    fn find(&self, key: &str) -> Option<&'d Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    fn name(&self) -> Result<String, Diagnostic> {
        const HINT: &str = "use letters, digits, `-` and `_`, at most 64, e.g. `name: sma-cross`";
        let Some(node) = self.find("name") else {
            return Err(self.text.fault(0, "the strategy has no `name`").hint(HINT));
        };
        let name = &node.scalar(self.text, "`name`")?.text;
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !name.is_empty() && name.len() <= 64 && name.chars().all(fits) {
            return Ok(name.clone());
        }
        Err(self.text.fault(node.at, format!("`{}` is not a strategy name", shorten(name))).hint(HINT))
    }

    fn description(&self, faults: &mut Diagnostics) -> Option<String> {
        let node = self.find("description")?;
        faults.take(node.scalar(self.text, "`description`")).map(|scalar| scalar.text.trim().to_owned())
    }

    fn expression(
        &self,
        compiler: &mut Compiler<'_>,
        node: &Node,
        wanted: Wanted,
        what: &str,
    ) -> Result<Compiled, Diagnostic> {
        let scalar = node.scalar(self.text, what).map_err(|fault| match node.is_empty() {
            true => fault.hint("leave the key out if there is nothing to say"),
            false => fault.hint("write an expression; put it in quotes if it begins with a bracket"),
        })?;
        compiler.compile(&Excerpt::of_scalar(self.text, scalar), wanted, what)
    }
}

struct Reading<'d> {
    document: Document<'d>,
    compiler: Compiler<'d>,
    texts: Texts,
    faults: Diagnostics,
}

impl Reading<'_> {
    /// All signals, exits and the size; `None` if a fault keeps them from being complete.
    fn rules(&mut self) -> Option<Rules> {
        let (long_enter, long_exit) = self.side("long");
        let (short_enter, short_exit) = self.side("short");
        let has_side = |key| self.document.find(key).is_some();
        if !has_side("long") && !has_side("short") {
            let fault =
                self.document.text.fault(0, "the strategy never enters: there is neither `long` nor `short`");
            self.faults.push(
                fault.hint("write long: {enter: close > sma(close, 20), exit: close < sma(close, 20)}"),
            );
        }
        let stop_loss = self.rule(Rule::StopLoss, Domain::Fraction);
        let take_profit = self.rule(Rule::TakeProfit, Domain::Positive);
        let trailing_stop = self.rule(Rule::TrailingStop, Domain::Fraction);
        let max_bars = self.rule(Rule::MaxBars, Domain::Whole { min: 1 });
        let cooldown = self.rule(Rule::Cooldown, Domain::Whole { min: 0 });
        let size = self.size(self.document.find("stop_loss").is_some())?;
        Some(Rules {
            long_enter,
            long_exit,
            short_enter,
            short_exit,
            stop_loss,
            take_profit,
            trailing_stop,
            max_bars,
            cooldown,
            size,
        })
    }

    fn side(&mut self, key: &'static str) -> (Option<NodeId>, Option<NodeId>) {
        let Some(node) = self.document.find(key) else { return (None, None) };
        let text = self.document.text;
        let Some(entries) = self.faults.take(node.map(text, &format!("`{key}`"))) else {
            return (None, None);
        };
        keys::check(text, entries, keys::SIDE, key, &mut self.faults);
        let mut signal = |name: &'static str| {
            let node = &entries.iter().find(|entry| entry.key == name)?.value;
            let what = format!("`{key}.{name}`");
            let compiled = self.document.expression(&mut self.compiler, node, Wanted::Signal, &what);
            let compiled = self.faults.take(compiled)?;
            self.texts.signal(key, name, compiled.text);
            Some(compiled.node)
        };
        let signals = (signal("enter"), signal("exit"));
        if !entries.iter().any(|entry| entry.key == "enter") {
            let fault = text.fault(node.at, format!("`{key}` has no `enter`"));
            self.faults.push(fault.hint(format!("say when to enter, or leave `{key}` out")));
        }
        signals
    }

    fn rule(&mut self, rule: Rule, domain: Domain) -> Option<NodeId> {
        let key = rule.key();
        let node = self.document.find(key)?;
        let compiled = self.scalar(node, key, domain, true)?;
        self.texts.rules.push((rule, compiled.text));
        Some(compiled.node)
    }

    fn scalar(&mut self, node: &Node, key: &str, domain: Domain, optional: bool) -> Option<Compiled> {
        let what = format!("`{key}`");
        let compiled = self.document.expression(&mut self.compiler, node, Wanted::Scalar, &what);
        let compiled = self.faults.take(compiled)?;
        self.compiler.checks.push(Check {
            node: compiled.node,
            domain,
            what,
            text: compiled.text.clone(),
            place: compiled.place.clone(),
            optional,
        });
        Some(compiled)
    }

    fn size(&mut self, has_stop: bool) -> Option<Size> {
        let Some(node) = self.document.find("size") else {
            let one = self.compiler.builder.push(Op::Const(1.0), &[], 0).ok()?;
            self.texts.size = ("equity", "1".to_owned());
            return Some(Size::Equity(one));
        };
        let text = self.document.text;
        const HINT: &str = "write one of {equity: 1.0}, {quote: 1000}, {risk: 0.01}";
        let entries = self.faults.take(node.map(text, "`size`").map_err(|fault| fault.hint(HINT)))?;
        keys::check(text, entries, keys::SIZE, "size", &mut self.faults);
        let [entry] = entries else {
            let fault = text.fault(node.at, format!("`size` has {} keys, not one", entries.len()));
            self.faults.push(fault.hint(HINT));
            return None;
        };
        let (kind, domain, build): (&'static str, Domain, fn(NodeId) -> Size) = match entry.key.as_str() {
            "equity" => ("equity", Domain::Share, Size::Equity),
            "quote" => ("quote", Domain::Positive, Size::Quote),
            "risk" => ("risk", Domain::Positive, Size::Risk),
            _ => return None,
        };
        if kind == "risk" && !has_stop {
            let fault = text
                .fault(entry.key_at, "a size by `risk` needs a `stop_loss`: the stop says what is at risk");
            self.faults.push(fault.hint("add e.g. stop_loss: 0.05"));
        }
        let compiled = self.scalar(&entry.value, &format!("size.{kind}"), domain, false)?;
        self.texts.size = (kind, compiled.text);
        Some(build(compiled.node))
    }

    /// Reports parameters that nothing uses, unless a faulty expression may be the one that would.
    fn report_unused(&mut self, declared: &[Declared], condition: &Compiler<'_>) {
        if !self.faults.0.is_empty() {
            return;
        }
        let used = self.compiler.used.union(condition.used);
        for (index, param) in declared.iter().enumerate() {
            if !used.contains(index) {
                let fault = param.place.fault(format!("the parameter `{}` is not used", param.name));
                self.faults.push(
                    fault.hint("use it in an expression or remove it: its values would repeat every result"),
                );
            }
        }
    }
}
