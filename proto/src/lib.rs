//! The wire: protobuf messages and their conversion to and from the engine's types.
//!
//! A payload is a magic, a format version and a message ([`frame`]). A node that meets another version says so instead of
//! guessing. Nothing here does I/O.
#![forbid(unsafe_code)]

pub mod access;
mod convert;
pub mod frame;

/// Messages about sweeps, generated from `proto/sweep.proto`.
pub mod sweep {
    #![allow(
        missing_docs,
        unreachable_pub,
        reason = "generated from the .proto file, where the fields are described"
    )]
    #![allow(clippy::allow_attributes_without_reason, reason = "generated code brings its own attributes")]
    include!(concat!(env!("OUT_DIR"), "/polybolos.sweep.v1.rs"));
}

/// The sweep service and the reports of executors, generated from `proto/cluster.proto`.
pub mod cluster {
    #![allow(
        missing_docs,
        unreachable_pub,
        reason = "generated from the .proto file, where the fields are described"
    )]
    #![allow(clippy::allow_attributes_without_reason, reason = "generated code brings its own attributes")]
    #![allow(clippy::all, clippy::pedantic, reason = "generated code")]
    include!(concat!(env!("OUT_DIR"), "/polybolos.cluster.v1.rs"));
}

/// A message that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The payload belongs to another kind or format version.
    #[error(
        "payload is not a {wanted} (format version {version}); client, scheduler and executors must run the same polybolos"
    )]
    Foreign {
        /// What was expected.
        wanted: &'static str,
        /// The version this build speaks.
        version: u8,
    },
    /// The bytes after the header are no such message.
    #[error("payload of a {wanted} is damaged: {reason}")]
    Damaged {
        /// What was expected.
        wanted: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A field is missing or has an impossible value.
    #[error("message field {field}: {reason}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong, with the value.
        reason: String,
    },
    /// The sender computes other numbers than we do.
    #[error(
        "the plan was made by engine {theirs}, this process runs {ours}; run the same version everywhere"
    )]
    EngineVersion {
        /// The sender's.
        theirs: String,
        /// Ours.
        ours: String,
    },
}

/// Checks that the sender's engine computes the same numbers as ours.
///
/// # Errors
/// The versions differ.
pub fn check_engine_version(theirs: &str) -> Result<(), WireError> {
    let ours = polybolos_engine::sweep::engine_version();
    if theirs == ours { Ok(()) } else { Err(WireError::EngineVersion { theirs: theirs.to_owned(), ours }) }
}
