//! Cancels and amendments.

use rust_decimal::Decimal;

use super::book::Order;
use super::reject::text;
use super::{Change, OrderRef, Reject, Simulator, Told};
use crate::client_id::ClientId;
use crate::order::OrderStatus;
use crate::symbol::Symbol;

/// What a cancelled order may have done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelRestriction {
    /// Nothing: only an order without fills is cancelled.
    OnlyNew,
    /// Something: only an order with fills is cancelled.
    OnlyPartiallyFilled,
}

/// What a cancel took off the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canceled {
    /// A single order, by its number.
    Order(i64),
    /// A list with all of its orders, by its number.
    List(i64),
}

impl Simulator {
    /// Cancels an open order, and with one of a list the whole list.
    ///
    /// # Errors
    /// -2011 where no such order is open, or where `restriction` spares it.
    pub fn cancel(
        &mut self,
        symbol: &Symbol,
        target: &OrderRef,
        cancel_id: &ClientId,
        restriction: Option<CancelRestriction>,
    ) -> Result<Canceled, Reject> {
        let order = self.find(symbol, target)?.filter(|order| order.is_open());
        let order = order.ok_or_else(|| Reject::cancel(text::UNKNOWN_ORDER))?;
        let is_spared = match restriction {
            None => false,
            Some(CancelRestriction::OnlyNew) => order.status == OrderStatus::PartiallyFilled,
            Some(CancelRestriction::OnlyPartiallyFilled) => order.status != OrderStatus::PartiallyFilled,
        };
        if is_spared {
            return Err(Reject::cancel(text::RESTRICTED));
        }
        let (order_id, list_id) = (order.order_id, order.list_id);
        let canceled = match list_id {
            Some(list_id) => self.cancel_list_number(list_id, cancel_id),
            None => {
                self.cancel_one(symbol, order_id, cancel_id);
                Canceled::Order(order_id)
            }
        };
        self.tell_balances();
        Ok(canceled)
    }

    /// Cancels an open list, named by its number or by its owner's id, and gives its number.
    ///
    /// # Errors
    /// -2011 where no such list is open.
    pub fn cancel_list(
        &mut self,
        symbol: &Symbol,
        target: &OrderRef,
        cancel_id: &ClientId,
    ) -> Result<i64, Reject> {
        if !self.instruments.contains_key(symbol) {
            return Err(Reject::invalid_symbol());
        }
        let list = self.find_list(target).filter(|list| !list.is_done && list.symbol == *symbol);
        let order_list_id = list.ok_or_else(|| Reject::cancel(text::UNKNOWN_ORDER))?.order_list_id;
        self.cancel_list_number(order_list_id, cancel_id);
        self.tell_balances();
        Ok(order_list_id)
    }

    /// Cancels everything that is open in a pair, oldest first.
    ///
    /// # Errors
    /// -2011 where nothing is open.
    pub fn cancel_all(&mut self, symbol: &Symbol, cancel_id: &ClientId) -> Result<Vec<Canceled>, Reject> {
        let mut canceled = Vec::new();
        let instrument = self.instruments.get(symbol).ok_or_else(Reject::invalid_symbol)?;
        for order_id in instrument.open.clone() {
            match self.cancel(symbol, &OrderRef::Number(order_id), cancel_id, None) {
                Ok(done) => canceled.push(done),
                // An order that went with its list.
                Err(_) => continue,
            }
        }
        if canceled.is_empty() { Err(Reject::cancel(text::UNKNOWN_ORDER)) } else { Ok(canceled) }
    }

    /// Makes an open order smaller without losing its place, under `new_id`; gives its number.
    ///
    /// # Errors
    /// -2013 for no such order, -2038 where it is not open or `quantity` is not below its quantity and above its fills, -1013
    /// for a filter, -2010 for an id that another open order has.
    pub fn amend(
        &mut self,
        symbol: &Symbol,
        target: &OrderRef,
        quantity: Decimal,
        new_id: &ClientId,
    ) -> Result<i64, Reject> {
        let order = self.find(symbol, target)?.ok_or_else(Reject::no_such_order)?;
        let amend = |words: &str| Reject::new(-2038, words);
        if !order.is_open() {
            return Err(amend("Order is not open and cannot be amended."));
        }
        if quantity >= order.original_quantity {
            return Err(amend(match quantity == order.original_quantity {
                true => "The requested action would change no state; rejecting.",
                false => "Order amend (quantity increase) is not supported.",
            }));
        }
        if quantity <= order.executed_quantity {
            return Err(amend("The new quantity must be above the executed quantity."));
        }
        let instrument = self.instruments.get(symbol).ok_or_else(Reject::invalid_symbol)?;
        let reference = instrument.last.unwrap_or_default();
        instrument.rules.check(order.side, &order.kind, quantity, reference)?;
        let is_taken = instrument.find(new_id).is_some_and(|o| o.is_open() && o.order_id != order.order_id);
        if is_taken {
            return Err(Reject::order(text::DUPLICATE));
        }
        let (order_id, key, side, old_id) =
            (order.order_id, order.lock_key, order.side, order.client_id.clone());
        if let Some(instrument) = self.instruments.get_mut(symbol) {
            if let Some(order) = instrument.orders.get_mut(&order_id) {
                order.original_quantity = quantity;
                order.client_id = new_id.clone();
            }
            if *new_id != old_id {
                instrument.by_client.entry(new_id.clone()).or_default().push(order_id);
            }
        }
        self.relock(symbol, key, side);
        let told = Told { request_id: Some(old_id), fill: None };
        self.tell(symbol, order_id, Change::Replaced, told);
        self.tell_balances();
        Ok(order_id)
    }

    fn cancel_list_number(&mut self, order_list_id: i64, cancel_id: &ClientId) -> Canceled {
        let (symbol, orders) = match self.lists.get(&order_list_id) {
            Some(list) => (list.symbol.clone(), list.orders.clone()),
            None => return Canceled::List(order_list_id),
        };
        for order_id in orders {
            self.cancel_one(&symbol, order_id, cancel_id);
        }
        Canceled::List(order_list_id)
    }

    fn cancel_one(&mut self, symbol: &Symbol, order_id: i64, cancel_id: &ClientId) {
        if self.close(symbol, order_id, OrderStatus::Canceled, None) {
            let told = Told { request_id: Some(cancel_id.clone()), fill: None };
            self.tell(symbol, order_id, Change::Canceled, told);
            self.end_list(symbol, order_id);
        }
    }

    /// The order a request means; `None` if there is none.
    ///
    /// # Errors
    /// -1121 for a pair that is not traded here, -2039 for a number and an id of different orders.
    pub(super) fn find(&self, symbol: &Symbol, target: &OrderRef) -> Result<Option<&Order>, Reject> {
        let instrument = self.instruments.get(symbol).ok_or_else(Reject::invalid_symbol)?;
        match target {
            OrderRef::Number(order_id) => Ok(instrument.orders.get(order_id)),
            OrderRef::Client(client_id) => Ok(instrument.find(client_id)),
            OrderRef::Both(order_id, client_id) => match instrument.orders.get(order_id) {
                Some(order) if order.client_id != *client_id => {
                    Err(Reject::new(-2039, "Client order ID is not correct for this order ID."))
                }
                found => Ok(found),
            },
        }
    }
}
