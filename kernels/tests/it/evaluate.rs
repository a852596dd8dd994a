//! Values of nodes: worked by hand, and random graphs beside a direct reading of the operations' definitions.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use polybolos_kernels::bars::{Bars, Column};
use polybolos_kernels::bits::Bits;
use polybolos_kernels::evaluate::{EvalError, Evaluator, ScalarValue, Scalars, Value, scalar};
use polybolos_kernels::frames::{Frame, FrameError, span_start_ms};
use polybolos_kernels::indicators::by_output;
use polybolos_kernels::precision::Precision;
use polybolos_kernels::program::{NodeId, Op, Program, ProgramBuilder, Shape, Type};
use proptest::prelude::*;

use crate::support::{HOUR_MS, closes, constant, hourly, long_rules, random_walk};

/// Ends a builder with rules nobody runs.
fn finish(mut builder: ProgramBuilder) -> Program {
    let zero = constant(&mut builder, 0.0);
    let never = builder.push(Op::Lt, &[zero, zero], 0).unwrap();
    let rules = long_rules(&mut builder, never, never);
    builder.finish(rules)
}

fn push(builder: &mut ProgramBuilder, op: Op, args: &[NodeId]) -> NodeId {
    builder.push(op, args, 0).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Series(series) => series.to_vec(),
        other => panic!("a number series was expected, not {other:?}"),
    }
}

fn answers(value: &Value) -> Vec<Option<bool>> {
    match value {
        Value::Bits(bits) => (0..bits.len()).map(|t| bits.get(t)).collect(),
        other => panic!("a boolean series was expected, not {other:?}"),
    }
}

/// Equal, undefined being equal to itself.
fn assert_numbers(got: &[f64], wanted: &[f64]) {
    assert_eq!(got.len(), wanted.len());
    for (t, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!(got == wanted || (got.is_nan() && wanted.is_nan()), "bar {t}: {got}, not {wanted}");
    }
}

const U: f64 = f64::NAN;
const T: Option<bool> = Some(true);
const F: Option<bool> = Some(false);
const N: Option<bool> = None;

#[test]
fn arithmetic_without_a_finite_result_is_undefined() {
    let mut b = ProgramBuilder::new(1);
    let param = push(&mut b, Op::Param(0), &[]);
    let two = constant(&mut b, 2.0);
    let nodes = [
        (push(&mut b, Op::Div, &[two, param]), [U, 2.0, -2.0]),
        (push(&mut b, Op::Rem, &[two, param]), [U, 0.0, 0.0]),
        (push(&mut b, Op::Sqrt, &[param]), [0.0, 1.0, U]),
        (push(&mut b, Op::Ln, &[param]), [U, 0.0, U]),
        (push(&mut b, Op::Least, &[two, param]), [0.0, 1.0, -1.0]),
        (push(&mut b, Op::Greatest, &[two, param]), [2.0, 2.0, 2.0]),
        (push(&mut b, Op::Neg, &[param]), [0.0, -1.0, 1.0]),
        (push(&mut b, Op::Abs, &[param]), [0.0, 1.0, 1.0]),
    ];
    let program = finish(b);
    for (node, wanted) in nodes {
        for (param, wanted) in [0.0, 1.0, -1.0].into_iter().zip(wanted) {
            let ScalarValue::Number(got) = scalar(&program, node, &[param]).unwrap() else {
                panic!("number")
            };
            assert_numbers(&[got], &[wanted]);
        }
    }
    let overflow = {
        let mut b = ProgramBuilder::new(0);
        let big = constant(&mut b, 1000.0);
        let node = push(&mut b, Op::Exp, &[big]);
        scalar(&finish(b), node, &[]).unwrap()
    };
    assert!(matches!(overflow, ScalarValue::Number(value) if value.is_nan()));
}

/// Builds closes that are undefined where `values` is: `0 / 0` there.
fn series_of(b: &mut ProgramBuilder) -> NodeId {
    // Closes of 1 stand for undefined: x / (x <> 1 ? 1 : 0).
    let close = push(b, Op::Column(Column::Close), &[]);
    let one = constant(b, 1.0);
    let zero = constant(b, 0.0);
    let hole = push(b, Op::Eq, &[close, one]);
    let divisor = push(b, Op::Case, &[hole, zero, one]);
    push(b, Op::Div, &[close, divisor])
}

#[test]
fn a_cross_needs_all_four_values() {
    let mut b = ProgramBuilder::new(0);
    let x = series_of(&mut b);
    let five = constant(&mut b, 5.0);
    let above = push(&mut b, Op::CrossesAbove, &[x, five]);
    let below = push(&mut b, Op::CrossesBelow, &[x, five]);
    let constants = push(&mut b, Op::CrossesAbove, &[five, five]);
    let program = finish(b);
    //                    9  4  6  5  4  5  6  ?  9  4  ?
    let bars = closes(&[9.0, 4.0, 6.0, 5.0, 4.0, 5.0, 6.0, 1.0, 9.0, 4.0, 1.0]);
    let mut evaluator = Evaluator::new(&program, &bars).unwrap();
    let values = evaluator.values(&[above, below, constants], &[]).unwrap();
    assert_eq!(answers(&values[0]), [N, F, T, F, F, F, T, N, N, F, N]);
    assert_eq!(answers(&values[1]), [N, T, F, F, T, F, F, N, N, T, N]);
    assert_eq!(answers(&values[2])[..2], [N, F]);
}

#[test]
fn a_cross_is_seen_across_a_word_boundary() {
    let mut b = ProgramBuilder::new(0);
    let close = push(&mut b, Op::Column(Column::Close), &[]);
    let five = constant(&mut b, 5.0);
    let above = push(&mut b, Op::CrossesAbove, &[close, five]);
    let program = finish(b);
    for edge in [63, 64, 65, 127, 128] {
        let prices: Vec<f64> = (0..130).map(|t| if t < edge { 5.0 } else { 6.0 }).collect();
        let bars = closes(&prices);
        let mut evaluator = Evaluator::new(&program, &bars).unwrap();
        let value = evaluator.value(above, &[]).unwrap();
        let Value::Bits(bits) = &value else { panic!("bits") };
        assert_eq!((bits.next_true(0), bits.next_true(edge + 1)), (Some(edge), None));
        assert_eq!(bits.get(130), None);
    }
}

#[test]
fn conditions_are_undefined_when_any_part_is() {
    let mut b = ProgramBuilder::new(0);
    let x = series_of(&mut b);
    let three = constant(&mut b, 3.0);
    let close = push(&mut b, Op::Column(Column::Close), &[]);
    let zero = constant(&mut b, 0.0);
    let always = push(&mut b, Op::Gt, &[close, zero]);
    let greater = push(&mut b, Op::Gt, &[x, three]);
    let nodes = [
        (greater, [F, T, N]),
        (push(&mut b, Op::Not, &[greater]), [T, F, N]),
        (push(&mut b, Op::And, &[greater, always]), [F, T, N]),
        (push(&mut b, Op::Or, &[greater, always]), [T, T, N]),
        (push(&mut b, Op::Ne, &[x, three]), [T, T, N]),
        (push(&mut b, Op::Eq, &[x, three]), [F, F, N]),
        (push(&mut b, Op::Case, &[greater, always, greater]), [F, T, N]),
        (push(&mut b, Op::Case, &[always, always, greater]), [T, T, T]),
    ];
    let program = finish(b);
    let bars = closes(&[2.0, 4.0, 1.0]);
    let mut evaluator = Evaluator::new(&program, &bars).unwrap();
    for (node, wanted) in nodes {
        assert_eq!(answers(&evaluator.value(node, &[]).unwrap()), wanted, "{:?}", program.node(node).op);
    }
}

#[test]
fn case_looks_no_further_than_the_first_true_condition() {
    let mut b = ProgramBuilder::new(0);
    let x = series_of(&mut b);
    let close = push(&mut b, Op::Column(Column::Close), &[]);
    let three = constant(&mut b, 3.0);
    let ten = constant(&mut b, 10.0);
    let low = push(&mut b, Op::Lt, &[close, three]);
    let hole_or_high = push(&mut b, Op::Gt, &[x, three]);
    // Below 3 the undefined second condition is not reached; at 1 the value itself may be undefined.
    let number = push(&mut b, Op::Case, &[low, close, hole_or_high, ten, x]);
    let undefined_value = push(&mut b, Op::Case, &[low, x, ten]);
    let reached = push(&mut b, Op::Case, &[hole_or_high, ten, close]);
    let program = finish(b);
    let bars = closes(&[1.0, 2.0, 3.0, 4.0]);
    let mut evaluator = Evaluator::new(&program, &bars).unwrap();
    let values = evaluator.values(&[number, undefined_value, reached], &[]).unwrap();
    assert_numbers(&numbers(&values[0]), &[1.0, 2.0, 3.0, 10.0]);
    assert_numbers(&numbers(&values[1]), &[U, 2.0, 10.0, 10.0]);
    assert_numbers(&numbers(&values[2]), &[U, 2.0, 3.0, 10.0]);
}

#[test]
fn lag_looks_back_whole_bars() {
    let mut b = ProgramBuilder::new(1);
    let close = push(&mut b, Op::Column(Column::Close), &[]);
    let bars_back = push(&mut b, Op::Param(0), &[]);
    let node = push(&mut b, Op::Lag, &[close, bars_back]);
    let of_constant = push(&mut b, Op::Lag, &[bars_back, bars_back]);
    let program = finish(b);
    let bars = closes(&[3.0, 4.0, 5.0]);
    let mut evaluator = Evaluator::new(&program, &bars).unwrap();
    for (back, wanted) in [(0.0, [3.0, 4.0, 5.0]), (2.0, [U, U, 3.0]), (9.0, [U, U, U])] {
        assert_numbers(&numbers(&evaluator.value(node, &[back]).unwrap()), &wanted);
    }
    assert_numbers(&numbers(&evaluator.value(of_constant, &[1.0]).unwrap()), &[U, 1.0, 1.0]);
    for bad in [-1.0, 0.5, U, 1e9] {
        assert!(matches!(evaluator.value(node, &[bad]), Err(EvalError::Lag { .. })), "{bad}");
    }
}

#[test]
fn bad_periods_carry_the_indicators_own_words() {
    let mut b = ProgramBuilder::new(1);
    let close = push(&mut b, Op::Column(Column::Close), &[]);
    let period = push(&mut b, Op::Param(0), &[]);
    let bundle = push(&mut b, Op::Indicator(by_output("sma").unwrap().0), &[close, period]);
    let sma = push(&mut b, Op::Output(0), &[bundle]);
    let program = finish(b);
    let bars = closes(&[1.0, 2.0, 4.0]);
    let mut evaluator = Evaluator::new(&program, &bars).unwrap();
    for bad in [0.0, 1.5, -3.0, f64::NAN, 1e12] {
        let error = evaluator.value(sma, &[bad]).unwrap_err();
        assert!(error.to_string().starts_with("n of sma must be"), "{error}");
    }
    assert_numbers(&numbers(&evaluator.value(sma, &[2.0]).unwrap()), &[U, 1.5, 3.0]);
    let error = evaluator.value(sma, &[2.0, 3.0]).unwrap_err();
    assert_eq!(error, EvalError::ParamCount { expected: 1, given: 2 });
}

#[test]
fn scalars_are_evaluated_without_bars() {
    let mut b = ProgramBuilder::new(2);
    let (fast, slow) = (push(&mut b, Op::Param(0), &[]), push(&mut b, Op::Param(1), &[]));
    let ordered = push(&mut b, Op::Lt, &[fast, slow]);
    let sum = push(&mut b, Op::Add, &[fast, slow]);
    let pick = push(&mut b, Op::Case, &[ordered, fast, sum]);
    let close = push(&mut b, Op::Column(Column::Close), &[]);
    let program = finish(b);
    let mut scalars = Scalars::new(&program, &[pick, ordered]).unwrap();
    let mut values = |params: &[f64]| scalars.values(params).unwrap().to_vec();
    assert_eq!(values(&[1.0, 2.0]), [ScalarValue::Number(1.0), ScalarValue::Bool(T)]);
    assert_eq!(values(&[2.0, 1.0]), [ScalarValue::Number(3.0), ScalarValue::Bool(F)]);
    assert_eq!(scalar(&program, ordered, &[U, 1.0]).unwrap(), ScalarValue::Bool(N));
    assert_eq!(scalar(&program, close, &[1.0, 1.0]), Err(EvalError::NotScalar { node: close }));
    assert!(matches!(scalar(&program, NodeId(99), &[1.0, 1.0]), Err(EvalError::Malformed { .. })));
}

#[test]
fn longer_bars_start_at_multiples_since_the_epoch_and_weeks_on_mondays() {
    let day = 24 * HOUR_MS;
    assert_eq!(span_start_ms(5 * HOUR_MS + 1, 4 * HOUR_MS), 4 * HOUR_MS);
    assert_eq!(span_start_ms(-1, 4 * HOUR_MS), -4 * HOUR_MS);
    assert_eq!(span_start_ms(4 * day, 7 * day), 4 * day, "1970-01-05 was a Monday");
    assert_eq!(span_start_ms(4 * day - 1, 7 * day), -3 * day);
    assert_eq!(span_start_ms(4 * day, 3 * day), 3 * day);
}

/// Hourly bars at these hours; closes 1, 2, 3, ..., a high one above and a low half below.
fn at_hours(hours: &[i64]) -> Bars {
    let prices: Vec<[f64; 4]> = (1..=hours.len())
        .map(|t| t as f64)
        .map(|close| [close - 0.25, close + 1.0, close - 0.5, close])
        .collect();
    let mut bars = hourly(&prices);
    bars.open_time_ms = hours.iter().map(|hour| hour * HOUR_MS).collect();
    bars.volume = (0..hours.len()).map(|t| 10.0_f64.powi(t as i32)).collect();
    bars
}

#[test]
fn a_longer_bar_is_made_of_the_base_bars_that_exist() {
    // A partial first bar, a full one, one with a hole, none from 12 to 16, an open one.
    let base = at_hours(&[2, 3, 4, 5, 6, 7, 8, 11, 17]);
    let frame = Frame::aggregate(&base, 4 * HOUR_MS).unwrap();
    let bars = frame.bars();
    assert_eq!(bars.open_time_ms, [0, 4, 8, 16].map(|hour| hour * HOUR_MS));
    assert_eq!(bars.open, [0.75, 2.75, 6.75, 8.75]);
    assert_eq!(bars.high, [3.0, 7.0, 9.0, 10.0]);
    assert_eq!(bars.low, [0.5, 2.5, 6.5, 8.5]);
    assert_eq!(bars.close, [2.0, 6.0, 8.0, 9.0]);
    assert_eq!(bars.volume, [11.0, 111_100.0, 11_000_000.0, 100_000_000.0]);
    assert_eq!(bars.interval_ms, 4 * HOUR_MS);
    bars.check().unwrap();
    let known: Vec<usize> = (0..base.len()).map(|t| frame.known(t)).collect();
    assert_eq!(known, [0, 1, 1, 1, 1, 2, 2, 3, 3]);
    assert_numbers(&frame.lift(&[5.0, U, 7.0, 8.0]), &[U, 5.0, 5.0, 5.0, 5.0, U, U, 7.0, 7.0]);
    let bits = frame.lift_bits(&Bits::from_fn(4, |t| [T, N, F, T][t]));
    assert_eq!((0..9).map(|t| bits.get(t)).collect::<Vec<_>>(), [N, T, T, T, T, N, N, F, F]);
}

#[test]
fn a_missing_last_base_bar_delays_a_longer_bar_until_its_end_has_passed() {
    // 4h bar 0 has no base bar at hour 3: known when the bar of hour 4 closes.
    let frame = Frame::aggregate(&at_hours(&[0, 1, 2, 4, 5]), 4 * HOUR_MS).unwrap();
    assert_eq!((0..5).map(|t| frame.known(t)).collect::<Vec<_>>(), [0, 0, 0, 1, 1]);
}

#[test]
fn timeframes_that_are_not_whole_multiples_are_refused() {
    let base = at_hours(&[0, 1]);
    for higher_ms in [HOUR_MS, HOUR_MS / 2, HOUR_MS * 3 / 2, 0, -HOUR_MS] {
        let error = Frame::aggregate(&base, higher_ms).unwrap_err();
        assert_eq!(error, FrameError::Interval { base_ms: HOUR_MS, higher_ms });
    }
    let mut far = base.clone();
    far.open_time_ms[1] = i64::MAX;
    assert_eq!(Frame::aggregate(&far, 2 * HOUR_MS), Err(FrameError::Time { ms: i64::MAX }));
    let mut b = ProgramBuilder::new(0);
    b.frame(HOUR_MS).unwrap();
    assert!(matches!(Evaluator::new(&finish(b), &base), Err(EvalError::Frame(_))));
}

#[test]
fn expressions_of_a_higher_timeframe_use_its_own_bars() {
    let mut b = ProgramBuilder::new(0);
    let frame = b.frame(4 * HOUR_MS).unwrap();
    let close = b.push(Op::Column(Column::Close), &[], frame).unwrap();
    let time = b.push(Op::Column(Column::OpenTime), &[], frame).unwrap();
    let one = constant(&mut b, 1.0);
    let before = b.push(Op::Lag, &[close, one], frame).unwrap();
    let change = b.push(Op::Sub, &[close, before], frame).unwrap();
    let five = constant(&mut b, 5.0);
    let crossed = b.push(Op::CrossesAbove, &[close, five], frame).unwrap();
    let lifted = [change, crossed, time].map(|node| b.push(Op::Lift, &[node], frame).unwrap());
    let program = finish(b);
    let base = at_hours(&[2, 3, 4, 5, 6, 7, 8, 11, 17]);
    let mut evaluator = Evaluator::new(&program, &base).unwrap();
    let values = evaluator.values(&lifted, &[]).unwrap();
    // Closes of the longer bars: 2, 6, 8, (9).
    assert_numbers(&numbers(&values[0]), &[U, U, U, U, U, 4.0, 4.0, 2.0, 2.0]);
    assert_eq!(answers(&values[1]), [N, N, N, N, N, T, T, F, F]);
    let hours = |hour: f64| hour * HOUR_MS as f64;
    assert_numbers(
        &numbers(&values[2]),
        &[U, 0.0, 0.0, 0.0, 0.0, hours(4.0), hours(4.0), hours(8.0), hours(8.0)],
    );
}

#[test]
fn memory_kept_stays_within_its_budget() {
    let mut b = ProgramBuilder::new(2);
    let close = push(&mut b, Op::Column(Column::Close), &[]);
    let (p, q) = (push(&mut b, Op::Param(0), &[]), push(&mut b, Op::Param(1), &[]));
    let scaled = push(&mut b, Op::Mul, &[close, p]);
    let node = push(&mut b, Op::Add, &[scaled, q]);
    let program = finish(b);
    let bars = random_walk(1000, 3, 0.01);
    let mut evaluator = Evaluator::new(&program, &bars).unwrap().with_memo_bytes(30_000);
    let mut seen = Vec::new();
    for round in 0..3 {
        for value in 0..10 {
            let got = numbers(&evaluator.value(node, &[f64::from(value), f64::from(round)]).unwrap());
            assert!(evaluator.memo_bytes() <= 30_000);
            assert_eq!(got[17], bars.close[17] * f64::from(value) + f64::from(round));
            seen.push(evaluator.memo_bytes());
        }
    }
    assert!(seen.iter().any(|&bytes| bytes > 15_000), "it does keep something: {seen:?}");
}

/// A value at one bar, read off the definitions in `program` one bar at a time.
fn value_at(program: &Program, bars: &Bars, id: NodeId, t: usize, params: &[f64]) -> ScalarValue {
    let node = program.node(id);
    let number_at = |index: usize, t: usize| match value_at(program, bars, node.args[index], t, params) {
        ScalarValue::Number(value) => value,
        ScalarValue::Bool(_) => panic!("a number was expected"),
    };
    let number = |index: usize| number_at(index, t);
    let condition = |index: usize| match value_at(program, bars, node.args[index], t, params) {
        ScalarValue::Bool(value) => value,
        ScalarValue::Number(_) => panic!("a condition was expected"),
    };
    let finite = |value: f64| ScalarValue::Number(if value.is_finite() { value } else { U });
    let answer = |holds: bool, operands: &[f64]| {
        ScalarValue::Bool(if operands.iter().any(|x| x.is_nan()) { None } else { Some(holds) })
    };
    let all: Vec<usize> = (0..node.args.len()).collect();
    match node.op {
        Op::Const(value) => finite(value),
        Op::Param(index) => finite(params[index as usize]),
        Op::Column(column) => finite(bars.column(column).unwrap()[t]),
        Op::Neg => finite(-number(0)),
        Op::Abs => finite(number(0).abs()),
        Op::Sqrt => finite(number(0).sqrt()),
        Op::Add => finite(number(0) + number(1)),
        Op::Sub => finite(number(0) - number(1)),
        Op::Mul => finite(number(0) * number(1)),
        Op::Div => finite(number(0) / number(1)),
        Op::Rem => finite(number(0) % number(1)),
        Op::Least | Op::Greatest => {
            let mut values: Vec<f64> = all.iter().map(|&index| number(index)).collect();
            if values.iter().any(|value| value.is_nan()) {
                return ScalarValue::Number(U);
            }
            values.sort_by(f64::total_cmp);
            finite(if node.op == Op::Least { values[0] } else { values[values.len() - 1] })
        }
        Op::Lt => answer(number(0) < number(1), &[number(0), number(1)]),
        Op::Le => answer(number(0) <= number(1), &[number(0), number(1)]),
        Op::Gt => answer(number(0) > number(1), &[number(0), number(1)]),
        Op::Ge => answer(number(0) >= number(1), &[number(0), number(1)]),
        Op::Eq => answer(number(0) == number(1), &[number(0), number(1)]),
        Op::Ne => answer(number(0) != number(1), &[number(0), number(1)]),
        Op::And | Op::Or => {
            let parts: Option<Vec<bool>> = all.iter().map(|&index| condition(index)).collect();
            let join = |parts: Vec<bool>| {
                if node.op == Op::And { !parts.contains(&false) } else { parts.contains(&true) }
            };
            ScalarValue::Bool(parts.map(join))
        }
        Op::Not => ScalarValue::Bool(condition(0).map(|value| !value)),
        Op::Case => {
            let last = node.args.len() - 1;
            for pair in (0..last).step_by(2) {
                match condition(pair) {
                    Some(true) => return value_at(program, bars, node.args[pair + 1], t, params),
                    Some(false) => {}
                    None if node.ty == Type::Bool => return ScalarValue::Bool(None),
                    None => return ScalarValue::Number(U),
                }
            }
            value_at(program, bars, node.args[last], t, params)
        }
        Op::Lag => t.checked_sub(number(1) as usize).map_or(finite(U), |t| finite(number_at(0, t))),
        Op::CrossesAbove | Op::CrossesBelow => {
            let Some(before) = t.checked_sub(1) else { return ScalarValue::Bool(None) };
            let [a, b, a0, b0] = [number(0), number(1), number_at(0, before), number_at(1, before)];
            let crossed = if node.op == Op::CrossesAbove { a > b && a0 <= b0 } else { a < b && a0 >= b0 };
            answer(crossed, &[a, b, a0, b0])
        }
        Op::Single => finite(f64::from(number(0) as f32)),
        Op::Ln | Op::Exp | Op::Indicator(_) | Op::Output(_) | Op::Lift => panic!("not drawn"),
    }
}

/// Draws a graph: each choice pushes one operation on arguments among the nodes of the wanted type so far.
pub(crate) fn draw_program(choices: &[(u8, u8, u8, u8)]) -> Program {
    let mut b = ProgramBuilder::new(2);
    let mut numbers = vec![
        push(&mut b, Op::Param(0), &[]),
        push(&mut b, Op::Param(1), &[]),
        constant(&mut b, 0.0),
        constant(&mut b, U),
        push(&mut b, Op::Column(Column::Close), &[]),
        push(&mut b, Op::Column(Column::Open), &[]),
    ];
    let hole = push(&mut b, Op::Sub, &[numbers[4], numbers[5]]);
    numbers.push(push(&mut b, Op::Div, &[numbers[4], hole]));
    let mut conditions = vec![push(&mut b, Op::Lt, &[numbers[4], numbers[5]])];
    let two = constant(&mut b, 2.0);
    for &(op, x, y, z) in choices {
        let n = |pick: u8| numbers[usize::from(pick) % numbers.len()];
        let c = |pick: u8| conditions[usize::from(pick) % conditions.len()];
        let (op, args) = match op % 26 {
            0 => (Op::Neg, vec![n(x)]),
            1 => (Op::Abs, vec![n(x)]),
            2 => (Op::Sqrt, vec![n(x)]),
            3 => (Op::Add, vec![n(x), n(y)]),
            4 => (Op::Sub, vec![n(x), n(y)]),
            5 => (Op::Mul, vec![n(x), n(y)]),
            6 => (Op::Div, vec![n(x), n(y)]),
            7 => (Op::Rem, vec![n(x), n(y)]),
            8 => (Op::Least, vec![n(x), n(y), n(z)]),
            9 => (Op::Greatest, vec![n(x), n(y), n(z)]),
            10 => (Op::Lt, vec![n(x), n(y)]),
            11 => (Op::Le, vec![n(x), n(y)]),
            12 => (Op::Gt, vec![n(x), n(y)]),
            13 => (Op::Ge, vec![n(x), n(y)]),
            14 => (Op::Eq, vec![n(x), n(y)]),
            15 => (Op::Ne, vec![n(x), n(y)]),
            16 => (Op::And, vec![c(x), c(y), c(z)]),
            17 => (Op::Or, vec![c(x), c(y), c(z)]),
            18 => (Op::Not, vec![c(x)]),
            19 => (Op::Case, vec![c(x), n(y), n(z)]),
            20 => (Op::Case, vec![c(x), n(y), c(z), n(x), n(z)]),
            21 => (Op::Case, vec![c(x), c(y), c(z), c(z), c(y)]),
            22 => (Op::Lag, vec![n(x), two]),
            23 => (Op::CrossesAbove, vec![n(x), n(y)]),
            24 => (Op::CrossesBelow, vec![n(x), n(y)]),
            _ => (Op::Lag, vec![n(x), numbers[2]]),
        };
        let id = push(&mut b, op, &args);
        if b.node(id).ty == Type::Bool { conditions.push(id) } else { numbers.push(id) }
    }
    finish(b)
}

/// The last conditions of a graph as signals.
pub(crate) fn signalling(mut program: Program) -> Program {
    let ids = (0..program.nodes.len() as u32).map(NodeId);
    let conditions: Vec<NodeId> = ids.filter(|&id| program.node(id).ty == Type::Bool).collect();
    let mut last = conditions.iter().rev().copied();
    let rules = &mut program.rules;
    (rules.long_enter, rules.long_exit) = (last.next(), last.next());
    (rules.short_enter, rules.short_exit) = (last.next(), last.next());
    program
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whole_series_are_their_definitions_bar_by_bar(
        choices in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 1..12),
        len in prop_oneof![1..5_usize, 60..70_usize],
        seed in any::<u64>(),
        params in prop_oneof![Just([0.0, 1.0]), Just([3.0, -2.1]), Just([100.0, f64::NAN])],
        precision in prop_oneof![Just(Precision::F64), Just(Precision::F32)],
    ) {
        let program = signalling(draw_program(&choices)).in_precision(precision);
        let bars = random_walk(len, seed, 1.0);
        let mut evaluator = Evaluator::new(&program, &bars).unwrap();
        // Values left from other parameters must not show.
        let nodes: Vec<NodeId> = (0..program.nodes.len() as u32).map(NodeId).collect();
        evaluator.values(&nodes, &[7.0, params[1]]).unwrap();
        let values = evaluator.values(&nodes, &params).unwrap();
        for (&id, value) in nodes.iter().zip(&values) {
            let at = |t: usize| value_at(&program, &bars, id, t, &params);
            match value {
                Value::Series(series) => {
                    let wanted: Vec<f64> = (0..len).map(|t| match at(t) {
                        ScalarValue::Number(value) => value,
                        ScalarValue::Bool(_) => panic!("a number"),
                    }).collect();
                    assert_numbers(series, &wanted);
                }
                Value::Bits(bits) => {
                    for t in 0..len {
                        prop_assert_eq!(ScalarValue::Bool(bits.get(t)), at(t));
                    }
                    let tail = bits.value_words().iter().chain(bits.defined_words());
                    let set: u32 = tail.map(|word| word.count_ones()).sum();
                    let wanted = (0..len).map(|t| match bits.get(t) { None => 0, Some(false) => 1, Some(true) => 2 });
                    prop_assert_eq!(set, wanted.sum::<u32>(), "no bits past the end, no TRUE that is undefined");
                }
                scalar => {
                    prop_assert_eq!(program.node(id).shape, Shape::Scalar);
                    match (scalar, at(0)) {
                        (Value::Number(got), ScalarValue::Number(wanted)) => assert_numbers(&[*got], &[wanted]),
                        (Value::Bool(got), ScalarValue::Bool(wanted)) => prop_assert_eq!(*got, wanted),
                        (got, wanted) => panic!("{got:?} is not {wanted:?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn one_indicator_serves_all_its_outputs() {
    let Some((def, _)) = by_output("bb_upper") else { return };
    let mut b = ProgramBuilder::new(0);
    let close = push(&mut b, Op::Column(Column::Close), &[]);
    let (n, k) = (constant(&mut b, 2.0), constant(&mut b, 1.0));
    let bundle = push(&mut b, Op::Indicator(def), &[close, n, k]);
    let outputs: Vec<NodeId> =
        (0..def.outputs.len()).map(|index| push(&mut b, Op::Output(index as u8), &[bundle])).collect();
    let program = finish(b);
    let bars = closes(&[1.0, 3.0, 7.0]);
    let mut evaluator = Evaluator::new(&program, &bars).unwrap();
    let Value::Bundle(bundle) = evaluator.value(bundle, &[]).unwrap() else { panic!("a bundle") };
    for (index, &output) in outputs.iter().enumerate() {
        let Value::Series(series) = evaluator.value(output, &[]).unwrap() else { panic!("a series") };
        assert!(Arc::ptr_eq(&series, &bundle[index]));
    }
}
