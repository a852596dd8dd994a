//! An exchange in one pure state machine: bars in, orders in, fills and prices out.
//!
//! It keeps one account, its orders and its lists by the exchange's rules, and fills orders against bars by the rules of the
//! backtest ([`polybolos_kernels::sim`]). No clock, no socket, no thread: the same bars and requests give the same answers,
//! numbers and events every time. Its time is *market time*, which bars alone move, or who follows a market.
//!
//! A bar is played in two halves. [`Simulator::open_step`] publishes the closes before it and moves the last prices to its
//! open: market orders that arrive now fill there. [`Simulator::play_step`] lets the resting orders meet the bar and moves the
//! last prices to its close. A market that is still going on is followed instead ([`Simulator::follow`]): bars are taken when they have closed, and
//! the time comes from outside.
//!
//! It does not match clients with each other, and it has as much of everything as an order wants.

mod book;
mod cancel;
mod event;
mod execute;
mod follow;
mod ledger;
mod lists;
mod live;
mod matching;
mod placement;
mod query;
mod reject;
mod snapshot;
mod step;
mod synthetic;

use std::collections::{BTreeMap, VecDeque};

use polybolos_kernels::bars::{Bars, BarsError};
use polybolos_kernels::sim::Intrabar;
use rust_decimal::Decimal;

use crate::client_id::ClientId;
pub(crate) use crate::decimals::{decimal, number};
use crate::filters::SymbolRules;
use crate::order::Fill;
use crate::symbol::Symbol;
use crate::venue::MarketEvent;

use book::Instrument;
use follow::Closing;
use ledger::Ledger;

pub use book::{Contingency, List, Order, PartialFill};
pub use cancel::{CancelRestriction, Canceled};
pub use event::{Change, Event, Execution, ListChange};
pub use placement::OrderRef;
pub use query::TradeRecord;
pub use reject::Reject;
pub use snapshot::Snapshot;
pub use synthetic::{split_symbol, synthetic_rules};

/// The exchange's costs and the account's start.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Fee of orders that were on the book before, fraction of what they trade.
    pub maker_fee: f64,
    /// Fee of all other fills, fraction of what they trade.
    pub taker_fee: f64,
    /// Fraction of the price lost on market fills.
    pub slippage: f64,
    /// Which leg of a list is hit first in a bar that reaches both.
    pub intrabar: Intrabar,
    /// Whether fees are paid in BNB, at three quarters, while there are any and their price is known.
    pub bnb_fees: bool,
    /// What the account holds before the first bar, units per asset.
    pub balances: Vec<(String, Decimal)>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            maker_fee: 0.001,
            taker_fee: 0.001,
            slippage: 0.0,
            intrabar: Intrabar::default(),
            bnb_fees: false,
            balances: vec![("USDT".to_owned(), Decimal::from(100_000))],
        }
    }
}

/// Why there can be no such exchange.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SimulatorError {
    /// Bars that break an invariant.
    #[error("{symbol}: {error}")]
    Bars {
        /// Whose.
        symbol: Symbol,
        /// What is wrong.
        error: BarsError,
    },
    /// A price that no exchange could write down.
    #[error("{symbol}: a price of {price} is outside 1e-12 to 1e12")]
    Price {
        /// Whose.
        symbol: Symbol,
        /// The price.
        price: f64,
    },
    /// Two sets of bars for one pair, or bars of different intervals.
    #[error("{symbol}: {reason}")]
    Symbol {
        /// Which.
        symbol: Symbol,
        /// What is wrong.
        reason: String,
    },
    /// A cost or balance outside its domain.
    #[error("{setting} must be {allowed}, not {value}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The domain, in words.
        allowed: &'static str,
    },
}

/// Where in a bar the market is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the first bar: there are no prices yet, or the last close before the start.
    Closed,
    /// At the open of the bar that opens at this time.
    Opened {
        /// Open time of the bar.
        open_ms: i64,
    },
    /// At the close of that bar, which is not published yet.
    Played {
        /// Open time of the bar.
        open_ms: i64,
    },
    /// Behind the last bar; its close is published and its price stays.
    Ended,
    /// Inside bars that are going on and not known yet: a market that is followed ([`Simulator::follow`]).
    Live,
}

/// The exchange.
#[derive(Debug, Clone)]
pub struct Simulator {
    settings: Settings,
    interval_ms: i64,
    instruments: BTreeMap<Symbol, Instrument>,
    lists: BTreeMap<i64, List>,
    ledger: Ledger,
    phase: Phase,
    /// The bar of a followed market that meets the orders.
    closing: Option<Closing>,
    now_ms: i64,
    generated_ids: u64,
    events: Vec<Event>,
    market: VecDeque<MarketEvent>,
}

/// Beyond this a quantity or a price is refused, so that no product of the two leaves the decimal's range.
const NUMBER_MAX: Decimal = Decimal::from_parts(1_316_134_912, 2328, 0, false, 0);

impl Simulator {
    /// An exchange for these pairs. Bars that open before `start_ms` are history from the beginning.
    ///
    /// # Errors
    /// [`SimulatorError`] for bars, settings or balances outside their domains.
    pub fn new(
        settings: Settings,
        pairs: Vec<(SymbolRules, Bars)>,
        start_ms: i64,
    ) -> Result<Simulator, SimulatorError> {
        check_settings(&settings)?;
        let mut ledger = Ledger::default();
        for (asset, amount) in &settings.balances {
            ledger.credit(asset, *amount);
        }
        ledger.take_touched();
        let interval_ms = pairs.first().map_or(0, |(_, bars)| bars.interval_ms);
        let mut instruments = BTreeMap::new();
        for (rules, bars) in pairs {
            let symbol = rules.symbol.clone();
            check_bars(&symbol, &bars, interval_ms)?;
            let mut instrument = Instrument::new(rules, bars);
            let before = instrument.bars.open_time_ms.partition_point(|&open_ms| open_ms < start_ms);
            (instrument.next, instrument.published) = (before, before);
            instrument.last = before.checked_sub(1).and_then(|t| decimal(*instrument.bars.close.get(t)?));
            if instruments.insert(symbol.clone(), instrument).is_some() {
                return Err(SimulatorError::Symbol { symbol, reason: "given twice".to_owned() });
            }
        }
        let first =
            instruments.values().filter_map(|i: &Instrument| i.bars.open_time_ms.get(i.next)).min().copied();
        Ok(Simulator {
            settings,
            interval_ms,
            instruments,
            lists: BTreeMap::new(),
            ledger,
            phase: Phase::Closed,
            closing: None,
            now_ms: first.unwrap_or(start_ms).saturating_sub(1),
            generated_ids: 0,
            events: Vec::new(),
            market: VecDeque::new(),
        })
    }

    /// Market time: the time of the newest change.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Where in a bar the market is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Length of a bar.
    pub fn interval_ms(&self) -> i64 {
        self.interval_ms
    }

    /// Open time of the bar that [`Simulator::open_step`] opens next; `None` behind the last one and in a followed market.
    pub fn next_open_ms(&self) -> Option<i64> {
        self.instruments.values().filter_map(|i| i.bars.open_time_ms.get(i.next)).min().copied()
    }

    /// Lets market time pass up to `to_ms`, as far as the half of the bar reaches in which the market is; in a followed market
    /// as far as it is told. Prices stay.
    pub fn pass_time(&mut self, to_ms: i64) {
        let end = self.half_end().or((self.phase == Phase::Live).then_some(i64::MAX));
        if let Some(end) = end {
            self.now_ms = self.now_ms.max(to_ms.min(end));
        }
    }

    /// Costs and start.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What happened to the account since the last call, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// What happened to the market since the last call, in order.
    pub fn take_market_events(&mut self) -> Vec<MarketEvent> {
        std::mem::take(&mut self.market).into()
    }

    /// Adds `amount` to an asset, below 0 takes it away, as a transfer between accounts does; gives whether it was done:
    /// there must be enough, and no more than 10000000000000 units go at once.
    pub fn transfer(&mut self, asset: &str, amount: Decimal) -> bool {
        if amount.abs() > NUMBER_MAX {
            return false;
        }
        let is_done = match amount.is_sign_negative() {
            true => self.ledger.debit(asset, -amount),
            false => {
                self.ledger.credit(asset, amount);
                true
            }
        };
        if is_done {
            let time_ms = self.stamp();
            self.events.push(Event::Transfer { asset: asset.to_owned(), delta: amount, time_ms });
        }
        self.tell_balances();
        is_done
    }

    /// An id for a request that brought none.
    pub fn generate_id(&mut self) -> ClientId {
        self.generated_ids += 1;
        ClientId::from_wire(&format!("sim{:019}", self.generated_ids))
    }

    /// A new market time for a change: rises by a millisecond a change and stays inside the half of the bar it is in.
    fn stamp(&mut self) -> i64 {
        self.now_ms = match self.half_end() {
            Some(end) => (self.now_ms + 1).min(end).max(self.now_ms),
            None if matches!(self.phase, Phase::Ended | Phase::Live) => self.now_ms.saturating_add(1),
            None => self.now_ms,
        };
        self.now_ms
    }

    /// Market time from which what comes to life now can meet prices: of a bar that is looked at after it has closed, its end.
    fn alive_from_ms(&self) -> i64 {
        self.closing.map_or(self.now_ms, |closing| closing.end_ms)
    }

    /// Last millisecond of the half of the bar in which the market is.
    fn half_end(&self) -> Option<i64> {
        match self.phase {
            Phase::Opened { open_ms } => Some(open_ms + (self.interval_ms / 2 - 1).max(0)),
            Phase::Played { open_ms } => Some(open_ms + (self.interval_ms - 1).max(0)),
            Phase::Closed | Phase::Ended | Phase::Live => None,
        }
    }

    fn tell_balances(&mut self) {
        let balances = self.ledger.take_touched();
        if !balances.is_empty() {
            self.events.push(Event::Balances { balances, update_ms: self.now_ms });
        }
    }

    fn tell(&mut self, symbol: &Symbol, order_id: i64, change: Change, told: Told) {
        let time_ms = match &told.fill {
            Some(fill) => fill.time_ms,
            None => self.stamp(),
        };
        let Some(instrument) = self.instruments.get_mut(symbol) else {
            return;
        };
        let execution_id = instrument.next_execution_id();
        let Some(order) = instrument.orders.get_mut(&order_id) else {
            return;
        };
        order.updated_ms = time_ms;
        let execution = Execution {
            order: order.clone(),
            change,
            execution_id,
            request_id: told.request_id,
            fill: told.fill,
            time_ms,
        };
        self.events.push(Event::Execution(Box::new(execution)));
    }
}

/// Details of an execution event.
#[derive(Default)]
struct Told {
    request_id: Option<ClientId>,
    fill: Option<Fill>,
}

fn check_settings(settings: &Settings) -> Result<(), SimulatorError> {
    let fractions = [
        ("maker_fee", settings.maker_fee),
        ("taker_fee", settings.taker_fee),
        ("slippage", settings.slippage),
    ];
    for (setting, value) in fractions {
        if !(0.0..1.0).contains(&value) {
            let allowed = "a fraction from 0, below 1";
            return Err(SimulatorError::Setting { setting, value: value.to_string(), allowed });
        }
    }
    match settings.balances.iter().find(|(_, amount)| amount.is_sign_negative() || *amount > NUMBER_MAX) {
        Some((asset, amount)) => Err(SimulatorError::Setting {
            setting: "balance",
            value: format!("{asset}={amount}"),
            allowed: "from 0 to 10000000000000",
        }),
        None => Ok(()),
    }
}

fn check_bars(symbol: &Symbol, bars: &Bars, interval_ms: i64) -> Result<(), SimulatorError> {
    bars.check().map_err(|error| SimulatorError::Bars { symbol: symbol.clone(), error })?;
    if bars.interval_ms != interval_ms {
        let reason = format!("bars of {} ms among bars of {interval_ms} ms", bars.interval_ms);
        return Err(SimulatorError::Symbol { symbol: symbol.clone(), reason });
    }
    let mut prices = [&bars.open, &bars.high, &bars.low, &bars.close].into_iter().flatten();
    match prices.find(|price| !(1e-12..=1e12).contains(*price)) {
        Some(&price) => Err(SimulatorError::Price { symbol: symbol.clone(), price }),
        None => Ok(()),
    }
}
