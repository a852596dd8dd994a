//! Bars in any order, with holes and doubles, become bars in order, each once.
//!
//! Pure. Per pair: a bar that follows the newest one handed on is handed on; an older one is a double; a newer one waits until
//! the hole before it has been asked for over REST. What the exchange does not have there does not exist (outages leave no
//! bars), so the bars behind it go on.

use std::collections::BTreeMap;

use polybolos_engine::signals::Bar;

use crate::symbol::Symbol;

/// Bars to be asked for: those that open from `from_ms` to `to_ms`, both inclusive, or to the newest closed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) symbol: Symbol,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: Option<i64>,
}

/// What follows from a bar or a page of bars.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Ordered {
    /// To be handed on, in this order.
    pub(crate) bars: Vec<(Symbol, Bar)>,
    /// To be asked for until there is an answer, which goes to `fill`.
    pub(crate) hole: Option<Hole>,
    /// Bars that had been handed on before.
    pub(crate) doubles: u64,
}

#[derive(Debug, Clone, Default)]
struct Track {
    /// Open time of the newest bar handed on.
    newest_ms: Option<i64>,
    /// Up to here REST has said all there is.
    covered_ms: Option<i64>,
    waiting: BTreeMap<i64, Bar>,
    asked: Option<Hole>,
    /// The stream was interrupted while a question was under way: another one is due.
    is_stale: bool,
}

/// The order of the bars of many pairs of one interval.
#[derive(Debug, Clone)]
pub(crate) struct Sequencer {
    interval_ms: i64,
    tracks: BTreeMap<Symbol, Track>,
}

impl Sequencer {
    /// Pairs with the open time of the newest bar that the taker has already; without one, the first bar that comes begins.
    pub(crate) fn new(interval_ms: i64, pairs: impl IntoIterator<Item = (Symbol, Option<i64>)>) -> Sequencer {
        let track = |newest_ms| Track { newest_ms, ..Track::default() };
        let tracks = pairs.into_iter().map(|(symbol, newest_ms)| (symbol, track(newest_ms))).collect();
        Sequencer { interval_ms: interval_ms.max(1), tracks }
    }

    /// A closed bar from a stream. Pairs that are not tracked are ignored.
    pub(crate) fn bar(&mut self, symbol: &Symbol, bar: Bar) -> Ordered {
        let interval_ms = self.interval_ms;
        let Some(track) = self.tracks.get_mut(symbol) else {
            return Ordered::default();
        };
        let is_double = track.newest_ms.is_some_and(|newest| bar.open_time_ms <= newest)
            || track.waiting.contains_key(&bar.open_time_ms);
        if is_double {
            return Ordered { doubles: 1, ..Ordered::default() };
        }
        track.waiting.insert(bar.open_time_ms, bar);
        let mut ordered = Ordered::default();
        track.release(symbol, interval_ms, &mut ordered);
        track.ask(symbol, interval_ms, &mut ordered);
        ordered
    }

    /// A stream of this pair is there (again): what closed before it was, was not seen.
    pub(crate) fn connected(&mut self, symbol: &Symbol) -> Option<Hole> {
        let interval_ms = self.interval_ms;
        let track = self.tracks.get_mut(symbol)?;
        let newest = track.newest_ms?;
        if track.asked.is_some() {
            track.is_stale = true;
            return None;
        }
        let hole = Hole { symbol: symbol.clone(), from_ms: newest + interval_ms, to_ms: None };
        track.asked = Some(hole.clone());
        Some(hole)
    }

    /// All that the exchange has of a hole.
    pub(crate) fn fill(&mut self, hole: &Hole, bars: &[Bar]) -> Ordered {
        let interval_ms = self.interval_ms;
        let Some(track) = self.tracks.get_mut(&hole.symbol) else {
            return Ordered::default();
        };
        track.asked = None;
        let mut ordered = Ordered::default();
        for bar in bars {
            if track.newest_ms.is_some_and(|newest| bar.open_time_ms <= newest) {
                ordered.doubles += 1;
            } else {
                track.waiting.insert(bar.open_time_ms, *bar);
            }
        }
        let last = bars.iter().map(|bar| bar.open_time_ms).max();
        let covered = hole.to_ms.or(last).unwrap_or(hole.from_ms - interval_ms);
        track.covered_ms = track.covered_ms.max(Some(covered));
        track.release(&hole.symbol, interval_ms, &mut ordered);
        track.ask(&hole.symbol, interval_ms, &mut ordered);
        if ordered.hole.is_none() && std::mem::take(&mut track.is_stale) {
            ordered.hole = self.connected(&hole.symbol);
        }
        ordered
    }

    /// Holes of pairs that are behind the newest bar of any pair, which their own streams do not show. Asked for once per bar.
    pub(crate) fn laggards(&mut self) -> Vec<Hole> {
        let interval_ms = self.interval_ms;
        let Some(newest_ms) = self.tracks.values().filter_map(|track| track.newest_ms).max() else {
            return Vec::new();
        };
        let mut holes = Vec::new();
        for (symbol, track) in &mut self.tracks {
            let Some(own) = track.newest_ms else {
                continue;
            };
            let is_covered = track.covered_ms.is_some_and(|covered| covered >= newest_ms);
            if own < newest_ms && !is_covered && track.asked.is_none() {
                let hole =
                    Hole { symbol: symbol.clone(), from_ms: own + interval_ms, to_ms: Some(newest_ms) };
                track.asked = Some(hole.clone());
                holes.push(hole);
            }
        }
        holes
    }
}

impl Track {
    /// Hands on what is due.
    fn release(&mut self, symbol: &Symbol, interval_ms: i64, ordered: &mut Ordered) {
        while let Some(first) = self.waiting.first_entry() {
            let open_ms = *first.key();
            let follows = self.newest_ms.is_none_or(|newest| open_ms <= newest + interval_ms);
            let is_covered = self.covered_ms.is_some_and(|covered| covered >= open_ms - interval_ms);
            if !follows && !is_covered {
                return;
            }
            let bar = first.remove();
            self.newest_ms = Some(open_ms);
            ordered.bars.push((symbol.clone(), bar));
        }
    }

    /// Asks for the hole before the first bar that waits.
    fn ask(&mut self, symbol: &Symbol, interval_ms: i64, ordered: &mut Ordered) {
        if self.asked.is_some() {
            return;
        }
        if let (Some(newest), Some(first)) = (self.newest_ms, self.waiting.keys().next()) {
            let to_ms = Some(first - interval_ms);
            let hole = Hole { symbol: symbol.clone(), from_ms: newest + interval_ms, to_ms };
            self.asked = Some(hole.clone());
            ordered.hole = Some(hole);
        }
    }
}

#[cfg(test)]
#[path = "sequencer_tests.rs"]
mod tests;
