//! The events of many combinations over a few tiles, one after the other as they are found.

use std::ops::RangeInclusive;

use super::books::EIGHT;
use super::events::ROOM;
use super::tile::{Span, TILE, WORDS};

/// Events of a cluster that are kept at once; a cluster with more is cut in two.
const MAX_EVENTS: usize = 16 << 20;

/// Events of a page.
const PAGE: usize = 1 << 18;

/// Events of a combination for which it is worth while to load its accounts and store them again.
const WORTH_WHILE: usize = 64;

/// Events that are copied at once; a page ends with as many that are none.
const CHUNK: usize = 16;

/// Bars and what is decided there, per tile and combination.
#[derive(Debug)]
pub(super) struct EventPages {
    combinations: usize,
    pages: Vec<Vec<u32>>,
    /// The page that is written to, past the last one if there is none yet, and its elements that are taken.
    page: usize,
    used: usize,
    /// Per tile and combination where its events are: page, first, past the last.
    runs: Vec<[u32; 3]>,
    /// The tile that the runs begin with.
    first_tile: usize,
}

impl EventPages {
    pub(super) fn new(combinations: usize) -> EventPages {
        EventPages { combinations, pages: Vec::new(), page: 0, used: 0, runs: Vec::new(), first_tile: 0 }
    }

    /// Room for the events of one more tile.
    #[inline(always)]
    pub(super) fn room(&mut self) -> &mut [u32; ROOM] {
        if self.used + ROOM > PAGE {
            self.page += 1;
            self.used = 0;
        }
        if self.page >= self.pages.len() {
            self.pages.push(vec![0; PAGE + CHUNK]);
        }
        match self.pages.get_mut(self.page).and_then(|page| page[self.used..].first_chunk_mut()) {
            Some(room) => room,
            None => unreachable!("a page has just been made if there was no room in the last one"),
        }
    }

    /// Notes that `found` events of a combination have been written to the room.
    #[inline(always)]
    pub(super) fn note(&mut self, span: Span, place: usize, found: usize) {
        let run = (span.first_word / WORDS - self.first_tile) * self.combinations + place;
        if run >= self.runs.len() {
            self.runs.resize(run - place + self.combinations, [0; 3]);
        }
        let from = self.used;
        self.used += found;
        self.runs[run] = [self.page, from, self.used].map(|number| number as u32);
    }

    /// Tiles whose events are kept.
    pub(super) fn tiles(&self) -> usize {
        self.runs.len() / self.combinations.max(1)
    }

    /// Whether accounts should follow now: those tiles are as many as `tiles` begins with, and either have the events that are worth
    /// it or are as many as it ends with.
    pub(super) fn are_enough(&self, tiles: &RangeInclusive<usize>) -> bool {
        let events = self.page * PAGE + self.used;
        let is_worth_while = events >= WORTH_WHILE * self.combinations;
        self.tiles() >= if is_worth_while { *tiles.start() } else { *tiles.end() }
    }

    /// The first bar after those tiles.
    pub(super) fn end(&self) -> usize {
        (self.first_tile + self.tiles()) * TILE
    }

    /// Whether there are not too many.
    pub(super) fn fits(&self) -> bool {
        (self.page + 1) * PAGE <= MAX_EVENTS
    }

    /// Forgets all events.
    pub(super) fn clear(&mut self) {
        self.first_tile += self.tiles();
        self.runs.clear();
        (self.page, self.used) = (0, 0);
    }

    /// Writes the events of one combination, if there is one at this place, behind the first `len` of `out`; gives the number of
    /// all. As many as [`CHUNK`] are written past the last one.
    #[inline(always)]
    fn gather(&self, place: usize, out: &mut [u32], mut len: usize) -> usize {
        if place >= self.combinations {
            return len;
        }
        for &[page, from, to] in self.runs[place.min(self.runs.len())..].iter().step_by(self.combinations) {
            let (from, to) = (from as usize, to as usize);
            let chunks = self.pages[page as usize][from..].as_chunks::<CHUNK>().0;
            let room = out[len..].as_chunks_mut::<CHUNK>().0;
            for (out, chunk) in room.iter_mut().zip(chunks).take((to - from).div_ceil(CHUNK)) {
                *out = *chunk;
            }
            len += to - from;
        }
        len
    }
}

/// The events of eight combinations over a few tiles, in order.
pub(super) struct Gathered {
    events: [Vec<u32>; EIGHT],
    counts: [usize; EIGHT],
}

impl Gathered {
    /// Room for so many tiles.
    pub(super) fn new(tiles: usize) -> Gathered {
        let events = std::array::from_fn(|_| vec![0; 1 + tiles * TILE + CHUNK]);
        Gathered { events, counts: [0; EIGHT] }
    }

    /// Puts together the events of a group, behind those that opened positions which are not closed yet.
    #[inline(always)]
    pub(super) fn gather(&mut self, pages: &EventPages, group: usize, open: &[Option<u32>; EIGHT]) {
        for (lane, (events, count)) in self.events.iter_mut().zip(&mut self.counts).enumerate() {
            if let (Some(open), Some(first)) = (open[lane], events.first_mut()) {
                *first = open;
            }
            *count = pages.gather(group * EIGHT + lane, events, usize::from(open[lane].is_some()));
        }
    }

    /// Those of each lane.
    #[inline(always)]
    pub(super) fn of_lanes(&self) -> [&[u32]; EIGHT] {
        std::array::from_fn(|lane| &self.events[lane][..self.counts[lane]])
    }
}
