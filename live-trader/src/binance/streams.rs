//! Market streams: bars and quotes of many pairs over several connections, as one sequence of events.
//!
//! A hub orders what the connections bring (`sequencer`), asks REST for what they missed, and hands it on at the pace of the
//! taker: bars wait for him, of quotes he gets the newest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polybolos_engine::interval::Interval;
use polybolos_engine::signals::Bar;
use rust_decimal::Decimal;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;

use super::connector::fetch_klines;
use super::gateway::Gateway;
use super::sequencer::{Hole, Ordered, Sequencer};
use super::socket::Dialer;
use crate::symbol::Symbol;
use crate::venue::MarketEvent;

mod connection;

use connection::Group;

/// Questions for missed bars under way at once.
const BACKFILLS_AT_ONCE: usize = 8;

/// How often pairs are looked for that have fallen behind the others.
const LAGGARD_CHECK: Duration = Duration::from_secs(15);

/// What is to be streamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketPlan {
    /// Interval of the bars.
    pub interval: Interval,
    /// Pairs, each with the open time of the newest bar that the taker has; bars after it come first, from REST where they
    /// have closed already. `None`: whatever closes next.
    pub pairs: Vec<(Symbol, Option<i64>)>,
    /// Whether best prices are wanted too.
    pub has_quotes: bool,
}

/// Market events, as long as it is not dropped.
#[derive(Debug)]
pub struct MarketStream {
    events: mpsc::Receiver<(MarketEvent, Instant)>,
    settled: watch::Sender<Settled>,
    tasks: Vec<AbortHandle>,
}

impl MarketStream {
    /// The next event; `None` if the task behind it has ended.
    pub async fn next(&mut self) -> Option<MarketEvent> {
        self.next_with_arrival().await.map(|(event, _)| event)
    }

    /// The next event with the time at which its message, or the answer that it is from, was read from the socket.
    pub async fn next_with_arrival(&mut self) -> Option<(MarketEvent, Instant)> {
        self.events.recv().await
    }

    /// Tells the exchange of some pairs that everything about their bars up to the one that opened at a time is done. Only an
    /// exchange simulator in lockstep understands it; it plays the next bar when its clients have said so of all that they were told.
    pub fn settled(&self, newest_ms: impl IntoIterator<Item = (Symbol, i64)>) {
        self.settled.send_if_modified(|settled| {
            let mut is_news = false;
            for (symbol, open_ms) in newest_ms {
                is_news |= settled.insert(symbol, open_ms) != Some(open_ms);
            }
            is_news
        });
    }
}

impl Drop for MarketStream {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Open time of the newest bar of each pair that the taker has finished with.
type Settled = BTreeMap<Symbol, i64>;

/// What connections say to the hub.
#[derive(Debug)]
enum Signal {
    Up(usize),
    Down(usize, String),
    Bar(Symbol, Bar, Instant),
    Quote(Symbol, Decimal, Decimal),
}

/// Opens the streams of a plan.
pub(crate) fn open(gateway: Arc<Gateway>, dialer: Dialer, plan: MarketPlan) -> MarketStream {
    let (sender, events) = mpsc::channel(256);
    let (settled, settled_watch) = watch::channel(Settled::new());
    let (signal, signals) = mpsc::channel(1_024);
    let groups = Group::split(&plan, gateway.config.streams_per_connection);
    let members: Vec<Vec<Symbol>> = groups.iter().map(|group| group.symbols.clone()).collect();
    let mut tasks: Vec<AbortHandle> = groups
        .into_iter()
        .map(|group| {
            let keeper = connection::Keeper::new(
                Arc::clone(&gateway),
                dialer.clone(),
                group,
                signal.clone(),
                settled_watch.clone(),
            );
            tokio::spawn(keeper.run()).abort_handle()
        })
        .collect();
    let (filled, fills) = mpsc::channel(64);
    let hub = Hub {
        interval: plan.interval,
        sequencer: Sequencer::new(plan.interval.ms(), plan.pairs),
        is_up: vec![false; members.len()],
        was_up: false,
        members,
        gateway,
        out: VecDeque::new(),
        quotes: BTreeMap::new(),
        filled,
        turns: Arc::new(Semaphore::new(BACKFILLS_AT_ONCE)),
    };
    tasks.push(tokio::spawn(hub.run(sender, signals, fills)).abort_handle());
    MarketStream { events, settled, tasks }
}

struct Hub {
    gateway: Arc<Gateway>,
    interval: Interval,
    sequencer: Sequencer,
    /// Pairs of each group of streams, and whether its connection is there.
    members: Vec<Vec<Symbol>>,
    is_up: Vec<bool>,
    was_up: bool,
    out: VecDeque<(MarketEvent, Instant)>,
    /// Newest quotes that nobody has taken yet.
    quotes: BTreeMap<Symbol, (Decimal, Decimal)>,
    filled: mpsc::Sender<(Hole, Vec<Bar>)>,
    turns: Arc<Semaphore>,
}

impl Hub {
    async fn run(
        mut self,
        sender: mpsc::Sender<(MarketEvent, Instant)>,
        mut signals: mpsc::Receiver<Signal>,
        mut fills: mpsc::Receiver<(Hole, Vec<Bar>)>,
    ) {
        let mut checks = tokio::time::interval(LAGGARD_CHECK);
        loop {
            let has_events = !self.out.is_empty() || !self.quotes.is_empty();
            tokio::select! {
                // What has been read is handed on before more is read.
                biased;
                permit = sender.reserve(), if has_events => match permit {
                    Ok(permit) => if let Some(event) = self.next_event() {
                        permit.send(event);
                    },
                    Err(_) => return,
                },
                Some((hole, bars)) = fills.recv() => {
                    let ordered = self.sequencer.fill(&hole, &bars);
                    self.take(ordered, Instant::now());
                }
                signal = signals.recv() => match signal {
                    Some(signal) => self.signal(signal),
                    None => return,
                },
                _ = checks.tick() => for hole in self.sequencer.laggards() {
                    self.backfill(hole);
                },
            }
        }
    }

    fn next_event(&mut self) -> Option<(MarketEvent, Instant)> {
        self.out.pop_front().or_else(|| {
            let (symbol, (bid, ask)) = self.quotes.pop_first()?;
            Some((MarketEvent::Quote { symbol, bid, ask }, Instant::now()))
        })
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Bar(symbol, bar, arrived) => {
                let ordered = self.sequencer.bar(&symbol, bar);
                self.take(ordered, arrived);
            }
            Signal::Quote(symbol, bid, ask) => {
                if self.quotes.insert(symbol, (bid, ask)).is_some() {
                    self.gateway.metrics.quotes_replaced.add(1);
                }
            }
            Signal::Up(group) => {
                if let Some(is_up) = self.is_up.get_mut(group) {
                    *is_up = true;
                }
                if !self.was_up && self.is_up.iter().all(|is_up| *is_up) {
                    self.was_up = true;
                    self.out.push_back((MarketEvent::Connected, Instant::now()));
                }
                for symbol in self.members.get(group).cloned().unwrap_or_default() {
                    if let Some(hole) = self.sequencer.connected(&symbol) {
                        self.backfill(hole);
                    }
                }
            }
            Signal::Down(group, reason) => {
                if let Some(is_up) = self.is_up.get_mut(group) {
                    *is_up = false;
                }
                if std::mem::take(&mut self.was_up) {
                    self.out.push_back((MarketEvent::Disconnected { reason }, Instant::now()));
                }
            }
        }
    }

    fn take(&mut self, ordered: Ordered, arrived: Instant) {
        self.gateway.metrics.duplicate_bars.add(ordered.doubles);
        self.gateway.metrics.bars.add(ordered.bars.len() as u64);
        let bars = ordered.bars.into_iter();
        self.out.extend(bars.map(|(symbol, bar)| (MarketEvent::Bar { symbol, bar }, arrived)));
        if let Some(hole) = ordered.hole {
            self.backfill(hole);
        }
    }

    /// Asks for a hole until there is an answer: going on around it is not an option.
    fn backfill(&self, hole: Hole) {
        self.gateway.metrics.backfills.add(1);
        let (gateway, filled, turns) =
            (Arc::clone(&self.gateway), self.filled.clone(), Arc::clone(&self.turns));
        let interval = self.interval;
        tokio::spawn(async move {
            let mut pauses = gateway.backoff(usize::MAX);
            loop {
                let turn = turns.acquire().await;
                let answer = fetch_klines(&gateway, &hole.symbol, interval, hole.from_ms, hole.to_ms).await;
                drop(turn);
                match answer {
                    Ok(bars) => {
                        let _ = filled.send((hole, bars)).await;
                        return;
                    }
                    Err(_) if filled.is_closed() => return,
                    Err(error) => {
                        tracing::warn!(symbol = %hole.symbol, %error, "missed bars cannot be had yet");
                        tokio::time::sleep(pauses.next().unwrap_or(Duration::from_secs(30))).await;
                    }
                }
            }
        });
    }
}
