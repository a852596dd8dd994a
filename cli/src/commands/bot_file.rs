//! Reading a bot's file with its profile, the environment and its strategy.

use std::path::Path;

use polybolos_engine::diagnostic::Diagnostics;
use polybolos_engine::strategy::Source;
use polybolos_live_trader::config::{self, BotConfig, Sources};
use polybolos_live_trader::promotion::{BotStrategy, Standing, compile, inline_source, verify};

use crate::commands::strategy_file;
use crate::error::CliError;

/// A bot that can run, as far as its file tells.
pub(crate) struct Bot {
    pub config: BotConfig,
    pub strategy: BotStrategy,
    pub standing: Standing,
}

/// Why it cannot.
pub(crate) enum BotError {
    /// A file cannot be read.
    File(CliError),
    /// A text is wrong.
    Text(Diagnostics),
    /// It is not what was promoted.
    Changed(Vec<String>),
}

/// The profile and this process's environment.
pub(crate) fn sources(profile: Option<&str>) -> Sources {
    // A variable whose name or value is no text cannot be one of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Sources { profile: profile.map(str::to_owned), environment: environment.collect() }
}

/// Reads and checks a bot: its file, its strategy, its digests.
pub(crate) fn read(source: &Source, sources: &Sources) -> Result<Bot, BotError> {
    let config = config::load(source, sources).map_err(BotError::Text)?;
    let document = document(&config, source).map_err(BotError::File)?;
    let strategy = compile(&config.strategy, &document).map_err(BotError::Text)?;
    let standing = verify(&config, &strategy).map_err(BotError::Changed)?;
    Ok(Bot { config, strategy, standing })
}

/// The strategy document, from the bot's file or from the one it names, relative to it.
fn document(config: &BotConfig, source: &Source) -> Result<Source, CliError> {
    if let Some(inline) = inline_source(&config.strategy, &source.name) {
        return Ok(inline);
    }
    let file = config.strategy.file.as_deref().unwrap_or(Path::new(""));
    let folder = Path::new(&source.name).parent().unwrap_or(Path::new(""));
    strategy_file::source(&folder.join(file))
}
