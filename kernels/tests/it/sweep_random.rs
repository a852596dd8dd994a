//! Random markets, signals, rules and settings: the sweep's jumps beside the bar-by-bar loop.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::atomic::AtomicBool;

use polybolos_kernels::bars::Bars;
use polybolos_kernels::sim::{Fill, Intrabar, Returns, SimConfig};
use polybolos_kernels::stats::Stats;
use polybolos_kernels::sweep::Sweep;
use proptest::prelude::*;

use crate::naive::{Naive, Signal};
use crate::support::{HOUR_MS, RuleSet, SizeSet, random_walk, signal_program};

/// Returns as the specification words it: walk the midnights, look back for the last closed bar.
fn sampled_returns(bars: &Bars, equity: &[f64], config: &SimConfig) -> Vec<f64> {
    const DAY_MS: i64 = 24 * HOUR_MS;
    let levels: Vec<f64> = match config.returns {
        Returns::Bar => equity.to_vec(),
        Returns::Daily => match (bars.open_time_ms.first(), bars.open_time_ms.last()) {
            (Some(&first), Some(&last)) => (first / DAY_MS + 1..=(last + bars.interval_ms) / DAY_MS)
                .map(|day| {
                    let midnight = day * DAY_MS;
                    let closed = |t: &usize| bars.close_time_ms(*t) <= midnight;
                    (0..bars.len()).rfind(closed).map_or(config.cash, |t| equity[t])
                })
                .collect(),
            _ => Vec::new(),
        },
    };
    let before = std::iter::once(config.cash).chain(levels.iter().copied());
    before.zip(&levels).map(|(before, after)| after / before - 1.0).collect()
}

fn near(got: f64, wanted: f64) -> bool {
    (got - wanted).abs() <= 1e-12 * wanted.abs().max(1e-6)
}

fn check_against_naive(bars: &Bars, rules: RuleSet, config: SimConfig) {
    let signal = |t: usize| Signal {
        long_enter: bars.volume[t] == 1.0,
        long_exit: bars.quote_volume[t] == 1.0,
        short_enter: bars.trades[t] == 1.0,
        short_exit: bars.taker_buy_volume[t] == 1.0,
    };
    let naive = Naive::run(bars, signal, rules, config);
    let program = signal_program(&rules);
    let mut sweep = Sweep::new(&program, bars, &config).unwrap();
    let run = sweep.run(&[]).unwrap();
    // One combination looks for its exits itself, many share tables and trades.
    let mut crowd = [Stats::default(); 9];
    sweep.run_block(&[], &mut crowd, &AtomicBool::new(false)).unwrap();
    for stats in crowd {
        assert_eq!(format!("{stats:?}"), format!("{:?}", run.stats));
    }
    assert_eq!(run.trades, naive.trades);
    assert_eq!(run.equity, naive.equity);
    let (got, wanted) = (run.stats, naive.stats);
    assert_eq!(got.fees, wanted.fees);
    assert_eq!(got.ambiguous_bars, wanted.ambiguous_bars);
    assert_eq!(got.bars_in_position, wanted.bars_in_position);
    assert_eq!(got.max_drawdown, wanted.max_drawdown);
    assert_eq!(got.final_equity, wanted.final_equity);
    let returns = sampled_returns(bars, &run.equity, &config);
    assert_eq!(got.observations, returns.len() as u64);
    if got.returns_defined && !returns.is_empty() {
        let mean = returns.iter().sum::<f64>() / returns.len() as f64;
        let moment = |k: i32| returns.iter().map(|r| (r - mean).powi(k)).sum::<f64>();
        assert!((got.mean_return - mean).abs() <= 1e-15);
        for (got, wanted) in [(got.m2, moment(2)), (got.m4, moment(4))] {
            assert!(near(got, wanted), "{got} {wanted}");
        }
        let scale = returns.iter().map(|r| (r - mean).abs().powi(3)).sum::<f64>();
        assert!((got.m3 - moment(3)).abs() <= 1e-12 * scale.max(1e-6));
    } else {
        assert!(returns.is_empty() || run.equity.iter().any(|&equity| equity <= 0.0));
    }
}

fn optional(values: impl Strategy<Value = f64>) -> impl Strategy<Value = Option<f64>> {
    prop_oneof![Just(None), values.prop_map(Some)]
}

pub(crate) fn any_rules() -> impl Strategy<Value = RuleSet> {
    let fraction = || prop_oneof![Just(0.02), Just(0.1), Just(0.25), 0.001..0.9];
    let whole = |from: u32| (from..12).prop_map(f64::from);
    let size = prop_oneof![
        prop_oneof![Just(1.0), 0.1..1.0].prop_map(SizeSet::Equity),
        (10.0..3000.0).prop_map(SizeSet::Quote),
        (0.001..2.0).prop_map(SizeSet::Risk),
    ];
    let levels = (optional(fraction()), optional(0.01..2.0), optional(fraction()));
    (levels, optional(whole(1)), optional(whole(0)), size).prop_map(
        |((stop_loss, take_profit, trailing_stop), max_bars, cooldown, size)| {
            let needs_stop = matches!(size, SizeSet::Risk(_));
            let stop_loss = if needs_stop { stop_loss.or(Some(0.125)) } else { stop_loss };
            RuleSet { stop_loss, take_profit, trailing_stop, max_bars, cooldown, size }
        },
    )
}

pub(crate) fn any_config() -> impl Strategy<Value = SimConfig> {
    let cost = || prop_oneof![Just(0.0), 0.0..0.02];
    let fill = prop_oneof![Just(Fill::NextOpen), Just(Fill::Close)];
    let intrabar =
        prop_oneof![Just(Intrabar::StopFirst), Just(Intrabar::TargetFirst), Just(Intrabar::NearestOpen)];
    let returns = prop_oneof![Just(Returns::Bar), Just(Returns::Daily)];
    (cost(), cost(), cost(), fill, intrabar, returns).prop_map(
        |(maker_fee, taker_fee, slippage, fill, intrabar, returns)| SimConfig {
            cash: 1000.0,
            maker_fee,
            taker_fee,
            slippage,
            fill,
            intrabar,
            returns,
        },
    )
}

/// Bars with whole prices (so that ties are common) or fine ones, gaps in time and in price, opens outside the bar's
/// range now and then, and signals on a few or on most bars.
pub(crate) fn any_bars() -> impl Strategy<Value = Bars> {
    let walk = (1..400_usize, any::<u64>(), prop_oneof![Just(1.0), Just(0.01)]);
    let density = prop_oneof![Just(40_u64), Just(8), Just(2)];
    (walk, density, any::<u64>()).prop_map(|((len, seed, tick), density, noise)| {
        let mut bars = random_walk(len, seed, tick);
        let mut state = noise | 1;
        let mut one_in = |odds: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 20).is_multiple_of(odds)
        };
        let mut time_ms = 0;
        for t in 0..len {
            time_ms += HOUR_MS * if one_in(30) { 40 } else { 1 };
            bars.open_time_ms[t] = time_ms;
            for signal in
                [&mut bars.volume, &mut bars.quote_volume, &mut bars.trades, &mut bars.taker_buy_volume]
            {
                signal[t] = f64::from(u8::from(one_in(density)));
            }
            if one_in(60) {
                bars.open[t] *= 1.3;
            }
            if one_in(60) {
                bars.low[t] *= 0.5;
            }
        }
        bars
    })
}

/// Rules that end a position after some bars and no others: after one, around the 64 of a word, and after more than there are.
pub(crate) fn time_exits() -> impl Strategy<Value = RuleSet> {
    let max_bars = prop_oneof![
        Just(1.0),
        (2..12_u32).prop_map(f64::from),
        (60..70_u32).prop_map(f64::from),
        (100..400_u32).prop_map(f64::from),
        Just(4_294_967_295.0),
        Just(1e300),
    ];
    let size = prop_oneof![
        Just(SizeSet::Equity(1.0)),
        (0.1..1.0).prop_map(SizeSet::Equity),
        (10.0..3000.0).prop_map(SizeSet::Quote),
    ];
    (max_bars, size).prop_map(|(max_bars, size)| RuleSet {
        max_bars: Some(max_bars),
        size,
        ..RuleSet::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn jumping_between_events_is_walking_bar_by_bar(bars in any_bars(), rules in any_rules(), config in any_config()) {
        check_against_naive(&bars, rules, config);
    }

    #[test]
    fn positions_that_end_by_signals_or_time_are_those_of_the_loop(
        bars in any_bars(), rules in time_exits(), config in any_config()
    ) {
        check_against_naive(&bars, rules, config);
    }

    #[test]
    fn a_bar_alone_has_at_most_an_entry(rules in time_exits(), config in any_config(), letters in 0..16_u8) {
        let mut bars = random_walk(1, 1, 1.0);
        for (bit, signal) in
            [&mut bars.volume, &mut bars.quote_volume, &mut bars.trades, &mut bars.taker_buy_volume]
                .into_iter()
                .enumerate()
        {
            signal[0] = f64::from(letters >> bit & 1);
        }
        check_against_naive(&bars, rules, config);
    }
}
