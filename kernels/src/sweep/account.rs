//! The account of one combination: what fills do to cash, to the bit as [`crate::sim`] prescribes.
//!
//! It knows nothing of signals or levels; a walker tells it when and at what raw price to enter and to leave. What comes
//! of it goes to a [`Sink`]: either everything is kept ([`super::path`]), or statistics are summed on the way
//! ([`super::fold`]).

use super::edges::LEAST;
use super::rules::Sizing;
use crate::sim::{ExitReason, Fill, Side, SimConfig, Trade};

/// What the closes of bars `from..to` are marked with: equity is `cash + quantity * close`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Segment {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) cash: f64,
    /// Above 0 long, below 0 short, 0 flat.
    pub(super) quantity: f64,
    pub(super) returns: Returns,
}

/// What the returns within a segment are those of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Returns {
    /// The closes: long with all the cash, or flat.
    Closes,
    /// `close + offset`: short with all the cash.
    Offset(f64),
    /// The account.
    Equity,
}

/// How far a short position may fall and be walked, as a share of the cash with it: below, the rounding of its offset shows.
pub(super) const NEAR_RUIN: f64 = 1.0 / 256.0;

impl Segment {
    /// Equity at a close above which sums over the returns hold their digits.
    #[inline(always)]
    pub(super) fn least(&self) -> f64 {
        if self.quantity < 0.0 { (self.cash * NEAR_RUIN).max(LEAST) } else { LEAST }
    }
}

/// Takes what happens, in order. Segments are not empty, follow each other without a gap and cover every bar.
pub(super) trait Sink {
    fn segment(&mut self, segment: Segment);
    fn trade(&mut self, trade: &Trade);
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) side: Side,
    pub(super) entry_bar: usize,
    /// The first bar it is held in: the entry bar if filled at its open, else the next.
    pub(super) first_bar: usize,
    pub(super) price: f64,
    quantity: f64,
    notional: f64,
    fee: f64,
    returns: Returns,
}

/// The offset of a short position with all the cash: its fill alone tells it.
#[inline(always)]
pub(super) fn short_offset(price: f64, config: &SimConfig) -> f64 {
    -(price * (1.0 + (1.0 - config.taker_fee)))
}

impl Position {
    /// The quantity as equity sees it.
    #[inline(always)]
    fn signed(&self) -> f64 {
        match self.side {
            Side::Long => self.quantity,
            Side::Short => -self.quantity,
        }
    }
}

/// How a position ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exit {
    pub(super) bar: usize,
    /// Price before slippage.
    pub(super) raw: f64,
    pub(super) reason: ExitReason,
    pub(super) bars_held: usize,
}

/// The fill price of an entry.
#[inline(always)]
pub(super) fn entry_price(config: &SimConfig, side: Side, raw: f64) -> f64 {
    match side {
        Side::Long => raw * (1.0 + config.slippage),
        Side::Short => raw * (1.0 - config.slippage),
    }
}

/// The first bar that a position filled in `bar` is held in.
#[inline(always)]
pub(super) fn first_bar(config: &SimConfig, bar: usize) -> usize {
    if config.fill == Fill::Close { bar + 1 } else { bar }
}

/// Cash and fees of one combination.
pub(super) struct Account<'c, S> {
    pub(super) config: &'c SimConfig,
    pub(super) sizing: Sizing,
    pub(super) cash: f64,
    pub(super) fees: f64,
    /// Bars held by a position that is open after the last bar.
    pub(super) open_bars: usize,
    /// Closes before this bar are in a segment.
    pub(super) marked: usize,
    pub(super) sink: S,
}

impl<'c, S: Sink> Account<'c, S> {
    #[inline(always)]
    pub(super) fn new(config: &'c SimConfig, sizing: Sizing, sink: S) -> Account<'c, S> {
        Account { config, sizing, cash: config.cash, fees: 0.0, open_bars: 0, marked: 0, sink }
    }

    /// Opens a position; `None` if the order has no positive finite quantity and is not placed.
    #[inline(always)]
    pub(super) fn enter(&mut self, side: Side, bar: usize, raw: f64) -> Option<Position> {
        let config = self.config;
        let price = entry_price(config, side, raw);
        let quantity = self.quantity(side, price);
        if !(quantity > 0.0 && quantity.is_finite()) {
            return None;
        }
        self.mark(bar, None);
        let notional = quantity * price;
        let fee = notional * config.taker_fee;
        match side {
            Side::Long => self.cash -= notional + fee,
            Side::Short => self.cash += notional - fee,
        }
        self.fees += fee;
        let first_bar = first_bar(config, bar);
        let returns = match (side, self.sizing == Sizing::Equity(1.0)) {
            (_, false) => Returns::Equity,
            (Side::Long, true) => Returns::Closes,
            (Side::Short, true) => Returns::Offset(short_offset(price, config)),
        };
        Some(Position { side, entry_bar: bar, first_bar, price, quantity, notional, fee, returns })
    }

    #[inline(always)]
    fn quantity(&self, side: Side, price: f64) -> f64 {
        let equity = self.cash;
        let unit = match side {
            Side::Long => price * (1.0 + self.config.taker_fee),
            Side::Short => price,
        };
        match self.sizing {
            Sizing::Equity(fraction) => fraction * equity / unit,
            Sizing::Quote(quote) => quote.min(equity) / unit,
            Sizing::Risk(risk, stop_loss) => ((risk * equity) / (price * stop_loss)).min(equity / unit),
        }
    }

    /// Closes a position.
    #[inline(always)]
    pub(super) fn leave(&mut self, position: &Position, exit: &Exit) {
        self.mark(exit.bar, Some(position));
        let config = self.config;
        let is_target = exit.reason == ExitReason::Target;
        let slippage = if is_target { 0.0 } else { config.slippage };
        let rate = if is_target { config.maker_fee } else { config.taker_fee };
        let price = match position.side {
            Side::Long => exit.raw * (1.0 - slippage),
            Side::Short => exit.raw * (1.0 + slippage),
        };
        let notional = position.quantity * price;
        let fee = notional * rate;
        self.fees += fee;
        let (proceeds, cost) = match position.side {
            Side::Long => {
                self.cash += notional - fee;
                (notional - fee, position.notional + position.fee)
            }
            Side::Short => {
                self.cash -= notional + fee;
                (position.notional - position.fee, notional + fee)
            }
        };
        let pnl = proceeds - cost;
        self.sink.trade(&Trade {
            side: position.side,
            entry_bar: position.entry_bar,
            entry_price: position.price,
            exit_bar: exit.bar,
            exit_price: price,
            quantity: position.quantity,
            reason: exit.reason,
            fees: position.fee + fee,
            pnl,
            trade_return: pnl / cost,
            bars_held: exit.bars_held,
        });
    }

    /// Marks all closes up to the end with the position still open, if any.
    #[inline(always)]
    pub(super) fn finish(&mut self, bars: usize, open: Option<&Position>) {
        self.mark(bars, open);
        self.open_bars = open.map_or(0, |position| bars.saturating_sub(position.first_bar));
    }

    /// Marks the closes up to bar `to` with what is held now.
    #[inline(always)]
    fn mark(&mut self, to: usize, held: Option<&Position>) {
        if self.marked < to {
            let (quantity, returns) =
                held.map_or((0.0, Returns::Closes), |held| (held.signed(), held.returns));
            self.sink.segment(Segment { from: self.marked, to, cash: self.cash, quantity, returns });
            self.marked = to;
        }
    }
}
