//! Trades of eight combinations, and what their accounts need of the market for them.
//!
//! The bars of a trade are found first, for several trades of each lane. Prices, closes and sums are looked up then, each kind in a
//! loop of its own: these lookups do not wait for each other, and the shorter a loop is, the more of its memory the processor asks
//! for at once.

use super::account::{entry_price, first_bar};
use super::books::EIGHT;
use super::dense::AHEAD;
use super::market::Market;
use super::moments::POWERS;
use super::passage::{Key, NEVER};
use super::rules::Rules;
use crate::sim::{ExitReason, Side, SimConfig};

/// The bars of a trade: nothing here depends on the account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deal {
    pub(super) side: Side,
    /// Bars of the two fills.
    pub(super) enter: u32,
    pub(super) leave: u32,
    /// Bit 0, 1 and 2: whether its last bar reaches its stop, its target, its trailing stop. None where it is left at a fill's price.
    pub(super) met: u8,
    pub(super) bars_held: u32,
}

impl Deal {
    /// One between the fills of two bars that holds the position in so many, left in a bar that reaches these levels.
    #[inline(always)]
    pub(super) fn new(side: Side, [enter, leave]: [usize; 2], met: u8, bars_held: usize) -> Deal {
        // Bars are far fewer: twice their number is a `Key`.
        Deal { side, enter: enter as u32, leave: leave as u32, met, bars_held: bars_held as u32 }
    }

    /// The bars of its fills.
    #[inline(always)]
    pub(super) fn bars(&self) -> [usize; 2] {
        [self.enter as usize, self.leave as usize]
    }

    /// Harmless where a lane has no trade.
    const NONE: Deal = Deal { side: Side::Long, enter: 0, leave: 1, met: 0, bars_held: 0 };
}

/// The prices of a trade.
pub(super) struct Prices {
    /// Before slippage.
    pub(super) enter: f64,
    pub(super) leave: f64,
    /// Left at the target: a maker fill without slippage.
    pub(super) is_target: bool,
    /// The last bar reaches both stop and target.
    pub(super) is_ambiguous: bool,
}

impl Prices {
    /// Those of a trade between two fills of signals.
    #[inline(always)]
    pub(super) fn of_fills(deal: &Deal, fills: &[f64]) -> Prices {
        let [enter, leave] = deal.bars();
        Prices { enter: fills[enter], leave: fills[leave], is_target: false, is_ambiguous: false }
    }

    /// Those of a trade that a level may end, of a combination with these rules.
    #[inline(always)]
    pub(super) fn of_levels(
        deal: &Deal,
        (market, config): (&Market<'_>, &SimConfig),
        fills: &[f64],
        rules: &Rules,
    ) -> Prices {
        let (Deal { side, met, .. }, [enter, leave]) = (*deal, deal.bars());
        match market.view(side) {
            Some(view) if met != 0 => {
                let raw = fills[enter];
                let price = entry_price(config, side, raw);
                let met = [met & 1 != 0, met & 2 != 0, met & 4 != 0];
                let held = (first_bar(config, enter), leave);
                let touch = view.touch_of(rules, price, met, held, config.intrabar);
                let is_target = touch.reason == ExitReason::Target;
                Prices { enter: raw, leave: touch.price, is_target, is_ambiguous: touch.is_ambiguous }
            }
            _ => Prices::of_fills(deal, fills),
        }
    }
}

/// The bits of stop, target, trailing stop, time exit and signal in [`Deal::met`].
pub(super) const LEVELS: [u8; 5] = [1, 2, 4, 0, 0];

/// Where the trades of the lanes come from.
pub(super) trait Deals {
    /// Whether a lane's next trade follows from its last one: then the lanes are asked in turn, so that eight chains of
    /// lookups overlap. Otherwise each is asked for many at once.
    const IS_CHAIN: bool;
    /// Whether there are trades on both sides.
    const HAS_BOTH: bool;

    /// The next trade of a lane, in order; after the last one none.
    fn next(&mut self, lane: usize) -> Option<Deal>;

    /// The prices of a lane's trade.
    fn prices(&self, lane: usize, deal: &Deal) -> Prices;
}

/// When a position ends, and the levels that its last bar reaches, as in [`Deal::met`].
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) key: Key,
    pub(super) met: u8,
}

impl End {
    /// By the end of the data.
    pub(super) const OPEN: End = End { key: NEVER, met: 0 };

    /// The earlier of this end and one at a passage, which is that of a level with this bit or of none.
    #[inline(always)]
    pub(super) fn or(self, key: Key, level: u8) -> End {
        let met = if key == self.key { self.met | level } else { self.met };
        if key < self.key { End { key, met: level } } else { End { key: self.key, met } }
    }
}

/// What the next trades of every lane need of the market. Lanes without a trade hold numbers that harm nothing.
pub(super) struct Lookup {
    /// Per lane how many there are, and their bars.
    pub(super) count: [usize; EIGHT],
    pub(super) deals: [[Deal; AHEAD]; EIGHT],
    /// Samples with the position: the first, and the first after them.
    pub(super) runs: [[[u32; 2]; AHEAD]; EIGHT],
    /// 1 where there is a trade, else 0.
    pub(super) active: [[f64; EIGHT]; AHEAD],
    /// 1 for long, -1 for short.
    pub(super) side: [[f64; EIGHT]; AHEAD],
    /// Price of the entry before slippage, of the exit after it; fee rate of the exit.
    pub(super) enter_raw: [[f64; EIGHT]; AHEAD],
    pub(super) leave_price: [[f64; EIGHT]; AHEAD],
    pub(super) leave_rate: [[f64; EIGHT]; AHEAD],
    /// 1 where closes lie between the trade before and this one, where closes lie in it.
    pub(super) flat_marked: [[f64; EIGHT]; AHEAD],
    pub(super) held_marked: [[f64; EIGHT]; AHEAD],
    /// Bounds on the closes with the position.
    pub(super) low: [[f64; EIGHT]; AHEAD],
    pub(super) high: [[f64; EIGHT]; AHEAD],
    /// 1 where samples lie among those closes; the closes at the first and at the last sample with the position.
    pub(super) flat_sampled: [[f64; EIGHT]; AHEAD],
    pub(super) held_sampled: [[f64; EIGHT]; AHEAD],
    pub(super) first: [[f64; EIGHT]; AHEAD],
    pub(super) last: [[f64; EIGHT]; AHEAD],
    pub(super) bars_held: [[f64; EIGHT]; AHEAD],
}

/// 1 for true.
#[inline(always)]
fn one(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

impl Lookup {
    pub(super) fn new() -> Lookup {
        let (zero, one) = ([[0.0; EIGHT]; AHEAD], [[1.0; EIGHT]; AHEAD]);
        Lookup {
            count: [0; EIGHT],
            deals: [[Deal::NONE; AHEAD]; EIGHT],
            runs: [[[0; 2]; AHEAD]; EIGHT],
            active: zero,
            side: one,
            enter_raw: one,
            leave_price: one,
            leave_rate: zero,
            flat_marked: zero,
            held_marked: zero,
            low: one,
            high: one,
            flat_sampled: zero,
            held_sampled: zero,
            first: one,
            last: one,
            bars_held: zero,
        }
    }

    /// Bars of the fills of a lane's trade.
    #[inline(always)]
    pub(super) fn bars(&self, lane: usize, step: usize) -> [usize; 2] {
        self.deals[lane][step].bars()
    }

    /// Takes the next trades of all lanes; gives the largest number of a lane.
    #[inline(always)]
    pub(super) fn take<D: Deals>(&mut self, deals: &mut D) -> usize {
        self.count = [0; EIGHT];
        if D::IS_CHAIN {
            for step in 0..AHEAD {
                for lane in 0..EIGHT {
                    if let Some(deal) = deals.next(lane) {
                        self.deals[lane][step] = deal;
                        self.count[lane] = step + 1;
                    }
                }
            }
        } else {
            for lane in 0..EIGHT {
                while let Some(slot) = self.deals[lane].get_mut(self.count[lane])
                    && let Some(deal) = deals.next(lane)
                {
                    *slot = deal;
                    self.count[lane] += 1;
                }
            }
        }
        let mut most = 0;
        for (lane, &count) in self.count.iter().enumerate() {
            most = count.max(most);
            for (step, active) in self.active.iter_mut().enumerate() {
                active[lane] = one(step < count);
            }
        }
        most
    }

    /// Looks up the prices of a lane's trades; gives how many of them are ambiguous.
    #[inline(always)]
    pub(super) fn look_up_prices<D: Deals>(&mut self, deals: &D, config: &SimConfig, lane: usize) -> u64 {
        let SimConfig { slippage, taker_fee, maker_fee, .. } = *config;
        let mut ambiguous = 0;
        for step in 0..self.count[lane] {
            let deal = &self.deals[lane][step];
            let Prices { enter, leave, is_target, is_ambiguous } = deals.prices(lane, deal);
            ambiguous += u64::from(is_ambiguous);
            let is_long = deal.side == Side::Long;
            let worse = if is_long { 1.0 - slippage } else { 1.0 + slippage };
            self.side[step][lane] = if is_long { 1.0 } else { -1.0 };
            self.enter_raw[step][lane] = enter;
            self.leave_price[step][lane] = leave * if is_target { 1.0 } else { worse };
            self.leave_rate[step][lane] = if is_target { maker_fee } else { taker_fee };
            self.bars_held[step][lane] = f64::from(deal.bars_held);
        }
        ambiguous
    }

    /// Looks up the closes within and between a lane's trades. `marked` is the first bar after the last one before them; gives
    /// that after them.
    #[inline(always)]
    pub(super) fn look_up_closes(&mut self, market: &Market<'_>, lane: usize, mut marked: usize) -> usize {
        let samples = &market.samples;
        for step in 0..self.count[lane] {
            let [enter, leave] = self.deals[lane][step].bars();
            self.flat_marked[step][lane] = one(marked < enter);
            self.held_marked[step][lane] = one(enter < leave);
            // A position without a close in it has no range: that of its bar is masked.
            let range = market.coarse.query(enter, leave.max(enter + 1));
            self.low[step][lane] = range.min;
            self.high[step][lane] = range.max;
            let [before, from, to] = [samples.before(marked), samples.before(enter), samples.before(leave)];
            self.runs[lane][step] = [from as u32, to as u32];
            self.flat_sampled[step][lane] = one(before < from);
            self.held_sampled[step][lane] = one(from < to);
            if from < to {
                self.first[step][lane] = samples.closes[from];
                self.last[step][lane] = samples.closes[to - 1];
            }
            marked = leave;
        }
        marked
    }
}

/// Entries that sums are remembered for: more would not stay in a cache.
const MOST_REMEMBERED: usize = 1 << 16;

/// Exits that are remembered per entry.
const WAYS: usize = 8;

/// Sums over short positions with all the cash, of which many combinations have the same: per entry those of the last exits.
pub(super) struct Memo {
    known: Vec<Known>,
    sums: Vec<[[f64; POWERS]; WAYS]>,
}

/// Positions filled at bar `enter`, by the number of their samples; the oldest is the next to be forgotten.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Known {
    enter: u32,
    oldest: u32,
    samples: [u16; WAYS],
}

/// No bar.
const NO_BAR: u32 = u32::MAX;

/// What nothing is remembered for: positions of so many samples are few.
const TOO_MANY: u16 = u16::MAX;

impl Memo {
    /// Room for entries at this many bars in a row, up to a limit.
    pub(super) fn new(bars: usize) -> Memo {
        let places = bars.next_power_of_two().min(MOST_REMEMBERED);
        let known = Known { enter: NO_BAR, oldest: 0, samples: [TOO_MANY; WAYS] };
        Memo { known: vec![known; places], sums: vec![[[0.0; POWERS]; WAYS]; places] }
    }

    /// One that remembers nothing.
    pub(super) fn none() -> Memo {
        Memo { known: Vec::new(), sums: Vec::new() }
    }

    /// The sums of a position of so many samples, if it is among the last ones with its entry.
    #[inline(always)]
    pub(super) fn sums(&self, enter: usize, samples: usize) -> Option<[f64; POWERS]> {
        let place = self.place(enter);
        let known = self.known.get(place)?;
        let mut way = WAYS;
        for (i, &known) in known.samples.iter().enumerate() {
            way = if usize::from(known) == samples { i } else { way };
        }
        if known.enter != enter as u32 || way == WAYS || samples >= usize::from(TOO_MANY) {
            return None;
        }
        Some(self.sums[place][way])
    }

    #[inline(always)]
    pub(super) fn remember(&mut self, enter: usize, samples: usize, sums: [f64; POWERS]) {
        let place = self.place(enter);
        let Some(known) = self.known.get_mut(place) else { return };
        if known.enter != enter as u32 {
            *known = Known { enter: enter as u32, oldest: 0, samples: [TOO_MANY; WAYS] };
        }
        let way = known.oldest as usize % WAYS;
        known.samples[way] = u16::try_from(samples).unwrap_or(TOO_MANY);
        known.oldest = known.oldest.wrapping_add(1);
        self.sums[place][way] = sums;
    }

    #[inline(always)]
    fn place(&self, enter: usize) -> usize {
        enter & self.known.len().wrapping_sub(1)
    }
}
