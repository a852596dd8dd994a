//! A series of numbers, one per bar, that knows where it is defined.
//!
//! It refuses infinities: every element is finite or the one `NaN` of this crate, so equal series have equal bits.

use std::ops::Deref;
use std::sync::OnceLock;

use crate::bits::pack1;
use crate::simd::{Eight, Isa, Kernel, Lanes, Number};

/// One number per bar; `NaN` where undefined.
#[derive(Debug, Default)]
pub struct Series {
    values: Vec<f64>,
    defined: OnceLock<Vec<u64>>,
}

impl Series {
    /// Takes over the values; every element without a finite value becomes the undefined number.
    pub fn new(mut values: Vec<f64>) -> Series {
        for value in &mut values {
            *value = finite(*value);
        }
        Series { values, defined: OnceLock::new() }
    }

    /// Takes over values that are finite or the undefined number already, with the words that say which.
    pub(crate) fn with_words(values: Vec<f64>, defined: Vec<u64>) -> Series {
        Series { values, defined: OnceLock::from(defined) }
    }

    /// The values, without a copy.
    pub fn into_values(self) -> Vec<f64> {
        self.values
    }

    /// The same number on `len` bars.
    pub fn constant(len: usize, value: f64) -> Series {
        Series::new(vec![value; len])
    }

    /// Bit `t % 64` of word `t / 64` is set where element `t` is defined; bits past the end are zero. Computed once.
    pub fn defined_words(&self) -> &[u64] {
        self.defined.get_or_init(|| pack1(&self.values, |value| !value.is_nan()))
    }

    /// Memory of the values and their words.
    pub(crate) fn bytes(&self) -> usize {
        self.values.len() * size_of::<f64>() + self.values.len() / 8
    }
}

impl Deref for Series {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.values
    }
}

/// Memory of series that are no longer needed, for series to come.
///
/// A fresh vector of a million numbers costs the operating system more time (a page fault for every 4 KiB) than most
/// indicators take to fill it. Whoever computes series after series hands the old ones back here.
#[derive(Debug, Default)]
pub struct Buffers {
    free: Vec<Vec<f64>>,
}

impl Buffers {
    /// Nothing to reuse yet.
    pub fn new() -> Buffers {
        Buffers::default()
    }

    /// Keeps the memory of a series for a later one.
    pub fn recycle(&mut self, series: Series) {
        self.free.push(series.into_values());
    }

    /// `len` numbers of any value: the taker writes every one.
    pub(crate) fn take(&mut self, len: usize) -> Vec<f64> {
        match self.free.pop() {
            Some(mut values) if values.capacity() >= len => {
                values.resize(len, 0.0);
                values
            }
            _ => vec![0.0; len],
        }
    }
}

/// Whether every number is finite.
pub(crate) fn all_finite(isa: Isa, values: &[f64]) -> bool {
    all_within(isa, values, f64::MAX)
}

/// Whether every number is between `-limit` and `limit`, which no undefined one is.
pub(crate) fn all_within(isa: Isa, values: &[f64], limit: f64) -> bool {
    isa.dispatch(AllWithin { values, limit })
}

struct AllWithin<'a> {
    values: &'a [f64],
    limit: f64,
}

impl Kernel for AllWithin<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> bool {
        within(lanes, self.values, self.limit)
    }
}

/// [`all_within`] for kernels.
#[inline(always)]
pub(crate) fn within<L: Lanes>(lanes: L, values: &[f64], limit: f64) -> bool {
    // Four answers at a time, 1 once a number was beyond the limit, keep the vector units busy.
    let (blocks, rest) = values.as_chunks::<32>();
    let (most, one) = (lanes.splat(limit), lanes.splat(1.0));
    let mut beyond = [lanes.splat(0.0); 4];
    for block in blocks {
        for (beyond, values) in beyond.iter_mut().zip(block.as_chunks().0) {
            *beyond = lanes.eight(values).abs().where_at_most(most, *beyond, one);
        }
    }
    let any = (beyond[0] + beyond[1]) + (beyond[2] + beyond[3]);
    any.array().iter().all(|&any| any == 0.0) && rest.iter().all(|value| value.abs() <= limit)
}

/// Looks at numbers as they pass: whether all are between `-limit` and `limit`, which no undefined one is.
pub(crate) struct Passing<E> {
    limit: E,
    one: E,
    /// 1 where a number was beyond the limit.
    beyond: E,
}

impl<E: Eight> Passing<E> {
    #[inline(always)]
    pub(crate) fn new<L: Lanes<Eight = E>>(lanes: L, limit: f64) -> Self {
        Passing { limit: lanes.splat(limit), one: lanes.splat(1.0), beyond: lanes.splat(0.0) }
    }

    #[inline(always)]
    pub(crate) fn look(&mut self, numbers: E) {
        self.beyond = numbers.abs().where_at_most(self.limit, self.beyond, self.one);
    }

    /// Whether all numbers so far are.
    #[inline(always)]
    pub(crate) fn are_within(&self) -> bool {
        self.beyond.array().iter().all(|&beyond| beyond == 0.0)
    }
}

/// A number as this crate keeps it: itself if finite, else the one undefined number.
#[inline(always)]
pub(crate) fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// A number for every bar: one for all of them, or a series.
#[derive(Debug, Clone, Copy)]
pub enum Numbers<'a> {
    /// The same on every bar; `NaN` is undefined on every bar.
    Scalar(f64),
    /// One per bar.
    Series(&'a Series),
}
