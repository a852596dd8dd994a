//! Comparing what the journal knows with what the exchange says.
//!
//! One pass: all open orders; then, until nothing is unsettled, lookups of the orders that should be open and are not; then the
//! account's balances against an accepted beginning plus every fill and transfer since. Where balances differ, the fills of the
//! symbols concerned are fetched and the pass is repeated: an order can fill between two answers. What still differs after that
//! is explained by nothing, and the trader does not trade on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::client_id::{ClientId, Intent};
use crate::order::OrderReport;
use crate::symbol::Symbol;
use crate::venue::{Account, Answer, Balance, Response, VenueError};

use super::record::Record;
use super::request::Request;
use super::{Level, Purpose, Standing, Trader};

/// Passes before a difference counts.
const PASSES: u32 = 4;

/// Pause before a pass is repeated, ms.
const PAUSE_MS: i64 = 1_000;

/// Something that the journal does not explain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "difference", rename_all = "snake_case")]
pub enum Difference {
    /// An asset's balance.
    Balance {
        /// The asset.
        asset: String,
        /// What it must be by the journal.
        expected: Decimal,
        /// What the exchange says.
        found: Decimal,
    },
    /// An open order with this bot's id that the journal does not have.
    Order {
        /// The pair.
        symbol: Symbol,
        /// Its id.
        client_id: ClientId,
    },
    /// A pair of the journal that holds something and that the plan does not have.
    Unplanned {
        /// The pair.
        symbol: Symbol,
    },
    /// The account cannot trade.
    CannotTrade,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Balance { asset, expected, found } => {
                write!(f, "{asset}: the journal explains {expected}, the exchange has {found}")
            }
            Difference::Order { symbol, client_id } => {
                write!(f, "{symbol}: order {client_id} is open and not in the journal")
            }
            Difference::Unplanned { symbol } => {
                write!(f, "{symbol}: has a position or orders, and the configuration does not have the pair")
            }
            Difference::CannotTrade => f.write_str("the account is not allowed to trade"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Idle,
    /// Open orders are asked for.
    Orders,
    /// Orders in doubt are looked up.
    Settling,
    /// Balances are asked for.
    Balances,
    /// A pass is over and another is due.
    Pausing { until_ms: i64 },
}

/// Where the comparison stands.
#[derive(Debug, Default)]
pub(super) struct Reconcile {
    phase: Phase,
    is_wanted: bool,
    passes: u32,
    last_ms: Option<i64>,
    strays: BTreeMap<ClientId, Symbol>,
    found: Option<Account>,
}

impl Reconcile {
    /// A comparison is due now.
    pub(super) fn want(&mut self) {
        self.is_wanted = true;
    }

    /// When it needs the trader's attention.
    pub(super) fn due_ms(&self, trader: &Trader) -> Option<i64> {
        match self.phase {
            Phase::Pausing { until_ms } => Some(until_ms),
            Phase::Idle => self.last_ms.map(|last| last + trader.plan.reconcile_every_ms),
            Phase::Orders | Phase::Settling | Phase::Balances => None,
        }
    }

    /// When the last comparison that found nothing ended.
    pub(super) fn last_ms(&self) -> Option<i64> {
        self.last_ms
    }
}

impl Trader {
    /// When journal and exchange were last found equal.
    pub fn reconciled_ms(&self) -> Option<i64> {
        self.reconcile.last_ms()
    }

    /// Goes on with the comparison as far as it can now.
    pub(super) fn advance_reconcile(&mut self) {
        if !self.may_send() {
            self.reconcile.phase = Phase::Idle;
            return;
        }
        match self.reconcile.phase {
            Phase::Idle => {
                let every_ms = self.plan.reconcile_every_ms;
                let is_due = self.reconcile.last_ms.is_some_and(|last| self.now_ms - last >= every_ms);
                if self.is_user_connected && (self.reconcile.is_wanted || is_due) {
                    self.reconcile.is_wanted = false;
                    self.reconcile.passes = 0;
                    self.begin_pass();
                }
            }
            Phase::Pausing { until_ms } if self.now_ms >= until_ms => self.begin_pass(),
            Phase::Settling if self.state.tickets.unsettled().next().is_none() => {
                self.reconcile.phase = Phase::Balances;
                let fills_counted = self.state.fills_counted;
                self.send(None, Purpose::Account { fills_counted }, Request::account());
            }
            Phase::Pausing { .. } | Phase::Settling | Phase::Orders | Phase::Balances => {}
        }
    }

    fn begin_pass(&mut self) {
        self.reconcile.passes += 1;
        self.reconcile.strays.clear();
        self.reconcile.phase = Phase::Orders;
        self.send(None, Purpose::OpenOrders, Request::open_orders());
    }

    fn pause_pass(&mut self) {
        self.reconcile.phase = Phase::Pausing { until_ms: self.now_ms + PAUSE_MS };
    }

    pub(super) fn reconcile_answered(&mut self, purpose: &Purpose, answer: Answer) {
        match (purpose, answer) {
            (Purpose::OpenOrders, Ok(Response::Orders(reports))) => self.open_orders(reports),
            (Purpose::Account { fills_counted }, Ok(Response::Account(account))) => {
                if self.state.fills_counted == *fills_counted {
                    self.compare(account);
                } else {
                    // A fill was counted between question and answer: which of both the answer holds is not known.
                    self.reconcile.passes = self.reconcile.passes.saturating_sub(1);
                    self.pause_pass();
                }
            }
            (_, Err(VenueError::NotDone { retry_at_ms, .. })) => {
                let until_ms = retry_at_ms.max(self.now_ms + PAUSE_MS);
                self.reconcile.passes = self.reconcile.passes.saturating_sub(1);
                self.reconcile.phase = Phase::Pausing { until_ms };
            }
            (_, answer) => {
                if let Err(error) = answer {
                    self.notify(Level::Warning, None, format!("cannot compare with the exchange: {error}"));
                }
                self.reconcile.passes = self.reconcile.passes.saturating_sub(1);
                self.pause_pass();
            }
        }
    }

    fn open_orders(&mut self, reports: Vec<OrderReport>) {
        let mut open = BTreeSet::new();
        for report in reports {
            if self.state.tickets.contains(&report.client_id) {
                open.insert(report.client_id.clone());
                self.report(report);
            } else if report.client_id.is_of(&self.plan.bot) {
                self.reconcile.strays.insert(report.client_id, report.symbol);
            }
        }
        let missing: Vec<ClientId> = self
            .state
            .tickets
            .iter()
            .filter(|(client_id, ticket)| ticket.is_open() && !open.contains(*client_id))
            .map(|(client_id, _)| client_id.clone())
            .collect();
        if !missing.is_empty() {
            self.doubt(&missing, self.now_ms, "not among the open orders");
        }
        let sent_long_ago: Vec<ClientId> = self.forgotten();
        if !sent_long_ago.is_empty() {
            self.doubt(&sent_long_ago, self.now_ms + self.plan.settle_ms, "sent before this program started");
        }
        self.reconcile.phase = Phase::Settling;
    }

    /// Orders that the journal says were sent and whose answer nobody waits for: of a run that ended in between.
    fn forgotten(&self) -> Vec<ClientId> {
        let awaited: BTreeSet<&ClientId> = self
            .sent
            .values()
            .filter_map(|sent| match &sent.purpose {
                Purpose::Place { client_ids, .. } => Some(client_ids),
                _ => None,
            })
            .flatten()
            .collect();
        self.state
            .tickets
            .iter()
            .filter(|(client_id, ticket)| ticket.stage == super::Stage::Sent && !awaited.contains(client_id))
            .map(|(client_id, _)| client_id.clone())
            .collect()
    }

    fn compare(&mut self, account: Account) {
        let mut differences = self.differences(&account);
        let is_last = self.reconcile.passes >= PASSES;
        if is_last && !differences.is_empty() && differences.iter().all(|found| self.is_accepted(found)) {
            self.take_over(&account, &differences);
            differences.clear();
        }
        if differences.is_empty() {
            self.begin_balances(&account);
        }
        self.reconcile.found = Some(account);
        if !differences.is_empty() && !is_last {
            self.fetch_fills(&differences);
            self.pause_pass();
            return;
        }
        self.reconcile.phase = Phase::Idle;
        self.reconcile.last_ms = Some(self.now_ms);
        if !differences.is_empty() {
            self.stand(Standing::Refused { differences });
        } else if matches!(self.standing, Standing::Starting | Standing::Refused { .. }) {
            let standing = self.ready_standing();
            self.stand(standing);
            self.decide_missed_exits();
        }
    }

    /// Balances of the assets that have no beginning yet: what the exchange says, once nothing else differs.
    fn begin_balances(&mut self, account: &Account) {
        let assets = self.state.assets();
        let new = assets.iter().filter(|asset| !self.state.expected.contains_key(**asset));
        let balances: Vec<Balance> = new.map(|asset| balance(account, asset)).collect();
        if !balances.is_empty() {
            self.record(Record::Baseline { balances, at_ms: self.now_ms });
        }
    }

    /// Whether the configuration says that such a difference is no reason to stop.
    fn is_accepted(&self, difference: &Difference) -> bool {
        match difference {
            Difference::Balance { asset, expected, found } => {
                let up_to = self.plan.accepted_differences.get(asset);
                up_to.is_some_and(|up_to| (*expected - *found).abs() <= *up_to)
            }
            Difference::Order { .. } | Difference::Unplanned { .. } | Difference::CannotTrade => false,
        }
    }

    fn take_over(&mut self, account: &Account, differences: &[Difference]) {
        let mut balances = Vec::new();
        for difference in differences {
            if let Difference::Balance { asset, .. } = difference {
                balances.push(balance(account, asset));
                self.notify(Level::Warning, None, format!("taken over as configured: {difference}"));
            }
        }
        self.record(Record::Baseline { balances, at_ms: self.now_ms });
    }

    /// What the journal does not explain, of the assets that the bot moves.
    fn differences(&self, account: &Account) -> Vec<Difference> {
        let assets = self.state.assets();
        let known = assets.iter().filter_map(|asset| Some((*asset, *self.state.expected.get(*asset)?)));
        let compared = known.map(|(asset, expected)| (asset, expected, total(account, asset)));
        let balances =
            compared.filter(|(_, expected, found)| expected != found).map(|(asset, expected, found)| {
                Difference::Balance {
                    asset: asset.to_owned(),
                    expected: expected.normalize(),
                    found: found.normalize(),
                }
            });
        let strays = self.reconcile.strays.iter().map(|(client_id, symbol)| Difference::Order {
            symbol: symbol.clone(),
            client_id: client_id.clone(),
        });
        let unplanned = self.unplanned().map(|symbol| Difference::Unplanned { symbol: symbol.clone() });
        let status = (!account.can_trade).then_some(Difference::CannotTrade);
        balances.chain(strays).chain(unplanned).chain(status).collect()
    }

    /// Asks for the fills of every symbol that trades an asset whose balance differs, from the first one on that any of its
    /// orders can have.
    fn fetch_fills(&mut self, differences: &[Difference]) {
        let differing: BTreeSet<&str> = differences
            .iter()
            .filter_map(|difference| match difference {
                Difference::Balance { asset, .. } => Some(asset.as_str()),
                _ => None,
            })
            .collect();
        let is_commission = differing.iter().any(|asset| self.state.commission_assets.contains(*asset));
        let with_orders: Vec<Symbol> = self.state.tickets.symbols().cloned().collect();
        for symbol in with_orders {
            let is_concerned = self.state.terms(&symbol).is_some_and(|terms| {
                differing.contains(terms.base_asset.as_str())
                    || differing.contains(terms.quote_asset.as_str())
            });
            if !is_concerned && !is_commission {
                continue;
            }
            let tickets = || self.state.tickets.of(&symbol).map(|(_, ticket)| ticket);
            let from_id = tickets().map(|ticket| ticket.after_trade_id.map(|last| last + 1)).min().flatten();
            let from_ms = tickets().map(|ticket| ticket.sent_ms).min().unwrap_or(self.now_ms) - 1_000;
            let request = Request::fills(&symbol, from_id, from_ms);
            self.send(Some(&symbol), Purpose::Fills { from: None }, request);
        }
    }

    /// Makes the exchange's last word the new beginning, and cancels orders that nobody remembers.
    pub(super) fn accept_differences(&mut self) {
        let Some(account) = self.reconcile.found.clone() else {
            self.reconcile.want();
            return;
        };
        let balances = self.state.assets().iter().map(|asset| balance(&account, asset)).collect();
        self.record(Record::Baseline { balances, at_ms: self.now_ms });
        for (client_id, symbol) in std::mem::take(&mut self.reconcile.strays) {
            let bar_open_ms = self.plan.interval.floor(self.now_ms);
            let cancel_id = ClientId::new(&self.plan.bot, &symbol, bar_open_ms, Intent::Cancel, u16::MAX);
            let request = Request::cancel(&symbol, client_id, cancel_id);
            self.send(Some(&symbol), Purpose::Cancel { targets: Vec::new() }, request);
        }
        self.notify(Level::Warning, None, "an operator accepted the exchange's balances".to_owned());
        self.reconcile.want();
    }
}

/// An asset's balance; an account does not name the ones that are 0.
fn balance(account: &Account, asset: &str) -> Balance {
    let held = account.balances.iter().find(|balance| balance.asset == asset).cloned();
    held.unwrap_or_else(|| Balance { asset: asset.to_owned(), free: Decimal::ZERO, locked: Decimal::ZERO })
}

fn total(account: &Account, asset: &str) -> Decimal {
    let held = balance(account, asset);
    held.free + held.locked
}
