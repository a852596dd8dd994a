//! What the desk tells: snapshots, log lines, alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use polybolos_engine::signals::Bar;
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive as _;

use crate::alerts::{Alert, Alerter};
use crate::config::{AlertKind, BotConfig, Mode};
use crate::control::{
    ConnectionStatus, KillStatus, LimitUse, PositionStatus, Reason, State, Status, SymbolStatus,
};
use crate::filters::{SymbolRules, SymbolStatus as Listing};
use crate::ledger::Ledger;
use crate::promotion::BotStrategy;
use crate::risk::{LIMITS, Limit};
use crate::symbol::Symbol;
use crate::trader::{Goal, Level, Notice, PositionView, Record, Standing, Trader, Why};
use crate::venue::{AccountEvent, MarketEvent};

use super::trend;

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
    strategy: BotStrategy,
    started_ms: i64,
    bars_until_defined: u64,
    cooldown_bars: u64,
    market: Link,
    user: Link,
    seen: BTreeMap<Symbol, Seen>,
    /// Pairs that the exchange does not trade now.
    halted: BTreeSet<Symbol>,
}

impl Reporter {
    pub(super) fn new(
        config: &BotConfig,
        strategy: &BotStrategy,
        mode: Mode,
        cooldown_bars: u64,
        now_ms: i64,
    ) -> Reporter {
        let defined = strategy.strategy.warmup_bars(&strategy.values, strategy.interval);
        Reporter {
            bot: config.name.clone(),
            mode,
            quote_asset: config.capital.quote_asset.clone(),
            strategy: strategy.clone(),
            started_ms: now_ms,
            bars_until_defined: (defined as u64).saturating_add(1),
            cooldown_bars,
            market: Link::default(),
            user: Link::default(),
            seen: BTreeMap::new(),
            halted: BTreeSet::new(),
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
            MarketEvent::Rules { rules } => self.rules(rules),
            MarketEvent::Bar { .. } => {}
        }
    }

    pub(super) fn rules(&mut self, rules: &SymbolRules) {
        match rules.status {
            Listing::Trading => self.halted.remove(&rules.symbol),
            _ => self.halted.insert(rules.symbol.clone()),
        };
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

    /// Alerts people to what a batch has recorded, if they want to be.
    pub(super) fn alert_to(
        &self,
        trader: &Trader,
        records: &[Record],
        notices: &[Notice],
        alerts: Option<&Alerter>,
        now_ms: i64,
    ) {
        if alerts.is_none() {
            return;
        }
        for record in records {
            if let Record::Goal { symbol, goal: Goal::Hold, .. } = record
                && let Some(position) = trader.state().position(symbol)
            {
                let price = position.entry_price.round_dp(8).normalize();
                let text = format!("position opened: {} at {price}", position.quantity.normalize());
                self.alert(alerts, AlertKind::Entry, Some(symbol), text, now_ms);
            }
        }
        for notice in notices {
            let kind = kind(notice, records, trader.standing());
            self.alert(alerts, kind, notice.symbol.as_ref(), notice.text.clone(), now_ms);
        }
    }

    /// Logs what a batch has recorded.
    pub(super) fn log(&self, records: &[Record], notices: &[Notice]) {
        records.iter().for_each(|record| self.log_record(record));
        for notice in notices {
            let name = notice.symbol.as_ref().map_or("", Symbol::as_str);
            match notice.level {
                Level::Info => tracing::info!(bot = self.bot, symbol = name, "{}", notice.text),
                Level::Warning => tracing::warn!(bot = self.bot, symbol = name, "{}", notice.text),
                Level::Alarm => tracing::error!(bot = self.bot, symbol = name, "{}", notice.text),
            }
        }
    }

    fn log_record(&self, record: &Record) {
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
        let counts = trades_of(trader.ledger());
        status.symbols = trader
            .symbols()
            .filter_map(|symbol| {
                let count = counts.get(symbol).copied().unwrap_or_default();
                self.symbol(trader, symbol, trader.why(symbol)?, status.state, count)
            })
            .collect();
        status.equity = trader.ledger().equity();
        status.day_pnl = status.equity - trader.ledger().opening_equity(now_ms);
        status.realised_pnl = status.symbols.iter().map(|symbol| symbol.realised_pnl).sum();
        let open =
            |symbol: &SymbolStatus| symbol.position.as_ref().map_or(Decimal::ZERO, |p| p.unrealised_pnl);
        status.unrealised_pnl = status.symbols.iter().map(open).sum();
        status.limits = limits(trader, now_ms);
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

    fn symbol(
        &self,
        trader: &Trader,
        symbol: &Symbol,
        why: &Why,
        state: State,
        (trades, wins): (u64, u64),
    ) -> Option<SymbolStatus> {
        let account = trader.ledger().account(symbol)?;
        let nothing = Seen::default();
        let seen = self.seen.get(symbol).unwrap_or(&nothing);
        Some(SymbolStatus {
            symbol: symbol.as_str().to_owned(),
            position: position(trader, symbol),
            reason: self.reason(trader, symbol, seen, why, state),
            last_price: seen.price,
            last_bar_ms: seen.newest_ms,
            equity: account.equity(),
            realised_pnl: account.realised(),
            trades,
            wins,
        })
    }

    /// Whether the exchange does not trade the pair now.
    fn is_halted(&self, symbol: &Symbol) -> bool {
        self.halted.contains(symbol)
    }

    /// No entry signal, and whether that is for a trend alone.
    fn no_signal(&self, trader: &Trader, symbol: &Symbol) -> Reason {
        let program = self.strategy.strategy.program();
        let condition = trader
            .signals(symbol)
            .and_then(|signals| trend::holding_back(program, &self.strategy.values, signals));
        condition.map_or(Reason::NoSignal, |condition| Reason::TrendFilter { condition })
    }

    fn reason(&self, trader: &Trader, symbol: &Symbol, seen: &Seen, why: &Why, state: State) -> Reason {
        let known = trader.state().symbol(symbol);
        let pending = || {
            trader.state().live_tickets(symbol).find(|(_, ticket)| ticket.is_unsettled() || ticket.is_open())
        };
        let order = || pending().map(|(client_id, _)| client_id.as_str().to_owned()).unwrap_or_default();
        match (why, known.goal) {
            (_, Goal::Hold) => Reason::Holding,
            (_, Goal::Enter { .. } | Goal::Exit { .. }) | (Why::Entering | Why::Exiting(_), _) => {
                Reason::OrderPending { client_id: order() }
            }
            _ if seen.bars < self.bars_until_defined => {
                Reason::WarmingUp { bars_left: self.bars_until_defined - seen.bars }
            }
            (Why::CoolingDown, _) => {
                Reason::Cooldown { bars_left: self.cooldown_bars.saturating_sub(known.bars_since_exit) }
            }
            (Why::NotTrading(_), _) => Reason::NotTrading { state },
            (Why::Risk(detail), _) => Reason::Risk { detail: detail.clone() },
            (Why::Filter(_), _) if self.is_halted(symbol) => Reason::Halted,
            (Why::Filter(detail) | Why::NotTaken(detail), _) => Reason::Filter { detail: detail.clone() },
            (Why::Funds(detail), _) => Reason::Funds { detail: detail.clone() },
            (Why::NoBar | Why::NoSignal | Why::Holding | Why::Closed(_), _) => self.no_signal(trader, symbol),
        }
    }
}

fn position(trader: &Trader, symbol: &Symbol) -> Option<PositionStatus> {
    let view = trader.position(symbol)?;
    // Bought in the bar after the one that decided it.
    let interval_ms = trader.state().interval_ms;
    Some(PositionStatus {
        quantity: view.quantity,
        entry_price: view.entry_price,
        entry_bar_ms: view.entry_bar_ms.unwrap_or(view.entry_ms) - interval_ms,
        stop_price: view.stop_price,
        target_price: view.target_price,
        unrealised_pnl: view.unrealised.unwrap_or_default(),
    })
}

/// Closed trades of each pair among the newest that the ledger keeps, and how many of them won.
fn trades_of(ledger: &Ledger) -> BTreeMap<&Symbol, (u64, u64)> {
    let mut counts: BTreeMap<&Symbol, (u64, u64)> = BTreeMap::new();
    for trade in ledger.trades() {
        let count = counts.entry(&trade.symbol).or_default();
        *count = (count.0 + 1, count.1 + u64::from(trade.pnl > Decimal::ZERO));
    }
    counts
}

/// The limits that are set and have a use that can be told between orders.
fn limits(trader: &Trader, now_ms: i64) -> Vec<LimitUse> {
    let (ledger, gate) = (trader.ledger(), trader.gate());
    let positions = trader.positions();
    let worth = |view: &PositionView| view.price.unwrap_or(view.entry_price).checked_mul(view.quantity);
    let loss = (ledger.opening_equity(now_ms) - ledger.equity()).max(Decimal::ZERO);
    let used = |name: &str| {
        Some(match name {
            "max_daily_loss" => loss.checked_div(ledger.opening_equity(now_ms)).unwrap_or_default(),
            "max_daily_loss_quote" => loss,
            "max_drawdown" => ledger.drawdown(),
            "max_position_notional" => positions.iter().filter_map(worth).max().unwrap_or_default(),
            "max_total_notional" => positions.iter().filter_map(worth).sum(),
            "max_open_positions" => Decimal::from(positions.len()),
            "max_orders_per_minute" => Decimal::from(gate.orders_of_minute(now_ms)),
            "max_orders_per_day" => Decimal::from(gate.orders_of_day(now_ms)),
            _ => return None,
        })
    };
    let values = LIMITS.iter().zip(trader.limits().values());
    let row = |(limit, value): (&Limit, Option<Decimal>)| {
        Some(LimitUse { name: limit.name.to_owned(), limit: value?, used: used(limit.name)?.round_dp(8) })
    };
    values.filter_map(row).collect()
}

/// What a notice is about, by what was recorded with it.
fn kind(notice: &Notice, records: &[Record], standing: &Standing) -> AlertKind {
    let has = |wanted: fn(&Record) -> bool| records.iter().any(wanted);
    match (notice.level, &notice.symbol) {
        (Level::Info, Some(_)) => AlertKind::Exit,
        (Level::Info, None) => AlertKind::Connection,
        _ if has(|record| matches!(record, Record::Killed { .. })) => AlertKind::Kill,
        _ if has(|record| matches!(record, Record::Stop { .. } | Record::Lock { .. })) => AlertKind::Risk,
        (Level::Alarm, None) if matches!(standing, Standing::Refused { .. }) => AlertKind::Reconcile,
        (Level::Alarm, _) => AlertKind::Error,
        (Level::Warning, Some(_)) => AlertKind::Reject,
        (Level::Warning, None) if has(|record| matches!(record, Record::Paused { .. })) => AlertKind::Risk,
        (Level::Warning, None) => AlertKind::Connection,
    }
}
