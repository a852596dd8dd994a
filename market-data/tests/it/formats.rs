//! Every format gives the same bars, and a file of no format or a damaged one is named.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, RecordBatch, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use parquet::arrow::ArrowWriter;
use polybolos_kernels::bars::Bars;
use polybolos_market_data::import::{ImportOptions, ImportReport, import};
use polybolos_market_data::{DataError, OnConflict};
use proptest::prelude::*;

use crate::fixtures::{binance_csv, empty_dataset, hours, interval, ohlcv_only, write, zip};

const STRICT: ImportOptions = ImportOptions { skip_bad: false };

/// Imports one file into a new dataset and gives what can be loaded from it.
fn imported(contents: &[u8], name: &str) -> Result<(Bars, ImportReport), DataError> {
    let (dir, dataset) = empty_dataset();
    let path = write(dir.path(), name, contents);
    let report = import(&dataset, "A", interval("1h"), &[path], STRICT)?;
    Ok((dataset.load("A", interval("1h"), None)?, report))
}

fn refused(contents: &[u8], name: &str) -> String {
    let (dir, dataset) = empty_dataset();
    let path = write(dir.path(), name, contents);
    let error = import(&dataset, "A", interval("1h"), &[path], STRICT).unwrap_err();
    assert!(!crate::fixtures::root(&dataset).exists(), "a failed import makes nothing");
    let message = error.to_string();
    assert!(message.contains(name), "{message}");
    message
}

#[test]
fn binance_csv_and_zip_with_and_without_header_in_ms_and_us() {
    let bars = hours(0..48);
    let spot = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n";
    let named = "Open time,Open,High,Low,Close,Volume,Close time,Quote asset volume,Number of trades,\
                 Taker buy base asset volume,Taker buy quote asset volume,Ignore\n";
    for header in ["", spot, named] {
        for factor in [1, 1000] {
            let csv = format!("{header}{}", binance_csv(&bars, factor));
            assert_eq!(imported(csv.as_bytes(), "a.csv").unwrap().0, bars);
            // The content decides, not the name.
            assert_eq!(imported(&zip(&[("a.csv", &csv)]), "a.bin").unwrap().0, bars);
        }
    }
    let mixed = binance_csv(&hours(0..20), 1) + &binance_csv(&hours(20..48), 1000);
    assert_eq!(imported(mixed.as_bytes(), "a.csv").unwrap().0, bars);
}

#[test]
fn a_zip_of_several_files_is_read_whole() {
    let (first, second) = (binance_csv(&hours(0..20), 1), binance_csv(&hours(20..48), 1));
    let (bars, report) =
        imported(&zip(&[("b.csv", &second), ("__MACOSX/._b.csv", "x"), ("a.csv", &first)]), "a.zip").unwrap();
    assert_eq!(bars, hours(0..48));
    let inner: Vec<_> = report.files.iter().map(|file| Path::new(file).file_name().unwrap()).collect();
    assert_eq!(inner, ["b.csv", "a.csv"]);
}

/// Plain CSV text of the bars with this separator and time spelling.
fn plain_csv(bars: &Bars, header: &str, separator: &str, time: impl Fn(i64) -> String) -> String {
    let mut text = header.replace(',', separator) + "\r\n";
    for row in 0..bars.len() {
        let (close, volume) = (bars.close[row], bars.volume[row]);
        let (open, high, low) = (bars.open[row], bars.high[row], bars.low[row]);
        let fields = [close.to_string(), time(bars.open_time_ms[row]), open.to_string(), high.to_string()];
        text += &fields.join(separator);
        text += &format!("{separator}{low}{separator}note{separator}{volume}\r\n");
    }
    text
}

#[test]
fn plain_csv_with_any_separator_column_order_and_time_spelling() {
    let bars = ohlcv_only(hours(0..30));
    type Spelling = (&'static str, fn(i64) -> String);
    let spellings: [Spelling; 7] = [
        ("seconds", |ms| (ms / 1000).to_string()),
        ("milliseconds", |ms| ms.to_string()),
        ("microseconds", |ms| (ms * 1000).to_string()),
        ("ISO with T and Z", polybolos_market_data::utc_text),
        ("ISO with space", |ms| polybolos_market_data::utc_text(ms).replace('T', " ").replace('Z', "")),
        ("ISO with offset", |ms| polybolos_market_data::utc_text(ms + 7_200_000).replace('Z', "+02:00")),
        ("quoted", |ms| format!("\"{}\"", polybolos_market_data::utc_text(ms))),
    ];
    for (spelling, time) in spellings {
        for separator in [",", ";", "\t"] {
            for header in ["close,time,open,high,low,note,volume", "Close,Date,OPEN,High,\"low\",x,Volume"] {
                let csv = plain_csv(&bars, header, separator, time);
                assert_eq!(
                    imported(csv.as_bytes(), "a.csv").unwrap().0,
                    bars,
                    "{spelling} {separator:?} {header}"
                );
            }
        }
    }
    let marked = format!(
        "\u{feff}{}",
        plain_csv(&bars, "close,timestamp,open,high,low,x,volume", ",", |ms| ms.to_string())
    );
    assert_eq!(imported(marked.as_bytes(), "a.csv").unwrap().0, bars);
}

#[test]
fn a_missing_volume_is_zero_and_said_so() {
    let csv = "date,open,high,low,close\n2023-01-01,1,2,0.5,1.5\n2023-01-01T01:00,1,2,0.5,1.5\n";
    let (bars, report) = imported(csv.as_bytes(), "a.csv").unwrap();
    assert_eq!(bars.volume, [0.0, 0.0]);
    let unknown = ["volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"];
    assert_eq!(report.absent_columns, unknown);
}

#[test]
fn freqtrade_json() {
    let bars = ohlcv_only(hours(0..30));
    let rows: Vec<String> = (0..bars.len())
        .map(|row| {
            let (open, high, low) = (bars.open[row], bars.high[row], bars.low[row]);
            format!(
                "[{},{open},{high},{low},{},{}]",
                bars.open_time_ms[row], bars.close[row], bars.volume[row]
            )
        })
        .collect();
    let json = format!(" [{}]\n", rows.join(",\n"));
    assert_eq!(imported(json.as_bytes(), "A-1h.json").unwrap().0, bars);
    let cut = refused(&json.as_bytes()[..json.len() - 10], "A-1h.json");
    assert!(cut.contains("EOF"), "{cut}");
}

/// The bars as pandas and freqtrade hold them.
fn data_frame(bars: &Bars, times: ArrayRef, time_name: &str) -> RecordBatch {
    let numbers = |values: &Vec<f64>| Arc::new(Float64Array::from(values.clone())) as ArrayRef;
    RecordBatch::try_from_iter([
        ("volume", numbers(&bars.volume)),
        ("open", numbers(&bars.open)),
        ("high", numbers(&bars.high)),
        ("low", numbers(&bars.low)),
        ("close", numbers(&bars.close)),
        (time_name, times),
    ])
    .unwrap()
}

#[test]
fn feather_compressed_or_not() {
    let bars = ohlcv_only(hours(0..30));
    let times = TimestampMillisecondArray::from(bars.open_time_ms.clone()).with_timezone("UTC");
    let frame = data_frame(&bars, Arc::new(times), "date");
    for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let mut writer = FileWriter::try_new_with_options(Vec::new(), &frame.schema(), options).unwrap();
        writer.write(&frame).unwrap();
        let bytes = writer.into_inner().unwrap();
        assert_eq!(imported(&bytes, "a.feather").unwrap().0, bars);
        refused(&bytes[..bytes.len() / 2], "a.feather");
    }
}

#[test]
fn parquet_of_pandas_and_of_a_dataset() {
    let bars = ohlcv_only(hours(0..30));
    let nanoseconds: Vec<i64> = bars.open_time_ms.iter().map(|ms| ms * 1_000_000).collect();
    for name in ["date", "__index_level_0__"] {
        let frame = data_frame(&bars, Arc::new(TimestampNanosecondArray::from(nanoseconds.clone())), name);
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, frame.schema(), None).unwrap();
        writer.write(&frame).unwrap();
        writer.close().unwrap();
        assert_eq!(imported(&bytes, "a.parquet").unwrap().0, bars);
        refused(&bytes[..bytes.len() / 2], "a.parquet");
    }
    let (_dir, dataset) = empty_dataset();
    dataset.merge("A", interval("1h"), &hours(0..30), OnConflict::Refuse).unwrap();
    let stored = std::fs::read(&crate::fixtures::stored_files(&dataset, "A", "1h")[0]).unwrap();
    assert_eq!(imported(&stored, "a.parquet").unwrap().0, hours(0..30));
}

#[test]
fn files_that_are_no_bars_are_refused_with_a_way_out() {
    let good = zip(&[("a.csv", &binance_csv(&hours(0..500), 1))]);
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 0x55;
    let cases: [(&str, &[u8], &str); 10] = [
        ("empty.csv", b"", "the file is empty"),
        ("cut.zip", &good[..good.len() / 2], "damaged or cut short"),
        ("flipped.zip", &flipped, ""),
        ("none.zip", &zip(&[]), "the zip holds no file"),
        ("nested.zip", &zip(&[("a.zip", &String::from_utf8_lossy(&zip(&[])))]), "unpack it first"),
        ("data.gz", b"\x1f\x8b\x08", "gunzip"),
        ("noise.bin", b"\0\x01\x02\x03", "not a known format"),
        ("page.html", b"<html>\n<body>Not found</body>\n</html>\n", "no time column"),
        ("short.csv", b"1672531200000,1,2,3,4,5\n", "no header row and 6 columns"),
        ("headed.csv", b"time,open,high,low\n1672531200000,1,2,3\n", "no close column"),
    ];
    for (name, contents, reason) in cases {
        let message = refused(contents, name);
        assert!(message.contains(reason), "{message}");
    }
    let (dir, dataset) = empty_dataset();
    let absent = import(&dataset, "A", interval("1h"), &[dir.path().join("no.csv")], STRICT).unwrap_err();
    assert!(absent.to_string().contains("cannot open") && absent.to_string().contains("no.csv"), "{absent}");
    let folder = import(&dataset, "A", interval("1h"), &[dir.path().to_owned()], STRICT).unwrap_err();
    assert!(folder.to_string().contains("it is a directory"), "{folder}");
}

#[cfg(unix)]
#[test]
fn a_file_without_read_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, dataset) = empty_dataset();
    let path = write(dir.path(), "secret.csv", "x");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(&path).is_ok() {
        eprintln!("skipped: this user may read files without permission");
        return;
    }
    let error = import(&dataset, "A", interval("1h"), &[path], STRICT).unwrap_err().to_string();
    assert!(error.contains("secret.csv") && error.contains("ermission denied"), "{error}");
}

proptest! {
    /// Whatever bytes a file has, the answer is bars or an error, never a panic.
    #[test]
    fn no_file_brings_the_importer_down(
        start in prop::sample::select(vec!["", "[", "[[", "PK\u{3}\u{4}", "PAR1", "ARROW1", "time,open,high,low,close\n", "1672531200000,1,2,1,1,1,1,1,1,1,1,1\n"]),
        noise in prop::collection::vec(any::<u8>(), 0..300),
        text in "[0-9eE+.,;\"\\[\\]\n:TZ-]{0,200}",
    ) {
        for tail in [noise.as_slice(), text.as_bytes()] {
            let mut contents = start.as_bytes().to_vec();
            contents.extend_from_slice(tail);
            let (dir, dataset) = empty_dataset();
            let path = write(dir.path(), "any", &contents);
            for skip_bad in [false, true] {
                if import(&dataset, "A", interval("1h"), std::slice::from_ref(&path), ImportOptions { skip_bad }).is_ok() {
                    prop_assert!(dataset.load("A", interval("1h"), None).is_ok());
                }
            }
        }
    }
}
