//! The accounts of a bot's pairs, with the sums over them that every order is measured by.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::SymbolAccount;
use crate::symbol::Symbol;

/// Accounts by pair. Written and read as a map of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Symbol, SymbolAccount>", into = "BTreeMap<Symbol, SymbolAccount>")]
pub(super) struct Accounts {
    by_symbol: BTreeMap<Symbol, SymbolAccount>,
    totals: Totals,
}

/// Sums over all pairs, quote currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// What is left of the allocations and of what sells brought; see [`SymbolAccount::cash`].
    pub cash: Decimal,
    /// Value at the marks of what is held.
    pub held: Decimal,
}

impl Totals {
    fn of(account: &SymbolAccount) -> Totals {
        Totals { cash: account.cash(), held: account.value() }
    }

    fn move_by(&mut self, before: Totals, after: Totals) {
        self.cash += after.cash - before.cash;
        self.held += after.held - before.held;
    }
}

impl From<BTreeMap<Symbol, SymbolAccount>> for Accounts {
    fn from(by_symbol: BTreeMap<Symbol, SymbolAccount>) -> Accounts {
        let mut totals = Totals::default();
        by_symbol.values().for_each(|account| totals.move_by(Totals::default(), Totals::of(account)));
        Accounts { by_symbol, totals }
    }
}

impl From<Accounts> for BTreeMap<Symbol, SymbolAccount> {
    fn from(accounts: Accounts) -> BTreeMap<Symbol, SymbolAccount> {
        accounts.by_symbol
    }
}

impl Accounts {
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    pub(super) fn get(&self, symbol: &Symbol) -> Option<&SymbolAccount> {
        self.by_symbol.get(symbol)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Symbol, &SymbolAccount)> {
        self.by_symbol.iter()
    }

    /// Makes an account for a pair that has none.
    pub(super) fn add(&mut self, symbol: &Symbol, account: impl FnOnce() -> SymbolAccount) {
        if !self.by_symbol.contains_key(symbol) {
            let account = account();
            self.totals.move_by(Totals::default(), Totals::of(&account));
            self.by_symbol.insert(symbol.clone(), account);
        }
    }

    /// Changes an account and keeps the sums true; `None` without one.
    pub(super) fn change<T>(
        &mut self,
        symbol: &Symbol,
        change: impl FnOnce(&mut SymbolAccount) -> T,
    ) -> Option<T> {
        let account = self.by_symbol.get_mut(symbol)?;
        let before = Totals::of(account);
        let result = change(account);
        self.totals.move_by(before, Totals::of(account));
        Some(result)
    }
}
