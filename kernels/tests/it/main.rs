//! Tests of the crate through its public interface.

mod indicator_formulas;
mod indicators;
