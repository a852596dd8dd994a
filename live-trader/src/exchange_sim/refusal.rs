//! Answers that are no results, with the exchange's codes, statuses and words.

use serde_json::{Value, json};

use crate::simulator::Reject;

/// A request that was turned down.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: i32,
    pub(super) message: String,
    /// What a partly done request did.
    pub(super) data: Option<Value>,
    /// Wall-clock time from which requests are taken again.
    pub(super) retry_at_ms: Option<i64>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: i32, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), data: None, retry_at_ms: None }
    }

    /// What most of them are.
    pub(super) fn bad(code: i32, message: impl Into<String>) -> Refusal {
        Refusal::new(400, code, message)
    }

    pub(super) fn missing(name: &str) -> Refusal {
        Refusal::bad(
            -1102,
            format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed."),
        )
    }

    pub(super) fn not_valid(name: &str) -> Refusal {
        Refusal::bad(-1130, format!("Data sent for parameter '{name}' is not valid."))
    }

    pub(super) fn not_required(name: &str) -> Refusal {
        Refusal::bad(-1106, format!("Parameter '{name}' sent when not required."))
    }

    pub(super) fn illegal(name: &str, range: &str) -> Refusal {
        Refusal::bad(
            -1100,
            format!("Illegal characters found in parameter '{name}'; legal range is '{range}'."),
        )
    }

    pub(super) fn combination() -> Refusal {
        Refusal::bad(-1014, "Unsupported order combination.")
    }

    /// The body of a REST answer, and the `error` of one of the WebSocket API.
    pub(super) fn body(&self) -> Value {
        let mut body = json!({"code": self.code, "msg": self.message});
        if let Some(data) = &self.data {
            body["data"] = data.clone();
        }
        body
    }
}

impl From<Reject> for Refusal {
    fn from(reject: Reject) -> Refusal {
        Refusal::bad(reject.code, reject.message)
    }
}
