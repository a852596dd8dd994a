//! Many parameter sets in one pass, on every instruction set, against the incremental bodies: the same bits.

#![allow(clippy::unwrap_used, reason = "a failed check fails the test")]

use polybolos_kernels::indicators::{INDICATORS, Indicator, ParamKind};
use polybolos_kernels::series::{Buffers, Series};
use polybolos_kernels::simd::Isa;
use proptest::prelude::*;

use crate::indicators::{Market, bits, markets};

/// The incremental body on every bar: one series per output.
fn streamed(def: &'static Indicator, inputs: &[&[f64]], params: &[f64]) -> Vec<Vec<f64>> {
    let mut stream = def.start(params);
    let mut values = vec![0.0; def.outputs.len()];
    let mut series = vec![Vec::new(); def.outputs.len()];
    for t in 0..inputs[0].len() {
        let bar: Vec<f64> = inputs.iter().map(|input| input[t]).collect();
        stream.push(&bar, &mut values);
        for (series, &value) in series.iter_mut().zip(&values) {
            series.push(value);
        }
    }
    series
}

/// Holds every instruction set to the incremental body, values and words, in fresh memory and in used one.
fn check(def: &'static Indicator, inputs: &[&[f64]], sets: &[Vec<f64>]) -> Result<(), TestCaseError> {
    let expected: Vec<Vec<Vec<f64>>> = sets.iter().map(|params| streamed(def, inputs, params)).collect();
    let mut buffers = Buffers::new();
    for isa in Isa::ALL {
        let computed = def.compute_many_in(isa, inputs, sets, &mut buffers);
        prop_assert_eq!(computed.len(), sets.len());
        for ((params, expected), computed) in sets.iter().zip(&expected).zip(computed) {
            prop_assert_eq!(computed.len(), def.outputs.len());
            for ((name, expected), series) in def.outputs.iter().zip(expected).zip(computed) {
                let differs = bits(expected).iter().zip(bits(&series)).position(|(a, b)| *a != b);
                prop_assert_eq!(differs, None, "{} {:?} on {}, first bar that differs", name, params, isa);
                prop_assert_eq!(series.len(), expected.len());
                let words = Series::new(expected.clone());
                prop_assert_eq!(
                    series.defined_words(),
                    words.defined_words(),
                    "{} {:?} {}",
                    name,
                    params,
                    isa
                );
                buffers.recycle(series);
            }
        }
    }
    Ok(())
}

/// Parameter sets of an indicator from three periods and a number each; periods below the smallest are raised to it.
fn sets_of(def: &Indicator, draws: &[([u32; 3], f64)]) -> Vec<Vec<f64>> {
    let value = |kind, period: u32, real| match kind {
        ParamKind::Period { min } => f64::from(period.max(min)),
        ParamKind::Real => real,
    };
    let set = |(periods, real): &([u32; 3], f64)| {
        def.params.iter().zip(periods).map(|(param, &period)| value(param.kind, period, *real)).collect()
    };
    draws.iter().map(set).collect()
}

fn draws(most: usize) -> impl Strategy<Value = Vec<([u32; 3], f64)>> {
    let period = || prop_oneof![4 => 1u32..8, 4 => 1u32..60, 2 => 1u32..300, 1 => 1u32..2500];
    prop::collection::vec(([period(), period(), period()], prop_oneof![Just(2.0), -3.0..3.0]), 0..most)
}

/// Inputs with holes of the given places and lengths, and with prices multiplied so far that sums overflow or fall
/// below the normal numbers.
fn inputs_of(def: &Indicator, market: &Market, scale: f64, holes: &[(usize, usize, usize)]) -> Vec<Vec<f64>> {
    let mut inputs: Vec<Vec<f64>> =
        market.inputs(def).iter().map(|series| series.iter().map(|x| x * scale).collect()).collect();
    for &(bar, length, input) in holes {
        let series = input % inputs.len();
        let hole = inputs[series].iter_mut().skip(bar).take(length);
        hole.for_each(|value| *value = if bar % 3 == 0 { f64::NEG_INFINITY } else { f64::NAN });
    }
    inputs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn many_parameter_sets_give_the_bits_of_the_incremental_body(
        market in markets(6000),
        draws in draws(45),
        scale in prop_oneof![8 => Just(1.0), 1 => Just(1e305), 1 => Just(1e85), 1 => Just(1e-306)],
        holes in prop::collection::vec((0usize..6000, 1usize..200, 0usize..3), 0..3),
    ) {
        for def in INDICATORS {
            let inputs = inputs_of(def, &market, scale, &holes);
            let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
            check(def, &slices, &sets_of(def, &draws))?;
        }
    }

    #[test]
    fn few_bars_and_long_warm_ups_give_the_bits_of_the_incremental_body(
        market in markets(40), draws in draws(12), holes in prop::collection::vec((0usize..40, 1usize..4, 0usize..3), 0..3),
    ) {
        for def in INDICATORS {
            let inputs = inputs_of(def, &market, 1.0, &holes);
            let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
            check(def, &slices, &sets_of(def, &draws))?;
        }
    }
}

/// A walk of `bars` bars that stands still for the given share of its second half.
fn long_market(bars: usize, still: usize) -> Market {
    let mut market = Market::default();
    let (mut price, mut state) = (100.0, 7_u64);
    for t in 0..bars {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = (state >> 40) as f64 / (1_u64 << 24) as f64 - 0.5;
        if t < bars / 2 || t > bars / 2 + still {
            price *= 1.0 + 0.01 * draw;
        }
        market.high.push(price * (1.0 + 0.001 * draw.abs()));
        market.low.push(price * (1.0 - 0.002 * draw.abs()));
        market.close.push(price);
    }
    market
}

/// Long enough for eight stretches of time under every one of these parameters, and with a pause in which a guessed start
/// and the true one never meet.
#[test]
fn stretches_of_a_long_series_give_the_bits_of_the_incremental_body() {
    for market in [long_market(60_000, 0), long_market(60_000, 25_000)] {
        for def in INDICATORS {
            for draw in [([2, 3, 2], 2.0), ([14, 26, 9], 2.0), ([33, 5, 20], -1.5)] {
                check(def, &market.inputs(def), &sets_of(def, &[draw])).unwrap();
            }
        }
    }
}

/// Series long enough for the bodies that take a single parameter set in one pass and look at the inputs on the way, of which one
/// number is not what they are made for: wherever it is, somebody has to see it.
#[test]
fn a_single_set_in_one_pass_gives_the_bits_of_the_incremental_body_whatever_one_number_is() {
    let cases: [(&str, usize, &[&[f64]]); 3] = [
        ("atr", 280_003, &[&[14.0], &[1.0], &[700.0]]),
        ("bollinger", 13_999, &[&[20.0, 2.0], &[600.0, -1.5], &[2.0, 1e200]]),
        ("stochastic", 5_003, &[&[14.0, 3.0, 3.0], &[1.0, 1.0, 40.0]]),
    ];
    for (name, bars, sets) in cases {
        let def = INDICATORS.iter().find(|def| def.name == name).unwrap();
        let market = long_market(bars, bars / 3);
        for params in sets {
            let params = [params.to_vec()];
            check(def, &market.inputs(def), &params).unwrap();
            for at in [0, 13, 600, bars / 3, bars / 2, bars - 600, bars - 213, bars - 1] {
                for (input, odd) in [f64::NAN, 1e200, f64::INFINITY, 1e308].into_iter().enumerate() {
                    let mut inputs: Vec<Vec<f64>> =
                        market.inputs(def).into_iter().map(<[f64]>::to_vec).collect();
                    let count = inputs.len();
                    inputs[(input + at) % count][at] = odd;
                    let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
                    check(def, &slices, &params).unwrap();
                }
            }
        }
    }
}

/// The stochastic's own pass over short windows and averages, and the passes on either side of its limits, of prices full of ties.
#[test]
fn a_single_stochastic_gives_the_bits_of_the_incremental_body_on_either_side_of_every_limit() {
    let def = INDICATORS.iter().find(|def| def.name == "stochastic").unwrap();
    let mut market = long_market(192 + 6 * 512 + 17, 700);
    for prices in [&mut market.high, &mut market.low, &mut market.close] {
        prices.iter_mut().for_each(|price| *price = price.round());
    }
    // In a window without a range the raw line is 0 whatever the close: a close that is no number has to be seen by itself.
    for at in (2_740..2_752).chain([192, 700]) {
        let mut close = market.close.clone();
        close[at] = f64::NAN;
        let inputs = [&market.high, &market.low, &close].map(|input| &input[..2_752]);
        check(def, &inputs, &[vec![2.0, 3.0, 3.0]]).unwrap();
    }
    let all = market.inputs(def);
    let check_first = |bars: usize, params: [f64; 3]| {
        let inputs: Vec<&[f64]> = all.iter().map(|input| &input[..bars]).collect();
        check(def, &inputs, &[params.to_vec()]).unwrap();
    };
    for k in 1..=17 {
        for (sk, sd) in [(3, 3), (1, 48), (48, 1)] {
            check_first(192 + 5 * 512, [f64::from(k), f64::from(sk), f64::from(sd)]);
        }
    }
    for (sk, sd) in [(1, 1), (48, 48), (49, 2), (2, 49)] {
        for bars in [2_239, 2_240, 2_241, 192 + 5 * 512 - 1, 192 + 5 * 512 + 1, 192 + 6 * 512 + 17] {
            check_first(bars, [14.0, f64::from(sk), f64::from(sd)]);
        }
    }
}
