//! Orders as an exchange sees them: requests, states, fills. Money is [`Decimal`]; an `f64` never reaches a request.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use crate::client_id::ClientId;
use crate::symbol::Symbol;

/// Direction of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OrderSide {
    /// Base asset for quote asset.
    Buy,
    /// Quote asset for base asset.
    Sell,
}

/// How long a limit order waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TimeInForce {
    /// Until it is cancelled.
    Gtc,
    /// What fills at once fills, the rest expires.
    Ioc,
    /// All at once or nothing.
    Fok,
}

/// Type of an order with the prices that type needs, in quote currency per base unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "`price` and `stop_price` are what their names say in every type")]
pub enum OrderKind {
    /// At the market; what finds no counterpart expires.
    Market,
    /// At `price` or better.
    Limit { price: Decimal, time_in_force: TimeInForce },
    /// At `price` or better, refused if it would match at once.
    LimitMaker { price: Decimal },
    /// A market order once the last price reaches `stop_price` from the losing side.
    StopLoss { stop_price: Decimal },
    /// A limit order once the last price reaches `stop_price` from the losing side.
    StopLossLimit { stop_price: Decimal, price: Decimal, time_in_force: TimeInForce },
    /// A market order once the last price reaches `stop_price` from the winning side.
    TakeProfit { stop_price: Decimal },
    /// A limit order once the last price reaches `stop_price` from the winning side.
    TakeProfitLimit { stop_price: Decimal, price: Decimal, time_in_force: TimeInForce },
}

impl OrderKind {
    /// The limit price, of types that have one.
    pub fn price(&self) -> Option<Decimal> {
        match *self {
            OrderKind::Limit { price, .. }
            | OrderKind::LimitMaker { price }
            | OrderKind::StopLossLimit { price, .. }
            | OrderKind::TakeProfitLimit { price, .. } => Some(price),
            OrderKind::Market | OrderKind::StopLoss { .. } | OrderKind::TakeProfit { .. } => None,
        }
    }

    /// The trigger price, of types that have one.
    pub fn stop_price(&self) -> Option<Decimal> {
        match *self {
            OrderKind::StopLoss { stop_price }
            | OrderKind::StopLossLimit { stop_price, .. }
            | OrderKind::TakeProfit { stop_price }
            | OrderKind::TakeProfitLimit { stop_price, .. } => Some(stop_price),
            OrderKind::Market | OrderKind::Limit { .. } | OrderKind::LimitMaker { .. } => None,
        }
    }
}

/// How much a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Base units.
    Base(Decimal),
    /// Quote units to spend or to receive; market orders only.
    Quote(Decimal),
}

/// A single order to be placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are their types")]
pub struct NewOrder {
    pub symbol: Symbol,
    pub client_id: ClientId,
    pub side: OrderSide,
    pub kind: OrderKind,
    pub quantity: Quantity,
}

/// One leg of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are their types")]
pub struct Leg {
    pub client_id: ClientId,
    pub kind: OrderKind,
}

/// A pair of legs of which one cancels the other. For a SELL `above` is the target (`LimitMaker` or a take profit) and
/// `below` the stop; for a BUY the other way round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are their types")]
pub struct Bracket {
    pub side: OrderSide,
    /// Base units, of both legs.
    pub quantity: Decimal,
    pub above: Leg,
    pub below: Leg,
}

/// Orders that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "contingency", rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the fields are their types")]
pub enum NewList {
    /// Two legs; one cancels the other.
    Oco { symbol: Symbol, list_id: ClientId, bracket: Bracket },
    /// An order that, once wholly filled, brings another one live.
    Oto { symbol: Symbol, list_id: ClientId, working: NewOrder, pending: NewOrder },
    /// An order that, once wholly filled, brings a bracket live.
    Otoco { symbol: Symbol, list_id: ClientId, working: NewOrder, bracket: Bracket },
}

impl NewList {
    /// The pair it trades.
    pub fn symbol(&self) -> &Symbol {
        match self {
            NewList::Oco { symbol, .. } | NewList::Oto { symbol, .. } | NewList::Otoco { symbol, .. } => {
                symbol
            }
        }
    }

    /// Its own id.
    pub fn list_id(&self) -> &ClientId {
        match self {
            NewList::Oco { list_id, .. } | NewList::Oto { list_id, .. } | NewList::Otoco { list_id, .. } => {
                list_id
            }
        }
    }

    /// The ids of its orders, the working one first.
    pub fn client_ids(&self) -> Vec<ClientId> {
        match self {
            NewList::Oco { bracket, .. } => {
                vec![bracket.above.client_id.clone(), bracket.below.client_id.clone()]
            }
            NewList::Oto { working, pending, .. } => {
                vec![working.client_id.clone(), pending.client_id.clone()]
            }
            NewList::Otoco { working, bracket, .. } => vec![
                working.client_id.clone(),
                bracket.above.client_id.clone(),
                bracket.below.client_id.clone(),
            ],
        }
    }
}

/// Where an order stands at the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// On the book, nothing filled.
    New,
    /// Waits for the working order of its list.
    PendingNew,
    /// On the book, partly filled.
    PartiallyFilled,
    /// Wholly filled.
    Filled,
    /// Cancelled by somebody; it may have fills.
    Canceled,
    /// Cancelled soon; the exchange documents it and does not use it.
    PendingCancel,
    /// Refused by the matching engine.
    Rejected,
    /// Ended by its own rules or by the exchange; it may have fills.
    Expired,
    /// Ended by self-trade prevention; it may have fills.
    ExpiredInMatch,
    /// A status that this program does not know. Never final, never an error: it is asked for again.
    #[serde(other)]
    Unknown,
}

impl OrderStatus {
    /// Whether nothing more will happen to the order.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            OrderStatus::Filled
                | OrderStatus::Canceled
                | OrderStatus::Rejected
                | OrderStatus::Expired
                | OrderStatus::ExpiredInMatch
        )
    }
}

/// Decimals of every balance, as the exchange keeps them: what a fill pays in quote currency is cut off after them.
pub const BALANCE_DECIMALS: u32 = 8;

impl Fill {
    /// Quote units that changed hands: price times quantity, as the exchange's books have it. 0 for a product beyond any decimal.
    pub fn notional(&self) -> Decimal {
        let exact = self.price.checked_mul(self.quantity).unwrap_or_default();
        exact.round_dp_with_strategy(BALANCE_DECIMALS, RoundingStrategy::ToZero)
    }
}

/// One fill of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// Unique per symbol, rising: the key by which doubled reports are told.
    pub trade_id: i64,
    /// The exchange's number of the order.
    pub order_id: i64,
    /// Quote currency per base unit.
    pub price: Decimal,
    /// Base units.
    pub quantity: Decimal,
    /// What was charged, in `commission_asset`.
    pub commission: Decimal,
    /// Base, quote, or a third asset (BNB).
    pub commission_asset: String,
    /// Whether the order was on the book before.
    pub is_maker: bool,
    /// Exchange time of the fill.
    pub time_ms: i64,
}

/// All that an exchange says of one order at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderReport {
    /// The pair.
    pub symbol: Symbol,
    /// The order's own id; in a report about a cancel still the cancelled order's.
    pub client_id: ClientId,
    /// The exchange's number.
    pub order_id: i64,
    /// The exchange's number of the list it belongs to.
    pub list_id: Option<i64>,
    /// Direction.
    pub side: OrderSide,
    /// Type and prices.
    pub kind: OrderKind,
    /// Base units asked for; 0 while an order by quote amount has no fills.
    pub original_quantity: Decimal,
    /// Base units filled so far.
    pub executed_quantity: Decimal,
    /// Quote units filled so far; `None` where the exchange does not say.
    pub executed_quote: Option<Decimal>,
    /// Status.
    pub status: OrderStatus,
    /// Exchange time of the newest change.
    pub update_ms: i64,
    /// Fills the answer carries: all of them for an answer to a placement, the newest one for an execution event, none for a
    /// query. Merge by trade id.
    pub fills: Vec<Fill>,
    /// Why it ended, in the exchange's word, where it gives one.
    pub reason: Option<String>,
}
