//! Balances, fees, fills, counts.

use serde_json::{Value, json};

use crate::exchange_sim::exchange::Exchange;
use crate::exchange_sim::params::Params;
use crate::exchange_sim::refusal::Refusal;
use crate::exchange_sim::render::{decimal, orders};
use crate::simulator::Reject;

/// Longest time between `startTime` and `endTime`.
const LONGEST_SPAN_MS: i64 = 86_400_000;

/// First and last moment of a page, both inclusive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) from_ms: Option<i64>,
    to_ms: Option<i64>,
}

impl Span {
    pub(super) fn holds(&self, time_ms: i64) -> bool {
        self.from_ms.is_none_or(|from| time_ms >= from) && self.to_ms.is_none_or(|to| time_ms <= to)
    }
}

/// The span of a request, at most a day where both of its ends are given.
pub(super) fn span(params: &Params) -> Result<Span, Refusal> {
    let (from_ms, to_ms) = (params.integer("startTime")?, params.integer("endTime")?);
    if let (Some(from), Some(to)) = (from_ms, to_ms)
        && to.saturating_sub(from) > LONGEST_SPAN_MS
    {
        return Err(Refusal::bad(-1127, "More than 24 hours between startTime and endTime."));
    }
    Ok(Span { from_ms, to_ms })
}

/// The first rows of an ascending page where its beginning was named, else the last ones.
pub(super) fn page(mut rows: Vec<Value>, limit: usize, is_from_start: bool) -> Value {
    match is_from_start {
        true => rows.truncate(limit),
        false => rows.drain(..rows.len().saturating_sub(limit)).for_each(drop),
    }
    Value::Array(rows)
}

pub(in crate::exchange_sim) fn account(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let omits_zeros = params.get("omitZeroBalances") == Some("true");
    let core = &exchange.core;
    let balances: Vec<Value> = core
        .balances()
        .iter()
        .filter(|held| !(omits_zeros && held.free.is_zero() && held.locked.is_zero()))
        .map(|held| json!({"asset": held.asset, "free": decimal(held.free), "locked": decimal(held.locked)}))
        .collect();
    let settings = core.settings();
    let basis_points = |fee: f64| (fee * 10_000.0).round() as i64;
    Ok(json!({
        "makerCommission": basis_points(settings.maker_fee), "takerCommission": basis_points(settings.taker_fee),
        "buyerCommission": 0, "sellerCommission": 0, "commissionRates": rates(settings.maker_fee, settings.taker_fee),
        "canTrade": true, "canWithdraw": false, "canDeposit": false, "brokered": false,
        "requireSelfTradePrevention": false, "preventSor": false, "updateTime": core.now_ms(), "accountType": "SPOT",
        "balances": balances, "permissions": ["SPOT"], "uid": 1
    }))
}

fn rates(maker: f64, taker: f64) -> Value {
    let text = |fee: f64| crate::simulator::decimal(fee).map(decimal).unwrap_or_default();
    json!({"maker": text(maker), "taker": text(taker), "buyer": "0.00000000", "seller": "0.00000000"})
}

pub(in crate::exchange_sim) fn commission(
    exchange: &mut Exchange,
    params: &Params,
) -> Result<Value, Refusal> {
    let symbol = params.symbol()?;
    let core = &exchange.core;
    if !core.rules().any(|rules| rules.symbol == symbol) {
        return Err(Reject::invalid_symbol().into());
    }
    let settings = core.settings();
    Ok(json!({
        "symbol": symbol, "standardCommission": rates(settings.maker_fee, settings.taker_fee),
        "specialCommission": rates(0.0, 0.0), "taxCommission": rates(0.0, 0.0),
        "discount": {"enabledForAccount": settings.bnb_fees, "enabledForSymbol": settings.bnb_fees,
            "discountAsset": "BNB", "discount": "0.75000000"}
    }))
}

pub(in crate::exchange_sim) fn order_limits(exchange: &mut Exchange, _: &Params) -> Result<Value, Refusal> {
    Ok(exchange.counters.orders())
}

pub(in crate::exchange_sim) fn trades_weight(params: &Params) -> u32 {
    if params.get("orderId").is_some() { 5 } else { 20 }
}

pub(in crate::exchange_sim) fn my_trades(exchange: &mut Exchange, params: &Params) -> Result<Value, Refusal> {
    let symbol = params.symbol()?;
    let span = span(params)?;
    let (from_id, order_id) = (params.integer("fromId")?, params.integer("orderId")?);
    if from_id.is_some() && (span.from_ms.is_some() || span.to_ms.is_some()) {
        let words = "Combination of optional parameters invalid.";
        return Err(Refusal::bad(-1128, words));
    }
    let limit = params.limit(500, 1_000)?;
    let rows: Vec<Value> = exchange
        .core
        .trades(&symbol)?
        .filter(|trade| {
            let fill = &trade.fill;
            from_id.is_none_or(|from| fill.trade_id >= from)
                && order_id.is_none_or(|id| fill.order_id == id)
                && span.holds(fill.time_ms)
        })
        .map(|trade| orders::trade(&trade))
        .collect();
    Ok(page(rows, limit, from_id.is_some() || span.from_ms.is_some()))
}
