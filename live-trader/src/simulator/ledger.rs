//! What an account holds: free and locked units per asset. Nothing here is ever negative.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use crate::venue::Balance;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Holding {
    free: Decimal,
    locked: Decimal,
}

/// One account's holdings, and which of them have changed since they were last told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    holdings: BTreeMap<String, Holding>,
    touched: BTreeSet<String>,
    fees: BTreeMap<String, Decimal>,
}

impl Ledger {
    pub(crate) fn free(&self, asset: &str) -> Decimal {
        self.holdings.get(asset).map_or(Decimal::ZERO, |holding| holding.free)
    }

    pub(crate) fn total(&self, asset: &str) -> Decimal {
        self.holdings.get(asset).map_or(Decimal::ZERO, |holding| holding.free + holding.locked)
    }

    pub(crate) fn credit(&mut self, asset: &str, amount: Decimal) {
        self.holding(asset).free += amount;
    }

    /// Takes `amount` of what is free, and says whether there was enough; without enough nothing is taken.
    pub(crate) fn debit(&mut self, asset: &str, amount: Decimal) -> bool {
        let holding = self.holding(asset);
        let is_enough = holding.free >= amount;
        if is_enough {
            holding.free -= amount;
        }
        is_enough
    }

    /// Moves `amount` from free to locked, backwards if negative; `false` and nothing moved where that does not go.
    pub(crate) fn lock(&mut self, asset: &str, amount: Decimal) -> bool {
        let holding = self.holding(asset);
        let is_possible = holding.free >= amount && holding.locked + amount >= Decimal::ZERO;
        if is_possible {
            holding.free -= amount;
            holding.locked += amount;
        }
        is_possible
    }

    pub(crate) fn charge(&mut self, asset: &str, amount: Decimal) {
        *self.fees.entry(asset.to_owned()).or_default() += amount;
    }

    /// Commission paid so far, per asset.
    pub(crate) fn fees(&self) -> &BTreeMap<String, Decimal> {
        &self.fees
    }

    /// Every asset that was ever held, by name.
    pub(crate) fn balances(&self) -> Vec<Balance> {
        self.holdings.iter().map(|(asset, holding)| balance(asset, *holding)).collect()
    }

    /// Takes these holdings and fees in place of its own.
    pub(crate) fn restore(&mut self, balances: Vec<Balance>, fees: Vec<(String, Decimal)>) {
        let holding = |held: Balance| (held.asset, Holding { free: held.free, locked: held.locked });
        self.holdings = balances.into_iter().map(holding).collect();
        self.fees = fees.into_iter().collect();
        self.touched.clear();
    }

    /// What has changed since the last call.
    pub(crate) fn take_touched(&mut self) -> Vec<Balance> {
        let touched = std::mem::take(&mut self.touched);
        let told = |asset: &String| balance(asset, self.holdings.get(asset).copied().unwrap_or_default());
        touched.iter().map(told).collect()
    }

    fn holding(&mut self, asset: &str) -> &mut Holding {
        self.touched.insert(asset.to_owned());
        self.holdings.entry(asset.to_owned()).or_default()
    }
}

fn balance(asset: &str, holding: Holding) -> Balance {
    Balance { asset: asset.to_owned(), free: holding.free, locked: holding.locked }
}
