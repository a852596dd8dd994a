//! Datasets: what is stored comes back, merges are idempotent, and every question about what is not there has an answer.

use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use polybolos_engine::timerange::TimeRange;
use polybolos_kernels::bars::Bars;
use polybolos_market_data::{DataError, Dataset, OnConflict, schema};
use proptest::prelude::*;

use crate::fixtures::{HOUR_MS, NEW_YEAR_2023_MS, empty_dataset, hours, interval, snapshot};

const TWO_YEARS: i64 = 2 * 365 * 24;

#[test]
fn what_is_merged_is_loaded_back_bit_for_bit() {
    let (_dir, dataset) = empty_dataset();
    let bars = hours(0..TWO_YEARS);
    let report = dataset.merge("btcusdt", interval("1h"), &bars, OnConflict::Refuse).unwrap();
    assert_eq!((report.added, report.rows, report.files_written), (TWO_YEARS as u64, TWO_YEARS as u64, 2));
    let dataset = Dataset::open(crate::fixtures::root(&dataset)).unwrap();
    assert_eq!(dataset.load("BTCUSDT", interval("1h"), None).unwrap(), bars);
    let files = crate::fixtures::stored_files(&dataset, "btcusdt", "1h");
    let names: Vec<_> = files
        .iter()
        .map(|path| path.strip_prefix(crate::fixtures::root(&dataset)).unwrap().to_owned())
        .collect();
    assert_eq!(names[0].to_str(), Some("bars/interval=1h/symbol=BTCUSDT/2023.parquet"));
    assert_eq!(names[1].to_str(), Some("bars/interval=1h/symbol=BTCUSDT/2024.parquet"));
}

#[test]
fn stored_files_have_the_promised_columns() {
    let described: Vec<String> =
        schema().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    assert_eq!(
        described,
        [
            "open_time Timestamp(ms, \"UTC\")",
            "open Float64",
            "high Float64",
            "low Float64",
            "close Float64",
            "volume Float64",
            "quote_volume Float64",
            "trades Int64",
            "taker_buy_volume Float64",
            "taker_buy_quote_volume Float64"
        ]
    );
}

#[test]
fn files_compressed_by_earlier_versions_and_other_programs_are_read() {
    let (_dir, dataset) = empty_dataset();
    let bars = hours(0..1_000);
    dataset.merge("A", interval("1h"), &bars, OnConflict::Refuse).unwrap();
    let place = crate::fixtures::stored_files(&dataset, "A", "1h").remove(0);
    let stored = std::fs::read(&place).unwrap();
    let batches = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(stored)).unwrap().build().unwrap();
    let batches: Vec<_> = batches.map(Result::unwrap).collect();
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3).unwrap());
    for compression in [zstd, Compression::SNAPPY, Compression::LZ4_RAW, Compression::UNCOMPRESSED] {
        let properties = WriterProperties::builder().set_compression(compression).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties)).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        let other = writer.into_inner().unwrap();
        std::fs::write(&place, &other).unwrap();
        assert_eq!(dataset.load("A", interval("1h"), None).unwrap(), bars, "{compression}");
        // Nothing new: the file stays what it is.
        dataset.merge("A", interval("1h"), &bars, OnConflict::Refuse).unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), other, "{compression}");
    }
}

#[test]
fn a_time_range_loads_its_bars_only() {
    let (_dir, dataset) = empty_dataset();
    let bars = hours(0..TWO_YEARS);
    dataset.merge("A", interval("1h"), &bars, OnConflict::Refuse).unwrap();
    for text in ["20230301-20230331", "20231231-20240101", "20240601-", "-20230101"] {
        let range: TimeRange = text.parse().unwrap();
        let loaded = dataset.load("A", interval("1h"), Some(range)).unwrap();
        assert_eq!(loaded, bars.slice(range.rows(&bars)), "{text}");
    }
    let error = dataset.load("A", interval("1h"), Some("20300101-".parse().unwrap())).unwrap_err();
    assert!(matches!(error, DataError::NoBarsInRange { .. }), "{error}");
    assert!(error.to_string().contains("2023-01-01T00:00:00Z to 2024-12-30T23:00:00Z"), "{error}");
}

#[test]
fn a_second_merge_touches_only_years_that_change() {
    let (_dir, dataset) = empty_dataset();
    dataset.merge("A", interval("1h"), &hours(0..TWO_YEARS), OnConflict::Refuse).unwrap();
    let before = snapshot(crate::fixtures::root(&dataset));
    let again = dataset.merge("A", interval("1h"), &hours(0..TWO_YEARS), OnConflict::Refuse).unwrap();
    assert_eq!((again.added, again.unchanged, again.files_written), (0, TWO_YEARS as u64, 0));
    assert_eq!(snapshot(crate::fixtures::root(&dataset)), before);
    let longer = dataset.merge("A", interval("1h"), &hours(0..TWO_YEARS + 5), OnConflict::Refuse).unwrap();
    assert_eq!((longer.added, longer.files_written, longer.rows), (5, 1, TWO_YEARS as u64 + 5));
    assert_eq!(snapshot(crate::fixtures::root(&dataset))[0], before[0]);
}

#[test]
fn a_row_with_other_values_is_a_conflict_unless_told_otherwise() {
    let (_dir, dataset) = empty_dataset();
    let stored = hours(0..10);
    dataset.merge("A", interval("1h"), &stored, OnConflict::Refuse).unwrap();
    let before = snapshot(crate::fixtures::root(&dataset));
    let mut new = hours(0..12);
    new.close[3] = 103.5;
    new.volume[4] = 77.0;
    let error = dataset.merge("A", interval("1h"), &new, OnConflict::Refuse).unwrap_err().to_string();
    assert!(
        error.contains(
            "A 1h 2023-01-01T03:00:00Z: close is 103 in the dataset and 103.5 in the new data (2 such rows)"
        ),
        "{error}"
    );
    assert_eq!(snapshot(crate::fixtures::root(&dataset)), before);

    let row_4 = new.open_time_ms[4]..new.open_time_ms[4] + 1;
    let partly = OnConflict::ReplaceWithin(std::slice::from_ref(&row_4));
    assert!(dataset.merge("A", interval("1h"), &new, partly).is_err());
    assert_eq!(snapshot(crate::fixtures::root(&dataset)), before);

    let kept = dataset.merge("A", interval("1h"), &new, OnConflict::KeepStored).unwrap();
    assert_eq!((kept.kept, kept.added, kept.unchanged, kept.replaced), (2, 2, 8, 0));
    assert_eq!(dataset.load("A", interval("1h"), None).unwrap(), hours(0..12));

    let all = NEW_YEAR_2023_MS..i64::MAX;
    let replaced = dataset
        .merge("A", interval("1h"), &new, OnConflict::ReplaceWithin(std::slice::from_ref(&all)))
        .unwrap();
    assert_eq!((replaced.replaced, replaced.unchanged), (2, 10));
    assert_eq!(dataset.load("A", interval("1h"), None).unwrap(), new);
}

#[test]
fn unsound_bars_are_not_stored() {
    let (_dir, dataset) = empty_dataset();
    for (spoil, reason) in [
        ((|bars| bars.low[1] = f64::NAN) as fn(&mut Bars), "low is NaN"),
        (|bars| bars.open_time_ms[1] = 0, "does not increase"),
        (|bars| bars.trades[1] = 0.5, "trades is 0.5"),
        (|bars| bars.interval_ms = 60_000, "bars of 60000 ms"),
    ] {
        let mut bars = hours(0..3);
        spoil(&mut bars);
        let error = dataset.merge("A", interval("1h"), &bars, OnConflict::Refuse).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    assert!(!crate::fixtures::root(&dataset).exists());
}

#[test]
fn series_are_listed_from_their_footers() {
    let (_dir, dataset) = empty_dataset();
    let mut minutes = hours(0..3);
    minutes.interval_ms = 60_000;
    dataset.merge("B", interval("1h"), &hours(0..TWO_YEARS), OnConflict::Refuse).unwrap();
    dataset.merge("A", interval("1h"), &hours(5..9), OnConflict::Refuse).unwrap();
    dataset.merge("A", interval("1m"), &minutes, OnConflict::Refuse).unwrap();
    let listed: Vec<_> = dataset
        .list()
        .unwrap()
        .into_iter()
        .map(|s| (s.interval, s.symbol, s.rows, s.files, (s.last_ms - s.first_ms) / HOUR_MS, s.bytes > 0))
        .collect();
    assert_eq!(
        listed,
        [
            ("1m", "A".to_owned(), 3, 1, 2, true),
            ("1h", "A".to_owned(), 4, 1, 3, true),
            ("1h", "B".to_owned(), TWO_YEARS as u64, 2, TWO_YEARS - 1, true)
        ]
    );
    assert_eq!(dataset.symbols(interval("1h")).unwrap(), ["A", "B"]);
    assert_eq!(dataset.intervals().unwrap(), [interval("1m"), interval("1h")]);
}

#[test]
fn what_is_not_there_is_answered_with_what_is() {
    let (dir, dataset) = empty_dataset();
    for symbol in ["BTCUSDT", "ETHUSDT"] {
        dataset.merge(symbol, interval("1h"), &hours(0..3), OnConflict::Refuse).unwrap();
    }
    let message = |result: Result<Bars, DataError>| result.unwrap_err().to_string();
    let typo = message(dataset.load("BTCUSTD", interval("1h"), None));
    assert!(typo.contains("did you mean BTCUSDT? it has BTCUSDT, ETHUSDT"), "{typo}");
    let other = message(dataset.load("XYZ", interval("1h"), None));
    assert!(!other.contains("did you mean") && other.contains("BTCUSDT, ETHUSDT"), "{other}");
    let wrong_interval = message(dataset.load("BTCUSDT", interval("4h"), None));
    assert!(
        wrong_interval.contains("no 4h bars") && wrong_interval.contains("it has 1h"),
        "{wrong_interval}"
    );
    let escape = message(dataset.load("../BTCUSDT", interval("1h"), None));
    assert!(escape.contains("is not a symbol"), "{escape}");
    let absent = Dataset::open(dir.path().join("nowhere")).unwrap_err().to_string();
    assert!(absent.contains("polybolos data import") && absent.contains("nowhere"), "{absent}");
    for (place, words) in [
        ("gs://bucket/data", ["gs://bucket/data", "s3://BUCKET/PREFIX"]),
        ("s3://", ["s3://", "there is no bucket"]),
        ("s3://key:word@bucket/data", ["AWS_ACCESS_KEY_ID", "s3://…"]),
        ("s3://bucket/a b", ["s3://bucket/a b", "prefix"]),
    ] {
        let refused = Dataset::open(place).unwrap_err().to_string();
        assert!(words.iter().all(|word| refused.contains(word)), "{place}: {refused}");
        assert!(!refused.contains("key:word"), "{refused}");
    }
}

#[test]
fn writers_in_several_threads_lose_nothing() {
    let (_dir, dataset) = empty_dataset();
    std::thread::scope(|scope| {
        for part in 0..8 {
            let dataset = &dataset;
            scope.spawn(move || {
                let bars = hours(part * 50..part * 50 + 60);
                dataset.merge("A", interval("1h"), &bars, OnConflict::Refuse).unwrap();
            });
        }
    });
    assert_eq!(dataset.load("A", interval("1h"), None).unwrap(), hours(0..410));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the pieces and their order, the dataset ends with the same bytes.
    #[test]
    fn the_order_of_merges_does_not_show(cuts in prop::collection::vec((0_i64..9000, 1_i64..400), 1..6), shift in 0_usize..6) {
        let (_one, forward) = empty_dataset();
        let (_two, rotated) = empty_dataset();
        let pieces: Vec<Bars> = cuts.iter().map(|&(start, len)| hours(start..start + len)).collect();
        for piece in &pieces {
            forward.merge("A", interval("1h"), piece, OnConflict::Refuse).unwrap();
        }
        for index in 0..pieces.len() {
            let piece = &pieces[(index + shift) % pieces.len()];
            rotated.merge("A", interval("1h"), piece, OnConflict::Refuse).unwrap();
        }
        prop_assert_eq!(snapshot(crate::fixtures::root(&forward)), snapshot(crate::fixtures::root(&rotated)));
    }
}
