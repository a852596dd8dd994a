//! Synthetic markets: the same bytes everywhere, and the features by which markets are known.

use polybolos_engine::digest;
use polybolos_kernels::bars::Bars;
use polybolos_market_data::OnConflict;
use polybolos_market_data::check::check_bars;
use polybolos_market_data::synth::{START_MS, SynthSpec, synthesize};
use proptest::prelude::*;

use crate::fixtures::{empty_dataset, interval};

fn market(symbols: usize, bars: usize, interval_name: &str, seed: u64) -> Vec<(String, Bars)> {
    synthesize(SynthSpec { symbols, bars, interval: interval(interval_name), seed }).unwrap().collect()
}

/// The digests were made on Linux on x86-64. Another digest is another market: every result made on it changes.
#[test]
fn the_same_seed_gives_the_same_bits_on_every_platform() {
    for (interval_name, seed, expected) in [
        ("1m", 1, ["16ca42e86f9cd9b0", "0882f143936fbd79"]),
        ("1h", 42, ["14a93405b1370633", "71219a70dab098e1"]),
        ("1w", u64::MAX, ["82f0406fc93cf3af", "1982483833231392"]),
    ] {
        let made: Vec<String> = market(2, 300, interval_name, seed)
            .iter()
            .map(|(_, bars)| digest::of_bars(bars).short(16))
            .collect();
        assert_eq!(made, expected, "{interval_name} {seed}");
    }
}

#[test]
fn stored_bytes_repeat_too() {
    let (_one, first) = empty_dataset();
    let (_two, second) = empty_dataset();
    for dataset in [&first, &second] {
        for (symbol, bars) in market(2, 10_000, "1h", 3) {
            dataset.merge(&symbol, interval("1h"), &bars, OnConflict::Refuse).unwrap();
        }
    }
    assert_eq!(
        crate::fixtures::snapshot(crate::fixtures::root(&first)),
        crate::fixtures::snapshot(crate::fixtures::root(&second))
    );
    assert_eq!(first.symbols(interval("1h")).unwrap(), ["SYN001USDT", "SYN002USDT"]);
}

#[test]
fn a_larger_market_begins_with_the_smaller_one() {
    let small = market(2, 500, "15m", 9);
    let large = market(3, 800, "15m", 9);
    for (one, other) in small.iter().zip(&large) {
        assert_eq!((&one.0, &one.1), (&other.0, &other.1.slice(0..500)));
    }
    assert_ne!(market(1, 500, "15m", 10)[0].1.close, small[0].1.close);
}

fn log_returns(bars: &Bars) -> Vec<f64> {
    bars.close.windows(2).map(|pair| (pair[1] / pair[0]).ln()).collect()
}

fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (mx, my) = (mean(x), mean(y));
    let cross: f64 = x.iter().zip(y).map(|(a, b)| (a - mx) * (b - my)).sum();
    let square = |v: &[f64], m: f64| v.iter().map(|a| (a - m) * (a - m)).sum::<f64>();
    cross / (square(x, mx) * square(y, my)).sqrt()
}

#[test]
fn volatility_clusters_symbols_move_together_and_volume_follows_volatility() {
    let symbols = market(4, 20_000, "1h", 5);
    let returns: Vec<Vec<f64>> = symbols.iter().map(|(_, bars)| log_returns(bars)).collect();
    for (series, (symbol, bars)) in returns.iter().zip(&symbols) {
        let size: Vec<f64> = series.iter().map(|r| r.abs()).collect();
        for lag in [1, 6, 24] {
            let clustering = correlation(&size[lag..], &size[..size.len() - lag]);
            assert!(clustering > 0.05, "{symbol} lag {lag}: {clustering}");
        }
        let memory = correlation(&series[1..], &series[..series.len() - 1]);
        assert!(memory.abs() < 0.05, "{symbol}: returns predict themselves, {memory}");
        let kurtosis = {
            let mean_square = series.iter().map(|r| r * r).sum::<f64>() / series.len() as f64;
            series.iter().map(|r| r.powi(4)).sum::<f64>() / series.len() as f64 / (mean_square * mean_square)
        };
        assert!(kurtosis > 4.0, "{symbol}: tails are thin, {kurtosis}");
        let yearly = (series.iter().map(|r| r * r).sum::<f64>() / series.len() as f64 * 8760.0).sqrt();
        assert!((0.3..2.5).contains(&yearly), "{symbol}: yearly volatility {yearly}");
        assert!(correlation(&size, &bars.volume[1..]) > 0.2, "{symbol}");
    }
    for other in &returns[1..] {
        let together = correlation(&returns[0], other);
        assert!((0.2..0.95).contains(&together), "{together}");
    }
}

#[test]
fn markets_that_cannot_be_made_are_refused() {
    for (symbols, bars, what) in
        [(0, 10, "symbols = 0"), (10_000, 10, "symbols"), (1, 0, "bars = 0"), (1, 10_000, "bars")]
    {
        let spec = SynthSpec { symbols, bars, interval: interval("1w"), seed: 0 };
        let error = synthesize(spec).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains("is not in 1 to"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(28))]

    /// Every market is sound: complete, consistent, active, on its tick and starting in 2020.
    #[test]
    fn every_market_is_sound(seed in any::<u64>(), which in 0_usize..14) {
        let interval = polybolos_engine::interval::Interval::all().nth(which).unwrap();
        for (symbol, bars) in market(2, 300, interval.name(), seed) {
            prop_assert_eq!(bars.check(), Ok(()));
            let check = check_bars(&symbol, interval, &bars);
            prop_assert!(check.is_clean(), "{:?}", check);
            prop_assert_eq!((check.rows, check.zero_volume), (300, 0));
            prop_assert!(check.first_ms >= START_MS && check.first_ms < START_MS + interval.ms());
            for row in 0..bars.len() {
                prop_assert!(bars.taker_buy_volume[row] <= bars.volume[row]);
                prop_assert!(bars.taker_buy_quote_volume[row] <= bars.quote_volume[row]);
                prop_assert!(bars.trades[row] >= 1.0 && bars.trades[row].fract() == 0.0);
                prop_assert!(bars.close[row].to_string().len() <= 12, "{}", bars.close[row]);
            }
        }
    }
}
