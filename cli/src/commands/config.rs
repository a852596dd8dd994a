//! `polybolos config`: effective settings, checks of strategies and bots, their JSON Schema, an example.

use std::collections::BTreeSet;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _};
use polybolos_engine::diagnostic::Diagnostic;
use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::program::{Op, Program};
use polybolos_engine::space::Values;
use polybolos_engine::strategy::{Overrides, Source, Strategy, schema};
use polybolos_engine::sweep::engine_version;
use polybolos_live_trader::config::{self as bot_config, BotConfig, Sources};
use polybolos_live_trader::promotion::Standing;
use serde_json::{Value, json};

use crate::args::{Cli, ConfigCommand, DataDir, ResultsDir, SchemaOf};
use crate::commands::bot_file::{self, Bot, BotError};
use crate::commands::{Style, strategy_file, sweep};
use crate::error::CliError;
use crate::output::{self, thousands};

/// Grids up to this many rows have their valid ones counted by `config check`.
const MAX_COUNTED_ROWS: u64 = 1_000_000;

pub(crate) fn run(command: ConfigCommand, style: Style) -> Result<(), CliError> {
    match command {
        ConfigCommand::Show { bot: Some(file), profile, .. } => {
            show_bot(&file, &bot_file::sources(profile.profile.as_deref()), style)
        }
        ConfigCommand::Show { bot: None, data, results, threads, .. } => {
            show(&data, &results, threads, style)
        }
        ConfigCommand::Check { profile, files } => {
            check(&files, &bot_file::sources(profile.profile.as_deref()), style)
        }
        ConfigCommand::Schema { of: SchemaOf::Strategy } => output::json(&schema()),
        ConfigCommand::Schema { of: SchemaOf::Bot } => output::json(&bot_config::json_schema()),
        ConfigCommand::Example => {
            let example = BotConfig::example().map_err(CliError::Failed)?;
            if style.json {
                output::json(&json!({ "example": example }))
            } else {
                output::text(example.trim_end())
            }
        }
    }
}

/// One effective setting.
struct Setting {
    name: &'static str,
    value: Value,
    source: String,
}

fn show(data: &DataDir, results: &ResultsDir, threads: Option<u16>, style: Style) -> Result<(), CliError> {
    let matches = Cli::command().get_matches();
    let matches =
        ["config", "show"].iter().try_fold(&matches, |matches, name| matches.subcommand_matches(name));
    let source = |name: &str, variable: &str| source(matches, name, variable);
    let settings = [
        Setting { name: "data", value: json!(data.data), source: source("data", "POLYBOLOS_DATA") },
        Setting {
            name: "results",
            value: json!(results.results.to_string()),
            source: source("results", "POLYBOLOS_RESULTS"),
        },
        Setting {
            name: "threads",
            value: json!(sweep::threads(threads)),
            source: source("threads", "POLYBOLOS_THREADS"),
        },
        Setting { name: "engine", value: json!(engine_version()), source: "this program".to_owned() },
    ];
    if style.json {
        let document: serde_json::Map<String, Value> = settings
            .into_iter()
            .map(|setting| {
                (setting.name.to_owned(), json!({ "value": setting.value, "source": setting.source }))
            })
            .collect();
        return output::json(&document);
    }
    let mut table = output::table(&["setting", "value", "from"]);
    for Setting { name, value, source } in settings {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        table.add_row(vec![name.to_owned(), value, source]);
    }
    output::text(&table.to_string())
}

/// Prints what a bot's file comes to.
fn show_bot(file: &Path, sources: &Sources, style: Style) -> Result<(), CliError> {
    let config = bot_config::load(&strategy_file::source(file)?, sources)?.redacted();
    if style.json {
        return output::json(&config);
    }
    output::text(config.to_yaml().map_err(CliError::Failed)?.trim_end())
}

/// Where an argument's value came from.
fn source(matches: Option<&ArgMatches>, name: &str, variable: &str) -> String {
    match matches.and_then(|matches| matches.value_source(name)) {
        Some(ValueSource::CommandLine) => format!("--{name}"),
        Some(ValueSource::EnvVariable) => variable.to_owned(),
        _ => "default".to_owned(),
    }
}

/// A document that passed or what is wrong with it.
struct Checked {
    file: String,
    outcome: Result<Document, BotError>,
}

/// A document that passed.
enum Document {
    Strategy(Box<Strategy>),
    Bot(Box<Bot>),
}

fn check(files: &[std::path::PathBuf], sources: &Sources, style: Style) -> Result<(), CliError> {
    let checked: Vec<Checked> = files.iter().map(|file| check_file(file, sources)).collect();
    if style.json {
        output::json(&checked.iter().map(document).collect::<Vec<_>>())?;
    } else {
        let lines: Vec<String> = checked
            .iter()
            .filter_map(|checked| match checked.outcome.as_ref().ok()? {
                Document::Strategy(strategy) => Some(ok_line(&checked.file, strategy)),
                Document::Bot(bot) => Some(bot_line(&checked.file, bot)),
            })
            .collect();
        if !lines.is_empty() {
            output::text(&lines.join("\n"))?;
        }
    }
    let faults: Vec<String> = checked
        .iter()
        .filter_map(|checked| Some(text_of(checked.outcome.as_ref().err()?, &checked.file)))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(CliError::Failed(faults.join("\n"))) }
}

fn check_file(file: &Path, sources: &Sources) -> Checked {
    let outcome =
        strategy_file::source(file).map_err(BotError::File).and_then(|source| read(&source, sources));
    Checked { file: file.display().to_string(), outcome }
}

fn read(source: &Source, sources: &Sources) -> Result<Document, BotError> {
    // What is not well formed is reported by the reader of strategies, with the same words.
    if bot_config::is_bot(source).unwrap_or(false) {
        return bot_file::read(source, sources).map(|bot| Document::Bot(Box::new(bot)));
    }
    let strategy = Strategy::parse(source, &Overrides::default()).map_err(BotError::Text)?;
    Ok(Document::Strategy(Box::new(strategy)))
}

fn text_of(error: &BotError, file: &str) -> String {
    match error {
        BotError::File(error) => error.to_string(),
        BotError::Text(faults) => faults.to_string(),
        BotError::Changed(wrong) => {
            wrong.iter().map(|wrong| format!("{file}: {wrong}")).collect::<Vec<_>>().join("\n")
        }
    }
}

fn document(checked: &Checked) -> Value {
    match &checked.outcome {
        Ok(Document::Bot(bot)) => json!({
            "file": checked.file,
            "ok": true,
            "name": bot.config.name,
            "mode": bot.config.mode,
            "strategy": bot.strategy.strategy.name(),
            "digest": bot.strategy.strategy.digest().to_string(),
            "params": bot.config.strategy.params,
            "symbols": bot.config.symbols,
            "promoted": bot.standing == Standing::Promoted,
            "errors": [],
        }),
        Ok(Document::Strategy(strategy)) => {
            let params = strategy.space().params().iter();
            let params: Vec<Value> =
                params.map(|param| json!({ "name": param.name, "values": param.values.len() })).collect();
            json!({
                "file": checked.file,
                "ok": true,
                "name": strategy.name(),
                "digest": strategy.digest().to_string(),
                "grid_rows": strategy.space().len(),
                "valid_rows": valid_rows(strategy),
                "params": params,
                "functions": functions(strategy.program()),
                "warmup": warmup(strategy).map(|(bars, interval)| json!({ "bars": bars, "interval": interval.name() })),
                "errors": [],
            })
        }
        Err(BotError::Changed(wrong)) => {
            let errors: Vec<Value> = wrong.iter().map(|wrong| json!({ "message": wrong })).collect();
            json!({ "file": checked.file, "ok": false, "errors": errors })
        }
        Err(BotError::File(error)) => {
            json!({ "file": checked.file, "ok": false, "errors": [{ "message": error.to_string() }] })
        }
        Err(BotError::Text(faults)) => {
            let errors: Vec<Value> = faults.0.iter().map(fault_document).collect();
            json!({ "file": checked.file, "ok": false, "errors": errors })
        }
    }
}

fn fault_document(fault: &Diagnostic) -> Value {
    json!({ "line": fault.line, "column": fault.column, "message": fault.message, "hint": fault.hint })
}

fn ok_line(file: &str, strategy: &Strategy) -> String {
    let space = strategy.space();
    let params: Vec<String> = space
        .params()
        .iter()
        .map(|param| format!("{} ({})", param.name, thousands(param.values.len())))
        .collect();
    let valid = match valid_rows(strategy) {
        Some(valid) if valid < space.len() => format!(", {} of them valid", thousands(valid)),
        _ => String::new(),
    };
    let list = |words: &[String]| if words.is_empty() { "none".to_owned() } else { words.join(", ") };
    let warmup = warmup(strategy).map_or_else(String::new, |(bars, interval)| {
        format!("; signals defined after at most {} bars of {interval}", thousands(bars as u64))
    });
    format!(
        "ok  {file}: {}, {} combinations{valid}; parameters {}; functions {}{warmup}",
        strategy.name(),
        thousands(space.len()),
        list(&params),
        list(&functions(strategy.program())),
    )
}

fn bot_line(file: &str, bot: &Bot) -> String {
    let config = &bot.config;
    let symbols = match &config.selection {
        Some(selection) => format!("up to {} chosen symbols", selection.max_symbols),
        None => config.symbols.join(", "),
    };
    let standing = match (bot.standing, &config.evidence) {
        (Standing::Promoted, Some(evidence)) => {
            format!("row {} of {}, unchanged since", evidence.row, evidence.sweep_id)
        }
        _ => "written by hand, without evidence".to_owned(),
    };
    let mode = json!(config.mode);
    format!(
        "ok  {file}: bot {}, mode {}; {} on {symbols}, bars of {}; {standing}",
        config.name,
        mode.as_str().unwrap_or_default(),
        bot.strategy.strategy.name(),
        bot.strategy.interval,
    )
}

/// Rows that `where` allows; `None` for a grid too large to look at every row.
fn valid_rows(strategy: &Strategy) -> Option<u64> {
    let space = strategy.space();
    if !space.is_restricted() {
        return Some(space.len());
    }
    (space.len() <= MAX_COUNTED_ROWS).then(|| space.valid_rows(0..space.len()).count() as u64)
}

/// The functions of the language that a program uses, by name.
fn functions(program: &Program) -> Vec<String> {
    let mut names = BTreeSet::new();
    for node in &program.nodes {
        let name = match node.op {
            Op::Output(output) => {
                let indicator = node.args.first().map(|&arg| program.node(arg).op);
                match indicator {
                    Some(Op::Indicator(def)) => def.outputs.get(usize::from(output)).copied(),
                    _ => None,
                }
            }
            Op::Lag => Some("lag"),
            Op::CrossesAbove => Some("crosses_above"),
            Op::CrossesBelow => Some("crosses_below"),
            Op::Abs => Some("abs"),
            Op::Sqrt => Some("sqrt"),
            Op::Ln => Some("ln"),
            Op::Exp => Some("exp"),
            Op::Least => Some("least"),
            Op::Greatest => Some("greatest"),
            Op::Lift => Some("tf"),
            _ => None,
        };
        names.extend(name.map(str::to_owned));
    }
    names.into_iter().collect()
}

/// The longer warm-up of the grid's smallest and largest values, on hourly bars or the longest ones that its `tf` calls
/// allow.
fn warmup(strategy: &Strategy) -> Option<(usize, Interval)> {
    let fits = |interval: &Interval| strategy.check_interval(*interval).is_ok();
    let hour = Interval::all().find(|interval| interval.name() == "1h");
    let interval = hour.filter(fits).or_else(|| Interval::all().filter(fits).last())?;
    let extreme = |largest: bool| -> Vec<f64> {
        let best = |a: f64, b: f64| if largest { a.max(b) } else { a.min(b) };
        let of = |values: &Values| match values {
            Values::List(list) => list.iter().copied().reduce(best).unwrap_or(f64::NAN),
            Values::Steps(steps) => best(steps.get(0), steps.get(steps.len() - 1)),
        };
        strategy.space().params().iter().map(|param| of(&param.values)).collect()
    };
    let bars = [extreme(false), extreme(true)].map(|values| strategy.warmup_bars(&values, interval));
    bars.into_iter().max().map(|bars| (bars, interval))
}
