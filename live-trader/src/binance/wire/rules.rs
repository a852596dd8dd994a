//! `exchangeInfo`: limits and the rules of every pair.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use super::order::WireError;
use crate::binance::budget::{Limit, LimitKind};
use crate::filters::{Grid, NotionalBounds, PercentPrice, SymbolRules, SymbolStatus};
use crate::symbol::Symbol;

/// What the exchange publishes about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeInfo {
    /// Its limits, those of kinds that this program knows.
    pub limits: Vec<Limit>,
    /// Rules by pair.
    pub symbols: BTreeMap<Symbol, SymbolRules>,
    /// Pairs whose rules could not be read, with the reason. They cannot be traded.
    pub unreadable: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireInfo {
    #[serde(default)]
    rate_limits: Vec<WireLimit>,
    symbols: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLimit {
    rate_limit_type: String,
    interval: String,
    interval_num: i64,
    limit: u32,
}

impl WireLimit {
    fn limit(&self) -> Option<Limit> {
        let kind = limit_kind(&self.rate_limit_type)?;
        let interval_ms = interval_ms(&self.interval, self.interval_num)?;
        Some(Limit { kind, interval_ms, max: self.limit })
    }
}

/// The exchange's name of a limit.
pub(crate) fn limit_kind(name: &str) -> Option<LimitKind> {
    match name {
        "REQUEST_WEIGHT" => Some(LimitKind::Weight),
        "RAW_REQUESTS" => Some(LimitKind::Requests),
        "ORDERS" => Some(LimitKind::Orders),
        _ => None,
    }
}

/// Length of `count` intervals named by their word or by its first letter.
pub(crate) fn interval_ms(unit: &str, count: i64) -> Option<i64> {
    let one = match unit {
        "SECOND" | "S" => 1_000,
        "MINUTE" | "M" => 60_000,
        "HOUR" | "H" => 3_600_000,
        "DAY" | "D" => 86_400_000,
        _ => return None,
    };
    count.checked_mul(one).filter(|length| *length > 0)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSymbol {
    symbol: Symbol,
    status: SymbolStatus,
    base_asset: String,
    quote_asset: String,
    #[serde(default)]
    quote_order_qty_market_allowed: bool,
    #[serde(default)]
    oco_allowed: bool,
    #[serde(default)]
    oto_allowed: bool,
    is_spot_trading_allowed: Option<bool>,
    filters: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(tag = "filterType", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
enum Filter {
    #[serde(rename = "PRICE_FILTER")]
    Price {
        min_price: Decimal,
        max_price: Decimal,
        tick_size: Decimal,
    },
    LotSize {
        min_qty: Decimal,
        max_qty: Decimal,
        step_size: Decimal,
    },
    MarketLotSize {
        min_qty: Decimal,
        max_qty: Decimal,
        step_size: Decimal,
    },
    PercentPrice {
        multiplier_up: Decimal,
        multiplier_down: Decimal,
    },
    PercentPriceBySide {
        bid_multiplier_up: Decimal,
        bid_multiplier_down: Decimal,
        ask_multiplier_up: Decimal,
        ask_multiplier_down: Decimal,
    },
    MinNotional {
        min_notional: Decimal,
        #[serde(default)]
        apply_to_market: bool,
    },
    Notional {
        min_notional: Decimal,
        #[serde(default)]
        apply_min_to_market: bool,
        max_notional: Option<Decimal>,
        #[serde(default)]
        apply_max_to_market: bool,
    },
    MaxNumOrders {
        max_num_orders: u32,
    },
    MaxNumAlgoOrders {
        max_num_algo_orders: u32,
    },
    MaxNumOrderLists {
        max_num_order_lists: u32,
    },
    MaxPosition {
        max_position: Decimal,
    },
    /// Filters of features that this program does not use (iceberg orders, trailing deltas, amendments), and those to come.
    #[serde(other)]
    Other,
}

impl Filter {
    fn apply(self, rules: &mut SymbolRules) {
        match self {
            Filter::Price { min_price: min, max_price: max, tick_size: step } => {
                rules.price = Grid { min, max, step };
            }
            Filter::LotSize { min_qty: min, max_qty: max, step_size: step } => {
                rules.lot = Grid { min, max, step }
            }
            Filter::MarketLotSize { min_qty: min, max_qty: max, step_size: step } => {
                rules.market_lot = Grid { min, max, step };
            }
            Filter::PercentPrice { multiplier_up: up, multiplier_down: down } => {
                rules.percent_price =
                    Some(PercentPrice { bid_up: up, bid_down: down, ask_up: up, ask_down: down });
            }
            Filter::PercentPriceBySide {
                bid_multiplier_up: bid_up,
                bid_multiplier_down: bid_down,
                ask_multiplier_up: ask_up,
                ask_multiplier_down: ask_down,
            } => rules.percent_price = Some(PercentPrice { bid_up, bid_down, ask_up, ask_down }),
            Filter::MinNotional { min_notional: min, apply_to_market: min_to_market } => {
                rules.notional = Some(NotionalBounds { min, min_to_market, max: None, max_to_market: false });
            }
            Filter::Notional {
                min_notional: min,
                apply_min_to_market: min_to_market,
                max_notional: max,
                apply_max_to_market: max_to_market,
            } => rules.notional = Some(NotionalBounds { min, min_to_market, max, max_to_market }),
            Filter::MaxNumOrders { max_num_orders } => rules.max_orders = Some(max_num_orders),
            Filter::MaxNumAlgoOrders { max_num_algo_orders } => {
                rules.max_algo_orders = Some(max_num_algo_orders)
            }
            Filter::MaxNumOrderLists { max_num_order_lists } => {
                rules.max_order_lists = Some(max_num_order_lists)
            }
            Filter::MaxPosition { max_position } => rules.max_position = Some(max_position),
            Filter::Other => {}
        }
    }
}

fn symbol_rules(document: Value) -> Result<SymbolRules, serde_json::Error> {
    let wire: WireSymbol = serde_json::from_value(document)?;
    let is_spot = wire.is_spot_trading_allowed.unwrap_or(true);
    let mut rules = SymbolRules {
        symbol: wire.symbol,
        base_asset: wire.base_asset,
        quote_asset: wire.quote_asset,
        status: if is_spot { wire.status } else { SymbolStatus::Halted },
        quote_quantity_allowed: wire.quote_order_qty_market_allowed,
        oco_allowed: wire.oco_allowed,
        oto_allowed: wire.oto_allowed,
        price: Grid::default(),
        lot: Grid::default(),
        market_lot: Grid::default(),
        percent_price: None,
        notional: None,
        max_orders: None,
        max_algo_orders: None,
        max_order_lists: None,
        max_position: None,
    };
    for filter in wire.filters {
        serde_json::from_value::<Filter>(filter)?.apply(&mut rules);
    }
    Ok(rules)
}

/// The answer to `exchangeInfo`. A pair whose rules cannot be read is left out by name: the others can be traded.
pub(crate) fn exchange_info(document: Value) -> Result<ExchangeInfo, WireError> {
    let wire: WireInfo = serde_json::from_value(document)?;
    let mut info = ExchangeInfo {
        limits: wire.rate_limits.iter().filter_map(WireLimit::limit).collect(),
        symbols: BTreeMap::new(),
        unreadable: Vec::new(),
    };
    for document in wire.symbols {
        let name = document.get("symbol").and_then(Value::as_str).unwrap_or("?").to_owned();
        match symbol_rules(document) {
            Ok(rules) => {
                info.symbols.insert(rules.symbol.clone(), rules);
            }
            Err(error) => info.unreadable.push((name, error.to_string())),
        }
    }
    Ok(info)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    /// Filters of ETHBTC as recorded in June 2025, with one of each kind that the pair lacked and one that does not exist.
    fn ethbtc() -> Value {
        json!({
            "symbol": "ETHBTC", "status": "TRADING", "baseAsset": "ETH", "quoteAsset": "BTC", "ocoAllowed": true,
            "otoAllowed": true, "quoteOrderQtyMarketAllowed": true, "isSpotTradingAllowed": true, "novelty": 1,
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "0.00001000", "maxPrice": "922327.00000000", "tickSize": "0.00001000"},
                {"filterType": "LOT_SIZE", "minQty": "0.00010000", "maxQty": "100000.00000000", "stepSize": "0.00010000"},
                {"filterType": "ICEBERG_PARTS", "limit": 10},
                {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "985.33449583", "stepSize": "0.00000000"},
                {"filterType": "TRAILING_DELTA", "minTrailingAboveDelta": 10},
                {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": "5", "bidMultiplierDown": "0.2",
                 "askMultiplierUp": "4", "askMultiplierDown": "0.3", "avgPriceMins": 5},
                {"filterType": "NOTIONAL", "minNotional": "0.00010000", "applyMinToMarket": true,
                 "maxNotional": "9000000.00000000", "applyMaxToMarket": false, "avgPriceMins": 5},
                {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
                {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
                {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": 20},
                {"filterType": "MAX_POSITION", "maxPosition": "10.5"},
                {"filterType": "OF_NEXT_YEAR", "limit": {"a": 1}}
            ]
        })
    }

    #[test]
    fn filters_and_limits_are_read_and_novelties_are_passed_over() {
        let mut halted = ethbtc();
        halted["symbol"] = json!("AAABBB");
        halted["status"] = json!("ON_HOLIDAY");
        let mut broken = ethbtc();
        broken["symbol"] = json!("BROKEN");
        broken["filters"][0]["tickSize"] = json!("a tick");
        let info = exchange_info(json!({
            "timezone": "UTC", "serverTime": 1, "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
                {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
                {"rateLimitType": "DREAMS", "interval": "NIGHT", "intervalNum": 1, "limit": 3}
            ],
            "symbols": [ethbtc(), halted, broken]
        }))
        .unwrap();
        assert_eq!(
            info.limits,
            [
                Limit { kind: LimitKind::Weight, interval_ms: 60_000, max: 6000 },
                Limit { kind: LimitKind::Orders, interval_ms: 10_000, max: 100 },
            ]
        );
        let rules = &info.symbols[&Symbol::new("ETHBTC")];
        assert_eq!(rules.status, SymbolStatus::Trading);
        let step = decimal("0.0001");
        assert_eq!(rules.lot, Grid { min: step, max: decimal("100000"), step });
        assert_eq!(rules.market_lot.max, decimal("985.33449583"));
        assert_eq!(rules.price.step, decimal("0.00001"));
        let percent = rules.percent_price.unwrap();
        assert_eq!((percent.bid_up, percent.ask_down), (decimal("5"), decimal("0.3")));
        let notional = rules.notional.unwrap();
        assert!(notional.min_to_market && !notional.max_to_market);
        assert_eq!((notional.min, notional.max), (step, Some(decimal("9000000"))));
        assert_eq!(
            (rules.max_orders, rules.max_algo_orders, rules.max_order_lists),
            (Some(200), Some(5), Some(20))
        );
        assert_eq!(rules.max_position, Some(decimal("10.5")));
        assert_eq!(info.symbols[&Symbol::new("AAABBB")].status, SymbolStatus::Halted);
        assert_eq!(info.unreadable.len(), 1);
        assert_eq!(info.unreadable[0].0, "BROKEN");
    }

    #[test]
    fn older_filters_bind_both_sides() {
        let mut document = ethbtc();
        document["filters"] = json!([
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.3", "multiplierDown": "0.7", "avgPriceMins": 5},
            {"filterType": "MIN_NOTIONAL", "minNotional": "10", "applyToMarket": true, "avgPriceMins": 5}
        ]);
        document["isSpotTradingAllowed"] = json!(false);
        let rules = symbol_rules(document).unwrap();
        let percent = rules.percent_price.unwrap();
        assert_eq!((percent.bid_up, percent.ask_down), (decimal("1.3"), decimal("0.7")));
        assert_eq!(rules.notional.unwrap().min, decimal("10"));
        assert_eq!(rules.status, SymbolStatus::Halted);
    }
}
