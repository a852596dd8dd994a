//! A document of keys, lists and texts, every one with its place in the file.
//!
//! YAML, JSON and TOML become the same tree. Scalars stay texts: what a text means (a number, an expression, a word)
//! is decided where it is read. No aliases, anchors or tags, so a small file is a small tree.

use crate::diagnostic::{Diagnostic, Text};

mod read;

/// Largest document in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// Deepest nesting of lists and tables; a strategy needs four.
const MAX_DEPTH: usize = 16;

/// Most keys in one table; the largest, `params`, has 64.
const MAX_KEYS: usize = 1_000;

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// YAML 1.2 without anchors, aliases and tags.
    Yaml,
    /// JSON (RFC 8259).
    Json,
    /// TOML 1.
    Toml,
}

impl Format {
    /// The format that a file name's extension (`yaml`, `yml`, `json`, `toml`, in any case) promises.
    pub fn from_file_name(name: &str) -> Option<Format> {
        match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => Some(Format::Yaml),
            "json" => Some(Format::Json),
            "toml" => Some(Format::Toml),
            _ => None,
        }
    }
}

/// A value and the byte offset where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub at: usize,
    /// What it is.
    pub value: Value,
}

/// What a document is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// One value, as text.
    Scalar(Scalar),
    /// Values in order.
    List(Vec<Node>),
    /// Keys with values, in order.
    Map(Vec<Entry>),
}

/// A key with its value. Keys of one map differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Byte offset of the key.
    pub key_at: usize,
    /// The value.
    pub value: Node,
}

/// A text as the format decodes it, and what of the file it was decoded from.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// The decoded text.
    pub text: String,
    /// Byte offset of the first character inside quotes or of a block.
    content_at: usize,
    quoting: Quoting,
}

/// How special characters are written inside a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoting {
    /// As they are.
    None,
    /// Behind a backslash.
    Backslash,
    /// Quotes twice.
    Doubled,
}

impl Node {
    /// "a list", "a table" or the text, for messages.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a table".to_owned(),
            Value::Scalar(scalar) if self.is_empty() => format!("nothing (`{}`)", scalar.text),
            Value::Scalar(scalar) => format!("`{}`", shorten(&scalar.text)),
        }
    }

    /// Whether this is a key without a value.
    pub fn is_empty(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar)
            if scalar.quoting == Quoting::None && matches!(scalar.text.as_str(), "" | "~" | "null"))
    }

    /// The entries of a table.
    pub(crate) fn map(&self, text: &Text<'_>, what: &str) -> Result<&[Entry], Diagnostic> {
        match &self.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(text.fault(self.at, format!("{what} must be a table of keys, not {}", self.describe()))),
        }
    }

    /// The text of a scalar.
    pub(crate) fn scalar(&self, text: &Text<'_>, what: &str) -> Result<&Scalar, Diagnostic> {
        match &self.value {
            Value::Scalar(scalar) if !self.is_empty() => Ok(scalar),
            _ => Err(text.fault(self.at, format!("{what} must be one value, not {}", self.describe()))),
        }
    }
}

/// The first characters of a text in one line, for messages.
pub fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    line.chars().take(LONGEST).chain("...".chars()).collect()
}

impl Scalar {
    /// For every character of the decoded text its byte offset in the file, then the offset behind the last one.
    ///
    /// Decoding only drops indentation, folds line breaks and resolves escapes, so walking both texts side by side
    /// finds every character again.
    pub(crate) fn offsets(&self, file: &str) -> Vec<usize> {
        let raw: Vec<(usize, char)> = file.get(self.content_at..).unwrap_or("").char_indices().collect();
        let place = |index: usize| raw.get(index).map_or(file.len(), |&(at, _)| self.content_at + at);
        let mut next = 0;
        let mut offsets = Vec::with_capacity(self.text.len() + 1);
        for wanted in self.text.chars() {
            if !wanted.is_whitespace() {
                while raw.get(next).is_some_and(|&(_, c)| c.is_whitespace()) {
                    next += 1;
                }
                while self.quoting == Quoting::Backslash && is_line_continuation(&raw, next) {
                    next += 1;
                    while raw.get(next).is_some_and(|&(_, c)| c.is_whitespace()) {
                        next += 1;
                    }
                }
            }
            offsets.push(place(next));
            next += match raw.get(next) {
                Some(&(_, '\\')) if self.quoting == Quoting::Backslash => escape_length(&raw, next),
                Some(&(_, '\'')) if self.quoting == Quoting::Doubled => 2,
                Some(&(_, c)) if wanted.is_whitespace() && !c.is_whitespace() => 0,
                Some(_) => 1,
                None => 0,
            };
        }
        offsets.push(place(next));
        offsets
    }
}

fn is_line_continuation(raw: &[(usize, char)], at: usize) -> bool {
    matches!(raw.get(at), Some((_, '\\'))) && raw.get(at + 1).is_some_and(|&(_, c)| c == '\n' || c == '\r')
}

/// Characters that an escape sequence takes, the backslash included.
fn escape_length(raw: &[(usize, char)], at: usize) -> usize {
    match raw.get(at + 1) {
        Some((_, 'x')) => 4,
        Some((_, 'u')) => 6,
        Some((_, 'U')) => 10,
        _ => 2,
    }
}

/// Reads a document, called `what` in messages; its root is a table.
///
/// # Errors
/// The first place where it is not well formed, with a way out.
pub fn read(text: &Text<'_>, format: Format, what: &str) -> Result<Node, Diagnostic> {
    if text.text.len() > MAX_DOCUMENT_BYTES {
        let size = text.text.len();
        return Err(text
            .fault(0, format!("the document has {size} bytes, more than {MAX_DOCUMENT_BYTES}"))
            .hint("write long lists of parameters' values as ranges: {from: 5, to: 500, step: 5}"));
    }
    let root = match format {
        Format::Yaml => read::yaml(text),
        Format::Json => read::json(text),
        Format::Toml => read::toml(text),
    }?;
    root.map(text, what)?;
    Ok(root)
}
