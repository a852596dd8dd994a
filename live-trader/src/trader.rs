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

use polybolos_engine::signals::{Bar, Signals};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::client_id::{ClientId, Intent};
use crate::order::OrderReport;
use crate::symbol::Symbol;
use crate::venue::{AccountEvent, Answer, Command};

mod answers;
mod bars;
mod lookup;
mod plan;
mod reconcile;
mod record;
mod state;
mod step;
mod ticket;

pub use plan::{EntryStyle, OnDisconnect, Plan, SymbolPlan};
pub use reconcile::Difference;
pub use record::{ExitCause, Goal, Record};
pub use state::{Holding, State, SymbolState};
pub use ticket::{Stage, Ticket};

use lookup::Lookup;
use reconcile::Reconcile;

/// Number of a command, unique within a run of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// No entries until [`Operator::Resume`]. Positions keep their exits and their protection.
    Pause {
        /// Why, in the operator's words.
        reason: String,
    },
    /// Entries again, unless a limit forbids them.
    Resume,
    /// Closes all positions and pauses.
    Flatten,
    /// Closes the position of one symbol.
    Close(Symbol),
    /// The kill switch was set: waiting entries are cancelled, and with `flatten` positions are closed.
    Kill {
        /// Whether to close positions.
        flatten: bool,
        /// Why.
        reason: String,
    },
    /// Compares with the exchange now.
    Reconcile,
    /// Takes the exchange's balances and orders as right, whatever the journal says.
    AcceptDifferences,
}

/// What happens to a trader.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are their types")]
pub enum Event {
    /// A bar closed. `is_live` is false for bars that are caught up on: the strategy sees them and does not act.
    Bar { symbol: Symbol, bar: Bar, is_live: bool },
    /// The best prices.
    Quote { symbol: Symbol, bid: Decimal, ask: Decimal },
    /// The exchange's word about the account.
    Account(AccountEvent),
    /// The market streams are there, or gone.
    Market { is_connected: bool },
    /// A command's answer.
    Answer { id: CommandId, answer: Answer },
    /// An operator's word.
    Operator(Operator),
    /// Time has passed. Due at [`Trader::next_due_ms`], or at any other moment.
    Tick,
}

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For the log.
    Info,
    /// Somebody should know.
    Warning,
    /// Somebody must act.
    Alarm,
}

/// Something to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// The symbol it is about.
    pub symbol: Option<Symbol>,
    /// One sentence.
    pub text: String,
}

/// What the shell does.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are their types")]
pub enum Action {
    /// Appends to the journal.
    Journal(Record),
    /// Sends to the exchange, after the journal is durable.
    Send { id: CommandId, command: Command },
    /// Tells people.
    Notify(Notice),
}

/// What the trader may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Before the first reconciliation: looks only.
    Starting,
    /// Everything.
    Trading,
    /// No entries.
    Paused {
        /// Why.
        reason: String,
    },
    /// The exchange and the journal differ in ways that nothing explains: looks only.
    Refused {
        /// The differences.
        differences: Vec<Difference>,
    },
    /// Nothing is sent at all.
    Halted {
        /// Why.
        reason: String,
        /// When it ends by itself.
        until_ms: Option<i64>,
    },
}

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
    /// Commands under way, lookups not counted.
    under_way: u32,
    retry_at_ms: i64,
    refusals: u32,
    quote: Option<(Decimal, Decimal)>,
    why: Why,
}

/// Why a symbol is or is not in a position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", content = "detail", rename_all = "snake_case")]
pub enum Why {
    /// No bar has closed yet.
    NoBar,
    /// The entry signal is FALSE.
    NoSignal,
    /// An exit is too recent.
    CoolingDown,
    /// The trader is not trading: paused, halted, starting.
    NotTrading(String),
    /// A limit or a protection denied it.
    Risk(String),
    /// The exchange's rules do not allow the order.
    Filter(String),
    /// There is too little money.
    Funds(String),
    /// The order was not taken.
    NotTaken(String),
    /// An entry is under way.
    Entering,
    /// In a position.
    Holding,
    /// A position is being closed.
    Exiting(ExitCause),
    /// The position was closed.
    Closed(ExitCause),
}

/// A trader.
pub struct Trader {
    plan: Plan,
    state: State,
    desks: BTreeMap<Symbol, Desk>,
    standing: Standing,
    sent: BTreeMap<CommandId, Sent>,
    lookups: BTreeMap<ClientId, Lookup>,
    reconcile: Reconcile,
    next_command: u64,
    /// Order numbers at the exchange that are nobody's we know, with the time of their fill.
    foreign: BTreeMap<i64, i64>,
    is_user_connected: bool,
    is_market_connected: bool,
    disconnected_since_ms: Option<i64>,
    /// Whether what is to be done without a stream has been done.
    is_disconnect_handled: bool,
    touched: BTreeSet<Symbol>,
    now_ms: i64,
    actions: Vec<Action>,
}

impl Trader {
    /// A trader that knows `records` from its journal. `signals` has the strategy of each symbol before its first bar; closed
    /// bars are fed to it as [`Event::Bar`] with `is_live: false` first.
    ///
    /// Orders that were under way when the journal ended are in doubt: they are looked up before anything else.
    pub fn new(plan: Plan, signals: BTreeMap<Symbol, Signals>, records: &[Record]) -> Trader {
        let assets = plan.symbols.iter().map(|(symbol, entry)| {
            (symbol.clone(), (entry.rules.base_asset.clone(), entry.rules.quote_asset.clone()))
        });
        let mut state = State::new(plan.interval, assets.collect());
        records.iter().for_each(|record| state.apply(record));
        let desk = |signals| Desk {
            signals,
            under_way: 0,
            retry_at_ms: 0,
            refusals: 0,
            quote: None,
            why: Why::NoBar,
        };
        Trader {
            plan,
            state,
            desks: signals.into_iter().map(|(symbol, signals)| (symbol, desk(signals))).collect(),
            standing: Standing::Starting,
            sent: BTreeMap::new(),
            lookups: BTreeMap::new(),
            reconcile: Reconcile::default(),
            next_command: 0,
            foreign: BTreeMap::new(),
            is_user_connected: false,
            is_market_connected: false,
            disconnected_since_ms: None,
            is_disconnect_handled: false,
            touched: BTreeSet::new(),
            now_ms: 0,
            actions: Vec::new(),
        }
    }

    /// Takes an event at `now_ms` and says what is to be done.
    pub fn handle(&mut self, now_ms: i64, event: Event) -> Vec<Action> {
        self.now_ms = self.now_ms.max(now_ms);
        self.end_halt();
        match event {
            Event::Bar { symbol, bar, is_live } => self.bar(&symbol, &bar, is_live),
            Event::Quote { symbol, bid, ask } => {
                if let Some(desk) = self.desks.get_mut(&symbol) {
                    desk.quote = Some((bid, ask));
                }
            }
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
        }
        self.advance_reconcile();
        std::mem::take(&mut self.actions)
    }

    /// What is known.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What the trader may do.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Why `symbol` is or is not in a position.
    pub fn why(&self, symbol: &Symbol) -> Option<&Why> {
        self.desks.get(symbol).map(|desk| &desk.why)
    }

    /// Whether every decision taken so far has been answered and nothing is under way.
    pub fn is_settled(&self) -> bool {
        self.sent.is_empty() && self.state.tickets.values().all(|ticket| !ticket.is_unsettled())
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
        self.state.apply(&record);
        self.actions.push(Action::Journal(record));
    }

    fn send(&mut self, symbol: Option<&Symbol>, purpose: Purpose, command: Command) {
        let id = CommandId(self.next_command);
        self.next_command += 1;
        if matches!(purpose, Purpose::Place { .. } | Purpose::Cancel { .. } | Purpose::Fills { .. })
            && let Some(desk) = symbol.and_then(|symbol| self.desks.get_mut(symbol))
        {
            desk.under_way += 1;
        }
        self.sent.insert(id, Sent { symbol: symbol.cloned(), purpose });
        self.actions.push(Action::Send { id, command });
    }

    fn notify(&mut self, level: Level, symbol: Option<&Symbol>, text: String) {
        self.actions.push(Action::Notify(Notice { level, symbol: symbol.cloned(), text }));
    }

    fn stand(&mut self, standing: Standing) {
        if self.standing == standing {
            return;
        }
        let (level, text) = match &standing {
            Standing::Starting => (Level::Info, "compares with the exchange before it trades".to_owned()),
            Standing::Trading => (Level::Info, "trading".to_owned()),
            Standing::Paused { reason } => (Level::Warning, format!("no entries: {reason}")),
            Standing::Refused { differences } => {
                let list: Vec<String> = differences.iter().map(ToString::to_string).collect();
                (Level::Alarm, format!("trades nothing: {}", list.join("; ")))
            }
            Standing::Halted { reason, .. } => (Level::Alarm, format!("sends nothing: {reason}")),
        };
        self.record(Record::Standing { text: text.clone(), at_ms: self.now_ms });
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
        if self.state.tickets.contains_key(&report.client_id) {
            self.record(Record::Report { report, at_ms: self.now_ms });
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

    fn operator(&mut self, operator: Operator) {
        match operator {
            Operator::Pause { reason } => self.pause(format!("paused: {reason}")),
            Operator::Resume => {
                if matches!(self.standing, Standing::Paused { .. }) {
                    self.stand(Standing::Trading);
                }
            }
            Operator::Flatten => {
                self.pause("flattened by an operator".to_owned());
                self.exit_all(ExitCause::Operator);
            }
            Operator::Close(symbol) => self.want_exit(&symbol, ExitCause::Operator),
            Operator::Kill { flatten, reason } => {
                self.pause(format!("kill switch: {reason}"));
                self.cancel_entries();
                if flatten {
                    self.exit_all(ExitCause::Kill);
                }
            }
            Operator::Reconcile => self.reconcile.want(),
            Operator::AcceptDifferences => self.accept_differences(),
        }
    }

    /// No entries from here on. A trader that refuses or is halted stays what it is.
    fn pause(&mut self, reason: String) {
        if self.may_tend() {
            self.stand(Standing::Paused { reason });
        }
    }

    fn exit_all(&mut self, cause: ExitCause) {
        for symbol in self.desks.keys().cloned().collect::<Vec<_>>() {
            self.want_exit(&symbol, cause);
        }
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

    fn disconnected(&mut self) {
        self.is_disconnect_handled = true;
        match self.plan.on_disconnect {
            OnDisconnect::Hold => {}
            OnDisconnect::Protect => self.cancel_entries(),
            OnDisconnect::Flatten => self.exit_all(ExitCause::Disconnect),
        }
        self.notify(Level::Alarm, None, "disconnected for too long".to_owned());
    }
}
