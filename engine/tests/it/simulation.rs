//! The worked examples of `docs/semantics.md`, number for number, and the rules around them.

use polybolos_engine::kernels::bars::{Bars, Column};
use polybolos_engine::kernels::program::{NodeId, Op, Program, ProgramBuilder, Rules, Size};
use polybolos_engine::kernels::sim::{ExitReason, Fill, Intrabar, Returns, Side, SimConfig};
use polybolos_engine::signals::{Bar, Signals, SignalsError, Value};
use polybolos_engine::simulation::{Run, SimError, sample_equity, simulate};

const HOUR_MS: i64 = 3_600_000;

/// Open, high, low, close, and the signals that are TRUE at the close: `L` enter long, `l` exit long, `S` enter short,
/// `s` exit short.
type Row = (f64, f64, f64, f64, &'static str);

/// Signals are read from columns, so that a test says bar by bar what the strategy wants.
const SCRIPT: [(char, Column); 4] = [
    ('L', Column::Volume),
    ('l', Column::QuoteVolume),
    ('S', Column::TakerBuyVolume),
    ('s', Column::TakerBuyQuoteVolume),
];

fn bars(rows: &[Row]) -> Bars {
    let price = |get: fn(&Row) -> f64| rows.iter().map(get).collect::<Vec<f64>>();
    let signal = |letter| rows.iter().map(|row| f64::from(u8::from(row.4.contains(letter)))).collect();
    Bars {
        interval_ms: HOUR_MS,
        open_time_ms: (0..rows.len() as i64).map(|t| t * HOUR_MS).collect(),
        open: price(|row| row.0),
        high: price(|row| row.1),
        low: price(|row| row.2),
        close: price(|row| row.3),
        volume: signal('L'),
        quote_volume: signal('l'),
        trades: vec![0.0; rows.len()],
        taker_buy_volume: signal('S'),
        taker_buy_quote_volume: signal('s'),
    }
}

/// Bars that stand still at `price`.
fn still(price: f64, signals: &'static str) -> Row {
    (price, price, price, price, signals)
}

#[derive(Clone, Copy)]
enum Sized {
    Equity(f64),
    Quote(f64),
    Risk(f64),
}

#[derive(Clone, Copy)]
struct Setup {
    stop_loss: Option<f64>,
    take_profit: Option<f64>,
    trailing_stop: Option<f64>,
    max_bars: Option<f64>,
    cooldown: Option<f64>,
    size: Sized,
}

const PLAIN: Setup = Setup {
    stop_loss: None,
    take_profit: None,
    trailing_stop: None,
    max_bars: None,
    cooldown: None,
    size: Sized::Equity(1.0),
};

/// 1000 of cash and no costs.
const FREE: SimConfig = SimConfig {
    cash: 1000.0,
    maker_fee: 0.0,
    taker_fee: 0.0,
    slippage: 0.0,
    fill: Fill::NextOpen,
    intrabar: Intrabar::StopFirst,
    returns: Returns::Daily,
};

fn scripted(setup: &Setup) -> Program {
    let mut builder = ProgramBuilder::new(0);
    let mut push = |op, args: &[NodeId]| builder.push(op, args, 0).unwrap();
    let zero = push(Op::Const(0.0), &[]);
    let [long_enter, long_exit, short_enter, short_exit] = SCRIPT.map(|(_, column)| {
        let column = push(Op::Column(column), &[]);
        Some(push(Op::Gt, &[column, zero]))
    });
    let mut constant = |value: f64| push(Op::Const(value), &[]);
    let rules = Rules {
        long_enter,
        long_exit,
        short_enter,
        short_exit,
        stop_loss: setup.stop_loss.map(&mut constant),
        take_profit: setup.take_profit.map(&mut constant),
        trailing_stop: setup.trailing_stop.map(&mut constant),
        max_bars: setup.max_bars.map(&mut constant),
        cooldown: setup.cooldown.map(&mut constant),
        size: match setup.size {
            Sized::Equity(value) => Size::Equity(constant(value)),
            Sized::Quote(value) => Size::Quote(constant(value)),
            Sized::Risk(value) => Size::Risk(constant(value)),
        },
    };
    builder.finish(rules)
}

fn run(setup: &Setup, rows: &[Row], config: &SimConfig) -> Run {
    simulate(&scripted(setup), &[], &bars(rows), config).unwrap()
}

#[track_caller]
fn near(actual: f64, expected: f64) {
    assert!((actual - expected).abs() <= 5e-7, "{actual} is not {expected}");
}

/// Side, entry bar, entry price, exit bar, exit price, reason, bars held: what most examples are about.
type Brief = (Side, usize, f64, usize, f64, ExitReason, usize);

#[track_caller]
fn trades(run: &Run, expected: &[Brief]) {
    let brief: Vec<Brief> = run
        .trades
        .iter()
        .map(|t| (t.side, t.entry_bar, t.entry_price, t.exit_bar, t.exit_price, t.reason, t.bars_held))
        .collect();
    assert_eq!(brief.len(), expected.len(), "{brief:?}");
    for (actual, wanted) in brief.iter().zip(expected) {
        assert_eq!(
            (actual.0, actual.1, actual.3, actual.5, actual.6),
            (wanted.0, wanted.1, wanted.3, wanted.5, wanted.6)
        );
        near(actual.2, wanted.2);
        near(actual.4, wanted.4);
    }
}

const LONG_TRADE: [Row; 4] = [
    (100.0, 101.0, 99.0, 100.0, "L"),
    (102.0, 106.0, 101.0, 105.0, ""),
    (105.0, 108.0, 104.0, 107.0, "l"),
    (110.0, 111.0, 108.0, 109.0, ""),
];

#[test]
fn example_1_a_long_trade_at_next_opens_pays_both_fees() {
    let config = SimConfig { maker_fee: 0.001, taker_fee: 0.001, ..FREE };
    let run = run(&PLAIN, &LONG_TRADE, &config);
    trades(&run, &[(Side::Long, 1, 102.0, 3, 110.0, ExitReason::Signal, 2)]);
    let trade = &run.trades[0];
    near(trade.quantity, 9.794_127);
    near(trade.fees, 0.999_001 + 1.077_354);
    near(trade.pnl, 76.276_665);
    near(trade.trade_return, 0.076_276_7);
    for (equity, expected) in run.equity.iter().zip([1000.0, 1_028.383_381, 1_047.971_636, 1_076.276_665]) {
        near(*equity, expected);
    }
    assert_eq!((run.bars_in_position, run.open_position), (2, None));
}

#[test]
fn example_2_fills_at_the_close_with_slippage() {
    let config = SimConfig { slippage: 0.01, fill: Fill::Close, ..FREE };
    let run = run(&PLAIN, &LONG_TRADE, &config);
    trades(&run, &[(Side::Long, 0, 101.0, 2, 105.93, ExitReason::Signal, 2)]);
    near(run.trades[0].quantity, 9.900_990);
    near(run.equity[0], 990.099_010);
    near(run.equity[1], 1_039.603_960);
    near(run.equity[2], 1_048.811_881);
}

#[test]
fn example_3_a_bar_that_reaches_stop_and_target_obeys_the_intrabar_rule() {
    let setup = Setup { stop_loss: Some(0.05), take_profit: Some(0.1), ..PLAIN };
    let rows = [still(100.0, "L"), (100.0, 100.0, 100.0, 100.0, ""), (103.0, 112.0, 94.0, 100.0, "")];
    for (intrabar, price, reason) in [
        (Intrabar::StopFirst, 95.0, ExitReason::Stop),
        (Intrabar::TargetFirst, 110.0, ExitReason::Target),
        (Intrabar::NearestOpen, 110.0, ExitReason::Target),
    ] {
        let run = run(&setup, &rows, &SimConfig { intrabar, ..FREE });
        trades(&run, &[(Side::Long, 1, 100.0, 2, price, reason, 2)]);
        assert_eq!(run.ambiguous_bars, 1);
    }
    let nearer_the_stop = [still(100.0, "L"), still(100.0, ""), (102.0, 112.0, 94.0, 100.0, "")];
    let equally_near = [still(100.0, "L"), still(100.0, ""), (102.5, 112.0, 94.0, 100.0, "")];
    for rows in [nearer_the_stop, equally_near] {
        let run = run(&setup, &rows, &SimConfig { intrabar: Intrabar::NearestOpen, ..FREE });
        trades(&run, &[(Side::Long, 1, 100.0, 2, 95.0, ExitReason::Stop, 2)]);
    }
}

#[test]
fn example_4_an_open_beyond_a_level_fills_at_the_open_and_a_target_pays_maker_fee_without_slippage() {
    let setup = Setup { stop_loss: Some(0.05), take_profit: Some(0.1), ..PLAIN };
    let config = SimConfig { slippage: 0.01, maker_fee: 0.0005, taker_fee: 0.001, ..FREE };
    // The entry fills at 101, so the stop lies at 95.95 and the target at 111.1.
    let gap_down =
        run(&setup, &[still(100.0, "L"), still(100.0, ""), (90.0, 112.0, 89.0, 91.0, "")], &config);
    trades(&gap_down, &[(Side::Long, 1, 101.0, 2, 89.1, ExitReason::Stop, 2)]);
    assert_eq!(gap_down.ambiguous_bars, 0);
    let inside = run(&setup, &[still(100.0, "L"), still(100.0, ""), (99.0, 99.0, 95.0, 96.0, "")], &config);
    trades(&inside, &[(Side::Long, 1, 101.0, 2, 94.9905, ExitReason::Stop, 2)]);
    let target =
        run(&setup, &[still(100.0, "L"), still(100.0, ""), (109.0, 112.0, 109.0, 110.0, "")], &config);
    trades(&target, &[(Side::Long, 1, 101.0, 2, 111.1, ExitReason::Target, 2)]);
    near(target.trades[0].fees, 0.999_001 + 0.549_451);
    let gap_up =
        run(&setup, &[still(100.0, "L"), still(100.0, ""), (115.0, 116.0, 90.0, 110.0, "")], &config);
    trades(&gap_up, &[(Side::Long, 1, 101.0, 2, 115.0, ExitReason::Target, 2)]);
}

#[test]
fn an_open_at_a_level_has_reached_it_and_the_bar_is_not_ambiguous() {
    let setup = Setup { stop_loss: Some(0.25), take_profit: Some(0.25), ..PLAIN };
    for (open, reason) in [(75.0, ExitReason::Stop), (125.0, ExitReason::Target)] {
        for intrabar in [Intrabar::StopFirst, Intrabar::TargetFirst, Intrabar::NearestOpen] {
            let rows = [still(100.0, "L"), still(100.0, ""), (open, 130.0, 70.0, 100.0, "")];
            let run = run(&setup, &rows, &SimConfig { intrabar, ..FREE });
            trades(&run, &[(Side::Long, 1, 100.0, 2, open, reason, 2)]);
            assert_eq!(run.ambiguous_bars, 0);
        }
    }
}

#[test]
fn example_5_levels_act_in_the_entry_bar_after_an_open_and_from_the_next_bar_after_a_close() {
    let setup = Setup { stop_loss: Some(0.05), ..PLAIN };
    let rows =
        [(100.0, 100.0, 90.0, 100.0, "L"), (100.0, 101.0, 94.0, 100.0, ""), (100.0, 101.0, 94.0, 99.0, "")];
    let at_open = run(&setup, &rows, &FREE);
    trades(&at_open, &[(Side::Long, 1, 100.0, 1, 95.0, ExitReason::Stop, 1)]);
    let at_close = run(&setup, &rows, &SimConfig { fill: Fill::Close, ..FREE });
    trades(&at_close, &[(Side::Long, 0, 100.0, 1, 95.0, ExitReason::Stop, 1)]);
}

#[test]
fn example_6_a_trailing_stop_follows_the_highs_of_the_bars_before() {
    let setup = Setup { trailing_stop: Some(0.1), ..PLAIN };
    let rows = [
        still(100.0, "L"),
        (100.0, 120.0, 100.0, 118.0, ""),
        (118.0, 130.0, 109.0, 125.0, ""),
        (125.0, 126.0, 116.0, 117.0, ""),
    ];
    // Stops: 90 in bar 1, 108 in bar 2 (its own high of 130 comes too late), 117 in bar 3.
    trades(&run(&setup, &rows, &FREE), &[(Side::Long, 1, 100.0, 3, 117.0, ExitReason::Trailing, 3)]);
    // A fixed stop at 95 is the higher one until bar 2; with both at 90 the reason is the fixed one.
    let both = Setup { stop_loss: Some(0.1), ..setup };
    let drop_at_once = [still(100.0, "L"), (100.0, 100.0, 89.0, 90.0, "")];
    trades(&run(&both, &drop_at_once, &FREE), &[(Side::Long, 1, 100.0, 1, 90.0, ExitReason::Stop, 1)]);
    let short = [still(100.0, "S"), (100.0, 100.0, 80.0, 82.0, ""), (82.0, 89.0, 81.0, 85.0, "")];
    trades(&run(&setup, &short, &FREE), &[(Side::Short, 1, 100.0, 2, 88.0, ExitReason::Trailing, 2)]);
}

#[test]
fn example_7_a_reversal_closes_and_opens_at_one_price() {
    let config = SimConfig { taker_fee: 0.001, maker_fee: 0.001, ..FREE };
    let rows = [still(100.0, "L"), still(100.0, "S"), still(110.0, ""), still(99.0, "s"), still(99.0, "")];
    let run = run(&PLAIN, &rows, &config);
    trades(
        &run,
        &[
            (Side::Long, 1, 100.0, 2, 110.0, ExitReason::Signal, 1),
            (Side::Short, 2, 110.0, 4, 99.0, ExitReason::Signal, 2),
        ],
    );
    near(run.trades[0].pnl, 97.802_198);
    near(run.trades[1].quantity, 9.980_020);
    near(run.trades[1].pnl, 107.694_396);
    near(run.trades[1].trade_return, 0.108_891_1);
    near(run.equity[2], 1_096.704_396);
    near(run.equity[4], 1_205.496_593);
    // While long.enter holds too, the short signal does not reverse.
    let held = [still(100.0, "L"), still(100.0, "LS"), still(110.0, "")];
    assert!(super::simulation::run(&PLAIN, &held, &FREE).trades.is_empty());
}

#[test]
fn example_8_a_cooldown_blocks_entry_decisions_but_not_a_reversal() {
    let rows = [
        still(100.0, "L"),
        still(100.0, "l"),
        still(100.0, "L"),
        still(100.0, "L"),
        still(100.0, "L"),
        still(100.0, ""),
    ];
    for (cooldown, entry_bar) in [(0.0, Some(3)), (1.0, Some(4)), (2.0, Some(5)), (3.0, None)] {
        let run = run(&Setup { cooldown: Some(cooldown), ..PLAIN }, &rows, &FREE);
        trades(&run, &[(Side::Long, 1, 100.0, 2, 100.0, ExitReason::Signal, 1)]);
        assert_eq!(run.open_position.map(|position| position.entry_bar), entry_bar, "cooldown {cooldown}");
    }
    let reversed = [still(100.0, "L"), still(100.0, "S"), still(100.0, "L"), still(100.0, "")];
    let run = run(&Setup { cooldown: Some(9.0), ..PLAIN }, &reversed, &FREE);
    assert_eq!(run.trades.len(), 2);
}

#[test]
fn example_9_a_time_exit_is_decided_at_the_close_of_the_last_bar_it_grants() {
    let rows = [still(100.0, "L"), still(101.0, ""), still(102.0, ""), still(103.0, ""), still(104.0, "")];
    let setup = Setup { max_bars: Some(2.0), ..PLAIN };
    trades(&run(&setup, &rows, &FREE), &[(Side::Long, 1, 101.0, 3, 103.0, ExitReason::Time, 2)]);
    let at_close = SimConfig { fill: Fill::Close, ..FREE };
    trades(&run(&setup, &rows, &at_close), &[(Side::Long, 0, 100.0, 2, 102.0, ExitReason::Time, 2)]);
    let with_signal = [rows[0], rows[1], still(102.0, "l"), rows[3]];
    trades(&run(&setup, &with_signal, &FREE), &[(Side::Long, 1, 101.0, 3, 103.0, ExitReason::Signal, 2)]);
}

#[test]
fn example_10_sizes() {
    let rows = |side| [still(100.0, side), still(100.0, "")];
    let config = SimConfig { taker_fee: 0.001, ..FREE };
    let stop = Setup { stop_loss: Some(0.05), ..PLAIN };
    for (setup, long, short) in [
        (Setup { size: Sized::Equity(0.5), ..PLAIN }, 4.995_005, 5.0),
        (Setup { size: Sized::Quote(300.0), ..PLAIN }, 2.997_003, 3.0),
        (Setup { size: Sized::Quote(5000.0), ..PLAIN }, 9.990_010, 10.0),
        (Setup { size: Sized::Risk(0.01), ..stop }, 2.0, 2.0),
        (Setup { size: Sized::Risk(0.2), ..stop }, 9.990_010, 10.0),
    ] {
        for (side, expected) in [("L", long), ("S", short)] {
            near(run(&setup, &rows(side), &config).open_position.unwrap().quantity, expected);
        }
    }
}

#[test]
fn example_11_a_short_can_ruin_the_account_and_then_nothing_is_placed() {
    let rows = [still(100.0, "S"), still(100.0, "s"), still(250.0, "L"), still(250.0, "S"), still(250.0, "")];
    let run = run(&PLAIN, &rows, &FREE);
    trades(&run, &[(Side::Short, 1, 100.0, 2, 250.0, ExitReason::Signal, 1)]);
    assert_eq!(run.equity, [1000.0, 1000.0, -500.0, -500.0, -500.0]);
    near(run.trades[0].trade_return, -0.6);
    assert_eq!(run.open_position, None);
    let per_bar = SimConfig { returns: Returns::Bar, ..FREE };
    let stats = run.stats(&bars(&rows), &per_bar);
    assert!(!stats.returns_defined);
    assert_eq!((stats.observations, stats.mean_return, stats.m2), (5, 0.0, 0.0));
    near(stats.max_drawdown, 1.5);
}

#[test]
fn example_12_both_entries_at_once_enter_nothing_and_the_last_bar_s_order_is_not_filled() {
    let rows = [still(100.0, "LS"), still(100.0, ""), still(100.0, "L")];
    let next_open = run(&PLAIN, &rows, &FREE);
    assert_eq!((next_open.open_position, next_open.equity), (None, vec![1000.0; 3]));
    let at_close = run(&PLAIN, &rows, &SimConfig { fill: Fill::Close, taker_fee: 0.001, ..FREE });
    assert_eq!(at_close.open_position.map(|position| position.entry_bar), Some(2));
    near(at_close.equity[2], 999.000_999);
    near(at_close.fees, 0.999_001);
    assert_eq!(at_close.bars_in_position, 0);
}

#[test]
fn after_an_intrabar_exit_the_same_close_may_enter_but_an_exit_at_the_close_ends_the_bar() {
    let setup = Setup { stop_loss: Some(0.05), ..PLAIN };
    let rows = [still(100.0, "L"), (100.0, 100.0, 94.0, 96.0, "L"), still(96.0, "")];
    let run_at = |fill, rows: &[Row]| run(&setup, rows, &SimConfig { fill, ..FREE });
    assert_eq!(run_at(Fill::NextOpen, &rows).open_position.unwrap().entry_bar, 2);
    assert_eq!(run_at(Fill::Close, &rows).open_position.unwrap().entry_bar, 1);
    let leave_and_enter = [still(100.0, "L"), still(100.0, "lL"), still(100.0, "")];
    let run = run_at(Fill::Close, &leave_and_enter);
    assert_eq!((run.trades.len(), run.open_position), (1, None));
}

#[test]
fn example_13_daily_samples_are_taken_at_midnights() {
    let hour = |h: i64| h * HOUR_MS;
    let mut bars = bars(&[still(1.0, ""); 6]);
    // Opens at 22:00, 23:00; a gap over a whole day; then 23:00, 00:00, 01:00 and 02:00 two days later.
    bars.open_time_ms = vec![hour(22), hour(23), hour(71), hour(72), hour(73), hour(74)];
    let equity = [1010.0, 1020.0, 1030.0, 1040.0, 1050.0, 1060.0];
    assert_eq!(sample_equity(&equity, &bars, &FREE), [1020.0, 1020.0, 1030.0]);
    let per_bar = SimConfig { returns: Returns::Bar, ..FREE };
    assert_eq!(sample_equity(&equity, &bars, &per_bar), equity);
    bars.interval_ms = 24 * HOUR_MS;
    assert_eq!(sample_equity(&equity, &bars, &FREE), equity);
}

#[test]
fn a_midnight_before_the_first_close_carries_the_initial_cash_and_one_at_the_first_open_does_not_count() {
    let mut one = bars(&[still(1.0, "")]);
    one.interval_ms = 4 * HOUR_MS;
    one.open_time_ms = vec![22 * HOUR_MS];
    assert_eq!(sample_equity(&[1500.0], &one, &FREE), [1000.0]);
    one.open_time_ms = vec![24 * HOUR_MS];
    assert_eq!(sample_equity(&[1500.0], &one, &FREE), [0.0; 0]);
    one.open_time_ms = vec![20 * HOUR_MS];
    assert_eq!(sample_equity(&[1500.0], &one, &FREE), [1500.0]);
    one.open_time_ms = vec![-4 * HOUR_MS];
    assert_eq!(sample_equity(&[1500.0], &one, &FREE), [1500.0]);
}

#[test]
fn statistics_of_a_run_follow_their_definitions() {
    let rows = [
        still(100.0, "L"),
        still(100.0, ""),
        still(110.0, ""),
        still(88.0, "l"),
        still(99.0, "S"),
        still(99.0, "s"),
        still(99.0, ""),
    ];
    let config = SimConfig { returns: Returns::Bar, ..FREE };
    let run = run(&PLAIN, &rows, &config);
    let stats = run.stats(&bars(&rows), &config);
    // Equity: 1000 1000 1100 880 990 990 990; returns: 0 0 0.1 -0.2 0.125 0 0.
    near(stats.final_equity, 990.0);
    assert_eq!((stats.observations, stats.returns_defined), (7, true));
    near(stats.mean_return, 0.025 / 7.0);
    near(stats.downside, 0.04);
    near(stats.m2, 0.065_535_714);
    near(stats.max_drawdown, 0.2);
    assert_eq!((stats.trades, stats.long_trades, stats.short_trades, stats.wins), (2, 1, 1, 0));
    near(stats.gross_loss, 10.0);
    near(stats.pnl_sum, -10.0);
    near(stats.pnl_m2, 50.0);
    near(stats.worst_trade, -0.01);
    near(stats.best_trade, 0.0);
    assert_eq!((stats.max_consecutive_losses, stats.bars_held, stats.bars_in_position), (1, 4, 4));
}

#[test]
fn no_bars_and_one_bar_are_runs_too() {
    let none = run(&PLAIN, &[], &FREE);
    let stats = none.stats(&bars(&[]), &FREE);
    assert_eq!((stats.final_equity, stats.observations, stats.returns_defined), (1000.0, 0, true));
    let one = run(&PLAIN, &[still(100.0, "L")], &FREE);
    assert_eq!((one.trades.len(), one.equity), (0, vec![1000.0]));
}

#[test]
fn rule_values_outside_their_domains_name_the_rule_and_the_way_out() {
    let cases: [(Setup, &str); 8] = [
        (Setup { stop_loss: Some(1.0), ..PLAIN }, "stop_loss must be a fraction above 0 and below 1, not 1"),
        (
            Setup { trailing_stop: Some(0.0), ..PLAIN },
            "trailing_stop must be a fraction above 0 and below 1, not 0",
        ),
        (Setup { take_profit: Some(-0.5), ..PLAIN }, "take_profit must be a number above 0, not -0.5"),
        (Setup { max_bars: Some(0.0), ..PLAIN }, "max_bars must be a whole number of bars from 1, not 0"),
        (Setup { cooldown: Some(1.5), ..PLAIN }, "cooldown must be a whole number of bars from 0, not 1.5"),
        (
            Setup { size: Sized::Equity(1.1), ..PLAIN },
            "size by equity must be a fraction above 0, at most 1, not 1.1",
        ),
        (Setup { size: Sized::Quote(f64::NAN), ..PLAIN }, "size by quote must be a number above 0, not NaN"),
        (
            Setup { size: Sized::Risk(0.1), ..PLAIN },
            "size by risk needs a stop_loss; add one, or size by equity or quote",
        ),
    ];
    for (setup, message) in cases {
        let error = simulate(&scripted(&setup), &[], &bars(&[]), &FREE).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    for config in [
        SimConfig { cash: 0.0, ..FREE },
        SimConfig { slippage: 1.0, ..FREE },
        SimConfig { maker_fee: -0.1, ..FREE },
        SimConfig { taker_fee: f64::NAN, ..FREE },
    ] {
        let error = simulate(&scripted(&PLAIN), &[], &bars(&[]), &config).unwrap_err();
        assert!(matches!(error, SimError::Config { .. }), "{error}");
    }
    let mut broken = bars(&[still(100.0, ""), still(100.0, "")]);
    broken.open_time_ms[1] = 0;
    assert!(matches!(simulate(&scripted(&PLAIN), &[], &broken, &FREE), Err(SimError::Bars(_))));
}

/// A program whose `long_enter` is `signal`, for looking at single nodes.
fn observing(builder: ProgramBuilder, signal: Option<NodeId>, size: NodeId) -> Program {
    builder.finish(Rules {
        long_enter: signal,
        long_exit: None,
        short_enter: None,
        short_exit: None,
        stop_loss: None,
        take_profit: None,
        trailing_stop: None,
        max_bars: None,
        cooldown: None,
        size: Size::Equity(size),
    })
}

#[test]
fn example_14_a_higher_timeframe_is_known_once_its_bar_has_closed() {
    let mut builder = ProgramBuilder::new(0);
    let one = builder.push(Op::Const(1.0), &[], 0).unwrap();
    let frame = builder.frame(4 * HOUR_MS).unwrap();
    let lifted =
        [Column::Close, Column::High, Column::Open, Column::Volume, Column::OpenTime].map(|column| {
            let node = builder.push(Op::Column(column), &[], frame).unwrap();
            builder.push(Op::Lift, &[node], frame).unwrap()
        });
    let program = observing(builder, None, one);
    let mut signals = Signals::new(&program, &[], HOUR_MS).unwrap();
    // The hours 2 to 5, then a gap, then 9, 11 and 16: bars [0, 4) [4, 8) [8, 12) of the higher frame end with the
    // base bars that open at 3, at 9 (which opens in a later group) and at 11.
    let hours = [2, 3, 4, 5, 9, 11, 16];
    let known: Vec<Option<[f64; 5]>> = hours
        .iter()
        .map(|&hour| {
            let price = hour as f64;
            let bar = Bar {
                high: price + 0.5,
                close: price + 0.25,
                volume: 1.0,
                ..Bar::flat(hour * HOUR_MS, price)
            };
            signals.push(&bar);
            let values = lifted.map(|id| match signals.value(id) {
                Value::Number(value) => value,
                Value::Condition(_) => f64::NAN,
            });
            (!values[0].is_nan()).then_some(values)
        })
        .collect();
    let hour = HOUR_MS as f64;
    let first = Some([3.25, 3.5, 2.0, 2.0, 0.0]);
    let second = Some([5.25, 5.5, 4.0, 2.0, 4.0 * hour]);
    let third = Some([11.25, 11.5, 9.0, 2.0, 8.0 * hour]);
    assert_eq!(known, [None, first, first, first, second, third, third]);
}

#[test]
fn undefined_spreads_through_conditions_and_makes_a_signal_false() {
    let mut builder = ProgramBuilder::new(1);
    let mut push = |op, args: &[NodeId]| builder.push(op, args, 0).unwrap();
    let (one, null, param) =
        (push(Op::Const(1.0), &[]), push(Op::Const(f64::NAN), &[]), push(Op::Param(0), &[]));
    let (yes, unknown) = (push(Op::Eq, &[one, one]), push(Op::Eq, &[one, null]));
    let no = push(Op::Not, &[yes]);
    let number = |value: f64| Value::Number(value);
    let close = push(Op::Column(Column::Close), &[]);
    let zero = push(Op::Sub, &[close, close]);
    let cases = [
        (push(Op::Or, &[yes, unknown]), Value::Condition(None)),
        (push(Op::And, &[no, unknown]), Value::Condition(None)),
        (push(Op::Or, &[no, yes]), Value::Condition(Some(true))),
        (push(Op::Case, &[yes, one, unknown, param, one]), number(1.0)),
        (push(Op::Case, &[no, one, yes, param, one]), number(5.0)),
        (push(Op::Case, &[unknown, one, param]), number(f64::NAN)),
        (push(Op::Case, &[no, yes, no]), Value::Condition(Some(false))),
        (push(Op::Case, &[unknown, yes, no]), Value::Condition(None)),
        (push(Op::Div, &[close, zero]), number(f64::NAN)),
        (push(Op::Ln, &[zero]), number(f64::NAN)),
        (push(Op::Least, &[close, null]), number(f64::NAN)),
        (push(Op::Greatest, &[one, close, param]), number(100.0)),
        (push(Op::Rem, &[close, param]), number(0.0)),
        (push(Op::CrossesAbove, &[close, one]), Value::Condition(None)),
    ];
    let program = observing(builder, Some(cases[0].0), one);
    let mut signals = Signals::new(&program, &[5.0], HOUR_MS).unwrap();
    let bar = Bar::at(&bars(&[still(100.0, "")]), 0).unwrap();
    assert!(!signals.push(&bar).long_enter);
    for (id, expected) in cases {
        let actual = signals.value(id);
        let is_same = match (actual, expected) {
            (Value::Number(a), Value::Number(b)) => a == b || (a.is_nan() && b.is_nan()),
            _ => actual == expected,
        };
        assert!(is_same, "{:?}: {actual:?}, not {expected:?}", program.node(id).op);
    }
}

#[test]
fn a_program_that_cannot_run_says_why() {
    let program = |build: fn(&mut ProgramBuilder) -> NodeId| {
        let mut builder = ProgramBuilder::new(1);
        let size = builder.push(Op::Const(1.0), &[], 0).unwrap();
        build(&mut builder);
        observing(builder, None, size)
    };
    let lag = program(|builder| {
        let (close, param) =
            (builder.push(Op::Column(Column::Close), &[], 0), builder.push(Op::Param(0), &[], 0));
        builder.push(Op::Lag, &[close.unwrap(), param.unwrap()], 0).unwrap()
    });
    let start = |program: &Program, params: &[f64]| Signals::new(program, params, HOUR_MS).map(|_| ());
    assert_eq!(start(&lag, &[2.0]), Ok(()));
    assert_eq!(start(&lag, &[-1.0]), Err(SignalsError::Lag(-1.0)));
    assert_eq!(start(&lag, &[]), Err(SignalsError::ParamCount { expected: 1, given: 0 }));
    let sma = program(|builder| {
        let (close, param) =
            (builder.push(Op::Column(Column::Close), &[], 0), builder.push(Op::Param(0), &[], 0));
        let (sma, _) = polybolos_engine::kernels::indicators::by_output("sma").unwrap();
        builder.push(Op::Indicator(sma), &[close.unwrap(), param.unwrap()], 0).unwrap()
    });
    let message = start(&sma, &[0.0]).unwrap_err().to_string();
    assert!(message.contains("sma") && message.contains("not 0"), "{message}");
    let frame = program(|builder| {
        let frame = builder.frame(HOUR_MS + HOUR_MS / 2).unwrap();
        builder.push(Op::Column(Column::Close), &[], frame).unwrap()
    });
    assert_eq!(start(&frame, &[0.0]), Err(SignalsError::Frame { frame_ms: 5_400_000, interval_ms: HOUR_MS }));
}
