//! What people and Prometheus see of a bot.

use std::time::Duration;

use polybolos_live_trader::control::{KillStatus, State, Status};
use polybolos_live_trader::dashboard::{Screen, changes, draw, lines};
use polybolos_live_trader::metrics::{Metrics, OrderOutcome, Step};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::statuses::trading;

fn picture(status: &Status, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, status)).unwrap();
    terminal.backend().to_string()
}

#[test]
fn the_picture_has_state_money_positions_first_reasons_limits_and_connections() {
    let shown = picture(&trading(), 130, 20);
    for words in [
        "demo [testnet] trading",
        "equity 3000 USDT, today -2.5, open 1.25, closed 37.5",
        "12 USDT free, 1000 needed",
        "max_daily_loss: 2.5 of 50",
        "market up, silent for 120 ms",
    ] {
        assert!(shown.contains(words), "`{words}` is not in\n{shown}");
    }
    let place = |name: &str| shown.find(name).unwrap();
    assert!(place("CCCUSDT") < place("AAAUSDT"), "the one with a position first:\n{shown}");
    let small = picture(&trading(), 40, 11);
    assert!(small.contains("CCCUSDT") && small.contains("more)"), "{small}");
    for (width, height) in [(1, 1), (10, 3), (300, 2)] {
        picture(&trading(), width, height);
    }
}

#[test]
fn plain_lines_have_everything_and_then_what_changed() {
    let before = trading();
    let all = lines(&before).join("\n");
    assert!(all.contains("CCCUSDT: holds 0.25 from 100, open 1.25 (no exit is due)"), "{all}");
    assert!(
        all.contains("BBBUSDT: no position (funds: 12 USDT free, 1000 needed); 4 trades, closed 12.5"),
        "{all}"
    );
    assert_eq!(changes(None, &before), lines(&before));
    assert_eq!(changes(Some(&before), &before), Vec::<String>::new());
    let mut after = before.clone();
    after.symbols[2].position = None;
    after.state = State::Killed;
    after.kill = KillStatus { is_set: true, reason: Some("by hand".to_owned()), since_ms: Some(1) };
    assert_eq!(
        changes(Some(&before), &after),
        ["demo [testnet] killed  KILL SWITCH: by hand", "CCCUSDT: no position, closed P&L 12.5"]
    );
}

#[test]
fn without_a_terminal_there_is_no_screen() {
    // The test harness gives a pipe or a file; where it gives a terminal there is nothing to see here.
    if !std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        assert!(Screen::open().unwrap().is_none());
    }
}

#[test]
fn metrics_count_time_and_show_the_status() {
    let metrics = Metrics::default();
    metrics.took(Step::DecisionToWire, Duration::from_micros(300));
    metrics.took(Step::Journal, Duration::from_millis(2));
    metrics.order(OrderOutcome::Accepted);
    metrics.order(OrderOutcome::Accepted);
    metrics.order(OrderOutcome::Unknown);
    metrics.cache("exchange_info", true);
    metrics.cache("exchange_info", false);
    metrics.weight(120, 6_000);
    metrics.reconnected("market");
    metrics.event();
    metrics.alert_dropped();
    let text = metrics.text(&trading());
    for line in [
        "polybolos_bot_decision_to_wire_seconds_count 1",
        "polybolos_bot_decision_to_wire_seconds_bucket{le=\"0.000512\"} 1",
        "polybolos_bot_decision_to_wire_seconds_bucket{le=\"0.000256\"} 0",
        "polybolos_bot_orders_total{outcome=\"accepted\"} 2",
        "polybolos_bot_orders_total{outcome=\"unknown\"} 1",
        "polybolos_bot_cache_lookups_total{cache=\"exchange_info\",outcome=\"hit\"} 1",
        "polybolos_bot_weight_used 120",
        "polybolos_bot_weight_limit 6000",
        "polybolos_bot_reconnects_total{name=\"market\"} 1",
        "polybolos_bot_alerts_dropped_total 1",
        "polybolos_bot_equity_quote 3000.0",
        "polybolos_bot_day_pnl_quote -2.5",
        "polybolos_bot_state{state=\"trading\"} 1",
        "polybolos_bot_state{state=\"killed\"} 0",
        "polybolos_bot_position_base{symbol=\"CCCUSDT\"} 0.25",
        "polybolos_bot_risk_used{name=\"max_daily_loss\"} 2.5",
        "polybolos_bot_connection_up{name=\"market\"} 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "`{line}` is not in\n{text}");
    }
}
