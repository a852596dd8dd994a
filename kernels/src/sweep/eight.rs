//! Eight accounts side by side: the same operations in the same order as [`super::account`] and [`super::fold`] make one by
//! one, so the same bits, with one combination per lane of a vector.
//!
//! One account is a chain of a division and a dozen sums that each wait for the last; eight of them take little longer than
//! one. What is rare (a new drawdown, an order that is not placed) leaves the lanes and is done in scalar code.

use super::account::{Account, Segment};
use super::fold::Fold;
use super::market::Market;
use super::measure;
use super::moments::{PowerSums, PrefixRows, powers};
use super::rules::Sizing;
use crate::sim::{Side, SimConfig};

/// Combinations side by side.
pub(super) const EIGHT: usize = 8;

type Lane = [f64; EIGHT];

#[inline(always)]
fn lanes(f: impl FnMut(usize) -> f64) -> Lane {
    std::array::from_fn(f)
}

/// One trade of each lane; lanes without one repeat another's and are masked.
pub(super) struct Trades {
    pub(super) is_active: [bool; EIGHT],
    pub(super) enter_bar: [u32; EIGHT],
    pub(super) leave_bar: [u32; EIGHT],
    pub(super) enter_raw: Lane,
    pub(super) leave_raw: Lane,
}

/// Eight accounts that trade one side by signals.
pub(super) struct EightAccounts<'m, const ALL_IN: bool> {
    market: &'m Market<'m>,
    rows: &'m PrefixRows,
    config: &'m SimConfig,
    side: Side,
    sizing: [Sizing; EIGHT],
    cash: Lane,
    fees: Lane,
    marked: [u32; EIGHT],
    peak: Lane,
    worst: Lane,
    floor: Lane,
    sampled: Lane,
    edges: [Lane; 5],
    sums: [PowerSums; EIGHT],
    is_fit: [bool; EIGHT],
    counts: [[u64; EIGHT]; 5],
    profit: Lane,
    loss: Lane,
    pnl: Lane,
    pnl_squares: Lane,
    returns: Lane,
    best_trade: Lane,
    worst_trade: Lane,
}

/// Rows of `counts`.
const TRADES: usize = 0;
const WINS: usize = 1;
const LOSSES_IN_A_ROW: usize = 2;
const MOST_LOSSES: usize = 3;
const BARS_HELD: usize = 4;

#[inline(always)]
fn select(mask: [bool; EIGHT], yes: Lane, no: Lane) -> Lane {
    lanes(|i| if mask[i] { yes[i] } else { no[i] })
}

impl<'m, const ALL_IN: bool> EightAccounts<'m, ALL_IN> {
    #[inline(always)]
    pub(super) fn new(
        market: &'m Market<'m>,
        rows: &'m PrefixRows,
        config: &'m SimConfig,
        side: Side,
        sizing: [Sizing; EIGHT],
    ) -> Self {
        let start = Fold::<ALL_IN>::new(market, rows, config.cash);
        EightAccounts {
            market,
            rows,
            config,
            side,
            sizing,
            cash: [config.cash; EIGHT],
            fees: [0.0; EIGHT],
            marked: [0; EIGHT],
            peak: [start.drawdown.peak; EIGHT],
            worst: [start.drawdown.worst; EIGHT],
            floor: [start.floor; EIGHT],
            sampled: [start.sampled; EIGHT],
            edges: [[0.0; EIGHT]; 5],
            sums: [PowerSums::ZERO; EIGHT],
            is_fit: [true; EIGHT],
            counts: [[0; EIGHT]; 5],
            profit: [0.0; EIGHT],
            loss: [0.0; EIGHT],
            pnl: [0.0; EIGHT],
            pnl_squares: [0.0; EIGHT],
            returns: [0.0; EIGHT],
            best_trade: [f64::NEG_INFINITY; EIGHT],
            worst_trade: [f64::INFINITY; EIGHT],
        }
    }

    /// Opens and closes one position per active lane.
    #[inline(always)]
    pub(super) fn trade(&mut self, trades: &Trades) {
        let config = self.config;
        let (enter_factor, leave_factor) = match self.side {
            Side::Long => (1.0 + config.slippage, 1.0 - config.slippage),
            Side::Short => (1.0 - config.slippage, 1.0 + config.slippage),
        };
        let is_long = self.side == Side::Long;
        let price = lanes(|i| trades.enter_raw[i] * enter_factor);
        let quantity = self.quantity(&price);
        let mut active = trades.is_active;
        for i in 0..EIGHT {
            let is_placed = quantity[i] > 0.0 && quantity[i].is_finite();
            self.is_fit[i] &= is_placed | !active[i];
            active[i] &= is_placed;
        }
        self.mark_flat(active, trades);
        let notional = lanes(|i| quantity[i] * price[i]);
        let fee = lanes(|i| notional[i] * config.taker_fee);
        let cash = lanes(|i| {
            if is_long { self.cash[i] - (notional[i] + fee[i]) } else { self.cash[i] + (notional[i] - fee[i]) }
        });
        let fees = lanes(|i| self.fees[i] + fee[i]);
        let signed = lanes(|i| if is_long { quantity[i] } else { -quantity[i] });
        self.mark_held(active, trades, &cash, &signed);

        let price = lanes(|i| trades.leave_raw[i] * leave_factor);
        let closed = lanes(|i| quantity[i] * price[i]);
        let close_fee = lanes(|i| closed[i] * config.taker_fee);
        let left = lanes(|i| {
            if is_long { cash[i] + (closed[i] - close_fee[i]) } else { cash[i] - (closed[i] + close_fee[i]) }
        });
        let (bought, sold) = if is_long { ((notional, fee), (closed, close_fee)) } else { ((closed, close_fee), (notional, fee)) };
        let cost = lanes(|i| bought.0[i] + bought.1[i]);
        let pnl = lanes(|i| (sold.0[i] - sold.1[i]) - cost[i]);
        self.fees = select(active, lanes(|i| fees[i] + close_fee[i]), self.fees);
        self.cash = select(active, left, self.cash);
        self.count(active, trades, &pnl, &lanes(|i| pnl[i] / cost[i]));
    }

    #[inline(always)]
    fn quantity(&self, price: &Lane) -> Lane {
        let taker = self.config.taker_fee;
        let unit = lanes(|i| if self.side == Side::Long { price[i] * (1.0 + taker) } else { price[i] });
        if ALL_IN {
            return lanes(|i| 1.0 * self.cash[i] / unit[i]);
        }
        lanes(|i| match self.sizing[i] {
            Sizing::Equity(fraction) => fraction * self.cash[i] / unit[i],
            Sizing::Quote(quote) => quote.min(self.cash[i]) / unit[i],
            Sizing::Risk(risk, stop) => ((risk * self.cash[i]) / (price[i] * stop)).min(self.cash[i] / unit[i]),
        })
    }

    /// Closes since the last trade, without a position.
    #[inline(always)]
    fn mark_flat(&mut self, active: [bool; EIGHT], trades: &Trades) {
        let samples = &self.market.samples;
        let mut has_sample = [false; EIGHT];
        let mut is_rare = [false; EIGHT];
        for i in 0..EIGHT {
            let (from, to) = (self.marked[i], trades.enter_bar[i]);
            let is_marked = active[i] & (from < to);
            has_sample[i] = is_marked & (samples.first_at[from as usize] < samples.first_at[to as usize]);
            is_rare[i] = is_marked & ((self.cash[i] > self.peak[i]) | (self.cash[i] < self.floor[i]));
        }
        if is_rare != [false; EIGHT] {
            self.flat_drawdowns(is_rare);
        }
        self.edge(has_sample, self.cash);
        self.sampled = select(has_sample, self.cash, self.sampled);
    }

    #[inline(always)]
    fn flat_drawdowns(&mut self, rare: [bool; EIGHT]) {
        for i in 0..EIGHT {
            if rare[i] {
                let mut drawdown = measure::Drawdown { peak: self.peak[i], worst: self.worst[i] };
                drawdown.flat(self.cash[i]);
                self.is_fit[i] &= self.cash[i] > 0.0;
                self.keep_drawdown(i, drawdown);
            }
        }
    }

    #[inline(always)]
    fn keep_drawdown(&mut self, i: usize, drawdown: measure::Drawdown) {
        (self.peak[i], self.worst[i]) = (drawdown.peak, drawdown.worst);
        self.floor[i] = super::fold::floor_of(drawdown);
    }

    /// Adds the returns into the first samples of the masked lanes' segments, which are worth `after`.
    #[inline(always)]
    fn edge(&mut self, mask: [bool; EIGHT], after: Lane) {
        let mut added = [[0.0; EIGHT]; 5];
        for i in 0..EIGHT {
            let powers = powers(after[i] / self.sampled[i] - 1.0);
            for (added, power) in added.iter_mut().zip(powers) {
                added[i] = power;
            }
        }
        for (sums, added) in self.edges.iter_mut().zip(added) {
            *sums = select(mask, lanes(|i| sums[i] + added[i]), *sums);
        }
    }

    /// Closes with the position.
    #[inline(always)]
    fn mark_held(&mut self, active: [bool; EIGHT], trades: &Trades, cash: &Lane, quantity: &Lane) {
        let samples = &self.market.samples;
        let (mut low, mut high) = ([0.0; EIGHT], [0.0; EIGHT]);
        let mut marked = active;
        for i in 0..EIGHT {
            let (from, to) = (trades.enter_bar[i] as usize, trades.leave_bar[i] as usize);
            marked[i] &= from < to;
            let range = self.market.coarse.query(from, to.max(from + 1));
            (low[i], high[i]) = (range.min, range.max);
        }
        let mut is_rare = [false; EIGHT];
        for i in 0..EIGHT {
            let (a, b) = (cash[i] + quantity[i] * low[i], cash[i] + quantity[i] * high[i]);
            let (lowest, highest) = if quantity[i] < 0.0 { (b, a) } else { (a, b) };
            is_rare[i] = marked[i] & ((highest > self.peak[i]) | (lowest < self.floor[i]));
        }
        if is_rare != [false; EIGHT] {
            self.held_drawdowns(is_rare, trades, cash, quantity);
        }
        let mut has_sample = [false; EIGHT];
        let (mut first, mut last) = ([1.0; EIGHT], [1.0; EIGHT]);
        for i in 0..EIGHT {
            let from = samples.first_at[trades.enter_bar[i] as usize] as usize;
            let to = samples.first_at[trades.leave_bar[i] as usize] as usize;
            has_sample[i] = marked[i] & (from < to);
            if has_sample[i] {
                (first[i], last[i]) = (samples.closes[from], samples.closes[to - 1]);
                if to - from > 1 {
                    if ALL_IN {
                        self.sums[i].hold(&self.rows.rows, from + 1, to);
                    } else {
                        self.sums[i].walk(&samples.closes[from..to], cash[i], quantity[i]);
                    }
                }
            }
            self.marked[i] = if active[i] { trades.leave_bar[i].max(trades.enter_bar[i]) } else { self.marked[i] };
        }
        self.edge(has_sample, lanes(|i| cash[i] + quantity[i] * first[i]));
        self.sampled = select(has_sample, lanes(|i| cash[i] + quantity[i] * last[i]), self.sampled);
    }

    #[inline(always)]
    fn held_drawdowns(&mut self, rare: [bool; EIGHT], trades: &Trades, cash: &Lane, quantity: &Lane) {
        for i in 0..EIGHT {
            if rare[i] {
                let segment = Segment {
                    from: trades.enter_bar[i] as usize,
                    to: trades.leave_bar[i] as usize,
                    cash: cash[i],
                    quantity: quantity[i],
                };
                let drawdown = measure::Drawdown { peak: self.peak[i], worst: self.worst[i] };
                let (drawdown, lowest) = super::fold::draw_down_exactly(drawdown, self.market, segment);
                self.is_fit[i] &= lowest > 0.0;
                self.keep_drawdown(i, drawdown);
            }
        }
    }

    #[inline(always)]
    fn count(&mut self, active: [bool; EIGHT], trades: &Trades, pnl: &Lane, returns: &Lane) {
        let wins = lanes(|i| if pnl[i] > 0.0 { pnl[i] } else { 0.0 });
        let losses = lanes(|i| if pnl[i] < 0.0 { pnl[i] } else { 0.0 });
        self.profit = select(active, lanes(|i| self.profit[i] + wins[i]), self.profit);
        self.loss = select(active, lanes(|i| self.loss[i] - losses[i]), self.loss);
        self.pnl = select(active, lanes(|i| self.pnl[i] + pnl[i]), self.pnl);
        self.pnl_squares =
            select(active, lanes(|i| self.pnl_squares[i] + pnl[i] * pnl[i]), self.pnl_squares);
        self.returns = select(active, lanes(|i| self.returns[i] + returns[i]), self.returns);
        let (best, worst) = (self.best_trade, self.worst_trade);
        self.best_trade =
            select(active, lanes(|i| if returns[i] > best[i] { returns[i] } else { best[i] }), best);
        self.worst_trade =
            select(active, lanes(|i| if returns[i] < worst[i] { returns[i] } else { worst[i] }), worst);
        for i in 0..EIGHT {
            let one = u64::from(active[i]);
            let (is_win, is_loss) = (one & u64::from(pnl[i] > 0.0), one & u64::from(pnl[i] < 0.0));
            // Filled at an open or at a close alike: from the entry's fill to the exit's.
            let held = u64::from(trades.leave_bar[i].wrapping_sub(trades.enter_bar[i]));
            self.counts[TRADES][i] += one;
            self.counts[WINS][i] += is_win;
            let row = self.counts[LOSSES_IN_A_ROW][i];
            let row = if active[i] { (row + 1) * is_loss } else { row };
            self.counts[LOSSES_IN_A_ROW][i] = row;
            self.counts[MOST_LOSSES][i] = self.counts[MOST_LOSSES][i].max(row);
            self.counts[BARS_HELD][i] += held * one;
        }
    }

    /// One lane as an account of its own.
    #[inline(always)]
    pub(super) fn account(&self, i: usize) -> Account<'m, Fold<'m, ALL_IN>> {
        let mut fold = Fold::<ALL_IN>::new(self.market, self.rows, self.config.cash);
        fold.drawdown = measure::Drawdown { peak: self.peak[i], worst: self.worst[i] };
        fold.floor = self.floor[i];
        fold.sampled = self.sampled[i];
        fold.sums = self.sums[i];
        fold.sums.edges = std::array::from_fn(|power| self.edges[power][i]);
        fold.is_fit = self.is_fit[i];
        let count = |row: usize| self.counts[row][i];
        fold.trades = super::fold::TradeSums {
            count: count(TRADES),
            long: if self.side == Side::Long { count(TRADES) } else { 0 },
            wins: count(WINS),
            gross_profit: self.profit[i],
            gross_loss: self.loss[i],
            pnl: self.pnl[i],
            pnl_squares: self.pnl_squares[i],
            returns: self.returns[i],
            best: self.best_trade[i],
            worst: self.worst_trade[i],
            losses_in_a_row: count(LOSSES_IN_A_ROW),
            most_losses_in_a_row: count(MOST_LOSSES),
            bars_held: count(BARS_HELD),
        };
        let mut account = Account::new(self.config, self.sizing[i], fold);
        account.cash = self.cash[i];
        account.fees = self.fees[i];
        account.marked = self.marked[i] as usize;
        account
    }
}
