//! From inputs with undefined values to series: the part that is the same for every indicator. Not an indicator.
//!
//! Inputs are cut into runs in which every one of them is finite; bodies see one run at a time. Here are also the
//! undefined warm-up, the search for results that are not finite, and the words that say which are defined.

use std::ops::Range;

use super::{Indicator, Outputs};
use crate::bits::set_range;
use crate::series::{Buffers, Series, all_finite, all_within, finite};
use crate::simd::Isa;

/// Numbers up to here give finite results of a tame indicator.
pub(super) const TAME: f64 = const { f64::from_bits(1323 << 52) };

impl Indicator {
    /// Computes all outputs over whole series; undefined elements are `NaN`. See the module for undefined inputs.
    ///
    /// `inputs` have equal length `n`; the result has one vector of length `n` per output. `params` must have passed
    /// [`Indicator::check_params`].
    pub fn compute(&self, inputs: &[&[f64]], params: &[f64]) -> Vec<Vec<f64>> {
        let sets = self.compute_many(Isa::detect(), inputs, &[params]);
        sets.into_iter().flatten().map(Series::into_values).collect()
    }

    /// Computes all outputs for many parameter sets over the same inputs: per parameter set one series per output, with
    /// the bits that [`Indicator::compute`] gives for that set alone, on every instruction set.
    ///
    /// `inputs` have equal length; every parameter set must have passed [`Indicator::check_params`].
    pub fn compute_many<P: AsRef<[f64]>>(
        &self,
        isa: Isa,
        inputs: &[&[f64]],
        param_sets: &[P],
    ) -> Vec<Vec<Series>> {
        self.compute_many_in(isa, inputs, param_sets, &mut Buffers::new())
    }

    /// [`Indicator::compute_many`] in the memory of earlier series.
    pub fn compute_many_in<P: AsRef<[f64]>>(
        &self,
        isa: Isa,
        inputs: &[&[f64]],
        param_sets: &[P],
        buffers: &mut Buffers,
    ) -> Vec<Vec<Series>> {
        let bars = inputs.first().map_or(0, |series| series.len());
        let mut sets = Vec::with_capacity(param_sets.len());
        for params in param_sets {
            let params = params.as_ref();
            let mut outputs = Vec::with_capacity(self.outputs.len());
            for _ in self.outputs {
                outputs.push(Output { values: buffers.take(bars), defined: vec![0; bars.div_ceil(64)] });
            }
            sets.push(Set { params, first: (self.first)(params), outputs });
        }
        if !self.in_one_pass(isa, inputs, &mut sets) {
            let small = |numbers: &[f64]| all_within(isa, numbers, TAME);
            let tame =
                self.tame && sets.iter().all(|set| small(set.params)) && inputs.iter().all(|x| small(x));
            let mut settled = 0;
            for run in if tame { whole(bars) } else { runs(isa, inputs, bars) } {
                fill_undefined(&mut sets, settled..run.start);
                settled = run.end;
                self.compute_run(isa, inputs, run, &mut sets, tame);
            }
            fill_undefined(&mut sets, settled..bars);
        }
        let series = |output: Output| Series::with_words(output.values, output.defined);
        sets.into_iter().map(|set| set.outputs.into_iter().map(series).collect()).collect()
    }

    /// Computes a single parameter set with the body that looks at its inputs itself; says whether that was enough.
    fn in_one_pass(&self, isa: Isa, inputs: &[&[f64]], sets: &mut [Set<'_>]) -> bool {
        let (Some(one_pass), [set]) = (self.one_pass, sets) else { return false };
        let bars = inputs.first().map_or(0, |series| series.len());
        if set.first >= bars {
            return false;
        }
        let mut outputs = set.outputs.iter_mut().map(|output| output.values.as_mut_slice()).collect();
        let finite = one_pass(isa, inputs, set.params, &mut outputs);
        if finite {
            for output in &mut set.outputs {
                output.settle(isa, 0..bars, set.first, true);
            }
        }
        finite
    }

    /// All outputs on one run of finite inputs.
    fn compute_run(&self, isa: Isa, inputs: &[&[f64]], run: Range<usize>, sets: &mut [Set<'_>], tame: bool) {
        let inputs: Vec<&[f64]> = inputs.iter().map(|series| &series[run.clone()]).collect();
        let (mut params, mut outputs): (Vec<&[f64]>, Vec<Outputs<'_>>) = (Vec::new(), Vec::new());
        for set in sets.iter_mut().filter(|set| set.first < run.len()) {
            params.push(set.params);
            outputs.push(set.outputs.iter_mut().map(|output| &mut output.values[run.clone()]).collect());
        }
        if !params.is_empty() {
            (self.batch)(isa, &inputs, &params, &mut outputs);
        }
        for set in sets {
            for output in &mut set.outputs {
                output.settle(isa, run.clone(), set.first, tame);
            }
        }
    }
}

/// A parameter set and its outputs on the way.
struct Set<'p> {
    params: &'p [f64],
    first: usize,
    outputs: Vec<Output>,
}

struct Output {
    values: Vec<f64>,
    defined: Vec<u64>,
}

impl Output {
    /// Makes the warm-up of a run undefined, and every result that is not finite; `tame` results are.
    fn settle(&mut self, isa: Isa, run: Range<usize>, first: usize, tame: bool) {
        let begin = (run.start + first).min(run.end);
        self.values[run.start..begin].fill(f64::NAN);
        let results = &mut self.values[begin..run.end];
        if tame || all_finite(isa, results) {
            set_range(&mut self.defined, begin..run.end);
            return;
        }
        for (t, value) in (begin..).zip(results) {
            *value = finite(*value);
            self.defined[t / 64] |= u64::from(!value.is_nan()) << (t % 64);
        }
    }
}

fn fill_undefined(sets: &mut [Set<'_>], gap: Range<usize>) {
    for output in sets.iter_mut().flat_map(|set| &mut set.outputs) {
        output.values[gap.clone()].fill(f64::NAN);
    }
}

/// All bars as one run.
fn whole(bars: usize) -> Vec<Range<usize>> {
    Vec::from_iter((bars > 0).then_some(0..bars))
}

/// The longest stretches of bars in which every input is finite.
fn runs(isa: Isa, inputs: &[&[f64]], bars: usize) -> Vec<Range<usize>> {
    if inputs.iter().all(|series| all_finite(isa, series)) {
        return whole(bars);
    }
    let defined = |t: &usize| inputs.iter().all(|series| series[*t].is_finite());
    let mut runs = Vec::new();
    let mut next = 0;
    while let Some(start) = (next..bars).find(defined) {
        let end = (start..bars).find(|t| !defined(t)).unwrap_or(bars);
        runs.push(start..end);
        next = end;
    }
    runs
}
