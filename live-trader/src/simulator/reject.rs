//! Refusals, with the exchange's codes and words.

use crate::filters::FilterFailure;
use crate::venue::VenueError;

/// A request that the exchange turned down; nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Reject {
    /// The exchange's code.
    pub code: i32,
    /// The exchange's words.
    pub message: String,
}

/// Texts of code -2010 and -2011 that clients branch on.
pub(crate) mod text {
    pub(crate) const NO_BALANCE: &str = "Account has insufficient balance for requested action.";
    pub(crate) const WOULD_MATCH: &str = "Order would immediately match and take.";
    pub(crate) const WOULD_TRIGGER: &str = "Order would trigger immediately.";
    pub(crate) const DUPLICATE: &str = "Duplicate order sent.";
    pub(crate) const CLOSED: &str = "Market is closed.";
    pub(crate) const COMBINATION: &str = "Unsupported order combination";
    pub(crate) const RELATIONSHIP: &str = "The relationship of the prices for the orders is not correct.";
    pub(crate) const ZERO: &str = "Price * QTY is zero or less.";
    pub(crate) const UNKNOWN_ORDER: &str = "Unknown order sent.";
    pub(crate) const RESTRICTED: &str = "Order was not canceled due to cancel restrictions.";
}

impl Reject {
    /// A refusal of this code and text.
    pub fn new(code: i32, message: impl Into<String>) -> Reject {
        Reject { code, message: message.into() }
    }

    pub(crate) fn filter(name: &str) -> Reject {
        Reject::new(-1013, format!("Filter failure: {name}"))
    }

    /// The matching engine's no to a new order.
    pub(crate) fn order(text: &str) -> Reject {
        Reject::new(-2010, text)
    }

    /// The matching engine's no to a cancel.
    pub(crate) fn cancel(text: &str) -> Reject {
        Reject::new(-2011, text)
    }

    pub(crate) fn no_such_order() -> Reject {
        Reject::new(-2013, "Order does not exist.")
    }

    pub(crate) fn invalid_symbol() -> Reject {
        Reject::new(-1121, "Invalid symbol.")
    }
}

impl From<FilterFailure> for Reject {
    fn from(failure: FilterFailure) -> Reject {
        Reject::filter(failure.filter)
    }
}

impl From<Reject> for VenueError {
    fn from(reject: Reject) -> VenueError {
        match reject.code {
            -2013 => VenueError::NotFound { code: reject.code, message: reject.message },
            _ => VenueError::Refused { code: reject.code, message: reject.message },
        }
    }
}
