//! Orders at the market: triggers, fills, what they cost, and what their ends do to their lists.

use rust_decimal::Decimal;

use super::book::{LockKey, Order, ceil, floor};
use super::{Change, Simulator, Told, decimal, number};
use crate::order::{Fill, OrderKind, OrderSide, OrderStatus, TimeInForce};
use crate::symbol::Symbol;

/// What fees in BNB cost of the usual ones.
const BNB_DISCOUNT: Decimal = Decimal::from_parts(75, 0, 0, false, 2);

/// Why orders end by themselves, in the exchange's words.
pub(super) mod reason {
    pub(in super::super) const OCO_TRIGGER: &str = "OCO_TRIGGER";
    pub(in super::super) const PHASE_ONE: &str = "OTO_PHASE_ONE_EXPIRED";
    pub(in super::super) const IOC: &str = "UNFILLED_IOC_QUANTITY_EXPIRED";
    pub(in super::super) const FOK: &str = "UNFILLED_FOK_ORDER_EXPIRED";
    pub(in super::super) const LIQUIDITY: &str = "INSUFFICIENT_LIQUIDITY";
    pub(in super::super) const REJECTED: &str = "REJECTED";
}

impl Simulator {
    pub(super) fn last_price(&self, symbol: &Symbol) -> Option<Decimal> {
        self.instruments.get(symbol)?.last
    }

    pub(super) fn order_by_number(&self, symbol: &Symbol, order_id: i64) -> Option<&Order> {
        self.instruments.get(symbol)?.orders.get(&order_id)
    }

    pub(super) fn order_mut(&mut self, symbol: &Symbol, order_id: i64) -> Option<&mut Order> {
        self.instruments.get_mut(symbol)?.orders.get_mut(&order_id)
    }

    /// What an order does at once: a market order trades, a limit that the market has passed trades or, if it may not wait,
    /// expires, and a stop behind the market is triggered.
    pub(super) fn match_now(&mut self, symbol: &Symbol, order_id: i64) {
        let (Some(last), Some(order)) = (self.last_price(symbol), self.order_by_number(symbol, order_id))
        else {
            return;
        };
        if !order.is_triggered {
            let is_behind =
                order.kind.stop_price().is_some_and(|stop| match super::step::triggers_above(order) {
                    true => last >= stop,
                    false => last <= stop,
                });
            if is_behind {
                self.hit(symbol, order_id, true, last);
            }
            return;
        }
        match order.kind.price() {
            None => self.trade(symbol, order_id, last, false),
            Some(price) if is_marketable(order.side, price, last) => {
                self.trade(symbol, order_id, last, false)
            }
            Some(_) => match order.time_in_force() {
                TimeInForce::Gtc => {}
                TimeInForce::Ioc => self.expire(symbol, order_id, reason::IOC),
                TimeInForce::Fok => self.expire(symbol, order_id, reason::FOK),
            },
        }
    }

    /// The market has come to `price`, where an order waits: a stop is triggered, a limit fills.
    pub(super) fn hit(&mut self, symbol: &Symbol, order_id: i64, is_stop: bool, price: Decimal) {
        let Some(instrument) = self.instruments.get_mut(symbol) else {
            return;
        };
        instrument.last = Some(price);
        if !is_stop {
            self.trade(symbol, order_id, price, true);
            return;
        }
        let (now_ms, alive_ms) = (self.now_ms, self.alive_from_ms());
        let Some(order) = self.order_mut(symbol, order_id) else {
            return;
        };
        order.is_triggered = true;
        order.working_ms = Some(now_ms);
        order.alive_ms = alive_ms;
        self.tell(symbol, order_id, Change::New, Told::default());
        self.end_other_leg(symbol, order_id);
        self.match_now(symbol, order_id);
    }

    /// Fills what is left of an order at the market's `price`, in the parts that its placement asked for.
    fn trade(&mut self, symbol: &Symbol, order_id: i64, price: Decimal, is_maker: bool) {
        let Some((first, plan, is_market, time_in_force)) = self.first_part(symbol, order_id) else {
            return;
        };
        let price = if is_market { self.slipped(symbol, order_id, price) } else { price };
        if time_in_force == TimeInForce::Fok && plan.is_some() && !is_market {
            self.expire(symbol, order_id, reason::FOK);
            return;
        }
        self.fill(symbol, order_id, price, first, is_maker);
        let Some(order) = self.order_by_number(symbol, order_id).filter(|order| order.is_live()) else {
            return;
        };
        let rest = order.remaining();
        match plan {
            Some(true) => self.expire(symbol, order_id, reason::LIQUIDITY),
            _ if is_market => self.fill(symbol, order_id, price, rest, is_maker),
            _ if time_in_force == TimeInForce::Ioc => self.expire(symbol, order_id, reason::IOC),
            _ => {}
        }
    }

    /// How much fills at first, whether the rest of a split order expires, whether it is a market order, and how long it
    /// waits.
    fn first_part(
        &mut self,
        symbol: &Symbol,
        order_id: i64,
    ) -> Option<(Decimal, Option<bool>, bool, TimeInForce)> {
        let instrument = self.instruments.get_mut(symbol)?;
        let order = instrument.orders.get_mut(&order_id)?;
        let plan = order.partial.take();
        let whole = order.remaining();
        let part =
            plan.map_or(whole, |plan| instrument.rules.floor_quantity(&order.kind, whole * plan.fraction));
        let is_split = part > Decimal::ZERO && part < whole;
        let first = if is_split { part } else { whole };
        let expires = plan.filter(|_| is_split).map(|plan| plan.expires_rest);
        let is_market = order.kind.price().is_none();
        Some((first, expires, is_market, order.time_in_force()))
    }

    /// The price of a market order's fill: `price` worsened by the slippage, in the backtest's arithmetic.
    fn slipped(&self, symbol: &Symbol, order_id: i64, price: Decimal) -> Decimal {
        let side = self.order_by_number(symbol, order_id).map(|order| order.side);
        self.market_price(side.unwrap_or(OrderSide::Buy), price)
    }

    pub(super) fn market_price(&self, side: OrderSide, price: Decimal) -> Decimal {
        let slippage = self.settings.slippage;
        if slippage == 0.0 {
            return price;
        }
        let worse = match side {
            OrderSide::Buy => number(price) * (1.0 + slippage),
            OrderSide::Sell => number(price) * (1.0 - slippage),
        };
        decimal(worse).unwrap_or(price)
    }

    /// Fills `quantity` at `price`. A stop order to buy that gapped beyond what it had locked buys what there is money for,
    /// and its rest expires.
    fn fill(&mut self, symbol: &Symbol, order_id: i64, price: Decimal, wanted: Decimal, is_maker: bool) {
        let Some(order) = self.order_by_number(symbol, order_id) else {
            return;
        };
        let (side, key, kind) = (order.side, order.lock_key, order.kind);
        let quantity = self.affordable(symbol, side, key, &kind, price, wanted);
        if quantity <= Decimal::ZERO {
            self.expire(symbol, order_id, reason::LIQUIDITY);
            return;
        }
        // Before the funds move: both legs hold the same lock.
        self.end_other_leg(symbol, order_id);
        let quote = floor(price * quantity);
        let (time_ms, alive_ms) = (self.stamp(), self.alive_from_ms());
        let (commission, commission_asset) = self.commission(symbol, side, quantity, quote, is_maker);
        let Some(instrument) = self.instruments.get_mut(symbol) else {
            return;
        };
        let (base, money) = (instrument.rules.base_asset.clone(), instrument.rules.quote_asset.clone());
        let trade_id = instrument.next_trade_id();
        let fill =
            Fill { trade_id, order_id, price, quantity, commission, commission_asset, is_maker, time_ms };
        let Some(order) = instrument.orders.get_mut(&order_id) else {
            return;
        };
        order.alive_ms = alive_ms;
        order.executed_quantity += quantity;
        order.executed_quote += quote;
        order.status = match order.remaining().is_zero() {
            true => OrderStatus::Filled,
            false => OrderStatus::PartiallyFilled,
        };
        order.fills.push(fill.clone());
        let (status, list_id) = (order.status, order.list_id);
        instrument.trades.push((side, list_id, fill.clone()));
        if status == OrderStatus::Filled {
            instrument.open.remove(&order_id);
        }
        let (paid, paid_asset, got, got_asset) = match side {
            OrderSide::Buy => (quote, &money, quantity, &base),
            OrderSide::Sell => (quantity, &base, quote, &money),
        };
        // The whole lock pays before any of it is held for the rest: that may take all there is.
        self.unlock(symbol, key, side);
        let is_paid = self.ledger.debit(paid_asset, paid);
        self.ledger.credit(got_asset, got);
        let is_charged = self.ledger.debit(&fill.commission_asset, fill.commission);
        debug_assert!(is_paid && is_charged, "a fill that is not paid for: {fill:?}");
        self.ledger.charge(&fill.commission_asset, fill.commission);
        self.relock(symbol, key, side);
        self.tell(symbol, order_id, Change::Trade, Told { fill: Some(fill), request_id: None });
        if status == OrderStatus::Filled {
            self.activate_pending(symbol, order_id);
            self.end_list(symbol, order_id);
        } else if quantity < wanted {
            self.expire(symbol, order_id, reason::LIQUIDITY);
        }
    }

    /// `wanted`, or of a purchase what its lock and what is free can pay.
    fn affordable(
        &self,
        symbol: &Symbol,
        side: OrderSide,
        key: LockKey,
        kind: &OrderKind,
        price: Decimal,
        wanted: Decimal,
    ) -> Decimal {
        let Some(instrument) = self.instruments.get(symbol) else {
            return Decimal::ZERO;
        };
        let locked = instrument.locks.get(&key).copied().unwrap_or_default();
        let available = self.ledger.free(instrument.lock_asset(side)) + locked;
        let cost = if side == OrderSide::Buy { floor(price * wanted) } else { wanted };
        if cost <= available {
            return wanted;
        }
        let most = if side == OrderSide::Buy { available / price } else { available };
        instrument.rules.floor_quantity(kind, most).min(wanted)
    }

    /// The fee of a fill and the asset it is taken from: what the fill gave, or BNB.
    fn commission(
        &self,
        symbol: &Symbol,
        side: OrderSide,
        quantity: Decimal,
        quote: Decimal,
        is_maker: bool,
    ) -> (Decimal, String) {
        let rate = if is_maker { self.settings.maker_fee } else { self.settings.taker_fee };
        let rate = decimal(rate).unwrap_or_default();
        let Some(rules) = self.instruments.get(symbol).map(|instrument| &instrument.rules) else {
            return (Decimal::ZERO, String::new());
        };
        let (received, asset) = match side {
            OrderSide::Buy => (quantity, &rules.base_asset),
            OrderSide::Sell => (quote, &rules.quote_asset),
        };
        let bnb_price = self.last_price(&Symbol::new(&format!("BNB{}", rules.quote_asset)));
        if let Some(bnb_price) = bnb_price.filter(|_| self.settings.bnb_fees && asset != "BNB") {
            let fee = floor(quote * rate * BNB_DISCOUNT / bnb_price);
            if self.ledger.free("BNB") >= fee && self.ledger.free("BNB") > Decimal::ZERO {
                return (fee, "BNB".to_owned());
            }
        }
        (floor(received * rate), asset.clone())
    }

    /// Locks exactly what the open orders under `key` need; gives whether there was enough.
    pub(super) fn relock(&mut self, symbol: &Symbol, key: LockKey, side: OrderSide) -> bool {
        let slippage = decimal(self.settings.slippage).unwrap_or_default();
        let Some(instrument) = self.instruments.get_mut(symbol) else {
            return false;
        };
        let need = instrument.need(key, slippage);
        let have = instrument.locks.get(&key).copied().unwrap_or_default();
        let asset = instrument.lock_asset(side).to_owned();
        if need == have {
            return true;
        }
        let is_locked = self.ledger.lock(&asset, need - have);
        if is_locked {
            match need.is_zero() {
                true => instrument.locks.remove(&key),
                false => instrument.locks.insert(key, need),
            };
        }
        is_locked
    }

    /// Gives back all that is locked under `key`.
    fn unlock(&mut self, symbol: &Symbol, key: LockKey, side: OrderSide) {
        let Some(instrument) = self.instruments.get_mut(symbol) else {
            return;
        };
        if let Some(have) = instrument.locks.remove(&key) {
            let asset = instrument.lock_asset(side).to_owned();
            self.ledger.lock(&asset, -have);
        }
    }

    /// Ends an order by the exchange's own rules.
    pub(super) fn expire(&mut self, symbol: &Symbol, order_id: i64, why: &'static str) {
        if !self.close(symbol, order_id, OrderStatus::Expired, Some(why)) {
            return;
        }
        self.tell(symbol, order_id, Change::Expired, Told::default());
        self.end_pending(symbol, order_id);
        self.end_list(symbol, order_id);
    }

    /// Takes an open order off the book and gives its funds back; `false` if it was not open.
    pub(super) fn close(
        &mut self,
        symbol: &Symbol,
        order_id: i64,
        status: OrderStatus,
        why: Option<&'static str>,
    ) -> bool {
        let Some(instrument) = self.instruments.get_mut(symbol) else {
            return false;
        };
        let Some(order) = instrument.orders.get_mut(&order_id).filter(|order| order.is_open()) else {
            return false;
        };
        (order.status, order.reason) = (status, why);
        let (key, side) = (order.lock_key, order.side);
        instrument.open.remove(&order_id);
        self.relock(symbol, key, side);
        true
    }
}

/// Whether a limit order at `price` meets a market at `last`.
pub(super) fn is_marketable(side: OrderSide, price: Decimal, last: Decimal) -> bool {
    match side {
        OrderSide::Buy => price >= last,
        OrderSide::Sell => price <= last,
    }
}

/// Quote units that an order to buy takes at `price`.
pub(super) fn cost(price: Decimal, quantity: Decimal) -> Decimal {
    ceil(price * quantity)
}
