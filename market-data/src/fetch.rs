//! The downloader: Binance's public archive of spot bars, verified file by file, and its REST interface for the newest bars.
//!
//! Many files are on the way at once, but they are merged in the order of symbols and time, so the dataset does not
//! depend on which came first. Nothing is merged that was not verified; what has been merged is recorded and not
//! downloaded again unless the archive issues it again. A fetch that is cancelled or killed is taken up by the next.

mod archive;
mod http;
mod manifest;
mod plan;
mod progress;
mod report;
mod rest;
mod session;
mod spec;

use tokio_util::sync::CancellationToken;

pub use progress::{FileEnd, Progress, Silent};
pub use report::{FailedFile, FetchReport, SymbolFetch};
pub use spec::{ARCHIVE_URL, FetchSpec, Patience, REST_URL};

use crate::{DataError, Dataset};

/// Brings the bars that `spec` describes into the dataset, from the archive and then from the REST interface.
///
/// A file that cannot be had is part of the report, not an error, and does not keep others from being merged; a month or
/// day that the archive does not have is listed as missing. `cancel` stops the downloads at once; the files that had
/// arrived in order are merged first.
///
/// # Errors
/// [`DataError::BadRequest`] for an unusable spec, [`DataError::Unreachable`] if no connection can be made,
/// and what [`Dataset::merge`] returns but for conflicts, which the report names. The dataset is consistent in every case.
pub async fn fetch(
    spec: &FetchSpec,
    dataset: &Dataset,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<FetchReport, DataError> {
    let spec = spec.checked()?;
    session::Session::new(&spec, dataset, progress, cancel)?.run().await
}
