//! Why a sweep cannot start, or stops.

use std::fmt;

use crate::evaluate::EvalError;

/// Why one combination cannot be simulated.
#[derive(Debug, Clone, PartialEq)]
pub enum CombinationError {
    /// A node has no value.
    Eval(EvalError),
    /// An exit or sizing rule is out of its range.
    Rule {
        /// The rule's name in a strategy document.
        rule: &'static str,
        /// Its value; `NaN` if undefined.
        value: f64,
        /// What is allowed.
        allowed: &'static str,
    },
}

impl fmt::Display for CombinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CombinationError::Eval(error) => write!(f, "{error}"),
            CombinationError::Rule { rule, value, allowed } if value.is_nan() => {
                write!(f, "{rule} is undefined; it must be {allowed}")
            }
            CombinationError::Rule { rule, value, allowed } => {
                write!(f, "{rule} is {value}; it must be {allowed}")
            }
        }
    }
}

impl std::error::Error for CombinationError {}

/// Why a sweep cannot start, or stops.
#[derive(Debug, Clone, PartialEq)]
pub enum SweepError {
    /// Bars or program are not usable.
    Eval(EvalError),
    /// A number of the simulation's settings is out of range.
    Config {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The bars span more midnights than daily returns are kept for.
    Span {
        /// Midnights between the first and the last bar.
        midnights: i64,
    },
    /// The block does not hold one row of parameter values per result.
    Block {
        /// Numbers given.
        values: usize,
        /// Results wanted.
        combinations: usize,
        /// Parameters of the program.
        params: usize,
    },
    /// A combination cannot be simulated. The results before it are valid.
    Combination {
        /// 0-based row of the block.
        row: usize,
        /// Why.
        error: CombinationError,
    },
    /// The caller asked to stop. The first `done` results are valid.
    Cancelled {
        /// Combinations finished.
        done: usize,
    },
}

impl fmt::Display for SweepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SweepError::Eval(error) => write!(f, "{error}"),
            SweepError::Config { setting, value, allowed } => {
                write!(f, "{setting} is {value}; it must be {allowed}")
            }
            SweepError::Span { midnights } => write!(
                f,
                "the bars span {midnights} days, more than the {} that daily returns are kept for: check their times, \
                 or sample returns per bar",
                super::market::MAX_MIDNIGHTS
            ),
            SweepError::Block { values, combinations, params } => write!(
                f,
                "{values} parameter values for {combinations} combinations of {params} parameters: each needs all of \
                 its values"
            ),
            SweepError::Combination { row, error } => write!(f, "combination {row} of the block: {error}"),
            SweepError::Cancelled { done } => write!(f, "cancelled after {done} combinations"),
        }
    }
}

impl std::error::Error for SweepError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SweepError::Eval(error) => Some(error),
            SweepError::Combination { error, .. } => Some(error),
            _ => None,
        }
    }
}
