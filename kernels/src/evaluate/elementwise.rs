//! Operations on blocks of 64 numbers, with the numbers of the scalar operations.

use super::scalar::{binary, unary};
use crate::program::Op;

/// `x = op(x)` for every element.
#[inline(always)]
pub(crate) fn unary_block(op: Op, x: &mut [f64; 64]) {
    match op {
        Op::Neg => x.iter_mut().for_each(|x| *x = unary(Op::Neg, *x)),
        Op::Abs => x.iter_mut().for_each(|x| *x = unary(Op::Abs, *x)),
        Op::Sqrt => x.iter_mut().for_each(|x| *x = unary(Op::Sqrt, *x)),
        Op::Single => x.iter_mut().for_each(|x| *x = unary(Op::Single, *x)),
        _ => x.iter_mut().for_each(|x| *x = unary(op, *x)),
    }
}

/// `x = op(x, y)` for every pair of elements.
#[inline(always)]
pub(crate) fn binary_block(op: Op, x: &mut [f64; 64], y: &[f64; 64]) {
    match op {
        Op::Add => each(x, y, |x, y| binary(Op::Add, x, y)),
        Op::Sub => each(x, y, |x, y| binary(Op::Sub, x, y)),
        Op::Mul => each(x, y, |x, y| binary(Op::Mul, x, y)),
        Op::Div => each(x, y, |x, y| binary(Op::Div, x, y)),
        Op::Rem => each(x, y, |x, y| binary(Op::Rem, x, y)),
        Op::Least => each(x, y, |x, y| binary(Op::Least, x, y)),
        _ => each(x, y, |x, y| binary(op, x, y)),
    }
}

#[inline(always)]
fn each(x: &mut [f64; 64], y: &[f64; 64], f: impl Fn(f64, f64) -> f64) {
    for (x, &y) in x.iter_mut().zip(y) {
        *x = f(*x, y);
    }
}
