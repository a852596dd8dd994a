//! The value that leaves a window of `n` bars, for whole series and for streams. Not an indicator.

use std::collections::VecDeque;
use std::marker::PhantomData;

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
        let (newest, past) = (self.newest.as_chunks(), self.past.as_chunks());
        let (blocks, rest) = self.out.as_chunks_mut::<8>();
        for (out, (newest, past)) in blocks.iter_mut().zip(newest.0.iter().zip(past.0)) {
            *out = C::of(lanes.eight(newest), lanes.eight(past)).array();
        }
        for (out, (&newest, &past)) in rest.iter_mut().zip(newest.1.iter().zip(past.1)) {
            *out = C::of(newest, past);
        }
    }
}
