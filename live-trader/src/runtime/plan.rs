//! From a bot's file to the trader's plan.

use std::collections::BTreeMap;

use polybolos_engine::signals::Signals;
use polybolos_engine::simulation::RuleValues;
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{BotConfig, DisconnectAction, EntryOrder};
use crate::filters::SymbolRules;
use crate::promotion::BotStrategy;
use crate::simulator::Settings;
use crate::symbol::Symbol;
use crate::trader::{EntryStyle, OnDisconnect, Plan, SymbolPlan};

use super::error::RuntimeError;

/// Longest time the exchange itself takes over a request, ms.
const ENGINE_PATIENCE_MS: i64 = 10_000;

/// What the trader is told: the file's sections in its terms, for pairs with these rules, on a market that waits for it or one that
/// does not.
///
/// # Errors
/// Rules of the strategy that are outside their domain.
pub fn trader_plan(
    config: &BotConfig,
    strategy: &BotStrategy,
    rules: BTreeMap<Symbol, SymbolRules>,
    market_waits: bool,
) -> Result<Plan, RuntimeError> {
    let program = strategy.strategy.program();
    let fault = |error: &dyn std::fmt::Display| RuntimeError::Config(format!("the strategy: {error}"));
    let values = RuleValues::new(program, &signals(strategy)?).map_err(|error| fault(&error))?;
    let simulation = strategy.strategy.config();
    let cash = cash_per_symbol(config, rules.len());
    let of_symbol = |(symbol, rules)| (symbol, SymbolPlan { rules, cash });
    Ok(Plan {
        bot: config.name.clone(),
        interval: strategy.interval,
        rules: values,
        entry: match config.entry.order {
            EntryOrder::Market => EntryStyle::Market,
            EntryOrder::Limit => EntryStyle::Limit { expire_bars: config.entry.expire_bars },
            EntryOrder::Protected => EntryStyle::Protected,
        },
        market_waits,
        collar_bps: config.entry.collar_bps,
        taker_fee: Decimal::from_f64(simulation.taker_fee).unwrap_or_default(),
        symbols: rules.into_iter().map(of_symbol).collect(),
        settle_ms: i64::from(config.exchange.recv_window_ms) + ENGINE_PATIENCE_MS,
        reconcile_every_ms: i64::from(config.reconcile.interval_s) * 1_000,
        limits: same("limits", &config.risk.limits)?,
        protections: same("protections", &config.risk.protections)?,
        accepted_differences: config
            .reconcile
            .accept
            .iter()
            .map(|accepted| (accepted.asset.clone(), accepted.up_to))
            .collect(),
        on_disconnect: match config.on_disconnect.action {
            DisconnectAction::Hold => OnDisconnect::Hold,
            DisconnectAction::Protect => OnDisconnect::Protect,
            DisconnectAction::Flatten => OnDisconnect::Flatten,
        },
        disconnect_after_ms: i64::try_from(config.on_disconnect.after_ms).unwrap_or(i64::MAX),
    })
}

/// A part of the file in the risk gate's own types, which spell it alike.
fn same<T: DeserializeOwned>(what: &str, part: &impl Serialize) -> Result<T, RuntimeError> {
    let value = serde_json::to_value(part).and_then(serde_json::from_value);
    value.map_err(|error| RuntimeError::Config(format!("risk: {what}: {error}")))
}

/// Costs and fills of a simulated exchange: those of the strategy's backtest.
pub fn paper_costs(strategy: &BotStrategy) -> Settings {
    let simulation = strategy.strategy.config();
    Settings {
        maker_fee: simulation.maker_fee,
        taker_fee: simulation.taker_fee,
        slippage: simulation.slippage,
        intrabar: simulation.intrabar,
        bnb_fees: false,
        balances: Vec::new(),
    }
}

/// What each of `symbols` pairs trades with, quote units.
pub fn cash_per_symbol(config: &BotConfig, symbols: usize) -> Decimal {
    // With `selection` there is room for as many as it can choose, however many there are now.
    let count = config.selection.as_ref().map_or(symbols, |selection| selection.max_symbols as usize).max(1);
    let share = |total: Decimal| total.checked_div(Decimal::from(count)).unwrap_or_default();
    config.capital.per_symbol.or(config.capital.total.map(share)).unwrap_or_default()
}

/// The strategy before its first bar.
pub(super) fn signals(strategy: &BotStrategy) -> Result<Signals, RuntimeError> {
    Signals::new(strategy.strategy.program(), &strategy.values, strategy.interval.ms())
        .map_err(|error| RuntimeError::Config(format!("the strategy: {error}")))
}
