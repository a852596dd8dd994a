//! What the desk tells: snapshots, log lines, alerts.

use std::collections::BTreeMap;
use std::time::Instant;

use polybolos_engine::signals::Bar;
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive as _;

use crate::alerts::{Alert, Alerter};
use crate::config::{AlertKind, BotConfig, Mode};
use crate::control::{ConnectionStatus, KillStatus, PositionStatus, Reason, State, Status, SymbolStatus};
use crate::order::OrderKind;
use crate::promotion::BotStrategy;
use crate::symbol::Symbol;
use crate::trader::{Goal, Level, Notice, Record, Standing, SymbolState, Trader, Why};
use crate::venue::{AccountEvent, MarketEvent};

/// A connection as its events tell of it.
#[derive(Debug, Default)]
struct Link {
    is_up: bool,
    heard: Option<Instant>,
    detail: Option<String>,
}

impl Link {
    fn connected(&mut self) {
        (self.is_up, self.detail) = (true, None);
    }

    fn lost(&mut self, reason: &str) {
        (self.is_up, self.detail) = (false, Some(reason.to_owned()));
    }

    fn status(&self, name: &str) -> ConnectionStatus {
        let silent = self.heard.map(|heard| u64::try_from(heard.elapsed().as_millis()).unwrap_or(u64::MAX));
        ConnectionStatus {
            name: name.to_owned(),
            is_up: self.is_up,
            silent_ms: silent,
            detail: self.detail.clone(),
        }
    }
}

/// What has been seen of a pair's market.
#[derive(Debug, Default)]
struct Seen {
    price: Option<Decimal>,
    bars: u64,
    newest_ms: Option<i64>,
}

/// Remembers what snapshots need besides the trader's state, and puts all of it into words.
pub(super) struct Reporter {
    bot: String,
    mode: Mode,
    quote_asset: String,
    cash: Decimal,
    started_ms: i64,
    bars_until_defined: u64,
    cooldown_bars: u64,
    market: Link,
    user: Link,
    seen: BTreeMap<Symbol, Seen>,
}

impl Reporter {
    pub(super) fn new(config: &BotConfig, strategy: &BotStrategy, mode: Mode, cooldown_bars: u64, now_ms: i64) -> Reporter {
        let defined = strategy.strategy.warmup_bars(&strategy.values, strategy.interval);
        Reporter {
            bot: config.name.clone(),
            mode,
            quote_asset: config.capital.quote_asset.clone(),
            cash: super::plan::cash_per_symbol(config, config.symbols.len()),
            started_ms: now_ms,
            bars_until_defined: (defined as u64).saturating_add(1),
            cooldown_bars,
            market: Link::default(),
            user: Link::default(),
            seen: BTreeMap::new(),
        }
    }

    pub(super) fn account(&mut self, event: &AccountEvent) {
        self.user.heard = Some(Instant::now());
        match event {
            AccountEvent::Connected => self.user.connected(),
            AccountEvent::Disconnected { reason } => self.user.lost(reason),
            _ => {}
        }
    }

    pub(super) fn market(&mut self, event: &MarketEvent) {
        self.market.heard = Some(Instant::now());
        match event {
            MarketEvent::Connected => self.market.connected(),
            MarketEvent::Disconnected { reason } => self.market.lost(reason),
            MarketEvent::Quote { symbol, bid, .. } => {
                self.seen.entry(symbol.clone()).or_default().price = Some(*bid);
            }
            MarketEvent::Bar { .. } | MarketEvent::Rules { .. } => {}
        }
    }

    pub(super) fn bar(&mut self, symbol: &Symbol, bar: &Bar) {
        let seen = self.seen.entry(symbol.clone()).or_default();
        seen.bars += 1;
        seen.newest_ms = Some(bar.open_time_ms);
        seen.price = seen.price.or(Decimal::from_f64(bar.close));
    }

    pub(super) fn lifecycle(&self, alerts: Option<&Alerter>, what: &str, now_ms: i64) {
        tracing::info!(bot = self.bot, what, "bot");
        self.alert(alerts, AlertKind::Lifecycle, None, what.to_owned(), now_ms);
    }

    pub(super) fn alarm(&self, text: &str, alerts: Option<&Alerter>, now_ms: i64) {
        tracing::error!(bot = self.bot, "{text}");
        self.alert(alerts, AlertKind::Error, None, text.to_owned(), now_ms);
    }

    /// Logs what a batch has recorded, and tells people what they want to know of it.
    pub(super) fn tell(
        &self,
        trader: &Trader,
        records: &[Record],
        notices: &[Notice],
        alerts: Option<&Alerter>,
        now_ms: i64,
    ) {
        for record in records {
            self.log(record);
            if let Record::Goal { symbol, goal: Goal::Hold, .. } = record {
                let holding = trader.state().symbol(symbol).holding;
                let price = holding.entry_price().unwrap_or_default().round_dp(8).normalize();
                let text = format!("position opened: {} at {price}", holding.bought.normalize());
                self.alert(alerts, AlertKind::Entry, Some(symbol), text, now_ms);
            }
        }
        for notice in notices {
            let symbol = notice.symbol.as_ref();
            let name = symbol.map_or("", Symbol::as_str);
            match notice.level {
                Level::Info => tracing::info!(bot = self.bot, symbol = name, "{}", notice.text),
                Level::Warning => tracing::warn!(bot = self.bot, symbol = name, "{}", notice.text),
                Level::Alarm => tracing::error!(bot = self.bot, symbol = name, "{}", notice.text),
            }
            self.alert(alerts, kind(notice, trader.standing()), symbol, notice.text.clone(), now_ms);
        }
    }

    fn log(&self, record: &Record) {
        let bot = self.bot.as_str();
        match record {
            Record::Order { order, intent, .. } => {
                tracing::info!(bot, symbol = %order.symbol, client_id = %order.client_id, ?intent, side = ?order.side, quantity = ?order.quantity, "order");
            }
            Record::List { list, .. } => {
                tracing::info!(bot, symbol = %list.symbol(), list_id = %list.list_id(), client_ids = ?list.client_ids(), "list of orders");
            }
            Record::Cancel { symbol, targets, cancel_id, .. } => {
                tracing::info!(bot, %symbol, %cancel_id, ?targets, "cancel");
            }
            Record::Report { report, .. } => {
                tracing::info!(bot, symbol = %report.symbol, client_id = %report.client_id, order_id = report.order_id, status = ?report.status, executed = %report.executed_quantity, "order report");
            }
            Record::Doubt { client_ids, reason, .. } => {
                tracing::warn!(bot, ?client_ids, reason, "the outcome is not known: it is looked up");
            }
            Record::Absent { client_ids, reason, .. } => {
                tracing::warn!(bot, ?client_ids, reason, "the exchange did not take it");
            }
            Record::Goal { symbol, goal, .. } => tracing::info!(bot, %symbol, ?goal, "goal"),
            Record::Bar { symbol, bar, is_live, .. } => {
                tracing::debug!(bot, %symbol, open_time_ms = bar.open_time_ms, close = bar.close, is_live, "bar");
            }
            _ => tracing::debug!(bot, ?record, "record"),
        }
    }

    fn alert(
        &self,
        alerts: Option<&Alerter>,
        kind: AlertKind,
        symbol: Option<&Symbol>,
        message: String,
        time_ms: i64,
    ) {
        if let Some(alerter) = alerts {
            let symbol = symbol.map(|symbol| symbol.as_str().to_owned());
            alerter.send(Alert { kind, bot: self.bot.clone(), symbol, message, time_ms });
        }
    }

    /// A snapshot.
    pub(super) fn status(&self, trader: &Trader, kill: KillStatus, now_ms: i64) -> Status {
        let mut status = Status::starting(&self.bot, self.mode, &self.quote_asset, self.started_ms);
        (status.time_ms, status.kill) = (now_ms, kill);
        status.connections = vec![self.market.status("market"), self.user.status("user")];
        (status.state, status.detail) = self.state(trader.standing(), status.kill.is_set);
        status.symbols = self
            .seen
            .iter()
            .filter_map(|(symbol, seen)| Some(self.symbol(trader, symbol, seen, trader.why(symbol)?, status.state)))
            .collect();
        status.equity = status.symbols.iter().map(|symbol| symbol.equity).sum();
        status.realised_pnl = status.symbols.iter().map(|symbol| symbol.realised_pnl).sum();
        let open = |symbol: &SymbolStatus| symbol.position.as_ref().map_or(Decimal::ZERO, |p| p.unrealised_pnl);
        status.unrealised_pnl = status.symbols.iter().map(open).sum();
        status
    }

    fn state(&self, standing: &Standing, is_killed: bool) -> (State, Option<String>) {
        match standing {
            Standing::Refused { differences } => {
                let all: Vec<String> = differences.iter().map(ToString::to_string).collect();
                (State::Refused, Some(all.join("; ")))
            }
            Standing::Halted { reason, .. } => (State::Disconnected, Some(reason.clone())),
            _ if is_killed => (State::Killed, None),
            Standing::Starting => (State::Starting, None),
            Standing::Paused { reason } => (State::Paused, Some(reason.clone())),
            Standing::Trading if !self.market.is_up => (State::Disconnected, self.market.detail.clone()),
            Standing::Trading if !self.user.is_up => (State::Disconnected, self.user.detail.clone()),
            Standing::Trading => (State::Trading, None),
        }
    }

    fn symbol(&self, trader: &Trader, symbol: &Symbol, seen: &Seen, why: &Why, state: State) -> SymbolStatus {
        let known = trader.state().symbol(symbol);
        let position = position(trader, symbol, &known, seen.price);
        let worth = seen.price.unwrap_or_default() * known.holding.quantity;
        let realised = if position.is_some() { Decimal::ZERO } else { known.realised_quote };
        SymbolStatus {
            symbol: symbol.as_str().to_owned(),
            position,
            reason: self.reason(trader, symbol, &known, seen, why, state),
            last_price: seen.price,
            last_bar_ms: seen.newest_ms,
            equity: self.cash + known.realised_quote + worth,
            realised_pnl: realised,
            trades: 0,
            wins: 0,
        }
    }

    fn reason(
        &self,
        trader: &Trader,
        symbol: &Symbol,
        known: &SymbolState,
        seen: &Seen,
        why: &Why,
        state: State,
    ) -> Reason {
        let pending = || trader.state().live_tickets(symbol).find(|(_, ticket)| ticket.is_unsettled() || ticket.is_open());
        let order = || pending().map(|(client_id, _)| client_id.as_str().to_owned()).unwrap_or_default();
        match (why, known.goal) {
            (_, Goal::Hold) => Reason::Holding,
            (_, Goal::Enter { .. } | Goal::Exit { .. }) | (Why::Entering | Why::Exiting(_), _) => {
                Reason::OrderPending { client_id: order() }
            }
            _ if seen.bars < self.bars_until_defined => {
                Reason::WarmingUp { bars_left: self.bars_until_defined - seen.bars }
            }
            (Why::CoolingDown, _) => Reason::Cooldown { bars_left: self.cooldown_bars.saturating_sub(known.bars_since_exit) },
            (Why::NotTrading(_), _) => Reason::NotTrading { state },
            (Why::Risk(detail), _) => Reason::Risk { detail: detail.clone() },
            (Why::Filter(detail) | Why::NotTaken(detail), _) => Reason::Filter { detail: detail.clone() },
            (Why::Funds(detail), _) => Reason::Funds { detail: detail.clone() },
            (Why::NoBar | Why::NoSignal | Why::Holding | Why::Closed(_), _) => Reason::NoSignal,
        }
    }
}

fn position(
    trader: &Trader,
    symbol: &Symbol,
    known: &SymbolState,
    price: Option<Decimal>,
) -> Option<PositionStatus> {
    let entry_price = known.holding.entry_price()?;
    let resting = |wanted: fn(&OrderKind) -> bool| {
        let mut tickets = trader.state().live_tickets(symbol).filter(|(_, ticket)| ticket.is_open());
        tickets.find(|(_, ticket)| wanted(&ticket.kind)).map(|(_, ticket)| ticket.kind)
    };
    let stop = resting(|kind| matches!(kind, OrderKind::StopLoss { .. } | OrderKind::StopLossLimit { .. }));
    let target = resting(|kind| matches!(kind, OrderKind::LimitMaker { .. }));
    Some(PositionStatus {
        quantity: known.holding.quantity,
        entry_price,
        entry_bar_ms: known.holding.entry_bar_open_ms.unwrap_or_default() - trader.state().interval_ms,
        stop_price: stop.and_then(|kind| kind.stop_price()),
        target_price: target.and_then(|kind| kind.price()),
        unrealised_pnl: (price.unwrap_or(entry_price) - entry_price) * known.holding.quantity,
    })
}

/// What a notice is about.
fn kind(notice: &Notice, standing: &Standing) -> AlertKind {
    match (notice.level, &notice.symbol, standing) {
        (Level::Info, Some(_), _) => AlertKind::Exit,
        (Level::Info, None, _) => AlertKind::Connection,
        (Level::Warning, Some(_), _) => AlertKind::Reject,
        (Level::Warning, None, Standing::Paused { .. }) => AlertKind::Risk,
        (Level::Warning, None, _) => AlertKind::Connection,
        (Level::Alarm, None, Standing::Refused { .. }) => AlertKind::Reconcile,
        (Level::Alarm, _, _) => AlertKind::Error,
    }
}
