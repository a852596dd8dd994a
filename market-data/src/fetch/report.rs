//! What a fetch brought.

use serde::Serialize;

/// A file or page that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedFile {
    /// The zip's name, or `REST` for the newest bars.
    pub file: String,
    /// Why, with the address.
    pub reason: String,
}

/// What a fetch brought of one symbol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SymbolFetch {
    /// The symbol.
    pub symbol: String,
    /// Files downloaded, verified and merged.
    pub files_new: u64,
    /// Files that an earlier run merged and that are still the same.
    pub files_current: u64,
    /// Size of the files downloaded.
    pub bytes: u64,
    /// Bars from the REST interface.
    pub rest_bars: u64,
    /// Bars new to the dataset.
    pub added: u64,
    /// Bars that the dataset had already.
    pub unchanged: u64,
    /// Bars of earlier fetches that a file issued again has corrected.
    pub replaced: u64,
    /// Bad rows dropped (only with `skip_bad`).
    pub dropped: u64,
    /// Months (`2023-01`) and days (`2023-01-31`) of which there are no bars at the source.
    pub missing: Vec<String>,
    /// What could not be had.
    pub failed: Vec<FailedFile>,
}

impl SymbolFetch {
    /// Whether the source had anything at all of the symbol in the span.
    pub fn has_bars(&self) -> bool {
        self.files_new + self.files_current + self.rest_bars > 0
    }
}

/// What a fetch brought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FetchReport {
    /// The interval's name, e.g. `1h`.
    pub interval: String,
    /// Every symbol, in the order asked for.
    pub symbols: Vec<SymbolFetch>,
    /// Whether it was cancelled before the end.
    pub cancelled: bool,
}

impl FetchReport {
    /// Whether everything that the source has was brought, and it had something of every symbol. Missing months and
    /// days do not count against it: markets open and close.
    pub fn is_complete(&self) -> bool {
        !self.cancelled && self.symbols.iter().all(|symbol| symbol.failed.is_empty() && symbol.has_bars())
    }
}
