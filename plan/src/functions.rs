//! Indicators as SQL window functions: `sma(close, 20) OVER (PARTITION BY symbol ORDER BY open_time)`.
//!
//! One function per indicator output, arguments in the order of [`Indicator::inputs`] and then
//! [`Indicator::params`]; `crosses_above` and `crosses_below` besides. The functions carry no state and no payload:
//! a plan names them, and every process that decodes the plan looks the name up in its own registry, so the same
//! list ([`window_functions`]) goes into every session, scheduler and executor.
//!
//! A function is computed over its whole partition in the `ORDER BY` order, once, by the same kernel as a sweep, so
//! the bits are a sweep's bits. What could only give a wrong number is refused when the query is planned: no
//! `ORDER BY`, a frame that cuts off the past, `DISTINCT`, `IGNORE NULLS` (and `FILTER`, by DataFusion). No function takes a name that SQL
//! already uses ([`RENAMED`]).

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::as_float64_array;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::function::{
    PartitionEvaluatorArgs, WindowFunctionSimplification, WindowUDFFieldArgs,
};
use datafusion::logical_expr::{
    DocSection, Documentation, Expr, PartitionEvaluator, Signature, Volatility, WindowFrame,
    WindowFrameBound, WindowUDF, WindowUDFImpl,
};
use polybolos_kernels::indicators::{INDICATORS, Indicator};

/// An indicator output that has another name in SQL than in the strategy language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renamed {
    /// Name in the strategy language, one of [`Indicator::outputs`].
    pub output: &'static str,
    /// Name in SQL.
    pub sql_name: &'static str,
    /// Why SQL cannot have it under its own name.
    pub reason: &'static str,
}

/// The outputs whose own name SQL already gives to something else. A name resolves to a scalar function first, then
/// to an aggregate, and to a window function only if it is neither; and a window function registered under a
/// built-in one's name would replace it. So a taken name would be either dead or a trap.
pub const RENAMED: &[Renamed] = &[Renamed {
    output: "stddev",
    sql_name: "rolling_stddev",
    reason: "stddev(x) is SQL's aggregate, the sample standard deviation (ddof 1) of a whole group",
}];

/// Every window function of Polybolos, sorted by name. The same list belongs in every session, scheduler and
/// executor, because a plan carries the names only.
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    let outputs = INDICATORS
        .iter()
        .flat_map(|def| (0..def.outputs.len()).map(move |output| Body::Indicator { def, output }));
    let crossings = [Body::Cross(Crossing::Above), Body::Cross(Crossing::Below)];
    let mut functions: Vec<_> = outputs
        .chain(crossings)
        .map(|body| Arc::new(WindowUDF::new_from_impl(SeriesFunction::new(body))))
        .collect();
    functions.sort_by(|a, b| a.name().cmp(b.name()));
    functions
}

/// The name an indicator output has in SQL: its own, or the one in [`RENAMED`].
pub fn sql_name(output: &'static str) -> &'static str {
    RENAMED.iter().find(|renamed| renamed.output == output).map_or(output, |renamed| renamed.sql_name)
}

/// Which way the first series passes the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Crossing {
    Above,
    Below,
}

/// What a function computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Body {
    Indicator { def: &'static Indicator, output: usize },
    Cross(Crossing),
}

impl Body {
    fn name(self) -> &'static str {
        match self {
            Body::Indicator { def, output } => {
                def.outputs.get(output).map_or(def.name, |name| sql_name(name))
            }
            Body::Cross(Crossing::Above) => "crosses_above",
            Body::Cross(Crossing::Below) => "crosses_below",
        }
    }

    fn summary(self) -> &'static str {
        match self {
            Body::Indicator { def, .. } => def.summary,
            Body::Cross(Crossing::Above) => {
                "TRUE on the row where a has risen above b: a > b here, a <= b one row before"
            }
            Body::Cross(Crossing::Below) => {
                "TRUE on the row where a has fallen below b: a < b here, a >= b one row before"
            }
        }
    }

    /// Names of the arguments that are series, which come first.
    fn series(self) -> &'static [&'static str] {
        match self {
            Body::Indicator { def, .. } => def.inputs,
            Body::Cross(_) => &["a", "b"],
        }
    }

    /// Names of the arguments that are constants.
    fn params(self) -> Vec<&'static str> {
        match self {
            Body::Indicator { def, .. } => def.params.iter().map(|param| param.name).collect(),
            Body::Cross(_) => Vec::new(),
        }
    }

    fn arguments(self) -> Vec<&'static str> {
        self.series().iter().copied().chain(self.params()).collect()
    }

    fn output_type(self) -> DataType {
        match self {
            Body::Indicator { .. } => DataType::Float64,
            Body::Cross(_) => DataType::Boolean,
        }
    }

    /// The call as a user writes it, `atr(high, low, close, n)`.
    fn syntax(self) -> String {
        format!("{}({})", self.name(), self.arguments().join(", "))
    }

    fn documentation(self) -> Documentation {
        let section = DocSection { include: true, label: "Technical indicators", description: None };
        let builder =
            Documentation::builder(section, self.summary(), self.syntax()).with_sql_example(format!(
                "SELECT open_time, {} OVER (PARTITION BY symbol ORDER BY open_time) FROM bars",
                self.syntax()
            ));
        let builder = self.series().iter().fold(builder, |builder, &name| {
            builder.with_argument(
                name,
                "Series, a number per row. NULL is undefined and starts the warm-up again.",
            )
        });
        self.params()
            .into_iter()
            .fold(builder, |builder, name| {
                builder.with_argument(name, "Parameter, one constant per partition.")
            })
            .build()
    }

    /// Refuses the calls that could only give a wrong number. Arguments have been coerced and folded by now.
    fn check_call(self, call: &WindowFunctionParams) -> Result<()> {
        let name = self.name();
        if call.order_by.is_empty() {
            return plan_err!(
                "{name} needs an order, or its rows come in any: write {name}(...) OVER (PARTITION BY symbol ORDER BY open_time)"
            );
        }
        if call.distinct {
            return plan_err!("{name} takes no DISTINCT: every row counts");
        }
        if call.null_treatment == Some(NullTreatment::IgnoreNulls) {
            return plan_err!(
                "{name} takes no IGNORE NULLS: NULL is an undefined value; drop such rows in a subquery with WHERE ... IS NOT NULL"
            );
        }
        check_frame(name, &call.window_frame)?;
        let Body::Indicator { def, .. } = self else { return Ok(()) };
        let literals: Option<Vec<f64>> = call
            .args
            .iter()
            .skip(def.inputs.len())
            .map(|argument| match argument {
                Expr::Literal(ScalarValue::Float64(Some(value)), _) => Some(*value),
                _ => None,
            })
            .collect();
        match literals.map(|params| def.check_params(&params)) {
            Some(Err(message)) => plan_err!("{name}: {message}"),
            _ => Ok(()),
        }
    }
}

/// An indicator looks back as far as its parameters say, so a frame may not hide the past. Rows after the current one
/// are never looked at, so the frame's end does not matter as long as the current row is in.
fn check_frame(name: &str, frame: &WindowFrame) -> Result<()> {
    let reaches_current_row =
        matches!(frame.end_bound, WindowFrameBound::CurrentRow | WindowFrameBound::Following(_));
    if frame.start_bound.is_unbounded() && reaches_current_row {
        return Ok(());
    }
    plan_err!(
        "{name} looks back as far as its parameters say and cannot be cut to {frame}: leave the frame out, or limit the rows in a subquery"
    )
}

/// One window function. Equality and hash are those of its body and name, which determine the rest.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SeriesFunction {
    body: Body,
    signature: Signature,
    documentation: Documentation,
}

impl SeriesFunction {
    fn new(body: Body) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        // Fails only on two arguments of one name; the function then goes without named arguments (`n => 20`).
        let signature = signature.clone().with_parameter_names(body.arguments()).unwrap_or(signature);
        Self { body, signature, documentation: body.documentation() }
    }
}

impl WindowUDFImpl for SeriesFunction {
    fn name(&self) -> &str {
        self.body.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let names = self.body.arguments();
        if types.len() != names.len() {
            return plan_err!(
                "{} takes {} arguments, {} given",
                self.body.syntax(),
                names.len(),
                types.len()
            );
        }
        for (name, given) in names.iter().zip(types) {
            if !given.is_numeric() && !given.is_null() {
                return plan_err!("{name} of {} must be a number, not {given}", self.body.syntax());
            }
        }
        Ok(vec![DataType::Float64; types.len()])
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), self.body.output_type(), true)))
    }

    fn simplify(&self) -> Option<WindowFunctionSimplification> {
        let body = self.body;
        Some(Box::new(move |call: WindowFunction, _| {
            body.check_call(&call.params)?;
            Ok(Expr::from(call))
        }))
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Evaluator { body: self.body }))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// Computes whole partitions. Frames and bounded execution stay off, the defaults of [`PartitionEvaluator`]: fed row
/// by row the kernel would be another one, and a running sum begun elsewhere has other bits.
#[derive(Debug)]
struct Evaluator {
    body: Body,
}

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], num_rows: usize) -> Result<ArrayRef> {
        let names = self.body.arguments();
        if values.len() != names.len() {
            return plan_err!(
                "{} takes {} arguments, {} given",
                self.body.syntax(),
                names.len(),
                values.len()
            );
        }
        let arguments = values.iter().map(|array| as_float64_array(array)).collect::<Result<Vec<_>>>()?;
        let (series, params) = arguments.split_at(self.body.series().len());
        let series: Vec<Cow<'_, [f64]>> = series.iter().map(|array| undefined_as_nan(array)).collect();
        let series: Vec<&[f64]> = series.iter().map(AsRef::as_ref).collect();
        match (self.body, series.as_slice()) {
            (Body::Cross(crossing), &[a, b]) => Ok(Arc::new(crosses(crossing, a, b))),
            (Body::Indicator { def, output }, series) if num_rows > 0 => {
                let params = constants(self.body, params)?;
                if let Err(message) = def.check_params(&params) {
                    return exec_err!("{}: {message}", self.body.name());
                }
                let mut outputs = def.compute(series, &params);
                Ok(Arc::new(nan_as_null(&outputs.swap_remove(output))))
            }
            _ => Ok(Arc::new(Float64Array::from(Vec::<f64>::new()))),
        }
    }
}

/// The constant in each parameter column of a partition.
fn constants(body: Body, columns: &[&Float64Array]) -> Result<Vec<f64>> {
    let constant = |(name, column): (&str, &&Float64Array)| {
        if column.null_count() > 0 {
            return exec_err!("{name} of {} must be a number, not NULL", body.syntax());
        }
        let values = column.values();
        let Some(&first) = values.first() else {
            return exec_err!("{name} of {} has no value", body.syntax());
        };
        match values.iter().find(|value| value.to_bits() != first.to_bits()) {
            Some(other) => exec_err!(
                "{name} of {} must be one constant for all rows of a partition, not {first} and {other}",
                body.syntax()
            ),
            None => Ok(first),
        }
    };
    body.params().into_iter().zip(columns).map(constant).collect()
}

/// The kernels' form of a column: a slice in which `NaN` is undefined.
fn undefined_as_nan(array: &Float64Array) -> Cow<'_, [f64]> {
    if array.null_count() == 0 {
        Cow::Borrowed(array.values())
    } else {
        Cow::Owned(array.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
    }
}

/// SQL's form of a series: undefined is NULL.
fn nan_as_null(series: &[f64]) -> Float64Array {
    series.iter().map(|&value| value.is_finite().then_some(value)).collect()
}

/// `crosses_above` and `crosses_below`: NULL where one of the four values is undefined, the first row included.
fn crosses(crossing: Crossing, a: &[f64], b: &[f64]) -> BooleanArray {
    let defined = |t: usize| a[t].is_finite() && b[t].is_finite();
    (0..a.len().min(b.len()))
        .map(|t| {
            let before = t.checked_sub(1)?;
            (defined(before) && defined(t)).then(|| match crossing {
                Crossing::Above => a[t] > b[t] && a[before] <= b[before],
                Crossing::Below => a[t] < b[t] && a[before] >= b[before],
            })
        })
        .collect()
}
