//! The store of finished units: one Parquet file per unit under the digest of everything that decides it.
//!
//! `<results>/units/<first two digits>/<digest>.parquet`. A file is written under a temporary name, synced and renamed, an
//! object is uploaded, so what carries a digest is whole. What was written by a killed process stays behind as a temporary file
//! that nobody has locked any more; the next run removes it.

use std::fs;

use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::parquet::file::reader::ChunkReader;
use polybolos_engine::digest::Digest;
use polybolos_engine::metrics::{TrialParts, Trials};
use polybolos_kernels::stats::Stats;
use polybolos_storage::{Location, Staged, StorageError, atomic_file, in_parallel};
use serde::{Deserialize, Serialize};

use crate::error::PlanError;
use crate::rows_file::{ROW_GROUP_ROWS, RowsTable, properties, stage_rows};
use crate::schema;
use crate::workers::Workers;

/// Key of the unit's summary in the Parquet metadata.
const SUMMARY_KEY: &str = "polybolos.unit";

/// What a unit found: the kept rows and the statistics over all its combinations.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitResult {
    /// Kept rows, ascending.
    pub rows: Vec<(u64, Stats)>,
    /// Summary over every combination of the unit.
    pub summary: UnitSummary,
}

/// Statistics over all combinations of a unit, kept or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitSummary {
    /// Combinations simulated (rows for which `where` holds).
    pub combos: u64,
    /// Sums over the trials' Sharpe ratios.
    #[serde(with = "trial_sums")]
    pub trials: Trials,
}

/// Trial sums in JSON: their integers are wider than JSON's readers can be trusted with, so they travel as texts.
mod trial_sums {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::{TrialParts, Trials};

    pub(super) fn serialize<S: Serializer>(trials: &Trials, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = trials.to_parts();
        [
            parts.count.to_string(),
            parts.sum.to_string(),
            parts.squares_high.to_string(),
            parts.squares_low.to_string(),
        ]
        .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Trials, D::Error> {
        let [count, sum, high, low] = <[String; 4]>::deserialize(deserializer)?;
        let parts = TrialParts {
            count: count.parse().map_err(D::Error::custom)?,
            sum: sum.parse().map_err(D::Error::custom)?,
            squares_high: high.parse().map_err(D::Error::custom)?,
            squares_low: low.parse().map_err(D::Error::custom)?,
        };
        Trials::from_parts(parts).map_err(D::Error::custom)
    }
}

/// A folder of unit files.
#[derive(Debug, Clone)]
pub struct UnitStore {
    root: Location,
}

impl UnitStore {
    /// The store under a results folder. Nothing is created until a unit is written.
    pub fn new(results: &Location) -> UnitStore {
        UnitStore { root: results.join("units") }
    }

    fn place(&self, digest: Digest) -> Location {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(&format!("{name}.parquet"))
    }

    /// Reads a unit's summary; `None` if the unit is not there or its file is damaged (it is then computed again).
    ///
    /// # Errors
    /// A server cannot be asked: nothing is known.
    pub fn summary(&self, digest: Digest) -> Result<Option<UnitSummary>, PlanError> {
        let file = known(&self.root, self.place(digest).open())?;
        Ok(file.and_then(|file| summary_of(&ParquetRecordBatchReaderBuilder::try_new(file).ok()?)))
    }

    /// [`UnitStore::summary`] of many units, in their order.
    ///
    /// # Errors
    /// As there.
    pub fn summaries(&self, digests: &[Digest]) -> Result<Vec<Option<UnitSummary>>, PlanError> {
        in_parallel(self.root.requests_at_once(), digests, |&digest| self.summary(digest))
    }

    /// Whether a unit is there, whole. A damaged file is not; an object is whole if it is there.
    ///
    /// # Errors
    /// The store cannot be looked into: nothing is known.
    pub fn contains(&self, digest: Digest) -> Result<bool, PlanError> {
        let place = self.place(digest);
        if place.is_remote() {
            return Ok(place.is_file()?);
        }
        match place.open() {
            Ok(file) => Ok(ParquetRecordBatchReaderBuilder::try_new(file)
                .ok()
                .and_then(|file| summary_of(&file))
                .is_some()),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// [`UnitStore::contains`] of many units, in their order.
    ///
    /// # Errors
    /// As there.
    pub fn contains_each(&self, digests: &[Digest]) -> Result<Vec<bool>, PlanError> {
        in_parallel(self.root.requests_at_once(), digests, |&digest| self.contains(digest))
    }

    /// Whether each of many units needs not be computed, in their order. What cannot be opened on a disk is computed again.
    ///
    /// # Errors
    /// A server cannot be asked: nothing is known.
    pub fn usable(&self, digests: &[Digest]) -> Result<Vec<bool>, PlanError> {
        if self.root.is_remote() {
            return self.contains_each(digests);
        }
        Ok(self.summaries(digests)?.iter().map(Option::is_some).collect())
    }

    /// Reads a unit; `None` if it is not there or its file is damaged (it is then computed again).
    ///
    /// # Errors
    /// A server cannot be asked: nothing is known.
    pub fn read(&self, digest: Digest) -> Result<Option<UnitResult>, PlanError> {
        let place = self.place(digest);
        if place.is_remote() {
            return Ok(known(&self.root, place.read())?.and_then(unit_of));
        }
        Ok(known(&self.root, place.open())?.and_then(unit_of))
    }

    /// Writes a unit, all but the waiting for the disk: it is in the store once it is committed.
    ///
    /// # Errors
    /// The disk is full, the folder cannot be written, or the like; nothing half-written stays.
    pub(crate) fn stage(
        &self,
        digest: Digest,
        result: &UnitResult,
        workers: &Workers,
    ) -> Result<StagedResult, PlanError> {
        let place = self.place(digest);
        let summary =
            serde_json::to_string(&result.summary).map_err(|error| PlanError::file(&place, error))?;
        let properties = properties(vec![KeyValue::new(SUMMARY_KEY.to_owned(), summary)]);
        let table = RowsTable { schema: schema::statistics(), columns: schema::statistics_columns() };
        let staged = stage_rows(&place, properties, table, workers, |writer| {
            result.rows.chunks(ROW_GROUP_ROWS).try_for_each(|rows| writer.write(rows.to_vec()))
        })?;
        Ok(StagedResult { staged, store: self.clone(), digest })
    }

    /// Removes what killed processes left half-written. Files that a living process is writing are locked and stay; a bucket
    /// shows nothing half-written.
    pub fn remove_leftovers(&self) {
        let Some(Ok(folders)) = self.root.path().map(fs::read_dir) else { return };
        for folder in folders.flatten() {
            atomic_file::remove_leftovers(&folder.path());
        }
    }
}

/// What is there; `None` for what is not. On a disk what cannot be opened is not there either: it is computed again and the
/// writing says what is wrong.
fn known<T>(root: &Location, found: Result<T, StorageError>) -> Result<Option<T>, PlanError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_missing() || !root.is_remote() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A unit from its file; `None` if that is damaged.
fn unit_of<R: ChunkReader + 'static>(file: R) -> Option<UnitResult> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).ok()?;
    let summary = summary_of(&reader)?;
    let mut rows = Vec::new();
    for batch in reader.build().ok()? {
        rows.extend(schema::statistics_rows(&batch.ok()?)?);
    }
    Some(UnitResult { rows, summary })
}

fn summary_of<R: ChunkReader + 'static>(reader: &ParquetRecordBatchReaderBuilder<R>) -> Option<UnitSummary> {
    let pairs = reader.metadata().file_metadata().key_value_metadata()?;
    let text = pairs.iter().find(|pair| pair.key == SUMMARY_KEY)?.value.as_ref()?;
    serde_json::from_str(text).ok()
}

/// A unit's whole file that does not carry its name yet; removed if it is dropped.
#[derive(Debug)]
pub struct StagedResult {
    staged: Staged,
    store: UnitStore,
    digest: Digest,
}

impl StagedResult {
    /// Gives the file its name. Waits for the disk or the server; computes nothing. Of two that computed the same unit the first
    /// one's stays; a damaged file is replaced.
    ///
    /// # Errors
    /// The file cannot be made last.
    pub fn commit(self) -> Result<(), PlanError> {
        let StagedResult { staged, store, digest } = self;
        Ok(staged.commit_unless(|| store.read(digest).is_ok_and(|stored| stored.is_some()))?)
    }
}
