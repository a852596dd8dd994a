//! What a bot holds and earns, folded from its fills. Money is [`Decimal`]; times are UTC milliseconds of the exchange's clock.
//!
//! A fill counts once, by pair and trade id, however often and in whatever order it comes: a sell that overtakes its buys waits
//! for them. Equity is a sum of what was paid, received and is held, so it is exact; only costs of parts are divided. The day's
//! opening equity and the peak, by which limits are measured, are taken at marks (closes of bars) as the backtest takes them.
//!
//! The ledger knows what fills say. It does not know balances of the exchange: comparing the two is reconciliation.

use std::collections::{BTreeMap, VecDeque};

use polybolos_engine::interval::DAY_MS;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::order::{Fill, OrderSide};
use crate::symbol::Symbol;

mod account;
mod accounts;
mod pairs;
mod trade;

pub use account::{Dust, Position, SymbolAccount, Terms};
pub use accounts::Totals;
pub use trade::{CloseReason, LiveTrade, Statistics};

use accounts::Accounts;
use trade::Tally;

/// Closed trades that are kept whole; statistics cover all.
const RECENT_TRADES: usize = 4096;
/// Days that are kept.
const RECENT_DAYS: usize = 400;

/// A fill with what the order that it belongs to says.
#[derive(Debug, Clone, Copy)]
pub struct Booking<'a> {
    /// The pair.
    pub symbol: &'a Symbol,
    /// The order's direction.
    pub side: OrderSide,
    /// The fill.
    pub fill: &'a Fill,
    /// Why the order sells; not read for buys.
    pub reason: CloseReason,
    /// Price in quote currency of the asset that the commission was paid with, where that is neither base nor quote. Without
    /// it the amount is kept until [`Ledger::value_commissions`].
    pub commission_price: Option<Decimal>,
}

/// What a booking did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Booked {
    /// Whether the fill had not been booked before.
    pub is_new: bool,
    /// Trades that it closed.
    pub closed: Vec<LiveTrade>,
}

/// A UTC day.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Day {
    /// Equity before the first thing that happened on it, money allocated on it included.
    pub opening_equity: Decimal,
    /// Profit of the trades closed on it, quote currency.
    pub pnl: Decimal,
    /// Trades closed on it.
    pub trades: u64,
}

/// A fill or price that the ledger does not take; it is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// A pair without an allocation.
    #[error("{symbol}: this bot has no money allocated to it; a fill of it is not this bot's")]
    UnknownSymbol {
        /// The pair.
        symbol: Symbol,
    },
    /// A number that no exchange means.
    #[error("{symbol}: {what} is {value}; compare this trade with the exchange by hand")]
    Absurd {
        /// The pair.
        symbol: Symbol,
        /// Which number.
        what: &'static str,
        /// Its value.
        value: Decimal,
    },
    /// So old that it cannot be told whether it was booked.
    #[error(
        "{symbol}: trade {trade_id} is older than the oldest remembered one, {oldest}; it cannot be told whether it was booked"
    )]
    TooOld {
        /// The pair.
        symbol: Symbol,
        /// Its id.
        trade_id: i64,
        /// The oldest id remembered.
        oldest: i64,
    },
}

/// The ledger of one bot. Serialised whole it is a checkpoint; what is read back is equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    bar_ms: i64,
    accounts: Accounts,
    equity: Decimal,
    peak: Decimal,
    max_drawdown: Decimal,
    #[serde(with = "pairs")]
    days: BTreeMap<i64, Day>,
    recent: VecDeque<LiveTrade>,
    tally: Tally,
}

impl Ledger {
    /// An empty ledger of a bot whose bars last `bar_ms` milliseconds (at least 1).
    pub fn new(bar_ms: i64) -> Ledger {
        Ledger {
            bar_ms: bar_ms.max(1),
            accounts: Accounts::default(),
            equity: Decimal::ZERO,
            peak: Decimal::ZERO,
            max_drawdown: Decimal::ZERO,
            days: BTreeMap::new(),
            recent: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// Gives `cash` quote units to a pair, or takes them for a negative one. It is neither profit nor loss: the peak and the
    /// day's opening move with it. The terms of a pair that is there already are kept.
    pub fn allocate(&mut self, symbol: &Symbol, terms: Terms, cash: Decimal, now_ms: i64) {
        self.roll(now_ms);
        self.accounts.add(symbol, || SymbolAccount::new(terms));
        self.accounts.change(symbol, |account| account.allocate(cash));
        self.equity += cash;
        self.peak += cash;
        if let Some(mut today) = self.days.last_entry() {
            today.get_mut().opening_equity += cash;
        }
    }

    /// Books a fill once. Fills of an order that come in any order give the same; an exit must not be sent before all fills of
    /// its entry are known, or the trade is closed with the first of them.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn book(&mut self, booking: &Booking<'_>) -> Result<Booked, LedgerError> {
        check(booking)?;
        self.roll(booking.fill.time_ms);
        let bar_ms = self.bar_ms;
        let closed = self.change(booking.symbol, |account| account.book(booking, bar_ms))??;
        let is_new = closed.is_some();
        let closed = closed.unwrap_or_default();
        closed.iter().for_each(|trade| self.record(trade));
        Ok(Booked { is_new, closed })
    }

    /// Closes a pair's trade although more than a lot is held, because the exchange takes no order as small as that: what is
    /// held becomes dust. `None` without an open trade.
    ///
    /// # Errors
    /// [`LedgerError::UnknownSymbol`].
    pub fn write_off(
        &mut self,
        symbol: &Symbol,
        now_ms: i64,
        reason: CloseReason,
    ) -> Result<Option<LiveTrade>, LedgerError> {
        self.roll(now_ms);
        let bar_ms = self.bar_ms;
        let closed = self.change(symbol, |account| {
            account.end_by(now_ms, reason);
            account.close(symbol, bar_ms)
        })?;
        closed.iter().for_each(|trade| self.record(trade));
        Ok(closed)
    }

    /// Values commissions in `asset` that a pair paid while its price was not known, now at `price` quote units; the value.
    ///
    /// # Errors
    /// [`LedgerError::UnknownSymbol`], [`LedgerError::Absurd`].
    pub fn value_commissions(
        &mut self,
        symbol: &Symbol,
        asset: &str,
        price: Decimal,
    ) -> Result<Decimal, LedgerError> {
        check_number(symbol, "the price of the commission's asset", price, MAX_PRICE)?;
        self.change(symbol, |account| account.charge(asset, price))
    }

    /// Marks pairs at the closes of their bars and takes the peak and the drawdown of the sum once.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing is marked then.
    pub fn mark(&mut self, closes: &[(Symbol, Decimal)], now_ms: i64) -> Result<(), LedgerError> {
        for (symbol, price) in closes {
            check_number(symbol, "the price", *price, MAX_PRICE)?;
            self.account_of(symbol)?;
        }
        self.roll(now_ms);
        for (symbol, price) in closes {
            self.change(symbol, |account| account.mark_at(*price))?;
        }
        self.peak = self.peak.max(self.equity);
        self.max_drawdown = self.max_drawdown.max(self.drawdown());
        Ok(())
    }

    /// Equity of all pairs together, quote currency.
    pub fn equity(&self) -> Decimal {
        self.equity
    }

    /// Sums over all pairs.
    pub fn totals(&self) -> Totals {
        self.accounts.totals()
    }

    /// The highest marked equity, or what was allocated.
    pub fn peak(&self) -> Decimal {
        self.peak
    }

    /// `1 - equity / peak`, at least 0; 0 without a peak above 0.
    pub fn drawdown(&self) -> Decimal {
        match self.equity.checked_div(self.peak) {
            Some(share) if self.peak > Decimal::ZERO => (Decimal::ONE - share).max(Decimal::ZERO),
            _ => Decimal::ZERO,
        }
    }

    /// Starts the drawdown anew at the present equity: an operator has looked and resumes.
    pub fn reset_peak(&mut self) {
        self.peak = self.equity;
    }

    /// The newest day, with the start of it; `None` before anything happened. It is not today's if nothing happened today.
    pub fn today(&self) -> Option<(i64, &Day)> {
        self.days.last_key_value().map(|(day, entry)| (day * DAY_MS, entry))
    }

    /// Equity at the opening of the UTC day of `now_ms`.
    pub fn opening_equity(&self, now_ms: i64) -> Decimal {
        match self.days.last_key_value() {
            Some((day, entry)) if *day >= now_ms.div_euclid(DAY_MS) => entry.opening_equity,
            _ => self.equity,
        }
    }

    /// Days with anything on them, by the number of days since 1970, the newest 400.
    pub fn days(&self) -> &BTreeMap<i64, Day> {
        &self.days
    }

    /// The pairs' accounts.
    pub fn accounts(&self) -> impl Iterator<Item = (&Symbol, &SymbolAccount)> {
        self.accounts.iter()
    }

    /// The account of a pair.
    pub fn account(&self, symbol: &Symbol) -> Option<&SymbolAccount> {
        self.accounts.get(symbol)
    }

    /// The newest closed trades, oldest first, at most 4,096.
    pub fn trades(&self) -> &VecDeque<LiveTrade> {
        &self.recent
    }

    /// Statistics of all closed trades.
    pub fn statistics(&self) -> Statistics {
        let fees = self.accounts.iter().map(|(_, account)| account.fees()).sum();
        self.tally.statistics(self.max_drawdown, fees)
    }

    fn account_of(&self, symbol: &Symbol) -> Result<&SymbolAccount, LedgerError> {
        self.accounts.get(symbol).ok_or_else(|| LedgerError::UnknownSymbol { symbol: symbol.clone() })
    }

    /// Changes an account and keeps the sum of equities true.
    fn change<T>(
        &mut self,
        symbol: &Symbol,
        change: impl FnOnce(&mut SymbolAccount) -> T,
    ) -> Result<T, LedgerError> {
        let changed = self.accounts.change(symbol, |account| {
            let before = account.equity();
            let result = change(account);
            (result, account.equity() - before)
        });
        let (result, gain) = changed.ok_or_else(|| LedgerError::UnknownSymbol { symbol: symbol.clone() })?;
        self.equity += gain;
        Ok(result)
    }

    /// Opens the day of `now_ms` if it is a new one. What comes late counts for the newest day.
    fn roll(&mut self, now_ms: i64) {
        let day = now_ms.div_euclid(DAY_MS);
        if self.days.last_key_value().is_none_or(|(newest, _)| *newest < day) {
            self.days.insert(day, Day { opening_equity: self.equity, ..Day::default() });
        }
        if self.days.len() > RECENT_DAYS {
            self.days.pop_first();
        }
    }

    fn record(&mut self, trade: &LiveTrade) {
        self.tally.add(trade);
        if let Some(mut today) = self.days.last_entry() {
            today.get_mut().trades += 1;
            today.get_mut().pnl += trade.pnl;
        }
        self.recent.push_back(trade.clone());
        if self.recent.len() > RECENT_TRADES {
            self.recent.pop_front();
        }
    }
}

/// Bounds within which no sum or product of a ledger's numbers leaves [`Decimal`].
const MAX_PRICE: i64 = 1_000_000_000;
const MAX_QUANTITY: i64 = 10_000_000_000_000;
const MAX_NOTIONAL: i64 = 1_000_000_000_000_000;

fn check(booking: &Booking<'_>) -> Result<(), LedgerError> {
    let Booking { symbol, fill, .. } = booking;
    check_number(symbol, "a fill's price", fill.price, MAX_PRICE)?;
    check_number(symbol, "a fill's quantity", fill.quantity, MAX_QUANTITY)?;
    check_number(symbol, "a fill's notional", fill.notional(), MAX_NOTIONAL)?;
    if let Some(price) = booking.commission_price {
        check_number(symbol, "the price of the commission's asset", price, MAX_PRICE)?;
    }
    if !fill.commission.is_zero() {
        check_number(symbol, "a fill's commission", fill.commission, MAX_QUANTITY)?;
    }
    Ok(())
}

fn check_number(symbol: &Symbol, what: &'static str, value: Decimal, max: i64) -> Result<(), LedgerError> {
    if value > Decimal::ZERO && value <= Decimal::from(max) {
        return Ok(());
    }
    Err(LedgerError::Absurd { symbol: symbol.clone(), what, value })
}
