//! Market streams: subscriptions, control messages, and what a client in lockstep has settled.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Hub, In, Out, Outbox, Socket, pump};
use crate::exchange_sim::server::Shared;
use crate::symbol::Symbol;

/// Most streams on a connection.
const MOST_STREAMS: usize = 1_024;

/// Messages that a connection takes in a second; more end it. Those of lockstep do not count.
const MOST_MESSAGES: u32 = 5;

/// A connection for market streams.
#[derive(Debug)]
pub(super) struct MarketClient {
    pub(super) out: Outbox,
    streams: BTreeSet<String>,
    /// Whether messages name their stream.
    is_combined: bool,
    /// What the client has finished with; `None` if it does not take part in lockstep.
    settled: Option<Settled>,
    /// Newest bar of each pair whose close it was told, or would have been, and has not finished with.
    owed: BTreeMap<Symbol, i64>,
}

/// Open times of the newest bars that a client has finished with.
#[derive(Debug, Default)]
struct Settled {
    /// Said of all pairs at once.
    all_ms: Option<i64>,
    pairs_ms: BTreeMap<Symbol, i64>,
}

impl Settled {
    fn covers(&self, symbol: &Symbol, open_ms: i64) -> bool {
        self.all_ms.max(self.pairs_ms.get(symbol).copied()) >= Some(open_ms)
    }

    /// Bars of these pairs up to one that opened at `open_ms`; of all pairs if none is named.
    fn extend(&mut self, open_ms: i64, pairs: Vec<Symbol>) {
        if pairs.is_empty() {
            self.all_ms = self.all_ms.max(Some(open_ms));
        }
        for symbol in pairs {
            let newest = self.pairs_ms.entry(symbol).or_insert(open_ms);
            *newest = open_ms.max(*newest);
        }
    }
}

impl MarketClient {
    pub(super) fn has(&self, stream: &str) -> bool {
        self.streams.contains(stream)
    }

    /// Tells what `data` says; it is JSON.
    pub(super) fn tell(&self, stream: &str, data: &str) {
        let text = match self.is_combined {
            true => format!(r#"{{"stream":{},"data":{data}}}"#, json!(stream)),
            false => data.to_owned(),
        };
        // A connection that has just ended is taken out by its task.
        let _ = self.out.send(Out::Text(text));
    }

    pub(super) fn owe(&mut self, symbol: &Symbol, open_ms: i64) {
        if self.settled.as_ref().is_some_and(|settled| settled.covers(symbol, open_ms)) {
            return;
        }
        let newest = self.owed.entry(symbol.clone()).or_insert(open_ms);
        *newest = open_ms.max(*newest);
    }

    fn settle(&mut self, open_ms: i64, pairs: Vec<Symbol>) {
        let settled = self.settled.get_or_insert_default();
        settled.extend(open_ms, pairs);
        self.owed.retain(|symbol, owed_ms| !settled.covers(symbol, *owed_ms));
    }

    pub(super) fn is_in_step(&self) -> bool {
        self.settled.is_some()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.owed.is_empty()
    }
}

impl Hub {
    fn add_market(&mut self, out: Outbox, streams: Vec<String>, is_combined: bool) -> u64 {
        let number = self.number();
        let client =
            MarketClient { out, streams: BTreeSet::new(), is_combined, settled: None, owed: BTreeMap::new() };
        self.markets.insert(number, client);
        self.subscribe(number, streams);
        number
    }

    /// Adds streams to a connection. It owes what was told on them before it came: whoever was away catches up first.
    fn subscribe(&mut self, number: u64, streams: Vec<String>) {
        let Some(client) = self.markets.get_mut(&number) else {
            return;
        };
        for (symbol, open_ms) in &self.told {
            let prefix = format!("{}@kline_", symbol.as_str().to_lowercase());
            if streams.iter().any(|stream| stream.starts_with(&prefix)) {
                client.owe(symbol, *open_ms);
            }
        }
        client.streams.extend(streams);
    }

    /// Deals with a control message and answers it.
    fn control(&mut self, number: u64, message: &Value) -> Value {
        let id = message.get("id").cloned().unwrap_or(Value::Null);
        match self.controlled(number, message) {
            Ok(result) => json!({"result": result, "id": id}),
            Err(words) => json!({"code": 2, "msg": format!("Invalid request: {words}"), "id": id}),
        }
    }

    fn controlled(&mut self, number: u64, message: &Value) -> Result<Value, String> {
        let method = message.get("method").and_then(Value::as_str).ok_or("missing field `method`")?;
        let params = message.get("params").and_then(Value::as_array);
        let names = || -> Result<Vec<String>, String> {
            let params = params.ok_or("missing field `params`")?;
            let name = |value: &Value| value.as_str().map(str::to_owned);
            params.iter().map(|value| name(value).ok_or("streams are named by text".to_owned())).collect()
        };
        let client = self.markets.get_mut(&number).ok_or("the connection has ended")?;
        match method {
            "SUBSCRIBE" => {
                let names = names()?;
                if client.streams.len() + names.len() > MOST_STREAMS {
                    return Err(format!("more than {MOST_STREAMS} streams"));
                }
                self.subscribe(number, names);
                Ok(Value::Null)
            }
            "UNSUBSCRIBE" => {
                for name in names()? {
                    client.streams.remove(&name);
                }
                Ok(Value::Null)
            }
            "LIST_SUBSCRIPTIONS" => Ok(json!(client.streams)),
            "SET_PROPERTY" => match params.map(Vec::as_slice) {
                Some([Value::String(name), Value::Bool(is_combined)]) if name == "combined" => {
                    client.is_combined = *is_combined;
                    Ok(Value::Null)
                }
                _ => Err("the property is `combined`, true or false".to_owned()),
            },
            "GET_PROPERTY" => Ok(json!(client.is_combined)),
            "SETTLED" => {
                let words = "SETTLED takes the open time of a bar, milliseconds, and names of pairs";
                let (time, pairs) = params.and_then(|params| params.split_first()).ok_or(words)?;
                let open_ms = time.as_i64().ok_or(words)?;
                let pairs = pairs.iter().map(|name| name.as_str().map(Symbol::new));
                client.settle(open_ms, pairs.collect::<Option<_>>().ok_or(words)?);
                Ok(Value::Null)
            }
            other => Err(format!("unknown method {other}")),
        }
    }
}

/// Serves one connection.
pub(in crate::exchange_sim) async fn serve(
    shared: &Shared,
    socket: Socket,
    streams: Vec<String>,
    is_combined: bool,
) {
    let (out, queue) = mpsc::unbounded_channel();
    let number = shared.lock().hub.add_market(out.clone(), streams, is_combined);
    shared.moved.notify_one();
    let mut second = (Instant::now(), 0_u32);
    pump(socket, queue, |incoming| {
        let text = match incoming {
            In::Pong(_) => return true,
            In::Ping => return is_patient(&mut second),
            In::Text(text) => text,
        };
        let message: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let is_settled = message.get("method").and_then(Value::as_str) == Some("SETTLED");
        if !is_settled && !is_patient(&mut second) {
            return false;
        }
        let answer = shared.lock().hub.control(number, &message);
        if is_settled {
            shared.moved.notify_one();
        }
        out.send(Out::Text(answer.to_string())).is_ok()
    })
    .await;
    shared.lock().hub.markets.remove(&number);
    shared.moved.notify_one();
}

/// Counts a message; `false` if there were too many within a second.
fn is_patient(second: &mut (Instant, u32)) -> bool {
    if second.0.elapsed().as_secs() >= 1 {
        *second = (Instant::now(), 0);
    }
    second.1 += 1;
    second.1 <= MOST_MESSAGES
}
