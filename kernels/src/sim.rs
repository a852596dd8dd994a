//! The numbers that govern a simulation, and the arithmetic that every simulator follows to the bit.
//!
//! Two simulators are written from this page and from nothing of each other: the sweep in this crate and the reference
//! simulator of the engine. Prices, quantities and cash must agree in every bit, so the operations and their order are
//! fixed here (IEEE `f64`, no fused multiply-add). `p` is the raw price of a fill, `E` the equity (= cash) just before an
//! entry, `m` and `k` the maker and taker fee, `s` the slippage.
//!
//! | quantity | operations |
//! |---|---|
//! | fill price, market buy | `p * (1 + s)` |
//! | fill price, market sell | `p * (1 - s)` |
//! | fill price, take profit | `p` |
//! | long quantity, equity / quote | `budget / (price * (1 + k))`, `budget = f * E` or `min(quote, E)` |
//! | short quantity, equity / quote | `budget / price` |
//! | risk quantity | `min((risk * E) / (price * stop_loss), E / (price * (1 + k)))` long, `E / price` short |
//! | notional, fee | `quantity * price`, `notional * rate`; `rate = m` for a take profit, else `k` |
//! | buy | `cash - (notional + fee)` |
//! | sell | `cash + (notional - fee)` |
//! | equity at a close | flat: `cash`; long: `cash + quantity * close`; short: `cash - quantity * close` |
//! | stop, target, trailing level, long | `entry * (1 - sl)`, `entry * (1 + tp)`, `max(entry, highs) * (1 - tr)` |
//! | the same, short | `entry * (1 + sl)`, `entry * (1 - tp)`, `min(entry, lows) * (1 + tr)` |
//! | pnl | net proceeds of the sale `notional - fee` minus gross cost of the purchase `notional + fee`, either side |
//! | trade return | `pnl / gross cost` |
//! | trade fees | entry fee + exit fee |
//! | total fees | running sum in fill order, a reversal's exit before its entry |
//!
//! `entry` is the fill price of the entry, slippage included. An order whose quantity is not a positive finite number
//! (an account that a short has ruined) is not placed.
//!
//! **Bars held.** A bar counts when the position was open after the bar's open fills and before its close fills: the
//! entry bar counts if filled at the open, the exit bar if the exit was intrabar (a gap at the open included) or at the
//! close. Exposure sums the same counts, the position still open at the end included.
//!
//! **Levels in a bar** (long; short mirrored). The effective stop is the higher of stop and trailing level; its reason is
//! `Stop` when they are equal. `open <= stop`: fill at the open. Else `open >= target`: fill at the open. Else if both
//! `low <= stop` and `high >= target`: the bar is ambiguous, it is counted, and [`Intrabar`] decides. Else whichever is hit.
//! A stop (plain or trailing, gap or not) is a market fill; a target (gap or not) a maker fill without slippage.
//!
//! **Decisions at a close** (long; short mirrored): `short_enter AND NOT long_enter` reverses; else `long_exit` or a due
//! time exit leaves, reason `Signal` if the signal is TRUE. Flat: enter unless in cooldown; neither when both sides are TRUE.
//! A reversal ignores the cooldown (it is decided while in the position). Under [`Fill::Close`] a plain exit and a new entry
//! never happen at the same close; a bar has one decision.

/// When an order decided at a close is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fill {
    /// At the open of the next bar; decisions of the last bar are not filled.
    #[default]
    NextOpen,
    /// At the very close.
    Close,
}

/// Which level is hit first when a bar reaches both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Intrabar {
    /// The stop: the pessimist's choice.
    #[default]
    StopFirst,
    /// The target.
    TargetFirst,
    /// The one nearer to the bar's open; the stop when equally near.
    NearestOpen,
}

/// How the return series for Sharpe and its kin is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Returns {
    /// Last equity at or before each 00:00 UTC; per bar when a bar lasts a day or more.
    #[default]
    Daily,
    /// Every bar.
    Bar,
}

/// Account and costs of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimConfig {
    /// Initial cash in quote currency, above 0.
    pub cash: f64,
    /// Fee of take-profit fills, fraction of notional per side.
    pub maker_fee: f64,
    /// Fee of all other fills, fraction of notional per side.
    pub taker_fee: f64,
    /// Fraction of the price lost on market fills.
    pub slippage: f64,
    /// When decisions are filled.
    pub fill: Fill,
    /// Order of levels inside a bar.
    pub intrabar: Intrabar,
    /// Sampling of returns.
    pub returns: Returns,
}

impl Default for SimConfig {
    fn default() -> Self {
        SimConfig {
            cash: 10_000.0,
            maker_fee: 0.001,
            taker_fee: 0.001,
            slippage: 0.0,
            fill: Fill::default(),
            intrabar: Intrabar::default(),
            returns: Returns::default(),
        }
    }
}

/// Direction of a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Bought first.
    Long,
    /// Sold first.
    Short,
}

/// Why a trade ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitReason {
    /// An exit signal or a reversal.
    Signal,
    /// The stop loss.
    Stop,
    /// The take profit.
    Target,
    /// The trailing stop.
    Trailing,
    /// The time exit.
    Time,
}

impl ExitReason {
    /// The word used in trade files.
    pub fn name(self) -> &'static str {
        match self {
            ExitReason::Signal => "signal",
            ExitReason::Stop => "stop",
            ExitReason::Target => "target",
            ExitReason::Trailing => "trailing",
            ExitReason::Time => "time",
        }
    }
}

/// A closed trade. Bars are 0-based rows of the run's bars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trade {
    /// Direction.
    pub side: Side,
    /// Bar of the entry fill.
    pub entry_bar: usize,
    /// Fill price of the entry, slippage included.
    pub entry_price: f64,
    /// Bar of the exit fill.
    pub exit_bar: usize,
    /// Fill price of the exit, slippage included.
    pub exit_price: f64,
    /// Base quantity, above 0.
    pub quantity: f64,
    /// Why it ended.
    pub reason: ExitReason,
    /// Entry fee plus exit fee, quote currency.
    pub fees: f64,
    /// Profit after fees, quote currency.
    pub pnl: f64,
    /// `pnl` over the gross cost of the purchase.
    pub trade_return: f64,
    /// Bars in the position, see the module.
    pub bars_held: usize,
}
