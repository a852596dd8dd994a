//! Pairs that come and go, rules that change, commissions in a third asset, differences that are taken over, fills that are missed.

use std::collections::BTreeMap;

use polybolos_live_trader::filters::SymbolStatus;
use polybolos_live_trader::symbol::Symbol;
use polybolos_live_trader::trader::{Difference, EntryStyle, Event, Operator, Record, Standing, Why};
use polybolos_live_trader::venue::{AccountEvent, Command};
use rust_decimal::Decimal;

use super::LEVELS;
use super::faults::Faults;
use super::market::{PLAIN, other_symbol, symbol, walk};
use super::world::World;

fn two_pairs(seed: u64) -> World {
    let pairs = vec![(symbol(), walk(seed, 80, 60, 10)), (other_symbol(), walk(seed + 1, 80, 60, 10))];
    World::with(&LEVELS, pairs, EntryStyle::Market, Faults::default(), seed, |_, _| {})
}

#[test]
fn a_retired_pair_stays_until_its_position_is_closed_and_takes_its_money_along() {
    let mut world = two_pairs(3);
    world.settle();
    while world.trader.state().position(&symbol()).is_none() {
        assert!(world.step());
    }
    world.selected.remove(&symbol());
    world.tell(Event::Retire { symbol: symbol() });
    world.settle();
    assert!(world.trader.state().position(&symbol()).is_some(), "what is held is not thrown away");
    world.restart();
    world.settle();
    while world.trader.symbols().any(|of| *of == symbol()) {
        assert!(world.step());
    }
    let ledger = world.trader.ledger();
    assert_eq!(ledger.account(&symbol()).unwrap().free_cash(), Decimal::ZERO);
    assert!(!world.trader.state().members.contains_key(&symbol()));
    assert!(
        world
            .history
            .iter()
            .any(|record| matches!(record, Record::Left { symbol: left, .. } if *left == symbol()))
    );
    world.check_books();
    world.restart();
    world.settle();
    assert!(world.trader.symbols().all(|of| *of == other_symbol()));
}

#[test]
fn a_pair_of_the_journal_that_holds_something_and_is_not_planned_is_refused() {
    let mut world = two_pairs(3);
    world.settle();
    while world.trader.state().position(&symbol()).is_none() {
        assert!(world.step());
    }
    let mut plan = world.plan.clone();
    plan.symbols.remove(&symbol());
    let signals = super::market::signals(&super::program(&LEVELS), plan.symbols.keys());
    world.trader = polybolos_live_trader::trader::Trader::new(plan, signals, &world.journal);
    world.tell(Event::Market { is_connected: true });
    world.tell(Event::Account(AccountEvent::Connected));
    for _ in 0..20 {
        world.pass_time();
    }
    let Standing::Refused { differences } = world.trader.standing() else {
        panic!("{:?}", world.trader.standing());
    };
    assert_eq!(differences.as_slice(), [Difference::Unplanned { symbol: symbol() }]);
}

#[test]
fn a_pair_that_does_not_trade_is_not_entered() {
    let mut world = two_pairs(3);
    world.settle();
    for symbol in [symbol(), other_symbol()] {
        let mut rules = world.listed[&symbol].rules.clone();
        rules.status = SymbolStatus::Halted;
        world.tell(Event::Rules { rules: Box::new(rules) });
    }
    (0..10).for_each(|_| assert!(world.step()));
    assert!(matches!(world.trader.why(&symbol()), Some(Why::Filter(_) | Why::NoSignal)));
    assert!(!world.sends.iter().any(Command::places));
    let rules = Box::new(world.listed[&symbol()].rules.clone());
    world.tell(Event::Rules { rules });
    (0..10).for_each(|_| assert!(world.step()));
    assert!(world.sends.iter().any(Command::places));
}

#[test]
fn commissions_in_a_third_asset_are_valued_and_their_balance_is_expected() {
    let bnb = Symbol::new("BNBUSDT");
    let pairs = vec![(symbol(), walk(3, 60, 60, 20)), (bnb.clone(), walk(9, 60, 0, 0))];
    let mut world = World::with(&PLAIN, pairs, EntryStyle::Market, Faults::default(), 3, |plan, settings| {
        plan.symbols.remove(&bnb);
        plan.reconcile_every_ms = 600_000;
        settings.bnb_fees = true;
        settings.balances.push(("BNB".to_owned(), Decimal::from(10)));
    });
    world.run();
    let state = world.trader.state();
    let account = state.ledger.account(&symbol()).unwrap();
    assert!(account.unvalued().is_empty() && account.fees() > Decimal::ZERO);
    assert!(account.free_cash() < account.cash());
    assert!(state.ledger.trades().iter().all(|trade| trade.fees > Decimal::ZERO));
    assert_eq!(state.expected["BNB"], world.total("BNB"));
    world.check_books();
    assert!(world.simulator.transfer("BNB", Decimal::NEGATIVE_ONE));
    world.restart();
    for _ in 0..20 {
        world.pump();
        world.pass_time();
    }
    let Standing::Refused { differences } = world.trader.standing() else {
        panic!("{:?}", world.trader.standing());
    };
    assert!(matches!(&differences[..], [Difference::Balance { asset, .. }] if asset == "BNB"));
}

#[test]
fn a_difference_is_taken_over_as_far_as_the_configuration_says() {
    for (missing, is_accepted) in [("5", true), ("5.01", false)] {
        let pairs = vec![(symbol(), walk(4, 40, 60, 20))];
        let mut world = World::with(&PLAIN, pairs, EntryStyle::Market, Faults::default(), 4, |plan, _| {
            plan.accepted_differences = BTreeMap::from([("USDT".to_owned(), Decimal::from(5))]);
        });
        world.settle();
        let missing: Decimal = missing.parse().unwrap();
        assert!(world.simulator.transfer("USDT", -missing));
        world.restart();
        for _ in 0..20 {
            world.pump();
            world.pass_time();
        }
        let refused = matches!(world.trader.standing(), Standing::Refused { .. });
        assert_eq!(refused, !is_accepted, "{missing}");
        if is_accepted {
            assert_eq!(world.trader.state().expected["USDT"], world.total("USDT"));
            assert!(world.notices.iter().any(|notice| notice.text.starts_with("taken over")));
        }
    }
}

#[test]
fn units_that_are_gone_are_not_sold() {
    let mut world = World::new(&LEVELS, walk(3, 60, 60, 10), EntryStyle::Market, Faults::default(), 3);
    world.settle();
    while world.trader.state().position(&symbol()).is_none() {
        assert!(world.step());
    }
    let open = world.simulator.open_orders(None).unwrap()[0].client_id.clone();
    let cancel_id = polybolos_live_trader::client_id::ClientId::from_wire("by-hand");
    world.simulator.execute(&Command::Cancel { symbol: symbol(), target: open, cancel_id }).unwrap();
    let half = world.total("BTC") / Decimal::TWO;
    assert!(world.simulator.transfer("BTC", -half.round_dp(4)));
    world.restart();
    for _ in 0..20 {
        world.pump();
        world.pass_time();
    }
    assert!(matches!(world.trader.standing(), Standing::Refused { .. }));
    world.tell(Event::Operator(Operator::AcceptDifferences));
    for _ in 0..20 {
        world.pump();
        world.pass_time();
    }
    let open = world.simulator.open_orders(None).unwrap();
    assert_eq!(open.len(), 2, "what is there is protected");
    assert!(open.iter().all(|order| order.remaining() <= world.total("BTC")));
}
