//! Signals in `f32`: every number of theirs is one, and nothing else is.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use polybolos_kernels::bars::{Bars, Column};
use polybolos_kernels::evaluate::{Evaluator, ScalarValue, Value, scalar};
use polybolos_kernels::indicators::by_output;
use polybolos_kernels::precision::Precision;
use polybolos_kernels::program::{NodeId, Op, Program, ProgramBuilder, Rules};
use polybolos_kernels::sim::{SimConfig, Trade};
use polybolos_kernels::sweep::Sweep;
use proptest::prelude::*;

use crate::support::{closes, constant, long_rules, random_walk, sma_cross};

fn push(b: &mut ProgramBuilder, op: Op, args: &[NodeId]) -> NodeId {
    b.push(op, args, 0).unwrap()
}

fn close(b: &mut ProgramBuilder) -> NodeId {
    push(b, Op::Column(Column::Close), &[])
}

/// A long-only strategy that leaves as soon as it does not want to enter.
fn holding(mut b: ProgramBuilder, enter: NodeId) -> Program {
    let exit = push(&mut b, Op::Not, &[enter]);
    let rules: Rules = long_rules(&mut b, enter, exit);
    b.finish(rules)
}

/// The bars on which the entry condition is TRUE.
fn entries(program: &Program, bars: &Bars, params: &[f64]) -> Vec<usize> {
    let mut evaluator = Evaluator::new(program, bars).unwrap();
    match evaluator.value(program.rules.long_enter.unwrap(), params).unwrap() {
        Value::Bits(bits) => (0..bars.len()).filter(|&t| bits.get(t) == Some(true)).collect(),
        other => panic!("a condition per bar was expected, not {other:?}"),
    }
}

/// `f32` numbers of every kind: patterns of bits, and neighbours of 1, of the least normal and of the largest number.
fn any_single() -> impl Strategy<Value = f32> {
    let near =
        |around: f32| (-4..=4_i32).prop_map(move |k| f32::from_bits(around.to_bits().wrapping_add_signed(k)));
    prop_oneof![
        8 => any::<u32>().prop_map(f32::from_bits),
        2 => near(1.0),
        2 => near(f32::MIN_POSITIVE),
        1 => near(f32::MAX),
        2 => (1..1_u32 << 12).prop_map(f32::from_bits),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_operation_on_f32_numbers_is_the_processors_f32_operation(a in any_single(), b in any_single()) {
        let operations: [(Op, f32); 9] = [
            (Op::Add, a + b),
            (Op::Sub, a - b),
            (Op::Mul, a * b),
            (Op::Div, a / b),
            (Op::Rem, a % b),
            (Op::Sqrt, a.sqrt()),
            (Op::Neg, -a),
            (Op::Abs, a.abs()),
            (Op::Ln, libm::log(f64::from(a)) as f32),
        ];
        for (op, wanted) in operations {
            let mut builder = ProgramBuilder::new(2);
            let mut args = vec![push(&mut builder, Op::Param(0), &[]), push(&mut builder, Op::Param(1), &[])];
            if matches!(op, Op::Sqrt | Op::Neg | Op::Abs | Op::Ln) {
                args.truncate(1);
            }
            let result = push(&mut builder, op, &args);
            let zero = constant(&mut builder, 0.0);
            let enter = push(&mut builder, Op::Ge, &[result, zero]);
            let program = holding(builder, enter).in_precision(Precision::F32);
            let operand = program.node(program.rules.long_enter.unwrap()).args[0];
            let got = scalar(&program, operand, &[f64::from(a), f64::from(b)]).unwrap();
            // An operand that is not finite is undefined before the operation.
            let is_defined = wanted.is_finite() && a.is_finite() && (args.len() == 1 || b.is_finite());
            match got {
                ScalarValue::Number(got) if is_defined => {
                    prop_assert_eq!(got.to_bits(), f64::from(wanted).to_bits(), "{:?} {} {}", op, a, b);
                }
                got => prop_assert!(matches!(got, ScalarValue::Number(got) if got.is_nan()) && !is_defined),
            }
        }
    }
}

/// A constant that no `f32` holds: rounded, it is the larger.
const TENTH: f64 = 0.1;

#[test]
fn columns_constants_parameters_and_outputs_are_rounded_before_they_are_compared() {
    let rounded = f64::from(TENTH as f32);
    assert!(rounded > TENTH);
    let between = f64::midpoint(TENTH, rounded);
    let bars = closes(&[TENTH, between, rounded, rounded * 1.01]);
    for (name, has_param, bars_in_f64, bars_in_f32) in
        [("a constant", false, vec![1, 2, 3], vec![3]), ("a parameter", true, vec![1, 2, 3], vec![3])]
    {
        let mut b = ProgramBuilder::new(1);
        let price = close(&mut b);
        let level = if has_param { push(&mut b, Op::Param(0), &[]) } else { constant(&mut b, TENTH) };
        let enter = push(&mut b, Op::Gt, &[price, level]);
        let program = holding(b, enter);
        assert_eq!(entries(&program, &bars, &[TENTH]), bars_in_f64, "{name}");
        assert_eq!(entries(&program.in_precision(Precision::F32), &bars, &[TENTH]), bars_in_f32, "{name}");
    }
    // The average of one bar is that bar: an output, rounded as the column is.
    let mut b = ProgramBuilder::new(0);
    let (price, one) = (close(&mut b), constant(&mut b, 1.0));
    let (sma, output) = by_output("sma").unwrap();
    let bundle = push(&mut b, Op::Indicator(sma), &[price, one]);
    let average = push(&mut b, Op::Output(output as u8), &[bundle]);
    let level = constant(&mut b, TENTH);
    let enter = push(&mut b, Op::Eq, &[average, level]);
    let program = holding(b, enter);
    assert_eq!(entries(&program, &bars, &[]), [0]);
    assert_eq!(entries(&program.in_precision(Precision::F32), &bars, &[]), [0, 1, 2]);
}

#[test]
fn what_an_indicator_reads_stays_f64() {
    // Changes of 1 beside prices of 100 million, where neighbouring f32 numbers are 8 apart.
    let bars = closes(&[1e8, 1e8 + 1.0, 1e8 + 3.0, 1e8 + 2.0, 1e8 + 5.0, 1e8 + 5.0]);
    let mut b = ProgramBuilder::new(0);
    let (price, one) = (close(&mut b), constant(&mut b, 1.0));
    let before = push(&mut b, Op::Lag, &[price, one]);
    let change = push(&mut b, Op::Sub, &[price, before]);
    let (sma, output) = by_output("sma").unwrap();
    let bundle = push(&mut b, Op::Indicator(sma), &[change, one]);
    let inside = push(&mut b, Op::Output(output as u8), &[bundle]);
    let zero = constant(&mut b, 0.0);
    let rises = |argument: NodeId, mut b: ProgramBuilder| {
        let enter = push(&mut b, Op::Gt, &[argument, zero]);
        holding(b, enter).in_precision(Precision::F32)
    };
    assert_eq!(entries(&rises(inside, b), &bars, &[]), [1, 2, 4], "the average of changes");
    let mut b = ProgramBuilder::new(0);
    let (price, one) = (close(&mut b), constant(&mut b, 1.0));
    let before = push(&mut b, Op::Lag, &[price, one]);
    let change = push(&mut b, Op::Sub, &[price, before]);
    let zero = constant(&mut b, 0.0);
    let enter = push(&mut b, Op::Gt, &[change, zero]);
    let program = holding(b, enter);
    assert_eq!(entries(&program, &bars, &[]), [1, 2, 4]);
    assert_eq!(
        entries(&program.in_precision(Precision::F32), &bars, &[]),
        [4],
        "the change of rounded prices"
    );
}

#[test]
fn a_number_beyond_the_range_of_f32_is_undefined() {
    let bars = closes(&[1.0, 1e30, 3e38, 4e38, 1e300]);
    let mut b = ProgramBuilder::new(0);
    let (price, zero) = (close(&mut b), constant(&mut b, 0.0));
    let enter = push(&mut b, Op::Gt, &[price, zero]);
    let program = holding(b, enter);
    assert_eq!(entries(&program, &bars, &[]), [0, 1, 2, 3, 4]);
    assert_eq!(entries(&program.in_precision(Precision::F32), &bars, &[]), [0, 1, 2]);
    // A result beyond it, of numbers within.
    let mut b = ProgramBuilder::new(0);
    let (price, zero) = (close(&mut b), constant(&mut b, 0.0));
    let square = push(&mut b, Op::Mul, &[price, price]);
    let enter = push(&mut b, Op::Ge, &[square, zero]);
    let program = holding(b, enter).in_precision(Precision::F32);
    assert_eq!(entries(&program, &bars, &[]), [0]);
}

#[test]
fn rules_that_are_not_signals_stay_f64() {
    let mut b = ProgramBuilder::new(1);
    let (price, stop) = (close(&mut b), push(&mut b, Op::Param(0), &[]));
    let enter = push(&mut b, Op::Gt, &[price, stop]);
    let mut program = holding(b, enter);
    program.rules.stop_loss = Some(stop);
    let single = program.in_precision(Precision::F32);
    assert_ne!(single.rules.long_enter, program.rules.long_enter);
    assert_eq!(scalar(&single, single.rules.stop_loss.unwrap(), &[TENTH]), Ok(ScalarValue::Number(TENTH)));
}

#[test]
fn a_program_says_its_precision_and_is_put_into_it_once() {
    let mut b = ProgramBuilder::new(0);
    let (price, one) = (close(&mut b), constant(&mut b, 1.0));
    let enter = push(&mut b, Op::Gt, &[price, one]);
    let wide = holding(b, enter);
    let single = wide.in_precision(Precision::F32);
    assert_eq!((wide.precision(), single.precision()), (Precision::F64, Precision::F32));
    assert_eq!(wide.in_precision(Precision::F64), wide);
    assert_eq!(single.in_precision(Precision::F32), single);
    // The language's builder does not make such nodes, so that a graph is in one precision or the other.
    let mut b = ProgramBuilder::new(0);
    let price = close(&mut b);
    assert!(b.push(Op::Single, &[price], 0).is_err());
}

#[test]
fn precisions_have_names() {
    for precision in [Precision::F64, Precision::F32] {
        assert_eq!(precision.to_string().parse(), Ok(precision));
    }
    let error = "f16".parse::<Precision>().unwrap_err().to_string();
    assert_eq!(error, "`f16` is not a precision; write f64 or f32");
}

/// Long between the crosses of two averages (parameters 0 and 1), both moved by as much.
fn moved_cross(by: f64) -> Program {
    let mut b = ProgramBuilder::new(2);
    let (sma, output) = by_output("sma").unwrap();
    let (price, moved) = (close(&mut b), constant(&mut b, by));
    let [fast, slow] = [0, 1].map(|param| {
        let period = push(&mut b, Op::Param(param), &[]);
        let bundle = push(&mut b, Op::Indicator(sma), &[price, period]);
        let average = push(&mut b, Op::Output(output as u8), &[bundle]);
        push(&mut b, Op::Add, &[average, moved])
    });
    let enter = push(&mut b, Op::CrossesAbove, &[fast, slow]);
    let exit = push(&mut b, Op::CrossesBelow, &[fast, slow]);
    let rules = long_rules(&mut b, enter, exit);
    b.finish(rules)
}

/// Neighbouring `f32` numbers are 1/16 apart where the averages are compared: because prices are there, or because arithmetic
/// takes them there. A block, whose signals come tile by tile, and the long way, whose signals come whole, agree on it.
#[test]
fn trades_differ_where_a_signal_hangs_on_less_than_f32_can_tell() {
    let near = random_walk(5_000, 11, 0.01);
    let mut far = near.clone();
    for prices in [&mut far.open, &mut far.high, &mut far.low, &mut far.close] {
        prices.iter_mut().for_each(|price| *price += 1e6);
    }
    for (name, bars, program) in [("prices", far, sma_cross()), ("arithmetic", near, moved_cross(1e6))] {
        let trades = |precision: Precision| -> Vec<Trade> {
            let program = program.in_precision(precision);
            let mut sweep = Sweep::new(&program, &bars, &SimConfig::default()).unwrap();
            let run = sweep.run(&[3.0, 5.0]).unwrap();
            assert_eq!(run.stats.trades, run.trades.len() as u64, "{name} in {precision}");
            assert_eq!(Some(run.stats.final_equity), run.equity.last().copied(), "{name} in {precision}");
            run.trades
        };
        let (wide, single) = (trades(Precision::F64), trades(Precision::F32));
        assert!(wide.len() > 200 && single.len() > 200, "{name}");
        let bars_of = |trade: &Trade| (trade.entry_bar, trade.exit_bar);
        let kept: Vec<_> = single.iter().map(bars_of).collect();
        let common = wide.iter().filter(|trade| kept.contains(&bars_of(trade))).count();
        assert!(common > 0 && common < wide.len(), "{name}: {common} of {}", wide.len());
    }
}
