//! Strategies with levels, time exits or cooldowns: every combination jumps from entry to exit to entry over tables of first
//! passages ([`super::passage`]) that it shares with all others of its cluster.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use super::block::{Stop, fills, measure_sides};
use super::books::EIGHT;
use super::chains::{Chain, Chains};
use super::deals::Memo;
use super::dense::{DenseAccounts, DenseMarket, Record};
use super::groups::{Group, GroupMarket, MakeGroup};
use super::jumper::Jumper;
use super::passage::Key;
use super::records::{Maker, Records, SharedAccounts};
use super::rules::Sizing;
use super::sampled::{SampledAccounts, SampledMarket};
use super::signals::check;
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
    pub(super) memo: Memo,
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
        let tables = self.of.tables(groups.iter().map(|(enters, _)| *enters), self.cancel)?.map(Rc::new);
        let Some(tables) = tables else { return Ok(false) };
        let (market, config, most) = (self.of.market, self.of.config, tables.len());
        let mut dense = DenseMarket::new(market, config)
            .and_then(|of| self.maker(of))
            .map(|maker| (maker, Records::new(most, <DenseAccounts<'_, L> as SharedAccounts<'_, L>>::NONE)));
        let mut sampled = SampledMarket::new(market, config).and_then(|of| self.maker(of)).map(|maker| {
            (maker, Records::new(most, <SampledAccounts<'_, L> as SharedAccounts<'_, L>>::NONE))
        });
        // Eight at a time, from as many groups as it takes: where every combination has its own entries, a group is one.
        let mut waiting = [Vec::with_capacity(EIGHT), Vec::with_capacity(EIGHT)];
        for (enters, places) in &groups {
            check(self.cancel)?;
            let has_records = dense.is_some() || sampled.is_some();
            let is_all_in = |place: &usize| has_records && self.sizing(*place) == Sizing::Equity(1.0);
            let (all_in, others): (Vec<usize>, Vec<usize>) = places.iter().copied().partition(is_all_in);
            // Lanes that are left over cost less than trades that are made for one combination alone.
            let (shared, alone) = all_in.split_at(if all_in.len() < EIGHT { 0 } else { all_in.len() });
            let (of, enters, is_shared) = (self.of, *enters, !shared.is_empty());
            let group =
                Rc::new(self.isa.dispatch(MakeGroup { of, enters, places, is_shared, tables: &tables }));
            for (chunk, places) in shared.chunks(OCTETS * EIGHT).enumerate() {
                // A new group has no places that would have to be made anew.
                if chunk > 0 {
                    group.forget();
                }
                if let Some(shared) = &mut dense {
                    self.share::<L, DenseAccounts<'_, L>>(lanes, shared, &group, places)?;
                } else if let Some(shared) = &mut sampled {
                    self.share::<L, SampledAccounts<'_, L>>(lanes, shared, &group, places)?;
                }
            }
            let wait = |place: &usize| (Rc::clone(&group), *place);
            let [with_records, without] = &mut waiting;
            for combination in alone.iter().map(wait) {
                if let Some(dense) = &mut dense {
                    with_records.push(combination);
                    self.flush(lanes, Some(dense), with_records, EIGHT);
                } else {
                    without.push(combination);
                    self.flush(lanes, None, without, EIGHT);
                }
            }
            for combination in others.iter().map(wait) {
                without.push(combination);
                self.flush(lanes, None, without, EIGHT);
            }
        }
        let [mut with_records, mut without] = waiting;
        if let Some(dense) = &mut dense {
            self.flush(lanes, Some(dense), &mut with_records, 1);
        }
        self.flush(lanes, None, &mut without, 1);
        Ok(true)
    }
}

/// Accounts, eight each, that go through a group's entries together: a few kilobytes each.
const OCTETS: usize = 64;

impl<'j> Jumps<'j, '_> {
    fn sizing(&self, place: usize) -> Sizing {
        self.of.rules[self.of.rows[place] as usize].sizing
    }

    /// What makes records, where all positions are long.
    fn maker<M: Copy>(&self, of: M) -> Option<Maker<'j, M>> {
        let (market, config) = (self.of.market, self.of.config);
        let (delay, prices) = fills(market, config);
        let last = (2 * prices.len()).checked_sub(1 + delay)? as Key;
        let maker =
            Maker { of, market, config, isa: self.isa, view: market.long.as_ref(), delay, prices, last };
        Some(maker).filter(|_| self.side == Some(Side::Long))
    }

    /// Makes the trades of these combinations if there are `least` of them.
    #[inline(always)]
    fn flush<L: Lanes>(
        &mut self,
        lanes: L,
        dense: Option<&mut (Maker<'j, DenseMarket<'j>>, Records<Record>)>,
        waiting: &mut Vec<(Rc<Group>, usize)>,
        least: usize,
    ) {
        if waiting.len() < least {
            return;
        }
        match dense {
            None => self.simulate(lanes, waiting),
            Some((maker, records)) => {
                let lane = |i: usize| &waiting[i.min(waiting.len() - 1)];
                let mut jumpers: [Jumper<'_>; EIGHT] =
                    std::array::from_fn(|i| self.jumper(&lane(i).0, lane(i).1));
                for jumper in &mut jumpers[waiting.len()..] {
                    jumper.skip_all();
                }
                let mut accounts = DenseAccounts::of(lanes, maker.of);
                maker.jump::<L, _, false>(&mut accounts, &mut jumpers, usize::MAX, records);
                let stats = accounts.finish(|i| jumpers[i].end(maker.delay, maker.prices));
                for (stats, (_, place)) in stats.into_iter().zip(waiting.iter()) {
                    self.out[self.of.rows[*place] as usize] = stats;
                }
            }
        }
        waiting.clear();
    }

    /// Eight by eight the combinations of a group, which share their trades.
    #[inline(always)]
    fn share<L: Lanes, A: SharedAccounts<'j, L>>(
        &mut self,
        lanes: L,
        (maker, records): &mut (Maker<'j, A::Market>, Records<A::Record>),
        group: &Group,
        places: &[usize],
    ) -> Result<(), Stop> {
        let octets = places.chunks(EIGHT);
        let mut states: Vec<(A, [Jumper<'_>; EIGHT])> = Vec::with_capacity(octets.len());
        for octet in octets.clone() {
            let mut jumpers: [Jumper<'_>; EIGHT] =
                std::array::from_fn(|i| self.jumper(group, octet[i.min(octet.len() - 1)]));
            for jumper in &mut jumpers[octet.len()..] {
                jumper.skip_all();
            }
            states.push((A::new(lanes, maker.of), jumpers));
        }
        maker.share::<L, A>(lanes, &mut states, (group, records), self.cancel)?;
        for ((accounts, jumpers), octet) in states.iter().zip(octets) {
            let stats = accounts.finish(|i| jumpers[i].end(maker.delay, maker.prices));
            for (stats, &place) in stats.into_iter().zip(octet) {
                self.out[self.of.rows[place] as usize] = stats;
            }
        }
        Ok(())
    }

    fn jumper<'g>(&self, group: &'g Group, place: usize) -> Jumper<'g> {
        let rules = self.of.rules[self.of.rows[place] as usize];
        Jumper::new(group, rules, group.columns_of(self.of, place))
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
            let rules = of.rules[rows[i] as usize];
            let mut chain = Chain::new(group.as_ref(), rules, group.columns_of(of, *place));
            if i >= combinations.len() {
                chain.skip_all();
            }
            chain
        };
        let deals = || Chains::<BOTH> { of, prices, delay, chains: std::array::from_fn(chain) };
        let sizing = rows.map(|row| of.rules[row as usize].sizing);
        let open = |deals: &Chains<'_, '_, BOTH>, i: usize| deals.open(i);
        let market = (of.market, of.config);
        let stats = measure_sides(lanes, market, self.side, sizing, (deals, &mut self.memo), open);
        for (stats, &row) in stats.into_iter().zip(&rows[..combinations.len()]) {
            self.out[row as usize] = stats;
        }
    }
}
