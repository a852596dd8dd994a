//! A bot's file as a tree whose every value knows its place: of the file, of a profile in it, or of an environment variable.

use polybolos_engine::diagnostic::{Diagnostic, Diagnostics, Place, Text};
use polybolos_engine::strategy::Format;
use polybolos_engine::strategy::document::{self, Node, Value, shorten};

/// Beginning of the environment variables that replace values of the file.
pub const ENV_PREFIX: &str = "POLYBOLOS__";

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) value: Tree,
}

/// What a value is made of.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    /// A key without a value.
    Nothing,
    /// `null` or `~`: switched off.
    Null,
    Text(String),
    List(Vec<Item>),
    Map(Vec<Field>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) item: Item,
}

impl Item {
    pub(crate) fn of_node(text: &Text<'_>, node: &Node) -> Item {
        let value = match &node.value {
            Value::Scalar(scalar) if node.is_empty() && scalar.text.is_empty() => Tree::Nothing,
            Value::Scalar(_) if node.is_empty() => Tree::Null,
            Value::Scalar(scalar) => Tree::Text(scalar.text.clone()),
            Value::List(items) => Tree::List(items.iter().map(|item| Item::of_node(text, item)).collect()),
            Value::Map(entries) => {
                let field = |entry: &document::Entry| Field {
                    key: entry.key.clone(),
                    place: text.place(entry.key_at),
                    item: Item::of_node(text, &entry.value),
                };
                Tree::Map(entries.iter().map(field).collect())
            }
        };
        Item { place: text.place(node.at), value }
    }

    /// "a list", "a table" or the text, for messages.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Tree::Nothing => "nothing".to_owned(),
            Tree::Null => "null".to_owned(),
            Tree::Text(text) => format!("`{}`", shorten(text)),
            Tree::List(_) => "a list".to_owned(),
            Tree::Map(_) => "a table".to_owned(),
        }
    }

    /// Takes a key out of a table.
    pub(crate) fn take(&mut self, key: &str) -> Option<Field> {
        let Tree::Map(fields) = &mut self.value else { return None };
        let index = fields.iter().position(|field| field.key == key)?;
        Some(fields.remove(index))
    }

    /// Puts `over` on top: tables are merged key by key, everything else is replaced.
    pub(crate) fn merge(&mut self, over: Item) {
        match (&mut self.value, over) {
            (Tree::Map(fields), Item { value: Tree::Map(others), .. }) => {
                for other in others {
                    match fields.iter_mut().find(|field| field.key == other.key) {
                        Some(field) => field.item.merge(other.item),
                        None => fields.push(other),
                    }
                }
            }
            (_, over) => *self = over,
        }
    }
}

/// The tree of a file.
pub(crate) fn of_file(text: &Text<'_>, format: Format) -> Result<Item, Diagnostic> {
    Ok(Item::of_node(text, &document::read(text, format, "a bot's file")?))
}

/// The trees of the variables that begin with [`ENV_PREFIX`], in the order of their names. `POLYBOLOS__RISK__MAX_DAILY_LOSS=0.05`
/// is `risk: {max_daily_loss: 0.05}`; the value is read as YAML is.
pub(crate) fn of_environment(variables: &[(String, String)], faults: &mut Diagnostics) -> Vec<Item> {
    let mut ours: Vec<&(String, String)> =
        variables.iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
    ours.sort();
    ours.into_iter().filter_map(|(name, value)| faults.take(of_variable(name, value))).collect()
}

fn of_variable(name: &str, value: &str) -> Result<Item, Diagnostic> {
    let place = Place::flag(name.to_owned());
    let path = name.strip_prefix(ENV_PREFIX).unwrap_or_default();
    let keys: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
    if keys.iter().any(String::is_empty) {
        return Err(place
            .fault("a key between double underscores is empty")
            .hint("write POLYBOLOS__SECTION__KEY=value, e.g. POLYBOLOS__RISK__MAX_DAILY_LOSS=0.05"));
    }
    let document = format!("value: {value}");
    let text = Text::new(name, &document);
    let node = document::read(&text, Format::Yaml, "the value").map_err(|fault| {
        place.fault(fault.message).hint("the value is read as YAML: a number, a word, or [A, B] for a list")
    })?;
    let mut item = Item::of_node(&text, &node)
        .take("value")
        .map(|field| field.item)
        .ok_or_else(|| place.fault("has no value that can be read"))?;
    item.relocate(&place);
    for key in keys.into_iter().rev() {
        let field = Field { key, place: place.clone(), item };
        item = Item { place: place.clone(), value: Tree::Map(vec![field]) };
    }
    Ok(item)
}

impl Item {
    fn relocate(&mut self, place: &Place) {
        self.place = place.clone();
        match &mut self.value {
            Tree::List(items) => items.iter_mut().for_each(|item| item.relocate(place)),
            Tree::Map(fields) => {
                for field in fields {
                    field.place = place.clone();
                    field.item.relocate(place);
                }
            }
            Tree::Nothing | Tree::Null | Tree::Text(_) => {}
        }
    }
}
