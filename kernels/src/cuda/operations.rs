//! What kernels compute, and the words of a job that says of what: codes that `kernels/cuda` has, too.

use crate::precision::Precision;

/// Indicators computed on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recursive {
    Sma,
    Ema,
    Rsi,
    Atr,
}

impl Recursive {
    /// The indicator of this name, if the device computes it.
    pub(crate) fn from_name(name: &str) -> Option<Recursive> {
        Some(match name {
            "sma" => Recursive::Sma,
            "ema" => Recursive::Ema,
            "rsi" => Recursive::Rsi,
            "atr" => Recursive::Atr,
            _ => return None,
        })
    }

    /// The kernel that keeps its results in a precision.
    pub(crate) fn kernel(self, precision: Precision) -> &'static str {
        match (self, precision) {
            (Recursive::Sma, Precision::F64) => "sma",
            (Recursive::Sma, Precision::F32) => "sma_f32",
            (Recursive::Ema, Precision::F64) => "ema",
            (Recursive::Ema, Precision::F32) => "ema_f32",
            (Recursive::Rsi, Precision::F64) => "rsi",
            (Recursive::Rsi, Precision::F32) => "rsi_f32",
            (Recursive::Atr, Precision::F64) => "atr",
            (Recursive::Atr, Precision::F32) => "atr_f32",
        }
    }
}

/// One indicator: three input slots (the last two only for those that have them), the period, the output slot.
pub(crate) const INDICATOR_JOB: usize = 5;

/// Two operands and the output slot.
pub(crate) const COMBINE_JOB: usize = 3;

/// An operand that is an index into the scalars and not a slot.
pub(crate) const SCALAR: u64 = 1 << 63;

/// Two operands, the output slot, and that of the opposite cross where both are wanted.
pub(crate) const COMPARE_JOB: usize = 4;

/// Which arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Arithmetic {
    Add = 0,
    Sub = 1,
    Mul = 2,
    Div = 3,
}

/// Which comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum CompareOp {
    Lt = 0,
    Le = 1,
    Gt = 2,
    Ge = 3,
    Eq = 4,
    Ne = 5,
    CrossesAbove = 6,
    CrossesBelow = 7,
    /// Both crosses of the same two operands, to two slots.
    CrossesBoth = 8,
}

/// Which operation on conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum LogicOp {
    And = 0,
    Or = 1,
    Not = 2,
    Case = 3,
}
