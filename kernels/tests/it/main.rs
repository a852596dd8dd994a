//! Tests of the crate through its public interface.

mod bars;
mod cuda;
mod evaluate;
mod indicator_batches;
mod indicator_formulas;
mod indicators;
mod naive;
mod precision;
mod support;
mod sweep;
mod sweep_blocks;
mod sweep_contests;
mod sweep_random;
mod sweep_time;
