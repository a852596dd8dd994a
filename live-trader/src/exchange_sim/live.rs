//! A live market in place of a dataset: its rules and its past, and the task that brings what happens to the exchange.
//!
//! The source is another exchange that speaks the same protocol. It is asked public questions only, and the connector that asks
//! them has no key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use polybolos_engine::interval::Interval;
use polybolos_engine::signals::Bar;
use rust_decimal::Decimal;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::exchange::Exchange;
use super::faults::Told;
use super::pace::{HEARTBEAT, beat};
use super::server::Shared;
use crate::binance::{Connector, ConnectorConfig, ConnectorError, MarketPlan, MarketStream, Metrics};
use crate::filters::{SymbolRules, SymbolStatus};
use crate::market_clock::{MarketClock, is_of_the_past};
use crate::symbol::Symbol;
use crate::venue::{MarketEvent, VenueError};

/// Questions for the past of pairs under way at once.
const QUESTIONS_AT_ONCE: usize = 8;

/// Where a live market comes from.
#[derive(Debug, Clone)]
pub struct LiveSource {
    /// How the source is reached. Its rules are asked for again every `info_ttl_ms`, its clock every `clock_resync_ms`.
    pub connector: ConnectorConfig,
    /// Pairs to follow.
    pub symbols: Vec<Symbol>,
    /// Interval of the bars.
    pub interval: Interval,
    /// Closed bars of each pair that clients can ask for from the beginning.
    pub history: usize,
}

/// Why there is no live market.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Something of this machine is missing.
    #[error(transparent)]
    Setup(#[from] ConnectorError),
    /// The source did not say what is needed.
    #[error("{what} cannot be had from {place}: {error}; look at the connection and at the address")]
    Source {
        /// What was asked for.
        what: String,
        /// Of whom.
        place: String,
        /// Why there is none.
        error: VenueError,
    },
    /// Pairs that the source does not have, or whose rules cannot be read.
    #[error("{place} has no {symbols}; name pairs as it does, for instance BTCUSDT")]
    Unknown {
        /// The source.
        place: String,
        /// Their names.
        symbols: String,
    },
}

/// A live market from which an exchange can start: rules and newest bars of its pairs, and the way to what comes.
#[derive(Debug)]
pub struct LiveMarket {
    pub(super) connector: Connector,
    pub(super) interval: Interval,
    pub(super) pairs: Vec<(SymbolRules, Vec<Bar>)>,
    /// Last prices, of those pairs that have one.
    prices: Vec<(Symbol, Decimal)>,
    is_of_the_past: bool,
    place: String,
    rules_every: Duration,
    clock_every: Duration,
}

impl LiveMarket {
    /// Asks a source for what an exchange starts with.
    ///
    /// # Errors
    /// [`LiveError`].
    pub async fn load(source: LiveSource) -> Result<LiveMarket, LiveError> {
        let place = source.connector.endpoints.rest().to_owned();
        let is_exchange = source.connector.endpoints.is_live();
        let every = |ms: u64| Duration::from_millis(ms.max(1));
        let rules_every = every(source.connector.info_ttl_ms);
        let clock_every = every(u64::try_from(source.connector.clock_resync_ms).unwrap_or(0));
        let connector = Connector::new(source.connector, None, Arc::new(Metrics::default()))?;
        let failed = |what: &str| {
            let (what, place) = (what.to_owned(), place.clone());
            move |error| LiveError::Source { what, place, error }
        };
        connector.sync_clock().await.map_err(failed("the time"))?;
        let info = connector.exchange_info().await.map_err(failed("the rules of the pairs"))?;
        let unknown = source.symbols.iter().filter(|symbol| !info.symbols.contains_key(symbol));
        let unknown: Vec<&str> = unknown.map(Symbol::as_str).collect();
        if !unknown.is_empty() {
            return Err(LiveError::Unknown { place, symbols: unknown.join(", ") });
        }
        let pasts: Vec<(Vec<Bar>, Option<_>)> = stream::iter(&source.symbols)
            .map(async |symbol| {
                let bars = past(&connector, symbol, source.interval, source.history, is_exchange).await;
                let bars = bars.map_err(failed(&format!("bars of {symbol}")))?;
                // A pair that has never traded has no price.
                Ok::<_, LiveError>((bars, connector.price(symbol).await.ok()))
            })
            .buffered(QUESTIONS_AT_ONCE)
            .try_collect()
            .await?;
        let (mut pairs, mut prices) = (Vec::new(), Vec::new());
        for (symbol, (bars, price)) in source.symbols.iter().zip(pasts) {
            pairs.extend(info.symbols.get(symbol).map(|rules| (rules.clone(), bars)));
            prices.extend(price.map(|price| (symbol.clone(), price)));
        }
        let closes =
            pairs.iter().filter_map(|(_, bars)| Some(bars.last()?.open_time_ms + source.interval.ms()));
        let is_of_the_past =
            !is_exchange && is_of_the_past(closes.max(), connector.server_time_ms(), source.interval);
        let interval = source.interval;
        Ok(LiveMarket { connector, interval, pairs, prices, is_of_the_past, place, rules_every, clock_every })
    }

    /// The source's address.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Rules of the pairs, as asked for.
    pub fn rules(&self) -> impl Iterator<Item = &SymbolRules> {
        self.pairs.iter().map(|(rules, _)| rules)
    }

    /// The clocks of an exchange on this market.
    pub(super) fn clock(&self) -> LiveClock {
        let newest = self.pairs.iter().filter_map(|(_, bars)| bars.last()).map(|bar| bar.open_time_ms).max();
        let market = self.is_of_the_past.then(|| {
            let mut clock = MarketClock::start();
            clock.saw_close(newest.unwrap_or(0).saturating_add(self.interval.ms()));
            clock
        });
        LiveClock { connector: self.connector.clone(), market }
    }

    /// Starts what follows the market.
    pub(super) fn follow(self, shared: &Arc<Shared>) -> Vec<JoinHandle<()>> {
        let (connector, rules_every, clock_every) =
            (self.connector.clone(), self.rules_every, self.clock_every);
        vec![
            tokio::spawn(run(Arc::clone(shared), self)),
            tokio::spawn(watch(Arc::clone(shared), connector, rules_every, clock_every)),
        ]
    }
}

/// The newest closed bars of a pair, at most `count`, oldest first.
async fn past(
    connector: &Connector,
    symbol: &Symbol,
    interval: Interval,
    count: usize,
    is_exchange: bool,
) -> Result<Vec<Bar>, VenueError> {
    let bars = i64::try_from(count).unwrap_or(i64::MAX);
    let from_ms =
        connector.server_time_ms().saturating_sub(bars.saturating_add(1).saturating_mul(interval.ms()));
    let mut bars = connector.klines(symbol, interval, from_ms.max(0), None).await?.to_vec();
    if bars.is_empty() && !is_exchange {
        // A simulator at the other end may play bars of long ago.
        bars = connector.klines(symbol, interval, 0, None).await?.to_vec();
    }
    Ok(bars.split_off(bars.len().saturating_sub(count)))
}

/// The source's clock. Where the source plays bars of the past, its market has another time: that of the newest close.
#[derive(Debug)]
pub(super) struct LiveClock {
    connector: Connector,
    market: Option<MarketClock>,
}

impl LiveClock {
    pub(super) fn server_ms(&self) -> i64 {
        self.connector.server_time_ms()
    }

    pub(super) fn market_ms(&self) -> i64 {
        self.market.as_ref().map_or_else(|| self.server_ms(), MarketClock::now_ms)
    }

    fn saw_close(&mut self, close_ms: i64) {
        if let Some(market) = &mut self.market {
            market.saw_close(close_ms);
        }
    }
}

impl Exchange {
    /// A closed bar of the source.
    fn take_bar(&mut self, symbol: &Symbol, bar: &Bar) {
        let close_ms = bar.open_time_ms.saturating_add(self.interval.ms());
        if let Some(clock) = self.live_clock() {
            clock.saw_close(close_ms);
        }
        self.keep_time();
        match self.core.take_bar(symbol, bar) {
            Ok(true) => {
                let trouble = self.note_close(bar.open_time_ms);
                self.conclude(&trouble);
                self.tell_market();
            }
            Ok(false) => tracing::debug!(%symbol, open_ms = bar.open_time_ms, "a bar that was there already"),
            Err(error) => {
                tracing::error!(%symbol, %error, "a bar of the source that the exchange does not take")
            }
        }
    }

    /// Best prices of the source.
    fn take_quote(&mut self, symbol: &Symbol, bid: Decimal, ask: Decimal) {
        self.keep_time();
        self.core.take_quote(symbol, bid, ask);
        self.tell_users(Told::default());
        self.tell_market();
    }
}

/// Brings the source's bars and prices to the exchange, for ever. Open bars are told while the source is there: they stop without it.
async fn run(shared: Arc<Shared>, market: LiveMarket) {
    for (symbol, price) in &market.prices {
        shared.lock().take_quote(symbol, *price, *price);
    }
    let newest = |bars: &[Bar]| bars.last().map(|bar| bar.open_time_ms);
    let pairs = market.pairs.iter().map(|(rules, bars)| (rules.symbol.clone(), newest(bars))).collect();
    let mut stream: MarketStream =
        market.connector.market_stream(MarketPlan { interval: market.interval, pairs, has_quotes: true });
    let mut beats = tokio::time::interval(HEARTBEAT);
    let mut is_up = false;
    loop {
        tokio::select! {
            event = stream.next() => match event {
                Some(MarketEvent::Bar { symbol, bar }) => shared.lock().take_bar(&symbol, &bar),
                Some(MarketEvent::Quote { symbol, bid, ask }) => shared.lock().take_quote(&symbol, bid, ask),
                Some(MarketEvent::Connected) => {
                    tracing::info!(source = market.place, "the market is there");
                    is_up = true;
                }
                Some(MarketEvent::Disconnected { reason }) => {
                    tracing::warn!(source = market.place, reason, "the market is lost: prices stay until it is there again");
                    is_up = false;
                }
                Some(MarketEvent::Rules { .. }) => {}
                None => {
                    tracing::error!(source = market.place, "nothing comes from the market any more");
                    return;
                }
            },
            _ = beats.tick(), if is_up => beat(&shared),
        }
    }
}

/// Asks the source again for what changes slowly: its clock and the rules of the pairs.
async fn watch(shared: Arc<Shared>, connector: Connector, rules_every: Duration, clock_every: Duration) {
    let ticks = |every: Duration| {
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let (mut rules, mut clocks) = (ticks(rules_every), ticks(clock_every));
    loop {
        let result = tokio::select! {
            _ = clocks.tick() => connector.sync_clock().await,
            _ = rules.tick() => {
                connector.forget_exchange_info().await;
                connector.exchange_info().await.map(|info| revise(&mut shared.lock(), &info.symbols))
            }
        };
        if let Err(error) = result {
            tracing::warn!(%error, "the source does not answer; what it said before stays");
        }
    }
}

/// Takes the rules that have changed. A pair that the source does not name any more is halted.
fn revise(exchange: &mut Exchange, told: &BTreeMap<Symbol, SymbolRules>) {
    let known: Vec<SymbolRules> = exchange.core.rules().cloned().collect();
    for rules in known {
        let gone = || SymbolRules { status: SymbolStatus::Halted, ..rules.clone() };
        let revised = told.get(&rules.symbol).cloned().unwrap_or_else(gone);
        if revised != rules && exchange.core.revise_rules(&revised) {
            tracing::info!(symbol = %rules.symbol, status = ?revised.status, "the rules of a pair have changed");
        }
    }
}
