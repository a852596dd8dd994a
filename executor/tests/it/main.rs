//! Executors under a real scheduler of Ballista, one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

mod cluster;
mod market;
mod membership;
mod pages;
mod units;
