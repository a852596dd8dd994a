//! Strategies whose positions end by signals or time: words in which nothing is due, words in which something is, and what goes from
//! one to the next.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::atomic::AtomicBool;

use polybolos_kernels::sim::{Returns, SimConfig};
use polybolos_kernels::simd::Isa;
use polybolos_kernels::stats::Stats;
use polybolos_kernels::sweep::{SimulationPath, Sweep};
use proptest::prelude::*;

use crate::support::{closes, random_walk};
use crate::sweep_blocks::{
    Recipe, TIME, any_market, any_recipe, any_settings, bits, check_against_naive, compile, run_block,
};
use crate::sweep_contests::{Contest, compile_contest};

/// Entries, exits and limits of every kind, parameters and constants, next to each other in a block.
fn timed_grid() -> Vec<f64> {
    let mut values = Vec::new();
    for (fast, slow) in [(1.0, 5.0), (3.0, 40.0), (8.0, 5.0), (3.0, 400.0)] {
        for level in [1.0, 100.0] {
            for rule in [1.0, 2.0, 7.0, 63.0, 64.0, 65.0, 500.0, 1e12] {
                values.extend([fast, slow, level, rule]);
            }
        }
    }
    values
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_time_exit_is_the_same_in_every_block_and_on_every_instruction_set(
        recipe in any_recipe(),
        bars in any_market(),
        config in any_settings(),
        cut in prop_oneof![Just(1_usize), Just(5), Just(8), Just(11)],
        picks in any::<[prop::sample::Index; 3]>(),
    ) {
        let program = compile(&Recipe { rules: TIME, ..recipe });
        prop_assert_eq!(SimulationPath::of(&program).name(), "timed");
        let values = timed_grid();
        let whole = run_block(&program, &bars, &config, Isa::Portable, &values);
        for isa in [Isa::Avx2, Isa::Avx512] {
            for (a, b) in whole.iter().zip(run_block(&program, &bars, &config, isa, &values)) {
                prop_assert_eq!(bits(a), bits(&b), "{}", isa);
            }
        }
        let mut sweep = Sweep::new(&program, &bars, &config).unwrap();
        for (values, whole) in values.chunks(4 * cut).zip(whole.chunks(cut)) {
            let mut out = vec![Stats::default(); whole.len()];
            sweep.run_block(values, &mut out, &AtomicBool::new(false)).unwrap();
            for (a, b) in whole.iter().zip(&out) {
                prop_assert_eq!(bits(a), bits(b));
            }
        }
        for row in picks.map(|pick| pick.index(whole.len())) {
            check_against_naive(&program, &bars, &config, &values[4 * row..4 * row + 4], &whole[row]);
        }
    }
}

/// Positions that no signal ends are due tiles later, and beyond what accounts follow the signals by; some never are.
#[test]
fn a_position_is_due_in_a_later_part_of_a_long_series() {
    let bars = random_walk(30_001, 8, 0.001);
    // A level that all averages are below, or above, so that there is always an entry and never an exit.
    for (is_long, is_short, level) in [(true, false, 1e9), (false, true, 0.0), (true, true, 1e9)] {
        let recipe = Recipe { entry: 1, exit: 1, is_long, is_short, rules: TIME, by_param: TIME, size: 0 };
        let program = compile(&recipe);
        let limits = [63.0, 500.0, 2_048.0, 9_000.0, 20_000.0, 29_998.0, 29_999.0, 1e9];
        let values: Vec<f64> = limits.iter().flat_map(|&bars| [3.0, 40.0, level, bars]).collect();
        let config = SimConfig::default();
        let out = run_block(&program, &bars, &config, Isa::detect(), &values);
        for (row, stats) in values.chunks(4).zip(&out) {
            check_against_naive(&program, &bars, &config, row, stats);
        }
        let trades: Vec<u64> = out.iter().map(|stats| stats.trades).collect();
        assert_eq!(trades[2..], [14, 3, 1, 0, 0, 0], "{trades:?}");
    }
}

/// Where the price nearly doubles, little is left of a short position with all the cash, and what comes back is a large return on it.
#[test]
fn a_short_position_near_ruin_keeps_the_digits_of_its_returns() {
    let recipe =
        Recipe { entry: 1, exit: 1, is_long: false, is_short: true, rules: TIME, by_param: TIME, size: 0 };
    let program = compile(&recipe);
    // Ruin is at 199.9, which is no number of binary digits.
    let config = SimConfig { slippage: 0.0, returns: Returns::Bar, ..SimConfig::default() };
    for peak in [150.0, 199.0, 199.3, 199.89, 199.899, 199.899_99] {
        let height = |t: usize| 1.0 - (t.abs_diff(100) as f64 / 50.0).min(1.0);
        let prices: Vec<f64> = (0..250).map(|t| 100.0 + (peak - 100.0) * height(t)).collect();
        let bars = closes(&prices);
        let values = [3.0, 40.0, 0.0, 1e9, 3.0, 40.0, 0.0, 130.0];
        let out = run_block(&program, &bars, &config, Isa::detect(), &values);
        for (row, stats) in values.chunks(4).zip(&out) {
            check_against_naive(&program, &bars, &config, row, stats);
        }
        assert!(out[0].max_drawdown > (peak - 100.0) / 101.0, "{peak}: {}", out[0].max_drawdown);
    }
}

/// The last bar of a word of 64 has equal averages, or none, and no other bar has: what the next word's first bar crosses is known
/// from that bar alone.
#[test]
fn words_after_a_tie_or_a_gap_cross_what_was_before_them() {
    let mut close = 100.0;
    // Down, then further up, in exact eighths; the last two bars of a word are equal.
    let steps = |t: usize| match t % 64 {
        0..31 => -0.125,
        63 => 0.0,
        _ => 0.25,
    };
    let prices: Vec<f64> = (0..900)
        .map(|t| {
            close += steps(t);
            close
        })
        .collect();
    let bars = closes(&prices);
    for (max_bars, is_long) in [(1e9, true), (1e9, false), (40.0, true), (3.0, false)] {
        let contest = Contest { sides: [is_long, !is_long], max_bars: Some(max_bars), ..Contest::CROSSES };
        let (program, config) = (compile_contest(&contest), SimConfig::default());
        let values = [[1.0, 2.0], [2.0, 1.0], [1.0, 65.0], [2.0, 65.0], [65.0, 1.0], [1.0, 129.0]].concat();
        for (row, stats) in values.chunks(2).zip(run_block(&program, &bars, &config, Isa::detect(), &values))
        {
            check_against_naive(&program, &bars, &config, row, &stats);
        }
    }
}
