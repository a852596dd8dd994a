//! What the driver asks for, step by step, and what it tells people.

use std::collections::VecDeque;

use polybolos_scheduler::driver::{
    Action, AskId, Driver, DriverConfig, Ending, Event, JobId, JobOutcome, StateChange, SweepId, SweepState,
    SweepStatus, UnitFailure, UnitOutcome,
};
use proptest::prelude::*;

fn id() -> SweepId {
    SweepId::new("sma-1")
}

/// A driver, and what it asked for last.
struct Desk {
    driver: Driver,
    now_ms: u64,
    actions: Vec<Action>,
}

impl Desk {
    /// A sweep that was submitted to a cluster with so many slots.
    fn new(units: u64, slots: u32) -> Desk {
        let config = DriverConfig { failed_units_max: 5, ..DriverConfig::default() };
        let mut desk = Desk { driver: Driver::new(config).unwrap(), now_ms: 0, actions: Vec::new() };
        desk.tell(Event::Slots(slots));
        desk.tell(Event::Submitted { sweep: id(), owner: "ada".to_owned(), units, resume: false });
        desk
    }

    /// The same, with every unit found missing.
    fn missing(units: u64, slots: u32) -> Desk {
        let mut desk = Desk::new(units, slots);
        desk.examined(&(0..units).collect::<Vec<_>>());
        desk
    }

    fn tell(&mut self, event: Event) {
        self.actions = self.driver.handle(self.now_ms, event);
    }

    fn examined(&mut self, missing: &[u64]) {
        let (ask, _) = self.asked().expect("a look into the store");
        self.tell(Event::Examined { sweep: id(), ask, missing: missing.to_vec() });
    }

    fn asked(&self) -> Option<(AskId, std::ops::Range<u64>)> {
        self.actions.iter().find_map(|action| match action {
            Action::Examine { ask, range, .. } => Some((*ask, range.clone())),
            _ => None,
        })
    }

    fn jobs(&self) -> Vec<(JobId, Vec<u64>)> {
        let job = |action: &Action| match action {
            Action::SubmitJob { job, units, .. } => Some((*job, units.clone())),
            _ => None,
        };
        self.actions.iter().filter_map(job).collect()
    }

    fn only_job(&self) -> (JobId, Vec<u64>) {
        let jobs = self.jobs();
        assert_eq!(jobs.len(), 1, "{:?}", self.actions);
        jobs.into_iter().next().unwrap()
    }

    fn report(&mut self, unit: u64, outcome: UnitOutcome) {
        self.tell(Event::UnitReported { sweep: id(), unit, outcome });
    }

    fn end_job(&mut self, job: JobId, outcome: JobOutcome, present: &[u64]) {
        self.tell(Event::JobEnded { job, outcome, present: present.to_vec() });
    }

    /// Lets time pass up to the next thing due, which is returned.
    fn wait(&mut self) -> u64 {
        let wake_ms = self.driver.wake_ms().expect("something is due");
        let waited_ms = wake_ms - self.now_ms;
        self.now_ms = wake_ms;
        self.tell(Event::Tick);
        waited_ms
    }

    fn status(&self) -> SweepStatus {
        self.driver.status(&id()).unwrap()
    }

    /// Finished, found finished, failed, in flight.
    fn counts(&self) -> (u64, u64, u64, u64) {
        let status = self.status();
        (status.units_done, status.units_reused, status.units_failed, status.units_in_flight)
    }

    fn ending(&self) -> Ending {
        let ending = |action: &Action| match action {
            Action::Record { change: StateChange::Ended(ending), .. } => Some(ending.clone()),
            _ => None,
        };
        self.actions.iter().find_map(ending).unwrap_or_else(|| panic!("no end: {:?}", self.actions))
    }
}

fn recorded(change: StateChange) -> Action {
    Action::Record { sweep: id(), change }
}

#[test]
fn a_sweep_goes_from_submission_to_completion() {
    let mut desk = Desk::new(5, 200);
    assert_eq!(desk.actions[0], recorded(StateChange::Started));
    assert_eq!(desk.asked().unwrap().1, 0..5);
    assert_eq!(desk.actions.len(), 2);
    desk.examined(&[1, 2, 4]);
    let (job, units) = desk.only_job();
    assert_eq!(units, [1, 2, 4]);
    assert_eq!(desk.counts(), (2, 2, 0, 3));
    desk.report(1, UnitOutcome::Computed);
    desk.report(1, UnitOutcome::Computed);
    desk.report(2, UnitOutcome::Reused);
    assert_eq!(desk.counts(), (4, 3, 0, 1));
    desk.end_job(job, JobOutcome::Succeeded, &[1, 2, 4]);
    assert_eq!(desk.actions, [recorded(StateChange::Writing), Action::Merge { sweep: id() }]);
    assert_eq!((desk.status().state, desk.counts()), (SweepState::Writing, (5, 3, 0, 0)));
    desk.tell(Event::Merged { sweep: id() });
    let ending = desk.ending();
    assert_eq!((ending.state, ending.units_done, ending.units_reused), (SweepState::Complete, 5, 3));
    assert!(desk.driver.is_idle() && desk.driver.wake_ms().is_none());
}

#[test]
fn units_found_finished_need_no_executor() {
    let mut desk = Desk::new(4_500, 0);
    for range in [0..2_000, 2_000..4_000, 4_000..4_500] {
        assert_eq!(desk.asked().unwrap().1, range);
        desk.examined(&[]);
    }
    assert_eq!(desk.actions, [recorded(StateChange::Writing), Action::Merge { sweep: id() }]);
}

#[test]
fn the_store_decides_over_reports() {
    let mut desk = Desk::missing(2, 8);
    let (job, _) = desk.only_job();
    desk.report(0, UnitOutcome::Permanent("no such column".to_owned()));
    desk.report(1, UnitOutcome::Computed);
    assert_eq!(desk.counts(), (1, 0, 1, 0));
    desk.end_job(job, JobOutcome::Succeeded, &[0]);
    assert_eq!(desk.counts(), (1, 0, 0, 0), "unit 0 is there, unit 1 is not");
    let message = desk.status().message;
    assert!(message.contains("do scheduler and executors use the same results root?"), "{message}");
}

#[test]
fn a_permanent_failure_is_final_and_the_rest_is_finished_first() {
    let mut desk = Desk::missing(300, 200);
    let jobs = desk.jobs();
    desk.report(7, UnitOutcome::Permanent("no such column".to_owned()));
    let present: Vec<u64> = (0..200).filter(|&unit| unit != 7).collect();
    desk.end_job(jobs[0].0, JobOutcome::Succeeded, &present);
    assert_eq!(desk.counts(), (199, 0, 1, 100));
    assert_eq!(desk.status().message, "1 of 300 units failed, the others are finished first: no such column");
    desk.end_job(jobs[1].0, JobOutcome::Succeeded, &(200..300).collect::<Vec<_>>());
    let ending = desk.ending();
    assert_eq!((ending.state, ending.units_done, ending.units_failed), (SweepState::Failed, 299, 1));
    assert_eq!(ending.failures, [UnitFailure { unit: 7, attempts: 1, reason: "no such column".to_owned() }]);
    assert_eq!(ending.message, "1 of 300 units failed, the others are kept: no such column");
}

#[test]
fn a_unit_named_by_reports_has_four_attempts_with_growing_waits() {
    let mut desk = Desk::missing(10, 8);
    let (mut job, mut units) = desk.jobs()[0].clone();
    let mut waits = Vec::new();
    for attempt in 1..=4 {
        // Ballista's own attempts within one job are one.
        for _ in 0..4 {
            desk.report(0, UnitOutcome::Transient("connection reset".to_owned()));
        }
        units.retain(|&unit| unit != 0);
        desk.end_job(job, JobOutcome::Failed("task 0 failed 4 times".to_owned()), &units);
        if attempt < 4 {
            assert_eq!(desk.counts().2, 0, "attempt {attempt}");
            waits.push(desk.wait());
            (job, units) = desk.only_job();
            assert_eq!(units, [0]);
        }
    }
    assert_eq!(waits, [1_000, 2_000, 4_000]);
    let failures = desk.status().failures;
    assert_eq!(failures, [UnitFailure { unit: 0, attempts: 4, reason: "connection reset".to_owned() }]);
}

/// Unit 300 of 512 ends every job it is in, and no report ever arrives.
#[test]
fn a_unit_that_ends_its_jobs_is_found_by_halving() {
    let mut desk = Desk::missing(512, 512);
    let mut jobs = desk.jobs();
    let mut bad_jobs = 0;
    loop {
        let Some((job, units)) = jobs.pop() else {
            if desk.driver.is_idle() {
                break;
            }
            desk.wait();
            jobs.extend(desk.jobs());
            continue;
        };
        if units.contains(&300) {
            bad_jobs += 1;
            desk.end_job(job, JobOutcome::Failed("a task panicked".to_owned()), &[]);
        } else {
            desk.end_job(job, JobOutcome::Succeeded, &units);
        }
        jobs.extend(desk.jobs());
    }
    let ending = desk.ending();
    assert_eq!((ending.state, ending.units_done), (SweepState::Failed, 511));
    assert_eq!(
        ending.failures,
        [UnitFailure { unit: 300, attempts: 4, reason: "a task panicked".to_owned() }]
    );
    assert!(bad_jobs <= 9 + 4, "{bad_jobs} jobs were lost to it");
}

#[test]
fn one_death_is_the_machines_and_two_are_suspicious() {
    let mut desk = Desk::missing(8, 8);
    let (job, _) = desk.only_job();
    let held = |units: &[u64]| Event::ExecutorLost { held: units.iter().map(|&unit| (id(), unit)).collect() };
    desk.tell(held(&[0, 1, 2, 3]));
    assert_eq!(desk.actions, [], "Ballista runs them again");
    desk.report(1, UnitOutcome::Computed);
    desk.tell(held(&[1, 2, 3, 4]));
    assert_eq!(desk.actions, [Action::CancelJob { job }]);
    desk.tell(held(&[2, 3]));
    assert_eq!(desk.actions, [], "it is being cancelled");
    desk.end_job(job, JobOutcome::Failed("cancelled".to_owned()), &[1]);
    // 2 and 3 died twice and are set apart; the others go on at once.
    assert_eq!(desk.only_job().1, [0, 4, 5, 6, 7]);
    let message = desk.status().message;
    let expected =
        "looking for the unit that ends its jobs (2 left to try apart): its executor vanished while it ran";
    assert_eq!(message, expected);
    desk.end_job(desk.only_job().0, JobOutcome::Succeeded, &[0, 4, 5, 6, 7]);
    desk.wait();
    let (group, units) = desk.only_job();
    assert_eq!(units, [2, 3]);
    desk.tell(held(&[2, 3]));
    assert_eq!(desk.actions, [Action::CancelJob { job: group }]);
    desk.end_job(group, JobOutcome::Lost, &[]);
    desk.wait();
    let (lone, units) = desk.only_job();
    assert_eq!(units, [2], "one at a time");
    desk.end_job(lone, JobOutcome::Succeeded, &[2]);
    assert_eq!(desk.only_job().1, [3]);
}

#[test]
fn a_suspect_runs_apart_from_everything_it_could_harm_or_be_harmed_by() {
    let mut desk = Desk::missing(6, 4);
    let jobs = desk.jobs();
    assert_eq!(jobs.iter().map(|(_, units)| units.len()).collect::<Vec<_>>(), [4, 2]);
    desk.tell(Event::ExecutorLost { held: vec![(id(), 4)] });
    desk.tell(Event::ExecutorLost { held: vec![(id(), 4)] });
    desk.end_job(jobs[1].0, JobOutcome::Lost, &[5]);
    desk.wait();
    assert_eq!(desk.jobs(), [], "the first job is still running");

    // Another sweep gets a suspect of its own meanwhile.
    let other = SweepId::new("other");
    desk.tell(Event::Submitted { sweep: other.clone(), owner: "ben".to_owned(), units: 1, resume: false });
    let (ask, _) = desk.asked().unwrap();
    desk.tell(Event::Examined { sweep: other.clone(), ask, missing: vec![0] });
    let (job, _) = desk.only_job();
    desk.end_job(job, JobOutcome::Lost, &[]);

    desk.end_job(jobs[0].0, JobOutcome::Succeeded, &[0, 1, 2, 3]);
    let (lone, units) = desk.only_job();
    assert_eq!(units, [4]);
    desk.wait();
    assert_eq!(desk.jobs(), [], "one suspect at a time, whosever it is");
    desk.tell(Event::ExecutorLost { held: vec![(id(), 4), (other.clone(), 0)] });
    desk.end_job(lone, JobOutcome::Lost, &[]);
    assert_eq!(desk.only_job().1, [0], "the other's turn");
}

/// Units that each of two owners gets out of 1,000 after a time in which only one of them had something to run: the second one's store is
/// slow, or it comes while a refused job makes the first one wait.
#[test]
fn nobody_saves_up_turns_while_having_nothing_to_run() {
    for is_refused in [false, true] {
        let mut driver = Driver::new(DriverConfig::default()).unwrap();
        driver.handle(0, Event::Slots(10));
        let (busy, late) = (SweepId::new("busy"), SweepId::new("late"));
        let submit = |sweep: &SweepId, owner: &str| {
            let (sweep, owner) = (sweep.clone(), owner.to_owned());
            Event::Submitted { sweep, owner, units: 1_000_000, resume: false }
        };
        let mut events = VecDeque::from([submit(&busy, "ada")]);
        if !is_refused {
            events.push_back(submit(&late, "ben"));
        }
        let (mut jobs, mut submitted, mut slow) = (VecDeque::<(JobId, Vec<u64>)>::new(), Vec::new(), None);
        for step in 0..5_000 {
            if step == 2_000 && is_refused {
                let (job, _) = jobs.pop_back().unwrap();
                events.extend([Event::JobRefused { job, reason: String::new() }, submit(&late, "ben")]);
            } else if step == 3_500 {
                events.extend(slow.take());
                submitted.clear();
            }
            let event = events.pop_front().unwrap_or_else(|| {
                let (job, units) = jobs.pop_front().expect("there is always a job");
                Event::JobEnded { job, outcome: JobOutcome::Succeeded, present: units }
            });
            for action in driver.handle(step, event) {
                match action {
                    Action::Examine { ask, sweep, range } => {
                        let is_slow = sweep == late && !is_refused && step < 3_500;
                        let answer = Event::Examined { sweep, ask, missing: range.collect() };
                        if is_slow { slow = Some(answer) } else { events.push_back(answer) }
                    }
                    Action::SubmitJob { job, sweep, units } => {
                        submitted.extend(units.iter().map(|_| sweep == busy));
                        jobs.push_back((job, units));
                    }
                    _ => {}
                }
            }
        }
        let busy_units = submitted[..1_000].iter().filter(|&&is_busy| is_busy).count();
        assert!((450..=550).contains(&busy_units), "refused {is_refused}: {busy_units} of 1,000 units");
    }
}

#[test]
fn without_executors_nothing_is_submitted_and_nothing_is_counted() {
    let mut desk = Desk::missing(1, 0);
    assert_eq!(desk.actions, []);
    assert_eq!(desk.status().message, "waiting for executors: none is connected");
    desk.tell(Event::Slots(1));
    for _ in 0..10 {
        let (job, _) = desk.only_job();
        desk.tell(Event::Slots(0));
        desk.end_job(job, JobOutcome::Failed("no executors".to_owned()), &[]);
        assert_eq!(desk.jobs(), []);
        desk.now_ms += 5_000;
        desk.tell(Event::Slots(1));
    }
    desk.end_job(desk.only_job().0, JobOutcome::Succeeded, &[0]);
    assert_eq!(desk.status().state, SweepState::Writing);
}

#[test]
fn room_under_a_quota_is_used_as_soon_as_units_are_reported() {
    let config = DriverConfig { owner_in_flight_max: Some(4), ..DriverConfig::default() };
    let mut desk = Desk { driver: Driver::new(config).unwrap(), now_ms: 0, actions: Vec::new() };
    desk.tell(Event::Slots(100));
    desk.tell(Event::Submitted { sweep: id(), owner: "ada".to_owned(), units: 9, resume: false });
    desk.examined(&(0..9).collect::<Vec<_>>());
    assert_eq!(desk.jobs().into_iter().map(|(_, units)| units).collect::<Vec<_>>(), [[0, 1], [2, 3]]);
    desk.report(0, UnitOutcome::Computed);
    assert_eq!(desk.jobs(), []);
    desk.report(2, UnitOutcome::Computed);
    assert_eq!(desk.only_job().1, [4, 5]);
}

#[test]
fn room_made_by_reports_is_filled_before_the_jobs_end() {
    let mut desk = Desk::missing(100, 10);
    let jobs = desk.jobs();
    assert_eq!(jobs.iter().map(|(_, units)| units.len()).collect::<Vec<_>>(), [10, 10, 10]);
    for unit in [0, 21, 2, 23, 4, 25, 6, 27, 8] {
        desk.report(unit, UnitOutcome::Computed);
        assert_eq!(desk.jobs(), [], "unit {unit}");
    }
    desk.report(29, UnitOutcome::Computed);
    assert_eq!(desk.only_job().1, (30..40).collect::<Vec<_>>());
}

#[test]
fn jobs_that_never_end_do_not_pile_up() {
    let mut desk = Desk::missing(1_000, 4);
    let mut jobs = VecDeque::from(desk.jobs());
    let mut submitted = 0;
    while let Some((_, units)) = jobs.pop_front() {
        submitted += units.len();
        for unit in units {
            desk.report(unit, UnitOutcome::Computed);
            jobs.extend(desk.jobs());
        }
    }
    assert_eq!(submitted, 2 * 3 * 4, "twice what may be in flight");
    assert_eq!(desk.counts(), (submitted as u64, 0, 0, 0));
}

#[test]
fn reasons_and_failures_are_kept_short() {
    let config = DriverConfig { failures_kept: 3, ..DriverConfig::default() };
    let mut desk = Desk { driver: Driver::new(config).unwrap(), now_ms: 0, actions: Vec::new() };
    desk.tell(Event::Slots(10));
    desk.tell(Event::Submitted { sweep: id(), owner: "ada".to_owned(), units: 10, resume: false });
    desk.examined(&(0..10).collect::<Vec<_>>());
    let (job, _) = desk.only_job();
    for unit in (0..10).rev() {
        desk.report(unit, UnitOutcome::Permanent("é".repeat(1_000)));
    }
    desk.end_job(job, JobOutcome::Succeeded, &[]);
    let ending = desk.ending();
    assert_eq!(ending.units_failed, 10);
    assert_eq!(ending.failures.iter().map(|failure| failure.unit).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(ending.failures.iter().all(|failure| failure.reason == "é".repeat(500)));
}

#[test]
fn refusals_are_waited_out_and_explained() {
    let mut desk = Desk::missing(3, 4);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let (job, units) = desk.only_job();
        assert_eq!(units, [0, 1, 2]);
        desk.tell(Event::JobRefused { job, reason: "the queue is full".to_owned() });
        let message = desk.status().message;
        assert!(
            message.starts_with("the cluster did not take a job: the queue is full; next attempt in "),
            "{message}"
        );
        waits.push(desk.wait() / 1_000);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);

    let mut desk = Desk::new(3, 4);
    let (ask, _) = desk.asked().unwrap();
    desk.tell(Event::ExamineFailed { sweep: id(), ask, reason: "permission denied".to_owned() });
    let message = desk.status().message;
    assert_eq!(message, "the store of finished units cannot be read: permission denied; next attempt in 1 s");
    desk.tell(Event::Examined { sweep: id(), ask, missing: vec![] });
    assert_eq!(desk.counts().0, 0, "the question was answered before");
    assert_eq!(desk.wait(), 1_000);
    desk.examined(&[]);
    assert_eq!(desk.status().state, SweepState::Writing);
}

#[test]
fn result_files_are_tried_four_times_and_the_store_is_looked_through_before_each() {
    let failed =
        |is_transient| Event::MergeFailed { sweep: id(), reason: "disk full".to_owned(), is_transient };
    let mut desk = Desk::new(3, 4);
    for (attempt, wait_ms) in [1_000, 2_000, 4_000].into_iter().enumerate() {
        desk.examined(&[]);
        assert_eq!(desk.actions.last(), Some(&Action::Merge { sweep: id() }));
        desk.tell(failed(true));
        assert_eq!(desk.wait(), wait_ms, "attempt {attempt}");
    }
    // In the meantime a unit was deleted.
    desk.examined(&[1]);
    desk.end_job(desk.only_job().0, JobOutcome::Succeeded, &[1]);
    desk.tell(failed(true));
    assert_eq!(desk.ending().message, "the result files cannot be written: disk full");
    assert_eq!((desk.ending().state, desk.ending().units_done), (SweepState::Failed, 3));

    let mut desk = Desk::new(0, 4);
    desk.tell(failed(false));
    assert_eq!(desk.ending().state, SweepState::Failed);
}

#[test]
fn a_fault_that_is_not_the_units_ends_the_sweep_early() {
    let mut desk = Desk::missing(100, 10);
    let jobs = desk.jobs();
    for unit in 0..6 {
        desk.report(unit, UnitOutcome::Permanent("bad bars".to_owned()));
    }
    desk.end_job(jobs[0].0, JobOutcome::Succeeded, &[6, 7, 8, 9]);
    assert!(desk.actions.contains(&Action::CancelJob { job: jobs[1].0 }));
    let ending = desk.ending();
    assert_eq!((ending.state, ending.units_done, ending.units_failed), (SweepState::Failed, 4, 6));
    let message = "6 of 100 units failed, too many to go on; what is finished is kept: bad bars";
    assert_eq!(ending.message, message);
    assert!(desk.driver.is_idle());
}

#[test]
fn a_sweep_can_be_cancelled_at_any_time_and_submitted_again() {
    type Step = fn(&mut Desk);
    let steps: [Step; 4] = [
        |_| {},
        |desk| desk.examined(&[0, 1, 2]),
        |desk| desk.examined(&[]),
        |desk| {
            desk.examined(&[2]);
            desk.tell(Event::JobRefused { job: desk.only_job().0, reason: String::new() });
        },
    ];
    for (case, step) in steps.into_iter().enumerate() {
        let mut desk = Desk::new(3, 8);
        step(&mut desk);
        let jobs = desk.jobs();
        desk.tell(Event::CancelAsked { sweep: id() });
        for (job, _) in jobs {
            assert!(desk.actions.contains(&Action::CancelJob { job }), "case {case}");
        }
        assert_eq!(desk.ending().state, SweepState::Cancelled, "case {case}");
        desk.tell(Event::CancelAsked { sweep: id() });
        assert_eq!(desk.actions, [], "case {case}");
        assert!(desk.driver.is_idle(), "case {case}");
        desk.tell(Event::Submitted { sweep: id(), owner: "ada".to_owned(), units: 3, resume: false });
        desk.examined(&[]);
        assert_eq!(desk.counts(), (3, 3, 0, 0), "case {case}");
    }
}

#[test]
fn events_of_the_unknown_and_the_past_change_nothing() {
    let mut desk = Desk::missing(3, 8);
    let (job, _) = desk.only_job();
    desk.end_job(job, JobOutcome::Succeeded, &[0, 1, 2]);
    let before = desk.status();
    let other = SweepId::new("other");
    let reset = UnitOutcome::Transient("reset".to_owned());
    let events = [
        Event::Submitted { sweep: id(), owner: "eve".to_owned(), units: 9, resume: true },
        Event::JobEnded { job, outcome: JobOutcome::Lost, present: vec![] },
        Event::JobRefused { job, reason: String::new() },
        Event::UnitReported { sweep: id(), unit: 1, outcome: UnitOutcome::Permanent(String::new()) },
        Event::UnitReported { sweep: id(), unit: u64::MAX, outcome: UnitOutcome::Computed },
        Event::UnitReported { sweep: other.clone(), unit: 0, outcome: reset },
        Event::ExecutorLost { held: vec![(id(), 0), (other.clone(), 0), (id(), 77)] },
        Event::CancelAsked { sweep: other.clone() },
        Event::Merged { sweep: other.clone() },
        Event::MergeFailed { sweep: other, reason: String::new(), is_transient: true },
        Event::Tick,
        Event::Slots(8),
    ];
    for event in events {
        desk.tell(event.clone());
        assert_eq!(desk.actions, [], "{event:?}");
        assert_eq!(desk.status(), before, "{event:?}");
    }
}

#[test]
fn settings_that_would_hang_are_refused() {
    let broken = [
        DriverConfig { in_flight_factor: 0, ..DriverConfig::default() },
        DriverConfig { window_units: 0, ..DriverConfig::default() },
        DriverConfig { owner_in_flight_max: Some(0), ..DriverConfig::default() },
    ];
    for config in broken {
        let error = Driver::new(config.clone()).unwrap_err();
        assert!(format!("{config:?}").contains(&format!("{}: ", error.setting)), "{error}");
        assert!(error.to_string().ends_with("is 0 and must be at least 1"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Nonsense in any order does no harm: answers nobody waits for, ends of jobs with units of others, clocks that run back.
    #[test]
    fn no_sequence_of_events_breaks_it(steps in prop::collection::vec((0_u64..12, 0_u64..8, 0_u64..5_000), 1..200)) {
        let mut driver = Driver::new(DriverConfig { window_units: 3, ..DriverConfig::default() }).unwrap();
        let (mut asks, mut jobs, mut bound) = (Vec::new(), Vec::new(), 0);
        for (kind, number, now_ms) in steps {
            let sweep = SweepId::new(if number % 2 == 0 { "a" } else { "b" });
            let text = || "reason".to_owned();
            let pick = |len: usize| number as usize % len.max(1);
            let ask = asks.get(pick(asks.len())).copied();
            let job = jobs.get(pick(jobs.len())).copied();
            let event = match (kind, ask, job) {
                (0, ..) => Event::Submitted { sweep, owner: text(), units: number, resume: false },
                (1, Some(ask), _) => Event::Examined { sweep, ask, missing: vec![number, 0, 3, 3, 1] },
                (2, Some(ask), _) => Event::ExamineFailed { sweep, ask, reason: text() },
                (3, ..) => Event::Slots(number as u32),
                (4, ..) => Event::UnitReported { sweep, unit: number, outcome: UnitOutcome::Computed },
                (5, ..) => Event::UnitReported { sweep, unit: number, outcome: UnitOutcome::Permanent(text()) },
                (6, ..) => Event::ExecutorLost { held: (0..8).map(|unit| (sweep.clone(), unit)).collect() },
                (7, _, Some(job)) => Event::JobRefused { job, reason: text() },
                (8, _, Some(job)) => Event::JobEnded { job, outcome: JobOutcome::Lost, present: vec![9, number, 1] },
                (9, _, Some(job)) => Event::JobEnded { job, outcome: JobOutcome::Succeeded, present: (0..8).collect() },
                (10, ..) => Event::CancelAsked { sweep },
                (11, ..) => Event::MergeFailed { sweep, reason: text(), is_transient: number < 4 },
                _ => Event::Tick,
            };
            if let Event::Slots(slots) = event {
                bound = u64::from(slots) * 3;
            }
            let before = driver.units_in_flight();
            for action in driver.handle(now_ms, event) {
                match action {
                    Action::Examine { ask, .. } => asks.push(ask),
                    Action::SubmitJob { job, .. } => jobs.push(job),
                    _ => {}
                }
            }
            prop_assert!(driver.units_in_flight() <= bound.max(before));
            for sweep in driver.sweeps() {
                let status = driver.status(sweep).unwrap();
                prop_assert!(status.units_done + status.units_failed <= status.units_total, "{:?}", status);
                prop_assert!(status.units_reused <= status.units_done, "{:?}", status);
            }
        }
    }
}
