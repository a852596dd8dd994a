//! The arguments of `parity`.

use std::path::PathBuf;

use clap::Args;

use super::ProfileArg;

#[derive(Debug, Args)]
pub(crate) struct ParityArgs {
    /// The bot's file.
    pub bot: PathBuf,
    #[command(flatten)]
    pub profile: ProfileArg,
    /// Folder of the bot's state, with its journal; default: the one its file names.
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Differences of prices, quantities and fee rates up to this are none, basis points.
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    pub tolerance_bps: f64,
}
