//! A trader, a journal and a simulated exchange in one thread, with a clock that the test moves.
//!
//! What must hold at every moment is checked here, whatever a test is about: an order is in the journal before it is executed, no
//! id is executed twice, nothing is bought while a position is held, and a position with levels is protected once all is settled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::kernels::program::Program;
use polybolos_engine::signals::Bar;
use polybolos_live_trader::client_id::ClientId;
use polybolos_live_trader::order::{Fill, OrderSide};
use polybolos_live_trader::simulator::{Settings, Simulator};
use polybolos_live_trader::trader::{
    Action, CommandId, EntryStyle, Event, Goal, Notice, Plan, Record, Standing, Trader,
};
use polybolos_live_trader::venue::{AccountEvent, Answer, Command, MarketEvent, Response, VenueError};
use rust_decimal::Decimal;

use super::market::{HOUR_MS, Random, Setup, plan, program, signals, symbol};

/// What can go wrong on the way of a command, in percent of the commands that change orders.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// The command is lost and its answer is `Unknown`.
    pub(super) lost: u64,
    /// The command is done and its answer is `Unknown`.
    pub(super) unanswered: u64,
    /// The answer is `Unknown`, and the command arrives three seconds later.
    pub(super) late: u64,
    /// The program ends at about one in so many of the moments at which it can; 0 for never.
    pub(super) crash_one_in: u64,
    /// The program ends at this one of the moments at which it can, the first is 1.
    pub(super) crash_at: Option<u64>,
    /// Fills inside a bar are told after its close.
    pub(super) has_late_fills: bool,
}

pub(super) struct World {
    pub(super) simulator: Simulator,
    pub(super) trader: Trader,
    pub(super) journal: Vec<Record>,
    pub(super) now_ms: i64,
    pub(super) notices: Vec<Notice>,
    /// Commands that reached the exchange, refused ones too.
    pub(super) sends: Vec<Command>,
    pub(super) crashes: u32,
    pub(super) unknowns: u32,
    /// Answers everything with a halt from now on.
    pub(super) is_banned: bool,
    pub(super) faults: Faults,
    plan: Plan,
    program: Program,
    random: Random,
    moments: u64,
    rows: usize,
    published: Vec<Bar>,
    queue: VecDeque<(CommandId, Command)>,
    inbox: VecDeque<Event>,
    held_back: VecDeque<Event>,
    late: Vec<(i64, Command)>,
    fill_times: BTreeMap<i64, i64>,
    executed: BTreeSet<ClientId>,
}

impl World {
    pub(super) fn new(setup: &Setup, bars: Bars, entry: EntryStyle, faults: Faults, seed: u64) -> World {
        let program = program(setup);
        let plan = plan(&program, &bars, entry);
        let settings =
            Settings { balances: vec![("USDT".to_owned(), Decimal::from(10_000))], ..Settings::default() };
        let rows = bars.len();
        let rules = plan.symbols[&symbol()].rules.clone();
        let simulator = Simulator::new(settings, vec![(rules, bars)], 0).unwrap();
        let mut world = World {
            simulator,
            trader: Trader::new(plan.clone(), signals(&program), &[]),
            journal: Vec::new(),
            now_ms: -HOUR_MS,
            notices: Vec::new(),
            sends: Vec::new(),
            crashes: 0,
            unknowns: 0,
            is_banned: false,
            faults,
            plan,
            program,
            random: Random(seed),
            moments: 0,
            rows,
            published: Vec::new(),
            queue: VecDeque::new(),
            inbox: VecDeque::new(),
            held_back: VecDeque::new(),
            late: Vec::new(),
            fill_times: BTreeMap::new(),
            executed: BTreeSet::new(),
        };
        world.connect();
        world
    }

    /// Plays all bars. The last one's close is not published: no bar is left in which its decision could be filled.
    pub(super) fn run(&mut self) {
        self.settle();
        while self.published.len() + 1 < self.rows {
            assert!(self.step());
        }
    }

    /// Plays one bar; `false` behind the last one.
    pub(super) fn step(&mut self) -> bool {
        let is_open = self.simulator.open_step().is_some();
        self.now_ms = self.now_ms.max(self.simulator.now_ms());
        self.hear_market();
        self.inbox.append(&mut self.held_back);
        self.settle();
        self.simulator.play_step();
        self.now_ms = self.now_ms.max(self.simulator.now_ms());
        self.hear_account();
        if self.faults.has_late_fills {
            self.held_back.append(&mut self.inbox);
        } else {
            self.settle();
        }
        is_open
    }

    /// Lets time pass until nothing is under way and everything is as it must be.
    pub(super) fn settle(&mut self) {
        for _ in 0..400 {
            self.pump();
            if self.is_as_it_must_be() || self.is_banned {
                return;
            }
            self.pass_time();
        }
        panic!(
            "does not settle: {:?} {:?} open {:?} notices {:?}",
            self.trader.standing(),
            self.trader.state().symbol(&symbol()),
            self.simulator.open_orders(None),
            self.notices
        );
    }

    /// Goes to the next moment at which the trader wants to be woken.
    pub(super) fn pass_time(&mut self) {
        self.now_ms = self.trader.next_due_ms().max(self.now_ms + 1);
        let (due, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.late).into_iter().partition(|(at_ms, _)| *at_ms <= self.now_ms);
        self.late = waiting;
        for (_, command) in due {
            let _lost = self.execute(&command);
            self.hear_account();
        }
        self.inbox.push_back(Event::Tick);
        self.pump();
    }

    /// Hands over all events and carries out all commands.
    pub(super) fn pump(&mut self) {
        loop {
            if let Some(event) = self.inbox.pop_front() {
                self.event(event);
            } else if let Some((id, command)) = self.queue.pop_front() {
                self.carry_out(id, command);
            } else {
                return;
            }
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.inbox.push_back(event);
        self.pump();
    }

    fn event(&mut self, event: Event) {
        for action in self.trader.handle(self.now_ms, event) {
            match action {
                Action::Journal(record) => {
                    if self.dies() {
                        return self.restart();
                    }
                    self.journal.push(record);
                }
                Action::Send { id, command } => self.queue.push_back((id, command)),
                Action::Notify(notice) => self.notices.push(notice),
            }
        }
    }

    fn carry_out(&mut self, id: CommandId, command: Command) {
        if self.dies() {
            // What was sent in the last moment may still be on its way.
            if self.random.chance(30) && command.changes_orders() {
                self.late.push((self.now_ms + 3_000, command));
            }
            return self.restart();
        }
        if self.is_banned {
            self.sends.push(command);
            let answer = Err(VenueError::Halt { reason: "418".to_owned(), until_ms: None });
            return self.inbox.push_back(Event::Answer { id, answer });
        }
        let (reason, settles_at_ms) = ("no answer".to_owned(), self.now_ms + 10_000);
        let unknown: Answer = Err(VenueError::Unknown { reason, settles_at_ms });
        let draw = if command.changes_orders() { self.random.below(100) } else { 100 };
        let Faults { lost, unanswered, late, .. } = self.faults;
        let answer = if draw < lost {
            unknown
        } else if draw < lost + late {
            self.late.push((self.now_ms + 3_000, command));
            unknown
        } else {
            let answer = self.execute(&command);
            if draw < lost + late + unanswered { unknown } else { answer }
        };
        self.unknowns += u32::from(matches!(answer, Err(VenueError::Unknown { .. })));
        if self.dies() {
            return self.restart();
        }
        let answer = Event::Answer { id, answer };
        if self.random.chance(50) {
            self.inbox.push_back(answer);
            self.hear_account();
        } else {
            self.hear_account();
            self.inbox.push_back(answer);
        }
    }

    fn execute(&mut self, command: &Command) -> Answer {
        self.sends.push(command.clone());
        let ids = match command {
            Command::Place(order) => vec![order.client_id.clone()],
            Command::PlaceList(list) => list.client_ids(),
            _ => Vec::new(),
        };
        for id in &ids {
            assert!(self.journaled(id), "{id} was sent before it was in the journal");
            assert!(self.executed.insert(id.clone()), "{id} was sent twice");
        }
        let held_before = self.total("BTC");
        let answer = match command {
            Command::Fills { symbol, from_id, .. } => self.simulator.execute(&Command::Fills {
                symbol: symbol.clone(),
                from_id: *from_id,
                from_ms: 0,
            }),
            _ => self.simulator.execute(command),
        };
        let price = self.simulator.price(&symbol()).unwrap_or_default();
        if self.total("BTC") > held_before {
            assert!(held_before * price < Decimal::from(5), "bought while holding {held_before}");
        }
        answer.map(|response| self.retimed(response, command))
    }

    fn journaled(&self, id: &ClientId) -> bool {
        self.journal.iter().rev().any(|record| match record {
            Record::Order { order, .. } => order.client_id == *id,
            Record::List { list, .. } => list.client_ids().contains(id),
            _ => false,
        })
    }

    /// Market time stands still between bars and this clock does not: a fill gets the time at which it was made known.
    fn retimed(&mut self, response: Response, command: &Command) -> Response {
        match response {
            Response::Order(mut report) => {
                report.fills.iter_mut().for_each(|fill| self.retime(fill));
                Response::Order(report)
            }
            Response::List(mut list) => {
                list.orders
                    .iter_mut()
                    .flat_map(|report| &mut report.fills)
                    .for_each(|fill| self.retime(fill));
                Response::List(list)
            }
            Response::Fills(mut fills) => {
                fills.iter_mut().for_each(|fill| self.retime(fill));
                if let Command::Fills { from_id: None, from_ms, .. } = command {
                    fills.retain(|fill| fill.time_ms >= *from_ms);
                }
                Response::Fills(fills)
            }
            other => other,
        }
    }

    fn retime(&mut self, fill: &mut Fill) {
        fill.time_ms = *self.fill_times.entry(fill.trade_id).or_insert(fill.time_ms.max(self.now_ms));
    }

    fn hear_account(&mut self) {
        let events = self.simulator.take_events();
        for mut event in events.into_iter().filter_map(|event| event.into_account_event()) {
            if let AccountEvent::Execution { report, .. } = &mut event {
                report.fills.iter_mut().for_each(|fill| self.retime(fill));
            }
            self.inbox.push_back(Event::Account(event));
        }
    }

    /// Prices come in all the time and bars at their ends: the quotes first.
    fn hear_market(&mut self) {
        let events = self.simulator.take_market_events();
        let mut bars = Vec::new();
        for event in events {
            match event {
                MarketEvent::Quote { symbol, bid, ask } => {
                    self.inbox.push_back(Event::Quote { symbol, bid, ask });
                }
                MarketEvent::Bar { symbol, bar } => {
                    self.published.push(bar);
                    bars.push(Event::Bar { symbol, bar, is_live: true });
                }
                _ => {}
            }
        }
        self.inbox.extend(bars);
    }

    /// Whether the program ends now.
    fn dies(&mut self) -> bool {
        self.moments += 1;
        let Faults { crash_one_in, crash_at, .. } = self.faults;
        crash_at == Some(self.moments) || crash_one_in > 0 && self.random.below(crash_one_in) == 0
    }

    /// A new program that has the journal and nothing else.
    pub(super) fn restart(&mut self) {
        self.crashes += 1;
        self.queue.clear();
        self.inbox.clear();
        self.simulator.take_events();
        self.trader = Trader::new(self.plan.clone(), signals(&self.program), &self.journal);
        self.connect();
    }

    fn connect(&mut self) {
        self.inbox.push_back(Event::Market { is_connected: true });
        let newest = self.published.len().saturating_sub(1);
        for (t, &bar) in self.published.iter().enumerate() {
            self.inbox.push_back(Event::Bar { symbol: symbol(), bar, is_live: t == newest });
        }
        if let Some(price) = self.simulator.price(&symbol()) {
            self.inbox.push_back(Event::Quote { symbol: symbol(), bid: price, ask: price });
        }
        self.inbox.push_back(Event::Account(AccountEvent::Connected));
    }

    pub(super) fn total(&self, asset: &str) -> Decimal {
        let balances = self.simulator.balances();
        balances.iter().filter(|held| held.asset == asset).map(|held| held.free + held.locked).sum()
    }

    fn is_as_it_must_be(&self) -> bool {
        let state = self.trader.state().symbol(&symbol());
        self.trader.is_settled()
            && self.late.is_empty()
            && *self.trader.standing() == Standing::Trading
            && matches!(state.goal, Goal::Flat | Goal::Hold)
            && self.is_protected()
    }

    /// Whether what is held can be sold by resting orders at its levels, as far as the strategy has any, and nothing else rests.
    fn is_protected(&self) -> bool {
        let held = self.trader.state().quantity(&symbol());
        let rules = &self.plan.rules;
        let stops = usize::from(rules.stop_loss.is_some() || rules.trailing_stop.is_some());
        let legs = stops + usize::from(rules.take_profit.is_some());
        let price = self.simulator.price(&symbol()).unwrap_or_default();
        let is_held = held * price >= Decimal::from(6);
        let open = self.simulator.open_orders(None).unwrap();
        let left = |quantity| held - quantity;
        let lot = self.plan.symbols[&symbol()].rules.lot.step;
        let is_right = |quantity| left(quantity) >= Decimal::ZERO && left(quantity) < lot;
        open.len() == if is_held { legs } else { 0 }
            && open.iter().all(|order| order.side == OrderSide::Sell && is_right(order.remaining()))
    }

    /// What must hold at the end of every run: the books are the exchange's, and the journal alone gives the same state.
    pub(super) fn check_books(&self) {
        let expected = &self.trader.state().expected;
        for asset in ["BTC", "USDT"] {
            let ours = expected.get(asset).copied().unwrap_or_default();
            assert_eq!(ours, self.total(asset), "{asset}");
        }
        let written: Vec<String> =
            self.journal.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
        let read: Vec<Record> = written.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let again = Trader::new(self.plan.clone(), signals(&self.program), &read);
        assert_eq!(again.state(), self.trader.state());
    }
}
