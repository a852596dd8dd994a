//! Element-wise operations over whole series, scalars broadcast. The numbers come from the scalar operations.

use super::scalar::{binary, unary};
use crate::bits::{Bits, Comparison};
use crate::program::Op;
use crate::series::{Numbers, Series};

/// Runs the body once per listed operation with the operation as a constant, so that each loop is compiled for it.
macro_rules! specialise {
    ($op:expr, $body:expr; $($name:ident),+) => {
        match $op {
            $(Op::$name => $body(|a, b| binary(Op::$name, a, b)),)+
            _ => $body(|_, _| f64::NAN),
        }
    };
}

/// A function of one number on every bar.
pub(super) fn map_unary(op: Op, len: usize, a: Numbers<'_>) -> Series {
    match a {
        Numbers::Scalar(a) => Series::constant(len, unary(op, a)),
        Numbers::Series(a) if op == Op::Single => {
            Series::new(a.iter().map(|&a| unary(Op::Single, a)).collect())
        }
        Numbers::Series(a) => Series::new(a.iter().map(|&a| unary(op, a)).collect()),
    }
}

/// A function of two numbers on every bar.
pub(super) fn map_binary(op: Op, len: usize, a: Numbers<'_>, b: Numbers<'_>) -> Series {
    struct Zip<'z>(usize, Numbers<'z>, Numbers<'z>);
    impl Zip<'_> {
        #[inline(always)]
        fn map(self, f: impl Fn(f64, f64) -> f64) -> Series {
            Series::new(match (self.1, self.2) {
                (Numbers::Series(a), Numbers::Series(b)) => {
                    a.iter().zip(b.iter()).map(|(&a, &b)| f(a, b)).collect()
                }
                (Numbers::Series(a), Numbers::Scalar(b)) => a.iter().map(|&a| f(a, b)).collect(),
                (Numbers::Scalar(a), Numbers::Series(b)) => b.iter().map(|&b| f(a, b)).collect(),
                (Numbers::Scalar(a), Numbers::Scalar(b)) => vec![f(a, b); self.0],
            })
        }
    }
    let zip = Zip(len, a, b);
    specialise!(op, (|f| zip.map(f)); Add, Sub, Mul, Div, Rem, Least, Greatest)
}

/// The comparison an operation makes.
pub(super) fn comparison(op: Op) -> Option<Comparison> {
    Some(match op {
        Op::Lt => Comparison::Lt,
        Op::Le => Comparison::Le,
        Op::Gt => Comparison::Gt,
        Op::Ge => Comparison::Ge,
        Op::Eq => Comparison::Eq,
        Op::Ne => Comparison::Ne,
        _ => return None,
    })
}

/// The value of `x` `bars` bars ago.
pub(super) fn lag(len: usize, x: Numbers<'_>, bars: usize) -> Series {
    let bars = bars.min(len);
    let mut out = vec![f64::NAN; bars];
    match x {
        Numbers::Scalar(value) => out.resize(len, value),
        Numbers::Series(values) => out.extend_from_slice(&values[..len - bars]),
    }
    Series::new(out)
}

/// The value behind the first TRUE condition, else `otherwise`; undefined where a condition on the way is.
pub(super) fn case(len: usize, branches: &[(&Bits, Numbers<'_>)], otherwise: Numbers<'_>) -> Series {
    let mut out = vec![f64::NAN; len];
    let take = |out: &mut [f64], first: usize, mut chosen: u64, from: Numbers<'_>| {
        while chosen != 0 {
            let i = chosen.trailing_zeros() as usize;
            out[i] = match from {
                Numbers::Scalar(value) => value,
                Numbers::Series(values) => values[first + i],
            };
            chosen &= chosen - 1;
        }
    };
    for (word, out) in out.chunks_mut(64).enumerate() {
        let mut open = if out.len() == 64 { u64::MAX } else { (1 << out.len()) - 1 };
        for (condition, then) in branches {
            take(out, word * 64, open & condition.value_words()[word], *then);
            open &= condition.defined_words()[word] & !condition.value_words()[word];
        }
        take(out, word * 64, open, otherwise);
    }
    Series::new(out)
}
