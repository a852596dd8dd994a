//! What is known of a command after every way in which an exchange can fail to answer it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use polybolos_live_trader::binance::{BreakerSettings, EndpointClass, Outcome};
use polybolos_live_trader::venue::{Response, VenueError};

use super::server::{Act, Server, ok, refusal};
use super::*;

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Known {
    NotDone,
    Refused,
    Unknown,
    NotFound,
    Halt,
}

fn known(error: &VenueError) -> Known {
    match error {
        VenueError::NotDone { .. } => Known::NotDone,
        VenueError::Refused { .. } => Known::Refused,
        VenueError::Unknown { .. } => Known::Unknown,
        VenueError::NotFound { .. } => Known::NotFound,
        VenueError::Halt { .. } => Known::Halt,
    }
}

fn with_header(status: u16, code: i32, seconds: &str) -> Act {
    let body = json!({"code": code, "msg": "Way too many requests."}).to_string();
    Act::Reply(status, vec![("Retry-After", seconds.to_owned())], body)
}

async fn exchange(answer: Act) -> Server {
    Server::start(
        move |seen| if seen.path.ends_with("/time") { time_answer(0) } else { answer.clone() },
        |_, _| vec![],
    )
    .await
}

#[tokio::test]
async fn a_placement_leaves_once_and_its_end_is_never_guessed() {
    let page = "<html>Request blocked</html>".to_owned();
    let cases = [
        (Act::Hang, Known::Unknown),
        (Act::Cut, Known::Unknown),
        (Act::Half(report("x").to_string()), Known::Unknown),
        (Act::Reply(200, vec![], "{\"symbol\":\"BTC".to_owned()), Known::Unknown),
        (
            ok(&json!({"symbol": "BTCUSDT", "orderId": 1, "clientOrderId": "x", "transactTime": 1})),
            Known::Unknown,
        ),
        (refusal(503, 0, "Service Unavailable."), Known::Unknown),
        (refusal(503, -1008, "Request throttled by system-level protection"), Known::Unknown),
        (Act::Reply(502, vec![], page.clone()), Known::Unknown),
        (
            Act::Reply(302, vec![("Location", "https://elsewhere.example".to_owned())], String::new()),
            Known::Unknown,
        ),
        (refusal(400, -1007, "Timeout waiting for response from backend server."), Known::Unknown),
        (refusal(400, -1006, "An unexpected response was received."), Known::Unknown),
        (refusal(400, -2010, "Duplicate order sent."), Known::Unknown),
        (refusal(400, -2010, "Account has insufficient balance for requested action."), Known::Refused),
        (refusal(400, -1013, "Filter failure: LOT_SIZE"), Known::Refused),
        (refusal(400, -1022, "Signature for this request is not valid."), Known::Refused),
        (Act::Reply(404, vec![], page.clone()), Known::Refused),
        (Act::Reply(403, vec![], page), Known::NotDone),
        (with_header(429, -1003, "7"), Known::NotDone),
        (with_header(429, -1015, "7"), Known::NotDone),
        (with_header(418, -1003, "600"), Known::Halt),
        (refusal(401, -2015, "Invalid API-key, IP, or permissions for action."), Known::Halt),
        (refusal(451, 0, "Service unavailable from a restricted location"), Known::Halt),
    ];
    for (answer, expected) in cases {
        let server = exchange(answer.clone()).await;
        let connector = connector(config(&server.base));
        connector.sync_clock().await.unwrap();
        let before = now_ms();
        let error = connector.execute(&place(1)).await.unwrap_err();
        assert_eq!(known(&error), expected, "{answer:?}: {error}");
        let sent = server.seen("/order");
        assert_eq!(sent.len(), 1, "{answer:?}");
        assert_eq!((sent[0].verb.as_str(), sent[0].headers["x-mbx-apikey"].as_str()), ("POST", KEY));
        if let VenueError::Unknown { settles_at_ms, .. } = error
            && !format!("{answer:?}").contains("Duplicate")
        {
            let timestamp: i64 = sent[0].params["timestamp"].parse().unwrap();
            assert_eq!(settles_at_ms, timestamp + 5_000 + 10_000);
            assert!((before - 50..=now_ms()).contains(&timestamp), "never ahead of the exchange");
        }
        let outcome = connector.metrics().requests(EndpointClass::Orders, Outcome::Unknown);
        assert!(
            outcome == 1 || expected != Known::Unknown || format!("{answer:?}").contains("200"),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_placement_that_cannot_connect_is_not_done() {
    let server = exchange(Act::Hang).await;
    let base = server.base.clone();
    drop(server);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = connector(config(&base)).execute(&place(1)).await.unwrap_err();
    assert_eq!(known(&error), Known::NotDone, "{error}");
}

#[tokio::test]
async fn a_wrong_clock_is_set_and_the_same_order_signed_again() {
    const SKEW_MS: i64 = -3_600_000;
    let server = Server::start(
        |seen| {
            let timestamp = |text: &String| text.parse::<i64>().unwrap() - (now_ms() + SKEW_MS);
            match seen.params.get("timestamp").map(timestamp) {
                None => time_answer(SKEW_MS),
                Some(error) if error.abs() > 5_000 => {
                    refusal(400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
                }
                Some(error) => {
                    assert!(error <= 0, "ahead by {error} ms");
                    ok(&report(&seen.params["newClientOrderId"]))
                }
            }
        },
        |_, _| vec![],
    )
    .await;
    let connector = connector(config(&server.base));
    let Ok(Response::Order(done)) = connector.execute(&place(1)).await else { panic!() };
    assert_eq!((done.client_id, done.fills.len()), (client_id(1), 1));
    let ids: Vec<String> =
        server.seen("/order").iter().map(|seen| seen.params["newClientOrderId"].clone()).collect();
    assert_eq!(ids, [client_id(1).to_string(), client_id(1).to_string()]);
    let error = connector.server_time_ms() - (now_ms() + SKEW_MS);
    assert!((-200..=0).contains(&error), "{error}");
}

#[tokio::test]
async fn a_ban_stops_all_traffic_on_every_path() {
    let server = exchange(with_header(418, -1003, "600")).await;
    let connector = connector(config(&server.base));
    // Before the ban: whoever asks for the time while a round is under way shares that round.
    connector.sync_clock().await.unwrap();
    assert!(connector.execute(&query()).await.is_err());
    let sent = server.requests();
    for command in [place(1), query(), Command::Account, Command::OpenOrders { symbol: None }] {
        let Err(VenueError::Halt { until_ms: Some(until_ms), .. }) = connector.execute(&command).await else {
            panic!("{command:?}")
        };
        assert!((until_ms - now_ms() - 600_000).abs() < 5_000);
    }
    assert!(matches!(connector.sync_clock().await, Err(VenueError::Halt { .. })));
    assert!(matches!(connector.price(&symbol()).await, Err(VenueError::Halt { .. })));
    let _session = connector.user_stream();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.requests(), sent);
    assert!(server.frames("/ws-api").is_empty() && server.seen("/order").len() == 1);
}

#[tokio::test]
async fn order_limits_spare_cancels_and_throttles_spare_nothing() {
    let answer = Arc::new(AtomicUsize::new(0));
    let script = Arc::clone(&answer);
    let server = Server::start(
        move |seen| match script.load(Ordering::SeqCst) {
            _ if seen.path.ends_with("/time") => time_answer(0),
            0 => with_header(429, -1015, "30"),
            1 if seen.verb == "DELETE" => refusal(400, -2011, "Unknown order sent."),
            _ => with_header(429, -1003, "30"),
        },
        |_, _| vec![],
    )
    .await;
    let connector = connector(config(&server.base));
    connector.sync_clock().await.unwrap();
    let cancel = Command::Cancel { symbol: symbol(), target: client_id(1), cancel_id: client_id(2) };
    for _ in 0..2 {
        let Err(VenueError::NotDone { retry_at_ms, .. }) = connector.execute(&place(1)).await else {
            panic!()
        };
        assert!((retry_at_ms - now_ms() - 30_000).abs() < 2_000);
    }
    assert_eq!(server.seen("/order").len(), 1);
    answer.store(1, Ordering::SeqCst);
    assert_eq!(known(&connector.execute(&cancel).await.unwrap_err()), Known::Refused);
    answer.store(2, Ordering::SeqCst);
    assert_eq!(known(&connector.execute(&cancel).await.unwrap_err()), Known::NotDone);
    let sent = server.requests();
    assert_eq!(known(&connector.execute(&cancel).await.unwrap_err()), Known::NotDone);
    assert_eq!(server.requests(), sent);
}

#[tokio::test]
async fn a_breaker_opens_tries_and_closes_and_never_hides_an_unknown() {
    let is_well = Arc::new(AtomicBool::new(false));
    let script = Arc::clone(&is_well);
    let server = Server::start(
        move |seen| match (seen.path.ends_with("/time"), script.load(Ordering::SeqCst)) {
            (true, _) => time_answer(0),
            (false, true) => ok(&report("x")),
            (false, false) => refusal(503, 0, ""),
        },
        |_, _| vec![],
    )
    .await;
    let breaker = BreakerSettings { failures: 5, half_open_after_ms: 200 };
    let connector = connector(ConnectorConfig { breaker, ..config(&server.base) });
    connector.sync_clock().await.unwrap();
    for bar in 0..5 {
        assert_eq!(known(&connector.execute(&place(bar)).await.unwrap_err()), Known::Unknown);
    }
    assert_eq!(known(&connector.execute(&place(5)).await.unwrap_err()), Known::NotDone);
    assert_eq!((server.seen("/order").len(), connector.metrics().breaker(EndpointClass::Orders)), (5, 1));
    // The class of questions has a breaker of its own.
    is_well.store(true, Ordering::SeqCst);
    assert!(connector.execute(&query()).await.is_ok());
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert!(connector.execute(&place(6)).await.is_ok());
    assert_eq!(connector.metrics().breaker(EndpointClass::Orders), 0);
}
