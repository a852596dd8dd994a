//! Strategies with levels, time exits or cooldowns on one side: every combination jumps from entry to exit to entry over
//! tables of first passages ([`super::passage`]) that it shares with all others of its cluster.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::account::{entry_price, first_bar};
use super::block::{Finished, Stop, fills, measure_sides};
use super::books::EIGHT;
use super::cluster::Cluster;
use super::compile::Arg;
use super::dense::{DenseAccounts, DenseMarket};
use super::eight::{Deal, Deals};
use super::levels::LevelView;
use super::market::Market;
use super::passage::{
    Entries, ExitRule, Key, NEVER, passages_of_levels, passages_of_signal, passages_of_time,
};
use super::records::{Jumper, Maker, Record, Records, is_kept};
use super::rules::{Rules, Sizing};
use super::signals::TileSink;
use super::tile::View;
use crate::sim::{ExitReason, Fill, Side, SimConfig};
use crate::simd::{Kernel, Lanes};
use crate::stats::Stats;

/// Bytes of signal words, and of passage tables, that a cluster may hold.
const MAX_BYTES: usize = 48 << 20;

/// The words of the entry and exit signals, each distinct one once.
pub(super) struct SignalTable {
    roots: [Option<Arg>; 2],
    words_per_signal: usize,
    words: Vec<u64>,
    /// Per combination the numbers of its entry and its exit signal.
    pub(super) signals: Vec<[u32; 2]>,
    /// Per signal the combination that writes it.
    writers: Vec<u32>,
}

impl SignalTable {
    /// Numbers the signals of a cluster that trades one side; `roots` are its entry and its exit.
    pub(super) fn new(cluster: &Cluster<'_>, roots: [Option<Arg>; 2], bars: usize) -> SignalTable {
        let mut known: HashMap<(usize, usize), u32> = HashMap::new();
        let mut writers = Vec::new();
        let mut number = |place: usize, root: Option<Arg>| {
            let bindings = cluster.bindings(place);
            let identity = match root {
                None => (0, 0),
                Some(Arg::Scalar(scalar)) => (1, usize::from(bindings.scalars[scalar] == 1.0)),
                Some(Arg::Leaf(leaf)) => (2, bindings.leaves[leaf] as usize),
                Some(Arg::Step(step)) => {
                    let step = &cluster.tiles.steps[step];
                    // Private steps differ from combination to combination, and from each other.
                    if step.is_shared {
                        (3, bindings.shared[step.place] as usize)
                    } else {
                        (4 + step.place, place)
                    }
                }
            };
            *known.entry(identity).or_insert_with(|| {
                writers.push(place as u32);
                writers.len() as u32 - 1
            })
        };
        let signals = (0..cluster.rows.len()).map(|place| roots.map(|root| number(place, root))).collect();
        let words_per_signal = bars.div_ceil(64);
        let bytes = writers.len() * words_per_signal * size_of::<u64>();
        let words = if bytes <= MAX_BYTES || cluster.rows.len() == 1 {
            vec![0; writers.len() * words_per_signal]
        } else {
            Vec::new()
        };
        SignalTable { roots, words_per_signal, words, signals, writers }
    }

    fn of(&self, signal: u32) -> &[u64] {
        &self.words[signal as usize * self.words_per_signal..][..self.words_per_signal]
    }
}

impl TileSink for SignalTable {
    #[inline(always)]
    fn take(&mut self, view: &View<'_>, place: usize) {
        for (side, root) in self.roots.into_iter().enumerate() {
            let signal = self.signals[place][side] as usize;
            if self.writers[signal] as usize == place && !self.words.is_empty() {
                let first = signal * self.words_per_signal + view.span.first_word;
                self.words[first..first + view.span.words].copy_from_slice(view.signal(root));
            }
        }
    }

    fn fits(&self) -> bool {
        !self.words.is_empty() || self.words_per_signal == 0
    }
}

/// What the combinations of a cluster share.
pub(super) struct Jumps<'j, 'a> {
    pub(super) market: &'j Market<'a>,
    pub(super) config: &'j SimConfig,
    pub(super) side: Side,
    pub(super) rules: &'j [Rules],
    pub(super) rows: &'j [u32],
    pub(super) signals: &'j SignalTable,
    pub(super) cancel: &'j AtomicBool,
    pub(super) out: &'j mut [Option<Stats>],
}

impl Kernel for Jumps<'_, '_> {
    /// Whether the tables fitted.
    type Output = Result<bool, Stop>;

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) -> Result<bool, Stop> {
        let mut groups: HashMap<u32, Vec<usize>> = HashMap::new();
        for (place, [enter, _]) in self.signals.signals.iter().enumerate() {
            groups.entry(*enter).or_default().push(place);
        }
        let mut groups: Vec<(u32, Vec<usize>)> = groups.into_iter().collect();
        groups.sort_unstable_by_key(|(enter, _)| *enter);
        let union = self.entries(groups.iter().map(|(enter, _)| *enter));
        let Some(tables) = self.level_tables(&union).map(Rc::new) else { return Ok(false) };
        let maker = self.maker();
        let mut records = Records::new(union.bars.len(), tables.rules.len());
        // Eight at a time, from as many groups as it takes: where every combination has its own entries, a group is one.
        let mut waiting = [Vec::with_capacity(EIGHT), Vec::with_capacity(EIGHT)];
        for (enter, places) in &groups {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled);
            }
            let group = Rc::new(self.group(*enter, places, &union, &tables));
            let is_dense = |place: &usize| maker.is_some() && self.sizing(*place) == Sizing::Equity(1.0);
            let (dense, others): (Vec<usize>, Vec<usize>) = places.iter().copied().partition(is_dense);
            let (shared, alone) = dense.as_chunks::<EIGHT>();
            if let Some(maker) = &maker {
                for octets in shared.chunks(OCTETS) {
                    self.share(lanes, maker, &group, octets, &mut records);
                }
            }
            let [dense, sampled] = &mut waiting;
            let wait = |place: &usize| (Rc::clone(&group), *place);
            for combination in alone.iter().map(wait) {
                dense.push(combination);
                self.flush(lanes, (maker.as_ref(), &mut records), dense, EIGHT);
            }
            for combination in others.iter().map(wait) {
                sampled.push(combination);
                self.flush(lanes, (None, &mut records), sampled, EIGHT);
            }
        }
        let [mut dense, mut sampled] = waiting;
        self.flush(lanes, (maker.as_ref(), &mut records), &mut dense, 1);
        self.flush(lanes, (None, &mut records), &mut sampled, 1);
        Ok(true)
    }
}

/// Accounts, eight each, that go through a group's entries together: a few kilobytes each.
const OCTETS: usize = 64;

/// Bytes of the records that combinations with the same entries share: they should stay in the second-level cache.
const RECORD_BYTES: usize = 512 << 10;

impl<'j> Jumps<'j, '_> {
    fn sizing(&self, place: usize) -> Sizing {
        self.rules[self.rows[place] as usize].sizing
    }

    /// What makes records, where there are any.
    fn maker(&self) -> Option<Maker<'j>> {
        let (market, config) = (self.market, self.config);
        let of = DenseMarket::new(market, config).filter(|_| self.side == Side::Long)?;
        let (delay, prices) = fills(market, config);
        let last = (2 * prices.len()).checked_sub(1 + delay)? as Key;
        Some(Maker { of, view: market.long.as_ref(), delay, prices, last })
    }

    /// Makes the trades of these combinations if there are `least` of them.
    #[inline(always)]
    fn flush<L: Lanes>(
        &mut self,
        lanes: L,
        (maker, records): (Option<&Maker<'j>>, &mut Records),
        waiting: &mut Vec<(Rc<Group>, usize)>,
        least: usize,
    ) {
        if waiting.len() < least {
            return;
        }
        match maker {
            None => self.simulate(lanes, waiting),
            Some(maker) => {
                let lane = |i: usize| &waiting[i.min(waiting.len() - 1)];
                let mut jumpers: [Jumper; EIGHT] =
                    std::array::from_fn(|i| self.jumper(&lane(i).0, lane(i).1));
                for jumper in &mut jumpers[waiting.len()..] {
                    jumper.skip_all();
                }
                let groups: [&Group; EIGHT] = std::array::from_fn(|i| lane(i).0.as_ref());
                let mut accounts = DenseAccounts::new(lanes, maker.of);
                accounts.jump(maker, (&mut jumpers, groups), usize::MAX, (records, false));
                let stats = self.finish(&accounts, maker, &jumpers, groups);
                for (stats, (_, place)) in stats.into_iter().zip(waiting.iter()) {
                    self.out[self.rows[*place] as usize] = stats;
                }
            }
        }
        waiting.clear();
    }

    /// Eight by eight the combinations of a group, which share their trades: all of them through one block of entries, then
    /// through the next.
    #[inline(always)]
    fn share<L: Lanes>(
        &mut self,
        lanes: L,
        maker: &Maker<'j>,
        group: &Group,
        octets: &[[usize; EIGHT]],
        records: &mut Records,
    ) {
        let groups = [group; EIGHT];
        group.forget();
        let mut states: Vec<(DenseAccounts<'j, L>, [Jumper; EIGHT])> = Vec::with_capacity(octets.len());
        for octet in octets {
            let jumpers = std::array::from_fn(|i| self.jumper(group, octet[i]));
            states.push((DenseAccounts::new(lanes, maker.of), jumpers));
        }
        let step = (RECORD_BYTES / size_of::<Record>() / group.columns).max(1);
        let signals = group.rules.iter().filter(|rule| matches!(rule, ExitRule::Signal(_))).count();
        let mut until = 0;
        while until < group.decisions.len() {
            let from = until;
            until += step;
            records.clear();
            if octets.len() >= signals {
                maker.make_signals(group, from..until.min(group.decisions.len()), records);
            }
            for (accounts, jumpers) in &mut states {
                accounts.jump(maker, (jumpers, groups), until, (&mut *records, true));
            }
        }
        for ((accounts, jumpers), octet) in states.iter().zip(octets) {
            let stats = self.finish(accounts, maker, jumpers, groups);
            for (stats, &place) in stats.into_iter().zip(octet) {
                self.out[self.rows[place] as usize] = stats;
            }
        }
    }

    fn jumper(&self, group: &Group, place: usize) -> Jumper {
        let rules = self.rules[self.rows[place] as usize];
        Jumper::new(rules, self.columns(group, place), group.rules.len())
    }

    /// The columns of a combination's stop, target, trailing stop, time exit and signal.
    fn columns(&self, group: &Group, place: usize) -> [usize; 5] {
        let rules = &self.rules[self.rows[place] as usize];
        let signal = Some(ExitRule::Signal(self.signals.signals[place][1]));
        let [stop, target, trailing, time] = exits_of(rules).map(|rule| column_of(&group.rules, rule));
        [stop, target, trailing, time, column_of(&group.rules, signal)]
    }

    #[inline(always)]
    fn finish<L: Lanes>(
        &self,
        accounts: &DenseAccounts<'j, L>,
        maker: &Maker<'j>,
        jumpers: &[Jumper; EIGHT],
        groups: [&Group; EIGHT],
    ) -> [Option<Stats>; EIGHT] {
        accounts.finish(|i| {
            let decided = jumpers[i].open.and_then(|entry| groups[i].decisions.get(entry));
            let bar = decided.map(|&t| t as usize + maker.delay);
            (bar.map(|bar| (bar, maker.prices[bar])), jumpers[i].marked)
        })
    }
}

/// First passages of the levels and time exits that anybody has, at every bar where anybody may enter.
pub(super) struct LevelTables {
    rules: Vec<ExitRule>,
    /// Per rule and entry the passage and the place of the trade's record, as in [`Group`].
    passages: Vec<Vec<Cell<u64>>>,
}

/// The combinations with one entry signal.
pub(super) struct Group {
    /// Bars at whose closes an entry may be decided.
    pub(super) decisions: Vec<u32>,
    /// Words of the decisions, and how many there are before each word.
    words: Vec<u64>,
    before: Vec<u32>,
    /// Rules that somebody in the group has; one row of `keys` per entry, one column per rule and one that is never met.
    pub(super) rules: Vec<ExitRule>,
    columns: usize,
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

    /// Forgets the places of records that were made for a block of entries.
    fn forget(&self) {
        for passage in self.keys.iter().filter(|passage| !is_kept(passage.get() as u32)) {
            passage.set(passage.get() & !u64::from(u32::MAX));
        }
    }

    /// Remembers the place of an exit's record for other groups.
    #[inline(always)]
    pub(super) fn keep(&self, entry: usize, column: usize, place: u32) {
        if let Some(rule) = self.tabled[column] {
            let passage = &self.tables.passages[rule][self.union_places[entry] as usize];
            passage.set(passage.get() & !u64::from(u32::MAX) | u64::from(place));
        }
    }

    /// The first entry decided at or after bar `t`.
    #[inline(always)]
    pub(super) fn next(&self, t: usize) -> usize {
        match (self.words.get(t / 64), self.before.get(t / 64)) {
            (Some(word), Some(before)) => {
                let earlier = word & !(u64::MAX << (t % 64));
                *before as usize + earlier.count_ones() as usize
            }
            _ => self.decisions.len(),
        }
    }
}

/// A passage whose trade has no record yet.
fn keyed(key: Key) -> Cell<u64> {
    Cell::new(u64::from(key) << 32)
}

/// Column of a rule that a combination does not have.
fn column_of(rules: &[ExitRule], rule: Option<ExitRule>) -> usize {
    rule.and_then(|rule| rules.iter().position(|known| *known == rule)).unwrap_or(rules.len())
}

/// The exits of a combination other than signals: stop, target, trailing stop, time.
fn exits_of(rules: &Rules) -> [Option<ExitRule>; 4] {
    [
        rules.stop_loss.map(ExitRule::Stop),
        rules.take_profit.map(ExitRule::Target),
        rules.trailing_stop.map(ExitRule::Trailing),
        rules.max_bars.map(ExitRule::Time),
    ]
}

impl Jumps<'_, '_> {
    fn view(&self) -> Option<&LevelView> {
        match self.side {
            Side::Long => self.market.long.as_ref(),
            Side::Short => self.market.short.as_ref(),
        }
    }

    /// The entries of some signals together.
    fn entries(&self, enters: impl Iterator<Item = u32>) -> Entries {
        let mut union = vec![0u64; self.signals.words_per_signal];
        for enter in enters {
            for (all, word) in union.iter_mut().zip(self.signals.of(enter)) {
                *all |= word;
            }
        }
        let (delay, prices) = fills(self.market, self.config);
        let mut entries = Entries::default();
        for_each_bit(&union, |t| {
            if let Some(raw) = prices.get(t + delay) {
                let bar = t + delay;
                entries.bars.push(bar as u32);
                entries.first_bars.push(first_bar(self.config, bar) as u32);
                entries.prices.push(entry_price(self.config, self.side, *raw));
            }
        });
        entries
    }

    /// `None` if the tables would not fit.
    fn level_tables(&self, union: &Entries) -> Option<LevelTables> {
        let mut rules: Vec<ExitRule> = Vec::new();
        let mut known: HashSet<(usize, u64)> = HashSet::new();
        for &row in self.rows {
            for (kind, rule) in exits_of(&self.rules[row as usize]).into_iter().enumerate() {
                let Some(rule) = rule else { continue };
                let value = match rule {
                    ExitRule::Stop(x) | ExitRule::Target(x) | ExitRule::Trailing(x) => x.to_bits(),
                    ExitRule::Time(bars) => bars as u64,
                    ExitRule::Signal(signal) => u64::from(signal),
                };
                if known.insert((kind, value)) {
                    rules.push(rule);
                }
            }
        }
        let bytes = rules.len() * union.bars.len() * size_of::<u64>();
        if bytes > MAX_BYTES && self.rows.len() > 1 {
            return None;
        }
        let bars = self.market.bars.len();
        let mut passages = match self.view() {
            Some(view) => passages_of_levels(&rules, view, union),
            None => vec![Vec::new(); rules.len()],
        };
        for (rule, passages) in rules.iter().zip(&mut passages) {
            if let ExitRule::Time(held) = *rule {
                *passages = passages_of_time(held, bars, &union.first_bars);
            }
        }
        let keyed = |keys: Vec<Key>| keys.into_iter().map(keyed).collect();
        let passages = passages.into_iter().map(keyed).collect();
        Some(LevelTables { rules, passages })
    }

    fn group(&self, enter: u32, places: &[usize], union: &Entries, tables: &Rc<LevelTables>) -> Group {
        let (delay, prices) = fills(self.market, self.config);
        let (mut decisions, mut union_places) = (Vec::new(), Vec::new());
        let words = self.signals.of(enter).to_vec();
        let mut before = Vec::with_capacity(words.len());
        let mut count = 0;
        for word in &words {
            before.push(count);
            count += word.count_ones();
        }
        let mut at = 0;
        for_each_bit(&words, |t| {
            let bar = t + delay;
            if bar >= prices.len() {
                return;
            }
            while union.bars.get(at).is_some_and(|&known| (known as usize) < bar) {
                at += 1;
            }
            decisions.push(t as u32);
            union_places.push(at as u32);
        });
        let mut rules: Vec<ExitRule> = Vec::new();
        for &place in places {
            let of_combination = exits_of(&self.rules[self.rows[place] as usize]);
            let signal = Some(ExitRule::Signal(self.signals.signals[place][1]));
            for rule in of_combination.into_iter().chain([signal]).flatten() {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
        let columns = rules.len() + 1;
        let mut keys = vec![keyed(NEVER); decisions.len() * columns];
        let first_bars: Vec<u32> =
            union_places.iter().map(|&place| union.first_bars[place as usize]).collect();
        let tabled: Vec<Option<usize>> =
            rules.iter().map(|rule| tables.rules.iter().position(|known| known == rule)).collect();
        for (column, (rule, tabled)) in rules.iter().zip(&tabled).enumerate() {
            if let ExitRule::Signal(signal) = rule {
                let passages = passages_of_signal(self.signals.of(*signal), &first_bars);
                for (row, key) in keys.chunks_exact_mut(columns).zip(passages) {
                    row[column] = keyed(key);
                }
            } else if let Some(table) = tabled {
                let table = &tables.passages[*table];
                for (row, &place) in keys.chunks_exact_mut(columns).zip(&union_places) {
                    row[column] = table[place as usize].clone();
                }
            }
        }
        let tables = Rc::clone(tables);
        Group { decisions, words, before, rules, columns, keys, tabled, union_places, tables }
    }

    /// One to eight combinations.
    #[inline(always)]
    fn simulate<L: Lanes>(&mut self, lanes: L, combinations: &[(Rc<Group>, usize)]) {
        let (delay, prices) = fills(self.market, self.config);
        let lane = |i: usize| &combinations[i.min(combinations.len() - 1)];
        let chain = |i: usize| {
            let (group, place) = lane(i);
            Chain {
                group: group.as_ref(),
                rules: self.rules[self.rows[*place] as usize],
                columns: self.columns(group, *place),
                entry: if i < combinations.len() { 0 } else { group.decisions.len() },
                ambiguous_bars: 0,
                is_open: false,
            }
        };
        let view = self.view();
        let (config, side) = (self.config, self.side);
        let deals = || Chains { view, config, side, prices, delay, chains: std::array::from_fn(chain) };
        let rows: [u32; EIGHT] = std::array::from_fn(|i| self.rows[lane(i).1]);
        let sizing = rows.map(|row| self.rules[row as usize].sizing);
        let finished = |deals: &Chains<'_>, i: usize| {
            let chain = &deals.chains[i];
            let decided = chain.group.decisions.get(chain.entry).filter(|_| chain.is_open);
            let bar = decided.map(|&t| t as usize + delay);
            let open = bar.map(|bar| (side, bar, prices[bar]));
            Finished { open, ambiguous_bars: chain.ambiguous_bars }
        };
        let stats = measure_sides(lanes, (self.market, config), Some(side), sizing, deals, finished);
        for (stats, &row) in stats.into_iter().zip(&rows[..combinations.len()]) {
            self.out[row as usize] = stats;
        }
    }
}

/// Where a combination is in its group's entries.
struct Chain<'c> {
    group: &'c Group,
    rules: Rules,
    /// Columns of stop, target, trailing stop, time exit and signal.
    columns: [usize; 5],
    /// The next entry; where the position stays open, its entry.
    entry: usize,
    ambiguous_bars: u64,
    is_open: bool,
}

struct Chains<'c> {
    view: Option<&'c LevelView>,
    config: &'c SimConfig,
    side: Side,
    prices: &'c [f64],
    delay: usize,
    chains: [Chain<'c>; EIGHT],
}

impl Deals for Chains<'_> {
    const IS_CHAIN: bool = true;
    const HAS_BOTH: bool = false;

    #[inline(always)]
    fn next(&mut self, lane: usize) -> Option<Deal> {
        let chain = &mut self.chains[lane];
        let group = chain.group;
        let &decided = group.decisions.get(chain.entry)?;
        if chain.is_open {
            return None;
        }
        let enter = decided as usize + self.delay;
        let enter_raw = self.prices[enter];
        let first = first_bar(self.config, enter);
        let row = group.row(chain.entry);
        let keys = chain.columns.map(|column| (row[column].get() >> 32) as Key);
        let key = keys.into_iter().fold(NEVER, Key::min);
        let bar = (key / 2) as usize;
        let (leave, leave_raw, is_target, free_from);
        if key % 2 == 1 {
            // A decision at a close, filled if a bar follows. NEVER is odd, and no bar is that late.
            leave = bar + self.delay;
            let Some(&raw) = self.prices.get(leave) else {
                chain.is_open = true;
                return None;
            };
            (leave_raw, is_target) = (raw, false);
            free_from = if self.config.fill == Fill::Close { bar + 1 } else { leave };
        } else {
            let view = self.view?;
            let price = entry_price(self.config, self.side, enter_raw);
            let met = [0, 1, 2].map(|rule| keys[rule] == key);
            let touch = view.touch_of(&chain.rules, price, met, (first, bar), self.config.intrabar);
            chain.ambiguous_bars += u64::from(touch.is_ambiguous);
            leave = bar;
            (leave_raw, is_target) = (touch.price, touch.reason == ExitReason::Target);
            free_from = bar;
        }
        let free_from = free_from.max(leave.saturating_add(chain.rules.cooldown));
        chain.entry = group.next(free_from);
        Some(Deal {
            side: self.side,
            enter,
            leave,
            enter_raw,
            leave_raw,
            is_target,
            bars_held: bar + 1 - first,
        })
    }
}

/// The bars of the set bits, ascending.
fn for_each_bit(words: &[u64], mut each: impl FnMut(usize)) {
    for (index, &word) in words.iter().enumerate() {
        let mut rest = word;
        while rest != 0 {
            each(index * 64 + rest.trailing_zeros() as usize);
            rest &= rest - 1;
        }
    }
}
