//! `polybolos data check`: gaps, duplicates, zero volume and outliers of a dataset.

use polybolos_market_data::check::{DatasetCheck, Gap, SeriesCheck, UnreadableSeries, check_series};
use polybolos_market_data::{Dataset, symbol_name};

use crate::args::CheckArgs;
use crate::clock::date_time;
use crate::commands::Style;
use crate::error::CliError;
use crate::output::{self, number_cell, thousands};
use crate::progress;

/// Gaps and outliers of a series that are listed for people; `--json` has all gaps.
const SHOWN: usize = 5;

pub(super) fn run(args: &CheckArgs, style: Style) -> Result<(), CliError> {
    let check = check(args, style)?;
    if style.json {
        output::json(&check)?;
    } else {
        output::text(&text(&check))?;
    }
    if check.unreadable.is_empty() {
        return Ok(());
    }
    let errors: Vec<String> = check.unreadable.iter().map(|series| series.error.clone()).collect();
    Err(CliError::Failed(errors.join("\n")))
}

fn check(args: &CheckArgs, style: Style) -> Result<DatasetCheck, CliError> {
    let dataset = Dataset::open(&args.data.data)?;
    let wanted = args.symbol.as_deref().map(symbol_name).transpose()?;
    let mut all = Vec::new();
    for interval in dataset.intervals()? {
        let symbols = dataset.symbols(interval)?;
        all.extend(symbols.into_iter().map(|symbol| (interval, symbol)));
    }
    let is_wanted = |(interval, symbol): &(_, String)| {
        args.interval.is_none_or(|wanted| wanted == *interval)
            && wanted.as_ref().is_none_or(|wanted| wanted == symbol)
    };
    let chosen: Vec<_> = all.into_iter().filter(is_wanted).collect();
    if chosen.is_empty() {
        let symbol = wanted.map_or_else(String::new, |symbol| format!(" {symbol}"));
        let interval = args.interval.map_or_else(String::new, |interval| format!(" {interval}"));
        return Err(CliError::Failed(format!(
            "{} has no{symbol}{interval} bars; see `polybolos data list`",
            args.data.data
        )));
    }
    let bar = progress::bar(chosen.len() as u64, "series", style.quiet);
    let mut check = DatasetCheck { series: Vec::new(), unreadable: Vec::new() };
    for (interval, symbol) in chosen {
        match check_series(&dataset, &symbol, interval) {
            Ok(series) => check.series.push(series),
            Err(error) => {
                let error = error.to_string();
                check.unreadable.push(UnreadableSeries { symbol, interval: interval.name(), error });
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(check)
}

fn text(check: &DatasetCheck) -> String {
    let mut table = output::table(&[
        "symbol",
        "interval",
        "bars",
        "first open (UTC)",
        "last open (UTC)",
        "gaps",
        "missing",
        "zero volume",
        "outliers",
        "faults",
    ]);
    for series in &check.series {
        table.add_row(vec![
            series.symbol.as_str().into(),
            series.interval.into(),
            number_cell(thousands(series.rows)),
            date_time(series.first_ms).into(),
            date_time(series.last_ms).into(),
            number_cell(thousands(series.gaps.len() as u64)),
            number_cell(thousands(series.missing_bars)),
            number_cell(thousands(series.zero_volume)),
            number_cell(thousands(series.outliers)),
            number_cell(thousands(faults(series).iter().map(|(count, _)| count).sum())),
        ]);
    }
    let mut lines = vec![table.to_string()];
    lines.extend(check.series.iter().map(details).filter(|details| !details.is_empty()));
    if check.unreadable.is_empty() && check.series.iter().all(SeriesCheck::is_clean) {
        lines.push("complete and sound: no gap, no fault".to_owned());
    }
    lines.join("\n")
}

/// What makes bars unsound, with how often it was found.
fn faults(series: &SeriesCheck) -> [(u64, &'static str); 5] {
    [
        (series.duplicates, "bars with the time of another bar"),
        (series.unsorted, "bars out of order"),
        (series.invalid, "bars with impossible values"),
        (series.inconsistent, "bars whose open or close is outside low to high"),
        (series.misaligned, "bars off the interval's grid"),
    ]
}

/// The longest gaps, the faults and the worst outliers of a series; empty for a clean one.
fn details(series: &SeriesCheck) -> String {
    let mut lines = Vec::new();
    let mut gaps: Vec<&Gap> = series.gaps.iter().collect();
    gaps.sort_by(|a, b| b.missing_bars.cmp(&a.missing_bars).then(a.after_ms.cmp(&b.after_ms)));
    for gap in gaps.iter().take(SHOWN) {
        let span = format!("{} to {} UTC", date_time(gap.after_ms), date_time(gap.before_ms));
        lines.push(format!("  gap of {} bars between those of {span}", thousands(gap.missing_bars)));
    }
    if gaps.len() > SHOWN {
        lines.push(format!(
            "  and {} smaller gaps (--json lists all)",
            thousands((gaps.len() - SHOWN) as u64)
        ));
    }
    let found = faults(series).into_iter().filter(|(count, _)| *count > 0);
    lines.extend(found.map(|(count, what)| format!("  {} {what}", thousands(count))));
    for outlier in series.worst_outliers.iter().take(SHOWN) {
        lines.push(format!(
            "  outlier at {} UTC: moved {:+.1} %, {:.0} robust deviations",
            date_time(outlier.open_time_ms),
            100.0 * outlier.log_move.exp_m1(),
            outlier.sigmas
        ));
    }
    if lines.is_empty() {
        return String::new();
    }
    format!("{} {}\n{}", series.symbol, series.interval, lines.join("\n"))
}
