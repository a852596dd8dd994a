//! Bars, prices and rules.

use polybolos_engine::interval::Interval;
use polybolos_engine::signals::Bar;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::decimal;
use crate::filters::{Grid, SymbolRules, SymbolStatus};
use crate::symbol::Symbol;

/// Units on each side of the book: the core has as much as an order wants.
pub(in super::super) const DEPTH: &str = "1000000.00000000";

/// The last millisecond of a bar.
pub(in super::super) fn closes_ms(bar: &Bar, interval: Interval) -> i64 {
    bar.open_time_ms + interval.ms() - 1
}

/// A row of `klines`. Numbers are written as the shortest text of the same bits.
pub(in super::super) fn row(bar: &Bar, interval: Interval) -> Value {
    let text = |value: f64| value.to_string();
    json!([
        bar.open_time_ms,
        text(bar.open),
        text(bar.high),
        text(bar.low),
        text(bar.close),
        text(bar.volume),
        closes_ms(bar, interval),
        text(bar.quote_volume),
        bar.trades as i64,
        text(bar.taker_buy_volume),
        text(bar.taker_buy_quote_volume),
        "0"
    ])
}

/// A bar on a stream, as text: hundreds of pairs close at the same moment.
pub(in super::super) fn kline(
    symbol: &Symbol,
    bar: &Bar,
    interval: Interval,
    is_closed: bool,
    now_ms: i64,
) -> String {
    let (name, closes_ms) = (json!(symbol), closes_ms(bar, interval));
    let Bar { open_time_ms, open, high, low, close, volume, quote_volume, .. } = bar;
    format!(
        r#"{{"e":"kline","E":{now_ms},"s":{name},"k":{{"t":{open_time_ms},"T":{closes_ms},"s":{name},"i":"{}","f":-1,"L":-1,"o":"{open}","c":"{close}","h":"{high}","l":"{low}","v":"{volume}","n":{},"x":{is_closed},"q":"{quote_volume}","V":"{}","Q":"{}","B":"0"}}}}"#,
        interval.name(),
        bar.trades as i64,
        bar.taker_buy_volume,
        bar.taker_buy_quote_volume
    )
}

/// Best prices on a stream, as text.
pub(in super::super) fn book_ticker(symbol: &Symbol, bid: Decimal, ask: Decimal, update_id: u64) -> String {
    let (name, bid, ask) = (json!(symbol), decimal(bid), decimal(ask));
    format!(r#"{{"u":{update_id},"s":{name},"b":"{bid}","B":"{DEPTH}","a":"{ask}","A":"{DEPTH}"}}"#)
}

/// A pair in `exchangeInfo`.
pub(in super::super) fn symbol(rules: &SymbolRules) -> Value {
    let status = match rules.status {
        SymbolStatus::Trading => "TRADING",
        SymbolStatus::CancelOnly => "CANCEL_ONLY",
        SymbolStatus::Halted => "HALT",
    };
    json!({
        "symbol": rules.symbol, "status": status, "baseAsset": rules.base_asset, "baseAssetPrecision": 8,
        "quoteAsset": rules.quote_asset, "quotePrecision": 8, "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8, "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": false, "ocoAllowed": rules.oco_allowed, "otoAllowed": rules.oto_allowed, "opoAllowed": false,
        "quoteOrderQtyMarketAllowed": rules.quote_quantity_allowed, "allowTrailingStop": false,
        "cancelReplaceAllowed": true, "amendAllowed": true, "pegInstructionsAllowed": false,
        "isSpotTradingAllowed": true, "isMarginTradingAllowed": false, "filters": filters(rules), "permissions": [],
        "permissionSets": [["SPOT"]], "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"]
    })
}

fn filters(rules: &SymbolRules) -> Vec<Value> {
    let sizes = |name: &str, grid: &Grid| {
        json!({"filterType": name, "minQty": decimal(grid.min), "maxQty": decimal(grid.max),
            "stepSize": decimal(grid.step)})
    };
    let mut filters = vec![
        json!({"filterType": "PRICE_FILTER", "minPrice": decimal(rules.price.min),
            "maxPrice": decimal(rules.price.max), "tickSize": decimal(rules.price.step)}),
        sizes("LOT_SIZE", &rules.lot),
        sizes("MARKET_LOT_SIZE", &rules.market_lot),
    ];
    if let Some(percent) = &rules.percent_price {
        filters.push(json!({
            "filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": percent.bid_up.to_string(),
            "bidMultiplierDown": percent.bid_down.to_string(), "askMultiplierUp": percent.ask_up.to_string(),
            "askMultiplierDown": percent.ask_down.to_string(), "avgPriceMins": 0
        }));
    }
    if let Some(bounds) = &rules.notional {
        filters.push(match bounds.max {
            Some(max) => json!({
                "filterType": "NOTIONAL", "minNotional": decimal(bounds.min),
                "applyMinToMarket": bounds.min_to_market, "maxNotional": decimal(max),
                "applyMaxToMarket": bounds.max_to_market, "avgPriceMins": 0
            }),
            None => json!({
                "filterType": "MIN_NOTIONAL", "minNotional": decimal(bounds.min),
                "applyToMarket": bounds.min_to_market, "avgPriceMins": 0
            }),
        });
    }
    let counts = [
        ("MAX_NUM_ORDERS", "maxNumOrders", rules.max_orders),
        ("MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders", rules.max_algo_orders),
        ("MAX_NUM_ORDER_LISTS", "maxNumOrderLists", rules.max_order_lists),
    ];
    for (kind, field, limit) in counts {
        if let Some(limit) = limit {
            let mut filter = json!({"filterType": kind});
            filter[field] = json!(limit);
            filters.push(filter);
        }
    }
    if let Some(max) = rules.max_position {
        filters.push(json!({"filterType": "MAX_POSITION", "maxPosition": decimal(max)}));
    }
    filters
}
