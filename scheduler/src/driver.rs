//! Drives sweeps to their end: a state machine that is told events and asks for actions. It does no I/O, has no clock of its own and keeps
//! no hash order, so the same events give the same actions, and a simulation can put years of bad luck through it in seconds.
//!
//! What is finished is what the store holds. Reports of executors make progress visible and name reasons; any of them may be lost. A job
//! that ended is settled by what is in the store then, so no unit is begun again once it was seen there.
//!
//! - **Memory** is bounded whatever the size of a sweep: a cursor over its unit numbers, one window of missing units ahead of the
//!   running ones, and the units in flight.
//! - **Sharing**: units in flight are at most a few per slot; owners take turns at them, and within an owner its sweeps, so that a sweep of
//!   ten units beside one of a million is done after a few unit times.
//! - **Failures**: what a report names is retried with growing waits. When a job dies, its unfinished units are suspects, run in
//!   halved groups and at last one by one, apart from all else; only then does a death count against a unit. One that kills every executor
//!   it runs on is found, and no innocent neighbour fails with it.

mod config;
mod event;
mod fair;
mod settle;
mod status;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use config::{ConfigError, DriverConfig};
pub use event::{
    Action, AskId, Ending, Event, JobId, JobOutcome, StateChange, SweepId, SweepState, UnitFailure,
    UnitOutcome,
};
pub use status::SweepStatus;

use fair::Turns;
use settle::JobEnd;
use sweep::{Job, JobKind, Offer, Phase, Sweep, clip};

/// One who submits sweeps.
#[derive(Debug, Default)]
struct Owner {
    /// Its sweeps at work, by number.
    turns: Turns<u64>,
    at_work: u32,
}

/// The state machine; see the module.
#[derive(Debug)]
pub struct Driver {
    config: DriverConfig,
    now_ms: u64,
    /// The last time everything that was due was seen to.
    turned_ms: u64,
    slots: u32,
    /// By number, which is the order of submission.
    sweeps: BTreeMap<u64, Sweep>,
    by_id: BTreeMap<SweepId, u64>,
    owners: BTreeMap<Arc<str>, Owner>,
    owner_turns: Turns<Arc<str>>,
    jobs: BTreeMap<JobId, Job>,
    sweeps_seen: u64,
    jobs_seen: u64,
    asks_seen: u64,
    /// Units in flight that were not reported finished.
    open: u64,
    /// Units of jobs that have not ended.
    held: u64,
    /// Room in flight with which the job that waits for it can be submitted.
    wanted: Option<u64>,
    /// The job whose only unit is on probation, if any.
    lone_job: Option<JobId>,
}

impl Driver {
    /// A driver without sweeps and without executors.
    ///
    /// # Errors
    /// A setting with which no sweep could end.
    pub fn new(config: DriverConfig) -> Result<Driver, ConfigError> {
        config.check()?;
        Ok(Driver {
            config,
            now_ms: 0,
            turned_ms: 0,
            slots: 0,
            sweeps: BTreeMap::new(),
            by_id: BTreeMap::new(),
            owners: BTreeMap::new(),
            owner_turns: Turns::default(),
            jobs: BTreeMap::new(),
            sweeps_seen: 0,
            jobs_seen: 0,
            asks_seen: 0,
            open: 0,
            held: 0,
            wanted: None,
            lone_job: None,
        })
    }

    /// Takes in an event at a time in milliseconds of any clock; one that goes back only delays. The actions are to be done in order.
    /// Events about what is unknown or over change nothing.
    pub fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Action> {
        self.now_ms = now_ms;
        let mut actions = Vec::new();
        match event {
            Event::UnitReported { sweep, unit, outcome } => {
                // The one frequent event: a look at all sweeps only when what waits has become possible.
                if self.unit_reported(&sweep, unit, outcome)
                    && self.wanted.is_some_and(|units| units <= self.hole())
                {
                    self.turn(&mut actions);
                }
                return actions;
            }
            Event::Submitted { sweep, owner, units, resume } => self.submitted(sweep, &owner, units, resume),
            Event::Examined { sweep, ask, missing } => {
                if let Some(sweep) = self.sweep_mut(&sweep) {
                    sweep.examined(ask, missing);
                }
            }
            Event::ExamineFailed { sweep, ask, reason } => {
                if let Some(sweep) = self.by_id.get(&sweep).and_then(|number| self.sweeps.get_mut(number)) {
                    sweep.examine_failed(self.now_ms, ask, &reason, &self.config);
                }
            }
            Event::Slots(slots) => self.slots = slots,
            Event::ExecutorLost { held } => self.executor_lost(held, &mut actions),
            Event::JobRefused { job, reason } => self.job_refused(job, &reason),
            Event::JobEnded { job, outcome, present } => self.job_ended(job, &outcome, present),
            Event::CancelAsked { sweep } => {
                if let Some(&number) = self.by_id.get(&sweep) {
                    self.end(number, SweepState::Cancelled, String::new(), &mut actions);
                }
            }
            Event::Merged { sweep } => {
                if let Some(number) = self.writing(&sweep) {
                    self.end(number, SweepState::Complete, String::new(), &mut actions);
                }
            }
            Event::MergeFailed { sweep, reason, is_transient } => {
                self.merge_failed(&sweep, &reason, is_transient, &mut actions);
            }
            Event::Tick => {}
        }
        self.turn(&mut actions);
        actions
    }

    /// When the next [`Event::Tick`] is due, in the clock of [`Driver::handle`]; absent while only events can change anything. After a
    /// tick it lies ahead; after a report it may be now.
    pub fn wake_ms(&self) -> Option<u64> {
        self.sweeps.values().filter_map(|sweep| sweep.wake_ms(self.turned_ms)).min()
    }

    /// No sweep is queued or at work.
    pub fn is_idle(&self) -> bool {
        self.sweeps.is_empty()
    }

    /// The sweeps queued or at work, in the order of their submission.
    pub fn sweeps(&self) -> impl Iterator<Item = &SweepId> {
        self.sweeps.values().map(|sweep| &sweep.id)
    }

    /// The sweep and the units of a job that has not ended.
    pub fn job(&self, job: JobId) -> Option<(&SweepId, &[u64])> {
        let job = self.jobs.get(&job)?;
        Some((&self.sweeps.get(&job.sweep)?.id, &job.units))
    }

    /// Units in flight over all sweeps that were not reported finished.
    pub fn units_in_flight(&self) -> u64 {
        self.open
    }

    /// Unit numbers held in memory, over all sweeps: in flight, ahead or waiting.
    pub fn units_in_memory(&self) -> u64 {
        let of =
            |sweep: &Sweep| sweep.flights.len() + sweep.ready.len() + sweep.waiting() + sweep.troubles.len();
        self.sweeps.values().map(|sweep| of(sweep) as u64).sum()
    }

    fn sweep_mut(&mut self, id: &SweepId) -> Option<&mut Sweep> {
        self.sweeps.get_mut(self.by_id.get(id)?)
    }

    /// Number of a sweep whose result files are being written.
    fn writing(&self, id: &SweepId) -> Option<u64> {
        let &number = self.by_id.get(id)?;
        let sweep = self.sweeps.get(&number)?;
        (sweep.phase == Phase::Writing).then_some(number)
    }

    fn submitted(&mut self, id: SweepId, owner: &str, units: u64, is_resumed: bool) {
        if self.by_id.contains_key(&id) {
            return;
        }
        self.sweeps_seen += 1;
        let number = self.sweeps_seen;
        self.by_id.insert(id.clone(), number);
        self.sweeps.insert(number, Sweep::new(id, owner.into(), units, is_resumed));
    }

    fn unit_reported(&mut self, sweep: &SweepId, unit: u64, outcome: UnitOutcome) -> bool {
        let is_closed = self.sweep_mut(sweep).is_some_and(|sweep| sweep.reported(unit, outcome));
        self.open -= u64::from(is_closed);
        is_closed
    }

    /// Stops the jobs an executor seems to have died of; they are settled when they have ended.
    fn executor_lost(&mut self, held: Vec<(SweepId, u64)>, actions: &mut Vec<Action>) {
        for (id, unit) in held {
            let Some(sweep) = self.by_id.get(&id).and_then(|number| self.sweeps.get_mut(number)) else {
                continue;
            };
            let Some(flight) = sweep.flights.get(&unit).filter(|flight| !flight.is_closed()) else {
                continue;
            };
            let trouble = sweep.troubles.entry(unit).or_default();
            trouble.deaths = trouble.deaths.saturating_add(1);
            let is_suspect = trouble.deaths >= self.config.deaths_until_suspect;
            let Some(job) = self.jobs.get_mut(&flight.job) else {
                continue;
            };
            if is_suspect && !job.condemned {
                job.condemned = true;
                actions.push(Action::CancelJob { job: flight.job });
            }
        }
    }

    /// The job never ran: its units go back to where they came from.
    fn job_refused(&mut self, id: JobId, reason: &str) {
        let Some(job) = self.forget_job(id) else {
            return;
        };
        let Some(sweep) = self.sweeps.get_mut(&job.sweep) else {
            return;
        };
        for &unit in &job.units {
            sweep.land(unit);
        }
        sweep.lone_job = None;
        match job.kind {
            JobKind::Regular => sweep.put_back(job.units),
            JobKind::Group | JobKind::Lone => sweep.suspect(self.now_ms, job.units),
        }
        sweep.pause_longer(
            self.now_ms,
            format!("the cluster did not take a job: {}", clip(reason)),
            &self.config,
        );
    }

    fn job_ended(&mut self, id: JobId, outcome: &JobOutcome, mut present: Vec<u64>) {
        let Some(job) = self.forget_job(id) else {
            return;
        };
        let Some(sweep) = self.sweeps.get_mut(&job.sweep) else {
            return;
        };
        present.sort_unstable();
        let (slots, now_ms, config) = (self.slots, self.now_ms, &self.config);
        sweep.settle(JobEnd { id, job, outcome, present: &present, slots, now_ms, config });
    }

    fn forget_job(&mut self, id: JobId) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        if self.lone_job == Some(id) {
            self.lone_job = None;
        }
        Some(job)
    }

    fn merge_failed(&mut self, id: &SweepId, reason: &str, is_transient: bool, actions: &mut Vec<Action>) {
        let Some(number) = self.writing(id) else {
            return;
        };
        let Some(sweep) = self.sweeps.get_mut(&number) else {
            return;
        };
        sweep.merges_failed += 1;
        let message = format!("the result files cannot be written: {}", clip(reason));
        if is_transient && sweep.merges_failed < self.config.attempts_max {
            sweep.look_again();
            sweep.pause(self.now_ms.saturating_add(self.config.backoff_ms(sweep.merges_failed)), message);
        } else {
            self.end(number, SweepState::Failed, message, actions);
        }
    }

    /// Ends a sweep: its jobs are stopped, its end is recorded, and it is forgotten.
    fn end(&mut self, number: u64, state: SweepState, message: String, actions: &mut Vec<Action>) {
        let Some(sweep) = self.sweeps.remove(&number) else {
            return;
        };
        self.by_id.remove(&sweep.id);
        let jobs: Vec<JobId> =
            self.jobs.iter().filter(|(_, job)| job.sweep == number).map(|(&id, _)| id).collect();
        for job in jobs {
            self.forget_job(job);
            actions.push(Action::CancelJob { job });
        }
        actions.push(sweep.ending(state, message));
        if sweep.phase == Phase::Queued {
            return;
        }
        if let Some(owner) = self.owners.get_mut(&sweep.owner) {
            owner.turns.leave(&number);
            owner.at_work -= 1;
            if owner.at_work == 0 {
                self.owners.remove(&sweep.owner);
                self.owner_turns.leave(&sweep.owner);
            }
        }
    }

    /// Everything that follows from what is known now.
    fn turn(&mut self, actions: &mut Vec<Action>) {
        self.turned_ms = self.now_ms;
        self.start_queued(actions);
        // Every end lets a queued sweep start, and one without missing units could end at once.
        while self.end_settled(actions) {
            self.start_queued(actions);
        }
        self.open = self.sweeps.values().map(|sweep| sweep.open).sum();
        self.held = self.sweeps.values().map(|sweep| sweep.flights.len() as u64).sum();
        self.submit_jobs(actions);
        for sweep in self.sweeps.values_mut() {
            if let Some(action) = sweep.ask(self.now_ms, AskId(self.asks_seen + 1), &self.config) {
                self.asks_seen += 1;
                actions.push(action);
            }
        }
    }

    /// Ends or merges sweeps that have nothing left to run. Returns whether one has ended.
    fn end_settled(&mut self, actions: &mut Vec<Action>) -> bool {
        let mut failed = Vec::new();
        for (&number, sweep) in &mut self.sweeps {
            sweep.wake(self.now_ms);
            if sweep.tally.failed > self.config.failed_units_max
                || (sweep.is_settled() && sweep.tally.failed > 0)
            {
                failed.push((number, sweep.failure()));
            } else if sweep.is_settled() && sweep.pause.is_none() {
                sweep.phase = Phase::Writing;
                let id = &sweep.id;
                actions.push(Action::Record { sweep: id.clone(), change: StateChange::Writing });
                actions.push(Action::Merge { sweep: id.clone() });
            }
        }
        let has_ended = !failed.is_empty();
        for (number, message) in failed {
            self.end(number, SweepState::Failed, message, actions);
        }
        has_ended
    }

    /// Starts queued sweeps, oldest first, whose owners may have another one at work.
    fn start_queued(&mut self, actions: &mut Vec<Action>) {
        for (&number, sweep) in self.sweeps.iter_mut().filter(|(_, sweep)| sweep.phase == Phase::Queued) {
            let at_work = self.owners.get(&sweep.owner).map_or(0, |owner| owner.at_work);
            if at_work >= self.config.owner_sweeps_max {
                continue;
            }
            let owner = self.owners.entry(sweep.owner.clone()).or_default();
            owner.at_work += 1;
            owner.turns.join(number);
            self.owner_turns.join(sweep.owner.clone());
            sweep.phase = Phase::Running;
            actions.push(Action::Record { sweep: sweep.id.clone(), change: StateChange::Started });
        }
    }

    /// Units that may still be put in flight: so many not reported finished, and twice that in jobs that have not ended.
    fn hole(&self) -> u64 {
        let budget = self.config.budget(self.slots);
        budget.saturating_sub(self.open).min((2 * budget).saturating_sub(self.held))
    }

    /// Hands out what room there is in flight, by turns.
    fn submit_jobs(&mut self, actions: &mut Vec<Action>) {
        self.wanted = None;
        if self.slots == 0 {
            return;
        }
        loop {
            let Some((number, owner, offer)) = self.next_job() else {
                return;
            };
            if offer.units > self.hole() {
                self.wanted = Some(offer.units);
                return;
            }
            let Some(sweep) = self.sweeps.get_mut(&number) else {
                return;
            };
            self.jobs_seen += 1;
            let id = JobId(self.jobs_seen);
            let units = sweep.take(self.now_ms, offer, id);
            self.open += offer.units;
            self.held += offer.units;
            self.owner_turns.charge(&owner, offer.units);
            if let Some(owner) = self.owners.get_mut(&owner) {
                owner.turns.charge(&number, offer.units);
            }
            if offer.kind == JobKind::Lone {
                self.lone_job = Some(id);
            }
            actions.push(Action::SubmitJob { job: id, sweep: sweep.id.clone(), units: units.clone() });
            self.jobs.insert(id, Job { sweep: number, units, kind: offer.kind, condemned: false });
        }
    }

    /// Whose turn it is, and with what.
    fn next_job(&mut self) -> Option<(u64, Arc<str>, Offer)> {
        let is_lone_free = self.lone_job.is_none();
        let offer = |sweep: &Sweep, limit| sweep.offer(self.now_ms, limit, is_lone_free, &self.config);
        let offering = self.sweeps.values().filter(|sweep| offer(sweep, 1).is_some()).count() as u64;
        let limit = self.job_units(offering);
        let mut in_flight: BTreeMap<&str, u64> = BTreeMap::new();
        for sweep in self.sweeps.values() {
            *in_flight.entry(&sweep.owner).or_default() += sweep.open;
        }
        let mut offers = BTreeMap::new();
        let mut offering_owners = BTreeSet::new();
        for (&number, sweep) in &self.sweeps {
            let used = in_flight.get(&*sweep.owner).copied().unwrap_or(0);
            let quota = self.config.owner_in_flight_max.unwrap_or(u64::MAX);
            match offer(sweep, limit) {
                Some(offer) if used.saturating_add(offer.units) <= quota => {
                    offers.insert(number, offer);
                    offering_owners.insert(sweep.owner.clone());
                }
                // A report may make room under the quota; how much is wanted differs by owner.
                Some(_) => self.wanted = Some(1),
                None => {}
            }
        }
        let owner = self.owner_turns.next(|owner| offering_owners.contains(owner))?;
        let number = self.owners.get_mut(&owner)?.turns.next(|number| offers.contains_key(number))?;
        Some((number, owner, offers.remove(&number)?))
    }

    /// Units of the next job, when so many sweeps have some to run: each is to have two jobs in flight, so that the end of one leaves no
    /// slot without work, and no job need be larger than what runs at once.
    fn job_units(&self, sweeps: u64) -> u64 {
        let share = self.config.budget(self.slots) / (2 * sweeps.max(1));
        let quota = self.config.owner_in_flight_max.unwrap_or(u64::MAX) / 2;
        share.min(u64::from(self.slots)).min(u64::from(self.config.job_units_max)).min(quota).max(1)
    }
}
