//! A closed trade, and the statistics of closed trades.

use polybolos_engine::kernels::sim::ExitReason;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::symbol::Symbol;

/// Why a position is closed, or was; the backtest's words where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The strategy's exit signal.
    Signal,
    /// The stop loss.
    Stop,
    /// The take profit.
    Target,
    /// The trailing stop.
    Trailing,
    /// The strategy's time exit.
    Time,
    /// An operator.
    Operator,
    /// The kill switch.
    Kill,
    /// The connection was lost for too long, and the configuration says to flatten.
    Disconnect,
    /// No protection could be placed.
    Unprotected,
    /// An order that was not this bot's.
    Foreign,
}

impl CloseReason {
    /// Whether a stop of any kind ended it at the exchange.
    pub fn is_stop(self) -> bool {
        matches!(self, CloseReason::Stop | CloseReason::Trailing)
    }

    /// Whether the strategy's own rules ended it, and so a backtest could have.
    pub fn is_of_strategy(self) -> bool {
        matches!(
            self,
            CloseReason::Signal
                | CloseReason::Stop
                | CloseReason::Target
                | CloseReason::Trailing
                | CloseReason::Time
        )
    }

    /// Whether it is decided at a close, as opposed to a level inside a bar.
    pub fn is_decided(self) -> bool {
        matches!(self, CloseReason::Signal | CloseReason::Time)
    }

    /// The word in trade files.
    pub fn name(self) -> &'static str {
        match self {
            CloseReason::Signal => "signal",
            CloseReason::Stop => "stop",
            CloseReason::Target => "target",
            CloseReason::Trailing => "trailing",
            CloseReason::Time => "time",
            CloseReason::Operator => "operator",
            CloseReason::Kill => "kill",
            CloseReason::Disconnect => "disconnect",
            CloseReason::Unprotected => "unprotected",
            CloseReason::Foreign => "foreign",
        }
    }
}

impl From<ExitReason> for CloseReason {
    fn from(reason: ExitReason) -> CloseReason {
        match reason {
            ExitReason::Signal => CloseReason::Signal,
            ExitReason::Stop => CloseReason::Stop,
            ExitReason::Target => CloseReason::Target,
            ExitReason::Trailing => CloseReason::Trailing,
            ExitReason::Time => CloseReason::Time,
        }
    }
}

/// A trade from its first buy to the sell that left less than a lot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveTrade {
    /// The pair.
    pub symbol: Symbol,
    /// Time of the first buy, exchange clock.
    pub entry_ms: i64,
    /// Time of the last sell, exchange clock.
    pub exit_ms: i64,
    /// Mean price of its buys without fees, quote per base.
    pub entry_price: Decimal,
    /// Mean price of its sells without fees, quote per base; `None` if nothing could be sold.
    pub exit_price: Option<Decimal>,
    /// Base units sold.
    pub quantity: Decimal,
    /// Why it ended.
    pub reason: CloseReason,
    /// Fees of both sides in quote currency; those without a known price are not in it.
    pub fees: Decimal,
    /// What the sold units cost, entry fees included, quote currency.
    pub cost: Decimal,
    /// Net proceeds less `cost`, quote currency.
    pub pnl: Decimal,
    /// `pnl / cost`; `None` for a cost of 0.
    pub trade_return: Option<Decimal>,
    /// Bars between the bar of the first buy and the bar of the last sell, by time.
    pub bars_held: i64,
}

/// Sums over closed trades.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    trades: u64,
    wins: u64,
    gross_profit: Decimal,
    gross_loss: Decimal,
    bars_held: i64,
}

impl Tally {
    pub(super) fn add(&mut self, trade: &LiveTrade) {
        self.trades += 1;
        self.bars_held += trade.bars_held;
        if trade.pnl > Decimal::ZERO {
            self.wins += 1;
            self.gross_profit += trade.pnl;
        } else {
            self.gross_loss -= trade.pnl;
        }
    }

    pub(super) fn statistics(&self, max_drawdown: Decimal, fees: Decimal) -> Statistics {
        let pnl = self.gross_profit - self.gross_loss;
        let per_trade = |value: Decimal| value.checked_div(Decimal::from(self.trades));
        Statistics {
            trades: self.trades,
            pnl,
            win_rate: per_trade(Decimal::from(self.wins)),
            profit_factor: self.gross_profit.checked_div(self.gross_loss),
            expectancy: per_trade(pnl),
            average_bars_held: per_trade(Decimal::from(self.bars_held)),
            max_drawdown,
            fees,
        }
    }
}

/// Statistics of the trades closed so far, defined as the backtest's metrics of the same names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Closed trades.
    pub trades: u64,
    /// Sum of their profits after fees, quote currency.
    pub pnl: Decimal,
    /// Trades with a profit above 0 over all; `None` without trades.
    pub win_rate: Option<Decimal>,
    /// Sum of profits over sum of losses; `None` without losses.
    pub profit_factor: Option<Decimal>,
    /// Mean profit of a trade, quote currency; `None` without trades.
    pub expectancy: Option<Decimal>,
    /// Mean bars held; `None` without trades.
    pub average_bars_held: Option<Decimal>,
    /// Largest fall of the marked equity from its peak, a fraction of the peak.
    pub max_drawdown: Decimal,
    /// All fees in quote currency, of open trades too; those without a known price are not in it.
    pub fees: Decimal,
}
