//! From signal words to the bars at whose closes a position is opened or closed, without a step per bar.
//!
//! For one side and exits by signal only, the position after bar `t` is `enter` if it was flat and `not exit` if it was not:
//! the carry of an addition. Where no bar has both signals, adding the words of `enter` to those of `not exit` gives
//! 64 bars of position in one instruction. Words in which a position may end by time too are gone through event by event.

use super::limits::{Limit, Unlimited};
use super::tile::TILE;

/// Room for the events of one tile, and for what is written past them.
pub(super) const ROOM: usize = TILE + 4;

/// Writes the bars that change the position (entry, exit, entry, ...) and gives their number.
/// `is_held` is the position before the first
/// word and becomes that after the last. `first_bar` is the bar of bit 0.
#[inline(always)]
pub(super) fn toggles<T: Limit>(
    enter: &[u64],
    exit: &[u64],
    first_bar: u32,
    (is_held, limit): (&mut bool, &mut T),
    out: &mut [u32; ROOM],
) -> usize {
    let (mut held, mut until) = (u64::from(*is_held), *limit);
    let mut base = first_bar;
    let mut len = 0;
    for (&enter, &exit) in enter.iter().zip(exit) {
        let toggles;
        (toggles, held) = until.changes(enter, exit, held, base);
        len = push_bits::<0>(out, len, toggles, base);
        base += 64;
    }
    (*is_held, *limit) = (held == 1, until);
    len
}

/// The bars of a word that change the position by signals alone, and the position after them; `held` is that before.
#[inline(always)]
pub(super) fn position_changes(enter: u64, exit: u64, held: u64) -> (u64, u64) {
    if enter & exit == 0 { add_toggles(enter, exit, held) } else { step_toggles(enter, exit, held) }
}

/// Adds the bars of the set bits at `len`, each `1 << SHIFT` from the last, and gives the new length. Two are written whether
/// they exist or not: most words have at most two, and a loop would be mispredicted on almost every word.
#[inline(always)]
pub(super) fn push_bits<const SHIFT: u32>(bars: &mut [u32; ROOM], len: usize, word: u64, base: u32) -> usize {
    let rest = word & word.wrapping_sub(1);
    let Some(out) = bars.get_mut(len..len + 2) else { return len };
    out[0] = base.wrapping_add(word.trailing_zeros() << SHIFT);
    out[1] = base.wrapping_add(rest.trailing_zeros() << SHIFT);
    let count = word.count_ones() as usize;
    if count > 2 {
        let mut rest = rest & rest.wrapping_sub(1);
        for out in &mut bars[len + 2..len + count] {
            *out = base.wrapping_add(rest.trailing_zeros() << SHIFT);
            rest &= rest.wrapping_sub(1);
        }
    }
    len + count
}

/// Adds the bars of the set bits at `len` as [`push_bits`] does, each behind a bit that says whether it is marked.
#[inline(always)]
pub(super) fn push_marked(bars: &mut [u32; ROOM], len: usize, word: u64, marks: u64, base: u32) -> usize {
    let after = push_bits::<1>(bars, len, word, base << 1);
    let mark = |event: u32| event | (marks >> (event >> 1 & 63)) as u32 & 1;
    if let Some([first, second]) = bars.get_mut(len..len + 2) {
        (*first, *second) = (mark(*first), mark(*second));
    }
    if after > len + 2 {
        for event in &mut bars[len + 2..after] {
            *event = mark(*event);
        }
    }
    after
}

#[inline(always)]
fn add_toggles(enter: u64, exit: u64, held: u64) -> (u64, u64) {
    let keep = !exit;
    let (sum, first) = keep.overflowing_add(enter);
    let (sum, second) = sum.overflowing_add(held);
    let after = u64::from(first | second);
    // The carry into a bit is the position before that bar, the carry out of it the position after.
    let before = sum ^ keep ^ enter;
    (before ^ (before >> 1 | after << 63), after)
}

/// A word in which some bar has both signals: they toggle.
#[cold]
fn step_toggles(enter: u64, exit: u64, held: u64) -> (u64, u64) {
    let (toggles, held, _) = step_bars((enter, exit), held, Unlimited, 0);
    (toggles, held)
}

/// The bars of a word that change the position, one after the other, and the position and its limit after them.
#[inline(always)]
pub(super) fn step_bars<T: Limit>(
    (enter, exit): (u64, u64),
    held: u64,
    mut limit: T,
    base: u32,
) -> (u64, u64, T) {
    let (mut toggles, mut held, mut open) = (0, held, u64::MAX);
    loop {
        let candidates = if held == 1 { exit | limit.due(base) } else { enter } & open;
        if candidates == 0 {
            return (toggles, held, limit);
        }
        let bit = candidates.trailing_zeros();
        toggles |= 1 << bit;
        held ^= 1;
        limit.follow(1 << bit, held == 1, base);
        open = if bit == 63 { 0 } else { u64::MAX << (bit + 1) };
    }
}

/// What is decided at a close, in the two lowest bits of an event; the bar is in the others.
pub(super) const ENTER_LONG: u32 = 0;
pub(super) const ENTER_SHORT: u32 = 1;
pub(super) const LEAVE: u32 = 2;
pub(super) const REVERSE: u32 = 3;

/// Words of the four signals on the same bars.
#[derive(Clone, Copy)]
pub(super) struct SignalWords<'w> {
    pub(super) long_enter: &'w [u64],
    pub(super) long_exit: &'w [u64],
    pub(super) short_enter: &'w [u64],
    pub(super) short_exit: &'w [u64],
}

/// Writes the decisions of a strategy with both sides whose positions no level ends, and gives their number. `held` is 0 flat, 1 long,
/// 2 short.
#[inline(always)]
pub(super) fn decisions<T: Limit>(
    words: SignalWords<'_>,
    first_bar: u32,
    (held, limit): (&mut u8, &mut T),
    out: &mut [u32; ROOM],
) -> usize {
    let (mut len, mut until) = (0, *limit);
    let mut base = first_bar;
    for w in 0..words.long_enter.len() {
        let (long, short) = (words.long_enter[w], words.short_enter[w]);
        let (to_long, to_short) = (long & !short, short & !long);
        let leaves = words.long_exit[w] & !to_short | words.short_exit[w] & !to_long;
        if *held != 0 && leaves == 0 && until.due(base) == 0 {
            // Positions end by reversals alone: sides change as a position on one side comes and goes.
            let (reversals, is_long) = add_toggles(to_long, to_short, u64::from(*held == 1));
            if !until.is_brief(reversals) {
                *held = 2 - is_long as u8;
                until.follow(reversals, true, base);
                len = push_bits::<2>(out, len, reversals, base << 2 | REVERSE);
                base += 64;
                continue;
            }
        }
        let candidates = [long ^ short, words.long_exit[w] | to_short, words.short_exit[w] | to_long];
        let mut open = u64::MAX;
        loop {
            let now = (candidates[usize::from(*held)] | until.due(base)) & open;
            if now == 0 {
                break;
            }
            let bit = now.trailing_zeros();
            let (is_long, is_short) = (long >> bit & 1 == 1, short >> bit & 1 == 1);
            let (action, next) = match *held {
                0 if is_long => (ENTER_LONG, 1),
                0 => (ENTER_SHORT, 2),
                1 if is_short && !is_long => (REVERSE, 2),
                2 if is_long && !is_short => (REVERSE, 1),
                _ => (LEAVE, 0),
            };
            *held = next;
            until.follow(1 << bit, next != 0, base);
            out[len] = (base + bit) << 2 | action;
            len += 1;
            open = if bit == 63 { 0 } else { u64::MAX << (bit + 1) };
        }
        base += 64;
    }
    *limit = until;
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random() -> impl FnMut() -> u64 {
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        }
    }

    /// What [`super::super::path`] does, bar by bar.
    fn step_sides(words: SignalWords<'_>, held: &mut u8, first_bar: u32) -> Vec<u32> {
        let mut found = Vec::new();
        for t in 0..words.long_enter.len() * 64 {
            let is_set = |words: &[u64]| words[t / 64] >> (t % 64) & 1 == 1;
            let (long, short) = (is_set(words.long_enter), is_set(words.short_enter));
            let (action, after) = match *held {
                0 if long && !short => (ENTER_LONG, 1),
                0 if short && !long => (ENTER_SHORT, 2),
                1 if short && !long => (REVERSE, 2),
                2 if long && !short => (REVERSE, 1),
                1 if is_set(words.long_exit) => (LEAVE, 0),
                2 if is_set(words.short_exit) => (LEAVE, 0),
                _ => continue,
            };
            found.push((first_bar + t as u32) << 2 | action);
            *held = after;
        }
        found
    }

    #[test]
    fn sides_change_as_bar_by_bar_whether_by_reversals_alone_or_not() {
        let mut random = random();
        for case in 0..2_000 {
            let mut series = |rarity: u64| -> Vec<u64> {
                (0..4).map(|_| (0..rarity).fold(random(), |word, _| word & random())).collect()
            };
            let (long_enter, short_enter) = (series(case % 5), series(case / 5 % 5));
            let other = |words: &[u64]| words.to_vec();
            // Exits that reversals cover, exits of their own, and few of those.
            let (long_exit, short_exit) = match case % 3 {
                0 => (other(&short_enter), other(&long_enter)),
                1 => (vec![0; 4], vec![0; 4]),
                _ => (series(case % 7), series(case % 6)),
            };
            let words = SignalWords {
                long_enter: &long_enter,
                long_exit: &long_exit,
                short_enter: &short_enter,
                short_exit: &short_exit,
            };
            for start in [0, 1, 2] {
                let (mut held, mut out) = (start, [0; ROOM]);
                let len = decisions(words, 128, (&mut held, &mut Unlimited), &mut out);
                let mut expected_held = start;
                let expected = step_sides(words, &mut expected_held, 128);
                assert_eq!((&out[..len], held), (expected.as_slice(), expected_held), "case {case}");
            }
        }
    }

    #[test]
    fn adding_words_is_stepping_through_bars() {
        let mut next = random();
        for case in 0..2_000 {
            // From a few signals to many, and with bars that have both.
            let mut word = || (0..case % 5).fold(next(), |word, _| word & next());
            let enter: Vec<u64> = (0..4).map(|_| word()).collect();
            let exit: Vec<u64> = (0..4).map(|_| word()).collect();
            for start in [false, true] {
                let (mut held, mut found) = (start, [0; ROOM]);
                let len = toggles(&enter, &exit, 128, (&mut held, &mut Unlimited), &mut found);
                let (mut expected_held, mut expected) = (start, Vec::new());
                for t in 0..256 {
                    let words = if expected_held { &exit } else { &enter };
                    if words[t / 64] >> (t % 64) & 1 == 1 {
                        expected.push(128 + t as u32);
                        expected_held = !expected_held;
                    }
                }
                assert_eq!((&found[..len], held), (expected.as_slice(), expected_held));
            }
        }
    }
}
