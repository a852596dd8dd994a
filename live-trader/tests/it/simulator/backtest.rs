//! A trader of market orders and protective lists on the exchange makes the backtest's trades.

use polybolos_engine::signals::Signals;
use polybolos_engine::simulation::simulate;
use polybolos_kernels::bars::{Bars, Column};
use polybolos_kernels::program::{NodeId, Op, Program, ProgramBuilder, Rules, Size};
use polybolos_kernels::sim::{ExitReason, Intrabar, SimConfig};
use polybolos_live_trader::order::{Bracket, Fill, Leg, NewList, NewOrder, OrderKind, OrderSide, Quantity};
use polybolos_live_trader::simulator::{Settings, Simulator};
use polybolos_live_trader::symbol::Symbol;
use polybolos_live_trader::venue::{Command, MarketEvent, Response};
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::{HOUR_MS, bars, dec, exchange, id};

/// Bar and price of entry and exit, and why.
type Trade = (usize, f64, usize, f64, ExitReason);

/// Protection in fractions of the entry price: stop, target.
type Protection = Option<(f64, f64)>;

/// A program that enters where the volume is above 0 and leaves where the quote volume is.
fn program(protection: Protection) -> Program {
    let mut builder = ProgramBuilder::new(0);
    let mut push = |op, args: &[NodeId]| builder.push(op, args, 0).unwrap();
    let zero = push(Op::Const(0.0), &[]);
    let [enter, exit] = [Column::Volume, Column::QuoteVolume].map(|column| {
        let column = push(Op::Column(column), &[]);
        Some(push(Op::Gt, &[column, zero]))
    });
    let levels = protection.map(|(stop, target)| [stop, target].map(|level| push(Op::Const(level), &[])));
    let size = push(Op::Const(0.5), &[]);
    builder.finish(Rules {
        long_enter: enter,
        long_exit: exit,
        short_enter: None,
        short_exit: None,
        stop_loss: levels.map(|[stop, _]| stop),
        take_profit: levels.map(|[_, target]| target),
        trailing_stop: None,
        max_bars: None,
        cooldown: None,
        size: Size::Equity(size),
    })
}

fn backtest(bars: &Bars, protection: Protection, intrabar: Intrabar) -> Vec<Trade> {
    let config = SimConfig { intrabar, ..SimConfig::default() };
    let run = simulate(&program(protection), &[], bars, &config).unwrap();
    let told = run.trades.iter().map(|t| (t.entry_bar, t.entry_price, t.exit_bar, t.exit_price, t.reason));
    told.collect()
}

/// A trader with no more than it needs: one position, market orders, one protective list.
struct Trader {
    exchange: Simulator,
    symbol: Symbol,
    protection: Protection,
    orders: u32,
    /// Fill of the entry while there is a position.
    entry: Option<Fill>,
    fills_seen: i64,
    trades: Vec<Trade>,
}

impl Trader {
    fn execute(&mut self, command: &Command) -> Response {
        self.exchange.execute(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    fn market(&mut self, side: OrderSide, quantity: Decimal) {
        self.orders += 1;
        let new = NewOrder {
            symbol: self.symbol.clone(),
            client_id: id(&format!("order{}", self.orders)),
            side,
            kind: OrderKind::Market,
            quantity: Quantity::Base(quantity),
        };
        self.execute(&Command::Place(new));
        self.read_fills();
    }

    fn held(&mut self) -> Decimal {
        let balances = self.exchange.balances();
        let held = balances.iter().find(|b| b.asset == "BTC").map_or(Decimal::ZERO, |b| b.free);
        let rules = self.exchange.rules().next().unwrap().clone();
        rules.floor_quantity(&OrderKind::Market, held)
    }

    fn protect(&mut self, entry: f64, stop: f64, target: f64) {
        let price = self.exchange.rules().next().unwrap().price;
        let exact = |level: f64| dec(&level.to_string());
        let quantity = self.held();
        let bracket = Bracket {
            side: OrderSide::Sell,
            quantity,
            above: Leg {
                client_id: id("target"),
                kind: OrderKind::LimitMaker { price: price.ceil(exact(entry * (1.0 + target))) },
            },
            below: Leg {
                client_id: id("stop"),
                kind: OrderKind::StopLoss { stop_price: price.floor(exact(entry * (1.0 - stop))) },
            },
        };
        let list = NewList::Oco { symbol: self.symbol.clone(), list_id: id("protection"), bracket };
        self.execute(&Command::PlaceList(list));
    }

    fn enter(&mut self) {
        self.market(OrderSide::Buy, dec("10"));
        let entry = self.entry.as_ref().map(price_of).unwrap();
        if let Some((stop, target)) = self.protection {
            self.protect(entry, stop, target);
        }
    }

    fn leave(&mut self) {
        if self.protection.is_some() {
            self.execute(&Command::CancelList {
                symbol: self.symbol.clone(),
                list_id: id("protection"),
                cancel_id: id("cancel"),
            });
        }
        let quantity = self.held();
        self.market(OrderSide::Sell, quantity);
    }

    /// Turns new fills into entries and exits.
    fn read_fills(&mut self) {
        let command =
            Command::Fills { symbol: self.symbol.clone(), from_id: Some(self.fills_seen + 1), from_ms: 0 };
        let Response::Fills(fills) = self.execute(&command) else { panic!("fills are answered by fills") };
        for fill in fills {
            self.fills_seen = fill.trade_id;
            let Some(entry) = self.entry.take() else {
                self.entry = Some(fill);
                continue;
            };
            let orders: Vec<_> = self.exchange.all_orders(&self.symbol).unwrap().collect();
            let kind = orders.iter().find(|order| order.order_id == fill.order_id).unwrap().kind;
            let reason = match kind {
                OrderKind::StopLoss { .. } => ExitReason::Stop,
                OrderKind::LimitMaker { .. } => ExitReason::Target,
                _ => ExitReason::Signal,
            };
            self.trades.push((bar_of(&entry), price_of(&entry), bar_of(&fill), price_of(&fill), reason));
        }
    }
}

fn bar_of(fill: &Fill) -> usize {
    usize::try_from(fill.time_ms / HOUR_MS).unwrap()
}

fn price_of(fill: &Fill) -> f64 {
    fill.price.to_string().parse().unwrap()
}

fn trade(bars: &Bars, protection: Protection, intrabar: Intrabar) -> Vec<Trade> {
    let settings = Settings { intrabar, maker_fee: 0.0005, ..Settings::default() };
    let mut trader = Trader {
        exchange: exchange("BTCUSDT", bars.clone(), settings),
        symbol: Symbol::new("BTCUSDT"),
        protection,
        orders: 0,
        entry: None,
        fills_seen: 0,
        trades: Vec::new(),
    };
    let mut signals = Signals::new(&program(protection), &[], HOUR_MS).unwrap();
    while trader.exchange.open_step().is_some() {
        for event in trader.exchange.take_market_events() {
            let MarketEvent::Bar { bar, .. } = event else { continue };
            let wanted = signals.push(&bar);
            match trader.entry.is_some() {
                true if wanted.long_exit => trader.leave(),
                false if wanted.long_enter => trader.enter(),
                _ => {}
            }
        }
        trader.exchange.play_step();
        trader.read_fills();
    }
    trader.trades
}

/// Same bars, same reasons, same entry prices; exits to one tick, which is what rounding a level moves it by.
fn compare(bars: &Bars, protection: Protection, intrabar: Intrabar) -> Result<Vec<Trade>, TestCaseError> {
    let (expected, actual) = (backtest(bars, protection, intrabar), trade(bars, protection, intrabar));
    prop_assert_eq!(expected.len(), actual.len(), "{:?} against {:?}", &expected, &actual);
    for (e, a) in expected.iter().zip(&actual) {
        prop_assert_eq!((e.0, e.1, e.2, e.4), (a.0, a.1, a.2, a.4), "{:?} against {:?}", e, a);
        prop_assert!((e.3 - a.3).abs() < 0.01, "{:?} against {:?}", e, a);
        if protection.is_none() {
            prop_assert_eq!(e.3, a.3);
        }
    }
    Ok(actual)
}

/// Bars on a grid of 0.01 with gaps between them, and a wish at every close.
fn market() -> impl Strategy<Value = Bars> {
    let row = (-120..=120_i64, 0..250_i64, 0..250_i64, 0..=100_i64, 0..4_u8);
    prop::collection::vec(row, 2..60).prop_map(|rows| {
        let mut last = 10_000_i64;
        let mut ticks = Vec::new();
        let (mut enter, mut exit) = (Vec::new(), Vec::new());
        for (gap, up, down, part, wish) in rows {
            let open = (last + gap).max(2_000);
            let (high, low) = (open + up, open - down);
            last = low + (high - low) * part / 100;
            ticks.push([open, high, low, last]);
            enter.push(f64::from(u8::from(wish == 0 || wish == 3)));
            exit.push(f64::from(u8::from(wish == 1)));
        }
        Bars { volume: enter, quote_volume: exit, ..bars(&ticks) }
    })
}

proptest! {
    #[test]
    fn market_orders_make_the_backtests_trades(bars in market()) {
        compare(&bars, None, Intrabar::StopFirst)?;
    }

    #[test]
    fn a_protected_position_makes_the_backtests_trades(
        bars in market(),
        stop_bps in 20..300_u32,
        target_bps in 20..300_u32,
        is_stop_first: bool,
    ) {
        let protection = Some((f64::from(stop_bps) / 1e4, f64::from(target_bps) / 1e4));
        let intrabar = if is_stop_first { Intrabar::StopFirst } else { Intrabar::TargetFirst };
        compare(&bars, protection, intrabar)?;
    }
}

#[test]
fn levels_meet_bars_as_the_semantics_say() {
    use ExitReason::{Stop, Target};
    use Intrabar::{NearestOpen, StopFirst, TargetFirst};
    // Entry at 100.00, stop at 99.00, target at 102.00; the bar after the entry's, and what it does.
    let cases = [
        ([10_000, 10_100, 9_900, 10_000], StopFirst, Some((99.0, Stop))),
        ([10_000, 10_199, 9_901, 10_000], StopFirst, None),
        ([10_000, 10_200, 9_901, 10_000], StopFirst, Some((102.0, Target))),
        ([9_850, 10_300, 9_800, 10_000], TargetFirst, Some((98.5, Stop))),
        ([10_250, 10_300, 9_800, 10_000], StopFirst, Some((102.5, Target))),
        ([10_000, 10_300, 9_800, 10_000], StopFirst, Some((99.0, Stop))),
        ([10_000, 10_300, 9_800, 10_000], TargetFirst, Some((102.0, Target))),
        ([10_000, 10_300, 9_800, 10_000], NearestOpen, Some((99.0, Stop))),
        ([10_050, 10_300, 9_800, 10_000], NearestOpen, Some((99.0, Stop))),
        ([10_100, 10_300, 9_800, 10_000], NearestOpen, Some((102.0, Target))),
    ];
    for (row, intrabar, exit) in cases {
        let still = [10_000; 4];
        let mut bars = bars(&[still, still, row]);
        bars.volume = vec![1.0, 0.0, 0.0];
        let trades = compare(&bars, Some((0.01, 0.02)), intrabar).unwrap();
        let expected = exit.map(|(price, reason)| (1, 100.0, 2, price, reason));
        assert_eq!(trades, Vec::from_iter(expected), "{row:?} {intrabar:?}");
    }
}
