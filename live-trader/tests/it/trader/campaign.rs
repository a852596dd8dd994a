//! The campaign: everything that can go wrong, at once, over and over. The world's own checks are the test.

use polybolos_live_trader::client_id::Intent;
use polybolos_live_trader::order::OrderSide;
use polybolos_live_trader::risk::Limits;
use polybolos_live_trader::symbol::Symbol;
use polybolos_live_trader::trader::{EntryStyle, OnDisconnect, Record};
use rust_decimal::Decimal;

use super::STRATEGIES;
use super::faults::{Faults, STORM};
use super::market::{other_symbol, symbol, walk};
use super::world::World;

const BARS: usize = 30;

#[derive(Debug, Default)]
struct Seen {
    crashes: u32,
    unknowns: u32,
    partials: u32,
    entries: usize,
    kinds: [usize; 4],
    killed: usize,
    left: usize,
    commissions: usize,
}

/// Limits that bind now and then.
fn limits() -> Limits {
    let text = r#"{"max_daily_loss": "0.03", "max_drawdown": "0.06", "max_total_notional": "15000", "price_collar_bps": "150",
        "max_orders_per_minute": 12}"#;
    serde_json::from_str(text).unwrap()
}

fn storm(seed: u64, faults: Faults) -> World {
    let (_, setup, enter, exit) = STRATEGIES[(seed % 6) as usize];
    let entry = match seed / 6 % 3 {
        0 => EntryStyle::Market,
        1 => EntryStyle::Protected,
        _ => EntryStyle::Limit { expire_bars: 1 + (seed / 54 % 3) as u32 },
    };
    let mut pairs = vec![
        (symbol(), walk(seed, BARS, enter, exit)),
        (other_symbol(), walk(seed + 10_000, BARS, enter, exit)),
    ];
    let bnb = Symbol::new("BNBUSDT");
    let pays_in_bnb = seed % 4 == 3;
    if pays_in_bnb {
        pairs.push((bnb.clone(), walk(seed + 20_000, BARS, 0, 0)));
    }
    let mut world = World::with(&setup, pairs, entry, faults, seed, |plan, settings| {
        plan.symbols.remove(&bnb);
        plan.limits = limits();
        plan.protections = vec![
            serde_json::from_str(r#"{"method": "CooldownPeriod", "stop_duration": {"bars": 1}}"#).unwrap(),
        ];
        plan.reconcile_every_ms = 60_000;
        plan.on_disconnect =
            [OnDisconnect::Hold, OnDisconnect::Protect, OnDisconnect::Flatten][(seed / 18 % 3) as usize];
        if pays_in_bnb {
            settings.bnb_fees = true;
            settings.balances.push(("BNB".to_owned(), Decimal::from(100)));
        }
    });
    world.run();
    world.check_books();
    world
}

fn weather(seeds: std::ops::Range<u64>, faults: Faults) -> Seen {
    let mut seen = Seen::default();
    for seed in seeds {
        let world = storm(seed, faults);
        seen.crashes += world.crashes;
        seen.unknowns += world.unknowns;
        seen.partials += world.partials;
        seen.commissions += world.trader.state().commission_assets.len();
        for record in &world.history {
            match record {
                Record::Order { order, intent: Intent::Entry, .. } if order.side == OrderSide::Buy => {
                    seen.entries += 1;
                    seen.kinds[usize::from(order.kind.price().is_some())] += 1;
                }
                Record::List { list, .. } if list.client_ids()[0].intent() == Some(Intent::Entry) => {
                    seen.entries += 1;
                    seen.kinds[list.client_ids().len().min(3)] += 1;
                }
                Record::Killed { reason: Some(_), .. } => seen.killed += 1,
                Record::Left { .. } => seen.left += 1,
                _ => {}
            }
        }
    }
    seen
}

#[test]
fn a_storm_without_crashes() {
    let seen = weather(0..240, STORM);
    assert!(seen.unknowns >= 200 && seen.partials >= 300 && seen.killed >= 50 && seen.left >= 50, "{seen:?}");
    assert!(seen.kinds.iter().all(|entries| *entries >= 20) && seen.commissions >= 20, "{seen:?}");
}

#[test]
fn a_storm_with_crashes() {
    let seen = weather(1_000..1_360, Faults { crash_one_in: 150, ..STORM });
    assert!(seen.crashes >= 500 && seen.unknowns >= 200 && seen.partials >= 300, "{seen:?}");
    assert!(seen.kinds.iter().all(|entries| *entries >= 20), "{seen:?}");
}
