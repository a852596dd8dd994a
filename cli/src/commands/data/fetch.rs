//! `polybolos data fetch`: bars from Binance's public archive or a mirror, with progress and a clean Ctrl-C.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use indicatif::ProgressBar;
use polybolos_market_data::fetch::{FetchReport, FetchSpec, FileEnd, Progress, SymbolFetch, fetch};
use polybolos_market_data::{Dataset, period_end_ms, period_start_ms};
use tokio_util::sync::CancellationToken;

use crate::args::FetchArgs;
use crate::clock::now_ms;
use crate::commands::{Style, block_on};
use crate::error::CliError;
use crate::output::{self, message, thousands};
use crate::progress;

/// Missing months and days that are named in the report; `--json` has all.
const SHOWN_MISSING: usize = 6;

pub(super) fn run(args: &FetchArgs, style: Style) -> Result<(), CliError> {
    let spec = spec(args)?;
    let dataset = Dataset::create(&args.data.data)?;
    let watcher = Watcher::new(style.quiet);
    let report = block_on(async {
        let cancel = CancellationToken::new();
        let interrupts = tokio::spawn(interrupts(cancel.clone()));
        let report = fetch(&spec, &dataset, &watcher, &cancel).await;
        interrupts.abort();
        Ok(report?)
    });
    watcher.bar.finish_and_clear();
    let report = report?;
    if style.json {
        output::json(&report)?;
    } else {
        let lines: Vec<String> = report.symbols.iter().map(|symbol| text(symbol, &report.interval)).collect();
        output::text(&lines.join("\n"))?;
    }
    outcome(&report)
}

fn spec(args: &FetchArgs) -> Result<FetchSpec, CliError> {
    let now_ms = now_ms();
    let from_ms = period_start_ms(&args.from)?;
    let to_ms = args.to.as_deref().map_or(Ok(now_ms), period_end_ms)?;
    let mut spec = FetchSpec::new(args.symbols.clone(), args.interval, from_ms..to_ms, now_ms);
    if let Some(source) = &args.source {
        spec = spec.with_source(source);
    }
    if let Some(rest) = &args.rest {
        spec.rest.clone_from(rest);
    }
    spec.concurrency = usize::from(args.concurrency);
    spec.skip_bad = args.skip_bad;
    Ok(spec)
}

/// Ctrl-C ends the downloads and keeps what is whole; a second one ends the program at once, which harms nothing either.
async fn interrupts(cancel: CancellationToken) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if cancel.is_cancelled() {
            message("stopped");
            std::process::exit(1);
        }
        message("cancelling; what was downloaded is being stored (Ctrl-C again stops at once)");
        cancel.cancel();
    }
}

/// Success only if everything that was asked for and exists has been brought.
fn outcome(report: &FetchReport) -> Result<(), CliError> {
    if report.cancelled {
        return Err(CliError::Failed(
            "cancelled; what was downloaded is stored and the same command resumes".to_owned(),
        ));
    }
    let mut faults: Vec<String> = Vec::new();
    for symbol in &report.symbols {
        faults.extend(symbol.failed.iter().map(|failed| format!("{}: {}", failed.file, failed.reason)));
        if symbol.failed.is_empty() && !symbol.has_bars() {
            faults.push(format!(
                "the source has no {} {} bars in that time; check the symbol's spelling and the dates",
                symbol.symbol, report.interval
            ));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    faults.push("what was downloaded is stored; the same command tries the rest again".to_owned());
    Err(CliError::Failed(faults.join("\n")))
}

fn text(fetched: &SymbolFetch, interval: &str) -> String {
    let mut lines = vec![format!(
        "{} {interval}: {} files downloaded ({:.1} MB), {} known; {} bars added, {} known{}",
        fetched.symbol,
        fetched.files_new,
        fetched.bytes as f64 / 1e6,
        fetched.files_current,
        thousands(fetched.added),
        thousands(fetched.unchanged),
        if fetched.rest_bars > 0 {
            format!(", {} from REST", thousands(fetched.rest_bars))
        } else {
            String::new()
        },
    )];
    for (count, what) in [
        (fetched.replaced, "bars corrected by files that were issued again"),
        (fetched.dropped, "bad rows dropped"),
    ] {
        if count > 0 {
            lines.push(format!("  {} {what}", thousands(count)));
        }
    }
    if !fetched.missing.is_empty() {
        let shown = fetched.missing.iter().take(SHOWN_MISSING).cloned().collect::<Vec<_>>().join(", ");
        let more = fetched.missing.len().saturating_sub(SHOWN_MISSING);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("  the source has no bars of {shown}{more}"));
    }
    lines.join("\n")
}

/// Shows files and bytes: a bar in a terminal, a line now and then in a pipe.
struct Watcher {
    bar: ProgressBar,
    quiet: bool,
    started: Instant,
    files: AtomicU64,
    planned: AtomicU64,
    bytes: AtomicU64,
    /// Lines printed so far, for one every few seconds.
    lines: AtomicU64,
}

impl Watcher {
    fn new(quiet: bool) -> Watcher {
        Watcher {
            bar: progress::bar(0, "files", quiet),
            quiet,
            started: Instant::now(),
            files: AtomicU64::new(0),
            planned: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            lines: AtomicU64::new(0),
        }
    }

    fn rate(&self) -> String {
        let megabytes = self.bytes.load(Ordering::Relaxed) as f64 / 1e6;
        format!("{megabytes:.1} MB, {:.1} MB/s", megabytes / self.started.elapsed().as_secs_f64().max(1e-3))
    }
}

impl Progress for Watcher {
    fn planned(&self, files: u64) {
        self.planned.fetch_add(files, Ordering::Relaxed);
        self.bar.inc_length(files);
    }

    fn file(&self, _name: &str, _end: FileEnd) {
        let files = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        self.bar.inc(1);
        if self.quiet || !self.bar.is_hidden() {
            return;
        }
        let due = self.started.elapsed().as_secs() / progress::LINE.as_secs();
        if self.lines.fetch_max(due, Ordering::Relaxed) < due {
            let planned = self.planned.load(Ordering::Relaxed);
            message(&format!("{files}/{planned} files, {}", self.rate()));
        }
    }

    fn bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bar.set_message(self.rate());
    }

    fn note(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.bar.is_hidden() { message(text) } else { self.bar.println(text) }
    }
}
