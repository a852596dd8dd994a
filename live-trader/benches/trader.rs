//! What the trader takes for each kind of event of a bot of hundreds of pairs, and what the journal takes for a record: all in one thread,
//! without a disk and without sockets. `cargo bench -p polybolos-live-trader --bench trader [-- PAIRS BARS]`.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops where it cannot go on"
)]

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::bars::{Bars, Column};
use polybolos_engine::kernels::program::{NodeId, Op, Program, ProgramBuilder, Rules, Size};
use polybolos_engine::signals::Signals;
use polybolos_engine::simulation::RuleValues;
use polybolos_live_trader::journal::{Journal, Sink};
use polybolos_live_trader::risk::{LIMITS, Limits};
use polybolos_live_trader::simulator::{Settings, Simulator, synthetic_rules};
use polybolos_live_trader::symbol::Symbol;
use polybolos_live_trader::trader::{
    Action, CommandId, EntryStyle, Event, OnDisconnect, Plan, Record, SymbolPlan, Trader,
};
use polybolos_live_trader::venue::{AccountEvent, Command, MarketEvent};
use rust_decimal::Decimal;

const HOUR_MS: i64 = 3_600_000;

/// Of a hundred closes so many want in, and so many out.
const ENTER: u64 = 40;
const EXIT: u64 = 40;

fn main() {
    let number = |at: usize, default: usize| {
        std::env::args().filter_map(|text| text.parse().ok()).nth(at).unwrap_or(default)
    };
    let (pairs, bars) = (number(0, 200), number(1, 300));
    let mut bench = Bench::new(pairs, bars);
    bench.run();
    println!("{pairs} pairs, {bars} bars, {ENTER} % of the closes want in and {EXIT} % out; means");
    println!("{:<34} {:>9} {:>9}", "event", "count", "us");
    for (what, (count, took)) in &bench.took {
        println!("{what:<34} {count:>9} {:>9.2}", took.as_secs_f64() * 1e6 / f64::from(*count));
    }
    let all: Duration = bench.took.values().map(|(_, took)| *took).sum();
    println!("all of a bar time: {:.2} ms", all.as_secs_f64() * 1e3 / bars as f64);
}

/// A disk that is infinitely fast.
struct Nowhere;

impl Sink for Nowhere {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Bench {
    trader: Trader,
    exchange: Simulator,
    journal: Journal<Record>,
    _folder: tempfile::TempDir,
    commands: VecDeque<(CommandId, Command)>,
    took: BTreeMap<String, (u32, Duration)>,
}

impl Bench {
    fn new(pairs: usize, rows: usize) -> Bench {
        let program = program();
        let markets: Vec<(Symbol, Bars)> = (0..pairs)
            .map(|number| (Symbol::new(&format!("SYN{number:03}USDT")), walk(number, rows)))
            .collect();
        let plan = plan(&program, &markets);
        let signals =
            |symbol: &Symbol| (symbol.clone(), Signals::new(&program, &[], HOUR_MS).expect("signals"));
        let trader = Trader::new(plan.clone(), plan.symbols.keys().map(signals).collect(), &[]);
        let cash = Decimal::from(20_000) * Decimal::from(pairs);
        let settings = Settings { balances: vec![("USDT".to_owned(), cash)], ..Settings::default() };
        let listed = markets.into_iter().map(|(symbol, bars)| (plan.symbols[&symbol].rules.clone(), bars));
        let exchange = Simulator::new(settings, listed.collect(), 0).expect("an exchange");
        let folder = tempfile::tempdir().expect("a folder");
        let (journal, _) =
            Journal::open_with(folder.path(), "bench", Box::new(|_| Box::new(Nowhere))).expect("a journal");
        let (commands, took) = (VecDeque::new(), BTreeMap::new());
        Bench { trader, exchange, journal, _folder: folder, commands, took }
    }

    fn run(&mut self) {
        self.tell("start", Event::Market { is_connected: true });
        self.tell("start", Event::Account(AccountEvent::Connected));
        self.carry_out();
        self.took.clear();
        while self.exchange.open_step().is_some() {
            let (mut bars, mut quotes) = (Vec::new(), Vec::new());
            for event in self.exchange.take_market_events() {
                match event {
                    MarketEvent::Bar { symbol, bar } => {
                        bars.push(Event::Bar { symbol, bar, is_live: true });
                    }
                    MarketEvent::Quote { symbol, bid, ask } => quotes.push(Event::Quote { symbol, bid, ask }),
                    _ => {}
                }
            }
            quotes.into_iter().for_each(|quote| self.tell("quote", quote));
            bars.into_iter().for_each(|bar| self.tell("close", bar));
            self.carry_out();
            self.exchange.play_step();
            self.carry_out();
        }
    }

    /// Until nobody has anything to say any more.
    fn carry_out(&mut self) {
        loop {
            for event in
                self.exchange.take_events().into_iter().filter_map(|event| event.into_account_event())
            {
                self.tell("account", Event::Account(event));
            }
            let Some((id, command)) = self.commands.pop_front() else {
                return;
            };
            let answer = self.exchange.execute(&command);
            self.tell("answer", Event::Answer { id, answer });
        }
    }

    fn tell(&mut self, what: &str, event: Event) {
        let now_ms = self.exchange.now_ms();
        let started = Instant::now();
        let actions = self.trader.handle(now_ms, event);
        let took = started.elapsed();
        let mut sends = "";
        for action in actions {
            match action {
                Action::Journal(record) => {
                    let started = Instant::now();
                    self.journal.append(&record).expect("a record");
                    self.journal.sync().expect("a sync");
                    self.count("a record in the journal", started.elapsed());
                }
                Action::Send { id, command } => {
                    sends = match &command {
                        Command::Place(_) => ", an order",
                        Command::PlaceList(_) => ", a list",
                        Command::Cancel { .. } => ", a cancel",
                        _ => ", a question",
                    };
                    self.commands.push_back((id, command));
                }
                Action::Notify(_) => {}
            }
        }
        self.count(&format!("{what}{sends}"), took);
    }

    fn count(&mut self, what: &str, took: Duration) {
        let entry = self.took.entry(what.to_owned()).or_default();
        *entry = (entry.0 + 1, entry.1 + took);
    }
}

/// Enters where the volume is above 0, leaves where the quote volume is; a stop and a target.
fn program() -> Program {
    let mut builder = ProgramBuilder::new(0);
    let mut push = |op, args: &[NodeId]| builder.push(op, args, 0).expect("a node");
    let zero = push(Op::Const(0.0), &[]);
    let [long_enter, long_exit] = [Column::Volume, Column::QuoteVolume].map(|column| {
        let column = push(Op::Column(column), &[]);
        Some(push(Op::Gt, &[column, zero]))
    });
    let mut constant = |value: f64| Some(push(Op::Const(value), &[]));
    let (stop_loss, take_profit) = (constant(0.02), constant(0.04));
    let size = Size::Equity(push(Op::Const(1.0), &[]));
    builder.finish(Rules {
        long_enter,
        long_exit,
        short_enter: None,
        short_exit: None,
        stop_loss,
        take_profit,
        trailing_stop: None,
        max_bars: None,
        cooldown: None,
        size,
    })
}

fn plan(program: &Program, markets: &[(Symbol, Bars)]) -> Plan {
    let of_pair = |(symbol, bars): &(Symbol, Bars)| {
        (symbol.clone(), SymbolPlan { rules: synthetic_rules(symbol, bars), cash: Decimal::from(10_000) })
    };
    Plan {
        bot: "bench".to_owned(),
        interval: Interval::from_ms(HOUR_MS).expect("an interval"),
        rules: RuleValues::new(program, &Signals::new(program, &[], HOUR_MS).expect("signals"))
            .expect("rules"),
        entry: EntryStyle::Market,
        market_waits: false,
        collar_bps: Decimal::from(100),
        taker_fee: Decimal::new(1, 3),
        symbols: markets.iter().map(of_pair).collect(),
        settle_ms: 10_000,
        reconcile_every_ms: 1_000 * HOUR_MS,
        limits: no_limits(),
        protections: Vec::new(),
        accepted_differences: BTreeMap::new(),
        on_disconnect: OnDisconnect::Hold,
        disconnect_after_ms: HOUR_MS,
    }
}

/// Whatever is lost, trading goes on.
fn no_limits() -> Limits {
    let off = LIMITS.iter().map(|limit| (limit.name.to_owned(), serde_json::Value::Null));
    serde_json::from_value(serde_json::Value::Object(off.collect())).expect("limits")
}

/// A random walk in cents from 100.
fn walk(seed: usize, rows: usize) -> Bars {
    let mut state = seed as u64 + 1;
    let mut below = |bound: u64| {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    };
    let price = |cents: i64| cents as f64 / 100.0;
    let mut bars = Bars { interval_ms: HOUR_MS, ..Bars::default() };
    let mut last = 10_000_i64;
    for t in 0..rows as i64 {
        let close = (last + below(101) as i64 - 50).max(5_000);
        bars.open_time_ms.push(t * HOUR_MS);
        bars.open.push(price(last));
        bars.high.push(price(last.max(close) + below(20) as i64));
        bars.low.push(price(last.min(close) - below(20) as i64));
        bars.close.push(price(close));
        bars.volume.push(f64::from(u8::from(below(100) < ENTER)));
        bars.quote_volume.push(f64::from(u8::from(below(100) < EXIT)));
        for column in [&mut bars.trades, &mut bars.taker_buy_volume, &mut bars.taker_buy_quote_volume] {
            column.push(0.0);
        }
        last = close;
    }
    bars
}
