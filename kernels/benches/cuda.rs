//! The sweep on a GPU: `cargo bench -p polybolos-kernels --bench cuda [COMBINATIONS...]`.
//!
//! W1 and W2 of the sweep's bench over finer grids: 43,800 bars, 10^5 and 10^6 combinations. The time is that of a whole
//! block, from parameters to statistics in memory: planning, indicators, signals, simulation and the way back. A sample of the
//! rows is compared with the processor's. Without a GPU it says so and measures nothing.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on may panic")]
#![allow(clippy::print_stdout, reason = "the figures are the point")]

#[path = "sweep/market.rs"]
mod market;
#[path = "sweep/workload.rs"]
#[allow(dead_code, reason = "shared with the sweep's bench, which uses all of it")]
mod workload;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use polybolos_kernels::bars::Bars;
use polybolos_kernels::cuda::{CudaSweep, Driver, Launcher, devices, self_test};
use polybolos_kernels::sim::{Returns, SimConfig};
use polybolos_kernels::stats::Stats;
use polybolos_kernels::sweep::Sweep;

use crate::workload::Workload;

const BARS: usize = 43_800;
const RUNS: usize = 5;

fn main() {
    let ordinal = std::env::var("POLYBOLOS_GPU").ok().and_then(|gpu| gpu.parse().ok()).unwrap_or(0);
    let found = match devices() {
        Ok(found) => found,
        Err(error) => {
            println!("skipped: {error}");
            return;
        }
    };
    let budget = found[ordinal].memory_free_bytes / 2;
    println!("{:?}", found[ordinal]);
    let opened = Instant::now();
    let launcher: Arc<dyn Launcher> = Arc::new(Driver::open(ordinal).unwrap());
    println!("kernels loaded in {:.0} ms", opened.elapsed().as_secs_f64() * 1e3);
    let test = self_test(&launcher, budget).unwrap();
    println!(
        "self-test {:.1} s: {:.0} GB/s, {:.2} T f64 operations/s, {} combinations equal in every bit",
        test.elapsed.as_secs_f64(),
        test.bandwidth_bytes_per_s / 1e9,
        test.f64_operations_per_s / 1e12,
        test.combinations_compared
    );
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100_000, 1_000_000] } else { sizes };
    let bars = market::bars(BARS, 7);
    println!("{:<24} {:>12} {:>9} {:>12} {:>10}", "workload", "combinations", "ms", "G bars/s", "measured");
    for returns in [Returns::Bar, Returns::Daily] {
        let config = SimConfig { returns, ..SimConfig::default() };
        for &size in &sizes {
            measure(&format!("W1 {returns:?}"), &bars, &averages(size), &config, &launcher, budget);
            measure(&format!("W2 {returns:?}"), &bars, &reversion(size), &config, &launcher, budget);
        }
    }
}

/// About `size` crossings: twice as many slow averages as fast ones, from 5 and 600 bars on.
fn averages(size: usize) -> Workload {
    let fast = ((size / 2) as f64).sqrt().round() as u32;
    let mut work = workload::averages(1, true, false, workload::Terms::Plain);
    work.values = (0..fast)
        .flat_map(|f| (0..2 * fast).flat_map(move |s| [f64::from(5 + f), f64::from(fast.max(600) + s)]))
        .collect();
    work
}

/// About `size` reversions: 20 periods x 20 lower x 25 upper thresholds x stops x 20 targets.
fn reversion(size: usize) -> Workload {
    let stops = size.div_ceil(20 * 20 * 25 * 20) as u32;
    let mut work = workload::reversion();
    work.values.clear();
    for n in 5..25 {
        for lower in 0..20 {
            for upper in 0..25 {
                for stop in 0..stops {
                    for target in 0..20 {
                        let levels = [20.0 + f64::from(lower), 50.0 + f64::from(upper)];
                        let exits = [0.01 + 0.005 * f64::from(stop), 0.02 + 0.005 * f64::from(target)];
                        work.values.extend([f64::from(n), levels[0], levels[1], exits[0], exits[1]]);
                    }
                }
            }
        }
    }
    work
}

fn measure(
    title: &str,
    bars: &Bars,
    work: &Workload,
    config: &SimConfig,
    launcher: &Arc<dyn Launcher>,
    budget: u64,
) {
    let combinations = work.combinations();
    let mut out = vec![Stats::default(); combinations];
    let mut seconds = Vec::new();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let sweep = CudaSweep::new(&work.program, bars, config, Arc::clone(launcher), budget).unwrap();
    let mut sweep = sweep.with_threads(threads);
    for _ in 0..RUNS {
        let started = Instant::now();
        sweep.run_block(&work.values, &mut out, &AtomicBool::new(false)).unwrap();
        seconds.push(started.elapsed().as_secs_f64());
    }
    let placement = sweep.placement();
    assert_eq!((placement.unsupported, placement.failed), (0, 0), "{placement:?}");
    let mut cpu = Sweep::new(&work.program, bars, config).unwrap();
    for row in (0..combinations).step_by(combinations.div_ceil(200)) {
        let mut wanted = [Stats::default()];
        cpu.run_block(work.row(row), &mut wanted, &AtomicBool::new(false)).unwrap();
        assert_eq!(format!("{:?}", out[row]), format!("{:?}", wanted[0]), "{title}, row {row}");
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds[RUNS / 2];
    println!(
        "{title:<24} {combinations:>12} {:>9.1} {:>12.1} {:>9.1}%",
        median * 1e3,
        (bars.len() * combinations) as f64 / median / 1e9,
        100.0 * placement.measured as f64 / placement.device as f64,
    );
}
