//! Files, profiles and environment in; a checked [`BotConfig`] out. And the ways back: schema, example, YAML.

use polybolos_engine::diagnostic::{Diagnostic, Diagnostics, Place, Text, did_you_mean};
use polybolos_engine::strategy::Source;
use serde_json::{Value, json};

use super::conform::Conform;
use super::tree::{self, Item, Tree};
use super::write::Writer;
use super::{BotConfig, example, rules};

/// Names that a profile may have.
pub const PROFILES: [&str; 3] = ["dev", "test", "prod"];

/// What a configuration is made from, besides the file.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Profile whose values are laid over the file's.
    pub profile: Option<String>,
    /// The process's environment; what does not begin with [`super::ENV_PREFIX`] is not looked at.
    pub environment: Vec<(String, String)>,
}

/// Reads a bot's file, lays the profile over it, then the environment, and checks the whole.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub fn load(file: &Source, sources: &Sources) -> Result<BotConfig, Diagnostics> {
    let schema = json_schema();
    let text = Text::new(&file.name, &file.text);
    let mut root = tree::of_file(&text, file.format)?;
    let mut conform = Conform::new(&schema);
    let chosen = profile(&mut root, sources.profile.as_deref(), &mut conform, &schema);
    if let Some(chosen) = chosen {
        root.merge(chosen);
    }
    let mut faults = Diagnostics::default();
    for item in tree::of_environment(&sources.environment, &mut faults) {
        root.merge(item);
    }
    conform.faults.0.extend(faults.0);
    conform.places.clear();
    let value = conform.value(&root, &schema, "");
    let Conform { mut faults, places, .. } = conform;
    let place = |path: &str| {
        let mut path = path;
        loop {
            if let Some(place) = places.get(path) {
                return place.clone();
            }
            path = path.rsplit_once(['.', '[']).map_or("", |(parent, _)| parent);
        }
    };
    let Some(value) = value else {
        return Err(faults.finish(()).err().unwrap_or_default());
    };
    let config: Result<BotConfig, _> = serde_path_to_error::deserialize(value);
    let config = config.map_err(|error| {
        let path = error.path().to_string();
        place(&path).fault(format!("`{path}`: {}", error.inner()))
    })?;
    for rules::Broken { path, message, hint } in rules::broken(&config) {
        faults.push(place(path).fault(message).hint(hint));
    }
    faults.finish(config)
}

/// Takes `profiles` out of the tree, checks all of them, and gives the chosen one.
fn profile<'s>(
    root: &mut Item,
    wanted: Option<&str>,
    conform: &mut Conform<'s>,
    schema: &'s Value,
) -> Option<Item> {
    let origin = root.place.clone();
    let field = root.take("profiles");
    let profiles = match field.as_ref().map(|field| &field.item.value) {
        Some(Tree::Map(profiles)) => profiles.as_slice(),
        Some(_) => {
            let place = field.as_ref().map_or(origin, |field| field.item.place.clone());
            conform.faults.push(place.fault("`profiles` must be a table with the keys dev, test, prod"));
            return None;
        }
        None => &[],
    };
    conform.is_part = true;
    for profile in profiles {
        if !PROFILES.contains(&profile.key.as_str()) {
            let hint = did_you_mean(&profile.key, PROFILES)
                .unwrap_or_else(|| "the profiles are dev, test, prod".into());
            let fault = profile.place.fault(format!("`{}` is not the name of a profile", profile.key));
            conform.faults.push(fault.hint(hint));
        }
        if profile.item.describe() != "nothing" {
            conform.value(&profile.item, schema, "");
        }
    }
    conform.is_part = false;
    let wanted = wanted?;
    let found = profiles.iter().find(|profile| profile.key == wanted);
    if found.is_none() {
        let names: Vec<&str> = profiles.iter().map(|profile| profile.key.as_str()).collect();
        let fault = Place::flag(format!("--profile {wanted}")).fault("the file has no such profile");
        conform.faults.push(fault.hint(match names.as_slice() {
            [] => "the file has no `profiles` section".to_owned(),
            names => format!("its profiles are {}", names.join(", ")),
        }));
    }
    found.map(|profile| profile.item.clone()).filter(|item| matches!(item.value, Tree::Map(_)))
}

/// Whether a document is a bot's file rather than a strategy: only the former has these keys.
///
/// # Errors
/// The text is not well formed.
pub fn is_bot(file: &Source) -> Result<bool, Diagnostic> {
    let root = tree::of_file(&Text::new(&file.name, &file.text), file.format)?;
    let Tree::Map(fields) = &root.value else { return Ok(false) };
    let has = |names: &[&str]| fields.iter().any(|field| names.contains(&field.key.as_str()));
    Ok(has(&["strategy", "capital", "symbols", "selection", "exchange", "risk", "evidence", "profiles"])
        && !has(&["long", "short"]))
}

/// The JSON Schema (draft 2020-12) of a bot's file.
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(BotConfig).to_value();
    close(&mut schema);
    schema["title"] = json!("Polybolos bot");
    let part = json!({ "type": "object", "description": "keys of the file that this profile replaces" });
    schema["properties"]["profiles"] = json!({
        "type": "object",
        "description": "values laid over the file's own by `--profile NAME` or POLYBOLOS_PROFILE",
        "properties": { "dev": part, "test": part, "prod": part },
        "additionalProperties": false,
    });
    schema
}

/// No table has keys that its type does not name.
pub(crate) fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("properties").is_some_and(Value::is_object)
                && !map.contains_key("additionalProperties")
                && map.get("type").is_some()
            {
                map.insert("additionalProperties".to_owned(), json!(false));
            }
            map.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

impl BotConfig {
    /// A file with every key there is, each explained; keys that are there instead of others are behind `#`.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn example() -> Result<String, String> {
        let schema = json_schema();
        let writer = Writer { schema: &schema, has_comments: true, alternatives: example::ALTERNATIVES };
        let body = writer.write(&example::bot())?;
        Ok(format!(
            "# A bot of Polybolos, with every key there is. Check it with `polybolos config check FILE`.\n\
             # No secret belongs here: name the variables that hold them.\n\
             # POLYBOLOS__RISK__MAX_DAILY_LOSS=0.05 in the environment replaces risk.max_daily_loss, and so on.\n\n\
             {body}\n\
             # Values laid over those above by --profile NAME or POLYBOLOS_PROFILE: dev, test, prod.\n\
             profiles:\n  dev:\n    logs:\n      filter: debug\n  test:\n    mode: testnet\n  prod:\n    logs:\n      format: json\n"
        ))
    }

    /// The configuration as YAML, in the order of its types.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn to_yaml(&self) -> Result<String, String> {
        let schema = json_schema();
        Writer { schema: &schema, has_comments: false, alternatives: &[] }.write(self)
    }

    /// The same configuration with everything in URLs that could be a secret taken out: user names, passwords, queries and
    /// fragments.
    #[must_use]
    pub fn redacted(&self) -> BotConfig {
        let mut config = self.clone();
        let exchange = &mut config.exchange;
        for url in
            [&mut exchange.rest_url, &mut exchange.stream_url, &mut exchange.ws_api_url].into_iter().flatten()
        {
            *url = redact_url(url);
        }
        config
    }
}

/// A URL without user, password, query and fragment.
fn redact_url(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (kept, dropped) = rest.split_at(end);
    let path_at = kept.find('/').unwrap_or(kept.len());
    let (authority, path) = kept.split_at(path_at);
    let host = authority.rsplit_once('@').map_or(authority.to_owned(), |(_, host)| format!("***@{host}"));
    let tail = if dropped.is_empty() { "" } else { "?***" };
    format!("{scheme}://{host}{path}{tail}")
}
