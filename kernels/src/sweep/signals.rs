//! The walk of a cluster over its tiles: what every combination's signals are on each, handed to whoever asked.

use std::sync::atomic::{AtomicBool, Ordering};

use super::block::Stop;
use super::cluster::Cluster;
use super::codes::Coding;
use super::compile::Arg;
use super::events::{self, ROOM, SignalWords};
use super::tile::{Carry, Source, Span, TILE, TileRoom, View};
use crate::simd::{Kernel, Lanes};

/// Events of a cluster that are kept at once; a cluster with more is cut in two.
const MAX_EVENTS: usize = 16 << 20;

/// Takes the signals of one combination on one tile; tiles in order, and on each the combinations in order.
pub(super) trait TileSink {
    fn take(&mut self, view: &View<'_>, place: usize);
    /// Whether what has been taken so far fits; if not, the walk ends.
    fn fits(&self) -> bool;
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
        for first_bar in (0..bars).step_by(TILE) {
            if cancel.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled);
            }
            let span = Span::new(first_bar, bars);
            Coding { leaves: &mut cluster.leaves, coded: &cluster.coded, span }.encode();
            let every_bar = span.every_bar();
            let source = Source { program: tiles, leaves: &cluster.leaves, span, every_bar: &every_bar };
            for (instance, &(step, place)) in cluster.shared.iter().enumerate() {
                let bindings = cluster.bindings(place as usize);
                let carry = &mut shared_carry[instance];
                room.compute_shared(lanes, source, (step, instance), bindings, carry);
            }
            for place in 0..cluster.rows.len() {
                let bindings = cluster.bindings(place);
                let carries = &mut private_carry[place * tiles.private.len()..][..tiles.private.len()];
                for (index, carry) in carries.iter_mut().enumerate() {
                    room.compute_private(lanes, source, index, bindings, carry);
                }
                sink.take(&room.view(source, bindings), place);
            }
            if !sink.fits() && cluster.rows.len() > 1 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The events of strategies whose positions end by signals alone.
#[derive(Debug)]
pub(super) struct Events {
    roots: [Option<Arg>; 4],
    /// Per combination 0 flat, 1 long (or the one side), 2 short.
    held: Vec<u8>,
    bars: Vec<u32>,
    used: usize,
    /// Where the events of each (tile, combination) begin.
    starts: Vec<u32>,
}

impl Events {
    pub(super) fn new(cluster: &Cluster<'_>) -> Events {
        Events {
            roots: cluster.tiles.roots,
            held: vec![0; cluster.rows.len()],
            bars: Vec::new(),
            used: 0,
            starts: Vec::new(),
        }
    }

    /// Room for the events of one more tile.
    #[inline(always)]
    fn room(&mut self) -> &mut [u32; ROOM] {
        if self.bars.len() < self.used + ROOM {
            self.bars.resize((2 * self.bars.len()).max(64 * ROOM), 0);
        }
        let (_, free) = self.bars.split_at_mut(self.used);
        match free.first_chunk_mut() {
            Some(room) => room,
            None => unreachable!("the vector has just been made long enough"),
        }
    }

    /// Puts the events of one combination together.
    #[inline(always)]
    pub(super) fn gather(&self, place: usize, combinations: usize, out: &mut Vec<u32>) {
        out.clear();
        let mut tile = place;
        while let Some(&from) = self.starts.get(tile) {
            let to = self.starts.get(tile + 1).map_or(self.used, |&to| to as usize);
            out.extend_from_slice(&self.bars[from as usize..to]);
            tile += combinations;
        }
    }
}

impl TileSink for Events {
    #[inline(always)]
    fn take(&mut self, view: &View<'_>, place: usize) {
        self.starts.push(self.used as u32);
        let roots = self.roots;
        let mut held = self.held[place];
        self.used += extract(view, &roots, &mut held, self.room());
        self.held[place] = held;
    }

    fn fits(&self) -> bool {
        self.used <= MAX_EVENTS
    }
}

#[inline(always)]
fn extract(view: &View<'_>, roots: &[Option<Arg>; 4], held: &mut u8, events: &mut [u32; ROOM]) -> usize {
    let first_bar = view.span.first_word as u32 * 64;
    let [long_enter, long_exit, short_enter, short_exit] = *roots;
    match (long_enter, short_enter) {
        (Some(_), Some(_)) => {
            let words = SignalWords {
                long_enter: view.signal(long_enter),
                long_exit: view.signal(long_exit),
                short_enter: view.signal(short_enter),
                short_exit: view.signal(short_exit),
            };
            events::decisions(words, first_bar, held, events)
        }
        (enter, None) => toggle(view.signal(enter), view.signal(long_exit), first_bar, held, events),
        (None, enter) => toggle(view.signal(enter), view.signal(short_exit), first_bar, held, events),
    }
}

#[inline(always)]
fn toggle(enter: &[u64], exit: &[u64], first_bar: u32, held: &mut u8, events: &mut [u32; ROOM]) -> usize {
    let mut is_held = *held == 1;
    let found = events::toggles(enter, exit, first_bar, &mut is_held, events);
    *held = u8::from(is_held);
    found
}
