//! What goes into a trader and what comes out of it.

use polybolos_engine::signals::{Bar, Signals};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::filters::SymbolRules;
use crate::ledger::CloseReason;
use crate::symbol::Symbol;
use crate::venue::{AccountEvent, Answer, Command};

use super::plan::SymbolPlan;
use super::reconcile::Difference;
use super::record::Record;

/// Number of a command, unique within a run of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// No entries until [`Operator::Resume`], also after a restart. Positions keep their exits and their protection.
    Pause {
        /// Why, in the operator's words.
        reason: String,
    },
    /// Ends a pause, and limits that wait for an operator; the drawdown then starts anew. The kill switch stays set.
    Resume,
    /// Closes all positions and pauses.
    Flatten,
    /// Closes the position of one symbol.
    Close(Symbol),
    /// The kill switch was set: waiting entries are cancelled, and with `flatten` positions are closed. It stays set, also after
    /// a restart, until [`Operator::Release`].
    Kill {
        /// Whether to close positions.
        flatten: bool,
        /// Why.
        reason: String,
    },
    /// The kill switch was taken back.
    Release,
    /// Compares with the exchange now.
    Reconcile,
    /// Takes the exchange's balances and orders as right, whatever the journal says.
    AcceptDifferences,
}

/// What happens to a trader.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are their types")]
pub enum Event {
    /// A bar closed. `is_live` is false for bars that are caught up on: the strategy sees them and does not act.
    Bar { symbol: Symbol, bar: Bar, is_live: bool },
    /// The best prices; of a pair that is not traded (`BNBUSDT`) to value commissions.
    Quote { symbol: Symbol, bid: Decimal, ask: Decimal },
    /// The exchange changed a pair's rules or status.
    Rules { rules: Box<SymbolRules> },
    /// A pair is to be traded from here on, or no more be retired. `signals` has its strategy before its first bar.
    Admit { symbol: Symbol, plan: Box<SymbolPlan>, signals: Box<Signals> },
    /// A pair is not to be entered any more; it leaves once it holds nothing.
    Retire { symbol: Symbol },
    /// The exchange's word about the account.
    Account(AccountEvent),
    /// The market streams are there, or gone.
    Market { is_connected: bool },
    /// A command's answer.
    Answer { id: CommandId, answer: Answer },
    /// An operator's word.
    Operator(Operator),
    /// Time has passed. Due at [`Trader::next_due_ms`](super::Trader::next_due_ms), or at any other moment.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
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

impl Standing {
    /// How much it matters, and a sentence about it.
    pub(super) fn told(&self) -> (Level, String) {
        match self {
            Standing::Starting => (Level::Info, "compares with the exchange before it trades".to_owned()),
            Standing::Trading => (Level::Info, "trading".to_owned()),
            Standing::Paused { reason } => (Level::Warning, format!("no entries: {reason}")),
            Standing::Refused { differences } => {
                let list: Vec<String> = differences.iter().map(ToString::to_string).collect();
                (Level::Alarm, format!("trades nothing: {}", list.join("; ")))
            }
            Standing::Halted { reason, .. } => (Level::Alarm, format!("sends nothing: {reason}")),
        }
    }
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
    /// A limit or a protection denied it; begins with its name.
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
    Exiting(CloseReason),
    /// The position was closed.
    Closed(CloseReason),
}
