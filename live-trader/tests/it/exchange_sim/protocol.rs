//! Statuses, codes, texts and headers, seen by a client without a connector.

use serde_json::json;

use super::client::{Socket, ask, now_ms, public, sign, signed};
use super::*;

#[tokio::test]
async fn refusals_have_the_exchanges_codes() {
    let sim = start(|_| {}).await;
    let base = sim.base_url();
    let cases = [
        ("POST", "order", "symbol=BTCUSDT&side=BUY&type=MARKET", 400, -1102),
        ("POST", "order", "symbol=NONE&side=BUY&type=MARKET&quantity=1", 400, -1121),
        ("POST", "order", "symbol=BTCUSDT&side=LEFT&type=MARKET&quantity=1", 400, -1117),
        ("POST", "order", "symbol=BTCUSDT&side=BUY&type=WISH&quantity=1", 400, -1116),
        (
            "POST",
            "order",
            "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=99&timeInForce=GTD",
            400,
            -1115,
        ),
        ("POST", "order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1&price=99", 400, -1106),
        ("POST", "order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=-1", 400, -1100),
        ("POST", "order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.123456789", 400, -1111),
        (
            "POST",
            "order",
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1&newClientOrderId=a%20b",
            400,
            -1100,
        ),
        ("POST", "order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1&colour=red", 400, -1104),
        (
            "POST",
            "order",
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=99.001",
            400,
            -1013,
        ),
        (
            "POST",
            "order",
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=99",
            400,
            -1013,
        ),
        ("POST", "order", "symbol=BTCUSDT&side=BUY&type=LIMIT_MAKER&quantity=1&price=101", 400, -2010),
        ("POST", "order", "symbol=BTCUSDT&side=SELL&type=STOP_LOSS&quantity=1&stopPrice=101", 400, -2010),
        ("POST", "order", "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=1", 400, -2010),
        ("DELETE", "order", "symbol=BTCUSDT&orderId=9", 400, -2011),
        ("DELETE", "openOrders", "symbol=BTCUSDT", 400, -2011),
        ("GET", "order", "symbol=BTCUSDT&orderId=9", 400, -2013),
        ("GET", "order", "symbol=BTCUSDT", 400, -1102),
        ("GET", "myTrades", "symbol=BTCUSDT&startTime=1&endTime=86400002", 400, -1127),
        ("GET", "klines", "symbol=BTCUSDT&interval=5m", 400, -1120),
    ];
    for (verb, path, query, status, code) in cases {
        let answer = match path {
            "klines" => public(&base, path, query).await,
            _ => signed(&base, verb, path, query).await,
        };
        assert_eq!((answer.status, answer.code()), (status, Some(code)), "{path}?{query}: {}", answer.body);
    }
    let failed =
        signed(&base, "POST", "order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.0000001").await;
    assert_eq!(failed.body["msg"], "Filter failure: LOT_SIZE");
    assert_eq!(sim.inspect(|core| core.all_orders(&symbol()).unwrap().count()), 0, "nothing was placed");
}

#[tokio::test]
async fn keys_signatures_and_timestamps_are_checked() {
    let sim = start(|_| {}).await;
    let base = sim.base_url();
    let query = format!("timestamp={}", now_ms());
    let good = format!("{query}&signature={}", sign("sim-secret", &query));
    let bad = format!("{query}&signature={}", sign("another", &query));
    let late = format!("timestamp={}", now_ms() - 6_000);
    let late = format!("{late}&signature={}", sign("sim-secret", &late));
    let early = format!("timestamp={}", now_ms() + 5_000);
    let early = format!("{early}&signature={}", sign("sim-secret", &early));
    for (query, key, status, code) in [
        (&good, Some("sim-key"), 200, None),
        (&good, None, 401, Some(-2014)),
        (&good, Some("other"), 401, Some(-2015)),
        (&bad, Some("sim-key"), 400, Some(-1022)),
        (&query, Some("sim-key"), 400, Some(-1102)),
        (&late, Some("sim-key"), 400, Some(-1021)),
        (&early, Some("sim-key"), 400, Some(-1021)),
    ] {
        let answer = ask(&base, "GET", "account", query, key).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{query}");
    }
    // What is signed is what is sent, percent-encoded.
    let query = format!("symbol=%EF%BC%91&timestamp={}", now_ms());
    let encoded = format!("{query}&signature={}", sign("sim-secret", &query));
    assert_eq!(ask(&base, "GET", "openOrders", &encoded, Some("sim-key")).await.code(), Some(-1121));
    let plain = format!("{query}&signature={}", sign("sim-secret", &query.replace("%EF%BC%91", "１")));
    assert_eq!(ask(&base, "GET", "openOrders", &plain, Some("sim-key")).await.code(), Some(-1022));
}

#[tokio::test]
async fn weights_and_orders_are_counted_in_headers() {
    use polybolos_live_trader::exchange_sim::RateLimits;
    let sim =
        start(|config| config.limits = RateLimits { weight_per_minute: 50, ..RateLimits::EXCHANGE }).await;
    let base = sim.base_url();
    // A minute that is about to end would begin another count.
    while now_ms() % 60_000 > 58_000 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let first = public(&base, "ping", "").await;
    assert_eq!(first.header("x-mbx-used-weight-1m"), Some(1));
    let placed = signed(
        &base,
        "POST",
        "order",
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=90",
    )
    .await;
    assert_eq!((placed.status, placed.header("x-mbx-used-weight-1m")), (200, Some(1)), "done for nothing");
    assert_eq!(placed.header("x-mbx-order-count-10s"), Some(1));
    assert_eq!(
        signed(&base, "POST", "order", "symbol=BTCUSDT").await.header("x-mbx-used-weight-1m"),
        Some(2)
    );
    assert_eq!(signed(&base, "GET", "account", "").await.header("x-mbx-used-weight-1m"), Some(22));
    assert_eq!(public(&base, "exchangeInfo", "").await.status, 200);
    let over = public(&base, "exchangeInfo", "").await;
    assert_eq!((over.status, over.code()), (429, Some(-1003)));
    assert!(over.header("retry-after").is_some_and(|seconds| (1..=60).contains(&seconds)));
    for _ in 0..10 {
        public(&base, "ping", "").await;
    }
    let banned = public(&base, "ping", "").await;
    assert_eq!(banned.status, 418);
    assert!(banned.header("retry-after").is_some_and(|seconds| (110..=120).contains(&seconds)));
}

#[tokio::test]
async fn cancel_replace_says_what_became_of_each_half() {
    let sim = start(|_| {}).await;
    let base = sim.base_url();
    let limit = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=90";
    let placed = signed(&base, "POST", "order", limit).await;
    let id = placed.body["orderId"].as_i64().unwrap();
    let replace = |id: i64, mode: &str| format!("{limit}&cancelReplaceMode={mode}&cancelOrderId={id}");
    let both = signed(&base, "POST", "order/cancelReplace", &replace(id, "STOP_ON_FAILURE")).await;
    assert_eq!(
        (both.status, &both.body["cancelResult"], &both.body["newOrderResult"]),
        (200, &json!("SUCCESS"), &json!("SUCCESS"))
    );
    let stopped = signed(&base, "POST", "order/cancelReplace", &replace(id, "STOP_ON_FAILURE")).await;
    assert_eq!((stopped.status, stopped.code()), (400, Some(-2022)));
    assert_eq!(stopped.body["data"]["newOrderResult"], "NOT_ATTEMPTED");
    let half = signed(&base, "POST", "order/cancelReplace", &replace(id, "ALLOW_FAILURE")).await;
    assert_eq!((half.status, half.code()), (409, Some(-2021)));
    assert_eq!(half.body["data"]["cancelResponse"]["code"], -2011);
    assert_eq!(half.body["data"]["newOrderResponse"]["status"], "NEW");
}

#[tokio::test]
async fn an_amended_order_is_smaller_under_its_new_id() {
    let sim = start(|_| {}).await;
    let base = sim.base_url();
    let limit = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=2&price=90&newClientOrderId=old";
    signed(&base, "POST", "order", limit).await;
    let amend = "symbol=BTCUSDT&origClientOrderId=old&newQty=1&newClientOrderId=new";
    let amended = signed(&base, "PUT", "order/amend/keepPriority", amend).await;
    let order = &amended.body["amendedOrder"];
    assert_eq!(
        (&order["qty"], &order["clientOrderId"], &order["origClientOrderId"]),
        (&json!("1.00000000"), &json!("new"), &json!("old"))
    );
    let larger =
        signed(&base, "PUT", "order/amend/keepPriority", "symbol=BTCUSDT&origClientOrderId=new&newQty=3")
            .await;
    assert_eq!(larger.code(), Some(-2038));
}

#[tokio::test]
async fn the_websocket_api_answers_first_and_tells_events_after() {
    let sim = start(|_| {}).await;
    let mut socket = Socket::open(&sim.base_url(), "/ws-api/v3").await;
    let subscribed = socket.ask_signed("userDataStream.subscribe.signature", json!({})).await;
    assert_eq!(subscribed["result"]["subscriptionId"], 0);
    let again = socket.ask_signed("userDataStream.subscribe.signature", json!({})).await;
    assert_eq!((&again["status"], &again["error"]["code"]), (&json!(400), &json!(-2035)));
    let placed = socket
        .ask_signed(
            "order.place",
            json!({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}),
        )
        .await;
    assert_eq!((&placed["status"], &placed["result"]["status"]), (&json!(200), &json!("FILLED")));
    assert_eq!(placed["rateLimits"].as_array().unwrap().len(), 3);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = socket.next().await.unwrap();
        assert_eq!(event["subscriptionId"], 0);
        seen.push(format!("{} {}", event["event"]["e"], event["event"]["x"]));
    }
    assert_eq!(
        seen,
        ["\"executionReport\" \"NEW\"", "\"executionReport\" \"TRADE\"", "\"outboundAccountPosition\" null"]
    );
    let unknown = socket.ask("order.wish", json!({})).await;
    assert_eq!(unknown["status"], 400);
    let logon = socket.ask_signed("session.logon", json!({})).await;
    assert_eq!(logon["error"]["code"], -4056, "an HMAC key cannot log on");
    socket.send(&json!({"id": 1, "method": "userDataStream.unsubscribe"})).await;
    assert_eq!(socket.next().await.unwrap()["event"]["e"], "eventStreamTerminated");
    assert_eq!(socket.next().await.unwrap()["result"], json!({}));
}

#[tokio::test]
async fn market_streams_are_chosen_and_named_as_asked() {
    let sim = start(|_| {}).await;
    let base = sim.base_url();
    let mut raw = Socket::open(&base, "/ws/btcusdt@bookTicker").await;
    let mut combined = Socket::open(&base, "/stream").await;
    let mut control = async |id: i64, method: &str, params: serde_json::Value| {
        combined.send(&json!({"id": id, "method": method, "params": params})).await;
        let answer = combined.next().await.unwrap();
        assert_eq!(answer["id"], id);
        answer
    };
    assert_eq!(
        control(1, "SUBSCRIBE", json!(["btcusdt@kline_1h", "btcusdt@bookTicker"])).await["result"],
        json!(null)
    );
    assert_eq!(control(2, "UNSUBSCRIBE", json!(["btcusdt@bookTicker"])).await["result"], json!(null));
    assert_eq!(control(3, "LIST_SUBSCRIPTIONS", json!(null)).await["result"], json!(["btcusdt@kline_1h"]));
    assert_eq!(control(4, "WISH", json!([])).await["code"], 2);
    sim.step().await;
    sim.step().await;
    assert_eq!(raw.next().await.unwrap()["b"], "100.50000000", "the open of bar 1");
    let kline = combined.next().await.unwrap();
    assert_eq!(kline["stream"], "btcusdt@kline_1h");
    assert_eq!((&kline["data"]["k"]["c"], &kline["data"]["k"]["x"]), (&json!("102.5"), &json!(true)));
}

#[tokio::test]
async fn a_market_connection_that_talks_too_much_is_closed() {
    let sim = start(|_| {}).await;
    let mut socket = Socket::open(&sim.base_url(), "/ws").await;
    for id in 0..20 {
        // Once it is closed the rest cannot be sent.
        socket.try_send(&json!({"id": id, "method": "LIST_SUBSCRIPTIONS"})).await;
    }
    let mut answers = 0;
    while socket.next().await.is_some() {
        answers += 1;
    }
    // A closed connection may lose answers that were on their way.
    assert!(answers <= 10, "{answers}: five a second, and a second can pass");
}
