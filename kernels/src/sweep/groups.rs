//! Groups of combinations that enter at the same bars, and the first passages of their exits from each of those bars.

use std::cell::Cell;
use std::mem::discriminant;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use super::account::first_bar;
use super::block::{Stop, fills};
use super::market::Market;
use super::passage::{ExitRule, Key, MOST_TABLE_BYTES, NEVER, SignalPassages, passages};
use super::records::is_kept;
use super::rules::Rules;
use super::signal_table::SignalTable;
use crate::sim::{Side, SimConfig};
use crate::simd::{Kernel, Lanes};

/// Both sides, and their places in arrays of what each has.
pub(super) const SIDES: [Side; 2] = [Side::Long, Side::Short];

/// A set of bars: 64 to a word, each with the number of bars before it.
struct BarSet {
    words: Vec<(u64, u32)>,
}

impl BarSet {
    #[inline(always)]
    fn new(words: impl Iterator<Item = u64>) -> BarSet {
        let (mut counted, mut before) = (Vec::with_capacity(words.size_hint().0), 0);
        for word in words {
            counted.push((word, before));
            before += word.count_ones();
        }
        BarSet { words: counted }
    }

    /// How many bars it has.
    #[inline(always)]
    fn len(&self) -> usize {
        self.words.last().map_or(0, |(word, before)| (*before + word.count_ones()) as usize)
    }

    /// Bars of the set before bar `t`; `None` behind the last word.
    #[inline(always)]
    fn rank(&self, t: usize) -> Option<usize> {
        let (word, before) = self.words.get(t / 64)?;
        let earlier = word & !(u64::MAX << (t % 64));
        Some(*before as usize + earlier.count_ones() as usize)
    }

    /// Bars of the set, ascending.
    #[inline(always)]
    fn for_each(&self, mut each: impl FnMut(usize)) {
        for (index, &(word, _)) in self.words.iter().enumerate() {
            let mut rest = word;
            while rest != 0 {
                each(index * 64 + rest.trailing_zeros() as usize);
                rest &= rest - 1;
            }
        }
    }
}

/// Per entry whether two levels of different kinds are met within one bar, by the first passages of these rules.
fn joint(rules: &[ExitRule], keys: &[Vec<Key>]) -> Vec<bool> {
    let mut is_joint = vec![false; keys.first().map_or(0, Vec::len)];
    for (i, (rule, keys_of_rule)) in rules.iter().zip(keys).enumerate() {
        for (other, keys_of_other) in rules.iter().zip(keys).skip(i + 1) {
            if discriminant(rule) == discriminant(other) {
                continue;
            }
            for (is_joint, (a, b)) in is_joint.iter_mut().zip(keys_of_rule.iter().zip(keys_of_other)) {
                *is_joint |= (a == b) & a.is_multiple_of(2);
            }
        }
    }
    is_joint
}

/// What groups are made of.
#[derive(Clone, Copy)]
pub(super) struct GroupMarket<'j, 'a> {
    pub(super) market: &'j Market<'a>,
    pub(super) config: &'j SimConfig,
    /// Per row of the block.
    pub(super) rules: &'j [Rules],
    /// The cluster's rows.
    pub(super) rows: &'j [u32],
    pub(super) signals: &'j SignalTable,
}

/// First passages of the levels and time exits that anybody has, at every bar where anybody may enter.
pub(super) struct LevelTables {
    rules: Vec<ExitRule>,
    sides: [SideTable; 2],
}

/// Those of one side's positions.
struct SideTable {
    /// Bars at whose closes an entry may be decided.
    decisions: BarSet,
    /// Per rule and entry the passage.
    keys: Vec<Vec<Key>>,
    /// Per rule and entry the place of the trade's record, 0 if there is none.
    places: Vec<Vec<Cell<u32>>>,
    /// Per entry whether levels of two kinds are met within one bar.
    is_joint: Vec<bool>,
}

impl LevelTables {
    /// How many passages there are.
    pub(super) fn len(&self) -> usize {
        self.sides.iter().flat_map(|side| &side.keys).map(Vec::len).sum()
    }
}

/// The combinations with the same entry signals.
pub(super) struct Group {
    /// Bars at whose closes an entry may be decided, and the sides that are entered.
    pub(super) decisions: Vec<u32>,
    sides: Vec<Side>,
    bars: BarSet,
    /// Rules that somebody in the group has.
    pub(super) rules: Vec<ExitRule>,
    /// One column per rule, with all entries, and one that is never met. In the upper half of an element when the rule is
    /// first met, in the lower one the next entry after that where the group knows it.
    passages: Vec<u64>,
    /// As many places of records, 0 where there is none. No element where trades are not shared.
    places: Vec<Cell<u32>>,
    /// Whether passages tell the next entry: where all combinations wait as long after an exit.
    pub(super) has_next: bool,
    /// Per rule the one of the tables, if it is one of them; per entry its place in the tables.
    tabled: Vec<Option<usize>>,
    union_places: Vec<u32>,
    /// Entries from which levels of two kinds are met within one bar, whoever has them.
    joint: Vec<u32>,
    tables: Rc<LevelTables>,
}

/// When a passage is.
#[inline(always)]
pub(super) fn key_of(passage: u64) -> Key {
    (passage >> 32) as Key
}

impl Group {
    /// The passages of one column.
    #[inline(always)]
    pub(super) fn passages(&self, column: usize) -> &[u64] {
        &self.passages[column * self.decisions.len()..][..self.decisions.len()]
    }

    /// The places of the records of one column; none where trades are not shared.
    #[inline(always)]
    pub(super) fn places(&self, column: usize) -> &[Cell<u32>] {
        if self.places.is_empty() {
            return &[];
        }
        &self.places[column * self.decisions.len()..][..self.decisions.len()]
    }

    /// When an entry first meets a rule.
    #[inline(always)]
    pub(super) fn key(&self, entry: usize, column: usize) -> Key {
        key_of(self.passages[column * self.decisions.len() + entry])
    }

    /// The side of an entry.
    #[inline(always)]
    pub(super) fn side(&self, entry: usize) -> Side {
        self.sides[entry]
    }

    /// Those of some entries from which levels of two kinds are met within one bar.
    pub(super) fn joint(&self, entries: &Range<usize>) -> &[u32] {
        let [from, to] = [entries.start, entries.end]
            .map(|end| self.joint.partition_point(|&entry| (entry as usize) < end));
        &self.joint[from..to.max(from)]
    }

    /// Forgets the places of records that are made anew for every block of entries.
    pub(super) fn forget(&self) {
        for place in self.places.iter().filter(|place| !is_kept(place.get())) {
            place.set(0);
        }
    }

    /// Remembers the place of a record, that of an exit at a level also for other groups.
    #[inline(always)]
    pub(super) fn keep(&self, entry: usize, column: usize, place: u32) {
        if let Some(own) = self.places(column).get(entry) {
            own.set(place);
        }
        if let Some(rule) = self.tabled[column].filter(|_| is_kept(place)) {
            let side = &self.tables.sides[place_of(self.sides[entry])];
            side.places[rule][self.union_places[entry] as usize].set(place);
        }
    }

    /// The first entry decided at or after bar `t`.
    #[inline(always)]
    pub(super) fn next(&self, t: usize) -> usize {
        self.bars.rank(t).unwrap_or(self.decisions.len())
    }

    /// The entry that reverses a position of a side whose end is decided at the close of bar `t`.
    #[inline(always)]
    pub(super) fn reversal(&self, side: Side, t: usize) -> Option<usize> {
        let entry = self.next(t);
        let is_at_once = self.decisions.get(entry).is_some_and(|&decided| decided as usize == t);
        (is_at_once && self.sides[entry] != side).then_some(entry)
    }

    /// The columns of a combination's stop, target, trailing stop, time exit and signal.
    pub(super) fn columns_of(&self, of: GroupMarket<'_, '_>, place: usize) -> [usize; 5] {
        exits_of(of, place).map(|rule| {
            rule.and_then(|rule| self.rules.iter().position(|known| *known == rule))
                .unwrap_or(self.rules.len())
        })
    }
}

#[inline(always)]
fn place_of(side: Side) -> usize {
    usize::from(side == Side::Short)
}

/// A passage without a next entry.
#[inline(always)]
fn keyed(key: Key) -> u64 {
    u64::from(key) << 32
}

/// The exits of a combination: stop, target, trailing stop, time, signal.
fn exits_of(of: GroupMarket<'_, '_>, place: usize) -> [Option<ExitRule>; 5] {
    let [stop, target, trailing, time] = ExitRule::of(&of.rules[of.rows[place] as usize]);
    let [_, long_exit, _, short_exit] = of.signals.signals[place];
    [stop, target, trailing, time, Some(ExitRule::Signal([long_exit, short_exit]))]
}

/// Makes a group. A kernel of its own: within another its loops would find no register free.
pub(super) struct MakeGroup<'g, 'j, 'a> {
    pub(super) of: GroupMarket<'j, 'a>,
    /// The entry signals, long and short.
    pub(super) enters: [u32; 2],
    pub(super) places: &'g [usize],
    /// Whether combinations share their trades.
    pub(super) is_shared: bool,
    pub(super) tables: &'g Rc<LevelTables>,
}

impl Kernel for MakeGroup<'_, '_, '_> {
    type Output = Group;

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> Group {
        self.of.group(self.enters, self.places, self.is_shared, self.tables)
    }
}

impl GroupMarket<'_, '_> {
    /// The words of the bars at which one side is entered, and the other is not: long, short.
    #[inline(always)]
    fn entry_words(&self, [long, short]: [u32; 2]) -> impl Iterator<Item = [u64; 2]> {
        let words = self.signals.of(long).iter().zip(self.signals.of(short));
        words.map(|(long, short)| [long & !short, short & !long])
    }

    /// The tables over all entries of some pairs of entry signals, long and short; `None` if they would not fit.
    pub(super) fn tables(
        &self,
        enters: impl Iterator<Item = [u32; 2]>,
        cancel: &AtomicBool,
    ) -> Result<Option<LevelTables>, Stop> {
        let words = self.signals.words_per_signal;
        let [mut longs, mut shorts] = [vec![0u64; words], vec![0u64; words]];
        for enters in enters {
            for ((longs, shorts), [long, short]) in
                longs.iter_mut().zip(&mut shorts).zip(self.entry_words(enters))
            {
                *longs |= long;
                *shorts |= short;
            }
        }
        let rules = ExitRule::of_all(self.rows.iter().map(|&row| &self.rules[row as usize]));
        let unions = [longs, shorts].map(|words| BarSet::new(words.into_iter()));
        let entries: usize = unions.iter().map(BarSet::len).sum();
        if rules.len() * entries * size_of::<u64>() > MOST_TABLE_BYTES && self.rows.len() > 1 {
            return Ok(None);
        }
        let [longs, shorts] = unions;
        let longs = self.side_table(Side::Long, longs, &rules, cancel)?;
        let shorts = self.side_table(Side::Short, shorts, &rules, cancel)?;
        Ok(Some(LevelTables { rules, sides: [longs, shorts] }))
    }

    fn side_table(
        &self,
        side: Side,
        decisions: BarSet,
        rules: &[ExitRule],
        cancel: &AtomicBool,
    ) -> Result<SideTable, Stop> {
        let market = (self.market, self.config);
        let mut bars = Vec::with_capacity(decisions.len());
        decisions.for_each(|t| bars.push(t));
        let keys = passages(market, side, rules, bars.into_iter(), cancel)?;
        let places = keys.iter().map(|keys| vec![Cell::new(0); keys.len()]).collect();
        let is_joint = joint(rules, &keys);
        Ok(SideTable { decisions, keys, places, is_joint })
    }

    /// The group of some combinations with these entry signals, long and short.
    #[inline(always)]
    fn group(&self, enters: [u32; 2], places: &[usize], is_shared: bool, tables: &Rc<LevelTables>) -> Group {
        let (delay, prices) = fills(self.market, self.config);
        let words = self.signals.words_per_signal;
        let mut shorts = Vec::with_capacity(words);
        let bars = BarSet::new(self.entry_words(enters).map(|[long, short]| {
            shorts.push(short);
            long | short
        }));
        let count = bars.len();
        let (mut decisions, mut sides) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut union_places, mut joint) = (Vec::with_capacity(count), Vec::new());
        bars.for_each(|t| {
            if t + delay >= prices.len() {
                return;
            }
            let side = SIDES[(shorts[t / 64] >> (t % 64) & 1) as usize];
            // Every entry is one of the tables.
            let table = &tables.sides[place_of(side)];
            let place = table.decisions.rank(t).unwrap_or(0);
            if table.is_joint.get(place).is_some_and(|is_joint| *is_joint) {
                joint.push(decisions.len() as u32);
            }
            decisions.push(t as u32);
            sides.push(side);
            union_places.push(place as u32);
        });
        let mut rules: Vec<ExitRule> = Vec::new();
        for &place in places {
            for rule in exits_of(*self, place).into_iter().flatten() {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
        let tabled = rules.iter().map(|rule| tables.rules.iter().position(|known| known == rule)).collect();
        let never = decisions.len();
        let elements = never * (rules.len() + 1);
        let mut waits = places.iter().map(|&place| self.rules[self.rows[place] as usize].cooldown);
        let first = waits.next().unwrap_or(0);
        let has_next = is_shared && waits.all(|wait| wait == first);
        let mut group = Group {
            decisions,
            sides,
            bars,
            rules,
            passages: vec![keyed(NEVER) | if has_next { never as u64 } else { 0 }; elements],
            places: if is_shared { vec![Cell::new(0); elements] } else { Vec::new() },
            has_next,
            tabled,
            union_places,
            joint,
            tables: Rc::clone(tables),
        };
        self.fill(&mut group, enters, has_next.then_some(first));
        group
    }

    /// Writes a group's passages, with the next entries after them where all combinations wait as many bars after an exit; and the
    /// places of records that other groups have made.
    #[inline(always)]
    fn fill(&self, group: &mut Group, enters: [u32; 2], wait: Option<usize>) {
        let (delay, _) = fills(self.market, self.config);
        let Group { decisions, sides, bars, rules, passages, places, tabled, union_places, tables, .. } =
            group;
        let count = decisions.len();
        let passage = |key: Key| {
            let Some(wait) = wait else { return keyed(key) };
            let (leave, free_from) = after(key, delay);
            keyed(key) | bars.rank(free_from.max(leave.saturating_add(wait))).unwrap_or(count) as u64
        };
        for (column, (rule, tabled)) in rules.iter().zip(tabled).enumerate() {
            let passages = &mut passages[column * count..][..count];
            if let ExitRule::Signal(exits) = *rule {
                let words = self.signals.words_per_signal;
                let ([long, short], [enter_long, enter_short]) = (
                    exits.map(|signal| self.signals.of(signal)),
                    enters.map(|signal| self.signals.of(signal)),
                );
                // A position also ends where the other side is entered.
                let long_ends = |word: usize| long[word] | (enter_short[word] & !enter_long[word]);
                let short_ends = |word: usize| short[word] | (enter_long[word] & !enter_short[word]);
                let mut of_long = SignalPassages::new(words, long_ends);
                let mut of_short = SignalPassages::new(words, short_ends);
                for (own, (&decided, side)) in passages.iter_mut().zip(decisions.iter().zip(&*sides)) {
                    let first = first_bar(self.config, decided as usize + delay);
                    *own = passage(match side {
                        Side::Long => of_long.from(first),
                        Side::Short => of_short.from(first),
                    });
                }
            } else if let Some(rule) = *tabled {
                let [long, short] = &tables.sides;
                let keys = [&long.keys[rule], &short.keys[rule]];
                let kept = [&long.places[rule], &short.places[rule]];
                let entries = || sides.iter().zip(union_places.iter());
                for (own, (&side, &place)) in passages.iter_mut().zip(entries()) {
                    *own = passage(keys[place_of(side)][place as usize]);
                }
                let own = places.iter_mut().skip(column * count);
                for (own, (&side, &place)) in own.zip(entries()) {
                    *own = kept[place_of(side)][place as usize].clone();
                }
            }
        }
    }
}

/// The bar of the fill of an exit that is met at `key`, and the first bar whose close may decide the next entry.
#[inline(always)]
pub(super) fn after(key: Key, delay: usize) -> (usize, usize) {
    let (bar, is_decided) = ((key / 2) as usize, (key % 2) as usize);
    // Inside a bar, the close of the same bar may decide the next entry; of a decision at a close, the next one's.
    (bar + is_decided * delay, bar + is_decided)
}
