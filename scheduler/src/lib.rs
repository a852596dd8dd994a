//! The scheduler of a cluster: Ballista's scheduler, the sweep service in front of it, and the durable truth about what is
//! finished.
//!
//! [`server`] opens the ports; `service` checks requests; `coordinator` owns the [`driver`] (a pure state machine) and the
//! [`catalogue`], and does what the driver asks for through `ballista`. Units are computed by executors only, and a unit
//! counts as done when its result is in the store, whoever says what.
#![forbid(unsafe_code)]

pub mod access;
pub mod ballista;
pub mod catalogue;
mod coordinator;
pub mod driver;
pub mod error;
pub mod listener;
mod metrics;
pub mod pages;
mod query;
pub mod server;
pub mod service;
