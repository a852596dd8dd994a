//! Faults of disks and processes: the dataset stays as it was, or is completed by the next run.

use std::fs;
use std::path::Path;
use std::process::Command;

use polybolos_market_data::{Dataset, OnConflict};

use crate::fixtures::{empty_dataset, hours, interval, snapshot};

const YEAR: i64 = 365 * 24;

#[test]
fn what_a_killed_run_left_is_ignored_and_swept() {
    let (_dir, dataset) = empty_dataset();
    dataset.merge("A", interval("1h"), &hours(0..10), OnConflict::Refuse).unwrap();
    let folder = crate::fixtures::root(&dataset).join("bars/interval=1h/symbol=A");
    fs::write(folder.join(".2023.parquet.tmp"), b"half").unwrap();
    fs::write(folder.join(".2031.parquet.tmp"), b"half").unwrap();
    assert_eq!(dataset.load("A", interval("1h"), None).unwrap(), hours(0..10));
    assert_eq!(dataset.list().unwrap()[0].files, 1);
    dataset.merge("A", interval("1h"), &hours(0..20), OnConflict::Refuse).unwrap();
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["2023.parquet"]);
}

#[test]
fn a_run_killed_between_two_years_is_completed_by_the_next() {
    let (_dir, whole) = empty_dataset();
    let (_dir, killed) = empty_dataset();
    let bars = hours(0..2 * YEAR);
    whole.merge("A", interval("1h"), &bars, OnConflict::Refuse).unwrap();
    // The first rename had happened, the second had not.
    killed.merge("A", interval("1h"), &bars.slice(0..YEAR as usize), OnConflict::Refuse).unwrap();
    killed.merge("A", interval("1h"), &bars, OnConflict::Refuse).unwrap();
    assert_eq!(snapshot(crate::fixtures::root(&killed)), snapshot(crate::fixtures::root(&whole)));
}

#[test]
fn a_damaged_file_is_named_and_mended_by_the_way_out_it_names() {
    let (_dir, dataset) = empty_dataset();
    dataset.merge("A", interval("1h"), &hours(0..2 * YEAR), OnConflict::Refuse).unwrap();
    let file = crate::fixtures::stored_files(&dataset, "A", "1h")[1].clone();
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 100]).unwrap();
    for error in [
        dataset.load("A", interval("1h"), None).unwrap_err(),
        dataset.merge("A", interval("1h"), &hours(YEAR + 10..YEAR + 20), OnConflict::Refuse).unwrap_err(),
    ] {
        let message = error.to_string();
        assert!(
            message.contains("2024.parquet is damaged") && message.contains("import or fetch"),
            "{message}"
        );
    }
    fs::remove_file(&file).unwrap();
    dataset.merge("A", interval("1h"), &hours(0..2 * YEAR), OnConflict::Refuse).unwrap();
    assert_eq!(fs::read(&file).unwrap(), bytes);
    // A file of another year under this name is no bar of this year.
    fs::copy(crate::fixtures::root(&dataset).join("bars/interval=1h/symbol=A/2023.parquet"), &file).unwrap();
    let stray = dataset.load("A", interval("1h"), None).unwrap_err().to_string();
    assert!(stray.contains("2024.parquet is damaged: it holds the bar of 2023-01-01T00:00:00Z"), "{stray}");
}

#[test]
fn a_failure_to_write_the_second_year_leaves_the_first_as_it_was() {
    let (_dir, dataset) = empty_dataset();
    let folder = crate::fixtures::root(&dataset).join("bars/interval=1h/symbol=A");
    dataset.merge("A", interval("1h"), &hours(0..10), OnConflict::Refuse).unwrap();
    // A folder in the place of the finished file: the rename cannot succeed, nor can the file be read.
    fs::create_dir(folder.join("2024.parquet")).unwrap();
    let before = fs::read(folder.join("2023.parquet")).unwrap();
    assert!(dataset.merge("A", interval("1h"), &hours(0..2 * YEAR), OnConflict::Refuse).is_err());
    assert_eq!(fs::read(folder.join("2023.parquet")).unwrap(), before);
    let left: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A file system of a few hundred kilobytes; unmounted when dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path) -> Option<SmallDisk<'a>> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=400k", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(SmallDisk(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).output();
    }
}

#[test]
fn a_full_disk_leaves_the_dataset_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path()) else {
        eprintln!("skipped: this user may not mount a small disk to fill");
        return;
    };
    let dataset = Dataset::create(disk.0).unwrap();
    dataset.merge("A", interval("1h"), &hours(0..100), OnConflict::Refuse).unwrap();
    let before = snapshot(crate::fixtures::root(&dataset));
    let error = dataset.merge("A", interval("1h"), &hours(0..8 * YEAR), OnConflict::Refuse).unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");
    assert_eq!(snapshot(crate::fixtures::root(&dataset)), before);
    assert_eq!(dataset.load("A", interval("1h"), None).unwrap(), hours(0..100));
}
