//! What earlier fetches merged: `.fetch/<interval>/<symbol>.json` beside the bars, so a second run asks only for what is
//! new or was issued again.
//!
//! The bars are the truth. A record whose rows are no longer stored is not believed.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;

use polybolos_engine::interval::Interval;
use serde::{Deserialize, Serialize};

use polybolos_storage::{Location, Revision};

use crate::dataset::lock::WriteLock;
use crate::dataset::staging::{StagedFile, make_dir, sync_dir};
use crate::{DataError, Dataset};

const VERSION: u32 = 1;

/// What was merged from one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// SHA-256 of the zip.
    pub(crate) sha256: String,
    /// Open times that were wanted when it was merged.
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    /// Bars merged.
    pub(crate) rows: u64,
}

/// Everything fetched of one series.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    version: u32,
    /// By the zip's name.
    pub(crate) files: BTreeMap<String, Record>,
    /// Spans of open times that came from the REST interface and that an archive file may replace.
    pub(crate) rest: Vec<(i64, i64)>,
}

impl Manifest {
    /// The series' manifest; an empty one if there is none.
    pub(crate) fn load(dataset: &Dataset, symbol: &str, interval: Interval) -> Result<Manifest, DataError> {
        let place = place(dataset, symbol, interval);
        let text = match place.read() {
            Ok(text) => text,
            Err(error) if error.is_missing() => return Ok(Manifest::default()),
            Err(error) => return Err(error.into()),
        };
        let unreadable = |reason: String| {
            DataError::bad_file(
                &place.to_string(),
                format!("{reason}; delete it, the files are then downloaded again"),
            )
        };
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| unreadable(format!("cannot be read ({error})")))?;
        if manifest.version != VERSION {
            return Err(unreadable(format!("is of version {}, not {VERSION}", manifest.version)));
        }
        Ok(manifest)
    }

    pub(crate) fn save(
        &mut self,
        _lock: &WriteLock,
        dataset: &Dataset,
        symbol: &str,
        interval: Interval,
    ) -> Result<(), DataError> {
        self.version = VERSION;
        let place = place(dataset, symbol, interval);
        let dir = place.path().and_then(Path::parent);
        dir.map_or(Ok(()), make_dir)?;
        // In a bucket the last of two writers wins: a record that is lost only has its file downloaded again.
        StagedFile::write(&place, Some(Revision::any()), |sink| {
            serde_json::to_writer_pretty(sink, self).map_err(io::Error::from)
        })?
        .publish()?;
        dir.map_or(Ok(()), sync_dir)
    }

    /// Spans that earlier fetches wrote, and that a newer file may therefore correct.
    pub(crate) fn spans(&self) -> Vec<Range<i64>> {
        let files = self.files.values().map(|record| record.from_ms..record.to_ms);
        files.chain(self.rest.iter().map(|&(from, to)| from..to)).collect()
    }

    /// Forgets the records whose rows are not all stored.
    pub(crate) fn believe_only(&mut self, stored_times: &[i64]) {
        let stored = |span: Range<i64>| {
            let first_from = |ms: i64| stored_times.partition_point(|&time| time < ms);
            first_from(span.end) - first_from(span.start)
        };
        self.files.retain(|_, record| stored(record.from_ms..record.to_ms) as u64 >= record.rows);
    }
}

fn place(dataset: &Dataset, symbol: &str, interval: Interval) -> Location {
    dataset.location().join(&format!(".fetch/{interval}/{symbol}.json"))
}
