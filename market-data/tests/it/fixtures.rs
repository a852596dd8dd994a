//! Small bars, files and datasets that the tests share.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use polybolos_engine::interval::Interval;
use polybolos_kernels::bars::Bars;
use polybolos_market_data::Dataset;
use tempfile::TempDir;

/// 2023-01-01T00:00:00Z.
pub(crate) const NEW_YEAR_2023_MS: i64 = 1_672_531_200_000;
pub(crate) const HOUR_MS: i64 = 3_600_000;

pub(crate) fn interval(name: &str) -> Interval {
    name.parse().unwrap()
}

/// A folder with a dataset in it that has not been made yet.
pub(crate) fn empty_dataset() -> (TempDir, Dataset) {
    let dir = tempfile::tempdir().unwrap();
    let dataset = Dataset::create(dir.path().join("data")).unwrap();
    (dir, dataset)
}

/// The directory of a dataset on this machine.
pub(crate) fn root(dataset: &Dataset) -> &Path {
    dataset.location().path().unwrap()
}

/// The files of a series on this machine.
pub(crate) fn stored_files(dataset: &Dataset, symbol: &str, interval_name: &str) -> Vec<PathBuf> {
    let files = dataset.files(symbol, interval(interval_name)).unwrap();
    files.iter().map(|file| file.path().unwrap().to_owned()).collect()
}

/// Hourly bars from 2023 on whose values tell their row: close = 100 + row.
pub(crate) fn hours(rows: std::ops::Range<i64>) -> Bars {
    let mut bars = Bars { interval_ms: HOUR_MS, ..Bars::default() };
    for row in rows {
        let close = 100.0 + row as f64;
        bars.open_time_ms.push(NEW_YEAR_2023_MS + row * HOUR_MS);
        bars.open.push(close - 0.5);
        bars.high.push(close + 1.25);
        bars.low.push(close - 1.1);
        bars.close.push(close);
        bars.volume.push(row as f64 * 0.1);
        bars.quote_volume.push(row as f64 * 10.7);
        bars.trades.push(row as f64);
        bars.taker_buy_volume.push(row as f64 * 0.05);
        bars.taker_buy_quote_volume.push(row as f64 * 5.1);
    }
    bars
}

/// The bars as Binance writes them, times multiplied (1 for ms, 1000 for us), without a header.
pub(crate) fn binance_csv(bars: &Bars, time_factor: i64) -> String {
    let mut text = String::new();
    for row in 0..bars.len() {
        let time = bars.open_time_ms[row];
        let close_time = (time + bars.interval_ms) * time_factor - 1;
        text += &format!(
            "{},{},{},{},{},{},{close_time},{},{},{},{},0\n",
            time * time_factor,
            bars.open[row],
            bars.high[row],
            bars.low[row],
            bars.close[row],
            bars.volume[row],
            bars.quote_volume[row],
            bars.trades[row],
            bars.taker_buy_volume[row],
            bars.taker_buy_quote_volume[row],
        );
    }
    text
}

/// Only time, prices and volume are known.
pub(crate) fn ohlcv_only(mut bars: Bars) -> Bars {
    for column in [
        &mut bars.quote_volume,
        &mut bars.trades,
        &mut bars.taker_buy_volume,
        &mut bars.taker_buy_quote_volume,
    ] {
        column.fill(0.0);
    }
    bars
}

pub(crate) fn write(dir: &Path, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, contents).unwrap();
    path
}

/// A zip of the named texts.
pub(crate) fn zip(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in entries {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Every file below a folder with its bytes, locks and empty folders left out.
pub(crate) fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != ".lock") {
                files.push((path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}
