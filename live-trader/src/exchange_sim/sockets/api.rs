//! The WebSocket API: requests and answers, and the user's events.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::session;
use super::{Hub, In, Out, Outbox, Socket, pump, send_later};
use crate::exchange_sim::exchange::{Call, Exchange, Outcome};
use crate::exchange_sim::faults::{Silence, Trouble};
use crate::exchange_sim::params::Params;
use crate::exchange_sim::refusal::Refusal;
use crate::exchange_sim::routes;
use crate::exchange_sim::server::Shared;

/// A connection of the WebSocket API.
#[derive(Debug)]
pub(super) struct ApiClient {
    pub(super) out: Outbox,
    pub(super) connected_ms: i64,
    /// When it logged on.
    pub(super) authorized_ms: Option<i64>,
    /// The subscription to the user's events, and whether it rests on the logon.
    pub(super) subscription: Option<(u64, bool)>,
    pub(super) next_subscription: u64,
    returns_limits: bool,
}

impl ApiClient {
    pub(super) fn is_subscribed(&self) -> bool {
        self.subscription.is_some()
    }

    pub(super) fn tell_user(&self, event: &Value, delay_ms: u64) {
        if let Some((subscription, _)) = self.subscription {
            self.send(format!(r#"{{"subscriptionId":{subscription},"event":{event}}}"#), delay_ms);
        }
    }

    fn send(&self, text: String, delay_ms: u64) {
        match delay_ms {
            // A connection that has just ended is taken out by its task.
            0 => drop(self.out.send(Out::Text(text))),
            _ => send_later(&self.out, text, delay_ms),
        }
    }
}

impl Hub {
    fn add_api(&mut self, out: Outbox, connected_ms: i64, returns_limits: bool) -> u64 {
        let number = self.number();
        self.apis.insert(
            number,
            ApiClient {
                out,
                connected_ms,
                authorized_ms: None,
                subscription: None,
                next_subscription: 0,
                returns_limits,
            },
        );
        number
    }

    pub(super) fn api(&mut self, number: u64) -> Result<&mut ApiClient, Refusal> {
        self.apis.get_mut(&number).ok_or_else(|| Refusal::bad(-1000, "The connection has ended."))
    }
}

/// A request as it came in.
struct Frame {
    id: Value,
    method: String,
    params: Params,
}

impl Frame {
    fn read(text: &str) -> Result<Frame, Refusal> {
        let invalid = |words: &str| Refusal::bad(-1135, format!("Invalid JSON Request: {words}"));
        let document: Value = serde_json::from_str(text).map_err(|error| invalid(&error.to_string()))?;
        let none = Map::new();
        Ok(Frame {
            id: document.get("id").cloned().unwrap_or(Value::Null),
            method: document
                .get("method")
                .and_then(Value::as_str)
                .ok_or_else(|| invalid("missing field `method`"))?
                .to_owned(),
            params: Params::of_json(document.get("params").and_then(Value::as_object).unwrap_or(&none)),
        })
    }
}

impl Exchange {
    /// Deals with a frame of a connection: first the answer is told, then what the request caused.
    fn frame(&mut self, client: u64, frame: &Result<Frame, Refusal>, trouble: &Trouble) {
        let (id, outcome, has_orders) = match frame {
            Err(refusal) => (&Value::Null, Outcome::Answer(Err(refusal.clone())), false),
            Ok(frame) => {
                let places = routes::of_method(&frame.method).is_some_and(|endpoint| endpoint.orders > 0);
                (&frame.id, self.attempt(trouble, |exchange| exchange.method(client, frame)), places)
            }
        };
        match outcome {
            Outcome::Answer(result) => {
                let answer = self.answer(client, id, &result, has_orders && result.is_ok());
                if let Ok(client) = self.hub.api(client) {
                    client.send(answer.to_string(), trouble.answer_delay_ms);
                }
            }
            Outcome::Silence(Silence::Close) => self.hub.close(client),
            Outcome::Silence(Silence::Hang) => {}
        }
        self.conclude(trouble);
    }

    fn method(&mut self, client: u64, frame: &Frame) -> Result<Value, Refusal> {
        if let Some(handler) = session::handler(&frame.method) {
            return session::handle(self, client, &frame.params, handler);
        }
        let endpoint = routes::of_method(&frame.method)
            .ok_or_else(|| Refusal::bad(-1020, format!("Unknown method '{}'.", frame.method)))?;
        let api_key = frame.params.get("apiKey");
        let is_authorized = self.hub.api(client).is_ok_and(|client| client.authorized_ms.is_some());
        self.handle(&Call {
            endpoint,
            params: &frame.params,
            api_key,
            payload: &frame.params.sorted(),
            is_logged_on: is_authorized && api_key.is_none(),
        })
    }

    /// The text of an answer.
    fn answer(
        &mut self,
        client: u64,
        id: &Value,
        result: &Result<Value, Refusal>,
        has_orders: bool,
    ) -> Value {
        let mut answer = match result {
            Ok(result) => json!({"id": id, "status": 200, "result": result}),
            Err(refusal) => {
                let mut error = refusal.body();
                if let Some(retry_at_ms) = refusal.retry_at_ms {
                    error["data"] = json!({"serverTime": self.server_ms(), "retryAfter": retry_at_ms});
                }
                json!({"id": id, "status": refusal.status, "error": error})
            }
        };
        if self.hub.api(client).is_ok_and(|client| client.returns_limits) {
            answer["rateLimits"] = self.counters.counted(has_orders);
        }
        answer
    }
}

/// Deals with a frame now, or later if it is held up.
fn take(shared: &Arc<Shared>, client: u64, text: &str) {
    let frame = Frame::read(text);
    let mut exchange = shared.lock();
    let trouble = frame.as_ref().map(|frame| exchange.arrive(&frame.method)).unwrap_or_default();
    if trouble.delay_ms == 0 {
        return exchange.frame(client, &frame, &trouble);
    }
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(trouble.delay_ms)).await;
        shared.lock().frame(client, &frame, &trouble);
    });
}

/// Serves one connection.
pub(in crate::exchange_sim) async fn serve(shared: &Arc<Shared>, socket: Socket, returns_limits: bool) {
    let (out, queue) = mpsc::unbounded_channel();
    let number = {
        let mut exchange = shared.lock();
        let now_ms = exchange.server_ms();
        if exchange.counters.take(now_ms, 2).is_err() {
            return;
        }
        exchange.hub.add_api(out, now_ms, returns_limits)
    };
    pump(socket, queue, |incoming| {
        match incoming {
            In::Text(text) => take(shared, number, &text),
            In::Pong(payload) => {
                shared.lock().note_pong(number, &payload);
                shared.moved.notify_one();
            }
            In::Ping => {}
        }
        true
    })
    .await;
    let mut exchange = shared.lock();
    exchange.hub.apis.remove(&number);
    exchange.note_gone(number);
    drop(exchange);
    shared.moved.notify_one();
}
