//! Records of exits by signal, for all entries of a block at once: combinations are many enough there to need most of them. One
//! thing after the other for all entries, so that what each loads from memory is on its way at the same time.

use std::hint::black_box;
use std::marker::PhantomData;
use std::ops::Range;

use super::extremes::Extremes;
use super::groups::{Group, key_of};
use super::market::Market;
use super::passage::ExitRule;
use super::records::{Maker, Records, SharedAccounts};
use crate::simd::{Kernel, Lanes};

/// Entries of a block, and the exits of as many of them as have one.
struct Positions<'m> {
    market: &'m Market<'m>,
    /// Bars of the fills of entries.
    enters: Vec<u32>,
    /// Closes from one of them to the next.
    between: Vec<Extremes>,
    /// Bars at whose closes the exits are decided.
    exits: Vec<u32>,
    /// Bars of the fills of the last entry with each exit.
    last: Vec<[u32; 2]>,
    /// Closes with the positions of the latter.
    answers: Vec<Extremes>,
    /// Closes with all positions, the last entry first.
    held: Vec<Extremes>,
}

impl<'m> Positions<'m> {
    #[inline(always)]
    fn new<L: Lanes>(lanes: L, market: &'m Market<'m>, enters: impl Iterator<Item = u32>) -> Positions<'m> {
        let enters: Vec<u32> = enters.collect();
        let pairs: Vec<[u32; 2]> = enters.iter().zip(enters.iter().skip(1)).map(|(&a, &b)| [a, b]).collect();
        let mut between = Vec::with_capacity(pairs.len());
        market.coarse.of_ranges(lanes, &market.bars.close, &pairs, &mut between);
        let (exits, last, answers, held) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Positions { market, enters, between, exits, last, answers, held }
    }

    /// Finds the closes with the positions, by the bars from decision to fill: one that is left where that of the next entry is left
    /// has those up to the next entry and those of that one.
    #[inline(always)]
    fn hold<L: Lanes>(&mut self, lanes: L, delay: u32) {
        let Positions { market, enters, between, exits, last, answers, held } = self;
        let next = |i: usize| exits.get(i + 1).copied().unwrap_or(u32::MAX);
        last.clear();
        last.resize(exits.len() + 1, [0; 2]);
        let mut count = 0;
        for (i, (&exit, &enter)) in exits.iter().zip(&*enters).enumerate() {
            // Whether it is one follows no pattern: no branch may ask for it.
            last[count] = [enter, exit + delay];
            count += usize::from(next(i) != exit);
        }
        last.truncate(count);
        answers.clear();
        market.coarse.of_ranges(lanes, &market.bars.close, last, answers);
        held.clear();
        let mut range = Extremes::NONE;
        for (i, &exit) in exits.iter().enumerate().rev() {
            let is_last = next(i) != exit;
            count -= usize::from(is_last);
            let start = if is_last { &answers[count] } else { &between[i] };
            let after = if is_last { Extremes::NONE } else { range };
            range = start.join(after);
            held.push(range);
        }
    }
}

/// Makes the records of exits by signal from some entries. A kernel of its own: within the loops around it its numbers would find no
/// register free.
pub(super) struct MakeSignals<'s, 'm, L: Lanes, A: SharedAccounts<'m, L>> {
    pub(super) maker: &'s Maker<'m, A::Market>,
    pub(super) group: &'s Group,
    pub(super) entries: Range<usize>,
    pub(super) records: &'s mut Records<A::Record>,
    pub(super) accounts: PhantomData<(L, A)>,
}

impl<'m, L: Lanes, A: SharedAccounts<'m, L>> Kernel for MakeSignals<'_, 'm, L, A> {
    type Output = ();

    #[inline(always)]
    fn run<Own: Lanes>(self, lanes: Own) {
        let MakeSignals { maker, group, entries, records, .. } = self;
        let delay = maker.delay as u32;
        let enters = group.decisions[entries.clone()].iter().map(|&decided| decided + delay);
        let mut positions = Positions::new(lanes, maker.market, enters);
        let is_signal = |(_, rule): &(usize, &ExitRule)| matches!(rule, ExitRule::Signal(_));
        for (column, _) in group.rules.iter().enumerate().filter(is_signal) {
            let keys = group.passages(column)[entries.clone()].iter().map(|&passage| key_of(passage));
            positions.exits.clear();
            // A later entry has no earlier exit.
            positions.exits.extend(keys.take_while(|key| *key <= maker.last).map(|key| key / 2));
            positions.hold(lanes, delay);
            // The loop below keeps no more than five trades on their way from memory, this one four times as many.
            let mut touched = 0;
            for fills in &positions.last {
                touched ^= A::touch(maker.of, *fills);
            }
            black_box(touched);
            let Positions { enters, exits, held, .. } = &positions;
            let trades = enters.iter().zip(exits).zip(held.iter().rev());
            for (((&enter, &exit), &range), place) in trades.zip(&group.places(column)[entries.clone()]) {
                let trade = maker.decided(enter as usize, exit as usize, range);
                if let Some(kept) = records.keep(A::record(maker.of, &trade), false) {
                    place.set(kept);
                }
            }
        }
    }
}
