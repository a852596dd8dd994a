//! Recorded market data: imported whole, its real gaps found. Skipped aloud where the recordings are not at hand.

use std::path::PathBuf;

use polybolos_engine::digest;
use polybolos_market_data::check::{check_dataset, check_series};
use polybolos_market_data::import::{ImportOptions, ImportReport, import};
use polybolos_market_data::{Dataset, utc_text};

use crate::fixtures::{empty_dataset, interval};

/// The recordings' folder, beside the workspace.
fn recorded(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from("../../shared/data").join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no recorded data at {}", path.display());
    None
}

fn import_strictly(dataset: &Dataset, symbol: &str, interval_name: &str, file: PathBuf) -> ImportReport {
    import(dataset, symbol, interval(interval_name), &[file], ImportOptions::default()).unwrap()
}

#[test]
fn eight_symbols_of_hours_with_the_exchange_s_outages() {
    let Some(folder) = recorded("spot-1h") else { return };
    let (_dir, dataset) = empty_dataset();
    let mut symbols = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let symbol = name.strip_suffix("-1h").unwrap().to_owned();
        let report = import_strictly(&dataset, &symbol, "1h", path.clone());
        assert_eq!(report.rows_read, report.added + report.duplicates);
        if symbol == "BTCUSDT" {
            let again = import_strictly(&dataset, &symbol, "1h", path);
            assert_eq!((again.added, again.unchanged), (0, report.added));
        }
        symbols.push(symbol);
    }
    symbols.sort();
    assert_eq!(symbols.len(), 8);
    assert_eq!(dataset.symbols(interval("1h")).unwrap(), symbols);
    let check = check_series(&dataset, "BTCUSDT", interval("1h")).unwrap();
    assert_eq!((check.rows, check.gaps.len(), check.missing_bars), (73_265, 27, 122));
    assert_eq!((check.duplicates, check.unsorted, check.invalid, check.inconsistent), (0, 0, 0, 0));
    assert_eq!(utc_text(check.first_ms), "2018-01-01T00:00:00Z");
    for series in check_dataset(&dataset).unwrap().series {
        assert_eq!((series.duplicates, series.unsorted, series.invalid), (0, 0, 0), "{}", series.symbol);
        assert!(series.outliers < 20, "{} {:?}", series.symbol, series.worst_outliers);
    }
}

#[test]
fn minutes_with_thousands_of_gaps() {
    let Some(file) = recorded("other/BTCUSD-bitfinex-1m-2019Q1.zip") else { return };
    let (_dir, dataset) = empty_dataset();
    let report = import_strictly(&dataset, "BTCUSD", "1m", file);
    assert_eq!(report.rows_read, 123_794);
    let check = check_series(&dataset, "BTCUSD", interval("1m")).unwrap();
    assert!(check.gaps.len() > 1_000, "{}", check.gaps.len());
    let span = (check.last_ms - check.first_ms) / 60_000 + 1;
    assert_eq!(check.rows + check.missing_bars, span as u64);
}

#[test]
fn a_futures_file_with_every_column() {
    let Some(file) = recorded("other/FILUSDT-1m-2023-10.zip") else { return };
    let (_dir, dataset) = empty_dataset();
    let report = import_strictly(&dataset, "FILUSDT", "1m", file);
    assert_eq!((report.added, report.gaps), (31 * 24 * 60, 0));
    let bars = dataset.load("FILUSDT", interval("1m"), None).unwrap();
    let first =
        [bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume[0], bars.quote_volume[0]];
    assert_eq!(first, [3.352, 3.353, 3.351, 3.353, 12974.9, 43490.6693]);
    assert_eq!(
        (bars.trades[0], bars.taker_buy_volume[0], bars.taker_buy_quote_volume[0]),
        (138.0, 3469.7, 11631.6652)
    );
}

#[test]
fn a_feather_file_that_freqtrade_wrote() {
    let Some(file) = recorded("other/freqtrade-UNITTEST_BTC-5m.feather") else { return };
    let (dir, dataset) = empty_dataset();
    let report = import_strictly(&dataset, "UNITTESTBTC", "5m", file.clone());
    assert_eq!(report.rows_read, 5_760);
    let wrong =
        import(&dataset, "UNITTESTBTC", interval("1h"), &[file], ImportOptions::default()).unwrap_err();
    assert!(wrong.to_string().contains("--interval 5m"), "{wrong}");
    // The stored file is itself importable and gives the same bars.
    let bars = dataset.load("UNITTESTBTC", interval("5m"), None).unwrap();
    let copy = Dataset::create(dir.path().join("copy")).unwrap();
    let files = crate::fixtures::stored_files(&dataset, "UNITTESTBTC", "5m");
    import(&copy, "UNITTESTBTC", interval("5m"), &files, ImportOptions::default()).unwrap();
    let copied = copy.load("UNITTESTBTC", interval("5m"), None).unwrap();
    assert_eq!(digest::of_bars(&copied), digest::of_bars(&bars));
}
