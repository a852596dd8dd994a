//! Many combinations at once: every instruction set, every cut and every order of a block give the rows that each
//! combination has alone, and these are the bar-by-bar loop's.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Barrier;
use std::sync::atomic::AtomicBool;

use polybolos_kernels::bars::{Bars, Column};
use polybolos_kernels::evaluate::{Evaluator, Value};
use polybolos_kernels::indicators::by_output;
use polybolos_kernels::precision::Precision;
use polybolos_kernels::program::{NodeId, Op, Program, ProgramBuilder, Rules, Size};
use polybolos_kernels::sim::{Fill, Intrabar, Returns, SimConfig};
use polybolos_kernels::simd::Isa;
use polybolos_kernels::stats::Stats;
use polybolos_kernels::sweep::{SharedBars, SimulationPath, Sweep};
use proptest::prelude::*;

use crate::naive::{Naive, Signal};
use crate::support::{RuleSet, SizeSet, closes, hourly, long_rules, random_walk};

/// What a random strategy is made of; parameters are fast, slow, level, rule.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// Which comparison opens: a cross of averages, an average beyond a level, or both together.
    pub(crate) entry: u8,
    pub(crate) exit: u8,
    pub(crate) is_long: bool,
    pub(crate) is_short: bool,
    /// Bit `k` gives rule `k` to the strategy: stop, target, trailing, time, cooldown.
    pub(crate) rules: u8,
    /// Bit `k` makes rule `k` depend on the rule parameter.
    pub(crate) by_param: u8,
    pub(crate) size: u8,
}

fn average(b: &mut ProgramBuilder, param: u32) -> NodeId {
    let (sma, output) = by_output("sma").unwrap();
    let close = b.push(Op::Column(Column::Close), &[], 0).unwrap();
    let period = b.push(Op::Param(param), &[], 0).unwrap();
    let bundle = b.push(Op::Indicator(sma), &[close, period], 0).unwrap();
    b.push(Op::Output(output as u8), &[bundle], 0).unwrap()
}

fn condition(b: &mut ProgramBuilder, kind: u8, is_up: bool) -> NodeId {
    let (fast, slow) = (average(b, 0), average(b, 1));
    let level = b.push(Op::Param(2), &[], 0).unwrap();
    let cross = if is_up { Op::CrossesAbove } else { Op::CrossesBelow };
    let beyond = if is_up { Op::Lt } else { Op::Ge };
    match kind % 4 {
        0 => b.push(cross, &[fast, slow], 0).unwrap(),
        1 => b.push(beyond, &[fast, level], 0).unwrap(),
        2 => {
            let scaled = b.push(Op::Mul, &[slow, level], 0).unwrap();
            let close = b.push(Op::Column(Column::Close), &[], 0).unwrap();
            let ratio = b.push(Op::Mul, &[close, level], 0).unwrap();
            let less = b.push(Op::Le, &[ratio, scaled], 0).unwrap();
            if is_up { less } else { b.push(Op::Not, &[less], 0).unwrap() }
        }
        _ => {
            let cross = b.push(cross, &[slow, fast], 0).unwrap();
            let beyond = b.push(Op::Ne, &[fast, level], 0).unwrap();
            b.push(Op::And, &[cross, beyond], 0).unwrap()
        }
    }
}

/// The rule that ends a position after some bars.
pub(crate) const TIME: u8 = 0b1000;

const FIXED: [f64; 5] = [0.03, 0.05, 0.04, 9.0, 3.0];

pub(crate) fn compile(recipe: &Recipe) -> Program {
    let mut b = ProgramBuilder::new(4);
    let up = condition(&mut b, recipe.entry, true);
    let down = condition(&mut b, recipe.exit, false);
    let rule = b.push(Op::Param(3), &[], 0).unwrap();
    let hundred = b.push(Op::Const(100.0), &[], 0).unwrap();
    let fraction = b.push(Op::Div, &[rule, hundred], 0).unwrap();
    let mut value = |index: usize| {
        let has = |bits: u8| bits >> index & 1 == 1;
        let node = match (has(recipe.by_param), index < 3) {
            (true, true) => fraction,
            (true, false) => rule,
            (false, _) => b.push(Op::Const(FIXED[index]), &[], 0).unwrap(),
        };
        has(recipe.rules).then_some(node)
    };
    let [stop_loss, take_profit, trailing_stop, max_bars, cooldown] = std::array::from_fn(&mut value);
    let size = [1.0, 0.5, 2_000.0, 0.01].get(usize::from(recipe.size)).copied();
    let one = b.push(Op::Const(size.unwrap_or(1.0)), &[], 0).unwrap();
    // All-in for one value of the rule parameter only: neighbours in a block differ in kind.
    let size = if size.is_some() { one } else { b.push(Op::Div, &[one, rule], 0).unwrap() };
    let side = |is_traded: bool, node: NodeId| is_traded.then_some(node);
    b.finish(Rules {
        long_enter: side(recipe.is_long, up),
        long_exit: side(recipe.is_long, down),
        short_enter: side(recipe.is_short, down),
        short_exit: side(recipe.is_short, up),
        stop_loss,
        take_profit,
        trailing_stop,
        max_bars,
        cooldown,
        size: match (recipe.size, stop_loss) {
            (2, _) => Size::Quote(size),
            (3, Some(_)) => Size::Risk(size),
            _ => Size::Equity(size),
        },
    })
}

fn grid() -> Vec<f64> {
    let mut values = Vec::new();
    for fast in [1.0, 3.0, 8.0] {
        for slow in [5.0, 40.0] {
            for level in [1.0, 60.0, 100.0] {
                for rule in [1.0, 4.0, 30.0] {
                    values.extend([fast, slow, level, rule]);
                }
            }
        }
    }
    values
}

/// Two entry signals at most bars, each with enough combinations to share trades and enough entries for several blocks of them.
fn crowded_grid() -> Vec<f64> {
    let mut values = Vec::new();
    for level in [99.0, 101.0] {
        for slow in [5.0, 40.0] {
            for rule in [1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 9.0, 12.0, 15.0, 20.0, 25.0, 30.0] {
                values.extend([3.0, slow, level, rule]);
            }
        }
    }
    values
}

pub(crate) fn bits(stats: &Stats) -> String {
    // Debug writes the shortest text that reads back as the same number: equal texts are equal bits.
    format!("{stats:?}")
}

pub(crate) fn run_block(
    program: &Program,
    bars: &Bars,
    config: &SimConfig,
    isa: Isa,
    values: &[f64],
) -> Vec<Stats> {
    let mut out = vec![Stats::default(); values.len() / program.params];
    let mut sweep = Sweep::new(program, bars, config).unwrap().with_isa(isa);
    sweep.run_block(values, &mut out, &AtomicBool::new(false)).unwrap();
    out
}

/// Trades and trade statistics of one combination in the bar-by-bar loop.
pub(crate) fn check_against_naive(
    program: &Program,
    bars: &Bars,
    config: &SimConfig,
    row: &[f64],
    stats: &Stats,
) {
    let mut evaluator = Evaluator::new(program, bars).unwrap();
    let mut signal = |node: Option<NodeId>| -> Vec<bool> {
        match node.map(|node| evaluator.value(node, row).unwrap()) {
            Some(Value::Bits(bits)) => (0..bars.len()).map(|t| bits.get(t) == Some(true)).collect(),
            _ => vec![false; bars.len()],
        }
    };
    let rules = &program.rules;
    let signals = [rules.long_enter, rules.long_exit, rules.short_enter, rules.short_exit].map(&mut signal);
    let mut number = |node: NodeId| match evaluator.value(node, row).unwrap() {
        Value::Number(value) => value,
        other => panic!("a rule is {other:?}"),
    };
    let set = RuleSet {
        stop_loss: rules.stop_loss.map(&mut number),
        take_profit: rules.take_profit.map(&mut number),
        trailing_stop: rules.trailing_stop.map(&mut number),
        max_bars: rules.max_bars.map(&mut number),
        cooldown: rules.cooldown.map(&mut number),
        size: match rules.size {
            Size::Equity(node) => SizeSet::Equity(number(node)),
            Size::Quote(node) => SizeSet::Quote(number(node)),
            Size::Risk(node) => SizeSet::Risk(number(node)),
        },
    };
    let at = |t: usize| Signal {
        long_enter: signals[0][t],
        long_exit: signals[1][t],
        short_enter: signals[2][t],
        short_exit: signals[3][t],
    };
    let naive = Naive::run(bars, at, set, *config);
    let run = Sweep::new(program, bars, config).unwrap().run(row).unwrap();
    assert_eq!(run.trades, naive.trades);
    assert_eq!(run.equity, naive.equity);
    assert_eq!(bits(&run.stats), bits(stats));
    let expected = naive.stats;
    assert_eq!((stats.trades, stats.fees), (naive.trades.len() as u64, expected.fees));
    assert_eq!(
        (stats.ambiguous_bars, stats.bars_in_position),
        (expected.ambiguous_bars, expected.bars_in_position)
    );
    assert_eq!((stats.max_drawdown, stats.final_equity), (expected.max_drawdown, expected.final_equity));
    assert_eq!(stats.pnl_sum, naive.trades.iter().map(|trade| trade.pnl).sum::<f64>() + 0.0);
    if config.returns == Returns::Bar && stats.returns_defined && !bars.is_empty() {
        let before = std::iter::once(config.cash).chain(naive.equity.iter().copied());
        let returns: Vec<f64> = before.zip(&naive.equity).map(|(a, b)| b / a - 1.0).collect();
        let mean = returns.iter().sum::<f64>() / returns.len() as f64;
        let moment = |k: i32| returns.iter().map(|r| (r - mean).powi(k)).sum::<f64>();
        let near = |got: f64, wanted: f64| (got - wanted).abs() <= 1e-12 * wanted.abs() + 1e-22;
        assert!(near(stats.m2, moment(2)), "m2 {} {}", stats.m2, moment(2));
        assert!(near(stats.m4, moment(4)), "m4 {} {}", stats.m4, moment(4));
        let downside: f64 = returns.iter().map(|r| r.min(0.0).powi(2)).sum();
        assert!(near(stats.downside, downside), "downside {} {downside}", stats.downside);
    }
}

pub(crate) fn any_recipe() -> impl Strategy<Value = Recipe> {
    let sides = prop_oneof![Just((true, false)), Just((false, true)), Just((true, true))];
    let rules = prop_oneof![Just(0u8), Just(TIME), 0..32u8];
    (0..4u8, 0..4u8, sides, rules, 0..32u8, 0..5u8).prop_map(
        |(entry, exit, (is_long, is_short), rules, by_param, size)| Recipe {
            entry,
            exit,
            is_long,
            is_short,
            rules,
            by_param,
            size,
        },
    )
}

pub(crate) fn any_market() -> impl Strategy<Value = Bars> {
    // Past two tiles of 2,048 bars, at the edge of one, and a handful.
    let len = prop_oneof![Just(2_047_usize), Just(4_097), Just(9_001), 1..300_usize];
    (len, any::<u64>(), prop_oneof![Just(1.0), Just(0.001)])
        .prop_map(|(len, seed, tick)| random_walk(len, seed, tick))
}

/// The same with opens and lows far outside their bars, and quiet stretches without any change.
pub(crate) fn any_rough_market() -> impl Strategy<Value = Bars> {
    (any_market(), any::<u64>()).prop_map(|(mut bars, noise)| {
        let mut state = noise | 1;
        for t in 0..bars.len() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match state >> 32 & 127 {
                0 => bars.open[t] *= 1.3,
                1 => bars.low[t] *= 0.5,
                2 => bars.high[t] *= 2.0,
                4..12 => {
                    bars.low[t] *= 0.7;
                    bars.high[t] *= 1.4;
                }
                3 => {
                    let price = bars.close[t];
                    for u in t..(t + 40).min(bars.len()) {
                        for prices in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close] {
                            prices[u] = price;
                        }
                    }
                }
                _ => {}
            }
        }
        bars
    })
}

pub(crate) fn any_settings() -> impl Strategy<Value = SimConfig> {
    let cost = || prop_oneof![Just(0.0), Just(0.001)];
    let intrabar =
        prop_oneof![Just(Intrabar::StopFirst), Just(Intrabar::TargetFirst), Just(Intrabar::NearestOpen)];
    let fill = prop_oneof![Just(Fill::NextOpen), Just(Fill::Close)];
    let returns = prop_oneof![Just(Returns::Bar), Just(Returns::Daily)];
    (cost(), cost(), cost(), fill, intrabar, returns).prop_map(
        |(maker_fee, taker_fee, slippage, fill, intrabar, returns)| SimConfig {
            maker_fee,
            taker_fee,
            slippage,
            fill,
            intrabar,
            returns,
            ..SimConfig::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_row_is_the_same_in_every_block_and_on_every_instruction_set(
        recipe in any_recipe(),
        bars in any_market(),
        config in any_settings(),
        pick in any::<prop::sample::Index>(),
        precision in prop_oneof![Just(Precision::F64), Just(Precision::F32)],
    ) {
        let program = compile(&recipe).in_precision(precision);
        let values = grid();
        let whole = run_block(&program, &bars, &config, Isa::Portable, &values);
        for isa in [Isa::Avx2, Isa::Avx512] {
            for (a, b) in whole.iter().zip(run_block(&program, &bars, &config, isa, &values)) {
                prop_assert_eq!(bits(a), bits(&b), "{}", isa);
            }
        }
        let mut reversed: Vec<f64> = values.chunks(4).rev().flatten().copied().collect();
        reversed.truncate(4 * 21);
        let some = run_block(&program, &bars, &config, Isa::detect(), &reversed);
        for (a, b) in whole.iter().rev().zip(&some) {
            prop_assert_eq!(bits(a), bits(b));
        }
        let row = pick.index(whole.len());
        check_against_naive(&program, &bars, &config, &values[4 * row..4 * row + 4], &whole[row]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn sweeps_that_share_bars_give_what_each_gives_alone(
        recipes in [any_recipe(), any_recipe(), any_recipe()],
        bars in any_market(),
        configs in [any_settings(), any_settings()],
    ) {
        let programs = recipes.map(|recipe| compile(&recipe));
        let values = grid();
        let shared = SharedBars::new(bars);
        // Every program with every settings, twice, all of them alive at a time.
        let cases: Vec<_> =
            programs.iter().flat_map(|program| configs.iter().map(move |config| (program, config))).collect();
        let gate = Barrier::new(2 * cases.len());
        let run = |(program, config): (&Program, &SimConfig)| {
            let mut sweep = Sweep::sharing(program, &shared, config).unwrap();
            gate.wait();
            let mut out = vec![Stats::default(); values.len() / program.params];
            sweep.run_block(&values, &mut out, &AtomicBool::new(false)).unwrap();
            out
        };
        let found: Vec<Vec<Stats>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                cases.iter().chain(&cases).map(|&case| scope.spawn(move || run(case))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for ((program, config), found) in cases.iter().chain(&cases).zip(&found) {
            let alone = run_block(program, &shared, config, Isa::detect(), &values);
            for (a, b) in alone.iter().zip(found) {
                prop_assert_eq!(bits(a), bits(b));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn shared_trades_are_those_that_each_combination_makes_alone(
        recipe in any_recipe(),
        bars in any_rough_market(),
        config in any_settings(),
        fee in prop_oneof![Just(0.0005), Just(0.3), Just(-0.01)],
        pick in any::<prop::sample::Index>(),
    ) {
        let recipe = Recipe { entry: 1, is_long: true, is_short: false, rules: recipe.rules | 1 << (recipe.exit % 5), ..recipe };
        let config = SimConfig { maker_fee: fee, ..config };
        let program = compile(&recipe);
        let values = crowded_grid();
        let whole = run_block(&program, &bars, &config, Isa::detect(), &values);
        let portable = run_block(&program, &bars, &config, Isa::Portable, &values);
        for (row, (a, b)) in whole.iter().zip(&portable).enumerate() {
            prop_assert_eq!(bits(a), bits(b), "{}", row);
        }
        for pick in [pick.index(whole.len()), whole.len() - 1 - pick.index(whole.len())] {
            let row = &values[4 * pick..4 * pick + 4];
            let alone = run_block(&program, &bars, &config, Isa::detect(), row);
            prop_assert_eq!(bits(&whole[pick]), bits(&alone[0]));
            check_against_naive(&program, &bars, &config, row, &whole[pick]);
        }
    }
}

#[test]
fn positions_and_accounts_last_over_a_long_series() {
    // Longer than what accounts follow the signals by, with a last part of it; more combinations than lanes.
    let bars = random_walk(70_003, 5, 0.001);
    let values: Vec<f64> = grid().chunks(4).step_by(5).flatten().copied().collect();
    let kinds = [(true, false, 0), (true, false, 4), (false, true, 0), (true, true, 0)];
    for ((is_long, is_short, size), rules) in kinds.into_iter().flat_map(|kind| [(kind, 0), (kind, TIME)]) {
        let recipe = Recipe { entry: 0, exit: 0, is_long, is_short, rules, by_param: 0, size };
        let program = compile(&recipe);
        for returns in [Returns::Bar, Returns::Daily] {
            let config = SimConfig { returns, ..SimConfig::default() };
            let whole = run_block(&program, &bars, &config, Isa::detect(), &values);
            for (row, stats) in values.chunks(4).zip(&whole).step_by(4) {
                assert!(stats.trades > 300, "{row:?}");
                let alone = run_block(&program, &bars, &config, Isa::Portable, row);
                assert_eq!(bits(&alone[0]), bits(stats), "{row:?}");
                check_against_naive(&program, &bars, &config, row, stats);
            }
        }
    }
}

#[test]
fn averages_that_cannot_be_made_tile_by_tile_fit_into_little_memory_by_parts() {
    let recipe = Recipe { entry: 0, exit: 0, is_long: true, is_short: false, rules: 0, by_param: 0, size: 0 };
    let program = compile(&recipe);
    let mut bars = random_walk(3_000, 5, 0.001);
    // Sums of such prices could overflow as far as their sizes tell.
    for prices in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close] {
        prices.iter_mut().for_each(|price| *price *= 1e100);
    }
    let slow = |fast: u32| (30..55).map(move |slow| [f64::from(fast), f64::from(slow), 1.0, 1.0]);
    let values: Vec<f64> = (2..22).flat_map(slow).flatten().collect();
    let config = SimConfig::default();
    let whole = run_block(&program, &bars, &config, Isa::detect(), &values);
    let mut out = vec![Stats::default(); whole.len()];
    let mut sweep = Sweep::new(&program, &bars, &config).unwrap().with_memo_bytes(600_000);
    sweep.run_block(&values, &mut out, &AtomicBool::new(false)).unwrap();
    for (a, b) in whole.iter().zip(&out) {
        assert!(a.trades > 10);
        assert_eq!(bits(a), bits(b));
    }
    check_against_naive(&program, &bars, &config, &values[..4], &out[0]);
}

#[test]
fn hundreds_of_combinations_with_one_entry_signal_trade_as_each_does_alone() {
    let recipe =
        Recipe { entry: 1, exit: 0, is_long: true, is_short: false, rules: 0b1011, by_param: 0b11, size: 0 };
    let program = compile(&recipe);
    let bars = random_walk(400, 11, 1.0);
    let config = SimConfig::default();
    let values: Vec<f64> =
        (0..1_300).flat_map(|i| [3.0, f64::from(2 + i % 3), 101.0, f64::from(1 + i) / 40.0]).collect();
    let whole = run_block(&program, &bars, &config, Isa::detect(), &values);
    assert!(whole.iter().all(|stats| stats.trades > 5));
    for (row, stats) in values.chunks(4).zip(&whole).step_by(7) {
        let alone = run_block(&program, &bars, &config, Isa::detect(), row);
        assert_eq!(bits(&alone[0]), bits(stats), "{row:?}");
    }
}

/// A target pays the maker's fee, everything else the taker's, in trades that combinations share as well.
#[test]
fn shared_exits_at_targets_pay_the_makers_fee() {
    let bars = random_walk(3_000, 3, 0.5);
    let recipe = Recipe {
        entry: 1,
        exit: 0,
        is_long: true,
        is_short: false,
        rules: 0b00010,
        by_param: 0b00010,
        size: 0,
    };
    let program = compile(&recipe);
    let values = crowded_grid();
    for returns in [Returns::Bar, Returns::Daily] {
        for (maker_fee, taker_fee) in [(0.003, 0.0005), (-0.0002, 0.001)] {
            let config = SimConfig { maker_fee, taker_fee, returns, ..SimConfig::default() };
            let whole = run_block(&program, &bars, &config, Isa::detect(), &values);
            for (row, stats) in values.chunks(4).zip(&whole).step_by(5) {
                check_against_naive(&program, &bars, &config, row, stats);
            }
        }
    }
}

/// Positions of several entries are left at one exit, and prices fall behind the last of the entries or between two of them: the
/// drawdown is that of all closes with each position.
#[test]
fn shared_exits_by_signal_have_all_closes_of_the_position() {
    let mut bars = random_walk(3_000, 7, 0.3);
    for t in (0..bars.len()).filter(|t| t % 37 == 30) {
        bars.close[t] *= 0.9;
        bars.low[t] = bars.low[t].min(bars.close[t]);
    }
    let values = crowded_grid();
    for exit in [0, 1, 2] {
        let recipe = Recipe {
            entry: 1,
            exit,
            is_long: true,
            is_short: false,
            rules: 0b00001,
            by_param: 0b00001,
            size: 0,
        };
        let program = compile(&recipe);
        for returns in [Returns::Bar, Returns::Daily] {
            let config = SimConfig { returns, ..SimConfig::default() };
            let whole = run_block(&program, &bars, &config, Isa::detect(), &values);
            for (row, stats) in values.chunks(4).zip(&whole) {
                let alone = run_block(&program, &bars, &config, Isa::detect(), row);
                assert_eq!(bits(&alone[0]), bits(stats), "{exit} {row:?}");
            }
        }
    }
}

/// Few rules make blocks of more entries than are linked at once, so that short parts follow long ones. What comes behind the last entry
/// of a part is not in it, however long the one before was.
#[test]
fn entries_that_are_linked_part_by_part_are_those_of_the_portable_set() {
    let bars = random_walk(9_000, 3, 0.5);
    let values = crowded_grid();
    for (rules, returns) in [0b001, 0b100].into_iter().flat_map(|r| [(r, Returns::Bar), (r, Returns::Daily)])
    {
        let recipe =
            Recipe { entry: 1, exit: 2, is_long: true, is_short: false, rules, by_param: 0, size: 0 };
        let program = compile(&recipe);
        let config = SimConfig { returns, ..SimConfig::default() };
        let whole = run_block(&program, &bars, &config, Isa::detect(), &values);
        let portable = run_block(&program, &bars, &config, Isa::Portable, &values);
        assert!(portable.iter().any(|stats| stats.trades > 2_000));
        for (row, (stats, expected)) in values.chunks(4).zip(whole.iter().zip(&portable)) {
            assert_eq!(bits(stats), bits(expected), "{rules:05b} {row:?}");
        }
    }
}

/// Bars that reach the fixed stop and many of the targets: the trade of a combination with a far target ends at the stop alone,
/// that of a later one with a near target at both.
#[test]
fn levels_met_within_one_bar_are_those_of_each_combination_alone() {
    let values: Vec<f64> = (0..60).flat_map(|i| [3.0, 40.0, 101.0, 15.5 - f64::from(i) / 4.0]).collect();
    levels_met_within_one_bar(1, 1, &values, 100);
}

/// The same where such a bar ends the trades from a few of the entries.
#[test]
fn levels_seldom_met_within_one_bar_are_those_of_each_combination_alone() {
    let values: Vec<f64> = (0..16).flat_map(|i| [3.0, 10.0, 101.0, 15.5 - 0.95 * f64::from(i)]).collect();
    levels_met_within_one_bar(250, 0, &values, 4);
}

/// Every so many bars two of three are wide. Some combination has more than `least` trades that end where it meets two levels.
fn levels_met_within_one_bar(every: usize, entry: u8, values: &[f64], least: u64) {
    let mut bars = random_walk(if every == 1 { 3_000 } else { 12_000 }, 5, 0.5);
    for t in (0..bars.len()).filter(|t| t % every == 0 && t % 3 != 1) {
        bars.high[t] *= 1.0 + (t % 7) as f64 / 60.0;
        bars.low[t] *= 1.0 - (t % 5).max(every.min(4)) as f64 / 80.0;
    }
    for (rules, by_param) in [(0b00011, 0b00010), (0b00111, 0b00010), (0b01111, 0b00110), (0b10011, 0b00001)]
    {
        let recipe = Recipe { entry, exit: 0, is_long: true, is_short: false, rules, by_param, size: 0 };
        let program = compile(&recipe);
        for (intrabar, returns) in
            [(Intrabar::StopFirst, Returns::Bar), (Intrabar::TargetFirst, Returns::Daily)]
        {
            let config = SimConfig { intrabar, returns, ..SimConfig::default() };
            let whole = run_block(&program, &bars, &config, Isa::detect(), values);
            assert!(whole.iter().any(|stats| stats.ambiguous_bars > least), "{rules:05b}");
            for (row, stats) in values.chunks(4).zip(&whole) {
                let alone = run_block(&program, &bars, &config, Isa::detect(), row);
                assert_eq!(bits(&alone[0]), bits(stats), "{rules:05b} {row:?}");
            }
        }
    }
}

/// Codes are made for where the first averages of each kind lie, here slow ones. The fast ones that come after them leave that range with
/// every jump of the price, often on the same side together, and where the price stands still for a few tiles no codes can be made. So
/// few trades also make accounts follow many tiles at once.
#[test]
fn averages_far_from_those_that_codes_are_made_for_cross_as_each_does_alone() {
    let walk = random_walk(70_003, 9, 0.001);
    let jump = |t: usize| match t % 9_000 {
        3_000..3_040 => 30.0,
        6_000..6_100 => 0.02,
        6_500 => 1e6,
        _ => 1.0,
    };
    let prices = |t| match t {
        30_500..37_000 => [100.0; 4],
        _ => [walk.open[t], walk.high[t], walk.low[t], walk.close[t]].map(|price| price * jump(t)),
    };
    let bars = hourly(&(0..walk.len()).map(prices).collect::<Vec<_>>());
    let fast = (2_000..2_016).chain([2, 5, 9, 20]);
    let pairs = fast.flat_map(|fast| (2_100..2_116).chain([30, 60]).map(move |slow| [fast, slow]));
    let values: Vec<f64> =
        pairs.flat_map(|[fast, slow]| [f64::from(fast), f64::from(slow), 101.0, 9.0]).collect();
    for rules in [0, 1] {
        let recipe =
            Recipe { entry: 0, exit: 0, is_long: true, is_short: false, rules, by_param: 0, size: 0 };
        let program = compile(&recipe);
        let config = SimConfig::default();
        let whole = run_block(&program, &bars, &config, Isa::detect(), &values);
        for isa in Isa::ALL {
            assert_eq!(run_block(&program, &bars, &config, isa, &values), whole, "{isa}");
        }
        for (row, stats) in values.chunks(4).zip(&whole).step_by(5) {
            assert!(stats.trades > 3, "{row:?}");
            let alone = run_block(&program, &bars, &config, Isa::Portable, row);
            assert_eq!(bits(&alone[0]), bits(stats), "{row:?}");
        }
    }
}

/// Any comparison of a series with a number, which may be equal to it, undefined, and on either side.
#[test]
fn numbers_beside_a_series_compare_as_in_the_loop() {
    let bars = random_walk(2_300, 21, 1.0);
    let config = SimConfig::default();
    for (op, is_first) in
        [Op::Lt, Op::Le, Op::Gt, Op::Ge, Op::Eq, Op::Ne].into_iter().flat_map(|op| [(op, false), (op, true)])
    {
        let mut b = ProgramBuilder::new(3);
        let average = average(&mut b, 0);
        let [level, divisor] = [1, 2].map(|param| b.push(Op::Param(param), &[], 0).unwrap());
        // Undefined where the divisor is 0.
        let number = b.push(Op::Div, &[level, divisor], 0).unwrap();
        let args = if is_first { [number, average] } else { [average, number] };
        let enter = b.push(op, &args, 0).unwrap();
        let exit = b.push(Op::Not, &[enter], 0).unwrap();
        let rules = long_rules(&mut b, enter, exit);
        let program = b.finish(rules);
        let mut values = Vec::new();
        for period in [1.0, 2.0, 30.0] {
            for level in [99.0, 100.0, 101.0] {
                for divisor in [1.0, 0.0] {
                    values.extend([period, level, divisor]);
                }
            }
        }
        let whole = run_block(&program, &bars, &config, Isa::detect(), &values);
        assert!(whole.iter().any(|stats| stats.trades > 0), "{op:?}");
        for (row, stats) in values.chunks(3).zip(&whole) {
            check_against_naive(&program, &bars, &config, row, stats);
        }
    }
}

/// The second half of a thousand combinations asks for the same time exits in the opposite order: a record of the first half
/// that were taken for one of the second would be another trade.
#[test]
fn time_exits_of_hundreds_of_combinations_are_shared_in_any_order() {
    // A cooldown too, without which time exits take another path.
    let (rules, all_in) = (TIME | 1 << 4, 0);
    let recipe =
        Recipe { entry: 1, exit: 0, is_long: true, is_short: false, rules, by_param: TIME, size: all_in };
    let program = compile(&recipe);
    let bars = random_walk(400, 11, 1.0);
    let config = SimConfig::default();
    let held = |i: u32| if i < 512 { 1 + i % 37 } else { 37 - i % 37 };
    let values: Vec<f64> = (0..1_024).flat_map(|i| [3.0, 40.0, 101.0, f64::from(held(i))]).collect();
    let whole = run_block(&program, &bars, &config, Isa::detect(), &values);
    assert!(whole.iter().all(|stats| stats.trades > 3));
    for (row, stats) in values.chunks(4).zip(&whole) {
        let alone = run_block(&program, &bars, &config, Isa::detect(), row);
        assert_eq!(bits(&alone[0]), bits(stats), "{row:?}");
    }
}

#[test]
fn an_account_too_small_for_whole_digits_is_measured() {
    let recipe = Recipe { entry: 0, exit: 0, is_long: true, is_short: false, rules: 0, by_param: 0, size: 0 };
    let bars = random_walk(900, 3, 0.001);
    for rules in [0, 1] {
        let program = compile(&Recipe { rules, ..recipe });
        for cash in [1e-316, 1e-283] {
            let config = SimConfig { cash, taker_fee: 0.05, ..SimConfig::default() };
            let row = [3.0, 9.0, 1.0, 4.0];
            let out = run_block(&program, &bars, &config, Isa::detect(), &row);
            assert!(out[0].trades > 5);
            check_against_naive(&program, &bars, &config, &row, &out[0]);
        }
    }
}

/// A market that falls to almost nothing and comes back, held all the way: equity of 1e-279 becomes a denormal number, whose steps are not
/// those of the closes, and grows again.
#[test]
fn an_account_that_is_too_small_for_a_while_within_a_trade_is_measured() {
    let steps = (0..2_400).map(|t| 0.96 + f64::from(t % 7) / 1_000.0);
    let values = crowded_grid();
    // To a new peak, and to none.
    for (last, exit, rules) in [(1.2, 1, 0b00010), (1.2, 1, 0), (0.7, 1, 0b00010), (0.7, 1, 0)] {
        let mut price = 100.0;
        let mut prices = vec![price];
        for step in steps.clone().chain(steps.clone().map(|step| 1.0 / step)).chain([last]) {
            price *= step;
            prices.push(price);
        }
        let bars = closes(&prices);
        let recipe = Recipe { entry: 1, exit, is_long: true, is_short: false, rules, by_param: 0, size: 0 };
        let program = compile(&recipe);
        for returns in [Returns::Bar, Returns::Daily] {
            let config = SimConfig { cash: 1e-279, returns, ..SimConfig::default() };
            let out = run_block(&program, &bars, &config, Isa::detect(), &values);
            for (row, stats) in values.chunks(4).zip(&out).step_by(11) {
                assert!(stats.final_equity > 1e-280, "{row:?} {stats:?}");
                check_against_naive(&program, &bars, &config, row, stats);
            }
        }
    }
}

#[test]
fn the_path_follows_from_the_program() {
    let path = |rules: u8, is_long: bool, is_short: bool| {
        let recipe = Recipe { entry: 0, exit: 0, is_long, is_short, rules, by_param: 0, size: 0 };
        SimulationPath::of(&compile(&recipe)).name()
    };
    assert_eq!(path(0, true, false), "signals");
    assert_eq!(path(0, true, true), "signals");
    for rule in 0..5 {
        let expected = if 1 << rule == TIME { "timed" } else { "jumps" };
        for (is_long, is_short) in [(true, false), (false, true), (true, true)] {
            assert_eq!(path(1 << rule, is_long, is_short), expected);
        }
        assert_eq!(path(1 << rule | TIME, true, false), expected);
    }
}

#[test]
fn a_cooldown_said_to_be_none_costs_nothing() {
    let recipe =
        Recipe { entry: 0, exit: 0, is_long: true, is_short: false, rules: 1 << 4, by_param: 0, size: 0 };
    let mut program = compile(&recipe);
    let cooldown = program.rules.cooldown.unwrap();
    program.nodes[cooldown.index()].op = Op::Const(0.0);
    assert_eq!(SimulationPath::of(&program).name(), "signals");
    let (bars, config) = (random_walk(900, 3, 0.001), SimConfig::default());
    let row = [3.0, 9.0, 1.0, 4.0];
    let out = run_block(&program, &bars, &config, Isa::detect(), &row);
    check_against_naive(&program, &bars, &config, &row, &out[0]);
    let without = run_block(&compile(&Recipe { rules: 0, ..recipe }), &bars, &config, Isa::detect(), &row);
    assert_eq!(out, without);
}

#[test]
fn a_strategy_of_hundreds_of_conditions_keeps_its_entry_and_its_exit_apart() {
    let mut b = ProgramBuilder::new(4);
    let (fast, slow) = (average(&mut b, 0), average(&mut b, 1));
    let params = [2, 3].map(|param| b.push(Op::Param(param), &[], 0).unwrap());
    let level = b.push(Op::Mul, &params, 0).unwrap();
    let sum = b.push(Op::Add, &[fast, slow], 0).unwrap();
    let mut conditions = Vec::new();
    for k in 0..150 {
        let offset = b.push(Op::Const(f64::from(k) / 100.0), &[], 0).unwrap();
        let moved = b.push(Op::Add, &[level, offset], 0).unwrap();
        conditions.push(b.push(Op::Gt, &[sum, moved], 0).unwrap());
    }
    let up = b.push(Op::And, &conditions, 0).unwrap();
    let down = b.push(Op::Not, &[conditions[70]], 0).unwrap();
    let stop = b.push(Op::Const(0.05), &[], 0).unwrap();
    let size = b.push(Op::Const(1.0), &[], 0).unwrap();
    let program = b.finish(Rules {
        long_enter: Some(up),
        long_exit: Some(down),
        short_enter: None,
        short_exit: None,
        stop_loss: Some(stop),
        take_profit: None,
        trailing_stop: None,
        max_bars: None,
        cooldown: None,
        size: Size::Equity(size),
    });
    let bars = random_walk(3_000, 9, 0.001);
    let config = SimConfig::default();
    let values: Vec<f64> = [[3.0, 9.0, 10.0, 19.0], [5.0, 20.0, 20.0, 9.8]].concat();
    let out = run_block(&program, &bars, &config, Isa::detect(), &values);
    assert!(out.iter().any(|stats| stats.trades > 3), "{out:?}");
    for (row, stats) in values.chunks(4).zip(&out) {
        check_against_naive(&program, &bars, &config, row, stats);
    }
}
