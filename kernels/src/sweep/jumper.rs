//! Where a combination is in the entries of its group: from an entry it jumps over the first of its passages to the next.

use std::cell::Cell;
use std::ops::Range;

use super::groups::{Group, after, key_of};
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
    /// When the last position was left; before any, at 0.
    left: Key,
}

/// The most entries that are linked at once.
pub(super) const LINKED: usize = 256;

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
            left: 0,
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
        self.left = key;
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

    /// Writes where [`Jumper::jump`] goes from each of these entries, one *link* each: in the upper half the place of the
    /// trade's record, in the lower one how many entries after the first the next one is. 0 where a jump is needed: there is no
    /// record, or no trade.
    #[inline(always)]
    pub(super) fn link(&self, entries: Range<usize>, links: &mut [u64]) {
        let column = |kind: usize| {
            let passages = self.passages[kind].get(entries.clone()).unwrap_or_default();
            passages.iter().zip(self.places[kind].get(entries.clone()).unwrap_or_default())
        };
        let usual = column(0).zip(column(1)).zip(column(2));
        for (link, (((&a, place), (&b, of_b)), (&c, of_c))) in links.iter_mut().zip(usual) {
            let first = earlier((a, place.get()), (b, of_b.get()));
            *link = as_link(earlier(first, (c, of_c.get())), entries.start as u32);
        }
        // Links tell no passages any more. What is not usual is no level, and so never joint.
        for kind in USUAL..self.kinds {
            for (entry, link) in entries.clone().zip(links.iter_mut()) {
                let before = self.passages.iter().take(kind).map(|passages| passages[entry]).min();
                if before.is_none_or(|before| self.passages[kind][entry] < before) {
                    *link = 0;
                }
            }
        }
    }

    /// Goes on over the links of the entries from `from`, as far as there are any, and notes the places of the trades' records
    /// from `step` on; gives the step after the last.
    #[inline(always)]
    pub(super) fn follow<const STEPS: usize>(
        &mut self,
        from: usize,
        links: &[u64],
        places: &mut [u32; STEPS],
        mut step: usize,
    ) -> usize {
        let first = self.entry.wrapping_sub(from);
        let (mut entry, mut last) = (first, first);
        while let Some(place) = places.get_mut(step) {
            let Some(&link) = links.get(entry) else { break };
            if link == 0 {
                break;
            }
            *place = (link >> 32) as u32;
            (last, entry) = (entry, link as u32 as usize);
            step += 1;
        }
        if entry != first {
            let passage = |passages: &&[u64]| passages.get(from + last).copied();
            let passages = self.passages.iter().take(self.kinds.max(1)).filter_map(passage);
            self.left = passages.min().map_or(self.left, key_of);
            self.entry = from + entry;
        }
        step
    }

    /// Bar and raw price of the entry of a position that stays open, and the first bar after the last exit, by the bars from
    /// decision to fill and the prices of fills.
    pub(super) fn end(&self, delay: usize, prices: &[f64]) -> (Option<(usize, f64)>, usize) {
        let decided = self.open.and_then(|entry| self.group.decisions.get(entry));
        let bar = decided.map(|&t| t as usize + delay);
        (bar.map(|bar| (bar, prices[bar])), after(self.left, delay).0)
    }
}

/// Of two passages, each with the place of the record of a trade that it ends, the first one; no place where two levels are met
/// within a bar.
#[inline(always)]
fn earlier(a: (u64, u32), b: (u64, u32)) -> (u64, u32) {
    let is_joint = (a.0 == b.0) & (a.0 >> 32 & 1 == 0);
    let kept = if is_joint { 0 } else { a.1 };
    (a.0.min(b.0), if b.0 < a.0 { b.1 } else { kept })
}

/// A link over a passage, among entries after `from`.
#[inline(always)]
fn as_link((passage, place): (u64, u32), from: u32) -> u64 {
    let link = u64::from(place) << 32 | u64::from((passage as u32).wrapping_sub(from));
    if place == 0 { 0 } else { link }
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
