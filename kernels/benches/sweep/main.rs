//! The sweep beside a bar-by-bar loop, in one process: `cargo bench -p polybolos-kernels --bench sweep [FILTER] [--profile]`.
//!
//! W1 and W2 are the house's reference workloads: 43,800 bars; an SMA cross over 50 x 100 combinations, and an RSI reversion
//! with stop and target over 20 x 4 x 5 x 4 x 5. The sweep computes its indicators and every metric's statistics; the loop gets
//! its indicators for nothing and six metrics. One thread; medians of whole blocks, the two alternating; `--profile`
//! runs the sweep alone, for a profiler.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on may panic")]
#![allow(clippy::print_stdout, reason = "the figures are the point")]

mod market;
mod naive;
mod workload;

use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use polybolos_kernels::bars::Bars;
use polybolos_kernels::evaluate::{Evaluator, Value};
use polybolos_kernels::program::NodeId;
use polybolos_kernels::sim::{Returns, SimConfig};
use polybolos_kernels::simd::Isa;
use polybolos_kernels::stats::Stats;
use polybolos_kernels::sweep::Sweep;

use crate::naive::Report;
use crate::workload::Workload;

/// What the product allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The yardstick over series, for one combination's parameters.
type Naive = fn(&Bars, &[Vec<f64>], &[f64]) -> Report;

const BARS: usize = 43_800;
const RUNS: usize = 9;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let bars = market::bars(BARS, 7);
    println!(
        "{:<34} {:>9} {:>9} {:>8} {:>8} {:>7}",
        "workload", "ms", "G bars/s", "ns/trade", "naive ms", "ratio"
    );
    let w1 = workload::averages(100, true, false);
    let w2 = workload::reversion();
    let short = workload::averages(100, false, true);
    let both = workload::averages(100, true, true);
    for returns in [Returns::Bar, Returns::Daily] {
        let config = SimConfig { returns, ..SimConfig::default() };
        let name = format!("{returns:?}").to_lowercase();
        let run = |title: &str, work: &Workload, naive: Naive, isa: Isa| {
            let title = format!("{title} {name} {isa}");
            if title.contains(&filter) {
                compare(&title, &bars, work, &config, naive, isa);
            }
        };
        for isa in Isa::ALL {
            run("W1", &w1, cross::<false>, isa);
            run("W2", &w2, reversion, isa);
        }
        run("W1-short", &short, cross::<true>, Isa::detect());
        run("W1-both", &both, cross::<false>, Isa::detect());
    }
}

/// Measures a workload and its yardstick, and holds one against the other.
fn compare(title: &str, bars: &Bars, work: &Workload, config: &SimConfig, naive: Naive, isa: Isa) {
    let combinations = work.combinations();
    let mut out = vec![Stats::default(); combinations];
    if std::env::args().any(|arg| arg == "--profile") {
        let mut times: Vec<f64> = (0..30).map(|_| sweep_once(bars, work, config, isa, &mut out)).collect();
        times.sort_by(f64::total_cmp);
        let rate = |seconds: f64| (bars.len() * combinations) as f64 / seconds / 1e9;
        println!(
            "{title:<34} {:>9.2} {:>9.2} (best {:.2} ms)",
            times[15] * 1e3,
            rate(times[15]),
            times[0] * 1e3
        );
        return;
    }
    // The loop is run on every 20th combination, and counted for all.
    let sampled: Vec<usize> = (0..combinations).step_by(20).collect();
    let series: Vec<Vec<Vec<f64>>> = sampled.iter().map(|&row| inputs(bars, work, work.row(row))).collect();
    let mut reports = vec![Report::default(); sampled.len()];
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        fast.push(sweep_once(bars, work, config, isa, &mut out));
        let started = Instant::now();
        for ((report, series), &row) in reports.iter_mut().zip(&series).zip(&sampled) {
            *report = black_box(naive(bars, series, work.row(row)));
        }
        slow.push(started.elapsed().as_secs_f64() * combinations as f64 / sampled.len() as f64);
    }
    let is_long = work.program.rules.short_enter.is_none();
    let is_one_sided = is_long || work.program.rules.long_enter.is_none();
    for (report, &row) in reports.iter().zip(&sampled).filter(|_| is_one_sided) {
        check(report, &out[row], config.returns);
    }
    let trades: u64 = out.iter().map(|stats| stats.trades).sum();
    let (fast, slow) = (median(fast), median(slow));
    println!(
        "{title:<34} {:>9.2} {:>9.2} {:>8.1} {:>8.0} {:>7.1}",
        fast * 1e3,
        (bars.len() * combinations) as f64 / fast / 1e9,
        fast * 1e9 / trades as f64,
        slow * 1e3,
        slow / fast,
    );
}

/// Seconds of one sweep, from bars in memory to statistics.
fn sweep_once(bars: &Bars, work: &Workload, config: &SimConfig, isa: Isa, out: &mut [Stats]) -> f64 {
    let started = Instant::now();
    let mut sweep = Sweep::new(&work.program, bars, config).unwrap().with_isa(isa);
    sweep.run_block(&work.values, out, &AtomicBool::new(false)).unwrap();
    started.elapsed().as_secs_f64()
}

/// The number series that a combination's signals compare.
fn inputs(bars: &Bars, work: &Workload, params: &[f64]) -> Vec<Vec<f64>> {
    let mut evaluator = Evaluator::new(&work.program, bars).unwrap();
    let signal = work.program.rules.long_enter.or(work.program.rules.short_enter).unwrap();
    let args: Vec<NodeId> = work.program.node(signal).args.clone();
    let values = evaluator.values(&args, params).unwrap();
    let series = values.iter().filter_map(|value| match value {
        Value::Series(series) => Some(series.to_vec()),
        _ => None,
    });
    series.collect()
}

fn cross<const SHORT: bool>(bars: &Bars, series: &[Vec<f64>], _: &[f64]) -> Report {
    let (fast, slow) = (&series[0], &series[1]);
    let above = |t: usize| t > 0 && fast[t] > slow[t] && fast[t - 1] <= slow[t - 1];
    let below = |t: usize| t > 0 && fast[t] < slow[t] && fast[t - 1] >= slow[t - 1];
    if SHORT {
        naive::run::<false, true>(bars, 10_000.0, below, above, 0.0, 0.0)
    } else {
        naive::run::<false, false>(bars, 10_000.0, above, below, 0.0, 0.0)
    }
}

fn reversion(bars: &Bars, series: &[Vec<f64>], params: &[f64]) -> Report {
    let (rsi, lower, upper) = (&series[0], params[1], params[2]);
    let enter = |t: usize| t > 0 && rsi[t] < lower && rsi[t - 1] >= lower;
    let leave = |t: usize| t > 0 && rsi[t] > upper && rsi[t - 1] <= upper;
    naive::run::<true, false>(bars, 10_000.0, enter, leave, params[3], params[4])
}

/// The two agree, where both were asked the same.
fn check(report: &Report, stats: &Stats, returns: Returns) {
    let near = |a: f64, b: f64| assert!((a - b).abs() <= 1e-9 * b.abs().max(1e-3), "{a} {b}");
    assert_eq!((report.trades, report.wins), (stats.trades, stats.wins));
    near(report.final_equity, stats.final_equity);
    near(report.max_drawdown, stats.max_drawdown);
    near(report.profit_factor, stats.gross_profit / stats.gross_loss);
    if returns == Returns::Bar {
        let deviation = (stats.m2 / (stats.observations - 1) as f64).sqrt();
        near(report.sharpe_per_bar, stats.mean_return / deviation);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
