//! The sweep beside a bar-by-bar loop, in one process: `cargo bench -p polybolos-kernels --bench sweep [FILTER] [--profile]`.
//! A filter is a part of a line's title: `W1 bar`, `single`, `growth`, `series`.
//!
//! W1 and W2 are the house's reference workloads: 43,800 bars; an SMA cross over 50 x 100 combinations, and an RSI reversion
//! with stop and target over 20 x 4 x 5 x 4 x 5. The sweep computes its indicators and every metric's statistics; the loop gets
//! its indicators for nothing and six metrics. One thread; medians of whole blocks, the two alternating; `--profile`
//! runs the sweep alone, for a profiler, and prints a digest of all bits. After them what trades otherwise, one combination alone, and the time by bars and
//! combinations.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on may panic")]
#![allow(clippy::print_stdout, reason = "the figures are the point")]

mod general;
mod market;
mod naive;
mod workload;

use std::hash::{DefaultHasher, Hash, Hasher};
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

use crate::general::{Setup, Stake, Wishes};
use crate::naive::Report;
use crate::workload::{BRIEF, LONG, QUOTE, RISK, STOP, TARGET, Terms, Workload};

/// What the product allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The yardstick over series, for one combination's parameters.
type Naive = fn(&Bars, &[Vec<f64>], &[f64]) -> Report;

const BARS: usize = 43_800;
const RUNS: usize = 9;
/// Of one combination alone.
const SINGLE_RUNS: usize = 199;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let bars = market::bars(BARS, 7);
    println!(
        "{:<34} {:>9} {:>9} {:>8} {:>8} {:>7} {:>16}",
        "workload", "ms", "G bars/s", "ns/trade", "naive ms", "ratio", "bits"
    );
    let averages = |is_long, is_short, terms| workload::averages(100, is_long, is_short, terms);
    let w1 = averages(true, false, Terms::Plain);
    let w2 = workload::reversion();
    let others: [(&str, Workload, Naive); 11] = [
        ("W1-short", averages(false, true, Terms::Plain), cross::<true>),
        ("W1-both", averages(true, true, Terms::Plain), both_sides),
        ("W1-quote", averages(true, false, Terms::Quote), quote),
        ("W1-risk", averages(true, false, Terms::Risk), risk),
        ("W1-levels", averages(true, false, Terms::Levels), long_with_levels),
        ("W1-both-levels", averages(true, true, Terms::Levels), both_sides_with_levels),
        ("W1-time", averages(true, false, Terms::Time(LONG)), held_for::<LONG, true, false>),
        ("W1-brief", averages(true, false, Terms::Time(BRIEF)), held_for::<BRIEF, true, false>),
        ("W1-short-time", averages(false, true, Terms::Time(LONG)), held_for::<LONG, false, true>),
        ("W1-both-time", averages(true, true, Terms::Time(LONG)), held_for::<LONG, true, true>),
        ("W2-time", workload::timed_reversion(), timed_reversion),
    ];
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
        for (title, work, naive) in &others {
            run(title, work, *naive, Isa::detect());
        }
    }
    if "single".contains(&filter) {
        println!(
            "\n{:<12} {:>9} {:>11} {:>8} {:>8} {:>9}",
            "single", "tables us", "backtest us", "trades", "ns/trade", "naive us"
        );
        let w1 = |fast: usize| averages(true, false, Terms::Plain).only(fast * 100 + 20);
        let w2 = |period: usize| workload::reversion().only(period * 400 + 110);
        let timed = |fast: usize| averages(true, false, Terms::Time(LONG)).only(fast * 100 + 20);
        single("W1", &bars, [&w1(14), &w1(15)], cross::<false>);
        single("W1-time", &bars, [&timed(14), &timed(15)], held_for::<LONG, true, false>);
        single("W2", &bars, [&w2(8), &w2(9)], reversion);
    }
    if "growth".contains(&filter) {
        growth();
    }
    if "series".contains(&filter) {
        series();
    }
}

/// One combination alone after another one on the same bars: the tables over them are made once, its series are its own.
fn single(title: &str, bars: &Bars, [first, work]: [&Workload; 2], naive: Naive) {
    let config = SimConfig { returns: Returns::Bar, ..SimConfig::default() };
    let series = inputs(bars, work, work.row(0));
    let (mut tables, mut backtest, mut slow) = (Vec::new(), Vec::new(), Vec::new());
    let mut out = [Stats::default()];
    for _ in 0..SINGLE_RUNS {
        let started = Instant::now();
        let mut sweep = Sweep::new(&work.program, bars, &config).unwrap();
        tables.push(started.elapsed().as_secs_f64());
        // Whatever is made with the first combination is made.
        sweep.run_block(&first.values, &mut out, &AtomicBool::new(false)).unwrap();
        let started = Instant::now();
        sweep.run_block(&work.values, &mut out, &AtomicBool::new(false)).unwrap();
        backtest.push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        let report = black_box(naive(bars, &series, work.row(0)));
        slow.push(started.elapsed().as_secs_f64());
        check(&report, &out[0], config.returns);
    }
    let (tables, backtest, slow) = (median(tables), median(backtest), median(slow));
    let per_trade = backtest * 1e9 / out[0].trades as f64;
    println!(
        "{title:<12} {:>9.1} {:>11.1} {:>8} {per_trade:>8.0} {:>9.1}",
        tables * 1e6,
        backtest * 1e6,
        out[0].trades,
        slow * 1e6
    );
}

/// W1 by bars and combinations: seconds, and what a thousand bar-combinations cost.
fn growth() {
    println!(
        "\n{:<12} {:>12} {:>10} {:>12} {:>10}",
        "growth", "combinations", "ms", "ns per 1000", "G bars/s"
    );
    for count in [4_380, 43_800, 438_000] {
        let bars = market::bars(count, 7);
        for slow in [10, 100, 1_000] {
            timed(&count.to_string(), &bars, &workload::averages(slow, true, false, Terms::Plain));
        }
    }
}

/// W1's rule in blocks of 8,000 combinations by the number of series they are made of: units of wide grids have few rows for each.
fn series() {
    println!(
        "\n{:<12} {:>12} {:>10} {:>12} {:>10}",
        "series", "combinations", "ms", "ns per 1000", "G bars/s"
    );
    let bars = market::bars(BARS, 7);
    for fast in [80, 20, 4, 1] {
        // Spread over the same periods: short averages trade more often.
        let fasts = (0..fast).map(|i| 5 + (2 * i + 1) * 40 / fast);
        let work = workload::averages_of(fasts, 8_000 / fast, true, false, Terms::Plain);
        timed(&(fast + 8_000 / fast).to_string(), &bars, &work);
    }
}

/// A line with what a workload takes.
fn timed(title: &str, bars: &Bars, work: &Workload) {
    let mut out = vec![Stats::default(); work.combinations()];
    let config = SimConfig { returns: Returns::Bar, ..SimConfig::default() };
    let work_of = (bars.len() * work.combinations()) as f64;
    let runs = if work_of > 5e9 { 1 } else { RUNS };
    let time = || sweep_once(bars, work, &config, Isa::detect(), &mut out);
    let seconds = median(std::iter::repeat_with(time).take(runs).collect());
    let (ms, per_thousand, rate) = (seconds * 1e3, seconds * 1e12 / work_of, work_of / seconds / 1e9);
    println!("{title:<12} {:>12} {ms:>10.2} {per_thousand:>12.1} {rate:>10.2}", work.combinations());
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
            "{title:<34} {:>9.2} {:>9.2} (best {:.2} ms) {:016x}",
            times[15] * 1e3,
            rate(times[15]),
            times[0] * 1e3,
            bits(&out)
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
    for (report, &row) in reports.iter().zip(&sampled) {
        check(report, &out[row], config.returns);
    }
    let trades: u64 = out.iter().map(|stats| stats.trades).sum();
    let (fast, slow) = (median(fast), median(slow));
    println!(
        "{title:<34} {:>9.3} {:>9.2} {:>8.1} {:>8.2} {:>7.1} {:016x}",
        fast * 1e3,
        (bars.len() * combinations) as f64 / fast / 1e9,
        fast * 1e9 / trades as f64,
        slow * 1e3,
        slow / fast,
        bits(&out),
    );
}

/// A hash of all results: equal where every bit of them is.
fn bits(out: &[Stats]) -> u64 {
    let mut hasher = DefaultHasher::new();
    // The shortest decimal that reads back as the same number tells any two apart.
    out.iter().for_each(|stats| format!("{stats:?}").hash(&mut hasher));
    hasher.finish()
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

/// Both sides of a cross.
fn crosses(series: &[Vec<f64>]) -> impl Fn(usize) -> Wishes + '_ {
    let (fast, slow) = (&series[0], &series[1]);
    move |t| {
        let above = t > 0 && fast[t] > slow[t] && fast[t - 1] <= slow[t - 1];
        let below = t > 0 && fast[t] < slow[t] && fast[t - 1] >= slow[t - 1];
        Wishes { long_enter: above, long_exit: below, short_enter: below, short_exit: above }
    }
}

fn both_sides(bars: &Bars, series: &[Vec<f64>], _: &[f64]) -> Report {
    general::run(bars, 10_000.0, &Setup { stake: Stake::All, levels: None, max_bars: None }, crosses(series))
}

fn both_sides_with_levels(bars: &Bars, series: &[Vec<f64>], _: &[f64]) -> Report {
    let setup = Setup { stake: Stake::All, levels: Some((STOP, TARGET)), max_bars: None };
    general::run(bars, 10_000.0, &setup, crosses(series))
}

/// The long side of a cross.
fn long_cross(series: &[Vec<f64>]) -> impl Fn(usize) -> Wishes + '_ {
    let both = crosses(series);
    move |t| Wishes { short_enter: false, short_exit: false, ..both(t) }
}

fn quote(bars: &Bars, series: &[Vec<f64>], _: &[f64]) -> Report {
    general::run(
        bars,
        10_000.0,
        &Setup { stake: Stake::Quote(QUOTE), levels: None, max_bars: None },
        long_cross(series),
    )
}

fn risk(bars: &Bars, series: &[Vec<f64>], _: &[f64]) -> Report {
    let setup = Setup { stake: Stake::Risk(RISK), levels: Some((STOP, TARGET)), max_bars: None };
    general::run(bars, 10_000.0, &setup, long_cross(series))
}

fn long_with_levels(bars: &Bars, series: &[Vec<f64>], _: &[f64]) -> Report {
    let setup = Setup { stake: Stake::All, levels: Some((STOP, TARGET)), max_bars: None };
    general::run(bars, 10_000.0, &setup, long_cross(series))
}

/// One side of a cross or both, left after so many bars.
fn held_for<const BARS: usize, const IS_LONG: bool, const IS_SHORT: bool>(
    bars: &Bars,
    series: &[Vec<f64>],
    _: &[f64],
) -> Report {
    let setup = Setup { stake: Stake::All, levels: None, max_bars: Some(BARS) };
    let both = crosses(series);
    general::run(bars, 10_000.0, &setup, |t| {
        let Wishes { long_enter, long_exit, short_enter, short_exit } = both(t);
        Wishes {
            long_enter: IS_LONG && long_enter,
            long_exit: IS_LONG && long_exit,
            short_enter: IS_SHORT && short_enter,
            short_exit: IS_SHORT && short_exit,
        }
    })
}

fn timed_reversion(bars: &Bars, series: &[Vec<f64>], params: &[f64]) -> Report {
    let (rsi, lower, upper) = (&series[0], params[1], params[2]);
    let setup = Setup { stake: Stake::All, levels: None, max_bars: Some(params[3] as usize) };
    general::run(bars, 10_000.0, &setup, |t| Wishes {
        long_enter: t > 0 && rsi[t] < lower && rsi[t - 1] >= lower,
        long_exit: t > 0 && rsi[t] > upper && rsi[t - 1] <= upper,
        ..Wishes::default()
    })
}

/// The two agree, where both were asked the same.
fn check(report: &Report, stats: &Stats, returns: Returns) {
    // Equal, too, where both are infinite: of a combination that never loses.
    let near = |a: f64, b: f64| assert!(a == b || (a - b).abs() <= 1e-9 * b.abs().max(1e-3), "{a} {b}");
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
