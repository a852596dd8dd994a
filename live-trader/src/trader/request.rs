//! What the trader can send.
//!
//! A [`Request`] holds the only commands that reach the exchange. One that buys is made of the risk gate's leave ([`Passed`])
//! and of nothing else; all others sell, cancel or ask.

use rust_decimal::Decimal;

use crate::client_id::ClientId;
use crate::order::{Bracket, Leg, NewList, NewOrder, OrderKind, OrderSide, Quantity};
use crate::risk::Passed;
use crate::symbol::Symbol;
use crate::venue::Command;

/// A command. Its field is private: this module's functions are all there is to make one.
pub(super) struct Request(Command);

/// Legs that are to sell what an entry has bought.
pub(super) struct PendingLegs {
    pub(super) list_id: ClientId,
    /// Base units of each.
    pub(super) quantity: Decimal,
    /// One, or the target and the stop.
    pub(super) legs: Vec<Leg>,
}

impl Request {
    /// A purchase that the gate let pass.
    pub(super) fn buy(passed: Passed, client_id: ClientId, kind: OrderKind) -> Request {
        Request(Command::Place(purchase(&passed, client_id, kind)))
    }

    /// A purchase that the gate let pass, in one list with the legs that its fill brings live; alone where there are none.
    pub(super) fn buy_protected(
        passed: Passed,
        client_id: ClientId,
        kind: OrderKind,
        pending: PendingLegs,
    ) -> Request {
        let working = purchase(&passed, client_id, kind);
        let symbol = working.symbol.clone();
        let PendingLegs { list_id, quantity, legs } = pending;
        let mut legs = legs.into_iter();
        match (legs.next(), legs.next()) {
            (Some(above), Some(below)) => {
                let bracket = Bracket { side: OrderSide::Sell, quantity, above, below };
                Request(Command::PlaceList(NewList::Otoco { symbol, list_id, working, bracket }))
            }
            (Some(leg), None) => {
                let pending = sale(symbol.clone(), leg.client_id, leg.kind, quantity);
                Request(Command::PlaceList(NewList::Oto { symbol, list_id, working, pending }))
            }
            (None, _) => Request(Command::Place(working)),
        }
    }

    /// A sale.
    pub(super) fn sell(symbol: &Symbol, client_id: ClientId, kind: OrderKind, quantity: Decimal) -> Request {
        Request(Command::Place(sale(symbol.clone(), client_id, kind, quantity)))
    }

    /// A target and a stop that cancel each other.
    pub(super) fn sell_either(
        symbol: &Symbol,
        list_id: ClientId,
        quantity: Decimal,
        above: Leg,
        below: Leg,
    ) -> Request {
        let bracket = Bracket { side: OrderSide::Sell, quantity, above, below };
        Request(Command::PlaceList(NewList::Oco { symbol: symbol.clone(), list_id, bracket }))
    }

    pub(super) fn cancel(symbol: &Symbol, target: ClientId, cancel_id: ClientId) -> Request {
        Request(Command::Cancel { symbol: symbol.clone(), target, cancel_id })
    }

    pub(super) fn order(symbol: &Symbol, client_id: ClientId) -> Request {
        Request(Command::QueryOrder { symbol: symbol.clone(), client_id })
    }

    pub(super) fn fills(symbol: &Symbol, from_id: Option<i64>, from_ms: i64) -> Request {
        Request(Command::Fills { symbol: symbol.clone(), from_id, from_ms })
    }

    pub(super) fn open_orders() -> Request {
        Request(Command::OpenOrders { symbol: None })
    }

    pub(super) fn account() -> Request {
        Request(Command::Account)
    }

    pub(super) fn command(&self) -> &Command {
        &self.0
    }

    pub(super) fn into_command(self) -> Command {
        self.0
    }
}

fn purchase(passed: &Passed, client_id: ClientId, kind: OrderKind) -> NewOrder {
    let proposal = passed.proposal();
    NewOrder {
        symbol: proposal.symbol.clone(),
        client_id,
        side: proposal.side,
        kind,
        quantity: Quantity::Base(proposal.quantity),
    }
}

fn sale(symbol: Symbol, client_id: ClientId, kind: OrderKind, quantity: Decimal) -> NewOrder {
    NewOrder { symbol, client_id, side: OrderSide::Sell, kind, quantity: Quantity::Base(quantity) }
}
