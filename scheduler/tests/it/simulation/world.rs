//! The world's clock, its mail, and the shell around the driver: the catalogue and the looks into the store.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use polybolos_scheduler::driver::{
    Action, AskId, Driver, Ending, Event, JobId, StateChange, SweepId, SweepState,
};

use super::ballista::{Executor, Job};
use super::{Chance, Scenario};

/// Something that happens at a time.
#[derive(Debug, Clone)]
pub(super) enum Note {
    /// From within the scheduler's process: dies with it.
    Inside(Event),
    /// From an executor.
    Report(Event),
    TaskEnds {
        executor: u64,
        task: u64,
    },
    ExecutorStarts {
        slots: u32,
    },
    NoExecutorsFor {
        since_ms: u64,
    },
    Death,
    Outage {
        back_ms: u64,
    },
    JobFails,
    Crash,
    Restart,
    Submit(usize),
    Cancel(usize),
    Wake,
}

/// A row of the catalogue.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) state: SweepState,
    pub(crate) ending: Option<Ending>,
    pub(crate) submitted_ms: u64,
    pub(crate) ended_ms: u64,
}

/// See the parent module.
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(super) chance: Chance,
    pub(crate) now_ms: u64,
    mail: BTreeMap<(u64, u64), Note>,
    mailed: u64,
    wake_ms: Option<u64>,
    pub(crate) driver: Driver,
    pub(super) is_down: bool,
    pub(crate) store: BTreeSet<(usize, u64)>,
    pub(crate) catalogue: BTreeMap<usize, Row>,
    pub(super) jobs: BTreeMap<JobId, Job>,
    pub(super) executors: BTreeMap<u64, Executor>,
    pub(super) counter: u64,
    /// Slots the driver was told of.
    slots: u32,
    /// What the living driver asked of the store.
    asks: BTreeMap<AskId, Range<u64>>,
    /// Units the living driver saw in the store since their sweep was submitted.
    known: BTreeSet<(usize, u64)>,
    pub(super) flaked: BTreeMap<(usize, u64), u32>,
    /// Times a unit was computed to its end.
    pub(crate) computed: BTreeMap<(usize, u64), u32>,
    /// Slot-milliseconds used, by sweep.
    pub(crate) served_ms: BTreeMap<usize, u64>,
    /// Every action asked for, when the world is to be compared with another.
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) memory_max: u64,
    pub(crate) jobs_submitted: u64,
    pub(crate) steps: u64,
}

pub(super) fn sweep_id(sweep: usize) -> SweepId {
    SweepId::new(&format!("sweep-{sweep}"))
}

fn sweep_of(id: &SweepId) -> usize {
    id.as_str()["sweep-".len()..].parse().unwrap()
}

impl World {
    pub(crate) fn new(scenario: Scenario) -> World {
        let mut world = World {
            chance: Chance::new(scenario.seed),
            now_ms: 0,
            mail: BTreeMap::new(),
            mailed: 0,
            wake_ms: None,
            driver: Driver::new(scenario.config.clone()).unwrap(),
            is_down: false,
            store: scenario.stored.clone(),
            catalogue: BTreeMap::new(),
            jobs: BTreeMap::new(),
            executors: BTreeMap::new(),
            counter: 0,
            slots: 0,
            asks: BTreeMap::new(),
            known: BTreeSet::new(),
            flaked: BTreeMap::new(),
            computed: BTreeMap::new(),
            served_ms: BTreeMap::new(),
            trace: None,
            memory_max: 0,
            jobs_submitted: 0,
            steps: 0,
            scenario,
        };
        let scenario = world.scenario.clone();
        for slots in scenario.executors {
            world.post(0, Note::ExecutorStarts { slots });
        }
        for (sweep, plan) in scenario.sweeps.iter().enumerate() {
            world.post(plan.submit_ms, Note::Submit(sweep));
            for (at_ms, note) in [(plan.cancel_ms, Note::Cancel(sweep)), (plan.again_ms, Note::Submit(sweep))]
            {
                if let Some(at_ms) = at_ms {
                    world.post(at_ms, note);
                }
            }
        }
        scenario.deaths_ms.into_iter().for_each(|at_ms| world.post(at_ms, Note::Death));
        scenario.job_failures_ms.into_iter().for_each(|at_ms| world.post(at_ms, Note::JobFails));
        scenario.crashes_ms.into_iter().for_each(|at_ms| world.post(at_ms, Note::Crash));
        if let Some((at_ms, back_ms)) = scenario.outage_ms {
            world.post(at_ms, Note::Outage { back_ms });
        }
        world
    }

    /// Something is to happen in a while. What happens at the same time happens in the order it was posted.
    pub(super) fn post(&mut self, in_ms: u64, note: Note) {
        self.mailed += 1;
        self.mail.insert((self.now_ms + in_ms, self.mailed), note);
    }

    /// Runs until `done`. Panics when nothing is left to happen before, or that takes longer than `limit_ms` of its time.
    pub(crate) fn run(&mut self, limit_ms: u64, done: impl Fn(&World) -> bool) {
        while !done(self) {
            let Some(((at_ms, _), note)) = self.mail.pop_first() else {
                panic!("nothing is left to happen: {:#?}", self.statuses());
            };
            assert!(at_ms <= limit_ms, "no end after {limit_ms} ms: {:#?}", self.statuses());
            self.now_ms = at_ms;
            self.steps += 1;
            assert!(self.steps < 3_000_000, "too many steps: {:#?}", self.statuses());
            self.happen(note);
        }
    }

    fn statuses(&self) -> Vec<String> {
        self.driver.sweeps().map(|id| format!("{:?}", self.driver.status(id).unwrap())).collect()
    }

    fn happen(&mut self, note: Note) {
        match note {
            Note::Inside(event) => self.tell(event),
            Note::Report(event) if self.is_down => drop(event),
            Note::Report(event) => self.tell(event),
            Note::TaskEnds { executor, task } => self.task_ends(executor, task),
            Note::ExecutorStarts { slots } => self.executor_starts(slots),
            Note::NoExecutorsFor { since_ms } => self.no_executors_for(since_ms),
            Note::Death => self.random_death(),
            Note::Outage { back_ms } => self.outage(back_ms),
            Note::JobFails => self.random_job_failure(),
            Note::Crash => self.crash(),
            Note::Restart => self.restart(),
            Note::Submit(sweep) if self.is_down => self.post(1_000, Note::Submit(sweep)),
            Note::Submit(sweep) => self.submit(sweep),
            Note::Cancel(sweep) if self.is_down => self.post(1_000, Note::Cancel(sweep)),
            Note::Cancel(sweep) => self.tell(Event::CancelAsked { sweep: sweep_id(sweep) }),
            Note::Wake => {
                if self.wake_ms.is_some_and(|at_ms| at_ms <= self.now_ms) {
                    self.wake_ms = None;
                    self.tell(Event::Tick);
                }
            }
        }
    }

    fn submit(&mut self, sweep: usize) {
        if self.catalogue.get(&sweep).is_some_and(|row| !row.state.is_final()) {
            return;
        }
        let row = Row { state: SweepState::Queued, ending: None, submitted_ms: self.now_ms, ended_ms: 0 };
        self.catalogue.insert(sweep, row);
        self.hand_in(sweep, false);
    }

    fn hand_in(&mut self, sweep: usize, resume: bool) {
        self.known.retain(|&(s, _)| s != sweep);
        let plan = &self.scenario.sweeps[sweep];
        let (owner, units) = (plan.owner.clone(), plan.units);
        self.tell(Event::Submitted { sweep: sweep_id(sweep), owner, units, resume });
    }

    /// The scheduler's process is killed: the driver, Ballista's jobs and everything on its way inside is gone.
    fn crash(&mut self) {
        if self.is_down {
            return;
        }
        self.is_down = true;
        self.wake_ms = None;
        self.slots = 0;
        self.driver = Driver::new(self.scenario.config.clone()).unwrap();
        self.known.clear();
        self.asks.clear();
        self.jobs.clear();
        self.mail.retain(|_, note| !matches!(note, Note::Inside(_) | Note::Wake));
        for executor in self.executors.values_mut() {
            executor.tasks.values_mut().for_each(|task| task.job = None);
        }
        let down_ms = self.chance.between(100, 5_000);
        self.post(down_ms, Note::Restart);
    }

    fn restart(&mut self) {
        self.is_down = false;
        let mut active: Vec<(u64, usize)> = self
            .catalogue
            .iter()
            .filter(|(_, row)| !row.state.is_final())
            .map(|(&sweep, row)| (row.submitted_ms, sweep))
            .collect();
        active.sort_unstable();
        for (_, sweep) in active {
            self.hand_in(sweep, true);
        }
        self.tell_slots();
        self.watch_for_executors();
    }

    pub(super) fn tell_slots(&mut self) {
        let slots = self.executors.values().map(|executor| executor.slots).sum();
        if !self.is_down {
            self.post(10, Note::Inside(Event::Slots(slots)));
        }
    }

    /// Tells the driver and does what it asks for.
    fn tell(&mut self, event: Event) {
        match &event {
            Event::Slots(slots) => self.slots = *slots,
            Event::JobEnded { job, present, .. } => {
                if let Some((id, units)) = self.driver.job(*job) {
                    let sweep = sweep_of(id);
                    let known = present.iter().filter(|unit| units.contains(unit)).map(|&unit| (sweep, unit));
                    self.known.extend(known);
                }
            }
            Event::Examined { sweep, ask, missing } => {
                if let Some(range) = self.asks.remove(ask) {
                    let sweep = sweep_of(sweep);
                    self.known.extend(range.filter(|unit| !missing.contains(unit)).map(|unit| (sweep, unit)));
                }
            }
            _ => {}
        }
        let is_report = matches!(event, Event::UnitReported { .. });
        let in_flight_before = self.driver.units_in_flight();
        let actions = self.driver.handle(self.now_ms, event);
        let bound = u64::from(self.scenario.config.in_flight_factor) * u64::from(self.slots);
        let in_flight = self.driver.units_in_flight();
        assert!(in_flight <= bound.max(in_flight_before), "{in_flight} in flight, bound {bound}");
        self.memory_max = self.memory_max.max(self.driver.units_in_memory());
        for action in actions {
            if let Some(trace) = &mut self.trace {
                trace.push(format!("{} {action:?}", self.now_ms));
            }
            self.act(action);
        }
        if let Some(at_ms) = self.driver.wake_ms() {
            assert!(is_report || at_ms > self.now_ms, "asks to be woken in the past");
            if self.wake_ms != Some(at_ms) {
                self.wake_ms = Some(at_ms);
                self.post(at_ms.saturating_sub(self.now_ms), Note::Wake);
            }
        }
        self.dispatch();
    }

    fn is_refused(&mut self) -> bool {
        self.now_ms < self.scenario.healthy_ms && self.chance.percent(self.scenario.refusals)
    }

    /// An answer from within the process: sometimes twice, the second time late.
    pub(super) fn answer(&mut self, in_ms: u64, event: Event) {
        if self.now_ms < self.scenario.healthy_ms && self.chance.percent(self.scenario.reports_doubled) {
            let later_ms = in_ms + self.chance.between(1, 5_000);
            self.post(later_ms, Note::Inside(event.clone()));
        }
        self.post(in_ms, Note::Inside(event));
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Examine { ask, sweep, range } => {
                self.asks.insert(ask, range.clone());
                let in_ms = self.chance.between(1, 50);
                if self.is_refused() {
                    let reason = "the store does not answer".to_owned();
                    return self.answer(in_ms, Event::ExamineFailed { sweep, ask, reason });
                }
                let number = sweep_of(&sweep);
                let missing = range.filter(|&unit| !self.store.contains(&(number, unit))).collect();
                self.answer(in_ms, Event::Examined { sweep, ask, missing });
            }
            Action::SubmitJob { job, sweep, units } => self.submit_job(job, sweep_of(&sweep), units),
            Action::CancelJob { job } => self.cancel_job(job),
            Action::Merge { sweep } => self.merge(sweep),
            Action::Record { sweep, change } => self.record(sweep_of(&sweep), change),
        }
    }

    fn submit_job(&mut self, job: JobId, sweep: usize, units: Vec<u64>) {
        assert!(!units.is_empty() && units.is_sorted_by(|a, b| a < b), "units of a job: {units:?}");
        assert!(
            units.len() as u64 <= u64::from(self.scenario.config.job_units_max),
            "a job of {}",
            units.len()
        );
        for &unit in &units {
            assert!(unit < self.scenario.sweeps[sweep].units, "unit {unit} of sweep {sweep}");
            assert!(
                !self.known.contains(&(sweep, unit)),
                "unit {unit} of sweep {sweep} was known to be finished"
            );
            let twice = self.jobs.values().any(|other| other.sweep == sweep && other.is_open(unit));
            assert!(!twice, "unit {unit} of sweep {sweep} is in flight twice");
        }
        self.jobs_submitted += 1;
        if self.is_refused() {
            let reason = "the queue is full".to_owned();
            return self.answer(5, Event::JobRefused { job, reason });
        }
        let rank =
            if self.scenario.jobs_in_any_order { self.chance.between(0, u64::MAX - 1) } else { job.number() };
        self.jobs.insert(job, Job::new(sweep, units, rank));
    }

    fn merge(&mut self, sweep: SweepId) {
        let number = sweep_of(&sweep);
        let units = self.scenario.sweeps[number].units;
        let stored = self.store.range((number, 0)..(number + 1, 0)).count() as u64;
        assert_eq!(stored, units, "sweep {number} is merged before every unit is in the store");
        let in_ms = self.chance.between(1, 200);
        // At most three in a row fail: a fourth one ends the sweep.
        if self.is_refused() && self.chance.percent(30) {
            let reason = "the disk is full".to_owned();
            return self.post(in_ms, Note::Inside(Event::MergeFailed { sweep, reason, is_transient: true }));
        }
        self.answer(in_ms, Event::Merged { sweep });
    }

    fn record(&mut self, sweep: usize, change: StateChange) {
        let row = self.catalogue.get_mut(&sweep).unwrap();
        assert!(!row.state.is_final(), "sweep {sweep} has ended and changes: {change:?}");
        match change {
            StateChange::Started => row.state = SweepState::Running,
            StateChange::Writing => row.state = SweepState::Writing,
            StateChange::Ended(ending) => {
                row.state = ending.state;
                row.ending = Some(ending);
                row.ended_ms = self.now_ms;
            }
        }
    }

    /// Every sweep of the scenario was submitted and has ended.
    pub(crate) fn is_over(&self) -> bool {
        let is_over = |sweep| self.catalogue.get(&sweep).is_some_and(|row| row.state.is_final());
        let is_due = |plan: &super::Plan| plan.again_ms.is_none_or(|at_ms| at_ms < self.now_ms);
        !self.is_down
            && (0..self.scenario.sweeps.len()).all(is_over)
            && self.scenario.sweeps.iter().all(is_due)
    }
}
