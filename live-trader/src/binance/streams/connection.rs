//! One group of market streams and the connection that carries it, replaced before it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::{MarketPlan, Settled, Signal};
use crate::binance::gateway::Gateway;
use crate::binance::socket::{Dialer, Socket};
use crate::binance::wire::market::{StreamMessage, stream_message};
use crate::symbol::Symbol;

/// The exchange's limit of streams per connection.
const MOST_STREAMS: usize = 1_024;

/// Streams named in the address, and in each control message after it.
const BATCH: usize = 100;

/// Between two control messages: the exchange takes five a second, pings included.
const CONTROL_PAUSE: Duration = Duration::from_millis(250);

const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);

/// Pairs that share a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    index: usize,
    pub(super) symbols: Vec<Symbol>,
    streams: Vec<String>,
}

impl Group {
    /// All streams of a plan, those of a pair on one connection.
    pub(super) fn split(plan: &MarketPlan, streams_per_connection: usize) -> Vec<Group> {
        let per_pair = if plan.has_quotes { 2 } else { 1 };
        let pairs = (streams_per_connection.clamp(per_pair, MOST_STREAMS) / per_pair).max(1);
        let streams_of = |symbol: &Symbol| {
            let name = symbol.as_str().to_lowercase();
            let quotes = plan.has_quotes.then(|| format!("{name}@bookTicker"));
            std::iter::once(format!("{name}@kline_{}", plan.interval)).chain(quotes)
        };
        plan.pairs
            .chunks(pairs)
            .enumerate()
            .map(|(index, chunk)| {
                let symbols: Vec<Symbol> = chunk.iter().map(|(symbol, _)| symbol.clone()).collect();
                let streams = symbols.iter().flat_map(streams_of).collect();
                Group { index, symbols, streams }
            })
            .collect()
    }
}

/// Keeps one group connected.
pub(super) struct Keeper {
    gateway: Arc<Gateway>,
    dialer: Dialer,
    group: Group,
    signals: mpsc::Sender<Signal>,
    settled: watch::Receiver<Settled>,
    is_up: bool,
}

/// A connection in use: says that it will end and why it ended; ends when it is dropped.
struct Running {
    ends: mpsc::Receiver<End>,
    _keep_open: oneshot::Sender<()>,
}

#[derive(Debug)]
enum End {
    /// It still works, but not for long.
    Shutdown,
    Lost(String),
}

impl Keeper {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        dialer: Dialer,
        group: Group,
        signals: mpsc::Sender<Signal>,
        settled: watch::Receiver<Settled>,
    ) -> Keeper {
        Keeper { gateway, dialer, group, signals, settled, is_up: false }
    }

    pub(super) async fn run(mut self) {
        let mut pauses = self.gateway.backoff(usize::MAX);
        let mut running: Option<Running> = None;
        while !self.signals.is_closed() {
            match self.open().await {
                Ok(opened) => {
                    // Only now does the old one end: no bar falls between the two.
                    running = Some(opened);
                    pauses = self.gateway.backoff(usize::MAX);
                    self.is_up = true;
                    if self.signals.send(Signal::Up(self.group.index)).await.is_err() {
                        return;
                    }
                    self.watch(&mut running).await;
                }
                Err(reason) => {
                    tracing::warn!(%reason, group = self.group.index, "market streams are not connected");
                    if let Some(Ok(End::Lost(reason))) =
                        running.as_mut().map(|running| running.ends.try_recv())
                    {
                        running = None;
                        self.down(reason).await;
                    }
                    tokio::time::sleep(pauses.next().unwrap_or(Duration::from_secs(30))).await;
                }
            }
        }
    }

    /// Returns when another connection is needed; `running` keeps the old one if it still works.
    async fn watch(&mut self, running: &mut Option<Running>) {
        let Some(current) = running else {
            return;
        };
        let life = Duration::from_millis(self.gateway.config.connection_life_ms);
        let end = tokio::select! {
            end = current.ends.recv() => end.unwrap_or(End::Lost("the connection's task ended".to_owned())),
            () = tokio::time::sleep(life) => return,
            () = self.signals.closed() => return,
        };
        if let End::Lost(reason) = end {
            *running = None;
            self.down(reason).await;
        }
    }

    async fn down(&mut self, reason: String) {
        if std::mem::take(&mut self.is_up) {
            let _ = self.signals.send(Signal::Down(self.group.index, reason)).await;
        }
    }

    /// Connects and subscribes to everything.
    async fn open(&self) -> Result<Running, String> {
        if let Err(wait) = self.gateway.room_for_connection(2) {
            return Err(format!("the exchange's limits allow no connection for {} ms", wait.as_millis()));
        }
        let (named, rest) = self.group.streams.split_at(self.group.streams.len().min(BATCH));
        let mut address = format!("{}/stream?streams=", self.gateway.config.endpoints.streams());
        for (index, stream) in named.iter().enumerate() {
            if index > 0 {
                address.push('/');
            }
            encode_stream(stream, &mut address);
        }
        let socket = self.dialer.open(&address).await?;
        self.gateway.metrics.stream_connects.add(1);
        let mut reader = Reader {
            gateway: Arc::clone(&self.gateway),
            signals: self.signals.clone(),
            socket,
            symbols: self.group.symbols.clone(),
            told_settled: Settled::new(),
            control_id: 0,
            heard: Instant::now(),
            traded: Instant::now(),
        };
        for batch in rest.chunks(BATCH) {
            tokio::time::sleep(CONTROL_PAUSE).await;
            match tokio::time::timeout(CONTROL_TIMEOUT, reader.subscribe(batch)).await {
                Ok(result) => result?,
                Err(_) => return Err("a subscription was not answered".to_owned()),
            }
        }
        let (say_end, ends) = mpsc::channel(4);
        let (keep_open, closing) = oneshot::channel();
        // The keeper never looks at what was settled, so to every new connection it is news: it takes part from there.
        tokio::spawn(reader.run(self.settled.clone(), say_end, closing));
        Ok(Running { ends, _keep_open: keep_open })
    }
}

/// Names of pairs can hold any letters; an address cannot.
fn encode_stream(stream: &str, address: &mut String) {
    for part in stream.split_inclusive('@') {
        let (word, has_at) = part.strip_suffix('@').map_or((part, false), |word| (word, true));
        crate::binance::sign::percent_encode(word, address);
        if has_at {
            address.push('@');
        }
    }
}

struct Reader {
    gateway: Arc<Gateway>,
    signals: mpsc::Sender<Signal>,
    socket: Socket,
    symbols: Vec<Symbol>,
    /// What this connection's other end was told to be settled.
    told_settled: Settled,
    control_id: i64,
    /// When anything arrived, and when anything about a market did.
    heard: Instant,
    traded: Instant,
}

impl Reader {
    async fn subscribe(&mut self, streams: &[String]) -> Result<(), String> {
        self.control("SUBSCRIBE", json!(streams)).await?;
        let asked = self.control_id;
        loop {
            let message = self.socket.next().await;
            match self.take(message).await? {
                StreamMessage::Control { id, error: None } if id == asked => return Ok(()),
                StreamMessage::Control { id, error: Some(error) } if id == asked => {
                    return Err(format!("a subscription was refused: {error}"));
                }
                StreamMessage::Shutdown => return Err("the server goes away".to_owned()),
                _ => {}
            }
        }
    }

    async fn control(&mut self, method: &str, params: serde_json::Value) -> Result<(), String> {
        self.control_id += 1;
        let text = json!({"method": method, "params": params, "id": self.control_id}).to_string();
        self.write(Message::text(text)).await
    }

    async fn write(&mut self, message: Message) -> Result<(), String> {
        match tokio::time::timeout(CONTROL_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("a message could not be written".to_owned()),
        }
    }

    async fn run(
        mut self,
        mut settled: watch::Receiver<Settled>,
        end: mpsc::Sender<End>,
        mut closing: oneshot::Receiver<()>,
    ) {
        let stale = Duration::from_millis(self.gateway.config.stale_after_ms.max(3));
        let mut pings = tokio::time::interval(stale / 3);
        let reason = loop {
            tokio::select! {
                message = self.socket.next() => match self.take(message).await {
                    Ok(StreamMessage::Shutdown) => {
                        let _ = end.try_send(End::Shutdown);
                    }

                    Ok(_) => {}
                    Err(reason) => break reason,
                },
                Ok(()) = settled.changed() => {
                    let news = self.settle(&settled.borrow_and_update());
                    if let Err(reason) = self.tell_settled(news).await {
                        break reason;
                    }
                }
                _ = &mut closing => break "it was replaced".to_owned(),
                _ = pings.tick() => match self.check(stale).await {
                    Ok(()) => {}
                    Err(reason) => break reason,
                },
            }
        };
        let _ = end.try_send(End::Lost(reason));
        let _ = tokio::time::timeout(Duration::from_secs(1), self.socket.close(None)).await;
    }

    /// What is new to the exchange of what is settled, pairs by the time of their bars.
    fn settle(&mut self, settled: &Settled) -> BTreeMap<i64, Vec<Symbol>> {
        let mut news: BTreeMap<i64, Vec<Symbol>> = BTreeMap::new();
        for symbol in &self.symbols {
            if let Some(open_ms) = settled.get(symbol)
                && self.told_settled.insert(symbol.clone(), *open_ms) != Some(*open_ms)
            {
                news.entry(*open_ms).or_default().push(symbol.clone());
            }
        }
        news
    }

    async fn tell_settled(&mut self, news: BTreeMap<i64, Vec<Symbol>>) -> Result<(), String> {
        for (open_ms, symbols) in news {
            let names = symbols.iter().map(|symbol| json!(symbol.as_str()));
            self.control("SETTLED", std::iter::once(json!(open_ms)).chain(names).collect()).await?;
        }
        Ok(())
    }

    async fn check(&mut self, stale: Duration) -> Result<(), String> {
        let quiet = Duration::from_millis(self.gateway.config.quiet_after_ms);
        if self.heard.elapsed() > stale {
            return Err(format!("nothing arrived for {} ms", stale.as_millis()));
        }
        if self.traded.elapsed() > quiet {
            return Err(format!("no market data arrived for {} ms", quiet.as_millis()));
        }
        if self.heard.elapsed() > stale / 3 {
            return self.write(Message::Ping(Vec::new().into())).await;
        }
        Ok(())
    }

    /// Hands a message on and says what it was.
    async fn take(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<StreamMessage, String> {
        self.heard = Instant::now();
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(_))) | None => return Err("the exchange closed it".to_owned()),
            Some(Ok(_)) => return Ok(StreamMessage::Other),
            Some(Err(error)) => return Err(error.to_string()),
        };
        let message = match stream_message(text.as_str()) {
            Ok(message) => message,
            Err(error) => {
                self.gateway.metrics.ignored_messages.add(1);
                tracing::warn!(%error, "a message of a market stream cannot be read");
                return Ok(StreamMessage::Other);
            }
        };
        let gone = |_| "nobody takes the events any more".to_owned();
        match &message {
            StreamMessage::Closed { symbol, bar } => {
                self.traded = self.heard;
                let signal = Signal::Bar(symbol.clone(), *bar, self.heard.into_std());
                self.signals.send(signal).await.map_err(gone)?;
                // The hub was woken by this task and would run after all that has arrived, and not before the next close is read.
                tokio::task::yield_now().await;
            }
            StreamMessage::Quote { symbol, bid, ask } => {
                self.traded = self.heard;
                self.signals.send(Signal::Quote(symbol.clone(), *bid, *ask)).await.map_err(gone)?;
            }
            StreamMessage::Open => self.traded = self.heard,
            StreamMessage::Other => self.gateway.metrics.ignored_messages.add(1),
            StreamMessage::Control { .. } | StreamMessage::Shutdown => {}
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pairs_streams_share_a_connection_and_none_has_too_many() {
        let plan = |count: usize, has_quotes| MarketPlan {
            interval: "1m".parse().unwrap(),
            pairs: (0..count).map(|n| (Symbol::new(&format!("S{n}USDT")), None)).collect(),
            has_quotes,
        };
        let groups = Group::split(&plan(450, true), 400);
        assert_eq!(groups.iter().map(|group| group.streams.len()).collect::<Vec<_>>(), [400, 400, 100]);
        assert_eq!(groups[2].streams[..2], ["s400usdt@kline_1m", "s400usdt@bookTicker"]);
        assert!(
            Group::split(&plan(3_000, false), 5_000).iter().all(|group| group.streams.len() <= MOST_STREAMS)
        );
        assert_eq!(Group::split(&plan(3, true), 0).len(), 3);
        let mut address = String::new();
        encode_stream("测@kline_1m", &mut address);
        assert_eq!(address, "%E6%B5%8B@kline_1m");
    }
}
