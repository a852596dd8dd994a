//! The tables, and how a file of an older version becomes one of this.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::{CatalogueError, explain};

/// Marks the file as ours: `PLBL`.
const APPLICATION_ID: i64 = 0x504c_424c;

/// Step `i` makes version `i + 1` of version `i`. Steps are only ever added.
const STEPS: &[&str] = &["
    CREATE TABLE sweeps (
        number        INTEGER PRIMARY KEY,
        sweep_id      TEXT NOT NULL UNIQUE,
        owner         TEXT NOT NULL,
        request       BLOB NOT NULL,
        spec          BLOB NOT NULL,
        unit_rows     INTEGER NOT NULL,
        units         INTEGER NOT NULL,
        grid_rows     INTEGER NOT NULL,
        symbols       INTEGER NOT NULL,
        bars          INTEGER NOT NULL,
        state         TEXT NOT NULL,
        submitted_ms  INTEGER NOT NULL,
        started_ms    INTEGER,
        finished_ms   INTEGER,
        units_done    INTEGER NOT NULL DEFAULT 0,
        units_reused  INTEGER NOT NULL DEFAULT 0,
        units_failed  INTEGER NOT NULL DEFAULT 0,
        message       TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE INDEX sweeps_active ON sweeps (number) WHERE finished_ms IS NULL;
    CREATE TABLE unit_failures (
        sweep_id  TEXT NOT NULL REFERENCES sweeps (sweep_id),
        unit      INTEGER NOT NULL,
        attempts  INTEGER NOT NULL,
        reason    TEXT NOT NULL,
        PRIMARY KEY (sweep_id, unit)
    ) STRICT, WITHOUT ROWID;
"];

/// Takes the file for this process alone, checks it and brings it to the current version.
pub(super) fn prepare(file: &Path, connection: &mut Connection) -> Result<(), CatalogueError> {
    let error = |source| explain(file, source);
    let damaged = |what| CatalogueError::Damaged { file: file.to_owned(), what };
    // Exclusive before the write-ahead log: then that needs no shared memory, and the first transaction's lock is kept until the end.
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA foreign_keys = ON").map_err(error)?;
    let version = version(file, connection)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").map_err(error)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive).map_err(error)?;
    let what: String = transaction.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(error)?;
    if what != "ok" {
        return Err(damaged(what));
    }
    let done = usize::try_from(version).map_err(|_| damaged(format!("schema version {version}")))?;
    for step in STEPS.iter().skip(done) {
        transaction.execute_batch(step).map_err(error)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(error)?;
    transaction.pragma_update(None, "user_version", STEPS.len() as i64).map_err(error)?;
    transaction.commit().map_err(error)
}

/// Version of the schema in the file, which is left as it is: it may be somebody else's, or a newer program's.
fn version(file: &Path, connection: &Connection) -> Result<i64, CatalogueError> {
    let number =
        |sql| connection.query_row(sql, [], |row| row.get(0)).map_err(|source| explain(file, source));
    let application: i64 = number("PRAGMA application_id")?;
    let version: i64 = number("PRAGMA user_version")?;
    let tables: i64 = number("SELECT count(*) FROM sqlite_schema")?;
    if application != APPLICATION_ID && (application != 0 || version != 0 || tables != 0) {
        return Err(CatalogueError::Foreign { file: file.to_owned() });
    }
    let known = STEPS.len() as i64;
    if version > known {
        return Err(CatalogueError::Newer { file: file.to_owned(), found: version, known });
    }
    Ok(version)
}
