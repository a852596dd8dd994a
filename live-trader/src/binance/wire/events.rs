//! What the user stream says.

use std::borrow::Cow;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::order::{WireError, order_kind};
use crate::client_id::ClientId;
use crate::order::{Fill, OrderReport, OrderSide, OrderStatus};
use crate::symbol::Symbol;
use crate::venue::{AccountEvent, Balance};

/// A message of the user stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
pub(crate) enum UserMessage {
    Event(AccountEvent),
    /// The subscription has ended: subscribe again.
    Terminated,
    /// The server goes away soon.
    Shutdown,
    /// Something that changes neither orders nor balances in a way that another event does not report.
    Other,
}

/// The letters are the exchange's; the comments say what they stand for where the mapping below does not.
#[derive(Deserialize)]
struct Execution {
    s: Symbol,
    /// Own id; on a cancel the cancel's id.
    c: String,
    /// The cancelled order's own id, on a cancel.
    #[serde(rename = "C", default)]
    original: String,
    #[serde(rename = "S")]
    side: OrderSide,
    o: String,
    f: Option<String>,
    q: Decimal,
    p: Option<Decimal>,
    #[serde(rename = "P")]
    stop_price: Option<Decimal>,
    g: Option<i64>,
    /// Execution type.
    x: String,
    #[serde(rename = "X")]
    status: OrderStatus,
    r: Option<String>,
    #[serde(rename = "eR")]
    expiry_reason: Option<String>,
    i: i64,
    l: Decimal,
    z: Decimal,
    #[serde(rename = "L")]
    last_price: Decimal,
    n: Option<Decimal>,
    #[serde(rename = "N")]
    commission_asset: Option<String>,
    #[serde(rename = "T")]
    time_ms: i64,
    t: i64,
    #[serde(rename = "I")]
    execution_id: i64,
    #[serde(default)]
    m: bool,
    #[serde(rename = "Z")]
    executed_quote: Option<Decimal>,
}

impl Execution {
    fn event(self) -> Result<AccountEvent, WireError> {
        let Some(kind) = order_kind(&self.o, self.p, self.stop_price, self.f.as_deref()) else {
            return Err(WireError::OrderType { symbol: self.s, order_id: self.i, kind: self.o });
        };
        let is_fill = self.x == "TRADE" && self.t >= 0;
        let fill = is_fill.then(|| Fill {
            trade_id: self.t,
            order_id: self.i,
            price: self.last_price,
            quantity: self.l,
            commission: self.n.unwrap_or_default(),
            commission_asset: self.commission_asset.unwrap_or_default(),
            is_maker: self.m,
            time_ms: self.time_ms,
        });
        let own_id = if self.original.is_empty() { &self.c } else { &self.original };
        let report = OrderReport {
            symbol: self.s,
            client_id: ClientId::from_wire(own_id),
            order_id: self.i,
            list_id: self.g.filter(|id| *id >= 0),
            side: self.side,
            kind,
            original_quantity: self.q,
            executed_quantity: self.z,
            executed_quote: self.executed_quote,
            status: self.status,
            update_ms: self.time_ms,
            fills: fill.into_iter().collect(),
            reason: self.expiry_reason.or(self.r).filter(|reason| reason != "NONE"),
        };
        Ok(AccountEvent::Execution { report, execution_id: self.execution_id })
    }
}

#[derive(Deserialize)]
struct Position {
    #[serde(rename = "E")]
    event_ms: i64,
    u: Option<i64>,
    #[serde(rename = "B")]
    balances: Vec<PositionBalance>,
}

#[derive(Deserialize)]
struct PositionBalance {
    a: String,
    f: Decimal,
    l: Decimal,
}

#[derive(Deserialize)]
struct Transfer {
    a: String,
    d: Decimal,
    #[serde(rename = "T")]
    time_ms: i64,
}

/// The event of a message, in its envelope (`{"subscriptionId": 0, "event": {...}}`) or without one; `None` if it has none.
pub(crate) fn event(message: &str) -> Result<Option<UserMessage>, WireError> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        event: Option<&'a RawValue>,
        #[serde(borrow)]
        e: Option<Cow<'a, str>>,
    }

    let Head { event: enclosed, e: kind } = serde_json::from_str(message)?;
    let Some(enclosed) = enclosed else {
        return kind.map(|kind| read(&kind, message)).transpose();
    };
    let kind = serde_json::from_str::<Head<'_>>(enclosed.get())?.e;
    read(&kind.unwrap_or_default(), enclosed.get()).map(Some)
}

fn read(kind: &str, event: &str) -> Result<UserMessage, WireError> {
    Ok(match kind {
        "executionReport" => UserMessage::Event(serde_json::from_str::<Execution>(event)?.event()?),
        "outboundAccountPosition" => {
            let position: Position = serde_json::from_str(event)?;
            let balance = |held: PositionBalance| Balance { asset: held.a, free: held.f, locked: held.l };
            UserMessage::Event(AccountEvent::Balances {
                balances: position.balances.into_iter().map(balance).collect(),
                update_ms: position.u.unwrap_or(position.event_ms),
            })
        }
        "balanceUpdate" => {
            let transfer: Transfer = serde_json::from_str(event)?;
            let (asset, delta, time_ms) = (transfer.a, transfer.d, transfer.time_ms);
            UserMessage::Event(AccountEvent::Transfer { asset, delta, time_ms })
        }
        "eventStreamTerminated" => UserMessage::Terminated,
        "serverShutdown" => UserMessage::Shutdown,
        _ => UserMessage::Other,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(document: Value) -> Result<UserMessage, WireError> {
        super::event(&document.to_string()).map(|message| message.unwrap())
    }

    fn execution(changes: &[(&str, Value)]) -> Value {
        let mut event = json!({
            "e": "executionReport", "E": 1499405658658_i64, "s": "ETHBTC", "c": "mine", "S": "BUY", "o": "LIMIT", "f": "GTC",
            "q": "1.00000000", "p": "0.10264410", "P": "0.00000000", "F": "0.00000000", "g": -1, "C": "", "x": "NEW",
            "X": "NEW", "r": "NONE", "i": 4293153, "l": "0.00000000", "z": "0.00000000", "L": "0.00000000", "n": "0",
            "N": null, "T": 1499405658657_i64, "t": -1, "I": 8641984, "w": true, "m": false, "M": false,
            "O": 1499405658657_i64, "Z": "0.00000000", "Y": "0.00000000", "Q": "0.00000000", "V": "NONE"
        });
        for (name, value) in changes {
            event[*name] = value.clone();
        }
        event
    }

    fn report(document: Value) -> OrderReport {
        match event(document).unwrap() {
            UserMessage::Event(AccountEvent::Execution { report, execution_id: 8641984 }) => report,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn executions_are_read_in_and_out_of_their_envelope() {
        let plain = report(execution(&[]));
        assert_eq!(plain, report(json!({"subscriptionId": 0, "event": execution(&[])})));
        assert_eq!((plain.client_id.as_str(), plain.status, plain.list_id), ("mine", OrderStatus::New, None));
        assert!(plain.fills.is_empty() && plain.reason.is_none());
    }

    #[test]
    fn a_trade_carries_its_fill_and_commission() {
        let trade = report(execution(&[
            ("x", json!("TRADE")),
            ("X", json!("PARTIALLY_FILLED")),
            ("l", json!("0.4")),
            ("z", json!("0.5")),
            ("L", json!("0.1026")),
            ("n", json!("0.0004")),
            ("N", json!("BNB")),
            ("t", json!(77)),
            ("m", json!(true)),
            ("g", json!(5)),
            ("Z", json!("0.0513")),
        ]));
        assert_eq!((trade.status, trade.list_id), (OrderStatus::PartiallyFilled, Some(5)));
        let fill = &trade.fills[0];
        assert_eq!((fill.trade_id, fill.is_maker, fill.commission_asset.as_str()), (77, true, "BNB"));
        assert_eq!((fill.quantity, fill.price), (Decimal::new(4, 1), Decimal::new(1026, 4)));
        assert_eq!(trade.executed_quote, Some(Decimal::new(513, 4)));
    }

    #[test]
    fn a_cancel_is_of_the_original_id_and_an_expiry_has_a_reason() {
        let cancelled = report(execution(&[
            ("x", json!("CANCELED")),
            ("X", json!("CANCELED")),
            ("c", json!("cancel")),
            ("C", json!("mine")),
        ]));
        assert_eq!((cancelled.client_id.as_str(), cancelled.status), ("mine", OrderStatus::Canceled));
        let expired = report(execution(&[
            ("x", json!("EXPIRED")),
            ("X", json!("EXPIRED")),
            ("eR", json!("OCO_TRIGGER")),
        ]));
        assert_eq!(expired.reason.as_deref(), Some("OCO_TRIGGER"));
        let rejected = report(execution(&[
            ("x", json!("REJECTED")),
            ("X", json!("REJECTED")),
            ("r", json!("INSUFFICIENT_BALANCES")),
        ]));
        assert_eq!(rejected.reason.as_deref(), Some("INSUFFICIENT_BALANCES"));
    }

    #[test]
    fn balances_transfers_ends_and_novelties() {
        let balances =
            event(json!({"subscriptionId": 0, "event": {"e": "outboundAccountPosition", "E": 9, "u": 8,
            "B": [{"a": "ETH", "f": "10000.000000", "l": "0.5"}]}}));
        let held =
            Balance { asset: "ETH".to_owned(), free: Decimal::from(10_000), locked: Decimal::new(5, 1) };
        let expected = AccountEvent::Balances { balances: vec![held], update_ms: 8 };
        assert_eq!(balances, Ok(UserMessage::Event(expected)));
        let transfer = event(json!({"e": "balanceUpdate", "E": 1, "a": "BTC", "d": "-100.5", "T": 3}));
        let expected =
            AccountEvent::Transfer { asset: "BTC".to_owned(), delta: Decimal::new(-1005, 1), time_ms: 3 };
        assert_eq!(transfer, Ok(UserMessage::Event(expected)));
        for (name, expected) in [
            ("eventStreamTerminated", UserMessage::Terminated),
            ("serverShutdown", UserMessage::Shutdown),
            ("listStatus", UserMessage::Other),
            ("of next year", UserMessage::Other),
        ] {
            assert_eq!(event(json!({"event": {"e": name, "E": 1}})), Ok(expected), "{name}");
        }
        assert!(event(execution(&[("o", json!("PEGGED"))])).is_err());
        assert!(event(execution(&[("q", json!("much"))])).is_err());
    }
}
