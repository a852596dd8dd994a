//! Prices and bars. Only bars that have closed are told: what a client asks for never knows the future.

use polybolos_engine::signals::Bar;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::exchange_sim::exchange::Exchange;
use crate::exchange_sim::params::Params;
use crate::exchange_sim::refusal::Refusal;
use crate::exchange_sim::render::decimal;
use crate::exchange_sim::render::market::{DEPTH, closes_ms, row};
use crate::simulator::Reject;
use crate::symbol::Symbol;

const DAY_MS: i64 = 86_400_000;

/// The last price of a pair.
fn last(exchange: &Exchange, symbol: &Symbol) -> Result<Decimal, Refusal> {
    if !exchange.core.rules().any(|rules| rules.symbol == *symbol) {
        return Err(Reject::invalid_symbol().into());
    }
    Ok(exchange.core.price(symbol).unwrap_or_default())
}

/// Answers for one pair as an object, for several or all as a list.
fn each(
    exchange: &Exchange,
    params: &Params,
    one: impl Fn(&Exchange, &Symbol) -> Result<Value, Refusal>,
) -> Result<Value, Refusal> {
    let wanted = params.symbols()?;
    if let (Some(symbols), Some(_)) = (&wanted, params.get("symbol")) {
        return symbols.first().map_or(Ok(Value::Null), |symbol| one(exchange, symbol));
    }
    let all = || exchange.core.rules().map(|rules| rules.symbol.clone()).collect();
    let wanted: Vec<Symbol> = wanted.unwrap_or_else(all);
    wanted.iter().map(|symbol| one(exchange, symbol)).collect()
}

/// Pairs of a request; 0 stands for all.
fn count(params: &Params) -> usize {
    params.symbols().ok().flatten().map_or(0, |symbols| symbols.len())
}

pub(in crate::exchange_sim) fn ticker_weight(params: &Params) -> u32 {
    if params.get("symbol").is_some() { 2 } else { 4 }
}

pub(in crate::exchange_sim) fn day_weight(params: &Params) -> u32 {
    match count(params) {
        1..=20 => 2,
        21..=100 => 40,
        _ => 80,
    }
}

pub(in crate::exchange_sim) fn depth_weight(params: &Params) -> u32 {
    match params.limit(100, 5_000) {
        Ok(limit) if limit <= 100 => 5,
        Ok(limit) if limit <= 500 => 25,
        Ok(limit) if limit <= 1_000 => 50,
        _ => 250,
    }
}

pub(in crate::exchange_sim) fn klines(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let symbol = params.symbol()?;
    let interval = exchange.interval;
    if params.text("interval")? != interval.name() {
        return Err(Refusal::bad(-1120, "Invalid interval."));
    }
    let limit = params.limit(500, 1_000)?;
    let (from_ms, to_ms) = (params.integer("startTime")?, params.integer("endTime")?);
    let bars = exchange.core.bars(&symbol, from_ms, to_ms, limit)?;
    Ok(bars.iter().map(|bar| row(bar, interval)).collect())
}

pub(in crate::exchange_sim) fn price(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    each(exchange, params, |exchange, symbol| {
        Ok(json!({"symbol": symbol, "price": decimal(last(exchange, symbol)?)}))
    })
}

pub(in crate::exchange_sim) fn book(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    each(exchange, params, |exchange, symbol| {
        let price = decimal(last(exchange, symbol)?);
        Ok(json!({"symbol": symbol, "bidPrice": price, "bidQty": DEPTH, "askPrice": price, "askQty": DEPTH}))
    })
}

pub(in crate::exchange_sim) fn average_price(
    exchange: &mut Exchange,
    params: &Params,
) -> Result<Value, Refusal> {
    let price = last(exchange, &params.symbol()?)?;
    Ok(json!({"mins": 5, "price": decimal(price), "closeTime": exchange.core.now_ms()}))
}

pub(in crate::exchange_sim) fn depth(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    params.limit(100, 5_000)?;
    let level = [decimal(last(exchange, &params.symbol()?)?), DEPTH.to_owned()];
    Ok(json!({"lastUpdateId": exchange.core.now_ms(), "bids": [level], "asks": [level]}))
}

/// Closed bars of the last day of market time, oldest first.
fn last_day(exchange: &Exchange, symbol: &Symbol) -> Result<Vec<Bar>, Refusal> {
    let from_ms = exchange.core.now_ms().saturating_sub(DAY_MS);
    Ok(exchange.core.bars(symbol, Some(from_ms), None, usize::MAX)?)
}

pub(in crate::exchange_sim) fn day(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let is_mini = params.get("type") == Some("MINI");
    each(exchange, params, |exchange, symbol| day_of(exchange, symbol, is_mini))
}

fn day_of(exchange: &Exchange, symbol: &Symbol, is_mini: bool) -> Result<Value, Refusal> {
    let last = last(exchange, symbol)?;
    let bars = last_day(exchange, symbol)?;
    let now_ms = exchange.core.now_ms();
    let price = |value: f64| crate::simulator::decimal(value).unwrap_or_default();
    let open = bars.first().map_or(last, |bar| price(bar.open));
    let high = bars.iter().map(|bar| price(bar.high)).fold(last, Decimal::max);
    let low = bars.iter().map(|bar| price(bar.low)).fold(last, Decimal::min);
    let volume: f64 = bars.iter().map(|bar| bar.volume).sum();
    let quote_volume: f64 = bars.iter().map(|bar| bar.quote_volume).sum();
    let trades: f64 = bars.iter().map(|bar| bar.trades).sum();
    let mut ticker = json!({
        "symbol": symbol, "openPrice": decimal(open), "highPrice": decimal(high), "lowPrice": decimal(low),
        "lastPrice": decimal(last), "volume": volume.to_string(), "quoteVolume": quote_volume.to_string(),
        "openTime": now_ms - DAY_MS, "closeTime": now_ms, "firstId": 0, "lastId": trades as i64, "count": trades as i64
    });
    if !is_mini {
        let percent = (last - open).checked_div(open).unwrap_or_default() * Decimal::ONE_HUNDRED;
        let average = if volume > 0.0 { price(quote_volume / volume) } else { last };
        let more = [
            ("priceChange", decimal(last - open)),
            ("priceChangePercent", percent.round_dp(3).to_string()),
            ("weightedAvgPrice", decimal(average.round_dp(8))),
            ("prevClosePrice", decimal(open)),
            ("lastQty", "0.00000000".to_owned()),
            ("bidPrice", decimal(last)),
            ("bidQty", DEPTH.to_owned()),
            ("askPrice", decimal(last)),
            ("askQty", DEPTH.to_owned()),
        ];
        for (name, value) in more {
            ticker[name] = Value::String(value);
        }
    }
    Ok(ticker)
}

/// Bars as trades: each one is told as a single trade of its volume at its close, numbered by its open time.
fn bars_as_trades(
    exchange: &Exchange,
    params: &Params,
    one: impl Fn(&Bar, i64) -> Value,
) -> Result<Value, Refusal> {
    let (symbol, interval) = (params.symbol()?, exchange.interval);
    let limit = params.limit(500, 1_000)?;
    let id = |bar: &Bar| bar.open_time_ms.div_euclid(interval.ms());
    let from_id = params.integer("fromId")?.map(|id| id.saturating_mul(interval.ms()));
    let from_ms = from_id.or(params.integer("startTime")?);
    let bars = exchange.core.bars(&symbol, from_ms, params.integer("endTime")?, limit)?;
    Ok(bars.iter().map(|bar| one(bar, id(bar))).collect())
}

pub(in crate::exchange_sim) fn trades(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let interval = exchange.interval;
    bars_as_trades(exchange, params, |bar, id| {
        json!({
            "id": id, "price": bar.close.to_string(), "qty": bar.volume.to_string(),
            "quoteQty": bar.quote_volume.to_string(), "time": closes_ms(bar, interval), "isBuyerMaker": false,
            "isBestMatch": true
        })
    })
}

pub(in crate::exchange_sim) fn agg_trades(
    exchange: &mut Exchange,
    params: &Params,
) -> Result<Value, Refusal> {
    let interval = exchange.interval;
    bars_as_trades(exchange, params, |bar, id| {
        json!({
            "a": id, "p": bar.close.to_string(), "q": bar.volume.to_string(), "f": id, "l": id,
            "T": closes_ms(bar, interval), "m": false, "M": true
        })
    })
}
