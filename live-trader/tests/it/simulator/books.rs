//! Random requests in random markets: the books balance, whatever is asked.

use std::collections::{BTreeMap, VecDeque};

use polybolos_engine::signals::Bar;
use polybolos_kernels::bars::Bars;
use polybolos_kernels::sim::Intrabar;
use polybolos_live_trader::order::{
    Bracket, Leg, NewList, NewOrder, OrderKind, OrderSide, OrderStatus, Quantity, TimeInForce,
};
use polybolos_live_trader::simulator::{
    Contingency, Event, OrderRef, PartialFill, Phase, Settings, Simulator, synthetic_rules,
};
use polybolos_live_trader::symbol::Symbol;
use polybolos_live_trader::venue::Command;
use proptest::prelude::*;
use rust_decimal::{Decimal, RoundingStrategy};

use super::{HOUR_MS, bars, dec, id};

const PAIRS: [(&str, &str); 2] = [("BNBUSDT", "BNB"), ("BTCUSDT", "BTC")];

/// An order's form: what it is and where it lies, in ticks from the last price.
#[derive(Debug, Clone, Copy)]
struct Shape {
    form: u8,
    is_buy: bool,
    hundredths: i64,
    offset: i64,
    width: i64,
    name: u8,
}

#[derive(Debug, Clone)]
enum Request {
    Place { pair: usize, shape: Shape, partial: Option<PartialFill> },
    List { pair: usize, form: u8, shape: Shape, partial: Option<PartialFill> },
    Cancel { pair: usize, name: u8 },
    CancelList { pair: usize, name: u8 },
    Amend { pair: usize, name: u8, hundredths: i64, new_name: u8 },
    Transfer { asset: u8, units: i64 },
    HalfStep,
}

fn shape() -> impl Strategy<Value = Shape> {
    (0..9_u8, any::<bool>(), 5..800_i64, -150..150_i64, 1..200_i64, 0..12_u8).prop_map(
        |(form, is_buy, hundredths, offset, width, name)| Shape {
            form,
            is_buy,
            hundredths,
            offset,
            width,
            name,
        },
    )
}

fn partial() -> impl Strategy<Value = Option<PartialFill>> {
    prop::option::of(
        (1..100_i64, any::<bool>())
            .prop_map(|(part, expires_rest)| PartialFill { fraction: Decimal::new(part, 2), expires_rest }),
    )
}

fn request() -> impl Strategy<Value = Request> {
    let pair = 0..2_usize;
    prop_oneof![
        6 => (pair.clone(), shape(), partial())
            .prop_map(|(pair, shape, partial)| Request::Place { pair, shape, partial }),
        4 => (pair.clone(), 0..4_u8, shape(), partial())
            .prop_map(|(pair, form, shape, partial)| Request::List { pair, form, shape, partial }),
        2 => (pair.clone(), 0..12_u8).prop_map(|(pair, name)| Request::Cancel { pair, name }),
        1 => (pair.clone(), 0..12_u8).prop_map(|(pair, name)| Request::CancelList { pair, name }),
        1 => (pair, 0..12_u8, 1..400_i64, 0..12_u8).prop_map(|(pair, name, hundredths, new_name)| {
            Request::Amend { pair, name, hundredths, new_name }
        }),
        1 => (0..3_u8, -500..500_i64).prop_map(|(asset, units)| Request::Transfer { asset, units }),
        6 => Just(Request::HalfStep),
    ]
}

fn rows() -> impl Strategy<Value = Vec<[i64; 4]>> {
    let row = (-100..=100_i64, 0..200_i64, 0..200_i64, 0..=100_i64);
    prop::collection::vec(row, 12).prop_map(|rows| {
        let mut last = 10_000_i64;
        let make = |(gap, up, down, part): (i64, i64, i64, i64)| {
            let open = last + gap;
            last = open - down + (up + down) * part / 100;
            [open, open + up, open - down, last]
        };
        rows.into_iter().map(make).collect()
    })
}

fn kind(shape: Shape, last: Decimal) -> OrderKind {
    let at = |ticks: i64| last + Decimal::new(ticks, 2);
    let (price, stop_price) = (at(shape.offset), at(shape.offset + shape.width - 100));
    let time_in_force = match shape.width % 3 {
        0 => TimeInForce::Gtc,
        1 => TimeInForce::Ioc,
        _ => TimeInForce::Fok,
    };
    match shape.form {
        0..=2 => OrderKind::Market,
        3 | 4 => OrderKind::Limit { price, time_in_force },
        5 => OrderKind::LimitMaker { price },
        6 => OrderKind::StopLoss { stop_price },
        7 => OrderKind::StopLossLimit { stop_price, price, time_in_force },
        _ => OrderKind::TakeProfit { stop_price },
    }
}

fn new_order(pair: usize, shape: Shape, last: Decimal) -> NewOrder {
    let kind = kind(shape, last);
    let is_by_quote = kind == OrderKind::Market && shape.form == 0;
    let amount = Decimal::new(shape.hundredths, 2);
    NewOrder {
        symbol: Symbol::new(PAIRS[pair].0),
        client_id: id(&format!("o{}", shape.name)),
        side: if shape.is_buy { OrderSide::Buy } else { OrderSide::Sell },
        kind,
        quantity: if is_by_quote { Quantity::Quote(amount * dec("100")) } else { Quantity::Base(amount) },
    }
}

fn new_list(pair: usize, form: u8, shape: Shape, last: Decimal) -> NewList {
    let (symbol, list_id) = (Symbol::new(PAIRS[pair].0), id(&format!("l{}", shape.name)));
    let named = |letter: char| id(&format!("{letter}{}", shape.name));
    let is_short = shape.is_buy;
    let limit = OrderKind::LimitMaker {
        price: last + Decimal::new(if is_short { -shape.width } else { shape.width }, 2),
    };
    let stop = OrderKind::StopLoss {
        stop_price: last + Decimal::new(if is_short { shape.offset.abs() } else { -shape.offset.abs() }, 2),
    };
    let (above, below) = if is_short { (stop, limit) } else { (limit, stop) };
    let quantity = Decimal::new(shape.hundredths, 2);
    let bracket = Bracket {
        side: if is_short { OrderSide::Buy } else { OrderSide::Sell },
        quantity,
        above: Leg { client_id: named('a'), kind: above },
        below: Leg { client_id: named('b'), kind: below },
    };
    let working = NewOrder {
        kind: OrderKind::Limit {
            price: last + Decimal::new(shape.offset, 2),
            time_in_force: if shape.width % 5 == 0 { TimeInForce::Ioc } else { TimeInForce::Gtc },
        },
        quantity: Quantity::Base(quantity),
        side: if is_short { OrderSide::Sell } else { OrderSide::Buy },
        ..new_order(pair, shape, last)
    };
    match form {
        0 | 1 => NewList::Oco { symbol, list_id, bracket },
        2 => {
            let pending = NewOrder {
                client_id: named('p'),
                side: bracket.side,
                kind: bracket.below.kind,
                ..working.clone()
            };
            NewList::Oto { symbol, list_id, working, pending }
        }
        _ => NewList::Otoco { symbol, list_id, working, bracket },
    }
}

/// A run with its own books, kept from events alone.
struct Run {
    exchange: Simulator,
    /// Free and locked units, as the newest balance events say.
    told: BTreeMap<String, (Decimal, Decimal)>,
    /// Units in all, from the start, transfers and fills.
    totals: BTreeMap<String, Decimal>,
    slippage: Decimal,
    last_event_ms: i64,
    execution_ids: BTreeMap<Symbol, i64>,
    log: Vec<String>,
    /// What a market that is followed brings next.
    news: VecDeque<News>,
}

/// What comes from a market that goes on.
enum News {
    Quote(usize, Decimal),
    Bar(usize, Bar),
}

/// Bars of both pairs from the second on, each after a quote at its open and one at its end; the second pair is a bar behind.
fn news(rows: &[Vec<[i64; 4]>; 2]) -> VecDeque<News> {
    let mut news = VecDeque::new();
    for step in 1..rows[0].len() {
        for (pair, rows) in rows.iter().enumerate() {
            let (at, bars) = (step - pair, bars(rows));
            if at == 0 {
                continue;
            }
            for ticks in [rows[at][0], rows[at][3]] {
                news.push_back(News::Quote(pair, Decimal::new(ticks, 2)));
            }
            news.push_back(News::Bar(pair, Bar::at(&bars, at).unwrap()));
        }
    }
    news
}

impl Run {
    fn new(rows: &[Vec<[i64; 4]>; 2], settings: Settings, is_followed: bool) -> Run {
        let pairs = PAIRS.iter().zip(rows).map(|((name, _), rows)| {
            let bars = bars(rows);
            let mut rules = synthetic_rules(&Symbol::new(name), &bars);
            (rules.price.step, rules.price.min) = (dec("0.01"), dec("0.01"));
            (rules, bars)
        });
        let totals: BTreeMap<String, Decimal> = settings.balances.iter().cloned().collect();
        let told = totals.iter().map(|(asset, amount)| (asset.clone(), (*amount, Decimal::ZERO))).collect();
        let slippage = dec(&settings.slippage.to_string());
        let exchange = match is_followed {
            false => Simulator::new(settings, pairs.collect(), 0).unwrap(),
            true => {
                let past = |(rules, bars): (_, Bars)| (rules, Bar::at(&bars, 0).into_iter().collect());
                Simulator::follow(settings, HOUR_MS, pairs.map(past).collect(), HOUR_MS).unwrap()
            }
        };
        let (last_event_ms, execution_ids) = (i64::MIN, BTreeMap::new());
        let news = news(rows);
        Run { exchange, told, totals, slippage, last_event_ms, execution_ids, log: Vec::new(), news }
    }

    fn hear(&mut self) {
        match self.news.pop_front() {
            Some(News::Quote(pair, price)) => {
                self.exchange.take_quote(&Symbol::new(PAIRS[pair].0), price, price);
                assert_eq!(self.last(pair), price);
            }
            Some(News::Bar(pair, bar)) => {
                let is_new = self.exchange.take_bar(&Symbol::new(PAIRS[pair].0), &bar);
                assert_eq!(is_new, Ok(true));
            }
            None => {}
        }
    }

    fn last(&self, pair: usize) -> Decimal {
        self.exchange.price(&Symbol::new(PAIRS[pair].0)).unwrap_or(dec("100"))
    }

    /// Does a request; whether the exchange took it.
    fn apply(&mut self, request: &Request) -> bool {
        let symbol = |pair: usize| Symbol::new(PAIRS[pair].0);
        let (command, partial) = match *request {
            Request::Place { pair, shape, partial } => {
                (Command::Place(new_order(pair, shape, self.last(pair))), partial)
            }
            Request::List { pair, form, shape, partial } => {
                (Command::PlaceList(new_list(pair, form, shape, self.last(pair))), partial)
            }
            Request::Cancel { pair, name } => {
                let target = id(&format!("{}{name}", ['o', 'a', 'b'][usize::from(name) % 3]));
                (Command::Cancel { symbol: symbol(pair), target, cancel_id: id("c") }, None)
            }
            Request::CancelList { pair, name } => {
                let list_id = id(&format!("l{name}"));
                (Command::CancelList { symbol: symbol(pair), list_id, cancel_id: id("c") }, None)
            }
            Request::Amend { pair, name, hundredths, new_name } => {
                let target = OrderRef::Client(id(&format!("o{name}")));
                let new_id = id(&format!("o{new_name}"));
                let quantity = Decimal::new(hundredths, 2);
                let answer = self.exchange.amend(&symbol(pair), &target, quantity, &new_id);
                self.log.push(format!("{answer:?}"));
                return answer.is_ok();
            }
            Request::Transfer { asset, units } => {
                let asset = ["USDT", "BNB", "BTC"][usize::from(asset)];
                self.exchange.transfer(asset, Decimal::from(units));
                return true;
            }
            Request::HalfStep => {
                match self.exchange.phase() {
                    Phase::Opened { .. } => self.exchange.play_step(),
                    Phase::Live => self.hear(),
                    _ => self.log.push(format!("{:?}", self.exchange.open_step())),
                }
                return true;
            }
        };
        let answer = self.exchange.execute_with(&command, partial);
        self.log.push(format!("{answer:?}"));
        answer.is_ok()
    }

    /// Enters events into the books and gives their number.
    fn read_events(&mut self) -> Result<usize, TestCaseError> {
        let events = self.exchange.take_events();
        let market = self.exchange.take_market_events();
        self.log.push(format!("{events:?} {market:?}"));
        for event in &events {
            match event {
                Event::Balances { balances, .. } => {
                    for b in balances {
                        self.told.insert(b.asset.clone(), (b.free, b.locked));
                    }
                }
                Event::Transfer { asset, delta, .. } => {
                    *self.totals.entry(asset.clone()).or_default() += *delta;
                }
                Event::Execution(execution) => {
                    prop_assert!(execution.time_ms >= self.last_event_ms);
                    self.last_event_ms = execution.time_ms;
                    let symbol = execution.order.symbol.clone();
                    let before = self.execution_ids.insert(symbol, execution.execution_id);
                    prop_assert!(before.is_none_or(|before| execution.execution_id > before));
                    let Some(fill) = &execution.fill else { continue };
                    let quote = cut(fill.price * fill.quantity, RoundingStrategy::ToZero);
                    let base = PAIRS.iter().find(|(name, _)| *name == execution.order.symbol.as_str());
                    let sign = Decimal::from(if execution.order.side == OrderSide::Buy { 1 } else { -1 });
                    *self.totals.entry(base.unwrap().1.to_owned()).or_default() += sign * fill.quantity;
                    *self.totals.entry("USDT".to_owned()).or_default() -= sign * quote;
                    *self.totals.entry(fill.commission_asset.clone()).or_default() -= fill.commission;
                }
                Event::List(_) => {}
            }
        }
        Ok(events.len())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let locks = self.locks();
        for balance in self.exchange.balances() {
            let (free, locked) = (balance.free, balance.locked);
            prop_assert!(free >= Decimal::ZERO && locked >= Decimal::ZERO, "{:?}", balance);
            prop_assert_eq!(self.totals.get(&balance.asset).copied().unwrap_or_default(), free + locked);
            prop_assert_eq!(self.told.get(&balance.asset).copied().unwrap_or_default(), (free, locked));
            prop_assert_eq!(locks.get(&balance.asset).copied().unwrap_or_default(), locked);
        }
        for (name, _) in PAIRS {
            for order in self.exchange.all_orders(&Symbol::new(name)).unwrap() {
                let filled: Decimal = order.fills.iter().map(|fill| fill.quantity).sum();
                prop_assert_eq!(filled, order.executed_quantity);
                prop_assert!(filled <= order.original_quantity, "{:?}", order);
                let is_whole = filled == order.original_quantity;
                prop_assert_eq!(order.status == OrderStatus::Filled, is_whole, "{:?}", order);
                let limit = order.kind.price();
                let is_kept = |price: Decimal| match order.side {
                    OrderSide::Buy => limit.is_none_or(|limit| price <= limit),
                    OrderSide::Sell => limit.is_none_or(|limit| price >= limit),
                };
                prop_assert!(order.fills.iter().all(|fill| is_kept(fill.price)), "{:?}", order);
            }
        }
        for list in self.exchange.all_lists() {
            let orders = self.exchange.list_orders(list);
            let legs = orders.iter().skip(usize::from(list.contingency == Contingency::Oto));
            let traded = legs.filter(|order| !order.executed_quantity.is_zero()).count();
            prop_assert!(traded <= 1, "{:?}", orders);
            prop_assert_eq!(list.is_done, !orders.iter().any(|order| order.is_open()), "{:?}", orders);
        }
        Ok(())
    }

    /// What open orders must hold per asset: of a list the dearest order that is live.
    fn locks(&self) -> BTreeMap<String, Decimal> {
        let mut groups: BTreeMap<(Symbol, i64, bool), (&str, Decimal)> = BTreeMap::new();
        for order in self.exchange.open_orders(None).unwrap() {
            if order.status == OrderStatus::PendingNew {
                continue;
            }
            let base = PAIRS.iter().find(|(name, _)| *name == order.symbol.as_str()).unwrap().1;
            let worst = order.kind.stop_price().map(|stop| stop * (Decimal::ONE + self.slippage));
            let price = order.kind.price().or(worst).unwrap();
            let (asset, need) = match order.side {
                OrderSide::Sell => (base, order.remaining()),
                OrderSide::Buy => ("USDT", cut(price * order.remaining(), RoundingStrategy::AwayFromZero)),
            };
            let key =
                (order.symbol.clone(), order.list_id.unwrap_or(order.order_id), order.list_id.is_some());
            let group = groups.entry(key).or_insert((asset, Decimal::ZERO));
            group.1 = group.1.max(need);
        }
        let mut locks = BTreeMap::new();
        for (asset, need) in groups.into_values() {
            *locks.entry(asset.to_owned()).or_default() += need;
        }
        locks
    }
}

fn cut(amount: Decimal, strategy: RoundingStrategy) -> Decimal {
    amount.round_dp_with_strategy(8, strategy)
}

fn drive(
    rows: &[Vec<[i64; 4]>; 2],
    settings: &Settings,
    requests: &[Request],
    is_followed: bool,
) -> Result<Vec<String>, TestCaseError> {
    let mut run = Run::new(rows, settings.clone(), is_followed);
    for request in requests {
        let is_taken = run.apply(request);
        let events = run.read_events()?;
        prop_assert!(is_taken || events == 0, "refused and yet done: {:?}", request);
        run.check()?;
    }
    Ok(run.log)
}

proptest! {
    #[test]
    fn the_books_balance_whatever_is_asked(
        first in rows(),
        second in rows(),
        requests in prop::collection::vec(request(), 1..60),
        bnb_fees: bool,
        slips: bool,
        is_followed: bool,
        intrabar in prop::sample::select(vec![
            Intrabar::StopFirst,
            Intrabar::TargetFirst,
            Intrabar::NearestOpen,
        ]),
    ) {
        let balance = |asset: &str, amount: &str| (asset.to_owned(), dec(amount));
        let settings = Settings {
            slippage: if slips { 0.001 } else { 0.0 },
            intrabar,
            bnb_fees,
            balances: vec![balance("USDT", "2000"), balance("BNB", "5"), balance("BTC", "5")],
            ..Settings::default()
        };
        let rows = [first, second];
        let log = drive(&rows, &settings, &requests, is_followed)?;
        prop_assert_eq!(log, drive(&rows, &settings, &requests, is_followed)?);
    }
}
