//! Risk: what opens a position passes every rule, what closes one always passes, and stops outlive the process.

use std::collections::{BTreeSet, VecDeque};
use std::fs;

use polybolos_engine::interval::DAY_MS;
use polybolos_live_trader::client_id::Intent;
use polybolos_live_trader::filters::{Grid, NotionalBounds, SymbolRules, SymbolStatus};
use polybolos_live_trader::ledger::{CloseReason, LiveTrade};
use polybolos_live_trader::order::{OrderKind, OrderSide};
use polybolos_live_trader::risk::{
    Denial, GateState, KillSwitch, KillSwitchError, LIMITS, Limits, Lock, NoSize, PROTECTIONS, Passed,
    Proposal, Protection, Quote, RiskGate, Sizing, SizingInput, Stop, View, size,
};
use polybolos_live_trader::symbol::Symbol;
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::json;
use tempfile::TempDir;

const MINUTE_MS: i64 = 60_000;
const NOW_MS: i64 = 10 * DAY_MS + 5 * MINUTE_MS;

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn entry() -> Proposal {
    Proposal {
        symbol: Symbol::new("BTCUSDT"),
        intent: Intent::Entry,
        side: OrderSide::Buy,
        quantity: decimal("2"),
        price: decimal("100"),
        orders: 1,
    }
}

fn exit(intent: Intent) -> Proposal {
    Proposal { intent, side: OrderSide::Sell, orders: 2, ..entry() }
}

fn view() -> View {
    View {
        equity: decimal("1000"),
        opening_equity: decimal("1000"),
        peak_equity: decimal("1000"),
        free_quote: decimal("1000"),
        position_notional: decimal("50"),
        total_notional: decimal("300"),
        other_positions: 2,
        last_close: decimal("100"),
        quote: Some(Quote { bid: decimal("99.9"), ask: decimal("100") }),
        price_ms: NOW_MS - 400,
        is_killed: false,
    }
}

fn limits(values: serde_json::Value) -> Limits {
    let mut all: serde_json::Map<String, serde_json::Value> =
        LIMITS.iter().map(|limit| (limit.name.to_owned(), json!(null))).collect();
    all.extend(values.as_object().unwrap().clone());
    serde_json::from_value(all.into()).unwrap()
}

/// The gate and what it remembers, kept as a trader keeps it: every order that passes is sent, every stop and lock is noted.
#[derive(Debug, Clone, PartialEq)]
struct Gate {
    rules: RiskGate,
    state: GateState,
}

impl Gate {
    fn check(&mut self, proposal: &Proposal, view: &View, now_ms: i64) -> Result<Passed, Denial> {
        let passed = self.rules.check(&self.state, proposal, view, now_ms)?;
        self.state.count(proposal.orders, now_ms);
        Ok(passed)
    }

    fn observe(&mut self, view: &View, now_ms: i64) -> Vec<Stop> {
        let stops = self.rules.observe(&self.state, view, now_ms);
        stops.iter().for_each(|stop| self.state.stop(stop.clone()));
        stops
    }

    fn trade_closed(&mut self, trades: &VecDeque<LiveTrade>, equity: Decimal, now_ms: i64) -> Vec<Lock> {
        let locks = self.rules.trade_closed(trades, equity, now_ms);
        locks.iter().for_each(|lock| self.state.lock(lock.clone(), now_ms));
        locks
    }

    /// What a restart leaves of it.
    fn reread(&self) -> Gate {
        let kept = serde_json::to_string(&self.state).unwrap();
        Gate { rules: self.rules.clone(), state: serde_json::from_str(&kept).unwrap() }
    }
}

fn gate_with(values: serde_json::Value, protections: Vec<Protection>) -> Gate {
    Gate { rules: RiskGate::new(limits(values), protections, MINUTE_MS), state: GateState::default() }
}

fn gate(values: serde_json::Value) -> Gate {
    gate_with(values, Vec::new())
}

#[test]
fn each_limit_denies_what_is_beyond_it_names_both_numbers_and_lets_exits_pass() {
    // limit, the value that just passes, the one that just does not, what it is compared with
    let cases = [
        ("max_daily_loss", "0.0401", "0.04", "late"),
        ("max_daily_loss_quote", "40.01", "40", "late"),
        ("max_drawdown", "0.0401", "0.04", "late"),
        ("max_position_notional", "250", "249.99", "250"),
        ("max_total_notional", "500", "499.99", "500"),
        ("max_open_positions", "3", "2", "3"),
        ("max_order_notional", "200", "199.99", "200"),
        ("price_collar_bps", "50", "49", "50"),
        ("max_orders_per_minute", "1", "0", "1"),
        ("max_orders_per_day", "1", "0", "1"),
        ("max_quote_age_ms", "400", "399", "400"),
        ("min_free_quote", "800", "800.01", "800"),
    ];
    let tested: Vec<_> = cases.iter().map(|(name, ..)| *name).collect();
    assert_eq!(tested, LIMITS.iter().map(|limit| limit.name).collect::<Vec<_>>(), "every limit has its case");
    for (name, passes, denied, value) in cases {
        let mut view = view();
        if value == "late" {
            view.equity = decimal("960");
        }
        if name == "price_collar_bps" {
            view.last_close = decimal("100") / decimal("1.005");
        }
        let mut open = gate(json!({ name: passes }));
        let passed = open.check(&entry(), &view, NOW_MS);
        assert_eq!(passed.map(|passed| passed.proposal().clone()), Ok(entry()), "{name}");
        let mut closed = gate(json!({ name: denied }));
        let denial = closed.check(&entry(), &view, NOW_MS).unwrap_err();
        assert_eq!(denial.rule, name);
        if value != "late" {
            assert_eq!((denial.value.round_dp(9), denial.limit), (decimal(value), decimal(denied)), "{name}");
        }
        for intent in [Intent::Exit, Intent::Flatten, Intent::Protection, Intent::Stop, Intent::Target] {
            assert!(closed.check(&exit(intent), &view, NOW_MS).is_ok(), "{name} {intent:?}");
        }
        let cancel = Proposal { intent: Intent::Cancel, ..entry() };
        assert!(closed.check(&cancel, &view, NOW_MS).is_ok(), "{name}");
    }
}

#[test]
fn the_collar_holds_for_the_quote_and_on_both_sides() {
    for (close, ask, rule) in [
        ("100", Some("100.4"), None),
        ("100", Some("101.1"), Some("price_collar_bps")),
        ("100", Some("98.9"), Some("price_collar_bps")),
        ("101.1", None, Some("price_collar_bps")),
        ("98.9", None, Some("price_collar_bps")),
        ("100.9", None, None),
    ] {
        let quote = ask.map(|ask| Quote { bid: decimal("1"), ask: decimal(ask) });
        let view = View { last_close: decimal(close), quote, ..view() };
        let denied = gate(json!({"price_collar_bps": 100})).check(&entry(), &view, NOW_MS).err();
        assert_eq!(denied.as_ref().map(|denial| denial.rule.as_str()), rule, "{close} {ask:?}");
    }
}

#[test]
fn an_order_that_is_none_is_denied_whatever_the_limits() {
    for (quantity, price) in [("0", "100"), ("-1", "100"), ("1", "0"), ("70000000000000000000000000000", "9")]
    {
        let proposal = Proposal { quantity: decimal(quantity), price: decimal(price), ..entry() };
        assert_eq!(gate(json!({})).check(&proposal, &view(), NOW_MS).unwrap_err().rule, "order");
    }
}

#[test]
fn a_daily_loss_stops_until_midnight_and_a_drawdown_until_somebody_resumes() {
    let mut gate = gate(json!({"max_daily_loss": "0.04", "max_drawdown": "0.1"}));
    let fallen = View { equity: decimal("900"), ..view() };
    let stops = gate.observe(&fallen, NOW_MS);
    let rules: Vec<_> = stops.iter().map(|stop| (stop.rule.as_str(), stop.until_ms)).collect();
    assert_eq!(rules, [("max_daily_loss", Some(11 * DAY_MS)), ("max_drawdown", None)]);
    assert!(gate.observe(&fallen, NOW_MS + 1).is_empty(), "a stop begins once");
    let mut again = gate.reread();
    assert_eq!(again, gate, "stops survive a restart");
    let well = View { price_ms: 11 * DAY_MS, ..view() };
    assert_eq!(
        again.check(&entry(), &well, NOW_MS).unwrap_err().rule,
        "max_daily_loss",
        "recovery ends no stop"
    );
    assert_eq!(again.check(&entry(), &well, 11 * DAY_MS).unwrap_err().rule, "max_drawdown");
    again.state.resume();
    assert!(again.check(&entry(), &well, 11 * DAY_MS).is_ok());
    gate.state.resume();
    assert_eq!(
        gate.check(&entry(), &well, NOW_MS).unwrap_err().rule,
        "max_daily_loss",
        "a day's stop is not resumed"
    );
    assert_eq!(gate.state.stops(11 * DAY_MS).count(), 0);
}

#[test]
fn orders_are_counted_by_sliding_minute_and_utc_day_and_exits_count_too() {
    let mut by_minute = gate(json!({"max_orders_per_minute": 3}));
    assert!(by_minute.check(&exit(Intent::Protection), &view(), NOW_MS).is_ok());
    assert!(by_minute.check(&entry(), &view(), NOW_MS + 1).is_ok());
    assert!(by_minute.check(&entry(), &view(), NOW_MS + 59_999).is_err());
    assert!(by_minute.check(&entry(), &view(), NOW_MS + 60_000).is_ok());
    let mut by_day = gate(json!({"max_orders_per_day": 1}));
    assert!(by_day.check(&entry(), &view(), NOW_MS).is_ok());
    assert!(by_day.check(&entry(), &view(), NOW_MS + 2 * MINUTE_MS).is_err());
    assert!(by_day.check(&entry(), &view(), 11 * DAY_MS).is_ok());
}

#[test]
fn a_set_kill_switch_denies_entries_and_nothing_else() {
    let killed = View { is_killed: true, ..view() };
    assert_eq!(gate(json!({})).check(&entry(), &killed, NOW_MS).unwrap_err().rule, "kill_switch");
    assert!(gate(json!({})).check(&exit(Intent::Flatten), &killed, NOW_MS).is_ok());
}

#[test]
fn the_tables_are_documented_and_their_defaults_are_valid() {
    let defaults = Limits::default();
    assert_eq!(defaults.validate(), Ok(()));
    for (limit, value) in LIMITS.iter().zip(defaults.values()) {
        assert_eq!(limit.default.map(decimal), value, "{}", limit.name);
        assert!(limit.doc.trim_end().ends_with('.'), "{}", limit.name);
    }
    assert_eq!(LIMITS.iter().map(|limit| limit.name).collect::<BTreeSet<_>>().len(), LIMITS.len());
    assert_eq!(serde_json::from_str::<Limits>("{}").unwrap(), defaults);
    assert!(serde_json::from_str::<Limits>(r#"{"max_dayly_loss": 1}"#).is_err());
    assert_eq!(PROTECTIONS.len(), 4);
    let wrong = limits(
        json!({"max_daily_loss": 1.5, "max_open_positions": "2.5", "price_collar_bps": 0, "min_free_quote": -1,
        "max_quote_age_ms": 0, "max_drawdown": 0}),
    );
    let named: Vec<_> = wrong.validate().unwrap_err().iter().map(|error| error.name).collect();
    let expected = [
        "max_daily_loss",
        "max_drawdown",
        "max_open_positions",
        "price_collar_bps",
        "max_quote_age_ms",
        "min_free_quote",
    ];
    assert_eq!(named, expected);
}

fn trade(symbol: &str, minute: i64, pnl: i64, reason: CloseReason) -> LiveTrade {
    LiveTrade {
        symbol: Symbol::new(symbol),
        entry_ms: NOW_MS,
        exit_ms: NOW_MS + minute * MINUTE_MS,
        entry_price: decimal("100"),
        exit_price: Some(decimal("100")),
        quantity: decimal("1"),
        reason,
        fees: decimal("0"),
        cost: decimal("1000"),
        pnl: Decimal::from(pnl),
        trade_return: Some(Decimal::new(pnl, 3)),
        bars_held: 1,
    }
}

#[test]
fn each_protection_locks_when_its_count_is_full_and_not_before() {
    use CloseReason::{Signal, Stop, Trailing};
    let guard = json!({"method": "StoplossGuard", "lookback": {"minutes": 60}, "trade_limit": 2, "stop_duration": {"bars": 10}});
    let mut pair_guard = guard.clone();
    pair_guard["only_per_pair"] = json!(true);
    let drawdown = json!({"method": "MaxDrawdown", "lookback": {"minutes": 60}, "trade_limit": 2,
        "stop_duration": {"bars": 10}, "max_allowed_drawdown": "0.1"});
    let low = json!({"method": "LowProfitPairs", "lookback": {"minutes": 60}, "trade_limit": 2, "stop_duration": {"bars": 10},
        "required_profit": "0.01"});
    let cooldown = json!({"method": "CooldownPeriod", "stop_duration": {"bars": 10}});
    // protection, trades, whether it locks, whether only the pair
    let cases = [
        (&cooldown, vec![("A", 0, 5, Signal)], Some(true)),
        (&guard, vec![("A", 0, -5, Stop)], None),
        (&guard, vec![("A", 0, -5, Stop), ("B", 60, -5, Trailing)], Some(false)),
        (&guard, vec![("A", 0, -5, Stop), ("B", 61, -5, Stop)], None),
        (&guard, vec![("A", 0, -5, Stop), ("B", 1, 5, Trailing)], None),
        (&guard, vec![("A", 0, -5, Stop), ("B", 1, -5, Signal)], None),
        (&pair_guard, vec![("A", 0, -5, Stop), ("B", 1, -5, Stop)], None),
        (&pair_guard, vec![("B", 0, -5, Stop), ("B", 1, -5, Stop)], Some(true)),
        (&drawdown, vec![("A", 0, -200, Signal)], None),
        (&drawdown, vec![("A", 0, -60, Signal), ("B", 1, -60, Signal)], Some(false)),
        (&drawdown, vec![("A", 0, -60, Signal), ("B", 61, -60, Signal)], None),
        (&drawdown, vec![("A", 0, -60, Signal), ("B", 1, -20, Signal)], None),
        (&low, vec![("A", 0, 4, Signal), ("A", 1, 5, Signal)], Some(true)),
        (&low, vec![("A", 0, 4, Signal), ("A", 1, 6, Signal)], None),
        (&low, vec![("A", 0, 4, Signal), ("B", 1, 5, Signal)], None),
        (&low, vec![("A", 0, 4, Signal), ("A", 61, 5, Signal)], None),
    ];
    for (settings, trades, expected) in cases {
        let protection: Protection = serde_json::from_value(settings.clone()).unwrap();
        let trades: VecDeque<_> =
            trades.iter().map(|(s, minute, pnl, r)| trade(s, *minute, *pnl, *r)).collect();
        let lock = protection.judge(&trades, decimal("900"), MINUTE_MS);
        let newest = trades.back().unwrap();
        assert_eq!(lock.as_ref().map(|lock| lock.symbol.is_some()), expected, "{settings} {trades:?}");
        if let Some(lock) = lock {
            assert!(lock.symbol.is_none_or(|symbol| symbol == newest.symbol));
            assert_eq!(lock.until_ms, newest.exit_ms + 10 * MINUTE_MS);
            assert_eq!(lock.protection, settings["method"].as_str().unwrap());
        }
    }
}

#[test]
fn a_lock_holds_its_pair_back_until_it_ends_and_survives_a_restart() {
    let cooldown: Protection =
        serde_json::from_value(json!({"method": "CooldownPeriod", "stop_duration": {"minutes": 3}})).unwrap();
    let mut gate = gate_with(json!({}), vec![cooldown]);
    let trades = VecDeque::from([trade("BTCUSDT", 0, 1, CloseReason::Signal)]);
    assert_eq!(gate.trade_closed(&trades, decimal("1000"), NOW_MS).len(), 1);
    let mut gate = gate.reread();
    assert_eq!(gate.check(&entry(), &view(), NOW_MS + 3 * MINUTE_MS - 1).unwrap_err().rule, "CooldownPeriod");
    assert!(gate.check(&exit(Intent::Exit), &view(), NOW_MS).is_ok());
    assert!(gate.check(&Proposal { symbol: Symbol::new("ETHUSDT"), ..entry() }, &view(), NOW_MS).is_ok());
    assert!(gate.check(&entry(), &view(), NOW_MS + 3 * MINUTE_MS).is_ok());
}

fn rules() -> SymbolRules {
    let grid = |min: &str, step: &str| Grid { min: decimal(min), max: decimal("9000"), step: decimal(step) };
    SymbolRules {
        symbol: Symbol::new("BTCUSDT"),
        base_asset: "BTC".to_owned(),
        quote_asset: "USDT".to_owned(),
        status: SymbolStatus::Trading,
        quote_quantity_allowed: true,
        oco_allowed: true,
        oto_allowed: true,
        price: grid("0.01", "0.01"),
        lot: grid("0.001", "0.001"),
        market_lot: Grid::default(),
        percent_price: None,
        notional: Some(NotionalBounds {
            min: decimal("5"),
            min_to_market: true,
            max: None,
            max_to_market: false,
        }),
        max_orders: None,
        max_algo_orders: None,
        max_order_lists: None,
        max_position: None,
    }
}

#[test]
fn sizes_follow_the_rules_of_the_backtest_and_what_can_be_paid() {
    let rules = rules();
    let input = |free: &str, stop: Option<&str>, collar: &str| SizingInput {
        equity: decimal("1000"),
        free_quote: decimal(free),
        price: decimal("100"),
        fee: decimal("0.001"),
        stop: stop.map(decimal),
        collar_bps: decimal(collar),
        kind: &OrderKind::Market,
        rules: &rules,
    };
    let cases = [
        (Sizing::Equity(decimal("0.5")), input("1000", None, "100"), "4.995"),
        (Sizing::Equity(decimal("1")), input("1000", None, "0"), "9.990"),
        (Sizing::Equity(decimal("1")), input("1000", None, "100"), "9.891"),
        (Sizing::Equity(decimal("1")), input("500", None, "0"), "4.995"),
        (Sizing::Quote(decimal("300")), input("1000", None, "0"), "2.997"),
        (Sizing::Quote(decimal("3000")), input("9000", None, "0"), "9.990"),
        (Sizing::Risk(decimal("0.01")), input("1000", Some("0.02"), "0"), "5"),
        (Sizing::Risk(decimal("0.05")), input("9000", Some("0.02"), "0"), "9.990"),
    ];
    for (sizing, input, expected) in cases {
        assert_eq!(size(sizing, &input), Ok(decimal(expected)), "{sizing:?} {}", input.free_quote);
    }
    let halted = SymbolRules { status: SymbolStatus::Halted, ..rules.clone() };
    let plain = input("1000", None, "0");
    assert_eq!(
        size(Sizing::Equity(Decimal::ONE), &SizingInput { rules: &halted, ..plain }),
        Err(NoSize::NotTrading)
    );
    assert_eq!(size(Sizing::Risk(decimal("0.01")), &plain), Err(NoSize::RiskWithoutStop));
    assert_eq!(
        size(Sizing::Risk(decimal("0.01")), &input("1", Some("0"), "0")),
        Err(NoSize::RiskWithoutStop)
    );
    for (what, none) in [
        ("equity", SizingInput { equity: decimal("-1"), ..plain }),
        ("free quote currency", SizingInput { free_quote: decimal("0"), ..plain }),
        ("price", SizingInput { price: decimal("0"), ..plain }),
    ] {
        let nothing = size(Sizing::Equity(Decimal::ONE), &none);
        assert!(matches!(nothing, Err(NoSize::Nothing { what: named, .. }) if named == what), "{what}");
    }
    for (amount, filter) in [("0.05", "LOT_SIZE"), ("4", "NOTIONAL")] {
        let refused = size(Sizing::Quote(decimal(amount)), &plain);
        assert!(matches!(refused, Err(NoSize::Filter(failure)) if failure.filter == filter), "{amount}");
    }
}

proptest! {
    #[test]
    fn a_size_can_always_be_paid_at_the_far_end_of_the_collar(
        equity in 1i64..10_000_000, free in 1i64..10_000_000, price in 1i64..100_000_000, collar in 0i64..1_000, share in 1i64..=100,
    ) {
        let rules = rules();
        let input = SizingInput {
            equity: Decimal::new(equity, 2), free_quote: Decimal::new(free, 2), price: Decimal::new(price, 2),
            fee: decimal("0.001"), stop: None, collar_bps: Decimal::from(collar), kind: &OrderKind::Market, rules: &rules,
        };
        if let Ok(quantity) = size(Sizing::Equity(Decimal::new(share, 2)), &input) {
            let dearest = input.price * (Decimal::ONE + Decimal::new(collar, 4)) * decimal("1.001");
            prop_assert!(quantity * dearest <= input.free_quote);
            prop_assert!(quantity * input.price * decimal("1.001") <= input.equity * Decimal::new(share, 2));
            prop_assert!((quantity % decimal("0.001")).is_zero());
        }
    }
}

#[test]
fn the_kill_switch_stays_set_until_it_is_cleared_with_a_reason() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("kill-switch.json");
    let mut switch = KillSwitch::open(&path);
    assert!(!switch.is_set());
    switch.set("loss", "alice", 5).unwrap();
    let mut switch = KillSwitch::open(&path);
    assert!(switch.is_set(), "a restart clears nothing");
    assert!(matches!(switch.clear(" ", "alice", 6), Err(KillSwitchError::NoReason)));
    assert!(matches!(switch.clear("looked", "", 6), Err(KillSwitchError::NoReason)));
    assert!(switch.is_set());
    switch.clear("looked", "bob", 7).unwrap();
    assert!(!switch.is_set() && !KillSwitch::open(&path).is_set());
    let history: Vec<_> =
        switch.history().iter().map(|e| (e.is_set, e.reason.as_str(), e.by.as_str(), e.time_ms)).collect();
    assert_eq!(history, [(true, "loss", "alice", 5), (false, "looked", "bob", 7)]);
    let mut other = KillSwitch::open(&path);
    other.set("again", "carol", 8).unwrap();
    switch.refresh();
    assert!(switch.is_set(), "what another process set is seen");
}

#[test]
fn a_kill_switch_that_cannot_be_read_or_written_is_set() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("kill-switch.json");
    for content in ["", "[]", "{}", "[{\"is_set\": false}]", "\u{0}"] {
        fs::write(&path, content).unwrap();
        let mut switch = KillSwitch::open(&path);
        assert!(switch.is_set(), "{content:?}");
        switch.clear("looked", "bob", 1).unwrap();
        assert!(!KillSwitch::open(&path).is_set(), "{content:?}");
    }
    assert_eq!(
        fs::read_to_string(path.with_extension("unreadable")).unwrap(),
        "\u{0}",
        "what could not be read is kept"
    );
    let mut nowhere = KillSwitch::open(&dir.path().join("missing/kill-switch.json"));
    assert!(nowhere.set("loss", "alice", 1).is_err() && nowhere.is_set());
    assert!(nowhere.clear("looked", "alice", 2).is_err() && nowhere.is_set());
}
