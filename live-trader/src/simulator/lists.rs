//! Order lists: which orders they make, and what the end of one does to the others.

use super::book::{Contingency, List, LockKey};
use super::matching::reason;
use super::{Change, Event, ListChange, Simulator, Told};
use crate::client_id::ClientId;
use crate::order::{Bracket, NewList, NewOrder, OrderKind, OrderSide, OrderStatus, Quantity};
use crate::simulator::reject::{Reject, text};
use crate::symbol::Symbol;

impl Simulator {
    /// Ids of a list's orders.
    pub(super) fn client_ids(&self, list: &List) -> Vec<ClientId> {
        let id = |order_id: &i64| Some(self.order_by_number(&list.symbol, *order_id)?.client_id.clone());
        list.orders.iter().filter_map(id).collect()
    }

    pub(super) fn tell_list(&mut self, order_list_id: i64) {
        let time_ms = self.now_ms;
        let Some(list) = self.lists.get_mut(&order_list_id) else {
            return;
        };
        list.updated_ms = time_ms;
        let list = list.clone();
        let client_ids = self.client_ids(&list);
        self.events.push(Event::List(Box::new(ListChange { list, client_ids, time_ms })));
    }

    /// A leg that was triggered or has traded ends the other one.
    pub(super) fn end_other_leg(&mut self, symbol: &Symbol, order_id: i64) {
        let Some(list) = self.list_of(symbol, order_id).filter(|list| list.legs.contains(&order_id)) else {
            return;
        };
        let others: Vec<i64> = list.legs.iter().copied().filter(|leg| *leg != order_id).collect();
        for leg in others {
            if self.close(symbol, leg, OrderStatus::Expired, Some(reason::OCO_TRIGGER)) {
                self.tell(symbol, leg, Change::Expired, Told::default());
            }
        }
    }

    /// The end of a working order without its whole fill ends what waits for it.
    pub(super) fn end_pending(&mut self, symbol: &Symbol, order_id: i64) {
        for pending in self.pending_of(symbol, order_id) {
            if self.close(symbol, pending, OrderStatus::Expired, Some(reason::PHASE_ONE)) {
                self.tell(symbol, pending, Change::Expired, Told::default());
            }
        }
    }

    /// A working order that has wholly filled brings the others of its list to life. Funds that are not there end them: a fee
    /// taken from what was bought can be the reason.
    pub(super) fn activate_pending(&mut self, symbol: &Symbol, order_id: i64) {
        let pending = self.pending_of(symbol, order_id);
        let (now_ms, alive_ms) = (self.now_ms, self.alive_from_ms());
        let mut locks = Vec::new();
        for &id in &pending {
            let Some(order) = self.order_mut(symbol, id) else { continue };
            order.status = OrderStatus::New;
            order.working_ms = order.is_triggered.then_some(now_ms);
            order.alive_ms = alive_ms;
            locks.push((order.lock_key, order.side));
        }
        let is_paid = locks.iter().all(|&(key, side)| self.relock(symbol, key, side));
        for &id in &pending {
            if is_paid {
                self.tell(symbol, id, Change::New, Told::default());
            } else if self.close(symbol, id, OrderStatus::Expired, Some(reason::REJECTED)) {
                self.tell(symbol, id, Change::Expired, Told::default());
            }
        }
        for &id in &pending {
            if self.order_by_number(symbol, id).is_some_and(super::Order::is_live) {
                self.match_now(symbol, id);
            }
        }
    }

    /// Says that a list is done once none of its orders is open.
    pub(super) fn end_list(&mut self, symbol: &Symbol, order_id: i64) {
        let Some(list) = self.list_of(symbol, order_id) else {
            return;
        };
        let order_list_id = list.order_list_id;
        let is_open = |id: &i64| self.order_by_number(symbol, *id).is_some_and(super::Order::is_open);
        if list.is_done || list.orders.iter().any(is_open) {
            return;
        }
        if let Some(list) = self.lists.get_mut(&order_list_id) {
            list.is_done = true;
        }
        self.tell_list(order_list_id);
    }

    pub(super) fn list_of(&self, symbol: &Symbol, order_id: i64) -> Option<&List> {
        self.lists.get(&self.order_by_number(symbol, order_id)?.list_id?)
    }

    fn pending_of(&self, symbol: &Symbol, order_id: i64) -> Vec<i64> {
        let list = self.list_of(symbol, order_id).filter(|list| list.working == Some(order_id));
        let others = |list: &List| list.orders.iter().copied().filter(|id| *id != order_id).collect();
        list.map(others).unwrap_or_default()
    }
}

/// The orders of a list in the order of its ids, and which part each plays.
pub(super) struct Parts {
    pub(super) contingency: Contingency,
    pub(super) working: Option<NewOrder>,
    pub(super) pending: Option<NewOrder>,
    /// Above, then below.
    pub(super) legs: Vec<NewOrder>,
}

impl Parts {
    pub(super) fn new(list: &NewList) -> Parts {
        let legs = |symbol: &Symbol, bracket: &Bracket| {
            [&bracket.above, &bracket.below]
                .map(|leg| NewOrder {
                    symbol: symbol.clone(),
                    client_id: leg.client_id.clone(),
                    side: bracket.side,
                    kind: leg.kind,
                    quantity: Quantity::Base(bracket.quantity),
                })
                .to_vec()
        };
        match list {
            NewList::Oco { symbol, bracket, .. } => Parts {
                contingency: Contingency::Oco,
                working: None,
                pending: None,
                legs: legs(symbol, bracket),
            },
            NewList::Oto { working, pending, .. } => Parts {
                contingency: Contingency::Oto,
                working: Some(working.clone()),
                pending: Some(pending.clone()),
                legs: Vec::new(),
            },
            NewList::Otoco { symbol, working, bracket, .. } => Parts {
                contingency: Contingency::Oto,
                working: Some(working.clone()),
                pending: None,
                legs: legs(symbol, bracket),
            },
        }
    }

    pub(super) fn orders(&self) -> impl Iterator<Item = &NewOrder> {
        self.working.iter().chain(&self.pending).chain(&self.legs)
    }

    /// Types and prices that the exchange takes in a list.
    ///
    /// # Errors
    /// The exchange's refusal.
    pub(super) fn check(&self) -> Result<(), Reject> {
        let working_kind = self.working.as_ref().map(|order| order.kind);
        if !matches!(working_kind, None | Some(OrderKind::Limit { .. } | OrderKind::LimitMaker { .. })) {
            return Err(Reject::order(text::COMBINATION));
        }
        let [above, below] = self.legs.as_slice() else {
            return Ok(());
        };
        let (winning, losing) = match above.side {
            OrderSide::Sell => (above, below),
            OrderSide::Buy => (below, above),
        };
        let is_winning = matches!(
            winning.kind,
            OrderKind::LimitMaker { .. } | OrderKind::TakeProfit { .. } | OrderKind::TakeProfitLimit { .. }
        );
        let is_losing = matches!(losing.kind, OrderKind::StopLoss { .. } | OrderKind::StopLossLimit { .. });
        if !is_winning || !is_losing {
            return Err(Reject::order(text::COMBINATION));
        }
        match level(above) > level(below) {
            true => Ok(()),
            false => Err(Reject::order(text::RELATIONSHIP)),
        }
    }
}

/// Where a leg meets the market: its trigger, of a limit its price.
pub(super) fn level(order: &NewOrder) -> rust_decimal::Decimal {
    order.kind.stop_price().or(order.kind.price()).unwrap_or_default()
}

/// Under which key a part of a list locks its funds.
pub(super) fn lock_key(is_leg: bool, order_id: i64, order_list_id: i64) -> LockKey {
    if is_leg { LockKey::List(order_list_id) } else { LockKey::Order(order_id) }
}
