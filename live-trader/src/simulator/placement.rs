//! New orders and lists: what the exchange checks, in its order, and how an order gets on the book.

use rust_decimal::Decimal;

use super::book::{List, LockKey, Order, PartialFill, ceil};
use super::lists::{Parts, level, lock_key};
use super::matching::{cost, is_marketable};
use super::reject::text;
use super::{Change, NUMBER_MAX, Reject, Simulator, Told, decimal};
use crate::client_id::ClientId;
use crate::filters::SymbolStatus;
use crate::order::{NewList, NewOrder, OrderKind, OrderSide, OrderStatus, Quantity};
use crate::symbol::Symbol;

/// How a request names an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderRef {
    /// By the exchange's number.
    Number(i64),
    /// By its owner's id: the open order of that id, else the newest one.
    Client(ClientId),
    /// By both, which must belong together.
    Both(i64, ClientId),
}

impl Simulator {
    /// Places an order and gives its number; `partial` splits its first meeting with the market.
    ///
    /// # Errors
    /// The exchange's refusal; nothing was done then.
    pub fn place(&mut self, order: &NewOrder, partial: Option<PartialFill>) -> Result<i64, Reject> {
        let (quantity, ids) = (self.check(order, &[])?, std::slice::from_ref(&order.client_id));
        self.check_counts(&order.symbol, std::slice::from_ref(order), false)?;
        self.check_unique(&order.symbol, ids)?;
        self.check_at_market(order)?;
        self.check_funds(order, quantity)?;
        let order_id = self.insert(order, quantity, partial, OrderStatus::New, None);
        self.begin(&order.symbol, &[order_id]);
        self.tell_balances();
        Ok(order_id)
    }

    /// What [`Simulator::place`] would check, without placing.
    ///
    /// # Errors
    /// The exchange's refusal.
    pub fn test(&self, order: &NewOrder) -> Result<(), Reject> {
        self.check(order, &[])?;
        self.check_counts(&order.symbol, std::slice::from_ref(order), false)
    }

    /// Places a list and gives its number; `partial` splits the first meeting of each of its orders with the market.
    ///
    /// # Errors
    /// The exchange's refusal; nothing was done then.
    pub fn place_list(&mut self, list: &NewList, partial: Option<PartialFill>) -> Result<i64, Reject> {
        let parts = Parts::new(list);
        let symbol = list.symbol().clone();
        self.check_allowed(list)?;
        let ids: Vec<ClientId> = list.client_ids();
        let mut quantities = Vec::new();
        for order in parts.orders() {
            quantities.push(self.check(order, &ids)?);
        }
        parts.check()?;
        let orders: Vec<NewOrder> = parts.orders().cloned().collect();
        self.check_counts(&symbol, &orders, true)?;
        self.check_unique(&symbol, &ids)?;
        if self.lists.values().any(|open| !open.is_done && open.list_id == *list.list_id()) {
            return Err(Reject::order(text::DUPLICATE));
        }
        self.check_first(&parts, &quantities)?;
        Ok(self.insert_list(list, &parts, &quantities, partial))
    }

    fn check_allowed(&self, list: &NewList) -> Result<(), Reject> {
        let rules = &self.instruments.get(list.symbol()).ok_or_else(Reject::invalid_symbol)?.rules;
        let is_allowed = match list {
            NewList::Oco { .. } => rules.oco_allowed,
            NewList::Oto { .. } => rules.oto_allowed,
            NewList::Otoco { .. } => rules.oto_allowed && rules.oco_allowed,
        };
        if is_allowed { Ok(()) } else { Err(Reject::order(text::COMBINATION)) }
    }

    /// What goes live at once must fit the market and the funds: the working order, or the legs on both sides of the price.
    fn check_first(&self, parts: &Parts, quantities: &[Decimal]) -> Result<(), Reject> {
        if let (Some(working), Some(quantity)) = (&parts.working, quantities.first()) {
            self.check_at_market(working)?;
            return self.check_funds(working, *quantity);
        }
        let [above, below] = parts.legs.as_slice() else {
            return Ok(());
        };
        let last = self.last_price(&above.symbol).ok_or_else(|| Reject::order(text::CLOSED))?;
        if level(above) <= last || level(below) >= last {
            return Err(Reject::order(text::RELATIONSHIP));
        }
        for (leg, quantity) in parts.legs.iter().zip(quantities) {
            self.check_funds(leg, *quantity)?;
        }
        Ok(())
    }

    fn insert_list(
        &mut self,
        list: &NewList,
        parts: &Parts,
        quantities: &[Decimal],
        partial: Option<PartialFill>,
    ) -> i64 {
        let order_list_id = self.lists.last_key_value().map_or(1, |(id, _)| id + 1);
        let symbol = list.symbol().clone();
        let has_working = parts.working.is_some();
        let (mut orders, mut legs, mut live) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (order, quantity)) in parts.orders().zip(quantities).enumerate() {
            let is_live = !has_working || at == 0;
            let is_leg = !(has_working && at == 0) && parts.pending.is_none();
            let status = if is_live { OrderStatus::New } else { OrderStatus::PendingNew };
            let order_id = self.insert(order, *quantity, partial, status, Some((order_list_id, is_leg)));
            orders.push(order_id);
            if is_leg {
                legs.push(order_id);
            }
            if is_live {
                live.push(order_id);
            }
        }
        let list = List {
            order_list_id,
            symbol: symbol.clone(),
            list_id: list.list_id().clone(),
            contingency: parts.contingency,
            working: orders.first().copied().filter(|_| has_working),
            orders,
            updated_ms: self.now_ms,
            is_done: false,
            legs,
        };
        let all = list.orders.clone();
        self.lists.insert(order_list_id, list);
        self.tell_list(order_list_id);
        for order_id in all.iter().filter(|id| !live.contains(id)) {
            self.tell(&symbol, *order_id, Change::New, Told::default());
        }
        self.begin(&symbol, &live);
        self.tell_balances();
        order_list_id
    }

    /// Locks funds for orders that are live from now on, tells them, and lets them meet the market.
    fn begin(&mut self, symbol: &Symbol, live: &[i64]) {
        for &order_id in live {
            if let Some((key, side)) = self.order_by_number(symbol, order_id).map(|o| (o.lock_key, o.side)) {
                self.relock(symbol, key, side);
            }
            self.tell(symbol, order_id, Change::New, Told::default());
        }
        for &order_id in live {
            if self.order_by_number(symbol, order_id).is_some_and(Order::is_live) {
                self.match_now(symbol, order_id);
            }
        }
    }

    fn insert(
        &mut self,
        new: &NewOrder,
        quantity: Decimal,
        partial: Option<PartialFill>,
        status: OrderStatus,
        list: Option<(i64, bool)>,
    ) -> i64 {
        let now_ms = self.stamp();
        let alive_ms = self.alive_from_ms();
        let Some(instrument) = self.instruments.get_mut(&new.symbol) else {
            return 0;
        };
        let order_id = instrument.next_order_id();
        let is_triggered = new.kind.stop_price().is_none();
        instrument.insert(Order {
            symbol: new.symbol.clone(),
            client_id: new.client_id.clone(),
            order_id,
            list_id: list.map(|(id, _)| id),
            side: new.side,
            kind: new.kind,
            original_quantity: quantity,
            quote_quantity: match new.quantity {
                Quantity::Quote(amount) => Some(amount),
                Quantity::Base(_) => None,
            },
            executed_quantity: Decimal::ZERO,
            executed_quote: Decimal::ZERO,
            status,
            is_triggered,
            created_ms: now_ms,
            updated_ms: now_ms,
            working_ms: (is_triggered && status == OrderStatus::New).then_some(now_ms),
            alive_ms,
            reason: None,
            fills: Vec::new(),
            partial,
            lock_key: list.map_or(LockKey::Order(order_id), |(id, is_leg)| lock_key(is_leg, order_id, id)),
        });
        order_id
    }

    /// Checks an order by itself against status and filters, and gives its base quantity.
    fn check(&self, order: &NewOrder, siblings: &[ClientId]) -> Result<Decimal, Reject> {
        let rules = &self.instruments.get(&order.symbol).ok_or_else(Reject::invalid_symbol)?.rules;
        let last = self.last_price(&order.symbol);
        let last = last.filter(|_| rules.status == SymbolStatus::Trading);
        let last = last.ok_or_else(|| Reject::order(text::CLOSED))?;
        if siblings.iter().filter(|id| **id == order.client_id).count() > 1 {
            return Err(Reject::order(text::DUPLICATE));
        }
        for price in [order.kind.price(), order.kind.stop_price()].into_iter().flatten() {
            if price <= Decimal::ZERO {
                return Err(Reject::order(text::ZERO));
            }
            if price > NUMBER_MAX {
                return Err(Reject::filter("PRICE_FILTER"));
            }
        }
        let quantity = match order.quantity {
            Quantity::Base(quantity) if quantity > NUMBER_MAX => return Err(Reject::filter("LOT_SIZE")),
            Quantity::Base(quantity) if quantity <= Decimal::ZERO => return Err(Reject::order(text::ZERO)),
            Quantity::Base(quantity) => quantity,
            Quantity::Quote(_) if order.kind != OrderKind::Market => {
                return Err(Reject::order(text::COMBINATION));
            }
            Quantity::Quote(_) if !rules.quote_quantity_allowed => {
                return Err(Reject::order("Quote order qty market orders are not support for this symbol."));
            }
            Quantity::Quote(amount) if amount > NUMBER_MAX => return Err(Reject::filter("NOTIONAL")),
            Quantity::Quote(amount) => {
                let price = self.market_price(order.side, last);
                rules.floor_quantity(&order.kind, amount / price)
            }
        };
        rules.check(order.side, &order.kind, quantity, last)?;
        Ok(quantity)
    }

    /// Numbers of open orders and lists, and the position that orders to buy could make.
    fn check_counts(&self, symbol: &Symbol, new: &[NewOrder], is_list: bool) -> Result<(), Reject> {
        let instrument = self.instruments.get(symbol).ok_or_else(Reject::invalid_symbol)?;
        let rules = &instrument.rules;
        let exceeds = |limit: Option<u32>, count: usize| limit.is_some_and(|limit| count > limit as usize);
        if exceeds(rules.max_orders, instrument.open.len() + new.len()) {
            return Err(Reject::filter("MAX_NUM_ORDERS"));
        }
        let new_algos = new.iter().filter(|order| order.kind.stop_price().is_some()).count();
        let algos = instrument.open_orders().filter(|order| order.is_algo()).count();
        if new_algos > 0 && exceeds(rules.max_algo_orders, algos + new_algos) {
            return Err(Reject::filter("MAX_NUM_ALGO_ORDERS"));
        }
        let lists = self.lists.values().filter(|list| !list.is_done && list.symbol == *symbol).count();
        if is_list && exceeds(rules.max_order_lists, lists + 1) {
            return Err(Reject::filter("MAX_NUM_ORDER_LISTS"));
        }
        if let Some(max) = rules.max_position {
            let buying: Decimal = instrument
                .open_orders()
                .filter(|order| order.side == OrderSide::Buy)
                .map(Order::remaining)
                .sum();
            let wanted: Decimal = new
                .iter()
                .filter(|order| order.side == OrderSide::Buy)
                .map(|order| match order.quantity {
                    Quantity::Base(quantity) => quantity,
                    Quantity::Quote(_) => Decimal::ZERO,
                })
                .sum();
            if wanted > Decimal::ZERO && self.ledger.total(&rules.base_asset) + buying + wanted > max {
                return Err(Reject::filter("MAX_POSITION"));
            }
        }
        Ok(())
    }

    /// Ids are unique among open orders only.
    fn check_unique(&self, symbol: &Symbol, ids: &[ClientId]) -> Result<(), Reject> {
        let is_open = |id| {
            let found = self.instruments.get(symbol).and_then(|instrument| instrument.find(id));
            found.is_some_and(Order::is_open)
        };
        if ids.iter().any(is_open) { Err(Reject::order(text::DUPLICATE)) } else { Ok(()) }
    }

    fn check_at_market(&self, order: &NewOrder) -> Result<(), Reject> {
        let last = self.last_price(&order.symbol).ok_or_else(|| Reject::order(text::CLOSED))?;
        match (order.kind, order.kind.stop_price()) {
            (OrderKind::LimitMaker { price }, _) if is_marketable(order.side, price, last) => {
                Err(Reject::order(text::WOULD_MATCH))
            }
            (kind, Some(stop)) => {
                let is_stop = matches!(kind, OrderKind::StopLoss { .. } | OrderKind::StopLossLimit { .. });
                let is_above = is_stop == (order.side == OrderSide::Buy);
                let is_reached = if is_above { last >= stop } else { last <= stop };
                if is_reached { Err(Reject::order(text::WOULD_TRIGGER)) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn check_funds(&self, order: &NewOrder, quantity: Decimal) -> Result<(), Reject> {
        let instrument = self.instruments.get(&order.symbol).ok_or_else(Reject::invalid_symbol)?;
        let slippage = decimal(self.settings.slippage).unwrap_or_default();
        let last = instrument.last.unwrap_or_default();
        let need = match order.side {
            OrderSide::Sell => quantity,
            OrderSide::Buy => match (order.kind.price(), order.kind.stop_price()) {
                (Some(price), _) => cost(price, quantity),
                (None, Some(stop)) => ceil(stop * (Decimal::ONE + slippage) * quantity),
                (None, None) => cost(self.market_price(order.side, last), quantity),
            },
        };
        match need <= self.ledger.free(instrument.lock_asset(order.side)) {
            true => Ok(()),
            false => Err(Reject::order(text::NO_BALANCE)),
        }
    }
}
