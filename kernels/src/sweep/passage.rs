//! When a position that is entered in a given bar first meets a given exit rule: *first passages*, shared by all
//! combinations with that entry and that rule.
//!
//! Bars decide alone: a stop, a target, a trailing stop, a time exit and the next exit signal are met in a bar that depends on
//! the bar of the entry and on the rule's own value, not on the account nor on the other rules. The first of the passages of
//! a combination's rules is its exit; where several levels share the bar, [`LevelView::touch`] says which comes first. So a
//! combination jumps from entry to exit to next entry, and touches no bar in between.

use super::levels::{LevelView, Levels};
use super::rules::Rules;
use crate::bits::next_set;

/// A moment within the bars: twice the bar for its inside, one more for the decision at its close. [`NEVER`] sorts last.
pub(super) type Key = u32;

/// No passage before the end of the data.
pub(super) const NEVER: Key = Key::MAX;

#[inline(always)]
pub(super) fn inside(bar: usize) -> Key {
    2 * bar as Key
}

#[inline(always)]
pub(super) fn at_close(bar: usize) -> Key {
    2 * bar as Key + 1
}

/// An exit rule with its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ExitRule {
    Stop(f64),
    Target(f64),
    Trailing(f64),
    /// Whole bars from 1.
    Time(usize),
    /// The exit signals of long and of short positions with these numbers.
    Signal([u32; 2]),
}

/// Where positions may be entered: the bars of their fills, ascending, the first bars they are held in, and fill prices.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) bars: Vec<u32>,
    pub(super) first_bars: Vec<u32>,
    pub(super) prices: Vec<f64>,
}

/// The passages of levels, in their order; `view` is the side's.
pub(super) fn passages_of_levels(rules: &[ExitRule], view: &LevelView, entries: &Entries) -> Vec<Vec<Key>> {
    let levels_of = |rules: Rules| -> Vec<Levels> {
        entries.prices.iter().map(|&price| view.levels(price, &rules)).collect()
    };
    let none = Rules::NONE;
    let (mut stops, mut targets) = (Vec::new(), Vec::new());
    for &rule in rules {
        match rule {
            ExitRule::Stop(stop) => stops.push(levels_of(Rules { stop_loss: Some(stop), ..none })),
            ExitRule::Target(target) => targets.push(levels_of(Rules { take_profit: Some(target), ..none })),
            _ => {}
        }
    }
    let is_covered = |older: f64, newer: f64| newer <= older;
    let meets = |low: f64, level: &Levels| low <= level.stop;
    let mut stops = nearest(view.lowest(), entries, &stops, is_covered, meets).into_iter();
    let is_covered = |older: f64, newer: f64| newer >= older;
    let meets = |high: f64, level: &Levels| high >= level.target;
    let mut targets = nearest(view.highest(), entries, &targets, is_covered, meets).into_iter();
    let trails = |trailing: f64| {
        let levels = levels_of(Rules { trailing_stop: Some(trailing), ..none });
        let entries = entries.first_bars.iter().zip(&levels);
        entries.map(|(&first, level)| view.first_trail(level, first as usize).map_or(NEVER, inside)).collect()
    };
    let keys = rules.iter().map(|rule| match *rule {
        ExitRule::Stop(_) => stops.next().unwrap_or_default(),
        ExitRule::Target(_) => targets.next().unwrap_or_default(),
        ExitRule::Trailing(trailing) => trails(trailing),
        ExitRule::Time(_) | ExitRule::Signal(_) => Vec::new(),
    });
    keys.collect()
}

/// The passages of a time exit of `held` bars among `bars`, by the first bars that entries are held in.
pub(super) fn passages_of_time(held: usize, bars: usize, first_bars: &[u32]) -> Vec<Key> {
    let due = |&first: &u32| {
        let t = (first as usize).saturating_add(held - 1);
        if t < bars { at_close(t) } else { NEVER }
    };
    first_bars.iter().map(due).collect()
}

/// The passages of an exit signal, asked for by ascending bars.
pub(super) struct SignalPassages<W> {
    words: usize,
    word: W,
    /// The signal's next bar at or after the one asked for last; none is left behind the last one.
    next: Option<usize>,
    is_over: bool,
}

impl<W: Fn(usize) -> u64> SignalPassages<W> {
    /// Of a signal of so many words.
    pub(super) fn new(words: usize, word: W) -> Self {
        SignalPassages { words, word, next: None, is_over: false }
    }

    /// When a position that is held from bar `first` on meets the signal.
    #[inline(always)]
    pub(super) fn from(&mut self, first: usize) -> Key {
        if !self.is_over && self.next.is_none_or(|t| t < first) {
            self.next = next_set(self.words, first, &self.word);
            self.is_over = self.next.is_none();
        }
        self.next.map_or(NEVER, at_close)
    }
}

/// Per set of levels and entry the nearest bar, from the first one it is held in, whose extreme meets the level. From the
/// right, with a stack of the bars that are more extreme than all between: the nearest that meets a level is the last on the
/// stack that does.
fn nearest(
    extremes: &[f64],
    entries: &Entries,
    sets: &[Vec<Levels>],
    is_covered: impl Fn(f64, f64) -> bool,
    meets: impl Fn(f64, &Levels) -> bool,
) -> Vec<Vec<Key>> {
    let mut keys = vec![vec![NEVER; entries.bars.len()]; sets.len()];
    if sets.is_empty() {
        return keys;
    }
    let mut stack: Vec<(f64, u32)> = Vec::new();
    let mut bar = extremes.len();
    for entry in (0..entries.bars.len()).rev() {
        let first = entries.first_bars[entry] as usize;
        while bar > first {
            bar -= 1;
            // Whatever the older bar meets, this one meets too, and it is nearer.
            while stack.last().is_some_and(|&(older, _)| is_covered(older, extremes[bar])) {
                stack.pop();
            }
            stack.push((extremes[bar], bar as u32));
        }
        for (keys, levels) in keys.iter_mut().zip(sets) {
            let met = stack.partition_point(|(extreme, _)| meets(*extreme, &levels[entry]));
            if let Some(&(_, bar)) = met.checked_sub(1).and_then(|at| stack.get(at)) {
                keys[entry] = inside(bar as usize);
            }
        }
    }
    keys
}
