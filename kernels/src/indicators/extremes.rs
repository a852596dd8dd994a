//! Highest and lowest value of the last `n` bars.
//!
//! `highest[t] = max(x[t-n+1], ..., x[t])`, `lowest` likewise with `min`; first value at `n - 1`; `n = 1` is `x`
//! itself. Source: TA-Lib's `MAX` and `MIN`. The results are exact; a zero is always `+0`, so that the bits do not
//! depend on the order in which equal zeros were compared.
//!
//! Method, bar by bar: M. van Herk, *A fast algorithm for local minimum and maximum filters on rectangular and
//! octagonal kernels* (1992). The bars are cut into blocks of `n`; a window is the tail of one block and the head of
//! the next, so two running extremes per bar are enough whatever `n` is, and no branch depends on the prices. Whole
//! series: see `levels.rs`.

use super::levels::{LONGEST, Levels, TILE};
use super::{Incremental, Indicator, IndicatorParam, Outputs, ParamKind, period};
use crate::simd::{Eight, Isa, Kernel, Lanes};

pub(super) const HIGHEST: Indicator = Indicator {
    name: "highest",
    summary: "highest value of x over n bars",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["highest"],
    first: |params| period(params[0]) - 1,
    tame: true,
    batch: batch::<true>,
    one_pass: None,
    parts: None,
    incremental: |params| Box::new(Extreme::<true>::new(period(params[0]))),
};

pub(super) const LOWEST: Indicator = Indicator {
    name: "lowest",
    summary: "lowest value of x over n bars",
    inputs: &["x"],
    params: &[IndicatorParam { name: "n", kind: ParamKind::Period { min: 1 } }],
    outputs: &["lowest"],
    first: |params| period(params[0]) - 1,
    tame: true,
    batch: batch::<false>,
    one_pass: None,
    parts: None,
    incremental: |params| Box::new(Extreme::<false>::new(period(params[0]))),
};

/// The running highest (or lowest) of `n` values.
pub(super) struct Extreme<const HIGHEST: bool> {
    n: usize,
    /// Slots `0..filled` hold the current block; the slots after them still hold, for the block before, the
    /// extreme from there to that block's end. While the first block fills there is nothing after them.
    slots: Vec<f64>,
    filled: usize,
    /// Extreme of the current block so far.
    head: f64,
}

impl<const HIGHEST: bool> Extreme<HIGHEST> {
    pub(super) fn new(n: usize) -> Self {
        Extreme { n, slots: Vec::new(), filled: 0, head: f64::NAN }
    }

    #[inline]
    fn pick(a: f64, b: f64) -> f64 {
        if HIGHEST == (b > a) { b } else { a }
    }

    /// Takes the next value; `NaN` until `n` have been seen.
    #[inline]
    pub(super) fn step(&mut self, x: f64) -> f64 {
        let x = x + 0.0;
        let at = self.filled;
        self.head = if at == 0 { x } else { Self::pick(self.head, x) };
        if at < self.slots.len() {
            self.slots[at] = x;
        } else {
            self.slots.push(x);
        }
        self.filled += 1;
        if self.filled == self.n {
            for slot in (1..self.n).rev() {
                self.slots[slot - 1] = Self::pick(self.slots[slot - 1], self.slots[slot]);
            }
            self.filled = 0;
            return self.head;
        }
        match self.slots.get(self.filled) {
            Some(&tail) => Self::pick(tail, self.head),
            None => f64::NAN,
        }
    }
}

fn batch<const HIGHEST: bool>(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]) {
    let x = inputs[0];
    let mut windows: Vec<(usize, &mut [f64])> = Vec::with_capacity(sets.len());
    for (params, outputs) in sets.iter().zip(outputs) {
        windows.push((period(params[0]), outputs[0]));
    }
    windows.sort_by_key(|(n, _)| *n);
    let within = windows.partition_point(|(n, _)| *n <= LONGEST);
    let (short, long) = windows.split_at_mut(within);
    if let (Some((shortest, _)), Some((longest, _))) = (short.first(), short.last()) {
        let levels = Levels::new(*shortest, *longest);
        isa.dispatch(Extremes::<HIGHEST> { x, windows: short, levels });
    }
    for (n, out) in long {
        let mut extreme = Extreme::<HIGHEST>::new(*n);
        for (out, &x) in out.iter_mut().zip(x) {
            *out = extreme.step(x);
        }
    }
}

/// The extremes of one series over windows of several lengths, none longer than the levels reach.
struct Extremes<'a, 'o, const HIGHEST: bool> {
    x: &'a [f64],
    windows: &'a mut [(usize, &'o mut [f64])],
    levels: Levels<HIGHEST>,
}

impl<const HIGHEST: bool> Kernel for Extremes<'_, '_, HIGHEST> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        for from in (0..self.x.len()).step_by(TILE) {
            let end = self.x.len().min(from + TILE);
            self.levels.fill(lanes, self.x, from..end);
            for (n, out) in self.windows.iter_mut() {
                let bars = from.max(*n - 1)..end;
                if bars.is_empty() {
                    continue;
                }
                let (a, b) = self.levels.halves(*n, bars.clone());
                let (a, b) = (a.as_chunks(), b.as_chunks());
                let (blocks, rest) = out[bars].as_chunks_mut::<8>();
                for (out, (a, b)) in blocks.iter_mut().zip(a.0.iter().zip(b.0)) {
                    *out = Levels::<HIGHEST>::pick(lanes.eight(a), lanes.eight(b)).array();
                }
                for (out, (&a, &b)) in rest.iter_mut().zip(a.1.iter().zip(b.1)) {
                    *out = Levels::<HIGHEST>::pick(a, b);
                }
            }
        }
    }
}

impl<const HIGHEST: bool> Incremental for Extreme<HIGHEST> {
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs[0] = self.step(inputs[0]);
    }
}
