//! The one exchange behind the server's lock: the core, what was used of its limits, and who is connected.

use std::collections::BTreeMap;

use polybolos_engine::interval::Interval;
use serde_json::Value;

use super::auth;
use super::config::{ApiKey, SimConfig};
use super::faults::{Faults, Instead, Silence, Told, Trouble};
use super::limits::Counters;
use super::live::LiveClock;
use super::pace::Pace;
use super::params::Params;
use super::refusal::Refusal;
use super::render::events::user_event;
use super::routes::Endpoint;
use super::sockets::Hub;
use crate::binance::LocalClock;
use crate::simulator::{Change, Event, PartialFill, Simulator};
use crate::symbol::Symbol;

/// A request as it came over either transport.
pub(super) struct Call<'a> {
    pub(super) endpoint: &'static Endpoint,
    pub(super) params: &'a Params,
    /// The name of the key that was sent.
    pub(super) api_key: Option<&'a str>,
    /// What was signed.
    pub(super) payload: &'a str,
    /// Whether the connection has logged on and the request brings no key of its own.
    pub(super) is_logged_on: bool,
}

/// What a request comes to.
#[derive(Debug)]
pub(super) enum Outcome {
    Answer(Result<Value, Refusal>),
    Silence(Silence),
}

impl Outcome {
    fn of(instead: &Instead) -> Outcome {
        match instead {
            Instead::Answer(failure) => {
                Outcome::Answer(Err(Refusal::new(failure.status, failure.code, failure.msg.clone())))
            }
            Instead::Silence(silence) => Outcome::Silence(*silence),
        }
    }
}

/// What tells the time.
#[derive(Debug)]
pub(super) enum Clock {
    /// The wall; the market's time is the dataset's.
    Wall(LocalClock),
    /// The source of a live market, for the server and the market.
    Live(Box<LiveClock>),
}

/// The exchange.
pub(super) struct Exchange {
    pub(super) core: Simulator,
    pub(super) interval: Interval,
    pub(super) counters: Counters,
    pub(super) key: ApiKey,
    pub(super) hub: Hub,
    pub(super) pace: Pace,
    /// How orders of the request in work are split.
    pub(super) partial: Option<PartialFill>,
    /// Requests that have come in.
    pub(super) arrived: u64,
    faults: Faults,
    clock: Clock,
    /// What the server's clock is ahead of the wall's.
    skew_ms: i64,
    /// How long queries do not find orders of the request in work.
    lag_ms: i64,
    /// Orders that queries do not find yet, until a wall-clock time.
    lagging: BTreeMap<(Symbol, i64), i64>,
}

impl Exchange {
    pub(super) fn new(config: &SimConfig, core: Simulator, clock: Clock) -> Exchange {
        Exchange {
            core,
            interval: config.interval,
            counters: Counters::new(&config.limits),
            key: config.key.clone(),
            hub: Hub::default(),
            pace: Pace::default(),
            partial: None,
            arrived: 0,
            faults: Faults::new(&config.faults, config.seed),
            clock,
            skew_ms: 0,
            lag_ms: 0,
            lagging: BTreeMap::new(),
        }
    }

    /// The server's clock: the wall's or the source's, unless a fault has moved it.
    pub(super) fn server_ms(&self) -> i64 {
        self.clock_ms().saturating_add(self.skew_ms)
    }

    fn clock_ms(&self) -> i64 {
        match &self.clock {
            Clock::Wall(clock) => clock.now_ms(),
            Clock::Live(clock) => clock.server_ms(),
        }
    }

    pub(super) fn live_clock(&mut self) -> Option<&mut LiveClock> {
        match &mut self.clock {
            Clock::Wall(_) => None,
            Clock::Live(clock) => Some(clock),
        }
    }

    /// Tells the core the time of a live market.
    pub(super) fn keep_time(&mut self) {
        if let Clock::Live(clock) = &self.clock {
            self.core.pass_time(clock.market_ms());
        }
    }

    /// Says what goes wrong with a request that has come in, and begins what goes wrong for all.
    pub(super) fn arrive(&mut self, method: &str) -> Trouble {
        self.arrived += 1;
        let trouble = self.faults.request(method);
        if let Some(skew_ms) = trouble.skew_ms {
            self.skew_ms = skew_ms;
        }
        let now_ms = self.server_ms();
        if let Some(seconds) = trouble.throttle_s {
            self.counters.throttle(now_ms + seconds * 1_000);
        }
        if let Some(seconds) = trouble.ban_s {
            self.counters.ban(now_ms + seconds * 1_000);
        }
        trouble
    }

    /// Does the work of a request, or what goes wrong instead.
    pub(super) fn attempt(
        &mut self,
        trouble: &Trouble,
        work: impl FnOnce(&mut Exchange) -> Result<Value, Refusal>,
    ) -> Outcome {
        if let Some(instead) = &trouble.refused {
            return Outcome::of(instead);
        }
        self.keep_time();
        self.partial = trouble
            .partial
            .as_ref()
            .map(|partial| PartialFill { fraction: partial.fraction, expires_rest: partial.expires_rest });
        self.lag_ms = trouble.lag_ms;
        let result = work(self);
        (self.partial, self.lag_ms) = (None, 0);
        match (&result, &trouble.done) {
            (Ok(_), Some(instead)) => Outcome::of(instead),
            _ => Outcome::Answer(result),
        }
    }

    /// Tells what a request or a step has caused, and does what goes wrong with connections.
    pub(super) fn conclude(&mut self, trouble: &Trouble) {
        self.tell_users(trouble.events);
        if trouble.ends_subscriptions {
            self.end_subscriptions();
        }
        if trouble.announces_shutdown {
            self.announce_shutdown();
        }
        if let Some(kind) = trouble.drops {
            self.hub.cut(kind);
        }
    }

    /// What goes wrong in the step of this number.
    pub(super) fn step_trouble(&mut self, number: u64) -> Trouble {
        let trouble = self.faults.step(number);
        self.skew_ms = trouble.skew_ms.unwrap_or(self.skew_ms);
        trouble
    }

    /// Deals with a request; what it causes is told by [`Exchange::conclude`].
    pub(super) fn handle(&mut self, call: &Call<'_>) -> Result<Value, Refusal> {
        let (endpoint, params) = (call.endpoint, call.params);
        let now_ms = self.server_ms();
        let weight = endpoint.weight(params);
        self.counters.take(now_ms, weight)?;
        if endpoint.is_signed {
            self.check_signed(call, now_ms)?;
        }
        params.check_known(endpoint.params)?;
        if endpoint.orders > 0 {
            self.counters.check_orders(now_ms, endpoint.orders)?;
        }
        let result = (endpoint.handler)(self, params);
        if endpoint.is_free && result.is_ok() {
            self.counters.give_back(weight);
        }
        // A replacement counts even where only its cancel, or nothing, was done.
        if result.as_ref().err().is_none_or(|refusal| refusal.data.is_some()) {
            self.counters.add_orders(endpoint.orders);
        }
        result
    }

    fn check_signed(&self, call: &Call<'_>, now_ms: i64) -> Result<(), Refusal> {
        if !call.is_logged_on {
            auth::check_key(&self.key, call.api_key)?;
            auth::check_signature(&self.key, call.payload, call.params)?;
        }
        auth::check_time(call.params, now_ms)
    }

    /// Notes orders that the request in work has placed.
    pub(super) fn note_placed(&mut self, symbol: &Symbol, orders: &[i64]) {
        let now_ms = self.clock_ms();
        self.lagging.retain(|_, until| now_ms < *until);
        if self.lag_ms > 0 {
            let until = now_ms + self.lag_ms;
            self.lagging.extend(orders.iter().map(|order_id| ((symbol.clone(), *order_id), until)));
        }
    }

    /// Whether a query must not find an order yet.
    pub(super) fn is_lagging(&self, symbol: &Symbol, order_id: i64) -> bool {
        let until = self.lagging.get(&(symbol.clone(), order_id));
        until.is_some_and(|until| self.clock_ms() < *until)
    }

    /// Tells the users' connections what happened to the account.
    pub(super) fn tell_users(&mut self, told: Told) {
        let events = self.core.take_events();
        let now_ms = self.core.now_ms();
        for event in &events {
            if let Event::Execution(execution) = event
                && execution.change == Change::Trade
                && execution.order.fills.len() == 1
            {
                self.counters.first_fill(execution.fill.as_ref().is_some_and(|fill| fill.is_maker));
            }
            self.hub.tell_users(&user_event(event, now_ms), told);
        }
        self.pace.has_news |= !events.is_empty();
    }

    /// Tells the market connections what happened to prices and bars.
    pub(super) fn tell_market(&mut self) {
        let now_ms = self.core.now_ms();
        for event in self.core.take_market_events() {
            self.hub.tell_market(&event, self.interval, now_ms);
        }
    }
}
