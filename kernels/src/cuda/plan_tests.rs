use super::*;
use crate::bars::Column;
use crate::program::{Op, ProgramBuilder, Rules, Size};

/// Two thresholds on the close; the second is the exit's. 2 parameters.
fn thresholds() -> Program {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    let mut b = ProgramBuilder::new(2);
    let close = b.push(Op::Column(Column::Close), &[], 0).unwrap();
    let low = b.push(Op::Param(0), &[], 0).unwrap();
    let high = b.push(Op::Param(1), &[], 0).unwrap();
    let one = b.push(Op::Const(1.0), &[], 0).unwrap();
    let enter = b.push(Op::Lt, &[close, low], 0).unwrap();
    let exit = b.push(Op::Gt, &[close, high], 0).unwrap();
    b.finish(Rules {
        long_enter: Some(enter),
        long_exit: Some(exit),
        short_enter: None,
        short_exit: None,
        stop_loss: None,
        take_profit: None,
        trailing_stop: None,
        max_bars: None,
        cooldown: None,
        size: Size::Equity(one),
    })
}

fn grid(rows: usize) -> Vec<f64> {
    (0..rows).flat_map(|row| [(row / 10) as f64, (row % 10) as f64]).collect()
}

const BARS: usize = 1000;

#[test]
fn a_plan_computes_each_distinct_value_once() {
    let program = thresholds();
    let graph = Graph::new(&program);
    let plan = Plan::new(&program, &graph, ParamSet::default(), &grid(100), 100);
    // The close, and nothing else, is a series; ten entries, ten exits and the signal that never is.
    assert_eq!((plan.series, plan.conditions, plan.rules.len()), (1, 21, 1));
    let half = Plan::new(&program, &graph, ParamSet::default(), &grid(100), 50);
    assert_eq!((half.series, half.conditions, half.rows), (1, 16, 50));
}

#[test]
fn launches_cover_all_rows_and_keep_within_their_share() {
    let program = thresholds();
    let graph = Graph::new(&program);
    let (total, values) = (1000, grid(1000));
    let budgets = [90_000, 200_000, 1 << 22, 1 << 30];
    for (budget, precision) in budgets.iter().flat_map(|&b| [(b, Precision::F64), (b, Precision::F32)]) {
        let shares =
            divide(budget, 10_000, precision, BARS, 2, 1 << 35).unwrap_or_else(|error| panic!("{error}"));
        let (mut done, mut guess, mut launches) = (0, usize::MAX, 0);
        while done < total {
            let plan = longest(total - done, BARS, &shares, &graph, &mut guess, |rows| {
                Plan::new(&program, &graph, ParamSet::default(), &values[2 * done..], rows)
            });
            let plan = plan.unwrap_or_else(|error| panic!("{error}"));
            assert!(plan.rows > 0 && plan.bytes(&graph, BARS) <= shares.launch);
            let all = 10_000 + SeriesArena::bytes(precision, BARS, shares.series_slots) + 2 * shares.launch;
            assert!(all <= budget && plan.series <= shares.series_slots);
            done += plan.rows;
            launches += 1;
        }
        assert_eq!(done, total);
        assert_eq!(launches == 1, budget >= 1 << 22, "{launches} launches in {budget} bytes");
    }
}

#[test]
fn a_byte_of_memory_holds_twice_as_many_series_in_f32() {
    let slots = |precision| {
        let shares = divide(1 << 30, 10_000, precision, BARS, 2, 1 << 35);
        shares.map_or(0, |shares| shares.series_slots)
    };
    let (wide, single) = (slots(Precision::F64), slots(Precision::F32));
    // All but the words that say where they are defined.
    assert!(wide > 1000 && single > wide * 19 / 10, "{wide} {single}");
}

#[test]
fn launches_are_cut_where_the_device_would_take_too_long() {
    let program = thresholds();
    let graph = Graph::new(&program);
    let shares = divide(1 << 30, 10_000, Precision::F64, BARS, 2, 300 * BARS as u64)
        .unwrap_or_else(|error| panic!("{error}"));
    let plan = |rows| Plan::new(&program, &graph, ParamSet::default(), &grid(1000), rows);
    let mut guess = usize::MAX;
    let rows = longest(1000, BARS, &shares, &graph, &mut guess, plan).map(|plan| plan.rows);
    assert_eq!(rows, Ok(300));
}

#[test]
fn a_budget_too_small_for_one_combination_says_what_is_needed() {
    let program = thresholds();
    let graph = Graph::new(&program);
    let refusal = |budget: u64| {
        let shares = divide(budget, 10_000, Precision::F64, BARS, 2, 1 << 35)?;
        let plan = |rows| Plan::new(&program, &graph, ParamSet::default(), &grid(10), rows);
        let mut guess = usize::MAX;
        longest(10, BARS, &shares, &graph, &mut guess, plan).map(|plan| plan.rows)
    };
    assert_eq!(refusal(9_999), Err(CudaError::Budget { needed: 10_000, budget: 9_999 }));
    let Err(CudaError::Budget { needed, .. }) = refusal(11_000) else { panic!("it does not fit") };
    assert!(needed > 11_000);
    assert!(refusal(needed).is_ok(), "what is said to be needed suffices");
}
