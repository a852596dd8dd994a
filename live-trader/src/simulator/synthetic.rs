//! Rules for pairs of a dataset, which knows prices and no filters.

use polybolos_kernels::bars::Bars;
use rust_decimal::Decimal;

use super::book::PRECISION;
use super::decimal;
use crate::filters::{Grid, NotionalBounds, PercentPrice, SymbolRules, SymbolStatus};
use crate::symbol::Symbol;

/// Quote assets by which the name of a pair is cut, longer ones before their endings.
const QUOTE_ASSETS: [&str; 12] =
    ["FDUSD", "USDT", "USDC", "BUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "USD"];

/// Base and quote asset of a pair's name; a name that ends in no known quote asset is cut before its last three letters.
pub fn split_symbol(symbol: &Symbol) -> (String, String) {
    let name = symbol.as_str();
    let known = QUOTE_ASSETS.iter().find_map(|quote| {
        let base = name.strip_suffix(quote).filter(|base| !base.is_empty())?;
        Some((base.to_owned(), (*quote).to_owned()))
    });
    known.unwrap_or_else(|| {
        let cut = name.char_indices().rev().nth(2).map_or(0, |(at, _)| at);
        let (base, quote) = name.split_at(cut);
        match base.is_empty() {
            true => (name.to_owned(), "USDT".to_owned()),
            false => (base.to_owned(), quote.to_owned()),
        }
    })
}

/// Rules that fit a pair's prices: the tick is the finest decimal that its bars use, at most eight; the lot is worth about a
/// hundredth of a quote unit at the highest price; five quote units are the least notional; limits of numbers as the exchange has
/// them for its large pairs.
pub fn synthetic_rules(symbol: &Symbol, bars: &Bars) -> SymbolRules {
    let (base_asset, quote_asset) = split_symbol(symbol);
    let columns = [&bars.open, &bars.high, &bars.low, &bars.close];
    let prices = || columns.into_iter().flatten().filter_map(|&price| decimal(price));
    let places = prices().map(|price| price.normalize().scale()).max().unwrap_or(2).min(PRECISION);
    let highest = prices().max().unwrap_or(Decimal::ONE);
    let tick = Decimal::new(1, places);
    let lot = (0..=PRECISION)
        .map(|places| Decimal::new(1, places))
        .find(|lot| *lot * highest <= Decimal::new(1, 2))
        .unwrap_or(Decimal::new(1, PRECISION));
    let factor = |factor: i64, places: u32| Decimal::new(factor, places);
    SymbolRules {
        symbol: symbol.clone(),
        base_asset,
        quote_asset,
        status: SymbolStatus::Trading,
        quote_quantity_allowed: true,
        oco_allowed: true,
        oto_allowed: true,
        price: Grid { min: tick, max: Decimal::from(1_000_000_000), step: tick },
        lot: Grid { min: lot, max: Decimal::from(1_000_000_000), step: lot },
        market_lot: Grid { min: Decimal::ZERO, max: Decimal::from(1_000_000_000), step: Decimal::ZERO },
        percent_price: Some(PercentPrice {
            bid_up: factor(5, 0),
            bid_down: factor(2, 1),
            ask_up: factor(5, 0),
            ask_down: factor(2, 1),
        }),
        notional: Some(NotionalBounds {
            min: Decimal::from(5),
            min_to_market: true,
            max: Some(Decimal::from(9_000_000)),
            max_to_market: false,
        }),
        max_orders: Some(200),
        max_algo_orders: Some(5),
        max_order_lists: Some(20),
        max_position: None,
    }
}
