//! Strategies that ask which of two averages is larger: ties, gaps, and whatever else ends their positions.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use polybolos_kernels::bars::{Bars, Column};
use polybolos_kernels::indicators::by_output;
use polybolos_kernels::program::{NodeId, Op, Program, ProgramBuilder, Rules, Size};
use polybolos_kernels::sim::SimConfig;
use polybolos_kernels::simd::Isa;
use polybolos_kernels::sweep::Sweep;
use proptest::prelude::*;

use crate::support::random_walk;
use crate::sweep_blocks::{any_rough_market, any_settings, bits, check_against_naive, run_block};

/// Two averages of one series, of which the signals ask in any way which is larger.
#[derive(Debug, Clone)]
pub(crate) struct Contest {
    /// Of a long position; of a short one exit and entry.
    pub(crate) enter: Op,
    pub(crate) exit: Op,
    /// Whether the operands of entry and exit change places, and the operation with them.
    pub(crate) is_mirrored: [bool; 2],
    /// Whether there are long positions, and short ones.
    pub(crate) sides: [bool; 2],
    /// Whether positions of strategies with both sides are left by signals too, and not only reversed.
    pub(crate) has_exits: bool,
    /// The series is undefined where the price is this.
    pub(crate) hole: Option<f64>,
    /// Whether there is a stop, a target, a trailing stop, and whether they are the first average's period in percent.
    pub(crate) levels: [bool; 3],
    pub(crate) are_by_period: bool,
    /// Bars after which a position ends.
    pub(crate) max_bars: Option<f64>,
    /// Bars after an exit without an entry.
    pub(crate) cooldown: Option<f64>,
    /// Part of the equity, quote currency from 2 on, or risk if negative.
    pub(crate) size: f64,
}

impl Contest {
    /// Crosses in, crosses out, on one side with all the cash.
    pub(crate) const CROSSES: Contest = Contest {
        enter: Op::CrossesAbove,
        exit: Op::CrossesAbove,
        is_mirrored: [false; 2],
        sides: [true, false],
        has_exits: true,
        hole: None,
        levels: [false; 3],
        are_by_period: false,
        max_bars: None,
        cooldown: None,
        size: 1.0,
    };
}

pub(crate) fn compile_contest(contest: &Contest) -> Program {
    let mut b = ProgramBuilder::new(2);
    let (sma, output) = by_output("sma").unwrap();
    let close = b.push(Op::Column(Column::Close), &[], 0).unwrap();
    let hole = b.push(Op::Const(contest.hole.unwrap_or(0.0)), &[], 0).unwrap();
    let above = b.push(Op::Sub, &[close, hole], 0).unwrap();
    let ratio = b.push(Op::Div, &[close, above], 0).unwrap();
    let source = if contest.hole.is_some() { ratio } else { close };
    let averages = [0, 1].map(|param| {
        let period = b.push(Op::Param(param), &[], 0).unwrap();
        let bundle = b.push(Op::Indicator(sma), &[source, period], 0).unwrap();
        b.push(Op::Output(output as u8), &[bundle], 0).unwrap()
    });
    let mut signal = |op: Op, [first, second]: [NodeId; 2], is_mirrored: bool| {
        let mirrored = match op {
            Op::CrossesAbove => Op::CrossesBelow,
            Op::Gt => Op::Lt,
            _ => Op::Le,
        };
        let (op, args) = if is_mirrored { (mirrored, [second, first]) } else { (op, [first, second]) };
        b.push(op, &args, 0).unwrap()
    };
    let up = signal(contest.enter, averages, contest.is_mirrored[0]);
    let down = signal(contest.exit, [averages[1], averages[0]], contest.is_mirrored[1]);
    let period = b.push(Op::Param(0), &[], 0).unwrap();
    let hundred = b.push(Op::Const(100.0), &[], 0).unwrap();
    let percent = b.push(Op::Div, &[period, hundred], 0).unwrap();
    let mut level = |index: usize, fixed: f64| {
        let fixed = b.push(Op::Const(fixed), &[], 0).unwrap();
        contest.levels[index].then_some(if contest.are_by_period { percent } else { fixed })
    };
    let (stop_loss, take_profit, trailing_stop) = (level(0, 0.03), level(1, 0.05), level(2, 0.04));
    let max_bars = contest.max_bars.map(|bars| b.push(Op::Const(bars), &[], 0).unwrap());
    let cooldown = contest.cooldown.map(|bars| b.push(Op::Const(bars), &[], 0).unwrap());
    let size = b.push(Op::Const(contest.size.abs()), &[], 0).unwrap();
    let [is_long, is_short] = contest.sides;
    let is_left = contest.has_exits || !(is_long && is_short);
    b.finish(Rules {
        long_enter: is_long.then_some(up),
        long_exit: (is_long && is_left).then_some(down),
        short_enter: is_short.then_some(down),
        short_exit: (is_short && is_left).then_some(up),
        stop_loss,
        take_profit,
        trailing_stop,
        max_bars,
        cooldown,
        size: match stop_loss {
            Some(_) if contest.size < 0.0 => Size::Risk(size),
            _ if contest.size >= 2.0 => Size::Quote(size),
            _ => Size::Equity(size),
        },
    })
}

/// Bars to a time exit: few, around the 64 of a word and the 2,048 of a tile, and more than there are.
fn any_limit() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(1.0),
        (2..9_u32).prop_map(f64::from),
        (20..70_u32).prop_map(f64::from),
        Just(64.0),
        Just(500.0),
        (2_040..2_060_u32).prop_map(f64::from),
        Just(1e12),
    ]
}

fn any_contest() -> impl Strategy<Value = Contest> {
    let op = || prop_oneof![Just(Op::CrossesAbove), Just(Op::CrossesAbove), Just(Op::Gt), Just(Op::Ge)];
    let signals = (op(), op(), any::<[bool; 2]>(), any::<bool>());
    let sides = prop_oneof![Just([true, false]), Just([false, true]), Just([true, true])];
    let hole = prop::option::of(prop_oneof![Just(100.0), Just(99.5), Just(101.0)]);
    let levels = (prop_oneof![Just([false; 3]), any::<[bool; 3]>()], any::<bool>());
    let max_bars = prop_oneof![Just(None), Just(None), any_limit().prop_map(Some)];
    let cooldown = prop_oneof![6 => Just(None), 1 => Just(Some(0.0)), 2 => Just(Some(5.0))];
    let size = prop_oneof![Just(1.0), Just(0.5), Just(2_000.0), Just(-0.01)];
    (signals, sides, hole, levels, (max_bars, cooldown), size).prop_map(
        |(
            (enter, exit, is_mirrored, has_exits),
            sides,
            hole,
            (levels, are_by_period),
            (max_bars, cooldown),
            size,
        )| {
            Contest {
                enter,
                exit,
                is_mirrored,
                sides,
                has_exits,
                hole,
                levels,
                are_by_period,
                max_bars,
                cooldown,
                size,
            }
        },
    )
}

/// Every row of the grid of these averages, on every instruction set, is what the combination gives alone.
fn check_contest(contest: &Contest, bars: &Bars, config: &SimConfig, slows: &[f64], pick: usize) {
    let program = compile_contest(contest);
    let fasts = (1..=slows.len()).map(|fast| fast as f64);
    let values: Vec<f64> = fasts.flat_map(|fast| slows.iter().flat_map(move |&slow| [fast, slow])).collect();
    let whole = run_block(&program, bars, config, Isa::Portable, &values);
    for isa in [Isa::Avx2, Isa::Avx512] {
        for (a, b) in whole.iter().zip(run_block(&program, bars, config, isa, &values)) {
            assert_eq!(bits(a), bits(&b), "{isa}");
        }
    }
    for (stats, row) in whole.iter().zip(values.chunks(2)) {
        let run = Sweep::new(&program, bars, config).unwrap().run(row).unwrap();
        assert_eq!(bits(stats), bits(&run.stats), "{row:?}");
    }
    let row = pick % whole.len();
    check_against_naive(&program, bars, config, &values[2 * row..2 * row + 2], &whole[row]);
}

/// Slow averages; with few rows per series numbers are compared, with many their codes.
const SLOWS: [f64; 9] = [3.0, 2.0, 5.0, 8.0, 13.0, 40.0, 90.0, 150.0, 7.0];

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Ticks of 1 and 0.5 make many equal averages, a hole makes both of them undefined and start again.
    #[test]
    fn a_contest_of_two_averages_is_decided_alike_alone_and_in_a_block(
        contest in any_contest(),
        len in prop_oneof![Just(2_048_usize), Just(4_161), Just(9_001), 1..700_usize],
        seed in any::<u64>(),
        tick in prop_oneof![Just(1.0), Just(0.5), Just(0.001)],
        config in any_settings(),
        slows in prop_oneof![Just(3_usize), Just(9)],
        pick in any::<usize>(),
    ) {
        check_contest(&contest, &random_walk(len, seed, tick), &config, &SLOWS[..slows], pick);
    }

    /// Levels are jumped over, met in the bar of the entry or of the next cross, and both at once.
    #[test]
    fn crosses_and_levels_share_bars(
        contest in any_contest(),
        bars in any_rough_market(),
        config in any_settings(),
        pick in any::<usize>(),
    ) {
        let (enter, exit) = (Op::CrossesAbove, Op::CrossesAbove);
        let levels = if contest.levels == [false; 3] { [true, true, false] } else { contest.levels };
        check_contest(&Contest { enter, exit, levels, ..contest }, &bars, &config, &SLOWS, pick);
    }
}

/// Accounts follow the crosses by stretches of four tiles: positions go on from one to the next, and levels far away are met there.
#[test]
fn positions_go_on_from_stretch_to_stretch() {
    let bars = random_walk(30_001, 5, 0.5);
    for (sides, size) in [([true, true], 1.0), ([true, false], -0.01), ([false, true], 1.0)] {
        for levels in [[true, true, false], [false, false, true], [true, false, false]] {
            let contest = Contest { sides, size, levels, max_bars: Some(5_000.0), ..Contest::CROSSES };
            // Averages that cross often, and some that cross hardly ever.
            check_contest(&contest, &bars, &SimConfig::default(), &[2.0, 40.0, 4_000.0, 9_000.0], 7);
        }
    }
}
