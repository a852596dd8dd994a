//! What `f32` signals cost: the same runs in both precisions, trade by trade, on a sample of a sweep.
//!
//! The sample depends on the sweep alone, so that the number is the same wherever it is measured.

use polybolos_engine::mismatch::TradeMismatch;
use polybolos_kernels::precision::Precision;
use polybolos_kernels::program::Program;
use polybolos_kernels::sim::Trade;
use polybolos_kernels::sweep::Sweep;

use crate::compute::kernel_error;
use crate::error::PlanError;
use crate::runtime::SweepRuntime;
use crate::unit::SweepJob;

/// Most runs compared.
const MOST_RUNS: u64 = 256;

/// Fewest runs compared, however long the series, where the sweep has so many.
const FEWEST_RUNS: u64 = 16;

/// Bars times runs aimed at: about a second of one core.
const BAR_RUNS: u64 = 1 << 25;

/// A run of the sample: the symbol's place in the sweep, and the span of grid rows whose first valid one it is.
type Place = (usize, std::ops::Range<u64>);

/// At most `runs` runs, evenly spaced over `rows` grid rows and over `symbols` symbols; all of them if there are no more.
fn places(symbols: u64, rows: u64, runs: u64) -> impl Iterator<Item = Place> {
    let all = symbols.saturating_mul(rows);
    let count = runs.min(all);
    let scaled =
        move |of: u64, index: u64| (u128::from(of) * u128::from(index) / u128::from(count.max(1))) as u64;
    (0..count).map(move |index| {
        if all <= runs {
            let row = index / symbols;
            return ((index % symbols) as usize, row..row + 1);
        }
        let symbol = if symbols <= count { index % symbols } else { scaled(symbols, index) };
        let row = scaled(rows, index);
        (symbol as usize, row..scaled(rows, index + 1).max(row + 1))
    })
}

/// Compares the trades of a sample of the sweep in `f64` and in `f32`. Blocks.
///
/// # Errors
/// Bars that cannot be read or have changed, parameters the kernels refuse, or [`PlanError::Cancelled`].
pub fn trade_mismatch(job: &SweepJob, runtime: &SweepRuntime) -> Result<TradeMismatch, PlanError> {
    let space = job.strategy.space();
    let longest = job.spec.series.iter().map(|series| series.bars).max().unwrap_or(0);
    let runs = (BAR_RUNS / longest.max(1)).clamp(FEWEST_RUNS, MOST_RUNS);
    let symbols = job.spec.series.len() as u64;
    let mut sample: Vec<Place> = places(symbols, space.len(), runs).collect();
    // A symbol's bars and what is prepared of them serve all its runs.
    sample.sort_by_key(|(symbol, rows)| (*symbol, rows.start));
    let programs = [Precision::F64, Precision::F32].map(|p| job.strategy.program().in_precision(p));
    let mut found = TradeMismatch::default();
    for of_symbol in sample.chunk_by(|a, b| a.0 == b.0) {
        let rows = of_symbol.iter().filter_map(|(_, rows)| space.valid_rows(rows.clone()).next());
        compare(job, runtime, of_symbol[0].0, &programs, rows, &mut found)?;
    }
    Ok(found)
}

/// Compares rows on one symbol.
fn compare(
    job: &SweepJob,
    runtime: &SweepRuntime,
    symbol: usize,
    programs: &[Program; 2],
    rows: impl Iterator<Item = u64>,
    found: &mut TradeMismatch,
) -> Result<(), PlanError> {
    let Some(series) = job.spec.series.get(symbol) else { return Ok(()) };
    let (loaded, config) = (job.bars(runtime, series)?, job.strategy.config());
    let failed = |row: u64, error| kernel_error(&series.symbol, &[row], error);
    let sweep = |program| Sweep::sharing(program, &loaded.bars, &config).map_err(|error| failed(0, error));
    let [wide, single] = programs;
    let (mut wide, mut single) = (sweep(wide)?, sweep(single)?);
    let space = job.strategy.space();
    let mut values = vec![0.0; space.params().len()];
    for row in rows {
        if runtime.is_cancelled() {
            return Err(PlanError::Cancelled);
        }
        space.fill(row, &mut values);
        let trades = |sweep: &mut Sweep<'_>| -> Result<Vec<Trade>, PlanError> {
            sweep.trades(&values).map_err(|error| failed(row, error))
        };
        found.add(&trades(&mut wide)?, &trades(&mut single)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_sample_is_spread_over_rows_and_symbols_and_counts_nothing_twice() {
        for (symbols, rows, runs) in [
            (1, 1, 256),
            (3, 85, 256),
            (3, 86, 256),
            (2, 200, 256),
            (8, 5_000, 256),
            (256, 4_096, 256),
            (100, 3, 256),
            (1_000, 7, 256),
            (7, 1_000_000_000, 16),
        ] {
            let places: Vec<Place> = places(symbols, rows, runs).collect();
            let case = format!("{symbols} symbols, {rows} rows");
            assert_eq!(places.len() as u64, runs.min(symbols * rows), "{case}");
            let distinct: BTreeSet<_> = places.iter().map(|(symbol, rows)| (*symbol, rows.start)).collect();
            assert_eq!(distinct.len(), places.len(), "{case}");
            let met: BTreeSet<usize> = places.iter().map(|(symbol, _)| *symbol).collect();
            assert_eq!(met.len() as u64, symbols.min(runs), "{case}: every symbol that there is room for");
            assert!(met.iter().all(|&symbol| (symbol as u64) < symbols), "{case}");
            // No row is further than a span from one of the sample, and every valid row lies in a span.
            let mut spans: Vec<_> = places.iter().map(|(_, rows)| rows.clone()).collect();
            spans.sort_by_key(|span| span.start);
            assert_eq!(spans.first().map(|span| span.start), Some(0), "{case}");
            assert!(spans.windows(2).all(|pair| pair[1].start <= pair[0].end), "{case}: {spans:?}");
            assert_eq!(spans.iter().map(|span| span.end).max(), Some(rows), "{case}");
        }
    }
}
