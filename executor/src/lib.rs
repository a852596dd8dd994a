//! The executor: a process that computes the units of sweeps, and the tasks of queries, for a cluster's scheduler.
//!
//! It is Ballista's executor, assembled from its public parts (`ballista`), with what a sweep needs around it: an engine
//! that stops a cancelled task's kernels (`engine`), a reporter that tells the scheduler about units twice a second
//! (`reporter`), three pages for probes and Prometheus (`http`), and a working folder that is emptied and locked
//! (`work_dir`). [`Executor`] starts and drains it all.
//!
//! An executor holds nothing that would be missed: finished units are in the store, and everything else is computed again by
//! somebody else. It waits for a scheduler that is not there, joins again one that was restarted, and never ends by itself.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on may panic"))]

mod ballista;
pub mod config;
mod engine;
pub mod error;
mod gpu;
mod http;
mod memory;
mod metrics;
mod process;
mod reporter;
mod work_dir;

pub use config::ExecutorConfig;
pub use error::ExecutorError;
pub use process::{Executor, Stop};
