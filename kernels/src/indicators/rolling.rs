//! Running means of whole series, one or eight at a time, in the order of operations of `sma.rs`. Not an indicator.
//!
//! The running sum is a chain of two additions per bar which no vector can break: its rounding errors stay in it, so a
//! guessed start never becomes the right one. One mean alone therefore takes the time of that chain, with the divisions
//! made eight at a time beside it; eight means in lanes take hardly longer than one.

#![allow(clippy::needless_range_loop, reason = "one index runs through several arrays of lanes")]

use std::ops::Range;

use super::parts::Parts;
use super::period;
use super::sma::RollingMean;
use crate::series::all_finite;
use crate::simd::{Eight, Isa, Kernel, Lanes};

/// Means in one vector.
const LANES: usize = 8;
/// From this many means on, lanes are faster than one after another.
const WORTH_LANES: usize = 3;
/// Bars summed up before they are divided: few enough that the processor divides while it adds the next ones.
pub(super) const STRIDE: usize = 32;

/// A mean over `n` of a source: `out[t]` for every `t` from `n - 1` on. Source and output have one length, at least `n`.
pub(super) struct Roll<'r> {
    pub(super) source: &'r [f64],
    pub(super) n: usize,
    pub(super) out: &'r mut [f64],
}

/// Computes every mean.
pub(super) fn means(isa: Isa, rolls: &mut [Roll<'_>]) {
    // Over one bar the running sum is the value itself (a zero becomes +0), unless one was not finite and stays in it.
    let mut rest: Vec<&mut Roll<'_>> = Vec::with_capacity(rolls.len());
    for roll in rolls {
        if roll.n == 1 && all_finite(isa, roll.source) {
            for (out, &x) in roll.out.iter_mut().zip(roll.source) {
                *out = x + 0.0;
            }
        } else {
            rest.push(roll);
        }
    }
    for group in rest.chunks_mut(LANES) {
        if group.len() >= WORTH_LANES {
            abreast(isa, group);
        } else {
            for roll in group {
                isa.dispatch(Single { source: roll.source, n: roll.n, out: roll.out });
            }
        }
    }
}

/// One mean.
struct Single<'a> {
    source: &'a [f64],
    n: usize,
    out: &'a mut [f64],
}

impl Kernel for Single<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let mut sums = Sums::start(self.source, self.n, self.out);
        sums.strides(lanes, self.source, self.out);
    }
}

/// A running sum on its way through its source.
pub(super) struct Sums {
    n: usize,
    sum: f64,
    /// The first bar still to come.
    pub(super) next: usize,
}

impl Sums {
    /// Takes the first window, whose mean it writes.
    pub(super) fn start(source: &[f64], n: usize, out: &mut [f64]) -> Sums {
        let mut mean = RollingMean::new(n);
        for (out, &x) in out.iter_mut().zip(source).take(n) {
            *out = mean.step(x, None);
        }
        Sums { n, sum: mean.total, next: n }
    }

    /// Takes the first window once `source` holds it; `out` begins with bar `origin`.
    fn first_window(&mut self, source: &[f64], origin: usize, out: &mut [f64]) {
        if self.next == 0 && self.n <= source.len() {
            let mut mean = RollingMean::new(self.n);
            out[self.n - 1 - origin] = source[..self.n].iter().fold(f64::NAN, |_, &x| mean.step(x, None));
            (self.sum, self.next) = (mean.total, self.n);
        }
    }

    /// Takes the bars before `end` one by one.
    #[inline(always)]
    pub(super) fn advance(&mut self, source: &[f64], out: &mut [f64], end: usize) {
        self.advance_from(source, 0, out, end);
    }

    /// The same where `out` begins with bar `origin`.
    #[inline(always)]
    fn advance_from(&mut self, source: &[f64], origin: usize, out: &mut [f64], end: usize) {
        for t in self.next..end {
            self.sum = self.sum - source[t - self.n] + source[t];
            out[t - origin] = self.sum / self.n as f64;
        }
        self.next = self.next.max(end);
    }

    /// Takes the next `BARS` bars, some vectors, and gives the place of their means.
    #[inline(always)]
    pub(super) fn stride<'o, const BARS: usize, L: Lanes>(
        &mut self,
        lanes: L,
        source: &[f64],
        out: &'o mut [f64],
    ) -> &'o mut [[f64; LANES]] {
        let t = self.next;
        self.next += BARS;
        let (entering, leaving) = (&source[t..t + BARS], &source[t - self.n..t - self.n + BARS]);
        let out = &mut out[t..t + BARS];
        self.sum = stride::<BARS, L>(lanes, self.sum, self.n, [entering, leaving], out);
        out.as_chunks_mut().0
    }

    /// Takes all bars that are left.
    #[inline(always)]
    pub(super) fn strides<L: Lanes>(&mut self, lanes: L, source: &[f64], out: &mut [f64]) {
        while self.next + STRIDE <= source.len() {
            self.stride::<STRIDE, L>(lanes, source, out);
        }
        self.advance(source, out, source.len());
    }
}

/// The means of `BARS` bars, some vectors, over `n`, given the sum before them and what enters and leaves; gives the sum after them.
#[inline(always)]
pub(super) fn stride<const BARS: usize, L: Lanes>(
    lanes: L,
    mut sum: f64,
    n: usize,
    [entering, leaving]: [&[f64]; 2],
    out: &mut [f64],
) -> f64 {
    let (entering, leaving): (&[f64; BARS], &[f64; BARS]) =
        (&entering.as_chunks().0[0], &leaving.as_chunks().0[0]);
    let mut sums = [0.0; BARS];
    for i in 0..BARS {
        sum = sum - leaving[i] + entering[i];
        sums[i] = sum;
    }
    let divisor = lanes.splat(n as f64);
    for (out, sums) in out.as_chunks_mut().0.iter_mut().zip(sums.as_chunks().0) {
        *out = (lanes.eight(sums) / divisor).array();
    }
    sum
}

/// Up to eight means in lanes, from the longest warm-up to the shortest end.
fn abreast(isa: Isa, rolls: &mut [&mut Roll<'_>]) {
    let mut sums: Vec<Sums> = Vec::with_capacity(rolls.len());
    for roll in rolls.iter_mut() {
        sums.push(Sums::start(roll.source, roll.n, roll.out));
    }
    let end = rolls.iter().map(|roll| roll.source.len()).min().unwrap_or(0);
    let begin = sums.iter().map(|sums| sums.next).max().unwrap_or(0).min(end);
    for (roll, sums) in rolls.iter_mut().zip(&mut sums) {
        sums.advance(roll.source, roll.out, begin);
    }
    let blocks = (end - begin) / LANES;
    if sums.iter().all(|sums| sums.next == begin) {
        blocks_abreast(isa, rolls, &mut sums, 0, begin, blocks);
    }
    for (roll, sums) in rolls.iter_mut().zip(&mut sums) {
        sums.advance(roll.source, roll.out, roll.source.len());
    }
}

/// `blocks * 8` bars from `begin` on, where all sums have arrived. Outputs begin with bar `origin`.
fn blocks_abreast(
    isa: Isa,
    rolls: &mut [&mut Roll<'_>],
    sums: &mut [Sums],
    origin: usize,
    begin: usize,
    blocks: usize,
) {
    let mut totals = [0.0; LANES];
    for (total, sums) in totals.iter_mut().zip(&*sums) {
        *total = sums.sum;
    }
    isa.dispatch(Abreast { rolls, origin, begin, blocks, totals: &mut totals });
    for (total, sums) in totals.iter().zip(sums) {
        (sums.sum, sums.next) = (*total, begin + blocks * LANES);
    }
}

/// Means of one source that are computed in parts.
pub(super) struct Means {
    sums: Vec<Sums>,
}

impl Means {
    /// See [`super::parts::Start`].
    pub(super) fn parts(sets: &[&[f64]]) -> Box<dyn Parts> {
        let sums = sets.iter().map(|set| Sums { n: period(set[0]), sum: 0.0, next: 0 });
        Box::new(Means { sums: sums.collect() })
    }
}

impl Parts for Means {
    fn advance(&mut self, isa: Isa, inputs: &[&[f64]], bars: Range<usize>, outputs: &mut [&mut [f64]]) {
        let (source, origin) = (&inputs[0][..bars.end], bars.start);
        for (sums, outputs) in self.sums.chunks_mut(LANES).zip(outputs.chunks_mut(LANES)) {
            for (sums, out) in sums.iter_mut().zip(&mut *outputs) {
                sums.first_window(source, origin, out);
            }
            // Sums whose first window ends in this part, or later, go on alone.
            let is_late = sums.iter().any(|sums| sums.next == 0 || sums.next != origin);
            let blocks = if is_late { 0 } else { bars.len() / LANES };
            if blocks > 0 {
                let mut rolls: Vec<Roll<'_>> = Vec::with_capacity(LANES);
                for (sums, out) in sums.iter().zip(&mut *outputs) {
                    rolls.push(Roll { source, n: sums.n, out });
                }
                let mut rolls: Vec<&mut Roll<'_>> = rolls.iter_mut().collect();
                blocks_abreast(isa, &mut rolls, sums, origin, origin, blocks);
            }
            for (sums, out) in sums.iter_mut().zip(outputs) {
                if sums.next > 0 {
                    sums.advance_from(source, origin, out, bars.end);
                }
            }
        }
    }
}

/// `blocks * 8` bars of up to eight means.
struct Abreast<'a, 'b, 'r> {
    rolls: &'a mut [&'b mut Roll<'r>],
    /// The bar that outputs begin with.
    origin: usize,
    begin: usize,
    blocks: usize,
    totals: &'a mut [f64; LANES],
}

impl Kernel for Abreast<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let mut total = lanes.eight(self.totals);
        let (last, end) = (self.rolls.len() - 1, self.begin + self.blocks * LANES);
        let shared = self.rolls.iter().all(|roll| std::ptr::eq(roll.source, self.rolls[0].source));
        let (mut entering, mut leaving): ([&[[f64; LANES]]; LANES], _) =
            ([&[]; LANES], [[].as_slice(); LANES]);
        let mut divisors = [1.0; LANES];
        for lane in 0..LANES {
            // Lanes that are not used repeat the last one.
            let Roll { source, n, .. } = *self.rolls[lane.min(last)];
            entering[lane] = source[self.begin..end].as_chunks().0;
            leaving[lane] = source[self.begin - n..end - n].as_chunks().0;
            divisors[lane] = n as f64;
        }
        let divisors = lanes.eight(&divisors);
        let mut outputs: [&mut [[f64; LANES]]; LANES] = Default::default();
        for (output, roll) in outputs.iter_mut().zip(self.rolls) {
            *output = roll.out[self.begin - self.origin..end - self.origin].as_chunks_mut().0;
        }
        for block in 0..self.blocks {
            let (mut left, mut entered) = ([total; LANES], [total; LANES]);
            for lane in 0..LANES {
                left[lane] = lanes.eight(&leaving[lane][block]);
            }
            let left = lanes.transpose(left);
            if shared {
                let values = entering[0][block];
                for bar in 0..LANES {
                    entered[bar] = lanes.splat(values[bar]);
                }
            } else {
                for lane in 0..LANES {
                    entered[lane] = lanes.eight(&entering[lane][block]);
                }
                entered = lanes.transpose(entered);
            }
            let mut means = [total; LANES];
            for bar in 0..LANES {
                total = total - left[bar] + entered[bar];
                means[bar] = total / divisors;
            }
            let means = lanes.transpose(means);
            for lane in 0..LANES {
                // Lanes that are not used have no output.
                if let Some(out) = outputs[lane].get_mut(block) {
                    *out = means[lane].array();
                }
            }
        }
        *self.totals = total.array();
    }
}
