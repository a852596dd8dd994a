//! Row rules: bad rows are named and fail the import, odd ones are kept and counted, wrong intervals are caught.

use polybolos_market_data::DataError;
use polybolos_market_data::import::{ImportOptions, ImportReport, import};

use crate::fixtures::{binance_csv, empty_dataset, hours, interval, snapshot, write};

const HEADER: &str = "time,open,high,low,close,volume\n";

fn hour_rows(rows: &[&str]) -> String {
    format!("{HEADER}{}\n", rows.join("\n"))
}

#[test]
fn each_kind_of_bad_row_is_reported_with_its_line() {
    for (row, reason) in [
        ("2023-01-01T01:00,1,2,1,x,1", "close is `x`, not a number"),
        ("2023-01-01T01:00,1,2,1,,1", "close is empty"),
        ("2023-01-01T01:00,1,2,1", "4 fields, at least 6 are needed"),
        ("2023-01-01T01:00,1,2,3,1,1", "high 2 is below low 3"),
        ("2023-01-01T01:00,0,2,0,1,1", "open is 0, not a positive price"),
        ("2023-01-01T01:00,1,2,-1,1,1", "low is -1, not a positive price"),
        ("2023-01-01T01:00,1,NaN,1,1,1", "high is NaN"),
        ("2023-01-01T01:00,1,inf,1,1,1", "high is inf"),
        ("2023-01-01T01:00,1,1e999,1,1,1", "high is inf"),
        ("2023-01-01T01:00,1,2,1,1,-3", "volume is -3, below 0"),
        ("yesterday,1,2,1,1,1", "`yesterday` is not a time"),
        (
            "2023-01-01T00:00,1,2,1,1.75,1",
            "close is 1.75 but line 2 has 1 for the same time 2023-01-01T00:00:00Z",
        ),
    ] {
        let csv = hour_rows(&["2023-01-01T00:00,1,2,1,1,1", "", row, "2023-01-01T02:00,1,2,1,1,1"]);
        let (dir, dataset) = empty_dataset();
        let path = write(dir.path(), "a.csv", csv);
        let files = [path];
        let error = import(&dataset, "A", interval("1h"), &files, ImportOptions::default()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(&format!("a.csv line 4: {reason}")), "{message}");
        assert!(message.contains("1 bad row") && message.contains("--skip-bad"), "{message}");
        assert!(!crate::fixtures::root(&dataset).exists());

        let report = import(&dataset, "A", interval("1h"), &files, ImportOptions { skip_bad: true }).unwrap();
        assert_eq!((report.rows_read, report.dropped, report.added), (3, 1, 2), "{row}");
        assert_eq!(dataset.load("A", interval("1h"), None).unwrap().close, [1.0, 1.0]);
    }
}

#[test]
fn a_flood_of_bad_rows_is_cut_short_but_counted() {
    let rows: Vec<String> = (0..500).map(|i| format!("{},0,0,0,0,0", 1_672_531_200 + i * 3600)).collect();
    let (dir, dataset) = empty_dataset();
    let path = write(dir.path(), "a.csv", format!("{HEADER}{}", rows.join("\n")));
    let error = import(&dataset, "A", interval("1h"), std::slice::from_ref(&path), ImportOptions::default())
        .unwrap_err();
    let DataError::BadRows(bad) = &error else { panic!("{error}") };
    assert_eq!((bad.first.len(), bad.total), (20, 500));
    assert!(error.to_string().contains("and 480 more"), "{error}");
    let nothing =
        import(&dataset, "A", interval("1h"), &[path], ImportOptions { skip_bad: true }).unwrap_err();
    assert!(matches!(nothing, DataError::NoRows { .. }), "{nothing}");
}

#[test]
fn unsorted_and_repeated_rows_are_put_in_order() {
    let bars = hours(0..50);
    let mut lines: Vec<String> = binance_csv(&bars, 1).lines().map(str::to_owned).collect();
    lines.reverse();
    lines.swap(3, 17);
    let again = lines[8].clone();
    lines.push(again);
    let (dir, dataset) = empty_dataset();
    let path = write(dir.path(), "a.csv", lines.join("\n"));
    let report = import(&dataset, "A", interval("1h"), &[path], ImportOptions::default()).unwrap();
    assert_eq!((report.rows_read, report.duplicates, report.added, report.gaps), (51, 1, 50, 0));
    assert_eq!(dataset.load("A", interval("1h"), None).unwrap(), bars);
}

fn import_csv(csv: &str, interval_name: &str) -> Result<ImportReport, DataError> {
    let (dir, dataset) = empty_dataset();
    let path = write(dir.path(), "a.csv", csv);
    import(&dataset, "A", interval(interval_name), &[path], ImportOptions { skip_bad: true })
}

#[test]
fn an_interval_that_the_rows_contradict_is_refused_even_when_skipping() {
    let csv = binance_csv(&hours(0..50), 1);
    for wrong in ["1m", "30m", "4h", "1d"] {
        let error = import_csv(&csv, wrong).unwrap_err().to_string();
        assert!(error.contains(&format!("the rows are 1h apart, which is not {wrong}")), "{error}");
        assert!(error.contains("--interval 1h"), "{error}");
    }
    assert!(import_csv(&csv, "1h").is_ok());
}

#[test]
fn gaps_and_misaligned_rows_are_counted_and_kept() {
    let mut bars = hours(0..50);
    bars.open_time_ms[10] += 60_000;
    for column in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close] {
        column.drain(20..25);
    }
    for column in [
        &mut bars.volume,
        &mut bars.quote_volume,
        &mut bars.trades,
        &mut bars.taker_buy_volume,
        &mut bars.taker_buy_quote_volume,
    ] {
        column.drain(20..25);
    }
    bars.open_time_ms.drain(20..25);
    let report = import_csv(&binance_csv(&bars, 1), "1h").unwrap();
    assert_eq!((report.added, report.misaligned, report.overlapping), (45, 1, 1));
    assert_eq!((report.gaps, report.missing_bars), (1, 5));
}

#[test]
fn several_files_are_one_import() {
    let (dir, dataset) = empty_dataset();
    let good = write(dir.path(), "good.csv", binance_csv(&hours(0..50), 1));
    let mut other = hours(40..60);
    other.close[2] = 1000.0;
    other.high[2] = 1000.0;
    let clashing = write(dir.path(), "clashing.csv", binance_csv(&other, 1000));
    let files = [good, clashing];
    let error =
        import(&dataset, "A", interval("1h"), &files, ImportOptions::default()).unwrap_err().to_string();
    assert!(
        error.contains("clashing.csv line 3: high is 1000 but") && error.contains("good.csv line 43"),
        "{error}"
    );
    assert!(!crate::fixtures::root(&dataset).exists());
    let report = import(&dataset, "A", interval("1h"), &files, ImportOptions { skip_bad: true }).unwrap();
    assert_eq!((report.added, report.duplicates, report.dropped), (60, 9, 1));
    assert_eq!(dataset.load("A", interval("1h"), None).unwrap(), hours(0..60));
}

#[test]
fn re_import_is_idempotent_and_contradictions_are_found() {
    let (dir, dataset) = empty_dataset();
    let path = write(dir.path(), "a.csv", binance_csv(&hours(0..50), 1));
    let files = [path];
    import(&dataset, "A", interval("1h"), &files, ImportOptions::default()).unwrap();
    let before = snapshot(crate::fixtures::root(&dataset));
    let again = import(&dataset, "a", interval("1h"), &files, ImportOptions::default()).unwrap();
    assert_eq!((again.added, again.unchanged, again.rows), (0, 50, 50));
    assert_eq!(snapshot(crate::fixtures::root(&dataset)), before);

    let mut other = hours(0..50);
    other.volume[7] = 99.0;
    let other = [write(dir.path(), "other.csv", binance_csv(&other, 1))];
    let error = import(&dataset, "A", interval("1h"), &other, ImportOptions::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("2023-01-01T07:00:00Z: volume is 0.7000000000000001 in the dataset and 99"),
        "{error}"
    );
    let kept = import(&dataset, "A", interval("1h"), &other, ImportOptions { skip_bad: true }).unwrap();
    assert_eq!((kept.kept, kept.unchanged), (1, 49));
    assert_eq!(snapshot(crate::fixtures::root(&dataset)), before);
}
