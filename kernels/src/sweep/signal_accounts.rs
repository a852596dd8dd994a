//! The accounts of strategies whose positions no level ends: signals do, and time.
//!
//! Accounts follow the signals *stretch* by stretch: while the rows of a few tiles' entries and exits are in the second-level
//! cache, every combination makes its trades of those bars. What an account is between two stretches is small beside what it
//! would load again, and events of the bars before are forgotten.

use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::atomic::AtomicBool;

use super::block::{Open, Stop, fills};
use super::books::EIGHT;
use super::cluster::Cluster;
use super::deals::{Deal, Deals, Lookup, Memo, Prices};
use super::dense::{self, DenseAccounts, DenseMarket, FillPairs};
use super::eight::EightAccounts;
use super::events;
use super::leaf::LeafTile;
use super::limits::Limit;
use super::market::Market;
use super::ordered::Ordered;
use super::pages::Gathered;
use super::path::opposite;
use super::rules::{Rules, Sizing};
use super::signals::{Events, TileSink, Walk, check};
use super::tile::{Span, TILE, View};
use crate::sim::{Side, SimConfig};
use crate::simd::{Kernel, Lanes};
use crate::stats::Stats;

/// Tiles of a stretch: more of them, and the rows of their entries and exits leave the cache; fewer, and the accounts' own
/// memory does so too often.
const STRETCH: usize = 4;

/// The same where there are few events.
pub(super) const LONG_STRETCH: usize = 16;

/// Simulates a cluster; gives whether it fitted.
pub(super) struct SignalSweep<'k, 'a, 'b, T> {
    pub(super) market: &'k Market<'a>,
    pub(super) config: &'k SimConfig,
    pub(super) cancel: &'k AtomicBool,
    pub(super) cluster: &'k mut Cluster<'b>,
    pub(super) rules: &'k [Rules],
    pub(super) out: &'k mut [Option<Stats>],
    /// What ends positions beside signals.
    pub(super) limit: PhantomData<T>,
}

impl<T: Limit> Kernel for SignalSweep<'_, '_, '_, T> {
    type Output = Result<bool, Stop>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Result<bool, Stop> {
        let SignalSweep { market, config, cancel, cluster, rules, out, .. } = self;
        let bars = market.bars.len();
        let Some(mut accounts) = Accounts::<'_, '_, L, T>::new(lanes, (market, config), cluster, rules)
        else {
            // Every combination is measured the long way.
            return Ok(true);
        };
        let walk = Walk { cluster, bars, cancel, sink: &mut accounts };
        if !walk.run(lanes)? {
            return Ok(false);
        }
        accounts.finish(&cluster.rows, out);
        Ok(true)
    }
}

/// Turns events into statistics.
struct Accounts<'k, 'a, L: Lanes, T> {
    market: &'k Market<'a>,
    config: &'k SimConfig,
    /// The one side, if there is only one.
    side: Option<Side>,
    events: Events<T>,
    /// The fewest and the most tiles of a stretch. What is remembered of positions is that of the fewest.
    stretch: RangeInclusive<usize>,
    /// Events of the eight combinations at hand.
    gathered: Gathered,
    groups: Vec<Group>,
    /// The accounts of the groups; none of a kind that no combination has. Which kind a combination has must not depend on its
    /// neighbours: a group has accounts of every kind among its combinations, for all of them.
    dense: Vec<DenseAccounts<'k, L>>,
    all_in: Vec<EightAccounts<'k, L, true>>,
    others: Vec<EightAccounts<'k, L, false>>,
    dense_lookup: dense::Lookup,
    lookup: Lookup,
    memo: Memo,
}

/// Eight combinations between two stretches.
struct Group {
    /// Whether they are long with all the cash.
    is_all_in: [bool; EIGHT],
    /// The event that opened a position which is not closed yet.
    open: [Option<u32>; EIGHT],
    /// Its side, if it was opened by a reversal.
    reversed: [Option<Side>; EIGHT],
    /// The first bar after the last exit.
    marked: [usize; EIGHT],
}

/// The pairs of entry and exit among events. The last exit may be decided too late to be filled.
#[inline(always)]
fn filled<'e>(events: &'e [u32], delay: usize, prices: &[f64]) -> &'e [[u32; 2]] {
    let pairs = events.as_chunks::<2>().0;
    let is_late = pairs.last().is_some_and(|[_, leave]| *leave as usize + delay >= prices.len());
    &pairs[..pairs.len() - usize::from(is_late)]
}

impl<'k, 'a, L: Lanes, T: Limit> Accounts<'k, 'a, L, T> {
    /// `None` where returns have no finite powers.
    #[inline(always)]
    fn new(
        lanes: L,
        market: (&'k Market<'a>, &'k SimConfig),
        cluster: &Cluster<'_>,
        rules: &[Rules],
    ) -> Option<Accounts<'k, 'a, L, T>> {
        let side = cluster.tiles.side();
        let is_long = side == Some(Side::Long);
        let of = DenseMarket::new(market.0, market.1).filter(|_| is_long);
        let mut accounts = Accounts {
            market: market.0,
            config: market.1,
            side,
            events: Events::new(cluster, rules),
            stretch: STRETCH..=if is_long { LONG_STRETCH } else { STRETCH },
            gathered: Gathered::new(LONG_STRETCH),
            groups: Vec::new(),
            dense: Vec::new(),
            all_in: Vec::new(),
            others: Vec::new(),
            dense_lookup: dense::Lookup::new(),
            lookup: Lookup::new(),
            memo: if is_long { Memo::none() } else { Memo::new(STRETCH * TILE) },
        };
        let sizing: Vec<Sizing> = cluster.rows.iter().map(|&row| rules[row as usize].sizing).collect();
        let is_all_in = |sizing: &Sizing| is_long && *sizing == Sizing::Equity(1.0);
        let (has_all_in, has_others) = (sizing.iter().any(is_all_in), !sizing.iter().all(is_all_in));
        let groups = sizing.len().div_ceil(EIGHT);
        accounts.groups.reserve_exact(groups);
        accounts.dense.reserve_exact(if has_all_in && of.is_some() { groups } else { 0 });
        accounts.all_in.reserve_exact(if has_all_in && of.is_none() { groups } else { 0 });
        accounts.others.reserve_exact(if has_others { groups } else { 0 });
        for sizing in sizing.chunks(EIGHT) {
            let last = sizing.len() - 1;
            let sizing: [Sizing; EIGHT] = std::array::from_fn(|i| sizing[i.min(last)]);
            let (open, reversed) = ([None; EIGHT], [None; EIGHT]);
            let is_all_in = std::array::from_fn(|i| is_all_in(&sizing[i]));
            accounts.groups.push(Group { is_all_in, open, reversed, marked: [0; EIGHT] });
            if let Some(of) = of.filter(|_| has_all_in) {
                accounts.dense.push(DenseAccounts::of(lanes, of));
            } else if has_all_in {
                accounts.all_in.push(EightAccounts::new(lanes, market, side, sizing)?);
            }
            if has_others {
                accounts.others.push(EightAccounts::new(lanes, market, side, sizing)?);
            }
        }
        Some(accounts)
    }

    /// Makes the trades of a stretch.
    #[inline(always)]
    fn advance(&mut self, cancel: &AtomicBool) -> Result<(), Stop> {
        for group in 0..self.groups.len() {
            check(cancel)?;
            self.gathered.gather(&self.events.pages, group, &self.groups[group].open);
            match self.side {
                Some(side) => self.advance_one_side(group, side),
                None => self.advance_both_sides(group),
            }
        }
        self.events.pages.clear();
        Ok(())
    }

    #[inline(always)]
    fn advance_one_side(&mut self, place: usize, side: Side) {
        let (delay, prices) = fills(self.market, self.config);
        let group = &mut self.groups[place];
        let mut pairs: [&[[u32; 2]]; EIGHT] = [&[]; EIGHT];
        for (i, events) in self.gathered.of_lanes().into_iter().enumerate() {
            pairs[i] = filled(events, delay, prices);
            group.open[i] = events.get(2 * pairs[i].len()).copied();
            if let Some([_, leave]) = pairs[i].last() {
                group.marked[i] = *leave as usize + delay;
            }
        }
        let (has_all_in, has_others) = (group.is_all_in.contains(&true), group.is_all_in.contains(&false));
        if let Some(state) = self.dense.get_mut(place).filter(|_| has_all_in) {
            // By value: a reference would pin every sum in memory.
            let mut accounts = state.clone();
            accounts.run(&FillPairs { pairs, delay, prices }, &mut self.dense_lookup);
            *state = accounts;
        }
        let deals = SignalDeals { side, pairs, next: [0; EIGHT], delay, prices };
        if let Some(state) = self.all_in.get_mut(place).filter(|_| has_all_in) {
            let mut accounts = state.clone();
            accounts.run(&mut deals.clone(), &mut self.lookup, &mut self.memo);
            *state = accounts;
        }
        if let Some(state) = self.others.get_mut(place).filter(|_| has_others) {
            let mut accounts = state.clone();
            accounts.run(&mut deals.clone(), &mut self.lookup, &mut self.memo);
            *state = accounts;
        }
    }

    #[inline(always)]
    fn advance_both_sides(&mut self, place: usize) {
        let (delay, prices) = fills(self.market, self.config);
        let (group, Some(state)) = (&mut self.groups[place], self.others.get_mut(place)) else { return };
        let events = self.gathered.of_lanes();
        let mut deals = EventDeals { events, next: [0; EIGHT], reversed: group.reversed, delay, prices };
        let mut accounts = state.clone();
        accounts.run(&mut deals, &mut self.lookup, &mut self.memo);
        *state = accounts;
        group.reversed = deals.reversed;
        for (i, open) in group.open.iter_mut().enumerate() {
            *open = events[i].get(deals.next[i]).copied();
        }
    }

    /// Side, bar and raw price of the entry of a position that stays open.
    #[inline(always)]
    fn open(&self, group: &Group, lane: usize) -> Open {
        let (delay, prices) = fills(self.market, self.config);
        let event = group.open[lane]?;
        let (side, bar) = match self.side {
            Some(side) => (side, event as usize + delay),
            None => (group.reversed[lane].unwrap_or(opened(event)), (event >> 2) as usize + delay),
        };
        Some((side, bar, *prices.get(bar)?))
    }

    /// Writes the results of the combinations in `rows`.
    #[inline(always)]
    fn finish(&self, rows: &[u32], out: &mut [Option<Stats>]) {
        for ((place, group), rows) in self.groups.iter().enumerate().zip(rows.chunks(EIGHT)) {
            let open = |lane| self.open(group, lane);
            let dense = self.dense.get(place).map(|accounts| {
                accounts.statistics(|lane| (open(lane).map(|(_, bar, raw)| (bar, raw)), group.marked[lane]))
            });
            let all_in = dense.or_else(|| self.all_in.get(place).map(|accounts| accounts.finish(open)));
            let others = self.others.get(place).map(|accounts| accounts.finish(open));
            for (lane, &row) in rows.iter().enumerate() {
                let stats = if group.is_all_in[lane] { &all_in } else { &others };
                out[row as usize] = stats.as_ref().and_then(|stats| stats[lane]);
            }
        }
    }
}

impl<L: Lanes, T: Limit> TileSink for Accounts<'_, '_, L, T> {
    #[inline(always)]
    fn take(&mut self, view: &View<'_>, place: usize) {
        self.events.take(view, place);
    }

    fn fits(&self) -> bool {
        self.events.fits()
    }

    fn ordered(&self) -> Option<Ordered> {
        self.events.ordered()
    }

    #[inline(always)]
    fn take_ordered<M: Lanes>(&mut self, lanes: M, leaves: [LeafTile<'_>; 2], span: Span, place: usize) {
        self.events.take_ordered(lanes, leaves, span, place);
    }

    #[inline(always)]
    fn end_tile(&mut self, is_last: bool, cancel: &AtomicBool) -> Result<(), Stop> {
        if is_last || self.events.pages.are_enough(&self.stretch) {
            self.advance(cancel)?;
        }
        Ok(())
    }
}

/// Trades between the bars at which a position is opened and closed.
#[derive(Clone)]
struct SignalDeals<'p> {
    side: Side,
    /// Per lane pairs of bars at whose closes a position is opened and closed.
    pairs: [&'p [[u32; 2]]; EIGHT],
    next: [usize; EIGHT],
    /// Bars from decision to fill, and the prices of fills.
    delay: usize,
    prices: &'p [f64],
}

impl Deals for SignalDeals<'_> {
    const IS_CHAIN: bool = false;
    const HAS_BOTH: bool = false;

    #[inline(always)]
    fn next(&mut self, lane: usize) -> Option<Deal> {
        let &[enter, leave] = self.pairs[lane].get(self.next[lane])?;
        self.next[lane] += 1;
        let (enter, leave) = (enter as usize + self.delay, leave as usize + self.delay);
        // Filled at an open or at a close alike, it is held from the entry's fill to the exit's.
        Some(Deal::new(self.side, [enter, leave], 0, leave - enter))
    }

    #[inline(always)]
    fn prices(&self, _: usize, deal: &Deal) -> Prices {
        Prices::of_fills(deal, self.prices)
    }
}

/// The side of a position that an event opens, where it is no reversal.
#[inline(always)]
fn opened(event: u32) -> Side {
    if event & 3 == events::ENTER_LONG { Side::Long } else { Side::Short }
}

/// Trades on both sides, where an exit may be the entry of the other side.
struct EventDeals<'p> {
    events: [&'p [u32]; EIGHT],
    /// Per lane the event that opens its next position, and the side of one that a reversal opens.
    next: [usize; EIGHT],
    reversed: [Option<Side>; EIGHT],
    delay: usize,
    prices: &'p [f64],
}

impl EventDeals<'_> {
    /// Side and bar of a lane's next entry.
    #[inline(always)]
    fn entry(&self, lane: usize) -> Option<(Side, usize)> {
        let event = *self.events[lane].get(self.next[lane])?;
        let bar = (event >> 2) as usize + self.delay;
        (bar < self.prices.len()).then_some((self.reversed[lane].unwrap_or(opened(event)), bar))
    }
}

impl Deals for EventDeals<'_> {
    const IS_CHAIN: bool = false;
    const HAS_BOTH: bool = true;

    #[inline(always)]
    fn next(&mut self, lane: usize) -> Option<Deal> {
        let (side, enter) = self.entry(lane)?;
        let event = *self.events[lane].get(self.next[lane] + 1)?;
        let leave = (event >> 2) as usize + self.delay;
        if leave >= self.prices.len() {
            return None;
        }
        if event & 3 == events::LEAVE {
            self.next[lane] += 2;
            self.reversed[lane] = None;
        } else {
            self.next[lane] += 1;
            self.reversed[lane] = Some(opposite(side));
        }
        Some(Deal::new(side, [enter, leave], 0, leave - enter))
    }

    #[inline(always)]
    fn prices(&self, _: usize, deal: &Deal) -> Prices {
        Prices::of_fills(deal, self.prices)
    }
}
