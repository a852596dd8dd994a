//! The `params` table and the `--set` flags: names and their values.

use polybolos_kernels::bars::Column;
use polybolos_kernels::program::MAX_PARAMS;

use super::decimal::{Decimal, parse_number};
use super::document::{Entry, Node, Value, shorten};
use super::{expression, functions, keys};
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Text, did_you_mean};
use crate::metrics::Metric;
use crate::space::{Steps, Values};

/// Columns of the result table beside parameters and metrics.
const RESULT_COLUMNS: &[&str] = &["sweep_id", "row", "symbol", "interval", "pbo"];

/// Whether the result table has a column of this name, which a parameter would hide.
fn is_result_column(name: &str) -> bool {
    RESULT_COLUMNS.contains(&name) || Metric::by_name(name).is_some()
}

/// A parameter as declared, flags applied. `values` is `None` if they are faulty and reported.
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) values: Option<Values>,
}

/// Reads the `params` table, then the `--set` texts.
pub(crate) fn read(
    text: &Text<'_>,
    table: Option<&Node>,
    flags: &[String],
    faults: &mut Diagnostics,
) -> Vec<Declared> {
    let entries = table.and_then(|node| faults.take(node.map(text, "`params`"))).unwrap_or_default();
    let mut declared = Vec::new();
    for entry in entries {
        if declared.len() == MAX_PARAMS {
            faults.push(text.fault(entry.key_at, format!("more than {MAX_PARAMS} parameters")));
            break;
        }
        faults.take(check_name(&entry.key).map_err(|(reason, hint)| {
            text.fault(entry.key_at, format!("the parameter name `{}` {reason}", shorten(&entry.key)))
                .hint(hint)
        }));
        let values = faults.take(values(text, entry, faults_of_keys(text, entry)));
        declared.push(Declared { name: entry.key.clone(), place: text.place(entry.key_at), values });
    }
    let mut seen: Vec<&str> = Vec::new();
    for flag in flags {
        let place = Place::flag(format!("--set {}", shorten(flag)));
        let Some((name, values)) = faults.take(read_flag(flag, &place)) else { continue };
        if seen.contains(&name) {
            faults.push(place.fault(format!("`{name}` is set twice")).hint("keep one of them"));
        }
        seen.push(name);
        match declared.iter_mut().find(|param| param.name == name) {
            Some(param) => param.values = Some(values),
            None => faults.push(unknown(name, &place, &declared)),
        }
    }
    declared
}

fn unknown(name: &str, place: &Place, declared: &[Declared]) -> Diagnostic {
    let names: Vec<&str> = declared.iter().map(|param| param.name.as_str()).collect();
    let hint = did_you_mean(name, names.iter().copied()).unwrap_or_else(|| match names.as_slice() {
        [] => "the strategy has no parameters".to_owned(),
        names => format!("the parameters are {}", names.join(", ")),
    });
    place.fault(format!("the strategy has no parameter `{}`", shorten(name))).hint(hint)
}

/// Why a name cannot be a parameter's, and what to do.
fn check_name(name: &str) -> Result<(), (&'static str, String)> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !starts_well || !name.chars().all(letters) || name.len() > 64 {
        let rule = "use lower-case letters, digits and `_`, a letter first, at most 64 characters";
        return Err(("is not a plain name", rule.to_owned()));
    }
    let taken = if Column::from_name(name).is_some() {
        "is a column of the bars"
    } else if functions::find(name).is_some() {
        "is a function"
    } else if is_result_column(name) {
        "is a column of the result table"
    } else if !expression::is_plain_name(name) {
        "is a word of the expression language"
    } else {
        return Ok(());
    };
    Err((taken, format!("choose another name, e.g. `{name}_value`")))
}

fn faults_of_keys(text: &Text<'_>, entry: &Entry) -> Diagnostics {
    let mut faults = Diagnostics::default();
    if let Value::Map(entries) = &entry.value.value {
        keys::check(text, entries, keys::RANGE, "a range of values", &mut faults);
    }
    faults
}

fn values(text: &Text<'_>, entry: &Entry, of_keys: Diagnostics) -> Result<Values, Diagnostic> {
    if let Some(first) = of_keys.0.into_iter().next() {
        return Err(first);
    }
    let fault = |at: usize, reason: String| text.fault(at, format!("parameter `{}`: {reason}", entry.key));
    match &entry.value.value {
        Value::Map(entries) => {
            let find = |key: &str| entries.iter().find(|entry| entry.key == key);
            let bound = |key: &str| -> Result<Option<&str>, Diagnostic> {
                let Some(entry) = find(key) else { return Ok(None) };
                Ok(Some(&entry.value.scalar(text, &format!("`{key}`"))?.text))
            };
            let (Some(from), Some(to)) = (bound("from")?, bound("to")?) else {
                return Err(fault(entry.value.at, "a range needs `from` and `to`".to_owned())
                    .hint("write {from: 5, to: 50, step: 5}, or a list [5, 10, 20]"));
            };
            range(from, to, bound("step")?).map_err(|(reason, hint)| {
                let at = find("from").map_or(entry.value.at, |entry| entry.value.at);
                fault(at, reason).maybe_hint(hint)
            })
        }
        Value::List(items) => {
            let numbers = items
                .iter()
                .map(|item| {
                    let scalar = item.scalar(text, &format!("a value of parameter `{}`", entry.key))?;
                    parse_number(&scalar.text)
                        .map_err(|reason| fault(item.at, format!("`{}` {reason}", shorten(&scalar.text))))
                })
                .collect::<Result<Vec<f64>, Diagnostic>>()?;
            Values::list(numbers).map_err(|reason| {
                fault(entry.value.at, reason)
                    .hint("write at least one value, and each value once: [5, 10, 20]")
            })
        }
        Value::Scalar(_) => {
            let scalar = entry.value.scalar(text, &format!("parameter `{}`", entry.key))?;
            let number = parse_number(&scalar.text).map_err(|reason| {
                fault(entry.value.at, format!("`{}` {reason}", shorten(&scalar.text)))
                    .hint("write a range {from: 5, to: 50}, a list [5, 10, 20] or one number")
            })?;
            Values::list(vec![number]).map_err(|reason| fault(entry.value.at, reason))
        }
    }
}

/// A range; without a step its ends must be whole numbers, because a step of 1 would otherwise drop values in silence.
fn range(from: &str, to: &str, step: Option<&str>) -> Result<Values, (String, Option<String>)> {
    let whole = |text: &str| Decimal::parse(text).is_ok_and(|value| value.scale == 0);
    if step.is_none()
        && (!whole(from) || !whole(to))
        && Decimal::parse(from).is_ok()
        && Decimal::parse(to).is_ok()
    {
        let hint = "say how far apart the values are, e.g. step: 0.01".to_owned();
        return Err((format!("the range from {from} to {to} needs a step"), Some(hint)));
    }
    let steps = Steps::new(from, to, step.unwrap_or("1")).map_err(|reason| (shorten_reason(reason), None))?;
    Ok(Values::Steps(steps))
}

/// Reasons quote what was written, which may be long.
fn shorten_reason(reason: String) -> String {
    if reason.len() > 300 { shorten(&reason) } else { reason }
}

/// Reads `name=5`, `name=5,10`, `name=5..50` or `name=5..50:5`.
fn read_flag<'a>(flag: &'a str, place: &Place) -> Result<(&'a str, Values), Diagnostic> {
    const HINT: &str = "write name=10, name=5,10,20, name=5..50 or name=5..50:5";
    let fault = |reason: String| place.fault(reason).hint(HINT);
    let (name, spec) = flag.split_once('=').ok_or_else(|| fault("there is no `=`".to_owned()))?;
    let (name, spec) = (name.trim(), spec.trim());
    let values = match spec.split_once("..") {
        Some((from, rest)) => {
            let (to, step) = match rest.split_once(':') {
                Some((to, step)) => (to, Some(step.trim())),
                None => (rest, None),
            };
            range(from.trim(), to.trim(), step).map_err(|(reason, _)| fault(reason))?
        }
        None => {
            let numbers = spec
                .split(',')
                .map(|number| {
                    let number = number.trim();
                    parse_number(number).map_err(|reason| fault(format!("`{}` {reason}", shorten(number))))
                })
                .collect::<Result<Vec<f64>, _>>()?;
            Values::list(numbers).map_err(fault)?
        }
    };
    Ok((name, values))
}
