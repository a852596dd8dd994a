//! The one task that owns the driver, the catalogue and what is known of the cluster. Everybody else asks it.
//!
//! It tells the driver what happened and does what the driver asks for: looks into the store, hands jobs to Ballista, writes
//! result files, records. What takes long is done elsewhere and comes back as an event.

mod active;
mod fleet;
mod handle;
mod knock;
mod meter;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ballista_core::JobId as BallistaJob;
use polybolos_engine::sweep::cluster_unit_rows;
use polybolos_plan::runtime::SweepRuntime;
use polybolos_proto::cluster::unit_report::Outcome;
use polybolos_proto::cluster::{self as wire, ReportRequest};
use tokio::sync::mpsc;
use tonic::Status;

use crate::ballista::{Ballista, JobState};
use crate::catalogue::{self, Catalogue, CatalogueError, Entry, SweepRow};
use crate::driver::{
    Action, Driver, Ending, Event, JobId, JobOutcome, StateChange, SweepId, SweepState, UnitOutcome,
};
use crate::query::Roots;

use active::ActiveSweep;
use fleet::Fleet;
use handle::Message;
pub(crate) use handle::{Handle, NewSweep, Overview};

/// How often jobs and executors are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Looks between two notes of which executor has which units, and of how far sweeps are.
const LOOKS_PER_DEAL: u64 = 5;

/// How long Ballista may take a unit for running that its executor does not run, or a job for active whose units have all been
/// reported. It forgets a task's end whose message it could not deliver, and would wait for ever.
const STUCK_MS: i64 = 20_000;

/// A job that Ballista does not know is lost only after this many looks: it is known a moment after it was taken.
const LOOKS_UNTIL_LOST: u32 = 50;

/// A thread's speed before any executor has told its own.
const ASSUMED_BAR_COMBOS_PER_SECOND: f64 = 1.5e9;

/// A job in Ballista's hands.
struct RunningJob {
    /// Ballista's name for it, once it has one.
    ballista: Option<BallistaJob>,
    sweep: SweepId,
    units: Vec<u64>,
    /// Looks at which Ballista did not know it.
    unknown: u32,
    /// Units that executors reported finished, whatever the outcome.
    reported: BTreeSet<u64>,
    /// Since when Ballista and the executors disagree about it.
    stuck_since_ms: Option<i64>,
    /// It is being looked up in the store.
    is_ending: bool,
    /// It must be cancelled as soon as it has a name.
    is_cancelled: bool,
}

/// See the module.
pub(crate) struct Coordinator {
    driver: Driver,
    catalogue: Catalogue,
    ballista: Ballista,
    runtime: Arc<SweepRuntime>,
    roots: Roots,
    active: BTreeMap<SweepId, ActiveSweep>,
    jobs: BTreeMap<JobId, RunningJob>,
    fleet: Fleet,
    sweeps_per_owner: usize,
    executor_timeout_s: u64,
    looks: u64,
    inbox: mpsc::Receiver<Message>,
    outbox: mpsc::Sender<Message>,
    now_ms: fn() -> i64,
}

/// What a coordinator is made of.
pub(crate) struct Parts {
    pub(crate) catalogue: Catalogue,
    pub(crate) ballista: Ballista,
    pub(crate) runtime: Arc<SweepRuntime>,
    pub(crate) roots: Roots,
    pub(crate) driver: Driver,
    pub(crate) sweeps_per_owner: usize,
    pub(crate) executor_timeout_s: u64,
    /// Wall clock, milliseconds since the epoch.
    pub(crate) now_ms: fn() -> i64,
}

impl Coordinator {
    /// A coordinator with the sweeps that the catalogue says are not finished.
    pub(crate) fn new(parts: Parts) -> Result<(Coordinator, Handle), CatalogueError> {
        let (outbox, inbox) = mpsc::channel(1_024);
        let handle = Handle(outbox.clone());
        let Parts {
            catalogue,
            ballista,
            runtime,
            roots,
            driver,
            sweeps_per_owner,
            executor_timeout_s,
            now_ms,
        } = parts;
        let mut coordinator = Coordinator {
            driver,
            catalogue,
            ballista,
            runtime,
            roots,
            active: BTreeMap::new(),
            jobs: BTreeMap::new(),
            fleet: Fleet::default(),
            sweeps_per_owner,
            executor_timeout_s,
            looks: 0,
            inbox,
            outbox,
            now_ms,
        };
        for row in coordinator.catalogue.active()? {
            coordinator.take_up(row)?;
        }
        Ok((coordinator, handle))
    }

    /// Goes on with a sweep of an earlier process.
    fn take_up(&mut self, row: SweepRow) -> Result<(), CatalogueError> {
        let sweep = row.sweep.clone();
        let (_, spec) = self.catalogue.documents(&sweep)?;
        match ActiveSweep::of_row(&row, &spec, &self.roots) {
            Ok(active) => {
                let (owner, units) = (row.owner, row.units);
                tracing::info!(sweep_id = %sweep, units, "unfinished sweep taken up again");
                self.active.insert(sweep.clone(), active);
                self.happen(Event::Submitted { sweep, owner, units, resume: true });
                Ok(())
            }
            Err(message) => {
                tracing::error!(sweep_id = %sweep, message, "unfinished sweep cannot go on");
                let ending = Ending {
                    state: SweepState::Failed,
                    units_done: 0,
                    units_reused: 0,
                    units_failed: 0,
                    failures: Vec::new(),
                    message,
                };
                self.catalogue.record(&sweep, &StateChange::Ended(ending), (self.now_ms)())
            }
        }
    }

    /// Runs until every handle is gone.
    pub(crate) async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(message) => self.receive(message),
                    None => return,
                },
                _ = look.tick() => self.look().await,
            }
        }
    }

    fn receive(&mut self, message: Message) {
        // Whoever asked may have gone away; the answer is then nobody's.
        match message {
            Message::Submit(sweep, reply) => drop(reply.send(self.submit(*sweep))),
            Message::Cancel { sweep_id, owner, reply } => {
                drop(reply.send(self.cancel(&SweepId::new(&sweep_id), &owner)));
            }
            Message::Status(sweep_id, reply) => drop(reply.send(self.status(&SweepId::new(&sweep_id)))),
            Message::List { limit, only_active, reply } => drop(reply.send(self.list(limit, only_active))),
            Message::Report(report, reply) => drop(reply.send(Ok(self.report(*report)))),
            Message::Overview(reply) => drop(reply.send(Ok(self.overview()))),
            Message::Happened(event) => {
                if let Event::JobEnded { job, .. } | Event::JobRefused { job, .. } = &event {
                    self.jobs.remove(job);
                }
                self.happen(event);
            }
            Message::JobTaken { job, ballista } => self.job_taken(job, ballista),
            Message::ExecutorDead(id) => self.executor_dead(id, (self.now_ms)()),
        }
    }

    /// Tells the driver, and does what it asks for.
    fn happen(&mut self, event: Event) {
        let now = u64::try_from((self.now_ms)()).unwrap_or_default();
        for action in self.driver.handle(now, event) {
            match action {
                Action::Examine { ask, sweep, range } => self.examine(ask, sweep, range),
                Action::SubmitJob { job, sweep, units } => self.submit_job(job, sweep, units),
                Action::CancelJob { job } => self.cancel_job(job),
                Action::Merge { sweep } => self.merge(sweep),
                Action::Record { sweep, change } => self.record(&sweep, change),
            }
        }
    }

    fn record(&mut self, sweep: &SweepId, change: StateChange) {
        let now_ms = (self.now_ms)();
        if let Err(error) = self.catalogue.record(sweep, &change, now_ms) {
            // The store of units has the truth; a restart would find the sweep in its earlier state and go on.
            tracing::error!(sweep_id = %sweep, %error, "the catalogue could not be written");
        }
        match change {
            StateChange::Started => {
                if let Some(active) = self.active.get_mut(sweep) {
                    active.started_ms.get_or_insert(now_ms);
                }
                tracing::info!(sweep_id = %sweep, "sweep started");
            }
            StateChange::Writing => tracing::info!(sweep_id = %sweep, "all units finished, writing results"),
            StateChange::Ended(ending) => {
                self.fleet.totals.units_failed += ending.units_failed;
                tracing::info!(
                    sweep_id = %sweep,
                    state = ending.state.name(),
                    units_done = ending.units_done,
                    units_reused = ending.units_reused,
                    units_failed = ending.units_failed,
                    message = ending.message,
                    "sweep ended"
                );
                self.active.remove(sweep);
            }
        }
    }

    fn submit(&mut self, new: NewSweep) -> Result<(bool, wire::SweepStatus), Status> {
        let job = new.job;
        let sweep = SweepId::new(&job.spec.id(&job.strategy));
        if self.active.contains_key(&sweep) {
            let status = self.status(&sweep)?;
            return status
                .map(|status| (true, status))
                .ok_or_else(|| Status::internal("the sweep has no status"));
        }
        let of_owner = self.active.values().filter(|active| active.owner == new.owner).count();
        if of_owner >= self.sweeps_per_owner {
            return Err(Status::resource_exhausted(format!(
                "{of_owner} sweeps of {} are not finished, as many as one user may have; wait or cancel one",
                new.owner
            )));
        }
        let rows = job.strategy.space().len();
        let unit_rows = new.unit_rows.unwrap_or_else(|| {
            let rate = self.fleet.slowest_kernel().unwrap_or(ASSUMED_BAR_COMBOS_PER_SECOND);
            cluster_unit_rows(&job.spec.series, rows, u64::from(self.fleet.slots()), rate)
        });
        let active = ActiveSweep::new(job, new.owner, unit_rows, (self.now_ms)());
        let entry = catalogue::NewSweep {
            sweep: sweep.clone(),
            owner: active.owner.clone(),
            request: active.request_bytes(),
            spec: active.spec_bytes(),
            unit_rows,
            units: active.units,
            grid_rows: rows,
            symbols: active.job.spec.series.len() as u32,
            bars: active.bars(),
        };
        let fault = |error: CatalogueError| Status::internal(error.to_string());
        let row = match self.catalogue.insert_or_get(&entry, active.submitted_ms).map_err(fault)? {
            Entry::Inserted(row) => row,
            Entry::Known(row) if row.state == SweepState::Complete && new.is_complete => {
                // Nothing is computed for who asks now, whatever was when it was first asked for.
                let row = SweepRow { units_reused: row.units_done, ..row };
                return Ok((true, active::status_of_row(&row, Vec::new(), &self.roots)));
            }
            // A sweep keeps the cut that it was first submitted with: its finished units are found again.
            Entry::Known(_) => {
                self.catalogue.restart(&sweep, &active.owner, active.submitted_ms).map_err(fault)?
            }
        };
        let (owner, units) = (row.owner.clone(), row.units);
        let active = ActiveSweep::of_row(&row, &entry.spec, &self.roots).map_err(Status::internal)?;
        tracing::info!(sweep_id = %sweep, owner, units, unit_rows = row.unit_rows, "sweep submitted");
        self.active.insert(sweep.clone(), active);
        self.happen(Event::Submitted { sweep: sweep.clone(), owner, units, resume: false });
        let status = self.status(&sweep)?;
        status.map(|status| (false, status)).ok_or_else(|| Status::internal("the sweep has no status"))
    }

    fn cancel(&mut self, sweep: &SweepId, owner: &str) -> Result<Option<bool>, Status> {
        let Some(active) = self.active.get(sweep) else {
            let row = self.catalogue.get(sweep).map_err(|error| Status::internal(error.to_string()))?;
            return Ok(row.map(|_| false));
        };
        if active.owner != owner {
            return Err(Status::permission_denied(format!(
                "{sweep} is {}'s; only they may cancel it",
                active.owner
            )));
        }
        self.happen(Event::CancelAsked { sweep: sweep.clone() });
        Ok(Some(true))
    }

    fn status(&self, sweep: &SweepId) -> Result<Option<wire::SweepStatus>, Status> {
        if let (Some(active), Some(status)) = (self.active.get(sweep), self.driver.status(sweep)) {
            return Ok(Some(active.status(&status, &self.fleet, &self.roots, (self.now_ms)())));
        }
        let row = self.catalogue.get(sweep).map_err(|error| Status::internal(error.to_string()))?;
        row.map(|row| self.status_of_row(&row)).transpose()
    }

    /// The status of a sweep that is not at work, its failed units by name.
    fn status_of_row(&self, row: &SweepRow) -> Result<wire::SweepStatus, Status> {
        let fault = |error: CatalogueError| Status::internal(error.to_string());
        let failures = self.catalogue.failures(&row.sweep).map_err(fault)?;
        if failures.is_empty() {
            return Ok(active::status_of_row(row, Vec::new(), &self.roots));
        }
        let (_, spec) = self.catalogue.documents(&row.sweep).map_err(fault)?;
        let active = ActiveSweep::of_row(row, &spec, &self.roots).ok();
        let failures = failures.iter().map(|failure| active::failure_of(active.as_ref(), failure)).collect();
        Ok(active::status_of_row(row, failures, &self.roots))
    }

    fn list(&self, limit: u32, only_active: bool) -> Result<Vec<wire::SweepStatus>, Status> {
        let rows =
            self.catalogue.list(limit, only_active).map_err(|error| Status::internal(error.to_string()))?;
        let now_ms = (self.now_ms)();
        let statuses =
            rows.iter().map(|row| match (self.active.get(&row.sweep), self.driver.status(&row.sweep)) {
                (Some(active), Some(status)) => Ok(active.status(&status, &self.fleet, &self.roots, now_ms)),
                _ => self.status_of_row(row),
            });
        statuses.collect()
    }

    fn report(&mut self, report: ReportRequest) -> Vec<String> {
        let now_ms = (self.now_ms)();
        let executor = report.executor_id.clone();
        for unit in self.fleet.report(report, now_ms) {
            self.unit_ended(&executor, &unit);
        }
        let running = self.fleet.sweeps_of(&executor).into_iter();
        running.filter(|sweep| !self.active.contains_key(&SweepId::new(sweep))).map(str::to_owned).collect()
    }

    fn unit_ended(&mut self, executor: &str, report: &wire::UnitReport) {
        let Some(name) = &report.unit else { return };
        tracing::info!(
            sweep_id = name.sweep_id,
            symbol = name.symbol,
            row_from = name.row_from,
            row_to = name.row_to,
            executor,
            outcome = outcome_word(report.outcome()),
            bar_combos = report.bar_combos,
            seconds = report.seconds,
            kernel_seconds = report.kernel_seconds,
            is_on_gpu = report.on_gpu,
            reason = report.reason,
            "unit"
        );
        let sweep = SweepId::new(&name.sweep_id);
        let Some(active) = self.active.get_mut(&sweep) else { return };
        let Some(unit) = active.number(name) else { return };
        active.ended(report);
        for job in self.jobs.values_mut().filter(|job| job.sweep == sweep && job.units.contains(&unit)) {
            job.reported.insert(unit);
        }
        let outcome = match report.outcome() {
            Outcome::Computed => UnitOutcome::Computed,
            Outcome::Reused => UnitOutcome::Reused,
            Outcome::Cancelled => UnitOutcome::Cancelled,
            Outcome::Permanent => UnitOutcome::Permanent(report.reason.clone()),
            Outcome::Transient => {
                self.fleet.totals.unit_retries += 1;
                UnitOutcome::Transient(report.reason.clone())
            }
            Outcome::Unspecified => return,
        };
        self.happen(Event::UnitReported { sweep, unit, outcome });
    }

    fn overview(&self) -> Overview {
        let now_ms = (self.now_ms)();
        let mut overview = Overview {
            executors: self.fleet.statuses(now_ms),
            slots: self.fleet.slots(),
            units_running: self.fleet.running().count() as u64,
            totals: self.fleet.totals,
            ..Overview::default()
        };
        for (sweep, active) in &self.active {
            let Some(status) = self.driver.status(sweep) else { continue };
            if status.state == SweepState::Queued {
                overview.sweeps_queued += 1;
            } else {
                overview.sweeps_running += 1;
            }
            overview.units_pending +=
                status.units_total.saturating_sub(status.units_done + status.units_failed);
            if status.units_in_flight == 0 && status.state != SweepState::Writing {
                let age = (now_ms - active.submitted_ms) as f64 / 1e3;
                overview.queue_age_seconds = overview.queue_age_seconds.max(age);
            }
        }
        overview.units_pending = overview.units_pending.saturating_sub(overview.units_running);
        overview
    }

    /// Looks at executors and jobs, and lets time pass for the driver.
    async fn look(&mut self) {
        let now_ms = (self.now_ms)();
        let oldest_s =
            u64::try_from(now_ms / 1_000).unwrap_or_default().saturating_sub(self.executor_timeout_s);
        let mut known = self.ballista.executors().await;
        known.retain(|executor| executor.heartbeat_s >= oldest_s);
        let before = self.fleet.slots();
        for gone in self.fleet.refresh(known, now_ms) {
            tracing::warn!(
                executor = gone.id,
                units = gone.held.len(),
                drained = gone.was_draining,
                "executor gone"
            );
            if gone.was_draining {
                continue;
            }
            let reported = gone.held.iter().filter_map(|name| {
                let sweep = SweepId::new(&name.sweep_id);
                let unit = self.active.get(&sweep)?.number(name)?;
                Some((sweep, unit))
            });
            let held: BTreeSet<(SweepId, u64)> = reported.chain(gone.dealt).collect();
            self.happen(Event::ExecutorLost { held: held.into_iter().collect() });
        }
        self.knock_at_the_silent(now_ms);
        let slots = self.fleet.slots();
        if slots != before {
            tracing::info!(slots, before, "slots");
        }
        // Also where nothing changed: a report may have changed what is draining in between.
        self.happen(Event::Slots(slots));
        self.look_at_jobs().await;
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS_PER_DEAL) {
            self.look_at_deals().await;
            let under_way = self.fleet.under_way();
            for (sweep, active) in &mut self.active {
                active.mark(under_way.get(sweep.as_str()).copied().unwrap_or_default(), now_ms);
            }
        }
    }

    /// Notes which executor has which units, for when one vanishes, and gives up jobs that Ballista waits for in vain.
    async fn look_at_deals(&mut self) {
        let now_ms = (self.now_ms)();
        let mut dealt = Vec::new();
        let mut stuck = Vec::new();
        for (&id, job) in &mut self.jobs {
            let Some(ballista) = job.ballista.as_ref().filter(|_| !job.is_ending) else { continue };
            let mut disagree = job.reported.len() == job.units.len();
            for (executor, partition) in self.ballista.running(ballista).await {
                if let Some(&unit) = job.units.get(partition) {
                    let symbol_and_row = self.active.get(&job.sweep).and_then(|active| active.name(unit));
                    let is_running = symbol_and_row.is_none_or(|(symbol, row_from)| {
                        self.fleet.may_run(&executor, job.sweep.as_str(), &symbol, row_from)
                    });
                    disagree |= !is_running;
                    dealt.push((executor, job.sweep.clone(), unit));
                }
            }
            job.stuck_since_ms = if disagree { job.stuck_since_ms.or(Some(now_ms)) } else { None };
            if job.stuck_since_ms.is_some_and(|since| now_ms - since > STUCK_MS) {
                stuck.push((id, ballista.clone()));
            }
        }
        self.fleet.deal(dealt.into_iter());
        for (id, ballista) in stuck {
            tracing::warn!(job = %id, %ballista, "Ballista waits for units that no executor runs; the job is given up");
            self.cancel_at_ballista(ballista);
            if let Some(job) = self.jobs.get_mut(&id) {
                job.is_ending = true;
            }
            self.job_ended(id, JobOutcome::Lost);
        }
    }

    async fn look_at_jobs(&mut self) {
        let mut ended = Vec::new();
        for (&id, job) in &mut self.jobs {
            let Some(ballista) = job.ballista.as_ref().filter(|_| !job.is_ending) else { continue };
            let outcome = match self.ballista.job_state(ballista).await {
                JobState::Active => {
                    job.unknown = 0;
                    continue;
                }
                JobState::Succeeded => JobOutcome::Succeeded,
                JobState::Failed(reason) => JobOutcome::Failed(reason),
                JobState::Unknown => {
                    job.unknown += 1;
                    if job.unknown < LOOKS_UNTIL_LOST {
                        continue;
                    }
                    JobOutcome::Lost
                }
            };
            job.is_ending = true;
            ended.push((id, outcome));
        }
        for (job, outcome) in ended {
            self.job_ended(job, outcome);
        }
    }
}

/// The word for an outcome in logs, as executors log it.
fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unspecified => "unknown",
        Outcome::Computed => "computed",
        Outcome::Reused => "reused",
        Outcome::Cancelled => "cancelled",
        Outcome::Transient => "transient",
        Outcome::Permanent => "permanent",
    }
}
