//! Golden values of every metric, from hand-computed and published examples.

use std::cmp::Ordering;

use polybolos_engine::interval::DAY_MS;
use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::kernels::sim::{Returns, SimConfig};
use polybolos_engine::kernels::stats::Stats;
use polybolos_engine::metrics::{
    METRICS, Metric, MetricContext, TrialParts, TrialStats, Trials, expected_maximum_sharpe, normal,
    per_period_sharpe, probabilistic_sharpe,
};
use proptest::prelude::*;

/// Four daily returns 0.02, -0.01, 0.03, -0.02 and three trades of +60, -20, -10, over one year.
fn stats() -> Stats {
    let returns = [0.02, -0.01, 0.03, -0.02];
    let mean = 0.005;
    let moment = |power| returns.iter().map(|r: &f64| (r - mean).powi(power)).sum();
    Stats {
        final_equity: 1030.0,
        observations: 4,
        returns_defined: true,
        mean_return: mean,
        m2: moment(2),
        m3: moment(3),
        m4: moment(4),
        downside: 0.01 * 0.01 + 0.02 * 0.02,
        max_drawdown: 0.02,
        trades: 3,
        long_trades: 2,
        short_trades: 1,
        wins: 1,
        gross_profit: 60.0,
        gross_loss: 30.0,
        pnl_sum: 30.0,
        pnl_m2: 50.0 * 50.0 + 30.0 * 30.0 + 20.0 * 20.0,
        trade_return_sum: 0.03,
        best_trade: 0.06,
        worst_trade: -0.02,
        max_consecutive_losses: 2,
        bars_held: 12,
        bars_in_position: 15,
        fees: 4.5,
        ambiguous_bars: 1,
    }
}

fn context() -> MetricContext {
    MetricContext {
        cash: 1000.0,
        bars: 60,
        elapsed_ms: 73 * DAY_MS,
        periods_per_year: 365.0,
        trials: Some(TrialStats { count: 100, sharpe_variance: Some(0.01) }),
    }
}

fn value(name: &str, stats: &Stats, context: &MetricContext) -> Option<f64> {
    Metric::by_name(name).unwrap().compute(stats, context)
}

#[track_caller]
fn near(actual: f64, expected: f64, tolerance: f64) {
    assert!((actual - expected).abs() <= tolerance, "{actual} is not {expected}");
}

#[test]
fn every_metric_has_its_place_and_its_hand_computed_value() {
    // std = sqrt(0.0017 / 3) = 0.023804761, per-period Sharpe 0.210042013, skewness 0, raw kurtosis 1.221453287; the
    // expected maximum of the trials is 0.253060289.
    let expected = [
        ("total_return", 0.03),
        ("cagr", 1.159_274_074_3 - 1.0),
        ("volatility", 0.454_789_328_5),
        ("sharpe", 4.012_847_016),
        ("sortino", 8.544_003_745),
        ("calmar", 7.963_703_715),
        ("max_drawdown", 0.02),
        ("trades", 3.0),
        ("win_rate", 1.0 / 3.0),
        ("profit_factor", 2.0),
        ("expectancy", 10.0),
        ("avg_trade_return", 0.01),
        ("sqn", 0.397_359_707),
        ("exposure", 0.25),
        ("fees", 4.5),
        ("final_equity", 1030.0),
        ("best_trade", 0.06),
        ("worst_trade", -0.02),
        ("max_consecutive_losses", 2.0),
        ("avg_bars_held", 4.0),
        ("long_trades", 2.0),
        ("short_trades", 1.0),
        ("ambiguous_bars", 1.0),
        ("psr", 0.641_831_994),
        ("dsr", 0.470_338_491),
    ];
    assert_eq!(METRICS.len(), expected.len());
    for (metric, (name, expected)) in METRICS.iter().zip(expected) {
        assert_eq!(metric.name, name);
        assert!(!metric.summary.is_empty() && !metric.summary.contains('\n'), "{name}");
        let actual = metric.compute(&stats(), &context()).unwrap();
        assert!(
            (actual - expected).abs() <= 1e-9 * expected.abs().max(1.0),
            "{name} is {actual}, not {expected}"
        );
    }
}

#[test]
fn expectancy_is_the_balance_of_average_win_and_loss() {
    let (wins, average_win, losses, average_loss) = (1.0 / 3.0, 60.0, 2.0 / 3.0, 15.0);
    near(
        value("expectancy", &stats(), &context()).unwrap(),
        wins * average_win - losses * average_loss,
        1e-12,
    );
}

/// The metrics that are undefined for a variation of the example, all others being defined.
#[test]
fn undefined_cases_are_none_and_only_they() {
    let series = ["volatility", "sharpe", "sortino", "psr", "dsr"];
    let of_trades = [
        "win_rate",
        "profit_factor",
        "expectancy",
        "avg_trade_return",
        "sqn",
        "best_trade",
        "worst_trade",
        "avg_bars_held",
    ];
    let no_trades = Stats { trades: 0, wins: 0, gross_profit: 0.0, gross_loss: 0.0, bars_held: 0, ..stats() };
    let no_deviation = Stats { m2: 0.0, m3: 0.0, m4: 0.0, ..stats() };
    let cases: Vec<(&str, Stats, MetricContext, Vec<&str>)> = vec![
        ("the example", stats(), context(), vec![]),
        ("undefined returns", Stats { returns_defined: false, ..stats() }, context(), series.to_vec()),
        ("one return", Stats { observations: 1, ..stats() }, context(), series.to_vec()),
        ("no return", Stats { observations: 0, ..stats() }, context(), series.to_vec()),
        ("no deviation", no_deviation, context(), vec!["sharpe", "psr", "dsr"]),
        ("no losing return", Stats { downside: 0.0, ..stats() }, context(), vec!["sortino"]),
        (
            "a short span",
            stats(),
            MetricContext { elapsed_ms: 30 * DAY_MS - 1, ..context() },
            vec!["cagr", "calmar"],
        ),
        ("thirty days", stats(), MetricContext { elapsed_ms: 30 * DAY_MS, ..context() }, vec![]),
        ("nothing left", Stats { final_equity: 0.0, ..stats() }, context(), vec!["cagr", "calmar"]),
        ("less than nothing", Stats { final_equity: -5.0, ..stats() }, context(), vec!["cagr", "calmar"]),
        ("no drawdown", Stats { max_drawdown: 0.0, ..stats() }, context(), vec!["calmar"]),
        ("no trades", no_trades, context(), of_trades.to_vec()),
        ("no losing trade", Stats { gross_loss: 0.0, ..stats() }, context(), vec!["profit_factor"]),
        ("one trade", Stats { trades: 1, ..stats() }, context(), vec!["sqn"]),
        ("equal trades", Stats { pnl_m2: 0.0, ..stats() }, context(), vec!["sqn"]),
        ("no bars", stats(), MetricContext { bars: 0, ..context() }, vec!["exposure"]),
        ("no trials", stats(), MetricContext { trials: None, ..context() }, vec!["dsr"]),
        ("no room under the root", Stats { m3: 1.0, ..stats() }, context(), vec!["psr", "dsr"]),
        (
            "one trial",
            stats(),
            context().with_trials(TrialStats { count: 1, sharpe_variance: None }),
            vec!["dsr"],
        ),
        ("overflow", Stats { fees: f64::INFINITY, ..stats() }, context(), vec!["fees"]),
    ];
    for (case, stats, context, undefined) in cases {
        let none: Vec<&str> = METRICS
            .iter()
            .filter(|metric| metric.compute(&stats, &context).is_none())
            .map(|metric| metric.name)
            .collect();
        assert_eq!(none, undefined, "{case}");
    }
}

#[test]
fn volatility_of_a_still_account_is_zero() {
    let still = Stats { m2: 0.0, ..stats() };
    assert_eq!(value("volatility", &still, &context()), Some(0.0));
}

#[test]
fn growth_of_a_tenth_in_half_a_year_compounds_to_twenty_one_percent() {
    let half = MetricContext { elapsed_ms: 365 * DAY_MS / 2, ..context() };
    near(value("cagr", &Stats { final_equity: 1100.0, ..stats() }, &half).unwrap(), 0.21, 1e-14);
}

/// The example of Bailey and Lopez de Prado (2014): annual Sharpe ratio 2.5 over 1250 days at 250 a year, trials with an
/// annual variance of 0.5.
#[test]
fn the_deflated_sharpe_ratio_of_the_paper() {
    let sharpe = 2.5 / 250.0_f64.sqrt();
    let deflated = |count, skewness, kurtosis| {
        let trials = TrialStats { count, sharpe_variance: Some(0.5 / 250.0) };
        let benchmark = expected_maximum_sharpe(&trials).unwrap();
        probabilistic_sharpe(sharpe, benchmark, 1250.0, skewness, kurtosis).unwrap()
    };
    let trials = TrialStats { count: 100, sharpe_variance: Some(0.5 / 250.0) };
    near(expected_maximum_sharpe(&trials).unwrap(), 0.113_172_0, 5e-8);
    near(deflated(100, -3.0, 10.0), 0.900_396_8, 5e-8);
    near(deflated(46, -3.0, 10.0), 0.950_501_7, 5e-8);
    near(deflated(88, 0.0, 3.0), 0.950_490_8, 5e-8);
}

#[test]
fn dsr_of_a_run_takes_its_moments_from_the_statistics() {
    // T = 1250 returns with standard deviation 0.01 (ddof 1), the paper's Sharpe ratio, skewness and raw kurtosis.
    let (observations, deviation) = (1250.0, 0.01_f64);
    let variance = deviation * deviation * (observations - 1.0) / observations;
    let run = Stats {
        observations: 1250,
        mean_return: deviation * 2.5 / 250.0_f64.sqrt(),
        m2: variance * observations,
        m3: -3.0 * variance.powf(1.5) * observations,
        m4: 10.0 * variance * variance * observations,
        ..stats()
    };
    let context = context().with_trials(TrialStats { count: 100, sharpe_variance: Some(0.5 / 250.0) });
    near(value("dsr", &run, &context).unwrap(), 0.900_396_8, 5e-8);
    near(per_period_sharpe(&run).unwrap(), 0.158_113_883, 5e-10);
}

#[test]
fn the_inverse_normal_distribution_has_its_table_values() {
    // Computed with 40 digits.
    let table = [
        (0.5, 0.0),
        (0.1, -1.281_551_565_544_600_5),
        (0.25, -0.674_489_750_196_081_7),
        (0.975, 1.959_963_984_540_053_9),
        (0.99, 2.326_347_874_040_840_8),
        (0.925, 1.439_531_470_938_457),
        (0.925_000_1, 1.439_532_177_375_900_5),
        (0.075, -1.439_531_470_938_456),
        (0.074_999_9, -1.439_532_177_375_900_6),
        (0.001, -3.090_232_306_167_813_5),
        (1e-5, -4.264_890_793_922_825),
        (1e-11, -6.706_023_155_495_136),
        (1e-12, -7.034_483_825_301_132),
        (1e-20, -9.262_340_089_798_408),
        (1e-300, -37.047_096_299_361_2),
    ];
    for (p, x) in table {
        let actual = normal::inverse_cdf(p).unwrap();
        assert!((actual - x).abs() <= 1.5e-15 * x.abs(), "{p}: {actual} is not {x}");
    }
    for p in [0.0, 1.0, -0.1, 1.1, f64::NAN] {
        assert_eq!(normal::inverse_cdf(p), None);
    }
}

#[test]
fn the_normal_distribution_has_its_table_values() {
    let table = [
        (-8.0, 6.220_960_574_271_784e-16),
        (-3.0, 0.001_349_898_031_630_094_5),
        (-1.0, 0.158_655_253_931_457_05),
        (0.0, 0.5),
        (0.5, 0.691_462_461_274_013_1),
        (2.0, 0.977_249_868_051_820_8),
        (6.0, 0.999_999_999_013_412_4),
    ];
    for (x, p) in table {
        let actual = normal::cdf(x);
        // The rounding of x / sqrt(2) is magnified by x^2 in the tails.
        assert!((actual - p).abs() <= (4.0 + x * x) * f64::EPSILON * p, "{x}: {actual} is not {p}");
    }
}

#[test]
fn annualisation_follows_the_sampling() {
    let bars = |interval_ms| Bars { interval_ms, open_time_ms: vec![0, 10 * DAY_MS], ..Bars::default() };
    let periods = |interval_ms, returns| {
        MetricContext::new(&bars(interval_ms), &SimConfig { returns, ..SimConfig::default() })
            .periods_per_year
    };
    assert_eq!(periods(DAY_MS / 24, Returns::Daily), 365.0);
    assert_eq!(periods(DAY_MS / 24, Returns::Bar), 8760.0);
    assert_eq!(periods(DAY_MS, Returns::Daily), 365.0);
    assert_eq!(periods(7 * DAY_MS, Returns::Daily), 365.0 / 7.0);
    let context = MetricContext::new(&bars(DAY_MS), &SimConfig::default());
    assert_eq!(
        (context.cash, context.bars, context.elapsed_ms, context.trials),
        (10_000.0, 2, 11 * DAY_MS, None)
    );
    let empty = MetricContext::new(&Bars { interval_ms: DAY_MS, ..Bars::default() }, &SimConfig::default());
    assert_eq!((empty.bars, empty.elapsed_ms), (0, 0));
}

#[test]
fn ranking_puts_the_better_value_first_and_the_undefined_last() {
    let ranked = |name: &str, mut values: Vec<Option<f64>>| {
        let metric = Metric::by_name(name).unwrap();
        values.sort_by(|a, b| metric.compare(*a, *b));
        values
    };
    let values = || vec![Some(1.0), None, Some(-2.0), Some(3.0)];
    assert_eq!(ranked("sharpe", values()), [Some(3.0), Some(1.0), Some(-2.0), None]);
    assert_eq!(ranked("max_drawdown", values()), [Some(-2.0), Some(1.0), Some(3.0), None]);
    assert_eq!(ranked("trades", values()), [Some(3.0), Some(1.0), Some(-2.0), None]);
    let sharpe = Metric::by_name("sharpe").unwrap();
    assert_eq!(sharpe.compare(Some(0.0), Some(-0.0)), Ordering::Equal);
    assert_eq!(sharpe.compare(Some(f64::NAN), None), Ordering::Equal);
    assert_eq!(sharpe.compare(Some(f64::NAN), Some(-1e300)), Ordering::Greater);
    assert!(Metric::by_name("sharp").is_none());
}

fn counted(ratios: &[Option<f64>]) -> Trials {
    let mut trials = Trials::default();
    for &ratio in ratios {
        trials.push(ratio);
    }
    trials
}

#[test]
fn trials_count_defined_ratios_and_know_their_variance() {
    let trials =
        counted(&[Some(0.1), None, Some(0.3), Some(f64::NAN), Some(f64::INFINITY), Some(0.2)]).finish();
    assert_eq!(trials.count, 3);
    near(trials.sharpe_variance.unwrap(), 0.01, 1e-17);
    assert_eq!(counted(&[None]).finish(), TrialStats { count: 0, sharpe_variance: None });
    assert_eq!(counted(&[Some(5.0)]).finish(), TrialStats { count: 1, sharpe_variance: None });
    assert_eq!(counted(&[Some(0.1); 7]).finish(), TrialStats { count: 7, sharpe_variance: Some(0.0) });
    assert_eq!(
        counted(&[Some(1e300), Some(-1e300)]).finish(),
        counted(&[Some(1024.0), Some(-1024.0)]).finish()
    );
}

#[test]
fn damaged_trial_sums_are_refused() {
    let good = counted(&[Some(0.5), Some(-0.25)]).to_parts();
    assert_eq!(Trials::from_parts(good), Ok(counted(&[Some(-0.25), Some(0.5)])));
    for damaged in [
        TrialParts { count: 0, ..good },
        TrialParts { count: u64::MAX, ..good },
        TrialParts { sum: i128::MIN, ..good },
        TrialParts { squares_low: 0, ..good },
        TrialParts { squares_high: 1, ..good },
    ] {
        assert!(Trials::from_parts(damaged).is_err(), "{damaged:?}");
    }
}

proptest! {
    #[test]
    fn trials_are_the_same_for_any_order_and_grouping(
        ratios in prop::collection::vec(prop::option::of(prop_oneof![-3.0..3.0_f64, -2e3..2e3_f64]), 0..60),
        cuts in prop::collection::vec(0..61_usize, 0..5),
        seed in any::<u64>(),
    ) {
        let whole = counted(&ratios);
        let mut shuffled: Vec<(u64, Option<f64>)> = ratios
            .iter()
            .enumerate()
            .map(|(index, &ratio)| (seed.wrapping_mul(index as u64 * 2 + 1).rotate_left(17), ratio))
            .collect();
        shuffled.sort_by_key(|(key, _)| *key);
        let shuffled: Vec<Option<f64>> = shuffled.into_iter().map(|(_, ratio)| ratio).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(shuffled.len())).collect();
        cuts.extend([0, shuffled.len()]);
        cuts.sort_unstable();
        let mut merged = Trials::default();
        for unit in cuts.windows(2).rev() {
            let unit = counted(&shuffled[unit[0]..unit[1]]);
            merged.merge(&Trials::from_parts(unit.to_parts()).unwrap());
        }
        prop_assert_eq!(whole, merged);
    }

    #[test]
    fn trial_variance_is_the_textbook_one(ratios in prop::collection::vec(-2.0..2.0_f64, 2..80)) {
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        let variance = ratios.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (ratios.len() - 1) as f64;
        let ratios: Vec<Option<f64>> = ratios.into_iter().map(Some).collect();
        let actual = counted(&ratios).finish().sharpe_variance.unwrap();
        prop_assert!((actual - variance).abs() <= 1e-12 * variance + 1e-16, "{} is not {}", actual, variance);
    }

    #[test]
    fn the_inverse_undoes_the_distribution(x in -8.0..5.0_f64) {
        let p = normal::cdf(x);
        let back = normal::inverse_cdf(p).unwrap();
        // Near 1 the probability itself has lost the digits of x.
        let lost = f64::EPSILON * p / (libm::exp(-x * x / 2.0) * 0.398_942_280_401_432_7);
        prop_assert!((back - x).abs() <= 4e-15 * x.abs() + 4.0 * lost + 4e-16, "{} is not {}", back, x);
    }
}
