//! Sessions on a replayed market.

use polybolos_live_trader::control::State;
use polybolos_live_trader::runtime::{Outcome, Pace, Paper, start};

use super::bot::{HOUR_MS, SYMBOLS, assert_same, backtest, exchange, inputs, market, setup, traded};

#[tokio::test]
async fn a_paper_session_trades_what_the_backtest_trades() {
    for seed in 0..3 {
        let market = market(seed, 400);
        let expected = backtest(&market);
        assert!(expected.iter().all(|trades| trades.len() >= 8), "{expected:?}");
        let dir = tempfile::tempdir().unwrap();
        let exchange = exchange(&market, 0);
        let mut desk = start(setup(dir.path()), Paper::new(exchange.clone(), Pace::Max)).await.unwrap();
        let (mut inputs, ends) = inputs();
        assert_eq!(desk.run(&mut inputs).await.unwrap(), Outcome::Ended);
        assert_same(&traded(&exchange), &expected);
        let status = ends.status.borrow().clone();
        assert_eq!((status.state, status.symbols.len()), (State::Trading, SYMBOLS.len()));
    }
}

#[tokio::test]
async fn bars_before_the_start_are_seen_and_not_traded() {
    let market = market(7, 300);
    let all = backtest(&market);
    // A bar around which the backtest is flat on the first pair: from there on both decide the same.
    let is_flat = |at: &i64| all[0].iter().all(|t| t.2 + 3 * HOUR_MS < *at || *at + 2 * HOUR_MS < t.0);
    let start_ms = (100..250).map(|bar| bar * HOUR_MS).find(is_flat).unwrap();
    let expected: Vec<_> = all[0].iter().filter(|trade| trade.0 > start_ms).copied().collect();
    assert!(expected.len() >= 4);
    let dir = tempfile::tempdir().unwrap();
    let exchange = exchange(&market, start_ms);
    let mut desk = start(setup(dir.path()), Paper::new(exchange.clone(), Pace::Max)).await.unwrap();
    let (mut inputs, _ends) = inputs();
    desk.run(&mut inputs).await.unwrap();
    let live = traded(&exchange);
    assert_same(&live[..1], &[expected]);
    assert!(live.iter().flatten().all(|trade| trade.0 >= start_ms));
}
