//! Every fault by its name, against the real connector, with what the connector promises about it.

use std::time::{Duration, Instant};

use polybolos_engine::strategy::{Format, Source};
use polybolos_live_trader::binance::UserStream;
use polybolos_live_trader::exchange_sim::FaultPlan;
use polybolos_live_trader::order::OrderStatus;
use polybolos_live_trader::venue::{AccountEvent, Answer, MarketEvent, Response, VenueError};

use super::*;

/// An exchange with the rules of a plan, one a line.
async fn faulty(rules: &str) -> ExchangeSim {
    let rules: String = rules.lines().map(|line| format!("  - {}\n", line.trim())).collect();
    let source =
        Source { name: "plan.yaml".to_owned(), text: format!("faults:\n{rules}"), format: Format::Yaml };
    let plan = FaultPlan::parse(&source).unwrap_or_else(|faults| panic!("{faults}"));
    start(|config| config.faults = plan).await
}

fn buy(client_id: &str) -> Command {
    order(client_id, OrderSide::Buy, OrderKind::Market, "1")
}

/// Orders that the exchange has.
fn placed(sim: &ExchangeSim) -> usize {
    sim.inspect(|core| core.all_orders(&symbol()).unwrap().count())
}

fn is_unknown(answer: &Answer) -> bool {
    matches!(answer, Err(VenueError::Unknown { .. }))
}

async fn session(connector: &Connector) -> UserStream {
    let mut stream = connector.user_stream();
    assert!(matches!(stream.next().await, Some(AccountEvent::Connected)));
    stream
}

/// Places over REST and over a session; both must say that the outcome is unknown, and nothing may be sent again.
async fn stays_unknown(action: &str, orders: usize) {
    for has_session in [false, true] {
        let sim = faulty(&format!("{{on: [order.place], nth: 1, do: [{action}]}}")).await;
        let connector = connect(&sim).await;
        let mut stream = None;
        if has_session {
            stream = Some(session(&connector).await);
        }
        let before = sim.progress().requests;
        let answer = connector.execute(&buy("once")).await;
        assert!(is_unknown(&answer), "{action}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(placed(&sim), orders, "{action}");
        let by_session = u64::from(has_session) * 2;
        let sent = sim.progress().requests - before;
        assert!((1..=1 + by_session).contains(&sent), "{action}: sent {sent} times, session {has_session}");
        // A lookup tells what became of it.
        match connector.execute(&query("once")).await {
            Ok(Response::Order(report)) => assert_eq!((report.status, orders), (OrderStatus::Filled, 1)),
            Err(VenueError::NotFound { .. }) => assert_eq!(orders, 0, "{action}"),
            other => panic!("{action}: {other:?}"),
        }
        drop(stream);
    }
}

#[tokio::test]
async fn a_5xx_after_acceptance_stays_unknown() {
    stays_unknown("{done_but_answered: {status: 504, code: -1007, msg: Timeout}}", 1).await;
}

#[tokio::test]
async fn a_connection_closed_after_acceptance_stays_unknown() {
    stays_unknown("{done_silently: close}", 1).await;
}

#[tokio::test]
async fn a_silence_after_acceptance_stays_unknown() {
    stays_unknown("{done_silently: hang}", 1).await;
}

#[tokio::test]
async fn an_answer_that_comes_too_late_stays_unknown() {
    stays_unknown("{answer_delay_ms: 600}", 1).await;
}

#[tokio::test]
async fn a_5xx_before_acceptance_stays_unknown() {
    stays_unknown("{refuse: {status: 503, code: -1008, msg: Server is overloaded}}", 0).await;
}

#[tokio::test]
async fn a_connection_closed_before_acceptance_stays_unknown() {
    stays_unknown("{refuse_silently: close}", 0).await;
}

#[tokio::test]
async fn a_silence_before_acceptance_stays_unknown() {
    stays_unknown("{refuse_silently: hang}", 0).await;
}

#[tokio::test]
async fn a_refusal_is_definite_and_nothing_was_done() {
    let sim =
        faulty("{on: [order.place], do: [{refuse: {status: 400, code: -2010, msg: Market is closed.}}]}")
            .await;
    let connector = connect(&sim).await;
    let answer = connector.execute(&buy("in")).await;
    let expected = VenueError::Refused { code: -2010, message: "Market is closed.".to_owned() };
    assert_eq!((answer, placed(&sim)), (Err(expected), 0));
}

#[tokio::test]
async fn a_request_held_up_beyond_its_window_is_refused_and_signed_again() {
    let sim = faulty("{on: [order.place], nth: 1, do: [{delay_ms: 250}]}").await;
    let config = ConnectorConfig { recv_window_ms: 150, ..connector_config(&sim) };
    let connector = connector(config);
    connector.sync_clock().await.unwrap();
    assert!(connector.execute(&buy("in")).await.is_ok());
    assert_eq!(placed(&sim), 1, "the first did nothing");
}

#[tokio::test]
async fn a_skewed_clock_is_compared_again_and_the_order_is_placed_once() {
    let sim = faulty("{on: [order.place], nth: 1, do: [{clock_skew_ms: 20000}]}").await;
    let connector = connect(&sim).await;
    assert!(connector.execute(&buy("in")).await.is_ok());
    assert_eq!((placed(&sim), connector.metrics().clock_syncs.get()), (1, 2));
}

#[tokio::test]
async fn a_429_holds_everything_back_for_as_long_as_it_says() {
    let sim = faulty("{on: [order.place], nth: 1, do: [{throttle_s: 1}]}").await;
    let connector = connect(&sim).await;
    let Err(VenueError::NotDone { retry_at_ms, .. }) = connector.execute(&buy("in")).await else { panic!() };
    let wait = retry_at_ms - connector.local_time_ms();
    assert!((500..=1_100).contains(&wait), "{wait}");
    let before = sim.progress().requests;
    assert!(matches!(connector.execute(&buy("in")).await, Err(VenueError::NotDone { .. })));
    assert_eq!((sim.progress().requests, placed(&sim)), (before, 0), "nothing leaves");
    tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap() + 50)).await;
    assert!(connector.execute(&buy("in")).await.is_ok());
}

#[tokio::test]
async fn a_418_stops_all_traffic() {
    for has_session in [false, true] {
        let sim = faulty("{on: [order.place], nth: 1, do: [{ban_s: 60}]}").await;
        let connector = connect(&sim).await;
        let mut stream = None;
        if has_session {
            stream = Some(session(&connector).await);
        }
        let Err(VenueError::Halt { until_ms: Some(until), .. }) = connector.execute(&buy("in")).await else {
            panic!()
        };
        assert!((55_000..=61_000).contains(&(until - connector.local_time_ms())));
        let before = sim.progress().requests;
        for command in [buy("in"), query("in"), cancel("in"), Command::Account] {
            assert!(matches!(connector.execute(&command).await, Err(VenueError::Halt { .. })), "{command:?}");
        }
        assert!(connector.price(&symbol()).await.is_err());
        assert_eq!((sim.progress().requests, placed(&sim)), (before, 0));
        drop(stream);
    }
}

#[tokio::test]
async fn an_order_fills_in_parts_and_its_rest_follows_or_expires() {
    for (expires, status, fills) in [(false, OrderStatus::Filled, 2), (true, OrderStatus::Expired, 1)] {
        let partial = format!("{{partial_fill: {{fraction: 0.4, expires_rest: {expires}}}}}");
        let sim = faulty(&format!("{{on: [order.place], do: [{partial}]}}")).await;
        let connector = connect(&sim).await;
        let Ok(Response::Order(report)) = connector.execute(&buy("in")).await else { panic!() };
        assert_eq!((report.status, report.fills.len()), (status, fills));
        assert_eq!(report.fills[0].quantity, dec("0.4"));
    }
}

#[tokio::test]
async fn an_order_is_not_found_right_after_its_placement() {
    let sim = faulty("{on: [order.place], do: [{lag_ms: 150}]}").await;
    let connector = connect(&sim).await;
    assert!(connector.execute(&order("low", OrderSide::Buy, limit("90"), "1")).await.is_ok());
    assert!(matches!(connector.execute(&query("low")).await, Err(VenueError::NotFound { code: -2013, .. })));
    let open = Command::OpenOrders { symbol: None };
    assert_eq!(connector.execute(&open).await, Ok(Response::Orders(vec![])));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(matches!(connector.execute(&query("low")).await, Ok(Response::Order(_))));
}

async fn executions(stream: &mut UserStream, count: usize) -> Vec<(i64, OrderStatus)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match tokio::time::timeout(Duration::from_secs(5), stream.next()).await {
            Ok(Some(AccountEvent::Execution { report, execution_id })) => {
                seen.push((execution_id, report.status))
            }
            Ok(Some(_)) => {}
            other => panic!("{other:?} after {seen:?}"),
        }
    }
    seen
}

#[tokio::test]
async fn doubled_events_carry_one_execution_id() {
    let sim = faulty("{on: [order.place], do: [{duplicate_events: 1}]}").await;
    let connector = connect(&sim).await;
    let mut stream = session(&connector).await;
    connector.execute(&buy("in")).await.unwrap();
    let seen = executions(&mut stream, 4).await;
    assert_eq!(
        seen,
        [(1, OrderStatus::New), (1, OrderStatus::New), (2, OrderStatus::Filled), (2, OrderStatus::Filled)]
    );
}

#[tokio::test]
async fn late_events_come_after_the_answer() {
    let sim = faulty("{on: [order.place], do: [{delay_events_ms: 200}]}").await;
    let connector = connect(&sim).await;
    let mut stream = session(&connector).await;
    let started = Instant::now();
    connector.execute(&buy("in")).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(150));
    executions(&mut stream, 2).await;
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_dropped_user_connection_is_said_and_made_again() {
    let sim = faulty("{at_step: 2, do: [{drop: user}]}").await;
    let connector = connect(&sim).await;
    let mut stream = session(&connector).await;
    sim.step().await;
    sim.step().await;
    assert!(matches!(stream.next().await, Some(AccountEvent::Disconnected { .. })));
    assert!(matches!(stream.next().await, Some(AccountEvent::Connected)));
    assert!(connector.execute(&buy("in")).await.is_ok());
    executions(&mut stream, 2).await;
}

#[tokio::test]
async fn an_ended_subscription_is_said_and_made_again() {
    let sim = faulty("{at_step: 1, do: [{end_subscriptions: true}]}").await;
    let connector = connect(&sim).await;
    let mut stream = session(&connector).await;
    sim.step().await;
    assert!(matches!(stream.next().await, Some(AccountEvent::Disconnected { .. })));
    assert!(matches!(stream.next().await, Some(AccountEvent::Connected)));
    assert_eq!(connector.metrics().session_connects.get(), 1, "the connection itself stays");
}

/// The open times of the bars that a stream brings, in bars, until the given one; nothing may be missing or double.
async fn bars_until(sim: &ExchangeSim, last: i64) -> Vec<i64> {
    let connector = connect(sim).await;
    let mut market = connector.market_stream(plan(Some(0)));
    let mut seen = Vec::new();
    let mut steps = tokio::time::interval(Duration::from_millis(20));
    loop {
        tokio::select! {
            event = market.next() => if let Some(MarketEvent::Bar { bar, .. }) = event {
                seen.push(bar.open_time_ms / HOUR_MS);
                if bar.open_time_ms == last * HOUR_MS {
                    return seen;
                }
            },
            _ = steps.tick() => sim.step().await,
        }
    }
}

#[tokio::test]
async fn bars_missed_by_a_dropped_market_connection_are_fetched() {
    let sim = faulty("{at_step: 2, do: [{drop: market}]}\n{at_step: 4, do: [{drop: all}]}").await;
    assert_eq!(bars_until(&sim, 5).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_server_that_goes_away_is_replaced_without_a_gap() {
    let sim = faulty("{at_step: 2, do: [{announce_shutdown: true}]}").await;
    let connector = connect(&sim).await;
    let mut stream = session(&connector).await;
    assert_eq!(bars_until(&sim, 5).await, [1, 2, 3, 4, 5]);
    let deadline = Instant::now() + Duration::from_secs(5);
    while connector.metrics().session_connects.get() < 2 {
        assert!(Instant::now() < deadline, "no new session");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(connector.execute(&buy("in")).await.is_ok());
    // The first news after the connection are those of the order: the stream never was away.
    executions(&mut stream, 2).await;
}

#[tokio::test]
async fn chances_repeat_with_their_seed() {
    let run = async |seed: u64| {
        let text = "faults:\n  - {on: [order.place], probability: 0.5, do: [{refuse: {status: 400, code: -2010, msg: no}}]}\n";
        let source = Source { name: "plan.yaml".to_owned(), text: text.to_owned(), format: Format::Yaml };
        let plan = FaultPlan::parse(&source).unwrap();
        let sim = start(|config| (config.faults, config.seed) = (plan, seed)).await;
        let connector = connect(&sim).await;
        let mut outcomes = Vec::new();
        for at in 0..24 {
            outcomes.push(connector.execute(&buy(&format!("o{at}"))).await.is_ok());
        }
        outcomes
    };
    let first = run(1).await;
    assert_eq!(first, run(1).await);
    assert_ne!(first, run(2).await);
    assert!(first.contains(&true) && first.contains(&false));
}
