//! Parity: a session's own candles through the backtester, and every decision that differs, with its cause.
//!
//! The journal says what the bot saw and did. Its candles go through the reference simulator with the strategy's own parameters
//! and settings, flat before the first bar that was acted on. Trades are matched by the bar at whose close they were decided.
//! A cause is given only on evidence in the journal; what has none is [`Cause::Unexplained`].

use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::program::Program;
use polybolos_engine::kernels::sim::SimConfig;
use polybolos_engine::simulation::SimError;
use serde::Serialize;

use crate::ledger::CloseReason;
use crate::symbol::Symbol;
use crate::trader::Record;

mod causes;
mod compare;
mod reference;
mod session;
mod text;

use session::Session;

/// What the session is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The strategy.
    pub program: &'a Program,
    /// One value per parameter, in declaration order.
    pub params: &'a [f64],
    /// Length of the bars.
    pub interval: Interval,
    /// Costs and fills. The cash is that of each symbol in the journal.
    pub config: SimConfig,
    /// Reserve of purchases above the price, basis points: it makes positions of all the money smaller than a backtest's.
    pub collar_bps: f64,
    /// Differences of prices, quantities and rates up to this are none, basis points.
    pub tolerance_bps: f64,
}

/// Why a session cannot be compared.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParityError {
    /// No bar was acted on.
    #[error("the journal has no bar that was acted on; let the bot see a close first")]
    Empty,
    /// The backtest cannot run over a symbol's candles.
    #[error("{symbol}: {error}")]
    Backtest {
        /// Whose.
        symbol: Symbol,
        /// Why.
        error: SimError,
    },
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the two sides are what their names say; prices in quote per base, quantities in base units"
)]
pub enum What {
    /// The backtest entered and the bot did not.
    EntryMissing,
    /// The bot entered and the backtest did not.
    EntryExtra,
    /// The entry was filled in another bar; open times.
    EntryBar { live: i64, backtest: i64 },
    /// The entry's price; `bps` is live over backtest.
    EntryPrice { live: f64, backtest: f64, bps: f64 },
    /// The quantity bought; `bps` is live over backtest.
    Quantity { live: f64, backtest: f64, bps: f64 },
    /// The backtest's position ended and the bot's did not.
    ExitMissing,
    /// The bot's position ended and the backtest's did not.
    ExitExtra,
    /// The position ended in another bar; open times.
    ExitBar { live: i64, backtest: i64 },
    /// The position ended for another reason.
    ExitReason { live: CloseReason, backtest: CloseReason },
    /// The exit's price; `bps` is live over backtest.
    ExitPrice { live: f64, backtest: f64, bps: f64 },
    /// Fees over notional of both sides, fractions.
    FeeRate { live: f64, backtest: f64 },
}

/// Why it differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "cause", content = "detail", rename_all = "snake_case")]
pub enum Cause {
    /// Candles are missing before this open time, UTC milliseconds.
    MissingCandle(i64),
    /// The bar of this open time was caught up on and not acted on.
    CaughtUp(i64),
    /// A limit, a protection or the kill switch held the entry back.
    Risk(String),
    /// The exchange's rules did not allow the order.
    Filter(String),
    /// There was too little money.
    Funds(String),
    /// The exchange did not take the order, or it did not fill.
    NotTaken(String),
    /// The bot was paused, halted or starting.
    NotTrading(String),
    /// Something else than the strategy closed the position.
    ClosedBy(CloseReason),
    /// The market filled at another price than the bar's.
    FillPrice,
    /// The fill came this many milliseconds after the bar opened in which the backtest fills.
    Latency(i64),
    /// The exchange charged another rate.
    Commission,
    /// Less than a step of the exchange's grid.
    Rounding,
    /// The reserve for a price that runs away.
    Collar,
    /// It follows from a difference before it.
    Earlier,
    /// The journal has no evidence of a cause.
    Unexplained,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Open time of the bar at whose close the trade was decided, UTC milliseconds.
    pub bar_open_ms: i64,
    /// What differs.
    #[serde(flatten)]
    pub what: What,
    /// Why.
    #[serde(flatten)]
    pub cause: Cause,
}

/// A symbol's comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SymbolReport {
    /// The symbol.
    pub symbol: Symbol,
    /// Open time of the first bar that was acted on.
    pub from_ms: i64,
    /// Open time of the last bar.
    pub to_ms: i64,
    /// Bars from the first to the last.
    pub bars: usize,
    /// Of these, the ones that were caught up on and not acted on.
    pub caught_up_bars: usize,
    /// Bars that are missing between the first and the last.
    pub missing_bars: i64,
    /// Trades of the bot that the backtest can have, an open one included.
    pub live_trades: usize,
    /// Trades of the backtest, an open one included.
    pub backtest_trades: usize,
    /// Trades that both have.
    pub matched_trades: usize,
    /// What differs, in order of time.
    pub differences: Vec<Difference>,
}

/// A session's comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// By symbol.
    pub symbols: Vec<SymbolReport>,
    /// Differences without a cause.
    pub unexplained: usize,
}

/// Compares a journal's session with the backtest of its candles.
///
/// # Errors
/// [`ParityError`].
pub fn compare(
    records: impl IntoIterator<Item = Record>,
    settings: &Settings<'_>,
) -> Result<Report, ParityError> {
    let session = Session::read(records, settings.interval);
    let mut symbols = Vec::new();
    for (symbol, seen) in &session.symbols {
        let Some(first) = seen.first_live() else {
            continue;
        };
        let backtest = reference::run(seen, first, settings)
            .map_err(|error| ParityError::Backtest { symbol: symbol.clone(), error })?;
        symbols.push(compare::compare(symbol, seen, first, &backtest, settings, &session.standings));
    }
    if symbols.is_empty() {
        return Err(ParityError::Empty);
    }
    let is_unexplained = |difference: &&Difference| difference.cause == Cause::Unexplained;
    let unexplained = symbols.iter().flat_map(|s| &s.differences).filter(is_unexplained).count();
    Ok(Report { symbols, unexplained })
}
