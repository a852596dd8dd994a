//! How slots are shared, and how little is kept in memory, in worlds without mishaps.

use polybolos_scheduler::driver::DriverConfig;

use crate::simulation::{Plan, Scenario, World};

const HOUR_MS: u64 = 3_600_000;
const HUGE: u64 = 1_000_000;

fn world(executors: &[u32], sweeps: Vec<Plan>, jobs_in_any_order: bool) -> World {
    World::new(Scenario {
        jobs_in_any_order,
        ..Scenario::calm(7, executors.to_vec(), (5_000, 15_000), sweeps)
    })
}

/// When the sweep ended after it was submitted.
fn took_ms(mut world: World, sweep: usize) -> u64 {
    world.run(HOUR_MS, |world| world.catalogue.get(&sweep).is_some_and(|row| row.state.is_final()));
    let row = &world.catalogue[&sweep];
    assert_eq!(row.ending.as_ref().unwrap().units_done, world.scenario.sweeps[sweep].units);
    row.ended_ms - row.submitted_ms
}

#[test]
fn a_small_sweep_beside_a_huge_one_is_done_after_a_few_unit_times() {
    for small_owner in ["ada", "ben"] {
        for jobs_in_any_order in [false, true] {
            let small = Plan::new(small_owner, 10, 60_000);
            let alone = took_ms(world(&[8, 8], vec![small.clone()], jobs_in_any_order), 0);
            let sweeps = vec![Plan::new("ada", HUGE, 0), small];
            let beside = took_ms(world(&[8, 8], sweeps, jobs_in_any_order), 1);
            assert!(
                beside <= 5 * alone,
                "{small_owner}, any order {jobs_in_any_order}: {beside} ms, alone {alone} ms"
            );
        }
    }
}

/// Share of the slot time each sweep got, in percent, after the first minute.
fn shares(mut world: World, minutes: u64) -> Vec<f64> {
    world.run(HOUR_MS, |world| world.now_ms >= 60_000);
    let before = world.served_ms.clone();
    world.run(HOUR_MS, |world| world.now_ms >= (minutes + 1) * 60_000);
    let sweeps = 0..world.scenario.sweeps.len();
    let served = |sweep| world.served_ms.get(&sweep).unwrap_or(&0) - before.get(&sweep).unwrap_or(&0);
    let all: u64 = sweeps.clone().map(served).sum();
    let slots: u32 = world.scenario.executors.iter().sum();
    let capacity = u64::from(slots) * minutes * 60_000;
    assert!(all * 100 >= capacity * 95, "slots were without work: {all} of {capacity} ms");
    sweeps.map(|sweep| served(sweep) as f64 / all as f64 * 100.0).collect()
}

#[test]
fn owners_get_equal_shares_and_so_do_the_sweeps_of_an_owner() {
    let plans =
        |owners: &str| owners.chars().map(|owner| Plan::new(&owner.to_string(), HUGE, 0)).collect::<Vec<_>>();
    let cases = [
        ("a", vec![100.0]),
        ("ab", vec![50.0, 50.0]),
        ("aa", vec![50.0, 50.0]),
        ("abbbb", vec![50.0, 12.5, 12.5, 12.5, 12.5]),
        ("abc", vec![33.3, 33.3, 33.3]),
    ];
    for (owners, expected) in cases {
        for jobs_in_any_order in [false, true] {
            let got = shares(world(&[16, 16, 8], plans(owners), jobs_in_any_order), 15);
            for (got, expected) in got.iter().zip(&expected) {
                let ratio = got / expected;
                assert!(
                    (0.9..=1.1).contains(&ratio),
                    "{owners}, any order {jobs_in_any_order}: {got} %, not {expected} %"
                );
            }
        }
    }
}

#[test]
fn an_owner_who_comes_late_gets_a_share_and_not_all_that_was_missed() {
    let late = Plan::new("ben", HUGE, 20 * 60_000);
    let mut world = world(&[16], vec![Plan::new("ada", HUGE, 0), late], false);
    world.run(HOUR_MS, |world| world.now_ms >= 21 * 60_000);
    let before = world.served_ms[&0];
    world.run(HOUR_MS, |world| world.now_ms >= 31 * 60_000);
    let share = (world.served_ms[&0] - before) as f64 / (16 * 10 * 60_000) as f64;
    assert!((0.45..=0.55).contains(&share), "the first owner got {share} of the slots");
}

#[test]
fn quotas_hold() {
    let sweeps = ["a", "a", "a", "b"].map(|owner| Plan::new(owner, 40, 0)).to_vec();
    let mut world = world(&[16], sweeps, false);
    world.scenario.config =
        DriverConfig { owner_sweeps_max: 2, owner_in_flight_max: Some(6), ..DriverConfig::default() };
    let mut world = World::new(world.scenario);
    let mut most = 0;
    while !world.is_over() {
        let steps = world.steps;
        world.run(HOUR_MS, |world| world.steps > steps);
        let of = |owner: &str| -> Vec<_> {
            let all = world.driver.sweeps().map(|id| world.driver.status(id).unwrap());
            all.filter(|status| status.owner == owner).collect()
        };
        let in_flight: u64 = of("a").iter().map(|status| status.units_in_flight).sum();
        assert!(in_flight <= 6, "{in_flight} units of one owner are in flight");
        most = most.max(in_flight);
        if world.now_ms == 5_000 {
            assert_eq!(of("a").len(), 3);
            let message = &of("a")[2].message;
            assert_eq!(
                message,
                "waiting: a has 2 sweeps at work, as many as one owner may; it starts when one of them ends"
            );
        }
    }
    assert_eq!(most, 6, "the quota is used");
}

/// A sweep of 10^9 units, all missing: what is held in memory depends on slots and windows alone.
#[test]
fn memory_does_not_grow_with_the_sweep() {
    let memory = |units: u64, minutes: u64| {
        let mut world = world(&[16], vec![Plan::new("ada", units, 0)], false);
        world.run(HOUR_MS, |world| world.now_ms >= minutes * 60_000);
        (world.memory_max, world.jobs_submitted)
    };
    let (small, _) = memory(10_000, 2);
    let (large, jobs) = memory(1_000_000_000, 40);
    assert!(jobs > 200, "{jobs} jobs are too few to show anything");
    // Two windows ahead, and jobs for twice the units in flight.
    let bound = 2 * 2_000 + 2 * 3 * 16;
    assert!(small > 2_000 && large <= bound, "{large} unit numbers are held, {small} of the small sweep");
}
