//! Bars and quotes over streams that break.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use polybolos_live_trader::binance::{MarketPlan, MarketStream};
use polybolos_live_trader::venue::MarketEvent;

use super::server::{Act, Push, Seen, Server, ok};
use super::*;

const START_MS: i64 = 1_700_000_040_000;

fn open(n: i64) -> i64 {
    START_MS + n * 60_000
}

fn closed(pair: &str, n: i64) -> Push {
    let data = json!({"e": "kline", "E": 1, "s": pair, "k": {"t": open(n), "T": open(n) + 59_999, "s": pair, "i": "1m",
        "f": 1, "L": 2, "o": "1", "c": "1.5", "h": "2", "l": "0.5", "v": "10", "n": 3, "x": true, "q": "15", "V": "4",
        "Q": "6", "B": "0"}});
    Push::Text("/stream", json!({"stream": "x", "data": data}).to_string())
}

/// REST's view: bars 1 to `newest` of every pair.
fn klines(seen: &Seen, newest: i64) -> Act {
    let number = |name: &str| seen.params.get(name).and_then(|text| text.parse::<i64>().ok());
    let rows: Vec<Value> = (1..=newest)
        .map(open)
        .filter(|time| {
            *time >= number("startTime").unwrap() && number("endTime").is_none_or(|end| *time <= end)
        })
        .map(|time| json!([time, "1", "2", "0.5", "1.5", "10", time + 59_999, "15", 3, "4", "6", "0"]))
        .collect();
    ok(&json!(rows))
}

fn plan(pairs: &[&str], has_quotes: bool) -> MarketPlan {
    MarketPlan {
        interval: "1m".parse().unwrap(),
        pairs: pairs.iter().map(|pair| (Symbol::new(pair), Some(open(0)))).collect(),
        has_quotes,
    }
}

fn control(text: &str) -> Vec<String> {
    let frame: Value = serde_json::from_str(text).unwrap();
    vec![json!({"result": null, "id": frame["id"]}).to_string()]
}

async fn next(stream: &mut MarketStream) -> MarketEvent {
    tokio::time::timeout(Duration::from_secs(5), stream.next()).await.unwrap().unwrap()
}

/// Number of the next bar of the pair; other events are passed over.
async fn next_bar(stream: &mut MarketStream) -> (String, i64) {
    loop {
        if let MarketEvent::Bar { symbol, bar } = next(stream).await {
            assert_eq!((bar.high, bar.quote_volume, bar.trades), (2.0, 15.0, 3.0));
            return (symbol.as_str().to_owned(), (bar.open_time_ms - START_MS) / 60_000);
        }
    }
}

#[tokio::test]
async fn every_bar_comes_once_and_in_order_over_breaks_losses_and_doubles() {
    let newest = Arc::new(AtomicI64::new(0));
    let script = Arc::clone(&newest);
    let server =
        Server::start(move |seen| klines(seen, script.load(Ordering::SeqCst)), |_, text| control(text)).await;
    let connector = connector(config(&server.base));
    newest.store(2, Ordering::SeqCst);
    let mut stream = connector.market_stream(plan(&["BTCUSDT"], false));
    // Bars 1 and 2 had closed before; 3 comes over the stream, twice; 4 is lost and 5 shows it.
    for n in 1..=2 {
        assert_eq!(next_bar(&mut stream).await.1, n);
    }
    let push = |n: i64| {
        newest.fetch_max(n, Ordering::SeqCst);
        server.pushes.send(closed("BTCUSDT", n)).unwrap();
    };
    push(3);
    push(3);
    assert_eq!(next_bar(&mut stream).await.1, 3);
    push(5);
    assert_eq!(next_bar(&mut stream).await.1, 4);
    assert_eq!(next_bar(&mut stream).await.1, 5);
    // 6 and 7 close while the connection is down.
    newest.store(7, Ordering::SeqCst);
    server.pushes.send(Push::Close("/stream")).unwrap();
    let mut was_down = false;
    let mut got = Vec::new();
    while got.len() < 2 {
        match next(&mut stream).await {
            MarketEvent::Bar { bar, .. } => got.push((bar.open_time_ms - START_MS) / 60_000),
            MarketEvent::Disconnected { .. } => was_down = true,
            _ => {}
        }
    }
    assert_eq!((got, was_down), (vec![6, 7], true));
    assert!(connector.metrics().duplicate_bars.get() >= 1);
    assert_eq!(connector.metrics().stream_connects.get(), 2);
}

#[tokio::test]
async fn connections_are_replaced_with_overlap_and_no_bar_falls_between() {
    let newest = Arc::new(AtomicI64::new(0));
    let script = Arc::clone(&newest);
    let server =
        Server::start(move |seen| klines(seen, script.load(Ordering::SeqCst)), |_, text| control(text)).await;
    let connector = connector(ConnectorConfig { connection_life_ms: 50, ..config(&server.base) });
    let mut stream = connector.market_stream(plan(&["BTCUSDT"], false));
    assert_eq!(next(&mut stream).await, MarketEvent::Connected);
    for n in 1..=60 {
        newest.store(n, Ordering::SeqCst);
        server.pushes.send(closed("BTCUSDT", n)).unwrap();
        if n == 30 {
            let bye =
                json!({"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1}}).to_string();
            server.pushes.send(Push::Text("/stream", bye)).unwrap();
        }
        match next(&mut stream).await {
            MarketEvent::Bar { bar, .. } => assert_eq!(bar.open_time_ms, open(n)),
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(connector.metrics().stream_connects.get() >= 5);
}

#[tokio::test]
async fn hundreds_of_pairs_are_split_over_connections_and_control_messages_are_paced() {
    let server = Server::start(|_| ok(&json!([])), |_, text| control(text)).await;
    let config = ConnectorConfig { streams_per_connection: 250, ..config(&server.base) };
    let connector = connector(config);
    let names: Vec<String> = (0..300).map(|n| format!("P{n}USDT")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let started = std::time::Instant::now();
    let mut stream = connector.market_stream(plan(&names, false));
    assert_eq!(next(&mut stream).await, MarketEvent::Connected);
    assert!(started.elapsed() >= Duration::from_millis(500), "two control messages need two pauses");
    let frames = server.frames("/stream");
    let subscribed: Vec<Value> = frames.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let sizes: Vec<usize> =
        subscribed.iter().map(|frame| frame["params"].as_array().unwrap().len()).collect();
    assert_eq!((sizes, frames.len() - subscribed.len()), (vec![100, 50], 2));
    server.pushes.send(closed("P299USDT", 1)).unwrap();
    server.pushes.send(closed("P0USDT", 1)).unwrap();
    let mut got = [next_bar(&mut stream).await, next_bar(&mut stream).await];
    got.sort();
    assert_eq!(got, [("P0USDT".to_owned(), 1), ("P299USDT".to_owned(), 1)]);
}

#[tokio::test]
async fn a_slow_taker_gets_the_newest_quote_and_every_bar() {
    let server = Server::start(|_| ok(&json!([])), |_, text| control(text)).await;
    let connector = connector(config(&server.base));
    let mut stream = connector.market_stream(plan(&["BTCUSDT"], true));
    assert_eq!(next(&mut stream).await, MarketEvent::Connected);
    for n in 1..=2_000 {
        let quote = json!({"u": n, "s": "BTCUSDT", "b": format!("{n}"), "B": "1", "a": format!("{}", n + 1), "A": "1"});
        let text = json!({"stream": "btcusdt@bookTicker", "data": quote}).to_string();
        server.pushes.send(Push::Text("/stream", text)).unwrap();
        if n % 500 == 0 {
            server.pushes.send(closed("BTCUSDT", n / 500)).unwrap();
        }
    }
    let (mut bars, mut newest) = (0, Decimal::ZERO);
    while bars < 4 || newest < Decimal::from(2_000) {
        match next(&mut stream).await {
            MarketEvent::Bar { bar, .. } => {
                bars += 1;
                assert_eq!(bar.open_time_ms, open(bars));
            }
            MarketEvent::Quote { bid, ask, .. } => {
                assert!(bid > newest && ask == bid + Decimal::ONE);
                newest = bid;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_taker_in_lockstep_says_what_he_has_settled_on_every_connection() {
    let server = Server::start(|_| ok(&json!([])), |_, text| control(text)).await;
    let connector = connector(ConnectorConfig { streams_per_connection: 1, ..config(&server.base) });
    let mut stream = connector.market_stream(plan(&["BTCUSDT", "ETHUSDT"], false));
    assert_eq!(next(&mut stream).await, MarketEvent::Connected);
    stream.settled([(Symbol::new("BTCUSDT"), open(7)), (Symbol::new("ETHUSDT"), open(6))]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let settled = |server: &Server| -> Vec<Value> {
        let frames = server.frames("/stream");
        let frames = frames.iter().filter_map(|text| serde_json::from_str::<Value>(text).ok());
        frames.filter(|frame| frame["method"] == "SETTLED").map(|frame| frame["params"].clone()).collect()
    };
    let [btc, eth] = [json!([open(7), "BTCUSDT"]), json!([open(6), "ETHUSDT"])];
    let first = settled(&server);
    assert!(first == [btc.clone(), eth.clone()] || first == [eth.clone(), btc.clone()], "{first:?}");
    // What is said again is not told again.
    stream.settled([(Symbol::new("BTCUSDT"), open(7)), (Symbol::new("ETHUSDT"), open(7))]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(settled(&server)[2..], [json!([open(7), "ETHUSDT"])]);
    // A new connection takes part from where the old one was.
    server.pushes.send(Push::Close("/stream?streams=btc")).unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(settled(&server)[3..], [btc]);
}
