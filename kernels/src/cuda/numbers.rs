//! Numbers on a device in the precision of a program's signals.

use crate::precision::Precision;

use super::CudaError;
use super::launcher::{Array, Launcher};

/// Numbers as `f64`, or as the `f32` that they are.
#[derive(Debug)]
pub(crate) enum Numbers {
    F64(Array<f64>),
    F32(Array<f32>),
}

impl Numbers {
    /// Takes memory for `len` numbers, not yet written.
    pub(crate) fn new(
        launcher: &dyn Launcher,
        precision: Precision,
        len: usize,
    ) -> Result<Numbers, CudaError> {
        Ok(match precision {
            Precision::F64 => Numbers::F64(Array::new(launcher, len)?),
            Precision::F32 => Numbers::F32(Array::new(launcher, len)?),
        })
    }

    /// A copy of these numbers on the device; in `f32` they must be such.
    pub(crate) fn of(
        launcher: &dyn Launcher,
        stream: usize,
        precision: Precision,
        values: &[f64],
    ) -> Result<Numbers, CudaError> {
        let numbers = Numbers::new(launcher, precision, values.len())?;
        numbers.write(launcher, stream, values)?;
        Ok(numbers)
    }

    /// [`Numbers::of`] that reuses the memory in `kept` where it is large enough and of this precision.
    pub(crate) fn upload<'n>(
        kept: &'n mut Option<Numbers>,
        launcher: &dyn Launcher,
        stream: usize,
        precision: Precision,
        values: &[f64],
    ) -> Result<&'n Numbers, CudaError> {
        if kept.as_ref().is_some_and(|kept| kept.precision() != precision || kept.len() < values.len()) {
            *kept = None;
        }
        let numbers = match kept {
            Some(numbers) => numbers,
            none => none.insert(Numbers::new(launcher, precision, values.len())?),
        };
        numbers.write(launcher, stream, values)?;
        Ok(numbers)
    }

    fn write(&self, launcher: &dyn Launcher, stream: usize, values: &[f64]) -> Result<(), CudaError> {
        match self {
            Numbers::F64(array) => array.write(launcher, stream, values),
            Numbers::F32(array) => {
                let singles: Vec<f32> = values.iter().map(|&value| value as f32).collect();
                array.write(launcher, stream, &singles)
            }
        }
    }

    pub(crate) fn precision(&self) -> Precision {
        match self {
            Numbers::F64(_) => Precision::F64,
            Numbers::F32(_) => Precision::F32,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Numbers::F64(array) => array.len(),
            Numbers::F32(array) => array.len(),
        }
    }

    pub(crate) fn address(&self) -> u64 {
        match self {
            Numbers::F64(array) => array.address(),
            Numbers::F32(array) => array.address(),
        }
    }
}

/// Bytes of a number.
pub(crate) fn bytes_of(precision: Precision) -> u64 {
    match precision {
        Precision::F64 => size_of::<f64>() as u64,
        Precision::F32 => size_of::<f32>() as u64,
    }
}
