//! `polybolos demo`: an offline tour on a synthetic market.
//!
//! It runs the commands it prints: each is parsed by the command line's own parser and goes the way it would go if it were
//! typed. A second run finds everything done.

mod verdict;

use std::path::Path;

use clap::Parser as _;
use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::metrics::MetricContext;
use polybolos_engine::strategy::Strategy;
use polybolos_engine::sweep::Ranking;
use polybolos_market_data::Dataset;
use polybolos_plan::catalogue::sweep_folder;
use polybolos_plan::runtime::SweepRuntime;
use polybolos_plan::top::Best;
use polybolos_storage::Location;
use serde_json::json;

use crate::args::{Cli, Command, DataCommand, DemoArgs, SweepArgs, SynthArgs};
use crate::commands::{Style, block_on, data, sweep};
use crate::error::CliError;
use crate::heatmap;
use crate::output::{self, thousands};

/// The built-in strategy, as it is in the repository.
const STRATEGY: &str = include_str!("../../../strategies/sma-cross.yaml");

/// Its name in the demo's folder.
const STRATEGY_FILE: &str = "sma-cross.yaml";

const INTERVAL: &str = "1h";
const SEED: u64 = 1;

/// The demo's folder and the commands in it.
struct Tour {
    strategy: String,
    data: String,
    results: String,
    symbols: u32,
    bars: u32,
}

impl Tour {
    fn new(args: &DemoArgs) -> Tour {
        let path = |name: &str| args.dir.join(name).display().to_string();
        let (strategy, data, results) = (path(STRATEGY_FILE), path("data"), path("results"));
        Tour { strategy, data, results, symbols: args.symbols, bars: args.bars }
    }

    fn synth(&self) -> Vec<String> {
        words(&format!(
            "data synth --symbols {} --bars {} --interval {INTERVAL} --seed {SEED}",
            self.symbols, self.bars
        ))
        .chain(["--data".to_owned(), self.data.clone()])
        .collect()
    }

    fn sweep(&self) -> Vec<String> {
        let places = ["--data", &self.data, "--results", &self.results].map(str::to_owned);
        ["sweep".to_owned(), self.strategy.clone()]
            .into_iter()
            .chain(words(&format!("--symbols all --interval {INTERVAL}")))
            .chain(places)
            .collect()
    }

    fn heatmap(&self) -> Vec<String> {
        words("results heatmap").chain(["--results".to_owned(), self.results.clone()]).collect()
    }

    fn sql(&self) -> Vec<String> {
        let query = "SELECT symbol, max(sharpe) AS best, avg(sharpe) AS mean FROM results GROUP BY symbol ORDER BY symbol";
        let places = ["--data", &self.data, "--results", &self.results].map(str::to_owned);
        ["sql".to_owned(), query.to_owned()].into_iter().chain(places).collect()
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(' ').map(str::to_owned)
}

pub(crate) fn run(args: &DemoArgs, style: Style) -> Result<(), CliError> {
    let tour = Tour::new(args);
    write_strategy(Path::new(&tour.strategy))?;
    let say = |text: &str| if style.json { Ok(()) } else { output::text(text) };
    let step = |number: u32, what: &str, command: &[String]| {
        say(&format!("{number}. {what}\n   $ polybolos {}", shell_line(command)))
    };
    step(1, "A market to try things on: synthetic, seeded, made offline.", &tour.synth())?;
    let reused = market(&synth_args(&tour.synth())?, style)?;
    say(&format!("   {}\n", if reused { "it is there from an earlier run" } else { "done" }))?;
    let size = format!("{STRATEGY_FILE} on every symbol");
    step(2, &format!("A sweep: every combination of the grid of {size}."), &tour.sweep())?;
    let swept = swept(&sweep_args(&tour.sweep())?, style)?;
    let manifest = &swept.report.manifest;
    say(&swept.summary())?;
    let ranking = &swept.ranking;
    let columns = sweep::table_columns(manifest, ranking);
    say(&output::rows_table(&swept.report.best, Some(&columns))?)?;
    step(3, "A heatmap: is the best row on a plateau, or alone?", &tour.heatmap())?;
    say(&swept.map.picture(output::colours()))?;
    let verdict = verdict::Verdict::of_best(manifest, &swept.report.best, swept.periods_per_year)?;
    say(&format!("4. What that is worth.\n{}\n", verdict.text()))?;
    let folder = sweep_folder(&Location::local(&tour.results), &manifest.sweep_id).to_string();
    say(&format!("5. The rows are Parquet files in {folder}"))?;
    say(&format!("   Ask them anything:\n   $ polybolos {}", shell_line(&tour.sql())))?;
    if !style.json {
        return Ok(());
    }
    let commands = [tour.synth(), tour.sweep(), tour.heatmap(), tour.sql()];
    let commands = commands.map(|command| format!("polybolos {}", shell_line(&command)));
    output::json(&json!({
        "market": { "reused": reused, "symbols": tour.symbols, "bars": tour.bars, "data": tour.data },
        "sweep": {
            "sweep_id": manifest.sweep_id,
            "combos": manifest.combos,
            "symbols": manifest.series.len(),
            "rows": manifest.rows,
            "bar_combos": manifest.bar_combos,
            "reused": swept.report.was_complete,
            "seconds": swept.report.seconds,
            "kernel_seconds": swept.report.kernel_seconds,
            "backend": manifest.backend,
            "results": folder,
        },
        "top": output::rows_json(&swept.report.best)?,
        "heatmap": swept.map,
        "verdict": verdict,
        "commands": commands,
    }))
}

/// Puts the built-in strategy into the demo's folder; one that was edited there stays.
fn write_strategy(path: &Path) -> Result<(), CliError> {
    if path.exists() {
        return Ok(());
    }
    let failed =
        |error: std::io::Error| CliError::Failed(format!("cannot write {}: {error}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    polybolos_storage::atomic_file::write(path, |file| std::io::Write::write_all(file, STRATEGY.as_bytes()))
        .map_err(failed)
}

/// Makes the market if it is not there as asked for; says whether it was.
fn market(args: &SynthArgs, style: Style) -> Result<bool, CliError> {
    let known = Dataset::open(&args.data.data).and_then(|dataset| dataset.list()).unwrap_or_default();
    let known = known.iter().filter(|series| series.interval == args.interval.name());
    let rows: Vec<u64> = known.map(|series| series.rows).collect();
    if rows.len() == args.symbols as usize && rows.iter().all(|&rows| rows == u64::from(args.bars)) {
        return Ok(true);
    }
    data::synthesize(args, style)?;
    Ok(false)
}

/// What the sweep gave.
struct Swept {
    report: polybolos_plan::run::SweepReport,
    ranking: Ranking,
    map: heatmap::Heatmap,
    /// Observations of the return series in a year.
    periods_per_year: f64,
}

impl Swept {
    fn summary(&self) -> String {
        let manifest = &self.report.manifest;
        let bars: u64 = manifest.series.iter().map(|series| series.bars).sum();
        let size = format!(
            "{} combinations x {} symbols, {} bars",
            thousands(manifest.combos),
            manifest.series.len(),
            thousands(bars)
        );
        if self.report.was_complete {
            return format!("   {size}: found finished, nothing was computed\n");
        }
        let rate = manifest.bar_combos as f64 / self.report.seconds.max(1e-9) / 1e9;
        format!("   {size}: {:.1} s, {rate:.2} billion bar-combinations a second\n", self.report.seconds)
    }
}

/// The same way as `polybolos sweep`, with the map as well.
fn swept(args: &SweepArgs, style: Style) -> Result<Swept, CliError> {
    let ranking = Ranking { metric: args.rank_by.clone(), min_trades: args.min_trades };
    let runtime = SweepRuntime::new(sweep::threads(args.threads));
    let table = sweep::table(args, &ranking)?;
    let results = &args.results.results;
    let config = Strategy::parse(&table.request.source, &table.request.overrides)?.config();
    let bars = Bars { interval_ms: args.interval.ms(), ..Bars::default() };
    let periods_per_year = MetricContext::new(&bars, &config).periods_per_year;
    block_on(async {
        let best = Best { ranking: ranking.clone(), count: args.top };
        let report = sweep::drive(&runtime, &table, &best, style).await?;
        let map = heatmap::of_sweep(
            heatmap::Source::Results(results),
            &report.manifest,
            None,
            None,
            &ranking.metric,
        )
        .await?;
        Ok(Swept { report, ranking, map, periods_per_year })
    })
}

fn parse(command: &[String]) -> Result<Command, CliError> {
    let words = std::iter::once("polybolos".to_owned()).chain(command.iter().cloned());
    Cli::try_parse_from(words).map(|cli| cli.command).map_err(|error| CliError::Failed(error.to_string()))
}

fn sweep_args(command: &[String]) -> Result<SweepArgs, CliError> {
    match parse(command)? {
        Command::Sweep(args) => Ok(args),
        _ => {
            Err(CliError::Failed("internal error: the demo's sweep is no sweep; please report it".to_owned()))
        }
    }
}

fn synth_args(command: &[String]) -> Result<SynthArgs, CliError> {
    match parse(command)? {
        Command::Data(DataCommand::Synth(args)) => Ok(args),
        _ => Err(CliError::Failed(
            "internal error: the demo's market is no market; please report it".to_owned(),
        )),
    }
}

/// The words as they are typed in a shell.
fn shell_line(words: &[String]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:".contains(c);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(is_plain) {
            return word.clone();
        }
        let escaped = |c: char| if "\\\"$`".contains(c) { vec!['\\', c] } else { vec![c] };
        format!("\"{}\"", word.chars().flat_map(escaped).collect::<String>())
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        let words = ["sweep", "my file.yaml", "it's $5"].map(str::to_owned);
        assert_eq!(shell_line(&words), "sweep \"my file.yaml\" \"it's \\$5\"");
    }

    #[test]
    fn the_printed_commands_are_commands() {
        let tour = Tour {
            strategy: "a b/s.yaml".to_owned(),
            data: "a b/data".to_owned(),
            results: "a b/results".to_owned(),
            symbols: 3,
            bars: 100,
        };
        for command in [tour.synth(), tour.sweep(), tour.heatmap(), tour.sql()] {
            assert!(parse(&command).is_ok(), "{command:?}");
        }
    }
}
