//! Market data: Parquet datasets of bars, importers, the downloader, quality checks and synthetic markets.
//!
//! Bars keep the exchange's own times and gaps: nothing here invents, fills or smooths a bar. Every way in goes through
//! the same row rules ([`import`]) and the same merge ([`Dataset::merge`]), so a row that reached a dataset is sorted,
//! unique in time, finite and positively priced whatever file or server it came from.

pub mod check;
mod dataset;
mod error;
pub mod fetch;
pub mod import;
mod parquet_bars;
mod symbol;
pub mod synth;
mod utc;

pub use dataset::merge::{MergeReport, OnConflict};
pub use dataset::{Dataset, Series};
pub use error::{BadRow, BadRows, Conflict, DataError, Place};
pub use parquet_bars::schema;
pub use symbol::symbol_name;
pub use utc::{period_end_ms, period_start_ms, utc_text};
