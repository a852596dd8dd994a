//! What a journal says of a session: candles, decisions, trades, and why entries were not made.

use std::collections::{BTreeMap, BTreeSet};

use polybolos_engine::interval::Interval;
use polybolos_engine::signals::{Bar, Decision};

use crate::client_id::{ClientId, Intent};
use crate::decimals::{decimal, number};
use crate::ledger::CloseReason;
use crate::order::{Fill, OrderSide};
use crate::symbol::Symbol;
use crate::trader::{Record, Standing, State, Why};

/// A candle as the bot saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candle {
    pub(super) bar: Bar,
    /// What the strategy said at its close.
    pub(super) wanted: Decision,
    /// Whether the close was acted on.
    pub(super) is_live: bool,
}

/// A trade, of the bot or of the backtest.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trade {
    /// Open time of the bar at whose close it was decided.
    pub(super) decided_ms: i64,
    /// Time of the first fill; of the backtest its bar's open time.
    pub(super) entry_ms: i64,
    /// Open time of that bar.
    pub(super) entry_bar_ms: i64,
    pub(super) entry_price: f64,
    /// Base units bought.
    pub(super) quantity: f64,
    pub(super) exit: Option<Exit>,
    /// When it ended, if that was after the last bar.
    pub(super) left_later_ms: Option<i64>,
    /// Fees over notional.
    pub(super) fee_rate: f64,
}

/// A trade's end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Exit {
    pub(super) at_ms: i64,
    pub(super) bar_ms: i64,
    pub(super) price: f64,
    pub(super) reason: CloseReason,
}

/// What the journal says of one symbol.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) candles: Vec<Candle>,
    /// Smallest step of a quantity, base units.
    pub(super) lot: f64,
    /// Quote units that the symbol was given.
    pub(super) cash: f64,
    pub(super) trades: Vec<Trade>,
    /// Why entries were not made, by the open time of the deciding bar.
    pub(super) no_entries: BTreeMap<i64, Why>,
    counted: BTreeSet<i64>,
    open: Sums,
}

/// Sums over the fills of the trade that is open.
#[derive(Debug, Default, Clone)]
struct Sums {
    decided_ms: Option<i64>,
    entry_ms: Option<i64>,
    exit_ms: i64,
    bought: f64,
    spent: f64,
    sold: f64,
    received: f64,
    fees: f64,
}

impl Seen {
    /// Smallest step of a price: the finest decimal that a candle has.
    pub(super) fn tick(&self) -> f64 {
        let prices = |bar: &Bar| [bar.open, bar.high, bar.low, bar.close];
        let scale = |price: f64| decimal(price).map(|price| price.normalize().scale());
        let finest = self.candles.iter().flat_map(|candle| prices(&candle.bar)).filter_map(scale).max();
        finest.map_or(0.0, |places| 10f64.powi(-i32::try_from(places).unwrap_or(i32::MAX)))
    }

    /// Number of the first candle that was acted on.
    pub(super) fn first_live(&self) -> Option<usize> {
        self.candles.iter().position(|candle| candle.is_live)
    }
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) symbols: BTreeMap<Symbol, Seen>,
    pub(super) standings: Standings,
}

/// What the bot was allowed to do, and from when on.
#[derive(Debug, Default)]
pub(super) struct Standings(Vec<(i64, Standing)>);

impl Standings {
    /// Why no exit could be sent at this time, if none could.
    pub(super) fn bars_exits_at(&self, at_ms: i64) -> Option<String> {
        match &self.0.iter().rfind(|(from_ms, _)| *from_ms <= at_ms)?.1 {
            Standing::Halted { reason, .. } => Some(reason.clone()),
            Standing::Refused { .. } => Some("journal and exchange differ".to_owned()),
            Standing::Starting => Some("starting".to_owned()),
            Standing::Trading | Standing::Paused { .. } => None,
        }
    }
}

impl Session {
    pub(super) fn read(records: impl IntoIterator<Item = Record>, interval: Interval) -> Session {
        let mut state = State::new(interval);
        let mut session = Session { symbols: BTreeMap::new(), standings: Standings::default() };
        for record in records {
            let applied = state.apply(&record);
            session.take(&record, &state);
            for trade in applied.closed {
                session.close(&trade.symbol, trade.reason, interval);
            }
        }
        session.end(interval);
        session
    }

    fn of(&mut self, symbol: &Symbol) -> &mut Seen {
        self.symbols.entry(symbol.clone()).or_default()
    }

    fn take(&mut self, record: &Record, state: &State) {
        match record {
            Record::Bar { symbol, bar, wanted, is_live, .. } => {
                let candle = Candle { bar: *bar, wanted: *wanted, is_live: *is_live };
                self.of(symbol).candles.push(candle);
            }
            Record::Admitted { symbol, terms, cash, .. } => {
                let seen = self.of(symbol);
                seen.cash += number(*cash);
                seen.lot = number(terms.lot_step);
            }
            Record::NoEntry { symbol, bar_open_ms, why, .. } => {
                self.of(symbol).no_entries.insert(*bar_open_ms, why.clone());
            }
            Record::Order { order, intent: Intent::Entry, bar_open_ms, .. } => {
                self.of(&order.symbol).open.decided_ms = Some(*bar_open_ms);
            }
            Record::List { list, bar_open_ms, .. }
                if list.client_ids().first().and_then(ClientId::intent) == Some(Intent::Entry) =>
            {
                self.of(list.symbol()).open.decided_ms = Some(*bar_open_ms);
            }
            Record::Report { report, .. } => {
                self.fills(&report.symbol, &report.fills, state);
            }
            Record::Fills { symbol, fills, .. } => self.fills(symbol, fills, state),
            Record::Standing { standing, at_ms } => self.standings.0.push((*at_ms, standing.clone())),
            Record::Checkpoint { state } => {
                for (symbol, member) in &state.members {
                    let seen = self.of(symbol);
                    seen.cash = number(member.cash);
                    seen.lot = state.terms(symbol).map_or(0.0, |terms| number(terms.lot_step));
                }
            }
            _ => {}
        }
    }

    /// Adds the fills of our orders, each once.
    fn fills(&mut self, symbol: &Symbol, fills: &[Fill], state: &State) {
        for fill in fills {
            let of_order = |ticket: &&crate::trader::Ticket| {
                ticket.order_id == Some(fill.order_id) && ticket.symbol == *symbol
            };
            let Some(ticket) = state.tickets.values().find(of_order) else {
                continue;
            };
            let base = state.terms(symbol).map(|terms| terms.base_asset.clone());
            let seen = self.of(symbol);
            if !seen.counted.insert(fill.trade_id) {
                continue;
            }
            let notional = number(fill.notional());
            let is_base = base.as_deref() == Some(fill.commission_asset.as_str());
            let sums = &mut seen.open;
            sums.fees += number(fill.commission) * if is_base { number(fill.price) } else { 1.0 };
            match ticket.side {
                OrderSide::Buy => {
                    sums.entry_ms = Some(sums.entry_ms.map_or(fill.time_ms, |first| first.min(fill.time_ms)));
                    sums.decided_ms = Some(ticket.bar_open_ms);
                    sums.bought += number(fill.quantity);
                    sums.spent += notional;
                }
                OrderSide::Sell => {
                    sums.exit_ms = sums.exit_ms.max(fill.time_ms);
                    sums.sold += number(fill.quantity);
                    sums.received += notional;
                }
            }
        }
    }

    fn close(&mut self, symbol: &Symbol, reason: CloseReason, interval: Interval) {
        let seen = self.of(symbol);
        let sums = std::mem::take(&mut seen.open);
        seen.trades.extend(sums.trade(Some(reason), interval));
    }

    /// A position that is still open is a trade without an end.
    fn end(&mut self, interval: Interval) {
        for seen in self.symbols.values_mut() {
            let sums = std::mem::take(&mut seen.open);
            seen.trades.extend(sums.trade(None, interval));
        }
    }
}

impl Sums {
    fn trade(&self, reason: Option<CloseReason>, interval: Interval) -> Option<Trade> {
        let entry_ms = self.entry_ms?;
        let exit = reason.map(|reason| Exit {
            at_ms: self.exit_ms,
            bar_ms: interval.floor(self.exit_ms),
            // Units that were too few to sell have no price.
            price: if self.sold > 0.0 { self.received / self.sold } else { f64::NAN },
            reason,
        });
        Some(Trade {
            decided_ms: self.decided_ms.unwrap_or_else(|| interval.floor(entry_ms) - interval.ms()),
            entry_ms,
            entry_bar_ms: interval.floor(entry_ms),
            entry_price: self.spent / self.bought,
            quantity: self.bought,
            exit,
            left_later_ms: None,
            fee_rate: self.fees / (self.spent + self.received),
        })
    }
}
