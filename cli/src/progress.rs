//! Progress on stderr: a bar with rate and ETA in a terminal, plain lines in a pipe.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use polybolos_plan::catalogue::Manifest;
use polybolos_plan::run::Observer;
use polybolos_plan::runtime::{Progress, SweepRuntime};

use crate::output::{message, thousands};

/// How often a bar is redrawn.
const REDRAW: Duration = Duration::from_millis(100);

/// How often a pipe gets a line.
pub(crate) const LINE: Duration = Duration::from_secs(5);

/// A bar for a terminal; hidden in a pipe, or if `quiet`.
pub(crate) fn bar(total: u64, unit: &str, quiet: bool) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = format!("{{spinner}} {{bar:32}} {{pos}}/{{len}} {unit}  {{msg}}  eta {{eta}}");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}

/// Watches a sweep's counters from a thread of its own until it is dropped.
pub(crate) struct SweepProgress {
    runtime: Arc<SweepRuntime>,
    quiet: bool,
    watcher: Mutex<Option<Watcher>>,
}

struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl SweepProgress {
    pub(crate) fn new(runtime: &Arc<SweepRuntime>, quiet: bool) -> SweepProgress {
        SweepProgress { runtime: Arc::clone(runtime), quiet, watcher: Mutex::new(None) }
    }

    fn finish(&self) {
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watcher) = watcher {
            watcher.stop.store(true, Ordering::Relaxed);
            // A watcher that panicked has nothing more to show.
            let _ = watcher.thread.join();
        }
    }
}

impl Drop for SweepProgress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Observer for SweepProgress {
    fn planned(&self, manifest: &Manifest, units: u64) {
        if self.quiet {
            return;
        }
        message(&format!(
            "{}: {} grid rows x {} symbols in {units} units",
            manifest.sweep_id,
            thousands(manifest.grid_rows),
            manifest.series.len()
        ));
        let stop: Arc<AtomicBool> = Arc::default();
        let (runtime, stopped) = (Arc::clone(&self.runtime), Arc::clone(&stop));
        let thread = std::thread::spawn(move || watch(&runtime.progress, units, &stopped));
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(Watcher { stop, thread });
    }

    fn writing(&self) {
        self.finish();
    }
}

fn watch(progress: &Progress, units: u64, stop: &AtomicBool) {
    let bar = bar(units, "units", false);
    let started = Instant::now();
    let mut next_line = LINE;
    while !stop.load(Ordering::Relaxed) {
        let done = progress.units.load(Ordering::Relaxed);
        let rate =
            progress.bar_combos.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64().max(1e-3);
        let rate = format!("{:.2} G bar-combos/s", rate / 1e9);
        bar.set_position(done);
        bar.set_message(rate.clone());
        if bar.is_hidden() && started.elapsed() >= next_line {
            next_line += LINE;
            message(&format!("{done}/{units} units, {rate}"));
        }
        std::thread::sleep(REDRAW);
    }
    bar.finish_and_clear();
}
