//! `polybolos data import`: files into the dataset, one series per symbol.

use std::path::{Path, PathBuf};

use polybolos_engine::interval::Interval;
use polybolos_market_data::import::{ImportOptions, ImportReport, import, read_bars};
use polybolos_market_data::{Dataset, symbol_name};

use crate::args::ImportArgs;
use crate::clock::date_time;
use crate::commands::Style;
use crate::error::CliError;
use crate::output::{self, thousands};
use crate::progress;

/// Bad rows that are named in the report; the count covers all.
const SHOWN_BAD_ROWS: usize = 5;

pub(super) fn run(args: &ImportArgs, style: Style) -> Result<(), CliError> {
    let groups = groups(args)?;
    let dataset = Dataset::create(&args.data.data)?;
    let options = ImportOptions { skip_bad: args.skip_bad };
    let bar = progress::bar(groups.len() as u64, "symbols", style.quiet);
    if groups.len() > 1 {
        // A bad file of the last symbol must not leave the first ones imported: everything is read before anything is
        // stored. The import of one symbol does so by itself.
        for (symbol, files) in &groups {
            bar.set_message(format!("reading {symbol}"));
            read_bars(args.interval, files, options)?;
        }
    }
    let mut reports: Vec<ImportReport> = Vec::new();
    for (symbol, files) in &groups {
        bar.set_message(format!("storing {symbol}"));
        let report = import(&dataset, symbol, args.interval, files, options);
        reports.push(report.map_err(|error| with_progress(error.into(), &reports))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if style.json {
        return output::json(&reports);
    }
    let text: Vec<String> = reports.iter().map(text).collect();
    output::text(&text.join("\n"))
}

/// Says which symbols were stored before the one that failed.
fn with_progress(error: CliError, stored: &[ImportReport]) -> CliError {
    if stored.is_empty() {
        return error;
    }
    let symbols: Vec<&str> = stored.iter().map(|report| report.symbol.as_str()).collect();
    CliError::Failed(format!("{error}\n  stored before that: {}", symbols.join(", ")))
}

/// The files of each symbol, symbols in the order of their first file.
fn groups(args: &ImportArgs) -> Result<Vec<(String, Vec<PathBuf>)>, CliError> {
    if let Some(symbol) = &args.symbol {
        return Ok(vec![(symbol_name(symbol)?, args.files.clone())]);
    }
    let mut groups: Vec<(String, Vec<PathBuf>)> = Vec::new();
    for file in &args.files {
        let symbol = symbol_of(file, args.interval)?;
        match groups.iter_mut().find(|(known, _)| *known == symbol) {
            Some((_, files)) => files.push(file.clone()),
            None => groups.push((symbol, vec![file.clone()])),
        }
    }
    Ok(groups)
}

/// The symbol that a file's name promises: `BTCUSDT-1h.zip`, `BTCUSDT-1m-2023-10.zip`, `BTC_USDT-5m.feather`.
fn symbol_of(file: &Path, interval: Interval) -> Result<String, CliError> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    let mut parts = stem.split('-');
    let (symbol, named) = (parts.next().unwrap_or_default(), parts.next());
    let is_date = parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let named: Option<Interval> = named.and_then(|named| named.parse().ok());
    // Exchanges write the pair in one word, freqtrade joins its halves with `_`.
    let symbol = symbol_name(&symbol.replace('_', ""));
    match (symbol, named) {
        (Ok(symbol), Some(named)) if is_date && named == interval => Ok(symbol),
        (Ok(_), Some(named)) if is_date => Err(CliError::Usage(format!(
            "{}: the name says {named} bars and --interval {interval}; give --interval {named}, or name the symbol with \
             --symbol if the name is wrong",
            file.display()
        ))),
        _ => Err(CliError::Usage(format!(
            "{}: the name does not say which symbol it is (like BTCUSDT-1h.zip does); give --symbol",
            file.display()
        ))),
    }
}

fn text(report: &ImportReport) -> String {
    let mut lines = vec![format!(
        "{} {}: {} rows read from {} files, {} added, {} known; {} bars from {} to {} UTC",
        report.symbol,
        report.interval,
        thousands(report.rows_read),
        report.files.len(),
        thousands(report.added),
        thousands(report.unchanged),
        thousands(report.rows),
        date_time(report.first_ms),
        date_time(report.last_ms),
    )];
    if report.gaps > 0 {
        lines.push(format!(
            "  {} gaps, {} bars missing",
            thousands(report.gaps),
            thousands(report.missing_bars)
        ));
    }
    for (count, what) in [
        (report.duplicates, "repeated rows left out"),
        (report.misaligned, "rows off the interval's grid"),
        (report.overlapping, "rows less than an interval after the one before"),
        (report.kept, "rows dropped because the dataset has other values for their time"),
        (report.dropped, "bad rows dropped"),
    ] {
        if count > 0 {
            lines.push(format!("  {} {what}", thousands(count)));
        }
    }
    lines.extend(report.bad.iter().take(SHOWN_BAD_ROWS).map(|row| format!("    {row}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_tell_their_symbol() {
        let symbol = |name: &str, interval: &str| {
            let interval = interval.parse().map_err(|_| CliError::Failed("no interval".to_owned()))?;
            symbol_of(Path::new(name), interval)
        };
        for (name, interval, expected) in [
            ("BTCUSDT-1h.zip", "1h", "BTCUSDT"),
            ("dir/FILUSDT-1m-2023-10.zip", "1m", "FILUSDT"),
            ("BTCUSDT-1d-2024-01-31.csv", "1d", "BTCUSDT"),
            ("BTC_USDT-5m.feather", "5m", "BTCUSDT"),
            ("1INCHUSDT-1h.csv.bak", "1h", "1INCHUSDT"),
        ] {
            assert_eq!(symbol(name, interval).ok().as_deref(), Some(expected), "{name}");
        }
        for (name, interval, words) in [
            ("BTCUSDT-1m.zip", "1h", "the name says 1m bars"),
            ("prices.csv", "1h", "give --symbol"),
            ("freqtrade-BTC_USDT-5m.feather", "5m", "give --symbol"),
            ("BTC_USDT_USDT-5m-futures.feather", "5m", "give --symbol"),
            ("-1h.csv", "1h", "give --symbol"),
            ("..", "1h", "give --symbol"),
        ] {
            let message = symbol(name, interval).unwrap_or_else(|error| error.to_string());
            assert!(message.contains(words), "{name}: {message}");
        }
    }
}
