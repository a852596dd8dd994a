//! The integration tests of the DataFusion face, one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on may panic")]

mod bars_table;
mod functions;
mod gpu;
#[path = "../../../kernels/tests/it/cuda/host.rs"]
#[allow(dead_code, reason = "the kernels' own tests look at more of it")]
mod host;
mod sql_guide;
mod sweeps;
mod synthetic;
mod top;
mod units;
