//! What the indicators cost: `cargo bench -p polybolos-kernels --bench indicators`.
//!
//! First whole `compute` calls over a million bars, with the search for undefined values, in fresh memory (as
//! `compute` takes it) and in the memory of earlier series (as a sweep does). Then many parameter sets at once, per bar
//! and set: over so few bars that the outputs stay in the cache, and over a year of 12-minute bars. Median of fifteen
//! runs, one thread.
#![allow(clippy::print_stdout, reason = "the figures are the point")]

use std::hint::black_box;
use std::time::Instant;

use polybolos_kernels::indicators::{INDICATORS, Indicator};
use polybolos_kernels::series::Buffers;
use polybolos_kernels::simd::Isa;

const BARS: usize = 1_000_000;
const RUNS: usize = 15;
/// Outputs of this many bars fit the second-level cache.
const FEW_BARS: usize = 2_048;
const YEAR_BARS: usize = 43_800;

/// High, low and close of a reproducible walk around 30,000 in steps of a cent, a tenth of a percent a bar: a million
/// bars of it stay a market, neither flat nor vanishing.
fn walk(bars: usize) -> [Vec<f64>; 3] {
    let mut state = 5_u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let cents = |price: f64| (price * 100.0).round() / 100.0;
    let mut prices = [const { Vec::new() }; 3];
    let mut close = 30_000.0;
    for _ in 0..bars {
        let open = close;
        close = cents(open * (1.0 + 0.002 * (uniform() - 0.5)));
        prices[0].push(cents(open.max(close) * (1.0 + 0.0005 * uniform())));
        prices[1].push(cents(open.min(close) * (1.0 - 0.0005 * uniform())));
        prices[2].push(close);
    }
    prices
}

/// The usual parameters of an indicator.
fn usual(name: &str) -> &'static [f64] {
    match name {
        "macd" => &[12.0, 26.0, 9.0],
        "bollinger" => &[20.0, 2.0],
        "stochastic" => &[14.0, 3.0, 3.0],
        "rsi" | "atr" | "adx" | "plus_di" | "minus_di" => &[14.0],
        "mom" | "roc" => &[10.0],
        _ => &[20.0],
    }
}

/// A grid of `count` parameter sets: periods from 2 on, everything else as usual, the stochastic without smoothing.
fn grid(name: &str, count: usize) -> Vec<Vec<f64>> {
    let set = |n: usize| match name {
        "stochastic" => vec![n as f64, 1.0, 1.0],
        "macd" => vec![n as f64, n as f64 + 14.0, 9.0],
        _ => [&[n as f64], &usual(name)[1..]].concat(),
    };
    (2..2 + count).map(set).collect()
}

/// Median nanoseconds of one call.
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

/// Nanoseconds per bar and parameter set in reused memory; short series are computed several times.
fn reused(def: &Indicator, inputs: &[&[f64]], sets: &[Vec<f64>]) -> f64 {
    let bars = inputs[0].len();
    let times = (400_000 / (bars * sets.len())).max(1);
    let mut buffers = Buffers::new();
    let call = || {
        for _ in 0..times {
            let sets = def.compute_many_in(Isa::detect(), black_box(inputs), black_box(sets), &mut buffers);
            for series in sets.into_iter().flatten() {
                buffers.recycle(black_box(series));
            }
        }
    };
    median(call) / (times * bars * sets.len()) as f64
}

fn main() {
    let [high, low, close] = walk(BARS);
    let inputs = |def: &Indicator, bars_used: usize| -> Vec<&[f64]> {
        let column = |input: &&str| match *input {
            "high" => &high[..bars_used],
            "low" => &low[..bars_used],
            _ => &close[..bars_used],
        };
        def.inputs.iter().map(column).collect()
    };
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |def: &&Indicator| only.is_empty() || only.iter().any(|name| name == def.name);

    println!("instructions: {}", Isa::detect());
    println!("{:<14} {:<18} {:>13} {:>14}", "indicator", "parameters", "fresh ns/bar", "reused ns/bar");
    for def in INDICATORS.iter().filter(wanted) {
        let params = usual(def.name);
        let inputs = inputs(def, BARS);
        let fresh = median(|| drop(black_box(def.compute(black_box(&inputs), params)))) / BARS as f64;
        let reused = reused(def, &inputs, &[params.to_vec()]);
        println!("{:<14} {:<18} {fresh:>13.2} {reused:>14.2}", def.name, format!("{params:?}"));
    }

    println!(
        "\n{:<14} {:<24} {:>15} {:>16}",
        "many at once", "parameter sets", "2,048 ns/bar", "43,800 ns/bar"
    );
    for def in INDICATORS.iter().filter(wanted) {
        for count in [4, 32, 199] {
            let sets = grid(def.name, count);
            let few = reused(def, &inputs(def, FEW_BARS), &sets);
            let year = reused(def, &inputs(def, YEAR_BARS), &sets);
            let ends = format!("{count}, {:?} on", sets[0]);
            println!("{:<14} {ends:<24} {few:>15.3} {year:>16.3}", def.name);
        }
    }
}
