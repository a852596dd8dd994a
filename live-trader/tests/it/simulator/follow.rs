//! A market that is followed while it goes on: what quotes do, what closed bars do, and to which orders.

use polybolos_engine::signals::Bar;
use polybolos_live_trader::filters::SymbolStatus;
use polybolos_live_trader::order::{Bracket, Leg, NewList, OrderStatus};
use polybolos_live_trader::simulator::{PartialFill, Phase, SimulatorError};
use polybolos_live_trader::venue::MarketEvent;

use super::*;

const MINUTE_MS: i64 = 60_000;

/// The bar that opens at this hour, in hundredths.
fn bar(hour: i64, [open, high, low, close]: [i64; 4]) -> Bar {
    let bars = bars(&[[open, high, low, close]]);
    Bar { open_time_ms: hour * HOUR_MS, ..Bar::at(&bars, 0).unwrap() }
}

fn symbol() -> Symbol {
    Symbol::new("BTCUSDT")
}

/// Follows pairs from one o'clock on; the hour before closed at 100.
fn followed(names: &[&str]) -> Simulator {
    let pair = |name: &&str| {
        let past = bars(&[[10_000; 4]]);
        let mut rules = synthetic_rules(&Symbol::new(name), &past);
        (rules.price.step, rules.price.min) = (dec("0.01"), dec("0.01"));
        (rules, vec![bar(0, [10_000; 4])])
    };
    let balance = |asset: &str, amount: i64| (asset.to_owned(), Decimal::from(amount));
    let balances = vec![balance("USDT", 100_000), balance("BTC", 100), balance("ETH", 100)];
    let settings = Settings { balances, ..Settings::default() };
    let pairs = names.iter().map(pair).collect();
    Simulator::follow(settings, HOUR_MS, pairs, HOUR_MS).unwrap()
}

/// Something that happens.
enum Do {
    /// It is so many minutes past midnight.
    At(i64),
    Quote(&'static str),
    /// The bar of this hour has closed.
    Close(i64, [i64; 4]),
    Sell(&'static str, OrderKind),
    Buy(&'static str, OrderKind),
}

use Do::{At, Buy, Close, Quote, Sell};

fn stop(price: &str) -> OrderKind {
    OrderKind::StopLoss { stop_price: dec(price) }
}

fn take_profit(price: &str) -> OrderKind {
    OrderKind::TakeProfit { stop_price: dec(price) }
}

fn stop_limit(stop: &str, price: &str) -> OrderKind {
    OrderKind::StopLossLimit { stop_price: dec(stop), price: dec(price), time_in_force: TimeInForce::Gtc }
}

fn act(exchange: &mut Simulator, act: &Do) {
    match *act {
        At(minutes) => exchange.pass_time(minutes * MINUTE_MS),
        Quote(price) => exchange.take_quote(&symbol(), dec(price), dec(price)),
        Close(hour, ticks) => assert_eq!(exchange.take_bar(&symbol(), &bar(hour, ticks)), Ok(true)),
        Sell(name, kind) => drop(exchange.place(&order(name, OrderSide::Sell, kind, "1"), None).unwrap()),
        Buy(name, kind) => drop(exchange.place(&order(name, OrderSide::Buy, kind, "1"), None).unwrap()),
    }
}

/// All fills of the pair, as `id price`.
fn fills(exchange: &Simulator) -> Vec<String> {
    let symbol = symbol();
    let name = |order_id| {
        let mut orders = exchange.all_orders(&symbol).unwrap();
        orders.find(|order| order.order_id == order_id).unwrap().client_id.as_str().to_owned()
    };
    let trades = exchange.trades(&symbol).unwrap();
    trades.map(|trade| format!("{} {}", name(trade.fill.order_id), trade.fill.price.normalize())).collect()
}

#[track_caller]
fn check(about: &str, acts: &[Do], expected: &[&str]) {
    let mut exchange = followed(&["BTCUSDT"]);
    acts.iter().for_each(|one| act(&mut exchange, one));
    assert_eq!(fills(&exchange), expected, "{about}");
}

#[test]
fn quotes_move_the_price_and_meet_what_rests() {
    check(
        "market orders fill at the newest quote",
        &[Quote("101"), Buy("in", OrderKind::Market)],
        &["in 101"],
    );
    check(
        "a stop beyond its level fills at the worse price",
        &[Sell("s", stop("98")), Quote("97")],
        &["s 97"],
    );
    check("a stop at its level", &[Sell("s", stop("98")), Quote("98")], &["s 98"]);
    check("a stop to buy", &[Buy("s", stop("102")), Quote("103.5")], &["s 103.5"]);
    check(
        "not reached",
        &[Sell("s", stop("98")), Sell("l", limit("102")), Quote("98.01"), Quote("101.99")],
        &[],
    );
    check("a limit fills at its own price", &[Sell("l", limit("102")), Quote("103")], &["l 102"]);
    check("a limit to buy too", &[Buy("l", limit("99")), Quote("95")], &["l 99"]);
    check("a take profit sells at the market", &[Sell("t", take_profit("102")), Quote("103")], &["t 103"]);
    check(
        "the nearest first",
        &[Buy("b", limit("97")), Buy("a", limit("99")), Quote("95")],
        &["a 99", "b 97"],
    );
    check(
        "a stop limit that the price has jumped over waits at its limit",
        &[Sell("s", stop_limit("98", "97.5")), Quote("97"), Quote("97.4"), Quote("97.6")],
        &["s 97.5"],
    );
    check(
        "a quote is not met twice",
        &[Sell("s", stop("98")), Quote("97"), Quote("97"), Quote("96")],
        &["s 97"],
    );
}

#[test]
fn a_closed_bar_is_met_by_what_was_there_when_it_opened() {
    let deep = [10_000, 10_400, 9_500, 10_000];
    check(
        "placed before it opened",
        &[Sell("s", stop("96")), Close(1, [10_000; 4]), Close(2, deep)],
        &["s 96"],
    );
    check(
        "placed during it: nobody knows what came first",
        &[At(90), Sell("s", stop("96")), Close(1, deep)],
        &[],
    );
    check("a limit as well", &[At(90), Sell("l", limit("103")), Close(1, deep)], &[]);
    check(
        "and so the bar after it",
        &[At(90), Sell("l", limit("103")), Close(1, deep), Close(2, deep)],
        &["l 103"],
    );
    check(
        "its close came after what was placed during it",
        &[At(90), Sell("s", stop("98")), Close(1, [10_000, 10_000, 9_500, 9_700])],
        &["s 97"],
    );
    check(
        "a bar that opened beyond the level, without a quote",
        &[Sell("s", stop("98")), Close(1, [10_000; 4]), Close(2, [9_600, 9_600, 9_600, 9_600])],
        &["s 96"],
    );
    check(
        "the trigger of a bar's middle is no order of its beginning",
        &[
            Sell("s", stop_limit("98", "99")),
            Close(1, [10_000; 4]),
            Quote("97.9"),
            Quote("98.5"),
            Close(2, [10_000, 10_000, 9_790, 9_850]),
        ],
        &[],
    );
    check(
        "placed behind its end, before the close was told: young in the next bar",
        &[At(121), Sell("s", stop("96")), Close(1, [10_000; 4]), Close(2, deep)],
        &[],
    );
}

#[test]
fn the_rest_of_a_split_order_waits_for_the_next_quote_or_bar() {
    let start = || {
        let mut exchange = followed(&["BTCUSDT"]);
        let split = PartialFill { fraction: dec("0.5"), expires_rest: false };
        let sell = order("l", OrderSide::Sell, limit("102"), "1");
        exchange.place(&sell, Some(split)).unwrap();
        act(&mut exchange, &Close(1, [10_000; 4]));
        exchange
    };
    let filled = |exchange: &Simulator| exchange.trades(&symbol()).unwrap().count();
    let far = [10_000, 10_300, 10_000, 10_000];
    let mut exchange = start();
    for (news, expected) in [(Quote("103"), 1), (Quote("101"), 1), (Close(2, far), 1), (Close(3, far), 2)] {
        act(&mut exchange, &news);
        assert_eq!(filled(&exchange), expected);
    }
    let mut exchange = start();
    for (news, expected) in [(Close(2, far), 1), (Quote("101.99"), 1), (Quote("102"), 2)] {
        act(&mut exchange, &news);
        assert_eq!(filled(&exchange), expected);
    }
}

#[test]
fn what_came_behind_a_close_is_newer_than_it() {
    let acts = [At(119), Quote("100.5"), At(121), Quote("101"), Close(1, [10_000, 10_100, 10_000, 10_050])];
    let mut exchange = followed(&["BTCUSDT"]);
    acts.iter().for_each(|one| act(&mut exchange, one));
    assert_eq!(exchange.price(&symbol()), Some(dec("101")));
    let mut exchange = followed(&["BTCUSDT"]);
    acts.iter().filter(|one| !matches!(one, At(121))).for_each(|one| act(&mut exchange, one));
    assert_eq!(exchange.price(&symbol()), Some(dec("100.5")), "the close came behind both quotes");
}

#[test]
fn a_hole_is_filled_in_order_and_each_bar_meets_the_orders_of_its_time() {
    let deep = [10_000, 10_400, 9_500, 10_000];
    // Nothing was heard for three hours. The order came in the middle of the second.
    let placed = [At(150), Sell("s", stop("96"))];
    for (bars, expected) in [(1, &[] as &[&str]), (2, &[]), (3, &["s 96"])] {
        let mut exchange = followed(&["BTCUSDT"]);
        placed.iter().for_each(|one| act(&mut exchange, one));
        act(&mut exchange, &At(245));
        (1..=bars).for_each(|hour| act(&mut exchange, &Close(hour, deep)));
        assert_eq!(fills(&exchange), expected, "after bar {bars}");
    }
    // An entry that one of these bars fills is protected in the next.
    let mut exchange = followed(&["BTCUSDT"]);
    let leg = |name: &str, kind| Leg { client_id: id(name), kind };
    let list = NewList::Otoco {
        symbol: symbol(),
        list_id: id("list"),
        working: order("in", OrderSide::Buy, limit("98"), "1"),
        bracket: Bracket {
            side: OrderSide::Sell,
            quantity: dec("1"),
            above: leg("up", OrderKind::LimitMaker { price: dec("110") }),
            below: leg("down", stop("96")),
        },
    };
    exchange.place_list(&list, None).unwrap();
    act(&mut exchange, &At(245));
    for (hour, ticks) in
        [(1, [10_000; 4]), (2, [10_000, 10_000, 9_750, 9_800]), (3, [9_800, 9_800, 9_590, 9_700])]
    {
        act(&mut exchange, &Close(hour, ticks));
    }
    assert_eq!(fills(&exchange), ["in 98", "down 96"]);
}

#[test]
fn no_bar_comes_twice_and_a_wrong_one_changes_nothing() {
    let mut exchange = followed(&["BTCUSDT"]);
    let flat = [10_000; 4];
    assert_eq!(exchange.take_bar(&symbol(), &bar(2, flat)), Ok(true), "the source has no bar 1");
    for late in [0, 1, 2] {
        assert_eq!(exchange.take_bar(&symbol(), &bar(late, flat)), Ok(false), "{late}");
    }
    let broken = [Bar { high: 99.0, ..bar(3, flat) }, Bar { low: f64::NAN, ..bar(3, flat) }, bar(3, [0; 4])];
    for broken in broken {
        assert!(exchange.take_bar(&symbol(), &broken).is_err(), "{broken:?}");
    }
    let unknown = exchange.take_bar(&Symbol::new("ETHUSDT"), &bar(3, flat)).unwrap_err();
    assert!(matches!(unknown, SimulatorError::Symbol { .. }), "{unknown}");
    for (bid, ask) in [("0", "100"), ("100", "0"), ("-1", "-1"), ("70000000000000000000000000000", "1")] {
        exchange.take_quote(&symbol(), dec(bid), dec(ask));
    }
    assert_eq!(exchange.price(&symbol()), Some(dec("100")));
    let open_ms: Vec<i64> = exchange
        .bars(&symbol(), None, None, 10)
        .unwrap()
        .iter()
        .map(|bar| bar.open_time_ms / HOUR_MS)
        .collect();
    assert_eq!(open_ms, [0, 2]);
    assert_eq!(exchange.open_bar_ms(&symbol()), Some(3 * HOUR_MS));
    // It has no steps.
    assert_eq!((exchange.open_step(), exchange.next_open_ms(), exchange.phase()), (None, None, Phase::Live));
}

#[test]
fn each_pair_closes_at_its_own_time_and_time_never_goes_back() {
    let mut exchange = followed(&["BTCUSDT", "ETHUSDT"]);
    let eth = Symbol::new("ETHUSDT");
    act(&mut exchange, &Close(1, [10_000, 10_100, 10_000, 10_100]));
    assert_eq!(exchange.price(&eth), Some(dec("100")));
    let after_close = exchange.now_ms();
    assert!(after_close >= 2 * HOUR_MS, "a close proves that its time has come");
    exchange.pass_time(HOUR_MS);
    assert_eq!(exchange.now_ms(), after_close);
    act(&mut exchange, &Close(2, [10_100, 10_200, 10_100, 10_200]));
    exchange.take_bar(&eth, &bar(1, [10_000, 10_000, 9_000, 9_000])).unwrap();
    let told: Vec<String> = exchange
        .take_market_events()
        .iter()
        .map(|event| match event {
            MarketEvent::Bar { symbol, bar } => format!("{symbol} bar {}", bar.open_time_ms / HOUR_MS),
            MarketEvent::Quote { symbol, bid, .. } => format!("{symbol} {}", bid.normalize()),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected =
        ["BTCUSDT bar 1", "BTCUSDT 101", "BTCUSDT bar 2", "BTCUSDT 102", "ETHUSDT bar 1", "ETHUSDT 90"];
    assert_eq!(told, expected);
    act(&mut exchange, &Quote("102"));
    assert_eq!(exchange.take_market_events(), [], "a price that has not changed is not told");
}

#[test]
fn the_price_is_the_middle_on_the_grid() {
    let mut exchange = followed(&["BTCUSDT"]);
    for (bid, ask, expected) in [
        ("99.99", "100.01", "100"),
        ("99.99", "100", "99.99"),
        ("0.001", "0.002", "0.0015"),
        ("99.995", "99.995", "99.995"),
    ] {
        exchange.take_quote(&symbol(), dec(bid), dec(ask));
        assert_eq!(exchange.price(&symbol()), Some(dec(expected)), "{bid} {ask}");
    }
}

#[test]
fn a_pair_without_a_past_begins_with_its_first_quote_or_bar() {
    let rules = synthetic_rules(&symbol(), &bars(&[[10_000; 4]]));
    let mut exchange =
        Simulator::follow(Settings::default(), HOUR_MS, vec![(rules, Vec::new())], HOUR_MS).unwrap();
    assert_eq!((exchange.price(&symbol()), exchange.open_bar_ms(&symbol())), (None, None));
    assert!(exchange.place(&order("in", OrderSide::Buy, OrderKind::Market, "1"), None).is_err());
    act(&mut exchange, &Quote("100"));
    act(&mut exchange, &Buy("in", OrderKind::Market));
    act(&mut exchange, &Close(1, [10_000, 10_100, 10_000, 10_100]));
    assert_eq!(
        (fills(&exchange), exchange.open_bar_ms(&symbol())),
        (vec!["in 100".to_owned()], Some(2 * HOUR_MS))
    );
}

#[test]
fn rules_change_with_those_of_the_source() {
    let mut exchange = followed(&["BTCUSDT"]);
    let mut rules = exchange.rules().next().unwrap().clone();
    rules.status = SymbolStatus::Halted;
    assert!(exchange.revise_rules(&rules));
    let refused = exchange.place(&order("in", OrderSide::Buy, OrderKind::Market, "1"), None);
    assert!(refused.is_err(), "{refused:?}");
    rules.status = SymbolStatus::Trading;
    assert!(exchange.revise_rules(&rules));
    act(&mut exchange, &Buy("in", OrderKind::Market));
    rules.quote_asset = "BTC".to_owned();
    assert!(!exchange.revise_rules(&rules), "another pair under the same name");
    let status = exchange.all_orders(&symbol()).unwrap().next().unwrap().status;
    assert_eq!(status, OrderStatus::Filled);
}
