//! The risk gate through the trader: every limit denies by name, stops and switches outlive the program, exits go out.

use polybolos_live_trader::client_id::Intent;
use polybolos_live_trader::order::OrderSide;
use polybolos_live_trader::risk::Limits;
use polybolos_live_trader::trader::{EntryStyle, Event, Operator, Plan, Record, Standing, Why};
use polybolos_live_trader::venue::Command;
use serde_json::json;

use super::LEVELS;
use super::faults::Faults;
use super::market::{HOUR_MS, PLAIN, Setup, no_limits, other_symbol, symbol, walk};
use super::world::World;

fn only(name: &str, value: serde_json::Value) -> Limits {
    let mut all = serde_json::to_value(no_limits()).unwrap();
    all[name] = value;
    serde_json::from_value(all).unwrap()
}

fn world(setup: &Setup, seed: u64, change: impl FnOnce(&mut Plan)) -> World {
    let pairs = vec![(symbol(), walk(seed, 80, 60, 20)), (other_symbol(), walk(seed + 1, 80, 60, 20))];
    World::with(setup, pairs, EntryStyle::Market, Faults::default(), seed, |plan, _| change(plan))
}

/// Times of the entries in the journal.
fn entries(world: &World) -> Vec<i64> {
    let entry = |record: &Record| match record {
        Record::Order { intent: Intent::Entry, at_ms, .. } => Some(*at_ms),
        _ => None,
    };
    world.history.iter().filter_map(entry).collect()
}

/// Names of the rules that denied entries.
fn denials(world: &World) -> Vec<String> {
    let rule = |record: &Record| match record {
        Record::NoEntry { why: Why::Risk(text), .. } => text.split(':').next().map(str::to_owned),
        _ => None,
    };
    world.history.iter().filter_map(rule).collect()
}

#[test]
fn each_limit_of_an_order_holds_entries_back_by_its_name() {
    let cases = [
        ("max_position_notional", json!("100")),
        ("max_total_notional", json!("100")),
        ("max_open_positions", json!(0)),
        ("max_order_notional", json!("100")),
        ("price_collar_bps", json!("0.0001")),
        ("max_orders_per_minute", json!(0)),
        ("max_orders_per_day", json!(0)),
        ("min_free_quote", json!("19999")),
    ];
    for (name, value) in cases {
        let mut world = world(&PLAIN, 3, |plan| plan.limits = only(name, value));
        world.run();
        let denied = denials(&world);
        assert!(denied.len() >= 20 && denied.iter().all(|rule| rule == name), "{name}: {denied:?}");
        let is_buy =
            |command: &Command| matches!(command, Command::Place(order) if order.side == OrderSide::Buy);
        let few = world.sends.iter().filter(|command| is_buy(command)).count();
        assert!(few == 0 || name == "price_collar_bps" && few < 5, "{name}: {few}");
        world.check_books();
    }
}

#[test]
fn one_position_at_a_time_where_the_limit_is_one() {
    let mut world = world(&PLAIN, 3, |plan| plan.limits = only("max_open_positions", json!(1)));
    world.settle();
    let mut together = 0;
    while world.bars_published() < 79 {
        world.step();
        together = together.max(world.trader.positions().len());
    }
    assert_eq!(together, 1);
    assert!(denials(&world).iter().all(|rule| rule == "max_open_positions"));
    assert!(entries(&world).len() >= 4 && denials(&world).len() >= 4);
}

#[test]
fn exits_and_protection_are_counted_and_never_held_back() {
    let mut world = world(&LEVELS, 3, |plan| plan.limits = only("max_orders_per_day", json!(4)));
    world.run();
    let mut of_day = std::collections::BTreeMap::<i64, (u64, u64)>::new();
    for record in &world.history {
        let (orders, is_entry, at_ms) = match record {
            Record::Order { intent, at_ms, .. } => (1, *intent == Intent::Entry, at_ms),
            Record::List { list, at_ms, .. } => (list.client_ids().len() as u64, false, at_ms),
            _ => continue,
        };
        let day = of_day.entry(at_ms.div_euclid(24 * HOUR_MS)).or_default();
        assert!(!is_entry || day.0 < 4, "an entry after {} orders", day.0);
        *day = (day.0 + orders, day.1 + u64::from(is_entry));
    }
    assert!(of_day.values().any(|(orders, _)| *orders > 4), "{of_day:?}");
    assert_eq!(world.trader.gate().orders_of_day(world.now_ms), of_day.last_key_value().unwrap().1.0);
    world.check_books();
}

#[test]
fn a_daily_loss_stops_entries_until_midnight_and_over_a_restart() {
    let mut world = world(&PLAIN, 5, |plan| plan.limits = only("max_daily_loss", json!("0.004")));
    world.settle();
    let stop_of = |world: &World| {
        world.history.iter().find_map(|record| match record {
            Record::Stop { stop, at_ms } => Some((stop.clone(), *at_ms)),
            _ => None,
        })
    };
    while stop_of(&world).is_none() {
        assert!(world.step(), "no stop");
    }
    let (stop, at_ms) = stop_of(&world).unwrap();
    assert_eq!(stop.rule, "max_daily_loss");
    let midnight = stop.until_ms.unwrap();
    assert_eq!(midnight, (at_ms.div_euclid(24 * HOUR_MS) + 1) * 24 * HOUR_MS);
    world.restart();
    world.tell(Event::Operator(Operator::Resume));
    world.run();
    let later: Vec<i64> = entries(&world).into_iter().filter(|entry| *entry > at_ms).collect();
    assert!(!later.is_empty() && later.iter().all(|entry| *entry >= midnight), "{midnight} {later:?}");
    assert!(denials(&world).iter().any(|rule| rule == "max_daily_loss"));
    world.check_books();
}

#[test]
fn a_drawdown_stops_entries_until_an_operator_resumes() {
    let mut world = world(&PLAIN, 5, |plan| plan.limits = only("max_drawdown", json!("0.01")));
    world.settle();
    while world.trader.gate().stops(world.now_ms).next().is_none() {
        assert!(world.step(), "no stop");
    }
    let before = entries(&world).len();
    world.restart();
    world.settle();
    for _ in 0..12 {
        world.step();
    }
    assert_eq!(entries(&world).len(), before, "over a restart and into the next day");
    assert!(denials(&world).iter().all(|rule| rule == "max_drawdown"));
    world.tell(Event::Operator(Operator::Resume));
    assert_eq!(world.trader.ledger().peak(), world.trader.ledger().equity());
    for _ in 0..6 {
        world.step();
    }
    assert!(entries(&world).len() > before);
    world.check_books();
}

#[test]
fn an_old_price_is_none_to_open_a_position_on() {
    let faults = Faults { has_late_fills: true, ..Faults::default() };
    let pairs = vec![(symbol(), walk(4, 200, 90, 0))];
    let mut world = World::with(&LEVELS, pairs, EntryStyle::Market, faults, 4, |plan, _| {
        plan.limits = only("max_quote_age_ms", json!(10_000));
    });
    world.settle();
    // A position ends inside a bar, and that is told after its close and long after the last price.
    while world.bars_published() < 190 && denials(&world).is_empty() {
        world.open_bar(20_000);
        world.play_bar();
    }
    let denied = denials(&world);
    assert!(!denied.is_empty() && denied.iter().all(|rule| rule == "max_quote_age_ms"), "{denied:?}");
}

#[test]
fn a_protection_locks_a_pair_after_its_trade() {
    let cooldown = json!({"method": "CooldownPeriod", "stop_duration": {"bars": 6}});
    let mut world =
        world(&PLAIN, 3, |plan| plan.protections = vec![serde_json::from_value(cooldown).unwrap()]);
    world.run();
    let mut last_exit = std::collections::BTreeMap::new();
    let mut rests = 0;
    for record in &world.history {
        match record {
            Record::Order { order, intent: Intent::Exit, at_ms, .. } => {
                last_exit.insert(order.symbol.clone(), *at_ms);
            }
            Record::Order { order, intent: Intent::Entry, at_ms, .. } => {
                if let Some(exit) = last_exit.get(&order.symbol) {
                    rests += 1;
                    assert!(at_ms - exit >= 6 * HOUR_MS, "{} after an exit", at_ms - exit);
                }
            }
            _ => {}
        }
    }
    assert!(rests >= 4 && denials(&world).iter().all(|rule| rule == "CooldownPeriod"));
    assert!(world.notices.iter().any(|notice| notice.text.contains("CooldownPeriod")));
}

#[test]
fn the_kill_switch_closes_everything_and_only_its_release_ends_it() {
    let mut world = world(&LEVELS, 3, |_| {});
    world.settle();
    while world.trader.positions().is_empty() {
        assert!(world.step());
    }
    world.tell(Event::Operator(Operator::Kill { flatten: true, reason: "enough".to_owned() }));
    world.settle();
    assert!(world.trader.positions().is_empty() && world.simulator.open_orders(None).unwrap().is_empty());
    let before = entries(&world).len();
    for after in ["kill", "restart", "resume"] {
        match after {
            "restart" => world.restart(),
            "resume" => world.tell(Event::Operator(Operator::Resume)),
            _ => {}
        }
        (0..6).for_each(|_| assert!(world.step()));
        assert!(world.trader.is_killed(), "{after}");
        assert_eq!(entries(&world).len(), before, "{after}");
    }
    assert!(denials(&world).iter().all(|rule| rule == "kill_switch") && !denials(&world).is_empty());
    world.tell(Event::Operator(Operator::Release));
    (0..6).for_each(|_| assert!(world.step()));
    assert!(!world.trader.is_killed() && entries(&world).len() > before);
    world.check_books();
}

#[test]
fn a_pause_outlives_the_program() {
    let mut world = world(&PLAIN, 3, |_| {});
    world.settle();
    world.tell(Event::Operator(Operator::Pause { reason: "lunch".to_owned() }));
    world.restart();
    (0..10).for_each(|_| assert!(world.step()));
    assert_eq!(*world.trader.standing(), Standing::Paused { reason: "paused: lunch".to_owned() });
    assert!(entries(&world).is_empty());
    world.tell(Event::Operator(Operator::Resume));
    (0..10).for_each(|_| assert!(world.step()));
    assert!(!entries(&world).is_empty());
}
