//! The keys of a document, in one table each: what is allowed, what it means, and its JSON Schema.

use polybolos_kernels::sim::{Fill, Intrabar, Returns};
use serde_json::{Value, json};

use super::document::{Entry, shorten};
use super::settings::Choice;
use crate::diagnostic::{Diagnostics, Text, did_you_mean};

/// The trap of writing expressions between braces.
pub(crate) const COMMA_HINT: &str = "between { and } a comma ends a text: put the expression in quotes";

/// One key of a table.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    schema: fn() -> Value,
}

const fn key(name: &'static str, summary: &'static str, schema: fn() -> Value) -> Key {
    Key { name, summary, schema }
}

/// The keys of the document itself.
pub(crate) const ROOT: &[Key] = &[
    key(
        "name",
        "letters, digits, `-` and `_`, at most 64",
        || json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}),
    ),
    key("description", "free text", || json!({"type": "string"})),
    key("params", "parameters and their values: a range, a list or one number", || {
        json!({"type": "object", "maxProperties": 64, "propertyNames": {"pattern": "^[a-z][a-z0-9_]{0,63}$"},
            "additionalProperties": {"oneOf": [{"type": "number"},
                {"type": "array", "items": {"type": "number"}, "minItems": 1, "uniqueItems": true},
                object(RANGE, &["from", "to"])]}})
    }),
    key("where", "condition on parameters; combinations for which it is not TRUE are not run", expression),
    key("long", "signals of long positions", || object(SIDE, &["enter"])),
    key("short", "signals of short positions", || object(SIDE, &["enter"])),
    key("stop_loss", "fraction of the entry price lost, in (0, 1)", scalar),
    key("take_profit", "fraction of the entry price won, above 0", scalar),
    key("trailing_stop", "fraction of the best price since the entry, in (0, 1)", scalar),
    key("max_bars", "bars in the position after which it is left, whole, from 1", scalar),
    key("cooldown", "bars after an exit without entry decisions, whole, from 0", scalar),
    key("size", "how much to buy or sell: one of equity, quote, risk", || {
        let mut schema = object(SIZE, &[]);
        schema["minProperties"] = json!(1);
        schema["maxProperties"] = json!(1);
        schema
    }),
    key("backtest", "account, costs and fills", || object(BACKTEST, &[])),
];

/// The keys of a range of parameter values.
pub(crate) const RANGE: &[Key] = &[
    key("from", "first value", number),
    key("to", "last value, included if a step meets it", number),
    key("step", "distance between values, above 0; 1 if left out", number),
];

/// The keys of `long` and `short`.
pub(crate) const SIDE: &[Key] = &[
    key("enter", "open a position where this is TRUE at a close", expression),
    key("exit", "close the position where this is TRUE at a close", expression),
];

/// The keys of `size`.
pub(crate) const SIZE: &[Key] = &[
    key("equity", "fraction of equity, in (0, 1]", scalar),
    key("quote", "amount of quote currency, above 0", scalar),
    key("risk", "fraction of equity lost if the stop is hit, above 0; needs stop_loss", scalar),
];

/// The keys of `backtest`.
pub(crate) const BACKTEST: &[Key] = &[
    key("cash", "initial cash in quote currency, above 0", number),
    key(
        "fee",
        "fraction of notional per side, in [0, 1), or {maker, taker}",
        || json!({"oneOf": [{"type": "number", "minimum": 0, "exclusiveMaximum": 1}, object(FEE, &["maker", "taker"])]}),
    ),
    key("slippage", "fraction of the price lost on market fills, in [0, 1)", number),
    key("fill", "when decisions are filled", words::<Fill>),
    key("intrabar", "which level a bar reaches first when it reaches both", words::<Intrabar>),
    key("returns", "sampling of the return series", words::<Returns>),
];

/// The keys of `fee`.
pub(crate) const FEE: &[Key] =
    &[key("maker", "fee of take-profit fills", number), key("taker", "fee of all other fills", number)];

fn number() -> Value {
    json!({"type": "number"})
}

fn scalar() -> Value {
    json!({"type": ["number", "string"], "description": "a number, a parameter or an expression of parameters"})
}

fn expression() -> Value {
    json!({"type": ["string", "boolean"], "description": "an expression that is TRUE or FALSE"})
}

fn words<T: Choice>() -> Value {
    json!({"enum": T::WORDS.iter().map(|&(word, _)| word).collect::<Vec<_>>()})
}

fn object(keys: &[Key], required: &[&str]) -> Value {
    let mut properties = serde_json::Map::new();
    for key in keys {
        let mut schema = (key.schema)();
        schema["description"] = json!(key.summary);
        properties.insert(key.name.to_owned(), schema);
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// The JSON Schema (draft 2020-12) of a strategy document.
pub fn schema() -> Value {
    let mut schema = object(ROOT, &["name"]);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Polybolos strategy");
    schema["anyOf"] = json!([{"required": ["long"]}, {"required": ["short"]}]);
    schema
}

/// Reports every key that is not in the table.
pub(crate) fn check(
    text: &Text<'_>,
    entries: &[Entry],
    table: &[Key],
    owner: &str,
    faults: &mut Diagnostics,
) {
    for entry in entries {
        if table.iter().any(|key| key.name == entry.key) {
            continue;
        }
        let names: Vec<&str> = table.iter().map(|key| key.name).collect();
        let is_word = entry.key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        let hint = match did_you_mean(&entry.key, names.iter().copied()) {
            Some(hint) => hint,
            None if is_word => format!("the keys are {}", names.join(", ")),
            None => COMMA_HINT.to_owned(),
        };
        let fault = text.fault(entry.key_at, format!("unknown key `{}` in {owner}", shorten(&entry.key)));
        faults.push(fault.hint(hint));
    }
}
