//! Eight accounts side by side, but for their returns: cash, fees, drawdowns and what trades amount to. The same operations
//! in the same order as [`super::account`] and [`super::fold`] make one by one, so the same bits, with one combination per
//! lane of a vector.
//!
//! One account is a chain of a division and a dozen sums that each wait for the last; eight of them take little longer than
//! one. What is rare (a position that sets a peak and may set a drawdown too, an order that is not placed) leaves the lanes.

use super::account::{NEAR_RUIN, Returns, Segment};
use super::edges::LEAST;
use super::extremes::Extremes;
use super::fold::{Fold, TradeSums};
use super::market::Market;
use super::measure::{self, Drawdown};
use crate::sim::{Side, SimConfig};
use crate::simd::{Eight, Lanes, Number};

/// Combinations side by side.
pub(super) const EIGHT: usize = 8;

/// Which side the lanes are on.
#[derive(Clone, Copy)]
pub(super) enum Sides<E> {
    /// All on one.
    One(Side),
    /// 1 in the lanes that are long, -1 in those that are short.
    Each(E),
}

/// The accounts of eight combinations.
#[derive(Clone)]
pub(super) struct Books<'m, L: Lanes> {
    pub(super) lanes: L,
    pub(super) market: &'m Market<'m>,
    pub(super) sides: Sides<L::Eight>,
    pub(super) cash: L::Eight,
    pub(super) fees: L::Eight,
    peak: L::Eight,
    /// The worst drawdown from the peaks before this one.
    worst: L::Eight,
    /// The lowest equity since the peak, if that may be a new worst drawdown; else the equity below which it may. Which drawdown
    /// that is, is asked when the peak ends: rounding is monotone, so that the lowest equity has the worst of all since.
    floor: L::Eight,
    /// Bit `i`: whether the fold of lane `i` covers everything that happened.
    pub(super) fit: u8,
    trades: L::Eight,
    /// Long trades where lanes differ in side.
    longs: L::Eight,
    wins: L::Eight,
    losses_in_a_row: L::Eight,
    most_losses_in_a_row: L::Eight,
    profit: L::Eight,
    loss: L::Eight,
    pnl: L::Eight,
    pnl_squares: L::Eight,
    returns: L::Eight,
    best: L::Eight,
    worst_trade: L::Eight,
}

/// What a position does to equity at a close.
#[derive(Clone, Copy)]
pub(super) struct Holding<E> {
    pub(super) cash: E,
    pub(super) quantity: E,
}

impl<E: Eight> Holding<E> {
    #[inline(always)]
    pub(super) fn at(self, close: E) -> E {
        self.cash + self.quantity * close
    }
}

/// What a closed position leaves.
#[derive(Clone, Copy)]
pub(super) struct Settled<E> {
    pub(super) cash: E,
    pub(super) fees: E,
    pub(super) pnl: E,
    pub(super) cost: E,
}

/// Closes with a position.
#[derive(Clone, Copy)]
pub(super) struct Range<E> {
    pub(super) low: E,
    pub(super) high: E,
}

/// `then` in the lanes where the mask is 1.
#[inline(always)]
pub(super) fn choose<E: Eight>(mask: E, then: E, otherwise: E) -> E {
    mask.like(0.0).where_less(mask, then, otherwise)
}

impl<'m, L: Lanes> Books<'m, L> {
    #[inline(always)]
    pub(super) fn new(lanes: L, market: &'m Market<'m>, sides: Sides<L::Eight>, cash: f64) -> Self {
        let drawdown = Drawdown { peak: cash, worst: 0.0 };
        let all = |value| lanes.splat(value);
        Books {
            lanes,
            market,
            sides,
            cash: all(cash),
            fees: all(0.0),
            peak: all(drawdown.peak),
            worst: all(drawdown.worst),
            floor: all(drawdown.floor()),
            fit: if cash > LEAST { u8::MAX } else { 0 },
            trades: all(0.0),
            longs: all(0.0),
            wins: all(0.0),
            losses_in_a_row: all(0.0),
            most_losses_in_a_row: all(0.0),
            profit: all(0.0),
            loss: all(0.0),
            pnl: all(0.0),
            pnl_squares: all(0.0),
            returns: all(0.0),
            best: all(f64::NEG_INFINITY),
            worst_trade: all(f64::INFINITY),
        }
    }

    /// The lanes whose mask is 1, as bits.
    #[inline(always)]
    pub(super) fn bits(&self, mask: L::Eight) -> u8 {
        self.lanes.splat(0.0).less(mask)
    }

    /// The active lanes whose order is placed, one above `least`; the others are unfit.
    #[inline(always)]
    pub(super) fn place(&mut self, active: L::Eight, quantity: L::Eight, least: f64) -> L::Eight {
        let nothing = self.lanes.splat(0.0);
        let is_enough = self.lanes.splat(least).where_less(quantity, active, nothing);
        let placed = quantity.where_at_most(self.lanes.splat(f64::MAX), is_enough, nothing);
        self.fit &= !placed.less(active);
        placed
    }

    /// The position of a quantity bought, or sold short, at a price; its fee and its notional.
    #[inline(always)]
    pub(super) fn open(
        &self,
        config: &SimConfig,
        quantity: L::Eight,
        price: L::Eight,
    ) -> (Holding<L::Eight>, L::Eight, L::Eight) {
        let notional = quantity * price;
        let fee = notional * self.lanes.splat(config.taker_fee);
        let held = match self.sides {
            Sides::One(Side::Long) => Holding { cash: self.cash - (notional + fee), quantity },
            // Exactly the negative: a product changes its sign and nothing else.
            Sides::One(Side::Short) => {
                let quantity = quantity * self.lanes.splat(-1.0);
                Holding { cash: self.cash + (notional - fee), quantity }
            }
            // Of a short `cash - (fee - notional)`, which is the same.
            Sides::Each(side) => {
                Holding { cash: self.cash - (notional * side + fee), quantity: quantity * side }
            }
        };
        (held, notional, fee)
    }

    /// What a position of this quantity, notional and entry fee leaves when it is closed.
    #[inline(always)]
    pub(super) fn close(
        &self,
        held: Holding<L::Eight>,
        (quantity, notional, fee): (L::Eight, L::Eight, L::Eight),
        (price, rate): (L::Eight, L::Eight),
    ) -> Settled<L::Eight> {
        let closed = quantity * price;
        let close_fee = closed * rate;
        let fees = (self.fees + fee) + close_fee;
        match self.sides {
            Sides::One(Side::Long) => {
                let (proceeds, cost) = (closed - close_fee, notional + fee);
                Settled { cash: held.cash + proceeds, fees, pnl: proceeds - cost, cost }
            }
            Sides::One(Side::Short) => {
                let (proceeds, cost) = (notional - fee, closed + close_fee);
                Settled { cash: held.cash - cost, fees, pnl: proceeds - cost, cost }
            }
            // What is paid and what comes in, both negative for a short, whose cost is what it pays in the end.
            Sides::Each(side) => {
                let (paid, proceeds) = (notional * side + fee, closed * side - close_fee);
                let nothing = self.lanes.splat(0.0);
                let cost = side.where_less(nothing, proceeds * self.lanes.splat(-1.0), paid);
                Settled { cash: held.cash + proceeds, fees, pnl: proceeds - paid, cost }
            }
        }
    }

    /// Closes without a position in the masked lanes.
    #[inline(always)]
    pub(super) fn mark_flat(&mut self, marked: L::Eight) {
        let is_peak = self.peak.where_less(self.cash, marked, self.lanes.splat(0.0));
        let floor = choose(marked, self.cash.min(self.floor), self.floor);
        if self.bits(is_peak) == 0 {
            self.floor = floor;
            return;
        }
        self.leave_peak(is_peak);
        self.peak = choose(is_peak, self.cash, self.peak);
        self.floor = choose(is_peak, self.floor(), floor);
    }

    /// Closes with a position in the masked lanes. `range` bounds them; where it is not what they reach, `exact` is, per lane.
    #[inline(always)]
    pub(super) fn mark_held(
        &mut self,
        marked: L::Eight,
        held: Holding<L::Eight>,
        range: Range<L::Eight>,
        exact: Option<impl Fn(usize) -> Extremes>,
        bars: impl Fn(usize) -> [usize; 2],
    ) {
        let mut ends = self.ends(held, range);
        let least = self.least(held);
        let mut rare = marked;
        if let Some(exact) = exact {
            rare = self.rare(rare, ends, least);
            let mut rest = self.bits(rare);
            if rest == 0 {
                return;
            }
            let (mut low, mut high) = (range.low.array(), range.high.array());
            while rest != 0 {
                let i = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                let range = exact(i);
                (low[i], high[i]) = (range.min, range.max);
            }
            ends = self.ends(held, Range { low: self.lanes.eight(&low), high: self.lanes.eight(&high) });
            rare = self.rare(rare, ends, least);
        }
        // A long position that falls below the least falls below every floor that is above it.
        if !matches!(self.sides, Sides::One(Side::Long)) {
            let is_low = ends.0.where_less(least.max(self.floor), rare, self.lanes.splat(0.0));
            self.fit &= !self.bits(is_low) | least.less(ends.0);
        }
        self.draw_down(rare, held, ends, bars);
    }

    /// What [`Segment::least`] says.
    #[inline(always)]
    fn least(&self, held: Holding<L::Eight>) -> L::Eight {
        let least = self.lanes.splat(LEAST);
        let near_ruin = (held.cash * self.lanes.splat(NEAR_RUIN)).max(least);
        match self.sides {
            Sides::One(Side::Long) => least,
            Sides::One(Side::Short) => near_ruin,
            Sides::Each(side) => side.where_less(self.lanes.splat(0.0), near_ruin, least),
        }
    }

    /// The masked lanes that may set a peak or a drawdown, or fall below the least.
    #[inline(always)]
    fn rare(&self, marked: L::Eight, (lowest, highest): (L::Eight, L::Eight), least: L::Eight) -> L::Eight {
        // A long position is below the floor where it is below the least.
        let floor =
            if matches!(self.sides, Sides::One(Side::Long)) { self.floor } else { least.max(self.floor) };
        let is_low = lowest.where_less(floor, marked, self.lanes.splat(0.0));
        self.peak.where_less(highest, marked, is_low)
    }

    /// Lowest and highest equity within a range of closes.
    #[inline(always)]
    fn ends(&self, held: Holding<L::Eight>, range: Range<L::Eight>) -> (L::Eight, L::Eight) {
        let (low, high) = (held.at(range.low), held.at(range.high));
        match self.sides {
            Sides::One(Side::Long) => (low, high),
            Sides::One(Side::Short) => (high, low),
            Sides::Each(side) => {
                let nothing = self.lanes.splat(0.0);
                (side.where_less(nothing, high, low), side.where_less(nothing, low, high))
            }
        }
    }

    /// What [`Drawdown::held`] does, in the masked lanes.
    #[inline(always)]
    fn draw_down(
        &mut self,
        mask: L::Eight,
        held: Holding<L::Eight>,
        (lowest, highest): (L::Eight, L::Eight),
        bars: impl Fn(usize) -> [usize; 2],
    ) {
        let lanes = self.lanes;
        let all = |value| lanes.splat(value);
        let is_peak = self.peak.where_less(highest, mask, all(0.0));
        let floor = choose(mask, lowest.min(self.floor), self.floor);
        if self.bits(is_peak) == 0 {
            self.floor = floor;
            return;
        }
        self.leave_peak(is_peak);
        self.fit &= !self.bits(is_peak) | all(LEAST).less(lowest);
        let is_simple = (all(1.0) - lowest / highest).where_at_most(self.worst, is_peak, all(0.0));
        let is_simple = all(0.0).where_at_most(lowest, is_simple, all(0.0));
        let mut walked = self.bits(is_peak) & !self.bits(is_simple);
        let old = self.peak;
        self.peak = choose(is_peak, highest, old);
        if walked != 0 {
            let old = old.array();
            let (mut peak, mut worst) = (self.peak.array(), self.worst.array());
            let (cash, quantity) = (held.cash.array(), held.quantity.array());
            while walked != 0 {
                let i = walked.trailing_zeros() as usize;
                walked &= walked - 1;
                let [from, to] = bars(i);
                let segment =
                    Segment { from, to, cash: cash[i], quantity: quantity[i], returns: Returns::Equity };
                let drawdown = Drawdown { peak: old[i], worst: worst[i] };
                (peak[i], worst[i]) = walk(drawdown, self.market, segment);
            }
            self.peak = lanes.eight(&peak);
            self.worst = lanes.eight(&worst);
        }
        self.floor = choose(is_peak, self.floor(), floor);
    }

    /// Notes the drawdown from the peak to the lowest equity since, before the masked lanes set a new one.
    #[inline(always)]
    fn leave_peak(&mut self, mask: L::Eight) {
        self.fit &= !self.bits(mask) | self.lanes.splat(LEAST).less(self.floor);
        self.worst = choose(mask, self.deepest(), self.worst);
    }

    /// The worst drawdown, that from the present peak included.
    #[inline(always)]
    fn deepest(&self) -> L::Eight {
        (self.lanes.splat(1.0) - self.floor / self.peak).max(self.worst)
    }

    /// What [`Drawdown::floor`] says.
    #[inline(always)]
    fn floor(&self) -> L::Eight {
        self.peak * ((self.lanes.splat(1.0) - self.worst) + self.lanes.splat(measure::MARGIN))
    }

    /// Books closed positions.
    #[inline(always)]
    pub(super) fn settle(&mut self, active: L::Eight, settled: Settled<L::Eight>) {
        let Settled { cash, fees, pnl, cost } = settled;
        self.fees = choose(active, fees, self.fees);
        self.cash = choose(active, cash, self.cash);
        let returns = pnl / cost;
        let (nothing, one) = (self.lanes.splat(0.0), self.lanes.splat(1.0));
        let is_win = nothing.where_less(pnl, active, nothing);
        let is_loss = pnl.where_less(nothing, active, nothing);
        self.profit = choose(is_win, self.profit + pnl, self.profit);
        self.loss = choose(is_loss, self.loss - pnl, self.loss);
        self.wins = self.wins + is_win;
        let in_a_row = choose(is_loss, self.losses_in_a_row + one, nothing);
        self.losses_in_a_row = choose(active, in_a_row, self.losses_in_a_row);
        self.most_losses_in_a_row = self.losses_in_a_row.max(self.most_losses_in_a_row);
        self.trades = self.trades + active;
        if let Sides::Each(side) = self.sides {
            self.longs = self.longs + nothing.where_less(side, active, nothing);
        }
        self.pnl = choose(active, self.pnl + pnl, self.pnl);
        self.pnl_squares = choose(active, self.pnl_squares + pnl * pnl, self.pnl_squares);
        self.returns = choose(active, self.returns + returns, self.returns);
        self.best = choose(active, returns.max(self.best), self.best);
        self.worst_trade = choose(active, returns.min(self.worst_trade), self.worst_trade);
    }

    /// Cash and fees per lane.
    #[inline(always)]
    pub(super) fn cash_and_fees(&self) -> ([f64; EIGHT], [f64; EIGHT]) {
        (self.cash.array(), self.fees.array())
    }

    /// Writes what was booked to a fold of its own per lane; bars held are not booked here.
    #[inline(always)]
    pub(super) fn folds<const ALL_IN: bool>(&self, folds: &mut [Fold<'m, ALL_IN>; EIGHT]) {
        let [peak, worst] = [self.peak, self.deepest()].map(Eight::array);
        let fit = self.fit & self.lanes.splat(LEAST).less(self.floor);
        let [trades, longs, wins, losses_in_a_row, most_losses_in_a_row] =
            [self.trades, self.longs, self.wins, self.losses_in_a_row, self.most_losses_in_a_row]
                .map(|counts| counts.array().map(|count| count as u64));
        let [gross_profit, gross_loss, pnl, pnl_squares, returns, best, worst_trade] =
            [self.profit, self.loss, self.pnl, self.pnl_squares, self.returns, self.best, self.worst_trade]
                .map(Eight::array);
        for (i, fold) in folds.iter_mut().enumerate() {
            fold.drawdown = Drawdown { peak: peak[i], worst: worst[i] };
            (fold.floor, fold.is_fit) = (fold.drawdown.floor(), fit >> i & 1 == 1);
            fold.trades = TradeSums {
                count: trades[i],
                long: match self.sides {
                    Sides::One(Side::Long) => trades[i],
                    Sides::One(Side::Short) => 0,
                    Sides::Each(_) => longs[i],
                },
                wins: wins[i],
                gross_profit: gross_profit[i],
                gross_loss: gross_loss[i],
                pnl: pnl[i],
                pnl_squares: pnl_squares[i],
                returns: returns[i],
                best: best[i],
                worst: worst_trade[i],
                losses_in_a_row: losses_in_a_row[i],
                most_losses_in_a_row: most_losses_in_a_row[i],
                bars_held: 0,
            };
        }
    }
}

/// Peak and worst drawdown after closes that are walked one by one.
#[inline(never)]
fn walk(mut drawdown: Drawdown, market: &Market<'_>, segment: Segment) -> (f64, f64) {
    drawdown.walk(market, &segment);
    (drawdown.peak, drawdown.worst)
}
