//! One sweep at work: which of its units wait, for what, and which are in flight.
//!
//! Nothing here grows with the sweep: unit numbers below `cursor` that are not in one of the queues are finished or failed, those from
//! `cursor` on have not been looked up yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::config::DriverConfig;
use super::event::{
    Action, AskId, Ending, JobId, StateChange, SweepId, SweepState, UnitFailure, UnitOutcome,
};

/// What a sweep is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its owner has enough sweeps at work.
    Queued,
    /// Units are looked up and run.
    Running,
    /// The result files are asked for.
    Writing,
}

/// Why the units of a job are together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobKind {
    /// They were next.
    Regular,
    /// One of them is suspected of ending its jobs or its executors.
    Group,
    /// A single suspect. Nothing else of its sweep is in flight and no other sweep's single suspect: what happens now is its doing.
    Lone,
}

/// A job in flight.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) sweep: u64,
    /// Ascending.
    pub(super) units: Vec<u64>,
    pub(super) kind: JobKind,
    /// Cancelled because an executor died of it, as it seems; its end is yet to come.
    pub(super) condemned: bool,
}

/// A unit in flight.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) job: JobId,
    pub(super) report: Option<UnitOutcome>,
}

impl Flight {
    /// No slot is needed for it any more. After a transient failure or a stop Ballista runs it again within the job.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.report, Some(UnitOutcome::Computed | UnitOutcome::Reused | UnitOutcome::Permanent(_)))
    }
}

/// What is held against a unit that is neither finished nor failed.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    pub(super) attempts: u32,
    /// Executors that vanished while they held it.
    pub(super) deaths: u32,
}

/// The sweep asks for nothing until then.
#[derive(Debug)]
pub(super) struct Pause {
    pub(super) until_ms: u64,
    /// For people.
    pub(super) reason: String,
}

/// Counts of units.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Known to be in the store.
    pub(super) done: u64,
    /// Of the done ones, put there by this driver's jobs.
    pub(super) computed: u64,
    pub(super) failed: u64,
    /// In flight, reported finished.
    pub(super) reported_done: u64,
    /// In flight, reported found in the store.
    pub(super) reported_reused: u64,
    /// In flight, reported failed for good.
    pub(super) reported_failed: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sweep {
    pub(super) id: SweepId,
    pub(super) owner: Arc<str>,
    pub(super) units: u64,
    pub(super) is_resumed: bool,
    pub(super) phase: Phase,
    /// Units below were looked up.
    pub(super) cursor: u64,
    /// The look-up under way.
    pub(super) asked: Option<(AskId, Range<u64>)>,
    /// Missing units, next first.
    pub(super) ready: VecDeque<u64>,
    /// (due, unit): failed, and named by a report.
    pub(super) retries: BTreeSet<(u64, u64)>,
    /// By (due, first unit): groups of at least two suspects.
    pub(super) groups: BTreeMap<(u64, u64), Vec<u64>>,
    /// Units in `groups`.
    pub(super) grouped: usize,
    /// (due, unit): single suspects.
    pub(super) lones: BTreeSet<(u64, u64)>,
    pub(super) flights: BTreeMap<u64, Flight>,
    /// Flights that are not closed.
    pub(super) open: u64,
    pub(super) lone_job: Option<JobId>,
    pub(super) troubles: BTreeMap<u64, Trouble>,
    pub(super) last_trouble: Option<String>,
    pub(super) tally: Tally,
    /// Ascending by unit.
    pub(super) failures: Vec<UnitFailure>,
    pub(super) pause: Option<Pause>,
    /// Pauses in a row.
    pub(super) pauses: u32,
    pub(super) merges_failed: u32,
}

/// What a sweep could submit now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) kind: JobKind,
    /// Units, at most as many as were asked for.
    pub(super) units: u64,
}

impl Sweep {
    pub(super) fn new(id: SweepId, owner: Arc<str>, units: u64, is_resumed: bool) -> Sweep {
        Sweep {
            id,
            owner,
            units,
            is_resumed,
            phase: Phase::Queued,
            cursor: 0,
            asked: None,
            ready: VecDeque::new(),
            retries: BTreeSet::new(),
            groups: BTreeMap::new(),
            grouped: 0,
            lones: BTreeSet::new(),
            flights: BTreeMap::new(),
            open: 0,
            lone_job: None,
            troubles: BTreeMap::new(),
            last_trouble: None,
            tally: Tally::default(),
            failures: Vec::new(),
            pause: None,
            pauses: 0,
            merges_failed: 0,
        }
    }

    /// Units that wait for another attempt.
    pub(super) fn waiting(&self) -> usize {
        self.retries.len() + self.grouped + self.lones.len()
    }

    /// As many units wait for another attempt as the sweep may hold back; no new one is begun.
    fn is_clogged(&self, config: &DriverConfig) -> bool {
        self.waiting() >= config.window_units as usize
    }

    pub(super) fn is_paused(&self, now_ms: u64) -> bool {
        self.pause.as_ref().is_some_and(|pause| now_ms < pause.until_ms)
    }

    /// Asks for nothing for a while.
    pub(super) fn pause(&mut self, until_ms: u64, reason: String) {
        self.pause = Some(Pause { until_ms, reason });
    }

    /// Asks for nothing for a while, longer each time in a row.
    pub(super) fn pause_longer(&mut self, now_ms: u64, reason: String, config: &DriverConfig) {
        self.pauses = self.pauses.saturating_add(1);
        self.pause(now_ms.saturating_add(config.backoff_ms(self.pauses)), reason);
    }

    /// Ends a pause whose time has come.
    pub(super) fn wake(&mut self, now_ms: u64) {
        if !self.is_paused(now_ms) {
            self.pause = None;
        }
    }

    /// The next look-up, if it is time for one: a window ahead of what is being run.
    pub(super) fn ask(&mut self, now_ms: u64, ask: AskId, config: &DriverConfig) -> Option<Action> {
        let window = u64::from(config.window_units);
        let has_room = (self.ready.len() as u64) < window && !self.is_clogged(config);
        if self.phase != Phase::Running || self.asked.is_some() || self.is_paused(now_ms) || !has_room {
            return None;
        }
        let range = self.cursor..self.cursor.saturating_add(window).min(self.units);
        if range.is_empty() {
            return None;
        }
        self.asked = Some((ask, range.clone()));
        Some(Action::Examine { ask, sweep: self.id.clone(), range })
    }

    /// The units of a question, if it is the one that waits for an answer.
    fn answered(&mut self, ask: AskId) -> Option<Range<u64>> {
        self.asked.take_if(|(asked, _)| *asked == ask).map(|(_, range)| range)
    }

    /// The answer to a look-up.
    pub(super) fn examined(&mut self, ask: AskId, mut missing: Vec<u64>) {
        let Some(range) = self.answered(ask) else {
            return;
        };
        self.pauses = 0;
        missing.retain(|unit| range.contains(unit));
        missing.sort_unstable();
        missing.dedup();
        self.cursor = range.end;
        self.tally.done += (range.end - range.start) - missing.len() as u64;
        self.ready.extend(missing);
    }

    /// The look-up failed.
    pub(super) fn examine_failed(&mut self, now_ms: u64, ask: AskId, reason: &str, config: &DriverConfig) {
        if self.answered(ask).is_some() {
            let reason = format!("the store of finished units cannot be read: {}", clip(reason));
            self.pause_longer(now_ms, reason, config);
        }
    }

    /// What could be submitted now, at most `limit` units.
    pub(super) fn offer(
        &self,
        now_ms: u64,
        limit: u64,
        is_lone_free: bool,
        config: &DriverConfig,
    ) -> Option<Offer> {
        if self.phase != Phase::Running || self.is_paused(now_ms) || self.lone_job.is_some() {
            return None;
        }
        if let Some((_, units)) = self.groups.range(..=(now_ms, u64::MAX)).next() {
            return Some(Offer { kind: JobKind::Group, units: limit.min(units.len() as u64) });
        }
        let due = self.retries.range(..=(now_ms, u64::MAX)).take(limit as usize).count();
        let fresh = if self.is_clogged(config) { 0 } else { self.ready.len() };
        let regular = limit.min((due + fresh) as u64);
        if regular > 0 {
            return Some(Offer { kind: JobKind::Regular, units: regular });
        }
        // Suspects come last, when the sweep has nothing else to begin: then waiting for the slots to run dry costs nothing.
        let may_come = self.cursor < self.units && !self.is_clogged(config);
        let is_quiet = self.flights.is_empty() && self.groups.is_empty() && !may_come;
        let lone = is_lone_free && is_quiet && self.lones.range(..=(now_ms, u64::MAX)).next().is_some();
        lone.then_some(Offer { kind: JobKind::Lone, units: 1 })
    }

    /// Takes what was offered, ascending, as the units of that job.
    pub(super) fn take(&mut self, now_ms: u64, offer: Offer, job: JobId) -> Vec<u64> {
        let count = offer.units as usize;
        let mut units = match offer.kind {
            JobKind::Regular => self.take_regular(now_ms, count),
            JobKind::Group => self.take_group(count),
            JobKind::Lone => {
                self.lone_job = Some(job);
                self.lones.pop_first().map(|(_, unit)| unit).into_iter().collect()
            }
        };
        units.sort_unstable();
        self.flights.extend(units.iter().map(|&unit| (unit, Flight { job, report: None })));
        self.open += units.len() as u64;
        units
    }

    fn take_regular(&mut self, now_ms: u64, count: usize) -> Vec<u64> {
        let mut units = Vec::with_capacity(count);
        while units.len() < count
            && let Some(&(due_ms, unit)) = self.retries.first()
            && due_ms <= now_ms
        {
            self.retries.pop_first();
            units.push(unit);
        }
        let fresh = (count - units.len()).min(self.ready.len());
        units.extend(self.ready.drain(..fresh));
        units
    }

    fn take_group(&mut self, count: usize) -> Vec<u64> {
        let Some(((due_ms, _), mut units)) = self.groups.pop_first() else {
            return Vec::new();
        };
        self.grouped -= units.len();
        if count < units.len() {
            let rest = units.split_off(count);
            self.suspect(due_ms, rest);
        }
        units
    }

    /// Puts suspects aside to be run together, apart from the others.
    pub(super) fn suspect(&mut self, due_ms: u64, units: Vec<u64>) {
        match units.as_slice() {
            [] => {}
            &[unit] => {
                self.lones.insert((due_ms, unit));
            }
            &[first, ..] => {
                self.grouped += units.len();
                self.groups.insert((due_ms, first), units);
            }
        }
    }

    /// An executor's word on a unit. Returns whether a slot is free for another one now.
    pub(super) fn reported(&mut self, unit: u64, outcome: UnitOutcome) -> bool {
        let Some(flight) = self.flights.get_mut(&unit).filter(|flight| !flight.is_closed()) else {
            return false;
        };
        flight.report = Some(clipped(outcome));
        if !flight.is_closed() {
            return false;
        }
        match flight.report {
            Some(UnitOutcome::Permanent(_)) => self.tally.reported_failed += 1,
            Some(UnitOutcome::Reused) => {
                self.tally.reported_done += 1;
                self.tally.reported_reused += 1;
            }
            _ => self.tally.reported_done += 1,
        }
        self.open -= 1;
        true
    }

    /// Takes a unit out of flight, with what was reported of it.
    pub(super) fn land(&mut self, unit: u64) -> Option<UnitOutcome> {
        let flight = self.flights.remove(&unit)?;
        if !flight.is_closed() {
            self.open -= 1;
        }
        match flight.report {
            Some(UnitOutcome::Permanent(_)) => self.tally.reported_failed -= 1,
            Some(UnitOutcome::Computed) => self.tally.reported_done -= 1,
            Some(UnitOutcome::Reused) => {
                self.tally.reported_done -= 1;
                self.tally.reported_reused -= 1;
            }
            _ => {}
        }
        flight.report
    }

    /// Every unit is finished or failed.
    pub(super) fn is_settled(&self) -> bool {
        self.phase == Phase::Running
            && self.cursor == self.units
            && self.asked.is_none()
            && self.ready.is_empty()
            && self.waiting() == 0
            && self.flights.is_empty()
    }

    /// The result files could not be written. Goes back to look every unit up, as one may be gone from the store.
    pub(super) fn look_again(&mut self) {
        self.phase = Phase::Running;
        self.cursor = 0;
        self.tally.done = 0;
    }

    /// Units finished and, of these, found finished.
    pub(super) fn finished(&self) -> (u64, u64) {
        let done = self.tally.done + self.tally.reported_done;
        let reused = self.tally.done.saturating_sub(self.tally.computed) + self.tally.reported_reused;
        (done, reused)
    }

    /// Why the sweep has failed, for people.
    pub(super) fn failure(&self) -> String {
        let reason = self.failures.first().map_or("", |failure| failure.reason.as_str());
        let kept = if self.is_settled() {
            "the others are kept"
        } else {
            "too many to go on; what is finished is kept"
        };
        format!("{} of {} units failed, {kept}: {reason}", self.tally.failed, self.units)
    }

    /// The end of the sweep, for the catalogue.
    pub(super) fn ending(&self, state: SweepState, message: String) -> Action {
        let (units_done, units_reused) = self.finished();
        let ending = Ending {
            state,
            units_done,
            units_reused,
            units_failed: self.tally.failed,
            failures: self.failures.clone(),
            message,
        };
        Action::Record { sweep: self.id.clone(), change: StateChange::Ended(ending) }
    }

    /// When something falls due by itself, after `seen_ms`. What was due then waits for something else than time.
    pub(super) fn wake_ms(&self, seen_ms: u64) -> Option<u64> {
        if self.phase == Phase::Queued {
            return None;
        }
        if let Some(pause) = &self.pause {
            return Some(pause.until_ms);
        }
        let later = (seen_ms.saturating_add(1), 0)..;
        let retry = self.retries.range(later.clone()).next().map(|&(due_ms, _)| due_ms);
        let group = self.groups.range(later.clone()).next().map(|(&(due_ms, _), _)| due_ms);
        let lone = self.lones.range(later).next().map(|&(due_ms, _)| due_ms);
        retry.into_iter().chain(group).chain(lone).min()
    }
}

/// Bytes kept of a reason: memory is bounded, and so is what a catalogue holds.
const REASON_BYTES_MAX: usize = 1_000;

/// The beginning of a reason.
pub(super) fn clip(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

fn clipped(outcome: UnitOutcome) -> UnitOutcome {
    match outcome {
        UnitOutcome::Transient(reason) => UnitOutcome::Transient(clip(&reason).to_owned()),
        UnitOutcome::Permanent(reason) => UnitOutcome::Permanent(clip(&reason).to_owned()),
        plain => plain,
    }
}
