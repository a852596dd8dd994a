//! Single orders in single bars: parts, rests, triggers and new names.

use polybolos_live_trader::order::{OrderKind, OrderSide, OrderStatus, Quantity};
use polybolos_live_trader::simulator::{
    OrderRef, PartialFill, Settings, Simulator, SimulatorError, synthetic_rules,
};
use polybolos_live_trader::symbol::Symbol;
use polybolos_live_trader::venue::{Command, Response};
use rust_decimal::Decimal;

use super::{bars, dec, exchange, id, limit, order};

fn opened(rows: &[[i64; 4]], settings: Settings) -> Simulator {
    let mut exchange = exchange("BTCUSDT", bars(rows), settings);
    exchange.open_step();
    exchange
}

fn executed(exchange: &Simulator, client_id: &str) -> (Decimal, OrderStatus) {
    let target = OrderRef::Client(id(client_id));
    let order = exchange.order(&Symbol::new("BTCUSDT"), &target).unwrap();
    (order.executed_quantity, order.status)
}

#[test]
fn the_rest_of_a_split_limit_waits_for_the_next_bar() {
    let half = Some(PartialFill { fraction: dec("0.5"), expires_rest: false });
    // The bar trades through the limit, or opens below it.
    for row in [[10_000, 10_000, 9_800, 9_900], [9_890, 9_950, 9_800, 9_900]] {
        let mut exchange = opened(&[[10_000; 4], row, [9_890, 9_900, 9_880, 9_890]], Settings::default());
        exchange.place(&order("a", OrderSide::Buy, limit("99"), "4"), half).unwrap();
        exchange.play_step();
        assert_eq!(executed(&exchange, "a"), (dec("0"), OrderStatus::New), "{row:?}");
        exchange.advance();
        assert_eq!(executed(&exchange, "a"), (dec("2"), OrderStatus::PartiallyFilled), "{row:?}");
        exchange.advance();
        assert_eq!(executed(&exchange, "a"), (dec("4"), OrderStatus::Filled), "{row:?}");
    }
}

#[test]
fn a_split_market_order_trades_twice_or_expires() {
    for (expires_rest, quantity, status, fills) in
        [(false, "4", OrderStatus::Filled, 2), (true, "1", OrderStatus::Expired, 1)]
    {
        let mut exchange = opened(&[[10_000; 4]], Settings::default());
        let partial = Some(PartialFill { fraction: dec("0.25"), expires_rest });
        let command = Command::Place(order("a", OrderSide::Buy, OrderKind::Market, "4"));
        let Ok(Response::Order(report)) = exchange.execute_with(&command, partial) else {
            panic!("an order is answered by an order");
        };
        assert_eq!((report.executed_quantity, report.status), (dec(quantity), status));
        assert_eq!(report.fills.len(), fills);
    }
}

/// What is left of the lock and what is free pay for it together, and the rest that expires must not hold any of that back.
#[test]
fn a_stop_that_opens_beyond_its_lock_pays_for_all_that_it_buys() {
    for partial in [None, Some(PartialFill { fraction: dec("0.5"), expires_rest: false })] {
        let balances = vec![("USDT".to_owned(), dec("1000"))];
        let rows = [[10_000; 4], [11_000; 4]];
        let mut exchange = opened(&rows, Settings { balances, ..Settings::default() });
        let stop = OrderKind::StopLoss { stop_price: dec("101") };
        exchange.place(&order("a", OrderSide::Buy, stop, "5"), partial).unwrap();
        // All but 1.5 of what the stop does not hold.
        exchange.place(&order("b", OrderSide::Buy, limit("50"), "9.87"), None).unwrap();
        exchange.play_step();
        exchange.advance();
        let (bought, status) = executed(&exchange, "a");
        assert_eq!(status, OrderStatus::Expired);
        assert!(bought > dec("4.6") && bought * dec("110") <= dec("506.5"), "{bought}");
        let balances = exchange.balances();
        let of = |asset: &str| balances.iter().find(|balance| balance.asset == asset).unwrap();
        assert_eq!((of("USDT").free, of("USDT").locked), (dec("506.5") - bought * dec("110"), dec("493.5")));
        assert!(of("BTC").free < bought && of("BTC").free > bought * dec("0.9989"), "{balances:?}");
    }
}

#[test]
fn commission_comes_from_what_was_received_or_from_bnb() {
    for (bnb_fees, expected) in [(false, ("BTC", "0.004")), (true, ("BNB", "0.003"))] {
        let settings = Settings {
            bnb_fees,
            balances: vec![("USDT".to_owned(), dec("1000")), ("BNB".to_owned(), dec("1"))],
            ..Settings::default()
        };
        let pairs = ["BTCUSDT", "BNBUSDT"].map(|name| {
            let bars = bars(&[[10_000; 4]]);
            (synthetic_rules(&Symbol::new(name), &bars), bars)
        });
        let mut exchange = Simulator::new(settings, pairs.to_vec(), 0).unwrap();
        exchange.open_step();
        exchange.place(&order("a", OrderSide::Buy, OrderKind::Market, "4"), None).unwrap();
        let fees = exchange.fees();
        assert_eq!(fees, vec![(expected.0.to_owned(), dec(expected.1))]);
    }
}

#[test]
fn slippage_worsens_market_fills_and_no_others() {
    let mut exchange = opened(
        &[[10_000, 10_000, 9_900, 9_900], [9_900, 10_100, 9_900, 10_100]],
        Settings { slippage: 0.01, ..Settings::default() },
    );
    exchange.place(&order("market", OrderSide::Buy, OrderKind::Market, "1"), None).unwrap();
    exchange.place(&order("limit", OrderSide::Buy, limit("99.50"), "1"), None).unwrap();
    exchange.play_step();
    let stop = OrderKind::StopLoss { stop_price: dec("100.50") };
    exchange.place(&order("stop", OrderSide::Buy, stop, "1"), None).unwrap();
    exchange.advance();
    let fills: Vec<(Decimal, bool)> = exchange
        .trades(&Symbol::new("BTCUSDT"))
        .unwrap()
        .map(|trade| (trade.fill.price, trade.fill.is_maker))
        .collect();
    assert_eq!(fills, [(dec("101"), false), (dec("99.5"), true), (dec("101.505"), false)]);
}

#[test]
fn an_order_by_quote_amount_spends_no_more_than_that() {
    let mut exchange = opened(&[[30_000; 4]], Settings::default());
    let mut new = order("a", OrderSide::Buy, OrderKind::Market, "1");
    new.quantity = Quantity::Quote(dec("100"));
    exchange.place(&new, None).unwrap();
    let order = exchange.order(&new.symbol, &OrderRef::Client(id("a"))).unwrap();
    assert!(order.executed_quote <= dec("100") && order.executed_quote > dec("99.9"), "{order:?}");
}

#[test]
fn an_amended_order_gives_its_old_id_free() {
    let mut exchange = opened(&[[10_000; 4]], Settings::default());
    let symbol = Symbol::new("BTCUSDT");
    exchange.place(&order("a", OrderSide::Buy, limit("99"), "4"), None).unwrap();
    exchange.amend(&symbol, &OrderRef::Client(id("a")), dec("3"), &id("b")).unwrap();
    let usdt = exchange.balances().into_iter().find(|b| b.asset == "USDT").unwrap();
    assert_eq!(usdt.locked, dec("297"));
    assert_eq!(exchange.order(&symbol, &OrderRef::Client(id("a"))).unwrap_err().code, -2013);
    exchange.place(&order("a", OrderSide::Buy, limit("98"), "1"), None).unwrap();
}

#[test]
fn prices_that_no_order_could_name_are_refused_at_the_door() {
    let good = bars(&[[10_000; 4]]);
    for at in 0..4 {
        let mut bad = good.clone();
        let column = [&mut bad.open, &mut bad.high, &mut bad.low, &mut bad.close];
        column.into_iter().nth(at).unwrap()[0] = 1e-13;
        if at == 1 {
            bad.low[0] = 1e-13;
        }
        let rules = synthetic_rules(&Symbol::new("BTCUSDT"), &good);
        let error = Simulator::new(Settings::default(), vec![(rules, bad)], 0).unwrap_err();
        assert!(matches!(error, SimulatorError::Price { price, .. } if price == 1e-13), "{at}: {error}");
    }
}
