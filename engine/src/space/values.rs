//! The values of one parameter: a list, or equal steps that are computed when asked for.

use crate::strategy::decimal::{Decimal, MAX_DIGITS, show};

/// The values of a parameter in grid order: at least one, all finite, no two equal.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Written out.
    List(Vec<f64>),
    /// From, step and count.
    Steps(Steps),
}

/// `count` values `from + i * step` in exact decimal arithmetic, each rounded once to the nearest `f64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// First value times `10^scale`.
    from: i128,
    /// Distance times `10^scale`, above 0.
    step: i128,
    /// Decimal places of both.
    scale: u32,
    /// Number of values, at least 1.
    count: u64,
}

impl Steps {
    /// The values from `from` to `to`, both included if the steps meet `to`. The texts are decimal numbers.
    ///
    /// # Errors
    /// A sentence on what is wrong with them.
    pub fn new(from: &str, to: &str, step: &str) -> Result<Steps, String> {
        let read = |name: &str, text: &str| {
            Decimal::parse(text).map_err(|reason| format!("{name}: `{text}` {reason}"))
        };
        let (low, high, distance) = (read("from", from)?, read("to", to)?, read("step", step)?);
        if distance.mantissa <= 0 {
            return Err(format!("the step must be above 0, not {step}"));
        }
        let scale = low.scale.max(high.scale).max(distance.scale).min(MAX_DIGITS);
        let (first, last, by) = (low.at_scale(scale), high.at_scale(scale), distance.at_scale(scale));
        if first > last {
            return Err(format!("the range is empty: from {from} is above to {to}"));
        }
        let largest = first.abs().max(last.abs());
        // A step of less than two units in the last place of the largest value would repeat values.
        if by.saturating_mul(1 << 51) < largest {
            return Err(format!("a step of {step} is too small to tell values near {to} apart"));
        }
        let count = u64::try_from((last - first) / by)
            .ok()
            .and_then(|steps| steps.checked_add(1))
            .ok_or_else(|| "the range has more than 2^63 values".to_owned())?;
        Ok(Steps { from: first, step: by, scale, count })
    }

    /// Number of values.
    #[allow(clippy::len_without_is_empty, reason = "a range has at least one value")]
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Value `index`; past the end, the last one.
    pub fn get(&self, index: u64) -> f64 {
        let index = i128::from(index.min(self.count - 1));
        Decimal { mantissa: self.from + index * self.step, scale: self.scale }.to_f64()
    }

    /// Distance between values.
    pub fn step(&self) -> f64 {
        Decimal { mantissa: self.step, scale: self.scale }.to_f64()
    }
}

impl Values {
    /// A list of values.
    ///
    /// # Errors
    /// A sentence if the list is empty or holds a value twice or one that is not finite.
    pub fn list(values: Vec<f64>) -> Result<Values, String> {
        if values.is_empty() {
            return Err("the list is empty".to_owned());
        }
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        if let Some(value) = sorted.iter().find(|value| !value.is_finite()) {
            return Err(format!("{value} is not a finite number"));
        }
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("{} is in the list twice", show(pair[0])));
        }
        Ok(Values::List(values))
    }

    /// Number of values, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a parameter has at least one value")]
    pub fn len(&self) -> u64 {
        match self {
            Values::List(values) => values.len() as u64,
            Values::Steps(steps) => steps.len(),
        }
    }

    /// Value `index`; past the end, the last one.
    pub fn get(&self, index: u64) -> f64 {
        match self {
            Values::Steps(steps) => steps.get(index),
            Values::List(values) => {
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                values.get(index).or(values.last()).copied().unwrap_or(f64::NAN)
            }
        }
    }

    /// The index of a value, compared as numbers (`-0 = 0`).
    pub fn position(&self, value: f64) -> Option<u64> {
        match self {
            Values::List(values) => values.iter().position(|&known| known == value).map(|index| index as u64),
            Values::Steps(steps) => {
                let (mut low, mut high) = (0, steps.len());
                while low < high {
                    let middle = low + (high - low) / 2;
                    if steps.get(middle) < value {
                        low = middle + 1;
                    } else {
                        high = middle;
                    }
                }
                (low < steps.len() && steps.get(low) == value).then_some(low)
            }
        }
    }

    /// Whether every value is a whole number.
    pub fn is_integer(&self) -> bool {
        match self {
            Values::List(values) => values.iter().all(|value| value.fract() == 0.0),
            Values::Steps(steps) => {
                let unit = 10_i128.pow(steps.scale);
                steps.from % unit == 0 && (steps.count == 1 || steps.step % unit == 0)
            }
        }
    }

    /// Indices such that a property "whole number" or "inside an interval" holds for all values if it holds for these.
    pub(crate) fn extremes(&self) -> Vec<u64> {
        match self {
            Values::List(values) => (0..values.len() as u64).collect(),
            Values::Steps(steps) => {
                let mut indices = vec![0, 1.min(steps.count - 1), steps.count - 1];
                indices.dedup();
                indices
            }
        }
    }
}
