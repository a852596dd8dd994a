//! What moves the market: a clock, or the clients.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::config::Speed;
use super::exchange::Exchange;
use super::faults::Trouble;
use super::server::Shared;
use crate::filters::SymbolRules;
use crate::simulator::Phase;

/// Longest wait for the answer to a ping behind the events of a step; a connection that takes longer is closed.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two messages about bars that are still open, as the exchange has it.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);

/// How far the market has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Steps of the market so far: times at which bars opened; of a live market, at which bars closed.
    pub steps: u64,
    /// Market time, UTC milliseconds.
    pub now_ms: i64,
    /// Requests that have come in, over either transport, those included that were turned away.
    pub requests: u64,
    /// Whether the last bar is over.
    pub has_ended: bool,
}

/// Where the pacing stands.
#[derive(Debug, Default)]
pub(super) struct Pace {
    steps: u64,
    /// Newest bar of a live market whose close was a step.
    closed_ms: Option<i64>,
    /// Whether users were told something since the newest ping: by the step, or by what a client asked for before it.
    pub(super) has_news: bool,
    /// Number of the newest ping that stands behind a step's events.
    barrier: u64,
    /// Connections that have not answered it.
    awaiting: BTreeSet<u64>,
}

impl Exchange {
    pub(super) fn progress(&self) -> Progress {
        let has_ended = self.core.phase() == Phase::Ended;
        Progress { steps: self.pace.steps, now_ms: self.core.now_ms(), requests: self.arrived, has_ended }
    }

    /// Whether the clients let the market take a step.
    fn is_ready(&self) -> bool {
        self.core.phase() != Phase::Ended && self.hub.is_settled()
    }

    /// Plays the open bar and opens the next. Users are told, and pinged behind everything they were told; the market's news wait for
    /// [`Exchange::tell_market`].
    fn step(&mut self) {
        self.core.play_step();
        let trouble = self.open_next();
        self.conclude(&trouble);
        if std::mem::take(&mut self.pace.has_news) {
            self.pace.barrier += 1;
            self.pace.awaiting = self.hub.ping_users(self.pace.barrier);
        }
    }

    /// Opens the next bar and says what goes wrong in this step.
    fn open_next(&mut self) -> Trouble {
        match self.core.open_step() {
            Some(_) => {
                self.pace.steps += 1;
                self.step_trouble(self.pace.steps)
            }
            None => Trouble::default(),
        }
    }

    /// A bar of a live market has closed. The first close of a time is a step; says what goes wrong in it.
    pub(super) fn note_close(&mut self, open_ms: i64) -> Trouble {
        if self.pace.closed_ms >= Some(open_ms) {
            return Trouble::default();
        }
        self.pace.closed_ms = Some(open_ms);
        self.pace.steps += 1;
        self.step_trouble(self.pace.steps)
    }

    /// A connection has answered a ping, or is gone.
    pub(super) fn note_pong(&mut self, client: u64, payload: &[u8]) {
        if payload == self.pace.barrier.to_be_bytes() {
            self.pace.awaiting.remove(&client);
        }
    }

    pub(super) fn note_gone(&mut self, client: u64) {
        self.pace.awaiting.remove(&client);
    }
}

/// Moves the market until its end, or for ever where somebody else does.
pub(super) async fn run(shared: Arc<Shared>, speed: Speed) {
    match speed {
        Speed::Timed { bar } => timed(&shared, bar).await,
        Speed::Lockstep => lockstep(&shared).await,
        Speed::Held => return,
    }
    shared.ended.send_replace(true);
    let mut beats = tokio::time::interval(HEARTBEAT);
    loop {
        beats.tick().await;
        beat(&shared);
    }
}

async fn lockstep(shared: &Shared) {
    loop {
        let (is_ready, has_ended) = {
            let exchange = shared.lock();
            (exchange.is_ready(), exchange.progress().has_ended)
        };
        match (has_ended, is_ready) {
            (true, _) => return,
            (false, true) => step(shared).await,
            (false, false) => shared.moved.notified().await,
        }
    }
}

/// One step with its barrier.
pub(super) async fn step(shared: &Shared) {
    shared.lock().step();
    let deadline = Instant::now() + BARRIER_TIMEOUT;
    while !shared.lock().pace.awaiting.is_empty() {
        if tokio::time::timeout_at(deadline, shared.moved.notified()).await.is_err() {
            let mut exchange = shared.lock();
            for client in std::mem::take(&mut exchange.pace.awaiting) {
                tracing::warn!(client, "a user's connection does not answer pings; it is closed");
                exchange.hub.close(client);
            }
        }
    }
    shared.lock().tell_market();
}

async fn timed(shared: &Shared, bar: Duration) {
    while !shared.lock().hub.has_market() {
        shared.moved.notified().await;
    }
    let start = Instant::now();
    let mut beats = tokio::time::interval(HEARTBEAT);
    for half in 0_u32.. {
        let due = start + bar * half / 2;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due) => break,
                _ = beats.tick() => beat(shared),
            }
        }
        let mut exchange = shared.lock();
        let trouble = match half % 2 {
            0 => exchange.open_next(),
            _ => {
                exchange.core.play_step();
                Trouble::default()
            }
        };
        exchange.conclude(&trouble);
        exchange.tell_market();
        if exchange.progress().has_ended {
            return;
        }
    }
}

/// Says that the bars in work are still open.
pub(super) fn beat(shared: &Shared) {
    let mut exchange = shared.lock();
    exchange.keep_time();
    let (now_ms, interval) = (exchange.core.now_ms(), exchange.interval);
    let open = |rules: &SymbolRules| {
        let symbol = &rules.symbol;
        Some((symbol.clone(), exchange.core.open_bar_ms(symbol)?, exchange.core.price(symbol)?))
    };
    let open: Vec<_> = exchange.core.rules().filter_map(open).collect();
    for (symbol, open_ms, price) in open {
        exchange.hub.tell_open_bar(&symbol, open_ms, price, interval, now_ms);
    }
}
