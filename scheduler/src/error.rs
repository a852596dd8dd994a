//! What keeps a scheduler from starting.

use std::net::SocketAddr;

use polybolos_plan::error::PlanError;

use crate::access::TokenError;
use crate::catalogue::CatalogueError;
use crate::listener::TlsError;

/// A scheduler that cannot start or go on. Every message says where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A port that others can reach, and nobody would be asked for a token.
    #[error(
        "{address} can be reached from other machines and no token is set; set POLYBOLOS_TOKEN (or --token-file), \
         bind to 127.0.0.1, or say --insecure on a network that you trust"
    )]
    Open {
        /// The address.
        address: SocketAddr,
    },
    /// A port that cannot be had.
    #[error("cannot listen on {address}: {reason}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// A token or a token file that cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A certificate or key that cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The catalogue cannot be opened or written.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The results folder or the dataset cannot be used.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Ballista's scheduler did not start.
    #[error("Ballista's scheduler: {0}")]
    Ballista(String),
    /// A setting that cannot be.
    #[error("{0}")]
    Settings(String),
    /// A listener ended.
    #[error("{what} stopped: {reason}")]
    Stopped {
        /// Which.
        what: &'static str,
        /// Why.
        reason: String,
    },
}
