//! Eight accounts side by side: short, of other sizes than all the cash, or sampled once a day. What entries and exits add to the sums
//! over returns is summed in floating point, in the order of events.

use super::account::{Account, entry_price, short_offset};
use super::block::{Open, fills};
use super::books::{Books, EIGHT, Holding, Range, Sides, choose};
use super::deals::{Deal, Deals, Lookup, Memo};
use super::dense::AHEAD;
use super::fold::{self, Fold};
use super::market::Market;
use super::moments::{Offset, POWERS, Part, PowerSums, PrefixRows, Walk, powers};
use super::rules::Sizing;
use crate::sim::{Side, SimConfig};
use crate::simd::{Eight, Lanes, Number};
use crate::stats::Stats;

/// Eight accounts. `ALL_IN` says that every position is long with all the cash.
#[derive(Clone)]
pub(super) struct EightAccounts<'m, L: Lanes, const ALL_IN: bool> {
    books: Books<'m, L>,
    rows: &'m PrefixRows,
    config: &'m SimConfig,
    /// The prices of fills.
    fills: &'m [f64],
    sizing: [Sizing; EIGHT],
    /// The lanes whose positions take all the cash, as bits.
    whole: u8,
    /// The first bar not looked up yet.
    marked: [usize; EIGHT],
    sampled: L::Eight,
    edges: [L::Eight; POWERS],
    sums: [PowerSums; EIGHT],
    bars_held: L::Eight,
    ambiguous_bars: [u64; EIGHT],
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
            fills: fills(market, config).1,
            sizing,
            whole: (0..EIGHT).map(is_whole).sum(),
            marked: [0; EIGHT],
            sampled: lanes.splat(config.cash),
            edges: [lanes.splat(0.0); POWERS],
            sums: [PowerSums::ZERO; EIGHT],
            bars_held: lanes.splat(0.0),
            ambiguous_bars: [0; EIGHT],
        })
    }

    /// Makes all trades, on one side or on both, and gives what they amount to, `None` where a fold is unfit.
    #[inline(always)]
    pub(super) fn measure<D: Deals>(
        lanes: L,
        (market, config): (&'m Market<'m>, &'m SimConfig),
        side: Option<Side>,
        sizing: [Sizing; EIGHT],
        (deals, memo): (&mut D, &mut Memo),
        open: impl Fn(&D, usize) -> Open,
    ) -> [Option<Stats>; EIGHT] {
        let Some(mut eight) = Self::new(lanes, (market, config), side, sizing) else {
            return [const { None }; EIGHT];
        };
        eight.run(deals, &mut Lookup::new(), memo);
        eight.finish(|lane| open(deals, lane))
    }

    /// What the lanes amount to, `None` where a fold is unfit.
    #[inline(always)]
    pub(super) fn finish(&self, open: impl Fn(usize) -> Open) -> [Option<Stats>; EIGHT] {
        let mut lane = 0;
        self.accounts().map(|mut account| {
            let mut position = None;
            if let Some((side, bar, raw)) = open(lane) {
                position = account.enter(side, bar, raw);
                if position.is_none() {
                    account.sink.give_up();
                }
            }
            account.finish(self.books.market.bars.len(), position.as_ref());
            lane += 1;
            fold::finish(&account, self.ambiguous_bars[lane - 1])
        })
    }

    /// Makes trades that follow those before.
    #[inline(always)]
    pub(super) fn run<D: Deals>(&mut self, deals: &mut D, lookup: &mut Lookup, memo: &mut Memo) {
        loop {
            let steps = lookup.take(deals);
            for lane in 0..EIGHT {
                self.ambiguous_bars[lane] += lookup.look_up_prices(deals, self.config, lane);
                self.marked[lane] = lookup.look_up_closes(self.books.market, lane, self.marked[lane]);
                self.sum_whole(lookup, lane, memo);
            }
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

    /// Adds the returns between the samples of a lane's next positions, where these take all the cash.
    #[inline(always)]
    fn sum_whole(&mut self, lookup: &Lookup, lane: usize, memo: &mut Memo) {
        if !ALL_IN && self.whole >> lane & 1 == 0 {
            return;
        }
        let trades = lookup.count[lane];
        // By value: a reference would pin the sums in memory.
        let mut sums = self.sums[lane];
        for (deal, run) in lookup.deals[lane].iter().zip(&lookup.runs[lane]).take(trades) {
            let [from, to] = run.map(|sample| sample as usize);
            if ALL_IN || deal.side == Side::Long {
                // Of a single sample the difference is none, nor of no sample.
                sums.hold(&self.rows.rows, (from + 1).min(to), to);
            } else if from < to {
                sums.add_walked(&self.walk_whole(deal, (from, to), memo));
            }
        }
        self.sums[lane] = sums;
    }

    /// Sums over a short position with all the cash.
    #[inline(always)]
    fn walk_whole(&self, deal: &Deal, (from, to): (usize, usize), memo: &mut Memo) -> [f64; POWERS] {
        let (enter, samples) = (deal.enter as usize, to - from);
        if let Some(sums) = memo.sums(enter, samples) {
            return sums;
        }
        let offset = short_offset(entry_price(self.config, Side::Short, self.fills[enter]), self.config);
        let walk = Walk { closes: &self.books.market.samples.closes, run: (from, to), held: Offset(offset) };
        let sums = self.books.lanes.call(walk);
        memo.remember(enter, samples, sums);
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
        let bars = |i: usize| lookup.bars(i, step);
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
            let [from, to] = lookup.runs[i][step].map(|sample| sample as usize);
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
