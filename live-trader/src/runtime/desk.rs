//! The desk: the one task that owns trader and journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polybolos_engine::signals::Bar;
use rust_decimal::Decimal;
use tokio::sync::{mpsc, oneshot, watch};

use crate::alerts::Alerter;
use crate::control::{ControlRequest, State, Status};
use crate::journal::JournalError;
use crate::metrics::{Metrics, OrderOutcome, Step};
use crate::promotion::BotStrategy;
use crate::symbol::Symbol;
use crate::trader::{CommandId, Event, Goal, Notice, Operator, Record, Standing, Trader};
use crate::venue::{AccountEvent, Answer, MarketEvent, VenueError};

use super::error::RuntimeError;
use super::flow::{Batch, Flow};
use super::halt::Watch;
use super::report::Reporter;
use super::selector::Looks;
use super::venue::{Feed, Venue};

mod members;
mod operators;
mod pending;

use pending::Pending;

/// Most events of one batch: one write of the journal covers them all.
const BATCH: usize = 256;

/// What is to be sent waits at most so long for further decisions, or as long as a sync takes: a write of the journal and two of sockets
/// cost about as much.
const TURN: Duration = Duration::from_micros(100);

/// Least time between two snapshots. One of hundreds of pairs takes a millisecond or two.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// While events wait, snapshots and log lines wait too, for so long at most.
const SHOW_WITHIN: Duration = Duration::from_secs(1);

/// Batches whose log lines wait, at most.
const MOST_UNLOGGED: usize = 4_096;

/// How long a shutdown waits for what is under way.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the bot is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopRequest {
    /// Go on.
    None,
    /// Send no entry any more, settle what is under way, end.
    Orderly {
        /// Close positions first.
        flatten: bool,
    },
}

/// What comes to the desk from people, and goes from it to them.
pub struct Inputs {
    /// Commands of the control port.
    pub controls: mpsc::Receiver<ControlRequest>,
    /// Whether to end.
    pub stop: watch::Receiver<StopRequest>,
    /// Somebody outside sets the kill switch: a signal. The text says who.
    pub kills: mpsc::Receiver<String>,
    /// Where snapshots go.
    pub status: watch::Sender<Arc<Status>>,
    /// Where alerts go.
    pub alerts: Option<Alerter>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to.
    Stopped {
        /// Whether everything was settled.
        is_settled: bool,
    },
    /// There were no more bars.
    Ended,
}

/// What a desk is made of.
pub(super) struct Parts<V> {
    pub(super) venue: V,
    pub(super) trader: Trader,
    pub(super) flow: Flow,
    pub(super) kill: Watch,
    pub(super) reporter: Reporter,
    pub(super) metrics: Metrics,
    pub(super) strategy: BotStrategy,
    /// Quote units of a pair.
    pub(super) cash: Decimal,
    pub(super) looks: Option<Looks>,
}

/// An operator's answer with the way to him; given once what he asked for is durable.
type Reply = (oneshot::Sender<Result<String, String>>, Result<String, String>);

/// A bot that is ready to trade.
pub struct Desk<V> {
    pub(super) venue: V,
    pub(super) trader: Trader,
    flow: Flow,
    kill: Watch,
    reporter: Reporter,
    metrics: Metrics,
    strategy: BotStrategy,
    cash: Decimal,
    looks: Option<Looks>,
    /// Open time of the newest bar that each strategy has seen: it must see each once, and the journal knows only those it recorded.
    fed: BTreeMap<Symbol, i64>,
    pending: Pending,
    /// Closes of a market that waits for the desk which came before it trades: their prices are not gone, so they are decided on then.
    held_back: Vec<(Symbol, Bar)>,
    orders_sent: BTreeMap<CommandId, Instant>,
    replies: Vec<Reply>,
    failure: Option<JournalError>,
    stopping: Option<(Instant, bool)>,
    shown_at: Option<Instant>,
    /// What batches have recorded, to be logged once nothing is to be decided.
    unlogged: Vec<(Vec<Record>, Vec<Notice>)>,
    unlogged_since: Option<Instant>,
}

impl<V: Venue> Desk<V> {
    pub(super) fn new(parts: Parts<V>) -> Desk<V> {
        let Parts { venue, trader, flow, kill, reporter, metrics, strategy, cash, looks } = parts;
        Desk {
            venue,
            trader,
            flow,
            kill,
            reporter,
            metrics,
            strategy,
            cash,
            looks,
            fed: BTreeMap::new(),
            pending: Pending::default(),
            held_back: Vec::new(),
            orders_sent: BTreeMap::new(),
            replies: Vec::new(),
            failure: None,
            stopping: None,
            shown_at: None,
            unlogged: Vec::new(),
            unlogged_since: None,
        }
    }

    /// The trader.
    pub fn trader(&self) -> &Trader {
        &self.trader
    }

    /// Trades until it is asked to stop or there are no more bars.
    ///
    /// # Errors
    /// [`RuntimeError::Journal`]: nothing has been sent since.
    pub async fn run(&mut self, inputs: &mut Inputs) -> Result<Outcome, RuntimeError> {
        self.reporter.lifecycle(inputs.alerts.as_ref(), "started", self.venue.now_ms());
        let outcome = self.serve(inputs).await;
        self.log();
        let words = match &outcome {
            Ok(Outcome::Stopped { is_settled: true }) => "stopped".to_owned(),
            Ok(Outcome::Stopped { is_settled: false }) => {
                "stopped while something was under way; the next start looks it up".to_owned()
            }
            Ok(Outcome::Ended) => "ended: there are no more bars".to_owned(),
            Err(error) => format!("ended: {error}"),
        };
        self.reporter.lifecycle(inputs.alerts.as_ref(), &words, self.venue.now_ms());
        self.show(inputs);
        outcome
    }

    async fn serve(&mut self, inputs: &mut Inputs) -> Result<Outcome, RuntimeError> {
        let (mut is_control_open, mut is_stop_open) = (true, true);
        loop {
            let mut batch = Batch::default();
            self.look_around(&mut batch, inputs);
            // A market of the past has no time of its own for it: it goes on at once.
            let rest_ms = self.flow.due_in_ms().filter(|_| self.venue.is_of_the_present());
            let sync_due_ms = rest_ms.map_or(i64::MAX, |rest_ms| self.venue.now_ms().saturating_add(rest_ms));
            let due_ms = self.trader.next_due_ms().min(sync_due_ms);
            let has_work = !batch.records.is_empty()
                || !batch.sends.is_empty()
                || !self.replies.is_empty()
                || !self.pending.is_empty();
            // People come first, also where the market's events never end: `None`, and what they want is done before anything is decided.
            let news = tokio::select! {
                biased;
                changed = inputs.stop.changed(), if is_stop_open => {
                    is_stop_open = changed.is_ok();
                    None
                }
                request = inputs.controls.recv(), if is_control_open => {
                    match request {
                        Some(request) => self.control(&mut batch, request),
                        None => is_control_open = false,
                    }
                    None
                }
                Some(by) = inputs.kills.recv() => {
                    self.kill(&by);
                    None
                }
                () = std::future::ready(()), if has_work => Some(None),
                feed = self.venue.next(due_ms), if !has_work => Some(Some(feed)),
            };
            let is_ended = matches!(news, Some(Some(Feed::Ended)));
            if let Some(feed) = news {
                self.hear(feed);
                self.take(&mut batch);
            }
            let has_sends = !batch.sends.is_empty();
            self.commit(batch, inputs)?;
            if has_sends && !self.venue.waits_for_desk() {
                // The task that writes to the exchange was woken by this one and would run after it, not beside it.
                tokio::task::yield_now().await;
            }
            if is_ended {
                self.finish(inputs)?;
                return Ok(Outcome::Ended);
            }
            if let Some(outcome) = self.stopped(inputs)? {
                return Ok(outcome);
            }
            self.inform_at_leisure(inputs);
        }
    }

    /// Takes an event, and those that have come with it, into the queue. On a market that waits for the desk their order does not depend
    /// on time.
    fn hear(&mut self, first: Option<Feed>) {
        let is_ordered = self.venue.waits_for_desk();
        let mut next = first;
        if next.is_none() && !is_ordered {
            next = self.venue.ready();
        }
        while let Some(feed) = next {
            self.pending.push(feed, is_ordered);
            next = if self.pending.len() < BATCH { self.venue.ready() } else { None };
        }
    }

    /// Handles what waits. The closes of hundreds of pairs come at once, and the first one's order is not to wait for the last one's
    /// decision: what is to be sent goes once handling has taken as long as a sync does. On a market that waits for the desk batches do not
    /// depend on time.
    fn take(&mut self, batch: &mut Batch) {
        let began = Instant::now();
        while let Some(feed) = self.pending.pop() {
            self.handle(batch, feed);
            let is_urgent = !batch.sends.is_empty() && !self.venue.waits_for_desk();
            if is_urgent && began.elapsed() >= self.flow.sync_took().max(TURN) {
                break;
            }
        }
    }

    fn handle(&mut self, batch: &mut Batch, feed: Feed) {
        let mut since = None;
        let event = match feed {
            Feed::Account(event) => {
                self.metrics.event();
                self.reporter.account(&event);
                if matches!(event, AccountEvent::Connected) {
                    self.metrics.reconnected("user");
                }
                Event::Account(event)
            }
            Feed::Answer { id, answer } => {
                self.count(id, &answer);
                Event::Answer { id, answer }
            }
            Feed::Market { event, received } => {
                self.metrics.event();
                self.reporter.market(&event);
                match event {
                    // A close that comes during a stop is left to the next start.
                    MarketEvent::Bar { .. } if self.stopping.is_some() => return,
                    MarketEvent::Bar { symbol, bar } => {
                        since = Some(received);
                        let is_live = self.is_live(&bar)
                            && self.pending.newest_open_ms(&symbol) <= Some(bar.open_time_ms);
                        Event::Bar { symbol, bar, is_live }
                    }
                    MarketEvent::Quote { symbol, bid, ask } => Event::Quote { symbol, bid, ask },
                    MarketEvent::Rules { rules } => Event::Rules { rules },
                    MarketEvent::Connected => {
                        self.metrics.reconnected("market");
                        Event::Market { is_connected: true }
                    }
                    MarketEvent::Disconnected { reason } => {
                        tracing::warn!(reason, "the market's stream is gone");
                        Event::Market { is_connected: false }
                    }
                }
            }
            Feed::Due => Event::Tick,
            Feed::Ended => return,
        };
        self.feed_since(batch, event, since);
    }

    /// Gives an event to the trader; a bar that its strategy has seen is dropped.
    pub(super) fn feed(&mut self, batch: &mut Batch, event: Event) {
        self.feed_since(batch, event, None);
    }

    fn feed_since(&mut self, batch: &mut Batch, event: Event, since: Option<Instant>) {
        if let Event::Bar { symbol, bar, is_live } = &event {
            if self.newest_open_ms(symbol) >= Some(bar.open_time_ms) {
                return;
            }
            if *is_live && self.must_wait(symbol, bar) {
                self.held_back.push((symbol.clone(), *bar));
                return;
            }
            self.fed.insert(symbol.clone(), bar.open_time_ms);
            self.reporter.bar(symbol, bar);
        }
        let actions = self.trader.handle(self.venue.now_ms(), event);
        batch.take(actions, since);
    }

    /// Whether no newer bar than this one has closed by now: then its close is one to act on.
    pub(super) fn is_live(&self, bar: &Bar) -> bool {
        !self.venue.is_of_the_present()
            || self.venue.now_ms() < bar.open_time_ms + 2 * self.strategy.interval.ms()
    }

    /// Open time of the newest bar of a pair that its strategy has seen, or will see before any other.
    pub(super) fn newest_open_ms(&self, symbol: &Symbol) -> Option<i64> {
        let held_back = self.held_back.iter().rev().find(|(of, _)| of == symbol);
        held_back.map(|(_, bar)| bar.open_time_ms).or_else(|| self.fed.get(symbol).copied())
    }

    /// Whether a close cannot be decided on yet and will be worth it later. What the journal has was decided on.
    fn must_wait(&self, symbol: &Symbol, bar: &Bar) -> bool {
        let is_known = || {
            self.trader
                .state()
                .symbol(symbol)
                .last_bar
                .is_some_and(|last| bar.open_time_ms <= last.open_time_ms)
        };
        self.venue.waits_for_desk() && *self.trader.standing() == Standing::Starting && !is_known()
    }

    /// Gives the trader the closes that waited until it trades. Of each pair the last one is to be acted on. During a stop they are left
    /// to the next start, like those that come then.
    fn release(&mut self, batch: &mut Batch) {
        let is_starting = *self.trader.standing() == Standing::Starting;
        if self.held_back.is_empty() || is_starting || self.stopping.is_some() {
            return;
        }
        let held_back = std::mem::take(&mut self.held_back);
        for (index, (symbol, bar)) in held_back.iter().enumerate() {
            let is_live = held_back.iter().skip(index + 1).all(|(later, _)| later != symbol);
            self.feed(batch, Event::Bar { symbol: symbol.clone(), bar: *bar, is_live });
        }
    }

    /// What is not an event of the venue: the kill switch's file, a stop.
    fn look_around(&mut self, batch: &mut Batch, inputs: &mut Inputs) {
        if let Some(reason) = self.kill.newly_set() {
            self.feed(batch, Event::Operator(Operator::Kill { flatten: false, reason }));
        }
        self.select(batch);
        let request = *inputs.stop.borrow_and_update();
        if let (StopRequest::Orderly { flatten }, None) = (request, self.stopping) {
            tracing::info!(flatten, "stopping");
            self.stopping = Some((Instant::now(), flatten));
            if flatten {
                // Not a pause: the next start trades again.
                for symbol in self.trader.symbols().cloned().collect::<Vec<_>>() {
                    self.feed(batch, Event::Operator(Operator::Close(symbol)));
                }
            }
        }
        self.release(batch);
    }

    /// Journal first, then the commands, then people.
    fn commit(&mut self, batch: Batch, inputs: &mut Inputs) -> Result<(), RuntimeError> {
        if self.failure.is_none()
            && let Err(error) = self
                .flow
                .commit(&batch, !self.replies.is_empty())
                .and_then(|()| self.flow.rotate_if_long(&self.trader))
        {
            self.journal_failed(error, inputs)?;
        }
        if self.failure.is_none() {
            for dispatch in batch.sends {
                if dispatch.command.changes_orders() {
                    if let Some(since) = dispatch.since {
                        self.metrics.took(Step::DecisionToWire, since.elapsed());
                    }
                    self.orders_sent.insert(dispatch.id, Instant::now());
                }
                self.venue.dispatch(dispatch);
            }
        }
        for (reply, answer) in self.replies.drain(..) {
            // Whoever asked may have gone.
            let _ = reply.send(answer);
        }
        let now_ms = self.venue.now_ms();
        let alerts = inputs.alerts.as_ref();
        self.reporter.alert_to(&self.trader, &batch.records, &batch.notices, alerts, now_ms);
        self.log_later(batch.records, batch.notices);
        self.tell_settled();
        Ok(())
    }

    fn log_later(&mut self, records: Vec<Record>, notices: Vec<Notice>) {
        if !records.is_empty() || !notices.is_empty() {
            self.unlogged.push((records, notices));
            self.unlogged_since.get_or_insert_with(Instant::now);
        }
    }

    fn log(&mut self) {
        for (records, notices) in self.unlogged.drain(..) {
            self.reporter.log(&records, &notices);
        }
        self.unlogged_since = None;
    }

    /// An order without a journal entry does not exist, so none is sent any more. Where the market waits for the desk, waiting for a
    /// person would be for ever: there the session ends.
    fn journal_failed(&mut self, error: JournalError, inputs: &mut Inputs) -> Result<(), RuntimeError> {
        self.log();
        let text = format!("nothing is sent any more: {error}");
        self.reporter.alarm(&text, inputs.alerts.as_ref(), self.venue.now_ms());
        if self.venue.waits_for_desk() {
            return Err(error.into());
        }
        self.failure = Some(error);
        Ok(())
    }

    /// [`Desk::commit`] before there is anybody to tell.
    pub(super) fn commit_before_trading(&mut self, batch: Batch) -> Result<(), RuntimeError> {
        self.flow.commit(&batch, false)?;
        self.flow.rotate_if_long(&self.trader)?;
        self.reporter.log(&batch.records, &batch.notices);
        Ok(())
    }

    fn tell_settled(&mut self) {
        let is_waiting = matches!(self.trader.standing(), Standing::Starting | Standing::Refused { .. });
        if !is_waiting && self.held_back.is_empty() && self.trader.is_settled() && self.stopping.is_none() {
            self.venue.settled(&self.fed);
        }
    }

    /// Whether a stop has come to its end.
    fn stopped(&mut self, inputs: &mut Inputs) -> Result<Option<Outcome>, RuntimeError> {
        let Some((since, flatten)) = self.stopping else {
            return Ok(None);
        };
        if let Some(failure) = self.failure.take() {
            return Err(failure.into());
        }
        let is_flat =
            !flatten || self.trader.state().symbols.values().all(|symbol| symbol.goal == Goal::Flat);
        let is_settled = self.trader.is_settled() && is_flat;
        if !is_settled && since.elapsed() < PATIENCE {
            return Ok(None);
        }
        self.finish(inputs)?;
        Ok(Some(Outcome::Stopped { is_settled }))
    }

    fn finish(&mut self, inputs: &mut Inputs) -> Result<(), RuntimeError> {
        self.flow.rotate(&self.trader)?;
        self.show(inputs);
        Ok(())
    }

    /// Logs what was done, and shows a snapshot if one is due, when nothing waits to be decided or it has waited for long.
    fn inform_at_leisure(&mut self, inputs: &Inputs) {
        let shown_ago = self.shown_at.map_or(SHOW_WITHIN, |at| at.elapsed());
        let is_due = shown_ago >= SHOW_EVERY;
        if !is_due && self.unlogged.is_empty() {
            return;
        }
        if self.pending.is_empty() && !self.venue.waits_for_desk() {
            self.hear(None);
        }
        let is_idle = self.pending.is_empty();
        let has_waited = self.unlogged_since.is_some_and(|since| since.elapsed() >= SHOW_WITHIN);
        if is_idle || has_waited || self.unlogged.len() >= MOST_UNLOGGED {
            self.log();
        }
        if is_due && (is_idle || shown_ago >= SHOW_WITHIN) {
            self.show(inputs);
        }
    }

    fn show(&mut self, inputs: &Inputs) {
        self.shown_at = Some(Instant::now());
        let mut status = self.reporter.status(&self.trader, self.kill.status(), self.venue.now_ms());
        if let Some(failure) = &self.failure {
            (status.state, status.detail) =
                (State::Refused, Some(format!("nothing is sent any more: {failure}")));
        }
        if self.stopping.is_some() {
            status.state = State::Stopping;
        }
        inputs.status.send_replace(Arc::new(status));
    }

    /// Counts what became of a command that changes orders.
    fn count(&mut self, id: CommandId, answer: &Answer) {
        let Some(sent) = self.orders_sent.remove(&id) else {
            return;
        };
        self.metrics.took(Step::RequestToAnswer, sent.elapsed());
        let outcome = match answer {
            Ok(_) => OrderOutcome::Accepted,
            Err(VenueError::Refused { .. } | VenueError::NotFound { .. }) => OrderOutcome::Refused,
            Err(VenueError::NotDone { .. } | VenueError::Halt { .. }) => OrderOutcome::NotSent,
            Err(VenueError::Unknown { .. }) => OrderOutcome::Unknown,
        };
        self.metrics.order(outcome);
    }
}
