//! Grids: rows and values, steps without rounding, conditions, size.

use polybolos_engine::space::{Param, ParamSpace, SpaceError, Steps, Values};
use proptest::prelude::*;

use super::parse;

fn steps(from: &str, to: &str, step: &str) -> Values {
    Values::Steps(Steps::new(from, to, step).unwrap())
}

#[test]
fn steps_are_exact_decimals_rounded_once() {
    for (from, to, step) in
        [("0.1", "1.0", "0.1"), ("0.01", "0.5", "0.01"), ("-0.3", "0.3", "0.1"), ("1e-3", "1", "1e-3")]
    {
        let values = steps(from, to, step);
        let count = values.len();
        let (from, step): (f64, f64) = (from.parse().unwrap(), step.parse().unwrap());
        for index in 0..count {
            let decimal = format!("{:.4}", from + index as f64 * step);
            assert_eq!(values.get(index), decimal.parse::<f64>().unwrap() + 0.0, "{decimal}");
        }
    }
    assert_eq!(steps("0.1", "0.3", "0.1").get(2), 0.3);
    assert_eq!(steps("5", "54", "1").len(), 50);
    assert_eq!(steps("60", "258", "2").len(), 100);
    assert_eq!(steps("1", "10", "4").len(), 3);
}

#[test]
fn parameters_know_whether_they_are_whole() {
    let strategy = parse(
        "name: t\nparams: {a: [1, 2], b: [1, 2.5], c: {from: 5, to: 9}, d: {from: 1, to: 2, step: 0.5}, e: {from: 1.5, to: 3.5, step: 1}, f: 7}\nlong: {enter: close > a + b + c + d + e + f}",
    );
    let whole: Vec<bool> = (0..6).map(|index| strategy.space().is_integer(index)).collect();
    assert_eq!(whole, [true, false, true, false, false, true]);
}

#[test]
fn conditions_select_rows_and_keep_their_numbers() {
    let strategy = parse(
        "name: t\nparams: {a: {from: 1, to: 4}, b: [2, 3]}\nwhere: a < b\nlong: {enter: close > a + b}",
    );
    let space = strategy.space();
    let rows: Vec<u64> = space.valid_rows(0..space.len()).collect();
    let values: Vec<Vec<f64>> = rows.iter().map(|&row| space.values(row)).collect();
    assert_eq!(rows, [0, 1, 3]);
    assert_eq!(values, [[1.0, 2.0], [1.0, 3.0], [2.0, 3.0]]);
    assert_eq!(space.valid_rows(1..3).collect::<Vec<_>>(), [1]);
    assert_eq!(space.valid_rows(3..u64::MAX).collect::<Vec<_>>(), [3]);
    assert!(space.is_valid(&[1.0, 2.0]) && !space.is_valid(&[2.0, 2.0]) && !space.is_valid(&[1.0]));
    // An undefined condition is not TRUE.
    let strategy =
        parse("name: t\nparams: {a: {from: -1, to: 1}}\nwhere: ln(a) < 1\nlong: {enter: close > a}");
    assert_eq!(strategy.space().valid_rows(0..3).collect::<Vec<_>>(), [2]);
}

#[test]
fn grids_without_values_are_refused() {
    let empty = Param { name: "a".to_owned(), values: Values::List(Vec::new()) };
    assert_eq!(ParamSpace::new(vec![empty]), Err(SpaceError::NoValues("a".to_owned())));
    assert!(Values::list(vec![1.0, f64::NAN]).is_err());
    assert_eq!(ParamSpace::new(Vec::new()).unwrap().len(), 1);
}

#[test]
fn huge_grids_cost_nothing() {
    let text = "name: t\nparams:\n  a: {from: 1, to: 1000000}\n  b: {from: 1, to: 1000000}\n  c: {from: 1, to: 1000000}\n\
                where: a < b\nlong: {enter: 'close > sma(close, a) + sma(close, b * 1) + c'}";
    let started = std::time::Instant::now();
    let strategy = parse(text);
    let space = strategy.space();
    assert_eq!(space.len(), 1_000_000_000_000_000_000);
    let last = space.len() - 1;
    assert_eq!(space.values(last), [1e6; 3]);
    assert_eq!(space.row_of(&[1e6; 3]), Some(last));
    let first: Vec<u64> = space.valid_rows(0..space.len()).take(2).collect();
    assert_eq!(first, [1_000_000, 1_000_001]);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

fn any_values() -> impl Strategy<Value = Values> {
    prop_oneof![
        prop::collection::btree_set(-1000_i32..1000, 1..6)
            .prop_shuffle_values()
            .prop_map(|numbers| Values::list(numbers.iter().map(|&n| f64::from(n) / 8.0).collect()).unwrap()),
        (-500_i64..500, 1_i64..50, 1_i64..40, 0_usize..4).prop_map(|(from, step, count, places)| {
            let decimal = |mantissa: i64| format!("{mantissa}e-{places}");
            steps(&decimal(from), &decimal(from + step * (count - 1)), &decimal(step))
        }),
    ]
}

/// Sets of numbers as lists in any order.
trait ShuffleValues: Strategy<Value = std::collections::BTreeSet<i32>> + Sized {
    fn prop_shuffle_values(self) -> impl Strategy<Value = Vec<i32>> {
        self.prop_map(|set| set.into_iter().collect::<Vec<i32>>()).prop_shuffle()
    }
}
impl<S: Strategy<Value = std::collections::BTreeSet<i32>>> ShuffleValues for S {}

proptest! {
    #[test]
    fn rows_and_values_are_the_same_thing(all in prop::collection::vec(any_values(), 0..6), seed in any::<u64>()) {
        let params = all.into_iter().enumerate().map(|(i, values)| Param { name: format!("p{i}"), values });
        let space = ParamSpace::new(params.collect()).unwrap();
        let row = seed % space.len();
        let values = space.values(row);
        prop_assert_eq!(space.row_of(&values), Some(row));
        // The last parameter is the fastest.
        if let Some(last) = space.params().last() && row % last.values.len() + 1 < last.values.len() {
            let next = space.values(row + 1);
            prop_assert_eq!(&next[..next.len() - 1], &values[..values.len() - 1]);
        }
        if !values.is_empty() {
            let mut strange = values.clone();
            strange[0] = 1e9;
            prop_assert_eq!(space.row_of(&strange), None);
        }
    }

    #[test]
    fn steps_are_strictly_increasing_and_found_again(
        from in -1_000_000_i64..1_000_000, step in 1_i64..100_000, count in 1_u64..1_000_000_000_000, places in 0_usize..6, pick in any::<u64>(),
    ) {
        let last = i128::from(from) + i128::from(step) * i128::from(count - 1);
        let decimal = |mantissa: i128| {
            let sign = if mantissa < 0 { "-" } else { "" };
            let digits = format!("{:0>width$}", mantissa.abs(), width = places + 1);
            let (whole, fraction) = digits.split_at(digits.len() - places);
            format!("{sign}{whole}.{fraction}0")
        };
        let made = Steps::new(&decimal(from.into()), &decimal(last), &decimal(step.into()));
        let steps = match made {
            Ok(steps) => Values::Steps(steps),
            // Values of more than 15 digits before the point are refused.
            Err(reason) => {
                prop_assert!(reason.contains("15 digits") || reason.contains("too small"), "{}", reason);
                return Ok(());
            }
        };
        prop_assert_eq!(steps.len(), count);
        let index = pick % count;
        let exact = decimal(i128::from(from) + i128::from(step) * i128::from(index)).parse::<f64>().unwrap();
        prop_assert_eq!(steps.get(index), exact);
        prop_assert_eq!(steps.position(steps.get(index)), Some(index));
        if index > 0 {
            prop_assert!(steps.get(index - 1) < steps.get(index));
        }
    }
}
