//! What can be looked up.

use polybolos_engine::signals::Bar;
use rust_decimal::Decimal;

use super::book::{List, Order};
use super::{OrderRef, Reject, Simulator};
use crate::client_id::ClientId;
use crate::filters::SymbolRules;
use crate::order::{Fill, OrderSide};
use crate::symbol::Symbol;
use crate::venue::{Account, Balance, ListReport};

/// A fill with what its order says of it.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub struct TradeRecord {
    pub symbol: Symbol,
    pub side: OrderSide,
    /// The exchange's number of the order's list.
    pub list_id: Option<i64>,
    pub fill: Fill,
}

impl Simulator {
    /// Rules of all pairs, by name.
    pub fn rules(&self) -> impl Iterator<Item = &SymbolRules> {
        self.instruments.values().map(|instrument| &instrument.rules)
    }

    /// The last price of a pair; `None` before its first one.
    pub fn price(&self, symbol: &Symbol) -> Option<Decimal> {
        self.last_price(symbol)
    }

    /// Published bars of a pair, newest last: at most `limit` of those that open from `from_ms` to `to_ms`; from the beginning of
    /// that range when `from_ms` is given, else up to its end.
    ///
    /// # Errors
    /// -1121 for a pair that is not traded here.
    pub fn bars(
        &self,
        symbol: &Symbol,
        from_ms: Option<i64>,
        to_ms: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Bar>, Reject> {
        let instrument = self.instruments.get(symbol).ok_or_else(Reject::invalid_symbol)?;
        let times = instrument.bars.open_time_ms.get(..instrument.published).unwrap_or_default();
        let first = from_ms.map_or(0, |from_ms| times.partition_point(|&open_ms| open_ms < from_ms));
        let end = to_ms.map_or(times.len(), |to_ms| times.partition_point(|&open_ms| open_ms <= to_ms));
        let (first, end) = match from_ms {
            Some(_) => (first, end.min(first.saturating_add(limit))),
            None => (end.saturating_sub(limit), end),
        };
        Ok((first..end).filter_map(|t| Bar::at(&instrument.bars, t)).collect())
    }

    /// Number of the newest change of a pair's orders; 0 before the first.
    pub fn last_execution_id(&self, symbol: &Symbol) -> i64 {
        self.instruments.get(symbol).map_or(0, |instrument| instrument.last_execution_id)
    }

    /// An order.
    ///
    /// # Errors
    /// -2013 for none, -1121 for a pair that is not traded here, -2039 for a number and an id of different orders.
    pub fn order(&self, symbol: &Symbol, target: &OrderRef) -> Result<&Order, Reject> {
        self.find(symbol, target)?.ok_or_else(Reject::no_such_order)
    }

    /// Open orders by pair and number.
    ///
    /// # Errors
    /// -1121 for a pair that is not traded here.
    pub fn open_orders(&self, symbol: Option<&Symbol>) -> Result<Vec<&Order>, Reject> {
        if symbol.is_some_and(|symbol| !self.instruments.contains_key(symbol)) {
            return Err(Reject::invalid_symbol());
        }
        let is_wanted = |name: &Symbol| symbol.is_none_or(|symbol| symbol == name);
        let wanted = self.instruments.iter().filter(|(name, _)| is_wanted(name));
        Ok(wanted.flat_map(|(_, instrument)| instrument.open_orders()).collect())
    }

    /// All orders of a pair, oldest first.
    ///
    /// # Errors
    /// -1121 for a pair that is not traded here.
    pub fn all_orders(&self, symbol: &Symbol) -> Result<impl DoubleEndedIterator<Item = &Order>, Reject> {
        let instrument = self.instruments.get(symbol).ok_or_else(Reject::invalid_symbol)?;
        Ok(instrument.orders.values())
    }

    /// All lists, oldest first.
    pub fn all_lists(&self) -> impl DoubleEndedIterator<Item = &List> {
        self.lists.values()
    }

    /// A list, by its number or by its owner's id: the open one of that id, else the newest.
    pub fn find_list(&self, target: &OrderRef) -> Option<&List> {
        match target {
            OrderRef::Number(order_list_id) | OrderRef::Both(order_list_id, _) => {
                self.lists.get(order_list_id)
            }
            OrderRef::Client(id) => {
                let mut named = self.lists.values().rev().filter(|list| list.list_id == *id).peekable();
                let newest = named.peek().copied();
                named.find(|list| !list.is_done).or(newest)
            }
        }
    }

    /// Orders of a list, the working one first.
    pub fn list_orders(&self, list: &List) -> Vec<&Order> {
        list.orders.iter().filter_map(|id| self.order_by_number(&list.symbol, *id)).collect()
    }

    /// A list as a client hears of it, with its orders' reports where `is_full`.
    pub fn list_report(&self, list: &List, is_full: bool) -> ListReport {
        let orders = if is_full { self.list_orders(list) } else { Vec::new() };
        let client_ids: Vec<ClientId> = self.client_ids(list);
        ListReport {
            symbol: list.symbol.clone(),
            list_id: list.list_id.clone(),
            order_list_id: list.order_list_id,
            is_done: list.is_done,
            orders: orders.into_iter().map(|order| order.report(order.fills.clone())).collect(),
            client_ids,
        }
    }

    /// The account's fills of a pair, oldest first.
    ///
    /// # Errors
    /// -1121 for a pair that is not traded here.
    pub fn trades(&self, symbol: &Symbol) -> Result<impl DoubleEndedIterator<Item = TradeRecord>, Reject> {
        let instrument = self.instruments.get(symbol).ok_or_else(Reject::invalid_symbol)?;
        let symbol = symbol.clone();
        Ok(instrument.trades.iter().map(move |(side, list_id, fill)| TradeRecord {
            symbol: symbol.clone(),
            side: *side,
            list_id: *list_id,
            fill: fill.clone(),
        }))
    }

    /// Every asset that the account ever held, by name.
    pub fn balances(&self) -> Vec<Balance> {
        self.ledger.balances()
    }

    /// Commission paid so far, per asset.
    pub fn fees(&self) -> Vec<(String, Decimal)> {
        self.ledger.fees().iter().map(|(asset, fee)| (asset.clone(), *fee)).collect()
    }

    /// The account: balances other than zero, trading allowed, withdrawals not.
    pub fn account(&self) -> Account {
        let is_there = |balance: &Balance| !(balance.free.is_zero() && balance.locked.is_zero());
        let balances = self.balances().into_iter().filter(is_there).collect();
        Account { balances, can_trade: true, can_withdraw: false }
    }
}
