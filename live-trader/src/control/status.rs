//! What a bot says about itself: one snapshot for the control port, the dashboard, the metrics and the logs.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::config::Mode;

/// Whether the bot trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Reading the journal, comparing it with the exchange, warming up.
    Starting,
    /// Deciding at every close.
    Trading,
    /// Exits and protection only, until somebody says `resume`.
    Paused,
    /// The exchange or its news are out of reach.
    Disconnected,
    /// Journal and exchange differ in a way that needs a person.
    Refused,
    /// The kill switch is set.
    Killed,
    /// Ending.
    Stopping,
}

impl State {
    /// Every state.
    pub const ALL: [State; 7] = [
        State::Starting,
        State::Trading,
        State::Paused,
        State::Disconnected,
        State::Refused,
        State::Killed,
        State::Stopping,
    ];

    /// Its word, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Trading => "trading",
            State::Paused => "paused",
            State::Disconnected => "disconnected",
            State::Refused => "refused",
            State::Killed => "killed",
            State::Stopping => "stopping",
        }
    }
}

/// What keeps a symbol in or out of a position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Reason {
    /// Indicators are not defined yet.
    WarmingUp {
        /// Closed bars that are still missing.
        bars_left: u64,
    },
    /// The strategy holds the position: no exit is due.
    Holding,
    /// The entry signal is not there.
    NoSignal,
    /// The signal would be there but for a condition on a higher timeframe.
    TrendFilter {
        /// The condition, as the strategy writes it.
        condition: String,
    },
    /// The pause after an exit that the strategy asks for.
    Cooldown {
        /// Closed bars that it lasts.
        bars_left: u64,
    },
    /// An order is on its way or its outcome is being looked up.
    OrderPending {
        /// Its client id.
        client_id: String,
    },
    /// The exchange's filters do not allow the order.
    Filter {
        /// Which one, and why.
        detail: String,
    },
    /// A limit or a protection of the risk gate.
    Risk {
        /// Which one, and why.
        detail: String,
    },
    /// Not enough quote currency is free.
    Funds {
        /// What is there and what it takes.
        detail: String,
    },
    /// The exchange does not trade the symbol now.
    Halted,
    /// The bot is paused, disconnected, refused or killed.
    NotTrading {
        /// Its state.
        state: State,
    },
}

impl Reason {
    /// One line for logs and tables.
    pub fn line(&self) -> String {
        match self {
            Reason::WarmingUp { bars_left } => format!("warming up, {bars_left} bars left"),
            Reason::Holding => "no exit is due".to_owned(),
            Reason::NoSignal => "no signal".to_owned(),
            Reason::TrendFilter { condition } => format!("higher timeframe: {condition} is not TRUE"),
            Reason::Cooldown { bars_left } => format!("cooldown, {bars_left} bars left"),
            Reason::OrderPending { client_id } => format!("order {client_id} is pending"),
            Reason::Filter { detail } => format!("exchange filter: {detail}"),
            Reason::Risk { detail } => format!("risk: {detail}"),
            Reason::Funds { detail } => format!("funds: {detail}"),
            Reason::Halted => "the exchange does not trade it now".to_owned(),
            Reason::NotTrading { state } => format!("the bot is {}", state.word()),
        }
    }
}

/// A position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionStatus {
    /// Base units held.
    pub quantity: Decimal,
    /// Average price of the entry's fills.
    pub entry_price: Decimal,
    /// Open time of the bar at whose close the entry was decided, UTC milliseconds.
    pub entry_bar_ms: i64,
    /// Price of the stop that rests at the exchange.
    pub stop_price: Option<Decimal>,
    /// Price of the target that rests at the exchange.
    pub target_price: Option<Decimal>,
    /// Open profit at the last price, in quote currency, without the fee of the exit.
    pub unrealised_pnl: Decimal,
}

/// A symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolStatus {
    /// Its name.
    pub symbol: String,
    /// Its position, if it has one.
    pub position: Option<PositionStatus>,
    /// Why it is or is not in a position.
    pub reason: Reason,
    /// Last price seen.
    pub last_price: Option<Decimal>,
    /// Open time of the newest closed bar, UTC milliseconds.
    pub last_bar_ms: Option<i64>,
    /// Equity of its account, in quote currency.
    pub equity: Decimal,
    /// Profit of its closed trades, in quote currency, after fees.
    pub realised_pnl: Decimal,
    /// Closed trades.
    pub trades: u64,
    /// Of these, the ones that won.
    pub wins: u64,
}

/// A limit and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitUse {
    /// Its name in the section `risk`.
    pub name: String,
    /// The limit, in the unit of its name.
    pub limit: Decimal,
    /// What is used of it, in the same unit.
    pub used: Decimal,
}

/// The kill switch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KillStatus {
    /// Whether it is set.
    pub is_set: bool,
    /// Why.
    pub reason: Option<String>,
    /// Since when, UTC milliseconds.
    pub since_ms: Option<i64>,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionStatus {
    /// Which one: `market`, `user`, `rest`, `ws_api`.
    pub name: String,
    /// Whether it is there.
    pub is_up: bool,
    /// Age of the newest message, milliseconds.
    pub silent_ms: Option<u64>,
    /// What is wrong with it.
    pub detail: Option<String>,
}

/// A bot at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// How its orders are filled.
    pub mode: Mode,
    /// Whether it trades.
    pub state: State,
    /// Why it does not, if it does not.
    pub detail: Option<String>,
    /// When the snapshot was made, UTC milliseconds.
    pub time_ms: i64,
    /// When the bot started, UTC milliseconds.
    pub started_ms: i64,
    /// What it pays with.
    pub quote_asset: String,
    /// Sum of the symbols' equity.
    pub equity: Decimal,
    /// Profit of closed trades, after fees.
    pub realised_pnl: Decimal,
    /// Open profit at last prices.
    pub unrealised_pnl: Decimal,
    /// Profit since 00:00 UTC, open and closed.
    pub day_pnl: Decimal,
    /// Symbols, by name.
    pub symbols: Vec<SymbolStatus>,
    /// Limits that are set.
    pub limits: Vec<LimitUse>,
    /// The kill switch.
    pub kill: KillStatus,
    /// Connections.
    pub connections: Vec<ConnectionStatus>,
}

impl Status {
    /// A bot that has just been started.
    pub fn starting(name: &str, mode: Mode, quote_asset: &str, now_ms: i64) -> Status {
        Status {
            name: name.to_owned(),
            mode,
            state: State::Starting,
            detail: None,
            time_ms: now_ms,
            started_ms: now_ms,
            quote_asset: quote_asset.to_owned(),
            equity: Decimal::ZERO,
            realised_pnl: Decimal::ZERO,
            unrealised_pnl: Decimal::ZERO,
            day_pnl: Decimal::ZERO,
            symbols: Vec::new(),
            limits: Vec::new(),
            kill: KillStatus::default(),
            connections: Vec::new(),
        }
    }

    /// Why the bot is not ready to trade; `None` if it is.
    pub fn not_ready(&self) -> Option<String> {
        if self.state != State::Trading {
            let detail = self.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
            return Some(format!("{}{detail}", self.state.word()));
        }
        let down = self.connections.iter().find(|connection| !connection.is_up)?;
        Some(format!("connection {} is down", down.name))
    }
}
