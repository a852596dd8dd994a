//! Which symbols are traded when none are named: filters and a ranking by volume, with a reason for each symbol in and out.
//!
//! Pure: what it is given of the market at one moment decides, and nothing else. Where a filter needs a value that is not
//! there, the symbol is left out and the reason says what is missing.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use polybolos_engine::interval::DAY_MS;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde::{Deserialize, Serialize};

use crate::config::SelectionConfig;
use crate::filters::{SymbolRules, SymbolStatus};
use crate::symbol::Symbol;

/// What is known of a symbol.
#[derive(Debug, Clone)]
pub struct Listing<'a> {
    /// The exchange's rules for it.
    pub rules: &'a SymbolRules,
    /// Volume of the last 24 hours in quote currency (`ticker/24hr`).
    pub quote_volume_24h: Option<Decimal>,
    /// Best bid and best ask (`ticker/bookTicker`).
    pub quote: Option<(Decimal, Decimal)>,
    /// Open time of its first bar, UTC milliseconds (`klines` from time 0).
    pub first_bar_ms: Option<i64>,
    /// Closes of its newest closed daily bars, oldest first (`klines` of `1d`).
    pub daily_closes: &'a [f64],
}

/// Why a symbol is in or out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Verdict {
    /// It passed every filter and is among the largest by volume.
    Ranked {
        /// Its place, 1 is the largest volume.
        rank: u32,
    },
    /// It has a position, or an order: it stays whatever the filters say.
    Held,
    /// It passed every filter, but others have more volume.
    BelowCut {
        /// Its place.
        rank: u32,
    },
    /// Another quote asset than the bot's.
    OtherQuoteAsset,
    /// The exchange does not trade it now.
    NotTrading,
    /// The blacklist names it.
    Blacklisted,
    /// There is a whitelist and it is not on it.
    NotWhitelisted,
    /// A filter needs something that is not known.
    Unknown {
        /// What.
        what: String,
    },
    /// A value is on the wrong side of a filter.
    Filtered {
        /// The filter's name in the section `selection`.
        filter: String,
        /// The symbol's value, in the filter's unit.
        value: Decimal,
        /// The filter's.
        limit: Decimal,
    },
}

impl Verdict {
    /// Whether the symbol is traded.
    pub fn is_in(&self) -> bool {
        matches!(self, Verdict::Ranked { .. } | Verdict::Held)
    }

    /// One line for logs and tables.
    pub fn line(&self) -> String {
        match self {
            Verdict::Ranked { rank } => format!("number {rank} by volume"),
            Verdict::Held => "has a position".to_owned(),
            Verdict::BelowCut { rank } => format!("number {rank} by volume, below the cut"),
            Verdict::OtherQuoteAsset => "another quote asset".to_owned(),
            Verdict::NotTrading => "not traded by the exchange now".to_owned(),
            Verdict::Blacklisted => "on the blacklist".to_owned(),
            Verdict::NotWhitelisted => "not on the whitelist".to_owned(),
            Verdict::Unknown { what } => format!("its {what} is not known"),
            Verdict::Filtered { filter, value, limit } => format!("{filter}: {value} against {limit}"),
        }
    }
}

/// A symbol with the reason why it is in or out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selected {
    /// The symbol.
    pub symbol: Symbol,
    /// Why.
    pub verdict: Verdict,
}

/// Judges every listing. `held` stay in and count against `max_symbols`; the result is ordered by name.
pub fn select(
    config: &SelectionConfig,
    quote_asset: &str,
    listings: &[Listing<'_>],
    held: &BTreeSet<Symbol>,
    now_ms: i64,
) -> Vec<Selected> {
    let mut judged = Vec::with_capacity(listings.len());
    let mut passed: Vec<(&Symbol, Decimal)> = Vec::new();
    for listing in listings {
        let symbol = &listing.rules.symbol;
        if held.contains(symbol) {
            judged.push(Selected { symbol: symbol.clone(), verdict: Verdict::Held });
            continue;
        }
        match filtered(config, quote_asset, listing, now_ms) {
            Some(verdict) => judged.push(Selected { symbol: symbol.clone(), verdict }),
            None => passed.push((symbol, listing.quote_volume_24h.unwrap_or_default())),
        }
    }
    // A held symbol that the exchange lists no more is still held.
    let unlisted =
        held.iter().filter(|symbol| listings.iter().all(|listing| listing.rules.symbol != **symbol));
    judged.extend(unlisted.map(|symbol| Selected { symbol: symbol.clone(), verdict: Verdict::Held }));
    passed.sort_by_key(|&(symbol, volume)| (Reverse(volume), symbol.clone()));
    let held_count = u32::try_from(held.len()).unwrap_or(u32::MAX);
    let room = config.max_symbols.saturating_sub(held_count);
    for ((symbol, _), rank) in passed.into_iter().zip(1..) {
        let verdict = if rank <= room { Verdict::Ranked { rank } } else { Verdict::BelowCut { rank } };
        judged.push(Selected { symbol: symbol.clone(), verdict });
    }
    judged.sort_by(|a, b| a.symbol.cmp(&b.symbol));
    judged
}

/// The first filter that keeps a symbol out.
fn filtered(
    config: &SelectionConfig,
    quote_asset: &str,
    listing: &Listing<'_>,
    now_ms: i64,
) -> Option<Verdict> {
    let name = listing.rules.symbol.as_str();
    let is_on = |list: &[String]| list.iter().any(|pattern| matches_pattern(pattern, name));
    if listing.rules.quote_asset != quote_asset {
        return Some(Verdict::OtherQuoteAsset);
    }
    if listing.rules.status != SymbolStatus::Trading {
        return Some(Verdict::NotTrading);
    }
    if is_on(&config.blacklist) {
        return Some(Verdict::Blacklisted);
    }
    if !config.whitelist.is_empty() && !is_on(&config.whitelist) {
        return Some(Verdict::NotWhitelisted);
    }
    let min = |filter, value, limit| bound(filter, value, limit, |value, limit| value >= limit);
    let max = |filter, value, limit| bound(filter, value, limit, |value, limit| value <= limit);
    let volatility = if config.min_volatility.is_some() || config.max_volatility.is_some() {
        volatility(listing.daily_closes, config.volatility_days)
    } else {
        None
    };
    let age_days = listing.first_bar_ms.map(|first| Decimal::from((now_ms - first).div_euclid(DAY_MS)));
    let min_notional = listing.rules.notional.as_ref().map_or(Decimal::ZERO, |bounds| bounds.min);
    min("min_quote_volume_24h", listing.quote_volume_24h, config.min_quote_volume_24h)
        .or_else(|| max("max_spread_bps", spread_bps(listing.quote), config.max_spread_bps))
        .or_else(|| min("min_age_days", age_days, config.min_age_days.map(Decimal::from)))
        .or_else(|| min("min_volatility", volatility, config.min_volatility))
        .or_else(|| max("max_volatility", volatility, config.max_volatility))
        .or_else(|| max("max_min_notional", Some(min_notional), config.max_min_notional))
}

fn bound(
    filter: &str,
    value: Option<Decimal>,
    limit: Option<Decimal>,
    passes: fn(Decimal, Decimal) -> bool,
) -> Option<Verdict> {
    let limit = limit?;
    let Some(value) = value else {
        let what = filter.split_once('_').map_or(filter, |(_, what)| what).replace('_', " ");
        return Some(Verdict::Unknown { what });
    };
    (!passes(value, limit)).then(|| Verdict::Filtered { filter: filter.to_owned(), value, limit })
}

/// `BTC*`, `*UPUSDT`, `*DOWN*` or a whole name.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => name.contains(pattern.trim_matches('*')),
        (Some(end), None) => name.ends_with(end),
        (None, Some(start)) => name.starts_with(start),
        (None, None) => name == pattern,
    }
}

/// Distance of best bid and ask in hundredths of a percent of their middle, to four places; unknown for an empty or crossed
/// book.
fn spread_bps(quote: Option<(Decimal, Decimal)>) -> Option<Decimal> {
    let (bid, ask) = quote?;
    if bid <= Decimal::ZERO || ask < bid {
        return None;
    }
    let middle = (bid + ask) / Decimal::TWO;
    Some(((ask - bid) / middle * Decimal::from(10_000)).round_dp(4))
}

/// Standard deviation (ddof 1) of the log returns of the newest `days` days, to six places; unknown with fewer closes or one
/// that is not a positive number.
fn volatility(closes: &[f64], days: u32) -> Option<Decimal> {
    let wanted = usize::try_from(days).ok()? + 1;
    let newest = closes.get(closes.len().checked_sub(wanted)?..)?;
    if !newest.iter().all(|close| close.is_finite() && *close > 0.0) {
        return None;
    }
    let returns: Vec<f64> = newest
        .windows(2)
        .filter_map(|pair| if let [from, to] = pair { Some(libm::log(to / from)) } else { None })
        .collect();
    let count = returns.len() as f64;
    if count < 2.0 {
        return None;
    }
    let mean = returns.iter().sum::<f64>() / count;
    let squares: f64 = returns.iter().map(|value| (value - mean) * (value - mean)).sum();
    Decimal::try_from((squares / (count - 1.0)).sqrt())
        .ok()
        .filter(|v| v.to_f64().is_some())
        .map(|v| v.round_dp(6))
}
