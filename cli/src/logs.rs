//! Logs of the commands that serve: to stderr, chosen by `RUST_LOG`.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// What is logged unless `RUST_LOG` says otherwise. Ballista writes several lines per task.
const DEFAULT_FILTER: &str =
    "info,ballista=warn,ballista_core=warn,ballista_executor=warn,ballista_scheduler=warn,datafusion=warn";

/// Starts logging; a second call changes nothing.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = match format {
        LogFormat::Text => logs.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    // Logs were started before.
    drop(started);
}
