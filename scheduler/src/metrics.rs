//! What Prometheus scrapes: gauges and counters with their units in their names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use std::sync::atomic::AtomicU64;

use crate::coordinator::Overview;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfExecutor {
    executor: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

type Float = Gauge<f64, AtomicU64>;

/// The metrics of this moment in the OpenMetrics text format.
pub(crate) fn text(overview: &Overview) -> String {
    let mut registry = Registry::with_prefix("polybolos");
    let gauge = |value: u64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(value.cast_signed());
        gauge
    };
    let units = Family::<InState, Gauge>::default();
    for (state, count) in [("pending", overview.units_pending), ("running", overview.units_running)] {
        units.get_or_create(&InState { state }).set(count.cast_signed());
    }
    registry.register("units", "Units of active sweeps by state", units);
    let sweeps = Family::<InState, Gauge>::default();
    for (state, count) in [("queued", overview.sweeps_queued), ("running", overview.sweeps_running)] {
        sweeps.get_or_create(&InState { state }).set(count.cast_signed());
    }
    registry.register("sweeps", "Active sweeps by state", sweeps);
    registry.register("executors", "Connected executors", gauge(overview.executors.len() as u64));
    registry.register("slots", "Units that executors can run at a time", gauge(u64::from(overview.slots)));
    let age = Float::default();
    age.set(overview.queue_age_seconds);
    registry.register(
        "queue_age_seconds",
        "How long the oldest sweep has waited without a unit running",
        age,
    );
    let totals = overview.totals;
    for (name, help, value) in [
        ("units_done", "Units finished by executors", totals.units),
        ("units_reused", "Units found finished in the store", totals.units_reused),
        ("units_failed", "Units given up", totals.units_failed),
        ("unit_retries", "Units handed out again after a fault", totals.unit_retries),
        ("combos", "Combinations simulated", totals.combos),
        ("bar_combos", "Combinations times bars simulated", totals.bar_combos),
        ("gpu_combos", "Combinations simulated on GPUs", totals.gpu_combos),
        ("gpu_fallbacks", "Combinations a GPU failed to do and a processor did", totals.gpu_fallbacks),
        ("jobs", "Jobs handed to Ballista", totals.jobs),
    ] {
        registry.register(name, help, ConstCounter::new(value));
    }
    let kernel = ConstCounter::new(totals.kernel_ns as f64 / 1e9);
    registry.register("kernel_seconds", "Thread-seconds in kernels", kernel);
    let rates = Family::<OfExecutor, Float>::default();
    for executor in &overview.executors {
        let label = OfExecutor { executor: executor.executor_id.clone() };
        rates.get_or_create(&label).set(executor.bar_combos_per_second);
    }
    registry.register("executor_bar_combos_per_second", "Speed of an executor lately", rates);
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => text,
        // Writing into a string does not fail.
        Err(_) => String::new(),
    }
}
