//! Why an executor cannot start.

use std::net::SocketAddr;
use std::path::PathBuf;

use polybolos_kernels::cuda::CudaError;

/// An executor cannot start. Once it runs it has no errors of its own: it waits, tries again and logs.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// A setting that cannot be.
    #[error("{setting} {value}: {reason}")]
    Setting {
        /// The setting, as on the command line.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        reason: &'static str,
    },
    /// The port answers strangers and there is no token.
    #[error(
        "{address} can be reached from other machines and there is no token: set POLYBOLOS_TOKEN, bind 127.0.0.1, or say \
         --insecure"
    )]
    NoToken {
        /// The address to bind.
        address: SocketAddr,
    },
    /// The working folder is not ours to empty.
    #[error(
        "{path} is not an executor's working folder and is not empty (it holds {found}); name a new or an empty folder with \
         --work-dir, since whatever is in there is deleted"
    )]
    ForeignWorkDir {
        /// The folder.
        path: PathBuf,
        /// Something in it.
        found: String,
    },
    /// Another executor uses the working folder.
    #[error("{path} is in use by another executor; give each its own --work-dir")]
    BusyWorkDir {
        /// The folder.
        path: PathBuf,
    },
    /// The working folder cannot be used.
    #[error("{path}: {reason}")]
    WorkDir {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A port cannot be bound.
    #[error("cannot listen on {address}: {reason}; choose another with {flag}")]
    Port {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        reason: String,
        /// The flag that names it.
        flag: &'static str,
    },
    /// A GPU that was asked for by number cannot be used.
    #[error("GPU {ordinal}: {error}; leave it out of --gpu, or say --gpu auto")]
    Gpu {
        /// Its number.
        ordinal: usize,
        /// Why.
        error: CudaError,
    },
    /// The query engine cannot be set up.
    #[error("query engine: {0}")]
    Engine(String),
}
