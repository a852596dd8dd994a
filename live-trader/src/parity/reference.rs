//! The backtest of a session's candles.

use polybolos_engine::kernels::sim::{Fill, SimConfig};
use polybolos_engine::signals::{Decision, Signals};
use polybolos_engine::simulation::{RuleValues, SimError, Simulator};

use super::Settings;
use super::session::{Exit, Seen, Trade};
use crate::ledger::CloseReason;

/// What the backtest did.
pub(super) struct Backtest {
    pub(super) trades: Vec<Trade>,
    /// What the strategy says at each close of the session, from the first candle on.
    pub(super) wanted: Vec<Decision>,
}

/// Runs the candles, flat before number `first`; those before it only warm the strategy up.
pub(super) fn run(seen: &Seen, first: usize, settings: &Settings<'_>) -> Result<Backtest, SimError> {
    let mut signals = Signals::new(settings.program, settings.params, settings.interval.ms())?;
    let rules = RuleValues::new(settings.program, &signals)?;
    let config = SimConfig { cash: seen.cash, ..settings.config };
    let mut simulator = Simulator::new(rules, config)?;
    let (mut equity, mut wanted) = (Vec::new(), Vec::new());
    for (t, candle) in seen.candles.iter().enumerate() {
        let bar = &candle.bar;
        let decision = signals.push(bar);
        wanted.push(decision);
        if t >= first {
            simulator.open(bar.open);
            simulator.levels(bar.open, bar.high, bar.low);
            equity.push(simulator.close(bar.close, decision));
        }
    }
    let run = simulator.finish(equity);
    let open_of = |bar: usize| seen.candles.get(first + bar).map_or(0, |candle| candle.bar.open_time_ms);
    let is_at_close = settings.config.fill == Fill::Close;
    // A close is the moment at which the next bar begins: what fills there fills in that bar.
    let filled_in =
        |bar: usize| if is_at_close { open_of(bar) + settings.interval.ms() } else { open_of(bar) };
    let decided_at = |bar: usize| if is_at_close { open_of(bar) } else { open_of(bar.saturating_sub(1)) };
    let mut trades: Vec<Trade> = Vec::new();
    for trade in &run.trades {
        let exit_ms = if CloseReason::from(trade.reason).is_decided() {
            filled_in(trade.exit_bar)
        } else {
            open_of(trade.exit_bar)
        };
        let notional = trade.quantity * (trade.entry_price + trade.exit_price);
        trades.push(Trade {
            decided_ms: decided_at(trade.entry_bar),
            entry_ms: filled_in(trade.entry_bar),
            entry_bar_ms: filled_in(trade.entry_bar),
            entry_price: trade.entry_price,
            quantity: trade.quantity,
            exit: Some(Exit {
                at_ms: exit_ms,
                bar_ms: exit_ms,
                price: trade.exit_price,
                reason: trade.reason.into(),
            }),
            left_later_ms: None,
            fee_rate: trade.fees / notional,
        });
    }
    if let Some(position) = run.open_position {
        trades.push(Trade {
            decided_ms: decided_at(position.entry_bar),
            entry_ms: filled_in(position.entry_bar),
            entry_bar_ms: filled_in(position.entry_bar),
            entry_price: position.entry_price,
            quantity: position.quantity,
            exit: None,
            left_later_ms: None,
            fee_rate: position.entry_fee / (position.quantity * position.entry_price),
        });
    }
    Ok(Backtest { trades, wanted })
}
