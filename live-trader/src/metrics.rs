//! What Prometheus scrapes of a bot. Units are in the names; times are seconds.
//!
//! Counters and histograms are kept here and touched by those who see the event; gauges are set from the newest [`Status`] when
//! somebody scrapes. Labels have few values: the number of symbols bounds the number of series.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use crate::control::{State, Status};

mod connector;

type Float = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfSymbol {
    symbol: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Named {
    name: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfState {
    state: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfOrder {
    outcome: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCache {
    cache: &'static str,
    outcome: &'static str,
}

/// What became of a request to place or cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderOutcome {
    /// The exchange did it.
    Accepted,
    /// The exchange refused it.
    Refused,
    /// It never left.
    NotSent,
    /// Unknown; it is looked up.
    Unknown,
}

/// A step whose duration is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// From the news of a closed bar to the signed request handed to the socket.
    DecisionToWire,
    /// From the request handed to the socket to its answer.
    RequestToAnswer,
    /// A write of the journal with its sync.
    Journal,
    /// A reconciliation.
    Reconcile,
}

/// The metrics of a bot. Clones are the same metrics.
#[derive(Clone)]
pub struct Metrics {
    decision_to_wire: Histogram,
    request_to_answer: Histogram,
    journal: Histogram,
    reconcile: Histogram,
    orders: Family<OfOrder, Counter>,
    cache: Family<OfCache, Counter>,
    alerts_dropped: Counter,
    events: Counter,
    reconnects: Family<Named, Counter>,
    weight_used: Gauge,
    weight_limit: Gauge,
}

impl Default for Metrics {
    fn default() -> Metrics {
        // 16 us to 34 s.
        let histogram = || Histogram::new(exponential_buckets(16e-6, 2.0, 22));
        Metrics {
            decision_to_wire: histogram(),
            request_to_answer: histogram(),
            journal: histogram(),
            reconcile: histogram(),
            orders: Family::default(),
            cache: Family::default(),
            alerts_dropped: Counter::default(),
            events: Counter::default(),
            reconnects: Family::default(),
            weight_used: Gauge::default(),
            weight_limit: Gauge::default(),
        }
    }
}

impl Metrics {
    /// A step took so long.
    pub fn took(&self, step: Step, duration: Duration) {
        let histogram = match step {
            Step::DecisionToWire => &self.decision_to_wire,
            Step::RequestToAnswer => &self.request_to_answer,
            Step::Journal => &self.journal,
            Step::Reconcile => &self.reconcile,
        };
        histogram.observe(duration.as_secs_f64());
    }

    /// An order request ended.
    pub fn order(&self, outcome: OrderOutcome) {
        let outcome = match outcome {
            OrderOutcome::Accepted => "accepted",
            OrderOutcome::Refused => "refused",
            OrderOutcome::NotSent => "not_sent",
            OrderOutcome::Unknown => "unknown",
        };
        self.orders.get_or_create(&OfOrder { outcome }).inc();
    }

    /// A cache was asked.
    pub fn cache(&self, cache: &'static str, is_hit: bool) {
        let outcome = if is_hit { "hit" } else { "miss" };
        self.cache.get_or_create(&OfCache { cache, outcome }).inc();
    }

    /// An alert found the queue full.
    pub fn alert_dropped(&self) {
        self.alerts_dropped.inc();
    }

    /// The exchange said something.
    pub fn event(&self) {
        self.events.inc();
    }

    /// A connection was made again.
    pub fn reconnected(&self, connection: &str) {
        self.reconnects.get_or_create(&Named { name: connection.to_owned() }).inc();
    }

    /// Request weight used in the minute, as the exchange says, and how much there is.
    pub fn weight(&self, used: u32, limit: u32) {
        self.weight_used.set(i64::from(used));
        self.weight_limit.set(i64::from(limit));
    }

    /// Everything in the OpenMetrics text format, with the gauges of `status`.
    pub fn text(&self, status: &Status) -> String {
        self.text_with(status, None)
    }

    /// [`Metrics::text`] with what a connector has counted. The time to the wire is then the connector's, which sees the wire.
    pub fn text_with(&self, status: &Status, connector: Option<&crate::binance::Metrics>) -> String {
        let mut registry = Registry::with_prefix("polybolos_bot");
        self.register_events(&mut registry);
        match connector {
            Some(connector) => connector::register(&mut registry, connector),
            None => registry.register(
                "decision_to_wire_seconds",
                "News of a closed bar to the request on the socket",
                self.decision_to_wire.clone(),
            ),
        }
        register_status(&mut registry, status);
        let mut text = String::new();
        match encode(&mut text, &registry) {
            Ok(()) => text,
            // Writing into a string does not fail.
            Err(_) => String::new(),
        }
    }

    fn register_events(&self, registry: &mut Registry) {
        for (name, help, histogram) in [
            ("request_to_answer_seconds", "Request on the socket to its answer", &self.request_to_answer),
            ("journal_seconds", "Write of the journal with its sync", &self.journal),
            ("reconcile_seconds", "Comparison of the journal with the exchange", &self.reconcile),
        ] {
            registry.register(name, help, histogram.clone());
        }
        registry.register("orders", "Order requests by what became of them", self.orders.clone());
        registry.register("cache_lookups", "Lookups in caches, hits and misses", self.cache.clone());
        registry.register("alerts_dropped", "Alerts that found the queue full", self.alerts_dropped.clone());
        registry.register("events", "Messages of the exchange", self.events.clone());
        registry.register("reconnects", "Connections made again", self.reconnects.clone());
        registry.register("weight_used", "Request weight used this minute", self.weight_used.clone());
        registry.register("weight_limit", "Request weight there is per minute", self.weight_limit.clone());
    }
}

fn register_status(registry: &mut Registry, status: &Status) {
    let float = |value: Decimal| {
        let gauge = Float::default();
        gauge.set(value.to_f64().unwrap_or(f64::NAN));
        gauge
    };
    for (name, help, value) in [
        ("equity_quote", "Equity in quote currency", status.equity),
        ("realised_pnl_quote", "Profit of closed trades in quote currency", status.realised_pnl),
        ("unrealised_pnl_quote", "Open profit in quote currency", status.unrealised_pnl),
        ("day_pnl_quote", "Profit since 00:00 UTC in quote currency", status.day_pnl),
    ] {
        registry.register(name, help, float(value));
    }
    let states = Family::<OfState, Gauge>::default();
    for state in State::ALL {
        states.get_or_create(&OfState { state: state.word() }).set(i64::from(state == status.state));
    }
    registry.register("state", "1 for the state that the bot is in", states);
    let kill = Gauge::<i64>::default();
    kill.set(i64::from(status.kill.is_set));
    registry.register("kill_switch", "1 while the kill switch is set", kill);
    let positions = Family::<OfSymbol, Float>::default();
    let symbol_pnl = Family::<OfSymbol, Float>::default();
    let trades = Family::<OfSymbol, Gauge>::default();
    for symbol in &status.symbols {
        let label = OfSymbol { symbol: symbol.symbol.clone() };
        let quantity = symbol.position.as_ref().map_or(Decimal::ZERO, |position| position.quantity);
        positions.get_or_create(&label).set(quantity.to_f64().unwrap_or(f64::NAN));
        symbol_pnl.get_or_create(&label).set(symbol.realised_pnl.to_f64().unwrap_or(f64::NAN));
        trades.get_or_create(&label).set(symbol.trades.cast_signed());
    }
    registry.register("position_base", "Base units held", positions);
    registry.register("symbol_realised_pnl_quote", "Profit of closed trades in quote currency", symbol_pnl);
    registry.register("closed_trades", "Closed trades", trades);
    let limits = Family::<Named, Float>::default();
    let used = Family::<Named, Float>::default();
    for limit in &status.limits {
        let label = Named { name: limit.name.clone() };
        limits.get_or_create(&label).set(limit.limit.to_f64().unwrap_or(f64::NAN));
        used.get_or_create(&label).set(limit.used.to_f64().unwrap_or(f64::NAN));
    }
    registry.register("risk_limit", "Limits, each in the unit of its name", limits);
    registry.register("risk_used", "What is used of each limit", used);
    let connections = Family::<Named, Gauge>::default();
    for connection in &status.connections {
        let label = Named { name: connection.name.clone() };
        connections.get_or_create(&label).set(i64::from(connection.is_up));
    }
    registry.register("connection_up", "1 while the connection is there", connections);
}
