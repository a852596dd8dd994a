//! What values a scalar may take, checked for every combination before anything runs.

use polybolos_kernels::evaluate::{ScalarValue, Scalars};
use polybolos_kernels::indicators::{MAX_PERIOD, ParamKind};
use polybolos_kernels::program::{NodeId, Op, Program};

use super::decimal::show;
use crate::diagnostic::{Diagnostic, Place};
use crate::space::ParamSpace;

/// Most combinations that are tried one by one while a document is read.
pub(crate) const MAX_SCAN: u64 = 1_000_000;

/// The values that make sense in one place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Domain {
    /// A whole number of bars from `min` to [`MAX_PERIOD`].
    Whole { min: u32 },
    /// Any finite number.
    Finite,
    /// Above 0 and below 1.
    Fraction,
    /// Above 0 and at most 1.
    Share,
    /// Above 0.
    Positive,
}

impl From<ParamKind> for Domain {
    fn from(kind: ParamKind) -> Self {
        match kind {
            ParamKind::Period { min } => Domain::Whole { min },
            ParamKind::Real => Domain::Finite,
        }
    }
}

impl Domain {
    /// "must be ...", when the value is not in the domain.
    fn refusal(self, value: f64) -> Option<String> {
        let (holds, wanted) = match self {
            Domain::Whole { min } => (
                value.fract() == 0.0 && value >= f64::from(min) && value <= f64::from(MAX_PERIOD),
                format!("a whole number of bars from {min} to {MAX_PERIOD}"),
            ),
            Domain::Finite => (value.is_finite(), "a finite number".to_owned()),
            Domain::Fraction => {
                (value > 0.0 && value < 1.0, "a fraction above 0 and below 1 (0.05 is 5 %)".to_owned())
            }
            Domain::Share => {
                (value > 0.0 && value <= 1.0, "a fraction above 0 and at most 1 (0.5 is 50 %)".to_owned())
            }
            Domain::Positive => (value > 0.0 && value.is_finite(), "a number above 0".to_owned()),
        };
        (!holds).then_some(wanted)
    }
}

/// A scalar node that must stay in a domain.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) node: NodeId,
    pub(crate) domain: Domain,
    /// What the value is, e.g. "n of `sma`".
    pub(crate) what: String,
    /// The expression, normalised.
    pub(crate) text: String,
    pub(crate) place: Place,
    /// Whether the rule can be left out, which is what a value of 0 usually means.
    pub(crate) optional: bool,
}

impl Check {
    fn fault(&self, value: f64, wanted: &str, with: &str) -> Diagnostic {
        let value_text = if value.is_nan() { "undefined".to_owned() } else { show(value) };
        let fault = self.place.fault(format!("{} must be {wanted}, not {value_text}{with}", self.what));
        match (self.domain, value == 0.0 && self.optional) {
            (_, true) => fault.hint("leave the key out to switch the rule off"),
            (Domain::Whole { .. }, _) if value.fract() != 0.0 => {
                fault.hint("use whole numbers and whole steps for bar counts")
            }
            _ if with.is_empty() => fault,
            _ => fault.hint(
                "change the values of the parameter, or exclude them with `where` if they depend on others",
            ),
        }
    }
}

/// Checks every value that a node takes over the grid.
///
/// A constant or a bare parameter must fit with every value. A compound expression must fit in every combination that
/// `where` leaves.
pub(crate) fn check(check: &Check, program: &Program, space: &ParamSpace) -> Result<(), Diagnostic> {
    if let Op::Param(index) = program.node(check.node).op
        && let Some(param) = space.params().get(index as usize)
    {
        for index in param.values.extremes() {
            let value = param.values.get(index);
            if let Some(wanted) = check.domain.refusal(value) {
                return Err(check.fault(value, &wanted, &format!(" (a value of `{}`)", param.name)));
            }
        }
        return Ok(());
    }
    let Some(counterexample) = projected(check, program, space)? else { return Ok(()) };
    let Some((value, wanted, values)) =
        (if space.is_restricted() { scan(check, program, space)? } else { Some(counterexample) })
    else {
        return Ok(());
    };
    let with: Vec<String> = program
        .node(check.node)
        .params
        .iter()
        .filter_map(|index| {
            Some(format!("{} = {}", space.params().get(index)?.name, show(*values.get(index)?)))
        })
        .collect();
    let with = if with.is_empty() { String::new() } else { format!(" (with {})", with.join(", ")) };
    Err(check.fault(value, &wanted, &with))
}

type Counterexample = (f64, String, Vec<f64>);

/// Tries every combination of the parameters that the node depends on, whatever `where` says.
fn projected(
    check: &Check,
    program: &Program,
    space: &ParamSpace,
) -> Result<Option<Counterexample>, Diagnostic> {
    let depends_on: Vec<usize> = program.node(check.node).params.iter().collect();
    let radix = |index: usize| space.params().get(index).map_or(1, |param| param.values.len());
    let count = depends_on.iter().try_fold(1_u64, |count, &index| count.checked_mul(radix(index)));
    let Some(count) = count.filter(|&count| count <= MAX_SCAN) else { return Err(too_many(check)) };
    let mut values = space.values(0);
    let mut scalars = scalars(check, program)?;
    for combination in 0..count {
        let mut rest = combination;
        for &index in depends_on.iter().rev() {
            if let (Some(slot), Some(param)) = (values.get_mut(index), space.params().get(index)) {
                *slot = param.values.get(rest % radix(index));
            }
            rest /= radix(index);
        }
        let value = number(&mut scalars, &values);
        if let Some(wanted) = check.domain.refusal(value) {
            return Ok(Some((value, wanted, values)));
        }
    }
    Ok(None)
}

/// Tries every valid row.
fn scan(check: &Check, program: &Program, space: &ParamSpace) -> Result<Option<Counterexample>, Diagnostic> {
    if space.len() > MAX_SCAN {
        return Err(too_many(check));
    }
    let mut scalars = scalars(check, program)?;
    let mut rows = space.valid_rows(0..space.len());
    while rows.next().is_some() {
        let value = number(&mut scalars, rows.values());
        if let Some(wanted) = check.domain.refusal(value) {
            return Ok(Some((value, wanted, rows.values().to_vec())));
        }
    }
    Ok(None)
}

fn scalars<'p>(check: &Check, program: &'p Program) -> Result<Scalars<'p>, Diagnostic> {
    Scalars::new(program, &[check.node]).map_err(|error| check.place.fault(error.to_string()))
}

/// The number of the one root; what cannot be evaluated is undefined.
fn number(scalars: &mut Scalars<'_>, values: &[f64]) -> f64 {
    match scalars.values(values) {
        Ok([ScalarValue::Number(value)]) => *value,
        _ => f64::NAN,
    }
}

fn too_many(check: &Check) -> Diagnostic {
    check
        .place
        .fault(format!("{} is `{}`, which has too many combinations to check", check.what, check.text))
        .hint(format!("use a bare parameter, or at most {MAX_SCAN} combinations of the parameters"))
}

#[cfg(test)]
mod tests {
    use polybolos_kernels::indicators::INDICATORS;

    use super::*;

    /// The indicators check their parameters once more at run time; both must agree.
    #[test]
    fn domains_accept_what_indicators_accept() {
        let smallest = |kind| match kind {
            ParamKind::Period { min } => f64::from(min),
            ParamKind::Real => 1.0,
        };
        for indicator in INDICATORS {
            for (index, param) in indicator.params.iter().enumerate() {
                for value in [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 1e6, 1e6 + 1.0, f64::NAN, f64::INFINITY] {
                    let mut params: Vec<f64> =
                        indicator.params.iter().map(|param| smallest(param.kind)).collect();
                    params[index] = value;
                    let accepted = Domain::from(param.kind).refusal(value).is_none();
                    let by_indicator = indicator.check_params(&params).is_ok();
                    assert_eq!(accepted, by_indicator, "{} {} = {value}", indicator.name, param.name);
                }
            }
        }
    }
}
