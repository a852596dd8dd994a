//! What a device is good for: whether it can be trusted, in about two seconds, and whether it is worth its while.
//!
//! The one place of this crate that looks at a clock: speeds are for people and for placing work, never for results.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::bars::{Bars, Column};
use crate::indicators::by_output;
use crate::precision::Precision;
use crate::program::{BuildError, NodeId, Op, Program, ProgramBuilder, Rules, Size};
use crate::sim::{Returns, SimConfig};
use crate::stats::Stats;
use crate::sweep::{Sweep, SweepError};

use super::call::Queue;
use super::launcher::{Array, Launcher};
use super::{CudaError, CudaSweep, CudaSweepError};

/// What the self-test found.
#[derive(Debug, Clone, PartialEq)]
pub struct SelfTest {
    /// The device in words.
    pub device: String,
    /// Bytes read plus bytes written per second by a copy within device memory.
    pub bandwidth_bytes_per_s: f64,
    /// `f64` multiplications and additions per second, not fused.
    pub f64_operations_per_s: f64,
    /// Combinations whose statistics were compared with the processor's, and were equal in every bit.
    pub combinations_compared: usize,
    /// How long all of it took, the driver's compilation of the kernels not included.
    pub elapsed: Duration,
}

/// How long a measurement runs at least.
const MEASURED: Duration = Duration::from_millis(150);

/// Threads that fill any GPU.
const THREADS: usize = 1 << 18;

/// Bars of the comparison.
const BARS: usize = 2_000;

/// Measures memory bandwidth and `f64` throughput and runs a small sweep on the device and on the processor. At most
/// `budget_bytes` of device memory are taken.
///
/// # Errors
/// [`CudaError::SelfTest`] if any statistic differs by a bit; [`CudaError::Budget`] below 4 MiB; the device's.
pub fn self_test(launcher: &Arc<dyn Launcher>, budget_bytes: u64) -> Result<SelfTest, CudaError> {
    const LEAST: u64 = 4 << 20;
    if budget_bytes < LEAST {
        return Err(CudaError::Budget { needed: LEAST, budget: budget_bytes });
    }
    let started = Instant::now();
    let combinations_compared = compare(launcher, budget_bytes)?;
    Ok(SelfTest {
        device: launcher.describe(),
        bandwidth_bytes_per_s: bandwidth(launcher.as_ref(), budget_bytes)?,
        f64_operations_per_s: throughput(launcher.as_ref(), budget_bytes)?,
        combinations_compared,
        elapsed: started.elapsed(),
    })
}

/// How fast combinations of one sweep are, measured on some of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Combinations per second on the device, all of it.
    pub device_per_s: f64,
    /// Combinations per second on one thread of the processor.
    pub processor_per_s: f64,
}

impl Rates {
    /// Whether the device is faster than this many threads of the processor.
    pub fn is_device_faster_than(&self, threads: usize) -> bool {
        self.device_per_s > self.processor_per_s * threads as f64
    }
}

/// Measures a sweep on the device and on the processor with combinations from the rows of `values`: which of the two is faster
/// depends on the strategy, on the number of bars and on how many combinations there are, and no table of chips knows that.
/// Takes a fraction of a second beside the device's share. The rows are run as they come: give the ones to be run.
///
/// # Errors
/// As [`CudaSweep::run_block`]; [`CudaError::NoDevice`] if the device does not run this sweep, or not all of it.
pub fn rates(
    sweep: &mut CudaSweep<'_>,
    values: &[f64],
    combinations: usize,
    cancel: &AtomicBool,
) -> Result<Rates, CudaSweepError> {
    const DEVICE_ROWS: usize = 1 << 17;
    const PROCESSOR_TIME: Duration = Duration::from_millis(100);
    let params = sweep.params();
    let rows = combinations.min(DEVICE_ROWS);
    if combinations.checked_mul(params) != Some(values.len()) || rows == 0 {
        return Err(SweepError::Block { values: values.len(), combinations, params }.into());
    }
    let mut out = vec![Stats::default(); rows];
    let before = sweep.placement().device;
    // Once for what is only done once: memory is taken, series are uploaded, kernels are loaded.
    sweep.run_block(&values[..params], &mut out[..1], cancel)?;
    let started = Instant::now();
    sweep.run_block(&values[..rows * params], &mut out, cancel)?;
    let device_per_s = rows as f64 / started.elapsed().as_secs_f64();
    if sweep.placement().device - before < 1 + rows as u64 {
        return Err(CudaSweepError::Cuda(CudaError::NoDevice));
    }
    let (mut done, mut size, started) = (0, 64, Instant::now());
    while done < rows && started.elapsed() < PROCESSOR_TIME {
        let end = rows.min(done + size);
        let piece = &values[done * params..end * params];
        sweep.processor().run_block(piece, &mut out[done..end], cancel)?;
        (done, size) = (end, size * 2);
    }
    Ok(Rates { device_per_s, processor_per_s: done as f64 / started.elapsed().as_secs_f64() })
}

/// Units per second: rounds are doubled until they take long enough to be timed.
fn rate(
    launcher: &dyn Launcher,
    units_per_round: f64,
    run: impl Fn(u64) -> Result<(), CudaError>,
) -> Result<f64, CudaError> {
    let mut rounds = 1;
    loop {
        let started = Instant::now();
        run(rounds)?;
        launcher.synchronize(0)?;
        let elapsed = started.elapsed();
        if elapsed >= MEASURED || rounds >= 1 << 40 {
            return Ok(units_per_round * rounds as f64 / elapsed.as_secs_f64());
        }
        rounds *= 2;
    }
}

fn bandwidth(launcher: &dyn Launcher, budget_bytes: u64) -> Result<f64, CudaError> {
    // Larger than any cache, where the budget allows it.
    let bytes = (budget_bytes / 4).min(1 << 30);
    let numbers = (bytes / 8) as usize;
    let from = Array::of(launcher, 0, &vec![1.0; numbers])?;
    let to = Array::<f64>::new(launcher, numbers)?;
    let queue = Queue { launcher, stream: 0 };
    let threads = THREADS.min(numbers.div_ceil(16));
    rate(launcher, 2.0 * bytes as f64, |rounds| queue.stream_copy(&from, &to, threads, rounds))
}

fn throughput(launcher: &dyn Launcher, budget_bytes: u64) -> Result<f64, CudaError> {
    const OPERATIONS: f64 = 16.0;
    let threads = THREADS.min((budget_bytes / 1024) as usize);
    let out = Array::<f64>::new(launcher, threads)?;
    let queue = Queue { launcher, stream: 0 };
    rate(launcher, OPERATIONS * threads as f64, |rounds| queue.arithmetic(&out, rounds))
}

/// Runs strategies of both sides with every kind of exit here and there, in both precisions; gives the number of combinations.
fn compare(launcher: &Arc<dyn Launcher>, budget_bytes: u64) -> Result<usize, CudaError> {
    let bars = market();
    let built = |error: BuildError| CudaError::SelfTest { what: error.0 };
    let mut compared = 0;
    let cases = [
        (Precision::F64, false, Returns::Bar),
        (Precision::F64, true, Returns::Daily),
        (Precision::F32, false, Returns::Bar),
        (Precision::F32, true, Returns::Daily),
    ];
    for (precision, has_levels, returns) in cases {
        let program = strategy(has_levels).map_err(built)?.in_precision(precision);
        let config = SimConfig { slippage: 0.0005, returns, ..SimConfig::default() };
        let mut rows = Vec::new();
        for fast in 3..11 {
            for slow in 12..20 {
                rows.extend([f64::from(fast), f64::from(slow), 0.01 + f64::from(slow) / 1000.0]);
            }
        }
        let mut on_device = vec![Stats::default(); rows.len() / 3];
        let mut on_processor = on_device.clone();
        let go_on = AtomicBool::new(false);
        let device = CudaSweep::new(&program, &bars, &config, Arc::clone(launcher), budget_bytes);
        let device = device.map(CudaSweep::without_fallback);
        device.and_then(|mut sweep| sweep.run_block(&rows, &mut on_device, &go_on)).map_err(failed)?;
        let processor = Sweep::new(&program, &bars, &config);
        let refused = |error: SweepError| CudaError::SelfTest { what: error.to_string() };
        processor.and_then(|mut sweep| sweep.run_block(&rows, &mut on_processor, &go_on)).map_err(refused)?;
        for (row, (got, wanted)) in on_device.iter().zip(&on_processor).enumerate() {
            // `Debug` writes every bit of a number, the sign of a zero included.
            if format!("{got:?}") != format!("{wanted:?}") {
                let what = format!("statistics of combination {row}: {got:?}, not {wanted:?}");
                return Err(CudaError::SelfTest { what });
            }
        }
        compared += on_device.len();
    }
    Ok(compared)
}

fn failed(error: CudaSweepError) -> CudaError {
    match error {
        CudaSweepError::Cuda(error) => error,
        CudaSweepError::Sweep(error) => CudaError::SelfTest { what: error.to_string() },
    }
}

/// Hourly bars of a walk in whole cents, the same everywhere.
fn market() -> Bars {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 % 201.0 - 100.0
    };
    let mut cents = 10_000.0;
    let mut bars = Bars { interval_ms: 3_600_000, ..Bars::default() };
    for t in 0..BARS {
        let open: f64 = cents;
        let close = f64::max(open + step(), 100.0);
        let (high, low) = (open.max(close) + step().abs() / 4.0, open.min(close) - step().abs() / 4.0);
        bars.open_time_ms.push(t as i64 * bars.interval_ms);
        bars.open.push(open / 100.0);
        bars.high.push(high / 100.0);
        bars.low.push(low.max(1.0) / 100.0);
        bars.close.push(close / 100.0);
        cents = close;
    }
    let nothing = vec![0.0; BARS];
    bars.volume.clone_from(&nothing);
    bars.quote_volume.clone_from(&nothing);
    bars.trades.clone_from(&nothing);
    bars.taker_buy_volume.clone_from(&nothing);
    bars.taker_buy_quote_volume = nothing;
    bars
}

/// Crosses of two averages (parameters 0 and 1), long and, with levels, short; parameter 2 is the distance of the levels.
fn strategy(has_levels: bool) -> Result<Program, BuildError> {
    let mut b = ProgramBuilder::new(3);
    let close = b.push(Op::Column(Column::Close), &[], 0)?;
    let average = |b: &mut ProgramBuilder, name: &str, param: u32| -> Result<NodeId, BuildError> {
        let (def, output) = by_output(name).ok_or(BuildError(format!("no indicator is called {name}")))?;
        let period = b.push(Op::Param(param), &[], 0)?;
        let bundle = b.push(Op::Indicator(def), &[close, period], 0)?;
        b.push(Op::Output(output as u8), &[bundle], 0)
    };
    let fast = average(&mut b, "ema", 0)?;
    let slow = average(&mut b, "sma", 1)?;
    let strength = average(&mut b, "rsi", 1)?;
    let fifty = b.push(Op::Const(50.0), &[], 0)?;
    let above = b.push(Op::CrossesAbove, &[fast, slow], 0)?;
    let below = b.push(Op::CrossesBelow, &[fast, slow], 0)?;
    let is_weak = b.push(Op::Lt, &[strength, fifty], 0)?;
    let down = b.push(Op::And, &[below, is_weak], 0)?;
    let distance = b.push(Op::Param(2), &[], 0)?;
    let one = b.push(Op::Const(1.0), &[], 0)?;
    let part = b.push(Op::Const(0.25), &[], 0)?;
    let only = |node: NodeId| has_levels.then_some(node);
    Ok(b.finish(Rules {
        long_enter: Some(above),
        long_exit: Some(below),
        short_enter: only(down),
        short_exit: only(above),
        stop_loss: only(distance),
        take_profit: only(distance),
        trailing_stop: only(distance),
        max_bars: None,
        cooldown: None,
        size: Size::Equity(if has_levels { part } else { one }),
    }))
}
