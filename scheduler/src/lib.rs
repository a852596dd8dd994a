//! The scheduler of a cluster: Ballista's scheduler, the sweep service in front of it, and the durable truth about what is
//! finished.
//!
//! [`driver`] decides what runs when, without doing anything itself; [`catalogue`] remembers which sweeps were asked for.
#![forbid(unsafe_code)]

pub mod catalogue;
pub mod driver;
