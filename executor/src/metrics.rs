//! What an executor counts, as Prometheus reads it. Units are in the names.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use polybolos_plan::runtime::SweepRuntime;

use crate::reporter::Reporter;

/// What else is known about the process when it is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// Whether the scheduler acknowledged the last heartbeat and the executor is not draining.
    pub(crate) is_ready: bool,
    /// Times it registered with a scheduler.
    pub(crate) registrations: u64,
    /// Limit of the bars in memory.
    pub(crate) bar_cache_limit_bytes: usize,
}

struct Page(String);

impl Page {
    /// One metric with one value for each set of labels (`""` for none).
    fn metric(&mut self, name: &str, kind: &str, help: &str, values: &[(&str, f64)]) {
        let name = format!("polybolos_executor_{name}");
        // Writing to a text cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in values {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.metric(name, "counter", help, &[("", value)]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.metric(name, "gauge", help, &[("", value)]);
    }
}

/// The whole page.
pub(crate) fn page(reporter: &Reporter, runtime: &SweepRuntime, standing: Standing) -> String {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let (ended, progress) = (&reporter.ended, &runtime.progress);
    let mut page = Page(String::new());
    page.metric(
        "units_total",
        "counter",
        "Units that have ended, by outcome.",
        &[
            ("{outcome=\"computed\"}", read(&ended.computed)),
            ("{outcome=\"reused\"}", read(&ended.reused)),
            ("{outcome=\"cancelled\"}", read(&ended.cancelled)),
            ("{outcome=\"transient\"}", read(&ended.transient)),
            ("{outcome=\"permanent\"}", read(&ended.permanent)),
        ],
    );
    page.counter(
        "unit_seconds_total",
        "Time that ended units took, waiting for a slot not counted.",
        read(&ended.microseconds) / 1e6,
    );
    page.gauge("units_running", "Units that run now.", reporter.running() as f64);
    page.gauge("slots", "Units and tasks that may run at a time.", runtime.threads as f64);
    page.counter("combos_total", "Combinations simulated.", read(&progress.combos));
    page.counter("bar_combos_total", "Combinations times bars simulated.", read(&progress.bar_combos));
    page.counter("kernel_seconds_total", "Thread-seconds in kernels.", read(&progress.kernel_ns) / 1e9);
    page.counter("gpu_combos_total", "Combinations simulated on a GPU.", read(&progress.gpu_combos));
    page.counter(
        "gpu_fallbacks_total",
        "Combinations that a GPU failed to do and the processor did.",
        read(&progress.gpu_fallbacks),
    );
    page.gauge("bar_cache_bytes", "Bytes of bars kept in memory.", runtime.cached_bytes() as f64);
    let limit = standing.bar_cache_limit_bytes as f64;
    page.gauge("bar_cache_limit_bytes", "Limit of the bytes of bars kept in memory.", limit);
    page.counter("reports_failed_total", "Reports the scheduler did not answer.", read(&reporter.failed));
    page.counter("outcomes_dropped_total", "Outcomes of units dropped unreported.", read(&reporter.dropped));
    if let Some(since) = reporter.since_answer() {
        page.gauge("report_age_seconds", "Time since a report was answered.", since.as_secs_f64());
    }
    let registrations = standing.registrations as f64;
    page.counter("registrations_total", "Registrations with a scheduler.", registrations);
    let flag = |flag: bool| f64::from(u8::from(flag));
    page.gauge("is_ready", "1 if the scheduler may send tasks.", flag(standing.is_ready));
    let is_draining = reporter.is_draining.load(Ordering::Relaxed);
    page.gauge("is_draining", "1 if the executor is about to end.", flag(is_draining));
    if let Some(bytes) = resident_bytes() {
        page.gauge("resident_memory_bytes", "Memory of the process.", bytes as f64);
    }
    page.0
}

/// Memory of this process; `None` where the system does not say.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_page_is_a_described_metric_with_a_number() {
        let reporter = Reporter::new(3);
        let runtime = SweepRuntime::new(3);
        runtime.progress.bar_combos.fetch_add(7_000_000_000, Ordering::Relaxed);
        let standing = Standing { is_ready: true, registrations: 2, bar_cache_limit_bytes: 1 << 20 };
        let page = page(&reporter, &runtime, standing);
        for expected in [
            "polybolos_executor_slots 3",
            "polybolos_executor_bar_combos_total 7000000000",
            "polybolos_executor_is_ready 1",
            "polybolos_executor_registrations_total 2",
            "polybolos_executor_units_total{outcome=\"computed\"} 0",
        ] {
            assert!(page.lines().any(|line| line == expected), "{expected} is not in\n{page}");
        }
        let mut described = Vec::new();
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                described.push(rest.split(' ').next().unwrap().to_owned());
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let name = name.split('{').next().unwrap();
                assert_eq!(described.last().map(String::as_str), Some(name));
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
}
