//! The store of finished units: one Parquet file per unit under the digest of everything that decides it.
//!
//! `<results>/units/<first two digits>/<digest>.parquet`. A file is written under a temporary name, synced and renamed, so
//! what carries a digest is whole. What was written by a killed process stays behind as a temporary file that nobody has
//! locked any more; the next run removes it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::atomic_file;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::parquet::file::properties::WriterProperties;
use polybolos_engine::digest::Digest;
use polybolos_engine::metrics::{TrialParts, Trials};
use polybolos_kernels::stats::Stats;
use serde::{Deserialize, Serialize};

use crate::error::PlanError;
use crate::schema;

/// Key of the unit's summary in the Parquet metadata.
const SUMMARY_KEY: &str = "polybolos.unit";

/// Rows per row group in unit and result files.
pub(crate) const ROW_GROUP_ROWS: usize = 1 << 16;

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
    root: PathBuf,
}

impl UnitStore {
    /// The store under a results folder. Nothing is created until a unit is written.
    pub fn new(results: &Path) -> UnitStore {
        UnitStore { root: results.join("units") }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(format!("{name}.parquet"))
    }

    /// Reads a unit's summary; `None` if the unit is not there or its file is damaged (it is then computed again).
    pub fn summary(&self, digest: Digest) -> Option<UnitSummary> {
        let file = File::open(self.path(digest)).ok()?;
        summary_of(&ParquetRecordBatchReaderBuilder::try_new(file).ok()?)
    }

    /// Whether a unit is there, whole. A damaged one is not.
    ///
    /// # Errors
    /// The store cannot be looked into: nothing is known.
    pub fn contains(&self, digest: Digest) -> Result<bool, PlanError> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) => Ok(ParquetRecordBatchReaderBuilder::try_new(file)
                .ok()
                .and_then(|file| summary_of(&file))
                .is_some()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(PlanError::file(path, error)),
        }
    }

    /// Reads a unit; `None` if it is not there or its file is damaged (it is then computed again).
    pub fn read(&self, digest: Digest) -> Option<UnitResult> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(self.path(digest)).ok()?).ok()?;
        let summary = summary_of(&reader)?;
        let mut rows = Vec::new();
        for batch in reader.build().ok()? {
            rows.extend(schema::statistics_rows(&batch.ok()?)?);
        }
        Some(UnitResult { rows, summary })
    }

    /// Writes a unit.
    ///
    /// # Errors
    /// The disk is full, the folder cannot be written, or the like; nothing half-written stays.
    pub fn write(&self, digest: Digest, result: &UnitResult) -> Result<(), PlanError> {
        let path = self.path(digest);
        let summary =
            serde_json::to_string(&result.summary).map_err(|error| PlanError::file(&path, error))?;
        let properties = properties(vec![KeyValue::new(SUMMARY_KEY.to_owned(), summary)]);
        write_parquet(&path, properties, schema::statistics(), |writer| {
            for rows in result.rows.chunks(ROW_GROUP_ROWS) {
                writer
                    .write(&schema::statistics_batch(rows).map_err(|error| PlanError::file(&path, error))?)
                    .map_err(|error| PlanError::file(&path, error))?;
            }
            Ok(())
        })
    }

    /// Removes what killed processes left half-written. Files that a living process is writing are locked and stay.
    pub fn remove_leftovers(&self) {
        let Ok(folders) = fs::read_dir(&self.root) else { return };
        for folder in folders.flatten() {
            atomic_file::remove_leftovers(&folder.path());
        }
    }
}

fn summary_of(reader: &ParquetRecordBatchReaderBuilder<File>) -> Option<UnitSummary> {
    let pairs = reader.metadata().file_metadata().key_value_metadata()?;
    let text = pairs.iter().find(|pair| pair.key == SUMMARY_KEY)?.value.as_ref()?;
    serde_json::from_str(text).ok()
}

/// Properties of every file we write: nothing in them depends on the clock or the machine.
pub(crate) fn properties(metadata: Vec<KeyValue>) -> WriterProperties {
    WriterProperties::builder()
        .set_created_by(format!("polybolos {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_key_value_metadata(Some(metadata))
        .build()
}

/// Writes a Parquet file under a temporary name, syncs it and renames it.
pub(crate) fn write_parquet(
    path: &Path,
    properties: WriterProperties,
    schema: datafusion::arrow::datatypes::SchemaRef,
    fill: impl FnOnce(&mut ArrowWriter<&mut File>) -> Result<(), PlanError>,
) -> Result<(), PlanError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| PlanError::file(folder, error))?;
    }
    let mut refused = None;
    let written = atomic_file::write(path, |file| {
        let mut writer =
            ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).map_err(io::Error::other)?;
        fill(&mut writer).map_err(|error| {
            let io_error = io::Error::other(error.to_string());
            refused = Some(error);
            io_error
        })?;
        writer.close().map(drop).map_err(io::Error::other)
    });
    written.map_err(|error| refused.unwrap_or_else(|| PlanError::file(path, error)))
}
