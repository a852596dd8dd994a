//! Thousands of seeded worlds in which everything goes wrong, and what must hold nevertheless.

use std::collections::BTreeMap;

use polybolos_scheduler::driver::{DriverConfig, SweepState};

use crate::simulation::{Behaviour, Chance, Plan, Scenario, World};

/// From here on no new mishaps; units that cannot be done stay so.
const HEALTHY_MS: u64 = 60_000;
/// Every sweep has ended by then: four attempts with their waits, of each of a few bad units one after another.
const END_MS: u64 = HEALTHY_MS + 3_600_000;

const OWNERS: [&str; 3] = ["ada", "ben", "eve"];
const BEHAVIOURS: [Behaviour; 6] = [
    Behaviour::Flaky(1),
    Behaviour::Unlucky,
    Behaviour::Permanent,
    Behaviour::KillsJob,
    Behaviour::KillsExecutor,
    Behaviour::Vanishes,
];

/// A world by its seed. Mishaps that can be blamed on a unit stay below the number of attempts when `is_gentle`, so that who fails is certain.
fn scenario(seed: u64, is_gentle: bool) -> Scenario {
    let mut chance = Chance::new(seed ^ 0x5eed);
    let mut sweeps = Vec::new();
    let mut behaviours = BTreeMap::new();
    let mut stored = std::collections::BTreeSet::new();
    for sweep in 0..chance.between(1, 4) as usize {
        let units = if chance.percent(10) { chance.between(0, 2) } else { chance.between(1, 80) };
        let owner = OWNERS[chance.between(0, 2) as usize];
        let mut plan = Plan::new(owner, units, chance.between(0, 20_000));
        if chance.percent(20) {
            plan.cancel_ms = Some(chance.between(0, 40_000));
            plan.again_ms = chance.percent(60).then(|| chance.between(0, 50_000));
        }
        sweeps.push(plan);
        if units > 0 && chance.percent(50) {
            for _ in 0..chance.between(1, 3) {
                let unit = chance.between(0, units - 1);
                behaviours.insert((sweep, unit), BEHAVIOURS[chance.between(0, 5) as usize]);
            }
        }
        if chance.percent(30) {
            let done = |unit: &u64| !behaviours.contains_key(&(sweep, *unit));
            stored.extend((0..units).filter(done).filter(|_| chance.percent(50)).map(|unit| (sweep, unit)));
        }
    }
    let executors = (0..chance.between(1, 4)).map(|_| chance.between(1, 8) as u32).collect();
    let mut calm = Scenario::calm(seed, executors, (50, chance.between(60, 3_000)), sweeps);
    let mut times = |most: u64| {
        let count = chance.between(0, most);
        (0..count).map(|_| chance.between(0, HEALTHY_MS)).collect::<Vec<u64>>()
    };
    if is_gentle {
        calm.deaths_ms = times(1);
        calm.job_failures_ms = times(1);
        calm.crashes_ms = times(3);
    } else {
        calm.deaths_ms = times(20);
        calm.job_failures_ms = times(20);
        calm.crashes_ms = times(6);
        let outage = |chance: &mut Chance| (chance.between(0, HEALTHY_MS), chance.between(1_000, 400_000));
        calm.outage_ms = chance.percent(30).then(|| outage(&mut chance));
    }
    Scenario {
        config: config(&mut chance),
        behaviours,
        stored,
        jobs_in_any_order: chance.percent(50),
        reports_lost: [0, 10, 50, 100][chance.between(0, 3) as usize],
        reports_doubled: [0, 10, 50][chance.between(0, 2) as usize],
        report_delay_ms: [5, 500, 10_000][chance.between(0, 2) as usize],
        refusals: [0, 10, 50][chance.between(0, 2) as usize],
        healthy_ms: HEALTHY_MS,
        ..calm
    }
}

/// Small bounds, so that small worlds reach them.
fn config(chance: &mut Chance) -> DriverConfig {
    DriverConfig {
        in_flight_factor: chance.between(1, 3) as u32,
        window_units: chance.between(1, 30) as u32,
        job_units_max: chance.between(1, 30) as u32,
        owner_sweeps_max: chance.between(1, 3) as u32,
        owner_in_flight_max: chance.percent(30).then(|| chance.between(1, 20)),
        ..DriverConfig::default()
    }
}

/// What must hold of every world at its end.
fn check(world: &World, is_gentle: bool) {
    let seed = world.scenario.seed;
    assert!(world.driver.is_idle(), "seed {seed}");
    for (&sweep, row) in &world.catalogue {
        let plan = &world.scenario.sweeps[sweep];
        let stored = world.store.range((sweep, 0)..(sweep + 1, 0)).count() as u64;
        let ending = row.ending.as_ref().unwrap();
        let poison = world.scenario.poison(sweep);
        let failed: Vec<u64> = ending.failures.iter().map(|failure| failure.unit).collect();
        let place = format!("seed {seed}, sweep {sweep}: {ending:?}");
        match row.state {
            SweepState::Complete => {
                assert_eq!((stored, ending.units_done), (plan.units, plan.units), "{place}");
                assert!(poison.is_empty() && ending.units_failed == 0, "{place}");
            }
            SweepState::Cancelled => assert!(plan.cancel_ms.is_some(), "{place}"),
            SweepState::Failed if is_gentle => {
                assert_eq!(failed, poison, "{place}");
                assert_eq!(stored + failed.len() as u64, plan.units, "{place}");
                assert!(!ending.message.is_empty(), "{place}");
            }
            SweepState::Failed => {
                let all_failed = poison.iter().all(|unit| failed.contains(unit));
                let merge_failed = ending.message.contains("result files");
                assert!(all_failed && ending.units_done + ending.units_failed == plan.units, "{place}");
                assert!(merge_failed || !failed.is_empty(), "{place}");
            }
            state => panic!("{place}: {state:?}"),
        }
    }
    // Beyond the units in flight when a scheduler died or a sweep was cancelled, nothing is computed twice.
    let again = world.scenario.sweeps.iter().filter(|plan| plan.again_ms.is_some()).count();
    let slots: u32 = world.scenario.executors.iter().sum();
    let twice: u32 = world.computed.values().map(|times| times - 1).sum();
    let excused = slots as usize * (world.scenario.crashes_ms.len() + again);
    assert!(twice as usize <= excused, "seed {seed}: {twice} units were computed twice");
}

fn run(seeds: std::ops::Range<u64>, is_gentle: bool) {
    for seed in seeds {
        let mut world = World::new(scenario(seed, is_gentle));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.run(END_MS, World::is_over);
            check(&world, is_gentle);
        }));
        if let Err(panic) = outcome {
            let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            panic!("{why}\nseed {seed}, gentle {is_gentle}: {:?}", world.scenario);
        }
    }
}

#[test]
fn after_a_few_mishaps_exactly_the_units_that_cannot_be_done_have_failed() {
    run(0..1_000, true);
}

/// On one or two executors every unit is a neighbour of one that kills.
#[test]
fn neighbours_of_units_that_kill_executors_are_kept() {
    for seed in 0..100 {
        let mut chance = Chance::new(seed);
        let slots = chance.between(2, 8) as u32;
        let sweeps = vec![Plan::new("ada", 40, 0), Plan::new("ben", 40, chance.between(0, 5_000))];
        let mut world = Scenario::calm(seed, vec![slots; 1 + seed as usize % 2], (50, 2_000), sweeps);
        for sweep in 0..2 {
            for _ in 0..6 {
                world.behaviours.insert((sweep, chance.between(0, 39)), Behaviour::KillsExecutor);
            }
        }
        world.jobs_in_any_order = chance.percent(50);
        world.healthy_ms = HEALTHY_MS;
        let mut world = World::new(world);
        world.run(END_MS, World::is_over);
        check(&world, true);
    }
}

#[test]
fn whatever_goes_wrong_every_sweep_ends_and_a_complete_one_is_whole() {
    run(10_000..11_000, false);
}

#[test]
fn the_same_seed_gives_the_same_actions() {
    for seed in 0..50 {
        let traces = [(), ()].map(|()| {
            let mut world = World::new(scenario(seed, false));
            world.trace = Some(Vec::new());
            world.run(END_MS, World::is_over);
            world.trace.unwrap()
        });
        assert!(!traces[0].is_empty());
        assert_eq!(traces[0], traces[1], "seed {seed}");
    }
}
