//! The catalogue: what it remembers, what it survives, what it refuses.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use polybolos_scheduler::catalogue::{Catalogue, CatalogueError, Entry, NewSweep};
use polybolos_scheduler::driver::{Ending, StateChange, SweepId, SweepState, UnitFailure};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn id(name: &str) -> SweepId {
    SweepId::new(name)
}

fn new_sweep(name: &str) -> NewSweep {
    NewSweep {
        sweep: id(name),
        owner: "ada".to_owned(),
        request: vec![0, 1, 255],
        spec: vec![7; 3_000],
        unit_rows: 4_096,
        units: 411 * 25,
        grid_rows: 100_000,
        symbols: 411,
        bars: 1 << 40,
    }
}

fn ending(state: SweepState) -> StateChange {
    StateChange::Ended(Ending {
        state,
        units_done: 10_270,
        units_reused: 20,
        units_failed: 2,
        failures: vec![
            UnitFailure { unit: 3, attempts: 4, reason: "connection reset".to_owned() },
            UnitFailure { unit: 9_999, attempts: 1, reason: "no column `clsoe`".to_owned() },
        ],
        message: "2 units failed".to_owned(),
    })
}

/// The documented life of a sweep, at every step seen through another opening of the file.
#[test]
fn a_sweep_is_remembered_through_its_life() {
    let folder = folder();
    let open = || Catalogue::open(folder.path()).unwrap();
    let sweep = id("sma-1");
    let Entry::Inserted(row) = open().insert_or_get(&new_sweep("sma-1"), 1_000).unwrap() else {
        panic!("it is new");
    };
    assert_eq!(
        (row.state, row.submitted_ms, row.started_ms, row.finished_ms),
        (SweepState::Queued, 1_000, None, None)
    );
    assert_eq!(
        (row.unit_rows, row.units, row.grid_rows, row.symbols, row.bars),
        (4_096, 10_275, 100_000, 411, 1 << 40)
    );
    let other_cut = NewSweep { unit_rows: 1, owner: "eve".to_owned(), ..new_sweep("sma-1") };
    assert_eq!(open().insert_or_get(&other_cut, 2_000).unwrap(), Entry::Known(row));
    assert_eq!(open().documents(&sweep).unwrap(), (vec![0, 1, 255], vec![7; 3_000]));

    open().record(&sweep, &StateChange::Started, 3_000).unwrap();
    open().record(&sweep, &StateChange::Started, 9_000).unwrap();
    let row = open().get(&sweep).unwrap().unwrap();
    assert_eq!(
        (row.state, row.started_ms),
        (SweepState::Running, Some(3_000)),
        "a resumed sweep started once"
    );
    open().record(&sweep, &StateChange::Writing, 9_500).unwrap();
    assert_eq!(open().get(&sweep).unwrap().unwrap().state, SweepState::Writing);
    assert_eq!(open().active().unwrap().len(), 1);

    open().record(&sweep, &ending(SweepState::Failed), 10_000).unwrap();
    let row = open().get(&sweep).unwrap().unwrap();
    assert_eq!((row.state, row.finished_ms), (SweepState::Failed, Some(10_000)));
    assert_eq!((row.units_done, row.units_reused, row.units_failed), (10_270, 20, 2));
    assert_eq!(row.message, "2 units failed");
    let StateChange::Ended(expected) = ending(SweepState::Failed) else { unreachable!() };
    assert_eq!(open().failures(&sweep).unwrap(), expected.failures);
    assert_eq!(open().active().unwrap(), []);

    let row = open().restart(&sweep, "eve", 20_000).unwrap();
    assert_eq!(
        (row.state, row.submitted_ms, row.started_ms, row.finished_ms),
        (SweepState::Queued, 20_000, None, None)
    );
    assert_eq!(
        (row.owner.as_str(), row.unit_rows, row.units_done, row.message.as_str()),
        ("eve", 4_096, 0, "")
    );
    assert_eq!(open().failures(&sweep).unwrap(), []);
    assert_eq!(open().active().unwrap(), [row]);
}

#[test]
fn lists_are_newest_first_and_what_goes_on_is_oldest_first() {
    let folder = folder();
    let mut catalogue = Catalogue::open(folder.path()).unwrap();
    for name in ["a", "b", "c", "d"] {
        catalogue.insert_or_get(&new_sweep(name), 5).unwrap();
    }
    catalogue.record(&id("a"), &ending(SweepState::Complete), 6).unwrap();
    catalogue.record(&id("c"), &ending(SweepState::Cancelled), 7).unwrap();
    let names = |rows: Vec<polybolos_scheduler::catalogue::SweepRow>| {
        rows.iter().map(|row| row.sweep.to_string()).collect::<String>()
    };
    assert_eq!(names(catalogue.list(100, false).unwrap()), "dcba");
    assert_eq!(names(catalogue.list(3, false).unwrap()), "dcb");
    assert_eq!(names(catalogue.list(100, true).unwrap()), "db");
    assert_eq!(names(catalogue.active().unwrap()), "bd");
    catalogue.restart(&id("a"), "ada", 8).unwrap();
    assert_eq!(names(catalogue.active().unwrap()), "bda", "submitted again, it is the last in line");
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let folder = folder();
    let mut catalogue = Catalogue::open(folder.path()).unwrap();
    let unknown = catalogue.record(&id("x"), &StateChange::Started, 0).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no sweep x; see `polybolos jobs list`");
    assert!(matches!(catalogue.documents(&id("x")), Err(CatalogueError::Unknown { .. })));
    assert!(matches!(catalogue.restart(&id("x"), "ada", 0), Err(CatalogueError::Unknown { .. })));
    assert_eq!(catalogue.get(&id("x")).unwrap(), None);

    catalogue.insert_or_get(&new_sweep("a"), 0).unwrap();
    assert!(matches!(catalogue.restart(&id("a"), "ada", 0), Err(CatalogueError::WrongState { .. })));
    assert!(catalogue.record(&id("a"), &ending(SweepState::Running), 0).is_err(), "not an end");
    catalogue.record(&id("a"), &ending(SweepState::Complete), 1).unwrap();
    let before = catalogue.get(&id("a")).unwrap();
    let late = catalogue.record(&id("a"), &ending(SweepState::Failed), 2).unwrap_err();
    assert_eq!(
        late.to_string(),
        "sweep a is complete and cannot become failed; submit it again to start it over"
    );
    assert_eq!(catalogue.get(&id("a")).unwrap(), before);

    let large = NewSweep { units: u64::MAX, ..new_sweep("b") };
    let error = catalogue.insert_or_get(&large, 0).unwrap_err();
    assert!(error.to_string().starts_with("sweep b: units is 18446744073709551615, more than"), "{error}");
    assert_eq!(catalogue.get(&id("b")).unwrap(), None);
}

#[test]
fn two_schedulers_cannot_share_a_catalogue() {
    let folder = folder();
    let mut first = Catalogue::open(folder.path()).unwrap();
    let second = Catalogue::open(folder.path()).unwrap_err();
    assert!(matches!(second, CatalogueError::InUse { .. }), "{second}");
    assert!(second.to_string().contains("stop that one or give this one a --state folder of its own"));
    first.insert_or_get(&new_sweep("a"), 0).unwrap();
    drop(first);
    assert_eq!(Catalogue::open(folder.path()).unwrap().active().unwrap().len(), 1);
}

/// Set for the child process of the next test.
const KILLED_CHILD: &str = "POLYBOLOS_TEST_CATALOGUE_TO_BE_KILLED_OVER";

#[test]
fn what_was_replied_is_there_after_a_kill() {
    if let Ok(folder) = std::env::var(KILLED_CHILD) {
        write_until_killed(Path::new(&folder));
    }
    let folder = folder();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "catalogue::what_was_replied_is_there_after_a_kill", "--nocapture"])
        .env(KILLED_CHILD, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut replied = Vec::new();
    while replied.len() < 40 {
        let line = lines.next().expect("the child writes until it is killed");
        replied.extend(line.strip_prefix("replied ").map(str::to_owned));
    }
    child.kill().unwrap();
    replied.extend(lines.filter_map(|line| line.strip_prefix("replied ").map(str::to_owned)));
    child.wait().unwrap();

    let catalogue = Catalogue::open(folder.path()).unwrap();
    for name in &replied {
        let row =
            catalogue.get(&id(name)).unwrap().unwrap_or_else(|| panic!("{name} was replied and is gone"));
        assert_eq!(row.state, SweepState::Failed, "{name}");
        assert_eq!(catalogue.failures(&id(name)).unwrap().len(), 2, "{name}");
    }
    let entered = catalogue.list(u32::MAX, false).unwrap().len();
    assert!(entered <= replied.len() + 1, "{entered} rows, {} replies", replied.len());
}

fn write_until_killed(folder: &Path) -> ! {
    let mut catalogue = Catalogue::open(folder).unwrap();
    let mut out = std::io::stdout();
    for number in 0.. {
        let name = format!("sweep-{number}");
        catalogue.insert_or_get(&new_sweep(&name), number).unwrap();
        catalogue.record(&id(&name), &ending(SweepState::Failed), number).unwrap();
        writeln!(out, "replied {name}").unwrap();
        out.flush().unwrap();
    }
    unreachable!("it counts to 2^63")
}

/// A file that is not a sound catalogue of a version known is refused and left as it was.
#[test]
fn a_file_that_cannot_be_trusted_is_refused() {
    let sql = |folder: &Path, sql: &str| {
        rusqlite::Connection::open(folder.join("catalogue.sqlite")).unwrap().execute_batch(sql).unwrap();
    };
    let bytes = |folder: &Path, change: fn(&mut Vec<u8>)| {
        let file = folder.join("catalogue.sqlite");
        let mut bytes = std::fs::read(&file).unwrap();
        change(&mut bytes);
        std::fs::write(&file, bytes).unwrap();
    };
    type Case<'a> = (&'a str, &'a dyn Fn(&Path), &'a str);
    let cases: [Case<'_>; 8] = [
        (
            "newer",
            &|f| sql(f, "PRAGMA user_version = 99"),
            "has schema version 99, this program knows up to 1; run the version",
        ),
        ("negative version", &|f| sql(f, "PRAGMA user_version = -1"), "is damaged (schema version -1)"),
        (
            "foreign",
            &|f| sql(f, "PRAGMA application_id = 7"),
            "is a database of another program; give --state another folder",
        ),
        (
            "no database",
            &|f| bytes(f, |b| b[..16].fill(b'x')),
            "is damaged (file is not a database); restore it, or move it away",
        ),
        ("overwritten", &|f| bytes(f, |b| b[4_096..].fill(0xa5)), "is damaged ("),
        ("cut off", &|f| bytes(f, |b| b.truncate(4_096)), "is damaged ("),
        ("state", &|f| sql(f, "UPDATE sweeps SET state = 'done'"), "`done` is not a state of a sweep"),
        ("count", &|f| sql(f, "UPDATE sweeps SET units = -5"), "is damaged ("),
    ];
    for (case, spoil, message) in cases {
        let folder = folder();
        Catalogue::open(folder.path()).unwrap().insert_or_get(&new_sweep("a"), 0).unwrap();
        spoil(folder.path());
        let before = std::fs::read(folder.path().join("catalogue.sqlite")).unwrap();
        let error = Catalogue::open(folder.path()).and_then(|catalogue| catalogue.active()).expect_err(case);
        assert!(error.to_string().contains(message), "{case}: {error}");
        assert!(error.to_string().contains("catalogue.sqlite"), "{case}: {error}");
        if case != "state" && case != "count" {
            assert_eq!(std::fs::read(folder.path().join("catalogue.sqlite")).unwrap(), before, "{case}");
        }
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = folder();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = Catalogue::open(&folder.path().join("file")).unwrap_err();
    assert!(error.to_string().contains("give --state a folder this process may write"), "{error}");
}
