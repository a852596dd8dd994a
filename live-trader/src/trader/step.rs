//! One step of a symbol from what is known towards what is wanted.
//!
//! A step is taken only when nothing of the symbol is unsettled and nothing is under way, so every decision here rests on
//! facts. At most one command is sent; its answer brings the next step.

use polybolos_engine::kernels::sim::{ExitReason, Side};
use polybolos_engine::simulation::Levels;
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive as _;

use crate::client_id::{ClientId, Intent};
use crate::order::{Bracket, Leg, NewList, NewOrder, OrderKind, OrderSide, OrderStatus, Quantity};
use crate::symbol::Symbol;
use crate::venue::Command;

use super::plan::EntryStyle;
use super::record::{ExitCause, Goal, Record};
use super::state::{SymbolState, to_f64};
use super::ticket::{Stage, Ticket};
use super::{Level, Purpose, Standing, Trader, Why};

/// Where the price is when a level is refused.
pub(super) enum Price {
    /// At or below the stop.
    BeyondStop(ExitCause),
    /// At or above the target.
    BeyondTarget,
}

/// Protection as it should rest at the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Protection {
    pub(super) stop: Option<(Decimal, ExitCause)>,
    pub(super) target: Option<Decimal>,
}

impl Protection {
    fn is_empty(&self) -> bool {
        self.stop.is_none() && self.target.is_none()
    }

    fn legs(&self) -> impl Iterator<Item = (Intent, OrderKind)> {
        let stop = self.stop.map(|(stop_price, _)| (Intent::Stop, OrderKind::StopLoss { stop_price }));
        let target = self.target.map(|price| (Intent::Target, OrderKind::LimitMaker { price }));
        target.into_iter().chain(stop)
    }
}

/// What a step needs to know of a symbol's open orders.
struct OpenOrders {
    entry: Vec<(ClientId, Ticket)>,
    protection: Vec<(ClientId, Ticket)>,
    exit: Vec<(ClientId, Ticket)>,
}

impl OpenOrders {
    fn any(&self) -> Option<&(ClientId, Ticket)> {
        self.entry.first().or(self.protection.first()).or(self.exit.first())
    }
}

impl Trader {
    /// Takes the next step of `symbol`, if one can be taken.
    pub(super) fn step(&mut self, symbol: &Symbol) {
        self.run_lookups();
        let Some(desk) = self.desks.get(symbol) else {
            return;
        };
        let is_waiting = desk.under_way > 0 || desk.retry_at_ms > self.now_ms;
        if is_waiting || !self.may_tend() {
            return;
        }
        let tickets: Vec<(ClientId, Ticket)> =
            self.state.live_tickets(symbol).map(|(id, ticket)| (id.clone(), ticket.clone())).collect();
        if tickets.iter().any(|(_, ticket)| ticket.is_unsettled()) {
            return;
        }
        let of = |intents: &[Intent]| {
            tickets.iter().filter(|(_, ticket)| intents.contains(&ticket.intent)).cloned().collect()
        };
        let open = OpenOrders {
            entry: of(&[Intent::Entry]),
            protection: of(&[Intent::Stop, Intent::Target]),
            exit: of(&[Intent::Exit, Intent::Flatten]),
        };
        let state = self.state.symbol(symbol);
        match state.goal {
            Goal::Flat => self.step_flat(symbol, &state, &open),
            Goal::Enter { bar_open_ms } => self.step_enter(symbol, &state, &open, bar_open_ms),
            Goal::Hold => self.step_hold(symbol, &state, &open),
            Goal::Exit { cause, bar_open_ms } => self.step_exit(symbol, &state, &open, cause, bar_open_ms),
        }
    }

    fn step_flat(&mut self, symbol: &Symbol, state: &SymbolState, open: &OpenOrders) {
        if let Some((client_id, ticket)) = open.any() {
            self.cancel(symbol, client_id, ticket);
        } else if self.sellable(symbol, state) > Decimal::ZERO {
            let text = "holds a position that nothing wanted: it is kept and protected".to_owned();
            self.notify(Level::Warning, Some(symbol), text);
            self.set_goal(symbol, Goal::Hold);
        }
    }

    fn step_enter(&mut self, symbol: &Symbol, state: &SymbolState, open: &OpenOrders, bar_open_ms: i64) {
        let has_part = self.sellable(symbol, state) > Decimal::ZERO;
        if let Some((client_id, ticket)) = open.entry.first() {
            let last_open_ms = state.last_bar.map_or(bar_open_ms, |bar| bar.open_time_ms);
            let waited = (last_open_ms - bar_open_ms).checked_div(self.state.interval_ms).unwrap_or(0);
            let is_expired = match self.plan.entry {
                EntryStyle::Limit { expire_bars } => waited >= i64::from(expire_bars),
                EntryStyle::Market | EntryStyle::Protected => waited >= 1,
            };
            let needs_protection = has_part && !self.wanted_protection(state).is_empty();
            if is_expired || needs_protection {
                self.cancel(symbol, client_id, ticket);
            }
        } else if has_part {
            self.set_goal(symbol, Goal::Hold);
        } else {
            self.set_goal(symbol, Goal::Flat);
        }
    }

    fn step_hold(&mut self, symbol: &Symbol, state: &SymbolState, open: &OpenOrders) {
        let held = self.sellable(symbol, state);
        if let Some((client_id, ticket)) = open.entry.first().or(open.exit.first()) {
            self.cancel(symbol, client_id, ticket);
        } else if held.is_zero() {
            match open.protection.first() {
                Some((client_id, ticket)) => self.cancel(symbol, client_id, ticket),
                None => self.closed(symbol, state),
            }
        } else {
            self.set_why(symbol, Why::Holding);
            self.protect(symbol, state, held, &open.protection);
        }
    }

    fn step_exit(
        &mut self,
        symbol: &Symbol,
        state: &SymbolState,
        open: &OpenOrders,
        cause: ExitCause,
        bar_open_ms: i64,
    ) {
        let held = self.sellable(symbol, state);
        self.set_why(symbol, Why::Exiting(cause));
        if let Some((client_id, ticket)) = open.any() {
            self.cancel(symbol, client_id, ticket);
        } else if held.is_zero() {
            self.closed(symbol, state);
        } else {
            let intent = match cause {
                ExitCause::Signal | ExitCause::Time => Intent::Exit,
                _ => Intent::Flatten,
            };
            let order = NewOrder {
                symbol: symbol.clone(),
                client_id: self.new_id(symbol, bar_open_ms, intent),
                side: OrderSide::Sell,
                kind: OrderKind::Market,
                quantity: Quantity::Base(held),
            };
            self.place(order, intent, bar_open_ms);
        }
    }

    /// Base units that can be sold at the market; 0 if what is held is too little for an order.
    pub(super) fn sellable(&self, symbol: &Symbol, state: &SymbolState) -> Decimal {
        let Some(plan) = self.plan.symbols.get(symbol) else {
            return Decimal::ZERO;
        };
        let quantity = plan.rules.floor_quantity(&OrderKind::Market, state.holding.quantity);
        let reference = self.reference(symbol, state).unwrap_or(Decimal::ZERO);
        match plan.rules.check(OrderSide::Sell, &OrderKind::Market, quantity, reference) {
            Ok(()) if quantity > Decimal::ZERO => quantity,
            _ => Decimal::ZERO,
        }
    }

    /// The price that stands for the market: the bid, else the last close, else the entry price.
    pub(super) fn reference(&self, symbol: &Symbol, state: &SymbolState) -> Option<Decimal> {
        let quote = self.desks.get(symbol).and_then(|desk| desk.quote).map(|(bid, _)| bid);
        let close = || state.last_bar.and_then(|bar| Decimal::from_f64(bar.close));
        quote.or_else(close).or_else(|| state.holding.entry_price())
    }

    /// The levels of the position, on the exchange's grid. A long's stop is rounded down and its target up: on a market whose
    /// prices lie on the grid exactly those bars reach them that reach the backtest's.
    pub(super) fn wanted_protection(&self, state: &SymbolState) -> Protection {
        let entry = state.holding.entry_price().map_or(f64::NAN, to_f64);
        self.levels(state, entry)
    }

    fn levels(&self, state: &SymbolState, entry: f64) -> Protection {
        let best = state.holding.best_high.map_or(entry, |high| high.max(entry));
        let levels = Levels::new(Side::Long, entry, best, &self.plan.rules);
        let stop = levels.stop.and_then(|(price, reason)| {
            let cause = if reason == ExitReason::Trailing { ExitCause::Trailing } else { ExitCause::Stop };
            Decimal::from_f64_retain(price).map(|price| (price, cause))
        });
        Protection { stop, target: levels.target.and_then(Decimal::from_f64_retain) }
    }

    fn on_grid(&self, symbol: &Symbol, protection: Protection) -> Protection {
        let Some(plan) = self.plan.symbols.get(symbol) else {
            return protection;
        };
        let grid = plan.rules.price;
        Protection {
            stop: protection.stop.map(|(price, cause)| (grid.floor(price).normalize(), cause)),
            target: protection.target.map(|price| grid.ceil(price).normalize()),
        }
    }

    fn protect(
        &mut self,
        symbol: &Symbol,
        state: &SymbolState,
        held: Decimal,
        resting: &[(ClientId, Ticket)],
    ) {
        let wanted = self.on_grid(symbol, self.wanted_protection(state));
        let waiting: Vec<ClientId> = resting
            .iter()
            .filter(|(_, ticket)| ticket.stage == Stage::Open { status: OrderStatus::PendingNew })
            .map(|(client_id, _)| client_id.clone())
            .collect();
        if !waiting.is_empty() {
            // The list's entry is filled; whether its legs are live by now is asked, not assumed.
            self.doubt(&waiting, self.now_ms, "waits for its entry, which is filled");
            return;
        }
        let is_resting = |intent, kind: &OrderKind| {
            resting.iter().any(|(_, ticket)| {
                ticket.intent == intent && ticket.kind == *kind && ticket.remaining() == held
            })
        };
        let legs: Vec<(Intent, OrderKind)> = wanted.legs().collect();
        let is_right =
            legs.len() == resting.len() && legs.iter().all(|(intent, kind)| is_resting(*intent, kind));
        match resting.first() {
            _ if is_right => {}
            Some((client_id, ticket)) => self.cancel(symbol, client_id, ticket),
            None => self.place_protection(symbol, state, held, &legs),
        }
    }

    fn place_protection(
        &mut self,
        symbol: &Symbol,
        state: &SymbolState,
        held: Decimal,
        legs: &[(Intent, OrderKind)],
    ) {
        let bar_open_ms = self.bar_open_ms(state);
        let Some(plan) = self.plan.symbols.get(symbol) else {
            return;
        };
        let reference = self.reference(symbol, state).unwrap_or(Decimal::ZERO);
        let failure =
            legs.iter().find_map(|(_, kind)| plan.rules.check(OrderSide::Sell, kind, held, reference).err());
        if let Some(failure) = failure {
            let text = format!("cannot be protected ({failure}): the position is closed");
            self.notify(Level::Alarm, Some(symbol), text);
            self.want_exit(symbol, ExitCause::Unprotected);
            return;
        }
        let leg = |trader: &Trader, intent, kind| Leg {
            client_id: trader.new_id(symbol, bar_open_ms, intent),
            kind,
        };
        match legs {
            [(target, above), (stop, below)] => {
                let bracket = Bracket {
                    side: OrderSide::Sell,
                    quantity: held,
                    above: leg(self, *target, *above),
                    below: leg(self, *stop, *below),
                };
                let list_id = self.new_list_id(symbol, bar_open_ms);
                self.place_list(NewList::Oco { symbol: symbol.clone(), list_id, bracket }, bar_open_ms);
            }
            [(intent, kind)] => {
                let order = NewOrder {
                    symbol: symbol.clone(),
                    client_id: self.new_id(symbol, bar_open_ms, *intent),
                    side: OrderSide::Sell,
                    kind: *kind,
                    quantity: Quantity::Base(held),
                };
                self.place(order, *intent, bar_open_ms);
            }
            _ => {}
        }
    }

    /// Where the price is, if it is beyond a level of the position.
    pub(super) fn level_behind_the_price(&self, symbol: &Symbol) -> Option<Price> {
        let state = self.state.symbol(symbol);
        let price = self.reference(symbol, &state)?;
        let wanted = self.on_grid(symbol, self.wanted_protection(&state));
        match (wanted.stop, wanted.target) {
            (Some((stop, cause)), _) if price <= stop => Some(Price::BeyondStop(cause)),
            (_, Some(target)) if price >= target => Some(Price::BeyondTarget),
            _ => None,
        }
    }

    /// The position is over: nothing that could be sold is left and no order is open.
    fn closed(&mut self, symbol: &Symbol, state: &SymbolState) {
        let was_held = !state.holding.bought.is_zero();
        self.set_goal(symbol, Goal::Flat);
        if let Some(cause) = state.last_exit.filter(|_| was_held) {
            self.set_why(symbol, Why::Closed(cause));
            self.notify(Level::Info, Some(symbol), format!("position closed ({})", cause.name()));
        }
        self.decide_again(symbol);
    }

    /// Wants `symbol` out of its position, whatever was wanted before.
    pub(super) fn want_exit(&mut self, symbol: &Symbol, cause: ExitCause) {
        let state = self.state.symbol(symbol);
        let has_something =
            !state.holding.bought.is_zero() || self.state.live_tickets(symbol).next().is_some();
        if has_something && !matches!(state.goal, Goal::Exit { .. }) {
            let bar_open_ms = self.bar_open_ms(&state);
            self.set_goal(symbol, Goal::Exit { cause, bar_open_ms });
        }
    }

    /// Cancels orders that wait to open a position.
    pub(super) fn cancel_entries(&mut self) {
        for symbol in self.desks.keys().cloned().collect::<Vec<_>>() {
            if matches!(self.state.symbol(&symbol).goal, Goal::Enter { .. }) {
                self.set_goal(&symbol, Goal::Hold);
            }
        }
    }

    pub(super) fn set_goal(&mut self, symbol: &Symbol, goal: Goal) {
        self.touched.insert(symbol.clone());
        if self.state.symbol(symbol).goal != goal {
            self.record(Record::Goal { symbol: symbol.clone(), goal, at_ms: self.now_ms });
        }
    }

    pub(super) fn set_why(&mut self, symbol: &Symbol, why: Why) {
        if let Some(desk) = self.desks.get_mut(symbol) {
            desk.why = why;
        }
    }

    /// Open time of the bar that decisions of now belong to.
    pub(super) fn bar_open_ms(&self, state: &SymbolState) -> i64 {
        state.last_bar.map_or_else(|| self.plan.interval.floor(self.now_ms), |bar| bar.open_time_ms)
    }

    /// The first id for this intention that no order of the journal has.
    pub(super) fn new_id(&self, symbol: &Symbol, bar_open_ms: i64, intent: Intent) -> ClientId {
        let id = |attempt| ClientId::new(&self.plan.bot, symbol, bar_open_ms, intent, attempt);
        (0..u16::MAX).map(id).find(|id| !self.state.tickets.contains_key(id)).unwrap_or_else(|| id(u16::MAX))
    }

    /// The first id for a list of this bar that no order of the journal belongs to.
    pub(super) fn new_list_id(&self, symbol: &Symbol, bar_open_ms: i64) -> ClientId {
        let id = |attempt| ClientId::new(&self.plan.bot, symbol, bar_open_ms, Intent::Protection, attempt);
        let is_taken =
            |id: &ClientId| self.state.tickets.values().any(|ticket| ticket.list_id.as_ref() == Some(id));
        (0..u16::MAX).map(id).find(|id| !is_taken(id)).unwrap_or_else(|| id(u16::MAX))
    }

    pub(super) fn place(&mut self, order: NewOrder, intent: Intent, bar_open_ms: i64) {
        let symbol = order.symbol.clone();
        let client_ids = vec![order.client_id.clone()];
        self.record(Record::Order { order: order.clone(), intent, bar_open_ms, at_ms: self.now_ms });
        self.send(Some(&symbol), Purpose::Place { client_ids, intent }, Command::Place(order));
    }

    pub(super) fn place_list(&mut self, list: NewList, bar_open_ms: i64) {
        let symbol = list.symbol().clone();
        let client_ids = list.client_ids();
        let intent = match list {
            NewList::Oco { .. } => Intent::Protection,
            NewList::Oto { .. } | NewList::Otoco { .. } => Intent::Entry,
        };
        self.record(Record::List { list: list.clone(), bar_open_ms, at_ms: self.now_ms });
        self.send(Some(&symbol), Purpose::Place { client_ids, intent }, Command::PlaceList(list));
    }

    /// Cancels an order, and with it the list it is in.
    fn cancel(&mut self, symbol: &Symbol, client_id: &ClientId, ticket: &Ticket) {
        let state = self.state.symbol(symbol);
        let bar_open_ms = self.bar_open_ms(&state);
        let cancel_id = ClientId::new(&self.plan.bot, symbol, bar_open_ms, Intent::Cancel, state.cancels);
        let of_list = |other: &Ticket| other.list_id.is_some() && other.list_id == ticket.list_id;
        let targets: Vec<ClientId> = self
            .state
            .live_tickets(symbol)
            .filter(|(id, other)| *id == client_id || of_list(other))
            .map(|(id, _)| id.clone())
            .collect();
        self.record(Record::Cancel {
            symbol: symbol.clone(),
            targets: targets.clone(),
            cancel_id: cancel_id.clone(),
            at_ms: self.now_ms,
        });
        let command = Command::Cancel { symbol: symbol.clone(), target: client_id.clone(), cancel_id };
        self.send(Some(symbol), Purpose::Cancel { targets }, command);
    }

    /// Levels for a position that is to be entered at about `price`, on the grid.
    pub(super) fn provisional_levels(&self, symbol: &Symbol, price: f64) -> Protection {
        self.on_grid(symbol, self.levels(&SymbolState::default(), price))
    }

    pub(super) fn legs_of(&self, protection: &Protection) -> Vec<(Intent, OrderKind)> {
        protection.legs().collect()
    }

    /// Whether entries are allowed, or why not.
    pub(super) fn entry_standing(&self) -> Result<(), String> {
        match &self.standing {
            Standing::Trading if self.disconnected_since_ms.is_some() => Err("a stream is gone".to_owned()),
            Standing::Trading => Ok(()),
            Standing::Starting => Err("starting".to_owned()),
            Standing::Paused { reason } | Standing::Halted { reason, .. } => Err(reason.clone()),
            Standing::Refused { .. } => Err("journal and exchange differ".to_owned()),
        }
    }
}
