//! Nanoseconds per bar of indicators over given bars, for a table beside other libraries.
//!
//! `indicator_times bars.f64 'sma 20' 'macd 12 26 9'`: the file holds highs, lows and closes, one after the other, as
//! little-endian `f64`. Writes a line per request: whole computations in fresh memory, then in the memory of earlier
//! series; medians of fifteen, one thread.

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};
use std::time::Instant;

use polybolos_kernels::indicators::INDICATORS;
use polybolos_kernels::series::Buffers;
use polybolos_kernels::simd::Isa;

const RUNS: usize = 15;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("the first argument is a file of highs, lows and closes")?;
    let bytes = std::fs::read(path)?;
    let (numbers, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() || !numbers.len().is_multiple_of(3) || numbers.is_empty() {
        return Err(format!("{} bytes are not three columns of numbers", bytes.len()).into());
    }
    let bars = numbers.len() / 3;
    let columns: Vec<Vec<f64>> = numbers
        .chunks(bars)
        .map(|column| column.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect())
        .collect();
    drop(bytes);

    for request in arguments {
        let mut words = request.split_whitespace();
        let name = words.next().ok_or("an argument is empty: name an indicator")?;
        let def = INDICATORS.iter().find(|def| def.name == name).ok_or(format!("no indicator {name}"))?;
        let params: Vec<f64> = words.map(str::parse).collect::<Result<_, _>>()?;
        def.check_params(&params)?;
        let column = |input: &&str| match *input {
            "high" => columns[0].as_slice(),
            "low" => &columns[1],
            _ => &columns[2],
        };
        let inputs: Vec<&[f64]> = def.inputs.iter().map(column).collect();
        let fresh = median(|| drop(black_box(def.compute(black_box(&inputs), &params))));
        let mut buffers = Buffers::new();
        let reused = median(|| {
            let outputs = def.compute_many_in(Isa::detect(), black_box(&inputs), &[&params], &mut buffers);
            outputs.into_iter().flatten().for_each(|series| buffers.recycle(black_box(series)));
        });
        writeln!(io::stdout(), "{request},{},{}", fresh / bars as f64, reused / bars as f64)?;
    }
    Ok(())
}

/// Median nanoseconds of a call, after one that does not count.
fn median(mut call: impl FnMut()) -> f64 {
    call();
    let mut nanoseconds: Vec<f64> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            call();
            started.elapsed().as_nanos() as f64
        })
        .collect();
    nanoseconds.sort_by(f64::total_cmp);
    nanoseconds[RUNS / 2]
}
