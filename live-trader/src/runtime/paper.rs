//! A simulated exchange in the process, fed from a dataset: market time goes on when the bot is done with it.
//!
//! Every pair has a simulator of its own, because each symbol's account stands by itself, as in the backtest; the account is
//! their sum. A bar is played as the backtest plays it: closes are published at the next open, where orders fill, and then the
//! resting orders meet the bar.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::bars::Bars;
use polybolos_engine::signals::Bar;
use rust_decimal::Decimal;

use crate::filters::SymbolRules;
use crate::simulator::{Phase, Settings, Simulator, SimulatorError};
use crate::symbol::Symbol;
use crate::venue::{Account, AccountEvent, Answer, Balance, Command, MarketEvent, Response, VenueError};

use super::live_paper::SavedBook;
use super::venue::{Dispatch, Feed, Venue};

/// How fast market time goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as the bot is done.
    Max,
    /// So many times as fast as the bars were.
    Times(f64),
}

/// Moments that may be waited for in a row without real time passing: a bot that waits for something that never comes must
/// not burn a processor.
const FREE_JUMPS: u32 = 1_000;

/// What one such wait costs after that.
const JUMP_COST: Duration = Duration::from_millis(50);

/// The exchange: it outlives a bot that is started again.
#[derive(Debug, Default)]
pub struct PaperExchange {
    books: BTreeMap<Symbol, Simulator>,
    now_ms: i64,
}

impl PaperExchange {
    /// An exchange for these pairs, each with `cash` quote units of its own; bars that open before `start_ms` are history.
    ///
    /// # Errors
    /// [`SimulatorError`].
    pub fn new(
        costs: &Settings,
        pairs: Vec<(SymbolRules, Bars)>,
        cash: Decimal,
        start_ms: i64,
    ) -> Result<Arc<Mutex<PaperExchange>>, SimulatorError> {
        let mut books = BTreeMap::new();
        for (rules, bars) in pairs {
            let symbol = rules.symbol.clone();
            let balances = vec![(rules.quote_asset.clone(), cash)];
            let settings = Settings { balances, ..costs.clone() };
            let book = Simulator::new(settings, vec![(rules, bars)], start_ms)?;
            if books.insert(symbol.clone(), book).is_some() {
                return Err(SimulatorError::Symbol { symbol, reason: "given twice".to_owned() });
            }
        }
        let now_ms = books.values().map(Simulator::now_ms).min().unwrap_or(start_ms);
        Ok(Arc::new(Mutex::new(PaperExchange { books, now_ms })))
    }

    /// The simulator of a pair.
    pub fn book(&self, symbol: &Symbol) -> Option<&Simulator> {
        self.books.get(symbol)
    }

    /// Adds `amount` of an asset to the account of a pair, below 0 takes it away; gives whether there was enough.
    pub fn transfer(&mut self, symbol: &Symbol, asset: &str, amount: Decimal) -> bool {
        self.books.get_mut(symbol).is_some_and(|book| book.transfer(asset, amount))
    }

    pub(super) fn has(&self, symbol: &Symbol) -> bool {
        self.books.contains_key(symbol)
    }

    /// Adds a pair of a live market, with what was saved of it: the bars that came since then meet its orders.
    pub(super) fn add(
        &mut self,
        costs: &Settings,
        rules: SymbolRules,
        bars: &[Bar],
        interval: Interval,
        cash: Decimal,
        saved: Option<SavedBook>,
    ) -> Result<(), SimulatorError> {
        let symbol = rules.symbol.clone();
        let balances = vec![(rules.quote_asset.clone(), cash)];
        let settings = Settings { balances, ..costs.clone() };
        let empty = Bars { interval_ms: interval.ms(), ..Bars::default() };
        let mut book = Simulator::new(settings, vec![(rules, empty)], i64::MIN)?;
        let played_ms = saved.as_ref().and_then(|saved| saved.played_ms).unwrap_or(i64::MAX);
        let mut saved = saved.map(|saved| saved.account);
        for bar in bars {
            if bar.open_time_ms > played_ms
                && let Some(account) = saved.take()
            {
                book.restore(account);
            }
            book.append(&symbol, bar)?;
            book.advance();
        }
        if let Some(account) = saved {
            book.restore(account);
        }
        // Nobody was there to hear it; comparing with the exchange finds it.
        drop((book.take_events(), book.take_market_events()));
        self.books.insert(symbol, book);
        Ok(())
    }

    /// The open bar of a pair was `bar`: its orders meet it.
    pub(super) fn close_bar(&mut self, symbol: &Symbol, bar: &Bar) -> Result<(), SimulatorError> {
        if let Some(book) = self.books.get_mut(symbol) {
            book.revise_opened(symbol, bar)?;
            book.play_step();
        }
        Ok(())
    }

    /// Opens the bar of a pair that follows all others.
    pub(super) fn open_bar(&mut self, symbol: &Symbol, bar: &Bar) -> Result<(), SimulatorError> {
        if let Some(book) = self.books.get_mut(symbol) {
            book.append(symbol, bar)?;
            book.open_step();
            // Closes and prices of a live market come from the market itself.
            drop(book.take_market_events());
        }
        Ok(())
    }

    pub(super) fn move_price(&mut self, symbol: &Symbol, price: Decimal) {
        if let Some(book) = self.books.get_mut(symbol) {
            book.move_price(symbol, price);
        }
    }

    pub(super) fn newest_bar(&self, symbol: &Symbol) -> Option<Bar> {
        self.books.get(symbol)?.newest_bar(symbol)
    }

    /// What must be kept of every pair.
    pub(super) fn saved(&self) -> impl Iterator<Item = (Symbol, SavedBook)> {
        self.books.iter().filter_map(|(symbol, book)| {
            let played_ms = book.newest_played_ms(symbol);
            Some((symbol.clone(), SavedBook { account: book.snapshot()?, played_ms }))
        })
    }

    pub(super) fn execute_at(&mut self, now_ms: i64, command: &Command) -> Answer {
        self.now_ms = self.now_ms.max(now_ms);
        self.execute(command)
    }

    fn execute(&mut self, command: &Command) -> Answer {
        let now_ms = self.now_ms;
        self.books.values_mut().for_each(|book| book.pass_time(now_ms));
        match command {
            Command::Account => Ok(Response::Account(self.account())),
            Command::OpenOrders { symbol: None } => {
                let mut all = Vec::new();
                for book in self.books.values_mut() {
                    if let Response::Orders(orders) = book.execute(command)? {
                        all.extend(orders);
                    }
                }
                Ok(Response::Orders(all))
            }
            _ => match symbol_of(command).and_then(|symbol| self.books.get_mut(symbol)) {
                Some(book) => book.execute(command),
                None => Err(VenueError::Refused { code: -1121, message: "Invalid symbol.".to_owned() }),
            },
        }
    }

    fn account(&self) -> Account {
        let mut sums: BTreeMap<String, (Decimal, Decimal)> = BTreeMap::new();
        for balance in self.books.values().flat_map(|book| book.account().balances) {
            let sum = sums.entry(balance.asset).or_default();
            *sum = (sum.0 + balance.free, sum.1 + balance.locked);
        }
        let balance = |(asset, (free, locked))| Balance { asset, free, locked };
        Account { balances: sums.into_iter().map(balance).collect(), can_trade: true, can_withdraw: false }
    }

    /// The next half of a bar; `false` behind the last one.
    fn step(&mut self) -> bool {
        let opened = self.books.values().filter_map(|book| match book.phase() {
            Phase::Opened { open_ms } => Some(open_ms),
            _ => None,
        });
        if let Some(open_ms) = opened.min() {
            let is_open = |book: &&mut Simulator| book.phase() == Phase::Opened { open_ms };
            self.books.values_mut().filter(is_open).for_each(Simulator::play_step);
            self.catch_up();
            return true;
        }
        let Some(open_ms) = self.next_open_ms() else {
            // The last close is not published: no bar is left in which what it decides could be filled.
            return false;
        };
        for book in self.books.values_mut().filter(|book| book.next_open_ms() == Some(open_ms)) {
            book.open_step();
        }
        self.catch_up();
        true
    }

    fn next_open_ms(&self) -> Option<i64> {
        self.books.values().filter_map(Simulator::next_open_ms).min()
    }

    fn catch_up(&mut self) {
        let newest = self.books.values().map(Simulator::now_ms).max();
        self.now_ms = newest.map_or(self.now_ms, |newest| self.now_ms.max(newest));
    }

    pub(super) fn account_events(&mut self) -> Vec<AccountEvent> {
        let events = self.books.values_mut().flat_map(Simulator::take_events);
        let told = events.filter_map(crate::simulator::Event::into_account_event);
        // A pair's balances are a part of the account's: what an asset is worth of alone would mislead.
        told.filter(|event| !matches!(event, AccountEvent::Balances { .. })).collect()
    }

    /// Prices first: decisions at the closes rest on them.
    fn market_events(&mut self) -> Vec<MarketEvent> {
        let events = self.books.values_mut().flat_map(Simulator::take_market_events);
        let (bars, mut others): (Vec<_>, Vec<_>) =
            events.partition(|event| matches!(event, MarketEvent::Bar { .. }));
        others.extend(bars);
        others
    }
}

fn symbol_of(command: &Command) -> Option<&Symbol> {
    match command {
        Command::Place(order) => Some(&order.symbol),
        Command::PlaceList(list) => Some(list.symbol()),
        Command::Cancel { symbol, .. }
        | Command::CancelList { symbol, .. }
        | Command::QueryOrder { symbol, .. }
        | Command::QueryList { symbol, .. }
        | Command::Fills { symbol, .. } => Some(symbol),
        Command::OpenOrders { symbol } => symbol.as_ref(),
        Command::Account => None,
    }
}

fn lock(exchange: &Mutex<PaperExchange>) -> MutexGuard<'_, PaperExchange> {
    // A panic in another thread leaves an exchange that is not worse than one that lost a request.
    exchange.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bot's connection to a [`PaperExchange`].
#[derive(Debug)]
pub struct Paper {
    exchange: Arc<Mutex<PaperExchange>>,
    pace: Pace,
    account: VecDeque<Feed>,
    market: VecDeque<Feed>,
    is_settled: bool,
    /// When the next bar may open.
    opens_at: Option<Instant>,
    jumps: u32,
}

impl Paper {
    /// A connection.
    pub fn new(exchange: Arc<Mutex<PaperExchange>>, pace: Pace) -> Paper {
        Paper {
            exchange,
            pace,
            account: VecDeque::new(),
            market: VecDeque::new(),
            is_settled: false,
            opens_at: None,
            jumps: 0,
        }
    }

    fn hear(&mut self) {
        let mut exchange = lock(&self.exchange);
        self.account.extend(exchange.account_events().into_iter().map(Feed::Account));
        let received = Instant::now();
        let market = exchange.market_events().into_iter();
        self.market.extend(market.map(|event| Feed::Market { event, received }));
    }

    /// Waits as long as the pace says before the next half of a bar.
    async fn wait_for_pace(&mut self) {
        let Pace::Times(times) = self.pace else {
            return;
        };
        let (now_ms, next_ms, interval_ms) = {
            let exchange = lock(&self.exchange);
            let interval_ms = exchange.books.values().next().map_or(0, Simulator::interval_ms);
            (exchange.now_ms, exchange.next_open_ms(), interval_ms)
        };
        let opens_at = *self.opens_at.get_or_insert_with(|| {
            let half_ms = interval_ms / 2;
            let market_ms = next_ms.map_or(half_ms, |next| next - now_ms).clamp(0, half_ms);
            let seconds = market_ms as f64 / 1_000.0 / times.max(1e-9);
            Instant::now() + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(86_400))
        });
        tokio::time::sleep_until(opens_at.into()).await;
        self.opens_at = None;
    }
}

impl Venue for Paper {
    fn now_ms(&self) -> i64 {
        lock(&self.exchange).now_ms
    }

    fn waits_for_desk(&self) -> bool {
        true
    }

    fn is_of_the_present(&self) -> bool {
        false
    }

    async fn rules(&mut self) -> Result<Vec<SymbolRules>, VenueError> {
        Ok(lock(&self.exchange).books.values().flat_map(|book| book.rules().cloned()).collect())
    }

    async fn history(&mut self, symbol: &Symbol, _from_ms: i64) -> Result<Vec<Bar>, VenueError> {
        // A dataset is at hand: the strategy sees all of it, as in the backtest.
        let exchange = lock(&self.exchange);
        let book = exchange.books.get(symbol).map(|book| book.bars(symbol, Some(i64::MIN), None, usize::MAX));
        book.transpose().map(Option::unwrap_or_default).map_err(VenueError::from)
    }

    fn open(&mut self, _pairs: &[(Symbol, Option<i64>)]) {
        self.hear();
        let received = Instant::now();
        let exchange = lock(&self.exchange);
        for (symbol, book) in &exchange.books {
            if let Some(price) = book.price(symbol) {
                let event = MarketEvent::Quote { symbol: symbol.clone(), bid: price, ask: price };
                self.market.push_back(Feed::Market { event, received });
            }
        }
        drop(exchange);
        self.market.push_front(Feed::Market { event: MarketEvent::Connected, received });
        self.account.push_back(Feed::Account(AccountEvent::Connected));
    }

    fn dispatch(&mut self, dispatch: Dispatch) {
        let answer = lock(&self.exchange).execute(&dispatch.command);
        self.hear();
        self.account.push_back(Feed::Answer { id: dispatch.id, answer });
    }

    async fn next(&mut self, due_ms: i64) -> Feed {
        loop {
            if let Some(feed) = self.ready() {
                return feed;
            }
            if self.is_settled {
                self.wait_for_pace().await;
                (self.is_settled, self.jumps) = (false, 0);
                if !lock(&self.exchange).step() {
                    return Feed::Ended;
                }
                self.hear();
                // Half a bar without news is settled by nobody but the desk.
                if self.account.is_empty() && self.market.is_empty() {
                    return Feed::Due;
                }
                continue;
            }
            self.jumps += 1;
            if self.jumps > FREE_JUMPS {
                tokio::time::sleep(JUMP_COST).await;
            }
            let mut exchange = lock(&self.exchange);
            exchange.now_ms = exchange.now_ms.max(due_ms);
            return Feed::Due;
        }
    }

    fn ready(&mut self) -> Option<Feed> {
        self.account.pop_front().or_else(|| self.market.pop_front())
    }

    fn settled(&mut self, _newest_open_ms: &BTreeMap<Symbol, i64>) {
        self.is_settled = true;
    }
}
