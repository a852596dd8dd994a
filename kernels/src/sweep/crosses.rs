//! The accounts of strategies that cross: of two series upwards where a long position is entered and a short one left, downwards
//! where a short one is entered and a long one left. What else may end a position, levels and time, follows from its entry alone
//! ([`super::passage`]), so that a trade takes two crosses and a look at the tables of its rules. Accounts follow the crosses
//! stretch by stretch, as in [`super::signal_accounts`].

use std::ops::RangeInclusive;
use std::sync::atomic::AtomicBool;

use super::account::first_bar;
use super::block::{Open, Stop, fills};
use super::books::EIGHT;
use super::cluster::Cluster;
use super::deals::{Deal, Deals, End, LEVELS, Lookup, Memo, Prices};
use super::dense::{DenseAccounts, DenseMarket};
use super::eight::EightAccounts;
use super::leaf::LeafTile;
use super::market::Market;
use super::ordered::{Ordered, Relation};
use super::pages::{EventPages, Gathered};
use super::passage::{ExitRule, Key, MOST_TABLE_BYTES, NEVER, at_close, passages};
use super::route::SimulationPath;
use super::rules::{Rules, Sizing};
use super::signal_accounts::LONG_STRETCH;
use super::signals::{TileSink, Walk, check};
use super::tile::{Span, TILE, View};
use crate::sim::{Side, SimConfig};
use crate::simd::{Kernel, Lanes};
use crate::stats::Stats;

/// Tiles of a stretch.
const STRETCH: usize = 2;

/// The crosses of a cluster, if they are the fastest way through it: where signals of one side are all there is, another is. The bits
/// are the same. Combinations that are long with all the cash have accounts of another kind than others.
pub(super) fn crosses_of(path: SimulationPath, cluster: &Cluster<'_>, rules: &[Rules]) -> Option<Ordered> {
    let side = cluster.tiles.side();
    if path != SimulationPath::Jumps && side.is_some() {
        return None;
    }
    let mut rules = cluster.rows.iter().map(|&row| &rules[row as usize]);
    let is_first_all_in = rules.clone().next().is_some_and(is_all_in);
    let has_one_kind =
        side != Some(Side::Long) || rules.clone().all(|rules| is_all_in(rules) == is_first_all_in);
    let fits = has_one_kind && rules.all(|rules| rules.cooldown == 0);
    fits.then(|| Ordered::crosses(cluster)).flatten()
}

fn is_all_in(rules: &Rules) -> bool {
    rules.sizing == Sizing::Equity(1.0)
}

/// Simulates a cluster; gives whether it fitted.
pub(super) struct CrossSweep<'k, 'a, 'b> {
    pub(super) market: &'k Market<'a>,
    pub(super) config: &'k SimConfig,
    pub(super) cancel: &'k AtomicBool,
    pub(super) cluster: &'k mut Cluster<'b>,
    pub(super) crosses: Ordered,
    pub(super) rules: &'k [Rules],
    pub(super) out: &'k mut [Option<Stats>],
}

impl Kernel for CrossSweep<'_, '_, '_> {
    type Output = Result<bool, Stop>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Result<bool, Stop> {
        let CrossSweep { market, config, cancel, cluster, crosses, rules, out } = self;
        let side = cluster.tiles.side();
        let rules: Vec<Rules> = cluster.rows.iter().map(|&row| rules[row as usize]).collect();
        let known = ExitRule::of_all(rules.iter());
        if known.len() * market.bars.len() * size_of::<[Key; 2]>() > MOST_TABLE_BYTES && rules.len() > 1 {
            return Ok(false);
        }
        let keys = |of: Side| match side {
            Some(side) if side != of => Ok(Vec::new()),
            _ => passages((market, config), of, &known, 0..market.bars.len(), cancel),
        };
        let keys = [keys(Side::Long)?, keys(Side::Short)?];
        let of = CrossMarket { market, config, side, rules: &rules, known: &known, keys: &keys };
        let Some(mut accounts) = CrossAccounts::<'_, '_, L>::new(lanes, of, crosses) else {
            // Every combination is measured the long way.
            return Ok(true);
        };
        let walk = Walk { cluster, bars: market.bars.len(), cancel, sink: &mut accounts };
        if !walk.run(lanes)? {
            return Ok(false);
        }
        accounts.finish(&cluster.rows, out);
        Ok(true)
    }
}

/// What the combinations of a cluster share.
#[derive(Clone, Copy)]
struct CrossMarket<'k, 'a> {
    market: &'k Market<'a>,
    config: &'k SimConfig,
    /// The side that is traded, if not both.
    side: Option<Side>,
    /// Per combination.
    rules: &'k [Rules],
    /// The exits that anybody has, signals apart; per side and exit the passage from an entry decided at each bar.
    known: &'k [ExitRule],
    keys: &'k [Vec<Vec<Key>>; 2],
}

/// What ends the positions of one combination beside crosses.
#[derive(Clone, Copy)]
struct Ends<'k> {
    /// Per side the passages of those rules that are there.
    keys: [[&'k [Key]; 4]; 2],
    levels: [u8; 4],
    kinds: usize,
}

impl<'k> Ends<'k> {
    fn new(of: CrossMarket<'k, '_>, rules: &Rules) -> Ends<'k> {
        let mut ends = Ends { keys: [[&[]; 4]; 2], levels: [0; 4], kinds: 0 };
        for (rule, level) in ExitRule::of(rules).into_iter().zip(LEVELS) {
            let Some(place) = of.known.iter().position(|known| Some(*known) == rule) else { continue };
            for (of_side, keys) in ends.keys.iter_mut().zip(of.keys) {
                of_side[ends.kinds] = keys.get(place).map_or(&[], Vec::as_slice);
            }
            ends.levels[ends.kinds] = level;
            ends.kinds += 1;
        }
        ends
    }

    /// The end of a position that is decided at bar `t` and met by a signal at `signal`.
    #[inline(always)]
    fn first(&self, side: Side, t: usize, signal: Key) -> End {
        let passages = &self.keys[usize::from(side == Side::Short)];
        let mut end = End { key: signal, met: 0 };
        for (passages, &level) in passages.iter().zip(&self.levels).take(self.kinds) {
            end = end.or(passages[t], level);
        }
        end
    }
}

/// Turns crosses into statistics.
struct CrossAccounts<'k, 'a, L: Lanes> {
    of: CrossMarket<'k, 'a>,
    crosses: Ordered,
    /// Per combination how the numbers of the last bar compare.
    last: Vec<Relation<bool>>,
    pages: EventPages,
    /// The fewest and the most tiles of a stretch. What is remembered of positions is that of the fewest.
    stretch: RangeInclusive<usize>,
    /// Crosses of the eight combinations at hand.
    gathered: Gathered,
    groups: Vec<Group<'k>>,
    /// The accounts of the groups, of one kind.
    dense: Vec<DenseAccounts<'k, L>>,
    all_in: Vec<EightAccounts<'k, L, true>>,
    others: Vec<EightAccounts<'k, L, false>>,
    lookup: Lookup,
    memo: Memo,
}

/// Eight combinations between two stretches.
struct Group<'k> {
    rules: [Rules; EIGHT],
    ends: [Ends<'k>; EIGHT],
    /// The cross that opened a position which is not closed yet.
    open: [Option<u32>; EIGHT],
    /// The first bar after the last exit, for those accounts that do not know.
    marked: [usize; EIGHT],
}

impl<'k, 'a, L: Lanes> CrossAccounts<'k, 'a, L> {
    /// `None` where returns have no finite powers.
    #[inline(always)]
    fn new(lanes: L, of: CrossMarket<'k, 'a>, crosses: Ordered) -> Option<Self> {
        let is_long = of.side == Some(Side::Long);
        let mut accounts = CrossAccounts {
            of,
            crosses,
            last: vec![Relation::default(); of.rules.len()],
            pages: EventPages::new(of.rules.len()),
            stretch: STRETCH..=if is_long { LONG_STRETCH } else { STRETCH },
            gathered: Gathered::new(LONG_STRETCH),
            groups: Vec::new(),
            dense: Vec::new(),
            all_in: Vec::new(),
            others: Vec::new(),
            lookup: Lookup::new(),
            memo: if is_long { Memo::none() } else { Memo::new(STRETCH * TILE) },
        };
        let market = (of.market, of.config);
        let is_all_in = is_long && of.rules.first().is_some_and(is_all_in);
        let dense = DenseMarket::new(of.market, of.config).filter(|_| is_all_in);
        for rules in of.rules.chunks(EIGHT) {
            let rules: [Rules; EIGHT] = std::array::from_fn(|i| rules[i.min(rules.len() - 1)]);
            let ends = rules.map(|rules| Ends::new(of, &rules));
            accounts.groups.push(Group { rules, ends, open: [None; EIGHT], marked: [0; EIGHT] });
            let sizing = rules.map(|rules| rules.sizing);
            match dense {
                Some(dense) => accounts.dense.push(DenseAccounts::of(lanes, dense)),
                None if is_all_in => {
                    accounts.all_in.push(EightAccounts::new(lanes, market, of.side, sizing)?)
                }
                None => accounts.others.push(EightAccounts::new(lanes, market, of.side, sizing)?),
            }
        }
        Some(accounts)
    }

    /// Makes the trades of a stretch that ends before bar `until`.
    #[inline(always)]
    fn advance(&mut self, until: usize, cancel: &AtomicBool) -> Result<(), Stop> {
        for place in 0..self.groups.len() {
            check(cancel)?;
            self.gathered.gather(&self.pages, place, &self.groups[place].open);
            match self.of.side {
                Some(_) => self.advance_group::<false>(place, until),
                None => self.advance_group::<true>(place, until),
            }
        }
        self.pages.clear();
        Ok(())
    }

    #[inline(always)]
    fn advance_group<const BOTH: bool>(&mut self, place: usize, until: usize) {
        let CrossMarket { market, config, side, .. } = self.of;
        let group = &mut self.groups[place];
        let (delay, prices) = fills(market, config);
        let crosses = self.gathered.of_lanes();
        let (next, free_from, market) = ([0; EIGHT], [0; EIGHT], (market, config));
        let (rules, ends) = (&group.rules, &group.ends);
        let mut deals =
            CrossDeals::<BOTH> { market, side, rules, ends, crosses, next, free_from, until, delay, prices };
        // By value: a reference would pin every sum in memory.
        if let Some(state) = self.dense.get_mut(place) {
            let mut accounts = state.clone();
            accounts.run_deals(&mut deals, &mut self.lookup, &mut group.marked);
            *state = accounts;
        } else if let Some(state) = self.all_in.get_mut(place) {
            let mut accounts = state.clone();
            accounts.run(&mut deals, &mut self.lookup, &mut self.memo);
            *state = accounts;
        } else if let Some(state) = self.others.get_mut(place) {
            let mut accounts = state.clone();
            accounts.run(&mut deals, &mut self.lookup, &mut self.memo);
            *state = accounts;
        }
        let next = deals.next;
        for (lane, open) in group.open.iter_mut().enumerate() {
            *open = crosses[lane].get(next[lane]).copied();
        }
    }

    /// Writes the results of the combinations in `rows`.
    #[inline(always)]
    fn finish(&self, rows: &[u32], out: &mut [Option<Stats>]) {
        let (delay, prices) = fills(self.of.market, self.of.config);
        for (place, (group, rows)) in self.groups.iter().zip(rows.chunks(EIGHT)).enumerate() {
            let open = |lane: usize| -> Open {
                let (bar, side) = read(group.open[lane]?);
                let bar = bar + delay;
                Some((side, bar, *prices.get(bar)?))
            };
            let dense = self.dense.get(place).map(|accounts| {
                accounts.statistics(|lane| (open(lane).map(|(_, bar, raw)| (bar, raw)), group.marked[lane]))
            });
            let all_in = || self.all_in.get(place).map(|accounts| accounts.finish(open));
            let others = || self.others.get(place).map(|accounts| accounts.finish(open));
            let stats = dense.or_else(all_in).or_else(others).into_iter().flatten();
            for (stats, &row) in stats.zip(rows) {
                out[row as usize] = stats;
            }
        }
    }
}

impl<L: Lanes> TileSink for CrossAccounts<'_, '_, L> {
    fn take(&mut self, _: &View<'_>, _: usize) {}

    fn fits(&self) -> bool {
        self.pages.fits()
    }

    fn ordered(&self) -> Option<Ordered> {
        Some(self.crosses)
    }

    #[inline(always)]
    fn take_ordered<M: Lanes>(&mut self, lanes: M, leaves: [LeafTile<'_>; 2], span: Span, place: usize) {
        let mut last = self.last[place];
        let found = self.crosses.crossings(lanes, leaves, span, &mut last, self.pages.room());
        self.pages.note(span, place, found);
        self.last[place] = last;
    }

    #[inline(always)]
    fn end_tile(&mut self, is_last: bool, cancel: &AtomicBool) -> Result<(), Stop> {
        if is_last || self.pages.are_enough(&self.stretch) {
            let until = if is_last { self.of.market.bars.len() } else { self.pages.end() };
            self.advance(until, cancel)?;
        }
        Ok(())
    }
}

/// The bar of a cross, and the side that it enters if that is traded.
#[inline(always)]
fn read(cross: u32) -> (usize, Side) {
    ((cross >> 1) as usize, if cross & 1 == 1 { Side::Long } else { Side::Short })
}

/// Trades from cross to cross, or to what ends them before.
struct CrossDeals<'p, 'a, const BOTH: bool> {
    market: (&'p Market<'a>, &'p SimConfig),
    /// The side that is traded, if not both.
    side: Option<Side>,
    rules: &'p [Rules; EIGHT],
    ends: &'p [Ends<'p>; EIGHT],
    crosses: [&'p [u32]; EIGHT],
    /// Per lane the cross that may open its next position, and the first bar whose close may.
    next: [usize; EIGHT],
    free_from: [usize; EIGHT],
    /// Bars whose crosses are known end here: what is later may come after a cross that is not.
    until: usize,
    /// Bars from decision to fill, and the prices of fills.
    delay: usize,
    prices: &'p [f64],
}

impl<const BOTH: bool> CrossDeals<'_, '_, BOTH> {
    /// The next cross that opens a position.
    #[inline(always)]
    fn entry(&mut self, lane: usize) -> Option<(usize, Side)> {
        loop {
            let (bar, side) = read(*self.crosses[lane].get(self.next[lane])?);
            if (BOTH || self.side == Some(side)) && bar >= self.free_from[lane] {
                return Some((bar, side));
            }
            self.next[lane] += 1;
        }
    }
}

impl<const BOTH: bool> Deals for CrossDeals<'_, '_, BOTH> {
    const IS_CHAIN: bool = false;
    const HAS_BOTH: bool = BOTH;

    #[inline(always)]
    fn next(&mut self, lane: usize) -> Option<Deal> {
        let (decided, side) = self.entry(lane)?;
        let enter = decided + self.delay;
        if enter >= self.prices.len() {
            return None;
        }
        // The next cross the other way. After a tie two in a row may go the same way.
        let (crosses, mut place) = (self.crosses[lane], self.next[lane] + 1);
        let mut signal = NEVER;
        while let Some(&cross) = crosses.get(place) {
            let (bar, crossed) = read(cross);
            if crossed != side {
                signal = at_close(bar);
                break;
            }
            place += 1;
        }
        let End { key, met } = self.ends[lane].first(side, decided, signal);
        let bar = (key / 2) as usize;
        let leave = bar + if key % 2 == 1 { self.delay } else { 0 };
        if bar >= self.until || leave >= self.prices.len() {
            return None;
        }
        if key == signal {
            // Where both sides are traded it opens the next position.
            self.next[lane] = place;
        } else {
            self.next[lane] += 1;
            // The close of the bar that a level is met in may decide the next entry; of a time exit, the next one's.
            self.free_from[lane] = bar + (key % 2) as usize;
        }
        let bars_held = bar + 1 - first_bar(self.market.1, enter);
        Some(Deal::new(side, [enter, leave], met, bars_held))
    }

    #[inline(always)]
    fn prices(&self, lane: usize, deal: &Deal) -> Prices {
        Prices::of_levels(deal, self.market, self.prices, &self.rules[lane])
    }
}
