//! Why a bot does not run.

use std::path::PathBuf;

use crate::alerts::AlertError;
use crate::binance::{ConnectorError, EndpointError, SecretError};
use crate::control::ServeError;
use crate::journal::JournalError;
use crate::simulator::SimulatorError;
use crate::symbol::Symbol;
use crate::venue::VenueError;

/// Why a bot does not start, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The file and the command line together make no bot.
    #[error("{0}")]
    Config(String),
    /// Live trading was not asked for in the way that it must be.
    #[error(
        "live mode trades with real money: say `--mode live --confirm-live {name}` if that is what you want"
    )]
    NotConfirmed {
        /// The bot's name.
        name: String,
    },
    /// The key can take money away.
    #[error(
        "the exchange says that this API key may withdraw; a bot's key must not: make one with reading and spot trading only, and restrict it to this machine's address"
    )]
    KeyMayWithdraw,
    /// The account cannot trade.
    #[error("the exchange says that this account or key may not trade")]
    CannotTrade,
    /// A pair that the exchange does not know.
    #[error("{symbol}: {reason}")]
    Symbol {
        /// The pair.
        symbol: Symbol,
        /// What is wrong.
        reason: String,
    },
    /// The exchange did not give what is needed to start.
    #[error("{what}: {error}")]
    Venue {
        /// What was asked for.
        what: String,
        /// What it answered.
        error: VenueError,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The API key cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// An address of the exchange cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The connector cannot be made.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The simulated exchange cannot be made.
    #[error(transparent)]
    Simulator(#[from] SimulatorError),
    /// Alerts cannot be set up.
    #[error(transparent)]
    Alerts(#[from] AlertError),
    /// The control port cannot be served.
    #[error(transparent)]
    Control(#[from] ServeError),
    /// A file of the state cannot be read or written.
    #[error("{}: {source} while {doing}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The system's word.
        source: std::io::Error,
    },
}
