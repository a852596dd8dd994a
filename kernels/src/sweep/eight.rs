//! Eight accounts side by side: the same operations in the same order as [`super::account`] and [`super::fold`] make one by
//! one, so the same bits, with one combination per lane of a vector.
//!
//! One account is a chain of a division and a dozen sums that each wait for the last; eight of them take little longer than
//! one. What is rare (a new drawdown, an order that is not placed) leaves the lanes and is done in scalar code.

use super::account::{Account, Segment};
use super::block::Finished;
use super::fold::{self, Fold, TradeSums};
use super::market::Market;
use super::measure::Drawdown;
use super::moments::{POWERS, PowerSums, PrefixRows, Row};
use super::rules::Sizing;
use crate::sim::{Side, SimConfig};
use crate::simd::{Eight, Lanes, Number};
use crate::stats::Stats;

/// Combinations side by side.
pub(super) const EIGHT: usize = 8;

/// A trade as the bars decide it: nothing here depends on the account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deal {
    /// Bars of the two fills.
    pub(super) enter: usize,
    pub(super) leave: usize,
    /// Prices before slippage.
    pub(super) enter_raw: f64,
    pub(super) leave_raw: f64,
    /// Left at the target: a maker fill without slippage.
    pub(super) is_target: bool,
    pub(super) bars_held: usize,
}

/// Where the trades of the lanes come from.
pub(super) trait Deals {
    /// Whether a lane's next trade follows from its last one: then the lanes are asked in turn, so that eight chains of
    /// lookups overlap. Otherwise each is asked for many at once, and keeps its sums in registers.
    const IS_CHAIN: bool;

    /// The next trade of a lane, in order.
    fn next(&mut self, lane: usize) -> Option<Deal>;
}

/// Trades of one lane that are looked up before any is made. A vector must not be loaded right after its lanes were stored
/// one by one: the processor would wait for every store to reach the cache.
const AHEAD: usize = 16;

/// What the next trades of every lane need of the market. Lanes without a trade hold numbers that harm nothing.
pub(super) struct Lookup {
    /// 1 where there is a trade, else 0.
    active: [[f64; EIGHT]; AHEAD],
    /// Bars of the two fills.
    bars: [[[usize; 2]; EIGHT]; AHEAD],
    /// Price of the entry before slippage, of the exit after it; fee rate of the exit.
    enter_raw: [[f64; EIGHT]; AHEAD],
    leave_price: [[f64; EIGHT]; AHEAD],
    leave_rate: [[f64; EIGHT]; AHEAD],
    /// 1 where closes lie between the trade before and this one, where closes lie in it.
    flat_marked: [[f64; EIGHT]; AHEAD],
    held_marked: [[f64; EIGHT]; AHEAD],
    /// Bounds on the closes with the position.
    low: [[f64; EIGHT]; AHEAD],
    high: [[f64; EIGHT]; AHEAD],
    /// 1 where samples lie among those closes; the closes at the first and at the last sample with the position.
    flat_sampled: [[f64; EIGHT]; AHEAD],
    held_sampled: [[f64; EIGHT]; AHEAD],
    first: [[f64; EIGHT]; AHEAD],
    last: [[f64; EIGHT]; AHEAD],
    bars_held: [[f64; EIGHT]; AHEAD],
}

impl Lookup {
    pub(super) fn new() -> Lookup {
        Lookup {
            active: [[0.0; EIGHT]; AHEAD],
            bars: [[[0, 1]; EIGHT]; AHEAD],
            enter_raw: [[1.0; EIGHT]; AHEAD],
            leave_price: [[1.0; EIGHT]; AHEAD],
            leave_rate: [[0.0; EIGHT]; AHEAD],
            flat_marked: [[0.0; EIGHT]; AHEAD],
            held_marked: [[0.0; EIGHT]; AHEAD],
            low: [[1.0; EIGHT]; AHEAD],
            high: [[1.0; EIGHT]; AHEAD],
            flat_sampled: [[0.0; EIGHT]; AHEAD],
            held_sampled: [[0.0; EIGHT]; AHEAD],
            first: [[1.0; EIGHT]; AHEAD],
            last: [[1.0; EIGHT]; AHEAD],
            bars_held: [[0.0; EIGHT]; AHEAD],
        }
    }
}

/// Eight accounts that trade one side by signals.
pub(super) struct EightAccounts<'m, L: Lanes, const ALL_IN: bool> {
    lanes: L,
    market: &'m Market<'m>,
    rows: &'m PrefixRows,
    config: &'m SimConfig,
    side: Side,
    sizing: [Sizing; EIGHT],
    /// The first bar not looked up yet.
    marked: [usize; EIGHT],
    cash: L::Eight,
    fees: L::Eight,
    peak: L::Eight,
    worst: L::Eight,
    floor: L::Eight,
    sampled: L::Eight,
    edges: [L::Eight; POWERS],
    sums: [PowerSums; EIGHT],
    is_fit: [bool; EIGHT],
    trades: L::Eight,
    wins: L::Eight,
    losses_in_a_row: L::Eight,
    most_losses_in_a_row: L::Eight,
    bars_held: L::Eight,
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
struct Holding<E> {
    cash: E,
    quantity: E,
}

impl<E: Eight> Holding<E> {
    #[inline(always)]
    fn at(self, close: E) -> E {
        self.cash + self.quantity * close
    }
}

/// `then` in the lanes where the mask is 1.
#[inline(always)]
fn choose<E: Eight>(mask: E, then: E, otherwise: E) -> E {
    mask.like(0.0).where_less(mask, then, otherwise)
}

impl<'m, L: Lanes, const ALL_IN: bool> EightAccounts<'m, L, ALL_IN> {
    #[inline(always)]
    fn new(
        lanes: L,
        (market, rows): (&'m Market<'m>, &'m PrefixRows),
        config: &'m SimConfig,
        side: Side,
        sizing: [Sizing; EIGHT],
    ) -> Self {
        let start = Fold::<ALL_IN>::new(market, rows, config.cash);
        let all = |value| lanes.splat(value);
        EightAccounts {
            lanes,
            market,
            rows,
            config,
            side,
            sizing,
            marked: [0; EIGHT],
            cash: all(config.cash),
            fees: all(0.0),
            peak: all(start.drawdown.peak),
            worst: all(start.drawdown.worst),
            floor: all(start.floor),
            sampled: all(start.sampled),
            edges: [all(0.0); POWERS],
            sums: [PowerSums::ZERO; EIGHT],
            is_fit: [true; EIGHT],
            trades: all(0.0),
            wins: all(0.0),
            losses_in_a_row: all(0.0),
            most_losses_in_a_row: all(0.0),
            bars_held: all(0.0),
            profit: all(0.0),
            loss: all(0.0),
            pnl: all(0.0),
            pnl_squares: all(0.0),
            returns: all(0.0),
            best: all(f64::NEG_INFINITY),
            worst_trade: all(f64::INFINITY),
        }
    }

    /// Makes all trades and gives what they amount to, `None` where a fold is unfit.
    #[inline(always)]
    pub(super) fn measure<D: Deals>(
        lanes: L,
        (market, config): (&'m Market<'m>, &'m SimConfig),
        side: Side,
        sizing: [Sizing; EIGHT],
        deals: &mut D,
        finished: impl Fn(&D, usize) -> Finished,
    ) -> [Option<Stats>; EIGHT] {
        let Some(rows) = market.rows.as_ref() else { return [const { None }; EIGHT] };
        let mut eight = Self::new(lanes, (market, rows), config, side, sizing);
        eight.run(deals);
        let mut lane = 0;
        eight.accounts().map(|mut account| {
            let Finished { open, ambiguous_bars } = finished(deals, lane);
            lane += 1;
            let mut position = None;
            if let Some((bar, raw)) = open {
                position = account.enter(side, bar, raw);
                if position.is_none() {
                    account.sink.give_up();
                }
            }
            account.finish(market.bars.len(), position.as_ref());
            fold::finish(&account, ambiguous_bars)
        })
    }

    /// Makes all trades.
    #[inline(always)]
    fn run<D: Deals>(&mut self, deals: &mut D) {
        let mut lookup = Lookup::new();
        loop {
            let steps = if D::IS_CHAIN {
                self.look_up_in_turn(deals, &mut lookup)
            } else {
                self.look_up_by_lane(deals, &mut lookup)
            };
            for step in 0..steps {
                self.trade(&lookup, step);
            }
            if steps < AHEAD {
                return;
            }
        }
    }

    /// Looks up the next trades; gives the largest number of a lane.
    #[inline(always)]
    fn look_up_in_turn<D: Deals>(&mut self, deals: &mut D, lookup: &mut Lookup) -> usize {
        for step in 0..AHEAD {
            let mut has_trade = false;
            for lane in 0..EIGHT {
                let deal = deals.next(lane);
                lookup.active[step][lane] = f64::from(u8::from(deal.is_some()));
                if let Some(deal) = deal {
                    has_trade = true;
                    let mut held = (self.sums[lane].held, self.sums[lane].held_samples);
                    self.look_up(step, lane, &deal, &mut held, lookup);
                    (self.sums[lane].held, self.sums[lane].held_samples) = held;
                }
            }
            if !has_trade {
                return step;
            }
        }
        AHEAD
    }

    #[inline(always)]
    fn look_up_by_lane<D: Deals>(&mut self, deals: &mut D, lookup: &mut Lookup) -> usize {
        let mut most = 0;
        for lane in 0..EIGHT {
            let mut held = (self.sums[lane].held, self.sums[lane].held_samples);
            let mut steps = 0;
            while steps < AHEAD
                && let Some(deal) = deals.next(lane)
            {
                lookup.active[steps][lane] = 1.0;
                self.look_up(steps, lane, &deal, &mut held, lookup);
                steps += 1;
            }
            for active in &mut lookup.active[steps..] {
                active[lane] = 0.0;
            }
            (self.sums[lane].held, self.sums[lane].held_samples) = held;
            most = most.max(steps);
        }
        most
    }

    #[inline(always)]
    fn look_up(&mut self, step: usize, lane: usize, deal: &Deal, held: &mut (Row, u64), lookup: &mut Lookup) {
        let samples = &self.market.samples;
        let SimConfig { slippage, taker_fee, maker_fee, .. } = *self.config;
        let worse = if self.side == Side::Long { 1.0 - slippage } else { 1.0 + slippage };
        let one = |is_so: bool| f64::from(u8::from(is_so));
        let Deal { enter, leave, .. } = *deal;
        let marked = self.marked[lane];
        self.marked[lane] = leave;
        lookup.bars[step][lane] = [enter, leave];
        lookup.enter_raw[step][lane] = deal.enter_raw;
        lookup.leave_price[step][lane] = deal.leave_raw * if deal.is_target { 1.0 } else { worse };
        lookup.leave_rate[step][lane] = if deal.is_target { maker_fee } else { taker_fee };
        lookup.bars_held[step][lane] = deal.bars_held as f64;
        lookup.flat_marked[step][lane] = one(marked < enter);
        lookup.held_marked[step][lane] = one(enter < leave);
        // A position without a close in it has no range: that of its bar is masked.
        let range = self.market.coarse.query(enter, leave.max(enter + 1));
        lookup.low[step][lane] = range.min;
        lookup.high[step][lane] = range.max;
        let (from, to) = (samples.first_at[enter], samples.first_at[leave]);
        lookup.flat_sampled[step][lane] = one(samples.first_at[marked] < from);
        lookup.held_sampled[step][lane] = one(from < to);
        if from < to {
            let (from, to) = (from as usize, to as usize);
            lookup.first[step][lane] = samples.closes[from];
            lookup.last[step][lane] = samples.closes[to - 1];
            if ALL_IN {
                // Of a single sample the difference is none.
                held.0.add(&self.rows.rows, from + 1, to);
                held.1 += (to - from - 1) as u64;
            }
        }
    }

    /// Opens and closes one position per active lane.
    #[inline(always)]
    fn trade(&mut self, lookup: &Lookup, step: usize) {
        let lanes = self.lanes;
        let all = |value| lanes.splat(value);
        let SimConfig { slippage, taker_fee, .. } = *self.config;
        let (taker_fee, is_long) = (all(taker_fee), self.side == Side::Long);
        let worse = if is_long { 1.0 + slippage } else { 1.0 - slippage };
        let price = lanes.eight(&lookup.enter_raw[step]) * all(worse);
        let quantity = self.quantity(price);
        let active = self.place(lanes.eight(&lookup.active[step]), quantity);

        self.mark_flat(active, lookup, step);
        let notional = quantity * price;
        let fee = notional * taker_fee;
        let held = if is_long {
            Holding { cash: self.cash - (notional + fee), quantity }
        } else {
            // Exactly the negative: a product changes its sign and nothing else.
            Holding { cash: self.cash + (notional - fee), quantity: quantity * all(-1.0) }
        };
        self.mark_held(active, lookup, step, held);

        let closed = quantity * lanes.eight(&lookup.leave_price[step]);
        let close_fee = closed * lanes.eight(&lookup.leave_rate[step]);
        let (left, cost, pnl) = if is_long {
            let cost = notional + fee;
            (held.cash + (closed - close_fee), cost, (closed - close_fee) - cost)
        } else {
            let cost = closed + close_fee;
            (held.cash - cost, cost, (notional - fee) - cost)
        };
        self.fees = choose(active, (self.fees + fee) + close_fee, self.fees);
        self.cash = choose(active, left, self.cash);
        self.count(active, lanes.eight(&lookup.bars_held[step]), pnl, pnl / cost);
    }

    #[inline(always)]
    fn quantity(&self, price: L::Eight) -> L::Eight {
        let all = |value| self.lanes.splat(value);
        let is_long = self.side == Side::Long;
        let unit = if is_long { price * all(1.0 + self.config.taker_fee) } else { price };
        if ALL_IN {
            return self.cash / unit;
        }
        let (cash, unit, price) = (self.cash.array(), unit.array(), price.array());
        let quantity = std::array::from_fn(|i| match self.sizing[i] {
            Sizing::Equity(fraction) => fraction * cash[i] / unit[i],
            Sizing::Quote(quote) => quote.min(cash[i]) / unit[i],
            Sizing::Risk(risk, stop) => ((risk * cash[i]) / (price[i] * stop)).min(cash[i] / unit[i]),
        });
        self.lanes.eight(&quantity)
    }

    /// The active lanes whose order is placed; the others are unfit.
    #[inline(always)]
    fn place(&mut self, active: L::Eight, quantity: L::Eight) -> L::Eight {
        let lanes = self.lanes;
        let all = |value| lanes.splat(value);
        let is_positive = all(0.0).where_less(quantity, active, all(0.0));
        let placed = quantity.where_at_most(all(f64::MAX), is_positive, all(0.0));
        if placed.less(active) != 0 {
            let refused = placed.less(active);
            for i in 0..EIGHT {
                self.is_fit[i] &= refused >> i & 1 == 0;
            }
        }
        placed
    }

    /// Closes since the last trade, without a position.
    #[inline(always)]
    fn mark_flat(&mut self, active: L::Eight, lookup: &Lookup, step: usize) {
        let has_sample = choose(active, self.lanes.eight(&lookup.flat_sampled[step]), active);
        let marked = choose(active, self.lanes.eight(&lookup.flat_marked[step]), active);
        let rare = (self.peak.less(self.cash) | self.cash.less(self.floor)) & self.bits(marked);
        if rare != 0 {
            let cash = self.cash.array();
            self.each_drawdown(rare, |i, drawdown, _| {
                let mut drawdown = drawdown;
                drawdown.flat(cash[i]);
                (drawdown, cash[i])
            });
        }
        self.edge(has_sample, self.cash);
        self.sampled = choose(has_sample, self.cash, self.sampled);
    }

    #[inline(always)]
    fn bits(&self, mask: L::Eight) -> u8 {
        self.lanes.splat(0.0).less(mask)
    }

    /// New drawdowns and peaks of some lanes; `of` also gives the lowest equity.
    #[inline(always)]
    fn each_drawdown(&mut self, lanes: u8, of: impl Fn(usize, Drawdown, &Market<'m>) -> (Drawdown, f64)) {
        let (mut peak, mut worst, mut floor) = (self.peak.array(), self.worst.array(), self.floor.array());
        let mut rest = lanes;
        while rest != 0 {
            let i = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let (drawdown, lowest) = of(i, Drawdown { peak: peak[i], worst: worst[i] }, self.market);
            self.is_fit[i] &= lowest > 0.0;
            (peak[i], worst[i], floor[i]) = (drawdown.peak, drawdown.worst, drawdown.floor());
        }
        self.peak = self.lanes.eight(&peak);
        self.worst = self.lanes.eight(&worst);
        self.floor = self.lanes.eight(&floor);
    }

    /// Adds the returns into the first samples of the masked lanes' segments, which are worth `after`.
    #[inline(always)]
    fn edge(&mut self, mask: L::Eight, after: L::Eight) {
        let nothing = self.lanes.splat(0.0);
        let r = after / self.sampled - self.lanes.splat(1.0);
        let square = r * r;
        let loss = r.where_less(nothing, r, nothing);
        let added = [r, square, square * r, square * square, loss * loss];
        for (sums, added) in self.edges.iter_mut().zip(added) {
            *sums = choose(mask, *sums + added, *sums);
        }
    }

    /// Closes with the position.
    #[inline(always)]
    fn mark_held(&mut self, active: L::Eight, lookup: &Lookup, step: usize, held: Holding<L::Eight>) {
        let lanes = self.lanes;
        let (low, high) = (held.at(lanes.eight(&lookup.low[step])), held.at(lanes.eight(&lookup.high[step])));
        let (lowest, highest) = if self.side == Side::Long { (low, high) } else { (high, low) };
        let marked = choose(active, lanes.eight(&lookup.held_marked[step]), active);
        let rare = (self.peak.less(highest) | lowest.less(self.floor)) & self.bits(marked);
        if rare != 0 {
            let (cash, quantity) = (held.cash.array(), held.quantity.array());
            self.each_drawdown(rare, |i, drawdown, market| {
                let [from, to] = lookup.bars[step][i];
                let segment = Segment { from, to, cash: cash[i], quantity: quantity[i] };
                fold::draw_down_exactly(drawdown, market, segment)
            });
        }
        let has_sample = choose(active, lanes.eight(&lookup.held_sampled[step]), active);
        self.edge(has_sample, held.at(lanes.eight(&lookup.first[step])));
        if !ALL_IN {
            self.walk(has_sample, lookup, step, held);
        }
        self.sampled = choose(has_sample, held.at(lanes.eight(&lookup.last[step])), self.sampled);
    }

    /// Adds the returns between the samples of positions whose returns are not those of the closes.
    #[inline(always)]
    fn walk(&mut self, mask: L::Eight, lookup: &Lookup, step: usize, held: Holding<L::Eight>) {
        let samples = &self.market.samples;
        let (cash, quantity) = (held.cash.array(), held.quantity.array());
        let mut rest = self.bits(mask);
        while rest != 0 {
            let i = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let [from, to] = lookup.bars[step][i].map(|bar| samples.first_at[bar] as usize);
            self.sums[i].walk(&samples.closes[from..to], cash[i], quantity[i]);
        }
    }

    #[inline(always)]
    fn count(&mut self, active: L::Eight, bars_held: L::Eight, pnl: L::Eight, returns: L::Eight) {
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
        self.pnl = choose(active, self.pnl + pnl, self.pnl);
        self.pnl_squares = choose(active, self.pnl_squares + pnl * pnl, self.pnl_squares);
        self.returns = choose(active, self.returns + returns, self.returns);
        self.best = choose(active, returns.max(self.best), self.best);
        self.worst_trade = choose(active, returns.min(self.worst_trade), self.worst_trade);
        self.bars_held = choose(active, self.bars_held + bars_held, self.bars_held);
    }

    /// The lanes as accounts of their own.
    #[inline(always)]
    fn accounts(&self) -> [Account<'m, Fold<'m, ALL_IN>>; EIGHT] {
        let [cash, fees] = [self.cash, self.fees].map(Eight::array);
        let [peak, worst, floor, sampled] =
            [self.peak, self.worst, self.floor, self.sampled].map(Eight::array);
        let [trades, wins, losses_in_a_row, most_losses_in_a_row, bars_held] =
            [self.trades, self.wins, self.losses_in_a_row, self.most_losses_in_a_row, self.bars_held]
                .map(|counts| counts.array().map(|count| count as u64));
        let [gross_profit, gross_loss, pnl, pnl_squares, returns, best, worst_trade] =
            [self.profit, self.loss, self.pnl, self.pnl_squares, self.returns, self.best, self.worst_trade]
                .map(Eight::array);
        let edges = self.edges.map(Eight::array);
        std::array::from_fn(|i| {
            let mut fold = Fold::<ALL_IN>::new(self.market, self.rows, self.config.cash);
            fold.drawdown = Drawdown { peak: peak[i], worst: worst[i] };
            (fold.floor, fold.sampled, fold.is_fit) = (floor[i], sampled[i], self.is_fit[i]);
            fold.sums = self.sums[i];
            fold.sums.edges = edges.map(|power| power[i]);
            fold.trades = TradeSums {
                count: trades[i],
                long: if self.side == Side::Long { trades[i] } else { 0 },
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
                bars_held: bars_held[i],
            };
            let mut account = Account::new(self.config, self.sizing[i], fold);
            (account.cash, account.fees, account.marked) = (cash[i], fees[i], self.marked[i]);
            account
        })
    }
}
