//! Downloads from a local mirror of the archive, through every fault that a network has.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use polybolos_market_data::fetch::{FetchReport, FetchSpec, FileEnd, Patience, Progress, Silent, fetch};
use polybolos_market_data::{DataError, Dataset, OnConflict, period_end_ms, period_start_ms};
use tokio_util::sync::CancellationToken;

use crate::fixtures::{
    HOUR_MS, NEW_YEAR_2023_MS, binance_csv, empty_dataset, hours, interval, snapshot, zip,
};
use crate::mirror::{Mirror, Reply};

/// Hours from 2023-01-01 to the first of these months of 2023.
const FEBRUARY: i64 = 31 * 24;
const MARCH: i64 = FEBRUARY + 28 * 24;
const APRIL: i64 = MARCH + 31 * 24;

fn path(label: &str) -> String {
    let folder = if label.len() == 7 { "monthly" } else { "daily" };
    format!("/data/spot/{folder}/klines/A/1h/A-1h-{label}.zip")
}

fn file(rows: std::ops::Range<i64>) -> Vec<u8> {
    zip(&[("a.csv", &binance_csv(&hours(rows), 1))])
}

/// A mirror with January to March 2023 of symbol A.
fn quarter() -> Mirror {
    let mirror = Mirror::start();
    mirror.publish(&path("2023-01"), &file(0..FEBRUARY));
    mirror.publish(&path("2023-02"), &file(FEBRUARY..MARCH));
    mirror.publish(&path("2023-03"), &file(MARCH..APRIL));
    mirror
}

fn spec(mirror: &Mirror, from: &str, to: &str, now: &str) -> FetchSpec {
    let span = period_start_ms(from).unwrap()..period_end_ms(to).unwrap();
    let spec = FetchSpec::new(vec!["a".to_owned()], interval("1h"), span, period_start_ms(now).unwrap());
    let patience = Patience {
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_millis(500),
        retries: 2,
        first_pause: Duration::from_millis(5),
        longest_wait: Duration::from_secs(5),
    };
    FetchSpec { patience, concurrency: 4, ..spec.with_source(&mirror.url()) }
}

fn quarter_spec(mirror: &Mirror) -> FetchSpec {
    spec(mirror, "2023-01", "2023-03", "2024-06-01")
}

fn run_with(
    spec: &FetchSpec,
    dataset: &Dataset,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<FetchReport, DataError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(fetch(spec, dataset, progress, cancel))
}

fn run(spec: &FetchSpec, dataset: &Dataset) -> FetchReport {
    run_with(spec, dataset, &Silent, &CancellationToken::new()).unwrap()
}

fn stored(dataset: &Dataset) -> polybolos_kernels::bars::Bars {
    dataset.load("A", interval("1h"), None).unwrap()
}

#[test]
fn months_are_verified_and_merged_and_not_downloaded_twice() {
    let mirror = quarter();
    let (_dir, dataset) = empty_dataset();
    let report = run(&quarter_spec(&mirror), &dataset);
    assert!(report.is_complete(), "{report:?}");
    let symbol = &report.symbols[0];
    assert_eq!((symbol.files_new, symbol.added, symbol.missing.len()), (3, APRIL as u64, 0));
    assert_eq!(stored(&dataset), hours(0..APRIL));
    mirror.requests();
    let before = snapshot(crate::fixtures::root(&dataset));

    let again = run(&quarter_spec(&mirror), &dataset);
    let symbol = &again.symbols[0];
    assert_eq!((symbol.files_new, symbol.files_current, symbol.added), (0, 3, 0));
    assert!(again.is_complete());
    assert_eq!(snapshot(crate::fixtures::root(&dataset)), before);
    let mut asked = mirror.requests();
    asked.sort();
    assert_eq!(asked, ["2023-01", "2023-02", "2023-03"].map(|label| path(label) + ".CHECKSUM"));
}

#[test]
fn the_span_may_begin_and_end_inside_a_month_and_grow_later() {
    let mirror = quarter();
    let (_dir, dataset) = empty_dataset();
    run(&spec(&mirror, "2023-01-10", "2023-02-05", "2024-06-01"), &dataset);
    assert_eq!(stored(&dataset), hours(9 * 24..FEBRUARY + 5 * 24));
    let report = run(&quarter_spec(&mirror), &dataset);
    assert_eq!(report.symbols[0].files_new, 3);
    assert_eq!(stored(&dataset), hours(0..APRIL));
}

#[test]
fn a_corrupt_file_is_downloaded_again() {
    let mirror = quarter();
    let good = file(FEBRUARY..MARCH);
    let mut corrupt = good.clone();
    corrupt[100] ^= 1;
    mirror.script(&path("2023-02"), [Reply::Body(corrupt), Reply::Body(good)]);
    let (_dir, dataset) = empty_dataset();
    assert!(run(&quarter_spec(&mirror), &dataset).is_complete());
    assert_eq!(stored(&dataset), hours(0..APRIL));
}

#[test]
fn a_file_that_stays_corrupt_is_reported_and_the_others_are_merged() {
    let mirror = quarter();
    mirror.script(&path("2023-02"), [Reply::Body(b"PK not the file".to_vec())]);
    let (_dir, dataset) = empty_dataset();
    let report = run(&quarter_spec(&mirror), &dataset);
    assert!(!report.is_complete());
    let symbol = &report.symbols[0];
    assert_eq!((symbol.files_new, symbol.failed.len()), (2, 1));
    assert_eq!(symbol.failed[0].file, "A-1h-2023-02.zip");
    assert!(symbol.failed[0].reason.contains("is corrupt: SHA-256 is"), "{}", symbol.failed[0].reason);
    assert_eq!(stored(&dataset).len() as i64, APRIL - (MARCH - FEBRUARY));
    // Mended at the source, the next run completes it.
    mirror.publish(&path("2023-02"), &file(FEBRUARY..MARCH));
    assert!(run(&quarter_spec(&mirror), &dataset).is_complete());
    assert_eq!(stored(&dataset), hours(0..APRIL));
}

#[test]
fn verified_files_that_are_wrong_are_refused() {
    let mut doubled = hours(FEBRUARY..MARCH);
    doubled.high[7] = 0.5;
    let cases = [
        (zip(&[("a.csv", &binance_csv(&doubled, 1))]), "line 8: high 0.5 is below low"),
        (file(MARCH..APRIL), "it holds the bar of 2023-03-01T00:00:00Z, outside its period"),
        (b"PK\x03\x04 cut".to_vec(), "damaged or cut short"),
        (zip(&[("a.csv", "time,open\n1,2\n")]), "no high column"),
    ];
    for (contents, reason) in cases {
        let mirror = quarter();
        mirror.publish(&path("2023-02"), &contents);
        let (_dir, dataset) = empty_dataset();
        let report = run(&quarter_spec(&mirror), &dataset);
        let failed = &report.symbols[0].failed;
        assert!(failed.len() == 1 && failed[0].reason.contains(reason), "{failed:?}");
        assert_eq!(stored(&dataset).len() as i64, APRIL - (MARCH - FEBRUARY));
    }
}

#[test]
fn a_file_without_its_checksum_is_not_trusted() {
    let mirror = quarter();
    for checksum in [Reply::Status("404 Not Found", "", ""), Reply::Body(b"<html>".to_vec())] {
        mirror.script(&(path("2023-01") + ".CHECKSUM"), [checksum]);
        let (_dir, dataset) = empty_dataset();
        let report = run(&quarter_spec(&mirror), &dataset);
        let failed = &report.symbols[0].failed;
        assert!(failed.len() == 1 && failed[0].reason.to_lowercase().contains("checksum"), "{failed:?}");
    }
}

#[test]
fn a_month_without_a_file_comes_from_its_days() {
    let mirror = Mirror::start();
    mirror.publish(&path("2023-01"), &file(0..FEBRUARY));
    mirror.publish(&path("2023-03"), &file(MARCH..APRIL));
    // The market opened on 2023-02-20 and was closed on the 22nd.
    for day in [20, 21, 23, 24, 25, 26, 27, 28] {
        let start = FEBRUARY + (day - 1) * 24;
        mirror.publish(&path(&format!("2023-02-{day:02}")), &file(start..start + 24));
    }
    let (_dir, dataset) = empty_dataset();
    let report = run(&spec(&mirror, "2022-12", "2023-03", "2024-06-01"), &dataset);
    let symbol = &report.symbols[0];
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(symbol.files_new, 10);
    assert_eq!((symbol.missing[0].as_str(), symbol.missing.len()), ("2022-12", 21));
    assert_eq!((symbol.missing[1].as_str(), symbol.missing[20].as_str()), ("2023-02-01", "2023-02-22"));
    assert_eq!(stored(&dataset).len() as i64, APRIL - 20 * 24);
}

#[test]
fn a_symbol_that_the_source_does_not_have_is_no_success() {
    let mirror = Mirror::start();
    let (_dir, dataset) = empty_dataset();
    let report = run(&quarter_spec(&mirror), &dataset);
    assert!(!report.is_complete());
    assert_eq!(report.symbols[0].missing, ["2023-01", "2023-02", "2023-03"]);
    assert!(!crate::fixtures::root(&dataset).join("bars").exists());
}

#[test]
fn stalls_and_broken_answers_are_tried_again() {
    let mirror = quarter();
    let january = file(0..FEBRUARY);
    mirror.script(
        &path("2023-01"),
        [Reply::Stalled(january.clone()), Reply::Truncated(january.clone()), Reply::Body(january)],
    );
    let february = file(FEBRUARY..MARCH);
    mirror
        .script(&path("2023-02"), [Reply::Status("503 Service Unavailable", "", ""), Reply::Body(february)]);
    let (_dir, dataset) = empty_dataset();
    assert!(run(&quarter_spec(&mirror), &dataset).is_complete());
    assert_eq!(stored(&dataset), hours(0..APRIL));

    mirror.script(&path("2023-03"), [Reply::Stalled(file(MARCH..APRIL))]);
    let (_dir, other) = empty_dataset();
    let report = run(&quarter_spec(&mirror), &other);
    let failed = &report.symbols[0].failed;
    assert!(failed.len() == 1 && failed[0].reason.contains("tried 3 times"), "{failed:?}");
    assert_eq!(stored(&other), hours(0..MARCH));
}

#[test]
fn a_server_that_asks_to_wait_is_given_time() {
    let mirror = quarter();
    let busy = Reply::Status("429 Too Many Requests", "Retry-After: 1\r\n", "");
    mirror.script(&path("2023-01"), [busy, Reply::Body(file(0..FEBRUARY))]);
    let (_dir, dataset) = empty_dataset();
    let started = Instant::now();
    assert!(run(&quarter_spec(&mirror), &dataset).is_complete());
    assert!(started.elapsed() >= Duration::from_secs(1));

    let banned = Reply::Status("418 I'm a teapot", "Retry-After: 7200\r\n", "");
    mirror.script(&path("2023-02"), [banned]);
    let (_dir, other) = empty_dataset();
    let report = run(&quarter_spec(&mirror), &other);
    let failed = &report.symbols[0].failed;
    assert!(failed.len() == 1 && failed[0].reason.contains("wait 7200 s"), "{failed:?}");
}

#[test]
fn a_file_issued_again_replaces_its_bars() {
    let mirror = quarter();
    let (_dir, dataset) = empty_dataset();
    run(&quarter_spec(&mirror), &dataset);
    let mut corrected = hours(FEBRUARY..MARCH);
    corrected.volume[5] = 12_345.0;
    mirror.publish(&path("2023-02"), &zip(&[("a.csv", &binance_csv(&corrected, 1000))]));
    let report = run(&quarter_spec(&mirror), &dataset);
    let symbol = &report.symbols[0];
    assert_eq!((symbol.files_new, symbol.files_current, symbol.replaced, symbol.added), (1, 2, 1, 0));
    assert_eq!(stored(&dataset).volume[FEBRUARY as usize + 5], 12_345.0);
}

#[test]
fn bars_of_another_origin_are_not_overwritten() {
    let mirror = quarter();
    let (_dir, dataset) = empty_dataset();
    let mut imported = hours(MARCH - 5..MARCH);
    imported.volume[2] = 9.0;
    dataset.merge("A", interval("1h"), &imported, OnConflict::Refuse).unwrap();
    let report = run(&quarter_spec(&mirror), &dataset);
    let failed = &report.symbols[0].failed;
    assert!(failed.len() == 1 && failed[0].file == "A-1h-2023-02.zip", "{failed:?}");
    assert!(failed[0].reason.contains("volume is 9 in the dataset"), "{failed:?}");
    assert_eq!(stored(&dataset).len() as i64, FEBRUARY + 5 + APRIL - MARCH);
}

#[test]
fn bars_deleted_from_the_dataset_are_downloaded_again() {
    let mirror = quarter();
    let (_dir, dataset) = empty_dataset();
    run(&quarter_spec(&mirror), &dataset);
    std::fs::remove_file(&crate::fixtures::stored_files(&dataset, "A", "1h")[0]).unwrap();
    assert_eq!(run(&quarter_spec(&mirror), &dataset).symbols[0].files_new, 3);
    assert_eq!(stored(&dataset), hours(0..APRIL));
}

/// The bars as `GET /api/v3/klines` gives them.
fn klines(rows: std::ops::Range<i64>) -> Reply {
    let bars = hours(rows);
    let row = |row: usize| {
        let time = bars.open_time_ms[row];
        format!(
            "[{time},\"{}\",\"{}\",\"{}\",\"{}\",\"{}\",{},\"{}\",{},\"{}\",\"{}\",\"0\"]",
            bars.open[row],
            bars.high[row],
            bars.low[row],
            bars.close[row],
            bars.volume[row],
            time + HOUR_MS - 1,
            bars.quote_volume[row],
            bars.trades[row],
            bars.taker_buy_volume[row],
            bars.taker_buy_quote_volume[row],
        )
    };
    let rows: Vec<String> = (0..bars.len()).map(row).collect();
    Reply::Body(format!("[{}]", rows.join(",")).into_bytes())
}

fn klines_path(from: i64, last: i64) -> String {
    let (from, last) = (NEW_YEAR_2023_MS + from, NEW_YEAR_2023_MS + last);
    format!("/api/v3/klines?symbol=A&interval=1h&startTime={from}&endTime={last}&limit=1000")
}

#[test]
fn the_newest_bars_come_from_rest_until_the_archive_has_them() {
    let mirror = Mirror::start();
    mirror.publish(&path("2023-01"), &file(0..FEBRUARY));
    mirror.publish(&path("2023-02-01"), &file(FEBRUARY..FEBRUARY + 24));
    // It is 2023-02-03 12:30: the second of February is not out yet, the bar of 12:00 has not closed.
    let now = period_start_ms("2023-02-03").unwrap() + 12 * HOUR_MS + HOUR_MS / 2;
    let spec = FetchSpec { now_ms: now, ..spec(&mirror, "2023-01", "2023-12", "2023-02-03") };
    let spec = FetchSpec { to_ms: period_end_ms("2023-12").unwrap(), ..spec };
    let (second, last) = (FEBRUARY + 24, FEBRUARY + 2 * 24 + 11);
    // An outage makes the first page short; the second has the rest.
    mirror.script(&klines_path(second * HOUR_MS, last * HOUR_MS), [klines(second..second + 7)]);
    mirror.script(&klines_path((second + 6) * HOUR_MS + 1, last * HOUR_MS), [klines(second + 7..last + 1)]);
    let (_dir, dataset) = empty_dataset();
    let report = run(&spec, &dataset);
    let symbol = &report.symbols[0];
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((symbol.files_new, symbol.rest_bars, symbol.missing.len()), (2, 36, 0));
    assert_eq!(stored(&dataset), hours(0..last + 1));

    // The next day the archive has the second of February, with a corrected volume: the archive is right.
    let mut issued = hours(second..second + 24);
    issued.volume[3] = 777.0;
    mirror.publish(&path("2023-02-02"), &zip(&[("a.csv", &binance_csv(&issued, 1))]));
    let third = second + 24;
    mirror.script(&klines_path(third * HOUR_MS, last * HOUR_MS), [klines(third..last + 1)]);
    let report = run(&spec, &dataset);
    assert_eq!((report.symbols[0].replaced, report.symbols[0].files_new), (1, 1), "{report:?}");
    let mut expected = hours(0..last + 1);
    expected.volume[second as usize + 3] = 777.0;
    assert_eq!(stored(&dataset), expected);
}

#[test]
fn rest_never_overrides_a_file_of_the_archive() {
    let mirror = Mirror::start();
    // The first of January has no file yet, the second has one whose volume differs from REST's.
    let mut issued = hours(24..48);
    issued.volume[3] = 777.0;
    mirror.publish(&path("2023-01-02"), &zip(&[("a.csv", &binance_csv(&issued, 1))]));
    mirror.script(&klines_path(0, 47 * HOUR_MS), [klines(0..48)]);
    let (_dir, dataset) = empty_dataset();
    let report = run(&spec(&mirror, "2023-01", "2023-01", "2023-01-03"), &dataset);
    assert!(report.is_complete() && report.symbols[0].missing.is_empty(), "{report:?}");
    let mut expected = hours(0..48);
    expected.volume[24 + 3] = 777.0;
    assert_eq!(stored(&dataset), expected);
}

#[test]
fn an_unknown_symbol_at_rest_is_reported_with_the_server_s_words() {
    let mirror = Mirror::start();
    let now = "2023-01-02";
    let words = Reply::Status("400 Bad Request", "", "{\"code\":-1121,\"msg\":\"Invalid symbol.\"}");
    mirror.script(&klines_path(0, 23 * HOUR_MS), [words]);
    let (_dir, dataset) = empty_dataset();
    let report = run(&spec(&mirror, "2023-01", "2023-01", now), &dataset);
    let failed = &report.symbols[0].failed;
    assert!(failed.len() == 1 && failed[0].reason.contains("Invalid symbol."), "{failed:?}");
}

/// Cancels when so many files have ended.
struct CancelAfter {
    files: Mutex<u32>,
    token: CancellationToken,
}

impl Progress for CancelAfter {
    fn file(&self, _name: &str, end: FileEnd) {
        assert_eq!(end, FileEnd::New);
        let mut files = self.files.lock().unwrap();
        *files -= 1;
        if *files == 0 {
            self.token.cancel();
        }
    }
}

#[test]
fn a_cancelled_fetch_keeps_what_it_has_and_is_resumed() {
    let mirror = quarter();
    mirror.slow_down(Duration::from_millis(30));
    let token = CancellationToken::new();
    let progress = CancelAfter { files: Mutex::new(1), token: token.clone() };
    let (_dir, dataset) = empty_dataset();
    let spec = FetchSpec { concurrency: 1, ..quarter_spec(&mirror) };
    let report = run_with(&spec, &dataset, &progress, &token).unwrap();
    assert!(report.cancelled && !report.is_complete());
    assert_eq!(stored(&dataset), hours(0..FEBRUARY));
    mirror.requests();
    let report = run(&spec, &dataset);
    assert_eq!((report.symbols[0].files_new, report.symbols[0].files_current), (2, 1));
    assert!(!mirror.requests().contains(&path("2023-01")));
    assert_eq!(stored(&dataset), hours(0..APRIL));
}

#[test]
fn the_order_of_arrival_does_not_show() {
    let (_one, quick) = empty_dataset();
    let (_two, single) = empty_dataset();
    for (dataset, concurrency) in [(&quick, 8), (&single, 1)] {
        let mirror = quarter();
        let january = file(0..FEBRUARY);
        mirror.script(&path("2023-01"), [Reply::Truncated(january.clone()), Reply::Body(january)]);
        let spec = FetchSpec {
            concurrency,
            symbols: vec!["B".into(), "A".into(), "a".into()],
            ..quarter_spec(&mirror)
        };
        let report = run(&spec, dataset);
        assert_eq!(report.symbols.iter().map(|s| s.symbol.as_str()).collect::<Vec<_>>(), ["B", "A"]);
    }
    assert_eq!(snapshot(crate::fixtures::root(&quick)), snapshot(crate::fixtures::root(&single)));
}

#[test]
fn requests_that_cannot_be_met_are_refused() {
    let mirror = Mirror::start();
    let good = quarter_spec(&mirror);
    let (_dir, dataset) = empty_dataset();
    let refusal = |spec: &FetchSpec| {
        run_with(spec, &dataset, &Silent, &CancellationToken::new()).unwrap_err().to_string()
    };
    for (spec, words) in [
        (FetchSpec { symbols: vec![], ..good.clone() }, "name at least one"),
        (FetchSpec { symbols: vec!["../A".into()], ..good.clone() }, "is not a symbol"),
        (FetchSpec { source: "ftp://x".into(), ..good.clone() }, "is not a web address"),
        (FetchSpec { from_ms: good.to_ms, ..good.clone() }, "--from must be before --to"),
    ] {
        assert!(refusal(&spec).contains(words), "{}", refusal(&spec));
    }
    assert!(mirror.requests().is_empty());
    let gone = good.source.clone();
    drop(mirror);
    let unreachable = refusal(&good);
    assert!(unreachable.contains("cannot reach") && unreachable.contains(&gone), "{unreachable}");
    assert!(!crate::fixtures::root(&dataset).exists());
}

#[test]
fn a_server_that_refuses_everything_is_left_alone() {
    let mirror = Mirror::start();
    let spec = spec(&mirror, "2018-01", "2023-12", "2024-06-01");
    for year in 2018..2024 {
        for month in 1..13 {
            mirror.script(
                &path(&format!("{year}-{month:02}")),
                [Reply::Status("403 Forbidden", "", "blocked")],
            );
        }
    }
    let (_dir, dataset) = empty_dataset();
    let error = run_with(&spec, &dataset, &Silent, &CancellationToken::new()).unwrap_err().to_string();
    assert!(error.contains("16 files in a row failed") && error.contains("403 Forbidden blocked"), "{error}");
    assert!(mirror.requests().len() < 25);
}
