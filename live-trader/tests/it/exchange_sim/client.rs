//! A client without opinions: bare HTTP and WebSocket, signed as asked for.

use futures::{SinkExt as _, StreamExt as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// An answer over HTTP.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn code(&self) -> Option<i64> {
        self.body["code"].as_i64()
    }

    pub(super) fn header(&self, name: &str) -> Option<i64> {
        self.headers.get(name)?.to_str().ok()?.parse().ok()
    }
}

pub(super) fn now_ms() -> i64 {
    polybolos_live_trader::binance::LocalClock::start().now_ms()
}

pub(super) fn sign(secret: &str, payload: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(payload.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A request as it is written here.
pub(super) async fn ask(base: &str, verb: &str, path: &str, query: &str, key: Option<&str>) -> Answer {
    // A process may have chosen its encryption already; this client needs none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{base}/api/v3/{path}?{query}");
    let mut request = client.request(verb.parse().unwrap(), url);
    if let Some(key) = key {
        request = request.header("X-MBX-APIKEY", key);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
}

pub(super) async fn public(base: &str, path: &str, query: &str) -> Answer {
    ask(base, "GET", path, query, None).await
}

/// A signed request of the account, with a timestamp of now.
pub(super) async fn signed(base: &str, verb: &str, path: &str, query: &str) -> Answer {
    let separator = if query.is_empty() { "" } else { "&" };
    let payload = format!("{query}{separator}timestamp={}", now_ms());
    let signature = sign("sim-secret", &payload);
    ask(base, verb, path, &format!("{payload}&signature={signature}"), Some("sim-key")).await
}

/// A WebSocket.
pub(super) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(super) async fn open(base: &str, path: &str) -> Socket {
        let address = format!("{}{path}", base.replacen("http", "ws", 1));
        Socket(tokio_tungstenite::connect_async(address).await.unwrap().0)
    }

    pub(super) async fn send(&mut self, message: &Value) {
        assert!(self.try_send(message).await, "{message} cannot be sent");
    }

    /// Whether a message could be sent.
    pub(super) async fn try_send(&mut self, message: &Value) -> bool {
        self.0.send(Message::text(message.to_string())).await.is_ok()
    }

    /// The next message; `None` at the connection's end.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(text.as_str()).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Asks the WebSocket API and gives the answer, which must be the next message.
    pub(super) async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.send(&json!({"id": method, "method": method, "params": params})).await;
        let answer = self.next().await.unwrap();
        assert_eq!(answer["id"], method, "{answer}");
        answer
    }

    /// [`Socket::ask`], signed.
    pub(super) async fn ask_signed(&mut self, method: &str, mut params: Value) -> Value {
        params["apiKey"] = json!("sim-key");
        params["timestamp"] = json!(now_ms());
        let plain = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
        let mut pairs: Vec<String> = params
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}={}", plain(value)))
            .collect();
        pairs.sort();
        params["signature"] = json!(sign("sim-secret", &pairs.join("&")));
        self.ask(method, params).await
    }
}
