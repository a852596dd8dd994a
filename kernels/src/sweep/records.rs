//! Trades as records: what bars alone decide of a trade from an entry to the first passage of one rule, on a few cache lines.
//! All combinations with that entry and that rule load the same record; it is made when the first of them needs it.
//!
//! Where several levels share the bar of the exit, the trade depends on all of them and has no record of its own: it is made
//! on the spot. So are the trades of combinations that share no entries with others. A record holds the same numbers wherever
//! it is made. What is in it depends on how returns are summed: [`super::dense`], [`super::sampled`].

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

use super::account::{entry_price, first_bar};
use super::block::Stop;
use super::books::EIGHT;
use super::dense::AHEAD;
use super::extremes::Extremes;
use super::groups::Group;
use super::jumper::{Jump, Jumper};
use super::levels::LevelView;
use super::links::{LINKED, Links, Places};
use super::market::Market;
use super::passage::{ExitRule, Key};
use super::rules::Rules;
use super::signal_records::MakeSignals;
use super::signals::check;
use crate::sim::{ExitReason, Side, SimConfig};
use crate::simd::{Isa, Kernel, Lanes};
use crate::stats::Stats;

/// One long trade of a unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnitTrade {
    /// Bars of the two fills.
    pub(super) enter: usize,
    pub(super) leave: usize,
    /// Prices of entry and exit, slippage included.
    pub(super) enter_price: f64,
    pub(super) leave_price: f64,
    /// Closes with the position; not numbers where there is none.
    pub(super) range: Extremes,
    pub(super) bars_held: usize,
    /// Left at a level within a bar, not by a decision at a close.
    pub(super) is_at_level: bool,
    /// Left at the target, which pays a maker's fee.
    pub(super) is_target: bool,
    /// Both stop and target were reachable.
    pub(super) is_ambiguous: bool,
}

impl UnitTrade {
    /// Fee rate of the exit.
    #[inline(always)]
    pub(super) fn leave_rate(&self, config: &SimConfig) -> f64 {
        if self.is_target { config.maker_fee } else { config.taker_fee }
    }
}

/// How eight accounts take trades that they share.
pub(super) trait SharedAccounts<'m, L: Lanes>: Sized {
    /// What a record is made from.
    type Market: Copy;
    type Record: Copy;
    /// Of a lane without a trade: numbers that harm nothing.
    const NONE: Self::Record;

    fn new(lanes: L, of: Self::Market) -> Self;
    fn record(of: Self::Market, trade: &UnitTrade) -> Self::Record;
    /// Reads something of all that the record of an exit by signal takes from memory, between fills in these bars.
    fn touch(of: Self::Market, fills: [u32; 2]) -> i64;
    /// Makes the trades with these places, so many steps of every lane.
    fn trade_records(&mut self, records: &[Self::Record], places: &[[u32; AHEAD]; EIGHT], steps: usize);
    /// What the lanes amount to, `None` where a fold is unfit. `open` gives bar and raw price of the entry of a position that
    /// stays open, and the first bar after the last exit.
    fn finish(&self, open: impl Fn(usize) -> (Option<(usize, f64)>, usize)) -> [Option<Stats>; EIGHT];
}

/// Records by their places: first the one of no trade, then as many as are made on the spot before they are used, then those
/// that the combinations with one entry signal share in a block of entries, and behind them the exits at levels, which all
/// combinations of the cluster share.
pub(super) struct Records<R> {
    made: Vec<R>,
    /// Where the next record of a block of entries goes.
    next: usize,
    /// How many exits at levels may be kept.
    room: usize,
    /// Whether the eight combinations before had trades from at least one entry of [`FEW`].
    is_dense: bool,
}

const SPOTS: usize = 1 + AHEAD * EIGHT;

/// Records that combinations with the same entries share: they should stay in the second-level cache.
const BLOCK: usize = 2048;

/// The first place of the exits at levels.
const KEPT: usize = SPOTS + BLOCK;

/// Whether a place is that of a record that all combinations share.
#[inline(always)]
pub(super) fn is_kept(place: u32) -> bool {
    place as usize >= KEPT
}

/// Bytes of the records that all combinations share.
const MAX_BYTES: usize = 32 << 20;

impl<R: Copy> Records<R> {
    /// For exits at `most` levels, all places holding `none`.
    pub(super) fn new(most: usize, none: R) -> Records<R> {
        let room = if most <= MAX_BYTES / size_of::<R>() { most } else { 0 };
        let mut made = Vec::with_capacity(KEPT + room);
        made.resize(KEPT, none);
        Records { made, next: SPOTS, room, is_dense: false }
    }

    /// Keeps a record of a block of entries, or of an exit at a level for all combinations; gives its place, `None` if there
    /// is no room.
    #[inline(always)]
    pub(super) fn keep(&mut self, record: R, is_at_level: bool) -> Option<u32> {
        if is_at_level && self.made.len() < KEPT + self.room {
            self.made.push(record);
            return Some(self.made.len() as u32 - 1);
        }
        let place = self.next;
        if place >= KEPT {
            return None;
        }
        self.made[place] = record;
        self.next += 1;
        Some(place as u32)
    }
}

/// How many entries of so many rules go into a block.
pub(super) fn entries_of_block(rules: usize) -> usize {
    (BLOCK / rules.max(1)).max(1)
}

/// Entries are linked where the eight combinations before had trades from at least one of so many.
const FEW: usize = 4;

/// Makes records.
#[derive(Clone, Copy)]
pub(super) struct Maker<'m, M> {
    pub(super) of: M,
    pub(super) market: &'m Market<'m>,
    pub(super) config: &'m SimConfig,
    /// What the making of one record is compiled for.
    pub(super) isa: Isa,
    pub(super) view: Option<&'m LevelView>,
    pub(super) delay: usize,
    pub(super) prices: &'m [f64],
    /// The last moment at which an exit can be decided and filled.
    pub(super) last: Key,
}

/// Makes the record of one trade. A kernel of its own: within the loop over the lanes it would take their registers.
struct MakeOne<'r, 'm, L: Lanes, A: SharedAccounts<'m, L>> {
    maker: &'r Maker<'m, A::Market>,
    jumper: &'r Jumper<'r>,
    jump: Jump,
    records: &'r mut Records<A::Record>,
    spot: usize,
    is_shared: bool,
    accounts: PhantomData<(L, A)>,
}

impl<'m, L: Lanes, A: SharedAccounts<'m, L>> Kernel for MakeOne<'_, 'm, L, A> {
    /// Its place.
    type Output = u32;

    #[inline(always)]
    fn run<Own: Lanes>(self, _: Own) -> u32 {
        self.maker.make::<L, A>(self.jumper, self.jump, (self.records, self.spot, self.is_shared))
    }
}

impl<'m, M: Copy> Maker<'m, M> {
    /// The place of the record of a combination's next trade among the entries before `until`; 0 if there is none. What is
    /// made for it alone goes to the place `spot`.
    #[inline(always)]
    fn next<L: Lanes, A: SharedAccounts<'m, L, Market = M>, const HAS_PLACES: bool>(
        &self,
        jumper: &mut Jumper<'_>,
        until: usize,
        (records, spot): (&mut Records<A::Record>, usize),
    ) -> u32 {
        let Some(jump) = jumper.jump(until, self.last, self.delay) else { return 0 };
        let is_shared = !jump.is_joint;
        if !HAS_PLACES {
            return self.make::<L, A>(jumper, jump, (records, spot, false));
        }
        if jump.place != 0 && is_shared {
            return jump.place;
        }
        let accounts = PhantomData;
        self.isa.dispatch(MakeOne::<'_, 'm, L, A> {
            maker: self,
            jumper,
            jump,
            records,
            spot,
            is_shared,
            accounts,
        })
    }

    /// Makes the record of an exit. Who shares it finds it in the columns that meet the exit there.
    #[inline(always)]
    fn make<L: Lanes, A: SharedAccounts<'m, L, Market = M>>(
        &self,
        jumper: &Jumper<'_>,
        Jump { entry, key, .. }: Jump,
        (records, spot, is_shared): (&mut Records<A::Record>, usize, bool),
    ) -> u32 {
        let group = jumper.group;
        let mut met = [false; 5];
        for (met, column) in met.iter_mut().zip(jumper.all) {
            *met = group.key(entry, column) == key;
        }
        let enter = group.decisions[entry] as usize + self.delay;
        let record = A::record(self.of, &self.trade(&jumper.rules, enter, key, met));
        let kept = if is_shared { records.keep(record, key.is_multiple_of(2)) } else { None };
        let Some(place) = kept else {
            records.made[spot] = record;
            return spot as u32;
        };
        for (column, is_met) in jumper.all.into_iter().zip(met) {
            if is_met {
                group.keep(entry, column, place);
            }
        }
        place
    }

    #[inline(always)]
    fn trade(&self, rules: &Rules, enter: usize, key: Key, met: [bool; 5]) -> UnitTrade {
        let SimConfig { slippage, intrabar, .. } = *self.config;
        let bar = (key / 2) as usize;
        let Some(view) = self.view.filter(|_| key.is_multiple_of(2)) else {
            return self.decided(enter, bar, self.closes(enter, bar + self.delay));
        };
        let enter_price = entry_price(self.config, Side::Long, self.prices[enter]);
        let first = first_bar(self.config, enter);
        let [stop, target, trailing, ..] = met;
        let touch = view.touch_of(rules, enter_price, [stop, target, trailing], (first, bar), intrabar);
        let is_target = touch.reason == ExitReason::Target;
        UnitTrade {
            enter,
            leave: bar,
            enter_price,
            leave_price: touch.price * if is_target { 1.0 } else { 1.0 - slippage },
            range: self.closes(enter, bar),
            bars_held: bar + 1 - first,
            is_at_level: true,
            is_target,
            is_ambiguous: touch.is_ambiguous,
        }
    }

    /// Of an exit decided at the close of a bar.
    #[inline(always)]
    pub(super) fn decided(&self, enter: usize, bar: usize, range: Extremes) -> UnitTrade {
        let slippage = self.config.slippage;
        let enter_price = entry_price(self.config, Side::Long, self.prices[enter]);
        let leave = bar + self.delay;
        UnitTrade {
            enter,
            leave,
            enter_price,
            leave_price: self.prices[leave] * (1.0 - slippage),
            range,
            bars_held: bar + 1 - first_bar(self.config, enter),
            is_at_level: false,
            is_target: false,
            is_ambiguous: false,
        }
    }

    #[inline(always)]
    fn closes(&self, from: usize, to: usize) -> Extremes {
        if from < to {
            self.market.closes.query(&self.market.bars.close, from, to)
        } else {
            Extremes { min: f64::NAN, max: f64::NAN }
        }
    }

    /// Makes the trades of eight combinations, which share them if groups have places, as far as their entries are before
    /// `until`. Gives how many the one with most of them has.
    #[inline(always)]
    pub(super) fn jump<L: Lanes, A: SharedAccounts<'m, L, Market = M>, const HAS_PLACES: bool>(
        &self,
        accounts: &mut A,
        jumpers: &mut [Jumper<'_>; EIGHT],
        until: usize,
        records: &mut Records<A::Record>,
    ) -> usize {
        let (mut places, mut made): (Places, usize) = ([[0; AHEAD]; EIGHT], 0);
        loop {
            let mut steps = 0;
            while steps < AHEAD {
                let mut any = 0;
                for (lane, jumper) in jumpers.iter_mut().enumerate() {
                    let spot = 1 + steps * EIGHT + lane;
                    let place = self.next::<L, A, HAS_PLACES>(jumper, until, (&mut *records, spot));
                    places[lane][steps] = place;
                    any |= place;
                }
                if any == 0 {
                    break;
                }
                steps += 1;
            }
            accounts.trade_records(&records.made, &places, steps);
            made += steps;
            if steps < AHEAD {
                return made;
            }
        }
    }

    /// Does what [`Maker::jump`] does, for combinations of one group whose passages tell the next entry. What they do from each of
    /// these entries is found first, for all entries side by side.
    #[inline(always)]
    fn jump_linked<L: Lanes, A: SharedAccounts<'m, L, Market = M>>(
        &self,
        accounts: &mut A,
        jumpers: &mut [Jumper<'_>; EIGHT],
        entries: Range<usize>,
        (links, records): (&mut Links, &mut Records<A::Record>),
    ) -> usize {
        let mut made = 0;
        links.make(jumpers, entries.clone());
        loop {
            let mut places: Places = [[0; AHEAD]; EIGHT];
            let mut steps = links.follow(jumpers, &mut places);
            let lanes = jumpers.iter_mut().zip(&mut steps).zip(&mut places);
            for (lane, ((jumper, step), places)) in lanes.enumerate() {
                while *step < AHEAD && !jumper.is_past(entries.end) {
                    let spot = 1 + *step * EIGHT + lane;
                    let place = self.jump_once::<L, A>(jumper, entries.end, (records, spot));
                    if place == 0 {
                        break;
                    }
                    places[*step] = place;
                    *step = links.go_on((&mut *jumper, lane), places, *step + 1);
                }
            }
            let mut most = 0;
            for steps in steps {
                most = steps.max(most);
            }
            accounts.trade_records(&records.made, &places, most);
            made += most;
            if most < AHEAD {
                return made;
            }
        }
    }

    /// The place of the record of a combination's next trade, as [`Maker::next`] gives it.
    #[cold]
    #[inline(never)]
    fn jump_once<L: Lanes, A: SharedAccounts<'m, L, Market = M>>(
        &self,
        jumper: &mut Jumper<'_>,
        until: usize,
        (records, spot): (&mut Records<A::Record>, usize),
    ) -> u32 {
        self.next::<L, A, true>(jumper, until, (records, spot))
    }

    /// Makes the trades of combinations of one group, eight by eight: all of them through one block of entries, then
    /// through the next.
    #[inline(always)]
    pub(super) fn share<L: Lanes, A: SharedAccounts<'m, L, Market = M>>(
        &self,
        lanes: L,
        states: &mut [(A, [Jumper<'_>; EIGHT])],
        (group, records): (&Group, &mut Records<A::Record>),
        cancel: &AtomicBool,
    ) -> Result<(), Stop> {
        let mut links = Links::new();
        let step = entries_of_block(group.rules.len());
        let signals = group.rules.iter().filter(|rule| matches!(rule, ExitRule::Signal(_))).count();
        let mut from = 0;
        while from < group.decisions.len() {
            check(cancel)?;
            let until = group.decisions.len().min(from + step);
            records.next = SPOTS;
            if states.len() >= signals {
                let (maker, entries, accounts) = (self, from..until, PhantomData::<(L, A)>);
                lanes.call(MakeSignals { maker, group, entries, records: &mut *records, accounts });
            }
            for (accounts, jumpers) in &mut *states {
                let mut made = 0;
                // Who passes over most entries finds them sooner than by links; so does who cannot compare them as vectors.
                if self.isa != Isa::Portable && group.has_next && records.is_dense {
                    for from in (from..until).step_by(LINKED) {
                        let entries = from..until.min(from + LINKED);
                        made +=
                            self.jump_linked::<L, A>(accounts, jumpers, entries, (&mut links, &mut *records));
                    }
                } else {
                    made += self.jump::<L, A, true>(accounts, jumpers, until, &mut *records);
                }
                records.is_dense = until - from < made * FEW;
            }
            from = until;
        }
        Ok(())
    }
}
