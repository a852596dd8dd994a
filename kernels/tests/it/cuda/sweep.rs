//! Whole sweeps through the kernels beside the processor's: trades and statistics equal in every bit, whatever the memory.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use polybolos_kernels::bars::{Bars, Column};
use polybolos_kernels::cuda::{CudaError, CudaSweep, CudaSweepError, Keep, Score, run_on_devices};
use polybolos_kernels::precision::Precision;
use polybolos_kernels::program::{NodeId, Op, ParamSet, Program, ProgramBuilder, Rules, Shape, Size, Type};
use polybolos_kernels::sim::{Fill, Returns, SimConfig};
use polybolos_kernels::stats::Stats;
use polybolos_kernels::sweep::{Sweep, SweepError};
use proptest::prelude::*;

use super::host::{Host, cases, device};
use crate::support::{RuleSet, SizeSet, random_walk, signal_program, sma_cross};
use crate::sweep_random::{any_bars, any_config, any_rules, time_exits};

const ROOM: u64 = 1 << 28;

/// Equal in every bit: `Debug` writes every bit of a number, the sign of zero included.
fn assert_same(got: &[Stats], wanted: &[Stats]) {
    assert_eq!(got.len(), wanted.len());
    for (row, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert_eq!(format!("{got:?}"), format!("{wanted:?}"), "row {row}");
    }
}

fn on_processor(
    program: &Program,
    bars: &Bars,
    config: &SimConfig,
    values: &[f64],
    rows: usize,
) -> Vec<Stats> {
    let mut out = vec![Stats::default(); rows];
    let mut sweep = Sweep::new(program, bars, config).unwrap();
    sweep.run_block(values, &mut out, &AtomicBool::new(false)).unwrap();
    out
}

/// Every pair of a fast and a slow period.
fn pairs(fast: std::ops::Range<u32>, slow: std::ops::Range<u32>) -> Vec<f64> {
    fast.flat_map(|fast| slow.clone().flat_map(move |slow| [f64::from(fast), f64::from(slow)])).collect()
}

fn check_rules(bars: &Bars, rules: &RuleSet, config: &SimConfig) {
    let Some(device) = device(ROOM) else { return };
    let program = signal_program(rules);
    let mut cpu = Sweep::new(&program, bars, config).unwrap();
    let mut gpu = CudaSweep::new(&program, bars, config, device, ROOM).unwrap().without_fallback();
    let run = cpu.run(&[]).unwrap();
    match gpu.trades(&[]).unwrap() {
        Some(trades) => assert_eq!(trades, run.trades),
        None => assert!(bars.close.iter().any(|&close| close > 1e100) || bars.is_empty()),
    }
    let mut stats = [Stats::default()];
    gpu.run_block(&[], &mut stats, &AtomicBool::new(false)).unwrap();
    assert_same(&stats, &[run.stats]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(600), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_markets_rules_and_settings_give_the_processors_trades_and_statistics(
        bars in any_bars(), rules in any_rules(), config in any_config()
    ) {
        check_rules(&bars, &rules, &config);
    }

    #[test]
    fn exits_by_signal_alone_give_the_processors_trades_and_statistics(
        bars in any_bars(), rules in any_rules(), config in any_config()
    ) {
        let size = match rules.size {
            SizeSet::Risk(_) => SizeSet::Equity(1.0),
            other => other,
        };
        check_rules(&bars, &RuleSet { size, ..RuleSet::default() }, &config);
    }

    #[test]
    fn exits_by_signal_and_time_give_the_processors_trades_and_statistics(
        bars in any_bars(), rules in time_exits(), config in any_config()
    ) {
        check_rules(&bars, &rules, &config);
    }
}

/// Bars whose prices are few multiples of 8, so that opens, levels and the middle between levels often coincide, at half past
/// the hour, so that a midnight passes before the first close.
fn coarse_bars(len: usize, seed: u64) -> Bars {
    let mut state = seed | 1;
    let mut draw = |odds: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) % odds
    };
    let mut bars = random_walk(len, seed, 1.0);
    for t in 0..len {
        let mut price = || 8.0 * (8 + draw(13)) as f64;
        let prices = [price(), price(), price(), price()];
        (bars.open[t], bars.close[t]) = (prices[0], prices[1]);
        bars.high[t] = prices.iter().copied().fold(0.0, f64::max);
        bars.low[t] = prices.iter().copied().fold(1e9, f64::min);
        bars.open_time_ms[t] = 3_600_000 * t as i64 + 3_600_000 * 23 + 1_800_000;
        (bars.volume[t], bars.trades[t]) = ((draw(3) == 0).into(), (draw(3) == 0).into());
        (bars.quote_volume[t], bars.taker_buy_volume[t]) = ((draw(9) == 0).into(), (draw(9) == 0).into());
    }
    bars
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(200), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn levels_that_coincide_with_prices_give_the_processors_trades_and_statistics(
        len in 20..120_usize, seed in any::<u64>(), config in any_config(),
        stop in prop_oneof![Just(0.125), Just(0.25), Just(0.5)], target in prop_oneof![Just(0.125), Just(0.25), Just(0.5)],
    ) {
        let free = SimConfig { maker_fee: 0.0, taker_fee: 0.0, slippage: 0.0, ..config };
        let levels = RuleSet { stop_loss: Some(stop), take_profit: Some(target), ..RuleSet::default() };
        check_rules(&coarse_bars(len, seed), &levels, &free);
        check_rules(&coarse_bars(len, seed), &RuleSet { trailing_stop: Some(stop), ..levels }, &free);
    }
}

#[test]
fn a_grid_cut_by_any_memory_budget_gives_the_processors_rows() {
    let values = pairs(2..14, 10..40);
    let rows = values.len() / 2;
    let bars = random_walk(700, 5, 0.01);
    let returns = [Returns::Bar, Returns::Daily];
    for (returns, precision) in returns.iter().flat_map(|&r| [(r, Precision::F64), (r, Precision::F32)]) {
        let program = sma_cross().in_precision(precision);
        let config = SimConfig { returns, ..SimConfig::default() };
        let wanted = on_processor(&program, &bars, &config, &values, rows);
        let mut launches = Vec::new();
        for budget in [1 << 19, 1 << 20, 1 << 22, ROOM] {
            let Some(host) = Host::new(budget) else { return };
            let host = Arc::new(host);
            let launcher = Arc::clone(&host) as Arc<_>;
            let mut sweep =
                CudaSweep::new(&program, &bars, &config, launcher, budget).unwrap().without_fallback();
            let mut out = vec![Stats::default(); rows];
            sweep.run_block(&values, &mut out, &AtomicBool::new(false)).unwrap();
            assert_same(&out, &wanted);
            let placement = sweep.placement();
            assert_eq!((placement.unsupported, placement.failed), (0, 0));
            assert_eq!(placement.device, rows as u64);
            assert!(placement.measured < rows as u64, "some sums hold their digits: {placement:?}");
            assert!(host.most_used.load(Ordering::SeqCst) <= budget);
            launches.push(host.launches.load(Ordering::SeqCst));
            let kernels = host.kernels.lock().unwrap();
            let singles: Vec<_> = kernels.iter().filter(|kernel| kernel.ends_with("_f32")).copied().collect();
            match precision {
                Precision::F64 => assert!(singles.is_empty(), "{singles:?}"),
                Precision::F32 => assert_eq!(singles, ["compare_grid_f32", "mark_defined_f32", "sma_f32"]),
            }
        }
        assert!(launches[0] > 2 * launches[3], "less memory, more launches: {launches:?}");
    }
}

/// Long above a fast average, short below a slow one, a fraction of the equity that is a parameter: 3 parameters.
fn two_sided() -> Program {
    let base = sma_cross();
    let (long, exit) = (base.rules.long_enter.unwrap(), base.rules.long_exit.unwrap());
    let mut b = ProgramBuilder::new(3);
    let mut same: Vec<NodeId> = Vec::new();
    for node in &base.nodes {
        let args: Vec<NodeId> = node.args.iter().map(|arg| same[arg.index()]).collect();
        same.push(b.push(node.op, &args, node.frame).unwrap());
    }
    let (long, exit) = (same[long.index()], same[exit.index()]);
    let fraction = b.push(Op::Param(2), &[], 0).unwrap();
    b.finish(Rules {
        long_enter: Some(long),
        long_exit: None,
        short_enter: Some(exit),
        short_exit: Some(long),
        stop_loss: None,
        take_profit: None,
        trailing_stop: None,
        max_bars: None,
        cooldown: None,
        size: Size::Equity(fraction),
    })
}

/// The cross of two averages, both sides, with a stop and a target that are parameters: 4 parameters.
fn bracketed() -> Program {
    let mut program = two_sided();
    let mut param = |index: u32| {
        let mut node = program.nodes[0].clone();
        (node.op, node.args, node.ty, node.shape, node.frame) =
            (Op::Param(index), Vec::new(), Type::Number, Shape::Scalar, 0);
        node.params = ParamSet(1 << index);
        program.nodes.push(node);
        NodeId(program.nodes.len() as u32 - 1)
    };
    let (stop, target) = (param(3), param(4));
    (program.rules.stop_loss, program.rules.take_profit) = (Some(stop), Some(target));
    program.params = 5;
    program
}

#[test]
fn shared_levels_are_tabled_where_memory_allows_and_rows_stay_the_processors() {
    let program = bracketed();
    let bars = random_walk(500, 9, 1.0);
    let mut values = Vec::new();
    for pair in pairs(3..6, 9..13).chunks(2) {
        for stop in [0.003, 0.006, 0.02, 0.05] {
            values.extend(
                [0.004, 0.02, 0.08].map(|target| [pair[0], pair[1], 0.5, stop, target]).as_flattened(),
            );
        }
    }
    let rows = values.len() / 5;
    for fill in [Fill::NextOpen, Fill::Close] {
        let config = SimConfig { fill, slippage: 0.001, ..SimConfig::default() };
        let wanted = on_processor(&program, &bars, &config, &values, rows);
        assert!(wanted.iter().any(|stats| stats.short_trades > 3 && stats.ambiguous_bars > 0));
        for (budget, is_tabled) in [(1 << 18, false), (ROOM, true)] {
            let Some(host) = Host::new(budget) else { return };
            let host = Arc::new(host);
            let launcher = Arc::clone(&host) as Arc<_>;
            let sweep = CudaSweep::new(&program, &bars, &config, launcher, budget).unwrap();
            let mut sweep = sweep.without_fallback();
            let mut out = vec![Stats::default(); rows];
            sweep.run_block(&values, &mut out, &AtomicBool::new(false)).unwrap();
            assert_same(&out, &wanted);
            assert_eq!(host.kernels.lock().unwrap().contains("first_touch"), is_tabled, "{budget}");
            assert!(host.most_used.load(Ordering::SeqCst) <= budget);
        }
    }
}

/// Long while the close is above an average and a margin of it; the margin is a parameter, above it all is arithmetic.
fn above_a_margin() -> Program {
    let base = sma_cross();
    let mut b = ProgramBuilder::new(2);
    let mut same: Vec<NodeId> = Vec::new();
    for node in &base.nodes {
        let args: Vec<NodeId> = node.args.iter().map(|arg| same[arg.index()]).collect();
        same.push(b.push(node.op, &args, node.frame).unwrap());
    }
    let mut push = |op: Op, args: &[NodeId]| b.push(op, args, 0).unwrap();
    let close = push(Op::Column(Column::Close), &[]);
    let average = base.node(base.rules.long_enter.unwrap()).args[0];
    let average = same[average.index()];
    let (margin, thousand) = (push(Op::Param(1), &[]), push(Op::Const(1000.0), &[]));
    let part = push(Op::Div, &[average, thousand]);
    let added = push(Op::Mul, &[part, margin]);
    let band = push(Op::Add, &[added, average]);
    let excess = push(Op::Sub, &[close, band]);
    let (zero, low) = (push(Op::Const(0.0), &[]), push(Op::Const(-0.3), &[]));
    let (enter, exit) = (push(Op::Gt, &[excess, zero]), push(Op::Lt, &[excess, low]));
    let rules = crate::support::long_rules(&mut b, enter, exit);
    b.finish(rules)
}

#[test]
fn arithmetic_on_series_is_the_devices_own_in_either_precision() {
    let bars = random_walk(700, 21, 0.01);
    let values = pairs(2..9, 1..12);
    let (rows, config) = (values.len() / 2, SimConfig::default());
    let mut both = Vec::new();
    for (precision, kernel) in [(Precision::F64, "combine"), (Precision::F32, "combine_f32")] {
        let program = above_a_margin().in_precision(precision);
        let Some(host) = Host::new(ROOM) else { return };
        let host = Arc::new(host);
        let launcher = Arc::clone(&host) as Arc<_>;
        let mut sweep = CudaSweep::new(&program, &bars, &config, launcher, ROOM).unwrap().without_fallback();
        let mut out = vec![Stats::default(); rows];
        sweep.run_block(&values, &mut out, &AtomicBool::new(false)).unwrap();
        assert_same(&out, &on_processor(&program, &bars, &config, &values, rows));
        assert!(out.iter().filter(|stats| stats.trades > 3).count() > rows / 2);
        assert!(host.kernels.lock().unwrap().contains(kernel));
        both.push(out);
    }
    assert_ne!(both[0], both[1], "the precision matters here");
}

#[test]
fn both_sides_and_fractions_of_equity_give_the_processors_rows() {
    let program = two_sided();
    let bars = random_walk(900, 8, 1.0);
    let values: Vec<f64> = pairs(3..9, 9..15)
        .chunks(2)
        .flat_map(|pair| [0.3, 1.0].map(|f| [pair[0], pair[1], f]))
        .flatten()
        .collect();
    let rows = values.len() / 3;
    for fill in [Fill::NextOpen, Fill::Close] {
        let config = SimConfig { fill, returns: Returns::Bar, ..SimConfig::default() };
        let Some(device) = device(ROOM) else { return };
        let mut sweep = CudaSweep::new(&program, &bars, &config, device, ROOM).unwrap().without_fallback();
        let mut out = vec![Stats::default(); rows];
        sweep.run_block(&values, &mut out, &AtomicBool::new(false)).unwrap();
        assert_same(&out, &on_processor(&program, &bars, &config, &values, rows));
        assert!(out.iter().any(|stats| stats.short_trades > 0 && stats.long_trades > 0));
    }
}

#[test]
fn a_row_without_a_value_ends_the_block_as_on_the_processor() {
    let program = sma_cross();
    let bars = random_walk(300, 5, 0.01);
    let config = SimConfig::default();
    let mut values = pairs(2..6, 10..15);
    let bad = 13;
    values[2 * bad] = 2.5;
    let rows = values.len() / 2;
    let Some(device) = device(ROOM) else { return };
    let mut sweep = CudaSweep::new(&program, &bars, &config, device, ROOM).unwrap();
    let mut out = vec![Stats::default(); rows];
    let error = sweep.run_block(&values, &mut out, &AtomicBool::new(false)).unwrap_err();
    let mut wanted = vec![Stats::default(); rows];
    let mut cpu = Sweep::new(&program, &bars, &config).unwrap();
    let cpu_error = cpu.run_block(&values, &mut wanted, &AtomicBool::new(false)).unwrap_err();
    assert_eq!(error, CudaSweepError::Sweep(cpu_error.clone()));
    assert!(matches!(cpu_error, SweepError::Combination { row, .. } if row == bad));
    assert_same(&out[..bad], &on_processor(&program, &bars, &config, &values[..2 * bad], bad));
    let error = sweep.run_block(&values[1..], &mut out, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, CudaSweepError::Sweep(SweepError::Block { .. })));
    // The sweep goes on after errors.
    let good = pairs(2..4, 10..12);
    sweep.run_block(&good, &mut out[..4], &AtomicBool::new(false)).unwrap();
    assert_same(&out[..4], &on_processor(&program, &bars, &config, &good, 4));
}

#[test]
fn a_cancelled_block_says_how_far_it_got() {
    let program = sma_cross();
    let bars = random_walk(100, 5, 0.01);
    let config = SimConfig::default();
    let Some(device) = device(ROOM) else { return };
    let mut sweep = CudaSweep::new(&program, &bars, &config, device, ROOM).unwrap();
    let error = sweep.run_block(&[2.0, 3.0], &mut [Stats::default()], &AtomicBool::new(true)).unwrap_err();
    assert_eq!(error, CudaSweepError::Sweep(SweepError::Cancelled { done: 0 }));
}

#[test]
fn a_device_that_fails_leaves_the_rest_to_the_processor_and_is_counted() {
    let program = sma_cross();
    let values = pairs(2..10, 10..20);
    let rows = values.len() / 2;
    let bars = random_walk(700, 5, 0.01);
    let config = SimConfig::default();
    let wanted = on_processor(&program, &bars, &config, &values, rows);
    let budget = 1 << 17;
    let Some(host) = Host::new(budget) else { return };
    let host = Arc::new(host);
    let launcher = Arc::clone(&host) as Arc<_>;
    let mut out = vec![Stats::default(); rows];
    let mut sweep = CudaSweep::new(&program, &bars, &config, launcher, budget).unwrap();
    sweep.run_block(&values, &mut out, &AtomicBool::new(false)).unwrap();
    assert_eq!(sweep.placement().device, rows as u64);
    let all = host.launches.load(Ordering::SeqCst);
    for launches in [0, all / 3, all / 2, all - 1] {
        let Some(mut host) = Host::new(budget) else { return };
        host.fails_after = Some(launches);
        let mut sweep = CudaSweep::new(&program, &bars, &config, Arc::new(host), budget).unwrap();
        out.fill(Stats::default());
        sweep.run_block(&values, &mut out, &AtomicBool::new(false)).unwrap();
        assert_same(&out, &wanted);
        let placement = sweep.placement().clone();
        assert!(matches!(placement.failure, Some(CudaError::Driver { .. })), "{placement:?}");
        assert_eq!(placement.device + placement.failed, rows as u64, "{placement:?}");
        assert!(placement.failed > 0 && (launches > 0) == (placement.device > 0), "{placement:?}");
        // A device that has failed is not asked again.
        sweep.run_block(&values, &mut out, &AtomicBool::new(false)).unwrap();
        assert_same(&out, &wanted);
        assert_eq!(sweep.placement().failed, placement.failed + rows as u64);
    }
    let Some(mut host) = Host::new(budget) else { return };
    host.fails_after = Some(3);
    let strict = CudaSweep::new(&program, &bars, &config, Arc::new(host), budget).unwrap();
    let error = strict.without_fallback().run_block(&values, &mut out, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, CudaSweepError::Cuda(CudaError::Driver { .. })));
}

#[test]
fn too_little_memory_is_a_typed_refusal() {
    let program = sma_cross();
    let bars = random_walk(700, 5, 0.01);
    let config = SimConfig::default();
    let Some(host) = Host::new(1 << 16) else { return };
    let refused = CudaSweep::new(&program, &bars, &config, Arc::new(host), 1 << 15);
    assert!(matches!(refused.err(), Some(CudaSweepError::Cuda(CudaError::Budget { .. }))));
    let Some(host) = Host::new(1 << 15) else { return };
    let refused = CudaSweep::new(&program, &bars, &config, Arc::new(host), 1 << 30);
    assert!(matches!(refused.err(), Some(CudaSweepError::Cuda(CudaError::OutOfMemory { .. }))));
}

#[test]
fn one_bar_and_none_are_bars_too() {
    let program = signal_program(&RuleSet { size: SizeSet::Equity(1.0), ..RuleSet::default() });
    for len in [0, 1] {
        let bars = random_walk(len, 1, 1.0);
        let config = SimConfig::default();
        let Some(device) = device(ROOM) else { return };
        let mut sweep = CudaSweep::new(&program, &bars, &config, device, ROOM).unwrap();
        let mut out = [Stats::default()];
        sweep.run_block(&[], &mut out, &AtomicBool::new(false)).unwrap();
        assert_same(&out, &on_processor(&program, &bars, &config, &[], 1));
    }
}

#[test]
fn several_devices_give_the_rows_of_one() {
    let program = sma_cross();
    let bars = random_walk(40, 5, 0.01);
    let config = SimConfig::default();
    // More than a piece for each of three devices, most of them the same few combinations.
    let few = pairs(2..6, 3..12);
    let values: Vec<f64> = few.iter().copied().cycle().take(60_000).collect();
    let rows = values.len() / 2;
    let sweep = |threads| {
        let sweep = CudaSweep::new(&program, &bars, &config, device(ROOM)?, ROOM).unwrap();
        Some(sweep.without_fallback().with_threads(threads))
    };
    let Some(mut sweeps) = (1..4).map(sweep).collect::<Option<Vec<_>>>() else { return };
    let mut out = vec![Stats::default(); rows];
    let go_on = AtomicBool::new(false);
    run_on_devices(&mut sweeps, &values, &mut out, &go_on).unwrap();
    let wanted = on_processor(&program, &bars, &config, &few, few.len() / 2);
    for (row, got) in out.iter().enumerate() {
        assert_eq!(got, &wanted[row % wanted.len()], "row {row}");
    }
    let placed: u64 = sweeps.iter().map(|sweep| sweep.placement().device).sum();
    assert_eq!(placed, rows as u64);

    let mut bad = values.clone();
    (bad[2 * 20_000], bad[2 * 29_000]) = (0.5, 0.5);
    let error = run_on_devices(&mut sweeps, &bad, &mut out, &go_on).unwrap_err();
    assert!(
        matches!(error, CudaSweepError::Sweep(SweepError::Combination { row: 20_000, .. })),
        "the first of two: {error}"
    );
    let error = run_on_devices(&mut [], &values, &mut out, &go_on).unwrap_err();
    assert!(matches!(error, CudaSweepError::Sweep(SweepError::Block { .. })));
}

#[test]
fn the_best_rows_are_those_of_all_rows() {
    let values = pairs(2..14, 10..40);
    let rows = values.len() / 2;
    let bars = random_walk(700, 5, 0.01);
    let scores = [Score::FinalEquity, Score::Sharpe, Score::Sortino, Score::ProfitFactor, Score::Drawdown];
    // Folded, folded with combinations that have to be measured, and measured altogether.
    let stopped = with_stop(0.01);
    for (program, returns) in
        [(&sma_cross(), Returns::Bar), (&sma_cross(), Returns::Daily), (&stopped, Returns::Daily)]
    {
        let config = SimConfig { returns, ..SimConfig::default() };
        let all = on_processor(program, &bars, &config, &values, rows);
        for (score, min_trades, budget) in scores.iter().flat_map(|&s| [(s, 0, 1 << 19), (s, 20, ROOM)]) {
            let Some(device) = device(ROOM) else { return };
            let keep = Keep { score, count: 10, min_trades };
            let sweep = CudaSweep::new(program, &bars, &config, device, budget).unwrap();
            let mut sweep = sweep.without_fallback();
            let got = sweep.run_best(&values, rows, keep, &AtomicBool::new(false)).unwrap();
            let mut wanted: Vec<usize> = (0..rows).filter(|&row| all[row].trades >= min_trades).collect();
            wanted.sort_by(|&a, &b| score.of(&all[b]).total_cmp(&score.of(&all[a])).then(a.cmp(&b)));
            let got_rows: Vec<usize> = got.iter().map(|(row, _)| *row).collect();
            assert!(
                got_rows.len() >= 10 && got_rows == wanted[..got_rows.len()],
                "{score:?} {got_rows:?} {wanted:?}"
            );
            for (row, stats) in &got {
                assert_same(&[*stats], &[all[*row]]);
            }
            assert_eq!(sweep.placement().device, rows as u64);
        }
    }
}

/// The cross of two averages with a stop this far away.
fn with_stop(distance: f64) -> Program {
    let mut program = sma_cross();
    let stop = program.nodes.len() as u32;
    let size = match program.rules.size {
        Size::Equity(size) => size,
        other => panic!("{other:?}"),
    };
    let mut node = program.node(size).clone();
    node.op = Op::Const(distance);
    program.nodes.push(node);
    program.rules.stop_loss = Some(NodeId(stop));
    program
}

#[test]
fn the_best_rows_are_found_by_the_processor_where_the_device_fails() {
    let program = sma_cross();
    let values = pairs(2..10, 10..20);
    let rows = values.len() / 2;
    let bars = random_walk(700, 5, 0.01);
    let config = SimConfig::default();
    let keep = Keep { score: Score::FinalEquity, count: 5, min_trades: 0 };
    let go_on = AtomicBool::new(false);
    let Some(host) = Host::new(1 << 17) else { return };
    let mut sweep = CudaSweep::new(&program, &bars, &config, Arc::new(host), 1 << 17).unwrap();
    let wanted = sweep.run_best(&values, rows, keep, &go_on).unwrap();
    assert!(wanted.len() >= 5);
    let Some(mut host) = Host::new(1 << 17) else { return };
    host.fails_after = Some(25);
    let mut sweep = CudaSweep::new(&program, &bars, &config, Arc::new(host), 1 << 17).unwrap();
    assert_eq!(sweep.run_best(&values, rows, keep, &go_on).unwrap(), wanted);
    assert!(sweep.placement().failed > 0 && sweep.placement().device > 0, "{:?}", sweep.placement());
    assert!(matches!(
        sweep.run_best(&values, rows + 1, keep, &go_on),
        Err(CudaSweepError::Sweep(SweepError::Block { .. }))
    ));
}
