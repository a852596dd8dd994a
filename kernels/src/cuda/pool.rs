//! One block of combinations on several devices.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::stats::Stats;
use crate::sweep::SweepError;

use super::sweep::moved;
use super::{CudaSweep, CudaSweepError};

/// Pieces per device: enough that devices of unequal speed end together.
const PIECES_PER_DEVICE: usize = 8;

/// Combinations below which a piece is not cut further: a device is not filled by less.
const LEAST_PIECE: usize = 1 << 14;

/// Rows of a block that one device takes at a time.
struct Piece<'o> {
    first: usize,
    out: &'o mut [Stats],
}

/// Simulates the combinations in the rows of `values` on several devices at once, one thread each: every sweep in `sweeps` is
/// of the same program, bars and settings, each on its own device. Pieces of the block are handed out in order to whoever is
/// free. Results are those of [`CudaSweep::run_block`], whatever the devices and however many.
///
/// # Errors
/// As [`CudaSweep::run_block`], for the first combination in the block's order that has one; the results before it are
/// written. [`SweepError::Cancelled`] counts the results that are written without a gap. No sweep at all is
/// [`SweepError::Block`].
pub fn run_on_devices(
    sweeps: &mut [CudaSweep<'_>],
    values: &[f64],
    out: &mut [Stats],
    cancel: &AtomicBool,
) -> Result<(), CudaSweepError> {
    let params = sweeps.first().map_or(0, CudaSweep::params);
    if sweeps.is_empty() || out.len().checked_mul(params) != Some(values.len()) {
        return Err(SweepError::Block { values: values.len(), combinations: out.len(), params }.into());
    }
    let size = out.len().div_ceil(sweeps.len() * PIECES_PER_DEVICE).max(LEAST_PIECE);
    let pieces = out.chunks_mut(size).enumerate();
    let pieces = Mutex::new(pieces.map(|(index, out)| Piece { first: index * size, out }));
    let failures: Mutex<Vec<(usize, CudaSweepError)>> = Mutex::default();
    let has_failed = AtomicBool::new(false);
    let work = |sweep: &mut CudaSweep<'_>| {
        // Pieces are handed out in order: those before a failure are with somebody, who finishes them.
        while !has_failed.load(Ordering::Relaxed) {
            let Some(piece) = pieces.lock().unwrap_or_else(PoisonError::into_inner).next() else { break };
            let rows = &values[piece.first * params..(piece.first + piece.out.len()) * params];
            if let Err(error) = sweep.run_block(rows, piece.out, cancel) {
                has_failed.store(true, Ordering::Relaxed);
                let error = match error {
                    CudaSweepError::Sweep(error) => CudaSweepError::Sweep(moved(error, piece.first)),
                    other => other,
                };
                failures.lock().unwrap_or_else(PoisonError::into_inner).push((piece.first, error));
            }
        }
    };
    std::thread::scope(|scope| {
        for sweep in sweeps {
            scope.spawn(|| work(sweep));
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failures.into_iter().min_by_key(|(first, _)| *first) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}
