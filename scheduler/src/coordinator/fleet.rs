//! The executors: what Ballista knows of them, and what they report themselves.
//!
//! Pure: the clock comes in. A report may come twice (its answer was lost) and is then taken once.

use std::collections::{BTreeMap, BTreeSet};

use polybolos_proto::cluster::{
    ExecutorCounters, ExecutorStatus, ReportRequest, RunningUnit, UnitName, UnitReport,
};

use super::meter::Meter;
use crate::ballista::KnownExecutor;
use crate::driver::SweepId;

/// Sums over all executors since the scheduler began, those that are gone included.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) units: u64,
    pub(crate) units_reused: u64,
    pub(crate) units_failed: u64,
    pub(crate) unit_retries: u64,
    pub(crate) combos: u64,
    pub(crate) bar_combos: u64,
    pub(crate) kernel_ns: u64,
    pub(crate) gpu_combos: u64,
    pub(crate) gpu_fallbacks: u64,
    pub(crate) jobs: u64,
}

#[derive(Debug, Default)]
struct Executor {
    /// As Ballista knows it; an executor may report before it has registered, and after it is gone.
    known: Option<KnownExecutor>,
    reported_ms: i64,
    /// When it was last knocked at because it said nothing.
    knocked_ms: i64,
    sequence: u64,
    is_draining: bool,
    running: Vec<RunningUnit>,
    /// The units that Ballista says it runs. A unit that kills its executor does so before a report can name it.
    dealt: Vec<(SweepId, u64)>,
    counters: ExecutorCounters,
    meter: Meter,
}

/// An executor that is gone, with the units it was running.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gone {
    pub(crate) id: String,
    pub(crate) was_draining: bool,
    /// As it reported them itself.
    pub(crate) held: Vec<UnitName>,
    /// As Ballista had dealt them.
    pub(crate) dealt: Vec<(SweepId, u64)>,
}

/// An executor that says nothing any more.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Silent {
    pub(crate) id: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Another one has its port now, which its process must have left.
    pub(crate) is_replaced: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    executors: BTreeMap<String, Executor>,
    pub(crate) totals: Totals,
}

/// Silence after which an executor is knocked at, and knocked at again. Reports come every half second.
const SILENT_MS: i64 = 2_000;

/// Reports of an executor that Ballista does not know are kept this long.
const UNKNOWN_MS: i64 = 120_000;

impl Fleet {
    /// Takes a report in; gives the ends of units in it, none where it was taken before.
    pub(crate) fn report(&mut self, report: ReportRequest, now_ms: i64) -> Vec<UnitReport> {
        let executor = self.executors.entry(report.executor_id).or_default();
        let is_new = report.sequence != executor.sequence || executor.reported_ms == 0;
        (executor.reported_ms, executor.sequence) = (now_ms, report.sequence);
        (executor.is_draining, executor.running) = (report.is_draining, report.running);
        if let Some(counters) = report.counters {
            let before = executor.counters;
            let totals = &mut self.totals;
            // A process that began anew under the same id counts from 0 again.
            let grown = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
            totals.units += grown(counters.units, before.units);
            totals.units_reused += grown(counters.units_reused, before.units_reused);
            totals.combos += grown(counters.combos, before.combos);
            totals.bar_combos += grown(counters.bar_combos, before.bar_combos);
            totals.kernel_ns += grown(counters.kernel_ns, before.kernel_ns);
            totals.gpu_combos += grown(counters.gpu_combos, before.gpu_combos);
            totals.gpu_fallbacks += grown(counters.gpu_fallbacks, before.gpu_fallbacks);
            executor.counters = counters;
            executor.meter.mark(now_ms, counters.bar_combos);
        }
        if is_new { report.finished } else { Vec::new() }
    }

    /// The sweeps whose units an executor runs.
    pub(crate) fn sweeps_of(&self, executor: &str) -> BTreeSet<&str> {
        let running = self.executors.get(executor).map_or(&[][..], |executor| &executor.running);
        running.iter().filter_map(|running| Some(running.unit.as_ref()?.sweep_id.as_str())).collect()
    }

    /// How far the units are that run now, summed per sweep, and how many they are.
    pub(crate) fn under_way(&self) -> BTreeMap<&str, (u64, u64)> {
        let mut sums = BTreeMap::new();
        for running in self.running() {
            if let Some(unit) = &running.unit {
                let (bar_combos, units) = sums.entry(unit.sweep_id.as_str()).or_insert((0, 0));
                *bar_combos += running.bar_combos_done;
                *units += 1;
            }
        }
        sums
    }

    /// Takes in whom Ballista knows now, those whose heartbeats are too old left out; gives those that are gone since.
    pub(crate) fn refresh(&mut self, known: Vec<KnownExecutor>, now_ms: i64) -> Vec<Gone> {
        let mut gone = Vec::new();
        for (id, executor) in &mut self.executors {
            if executor.known.is_some() && !known.iter().any(|other| other.id == *id) {
                executor.known = None;
                gone.push(Gone {
                    id: id.clone(),
                    was_draining: executor.is_draining,
                    held: executor.running.iter().filter_map(|running| running.unit.clone()).collect(),
                    dealt: std::mem::take(&mut executor.dealt),
                });
                executor.running.clear();
            }
        }
        for executor in known {
            let id = executor.id.clone();
            self.executors.entry(id).or_default().known = Some(executor);
        }
        self.executors
            .retain(|_, executor| executor.known.is_some() || executor.reported_ms > now_ms - UNKNOWN_MS);
        gone
    }

    /// The executors that have not reported for a while, each once in a while. Those that drain say themselves when they end.
    pub(crate) fn silent(&mut self, now_ms: i64) -> Vec<Silent> {
        let is_due = |executor: &Executor| {
            let since = executor.reported_ms.max(executor.knocked_ms);
            executor.reported_ms != 0 && !executor.is_draining && now_ms - since > SILENT_MS
        };
        let due = self.executors.iter().filter(|(_, executor)| is_due(executor));
        let silent = due.filter_map(|(id, executor)| {
            let known = executor.known.as_ref()?;
            let has_port = |other: &KnownExecutor| (&other.host, other.port) == (&known.host, known.port);
            let is_replaced = self.executors.values().any(|other| {
                other.reported_ms > executor.reported_ms && other.known.as_ref().is_some_and(has_port)
            });
            Some(Silent { id: id.clone(), host: known.host.clone(), port: known.port, is_replaced })
        });
        let silent: Vec<Silent> = silent.collect();
        for one in &silent {
            if let Some(executor) = self.executors.get_mut(&one.id) {
                executor.knocked_ms = now_ms;
            }
        }
        silent
    }

    /// Whether an executor still says nothing.
    pub(crate) fn is_silent(&self, id: &str, now_ms: i64) -> bool {
        let executor = self.executors.get(id).filter(|executor| executor.known.is_some());
        executor.is_some_and(|executor| now_ms - executor.reported_ms > SILENT_MS)
    }

    /// Takes in which units Ballista runs where.
    pub(crate) fn deal(&mut self, dealt: impl Iterator<Item = (String, SweepId, u64)>) {
        for executor in self.executors.values_mut() {
            executor.dealt.clear();
        }
        for (id, sweep, unit) in dealt {
            if let Some(executor) = self.executors.get_mut(&id) {
                executor.dealt.push((sweep, unit));
            }
        }
    }

    /// Units that can run at a time.
    pub(crate) fn slots(&self) -> u32 {
        let working = self.executors.values().filter(|executor| !executor.is_draining);
        working.filter_map(|executor| executor.known.as_ref()).map(|known| known.slots).sum()
    }

    /// Whether an executor may be running a unit: it says so, or has not said anything yet.
    pub(crate) fn may_run(&self, executor: &str, sweep: &str, symbol: &str, row_from: u64) -> bool {
        let Some(executor) = self.executors.get(executor).filter(|executor| executor.reported_ms != 0) else {
            return true;
        };
        executor
            .running
            .iter()
            .filter_map(|running| running.unit.as_ref())
            .any(|unit| unit.sweep_id == sweep && unit.symbol == symbol && unit.row_from == row_from)
    }

    /// The units that are running, and how far they are.
    pub(crate) fn running(&self) -> impl Iterator<Item = &RunningUnit> {
        self.executors.values().flat_map(|executor| &executor.running)
    }

    /// The slowest executor's bar-combinations per second and thread, as far as is known.
    pub(crate) fn slowest_kernel(&self) -> Option<f64> {
        let rate = |counters: &ExecutorCounters| {
            let seconds = counters.kernel_ns as f64 / 1e9;
            (seconds > 1.0).then(|| counters.bar_combos as f64 / seconds)
        };
        let connected = self.executors.values().filter(|executor| executor.known.is_some());
        connected.filter_map(|executor| rate(&executor.counters)).min_by(f64::total_cmp)
    }

    /// The connected executors, for people.
    pub(crate) fn statuses(&self, now_ms: i64) -> Vec<ExecutorStatus> {
        self.executors
            .iter()
            .filter_map(|(id, executor)| {
                let known = executor.known.as_ref()?;
                Some(ExecutorStatus {
                    executor_id: id.clone(),
                    host: known.host.clone(),
                    slots: known.slots,
                    units_running: executor.running.len() as u32,
                    bar_combos_per_second: executor.meter.per_second(now_ms),
                    last_seen_ms: executor.reported_ms.max((known.heartbeat_s * 1_000).cast_signed()),
                    is_draining: executor.is_draining,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str) -> KnownExecutor {
        let port = 50_052 + u16::from(id.as_bytes()[0]);
        KnownExecutor { id: id.to_owned(), host: "host".to_owned(), port, slots: 4, heartbeat_s: 0 }
    }

    fn report(id: &str, sequence: u64, units: u64, running: &[&str]) -> ReportRequest {
        let name = |symbol: &str| UnitName { symbol: symbol.to_owned(), ..UnitName::default() };
        ReportRequest {
            executor_id: id.to_owned(),
            sequence,
            finished: vec![UnitReport::default()],
            running: running
                .iter()
                .map(|symbol| RunningUnit { unit: Some(name(symbol)), bar_combos_done: 0 })
                .collect(),
            counters: Some(ExecutorCounters { units, ..ExecutorCounters::default() }),
            ..ReportRequest::default()
        }
    }

    #[test]
    fn a_repeated_report_is_taken_once() {
        let mut fleet = Fleet::default();
        assert_eq!(fleet.report(report("a", 1, 5, &[]), 10).len(), 1);
        assert_eq!(fleet.report(report("a", 1, 5, &[]), 20).len(), 0);
        assert_eq!(fleet.report(report("a", 2, 7, &[]), 30).len(), 1);
        assert_eq!(fleet.totals.units, 7);
        // A new process under the same name.
        fleet.report(report("a", 1, 2, &[]), 40);
        assert_eq!(fleet.totals.units, 9);
    }

    #[test]
    fn an_executor_that_vanishes_is_told_once_with_what_it_held() {
        let mut fleet = Fleet::default();
        assert_eq!(fleet.refresh(vec![known("a"), known("b")], 0), []);
        fleet.report(report("a", 1, 0, &["X", "Y"]), 10);
        let dealt = |executor: &str, unit| (executor.to_owned(), SweepId::new("s"), unit);
        fleet.deal([dealt("a", 3), dealt("b", 4), dealt("other", 5)].into_iter());
        fleet.deal([dealt("a", 7)].into_iter());
        assert_eq!(fleet.slots(), 8);
        let gone = fleet.refresh(vec![known("b")], 20);
        let held: Vec<_> = gone[0].held.iter().map(|unit| unit.symbol.as_str()).collect();
        assert_eq!((gone.len(), gone[0].id.as_str(), held), (1, "a", vec!["X", "Y"]));
        assert_eq!(gone[0].dealt, [(SweepId::new("s"), 7)]);
        assert_eq!(fleet.refresh(vec![known("b")], 30), []);
        assert_eq!((fleet.slots(), fleet.statuses(30).len()), (4, 1));
    }

    #[test]
    fn an_executor_is_taken_at_its_word_about_what_it_runs() {
        let mut fleet = Fleet::default();
        fleet.refresh(vec![known("a")], 0);
        assert!(fleet.may_run("a", "", "X", 0), "it has not reported yet");
        fleet.report(report("a", 1, 0, &["X"]), 10);
        assert!(fleet.may_run("a", "", "X", 0));
        assert!(!fleet.may_run("a", "", "Y", 0) && !fleet.may_run("a", "", "X", 1));
        assert!(fleet.may_run("b", "", "X", 0), "nothing is known of it");
    }

    #[test]
    fn who_says_nothing_is_knocked_at_now_and_then_unless_it_drains() {
        let mut fleet = Fleet::default();
        fleet.refresh(vec![known("a"), known("b"), known("c"), known("d")], 0);
        let ids = |silent: Vec<Silent>| silent.into_iter().map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(fleet.silent(10_000), [], "nobody has reported yet");
        for id in ["a", "b", "c"] {
            fleet.report(report(id, 1, 0, &[]), 10_000);
        }
        fleet.report(ReportRequest { is_draining: true, ..report("c", 2, 0, &[]) }, 10_000);
        assert_eq!(fleet.silent(12_000), []);
        fleet.report(report("b", 2, 0, &[]), 12_000);
        assert_eq!(ids(fleet.silent(12_001)), ["a"]);
        assert_eq!(fleet.silent(13_000), [], "it was knocked at a moment ago");
        assert_eq!(ids(fleet.silent(14_500)), ["a", "b"]);
        fleet.report(report("a", 2, 0, &[]), 14_600);
        assert_eq!(ids(fleet.silent(16_600)), ["b"]);
    }

    #[test]
    fn who_has_lost_its_port_to_another_is_replaced() {
        let mut fleet = Fleet::default();
        let restarted = KnownExecutor { id: "z".to_owned(), ..known("a") };
        fleet.refresh(vec![known("a"), known("b")], 0);
        for id in ["a", "b"] {
            fleet.report(report(id, 1, 0, &[]), 10_000);
        }
        fleet.refresh(vec![known("a"), known("b"), restarted], 11_000);
        fleet.report(report("z", 1, 0, &[]), 11_500);
        let silent = fleet.silent(12_100);
        let replaced: Vec<_> = silent.iter().map(|one| (one.id.as_str(), one.is_replaced)).collect();
        assert_eq!(replaced, [("a", true), ("b", false)]);
    }

    #[test]
    fn a_draining_executor_has_no_slots() {
        let mut fleet = Fleet::default();
        fleet.refresh(vec![known("a")], 0);
        fleet.report(ReportRequest { is_draining: true, ..report("a", 1, 0, &[]) }, 10);
        assert_eq!(fleet.slots(), 0);
    }
}
