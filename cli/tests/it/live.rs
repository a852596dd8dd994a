//! Bots and exchanges as processes of their own, over real sockets: a bot that trades a dataset on `exchange-sim` makes the trades of
//! the backtest, also when it is killed again and again on the way.
//!
//! `tests/live/run.sh` runs the long ones too.

mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use session::{Bot, Exchange, Session, Setup};

/// Bars of the sessions that run with every `cargo test`.
const SHORT: usize = 700;

/// Until a session has come to its last bar.
const DONE: Duration = Duration::from_secs(400);

/// A session whose bot is never disturbed.
fn undisturbed(setup: &Setup) {
    let session = Session::new(setup);
    let exchange = Exchange::start(&session, &[]);
    let mut bot = Bot::start(&session, &exchange);
    exchange.wait_for_end(DONE, || bot.assert_running());
    let trades = bot.stop();
    session.assert_trades_of_the_backtest(&trades);
    session.assert_orders_are_the_journals(&exchange);
    session.assert_protected(&exchange);
}

/// A session whose bot is killed at moments that follow from `seed`, in its start as in its trading. How often.
fn killed(setup: &Setup, seed: u64, kills: usize, longest_ms: u64) -> usize {
    let session = Session::new(setup);
    let exchange = Exchange::start(&session, &[]);
    let mut random = session::Random::new(seed);
    let mut done = 0;
    while done < kills && !exchange.has_ended() {
        let bot = Bot::start(&session, &exchange);
        std::thread::sleep(Duration::from_millis(10 + random.below(longest_ms)));
        bot.kill();
        done += 1;
    }
    let mut bot = Bot::start(&session, &exchange);
    exchange.wait_for_end(DONE, || bot.assert_running());
    let trades = bot.stop();
    session.assert_trades_of_the_backtest(&trades);
    session.assert_orders_are_the_journals(&exchange);
    session.assert_protected(&exchange);
    done
}

#[test]
fn a_bot_on_the_simulated_exchange_makes_the_trades_of_the_backtest() {
    undisturbed(&Setup::synthetic(2, SHORT));
}

#[test]
fn a_bot_that_is_killed_goes_on_as_if_nothing_had_been() {
    let kills = killed(&Setup::synthetic(2, SHORT), 7, 6, 500);
    assert!(kills >= 4, "the market was over after {kills} kills");
}

#[test]
#[ignore = "minutes; tests/live/run.sh runs it"]
fn three_symbols_and_five_thousand_bars() {
    undisturbed(
        &Setup::recorded(&["BTCUSDT", "ETHUSDT", "SOLUSDT"], 6_000)
            .unwrap_or_else(|| Setup::synthetic(3, 6_000)),
    );
}

#[test]
#[ignore = "minutes; tests/live/run.sh runs it"]
fn fifty_kills() {
    let setup = Setup::recorded(&["BTCUSDT", "ETHUSDT", "SOLUSDT"], 6_000)
        .unwrap_or_else(|| Setup::synthetic(3, 6_000));
    let kills = killed(&setup, 11, 60, 350);
    eprintln!("{kills} kills");
    assert!(kills >= 50, "the market was over after {kills} kills");
}

/// The market goes on while the bot is dead, so the trades are others; what must hold is that nothing is doubled and nothing is naked.
#[test]
#[ignore = "minutes; tests/live/run.sh runs it"]
fn kills_while_the_market_goes_on() {
    let session = Session::new(&Setup::synthetic(3, 4_000));
    // Five bars a second.
    let exchange = Exchange::start(
        &session,
        &["--speed", "18000", "--orders-per-10-seconds", "100000", "--weight-per-minute", "10000000"],
    );
    let mut random = session::Random::new(23);
    for _ in 0..25 {
        let bot = Bot::start(&session, &exchange);
        std::thread::sleep(Duration::from_millis(100 + random.below(4_000)));
        bot.kill();
    }
    let mut bot = Bot::start(&session, &exchange);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(90) {
        bot.assert_running();
        std::thread::sleep(Duration::from_millis(100));
    }
    let trades = bot.stop();
    assert!(trades.len() > 3, "{trades:?}");
    session.assert_orders_are_the_journals(&exchange);
    session.assert_protected(&exchange);
}

/// Client ids of orders, how often each.
fn counted<'a>(ids: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for id in ids {
        *counts.entry(id).or_default() += 1;
    }
    counts
}

/// What is in `found` and not in `known`.
fn beyond<'a>(found: &BTreeSet<&'a str>, known: &BTreeSet<&'a str>) -> Vec<&'a str> {
    found.difference(known).copied().collect()
}
