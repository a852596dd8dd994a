//! What a bot holds and has earned of one pair.
//!
//! Money is kept as sums of what was paid and received, which are exact; means and shares of costs are divided out when asked.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::trade::{CloseReason, LiveTrade};
use super::{Booking, LedgerError};
use crate::order::{Fill, OrderSide};
use crate::symbol::Symbol;

/// Trade ids of a pair that are remembered; an older one that was not seen cannot be told from a doubled one.
const REMEMBERED: usize = 512;

/// What of a pair's rules its account needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What is bought.
    pub base_asset: String,
    /// What it is paid with.
    pub quote_asset: String,
    /// Smallest step of a sellable quantity, base units; less than one step is dust. 0: every quantity can be sold.
    pub lot_step: Decimal,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    fill: Fill,
    reason: CloseReason,
    commission_price: Option<Decimal>,
}

/// A trade that is not closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    entry_ms: i64,
    exit_ms: i64,
    reason: CloseReason,
    bought: Decimal,
    spent: Decimal,
    /// Base units that the trade has had to sell: bought and taken over as dust, less commissions in base.
    acquired: Decimal,
    /// What they cost, fees included.
    cost: Decimal,
    sold: Decimal,
    received: Decimal,
    /// Fees of sells, and so not part of `cost`.
    exit_fees: Decimal,
    fees: Decimal,
}

/// Base units below a lot that trades left, with what they cost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dust {
    /// Base units.
    pub quantity: Decimal,
    /// Their share of the costs of the trades that left them, quote currency.
    pub cost: Decimal,
}

/// An open position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Base units held, commissions in base taken off and dust of earlier trades included.
    pub quantity: Decimal,
    /// Mean price of its buys without fees, quote per base.
    pub entry_price: Decimal,
    /// What was paid for what is held, fees included, quote currency.
    pub cost: Decimal,
    /// Time of the first buy, exchange clock.
    pub entry_ms: i64,
}

/// The account of one pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolAccount {
    terms: Terms,
    allocated: Decimal,
    cash: Decimal,
    paid_outside: Decimal,
    quantity: Decimal,
    mark: Decimal,
    realised: Decimal,
    fees: Decimal,
    open: Option<Open>,
    dust: Dust,
    unvalued: BTreeMap<String, Decimal>,
    seen: BTreeSet<i64>,
    #[serde(with = "super::pairs")]
    waiting: BTreeMap<i64, Waiting>,
}

impl SymbolAccount {
    pub(super) fn new(terms: Terms) -> SymbolAccount {
        SymbolAccount {
            terms,
            allocated: Decimal::ZERO,
            cash: Decimal::ZERO,
            paid_outside: Decimal::ZERO,
            quantity: Decimal::ZERO,
            mark: Decimal::ZERO,
            realised: Decimal::ZERO,
            fees: Decimal::ZERO,
            open: None,
            dust: Dust::default(),
            unvalued: BTreeMap::new(),
            seen: BTreeSet::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// The pair's terms.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Quote units given to the pair.
    pub fn allocated(&self) -> Decimal {
        self.allocated
    }

    /// Quote units left of the allocation and of what sells brought; below 0 if more was spent than allocated.
    pub fn cash(&self) -> Decimal {
        self.cash
    }

    /// Base units held, dust included.
    pub fn quantity(&self) -> Decimal {
        self.quantity
    }

    /// The last price it was marked at, or of its last fill; 0 before the first.
    pub fn mark(&self) -> Decimal {
        self.mark
    }

    /// Fees in quote currency; those without a known price are in [`SymbolAccount::unvalued`].
    pub fn fees(&self) -> Decimal {
        self.fees
    }

    /// Commissions in assets whose price was not known, by asset; they are not in any profit yet.
    pub fn unvalued(&self) -> &BTreeMap<String, Decimal> {
        &self.unvalued
    }

    /// What earlier trades left.
    pub fn dust(&self) -> &Dust {
        &self.dust
    }

    /// Number of sells that came before the buys they need, and are booked with them. Other than 0 for long, the account and
    /// the exchange must be compared.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Quote units that the pair trades with while it holds nothing: its cash less fees that were paid with other assets.
    pub fn free_cash(&self) -> Decimal {
        self.cash - self.paid_outside
    }

    /// Whether a trade of this id was booked, as far back as ids are remembered.
    pub fn has_booked(&self, trade_id: i64) -> bool {
        self.seen.contains(&trade_id) || self.waiting.contains_key(&trade_id)
    }

    /// The newest trade id booked; `None` before the first.
    pub fn last_trade_id(&self) -> Option<i64> {
        self.seen.last().copied()
    }

    /// Value at the mark of what is held.
    pub fn value(&self) -> Decimal {
        self.quantity * self.mark
    }

    /// Value at the mark: cash, less fees paid with other assets, plus what is held.
    pub fn equity(&self) -> Decimal {
        self.free_cash() + self.value()
    }

    /// Profit of what was sold, fees included, of the open trade too.
    pub fn realised(&self) -> Decimal {
        let open = self.open.as_ref().map_or(Decimal::ZERO, |open| {
            open.received - open.exit_fees - (open.cost - open.cost_of(open.acquired - open.sold))
        });
        self.realised + open
    }

    /// Profit at the mark of what is held.
    pub fn unrealised(&self) -> Decimal {
        self.equity() - self.allocated - self.realised()
    }

    /// The open position.
    pub fn position(&self) -> Option<Position> {
        let open = self.open.as_ref()?;
        Some(Position {
            quantity: self.quantity,
            entry_price: open.spent.checked_div(open.bought).unwrap_or_default(),
            cost: open.cost_of(open.acquired - open.sold),
            entry_ms: open.entry_ms,
        })
    }

    pub(super) fn allocate(&mut self, cash: Decimal) {
        self.allocated += cash;
        self.cash += cash;
    }

    pub(super) fn mark_at(&mut self, price: Decimal) {
        self.mark = price;
    }

    pub(super) fn charge(&mut self, asset: &str, price: Decimal) -> Decimal {
        let value = self.unvalued.remove(asset).unwrap_or_default() * price;
        self.paid_outside += value;
        self.realised -= value;
        self.fees += value;
        value
    }

    /// Books a fill; `None` if it was booked before, otherwise the trades that it closed.
    pub(super) fn book(
        &mut self,
        booking: &Booking<'_>,
        bar_ms: i64,
    ) -> Result<Option<Vec<LiveTrade>>, LedgerError> {
        let fill = booking.fill;
        if self.seen.contains(&fill.trade_id) || self.waiting.contains_key(&fill.trade_id) {
            return Ok(None);
        }
        if let Some(oldest) = self.seen.first()
            && self.seen.len() >= REMEMBERED
            && fill.trade_id < *oldest
        {
            return Err(LedgerError::TooOld {
                symbol: booking.symbol.clone(),
                trade_id: fill.trade_id,
                oldest: *oldest,
            });
        }
        let mut closed = Vec::new();
        match booking.side {
            OrderSide::Buy => self.buy(fill, booking.commission_price),
            OrderSide::Sell => {
                let waiting = Waiting {
                    fill: fill.clone(),
                    reason: booking.reason,
                    commission_price: booking.commission_price,
                };
                self.waiting.insert(fill.trade_id, waiting);
            }
        }
        while let Some(next) = self.waiting.first_entry().filter(|e| e.get().fill.quantity <= self.quantity) {
            let waiting = next.remove();
            closed.extend(self.sell(booking.symbol, &waiting, bar_ms));
        }
        Ok(Some(closed))
    }

    fn buy(&mut self, fill: &Fill, commission_price: Option<Decimal>) {
        let fees = self.take_commission(fill, commission_price);
        let notional = fill.notional();
        let base_fee = self.base_fee(fill);
        let dust = std::mem::take(&mut self.dust);
        let open = self.open.get_or_insert_with(|| Open::new(fill.time_ms, &dust));
        open.entry_ms = open.entry_ms.min(fill.time_ms);
        open.bought += fill.quantity;
        open.spent += notional;
        open.acquired += fill.quantity - base_fee;
        open.cost += notional + fees.on_top;
        open.fees += fees.value;
        self.cash -= notional;
        self.quantity += fill.quantity;
        self.remember(fill);
    }

    fn sell(&mut self, symbol: &Symbol, waiting: &Waiting, bar_ms: i64) -> Option<LiveTrade> {
        let fill = &waiting.fill;
        let fees = self.take_commission(fill, waiting.commission_price);
        let notional = fill.notional();
        let base_fee = self.base_fee(fill);
        self.cash += notional;
        self.quantity -= fill.quantity;
        self.remember(fill);
        let dust = std::mem::take(&mut self.dust);
        let open = self.open.get_or_insert_with(|| Open::new(fill.time_ms, &dust));
        open.sold += fill.quantity;
        open.acquired -= base_fee;
        open.received += notional;
        open.exit_fees += fees.on_top;
        open.fees += fees.value;
        open.exit_ms = open.exit_ms.max(fill.time_ms);
        open.reason = waiting.reason;
        let is_over = self.quantity.is_zero() || self.quantity < self.terms.lot_step;
        if is_over { self.close(symbol, bar_ms) } else { None }
    }

    /// Closes the open trade; what it still holds becomes dust.
    pub(super) fn close(&mut self, symbol: &Symbol, bar_ms: i64) -> Option<LiveTrade> {
        let open = self.open.take()?;
        let left = open.acquired - open.sold;
        self.dust = Dust { quantity: left, cost: open.cost_of(left) };
        let cost = open.cost - self.dust.cost;
        let pnl = open.received - open.exit_fees - cost;
        self.realised += pnl;
        Some(LiveTrade {
            symbol: symbol.clone(),
            entry_ms: open.entry_ms,
            exit_ms: open.exit_ms,
            entry_price: open.spent.checked_div(open.bought).unwrap_or_default(),
            exit_price: open.received.checked_div(open.sold),
            quantity: open.sold,
            reason: open.reason,
            fees: open.fees,
            cost,
            pnl,
            trade_return: pnl.checked_div(cost),
            bars_held: open.exit_ms.div_euclid(bar_ms) - open.entry_ms.div_euclid(bar_ms),
        })
    }

    /// Says why the open trade ends, and when, if nothing of it was sold.
    pub(super) fn end_by(&mut self, time_ms: i64, reason: CloseReason) {
        if let Some(open) = &mut self.open {
            if open.sold.is_zero() {
                open.exit_ms = open.exit_ms.max(time_ms);
            }
            open.reason = reason;
        }
    }

    fn remember(&mut self, fill: &Fill) {
        self.mark = fill.price;
        self.seen.insert(fill.trade_id);
        if self.seen.len() > REMEMBERED {
            self.seen.pop_first();
        }
    }

    fn base_fee(&self, fill: &Fill) -> Decimal {
        if fill.commission_asset == self.terms.base_asset { fill.commission } else { Decimal::ZERO }
    }

    /// Takes the commission from where it was paid.
    fn take_commission(&mut self, fill: &Fill, price: Option<Decimal>) -> Fees {
        let commission = fill.commission;
        let fees = if fill.commission_asset == self.terms.quote_asset {
            self.cash -= commission;
            Fees { value: commission, on_top: commission }
        } else if fill.commission_asset == self.terms.base_asset {
            self.quantity -= commission;
            Fees { value: commission * fill.price, on_top: Decimal::ZERO }
        } else if let Some(price) = price {
            let value = commission * price;
            self.paid_outside += value;
            Fees { value, on_top: value }
        } else {
            if !commission.is_zero() {
                *self.unvalued.entry(fill.commission_asset.clone()).or_default() += commission;
            }
            Fees { value: Decimal::ZERO, on_top: Decimal::ZERO }
        };
        self.fees += fees.value;
        fees
    }
}

/// A fill's commission in quote currency, and the part of it that is paid besides the fill's own assets.
struct Fees {
    value: Decimal,
    on_top: Decimal,
}

impl Open {
    fn new(entry_ms: i64, dust: &Dust) -> Open {
        Open {
            entry_ms,
            exit_ms: entry_ms,
            reason: CloseReason::Foreign,
            bought: Decimal::ZERO,
            spent: Decimal::ZERO,
            acquired: dust.quantity,
            cost: dust.cost,
            sold: Decimal::ZERO,
            received: Decimal::ZERO,
            exit_fees: Decimal::ZERO,
            fees: Decimal::ZERO,
        }
    }

    /// The share of the costs that `quantity` bears.
    fn cost_of(&self, quantity: Decimal) -> Decimal {
        if quantity.is_zero() {
            return Decimal::ZERO;
        }
        quantity.checked_div(self.acquired).map_or(Decimal::ZERO, |share| self.cost * share)
    }
}
