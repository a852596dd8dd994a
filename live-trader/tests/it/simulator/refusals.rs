//! What the exchange turns down, with its codes and words; a refusal does nothing.

use polybolos_live_trader::order::{Bracket, Leg, NewList, OrderKind, OrderSide, TimeInForce};
use polybolos_live_trader::simulator::{Settings, Simulator};
use polybolos_live_trader::symbol::Symbol;
use polybolos_live_trader::venue::{Command, VenueError};

use super::{bars, dec, exchange, id, limit, order};

/// A price of 100, 1000 USDT and 2 BTC, an order `open` to buy 1 at 90, and one that was cancelled.
fn started() -> Simulator {
    let balances = vec![("USDT".to_owned(), dec("1000")), ("BTC".to_owned(), dec("2"))];
    let settings = Settings { balances, ..Settings::default() };
    let mut exchange = exchange("BTCUSDT", bars(&[[10_000; 4]]), settings);
    exchange.open_step();
    for name in ["open", "gone"] {
        exchange.place(&order(name, OrderSide::Buy, limit("90"), "1"), None).unwrap();
    }
    exchange.execute(&cancel("gone")).unwrap();
    exchange.take_events();
    exchange
}

fn cancel(target: &str) -> Command {
    Command::Cancel { symbol: Symbol::new("BTCUSDT"), target: id(target), cancel_id: id("c") }
}

fn buy(name: &str, kind: OrderKind, quantity: &str) -> Command {
    Command::Place(order(name, OrderSide::Buy, kind, quantity))
}

fn sell(name: &str, kind: OrderKind, quantity: &str) -> Command {
    Command::Place(order(name, OrderSide::Sell, kind, quantity))
}

fn oco(above: &str, below: &str, ids: [&str; 2], quantity: &str) -> Command {
    let bracket = Bracket {
        side: OrderSide::Sell,
        quantity: dec(quantity),
        above: Leg { client_id: id(ids[0]), kind: OrderKind::LimitMaker { price: dec(above) } },
        below: Leg { client_id: id(ids[1]), kind: OrderKind::StopLoss { stop_price: dec(below) } },
    };
    Command::PlaceList(NewList::Oco { symbol: Symbol::new("BTCUSDT"), list_id: id("list"), bracket })
}

#[test]
fn refusals_have_the_exchanges_codes_and_do_nothing() {
    let other = Symbol::new("NOPEUSDT");
    let market = OrderKind::Market;
    let stop = |price: &str| OrderKind::StopLoss { stop_price: dec(price) };
    let maker = |price: &str| OrderKind::LimitMaker { price: dec(price) };
    let fok = OrderKind::StopLossLimit {
        stop_price: dec("95.001"),
        price: dec("95"),
        time_in_force: TimeInForce::Fok,
    };
    let elsewhere = {
        let mut new = order("a", OrderSide::Buy, market, "1");
        new.symbol = other.clone();
        Command::Place(new)
    };
    let balance = "Account has insufficient balance for requested action.";
    let relation = "The relationship of the prices for the orders is not correct.";
    let cases: Vec<(Command, i32, &str)> = vec![
        (buy("a", limit("99.005"), "1"), -1013, "Filter failure: PRICE_FILTER"),
        (sell("a", fok, "1"), -1013, "Filter failure: PRICE_FILTER"),
        (buy("a", limit("501"), "1"), -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        (buy("a", limit("19"), "1"), -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        (buy("a", limit("99"), "0.00001"), -1013, "Filter failure: LOT_SIZE"),
        (buy("a", limit("99"), "20000000000000"), -1013, "Filter failure: LOT_SIZE"),
        (buy("a", limit("99"), "0.05"), -1013, "Filter failure: NOTIONAL"),
        (buy("a", market, "0.04"), -1013, "Filter failure: NOTIONAL"),
        (buy("a", market, "0"), -2010, "Price * QTY is zero or less."),
        (buy("a", limit("0"), "1"), -2010, "Price * QTY is zero or less."),
        // 910 are free: the open order holds 90.
        (buy("a", market, "9.2"), -2010, balance),
        (buy("a", limit("99"), "9.2"), -2010, balance),
        (sell("a", market, "2.1"), -2010, balance),
        (oco("110", "90", ["t", "s"], "2.1"), -2010, balance),
        (buy("open", market, "1"), -2010, "Duplicate order sent."),
        (oco("110", "90", ["open", "s"], "1"), -2010, "Duplicate order sent."),
        (oco("110", "90", ["s", "s"], "1"), -2010, "Duplicate order sent."),
        (buy("a", maker("100"), "1"), -2010, "Order would immediately match and take."),
        (sell("a", maker("99"), "1"), -2010, "Order would immediately match and take."),
        (sell("a", stop("100"), "1"), -2010, "Order would trigger immediately."),
        (buy("a", stop("100"), "1"), -2010, "Order would trigger immediately."),
        (oco("100", "90", ["t", "s"], "1"), -2010, relation),
        (oco("110", "100", ["t", "s"], "1"), -2010, relation),
        (elsewhere, -1121, "Invalid symbol."),
        (cancel("never"), -2011, "Unknown order sent."),
        (cancel("gone"), -2011, "Unknown order sent."),
        (
            Command::CancelList { symbol: Symbol::new("BTCUSDT"), list_id: id("list"), cancel_id: id("c") },
            -2011,
            "Unknown order sent.",
        ),
        (
            Command::QueryOrder { symbol: Symbol::new("BTCUSDT"), client_id: id("never") },
            -2013,
            "Order does not exist.",
        ),
        (
            Command::QueryList { symbol: Symbol::new("BTCUSDT"), list_id: id("list") },
            -2013,
            "Order does not exist.",
        ),
        (Command::OpenOrders { symbol: Some(other) }, -1121, "Invalid symbol."),
    ];
    for (command, code, message) in cases {
        let mut exchange = started();
        let before = (exchange.balances(), exchange.execute(&Command::OpenOrders { symbol: None }));
        let message = message.to_owned();
        let expected = match code {
            -2013 => VenueError::NotFound { code, message },
            _ => VenueError::Refused { code, message },
        };
        assert_eq!(exchange.execute(&command), Err(expected), "{command:?}");
        let after = (exchange.balances(), exchange.execute(&Command::OpenOrders { symbol: None }));
        assert_eq!(after, before, "{command:?}");
        assert_eq!(exchange.take_events(), [], "{command:?}");
    }
}

#[test]
fn an_id_can_be_used_again_when_its_order_has_ended() {
    let mut exchange = started();
    exchange.execute(&buy("gone", limit("90"), "1")).unwrap();
    exchange.execute(&cancel("open")).unwrap();
    exchange.execute(&oco("110", "90", ["open", "s"], "1")).unwrap();
}

#[test]
fn a_market_without_prices_is_closed() {
    let mut exchange = exchange("BTCUSDT", bars(&[[10_000; 4]]), Settings::default());
    let refused = VenueError::Refused { code: -2010, message: "Market is closed.".to_owned() };
    assert_eq!(exchange.execute(&buy("a", OrderKind::Market, "1")), Err(refused));
}
