//! The words of a cluster's signals, for those who look further than one tile.

use std::collections::HashMap;

use super::cluster::Cluster;
use super::compile::Arg;
use super::signals::TileSink;
use super::tile::View;

/// Bytes of signal words that a cluster may hold.
const MAX_BYTES: usize = 48 << 20;

/// The words of the entry and exit signals, each distinct one once.
pub(super) struct SignalTable {
    roots: [Option<Arg>; 4],
    pub(super) words_per_signal: usize,
    words: Vec<u64>,
    /// Per combination the numbers of its signals: entry and exit of a long position, entry and exit of a short one. One that
    /// the program does not have is a signal that is never given.
    pub(super) signals: Vec<[u32; 4]>,
    /// Per signal the combination that writes it.
    writers: Vec<u32>,
}

impl SignalTable {
    /// Numbers the signals of a cluster.
    pub(super) fn new(cluster: &Cluster<'_>, bars: usize) -> SignalTable {
        let roots = cluster.tiles.roots;
        let mut known: HashMap<(usize, usize), u32> = HashMap::new();
        let mut writers = Vec::new();
        let mut number = |place: usize, root: Option<Arg>| {
            let bindings = cluster.bindings(place);
            let identity = match root {
                None => (0, 0),
                Some(Arg::Scalar(scalar)) => (1, usize::from(bindings.scalars[scalar] == 1.0)),
                Some(Arg::Leaf(leaf)) => (2, bindings.leaves[leaf] as usize),
                Some(Arg::Step(step)) => {
                    let step = &cluster.tiles.steps[step];
                    // Private steps differ from combination to combination, and from each other.
                    if step.is_shared {
                        (3, bindings.shared[step.place] as usize)
                    } else {
                        (4 + step.place, place)
                    }
                }
            };
            *known.entry(identity).or_insert_with(|| {
                writers.push(place as u32);
                writers.len() as u32 - 1
            })
        };
        let signals = (0..cluster.rows.len()).map(|place| roots.map(|root| number(place, root))).collect();
        let words_per_signal = bars.div_ceil(64);
        let bytes = writers.len() * words_per_signal * size_of::<u64>();
        let words = if bytes <= MAX_BYTES || cluster.rows.len() == 1 {
            vec![0; writers.len() * words_per_signal]
        } else {
            Vec::new()
        };
        SignalTable { roots, words_per_signal, words, signals, writers }
    }

    /// The words of a signal.
    pub(super) fn of(&self, signal: u32) -> &[u64] {
        &self.words[signal as usize * self.words_per_signal..][..self.words_per_signal]
    }
}

impl TileSink for SignalTable {
    fn places(&self, _: usize) -> Vec<usize> {
        let mut places: Vec<usize> = self.writers.iter().map(|&place| place as usize).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    #[inline(always)]
    fn take(&mut self, view: &View<'_>, place: usize) {
        for (root, signal) in self.roots.into_iter().zip(self.signals[place]) {
            let signal = signal as usize;
            if self.writers[signal] as usize == place && !self.words.is_empty() {
                let first = signal * self.words_per_signal + view.span.first_word;
                self.words[first..first + view.span.words].copy_from_slice(view.signal(root));
            }
        }
    }

    fn fits(&self) -> bool {
        !self.words.is_empty() || self.words_per_signal == 0
    }
}
