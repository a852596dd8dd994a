//! Files in a folder and objects in a bucket, side by side.
//!
//! Keys come from the environment of a process: each test of a bucket runs once more in a process of its own that has them.

use std::io::Read as _;
use std::process::Command;

use parquet::file::reader::{ChunkReader as _, Length as _};
use polybolos_storage::{Location, Revision};

use crate::server::S3Server;

/// Names the bucket for the second process.
const BUCKET: &str = "POLYBOLOS_TEST_BUCKET";

/// Runs `test` on a folder, and the test of this name on a bucket.
fn on_both(name: &str, test: impl Fn(&Location)) {
    if let Ok(bucket) = std::env::var(BUCKET) {
        return test(&Location::parse(format!("s3://{bucket}/root")).unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    test(&Location::local(folder.path().join("root")));
    on_bucket(name, |_| ());
}

/// Runs the test of this name in a process with a bucket, then looks at the server; nothing in the process with a bucket.
fn on_bucket(name: &str, look: impl Fn(&mut S3Server)) {
    if std::env::var(BUCKET).is_ok() {
        return;
    }
    let Some(mut server) = S3Server::start() else { return };
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .envs(server.environment())
        .env(BUCKET, server.told("bucket"))
        .output()
        .unwrap();
    assert!(output.status.success(), "on a bucket: {}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "no such test: {name}");
    assert_eq!(server.tell("uploads"), "0", "an upload was begun and never ended");
    look(&mut server);
}

/// Bytes that tell their place.
fn content(length: usize) -> Vec<u8> {
    (0..length as u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn files_are_written_listed_and_read() {
    on_both("places::files_are_written_listed_and_read", |root| {
        let missing = root.join("deep/a").read().unwrap_err();
        assert!(missing.is_missing() && missing.to_string().starts_with(&root.to_string()), "{missing}");
        assert!(root.join("deep/a").open().unwrap_err().is_missing());
        assert!(!root.join("deep/a").is_file().unwrap());
        assert_eq!(root.join("deep").names().unwrap(), Vec::<String>::new());
        for (name, length) in [("deep/b", 5), ("deep/a", 100_000), ("deep/er/c", 0), ("deeper/d", 1)] {
            root.join(name).write(|file| file.write_all(&content(length))).unwrap();
            assert_eq!(root.join(name).read().unwrap(), content(length), "{name}");
        }
        let named = |names: [&str; 3]| names.map(|name| root.join(name));
        let some = named(["deep/b", "deep/er/c", "deep/a"]);
        let contents = Location::read_all(&some.each_ref()).unwrap();
        assert_eq!(contents, [content(5), Vec::new(), content(100_000)]);
        let some = named(["deep/b", "deep/no", "deep/none"]);
        let missing = Location::read_all(&some.each_ref()).unwrap_err();
        assert!(missing.is_missing() && missing.to_string().contains("deep/no:"), "{missing}");
        assert!(Location::read_all(&[]).unwrap().is_empty());
        assert_eq!(root.join("deep").names().unwrap(), ["a", "b", "er"]);
        assert!(root.join("deep/a").is_file().unwrap() && !root.join("deep").is_file().unwrap());
        let objects = root.join("deep").objects().unwrap();
        let objects = objects
            .map(|objects| objects.into_iter().map(|object| (object.name, object.bytes)).collect::<Vec<_>>());
        let all = [("a", 100_000), ("b", 5), ("er/c", 0)].map(|(name, bytes)| (name.to_owned(), bytes));
        assert_eq!(objects, root.is_remote().then(|| all.to_vec()));
        root.join("deep/b").write(|file| file.write_all(b"other")).unwrap();
        assert_eq!(root.join("deep/b").read().unwrap(), "other");
    });
}

#[test]
fn a_file_that_is_not_committed_leaves_nothing() {
    on_both("places::a_file_that_is_not_committed_leaves_nothing", |root| {
        let file = root.join("folder/file");
        drop(file.stage(|into| into.write_all(b"dropped")).unwrap());
        let refused = file.stage(|_| Err(std::io::Error::other("refused"))).unwrap_err();
        assert!(refused.to_string().contains("refused"), "{refused}");
        // More than one request takes.
        drop(file.stage(|into| into.write_all(&content(70 << 20))).unwrap());
        assert_eq!(root.join("folder").names().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_large_file_is_read_here_and_there() {
    on_both("places::a_large_file_is_read_here_and_there", |root| {
        let file = root.join("large");
        let whole = content((100 << 20) + 17);
        file.write(|into| whole.chunks(1_000_003).try_for_each(|piece| into.write_all(piece))).unwrap();
        let open = file.open().unwrap();
        assert_eq!(open.len(), whole.len() as u64);
        for (start, length) in
            [(0, 1), (whole.len() - 9, 9), (5 << 20, 3 << 20), (6 << 20, 100), ((16 << 20) - 5, 10)]
        {
            let found = open.get_bytes(start as u64, length).unwrap();
            assert!(found == whole[start..start + length], "{length} bytes from {start}");
        }
        assert!(open.get_bytes(whole.len() as u64 - 3, 4).is_err());
        let mut rest = Vec::new();
        let start = whole.len() - (2 << 20);
        open.get_read(start as u64).unwrap().read_to_end(&mut rest).unwrap();
        assert!(rest == whole[start..]);
        assert!(file.read().unwrap() == whole);
    });
}

#[test]
fn of_two_who_write_the_same_object_the_second_is_told() {
    on_both("places::of_two_who_write_the_same_object_the_second_is_told", |root| {
        let file = root.join("year");
        let stage = |text: &'static str| file.stage(move |into| into.write_all(text.as_bytes())).unwrap();
        stage("first").commit_over(None).unwrap();
        let (content, read) = file.read_revision().unwrap();
        assert_eq!(content, "first");
        let late = stage("second").commit_over(None);
        assert_eq!(late.is_err(), root.is_remote(), "a new file over one that is there");
        stage("third")
            .commit_over(Some(&read))
            .map_err(|error| assert!(root.is_remote(), "{error}"))
            .unwrap();
        let stale = stage("fourth").commit_over(Some(&read));
        if root.is_remote() {
            assert!(late.unwrap_err().is_raced() && stale.unwrap_err().is_raced());
            assert_eq!(file.read().unwrap(), "third");
        }
        stage("last").commit_over(Some(&Revision::any())).unwrap();
        assert_eq!(file.read().unwrap(), "last");
    });
}

#[test]
fn content_that_follows_from_its_name_is_written_once_and_mended_if_it_is_damaged() {
    let name = "places::content_that_follows_from_its_name_is_written_once_and_mended_if_it_is_damaged";
    on_both(name, |root| {
        let file = root.join("unit");
        let stage = || file.stage(|into| into.write_all(b"whole")).unwrap();
        stage().commit_unless(|| panic!("there is nothing to look at")).unwrap();
        let mut is_asked = false;
        stage()
            .commit_unless(|| {
                is_asked = true;
                true
            })
            .unwrap();
        assert_eq!(is_asked, root.is_remote());
        file.write(|into| into.write_all(b"dam")).unwrap();
        stage().commit_unless(|| false).unwrap();
        assert_eq!(file.read().unwrap(), "whole");
    });
    on_bucket(name, |server| assert_eq!(server.puts("root").get("unit"), Some(&3), "put, damaged, mended"));
}
