//! Strategies of one side that ask for entry and exit which of the same two series is larger, as crosses of averages do:
//! their positions follow from one comparison, without words of signals in between.
//!
//! Where every bar is defined and no two numbers are equal, such a strategy is in position exactly while the first series
//! is above the second, once it *has settled*: it may have begun, or come out of a gap, in the middle of a stretch that it
//! did not see begin. Such words, and those with a tie or an undefined bar, take the signals' definitions bit by bit. Where time
//! ends positions too, they are not those of the comparison, but the signals of the other words still are its changes.

use super::cluster::Cluster;
use super::compile::{Arg, Kind, TileProgram};
use super::events::{ROOM, position_changes, push_bits, push_marked};
use super::leaf::{Leaf, LeafTile};
use super::limits::Limit;
use super::tile::{Span, WORDS, decide};
use crate::program::Op;
use crate::simd::Lanes;

/// What is asked of the order of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    /// Larger now and not before.
    Crosses,
    /// Larger.
    Larger,
    /// Not smaller.
    NotSmaller,
}

/// A strategy whose entry is a test of `first` against `second`, and whose exit is one of `second` against `first`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ordered {
    /// Columns of the two series among the leaves.
    first: usize,
    second: usize,
    enter: Test,
    exit: Test,
}

/// A combination between two tiles.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Position {
    is_held: bool,
    /// How the last bar's numbers compare.
    last: Relation<bool>,
}

/// How two numbers compare.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Relation<B> {
    greater: B,
    equal: B,
    defined: B,
}

impl Relation<bool> {
    /// Whether one number is larger than the other.
    #[inline(always)]
    fn is_strict(self) -> bool {
        self.defined && !self.equal
    }
}

impl Position {
    /// Whether the position is that of the comparison, and goes on to be where nothing is undefined or equal.
    #[inline(always)]
    fn has_settled(&self) -> bool {
        let Relation { greater, equal, defined } = self.last;
        defined && if self.is_held { greater || equal } else { !greater }
    }
}

/// The two leaves that a signal tests, the one that is to be larger first.
fn test_of(tiles: &TileProgram, root: Option<Arg>) -> Option<([usize; 2], Test)> {
    let Some(Arg::Step(step)) = root else { return None };
    let step = &tiles.steps[step];
    let (is_mirrored, test) = match step.kind {
        Kind::Cross { above } => (!above, Test::Crosses),
        Kind::Compare(Op::Gt) => (false, Test::Larger),
        Kind::Compare(Op::Ge) => (false, Test::NotSmaller),
        Kind::Compare(Op::Lt) => (true, Test::Larger),
        Kind::Compare(Op::Le) => (true, Test::NotSmaller),
        _ => return None,
    };
    let &[Arg::Step(order)] = step.args.as_slice() else { return None };
    let &[Arg::Leaf(a), Arg::Leaf(b)] = tiles.steps[order].args.as_slice() else { return None };
    // What several combinations share is computed once for all of them.
    (!step.is_shared).then_some((if is_mirrored { [b, a] } else { [a, b] }, test))
}

impl Ordered {
    /// `None` if the strategy is another one.
    pub(super) fn of(cluster: &Cluster<'_>) -> Option<Ordered> {
        let tiles = cluster.tiles;
        let [long_enter, long_exit, short_enter, short_exit] = tiles.roots;
        let (enter, exit) = match (long_enter, short_enter) {
            (enter, None) => (enter, long_exit),
            (None, enter) => (enter, short_exit),
            _ => return None,
        };
        let ([first, second], enter) = test_of(tiles, enter)?;
        let (leaves, exit) = test_of(tiles, exit)?;
        let is_number = |leaf: &usize| {
            let place = cluster.bindings(0).leaves[*leaf] as usize;
            matches!(cluster.leaves[place], Leaf::Numbers(_))
        };
        let fits = leaves == [second, first] && leaves.iter().all(is_number);
        fits.then_some(Ordered { first, second, enter, exit })
    }

    /// The crosses of a strategy whose signals are nothing else: of the same two series upwards where a long position is entered
    /// and a short one left, downwards where a short one is entered and a long one left. `None` if the strategy is another one, or
    /// a position of its one side is left by no signal.
    pub(super) fn crosses(cluster: &Cluster<'_>) -> Option<Ordered> {
        let [long_enter, long_exit, short_enter, short_exit] = cluster.tiles.roots;
        let ups = [long_enter, short_exit.filter(|_| short_enter.is_some())];
        let downs = [short_enter, long_exit.filter(|_| long_enter.is_some())];
        let mut found = None;
        for (roots, is_down) in [(ups, false), (downs, true)] {
            if roots == [None; 2] {
                return None;
            }
            for root in roots.into_iter().filter(Option::is_some) {
                let ([mut first, mut second], test) = test_of(cluster.tiles, root)?;
                if is_down {
                    (first, second) = (second, first);
                }
                if test != Test::Crosses || *found.get_or_insert([first, second]) != [first, second] {
                    return None;
                }
            }
        }
        let [first, second] = found?;
        let ordered = Ordered { first, second, enter: Test::Crosses, exit: Test::Crosses };
        let is_number = |&leaf: &u32| matches!(cluster.leaves[leaf as usize], Leaf::Numbers(_));
        ordered.leaves(cluster, 0).iter().all(is_number).then_some(ordered)
    }

    /// The series of a combination.
    pub(super) fn leaves(&self, cluster: &Cluster<'_>, place: usize) -> [u32; 2] {
        let leaves = cluster.bindings(place).leaves;
        [leaves[self.first], leaves[self.second]]
    }

    /// Writes the bars of a tile that change a combination's position, and gives their number.
    #[inline(always)]
    pub(super) fn changes<L: Lanes>(
        &self,
        lanes: L,
        leaves: [LeafTile<'_>; 2],
        span: Span,
        position: &mut Position,
        out: &mut [u32; ROOM],
    ) -> usize {
        let mut greater = [0; WORDS];
        let mut careful = compare(lanes, leaves, span, &mut greater);
        let mut len = 0;
        let mut w = 0;
        if !position.has_settled() {
            careful |= 1;
        }
        while w < span.words {
            let base = (span.first_word + w) as u32 * 64;
            if careful >> w & 1 == 1 {
                let changes = self.step_carefully(lanes, leaves, span.first_word + w, position);
                len = push_bits::<0>(out, len, changes, base);
                w += 1;
                if !position.has_settled() && w < WORDS {
                    careful |= 1 << w;
                }
                continue;
            }
            let end = (w + (careful >> w).trailing_zeros() as usize).min(span.words);
            let mut held = u64::from(position.is_held);
            let mut base = base;
            for &greater in &greater[w..end] {
                len = push_bits::<0>(out, len, greater ^ (greater << 1 | held), base);
                held = greater >> 63;
                base += 64;
            }
            let is_held = held == 1;
            *position =
                Position { is_held, last: Relation { greater: is_held, equal: false, defined: true } };
            w = end;
        }
        len
    }

    /// Writes the bars of a tile that change a combination's position where something else than signals ends it too, so that it is
    /// not that of the comparison, and gives their number.
    #[inline(always)]
    pub(super) fn limited_changes<L: Lanes, T: Limit>(
        &self,
        lanes: L,
        leaves: [LeafTile<'_>; 2],
        span: Span,
        (position, limit): (&mut Position, &mut T),
        out: &mut [u32; ROOM],
    ) -> usize {
        let mut greater = [0; WORDS];
        let careful = compare(lanes, leaves, span, &mut greater);
        let (mut last, mut held, mut until) = (position.last, u64::from(position.is_held), *limit);
        let [enter_anywhere, exit_anywhere] =
            [self.enter, self.exit].map(|test| if test == Test::Crosses { 0 } else { u64::MAX });
        let mut len = 0;
        for (w, &larger) in greater.iter().enumerate().take(span.words) {
            let base = (span.first_word + w) as u32 * 64;
            let (enter, exit);
            if careful >> w & 1 == 1 || !last.is_strict() {
                (enter, exit) = self.signals(lanes, leaves, span.first_word + w, &mut last);
            } else {
                // Neither undefined nor equal, here nor in the bar before.
                let was_larger = larger << 1 | u64::from(last.greater);
                enter = larger & (!was_larger | enter_anywhere);
                exit = !larger & (was_larger | exit_anywhere);
                last.greater = larger >> 63 == 1;
            }
            let changes;
            (changes, held) = until.changes(enter, exit, held, base);
            len = push_bits::<0>(out, len, changes, base);
        }
        *position = Position { is_held: held == 1, last };
        *limit = until;
        len
    }

    /// Writes the bars of a tile with a signal, each behind a bit that says whether it is that of entry, and gives their number.
    /// `last` is how the numbers of the bar before compare.
    #[inline(always)]
    pub(super) fn crossings<L: Lanes>(
        &self,
        lanes: L,
        leaves: [LeafTile<'_>; 2],
        span: Span,
        last: &mut Relation<bool>,
        out: &mut [u32; ROOM],
    ) -> usize {
        let mut greater = [0; WORDS];
        let careful = compare(lanes, leaves, span, &mut greater);
        let (mut before, mut len) = (*last, 0);
        for (w, &larger) in greater.iter().enumerate().take(span.words) {
            let (mut crossed, mut up) = (larger ^ (larger << 1 | u64::from(before.greater)), larger);
            if careful >> w & 1 == 1 || !before.is_strict() {
                let exit;
                (up, exit) = self.signals(lanes, leaves, span.first_word + w, &mut before);
                crossed = up | exit;
            } else {
                before.greater = larger >> 63 == 1;
            }
            len = push_marked(out, len, crossed, up, (span.first_word + w) as u32 * 64);
        }
        *last = before;
        len
    }

    /// A word by the definitions of the signals.
    #[inline(always)]
    fn step_carefully<L: Lanes>(
        &self,
        lanes: L,
        leaves: [LeafTile<'_>; 2],
        word: usize,
        position: &mut Position,
    ) -> u64 {
        let mut last = position.last;
        let (enter, exit) = self.signals(lanes, leaves, word, &mut last);
        let (changes, held) = position_changes(enter, exit, u64::from(position.is_held));
        *position = Position { is_held: held == 1, last };
        changes
    }

    /// The signals of a word by their definitions: entry, exit. `last` is how the numbers of the bar before compare.
    #[inline(always)]
    fn signals<L: Lanes>(
        &self,
        lanes: L,
        [a, b]: [LeafTile<'_>; 2],
        word: usize,
        last: &mut Relation<bool>,
    ) -> (u64, u64) {
        let (a, b) = (a.block(word), b.block(word));
        let (greater, equal) = (lanes.lt(b, a), lanes.eq(a, b));
        let defined = lanes.eq(a, a) & lanes.eq(b, b);
        let was_defined = defined << 1 | u64::from(last.defined);
        let was_greater = greater << 1 | u64::from(last.greater);
        let was_less = was_defined & !(was_greater | equal << 1 | u64::from(last.equal));
        let fires = |test: Test, larger: u64, was_larger: u64| match test {
            Test::Crosses => larger & was_defined & !was_larger,
            Test::Larger => larger,
            Test::NotSmaller => larger | equal,
        };
        let enter = fires(self.enter, greater, was_greater);
        let exit = fires(self.exit, defined & !(greater | equal), was_less);
        let bit = |word: u64| word >> 63 == 1;
        *last = Relation { greater: bit(greater), equal: bit(equal), defined: bit(defined) };
        (enter, exit)
    }
}

/// Where the first series is above the second. Gives a bit per word: set where a bar is undefined or two numbers are equal.
#[inline(always)]
fn compare<L: Lanes>(lanes: L, [a, b]: [LeafTile<'_>; 2], span: Span, greater: &mut [u64; WORDS]) -> u64 {
    let Span { first_word, words, .. } = span;
    let mut careful = a.sparse | b.sparse;
    let blocks = words.div_ceil(8);
    let (Some(a_codes), Some(b_codes)) = (a.codes.get(..blocks), b.codes.get(..blocks)) else {
        for (w, greater) in greater.iter_mut().enumerate().take(words) {
            let (a, b) = (a.block(first_word + w), b.block(first_word + w));
            *greater = lanes.lt(b, a);
            careful |= u64::from(lanes.eq(a, b) != 0) << w;
        }
        return careful;
    };
    let of_tile = if words < WORDS { (1 << words) - 1 } else { u64::MAX };
    let out = greater.as_chunks_mut().0;
    let mut tied = lanes.above(a_codes, b_codes, out) & of_tile & !careful;
    while tied != 0 {
        let w = tied.trailing_zeros() as usize;
        tied &= tied - 1;
        let (larger, same) = lanes.order(&a_codes[w / 8][w % 8], &b_codes[w / 8][w % 8]);
        if same != 0 {
            let (larger, equal) = decide(a.block(first_word + w), b.block(first_word + w), larger, same);
            greater[w] = larger;
            careful |= u64::from(equal != 0) << w;
        }
    }
    careful
}
