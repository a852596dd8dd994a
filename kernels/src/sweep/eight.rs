//! Eight accounts side by side: short, of other sizes than all the cash, or sampled once a day. What entries and exits add to the sums
//! over returns is summed in floating point, in the order of events.

use super::account::{Account, entry_price, short_offset};
use super::block::Finished;
use super::books::{Books, EIGHT, Holding, Range, Sides, choose};
use super::dense::AHEAD;
use super::fold::{self, Fold};
use super::market::Market;
use super::moments::{Offset, POWERS, Part, PowerSums, PrefixRows, Walk, powers};
use super::rules::Sizing;
use crate::sim::{Side, SimConfig};
use crate::simd::{Eight, Lanes, Number};
use crate::stats::Stats;

/// A trade as the bars decide it: nothing here depends on the account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deal {
    pub(super) side: Side,
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
    /// Whether there are trades on both sides.
    const HAS_BOTH: bool;

    /// The next trade of a lane, in order.
    fn next(&mut self, lane: usize) -> Option<Deal>;
}

/// What the next trades of every lane need of the market. Lanes without a trade hold numbers that harm nothing.
pub(super) struct Lookup {
    /// 1 where there is a trade, else 0.
    active: [[f64; EIGHT]; AHEAD],
    /// 1 for long, -1 for short.
    side: [[f64; EIGHT]; AHEAD],
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
            side: [[1.0; EIGHT]; AHEAD],
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

/// Sums over short positions with all the cash, of which many combinations have the same: per entry those of the last exit.
pub(super) struct Memo(Vec<Remembered>);

/// Sums over the samples `from..to` of a position filled at bar `enter`.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Remembered {
    enter: usize,
    to: usize,
    sums: [f64; POWERS],
}

impl Memo {
    /// Room for entries at this many bars in a row, a power of two.
    pub(super) fn new(bars: usize) -> Memo {
        Memo(vec![Remembered { enter: usize::MAX, to: 0, sums: [0.0; POWERS] }; bars])
    }

    /// One that remembers nothing.
    pub(super) fn none() -> Memo {
        Memo(Vec::new())
    }

    /// The sums of a position, if it is the last one that was remembered with its entry.
    #[inline(always)]
    fn sums(&self, enter: usize, to: usize) -> Option<[f64; POWERS]> {
        let remembered = self.0.get(self.place(enter))?;
        (remembered.enter == enter && remembered.to == to).then_some(remembered.sums)
    }

    #[inline(always)]
    fn remember(&mut self, enter: usize, to: usize, sums: [f64; POWERS]) {
        let place = self.place(enter);
        if let Some(remembered) = self.0.get_mut(place) {
            *remembered = Remembered { enter, to, sums };
        }
    }

    #[inline(always)]
    fn place(&self, enter: usize) -> usize {
        enter & self.0.len().wrapping_sub(1)
    }
}

/// Eight accounts. `ALL_IN` says that every position is long with all the cash.
#[derive(Clone)]
pub(super) struct EightAccounts<'m, L: Lanes, const ALL_IN: bool> {
    books: Books<'m, L>,
    rows: &'m PrefixRows,
    config: &'m SimConfig,
    sizing: [Sizing; EIGHT],
    /// The lanes whose positions take all the cash, as bits.
    whole: u8,
    /// The first bar not looked up yet.
    marked: [usize; EIGHT],
    sampled: L::Eight,
    edges: [L::Eight; POWERS],
    sums: [PowerSums; EIGHT],
    bars_held: L::Eight,
}

impl<'m, L: Lanes, const ALL_IN: bool> EightAccounts<'m, L, ALL_IN> {
    /// Accounts on one side or on both, `None` where returns have no finite powers.
    #[inline(always)]
    pub(super) fn new(
        lanes: L,
        (market, config): (&'m Market<'m>, &'m SimConfig),
        side: Option<Side>,
        sizing: [Sizing; EIGHT],
    ) -> Option<Self> {
        let rows = market.rows.as_ref()?;
        let sides = match side {
            Some(side) => Sides::One(side),
            None => Sides::Each(lanes.splat(1.0)),
        };
        let is_whole = |i: usize| u8::from(sizing[i] == Sizing::Equity(1.0)) << i;
        Some(EightAccounts {
            books: Books::new(lanes, market, sides, config.cash),
            rows,
            config,
            sizing,
            whole: (0..EIGHT).map(is_whole).sum(),
            marked: [0; EIGHT],
            sampled: lanes.splat(config.cash),
            edges: [lanes.splat(0.0); POWERS],
            sums: [PowerSums::ZERO; EIGHT],
            bars_held: lanes.splat(0.0),
        })
    }

    /// Makes all trades, on one side or on both, and gives what they amount to, `None` where a fold is unfit.
    #[inline(always)]
    pub(super) fn measure<D: Deals>(
        lanes: L,
        (market, config): (&'m Market<'m>, &'m SimConfig),
        side: Option<Side>,
        sizing: [Sizing; EIGHT],
        deals: &mut D,
        finished: impl Fn(&D, usize) -> Finished,
    ) -> [Option<Stats>; EIGHT] {
        let Some(mut eight) = Self::new(lanes, (market, config), side, sizing) else {
            return [const { None }; EIGHT];
        };
        eight.run(deals, &mut Lookup::new(), &mut Memo::none());
        eight.finish(|lane| finished(deals, lane))
    }

    /// What the lanes amount to, `None` where a fold is unfit.
    #[inline(always)]
    pub(super) fn finish(&self, finished: impl Fn(usize) -> Finished) -> [Option<Stats>; EIGHT] {
        let mut lane = 0;
        self.accounts().map(|mut account| {
            let Finished { open, ambiguous_bars } = finished(lane);
            lane += 1;
            let mut position = None;
            if let Some((side, bar, raw)) = open {
                position = account.enter(side, bar, raw);
                if position.is_none() {
                    account.sink.give_up();
                }
            }
            account.finish(self.books.market.bars.len(), position.as_ref());
            fold::finish(&account, ambiguous_bars)
        })
    }

    /// Makes trades that follow those before.
    #[inline(always)]
    pub(super) fn run<D: Deals>(&mut self, deals: &mut D, lookup: &mut Lookup, memo: &mut Memo) {
        loop {
            let steps = if D::IS_CHAIN {
                self.look_up_in_turn(deals, lookup, memo)
            } else {
                self.look_up_by_lane(deals, lookup, memo)
            };
            for step in 0..steps {
                if D::HAS_BOTH {
                    self.books.sides = Sides::Each(self.books.lanes.eight(&lookup.side[step]));
                }
                self.trade(lookup, step);
            }
            if steps < AHEAD {
                return;
            }
        }
    }

    /// Looks up the next trades; gives the largest number of a lane.
    #[inline(always)]
    fn look_up_in_turn<D: Deals>(&mut self, deals: &mut D, lookup: &mut Lookup, memo: &mut Memo) -> usize {
        for step in 0..AHEAD {
            let mut has_trade = false;
            for lane in 0..EIGHT {
                let deal = deals.next(lane);
                lookup.active[step][lane] = f64::from(u8::from(deal.is_some()));
                if let Some(deal) = deal {
                    has_trade = true;
                    // By value: a reference would pin the sums in memory.
                    let mut sums = self.sums[lane];
                    self.look_up(step, lane, &deal, &mut sums, (lookup, memo));
                    self.sums[lane] = sums;
                }
            }
            if !has_trade {
                return step;
            }
        }
        AHEAD
    }

    #[inline(always)]
    fn look_up_by_lane<D: Deals>(&mut self, deals: &mut D, lookup: &mut Lookup, memo: &mut Memo) -> usize {
        let mut most = 0;
        for lane in 0..EIGHT {
            let mut sums = self.sums[lane];
            let mut steps = 0;
            while steps < AHEAD
                && let Some(deal) = deals.next(lane)
            {
                lookup.active[steps][lane] = 1.0;
                self.look_up(steps, lane, &deal, &mut sums, (lookup, memo));
                steps += 1;
            }
            for active in &mut lookup.active[steps..] {
                active[lane] = 0.0;
            }
            self.sums[lane] = sums;
            most = most.max(steps);
        }
        most
    }

    #[inline(always)]
    fn look_up(
        &mut self,
        step: usize,
        lane: usize,
        deal: &Deal,
        sums: &mut PowerSums,
        (lookup, memo): (&mut Lookup, &mut Memo),
    ) {
        let samples = &self.books.market.samples;
        let SimConfig { slippage, taker_fee, maker_fee, .. } = *self.config;
        let worse = if deal.side == Side::Long { 1.0 - slippage } else { 1.0 + slippage };
        let one = |is_so: bool| f64::from(u8::from(is_so));
        let Deal { enter, leave, .. } = *deal;
        let marked = self.marked[lane];
        self.marked[lane] = leave;
        lookup.side[step][lane] = if deal.side == Side::Long { 1.0 } else { -1.0 };
        lookup.bars[step][lane] = [enter, leave];
        lookup.enter_raw[step][lane] = deal.enter_raw;
        lookup.leave_price[step][lane] = deal.leave_raw * if deal.is_target { 1.0 } else { worse };
        lookup.leave_rate[step][lane] = if deal.is_target { maker_fee } else { taker_fee };
        lookup.bars_held[step][lane] = deal.bars_held as f64;
        lookup.flat_marked[step][lane] = one(marked < enter);
        lookup.held_marked[step][lane] = one(enter < leave);
        // A position without a close in it has no range: that of its bar is masked.
        let range = self.books.market.coarse.query(enter, leave.max(enter + 1));
        lookup.low[step][lane] = range.min;
        lookup.high[step][lane] = range.max;
        let (from, to) = (samples.first_at[enter], samples.first_at[leave]);
        lookup.flat_sampled[step][lane] = one(samples.first_at[marked] < from);
        lookup.held_sampled[step][lane] = one(from < to);
        if from < to {
            let (from, to) = (from as usize, to as usize);
            lookup.first[step][lane] = samples.closes[from];
            lookup.last[step][lane] = samples.closes[to - 1];
            let is_whole = self.whole >> lane & 1 == 1;
            if ALL_IN || (is_whole && deal.side == Side::Long) {
                // Of a single sample the difference is none.
                sums.hold(&self.rows.rows, from + 1, to);
            } else if is_whole {
                sums.add_walked(&self.walk_whole(deal, (from, to), memo));
            }
        }
    }

    /// Sums over a short position with all the cash.
    #[inline(always)]
    fn walk_whole(&self, deal: &Deal, (from, to): (usize, usize), memo: &mut Memo) -> [f64; POWERS] {
        if let Some(sums) = memo.sums(deal.enter, to) {
            return sums;
        }
        let market = self.books.market;
        let offset = short_offset(entry_price(self.config, Side::Short, deal.enter_raw), self.config);
        let walk = Walk { closes: &market.samples.closes, run: (from, to), held: Offset(offset) };
        let sums = self.books.lanes.call(walk);
        memo.remember(deal.enter, to, sums);
        sums
    }

    /// Opens and closes one position per active lane.
    #[inline(always)]
    fn trade(&mut self, lookup: &Lookup, step: usize) {
        let lanes = self.books.lanes;
        let slippage = self.config.slippage;
        let worse = match self.books.sides {
            Sides::One(Side::Long) => lanes.splat(1.0 + slippage),
            Sides::One(Side::Short) => lanes.splat(1.0 - slippage),
            Sides::Each(side) => lanes.splat(1.0) + side * lanes.splat(slippage),
        };
        let price = lanes.eight(&lookup.enter_raw[step]) * worse;
        let quantity = self.quantity(price);
        let active = self.books.place(lanes.eight(&lookup.active[step]), quantity, 0.0);

        let has_sample = choose(active, lanes.eight(&lookup.flat_sampled[step]), active);
        self.books.mark_flat(choose(active, lanes.eight(&lookup.flat_marked[step]), active));
        self.edge(has_sample, self.books.cash);
        self.sampled = choose(has_sample, self.books.cash, self.sampled);
        let (held, notional, fee) = self.books.open(self.config, quantity, price);
        let has_sample = self.mark_held(active, lookup, step, held);
        if !ALL_IN && self.whole != u8::MAX {
            self.walk(has_sample, lookup, step, held);
        }
        let leave = (lanes.eight(&lookup.leave_price[step]), lanes.eight(&lookup.leave_rate[step]));
        let settled = self.books.close(held, (quantity, notional, fee), leave);
        self.books.settle(active, settled);
        let bars_held = self.bars_held + lanes.eight(&lookup.bars_held[step]);
        self.bars_held = choose(active, bars_held, self.bars_held);
    }

    #[inline(always)]
    fn quantity(&self, price: L::Eight) -> L::Eight {
        let all = |value| self.books.lanes.splat(value);
        let with_fee = price * all(1.0 + self.config.taker_fee);
        let unit = match self.books.sides {
            Sides::One(Side::Long) => with_fee,
            Sides::One(Side::Short) => price,
            Sides::Each(side) => side.where_less(all(0.0), price, with_fee),
        };
        if ALL_IN || self.whole == u8::MAX {
            return self.books.cash / unit;
        }
        let (cash, unit, price) = (self.books.cash.array(), unit.array(), price.array());
        let quantity = std::array::from_fn(|i| match self.sizing[i] {
            Sizing::Equity(fraction) => fraction * cash[i] / unit[i],
            Sizing::Quote(quote) => quote.min(cash[i]) / unit[i],
            Sizing::Risk(risk, stop) => ((risk * cash[i]) / (price[i] * stop)).min(cash[i] / unit[i]),
        });
        self.books.lanes.eight(&quantity)
    }

    /// Adds the returns into the first samples of the masked lanes' segments, which are worth `after`.
    #[inline(always)]
    fn edge(&mut self, mask: L::Eight, after: L::Eight) {
        let lanes = self.books.lanes;
        let r = after / self.sampled - lanes.splat(1.0);
        for (sums, added) in self.edges.iter_mut().zip(powers(r)) {
            *sums = choose(mask, *sums + added, *sums);
        }
    }

    /// Closes with the position; gives the lanes that have samples among them.
    #[inline(always)]
    fn mark_held(
        &mut self,
        active: L::Eight,
        lookup: &Lookup,
        step: usize,
        held: Holding<L::Eight>,
    ) -> L::Eight {
        let (lanes, market) = (self.books.lanes, self.books.market);
        let range = Range { low: lanes.eight(&lookup.low[step]), high: lanes.eight(&lookup.high[step]) };
        let marked = choose(active, lanes.eight(&lookup.held_marked[step]), active);
        let bars = |i: usize| lookup.bars[step][i];
        let exact = |i: usize| {
            let [from, to] = bars(i);
            market.closes.query(&market.bars.close, from, to)
        };
        self.books.mark_held(marked, held, range, Some(exact), bars);
        let has_sample = choose(active, lanes.eight(&lookup.held_sampled[step]), active);
        self.edge(has_sample, held.at(lanes.eight(&lookup.first[step])));
        self.sampled = choose(has_sample, held.at(lanes.eight(&lookup.last[step])), self.sampled);
        has_sample
    }

    /// Adds the returns between the samples of positions that take a part of the cash.
    #[inline(always)]
    fn walk(&mut self, mask: L::Eight, lookup: &Lookup, step: usize, held: Holding<L::Eight>) {
        let samples = &self.books.market.samples;
        let (cash, quantity) = (held.cash.array(), held.quantity.array());
        let mut rest = self.books.bits(mask) & !self.whole;
        while rest != 0 {
            let i = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let [from, to] = lookup.bars[step][i].map(|bar| samples.first_at[bar] as usize);
            let held = Part { cash: cash[i], quantity: quantity[i] };
            let walk = Walk { closes: &samples.closes, run: (from, to), held };
            self.sums[i].add_walked(&self.books.lanes.call(walk));
        }
    }

    /// The lanes as accounts of their own.
    #[inline(always)]
    fn accounts(&self) -> [Account<'m, Fold<'m, ALL_IN>>; EIGHT] {
        let market = self.books.market;
        let mut folds = std::array::from_fn(|_| Fold::<ALL_IN>::new(market, self.rows, self.config.cash));
        self.books.folds(&mut folds);
        let (cash, fees) = self.books.cash_and_fees();
        let (sampled, bars_held) = (self.sampled.array(), self.bars_held.array());
        let edges = self.edges.map(Eight::array);
        let mut lane = 0;
        folds.map(|mut fold| {
            let i = lane;
            lane += 1;
            fold.sampled = sampled[i];
            fold.sums = self.sums[i];
            fold.sums.edges = edges.map(|power| power[i]);
            fold.trades.bars_held = bars_held[i] as u64;
            let mut account = Account::new(self.config, self.sizing[i], fold);
            (account.cash, account.fees, account.marked) = (cash[i], fees[i], self.marked[i]);
            account
        })
    }
}
