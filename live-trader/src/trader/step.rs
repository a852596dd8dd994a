//! One step of a symbol from what is known towards what is wanted.
//!
//! A step is taken only when nothing of the symbol is unsettled and nothing is under way, so every decision here rests on
//! facts. At most one command is sent; its answer brings the next step.

use std::borrow::Cow;

use polybolos_engine::kernels::sim::{ExitReason, Side};
use polybolos_engine::simulation::Levels;
use rust_decimal::Decimal;

use crate::client_id::{ClientId, IdStart, Intent};
use crate::decimals::{decimal, number};
use crate::ledger::CloseReason;
use crate::order::{Leg, OrderKind, OrderSide, OrderStatus};
use crate::symbol::Symbol;
use crate::venue::Command;

use super::plan::EntryStyle;
use super::record::{Goal, Record};
use super::request::Request;
use super::state::SymbolState;
use super::ticket::{Stage, Ticket};
use super::{Level, Purpose, Standing, Trader, Why};

/// Where the price is when a level is refused.
pub(super) enum Price {
    /// At or below the stop.
    BeyondStop(CloseReason),
    /// At or above the target.
    BeyondTarget,
}

/// Protection as it should rest at the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Protection {
    pub(super) stop: Option<(Decimal, CloseReason)>,
    pub(super) target: Option<Decimal>,
}

impl Protection {
    /// Why the order for `intent` sells.
    pub(super) fn reason(&self, intent: Intent) -> Option<CloseReason> {
        match intent {
            Intent::Target => Some(CloseReason::Target),
            _ => self.stop.map(|(_, reason)| reason),
        }
    }

    fn is_empty(&self) -> bool {
        self.stop.is_none() && self.target.is_none()
    }

    pub(super) fn legs(&self) -> impl Iterator<Item = (Intent, OrderKind)> {
        let stop = self.stop.map(|(stop_price, _)| (Intent::Stop, OrderKind::StopLoss { stop_price }));
        let target = self.target.map(|price| (Intent::Target, OrderKind::LimitMaker { price }));
        target.into_iter().chain(stop)
    }
}

/// What a step needs to know of a symbol's open orders.
#[derive(Default)]
struct OpenOrders {
    entry: Vec<(ClientId, Ticket)>,
    protection: Vec<(ClientId, Ticket)>,
    exit: Vec<(ClientId, Ticket)>,
}

impl OpenOrders {
    fn add(&mut self, client_id: &ClientId, ticket: &Ticket) {
        let orders = match ticket.intent {
            Intent::Entry => &mut self.entry,
            Intent::Stop | Intent::Target => &mut self.protection,
            Intent::Exit | Intent::Flatten => &mut self.exit,
            // No orders, but what holds or ends them.
            Intent::Protection | Intent::Cancel => return,
        };
        orders.push((client_id.clone(), ticket.clone()));
    }

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
        let mut open = OpenOrders::default();
        for (client_id, ticket) in self.state.live_tickets(symbol) {
            if ticket.is_unsettled() {
                return;
            }
            open.add(client_id, ticket);
        }
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
            let needs_protection = has_part && !self.wanted_protection(symbol, state).is_empty();
            if is_expired || needs_protection {
                self.cancel(symbol, client_id, ticket);
            }
        } else if has_part {
            self.set_goal(symbol, Goal::Hold);
        } else if self.is_to_be_repeated(symbol, state, bar_open_ms) {
            self.set_goal(symbol, Goal::Flat);
            self.decide(symbol);
        } else {
            let reason = "its order ended without a fill".to_owned();
            self.give_up_entry(symbol, Why::NotTaken(reason));
        }
    }

    /// Whether the market still stands where the entry was wanted, and nothing of it has reached the exchange: the program that sent
    /// it ended between its journal and the network.
    fn is_to_be_repeated(&self, symbol: &Symbol, state: &SymbolState, bar_open_ms: i64) -> bool {
        let is_newest = state.last_bar.is_some_and(|bar| bar.open_time_ms == bar_open_ms);
        let is_of_entry =
            |ticket: &&Ticket| ticket.intent == Intent::Entry && ticket.bar_open_ms == bar_open_ms;
        let mut entries = self.state.tickets.of(symbol).map(|(_, ticket)| ticket).filter(is_of_entry);
        self.plan.market_waits && is_newest && entries.all(|ticket| ticket.stage == Stage::Absent)
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
        cause: CloseReason,
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
                CloseReason::Signal | CloseReason::Time => Intent::Exit,
                _ => Intent::Flatten,
            };
            let client_id = self.new_id(symbol, bar_open_ms, intent);
            let request = Request::sell(symbol, client_id, OrderKind::Market, held);
            self.place(request, intent, Some(cause), bar_open_ms);
        }
    }

    /// Base units that can be sold at the market; 0 if what is held is too little for an order. Never more than the account can
    /// have: an operator may have accepted that some are gone.
    pub(super) fn sellable(&self, symbol: &Symbol, state: &SymbolState) -> Decimal {
        let Some(plan) = self.plan.symbols.get(symbol) else {
            return Decimal::ZERO;
        };
        let held = self.state.quantity(symbol);
        let held = self.state.expected.get(&plan.rules.base_asset).map_or(held, |there| held.min(*there));
        if held.is_zero() {
            return held;
        }
        let quantity = plan.rules.floor_quantity(&OrderKind::Market, held);
        let reference = self.reference(symbol, state).unwrap_or(Decimal::ZERO);
        match plan.rules.check(OrderSide::Sell, &OrderKind::Market, quantity, reference) {
            Ok(()) if quantity > Decimal::ZERO => quantity,
            _ => Decimal::ZERO,
        }
    }

    /// The price that stands for the market: the bid, else the last close, else the entry price.
    pub(super) fn reference(&self, symbol: &Symbol, state: &SymbolState) -> Option<Decimal> {
        let bid = self.quote(symbol).map(|quote| quote.bid);
        let close = || state.last_bar.and_then(|bar| decimal(bar.close));
        bid.or_else(close).or_else(|| self.state.position(symbol).map(|position| position.entry_price))
    }

    /// The levels of the position, on the exchange's grid. A long's stop is rounded down and its target up: on a market whose
    /// prices lie on the grid exactly those bars reach them that reach the backtest's.
    pub(super) fn wanted_protection(&self, symbol: &Symbol, state: &SymbolState) -> Protection {
        let entry = self.state.position(symbol).map_or(f64::NAN, |position| number(position.entry_price));
        self.levels(state, entry)
    }

    fn levels(&self, state: &SymbolState, entry: f64) -> Protection {
        let best = state.holding.best_high.map_or(entry, |high| high.max(entry));
        let levels = Levels::new(Side::Long, entry, best, &self.plan.rules);
        let stop = levels.stop.and_then(|(price, reason)| {
            let cause =
                if reason == ExitReason::Trailing { CloseReason::Trailing } else { CloseReason::Stop };
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
        let wanted = self.on_grid(symbol, self.wanted_protection(symbol, state));
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
            None => self.place_protection(symbol, state, held, &wanted),
        }
    }

    fn place_protection(&mut self, symbol: &Symbol, state: &SymbolState, held: Decimal, wanted: &Protection) {
        let legs: Vec<(Intent, OrderKind)> = wanted.legs().collect();
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
            self.want_exit(symbol, CloseReason::Unprotected);
            return;
        }
        let id = |trader: &Trader, intent| trader.new_id(symbol, bar_open_ms, intent);
        match legs.as_slice() {
            [(target, above), (stop, below)] => {
                let list_id = self.new_list_id(symbol, bar_open_ms);
                let above = Leg { client_id: id(self, *target), kind: *above };
                let below = Leg { client_id: id(self, *stop), kind: *below };
                let request = Request::sell_either(symbol, list_id, held, above, below);
                self.place(request, Intent::Protection, wanted.reason(*stop), bar_open_ms);
            }
            [(intent, kind)] => {
                let request = Request::sell(symbol, id(self, *intent), *kind, held);
                self.place(request, *intent, wanted.reason(*intent), bar_open_ms);
            }
            _ => {}
        }
    }

    /// Where the price is, if it is beyond a level of the position.
    pub(super) fn level_behind_the_price(&self, symbol: &Symbol) -> Option<Price> {
        let state = self.state.symbol(symbol);
        let price = self.reference(symbol, &state)?;
        let wanted = self.on_grid(symbol, self.wanted_protection(symbol, &state));
        match (wanted.stop, wanted.target) {
            (Some((stop, cause)), _) if price <= stop => Some(Price::BeyondStop(cause)),
            (_, Some(target)) if price >= target => Some(Price::BeyondTarget),
            _ => None,
        }
    }

    /// The position is over: nothing that could be sold is left and no order is open.
    fn closed(&mut self, symbol: &Symbol, state: &SymbolState) {
        let was_held = state.holding.is_entered();
        self.set_goal(symbol, Goal::Flat);
        if let Some(cause) = state.last_exit.filter(|_| was_held) {
            self.set_why(symbol, Why::Closed(cause));
            self.notify(Level::Info, Some(symbol), format!("position closed ({})", cause.name()));
        }
        self.decide_again(symbol);
    }

    /// Wants `symbol` out of its position, whatever was wanted before.
    pub(super) fn want_exit(&mut self, symbol: &Symbol, cause: CloseReason) {
        let state = self.state.symbol(symbol);
        let has_something = state.holding.is_entered() || self.state.live_tickets(symbol).next().is_some();
        if has_something && !matches!(state.goal, Goal::Exit { .. }) {
            let bar_open_ms = self.bar_open_ms(&state);
            self.set_goal(symbol, Goal::Exit { cause, bar_open_ms });
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

    fn id_start(&self, symbol: &Symbol) -> Cow<'_, IdStart> {
        match self.desks.get(symbol) {
            Some(desk) => Cow::Borrowed(&desk.id_start),
            None => Cow::Owned(IdStart::new(&self.plan.bot, symbol)),
        }
    }

    /// The first id for this intention that no order of the journal has.
    pub(super) fn new_id(&self, symbol: &Symbol, bar_open_ms: i64, intent: Intent) -> ClientId {
        let start = self.id_start(symbol);
        let id = |attempt| start.id(bar_open_ms, intent, attempt);
        (0..u16::MAX).map(id).find(|id| !self.state.tickets.contains(id)).unwrap_or_else(|| id(u16::MAX))
    }

    /// The first id for a list of this bar that no order of the journal belongs to.
    pub(super) fn new_list_id(&self, symbol: &Symbol, bar_open_ms: i64) -> ClientId {
        let start = self.id_start(symbol);
        let id = |attempt| start.id(bar_open_ms, Intent::Protection, attempt);
        let is_taken = |id: &ClientId| {
            self.state.tickets.of(symbol).any(|(_, ticket)| ticket.list_id.as_ref() == Some(id))
        };
        (0..u16::MAX).map(id).find(|id| !is_taken(id)).unwrap_or_else(|| id(u16::MAX))
    }

    /// Journals an order or a list and sends it. `reason` is why it sells, of a list why its stop does.
    pub(super) fn place(
        &mut self,
        request: Request,
        intent: Intent,
        reason: Option<CloseReason>,
        bar_open_ms: i64,
    ) {
        let at_ms = self.now_ms;
        let (symbol, client_ids, record) = match request.command().clone() {
            Command::Place(order) => (
                order.symbol.clone(),
                vec![order.client_id.clone()],
                Record::Order { order, intent, reason, bar_open_ms, at_ms },
            ),
            Command::PlaceList(list) => (
                list.symbol().clone(),
                list.client_ids(),
                Record::List { list, stop_reason: reason, bar_open_ms, at_ms },
            ),
            _ => return,
        };
        self.record(record);
        self.send(Some(&symbol), Purpose::Place { client_ids, intent }, request);
    }

    /// Cancels an order, and with it the list it is in.
    fn cancel(&mut self, symbol: &Symbol, client_id: &ClientId, ticket: &Ticket) {
        let state = self.state.symbol(symbol);
        let bar_open_ms = self.bar_open_ms(&state);
        let cancel_id = self.id_start(symbol).id(bar_open_ms, Intent::Cancel, state.cancels);
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
        let request = Request::cancel(symbol, client_id.clone(), cancel_id);
        self.send(Some(symbol), Purpose::Cancel { targets }, request);
    }

    /// Levels for a position that is to be entered at about `price`, on the grid.
    pub(super) fn provisional_levels(&self, symbol: &Symbol, price: f64) -> Protection {
        self.on_grid(symbol, self.levels(&SymbolState::default(), price))
    }

    /// Whether `symbol` may be entered as far as the trader's own state goes, or why not. Limits, protections and the kill
    /// switch are the risk gate's.
    pub(super) fn entry_standing(&self, symbol: &Symbol) -> Result<(), String> {
        match &self.standing {
            Standing::Trading | Standing::Paused { .. } if self.disconnected_since_ms.is_some() => {
                return Err("a stream is gone".to_owned());
            }
            Standing::Trading => {}
            Standing::Paused { .. } if self.is_killed() && self.state.pause.is_none() => {}
            Standing::Paused { reason } | Standing::Halted { reason, .. } => return Err(reason.clone()),
            Standing::Starting => return Err("starting".to_owned()),
            Standing::Refused { .. } => return Err("journal and exchange differ".to_owned()),
        }
        if self.is_retiring(symbol) {
            return Err("the pair is retired".to_owned());
        }
        let is_compared = self.state.terms(symbol).is_some_and(|terms| {
            [&terms.base_asset, &terms.quote_asset]
                .iter()
                .all(|asset| self.state.expected.contains_key(*asset))
        });
        if is_compared { Ok(()) } else { Err("its balances have not been compared yet".to_owned()) }
    }
}
