//! The `backtest` table of a document and what the command line puts in its place.

use polybolos_kernels::sim::{Fill, Intrabar, Returns, SimConfig};
use serde::{Deserialize, Serialize};

use super::decimal::{parse_number, show};
use super::document::{Entry, Node, Value, shorten};
use super::keys;
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Text, did_you_mean};

/// A closed set of words, each meaning one value.
pub trait Choice: Copy + PartialEq + 'static {
    /// The words with their values; the default first.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for this value.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }

    /// The value of a word.
    ///
    /// # Errors
    /// A sentence naming the words there are.
    fn from_word(text: &str) -> Result<Self, String> {
        let found = Self::WORDS.iter().find(|(word, _)| *word == text).map(|&(_, value)| value);
        found.ok_or_else(|| {
            let words: Vec<&str> = Self::WORDS.iter().map(|&(word, _)| word).collect();
            format!("`{}` is not one of {}", shorten(text), words.join(", "))
        })
    }
}

impl Choice for Fill {
    const WORDS: &'static [(&'static str, Fill)] = &[("next_open", Fill::NextOpen), ("close", Fill::Close)];
}

impl Choice for Intrabar {
    const WORDS: &'static [(&'static str, Intrabar)] = &[
        ("stop_first", Intrabar::StopFirst),
        ("target_first", Intrabar::TargetFirst),
        ("nearest_open", Intrabar::NearestOpen),
    ];
}

impl Choice for Returns {
    const WORDS: &'static [(&'static str, Returns)] = &[("daily", Returns::Daily), ("bar", Returns::Bar)];
}

/// What the command line changes in a document. Travels with the document's text, so names are stable.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// `--set` texts: `fast=10`, `fast=5..54`, `fast=5..54:2`, `fast=5,10,20`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<String>,
    /// `--cash`: initial cash, above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cash: Option<f64>,
    /// `--fee`: maker and taker fee, a fraction in [0, 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<f64>,
    /// `--slippage`: a fraction in [0, 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slippage: Option<f64>,
    /// `--fill`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_word")]
    pub fill: Option<Fill>,
    /// `--intrabar`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_word")]
    pub intrabar: Option<Intrabar>,
    /// `--returns`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_word")]
    pub returns: Option<Returns>,
}

/// Optional choices as their words.
mod as_word {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Choice;

    pub(super) fn serialize<T: Choice, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        value.map(Choice::word).serialize(to)
    }

    pub(super) fn deserialize<'de, T: Choice, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
        let word = Option::<String>::deserialize(from)?;
        word.map(|word| T::from_word(&word).map_err(D::Error::custom)).transpose()
    }
}

/// Reads the `backtest` table over the defaults, then applies the flags.
pub(crate) fn read(
    text: &Text<'_>,
    table: Option<&Node>,
    overrides: &Overrides,
    faults: &mut Diagnostics,
) -> SimConfig {
    let mut config = SimConfig::default();
    let entries = table.and_then(|node| faults.take(node.map(text, "`backtest`"))).unwrap_or_default();
    keys::check(text, entries, keys::BACKTEST, "backtest", faults);
    for entry in entries {
        let result = match entry.key.as_str() {
            "cash" => number(text, entry, above_zero).map(|value| config.cash = value),
            "slippage" => number(text, entry, fraction).map(|value| config.slippage = value),
            "fee" => fee(text, entry, &mut config, faults),
            "fill" => choice(text, entry).map(|value| config.fill = value),
            "intrabar" => choice(text, entry).map(|value| config.intrabar = value),
            "returns" => choice(text, entry).map(|value| config.returns = value),
            _ => Ok(()),
        };
        faults.take(result);
    }
    let mut flag = |name: &str, value: Option<f64>, accepts: Accepts| {
        let value = value?;
        match accepts(value) {
            Ok(()) => Some(value),
            Err(wanted) => {
                let place = Place::flag(format!("{name} {}", show(value)));
                faults.push(place.fault(format!("must be {wanted}")));
                None
            }
        }
    };
    config.cash = flag("--cash", overrides.cash, above_zero).unwrap_or(config.cash);
    config.slippage = flag("--slippage", overrides.slippage, fraction).unwrap_or(config.slippage);
    if let Some(fee) = flag("--fee", overrides.fee, fraction) {
        (config.maker_fee, config.taker_fee) = (fee, fee);
    }
    config.fill = overrides.fill.unwrap_or(config.fill);
    config.intrabar = overrides.intrabar.unwrap_or(config.intrabar);
    config.returns = overrides.returns.unwrap_or(config.returns);
    config
}

type Accepts = fn(f64) -> Result<(), &'static str>;

fn above_zero(value: f64) -> Result<(), &'static str> {
    if value > 0.0 && value.is_finite() { Ok(()) } else { Err("a number above 0") }
}

fn fraction(value: f64) -> Result<(), &'static str> {
    let wanted = "a fraction of at least 0 and below 1 (0.001 is 0.1 %)";
    if (0.0..1.0).contains(&value) { Ok(()) } else { Err(wanted) }
}

fn number(text: &Text<'_>, entry: &Entry, accepts: Accepts) -> Result<f64, Diagnostic> {
    let what = format!("`{}`", entry.key);
    let scalar = entry.value.scalar(text, &what)?;
    let at = entry.value.at;
    let value = parse_number(&scalar.text).map_err(|reason| {
        text.fault(at, format!("{what}: `{}` {reason}", shorten(&scalar.text)))
            .hint("backtest settings are plain numbers; parameters and expressions are not possible here")
    })?;
    accepts(value)
        .map_err(|wanted| text.fault(at, format!("{what} must be {wanted}, not {}", show(value))))?;
    Ok(value)
}

fn fee(
    text: &Text<'_>,
    entry: &Entry,
    config: &mut SimConfig,
    faults: &mut Diagnostics,
) -> Result<(), Diagnostic> {
    let Value::Map(entries) = &entry.value.value else {
        let value = number(text, entry, fraction)?;
        (config.maker_fee, config.taker_fee) = (value, value);
        return Ok(());
    };
    keys::check(text, entries, keys::FEE, "fee", faults);
    for (key, slot) in [("maker", &mut config.maker_fee), ("taker", &mut config.taker_fee)] {
        match entries.iter().find(|entry| entry.key == key) {
            Some(entry) => *slot = number(text, entry, fraction)?,
            None => {
                return Err(text
                    .fault(entry.value.at, format!("`fee` has no `{key}`"))
                    .hint("write {maker: 0.001, taker: 0.001}, or one number for both"));
            }
        }
    }
    Ok(())
}

fn choice<T: Choice>(text: &Text<'_>, entry: &Entry) -> Result<T, Diagnostic> {
    let scalar = entry.value.scalar(text, &format!("`{}`", entry.key))?;
    T::from_word(&scalar.text).map_err(|reason| {
        let hint = did_you_mean(&scalar.text, T::WORDS.iter().map(|&(word, _)| word));
        text.fault(entry.value.at, format!("`{}`: {reason}", entry.key)).maybe_hint(hint)
    })
}
