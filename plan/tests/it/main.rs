//! The integration tests of the DataFusion face, one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

mod bars_table;
mod functions;
mod sql_guide;
mod sweeps;
mod synthetic;
mod units;
