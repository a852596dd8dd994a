//! The market waits for its clients, and they hear of a bar's fills before its close.

use std::time::Duration;

use polybolos_live_trader::binance::{MarketStream, UserStream};
use polybolos_live_trader::order::OrderStatus;
use polybolos_live_trader::venue::{AccountEvent, MarketEvent};

use super::*;

async fn connected(connector: &Connector, after: Option<i64>) -> (UserStream, MarketStream) {
    let mut user = connector.user_stream();
    assert!(matches!(user.next().await, Some(AccountEvent::Connected)));
    let mut market = connector.market_stream(plan(after));
    assert!(matches!(market.next().await, Some(MarketEvent::Connected)));
    (user, market)
}

/// What a client that settles every bar sees, in one line per event; `decide` is called at every close.
async fn journal(sim: &ExchangeSim, mut decide: impl AsyncFnMut(&Connector, i64)) -> Vec<String> {
    let connector = connect(sim).await;
    let (mut user, mut market) = connected(&connector, Some(0)).await;
    let mut lines = Vec::new();
    market.settled([(symbol(), 0)]);
    loop {
        tokio::select! {
            biased;
            event = user.next() => match event.unwrap() {
                AccountEvent::Execution { report, .. } => {
                    lines.push(format!("{} {:?} {}", report.client_id, report.status, report.executed_quantity.normalize()));
                }
                AccountEvent::Balances { .. } => {}
                other => panic!("{other:?}"),
            },
            event = market.next() => match event.unwrap() {
                MarketEvent::Bar { bar, .. } => {
                    lines.push(format!("close {}", bar.open_time_ms / HOUR_MS));
                    decide(&connector, bar.open_time_ms / HOUR_MS).await;
                    market.settled([(symbol(), bar.open_time_ms)]);
                    if bar.open_time_ms == 5 * HOUR_MS {
                        return lines;
                    }
                }
                MarketEvent::Quote { ask, .. } => lines.push(format!("price {ask}")),
                other => panic!("{other:?}"),
            },
        }
    }
}

#[tokio::test]
async fn nothing_moves_before_the_first_client_has_settled() {
    let sim = start(|config| config.speed = Speed::Lockstep).await;
    let connector = connect(&sim).await;
    let (_user, mut market) = connected(&connector, Some(0)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(sim.progress().steps, 0);
    market.settled([(symbol(), 0)]);
    loop {
        if let Some(MarketEvent::Bar { bar, .. }) = market.next().await {
            assert_eq!(bar.open_time_ms, HOUR_MS);
            break;
        }
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(sim.progress().steps, 2, "the close of bar 1 is told and not settled");
}

#[tokio::test]
async fn fills_of_a_bar_are_heard_before_its_close_and_decisions_trade_at_the_next_open() {
    let run = async || {
        let sim = start(|config| (config.speed, config.settings.taker_fee) = (Speed::Lockstep, 0.0)).await;
        journal(&sim, async |connector, bar| {
            let orders = match bar {
                1 => vec![
                    order("in", OrderSide::Buy, OrderKind::Market, "2"),
                    order("stop", OrderSide::Sell, OrderKind::StopLoss { stop_price: dec("97") }, "2"),
                ],
                _ => vec![],
            };
            for order in orders {
                connector.execute(&order).await.unwrap();
            }
        })
        .await
    };
    let lines = run().await;
    let place =
        |line: &str| lines.iter().position(|l| l == line).unwrap_or_else(|| panic!("{line}: {lines:?}"));
    assert!(place("close 1") < place("in Filled 2") && place("in Filled 2") < place("close 2"), "{lines:?}");
    assert!(
        place("close 2") < place("stop Filled 2") && place("stop Filled 2") < place("close 3"),
        "{lines:?}"
    );
    let closes: Vec<&String> = lines.iter().filter(|line| line.starts_with("close")).collect();
    assert_eq!(closes, ["close 1", "close 2", "close 3", "close 4", "close 5"]);
    assert_eq!(lines, run().await, "a run is the same every time");
}

#[tokio::test]
async fn an_order_at_a_close_fills_at_the_next_open() {
    let sim = start(|config| config.speed = Speed::Lockstep).await;
    journal(&sim, async |connector, bar| {
        if bar == 2 {
            connector.execute(&order("in", OrderSide::Buy, OrderKind::Market, "1")).await.unwrap();
        }
    })
    .await;
    let price = sim.inspect(|core| core.trades(&symbol()).unwrap().next().unwrap().fill.price);
    assert_eq!(price, dec("103"), "the open of bar 3");
}

#[tokio::test]
async fn whoever_was_away_catches_up_before_the_market_goes_on() {
    let sim = start(|config| config.speed = Speed::Lockstep).await;
    let connector = connect(&sim).await;
    let first = connected(&connector, Some(0)).await;
    let mut market = first.1;
    market.settled([(symbol(), 0)]);
    while !matches!(market.next().await, Some(MarketEvent::Bar { .. })) {}
    drop(market);
    let mut again = connector.market_stream(plan(Some(0)));
    again.settled([(symbol(), 0)]);
    loop {
        if let Some(MarketEvent::Bar { bar, .. }) = again.next().await {
            assert_eq!(bar.open_time_ms, HOUR_MS, "what was missed comes first");
            break;
        }
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(sim.progress().steps, 2);
    again.settled([(symbol(), HOUR_MS)]);
    loop {
        if let Some(MarketEvent::Bar { bar, .. }) = again.next().await {
            assert_eq!(bar.open_time_ms, 2 * HOUR_MS);
            break;
        }
    }
}

#[tokio::test]
async fn behind_the_last_bar_prices_stay_and_the_server_answers() {
    let sim = start(|config| config.speed = Speed::Lockstep).await;
    journal(&sim, async |_, _| {}).await;
    sim.ended().await;
    let connector = connect(&sim).await;
    assert_eq!(connector.price(&symbol()).await, Ok(dec("90.50")));
    let placed = connector.execute(&order("late", OrderSide::Buy, OrderKind::Market, "1")).await.unwrap();
    let polybolos_live_trader::venue::Response::Order(report) = placed else { panic!("{placed:?}") };
    assert_eq!((report.status, report.fills[0].price), (OrderStatus::Filled, dec("90.50")));
}

#[tokio::test]
async fn a_close_waits_until_the_fills_before_it_have_been_read() {
    use super::client::Socket;
    use serde_json::json;
    let sim = start(|config| config.speed = Speed::Lockstep).await;
    let mut user = Socket::open(&sim.base_url(), "/ws-api/v3").await;
    user.ask_signed("userDataStream.subscribe.signature", json!({})).await;
    let limit = json!({"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "100.2", "quantity": "1"});
    assert_eq!(user.ask_signed("order.place", limit).await["result"]["status"], "NEW");
    let mut market = Socket::open(&sim.base_url(), "/stream?streams=btcusdt@kline_1h").await;
    market.send(&json!({"id": 1, "method": "SETTLED", "params": [0]})).await;
    assert_eq!(market.next().await.unwrap()["id"], 1);
    // Nobody reads the user's connection, so nobody answers the ping behind its events.
    let early = tokio::time::timeout(Duration::from_millis(200), market.next()).await;
    assert!(early.is_err(), "{early:?}");
    let mut told = Vec::new();
    let close = tokio::select! {
        close = market.next() => close.unwrap(),
        () = async {
            while let Some(event) = user.next().await {
                told.push(event["event"]["X"].clone());
            }
        } => panic!("the user's connection ended"),
    };
    assert_eq!(close["data"]["k"]["t"], HOUR_MS);
    assert!(told.contains(&json!("FILLED")), "the fill of bar 1 came before its close: {told:?}");
}

#[tokio::test]
async fn the_market_waits_for_every_close_that_it_told_and_for_no_other() {
    use super::client::Socket;
    use serde_json::json;
    let config =
        SimConfig { start_ms: HOUR_MS, speed: Speed::Lockstep, ..SimConfig::new("1h".parse().unwrap()) };
    let whole = bars(&TICKS);
    // Without the fourth bar.
    let mut holed = bars(&TICKS[1..]);
    holed.open_time_ms = [0, 1, 2, 4, 5].map(|hour| hour * HOUR_MS).to_vec();
    let pair = |name: &str, bars| (synthetic_rules(&Symbol::new(name), &bars), bars);
    let pairs = vec![pair("BTCUSDT", whole), pair("ETHUSDT", holed)];
    let sim = ExchangeSim::start(config, pairs).await.unwrap();
    let mut market = Socket::open(&sim.base_url(), "/stream?streams=btcusdt@kline_1h/ethusdt@kline_1h").await;
    let mut closes = async |word: serde_json::Value| {
        market.send(&json!({"id": 1, "method": "SETTLED", "params": word})).await;
        let mut told = Vec::new();
        while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(150), market.next()).await {
            if event["data"]["k"]["x"] == true {
                let open_ms = event["data"]["k"]["t"].as_i64().unwrap();
                told.push((event["data"]["s"].as_str().unwrap().to_owned(), open_ms / HOUR_MS));
            }
        }
        told.sort();
        told
    };
    let both = |bar: i64| ["BTCUSDT", "ETHUSDT"].map(|name| (name.to_owned(), bar));
    assert_eq!(closes(json!([0])).await, both(1));
    assert_eq!(closes(json!([HOUR_MS, "BTCUSDT"])).await, [], "nobody has decided on the other pair's close");
    assert_eq!(closes(json!([HOUR_MS, "ETHUSDT"])).await, both(2)[..1], "its next bar is not open");
    let over_the_hole = [("BTCUSDT".to_owned(), 3), ("ETHUSDT".to_owned(), 2)];
    assert_eq!(closes(json!([2 * HOUR_MS, "BTCUSDT"])).await, over_the_hole);
    assert_eq!(closes(json!([3 * HOUR_MS])).await, both(4), "without names of pairs it is said of all");
    assert_eq!(closes(json!([4 * HOUR_MS, 7])).await, [], "a pair is named by text");
}

#[tokio::test]
async fn by_the_clock_bars_close_without_anybodys_word() {
    let sim = start(|config| config.speed = Speed::Timed { bar: Duration::from_millis(60) }).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(sim.progress().steps, 0, "the clock starts with the first market connection");
    let connector = connect(&sim).await;
    let mut market = connector.market_stream(plan(Some(0)));
    let mut seen = Vec::new();
    while seen.len() < 5 {
        if let Some(MarketEvent::Bar { bar, .. }) = market.next().await {
            seen.push(bar.open_time_ms / HOUR_MS);
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5]);
    sim.ended().await;
}
