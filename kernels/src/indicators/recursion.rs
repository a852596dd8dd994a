//! Recursive indicators at the speed of vectors: eight lanes of one recursion, with the bits of the plain loop. Not an
//! indicator.
//!
//! A recursion is a chain: each bar waits for the bar before, most of the processor idles. Two ways around that, both
//! without a change to any operation or its order:
//!
//! - **Abreast**: the lanes are parameter sets on the same bars.
//! - **Stretches**: the lanes are eight stretches of the series under one parameter set. Only the first knows the state it
//!   starts from; the others start from a wrong one. These indicators forget exponentially, so after some bars the wrong
//!   state has become the right one *to the last bit*, and from there on every bit is right. Afterwards the bars before
//!   that point are computed again from the state the stretch before ended in, the right and the wrong start side by
//!   side until their states are equal. Nothing is assumed: where they never become equal the stretch is simply
//!   computed again.

#![allow(clippy::needless_range_loop, reason = "one index runs through several arrays of lanes")]

use std::array::from_fn;
use std::marker::PhantomData;
use std::ops::Range;

use super::Outputs;
use super::parts::Parts;
use crate::simd::{Eight, Isa, Kernel, Lanes, Number};

/// Lanes of a vector.
const LANES: usize = 8;
/// Vectors of one pass, so that the waits of one are filled by the others.
const VECTORS: usize = 2;
/// From this many parameter sets on, a vector that is not full is better than one set after another.
const WORTH_A_VECTOR: usize = 6;
/// Bars of which fewer are not worth stretches.
const LEAST_STRETCHES: usize = 1_024;
/// Stretches are worth their repair if the series is this many times as long as the recursion's memory.
const WORTH_STRETCHES: usize = 12;

/// A recursion over `I` inputs with `C` constants per parameter set, `S` numbers of state and `O` outputs. `R` numbers per
/// bar are computed from the inputs alone.
pub(super) trait Recursion<const I: usize, const R: usize, const C: usize, const S: usize, const O: usize> {
    /// The constants of a parameter set.
    fn constants(params: &[f64]) -> [f64; C];

    /// Takes the bars up to and with the first one that has outputs; gives the state and the outputs there.
    fn warm_up(inputs: [&[f64]; I], params: &[f64]) -> ([f64; S], [f64; O]);

    /// Bars after which the recursion has forgotten where it came from, roughly. It decides about speed alone.
    fn memory(params: &[f64]) -> usize;

    /// What the step needs of a bar, from this bar and the one before.
    fn derive<N: Number>(now: [N; I], before: [N; I]) -> [N; R];

    /// One bar: the next state and the outputs.
    fn step<N: Number>(constants: [N; C], state: [N; S], row: [N; R]) -> ([N; S], [N; O]);
}

/// One parameter set on its way through the bars.
struct Walk<'o, const C: usize, const S: usize, const O: usize> {
    constants: [f64; C],
    state: [f64; S],
    /// The first bar still to come.
    next: usize,
    memory: usize,
    /// The bar that the outputs begin with.
    origin: usize,
    out: [&'o mut [f64]; O],
}

/// The batch body of a recursive indicator. `first` gives the first bar with outputs; the series are longer than that.
pub(super) fn batch<T, const I: usize, const R: usize, const C: usize, const S: usize, const O: usize>(
    isa: Isa,
    first: fn(&[f64]) -> usize,
    inputs: &[&[f64]],
    sets: &[&[f64]],
    outputs: &mut [Outputs<'_>],
) where
    T: Recursion<I, R, C, S, O>,
{
    let Some(&inputs) = inputs.first_chunk::<I>() else { return };
    let mut walks: Vec<Walk<'_, C, S, O>> = Vec::with_capacity(sets.len());
    for (params, outputs) in sets.iter().zip(outputs) {
        let Ok(outputs) = <&mut [&mut [f64]; O]>::try_from(outputs.as_mut_slice()) else { return };
        let mut out = outputs.each_mut().map(|out| &mut **out);
        let first = first(params);
        let (state, values) = T::warm_up(inputs.map(|series| &series[..=first]), params);
        for (out, value) in out.iter_mut().zip(values) {
            out[first] = value;
        }
        let (constants, memory) = (T::constants(params), T::memory(params));
        walks.push(Walk { constants, state, next: first + 1, memory, origin: 0, out });
    }
    walks.sort_by_key(|walk| walk.next);
    let mut rest = walks.as_mut_slice();
    while !rest.is_empty() {
        let (some, later) = rest.split_at_mut(rest.len().min(LANES * VECTORS));
        let alone = if some.len() % LANES < WORTH_A_VECTOR { some.len() % LANES } else { 0 };
        let (full, few) = some.split_at_mut(some.len() - alone);
        abreast::<T, I, R, C, S, O>(isa, inputs, full);
        if few.len() == 1 || few.iter().all(|walk| walk.has_stretches(inputs[0].len())) {
            for walk in few {
                walk.stretches::<T, I, R>(isa, inputs);
            }
        } else {
            abreast::<T, I, R, C, S, O>(isa, inputs, few);
        }
        rest = later;
    }
}

/// Goes on from a state with the bars after the first of `inputs`; gives the state after them. `out` begins with that first bar.
pub(super) fn go_on<T, const I: usize, const R: usize, const C: usize, const S: usize, const O: usize>(
    isa: Isa,
    inputs: [&[f64]; I],
    params: &[f64],
    state: [f64; S],
    out: [&mut [f64]; O],
) -> [f64; S]
where
    T: Recursion<I, R, C, S, O>,
{
    let (constants, memory) = (T::constants(params), T::memory(params));
    let mut walk = Walk { constants, state, next: 1, memory, origin: 0, out };
    walk.stretches::<T, I, R>(isa, inputs);
    walk.state
}

impl<const C: usize, const S: usize, const O: usize> Walk<'_, C, S, O> {
    /// Takes the bars before `end` one by one.
    fn advance<T, const I: usize, const R: usize>(&mut self, inputs: [&[f64]; I], end: usize)
    where
        T: Recursion<I, R, C, S, O>,
    {
        for t in self.next..end {
            let row = T::derive(inputs.map(|series| series[t]), inputs.map(|series| series[t - 1]));
            let (state, values) = T::step(self.constants, self.state, row);
            self.state = state;
            for (out, value) in self.out.iter_mut().zip(values) {
                out[t - self.origin] = value;
            }
        }
        self.next = self.next.max(end);
    }

    fn has_stretches(&self, bars: usize) -> bool {
        let left = bars - self.next;
        left >= LEAST_STRETCHES && left / WORTH_STRETCHES >= self.memory
    }

    /// Takes all bars that are left, in eight stretches if the series is long enough.
    fn stretches<T, const I: usize, const R: usize>(&mut self, isa: Isa, inputs: [&[f64]; I])
    where
        T: Recursion<I, R, C, S, O>,
    {
        let bars = inputs[0].len();
        if !self.has_stretches(bars) {
            self.advance::<T, I, R>(inputs, bars);
            return;
        }
        let (begin, guess) = (self.next, self.state);
        let length = stretch_length(bars - begin);
        let kernel = Stretches::<T, I, R, C, S, O> {
            inputs: inputs.map(|series| &series[begin - 1..]),
            out: self.out.each_mut().map(|out| &mut out[begin..]),
            constants: self.constants,
            state: guess,
            length,
            recursion: PhantomData,
        };
        let ends = isa.dispatch(kernel);
        self.state = ends[0];
        for (stretch, &end) in ends.iter().enumerate().skip(1) {
            self.next = begin + stretch * length;
            let met = self.repair::<T, I, R>(inputs, guess, self.next + length);
            if met {
                self.state = end;
            }
        }
        self.next = begin + LANES * length;
        self.advance::<T, I, R>(inputs, bars);
    }

    /// Computes a stretch again from its true state until the guessed start has led to the same one; says whether it has.
    fn repair<T, const I: usize, const R: usize>(
        &mut self,
        inputs: [&[f64]; I],
        mut guess: [f64; S],
        end: usize,
    ) -> bool
    where
        T: Recursion<I, R, C, S, O>,
    {
        for t in self.next..end {
            if self.state.map(f64::to_bits) == guess.map(f64::to_bits) {
                return true;
            }
            let row = T::derive(inputs.map(|series| series[t]), inputs.map(|series| series[t - 1]));
            guess = T::step(self.constants, guess, row).0;
            self.next = t;
            self.advance::<T, I, R>(inputs, t + 1);
        }
        false
    }
}

/// A recursion with one output that is computed in parts.
struct InParts<T, const C: usize, const S: usize> {
    first: fn(&[f64]) -> usize,
    sets: Vec<Vec<f64>>,
    /// Per set its constants, and its state once there is one.
    constants: Vec<[f64; C]>,
    states: Vec<Option<[f64; S]>>,
    recursion: PhantomData<T>,
}

/// See [`super::parts::Start`].
pub(super) fn parts<T, const I: usize, const R: usize, const C: usize, const S: usize>(
    first: fn(&[f64]) -> usize,
    sets: &[&[f64]],
) -> Box<dyn Parts>
where
    T: Recursion<I, R, C, S, 1> + 'static,
{
    Box::new(InParts::<(T, [(); I], [(); R]), C, S> {
        first,
        sets: sets.iter().map(|set| set.to_vec()).collect(),
        constants: sets.iter().map(|set| T::constants(set)).collect(),
        states: vec![None; sets.len()],
        recursion: PhantomData,
    })
}

impl<T, const I: usize, const R: usize, const C: usize, const S: usize> Parts
    for InParts<(T, [(); I], [(); R]), C, S>
where
    T: Recursion<I, R, C, S, 1>,
{
    fn advance(&mut self, isa: Isa, inputs: &[&[f64]], bars: Range<usize>, outputs: &mut [&mut [f64]]) {
        let Some(&inputs) = inputs.first_chunk::<I>() else { return };
        let (mut walks, mut sets) = (Vec::with_capacity(self.sets.len()), Vec::new());
        for (set, out) in outputs.iter_mut().enumerate() {
            let first = (self.first)(&self.sets[set]);
            let (state, next) = match self.states[set] {
                Some(state) => (state, bars.start),
                None if first < bars.end => {
                    let warm_up = inputs.map(|series| &series[..=first]);
                    let (state, [value]) = T::warm_up(warm_up, &self.sets[set]);
                    out[first - bars.start] = value;
                    (state, first + 1)
                }
                None => continue,
            };
            let (constants, out) = (self.constants[set], [&mut **out]);
            walks.push(Walk { constants, state, next, memory: 0, origin: bars.start, out });
            sets.push(set);
        }
        for walks in walks.chunks_mut(LANES * VECTORS) {
            abreast::<T, I, R, C, S, 1>(isa, inputs, walks);
        }
        for (walk, set) in walks.iter().zip(sets) {
            self.states[set] = Some(walk.state);
        }
    }
}

/// The length of eight stretches: whole vectors, and not a multiple of a memory page, where all lanes would fight for the
/// same lines of the cache.
fn stretch_length(bars: usize) -> usize {
    let length = bars / LANES / LANES * LANES;
    let beyond_page = length % 512;
    if beyond_page < 24 { length - beyond_page - 40 } else { length }
}

/// Eight stretches of one walk. `inputs` begin one bar before the first stretch, `out` with it.
struct Stretches<'a, T, const I: usize, const R: usize, const C: usize, const S: usize, const O: usize> {
    inputs: [&'a [f64]; I],
    out: [&'a mut [f64]; O],
    constants: [f64; C],
    state: [f64; S],
    length: usize,
    recursion: PhantomData<T>,
}

impl<T, const I: usize, const R: usize, const C: usize, const S: usize, const O: usize> Kernel
    for Stretches<'_, T, I, R, C, S, O>
where
    T: Recursion<I, R, C, S, O>,
{
    /// The state at the end of every stretch.
    type Output = [[f64; S]; LANES];

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> [[f64; S]; LANES] {
        let constants = splat(lanes, self.constants);
        let mut state = splat(lanes, self.state);
        let mut before = [lanes.splat(0.0); I];
        let mut blocks: [[&[[f64; LANES]]; LANES]; I] = [[&[]; LANES]; I];
        for input in 0..I {
            let mut values = [0.0; LANES];
            for lane in 0..LANES {
                let series = &self.inputs[input][lane * self.length..];
                values[lane] = series[0];
                blocks[input][lane] = series[1..=self.length].as_chunks().0;
            }
            before[input] = lanes.eight(&values);
        }
        let mut places: [[&mut [[f64; LANES]]; LANES]; O] = from_fn(|_| Default::default());
        for (places, out) in places.iter_mut().zip(self.out) {
            for (place, out) in places.iter_mut().zip(out.chunks_exact_mut(self.length)) {
                *place = out.as_chunks_mut().0;
            }
        }
        for block in 0..self.length / LANES {
            let mut bars = [[lanes.splat(0.0); LANES]; I];
            for input in 0..I {
                let mut rows = [lanes.splat(0.0); LANES];
                for lane in 0..LANES {
                    rows[lane] = lanes.eight(&blocks[input][lane][block]);
                }
                bars[input] = lanes.transpose(rows);
            }
            let mut outs = [[lanes.splat(0.0); LANES]; O];
            for bar in 0..LANES {
                let mut now = before;
                for input in 0..I {
                    now[input] = bars[input][bar];
                }
                let (next, values) = T::step(constants, state, T::derive(now, before));
                (before, state) = (now, next);
                for output in 0..O {
                    outs[output][bar] = values[output];
                }
            }
            for output in 0..O {
                let rows = lanes.transpose(outs[output]);
                for lane in 0..LANES {
                    places[output][lane][block] = rows[lane].array();
                }
            }
        }
        by_lane(state)
    }
}

/// Walks together through the bars, once all of them are past their warm-up.
fn abreast<T, const I: usize, const R: usize, const C: usize, const S: usize, const O: usize>(
    isa: Isa,
    inputs: [&[f64]; I],
    walks: &mut [Walk<'_, C, S, O>],
) where
    T: Recursion<I, R, C, S, O>,
{
    let Some(begin) = walks.iter().map(|walk| walk.next).max() else { return };
    for walk in walks.iter_mut() {
        walk.advance::<T, I, R>(inputs, begin);
    }
    let bars = inputs[0].len();
    let vectors = walks.len().div_ceil(LANES);
    let mut constants = vec![[[0.0; LANES]; C]; vectors];
    let mut states = vec![[[0.0; LANES]; S]; vectors];
    // A vector that is not full repeats its last walk; nothing of the repetition is kept.
    for lane in 0..vectors * LANES {
        let walk = &walks[lane.min(walks.len() - 1)];
        for (constant, &value) in constants[lane / LANES].iter_mut().zip(&walk.constants) {
            constant[lane % LANES] = value;
        }
        for (state, &value) in states[lane / LANES].iter_mut().zip(&walk.state) {
            state[lane % LANES] = value;
        }
    }
    let blocks = (bars - begin) / LANES;
    isa.dispatch(Abreast::<T, I, R, C, S, O> {
        inputs,
        begin,
        blocks,
        constants: &constants,
        states: &mut states,
        walks,
        recursion: PhantomData,
    });
    for (lane, walk) in walks.iter_mut().enumerate() {
        for (value, state) in walk.state.iter_mut().zip(&states[lane / LANES]) {
            *value = state[lane % LANES];
        }
        walk.next = begin + blocks * LANES;
        walk.advance::<T, I, R>(inputs, bars);
    }
}

/// `blocks * 8` bars from `begin` on, all walks.
struct Abreast<'a, 'o, T, const I: usize, const R: usize, const C: usize, const S: usize, const O: usize> {
    inputs: [&'a [f64]; I],
    begin: usize,
    blocks: usize,
    constants: &'a [ByNumber<C>],
    states: &'a mut [ByNumber<S>],
    walks: &'a mut [Walk<'o, C, S, O>],
    recursion: PhantomData<T>,
}

impl<T, const I: usize, const R: usize, const C: usize, const S: usize, const O: usize> Kernel
    for Abreast<'_, '_, T, I, R, C, S, O>
where
    T: Recursion<I, R, C, S, O>,
{
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Abreast { inputs, begin, blocks, constants, states, walks, .. } = self;
        let end = begin + blocks * LANES;
        let (mut now, mut before): ([&[[f64; LANES]]; I], _) = ([&[]; I], [[].as_slice(); I]);
        for input in 0..I {
            now[input] = inputs[input][begin..end].as_chunks().0;
            before[input] = inputs[input][begin - 1..end - 1].as_chunks().0;
        }
        // Lanes that are not used have no output.
        let mut outputs: Vec<Blocks<'_, O>> =
            constants.iter().map(|_| from_fn(|_| Default::default())).collect();
        for (place, walk) in walks.iter_mut().enumerate() {
            let bars = begin - walk.origin..end - walk.origin;
            for (lanes, out) in outputs[place / LANES].iter_mut().zip(&mut walk.out) {
                lanes[place % LANES] = out[bars.clone()].as_chunks_mut().0;
            }
        }
        for block in 0..blocks {
            let (mut bar, mut past) = ([lanes.splat(0.0); I], [lanes.splat(0.0); I]);
            for input in 0..I {
                bar[input] = lanes.eight(&now[input][block]);
                past[input] = lanes.eight(&before[input][block]);
            }
            let derived = T::derive(bar, past);
            Self::block(lanes, (constants, &mut *states), derived, (&mut outputs, block));
        }
    }
}

/// Numbers of which every lane has its own.
type ByNumber<const N: usize> = [[f64; LANES]; N];

/// Per output and lane the blocks that are written.
type Blocks<'o, const O: usize> = [[&'o mut [[f64; LANES]]; LANES]; O];

impl<T, const I: usize, const R: usize, const C: usize, const S: usize, const O: usize>
    Abreast<'_, '_, T, I, R, C, S, O>
where
    T: Recursion<I, R, C, S, O>,
{
    /// Eight bars, of which `derived` has the numbers, of all vectors.
    #[inline(always)]
    fn block<L: Lanes>(
        lanes: L,
        (constants, states): (&[ByNumber<C>], &mut [ByNumber<S>]),
        derived: [L::Eight; R],
        (outputs, block): (&mut [Blocks<'_, O>], usize),
    ) {
        let mut rows = [[0.0; LANES]; R];
        for row in 0..R {
            rows[row] = derived[row].array();
        }
        for ((constants, states), outputs) in constants.iter().zip(states).zip(outputs) {
            let constants = load(lanes, constants);
            let mut state = load(lanes, states);
            let mut outs = [[lanes.splat(0.0); LANES]; O];
            for bar in 0..LANES {
                let mut row = [lanes.splat(0.0); R];
                for number in 0..R {
                    row[number] = lanes.splat(rows[number][bar]);
                }
                let (next, values) = T::step(constants, state, row);
                state = next;
                for output in 0..O {
                    outs[output][bar] = values[output];
                }
            }
            for number in 0..S {
                states[number] = state[number].array();
            }
            for output in 0..O {
                let columns = lanes.transpose(outs[output]);
                for lane in 0..LANES {
                    if let Some(out) = outputs[output][lane].get_mut(block) {
                        *out = columns[lane].array();
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn splat<L: Lanes, const N: usize>(lanes: L, values: [f64; N]) -> [L::Eight; N] {
    let mut out = [lanes.splat(0.0); N];
    for i in 0..N {
        out[i] = lanes.splat(values[i]);
    }
    out
}

#[inline(always)]
fn load<L: Lanes, const N: usize>(lanes: L, values: &[[f64; LANES]; N]) -> [L::Eight; N] {
    let mut out = [lanes.splat(0.0); N];
    for i in 0..N {
        out[i] = lanes.eight(&values[i]);
    }
    out
}

#[inline(always)]
fn by_lane<E: Eight, const S: usize>(state: [E; S]) -> [[f64; S]; LANES] {
    let mut out = [[0.0; S]; LANES];
    for number in 0..S {
        let values = state[number].array();
        for lane in 0..LANES {
            out[lane][number] = values[lane];
        }
    }
    out
}
