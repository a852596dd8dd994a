//! Questions: repeated where that helps, paged where one answer does not hold it all, cached where that is asked for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use polybolos_live_trader::binance::{EndpointClass, Outcome};
use polybolos_live_trader::venue::{Response, VenueError};

use super::server::{Act, Seen, Server, ok, refusal};
use super::*;

#[tokio::test]
async fn a_question_is_asked_again_until_it_is_answered() {
    let failures = [
        Act::Cut,
        Act::Hang,
        Act::Half("{}".repeat(10)),
        Act::Reply(200, vec![], "{\"symbol\":".to_owned()),
        refusal(503, 0, ""),
        refusal(400, -1007, "Timeout"),
        Act::Reply(429, vec![("Retry-After", "0".to_owned())], String::new()),
    ];
    for failure in failures {
        let count = AtomicUsize::new(0);
        let what = format!("{failure:?}");
        let server = Server::start(
            move |seen| match seen.path.ends_with("/time") {
                true => time_answer(0),
                false if count.fetch_add(1, Ordering::SeqCst) < 2 => failure.clone(),
                false => ok(&report("x")),
            },
            |_, _| vec![],
        )
        .await;
        let connector = connector(config(&server.base));
        connector.sync_clock().await.unwrap();
        assert!(matches!(connector.execute(&query()).await, Ok(Response::Order(_))), "{what}");
        assert_eq!((server.seen("/order").len(), connector.metrics().retries.get()), (3, 2), "{what}");
    }
}

#[tokio::test]
async fn a_question_with_a_final_answer_is_asked_once_and_patience_ends() {
    for (answer, asked) in [
        (refusal(400, -2013, "Order does not exist."), 1),
        (refusal(400, -1121, "Invalid symbol."), 1),
        (refusal(500, 0, ""), 5),
        (Act::Reply(429, vec![("Retry-After", "60".to_owned())], String::new()), 1),
    ] {
        let script = answer.clone();
        let server = Server::start(
            move |seen| if seen.path.ends_with("/time") { time_answer(0) } else { script.clone() },
            |_, _| vec![],
        )
        .await;
        let connector = connector(config(&server.base));
        connector.sync_clock().await.unwrap();
        let error = connector.execute(&query()).await.unwrap_err();
        assert_eq!(server.seen("/order").len(), asked, "{answer:?}");
        assert!(!matches!(error, VenueError::Unknown { .. }), "a question does nothing");
    }
}

#[tokio::test]
async fn what_the_exchange_says_was_used_holds_data_back_and_not_lookups() {
    let server = Server::start(
        |seen| match seen.path.ends_with("/time") {
            true => time_answer(0),
            false => Act::Reply(
                200,
                vec![("X-MBX-USED-WEIGHT-1M", "4000".to_owned())],
                match seen.path.ends_with("/order") {
                    true => report("x").to_string(),
                    false => json!({"symbol": "BTCUSDT", "price": "1.5"}).to_string(),
                },
            ),
        },
        |_, _| vec![],
    )
    .await;
    let config = ConnectorConfig { question_deadline_ms: 50, ..config(&server.base) };
    let connector = connector(config);
    connector.sync_clock().await.unwrap();
    assert!(connector.execute(&query()).await.is_ok());
    let Err(VenueError::NotDone { retry_at_ms, .. }) = connector.price(&symbol()).await else { panic!() };
    assert!((now_ms()..=now_ms() + 61_000).contains(&retry_at_ms));
    assert!(server.seen("/price").is_empty());
    assert!(connector.execute(&query()).await.is_ok());
    assert_eq!(connector.metrics().requests(EndpointClass::Data, Outcome::NotDone), 1);
    assert_eq!(connector.metrics().weight_used_percent.get(), 66);
}

/// An exchange with `count` fills, one every seven minutes, of which the last is now.
fn trades(seen: &Seen, count: i64, newest_ms: i64) -> Act {
    let number = |name: &str| seen.params.get(name).and_then(|text| text.parse::<i64>().ok());
    let time = |id: i64| newest_ms - (count - id) * 420_000;
    let limit = usize::try_from(number("limit").unwrap()).unwrap();
    let (from, to) = (number("startTime").unwrap_or(i64::MIN), number("endTime").unwrap_or(i64::MAX));
    if number("startTime").is_some() && to - from > 86_400_000 {
        return refusal(400, -1127, "More than 24 hours between startTime and endTime.");
    }
    let page: Vec<Value> = (1..=count)
        .filter(|id| *id >= number("fromId").unwrap_or(0) && (from..=to).contains(&time(*id)))
        .take(limit)
        .map(|id| {
            json!({"symbol": "BTCUSDT", "id": id, "orderId": id, "orderListId": -1, "price": "4.0", "qty": "12.0",
                "quoteQty": "48.0", "commission": "0.1", "commissionAsset": "BNB", "time": time(id), "isBuyer": true,
                "isMaker": false, "isBestMatch": true})
        })
        .collect();
    ok(&json!(page))
}

#[tokio::test]
async fn all_fills_are_found_by_id_by_day_and_from_long_ago() {
    const COUNT: i64 = 2_300;
    let newest_ms = now_ms() - 3_600_000;
    let server = Server::start(
        move |seen| {
            if seen.path.ends_with("/time") { time_answer(0) } else { trades(seen, COUNT, newest_ms) }
        },
        |_, _| vec![],
    )
    .await;
    let connector = connector(config(&server.base));
    connector.sync_clock().await.unwrap();
    let time = |id: i64| newest_ms - (COUNT - id) * 420_000;
    for (from_id, from_ms, first) in [
        (Some(1), 0, 1),
        (Some(1_301), 0, 1_301),
        (Some(COUNT + 1), 0, COUNT + 1),
        (None, time(2_000), 2_000),
        (None, time(100), 100),
        (None, time(1) - 40 * 86_400_000, 1),
        (None, newest_ms + 1, COUNT + 1),
    ] {
        let command = Command::Fills { symbol: symbol(), from_id, from_ms };
        let Ok(Response::Fills(fills)) = connector.execute(&command).await else { panic!("{command:?}") };
        let ids: Vec<i64> = fills.iter().map(|fill| fill.trade_id).collect();
        assert_eq!(ids, (first..=COUNT).collect::<Vec<_>>(), "{command:?}");
    }
}

#[tokio::test]
async fn bars_are_paged_over_an_outage_and_the_open_one_is_left_out() {
    const STEP_MS: i64 = 14_400_000;
    let open_now = now_ms() / STEP_MS * STEP_MS;
    let first = open_now - 1_500 * STEP_MS;
    let server = Server::start(
        move |seen| {
            let number = |name: &str| seen.params.get(name).and_then(|text| text.parse::<i64>().ok());
            let rows: Vec<Value> = (0..=1_500)
                .filter(|n| !(400..501).contains(n))
                .map(|n| first + n * STEP_MS)
                .filter(|open| {
                    *open >= number("startTime").unwrap() && number("endTime").is_none_or(|end| *open <= end)
                })
                .take(700)
                .map(|open| {
                    json!([open, "1", "2", "0.5", "1.5", "10", open + STEP_MS - 1, "15", 3, "4", "6", "0"])
                })
                .collect();
            ok(&json!(rows))
        },
        |_, _| vec![],
    )
    .await;
    let connector = connector(config(&server.base));
    let interval = "4h".parse().unwrap();
    let bars = connector.klines(&symbol(), interval, first, None).await.unwrap();
    assert_eq!(bars.len(), 1_399, "pages of 700 where 1000 were asked for, and the newest bar is still open");
    assert_eq!(bars.last().unwrap().open_time_ms, open_now - STEP_MS);
    let some = connector.klines(&symbol(), interval, first, Some(first + STEP_MS)).await.unwrap();
    assert_eq!(some.iter().map(|bar| bar.open_time_ms).collect::<Vec<_>>(), [first, first + STEP_MS]);
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_question_until_it_is_stale() {
    let server = Server::start(|_| ok(&json!({"symbol": "BTCUSDT", "price": "1.5"})), |_, _| vec![]).await;
    let connector = connector(ConnectorConfig { price_ttl_ms: 200, ..config(&server.base) });
    let pair = symbol();
    let all = futures::future::join_all((0..50).map(|_| connector.price(&pair))).await;
    assert!(all.iter().all(|price| price.as_ref().is_ok_and(|price| *price == Decimal::new(15, 1))));
    assert_eq!(server.seen("/price").len(), 1);
    assert_eq!(connector.metrics().price_cache.hit_rate(), Some(0.98));
    tokio::time::sleep(Duration::from_millis(250)).await;
    connector.price(&pair).await.unwrap();
    assert_eq!(server.seen("/price").len(), 2);
}

#[tokio::test]
async fn failures_are_not_cached() {
    let count = AtomicUsize::new(0);
    let server = Server::start(
        move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => refusal(400, -1121, "Invalid symbol."),
            _ => ok(&json!({"symbol": "BTCUSDT", "price": "1.5"})),
        },
        |_, _| vec![],
    )
    .await;
    let connector = connector(config(&server.base));
    assert!(connector.price(&symbol()).await.is_err());
    assert!(connector.price(&symbol()).await.is_ok());
}

/// The median of many reads from the cache against the median of questions over loopback, which is the fastest exchange
/// there can be.
#[tokio::test]
async fn a_read_from_the_cache_is_a_hundred_times_cheaper_than_a_question() {
    let server = Server::start(|_| ok(&json!({"symbol": "BTCUSDT", "price": "1.5"})), |_, _| vec![]).await;
    let quick = connector(ConnectorConfig { price_ttl_ms: 60_000, ..config(&server.base) });
    let fresh = connector(ConnectorConfig { price_ttl_ms: 1, ..config(&server.base) });
    let pair = symbol();
    quick.price(&pair).await.unwrap();
    let (mut asked, mut cached) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let started = Instant::now();
        fresh.price(&pair).await.unwrap();
        asked.push(started.elapsed());
        let started = Instant::now();
        for _ in 0..100 {
            quick.price(&pair).await.unwrap();
        }
        cached.push(started.elapsed() / 100);
    }
    asked.sort();
    cached.sort();
    let (asked, cached) = (asked[100], cached[100]);
    assert!(asked > cached * 100, "a question takes {asked:?}, a read from the cache {cached:?}");
}

#[tokio::test]
async fn the_exchanges_own_limits_replace_the_presumed_ones() {
    let server = Server::start(
        |seen| match seen.path.as_str() {
            "/api/v3/time" => time_answer(0),
            "/api/v3/exchangeInfo" => ok(&json!({"rateLimits": [
                {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 10}
            ], "symbols": []})),
            _ => ok(&report("x")),
        },
        |_, _| vec![],
    )
    .await;
    let connector = connector(ConnectorConfig { budget_percent: 100, ..config(&server.base) });
    connector.sync_clock().await.unwrap();
    let pairs = [connector.exchange_info().await.unwrap(), connector.exchange_info().await.unwrap()];
    assert!(pairs[0].symbols.is_empty() && server.seen("/exchangeInfo").len() == 1);
    for bar in 0..9 {
        // Entries may fill eight tenths of the ten.
        assert_eq!(connector.execute(&place(bar)).await.is_ok(), bar < 8, "{bar}");
    }
    let exit = ClientId::new("bot", &symbol(), 9, Intent::Exit, 0);
    let Command::Place(mut order) = place(9) else { panic!() };
    order.client_id = exit;
    assert!(connector.execute(&Command::Place(order)).await.is_ok(), "a way out is kept open");
}
