//! `polybolos data`: import, fetch, check, synth, list.

mod check;
mod fetch;
mod import;

use polybolos_market_data::synth::{SynthSpec, synthesize as synthetic};
use polybolos_market_data::{Dataset, OnConflict};
use serde_json::json;

use crate::args::{DataCommand, ListArgs, SynthArgs};
use crate::clock::date_time;
use crate::commands::Style;
use crate::error::CliError;
use crate::output::{self, number_cell, thousands};
use crate::progress;

pub(crate) fn run(command: DataCommand, style: Style) -> Result<(), CliError> {
    match command {
        DataCommand::Import(args) => import::run(&args, style),
        DataCommand::Fetch(args) => fetch::run(&args, style),
        DataCommand::Check(args) => check::run(&args, style),
        DataCommand::Synth(args) => synth(&args, style),
        DataCommand::List(args) => list(&args, style),
    }
}

/// What became of the symbols of a synthetic market.
pub(crate) struct Synthesized {
    /// Symbols of the market.
    pub symbols: Vec<String>,
    /// Bars that were new to the dataset.
    pub added: u64,
    /// Bars that it had already.
    pub unchanged: u64,
}

/// Makes a synthetic market and merges it into the dataset, one symbol in memory at a time.
pub(crate) fn synthesize(args: &SynthArgs, style: Style) -> Result<Synthesized, CliError> {
    let spec = SynthSpec {
        symbols: args.symbols as usize,
        bars: args.bars as usize,
        interval: args.interval,
        seed: args.seed,
    };
    let dataset = Dataset::create(&args.data.data)?;
    let bar = progress::bar(u64::from(args.symbols), "symbols", style.quiet);
    let mut made = Synthesized { symbols: Vec::new(), added: 0, unchanged: 0 };
    for (symbol, bars) in synthetic(spec)? {
        let report = dataset.merge(&symbol, args.interval, &bars, OnConflict::Refuse)?;
        made.added += report.added;
        made.unchanged += report.unchanged;
        made.symbols.push(symbol);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(made)
}

fn synth(args: &SynthArgs, style: Style) -> Result<(), CliError> {
    let made = synthesize(args, style)?;
    if style.json {
        return output::json(&json!({
            "data": args.data.data,
            "interval": args.interval.name(),
            "seed": args.seed,
            "symbols": made.symbols,
            "bars": args.bars,
            "added": made.added,
            "unchanged": made.unchanged,
        }));
    }
    let had = if made.unchanged == 0 {
        String::new()
    } else {
        format!(", {} were there", thousands(made.unchanged))
    };
    output::text(&format!(
        "{} synthetic symbols of {} {} bars in {}: {} bars added{had}",
        made.symbols.len(),
        thousands(u64::from(args.bars)),
        args.interval,
        args.data.data,
        thousands(made.added)
    ))
}

fn list(args: &ListArgs, style: Style) -> Result<(), CliError> {
    let series = Dataset::open(&args.data.data)?.list()?;
    if style.json {
        return output::json(&series);
    }
    if series.is_empty() {
        return output::text(&format!(
            "{} holds no bars yet; `polybolos data import` puts some in",
            args.data.data
        ));
    }
    let mut table =
        output::table(&["symbol", "interval", "bars", "first open (UTC)", "last open (UTC)", "files", "MB"]);
    for series in &series {
        table.add_row(vec![
            series.symbol.as_str().into(),
            series.interval.into(),
            number_cell(thousands(series.rows)),
            date_time(series.first_ms).into(),
            date_time(series.last_ms).into(),
            number_cell(series.files),
            number_cell(format!("{:.2}", series.bytes as f64 / 1e6)),
        ]);
    }
    output::text(&table.to_string())
}
