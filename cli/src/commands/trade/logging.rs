//! Log lines of a bot, as its file wants them.

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, stderr};
use std::path::Path;
use std::sync::Mutex;

use polybolos_live_trader::config::{LogFormat, Logs};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::error::CliError;

/// Name of the log where the terminal is taken by a picture and the file names none.
const LOG_FILE: &str = "bot.log";

/// Starts logging: to the file's `logs.file`, relative to `folder`, else to a file in `beside_picture`, else to stderr. `RUST_LOG` takes
/// the place of `logs.filter`.
pub(super) fn start(logs: &Logs, folder: &Path, beside_picture: Option<&Path>) -> Result<(), CliError> {
    let filter = match EnvFilter::try_from_default_env() {
        Ok(filter) => filter,
        Err(_) => EnvFilter::try_new(&logs.filter)
            .map_err(|error| CliError::Failed(format!("logs.filter `{}`: {error}", logs.filter)))?,
    };
    let path =
        logs.file.as_ref().map(|file| folder.join(file)).or(beside_picture.map(|dir| dir.join(LOG_FILE)));
    let (writer, has_colours) = match path {
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(&path);
            let file =
                file.map_err(|error| CliError::Failed(format!("logs.file {}: {error}", path.display())))?;
            (BoxMakeWriter::new(Mutex::new(file)), false)
        }
        None => (BoxMakeWriter::new(stderr), stderr().is_terminal()),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match logs.format {
        LogFormat::Text => lines.with_ansi(has_colours).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // Logs were started before.
    drop(started);
    Ok(())
}
