//! A simulated exchange on the live market: bars and prices come from the exchange, orders never go there.
//!
//! The account is kept in a file, written before an order is answered: a bot that is started again finds it as it would find the
//! account of a real exchange, and what the bars of the meantime did to its resting orders has been done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use polybolos_engine::interval::Interval;
use polybolos_engine::signals::Bar;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::binance::Connector;
use crate::config;
use crate::filters::SymbolRules;
use crate::simulator::{Settings, SimulatorError, Snapshot};
use crate::symbol::Symbol;
use crate::venue::{AccountEvent, MarketEvent, VenueError};

use super::error::RuntimeError;
use super::market::Market;
use super::paper::PaperExchange;
use super::venue::{Dispatch, Feed, Venue};

/// Name of the account's file in the state's folder.
const ACCOUNT_FILE: &str = "paper-account.json";

/// What is kept of a pair.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SavedBook {
    pub(super) account: Snapshot,
    /// Open time of the newest bar that has met the orders.
    pub(super) played_ms: Option<i64>,
}

/// The account's file.
#[derive(Debug)]
struct Store {
    path: PathBuf,
    saved: BTreeMap<Symbol, SavedBook>,
}

impl Store {
    fn open(state_dir: &Path) -> Result<Store, RuntimeError> {
        let path = state_dir.join(ACCOUNT_FILE);
        let failed = |doing, source| RuntimeError::State { path: path.clone(), doing, source };
        let saved = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| failed("reading the paper account", std::io::Error::other(error)))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failed("reading the paper account", error)),
        };
        Ok(Store { path, saved })
    }

    fn write(&self) -> std::io::Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(&self.saved)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// A bot's connection to a simulated exchange on a live market.
#[derive(Debug)]
pub struct LivePaper {
    market: Market,
    interval: Interval,
    costs: Settings,
    cash: Decimal,
    exchange: PaperExchange,
    store: Store,
    rules: BTreeMap<Symbol, SymbolRules>,
    opened: BTreeSet<Symbol>,
    is_connected: bool,
    queue: VecDeque<Feed>,
}

impl LivePaper {
    /// A simulated exchange with `costs` that gives each pair `cash`, on the market of `connector`, its account in `state_dir`.
    ///
    /// # Errors
    /// The exchange's clock cannot be had; an account's file that cannot be read.
    pub async fn connect(
        connector: Connector,
        exchange: &config::Exchange,
        interval: Interval,
        costs: Settings,
        cash: Decimal,
        state_dir: &Path,
    ) -> Result<LivePaper, RuntimeError> {
        Ok(LivePaper {
            market: Market::connect(connector, exchange, interval).await?,
            interval,
            costs,
            cash,
            exchange: PaperExchange::default(),
            store: Store::open(state_dir)?,
            rules: BTreeMap::new(),
            opened: BTreeSet::new(),
            is_connected: false,
            queue: VecDeque::new(),
        })
    }

    /// Opens the account of a pair, or goes on with it.
    fn add(&mut self, rules: &SymbolRules, bars: &[Bar]) -> Result<(), SimulatorError> {
        if self.exchange.has(&rules.symbol) {
            return Ok(());
        }
        let saved = self.store.saved.get(&rules.symbol).cloned();
        self.exchange.add(&self.costs, rules.clone(), bars, self.interval, self.cash, saved)?;
        self.save();
        Ok(())
    }

    fn heard(&mut self, (event, received): (MarketEvent, Instant)) {
        match event {
            MarketEvent::Bar { symbol, bar } => self.closed(&symbol, bar, received),
            MarketEvent::Quote { symbol, bid, ask } => {
                self.exchange.move_price(&symbol, (bid + ask) / Decimal::TWO);
                self.queue
                    .push_back(Feed::Market { event: MarketEvent::Quote { symbol, bid, ask }, received });
            }
            other => self.queue.push_back(Feed::Market { event: other, received }),
        }
    }

    /// The open bar of a pair has closed: orders meet it, then its close is news.
    fn closed(&mut self, symbol: &Symbol, bar: Bar, received: Instant) {
        if let Err(error) = self.exchange.close_bar(symbol, &bar) {
            tracing::error!(%symbol, %error, "a bar that the simulated exchange does not take");
        }
        self.tell_account();
        self.save();
        self.queue
            .push_back(Feed::Market { event: MarketEvent::Bar { symbol: symbol.clone(), bar }, received });
        self.open_next(symbol, &bar);
    }

    /// Puts in the bar that is going on, flat at the last price.
    fn open_next(&mut self, symbol: &Symbol, last: &Bar) {
        let bar = Bar::flat(last.open_time_ms + self.interval.ms(), last.close);
        if let Err(error) = self.exchange.open_bar(symbol, &bar) {
            tracing::error!(%symbol, %error, "the simulated exchange does not open its next bar");
        }
    }

    fn tell_account(&mut self) {
        let events = self.exchange.account_events();
        self.queue.extend(events.into_iter().map(Feed::Account));
    }

    fn save(&mut self) {
        self.store.saved.extend(self.exchange.saved());
        if let Err(error) = self.store.write() {
            tracing::error!(path = %self.store.path.display(), %error, "the paper account cannot be written");
        }
    }
}

impl Venue for LivePaper {
    fn now_ms(&self) -> i64 {
        self.market.now_ms()
    }

    fn waits_for_desk(&self) -> bool {
        self.market.waits_for_desk()
    }

    fn is_of_the_present(&self) -> bool {
        self.market.is_of_the_present()
    }

    async fn rules(&mut self) -> Result<Vec<SymbolRules>, VenueError> {
        self.rules = self.market.connector().exchange_info().await?.symbols.clone();
        Ok(self.rules.values().cloned().collect())
    }

    async fn history(&mut self, symbol: &Symbol, from_ms: i64) -> Result<Vec<Bar>, VenueError> {
        let saved = self.store.saved.get(symbol);
        let played_ms = saved.and_then(|saved| saved.played_ms).unwrap_or(i64::MAX);
        let bars = self.market.history(symbol, from_ms.min(played_ms)).await?;
        if let Some(rules) = self.rules.get(symbol).cloned() {
            self.add(&rules, &bars)
                .map_err(|error| VenueError::Refused { code: 0, message: error.to_string() })?;
        }
        Ok(bars)
    }

    fn admit(&mut self, rules: &SymbolRules, history: &[Bar]) {
        if let Err(error) = self.add(rules, history) {
            tracing::error!(symbol = %rules.symbol, %error, "the simulated exchange does not take the pair");
        }
    }

    fn open(&mut self, pairs: &[(Symbol, Option<i64>)]) {
        for (symbol, _) in pairs {
            if self.opened.insert(symbol.clone())
                && let Some(last) = self.exchange.newest_bar(symbol)
            {
                self.open_next(symbol, &last);
            }
        }
        self.market.open(pairs);
        if !std::mem::replace(&mut self.is_connected, true) {
            self.queue.push_back(Feed::Account(AccountEvent::Connected));
        }
    }

    fn dispatch(&mut self, dispatch: Dispatch) {
        let now_ms = self.now_ms();
        let answer = self.exchange.execute_at(now_ms, &dispatch.command);
        if dispatch.command.changes_orders() {
            self.save();
        }
        self.tell_account();
        self.queue.push_back(Feed::Answer { id: dispatch.id, answer });
    }

    async fn next(&mut self, due_ms: i64) -> Feed {
        let wait = u64::try_from(due_ms.saturating_sub(self.now_ms())).unwrap_or(0);
        let due = tokio::time::sleep(Duration::from_millis(wait));
        tokio::pin!(due);
        loop {
            if let Some(feed) = self.queue.pop_front() {
                return feed;
            }
            tokio::select! {
                biased;
                event = self.market.next() => self.heard(event),
                () = &mut due => return Feed::Due,
            }
        }
    }

    fn ready(&mut self) -> Option<Feed> {
        if self.queue.is_empty()
            && let Some(event) = self.market.next().now_or_never()
        {
            self.heard(event);
        }
        self.queue.pop_front()
    }

    fn settled(&mut self, newest_open_ms: &BTreeMap<Symbol, i64>) {
        self.market.settled(newest_open_ms);
    }
}
