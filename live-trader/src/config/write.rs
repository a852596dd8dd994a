//! A configuration as YAML, in the order of its types, with or without what every key means.

use polybolos_engine::diagnostic::Text;
use polybolos_engine::strategy::Format;
use polybolos_engine::strategy::document::{self, Entry, Node, Value as Tree};
use serde_json::Value;

use super::BotConfig;
use super::conform::{description, resolve, tag_of, variants, words};

/// Columns of a comment.
const WIDTH: usize = 110;

/// How a configuration is written.
pub(crate) struct Writer<'s> {
    pub(crate) schema: &'s Value,
    /// Whether each key is explained.
    pub(crate) has_comments: bool,
    /// Keys that are written behind `#`, because they are there instead of others.
    pub(crate) alternatives: &'static [&'static str],
}

impl Writer<'_> {
    /// The text of `config`.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub(crate) fn write(&self, config: &BotConfig) -> Result<String, String> {
        // The types' own order survives in JSON text, not in a table of JSON values.
        let json = serde_json::to_string(config).map_err(|error| error.to_string())?;
        let text = Text::new("configuration", &json);
        let tree =
            document::read(&text, Format::Json, "a configuration").map_err(|fault| fault.to_string())?;
        let Tree::Map(entries) = &tree.value else { return Err("a configuration is a table".to_owned()) };
        let mut out = String::new();
        self.table(entries, self.schema, "", 0, &mut out);
        Ok(out)
    }

    fn table(&self, entries: &[Entry], schema: &Value, path: &str, indent: usize, out: &mut String) {
        let schema = resolve(self.schema, schema);
        for entry in entries {
            let key = &entry.key;
            let inner = schema
                .get("properties")
                .and_then(|known| known.get(key))
                .or_else(|| schema.get("additionalProperties"))
                .unwrap_or(&Value::Null);
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let mut text = String::new();
            self.entry(entry, inner, &path, indent, &mut text);
            if !self.alternatives.contains(&path.as_str()) {
                out.push_str(&text);
                continue;
            }
            for line in text.lines() {
                let (margin, rest) = line.split_at(indent.min(line.len()));
                out.push_str(&format!("{margin}# {rest}\n"));
            }
        }
    }

    fn entry(&self, entry: &Entry, schema: &Value, path: &str, indent: usize, out: &mut String) {
        let margin = " ".repeat(indent);
        if self.has_comments {
            if indent == 0 && !out.is_empty() {
                out.push('\n');
            }
            comment(&self.explanation(schema), &margin, out);
        }
        out.push_str(&format!("{margin}{}:", quoted(&entry.key)));
        self.value(&entry.value, schema, path, indent, out);
    }

    fn value(&self, node: &Node, schema: &Value, path: &str, indent: usize, out: &mut String) {
        let margin = " ".repeat(indent);
        match &node.value {
            Tree::Scalar(scalar) => {
                let schema = resolve(self.schema, schema);
                out.push_str(&scalar_text(&scalar.text, schema, indent));
            }
            Tree::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
            Tree::Map(entries) => {
                out.push('\n');
                self.table(entries, schema, path, indent + 2, out);
            }
            Tree::List(items) if items.is_empty() => out.push_str(" []\n"),
            Tree::List(items) => {
                out.push('\n');
                let inner = resolve(self.schema, schema).get("items").unwrap_or(&Value::Null);
                for item in items {
                    let mut text = String::new();
                    match &item.value {
                        Tree::Map(entries) => {
                            let variant = self.variant(inner, entries);
                            let plain = Writer { has_comments: false, alternatives: &[], ..*self };
                            plain.table(entries, variant, path, indent + 4, &mut text);
                        }
                        _ => self.value(item, inner, path, indent + 2, &mut text),
                    }
                    out.push_str(&format!("{margin}  - {}", text.trim_start()));
                }
            }
        }
    }

    /// Of schemas that a key with a fixed word tells apart, the one of this table.
    fn variant<'s>(&'s self, schema: &'s Value, entries: &[Entry]) -> &'s Value {
        let schema = resolve(self.schema, schema);
        let Some((tag, all)) = variants(schema) else { return schema };
        let word = entries.iter().find(|entry| entry.key == tag).and_then(|entry| match &entry.value.value {
            Tree::Scalar(scalar) => Some(scalar.text.as_str()),
            _ => None,
        });
        all.iter().find(|variant| tag_of(variant).map(|(_, word)| word) == word).unwrap_or(schema)
    }

    fn explanation(&self, schema: &Value) -> String {
        let target = resolve(self.schema, schema);
        let mut text = description(schema).or_else(|| description(target)).unwrap_or("").replace('\n', " ");
        if let Some(words) = words(target) {
            text.push_str(&format!(" One of: {}.", words.join(", ")));
        }
        match schema.get("default").or_else(|| target.get("default")) {
            Some(default @ (Value::Bool(_) | Value::Number(_))) => {
                text.push_str(&format!(" Default: {default}."));
            }
            Some(Value::String(default)) => text.push_str(&format!(" Default: {default}.")),
            _ => {}
        }
        text
    }
}

fn comment(text: &str, margin: &str, out: &mut String) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && margin.len() + 2 + line.len() + 1 + word.len() > WIDTH {
            out.push_str(&format!("{margin}# {line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        out.push_str(&format!("{margin}# {line}\n"));
    }
}

/// A value behind its key, with the space before and the line break after it.
fn scalar_text(text: &str, schema: &Value, indent: usize) -> String {
    let is_text = match schema.get("type") {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => !kinds.iter().any(|kind| kind == "number" || kind == "integer"),
        _ => true,
    };
    if !is_text || text == "null" && schema.get("type").is_some_and(Value::is_array) {
        // 5.0 is how JSON has the number 5 of a type that has fractions too.
        return format!(" {}\n", text.strip_suffix(".0").unwrap_or(text));
    }
    if is_block(text) {
        let margin = " ".repeat(indent + 2);
        let lines: Vec<String> = text
            .lines()
            .map(|line| if line.is_empty() { String::new() } else { format!("{margin}{line}") })
            .collect();
        return format!(" |\n{}\n", lines.join("\n"));
    }
    format!(" {}\n", quoted(text))
}

/// Whether a literal block gives back exactly this text.
fn is_block(text: &str) -> bool {
    let plain =
        |c: char| c == '\n' || (!c.is_control() && c != '\u{feff}' && c != '\u{2028}' && c != '\u{2029}');
    let Some(body) = text.strip_suffix('\n') else { return false };
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\n'])
        && text.chars().all(plain)
        && !text.contains('\u{85}')
        // A line of spaces would lose them or change the indentation.
        && text.lines().all(|line| line.is_empty() || !line.trim().is_empty())
}

/// A text as a YAML scalar: bare if that can mean nothing else, else in double quotes, whose escapes are JSON's.
fn quoted(text: &str) -> String {
    const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/');
    let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
    let is_interval = text.parse::<polybolos_engine::interval::Interval>().is_ok();
    if (starts && rest && !WORDS.contains(&text.to_ascii_lowercase().as_str())) || is_interval {
        return text.to_owned();
    }
    serde_json::to_string(text).unwrap_or_default()
}
