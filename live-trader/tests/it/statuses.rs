//! A bot's snapshot for tests of what shows it.

use polybolos_live_trader::config::Mode;
use polybolos_live_trader::control::{
    ConnectionStatus, LimitUse, PositionStatus, Reason, State, Status, SymbolStatus,
};
use rust_decimal::Decimal;

fn symbol(name: &str, position: Option<PositionStatus>, reason: Reason) -> SymbolStatus {
    SymbolStatus {
        symbol: name.to_owned(),
        position,
        reason,
        last_price: Some(105.into()),
        last_bar_ms: Some(1_700_000_000_000),
        equity: 1_000.into(),
        realised_pnl: Decimal::new(125, 1),
        trades: 4,
        wins: 3,
    }
}

/// Trading three symbols, one of them held.
pub(crate) fn trading() -> Status {
    let position = PositionStatus {
        quantity: Decimal::new(25, 2),
        entry_price: 100.into(),
        entry_bar_ms: 1_700_000_000_000,
        stop_price: Some(95.into()),
        target_price: None,
        unrealised_pnl: Decimal::new(125, 2),
    };
    Status {
        state: State::Trading,
        equity: 3_000.into(),
        realised_pnl: Decimal::new(375, 1),
        unrealised_pnl: Decimal::new(125, 2),
        day_pnl: Decimal::new(-25, 1),
        symbols: vec![
            symbol("AAAUSDT", None, Reason::NoSignal),
            symbol("BBBUSDT", None, Reason::Funds { detail: "12 USDT free, 1000 needed".to_owned() }),
            symbol("CCCUSDT", Some(position), Reason::Holding),
        ],
        limits: vec![LimitUse {
            name: "max_daily_loss".to_owned(),
            limit: 50.into(),
            used: Decimal::new(25, 1),
        }],
        connections: vec![ConnectionStatus {
            name: "market".to_owned(),
            is_up: true,
            silent_ms: Some(120),
            detail: None,
        }],
        ..Status::starting("demo", Mode::Testnet, "USDT", 1_700_000_000_000)
    }
}
