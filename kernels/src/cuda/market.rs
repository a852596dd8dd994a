//! One symbol's bars on the device, with what is derived of them once.

use crate::bars::Bars;
use crate::sweep::device::DeviceTables;

use super::CudaError;
use super::launcher::{Array, Launcher};

/// Bars and tables, resident for the life of a sweep.
#[derive(Debug)]
pub(crate) struct DeviceMarket {
    /// Open, high, low, close, lowest, highest, blocks, from start, to end, spans.
    numbers: [Array<f64>; 10],
    span_offsets: Array<u64>,
    first_at: Array<u64>,
    sample_closes: Array<f64>,
    prefix: Array<u64>,
    pub(crate) bars: usize,
    /// Samples before the first close.
    pub(crate) lead: u64,
    /// What the powers of returns at the ends of trades are multiplied by, if they are summed as integers.
    scales: Option<[f64; 5]>,
}

impl DeviceMarket {
    /// Uploads checked bars and their tables.
    pub(crate) fn new(
        launcher: &dyn Launcher,
        stream: usize,
        bars: &Bars,
        tables: &DeviceTables,
    ) -> Result<DeviceMarket, CudaError> {
        let numbers = |values: &[f64]| Array::of(launcher, stream, values);
        let words = |values: &[u64]| Array::of(launcher, stream, values);
        let market = DeviceMarket {
            numbers: [
                numbers(&bars.open)?,
                numbers(&bars.high)?,
                numbers(&bars.low)?,
                numbers(&bars.close)?,
                numbers(&tables.lowest)?,
                numbers(&tables.highest)?,
                numbers(&tables.blocks)?,
                numbers(&tables.from_start)?,
                numbers(&tables.to_end)?,
                numbers(&tables.spans)?,
            ],
            span_offsets: words(&tables.span_offsets)?,
            first_at: words(&tables.first_at)?,
            sample_closes: numbers(&tables.sample_closes)?,
            prefix: words(&tables.prefix)?,
            bars: bars.len(),
            lead: tables.lead,
            scales: tables.scales,
        };
        // Launches in other queues read it without waiting for this one.
        launcher.synchronize(stream)?;
        Ok(market)
    }

    /// Bytes it takes.
    pub(crate) fn bytes(bars: &Bars, tables: &DeviceTables) -> u64 {
        let numbers = 4 * bars.len()
            + tables.lowest.len()
            + tables.highest.len()
            + tables.blocks.len()
            + tables.from_start.len()
            + tables.to_end.len()
            + tables.spans.len()
            + tables.sample_closes.len();
        let words = tables.span_offsets.len() + tables.first_at.len() + tables.prefix.len();
        8 * (numbers + words) as u64
    }

    /// The first fields of the kernels' `Simulate`.
    pub(crate) fn addresses(&self) -> [u64; 14] {
        let [open, high, low, close, lowest, highest, blocks, from_start, to_end, spans] =
            self.numbers.each_ref().map(Array::address);
        [
            open,
            high,
            low,
            close,
            lowest,
            highest,
            blocks,
            from_start,
            to_end,
            spans,
            self.span_offsets.address(),
            self.first_at.address(),
            self.sample_closes.address(),
            self.prefix.address(),
        ]
    }

    /// Some of the last fields: whether the ends of trades are summed as integers, and their scales.
    pub(crate) fn edges(&self) -> [u64; 6] {
        let [a, b, c, d, e] = self.scales.unwrap_or_default().map(f64::to_bits);
        [u64::from(self.scales.is_some()), a, b, c, d, e]
    }
}
