//! A series of numbers, one per bar, that knows where it is defined.
//!
//! It refuses infinities: every element is finite or the one `NaN` of this crate, so equal series have equal bits.

use std::ops::Deref;
use std::sync::OnceLock;

use crate::bits::pack1;

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
