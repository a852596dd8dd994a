//! Which symbols a bot trades where its file has `selection`: looks at the market now and again, beside the desk.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use polybolos_engine::interval::{DAY_MS, Interval};
use polybolos_engine::signals::Bar;
use rust_decimal::Decimal;
use tokio::sync::mpsc;

use crate::binance::{Connector, DayStatistics};
use crate::config::SelectionConfig;
use crate::filters::SymbolRules;
use crate::selection::{Listing, Selected, select};
use crate::symbol::Symbol;
use crate::venue::VenueError;

/// Days looked at beyond what a filter asks for: the newest is not over, the oldest may be cut.
const SPARE_DAYS: i64 = 2;

/// Pause after a look that failed.
const RETRY: Duration = Duration::from_secs(60);

/// What a look at the market gave.
#[derive(Debug)]
pub(super) struct Look {
    /// Every symbol that came near, with the reason why it is in or out.
    pub(super) selected: Vec<Selected>,
    /// Rules of the symbols that are in.
    pub(super) rules: BTreeMap<Symbol, SymbolRules>,
    /// Closed bars of those that are in and were not before.
    pub(super) histories: BTreeMap<Symbol, Vec<Bar>>,
}

/// Chooses symbols on the market of a connector.
#[derive(Debug, Clone)]
pub struct Selector {
    connector: Connector,
    config: SelectionConfig,
    quote_asset: String,
    interval: Interval,
    /// How far back the strategy looks, milliseconds.
    warmup_ms: i64,
}

impl Selector {
    /// A selector by `config` of pairs paid for in `quote_asset`; strategies see `warmup_ms` of bars of `interval` first.
    pub fn new(
        connector: Connector,
        config: SelectionConfig,
        quote_asset: &str,
        interval: Interval,
        warmup_ms: i64,
    ) -> Selector {
        Selector { connector, config, quote_asset: quote_asset.to_owned(), interval, warmup_ms }
    }

    /// Looks at the market. `held` stay in; histories of symbols that are not `known` are fetched.
    pub(super) async fn look(
        &self,
        held: &BTreeSet<Symbol>,
        known: &BTreeSet<Symbol>,
    ) -> Result<Look, VenueError> {
        let info = self.connector.exchange_info().await?;
        let now_ms = self.connector.server_time_ms();
        let days: BTreeMap<Symbol, DayStatistics> =
            self.connector.day_statistics().await?.into_iter().map(|day| (day.symbol.clone(), day)).collect();
        // What costs a question per pair is asked of those only that everything else lets through.
        let cheap = SelectionConfig {
            min_age_days: None,
            min_volatility: None,
            max_volatility: None,
            max_symbols: u32::MAX,
            ..self.config.clone()
        };
        let rough: Vec<Listing<'_>> =
            info.symbols.values().map(|rules| listing(rules, &days, None, &[])).collect();
        let passed: Vec<Symbol> = select(&cheap, &self.quote_asset, &rough, held, now_ms)
            .into_iter()
            .filter(|one| one.verdict.is_in())
            .map(|one| one.symbol)
            .collect();
        let mut past: BTreeMap<Symbol, (Option<i64>, Vec<f64>)> = BTreeMap::new();
        for symbol in &passed {
            past.insert(symbol.clone(), self.past(symbol, now_ms).await?);
        }
        let of = |symbol: &Symbol| Some((info.symbols.get(symbol)?, past.get(symbol)?));
        let fine: Vec<Listing<'_>> = passed
            .iter()
            .filter_map(of)
            .map(|(rules, (first_ms, closes))| listing(rules, &days, *first_ms, closes))
            .collect();
        let selected = select(&self.config, &self.quote_asset, &fine, held, now_ms);
        let mut look = Look { rules: BTreeMap::new(), histories: BTreeMap::new(), selected };
        for one in look.selected.iter().filter(|one| one.verdict.is_in()) {
            if let Some(rules) = info.symbols.get(&one.symbol) {
                look.rules.insert(one.symbol.clone(), rules.clone());
            }
            if !known.contains(&one.symbol) {
                let from_ms = (now_ms - self.warmup_ms).max(0);
                let bars = self.connector.klines(&one.symbol, self.interval, from_ms, None).await?;
                look.histories.insert(one.symbol.clone(), bars.to_vec());
            }
        }
        Ok(look)
    }

    /// Open time of the first bar, as far as it matters, and the newest daily closes.
    async fn past(&self, symbol: &Symbol, now_ms: i64) -> Result<(Option<i64>, Vec<f64>), VenueError> {
        let wants_volatility = self.config.min_volatility.is_some() || self.config.max_volatility.is_some();
        let volatility_days = if wants_volatility { i64::from(self.config.volatility_days) } else { 0 };
        let days = volatility_days.max(self.config.min_age_days.map_or(0, i64::from));
        let Some(day) = Interval::from_ms(DAY_MS).filter(|_| days > 0) else {
            return Ok((None, Vec::new()));
        };
        let from_ms = day.floor(now_ms - (days + SPARE_DAYS) * DAY_MS);
        let bars = self.connector.klines(symbol, day, from_ms.max(0), None).await?;
        Ok((bars.first().map(|bar| bar.open_time_ms), bars.iter().map(|bar| bar.close).collect()))
    }
}

fn listing<'a>(
    rules: &'a SymbolRules,
    days: &BTreeMap<Symbol, DayStatistics>,
    first_bar_ms: Option<i64>,
    daily_closes: &'a [f64],
) -> Listing<'a> {
    let day = days.get(&rules.symbol);
    let is_price = |price: &Decimal| *price > Decimal::ZERO;
    Listing {
        rules,
        quote_volume_24h: day.map(|day| day.quote_volume),
        quote: day
            .map(|day| (day.bid_price, day.ask_price))
            .filter(|(bid, ask)| is_price(bid) && is_price(ask)),
        first_bar_ms,
        daily_closes,
    }
}

/// The looks of a session: one at a time, in a task of its own.
#[derive(Debug)]
pub(super) struct Looks {
    selector: Selector,
    every: Duration,
    next_at: Instant,
    is_under_way: bool,
    sender: mpsc::Sender<Result<Look, VenueError>>,
    receiver: mpsc::Receiver<Result<Look, VenueError>>,
}

impl Looks {
    /// Looks that begin one interval from now.
    pub(super) fn new(selector: Selector) -> Looks {
        let every = Duration::from_secs(u64::from(selector.config.refresh_s));
        let (sender, receiver) = mpsc::channel(1);
        Looks { selector, every, next_at: Instant::now() + every, is_under_way: false, sender, receiver }
    }

    pub(super) fn is_due(&self) -> bool {
        !self.is_under_way && Instant::now() >= self.next_at
    }

    /// Begins a look.
    pub(super) fn begin(&mut self, held: BTreeSet<Symbol>, known: BTreeSet<Symbol>) {
        self.is_under_way = true;
        let (selector, sender) = (self.selector.clone(), self.sender.clone());
        tokio::spawn(async move {
            // A desk that has ended does not care.
            let _ = sender.send(selector.look(&held, &known).await).await;
        });
    }

    /// A look that has ended since the last call.
    pub(super) fn take(&mut self) -> Option<Look> {
        let result = self.receiver.try_recv().ok()?;
        self.is_under_way = false;
        self.next_at = Instant::now() + if result.is_ok() { self.every } else { RETRY };
        match result {
            Ok(look) => Some(look),
            Err(error) => {
                tracing::warn!(%error, "the market could not be looked at; the symbols stay as they are");
                None
            }
        }
    }
}
