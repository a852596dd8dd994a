//! The indicators against TA-Lib's numbers, against their formulas, and their two bodies against each other.

#![allow(clippy::unwrap_used, reason = "a failed lookup or parse fails the test")]

use polybolos_kernels::indicators::{INDICATORS, Indicator, ParamKind, by_output};
use proptest::prelude::*;

use crate::indicator_formulas::formula;

/// Bars as the indicators see them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Market {
    pub(crate) high: Vec<f64>,
    pub(crate) low: Vec<f64>,
    pub(crate) close: Vec<f64>,
}

impl Market {
    pub(crate) fn inputs(&self, def: &Indicator) -> Vec<&[f64]> {
        let column = |name: &&str| match *name {
            "high" => self.high.as_slice(),
            "low" => &self.low,
            _ => &self.close,
        };
        def.inputs.iter().map(column).collect()
    }

    /// Bars without a range of their own.
    fn of_closes(close: &[f64]) -> Market {
        Market { high: close.to_vec(), low: close.to_vec(), close: close.to_vec() }
    }
}

fn def(name: &str) -> &'static Indicator {
    INDICATORS.iter().find(|def| def.name == name).unwrap()
}

fn function(name: &str, params: &[f64], market: &Market) -> Vec<f64> {
    let (def, output) = by_output(name).unwrap();
    def.check_params(params).unwrap();
    def.compute(&market.inputs(def), params).swap_remove(output)
}

pub(crate) fn bits(series: &[f64]) -> Vec<u64> {
    series.iter().map(|value| if value.is_nan() { 0x7ff8 << 48 } else { value.to_bits() }).collect()
}

mod golden {
    use super::*;

    /// Key in the file, function, parameters, tolerance relative to the larger of the value and the floor.
    /// The floor of the oscillators is their full scale; that of MACD is the price it is a difference of.
    const ROWS: &[(&str, &str, &[f64], f64, f64)] = &[
        ("SMA20", "sma", &[20.0], 0.0, 0.0),
        ("EMA20", "ema", &[20.0], 1e-15, 0.0),
        ("RSI14", "rsi", &[14.0], 1e-14, 0.0),
        ("MACD", "macd", &[12.0, 26.0, 9.0], 1e-15, 100.0),
        ("MACD_SIGNAL", "macd_signal", &[12.0, 26.0, 9.0], 1e-15, 100.0),
        ("MACD_HIST", "macd_hist", &[12.0, 26.0, 9.0], 1e-15, 100.0),
        ("BBU20_2", "bb_upper", &[20.0, 2.0], 1e-12, 0.0),
        ("BBM20", "bb_middle", &[20.0, 2.0], 0.0, 0.0),
        ("BBL20_2", "bb_lower", &[20.0, 2.0], 1e-12, 0.0),
        ("ATR14", "atr", &[14.0], 1e-14, 0.0),
        ("STOCH_K_14_3_3", "stoch_k", &[14.0, 3.0, 3.0], 1e-15, 100.0),
        ("STOCH_D_14_3_3", "stoch_d", &[14.0, 3.0, 3.0], 1e-15, 100.0),
        ("ADX14", "adx", &[14.0], 1e-14, 0.0),
        ("MOM10", "mom", &[10.0], 0.0, 0.0),
        ("ROC10", "roc", &[10.0], 0.0, 0.0),
    ];

    #[test]
    fn values_and_first_bars_are_talibs() {
        let path = "testdata/indicators-talib-0.8.1.json";
        let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let series = |key: &str| -> Vec<f64> {
            let values = file[key].as_array().unwrap();
            values.iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect()
        };
        let market = Market { high: series("high"), low: series("low"), close: series("close") };
        let columns = ["talib_c", "seed", "open", "high", "low", "close"];
        let known = |key: &String| columns.contains(&key.as_str()) || ROWS.iter().any(|row| row.0 == key);
        assert!(file.as_object().unwrap().keys().all(known), "a series of the file is not tested");

        for &(key, name, params, tolerance, floor) in ROWS {
            let (expected, got) = (series(key), function(name, params, &market));
            let first = expected.iter().position(|value| !value.is_nan()).unwrap();
            assert_eq!((by_output(name).unwrap().0.first)(params), first, "first bar of {name}");
            for t in 0..market.close.len() {
                assert_eq!(got[t].is_nan(), t < first, "{name} at {t}");
                let error = (got[t] - expected[t]).abs();
                let allowed = tolerance * expected[t].abs().max(floor);
                assert!(t < first || error <= allowed, "{name} at {t}: {} for {}", got[t], expected[t]);
            }
        }
    }
}

/// What prices a generated market has.
#[derive(Debug, Clone, Copy)]
enum Prices {
    Walk,
    /// Whole numbers near the tick: masses of exact ties and bars without range.
    Integers,
    /// Long flat stretches with a jump now and then.
    Pauses,
    /// A walk near 1e-8.
    Tiny,
    /// A quiet walk at a high price with one bar in fifty ten times as high.
    Spikes,
}

fn build(prices: Prices, steps: &[(f64, f64)]) -> Market {
    let mut market = Market::default();
    let mut price: f64 = match prices {
        Prices::Tiny => 1e-8,
        Prices::Integers => 6.0,
        Prices::Spikes => 30_000.0,
        Prices::Walk | Prices::Pauses => 100.0,
    };
    for &(step, width) in steps {
        let previous = price;
        let mut close = match prices {
            Prices::Walk | Prices::Tiny => price * (1.0 + 0.03 * step),
            Prices::Integers => (price + (2.4 * step).round()).max(1.0),
            Prices::Pauses if step.abs() < 0.93 => price,
            Prices::Pauses => price * (1.0 + 0.1 * step),
            Prices::Spikes => price * (1.0 + 1e-6 * step),
        };
        price = close;
        if matches!(prices, Prices::Spikes) && step > 0.96 {
            close *= 10.0;
        }
        let range = match prices {
            Prices::Walk | Prices::Tiny => close * 0.01 * width,
            Prices::Integers => (3.0 * width).floor(),
            Prices::Pauses | Prices::Spikes => 0.0,
        };
        market.high.push(close.max(previous) + range);
        market.low.push((close.min(previous) - range).max(close.min(previous) * 0.5));
        market.close.push(close);
    }
    market
}

pub(crate) fn markets(bars: usize) -> impl Strategy<Value = Market> {
    let prices = prop_oneof![
        Just(Prices::Walk),
        Just(Prices::Integers),
        Just(Prices::Pauses),
        Just(Prices::Tiny),
        Just(Prices::Spikes),
    ];
    (prices, prop::collection::vec((-1.0..1.0, 0.0..1.0), 0..bars))
        .prop_map(|(kind, steps)| build(kind, &steps))
}

/// Parameters for any row of the table, drawn from the same few numbers.
fn params(def: &Indicator, periods: [u32; 3], real: f64) -> Vec<f64> {
    let value = |(index, kind)| match kind {
        ParamKind::Period { min } => f64::from(min + periods[index]),
        ParamKind::Real => real,
    };
    def.params.iter().map(|param| param.kind).enumerate().map(value).collect()
}

fn periods() -> impl Strategy<Value = [u32; 3]> {
    let period = || prop_oneof![3 => 0u32..6, 4 => 0u32..40, 1 => 0u32..700];
    [period(), period(), period()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn batch_and_incremental_bodies_give_the_same_bits_and_undefined_input_restarts_them(
        market in markets(1300),
        holes in prop::collection::vec((0usize..1300, 0usize..3), 0..4),
        periods in periods(),
        real in -3.0..3.0,
    ) {
        for def in INDICATORS {
            let params = params(def, periods, real);
            prop_assert_eq!(def.check_params(&params), Ok(()));
            let bars = market.close.len();
            let mut inputs: Vec<Vec<f64>> = market.inputs(def).iter().map(|series| series.to_vec()).collect();
            for &(bar, input) in holes.iter().filter(|hole| hole.0 < bars) {
                let index = input % inputs.len();
                inputs[index][bar] = if bar % 2 == 0 { f64::NAN } else { f64::INFINITY };
            }
            let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
            let batch = def.compute(&slices, &params);

            let mut stream = def.start(&params);
            let mut outputs = vec![0.0; def.outputs.len()];
            for t in 0..bars {
                let bar: Vec<f64> = inputs.iter().map(|series| series[t]).collect();
                stream.push(&bar, &mut outputs);
                for (output, series) in batch.iter().enumerate() {
                    prop_assert_eq!(
                        bits(&outputs[output..=output]), bits(&series[t..=t]),
                        "{} {:?} at {}: incremental {}, batch {}", def.name, &params, t, outputs[output], series[t]
                    );
                }
            }

            let mut start = 0;
            for t in 0..=bars {
                let hole = t == bars || inputs.iter().any(|series| !series[t].is_finite());
                if !hole {
                    continue;
                }
                let run: Vec<&[f64]> = inputs.iter().map(|series| &series[start..t]).collect();
                let alone = def.compute(&run, &params);
                for (series, alone) in batch.iter().zip(&alone) {
                    prop_assert_eq!(bits(&series[start..t]), bits(alone), "{} from {}", def.name, start);
                    prop_assert!(t == bars || series[t].is_nan());
                    let first = (def.first)(&params);
                    for (bar, value) in alone.iter().enumerate() {
                        prop_assert_eq!(value.is_finite(), bar >= first, "{} {:?} at {}", def.name, &params, bar);
                    }
                }
                start = t + 1;
            }
        }
    }

    #[test]
    fn bands_are_the_average_and_the_deviation_to_the_bit(
        market in markets(1300), n in 2u32..60, k in -3.0..3.0,
    ) {
        let n = f64::from(n);
        let (mean, deviation) = (function("sma", &[n], &market), function("stddev", &[n], &market));
        prop_assert_eq!(bits(&function("bb_middle", &[n, k], &market)), bits(&mean));
        let band = |side: f64| -> Vec<f64> {
            mean.iter().zip(&deviation).map(|(mean, deviation)| mean + side * (k * deviation)).collect()
        };
        prop_assert_eq!(bits(&function("bb_upper", &[n, k], &market)), bits(&band(1.0)));
        prop_assert_eq!(bits(&function("bb_lower", &[n, k], &market)), bits(&band(-1.0)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn values_follow_the_formulas(market in markets(700), periods in periods(), real in -3.0..3.0) {
        for def in INDICATORS {
            let params = params(def, periods, real);
            for (output, name) in def.outputs.iter().enumerate() {
                let got = &def.compute(&market.inputs(def), &params)[output];
                let expected = formula(name, &market, &params);
                prop_assert_eq!(got.len(), expected.values.len());
                for (t, (&got, &value)) in got.iter().zip(&expected.values).enumerate() {
                    let close = (got - value).abs() <= expected.relative * value.abs() + expected.absolute;
                    prop_assert!(
                        close || (got.is_nan() && value.is_nan()),
                        "{} {:?} at {}: {} for {}", name, &params, t, got, value
                    );
                }
            }
        }
    }
}

#[test]
fn flat_market_has_neither_strength_nor_width() {
    let market = Market::of_closes(&[0.1; 600]);
    for (name, params) in [
        ("rsi", [14.0].as_slice()),
        ("mom", &[10.0]),
        ("roc", &[10.0]),
        ("stddev", &[20.0]),
        ("atr", &[14.0]),
        ("stoch_k", &[14.0, 3.0, 3.0]),
        ("stoch_d", &[14.0, 3.0, 3.0]),
        ("adx", &[14.0]),
        ("plus_di", &[14.0]),
        ("minus_di", &[14.0]),
    ] {
        let series = function(name, params, &market);
        let first = (by_output(name).unwrap().0.first)(params);
        assert!(series[first..].iter().all(|&value| value == 0.0), "{name}");
    }
    let band = |name| bits(&function(name, &[20.0, 2.0], &market));
    assert_eq!(band("bb_upper"), band("bb_lower"));
}

#[test]
fn steady_rise_is_full_strength() {
    let market = Market::of_closes(&(1..=80).map(f64::from).collect::<Vec<_>>());
    for (name, expected) in [("rsi", 100.0), ("adx", 100.0), ("plus_di", 100.0), ("minus_di", 0.0)] {
        assert_eq!(function(name, &[5.0], &market)[40], expected, "{name}");
    }
    assert_eq!(function("stoch_k", &[5.0, 1.0, 1.0], &market)[40], 100.0);
    assert_eq!(function("atr", &[5.0], &market)[5], 1.0);
}

#[test]
fn first_index_of_each_function_for_common_periods() {
    for (name, params, first) in [
        ("sma", [20.0].as_slice(), 19),
        ("ema", &[20.0], 19),
        ("rsi", &[14.0], 14),
        ("mom", &[10.0], 10),
        ("roc", &[10.0], 10),
        ("stddev", &[20.0], 19),
        ("highest", &[20.0], 19),
        ("lowest", &[20.0], 19),
        ("macd", &[12.0, 26.0, 9.0], 33),
        ("macd_hist", &[26.0, 12.0, 9.0], 33),
        ("bb_upper", &[20.0, 2.0], 19),
        ("atr", &[14.0], 14),
        ("stoch_k", &[14.0, 3.0, 3.0], 17),
        ("stoch_d", &[5.0, 1.0, 1.0], 4),
        ("adx", &[14.0], 27),
        ("plus_di", &[14.0], 14),
        ("minus_di", &[1.0], 1),
    ] {
        assert_eq!((by_output(name).unwrap().0.first)(params), first, "{name} {params:?}");
    }
}

#[test]
fn one_bar_of_a_price_is_that_price_to_the_bit() {
    let closes: Vec<f64> =
        (0..50).map(|t| if t % 9 == 4 { 3e5 } else { 0.1 + 1.0 / f64::from(t + 3) }).collect();
    for name in ["ema", "highest", "lowest"] {
        assert_eq!(bits(&function(name, &[1.0], &Market::of_closes(&closes))), bits(&closes), "{name}");
    }
    let line = |name| bits(&function(name, &[3.0, 8.0, 1.0], &Market::of_closes(&closes)));
    assert_eq!(line("macd"), line("macd_signal"));
}

#[test]
fn rate_of_change_from_zero_is_zero() {
    let market = Market::of_closes(&[0.0, 2.0, -0.0, 3.0]);
    assert_eq!(function("roc", &[1.0], &market)[1..], [0.0, -100.0, 0.0]);
}

#[test]
fn macd_takes_its_averages_in_either_order() {
    let market =
        build(Prices::Walk, &(0..90).map(|t| (f64::from(t * 7 % 13) / 7.0 - 0.9, 0.5)).collect::<Vec<_>>());
    for name in ["macd", "macd_signal", "macd_hist"] {
        let in_order = function(name, &[5.0, 17.0, 4.0], &market);
        assert!(in_order[19].is_finite());
        assert_eq!(bits(&in_order), bits(&function(name, &[17.0, 5.0, 4.0], &market)), "{name}");
    }
}

#[test]
fn adx_without_movement_counts_zero_in_the_seed_and_is_carried_afterwards() {
    let market = Market::of_closes(&[5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 6.0, 6.0, 5.0]);
    let expected = [0.0, 0.0, 0.0, 50.0, 75.0];
    assert_eq!(function("adx", &[2.0], &market)[3..8], expected);
    let late = Market::of_closes(&[5.0, 5.0, 5.0, 6.0]);
    assert_eq!(function("adx", &[2.0], &late)[3], 50.0, "one bar of the seed moved, one did not");
    // Over two bars the sums halve at every flat bar and reach 0 within 1,100 of them.
    let mut closes = vec![5.0, 6.0, 7.0, 8.0];
    closes.resize(1300, 8.0);
    assert_eq!(function("adx", &[2.0], &Market::of_closes(&closes))[1299], 100.0);
}

#[test]
fn directional_indicator_over_one_bar_is_a_plain_ratio() {
    let market = Market { high: vec![10.0, 12.0], low: vec![9.0, 10.0], close: vec![9.5, 11.0] };
    assert_eq!(function("plus_di", &[1.0], &market)[1], 2.0 / 2.5);
    assert_eq!(function("minus_di", &[1.0], &market)[1], 0.0);
}

#[test]
fn deviation_of_a_quiet_window_survives_what_came_before() {
    let quiet = |t: u32| 30_000.0 + f64::from(t % 3) * 1e-4;
    for before in [1.0, 29_000.0, 1e9] {
        let closes: Vec<f64> = (0..900).map(|t| if t == 600 { before } else { quiet(t) }).collect();
        let series = function("stddev", &[30.0], &Market::of_closes(&closes));
        // 30,000 and two prices 1e-4 and 2e-4 above it, each ten times, as far as f64 holds them.
        let expected = formula("stddev", &Market::of_closes(&closes[640..670]), &[30.0]).values[29];
        assert!((expected - 1e-4 * (2.0f64 / 3.0).sqrt()).abs() < 1e-9);
        for value in &series[630..] {
            assert!((value - expected).abs() <= 1e-11 * expected, "{value} for {expected} after {before}");
        }
    }
}

#[test]
fn flat_window_has_no_deviation_at_all_whatever_its_price_and_length() {
    for price in [0.1, 0.3, 1.7e-8, 29_999.37] {
        for n in [2, 3, 7, 20, 77, 333, 600] {
            let mut closes = vec![1e9, 3.0, 0.7];
            closes.resize(700, price);
            let series = function("stddev", &[f64::from(n)], &Market::of_closes(&closes));
            assert!(series[n as usize + 2..].iter().all(|&value| value == 0.0), "{n} bars at {price}");
        }
    }
}

#[test]
fn window_longer_than_the_data_defines_nothing() {
    for bars in 0..3 {
        let market = Market::of_closes(&vec![1.0; bars]);
        for def in INDICATORS {
            let params = params(def, [999_000, 999_000, 999_000], 1.0);
            let series = def.compute(&market.inputs(def), &params);
            assert!(series.iter().all(|series| series.len() == bars && series.iter().all(|v| v.is_nan())));
        }
    }
    assert_eq!(def("highest").compute(&[&[-0.0]], &[1.0])[0][0].to_bits(), 0.0f64.to_bits());
}
