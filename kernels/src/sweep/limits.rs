//! What ends a position beside signals: nothing, or a time exit, which is one more exit per position in a bar that follows from
//! its entry.

use super::events::{position_changes, step_bars};
use super::rules::Rules;

/// Ends the positions of one combination that no signal has ended. Bits are bars of a word, `base` is the bar of bit 0.
pub(super) trait Limit: Copy {
    /// Whether positions end by signals alone.
    const IS_NONE: bool;

    fn of(rules: &Rules) -> Self;

    /// The bars of a word that change the position, and the position after them; `held` is that before. Words come in turn.
    fn changes(&mut self, enter: u64, exit: u64, held: u64, base: u32) -> (u64, u64);

    /// The bit at which the position is due to end, if it is one of this word.
    fn due(&self, base: u32) -> u64;

    /// Whether a position that is opened at one of these bits may be due within the word.
    fn is_brief(&self, opened: u64) -> bool;

    /// Goes on from the last of the bars of a word that change the position, if there is any.
    fn follow(&mut self, changes: u64, is_held: bool, base: u32);
}

/// Positions end by signals alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unlimited;

impl Limit for Unlimited {
    const IS_NONE: bool = true;

    fn of(_: &Rules) -> Unlimited {
        Unlimited
    }

    #[inline(always)]
    fn changes(&mut self, enter: u64, exit: u64, held: u64, _: u32) -> (u64, u64) {
        position_changes(enter, exit, held)
    }

    #[inline(always)]
    fn due(&self, _: u32) -> u64 {
        0
    }

    #[inline(always)]
    fn is_brief(&self, _: u64) -> bool {
        false
    }

    #[inline(always)]
    fn follow(&mut self, _: u64, _: bool, _: u32) {}
}

/// Positions also end after so many bars.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimit {
    /// Bars from the close at which an entry is decided to the one at which its time exit is.
    bars: u32,
    /// The bits of a word at which a position may be opened and due in the same word.
    brief: u64,
    /// The bar at whose close the position is due to end.
    due: u32,
}

/// What is due where there is no position, or too late for any bar.
const NEVER: u32 = u32::MAX;

impl Limit for TimeLimit {
    const IS_NONE: bool = false;

    fn of(rules: &Rules) -> TimeLimit {
        // Filled at the next open or at the close, the bar after the decision is the first one held.
        let bars = rules.max_bars.and_then(|bars| u32::try_from(bars).ok()).unwrap_or(NEVER);
        TimeLimit { bars, brief: u64::MAX.checked_shr(bars).unwrap_or(0), due: NEVER }
    }

    #[inline(always)]
    fn changes(&mut self, enter: u64, exit: u64, held: u64, base: u32) -> (u64, u64) {
        let (changes, after) = position_changes(enter, exit, held);
        // A branch, so that what is due in most words does not wait for what has changed in those before.
        if self.due.wrapping_sub(base) < 64 || self.is_brief(changes & enter) {
            let (changes, after, limit) = step_bars((enter, exit), held, *self, base);
            *self = limit;
            return (changes, after);
        }
        self.follow(changes, after == 1, base);
        (changes, after)
    }

    #[inline(always)]
    fn due(&self, base: u32) -> u64 {
        1u64.checked_shl(self.due.wrapping_sub(base)).unwrap_or(0)
    }

    #[inline(always)]
    fn is_brief(&self, opened: u64) -> bool {
        opened & self.brief != 0
    }

    #[inline(always)]
    fn follow(&mut self, changes: u64, is_held: bool, base: u32) {
        let last = base.wrapping_add(63 - (changes | 1).leading_zeros());
        let due = if is_held { last.saturating_add(self.bars) } else { NEVER };
        self.due = if changes == 0 { self.due } else { due };
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::{
        ENTER_LONG, ENTER_SHORT, LEAVE, REVERSE, ROOM, SignalWords, decisions, toggles,
    };
    use super::*;

    const FIRST: usize = 128;
    const BARS: usize = 256;
    const LIMITS: [usize; 10] = [1, 2, 5, 23, 62, 63, 64, 65, 150, usize::MAX];

    /// Four words, of which each signal sets half the bits, or a quarter, and so on.
    fn series(rarity: u64, state: &mut u64) -> [u64; 4] {
        let mut random = || {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            *state
        };
        std::array::from_fn(|_| (0..rarity).fold(random(), |word, _| word & random()))
    }

    fn of(max_bars: usize) -> TimeLimit {
        TimeLimit::of(&Rules { max_bars: Some(max_bars), ..Rules::NONE })
    }

    /// The bar at which a position that is opened at bar `t` is due.
    fn due(t: usize, max_bars: usize) -> usize {
        t.saturating_add(max_bars)
    }

    #[test]
    fn a_limit_of_words_is_one_of_bars() {
        let mut state = 0x9E37_79B9_7F4A_7C15;
        for case in 0..6_000 {
            let max_bars = LIMITS[case % LIMITS.len()];
            let enter = series(case as u64 / 10 % 7, &mut state);
            let exit = series(case as u64 / 70 % 7, &mut state);
            let (mut limit, mut is_held, mut out) = (of(max_bars), false, [0; ROOM]);
            let (mut expected, mut until, mut found) = (Vec::new(), None, Vec::new());
            // Word by word: a position goes on from one to the next.
            for w in 0..4 {
                let held = (&mut is_held, &mut limit);
                let len = toggles(&enter[w..=w], &exit[w..=w], (FIRST + 64 * w) as u32, held, &mut out);
                found.extend_from_slice(&out[..len]);
            }
            for t in 0..BARS {
                let is_set = |words: &[u64]| words[t / 64] >> (t % 64) & 1 == 1;
                match until {
                    None if is_set(&enter) => until = Some(due(t, max_bars)),
                    Some(last) if is_set(&exit) || t == last => until = None,
                    _ => continue,
                }
                expected.push((FIRST + t) as u32);
            }
            assert_eq!((found, is_held), (expected, until.is_some()), "case {case}, {max_bars} bars");
        }
    }

    #[test]
    fn sides_are_left_in_time_or_reversed() {
        let mut state = 0x9E37_79B9_7F4A_7C15;
        for case in 0..6_000 {
            let max_bars = LIMITS[case % LIMITS.len()];
            let (long_enter, short_enter) =
                (series(case as u64 / 10 % 6, &mut state), series(case as u64 / 60 % 6, &mut state));
            // Exits that reversals cover, none, and others.
            let (long_exit, short_exit) = match case % 3 {
                0 => (short_enter, long_enter),
                1 => ([0; 4], [0; 4]),
                _ => (series(4, &mut state), series(3, &mut state)),
            };
            let words = SignalWords {
                long_enter: &long_enter,
                long_exit: &long_exit,
                short_enter: &short_enter,
                short_exit: &short_exit,
            };
            let (mut limit, mut held, mut out) = (of(max_bars), 0, [0; ROOM]);
            let len = decisions(words, FIRST as u32, (&mut held, &mut limit), &mut out);
            let (mut expected, mut side, mut last) = (Vec::new(), 0, 0);
            for t in 0..BARS {
                let is_set = |words: &[u64]| words[t / 64] >> (t % 64) & 1 == 1;
                let (long, short) = (is_set(&long_enter), is_set(&short_enter));
                let (action, after) = match side {
                    0 if long && !short => (ENTER_LONG, 1),
                    0 if short && !long => (ENTER_SHORT, 2),
                    1 if short && !long => (REVERSE, 2),
                    2 if long && !short => (REVERSE, 1),
                    1 if is_set(&long_exit) || t == last => (LEAVE, 0),
                    2 if is_set(&short_exit) || t == last => (LEAVE, 0),
                    _ => continue,
                };
                expected.push(((FIRST + t) << 2) as u32 | action);
                (side, last) = (after, due(t, max_bars));
            }
            assert_eq!((&out[..len], held), (expected.as_slice(), side), "case {case}, {max_bars} bars");
        }
    }
}
