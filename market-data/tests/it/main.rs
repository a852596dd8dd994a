//! Features of the market data crate: datasets, imports, checks, synthetic markets and downloads.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "tests say aloud what they skip")]

mod dataset;
mod faults;
mod fetch;
mod fixtures;
mod formats;
mod mirror;
mod real_data;
mod rows;
mod synth;
