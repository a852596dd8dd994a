//! What can go wrong between a request and its rows.

use std::path::PathBuf;

use datafusion::error::DataFusionError;
use polybolos_engine::diagnostic::Diagnostics;
use polybolos_engine::sweep::RankingError;
use polybolos_market_data::DataError;
use polybolos_proto::WireError;

/// An error of planning, running, storing or reading a sweep. Every message says where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The strategy document or an override is wrong.
    #[error(transparent)]
    Strategy(#[from] Diagnostics),
    /// The bars cannot be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A ranking or keep that cannot be.
    #[error(transparent)]
    Ranking(#[from] RankingError),
    /// A payload from another version or a damaged one.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A simulation refused its parameters.
    #[error("{symbol}, row {row}: {reason}")]
    Kernel {
        /// The symbol that was run.
        symbol: String,
        /// First row of the block that failed.
        row: u64,
        /// The kernel's message.
        reason: String,
    },
    /// The bars on disk are not those the sweep was planned on.
    #[error(
        "bars of {symbol} changed since the sweep was planned (digest {found}, planned {planned}); run the sweep again"
    )]
    DataChanged {
        /// The symbol.
        symbol: String,
        /// Digest found, first digits.
        found: String,
        /// Digest planned, first digits.
        planned: String,
    },
    /// No bar is left to run on.
    #[error("{symbol} has no {interval} bars{within}; see `polybolos data list`")]
    NoBars {
        /// The symbol.
        symbol: String,
        /// The interval.
        interval: String,
        /// ` in the time range`, when one was given.
        within: String,
    },
    /// `where` leaves nothing.
    #[error("`where` excludes every combination of the grid ({rows} rows); loosen it or the ranges")]
    NoCombination {
        /// Rows of the grid.
        rows: u64,
    },
    /// A file or folder of the results could not be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said and what to do.
        reason: String,
    },
    /// There is no such sweep, row or symbol.
    #[error("{0}")]
    NotFound(String),
    /// The run was cancelled; finished units are kept.
    #[error("cancelled; finished units are kept and the same command resumes")]
    Cancelled,
    /// The query engine failed.
    #[error("{0}")]
    Query(String),
}

impl PlanError {
    /// A file error with the system's reason.
    pub fn file(path: impl Into<PathBuf>, reason: impl std::fmt::Display) -> PlanError {
        PlanError::File { path: path.into(), reason: reason.to_string() }
    }
}

impl From<DataFusionError> for PlanError {
    /// Finds our own error inside the engine's wrappers, so that the user reads one sentence and not its path.
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::Context(_, inner) => PlanError::from(*inner),
            DataFusionError::SQL(error, _) => PlanError::Query(error.to_string()),
            DataFusionError::External(inner) => match inner.downcast::<PlanError>() {
                Ok(own) => *own,
                Err(other) => PlanError::Query(other.to_string()),
            },
            other => PlanError::Query(other.strip_backtrace()),
        }
    }
}

impl From<PlanError> for DataFusionError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Query(reason) => DataFusionError::Execution(reason),
            other => DataFusionError::External(Box::new(other)),
        }
    }
}
