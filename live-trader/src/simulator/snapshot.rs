//! What an exchange of one pair must keep so that it can go on after its program has ended: everything but the market.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::Simulator;
use super::book::{List, LockKey, Order};
use crate::order::{Fill, OrderSide};
use crate::venue::Balance;

/// Final orders, finished lists and trades that are kept: more than a client looks up after a restart.
const KEPT: usize = 500;

/// Account, orders and counters of an exchange of one pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    balances: Vec<Balance>,
    fees: Vec<(String, Decimal)>,
    orders: Vec<Order>,
    lists: Vec<List>,
    locks: Vec<(LockKey, Decimal)>,
    trades: Vec<(OrderSide, Option<i64>, Fill)>,
    last_execution_id: i64,
    generated_ids: u64,
}

impl Simulator {
    /// Account and orders of an exchange of one pair; of more than one, of the first.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let instrument = self.instruments.values().next()?;
        let oldest = instrument.orders.len().saturating_sub(KEPT);
        let orders = instrument.orders.values().enumerate();
        let is_kept = |(at, order): &(usize, &Order)| order.is_open() || *at >= oldest;
        let oldest_list = self.lists.len().saturating_sub(KEPT);
        let lists = self.lists.values().enumerate();
        let trades = &instrument.trades;
        Some(Snapshot {
            balances: self.balances(),
            fees: self.fees(),
            orders: orders.filter(is_kept).map(|(_, order)| order.clone()).collect(),
            lists: lists
                .filter(|(at, list)| !list.is_done || *at >= oldest_list)
                .map(|(_, list)| list.clone())
                .collect(),
            locks: instrument.locks.iter().map(|(key, amount)| (*key, *amount)).collect(),
            trades: trades.get(trades.len().saturating_sub(KEPT)..).unwrap_or_default().to_vec(),
            last_execution_id: instrument.last_execution_id,
            generated_ids: self.generated_ids,
        })
    }

    /// Takes account and orders of a snapshot in place of its own. Prices and bars stay.
    pub fn restore(&mut self, snapshot: Snapshot) {
        let Some(instrument) = self.instruments.values_mut().next() else {
            return;
        };
        instrument.orders.clear();
        instrument.open.clear();
        instrument.by_client.clear();
        for order in snapshot.orders {
            let (order_id, is_open) = (order.order_id, order.is_open());
            instrument.insert(order);
            if !is_open {
                instrument.open.remove(&order_id);
            }
        }
        instrument.locks = snapshot.locks.into_iter().collect();
        instrument.trades = snapshot.trades;
        instrument.last_execution_id = snapshot.last_execution_id;
        self.lists = snapshot.lists.into_iter().map(|list| (list.order_list_id, list)).collect();
        self.ledger.restore(snapshot.balances, snapshot.fees);
        self.generated_ids = snapshot.generated_ids;
    }
}
