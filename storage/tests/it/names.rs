//! What names a place, and what does not.

use std::path::Path;

use polybolos_storage::Location;

#[test]
fn a_location_is_a_path_or_a_bucket_with_a_prefix() {
    for (text, shown, joined) in [
        ("data", "data", "data/a/b.parquet"),
        ("./with space/[x]", "./with space/[x]", "./with space/[x]/a/b.parquet"),
        ("s3://bucket", "s3://bucket", "s3://bucket/a/b.parquet"),
        ("s3://bucket/", "s3://bucket", "s3://bucket/a/b.parquet"),
        ("s3://my.bucket-1/deep/er/", "s3://my.bucket-1/deep/er", "s3://my.bucket-1/deep/er/a/b.parquet"),
        ("s3://bucket/interval=1h", "s3://bucket/interval=1h", "s3://bucket/interval=1h/a/b.parquet"),
    ] {
        let location = Location::parse(text).unwrap();
        assert_eq!(
            (location.to_string().as_str(), location.join("a/b.parquet").to_string().as_str()),
            (shown, joined)
        );
        assert_eq!(location.is_remote(), text.starts_with("s3:"));
        assert_eq!(location.path(), (!location.is_remote()).then_some(Path::new(text)));
        assert_eq!(Location::parse(location.to_string()).unwrap(), location);
    }
}

#[test]
fn what_names_no_place_is_refused_without_repeating_a_secret() {
    for (text, words) in [
        ("http://host/data", "not supported"),
        ("S3://bucket", "not supported"),
        ("s3://", "no bucket"),
        ("s3:///data", "no bucket"),
        ("s3://Bucket/data", "small letters"),
        ("s3://bucket/a//b", "prefix"),
        ("s3://bucket/../other", "prefix"),
        ("s3://bucket/a*", "prefix"),
        ("s3://bucket/a?b", "prefix"),
        ("s3://key:word@bucket/data", "no credentials"),
        ("s3://bucket/key:word@x", "no credentials"),
    ] {
        let error = Location::parse(text).unwrap_err();
        assert!(error.to_string().contains(words), "{text}: {error}");
        assert!(!error.to_string().contains("word"), "{text}: {error}");
        assert!(!error.is_transient() && !error.is_missing());
    }
}
