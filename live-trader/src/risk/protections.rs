//! Protections: rules that look at closed trades and keep pairs, or all of them, from being entered for a while. Names and
//! meanings are freqtrade's. One file each and one line in the table below.

use std::collections::VecDeque;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::ledger::LiveTrade;
use crate::symbol::Symbol;

mod cooldown_period;
mod low_profit_pairs;
mod max_drawdown;
mod stoploss_guard;

pub use cooldown_period::CooldownPeriod;
pub use low_profit_pairs::LowProfitPairs;
pub use max_drawdown::MaxDrawdown;
pub use stoploss_guard::StoplossGuard;

/// A length of time: `{minutes: 60}` or `{bars: 4}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// Minutes.
    Minutes(u32),
    /// Bars of the bot.
    Bars(u32),
}

impl Span {
    fn ms(self, bar_ms: i64) -> i64 {
        match self {
            Span::Minutes(minutes) => i64::from(minutes) * 60_000,
            Span::Bars(bars) => i64::from(bars).saturating_mul(bar_ms),
        }
    }
}

/// Entries that are held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The protection's name.
    pub protection: String,
    /// The pair; `None`: all.
    pub symbol: Option<Symbol>,
    /// When it ends.
    pub until_ms: i64,
    /// Why, with numbers.
    pub reason: String,
}

/// What a protection sees.
struct Evidence<'a> {
    trades: &'a VecDeque<LiveTrade>,
    newest: &'a LiveTrade,
    equity: Decimal,
    bar_ms: i64,
}

impl<'a> Evidence<'a> {
    /// Trades that closed within `lookback` of the newest close, of its pair or of all.
    fn window(&self, lookback: Span, only_pair: bool) -> impl Iterator<Item = &'a LiveTrade> {
        let from_ms = self.newest.exit_ms.saturating_sub(lookback.ms(self.bar_ms));
        let newest = self.newest;
        self.trades
            .iter()
            .filter(move |trade| trade.exit_ms >= from_ms && (!only_pair || trade.symbol == newest.symbol))
    }

    fn lock(&self, protection: &str, only_pair: bool, stop: Span, reason: String) -> Lock {
        Lock {
            protection: protection.to_owned(),
            symbol: only_pair.then(|| self.newest.symbol.clone()),
            until_ms: self.newest.exit_ms.saturating_add(stop.ms(self.bar_ms)),
            reason,
        }
    }
}

macro_rules! protections {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// A protection with its settings, in a file `{method: CooldownPeriod, stop_duration: {bars: 4}}`.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "method")]
        pub enum Protection {
            $($(#[doc = $doc])+ $name($name),)+
        }

        /// Names and meanings of all protections.
        pub const PROTECTIONS: &[(&str, &str)] = &[$((stringify!($name), concat!($($doc),+)),)+];

        impl Protection {
            /// The lock that the newest of `trades` brings about, if any. `equity`: all pairs', now.
            pub fn judge(&self, trades: &VecDeque<LiveTrade>, equity: Decimal, bar_ms: i64) -> Option<Lock> {
                let evidence = Evidence { trades, newest: trades.back()?, equity, bar_ms };
                match self {
                    $(Protection::$name(rule) => rule.judge(stringify!($name), &evidence),)+
                }
            }
        }
    };
}

protections! {
    /// After a trade of a pair, the pair is not entered for `stop_duration`.
    CooldownPeriod;
    /// After `trade_limit` losing trades ended by stops within `lookback`, nothing is entered for `stop_duration`.
    StoplossGuard;
    /// After trades within `lookback` that drew the equity down by `max_allowed_drawdown`, nothing is entered for `stop_duration`.
    MaxDrawdown;
    /// After `trade_limit` trades of a pair within `lookback` that returned less than `required_profit` together, the pair is not
    /// entered for `stop_duration`.
    LowProfitPairs;
}
