//! Feature tests of the scheduler, one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should stop with a place"
)]

mod catalogue;
mod chaos;
mod driver;
mod sharing;
mod simulation;
