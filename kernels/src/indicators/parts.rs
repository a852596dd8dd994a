//! Batches that are computed in parts, a stretch of bars at a time, so that what is used at once need not go through memory.
//! Not an indicator.

use std::ops::Range;
use std::sync::Arc;

use super::Indicator;
use super::compute::TAME;
use crate::series::{Series, all_within};
use crate::simd::Isa;

/// Several parameter sets on their way through the bars.
pub(crate) trait Parts {
    /// Takes the next bars, which follow those of the call before; the first call begins with bar 0. Writes the elements of
    /// `outputs` (one per parameter set, as long as `bars`) from each set's first defined bar on, and leaves those before.
    fn advance(&mut self, isa: Isa, inputs: &[&[f64]], bars: Range<usize>, outputs: &mut [&mut [f64]]);
}

/// Starts a batch before bar 0; `None` if one of the parameter sets has to be computed whole.
pub(crate) type Start = fn(sets: &[&[f64]]) -> Option<Box<dyn Parts>>;

/// An indicator over whole inputs for some parameter sets, computed in parts.
pub(crate) struct Batch {
    inputs: Vec<Arc<Series>>,
    parts: Box<dyn Parts>,
    /// Per parameter set its first defined bar; every one after it is defined.
    pub(crate) firsts: Vec<usize>,
}

impl Batch {
    /// `None` where the indicator cannot, or where the inputs might be undefined or give results that are not finite:
    /// that needs [`Indicator::compute_many`]. The bits are those of that.
    pub(crate) fn start(
        def: &Indicator,
        isa: Isa,
        inputs: &[Arc<Series>],
        sets: &[Vec<f64>],
    ) -> Option<Batch> {
        let start = def.parts?;
        let small = |numbers: &[f64]| all_within(isa, numbers, TAME);
        let is_tame =
            def.tame && sets.iter().all(|set| small(set)) && inputs.iter().all(|input| small(input));
        let sets: Vec<&[f64]> = sets.iter().map(Vec::as_slice).collect();
        let firsts = sets.iter().map(|set| (def.first)(set)).collect();
        let parts = if is_tame { start(&sets) } else { None };
        Some(Batch { inputs: inputs.to_vec(), parts: parts?, firsts })
    }

    /// See [`Parts::advance`].
    pub(crate) fn advance(&mut self, isa: Isa, bars: Range<usize>, outputs: &mut [&mut [f64]]) {
        let inputs: Vec<&[f64]> = self.inputs.iter().map(|input| &input[..bars.end]).collect();
        self.parts.advance(isa, &inputs, bars, outputs);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed read fails the test")]

    use super::*;
    use crate::indicators::{INDICATORS, ParamKind, by_output};

    fn input(len: usize, mut state: u64) -> Arc<Series> {
        let walk = (0..len).scan(100.0, |price, _| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *price *= 1.0 + ((state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5) / 50.0;
            Some(*price)
        });
        Arc::new(Series::new(walk.collect()))
    }

    #[test]
    fn parts_have_the_bits_of_the_whole() {
        let mut found = 0;
        for def in INDICATORS.iter().filter(|def| def.parts.is_some()) {
            found += 1;
            for (len, part) in
                [(1_000, 64), (1_000, 192), (2_500, 1_024), (40, 64), (129, 128), (1, 64), (0, 64)]
            {
                let inputs: Vec<Arc<Series>> =
                    (0..def.inputs.len()).map(|k| input(len, 5 + k as u64)).collect();
                // Lanes that fill no vector, one, and several; periods within a part, beyond some and beyond the end; and such that
                // no window of a vector ends in the first part.
                for (count, longer) in
                    [(1, 0), (2, 0), (7, 0), (8, 0), (21, 0), (1, 200), (8, 200), (21, 200)]
                {
                    let periods =
                        [2, 3, 64, 65, 128, 130, 7, 14, 300, 1, 20, 999, 1_001, 5, 4, 6, 63, 9, 190, 30, 31];
                    let least = match (def.name, def.params[0].kind) {
                        ("ema", _) => 2,
                        (_, ParamKind::Period { min }) => min,
                        (_, ParamKind::Real) => 0,
                    };
                    let sets: Vec<Vec<f64>> =
                        periods[..count].iter().map(|&n| vec![f64::from(n.max(least) + longer)]).collect();
                    let columns: Vec<&[f64]> = inputs.iter().map(|series| series.as_ref().as_ref()).collect();
                    let whole = def.compute_many(Isa::Portable, &columns, &sets);
                    for isa in Isa::ALL {
                        let mut batch = Batch::start(def, isa, &inputs, &sets).unwrap();
                        let mut found = vec![vec![f64::NAN; len]; count];
                        for from in (0..len).step_by(part) {
                            let bars = from..(from + part).min(len);
                            let mut outputs: Vec<&mut [f64]> =
                                found.iter_mut().map(|found| &mut found[bars.clone()]).collect();
                            batch.advance(isa, bars, &mut outputs);
                        }
                        for ((found, whole), set) in found.iter().zip(&whole).zip(&sets) {
                            let bits =
                                |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<u64>>();
                            let differs = bits(found).iter().zip(bits(&whole[0])).position(|(a, b)| *a != b);
                            assert_eq!(
                                differs, None,
                                "{} {set:?} of {count} on {isa}, parts of {part}",
                                def.name
                            );
                        }
                    }
                }
            }
        }
        assert_eq!(found, 4);
    }

    #[test]
    fn numbers_that_might_overflow_or_are_undefined_come_whole() {
        let (sma, _) = by_output("sma").unwrap();
        let starts = |value: f64| {
            let mut values = input(100, 3).to_vec();
            values[50] = value;
            let inputs = [Arc::new(Series::new(values))];
            Batch::start(sma, Isa::detect(), &inputs, &[vec![5.0]]).is_some()
        };
        assert!(starts(1.0) && !starts(f64::NAN) && !starts(1e300));
        let (ema, _) = by_output("ema").unwrap();
        assert!(Batch::start(ema, Isa::detect(), &[input(9, 3)], &[vec![5.0], vec![1.0]]).is_none());
    }
}
