//! Nanoseconds per bar of every indicator over a million bars: `cargo bench -p polybolos-kernels --bench indicators`.
//!
//! Whole `compute` calls, allocation and scan for undefined values included. Median of nine runs, one thread.
#![allow(clippy::print_stdout, reason = "the figures are the point")]

use std::hint::black_box;
use std::time::Instant;

use polybolos_kernels::indicators::INDICATORS;

#[path = "../tests/it/support.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use all of it")]
mod support;

const BARS: usize = 1_000_000;
const RUNS: usize = 9;

/// The usual parameters of an indicator with this many of them.
fn usual(name: &str, params: usize) -> &'static [f64] {
    match (name, params) {
        ("macd", _) => &[12.0, 26.0, 9.0],
        ("bollinger", _) => &[20.0, 2.0],
        ("stochastic", _) => &[14.0, 3.0, 3.0],
        ("rsi" | "atr" | "adx" | "plus_di" | "minus_di" | "directional", _) => &[14.0],
        ("mom" | "roc", _) => &[10.0],
        _ => &[20.0],
    }
}

fn main() {
    let bars = support::random_walk(BARS, 5, 0.001);
    println!("{:<14} {:<18} {:>8}", "indicator", "parameters", "ns/bar");
    for def in INDICATORS {
        let params = usual(def.name, def.params.len());
        let inputs: Vec<&[f64]> = def
            .inputs
            .iter()
            .map(|input| match *input {
                "high" => bars.high.as_slice(),
                "low" => bars.low.as_slice(),
                _ => bars.close.as_slice(),
            })
            .collect();
        let mut nanoseconds: Vec<f64> = (0..RUNS)
            .map(|_| {
                let started = Instant::now();
                black_box(def.compute(black_box(&inputs), params));
                started.elapsed().as_nanos() as f64 / BARS as f64
            })
            .collect();
        nanoseconds.sort_by(f64::total_cmp);
        println!("{:<14} {:<18} {:>8.2}", def.name, format!("{params:?}"), nanoseconds[RUNS / 2]);
    }
}
