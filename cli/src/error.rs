//! What a command can end with, and the exit code it means.

use std::process::ExitCode;

use datafusion::error::DataFusionError;
use polybolos_engine::diagnostic::Diagnostics;
use polybolos_engine::sweep::RankingError;
use polybolos_market_data::DataError;
use polybolos_plan::error::PlanError;

/// An error as the user reads it: one clear message.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The command line asks for something that cannot be: exit code 2.
    Usage(String),
    /// The command failed: exit code 1.
    Failed(String),
    /// Stdout was closed by its reader.
    OutputClosed,
}

impl CliError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            CliError::Usage(_) => ExitCode::from(2),
            CliError::Failed(_) => ExitCode::from(1),
            CliError::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CliError::Usage(message) | CliError::Failed(message) => f.write_str(message),
            CliError::OutputClosed => f.write_str("stdout was closed"),
        }
    }
}

impl From<PlanError> for CliError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Ranking(error) => error.into(),
            other => CliError::Failed(other.to_string()),
        }
    }
}

impl From<RankingError> for CliError {
    fn from(error: RankingError) -> Self {
        CliError::Usage(error.to_string())
    }
}

impl From<DataError> for CliError {
    fn from(error: DataError) -> Self {
        CliError::Failed(error.to_string())
    }
}

impl From<Diagnostics> for CliError {
    fn from(error: Diagnostics) -> Self {
        CliError::Failed(error.to_string())
    }
}

impl From<DataFusionError> for CliError {
    fn from(error: DataFusionError) -> Self {
        PlanError::from(error).into()
    }
}
