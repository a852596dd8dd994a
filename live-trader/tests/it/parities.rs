//! Parity: sessions of the trader on a simulated exchange, each with one thing that makes it differ from its backtest.

use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::sim::SimConfig;
use polybolos_engine::simulation::SizeValue;
use polybolos_live_trader::filters::{SymbolRules, SymbolStatus};
use polybolos_live_trader::ledger::CloseReason;
use polybolos_live_trader::parity::{Cause, Difference, ParityError, Report, Settings, What, compare};
use polybolos_live_trader::risk::Limits;
use polybolos_live_trader::trader::{EntryStyle, Event, Operator, Plan, Record};
use serde_json::json;

use crate::trader::LEVELS;
use crate::trader::faults::Faults;
use crate::trader::market::{HOUR_MS, PLAIN, Setup, no_limits, program, symbol, walk};
use crate::trader::world::World;

const SEED: u64 = 3;

fn session(
    setup: &Setup,
    change: impl FnOnce(&mut Plan, &mut polybolos_live_trader::simulator::Settings),
) -> World {
    let bars = walk(SEED, 120, 40, 20);
    World::with(
        setup,
        vec![(symbol(), bars)],
        EntryStyle::Market,
        Faults::default(),
        SEED,
        |plan, settings| {
            plan.collar_bps = 0.into();
            change(plan, settings);
        },
    )
}

/// A session whose strategy wants in and out at the closes of these bars, and nothing else.
fn scripted(setup: &Setup, enter: &[usize], exit: &[usize]) -> World {
    scripted_by(EntryStyle::Market, setup, enter, exit)
}

fn scripted_by(entry: EntryStyle, setup: &Setup, enter: &[usize], exit: &[usize]) -> World {
    let mut bars = walk(SEED, 60, 0, 0);
    enter.iter().for_each(|t| bars.volume[*t] = 1.0);
    exit.iter().for_each(|t| bars.quote_volume[*t] = 1.0);
    let pairs = vec![(symbol(), bars)];
    World::with(setup, pairs, entry, Faults::default(), SEED, |plan, _| plan.collar_bps = 0.into())
}

/// Plays `world` up to the opening of bar `hour`.
fn play_until(world: &mut World, hour: usize) {
    world.settle();
    while world.bars_published() < hour {
        assert!(world.step());
    }
}

fn report_with(
    setup: &Setup,
    records: Vec<Record>,
    config: SimConfig,
    collar_bps: f64,
) -> Result<Report, ParityError> {
    let program = program(setup);
    let settings = Settings {
        program: &program,
        params: &[],
        interval: Interval::from_ms(HOUR_MS).unwrap(),
        config,
        collar_bps,
        tolerance_bps: 0.5,
    };
    compare(records, &settings)
}

fn report(setup: &Setup, world: &World) -> Report {
    report_with(setup, world.history.clone(), SimConfig::default(), 0.0).unwrap()
}

/// Differences of one kind with their causes.
fn causes(report: &Report, is_wanted: impl Fn(&What) -> bool) -> Vec<Cause> {
    let differences = report.symbols.iter().flat_map(|symbol| &symbol.differences);
    differences.filter(|found| is_wanted(&found.what)).map(|found| found.cause.clone()).collect()
}

#[track_caller]
fn assert_explained(report: &Report) {
    let text = report.lines(&|ms| (ms / HOUR_MS).to_string()).join("\n");
    assert_eq!(report.unexplained, 0, "{text}");
}

#[test]
fn a_session_without_incidents_is_its_backtest() {
    for setup in [PLAIN, LEVELS, Setup { trailing_stop: Some(0.025), max_bars: Some(9.0), ..PLAIN }] {
        let mut world = session(&setup, |_, _| {});
        world.run();
        let report = report(&setup, &world);
        assert_explained(&report);
        let symbol = &report.symbols[0];
        assert!(symbol.matched_trades >= 8, "{symbol:?}");
        assert_eq!((symbol.matched_trades, symbol.missing_bars), (symbol.backtest_trades, 0));
        assert_eq!(symbol.live_trades, symbol.matched_trades);
        let left = causes(&report, |what| {
            !matches!(what, What::Quantity { .. } | What::ExitPrice { .. } | What::EntryPrice { .. })
        });
        assert_eq!(left, []);
        let rounded = causes(&report, |_| true);
        assert!(rounded.iter().all(|cause| matches!(cause, Cause::Rounding | Cause::Earlier)), "{rounded:?}");
    }
}

#[test]
fn a_denied_entry_names_the_limit_and_what_follows_is_told_apart() {
    let mut world = session(&PLAIN, |plan, _| {
        let mut limits = serde_json::to_value(no_limits()).unwrap();
        limits["price_collar_bps"] = json!(30);
        plan.limits = serde_json::from_value::<Limits>(limits).unwrap();
    });
    world.run();
    let report = report(&PLAIN, &world);
    assert_explained(&report);
    let missing = causes(&report, |what| *what == What::EntryMissing);
    assert!(
        missing
            .iter()
            .any(|cause| matches!(cause, Cause::Risk(text) if text.starts_with("price_collar_bps")))
    );
}

#[test]
fn slippage_and_another_fee_are_named() {
    let mut world = session(&PLAIN, |plan, settings| {
        settings.slippage = 0.001;
        settings.taker_fee = 0.0005;
        plan.taker_fee = "0.0005".parse().unwrap();
        plan.collar_bps = 20.into();
    });
    world.run();
    let found = report_with(&PLAIN, world.history.clone(), SimConfig::default(), 20.0).unwrap();
    assert_explained(&found);
    let prices = causes(&found, |what| matches!(what, What::EntryPrice { .. } | What::ExitPrice { .. }));
    assert!(prices.len() >= 8 && prices.iter().all(|cause| *cause == Cause::FillPrice), "{prices:?}");
    let fees = causes(&found, |what| matches!(what, What::FeeRate { .. }));
    assert!(fees.len() >= 8 && fees.iter().all(|cause| *cause == Cause::Commission));
    let config = SimConfig { slippage: 0.001, taker_fee: 0.0005, maker_fee: 0.0005, ..SimConfig::default() };
    let same = report_with(&PLAIN, world.history.clone(), config, 20.0).unwrap();
    let left = causes(&same, |what| !matches!(what, What::Quantity { .. }));
    assert!(left.iter().all(|cause| *cause == Cause::Rounding), "{left:?}");
    let first = causes(&same, |what| matches!(what, What::Quantity { .. }));
    assert!(matches!(first[0], Cause::Collar), "{first:?}");
    assert_explained(&same);
}

#[test]
fn a_position_that_an_operator_closed_names_him() {
    let mut world = session(&LEVELS, |_, _| {});
    world.settle();
    while world.trader.positions().is_empty() {
        assert!(world.step());
    }
    world.tell(Event::Operator(Operator::Close(symbol())));
    world.run();
    let report = report(&LEVELS, &world);
    assert_explained(&report);
    let by = causes(&report, |what| matches!(what, What::ExitReason { .. } | What::ExitBar { .. }));
    assert!(by.contains(&Cause::ClosedBy(CloseReason::Operator)), "{by:?}");
}

#[test]
fn a_paused_bot_s_entries_say_so() {
    let mut world = session(&PLAIN, |_, _| {});
    world.settle();
    (0..10).for_each(|_| assert!(world.step()));
    world.tell(Event::Operator(Operator::Pause { reason: "lunch".to_owned() }));
    (0..40).for_each(|_| assert!(world.step()));
    world.tell(Event::Operator(Operator::Resume));
    world.run();
    let report = report(&PLAIN, &world);
    assert_explained(&report);
    let missing = causes(&report, |what| *what == What::EntryMissing);
    assert!(missing.contains(&Cause::NotTrading("paused: lunch".to_owned())), "{missing:?}");
}

/// A pair's rules as they are, changed.
fn changed_rules(world: &World, change: impl FnOnce(&mut SymbolRules)) -> SymbolRules {
    let mut rules = world.plan.symbols[&symbol()].rules.clone();
    change(&mut rules);
    rules
}

fn tell_rules(world: &mut World, change: impl FnOnce(&mut SymbolRules)) {
    let rules = Box::new(changed_rules(world, change));
    world.tell(Event::Rules { rules });
}

fn is_halted(rules: &mut SymbolRules) {
    rules.status = SymbolStatus::Halted;
}

#[test]
fn an_entry_that_was_not_made_names_what_held_it_back() {
    type Incident = fn(&mut World);
    let cases: [(&str, Incident, Cause); 7] = [
        (
            "the exchange said that the pair is halted",
            |world| tell_rules(world, is_halted),
            Cause::Filter("the pair is not trading".to_owned()),
        ),
        (
            "the least quantity is more than all the money",
            |world| tell_rules(world, |rules| rules.lot.min = 1_000_000.into()),
            Cause::Filter("filter LOT_SIZE: 104.84255 against a limit of 1000000".to_owned()),
        ),
        (
            "the exchange refuses, and nobody had said so",
            |world| assert!(world.simulator.revise_rules(&changed_rules(world, is_halted))),
            Cause::NotTaken("-2010: Market is closed.".to_owned()),
        ),
        (
            "the money is gone",
            |world| assert!(world.simulator.transfer("USDT", (-5_000).into())),
            Cause::NotTaken("-2010: Account has insufficient balance for requested action.".to_owned()),
        ),
        (
            "the exchange has shut the bot out",
            |world| {
                world.is_banned = true;
                world.tell(Event::Operator(Operator::Reconcile));
            },
            Cause::NotTrading("418".to_owned()),
        ),
        (
            "the exchange shuts the bot out when it wants in",
            |world| world.is_banned = true,
            Cause::NotTaken("418".to_owned()),
        ),
        (
            "the market's stream is gone",
            |world| world.tell(Event::Market { is_connected: false }),
            Cause::NotTrading("a stream is gone".to_owned()),
        ),
    ];
    for (about, incident, expected) in cases {
        let mut world = scripted(&PLAIN, &[10, 30], &[15, 35]);
        play_until(&mut world, 20);
        incident(&mut world);
        while world.bars_published() < 50 && world.step() {}
        let report = report(&PLAIN, &world);
        let found = &report.symbols[0].differences;
        let is_rounding = |found: &&Difference| found.cause != Cause::Rounding;
        let found: Vec<&Difference> = found.iter().filter(is_rounding).collect();
        assert!(
            matches!(found.as_slice(), [one] if one.what == What::EntryMissing && one.cause == expected
                && one.bar_open_ms == 30 * HOUR_MS),
            "{about}: {found:?}"
        );
    }
}

#[test]
fn an_entry_that_did_not_fill_says_so() {
    let mut world = scripted_by(EntryStyle::Protected, &PLAIN, &[10, 30], &[15, 35]);
    play_until(&mut world, 20);
    // There is never enough on the other side for all of it, and it takes nothing less.
    world.faults.partial = 100;
    world.run();
    let report = report(&PLAIN, &world);
    assert_explained(&report);
    let missing = causes(&report, |what| *what == What::EntryMissing);
    assert_eq!(missing, [Cause::NotTaken("its order ended without a fill".to_owned())]);
}

#[test]
fn an_exit_that_could_not_be_made_says_so() {
    let mut world = scripted(&PLAIN, &[10, 30], &[15, 35]);
    play_until(&mut world, 33);
    world.is_banned = true;
    world.tell(Event::Operator(Operator::Reconcile));
    while world.bars_published() < 50 && world.step() {}
    let report = report(&PLAIN, &world);
    assert_explained(&report);
    let missing = causes(&report, |what| *what == What::ExitMissing);
    assert_eq!(missing, [Cause::NotTrading("418".to_owned())]);
}

#[test]
fn too_little_money_for_anything_is_named() {
    // A size that no decimal can hold buys nothing; the backtest has no such grid.
    let setup = Setup { size: SizeValue::Quote(1e-27), ..PLAIN };
    let mut world = scripted(&setup, &[10], &[15]);
    world.run();
    let report = report(&setup, &world);
    assert_explained(&report);
    let missing = causes(&report, |what| *what == What::EntryMissing);
    assert!(matches!(missing.as_slice(), [Cause::Funds(_)]), "{missing:?}");
}

#[test]
fn a_candle_that_the_bot_never_heard_of_is_named() {
    // Decided at the close of bar 29: the bot fills in bar 30, of which its journal knows nothing.
    for (enter, exit, is_meant) in [
        (29, 40, (|what| matches!(what, What::EntryBar { .. })) as fn(&What) -> bool),
        (20, 29, |what| matches!(what, What::ExitBar { .. })),
    ] {
        let mut world = scripted(&PLAIN, &[10, enter], &[15, exit]);
        world.unheard = 30..33;
        world.run();
        let report = report(&PLAIN, &world);
        assert_explained(&report);
        assert_eq!(report.symbols[0].missing_bars, 3);
        assert_eq!(causes(&report, is_meant), [Cause::MissingCandle(33 * HOUR_MS)], "{enter} to {exit}");
    }
    // What was decided at the close of such a candle was decided by nobody.
    let mut world = scripted(&PLAIN, &[10, 31], &[15, 40]);
    world.unheard = 30..33;
    world.run();
    let report = report(&PLAIN, &world);
    assert_explained(&report);
    assert_eq!(report.symbols[0].matched_trades, 1);
}

#[test]
fn candles_that_were_missed_or_caught_up_on_are_named() {
    let mut world = session(&PLAIN, |_, _| {});
    world.run();
    // The same session where the bot was away for a while: what it did then it has not done.
    let is_bar = |record: &Record, bars: std::ops::Range<i64>| match record {
        Record::Bar { bar, .. } => bars.contains(&(bar.open_time_ms / HOUR_MS)),
        _ => false,
    };
    let full = report(&PLAIN, &world);
    assert_explained(&full);
    let holed: Vec<Record> = world.history.iter().filter(|record| !is_bar(record, 30..33)).cloned().collect();
    let report = report_with(&PLAIN, holed, SimConfig::default(), 0.0).unwrap();
    assert_eq!(report.symbols[0].missing_bars, 3);
    let mut world = session(&PLAIN, |_, _| {});
    world.settle();
    (0..20).for_each(|_| assert!(world.step()));
    world.sleep(25);
    world.run();
    let report = self::report(&PLAIN, &world);
    assert_explained(&report);
    let missing = causes(&report, |what| *what == What::EntryMissing);
    assert!(missing.iter().any(|cause| matches!(cause, Cause::CaughtUp(_))), "{missing:?}");
    assert!(report.symbols[0].caught_up_bars >= 20);
}

#[test]
fn an_entry_that_came_late_names_its_latency() {
    let mut world = session(&PLAIN, |_, _| {});
    world.delay_ms = 45_000;
    world.run();
    let report = report(&PLAIN, &world);
    assert_explained(&report);
    // The market stands still between bars here: only the bar's price could tell, so the bars are looked at.
    let slow = HOUR_MS + 45_000;
    let mut world = session(&PLAIN, |_, _| {});
    world.delay_ms = slow;
    world.run();
    let report = self::report(&PLAIN, &world);
    assert_explained(&report);
    let bars = causes(&report, |what| matches!(what, What::EntryBar { .. }));
    assert!(bars.iter().any(|cause| matches!(cause, Cause::Latency(ms) if *ms >= HOUR_MS)), "{bars:?}");
}

#[test]
fn a_journal_without_a_close_is_an_error() {
    let mut world = session(&PLAIN, |_, _| {});
    world.settle();
    let nothing = report_with(&PLAIN, world.history.clone(), SimConfig::default(), 0.0);
    assert_eq!(nothing, Err(ParityError::Empty));
}

#[test]
fn a_report_is_text_and_json() {
    let mut world = session(&LEVELS, |plan, settings| {
        plan.collar_bps = 30.into();
        settings.slippage = 0.002;
    });
    world.run();
    let report = report_with(&LEVELS, world.history.clone(), SimConfig::default(), 30.0).unwrap();
    assert_explained(&report);
    let lines = report.lines(&|ms| format!("h{}", ms / HOUR_MS));
    assert!(lines[0].starts_with("BTCUSDT: ") && lines.last().unwrap().contains("without a cause"));
    assert!(
        lines.iter().any(|line| line.contains("entry price") && line.ends_with("(fill price)")),
        "{lines:?}"
    );
    let value = serde_json::to_value(&report).unwrap();
    assert_eq!(value["symbols"][0]["symbol"], "BTCUSDT");
    assert!(
        value["symbols"][0]["differences"]
            .as_array()
            .unwrap()
            .iter()
            .all(|found| found["what"].is_string() && found["cause"].is_string())
    );
}
