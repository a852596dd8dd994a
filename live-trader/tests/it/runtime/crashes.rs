//! A program that ends at any moment, and a disk that fails.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use polybolos_engine::signals::Bar;
use polybolos_live_trader::client_id::Intent;
use polybolos_live_trader::filters::SymbolRules;
use polybolos_live_trader::journal::Sink;
use polybolos_live_trader::runtime::{
    Desk, Dispatch, Feed, Outcome, Pace, Paper, PaperExchange, RuntimeError, Venue, start,
};
use polybolos_live_trader::symbol::Symbol;
use polybolos_live_trader::trader::Goal;
use polybolos_live_trader::venue::{Command, VenueError};
use rust_decimal::Decimal;
use tokio::sync::Notify;

use super::bot::{SYMBOLS, assert_same, backtest, exchange, inputs, market, setup, traded};

/// What stands between a program and its venue.
trait Between: Send {
    /// Whether a command goes on to the venue.
    fn passes(&mut self, command: &Command) -> bool;

    /// Whether the program still hears what comes next.
    fn hears(&mut self) -> bool {
        true
    }

    fn is_dead(&self) -> bool {
        false
    }
}

/// A venue with something between it and the program.
struct Guarded<B> {
    inner: Paper,
    between: B,
}

impl<B: Between> Venue for Guarded<B> {
    fn now_ms(&self) -> i64 {
        self.inner.now_ms()
    }

    fn waits_for_desk(&self) -> bool {
        true
    }

    fn is_of_the_present(&self) -> bool {
        false
    }

    async fn rules(&mut self) -> Result<Vec<SymbolRules>, VenueError> {
        self.inner.rules().await
    }

    async fn history(&mut self, symbol: &Symbol, from_ms: i64) -> Result<Vec<Bar>, VenueError> {
        self.inner.history(symbol, from_ms).await
    }

    fn open(&mut self, pairs: &[(Symbol, Option<i64>)]) {
        self.inner.open(pairs);
    }

    fn dispatch(&mut self, dispatch: Dispatch) {
        if self.between.passes(&dispatch.command) {
            self.inner.dispatch(dispatch);
        }
    }

    async fn next(&mut self, due_ms: i64) -> Feed {
        if !self.between.hears() {
            return std::future::pending().await;
        }
        self.inner.next(due_ms).await
    }

    fn ready(&mut self) -> Option<Feed> {
        if self.between.is_dead() { None } else { self.inner.ready() }
    }

    fn settled(&mut self, newest_open_ms: &BTreeMap<Symbol, i64>) {
        if !self.between.is_dead() {
            self.inner.settled(newest_open_ms);
        }
    }
}

/// Ends the program at its `fatal`th word to the venue, the command still on its way or already done.
struct Dying {
    words: u64,
    fatal: u64,
    arrives: bool,
    death: Arc<Notify>,
    is_dead: bool,
}

impl Dying {
    fn dies(&mut self) -> bool {
        self.words += 1;
        if self.words == self.fatal {
            self.is_dead = true;
            self.death.notify_one();
        }
        self.is_dead
    }
}

impl Between for Dying {
    fn passes(&mut self, _: &Command) -> bool {
        let was_dead = self.is_dead;
        !self.dies() || (self.arrives && !was_dead)
    }

    fn hears(&mut self) -> bool {
        !self.dies()
    }

    fn is_dead(&self) -> bool {
        self.is_dead
    }
}

/// One life of a program, up to its death or the market's end; says whether it was the latter.
async fn live<B: Between>(
    dir: &Path,
    exchange: &Arc<Mutex<PaperExchange>>,
    between: B,
    death: &Notify,
) -> (Desk<Guarded<B>>, bool) {
    let venue = Guarded { inner: Paper::new(exchange.clone(), Pace::Max), between };
    let mut desk = start(setup(dir), venue).await.unwrap();
    let (mut inputs, _ends) = inputs();
    let has_ended = tokio::select! {
        outcome = desk.run(&mut inputs) => outcome.unwrap() == Outcome::Ended,
        () = death.notified() => false,
    };
    (desk, has_ended)
}

#[tokio::test]
async fn a_program_that_ends_again_and_again_makes_the_trades_of_the_backtest() {
    for (seed, arrives) in [(1, false), (2, true), (3, false), (4, true)] {
        let market = market(seed, 120);
        let dir = tempfile::tempdir().unwrap();
        let exchange = exchange(&market, 0);
        let mut lives = 0_u64;
        loop {
            lives += 1;
            let death = Arc::new(Notify::new());
            let between = Dying {
                words: 0,
                fatal: 20 + lives * 17 % 61,
                arrives,
                death: Arc::clone(&death),
                is_dead: false,
            };
            let (desk, has_ended) = live(dir.path(), &exchange, between, &death).await;
            if has_ended {
                let state = desk.trader().state();
                let expected = &state.expected;
                let held = |asset: &str| -> Decimal {
                    let exchange = exchange.lock().unwrap();
                    let books = SYMBOLS.iter().filter_map(|name| exchange.book(&Symbol::new(name)));
                    let balances = books.flat_map(|book| book.balances());
                    balances.filter(|b| b.asset == asset).map(|b| b.free + b.locked).sum()
                };
                for asset in ["USDT", "AAA", "BBB", "CCC"] {
                    assert_eq!(expected.get(asset).copied().unwrap_or_default(), held(asset), "{asset}");
                }
                for (symbol, known) in &state.symbols {
                    let exchange = exchange.lock().unwrap();
                    let open = exchange.book(symbol).unwrap().open_orders(None).unwrap().len();
                    assert_eq!(open, if known.goal == Goal::Hold { 2 } else { 0 }, "{symbol}: {known:?}");
                }
                break;
            }
        }
        assert!(lives >= 8, "{lives}");
        let mut ids = BTreeSet::new();
        for name in SYMBOLS {
            let symbol = Symbol::new(name);
            let exchange = exchange.lock().unwrap();
            for order in exchange.book(&symbol).unwrap().all_orders(&symbol).unwrap() {
                assert!(ids.insert(order.client_id.clone()), "{} was sent twice", order.client_id);
            }
        }
        assert_same(&traded(&exchange), &backtest(&market));
    }
}

/// Ends the program between the journal and the network: at its second entry, which never arrives.
struct DyingAtEntry {
    entries: u32,
    death: Arc<Notify>,
}

impl Between for DyingAtEntry {
    fn passes(&mut self, command: &Command) -> bool {
        let client_id = match command {
            Command::Place(order) => Some(order.client_id.clone()),
            Command::PlaceList(list) => list.client_ids().first().cloned(),
            _ => None,
        };
        if client_id.is_some_and(|id| id.intent() == Some(Intent::Entry)) {
            self.entries += 1;
            if self.entries == 2 {
                self.death.notify_one();
            }
        }
        !self.is_dead()
    }

    fn is_dead(&self) -> bool {
        self.entries >= 2
    }
}

#[tokio::test]
async fn an_entry_that_never_reached_a_market_that_waits_is_made_again() {
    let market = market(6, 120);
    let dir = tempfile::tempdir().unwrap();
    let exchange = exchange(&market, 0);
    let mut lives = 0;
    loop {
        lives += 1;
        let death = Arc::new(Notify::new());
        let between = DyingAtEntry { entries: 0, death: Arc::clone(&death) };
        if live(dir.path(), &exchange, between, &death).await.1 {
            break;
        }
    }
    assert!(lives >= 5, "{lives}");
    assert_same(&traded(&exchange), &backtest(&market));
}

/// A disk that is full after so many writes.
struct Full {
    inner: Box<dyn Sink>,
    left: Arc<AtomicU64>,
    has_failed: Arc<AtomicBool>,
}

impl Sink for Full {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
            self.has_failed.store(true, Ordering::SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()
    }
}

/// Counts what leaves after the disk has failed.
struct Watched {
    has_failed: Arc<AtomicBool>,
    sent_after: Arc<AtomicU64>,
}

impl Between for Watched {
    fn passes(&mut self, _: &Command) -> bool {
        if self.has_failed.load(Ordering::SeqCst) {
            self.sent_after.fetch_add(1, Ordering::SeqCst);
        }
        true
    }
}

#[tokio::test]
async fn nothing_is_sent_once_the_journal_has_failed_and_the_next_start_goes_on() {
    let market = market(5, 200);
    let dir = tempfile::tempdir().unwrap();
    let exchange = exchange(&market, 0);
    let has_failed = Arc::new(AtomicBool::new(false));
    let sent_after = Arc::new(AtomicU64::new(0));
    let mut setup_of_full = setup(dir.path());
    let (failed, left) = (Arc::clone(&has_failed), Arc::new(AtomicU64::new(40)));
    setup_of_full.wrap = Some(Box::new(move |inner| {
        Box::new(Full { inner, left: Arc::clone(&left), has_failed: Arc::clone(&failed) })
    }));
    let between = Watched { has_failed: Arc::clone(&has_failed), sent_after: Arc::clone(&sent_after) };
    let venue = Guarded { inner: Paper::new(exchange.clone(), Pace::Max), between };
    let mut desk = start(setup_of_full, venue).await.unwrap();
    let (mut first, ends) = inputs();
    let error = desk.run(&mut first).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Journal(_)), "{error}");
    assert!(has_failed.load(Ordering::SeqCst));
    assert_eq!(sent_after.load(Ordering::SeqCst), 0);
    drop((desk, ends));
    let before = traded(&exchange).concat().len();
    let mut desk = start(setup(dir.path()), Paper::new(exchange.clone(), Pace::Max)).await.unwrap();
    let (mut second, _ends) = inputs();
    assert_eq!(desk.run(&mut second).await.unwrap(), Outcome::Ended);
    assert!(traded(&exchange).concat().len() > before);
}
