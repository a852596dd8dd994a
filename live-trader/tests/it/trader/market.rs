//! Bars on a price grid, strategies whose signals are columns of the bars, and plans.

use std::collections::BTreeMap;

use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::bars::{Bars, Column};
use polybolos_engine::kernels::program::{NodeId, Op, Program, ProgramBuilder, Rules, Size};
use polybolos_engine::signals::Signals;
use polybolos_engine::simulation::{RuleValues, SizeValue};
use polybolos_live_trader::risk::{LIMITS, Limits};
use polybolos_live_trader::simulator::synthetic_rules;
use polybolos_live_trader::symbol::Symbol;
use polybolos_live_trader::trader::{EntryStyle, OnDisconnect, Plan, SymbolPlan};
use rust_decimal::Decimal;

pub(crate) const HOUR_MS: i64 = 3_600_000;

/// A small generator of its own: the same seed gives the same market everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number from 0, below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A strategy's rules; sizes as the engine has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) stop_loss: Option<f64>,
    pub(crate) take_profit: Option<f64>,
    pub(crate) trailing_stop: Option<f64>,
    pub(crate) max_bars: Option<f64>,
    pub(crate) cooldown: Option<f64>,
    pub(crate) size: SizeValue,
}

pub(crate) const PLAIN: Setup = Setup {
    stop_loss: None,
    take_profit: None,
    trailing_stop: None,
    max_bars: None,
    cooldown: None,
    size: SizeValue::Equity(1.0),
};

pub(crate) fn symbol() -> Symbol {
    Symbol::new("BTCUSDT")
}

/// A second pair.
pub(crate) fn other_symbol() -> Symbol {
    Symbol::new("ETHUSDT")
}

/// A random walk in cents from 100; `enter` and `exit` percent of the closes want in and out.
pub(crate) fn walk(seed: u64, rows: usize, enter: u64, exit: u64) -> Bars {
    let mut random = Random(seed);
    let price = |cents: i64| cents as f64 / 100.0;
    let mut bars = Bars { interval_ms: HOUR_MS, ..Bars::default() };
    let mut last = 10_000_i64;
    for t in 0..rows as i64 {
        let mut move_by = |range: u64| random.below(2 * range + 1) as i64 - range as i64;
        let open = (last + move_by(60)).max(1_000);
        let close = (open + move_by(200)).max(1_000);
        let high = open.max(close) + random.below(150) as i64;
        let low = (open.min(close) - random.below(150) as i64).max(900);
        bars.open_time_ms.push(t * HOUR_MS);
        bars.open.push(price(open));
        bars.high.push(price(high));
        bars.low.push(price(low));
        bars.close.push(price(close));
        bars.volume.push(f64::from(u8::from(random.chance(enter))));
        bars.quote_volume.push(f64::from(u8::from(random.chance(exit))));
        bars.trades.push(0.0);
        bars.taker_buy_volume.push(0.0);
        bars.taker_buy_quote_volume.push(0.0);
        last = close;
    }
    bars
}

/// Enters where the volume is above 0, leaves where the quote volume is.
pub(crate) fn program(setup: &Setup) -> Program {
    let mut builder = ProgramBuilder::new(0);
    let mut push = |op, args: &[NodeId]| builder.push(op, args, 0).unwrap();
    let zero = push(Op::Const(0.0), &[]);
    let [long_enter, long_exit] = [Column::Volume, Column::QuoteVolume].map(|column| {
        let column = push(Op::Column(column), &[]);
        Some(push(Op::Gt, &[column, zero]))
    });
    let mut constant = |value: f64| push(Op::Const(value), &[]);
    let rules = Rules {
        long_enter,
        long_exit,
        short_enter: None,
        short_exit: None,
        stop_loss: setup.stop_loss.map(&mut constant),
        take_profit: setup.take_profit.map(&mut constant),
        trailing_stop: setup.trailing_stop.map(&mut constant),
        max_bars: setup.max_bars.map(&mut constant),
        cooldown: setup.cooldown.map(&mut constant),
        size: match setup.size {
            SizeValue::Equity(value) => Size::Equity(constant(value)),
            SizeValue::Quote(value) => Size::Quote(constant(value)),
            SizeValue::Risk(value) => Size::Risk(constant(value)),
        },
    };
    builder.finish(rules)
}

pub(crate) fn signals<'a>(
    program: &Program,
    symbols: impl IntoIterator<Item = &'a Symbol>,
) -> BTreeMap<Symbol, Signals> {
    let started = |symbol: &Symbol| (symbol.clone(), Signals::new(program, &[], HOUR_MS).unwrap());
    symbols.into_iter().map(started).collect()
}

/// 10 000 quote units on every pair, fee 0.1 %, a collar of 5 %.
pub(crate) fn plan(program: &Program, pairs: &[(Symbol, Bars)], entry: EntryStyle) -> Plan {
    let of_pair = |(symbol, bars): &(Symbol, Bars)| {
        (symbol.clone(), SymbolPlan { rules: synthetic_rules(symbol, bars), cash: Decimal::from(10_000) })
    };
    Plan {
        bot: "test".to_owned(),
        interval: Interval::from_ms(HOUR_MS).unwrap(),
        rules: RuleValues::new(program, &Signals::new(program, &[], HOUR_MS).unwrap()).unwrap(),
        entry,
        market_waits: false,
        collar_bps: Decimal::from(500),
        taker_fee: Decimal::new(1, 3),
        symbols: pairs.iter().map(of_pair).collect(),
        settle_ms: 10_000,
        reconcile_every_ms: 20 * HOUR_MS,
        limits: no_limits(),
        protections: Vec::new(),
        accepted_differences: BTreeMap::new(),
        on_disconnect: OnDisconnect::Hold,
        disconnect_after_ms: HOUR_MS,
    }
}

/// Limits that are all switched off: what a backtest has.
pub(crate) fn no_limits() -> Limits {
    let off = LIMITS.iter().map(|limit| (limit.name.to_owned(), serde_json::Value::Null));
    serde_json::from_value(serde_json::Value::Object(off.collect())).unwrap()
}
