//! Meaning: the strategy language, parameter spaces, the reference simulator, metrics and their statistics.
//!
//! Pure functions over values: no file, no socket, no clock, no thread, no Arrow. What reads the world (market data,
//! results, terminals) lives in the crates to the right and hands text and bars in.
#![forbid(unsafe_code)]

pub mod diagnostic;
pub mod digest;
pub mod interval;
pub mod metrics;
pub mod mismatch;
pub mod signals;
pub mod simulation;
pub mod space;
pub mod strategy;
pub mod sweep;
pub mod timerange;

pub use polybolos_kernels as kernels;
