//! The budget against what it promises.

use proptest::prelude::*;

use super::*;

const LIMITS: [Limit; 4] = [
    Limit { kind: LimitKind::Weight, interval_ms: 60_000, max: 6_000 },
    Limit { kind: LimitKind::Requests, interval_ms: 300_000, max: 300_000 },
    Limit { kind: LimitKind::Orders, interval_ms: 10_000, max: 100 },
    Limit { kind: LimitKind::Orders, interval_ms: 86_400_000, max: 200_000 },
];

const ORDER: Cost = Cost { weight: 1, orders: 1 };

fn orders_said(used: u32) -> [Usage; 1] {
    [Usage { kind: LimitKind::Orders, interval_ms: 10_000, used }]
}

#[test]
fn each_priority_has_its_share_and_windows_are_aligned() {
    let mut budget = Budget::new(&LIMITS, 85);
    let now = 1_000_003;
    let mut taken = 0;
    while budget.take(now, Priority::Data, Cost { weight: 20, orders: 0 }).is_ok() {
        taken += 20;
    }
    assert_eq!(taken, 6_000 * 85 / 100 * 60 / 100);
    let full = Refusal::Full { kind: LimitKind::Weight, until_ms: 1_020_000 };
    assert_eq!(budget.take(now, Priority::Data, Cost { weight: 20, orders: 0 }), Err(full));
    assert!(budget.take(now, Priority::Entry, ORDER).is_ok());
    assert!(budget.take(now, Priority::Lookup, Cost { weight: 1_500, orders: 0 }).is_ok());
    assert!(budget.take(now, Priority::Lookup, Cost { weight: 1_500, orders: 0 }).is_err());
    assert!(budget.take(1_020_000, Priority::Data, Cost { weight: 20, orders: 0 }).is_ok());
}

#[test]
fn the_exchanges_count_raises_weight_and_replaces_orders() {
    let mut budget = Budget::new(&LIMITS, 100);
    let first = budget.take(0, Priority::Entry, ORDER).unwrap();
    let second = budget.take(1, Priority::Entry, ORDER).unwrap();
    let weight = Usage { kind: LimitKind::Weight, interval_ms: 60_000, used: 3_000 };
    budget.settle(2, first, &[weight], true);
    assert_eq!(budget.used_percent(LimitKind::Weight), 50);
    budget.settle(3, second, &[Usage { used: 10, ..weight }], true);
    assert_eq!(budget.used_percent(LimitKind::Weight), 49, "only the second order's own weight comes back");

    // 80 of 100 orders sent and all of them filled: the exchange counts none, and one is on its way.
    let mut permits: Vec<Permit> = Vec::new();
    while let Ok(permit) = budget.take(10_000, Priority::Entry, ORDER) {
        permits.push(permit);
    }
    assert_eq!(permits.len(), 80);
    for permit in permits.iter().skip(1) {
        budget.settle(10_500, *permit, &orders_said(0), true);
    }
    assert_eq!(budget.used_percent(LimitKind::Orders), 1);
}

#[test]
fn bans_stop_everything_and_order_stops_spare_cancels() {
    let lookup = Cost { weight: 4, orders: 0 };
    let mut budget = Budget::new(&LIMITS, 85);
    budget.throttle_orders(budget.orders_window_end_ms(10_001));
    let stopped = Refusal::Throttled { until_ms: 20_000 };
    assert_eq!(budget.take(10_001, Priority::Protection, ORDER), Err(stopped));
    assert!(budget.take(10_001, Priority::Lookup, lookup).is_ok());
    budget.throttle(30_000);
    budget.throttle(25_000);
    let stopped = Refusal::Throttled { until_ms: 30_000 };
    assert_eq!(budget.take(29_999, Priority::Lookup, lookup), Err(stopped));
    budget.ban(90_000);
    assert_eq!(budget.take(89_999, Priority::Lookup, lookup), Err(Refusal::Banned { until_ms: 90_000 }));
    assert!(budget.take(90_000, Priority::Data, lookup).is_ok());
}

#[test]
fn new_limits_keep_what_was_used() {
    let mut budget = Budget::new(&LIMITS, 100);
    assert!(budget.take(5, Priority::Lookup, Cost { weight: 3_000, orders: 0 }).is_ok());
    let mut limits = LIMITS;
    limits[0].max = 4_000;
    budget.set_limits(&limits);
    assert_eq!(budget.used_percent(LimitKind::Weight), 75);
    assert!(budget.take(6, Priority::Lookup, Cost { weight: 1_001, orders: 0 }).is_err());
}

proptest! {
    /// Whatever is asked in whatever order: no window is filled beyond the share of the highest priority that asked, and
    /// whoever waits until he is told to is let through if he alone fits.
    #[test]
    fn no_window_is_overfilled_and_waiting_helps(
        target in 1_u32..=100,
        asks in prop::collection::vec((0_i64..9_000, 0_usize..4, 1_u32..200, 0_u32..4), 1..300),
    ) {
        const ALL: [Priority; 4] = [Priority::Data, Priority::Entry, Priority::Protection, Priority::Lookup];
        let mut budget = Budget::new(&LIMITS, target);
        let mut log: Vec<(i64, Priority, Cost)> = Vec::new();
        let mut now = 0;
        for (pause, priority, weight, orders) in asks {
            now += pause;
            let (priority, cost) = (ALL[priority], Cost { weight, orders });
            match budget.take(now, priority, cost) {
                Ok(_) => log.push((now, priority, cost)),
                Err(Refusal::Full { until_ms, .. }) => {
                    prop_assert!(until_ms > now);
                    let alone = LIMITS.iter().all(|limit| {
                        u64::from(cost.of(limit.kind)) * 10_000
                            <= u64::from(limit.max) * u64::from(target) * priority.share_percent()
                    });
                    let is_day = until_ms - now > 300_000;
                    prop_assert!(!alone || is_day || budget.clone().take(until_ms, priority, cost).is_ok());
                }
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }
        for limit in LIMITS {
            for (end, priority, _) in &log {
                let window = end.div_euclid(limit.interval_ms);
                let used: u64 = log
                    .iter()
                    .take_while(|(at, _, _)| at <= end)
                    .filter(|(at, _, _)| at.div_euclid(limit.interval_ms) == window)
                    .map(|(_, _, cost)| u64::from(cost.of(limit.kind)))
                    .sum();
                let highest = log
                    .iter()
                    .filter(|(at, _, _)| at <= end && at.div_euclid(limit.interval_ms) == window)
                    .map(|(_, priority, _)| priority.share_percent())
                    .max()
                    .unwrap_or(priority.share_percent());
                prop_assert!(used * 10_000 <= u64::from(limit.max) * u64::from(target) * highest);
            }
        }
    }
}
