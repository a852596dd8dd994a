//! Trades as records: what bars alone decide of a trade from an entry to the first passage of one rule, on two cache lines.
//! All combinations with that entry and that rule load the same record; it is made when the first of them needs it.
//!
//! Where several levels share the bar of the exit, the trade depends on all of them and has no record of its own: it is made
//! on the spot. So are the trades of combinations that share no entries with others. A record holds the same numbers wherever
//! it is made.

use std::ops::Range;

use super::account::entry_price;
use super::books::{self, EIGHT};
use super::dense::{AHEAD, DenseAccounts, DenseMarket, Terms};
use super::edges::{AMBIGUOUS, BARS_HELD, Fills};
use super::extremes::Extremes;
use super::groups::Group;
use super::levels::LevelView;
use super::moments::Row;
use super::passage::{ExitRule, Key, NEVER};
use super::rules::Rules;
use crate::sim::{ExitReason, Side};
use crate::simd::Lanes;

/// One trade.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Record {
    /// Price and cost of a unit, price and fee rate of the exit, lowest and highest close, 1 for a trade, bars of the fills.
    terms: [f64; 8],
    sums: Row,
}

impl Record {
    /// Of a lane without a trade: numbers that harm nothing.
    const NONE: Record =
        Record { terms: [1.0, 1.0, 1.0, 0.0, f64::NAN, f64::NAN, 0.0, 0.0], sums: Row([0; 8]) };

    #[inline(always)]
    fn bars(&self) -> [usize; 2] {
        let bars = self.terms[7].to_bits();
        [(bars >> 32) as usize, bars as u32 as usize]
    }
}

/// Records by their places: first the one of no trade, then as many as are made on the spot before they are used, then those
/// that the combinations with one entry signal share in a block of entries.
pub(super) struct Records {
    made: Vec<Record>,
    /// Exits at levels, which all combinations of the cluster share; their places have the bit `AT_LEVEL`.
    at_levels: Vec<Record>,
    /// How many of them may be kept.
    room: usize,
}

const SHARED: usize = 1 + AHEAD * EIGHT;
const AT_LEVEL: u32 = 1 << 31;

/// Whether a place is that of a record that all combinations share.
#[inline(always)]
pub(super) fn is_kept(place: u32) -> bool {
    place >= AT_LEVEL
}

/// Bytes of the records that all combinations share.
const MAX_BYTES: usize = 32 << 20;

impl Records {
    /// For exits at `most` levels.
    pub(super) fn new(most: usize) -> Records {
        let room = if most <= MAX_BYTES / size_of::<Record>() { most } else { 0 };
        Records { made: vec![Record::NONE; SHARED], at_levels: Vec::new(), room }
    }

    /// Forgets those of a block of entries.
    pub(super) fn clear(&mut self) {
        self.made.truncate(SHARED);
    }

    #[inline(always)]
    fn at(&self, place: u32) -> &Record {
        let of = if is_kept(place) { &self.at_levels } else { &self.made };
        &of[(place & !AT_LEVEL) as usize]
    }
}

/// Where a combination is in its group's entries.
#[derive(Debug, Clone)]
pub(super) struct Jumper {
    rules: Rules,
    /// Columns of stop, target, trailing stop, time exit and signal.
    all: [usize; 5],
    /// Those of them that are there, `levels` levels first.
    columns: [usize; 5],
    levels: usize,
    kinds: usize,
    /// The next entry.
    entry: usize,
    /// The entry of the position that stays open: nothing comes after it.
    pub(super) open: Option<usize>,
    /// The first bar after the last exit.
    pub(super) marked: usize,
}

impl Jumper {
    /// `columns` of stop, target, trailing stop, time exit and signal, of which those equal to `none` are not there.
    pub(super) fn new(rules: Rules, columns: [usize; 5], none: usize) -> Jumper {
        let is_there = |column: &&usize| **column != none;
        let mut jumper = Jumper {
            rules,
            all: columns,
            columns: [none; 5],
            levels: 0,
            kinds: 0,
            entry: 0,
            open: None,
            marked: 0,
        };
        jumper.levels = columns[..3].iter().filter(is_there).count();
        for (to, column) in jumper.columns.iter_mut().zip(columns.iter().filter(is_there)) {
            *to = *column;
            jumper.kinds += 1;
        }
        jumper
    }

    /// Makes no trade.
    pub(super) fn skip_all(&mut self) {
        self.entry = usize::MAX;
    }
}

/// Makes records.
#[derive(Clone, Copy)]
pub(super) struct Maker<'m> {
    pub(super) of: DenseMarket<'m>,
    pub(super) view: Option<&'m LevelView>,
    pub(super) delay: usize,
    pub(super) prices: &'m [f64],
    /// The last moment at which an exit can be decided and filled.
    pub(super) last: Key,
}

impl Maker<'_> {
    /// The place of a combination's next trade among the entries before `until`; 0 if there is none. What is made for it alone
    /// goes to the place `spot`.
    #[inline(always)]
    pub(super) fn next(
        &self,
        jumper: &mut Jumper,
        group: &Group,
        until: usize,
        (records, spot, is_shared): (&mut Records, usize, bool),
    ) -> u32 {
        if jumper.entry >= until.min(group.decisions.len()) {
            return 0;
        }
        let row = group.row(jumper.entry);
        let mut first = u64::from(NEVER) << 32;
        for &column in &jumper.columns[..jumper.kinds] {
            first = first.min(row[column].get());
        }
        let (key, mut place) = ((first >> 32) as Key, first as u32);
        if key > self.last {
            jumper.open = Some(jumper.entry);
            jumper.entry = usize::MAX;
            return 0;
        }
        let mut met = 1;
        if jumper.levels > 1 && key % 2 == 0 {
            met = 0;
            for &column in &jumper.columns[..jumper.levels] {
                met += usize::from((row[column].get() >> 32) as Key == key);
            }
        }
        if place == 0 || met > 1 || !is_shared {
            place = self.make(jumper, group, key, (records, spot, is_shared && met == 1));
        }
        let bar = (key / 2) as usize;
        let leave = bar + (key % 2) as usize * self.delay;
        // Inside a bar, the close of the same bar may decide the next entry; of a decision at a close, the next one's.
        let free_from = (bar + (key % 2) as usize).max(leave.saturating_add(jumper.rules.cooldown));
        jumper.marked = leave;
        jumper.entry = group.next(free_from);
        place
    }

    /// Makes the record of an exit at `key`. Who shares it finds it in the columns that meet the exit there.
    #[inline(always)]
    fn make(
        &self,
        jumper: &Jumper,
        group: &Group,
        key: Key,
        (records, spot, is_shared): (&mut Records, usize, bool),
    ) -> u32 {
        let row = group.row(jumper.entry);
        let mut met = [false; 5];
        for (met, column) in met.iter_mut().zip(jumper.all) {
            *met = (row[column].get() >> 32) as Key == key;
        }
        let record = self.record(jumper, group.decisions[jumper.entry] as usize + self.delay, key, met);
        if !is_shared {
            records.made[spot] = record;
            return spot as u32;
        }
        let is_at_level = key.is_multiple_of(2) && records.at_levels.len() < records.room;
        let to = if is_at_level { &mut records.at_levels } else { &mut records.made };
        let place = to.len() as u32 | if is_at_level { AT_LEVEL } else { 0 };
        to.push(record);
        for (column, is_met) in jumper.all.into_iter().zip(met) {
            if is_met {
                row[column].set(u64::from(key) << 32 | u64::from(place));
                if is_at_level {
                    group.keep(jumper.entry, column, place);
                }
            }
        }
        place
    }

    /// Makes the records of exits by signal from some entries, for combinations that are many enough to need most of them:
    /// one after the other their loads from memory overlap.
    #[inline(always)]
    pub(super) fn make_signals(&self, group: &Group, entries: Range<usize>, records: &mut Records) {
        for (column, _) in
            group.rules.iter().enumerate().filter(|(_, rule)| matches!(rule, ExitRule::Signal(_)))
        {
            for entry in entries.clone() {
                let passage = &group.row(entry)[column];
                let key = (passage.get() >> 32) as Key;
                if key <= self.last {
                    let enter = group.decisions[entry] as usize + self.delay;
                    let place = records.made.len() as u64;
                    records.made.push(self.decided(enter, (key / 2) as usize));
                    passage.set(u64::from(key) << 32 | place);
                }
            }
        }
    }

    #[inline(always)]
    fn record(&self, jumper: &Jumper, enter: usize, key: Key, met: [bool; 5]) -> Record {
        let DenseMarket { market, rows, edges, config } = self.of;
        let bar = (key / 2) as usize;
        let enter_price = entry_price(config, Side::Long, self.prices[enter]);
        let (fills, sums);
        if let Some(view) = self.view.filter(|_| key.is_multiple_of(2)) {
            let [stop, target, trailing, ..] = met;
            let met = [stop, target, trailing];
            let touch = view.touch_of(&jumper.rules, enter_price, met, (enter, bar), config.intrabar);
            let is_target = touch.reason == ExitReason::Target;
            let leave_price = touch.price * if is_target { 1.0 } else { 1.0 - config.slippage };
            let leave_rate = edges.leave_rate(touch.reason);
            fills = Fills { enter, leave: bar, enter_price, leave_price, leave_rate };
            let mut row = edges.trade(rows, market.bars, &fills);
            row.0[BARS_HELD] += 1;
            row.0[AMBIGUOUS] = i64::from(touch.is_ambiguous);
            sums = row;
        } else {
            return self.decided(enter, bar);
        }
        self.with_range(fills, sums)
    }

    /// Of an exit decided at the close of a bar.
    #[inline(always)]
    fn decided(&self, enter: usize, bar: usize) -> Record {
        let DenseMarket { edges, config, .. } = self.of;
        let leave = bar + self.delay;
        let enter_price = entry_price(config, Side::Long, self.prices[enter]);
        let leave_price = self.prices[leave] * (1.0 - config.slippage);
        let mut sums = *edges.enter(enter);
        sums.add_row(edges.leave(leave));
        let leave_rate = config.taker_fee;
        self.with_range(Fills { enter, leave, enter_price, leave_price, leave_rate }, sums)
    }

    #[inline(always)]
    fn with_range(&self, fills: Fills, sums: Row) -> Record {
        let DenseMarket { market, config, .. } = self.of;
        let Fills { enter, leave, enter_price, leave_price, leave_rate } = fills;
        let range = if enter < leave {
            market.closes.query(&market.bars.close, enter, leave)
        } else {
            Extremes { min: f64::NAN, max: f64::NAN }
        };
        let bars = (enter as u64) << 32 | leave as u64;
        let unit = enter_price * (1.0 + config.taker_fee);
        let terms =
            [enter_price, unit, leave_price, leave_rate, range.min, range.max, 1.0, f64::from_bits(bars)];
        Record { terms, sums }
    }
}

impl<L: Lanes> DenseAccounts<'_, L> {
    /// Makes the trades of eight combinations as far as their entries are before `until`.
    #[inline(always)]
    pub(super) fn jump(
        &mut self,
        maker: &Maker<'_>,
        (jumpers, groups): (&mut [Jumper; EIGHT], [&Group; EIGHT]),
        until: usize,
        (records, is_shared): (&mut Records, bool),
    ) {
        let mut places = [[0u32; EIGHT]; AHEAD];
        loop {
            let mut steps = 0;
            while steps < AHEAD {
                let mut any = 0;
                for lane in 0..EIGHT {
                    let spot = 1 + steps * EIGHT + lane;
                    let to = (&mut *records, spot, is_shared);
                    let place = maker.next(&mut jumpers[lane], groups[lane], until, to);
                    places[steps][lane] = place;
                    any |= place;
                }
                if any == 0 {
                    break;
                }
                steps += 1;
            }
            self.trade_records(records, &places[..steps]);
            if steps < AHEAD {
                return;
            }
        }
    }

    #[inline(always)]
    fn trade_records(&mut self, records: &Records, places: &[[u32; EIGHT]]) {
        for lane in 0..EIGHT {
            let mut sums = *self.sums(lane);
            for places in places {
                sums.add_row(&records.at(places[lane]).sums);
            }
            *self.sums(lane) = sums;
        }
        let lanes = self.lanes();
        for places in places {
            let mut rows = [lanes.splat(0.0); EIGHT];
            for (row, &place) in rows.iter_mut().zip(places) {
                *row = lanes.eight(&records.at(place).terms);
            }
            let [price, unit, leave_price, leave_rate, low, high, active, _] = lanes.transpose(rows);
            let range = books::Range { low, high };
            let bars = |i: usize| records.at(places[i]).bars();
            let exact: Option<fn(usize) -> Extremes> = None;
            self.trade(Terms { active, price, unit, leave_price, leave_rate, range }, exact, bars);
        }
    }
}
