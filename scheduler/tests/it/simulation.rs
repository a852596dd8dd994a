//! A simulated cluster: clients, store, catalogue, executors with slots, and jobs as Ballista runs them, under one seed and one clock.
//! Whatever may go wrong with them does, as often as the scenario says.

mod ballista;
mod world;

pub(crate) use world::World;

use std::collections::{BTreeMap, BTreeSet};

use polybolos_scheduler::driver::DriverConfig;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Seeded chance.
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(ChaCha8Rng::seed_from_u64(seed))
    }

    /// From `low` up to and with `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.next_u64() % (high - low + 1)
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.between(1, 100) <= percent
    }
}

/// What a unit does when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Fails with a transient error so many times, then finishes.
    Flaky(u32),
    /// Fails with a transient error always.
    Unlucky,
    /// Cannot be done and says so.
    Permanent,
    /// Its task fails in a way that fails the whole job, without a word about the unit.
    KillsJob,
    /// Ends its executor's process.
    KillsExecutor,
    /// Is reported finished, but its object is not in the store.
    Vanishes,
}

impl Behaviour {
    /// The unit can never be done.
    pub(crate) fn is_poison(self) -> bool {
        !matches!(self, Behaviour::Flaky(_))
    }
}

/// A sweep to be submitted. Sweep `i` of a scenario has the id `sweep-i`.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) owner: String,
    pub(crate) units: u64,
    pub(crate) submit_ms: u64,
    pub(crate) cancel_ms: Option<u64>,
    /// Submitted a second time then, whatever became of the first.
    pub(crate) again_ms: Option<u64>,
}

impl Plan {
    pub(crate) fn new(owner: &str, units: u64, submit_ms: u64) -> Plan {
        Plan { owner: owner.to_owned(), units, submit_ms, cancel_ms: None, again_ms: None }
    }
}

/// What the world does.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) config: DriverConfig,
    pub(crate) sweeps: Vec<Plan>,
    /// Slots of each executor.
    pub(crate) executors: Vec<u32>,
    pub(crate) unit_ms: (u64, u64),
    pub(crate) behaviours: BTreeMap<(usize, u64), Behaviour>,
    /// Objects that are in the store from the start.
    pub(crate) stored: BTreeSet<(usize, u64)>,
    /// Ballista serves its jobs in an order of its own instead of the oldest first.
    pub(crate) jobs_in_any_order: bool,
    /// Percent of reports that never arrive; that arrive twice.
    pub(crate) reports_lost: u64,
    pub(crate) reports_doubled: u64,
    /// The latest a report arrives.
    pub(crate) report_delay_ms: u64,
    /// Percent of look-ups, submissions and merges that fail before `healthy_ms`.
    pub(crate) refusals: u64,
    pub(crate) healthy_ms: u64,
    pub(crate) deaths_ms: Vec<u64>,
    pub(crate) job_failures_ms: Vec<u64>,
    pub(crate) crashes_ms: Vec<u64>,
    /// All executors die, and come back after so long.
    pub(crate) outage_ms: Option<(u64, u64)>,
}

impl Scenario {
    /// A world without mishaps.
    pub(crate) fn calm(seed: u64, executors: Vec<u32>, unit_ms: (u64, u64), sweeps: Vec<Plan>) -> Scenario {
        Scenario {
            seed,
            config: DriverConfig::default(),
            sweeps,
            executors,
            unit_ms,
            behaviours: BTreeMap::new(),
            stored: BTreeSet::new(),
            jobs_in_any_order: false,
            reports_lost: 0,
            reports_doubled: 0,
            report_delay_ms: 500,
            refusals: 0,
            healthy_ms: 0,
            deaths_ms: Vec::new(),
            job_failures_ms: Vec::new(),
            crashes_ms: Vec::new(),
            outage_ms: None,
        }
    }

    /// Units of a sweep that can never be done.
    pub(crate) fn poison(&self, sweep: usize) -> Vec<u64> {
        let of = |(&(s, unit), behaviour): (&(usize, u64), &Behaviour)| {
            (s == sweep && behaviour.is_poison()).then_some(unit)
        };
        self.behaviours.iter().filter_map(of).collect()
    }
}
