//! Everything the connector asks for, answered in a form that it reads.

use polybolos_live_trader::order::{Bracket, Leg, NewList, OrderStatus};
use polybolos_live_trader::venue::{AccountEvent, Response, VenueError};

use super::*;

fn bracket(target: &str, stop: &str) -> Bracket {
    Bracket {
        side: OrderSide::Sell,
        quantity: one(),
        above: Leg { client_id: id("target"), kind: OrderKind::LimitMaker { price: dec(target) } },
        below: Leg { client_id: id("stop"), kind: OrderKind::StopLoss { stop_price: dec(stop) } },
    }
}

async fn report(connector: &Connector, command: &Command) -> polybolos_live_trader::order::OrderReport {
    match connector.execute(command).await {
        Ok(Response::Order(report)) => report,
        other => panic!("{command:?}: {other:?}"),
    }
}

/// The commands of the trader over REST, and over a session.
async fn commands(has_session: bool) {
    let sim = start(|_| {}).await;
    let connector = connect(&sim).await;
    let mut stream = has_session.then(|| connector.user_stream());
    if let Some(stream) = &mut stream {
        assert!(matches!(stream.next().await, Some(AccountEvent::Connected)));
    }
    let bought = report(&connector, &order("in", OrderSide::Buy, OrderKind::Market, "1")).await;
    assert_eq!((bought.status, bought.fills[0].price), (OrderStatus::Filled, dec("100.5")));
    assert_eq!(bought.fills[0].commission, dec("0.001"));
    let resting = report(&connector, &order("low", OrderSide::Buy, limit("90"), "1")).await;
    assert_eq!(resting.status, OrderStatus::New);
    let Ok(Response::Orders(open)) = connector.execute(&Command::OpenOrders { symbol: None }).await else {
        panic!()
    };
    assert_eq!(open.len(), 1);
    assert_eq!(report(&connector, &query("low")).await.order_id, resting.order_id);
    assert_eq!(report(&connector, &cancel("low")).await.status, OrderStatus::Canceled);
    assert!(matches!(connector.execute(&cancel("low")).await, Err(VenueError::Refused { code: -2011, .. })));
    assert!(matches!(connector.execute(&query("none")).await, Err(VenueError::NotFound { code: -2013, .. })));
    let poor = order("much", OrderSide::Buy, OrderKind::Market, "5000");
    assert!(matches!(connector.execute(&poor).await, Err(VenueError::Refused { code: -2010, .. })));
    let Ok(Response::Account(account)) = connector.execute(&Command::Account).await else { panic!() };
    assert!(account.can_trade && !account.can_withdraw);
    let held = |asset: &str| account.balances.iter().find(|held| held.asset == asset).unwrap().free;
    assert_eq!((held("BTC"), held("USDT")), (dec("0.999"), dec("99899.5")));
    for (from_id, count) in [(Some(1), 1), (Some(2), 0), (None, 1)] {
        let command = Command::Fills { symbol: symbol(), from_id, from_ms: 0 };
        let Ok(Response::Fills(fills)) = connector.execute(&command).await else { panic!() };
        assert_eq!(fills.len(), count, "{from_id:?}");
        assert!(fills.iter().all(|fill| *fill == bought.fills[0]));
    }
}

#[tokio::test]
async fn the_connectors_commands_over_rest() {
    commands(false).await;
}

#[tokio::test]
async fn the_connectors_commands_over_a_session() {
    commands(true).await;
}

#[tokio::test]
async fn lists_are_placed_found_and_cancelled() {
    let sim = start(|config| config.settings.maker_fee = 0.0).await;
    let connector = connect(&sim).await;
    let working = NewOrder {
        symbol: symbol(),
        client_id: id("entry"),
        side: OrderSide::Buy,
        kind: limit("101"),
        quantity: Quantity::Base(dec("2")),
    };
    let list =
        NewList::Otoco { symbol: symbol(), list_id: id("list"), working, bracket: bracket("110", "95") };
    let Ok(Response::List(placed)) = connector.execute(&Command::PlaceList(list)).await else { panic!() };
    assert_eq!((placed.orders.len(), placed.is_done), (3, false));
    let find = Command::QueryList { symbol: symbol(), list_id: id("list") };
    let Ok(Response::List(found)) = connector.execute(&find).await else { panic!() };
    assert_eq!(found.client_ids, [id("entry"), id("target"), id("stop")]);
    assert_eq!(report(&connector, &query("entry")).await.status, OrderStatus::Filled);
    assert_eq!(report(&connector, &query("stop")).await.status, OrderStatus::New);
    let gone = Command::CancelList { symbol: symbol(), list_id: id("list"), cancel_id: id("cancel") };
    let Ok(Response::List(gone)) = connector.execute(&gone).await else { panic!() };
    assert!(gone.is_done);
    assert_eq!(report(&connector, &query("target")).await.status, OrderStatus::Canceled);
    let oco = NewList::Oco { symbol: symbol(), list_id: id("oco"), bracket: bracket("110", "95") };
    let Ok(Response::List(placed)) = connector.execute(&Command::PlaceList(oco)).await else { panic!() };
    assert_eq!(placed.orders.len(), 2);
    // A cancelled leg takes its list with it.
    let Ok(Response::List(gone)) = connector.execute(&cancel("stop")).await else { panic!() };
    assert!(gone.is_done);
    let missing = Command::QueryList { symbol: symbol(), list_id: id("none") };
    assert!(matches!(connector.execute(&missing).await, Err(VenueError::NotFound { code: -2018, .. })));
}

#[tokio::test]
async fn rules_limits_and_bars_are_those_of_the_dataset() {
    let sim = start(|_| {}).await;
    let connector = connect(&sim).await;
    let info = connector.exchange_info().await.unwrap();
    let rules = sim.inspect(|core| core.rules().next().unwrap().clone());
    assert_eq!(info.symbols[&symbol()], rules);
    assert!(info.unreadable.is_empty() && info.limits.len() == 4);
    let history = connector.klines(&symbol(), "1h".parse().unwrap(), 0, None).await.unwrap();
    assert_eq!(
        history.iter().map(|bar| bar.open_time_ms).collect::<Vec<_>>(),
        [0],
        "no bar before its close"
    );
    sim.step().await;
    sim.step().await;
    let later = connector.klines(&symbol(), "1h".parse().unwrap(), HOUR_MS, None).await.unwrap();
    assert_eq!((later.len(), later[0].high), (1, 103.0));
    assert_eq!(connector.day_statistics().await.unwrap()[0].last_price, dec("102.5"));
}

#[tokio::test]
async fn an_ed25519_key_logs_on_and_signs() {
    use polybolos_live_trader::exchange_sim::ApiKey;
    // Test 1 of RFC 8032.
    const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    const PRIVATE: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
    let public_key = ApiKey::parse_public_key(PUBLIC);
    assert!(public_key.is_some());
    let sim = start(|config| config.key = ApiKey { public_key, ..ApiKey::default() }).await;
    let credentials = Credentials::new(KeyKind::Ed25519, "sim-key".into(), PRIVATE.into()).unwrap();
    let connector =
        Connector::new(connector_config(&sim), Some(credentials), Arc::new(Metrics::default())).unwrap();
    connector.sync_clock().await.unwrap();
    let bought = report(&connector, &order("rest", OrderSide::Buy, OrderKind::Market, "1")).await;
    assert_eq!(bought.status, OrderStatus::Filled);
    let before = sim.progress().requests;
    let mut stream = connector.user_stream();
    assert!(matches!(stream.next().await, Some(AccountEvent::Connected)));
    assert_eq!(
        sim.progress().requests - before,
        2,
        "a logon and a subscription, no third try with a signature"
    );
    report(&connector, &order("session", OrderSide::Buy, OrderKind::Market, "1")).await;
    assert!(matches!(stream.next().await, Some(AccountEvent::Execution { .. })));
}
