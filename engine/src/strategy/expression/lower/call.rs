//! Function calls.

use polybolos_kernels::bars::Column;
use polybolos_kernels::indicators::{Indicator, MAX_PERIOD};
use polybolos_kernels::program::{NodeId, Op};
use sqlparser::ast::{
    Expr, Function as Call, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart, Value,
};

use super::super::Timeframe;
use super::{Lowered, Lowering};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::interval::Interval;
use crate::strategy::document::shorten;
use crate::strategy::domain::{Check, Domain};
use crate::strategy::functions::{self, Arity, Body, Function, explicit_inputs};

impl Lowering<'_, '_, '_> {
    pub(super) fn call(&mut self, expr: &Expr, call: &Call) -> Result<Lowered, Diagnostic> {
        let (function, args) = self.resolve(expr, call)?;
        match function.body {
            Body::Node(op) => {
                let user = format!("`{}`", function.name);
                let (mut nodes, mut texts) = (Vec::new(), Vec::new());
                for arg in args {
                    let value = self.numeric(arg, &user)?;
                    nodes.push(value.node);
                    texts.push(value.text);
                }
                self.push(expr, op, &nodes, format!("{}({})", function.name, texts.join(", ")))
            }
            Body::Lag => {
                let value = self.argument(&args, 0, "`lag`")?;
                let bars = self.scalar(&args, 1, "n", "lag", Domain::Whole { min: 0 })?;
                let text = format!("lag({}, {})", value.text, bars.text);
                self.push(expr, Op::Lag, &[value.node, bars.node], text)
            }
            Body::Indicator(indicator, output) => self.indicator(expr, &function, indicator, output, &args),
            Body::Timeframe => self.timeframe(expr, &args),
        }
    }

    /// The function that is called and its arguments, counted.
    fn resolve<'x>(&self, expr: &Expr, call: &'x Call) -> Result<(Function, Vec<&'x Expr>), Diagnostic> {
        let name = match call.name.0.as_slice() {
            [ObjectNamePart::Identifier(name)] => name.value.to_lowercase(),
            _ => call.name.to_string().to_lowercase(),
        };
        let Some(function) = functions::find(&name) else {
            let hint = did_you_mean(&name, functions::names()).unwrap_or_else(|| {
                format!("the functions are {}", functions::names().collect::<Vec<_>>().join(", "))
            });
            return Err(self.fault(expr, format!("unknown function `{}`", shorten(&name))).hint(hint));
        };
        let plain = self
            .fault(expr, format!("`{name}` takes plain values only"))
            .hint(format!("write {}, without names, *, DISTINCT, OVER or FILTER", function.signature()));
        let FunctionArguments::List(list) = &call.args else { return Err(plain) };
        let extras = list.duplicate_treatment.is_some()
            || !list.clauses.is_empty()
            || call.uses_odbc_syntax
            || call.parameters != FunctionArguments::None
            || call.filter.is_some()
            || call.null_treatment.is_some()
            || call.over.is_some()
            || !call.within_group.is_empty();
        if extras {
            return Err(plain);
        }
        let mut args = Vec::with_capacity(list.args.len());
        for arg in &list.args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg else { return Err(plain) };
            args.push(arg);
        }
        let (fits, wanted) = match function.arity {
            Arity::Exactly(1) => (args.len() == 1, "1 argument".to_owned()),
            Arity::Exactly(count) => (args.len() == count, format!("{count} arguments")),
            Arity::TwoOrMore => (args.len() >= 2, "2 or more arguments".to_owned()),
        };
        if fits {
            return Ok((function, args));
        }
        let fault = self.fault(expr, format!("`{name}` takes {wanted}, {} given", args.len()));
        Err(fault.hint(format!("write {}: {}", function.signature(), function.summary)))
    }

    fn argument(&mut self, args: &[&Expr], index: usize, user: &str) -> Result<Lowered, Diagnostic> {
        match args.get(index) {
            Some(arg) => self.numeric(arg, user),
            None => Err(self.excerpt.start().fault(format!("{user} has too few arguments"))),
        }
    }

    /// An argument that must be a constant or come from parameters, with a check of its values to be made later.
    fn scalar(
        &mut self,
        args: &[&Expr],
        index: usize,
        name: &str,
        function: &str,
        domain: Domain,
    ) -> Result<Lowered, Diagnostic> {
        let what = format!("{name} of `{function}`");
        let value = self.argument(args, index, &what)?;
        let place = args.get(index).map_or_else(|| self.excerpt.start(), |arg| self.place(arg));
        if self.is_series(&value) {
            return Err(place
                .fault(format!(
                    "{what} must be a constant or a parameter, but `{}` changes from bar to bar",
                    shorten(&value.text)
                ))
                .hint(format!(
                    "write a number up to {MAX_PERIOD} or a parameter, e.g. {function}(..., 20)"
                )));
        }
        let text = value.text.clone();
        self.compiler.checks.push(Check { node: value.node, domain, what, text, place, optional: false });
        Ok(value)
    }

    fn indicator(
        &mut self,
        expr: &Expr,
        function: &Function,
        indicator: &'static Indicator,
        output: u8,
        args: &[&Expr],
    ) -> Result<Lowered, Diagnostic> {
        let mut nodes: Vec<NodeId> = Vec::new();
        let mut texts: Vec<String> = Vec::new();
        for input in indicator.inputs {
            let node = match Column::from_name(input) {
                Some(column) => self.push(expr, Op::Column(column), &[], String::new())?.node,
                None => {
                    let value = self.argument(args, texts.len(), &format!("`{}`", function.name))?;
                    texts.push(value.text);
                    value.node
                }
            };
            nodes.push(node);
        }
        for (index, param) in indicator.params.iter().enumerate() {
            let at = explicit_inputs(indicator) + index;
            let value = self.scalar(args, at, param.name, function.name, param.kind.into())?;
            nodes.push(value.node);
            texts.push(value.text);
        }
        let bundle = self.push(expr, Op::Indicator(indicator), &nodes, String::new())?;
        let text = format!("{}({})", function.name, texts.join(", "));
        self.push(expr, Op::Output(output), &[bundle.node], text)
    }

    fn timeframe(&mut self, expr: &Expr, args: &[&Expr]) -> Result<Lowered, Diagnostic> {
        let [interval, inner] = args else { return Err(self.fault(expr, "`tf` takes 2 arguments")) };
        let text = match interval {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => Some(text),
                _ => None,
            },
            _ => None,
        };
        let Some(text) = text else {
            let fault = self.fault(interval, "the first argument of `tf` must be an interval in quotes");
            return Err(fault.hint("write tf('4h', x)"));
        };
        let interval: Interval = text.parse().map_err(|_| {
            let names: Vec<&str> = Interval::all().map(Interval::name).collect();
            self.fault(interval, format!("`{}` is not an interval", shorten(text)))
                .hint(format!("use one of {}", names.join(" ")))
        })?;
        if self.frame != 0 {
            return Err(self
                .fault(expr, "`tf` inside `tf`")
                .hint("put the inner expression on one timeframe, and combine timeframes outside"));
        }
        let place = self.place(expr);
        let frame =
            self.compiler.builder.frame(interval.ms()).map_err(|error| place.fault(error.to_string()))?;
        self.compiler.timeframes.push(Timeframe { interval, place });
        self.frame = frame;
        let inner = self.expression(inner);
        let lifted = inner.and_then(|inner| {
            let text = format!("tf('{interval}', {})", inner.text);
            if self.is_series(&inner) {
                self.push(expr, Op::Lift, &[inner.node], text)
            } else {
                Ok(Lowered { node: inner.node, text })
            }
        });
        self.frame = 0;
        lifted
    }
}
