//! Numbers only: indicators, the compiled strategy program, the sweep simulation and its sufficient statistics.
//!
//! This crate knows slices of `f64`, bit words and parameter vectors. It never sees a symbol, a clock, a file, an
//! Arrow array or an async runtime, and it rebuilds in seconds. Meaning (the strategy language, the reference
//! simulator, metrics) lives one crate up.
//!
//! An *undefined* number is `NaN` everywhere in this crate; infinities never leave an operation.

pub mod bars;
pub mod bits;
pub mod cuda;
pub mod evaluate;
pub mod frames;
pub mod indicators;
pub mod precision;
pub mod program;
pub mod series;
pub mod sim;
pub mod simd;
pub mod stats;
pub mod sweep;
