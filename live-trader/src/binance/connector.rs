//! What the rest of the program calls: commands, cached questions, streams.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::future::Cache;
use polybolos_engine::interval::Interval;
use polybolos_engine::signals::Bar;
use rust_decimal::Decimal;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::ConnectorError;
use super::config::ConnectorConfig;
use super::gateway::Gateway;
use super::metrics::{CacheCounters, Metrics};
use super::request::{PAGE, Request};
use super::secrets::Credentials;
use super::session;
use super::socket::Dialer;
use super::streams::{self, MarketPlan, MarketStream};
use super::wire::market::{self, DayStatistics};
use super::wire::order::WireError;
use super::wire::rules::{self, ExchangeInfo};
use super::wire::{account, order};
use crate::order::Fill;
use crate::symbol::Symbol;
use crate::venue::{AccountEvent, Answer, Command, Response, VenueError};

const DAY_MS: i64 = 86_400_000;

/// Fills that reach further back are paged from the first one on, which takes fewer requests than days.
const MOST_WINDOWS: i64 = 30;

/// A page of bars in the cache: pair, interval, first and last open time.
type KlineKey = (Symbol, Interval, i64, Option<i64>);

/// A connector to one exchange with one key. Clones share everything. To be used inside a Tokio runtime.
#[derive(Clone)]
pub struct Connector {
    gateway: Arc<Gateway>,
    dialer: Dialer,
    info: Cache<(), Arc<ExchangeInfo>>,
    prices: Cache<Symbol, Decimal>,
    klines: Cache<KlineKey, Arc<Vec<Bar>>>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("endpoints", &self.gateway.config.endpoints).finish_non_exhaustive()
    }
}

/// The user's events, as long as it is not dropped.
#[derive(Debug)]
pub struct UserStream {
    events: mpsc::UnboundedReceiver<AccountEvent>,
    task: AbortHandle,
}

impl UserStream {
    /// The next event; `None` if the task behind it has ended.
    pub async fn next(&mut self) -> Option<AccountEvent> {
        self.events.recv().await
    }
}

impl Drop for UserStream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connector {
    /// A connector. Nothing is sent yet. Without credentials it can ask for market data only.
    ///
    /// # Errors
    /// Encryption cannot be set up on this machine.
    pub fn new(
        config: ConnectorConfig,
        credentials: Option<Credentials>,
        metrics: Arc<Metrics>,
    ) -> Result<Connector, ConnectorError> {
        let ttl = |ms: u64| Duration::from_millis(ms.max(1));
        let endpoints = &config.endpoints;
        Ok(Connector {
            dialer: Dialer::new(&[endpoints.streams(), endpoints.ws_api()])?,
            info: Cache::builder().max_capacity(1).time_to_live(ttl(config.info_ttl_ms)).build(),
            prices: Cache::builder().max_capacity(10_000).time_to_live(ttl(config.price_ttl_ms)).build(),
            klines: Cache::builder().max_capacity(1_000).time_to_live(ttl(config.kline_ttl_ms)).build(),
            gateway: Arc::new(Gateway::new(config, credentials, metrics)?),
        })
    }

    /// Its counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.gateway.metrics
    }

    /// The exchange's time, a lower bound; the local time before the first [`Connector::sync_clock`].
    pub fn server_time_ms(&self) -> i64 {
        self.gateway.server_now_ms()
    }

    /// The local time in which [`VenueError`] says when to try again. It never steps back.
    pub fn local_time_ms(&self) -> i64 {
        self.gateway.now_ms()
    }

    /// Asks for the exchange's time. To be called once before the first command; afterwards the connector does it by itself,
    /// on schedule and when the exchange refuses a timestamp.
    ///
    /// # Errors
    /// None of a round of questions was answered.
    pub async fn sync_clock(&self) -> Result<(), VenueError> {
        self.gateway.sync_clock().await.map_err(|denied| denied.error)
    }

    /// Does a command, or says what is known about it. A command that changes orders leaves at most once; only if the exchange
    /// refuses its timestamp, which proves that nothing was done, it is signed again. Questions are repeated with backoff.
    ///
    /// # Errors
    /// [`VenueError`] says what is known of a command without a result.
    pub async fn execute(&self, command: &Command) -> Answer {
        self.execute_since(command, None).await
    }

    /// [`Connector::execute`] of a command that follows from something that arrived at `since`: the time until it is written to
    /// the socket is measured.
    ///
    /// # Errors
    /// As [`Connector::execute`].
    pub async fn execute_since(&self, command: &Command, since: Option<Instant>) -> Answer {
        if self.gateway.is_clock_due() {
            // A command is not held up by a clock that still fits; one without any estimate would be refused.
            let gateway = Arc::clone(&self.gateway);
            tokio::spawn(async move { gateway.sync_clock().await });
        }
        if let Command::Fills { symbol, from_id, from_ms } = command {
            return self.fills(symbol, *from_id, *from_ms).await.map(Response::Fills);
        }
        let Some(mut request) = Request::of(command) else {
            return Err(VenueError::Refused {
                code: 0,
                message: "no request stands for this command".to_owned(),
            });
        };
        request.since = since;
        let answered = self.gateway.question(&request).await?;
        match self.response(command, answered.document) {
            Ok(response) => Ok(response),
            // It was done and cannot be read: that is as good as unknown.
            Err(error) if command.changes_orders() => {
                Err(VenueError::Unknown { reason: error.to_string(), settles_at_ms: answered.settles_at_ms })
            }
            Err(error) => Err(unreadable(&error)),
        }
    }

    fn response(&self, command: &Command, document: Value) -> Result<Response, WireError> {
        match command {
            Command::Place(_) | Command::Cancel { .. } | Command::QueryOrder { .. } => {
                order::order_or_list(document)
            }
            Command::PlaceList(_) | Command::CancelList { .. } | Command::QueryList { .. } => {
                order::list(document).map(Response::List)
            }
            Command::OpenOrders { .. } => {
                let (orders, unknown) = order::orders(document)?;
                for error in &unknown {
                    self.gateway.metrics.ignored_messages.add(1);
                    tracing::warn!(%error, "an open order is left out");
                }
                Ok(Response::Orders(orders))
            }
            Command::Fills { .. } => order::trades(document).map(Response::Fills),
            Command::Account => account::account(document).map(Response::Account),
        }
    }

    /// All fills from a trade id on, or from a time on.
    async fn fills(
        &self,
        symbol: &Symbol,
        from_id: Option<i64>,
        from_ms: i64,
    ) -> Result<Vec<Fill>, VenueError> {
        if let Some(from_id) = from_id {
            return self.fills_from(symbol, from_id).await;
        }
        let now = self.server_time_ms();
        if now.saturating_sub(from_ms) > MOST_WINDOWS * DAY_MS {
            let mut fills = self.fills_from(symbol, 0).await?;
            fills.retain(|fill| fill.time_ms >= from_ms);
            return Ok(fills);
        }
        let mut start = from_ms;
        loop {
            let end = start.saturating_add(DAY_MS - 1);
            let mut fills = self.fill_page(&Request::trades_between(symbol, start, end)).await?;
            if let Some(last) = fills.last().map(|fill| fill.trade_id) {
                // From the first find on the ids lead to all the others.
                fills.extend(self.fills_from(symbol, last.saturating_add(1)).await?);
                return Ok(fills);
            }
            start = end.saturating_add(1);
            if start > self.server_time_ms() {
                return Ok(fills);
            }
        }
    }

    async fn fills_from(&self, symbol: &Symbol, from_id: i64) -> Result<Vec<Fill>, VenueError> {
        let mut fills: Vec<Fill> = Vec::new();
        let mut next = from_id;
        loop {
            let mut page = self.fill_page(&Request::trades_from(symbol, next)).await?;
            // A page that begins before what was asked for would never end.
            page.retain(|fill| fill.trade_id >= next);
            let is_last = page.len() < PAGE;
            if let Some(last) = page.last() {
                next = last.trade_id.saturating_add(1);
            }
            fills.append(&mut page);
            if is_last {
                return Ok(fills);
            }
        }
    }

    async fn fill_page(&self, request: &Request) -> Result<Vec<Fill>, VenueError> {
        let answered = self.gateway.question(request).await?;
        let mut page = order::trades(answered.document).map_err(|error| unreadable(&error))?;
        page.sort_by_key(|fill| fill.trade_id);
        Ok(page)
    }

    /// Limits and rules of all pairs, from the cache while they are fresh. Many who ask at once share one question.
    ///
    /// # Errors
    /// The exchange did not answer, or not with what was asked for.
    pub async fn exchange_info(&self) -> Result<Arc<ExchangeInfo>, VenueError> {
        let load = async {
            let answered = self.gateway.question(&Request::exchange_info()).await?;
            let info = rules::exchange_info(answered.document).map_err(|error| unreadable(&error))?;
            self.gateway.adopt(&info);
            for (symbol, reason) in &info.unreadable {
                tracing::warn!(symbol, reason, "the rules of a pair cannot be read; it cannot be traded");
            }
            Ok(Arc::new(info))
        };
        cached(&self.info, (), &self.gateway.metrics.info_cache, load).await
    }

    /// Forgets the rules, so that the next question asks the exchange: after a refusal by a filter.
    pub async fn forget_exchange_info(&self) {
        self.info.invalidate(&()).await;
    }

    /// The last price of a pair, from the cache while it is fresh.
    ///
    /// # Errors
    /// The exchange did not answer, or knows no such pair.
    pub async fn price(&self, symbol: &Symbol) -> Result<Decimal, VenueError> {
        let load = async {
            let answered = self.gateway.question(&Request::price(symbol)).await?;
            market::price(answered.document).map_err(|error| unreadable(&error))
        };
        cached(&self.prices, symbol.clone(), &self.gateway.metrics.price_cache, load).await
    }

    /// Closed bars of a pair that open from `from_ms` to `to_ms` (both inclusive; `None`: up to now), oldest first, from the
    /// cache while they are fresh.
    ///
    /// # Errors
    /// The exchange did not answer, or knows no such pair.
    pub async fn klines(
        &self,
        symbol: &Symbol,
        interval: Interval,
        from_ms: i64,
        to_ms: Option<i64>,
    ) -> Result<Arc<Vec<Bar>>, VenueError> {
        let load =
            async { fetch_klines(&self.gateway, symbol, interval, from_ms, to_ms).await.map(Arc::new) };
        let key = (symbol.clone(), interval, from_ms, to_ms);
        cached(&self.klines, key, &self.gateway.metrics.kline_cache, load).await
    }

    /// Whether the exchange lets this key withdraw. Only the exchange with real money answers this.
    ///
    /// # Errors
    /// The exchange did not answer, or has no such question.
    pub async fn key_may_withdraw(&self) -> Result<bool, VenueError> {
        let answered = self.gateway.question(&Request::key_restrictions()).await?;
        account::key_may_withdraw(answered.document).map_err(|error| unreadable(&error))
    }

    /// The last day of all pairs, for choosing among them. Weighs 80; not cached.
    ///
    /// # Errors
    /// The exchange did not answer, or not with what was asked for.
    pub async fn day_statistics(&self) -> Result<Vec<DayStatistics>, VenueError> {
        let answered = self.gateway.question(&Request::day_statistics()).await?;
        market::day_statistics(answered.document).map_err(|error| unreadable(&error))
    }

    /// Opens a session of the WebSocket API, by which commands travel from then on while it is up, and subscribes to the
    /// user's events. Dropping the stream closes it.
    pub fn user_stream(&self) -> UserStream {
        let (sender, events) = mpsc::unbounded_channel();
        let task = tokio::spawn(session::keep(Arc::clone(&self.gateway), self.dialer.clone(), sender));
        UserStream { events, task: task.abort_handle() }
    }

    /// Opens market streams. Dropping the handle closes them.
    pub fn market_stream(&self, plan: MarketPlan) -> MarketStream {
        streams::open(Arc::clone(&self.gateway), self.dialer.clone(), plan)
    }
}

fn unreadable(error: &WireError) -> VenueError {
    VenueError::NotDone { reason: error.to_string(), retry_at_ms: 0 }
}

async fn cached<K, V, F>(
    cache: &Cache<K, V>,
    key: K,
    counters: &CacheCounters,
    load: F,
) -> Result<V, VenueError>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    F: Future<Output = Result<V, VenueError>>,
{
    counters.lookups.add(1);
    // Most reads find their value, and to ask for it alone is half the work.
    if let Some(value) = cache.get(&key).await {
        return Ok(value);
    }
    let counted = async {
        counters.loads.add(1);
        load.await
    };
    cache.try_get_with(key, counted).await.map_err(|error| VenueError::clone(&error))
}

/// Closed bars over REST, page by page. A page shorter than asked for is followed by another question unless it reaches the
/// newest bar that can have closed.
pub(crate) async fn fetch_klines(
    gateway: &Gateway,
    symbol: &Symbol,
    interval: Interval,
    from_ms: i64,
    to_ms: Option<i64>,
) -> Result<Vec<Bar>, VenueError> {
    let mut bars: Vec<Bar> = Vec::new();
    let mut next = from_ms;
    loop {
        let request = Request::klines(symbol, interval.name(), next, to_ms);
        let answered = gateway.question(&request).await?;
        let page = market::klines(answered.document).map_err(|error| unreadable(&error))?;
        let now = gateway.server_now_ms();
        let Some(last) = page.iter().map(|(bar, _)| bar.open_time_ms).max().filter(|last| *last >= next)
        else {
            return Ok(bars);
        };
        let is_new = |bar: &Bar| bar.open_time_ms >= next;
        let closed = page.into_iter().filter(|(bar, closes_ms)| *closes_ms < now && is_new(bar));
        bars.extend(closed.map(|(bar, _)| bar));
        next = last.saturating_add(interval.ms());
        let is_at_end = to_ms.is_some_and(|to| next > to) || next.saturating_add(interval.ms()) > now;
        if is_at_end {
            return Ok(bars);
        }
    }
}
