//! `polybolos promote`: a row of a sweep becomes a bot's file.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use polybolos_engine::metrics::METRICS;
use polybolos_engine::strategy::{Format, Source};
use polybolos_engine::sweep::{Ranking, engine_version};
use polybolos_live_trader::config::{self, BotConfig, Sources, SymbolEvidence};
use polybolos_live_trader::promotion::{
    Candidate, PromotionError, Thresholds, common_quote_asset, compile, inline_source, promote, verify,
};
use polybolos_plan::catalogue::Manifest;
use polybolos_plan::results::{Replay, replay};
use polybolos_plan::runtime::SweepRuntime;
use polybolos_plan::top::top;
use polybolos_plan::unit::SweepJob;
use polybolos_storage::atomic_file;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::args::PromoteArgs;
use crate::clock;
use crate::commands::{Style, results};
use crate::error::CliError;
use crate::output;

pub(crate) fn run(args: &PromoteArgs, style: Style) -> Result<(), CliError> {
    check_out(args)?;
    let capital = args.capital.as_deref().map(capital).transpose()?;
    let manifest = results::complete(&args.results.results, Some(&args.sweep_id))?;
    check_origin(&manifest)?;
    let data = args.data.clone().unwrap_or_else(|| manifest.data.clone());
    let job = SweepJob::new(manifest.spec()?, data, None)?;
    let (row, symbols) = choose(args, &manifest)?;
    let evidence = evidence(args, &manifest, &job, row, symbols)?;
    let names: Vec<String> = evidence.keys().cloned().collect();
    let config = job.strategy.config();
    let mut values = vec![0.0; job.strategy.space().params().len()];
    job.strategy.space().fill(row, &mut values);
    let params = job.strategy.space().params().iter().map(|param| param.name.clone()).zip(values);
    let candidate = Candidate {
        name: match &args.name {
            Some(name) => name.clone(),
            None => default_name(&manifest, row),
        },
        document: Source {
            name: manifest.strategy.source.clone(),
            text: manifest.strategy.text.clone(),
            format: manifest.strategy.format,
        },
        overrides: manifest.strategy.overrides.clone(),
        params: params.collect(),
        interval: job.spec.request.interval,
        sweep_id: manifest.sweep_id.clone(),
        row,
        sweep_strategy_digest: manifest.strategy.digest.clone(),
        symbols: evidence,
        quote_asset: match &args.quote_asset {
            Some(asset) => asset.clone(),
            None => common_quote_asset(&names).map(str::to_owned).ok_or_else(|| {
                CliError::Usage(format!(
                    "{} end in no common quote asset; give --quote-asset",
                    names.join(", ")
                ))
            })?,
        },
        capital_per_symbol: match capital {
            Some(capital) => capital,
            None => Decimal::try_from(config.cash).map_err(|error| CliError::Failed(error.to_string()))?,
        },
        now_ms: clock::now_ms(),
    };
    let bot = promote(&candidate, &thresholds(args), args.reason.as_deref()).map_err(refused)?;
    let text = text(&bot, &args.out)?;
    atomic_file::write(&args.out, |file| file.write_all(text.as_bytes()))
        .map_err(|error| CliError::Failed(format!("{}: {error}", args.out.display())))?;
    report(&bot, args, style)
}

fn check_out(args: &PromoteArgs) -> Result<(), CliError> {
    let name = args.out.display().to_string();
    if Format::from_file_name(&name) != Some(Format::Yaml) {
        return Err(CliError::Usage(format!("--out {name}: a bot's file ends in .yaml or .yml")));
    }
    if args.out.exists() && !args.overwrite {
        return Err(CliError::Failed(format!(
            "{name} is there already; a bot may be running on it: choose another --out, or give --overwrite"
        )));
    }
    Ok(())
}

fn capital(text: &str) -> Result<Decimal, CliError> {
    Decimal::from_str_exact(text).ok().filter(|amount| *amount > Decimal::ZERO).ok_or_else(|| {
        CliError::Usage(format!("--capital {text}: must be an amount of quote currency above 0"))
    })
}

/// Refuses sweeps whose numbers the live trader would not make.
fn check_origin(manifest: &Manifest) -> Result<(), CliError> {
    let ours = engine_version();
    if manifest.engine_version != ours {
        return Err(CliError::Failed(format!(
            "sweep {} was run by engine {}, this is {ours}; its numbers may differ, run it again",
            manifest.sweep_id, manifest.engine_version
        )));
    }
    if manifest.precision != "f64" {
        return Err(CliError::Failed(format!(
            "sweep {} has signals in {}, a bot decides in f64; sweep again with --precision f64",
            manifest.sweep_id, manifest.precision
        )));
    }
    Ok(())
}

/// The row, and the symbols that were asked for by name; `None` means those that have it.
fn choose(args: &PromoteArgs, manifest: &Manifest) -> Result<(u64, Option<Vec<String>>), CliError> {
    let named: Vec<String> = args.symbol.iter().map(|symbol| symbol.to_ascii_uppercase()).collect();
    let known = |symbol: &String| manifest.series.iter().any(|series| series.symbol == *symbol);
    if let Some(unknown) = named.iter().find(|symbol| !known(symbol)) {
        let all: Vec<&str> = manifest.series.iter().map(|series| series.symbol.as_str()).collect();
        return Err(CliError::Failed(format!(
            "sweep {} has no symbol {unknown}; it ran on {}",
            manifest.sweep_id,
            all.join(", ")
        )));
    }
    let listed = (!named.is_empty()).then_some(named);
    if let Some(row) = args.row {
        return Ok((row, listed));
    }
    let rank = args.rank.unwrap_or(1) as usize;
    let ranking = Ranking { metric: args.rank_by.clone(), min_trades: 0 };
    ranking.metric()?;
    let mut of = manifest.clone();
    if let Some(listed) = &listed {
        of.series.retain(|series| listed.contains(&series.symbol));
    }
    let best = output::rows_json(&top(&args.results.results, &of, &ranking, rank)?)?;
    let found = best.get(rank - 1).ok_or_else(|| {
        CliError::Failed(format!("rank {rank}: sweep {} has only {} rows there", of.sweep_id, best.len()))
    })?;
    let row = found.get("row").and_then(Value::as_u64);
    let symbol = found.get("symbol").and_then(Value::as_str);
    let (Some(row), Some(symbol)) = (row, symbol) else {
        return Err(CliError::Failed(format!("the result files of {} have no row or symbol", of.sweep_id)));
    };
    Ok((row, listed.or_else(|| Some(vec![symbol.to_owned()]))))
}

/// Recomputes the row on every symbol; it must be what the sweep stored, bit for bit.
fn evidence(
    args: &PromoteArgs,
    manifest: &Manifest,
    job: &SweepJob,
    row: u64,
    listed: Option<Vec<String>>,
) -> Result<BTreeMap<String, SymbolEvidence>, CliError> {
    let runtime = SweepRuntime::new(1);
    let mut evidence = BTreeMap::new();
    for series in &manifest.series {
        let symbol = &series.symbol;
        if listed.as_ref().is_some_and(|listed| !listed.contains(symbol)) {
            continue;
        }
        let replay = replay(&args.results.results, manifest, job, &runtime, symbol, row)?;
        if replay.stored.is_none() && listed.is_none() {
            continue;
        }
        check_replay(manifest, row, &replay)?;
        let columns = output::rows_json(std::slice::from_ref(&replay.recomputed))?.pop().unwrap_or_default();
        let metric = |name: &'static str| Some((name.to_owned(), columns.get(name)?.as_f64()?));
        evidence.insert(
            symbol.clone(),
            SymbolEvidence {
                bars_digest: series.data_digest.clone(),
                bars: series.bars,
                first_open_ms: series.first_open_ms,
                last_open_ms: series.last_open_ms,
                trials: series.trials.map_or(0, |trials| trials.count),
                metrics: METRICS.iter().filter_map(|known| metric(known.name)).collect(),
            },
        );
    }
    if evidence.is_empty() {
        return Err(CliError::Failed(format!("sweep {} kept row {row} on no symbol", manifest.sweep_id)));
    }
    Ok(evidence)
}

fn check_replay(manifest: &Manifest, row: u64, replay: &Replay) -> Result<(), CliError> {
    let Replay { symbol, stored, differences, .. } = replay;
    if stored.is_none() {
        return Err(CliError::Failed(format!(
            "sweep {} did not keep row {row} on {symbol}, so there is nothing to compare it with; sweep with --keep all",
            manifest.sweep_id
        )));
    }
    match differences.first() {
        None => Ok(()),
        Some(first) => Err(CliError::Failed(format!(
            "row {row} did not come out the same on {symbol} ({}: stored {:?}, recomputed {:?}); see polybolos replay {} {row}",
            first.column, first.stored, first.recomputed, manifest.sweep_id
        ))),
    }
}

/// A name that no other row of any sweep gets.
fn default_name(manifest: &Manifest, row: u64) -> String {
    let strategy: String = manifest.strategy.name.chars().take(32).collect();
    let sweep = manifest.sweep_id.rsplit('-').next().unwrap_or_default();
    format!("{strategy}-{}-{row}", sweep.get(..6).unwrap_or(sweep))
}

fn thresholds(args: &PromoteArgs) -> Thresholds {
    Thresholds {
        min_trades: f64::from(args.min_trades),
        max_drawdown: args.max_drawdown,
        min_sharpe: args.min_sharpe,
        min_dsr: args.min_dsr,
        min_profit_factor: args.min_profit_factor,
    }
}

fn refused(error: PromotionError) -> CliError {
    CliError::Failed(match error {
        PromotionError::Missed(_) => format!(
            "{error}\n  hint: choose another row, change a threshold by its flag, or take it all the same with --force \
             --reason TEXT"
        ),
        PromotionError::Strategy(_) => error.to_string(),
    })
}

/// The file's text, which must read back as the bot it was made of.
fn text(bot: &BotConfig, out: &Path) -> Result<String, CliError> {
    let failed = |reason: String| CliError::Failed(format!("{}: {reason}", out.display()));
    let body = bot.to_yaml().map_err(failed)?;
    let text = format!(
        "# Written by `polybolos promote`. `strategy` and `evidence` belong together: `polybolos config check` refuses the file if\n\
         # either is changed. Everything else is yours; `polybolos config example` explains every key.\n{body}"
    );
    let name = out.display().to_string();
    let source = Source { name: name.clone(), text: text.clone(), format: Format::Yaml };
    let read = config::load(&source, &Sources::default())?;
    let document = inline_source(&read.strategy, &name).ok_or_else(|| failed("no strategy".to_owned()))?;
    verify(&read, &compile(&read.strategy, &document)?).map_err(|wrong| failed(wrong.join("; ")))?;
    if read == *bot { Ok(text) } else { Err(failed("does not read back as it was written".to_owned())) }
}

/// A metric for people; counts without places.
fn short(value: f64) -> String {
    if value.fract() == 0.0 { value.to_string() } else { output::short_number(value) }
}

fn report(bot: &BotConfig, args: &PromoteArgs, style: Style) -> Result<(), CliError> {
    let Some(evidence) = &bot.evidence else { return Ok(()) };
    if style.json {
        return output::json(&json!({
            "file": args.out.display().to_string(),
            "name": bot.name,
            "sweep_id": evidence.sweep_id,
            "row": evidence.row,
            "params": bot.strategy.params,
            "symbols": evidence.symbols,
            "limits": bot.risk.limits,
            "missed": evidence.missed,
            "forced_because": evidence.forced_because,
            "digest": evidence.digest,
        }));
    }
    let mut table = output::table(&["symbol", "trades", "sharpe", "dsr", "max_drawdown", "profit_factor"]);
    for (symbol, of) in &evidence.symbols {
        let cell = |name: &str| of.metrics.get(name).map_or_else(|| "-".to_owned(), |&value| short(value));
        let metrics = ["trades", "sharpe", "dsr", "max_drawdown", "profit_factor"].map(cell);
        table.add_row(std::iter::once(symbol.clone()).chain(metrics));
    }
    let mut lines = vec![
        format!("{}: bot {}, row {} of {}", args.out.display(), bot.name, evidence.row, evidence.sweep_id),
        table.to_string(),
    ];
    lines.extend(evidence.missed.iter().map(|missed| format!("FORCED: {missed}")));
    lines.push(format!(
        "next: polybolos config check {0}; the limits in it are yours to tighten",
        args.out.display()
    ));
    output::text(&lines.join("\n"))
}
