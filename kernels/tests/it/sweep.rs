//! What the sweep does with one position through a few bars, worked out by hand.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::atomic::AtomicBool;

use polybolos_kernels::bars::{Bars, Column};
use polybolos_kernels::program::{Op, ProgramBuilder, Size};
use polybolos_kernels::sim::{ExitReason, Fill, Intrabar, Returns, Side, SimConfig, Trade};
use polybolos_kernels::stats::Stats;
use polybolos_kernels::sweep::{CombinationError, Run, Sweep, SweepError};

use crate::support::{
    HOUR_MS, RuleSet, SizeSet, closes, constant, hourly, long_rules, random_walk, signal_program, sma_cross,
    with_signals,
};

/// 1,000 quote, no costs, per-bar returns.
const FREE: SimConfig = SimConfig {
    cash: 1000.0,
    maker_fee: 0.0,
    taker_fee: 0.0,
    slippage: 0.0,
    fill: Fill::NextOpen,
    intrabar: Intrabar::StopFirst,
    returns: Returns::Bar,
};

const AT_CLOSE: SimConfig = SimConfig { fill: Fill::Close, ..FREE };

const PLAIN: RuleSet = RuleSet {
    stop_loss: None,
    take_profit: None,
    trailing_stop: None,
    max_bars: None,
    cooldown: None,
    size: SizeSet::Equity(1.0),
};

fn run(bars: &Bars, rules: RuleSet, config: SimConfig) -> Run {
    let program = signal_program(&rules);
    Sweep::new(&program, bars, &config).unwrap().run(&[]).unwrap()
}

/// Side, entry bar and price, exit bar and price, reason, bars held of each trade.
fn brief(run: &Run) -> Vec<(Side, usize, f64, usize, f64, ExitReason, usize)> {
    let line =
        |t: &Trade| (t.side, t.entry_bar, t.entry_price, t.exit_bar, t.exit_price, t.reason, t.bars_held);
    run.trades.iter().map(line).collect()
}

#[test]
fn orders_fill_at_the_next_open() {
    let prices = [[10.0, 10.0, 10.0, 10.0], [20.0, 30.0, 20.0, 25.0], [24.0, 40.0, 24.0, 40.0]];
    let bars = with_signals(hourly(&[prices[0], prices[1], prices[2], [50.0; 4]]), &[(0, "L"), (2, "l")]);
    let run = run(&bars, PLAIN, FREE);
    assert_eq!(brief(&run), [(Side::Long, 1, 20.0, 3, 50.0, ExitReason::Signal, 2)]);
    // 1,000 buys 50 at 20.
    assert_eq!(run.equity, [1000.0, 1250.0, 2000.0, 2500.0]);
    assert_eq!(run.trades[0].pnl, 1500.0);
    assert_eq!(run.trades[0].trade_return, 1.5);
    assert_eq!((run.stats.bars_held, run.stats.bars_in_position), (2, 2));
    assert_eq!(run.stats.final_equity, 2500.0);
}

#[test]
fn orders_fill_at_the_close_when_asked() {
    let bars = with_signals(closes(&[10.0, 20.0, 40.0, 80.0]), &[(1, "L"), (2, "lL"), (3, "L")]);
    let run = run(&bars, PLAIN, AT_CLOSE);
    // A bar has one decision: it leaves at bar 2 and enters again at bar 3, not before.
    assert_eq!(brief(&run), [(Side::Long, 1, 20.0, 2, 40.0, ExitReason::Signal, 1)]);
    assert_eq!(run.equity, [1000.0, 1000.0, 2000.0, 2000.0]);
    assert_eq!((run.stats.bars_held, run.stats.bars_in_position), (1, 1));
}

#[test]
fn decisions_of_the_last_bar_are_not_filled_at_a_next_open() {
    let bars = with_signals(closes(&[10.0, 10.0, 20.0]), &[(0, "L"), (2, "l")]);
    let open = run(&bars, PLAIN, FREE);
    assert!(open.trades.is_empty());
    assert_eq!((open.stats.final_equity, open.stats.bars_in_position, open.stats.bars_held), (2000.0, 2, 0));
    let late = with_signals(closes(&[10.0, 10.0]), &[(1, "L")]);
    assert_eq!(run(&late, PLAIN, FREE).stats.bars_in_position, 0);
}

#[test]
fn both_entries_at_once_are_neither() {
    let bars = with_signals(closes(&[10.0, 10.0, 10.0]), &[(0, "LS")]);
    assert_eq!(run(&bars, PLAIN, FREE).stats.bars_in_position, 0);
}

#[test]
fn costs_are_taken_from_the_budget_and_the_proceeds() {
    let config = SimConfig { taker_fee: 0.25, slippage: 0.25, ..FREE };
    let bars = with_signals(closes(&[8.0, 8.0, 16.0]), &[(0, "L"), (1, "l")]);
    let run = run(&bars, PLAIN, config);
    // Bought at 10: 1000 / 12.5 = 80, notional 800, fee 200. Sold at 12: notional 960, fee 240.
    let trade = run.trades[0];
    assert_eq!((trade.entry_price, trade.exit_price, trade.quantity), (10.0, 12.0, 80.0));
    assert_eq!((trade.fees, trade.pnl, trade.trade_return), (440.0, -280.0, -0.28));
    assert_eq!((run.stats.fees, run.stats.final_equity), (440.0, 720.0));
}

#[test]
fn a_target_pays_the_maker_fee_and_no_slippage() {
    let config = SimConfig { maker_fee: 0.125, slippage: 0.25, ..FREE };
    let rules = RuleSet { take_profit: Some(0.5), ..PLAIN };
    let bars = with_signals(closes(&[8.0, 8.0, 16.0]), &[(0, "L")]);
    let run = run(&bars, rules, config);
    // Bought at 10, target at 15, gapped over to 16: 100 * 16 less an eighth.
    assert_eq!(brief(&run), [(Side::Long, 1, 10.0, 2, 16.0, ExitReason::Target, 2)]);
    assert_eq!((run.stats.fees, run.stats.final_equity), (200.0, 1400.0));
}

#[test]
fn a_gap_through_the_stop_fills_at_the_open() {
    let rules = RuleSet { stop_loss: Some(0.25), ..PLAIN };
    let gap = hourly(&[[100.0; 4], [100.0, 100.0, 80.0, 90.0], [60.0, 90.0, 50.0, 70.0]]);
    let gap = run(&with_signals(gap, &[(0, "L")]), rules, FREE);
    assert_eq!(brief(&gap), [(Side::Long, 1, 100.0, 2, 60.0, ExitReason::Stop, 2)]);
    let touch = hourly(&[[100.0; 4], [100.0, 100.0, 75.0, 90.0]]);
    let touch = run(&with_signals(touch, &[(0, "L")]), rules, FREE);
    assert_eq!(brief(&touch), [(Side::Long, 1, 100.0, 1, 75.0, ExitReason::Stop, 1)]);
}

#[test]
fn a_position_entered_at_a_close_is_not_stopped_in_that_bar() {
    let rules = RuleSet { stop_loss: Some(0.25), ..PLAIN };
    let bars = hourly(&[[100.0, 100.0, 10.0, 100.0], [100.0, 100.0, 70.0, 80.0]]);
    let run = run(&with_signals(bars, &[(0, "L")]), rules, AT_CLOSE);
    assert_eq!(brief(&run), [(Side::Long, 0, 100.0, 1, 75.0, ExitReason::Stop, 1)]);
}

#[test]
fn the_intrabar_rule_decides_when_a_bar_reaches_both_levels() {
    let rules = RuleSet { stop_loss: Some(0.5), take_profit: Some(0.5), ..PLAIN };
    // Long at 100: stop 50, target 150. The second bar opens at `open` and reaches both.
    for (side, letter) in [(Side::Long, "L"), (Side::Short, "S")] {
        let exit = |open: f64, intrabar: Intrabar| {
            let bars = hourly(&[[100.0; 4], [100.0; 4], [open, 160.0, 40.0, 100.0]]);
            let bars = with_signals(bars, &[(0, letter)]);
            let run = run(&bars, rules, SimConfig { intrabar, ..FREE });
            assert_eq!(run.stats.ambiguous_bars, 1);
            assert_eq!(run.trades[0].bars_held, 2);
            (run.trades[0].exit_price, run.trades[0].reason)
        };
        let (stop, target) = if side == Side::Long { (50.0, 150.0) } else { (150.0, 50.0) };
        let (stop_exit, target_exit) = ((stop, ExitReason::Stop), (target, ExitReason::Target));
        assert_eq!(exit(100.0, Intrabar::StopFirst), stop_exit);
        assert_eq!(exit(100.0, Intrabar::TargetFirst), target_exit);
        assert_eq!(exit(100.0, Intrabar::NearestOpen), stop_exit, "equally near");
        let near_stop = if side == Side::Long { 90.0 } else { 110.0 };
        assert_eq!(exit(near_stop, Intrabar::NearestOpen), stop_exit);
        assert_eq!(exit(200.0 - near_stop, Intrabar::NearestOpen), target_exit);
    }
}

#[test]
fn a_gap_beyond_a_level_is_not_ambiguous() {
    let rules = RuleSet { stop_loss: Some(0.5), take_profit: Some(0.5), ..PLAIN };
    let bars = hourly(&[[100.0; 4], [100.0; 4], [150.0, 160.0, 40.0, 100.0]]);
    let run = run(&with_signals(bars, &[(0, "L")]), rules, FREE);
    assert_eq!(brief(&run)[0].5, ExitReason::Target);
    assert_eq!(run.stats.ambiguous_bars, 0);
}

#[test]
fn a_trailing_stop_follows_the_highs_of_earlier_bars() {
    let rules = RuleSet { trailing_stop: Some(0.25), ..PLAIN };
    // Level 75 in bars 0 and 1 whatever their own highs, then 150 of the high 200.
    let bars = hourly(&[
        [100.0; 4],
        [100.0, 200.0, 80.0, 180.0],
        [180.0, 190.0, 151.0, 180.0],
        [180.0, 180.0, 149.0, 160.0],
    ]);
    let trailing = run(&with_signals(bars.clone(), &[(0, "L")]), rules, FREE);
    assert_eq!(brief(&trailing), [(Side::Long, 1, 100.0, 3, 150.0, ExitReason::Trailing, 3)]);
    // The higher of both levels acts; a plain stop names an equal one.
    let both = |stop_loss| {
        let rules = RuleSet { stop_loss: Some(stop_loss), ..rules };
        let bars = hourly(&[[100.0; 4], [100.0, 100.0, 10.0, 50.0]]);
        brief(&run(&with_signals(bars, &[(0, "L")]), rules, FREE))[0]
    };
    assert_eq!(both(0.25), (Side::Long, 1, 100.0, 1, 75.0, ExitReason::Stop, 1));
    assert_eq!(both(0.125), (Side::Long, 1, 100.0, 1, 87.5, ExitReason::Stop, 1));
    assert_eq!(both(0.5), (Side::Long, 1, 100.0, 1, 75.0, ExitReason::Trailing, 1));
}

#[test]
fn a_short_trailing_stop_follows_the_lows() {
    let rules = RuleSet { trailing_stop: Some(0.5), ..PLAIN };
    let bars = hourly(&[[100.0; 4], [100.0, 149.0, 40.0, 60.0], [55.0, 61.0, 50.0, 60.0]]);
    let run = run(&with_signals(bars, &[(0, "S")]), rules, FREE);
    assert_eq!(brief(&run), [(Side::Short, 1, 100.0, 2, 60.0, ExitReason::Trailing, 2)]);
}

#[test]
fn the_time_exit_is_decided_at_the_close_of_the_last_bar_allowed() {
    let rules = RuleSet { max_bars: Some(2.0), ..PLAIN };
    let bars = with_signals(closes(&[1.0, 2.0, 3.0, 4.0, 5.0]), &[(0, "L"), (2, "s")]);
    assert_eq!(
        brief(&run(&bars, rules, FREE)),
        [(Side::Long, 1, 2.0, 3, 4.0, ExitReason::Time, 2)],
        "held in bars 1 and 2, sold at the open of 3"
    );
    assert_eq!(
        brief(&run(&bars, rules, AT_CLOSE)),
        [(Side::Long, 0, 1.0, 2, 3.0, ExitReason::Time, 2)],
        "bought at the close of 0, held in bars 1 and 2"
    );
    let signalled = with_signals(bars, &[(2, "l")]);
    assert_eq!(brief(&run(&signalled, rules, FREE))[0].5, ExitReason::Signal);
}

#[test]
fn the_cooldown_counts_from_the_bar_of_the_exit() {
    let always: Vec<(usize, &str)> = (0..8).map(|t| (t, "L")).collect();
    let prices = closes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let bars = with_signals(with_signals(prices, &always), &[(1, "l")]);
    let entries = |cooldown: f64, config: SimConfig| {
        let rules = RuleSet { cooldown: Some(cooldown), max_bars: Some(1.0), ..PLAIN };
        run(&bars, rules, config).trades.iter().map(|t| (t.entry_bar, t.exit_bar)).collect::<Vec<_>>()
    };
    // Sold at the open of 2: decided again at the close of 2, filled at 3.
    assert_eq!(entries(0.0, FREE), [(1, 2), (3, 4), (5, 6)]);
    assert_eq!(entries(1.0, FREE), [(1, 2), (4, 5)]);
    assert_eq!(entries(2.0, FREE), [(1, 2), (5, 6)]);
    // Sold at the close of 1; that bar has had its decision, so 0 and 1 mean the same.
    assert_eq!(entries(0.0, AT_CLOSE), [(0, 1), (2, 3), (4, 5), (6, 7)]);
    assert_eq!(entries(1.0, AT_CLOSE), [(0, 1), (2, 3), (4, 5), (6, 7)]);
    assert_eq!(entries(2.0, AT_CLOSE), [(0, 1), (3, 4), (6, 7)]);
}

#[test]
fn after_an_intrabar_exit_the_same_close_may_enter() {
    let rules = RuleSet { stop_loss: Some(0.25), ..PLAIN };
    let bars = hourly(&[[100.0; 4], [100.0, 100.0, 75.0, 80.0], [80.0; 4], [90.0; 4]]);
    let bars = with_signals(bars, &[(0, "L"), (1, "L"), (2, "l")]);
    let traded = run(&bars, rules, FREE);
    assert_eq!(
        brief(&traded),
        [
            (Side::Long, 1, 100.0, 1, 75.0, ExitReason::Stop, 1),
            (Side::Long, 2, 80.0, 3, 90.0, ExitReason::Signal, 1)
        ]
    );
    let at_close = run(&bars, rules, AT_CLOSE);
    assert_eq!(at_close.trades[1].entry_bar, 1);
}

#[test]
fn an_opposite_entry_reverses_at_one_price() {
    let rules = RuleSet { cooldown: Some(5.0), ..PLAIN };
    let bars = with_signals(closes(&[10.0, 10.0, 20.0, 10.0, 10.0]), &[(0, "L"), (1, "Sl"), (3, "s")]);
    let reversed = run(&bars, rules, FREE);
    // 100 units from 10 to 20, then 100 units short from 20 back to 10: the cooldown does not hold a reversal back.
    assert_eq!(
        brief(&reversed),
        [
            (Side::Long, 1, 10.0, 2, 20.0, ExitReason::Signal, 1),
            (Side::Short, 2, 20.0, 4, 10.0, ExitReason::Signal, 2)
        ]
    );
    assert_eq!(reversed.equity, [1000.0, 1000.0, 2000.0, 3000.0, 3000.0]);
    assert_eq!((reversed.stats.long_trades, reversed.stats.short_trades), (1, 1));
    let kept = with_signals(closes(&[10.0, 10.0, 20.0, 10.0]), &[(0, "L"), (1, "SL")]);
    assert!(run(&kept, PLAIN, FREE).trades.is_empty(), "both entries while long keep the position");
}

#[test]
fn a_short_earns_what_the_price_loses() {
    let config = SimConfig { taker_fee: 0.125, ..FREE };
    let bars = with_signals(closes(&[10.0, 10.0, 5.0, 4.0]), &[(0, "S"), (2, "s")]);
    let run = run(&bars, PLAIN, config);
    // Sold 100 at 10 less 125; at 5 owes 500; bought back at 4 for 400 and 50.
    assert_eq!(run.equity, [1000.0, 875.0, 1375.0, 1425.0]);
    let trade = run.trades[0];
    assert_eq!((trade.pnl, trade.fees, trade.trade_return), (425.0, 175.0, 425.0 / 450.0));
}

#[test]
fn a_ruined_account_places_no_more_orders() {
    let bars = with_signals(closes(&[10.0, 10.0, 30.0, 30.0, 30.0]), &[(0, "S"), (1, "L"), (3, "S")]);
    let run = run(&bars, PLAIN, FREE);
    assert_eq!(run.trades.len(), 1, "neither the reversal nor the later entry");
    assert_eq!(run.stats.final_equity, -1000.0);
    assert_eq!(run.stats.max_drawdown, 2.0);
    assert!(!run.stats.returns_defined);
    assert_eq!(
        (run.stats.observations, run.stats.mean_return, run.stats.m2, run.stats.downside),
        (5, 0.0, 0.0, 0.0)
    );
}

#[test]
fn the_drawdown_of_an_equity_below_zero_is_counted_from_the_peak_before_it() {
    // Short 100 at 10 twice: equity 1000, -500, 1000, then -900 before the new peak of 1900.
    let prices = [10.0, 10.0, 25.0, 10.0, 10.0, 29.0, 1.0];
    let bars = with_signals(closes(&prices), &[(0, "S"), (2, "s"), (3, "S")]);
    let run = run(&bars, PLAIN, FREE);
    assert_eq!(run.equity, [1000.0, 1000.0, -500.0, 1000.0, 1000.0, -900.0, 1900.0]);
    assert_eq!(run.stats.max_drawdown, 1.9);
}

#[test]
fn sizes_are_capped_by_the_equity() {
    let bars = with_signals(closes(&[10.0, 10.0, 10.0]), &[(0, "L"), (1, "l")]);
    let shorted = with_signals(closes(&[10.0, 10.0, 10.0]), &[(0, "S"), (1, "s")]);
    let quantity = |bars: &Bars, size, stop_loss, taker_fee| {
        let rules = RuleSet { size, stop_loss, ..PLAIN };
        run(bars, rules, SimConfig { taker_fee, ..FREE }).trades[0].quantity
    };
    assert_eq!(quantity(&bars, SizeSet::Equity(0.5), None, 0.25), 40.0);
    assert_eq!(quantity(&bars, SizeSet::Quote(500.0), None, 0.25), 40.0);
    assert_eq!(quantity(&bars, SizeSet::Quote(5000.0), None, 0.25), 80.0);
    assert_eq!(quantity(&shorted, SizeSet::Quote(5000.0), None, 0.25), 100.0);
    // 10 of 1,000 at risk, 2.5 lost per unit.
    assert_eq!(quantity(&bars, SizeSet::Risk(0.01), Some(0.25), 0.25), 4.0);
    assert_eq!(quantity(&bars, SizeSet::Risk(0.9), Some(0.25), 0.25), 80.0);
    assert_eq!(quantity(&shorted, SizeSet::Risk(0.9), Some(0.25), 0.25), 100.0);
}

#[test]
fn statistics_of_trades_are_those_of_their_profits() {
    let prices = [100.0, 100.0, 110.0, 100.0, 90.0, 100.0, 99.0, 100.0, 100.0];
    let bars = with_signals(
        closes(&prices),
        &[(0, "L"), (1, "l"), (2, "L"), (3, "l"), (4, "L"), (5, "l"), (6, "L"), (7, "l")],
    );
    let rules = RuleSet { size: SizeSet::Quote(100.0), ..PLAIN };
    let stats = run(&bars, rules, FREE).stats;
    // +10, -10, -1, 0 of 100 each.
    assert_eq!((stats.trades, stats.wins, stats.max_consecutive_losses), (4, 1, 2));
    assert_eq!((stats.gross_profit, stats.gross_loss, stats.pnl_sum), (10.0, 11.0, -1.0));
    let pnl_m2 = [10.25, -9.75, -0.75, 0.25].map(|d: f64| d * d).iter().sum::<f64>();
    assert!((stats.pnl_m2 - pnl_m2).abs() < 1e-9, "{}", stats.pnl_m2);
    assert_eq!((stats.best_trade, stats.worst_trade), (0.1, -0.1));
    assert!((stats.trade_return_sum + 0.01).abs() < 1e-15);
    // Peak 1,010, then 1,000 and 999.
    assert_eq!(stats.max_drawdown, 1.0 - 999.0 / 1010.0);
}

#[test]
fn no_bars_leave_the_cash() {
    let stats = run(&closes(&[]), PLAIN, FREE).stats;
    assert_eq!(stats, Stats { final_equity: 1000.0, returns_defined: true, ..Stats::default() });
    let daily = run(&closes(&[]), PLAIN, SimConfig { returns: Returns::Daily, ..FREE }).stats;
    assert_eq!(daily, stats);
}

#[test]
fn daily_returns_are_sampled_at_midnights_across_gaps() {
    // Opens at 22:00 and 23:00 of the first day, 00:00 of the second, 05:00 of the fifth, 23:00 of the fifth.
    let mut bars = with_signals(closes(&[10.0, 10.0, 20.0, 40.0, 10.0]), &[(0, "L")]);
    bars.open_time_ms = [22, 23, 24, 101, 119].map(|hour| hour * HOUR_MS).to_vec();
    let stats = run(&bars, PLAIN, SimConfig { returns: Returns::Daily, ..FREE }).stats;
    // Midnights at hours 24, 48, 72, 96, 120: equity 1000, 2000, 2000, 2000, 1000.
    assert_eq!(stats.observations, 5);
    assert!(stats.returns_defined);
    let returns: [f64; 5] = [0.0, 1.0, 0.0, 0.0, -0.5];
    let mean = 0.1;
    assert!((stats.mean_return - mean).abs() < 1e-16);
    let moment = |k: i32| returns.iter().map(|r| (r - mean).powi(k)).sum::<f64>();
    for (got, k) in [(stats.m2, 2), (stats.m3, 3), (stats.m4, 4)] {
        assert!((got - moment(k)).abs() < 1e-14, "m{k}: {got}");
    }
    assert_eq!(stats.downside, 0.25);
    assert_eq!(stats.max_drawdown, 0.75, "drawdown sees every close");
}

#[test]
fn an_undefined_signal_is_not_true() {
    let mut builder = ProgramBuilder::new(0);
    let close = builder.push(Op::Column(Column::Close), &[], 0).unwrap();
    let zero = constant(&mut builder, 0.0);
    let one = constant(&mut builder, 1.0);
    let undefined = builder.push(Op::Div, &[one, zero], 0).unwrap();
    let always = builder.push(Op::Gt, &[close, zero], 0).unwrap();
    let unknown = builder.push(Op::Gt, &[close, undefined], 0).unwrap();
    let either = builder.push(Op::Or, &[always, unknown], 0).unwrap();
    let negated = builder.push(Op::Not, &[unknown], 0).unwrap();
    let rules = long_rules(&mut builder, always, unknown);
    let mut program = builder.finish(rules);
    let bars = closes(&[1.0, 2.0, 3.0]);
    for (enter, bars_in_position) in [(always, 2), (unknown, 0), (either, 0), (negated, 0)] {
        program.rules.long_enter = Some(enter);
        let run = Sweep::new(&program, &bars, &FREE).unwrap().run(&[]).unwrap();
        assert_eq!(run.stats.bars_in_position, bars_in_position);
    }
}

#[test]
fn a_scalar_signal_holds_on_every_bar() {
    let mut builder = ProgramBuilder::new(1);
    let param = builder.push(Op::Param(0), &[], 0).unwrap();
    let zero = constant(&mut builder, 0.0);
    let positive = builder.push(Op::Gt, &[param, zero], 0).unwrap();
    let never = builder.push(Op::Lt, &[param, zero], 0).unwrap();
    let rules = long_rules(&mut builder, positive, never);
    let program = builder.finish(rules);
    let bars = closes(&[1.0; 100]);
    let mut sweep = Sweep::new(&program, &bars, &FREE).unwrap();
    assert_eq!(sweep.run(&[1.0]).unwrap().stats.bars_in_position, 99);
    assert_eq!(sweep.run(&[0.0]).unwrap().stats.bars_in_position, 0);
}

#[test]
fn rules_out_of_range_are_named_with_their_value() {
    let cases = [
        (RuleSet { stop_loss: Some(1.0), ..PLAIN }, "stop_loss is 1; it must be above 0 and below 1"),
        (RuleSet { trailing_stop: Some(0.0), ..PLAIN }, "trailing_stop is 0;"),
        (RuleSet { take_profit: Some(-0.5), ..PLAIN }, "take_profit is -0.5;"),
        (
            RuleSet { max_bars: Some(2.5), ..PLAIN },
            "max_bars is 2.5; it must be a whole number of bars from 1",
        ),
        (RuleSet { max_bars: Some(0.0), ..PLAIN }, "max_bars is 0;"),
        (RuleSet { cooldown: Some(-1.0), ..PLAIN }, "cooldown is -1;"),
        (RuleSet { cooldown: Some(f64::NAN), ..PLAIN }, "cooldown is undefined; it must be a whole number"),
        (
            RuleSet { size: SizeSet::Equity(1.5), ..PLAIN },
            "size.equity is 1.5; it must be above 0 and at most 1",
        ),
        (RuleSet { size: SizeSet::Quote(0.0), ..PLAIN }, "size.quote is 0;"),
        (RuleSet { size: SizeSet::Risk(-1.0), stop_loss: Some(0.1), ..PLAIN }, "size.risk is -1;"),
    ];
    let bars = closes(&[1.0; 3]);
    for (rules, message) in cases {
        let program = signal_program(&rules);
        let error = Sweep::new(&program, &bars, &FREE).unwrap().run(&[]).unwrap_err();
        assert!(matches!(&error, SweepError::Combination { row: 0, error: CombinationError::Rule { .. } }));
        assert!(error.to_string().contains(message), "{error}");
    }
    // A short's target below zero is allowed; it is never reached.
    let rules = RuleSet { take_profit: Some(2.0), ..PLAIN };
    assert!(run(&with_signals(closes(&[9.0, 9.0, 1.0]), &[(0, "S")]), rules, FREE).trades.is_empty());
}

#[test]
fn what_cannot_be_swept_is_refused_at_the_start() {
    let program = signal_program(&PLAIN);
    let bars = closes(&[1.0, 2.0]);
    let config_error = |config: SimConfig| Sweep::new(&program, &bars, &config).err().unwrap().to_string();
    assert_eq!(config_error(SimConfig { cash: 0.0, ..FREE }), "cash is 0; it must be above 0");
    assert!(config_error(SimConfig { taker_fee: 1.0, ..FREE }).starts_with("taker fee is 1;"));
    assert!(config_error(SimConfig { slippage: f64::NAN, ..FREE }).starts_with("slippage is NaN;"));
    let risk = signal_program(&RuleSet { size: SizeSet::Risk(0.01), ..PLAIN });
    let error = Sweep::new(&risk, &bars, &FREE).err().unwrap();
    assert!(error.to_string().contains("a risk size needs a stop_loss"), "{error}");
    let mut broken = bars.clone();
    broken.low[1] = 5.0;
    let error = Sweep::new(&program, &broken, &FREE).err().unwrap();
    assert_eq!(error.to_string(), "bar 1: low 5 is above high 2");
    let mut number_signal = program.clone();
    number_signal.rules.long_exit = match program.rules.size {
        Size::Equity(node) => Some(node),
        _ => None,
    };
    let error = Sweep::new(&number_signal, &bars, &FREE).err().unwrap();
    assert!(error.to_string().contains("a signal must be a condition"), "{error}");
}

#[test]
fn a_bad_period_names_the_combination() {
    let program = sma_cross();
    let bars = random_walk(50, 1, 0.01);
    let mut sweep = Sweep::new(&program, &bars, &FREE).unwrap();
    let mut out = [Stats::default(); 2];
    let go = AtomicBool::new(false);
    let error = sweep.run_block(&[2.0, 5.0, 2.5, 5.0], &mut out, &go).unwrap_err();
    assert_eq!(
        error.to_string(),
        "combination 1 of the block: n of sma must be a whole number of bars from 1, not 2.5"
    );
    assert_eq!(out[0].observations, 50, "the combination before it is there");
    let error = sweep.run_block(&[2.0, 5.0, 2.0], &mut out, &go).unwrap_err();
    assert_eq!(error, SweepError::Block { values: 3, combinations: 2, params: 2 });
}

#[test]
fn a_cancelled_block_says_how_far_it_came() {
    let program = sma_cross();
    let bars = random_walk(50, 1, 0.01);
    let mut sweep = Sweep::new(&program, &bars, &FREE).unwrap();
    let mut out = [Stats::default(); 2];
    let error = sweep.run_block(&[2.0, 5.0, 3.0, 5.0], &mut out, &AtomicBool::new(true)).unwrap_err();
    assert_eq!(error, SweepError::Cancelled { done: 0 });
    sweep.run_block(&[2.0, 5.0, 3.0, 5.0], &mut out, &AtomicBool::new(false)).unwrap();
    assert!(out.iter().all(|stats| stats.observations == 50), "a sweep goes on after a cancellation");
}

#[test]
fn blocks_order_and_memory_do_not_change_a_bit() {
    let program = sma_cross();
    let bars = random_walk(3000, 7, 0.01);
    let rows: Vec<[f64; 2]> =
        (2..9).flat_map(|fast| (9..30).map(move |slow| [fast as f64, slow as f64])).collect();
    let config = SimConfig { returns: Returns::Daily, ..FREE };
    let sweep_in = |chunk: usize, memo_bytes: usize, backwards: bool| {
        let mut sweep = Sweep::new(&program, &bars, &config).unwrap().with_memo_bytes(memo_bytes);
        let mut rows = rows.clone();
        if backwards {
            rows.reverse();
        }
        let mut all = Vec::new();
        for block in rows.chunks(chunk) {
            let mut out = vec![Stats::default(); block.len()];
            sweep.run_block(&block.concat(), &mut out, &AtomicBool::new(false)).unwrap();
            all.extend(out);
        }
        if backwards {
            all.reverse();
        }
        all
    };
    let whole = sweep_in(rows.len(), usize::MAX, false);
    assert!(whole.iter().any(|stats| stats.trades > 20));
    let series_bytes = 3000 * 8 + 3000;
    for (chunk, memo, backwards) in
        [(1, usize::MAX, false), (5, 0, false), (64, series_bytes, true), (7, 5 * series_bytes, false)]
    {
        assert_eq!(sweep_in(chunk, memo, backwards), whole, "chunks of {chunk}, {memo} bytes");
    }
    let mut one = Sweep::new(&program, &bars, &config).unwrap();
    for (row, stats) in rows.iter().zip(&whole).step_by(13) {
        let run = one.run(row).unwrap();
        assert_eq!(run.stats, *stats);
        assert_eq!(run.trades.len() as u64, stats.trades);
        assert_eq!(run.equity.last(), Some(&stats.final_equity));
    }
}
