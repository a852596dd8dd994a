//! The value that leaves a window of `n` bars, for whole series and for streams. Not an indicator.

use std::collections::VecDeque;
use std::marker::PhantomData;

use super::recursion::{eight_of, eight_of_mut};
use crate::simd::{Eight, Isa, Kernel, Lanes, Number};

/// Puts the newest value into a window of at most `n` and returns the one it pushes out.
pub(super) fn slide(values: &mut VecDeque<f64>, n: usize, newest: f64) -> Option<f64> {
    let leaving = if values.len() == n { values.pop_front() } else { None };
    values.push_back(newest);
    leaving
}

/// A function of a value and the one `n` bars before.
pub(super) trait Change {
    fn of<N: Number>(newest: N, past: N) -> N;
}

/// The change over `n` bars of a whole series, from bar `n` on.
pub(super) fn changes<C: Change>(isa: Isa, x: &[f64], n: usize, out: &mut [f64]) {
    let bars = x.len().saturating_sub(n);
    isa.dispatch(Changes::<C> {
        newest: &x[x.len() - bars..],
        past: &x[..bars],
        out: &mut out[x.len() - bars..],
        change: PhantomData,
    });
}

struct Changes<'a, C> {
    newest: &'a [f64],
    past: &'a [f64],
    out: &'a mut [f64],
    change: PhantomData<C>,
}

impl<C: Change> Kernel for Changes<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let whole = self.out.len() / 8 * 8;
        for t in (0..whole).step_by(8) {
            let (newest, past) = (lanes.eight(eight_of(self.newest, t)), lanes.eight(eight_of(self.past, t)));
            *eight_of_mut(self.out, t) = C::of(newest, past).array();
        }
        for t in whole..self.out.len() {
            self.out[t] = C::of(self.newest[t], self.past[t]);
        }
    }
}
