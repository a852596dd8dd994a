//! Commissions in a third asset, and what they are worth.

use rust_decimal::Decimal;

use crate::order::Fill;
use crate::risk::Quote;
use crate::symbol::Symbol;

use super::record::{CommissionPrices, Record};
use super::{Seen, Trader};

impl Trader {
    /// Takes in the best prices of a pair, which may be the one that values commissions.
    pub(super) fn quoted(&mut self, symbol: Symbol, quote: Quote) {
        for (of, asset, price) in self.newly_priced(&symbol, quote) {
            self.record(Record::CommissionPrice { symbol: of, asset, price, at_ms: self.now_ms });
        }
        self.quotes.insert(symbol, Seen { quote, at_ms: self.now_ms });
    }

    /// Commissions without a price that `quote` gives one.
    fn newly_priced(&self, pair: &Symbol, quote: Quote) -> Vec<(Symbol, String, Decimal)> {
        // Most bots pay in what they buy and sell: nothing is to be looked for with each of their quotes.
        let Some(price) = middle(quote).filter(|_| !self.state.commission_assets.is_empty()) else {
            return Vec::new();
        };
        let mut priced = Vec::new();
        for (symbol, account) in self.state.ledger.accounts() {
            for asset in account.unvalued().keys() {
                if *pair == pair_of(asset, &account.terms().quote_asset) {
                    priced.push((symbol.clone(), asset.clone(), price));
                }
            }
        }
        priced
    }

    /// Prices of the third assets in which the commissions of `fills` were paid, as far as they are known.
    pub(super) fn commission_prices(&self, symbol: &Symbol, fills: &[Fill]) -> CommissionPrices {
        let Some(terms) = self.state.terms(symbol) else {
            return CommissionPrices::new();
        };
        fills
            .iter()
            .map(|fill| &fill.commission_asset)
            .filter(|asset| **asset != terms.base_asset && **asset != terms.quote_asset)
            .filter_map(|asset| {
                let quote = self.quote(&pair_of(asset, &terms.quote_asset))?;
                Some((asset.clone(), middle(quote)?))
            })
            .collect()
    }
}

fn pair_of(asset: &str, quote_asset: &str) -> Symbol {
    Symbol::new(&format!("{asset}{quote_asset}"))
}

/// The price between bid and ask; `None` where there is none above 0.
fn middle(quote: Quote) -> Option<Decimal> {
    let middle = quote.bid.checked_add(quote.ask)? / Decimal::TWO;
    (middle > Decimal::ZERO).then_some(middle)
}
