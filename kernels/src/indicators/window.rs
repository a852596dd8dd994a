//! The value that leaves a window of `n` bars, for whole series and for streams. Not an indicator.

use std::collections::VecDeque;

/// The value `n` bars before `t`, which is the one that leaves the window when bar `t` enters.
#[inline]
pub(super) fn leaving(x: &[f64], t: usize, n: usize) -> Option<f64> {
    if t < n { None } else { Some(x[t - n]) }
}

/// Puts the newest value into a window of at most `n` and returns the one it pushes out: [`leaving`] for streams.
pub(super) fn slide(values: &mut VecDeque<f64>, n: usize, newest: f64) -> Option<f64> {
    let leaving = if values.len() == n { values.pop_front() } else { None };
    values.push_back(newest);
    leaving
}
