//! Series and conditions as kernels compute them beside the processor's: equal in every bit.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use polybolos_kernels::bits::Bits;
use polybolos_kernels::cuda::{CudaSweep, IndicatorError, indicators};
use polybolos_kernels::evaluate::{Evaluator, Value};
use polybolos_kernels::indicators::by_output;
use polybolos_kernels::precision::Precision;
use polybolos_kernels::sim::SimConfig;
use proptest::prelude::*;

use super::host::{cases, device};
use crate::evaluate::{draw_program, signalling};
use crate::support::random_walk;

const ROOM: u64 = 1 << 28;

/// A walk with holes, and with stretches that do not move.
fn series(len: usize, seed: u64) -> Vec<f64> {
    let mut values = random_walk(len, seed, 0.5).close;
    for t in 0..len {
        if t % 97 == 40 || t % 131 == 7 {
            values[t] = f64::NAN;
        } else if t % 50 > 30 && t > 0 && !values[t - 1].is_nan() {
            values[t] = values[t - 1];
        }
    }
    values
}

#[test]
fn recursive_indicators_have_the_processors_bits() {
    let Some(device) = device(ROOM) else { return };
    for len in [1, 5, 64, 300] {
        let inputs = [series(len, 3), series(len, 4), series(len, 5)];
        for (name, first_period) in [("sma", 1), ("ema", 1), ("rsi", 2), ("atr", 1)] {
            let (def, _) = by_output(name).unwrap();
            let inputs: Vec<&[f64]> = inputs[..def.inputs.len()].iter().map(Vec::as_slice).collect();
            let periods: Vec<u32> = (first_period..40).chain([299, 300, 301]).collect();
            let got = indicators(device.as_ref(), name, &inputs, &periods).unwrap();
            for (&period, got) in periods.iter().zip(&got) {
                let wanted = &def.compute(&inputs, &[f64::from(period)])[0];
                for t in 0..len {
                    assert_eq!(
                        got[t].to_bits(),
                        wanted[t].to_bits(),
                        "{name}({period}) of {len} bars at {t}"
                    );
                }
            }
        }
    }
}

#[test]
fn indicators_that_a_gpu_does_not_compute_are_refused() {
    let Some(device) = device(ROOM) else { return };
    let x = [1.0, 2.0];
    assert_eq!(indicators(device.as_ref(), "adx", &[&x], &[2]), Err(IndicatorError::NotOnDevice));
    assert!(matches!(indicators(device.as_ref(), "rsi", &[&x], &[1]), Err(IndicatorError::Input(_))));
    assert!(matches!(indicators(device.as_ref(), "atr", &[&x], &[2]), Err(IndicatorError::Input(_))));
    assert_eq!(indicators(device.as_ref(), "sma", &[&x], &[]), Ok(Vec::new()));
    assert_eq!(indicators(device.as_ref(), "sma", &[&[]], &[3]), Ok(vec![Vec::new()]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(150), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn signals_of_random_graphs_are_the_evaluators(
        choices in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 1..20),
        len in prop_oneof![1..5_usize, 60..70_usize, 120..200_usize],
        seed in any::<u64>(),
        precision in prop_oneof![Just(Precision::F64), Just(Precision::F32)],
    ) {
        let Some(device) = device(ROOM) else { return Ok(()) };
        let program = signalling(draw_program(&choices)).in_precision(precision);
        let bars = random_walk(len, seed, 1.0);
        let rows = [[0.0, 1.0], [100.0, 1.0], [3.0, -2.0], [0.0, 1.0], [100.0, f64::NAN], [-0.0, 101.0]];
        let config = SimConfig::default();
        let mut sweep = CudaSweep::new(&program, &bars, &config, device, ROOM).unwrap();
        let got = sweep.signals(rows.as_flattened(), rows.len()).unwrap().unwrap();
        let mut evaluator = Evaluator::new(&program, &bars).unwrap();
        let rules = &program.rules;
        let nodes = [rules.long_enter, rules.long_exit, rules.short_enter, rules.short_exit];
        for (row, got) in rows.iter().zip(&got) {
            for (node, got) in nodes.iter().zip(got) {
                let Some(node) = node else {
                    prop_assert!(got.is_none());
                    continue;
                };
                let wanted = match evaluator.value(*node, row).unwrap() {
                    Value::Bits(bits) => bits.as_ref().clone(),
                    Value::Bool(answer) => Bits::constant(len, answer),
                    other => panic!("a condition was expected, not {other:?}"),
                };
                prop_assert_eq!(got.as_ref(), Some(&wanted), "node {:?} for {:?}", node, row);
            }
        }
    }
}
