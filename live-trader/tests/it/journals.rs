//! The journal: what was synced is there after any crash, and what is there was written.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use polybolos_live_trader::journal::{Audit, Journal, JournalError, Record, Sink};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note(String);

impl Record for Note {
    const VERSION: u32 = 2;
}

/// The same record as a newer program writes it.
#[derive(Debug, Serialize, Deserialize)]
struct NewerNote(String);

impl Record for NewerNote {
    const VERSION: u32 = 3;
}

fn note(text: &str) -> Note {
    Note(text.to_owned())
}

fn open(dir: &Path) -> Result<(Journal<Note>, Vec<Note>, u64), JournalError> {
    let (journal, recovered) = Journal::open(dir, "bot")?;
    Ok((journal, recovered.records, recovered.torn_bytes))
}

fn segment(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:010}.journal"))
}

/// A journal with these groups, each synced for itself; the bytes of its segment without the space kept ready, and where its
/// header and each of its records end.
fn written(groups: &[Vec<String>]) -> (TempDir, Vec<u8>, Vec<usize>) {
    let dir = TempDir::new().unwrap();
    let (mut journal, ..) = open(dir.path()).unwrap();
    let mut ends = vec![journal.segment_bytes() as usize];
    for group in groups {
        for text in group {
            journal.append(&note(text)).unwrap();
            ends.push(journal.segment_bytes() as usize);
        }
        journal.sync().unwrap();
    }
    drop(journal);
    let mut bytes = fs::read(segment(dir.path(), 1)).unwrap();
    bytes.truncate(*ends.last().unwrap());
    (dir, bytes, ends)
}

fn flat(groups: &[Vec<String>]) -> Vec<Note> {
    groups.iter().flatten().map(|text| note(text)).collect()
}

fn groups() -> impl Strategy<Value = Vec<Vec<String>>> {
    prop::collection::vec(prop::collection::vec("[a-z\\x00é]{0,40}", 1..4), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn a_file_cut_at_any_byte_gives_the_whole_records_before_the_cut(groups in groups(), at in 0.0..1.0f64) {
        let (dir, bytes, ends) = written(&groups);
        let all = flat(&groups);
        let path = segment(dir.path(), 1);
        let middle = (at * bytes.len() as f64) as usize;
        for cut in (0..bytes.len()).filter(|cut| cut.abs_diff(middle) < 12).chain([0, ends[0] - 1, ends[0]]) {
            fs::write(&path, &bytes[..cut]).unwrap();
            if cut < ends[0] {
                let is_refused = matches!(open(dir.path()), Err(JournalError::Damaged { .. }));
                prop_assert!(is_refused, "a header of {} bytes", cut);
                continue;
            }
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let tail = &bytes[ends[whole]..cut];
            let torn = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let (mut journal, records, torn_bytes) = open(dir.path()).unwrap();
            prop_assert_eq!(&records[..], &all[..whole]);
            prop_assert_eq!(torn_bytes, torn as u64);
            journal.append(&note("after")).unwrap();
            journal.sync().unwrap();
            drop(journal);
            let (_, records, torn_bytes) = open(dir.path()).unwrap();
            prop_assert_eq!(records.last(), Some(&note("after")));
            prop_assert_eq!((records.len(), torn_bytes), (whole + 1, 0));
        }
    }

    #[test]
    fn a_flipped_bit_is_found_wherever_it_is(groups in groups(), at in 0.0..1.0f64, bit in 0..8u32) {
        let (dir, bytes, ends) = written(&groups);
        let all = flat(&groups);
        let last_group = ends[ends.len() - 1 - groups.last().unwrap().len()];
        let path = segment(dir.path(), 1);
        let middle = (at * bytes.len() as f64) as usize;
        for place in (0..bytes.len()).filter(|place| place.abs_diff(middle) < 12) {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            fs::write(&path, &flipped).unwrap();
            match open(dir.path()) {
                Ok((_, records, torn_bytes)) => {
                    prop_assert!(place >= last_group, "byte {} was durable before the last group", place);
                    prop_assert!(torn_bytes > 0);
                    prop_assert!(records.len() < all.len() && records[..] == all[..records.len()]);
                }
                Err(JournalError::Damaged { offset, .. }) => {
                    prop_assert!(place < last_group && offset as usize <= place);
                    prop_assert_eq!(&fs::read(&path).unwrap(), &flipped, "a refused file is left alone");
                }
                Err(JournalError::Newer { .. }) => prop_assert!((8..12).contains(&place)),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}

#[test]
fn what_was_not_synced_is_not_there_and_a_group_is_one_write() {
    let dir = TempDir::new().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let (mut journal, _) = Journal::<Note>::open_with(
        dir.path(),
        "bot",
        Box::new(move |inner| {
            Box::new(Disk { inner, calls: Arc::clone(&counter), fails_at: usize::MAX, kind: None })
        }),
    )
    .unwrap();
    for text in ["a", "b", "c"] {
        journal.append(&note(text)).unwrap();
    }
    journal.sync().unwrap();
    journal.sync().unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 2, "one write and one sync, nothing for an empty group");
    journal.append(&note("lost")).unwrap();
    drop(journal);
    let (_, records, torn_bytes) = open(dir.path()).unwrap();
    assert_eq!((records, torn_bytes), (vec![note("a"), note("b"), note("c")], 0));
}

/// A disk of which one call fails.
struct Disk {
    inner: Box<dyn Sink>,
    calls: Arc<AtomicUsize>,
    fails_at: usize,
    kind: Option<io::ErrorKind>,
}

impl Disk {
    fn count(&self) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.kind {
            Some(kind) if call == self.fails_at => Err(kind.into()),
            _ => Ok(()),
        }
    }
}

impl Sink for Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.count()?;
        self.inner.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.count()?;
        self.inner.sync()
    }
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_taken_and_what_was_durable_is_kept() {
    for (fails_at, kind, is_full) in [
        (2, io::ErrorKind::StorageFull, true),
        (2, io::ErrorKind::Other, false),
        (3, io::ErrorKind::Other, false),
        (3, io::ErrorKind::QuotaExceeded, true),
    ] {
        let dir = TempDir::new().unwrap();
        let wrap = move |inner| -> Box<dyn Sink> {
            Box::new(Disk { inner, calls: Arc::default(), fails_at, kind: Some(kind) })
        };
        let (mut journal, _) = Journal::<Note>::open_with(dir.path(), "bot", Box::new(wrap)).unwrap();
        journal.append(&note("kept")).unwrap();
        journal.sync().unwrap();
        journal.append(&note("unsure")).unwrap();
        let error = journal.sync().unwrap_err();
        assert_eq!(matches!(error, JournalError::Full { .. }), is_full, "{error}");
        assert!(matches!(journal.append(&note("more")), Err(JournalError::Failed { .. })));
        assert!(matches!(journal.sync(), Err(JournalError::Failed { .. })));
        assert!(matches!(journal.rotate(&[]), Err(JournalError::Failed { .. })));
        drop(journal);
        let (_, records, _) = open(dir.path()).unwrap();
        assert_eq!(records[0], note("kept"));
    }
}

#[test]
fn a_torn_group_whose_later_sectors_came_first_is_cut_off() {
    let groups = [vec!["first".to_owned()], vec!["second".to_owned(), "third".to_owned()]];
    let (dir, mut bytes, ends) = written(&groups);
    bytes[ends[1]..ends[2]].fill(0);
    fs::write(segment(dir.path(), 1), &bytes).unwrap();
    let (_, records, torn_bytes) = open(dir.path()).unwrap();
    assert_eq!(records, [note("first")]);
    assert_eq!(torn_bytes as usize, bytes.len() - ends[1]);
}

#[test]
fn one_journal_has_one_writer() {
    let dir = TempDir::new().unwrap();
    let first = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, JournalError::InUse { .. }));
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(first);
    open(dir.path()).unwrap();
}

#[test]
fn a_journal_of_another_bot_or_of_a_newer_program_is_refused() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = Journal::<NewerNote>::open(dir.path(), "bot").unwrap();
    journal.append(&NewerNote("new".to_owned())).unwrap();
    journal.sync().unwrap();
    drop(journal);
    assert!(matches!(open(dir.path()), Err(JournalError::Newer { found: 3, known: 2, .. })));
    assert!(matches!(Journal::<NewerNote>::open(dir.path(), "other"), Err(JournalError::OtherBot { .. })));
    Journal::<NewerNote>::open(dir.path(), "bot").unwrap();
}

#[test]
fn an_older_record_is_read_by_a_newer_program() {
    let dir = TempDir::new().unwrap();
    let (mut journal, ..) = open(dir.path()).unwrap();
    journal.append(&note("old")).unwrap();
    journal.sync().unwrap();
    drop(journal);
    let (_, recovered) = Journal::<NewerNote>::open(dir.path(), "bot").unwrap();
    assert_eq!(recovered.records[0].0, "old");
}

#[test]
fn reading_starts_at_the_checkpoint_and_the_audit_at_the_beginning() {
    let dir = TempDir::new().unwrap();
    let (mut journal, ..) = open(dir.path()).unwrap();
    journal.append(&note("a")).unwrap();
    journal.rotate(&[note("state a"), note("limits")]).unwrap();
    journal.append(&note("b")).unwrap();
    journal.sync().unwrap();
    assert_eq!(journal.sequence(), 2);
    drop(journal);
    let (mut journal, records, _) = open(dir.path()).unwrap();
    assert_eq!(records, [note("state a"), note("limits"), note("b")]);
    journal.append(&note("c")).unwrap();
    journal.sync().unwrap();
    let walk = || -> Vec<_> {
        let entries = Audit::<Note>::open(dir.path(), "bot").unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.segment, entry.is_checkpoint, entry.record.0)).collect()
    };
    let expected =
        [(1, false, "a"), (2, true, "state a"), (2, true, "limits"), (2, false, "b"), (2, false, "c")];
    let found = walk();
    assert_eq!(found.iter().map(|(s, c, t)| (*s, *c, t.as_str())).collect::<Vec<_>>(), expected);
}

#[test]
fn a_checkpoint_that_is_not_whole_and_an_old_segment_with_a_torn_end_are_damage() {
    let dir = TempDir::new().unwrap();
    let (mut journal, ..) = open(dir.path()).unwrap();
    journal.append(&note("a")).unwrap();
    journal.rotate(&[note("state a")]).unwrap();
    drop(journal);
    let cut = |sequence| {
        let file = File::options().write(true).open(segment(dir.path(), sequence)).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    };
    cut(1);
    open(dir.path()).unwrap();
    let walked: Result<Vec<_>, _> = Audit::<Note>::open(dir.path(), "bot").unwrap().collect();
    assert!(matches!(walked, Err(JournalError::Damaged { .. })));
    cut(2);
    assert!(matches!(open(dir.path()), Err(JournalError::Damaged { .. })));
}

#[test]
fn a_crash_while_a_segment_is_made_leaves_the_one_before_in_force() {
    let dir = TempDir::new().unwrap();
    let (mut journal, ..) = open(dir.path()).unwrap();
    journal.append(&note("a")).unwrap();
    journal.sync().unwrap();
    drop(journal);
    fs::write(segment(dir.path(), 2).with_extension("new"), b"plbjrnl").unwrap();
    let (mut journal, records, _) = open(dir.path()).unwrap();
    assert_eq!(records, [note("a")]);
    journal.rotate(&records).unwrap();
    assert_eq!(journal.sequence(), 2);
}

#[test]
fn a_segment_missing_between_two_others_is_named() {
    let dir = TempDir::new().unwrap();
    let (mut journal, ..) = open(dir.path()).unwrap();
    journal.rotate(&[]).unwrap();
    journal.rotate(&[]).unwrap();
    drop(journal);
    fs::remove_file(segment(dir.path(), 2)).unwrap();
    let error = Audit::<Note>::open(dir.path(), "bot").unwrap_err();
    assert!(error.to_string().contains("0000000002.journal"), "{error}");
}
