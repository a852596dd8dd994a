//! The control port, over real sockets: who may ask, what is answered, what reaches the bot.

use std::sync::Arc;

use polybolos_live_trader::config::Mode;
use polybolos_live_trader::control::{
    ControlClient, ControlCommand, ControlError, ControlHandle, ControlRequest, Reason, ServeError, State,
    Status, serve,
};
use polybolos_live_trader::symbol::Symbol;
use tokio::sync::{mpsc, oneshot, watch};

use crate::statuses::trading;

const TOKEN: &str = "0123456789abcdef-token";

struct Port {
    url: String,
    status: watch::Sender<Arc<Status>>,
    commands: mpsc::Receiver<ControlRequest>,
    _stop: oneshot::Sender<()>,
}

async fn port() -> Port {
    let (status, watched) = watch::channel(Arc::new(trading()));
    let (sender, commands) = mpsc::channel(4);
    let handle =
        ControlHandle { status: watched, commands: sender, metrics: Arc::new(|| "# EOF\n".to_owned()) };
    let (stop, stopped) = oneshot::channel::<()>();
    let end = async {
        let _ = stopped.await;
    };
    let (address, server) = serve(([127, 0, 0, 1], 0).into(), TOKEN, handle, end).await.unwrap();
    tokio::spawn(server);
    Port { url: format!("http://{address}"), status, commands, _stop: stop }
}

fn client(port: &Port, token: &str) -> ControlClient {
    ControlClient::new(&port.url, token).unwrap()
}

fn code(answer: Result<String, ControlError>) -> u16 {
    match answer {
        Ok(_) => 200,
        Err(ControlError::Refused { status, .. }) => status,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_status_is_the_newest_snapshot() {
    let port = port().await;
    let read = || async {
        let text = client(&port, TOKEN).get("status").await.unwrap();
        serde_json::from_str::<Status>(&text).unwrap()
    };
    assert_eq!(read().await, trading());
    let paused = Status { state: State::Paused, ..trading() };
    port.status.send(Arc::new(paused.clone())).unwrap();
    assert_eq!(read().await, paused);
}

#[tokio::test]
async fn nothing_is_shown_or_done_without_the_token() {
    let mut port = port().await;
    for wrong in ["", "x", "0123456789abcdef-toke", "0123456789abcdef-token2"] {
        let client = client(&port, wrong);
        assert_eq!(code(client.get("status").await), 401, "{wrong}");
        for path in ["pause", "resume", "flatten", "kill", "reconcile", "close/AAAUSDT"] {
            assert_eq!(code(client.post(path).await), 401, "{wrong} {path}");
        }
    }
    assert!(port.commands.try_recv().is_err(), "no command reached the bot");
    let client = client(&port, "");
    assert_eq!(client.get("healthz").await.unwrap(), "ok\n");
    assert_eq!(client.get("metrics").await.unwrap(), "# EOF\n");
}

#[tokio::test]
async fn every_command_reaches_the_bot_and_its_answer_the_operator() {
    let mut port = port().await;
    for (path, command) in [
        ("pause", ControlCommand::Pause),
        ("resume", ControlCommand::Resume),
        ("flatten", ControlCommand::Flatten),
        ("kill", ControlCommand::Kill),
        ("reconcile", ControlCommand::Reconcile),
        ("close/cccusdt", ControlCommand::Close(Symbol::new("CCCUSDT"))),
    ] {
        let asking = client(&port, TOKEN);
        let asked = tokio::spawn(async move { asking.post(path).await });
        let request = port.commands.recv().await.unwrap();
        assert_eq!(request.command, command);
        request.reply.send(Ok(format!("did {path}"))).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&asked.await.unwrap().unwrap()).unwrap();
        assert_eq!(answer["done"], format!("did {path}"));
    }
}

#[tokio::test]
async fn what_the_bot_refuses_or_does_not_answer_is_an_error_with_its_reason() {
    let mut port = port().await;
    let asking = client(&port, TOKEN);
    let asked = tokio::spawn(async move { asking.post("resume").await });
    port.commands.recv().await.unwrap().reply.send(Err("the kill switch is set".to_owned())).unwrap();
    let refused = ControlError::Refused { status: 409, message: "the kill switch is set".to_owned() };
    assert_eq!(asked.await.unwrap(), Err(refused));
    let asking = client(&port, TOKEN);
    let asked = tokio::spawn(async move { asking.post("pause").await });
    drop(port.commands.recv().await.unwrap().reply);
    assert_eq!(code(asked.await.unwrap()), 503);
    let client = client(&port, TOKEN);
    assert_eq!(code(client.post("close/NOSUCH").await), 404);
    assert_eq!(code(client.get("nowhere").await), 404);
    assert_eq!(code(client.get("pause").await), 405, "reading never changes anything");
}

#[tokio::test]
async fn readiness_says_why_not() {
    let port = port().await;
    let client = client(&port, "");
    assert_eq!(client.get("readyz").await.unwrap(), "ready\n");
    let mut status = trading();
    status.connections[0].is_up = false;
    port.status.send(Arc::new(status)).unwrap();
    let down = ControlError::Refused { status: 503, message: "connection market is down\n".to_owned() };
    assert_eq!(client.get("readyz").await, Err(down));
    let refused = Status { detail: Some("0.1 BTC too few".to_owned()), state: State::Refused, ..trading() };
    port.status.send(Arc::new(refused)).unwrap();
    let refused = ControlError::Refused { status: 503, message: "refused: 0.1 BTC too few\n".to_owned() };
    assert_eq!(client.get("readyz").await, Err(refused));
}

#[tokio::test]
async fn a_web_page_cannot_reach_the_port_by_a_name_of_its_own() {
    let port = port().await;
    for (host, expected) in [
        ("evil.example", 403),
        ("10.0.0.1", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost:9390", 200),
        ("[::1]:1", 200),
    ] {
        let request =
            reqwest::Client::builder().no_proxy().build().unwrap().get(format!("{}/healthz", port.url));
        let answer = request.header("host", host).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{host}");
    }
}

#[tokio::test]
async fn other_machines_and_weak_tokens_are_refused_before_anything_listens() {
    let (_, watched) = watch::channel(Arc::new(Status::starting("x", Mode::Paper, "USDT", 0)));
    let (commands, _taken) = mpsc::channel(1);
    let handle = ControlHandle { status: watched, commands, metrics: Arc::new(String::new) };
    let open = serve(([0, 0, 0, 0], 0).into(), TOKEN, handle.clone(), async {}).await;
    assert!(matches!(open, Err(ServeError::NotLoopback(_))));
    let weak = serve(([127, 0, 0, 1], 0).into(), "short", handle, async {}).await;
    assert!(matches!(weak, Err(ServeError::WeakToken)));
}

#[tokio::test]
async fn a_client_says_what_is_wrong_with_its_address_or_that_nobody_is_there() {
    for url in ["", "127.0.0.1:9390", "https://127.0.0.1:1", "http://127.0.0.1:1/path", "ftp://x"] {
        assert!(matches!(ControlClient::new(url, TOKEN), Err(ControlError::Address(_))), "{url}");
    }
    // Port 1 of loopback: nobody listens there.
    let error = ControlClient::new("http://127.0.0.1:1", TOKEN).unwrap().get("status").await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no bot answers at http://127.0.0.1:1") && !text.contains(TOKEN), "{text}");
}

#[test]
fn every_reason_has_a_line_and_survives_json() {
    for (reason, line) in [
        (Reason::WarmingUp { bars_left: 3 }, "warming up, 3 bars left"),
        (
            Reason::TrendFilter { condition: "tf('4h', close > open)".to_owned() },
            "tf('4h', close > open) is not TRUE",
        ),
        (Reason::Risk { detail: "max_open_positions 2 of 2".to_owned() }, "risk: max_open_positions 2 of 2"),
        (Reason::NotTrading { state: State::Killed }, "the bot is killed"),
        (Reason::Halted, "does not trade it now"),
    ] {
        assert!(reason.line().contains(line), "{}", reason.line());
        let json = serde_json::to_string(&reason).unwrap();
        assert_eq!(serde_json::from_str::<Reason>(&json).unwrap(), reason);
    }
}
