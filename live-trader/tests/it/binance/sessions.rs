//! Commands and the user's events over the WebSocket API.

use std::sync::Mutex;
use std::time::Duration;

use polybolos_live_trader::binance::UserStream;
use polybolos_live_trader::order::OrderStatus;
use polybolos_live_trader::venue::{AccountEvent, Response, VenueError};

use super::server::{Push, Server};
use super::*;

fn answer(text: &str, with: impl Fn(&Value) -> Option<Value>) -> Vec<String> {
    let frame: Value = serde_json::from_str(text).unwrap();
    let mut document = match frame["method"].as_str() {
        Some("userDataStream.subscribe.signature") => json!({"status": 200, "result": {"subscriptionId": 0}}),
        _ => match with(&frame) {
            Some(document) => document,
            None => return vec![],
        },
    };
    document["id"] = frame["id"].clone();
    vec![document.to_string()]
}

fn done(frame: &Value) -> Value {
    let id = frame["params"]["newClientOrderId"].as_str().or(frame["params"]["origClientOrderId"].as_str());
    json!({"status": 200, "result": report(id.unwrap()), "rateLimits": [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 600},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50, "count": 0}
    ]})
}

async fn connected(stream: &mut UserStream) {
    let event = tokio::time::timeout(Duration::from_secs(5), stream.next()).await.unwrap();
    assert_eq!(event, Some(AccountEvent::Connected));
}

fn execution(status: &str) -> String {
    json!({"subscriptionId": 0, "event": {"e": "executionReport", "E": 1, "s": "BTCUSDT", "c": "mine", "S": "BUY",
        "o": "LIMIT", "f": "GTC", "q": "1.0", "p": "0.1", "P": "0.0", "g": -1, "C": "", "x": status, "X": status,
        "r": "NONE", "i": 4, "l": "0.0", "z": "0.0", "L": "0.0", "n": "0", "N": null, "T": 2, "t": -1, "I": 8, "Z": "0.0"}})
    .to_string()
}

#[tokio::test]
async fn commands_travel_by_the_session_and_answers_find_their_question() {
    let held: Mutex<Vec<String>> = Mutex::default();
    let server = Server::start(
        |_| time_answer(0),
        move |_, text| {
            let answers = answer(text, |frame| Some(done(frame)));
            if !text.contains("order.place") {
                return answers;
            }
            // Placements are answered three at a time and in reverse.
            let mut held = held.lock().unwrap();
            held.extend(answers);
            if held.len() < 3 { vec![] } else { held.drain(..).rev().collect() }
        },
    )
    .await;
    let connector = connector(config(&server.base));
    connector.sync_clock().await.unwrap();
    let mut stream = connector.user_stream();
    connected(&mut stream).await;
    let commands = [place(1), place(2), place(3)];
    let answers = futures::future::join_all(commands.iter().map(|command| connector.execute(command))).await;
    for (bar, answer) in (1..).zip(answers) {
        let Ok(Response::Order(report)) = answer else { panic!("{answer:?}") };
        assert_eq!(report.client_id, client_id(bar));
    }
    assert!(server.seen("/order").is_empty(), "nothing went over REST");
    assert_eq!(connector.metrics().weight_used_percent.get(), 10);
    let frame: Value = serde_json::from_str(&server.frames("/ws-api")[2]).unwrap();
    assert!(frame["params"]["timestamp"].is_i64() && frame["params"]["quantity"] == "1");
    assert_eq!(frame["params"]["apiKey"], KEY);
}

#[tokio::test]
async fn a_lost_connection_leaves_what_was_on_its_way_unknown_and_the_rest_goes_over_rest() {
    let server = Server::start(
        |seen| match seen.path.ends_with("/time") {
            true => time_answer(0),
            false => server::ok(&report(&seen.params["newClientOrderId"])),
        },
        |_, text| {
            if text.contains("order.place") { vec!["close".to_owned()] } else { answer(text, |_| None) }
        },
    )
    .await;
    let config =
        ConnectorConfig { first_backoff_ms: 2_000, longest_backoff_ms: 2_000, ..config(&server.base) };
    let connector = connector(config);
    connector.sync_clock().await.unwrap();
    let mut stream = connector.user_stream();
    connected(&mut stream).await;
    let error = connector.execute(&place(1)).await.unwrap_err();
    assert!(matches!(error, VenueError::Unknown { .. }), "{error}");
    assert!(server.seen("/order").is_empty(), "what may have arrived is not sent again");
    let Some(AccountEvent::Disconnected { .. }) = stream.next().await else { panic!() };
    assert!(connector.execute(&place(2)).await.is_ok());
    assert_eq!(server.seen("/order").len(), 1);
}

#[tokio::test]
async fn what_is_never_answered_or_refused_over_the_session_is_told_apart() {
    let refused = |code: i32, status: i32, data: Value| json!({"status": status, "error": {"code": code, "msg": "words", "data": data}});
    let until = now_ms() + 45_000;
    type Check = fn(&VenueError) -> bool;
    let cases: [(Option<Value>, Check); 6] = [
        (None, |error| matches!(error, VenueError::Unknown { .. })),
        (Some(refused(-1007, 500, Value::Null)), |error| matches!(error, VenueError::Unknown { .. })),
        (Some(json!({"status": 200})), |error| matches!(error, VenueError::Unknown { .. })),
        (Some(refused(-2010, 400, Value::Null)), |error| {
            matches!(error, VenueError::Refused { code: -2010, .. })
        }),
        (
            Some(refused(-1003, 418, json!({"serverTime": 1, "retryAfter": until}))),
            |error| matches!(error, VenueError::Halt { until_ms: Some(until), .. } if (until - now_ms() - 45_000).abs() < 3_000),
        ),
        (
            Some(refused(-1003, 429, json!({"serverTime": 1, "retryAfter": until}))),
            |error| matches!(error, VenueError::NotDone { retry_at_ms, .. } if (retry_at_ms - now_ms() - 45_000).abs() < 3_000),
        ),
    ];
    for (document, check) in cases {
        let script = document.clone();
        let server = Server::start(|_| time_answer(0), move |_, text| answer(text, |_| script.clone())).await;
        let connector = connector(config(&server.base));
        connector.sync_clock().await.unwrap();
        let mut stream = connector.user_stream();
        connected(&mut stream).await;
        let error = connector.execute(&place(1)).await.unwrap_err();
        assert!(check(&error), "{document:?}: {error}");
        assert!(server.seen("/order").is_empty());
    }
}

#[tokio::test]
async fn events_are_handed_on_and_an_ended_subscription_is_renewed() {
    let server = Server::start(|_| time_answer(0), |_, text| answer(text, |_| None)).await;
    let connector = connector(config(&server.base));
    let mut stream = connector.user_stream();
    connected(&mut stream).await;
    let push = |text: String| server.pushes.send(Push::Text("/ws-api", text)).unwrap();
    push("no JSON".to_owned());
    push(json!({"subscriptionId": 0, "event": {"e": "of next year"}}).to_string());
    push(execution("NEW"));
    let Some(AccountEvent::Execution { report, execution_id: 8 }) = stream.next().await else { panic!() };
    assert_eq!(report.status, OrderStatus::New);
    assert_eq!(connector.metrics().ignored_messages.get(), 2);
    push(json!({"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": 1}}).to_string());
    let Some(AccountEvent::Disconnected { .. }) = stream.next().await else { panic!() };
    connected(&mut stream).await;
    server.pushes.send(Push::Close("/ws-api")).unwrap();
    let Some(AccountEvent::Disconnected { .. }) = stream.next().await else { panic!() };
    connected(&mut stream).await;
    let subscriptions = server.frames("/ws-api").iter().filter(|text| text.contains("subscribe")).count();
    assert_eq!((subscriptions, connector.metrics().session_connects.get()), (3, 2));
}

#[tokio::test]
async fn a_connection_is_replaced_before_it_ends_without_a_gap() {
    let server = Server::start(|_| time_answer(0), |_, text| answer(text, |frame| Some(done(frame)))).await;
    let connector = connector(ConnectorConfig { connection_life_ms: 60, ..config(&server.base) });
    let mut stream = connector.user_stream();
    connected(&mut stream).await;
    for bar in 0..40 {
        assert!(connector.execute(&place(bar)).await.is_ok(), "{bar}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(connector.metrics().session_connects.get() >= 4);
    assert!(server.seen("/order").is_empty(), "there was always a session");
    let silence = tokio::time::timeout(Duration::from_millis(20), stream.next()).await;
    assert!(silence.is_err(), "the taker saw no interruption: {silence:?}");
}

#[tokio::test]
async fn a_connection_on_which_nothing_arrives_is_replaced() {
    let server = Server::start(|_| time_answer(0), |_, text| answer(text, |_| None)).await;
    let connector = connector(ConnectorConfig { stale_after_ms: 300, ..config(&server.base) });
    let mut stream = connector.user_stream();
    connected(&mut stream).await;
    // This server answers pings, so the connection lives.
    let silence = tokio::time::timeout(Duration::from_millis(700), stream.next()).await;
    assert!(silence.is_err(), "{silence:?}");
    server.pushes.send(Push::Freeze).unwrap();
    let lost = tokio::time::timeout(Duration::from_secs(3), stream.next()).await.unwrap();
    assert!(matches!(lost, Some(AccountEvent::Disconnected { .. })), "{lost:?}");
}

#[tokio::test]
async fn an_ed25519_key_logs_on_and_falls_back_to_a_signed_subscription() {
    const PEM_BODY: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
    for (can_log_on, methods) in [
        (true, vec!["session.logon", "userDataStream.subscribe"]),
        (false, vec!["session.logon", "userDataStream.subscribe.signature"]),
    ] {
        let server = Server::start(
            |_| time_answer(0),
            move |_, text| {
                answer(text, |frame| match (frame["method"].as_str(), can_log_on) {
                    (Some("session.logon"), false) => {
                        Some(json!({"status": 400, "error": {"code": -4056, "msg": "HMAC keys only"}}))
                    }
                    _ => Some(json!({"status": 200, "result": {"subscriptionId": 1}})),
                })
            },
        )
        .await;
        let credentials = Credentials::new(KeyKind::Ed25519, KEY.into(), PEM_BODY.into()).unwrap();
        let connector =
            Connector::new(config(&server.base), Some(credentials), Arc::new(Metrics::default())).unwrap();
        let mut stream = connector.user_stream();
        connected(&mut stream).await;
        let frames = server.frames("/ws-api");
        let frames: Vec<Value> = frames.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        let asked: Vec<&str> = frames.iter().filter_map(|frame| frame["method"].as_str()).collect();
        assert_eq!(asked, methods);
        assert_eq!(frames[0]["params"]["signature"].as_str().unwrap().len(), 88);
    }
}
