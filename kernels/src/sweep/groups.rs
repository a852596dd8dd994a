//! Groups of combinations that enter at the same bars, and the first passages of their exits from each of those bars.

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;

use super::account::{entry_price, first_bar};
use super::block::fills;
use super::levels::LevelView;
use super::market::Market;
use super::passage::{Entries, ExitRule, Key, NEVER, SignalPassages, passages_of_levels, passages_of_time};
use super::records::is_kept;
use super::rules::Rules;
use super::signal_table::SignalTable;
use crate::sim::{Side, SimConfig};
use crate::simd::{Kernel, Lanes};

/// Bytes of passage tables that a cluster may hold.
const MAX_BYTES: usize = 48 << 20;

/// Both sides, and their places in arrays of what each has.
pub(super) const SIDES: [Side; 2] = [Side::Long, Side::Short];

/// A set of bars.
struct BarSet {
    words: Vec<u64>,
    /// Bars of the set before each word.
    before: Vec<u32>,
}

impl BarSet {
    #[inline(always)]
    fn new(words: Vec<u64>) -> BarSet {
        let (mut count, mut before) = (0, Vec::with_capacity(words.len()));
        for word in &words {
            before.push(count);
            count += word.count_ones();
        }
        BarSet { words, before }
    }

    /// How many bars it has.
    #[inline(always)]
    fn len(&self) -> usize {
        match (self.words.last(), self.before.last()) {
            (Some(word), Some(before)) => (*before + word.count_ones()) as usize,
            _ => 0,
        }
    }

    /// Bars of the set before bar `t`; `None` behind the last word.
    #[inline(always)]
    fn rank(&self, t: usize) -> Option<usize> {
        let (word, before) = (self.words.get(t / 64)?, self.before.get(t / 64)?);
        let earlier = word & !(u64::MAX << (t % 64));
        Some(*before as usize + earlier.count_ones() as usize)
    }

    /// Bars of the set, ascending.
    #[inline(always)]
    fn for_each(&self, mut each: impl FnMut(usize)) {
        for (index, &word) in self.words.iter().enumerate() {
            let mut rest = word;
            while rest != 0 {
                each(index * 64 + rest.trailing_zeros() as usize);
                rest &= rest - 1;
            }
        }
    }
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
    /// Per rule and entry the passage and the place of the trade's record, as in [`Group`].
    passages: Vec<Vec<Cell<u64>>>,
}

impl LevelTables {
    /// How many passages there are.
    pub(super) fn len(&self) -> usize {
        self.sides.iter().flat_map(|side| &side.passages).map(Vec::len).sum()
    }
}

/// The combinations with the same entry signals.
pub(super) struct Group {
    /// Bars at whose closes an entry may be decided, and the sides that are entered.
    pub(super) decisions: Vec<u32>,
    sides: Vec<Side>,
    bars: BarSet,
    /// Rules that somebody in the group has; one row of `keys` per entry, one column per rule and one that is never met.
    pub(super) rules: Vec<ExitRule>,
    pub(super) columns: usize,
    /// In the upper half when a rule is first met, in the lower one the place of the trade's record, if it is made.
    keys: Vec<Cell<u64>>,
    /// Per column the tables' rule, if it is one of them; per entry its place in the tables.
    tabled: Vec<Option<usize>>,
    union_places: Vec<u32>,
    tables: Rc<LevelTables>,
}

impl Group {
    /// An entry's passages.
    #[inline(always)]
    pub(super) fn row(&self, entry: usize) -> &[Cell<u64>] {
        &self.keys[entry * self.columns..][..self.columns]
    }

    /// The side of an entry.
    #[inline(always)]
    pub(super) fn side(&self, entry: usize) -> Side {
        self.sides[entry]
    }

    /// Forgets the places of records that were made for a block of entries.
    pub(super) fn forget(&self) {
        for passage in self.keys.iter().filter(|passage| !is_kept(passage.get() as u32)) {
            passage.set(passage.get() & !u64::from(u32::MAX));
        }
    }

    /// Remembers the place of an exit's record for other groups.
    #[inline(always)]
    pub(super) fn keep(&self, entry: usize, column: usize, place: u32) {
        if let Some(rule) = self.tabled[column] {
            let side = &self.tables.sides[place_of(self.sides[entry])];
            let passage = &side.passages[rule][self.union_places[entry] as usize];
            passage.set(passage.get() & !u64::from(u32::MAX) | u64::from(place));
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

/// A passage whose trade has no record yet.
fn keyed(key: Key) -> Cell<u64> {
    Cell::new(u64::from(key) << 32)
}

/// The exits of a combination: stop, target, trailing stop, time, signal.
fn exits_of(of: GroupMarket<'_, '_>, place: usize) -> [Option<ExitRule>; 5] {
    let rules = &of.rules[of.rows[place] as usize];
    let [_, long_exit, _, short_exit] = of.signals.signals[place];
    [
        rules.stop_loss.map(ExitRule::Stop),
        rules.take_profit.map(ExitRule::Target),
        rules.trailing_stop.map(ExitRule::Trailing),
        rules.max_bars.map(ExitRule::Time),
        Some(ExitRule::Signal([long_exit, short_exit])),
    ]
}

/// Makes a group. A kernel of its own: within another its loops would find no register free.
pub(super) struct MakeGroup<'g, 'j, 'a> {
    pub(super) of: GroupMarket<'j, 'a>,
    /// The entry signals, long and short.
    pub(super) enters: [u32; 2],
    pub(super) places: &'g [usize],
    pub(super) tables: &'g Rc<LevelTables>,
}

impl Kernel for MakeGroup<'_, '_, '_> {
    type Output = Group;

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> Group {
        self.of.group(self.enters, self.places, self.tables)
    }
}

impl GroupMarket<'_, '_> {
    pub(super) fn view(&self, side: Side) -> Option<&LevelView> {
        match side {
            Side::Long => self.market.long.as_ref(),
            Side::Short => self.market.short.as_ref(),
        }
    }

    /// The words of the bars at which one side is entered, and the other is not: long, short.
    #[inline(always)]
    fn entry_words(&self, [long, short]: [u32; 2]) -> impl Iterator<Item = [u64; 2]> {
        let words = self.signals.of(long).iter().zip(self.signals.of(short));
        words.map(|(long, short)| [long & !short, short & !long])
    }

    /// The tables over all entries of some pairs of entry signals, long and short; `None` if they would not fit.
    pub(super) fn tables(&self, enters: impl Iterator<Item = [u32; 2]>) -> Option<LevelTables> {
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
        let rules = self.table_rules();
        let unions = [BarSet::new(longs), BarSet::new(shorts)];
        let entries: usize = unions.iter().map(BarSet::len).sum();
        if rules.len() * entries * size_of::<u64>() > MAX_BYTES && self.rows.len() > 1 {
            return None;
        }
        let [longs, shorts] = unions;
        let sides = [(Side::Long, longs), (Side::Short, shorts)]
            .map(|(side, union)| self.side_table(side, union, &rules));
        Some(LevelTables { rules, sides })
    }

    /// The distinct exits that anybody has, signals apart.
    fn table_rules(&self) -> Vec<ExitRule> {
        let mut rules: Vec<ExitRule> = Vec::new();
        let mut known: HashSet<(usize, u64)> = HashSet::new();
        for place in 0..self.rows.len() {
            for (kind, rule) in exits_of(*self, place).into_iter().enumerate() {
                let value = match rule {
                    Some(ExitRule::Stop(x) | ExitRule::Target(x) | ExitRule::Trailing(x)) => x.to_bits(),
                    Some(ExitRule::Time(bars)) => bars as u64,
                    Some(ExitRule::Signal(_)) | None => continue,
                };
                if known.insert((kind, value)) {
                    rules.extend(rule);
                }
            }
        }
        rules
    }

    fn side_table(&self, side: Side, decisions: BarSet, rules: &[ExitRule]) -> SideTable {
        let (delay, prices) = fills(self.market, self.config);
        let mut entries = Entries::default();
        decisions.for_each(|t| {
            if let Some(raw) = prices.get(t + delay) {
                let bar = t + delay;
                entries.bars.push(bar as u32);
                entries.first_bars.push(first_bar(self.config, bar) as u32);
                entries.prices.push(entry_price(self.config, side, *raw));
            }
        });
        let mut passages = match self.view(side) {
            Some(view) => passages_of_levels(rules, view, &entries),
            None => vec![Vec::new(); rules.len()],
        };
        for (rule, passages) in rules.iter().zip(&mut passages) {
            if let ExitRule::Time(held) = *rule {
                *passages = passages_of_time(held, self.market.bars.len(), &entries.first_bars);
            }
        }
        let keyed = |keys: Vec<Key>| keys.into_iter().map(keyed).collect();
        SideTable { decisions, passages: passages.into_iter().map(keyed).collect() }
    }

    /// The group of some combinations with these entry signals, long and short.
    #[inline(always)]
    fn group(&self, enters: [u32; 2], places: &[usize], tables: &Rc<LevelTables>) -> Group {
        let (delay, prices) = fills(self.market, self.config);
        let words = self.signals.words_per_signal;
        let (mut shorts, mut either) = (Vec::with_capacity(words), Vec::with_capacity(words));
        for [long, short] in self.entry_words(enters) {
            shorts.push(short);
            either.push(long | short);
        }
        let bars = BarSet::new(either);
        let count = bars.len();
        let (mut decisions, mut sides) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut union_places = Vec::with_capacity(count);
        bars.for_each(|t| {
            if t + delay >= prices.len() {
                return;
            }
            let side = SIDES[(shorts[t / 64] >> (t % 64) & 1) as usize];
            decisions.push(t as u32);
            sides.push(side);
            // Every entry is one of the tables.
            union_places.push(tables.sides[place_of(side)].decisions.rank(t).unwrap_or(0) as u32);
        });
        let mut rules: Vec<ExitRule> = Vec::new();
        for &place in places {
            for rule in exits_of(*self, place).into_iter().flatten() {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
        let columns = rules.len() + 1;
        let tabled: Vec<Option<usize>> =
            rules.iter().map(|rule| tables.rules.iter().position(|known| known == rule)).collect();
        let keys = vec![keyed(NEVER); decisions.len() * columns];
        let tables = Rc::clone(tables);
        let mut group = Group { decisions, sides, bars, rules, columns, keys, tabled, union_places, tables };
        self.fill(&mut group, enters);
        group
    }

    /// Writes a group's passages.
    #[inline(always)]
    fn fill(&self, group: &mut Group, enters: [u32; 2]) {
        let (delay, _) = fills(self.market, self.config);
        let Group { decisions, sides, rules, columns, keys, tabled, union_places, tables, .. } = group;
        let entries = || decisions.iter().zip(sides.iter()).zip(union_places.iter());
        for (column, (rule, tabled)) in rules.iter().zip(tabled).enumerate() {
            let rows = keys.chunks_exact_mut(*columns).zip(entries());
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
                for (row, ((&decided, side), _)) in rows {
                    let first = first_bar(self.config, decided as usize + delay);
                    row[column] = keyed(match side {
                        Side::Long => of_long.from(first),
                        Side::Short => of_short.from(first),
                    });
                }
            } else if let Some(rule) = *tabled {
                for (row, ((_, &side), &place)) in rows {
                    row[column] = tables.sides[place_of(side)].passages[rule][place as usize].clone();
                }
            }
        }
    }
}
