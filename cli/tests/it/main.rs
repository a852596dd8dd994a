//! The command line as users meet it: the real binary, real files, its output and exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set up must fail")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod backtest;
#[cfg(target_os = "linux")]
mod cluster;
mod demo;
mod devices;
mod documents;
mod exchange_sim;
mod executor;
mod fetch;
mod help;
mod import;
mod kill;
#[cfg(unix)]
mod live;
mod operations;
mod pipes;
mod place;
mod promote;
#[cfg(unix)]
mod s3;
mod sweep;
mod trade;
mod wrong_input;
