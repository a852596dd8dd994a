//! Every command as the text that is sent.

use super::*;
use crate::client_id::ClientId;

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn id(intent: Intent) -> ClientId {
    ClientId::new("bot", &Symbol::new("BTCUSDT"), 1_700_000_000_000, intent, 0)
}

fn order(intent: Intent, kind: OrderKind, quantity: Quantity) -> NewOrder {
    NewOrder { symbol: Symbol::new("BTCUSDT"), client_id: id(intent), side: OrderSide::Buy, kind, quantity }
}

fn bracket() -> Bracket {
    let limit = OrderKind::LimitMaker { price: decimal("120.50") };
    let stop = OrderKind::StopLossLimit {
        stop_price: decimal("90"),
        price: decimal("89.5"),
        time_in_force: TimeInForce::Gtc,
    };
    Bracket {
        side: OrderSide::Sell,
        quantity: decimal("0.250"),
        above: Leg { client_id: id(Intent::Target), kind: limit },
        below: Leg { client_id: id(Intent::Stop), kind: stop },
    }
}

#[test]
fn placements_are_written_as_the_exchange_wants_them() {
    let (symbol, list_id) = (Symbol::new("BTCUSDT"), id(Intent::Protection));
    let time_in_force = TimeInForce::Ioc;
    let limit = OrderKind::Limit { price: decimal("100.10"), time_in_force };
    let base = Quantity::Base(decimal("0.250"));
    let (entry, exit, target, stop) =
        (id(Intent::Entry), id(Intent::Exit), id(Intent::Target), id(Intent::Stop));
    let cases = [
        (
            Command::Place(order(Intent::Entry, OrderKind::Market, Quantity::Quote(decimal("50.00")))),
            ("/api/v3/order", "order.place", 1, Priority::Entry),
            format!(
                "symbol=BTCUSDT&side=BUY&type=MARKET&quoteOrderQty=50&newClientOrderId={entry}&newOrderRespType=FULL"
            ),
        ),
        (
            Command::Place(order(Intent::Exit, limit, base)),
            ("/api/v3/order", "order.place", 1, Priority::Protection),
            format!(
                "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=IOC&price=100.1&quantity=0.25&newClientOrderId={exit}&newOrderRespType=FULL"
            ),
        ),
        (
            Command::PlaceList(NewList::Oco {
                symbol: symbol.clone(),
                list_id: list_id.clone(),
                bracket: bracket(),
            }),
            ("/api/v3/orderList/oco", "orderList.place.oco", 2, Priority::Protection),
            format!(
                "symbol=BTCUSDT&listClientOrderId={list_id}&newOrderRespType=FULL&side=SELL&quantity=0.25&aboveType=LIMIT_MAKER&abovePrice=120.5&aboveClientOrderId={target}&belowType=STOP_LOSS_LIMIT&belowTimeInForce=GTC&belowPrice=89.5&belowStopPrice=90&belowClientOrderId={stop}"
            ),
        ),
        (
            Command::PlaceList(NewList::Otoco {
                symbol: symbol.clone(),
                list_id: list_id.clone(),
                working: order(Intent::Entry, limit, base),
                bracket: bracket(),
            }),
            ("/api/v3/orderList/otoco", "orderList.place.otoco", 3, Priority::Entry),
            format!(
                "symbol=BTCUSDT&listClientOrderId={list_id}&newOrderRespType=FULL&workingType=LIMIT&workingTimeInForce=IOC&workingPrice=100.1&workingSide=BUY&workingQuantity=0.25&workingClientOrderId={entry}&pendingSide=SELL&pendingQuantity=0.25&pendingAboveType=LIMIT_MAKER&pendingAbovePrice=120.5&pendingAboveClientOrderId={target}&pendingBelowType=STOP_LOSS_LIMIT&pendingBelowTimeInForce=GTC&pendingBelowPrice=89.5&pendingBelowStopPrice=90&pendingBelowClientOrderId={stop}"
            ),
        ),
        (
            Command::PlaceList(NewList::Oto {
                symbol,
                list_id: list_id.clone(),
                working: order(Intent::Entry, limit, base),
                pending: order(Intent::Stop, OrderKind::StopLoss { stop_price: decimal("90") }, base),
            }),
            ("/api/v3/orderList/oto", "orderList.place.oto", 2, Priority::Entry),
            format!(
                "symbol=BTCUSDT&listClientOrderId={list_id}&newOrderRespType=FULL&workingType=LIMIT&workingTimeInForce=IOC&workingPrice=100.1&workingSide=BUY&workingQuantity=0.25&workingClientOrderId={entry}&pendingType=STOP_LOSS&pendingStopPrice=90&pendingSide=BUY&pendingQuantity=0.25&pendingClientOrderId={stop}"
            ),
        ),
    ];
    for (command, (path, method, orders, priority), query) in cases {
        let request = Request::of(&command).unwrap();
        assert_eq!(request.params.query(), query);
        assert_eq!((request.path, request.method, request.verb), (path, method, Verb::Post));
        assert_eq!((request.cost.orders, request.priority), (orders, priority));
        assert!(request.changes_orders() && request.is_signed && command.changes_orders());
    }
}

#[test]
fn cancels_and_questions_come_first_and_cost_what_is_published() {
    let (symbol, target, cancel_id) = (Symbol::new("BTCUSDT"), id(Intent::Entry), id(Intent::Cancel));
    let cases = [
        (
            Command::Cancel { symbol: symbol.clone(), target: target.clone(), cancel_id: cancel_id.clone() },
            ("order.cancel", Verb::Delete, 1),
            format!("symbol=BTCUSDT&origClientOrderId={target}&newClientOrderId={cancel_id}"),
        ),
        (
            Command::CancelList {
                symbol: symbol.clone(),
                list_id: target.clone(),
                cancel_id: cancel_id.clone(),
            },
            ("orderList.cancel", Verb::Delete, 1),
            format!("symbol=BTCUSDT&listClientOrderId={target}&newClientOrderId={cancel_id}"),
        ),
        (
            Command::QueryOrder { symbol: symbol.clone(), client_id: target.clone() },
            ("order.status", Verb::Get, 4),
            format!("symbol=BTCUSDT&origClientOrderId={target}"),
        ),
        (
            Command::QueryList { symbol: symbol.clone(), list_id: target.clone() },
            ("orderList.status", Verb::Get, 4),
            format!("origClientOrderId={target}"),
        ),
        (
            Command::OpenOrders { symbol: Some(symbol.clone()) },
            ("openOrders.status", Verb::Get, 6),
            "symbol=BTCUSDT".to_owned(),
        ),
        (Command::OpenOrders { symbol: None }, ("openOrders.status", Verb::Get, 80), String::new()),
        (Command::Account, ("account.status", Verb::Get, 20), String::new()),
    ];
    for (command, (method, verb, weight), query) in cases {
        let request = Request::of(&command).unwrap();
        assert_eq!(request.params.query(), query);
        assert_eq!((request.method, request.verb, request.cost.weight), (method, verb, weight));
        assert_eq!((request.priority, request.cost.orders), (Priority::Lookup, 0));
        assert_eq!(request.changes_orders(), command.changes_orders());
    }
    assert!(Request::of(&Command::Fills { symbol, from_id: None, from_ms: 0 }).is_none());
}
