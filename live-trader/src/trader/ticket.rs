//! What is known of an order of ours, from the decision to place it to its end.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::client_id::{ClientId, Intent};
use crate::ledger::CloseReason;
use crate::order::{OrderKind, OrderReport, OrderSide, OrderStatus};
use crate::symbol::Symbol;

/// Where an order stands, as far as this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// Written to the journal; its answer is awaited. Found in a journal after a crash it is in doubt.
    Sent,
    /// Nobody knows whether it is there, or how far it got. It is looked up until somebody does.
    InDoubt {
        /// Exchange time after which a request that has not taken effect cannot any more.
        settles_at_ms: i64,
    },
    /// The exchange has it, and it is not final.
    Open {
        /// What the exchange calls its state.
        status: OrderStatus,
    },
    /// Nothing more will happen to it.
    Final {
        /// How it ended.
        status: OrderStatus,
    },
    /// It is known that the exchange never took it.
    Absent,
}

/// An order of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The pair.
    pub symbol: Symbol,
    /// What it is for.
    pub intent: Intent,
    /// The list it was placed with.
    pub list_id: Option<ClientId>,
    /// Open time of the bar at whose close it was wanted.
    pub bar_open_ms: i64,
    /// Direction.
    pub side: OrderSide,
    /// Why it sells; `None` of a purchase.
    pub reason: Option<CloseReason>,
    /// The newest trade id of the pair when it was sent: all of its fills have higher ones.
    pub after_trade_id: Option<i64>,
    /// Type and prices.
    pub kind: OrderKind,
    /// Base units asked for; for an order sized in quote currency 0 until the exchange says more.
    pub quantity: Decimal,
    /// Exchange time at which it was sent.
    pub sent_ms: i64,
    /// The exchange's number, once it has one.
    pub order_id: Option<i64>,
    /// Base units filled, by the exchange's own count.
    pub executed: Decimal,
    /// Base units of the fills seen one by one.
    pub filled: Decimal,
    /// Where it stands.
    pub stage: Stage,
}

impl Ticket {
    /// Whether its answer or its fate is not known, or fills of it have not been seen: nothing else is done for the symbol
    /// until they are.
    pub fn is_unsettled(&self) -> bool {
        matches!(self.stage, Stage::Sent | Stage::InDoubt { .. }) || self.filled < self.executed
    }

    /// Whether the exchange has it open.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open { .. })
    }

    /// Whether it may still change anything: open, or unsettled.
    pub fn is_live(&self) -> bool {
        self.is_open() || self.is_unsettled()
    }

    /// Base units that it still holds back at the exchange.
    pub fn remaining(&self) -> Decimal {
        (self.quantity - self.executed).max(Decimal::ZERO)
    }

    /// Takes in what the exchange says. Reports come doubled and out of order: executed quantity only rises, and what is
    /// final stays final.
    pub(super) fn update(&mut self, report: &OrderReport) {
        self.order_id = Some(report.order_id);
        self.executed = self.executed.max(report.executed_quantity);
        if report.original_quantity > Decimal::ZERO {
            self.quantity = report.original_quantity;
        }
        let is_stale = matches!(self.stage, Stage::Final { .. }) || report.executed_quantity < self.executed;
        if report.status.is_final() {
            self.stage = Stage::Final { status: report.status };
        } else if !is_stale {
            self.stage = Stage::Open { status: report.status };
        }
    }
}
