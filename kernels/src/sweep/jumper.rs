//! Where a combination is in the entries of its group: from an entry it jumps over the first of its passages to the next.

use std::cell::Cell;
use std::ops::Range;

use super::groups::{Group, after, key_of};
use super::links::LINKED;
use super::passage::Key;
use super::rules::Rules;

/// Where a combination is in its group's entries.
#[derive(Clone)]
pub(super) struct Jumper<'g> {
    pub(super) group: &'g Group,
    pub(super) rules: Rules,
    /// Columns of stop, target, trailing stop, time exit and signal.
    pub(super) all: [usize; 5],
    /// Passages and places of those that are there; then of one that is never met.
    passages: [&'g [u64]; 5],
    places: [&'g [Cell<u32>]; 5],
    kinds: usize,
    /// The next entry.
    entry: usize,
    /// The entry of the position that stays open: nothing comes after it.
    open: Option<usize>,
    /// The entry of the last trade.
    last: Option<usize>,
}

/// Entries by their own numbers, in memory: a loop that counts them would not become vector instructions.
const OWN: [u64; LINKED] = {
    let mut own = [0; LINKED];
    let mut at = 0;
    while at < LINKED {
        own[at] = at as u64;
        at += 1;
    }
    own
};

/// Entries of which at most one may meet two levels within a bar, for these to be looked at one by one.
const RARE: usize = 16;

/// Passages that are looked at whether they are there or not: most strategies have no more.
pub(super) const USUAL: usize = 3;

impl<'g> Jumper<'g> {
    /// `columns` of stop, target, trailing stop, time exit and signal, of which those equal to the group's last are not there.
    pub(super) fn new(group: &'g Group, rules: Rules, columns: [usize; 5]) -> Jumper<'g> {
        let none = group.rules.len();
        let mut jumper = Jumper {
            group,
            rules,
            all: columns,
            passages: [group.passages(none); 5],
            places: [group.places(none); 5],
            kinds: 0,
            entry: 0,
            open: None,
            last: None,
        };
        for column in columns.into_iter().filter(|column| *column != none) {
            jumper.passages[jumper.kinds] = group.passages(column);
            jumper.places[jumper.kinds] = group.places(column);
            jumper.kinds += 1;
        }
        jumper
    }

    /// Makes no trade.
    pub(super) fn skip_all(&mut self) {
        self.entry = usize::MAX;
    }

    /// The next exit that is met by `last` from an entry before `until`; the jumper goes on to the entry after it.
    #[inline(always)]
    pub(super) fn jump(&mut self, until: usize, last: Key, delay: usize) -> Option<Jump> {
        let entry = self.entry;
        let [a, b, c, ..] = self.passages;
        let (&a, &b, &c) = (a.get(entry)?, b.get(entry)?, c.get(entry)?);
        if entry >= until {
            return None;
        }
        // Which of them is first follows no pattern: no branch may ask for it.
        let mut first = a.min(b).min(c);
        let mut met = usize::from(a == first) + usize::from(b == first) + usize::from(c == first);
        let mut at = usize::from(a != first) + usize::from((a != first) & (b != first));
        for kind in USUAL..self.kinds {
            let passage = self.passages[kind][entry];
            met = usize::from(passage == first) + if passage < first { 1 } else { met };
            at = if passage < first { kind } else { at };
            first = first.min(passage);
        }
        let key = key_of(first);
        if key > last {
            self.open = Some(entry);
            self.entry = usize::MAX;
            return None;
        }
        self.last = Some(entry);
        self.entry = if self.group.has_next {
            first as u32 as usize
        } else {
            let (leave, free_from) = after(key, delay);
            self.group.next(free_from.max(leave.saturating_add(self.rules.cooldown)))
        };
        let place = self.places[at].get(entry).map_or(0, Cell::get);
        Some(Jump { entry, key, place, is_joint: met > 1 && key.is_multiple_of(2) })
    }

    /// Whether its next entry is not before `until`.
    #[inline(always)]
    pub(super) fn is_past(&self, until: usize) -> bool {
        self.entry >= until
    }

    /// Its next entry, as a number of entries after `start`.
    #[inline(always)]
    pub(super) fn entry_after(&self, start: usize) -> usize {
        self.entry.wrapping_sub(start)
    }

    /// Goes on after trades of which the last one is from the entry `last`, to `next` if that is one of these, which are linked.
    #[inline(always)]
    pub(super) fn go_to(&mut self, last: usize, next: usize, entries: &Range<usize>) {
        self.last = Some(last);
        self.entry = if next < entries.end { next } else { self.first(last) as u32 as usize };
    }

    /// The first passage from an entry.
    #[inline(always)]
    fn first(&self, entry: usize) -> u64 {
        let mut first = u64::MAX;
        for passages in self.passages.iter().take(self.kinds.max(1)) {
            first = passages.get(entry).copied().unwrap_or(first).min(first);
        }
        first
    }

    /// Writes the links from these entries, see [`super::links`].
    #[inline(always)]
    pub(super) fn link(&self, entries: &Range<usize>, links: &mut [u64]) {
        let joint = self.group.joint(entries);
        // Where few entries may need it, levels met within one bar are looked for there alone.
        if joint.len() * RARE > entries.len() {
            self.link_columns::<true>(entries, 0..entries.len(), links);
        } else {
            self.link_columns::<false>(entries, 0..entries.len(), links);
            for at in joint.iter().map(|&entry| entry as usize - entries.start) {
                self.link_columns::<true>(entries, at..at + 1, links);
            }
        }
        // Links tell no passages any more. What is not usual is no level, and so never joint.
        for kind in USUAL..self.kinds {
            for (at, (entry, link)) in entries.clone().zip(links.iter_mut()).enumerate() {
                let before = self.passages.iter().take(kind).map(|passages| passages[entry]).min();
                if before.is_none_or(|before| self.passages[kind][entry] < before) {
                    *link = at as u64;
                }
            }
        }
    }

    /// The links over the usual passages from a part of the entries. Without `JOINT` none of them may meet two levels within a bar.
    #[inline(always)]
    fn link_columns<const JOINT: bool>(&self, entries: &Range<usize>, part: Range<usize>, links: &mut [u64]) {
        let (from, until) = (entries.start + part.start, entries.start + part.end);
        let column = |kind: usize| {
            let passages = self.passages[kind].get(from..until).unwrap_or_default();
            passages.iter().zip(self.places[kind].get(from..until).unwrap_or_default())
        };
        let usual = column(0).zip(column(1)).zip(column(2));
        let (start, count) = (entries.start as u32, entries.len() as u32);
        let own = OWN.get(part.clone()).unwrap_or_default();
        let links = links.get_mut(part).unwrap_or_default();
        for ((link, own), (((&a, place), (&b, of_b)), (&c, of_c))) in links.iter_mut().zip(own).zip(usual) {
            let first = earlier::<JOINT>((a, place.get()), (b, of_b.get()));
            let (passage, place) = earlier::<JOINT>(first, (c, of_c.get()));
            let next = u64::from((passage as u32).wrapping_sub(start).min(count));
            *link = if place == 0 { *own } else { u64::from(place) << 32 | next };
        }
    }

    /// Bar and raw price of the entry of a position that stays open, and the first bar after the last exit, by the bars from
    /// decision to fill and the prices of fills.
    pub(super) fn end(&self, delay: usize, prices: &[f64]) -> (Option<(usize, f64)>, usize) {
        let decided = self.open.and_then(|entry| self.group.decisions.get(entry));
        let bar = decided.map(|&t| t as usize + delay);
        let left = self.last.map_or(0, |entry| after(key_of(self.first(entry)), delay).0);
        (bar.map(|bar| (bar, prices[bar])), left)
    }
}

/// Of two passages, each with the place of the record of a trade that it ends, the first one; no place where two levels are met
/// within a bar, if that is asked.
#[inline(always)]
fn earlier<const JOINT: bool>(a: (u64, u32), b: (u64, u32)) -> (u64, u32) {
    let is_joint = JOINT & (a.0 == b.0) & (a.0 >> 32 & 1 == 0);
    let kept = if is_joint { 0 } else { a.1 };
    (a.0.min(b.0), if b.0 < a.0 { b.1 } else { kept })
}

/// A trade.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jump {
    pub(super) entry: usize,
    /// When its exit is met.
    pub(super) key: Key,
    /// The place of its record, 0 if there is none.
    pub(super) place: u32,
    /// Whether several levels are met within the bar of the exit: the trade depends on all of them.
    pub(super) is_joint: bool,
}
