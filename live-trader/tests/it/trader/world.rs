//! A trader, a journal and a simulated exchange in one thread, with a clock that the test moves.
//!
//! What must hold at every moment is checked here, whatever a test is about: an order is in the journal before it is executed, no
//! id is executed twice, nothing is bought while a position is held, and a position with levels is protected once all is settled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::kernels::program::Program;
use polybolos_engine::signals::Bar;
use polybolos_live_trader::client_id::ClientId;
use polybolos_live_trader::order::Fill;
use polybolos_live_trader::simulator::{PartialFill, Settings, Simulator};
use polybolos_live_trader::symbol::Symbol;
use polybolos_live_trader::trader::{
    Action, CommandId, EntryStyle, Event, Notice, Operator, Plan, Record, State, SymbolPlan, Trader,
};
use polybolos_live_trader::venue::{AccountEvent, Answer, Command, MarketEvent, Response, VenueError};
use rust_decimal::Decimal;

use super::faults::Faults;
use super::market::{HOUR_MS, Random, Setup, plan, program, signals, symbol};

pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) trader: Trader,
    /// What a restarted program reads.
    pub(crate) journal: Vec<Record>,
    /// All that was ever written.
    pub(crate) history: Vec<Record>,
    pub(crate) now_ms: i64,
    pub(crate) notices: Vec<Notice>,
    /// Commands that reached the exchange, refused ones too.
    pub(crate) sends: Vec<Command>,
    pub(crate) crashes: u32,
    pub(crate) unknowns: u32,
    pub(crate) partials: u32,
    /// Answers everything with a halt from now on.
    pub(crate) is_banned: bool,
    /// How long a bar's close takes to reach the trader.
    pub(crate) delay_ms: i64,
    /// The account's stream is gone: what happens is not told.
    pub(crate) is_deaf: bool,
    /// Hours whose bars the bot never hears of.
    pub(crate) unheard: std::ops::Range<i64>,
    pub(crate) faults: Faults,
    pub(crate) plan: Plan,
    /// Pairs that are to be traded.
    pub(crate) selected: BTreeMap<Symbol, SymbolPlan>,
    /// All pairs that can be.
    pub(crate) listed: BTreeMap<Symbol, SymbolPlan>,
    pub(crate) funds: Vec<(String, Decimal)>,
    pub(crate) random: Random,
    seed: u64,
    program: Program,
    moments: u64,
    rows: usize,
    published: BTreeMap<Symbol, Vec<Bar>>,
    queue: VecDeque<(CommandId, Command)>,
    inbox: VecDeque<Event>,
    held_back: VecDeque<Event>,
    late: Vec<(i64, Command)>,
    delayed: Vec<(i64, AccountEvent)>,
    fill_times: BTreeMap<(Symbol, i64), i64>,
    executed: BTreeMap<ClientId, i64>,
    written: BTreeSet<ClientId>,
}

impl World {
    /// One pair, and nothing but the strategy's own limits.
    pub(crate) fn new(setup: &Setup, bars: Bars, entry: EntryStyle, faults: Faults, seed: u64) -> World {
        World::with(setup, vec![(symbol(), bars)], entry, faults, seed, |_, _| {})
    }

    /// The pairs of these bars, each with 10 000 quote units, and a plan and an exchange to be changed before the start.
    pub(crate) fn with(
        setup: &Setup,
        pairs: Vec<(Symbol, Bars)>,
        entry: EntryStyle,
        faults: Faults,
        seed: u64,
        change: impl FnOnce(&mut Plan, &mut Settings),
    ) -> World {
        let program = program(setup);
        let mut plan = plan(&program, &pairs, entry);
        let cash = Decimal::from(10_000) * Decimal::from(pairs.len());
        let mut settings = Settings { balances: vec![("USDT".to_owned(), cash)], ..Settings::default() };
        let rules: Vec<_> = plan.symbols.values().map(|plan| plan.rules.clone()).collect();
        change(&mut plan, &mut settings);
        let rows = pairs[0].1.len();
        let bars: BTreeMap<Symbol, Bars> = pairs.into_iter().collect();
        let instruments =
            rules.into_iter().map(|rules| (rules.clone(), bars[&rules.symbol].clone())).collect();
        let simulator = Simulator::new(settings.clone(), instruments, 0).unwrap();
        let mut world = World {
            simulator,
            trader: Trader::new(plan.clone(), signals(&program, plan.symbols.keys()), &[]),
            journal: Vec::new(),
            history: Vec::new(),
            now_ms: -HOUR_MS,
            notices: Vec::new(),
            sends: Vec::new(),
            crashes: 0,
            unknowns: 0,
            partials: 0,
            is_banned: false,
            delay_ms: 0,
            is_deaf: false,
            unheard: 0..0,
            faults,
            selected: plan.symbols.clone(),
            listed: plan.symbols.clone(),
            funds: settings.balances,
            plan,
            program,
            random: Random(seed),
            seed,
            moments: 0,
            rows,
            published: BTreeMap::new(),
            queue: VecDeque::new(),
            inbox: VecDeque::new(),
            held_back: VecDeque::new(),
            late: Vec::new(),
            delayed: Vec::new(),
            fill_times: BTreeMap::new(),
            executed: BTreeMap::new(),
            written: BTreeSet::new(),
        };
        world.connect();
        world
    }

    /// Plays all bars. The last one's close is not published: no bar is left in which its decision could be filled.
    pub(crate) fn run(&mut self) {
        self.settle();
        while self.bars_published() + 1 < self.rows {
            assert!(self.step());
        }
        self.hear_again();
        self.hear_late();
        self.settle();
    }

    /// What happened inside the last bar is told.
    pub(crate) fn hear_late(&mut self) {
        self.inbox.append(&mut self.held_back);
        self.pump();
    }

    pub(crate) fn bars_published(&self) -> usize {
        self.published.values().map(Vec::len).max().unwrap_or(0)
    }

    /// Plays one bar; `false` behind the last one.
    pub(crate) fn step(&mut self) -> bool {
        let is_open = self.open_bar(0);
        self.play_bar();
        is_open
    }

    /// The bar before closes, and that is told; what happened inside it and has not been told is told `after_ms` later.
    pub(crate) fn open_bar(&mut self, after_ms: i64) -> bool {
        let is_open = self.simulator.open_step().is_some();
        self.now_ms = self.now_ms.max(self.simulator.now_ms());
        self.now_ms += self.delay_ms;
        self.hear_market();
        if after_ms > 0 {
            self.pump();
            self.now_ms += after_ms;
        }
        self.inbox.append(&mut self.held_back);
        self.surprise();
        self.settle();
        is_open
    }

    /// The program ends, is away for so many bars, and starts again.
    pub(crate) fn sleep(&mut self, bars: usize) {
        for _ in 0..bars {
            self.simulator.advance();
            self.now_ms = self.now_ms.max(self.simulator.now_ms());
            self.hear_market();
        }
        self.restart();
        self.settle();
    }

    /// Resting orders meet the bar that is open.
    pub(crate) fn play_bar(&mut self) {
        self.simulator.play_step();
        self.now_ms = self.now_ms.max(self.simulator.now_ms());
        self.hear_account();
        if self.faults.has_late_fills {
            self.held_back.append(&mut self.inbox);
        } else {
            self.settle();
        }
    }

    /// Lets time pass until nothing is under way and everything is as it must be. Without the account's stream nobody can tell,
    /// and some time passes.
    pub(crate) fn settle(&mut self) {
        for moment in 0..600 {
            self.pump();
            let is_enough = if self.is_deaf { moment >= 8 } else { self.is_as_it_must_be() };
            if self.is_banned || is_enough {
                return;
            }
            self.pass_time();
        }
        panic!(
            "seed {} does not settle: {:?} {} open {:?} notices {:?}",
            self.seed,
            self.trader.standing(),
            serde_json::to_string(self.trader.state()).unwrap(),
            self.simulator.open_orders(None),
            self.notices
        );
    }

    /// Nothing is on its way any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.trader.is_settled() && self.late.is_empty() && self.delayed.is_empty()
    }

    /// Goes to the next moment at which the trader wants to be woken.
    pub(crate) fn pass_time(&mut self) {
        self.now_ms = self.trader.next_due_ms().max(self.now_ms + 1);
        let (due, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.late).into_iter().partition(|(at_ms, _)| *at_ms <= self.now_ms);
        self.late = waiting;
        for (_, command) in due {
            let _lost = self.execute(&command);
            self.hear_account();
        }
        let (due, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.delayed).into_iter().partition(|(at_ms, _)| *at_ms <= self.now_ms);
        self.delayed = waiting;
        self.inbox.extend(due.into_iter().map(|(_, event)| Event::Account(event)));
        self.inbox.push_back(Event::Tick);
        self.pump();
    }

    /// Hands over all events and carries out all commands.
    pub(crate) fn pump(&mut self) {
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

    pub(crate) fn tell(&mut self, event: Event) {
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
                    self.write(record);
                }
                Action::Send { id, command } => self.queue.push_back((id, command)),
                Action::Notify(notice) => self.notices.push(notice),
            }
        }
        if self.faults.rotates && self.random.below(200) == 0 {
            self.journal = vec![self.trader.checkpoint()];
        }
    }

    fn write(&mut self, record: Record) {
        match &record {
            Record::Order { order, .. } => {
                self.written.insert(order.client_id.clone());
            }
            Record::List { list, .. } => self.written.extend(list.client_ids()),
            _ => {}
        }
        self.journal.push(record.clone());
        self.history.push(record);
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
        let (ids, pair) = match command {
            Command::Place(order) => (vec![order.client_id.clone()], Some(order.symbol.clone())),
            Command::PlaceList(list) => (list.client_ids(), Some(list.symbol().clone())),
            Command::QueryOrder { client_id, .. } if self.is_not_there_yet(client_id) => {
                return Err(VenueError::NotFound {
                    code: -2013,
                    message: "Order does not exist.".to_owned(),
                });
            }
            _ => (Vec::new(), None),
        };
        for id in &ids {
            assert!(self.written.contains(id), "{id} was sent before it was in the journal");
            assert!(self.executed.insert(id.clone(), self.now_ms).is_none(), "{id} was sent twice");
        }
        let held_before = pair.as_ref().map(|pair| self.held(pair)).unwrap_or_default();
        let partial = (self.faults.partial > 0 && self.random.chance(self.faults.partial)).then(|| {
            self.partials += 1;
            let fraction = Decimal::new(i64::try_from(10 + self.random.below(80)).unwrap(), 2);
            PartialFill { fraction, expires_rest: self.random.chance(50) }
        });
        let answer = match command {
            Command::Fills { symbol, from_id, .. } => self.simulator.execute(&Command::Fills {
                symbol: symbol.clone(),
                from_id: *from_id,
                from_ms: 0,
            }),
            _ => self.simulator.execute_with(command, partial),
        };
        if let Some(pair) = pair
            && self.held(&pair) > held_before
        {
            let price = self.simulator.price(&pair).unwrap_or_default();
            assert!(held_before * price < Decimal::from(5), "bought while holding {held_before} of {pair}");
        }
        answer.map(|response| self.retimed(response, command))
    }

    /// Whether the exchange's own copies lag behind a placement.
    fn is_not_there_yet(&mut self, client_id: &ClientId) -> bool {
        let since = self.executed.get(client_id).map(|at_ms| self.now_ms - at_ms);
        since.is_some_and(|since_ms| since_ms < 2_000) && self.random.chance(self.faults.lag)
    }

    fn held(&self, symbol: &Symbol) -> Decimal {
        self.total(&self.listed[symbol].rules.base_asset)
    }

    /// Market time stands still between bars and this clock does not: a fill gets the time at which it was made known.
    fn retimed(&mut self, response: Response, command: &Command) -> Response {
        match response {
            Response::Order(mut report) => {
                let symbol = report.symbol.clone();
                report.fills.iter_mut().for_each(|fill| self.retime(&symbol, fill));
                Response::Order(report)
            }
            Response::List(mut list) => {
                let symbol = list.symbol.clone();
                list.orders
                    .iter_mut()
                    .flat_map(|report| &mut report.fills)
                    .for_each(|fill| self.retime(&symbol, fill));
                Response::List(list)
            }
            Response::Fills(mut fills) => {
                let Command::Fills { symbol, from_id, from_ms } = command else {
                    return Response::Fills(fills);
                };
                fills.iter_mut().for_each(|fill| self.retime(symbol, fill));
                if from_id.is_none() {
                    fills.retain(|fill| fill.time_ms >= *from_ms);
                }
                Response::Fills(fills)
            }
            other => other,
        }
    }

    fn retime(&mut self, symbol: &Symbol, fill: &mut Fill) {
        let key = (symbol.clone(), fill.trade_id);
        fill.time_ms = *self.fill_times.entry(key).or_insert(fill.time_ms.max(self.now_ms));
    }

    fn hear_account(&mut self) {
        let events = self.simulator.take_events();
        for mut event in events.into_iter().filter_map(|event| event.into_account_event()) {
            if let AccountEvent::Execution { report, .. } = &mut event {
                let symbol = report.symbol.clone();
                report.fills.iter_mut().for_each(|fill| self.retime(&symbol, fill));
            }
            if self.is_deaf || self.random.chance(self.faults.missed_events) {
                continue;
            }
            if self.random.chance(self.faults.doubled_events) {
                let at_ms = self.now_ms + i64::try_from(self.random.below(5_000)).unwrap();
                self.delayed.push((at_ms, event.clone()));
            }
            match self.random.chance(self.faults.late_events) {
                true => self.delayed.push((self.now_ms + 2_500, event)),
                false => self.inbox.push_back(Event::Account(event)),
            }
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
                    self.published.entry(symbol.clone()).or_default().push(bar);
                    if self.unheard.contains(&(bar.open_time_ms / HOUR_MS)) {
                        continue;
                    }
                    bars.push(Event::Bar { symbol, bar, is_live: true });
                }
                _ => {}
            }
        }
        self.inbox.extend(bars);
    }

    /// What people and networks do between bars.
    fn surprise(&mut self) {
        if self.is_deaf {
            if self.random.chance(40) {
                self.hear_again();
            }
        } else if self.random.chance(self.faults.disconnects) {
            self.is_deaf = true;
            let reason = "gone".to_owned();
            self.inbox.push_back(Event::Account(AccountEvent::Disconnected { reason }));
        }
        if self.random.chance(self.faults.kills) {
            let reason = "test".to_owned();
            self.inbox.push_back(Event::Operator(Operator::Kill { flatten: true, reason }));
        } else if self.trader.is_killed() && self.random.chance(self.faults.kills * 15) {
            self.inbox.push_back(Event::Operator(Operator::Release));
        }
        if self.trader.state().pause.is_some()
            && !self.is_deaf
            && self.random.chance(self.faults.disconnects * 10)
        {
            self.inbox.push_back(Event::Operator(Operator::Resume));
        }
        if self.random.chance(self.faults.selects) {
            self.select();
        }
    }

    /// One pair goes or comes.
    fn select(&mut self) {
        let number = usize::try_from(self.random.below(self.listed.len() as u64)).unwrap();
        let Some((symbol, plan)) = self.listed.iter().nth(number).map(|(s, p)| (s.clone(), p.clone())) else {
            return;
        };
        if self.selected.remove(&symbol).is_some() {
            return self.inbox.push_back(Event::Retire { symbol });
        }
        self.selected.insert(symbol.clone(), plan.clone());
        let signals = signals(&self.program, [&symbol]).remove(&symbol).unwrap();
        let (plan, signals) = (Box::new(plan), Box::new(signals));
        self.inbox.push_back(Event::Admit { symbol: symbol.clone(), plan, signals });
        self.feed(&symbol);
    }

    pub(crate) fn hear_again(&mut self) {
        if std::mem::take(&mut self.is_deaf) {
            self.inbox.push_back(Event::Account(AccountEvent::Connected));
            self.inbox.push_back(Event::Operator(Operator::Resume));
        }
    }

    /// Whether the program ends now.
    fn dies(&mut self) -> bool {
        self.moments += 1;
        let Faults { crash_one_in, crash_at, .. } = self.faults;
        crash_at == Some(self.moments) || crash_one_in > 0 && self.random.below(crash_one_in) == 0
    }

    /// A new program that has the journal, the selection and nothing else: it also looks after pairs that the journal has.
    pub(crate) fn restart(&mut self) {
        self.crashes += 1;
        self.queue.clear();
        self.inbox.clear();
        self.delayed.clear();
        self.is_deaf = false;
        self.simulator.take_events();
        let known = State::from_records(self.plan.interval, &self.journal);
        self.plan.symbols = self.selected.clone();
        for symbol in known.members.keys() {
            self.plan.symbols.insert(symbol.clone(), self.listed[symbol].clone());
        }
        let signals = signals(&self.program, self.plan.symbols.keys());
        self.trader = Trader::new(self.plan.clone(), signals, &self.journal);
        self.connect();
    }

    fn connect(&mut self) {
        self.inbox.push_back(Event::Market { is_connected: true });
        for symbol in self.plan.symbols.keys().cloned().collect::<Vec<_>>() {
            self.feed(&symbol);
            if !self.selected.contains_key(&symbol) {
                self.inbox.push_back(Event::Retire { symbol });
            }
        }
        self.inbox.push_back(Event::Account(AccountEvent::Connected));
    }

    /// The bars of a pair so far, and its price.
    fn feed(&mut self, symbol: &Symbol) {
        let bars = self.published.get(symbol).cloned().unwrap_or_default();
        let newest = bars.len().saturating_sub(1);
        for (t, bar) in bars.into_iter().enumerate() {
            self.inbox.push_back(Event::Bar { symbol: symbol.clone(), bar, is_live: t == newest });
        }
        if let Some(price) = self.simulator.price(symbol) {
            self.inbox.push_back(Event::Quote { symbol: symbol.clone(), bid: price, ask: price });
        }
    }

    pub(crate) fn total(&self, asset: &str) -> Decimal {
        let balances = self.simulator.balances();
        balances.iter().filter(|held| held.asset == asset).map(|held| held.free + held.locked).sum()
    }

    /// What a new program makes of the journal, as text.
    pub(crate) fn reread(&self) -> String {
        let written: Vec<String> =
            self.journal.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
        let read: Vec<Record> = written.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        serde_json::to_string(&State::from_records(self.plan.interval, &read)).unwrap()
    }
}
