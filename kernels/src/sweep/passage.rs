//! When a position that is entered in a given bar first meets a given exit rule: *first passages*, shared by all
//! combinations with that entry and that rule.
//!
//! Bars decide alone: a stop, a target, a trailing stop, a time exit and the next exit signal are met in a bar that depends on
//! the bar of the entry and on the rule's own value, not on the account nor on the other rules. The first of the passages of
//! a combination's rules is its exit; where several levels share the bar, [`LevelView::touch`] says which comes first. So a
//! combination jumps from entry to exit to next entry, and touches no bar in between.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use super::account::{entry_price, first_bar};
use super::block::{Stop, fills};
use super::levels::LevelView;
use super::market::Market;
use super::rules::Rules;
use super::signals::check;
use crate::bits::next_set;
use crate::sim::{Side, SimConfig};

/// A moment within the bars: twice the bar for its inside, one more for the decision at its close. [`NEVER`] sorts last.
pub(super) type Key = u32;

/// No passage before the end of the data.
pub(super) const NEVER: Key = Key::MAX;

/// Bytes of passage tables that a cluster may hold.
pub(super) const MOST_TABLE_BYTES: usize = 48 << 20;

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

impl ExitRule {
    /// Stop, target, trailing stop and time exit of a combination.
    pub(super) fn of(rules: &Rules) -> [Option<ExitRule>; 4] {
        [
            rules.stop_loss.map(ExitRule::Stop),
            rules.take_profit.map(ExitRule::Target),
            rules.trailing_stop.map(ExitRule::Trailing),
            rules.max_bars.map(ExitRule::Time),
        ]
    }

    /// The distinct ones of some combinations.
    pub(super) fn of_all<'r>(combinations: impl Iterator<Item = &'r Rules>) -> Vec<ExitRule> {
        let mut found = Vec::new();
        let mut known: HashSet<(usize, u64)> = HashSet::new();
        for rules in combinations {
            for (kind, rule) in ExitRule::of(rules).into_iter().enumerate() {
                let value = match rule {
                    Some(ExitRule::Stop(x) | ExitRule::Target(x) | ExitRule::Trailing(x)) => x.to_bits(),
                    Some(ExitRule::Time(bars)) => bars as u64,
                    Some(ExitRule::Signal(_)) | None => continue,
                };
                if known.insert((kind, value)) {
                    found.extend(rule);
                }
            }
        }
        found
    }
}

/// Where positions may be entered: the bars of their fills, ascending, the first bars they are held in, and fill prices.
#[derive(Debug, Default)]
struct Entries {
    bars: Vec<u32>,
    first_bars: Vec<u32>,
    prices: Vec<f64>,
}

/// The passages of exits, signals apart, in their order, of a side's positions that are entered by decisions at the closes of
/// these bars, ascending. A decision too late to be filled has none.
pub(super) fn passages(
    (market, config): (&Market<'_>, &SimConfig),
    side: Side,
    rules: &[ExitRule],
    decisions: impl Iterator<Item = usize>,
    cancel: &AtomicBool,
) -> Result<Vec<Vec<Key>>, Stop> {
    let (delay, prices) = fills(market, config);
    let mut entries = Entries::default();
    for bar in decisions.map(|t| t + delay) {
        let Some(raw) = prices.get(bar) else { break };
        entries.bars.push(bar as u32);
        entries.first_bars.push(first_bar(config, bar) as u32);
        entries.prices.push(entry_price(config, side, *raw));
    }
    let mut passages = match market.view(side) {
        Some(view) => passages_of_levels(rules, view, &entries, cancel)?,
        None => vec![Vec::new(); rules.len()],
    };
    for (rule, passages) in rules.iter().zip(&mut passages) {
        if let ExitRule::Time(held) = *rule {
            *passages = passages_of_time(held, market.bars.len(), &entries.first_bars);
        }
    }
    Ok(passages)
}

/// The passages of levels, in their order; `view` is the side's.
fn passages_of_levels(
    rules: &[ExitRule],
    view: &LevelView,
    entries: &Entries,
    cancel: &AtomicBool,
) -> Result<Vec<Vec<Key>>, Stop> {
    let none = Rules::NONE;
    let mut keys = vec![Vec::new(); rules.len()];
    // From the level that is met first to the one that is met last.
    let ascending = |value: fn(&ExitRule) -> Option<f64>| {
        let mut levels: Vec<(f64, usize)> =
            rules.iter().enumerate().filter_map(|(place, rule)| Some((value(rule)?, place))).collect();
        levels.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
        levels
    };
    let stops = ascending(|rule| if let ExitRule::Stop(stop) = rule { Some(*stop) } else { None });
    let is_covered = |older: f64, newer: f64| newer <= older;
    let meets = |low: f64, price: f64, stop: f64| {
        low <= view.levels(price, &Rules { stop_loss: Some(stop), ..none }).stop
    };
    check(cancel)?;
    nearest(view.lowest(), entries, &stops, (is_covered, meets), &mut keys);
    let targets = ascending(|rule| if let ExitRule::Target(target) = rule { Some(*target) } else { None });
    let is_covered = |older: f64, newer: f64| newer >= older;
    let meets = |high: f64, price: f64, target: f64| {
        high >= view.levels(price, &Rules { take_profit: Some(target), ..none }).target
    };
    check(cancel)?;
    nearest(view.highest(), entries, &targets, (is_covered, meets), &mut keys);
    for (rule, keys) in rules.iter().zip(&mut keys) {
        if let ExitRule::Trailing(trailing) = *rule {
            check(cancel)?;
            let rules = Rules { trailing_stop: Some(trailing), ..none };
            let entries = entries.first_bars.iter().zip(&entries.prices);
            let met = |(&first, &price): (&u32, &f64)| {
                view.first_trail(&view.levels(price, &rules), first as usize).map_or(NEVER, inside)
            };
            *keys = entries.map(met).collect();
        }
    }
    Ok(keys)
}

/// The passages of a time exit of `held` bars among `bars`, by the first bars that entries are held in.
fn passages_of_time(held: usize, bars: usize, first_bars: &[u32]) -> Vec<Key> {
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

/// Bars of the stack that are looked at one by one: the next level is met in one of them most of the time.
const NEAR: usize = 8;

/// Writes per level, a value and its rule's place, and entry the nearest bar, from the first one it is held in, whose extreme meets
/// the level. From the right, with a stack of the bars that are more extreme than all between: the nearest that meets a level
/// is the last on the stack that does. What meets a level meets all levels before it.
fn nearest(
    extremes: &[f64],
    entries: &Entries,
    levels: &[(f64, usize)],
    (is_covered, meets): (impl Fn(f64, f64) -> bool, impl Fn(f64, f64, f64) -> bool),
    keys: &mut [Vec<Key>],
) {
    if levels.is_empty() {
        return;
    }
    for &(_, place) in levels {
        keys[place] = vec![NEVER; entries.bars.len()];
    }
    let mut stack: Vec<(f64, u32)> = Vec::new();
    let mut bar = extremes.len();
    for entry in (0..entries.bars.len()).rev() {
        let (first, price) = (entries.first_bars[entry] as usize, entries.prices[entry]);
        while bar > first {
            bar -= 1;
            // Whatever the older bar meets, this one meets too, and it is nearer.
            while stack.last().is_some_and(|&(older, _)| is_covered(older, extremes[bar])) {
                stack.pop();
            }
            stack.push((extremes[bar], bar as u32));
        }
        let mut left = stack.as_slice();
        for &(level, place) in levels {
            let near = left.len().saturating_sub(NEAR);
            while let Some((&(extreme, _), rest)) = left.split_last().filter(|_| left.len() > near)
                && !meets(extreme, price, level)
            {
                left = rest;
            }
            if left.len() == near {
                left = &left[..left.partition_point(|&(extreme, _)| meets(extreme, price, level))];
            }
            let Some(&(_, bar)) = left.last() else { break };
            keys[place][entry] = inside(bar as usize);
        }
    }
}
