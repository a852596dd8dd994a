//! A session of the WebSocket API: commands out, answers and the user's events in.
//!
//! One task owns a connection and the requests that wait on it. A request is entered among them before its frame is written,
//! so an answer always finds it. When the connection ends, what had been taken up is lost (perhaps done) and what had not is
//! not sent. A new connection is opened before the old one is cut; the old one stays until its answers are in.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::budget::Usage;
use super::errors::{Failure, without_secrets};
use super::gateway::Gateway;
use super::rest::{Reply, Sent};
use super::secrets::KeyKind;
use super::sign::Params;
use super::socket::{Dialer, Socket};
use super::wire::events::{UserMessage, event};
use super::wire::rules::{interval_ms, limit_kind};
use crate::venue::AccountEvent;

/// A message that takes longer to be written has no connection any more.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Requests that are written with one call of the system, at most.
const MOST_AT_ONCE: usize = 32;

/// A request of the WebSocket API, ready to be written.
pub(crate) struct Frame {
    id: u64,
    text: String,
    /// When that arrived which it follows from.
    since: Option<std::time::Instant>,
}

struct Outgoing {
    frame: Frame,
    reply: oneshot::Sender<Reply>,
}

/// Where requests for a session are put.
#[derive(Clone)]
pub(crate) struct SessionHandle {
    requests: mpsc::Sender<Outgoing>,
    ids: Arc<AtomicU64>,
}

impl Frame {
    /// The same frame, which follows from something that arrived at `since`.
    pub(crate) fn following(self, since: Option<std::time::Instant>) -> Frame {
        Frame { since, ..self }
    }
}

impl SessionHandle {
    pub(crate) fn frame(&self, method: &str, params: &Params) -> Frame {
        #[derive(Serialize)]
        struct Document<'a> {
            id: u64,
            method: &'a str,
            params: &'a Params,
        }

        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        // Numbers and text can always be written; an empty frame would be answered with an error.
        let text = serde_json::to_string(&Document { id, method, params }).unwrap_or_default();
        Frame { id, text, since: None }
    }

    /// Sends a frame and waits for its answer.
    pub(crate) async fn call(&self, frame: Frame, timeout: Duration) -> Reply {
        let (reply, answer) = oneshot::channel();
        if self.requests.try_send(Outgoing { frame, reply }).is_err() {
            return Reply::bare(Sent::Unsent("the session is closed or its queue is full".to_owned()));
        }
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => Reply::bare(Sent::Lost("the session ended".to_owned())),
            Err(_) => Reply::bare(Sent::Lost(format!("no answer within {} ms", timeout.as_millis()))),
        }
    }
}

/// What a connection tells the one who keeps sessions up.
enum Notice {
    /// The server goes away soon.
    Shutdown,
    /// The subscription or the logon has ended, the connection has not.
    Terminated,
    /// The connection is gone.
    Ended(String),
}

/// Keeps a session up and hands on the user's events until nobody takes them.
pub(crate) async fn keep(gateway: Arc<Gateway>, dialer: Dialer, events: mpsc::UnboundedSender<AccountEvent>) {
    let mut keeper = Keeper { gateway, dialer, events, current: None, connections: 0, is_up: false };
    keeper.run().await;
    keeper.gateway.set_session(None);
}

struct Keeper {
    gateway: Arc<Gateway>,
    dialer: Dialer,
    events: mpsc::UnboundedSender<AccountEvent>,
    current: Option<Connection>,
    connections: u64,
    /// Whether the taker of the events believes that the stream is there.
    is_up: bool,
}

struct Connection {
    handle: SessionHandle,
    notices: mpsc::Receiver<Notice>,
    /// Dropped to let the connection finish what it has and close.
    _keep_open: oneshot::Sender<()>,
}

impl Keeper {
    async fn run(&mut self) {
        let mut pauses = self.gateway.backoff(usize::MAX);
        while !self.events.is_closed() {
            match self.renew().await {
                Ok(()) => {
                    pauses = self.gateway.backoff(usize::MAX);
                    self.watch().await;
                }
                Err(reason) => {
                    tracing::warn!(%reason, "the session with the exchange is not up");
                    let pause = pauses.next().unwrap_or(Duration::from_secs(30));
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.events.closed() => {}
                    }
                    self.note_end_of_current();
                }
            }
        }
    }

    /// Opens a connection, subscribes, and makes it the current one. An older one finishes by itself.
    async fn renew(&mut self) -> Result<(), String> {
        if let Err(wait) = self.gateway.room_for_connection(6) {
            return Err(format!("the exchange's limits allow no connection for {} ms", wait.as_millis()));
        }
        let socket = self.dialer.open(self.gateway.config.endpoints.ws_api()).await?;
        self.gateway.metrics.session_connects.add(1);
        self.connections += 1;
        let (requests, queue) = mpsc::channel(1_024);
        let (notify, notices) = mpsc::channel(16);
        let (keep_open, closing) = oneshot::channel();
        // Ids differ between connections, so that a log tells them apart.
        let ids = Arc::new(AtomicU64::new(self.connections << 32));
        let handle = SessionHandle { requests, ids };
        let connection = Serve {
            gateway: Arc::clone(&self.gateway),
            events: self.events.clone(),
            notify,
            waiting: HashMap::new(),
        };
        tokio::spawn(connection.run(socket, queue, closing));
        subscribe(&self.gateway, &handle).await?;
        self.gateway.set_session(Some(handle.clone()));
        self.current = Some(Connection { handle, notices, _keep_open: keep_open });
        if !self.is_up {
            self.is_up = true;
            let _ = self.events.send(AccountEvent::Connected);
        }
        Ok(())
    }

    /// Returns when a new connection is needed.
    async fn watch(&mut self) {
        let life = Instant::now() + Duration::from_millis(self.gateway.config.connection_life_ms);
        while let Some(connection) = &mut self.current {
            let notice = tokio::select! {
                notice = connection.notices.recv() => notice,
                () = tokio::time::sleep_until(life) => return,
                () = self.events.closed() => return,
            };
            match notice {
                Some(Notice::Shutdown) => return,
                Some(Notice::Terminated) => {
                    let handle = connection.handle.clone();
                    self.down("the user stream was ended by the exchange".to_owned());
                    if subscribe(&self.gateway, &handle).await.is_err() {
                        self.drop_current();
                        return;
                    }
                    self.is_up = true;
                    let _ = self.events.send(AccountEvent::Connected);
                }
                Some(Notice::Ended(reason)) => {
                    self.drop_current();
                    self.down(reason);
                    return;
                }
                None => {
                    self.drop_current();
                    self.down("the session ended".to_owned());
                    return;
                }
            }
        }
    }

    /// An old connection can end while a new one cannot be opened.
    fn note_end_of_current(&mut self) {
        while let Some(notice) = self.current.as_mut().map(|connection| connection.notices.try_recv()) {
            match notice {
                Ok(Notice::Ended(reason)) => {
                    self.drop_current();
                    self.down(reason);
                }
                Ok(Notice::Shutdown | Notice::Terminated) => {}
                Err(_) => return,
            }
        }
    }

    fn drop_current(&mut self) {
        self.gateway.set_session(None);
        self.current = None;
    }

    fn down(&mut self, reason: String) {
        if self.is_up {
            self.is_up = false;
            let _ = self.events.send(AccountEvent::Disconnected { reason });
        }
    }
}

/// Subscribes to the user's events: by logon for Ed25519 keys, by a signed subscription for others and where logon is refused.
async fn subscribe(gateway: &Gateway, handle: &SessionHandle) -> Result<(), String> {
    let credentials = gateway.credentials().ok_or("there is no API key")?;
    let timeout = Duration::from_millis(gateway.config.request_timeout_ms);
    let signed = || {
        Params::default()
            .number("recvWindow", gateway.config.recv_window_ms)
            .number("timestamp", gateway.server_now_ms())
            .signed(credentials)
    };
    if credentials.kind() == KeyKind::Ed25519 {
        let logon = handle.call(handle.frame("session.logon", &signed()), timeout).await;
        if matches!(logon.sent, Sent::Done(_)) {
            let subscribed =
                handle.call(handle.frame("userDataStream.subscribe", &Params::default()), timeout).await;
            if is_subscribed(&subscribed.sent) {
                return Ok(());
            }
        }
    }
    let reply = handle.call(handle.frame("userDataStream.subscribe.signature", &signed()), timeout).await;
    match reply.sent {
        sent if is_subscribed(&sent) => Ok(()),
        Sent::Failed(failure) => {
            if failure.code == -1021 {
                // The next attempt will have the right time.
                let _ = gateway.sync_clock().await;
            }
            Err(format!("the user stream was refused: {}", failure.reason()))
        }
        Sent::Lost(reason) | Sent::Unsent(reason) => Err(reason),
        Sent::Done(_) => Err("the subscription has no result".to_owned()),
    }
}

fn is_subscribed(sent: &Sent) -> bool {
    match sent {
        Sent::Done(_) => true,
        // There is one already on this connection.
        Sent::Failed(failure) => failure.code == -2035,
        Sent::Lost(_) | Sent::Unsent(_) => false,
    }
}

/// One connection.
struct Serve {
    gateway: Arc<Gateway>,
    events: mpsc::UnboundedSender<AccountEvent>,
    notify: mpsc::Sender<Notice>,
    waiting: HashMap<u64, oneshot::Sender<Reply>>,
}

impl Serve {
    async fn run(
        mut self,
        mut socket: Socket,
        mut queue: mpsc::Receiver<Outgoing>,
        closing: oneshot::Receiver<()>,
    ) {
        let reason = self.serve(&mut socket, &mut queue, closing).await;
        queue.close();
        while let Ok(outgoing) = queue.try_recv() {
            let _ = outgoing.reply.send(Reply::bare(Sent::Unsent(reason.clone())));
        }
        for (_, reply) in self.waiting.drain() {
            let _ = reply.send(Reply::bare(Sent::Lost(format!("the connection was lost: {reason}"))));
        }
        let _ = self.notify.send(Notice::Ended(reason)).await;
        let _ = tokio::time::timeout(Duration::from_secs(1), socket.close(None)).await;
    }

    /// Returns why the connection ended.
    async fn serve(
        &mut self,
        socket: &mut Socket,
        queue: &mut mpsc::Receiver<Outgoing>,
        mut closing: oneshot::Receiver<()>,
    ) -> String {
        let stale = Duration::from_millis(self.gateway.config.stale_after_ms.max(3));
        let mut heard = Instant::now();
        let mut pings = tokio::time::interval(stale / 3);
        let mut leave_at: Option<Instant> = None;
        loop {
            if leave_at.is_some_and(|at| self.waiting.is_empty() || Instant::now() >= at) {
                return "it was replaced".to_owned();
            }
            // What is to leave does not wait for what has come: an order's price moves, an event's does not.
            tokio::select! {
                biased;
                outgoing = queue.recv(), if leave_at.is_none() => match outgoing {
                    Some(first) => {
                        if let Err(reason) = self.write(socket, first, queue).await {
                            return reason;
                        }
                    }
                    None => leave_at = Some(self.end_of_patience()),
                },
                _ = &mut closing, if leave_at.is_none() => {
                    // Requests that were queued before the replacement still leave by this connection.
                    queue.close();
                    while let Ok(first) = queue.try_recv() {
                        if let Err(reason) = self.write(socket, first, queue).await {
                            return reason;
                        }
                    }
                    leave_at = Some(self.end_of_patience());
                }
                message = socket.next() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => self.take(text.as_str()),
                        Some(Ok(Message::Close(_))) | None => return "the exchange closed it".to_owned(),
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return error.to_string(),
                    }
                }
                _ = pings.tick() => {
                    if heard.elapsed() > stale {
                        return format!("nothing arrived for {} ms", stale.as_millis());
                    }
                    if heard.elapsed() > stale / 3 && !write_in_time(socket, Message::Ping(Vec::new().into())).await {
                        return "a ping could not be written".to_owned();
                    }
                }
            }
        }
    }

    fn end_of_patience(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.gateway.config.request_timeout_ms)
    }

    /// Writes a request, and those that wait behind it, with one call of the system.
    async fn write(
        &mut self,
        socket: &mut Socket,
        first: Outgoing,
        queue: &mut mpsc::Receiver<Outgoing>,
    ) -> Result<(), String> {
        self.waiting.retain(|_, reply| !reply.is_closed());
        let mut followed = Vec::new();
        let writing = async {
            let mut next = Some(first);
            let mut count = 0;
            while let Some(Outgoing { frame, reply }) = next {
                if !reply.is_closed() {
                    self.waiting.insert(frame.id, reply);
                    followed.extend(frame.since);
                    socket.feed(Message::text(frame.text)).await?;
                }
                count += 1;
                next = if count < MOST_AT_ONCE { queue.try_recv().ok() } else { None };
            }
            socket.flush().await
        };
        if !matches!(tokio::time::timeout(WRITE_TIMEOUT, writing).await, Ok(Ok(()))) {
            return Err("a request could not be written".to_owned());
        }
        for since in followed {
            self.gateway.metrics.decision_to_wire.observe(since.elapsed());
        }
        Ok(())
    }

    fn take(&mut self, text: &str) {
        let metrics = &self.gateway.metrics;
        match event(text) {
            Ok(None) => self.take_answer(text),
            Ok(Some(UserMessage::Event(event))) => {
                metrics.account_events.add(1);
                let _ = self.events.send(event);
            }
            Ok(Some(UserMessage::Terminated)) => self.tell(Notice::Terminated),
            Ok(Some(UserMessage::Shutdown)) => self.tell(Notice::Shutdown),
            Ok(Some(UserMessage::Other)) => metrics.ignored_messages.add(1),
            Err(error) => {
                metrics.ignored_messages.add(1);
                tracing::warn!(%error, "a message of the user's session cannot be read");
            }
        }
    }

    fn take_answer(&mut self, text: &str) {
        let metrics = &self.gateway.metrics;
        let Ok(mut document) = serde_json::from_str::<Value>(text) else {
            metrics.ignored_messages.add(1);
            return;
        };
        match document.get("id").and_then(Value::as_u64) {
            Some(id) => match self.waiting.remove(&id) {
                Some(reply) => {
                    let answer = read_reply(&mut document, &self.gateway);
                    let _ = reply.send(answer);
                }
                None => metrics.ignored_messages.add(1),
            },
            // Without an id: the exchange revoked the logon, or could not read a frame.
            None if document.get("status").and_then(Value::as_u64) == Some(401) => {
                self.tell(Notice::Terminated)
            }
            None => metrics.ignored_messages.add(1),
        }
    }

    fn tell(&self, notice: Notice) {
        // The keeper reads notices at once; should sixteen wait, one more says nothing new.
        let _ = self.notify.try_send(notice);
    }
}

async fn write_in_time(socket: &mut Socket, message: Message) -> bool {
    matches!(tokio::time::timeout(WRITE_TIMEOUT, socket.send(message)).await, Ok(Ok(())))
}

fn read_reply(document: &mut Value, gateway: &Gateway) -> Reply {
    let usage = document
        .get("rateLimits")
        .and_then(Value::as_array)
        .map_or(Vec::new(), |limits| limits.iter().filter_map(usage).collect());
    let status = document.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let status = status.unwrap_or(0);
    if status == 200 {
        let sent = match document.get_mut("result") {
            Some(result) => Sent::Done(result.take()),
            None => Sent::Lost("the answer has no result".to_owned()),
        };
        return Reply { sent, usage };
    }
    let error = document.get("error");
    let number = |name: &str| error.and_then(|error| error.get(name)).and_then(Value::as_i64);
    let message = error.and_then(|error| error.get("msg")).and_then(Value::as_str).unwrap_or_default();
    let failure = Failure {
        status,
        code: number("code").and_then(|code| i32::try_from(code).ok()).unwrap_or(0),
        message: without_secrets(message, gateway.credentials()),
        retry_after_s: None,
        retry_at_server_ms: error.and_then(|error| error.pointer("/data/retryAfter")).and_then(Value::as_i64),
    };
    Reply { sent: Sent::Failed(failure), usage }
}

fn usage(limit: &Value) -> Option<Usage> {
    let kind = limit_kind(limit.get("rateLimitType")?.as_str()?)?;
    let interval_ms = interval_ms(limit.get("interval")?.as_str()?, limit.get("intervalNum")?.as_i64()?)?;
    let used = u32::try_from(limit.get("count")?.as_u64()?).ok()?;
    Some(Usage { kind, interval_ms, used })
}
