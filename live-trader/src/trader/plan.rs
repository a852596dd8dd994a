//! What a trader is told to do: the bot, its symbols, how it enters.

use std::collections::BTreeMap;

use polybolos_engine::interval::Interval;
use polybolos_engine::simulation::RuleValues;
use rust_decimal::Decimal;

use crate::filters::SymbolRules;
use crate::risk::{Limits, Protection};
use crate::symbol::Symbol;

/// How a position is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryStyle {
    /// A market order; protection follows its fill. What a backtest assumes.
    Market,
    /// A limit order above the market that fills whole and at once or not at all, in one list with its protection: a crash at
    /// any moment leaves no unprotected position. Levels are moved to the price of the fill afterwards.
    Protected,
    /// A limit order at the last price that waits on the book. What is not filled after `expire_bars` closes is cancelled, and
    /// once a part is filled the rest is cancelled if the position needs protection.
    Limit {
        /// Closes that it waits for.
        expire_bars: u32,
    },
}

/// What to do when a stream has been gone for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisconnect {
    /// Positions and their protection stay; no entry.
    Hold,
    /// As `Hold`, and orders that wait to open a position are cancelled.
    Protect,
    /// Positions are closed, and the bot is paused.
    Flatten,
}

/// One symbol of a bot.
#[derive(Debug, Clone, PartialEq)]
pub struct SymbolPlan {
    /// The exchange's rules.
    pub rules: SymbolRules,
    /// Quote units this symbol trades with; its profits and losses stay with it.
    pub cash: Decimal,
}

/// A bot.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Its name; part of every order id.
    pub bot: String,
    /// Length of its bars.
    pub interval: Interval,
    /// Exit and sizing rules with the parameters' values.
    pub rules: RuleValues,
    /// How it enters.
    pub entry: EntryStyle,
    /// Whether the market stands still until its closes have been decided on: the price of an entry that never reached the exchange is
    /// then not gone.
    pub market_waits: bool,
    /// Price collar of `Protected` entries above the last price, and reserve of market entries, basis points.
    pub collar_bps: Decimal,
    /// Fee of market orders, a fraction of notional: what a purchase must leave room for.
    pub taker_fee: Decimal,
    /// Its symbols.
    pub symbols: BTreeMap<Symbol, SymbolPlan>,
    /// Longest time a request can take effect after it was sent: the request's window and the exchange's own patience, ms.
    pub settle_ms: i64,
    /// Time between two reconciliations, ms.
    pub reconcile_every_ms: i64,
    /// What no entry may break.
    pub limits: Limits,
    /// Rules that hold entries back after closed trades.
    pub protections: Vec<Protection>,
    /// Largest difference of an asset's balance from the journal that is taken over instead of refused, units of the asset.
    pub accepted_differences: BTreeMap<String, Decimal>,
    /// What to do without a stream.
    pub on_disconnect: OnDisconnect,
    /// How long a stream may be gone before that, ms.
    pub disconnect_after_ms: i64,
}
