//! What was asked of the scheduler and what became of it: one SQLite file in the state folder. What is finished is not in it; that is what
//! the store of units says.
//!
//! Every method that changes something returns only once the change has reached the disk. One process at a time holds the file; it must lie
//! on a disk of the machine, as locks on network disks are not to be trusted. No secret is ever written: a row holds the request, the
//! resolved sweep, counts, times and messages.

mod schema;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

use crate::driver::{Ending, StateChange, SweepId, SweepState, UnitFailure};

/// Name of the file in the state folder.
const FILE: &str = "catalogue.sqlite";

/// What is wrong with the catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The state folder cannot be made.
    #[error("state folder {folder}: {source}; give --state a folder this process may write")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Somebody else has it.
    #[error(
        "{file} is in use by another scheduler; stop that one or give this one a --state folder of its own"
    )]
    InUse {
        /// The file.
        file: PathBuf,
    },
    /// From a newer version.
    #[error(
        "{file} has schema version {found}, this program knows up to {known}; run the version of polybolos that wrote it"
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Version in the file.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// Another program's database.
    #[error("{file} is a database of another program; give --state another folder")]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// Not a database, or a broken one.
    #[error(
        "{file} is damaged ({what}); restore it, or move it away and submit the sweeps again: finished units are kept in the results root"
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What was found.
        what: String,
    },
    /// No such sweep.
    #[error("there is no sweep {sweep}; see `polybolos jobs list`")]
    Unknown {
        /// The id asked for.
        sweep: SweepId,
    },
    /// The change does not fit the sweep's state.
    #[error("sweep {sweep} is {state} and cannot become {wanted}; submit it again to start it over")]
    WrongState {
        /// The sweep.
        sweep: SweepId,
        /// Its state.
        state: &'static str,
        /// The state asked for.
        wanted: &'static str,
    },
    /// A count that the file's integers cannot hold.
    #[error("sweep {sweep}: {column} is {value}, more than {most}; use a smaller grid", most = i64::MAX)]
    TooLarge {
        /// The sweep.
        sweep: SweepId,
        /// What is too large.
        column: &'static str,
        /// Its value.
        value: u64,
    },
    /// Anything else, most likely of the disk.
    #[error("{file}: {source}; check that the disk works and has room")]
    Database {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

/// A sweep to be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSweep {
    /// Its id.
    pub sweep: SweepId,
    /// Whose slots it uses.
    pub owner: String,
    /// The request, encoded.
    pub request: Vec<u8>,
    /// The request with symbols and bars resolved, encoded.
    pub spec: Vec<u8>,
    /// Rows of the grid in a unit. Fixed for good: units cut otherwise would not be found again in the store.
    pub unit_rows: u64,
    /// Units.
    pub units: u64,
    /// Combinations of the grid, over one symbol.
    pub grid_rows: u64,
    /// Symbols.
    pub symbols: u32,
    /// Bars over all symbols.
    pub bars: u64,
}

/// A sweep as it is remembered; times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepRow {
    /// Its id.
    pub sweep: SweepId,
    /// Whose slots it uses.
    pub owner: String,
    /// As of the first submission.
    pub unit_rows: u64,
    /// Units.
    pub units: u64,
    /// Combinations of the grid, over one symbol.
    pub grid_rows: u64,
    /// Symbols.
    pub symbols: u32,
    /// Bars over all symbols.
    pub bars: u64,
    /// Its state.
    pub state: SweepState,
    /// When it was submitted last.
    pub submitted_ms: i64,
    /// When the first unit was looked up; absent while queued.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// Finished units at its end; 0 before.
    pub units_done: u64,
    /// Units of these that were found finished.
    pub units_reused: u64,
    /// Failed units at its end.
    pub units_failed: u64,
    /// Why it failed; empty otherwise.
    pub message: String,
}

/// What became of an attempt to enter a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// It is new.
    Inserted(SweepRow),
    /// It was known, in whatever state.
    Known(SweepRow),
}

/// The open file. Dropped, it is free for the next.
#[derive(Debug)]
pub struct Catalogue {
    file: PathBuf,
    connection: Connection,
}

const COLUMNS: &str = "sweep_id, owner, unit_rows, units, grid_rows, symbols, bars, state, submitted_ms, started_ms, \
                       finished_ms, units_done, units_reused, units_failed, message";

impl Catalogue {
    /// Opens the catalogue in a folder, which is made if need be, and keeps every other process out.
    ///
    /// # Errors
    /// The folder cannot be written, the file is in use, damaged, another program's or of a newer version.
    pub fn open(folder: &Path) -> Result<Catalogue, CatalogueError> {
        std::fs::create_dir_all(folder)
            .map_err(|source| CatalogueError::Folder { folder: folder.to_owned(), source })?;
        let file = folder.join(FILE);
        let connection = Connection::open(&file).map_err(|source| explain(&file, source))?;
        let mut catalogue = Catalogue { file, connection };
        catalogue.connection.busy_timeout(Duration::ZERO).map_err(|source| catalogue.error(source))?;
        schema::prepare(&catalogue.file, &mut catalogue.connection)?;
        Ok(catalogue)
    }

    /// Enters a sweep as queued, unless it is known.
    ///
    /// # Errors
    /// A count too large, or the disk.
    pub fn insert_or_get(&mut self, new: &NewSweep, now_ms: i64) -> Result<Entry, CatalogueError> {
        let integer = |column, value| {
            i64::try_from(value).map_err(|_| CatalogueError::TooLarge {
                sweep: new.sweep.clone(),
                column,
                value,
            })
        };
        let unit_rows = integer("unit_rows", new.unit_rows)?;
        let units = integer("units", new.units)?;
        let grid_rows = integer("grid_rows", new.grid_rows)?;
        let bars = integer("bars", new.bars)?;
        let inserted = self
            .connection
            .execute(
                "INSERT INTO sweeps (sweep_id, owner, request, spec, unit_rows, units, grid_rows, symbols, bars, state, submitted_ms) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (sweep_id) DO NOTHING",
                params![
                    new.sweep.as_str(),
                    new.owner,
                    new.request,
                    new.spec,
                    unit_rows,
                    units,
                    grid_rows,
                    new.symbols,
                    bars,
                    SweepState::Queued.name(),
                    now_ms,
                ],
            )
            .map_err(|source| self.error(source))?;
        let row = self.known(&new.sweep)?;
        Ok(if inserted == 1 { Entry::Inserted(row) } else { Entry::Known(row) })
    }

    /// Queues a sweep again that has ended, for whoever submits it now. Its documents and the cut of its units stay; the account of its
    /// last run is erased.
    ///
    /// # Errors
    /// It is not known, or has not ended; or the disk.
    pub fn restart(&mut self, sweep: &SweepId, owner: &str, now_ms: i64) -> Result<SweepRow, CatalogueError> {
        let row = self.known(sweep)?;
        if !row.state.is_final() {
            return Err(wrong_state(&row, SweepState::Queued));
        }
        self.change(|transaction| {
            transaction.execute("DELETE FROM unit_failures WHERE sweep_id = ?1", [sweep.as_str()])?;
            // A new number: the order of the numbers is the order of submission.
            transaction.execute(
                "UPDATE sweeps SET number = (SELECT max(number) + 1 FROM sweeps), owner = ?2, state = ?3, submitted_ms = ?4, \
                 started_ms = NULL, finished_ms = NULL, units_done = 0, units_reused = 0, units_failed = 0, message = '' \
                 WHERE sweep_id = ?1",
                params![sweep.as_str(), owner, SweepState::Queued.name(), now_ms],
            )
        })?;
        self.known(sweep)
    }

    /// Writes down what the driver asked to be recorded.
    ///
    /// # Errors
    /// The sweep is not known or has ended; or the disk.
    pub fn record(
        &mut self,
        sweep: &SweepId,
        change: &StateChange,
        now_ms: i64,
    ) -> Result<(), CatalogueError> {
        let row = self.known(sweep)?;
        let wanted = match change {
            StateChange::Started => SweepState::Running,
            StateChange::Writing => SweepState::Writing,
            StateChange::Ended(ending) => ending.state,
        };
        if row.state.is_final() || (matches!(change, StateChange::Ended(_)) && !wanted.is_final()) {
            return Err(wrong_state(&row, wanted));
        }
        match change {
            // A sweep that is resumed goes on; it does not start.
            StateChange::Started => self.change(|transaction| {
                transaction.execute(
                    "UPDATE sweeps SET state = ?2, started_ms = coalesce(started_ms, ?3) WHERE sweep_id = ?1",
                    params![sweep.as_str(), wanted.name(), now_ms],
                )
            }),
            StateChange::Writing => self.change(|transaction| {
                let sql = "UPDATE sweeps SET state = ?2 WHERE sweep_id = ?1";
                transaction.execute(sql, params![sweep.as_str(), wanted.name()])
            }),
            StateChange::Ended(ending) => self.record_end(sweep, ending, now_ms),
        }
    }

    fn record_end(&mut self, sweep: &SweepId, ending: &Ending, now_ms: i64) -> Result<(), CatalogueError> {
        let integer = |column, value| {
            i64::try_from(value).map_err(|_| CatalogueError::TooLarge { sweep: sweep.clone(), column, value })
        };
        let done = integer("units_done", ending.units_done)?;
        let reused = integer("units_reused", ending.units_reused)?;
        let failed = integer("units_failed", ending.units_failed)?;
        let failures = ending
            .failures
            .iter()
            .map(|failure| Ok((integer("unit", failure.unit)?, failure)))
            .collect::<Result<Vec<_>, CatalogueError>>()?;
        self.change(|transaction| {
            transaction.execute("DELETE FROM unit_failures WHERE sweep_id = ?1", [sweep.as_str()])?;
            let mut insert = transaction
                .prepare("INSERT INTO unit_failures (sweep_id, unit, attempts, reason) VALUES (?1, ?2, ?3, ?4)")?;
            for (unit, failure) in &failures {
                insert.execute(params![sweep.as_str(), unit, failure.attempts, failure.reason])?;
            }
            transaction.execute(
                "UPDATE sweeps SET state = ?2, finished_ms = ?3, units_done = ?4, units_reused = ?5, units_failed = ?6, \
                 message = ?7 WHERE sweep_id = ?1",
                params![sweep.as_str(), ending.state.name(), now_ms, done, reused, failed, ending.message],
            )
        })
    }

    /// The sweeps that have not ended, oldest first: what a scheduler takes up again when it starts.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn active(&self) -> Result<Vec<SweepRow>, CatalogueError> {
        self.rows("WHERE finished_ms IS NULL ORDER BY number", [])
    }

    /// The last `limit` sweeps, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn list(&self, limit: u32, only_active: bool) -> Result<Vec<SweepRow>, CatalogueError> {
        let filter = "WHERE finished_ms IS NULL OR NOT ?1 ORDER BY number DESC LIMIT ?2";
        self.rows(filter, params![only_active, limit])
    }

    /// A sweep, if it is known.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn get(&self, sweep: &SweepId) -> Result<Option<SweepRow>, CatalogueError> {
        Ok(self.rows("WHERE sweep_id = ?1", [sweep.as_str()])?.pop())
    }

    /// The request and the resolved sweep, as they were entered.
    ///
    /// # Errors
    /// The sweep is not known, or the file cannot be read.
    pub fn documents(&self, sweep: &SweepId) -> Result<(Vec<u8>, Vec<u8>), CatalogueError> {
        let sql = "SELECT request, spec FROM sweeps WHERE sweep_id = ?1";
        self.connection
            .query_row(sql, [sweep.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(|source| self.error(source))?
            .ok_or_else(|| CatalogueError::Unknown { sweep: sweep.clone() })
    }

    /// The failed units of the sweep's last run that were kept, by number.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn failures(&self, sweep: &SweepId) -> Result<Vec<UnitFailure>, CatalogueError> {
        let read = || {
            let sql = "SELECT unit, attempts, reason FROM unit_failures WHERE sweep_id = ?1 ORDER BY unit";
            let mut statement = self.connection.prepare(sql)?;
            let failure = |row: &Row<'_>| {
                Ok(UnitFailure { unit: count(row, 0)?, attempts: row.get(1)?, reason: row.get(2)? })
            };
            statement.query_map([sweep.as_str()], failure)?.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(|source| self.error(source))
    }

    fn known(&self, sweep: &SweepId) -> Result<SweepRow, CatalogueError> {
        self.get(sweep)?.ok_or_else(|| CatalogueError::Unknown { sweep: sweep.clone() })
    }

    fn rows(&self, filter: &str, values: impl rusqlite::Params) -> Result<Vec<SweepRow>, CatalogueError> {
        let read = || {
            let mut statement = self.connection.prepare(&format!("SELECT {COLUMNS} FROM sweeps {filter}"))?;
            statement.query_map(values, sweep_row)?.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(|source| self.error(source))
    }

    /// All of it or nothing, and on the disk.
    fn change(
        &mut self,
        write: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<usize, rusqlite::Error>,
    ) -> Result<(), CatalogueError> {
        let written = (|| {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            write(&transaction)?;
            transaction.commit()
        })();
        written.map_err(|source| self.error(source))
    }

    fn error(&self, source: rusqlite::Error) -> CatalogueError {
        explain(&self.file, source)
    }
}

fn wrong_state(row: &SweepRow, wanted: SweepState) -> CatalogueError {
    CatalogueError::WrongState { sweep: row.sweep.clone(), state: row.state.name(), wanted: wanted.name() }
}

/// A count; SQLite's integers have a sign.
fn count(row: &Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

fn sweep_row(row: &Row<'_>) -> Result<SweepRow, rusqlite::Error> {
    let state: String = row.get(7)?;
    let state = SweepState::from_name(&state).ok_or_else(|| {
        let what = format!("`{state}` is not a state of a sweep");
        rusqlite::Error::FromSqlConversionFailure(7, rusqlite::types::Type::Text, what.into())
    })?;
    Ok(SweepRow {
        sweep: SweepId::new(&row.get::<_, String>(0)?),
        owner: row.get(1)?,
        unit_rows: count(row, 2)?,
        units: count(row, 3)?,
        grid_rows: count(row, 4)?,
        symbols: row.get(5)?,
        bars: count(row, 6)?,
        state,
        submitted_ms: row.get(8)?,
        started_ms: row.get(9)?,
        finished_ms: row.get(10)?,
        units_done: count(row, 11)?,
        units_reused: count(row, 12)?,
        units_failed: count(row, 13)?,
        message: row.get(14)?,
    })
}

/// What an error of SQLite means for whoever runs the scheduler.
fn explain(file: &Path, source: rusqlite::Error) -> CatalogueError {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseCorrupt, DatabaseLocked, NotADatabase};
    let file = file.to_owned();
    match (source.sqlite_error_code(), &source) {
        (Some(DatabaseBusy | DatabaseLocked), _) => CatalogueError::InUse { file },
        (Some(DatabaseCorrupt | NotADatabase), _)
        | (
            None,
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..),
        ) => CatalogueError::Damaged { file, what: source.to_string() },
        _ => CatalogueError::Database { file, source },
    }
}
