//! The trader as a state machine: events and the time go in, actions come out. No socket, file, clock or thread is here.
//!
//! **What is known** ([`State`]) is nothing but the journal's [`Record`]s applied one after another. **What is wanted** is one
//! [`Goal`] per symbol. Whenever nothing of a symbol is unsettled, one step is taken from what is known towards what is wanted
//! (`step.rs`); a crash, a refused order or a reconciliation needs no path of its own back, only the next step.
//!
//! **The shell's contract.** Actions are carried out in their order. Every [`Action::Journal`] before an [`Action::Send`] is
//! durable before anything is sent. Every command that is sent gets exactly one [`Event::Answer`], at the latest when its deadline
//! passes. `now_ms` is the exchange's wall clock as well as it is known, and never goes back.
//!
//! Positions are long only: a spot account cannot be short.

use std::collections::{BTreeMap, BTreeSet};

use polybolos_engine::signals::Signals;
use rust_decimal::Decimal;

use crate::client_id::{ClientId, IdStart, Intent};
use crate::ledger::{Ledger, LedgerError};
use crate::order::OrderReport;
use crate::risk::{GateState, Limits, Quote, RiskGate};
use crate::symbol::Symbol;
use crate::venue::AccountEvent;

mod answers;
mod bars;
mod commissions;
mod event;
mod lookup;
mod members;
mod operator;
mod plan;
mod reconcile;
mod record;
mod request;
mod risk;
mod state;
mod step;
mod ticket;
mod tickets;

pub use event::{Action, CommandId, Event, Level, Notice, Operator, Standing, Why};
pub use plan::{EntryStyle, OnDisconnect, Plan, SymbolPlan};
pub use reconcile::Difference;
pub use record::{CommissionPrices, Goal, Record};
pub use state::{Applied, Holding, Member, State, SymbolState};
pub use ticket::{Stage, Ticket};
pub use tickets::Tickets;

use lookup::Lookup;
use reconcile::Reconcile;
use request::Request;
use risk::Round;

/// What a command that is under way was sent for.
#[derive(Debug, Clone)]
enum Purpose {
    Place { client_ids: Vec<ClientId>, intent: Intent },
    Cancel { targets: Vec<ClientId> },
    Lookup { client_id: ClientId },
    Fills { from: Option<ClientId> },
    OpenOrders,
    Account { fills_counted: u64 },
}

struct Sent {
    symbol: Option<Symbol>,
    purpose: Purpose,
}

/// What is remembered of a symbol without being journaled: it is learnt anew after a start.
struct Desk {
    signals: Signals,
    id_start: IdStart,
    /// Commands under way, lookups not counted.
    under_way: u32,
    retry_at_ms: i64,
    refusals: u32,
    /// When its last live bar came.
    bar_ms: Option<i64>,
    why: Why,
}

/// Best prices and when they came.
#[derive(Clone, Copy)]
struct Seen {
    quote: Quote,
    at_ms: i64,
}

/// A position with its prices, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionView {
    /// The pair.
    pub symbol: Symbol,
    /// Base units held, dust of earlier trades included.
    pub quantity: Decimal,
    /// Mean price of its buys without fees, quote per base.
    pub entry_price: Decimal,
    /// Time of the first buy, exchange clock.
    pub entry_ms: i64,
    /// Open time of the bar in which the first unit was bought.
    pub entry_bar_ms: Option<i64>,
    /// The bid, or the last close where no quote is known.
    pub price: Option<Decimal>,
    /// Stop that rests at the exchange.
    pub stop_price: Option<Decimal>,
    /// Target that rests at the exchange.
    pub target_price: Option<Decimal>,
    /// `quantity * price` less what was paid for it, fees included, quote currency.
    pub unrealised: Option<Decimal>,
}

/// A trader.
pub struct Trader {
    plan: Plan,
    gate: RiskGate,
    state: State,
    /// Whether the plan has been compared with the journal.
    has_begun: bool,
    desks: BTreeMap<Symbol, Desk>,
    quotes: BTreeMap<Symbol, Seen>,
    standing: Standing,
    sent: BTreeMap<CommandId, Sent>,
    lookups: BTreeMap<ClientId, Lookup>,
    reconcile: Reconcile,
    next_command: u64,
    /// Order numbers at the exchange that are nobody's we know, with the time of their fill.
    foreign: BTreeMap<i64, i64>,
    /// What the ledger did not take and people were told of.
    refused_fills: Vec<LedgerError>,
    is_user_connected: bool,
    is_market_connected: bool,
    disconnected_since_ms: Option<i64>,
    /// Whether what is to be done without a stream has been done.
    is_disconnect_handled: bool,
    touched: BTreeSet<Symbol>,
    /// `None` where pairs have come or gone since it was asked for.
    round: Option<Round>,
    now_ms: i64,
    actions: Vec<Action>,
}

impl Trader {
    /// A trader that knows `records` from its journal. `signals` has the strategy of each symbol before its first bar; closed
    /// bars are fed to it as [`Event::Bar`] with `is_live: false` first.
    ///
    /// Orders that were under way when the journal ended are in doubt: they are looked up before anything else. Pairs that the
    /// journal has and the plan has not leave, unless they hold something: then the trader refuses to trade.
    pub fn new(plan: Plan, signals: BTreeMap<Symbol, Signals>, records: &[Record]) -> Trader {
        let state = State::from_records(plan.interval, records);
        let gate = RiskGate::new(plan.limits.clone(), plan.protections.clone(), plan.interval.ms());
        Trader {
            gate,
            state,
            has_begun: false,
            desks: signals
                .into_iter()
                .map(|(symbol, signals)| {
                    let id_start = IdStart::new(&plan.bot, &symbol);
                    (symbol, Desk::new(id_start, signals))
                })
                .collect(),
            plan,
            quotes: BTreeMap::new(),
            standing: Standing::Starting,
            sent: BTreeMap::new(),
            lookups: BTreeMap::new(),
            reconcile: Reconcile::default(),
            next_command: 0,
            foreign: BTreeMap::new(),
            refused_fills: Vec::new(),
            is_user_connected: false,
            is_market_connected: false,
            disconnected_since_ms: None,
            is_disconnect_handled: false,
            touched: BTreeSet::new(),
            round: None,
            now_ms: 0,
            actions: Vec::new(),
        }
    }

    /// Takes an event at `now_ms` and says what is to be done.
    pub fn handle(&mut self, now_ms: i64, event: Event) -> Vec<Action> {
        self.now_ms = if self.has_begun { self.now_ms.max(now_ms) } else { now_ms };
        self.begin();
        self.end_halt();
        match event {
            Event::Bar { symbol, bar, is_live } => self.bar(&symbol, &bar, is_live),
            Event::Quote { symbol, bid, ask } => self.quoted(symbol, Quote { bid, ask }),
            Event::Rules { rules } => self.rules(*rules),
            Event::Admit { symbol, plan, signals } => self.admit(&symbol, *plan, *signals),
            Event::Retire { symbol } => self.retire(&symbol),
            Event::Account(event) => self.account_event(event),
            Event::Market { is_connected } => {
                self.is_market_connected = is_connected;
                self.note_connection();
            }
            Event::Answer { id, answer } => self.answer(id, answer),
            Event::Operator(operator) => self.operator(operator),
            Event::Tick => self.tick(),
        }
        while let Some(symbol) = self.touched.pop_first() {
            self.step(&symbol);
            self.leave_if_done(&symbol);
        }
        self.advance_reconcile();
        std::mem::take(&mut self.actions)
    }

    /// What is known.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What was earned.
    pub fn ledger(&self) -> &Ledger {
        &self.state.ledger
    }

    /// Stops and locks of the risk gate, and the orders that it counted.
    pub fn gate(&self) -> &GateState {
        &self.state.gate
    }

    /// The risk gate's limits.
    pub fn limits(&self) -> &Limits {
        self.gate.limits()
    }

    /// Whether the kill switch is set.
    pub fn is_killed(&self) -> bool {
        self.state.kill.is_some()
    }

    /// What the trader may do.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The pairs that are traded, retiring ones included.
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.desks.keys()
    }

    /// Why `symbol` is or is not in a position.
    pub fn why(&self, symbol: &Symbol) -> Option<&Why> {
        self.desks.get(symbol).map(|desk| &desk.why)
    }

    /// The strategy of `symbol` with its indicators' newest values.
    pub fn signals(&self, symbol: &Symbol) -> Option<&Signals> {
        self.desks.get(symbol).map(|desk| &desk.signals)
    }

    /// The open position in `symbol`.
    pub fn position(&self, symbol: &Symbol) -> Option<PositionView> {
        self.position_view(symbol)
    }

    /// The best prices of `symbol`, where they are known.
    pub fn quote(&self, symbol: &Symbol) -> Option<Quote> {
        self.quotes.get(symbol).map(|seen| seen.quote)
    }

    /// The open positions.
    pub fn positions(&self) -> Vec<PositionView> {
        self.desks.keys().filter_map(|symbol| self.position_view(symbol)).collect()
    }

    fn position_view(&self, symbol: &Symbol) -> Option<PositionView> {
        let position = self.state.position(symbol)?;
        let state = self.state.symbol(symbol);
        let price = self.reference(symbol, &state);
        let resting = |intent| {
            let of_intent = self.state.live_tickets(symbol).find(|(_, ticket)| ticket.intent == intent);
            of_intent.and_then(|(_, ticket)| ticket.kind.stop_price().or(ticket.kind.price()))
        };
        let value = price.and_then(|price| price.checked_mul(position.quantity));
        Some(PositionView {
            symbol: symbol.clone(),
            quantity: position.quantity,
            entry_price: position.entry_price,
            entry_ms: position.entry_ms,
            entry_bar_ms: state.holding.entry_bar_open_ms,
            price,
            stop_price: resting(Intent::Stop),
            target_price: resting(Intent::Target),
            unrealised: value.and_then(|value| value.checked_sub(position.cost)),
        })
    }

    /// Whether every decision taken so far has been answered and nothing is under way.
    pub fn is_settled(&self) -> bool {
        self.sent.is_empty() && self.state.tickets.unsettled().next().is_none()
    }

    /// When [`Event::Tick`] is due at the latest.
    pub fn next_due_ms(&self) -> i64 {
        let lookups = self.lookups.values().map(|lookup| lookup.next_ms);
        let retries = self.desks.values().map(|desk| desk.retry_at_ms).filter(|&at| at > self.now_ms);
        let idle = self.now_ms + 1_000;
        lookups.chain(retries).chain(self.reconcile.due_ms(self)).chain([idle]).min().unwrap_or(idle)
    }

    /// The record that a new segment of the journal begins with.
    pub fn checkpoint(&self) -> Record {
        Record::Checkpoint { state: Box::new(self.state.clone()) }
    }

    fn record(&mut self, record: Record) {
        let applied = self.state.apply(&record);
        if matches!(record, Record::Admitted { .. } | Record::Left { .. }) {
            self.round = None;
        }
        self.actions.push(Action::Journal(record));
        self.trades_closed(applied.closed.len());
        for error in applied.refused {
            if !self.refused_fills.contains(&error) {
                self.notify(Level::Alarm, None, format!("not booked: {error}"));
                self.refused_fills.push(error);
            }
        }
    }

    fn send(&mut self, symbol: Option<&Symbol>, purpose: Purpose, request: Request) {
        let id = CommandId(self.next_command);
        self.next_command += 1;
        if matches!(purpose, Purpose::Place { .. } | Purpose::Cancel { .. } | Purpose::Fills { .. })
            && let Some(desk) = symbol.and_then(|symbol| self.desks.get_mut(symbol))
        {
            desk.under_way += 1;
        }
        self.sent.insert(id, Sent { symbol: symbol.cloned(), purpose });
        self.actions.push(Action::Send { id, command: request.into_command() });
    }

    fn notify(&mut self, level: Level, symbol: Option<&Symbol>, text: String) {
        self.actions.push(Action::Notify(Notice { level, symbol: symbol.cloned(), text }));
    }

    fn stand(&mut self, standing: Standing) {
        if self.standing == standing {
            return;
        }
        let (level, text) = standing.told();
        self.record(Record::Standing { standing: standing.clone(), at_ms: self.now_ms });
        self.notify(level, None, text);
        self.standing = standing;
        self.touch_all();
    }

    fn touch_all(&mut self) {
        self.touched.extend(self.desks.keys().cloned());
    }

    /// Whether anything may be sent.
    fn may_send(&self) -> bool {
        !matches!(self.standing, Standing::Halted { .. })
    }

    /// Whether orders of existing positions may be sent: exits, protection, cancels.
    fn may_tend(&self) -> bool {
        matches!(self.standing, Standing::Trading | Standing::Paused { .. })
    }

    fn end_halt(&mut self) {
        if let Standing::Halted { until_ms: Some(until_ms), .. } = self.standing
            && self.now_ms >= until_ms
        {
            self.stand(Standing::Starting);
            self.reconcile.want();
        }
    }

    fn account_event(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Execution { report, .. } => self.report(report),
            AccountEvent::Balances { .. } => {}
            AccountEvent::Transfer { asset, delta, .. } => {
                self.record(Record::Transfer { asset, delta, at_ms: self.now_ms });
            }
            AccountEvent::Connected => {
                self.is_user_connected = true;
                self.note_connection();
                self.reconcile.want();
            }
            AccountEvent::Disconnected { reason } => {
                self.is_user_connected = false;
                self.note_connection();
                self.notify(Level::Warning, None, format!("the account's stream is gone: {reason}"));
            }
        }
    }

    /// Takes in what the exchange says of an order, if it is one of ours.
    fn report(&mut self, report: OrderReport) {
        let symbol = report.symbol.clone();
        if self.state.tickets.contains(&report.client_id) {
            let prices = self.commission_prices(&symbol, &report.fills);
            self.record(Record::Report { report, prices, at_ms: self.now_ms });
            self.touched.insert(symbol);
        } else if report.client_id.is_of(&self.plan.bot) {
            self.notify(
                Level::Warning,
                Some(&symbol),
                format!("order {} has this bot's name and is not in its journal", report.client_id),
            );
            self.reconcile.want();
        }
    }

    fn note_connection(&mut self) {
        let is_connected = self.is_user_connected && self.is_market_connected;
        self.disconnected_since_ms = match (is_connected, self.disconnected_since_ms) {
            (true, _) => None,
            (false, since) => since.or(Some(self.now_ms)),
        };
        self.is_disconnect_handled &= !is_connected;
    }

    fn tick(&mut self) {
        self.run_lookups();
        let is_due = self.desks.iter().filter(|(_, desk)| desk.retry_at_ms <= self.now_ms);
        let due: Vec<Symbol> = is_due.map(|(symbol, _)| symbol.clone()).collect();
        self.touched.extend(due);
        if let Some(since_ms) = self.disconnected_since_ms
            && self.now_ms - since_ms >= self.plan.disconnect_after_ms
            && !self.is_disconnect_handled
        {
            self.disconnected();
        }
    }
}

impl Desk {
    fn new(id_start: IdStart, signals: Signals) -> Desk {
        Desk { signals, id_start, under_way: 0, retry_at_ms: 0, refusals: 0, bar_ms: None, why: Why::NoBar }
    }
}
