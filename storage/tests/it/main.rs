//! Locations on a disk and in a bucket of a real S3 server: both must do the same.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set up must fail")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod names;
#[cfg(unix)]
mod places;
#[cfg(unix)]
#[allow(dead_code, reason = "other crates use more of it")]
#[path = "../../../tests/s3/server.rs"]
mod server;
