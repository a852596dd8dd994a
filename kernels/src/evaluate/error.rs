//! What can stop an evaluation. Undefined values are not among them: they are values.

use std::fmt;

use crate::bars::BarsError;
use crate::frames::FrameError;
use crate::program::NodeId;

/// Why a node has no value.
#[derive(Debug, Clone, PartialEq)]
pub enum EvalError {
    /// The bars break an invariant of [`crate::bars::Bars::check`].
    Bars(BarsError),
    /// A higher timeframe cannot be made of the bars, or their times are out of range.
    Frame(FrameError),
    /// Not one value per parameter of the program.
    ParamCount {
        /// Parameters of the program.
        expected: usize,
        /// Values given.
        given: usize,
    },
    /// A parameter of an indicator is not allowed, in the indicator's own words.
    Indicator {
        /// The indicator's node.
        node: NodeId,
        /// Parameter, value and what is allowed.
        message: String,
    },
    /// The number of bars of a `lag` is not a whole number from 0 to [`crate::indicators::MAX_PERIOD`].
    Lag {
        /// The lag's node.
        node: NodeId,
        /// The number of bars asked for; `NaN` if undefined.
        bars: f64,
    },
    /// A value that must not depend on bars does.
    NotScalar {
        /// The node asked for.
        node: NodeId,
    },
    /// The program was not built by [`crate::program::ProgramBuilder`], or a node of another program was asked for.
    Malformed {
        /// The offending node.
        node: NodeId,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The caller asked to stop.
    Cancelled,
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvalError::Bars(error) => write!(f, "{error}"),
            EvalError::Frame(error) => write!(f, "{error}"),
            EvalError::ParamCount { expected, given } => {
                write!(f, "{given} parameter values for a strategy with {expected} parameters")
            }
            EvalError::Indicator { message, .. } => f.write_str(message),
            EvalError::Lag { bars, .. } => write!(
                f,
                "lag needs a whole number of bars from 0 to {}, not {bars}",
                crate::indicators::MAX_PERIOD
            ),
            EvalError::NotScalar { node } => {
                write!(f, "node {} depends on bars where a constant or a parameter is needed", node.0)
            }
            EvalError::Malformed { node, reason } => {
                write!(f, "malformed program, node {}: {reason}", node.0)
            }
            EvalError::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl std::error::Error for EvalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            EvalError::Bars(error) => Some(error),
            EvalError::Frame(error) => Some(error),
            _ => None,
        }
    }
}

impl From<BarsError> for EvalError {
    fn from(error: BarsError) -> Self {
        EvalError::Bars(error)
    }
}

impl From<FrameError> for EvalError {
    fn from(error: FrameError) -> Self {
        EvalError::Frame(error)
    }
}
