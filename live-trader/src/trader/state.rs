//! What the trader knows: the journal's records, applied one after another.

use std::collections::{BTreeMap, BTreeSet};

use polybolos_engine::interval::Interval;
use polybolos_engine::signals::{Bar, Decision};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::client_id::{ClientId, Intent};
use crate::order::{Fill, NewList, NewOrder, OrderReport, OrderSide};
use crate::symbol::Symbol;

use super::record::{ExitCause, Goal, Record};
use super::ticket::{Stage, Ticket};

/// What is held of a symbol, from the fills of our own orders.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Holding {
    /// Base units, commissions taken in base deducted.
    pub quantity: Decimal,
    /// Base units bought since the position was opened.
    pub bought: Decimal,
    /// What they cost, quote units, without commissions.
    pub bought_quote: Decimal,
    /// Open time of the bar in which the first of them was bought.
    pub entry_bar_open_ms: Option<i64>,
    /// Highest high of the bars held so far.
    pub best_high: Option<f64>,
    /// Bars held so far.
    pub bars_held: u64,
}

impl Holding {
    /// Average price of the purchases, quote per base unit; `None` before the first.
    pub fn entry_price(&self) -> Option<Decimal> {
        (!self.bought.is_zero()).then(|| self.bought_quote / self.bought)
    }
}

/// What is known of one symbol.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SymbolState {
    /// What is wanted.
    pub goal: Goal,
    /// What is held.
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
    pub last_exit: Option<ExitCause>,
    /// Newest trade id seen.
    pub last_trade_id: Option<i64>,
    /// Cancels asked for; numbers their ids.
    pub cancels: u16,
    /// Quote units that all fills so far brought (sales) less what they took (purchases and commissions in quote currency):
    /// while nothing is held, the profit that has been realised. Commissions in a third asset are not in it.
    #[serde(default)]
    pub realised_quote: Decimal,
}

/// Everything that survives a restart.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    /// Length of the bars, ms.
    pub interval_ms: i64,
    /// Orders of ours: those that are not settled, and those of recent bars.
    pub tickets: BTreeMap<ClientId, Ticket>,
    /// Symbols.
    pub symbols: BTreeMap<Symbol, SymbolState>,
    /// Balances by asset as they must be: an accepted beginning and everything that our fills and transfers did to it.
    pub expected: Option<BTreeMap<String, Decimal>>,
    /// Base and quote asset of every symbol.
    pub assets: BTreeMap<Symbol, (String, String)>,
    /// Trade ids of the fills already counted, per symbol: the newest ones.
    pub seen_trades: BTreeMap<Symbol, BTreeSet<i64>>,
    /// Fills counted so far.
    pub fills_counted: u64,
}

/// Trade ids kept per symbol to tell doubled fills. Reports are doubled within seconds, lookups return a day.
const KEPT_TRADE_IDS: usize = 4_096;

impl State {
    /// Nothing known, for bars of this length and these pairs `(symbol, base asset, quote asset)`.
    pub fn new(interval: Interval, assets: BTreeMap<Symbol, (String, String)>) -> State {
        State { interval_ms: interval.ms(), assets, ..State::default() }
    }

    /// What is known of `symbol`.
    pub fn symbol(&self, symbol: &Symbol) -> SymbolState {
        self.symbols.get(symbol).cloned().unwrap_or_default()
    }

    /// Orders of `symbol` that are open or unsettled.
    pub fn live_tickets<'a>(
        &'a self,
        symbol: &'a Symbol,
    ) -> impl Iterator<Item = (&'a ClientId, &'a Ticket)> {
        self.tickets.iter().filter(move |(_, ticket)| {
            ticket.symbol == *symbol && (ticket.is_open() || ticket.is_unsettled())
        })
    }

    /// Takes in a fact. The same facts in the same order give the same state, whether they become known or are read.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Baseline { balances, .. } => {
                let total =
                    balances.iter().map(|held| (held.asset.clone(), held.free + held.locked)).collect();
                self.expected = Some(total);
            }
            Record::Transfer { asset, delta, .. } => self.expect(asset, *delta),
            Record::Bar { symbol, bar, wanted, is_live, .. } => self.bar(symbol, bar, *wanted, *is_live),
            Record::Goal { symbol, goal, .. } => {
                let state = self.symbols.entry(symbol.clone()).or_default();
                state.goal = *goal;
                if *goal == Goal::Flat {
                    // What is left is dust: it stays in the books of balances and leaves those of the strategy.
                    state.holding = Holding { quantity: state.holding.quantity, ..Holding::default() };
                }
            }
            Record::Order { order, intent, bar_open_ms, at_ms } => {
                self.open_ticket(order, *intent, None, *bar_open_ms, *at_ms);
            }
            Record::List { list, bar_open_ms, at_ms } => self.open_list(list, *bar_open_ms, *at_ms),
            Record::Cancel { symbol, .. } => {
                let state = self.symbols.entry(symbol.clone()).or_default();
                state.cancels = state.cancels.wrapping_add(1);
            }
            Record::Report { report, .. } => self.report(report),
            Record::Fills { symbol, fills, .. } => fills.iter().for_each(|fill| self.fill(symbol, fill)),
            Record::Doubt { client_ids, settles_at_ms, .. } => {
                self.set_stage(client_ids, Stage::InDoubt { settles_at_ms: *settles_at_ms });
            }
            Record::Absent { client_ids, .. } => self.set_stage(client_ids, Stage::Absent),
            Record::Standing { .. } => {}
            Record::Checkpoint { state } => *self = (**state).clone(),
        }
    }

    fn set_stage(&mut self, client_ids: &[ClientId], stage: Stage) {
        for client_id in client_ids {
            if let Some(ticket) = self.tickets.get_mut(client_id)
                && !matches!(ticket.stage, Stage::Final { .. })
            {
                ticket.stage = stage;
            }
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
        self.tickets.retain(|_, ticket| {
            ticket.symbol != *symbol
                || ticket.is_open()
                || ticket.is_unsettled()
                || ticket.bar_open_ms >= keep_from_ms
        });
    }

    fn open_list(&mut self, list: &NewList, bar_open_ms: i64, at_ms: i64) {
        let list_id = list.list_id();
        let bracket = match list {
            NewList::Oto { working, pending, .. } => {
                self.open_ticket(working, Intent::Entry, Some(list_id), bar_open_ms, at_ms);
                let intent = pending.client_id.intent().unwrap_or(Intent::Stop);
                self.open_ticket(pending, intent, Some(list_id), bar_open_ms, at_ms);
                return;
            }
            NewList::Otoco { working, bracket, .. } => {
                self.open_ticket(working, Intent::Entry, Some(list_id), bar_open_ms, at_ms);
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
                quantity: crate::order::Quantity::Base(bracket.quantity),
            };
            let intent = leg.client_id.intent().unwrap_or(Intent::Stop);
            self.open_ticket(&order, intent, Some(list_id), bar_open_ms, at_ms);
        }
    }

    fn open_ticket(
        &mut self,
        order: &NewOrder,
        intent: Intent,
        list_id: Option<&ClientId>,
        bar_open_ms: i64,
        at_ms: i64,
    ) {
        let quantity = match order.quantity {
            crate::order::Quantity::Base(quantity) => quantity,
            crate::order::Quantity::Quote(_) => Decimal::ZERO,
        };
        let ticket = Ticket {
            symbol: order.symbol.clone(),
            intent,
            list_id: list_id.cloned(),
            bar_open_ms,
            side: order.side,
            kind: order.kind,
            quantity,
            sent_ms: at_ms,
            order_id: None,
            executed: Decimal::ZERO,
            filled: Decimal::ZERO,
            stage: Stage::Sent,
        };
        self.tickets.insert(order.client_id.clone(), ticket);
    }

    fn report(&mut self, report: &OrderReport) {
        let Some(ticket) = self.tickets.get_mut(&report.client_id) else {
            return;
        };
        ticket.update(report);
        let symbol = ticket.symbol.clone();
        for fill in &report.fills {
            self.fill(&symbol, fill);
        }
    }

    /// Counts a fill of an order of ours, once.
    fn fill(&mut self, symbol: &Symbol, fill: &Fill) {
        let found = self
            .tickets
            .values_mut()
            .find(|ticket| ticket.order_id == Some(fill.order_id) && ticket.symbol == *symbol);
        let Some(ticket) = found else {
            return;
        };
        let seen = self.seen_trades.entry(symbol.clone()).or_default();
        if !seen.insert(fill.trade_id) {
            return;
        }
        if seen.len() > KEPT_TRADE_IDS {
            seen.pop_first();
        }
        self.fills_counted += 1;
        ticket.filled += fill.quantity;
        ticket.executed = ticket.executed.max(ticket.filled);
        let (side, intent) = (ticket.side, ticket.intent);
        self.move_balances(symbol, side, fill);
        let interval = Interval::from_ms(self.interval_ms);
        let bar_open_ms = interval.map_or(fill.time_ms, |interval| interval.floor(fill.time_ms));
        let state = self.symbols.entry(symbol.clone()).or_default();
        state.last_trade_id = state.last_trade_id.max(Some(fill.trade_id));
        match side {
            OrderSide::Buy => bought(state, fill, bar_open_ms, self.interval_ms),
            OrderSide::Sell => sold(state, fill, bar_open_ms, self.interval_ms, intent),
        }
        let notional = fill.price * fill.quantity;
        state.realised_quote += if side == OrderSide::Sell { notional } else { -notional };
        let assets = self.assets.get(symbol);
        if assets.is_some_and(|(_, quote)| *quote == fill.commission_asset) {
            state.realised_quote -= fill.commission;
        }
        let base = assets.map(|(base, _)| base.as_str());
        if base == Some(fill.commission_asset.as_str()) {
            state.holding.quantity -= fill.commission;
        }
    }

    fn move_balances(&mut self, symbol: &Symbol, side: OrderSide, fill: &Fill) {
        let Some((base, quote)) = self.assets.get(symbol).cloned() else {
            return;
        };
        let notional = fill.price * fill.quantity;
        let (base_delta, quote_delta) = match side {
            OrderSide::Buy => (fill.quantity, -notional),
            OrderSide::Sell => (-fill.quantity, notional),
        };
        self.expect(&base, base_delta);
        self.expect(&quote, quote_delta);
        self.expect(&fill.commission_asset, -fill.commission);
    }

    fn expect(&mut self, asset: &str, delta: Decimal) {
        if let Some(expected) = &mut self.expected {
            *expected.entry(asset.to_owned()).or_default() += delta;
        }
    }
}

fn bought(state: &mut SymbolState, fill: &Fill, bar_open_ms: i64, interval_ms: i64) {
    let holding = &mut state.holding;
    holding.quantity += fill.quantity;
    holding.bought += fill.quantity;
    holding.bought_quote += fill.price * fill.quantity;
    if holding.entry_bar_open_ms.is_none() {
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
}

fn sold(state: &mut SymbolState, fill: &Fill, bar_open_ms: i64, interval_ms: i64, intent: Intent) {
    state.holding.quantity -= fill.quantity;
    state.exit_bar_open_ms = Some(bar_open_ms);
    let missed_ms = state.last_bar.as_ref().map_or(0, |bar| bar.open_time_ms - bar_open_ms).max(0);
    state.bars_since_exit = missed_ms.checked_div(interval_ms).unwrap_or(0).unsigned_abs();
    state.last_exit = match (intent, state.goal) {
        (Intent::Stop, _) => Some(ExitCause::Stop),
        (Intent::Target, _) => Some(ExitCause::Target),
        (_, Goal::Exit { cause, .. }) => Some(cause),
        _ => state.last_exit,
    };
}

/// A decimal as the strategy sees it: the number whose text it has, as bars' prices are read from text.
pub(super) fn to_f64(value: Decimal) -> f64 {
    value.to_string().parse().unwrap_or(f64::NAN)
}
