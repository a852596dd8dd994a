//! Orders and lists as the exchange keeps them, and how they are told to clients.

use std::collections::{BTreeMap, BTreeSet};

use polybolos_kernels::bars::Bars;
use rust_decimal::Decimal;
use rust_decimal::RoundingStrategy;
use serde::{Deserialize, Serialize};

use crate::client_id::ClientId;
use crate::filters::SymbolRules;
use crate::order::{Fill, OrderKind, OrderReport, OrderSide, OrderStatus, TimeInForce};
use crate::symbol::Symbol;

/// Decimals of every balance.
pub(crate) const PRECISION: u32 = crate::order::BALANCE_DECIMALS;

/// How the fills of an order are split when it first meets the market, as on a thin book.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PartialFill {
    /// Part of the quantity that fills at first, above 0 and below 1.
    pub fraction: Decimal,
    /// Whether what is left ends there. Otherwise a market order fills it at once in a second trade, and a limit order keeps
    /// it on the book until the price comes again.
    pub expires_rest: bool,
}

/// What an order's funds are locked under: its own number, or its list's when legs share one lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum LockKey {
    Order(i64),
    List(i64),
}

/// An order with all the exchange knows of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The pair.
    pub symbol: Symbol,
    /// The id its owner gave it.
    pub client_id: ClientId,
    /// The exchange's number, rising per pair.
    pub order_id: i64,
    /// The exchange's number of the list it belongs to.
    pub list_id: Option<i64>,
    /// Direction.
    pub side: OrderSide,
    /// Type and prices.
    pub kind: OrderKind,
    /// Base units asked for.
    pub original_quantity: Decimal,
    /// Quote units asked for, of market orders sized that way.
    pub quote_quantity: Option<Decimal>,
    /// Base units filled.
    pub executed_quantity: Decimal,
    /// Quote units filled.
    pub executed_quote: Decimal,
    /// Where it stands.
    pub status: OrderStatus,
    /// Whether its stop price has been reached; `true` from the start for types without one.
    pub is_triggered: bool,
    /// Market time of its placement.
    pub created_ms: i64,
    /// Market time of its newest change.
    pub updated_ms: i64,
    /// Market time from which it stood on the book; `None` before.
    pub working_ms: Option<i64>,
    /// Market time from which it can meet prices: its placement, its list's call, its trigger or its newest part fill. Counts in
    /// a followed market only; a snapshot does not keep it.
    #[serde(skip)]
    pub(crate) alive_ms: i64,
    /// Why it ended by itself, in the exchange's word. A snapshot does not keep it.
    #[serde(skip)]
    pub reason: Option<&'static str>,
    /// Its fills, oldest first.
    pub fills: Vec<Fill>,
    pub(crate) partial: Option<PartialFill>,
    pub(crate) lock_key: LockKey,
}

impl Order {
    /// Base units not filled yet.
    pub fn remaining(&self) -> Decimal {
        self.original_quantity - self.executed_quantity
    }

    /// Whether it can still fill or come to life.
    pub fn is_open(&self) -> bool {
        !self.status.is_final()
    }

    /// What it can do at the market now: live, and not waiting for its list's working order.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.status, OrderStatus::New | OrderStatus::PartiallyFilled)
    }

    /// Whether it is counted as a stop or take-profit order.
    pub(crate) fn is_algo(&self) -> bool {
        self.kind.stop_price().is_some()
    }

    pub(crate) fn time_in_force(&self) -> TimeInForce {
        time_in_force(&self.kind)
    }

    /// What is told of it; `fills` as [`OrderReport::fills`] has them.
    pub fn report(&self, fills: Vec<Fill>) -> OrderReport {
        OrderReport {
            symbol: self.symbol.clone(),
            client_id: self.client_id.clone(),
            order_id: self.order_id,
            list_id: self.list_id,
            side: self.side,
            kind: self.kind,
            original_quantity: self.original_quantity,
            executed_quantity: self.executed_quantity,
            executed_quote: Some(self.executed_quote),
            status: self.status,
            update_ms: self.updated_ms,
            fills,
            reason: self.reason.map(str::to_owned),
        }
    }
}

/// How long an order of this type waits; a market order is told as good till cancelled.
fn time_in_force(kind: &OrderKind) -> TimeInForce {
    match *kind {
        OrderKind::Limit { time_in_force, .. }
        | OrderKind::StopLossLimit { time_in_force, .. }
        | OrderKind::TakeProfitLimit { time_in_force, .. } => time_in_force,
        _ => TimeInForce::Gtc,
    }
}

/// How the orders of a list depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contingency {
    /// One cancels the other.
    Oco,
    /// One triggers the others, which may cancel each other.
    Oto,
}

/// A list of orders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct List {
    /// The exchange's number.
    pub order_list_id: i64,
    /// The pair.
    pub symbol: Symbol,
    /// The id its owner gave it.
    pub list_id: ClientId,
    /// How its orders depend on each other.
    pub contingency: Contingency,
    /// Numbers of its orders, the working one first.
    pub orders: Vec<i64>,
    /// Market time of its newest change.
    pub updated_ms: i64,
    /// Whether none of its orders is open any more.
    pub is_done: bool,
    /// Numbers of the two legs that cancel each other; empty without such legs.
    pub(crate) legs: Vec<i64>,
    /// Number of the order that brings the others to life.
    pub(crate) working: Option<i64>,
}

/// One pair: its rules, its bars and its orders.
#[derive(Debug, Clone)]
pub(crate) struct Instrument {
    pub(crate) rules: SymbolRules,
    pub(crate) bars: Bars,
    /// Row of the next bar to open.
    pub(crate) next: usize,
    /// Rows whose close has been published.
    pub(crate) published: usize,
    pub(crate) last: Option<Decimal>,
    /// The newest quote of a followed market, and when it came.
    pub(crate) quoted: Option<(Decimal, i64)>,
    pub(crate) orders: BTreeMap<i64, Order>,
    pub(crate) open: BTreeSet<i64>,
    pub(crate) by_client: BTreeMap<ClientId, Vec<i64>>,
    pub(crate) locks: BTreeMap<LockKey, Decimal>,
    pub(crate) trades: Vec<(OrderSide, Option<i64>, Fill)>,
    pub(crate) last_execution_id: i64,
    /// Prices that orders which came to life inside the current bar can still meet.
    pub(crate) ranges: BTreeMap<i64, (Decimal, Decimal)>,
}

impl Instrument {
    pub(crate) fn new(rules: SymbolRules, bars: Bars) -> Instrument {
        Instrument {
            rules,
            bars,
            next: 0,
            published: 0,
            last: None,
            quoted: None,
            orders: BTreeMap::new(),
            open: BTreeSet::new(),
            by_client: BTreeMap::new(),
            locks: BTreeMap::new(),
            trades: Vec::new(),
            last_execution_id: 0,
            ranges: BTreeMap::new(),
        }
    }

    /// The open order of this id, else the newest one that ever had it.
    pub(crate) fn find(&self, client_id: &ClientId) -> Option<&Order> {
        let ids = self.by_client.get(client_id)?;
        let open = ids.iter().rev().find(|id| self.open.contains(id));
        self.orders.get(open.or(ids.last())?)
    }

    pub(crate) fn open_orders(&self) -> impl Iterator<Item = &Order> {
        self.open.iter().filter_map(|id| self.orders.get(id))
    }

    pub(crate) fn insert(&mut self, order: Order) {
        self.open.insert(order.order_id);
        self.by_client.entry(order.client_id.clone()).or_default().push(order.order_id);
        self.orders.insert(order.order_id, order);
    }

    pub(crate) fn next_order_id(&self) -> i64 {
        self.orders.last_key_value().map_or(1, |(id, _)| id + 1)
    }

    pub(crate) fn next_trade_id(&self) -> i64 {
        self.trades.last().map_or(1, |(_, _, fill)| fill.trade_id + 1)
    }

    pub(crate) fn next_execution_id(&mut self) -> i64 {
        self.last_execution_id += 1;
        self.last_execution_id
    }

    /// What the open orders under `key` need together: the most that any one of them can take. `slippage` is what a stop order
    /// to buy may pay above its stop price.
    pub(crate) fn need(&self, key: LockKey, slippage: Decimal) -> Decimal {
        let live = self.open_orders().filter(|order| order.lock_key == key && order.is_live());
        live.map(|order| match order.side {
            OrderSide::Sell => order.remaining(),
            OrderSide::Buy => {
                let stop = order.kind.stop_price().map(|stop| stop * (Decimal::ONE + slippage));
                let price = order.kind.price().or(stop).unwrap_or_default();
                ceil(price * order.remaining())
            }
        })
        .max()
        .unwrap_or_default()
    }

    pub(crate) fn lock_asset(&self, side: OrderSide) -> &str {
        match side {
            OrderSide::Buy => &self.rules.quote_asset,
            OrderSide::Sell => &self.rules.base_asset,
        }
    }
}

/// `amount` rounded down to the precision of balances.
pub(crate) fn floor(amount: Decimal) -> Decimal {
    amount.round_dp_with_strategy(PRECISION, RoundingStrategy::ToZero)
}

/// `amount` rounded up to the precision of balances.
pub(crate) fn ceil(amount: Decimal) -> Decimal {
    amount.round_dp_with_strategy(PRECISION, RoundingStrategy::AwayFromZero)
}
