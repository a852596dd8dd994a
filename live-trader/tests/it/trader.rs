//! The trader against the simulated exchange: the backtest's trades, crashes, answers that never came, differences.

use std::collections::BTreeSet;

use polybolos_engine::kernels::sim::SimConfig;
use polybolos_engine::simulation::{SizeValue, simulate};
use polybolos_live_trader::order::{OrderSide, Quantity};
use polybolos_live_trader::simulator::synthetic_rules;
use polybolos_live_trader::trader::{Difference, EntryStyle, Event, Operator, Standing};
use polybolos_live_trader::venue::Command;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

mod campaign;
mod checks;
pub(crate) mod faults;
mod limits;
pub(crate) mod market;
mod members;
pub(crate) mod world;

use faults::Faults;
use market::{HOUR_MS, PLAIN, Setup, program, symbol, walk};
use world::World;

pub(crate) const LEVELS: Setup = Setup { stop_loss: Some(0.02), take_profit: Some(0.03), ..PLAIN };

/// Name, rules, and percent of closes that want in and out.
const STRATEGIES: [(&str, Setup, u64, u64); 6] = [
    ("signals", PLAIN, 20, 20),
    ("stop and target", LEVELS, 30, 5),
    ("trailing", Setup { trailing_stop: Some(0.025), ..PLAIN }, 30, 5),
    ("trailing over stop", Setup { trailing_stop: Some(0.03), ..LEVELS }, 30, 5),
    ("max bars", Setup { max_bars: Some(4.0), ..PLAIN }, 40, 2),
    ("cooldown", Setup { cooldown: Some(3.0), max_bars: Some(5.0), ..LEVELS }, 60, 10),
];

/// Entry bar, entry price, exit bar, exit price of every closed trade.
type Trade = (usize, f64, usize, f64);

fn live_trades(world: &World) -> Vec<Trade> {
    let fills: Vec<(OrderSide, usize, f64)> = world
        .simulator
        .trades(&symbol())
        .unwrap()
        .map(|trade| {
            let bar = usize::try_from(trade.fill.time_ms / HOUR_MS).unwrap();
            (trade.side, bar, trade.fill.price.to_f64().unwrap())
        })
        .collect();
    fills
        .chunks_exact(2)
        .map(|pair| {
            assert_eq!((pair[0].0, pair[1].0), (OrderSide::Buy, OrderSide::Sell));
            (pair[0].1, pair[0].2, pair[1].1, pair[1].2)
        })
        .collect()
}

fn backtest(setup: &Setup, bars: &polybolos_engine::kernels::bars::Bars) -> Vec<Trade> {
    let run = simulate(&program(setup), &[], bars, &SimConfig::default()).unwrap();
    run.trades.iter().map(|t| (t.entry_bar, t.entry_price, t.exit_bar, t.exit_price)).collect()
}

#[track_caller]
fn assert_same(name: &str, live: &[Trade], expected: &[Trade]) {
    for (live, expected) in live.iter().zip(expected) {
        let is_near = |a: f64, b: f64| (a - b).abs() < 0.010_001;
        let is_same = (live.0, live.2) == (expected.0, expected.2)
            && is_near(live.1, expected.1)
            && is_near(live.3, expected.3);
        assert!(is_same, "{name}: live {live:?}, backtest {expected:?}");
    }
    assert_eq!(live.len(), expected.len(), "{name}");
}

#[test]
fn market_entries_trade_what_the_backtest_trades() {
    for seed in 0..5 {
        for (name, setup, enter, exit) in STRATEGIES {
            let bars = walk(seed, 400, enter, exit);
            let expected = backtest(&setup, &bars);
            assert!(expected.len() >= 8, "{name}: only {} trades", expected.len());
            let mut world = World::new(&setup, bars, EntryStyle::Market, Faults::default(), seed);
            world.run();
            assert_same(name, &live_trades(&world), &expected);
            world.check_books();
        }
    }
}

#[test]
fn fills_that_are_told_after_the_close_change_no_trade() {
    for seed in 0..3 {
        for (name, setup, enter, exit) in STRATEGIES {
            let bars = walk(seed, 200, enter, exit);
            let expected = backtest(&setup, &bars);
            let faults = Faults { has_late_fills: true, ..Faults::default() };
            let mut world = World::new(&setup, bars, EntryStyle::Market, faults, seed);
            world.run();
            let live = live_trades(&world);
            assert_same(name, &live[..live.len().min(expected.len())], &expected);
        }
    }
}

#[test]
fn protected_entries_are_filled_in_the_bars_of_the_backtest() {
    for seed in 0..5 {
        for (name, setup, enter, exit) in STRATEGIES {
            let bars = walk(seed, 400, enter, exit);
            let expected = backtest(&setup, &bars);
            let mut world = World::new(&setup, bars, EntryStyle::Protected, Faults::default(), seed);
            world.run();
            let live: Vec<usize> = live_trades(&world).iter().map(|trade| trade.0).collect();
            let entries: Vec<usize> = expected.iter().map(|trade| trade.0).collect();
            assert_eq!(live, entries, "{name}");
            world.check_books();
        }
    }
}

/// The world's own checks are the test: ids once, journal first, one position, protection, books.
fn survive(seeds: std::ops::Range<u64>, faults: Faults) -> (u32, u32) {
    let (mut crashes, mut unknowns) = (0, 0);
    for seed in seeds {
        let (_, setup, enter, exit) = STRATEGIES[(seed % 6) as usize];
        let entry = if seed % 4 < 2 { EntryStyle::Market } else { EntryStyle::Protected };
        let mut world = World::new(&setup, walk(seed, 40, enter, exit), entry, faults, seed);
        world.run();
        world.check_books();
        (crashes, unknowns) = (crashes + world.crashes, unknowns + world.unknowns);
    }
    (crashes, unknowns)
}

#[test]
fn a_crash_at_any_moment_loses_and_doubles_nothing() {
    let (crashes, _) = survive(0..600, Faults { crash_one_in: 60, ..Faults::default() });
    assert!(crashes >= 600, "{crashes}");
}

#[test]
fn a_crash_at_any_moment_misses_no_exit() {
    let bars = walk(6, 25, 40, 30);
    for moment in 1..250 {
        let faults = Faults { crash_at: Some(moment), ..Faults::default() };
        let mut world = World::new(&PLAIN, bars.clone(), EntryStyle::Market, faults, 6);
        world.run();
        let trades = live_trades(&world);
        assert!(trades.len() >= 2, "{trades:?}");
        for (entry, _, exit, _) in trades {
            let wanted = (entry..bars.len()).find(|&t| bars.quote_volume[t] > 0.0).map(|t| t + 1);
            assert_eq!(Some(exit), wanted, "crash at moment {moment}, entry in bar {entry}");
        }
    }
}

#[test]
fn an_order_without_an_answer_is_looked_up_and_never_repeated() {
    let (_, unknowns) = survive(0..300, Faults { lost: 8, unanswered: 8, late: 8, ..Faults::default() });
    assert!(unknowns >= 300, "{unknowns}");
}

#[test]
fn crashes_and_lost_answers_together() {
    let (crashes, unknowns) =
        survive(600..900, Faults { lost: 5, unanswered: 5, late: 5, crash_one_in: 100, ..Faults::default() });
    assert!(crashes >= 100 && unknowns >= 100, "{crashes} {unknowns}");
}

#[test]
fn a_halt_stops_everything() {
    let bars = walk(3, 60, 60, 20);
    let mut world = World::new(&LEVELS, bars, EntryStyle::Market, Faults::default(), 3);
    world.settle();
    (0..20).for_each(|_| assert!(world.step()));
    world.is_banned = true;
    let before = world.sends.len();
    world.tell(Event::Operator(Operator::Flatten));
    world.tell(Event::Operator(Operator::Reconcile));
    assert!(matches!(world.trader.standing(), Standing::Halted { .. }), "{:?}", world.trader.standing());
    let after = world.sends.len();
    assert!(after > before);
    for _ in 0..20 {
        assert!(world.step());
        world.pass_time();
    }
    assert_eq!(world.sends.len(), after);
}

#[test]
fn a_balance_that_nothing_explains_is_refused_until_an_operator_accepts_it() {
    let mut world = World::new(&PLAIN, walk(4, 40, 60, 20), EntryStyle::Market, Faults::default(), 4);
    world.settle();
    (0..10).for_each(|_| assert!(world.step()));
    assert!(world.simulator.transfer("USDT", Decimal::from(-7)));
    world.restart();
    for _ in 0..20 {
        world.pump();
        world.pass_time();
    }
    let Standing::Refused { differences } = world.trader.standing() else {
        panic!("{:?}", world.trader.standing());
    };
    let [Difference::Balance { asset, expected, found }] = differences.as_slice() else {
        panic!("{differences:?}");
    };
    assert_eq!((asset.as_str(), *expected - *found), ("USDT", Decimal::from(7)));
    assert!(world.sends.iter().rev().take(4).all(|command| !command.changes_orders()));
    world.tell(Event::Operator(Operator::AcceptDifferences));
    world.funds[0].1 -= Decimal::from(7);
    world.settle();
    world.run();
    world.check_books();
}

/// Base units of the first `count` purchases with the price that was known at each, and quote held before it.
fn purchases(setup: Setup) -> Vec<(f64, f64, f64)> {
    let mut world = World::new(&setup, walk(5, 80, 60, 30), EntryStyle::Market, Faults::default(), 5);
    world.settle();
    let (mut known, mut found) = (BTreeSet::new(), Vec::new());
    let mut cash = 10_000.0;
    while world.step() {
        for command in &world.sends {
            if let Command::Place(order) = command
                && order.side == OrderSide::Buy
                && known.insert(order.client_id.clone())
                && let Quantity::Base(quantity) = order.quantity
            {
                let fill = world.simulator.trades(&symbol()).unwrap().rfind(|t| t.side == OrderSide::Buy);
                let price = fill.unwrap().fill.price.to_f64().unwrap();
                found.push((quantity.to_f64().unwrap(), price, cash));
            }
        }
        let holds = world.trader.state().position(&symbol()).is_some();
        if !holds {
            cash = world.total("USDT").to_f64().unwrap();
        }
    }
    found
}

#[test]
fn an_entry_has_the_strategy_s_size_of_what_the_symbol_has_now() {
    let stop = Setup { stop_loss: Some(0.02), ..PLAIN };
    // Fee of 0.1 %; what can be paid at the far end of a collar of 5 %.
    let unit = |price: f64| price * 1.001;
    let most = |price: f64, cash: f64| cash / (unit(price) * 1.05);
    type Wanted = fn(f64, f64, f64) -> f64;
    let cases: [(SizeValue, Wanted); 5] = [
        (SizeValue::Equity(0.5), |_, unit, cash| 0.5 * cash / unit),
        (SizeValue::Quote(300.0), |_, unit, _| 300.0 / unit),
        (SizeValue::Quote(1e30), |_, unit, cash| cash / unit),
        (SizeValue::Risk(0.01), |price, _, cash| 0.01 * cash / (price * 0.02)),
        (SizeValue::Risk(0.5), |_, unit, cash| cash / unit),
    ];
    let bars = walk(5, 80, 60, 30);
    let lot = synthetic_rules(&symbol(), &bars).lot.step.to_f64().unwrap();
    for (size, wanted) in cases {
        let purchases = purchases(Setup { size, ..stop });
        assert!(purchases.len() >= 8, "{}", purchases.len());
        for (quantity, price, cash) in purchases {
            let wanted = wanted(price, unit(price), cash).min(most(price, cash));
            assert!(
                quantity <= wanted + 1e-9 && quantity > wanted - lot - 1e-9,
                "{size:?}: bought {quantity}, wanted {wanted} at {price} with {cash}"
            );
        }
    }
}
