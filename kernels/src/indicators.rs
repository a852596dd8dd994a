//! The indicators: one file each (or one for a pair that mirrors itself), one line in [`INDICATORS`].
//!
//! Every indicator has two bodies, a *batch* one over whole series and an *incremental* one fed bar by bar, and a
//! test holds them to the same bits. Conventions (seeds, first index, edge rules) are TA-Lib's.
//!
//! **Undefined input.** Bodies see finite numbers only. [`Indicator::compute`] cuts its inputs into runs in which
//! every input is defined and starts the indicator afresh on each; [`Indicator::start`] does the same bar by bar.
//! So an undefined value makes an indicator begin its warm-up again instead of poisoning everything after it.

use std::fmt;

use crate::simd::Isa;

mod adx;
mod atr;
mod bollinger;
mod compute;
mod deviation;
mod directional;
mod ema;
mod extremes;
mod levels;
mod macd;
mod mom;
pub(crate) mod parts;
mod recursion;
mod roc;
mod rolling;
mod rsi;
mod sma;
mod stddev;
mod stochastic;
mod stochastic_pass;
mod wilder;
mod window;

/// What an indicator's parameter may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ParamKind {
    /// A whole number of bars, at least `min`.
    Period {
        /// The smallest period for which the formula has a meaning.
        min: u32,
    },
    /// Any finite number.
    Real,
}

/// A parameter of an indicator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IndicatorParam {
    /// Name in documentation and error messages.
    pub name: &'static str,
    /// What values it takes.
    pub kind: ParamKind,
}

/// Largest period accepted. Beyond it a window is longer than any dataset and only costs memory.
pub const MAX_PERIOD: u32 = 1_000_000;

/// Fed one bar at a time; `inputs` are finite and in the order of [`Indicator::inputs`].
pub trait Incremental: Send {
    /// Takes the next bar and writes one value per output; `NaN` before the warm-up has passed.
    fn push(&mut self, inputs: &[f64], outputs: &mut [f64]);
}

/// The outputs of one parameter set, each as long as the inputs.
pub(crate) type Outputs<'o> = Vec<&'o mut [f64]>;

/// Batch body for several parameter sets: finite inputs of equal length, which is greater than `first` of every set. Writes
/// every output from `first` on; what stands before it is the caller's. The bits do not depend on the instruction set, nor
/// on which sets are computed together.
pub(crate) type Batch = fn(isa: Isa, inputs: &[&[f64]], sets: &[&[f64]], outputs: &mut [Outputs<'_>]);

/// Batch body for one parameter set whose inputs may be undefined: says whether every input and every result was finite. If
/// not, what it has written means nothing.
pub(crate) type OnePass = fn(isa: Isa, inputs: &[&[f64]], params: &[f64], outputs: &mut Outputs<'_>) -> bool;

/// One row of [`INDICATORS`].
pub struct Indicator {
    /// Name of the indicator. Its file is called the same, but for pairs: `extremes.rs` and `directional.rs`.
    pub name: &'static str,
    /// One sentence for `--help`, docs and editors.
    pub summary: &'static str,
    /// Input series in order. `["x"]` takes any series; bar columns are named as in [`crate::bars::Column`].
    pub inputs: &'static [&'static str],
    /// Parameters in order, after the inputs.
    pub params: &'static [IndicatorParam],
    /// Output series in order; these are the function names of the strategy language.
    pub outputs: &'static [&'static str],
    /// 0-based index of the first defined output, the same for all outputs, for inputs defined from index 0.
    pub first: fn(params: &[f64]) -> usize,
    /// Whether inputs and parameters between `-2^300` and `2^300` can only give finite results, so that nobody need
    /// search them: there is no division by a number that may be tiny, and at most a square and a sum over a window.
    pub(crate) tame: bool,
    /// Body over whole series.
    pub(crate) batch: Batch,
    /// Body for one parameter set that looks at inputs and results while it has them in the cache, where that is faster.
    pub(crate) one_pass: Option<OnePass>,
    /// Batch body that stops and goes on, for indicators with one output.
    pub(crate) parts: Option<parts::Start>,
    /// Incremental body.
    pub(crate) incremental: fn(params: &[f64]) -> Box<dyn Incremental>,
}

impl fmt::Debug for Indicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Indicator({})", self.name)
    }
}

impl PartialEq for Indicator {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for Indicator {}
impl std::hash::Hash for Indicator {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// Every indicator, sorted by name.
pub static INDICATORS: &[Indicator] = &[
    adx::DEF,
    atr::DEF,
    bollinger::DEF,
    ema::DEF,
    extremes::HIGHEST,
    extremes::LOWEST,
    macd::DEF,
    directional::MINUS,
    mom::DEF,
    directional::PLUS,
    roc::DEF,
    rsi::DEF,
    sma::DEF,
    stddev::DEF,
    stochastic::DEF,
];

/// Finds the indicator and the output index for a function name of the strategy language.
pub fn by_output(function: &str) -> Option<(&'static Indicator, usize)> {
    INDICATORS.iter().find_map(|def| Some((def, def.outputs.iter().position(|&output| output == function)?)))
}

impl Indicator {
    /// Checks parameter values: count, whole periods within their bounds, finite reals.
    ///
    /// # Errors
    /// A sentence naming the parameter, the value and what is allowed.
    pub fn check_params(&self, params: &[f64]) -> Result<(), String> {
        if params.len() != self.params.len() {
            return Err(format!(
                "{} takes {} parameters, {} given",
                self.name,
                self.params.len(),
                params.len()
            ));
        }
        for (def, &value) in self.params.iter().zip(params) {
            match def.kind {
                ParamKind::Period { min } if value.fract() != 0.0 || !value.is_finite() => {
                    return Err(format!(
                        "{} of {} must be a whole number of bars from {min}, not {value}",
                        def.name, self.name
                    ));
                }
                ParamKind::Period { min } if value < f64::from(min) || value > f64::from(MAX_PERIOD) => {
                    return Err(format!(
                        "{} of {} must be from {min} to {MAX_PERIOD}, not {value}",
                        def.name, self.name
                    ));
                }
                ParamKind::Real if !value.is_finite() => {
                    return Err(format!(
                        "{} of {} must be a finite number, not {value}",
                        def.name, self.name
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Starts the incremental form.
    pub fn start(&'static self, params: &[f64]) -> Stream {
        Stream { def: self, params: params.to_vec(), state: (self.incremental)(params), fresh: true }
    }
}

/// An indicator in its incremental form, restarted by undefined input.
pub struct Stream {
    def: &'static Indicator,
    params: Vec<f64>,
    state: Box<dyn Incremental>,
    fresh: bool,
}

impl Stream {
    /// Takes the next bar and writes one value per output, `NaN` where undefined.
    pub fn push(&mut self, inputs: &[f64], outputs: &mut [f64]) {
        outputs.fill(f64::NAN);
        if inputs.iter().any(|value| !value.is_finite()) {
            if !self.fresh {
                self.state = (self.def.incremental)(&self.params);
                self.fresh = true;
            }
            return;
        }
        self.fresh = false;
        self.state.push(inputs, outputs);
        for value in outputs.iter_mut() {
            if !value.is_finite() {
                *value = f64::NAN;
            }
        }
    }
}

/// A period parameter as a count. Parameters have passed [`Indicator::check_params`], so the cast is exact.
pub(crate) fn period(value: f64) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed read fails the test")]

    use super::*;
    use crate::bars::Column;

    #[test]
    fn table_is_sorted_and_function_names_are_unique() {
        assert!(INDICATORS.is_sorted_by(|a, b| a.name < b.name));
        let mut functions: Vec<&str> = INDICATORS.iter().flat_map(|def| def.outputs).copied().collect();
        let count = functions.len();
        functions.sort_unstable();
        functions.dedup();
        assert_eq!(functions.len(), count);
        for function in functions {
            let (def, output) = by_output(function).unwrap();
            assert_eq!(def.outputs[output], function);
        }
        assert_eq!(by_output("smaa"), None);
    }

    #[test]
    fn every_row_says_what_it_takes() {
        for def in INDICATORS {
            assert!(def.summary.len() > 15 && !def.summary.ends_with('.'), "summary of {}", def.name);
            assert!(
                !def.inputs.is_empty() && !def.outputs.is_empty() && !def.params.is_empty(),
                "{}",
                def.name
            );
            let known = |input: &&str| *input == "x" || Column::from_name(input).is_some();
            assert!(def.inputs.iter().all(known), "inputs of {}", def.name);
            for param in def.params {
                let mut words = def.summary.split(|c: char| !c.is_alphanumeric());
                assert!(words.any(|word| word == param.name), "summary of {} lacks {}", def.name, param.name);
            }
        }
    }

    #[test]
    fn every_file_is_documented_and_every_row_in_the_table() {
        let table = include_str!("indicators.rs");
        let folder = "src/indicators";
        let mut rows = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            assert!(text.starts_with("//! "), "{stem}.rs has no documentation");
            assert!(table.contains(&format!("mod {stem};")), "{stem}.rs is not compiled");
            for row in text.lines().filter(|line| line.contains(": Indicator = Indicator {")) {
                let name = row.split("const ").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
                assert!(
                    table.contains(&format!("    {stem}::{name},\n")),
                    "{stem}::{name} is not in INDICATORS"
                );
                assert!(text.contains("Source"), "{stem}.rs names no source");
                rows += 1;
            }
        }
        assert_eq!(rows, INDICATORS.len());
    }

    #[test]
    fn wrong_parameters_are_refused_with_the_name_the_value_and_the_bounds() {
        let (sma, _) = by_output("sma").unwrap();
        let (bands, _) = by_output("bb_upper").unwrap();
        let refusal = |def: &Indicator, params: &[f64]| def.check_params(params).unwrap_err();
        assert_eq!(refusal(sma, &[]), "sma takes 1 parameters, 0 given");
        assert_eq!(refusal(sma, &[2.5]), "n of sma must be a whole number of bars from 1, not 2.5");
        assert_eq!(refusal(sma, &[f64::NAN]), "n of sma must be a whole number of bars from 1, not NaN");
        assert_eq!(refusal(sma, &[0.0]), "n of sma must be from 1 to 1000000, not 0");
        assert_eq!(refusal(sma, &[1_000_001.0]), "n of sma must be from 1 to 1000000, not 1000001");
        assert_eq!(refusal(bands, &[20.0, f64::INFINITY]), "k of bollinger must be a finite number, not inf");
        assert_eq!(bands.check_params(&[20.0, -0.5]), Ok(()));
    }
}
