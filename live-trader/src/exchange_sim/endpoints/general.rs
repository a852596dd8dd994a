//! Reachability, time, rules.

use serde_json::{Value, json};

use crate::exchange_sim::exchange::Exchange;
use crate::exchange_sim::params::Params;
use crate::exchange_sim::refusal::Refusal;
use crate::exchange_sim::render;
use crate::simulator::Reject;

pub(in crate::exchange_sim) const INFO_PARAMS: &[&str] =
    &["symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"];

pub(in crate::exchange_sim) fn ping(_: &mut Exchange, _: &Params) -> Result<Value, Refusal> {
    Ok(json!({}))
}

pub(in crate::exchange_sim) fn time(exchange: &mut Exchange, _: &Params) -> Result<Value, Refusal> {
    Ok(json!({"serverTime": exchange.server_ms()}))
}

pub(in crate::exchange_sim) fn exchange_info(
    exchange: &mut Exchange,
    params: &Params,
) -> Result<Value, Refusal> {
    let wanted = params.symbols()?;
    for symbol in wanted.iter().flatten() {
        if !exchange.core.rules().any(|rules| rules.symbol == *symbol) {
            return Err(Reject::invalid_symbol().into());
        }
    }
    let is_wanted = |symbol| wanted.as_ref().is_none_or(|wanted| wanted.contains(symbol));
    let rules = exchange.core.rules().filter(|rules| is_wanted(&rules.symbol));
    let symbols: Vec<Value> = rules.map(render::market::symbol).collect();
    Ok(json!({
        "timezone": "UTC", "serverTime": exchange.server_ms(), "rateLimits": exchange.counters.published(),
        "exchangeFilters": [], "symbols": symbols
    }))
}
