//! What the exchange says unasked, with everything a wire needs.

use rust_decimal::Decimal;

use super::book::{List, Order};
use crate::client_id::ClientId;
use crate::order::Fill;
use crate::venue::{AccountEvent, Balance};

/// What happened to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was accepted, came to life, or was triggered.
    New,
    /// It traded.
    Trade,
    /// It was cancelled.
    Canceled,
    /// It was made smaller.
    Replaced,
    /// It ended by itself.
    Expired,
}

/// An order's change.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// The order after the change.
    pub order: Order,
    /// What happened.
    pub change: Change,
    /// Rises with every change of the pair's orders.
    pub execution_id: i64,
    /// The id of the request that cancelled or amended it.
    pub request_id: Option<ClientId>,
    /// The fill, of a trade.
    pub fill: Option<Fill>,
    /// Market time.
    pub time_ms: i64,
}

/// A list's change.
#[derive(Debug, Clone, PartialEq)]
pub struct ListChange {
    /// The list after the change.
    pub list: List,
    /// Ids of its orders, in the list's order.
    pub client_ids: Vec<ClientId>,
    /// Market time.
    pub time_ms: i64,
}

/// Said on the user's stream.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are their types")]
pub enum Event {
    Execution(Box<Execution>),
    List(Box<ListChange>),
    /// Balances that may have changed, absolute.
    Balances { balances: Vec<Balance>, update_ms: i64 },
    /// A deposit (above 0) or withdrawal.
    Transfer { asset: String, delta: Decimal, time_ms: i64 },
}

impl Event {
    /// The same in the trader's vocabulary; a list's change is told by its orders' and has no word of its own there.
    pub fn into_account_event(self) -> Option<AccountEvent> {
        match self {
            Event::Execution(execution) => Some(AccountEvent::Execution {
                report: execution.order.report(execution.fill.into_iter().collect()),
                execution_id: execution.execution_id,
            }),
            Event::Balances { balances, update_ms } => Some(AccountEvent::Balances { balances, update_ms }),
            Event::Transfer { asset, delta, time_ms } => {
                Some(AccountEvent::Transfer { asset, delta, time_ms })
            }
            Event::List(_) => None,
        }
    }
}
