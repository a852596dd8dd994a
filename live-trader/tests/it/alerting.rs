//! Alerts against a server on loopback: delivered, repeated, bundled, lost rather than waited for; secrets nowhere.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use polybolos_live_trader::alerts::{Alert, AlertError, Alerter, Deliverer, Pace, alerts};
use polybolos_live_trader::config::{AlertKind, Alerts, Telegram, Webhook};
use serde_json::Value;

const SECRET: &str = "987654321:AAHsecretsecretsecretsecretsecretsec";

/// A server that keeps what it got and answers with the statuses it was given, then 200.
#[derive(Clone, Default)]
struct Server {
    got: Arc<Mutex<Vec<(String, Value)>>>,
    answers: Arc<Mutex<Vec<StatusCode>>>,
}

impl Server {
    async fn start(answers: &[u16]) -> (Server, String) {
        let answers = answers.iter().rev().map(|code| StatusCode::from_u16(*code).unwrap()).collect();
        let server = Server { answers: Arc::new(Mutex::new(answers)), ..Server::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (server, url)
    }

    fn got(&self) -> Vec<(String, Value)> {
        self.got.lock().unwrap().clone()
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let path = request.uri().to_string();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    server.got.lock().unwrap().push((path, serde_json::from_slice(&body).unwrap()));
    server.answers.lock().unwrap().pop().unwrap_or(StatusCode::OK).into_response()
}

fn config(on: &[AlertKind]) -> Alerts {
    Alerts {
        webhook: Some(Webhook { url_env: "HOOK".to_owned() }),
        telegram: Some(Telegram { token_env: "TOKEN".to_owned(), chat_id: "-100".to_owned() }),
        on: on.to_vec(),
    }
}

fn set_up(url: &str, config: &Alerts) -> (Alerter, Deliverer) {
    let pace = Pace { between: Duration::from_millis(1), first_wait: Duration::from_millis(1), retries: 3 };
    let variables = |name: &str| match name {
        "HOOK" => Some(format!("{url}/hook/{SECRET}")),
        "TOKEN" => Some(SECRET.to_owned()),
        _ => None,
    };
    alerts(config, variables, url, pace).unwrap()
}

fn alert(kind: AlertKind, message: &str) -> Alert {
    Alert {
        kind,
        bot: "demo".to_owned(),
        symbol: Some("BTCUSDT".to_owned()),
        message: message.to_owned(),
        time_ms: 5,
    }
}

#[tokio::test]
async fn webhook_and_telegram_get_what_was_asked_for() {
    let (server, url) = Server::start(&[]).await;
    let (alerter, deliverer) = set_up(&url, &config(&[AlertKind::Kill]));
    assert!(alerter.send(alert(AlertKind::Kill, "the kill switch was set")));
    assert!(alerter.send(alert(AlertKind::Entry, "bought")), "not wanted is not lost");
    drop(alerter);
    deliverer.run().await;
    let mut got = server.got();
    got.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(got.len(), 2, "{got:?}");
    let (path, body) = &got[0];
    assert_eq!(path, &format!("/bot{SECRET}/sendMessage"));
    assert_eq!(
        (body["chat_id"].as_str(), body["text"].as_str()),
        (Some("-100"), Some("[demo] BTCUSDT the kill switch was set"))
    );
    let (path, body) = &got[1];
    assert_eq!(path, &format!("/hook/{SECRET}"));
    assert_eq!(body["alerts"][0]["kind"], "kill");
    assert_eq!(body["text"], "[demo] BTCUSDT the kill switch was set");
}

#[tokio::test]
async fn a_failed_delivery_is_repeated_and_a_refused_one_is_not() {
    let webhook = Alerts { telegram: None, ..config(&[]) };
    for (answers, requests) in
        [([503, 429, 200].as_slice(), 3), (&[500, 500, 500, 500, 500], 4), (&[404, 200], 1)]
    {
        let (server, url) = Server::start(answers).await;
        let (alerter, deliverer) = set_up(&url, &webhook);
        alerter.send(alert(AlertKind::Error, "x"));
        drop(alerter);
        deliverer.run().await;
        assert_eq!(server.got().len(), requests, "{answers:?}");
    }
}

#[tokio::test]
async fn many_alerts_become_few_messages_and_the_sender_never_waits() {
    let (server, url) = Server::start(&[]).await;
    let (alerter, deliverer) = set_up(&url, &Alerts { telegram: None, ..config(&[]) });
    let before = Instant::now();
    // Nobody delivers yet: 256 fit, the rest is lost at once.
    let queued = (0..300).filter(|n| alerter.send(alert(AlertKind::Entry, &format!("number {n}")))).count();
    assert!(before.elapsed() < Duration::from_secs(1));
    assert_eq!((queued, alerter.dropped()), (256, 44));
    drop(alerter);
    deliverer.run().await;
    let got = server.got();
    assert!(got.len() < 20, "{} messages", got.len());
    let all: usize = got.iter().map(|(_, body)| body["alerts"].as_array().unwrap().len()).sum();
    assert_eq!(all, 256);
    let longest = got.iter().map(|(_, body)| body["text"].as_str().unwrap().lines().count()).max().unwrap();
    assert!(longest <= 21, "{longest} lines");
}

#[tokio::test]
async fn a_channel_that_is_out_of_reach_does_not_hold_up_the_end() {
    let pace = Pace { between: Duration::ZERO, first_wait: Duration::from_secs(60), retries: 5 };
    let config = Alerts { telegram: None, ..config(&[]) };
    let (alerter, deliverer) =
        alerts(&config, |_| Some("http://127.0.0.1:1/x".to_owned()), "http://127.0.0.1:1", pace).unwrap();
    alerter.send(alert(AlertKind::Lifecycle, "stopping"));
    let before = Instant::now();
    deliverer.run_until(async {}, Duration::from_millis(50)).await;
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_is_missing_is_named_and_no_secret_is_told() {
    let environment = |wanted: &'static str| move |name: &str| (name == wanted).then(|| SECRET.to_owned());
    let set_up = |config: &Alerts, wanted| {
        alerts(config, environment(wanted), "http://127.0.0.1:1", Pace::default()).map(|_| ()).unwrap_err()
    };
    let missing = set_up(&config(&[]), "TOKEN");
    assert_eq!(missing.to_string(), "`alerts.webhook`: the environment variable HOOK is not set");
    let not_a_url = set_up(&config(&[]), "HOOK");
    assert_eq!(not_a_url, AlertError::NotAUrl { variable: "HOOK".to_owned() });
    let telegram = set_up(&Alerts { webhook: None, ..config(&[]) }, "HOOK");
    for error in [missing, not_a_url, telegram] {
        assert!(
            !error.to_string().contains("secret") && !format!("{error:?}").contains("secret"),
            "{error:?}"
        );
    }
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<String>>);

impl tracing::field::Visit for Logged {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.lock().unwrap().push_str(&format!("{field}={value:?} "));
    }
}

impl tracing::Subscriber for Logged {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        attributes.record(&mut self.clone());
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        // Libraries below log bytes of a connection at levels that no bot is run with.
        if *event.metadata().level() <= tracing::Level::INFO {
            event.record(&mut self.clone());
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_failed_delivery_is_logged_without_address_and_token() {
    let logged = Logged::default();
    let _guard = tracing::subscriber::set_default(logged.clone());
    let (_server, url) = Server::start(&[403, 403]).await;
    // One server refuses, the other does not exist.
    for url in [url.as_str(), "http://127.0.0.1:1"] {
        let (alerter, deliverer) = set_up(url, &config(&[]));
        alerter.send(alert(AlertKind::Error, "x"));
        drop(alerter);
        deliverer.run().await;
    }
    let text = logged.0.lock().unwrap().clone();
    assert!(text.contains("telegram") && text.contains("webhook") && text.contains("403"), "{text}");
    assert!(!text.contains("secret") && !text.contains("987654321") && !text.contains("127.0.0.1"), "{text}");
}
