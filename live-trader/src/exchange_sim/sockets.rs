//! WebSockets: who is connected, what each of them is told, and how it is read and written.

pub(super) mod api;
pub(super) mod market;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use polybolos_engine::interval::Interval;
use polybolos_engine::signals::Bar;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::exchange::Exchange;
use super::faults::Told;
use super::render::market::{book_ticker, kline};
use crate::symbol::Symbol;
use crate::venue::MarketEvent;
use api::ApiClient;
use market::MarketClient;

/// An open WebSocket.
type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How often the server pings, and how long it waits for an answer.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(60);

/// To be written to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Out {
    Text(String),
    Ping(Vec<u8>),
    /// The connection is cut, without a closing handshake.
    Cut,
}

/// Methods about a connection itself.
pub(super) fn session_methods() -> impl Iterator<Item = &'static str> {
    session::HANDLERS.iter().map(|(name, _)| *name)
}

/// Writes later what would have been written now.
fn send_later(out: &Outbox, text: String, delay_ms: u64) {
    let out = out.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        // The connection may have ended meanwhile.
        let _ = out.send(Out::Text(text));
    });
}

/// Where what a connection is told is put; written in this order.
pub(super) type Outbox = mpsc::UnboundedSender<Out>;

/// Everybody who is connected by a WebSocket.
#[derive(Debug, Default)]
pub(super) struct Hub {
    next: u64,
    markets: BTreeMap<u64, MarketClient>,
    apis: BTreeMap<u64, ApiClient>,
    /// Newest bar of each pair whose close was told.
    told: BTreeMap<Symbol, i64>,
    quotes: u64,
}

impl Hub {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whether a client holds the market in step, and all that do have finished with what they were told.
    pub(super) fn is_settled(&self) -> bool {
        let mut clients = self.markets.values().filter(|client| client.is_in_step()).peekable();
        clients.peek().is_some() && clients.all(MarketClient::is_settled)
    }

    pub(super) fn has_market(&self) -> bool {
        !self.markets.is_empty()
    }

    /// Tells an event to every subscription of the account.
    pub(super) fn tell_users(&mut self, event: &Value, told: Told) {
        for client in self.apis.values() {
            for _ in 0..=told.copies {
                client.tell_user(event, told.delay_ms);
            }
        }
    }

    /// Pings every subscribed connection behind what it was told, and gives which.
    pub(super) fn ping_users(&mut self, number: u64) -> BTreeSet<u64> {
        let subscribed = self.apis.iter().filter(|(_, client)| client.is_subscribed());
        subscribed
            .filter(|(_, client)| client.out.send(Out::Ping(number.to_be_bytes().to_vec())).is_ok())
            .map(|(number, _)| *number)
            .collect()
    }

    pub(super) fn tell_market(&mut self, event: &MarketEvent, interval: Interval, now_ms: i64) {
        match event {
            MarketEvent::Bar { symbol, bar } => {
                self.told.insert(symbol.clone(), bar.open_time_ms);
                let stream = kline_stream(symbol, interval);
                let text = kline(symbol, bar, interval, true, now_ms);
                for client in self.markets.values_mut().filter(|client| client.has(&stream)) {
                    client.owe(symbol, bar.open_time_ms);
                    client.tell(&stream, &text);
                }
            }
            MarketEvent::Quote { symbol, bid, ask } => {
                self.quotes += 1;
                let stream = format!("{}@bookTicker", symbol.as_str().to_lowercase());
                let text = book_ticker(symbol, *bid, *ask, self.quotes);
                self.tell_stream(&stream, &text);
            }
            MarketEvent::Rules { .. } | MarketEvent::Connected | MarketEvent::Disconnected { .. } => {}
        }
    }

    /// Tells the price of a bar that is still open.
    pub(super) fn tell_open_bar(
        &mut self,
        symbol: &Symbol,
        open_time_ms: i64,
        price: Decimal,
        interval: Interval,
        now_ms: i64,
    ) {
        let price = crate::simulator::number(price);
        let bar = Bar::flat(open_time_ms, price);
        let text = kline(symbol, &bar, interval, false, now_ms);
        self.tell_stream(&kline_stream(symbol, interval), &text);
    }

    fn tell_stream(&self, stream: &str, data: &str) {
        for client in self.markets.values().filter(|client| client.has(stream)) {
            client.tell(stream, data);
        }
    }

    /// Cuts a connection.
    pub(super) fn close(&mut self, number: u64) {
        let market = self.markets.get(&number).map(|client| &client.out);
        if let Some(out) = market.or(self.apis.get(&number).map(|client| &client.out)) {
            let _ = out.send(Out::Cut);
        }
    }

    /// Cuts every connection of a kind.
    pub(super) fn cut(&mut self, kind: Kind) {
        let markets = self.markets.values().map(|client| &client.out).filter(|_| kind != Kind::User);
        let apis = self.apis.values().map(|client| &client.out).filter(|_| kind != Kind::Market);
        for out in markets.chain(apis) {
            let _ = out.send(Out::Cut);
        }
    }

    /// Tells every connection of a kind that it ends soon.
    fn announce(&self, now_ms: i64) {
        let event = json!({"e": "serverShutdown", "E": now_ms});
        for client in self.markets.values() {
            client.tell("!serverShutdown", &event.to_string());
        }
        for client in self.apis.values() {
            let _ = client.out.send(Out::Text(json!({"event": event}).to_string()));
        }
    }
}

/// Kinds of WebSocket connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Market,
    User,
    All,
}

fn kline_stream(symbol: &Symbol, interval: Interval) -> String {
    format!("{}@kline_{}", symbol.as_str().to_lowercase(), interval.name())
}

impl Exchange {
    pub(super) fn announce_shutdown(&mut self) {
        let now_ms = self.core.now_ms();
        self.hub.announce(now_ms);
    }
}

/// What came in on a connection.
enum In {
    Text(String),
    Pong(Vec<u8>),
    Ping,
}

/// Reads and writes a connection until it ends; `take` gets what comes in and says whether to go on.
async fn pump(mut socket: Socket, mut queue: mpsc::UnboundedReceiver<Out>, mut take: impl FnMut(In) -> bool) {
    let mut pings = tokio::time::interval(PING_EVERY);
    let mut heard = Instant::now();
    loop {
        let is_going = tokio::select! {
            message = socket.next() => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => take(In::Text(text.to_string())),
                    Some(Ok(Message::Pong(payload))) => take(In::Pong(payload.to_vec())),
                    Some(Ok(Message::Ping(_))) => take(In::Ping),
                    Some(Ok(Message::Binary(_) | Message::Frame(_))) => true,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => false,
                }
            }
            out = queue.recv() => match out {
                Some(out) => write(&mut socket, out, &mut queue).await,
                None => false,
            },
            _ = pings.tick() => {
                heard.elapsed() < PONG_WITHIN && socket.send(Message::Ping(Vec::new().into())).await.is_ok()
            }
        };
        if !is_going {
            return;
        }
    }
}

/// Writes what waits in one go.
async fn write(socket: &mut Socket, first: Out, queue: &mut mpsc::UnboundedReceiver<Out>) -> bool {
    let mut next = Some(first);
    while let Some(out) = next {
        let message = match out {
            Out::Text(text) => Message::text(text),
            Out::Ping(payload) => Message::Ping(payload.into()),
            Out::Cut => return false,
        };
        if socket.feed(message).await.is_err() {
            return false;
        }
        next = queue.try_recv().ok();
    }
    socket.flush().await.is_ok()
}
