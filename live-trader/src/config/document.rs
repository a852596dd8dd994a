//! Documents other than a bot's file, read by the same rules: every key and value is checked against the type's schema, and
//! every fault has its place.

use std::collections::BTreeMap;

use polybolos_engine::diagnostic::{Diagnostics, Place, Text};
use polybolos_engine::strategy::Source;
use polybolos_engine::strategy::document;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::conform::Conform;
use super::load::close;
use super::tree::Item;

/// Where each key of a document was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(BTreeMap<String, Place>);

impl Places {
    /// The place of a path (`faults[1].on`), or of what it is part of.
    pub(crate) fn of(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            match (self.0.get(path), path.rsplit_once(['.', '['])) {
                (Some(place), _) => return place.clone(),
                (None, Some((parent, _))) => path = parent,
                (None, None) if path.is_empty() => return Place::flag("document".to_owned()),
                (None, None) => path = "",
            }
        }
    }
}

/// Reads `file`, called `what` in messages.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub(crate) fn read<T: DeserializeOwned + JsonSchema>(
    file: &Source,
    what: &str,
) -> Result<(T, Places), Diagnostics> {
    let mut schema = schemars::schema_for!(T).to_value();
    close(&mut schema);
    let text = Text::new(&file.name, &file.text);
    let root = Item::of_node(&text, &document::read(&text, file.format, what)?);
    let mut conform = Conform::new(&schema);
    let value = conform.value(&root, &schema, "");
    let Conform { mut faults, places, .. } = conform;
    let places = Places(places);
    let Some(value) = value else {
        return Err(faults.finish(()).err().unwrap_or_default());
    };
    match serde_path_to_error::deserialize(value) {
        Ok(document) => faults.finish((document, places)),
        Err(error) => {
            let path = error.path().to_string();
            faults.push(places.of(&path).fault(format!("`{path}`: {}", error.inner())));
            Err(faults.finish(()).err().unwrap_or_default())
        }
    }
}
