//! The exchange's matching core: fills as in the backtest, books that balance, refusals with the exchange's codes.

use polybolos_kernels::bars::Bars;
use polybolos_live_trader::client_id::ClientId;
use polybolos_live_trader::order::{NewOrder, OrderKind, OrderSide, Quantity, TimeInForce};
use polybolos_live_trader::simulator::{Settings, Simulator, synthetic_rules};
use polybolos_live_trader::symbol::Symbol;
use rust_decimal::Decimal;

mod backtest;
mod books;
mod follow;
mod orders;
mod refusals;

const HOUR_MS: i64 = 3_600_000;

pub(super) fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub(super) fn id(text: &str) -> ClientId {
    ClientId::from_wire(text)
}

/// Hourly bars from open, high, low and close in hundredths of a quote unit; volumes of 0.
pub(super) fn bars(ticks: &[[i64; 4]]) -> Bars {
    let column = |at: usize| ticks.iter().map(|row| row[at] as f64 / 100.0).collect::<Vec<f64>>();
    let none = vec![0.0; ticks.len()];
    Bars {
        interval_ms: HOUR_MS,
        open_time_ms: (0..ticks.len() as i64).map(|t| t * HOUR_MS).collect(),
        open: column(0),
        high: column(1),
        low: column(2),
        close: column(3),
        volume: none.clone(),
        quote_volume: none.clone(),
        trades: none.clone(),
        taker_buy_volume: none.clone(),
        taker_buy_quote_volume: none,
    }
}

/// An exchange with `settings` and one pair over `bars`, at a tick of 0.01.
fn exchange(name: &str, bars: Bars, settings: Settings) -> Simulator {
    let symbol = Symbol::new(name);
    let mut rules = synthetic_rules(&symbol, &bars);
    (rules.price.step, rules.price.min) = (dec("0.01"), dec("0.01"));
    Simulator::new(settings, vec![(rules, bars)], 0).unwrap()
}

fn order(client_id: &str, side: OrderSide, kind: OrderKind, quantity: &str) -> NewOrder {
    NewOrder {
        symbol: Symbol::new("BTCUSDT"),
        client_id: id(client_id),
        side,
        kind,
        quantity: Quantity::Base(dec(quantity)),
    }
}

pub(super) fn limit(price: &str) -> OrderKind {
    OrderKind::Limit { price: dec(price), time_in_force: TimeInForce::Gtc }
}
