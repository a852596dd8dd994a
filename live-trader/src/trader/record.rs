//! What the journal holds: facts, in the order in which they became known.
//!
//! The trader's state is nothing but these records applied one after another ([`State::apply`](super::State::apply)), so a
//! restarted trader knows what the stopped one knew. An order's record is durable before the order is sent.

use polybolos_engine::kernels::sim::ExitReason;
use polybolos_engine::signals::{Bar, Decision};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::client_id::{ClientId, Intent};
use crate::order::{Fill, NewList, NewOrder, OrderReport};
use crate::symbol::Symbol;
use crate::venue::Balance;

use super::state::State;

/// Why a position is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCause {
    /// The strategy's exit signal.
    Signal,
    /// The strategy's time exit.
    Time,
    /// The price was beyond the stop when the stop was to be placed.
    Stop,
    /// The price was beyond the trailing stop when it was to be placed.
    Trailing,
    /// The price was beyond the target when the target was to be placed.
    Target,
    /// An operator.
    Operator,
    /// The kill switch.
    Kill,
    /// The connection was lost for too long, and the configuration says to flatten.
    Disconnect,
    /// No protection could be placed.
    Unprotected,
}

impl From<ExitReason> for ExitCause {
    fn from(reason: ExitReason) -> ExitCause {
        match reason {
            ExitReason::Signal => ExitCause::Signal,
            ExitReason::Stop => ExitCause::Stop,
            ExitReason::Target => ExitCause::Target,
            ExitReason::Trailing => ExitCause::Trailing,
            ExitReason::Time => ExitCause::Time,
        }
    }
}

impl ExitCause {
    /// The word in trade files; the strategy's own exits have the words of a backtest.
    pub fn name(self) -> &'static str {
        match self {
            ExitCause::Signal => "signal",
            ExitCause::Time => "time",
            ExitCause::Stop => "stop",
            ExitCause::Trailing => "trailing",
            ExitCause::Target => "target",
            ExitCause::Operator => "operator",
            ExitCause::Kill => "kill",
            ExitCause::Disconnect => "disconnect",
            ExitCause::Unprotected => "unprotected",
        }
    }
}

/// What is wanted for a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "want", rename_all = "snake_case")]
pub enum Goal {
    /// Nothing: no position and no order.
    #[default]
    Flat,
    /// A position, decided at the close of the bar that opened at `bar_open_ms`.
    Enter {
        /// Open time of the deciding bar.
        bar_open_ms: i64,
    },
    /// The position that is there, protected.
    Hold,
    /// No position any more.
    Exit {
        /// Why.
        cause: ExitCause,
        /// Open time of the deciding bar.
        bar_open_ms: i64,
    },
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are their types; `at_ms` is when it became known")]
pub enum Record {
    /// Balances that are right by definition: of the first start, or accepted by an operator.
    Baseline { balances: Vec<Balance>, at_ms: i64 },
    /// A deposit, withdrawal or transfer.
    Transfer { asset: String, delta: Decimal, at_ms: i64 },
    /// A bar closed; `wanted` is what the strategy said at its close, `is_live` whether it was acted on.
    Bar { symbol: Symbol, bar: Bar, wanted: Decision, is_live: bool, at_ms: i64 },
    /// The goal of a symbol changed.
    Goal { symbol: Symbol, goal: Goal, at_ms: i64 },
    /// An order is about to be sent.
    Order { order: NewOrder, intent: Intent, bar_open_ms: i64, at_ms: i64 },
    /// A list is about to be sent.
    List { list: NewList, bar_open_ms: i64, at_ms: i64 },
    /// A cancel is about to be sent.
    Cancel { symbol: Symbol, targets: Vec<ClientId>, cancel_id: ClientId, at_ms: i64 },
    /// The exchange said this of an order of ours.
    Report { report: OrderReport, at_ms: i64 },
    /// The exchange said this of fills of ours.
    Fills { symbol: Symbol, fills: Vec<Fill>, at_ms: i64 },
    /// It is not known what became of these orders.
    Doubt { client_ids: Vec<ClientId>, settles_at_ms: i64, reason: String, at_ms: i64 },
    /// It is known that the exchange never took these orders.
    Absent { client_ids: Vec<ClientId>, reason: String, at_ms: i64 },
    /// An operator, a limit or the exchange changed what the trader may do.
    Standing { text: String, at_ms: i64 },
    /// Everything known so far; begins a segment of the journal.
    Checkpoint { state: Box<State> },
}
