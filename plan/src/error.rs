//! What can go wrong between a request and its rows.

use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
use polybolos_engine::diagnostic::Diagnostics;
use polybolos_engine::sweep::RankingError;
use polybolos_market_data::DataError;
use polybolos_proto::WireError;
use polybolos_storage::{Location, StorageError};

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
    /// A file or folder of the results could not be reached.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A file of the results could not be written or read as what it should be.
    #[error("{location}: {reason}")]
    File {
        /// The file.
        location: Location,
        /// What is wrong and what to do.
        reason: String,
    },
    /// There is no such sweep, row or symbol.
    #[error("{0}")]
    NotFound(String),
    /// The run was cancelled; finished units are kept.
    #[error("cancelled; finished units are kept and the same command resumes")]
    Cancelled,
    /// A unit's thread panicked: a fault of ours.
    #[error(
        "{symbol}, rows {row_from} to {row_to}: the computation panicked ({message}); please report this with the strategy"
    )]
    Panicked {
        /// The symbol that was run.
        symbol: String,
        /// First row of the unit.
        row_from: u64,
        /// Row after its last.
        row_to: u64,
        /// What the panic said.
        message: String,
    },
    /// A unit that can never be done, as its receipt says.
    #[error("{0}")]
    Unit(String),
    /// An error that another attempt may not meet, as it came back from the query engine.
    #[error("{0}")]
    Transient(String),
    /// The query engine failed.
    #[error("{0}")]
    Query(String),
}

/// The text of a transient error inside an I/O error. Only a text: the engine looks for its own errors inside.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct TransientText(String);

impl PlanError {
    /// A file error with its reason.
    pub fn file(location: &Location, reason: impl std::fmt::Display) -> PlanError {
        PlanError::File { location: location.clone(), reason: reason.to_string() }
    }

    /// What a reader of Parquet says about a file.
    pub(crate) fn parquet(location: &Location, error: ParquetError) -> PlanError {
        match StorageError::within(error) {
            Ok(error) => error.into(),
            Err(error) => PlanError::file(location, error),
        }
    }

    /// Whether another attempt, perhaps on another machine, may succeed: files and folders that cannot be read or written
    /// now, a server that does not answer. What is wrong with a request, its bars, its numbers or its credentials stays wrong.
    pub fn is_transient(&self) -> bool {
        match self {
            PlanError::File { .. } | PlanError::Transient(_) => true,
            PlanError::Storage(error) => error.is_transient(),
            PlanError::Data(error) => error.is_transient(),
            _ => false,
        }
    }

    /// The error in the one form that Ballista tries again.
    pub(crate) fn into_retryable(self) -> DataFusionError {
        DataFusionError::IoError(std::io::Error::other(TransientText(self.to_string())))
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
            DataFusionError::ObjectStore(error) => {
                PlanError::Storage(StorageError::of_store("object storage", &error))
            }
            DataFusionError::IoError(error)
                if error.get_ref().is_some_and(|inner| inner.is::<TransientText>()) =>
            {
                PlanError::Transient(error.to_string())
            }
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
