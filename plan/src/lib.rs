//! The DataFusion face: sweeps, bars and results as tables, one operator, one session builder.
//!
//! A request becomes a [`sweep_table::SweepTable`]; scanning it cuts the sweep into units, one per partition of a memory
//! source, under a [`sweep_exec::SweepExec`]; the operator computes or finds each unit ([`mod@unit`]) and keeps it in a
//! content-addressed [`store`]; [`run`] drives that to the end and writes the result files ([`results`]) and the
//! [`catalogue`]. Embedded and on a cluster it is the same operator, the same units and the same bytes.
#![forbid(unsafe_code)]

pub mod bars_table;
pub mod catalogue;
pub mod codec;
mod compute;
pub mod conclude;
pub mod error;
pub mod faults;
mod finished_units;
pub mod functions;
pub mod gpu;
mod kept;
mod location;
pub mod observer;
pub mod precision;
pub mod results;
pub mod results_table;
mod rows_file;
pub mod run;
pub mod runtime;
pub mod schema;
pub mod session;
pub mod sql_text;
pub mod store;
pub mod sweep_exec;
pub mod sweep_table;
pub mod top;
pub mod unit;
mod unit_run;
mod workers;
