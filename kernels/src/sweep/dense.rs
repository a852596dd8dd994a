//! Eight all-in long accounts where every close is a sample: a trade adds whole rows of integers ([`super::edges`]), and its
//! account is left with two divisions.

use super::account::{Account, entry_price};
use super::books::{Books, EIGHT, Range, Sides, choose};
use super::deals::{self, Deals};
use super::edges::{AMBIGUOUS, BARS_HELD, EdgeRows, Fills, LEAST, SAMPLES};
use super::extremes::Extremes;
use super::fold::{self, Fold};
use super::market::Market;
use super::moments::{PrefixRows, Row};
use super::records::{SharedAccounts, UnitTrade};
use super::rules::Sizing;
use crate::sim::{Side, SimConfig};
use crate::simd::{Kernel, Lanes, Number};
use crate::stats::Stats;

/// Trades of one lane that are looked up before any is made. A vector must not be loaded right after its lanes were stored
/// one by one: the processor would wait for every store to reach the cache.
pub(super) const AHEAD: usize = 16;

/// What the returns of such accounts are summed with.
#[derive(Clone, Copy)]
pub(super) struct DenseMarket<'m> {
    pub(super) market: &'m Market<'m>,
    pub(super) rows: &'m PrefixRows,
    pub(super) edges: &'m EdgeRows,
    pub(super) config: &'m SimConfig,
}

impl<'m> DenseMarket<'m> {
    /// `None` where a trade's returns are not its own.
    pub(super) fn new(market: &'m Market<'m>, config: &'m SimConfig) -> Option<DenseMarket<'m>> {
        Some(DenseMarket { market, rows: market.rows.as_ref()?, edges: market.edges.as_ref()?, config })
    }

    /// What a trade adds that a level ends: the bar of its exit is one more that it is held in.
    #[inline(always)]
    fn level_row(&self, fills: &Fills) -> Row {
        let mut row = self.edges.trade(self.rows, self.market.bars, fills);
        row.0[BARS_HELD] += 1;
        row
    }
}

/// What the accounts need of one trade per lane.
#[derive(Clone, Copy)]
pub(super) struct Terms<E> {
    /// 1 where there is a trade, else 0.
    pub(super) active: E,
    /// Price of the entry, slippage included, and what a unit costs with the fee.
    pub(super) price: E,
    pub(super) unit: E,
    /// Price of the exit, slippage included, and its fee rate.
    pub(super) leave_price: E,
    pub(super) leave_rate: E,
    /// Closes with the position: bounds, or their extremes; not a number, or not held, where there is none.
    pub(super) range: Range<E>,
    /// 1 where there are such closes, if that is asked.
    pub(super) is_held: Option<E>,
}

/// One trade of combinations that share it.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Record {
    /// Prices of entry and exit, slippage included, lowest and highest close. The first is below 0 where there is no trade, the second
    /// where a maker's fee is paid: four numbers change places in half the steps of eight.
    terms: [f64; 4],
    /// Bars of the fills.
    bars: [u32; 2],
    sums: Row,
}

impl<'m, L: Lanes> SharedAccounts<'m, L> for DenseAccounts<'m, L> {
    type Market = DenseMarket<'m>;
    type Record = Record;

    const NONE: Record = Record { terms: [-1.0, 1.0, f64::NAN, f64::NAN], bars: [0; 2], sums: Row([0; 8]) };

    #[inline(always)]
    fn new(lanes: L, of: DenseMarket<'m>) -> Self {
        DenseAccounts::of(lanes, of)
    }

    #[inline(always)]
    fn record(of: DenseMarket<'m>, trade: &UnitTrade) -> Record {
        let UnitTrade { enter, leave, enter_price, leave_price, range, .. } = *trade;
        let mut sums;
        if trade.is_at_level {
            let leave_rate = trade.leave_rate(of.config);
            sums = of.level_row(&Fills { enter, leave, enter_price, leave_price, leave_rate });
            sums.0[AMBIGUOUS] = i64::from(trade.is_ambiguous);
        } else {
            sums = *of.edges.enter(enter);
            sums.add_row(of.edges.leave(leave));
        }
        let leave_price = if trade.is_target { -leave_price } else { leave_price };
        let bars = [enter, leave].map(|bar| bar as u32);
        Record { terms: [enter_price, leave_price, range.min, range.max], bars, sums }
    }

    #[inline(always)]
    fn touch(of: DenseMarket<'m>, [enter, leave]: [u32; 2]) -> i64 {
        of.edges.enter(enter as usize).0[0] ^ of.edges.leave(leave as usize).0[0]
    }

    #[inline(always)]
    fn trade_records(&mut self, records: &[Record], places: &[[u32; AHEAD]; EIGHT], steps: usize) {
        let lanes = self.books.lanes;
        lanes.call(TradeRecords { accounts: self, records, places, steps });
    }

    #[inline(always)]
    fn finish(&self, open: impl Fn(usize) -> (Option<(usize, f64)>, usize)) -> [Option<Stats>; EIGHT] {
        self.statistics(open)
    }
}

/// Makes the trades of records. A kernel of its own: within the loops around it its sums would find no register free.
struct TradeRecords<'t, 'm, L: Lanes> {
    accounts: &'t mut DenseAccounts<'m, L>,
    records: &'t [Record],
    places: &'t [[u32; AHEAD]; EIGHT],
    steps: usize,
}

impl<L: Lanes> Kernel for TradeRecords<'_, '_, L> {
    type Output = ();

    #[inline(always)]
    fn run<Own: Lanes>(self, _: Own) {
        let TradeRecords { accounts, records, places, steps } = self;
        for (sums, places) in accounts.sums.iter_mut().zip(places) {
            let mut sum = *sums;
            for &place in places.iter().take(steps) {
                sum.add_row(&records[place as usize].sums);
            }
            *sums = sum;
        }
        let lanes = accounts.books.lanes;
        let (config, nothing) = (accounts.of.config, lanes.splat(0.0));
        let (maker, taker) = (lanes.splat(config.maker_fee), lanes.splat(config.taker_fee));
        // By value: a reference would pin every sum in memory.
        let mut books = accounts.books.clone();
        for step in 0..steps.min(AHEAD) {
            let rows = std::array::from_fn(|lane| &records[places[lane][step] as usize].terms);
            let [price, leave, low, high] = lanes.columns(rows);
            let terms = Terms {
                active: nothing.where_less(price, lanes.splat(1.0), nothing),
                is_held: None,
                price,
                unit: price * lanes.splat(1.0 + config.taker_fee),
                leave_price: leave.abs(),
                leave_rate: leave.where_less(nothing, maker, taker),
                range: Range { low, high },
            };
            let bars = |i: usize| records[places[i][step] as usize].bars.map(|bar| bar as usize);
            let exact: Option<fn(usize) -> Extremes> = None;
            open_and_close(&mut books, config, terms, exact, bars);
        }
        accounts.books = books;
    }
}

/// Eight of them.
#[derive(Clone)]
pub(super) struct DenseAccounts<'m, L: Lanes> {
    of: DenseMarket<'m>,
    books: Books<'m, L>,
    /// Per lane the sums of its trades' rows.
    sums: [Row; EIGHT],
}

impl<'m, L: Lanes> DenseAccounts<'m, L> {
    #[inline(always)]
    pub(super) fn of(lanes: L, of: DenseMarket<'m>) -> Self {
        let books = Books::new(lanes, of.market, Sides::One(Side::Long), of.config.cash);
        DenseAccounts { of, books, sums: [Row::default(); EIGHT] }
    }

    /// What the lanes amount to, `None` where a fold is unfit. `open` gives bar and raw price of the entry of a position that
    /// stays open, and the first bar after the last exit.
    #[inline(always)]
    pub(super) fn statistics(
        &self,
        open: impl Fn(usize) -> (Option<(usize, f64)>, usize),
    ) -> [Option<Stats>; EIGHT] {
        let DenseMarket { market, rows, config, .. } = self.of;
        let mut folds = std::array::from_fn(|_| Fold::<true>::new(market, rows, config.cash));
        self.books.folds(&mut folds);
        let (cash, fees) = self.books.cash_and_fees();
        let mut out = [const { None }; EIGHT];
        for (i, mut fold) in folds.into_iter().enumerate() {
            let row = &self.sums[i];
            fold.sums.held = *row;
            fold.sums.held_samples = row.0[SAMPLES] as u64;
            fold.trades.bars_held = row.0[BARS_HELD] as u64;
            let mut account = Account::new(config, Sizing::Equity(1.0), fold);
            let (open, marked) = open(i);
            (account.cash, account.fees, account.marked) = (cash[i], fees[i], marked);
            let mut position = None;
            if let Some((bar, raw)) = open {
                position = account.enter(Side::Long, bar, raw);
                if position.is_none() {
                    account.sink.give_up();
                }
            }
            account.finish(market.bars.len(), position.as_ref());
            out[i] = fold::finish(&account, row.0[AMBIGUOUS] as u64);
        }
        out
    }
}

/// Opens and closes one position per active lane.
#[inline(always)]
fn open_and_close<L: Lanes>(
    books: &mut Books<'_, L>,
    config: &SimConfig,
    terms: Terms<L::Eight>,
    exact: Option<impl Fn(usize) -> Extremes>,
    bars: impl Fn(usize) -> [usize; 2],
) {
    let quantity = books.cash / terms.unit;
    let active = books.place(terms.active, quantity, LEAST);
    // Before the first bar equity is the initial cash, so that it does no harm to mark it.
    books.mark_flat(active);
    let (held, notional, fee) = books.open(config, quantity, terms.price);
    let marked = match terms.is_held {
        Some(is_held) => choose(active, is_held, active),
        None => active,
    };
    books.mark_held(marked, held, terms.range, exact, bars);
    let settled = books.close(held, (quantity, notional, fee), (terms.leave_price, terms.leave_rate));
    books.settle(active, settled);
}

/// What the next trades of every lane need of the market. Lanes without a trade hold numbers that harm nothing.
pub(super) struct Lookup {
    active: [[f64; EIGHT]; AHEAD],
    /// Prices before slippage.
    enter: [[f64; EIGHT]; AHEAD],
    leave: [[f64; EIGHT]; AHEAD],
    low: [[f64; EIGHT]; AHEAD],
    high: [[f64; EIGHT]; AHEAD],
}

impl Lookup {
    pub(super) fn new() -> Lookup {
        let one = [[1.0; EIGHT]; AHEAD];
        Lookup { active: one, enter: one, leave: one, low: one, high: one }
    }
}

/// Trades between fills of bars' opens, or closes, a later one for the exit.
pub(super) struct FillPairs<'p> {
    /// Per lane pairs of bars at whose closes a position is opened and closed.
    pub(super) pairs: [&'p [[u32; 2]]; EIGHT],
    /// Bars from decision to fill, and the prices of fills.
    pub(super) delay: usize,
    pub(super) prices: &'p [f64],
}

impl<'m, L: Lanes> DenseAccounts<'m, L> {
    /// Makes trades that follow those before.
    #[inline(always)]
    pub(super) fn run(&mut self, fills: &FillPairs<'_>, lookup: &mut Lookup) {
        let mut steps = 0;
        for pairs in fills.pairs {
            steps = pairs.len().max(steps);
        }
        let mut from = 0;
        while from < steps {
            for lane in 0..EIGHT {
                self.look_up(fills, lane, from, lookup);
            }
            for step in 0..AHEAD.min(steps - from) {
                self.trade_pairs(fills, from + step, step, lookup);
            }
            from += AHEAD;
        }
    }

    #[inline(always)]
    fn look_up(&mut self, fills: &FillPairs<'_>, lane: usize, from: usize, lookup: &mut Lookup) {
        let DenseMarket { market, edges, .. } = self.of;
        let pairs = fills.pairs[lane];
        let pairs = &pairs[from.min(pairs.len())..(from + AHEAD).min(pairs.len())];
        let mut sums = self.sums[lane];
        for (step, &[enter, leave]) in pairs.iter().enumerate() {
            let (enter, leave) = (enter as usize + fills.delay, leave as usize + fills.delay);
            lookup.active[step][lane] = 1.0;
            lookup.enter[step][lane] = fills.prices[enter];
            lookup.leave[step][lane] = fills.prices[leave];
            let range = market.coarse.query(enter, leave);
            lookup.low[step][lane] = range.min;
            lookup.high[step][lane] = range.max;
            sums.add_row(edges.enter(enter));
            sums.add_row(edges.leave(leave));
        }
        for active in &mut lookup.active[pairs.len()..] {
            active[lane] = 0.0;
        }
        self.sums[lane] = sums;
    }

    #[inline(always)]
    fn trade_pairs(&mut self, fills: &FillPairs<'_>, trade: usize, step: usize, lookup: &Lookup) {
        let (lanes, market) = (self.books.lanes, self.of.market);
        let SimConfig { slippage, taker_fee, .. } = *self.of.config;
        let price = lanes.eight(&lookup.enter[step]) * lanes.splat(1.0 + slippage);
        let active = lanes.eight(&lookup.active[step]);
        let terms = Terms {
            active,
            is_held: None,
            price,
            unit: price * lanes.splat(1.0 + taker_fee),
            leave_price: lanes.eight(&lookup.leave[step]) * lanes.splat(1.0 - slippage),
            leave_rate: lanes.splat(taker_fee),
            range: Range { low: lanes.eight(&lookup.low[step]), high: lanes.eight(&lookup.high[step]) },
        };
        let bars = |i: usize| fills.pairs[i][trade].map(|decided| decided as usize + fills.delay);
        let exact = |i: usize| {
            let [from, to] = bars(i);
            market.closes.query(&market.bars.close, from, to)
        };
        open_and_close(&mut self.books, self.of.config, terms, Some(exact), bars);
    }

    /// Makes trades that follow those before, and that levels may end. `marked` is per lane the first bar after the last one.
    #[inline(always)]
    pub(super) fn run_deals<D: Deals>(
        &mut self,
        deals: &mut D,
        lookup: &mut deals::Lookup,
        marked: &mut [usize; EIGHT],
    ) {
        loop {
            let steps = lookup.take(deals);
            for (lane, marked) in marked.iter_mut().enumerate() {
                let ambiguous = lookup.look_up_prices(deals, self.of.config, lane);
                self.sums[lane].0[AMBIGUOUS] += ambiguous as i64;
                *marked = lookup.look_up_closes(self.of.market, lane, *marked);
                self.sum_deals(lookup, lane);
            }
            for step in 0..steps {
                self.trade_deals(lookup, step);
            }
            if steps < AHEAD {
                return;
            }
        }
    }

    #[inline(always)]
    fn sum_deals(&mut self, lookup: &deals::Lookup, lane: usize) {
        let DenseMarket { edges, config, .. } = self.of;
        let mut sums = self.sums[lane];
        for (step, deal) in lookup.deals[lane].iter().enumerate().take(lookup.count[lane]) {
            let [enter, leave] = deal.bars();
            if deal.met == 0 {
                sums.add_row(edges.enter(enter));
                sums.add_row(edges.leave(leave));
                continue;
            }
            let enter_price = entry_price(config, Side::Long, lookup.enter_raw[step][lane]);
            let (leave_price, leave_rate) = (lookup.leave_price[step][lane], lookup.leave_rate[step][lane]);
            sums.add_row(&self.of.level_row(&Fills { enter, leave, enter_price, leave_price, leave_rate }));
        }
        self.sums[lane] = sums;
    }

    #[inline(always)]
    fn trade_deals(&mut self, lookup: &deals::Lookup, step: usize) {
        let (lanes, market) = (self.books.lanes, self.of.market);
        let SimConfig { slippage, taker_fee, .. } = *self.of.config;
        let price = lanes.eight(&lookup.enter_raw[step]) * lanes.splat(1.0 + slippage);
        let terms = Terms {
            active: lanes.eight(&lookup.active[step]),
            is_held: Some(lanes.eight(&lookup.held_marked[step])),
            price,
            unit: price * lanes.splat(1.0 + taker_fee),
            leave_price: lanes.eight(&lookup.leave_price[step]),
            leave_rate: lanes.eight(&lookup.leave_rate[step]),
            range: Range { low: lanes.eight(&lookup.low[step]), high: lanes.eight(&lookup.high[step]) },
        };
        let bars = |i: usize| lookup.bars(i, step);
        let exact = |i: usize| {
            let [enter, leave] = lookup.bars(i, step);
            market.closes.query(&market.bars.close, enter, leave)
        };
        open_and_close(&mut self.books, self.of.config, terms, Some(exact), bars);
    }
}
