//! What the journal holds: facts, in the order in which they became known.
//!
//! The trader's state is nothing but these records applied one after another ([`State::apply`](super::State::apply)), so a
//! restarted trader knows what the stopped one knew. An order's record is durable before the order is sent.

use std::collections::BTreeMap;

use polybolos_engine::signals::{Bar, Decision};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::client_id::{ClientId, Intent};
use crate::ledger::{CloseReason, Terms};
use crate::order::{Fill, NewList, NewOrder, OrderReport};
use crate::risk::{Lock, Stop};
use crate::symbol::Symbol;
use crate::venue::Balance;

use super::event::{Standing, Why};
use super::state::State;

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
        cause: CloseReason,
        /// Open time of the deciding bar.
        bar_open_ms: i64,
    },
}

/// Prices in quote currency of third assets, in which commissions were paid.
pub type CommissionPrices = BTreeMap<String, Decimal>;

/// One fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are their types; `at_ms` is when it became known")]
pub enum Record {
    /// Balances that are right by definition: when an asset is first compared, or accepted by an operator or the configuration.
    Baseline { balances: Vec<Balance>, at_ms: i64 },
    /// A deposit, withdrawal or transfer.
    Transfer { asset: String, delta: Decimal, at_ms: i64 },
    /// A pair is traded from here on, with `cash` quote units more than it was given before.
    Admitted { symbol: Symbol, terms: Terms, cash: Decimal, at_ms: i64 },
    /// A pair is to leave once it holds nothing.
    Retired { symbol: Symbol, at_ms: i64 },
    /// It has left; its money is the bot's no more.
    Left { symbol: Symbol, at_ms: i64 },
    /// A bar closed; `wanted` is what the strategy said at its close, `is_live` whether it was acted on.
    Bar { symbol: Symbol, bar: Bar, wanted: Decision, is_live: bool, at_ms: i64 },
    /// All pairs are marked at their newest closes; `bar_open_ms` is the newest of those bars.
    Mark { bar_open_ms: i64, at_ms: i64 },
    /// The goal of a symbol changed.
    Goal { symbol: Symbol, goal: Goal, at_ms: i64 },
    /// An entry that the strategy wanted was not made, or not taken.
    NoEntry { symbol: Symbol, bar_open_ms: i64, why: Why, at_ms: i64 },
    /// An order is about to be sent; `reason` is why it sells.
    Order { order: NewOrder, intent: Intent, reason: Option<CloseReason>, bar_open_ms: i64, at_ms: i64 },
    /// A list is about to be sent; `stop_reason` is what its stop leg is.
    List { list: NewList, stop_reason: Option<CloseReason>, bar_open_ms: i64, at_ms: i64 },
    /// A cancel is about to be sent.
    Cancel { symbol: Symbol, targets: Vec<ClientId>, cancel_id: ClientId, at_ms: i64 },
    /// The exchange said this of an order of ours.
    Report {
        report: OrderReport,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        prices: CommissionPrices,
        at_ms: i64,
    },
    /// The exchange said this of fills of ours.
    Fills {
        symbol: Symbol,
        fills: Vec<Fill>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        prices: CommissionPrices,
        at_ms: i64,
    },
    /// The price of commissions that had none when they were paid.
    CommissionPrice { symbol: Symbol, asset: String, price: Decimal, at_ms: i64 },
    /// It is not known what became of these orders.
    Doubt { client_ids: Vec<ClientId>, settles_at_ms: i64, reason: String, at_ms: i64 },
    /// It is known that the exchange never took these orders.
    Absent { client_ids: Vec<ClientId>, reason: String, at_ms: i64 },
    /// A limit was reached.
    Stop { stop: Stop, at_ms: i64 },
    /// A protection holds entries back.
    Lock { lock: Lock, at_ms: i64 },
    /// An operator ended the stops that wait for one: the drawdown starts anew.
    Resumed { at_ms: i64 },
    /// An operator paused the bot, or with `None` ended the pause.
    Paused { reason: Option<String>, at_ms: i64 },
    /// The kill switch was set, or with `None` taken back.
    Killed { reason: Option<String>, at_ms: i64 },
    /// What the trader may do changed. For readers: a restarted trader finds out anew.
    Standing { standing: Standing, at_ms: i64 },
    /// Everything known so far; begins a segment of the journal.
    Checkpoint { state: Box<State> },
}

impl crate::journal::Record for Record {
    const VERSION: u32 = 1;
}

impl Record {
    /// When it became known; `None` for a checkpoint.
    pub fn at_ms(&self) -> Option<i64> {
        match self {
            Record::Baseline { at_ms, .. }
            | Record::Transfer { at_ms, .. }
            | Record::Admitted { at_ms, .. }
            | Record::Retired { at_ms, .. }
            | Record::Left { at_ms, .. }
            | Record::Bar { at_ms, .. }
            | Record::Mark { at_ms, .. }
            | Record::Goal { at_ms, .. }
            | Record::NoEntry { at_ms, .. }
            | Record::Order { at_ms, .. }
            | Record::List { at_ms, .. }
            | Record::Cancel { at_ms, .. }
            | Record::Report { at_ms, .. }
            | Record::Fills { at_ms, .. }
            | Record::CommissionPrice { at_ms, .. }
            | Record::Doubt { at_ms, .. }
            | Record::Absent { at_ms, .. }
            | Record::Stop { at_ms, .. }
            | Record::Lock { at_ms, .. }
            | Record::Resumed { at_ms }
            | Record::Paused { at_ms, .. }
            | Record::Killed { at_ms, .. }
            | Record::Standing { at_ms, .. } => Some(*at_ms),
            Record::Checkpoint { .. } => None,
        }
    }
}
