//! The reference simulator and the sweep, written from one page and from nothing of each other, run the same random
//! programs over the same random bars and must tell the same story.
//!
//! Trades and equity are equal in every bit. Statistics and metrics are equal to 1e-12 relative, see [`compare`].
//! `POLYBOLOS_PARITY_CASES` asks for more cases than the default, `POLYBOLOS_PARITY_SEED` for others.

mod compare;
mod market;
mod strategy;
mod tape;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::kernels::precision::Precision;
use polybolos_engine::kernels::program::{Op, Program};
use polybolos_engine::kernels::sim::{ExitReason, Fill, Side, SimConfig, Trade};
use polybolos_engine::kernels::stats::Stats;
use polybolos_engine::kernels::sweep::Sweep;
use polybolos_engine::metrics::{Trials, per_period_sharpe};
use polybolos_engine::simulation::{Run, simulate, simulate_in};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use compare::Verdict;
use strategy::{Maker, Strategy};
use tape::Tape;

const DEFAULT_CASES: u32 = 4_000;

/// How often something happened, by name.
#[derive(Default)]
struct Coverage(BTreeMap<String, u64>);

impl Coverage {
    fn count(&mut self, name: impl Into<String>, happened: bool) {
        *self.0.entry(name.into()).or_default() += u64::from(happened);
    }

    fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

fn case(numbers: &[u16], seed: u64, rows: usize, coverage: &mut Coverage) -> Verdict {
    let mut tape = Tape::new(numbers);
    let bars = market::bars(&mut tape, seed, rows);
    bars.check().unwrap();
    let config = market::config(&mut tape);
    let precision = tape.pick(&[Precision::F64, Precision::F32, Precision::F64]);
    let Strategy { program, combinations } = Maker::new(&mut tape, bars.interval_ms).strategy();
    let compiled = program.in_precision(precision);
    let mut sweep =
        Sweep::new(&compiled, &bars, &config).map_err(|error| format!("the sweep refuses: {error}"))?;
    let mut runs: Vec<Run> = Vec::new();
    let mut rows: Vec<f64> = Vec::new();
    for params in &combinations {
        match (simulate_in(precision, &program, params, &bars, &config), sweep.run(params)) {
            (Ok(oracle), Ok(kernel)) => {
                compare::trades(&oracle.trades, &kernel.trades)?;
                compare::equity(&oracle.equity, &kernel.equity)?;
                if precision == Precision::F32 {
                    let wide = simulate(&program, params, &bars, &config);
                    let is_same =
                        wide.is_ok_and(|wide| compare::trades(&wide.trades, &oracle.trades).is_ok());
                    coverage.count("f32", true);
                    coverage.count("f32 with other trades than f64", !is_same);
                }
                runs.push(oracle);
                rows.extend(params);
            }
            (Err(_), Err(_)) => coverage.count("refused", true),
            (Ok(_), Err(error)) => return Err(format!("only the sweep refuses {params:?}: {error}")),
            (Err(error), Ok(_)) => return Err(format!("only the oracle refuses {params:?}: {error}")),
        }
    }
    let mut kernel_stats = vec![Stats::default(); runs.len()];
    sweep
        .run_block(&rows, &mut kernel_stats, &AtomicBool::new(false))
        .map_err(|error| format!("the block fails: {error}"))?;
    // A few combinations look for their exits themselves, many share tables and trades.
    let mut crowd = vec![Stats::default(); 9 * runs.len()];
    sweep
        .run_block(&rows.repeat(9), &mut crowd, &AtomicBool::new(false))
        .map_err(|error| format!("the crowded block fails: {error}"))?;
    for (i, stats) in crowd.iter().enumerate() {
        let alone = &kernel_stats[i % runs.len()];
        if format!("{stats:?}") != format!("{alone:?}") {
            return Err(format!("in a crowd {stats:?}, among a few {alone:?}"));
        }
    }
    let mut trials = Trials::default();
    kernel_stats.iter().for_each(|stats| trials.push(per_period_sharpe(stats)));
    for (run, kernel) in runs.iter().zip(&kernel_stats) {
        let oracle = run.stats(&bars, &config);
        let is_equal = compare::stats(&oracle, kernel, run, &bars, &config)?;
        compare::metrics(&oracle, kernel, &bars, &config, trials.finish())?;
        cover(coverage, run, &oracle, &bars, &config);
        coverage.count("statistics equal in every bit", is_equal);
    }
    if runs.iter().any(|run| !run.trades.is_empty()) {
        cover_operations(coverage, &program);
    }
    Ok(())
}

fn cover(coverage: &mut Coverage, run: &Run, stats: &Stats, bars: &Bars, config: &SimConfig) {
    let has = |reason| run.trades.iter().any(|trade| trade.reason == reason);
    coverage.count("runs", true);
    coverage.count("trading", !run.trades.is_empty());
    coverage.count("trading often", run.trades.len() >= 5);
    coverage.count("signal exit", has(ExitReason::Signal));
    coverage.count("stop", has(ExitReason::Stop));
    coverage.count("target", has(ExitReason::Target));
    coverage.count("trailing", has(ExitReason::Trailing));
    coverage.count("time", has(ExitReason::Time));
    coverage.count("ambiguous", run.ambiguous_bars > 0);
    coverage.count("long", stats.long_trades > 0);
    coverage.count("short", stats.short_trades > 0);
    coverage.count("fill at the close", config.fill == Fill::Close && !run.trades.is_empty());
    coverage.count("open at the end", run.open_position.is_some());
    coverage.count("returns undefined", !stats.returns_defined);
    coverage.count("ruined", stats.final_equity <= 0.0);
    coverage.count("no bars", bars.is_empty());
    coverage.count("sharpe", per_period_sharpe(stats).is_some());
    let is_reversal = |pair: &[Trade]| {
        pair[0].side != pair[1].side
            && pair[0].reason == ExitReason::Signal
            && pair[0].exit_bar == pair[1].entry_bar
            && pair[0].exit_price == pair[1].entry_price
    };
    coverage.count("reversal", run.trades.windows(2).any(is_reversal));
    let gap = run.trades.iter().any(|trade| {
        let market = match trade.side {
            Side::Long => 1.0 - config.slippage,
            Side::Short => 1.0 + config.slippage,
        };
        matches!(trade.reason, ExitReason::Stop | ExitReason::Trailing)
            && trade.exit_price == bars.open[trade.exit_bar] * market
    });
    coverage.count("stop at a gap", gap);
}

fn cover_operations(coverage: &mut Coverage, program: &Program) {
    for node in &program.nodes {
        let name = match node.op {
            Op::Const(_) => "op Const".to_owned(),
            Op::Param(_) => "op Param".to_owned(),
            Op::Column(column) => format!("op Column {}", column.name()),
            Op::Indicator(def) => format!("op {}", def.name),
            Op::Output(_) => "op Output".to_owned(),
            op => format!("op {op:?}"),
        };
        coverage.count(name, true);
    }
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
#[expect(clippy::print_stdout, reason = "what a long campaign covered is worth reading")]
fn oracle_and_sweep_agree_on_random_strategies_and_bars() {
    let cases: u32 = setting("POLYBOLOS_PARITY_CASES", DEFAULT_CASES);
    let seed: u64 = setting("POLYBOLOS_PARITY_SEED", 1);
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let settings = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(settings, TestRng::from_seed(RngAlgorithm::ChaCha, &key));
    let coverage = RefCell::new(Coverage::default());
    let inputs = (
        prop::collection::vec(any::<u16>(), 0..300),
        any::<u64>(),
        prop_oneof![1 => 0..4_usize, 8 => 20..200_usize, 1 => 200..900_usize],
    );
    let outcome = runner.run(&inputs, |(numbers, seed, rows)| {
        case(&numbers, seed, rows, &mut coverage.borrow_mut()).map_err(TestCaseError::fail)
    });
    if let Err(TestError::Fail(reason, (numbers, seed, rows))) = &outcome {
        panic!("{reason}\nsmallest case: tape {numbers:?}, seed {seed}, {rows} rows");
    }
    outcome.unwrap();
    let coverage = coverage.into_inner();
    println!("{:#?}", coverage.0);
    // Shares of the runs, in thousandths, that must show each behaviour; a generator that drifts away fails here.
    let runs = coverage.of("runs");
    for (name, least) in LEAST_SHARES {
        assert!(coverage.of(name) * 1000 >= runs * least, "{name}: {} of {runs} runs", coverage.of(name));
    }
    for op in EVERY_OPERATION {
        assert!(coverage.of(&format!("op {op}")) > 0, "no trading program used {op}");
    }
}

const LEAST_SHARES: [(&str, u64); 19] = [
    ("trading", 500),
    ("trading often", 300),
    ("signal exit", 250),
    ("stop", 100),
    ("target", 100),
    ("trailing", 30),
    ("time", 50),
    ("ambiguous", 20),
    ("long", 250),
    ("short", 250),
    ("reversal", 50),
    ("stop at a gap", 20),
    ("fill at the close", 200),
    ("open at the end", 150),
    ("returns undefined", 5),
    ("no bars", 5),
    ("sharpe", 400),
    ("f32", 250),
    ("f32 with other trades than f64", 10),
];

const EVERY_OPERATION: [&str; 42] = [
    "Const",
    "Param",
    "Neg",
    "Abs",
    "Sqrt",
    "Ln",
    "Exp",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Rem",
    "Least",
    "Greatest",
    "Lt",
    "Le",
    "Gt",
    "Ge",
    "Eq",
    "Ne",
    "And",
    "Or",
    "Not",
    "Case",
    "Lag",
    "CrossesAbove",
    "CrossesBelow",
    "Output",
    "Lift",
    "adx",
    "atr",
    "bollinger",
    "ema",
    "highest",
    "lowest",
    "macd",
    "mom",
    "rsi",
    "sma",
    "stddev",
    "stochastic",
    "Column open_time",
];
