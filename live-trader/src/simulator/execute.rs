//! The seam's commands, done.

use super::book::PartialFill;
use super::{Canceled, OrderRef, Reject, Simulator};
use crate::symbol::Symbol;
use crate::venue::{Answer, Command, Response, VenueError};

impl Simulator {
    /// Does a command and answers it. What it changes is told by [`Simulator::take_events`] too.
    ///
    /// # Errors
    /// [`VenueError::Refused`] and [`VenueError::NotFound`] only: nothing here is uncertain.
    pub fn execute(&mut self, command: &Command) -> Answer {
        self.execute_with(command, None)
    }

    /// [`Simulator::execute`], where orders that are placed fill in parts at first.
    ///
    /// # Errors
    /// As [`Simulator::execute`].
    pub fn execute_with(&mut self, command: &Command, partial: Option<PartialFill>) -> Answer {
        self.respond(command, partial).map_err(VenueError::from)
    }

    fn respond(&mut self, command: &Command, partial: Option<PartialFill>) -> Result<Response, Reject> {
        match command {
            Command::Place(new) => {
                let order_id = self.place(new, partial)?;
                self.order_response(&new.symbol, order_id, true)
            }
            Command::PlaceList(list) => {
                let order_list_id = self.place_list(list, partial)?;
                self.list_response(&OrderRef::Number(order_list_id), None, true)
            }
            Command::Cancel { symbol, target, cancel_id } => {
                match self.cancel(symbol, &OrderRef::Client(target.clone()), cancel_id, None)? {
                    Canceled::Order(order_id) => self.order_response(symbol, order_id, false),
                    Canceled::List(list) => self.list_response(&OrderRef::Number(list), None, true),
                }
            }
            Command::CancelList { symbol, list_id, cancel_id } => {
                let list = self.cancel_list(symbol, &OrderRef::Client(list_id.clone()), cancel_id)?;
                self.list_response(&OrderRef::Number(list), None, true)
            }
            Command::QueryOrder { symbol, client_id } => {
                let order = self.order(symbol, &OrderRef::Client(client_id.clone()))?;
                Ok(Response::Order(order.report(Vec::new())))
            }
            Command::QueryList { symbol, list_id } => {
                self.list_response(&OrderRef::Client(list_id.clone()), Some(symbol), false)
            }
            Command::OpenOrders { symbol } => {
                let open = self.open_orders(symbol.as_ref())?;
                Ok(Response::Orders(open.into_iter().map(|order| order.report(Vec::new())).collect()))
            }
            Command::Fills { symbol, from_id, from_ms } => {
                let is_wanted = |fill: &crate::order::Fill| match from_id {
                    Some(from_id) => fill.trade_id >= *from_id,
                    None => fill.time_ms >= *from_ms,
                };
                let fills = self.trades(symbol)?.map(|trade| trade.fill).filter(is_wanted);
                Ok(Response::Fills(fills.collect()))
            }
            Command::Account => Ok(Response::Account(self.account())),
        }
    }

    fn order_response(&self, symbol: &Symbol, order_id: i64, with_fills: bool) -> Result<Response, Reject> {
        let order = self.order(symbol, &OrderRef::Number(order_id))?;
        let fills = if with_fills { order.fills.clone() } else { Vec::new() };
        Ok(Response::Order(order.report(fills)))
    }

    fn list_response(
        &self,
        target: &OrderRef,
        symbol: Option<&Symbol>,
        is_full: bool,
    ) -> Result<Response, Reject> {
        let list = self.find_list(target).filter(|list| symbol.is_none_or(|symbol| list.symbol == *symbol));
        let list = list.ok_or_else(Reject::no_such_order)?;
        Ok(Response::List(self.list_report(list, is_full)))
    }
}
