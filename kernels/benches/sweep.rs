//! A sweep beside the bar-by-bar loop, in one process: `cargo bench -p polybolos-kernels --bench sweep`.
//!
//! W1 of the house's reference tables: 43,800 bars, an SMA cross over 50 x 100 combinations, every metric's statistics. The
//! naive loop is the tests' own; it gets its averages for nothing. Medians of single combinations; one thread.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on may panic")]
#![allow(clippy::print_stdout, reason = "the figures are the point")]

#[path = "../tests/it/naive.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use all of it")]
mod naive;
#[path = "../tests/it/support.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use all of it")]
mod support;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use polybolos_kernels::evaluate::{Evaluator, Value};
use polybolos_kernels::sim::{Returns, SimConfig};
use polybolos_kernels::stats::Stats;
use polybolos_kernels::sweep::Sweep;

use crate::naive::{Naive, Signal};
use crate::support::{RuleSet, random_walk, sma_cross};

fn main() {
    let bars = random_walk(43_800, 11, 0.01);
    let program = sma_cross();
    let rows: Vec<f64> = (5..55)
        .flat_map(|fast| (60..260).step_by(2).flat_map(move |slow| [f64::from(fast), f64::from(slow)]))
        .collect();
    let combinations = rows.len() / 2;
    for returns in [Returns::Bar, Returns::Daily] {
        let config = SimConfig { returns, ..SimConfig::default() };
        let mut out = vec![Stats::default(); combinations];
        let mut sweep = Sweep::new(&program, &bars, &config).unwrap();
        let mut seconds = Vec::new();
        // One at a time: the median of short runs is not moved by whatever else the machine does.
        for (row, out) in rows.chunks(2).zip(out.chunks_mut(1)) {
            let started = Instant::now();
            sweep.run_block(row, out, &AtomicBool::new(false)).unwrap();
            seconds.push(started.elapsed().as_secs_f64());
        }

        // The loop gets its averages for nothing.
        let mut evaluator = Evaluator::new(&program, &bars).unwrap();
        let every = if returns == Returns::Bar { 1 } else { 24 };
        let (mut naive_seconds, mut trades) = (Vec::new(), 0);
        for (index, row) in rows.chunks(2).enumerate().step_by(23) {
            let enter = program.rules.long_enter.unwrap();
            let averages = evaluator.values(&program.node(enter).args.clone(), row).unwrap();
            let [Value::Series(fast), Value::Series(slow)] = averages.as_slice() else { panic!("averages") };
            let signal = |t: usize| {
                let crosses = |a: &[f64], b: &[f64]| t > 0 && a[t] > b[t] && a[t - 1] <= b[t - 1];
                Signal {
                    long_enter: crosses(fast, slow),
                    long_exit: crosses(slow, fast),
                    ..Signal::default()
                }
            };
            let started = Instant::now();
            let naive = Naive::run(&bars, signal, RuleSet::default(), config);
            let m2 = squared_deviations(&naive.equity, config.cash, every);
            naive_seconds.push(started.elapsed().as_secs_f64());
            trades += naive.trades.len();
            assert_eq!(naive.stats.final_equity, out[index].final_equity);
            assert!((m2 - out[index].m2).abs() <= 1e-12 * m2, "{m2} {}", out[index].m2);
        }
        let runs = naive_seconds.len();
        let (sweep, naive) = (median(seconds), median(naive_seconds));
        println!(
            "{returns:?} returns, per combination of {} bars and {} trades: sweep {:.1} us, {:.2} G bars/s; naive {:.1} us; \
             ratio {:.1}",
            bars.len(),
            trades / runs,
            sweep * 1e6,
            bars.len() as f64 / sweep / 1e9,
            naive * 1e6,
            naive / sweep,
        );
    }
}

/// Sum of squared deviations of the returns from one sample to the next, `every` bars apart.
fn squared_deviations(equity: &[f64], cash: f64, every: usize) -> f64 {
    let mut returns = Vec::with_capacity(equity.len() / every);
    let mut before = cash;
    for &after in equity.iter().skip(every - 1).step_by(every) {
        returns.push(after / before - 1.0);
        before = after;
    }
    let mean = returns.iter().sum::<f64>() / returns.len() as f64;
    returns.iter().map(|r| (r - mean) * (r - mean)).sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
