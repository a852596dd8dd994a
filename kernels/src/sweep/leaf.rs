//! The series that a cluster's combinations read: whole, or made tile by tile where they are used many times on each and
//! writing all of them to memory would take longer than making them.

use std::ops::Range;
use std::sync::Arc;

use super::codes::Coder;
use super::tile::{Span, TILE, WORDS, Words};
use crate::bits::Bits;
use crate::indicators::parts::Batch;
use crate::series::Series;
use crate::simd::{Codes, Isa};

/// A series of one combination cluster.
pub(super) enum Leaf {
    Numbers(Box<NumberLeaf>),
    Conditions(Arc<Bits>),
}

impl Leaf {
    /// The tile at hand of a series of numbers, for those who come back to it often.
    pub(super) fn tile(&self) -> Option<LeafTile<'_>> {
        match self {
            Leaf::Numbers(leaf) => Some(LeafTile { leaf, codes: leaf.codes(), sparse: leaf.sparse }),
            Leaf::Conditions(_) => None,
        }
    }
}

/// A series of numbers, of which blocks of 64 can be read, the last one filled up with undefined numbers.
pub(super) struct NumberLeaf {
    numbers: Numbers,
    /// Room for the codes of a tile, and whether the tile at hand has codes.
    codes: Vec<[Codes; 8]>,
    is_coded: bool,
    /// Where the tile at hand is defined.
    pub(super) defined: Words,
    /// Bit `w` is set where word `w` of the tile at hand has an undefined bar, or one past the end.
    pub(super) sparse: u64,
}

/// A series of numbers on the tile at hand.
#[derive(Clone, Copy)]
pub(super) struct LeafTile<'l> {
    leaf: &'l NumberLeaf,
    /// Its codes; none if it has none.
    pub(super) codes: &'l [[Codes; 8]],
    /// See [`NumberLeaf::sparse`].
    pub(super) sparse: u64,
}

impl<'l> LeafTile<'l> {
    /// See [`NumberLeaf::block`].
    #[inline(always)]
    pub(super) fn block(&self, word: usize) -> &'l [f64; 64] {
        self.leaf.block(word)
    }
}

enum Numbers {
    Whole {
        series: Arc<Series>,
        tail: Box<[f64; 64]>,
    },
    /// Those of the tile at hand.
    Tile {
        numbers: Vec<f64>,
        first_word: usize,
        first_defined: usize,
    },
}

impl NumberLeaf {
    /// A leaf that is known whole.
    pub(super) fn whole(series: Arc<Series>) -> NumberLeaf {
        let mut tail = Box::new([f64::NAN; 64]);
        let (_, rest) = series.as_chunks::<64>();
        tail[..rest.len()].copy_from_slice(rest);
        NumberLeaf::new(Numbers::Whole { series, tail })
    }

    /// A leaf whose numbers are defined from a bar on, and will be filled in tile by tile.
    fn in_tiles(first_defined: usize) -> NumberLeaf {
        NumberLeaf::new(Numbers::Tile { numbers: vec![f64::NAN; TILE], first_word: 0, first_defined })
    }

    fn new(numbers: Numbers) -> NumberLeaf {
        NumberLeaf { numbers, codes: Vec::new(), is_coded: false, defined: [0; WORDS], sparse: 0 }
    }

    /// The numbers of a word of the series, which is one of the tile at hand.
    #[inline(always)]
    pub(super) fn block(&self, word: usize) -> &[f64; 64] {
        match &self.numbers {
            Numbers::Whole { series, tail } => series.as_chunks::<64>().0.get(word).unwrap_or(tail),
            Numbers::Tile { numbers, first_word, .. } => &numbers.as_chunks::<64>().0[word - first_word],
        }
    }

    /// The codes of the tile at hand; none if it has none.
    #[inline(always)]
    pub(super) fn codes(&self) -> &[[Codes; 8]] {
        if self.is_coded { &self.codes } else { &[] }
    }

    /// Gives the numbers of the tile at hand codes.
    #[inline(always)]
    pub(super) fn encode(&mut self, coder: Coder, span: Span) {
        let mut codes = std::mem::take(&mut self.codes);
        codes.resize(WORDS / 8, [[0; 64]; 8]);
        for (w, codes) in codes.as_flattened_mut().iter_mut().enumerate().take(span.words) {
            coder.encode(self.block(span.first_word + w), codes);
        }
        (self.codes, self.is_coded) = (codes, true);
    }

    /// Goes on to a tile. Its numbers, where they are not known whole, come afterwards.
    pub(super) fn begin(&mut self, span: Span) {
        let Span { first_word: first, words, .. } = span;
        match &mut self.numbers {
            Numbers::Whole { series, .. } => {
                self.defined[..words].copy_from_slice(&series.defined_words()[first..first + words]);
            }
            Numbers::Tile { numbers, first_word, first_defined } => {
                *first_word = first;
                let bars = span.bars();
                self.defined = span.every_bar();
                for (w, defined) in self.defined.iter_mut().enumerate() {
                    let undefined = first_defined.saturating_sub((first + w) * 64);
                    *defined &= u64::MAX.checked_shl(undefined.min(64) as u32).unwrap_or(0);
                }
                // Past the last bar there are still numbers of the tile before.
                numbers[bars.len()..].fill(f64::NAN);
            }
        }
        self.is_coded = false;
        self.sparse = 0;
        for (w, &defined) in self.defined.iter().enumerate().take(words) {
            self.sparse |= u64::from(defined != u64::MAX) << w;
        }
    }
}

/// Leaves that are made tile by tile.
pub(super) struct TileBatch {
    batch: Batch,
    /// Where they are among the leaves.
    pub(super) leaves: Range<usize>,
    /// Whether they are the first ones of their kind.
    pub(super) is_first: bool,
}

impl TileBatch {
    /// Adds the leaves of a batch to others.
    pub(super) fn new(batch: Batch, is_first: bool, leaves: &mut Vec<Leaf>) -> TileBatch {
        let first = leaves.len();
        leaves.extend(batch.firsts.iter().map(|&first| Leaf::Numbers(Box::new(NumberLeaf::in_tiles(first)))));
        TileBatch { batch, leaves: first..leaves.len(), is_first }
    }

    /// Its leaves.
    pub(super) fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Fills in the numbers of the next tile, to which its leaves have gone on.
    pub(super) fn fill(&mut self, isa: Isa, span: Span, leaves: &mut [Leaf]) {
        let bars = span.bars();
        let mut outputs: Vec<&mut [f64]> = Vec::with_capacity(self.leaves.len());
        for leaf in &mut leaves[self.leaves.clone()] {
            if let Leaf::Numbers(leaf) = leaf
                && let Numbers::Tile { numbers, .. } = &mut leaf.numbers
            {
                outputs.push(&mut numbers[..bars.len()]);
            }
        }
        self.batch.advance(isa, bars, &mut outputs);
    }
}
