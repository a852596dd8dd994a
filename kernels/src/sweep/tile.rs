//! The conditions of many combinations, a stretch of bars at a time.
//!
//! Series that have a memory (indicators, lags, lifted timeframes) come whole from the [`crate::evaluate::Evaluator`]. What is
//! computed from them bar by bar (arithmetic, comparisons, crosses, logic) is computed here per *tile* of bars, so that it
//! stays in the nearest cache: an operation that several combinations share once for all of them, one that every combination
//! has for itself just before its words are used. The values are those of the evaluator, bit for bit.

#![allow(clippy::needless_range_loop, reason = "one index runs through several rows of words")]

use std::ops::Range;

use super::compile::{Arg, Kind, Step, TileProgram};
use super::leaf::{Leaf, NumberLeaf};
use crate::evaluate::elementwise;
use crate::program::Op;
use crate::series::finite;
use crate::simd::Lanes;

/// Words of a tile.
pub(super) const WORDS: usize = 32;
/// Bars of a tile.
pub(super) const TILE: usize = 64 * WORDS;

/// A row of words of one tile.
pub(super) type Words = [u64; WORDS];

/// No bar at all.
static NEVER: Words = [0; WORDS];

/// What a condition or comparison is on a tile. Bits past the last bar are zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct WordTile {
    /// Where it is defined and TRUE; of an ordering, where `a > b`.
    pub(super) value: Words,
    /// Where it is defined.
    pub(super) defined: Words,
    /// Of an ordering, where `a = b`.
    equal: Words,
}

impl WordTile {
    pub(super) const EMPTY: WordTile = WordTile { value: [0; WORDS], defined: [0; WORDS], equal: [0; WORDS] };
}

/// Where the combination at hand finds what its operations read: per leaf, shared operation and scalar of the program.
#[derive(Clone, Copy)]
pub(super) struct Bindings<'b> {
    pub(super) leaves: &'b [u32],
    pub(super) shared: &'b [u32],
    pub(super) scalars: &'b [f64],
}

/// The bars of a tile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Word of the series that the tile begins with.
    pub(super) first_word: usize,
    /// Words of this tile, at most [`WORDS`].
    pub(super) words: usize,
    /// The last word's bits that are bars.
    last_mask: u64,
}

impl Span {
    /// The tile that begins with bar `first_bar` of `bars`.
    pub(super) fn new(first_bar: usize, bars: usize) -> Span {
        let len = (bars - first_bar).min(TILE);
        let last_mask = if len.is_multiple_of(64) { u64::MAX } else { (1 << (len % 64)) - 1 };
        Span { first_word: first_bar / 64, words: len.div_ceil(64), last_mask }
    }

    /// The bars.
    pub(super) fn bars(&self) -> Range<usize> {
        let last = self.last_mask.count_ones() as usize;
        self.first_word * 64..(self.first_word + self.words - 1) * 64 + last
    }

    /// The words with every bar set.
    pub(super) fn every_bar(&self) -> Words {
        let mut words = NEVER;
        words[..self.words].fill(u64::MAX);
        words[self.words - 1] = self.last_mask;
        words
    }
}

/// Room for every operation's values on a tile.
pub(super) struct TileRoom {
    shared: Vec<WordTile>,
    private: Vec<WordTile>,
    shared_numbers: Vec<Vec<f64>>,
    private_numbers: Vec<Vec<f64>>,
}

/// What a step reads: the leaves, and the results of the steps before it.
#[derive(Clone, Copy)]
pub(super) struct View<'v> {
    pub(super) span: Span,
    every_bar: &'v Words,
    program: &'v TileProgram,
    leaves: &'v [Leaf],
    bindings: Bindings<'v>,
    shared: &'v [WordTile],
    private: &'v [WordTile],
    shared_numbers: &'v [Vec<f64>],
    private_numbers: &'v [Vec<f64>],
}

/// What a cluster reads on every tile.
#[derive(Clone, Copy)]
pub(super) struct Source<'v> {
    pub(super) program: &'v TileProgram,
    pub(super) leaves: &'v [Leaf],
    pub(super) span: Span,
    /// The words with every bar of the span set.
    pub(super) every_bar: &'v Words,
}

/// The last bits of the tile before, per cross.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Carry {
    greater: bool,
    equal: bool,
    defined: bool,
}

impl TileRoom {
    /// Room for `shared` operations' instances, and for one combination's own.
    pub(super) fn new(program: &TileProgram, shared: &[usize]) -> TileRoom {
        let numbers = |step: usize| {
            if program.steps[step].kind == Kind::Number { vec![0.0; TILE] } else { Vec::new() }
        };
        TileRoom {
            shared: vec![WordTile::EMPTY; shared.len()],
            private: vec![WordTile::EMPTY; program.private.len()],
            shared_numbers: shared.iter().map(|&step| numbers(step)).collect(),
            private_numbers: program.private.iter().map(|&step| numbers(step)).collect(),
        }
    }

    /// Everything computed so far, as a combination sees it.
    #[inline(always)]
    pub(super) fn view<'v>(&'v self, source: Source<'v>, bindings: Bindings<'v>) -> View<'v> {
        View {
            span: source.span,
            every_bar: source.every_bar,
            program: source.program,
            leaves: source.leaves,
            bindings,
            shared: &self.shared,
            private: &self.private,
            shared_numbers: &self.shared_numbers,
            private_numbers: &self.private_numbers,
        }
    }

    /// Computes the instance `instance` of a shared step for the combination that stands for it. Instances of the steps it
    /// reads come before it.
    #[inline(always)]
    pub(super) fn compute_shared<L: Lanes>(
        &mut self,
        lanes: L,
        source: Source<'_>,
        (index, instance): (usize, usize),
        bindings: Bindings<'_>,
        carry: &mut Carry,
    ) {
        let (before, after) = self.shared.split_at_mut(instance);
        let (before_numbers, after_numbers) = self.shared_numbers.split_at_mut(instance);
        let view = View {
            span: source.span,
            every_bar: source.every_bar,
            program: source.program,
            leaves: source.leaves,
            bindings,
            shared: before,
            private: &[],
            shared_numbers: before_numbers,
            private_numbers: &[],
        };
        view.compute(lanes, index, carry, &mut after[0], &mut after_numbers[0]);
    }

    /// Computes the private step at `place` of the program's private steps for one combination.
    #[inline(always)]
    pub(super) fn compute_private<L: Lanes>(
        &mut self,
        lanes: L,
        source: Source<'_>,
        place: usize,
        bindings: Bindings<'_>,
        carry: &mut Carry,
    ) {
        let (before, after) = self.private.split_at_mut(place);
        let (before_numbers, after_numbers) = self.private_numbers.split_at_mut(place);
        let view = View {
            span: source.span,
            every_bar: source.every_bar,
            program: source.program,
            leaves: source.leaves,
            bindings,
            shared: &self.shared,
            private: before,
            shared_numbers: &self.shared_numbers,
            private_numbers: before_numbers,
        };
        view.compute(lanes, source.program.private[place], carry, &mut after[0], &mut after_numbers[0]);
    }
}

impl<'v> View<'v> {
    /// The words of a signal: where it is defined and TRUE.
    #[inline(always)]
    pub(super) fn signal(&self, root: Option<Arg>) -> &'v [u64] {
        let Span { first_word, words, .. } = self.span;
        match root {
            Some(Arg::Step(step)) => &self.words_of(step).value[..words],
            Some(Arg::Leaf(leaf)) => match &self.leaves[self.bindings.leaves[leaf] as usize] {
                Leaf::Conditions(bits) => &bits.value_words()[first_word..first_word + words],
                Leaf::Numbers(_) => &NEVER[..words],
            },
            Some(Arg::Scalar(scalar)) if self.bindings.scalars[scalar] == 1.0 => &self.every_bar[..words],
            Some(Arg::Scalar(_)) | None => &NEVER[..words],
        }
    }

    #[inline(always)]
    fn words_of(&self, step: usize) -> &'v WordTile {
        let Step { is_shared, place, .. } = self.program.steps[step];
        if is_shared { &self.shared[self.bindings.shared[place] as usize] } else { &self.private[place] }
    }

    #[inline(always)]
    fn numbers_of(&self, step: usize) -> &'v [f64] {
        let Step { is_shared, place, .. } = self.program.steps[step];
        if is_shared {
            &self.shared_numbers[self.bindings.shared[place] as usize]
        } else {
            &self.private_numbers[place]
        }
    }

    #[inline(always)]
    fn compute<L: Lanes>(
        &self,
        lanes: L,
        index: usize,
        carry: &mut Carry,
        out: &mut WordTile,
        numbers: &mut [f64],
    ) {
        let step = &self.program.steps[index];
        match step.kind {
            Kind::Number => self.compute_numbers(step, numbers),
            Kind::Order => self.order(lanes, step, out),
            Kind::Compare(op) => {
                let Arg::Step(order) = step.args[0] else { return };
                compare(self.words_of(order), op, out);
            }
            Kind::Cross { above } => {
                let Arg::Step(order) = step.args[0] else { return };
                cross(self.words_of(order), above, carry, out);
            }
            Kind::Logic(op) => self.logic(step, op, out),
            Kind::ConditionCase => self.condition_case(step, out),
        }
    }

    #[inline(always)]
    fn logic(&self, step: &Step, op: Op, out: &mut WordTile) {
        let mut all = self.condition(step.args[0]);
        if op == Op::Not {
            for w in 0..WORDS {
                all.value[w] = all.defined[w] & !all.value[w];
            }
        }
        for &arg in &step.args[1..] {
            let part = self.condition(arg);
            for w in 0..WORDS {
                all.defined[w] &= part.defined[w];
                all.value[w] =
                    if op == Op::And { all.value[w] & part.value[w] } else { all.value[w] | part.value[w] };
            }
        }
        for w in 0..WORDS {
            out.defined[w] = all.defined[w];
            out.value[w] = all.value[w] & all.defined[w];
        }
    }

    /// A condition argument as words.
    #[inline(always)]
    fn condition(&self, arg: Arg) -> WordTile {
        let mut out = WordTile::EMPTY;
        match arg {
            Arg::Step(step) => return *self.words_of(step),
            Arg::Leaf(leaf) => {
                if let Leaf::Conditions(bits) = &self.leaves[self.bindings.leaves[leaf] as usize] {
                    let range = self.span.first_word..self.span.first_word + self.span.words;
                    out.value[..self.span.words].copy_from_slice(&bits.value_words()[range.clone()]);
                    out.defined[..self.span.words].copy_from_slice(&bits.defined_words()[range]);
                }
            }
            Arg::Scalar(scalar) => {
                let value = self.bindings.scalars[scalar];
                if !value.is_nan() {
                    out.defined = *self.every_bar;
                }
                if value == 1.0 {
                    out.value = out.defined;
                }
            }
        }
        out
    }

    #[inline(always)]
    fn condition_case(&self, step: &Step, out: &mut WordTile) {
        *out = WordTile::EMPTY;
        let mut open = [u64::MAX; WORDS];
        let (pairs, rest) = step.args.as_chunks::<2>();
        for pair in pairs {
            let condition = self.condition(pair[0]);
            let then = self.condition(pair[1]);
            for w in 0..WORDS {
                let taken = open[w] & condition.value[w];
                out.value[w] |= taken & then.value[w];
                out.defined[w] |= taken & then.defined[w];
                open[w] &= condition.defined[w] & !condition.value[w];
            }
        }
        if let [otherwise] = rest {
            let otherwise = self.condition(*otherwise);
            for w in 0..WORDS {
                out.value[w] |= open[w] & otherwise.value[w];
                out.defined[w] |= open[w] & otherwise.defined[w];
            }
        }
    }

    /// A block of 64 numbers of an argument, and where they are defined.
    #[inline(always)]
    fn block<'t>(&'t self, arg: Arg, word: usize, constant: &'t mut [f64; 64]) -> &'t [f64; 64] {
        match arg {
            Arg::Leaf(leaf) => match &self.leaves[self.bindings.leaves[leaf] as usize] {
                Leaf::Numbers(numbers) => return numbers.block(self.span.first_word + word),
                Leaf::Conditions(_) => constant.fill(f64::NAN),
            },
            Arg::Step(step) => {
                let numbers = self.numbers_of(step);
                if let Some(block) = numbers.as_chunks::<64>().0.get(word) {
                    return block;
                }
            }
            Arg::Scalar(scalar) => constant.fill(self.bindings.scalars[scalar]),
        }
        constant
    }

    #[inline(always)]
    fn order<L: Lanes>(&self, lanes: L, step: &Step, out: &mut WordTile) {
        let (a, b) = (step.args[0], step.args[1]);
        match [a, b].map(|arg| self.numbers_leaf(arg)) {
            [Some(a), Some(b)] => return self.order_leaves(lanes, a, b, out),
            [Some(a), None] if let Arg::Scalar(b) = b => {
                return self.order_scalar::<L, false>(lanes, a, self.bindings.scalars[b], out);
            }
            [None, Some(b)] if let Arg::Scalar(a) = a => {
                return self.order_scalar::<L, true>(lanes, b, self.bindings.scalars[a], out);
            }
            _ => {}
        }
        let (mut room_a, mut room_b) = ([0.0; 64], [0.0; 64]);
        for w in 0..self.span.words {
            let a = self.block(a, w, &mut room_a);
            let b = self.block(b, w, &mut room_b);
            out.value[w] = lanes.lt(b, a);
            out.equal[w] = lanes.eq(a, b);
            out.defined[w] = lanes.eq(a, a) & lanes.eq(b, b);
        }
        self.cut(out);
    }

    /// The leaf that an argument is, if it is one of numbers.
    #[inline(always)]
    fn numbers_leaf(&self, arg: Arg) -> Option<&NumberLeaf> {
        let Arg::Leaf(leaf) = arg else { return None };
        match &self.leaves[self.bindings.leaves[leaf] as usize] {
            Leaf::Numbers(numbers) => Some(numbers),
            Leaf::Conditions(_) => None,
        }
    }

    /// A leaf beside a number that is the same at every bar, and comes first if `SWAPPED`.
    #[inline(always)]
    fn order_scalar<L: Lanes, const SWAPPED: bool>(
        &self,
        lanes: L,
        leaf: &NumberLeaf,
        scalar: f64,
        out: &mut WordTile,
    ) {
        let scalars = [scalar; 64];
        for w in 0..self.span.words {
            let numbers = leaf.block(self.span.first_word + w);
            let (a, b) = if SWAPPED { (&scalars, numbers) } else { (numbers, &scalars) };
            out.value[w] = lanes.lt(b, a);
            out.equal[w] = lanes.eq(a, b);
            out.defined[w] = if scalar.is_nan() { 0 } else { leaf.defined[w] };
        }
        self.cut(out);
    }

    /// Scalars and numbers computed on the tile go on past the last bar.
    #[inline(always)]
    fn cut(&self, out: &mut WordTile) {
        let last = self.span.words - 1;
        out.value[last] &= self.span.last_mask;
        out.equal[last] &= self.span.last_mask;
        out.defined[last] &= self.span.last_mask;
        out.value[self.span.words..].fill(0);
        out.equal[self.span.words..].fill(0);
        out.defined[self.span.words..].fill(0);
    }

    #[inline(always)]
    fn order_leaves<L: Lanes>(&self, lanes: L, a: &NumberLeaf, b: &NumberLeaf, out: &mut WordTile) {
        let Span { first_word, words, .. } = self.span;
        let (a_defined, b_defined) = (&a.defined, &b.defined);
        let (a_codes, b_codes) = (a.codes().as_flattened(), b.codes().as_flattened());
        if let (Some(a_codes), Some(b_codes)) = (a_codes.get(..words), b_codes.get(..words)) {
            let mut undecided = 0u64;
            for w in 0..words.min(WORDS) {
                let (greater, same) = lanes.order(&a_codes[w], &b_codes[w]);
                let both = a_defined[w] & b_defined[w];
                out.value[w] = greater & both;
                out.equal[w] = same & both;
                out.defined[w] = both;
                undecided |= u64::from(same & both != 0) << w;
            }
            while undecided != 0 {
                let w = undecided.trailing_zeros() as usize;
                undecided &= undecided - 1;
                let (a, b) = (a.block(first_word + w), b.block(first_word + w));
                (out.value[w], out.equal[w]) = decide(a, b, out.value[w], out.equal[w]);
            }
        } else {
            for w in 0..words.min(WORDS) {
                let (a, b) = (a.block(first_word + w), b.block(first_word + w));
                out.value[w] = lanes.lt(b, a);
                out.equal[w] = lanes.eq(a, b);
                out.defined[w] = a_defined[w] & b_defined[w];
            }
        }
        if words < WORDS {
            out.value[words..].fill(0);
            out.equal[words..].fill(0);
            out.defined[words..].fill(0);
        }
    }

    #[inline(always)]
    fn compute_numbers(&self, step: &Step, numbers: &mut [f64]) {
        let mut room = [0.0; 64];
        for (w, out) in numbers.as_chunks_mut::<64>().0.iter_mut().enumerate().take(self.span.words) {
            if step.op == Op::Case {
                self.number_case(step, w, out);
                continue;
            }
            *out = *self.block(step.args[0], w, &mut room);
            if step.args.len() == 1 {
                elementwise::unary_block(step.op, out);
            }
            for &arg in &step.args[1..] {
                elementwise::binary_block(step.op, out, self.block(arg, w, &mut room));
            }
            if step.is_single {
                elementwise::unary_block(Op::Single, out);
            }
        }
    }

    fn number_case(&self, step: &Step, word: usize, out: &mut [f64; 64]) {
        out.fill(f64::NAN);
        let mut open = u64::MAX;
        let mut room = [0.0; 64];
        let mut take = |mut chosen: u64, arg: Arg| {
            let from = self.block(arg, word, &mut room);
            while chosen != 0 {
                let i = chosen.trailing_zeros() as usize;
                out[i] = finite(from[i]);
                chosen &= chosen - 1;
            }
        };
        let (pairs, rest) = step.args.as_chunks::<2>();
        for pair in pairs {
            let condition = self.condition(pair[0]);
            take(open & condition.value[word], pair[1]);
            open &= condition.defined[word] & !condition.value[word];
        }
        if let [otherwise] = rest {
            take(open, *otherwise);
        }
    }
}

/// Equal codes do not say which number is the larger one; the numbers do.
#[cold]
#[inline(never)]
pub(super) fn decide(a: &[f64; 64], b: &[f64; 64], greater: u64, same: u64) -> (u64, u64) {
    let (mut greater, mut equal, mut open) = (greater, 0, same);
    while open != 0 {
        let i = open.trailing_zeros() as usize;
        greater |= u64::from(a[i] > b[i]) << i;
        equal |= u64::from(a[i] == b[i]) << i;
        open &= open - 1;
    }
    (greater, equal)
}

#[inline(always)]
fn compare(order: &WordTile, op: Op, out: &mut WordTile) {
    for w in 0..WORDS {
        let (greater, equal, defined) = (order.value[w], order.equal[w], order.defined[w]);
        out.defined[w] = defined;
        out.value[w] = match op {
            Op::Gt => greater,
            Op::Ge => greater | equal,
            Op::Lt => defined & !(greater | equal),
            Op::Le => defined & !greater,
            Op::Eq => equal,
            _ => defined & !equal,
        };
    }
}

/// Greater now and not before, or the mirror of it; defined where both bars are. Words past the end are zero in an
/// ordering, and no tile follows one that has them.
#[inline(always)]
fn cross(order: &WordTile, above: bool, carry: &mut Carry, out: &mut WordTile) {
    let defined_before = later(&order.defined, carry.defined);
    let greater_before = later(&order.value, carry.greater);
    if above {
        for w in 0..WORDS {
            out.defined[w] = order.defined[w] & defined_before[w];
            out.value[w] = order.value[w] & defined_before[w] & !greater_before[w];
        }
    } else {
        let equal_before = later(&order.equal, carry.equal);
        for w in 0..WORDS {
            out.defined[w] = order.defined[w] & defined_before[w];
            let is_less = order.defined[w] & !(order.value[w] | order.equal[w]);
            out.value[w] = is_less & (greater_before[w] | equal_before[w]);
        }
    }
    let last = |words: &Words| words[WORDS - 1] >> 63 == 1;
    *carry = Carry { greater: last(&order.value), equal: last(&order.equal), defined: last(&order.defined) };
}

/// Every bit one bar later.
#[inline(always)]
fn later(words: &Words, carry: bool) -> Words {
    let mut out = [0; WORDS];
    out[0] = words[0] << 1 | u64::from(carry);
    for w in 1..WORDS {
        out[w] = words[w] << 1 | words[w - 1] >> 63;
    }
    out
}
