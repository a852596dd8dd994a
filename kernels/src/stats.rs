//! Sufficient statistics of one simulated combination: everything the metrics need, and nothing per bar.
//!
//! Returns are plain (not logarithmic), sampled as [`crate::sim::Returns`] says; the first one starts from the initial cash.

/// Statistics of one (symbol, combination). Counts are whole; money is in quote currency.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stats {
    /// Equity at the last close; the initial cash if there is no bar.
    pub final_equity: f64,
    /// Sampled returns, `T`.
    pub observations: u64,
    /// Whether every return is finite and starts from a positive equity. When not, the moments below are 0 and every
    /// metric of the return series is undefined.
    pub returns_defined: bool,
    /// Mean return, `sum(r) / T`; 0 when `T = 0`.
    pub mean_return: f64,
    /// `sum((r - mean)^2)`.
    pub m2: f64,
    /// `sum((r - mean)^3)`.
    pub m3: f64,
    /// `sum((r - mean)^4)`.
    pub m4: f64,
    /// `sum(min(r, 0)^2)`.
    pub downside: f64,
    /// Largest `1 - equity / peak` over bar closes, the initial cash included; at least 0.
    pub max_drawdown: f64,
    /// Closed trades.
    pub trades: u64,
    /// Closed long trades.
    pub long_trades: u64,
    /// Closed short trades.
    pub short_trades: u64,
    /// Trades with `pnl > 0`.
    pub wins: u64,
    /// Sum of positive pnl.
    pub gross_profit: f64,
    /// Sum of `-pnl` over trades with `pnl < 0`.
    pub gross_loss: f64,
    /// Sum of pnl.
    pub pnl_sum: f64,
    /// Sum of squared deviations of pnl from its mean.
    pub pnl_m2: f64,
    /// Sum of trade returns.
    pub trade_return_sum: f64,
    /// Largest trade return; 0 without trades.
    pub best_trade: f64,
    /// Smallest trade return; 0 without trades.
    pub worst_trade: f64,
    /// Longest run of trades with `pnl < 0`.
    pub max_consecutive_losses: u64,
    /// Bars held, summed over closed trades.
    pub bars_held: u64,
    /// Bars with a position, the one still open at the end included.
    pub bars_in_position: u64,
    /// Fees paid, the entry of a position still open included.
    pub fees: f64,
    /// Bars in which both stop and target were reachable.
    pub ambiguous_bars: u64,
}
