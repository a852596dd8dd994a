//! Where eight combinations go from the entries of a block: found for all entries side by side first, then only followed.
//!
//! A *link* has the place of a trade's record in its upper half, and in the lower one how many entries after the first one of the block
//! the combination enters next. Where [`Jumper::jump`] has to be asked, since there is no record or no trade, the place is 0 and the
//! entry is the same; so it is behind the last entry.

use std::ops::Range;

use super::books::EIGHT;
use super::dense::AHEAD;
use super::jumper::Jumper;

/// The most entries that are linked at once.
pub(super) const LINKED: usize = 256;

/// Places of the records of the next trades, lane by lane; 0 behind the last one.
pub(super) type Places = [[u32; AHEAD]; EIGHT];

/// Where each of eight combinations goes from some entries.
pub(super) struct Links {
    links: [[u64; LINKED + 1]; EIGHT],
    entries: Range<usize>,
}

/// Combinations that follow their links at once: each load waits for the one before, those of others do not.
const ABREAST: usize = 4;

impl Links {
    pub(super) fn new() -> Links {
        Links { links: [[0; LINKED + 1]; EIGHT], entries: 0..0 }
    }

    /// Links these entries, [`LINKED`] at most.
    #[inline(always)]
    pub(super) fn make(&mut self, jumpers: &[Jumper<'_>; EIGHT], entries: Range<usize>) {
        for (jumper, links) in jumpers.iter().zip(&mut self.links) {
            jumper.link(&entries, links);
            if let Some(behind) = links.get_mut(entries.len()) {
                *behind = entries.len() as u64;
            }
        }
        self.entries = entries;
    }

    /// Follows the links of all combinations for so many trades as there are places, which are all 0 before; gives how many each made.
    #[inline(never)]
    pub(super) fn follow(&self, jumpers: &mut [Jumper<'_>; EIGHT], places: &mut Places) -> [usize; EIGHT] {
        let (mut from, mut next) = ([[0u16; AHEAD]; EIGHT], [0; EIGHT]);
        for (next, jumper) in next.iter_mut().zip(&*jumpers) {
            *next = self.entry_of(jumper);
        }
        let lanes = next.as_chunks_mut().0.iter_mut().zip(from.as_chunks_mut().0);
        for ((links, (next, from)), places) in
            self.links.as_chunks().0.iter().zip(lanes).zip(places.as_chunks_mut().0)
        {
            follow_abreast(links, next, places, from);
        }
        let start = self.entries.start;
        let mut steps = [0; EIGHT];
        for (lane, (jumper, steps)) in jumpers.iter_mut().zip(&mut steps).enumerate() {
            let made = &places[lane];
            *steps = if made[AHEAD - 1] != 0 {
                AHEAD
            } else {
                made.iter().take_while(|place| **place != 0).count()
            };
            if let Some(&last) = from[lane].get(steps.wrapping_sub(1)) {
                jumper.go_to(start + usize::from(last), start + next[lane], &self.entries);
            }
        }
        steps
    }

    /// Where a combination is: the number of its next entry, or of what is behind the last one.
    #[inline(always)]
    fn entry_of(&self, jumper: &Jumper<'_>) -> usize {
        jumper.entry_after(self.entries.start).min(self.entries.len())
    }

    /// Goes on with one combination after a trade that it asked for, from `step` on; gives the step after the last.
    #[inline(never)]
    pub(super) fn go_on(
        &self,
        (jumper, lane): (&mut Jumper<'_>, usize),
        places: &mut [u32; AHEAD],
        mut step: usize,
    ) -> usize {
        // Behind the last entry there may be links of longer blocks before this one.
        let (mut entry, mut last) = (self.entry_of(jumper), None);
        while let (Some(place), Some(&link)) = (places.get_mut(step), self.links[lane].get(entry)) {
            if link >> 32 == 0 {
                break;
            }
            *place = (link >> 32) as u32;
            (last, entry) = (Some(entry), link as u32 as usize);
            step += 1;
        }
        if let Some(last) = last {
            let start = self.entries.start;
            jumper.go_to(start + last, start + entry, &self.entries);
        }
        step
    }
}

/// Follows links from the entries `at` on. Writes the places of the trades and the entries that they are from.
#[inline(always)]
fn follow_abreast(
    links: &[[u64; LINKED + 1]; ABREAST],
    at: &mut [usize; ABREAST],
    places: &mut [[u32; AHEAD]; ABREAST],
    from: &mut [[u16; AHEAD]; ABREAST],
) {
    let mut next = *at;
    for step in 0..AHEAD {
        for lane in 0..ABREAST {
            // A branch between any two of them, or they would become one slow gather.
            let Some(&link) = links[lane].get(next[lane]) else { return };
            places[lane][step] = (link >> 32) as u32;
            from[lane][step] = next[lane] as u16;
            next[lane] = link as u32 as usize;
        }
    }
    *at = next;
}
