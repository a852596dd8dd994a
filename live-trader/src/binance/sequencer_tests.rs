//! Bars of a market with outages, over streams that lose, double and delay them.

use proptest::prelude::*;

use super::*;

const STEP_MS: i64 = 60_000;

fn bar(open_time_ms: i64) -> Bar {
    Bar::flat(open_time_ms, 1.0)
}

fn times(ordered: &Ordered) -> Vec<i64> {
    ordered.bars.iter().map(|(_, bar)| bar.open_time_ms / STEP_MS).collect()
}

fn symbol() -> Symbol {
    Symbol::new("BTCUSDT")
}

fn hole(from: i64, to: Option<i64>) -> Hole {
    Hole { symbol: symbol(), from_ms: from * STEP_MS, to_ms: to.map(|to| to * STEP_MS) }
}

#[test]
fn a_hole_is_asked_for_once_and_bars_behind_it_wait() {
    let mut sequencer = Sequencer::new(STEP_MS, [(symbol(), Some(0))]);
    assert_eq!(times(&sequencer.bar(&symbol(), bar(STEP_MS))), [1]);
    assert_eq!(sequencer.bar(&symbol(), bar(STEP_MS)).doubles, 1);
    let behind = sequencer.bar(&symbol(), bar(4 * STEP_MS));
    assert_eq!((times(&behind), behind.hole), (vec![], Some(hole(2, Some(3)))));
    assert_eq!(sequencer.bar(&symbol(), bar(5 * STEP_MS)), Ordered::default());
    // Bar 3 does not exist: the exchange was down.
    let filled = sequencer.fill(&hole(2, Some(3)), &[bar(2 * STEP_MS)]);
    assert_eq!((times(&filled), filled.hole), (vec![2, 4, 5], None));
}

#[test]
fn a_reconnection_asks_for_what_closed_meanwhile() {
    let mut sequencer = Sequencer::new(STEP_MS, [(symbol(), Some(10 * STEP_MS))]);
    assert_eq!(sequencer.connected(&symbol()), Some(hole(11, None)));
    // Another interruption while the question is under way.
    assert_eq!(sequencer.connected(&symbol()), None);
    assert_eq!(times(&sequencer.bar(&symbol(), bar(11 * STEP_MS))), [11]);
    let filled = sequencer.fill(&hole(11, None), &[bar(11 * STEP_MS), bar(12 * STEP_MS)]);
    assert_eq!((times(&filled), filled.doubles), (vec![12], 1));
    assert_eq!(filled.hole, Some(hole(13, None)));
    let filled = sequencer.fill(&hole(13, None), &[]);
    assert_eq!(filled, Ordered::default());
    let fresh = Symbol::new("ETHUSDT");
    assert_eq!(sequencer.connected(&fresh), None);
}

#[test]
fn a_pair_whose_stream_is_silent_is_noticed_by_the_others() {
    let other = Symbol::new("ETHUSDT");
    let mut sequencer = Sequencer::new(STEP_MS, [(symbol(), Some(0)), (other.clone(), Some(0))]);
    for n in 1..=2 {
        sequencer.bar(&other, bar(n * STEP_MS));
    }
    assert_eq!(sequencer.laggards(), [hole(1, Some(2))]);
    assert!(sequencer.laggards().is_empty(), "asked once");
    sequencer.fill(&hole(1, Some(2)), &[bar(STEP_MS)]);
    assert!(sequencer.laggards().is_empty(), "bar 2 does not exist");
    sequencer.bar(&other, bar(3 * STEP_MS));
    assert_eq!(sequencer.laggards(), [hole(2, Some(3))]);
}

proptest! {
    /// A market of which some bars do not exist. The stream loses, doubles and swaps bars and reconnects; answers to holes
    /// come late. Everything that exists is handed on once and in order.
    #[test]
    fn every_bar_once_and_in_order(
        exists in prop::collection::vec(prop::bool::weighted(0.85), 1..60),
        fate in prop::collection::vec(0_u8..10, 60),
    ) {
        let all: Vec<i64> =
            (1..).zip(&exists).filter(|(_, exists)| **exists).map(|(n, _)| n * STEP_MS).collect();
        let mut sequencer = Sequencer::new(STEP_MS, [(symbol(), Some(0))]);
        let (mut got, mut asked) = (Vec::new(), Vec::new());
        let mut take = |ordered: Ordered, asked: &mut Vec<Hole>| {
            got.extend(ordered.bars.iter().map(|(_, bar)| bar.open_time_ms));
            asked.extend(ordered.hole);
        };
        let page = |hole: &Hole, newest: i64| -> Vec<Bar> {
            let to = hole.to_ms.unwrap_or(newest).min(newest);
            all.iter().filter(|open| (hole.from_ms..=to).contains(open)).map(|open| bar(*open)).collect()
        };
        for (index, open) in all.iter().enumerate() {
            match fate[index] {
                0 | 1 => {}
                2 => {
                    take(sequencer.bar(&symbol(), bar(*open)), &mut asked);
                    take(sequencer.bar(&symbol(), bar(*open)), &mut asked);
                }
                3 => asked.extend(sequencer.connected(&symbol())),
                4 if index > 0 => {
                    take(sequencer.bar(&symbol(), bar(*open)), &mut asked);
                    take(sequencer.bar(&symbol(), bar(all[index - 1])), &mut asked);
                }
                _ => take(sequencer.bar(&symbol(), bar(*open)), &mut asked),
            }
            if fate[index] % 2 == 1 && !asked.is_empty() {
                let hole = asked.remove(0);
                take(sequencer.fill(&hole, &page(&hole, *open)), &mut asked);
            }
            prop_assert!(asked.len() <= 1, "one question at a time");
        }
        // The stream comes back at the end and everything is asked for.
        asked.extend(sequencer.connected(&symbol()));
        while let Some(hole) = asked.pop() {
            take(sequencer.fill(&hole, &page(&hole, i64::MAX)), &mut asked);
        }
        prop_assert_eq!(got, all);
    }
}
