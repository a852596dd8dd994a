//! What the driver costs per unit: every unit is reported, every job ends, nothing fails. `cargo bench -p polybolos-scheduler --bench driver`.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops where it cannot go on"
)]

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use polybolos_scheduler::driver::{
    Action, Driver, DriverConfig, Event, JobId, JobOutcome, SweepId, UnitOutcome,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

struct Case {
    name: &'static str,
    slots: u32,
    sweeps: u64,
    owners: u64,
    units_per_sweep: u64,
}

const CASES: [Case; 4] = [
    Case {
        name: "10,000 units, 200 slots, 1 sweep",
        slots: 200,
        sweeps: 1,
        owners: 1,
        units_per_sweep: 10_000,
    },
    Case {
        name: "10^6 units, 1,000 x 16 slots, 1 sweep",
        slots: 16_000,
        sweeps: 1,
        owners: 1,
        units_per_sweep: 1_000_000,
    },
    Case {
        name: "10^6 units, 1,000 x 16 slots, 20 sweeps",
        slots: 16_000,
        sweeps: 20,
        owners: 5,
        units_per_sweep: 50_000,
    },
    Case {
        name: "10^6 units, 1,000 x 16 slots, 400 sweeps",
        slots: 16_000,
        sweeps: 400,
        owners: 40,
        units_per_sweep: 2_500,
    },
];

/// A unit that has a slot.
struct Running {
    job: JobId,
    sweep: SweepId,
    unit: u64,
}

/// A cluster without trouble: units end in no order, jobs are served in order.
struct Cluster {
    driver: Driver,
    chance: ChaCha8Rng,
    now_ms: u64,
    events: u64,
    driver_ns: u128,
    answers: VecDeque<Event>,
    waiting: VecDeque<Running>,
    running: Vec<Running>,
    jobs: BTreeMap<JobId, (u64, Vec<u64>)>,
    in_memory_max: u64,
}

impl Cluster {
    fn tell(&mut self, event: Event) {
        let started = Instant::now();
        let actions = self.driver.handle(self.now_ms, event);
        self.driver_ns += started.elapsed().as_nanos();
        self.events += 1;
        for action in actions {
            match action {
                Action::Examine { ask, sweep, range } => {
                    self.answers.push_back(Event::Examined { sweep, ask, missing: range.collect() });
                }
                Action::SubmitJob { job, sweep, units } => {
                    let running = |&unit| Running { job, sweep: sweep.clone(), unit };
                    self.waiting.extend(units.iter().map(running));
                    self.jobs.insert(job, (units.len() as u64, units));
                }
                Action::Merge { sweep } => self.answers.push_back(Event::Merged { sweep }),
                Action::CancelJob { .. } | Action::Record { .. } => {}
            }
        }
    }

    fn end_a_unit(&mut self, slots: usize) {
        while self.running.len() < slots
            && let Some(next) = self.waiting.pop_front()
        {
            self.running.push(next);
        }
        let which = self.chance.next_u64() as usize % self.running.len();
        let Running { job, sweep, unit } = self.running.swap_remove(which);
        self.now_ms += 1;
        self.tell(Event::UnitReported { sweep, unit, outcome: UnitOutcome::Computed });
        let (open, _) = self.jobs.get_mut(&job).expect("its job has not ended");
        *open -= 1;
        if *open == 0 {
            let (_, present) = self.jobs.remove(&job).expect("it was there");
            self.tell(Event::JobEnded { job, outcome: JobOutcome::Succeeded, present });
            self.in_memory_max = self.in_memory_max.max(self.driver.units_in_memory());
        }
    }
}

fn main() {
    println!(
        "{:<42} {:>12} {:>12} {:>14} {:>10}",
        "", "ns per unit", "ns per event", "events per s", "held max"
    );
    for case in CASES {
        let config = DriverConfig { owner_sweeps_max: 1_000, ..DriverConfig::default() };
        let mut cluster = Cluster {
            driver: Driver::new(config).expect("the settings are sound"),
            chance: ChaCha8Rng::seed_from_u64(1),
            now_ms: 0,
            events: 0,
            driver_ns: 0,
            answers: VecDeque::new(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            jobs: BTreeMap::new(),
            in_memory_max: 0,
        };
        cluster.tell(Event::Slots(case.slots));
        for sweep in 0..case.sweeps {
            let owner = format!("owner-{}", sweep % case.owners);
            let sweep = SweepId::new(&format!("sweep-{sweep:04}"));
            cluster.tell(Event::Submitted { sweep, owner, units: case.units_per_sweep, resume: false });
        }
        while !cluster.driver.is_idle() {
            match cluster.answers.pop_front() {
                Some(answer) => cluster.tell(answer),
                None => cluster.end_a_unit(case.slots as usize),
            }
        }
        let units = case.sweeps * case.units_per_sweep;
        let ns = cluster.driver_ns as f64;
        let per_event = ns / cluster.events as f64;
        let held = cluster.in_memory_max;
        println!(
            "{:<42} {:>12.0} {:>12.0} {:>14.0} {:>10}",
            case.name,
            ns / units as f64,
            per_event,
            1e9 / per_event,
            held
        );
    }
}
