//! The seam: what may be asked of an exchange, what it can answer, and what it says unasked.
//!
//! A [`Command`] has exactly one [`Answer`]. An answer that is an error says what is known about the command, not what went
//! wrong on the way: [`VenueError::Unknown`] is the one that must be followed by a lookup and never by a repetition.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::client_id::ClientId;
use crate::filters::SymbolRules;
use crate::order::{Fill, NewList, NewOrder, OrderReport};
use crate::symbol::Symbol;

/// Asked of an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are their types")]
pub enum Command {
    /// Places an order. Answered by [`Response::Order`].
    Place(NewOrder),
    /// Places a list. Answered by [`Response::List`].
    PlaceList(NewList),
    /// Cancels an order and with it the list it belongs to. Answered by [`Response::Order`], for a list [`Response::List`].
    Cancel { symbol: Symbol, target: ClientId, cancel_id: ClientId },
    /// Cancels a list by its own id. Answered by [`Response::List`].
    CancelList { symbol: Symbol, list_id: ClientId, cancel_id: ClientId },
    /// Looks an order up. Answered by [`Response::Order`], or [`VenueError::NotFound`].
    QueryOrder { symbol: Symbol, client_id: ClientId },
    /// Looks a list up. Answered by [`Response::List`], or [`VenueError::NotFound`].
    QueryList { symbol: Symbol, list_id: ClientId },
    /// All open orders, of one pair or of the account. Answered by [`Response::Orders`].
    OpenOrders { symbol: Option<Symbol> },
    /// Fills of a pair with trade ids from `from_id`, or from the time `from_ms` on when there is no id yet. Answered by
    /// [`Response::Fills`], all of them, oldest first.
    Fills { symbol: Symbol, from_id: Option<i64>, from_ms: i64 },
    /// Balances and permissions. Answered by [`Response::Account`].
    Account,
}

impl Command {
    /// Whether repeating it can do harm: what changes orders is never sent twice on its own.
    pub fn changes_orders(&self) -> bool {
        matches!(
            self,
            Command::Place(_) | Command::PlaceList(_) | Command::Cancel { .. } | Command::CancelList { .. }
        )
    }

    /// Whether it can open or enlarge an order, as opposed to cancelling or looking.
    pub fn places(&self) -> bool {
        matches!(self, Command::Place(_) | Command::PlaceList(_))
    }
}

/// What the exchange answers to a command that it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are their types")]
pub enum Response {
    Order(OrderReport),
    List(ListReport),
    Orders(Vec<OrderReport>),
    Fills(Vec<Fill>),
    Account(Account),
}

/// A list and its orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListReport {
    /// The pair.
    pub symbol: Symbol,
    /// The list's own id.
    pub list_id: ClientId,
    /// The exchange's number of the list.
    pub order_list_id: i64,
    /// Whether no order of it is open any more.
    pub is_done: bool,
    /// Its orders. An answer to a query names them without details: then this is empty and `client_ids` is not.
    pub orders: Vec<OrderReport>,
    /// The ids of its orders.
    pub client_ids: Vec<ClientId>,
}

/// What is held of an asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// The asset.
    pub asset: String,
    /// Units that can be used.
    pub free: Decimal,
    /// Units that open orders hold.
    pub locked: Decimal,
}

/// The account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Balances other than zero.
    pub balances: Vec<Balance>,
    /// Whether orders are allowed.
    pub can_trade: bool,
    /// Whether this key may withdraw. The trader refuses such a key in live mode.
    pub can_withdraw: bool,
}

/// What is known about a command that was not answered by a response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VenueError {
    /// Not done, and doing the same again later is harmless: it never left (budget, breaker, no connection), or the exchange
    /// turned it away at the door (429, clock).
    #[error("not sent: {reason}")]
    NotDone {
        /// Why.
        reason: String,
        /// Earliest moment to try again, local clock; 0 if at once.
        retry_at_ms: i64,
    },
    /// Definitely not done, and the same again would be refused again.
    #[error("refused ({code}): {message}")]
    Refused {
        /// The exchange's code; 0 where there is none.
        code: i32,
        /// The exchange's words.
        message: String,
    },
    /// Perhaps done. Look it up; never repeat it.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// What happened on the way.
        reason: String,
        /// Exchange time after which the command cannot take effect any more.
        settles_at_ms: i64,
    },
    /// Nothing of that id is known. Right after a placement this is not proof.
    #[error("not found ({code}): {message}")]
    NotFound {
        /// The exchange's code.
        code: i32,
        /// The exchange's words.
        message: String,
    },
    /// Nothing may be sent any more until an operator has looked: a banned address, a revoked key, a closed account.
    #[error("halted: {reason}")]
    Halt {
        /// Why.
        reason: String,
        /// When the exchange lifts it by itself, if it said so; local clock.
        until_ms: Option<i64>,
    },
}

/// A command's only answer.
pub type Answer = Result<Response, VenueError>;

/// Said by the exchange on the user's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are their types")]
pub enum AccountEvent {
    /// An order changed. `execution_id` rises with every change of a symbol's orders and tells doubled events.
    Execution { report: OrderReport, execution_id: i64 },
    /// Balances that may have changed, absolute.
    Balances { balances: Vec<Balance>, update_ms: i64 },
    /// A deposit, withdrawal or transfer, as a difference.
    Transfer { asset: String, delta: Decimal, time_ms: i64 },
    /// The stream is there; what happened before was not seen.
    Connected,
    /// The stream is gone; what happens now is not seen.
    Disconnected { reason: String },
}

/// Said by the exchange on market streams.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are their types")]
pub enum MarketEvent {
    /// A bar closed.
    Bar { symbol: Symbol, bar: polybolos_engine::signals::Bar },
    /// The best prices changed.
    Quote { symbol: Symbol, bid: Decimal, ask: Decimal },
    /// A pair's rules or status changed.
    Rules { rules: Box<SymbolRules> },
    /// The stream is there; bars that closed before were not seen on it.
    Connected,
    /// The stream is gone.
    Disconnected { reason: String },
}
