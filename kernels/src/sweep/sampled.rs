//! Eight all-in long accounts that share their trades where not every close is a sample, or where a position may be opened at
//! the close that ends a return ([`super::edges`]). Returns between the samples of a position are those of the closes, and come
//! as whole rows; the returns into its first sample and into the first one after it depend on the account, and are summed as
//! [`super::eight`] does.

use super::account::Account;
use super::books::{Books, EIGHT, Range, Sides, choose};
use super::dense::AHEAD;
use super::edges::{AMBIGUOUS, BARS_HELD, SAMPLES};
use super::extremes::Extremes;
use super::fold::{self, Fold};
use super::market::Market;
use super::moments::{POWERS, PrefixRows, Row};
use super::records::{SharedAccounts, UnitTrade};
use super::rules::Sizing;
use crate::sim::{Side, SimConfig};
use crate::simd::{Eight, Kernel, Lanes, Number};
use crate::stats::Stats;

/// What the returns of such accounts are summed with.
#[derive(Clone, Copy)]
pub(super) struct SampledMarket<'m> {
    pub(super) market: &'m Market<'m>,
    pub(super) rows: &'m PrefixRows,
    pub(super) config: &'m SimConfig,
}

impl<'m> SampledMarket<'m> {
    /// `None` where [`super::dense`] sums the returns, or where a return has no finite powers.
    pub(super) fn new(market: &'m Market<'m>, config: &'m SimConfig) -> Option<SampledMarket<'m>> {
        let rows = market.rows.as_ref().filter(|_| market.edges.is_none())?;
        Some(SampledMarket { market, rows, config })
    }
}

/// One trade of combinations that share it.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct SampledRecord {
    /// Price and cost of a unit, price and fee rate of the exit, lowest and highest close, 1 for a trade, bars of the fills.
    terms: [f64; 8],
    /// Bars of the fills; the first sample with the position and the first one after it, which are one where there is none;
    /// the closes at the first and at the last one with it.
    times: [f64; 8],
    /// Sums over the returns between those samples.
    sums: Row,
}

/// The bars of two fills as one number.
#[inline(always)]
fn pack(enter: usize, leave: usize) -> u64 {
    (enter as u64) << 32 | leave as u64
}

#[inline(always)]
fn unpack(bars: u64) -> [usize; 2] {
    [(bars >> 32) as usize, bars as u32 as usize]
}

/// Eight of them.
#[derive(Clone)]
pub(super) struct SampledAccounts<'m, L: Lanes> {
    of: SampledMarket<'m>,
    books: Books<'m, L>,
    /// The first bar, and the first sample, after the last position.
    marked: L::Eight,
    marked_samples: L::Eight,
    /// Equity at the last sample.
    sampled: L::Eight,
    edges: [L::Eight; POWERS],
    /// Per lane the sums of its trades' rows.
    sums: [Row; EIGHT],
}

impl<'m, L: Lanes> SharedAccounts<'m, L> for SampledAccounts<'m, L> {
    type Market = SampledMarket<'m>;
    type Record = SampledRecord;

    const NONE: SampledRecord = SampledRecord {
        terms: [1.0, 1.0, 1.0, 0.0, f64::NAN, f64::NAN, 0.0, 0.0],
        times: [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0],
        sums: Row([0; 8]),
    };

    #[inline(always)]
    fn new(lanes: L, of: SampledMarket<'m>) -> Self {
        SampledAccounts {
            of,
            books: Books::new(lanes, of.market, Sides::One(Side::Long), of.config.cash),
            marked: lanes.splat(0.0),
            marked_samples: lanes.splat(0.0),
            sampled: lanes.splat(of.config.cash),
            edges: [lanes.splat(0.0); POWERS],
            sums: [Row::default(); EIGHT],
        }
    }

    #[inline(always)]
    fn record(of: SampledMarket<'m>, trade: &UnitTrade) -> SampledRecord {
        let UnitTrade { enter, leave, enter_price, leave_price, range, .. } = *trade;
        let (unit, leave_rate) = (enter_price * (1.0 + of.config.taker_fee), trade.leave_rate(of.config));
        let samples = &of.market.samples;
        let (from, to) = (samples.first_at[enter] as usize, samples.first_at[leave] as usize);
        let (mut sums, mut ends) = (Row::default(), [1.0; 2]);
        if from < to {
            ends = [samples.closes[from], samples.closes[to - 1]];
            sums.add(&of.rows.rows, from + 1, to);
            sums.0[SAMPLES] = (to - from - 1) as i64;
        }
        sums.0[BARS_HELD] = trade.bars_held as i64;
        sums.0[AMBIGUOUS] = i64::from(trade.is_ambiguous);
        let bars = f64::from_bits(pack(enter, leave));
        SampledRecord {
            terms: [enter_price, unit, leave_price, leave_rate, range.min, range.max, 1.0, bars],
            times: [enter as f64, leave as f64, from as f64, to as f64, ends[0], ends[1], 0.0, 0.0],
            sums,
        }
    }

    #[inline(always)]
    fn touch(of: SampledMarket<'m>, fills: [u32; 2]) -> i64 {
        let [from, to] = fills.map(|bar| of.market.samples.first_at[bar as usize] as usize);
        of.rows.rows[from].0[0] ^ of.rows.rows[to].0[0]
    }

    #[inline(always)]
    fn trade_records(&mut self, records: &[SampledRecord], places: &[[u32; AHEAD]; EIGHT], steps: usize) {
        let lanes = self.books.lanes;
        lanes.call(TradeRecords { accounts: self, records, places, steps });
    }

    #[inline(always)]
    fn finish(&self, open: impl Fn(usize) -> (Option<(usize, f64)>, usize)) -> [Option<Stats>; EIGHT] {
        let SampledMarket { market, rows, config } = self.of;
        let mut folds = std::array::from_fn(|_| Fold::<true>::new(market, rows, config.cash));
        self.books.folds(&mut folds);
        let (cash, fees) = self.books.cash_and_fees();
        let (sampled, edges) = (self.sampled.array(), self.edges.map(Eight::array));
        let mut out = [const { None }; EIGHT];
        for (i, mut fold) in folds.into_iter().enumerate() {
            let row = &self.sums[i];
            fold.sampled = sampled[i];
            fold.sums.held = *row;
            fold.sums.held_samples = row.0[SAMPLES] as u64;
            fold.sums.edges = edges.map(|power| power[i]);
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

/// Makes the trades of records. A kernel of its own: within the loops around it its sums would find no register free.
struct TradeRecords<'t, 'm, L: Lanes> {
    accounts: &'t mut SampledAccounts<'m, L>,
    records: &'t [SampledRecord],
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
        for step in 0..steps.min(AHEAD) {
            let of: [&SampledRecord; EIGHT] =
                std::array::from_fn(|lane| &records[places[lane][step] as usize]);
            let (mut terms, mut times) = ([lanes.splat(0.0); EIGHT], [lanes.splat(0.0); EIGHT]);
            for ((terms, times), record) in terms.iter_mut().zip(&mut times).zip(of) {
                *terms = lanes.eight(&record.terms);
                *times = lanes.eight(&record.times);
            }
            let bars = |lane: usize| unpack(of[lane].terms[7].to_bits());
            accounts.trade(lanes.transpose(terms), lanes.transpose(times), bars);
        }
    }
}

impl<L: Lanes> SampledAccounts<'_, L> {
    /// Opens and closes one position per active lane.
    #[inline(always)]
    fn trade(&mut self, terms: [L::Eight; 8], times: [L::Eight; 8], bars: impl Fn(usize) -> [usize; 2]) {
        let [price, unit, leave_price, leave_rate, low, high, is_trade, _] = terms;
        let [enter, leave, from, to, first, last, ..] = times;
        let nothing = self.books.lanes.splat(0.0);
        let quantity = self.books.cash / unit;
        let active = self.books.place(is_trade, quantity, 0.0);

        self.books.mark_flat(self.marked.where_less(enter, active, nothing));
        let has_sample = self.marked_samples.where_less(from, active, nothing);
        self.edge(has_sample, self.books.cash);
        self.sampled = choose(has_sample, self.books.cash, self.sampled);
        self.marked = choose(is_trade, leave, self.marked);
        self.marked_samples = choose(is_trade, to, self.marked_samples);

        let (held, notional, fee) = self.books.open(self.of.config, quantity, price);
        let exact: Option<fn(usize) -> Extremes> = None;
        let has_close = enter.where_less(leave, active, nothing);
        self.books.mark_held(has_close, held, Range { low, high }, exact, bars);
        let has_sample = from.where_less(to, active, nothing);
        self.edge(has_sample, held.at(first));
        self.sampled = choose(has_sample, held.at(last), self.sampled);

        let settled = self.books.close(held, (quantity, notional, fee), (leave_price, leave_rate));
        self.books.settle(active, settled);
    }

    /// Adds the returns into the samples of the masked lanes that are worth `after`.
    #[inline(always)]
    fn edge(&mut self, mask: L::Eight, after: L::Eight) {
        let lanes = self.books.lanes;
        let nothing = lanes.splat(0.0);
        let r = after / self.sampled - lanes.splat(1.0);
        let square = r * r;
        let loss = r.where_less(nothing, r, nothing);
        let added = [r, square, square * r, square * square, loss * loss];
        for (sums, added) in self.edges.iter_mut().zip(added) {
            *sums = choose(mask, *sums + added, *sums);
        }
    }
}
