//! The state machine of a run: what an open, the inside and the close of a bar do to an account.
//!
//! One bar is `open`, `levels`, `close`, in that order. Nothing here reads bars ahead, so the same machine trades on
//! paper as bars arrive.

use polybolos_kernels::sim::{ExitReason, Fill, Intrabar, Side, SimConfig, Trade};

use super::{Account, RuleValues, Run, SimError};
use crate::signals::Decision;

/// A decision that is waiting for its fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Open a position.
    Enter(Side),
    /// Close the position.
    Exit(ExitReason),
    /// Close the position and open the opposite one at the same price.
    Reverse,
}

/// A run in progress.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulator {
    rules: RuleValues,
    config: SimConfig,
    account: Account,
    pending: Option<Order>,
    /// Number of the current bar.
    bar: usize,
    last_exit_bar: Option<usize>,
    trades: Vec<Trade>,
    ambiguous_bars: u64,
    bars_in_position: u64,
}

impl Simulator {
    /// A flat account before bar 0.
    ///
    /// # Errors
    /// [`SimError::Config`] for cash, fees or slippage outside their domains.
    pub fn new(rules: RuleValues, config: SimConfig) -> Result<Simulator, SimError> {
        let costs =
            [("maker fee", config.maker_fee), ("taker fee", config.taker_fee), ("slippage", config.slippage)];
        for (setting, value) in costs {
            if !(0.0..1.0).contains(&value) {
                return Err(SimError::Config { setting, value, allowed: "a fraction from 0, below 1" });
            }
        }
        if !(config.cash.is_finite() && config.cash > 0.0) {
            return Err(SimError::Config {
                setting: "cash",
                value: config.cash,
                allowed: "a number above 0",
            });
        }
        Ok(Simulator {
            rules,
            config,
            account: Account::new(config),
            pending: None,
            bar: 0,
            last_exit_bar: None,
            trades: Vec::new(),
            ambiguous_bars: 0,
            bars_in_position: 0,
        })
    }

    /// Event 1: the order decided at the last close fills at this bar's open.
    pub fn open(&mut self, open: f64) {
        if let Some(order) = self.pending.take() {
            self.fill(order, open);
        }
    }

    /// Event 2: a position open by now holds the bar, and its protective levels act inside it.
    pub fn levels(&mut self, open: f64, high: f64, low: f64) {
        let Some(position) = self.account.position_mut() else {
            return;
        };
        position.bars_held += 1;
        self.bars_in_position += 1;
        let levels = Levels::new(position.side, position.entry_price, position.best_price, &self.rules);
        let best = match position.side {
            Side::Long => high,
            Side::Short => low,
        };
        if ahead(position.side, best, position.best_price) {
            position.best_price = best;
        }
        let touch = levels.touch(open, high, low, self.config.intrabar);
        if touch.is_ambiguous {
            self.ambiguous_bars += 1;
        }
        if let Some((price, reason)) = touch.fill {
            self.exit(price, reason);
        }
    }

    /// Event 3: the close. Decides, fills under [`Fill::Close`], marks the account, and ends the bar.
    /// Gives the equity at this close.
    pub fn close(&mut self, close: f64, wanted: Decision) -> f64 {
        let order = self.decide(wanted);
        match self.config.fill {
            Fill::NextOpen => self.pending = order,
            Fill::Close => {
                if let Some(order) = order {
                    self.fill(order, close);
                }
            }
        }
        self.bar += 1;
        self.account.equity(close)
    }

    /// Cash, fees and the open position.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The order that the next open fills.
    pub fn pending(&self) -> Option<Order> {
        self.pending
    }

    /// Trades closed so far.
    pub fn trades(&self) -> &[Trade] {
        &self.trades
    }

    /// Ends the run: the position stays open, marked at the last close of `equity`.
    pub fn finish(self, equity: Vec<f64>) -> Run {
        Run {
            trades: self.trades,
            equity,
            ambiguous_bars: self.ambiguous_bars,
            bars_in_position: self.bars_in_position,
            fees: self.account.fees(),
            open_position: self.account.position().copied(),
        }
    }

    fn decide(&self, wanted: Decision) -> Option<Order> {
        let held =
            self.account.position().map(|position| Held { side: position.side, bars: position.bars_held });
        order_at_close(&self.rules, wanted, held, self.is_cooling_down())
    }

    /// After an exit in bar t the closes of bars t to t + cooldown - 1 decide no entry.
    fn is_cooling_down(&self) -> bool {
        self.last_exit_bar.is_some_and(|exit| ((self.bar - exit) as u64) < self.rules.cooldown)
    }

    fn fill(&mut self, order: Order, raw: f64) {
        match order {
            Order::Enter(side) => self.enter(side, raw),
            Order::Exit(reason) => self.exit(raw, reason),
            Order::Reverse => {
                if let Some(side) = self.account.position().map(|position| position.side) {
                    self.exit(raw, ExitReason::Signal);
                    self.enter(opposite(side), raw);
                }
            }
        }
    }

    fn enter(&mut self, side: Side, raw: f64) {
        self.account.enter(side, raw, self.bar, self.rules.size, self.rules.stop_loss);
    }

    fn exit(&mut self, raw: f64, reason: ExitReason) {
        self.trades.extend(self.account.exit(raw, self.bar, reason));
        self.last_exit_bar = Some(self.bar);
    }
}

/// The position at a close, as far as a decision depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Direction.
    pub side: Side,
    /// Bars held, this one included.
    pub bars: u64,
}

/// What a strategy does at a close: event 3 of a bar. `wanted` are its signals at this close, `is_cooling_down` whether an
/// exit is too recent for an entry.
pub fn order_at_close(
    rules: &RuleValues,
    wanted: Decision,
    held: Option<Held>,
    is_cooling_down: bool,
) -> Option<Order> {
    let Some(held) = held else {
        return match (wanted.long_enter, wanted.short_enter) {
            _ if is_cooling_down => None,
            (true, false) => Some(Order::Enter(Side::Long)),
            (false, true) => Some(Order::Enter(Side::Short)),
            _ => None,
        };
    };
    let (with, against, leave) = match held.side {
        Side::Long => (wanted.long_enter, wanted.short_enter, wanted.long_exit),
        Side::Short => (wanted.short_enter, wanted.long_enter, wanted.short_exit),
    };
    if against && !with {
        Some(Order::Reverse)
    } else if leave {
        Some(Order::Exit(ExitReason::Signal))
    } else if rules.max_bars.is_some_and(|limit| held.bars >= limit) {
        Some(Order::Exit(ExitReason::Time))
    } else {
        None
    }
}

fn opposite(side: Side) -> Side {
    match side {
        Side::Long => Side::Short,
        Side::Short => Side::Long,
    }
}

/// Whether `price` is better than `than` for a holder of `side`.
fn ahead(side: Side, price: f64, than: f64) -> bool {
    match side {
        Side::Long => price > than,
        Side::Short => price < than,
    }
}

/// Protective levels of a position in one bar, raw prices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    side: Side,
    /// The effective stop, and what a fill there is called.
    pub stop: Option<(f64, ExitReason)>,
    /// The target.
    pub target: Option<f64>,
}

/// What a bar does to the levels.
struct Touch {
    is_ambiguous: bool,
    /// Raw fill price.
    fill: Option<(f64, ExitReason)>,
}

impl Levels {
    /// Levels of a position entered at `entry` whose best price in the bars before this one was `best`.
    pub fn new(side: Side, entry: f64, best: f64, rules: &RuleValues) -> Levels {
        let below = |price: f64, fraction: f64| price * (1.0 - fraction);
        let above = |price: f64, fraction: f64| price * (1.0 + fraction);
        let (fixed, trailing, target) = match side {
            Side::Long => (
                rules.stop_loss.map(|stop| below(entry, stop)),
                rules.trailing_stop.map(|trail| below(best, trail)),
                rules.take_profit.map(|profit| above(entry, profit)),
            ),
            Side::Short => (
                rules.stop_loss.map(|stop| above(entry, stop)),
                rules.trailing_stop.map(|trail| above(best, trail)),
                rules.take_profit.map(|profit| below(entry, profit)),
            ),
        };
        let stop = match (fixed, trailing) {
            (Some(fixed), Some(trailing)) if ahead(side, trailing, fixed) => {
                Some((trailing, ExitReason::Trailing))
            }
            (Some(fixed), _) => Some((fixed, ExitReason::Stop)),
            (None, Some(trailing)) => Some((trailing, ExitReason::Trailing)),
            (None, None) => None,
        };
        Levels { side, stop, target }
    }

    fn touch(&self, open: f64, high: f64, low: f64, intrabar: Intrabar) -> Touch {
        let (worst, best) = match self.side {
            Side::Long => (low, high),
            Side::Short => (high, low),
        };
        let reaches_stop = |price: f64| self.stop.filter(|&(level, _)| !ahead(self.side, price, level));
        let reaches_target = |price: f64| self.target.filter(|&level| !ahead(self.side, level, price));
        let plain = |fill| Touch { is_ambiguous: false, fill };
        if let Some((_, reason)) = reaches_stop(open) {
            return plain(Some((open, reason)));
        }
        if reaches_target(open).is_some() {
            return plain(Some((open, ExitReason::Target)));
        }
        match (reaches_stop(worst), reaches_target(best)) {
            (Some(stop), Some(target)) => {
                let is_stop_first = match intrabar {
                    Intrabar::StopFirst => true,
                    Intrabar::TargetFirst => false,
                    Intrabar::NearestOpen => (open - stop.0).abs() <= (target - open).abs(),
                };
                let fill = if is_stop_first { stop } else { (target, ExitReason::Target) };
                Touch { is_ambiguous: true, fill: Some(fill) }
            }
            (Some(stop), None) => plain(Some(stop)),
            (None, Some(target)) => plain(Some((target, ExitReason::Target))),
            (None, None) => plain(None),
        }
    }
}
