//! The walk of a cluster over its tiles: what every combination's signals are on each, handed to whoever asked.

use std::sync::atomic::{AtomicBool, Ordering};

use super::block::Stop;
use super::cluster::Cluster;
use super::compile::Arg;
use super::events::{self, ROOM, SignalWords};
use super::leaf::{Leaf, LeafTile};
use super::limits::Limit;
use super::ordered::{Ordered, Position};
use super::pages::EventPages;
use super::rules::Rules;
use super::tile::{Carry, Source, Span, TILE, TileRoom, View};
use crate::simd::{Kernel, Lanes};

/// Takes the signals of one combination on one tile; tiles in order, and on each the combinations in order.
pub(super) trait TileSink {
    fn take(&mut self, view: &View<'_>, place: usize);
    /// The combinations whose signals are asked for, ascending, of so many; `take` is not called for others.
    fn places(&self, combinations: usize) -> Vec<usize> {
        (0..combinations).collect()
    }
    /// Whether what has been taken so far fits; if not, the walk ends.
    fn fits(&self) -> bool;
    /// Whether positions of one comparison are all that is wanted; then they come through `take_ordered`, in any order.
    fn ordered(&self) -> Option<Ordered> {
        None
    }
    /// Takes the positions of one combination on one tile.
    fn take_ordered<L: Lanes>(&mut self, _lanes: L, _leaves: [LeafTile<'_>; 2], _span: Span, _place: usize) {}
    /// Every combination of a tile, or of the last one, has been taken.
    fn end_tile(&mut self, _is_last: bool, _cancel: &AtomicBool) -> Result<(), Stop> {
        Ok(())
    }
}

/// A combination of an ordered strategy, and its two series.
struct Visit {
    place: usize,
    leaves: [u32; 2],
}

/// Visits between two looks at the cancel flag: some microseconds.
const VISITS: usize = 64;

/// Stops where somebody has cancelled.
#[inline(always)]
pub(super) fn check(cancel: &AtomicBool) -> Result<(), Stop> {
    if cancel.load(Ordering::Relaxed) { Err(Stop::Cancelled) } else { Ok(()) }
}

/// Series whose codes of a tile stay in the first-level cache together.
const NEAR: u32 = 4;

/// The combinations in an order in which they find each other's series in the cache.
fn visits(ordered: Ordered, cluster: &Cluster<'_>) -> Vec<Visit> {
    let visit = |place| Visit { place, leaves: ordered.leaves(cluster, place) };
    let mut visits: Vec<Visit> = (0..cluster.rows.len()).map(visit).collect();
    visits.sort_by_key(|Visit { leaves: [a, b], .. }| (b / NEAR, *a, *b));
    visits
}

/// Walks a cluster; gives whether it fitted.
pub(super) struct Walk<'k, 'b, S> {
    pub(super) cluster: &'k mut Cluster<'b>,
    pub(super) bars: usize,
    pub(super) cancel: &'k AtomicBool,
    pub(super) sink: &'k mut S,
}

impl<S: TileSink> Kernel for Walk<'_, '_, S> {
    type Output = Result<bool, Stop>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Result<bool, Stop> {
        let Walk { cluster, bars, cancel, sink } = self;
        let tiles = cluster.tiles;
        let steps: Vec<usize> = cluster.shared.iter().map(|(step, _)| *step).collect();
        let mut room = TileRoom::new(tiles, &steps);
        let mut shared_carry = vec![Carry::default(); cluster.shared.len()];
        let mut private_carry = vec![Carry::default(); cluster.rows.len() * tiles.private.len()];
        let places = sink.places(cluster.rows.len());
        let ordered = sink.ordered();
        let visits = ordered.map(|ordered| visits(ordered, cluster)).unwrap_or_default();
        for first_bar in (0..bars).step_by(TILE) {
            check(cancel)?;
            let span = Span::new(first_bar, bars);
            cluster.begin_tile(span);
            if ordered.is_some() {
                let leaves: Vec<Option<LeafTile<'_>>> = cluster.leaves.iter().map(Leaf::tile).collect();
                for visits in visits.chunks(VISITS) {
                    check(cancel)?;
                    for visit in visits {
                        let [a, b] = visit.leaves.map(|leaf| leaves[leaf as usize]);
                        if let (Some(a), Some(b)) = (a, b) {
                            sink.take_ordered(lanes, [a, b], span, visit.place);
                        }
                    }
                }
            }
            if ordered.is_none() {
                let every_bar = span.every_bar();
                let source = Source { program: tiles, leaves: &cluster.leaves, span, every_bar: &every_bar };
                for (instance, &(step, place)) in cluster.shared.iter().enumerate() {
                    check(cancel)?;
                    let bindings = cluster.bindings(place as usize);
                    let carry = &mut shared_carry[instance];
                    room.compute_shared(lanes, source, (step, instance), bindings, carry);
                }
                for &place in &places {
                    check(cancel)?;
                    let bindings = cluster.bindings(place);
                    let carries = &mut private_carry[place * tiles.private.len()..][..tiles.private.len()];
                    for (index, carry) in carries.iter_mut().enumerate() {
                        room.compute_private(lanes, source, index, bindings, carry);
                    }
                    sink.take(&room.view(source, bindings), place);
                }
            }
            if !sink.fits() && cluster.rows.len() > 1 {
                return Ok(false);
            }
            sink.end_tile(first_bar + TILE >= bars, cancel)?;
        }
        Ok(true)
    }
}

/// The events of strategies whose positions no level ends.
#[derive(Debug)]
pub(super) struct Events<T> {
    roots: [Option<Arg>; 4],
    ordered: Option<Ordered>,
    /// Per combination 0 flat, 1 long (or the one side), 2 short.
    held: Vec<u8>,
    /// The same for ordered strategies.
    positions: Vec<Position>,
    /// Per combination what ends its positions beside signals.
    limits: Vec<T>,
    pub(super) pages: EventPages,
}

impl<T: Limit> Events<T> {
    pub(super) fn new(cluster: &Cluster<'_>, rules: &[Rules]) -> Events<T> {
        let combinations = cluster.rows.len();
        Events {
            roots: cluster.tiles.roots,
            ordered: Ordered::of(cluster),
            held: vec![0; combinations],
            positions: vec![Position::default(); combinations],
            limits: cluster.rows.iter().map(|&row| T::of(&rules[row as usize])).collect(),
            pages: EventPages::new(combinations),
        }
    }
}

impl<T: Limit> TileSink for Events<T> {
    #[inline(always)]
    fn take(&mut self, view: &View<'_>, place: usize) {
        let roots = self.roots;
        let (mut held, mut limit) = (self.held[place], self.limits[place]);
        let found = extract(view, &roots, (&mut held, &mut limit), self.pages.room());
        self.pages.note(view.span, place, found);
        (self.held[place], self.limits[place]) = (held, limit);
    }

    fn fits(&self) -> bool {
        self.pages.fits()
    }

    fn ordered(&self) -> Option<Ordered> {
        self.ordered
    }

    #[inline(always)]
    fn take_ordered<L: Lanes>(&mut self, lanes: L, leaves: [LeafTile<'_>; 2], span: Span, place: usize) {
        let Some(ordered) = self.ordered else { return };
        let (mut position, mut limit) = (self.positions[place], self.limits[place]);
        let found = if T::IS_NONE {
            ordered.changes(lanes, leaves, span, &mut position, self.pages.room())
        } else {
            ordered.limited_changes(lanes, leaves, span, (&mut position, &mut limit), self.pages.room())
        };
        self.pages.note(span, place, found);
        (self.positions[place], self.limits[place]) = (position, limit);
    }
}

#[inline(always)]
fn extract<T: Limit>(
    view: &View<'_>,
    roots: &[Option<Arg>; 4],
    (held, limit): (&mut u8, &mut T),
    events: &mut [u32; ROOM],
) -> usize {
    let first_bar = view.span.first_word as u32 * 64;
    let [long_enter, long_exit, short_enter, short_exit] = *roots;
    let (enter, exit) = match (long_enter, short_enter) {
        (Some(_), Some(_)) => {
            let words = SignalWords {
                long_enter: view.signal(long_enter),
                long_exit: view.signal(long_exit),
                short_enter: view.signal(short_enter),
                short_exit: view.signal(short_exit),
            };
            return events::decisions(words, first_bar, (held, limit), events);
        }
        (enter, None) => (enter, long_exit),
        (None, enter) => (enter, short_exit),
    };
    let mut is_held = *held == 1;
    let found =
        events::toggles(view.signal(enter), view.signal(exit), first_bar, (&mut is_held, limit), events);
    *held = u8::from(is_held);
    found
}
