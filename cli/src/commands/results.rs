//! `polybolos results`: list, show, top, heatmap, export.

use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::json::writer::{JsonArray, WriterBuilder};
use datafusion::parquet::arrow::ArrowWriter;
use polybolos_engine::metrics::METRICS;
use polybolos_engine::sweep::Ranking;
use polybolos_plan::catalogue::{self, Manifest, State, ValuesRecord, sweep_folder};
use polybolos_plan::results::rows;
use polybolos_plan::results_table::state_name;
use polybolos_plan::top::top;
use polybolos_proto::cluster::TopRequest;
use polybolos_storage::{Location, atomic_file};
use serde_json::json;

use crate::args::ResultsCommand;
use crate::clock::date_time;
use crate::commands::{Style, block_on, sweep};
use crate::error::CliError;
use crate::heatmap;
use crate::output::{self, number_cell, short_number, thousands};
use crate::remote::Cluster;

pub(crate) fn run(command: ResultsCommand, style: Style) -> Result<(), CliError> {
    match command {
        ResultsCommand::List { results, cluster } => match Cluster::of(&cluster)? {
            Some(cluster) => remote_list(&cluster, style),
            None => list(catalogue::list(&results.results)?, &results.results.to_string(), style),
        },
        ResultsCommand::Show { sweep_id, results, cluster } => match Cluster::of(&cluster)? {
            Some(cluster) => {
                let wanted = sweep_id.unwrap_or_default();
                let manifest = cluster.wait(async { Ok(cluster.describe(&wanted).await?) })?;
                show(&manifest, "on the cluster", style)
            }
            None => {
                let manifest = catalogue::find(&results.results, sweep_id.as_deref())?;
                let folder = sweep_folder(&results.results, &manifest.sweep_id);
                show(&manifest, &folder.to_string(), style)
            }
        },
        ResultsCommand::Top { sweep_id, results, cluster, rank_by, min_trades, top: count, symbol } => {
            let ranking = Ranking { metric: rank_by, min_trades };
            ranking.metric()?;
            let (manifest, best) = match Cluster::of(&cluster)? {
                Some(cluster) => remote_top(&cluster, sweep_id, &ranking, count, symbol.as_deref())?,
                None => {
                    let manifest = complete(&results.results, sweep_id.as_deref())?;
                    let manifest = manifest.only_symbol(symbol.as_deref())?;
                    let best = top(&results.results, &manifest, &ranking, count)?;
                    (manifest, best)
                }
            };
            if style.json {
                return output::json(&output::rows_json(&best)?);
            }
            output::text(&output::rows_table(&best, Some(&sweep::table_columns(&manifest, &ranking)))?)
        }
        ResultsCommand::Heatmap { sweep_id, results, cluster, x, y, metric, symbol } => {
            let ranking = Ranking { metric, min_trades: 0 };
            ranking.metric()?;
            let (x, y, symbol) = (x.as_deref(), y.as_deref(), symbol.as_deref());
            let map = match Cluster::of(&cluster)? {
                Some(cluster) => cluster.wait(async {
                    let manifest = cluster.describe(&sweep_id.unwrap_or_default()).await?;
                    let manifest = manifest.only_symbol(symbol)?;
                    let source = heatmap::Source::Cluster(&cluster, symbol);
                    heatmap::of_sweep(source, &manifest, x, y, &ranking.metric).await
                })?,
                None => {
                    let manifest = complete(&results.results, sweep_id.as_deref())?;
                    let manifest = manifest.only_symbol(symbol)?;
                    let source = heatmap::Source::Results(&results.results);
                    block_on(heatmap::of_sweep(source, &manifest, x, y, &ranking.metric))?
                }
            };
            if style.json { output::json(&map) } else { output::text(&map.picture(output::colours())) }
        }
        ResultsCommand::Export { sweep_id, results, cluster, out } => {
            if let Some(cluster) = Cluster::of(&cluster)? {
                return remote_export(&cluster, sweep_id, &out, style);
            }
            let manifest = complete(&results.results, sweep_id.as_deref())?;
            export(&results.results, &manifest, &out, style)
        }
    }
}

/// A sweep whose rows are all there.
pub(super) fn complete(results: &Location, wanted: Option<&str>) -> Result<Manifest, CliError> {
    let manifest = catalogue::find(results, wanted)?;
    if manifest.is_complete(results)? {
        return Ok(manifest);
    }
    Err(CliError::Failed(format!(
        "sweep {} is unfinished; run the same `polybolos sweep` again to resume it",
        manifest.sweep_id
    )))
}

/// The sweeps of a cluster: its catalogue has those that are not finished too.
fn remote_list(cluster: &Cluster, style: Style) -> Result<(), CliError> {
    let columns =
        "sweep_id, state, started, finished, strategy, \"interval\", symbols, combos, rows, seconds";
    let sql = format!("SELECT {columns} FROM sweeps ORDER BY started DESC, sweep_id");
    let sweeps = cluster.wait(async { Ok(cluster.query(sql).await?.all().await?) })?;
    if style.json {
        return output::json(&output::rows_json(&sweeps)?);
    }
    output::text(&output::rows_table(&sweeps, None)?)
}

fn remote_top(
    cluster: &Cluster,
    sweep_id: Option<String>,
    ranking: &Ranking,
    count: usize,
    symbol: Option<&str>,
) -> Result<(Manifest, Vec<RecordBatch>), CliError> {
    cluster.wait(async {
        let manifest = cluster.describe(&sweep_id.unwrap_or_default()).await?.only_symbol(symbol)?;
        let request = TopRequest {
            sweep_id: manifest.sweep_id.clone(),
            metric: ranking.metric.clone(),
            min_trades: ranking.min_trades,
            count: count as u64,
            symbol: symbol.unwrap_or_default().to_owned(),
        };
        let best = cluster.top(request).await?;
        Ok((manifest, best))
    })
}

fn remote_export(
    cluster: &Cluster,
    sweep_id: Option<String>,
    out: &Path,
    style: Style,
) -> Result<(), CliError> {
    check_extension(out)?;
    let (sweep_id, batches) = cluster.wait(async {
        let manifest = cluster.describe(&sweep_id.unwrap_or_default()).await?;
        let mut columns = vec!["sweep_id", "row", "symbol", "\"interval\""];
        let params: Vec<String> =
            manifest.params.iter().map(|param| format!("\"{}\"", param.name.replace('"', "\"\""))).collect();
        columns.extend(params.iter().map(String::as_str));
        columns.extend(METRICS.iter().map(|metric| metric.name));
        let sql = format!(
            "SELECT {} FROM results WHERE sweep_id = '{}' ORDER BY symbol, row",
            columns.join(", "),
            manifest.sweep_id
        );
        Ok((manifest.sweep_id.clone(), cluster.query(sql).await?.all().await?))
    })?;
    let count = write_batches(out, batches.into_iter().map(Ok))?;
    exported(&sweep_id, count, out, style)
}

fn list(manifests: Vec<Manifest>, place: &str, style: Style) -> Result<(), CliError> {
    if style.json {
        return output::json(&manifests);
    }
    if manifests.is_empty() {
        return output::text(&format!("no sweep in {place} yet; `polybolos sweep` makes one"));
    }
    let mut table = output::table(&[
        "sweep",
        "state",
        "started (UTC)",
        "interval",
        "symbols",
        "combinations",
        "rows",
        "seconds",
    ]);
    for manifest in &manifests {
        table.add_row(vec![
            manifest.sweep_id.as_str().into(),
            state_name(manifest.state).into(),
            date_time(manifest.started_ms).into(),
            manifest.interval.as_str().into(),
            number_cell(manifest.series.len()),
            number_cell(thousands(manifest.combos)),
            number_cell(thousands(manifest.rows)),
            number_cell(format!("{:.2}", manifest.seconds)),
        ]);
    }
    output::text(&table.to_string())
}

fn show(manifest: &Manifest, folder: &str, style: Style) -> Result<(), CliError> {
    if style.json {
        return output::json(&json!({ "sweep": manifest, "results": folder }));
    }
    let mut lines = vec![
        format!("sweep       {} ({})", manifest.sweep_id, state_name(manifest.state)),
        format!(
            "strategy    {} from {}, digest {}",
            manifest.strategy.name, manifest.strategy.source, manifest.strategy.digest
        ),
        format!(
            "engine      {}, backend {}, signals in {}",
            manifest.engine_version, manifest.backend, manifest.precision
        ),
        format!("started     {} UTC", date_time(manifest.started_ms)),
        format!(
            "grid        {} rows, {} combinations run per symbol",
            thousands(manifest.grid_rows),
            thousands(manifest.combos)
        ),
    ];
    for param in &manifest.params {
        let values = match &param.values {
            ValuesRecord::Range { from, step, count } => format!("{count} values from {from}, step {step}"),
            ValuesRecord::List(list) => list.iter().map(f64::to_string).collect::<Vec<_>>().join(", "),
        };
        lines.push(format!("  {:<10}{values}", param.name));
    }
    if manifest.state == State::Complete {
        lines.push(format!(
            "cost        {:.2} s, {:.2} thread-seconds in kernels, {} units",
            manifest.seconds, manifest.kernel_seconds, manifest.units
        ));
    }
    if let Some(found) = &manifest.trade_mismatch {
        lines.push(format!("precision   {}", sweep::mismatch_line(&manifest.precision, found)));
    }
    lines.push(format!("data        {}, {} bars", manifest.data, manifest.interval));
    let mut table = output::table(&[
        "symbol",
        "bars",
        "from (UTC)",
        "to (UTC)",
        "rows",
        "trials",
        "sd of trials' Sharpe",
        "data digest",
    ]);
    for series in &manifest.series {
        let spread = series
            .trials
            .and_then(|trials| trials.sharpe_variance)
            .map_or_else(|| "-".to_owned(), |v| short_number(v.sqrt()));
        table.add_row(vec![
            series.symbol.as_str().into(),
            number_cell(thousands(series.bars)),
            date_time(series.first_open_ms).into(),
            date_time(series.last_open_ms).into(),
            number_cell(thousands(series.rows)),
            number_cell(series.trials.map_or_else(|| "-".to_owned(), |trials| thousands(trials.count))),
            number_cell(spread),
            series.data_digest.get(..12).unwrap_or(&series.data_digest).into(),
        ]);
    }
    lines.push(table.to_string());
    lines.push(format!("rows: {folder}"));
    output::text(&lines.join("\n"))
}

fn export(results: &Location, manifest: &Manifest, out: &Path, style: Style) -> Result<(), CliError> {
    let batches = rows(results, manifest).map(|batch| batch.map_err(|error| error.to_string()));
    let count = write_batches(out, batches)?;
    exported(&manifest.sweep_id, count, out, style)
}

fn exported(sweep_id: &str, count: u64, out: &Path, style: Style) -> Result<(), CliError> {
    if style.json {
        let file = out.display().to_string();
        return output::json(&json!({ "sweep_id": sweep_id, "rows": count, "file": file }));
    }
    output::text(&format!("{} rows written to {}", thousands(count), out.display()))
}

/// Refuses a file whose name names no format: before the work is done, not after.
pub(crate) fn check_extension(out: &Path) -> Result<String, CliError> {
    let extension =
        out.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
    if matches!(extension.as_str(), "csv" | "json" | "parquet") {
        return Ok(extension);
    }
    Err(CliError::Usage(format!("{}: write a .csv, .json or .parquet file", out.display())))
}

/// Writes one batch to a .csv, .json or .parquet file; nothing half-written stays.
pub(crate) fn write_batch(out: &Path, batch: RecordBatch) -> Result<(), CliError> {
    write_batches(out, std::iter::once(Ok(batch))).map(drop)
}

/// Writes batches of one schema, as they come, to a .csv, .json or .parquet file; nothing half-written stays. Gives the number
/// of rows.
fn write_batches(
    out: &Path,
    mut batches: impl Iterator<Item = Result<RecordBatch, String>>,
) -> Result<u64, CliError> {
    let failed = |reason: &dyn std::fmt::Display| CliError::Failed(format!("{}: {reason}", out.display()));
    let extension = check_extension(out)?;
    let Some(first) = batches.next() else { return Err(failed(&"there is no row to write")) };
    let first = first.map_err(|error| failed(&error))?;
    let schema = first.schema();
    let mut rows = 0;
    let mut batches = std::iter::once(Ok(first)).chain(batches);
    atomic_file::write(out, |file| {
        let sink = BufWriter::new(file);
        let mut each = |write: &mut dyn FnMut(&RecordBatch) -> io::Result<()>| {
            batches.try_for_each(|batch| {
                let batch = batch.map_err(io::Error::other)?;
                rows += batch.num_rows() as u64;
                write(&batch)
            })
        };
        match extension.as_str() {
            "csv" => {
                let mut writer = csv::Writer::new(sink);
                each(&mut |batch| writer.write(batch).map_err(io::Error::other))?;
                writer.into_inner().flush()
            }
            "json" => {
                let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(sink);
                each(&mut |batch| writer.write(batch).map_err(io::Error::other))?;
                writer.finish().map_err(io::Error::other)?;
                writer.into_inner().flush()
            }
            _ => {
                let mut writer = ArrowWriter::try_new(sink, schema, None).map_err(io::Error::other)?;
                each(&mut |batch| writer.write(batch).map_err(io::Error::other))?;
                writer.into_inner().map_err(io::Error::other)?.flush()
            }
        }
    })
    .map_err(|error| failed(&error))?;
    Ok(rows)
}
