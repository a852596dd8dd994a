//! Strategies with levels, time exits or cooldowns: every combination jumps from entry to exit to entry over tables of first
//! passages ([`super::passage`]) that it shares with all others of its cluster.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::block::{Stop, fills, measure_sides};
use super::books::EIGHT;
use super::chains::{Chain, Chains};
use super::dense::{DenseAccounts, DenseMarket};
use super::groups::{Group, GroupMarket, MakeGroup};
use super::passage::{ExitRule, Key};
use super::records::{Jumper, Maker, Record, Records};
use super::rules::Sizing;
use crate::sim::Side;
use crate::simd::{Isa, Kernel, Lanes};
use crate::stats::Stats;

/// What the combinations of a cluster share.
pub(super) struct Jumps<'j, 'a> {
    pub(super) of: GroupMarket<'j, 'a>,
    /// The side that is traded, if not both.
    pub(super) side: Option<Side>,
    /// What parts of the work are compiled for.
    pub(super) isa: Isa,
    pub(super) cancel: &'j AtomicBool,
    pub(super) out: &'j mut [Option<Stats>],
}

impl Kernel for Jumps<'_, '_> {
    /// Whether the tables fitted.
    type Output = Result<bool, Stop>;

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) -> Result<bool, Stop> {
        let mut groups: HashMap<[u32; 2], Vec<usize>> = HashMap::new();
        for (place, [long_enter, _, short_enter, _]) in self.of.signals.signals.iter().enumerate() {
            groups.entry([*long_enter, *short_enter]).or_default().push(place);
        }
        let mut groups: Vec<([u32; 2], Vec<usize>)> = groups.into_iter().collect();
        groups.sort_unstable_by_key(|(enters, _)| *enters);
        let tables = self.of.tables(groups.iter().map(|(enters, _)| *enters)).map(Rc::new);
        let Some(tables) = tables else { return Ok(false) };
        let maker = self.maker();
        let mut records = Records::new(tables.len());
        // Eight at a time, from as many groups as it takes: where every combination has its own entries, a group is one.
        let mut waiting = [Vec::with_capacity(EIGHT), Vec::with_capacity(EIGHT)];
        for (enters, places) in &groups {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled);
            }
            let (of, enters) = (self.of, *enters);
            let group = Rc::new(self.isa.dispatch(MakeGroup { of, enters, places, tables: &tables }));
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
        self.of.rules[self.of.rows[place] as usize].sizing
    }

    /// What makes records, where there are any.
    fn maker(&self) -> Option<Maker<'j>> {
        let (market, config) = (self.of.market, self.of.config);
        let of = DenseMarket::new(market, config).filter(|_| self.side == Some(Side::Long))?;
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
                    self.out[self.of.rows[*place] as usize] = stats;
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
                self.out[self.of.rows[place] as usize] = stats;
            }
        }
    }

    fn jumper(&self, group: &Group, place: usize) -> Jumper {
        let rules = self.of.rules[self.of.rows[place] as usize];
        Jumper::new(rules, group.columns_of(self.of, place), group.rules.len())
    }

    /// One to eight combinations, without records.
    #[inline(always)]
    fn simulate<L: Lanes>(&mut self, lanes: L, combinations: &[(Rc<Group>, usize)]) {
        if self.side.is_some() {
            self.simulate_sides::<L, false>(lanes, combinations);
        } else {
            self.simulate_sides::<L, true>(lanes, combinations);
        }
    }

    #[inline(always)]
    fn simulate_sides<L: Lanes, const BOTH: bool>(&mut self, lanes: L, combinations: &[(Rc<Group>, usize)]) {
        let of = self.of;
        let (delay, prices) = fills(of.market, of.config);
        let lane = |i: usize| &combinations[i.min(combinations.len() - 1)];
        let rows: [u32; EIGHT] = std::array::from_fn(|i| of.rows[lane(i).1]);
        let chain = |i: usize| {
            let (group, place) = lane(i);
            Chain {
                group: group.as_ref(),
                rules: of.rules[rows[i] as usize],
                columns: group.columns_of(of, *place),
                entry: if i < combinations.len() { 0 } else { group.decisions.len() },
                ambiguous_bars: 0,
                is_open: false,
            }
        };
        let deals = || Chains::<BOTH> { of, prices, delay, chains: std::array::from_fn(chain) };
        let sizing = rows.map(|row| of.rules[row as usize].sizing);
        let finished = |deals: &Chains<'_, '_, BOTH>, i: usize| deals.finished(i);
        let stats = measure_sides(lanes, (of.market, of.config), self.side, sizing, deals, finished);
        for (stats, &row) in stats.into_iter().zip(&rows[..combinations.len()]) {
            self.out[row as usize] = stats;
        }
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
