//! A market of the past that waits until the desk is done with what it was told.

use std::collections::BTreeMap;

use crate::binance::MarketStream;
use crate::symbol::Symbol;

/// What such a market is told.
#[derive(Debug, Default)]
pub(super) struct Lockstep {
    pairs: Vec<Symbol>,
}

impl Lockstep {
    /// These pairs are on the market's streams from here on.
    pub(super) fn open(&mut self, pairs: &[(Symbol, Option<i64>)]) {
        self.pairs = pairs.iter().map(|(symbol, _)| symbol.clone()).collect();
    }

    /// Says which bar of each pair is the newest that was decided on. A pair without one says so too, since the market waits for a first word.
    pub(super) fn tell(&self, market: &MarketStream, newest_open_ms: &BTreeMap<Symbol, i64>) {
        let newest = |symbol: &Symbol| newest_open_ms.get(symbol).copied().unwrap_or(0);
        market.settled(self.pairs.iter().map(|symbol| (symbol.clone(), newest(symbol))));
    }
}
