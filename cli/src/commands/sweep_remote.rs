//! `polybolos sweep --cluster`: the sweep runs there, this process watches.
//!
//! The cluster has the bars and keeps the results; what is sent is the strategy's text and what was asked. The connection may
//! break and come back as it likes: the sweep goes on, and watching is taken up again.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use polybolos_engine::sweep::{Ranking, engine_version};
use polybolos_plan::sweep_table::SweepTable;
use polybolos_proto::cluster::{SubmitRequest, SweepState, SweepStatus, TopRequest};
use polybolos_scheduler::pages::{state_word, sweep_json};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::args::{Backend, SweepArgs};
use crate::commands::{Style, sweep};
use crate::error::CliError;
use crate::output::{self, message, thousands};
use crate::progress::{LINE, bar};
use crate::remote::{Cluster, RemoteError};

/// Longest pause between two tries to take up watching again.
const SLOWEST_RETRY: Duration = Duration::from_secs(10);

/// What Ctrl-C does while a sweep is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Asks whether to leave the sweep running or to cancel it; without a terminal to ask in, cancels it.
    Ask,
    /// Leaves it running.
    Leave,
}

pub(crate) fn run(
    args: &SweepArgs,
    table: &SweepTable,
    ranking: &Ranking,
    cluster: &Cluster,
    style: Style,
) -> Result<(), CliError> {
    if args.backend != Backend::Auto || args.threads.is_some() {
        return Err(CliError::Usage(
            "--backend and --threads are the executors' own settings; leave them out with --cluster"
                .to_owned(),
        ));
    }
    let request = SubmitRequest {
        engine_version: engine_version(),
        request: Some((&table.request).into()),
        unit_rows: args.unit_rows,
    };
    let status = cluster.wait(async {
        let reply = cluster.submit(request).await?;
        let submitted = reply.status.unwrap_or_default();
        if args.detach || submitted.state() == SweepState::Complete {
            return Ok(submitted);
        }
        follow(cluster, &submitted.sweep_id, style, Interrupt::Ask).await
    })?;
    if args.detach {
        return detached(&status, style);
    }
    if status.state() != SweepState::Complete {
        return conclude(&status, style);
    }
    finished(args, ranking, cluster, &status, style)
}

/// What a user who does not wait is told.
fn detached(status: &SweepStatus, style: Style) -> Result<(), CliError> {
    if style.json {
        return output::json(&sweep_json(status));
    }
    output::text(&format!(
        "{} is {} on the cluster; `polybolos jobs watch {}` follows it",
        status.sweep_id,
        state_word(status),
        status.sweep_id
    ))
}

/// The same document and table as of a sweep on this machine.
fn finished(
    args: &SweepArgs,
    ranking: &Ranking,
    cluster: &Cluster,
    status: &SweepStatus,
    style: Style,
) -> Result<(), CliError> {
    let (manifest, best) = cluster.wait(async {
        let manifest = cluster.describe(&status.sweep_id).await?;
        let top = TopRequest {
            sweep_id: status.sweep_id.clone(),
            metric: ranking.metric.clone(),
            min_trades: ranking.min_trades,
            count: args.top as u64,
            symbol: String::new(),
        };
        Ok((manifest, cluster.top(top).await?))
    })?;
    if style.json {
        return output::json(&json!({
            "sweep_id": manifest.sweep_id,
            "combos": manifest.combos,
            "symbols": manifest.series.len(),
            "bars": sweep::total_bars(&manifest),
            "rows": manifest.rows,
            "units": manifest.units,
            "units_computed": status.units_done - status.units_reused.min(status.units_done),
            "bar_combos": manifest.bar_combos,
            "seconds": manifest.seconds,
            "kernel_seconds": manifest.kernel_seconds,
            "backend": manifest.backend,
            "results": status.results,
            "top": output::rows_json(&best)?,
        }));
    }
    if !style.quiet {
        message(&format!(
            "{}: {} combinations x {} symbols, {} bars; {:.2} s on the cluster ({} of {} units reused)",
            manifest.sweep_id,
            thousands(manifest.combos),
            manifest.series.len(),
            thousands(sweep::total_bars(&manifest)),
            manifest.seconds,
            thousands(status.units_reused),
            thousands(status.units_total),
        ));
    }
    output::text(&output::rows_table(&best, Some(&sweep::table_columns(&manifest, ranking)))?)?;
    output::text(&format!("rows: {} (on the cluster)", status.results))
}

/// The end of a sweep that was watched.
pub(crate) fn conclude(status: &SweepStatus, style: Style) -> Result<(), CliError> {
    if style.json {
        output::json(&sweep_json(status))?;
    }
    match status.state() {
        SweepState::Complete if style.json => Ok(()),
        SweepState::Complete => output::text(&format!(
            "{} is complete: {} units; `polybolos results top {}` shows its best rows",
            status.sweep_id,
            thousands(status.units_total),
            status.sweep_id
        )),
        SweepState::Cancelled => Err(CliError::Failed(format!(
            "{} was cancelled; finished units are kept and the same command resumes",
            status.sweep_id
        ))),
        SweepState::Failed => Err(CliError::Failed(failure(status))),
        // Watching was left.
        _ if style.json => Ok(()),
        _ => output::text(&format!(
            "{} goes on; `polybolos jobs watch {}` follows it",
            status.sweep_id, status.sweep_id
        )),
    }
}

fn failure(status: &SweepStatus) -> String {
    let mut lines = vec![format!(
        "{} failed: {} of {} units cannot be done, the others are kept",
        status.sweep_id,
        thousands(status.units_failed),
        thousands(status.units_total)
    )];
    if !status.message.is_empty() {
        lines.push(format!("  {}", status.message));
    }
    for unit in status.failures.iter().take(10) {
        lines.push(format!(
            "  {} rows {}..{} (after {} attempts): {}",
            unit.symbol, unit.row_from, unit.row_to, unit.attempts, unit.reason
        ));
    }
    lines.join("\n")
}

/// Watches a sweep until it ends or is left; gives its last state.
pub(crate) async fn follow(
    cluster: &Cluster,
    sweep_id: &str,
    style: Style,
    interrupt: Interrupt,
) -> Result<SweepStatus, CliError> {
    let mut display = Display::new(style);
    let mut pause = Duration::from_millis(250);
    let mut last = SweepStatus { sweep_id: sweep_id.to_owned(), ..SweepStatus::default() };
    let mut is_cancelling = false;
    loop {
        let mut watching = match cluster.watch(sweep_id).await {
            Ok(watching) => watching,
            Err(RemoteError::Lost(reason)) => {
                display.lost(&reason);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = tokio::signal::ctrl_c() => return Ok(last),
                }
                pause = (pause * 2).min(SLOWEST_RETRY);
                continue;
            }
            Err(refused) => return Err(refused.into()),
        };
        pause = Duration::from_millis(250);
        loop {
            tokio::select! {
                told = watching.next() => match told {
                    Ok(Some(status)) => {
                        display.show(&status);
                        last = status;
                    }
                    Ok(None) => {
                        display.finish();
                        return Ok(last);
                    }
                    Err(RemoteError::Lost(reason)) => {
                        display.lost(&reason);
                        break;
                    }
                    Err(refused) => return Err(refused.into()),
                },
                _ = tokio::signal::ctrl_c() => {
                    if is_cancelling || interrupt == Interrupt::Leave || !wants_cancel(&display, sweep_id).await {
                        display.finish();
                        return Ok(last);
                    }
                    is_cancelling = true;
                    cluster.cancel(sweep_id).await?;
                }
            }
        }
    }
}

/// Asks what Ctrl-C meant; without a terminal it meant to cancel, as on this machine.
async fn wants_cancel(display: &Display, sweep_id: &str) -> bool {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        message("cancelling; finished units are kept (Ctrl-C again leaves at once)");
        return true;
    }
    display.pause(|| {
        message(&format!("\n{sweep_id} is running on the cluster."));
        message("  d  detach: it goes on without this window (default)");
        message("  c  cancel it; finished units are kept");
    });
    let mut answer = String::new();
    let mut lines = BufReader::new(tokio::io::stdin());
    tokio::select! {
        read = lines.read_line(&mut answer) => read.is_ok() && answer.trim().eq_ignore_ascii_case("c"),
        _ = tokio::signal::ctrl_c() => false,
    }
}

/// Progress on stderr.
struct Display {
    bar: Option<ProgressBar>,
    is_quiet: bool,
    is_lost: bool,
    next_line: Instant,
}

impl Display {
    fn new(style: Style) -> Display {
        Display { bar: None, is_quiet: style.quiet, is_lost: false, next_line: Instant::now() }
    }

    fn show(&mut self, status: &SweepStatus) {
        if self.is_quiet {
            return;
        }
        if self.is_lost {
            self.is_lost = false;
            message("connected again");
        }
        let first = self.bar.is_none();
        let bar = self.bar.get_or_insert_with(|| bar(status.units_total, "units", false));
        if first {
            message(&format!(
                "{}: {} grid rows x {} symbols in {} units",
                status.sweep_id,
                thousands(status.grid_rows),
                status.symbols,
                thousands(status.units_total)
            ));
        }
        let rate = format!("{:.2} G bar-combos/s", status.bar_combos_per_second / 1e9);
        let note = if status.message.is_empty() { rate } else { format!("{rate}, {}", status.message) };
        bar.set_position(status.units_done);
        bar.set_message(note.clone());
        if bar.is_hidden() && Instant::now() >= self.next_line {
            self.next_line = Instant::now() + LINE;
            let eta = status.eta_seconds.map_or_else(String::new, |eta| format!(", {eta:.0} s left"));
            let (done, total) = (status.units_done, status.units_total);
            message(&format!("{}: {done}/{total} units, {note}{eta}", state_word(status)));
        }
    }

    fn lost(&mut self, reason: &str) {
        if !self.is_lost && !self.is_quiet {
            self.pause(|| message(&format!("connection lost: {reason}; the sweep goes on, trying again")));
        }
        self.is_lost = true;
    }

    fn pause(&self, talk: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(talk),
            None => talk(),
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
