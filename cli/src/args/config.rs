//! Settings and documents.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::places::{DataDir, ResultsDir};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Effective settings and where each comes from; of a bot with --bot.
    Show {
        /// A bot's file: print what it comes to with profile and environment, credentials of URLs left out.
        #[arg(long, value_name = "FILE")]
        bot: Option<PathBuf>,
        #[command(flatten)]
        profile: ProfileArg,
        #[command(flatten)]
        data: DataDir,
        #[command(flatten)]
        results: ResultsDir,
        /// Threads that compute; default: all cores.
        #[arg(long, env = "POLYBOLOS_THREADS", value_parser = clap::value_parser!(u16).range(1..))]
        threads: Option<u16>,
    },
    /// Check strategy documents and bots' files: every error with file, line and column.
    Check {
        #[command(flatten)]
        profile: ProfileArg,
        /// Strategy documents and bots' files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// The JSON Schema of a strategy document or of a bot's file, for editors.
    Schema {
        /// Of which document.
        #[arg(value_enum, default_value_t = SchemaOf::Strategy)]
        of: SchemaOf,
    },
    /// A bot's file with every key there is, each explained.
    Example,
}

/// A profile of a bot's file.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProfileArg {
    /// Profile of a bot's file that is laid over it: dev, test or prod.
    #[arg(long, env = "POLYBOLOS_PROFILE", value_name = "NAME")]
    pub profile: Option<String>,
}

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SchemaOf {
    /// A strategy.
    Strategy,
    /// A bot.
    Bot,
}
