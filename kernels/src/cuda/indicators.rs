//! Many indicators of the same series in one launch.

use crate::precision::Precision;
use crate::series::Series;

use super::CudaError;
use super::call::{Queue, SeriesArena};
use super::launcher::{Array, Launcher};
use super::numbers::Numbers;
use super::operations::{INDICATOR_JOB, Recursive};

/// Why indicators cannot be computed on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndicatorError {
    /// The device computes only indicators in which a bar depends on the bar before: `sma`, `ema`, `rsi` and `atr`.
    NotOnDevice,
    /// A period or the inputs are not what the indicator takes.
    Input(String),
    /// The device's fault.
    Cuda(CudaError),
}

impl std::fmt::Display for IndicatorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IndicatorError::NotOnDevice => {
                write!(f, "a GPU computes sma, ema, rsi and atr; the others are computed by the processor")
            }
            IndicatorError::Input(reason) => write!(f, "{reason}"),
            IndicatorError::Cuda(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for IndicatorError {}

impl From<CudaError> for IndicatorError {
    fn from(error: CudaError) -> IndicatorError {
        IndicatorError::Cuda(error)
    }
}

/// Computes the indicator called `name` for each of `periods` over the same inputs, in the indicator's order and of equal
/// length `n`. Gives one series of length `n` per period, `NaN` where undefined, with the bits of
/// [`crate::indicators::Indicator::compute`].
///
/// # Errors
/// See [`IndicatorError`].
pub fn indicators(
    launcher: &dyn Launcher,
    name: &str,
    inputs: &[&[f64]],
    periods: &[u32],
) -> Result<Vec<Vec<f64>>, IndicatorError> {
    let kind = Recursive::from_name(name).ok_or(IndicatorError::NotOnDevice)?;
    let (def, _) = crate::indicators::by_output(name).ok_or(IndicatorError::NotOnDevice)?;
    let bars = inputs.first().map_or(0, |input| input.len());
    if inputs.len() != def.inputs.len() || inputs.iter().any(|input| input.len() != bars) {
        let wanted = def.inputs.len();
        return Err(IndicatorError::Input(format!("{name} takes {wanted} series of equal length")));
    }
    for &period in periods {
        def.check_params(&[f64::from(period)]).map_err(IndicatorError::Input)?;
    }
    if bars == 0 || periods.is_empty() {
        return Ok(vec![Vec::new(); periods.len()]);
    }
    let queue = Queue { launcher, stream: 0 };
    let arena = SeriesArena::new(launcher, Precision::F64, bars, inputs.len() + periods.len())?;
    let mut rows = Vec::with_capacity(inputs.len() * bars);
    for input in inputs {
        rows.extend_from_slice(&Series::new(input.to_vec()));
    }
    let rows = Numbers::of(launcher, 0, Precision::F64, &rows)?;
    let slots: Vec<u64> = (0..arena.slots as u64).collect();
    let (input_slots, output_slots) = slots.split_at(inputs.len());
    let input_array = Array::of(launcher, 0, input_slots)?;
    queue.scatter_series(&rows, &input_array, inputs.len(), &arena)?;
    let mut jobs = Vec::with_capacity(periods.len() * INDICATOR_JOB);
    for (&period, &output) in periods.iter().zip(output_slots) {
        let input = |index: usize| input_slots.get(index).copied().unwrap_or(0);
        jobs.extend([input(0), input(1), input(2), u64::from(period), output]);
    }
    let jobs = Array::of(launcher, 0, &jobs)?;
    queue.indicator(kind, &arena, &arena, &jobs, periods.len())?;
    let mut values = vec![0.0; periods.len() * bars];
    let out = Array::<f64>::new(launcher, values.len())?;
    let output_array = Array::of(launcher, 0, output_slots)?;
    queue.gather_series(&arena, &output_array, periods.len(), &out)?;
    out.read(launcher, 0, &mut values)?;
    Ok(values.chunks(bars).map(<[f64]>::to_vec).collect())
}
