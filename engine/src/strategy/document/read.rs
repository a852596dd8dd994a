//! The three readers. They know formats and places, not strategies.

use ::toml::de::{DeTable, DeValue};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde::de::IgnoredAny;

use super::{Entry, MAX_DEPTH, MAX_KEYS, Node, Quoting, Scalar, Value};
use crate::diagnostic::{Diagnostic, Text};

/// Reads YAML event by event: no recursion, no aliases.
pub(super) fn yaml(text: &Text<'_>) -> Result<Node, Diagnostic> {
    build(text, text.text)
}

/// Reads JSON: the JSON grammar decides what is valid; every JSON document is also YAML once its tabs are spaces, and
/// the YAML reader knows the places.
pub(super) fn json(text: &Text<'_>) -> Result<Node, Diagnostic> {
    serde_json::from_str::<IgnoredAny>(text.text).map_err(|error| {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        let fault = text.fault(text.offset(error.line(), error.column()), format!("not JSON: {message}"));
        fault.hint("JSON wants double quotes around keys and texts, and no comma behind the last value")
    })?;
    build(text, &text.text.replace('\t', " "))
}

/// A list or table that is not complete yet.
enum Open {
    List(usize, Vec<Node>),
    Map(usize, Vec<Entry>, Option<(String, usize)>),
}

impl Open {
    fn take(&mut self, text: &Text<'_>, done: Node) -> Result<(), Diagnostic> {
        match self {
            Open::List(_, items) => items.push(done),
            Open::Map(_, entries, pending) => match pending.take() {
                Some((key, key_at)) => entries.push(Entry { key, key_at, value: done }),
                None => *pending = Some(key_text(text, &done, entries)?),
            },
        }
        Ok(())
    }
}

fn build(text: &Text<'_>, source: &str) -> Result<Node, Diagnostic> {
    let byte_offsets: Vec<usize> =
        source.char_indices().map(|(at, _)| at).chain(std::iter::once(source.len())).collect();
    let byte = |index: usize| byte_offsets.get(index).copied().unwrap_or(source.len());
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(source) {
        let (event, span) = event.map_err(|error| {
            let fault = text.fault(byte(error.marker().index()), format!("not YAML: {}", error.info()));
            fault.hint(
                "indent with spaces, write `key: value`, and put an expression with `: `, ` #` or a leading \
                 special character in quotes",
            )
        })?;
        let at = byte(span.start.index());
        let done = match event {
            Event::Scalar(_, _, anchor, ref tag) if anchor > 0 || tag.is_some() => {
                return Err(decorated(text, at));
            }
            Event::SequenceStart(anchor, ref tag) | Event::MappingStart(anchor, ref tag)
                if anchor > 0 || tag.is_some() =>
            {
                return Err(decorated(text, at));
            }
            Event::Alias(_) => return Err(decorated(text, at)),
            Event::DocumentStart(_) if root.is_some() => {
                return Err(text
                    .fault(at, "a second document begins here")
                    .hint("write one document per file"));
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= MAX_DEPTH => {
                return Err(text.fault(at, format!("nested more than {MAX_DEPTH} levels deep")));
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(at, Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(at, Vec::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(at, items)) => Node { at, value: Value::List(items) },
                Some(Open::Map(at, entries, _)) => Node { at, value: Value::Map(entries) },
                None => continue,
            },
            Event::Scalar(content, style, ..) => {
                Node { at, value: Value::Scalar(yaml_scalar(content.into_owned(), style, &span, at)) }
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {
                continue;
            }
        };
        match open.last_mut() {
            None => root = Some(done),
            Some(parent) => parent.take(text, done)?,
        }
    }
    root.ok_or_else(|| {
        text.fault(0, "the document is empty")
            .hint("start from an example: a file of the strategies/ directory, or `polybolos config example`")
    })
}

fn decorated(text: &Text<'_>, at: usize) -> Diagnostic {
    text.fault(at, "anchors (`&`), aliases (`*`) and tags (`!`) have no meaning here")
        .hint("write the value out, and put an expression that begins with one of them in quotes")
}

fn key_text(text: &Text<'_>, node: &Node, entries: &[Entry]) -> Result<(String, usize), Diagnostic> {
    let Value::Scalar(key) = &node.value else {
        return Err(text.fault(node.at, format!("a key must be a word, not {}", node.describe())));
    };
    if entries.len() == MAX_KEYS {
        return Err(text.fault(node.at, format!("a table of more than {MAX_KEYS} keys")));
    }
    if entries.iter().any(|entry| entry.key == key.text) {
        return Err(text
            .fault(node.at, format!("the key `{}` is here twice", super::shorten(&key.text)))
            .hint("keep one of them"));
    }
    Ok((key.text.clone(), node.at))
}

fn yaml_scalar(text: String, style: ScalarStyle, span: &Span, at: usize) -> Scalar {
    let inside = |quoting| Scalar { text: text.clone(), content_at: at + 1, quoting };
    match style {
        ScalarStyle::DoubleQuoted => inside(Quoting::Backslash),
        ScalarStyle::SingleQuoted => inside(Quoting::Doubled),
        ScalarStyle::Plain if span.is_empty() => {
            Scalar { text: String::new(), content_at: at, quoting: Quoting::None }
        }
        // Spans of blocks begin at their first character of content.
        ScalarStyle::Plain | ScalarStyle::Literal | ScalarStyle::Folded => {
            Scalar { text, content_at: at, quoting: Quoting::None }
        }
    }
}

/// Reads TOML through the spanned tables of the `toml` crate, which has its own recursion limit.
pub(super) fn toml(text: &Text<'_>) -> Result<Node, Diagnostic> {
    let table = DeTable::parse(text.text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        text.fault(at, format!("not TOML: {}", super::shorten(error.message())))
            .hint("texts and expressions want quotes in TOML: enter = \"close > open\"")
    })?;
    toml_table(text, table.span().start, table.get_ref(), 0)
}

fn toml_table(text: &Text<'_>, at: usize, table: &DeTable<'_>, depth: usize) -> Result<Node, Diagnostic> {
    if table.len() > MAX_KEYS {
        return Err(text.fault(at, format!("a table of more than {MAX_KEYS} keys")));
    }
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table {
        let value = toml_value(text, value.span(), value.get_ref(), depth + 1)?;
        entries.push(Entry { key: key.get_ref().to_string(), key_at: key.span().start, value });
    }
    // The table's own order is by name or by text, as the crate was built; parameters need the text's.
    entries.sort_by_key(|entry| entry.key_at);
    Ok(Node { at, value: Value::Map(entries) })
}

fn toml_value(
    text: &Text<'_>,
    span: std::ops::Range<usize>,
    value: &DeValue<'_>,
    depth: usize,
) -> Result<Node, Diagnostic> {
    let at = span.start;
    if depth > MAX_DEPTH {
        return Err(text.fault(at, format!("nested more than {MAX_DEPTH} levels deep")));
    }
    let plain = |text: String| Value::Scalar(Scalar { text, content_at: at, quoting: Quoting::None });
    let value = match value {
        DeValue::String(content) => {
            Value::Scalar(toml_string(text.text.get(span).unwrap_or(""), content.to_string(), at))
        }
        DeValue::Integer(number) if number.radix() != 10 => {
            return Err(text
                .fault(at, format!("`{number}` is not a decimal number"))
                .hint("write numbers in decimal"));
        }
        DeValue::Integer(number) => plain(number.as_str().replace('_', "")),
        DeValue::Float(number) => plain(number.as_str().replace('_', "")),
        DeValue::Boolean(value) => plain(value.to_string()),
        DeValue::Datetime(value) => plain(value.to_string()),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| toml_value(text, item.span(), item.get_ref(), depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => return toml_table(text, at, table, depth),
    };
    Ok(Node { at, value })
}

fn toml_string(raw: &str, text: String, at: usize) -> Scalar {
    let quoting = if raw.starts_with('"') { Quoting::Backslash } else { Quoting::None };
    let many = raw.starts_with("\"\"\"") || raw.starts_with("'''");
    let mut content = if many { 3 } else { 1 };
    if many {
        // A line break right behind the opening quotes is not part of the text.
        content += raw
            .get(3..)
            .map_or(0, |rest| if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) });
    }
    Scalar { text, content_at: at + content, quoting }
}
