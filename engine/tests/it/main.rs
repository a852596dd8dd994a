//! Feature tests of the engine, one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should stop with a place"
)]

mod metrics;
mod parity;
mod simulation;
mod strategy;
