//! A tree against the schema of [`super::BotConfig`]: every key and every value, all faults at once, each with its place.
//!
//! What passes is JSON that the types read without an error, but for texts with a grammar of their own.

use std::collections::BTreeMap;

use polybolos_engine::diagnostic::{Diagnostics, Place, did_you_mean};
use polybolos_engine::strategy::document::shorten;
use regex::Regex;
use rust_decimal::Decimal;
use serde_json::{Map, Number, Value, json};

use super::tree::{Field, Item, Tree};

/// Format of values that are never repeated in a message: whoever writes a secret where its name belongs does not find it
/// in a log.
pub(crate) const VARIABLE: &str = "environment-variable";

/// Checks trees and remembers where each key was.
pub(crate) struct Conform<'s> {
    root: &'s Value,
    /// Whether required keys may be missing: a profile is a part.
    pub(crate) is_part: bool,
    pub(crate) faults: Diagnostics,
    pub(crate) places: BTreeMap<String, Place>,
}

impl<'s> Conform<'s> {
    pub(crate) fn new(root: &'s Value) -> Conform<'s> {
        Conform { root, is_part: false, faults: Diagnostics::default(), places: BTreeMap::new() }
    }

    /// `schema` without references and without the alternative of being null.
    pub(crate) fn resolve(&self, schema: &'s Value) -> &'s Value {
        resolve(self.root, schema)
    }

    /// The JSON of `item`, called `path`; `None` if it has a fault.
    pub(crate) fn value(&mut self, item: &Item, schema: &'s Value, path: &str) -> Option<Value> {
        self.places.insert(path.to_owned(), item.place.clone());
        let nullable = schema;
        let schema = self.resolve(schema);
        if matches!(item.value, Tree::Null) && is_nullable(nullable) {
            return Some(Value::Null);
        }
        if let Tree::Nothing = item.value {
            self.fault(item, path, "has no value", Some("leave the key out to get its default".to_owned()));
            return None;
        }
        if let Some((tag, variants)) = variants(schema) {
            return self.tagged(item, tag, variants, path);
        }
        if let Some(variants) = one_key_variants(schema) {
            return self.one_key(item, variants, path);
        }
        match kind(schema) {
            "object" => self.object(item, schema, path),
            "array" => self.list(item, schema, path),
            _ => self.scalar(item, schema, path),
        }
    }

    fn fault(&mut self, item: &Item, path: &str, message: &str, hint: Option<String>) {
        let fault = item.place.fault(format!("{} {message}", named(path)));
        self.faults.push(match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        });
    }

    fn object(&mut self, item: &Item, schema: &'s Value, path: &str) -> Option<Value> {
        let Tree::Map(fields) = &item.value else {
            self.fault(item, path, &format!("must be a table of keys, not {}", item.describe()), None);
            return None;
        };
        let known = schema.get("properties").and_then(Value::as_object);
        let free = schema.get("additionalProperties").filter(|schema| schema.is_object());
        let mut map = Map::new();
        let mut is_whole = true;
        for field in fields {
            let inner = known.and_then(|known| known.get(&field.key)).or(free);
            let Some(inner) = inner else {
                self.unknown(field, known, path);
                is_whole = false;
                continue;
            };
            match self.value(&field.item, inner, &join(path, &field.key)) {
                Some(value) => {
                    map.insert(field.key.clone(), value);
                }
                None => is_whole = false,
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for key in required.filter_map(Value::as_str) {
            if !self.is_part && !fields.iter().any(|field| field.key == key) {
                let about = known.and_then(|known| known.get(key)).and_then(description);
                self.fault(
                    item,
                    path,
                    &format!("has no `{key}`"),
                    about.map(|about| format!("{key}: {about}")),
                );
                is_whole = false;
            }
        }
        is_whole.then_some(Value::Object(map))
    }

    fn unknown(&mut self, field: &Field, known: Option<&Map<String, Value>>, path: &str) {
        let names: Vec<&str> =
            known.map(|known| known.keys().map(String::as_str).collect()).unwrap_or_default();
        let hint = did_you_mean(&field.key, names.iter().copied())
            .unwrap_or_else(|| format!("the keys are {}", names.join(", ")));
        let message = format!("unknown key `{}` in {}", shorten(&field.key), named(path));
        self.faults.push(field.place.fault(message).hint(hint));
    }

    fn list(&mut self, item: &Item, schema: &'s Value, path: &str) -> Option<Value> {
        let Tree::List(items) = &item.value else {
            self.fault(item, path, &format!("must be a list, not {}", item.describe()), None);
            return None;
        };
        let inner = schema.get("items")?;
        let values: Vec<Option<Value>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| self.value(item, inner, &format!("{path}[{index}]")))
            .collect();
        values.into_iter().collect::<Option<Vec<Value>>>().map(Value::Array)
    }

    /// A table whose key `tag` says which of the schemas it has.
    fn tagged(&mut self, item: &Item, tag: &str, variants: &'s [Value], path: &str) -> Option<Value> {
        let words: Vec<&str> = variants.iter().filter_map(|variant| Some(tag_of(variant)?.1)).collect();
        let given = match &item.value {
            Tree::Map(fields) => fields.iter().find(|field| field.key == tag),
            _ => None,
        };
        let Some(Field { item: Item { value: Tree::Text(given), place }, .. }) = given else {
            let hint = format!("{tag}: one of {}", words.join(", "));
            self.fault(item, path, &format!("has no `{tag}`"), Some(hint));
            return None;
        };
        let found = variants.iter().find(|variant| tag_of(variant).is_some_and(|(_, word)| word == given));
        let Some(schema) = found else {
            let message =
                format!("`{path}.{tag}` must be one of {}, not `{}`", words.join(", "), shorten(given));
            let fault = place.fault(message);
            self.faults.push(match did_you_mean(given, words) {
                Some(hint) => fault.hint(hint),
                None => fault,
            });
            return None;
        };
        self.object(item, schema, path)
    }

    /// A table of one key, which says which of the schemas it has.
    fn one_key(&mut self, item: &Item, variants: &'s [Value], path: &str) -> Option<Value> {
        let given = match &item.value {
            Tree::Map(fields) => fields.as_slice(),
            _ => &[],
        };
        let found = match given {
            [field] => variants.iter().find(|variant| only_key(variant) == Some(&field.key)),
            _ => None,
        };
        let Some(schema) = found else {
            let words: Vec<&str> = variants.iter().filter_map(only_key).collect();
            let message =
                format!("must be a table of one key, {}, not {}", words.join(" or "), item.describe());
            self.fault(item, path, &message, None);
            return None;
        };
        self.object(item, schema, path)
    }

    fn scalar(&mut self, item: &Item, schema: &'s Value, path: &str) -> Option<Value> {
        match of_text(item, schema) {
            Ok(value) => Some(value),
            Err((wanted, hint)) => {
                let is_hidden = schema.get("format").and_then(Value::as_str) == Some(VARIABLE);
                let message = match is_hidden {
                    true => format!("must be {wanted}; what is there is not shown, it may be a secret"),
                    false => format!("must be {wanted}, not {}", item.describe()),
                };
                let hint = hint.or_else(|| Some(format!("{path}: {}", description(schema)?)));
                self.fault(item, path, &message, hint);
                None
            }
        }
    }
}

/// `schema` without references and without the alternative of being null.
pub(crate) fn resolve<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let target = name.strip_prefix("#/$defs/").and_then(|name| root.get("$defs")?.get(name));
        return target.map_or(schema, |target| resolve(root, target));
    }
    let some = schema
        .get("anyOf")
        .and_then(Value::as_array)
        .and_then(|any| any.iter().find(|one| one.get("type").and_then(Value::as_str) != Some("null")));
    some.map_or(schema, |some| resolve(root, some))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn named(path: &str) -> String {
    if path.is_empty() { "a bot's file".to_owned() } else { format!("`{path}`") }
}

/// First sentence or line of what a key means.
pub(crate) fn description(schema: &Value) -> Option<&str> {
    schema.get("description")?.as_str()
}

/// The first type that is not null.
fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("string")
        }
        _ => "string",
    }
}

/// Whether `null` is a value.
fn is_nullable(schema: &Value) -> bool {
    let types = schema.get("type").and_then(Value::as_array);
    let any = schema.get("anyOf").and_then(Value::as_array);
    types.is_some_and(|types| types.iter().any(|kind| kind == "null"))
        || any.is_some_and(|any| any.iter().any(|one| one.get("type").is_some_and(|kind| kind == "null")))
}

/// The schemas of a table that a key with a fixed word tells apart, and that key.
pub(crate) fn variants(schema: &Value) -> Option<(&str, &[Value])> {
    let variants = schema.get("oneOf")?.as_array()?;
    let (tag, _) = tag_of(variants.first()?)?;
    variants
        .iter()
        .all(|variant| tag_of(variant).is_some_and(|(other, _)| other == tag))
        .then_some((tag, variants.as_slice()))
}

/// The key with a fixed word, and the word.
pub(crate) fn tag_of(variant: &Value) -> Option<(&str, &str)> {
    let properties = variant.get("properties")?.as_object()?;
    properties.iter().find_map(|(key, schema)| Some((key.as_str(), schema.get("const")?.as_str()?)))
}

/// The schemas of a table with one key each.
fn one_key_variants(schema: &Value) -> Option<&[Value]> {
    let variants = schema.get("oneOf")?.as_array()?;
    variants.iter().all(|variant| only_key(variant).is_some()).then_some(variants.as_slice())
}

fn only_key(variant: &Value) -> Option<&str> {
    let mut keys = variant.get("properties")?.as_object()?.keys();
    keys.next().filter(|_| keys.next().is_none()).map(String::as_str)
}

/// The words of a closed set.
pub(crate) fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return Some(words.iter().filter_map(Value::as_str).collect());
    }
    let mut all = Vec::new();
    for one in schema.get("oneOf")?.as_array()? {
        match one.get("const").and_then(Value::as_str) {
            Some(word) => all.push(word),
            None => all.extend(words(one)?),
        }
    }
    Some(all)
}

/// A text as the schema wants it; else what is wanted, and a hint.
fn of_text(item: &Item, schema: &Value) -> Result<Value, (String, Option<String>)> {
    let Tree::Text(text) = &item.value else { return Err(("one value".to_owned(), None)) };
    if let Some(constant) = schema.get("const").and_then(Value::as_str) {
        return if text == constant { Ok(json!(text)) } else { Err((format!("`{constant}`"), None)) };
    }
    if let Some(words) = words(schema) {
        return match words.contains(&text.as_str()) {
            true => Ok(json!(text)),
            false => Err((format!("one of {}", words.join(", ")), did_you_mean(text, words))),
        };
    }
    let is_decimal = schema.get("format").and_then(Value::as_str) == Some("decimal");
    match kind(schema) {
        "boolean" => match text.as_str() {
            "true" => Ok(json!(true)),
            "false" => Ok(json!(false)),
            _ => Err(("true or false".to_owned(), None)),
        },
        _ if is_decimal => {
            let wanted = || (format!("a decimal number{}", bounds(schema)), None);
            let value = Decimal::from_str_exact(text).map_err(|_| wanted())?;
            let float = text.parse().map_err(|_| wanted())?;
            if fits(schema, float) { Ok(json!(value.to_string())) } else { Err(wanted()) }
        }
        "integer" => {
            let wanted = || (format!("a whole number{}", bounds(schema)), None);
            let value: i64 = text.parse().map_err(|_| wanted())?;
            if fits(schema, value as f64) { Ok(json!(value)) } else { Err(wanted()) }
        }
        "number" => {
            let wanted = || (format!("a number{}", bounds(schema)), None);
            let value: f64 = text.parse().map_err(|_| wanted())?;
            let number = Number::from_f64(value).ok_or_else(wanted)?;
            if fits(schema, value) { Ok(Value::Number(number)) } else { Err(wanted()) }
        }
        _ => {
            let pattern = schema.get("pattern").and_then(Value::as_str);
            let matches = pattern.is_none_or(|pattern| Regex::new(pattern).is_ok_and(|it| it.is_match(text)));
            if matches { Ok(json!(text)) } else { Err((expected_text(schema), None)) }
        }
    }
}

fn expected_text(schema: &Value) -> String {
    match schema.get("format").and_then(Value::as_str) {
        Some(VARIABLE) => {
            "the name of an environment variable: letters, digits and `_`, at most 40".to_owned()
        }
        _ => format!("a text of the form {}", schema.get("pattern").and_then(Value::as_str).unwrap_or("")),
    }
}

const BOUNDS: [(&str, &str); 4] = [
    ("minimum", "of at least"),
    ("exclusiveMinimum", "above"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "below"),
];

fn fits(schema: &Value, value: f64) -> bool {
    value.is_finite()
        && BOUNDS.iter().all(|(key, _)| match schema.get(*key).and_then(Value::as_f64) {
            None => true,
            Some(bound) => match *key {
                "minimum" => value >= bound,
                "exclusiveMinimum" => value > bound,
                "maximum" => value <= bound,
                _ => value < bound,
            },
        })
}

/// Bounds in words, with a space in front.
fn bounds(schema: &Value) -> String {
    let parts: Vec<String> =
        BOUNDS.iter().filter_map(|(key, word)| Some(format!("{word} {}", schema.get(*key)?))).collect();
    if parts.is_empty() { String::new() } else { format!(" {}", parts.join(" and ")) }
}
