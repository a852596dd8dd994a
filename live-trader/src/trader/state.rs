//! What the trader knows: the journal's records, applied one after another.

use std::collections::{BTreeMap, BTreeSet};

use polybolos_engine::interval::Interval;
use polybolos_engine::signals::{Bar, Decision};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::client_id::{ClientId, Intent};
use crate::decimals::decimal;
use crate::ledger::{Booking, CloseReason, Ledger, LedgerError, LiveTrade, Position, Terms};
use crate::order::{Fill, NewList, NewOrder, OrderReport, OrderSide, Quantity};
use crate::risk::GateState;
use crate::symbol::Symbol;
use crate::venue::Balance;

use super::record::{CommissionPrices, Goal, Record};
use super::ticket::{Stage, Ticket};
use super::tickets::Tickets;

/// What the strategy must know of a position besides what the ledger knows. Empty while there is none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Holding {
    /// Open time of the bar in which the first unit was bought.
    pub entry_bar_open_ms: Option<i64>,
    /// Highest high of the bars held so far.
    pub best_high: Option<f64>,
    /// Bars held so far.
    pub bars_held: u64,
}

impl Holding {
    /// Whether anything was bought since the last position ended.
    pub fn is_entered(&self) -> bool {
        self.entry_bar_open_ms.is_some()
    }
}

/// What is known of one symbol, its money excepted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SymbolState {
    /// What is wanted.
    pub goal: Goal,
    /// What the strategy must know of the position.
    pub holding: Holding,
    /// The newest closed bar.
    pub last_bar: Option<Bar>,
    /// What the strategy said at its close.
    pub last_wanted: Decision,
    /// Whether that close was acted on.
    pub last_is_live: bool,
    /// Open time of the bar in which the last position ended.
    pub exit_bar_open_ms: Option<i64>,
    /// Bars closed after that one.
    pub bars_since_exit: u64,
    /// How the last position ended.
    pub last_exit: Option<CloseReason>,
    /// Cancels asked for; numbers their ids.
    pub cancels: u16,
}

/// A pair that the bot trades.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Quote units that it was given.
    pub cash: Decimal,
    /// Whether it leaves once it holds nothing.
    pub is_retiring: bool,
}

/// Everything that survives a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Length of the bars, ms.
    pub interval_ms: i64,
    /// The pairs of the bot.
    pub members: BTreeMap<Symbol, Member>,
    /// Orders of ours: those that are not settled, and those of recent bars.
    pub tickets: Tickets,
    /// What is known of the pairs.
    pub symbols: BTreeMap<Symbol, SymbolState>,
    /// What they hold and have earned.
    pub ledger: Ledger,
    /// Stops, locks and counted orders.
    pub gate: GateState,
    /// Balances by asset as they must be: an accepted beginning and everything that our fills and transfers did to it since.
    pub expected: BTreeMap<String, Decimal>,
    /// Third assets that commissions were paid in.
    pub commission_assets: BTreeSet<String>,
    /// Fills counted so far.
    pub fills_counted: u64,
    /// Open time of the newest bar whose close all pairs were marked at.
    pub marked_ms: Option<i64>,
    /// Why an operator has paused the bot.
    pub pause: Option<String>,
    /// Why the kill switch is set.
    pub kill: Option<String>,
}

/// What a record did besides what it says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Applied {
    /// Trades that it closed.
    pub closed: Vec<LiveTrade>,
    /// What the ledger did not take.
    pub refused: Vec<LedgerError>,
}

impl State {
    /// Nothing known, for bars of this length.
    pub fn new(interval: Interval) -> State {
        State {
            interval_ms: interval.ms(),
            members: BTreeMap::new(),
            tickets: Tickets::default(),
            symbols: BTreeMap::new(),
            ledger: Ledger::new(interval.ms()),
            gate: GateState::default(),
            expected: BTreeMap::new(),
            commission_assets: BTreeSet::new(),
            fills_counted: 0,
            marked_ms: None,
            pause: None,
            kill: None,
        }
    }

    /// What a journal says, for bars of this length.
    pub fn from_records<'a>(interval: Interval, records: impl IntoIterator<Item = &'a Record>) -> State {
        let mut state = State::new(interval);
        for record in records {
            state.apply(record);
        }
        state
    }

    /// What is known of `symbol`.
    pub fn symbol(&self, symbol: &Symbol) -> SymbolState {
        self.symbols.get(symbol).cloned().unwrap_or_default()
    }

    /// Base units held of `symbol`, dust of earlier trades included.
    pub fn quantity(&self, symbol: &Symbol) -> Decimal {
        self.ledger.account(symbol).map_or(Decimal::ZERO, |account| account.quantity())
    }

    /// The open position in `symbol`.
    pub fn position(&self, symbol: &Symbol) -> Option<Position> {
        self.ledger.account(symbol)?.position()
    }

    /// Base and quote asset of a pair.
    pub fn terms(&self, symbol: &Symbol) -> Option<&Terms> {
        self.ledger.account(symbol).map(|account| account.terms())
    }

    /// Assets whose balances the bot moves: those of its pairs, and those that commissions were paid in.
    pub fn assets(&self) -> BTreeSet<&str> {
        let terms = self.members.keys().filter_map(|symbol| self.terms(symbol));
        let pairs = terms.flat_map(|terms| [terms.base_asset.as_str(), terms.quote_asset.as_str()]);
        pairs.chain(self.commission_assets.iter().map(String::as_str)).collect()
    }

    /// Orders of `symbol` that are open or unsettled.
    pub fn live_tickets(&self, symbol: &Symbol) -> impl Iterator<Item = (&ClientId, &Ticket)> {
        self.tickets.of(symbol).filter(|(_, ticket)| ticket.is_live())
    }

    /// Takes in a fact. The same facts in the same order give the same state, whether they become known or are read.
    pub fn apply(&mut self, record: &Record) -> Applied {
        let mut applied = Applied::default();
        match record {
            Record::Baseline { balances, .. } => self.begin_balances(balances),
            Record::Transfer { asset, delta, .. } => self.expect(asset, *delta),
            Record::Admitted { symbol, terms, cash, at_ms } => self.admit(symbol, terms, *cash, *at_ms),
            Record::Retired { symbol, .. } => {
                if let Some(member) = self.members.get_mut(symbol) {
                    member.is_retiring = true;
                }
            }
            Record::Left { symbol, at_ms } => self.leave(symbol, *at_ms),
            Record::Bar { symbol, bar, wanted, is_live, .. } => self.bar(symbol, bar, *wanted, *is_live),
            Record::Mark { bar_open_ms, .. } => self.mark(*bar_open_ms, &mut applied),
            Record::Goal { symbol, goal, at_ms } => self.goal(symbol, *goal, *at_ms, &mut applied),
            Record::Order { order, intent, reason, bar_open_ms, at_ms } => {
                self.gate.count(1, *at_ms);
                let sent = Sent { list_id: None, bar_open_ms: *bar_open_ms, at_ms: *at_ms };
                self.open_ticket(order, *intent, *reason, sent);
            }
            Record::List { list, stop_reason, bar_open_ms, at_ms } => {
                self.gate.count(u32::try_from(list.client_ids().len()).unwrap_or(u32::MAX), *at_ms);
                self.open_list(list, *stop_reason, *bar_open_ms, *at_ms);
            }
            Record::Cancel { symbol, .. } => {
                let state = self.symbols.entry(symbol.clone()).or_default();
                state.cancels = state.cancels.wrapping_add(1);
            }
            Record::Report { report, prices, .. } => self.report(report, prices, &mut applied),
            Record::Fills { symbol, fills, prices, .. } => {
                fills.iter().for_each(|fill| self.fill(symbol, fill, prices, &mut applied));
            }
            Record::CommissionPrice { symbol, asset, price, .. } => {
                let valued = self.ledger.value_commissions(symbol, asset, *price);
                applied.refused.extend(valued.err());
            }
            Record::Doubt { client_ids, settles_at_ms, .. } => {
                self.set_stage(client_ids, Stage::InDoubt { settles_at_ms: *settles_at_ms });
            }
            Record::Absent { client_ids, .. } => self.set_stage(client_ids, Stage::Absent),
            Record::Stop { stop, .. } => self.gate.stop(stop.clone()),
            Record::Lock { lock, at_ms } => self.gate.lock(lock.clone(), *at_ms),
            Record::Resumed { .. } => {
                self.gate.resume();
                self.ledger.reset_peak();
            }
            Record::Paused { reason, .. } => self.pause.clone_from(reason),
            Record::Killed { reason, .. } => self.kill.clone_from(reason),
            Record::NoEntry { .. } | Record::Standing { .. } => {}
            Record::Checkpoint { state } => *self = (**state).clone(),
        }
        applied
    }

    fn begin_balances(&mut self, balances: &[Balance]) {
        for held in balances {
            self.expected.insert(held.asset.clone(), held.free + held.locked);
        }
    }

    fn admit(&mut self, symbol: &Symbol, terms: &Terms, cash: Decimal, at_ms: i64) {
        // What happened to an asset while nobody looked is not known: it is compared anew.
        let is_watched = |state: &State, asset: &String| state.assets().contains(asset.as_str());
        for asset in [&terms.base_asset, &terms.quote_asset] {
            if !is_watched(self, asset) {
                self.expected.remove(asset);
            }
        }
        self.ledger.allocate(symbol, terms.clone(), cash, at_ms);
        let member =
            self.members.entry(symbol.clone()).or_insert(Member { cash: Decimal::ZERO, is_retiring: false });
        member.cash += cash;
        member.is_retiring = false;
    }

    fn leave(&mut self, symbol: &Symbol, at_ms: i64) {
        self.members.remove(symbol);
        self.symbols.remove(symbol);
        if let Some(account) = self.ledger.account(symbol) {
            let (terms, left) = (account.terms().clone(), account.free_cash());
            self.ledger.allocate(symbol, terms, -left, at_ms);
        }
    }

    fn mark(&mut self, bar_open_ms: i64, applied: &mut Applied) {
        self.marked_ms = Some(bar_open_ms);
        let close = |symbol: &Symbol| decimal(self.symbols.get(symbol)?.last_bar.as_ref()?.close);
        let closes: Vec<(Symbol, Decimal)> = self
            .members
            .keys()
            .filter_map(|symbol| close(symbol).map(|price| (symbol.clone(), price)))
            .collect();
        // The last moment of the bar: a close at midnight is the day's that ends there.
        applied.refused.extend(self.ledger.mark(&closes, bar_open_ms + self.interval_ms - 1).err());
    }

    fn goal(&mut self, symbol: &Symbol, goal: Goal, at_ms: i64, applied: &mut Applied) {
        let state = self.symbols.entry(symbol.clone()).or_default();
        state.goal = goal;
        if goal != Goal::Flat {
            return;
        }
        state.holding = Holding::default();
        // What is left is too little to sell: it stays in the books and the trade is over.
        let reason = state.last_exit.unwrap_or(CloseReason::Foreign);
        match self.ledger.write_off(symbol, at_ms, reason) {
            Ok(closed) => applied.closed.extend(closed),
            Err(error) => applied.refused.push(error),
        }
    }

    fn set_stage(&mut self, client_ids: &[ClientId], stage: Stage) {
        for client_id in client_ids {
            self.tickets.change(client_id, |ticket| {
                if !matches!(ticket.stage, Stage::Final { .. }) {
                    ticket.stage = stage;
                }
            });
        }
    }

    fn bar(&mut self, symbol: &Symbol, bar: &Bar, wanted: Decision, is_live: bool) {
        let state = self.symbols.entry(symbol.clone()).or_default();
        if let Some(entry) = state.holding.entry_bar_open_ms
            && bar.open_time_ms >= entry
        {
            state.holding.bars_held += 1;
            let best = state.holding.best_high.unwrap_or(bar.high);
            state.holding.best_high = Some(best.max(bar.high));
        }
        if state.exit_bar_open_ms.is_some_and(|exit| bar.open_time_ms > exit) {
            state.bars_since_exit += 1;
        }
        state.last_bar = Some(*bar);
        state.last_wanted = wanted;
        state.last_is_live = is_live;
        state.cancels = 0;
        let keep_from_ms = bar.open_time_ms;
        self.tickets.retain_of(symbol, |ticket| ticket.is_live() || ticket.bar_open_ms >= keep_from_ms);
    }

    fn open_list(&mut self, list: &NewList, stop_reason: Option<CloseReason>, bar_open_ms: i64, at_ms: i64) {
        let sent = Sent { list_id: Some(list.list_id()), bar_open_ms, at_ms };
        let reason = |intent| if intent == Intent::Target { Some(CloseReason::Target) } else { stop_reason };
        let intent_of = |client_id: &ClientId| client_id.intent().unwrap_or(Intent::Stop);
        let bracket = match list {
            NewList::Oto { working, pending, .. } => {
                self.open_ticket(working, Intent::Entry, None, sent);
                let intent = intent_of(&pending.client_id);
                self.open_ticket(pending, intent, reason(intent), sent);
                return;
            }
            NewList::Otoco { working, bracket, .. } => {
                self.open_ticket(working, Intent::Entry, None, sent);
                bracket
            }
            NewList::Oco { bracket, .. } => bracket,
        };
        for leg in [&bracket.above, &bracket.below] {
            let order = NewOrder {
                symbol: list.symbol().clone(),
                client_id: leg.client_id.clone(),
                side: bracket.side,
                kind: leg.kind,
                quantity: Quantity::Base(bracket.quantity),
            };
            let intent = intent_of(&leg.client_id);
            self.open_ticket(&order, intent, reason(intent), sent);
        }
    }

    fn open_ticket(&mut self, order: &NewOrder, intent: Intent, reason: Option<CloseReason>, sent: Sent<'_>) {
        let quantity = match order.quantity {
            Quantity::Base(quantity) => quantity,
            Quantity::Quote(_) => Decimal::ZERO,
        };
        let account = self.ledger.account(&order.symbol);
        let ticket = Ticket {
            symbol: order.symbol.clone(),
            intent,
            list_id: sent.list_id.cloned(),
            bar_open_ms: sent.bar_open_ms,
            side: order.side,
            reason,
            after_trade_id: account.and_then(|account| account.last_trade_id()),
            kind: order.kind,
            quantity,
            sent_ms: sent.at_ms,
            order_id: None,
            executed: Decimal::ZERO,
            filled: Decimal::ZERO,
            stage: Stage::Sent,
        };
        self.tickets.insert(order.client_id.clone(), ticket);
    }

    fn report(&mut self, report: &OrderReport, prices: &CommissionPrices, applied: &mut Applied) {
        let updated = self.tickets.change(&report.client_id, |ticket| {
            ticket.update(report);
            ticket.symbol.clone()
        });
        let Some(symbol) = updated else {
            return;
        };
        for fill in &report.fills {
            self.fill(&symbol, fill, prices, applied);
        }
    }

    /// Counts a fill of an order of ours, once.
    fn fill(&mut self, symbol: &Symbol, fill: &Fill, prices: &CommissionPrices, applied: &mut Applied) {
        let of_order = |(_, ticket): &(&ClientId, &Ticket)| ticket.order_id == Some(fill.order_id);
        let Some((client_id, ticket)) = self.tickets.of(symbol).find(of_order) else {
            return;
        };
        let (client_id, side, reason) = (client_id.clone(), ticket.side, ticket.reason);
        let booking = Booking {
            symbol,
            side,
            fill,
            reason: reason.unwrap_or(CloseReason::Foreign),
            commission_price: prices.get(&fill.commission_asset).copied(),
        };
        match self.ledger.book(&booking) {
            Ok(booked) if booked.is_new => applied.closed.extend(booked.closed),
            Ok(_) => return,
            Err(error) => return applied.refused.push(error),
        }
        self.tickets.change(&client_id, |ticket| {
            ticket.filled += fill.quantity;
            ticket.executed = ticket.executed.max(ticket.filled);
        });
        self.fills_counted += 1;
        self.move_balances(symbol, side, fill);
        let interval = Interval::from_ms(self.interval_ms);
        let bar_open_ms = interval.map_or(fill.time_ms, |interval| interval.floor(fill.time_ms));
        let state = self.symbols.entry(symbol.clone()).or_default();
        match side {
            OrderSide::Buy => bought(state, bar_open_ms, self.interval_ms),
            OrderSide::Sell => sold(state, bar_open_ms, self.interval_ms, reason),
        }
    }

    fn move_balances(&mut self, symbol: &Symbol, side: OrderSide, fill: &Fill) {
        let Some(Terms { base_asset, quote_asset, .. }) = self.terms(symbol).cloned() else {
            return;
        };
        let notional = fill.notional();
        let (base_delta, quote_delta) = match side {
            OrderSide::Buy => (fill.quantity, -notional),
            OrderSide::Sell => (-fill.quantity, notional),
        };
        self.expect(&base_asset, base_delta);
        self.expect(&quote_asset, quote_delta);
        self.expect(&fill.commission_asset, -fill.commission);
        let is_third = fill.commission_asset != base_asset && fill.commission_asset != quote_asset;
        if is_third && !fill.commission.is_zero() {
            let is_new = !self.assets().contains(fill.commission_asset.as_str());
            if is_new {
                // Nobody looked after it before: it is compared from the next reconciliation on.
                self.expected.remove(&fill.commission_asset);
                self.commission_assets.insert(fill.commission_asset.clone());
            }
        }
    }

    /// Moves a balance that has a beginning; one without has none to move.
    fn expect(&mut self, asset: &str, delta: Decimal) {
        if let Some(expected) = self.expected.get_mut(asset) {
            *expected += delta;
        }
    }
}

/// How an order was sent.
#[derive(Clone, Copy)]
struct Sent<'a> {
    list_id: Option<&'a ClientId>,
    bar_open_ms: i64,
    at_ms: i64,
}

fn bought(state: &mut SymbolState, bar_open_ms: i64, interval_ms: i64) {
    let holding = &mut state.holding;
    if holding.entry_bar_open_ms.is_some() {
        return;
    }
    holding.entry_bar_open_ms = Some(bar_open_ms);
    // A fill that is learnt of late was held through bars that have closed meanwhile.
    if let Some(last) = &state.last_bar
        && last.open_time_ms >= bar_open_ms
        && interval_ms > 0
    {
        holding.bars_held = ((last.open_time_ms - bar_open_ms) / interval_ms + 1).unsigned_abs();
        holding.best_high = Some(last.high);
    }
}

fn sold(state: &mut SymbolState, bar_open_ms: i64, interval_ms: i64, reason: Option<CloseReason>) {
    state.exit_bar_open_ms = Some(bar_open_ms);
    let missed_ms = state.last_bar.as_ref().map_or(0, |bar| bar.open_time_ms - bar_open_ms).max(0);
    state.bars_since_exit = missed_ms.checked_div(interval_ms).unwrap_or(0).unsigned_abs();
    state.last_exit = reason.or(state.last_exit);
}
