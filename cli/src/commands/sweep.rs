//! `polybolos sweep`: run a grid, print the best rows.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use polybolos_engine::kernels::cuda::CudaError;
use polybolos_engine::strategy::Strategy;
use polybolos_engine::sweep::{Keep, Ranking, SweepRequest, default_unit_rows};
use polybolos_plan::catalogue::{Manifest, TradeMismatchRecord, sweep_folder};
use polybolos_plan::gpu::{GpuPolicy, Gpus};
use polybolos_plan::run::{SweepReport, run_sweep};
use polybolos_plan::runtime::{RuntimeSettings, SweepRuntime};
use polybolos_plan::sweep_exec::Output;
use polybolos_plan::sweep_table::SweepTable;
use polybolos_plan::top::Best;
use polybolos_plan::unit::SweepJob;
use serde_json::json;

use crate::args::{Backend, KeepArg, SweepArgs};
use crate::clock::now_ms;
use crate::commands::{Style, block_on, explain, strategy_file, sweep_remote};
use crate::error::CliError;
use crate::progress::SweepProgress;
use crate::remote::Cluster;
use crate::{faults, output};

/// Rows that are kept without asking.
const MAX_UNASKED_ROWS: u64 = 10_000_000;

pub(crate) fn run(args: &SweepArgs, style: Style) -> Result<(), CliError> {
    let ranking = Ranking { metric: args.rank_by.clone(), min_trades: args.min_trades };
    ranking.metric()?;
    let table = table(args, &ranking)?;
    if let Some(cluster) = Cluster::of(&args.cluster)?.filter(|_| !args.explain) {
        ask_for_keep(args, table.grid_rows())?;
        return sweep_remote::run(args, &table, &ranking, &cluster, style);
    }
    let runtime = SweepRuntime::with_settings(RuntimeSettings {
        threads: threads(args.threads),
        gpus: gpus(args.backend)?,
        faults: faults::from_environment(|message| output::message(&format!("warning: {message}"))),
        ..RuntimeSettings::default()
    });
    ask_for_keep(args, table.grid_rows().saturating_mul(table.symbols()?.len() as u64))?;
    if args.explain {
        let gpus = runtime.gpus.as_ref().map_or(0, Gpus::len);
        return explain::run(&table.job(&runtime)?, args.unit_rows, runtime.threads, gpus, style);
    }
    let best = Best { ranking: ranking.clone(), count: args.top };
    let report = block_on(drive(&runtime, &table, &best, style))?;
    report_fallbacks(&runtime);
    // The process ends here: the system takes its bars back faster than the allocator can give them.
    std::mem::forget(runtime);
    let folder = sweep_folder(&args.results.results, &report.manifest.sweep_id);
    if style.json {
        let manifest = &report.manifest;
        return output::json(&json!({
            "sweep_id": manifest.sweep_id,
            "combos": manifest.combos,
            "symbols": manifest.series.len(),
            "bars": total_bars(manifest),
            "rows": manifest.rows,
            "units": manifest.units,
            "units_computed": report.units_computed,
            "bar_combos": manifest.bar_combos,
            "seconds": report.seconds,
            "kernel_seconds": report.kernel_seconds,
            "backend": manifest.backend,
            "precision": manifest.precision,
            "trade_mismatch": manifest.trade_mismatch,
            "results": folder.to_string(),
            "top": output::rows_json(&report.best)?,
        }));
    }
    if !style.quiet {
        summary(&report);
        if let Some(found) = &report.manifest.trade_mismatch {
            output::message(&mismatch_line(&report.manifest.precision, found));
        }
    }
    output::text(&output::rows_table(&report.best, Some(&table_columns(&report.manifest, &ranking)))?)?;
    output::text(&format!("rows: {folder}"))
}

/// The GPUs a sweep may use. Without a driver or a GPU there are none; that is an error only where they were asked for.
fn gpus(backend: Backend) -> Result<Option<Gpus>, CliError> {
    let policy = match backend {
        Backend::Cpu => return Ok(None),
        Backend::Auto => GpuPolicy::Auto,
        Backend::Cuda => GpuPolicy::Always,
    };
    match Gpus::open(policy) {
        Ok(gpus) => Ok(Some(gpus)),
        Err(error) if policy == GpuPolicy::Always => {
            Err(CliError::Failed(format!("{error}; run with --backend cpu or auto")))
        }
        Err(CudaError::NoLibrary | CudaError::NoDevice) => Ok(None),
        Err(error) => {
            output::message(&format!("warning: the GPU is not used: {error}"));
            Ok(None)
        }
    }
}

/// Says what a GPU left to the processor: never in silence.
fn report_fallbacks(runtime: &SweepRuntime) {
    let fallbacks = runtime.progress.gpu_fallbacks.load(Ordering::Relaxed);
    if let Some(error) = runtime.gpus.as_ref().and_then(Gpus::last_failure) {
        output::message(&format!(
            "warning: the GPU failed ({error}); the processor did {} combinations in its place",
            output::thousands(fallbacks)
        ));
    }
}

/// Threads to compute on: as asked, or one per core.
pub(crate) fn threads(asked: Option<u16>) -> usize {
    asked.map_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get), usize::from)
}

pub(crate) fn table(args: &SweepArgs, ranking: &Ranking) -> Result<SweepTable, CliError> {
    let keep = match args.keep {
        None | Some(KeepArg::All) => Keep::All,
        Some(KeepArg::Top(count)) => Keep::Top { count, ranking: ranking.clone() },
    };
    let request = SweepRequest {
        source: strategy_file::source(&args.strategy.strategy)?,
        overrides: strategy_file::overrides(&args.strategy),
        interval: args.interval,
        symbols: args.symbols.clone(),
        timerange: args.timerange,
        keep,
        precision: args.precision,
    };
    let results = Some(args.results.results.clone());
    let mut table = SweepTable::new(request, args.data.data.clone(), results, Output::Receipts)?;
    table.unit_rows = args.unit_rows;
    Ok(table)
}

/// A result of hundreds of gigabytes is never the default: past ten million rows the user says what to keep.
fn ask_for_keep(args: &SweepArgs, rows: u64) -> Result<(), CliError> {
    if args.keep.is_none() && rows > MAX_UNASKED_ROWS {
        return Err(CliError::Usage(format!(
            "the grid has {} rows over all symbols, more than the {} that are kept without asking; \
             add --keep top:1000 (the best 1000 of each symbol) or --keep all",
            output::thousands(rows),
            output::thousands(MAX_UNASKED_ROWS)
        )));
    }
    Ok(())
}

/// Runs a sweep with progress on stderr; Ctrl-C stops it cleanly, a second one at once.
pub(crate) async fn drive(
    runtime: &Arc<SweepRuntime>,
    table: &SweepTable,
    best: &Best,
    style: Style,
) -> Result<SweepReport, CliError> {
    let cancel = Arc::clone(&runtime.cancel);
    let interrupts = tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if cancel.swap(true, Ordering::Relaxed) {
                output::message("stopped");
                std::process::exit(1);
            }
            output::message("cancelling; finished units are kept (Ctrl-C again stops at once)");
        }
    });
    let progress = SweepProgress::new(runtime, style.quiet);
    let report = run_sweep(runtime, table, Some(best), &progress, now_ms).await;
    interrupts.abort();
    Ok(report?)
}

pub(crate) fn total_bars(manifest: &Manifest) -> u64 {
    manifest.series.iter().map(|series| series.bars).sum()
}

fn summary(report: &SweepReport) {
    let manifest = &report.manifest;
    let size = format!(
        "{} combinations x {} symbols, {} bars",
        output::thousands(manifest.combos),
        manifest.series.len(),
        output::thousands(total_bars(manifest))
    );
    if report.was_complete {
        output::message(&format!("{}: {size}; run before, nothing to compute", manifest.sweep_id));
        return;
    }
    let rate = |seconds: f64| manifest.bar_combos as f64 / seconds.max(1e-9) / 1e9;
    let reused = manifest.units - report.units_computed.min(manifest.units);
    let reused =
        if reused == 0 { String::new() } else { format!(" ({reused} of {} units reused)", manifest.units) };
    output::message(&format!(
        "{}: {size}; {:.2} s{reused}, {:.2} G bar-combos/s, {:.2} G/s per core in kernels",
        manifest.sweep_id,
        report.seconds,
        rate(report.seconds),
        rate(report.kernel_seconds),
    ));
}

/// What a precision costs, in a line.
pub(crate) fn mismatch_line(precision: &str, found: &TradeMismatchRecord) -> String {
    let TradeMismatchRecord { runs, trades, mismatched, rate } = found;
    let rate = rate.map_or_else(String::new, |rate| format!(" ({:.3} %)", rate * 100.0));
    format!(
        "{precision} signals: {} of {} trades{rate} are not the same as in f64, measured on {} runs",
        output::thousands(*mismatched),
        output::thousands(*trades),
        output::thousands(*runs)
    )
}

/// Columns for people, the most important first: where, the parameters, what was ranked by, and the usual figures.
pub(crate) fn table_columns<'a>(manifest: &'a Manifest, ranking: &'a Ranking) -> Vec<&'a str> {
    const FIGURES: [&str; 7] =
        ["sharpe", "dsr", "total_return", "max_drawdown", "trades", "win_rate", "cagr"];
    let mut columns = vec!["symbol", "row"];
    columns.extend(manifest.params.iter().map(|param| param.name.as_str()));
    columns.push(&ranking.metric);
    columns.extend(FIGURES.into_iter().filter(|name| *name != ranking.metric));
    columns
}

/// Units the sweep would be cut into, for `--explain`.
pub(crate) fn unit_count(job: &SweepJob, unit_rows: Option<u64>) -> u64 {
    let rows = Strategy::space(&job.strategy).len();
    let per_symbol =
        |bars: u64| rows.div_ceil(unit_rows.unwrap_or_else(|| default_unit_rows(bars, rows)).max(1));
    job.spec.series.iter().map(|series| per_symbol(series.bars)).sum()
}
