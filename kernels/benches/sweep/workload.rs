//! The reference workloads: what is swept, and how the yardstick sees the same combination.

use polybolos_kernels::bars::Column;
use polybolos_kernels::indicators::by_output;
use polybolos_kernels::program::{NodeId, Op, Program, ProgramBuilder, Rules, Size};

/// A program and its combinations, row-major.
pub(crate) struct Workload {
    pub(crate) program: Program,
    pub(crate) values: Vec<f64>,
}

impl Workload {
    pub(crate) fn combinations(&self) -> usize {
        self.values.len() / self.program.params
    }

    /// One of the combinations alone.
    pub(crate) fn only(mut self, row: usize) -> Workload {
        self.values = self.row(row).to_vec();
        self
    }

    pub(crate) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.program.params..(row + 1) * self.program.params]
    }
}

fn indicator(builder: &mut ProgramBuilder, name: &str, param: u32) -> NodeId {
    let (def, output) = by_output(name).unwrap();
    let close = builder.push(Op::Column(Column::Close), &[], 0).unwrap();
    let period = builder.push(Op::Param(param), &[], 0).unwrap();
    let bundle = builder.push(Op::Indicator(def), &[close, period], 0).unwrap();
    builder.push(Op::Output(output as u8), &[bundle], 0).unwrap()
}

fn rules(builder: &mut ProgramBuilder) -> Rules {
    Rules {
        long_enter: None,
        long_exit: None,
        short_enter: None,
        short_exit: None,
        stop_loss: None,
        take_profit: None,
        trailing_stop: None,
        max_bars: None,
        cooldown: None,
        size: Size::Equity(builder.push(Op::Const(1.0), &[], 0).unwrap()),
    }
}

/// How much is put into a position, and levels as fractions of its entry price.
pub(crate) const QUOTE: f64 = 1_000.0;
pub(crate) const RISK: f64 = 0.01;
pub(crate) const STOP: f64 = 0.03;
pub(crate) const TARGET: f64 = 0.06;

/// Bars to a time exit: more than most positions of W1 are held for, and fewer.
pub(crate) const LONG: usize = 500;
pub(crate) const BRIEF: usize = 24;

/// What the averages are traded with, beside all of the equity and no levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terms {
    Plain,
    /// A fixed amount.
    Quote,
    /// A fixed risk, with stop and target.
    Risk,
    /// Stop and target.
    Levels,
    /// A time exit after so many bars.
    Time(usize),
}

/// W1: 50 fast x `slow` slow averages crossing; long, short or both.
pub(crate) fn averages(slow: u32, is_long: bool, is_short: bool, terms: Terms) -> Workload {
    averages_of(5..55, slow, is_long, is_short, terms)
}

/// The same with other fast averages.
pub(crate) fn averages_of(
    fasts: impl IntoIterator<Item = u32>,
    slow: u32,
    is_long: bool,
    is_short: bool,
    terms: Terms,
) -> Workload {
    let mut builder = ProgramBuilder::new(2);
    let (first, other) = (indicator(&mut builder, "sma", 0), indicator(&mut builder, "sma", 1));
    let above = Some(builder.push(Op::CrossesAbove, &[first, other], 0).unwrap());
    let below = Some(builder.push(Op::CrossesBelow, &[first, other], 0).unwrap());
    let mut rules = rules(&mut builder);
    if is_long {
        (rules.long_enter, rules.long_exit) = (above, below);
    }
    if is_short {
        (rules.short_enter, rules.short_exit) = (below, above);
    }
    let mut constant = |value| builder.push(Op::Const(value), &[], 0).unwrap();
    if terms == Terms::Quote {
        rules.size = Size::Quote(constant(QUOTE));
    }
    if terms == Terms::Risk {
        rules.size = Size::Risk(constant(RISK));
    }
    if matches!(terms, Terms::Risk | Terms::Levels) {
        (rules.stop_loss, rules.take_profit) = (Some(constant(STOP)), Some(constant(TARGET)));
    }
    if let Terms::Time(bars) = terms {
        rules.max_bars = Some(constant(bars as f64));
    }
    let slows = (0..slow).map(|i| 60 + 2 * i);
    let values = fasts
        .into_iter()
        .flat_map(|fast| slows.clone().flat_map(move |slow| [f64::from(fast), f64::from(slow)]));
    Workload { program: builder.finish(rules), values: values.collect() }
}

/// W2: 20 RSI periods x 4 lower x 5 upper thresholds x 4 stops x 5 targets, long, all-in.
pub(crate) fn reversion() -> Workload {
    let mut builder = ProgramBuilder::new(5);
    let rsi = indicator(&mut builder, "rsi", 0);
    let mut param = |index| builder.push(Op::Param(index), &[], 0).unwrap();
    let (lower, upper, stop, target) = (param(1), param(2), param(3), param(4));
    let enter = Some(builder.push(Op::CrossesBelow, &[rsi, lower], 0).unwrap());
    let exit = Some(builder.push(Op::CrossesAbove, &[rsi, upper], 0).unwrap());
    let mut rules = rules(&mut builder);
    (rules.long_enter, rules.long_exit) = (enter, exit);
    (rules.stop_loss, rules.take_profit) = (Some(stop), Some(target));
    let mut values = Vec::new();
    for n in 5..25 {
        for lower in [20.0, 25.0, 30.0, 35.0] {
            for upper in [50.0, 55.0, 60.0, 65.0, 70.0] {
                for stop in [0.01, 0.02, 0.03, 0.05] {
                    for target in [0.02, 0.04, 0.06, 0.10, 0.15] {
                        values.extend([f64::from(n), lower, upper, stop, target]);
                    }
                }
            }
        }
    }
    Workload { program: builder.finish(rules), values }
}

/// W2 without levels, each entry and exit with 20 time exits.
pub(crate) fn timed_reversion() -> Workload {
    let mut builder = ProgramBuilder::new(4);
    let rsi = indicator(&mut builder, "rsi", 0);
    let mut param = |index| builder.push(Op::Param(index), &[], 0).unwrap();
    let (lower, upper, bars) = (param(1), param(2), param(3));
    let enter = Some(builder.push(Op::CrossesBelow, &[rsi, lower], 0).unwrap());
    let exit = Some(builder.push(Op::CrossesAbove, &[rsi, upper], 0).unwrap());
    let mut rules = rules(&mut builder);
    (rules.long_enter, rules.long_exit, rules.max_bars) = (enter, exit, Some(bars));
    let mut values = Vec::new();
    for n in 5..25 {
        for lower in [20.0, 25.0, 30.0, 35.0] {
            for upper in [50.0, 55.0, 60.0, 65.0, 70.0] {
                for bars in 1..=20 {
                    values.extend([f64::from(n), lower, upper, f64::from(8 * bars)]);
                }
            }
        }
    }
    Workload { program: builder.finish(rules), values }
}
