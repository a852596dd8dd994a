//! Where bars and results lie: a directory, local or shared, or a bucket of an S3-compatible server.
//!
//! A [`Location`] is a file or a folder of either kind; everything above it is written once. Nothing half-written is ever
//! visible: a local file is written under a temporary name, synced and renamed ([`atomic_file`]), an object appears when its
//! upload is completed. Errors name the place, what stands in the way and what helps, and say whether another attempt may
//! succeed ([`StorageError::is_transient`]).
//!
//! All calls block; for many small ones at a time there is [`in_parallel`] with [`Location::requests_at_once`] threads.
//! Credentials come from the environment (`AWS_*`) or from the machine's role, and from nowhere else: a location with
//! credentials in it is refused, so nothing that names a location can hold a secret.
#![forbid(unsafe_code)]

pub mod atomic_file;
mod error;
mod location;
mod open_file;
mod parallel;
mod s3;
mod upload;

pub use error::StorageError;
pub use location::{Entry, Location, Revision, Staged};
pub use open_file::{OpenFile, OpenRead};
pub use parallel::in_parallel;
pub use s3::object_store;
